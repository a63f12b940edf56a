/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The library side of rpc.h; linked into every drop-in library with hidden visibility. */
#ifndef XENEMU_CLIENT_H
#define XENEMU_CLIENT_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include "../rpc/rpc.h"

/* Layout is ABI: libxenstore (the real one) embeds it. */
struct xe_active_handle {
    int (*restrict_callback)(struct xe_active_handle *ah, uint16_t domid);
    struct {
        struct xe_active_handle *le_next;
        struct xe_active_handle **le_prev;
    } entry;
};

void xentoolcore__register_active_handle(struct xe_active_handle *ah);
void xentoolcore__deregister_active_handle(struct xe_active_handle *ah);
int xentoolcore__restrict_by_dup2_null(int fd);

struct xe_memfd {
    uint32_t domid;
    int fd;
    struct xe_memfd *next;
};

struct xe_client {
    struct xe_active_handle tc; /* must be first */
    int fd;
    pthread_mutex_t lock;
    struct xe_memfd *memfds;
};

/*
 * All return ≥ 0 or -1 with errno. xe_call() sends `req` and `pay`, waits for the reply, copies up
 * to `rmax` bytes of reply payload to `rpay`, and stores a received descriptor in `fd` (-1 if none
 * came).
 */
int xe_client_init(struct xe_client *c, const char *lib);
void xe_client_fini(struct xe_client *c);
/* A library's handle of `size` bytes, which begins with a struct xe_client, and its end (0, as the
 * libraries' functions return; NULL is fine). */
void *xe_client_open(size_t size, const char *lib,
                     int (*restrict_callback)(struct xe_active_handle *ah, uint16_t domid));
int xe_client_close(struct xe_client *c);
int xe_call(struct xe_client *c, const struct xe_req *req, const void *pay, size_t paylen,
            struct xe_rep *rep, void *rpay, size_t rmax, int *fd);
int xe_send_oneway(struct xe_client *c, const struct xe_req *req, const void *pay, size_t paylen);
int xe_simple(struct xe_client *c, uint32_t op, uint32_t domid, const uint64_t *args,
              unsigned int n);
int xe_memfd_get(struct xe_client *c, uint32_t domid);
int xe_restrict_rpc(struct xe_active_handle *ah, uint16_t domid);
int xe_restrict_null(struct xe_active_handle *ah, uint16_t domid);

/* Maps runs over [addr, addr + pages) for one batch. Pages that failed stay as they were. */
int xe_map_runs(struct xe_client *c, char *addr, int prot, const struct xe_run *runs,
                unsigned int n);

void xe_log_missing(const char *function);

#endif
