/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes syscalls-filter.h while the daemon is built: libseccomp makes two programs for the
 * kernel out of lists of names. At run time that would be a sixth of the daemon's start and a fifth
 * of its memory.
 *
 * The lists permit. A call that is not on them is ENOSYS rather than the end: C libraries try new
 * calls and fall back. Names, because libseccomp knows more of them than any header.
 */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <seccomp.h>

#include "syscalls.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* clang-format off */
static const char *const always[] = {
    /* descriptors */
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2",
    "pwritev2", "lseek", "close", "close_range", "fsync", "fdatasync", "sync_file_range",
    "fallocate", "fadvise64", "ftruncate", "fstat", "fstatfs", "dup", "dup2",
    "dup3", "flock", "poll", "ppoll", "select", "pselect6", "epoll_create1", "epoll_ctl",
    "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "timerfd_create",
    "timerfd_settime", "timerfd_gettime", "signalfd4", "pipe", "pipe2", "inotify_init1",
    "inotify_add_watch", "inotify_rm_watch", "memfd_create", "io_uring_enter",
    "io_uring_register",
    /* sockets that are there */
    "recvmsg", "sendmsg", "recvfrom", "sendto", "recvmmsg", "sendmmsg", "accept", "accept4",
    "shutdown", "getsockopt", "setsockopt", "getsockname", "getpeername", "socketpair",
    /* files: what can be reached is a matter of root and user */
    "open", "openat", "openat2", "stat", "lstat", "newfstatat", "statx", "statfs", "access",
    "faccessat", "faccessat2", "readlink", "readlinkat", "unlink", "unlinkat", "rename",
    "renameat", "renameat2", "mkdir", "mkdirat", "chmod", "fchmod", "fchmodat", "getdents64",
    "getcwd", "umask",
    /* memory, threads, signals */
    "munmap", "mremap", "madvise", "mincore", "brk", "membarrier", "futex", "futex_waitv",
    "set_robust_list", "get_robust_list", "rseq", "set_tid_address", "arch_prctl",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait",
    "rt_sigsuspend", "sigaltstack", "exit", "exit_group", "restart_syscall",
    "sched_yield", "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler",
    "getcpu", "alarm", "pause", "wait4", "waitid",
    /* time and names */
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
    "times", "getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid",
    "getresuid", "getresgid", "getgroups", "getpgrp", "uname", "sysinfo", "getrandom",
    "getrusage", "getrlimit",
};

/* Where no broker does it: for a live update, and what QMP opens by name. */
static const char *const unlocked[] = {
    "fork", "vfork", "clone", "clone3", "execve", "execveat", "kill", "tgkill", "prctl",
    "prlimit64", "fcntl", "ioctl", "sched_setattr",
    "pidfd_open", "pidfd_send_signal", "setsid", "setpgid", "getpgid", "getsid", "chdir",
    "fchdir", "chown", "fchown", "fchownat", "mmap", "mprotect", "socket", "connect", "bind",
    "listen", "io_uring_setup", "setrlimit", "setitimer", "getitimer", "capget", "capset",
    "sched_setaffinity",
};

/* Nobody here calls these, and nobody's library does. */
static const char *const intruders[] = {
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "bpf", "perf_event_open",
    "userfaultfd", "kexec_load", "kexec_file_load", "init_module", "finit_module",
    "delete_module", "mount", "umount2", "move_mount", "fsmount", "open_tree", "pivot_root",
    "chroot", "unshare", "setns", "swapon", "swapoff", "reboot", "iopl", "ioperm", "keyctl",
    "add_key", "request_key", "open_by_handle_at", "name_to_handle_at", "acct", "quotactl",
    "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "modify_ldt", "syslog",
    "mknod", "mknodat",
};

static const char *const intruders_locked[] = {
    "fork", "vfork", "execve", "execveat",
};

/* F_SETOWN and F_SETSIG are not among them: they make the kernel send any signal to anybody. */
static const uint32_t fcntls[] = {
    F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW,
    F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_ADD_SEALS, F_GET_SEALS, F_GETPIPE_SZ, F_SETPIPE_SZ,
};

static const uint32_t prctls[] = {
    PR_SET_NAME, PR_GET_NAME, PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_GET_DUMPABLE,
    PR_GET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_CAPBSET_READ,
    0x53564d41, /* PR_SET_VMA: glibc names its memory */
};

/*
 * By device: Xen's (linux/include/uapi/xen/privcmd.h, evtchn.h, gntdev.h; _IOC(NONE, type, number,
 * size)), terminals but for typing into them (TIOCSTI), network cards' taps that are open, disks.
 */
