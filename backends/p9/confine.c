/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The server reads what a guest writes and works on files of the host with root's rights: so of
 * these it keeps those over files alone, sees nothing but its directory, and has a filter of system
 * calls. What the kernel refuses, since xendm need not be root, is left out, but for the filter.
 *
 * CAP_DAC_READ_SEARCH is not kept: with it open_by_handle_at() finds any file, wherever the root
 * is.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cap-ng.h>
#include <seccomp.h>

#include <xendm/confine.h>

#include "confine.h"

#define MEMORY_MAX (UINT64_C(1) << 30) /* address space: fids, nodes, attributes are bounded */

/* clang-format off */
static const int calls[] = {
    SCMP_SYS(recvmsg), SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(close),
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(lseek),
    SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(getdents64), SCMP_SYS(open), SCMP_SYS(openat),
    SCMP_SYS(openat2), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(fstatfs),
    SCMP_SYS(readlinkat), SCMP_SYS(mkdirat), SCMP_SYS(mknodat), SCMP_SYS(symlinkat),
    SCMP_SYS(linkat), SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat),
    SCMP_SYS(renameat2), SCMP_SYS(fchownat), SCMP_SYS(chmod), SCMP_SYS(fchmodat),
    SCMP_SYS(utimensat), SCMP_SYS(truncate), SCMP_SYS(getxattr), SCMP_SYS(setxattr),
    SCMP_SYS(listxattr), SCMP_SYS(removexattr), SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap),
    SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(restart_syscall),
    SCMP_SYS(getrandom), SCMP_SYS(gettid), SCMP_SYS(getpid),
};
/* clang-format on */

/* By descriptor: the directory that was opened, whatever its name leads to by now. */
static bool enter_root(int root)
{
    int files = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool ok = files >= 0;

    if (ok && fchdir(root) == 0 && chroot(".") < 0 && geteuid() == 0) {
        ok = errno == EPERM; /* in a container without that right */
    }
    ok = ok && fchdir(files) == 0;
    if (files >= 0) {
        close(files);
    }
    return ok;
}

static void drop_rights(bool owners)
{
    if (geteuid() != 0) {
        return;
    }
    capng_clear(CAPNG_SELECT_BOTH);
    capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
                  CAP_DAC_OVERRIDE, CAP_FOWNER, -1);
    if (owners) {
        capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, CAP_CHOWN,
                      CAP_FSETID, -1);
    }
    capng_apply(CAPNG_SELECT_BOTH);
}

bool confine(int root, bool owners)
{
    bool ok;

    confine_begin(false);
    umask(0);
    ok = enter_root(root);
    drop_rights(owners);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* after the look at /proc/self */
    confine_limit(RLIMIT_NPROC, 0);
    confine_memory(MEMORY_MAX);
    return ok && confine_calls(calls, sizeof(calls) / sizeof(calls[0]));
}
