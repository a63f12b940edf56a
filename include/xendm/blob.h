/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Back end "file": a file of the host that is handed to the guest as it is: kernel, initial RAM
 * disk, boot ROM. Opened at start, before the sandbox, and never written.
 *
 * It is read and not mapped: a file that somebody shortens is an I/O error then, and no SIGBUS. Its
 * size is what it was at start; reading ahead begins there, so that a read is most often a copy out
 * of the page cache.
 */
#ifndef XENDM_BLOB_H
#define XENDM_BLOB_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <xendm/backend.h>

struct blob;

static inline struct blob *blob_of(struct backend *b)
{
    return (struct blob *)b;
}

uint64_t blob_size(const struct blob *b);
const char *blob_name(const struct blob *b); /* of the file, for messages */

/*
 * Fills the pieces, of which there are at most IOV_MAX, with what is from `at` on. 0, or -errno;
 * -EIO also when the file ends before.
 */
int blob_read_iov(const struct blob *b, uint64_t at, const struct iovec *iov, unsigned count);
int blob_read(const struct blob *b, uint64_t at, void *buf, size_t len);

#endif
