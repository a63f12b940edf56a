/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process has the descriptor of one device, which usbfs takes for all that is asked of it: so
 * it needs no user, no name and no capability. What a device says is parsed here, by libusb.
 */
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <linux/usbdevice_fs.h>
#include <seccomp.h>

#include <xendm/confine.h>

#include "confine.h"

#define MEMORY_MAX (UINT64_C(256) << 20) /* address space */

/* clang-format off */
static const int calls[] = {
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(lseek), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg),
    SCMP_SYS(sendto), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(close), SCMP_SYS(munmap),
    SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(futex), SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(exit), SCMP_SYS(exit_group),
    SCMP_SYS(restart_syscall), SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep), SCMP_SYS(timerfd_settime), SCMP_SYS(getpid), SCMP_SYS(gettid),
    SCMP_SYS(getrandom), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(sched_yield),
};

/* Not among them: streams, memory of the kernel's, suspending, and what drops privileges. */
static const unsigned long requests[] = {
    USBDEVFS_CONTROL, USBDEVFS_SETINTERFACE, USBDEVFS_SETCONFIGURATION, USBDEVFS_GETDRIVER,
    USBDEVFS_SUBMITURB, USBDEVFS_DISCARDURB, USBDEVFS_REAPURB, USBDEVFS_REAPURBNDELAY,
    USBDEVFS_CLAIMINTERFACE, USBDEVFS_RELEASEINTERFACE, USBDEVFS_CONNECTINFO, USBDEVFS_IOCTL,
    USBDEVFS_RESET, USBDEVFS_CLEAR_HALT, USBDEVFS_GET_CAPABILITIES, USBDEVFS_DISCONNECT_CLAIM,
    USBDEVFS_GET_SPEED,
};
/* clang-format on */

bool confine_to_device(void)
{
    confine_begin(false);
    confine_limit(RLIMIT_NPROC, 0);
    confine_limit(RLIMIT_FSIZE, 0);
    confine_no_root();
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    confine_memory(MEMORY_MAX);
    return confine_calls_and_requests(calls, sizeof(calls) / sizeof(calls[0]), requests,
                                      sizeof(requests) / sizeof(requests[0]));
}
