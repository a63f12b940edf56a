/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine with a virtio device, and as much of a driver as its tests want: modern or legacy
 * registers, split or packed rings, chains of any kind.
 */
#ifndef TESTS_VIRTIO_FIXTURE_H
#define TESTS_VIRTIO_FIXTURE_H

#include <string.h>

#include <xendm/bytes.h>
#include <xendm/classes.h>
#include <xendm/log.h>
#include <xendm/pci.h>

#include "fake-block.h"
#include "fakes.h"

#define DEVFN PCI_DEVFN(4, 0)
#define BAR UINT64_C(0xf0000000)
#define MSIX_BAR UINT64_C(0xf0100000)
#define PORT 0xc000u
#define ENTRIES 16u
#define QUEUES 8u
#define RING(q) (0x10000u + (q)*0x4000u)
#define DRIVER(q) (RING(q) + 0x1000u)
#define DEVICE(q) (RING(q) + 0x2000u)
#define TABLES 0x80000u /* of indirect descriptors, 256 bytes for each head */
#define DATA 0x100000u
#define HEADERS 0x200000u
#define SECTORS 8192u
#define NO_MEMORY UINT64_C(0x800000000)

#define F_INDIRECT (UINT64_C(1) << 28)
#define F_EVENT (UINT64_C(1) << 29)
#define F_V1 (UINT64_C(1) << 32)
#define F_PACKED (UINT64_C(1) << 34)
#define F_IN_ORDER (UINT64_C(1) << 35)
#define F_RESET (UINT64_C(1) << 40)

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

struct buffer {
    uint64_t gpa;
    uint32_t len;
    bool write;
};

struct driver_queue {
    uint16_t next, avail, used; /* a free descriptor; indices, or slots */
    bool avail_wrap, used_wrap;
};

struct box {
    struct machine *m;
    struct device *dev;
    struct block *disk;
    const struct device_class *class;
    const char *const *settings;                        /* "name=value", ends with NULL */
    void (*connect)(struct box *b, struct device *dev); /* back ends */
    void (*populate)(struct box *b);                    /* what is on its bus */
    uint64_t features;
    struct driver_queue q[QUEUES];
    unsigned slot; /* of the next request of blk() */
};

#define BLK_SIZE_REQUEST 64u

/* `settings` stay the caller's. The device is placed, and not started. */
void box_new(struct box *b, const struct device_class *class, const char *const *settings);
void box_free(struct box *b);
void box_move(struct box *b); /* another machine with the state of this one */
/* A new machine on the same drive, its memory empty, with that state; false: refused. */
bool box_load(struct box *b, const GByteArray *state);
void box_place(struct box *b);

uint64_t rd(struct box *b, unsigned reg, unsigned size); /* BAR 4 */
void wr(struct box *b, unsigned reg, uint64_t value, unsigned size);
uint32_t in(struct box *b, unsigned port, unsigned size); /* BAR 0 */
void out(struct box *b, unsigned port, uint32_t value, unsigned size);
uint8_t *mem(struct box *b, uint64_t gpa);
void settle(struct box *b);
uint64_t offered(struct box *b);

/* Reset, features, queues 0.. of ENTRIES entries, DRIVER_OK. */
void start(struct box *b, uint64_t features, unsigned queues);
void negotiate(struct box *b, uint64_t features); /* to FEATURES_OK, asserted */
void queue_up(struct box *b, unsigned q, unsigned entries, bool enable);
void start_legacy(struct box *b, uint32_t features, unsigned queues);
#define STATUS(b) ((unsigned)rd((b), 0x14, 1))
#define BROKEN 0x40u

/* Puts a chain into the ring, in a table of its own if F_INDIRECT is there and `table`. */
uint16_t put(struct box *b, unsigned q, const struct buffer *bufs, unsigned count, bool table);
void desc(struct box *b, unsigned q, unsigned at, uint64_t gpa, uint32_t len, unsigned flags,
          unsigned next);                             /* split */
void avail(struct box *b, unsigned q, uint16_t head); /* split */
void kick(struct box *b, unsigned q);
/* The next used entry; false: there is none. */
bool used(struct box *b, unsigned q, uint16_t *id, uint32_t *len);

/* One request of a disk: its status byte is blk_status(). */
uint16_t blk(struct box *b, unsigned q, uint32_t type, uint64_t sector, uint64_t data,
             uint32_t len);
uint8_t blk_status(struct box *b); /* of the last one */
/* The same, waited for. */
uint8_t blk_do(struct box *b, uint32_t type, uint64_t sector, uint64_t data, uint32_t len);
uint64_t sector_at(struct box *b, uint64_t gpa);

#endif
