/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of pieces of guest memory; see xendm/dma.h. */
#include <errno.h>
#include <string.h>

#include <xendm/device.h>
#include <xendm/dma.h>
#include <xendm/machine.h>
#include <xendm/recorder.h>

#include "core.h"

struct dma_list {
    struct device *dev;
    enum dma_direction direction;
    unsigned max, count;
    size_t bytes;
    struct guestmem_ref *ref; /* max of them, the first `count` in use */
    struct iovec *iov;        /* max of them */
};

struct dma_list *dma_list_new(struct device *dev, unsigned pieces)
{
    struct dma_list *l = g_new0(struct dma_list, 1);

    XENDM_ASSERT(pieces > 0);
    l->dev = dev;
    l->max = pieces;
    l->ref = g_new0(struct guestmem_ref, pieces);
    l->iov = g_new0(struct iovec, pieces);
    return l;
}

void dma_list_free(struct dma_list *l)
{
    if (!l) {
        return;
    }
    dma_list_end(l, 0);
    g_free(l->ref);
    g_free(l->iov);
    g_free(l);
}

void dma_list_begin(struct dma_list *l, enum dma_direction direction)
{
    XENDM_ASSERT(l->count == 0);
    l->direction = direction;
}

/* A replay has no guest memory: pieces are our own, and what they have comes from the tape. */
static int piece_get(struct dma_list *l, uint64_t gpa, size_t len, struct guestmem_ref *ref)
{
    if (tape_plays()) {
        *ref = (struct guestmem_ref){.ptr = g_malloc0(len), .len = len, .gpa = gpa};
        return 0;
    }
    return guestmem_get(l->dev->machine->memory, gpa, len, l->direction == DMA_FROM_DEVICE, ref);
}

static void piece_put(struct dma_list *l, struct guestmem_ref *ref, size_t written)
{
    if (tape_plays()) {
        g_free(ref->ptr);
    } else {
        guestmem_put(l->dev->machine->memory, ref, written);
    }
}

/* Back to the first `count` pieces. */
static void list_cut(struct dma_list *l, unsigned count)
{
    while (l->count > count) {
        struct guestmem_ref *ref = &l->ref[--l->count];

        l->bytes -= ref->len;
        piece_put(l, ref, 0);
    }
}

/* Pieces for as many bytes as there were in the recording. */
static int64_t list_tape(struct dma_list *l, uint64_t gpa, size_t len, int64_t result)
{
    uint64_t n[] = {gpa, len, (uint64_t)result};

    tape_fact(TAPE_LIST_ADD, NULL, n, NULL, 0);
    if (tape_plays() && (int64_t)n[2] > 0) {
        if (n[2] > len || l->count == l->max) {
            tape_cannot("a shorter list of guest memory");
        }
        piece_get(l, gpa, (size_t)n[2], &l->ref[l->count++]);
        l->bytes += (size_t)n[2];
    }
    return (int64_t)n[2];
}

int64_t dma_list_add(struct dma_list *l, uint64_t gpa, size_t len)
{
    unsigned before = l->count;
    size_t done = 0;
    int rc = len == 0 || len > INT64_MAX ? -EINVAL : dma_check(l->dev, gpa, len);

    while (rc == 0 && done < len && l->count < l->max && !tape_plays()) {
        struct guestmem_ref *ref = &l->ref[l->count];

        rc = piece_get(l, gpa + done, len - done, ref);
        if (rc == 0) {
            XENDM_ASSERT(ref->len >= 1 && ref->len <= len - done);
            l->count++;
            l->bytes += ref->len;
            done += ref->len;
        }
    }
    if (rc < 0) {
        list_cut(l, before);
    }
    if (rc < 0 || done > 0) {
        dma_note(l->dev, l->direction, gpa, done, rc);
    }
    return tape_on() ? list_tape(l, gpa, len, rc < 0 ? rc : (int64_t)done)
                     : (rc < 0 ? rc : (int64_t)done);
}

/* Pages of which each is a piece: more than that is better mapped with what is around it. */
static unsigned pages_of(uint64_t gpa, uint64_t len, uint64_t *gfns)
{
    uint64_t first = gpa >> GUEST_PAGE_SHIFT, last = (gpa + (len - 1)) >> GUEST_PAGE_SHIFT;

    if (len == 0 || last < first || last - first > 1) {
        return 0;
    }
    gfns[0] = first;
    gfns[1] = last;
    return (unsigned)(last - first) + 1;
}

void dma_foresee_fetched(struct device *dev, const uint8_t *table, unsigned entries, unsigned size,
                         dma_entry parse)
{
    uint64_t gfns[GUESTMEM_EXPECT_MAX + 1];
    unsigned count = 0;
    bool more = true;

    if (tape_plays() || dev->dma_blocked || !guestmem_is_full(dev->machine->memory)) {
        return;
    }
    for (unsigned i = 0; i < entries && more && count < GUESTMEM_EXPECT_MAX; i++) {
        uint64_t gpa, len;

        more = parse(table + (size_t)i * size, &gpa, &len);
        if (!aspace_overlaps(dev->machine->mmio, gpa, 1)) {
            count += pages_of(gpa, len, gfns + count);
        }
    }
    guestmem_expect(dev->machine->memory, gfns, MIN(count, GUESTMEM_EXPECT_MAX));
}

