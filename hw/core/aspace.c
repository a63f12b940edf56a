/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Address spaces; see xendm/aspace.h.
 *
 * All regions are in one sorted array, which answers MMIO by binary search after the last hit.
 * Spaces of 16 bits (ports) have a direct table besides: a pointer per port in pages of 256 that
 * exist only where regions are, because guests poll ports (IDE status, PS/2, UART) far more often
 * than regions move.
 *
 * A device's handler may place and remove regions, its own too (a BAR moves by a port write), so
 * nothing that was looked up is used again after a handler ran, except the region itself: devices
 * outlive guest accesses.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <xendm/aspace.h>
#include <xendm/device.h>
#include <xendm/recorder.h>
#include <xendm/turn.h>

#include "core.h"

#define DIRECT_BITS 16
#define DIRECT_PAGES 256u
#define DIRECT_PER_PAGE 256u

struct direct_page {
    struct region *region[DIRECT_PER_PAGE];
    unsigned used;
};

struct aspace {
    const char *name;
    uint64_t last; /* highest address */
    struct region **sorted;
    size_t count, capacity;
    struct region *hit;
    struct direct_page **page; /* DIRECT_PAGES of them, or NULL for spaces without a direct table */
    const struct aspace_listener *listener;
    void *listener_opaque;
    struct aspace_counters counters;
};

struct aspace *aspace_new(const char *name, unsigned address_bits)
{
    struct aspace *as = g_new0(struct aspace, 1);

    XENDM_ASSERT(address_bits >= 1 && address_bits <= 63);
    as->name = name;
    as->last = (UINT64_C(1) << address_bits) - 1;
    if (address_bits <= DIRECT_BITS) {
        as->page = g_new0(struct direct_page *, DIRECT_PAGES);
    }
    return as;
}

void aspace_free(struct aspace *as)
{
    XENDM_ASSERT(as->count == 0);
    g_free(as->sorted);
    g_free(as->page);
    g_free(as);
}

void aspace_set_listener(struct aspace *as, const struct aspace_listener *listener, void *opaque)
{
    XENDM_ASSERT(as->count == 0);
    as->listener = listener;
    as->listener_opaque = opaque;
}

void region_init(struct region *r, const char *name, const struct region_ops *ops, void *opaque,
                 uint64_t size)
{
    unsigned min = ops->impl_min ? ops->impl_min : 1;
    unsigned max = ops->impl_max ? ops->impl_max : 4;

    XENDM_ASSERT(size >= 1 && size % min == 0);
    XENDM_ASSERT((min & (min - 1)) == 0 && (max & (max - 1)) == 0 && min <= max && max <= 8);
    memset(r, 0, sizeof(*r));
    r->name = name;
    r->ops = ops;
    r->opaque = opaque;
    r->size = size;
}

/* ---- placing ---- */

static inline uint64_t region_last(const struct region *r)
{
    return r->base + (r->size - 1);
}

