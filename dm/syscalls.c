/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An allow-list, by names, because libseccomp knows more of them than any header. A call that is not on it is ENOSYS rather
 * than the end: C libraries try new calls and fall back.
 */
#include <config.h>

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <seccomp.h>

#include <xendm/device.h>

#include "syscalls.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZERS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZERS 1
#endif
#endif

/* clang-format off */
static const char *const always[] = {
    /* descriptors */
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "lseek", "close",
    "close_range", "fsync", "fdatasync", "sync_file_range", "fallocate", "fadvise64", "ftruncate", "fstat", "fstatfs", "fcntl",
    "ioctl", "dup", "dup2", "dup3", "flock", "poll", "ppoll", "select", "pselect6", "epoll_create1", "epoll_ctl", "epoll_wait",
    "epoll_pwait", "epoll_pwait2", "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime", "signalfd4", "pipe",
    "pipe2", "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "memfd_create", "io_uring_enter", "io_uring_register",
    /* sockets that are there */
    "recvmsg", "sendmsg", "recvfrom", "sendto", "recvmmsg", "sendmmsg", "accept", "accept4", "shutdown", "getsockopt",
    "setsockopt", "getsockname", "getpeername", "socketpair",
    /* files: what can be reached is a matter of root and user */
    "open", "openat", "openat2", "stat", "lstat", "newfstatat", "statx", "statfs", "access", "faccessat", "faccessat2",
    "readlink", "readlinkat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "chmod", "fchmod",
    "fchmodat", "getdents64", "getcwd", "umask",
    /* memory, threads, signals */
    "munmap", "mremap", "madvise", "mincore", "brk", "membarrier", "futex", "futex_waitv", "set_robust_list", "get_robust_list",
    "rseq", "set_tid_address", "arch_prctl", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending",
    "rt_sigtimedwait", "rt_sigsuspend", "sigaltstack", "tgkill", "exit", "exit_group", "restart_syscall", "sched_yield",
    "sched_getaffinity", "sched_getattr", "sched_setattr", "sched_getparam", "sched_getscheduler", "getcpu", "prctl", "alarm", "pause",
    /* time and names */
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times", "getpid", "getppid",
    "gettid", "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "getpgrp", "uname", "sysinfo",
    "getrandom", "getrusage", "getrlimit", "prlimit64",
};

/* While a live update is possible, and QMP may open what the toolstack names. */
static const char *const unlocked[] = {
    "fork", "vfork", "clone", "clone3", "execve", "execveat", "wait4", "waitid", "kill", "pidfd_open", "pidfd_send_signal",
    "setsid", "setpgid", "getpgid", "getsid", "chdir", "fchdir", "chown", "fchown", "fchownat", "mmap", "mprotect",
    "socket", "connect", "bind", "listen", "io_uring_setup", "setrlimit", "setitimer", "getitimer", "capget", "capset",
    "sched_setaffinity",
};

/* Nobody here calls these, and nobody's library does. */
static const char *const intruders[] = {
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "bpf", "perf_event_open", "userfaultfd", "kexec_load",
    "kexec_file_load", "init_module", "finit_module", "delete_module", "mount", "umount2", "move_mount", "fsmount", "open_tree",
    "pivot_root", "chroot", "unshare", "setns", "swapon", "swapoff", "reboot", "iopl", "ioperm", "keyctl", "add_key",
    "request_key", "open_by_handle_at", "name_to_handle_at", "acct", "quotactl", "settimeofday", "clock_settime", "adjtimex",
    "clock_adjtime", "modify_ldt", "syslog", "mknod", "mknodat",
};

static const char *const intruders_locked[] = {
    "fork", "vfork", "execve", "execveat",
};
/* clang-format on */

static int add(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        int rc;

        if (number == __NR_SCMP_ERROR) {
            continue; /* newer than the library: stays ENOSYS */
        }
        rc = seccomp_rule_add(filter, action, number, 0);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int add_all(scmp_filter_ctx filter, bool locked)
{
    int rc = add(filter, SCMP_ACT_ALLOW, always, G_N_ELEMENTS(always));

    if (rc == 0) {
        rc = add(filter, SCMP_ACT_KILL_PROCESS, intruders, G_N_ELEMENTS(intruders));
    }
    if (rc < 0) {
        return rc;
    }
    if (!locked) {
        return add(filter, SCMP_ACT_ALLOW, unlocked, G_N_ELEMENTS(unlocked));
    }
    rc = add(filter, SCMP_ACT_KILL_PROCESS, intruders_locked, G_N_ELEMENTS(intruders_locked));
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    }
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    }
    /* Threads. clone3() keeps its flags in memory, where no filter sees them; the C library goes on with clone(). */
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM));
    }
    return rc;
}

bool syscalls_restricted(void)
{
    return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2;
}

int syscalls_restrict(bool locked, GError **err)
{
#ifdef SANITIZERS
    return 0;
#else
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    int rc = -ENOMEM;

    if (filter) {
        rc = add_all(filter, locked);
        if (rc == 0) {
            rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
        }
        if (rc == 0) {
            rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list */
        }
        if (rc == 0) {
            rc = seccomp_load(filter);
        }
        seccomp_release(filter);
    }
    if (rc < 0) {
        g_set_error(err, XENDM_ERROR, -rc, "cannot restrict the system calls: %s", g_strerror(-rc));
    }
    return rc;
#endif
}
