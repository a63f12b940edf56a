/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A medium behind NBD: nbd-link.c has the connection, nbd.c the requests, nbd-place.c where the
 * medium is, keeper.c the process that makes connections.
 */
#ifndef BACKENDS_BLOCK_NBD_H
#define BACKENDS_BLOCK_NBD_H

#include "driver.h"
#include "nbd-api.h"

enum nbd_state {
    NBD_IDLE,    /* no connection, and nobody asked for one */
    NBD_ASKED,   /* the keeper was */
    NBD_SHAKING, /* connected, not agreed yet */
    NBD_READY,
};

struct nbd_link {
    const struct nbd_api *api;
    int keeper;         /* socket to it; -1: it is gone */
    unsigned deaf_ms;   /* … the last pause of */
    int64_t deaf_until; /* … which could not be read for want of something; monotonic µs */
    char *export;       /* name */
    bool served;        /* the keeper starts a server: its end says whether anything was lost */
    bool writable;      /* what the export must be, unless `looking` */
    bool looking;       /* the connection is for a look only */
    uint64_t need_size; /* what it must have: what the guest was told */

    enum nbd_state state;
    uint32_t serial;
    struct nbd_handle *handle;
    int fd;            /* its socket */
    int64_t deadline;  /* of what was asked of the keeper, of the handshake; monotonic µs */
    int64_t failed_at; /* the last time that it was given up */
    int64_t ready_at;  /* since when the connection is of use */
    int64_t next_ask;  /* not before that */
    unsigned pause_ms; /* between two tries */
    int error;         /* errno of the last failure */
    char *why;
    bool cut;              /* a connection that was in use was lost; the owner clears it */
    bool unclean;          /* a server that was in use ended out of order; the same */
    char *end_reason;      /* … of the last server that did so */
    bool inherited;        /* one that the program before this one used may be there */
    bool stopping;         /* STOP was said, STOPPED has not come */
    uint32_t used_serial;  /* of the last connection that was ready */
    uint32_t ended_serial; /* of the last server that ended */

    /* of the connection */
    uint64_t size;
    uint32_t max_block, max_range;
    bool read_only, rotational, can_flush, can_fua, can_trim, can_zero, multi;
};

/* Before all else. */
void nbd_link_init(struct nbd_link *l);
/* Wants a connection; has no effect while there is one, or one is on its way. */
void nbd_link_want(struct nbd_link *l);
/* Looks what has come; true if anything did. Never calls anybody back but libnbd's callbacks. */
bool nbd_link_step(struct nbd_link *l);
/* Until it is ready, or failed, or the time is over. 0 or -errno, with `why`. */
int nbd_link_wait(struct nbd_link *l, int timeout_ms, int reason_ms);
/* It failed; its server ends now, and says why on its way out. */
bool nbd_link_awaits_reason(const struct nbd_link *l);
/* Ends it in good order, and waits for the server's end, but not longer. */
void nbd_link_stop(struct nbd_link *l, int timeout_ms);
/* It does not do what it should: the connection ends. */
void nbd_link_drop(struct nbd_link *l, int error, const char *why);
bool nbd_link_alive(const struct nbd_link *l); /* its handle */
void nbd_link_free(struct nbd_link *l);

/*
 * nbd-place.c: starts the keeper of a medium: of `file`, or with NULL of the open image `image`,
 * which stays the caller's and is read only. -1: there is none. -errno with `err`.
 */
int nbd_keeper_start(struct nbd_link *l, const char *format, const char *file, int image,
                     unsigned flags, GError **err);

#endif
