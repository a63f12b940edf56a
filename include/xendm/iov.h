/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory in pieces: copying from and to it. */
#ifndef XENDM_IOV_H
#define XENDM_IOV_H

#include <stddef.h>
#include <sys/uio.h>

size_t iov_bytes(const struct iovec *iov, unsigned count); /* of all pieces */
/* From byte `skip` of the pieces on, at most `len` bytes; how many there were. */
size_t iov_get(const struct iovec *iov, unsigned count, size_t skip, void *to, size_t len);
/* `from` NULL: zeros. */
size_t iov_put(const struct iovec *iov, unsigned count, size_t skip, const void *from, size_t len);

#endif
