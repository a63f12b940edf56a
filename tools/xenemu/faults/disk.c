/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host whose disks fail on demand: `xenemu run --disk-faults`.
 *
 * A seccomp filter gives the device model's system calls that move file data to a thread of ours
 * (seccomp_unotify(2)). It lets the kernel go on with them, unless they are for the file of a drive
 * and the host process says that a fault is due: then it answers in the kernel's place, with an
 * error or with fewer bytes. The device model is an ordinary one; nothing in it knows.
 *
 * io_uring's requests are no system calls and cannot be seen so: io_uring_setup() fails with EPERM,
 * as it does in containers, and the device model takes threads.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "../run/control.h"
#include "../run/run.h"
#include "disk.h"

#define SECTOR 512u
#define IOV_MAX_KERNEL 1024u
#define SHORT_MAX (1u << 20) /* bytes of a short transfer, which we move ourselves */

/* ---- in the child, before it becomes the device model ---- */

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

static const int watched[] = {
    __NR_pread64,  __NR_preadv, __NR_preadv2,   __NR_pwrite64,  __NR_pwritev,
    __NR_pwritev2, __NR_fsync,  __NR_fdatasync, __NR_fallocate,
};

/* The listener's descriptor, or -1. */
static int filter_install(void)
{
    struct sock_filter code[COUNT_OF(watched) + 8];
    struct sock_fprog program = {.filter = code};
    unsigned short n = 0;
    size_t i;

#define ADD(...) code[n++] = (struct sock_filter)__VA_ARGS__
    ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
    ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
    ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
    ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1));
    ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
    for (i = 0; i < COUNT_OF(watched); i++)
        ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)watched[i],
                     (unsigned char)(COUNT_OF(watched) - i), 0));
    ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
#undef ADD
    program.len = n;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    return (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                        &program);
}

/* One byte that says whether it worked, and the descriptor with it. */
void disk_faults_child(int sock)
{
    int fd = filter_install();
    char ok = fd >= 0, control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {&ok, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (ok) {
        struct cmsghdr *cm;

        m.msg_control = control;
        m.msg_controllen = sizeof(control);
        cm = CMSG_FIRSTHDR(&m);
        cm->cmsg_level = SOL_SOCKET;
        cm->cmsg_type = SCM_RIGHTS;
        cm->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cm), &fd, sizeof(int));
    }
    sendmsg(sock, &m, MSG_NOSIGNAL);
    close(sock);
    if (ok)
        close(fd);
}

/* ---- the thread that answers ---- */

struct watcher {
    int listener;
    FILE *ctl;
};

/* A call on a drive's file. */
struct disk_call {
    const char *op;
    char drive[4];
    bool write, cached;
    int fd;
    uint64_t offset, length;
    struct iovec iov[IOV_MAX_KERNEL]; /* in the device model's memory */
    size_t niov;
};

/* Which drive of ours the descriptor is open on. */
static bool drive_of(pid_t pid, int fd, char drive[4])
{
    char *link = g_strdup_printf("/proc/%d/fd/%d", pid, fd), *name = g_file_read_link(link, NULL);
    char **list[2] = {opt.disks, opt.cdroms};
    bool found = false;
    unsigned int k, i;

    g_free(link);
    for (k = 0; name && k < 2 && !found; k++)
        for (i = 0; list[k] && list[k][i] && !found; i++) {
            char *path = realpath(list[k][i], NULL);

            if (path && !strcmp(path, name)) {
                found = true;
                memcpy(drive, "hda", 4);
                drive[2] = (char)(drive[2] + (char)(i + 2 * k));
            }
            free(path);
        }
    g_free(name);
    return found;
}

static bool read_iov(pid_t pid, const struct seccomp_data *d, struct disk_call *c)
{
    struct iovec to = {c->iov, 0}, from = {(void *)(uintptr_t)d->args[1], 0};
    size_t i;

    if (d->nr == __NR_pread64 || d->nr == __NR_pwrite64) {
        c->iov[0] = (struct iovec){(void *)(uintptr_t)d->args[1], d->args[2]};
        c->niov = 1;
    } else {
        c->niov = d->args[2];
        if (c->niov > IOV_MAX_KERNEL)
            return false;
        to.iov_len = from.iov_len = c->niov * sizeof(c->iov[0]);
        if (process_vm_readv(pid, &to, 1, &from, 1, 0) != (ssize_t)to.iov_len)
            return false;
    }
    for (i = 0; i < c->niov; i++)
        c->length += c->iov[i].iov_len;
    return true;
}

