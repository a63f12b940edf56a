/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What keeper and server give up. Namespaces and another user want root, which xendm may not have
 * either: what is refused is left out. The filter of system calls needs nothing: behind it a server
 * opens no file, no socket and no program, whatever it may see. It is made here, with libseccomp,
 * since a server starts when a person waits for a picture anyway.
 */
#include <grp.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "confine.h"

#define NOBODY 65534u

static void limit(int what, rlim_t n)
{
    const struct rlimit r = {n, n};

    setrlimit(what, &r);
}

static void no_root(void)
{
    if (geteuid() != 0) {
        return;
    }
    if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
        setresuid(NOBODY, NOBODY, NOBODY) < 0) {
        _exit(1); /* root, and cannot stop being it: better no viewers */
    }
}

static void common(void)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    limit(RLIMIT_CORE, 0);
    unshare(CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS);
}

#ifndef CONFINE_SERVER

/* Its servers need the libraries' files until they are running: it keeps those in sight. */
void confine_keeper(void)
{
    common();
    no_root();
}

#else

#include <errno.h>
#include <sys/mman.h>

#include <seccomp.h>

/* clang-format off */
static const int calls[] = {
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(poll), SCMP_SYS(ppoll),
    SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(shutdown), SCMP_SYS(close), SCMP_SYS(munmap),
    SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(futex), SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(exit), SCMP_SYS(exit_group),
    SCMP_SYS(restart_syscall), SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(getpid),
    SCMP_SYS(gettid), SCMP_SYS(getrandom), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(lseek),
    SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
    SCMP_SYS(fcntl), SCMP_SYS(sched_yield), SCMP_SYS(sysinfo), SCMP_SYS(uname),
};
/* clang-format on */

static bool filter(void)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    bool ok = f != NULL;

    for (unsigned i = 0; ok && i < sizeof(calls) / sizeof(calls[0]); i++) {
        ok = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0) == 0;
    }
    ok = ok && seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                                SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) == 0;
    ok = ok && seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                                SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) == 0;
    ok = ok && seccomp_load(f) == 0;
    seccomp_release(f);
    return ok;
}

/* Sanitizers need more memory and more calls than any viewer. */
#ifdef __SANITIZE_ADDRESS__
#define CONFINED 0
#else
#define CONFINED 1
#endif

bool confine_server(void)
{
    common();
    no_root();
    limit(RLIMIT_NPROC, 0);
    limit(RLIMIT_FSIZE, 0);
    limit(RLIMIT_NOFILE, 64);
    if (!CONFINED) {
        return true;
    }
    limit(RLIMIT_AS, UINT64_C(1) << 30); /* pictures of 64 MiB, and what encoders want of them */
    return filter();
}

#endif
