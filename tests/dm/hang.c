/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into the daemon with XENDM_BLOCK_ENGINE=threads: a disk that does not answer. With HANG
 * in the environment, what its file names does not return while it does: "r" reads, "w" writes, "f"
 * flushes; its last byte becomes "!" when one of them hangs. Without, no read ever returns.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

ssize_t preadv(int fd, const struct iovec *iov, int niov, off_t offset);
ssize_t preadv64(int fd, const struct iovec *iov, int niov, off_t offset);
ssize_t preadv2(int fd, const struct iovec *iov, int niov, off_t offset, int flags);
ssize_t preadv64v2(int fd, const struct iovec *iov, int niov, off_t offset, int flags);
ssize_t pwritev(int fd, const struct iovec *iov, int niov, off_t offset);
ssize_t pwritev64(int fd, const struct iovec *iov, int niov, off_t offset);

#define FLAG_SIZE 16

/* Mapped, for later there may be neither a root directory to find it in nor its descriptor. */
static volatile char *flag;

__attribute__((constructor)) static void start(void)
{
    const char *name = getenv("HANG");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    void *p =
        fd >= 0 ? mmap(NULL, FLAG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

    if (p != MAP_FAILED) {
        flag = p;
    }
    if (fd >= 0) {
        close(fd);
    }
}

static int hangs(char what)
{
    if (!getenv("HANG")) {
        return what == 'r';
    }
    for (int i = 0; flag && i < FLAG_SIZE; i++) {
        if (flag[i] == what) {
            return 1;
        }
    }
    return 0;
}

static void hang(char what)
{
    while (hangs(what)) {
        if (flag) {
            flag[FLAG_SIZE - 1] = '!';
        }
        usleep(10000);
    }
}

ssize_t preadv(int fd, const struct iovec *iov, int niov, off_t offset)
{
    hang('r');
    return syscall(SYS_preadv, fd, iov, (long)niov, (long)offset, 0L);
}

ssize_t preadv64(int fd, const struct iovec *iov, int niov, off_t offset)
{
    return preadv(fd, iov, niov, offset);
}

/* A read that must not wait finds nothing cached of a disk that hangs, whatever the host has. */
ssize_t preadv2(int fd, const struct iovec *iov, int niov, off_t offset, int flags)
{
    if (flags & RWF_NOWAIT && hangs('r')) {
        errno = EAGAIN;
        return -1;
    }
    hang('r');
    return syscall(SYS_preadv2, fd, iov, (long)niov, (long)offset, 0L, (long)flags);
}

ssize_t preadv64v2(int fd, const struct iovec *iov, int niov, off_t offset, int flags)
{
    return preadv2(fd, iov, niov, offset, flags);
}

ssize_t pwritev(int fd, const struct iovec *iov, int niov, off_t offset)
{
    hang('w');
    return syscall(SYS_pwritev, fd, iov, (long)niov, (long)offset, 0L);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int niov, off_t offset)
{
    return pwritev(fd, iov, niov, offset);
}

int fdatasync(int fd)
{
    hang('f');
    return (int)syscall(SYS_fdatasync, fd);
}