void dma_foresee(struct device *dev, uint64_t table, unsigned entries, unsigned size,
                 dma_entry parse)
{
    uint8_t fetched[DMA_FORESEE_MAX * DMA_FORESEE_ENTRY_MAX];
    unsigned n = MIN(entries, DMA_FORESEE_MAX);

    XENDM_ASSERT(size <= DMA_FORESEE_ENTRY_MAX);
    if (!tape_plays() && guestmem_is_full(dev->machine->memory) &&
        dma_check(dev, table, (size_t)n * size) == 0 &&
        guestmem_read(dev->machine->memory, table, fetched, (size_t)n * size) == 0) {
        dma_foresee_fetched(dev, fetched, n, size, parse);
    }
}

size_t dma_list_bytes(const struct dma_list *l)
{
    return l->bytes;
}

/* Calls of list_walk(): `len` bytes at `ptr`, which are `at` bytes behind the start of the walk. */
typedef void (*list_step)(void *opaque, uint8_t *ptr, size_t at, size_t len);

static void list_walk(struct dma_list *l, size_t skip, size_t len, list_step step, void *opaque)
{
    size_t at = 0;

    for (unsigned i = 0; i < l->count && at < len; i++) {
        const struct guestmem_ref *ref = &l->ref[i];
        size_t part;

        if (skip >= ref->len) {
            skip -= ref->len;
            continue;
        }
        part = MIN(ref->len - skip, len - at);
        step(opaque, (uint8_t *)ref->ptr + skip, at, part);
        at += part;
        skip = 0;
    }
}

struct vector {
    struct iovec *iov;
    unsigned count;
};

static void add_to_vector(void *opaque, uint8_t *ptr, size_t at, size_t len)
{
    struct vector *v = opaque;
    struct iovec *last = v->count ? &v->iov[v->count - 1] : NULL;

    if (last && (uint8_t *)last->iov_base + last->iov_len == ptr) {
        last->iov_len += len;
    } else {
        v->iov[v->count++] = (struct iovec){.iov_base = ptr, .iov_len = len};
    }
}

struct iovec *dma_list_iov(struct dma_list *l, size_t skip, size_t len, unsigned *count)
{
    struct vector v = {.iov = l->iov};

    list_walk(l, skip, len, add_to_vector, &v);
    *count = v.count;
    tape_guest_iov = l->iov;
    tape_guest_pieces = v.count;
    return l->iov;
}

static int list_check(const struct dma_list *l, size_t at, size_t len)
{
    if (l->dev->dma_blocked) {
        return -EPERM;
    }
    return at > l->bytes || len > l->bytes - at ? -EINVAL : 0;
}

static void copy_in(void *opaque, uint8_t *ptr, size_t at, size_t len)
{
    memcpy(ptr, (const uint8_t *)opaque + at, len);
}

static void copy_out(void *opaque, uint8_t *ptr, size_t at, size_t len)
{
    memcpy((uint8_t *)opaque + at, ptr, len);
}

int dma_list_put(struct dma_list *l, size_t at, const void *buf, size_t len)
{
    int rc = list_check(l, at, len);

    XENDM_ASSERT(l->direction == DMA_FROM_DEVICE || len == 0);
    if (rc == 0) {
        list_walk(l, at, len, copy_in, (void *)buf);
        if (tape_on()) {
            tape_fact(TAPE_LIST_PUT, NULL, (uint64_t[]){at, len}, (void *)buf, len);
        }
    }
    return rc;
}

static int list_get(struct dma_list *l, size_t at, void *buf, size_t len, enum tape_kind kind)
{
    int rc = list_check(l, at, len);

    if (rc == 0) {
        list_walk(l, at, len, copy_out, buf);
        if (tape_on()) {
            tape_fact(kind, NULL, (uint64_t[]){at, len}, buf, len);
        }
    }
    return rc;
}

int dma_list_get(struct dma_list *l, size_t at, void *buf, size_t len)
{
    return list_get(l, at, buf, len, TAPE_LIST_GET);
}

int dma_list_get_headers(struct dma_list *l, void *buf, size_t len)
{
    return list_get(l, 0, buf, len, TAPE_LIST_HEADERS);
}

void dma_list_end(struct dma_list *l, size_t done)
{
    struct machine *m = l->dev->machine;
    bool write = l->direction == DMA_FROM_DEVICE;

    *(write ? &m->dma.bytes_written : &m->dma.bytes_read) += MIN(done, l->bytes);
    for (unsigned i = 0; i < l->count; i++) {
        size_t part = MIN(done, l->ref[i].len);

        done -= part;
        piece_put(l, &l->ref[i], write ? part : 0);
    }
    l->count = 0;
    l->bytes = 0;
    if (tape_guest_iov == l->iov) {
        tape_guest_iov = NULL;
    }
}
