/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libnbd, loaded when the first medium needs it: with the libraries it needs in turn it is several
 * times as large as the daemon, and most guests have raw images.
 */
#ifndef BACKENDS_BLOCK_NBD_API_H
#define BACKENDS_BLOCK_NBD_API_H

#include <glib.h>
#include <libnbd.h>

#define NBD_CALLS(X) \
    X(create) \
    X(close) \
    X(get_error) \
    X(set_export_name) \
    X(aio_connect_socket) \
    X(aio_get_fd) \
    X(aio_get_direction) \
    X(aio_notify_read) \
    X(aio_notify_write) \
    X(aio_is_connecting) \
    X(aio_is_created) \
    X(aio_is_ready) \
    X(aio_is_processing) \
    X(aio_pread) \
    X(aio_pwrite) \
    X(aio_flush) \
    X(aio_trim) \
    X(aio_zero) \
    X(aio_disconnect) \
    X(get_size) \
    X(get_block_size) \
    X(is_read_only) \
    X(is_rotational) \
    X(can_flush) \
    X(can_fua) \
    X(can_trim) \
    X(can_zero) \
    X(can_multi_conn)

struct nbd_api {
#define X(call) __typeof__(nbd_##call) *call;
    NBD_CALLS(X)
#undef X
};

/* nbd-plain.c: for reading, without the library. */
extern const struct nbd_api nbd_plain;

/* NULL with `err` naming the package. */
const struct nbd_api *nbd_api_load(GError **err);

#endif
