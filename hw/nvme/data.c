/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe: where a command's data is, by PRPs (4.3) or SGLs (4.4).
 *
 * Lists are the guest's, who may change them at any time: each is fetched once per walk, into a
 * local, and each walk checks everything. A walk ends because every step either takes some of the
 * transfer's length, which is bounded by MDTS, or counts against a limit: a chain of PRP lists
 * needs a page each, and of SGL descriptors and segments there are so many and no more.
 */
#include <errno.h>

#include "nvme.h"

#define SGL_DESCRIPTOR 16u
#define SGL_DESCRIPTORS_MAX 1024u /* of a command */
#define SGL_SEGMENTS_MAX 64u
#define SGL_AT_ONCE 64u

enum sgl_type {
    SGL_DATA = 0x00,
    SGL_SEGMENT = 0x20,
    SGL_LAST_SEGMENT = 0x30,
};

struct walk {
    struct nvme_request *r;
    uint64_t skip, left; /* bytes before those that are wanted, and of them */
    uint64_t at, len;    /* contiguous in guest memory, not added yet */
    uint64_t taken;
    bool ended; /* no more is wanted, or it does not fit, or it failed */
    uint16_t status;
};

static void walk_fail(struct walk *w, uint16_t status)
{
    w->ended = true;
    w->status = status;
}

static void walk_flush(struct walk *w)
{
    int64_t n;

    if (w->len == 0) {
        return;
    }
    n = dma_list_add(w->r->list, w->at, w->len);
    if (n < 0) {
        walk_fail(w, STATUS_DATA_TRANSFER);
        return;
    }
    w->taken += (uint64_t)n;
    if ((uint64_t)n < w->len) {
        w->ended = true; /* the list is full */
    }
    w->len = 0;
}

/* The next `len` bytes of the transfer are there. */
static void walk_piece(struct walk *w, uint64_t gpa, uint64_t len)
{
    if (w->ended) {
        return;
    }
    if (len > UINT64_MAX - gpa) {
        walk_fail(w, STATUS_DATA_TRANSFER);
        return;
    }
    if (w->skip >= len) {
        w->skip -= len;
        return;
    }
    gpa += w->skip;
    len = MIN(len - w->skip, w->left);
    w->skip = 0;
    w->left -= len;
    if (w->len > 0 && w->at + w->len == gpa) {
        w->len += len;
    } else {
        walk_flush(w);
        w->at = gpa;
        w->len = w->ended ? 0 : len;
    }
    w->ended |= w->left == 0;
}

static bool walk_fetch(struct walk *w, uint64_t gpa, void *buf, size_t len)
{
    if (dma_read_content(&w->r->n->pci.dev, gpa, buf, len, DMA_STRUCTURE) < 0) {
        walk_fail(w, STATUS_DATA_TRANSFER);
        return false;
    }
    return true;
}

/* ---- PRPs ---- */

static bool prp_page(const uint8_t *entry, uint64_t *gpa, uint64_t *len)
{
    *gpa = load_le32(entry) | (uint64_t)load_le32(entry + 4) << 32;
    *len = GUEST_PAGE_SIZE;
    return true;
}

/* `data` entries of a list, which all begin a page. */
static uint64_t prp_entries(struct walk *w, const uint8_t *entries, uint64_t data, uint64_t left)
{
    uint64_t page = UINT64_C(1) << w->r->n->page_shift;

    for (uint64_t i = 0; i < data && !w->ended; i++) {
        uint64_t entry = load_le32(entries + 8 * i) | (uint64_t)load_le32(entries + 8 * i + 4)
                                                          << 32;
        uint64_t len = MIN(left, page);

        if (i % DMA_FORESEE_MAX == 0) {
            dma_foresee_fetched(&w->r->n->pci.dev, entries + 8 * i, (unsigned)(data - i), 8,
                                prp_page);
        }
        if (entry & (page - 1)) {
            walk_fail(w, STATUS_PRP_OFFSET);
            return 0;
        }
        walk_piece(w, entry, len);
        left -= len;
    }
    return left;
}

static void walk_prp_list(struct walk *w, uint64_t at, uint64_t left)
{
    uint64_t page = UINT64_C(1) << w->r->n->page_shift;
    uint8_t entries[8 * ((4096u << NVME_MDTS_MAX) / 4096u + 1)];

    if (at & 7) {
        walk_fail(w, STATUS_PRP_OFFSET);
        return;
    }
    while (left > 0 && !w->ended) {
        uint64_t room = (page - (at & (page - 1))) / 8, need = (left + page - 1) / page;
        uint64_t fetch = MIN(need, room);

        if (!walk_fetch(w, at, entries, 8 * fetch)) {
            return;
        }
        left = prp_entries(w, entries, need > room ? fetch - 1 : fetch, left);
        if (need > room) { /* the last of the page is the next list's address */
            at = load_le32(entries + 8 * (fetch - 1)) |
                 (uint64_t)load_le32(entries + 8 * (fetch - 1) + 4) << 32;
            if (!w->ended && (at & (page - 1))) {
                walk_fail(w, STATUS_PRP_OFFSET);
            }
        }
    }
}

static void walk_prp(struct walk *w, uint64_t total)
{
    uint64_t page = UINT64_C(1) << w->r->n->page_shift;
    uint64_t prp1 = nvme_qw(w->r, 6), prp2 = nvme_qw(w->r, 8);
    uint64_t first = MIN(total, page - (prp1 & (page - 1)));

    if (prp1 & 3) {
        walk_fail(w, STATUS_PRP_OFFSET);
        return;
    }
    walk_piece(w, prp1, first);
    if (total - first > page) {
        walk_prp_list(w, prp2, total - first);
    } else if (total > first && (prp2 & (page - 1))) {
        walk_fail(w, STATUS_PRP_OFFSET);
    } else if (total > first) {
        walk_piece(w, prp2, total - first);
    }
}

