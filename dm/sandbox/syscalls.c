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
    size_t len = locked ? G_N_ELEMENTS(filter_locked) : G_N_ELEMENTS(filter_unlocked);
    g_autofree struct sock_filter *filter =
        g_memdup2(locked ? filter_locked : filter_unlocked, len * sizeof(filter[0]));
    const struct sock_fprog program = {.len = (unsigned short)len, .filter = filter};
    long rc;
    int e;

    for (size_t i = 0; i < len; i++) {
        if (BPF_CLASS(filter[i].code) == BPF_JMP && filter[i].k == SYSCALLS_OWN_PID) {
            filter[i].k = (uint32_t)getpid();
        }
    }
    rc = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
             ? -1
             : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    e = rc > 0 ? ESRCH : errno; /* more than 0: a thread that has a filter of its own */

    if (rc != 0) {
        g_set_error(err, XENDM_ERROR, e, "cannot restrict the system calls: %s", g_strerror(e));
        return -e;
    }
    return 0;
#endif
}
