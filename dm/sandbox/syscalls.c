/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filters are made by make-syscalls-filter.c, which has the lists. */
#include <config.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <xendm/device.h>

#include "syscalls.h"

#ifndef SYSCALLS_FREE
#include <syscalls-filter.h>
#endif

bool syscalls_restricted(void)
{
    return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == SECCOMP_MODE_FILTER;
}

int syscalls_restrict(bool locked, GError **err)
{
#ifdef SYSCALLS_FREE
    return 0;
#else
    const struct sock_fprog program = {
        .len = locked ? G_N_ELEMENTS(filter_locked) : G_N_ELEMENTS(filter_unlocked),
        /* the kernel only reads it */
        .filter = (struct sock_filter *)(locked ? filter_locked : filter_unlocked),
    };
    long rc =
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
            ? -1
            : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    int e = rc > 0 ? ESRCH : errno; /* more than 0: a thread that has a filter of its own */

    if (rc != 0) {
        g_set_error(err, XENDM_ERROR, e, "cannot restrict the system calls: %s", g_strerror(e));
        return -e;
    }
    return 0;
#endif
}