/* ---- SGLs ---- */

struct sgl {
    uint64_t address;
    uint32_t length;
    uint8_t type;
};

static struct sgl sgl_parse(const uint8_t *d)
{
    return (struct sgl){load_le32(d) | (uint64_t)load_le32(d + 4) << 32, load_le32(d + 8), d[15]};
}

struct sgl_walk {
    struct walk *w;
    uint64_t left; /* of the transfer */
    unsigned descriptors, segments;
    bool last; /* no further segment may follow */
};

static void sgl_data(struct sgl_walk *s, const struct sgl *d)
{
    if ((d->address | d->length) & 3) {
        walk_fail(s->w, STATUS_SGL_OFFSET);
    } else if (d->length > s->left) {
        walk_fail(s->w, STATUS_SGL_LENGTH); /* SGLS says that it may not be longer */
    } else {
        s->left -= d->length;
        walk_piece(s->w, d->address, d->length);
    }
}

static bool sgl_is_segment(const struct sgl *d)
{
    return d->type == SGL_SEGMENT || d->type == SGL_LAST_SEGMENT;
}

/* A segment's descriptors; what follows it, if something does, goes to `next`. True: it does. */
static bool sgl_segment(struct sgl_walk *s, const struct sgl *segment, struct sgl *next)
{
    uint32_t count = segment->length / SGL_DESCRIPTOR;
    uint8_t buf[SGL_AT_ONCE * SGL_DESCRIPTOR];

    for (uint32_t i = 0; i < count && !s->w->ended; i++) {
        uint32_t at = i % SGL_AT_ONCE;
        struct sgl d;

        if (at == 0 && !walk_fetch(s->w, segment->address + (uint64_t)i * SGL_DESCRIPTOR, buf,
                                   MIN(count - i, SGL_AT_ONCE) * SGL_DESCRIPTOR)) {
            return false;
        }
        d = sgl_parse(buf + at * SGL_DESCRIPTOR);
        if (sgl_is_segment(&d) && i + 1 == count && !s->last) {
            *next = d;
            return true;
        }
        if (d.type != SGL_DATA) {
            walk_fail(s->w, sgl_is_segment(&d) ? STATUS_SGL_SEGMENT : STATUS_SGL_TYPE);
        } else {
            sgl_data(s, &d);
        }
    }
    return false;
}

static void walk_sgl(struct walk *w, uint64_t total)
{
    struct sgl d = sgl_parse(w->r->sqe + 24);
    struct sgl_walk s = {.w = w, .left = total};
    bool more = sgl_is_segment(&d);

    if (!more && d.type != SGL_DATA) {
        walk_fail(w, STATUS_SGL_TYPE);
    } else if (!more) {
        sgl_data(&s, &d);
    }
    while (more && !w->ended) {
        uint32_t count = d.length / SGL_DESCRIPTOR;

        s.last = d.type == SGL_LAST_SEGMENT;
        s.descriptors += MIN(count, SGL_DESCRIPTORS_MAX + 1);
        if (count == 0 || d.length % SGL_DESCRIPTOR) {
            walk_fail(w, STATUS_SGL_SEGMENT);
        } else if (++s.segments > SGL_SEGMENTS_MAX || s.descriptors > SGL_DESCRIPTORS_MAX) {
            walk_fail(w, STATUS_SGL_COUNT);
        } else {
            more = sgl_segment(&s, &d, &d);
        }
    }
    if (!w->ended && s.left > 0) {
        walk_fail(w, STATUS_SGL_LENGTH);
    }
}

/* ---- both ---- */

int64_t nvme_map(struct nvme_request *r, uint64_t skip, uint64_t want, uint64_t total,
                 enum dma_direction direction)
{
    struct walk w = {.r = r, .skip = skip, .left = want};

    if (!r->list) {
        r->list = dma_list_new(&r->n->pci.dev, NVME_PIECES);
    }
    dma_list_begin(r->list, direction);
    if (r->sqe[1] >> 6 == PSDT_PRP) {
        walk_prp(&w, total);
    } else {
        walk_sgl(&w, total);
    }
    if (w.status == STATUS_OK) {
        walk_flush(&w);
    }
    if (w.status != STATUS_OK) {
        dma_list_end(r->list, 0);
        return -(int64_t)w.status;
    }
    return (int64_t)w.taken;
}

uint16_t nvme_put(struct nvme_request *r, const void *buf, uint32_t len)
{
    int64_t n = nvme_map(r, 0, len, len, DMA_FROM_DEVICE);
    int rc;

    if (n < 0) {
        return (uint16_t)-n;
    }
    rc = n == len ? dma_list_put(r->list, 0, buf, len) : -EINVAL;
    dma_list_end(r->list, len);
    return rc < 0 ? STATUS_DATA_TRANSFER : STATUS_OK;
}

/* The first `len` bytes of `total`, which may be in many small pieces. */
uint16_t nvme_get(struct nvme_request *r, void *buf, uint32_t len, uint64_t total)
{
    uint64_t skip = r->done;

    for (uint32_t at = 0; at < len;) {
        int64_t n = nvme_map(r, skip + at, len - at, total, DMA_TO_DEVICE);
        int rc;

        if (n <= 0) {
            return n < 0 ? (uint16_t)-n : STATUS_DATA_TRANSFER;
        }
        rc = dma_list_get(r->list, 0, (uint8_t *)buf + at, (size_t)n);
        dma_list_end(r->list, (size_t)n);
        if (rc < 0) {
            return STATUS_DATA_TRANSFER;
        }
        at += (uint32_t)n;
    }
    return STATUS_OK;
}
