/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into the daemon with XENDM_BLOCK_ENGINE=threads: a disk that does not answer. With HANG
 * in the environment, what its file names does not return while it does: "r" reads, "w" writes, "f"
 * flushes. Without, no read ever returns.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

ssize_t preadv(int fd, const struct iovec *iov, int niov, off_t offset);
ssize_t preadv64(int fd, const struct iovec *iov, int niov, off_t offset);
ssize_t pwritev(int fd, const struct iovec *iov, int niov, off_t offset);
ssize_t pwritev64(int fd, const struct iovec *iov, int niov, off_t offset);

/* The flag is held open, for there may be no root directory to find it in later. */
static int flag = -1;

__attribute__((constructor)) static void start(void)
{
    const char *name = getenv("HANG");

    flag = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
}

static int hangs(char what)
{
    char text[16] = {0};

    if (!getenv("HANG")) {
        return what == 'r';
    }
    return flag >= 0 && pread(flag, text, sizeof(text) - 1, 0) > 0 && strchr(text, what);
}

static void hang(char what)
{
    while (hangs(what)) {
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