#define XEN(type, number, size) ((uint32_t)(size) << 16 | (uint32_t)(type) << 8 | (number))
static const uint32_t ioctls[] = {
    XEN('P', 0, 48), /* HYPERCALL */
    XEN('P', 2, 16), /* MMAP */
    XEN('P', 3, 24), /* MMAPBATCH */
    XEN('P', 4, 32), /* MMAPBATCH_V2 */
    XEN('P', 5, 16), /* DM_OP */
    XEN('P', 6, 2),  /* RESTRICT */
    XEN('P', 7, 32), /* MMAP_RESOURCE */
    XEN('E', 0, 4),  /* BIND_VIRQ */
    XEN('E', 1, 8),  /* BIND_INTERDOMAIN */
    XEN('E', 2, 4),  /* BIND_UNBOUND_PORT */
    XEN('E', 3, 4),  /* UNBIND */
    XEN('E', 4, 4),  /* NOTIFY */
    XEN('E', 5, 0),  /* RESET */
    XEN('E', 6, 2),  /* RESTRICT_DOMID */
    XEN('G', 0, 24), /* MAP_GRANT_REF */
    XEN('G', 1, 16), /* UNMAP_GRANT_REF */
    XEN('G', 2, 24), /* GET_OFFSET_FOR_VADDR */
    XEN('G', 3, 4),  /* SET_MAX_GRANTS */
    XEN('G', 7, 16), /* SET_UNMAP_NOTIFY */
    XEN('G', 8, 16), /* GRANT_COPY */
    TCGETS, TCSETS, TCSETSW, TCSETSF, TCFLSH, TCSBRK, TIOCGWINSZ, TIOCGPGRP, TIOCOUTQ, TIOCMGET,
    TIOCMSET, TIOCGPTN, FIONREAD, FIONBIO, FIOCLEX,
    TUNGETIFF, TUNSETOFFLOAD, TUNGETVNETHDRSZ, TUNSETVNETHDRSZ, TUNSETSNDBUF,
    BLKGETSIZE64, BLKROGET, BLKSSZGET, BLKPBSZGET, BLKROTATIONAL, BLKDISCARD, BLKZEROOUT,
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

/* `call` with one of these in its argument `index`, of 32 bits. */
static int add_values(scmp_filter_ctx filter, int call, unsigned index, const uint32_t *value,
                      size_t n)
{
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
                              SCMP_CMP(index, SCMP_CMP_MASKED_EQ, UINT32_MAX, value[i]));
    }
    return rc;
}

/* What a signal, a limit or a slice of time is for: this process. */
static int add_own(scmp_filter_ctx filter)
{
    static const uint32_t self[] = {0}, pid[] = {SYSCALLS_OWN_PID};
    int rc = add_values(filter, SCMP_SYS(prlimit64), 0, self, 1);

    rc = rc ? rc : add_values(filter, SCMP_SYS(sched_setattr), 0, self, 1);
    rc = rc ? rc : add_values(filter, SCMP_SYS(kill), 0, pid, 1);
    return rc ? rc : add_values(filter, SCMP_SYS(tgkill), 0, pid, 1);
}

static int add_arguments(scmp_filter_ctx filter)
{
    int rc = add_own(filter);

    rc = rc ? rc : add_values(filter, SCMP_SYS(prctl), 0, prctls, COUNT(prctls));
    rc = rc ? rc : add_values(filter, SCMP_SYS(fcntl), 1, fcntls, COUNT(fcntls));
    return rc ? rc : add_values(filter, SCMP_SYS(ioctl), 1, ioctls, COUNT(ioctls));
}

static int add_all(scmp_filter_ctx filter, bool locked)
{
    int rc = add(filter, SCMP_ACT_ALLOW, always, COUNT(always));

    if (rc == 0) {
        rc = add(filter, SCMP_ACT_KILL_PROCESS, intruders, COUNT(intruders));
    }
    if (rc < 0) {
        return rc;
    }
    if (!locked) {
        return add(filter, SCMP_ACT_ALLOW, unlocked, COUNT(unlocked));
    }
    rc = add(filter, SCMP_ACT_KILL_PROCESS, intruders_locked, COUNT(intruders_locked));
    rc = rc ? rc : add_arguments(filter);
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    }
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    }
    /*
     * Threads. clone3() keeps its flags in memory, where no filter sees them; the C library goes on
     * with clone().
     */
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_VM,
                                      CLONE_THREAD | CLONE_VM));
    }
    return rc;
}

static int print(const char *name, bool locked)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    FILE *file = tmpfile();
    struct sock_filter step;
    int rc = filter && file ? add_all(filter, locked) : -ENOMEM;

    if (rc == 0) {
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list */
    }
    if (rc == 0) {
        rc = seccomp_export_bpf(filter, fileno(file));
    }
    if (rc == 0) {
        rewind(file);
        printf("static const struct sock_filter %s[] = {\n", name);
        while (fread(&step, sizeof(step), 1, file) == 1) {
            printf("    {0x%04x, %u, %u, 0x%08" PRIx32 "},\n", step.code, step.jt, step.jf, step.k);
        }
        printf("};\n");
    }
    if (filter) {
        seccomp_release(filter);
    }
    if (file) {
        fclose(file);
    }
    return rc;
}

int main(void)
{
    int rc;

    printf("/* Made by dm/sandbox/make-syscalls-filter. */\n");
    rc = print("filter_unlocked", false);
    if (rc == 0) {
        rc = print("filter_locked", true);
    }
    if (rc < 0 || fflush(stdout) != 0) {
        fprintf(stderr, "make-syscalls-filter: %s\n", strerror(rc < 0 ? -rc : errno));
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
