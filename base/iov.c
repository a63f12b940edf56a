/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See iov.h. */
#include <stdint.h>
#include <string.h>

#include <glib.h>

#include <xendm/iov.h>

size_t iov_bytes(const struct iovec *iov, unsigned count)
{
    size_t total = 0;

    for (unsigned i = 0; i < count; i++) {
        total += iov[i].iov_len;
    }
    return total;
}

/* The next piece's part of what is wanted. */
static uint8_t *part(const struct iovec *piece, size_t *skip, size_t left, size_t *size)
{
    uint8_t *at = piece->iov_base;

    if (*skip >= piece->iov_len) {
        *skip -= piece->iov_len;
        *size = 0;
        return at;
    }
    at += *skip;
    *size = MIN(piece->iov_len - *skip, left);
    *skip = 0;
    return at;
}

size_t iov_get(const struct iovec *iov, unsigned count, size_t skip, void *to, size_t len)
{
    size_t done = 0, size;

    for (unsigned i = 0; i < count && done < len; i++) {
        const uint8_t *at = part(&iov[i], &skip, len - done, &size);

        if (size > 0) {
            memcpy((uint8_t *)to + done, at, size);
            done += size;
        }
    }
    return done;
}

size_t iov_put(const struct iovec *iov, unsigned count, size_t skip, const void *from, size_t len)
{
    size_t done = 0, size;

    for (unsigned i = 0; i < count && done < len; i++) {
        uint8_t *at = part(&iov[i], &skip, len - done, &size);

        if (size > 0 && from) {
            memcpy(at, (const uint8_t *)from + done, size);
        } else if (size > 0) {
            memset(at, 0, size);
        }
        done += size;
    }
    return done;
}