/* False: not for us. */
static bool understand(const struct seccomp_notif *n, struct disk_call *c)
{
    const struct seccomp_data *d = &n->data;

    memset(c, 0, offsetof(struct disk_call, iov));
    c->fd = (int)d->args[0];
    if (!drive_of((pid_t)n->pid, c->fd, c->drive))
        return false;
    switch (d->nr) {
    case __NR_fsync:
    case __NR_fdatasync:
        c->op = "disk-flush";
        c->length = UINT64_MAX;
        return true;
    case __NR_fallocate:
        c->op = "disk-discard";
        c->offset = d->args[2];
        c->length = d->args[3];
        return true;
    case __NR_pwrite64:
    case __NR_pwritev:
    case __NR_pwritev2:
        c->write = true;
        c->op = "disk-write";
        break;
    default:
        c->op = "disk-read";
        break;
    }
    c->offset = d->args[3];
    c->cached = d->nr == __NR_preadv2 && (d->args[5] & RWF_NOWAIT);
    return read_iov((pid_t)n->pid, d, c);
}

/* Moves what a call that is cut short moves. Bytes, or -errno. */
static int64_t move(pid_t pid, const struct disk_call *c, uint64_t most)
{
    size_t size = (size_t)MIN(MIN(most, c->length), SHORT_MAX);
    char *link = g_strdup_printf("/proc/%d/fd/%d", pid, c->fd), *buf = g_malloc(size + 1);
    int fd = open(link, (c->write ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
    struct iovec ours = {buf, size};
    ssize_t n = -1;

    g_free(link);
    if (fd >= 0 && size == 0) {
        n = 0;
    } else if (fd >= 0 && c->write) {
        n = process_vm_readv(pid, &ours, 1, c->iov, c->niov, 0);
        if (n > 0)
            n = pwrite(fd, buf, (size_t)n, (off_t)c->offset);
    } else if (fd >= 0) {
        n = pread(fd, buf, size, (off_t)c->offset);
        ours.iov_len = n > 0 ? (size_t)n : 0;
        if (n > 0)
            n = process_vm_writev(pid, &ours, 1, c->iov, c->niov, 0);
    }
    if (n < 0)
        n = -errno;
    if (fd >= 0)
        close(fd);
    g_free(buf);
    return n;
}

/* What the host process says of it: true with the result if the kernel is not to be asked. */
static bool fails(struct watcher *w, pid_t pid, const struct disk_call *c, int64_t *result)
{
    uint64_t first = c->offset / SECTOR, shorter, last;
    char line[256];
    int err, words;

    last = c->length == UINT64_MAX ? UINT64_MAX : (c->offset + MAX(c->length, 1) - 1) / SECTOR;
    fprintf(w->ctl, "diskcall %s %s %" PRIu64 " %" PRIu64 " %d\n", c->op, c->drive, first, last,
            c->cached);
    fflush(w->ctl);
    if (!fgets(line, sizeof(line), w->ctl))
        return false;
    words = sscanf(line, "OK %d %" SCNu64, &err, &shorter);
    if (words == 2)
        *result = move(pid, c, shorter);
    else if (words == 1 && err)
        *result = -err;
    else
        return false;
    return true;
}

static void *watch(void *arg)
{
    struct disk_call *c = g_new(struct disk_call, 1);
    struct watcher *w = arg;

    for (;;) {
        struct pollfd p = {.fd = w->listener, .events = POLLIN};
        struct seccomp_notif n = {0};
        struct seccomp_notif_resp r = {0};
        int64_t result;

        if (poll(&p, 1, -1) < 0 && errno == EINTR)
            continue;
        if (!(p.revents & POLLIN)) /* nobody is left who could call */
            break;
        if (ioctl(w->listener, SECCOMP_IOCTL_NOTIF_RECV, &n) < 0)
            continue; /* it died meanwhile */
        r.id = n.id;
        r.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        if (understand(&n, c) && fails(w, (pid_t)n.pid, c, &result)) {
            r.flags = 0;
            r.val = result >= 0 ? result : 0;
            r.error = result < 0 ? (int)result : 0;
        }
        ioctl(w->listener, SECCOMP_IOCTL_NOTIF_SEND, &r);
    }
    close(w->listener);
    fclose(w->ctl);
    g_free(c);
    g_free(w);
    return NULL;
}

bool disk_faults_watch(int sock, FILE *control)
{
    char ok = 0, buf[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {&ok, 1};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = buf,
                       .msg_controllen = sizeof(buf)};
    struct watcher *w;
    struct cmsghdr *cm;
    pthread_t t;

    if (recvmsg(sock, &m, MSG_CMSG_CLOEXEC) != 1 || !ok || !(cm = CMSG_FIRSTHDR(&m)) || !control)
        return complain("--disk-faults: this kernel does not hand out system calls "
                        "(seccomp user notification)");
    w = g_new0(struct watcher, 1);
    memcpy(&w->listener, CMSG_DATA(cm), sizeof(int));
    w->ctl = control;
    if (pthread_create(&t, NULL, watch, w))
        return complain("--disk-faults: no thread");
    pthread_detach(t);
    return true;
}
