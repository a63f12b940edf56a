/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What can and what cannot be called behind the filter, each tried in a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>

#include "dm/sandbox/syscalls.h"

#define KILLED 1000 /* beside errno's values */

static int result(long rc)
{
    return rc < 0 ? errno : 0;
}

static int read_write(void)
{
    int fd[2];
    char c = 'x';

    return pipe(fd) < 0 || write(fd[1], &c, 1) != 1 || read(fd[0], &c, 1) != 1 ? EIO : 0;
}

static void *nothing(void *opaque)
{
    return opaque;
}

static int thread(void)
{
    pthread_t t;
    int rc = pthread_create(&t, NULL, nothing, NULL);

    return rc ? rc : pthread_join(t, NULL);
}

static int map(int prot)
{
    return mmap(NULL, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
}

static int memory(void)
{
    return map(PROT_READ | PROT_WRITE);
}

static int code(void)
{
    return map(PROT_READ | PROT_WRITE | PROT_EXEC);
}

static int make_code(void)
{
    static _Alignas(4096) char page[4096];

    return result(mprotect(page, sizeof(page), PROT_READ | PROT_EXEC));
}

static int new_socket(void)
{
    return result(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int child(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        _exit(0);
    }
    return pid < 0 ? errno : result(waitpid(pid, NULL, 0));
}

static int raw_fork(void)
{
    long pid = syscall(SYS_fork);

    if (pid == 0) {
        _exit(0);
    }
    return result(pid);
}

static int execute(void)
{
    char *argv[] = {(char *)"/bin/true", NULL};

    execv(argv[0], argv);
    return errno;
}

static int trace(void)
{
    return result(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int load_bpf(void)
{
    union bpf_attr attr;

    memset(&attr, 0, sizeof(attr));
    return result(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
}

static int new_namespace(void)
{
    return result(unshare(CLONE_NEWUSER));
}

static int mount_something(void)
{
    return result(mount("none", "/proc", "tmpfs", 0, NULL));
}

static int page_faults(void)
{
    return result(syscall(SYS_userfaultfd, 0));
}

static int superuser(void)
{
    return result(setuid(0));
}

static int from_the_future(void)
{
    return result(syscall(4000));
}

static int stop_process(void)
{
    return result(kill(getpid(), 0));
}

static int stop_other(void)
{
    return result(kill(getppid(), 0));
}

static int limit_other(void)
{
    struct rlimit limit;

    return result(prlimit(getppid(), RLIMIT_NOFILE, NULL, &limit));
}

static int limit_own(void)
{
    struct rlimit limit;

    return result(prlimit(0, RLIMIT_NOFILE, NULL, &limit));
}

static int signal_by_descriptor(void)
{
    int fd[2];

    return socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0 ? EIO
                                                       : result(fcntl(fd[0], F_SETOWN, getppid()));
}

static int descriptor_flags(void)
{
    return result(fcntl(STDIN_FILENO, F_GETFL));
}

/* None of these is a terminal or Xen: who gets that far hears that. */
static int ask_pipe(unsigned long request)
{
    char argument[128] = {0};
    int fd[2];

    return pipe(fd) < 0 ? EIO : result(ioctl(fd[0], request, argument));
}

static int type_into_terminal(void)
{
    return ask_pipe(TIOCSTI);
}

static int terminal_settings(void)
{
    return ask_pipe(TCGETS);
}

static int hypercall(void)
{
    return ask_pipe(0x305000); /* IOCTL_PRIVCMD_HYPERCALL */
}

static int stop_dumping(void)
{
    return result(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
}

#ifdef __x86_64__
/* getpid() of 32 bits: another table of numbers, which no rule speaks of. */
static int other_table(void)
{
    long rc;

    __asm__ volatile("int $0x80" : "=a"(rc) : "a"(20) : "memory");
    return rc < 0 ? (int)-rc : 0;
}

/* A kernel that is a guest by paging alone (PVM) kills any program for it by SIGSEGV. */
static bool has_other_table(void)
{
    pid_t pid = fork();
    int status;

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        _exit(other_table() != 0);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return !WIFSIGNALED(status);
}
#endif

static const struct probe {
    const char *name;
    int (*run)(void);
    int unlocked, locked;
} probes[] = {
    {"read and write", read_write, 0, 0},
    {"a thread", thread, 0, 0},
    {"memory", memory, 0, 0},
    {"a call nobody knows", from_the_future, ENOSYS, ENOSYS},
    {"setuid", superuser, ENOSYS, ENOSYS},
    {"memory that is code", code, 0, ENOSYS},
    {"memory that becomes code", make_code, 0, ENOSYS},
    {"a socket", new_socket, 0, ENOSYS},
    {"a process", child, 0, ENOSYS},
    {"a signal to ourselves", stop_process, 0, 0},
    {"a signal to another process", stop_other, 0, ENOSYS},
    {"limits of another process", limit_other, 0, ENOSYS},
    {"our own limits", limit_own, 0, 0},
    {"a signal by way of a descriptor", signal_by_descriptor, 0, ENOSYS},
    {"flags of a descriptor", descriptor_flags, 0, 0},
    {"typing into a terminal", type_into_terminal, ENOTTY, ENOSYS},
    {"the settings of a terminal", terminal_settings, ENOTTY, ENOTTY},
    {"Xen's hypercall", hypercall, ENOTTY, ENOTTY},
    {"dumping a secret", stop_dumping, 0, ENOSYS},
    {"a process by fork(2)", raw_fork, 0, KILLED},
    {"a program", execute, 0, KILLED},
    {"ptrace", trace, KILLED, KILLED},
    {"bpf", load_bpf, KILLED, KILLED},
    {"unshare", new_namespace, KILLED, KILLED},
    {"mount", mount_something, KILLED, KILLED},
    {"userfaultfd", page_faults, KILLED, KILLED},
#ifdef __x86_64__
    {"a call of 32 bits", other_table, KILLED, KILLED},
#endif
};

static int outcome(const struct probe *p, bool locked)
{
    pid_t pid = fork();
    int status;

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        GError *err = NULL;

        if (syscalls_restrict(locked, &err) < 0 || !syscalls_restricted()) {
            _exit(255);
        }
        _exit(p->run());
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    if (WIFSIGNALED(status)) {
        g_assert_cmpint(WTERMSIG(status), ==, SIGSYS);
        return KILLED;
    }
    return WEXITSTATUS(status);
}

static void test_calls(gconstpointer locked)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(probes); i++) {
        const struct probe *p = &probes[i];
        int got, wanted = locked ? p->locked : p->unlocked;

#ifdef __x86_64__
        if (p->run == other_table && !has_other_table()) {
            g_test_message("%s: not tried, this kernel takes none", p->name);
            continue;
        }
#endif
        got = outcome(p, locked != NULL);
        if (got != wanted) {
            g_error("%s: %d in place of %d", p->name, got, wanted);
        }
    }
}

/* A thread that was there before is in the same cage. */
static void *wait_and_trace(void *opaque)
{
    char c;

    if (read(*(int *)opaque, &c, 1) == 1) {
        trace();
    }
    return NULL;
}

static void test_threads(void)
{
    pid_t pid = fork();
    int status;

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        pthread_t t;
        int fd[2];

        if (pipe(fd) < 0 || pthread_create(&t, NULL, wait_and_trace, &fd[0]) != 0 ||
            syscalls_restrict(false, NULL) < 0 || write(fd[1], "x", 1) != 1) {
            _exit(1);
        }
        pthread_join(t, NULL);
        _exit(2);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status));
    g_assert_cmpint(WTERMSIG(status), ==, SIGSYS);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#ifdef SYSCALLS_FREE
    /* Not g_print(): newer glib makes a comment of it. */
    printf("1..0 # SKIP sanitizers need system calls that the filter does not give\n");
    return 0;
#endif
    g_test_add_data_func("/syscalls/unlocked", NULL, test_calls);
    g_test_add_data_func("/syscalls/locked", "locked", test_calls);
    g_test_add_func("/syscalls/threads", test_threads);
    return g_test_run();
}
