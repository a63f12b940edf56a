/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What carries requests to a server, in libnbd's words: libnbd itself, for servers of somebody's
 * and images that are elsewhere, loaded when the first medium needs it (with the libraries it needs
 * in turn it is several times as large as the daemon), and vhost-blk.c for the images of this host.
 */
#ifndef BACKENDS_BLOCK_NBD_API_H
#define BACKENDS_BLOCK_NBD_API_H

#include <stdbool.h>
#include <stdint.h>

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
    /*
     * Not libnbd's; NULL: data may be anywhere, there is no end of commands, and ranges are long.
     * `take`: memory for the data of a command, NULL when there is none now; `give` returns it.
     * `is_full`: no command can be sent now. `range_max`: bytes of one TRIM or ZERO.
     */
    void *(*take)(struct nbd_handle *h, size_t count);
    void (*give)(struct nbd_handle *h, void *buf, size_t count);
    bool (*is_full)(struct nbd_handle *h);
    uint32_t (*range_max)(struct nbd_handle *h);
};

extern const struct nbd_api vhost_blk;
#define VHOST_BLK_MEMORY (5u << 20) /* bytes of a file in memory, at most */

/* NULL with `err` naming the package. */
const struct nbd_api *nbd_api_load(GError **err);

#endif
