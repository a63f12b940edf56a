/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What serves a medium: raw files and devices, or an NBD server.
 * A driver moves bytes and says what its medium can do; block.c has the drive that the medium is
 * in, its queues and listeners, checks what is asked for, and counts.
 */
#ifndef BACKENDS_BLOCK_DRIVER_H
#define BACKENDS_BLOCK_DRIVER_H

#include <xendm/block.h>

#define BLOCK_SECTOR 512u

struct block_driver;

/* Drivers embed it. All but the first two are the driver's to fill in. */
struct block_medium {
    const struct block_driver *driver;
    struct block *drive; /* for log lines: the one it is, or was, in */
    char *file;          /* as given; freed by block.c */
    const char *format;  /* which of the driver's */
    bool read_only;
    uint64_t size; /* as the guest sees it, a multiple of BLOCK_SECTOR */
    struct block_limits limits;

    /* block.c's */
    unsigned in_flight;
    int flush_error; /* see block_request_done() */
    bool active;     /* ours, not the other side's of a migration */
    bool out;        /* of the drive: closed when the last request is over */
    bool lent;       /* a descriptor that was passed stays open when it is closed */
};

struct block_driver {
    const char *name;
    const char *const *formats; /* names it serves, NULL-terminated */
    /* Opens; nothing of the medium is read or locked. Owns options->fd on success. */
    struct block_medium *(*open)(struct block *drive, const struct block_options *options,
                                 GError **err);
    void (*close)(struct block_medium *m); /* nothing is in flight */
    /* Checked by block.c. Ends with block_request_done(), never inside. */
    void (*submit)(struct block_medium *m, struct block_request *req);
    void (*cancel)(struct block_medium *m, struct block_request *req);
    int (*read_now)(struct block_medium *m, uint64_t offset, void *buf, size_t length);
    int (*resize)(struct block_medium *m, GError **err); /* looks at the size again */
    /* Makes it so long; nothing is in flight if it shrinks. NULL: its size is somebody else's. */
    int (*truncate)(struct block_medium *m, uint64_t size, GError **err);
    int (*lock)(struct block_medium *m, GError **err);
    /* The same in the loop: block_medium_locked() follows. NULL: lock() does not wait. */
    void (*lock_soon)(struct block_medium *m);
    void (*unlock)(struct block_medium *m);
    void (*forget)(struct block_medium *m); /* what the host has cached of it */
    int (*fd)(const struct block_medium *m);
    const char *(*export_name)(const struct block_medium *m); /* NULL: media have none */
};

extern const struct block_driver block_raw, block_nbd;
void block_nbd_prepare(void); /* what it cannot do in the sandbox */
bool block_nbd_poll(void);

/* The end of a request, from the main loop or block_poll(). */
void block_request_done(struct block_medium *m, struct block_request *req, int error);
void block_count_retry(struct block_medium *m);
/* Of a medium that is on its way; NULL or why not, which is taken over. Then it may be gone. */
void block_medium_locked(struct block_medium *m, GError *err);

/* lock.c: QEMU's locks of image files. */
int image_lock(int fd, bool write, const char *id, const char *file, GError **err);
void image_unlock(int fd);

#endif
