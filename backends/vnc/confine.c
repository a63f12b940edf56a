/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a viewer's server gives up. The filter of system calls needs no root: behind it a server
 * opens no file, no socket and no program, whatever it may see.
 */
#include <sys/prctl.h>
#include <sys/resource.h>

#include <seccomp.h>

#include <xendm/confine.h>

#include "confine.h"

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

bool confine_server(void)
{
    confine_begin(false);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    confine_no_root();
    confine_limit(RLIMIT_NPROC, 0);
    confine_limit(RLIMIT_FSIZE, 0);
    confine_limit(RLIMIT_NOFILE, 64);
    confine_memory(UINT64_C(1) << 30); /* pictures of 64 MiB, and what encoders want of them */
    return confine_calls(calls, sizeof(calls) / sizeof(calls[0]));
}
