/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to backends/pv: a PV disk. Keys and medium are in blk.c, the ring in blk-ring.c. */
#ifndef BACKENDS_PV_BLK_H
#define BACKENDS_PV_BLK_H

#include <xendm/block.h>
#include <xendm/later.h>

#include "internal.h"

#define BLK_SECTOR 512u /* of the protocol, whatever the disk's own is */
#define BLK_RING_ORDER_MAX 4u
/* Segments of an indirect request: 1 MiB in pages. Their descriptors fit into one page. */
#define BLK_INDIRECT_MAX 256u

/* The same requests laid out by compilers that align 64 bits to 4 or to 8 bytes; offsets. */
struct blk_protocol {
    const char *name; /* as front ends write it into `protocol` */
    unsigned entry;   /* bytes of a ring's entry */
    unsigned id, sector, segments, indirect_refs, discard_sectors;
    unsigned response;
};

struct request;

/* Requests whose data is copied by one call. */
struct batch {
    struct request *first, *last;
    unsigned count, parts;
};

struct blk {
    struct pv_device dev;

    struct block *drive; /* NULL: not open */
    struct block_queue *queue;
    char *tried;           /* `params`, as they were when it was opened or could not be */
    struct block *opening; /* its own, whose medium is on the way */
    GError *not_opened;    /* why that failed; the next offer tells */
    bool offering;         /* open_drive() is under way, and looks itself */
    bool own;              /* the drive is this device's alone, else an emulated one has it, too */
    bool cdrom, read_only;
    bool not_direct; /* its host cannot, though the toolstack lets it (direct-io-safe) */

    const struct blk_protocol *protocol;
    uint8_t *ring;    /* NULL: not connected */
    uint32_t entries; /* a power of two */
    uint32_t req_cons, rsp_prod;
    uint32_t rsp_seen;      /* answers up to here the front end can see */
    unsigned connection;    /* requests of an earlier one are not answered */
    bool stalled;           /* too much is in flight: goes on when something ends */
    struct later more;      /* goes on taking requests */
    struct batch writes;    /* to be copied from the guest before this turn ends */
    struct batch ended;     /* to be copied to the guest, and answered */
    struct later finishing; /* answers them */
    guint again;            /* tries what the host could not for a moment; 0: nothing */
    unsigned again_ms;      /* … so much later, the next time */
    int64_t stuck_since;    /* the request that is to be taken; µs, 0: it is not stuck */
    bool impatient;         /* that went on for too long, and nothing went well since */

    unsigned in_flight;
    size_t memory; /* bytes of their buffers */
    uint64_t requests, errors, refused;
};

/* The front end's word for it; NULL: the one of a 64-bit guest. */
const struct blk_protocol *blk_protocol_find(const char *name);
/* The ring that the core has mapped. -EIO: its indices are nonsense. */
int blk_ring_begin(struct blk *b);
void blk_ring_resume_at(struct blk *b, uint32_t index); /* instead, after a live update */
void blk_ring_end(struct blk *b);
void blk_ring_run(struct blk *b);

#endif
