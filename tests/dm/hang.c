/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Preloaded into the daemon with XENDM_BLOCK_ENGINE=threads: a disk that does not answer. */
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

ssize_t preadv(int fd, const struct iovec *iov, int niov, off_t offset);
ssize_t preadv64(int fd, const struct iovec *iov, int niov, off_t offset);

ssize_t preadv(int fd, const struct iovec *iov, int niov, off_t offset)
{
    (void)fd, (void)iov, (void)niov, (void)offset;
    for (;;) {
        pause();
    }
}

ssize_t preadv64(int fd, const struct iovec *iov, int niov, off_t offset)
{
    return preadv(fd, iov, niov, offset);
}
