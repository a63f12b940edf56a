/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into the daemon, this is a guest's code that got in: at SIGUSR2 it tries what it would
 * like, and writes to standard error what came of each. XENDM_INTRUDER names one try that is the
 * end, in place of those that are not; XENDM_VICTIM a file of somebody else's.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dm/sandbox/broker.h"

static char victim[4096], only[64];
static pid_t parent;

static int result(long rc)
{
    return rc < 0 ? errno : 0;
}

static int open_it(const char *path, int flags)
{
    int fd = open(path, flags, 0600);

    return fd < 0 ? errno : 0; /* left open: an intruder would */
}

static int try_shadow(void)
{
    return open_it("/etc/shadow", O_RDONLY);
}

static int try_own_memory(void)
{
    return open_it("/proc/self/mem", O_RDWR);
}

static int try_other_process(void)
{
    return open_it("/proc/1/environ", O_RDONLY);
}

static int try_xen(void)
{
    return open_it("/dev/xen/privcmd", O_RDWR);
}

static int try_new_file(void)
{
    return open_it("/intruder", O_RDWR | O_CREAT);
}

static int try_victim(void)
{
    return open_it(victim, O_RDONLY);
}

static int try_unlink(void)
{
    return result(unlink(victim));
}

static int try_node(void)
{
    return result(mkdir("/intruder", 0700));
}

static int try_socket(void)
{
    return result(socket(AF_INET, SOCK_STREAM, 0));
}

static int try_unix_socket(void)
{
    return result(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int try_kill(void)
{
    return result(kill(parent, 0));
}

static int try_owner(void)
{
    int fd[2];

    return socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0 ? EIO
                                                       : result(fcntl(fd[0], F_SETOWN, parent));
}

static int try_limits(void)
{
    struct rlimit limit = {0, 0};

    return result(prlimit(parent, RLIMIT_NOFILE, &limit, NULL));
}

static int try_code(void)
{
    return mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                   MAP_FAILED
               ? errno
               : 0;
}

static int try_child(void)
{
    return result(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0));
}

static int try_ring(void)
{
    char parameters[120] = {0};

    return result(syscall(SYS_io_uring_setup, 4, parameters));
}

static int try_user(void)
{
    return result(setuid(0));
}

static int try_capabilities(void)
{
    return prctl(PR_CAPBSET_DROP, 0, 0, 0, 0) < 0 ? errno : 0;
}

static int try_typing(void)
{
    char c = 'x';

    return result(ioctl(0, TIOCSTI, &c));
}

/* ---- by the broker ---- */

/* The first pair of sockets of packets that we made ourselves. */
static int find_broker(void)
{
    for (int fd = 3; fd < 256; fd++) {
        struct ucred peer;
        socklen_t len = sizeof(int), peer_len = sizeof(peer);
        int type = 0;

        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET &&
            getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_len) == 0 &&
            peer.pid == getpid()) {
            return fd;
        }
    }
    return -1;
}

static int ask(uint32_t op, const char *path)
{
    static struct broker_request q;
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
                          .cmsg_level = SOL_SOCKET,
                          .cmsg_type = SCM_RIGHTS}};
    struct iovec iov = {&q, sizeof(q)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct broker_reply reply = {.result = -EPIPE};
    int fd = find_broker(), line = 2;

    memset(&q, 0, sizeof(q));
    q.op = op;
    strncpy(q.path, path, sizeof(q.path) - 1);
    strcpy(q.format, "qcow2");
    if (op == BROKER_EXECUTE) { /* it comes with a line */
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
        memcpy(CMSG_DATA(&control.head), &line, sizeof(line));
    }
    if (fd < 0 || sendmsg(fd, &msg, MSG_NOSIGNAL) != sizeof(q) ||
        recv(fd, &reply, sizeof(reply), 0) != sizeof(reply)) {
        return EPIPE;
    }
    return -reply.result;
}

static int ask_allowed(void)
{
    return ask(BROKER_OPEN_READ, "/etc/passwd");
}

static int ask_shadow(void)
{
    return ask(BROKER_OPEN_READ, "/etc/shadow");
}

static int ask_victim(void)
{
    return ask(BROKER_OPEN_READ, victim);
}

/* No PV disk has it. */
static int ask_write(void)
{
    return ask(BROKER_OPEN_WRITE, victim);
}

