/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest pages that a device owns and that its BAR shows: video memory. The guest reads and writes
 * them without us; we have a mapping for as long as the device lives.
 *
 * They are populated right behind low RAM if that is below 2 GiB, which is as far as hvmloader's
 * BARs reach down; else at 4 GiB above the end of guest RAM: hvmloader grows high RAM by at most 2
 * GiB (what it takes out of the hole below 4 GiB), and maps large 64-bit BARs there only after the
 * device's BAR. Low is better, since a domain's save and migration look at every frame number up to
 * the highest that was ever used. When the BAR is mapped the pages move to it, and stay where they
 * were last when it is unmapped. A domain that is restored has the pages already.
 *
 * Moving takes some turns of the main loop, which hold the device (hold.h).
 */
#ifndef XENDM_DEVMEM_H
#define XENDM_DEVMEM_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include <xendm/device.h>
#include <xendm/hold.h>
#include <xendm/hypervisor.h>
#include <xendm/state.h>

#define DEVMEM_MAX (512u << 20)
/* 48 bits of address, and room for the pages */
#define DEVMEM_GFN_MAX ((1ull << 36) - (DEVMEM_MAX >> GUEST_PAGE_SHIFT))

struct devmem {
    struct device *dev;
    uint8_t *ptr; /* pages * 4 KiB; before a restore a stand-in of ours, so never NULL */
    uint32_t pages;
    uint64_t gfn; /* where the guest has them now */
    bool mapped;  /* ptr is the guest's memory, not the stand-in */
    /* `ptr` or `gfn` is another one, or is about to be: what dirty tracking said is lost. */
    void (*changed)(void *opaque);
    void *opaque;

    bool write_combining; /* set for the pages where they are now */
    bool tracking;        /* by the hypervisor: these pages */
    uint32_t track_first, track_pages;
    void *taken;             /* a mapping between fits() and post_load() */
    struct device_work move; /* of the pages to gfn move_to; so many are there */
    uint64_t move_to;
    uint32_t move_at;
    uint64_t refused; /* addresses we did not move to */
    uint64_t stuck;   /* … and that the hypervisor did not move it to */

    uint64_t saved_gfn; /* in saved state */
    uint32_t saved_pages;
};

/* In realize. `bytes`: whole pages, at most DEVMEM_MAX; `changed` is called once it is there. */
int devmem_create(struct devmem *m, struct device *dev, uint32_t bytes, GError **err);
void devmem_free(struct devmem *m); /* also when devmem_create() failed or never ran */

/*
 * Whether a BAR may be there: not in the firmware's low memory, not in the pages that hvmloader,
 * the toolstack and the APICs use. False is counted and logged. A guest that sizes a BAR without
 * switching decoding off asks for such addresses, too.
 */
bool devmem_accepts(struct devmem *m, uint64_t address, uint64_t size);
/* The pages keep their contents and our mapping; on failure everything stays as it was. */
void devmem_move(struct devmem *m, uint64_t address);
void devmem_settle(struct devmem *m); /* a move that is under way ends now */

/* As hv_memory_dirty(), in pages of this memory; false: take all for dirty. */
bool devmem_dirty(struct devmem *m, uint32_t first, uint32_t pages, uint64_t *bitmap);
void devmem_dirty_end(struct devmem *m);
/* For who writes by `ptr`: tells a migration. */
void devmem_modified(struct devmem *m, uint32_t first, uint32_t pages);

void devmem_describe(const struct devmem *m, struct facts *to);

/*
 * Saved state: the pages themselves are guest memory and travel with it. These two fields belong
 * into the device's table, and its hooks call the functions below them.
 */
#define DEVMEM_STATE_FIELDS(st, member) \
    {.name = "saved_gfn", \
     .type = STATE_U64, \
     .offset = offsetof(st, member.saved_gfn), \
     .min = 1, \
     .max = DEVMEM_GFN_MAX}, \
    { \
        .name = "saved_pages", .type = STATE_U32, .offset = offsetof(st, member.saved_pages), \
        .min = 1, .max = DEVMEM_MAX >> GUEST_PAGE_SHIFT \
    }
void devmem_pre_save(struct devmem *m);
bool devmem_fits(const struct devmem *saved, const struct devmem *m, GError **err);
void devmem_post_load(struct devmem *m, uint64_t bar_address);

#endif
