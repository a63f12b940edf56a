/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Address spaces: where a guest's port or memory access finds the device that answers it.
 *
 * A device describes regions and places them; it only ever sees (opaque, offset, size), never an
 * absolute address, and only sizes that it declared. The space splits wider accesses and widens
 * narrower ones. Nobody's reads are all ones, nobody's writes vanish.
 *
 * Values are little-endian numbers in the low `size` bytes; bits above are zero on the way in,
 * ignored on the way out.
 */
#ifndef XENDM_ASPACE_H
#define XENDM_ASPACE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

struct region_ops {
    /* Both may be NULL: reads are then all ones, writes vanish. */
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
    void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned size);

    /*
     * Optional block forms for string instructions on one offset (REP INS/OUTS): `count` units of
     * `size` bytes in guest order. They return how many units were served; the rest goes through
     * read/write one by one, so 0 is always a correct answer.
     */
    size_t (*read_block)(void *opaque, uint64_t offset, void *buf, unsigned size, size_t count);
    size_t (*write_block)(void *opaque, uint64_t offset, const void *buf, unsigned size,
                          size_t count);

    /*
     * What the device implements, in bytes: powers of two up to 8; 0 means 1 for min and 4 for max.
     * A wider guest access is split into impl_max units at rising offsets; a narrower one is done
     * with impl_min at the aligned offset: read and shifted, and for writes read, merged, written,
     * unless the device says write_shifts (the value is placed at its byte lanes, the others zero,
     * which is what a chip without byte enables would see). With impl_min above 1 the device sees
     * only offsets that are multiples of it (its region's size must be one, too); else offsets are
     * the guest's, aligned or not.
     */
    uint8_t impl_min, impl_max;
    bool write_shifts;

    /*
     * What the guest may do: 0 means no limit. An access outside is all ones / dropped and counted
     * as a guest error.
     */
    uint8_t guest_min, guest_max;
    bool guest_aligned; /* refuse accesses that are not naturally aligned */
};

struct aspace;
struct device;

/*
 * Embedded in the device. Set up once with region_init(); the space keeps pointers to it while it
 * is placed.
 */
struct region {
    /* static or owned by the device; in errors, `info mtree`, counters */
    const char *name;
    const struct region_ops *ops;
    void *opaque;
    uint64_t size; /* bytes, at least 1 */
    /*
     * Which offsets carry data rather than control the device: keys, characters, sectors, pixels.
     * Bit n: offset n; bit 31: offset 31 and all behind it. The flight recorder keeps no values of
     * those. Set after region_init().
     */
    uint32_t payload;

    struct aspace *space;   /* where it is placed, NULL if nowhere */
    uint64_t base;          /* first address while placed */
    uint64_t reads, writes; /* guest accesses served, for status output */
    bool hidden;            /* see region_set_hidden() */
    struct device *owner;   /* whose it is, for accesses that wait (hold.h); NULL: nobody's */
};

/*
 * Told of every range that becomes served or is no longer (first..last inclusive), so that the
 * hypervisor forwards it. Adding may fail (Xen knows 256 ranges per server); placing the region
 * then fails with that error.
 */
struct aspace_listener {
    int (*range_add)(void *opaque, uint64_t first, uint64_t last);
    void (*range_del)(void *opaque, uint64_t first, uint64_t last);
};

struct aspace *aspace_new(const char *name, unsigned address_bits); /* "pio", 16; "mmio", 48 */
/* no region may be placed any more */
void aspace_free(struct aspace *as);
void aspace_set_listener(struct aspace *as, const struct aspace_listener *listener, void *opaque);

void region_init(struct region *r, const char *name, const struct region_ops *ops, void *opaque,
                 uint64_t size);

/*
 * Places `r` at `base`. -EBUSY: overlaps another region, which `err` names together with this one;
 * -ERANGE: does not fit into the space; -EALREADY: it is placed; or the listener's error. `err` may
 * be NULL. Cost O(log n) (+ memmove).
 */
int region_place(struct aspace *as, struct region *r, uint64_t base, GError **err);

/*
 * Whether region_place() failed because of the address, which is the guest's choice; else the
 * listener refused.
 */
static inline bool region_misplaced(int rc)
{
    return rc == -EBUSY || rc == -ERANGE;
}
/* no effect when not placed */
void region_remove(struct region *r);

/*
 * A hidden region stays placed but answers like nobody; for chips that disable a block without
 * moving it.
 */
void region_set_hidden(struct region *r, bool hidden);

/* Accesses of `size` 1, 2, 4 or 8. An access that crosses regions is split at their borders. */
uint64_t aspace_read(struct aspace *as, uint64_t addr, unsigned size);
void aspace_write(struct aspace *as, uint64_t addr, uint64_t value, unsigned size);

/*
 * String I/O on one address: units of `size` bytes, as many of `count` as one call of the device
 * serves, at least one. Returns how many.
 */
size_t aspace_read_block(struct aspace *as, uint64_t addr, void *buf, unsigned size, size_t count);
size_t aspace_write_block(struct aspace *as, uint64_t addr, const void *buf, unsigned size,
                          size_t count);

#define REGION_ALL_PAYLOAD UINT32_MAX
/* True if any of `size` bytes at `addr` is payload of the region there. */
bool aspace_is_payload(struct aspace *as, uint64_t addr, unsigned size);

/* The region at `addr`, or NULL. */
struct region *aspace_find(struct aspace *as, uint64_t addr);

/* True if any byte of [addr, addr + len) belongs to a region: DMA there is refused. */
bool aspace_overlaps(struct aspace *as, uint64_t addr, uint64_t len);

/* Calls `fn` for each placed region in order of address. */
void aspace_foreach(struct aspace *as, void (*fn)(void *opaque, const struct region *r),
                    void *opaque);

/* Accesses that found nobody, and those that broke a region's guest_* rules. */
struct aspace_counters {
    uint64_t unclaimed_reads, unclaimed_writes, refused;
};
const struct aspace_counters *aspace_counters(const struct aspace *as);

#endif