static int ask_for_server(void)
{
    return ask(BROKER_START_KEEPER, victim);
}

static int ask_environ(void)
{
    return ask(BROKER_OPEN_READ, "/proc/1/environ");
}

static int ask_status(void)
{
    return ask(BROKER_OPEN_READ, "/proc/1/status");
}

static int ask_picture(void)
{
    return ask(BROKER_PICTURE_BEGIN, "/etc/intruder");
}

static int ask_socket(void)
{
    return ask(BROKER_REMOVE_SOCKET, victim);
}

static int ask_program(void)
{
    return ask(BROKER_EXECUTE, victim);
}

/* ---- the end ---- */

static int try_ptrace(void)
{
    return result(ptrace(PTRACE_ATTACH, parent, NULL, NULL));
}

static int try_exec(void)
{
    char *argv[] = {(char *)"/bin/true", NULL};

    execv(argv[0], argv);
    return errno;
}

static int try_fork(void)
{
    return result(syscall(SYS_fork));
}

static int try_mount(void)
{
    return result(mount("none", "/", "tmpfs", 0, NULL));
}

static int try_unshare(void)
{
    return result(unshare(CLONE_NEWUSER));
}

static int try_chroot(void)
{
    return result(chroot("/"));
}

static int try_read_process(void)
{
    return result(syscall(SYS_process_vm_readv, parent, NULL, 0, NULL, 0, 0));
}

static const struct attempt {
    const char *name;
    int (*run)(void);
    int is_end;
} attempts[] = {
    {"open /etc/shadow", try_shadow, 0},
    {"open /proc/self/mem", try_own_memory, 0},
    {"open /proc/1/environ", try_other_process, 0},
    {"open /dev/xen/privcmd", try_xen, 0},
    {"open another's file", try_victim, 0},
    {"unlink another's file", try_unlink, 0},
    {"make a file", try_new_file, 0},
    {"make a directory", try_node, 0},
    {"socket", try_socket, 0},
    {"unix socket", try_unix_socket, 0},
    {"kill another process", try_kill, 0},
    {"signal by F_SETOWN", try_owner, 0},
    {"limits of another process", try_limits, 0},
    {"memory that is code", try_code, 0},
    {"a child", try_child, 0},
    {"a ring of its own", try_ring, 0},
    {"setuid", try_user, 0},
    {"capabilities", try_capabilities, 0},
    {"type into a terminal", try_typing, 0},
    {"broker: what anybody may read", ask_allowed, 0},
    {"broker: /etc/shadow", ask_shadow, 0},
    {"broker: another's file", ask_victim, 0},
    {"broker: write another's file", ask_write, 0},
    {"broker: a server for another's file", ask_for_server, 0},
    {"broker: /proc/1/environ", ask_environ, 0},
    {"broker: /proc/1/status", ask_status, 0},
    {"broker: a picture in /etc", ask_picture, 0},
    {"broker: remove another's socket", ask_socket, 0},
    {"broker: another's program", ask_program, 0},
    {"ptrace", try_ptrace, 1},
    {"execve", try_exec, 1},
    {"fork", try_fork, 1},
    {"mount", try_mount, 1},
    {"unshare", try_unshare, 1},
    {"chroot", try_chroot, 1},
    {"process_vm_readv", try_read_process, 1},
};

static void intrude(int signal)
{
    char line[256];

    (void)signal;
    for (unsigned i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
        const struct attempt *a = &attempts[i];

        if (only[0] ? strcmp(only, a->name) == 0 : !a->is_end) {
            int e = a->run();
            int n = snprintf(line, sizeof(line), "intruder: %s: %s\n", a->name,
                             e ? strerrorname_np(e) : "done");

            if (write(2, line, (size_t)n) != n) {
                return;
            }
        }
    }
    if (write(2, "intruder: that was all\n", 23) != 23) {
        return;
    }
}

__attribute__((constructor)) static void arrive(void)
{
    const char *v = getenv("XENDM_VICTIM"), *o = getenv("XENDM_INTRUDER");

    snprintf(victim, sizeof(victim), "%s", v ? v : "");
    snprintf(only, sizeof(only), "%s", o ? o : "");
    parent = getppid();
    signal(SIGUSR2, intrude);
}