/* Index of the first region whose last address is at or above `addr`; count if there is none. */
static size_t search(const struct aspace *as, uint64_t addr)
{
    size_t low = 0, high = as->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (region_last(as->sorted[middle]) < addr) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void direct_set(struct aspace *as, const struct region *r, struct region *value)
{
    for (uint64_t port = r->base; port <= region_last(r); port++) {
        struct direct_page **page = &as->page[port / DIRECT_PER_PAGE];

        if (value) {
            if (!*page) {
                *page = g_new0(struct direct_page, 1);
            }
            (*page)->used++;
        }
        (*page)->region[port % DIRECT_PER_PAGE] = value;
        if (!value && --(*page)->used == 0) {
            g_free(*page);
            *page = NULL;
        }
    }
}

static void insert(struct aspace *as, struct region *r, size_t at)
{
    if (as->count == as->capacity) {
        as->capacity = as->capacity ? as->capacity * 2 : 16;
        as->sorted = g_renew(struct region *, as->sorted, as->capacity);
    }
    memmove(&as->sorted[at + 1], &as->sorted[at], (as->count - at) * sizeof(as->sorted[0]));
    as->sorted[at] = r;
    as->count++;
    r->space = as;
    if (as->page) {
        direct_set(as, r, r);
    }
}

static void take_out(struct aspace *as, struct region *r)
{
    size_t at = search(as, r->base);

    XENDM_ASSERT(at < as->count && as->sorted[at] == r);
    memmove(&as->sorted[at], &as->sorted[at + 1], (as->count - at - 1) * sizeof(as->sorted[0]));
    as->count--;
    if (as->hit == r) {
        as->hit = NULL;
    }
    if (as->page) {
        direct_set(as, r, NULL);
    }
    r->space = NULL;
}

int region_place(struct aspace *as, struct region *r, uint64_t base, GError **err)
{
    size_t at;
    int rc;

    XENDM_ASSERT(r->ops && r->size >= 1);
    if (r->space) {
        g_set_error(err, XENDM_ERROR, EALREADY, "region %s is placed already", r->name);
        return -EALREADY;
    }
    if (base > as->last || r->size - 1 > as->last - base) {
        g_set_error(err, XENDM_ERROR, ERANGE,
                    "%s: %" PRIu64 " bytes at 0x%" PRIx64 " do not fit into space %s", r->name,
                    r->size, base, as->name);
        return -ERANGE;
    }
    r->base = base;
    at = search(as, base);
    if (at < as->count && as->sorted[at]->base <= region_last(r)) {
        const struct region *other = as->sorted[at];

        g_set_error(err, XENDM_ERROR, EBUSY,
                    "%s at %s 0x%" PRIx64 "..0x%" PRIx64 " overlaps %s at 0x%" PRIx64
                    "..0x%" PRIx64,
                    r->name, as->name, base, region_last(r), other->name, other->base,
                    region_last(other));
        return -EBUSY;
    }
    insert(as, r, at);
    if (as->listener) {
        rc = as->listener->range_add(as->listener_opaque, base, region_last(r));
        if (rc < 0) {
            take_out(as, r);
            g_set_error(err, XENDM_ERROR, -rc,
                        "the hypervisor does not forward %s 0x%" PRIx64 "..0x%" PRIx64 " (%s): %s",
                        as->name, base, region_last(r), r->name, g_strerror(-rc));
            return rc;
        }
    }
    return 0;
}

void region_remove(struct region *r)
{
    struct aspace *as = r->space;

    if (!as) {
        return;
    }
    take_out(as, r);
    if (as->listener) {
        as->listener->range_del(as->listener_opaque, r->base, region_last(r));
    }
}

void region_set_hidden(struct region *r, bool hidden)
{
    r->hidden = hidden;
}

/* ---- finding ---- */

static inline struct region *lookup(struct aspace *as, uint64_t addr)
{
    struct region *r;
    size_t at;

    if (as->page) {
        const struct direct_page *page;

        if (addr > as->last) {
            return NULL;
        }
        page = as->page[addr / DIRECT_PER_PAGE];
        return page ? page->region[addr % DIRECT_PER_PAGE] : NULL;
    }
    r = as->hit;
    if (r && addr - r->base < r->size) {
        return r;
    }
    at = search(as, addr);
    if (at == as->count || as->sorted[at]->base > addr) {
        return NULL;
    }
    as->hit = as->sorted[at];
    return as->hit;
}

struct region *aspace_find(struct aspace *as, uint64_t addr)
{
    return lookup(as, addr);
}

bool aspace_is_payload(struct aspace *as, uint64_t addr, unsigned size)
{
    const struct region *r = lookup(as, addr);

    if (!r || __builtin_expect(!r->payload, 1)) {
        return false;
    }
    for (uint64_t offset = addr - r->base; size-- > 0; offset++) {
        if (r->payload >> MIN(offset, 31) & 1) {
            return true;
        }
    }
    return false;
}

bool aspace_overlaps(struct aspace *as, uint64_t addr, uint64_t len)
{
    uint64_t last = addr + (len - 1);
    size_t at;

    if (len == 0) {
        return false;
    }
    if (last < addr) {
        last = UINT64_MAX;
    }
    at = search(as, addr);
    return at < as->count && as->sorted[at]->base <= last;
}

void aspace_foreach(struct aspace *as, void (*fn)(void *opaque, const struct region *r),
                    void *opaque)
{
    for (size_t i = 0; i < as->count; i++) {
        fn(opaque, as->sorted[i]);
    }
}

const struct aspace_counters *aspace_counters(const struct aspace *as)
{
    return &as->counters;
}

/* ---- fitting an access to what the device implements ---- */

bool region_ops_allow(const struct region_ops *ops, uint64_t offset, unsigned size)
{
    if (ops->guest_min && size < ops->guest_min) {
        return false;
    }
    if (ops->guest_max && size > ops->guest_max) {
        return false;
    }
    return !ops->guest_aligned || (offset & (size - 1)) == 0;
}

/* Bytes [offset, offset + size) by aligned units of `min` bytes, the first and last of which may be
 * covered in part. */
static uint64_t read_widened(const struct region_ops *ops, void *opaque, uint64_t offset,
                             unsigned size, unsigned min)
{
    uint64_t first = offset & ~(uint64_t)(min - 1);
    uint64_t end = offset + size;
    uint64_t value = 0;

    for (uint64_t unit = first; unit < end; unit += min) {
        uint64_t v = ops->read(opaque, unit, min) & value_mask(min);

        if (unit < offset) {
            value |= v >> (8 * (offset - unit));
        } else {
            value |= v << (8 * (unit - offset));
        }
    }
    return value & value_mask(size);
}

static void write_widened(const struct region_ops *ops, void *opaque, uint64_t offset,
                          uint64_t value, unsigned size, unsigned min)
{
    uint64_t first = offset & ~(uint64_t)(min - 1);
    uint64_t end = offset + size;

    for (uint64_t unit = first; unit < end; unit += min) {
        uint64_t mask, v;

        if (unit < offset) {
            v = value << (8 * (offset - unit));
            mask = value_mask(size) << (8 * (offset - unit));
        } else {
            v = value >> (8 * (unit - offset));
            mask = value_mask(size) >> (8 * (unit - offset));
        }
        mask &= value_mask(min);
        v &= mask;
        if (mask != value_mask(min) && !ops->write_shifts && ops->read) {
            v |= ops->read(opaque, unit, min) & value_mask(min) & ~mask;
        }
        ops->write(opaque, unit, v, min);
    }
}

uint64_t region_ops_read(const struct region_ops *ops, void *opaque, uint64_t offset, unsigned size)
{
    unsigned min = ops->impl_min ? ops->impl_min : 1;
    unsigned max = ops->impl_max ? ops->impl_max : 4;
    uint64_t value = 0;

    if (!ops->read) {
        return value_mask(size);
    }
    if (size < min || (offset & (min - 1)) != 0) {
        return read_widened(ops, opaque, offset, size, min);
    }
    if (size <= max) {
        return ops->read(opaque, offset, size) & value_mask(size);
    }
    for (unsigned done = 0; done < size; done += max) {
        value |= (ops->read(opaque, offset + done, max) & value_mask(max)) << (8 * done);
    }
    return value;
}

void region_ops_write(const struct region_ops *ops, void *opaque, uint64_t offset, uint64_t value,
                      unsigned size)
{
    unsigned min = ops->impl_min ? ops->impl_min : 1;
    unsigned max = ops->impl_max ? ops->impl_max : 4;

    if (!ops->write) {
        return;
    }
    value &= value_mask(size);
    if (size < min || (offset & (min - 1)) != 0) {
        write_widened(ops, opaque, offset, value, size, min);
    } else if (size <= max) {
        ops->write(opaque, offset, value, size);
    } else {
        for (unsigned done = 0; done < size; done += max) {
            ops->write(opaque, offset + done, (value >> (8 * done)) & value_mask(max), max);
        }
    }
}

/* ---- accesses ---- */

static inline uint64_t region_read(struct aspace *as, struct region *r, uint64_t offset,
                                   unsigned size)
{
    if (__builtin_expect(r->hidden, 0)) {
        as->counters.unclaimed_reads++;
        return value_mask(size);
    }
    r->reads++;
    if (__builtin_expect(!region_ops_allow(r->ops, offset, size), 0)) {
        as->counters.refused++;
        return value_mask(size);
    }
    return region_ops_read(r->ops, r->opaque, offset, size);
}

static inline void region_write(struct aspace *as, struct region *r, uint64_t offset,
                                uint64_t value, unsigned size)
{
    if (__builtin_expect(r->hidden, 0)) {
        as->counters.unclaimed_writes++;
        return;
    }
    r->writes++;
    if (__builtin_expect(!region_ops_allow(r->ops, offset, size), 0)) {
        as->counters.refused++;
        return;
    }
    region_ops_write(r->ops, r->opaque, offset, value, size);
}

/*
 * The next piece of an access that is not wholly inside one region: the region at `addr` or NULL,
 * and in *piece how many bytes go there, a power of two and aligned within the region.
 */
static struct region *next_piece(struct aspace *as, uint64_t addr, unsigned left, unsigned *piece)
{
    struct region *r = lookup(as, addr);
    uint64_t offset;
    unsigned n;

    *piece = 1;
    if (!r) {
        return NULL;
    }
    offset = addr - r->base;
    for (n = 8; n > left || n > r->size - offset || (offset & (n - 1)) != 0; n /= 2) {
    }
    *piece = n;
    return r;
}

static uint64_t __attribute__((noinline))
read_split(struct aspace *as, uint64_t addr, unsigned size)
{
    uint64_t value = 0;
    bool claimed = false;
    unsigned piece;

    for (unsigned done = 0; done < size; done += piece) {
        struct region *r =
            addr + done < addr ? NULL : next_piece(as, addr + done, size - done, &piece);

        if (r) {
            claimed = true;
            value |= region_read(as, r, addr + done - r->base, piece) << (8 * done);
        } else {
            piece = 1;
            value |= UINT64_C(0xff) << (8 * done);
        }
    }
    if (!claimed) {
        as->counters.unclaimed_reads++;
    }
    return value;
}

static void __attribute__((noinline))
write_split(struct aspace *as, uint64_t addr, uint64_t value, unsigned size)
{
    bool claimed = false;
    unsigned piece;

    for (unsigned done = 0; done < size; done += piece) {
        struct region *r =
            addr + done < addr ? NULL : next_piece(as, addr + done, size - done, &piece);

        if (r) {
            claimed = true;
            region_write(as, r, addr + done - r->base, (value >> (8 * done)) & value_mask(piece),
                         piece);
        } else {
            piece = 1;
        }
    }
    if (!claimed) {
        as->counters.unclaimed_writes++;
    }
}

uint64_t aspace_read(struct aspace *as, uint64_t addr, unsigned size)
{
    struct region *r = lookup(as, addr);
    uint64_t value;

    turn_access_begin();
    if (__builtin_expect(r && size <= r->size && addr - r->base <= r->size - size, 1)) {
        value = region_read(as, r, addr - r->base, size);
    } else {
        value = read_split(as, addr, size);
    }
    turn_access_end();
    return value;
}

void aspace_write(struct aspace *as, uint64_t addr, uint64_t value, unsigned size)
{
    struct region *r = lookup(as, addr);

    turn_access_begin();
    if (__builtin_expect(r && size <= r->size && addr - r->base <= r->size - size, 1)) {
        region_write(as, r, addr - r->base, value, size);
    } else {
        write_split(as, addr, value, size);
    }
    turn_access_end();
}

/* The region whose block forms may serve units of `size` at `addr`, or NULL. */
static struct region *block_region(struct aspace *as, uint64_t addr, unsigned size)
{
    struct region *r = lookup(as, addr);
    unsigned min, max;

    if (!r || r->hidden || size > r->size || addr - r->base > r->size - size) {
        return NULL;
    }
    min = r->ops->impl_min ? r->ops->impl_min : 1;
    max = r->ops->impl_max ? r->ops->impl_max : 4;
    if (size < min || size > max || !region_ops_allow(r->ops, addr - r->base, size)) {
        return NULL;
    }
    return r;
}

size_t aspace_read_block(struct aspace *as, uint64_t addr, void *buf, unsigned size, size_t count)
{
    struct region *r = block_region(as, addr, size);
    uint64_t value;

    if (count == 0) {
        return 0;
    }
    if (r && r->ops->read_block) {
        size_t done;

        turn_access_begin();
        done = r->ops->read_block(r->opaque, addr - r->base, buf, size, count);
        turn_access_end();
        XENDM_ASSERT(done <= count);
        r->reads += done;
        if (done > 0) {
            return done;
        }
    }
    value = GUINT64_TO_LE(aspace_read(as, addr, size));
    memcpy(buf, &value, size);
    return 1;
}

size_t aspace_write_block(struct aspace *as, uint64_t addr, const void *buf, unsigned size,
                          size_t count)
{
    struct region *r = block_region(as, addr, size);
    uint64_t value = 0;

    if (count == 0) {
        return 0;
    }
    if (r && r->ops->write_block) {
        size_t done;

        turn_access_begin();
        done = r->ops->write_block(r->opaque, addr - r->base, buf, size, count);
        turn_access_end();
        XENDM_ASSERT(done <= count);
        r->writes += done;
        if (done > 0) {
            return done;
        }
    }
    memcpy(&value, buf, size);
    aspace_write(as, addr, GUINT64_FROM_LE(value), size);
    return 1;
}
