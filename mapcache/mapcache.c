/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mapcache: guest memory in buckets of bucket_pages pages, mapped when first used; see
 * xendm/mapcache.h.
 *
 * A bucket is found by hash (the last hit first), so the cost of an access does not depend on the
 * guest's size, and nothing here is sized by guest memory. Buckets that nobody uses are in a list
 * by age; the oldest goes when more than max_bytes are mapped, and all of them when the cache has
 * not been used for a while. What is in use (pinned) is in no list and is never unmapped; while an
 * invalidation passes it is only made unfindable ("stale") and goes with its last reference.
 *
 * Buckets are always mapped for reading and writing: one mapping then serves both directions of a
 * disk buffer, and a device that must not write guest memory is stopped in hw/core/dma.c, not here.
 * Pages that did not map (beyond the end of RAM, the VGA hole, ballooned out) are remembered in a
 * bitmap and are an error for the caller. Since a guest may populate them later without telling us,
 * an access to such a page asks Xen again.
 *
 * Who goes through more scattered memory than may be mapped would have a bucket mapped, and another
 * unmapped, for each page. What guestmem_expect() names is then mapped as one piece beside the
 * buckets, all but the first page: that comes with its bucket, so that what the cache holds still
 * follows what the guest uses.
 */
#include <errno.h>
#include <string.h>

#include <xendm/hypervisor.h>
#include <xendm/log.h>
#include <xendm/mapcache.h>
#include <xendm/recorder.h>
#include <xendm/turn.h>

#define BUCKET_PAGES_MAX 1024u
#define HASH_BITS_MIN 4
#define HASH_BITS_MAX 16
#define GATHER_MIN 8u /* pages: below that, one by one */

struct bucket {
    uint64_t number; /* first gfn / bucket_pages; not of gathered pages */
    uint8_t *ptr;
    unsigned pages;
    struct bucket *hash_next;
    struct bucket *newer, *older; /* among the unused ones */
    unsigned refs;
    bool gathered;    /* of pages that were expected: in neither hash nor list */
    bool stale;       /* cannot be found any more; goes with the last reference */
    bool used;        /* since the last trim */
    bool full;        /* no page is missing */
    uint64_t valid[]; /* a bit per page */
};

/* The pages that were expected last. */
struct gathering {
    struct bucket *bucket; /* NULL: none */
    uint64_t gfn[GUESTMEM_EXPECT_MAX];
    unsigned count;
    unsigned at; /* the one found last: it is asked for in order */
};

struct guestmem {
    struct mapcache_ops ops;
    void *opaque;
    unsigned page_bits;    /* log2 of pages a bucket */
    unsigned bucket_shift; /* log2 of bytes a bucket */
    unsigned max_buckets;
    unsigned idle_seconds;
    unsigned hash_bits;
    struct bucket **hash;
    struct bucket *last; /* the bucket hit last, never a stale one */
    struct bucket *newest, *oldest;
    struct gathering gathering;
    unsigned pinned; /* buckets with references */
    guint trim_source;
    struct mapcache_counters counters;
    void (*invalidated)(void *opaque); /* the listener */
    void *invalidated_opaque;
    int *errs; /* of the pages that are mapped */
};

static size_t bucket_bytes(const struct guestmem *gm)
{
    return (size_t)1 << gm->bucket_shift;
}

static unsigned bucket_pages(const struct guestmem *gm)
{
    return 1u << gm->page_bits;
}

static struct bucket **hash_slot(const struct guestmem *gm, uint64_t number)
{
    /* Fibonacci hashing: neighbouring buckets spread over the table. */
    return &gm->hash[number * UINT64_C(0x9e3779b97f4a7c15) >> (64 - gm->hash_bits)];
}

static void lru_remove(struct guestmem *gm, struct bucket *b)
{
    *(b->newer != NULL ? &b->newer->older : &gm->newest) = b->older;
    *(b->older != NULL ? &b->older->newer : &gm->oldest) = b->newer;
    b->newer = b->older = NULL;
}

static void lru_add(struct guestmem *gm, struct bucket *b)
{
    b->newer = NULL;
    b->older = gm->newest;
    *(gm->newest != NULL ? &gm->newest->newer : &gm->oldest) = b;
    gm->newest = b;
}

static void hash_remove(struct guestmem *gm, struct bucket *b)
{
    struct bucket **p = hash_slot(gm, b->number);

    while (*p != b) {
        p = &(*p)->hash_next;
    }
    *p = b->hash_next;
    if (gm->last == b) {
        gm->last = NULL;
    }
}

static size_t mapped_bytes(const struct bucket *b)
{
    return (size_t)b->pages << GUEST_PAGE_SHIFT;
}

static void bucket_free(struct guestmem *gm, struct bucket *b)
{
    gm->ops.unmap(gm->opaque, b->ptr, b->pages);
    gm->counters.buckets -= !b->gathered;
    gm->counters.bytes_mapped -= mapped_bytes(b);
    g_free(b);
}

/* Forgets an unused bucket. */
static void bucket_drop(struct guestmem *gm, struct bucket *b)
{
    lru_remove(gm, b);
    hash_remove(gm, b);
    bucket_free(gm, b);
}

/* Makes a bucket unfindable: it goes now, or with its last reference. */
static void bucket_retire(struct guestmem *gm, struct bucket *b)
{
    if (b->refs == 0) {
        bucket_drop(gm, b);
        return;
    }
    hash_remove(gm, b);
    b->stale = true;
}

/* What was expected is not any more. */
static void gathering_end(struct guestmem *gm)
{
    struct bucket *b = gm->gathering.bucket;

    gm->gathering.bucket = NULL;
    if (b != NULL && b->refs > 0) {
        b->stale = true;
    } else if (b != NULL) {
        bucket_free(gm, b);
    }
}

static void trim_to(struct guestmem *gm, unsigned buckets)
{
    while (gm->counters.buckets > buckets && gm->oldest != NULL) {
        bucket_drop(gm, gm->oldest);
        gm->counters.evictions++;
    }
}

/*
 * Runs only while something unused is mapped: unmaps what was not touched since the last run, and
 * ends itself with the last bucket, so that an idle guest has neither mappings nor wake-ups.
 */
static gboolean trim_idle(gpointer opaque)
{
    struct guestmem *gm = opaque;
    struct bucket *b = gm->oldest;

    turn_of("mapcache trim");
    while (b != NULL) {
        struct bucket *newer = b->newer;

        if (b->used) {
            b->used = false;
        } else {
            bucket_drop(gm, b);
            gm->counters.trimmed++;
        }
        b = newer;
    }
    b = gm->gathering.bucket;
    if (b != NULL && b->used) {
        b->used = false;
    } else {
        gathering_end(gm);
    }
    if (gm->oldest == NULL && gm->gathering.bucket == NULL) {
        gm->trim_source = 0;
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static void trim_later(struct guestmem *gm)
{
    if (gm->trim_source == 0 && gm->idle_seconds > 0) {
        gm->trim_source = g_timeout_add_seconds(gm->idle_seconds, trim_idle, gm);
    }
}

/* Of what was mapped; NULL, and it is unmapped, if no page is there. */
static struct bucket *bucket_new(struct guestmem *gm, void *ptr, unsigned pages, bool gathered)
{
    struct bucket *b = g_malloc0(sizeof(*b) + (pages + 63) / 64 * sizeof(b->valid[0]));
    unsigned valid = 0;

    for (unsigned i = 0; i < pages; i++) {
        if (gm->errs[i] == 0) {
            b->valid[i / 64] |= UINT64_C(1) << i % 64;
            valid++;
        }
    }
    if (valid == 0) {
        /* Nothing there. Not worth remembering: it would let a guest fill the cache with nothing.
         */
        gm->ops.unmap(gm->opaque, ptr, pages);
        g_free(b);
        return NULL;
    }
    b->full = valid == pages;
    b->ptr = ptr;
    b->pages = pages;
    b->gathered = gathered;
    gm->counters.buckets += !gathered;
    gm->counters.bytes_mapped += mapped_bytes(b);
    trim_later(gm);
    return b;
}

static struct bucket *bucket_map(struct guestmem *gm, uint64_t number, int *error)
{
    unsigned pages = bucket_pages(gm);
    struct bucket *b;
    void *ptr;

    if (gm->counters.buckets >= gm->max_buckets) {
        trim_to(gm, gm->max_buckets - 1);
    }
    memset(gm->errs, 0, pages * sizeof(gm->errs[0]));
    ptr = gm->ops.map(gm->opaque, number << gm->page_bits, pages, gm->errs);
    if (ptr == NULL && (errno == ENOMEM || errno == EAGAIN) &&
        (gm->oldest != NULL || gm->gathering.bucket != NULL)) {
        /* The host is short of something: give back all that is unused and try once more. */
        mapcache_trim(gm);
        memset(gm->errs, 0, pages * sizeof(gm->errs[0]));
        ptr = gm->ops.map(gm->opaque, number << gm->page_bits, pages, gm->errs);
    }
    if (ptr == NULL) {
        /* Missing pages are reported one by one: a call that fails as a whole is the host's
         * failure, whatever it calls it. */
        *error = errno == ENOMEM || errno == EAGAIN ? -errno : -EIO;
        gm->counters.map_errors++;
        return NULL;
    }
    b = bucket_new(gm, ptr, pages, false);
    if (b == NULL) {
        *error = -EFAULT;
        return NULL;
    }
    b->number = number;
    b->hash_next = *hash_slot(gm, number);
    *hash_slot(gm, number) = b;
    lru_add(gm, b);
    return b;
}

static struct bucket *bucket_find(const struct guestmem *gm, uint64_t number)
{
    struct bucket *b = gm->last;

    if (b != NULL && b->number == number) {
        return b;
    }
    for (b = *hash_slot(gm, number); b != NULL && b->number != number; b = b->hash_next) {
    }
    return b;
}

static bool page_valid(const struct bucket *b, unsigned page)
{
    return b->full || (b->valid[page / 64] >> page % 64 & 1) != 0;
}

/* A page that was not there when its bucket was mapped: is it now? */
static bool page_appeared(struct guestmem *gm, uint64_t gfn)
{
    int err = 0;
    void *ptr = gm->ops.map(gm->opaque, gfn, 1, &err);

    if (ptr == NULL) {
        return false;
    }
    gm->ops.unmap(gm->opaque, ptr, 1);
    return err == 0;
}

/* Whether the memory behind page `page` of a view is that of the guest behind it. */
static bool goes_on(const struct guestmem *gm, const struct bucket *b, unsigned page)
{
    const struct gathering *g = &gm->gathering;

    return page + 1 < b->pages && page_valid(b, page + 1) &&
           (!b->gathered || g->gfn[page + 1] == g->gfn[page] + 1);
}

/* How many bytes can be used from page `page` on, not more than `want` of them counted from the
 * page's start. */
static size_t valid_run(const struct guestmem *gm, const struct bucket *b, unsigned page,
                        size_t want)
{
    unsigned end = page;

    if (b->full && !b->gathered) {
        return mapped_bytes(b) - ((size_t)page << GUEST_PAGE_SHIFT);
    }
    while ((size_t)(end + 1 - page) << GUEST_PAGE_SHIFT < want && goes_on(gm, b, end)) {
        end++;
    }
    return (size_t)(end + 1 - page) << GUEST_PAGE_SHIFT;
}

/* The view that begins in page `page` of `b`, which is valid. */
static void view_take(struct guestmem *gm, struct bucket *b, unsigned page,
                      struct guestmem_ref *ref)
{
    size_t in_page = ref->gpa & (GUEST_PAGE_SIZE - 1);
    size_t run = ref->len > SIZE_MAX - in_page ? SIZE_MAX : ref->len + in_page;

    b->used = true;
    if (b->refs++ == 0) {
        if (!b->gathered) {
            lru_remove(gm, b);
        }
        gm->pinned++;
        gm->counters.bytes_pinned += mapped_bytes(b);
    }
    run = valid_run(gm, b, page, run) - in_page;
    ref->ptr = b->ptr + ((size_t)page << GUEST_PAGE_SHIFT) + in_page;
    ref->len = ref->len < run ? ref->len : run;
    ref->cookie = b;
}

/* Where a frame is among those that were expected, if it is there; else -1. */
static int gathering_find(struct gathering *g, uint64_t gfn)
{
    for (unsigned i = 0; g->bucket != NULL && i < g->count; i++) {
        unsigned at = (g->at + i) % g->count;

        if (g->gfn[at] == gfn && page_valid(g->bucket, at)) {
            g->at = at;
            return (int)at;
        }
    }
    return -1;
}

int guestmem_get(struct guestmem *gm, uint64_t gpa, size_t len, bool write,
                 struct guestmem_ref *ref)
{
    uint64_t number = gpa >> gm->bucket_shift;
    unsigned page = (unsigned)((gpa & (bucket_bytes(gm) - 1)) >> GUEST_PAGE_SHIFT);
    struct bucket *b;
    int at, err = 0;

    if (len == 0 || gpa + (len - 1) < gpa) {
        return -EINVAL;
    }
    *ref = (struct guestmem_ref){.gpa = gpa, .len = len, .write = write};
    b = bucket_find(gm, number);
    at = b == NULL ? gathering_find(&gm->gathering, gpa >> GUEST_PAGE_SHIFT) : -1;
    if (at >= 0) {
        gm->counters.hits++;
        view_take(gm, gm->gathering.bucket, (unsigned)at, ref);
        return 0;
    }
    if (b != NULL && !page_valid(b, page)) {
        gm->counters.holes++;
        if (!page_appeared(gm, gpa >> GUEST_PAGE_SHIFT)) {
            return -EFAULT;
        }
        bucket_retire(gm, b);
        b = NULL;
    } else if (b != NULL) {
        gm->counters.hits++;
    }
    if (b == NULL) {
        gm->counters.misses++;
        b = bucket_map(gm, number, &err);
        if (b == NULL) {
            return err;
        }
        if (!page_valid(b, page)) {
            gm->counters.holes++;
            return -EFAULT;
        }
    }
    gm->last = b;
    view_take(gm, b, page, ref);
    return 0;
}

bool guestmem_is_full(const struct guestmem *gm)
{
    return gm->ops.gather != NULL && gm->counters.buckets >= gm->max_buckets;
}

/* Those to be gathered, into `gfn`: how many. */
static unsigned expected_pages(const struct guestmem *gm, const uint64_t *gfns, unsigned count,
                               uint64_t *gfn)
{
    uint64_t first = UINT64_MAX, last = UINT64_MAX;
    unsigned n = 0, buckets = 0;

    for (unsigned i = 0; i < count; i++) {
        uint64_t number = gfns[i] >> gm->page_bits;

        if (number == first || (n > 0 && gfns[i] == gfn[n - 1]) || bucket_find(gm, number)) {
            continue;
        }
        if (first == UINT64_MAX) {
            first = number;
            continue;
        }
        buckets += number != last;
        last = number;
        gfn[n++] = gfns[i];
    }
    return n < GATHER_MIN || buckets < n / 2 ? 0 : n;
}

void guestmem_expect(struct guestmem *gm, const uint64_t *gfns, unsigned count)
{
    struct gathering *g = &gm->gathering;
    void *ptr;

    XENDM_ASSERT(count <= GUESTMEM_EXPECT_MAX);
    gathering_end(gm);
    if (!guestmem_is_full(gm)) {
        return;
    }
    g->at = 0;
    g->count = expected_pages(gm, gfns, count, g->gfn);
    if (g->count == 0) {
        return;
    }
    memset(gm->errs, 0, g->count * sizeof(gm->errs[0]));
    ptr = gm->ops.gather(gm->opaque, g->gfn, g->count, gm->errs);
    if (ptr == NULL) {
        return; /* one by one, then */
    }
    g->bucket = bucket_new(gm, ptr, g->count, true);
    gm->counters.gathered += g->count;
}

void guestmem_written(struct guestmem *gm, uint64_t gpa, size_t len)
{
    if (len > 0) {
        uint64_t first = gpa >> GUEST_PAGE_SHIFT;
        uint64_t last = (gpa + len - 1) >> GUEST_PAGE_SHIFT;

        gm->ops.modified(gm->opaque, first, (unsigned)(last - first + 1));
    }
}

void guestmem_put(struct guestmem *gm, struct guestmem_ref *ref, size_t written)
{
    struct bucket *b = ref->cookie;

    XENDM_ASSERT(b != NULL && b->refs > 0 && written <= ref->len && (written == 0 || ref->write));
    guestmem_written(gm, ref->gpa, written);
    ref->cookie = NULL;
    ref->ptr = NULL;
    if (--b->refs > 0) {
        return;
    }
    gm->pinned--;
    gm->counters.bytes_pinned -= mapped_bytes(b);
    if (b->stale) {
        bucket_free(gm, b);
        return;
    }
    if (!b->gathered) {
        lru_add(gm, b);
    }
    if (gm->counters.buckets > gm->max_buckets) {
        trim_to(gm, gm->max_buckets);
    }
    trim_later(gm);
}

int guestmem_read(struct guestmem *gm, uint64_t gpa, void *buf, size_t len)
{
    uint8_t *to = buf;

    if (len > 0 && gpa + (len - 1) < gpa) {
        return -EINVAL;
    }
    while (len > 0) {
        struct guestmem_ref ref;
        size_t n;
        int err = guestmem_get(gm, gpa, len, false, &ref);

        if (err < 0) {
            return err;
        }
        n = ref.len;
        memcpy(to, ref.ptr, n);
        guestmem_put(gm, &ref, 0);
        to += n;
        gpa += n;
        len -= n;
    }
    return 0;
}

int guestmem_write(struct guestmem *gm, uint64_t gpa, const void *buf, size_t len)
{
    const uint8_t *from = buf;

    if (len > 0 && gpa + (len - 1) < gpa) {
        return -EINVAL;
    }
    while (len > 0) {
        struct guestmem_ref ref;
        size_t n;
        int err = guestmem_get(gm, gpa, len, true, &ref);

        if (err < 0) {
            return err;
        }
        n = ref.len;
        memcpy(ref.ptr, from, n);
        guestmem_put(gm, &ref, n);
        from += n;
        gpa += n;
        len -= n;
    }
    return 0;
}

void guestmem_set_listener(struct guestmem *gm, void (*invalidated)(void *opaque), void *opaque)
{
    gm->invalidated = invalidated;
    gm->invalidated_opaque = opaque;
}

void guestmem_invalidate(struct guestmem *gm)
{
    gm->counters.invalidations++;
    if (gm->invalidated != NULL) {
        gm->invalidated(gm->invalidated_opaque);
    }
    gathering_end(gm);
    while (gm->oldest != NULL) {
        bucket_drop(gm, gm->oldest);
    }
    /* What is left in the hash is pinned. */
    for (unsigned i = 0; i < 1u << gm->hash_bits && gm->pinned > 0; i++) {
        while (gm->hash[i] != NULL) {
            bucket_retire(gm, gm->hash[i]);
        }
    }
}

void mapcache_trim(struct guestmem *gm)
{
    gathering_end(gm);
    trim_to(gm, 0);
}

struct guestmem *mapcache_new(const struct mapcache_ops *ops, void *opaque,
                              const struct mapcache_limits *limits)
{
    static const struct mapcache_limits defaults;
    struct guestmem *gm = g_new0(struct guestmem, 1);
    unsigned pages;
    uint64_t max;

    if (limits == NULL) {
        limits = &defaults;
    }
    pages = limits->bucket_pages != 0 ? limits->bucket_pages : MAPCACHE_BUCKET_PAGES;
    XENDM_ASSERT((pages & (pages - 1)) == 0 && pages <= BUCKET_PAGES_MAX);
    gm->ops = *ops;
    gm->opaque = opaque;
    gm->page_bits = (unsigned)__builtin_ctz(pages);
    gm->bucket_shift = gm->page_bits + GUEST_PAGE_SHIFT;
    max = (limits->max_bytes != 0 ? limits->max_bytes : MAPCACHE_MAX_BYTES) >> gm->bucket_shift;
    gm->max_buckets = max == 0 ? 1 : max > UINT32_MAX ? UINT32_MAX : (unsigned)max;
    gm->idle_seconds = limits->idle_seconds;
    gm->hash_bits = HASH_BITS_MIN;
    while (gm->hash_bits < HASH_BITS_MAX && UINT64_C(1) << gm->hash_bits < gm->max_buckets) {
        gm->hash_bits++;
    }
    gm->hash = g_new0(struct bucket *, (size_t)1 << gm->hash_bits);
    gm->errs = g_new0(int, MAX(pages, GUESTMEM_EXPECT_MAX));
    return gm;
}

void mapcache_free(struct guestmem *gm)
{
    if (gm == NULL) {
        return;
    }
    XENDM_ASSERT(gm->pinned == 0);
    if (gm->trim_source != 0) {
        g_source_remove(gm->trim_source);
    }
    gathering_end(gm);
    while (gm->oldest != NULL) {
        bucket_drop(gm, gm->oldest);
    }
    g_free(gm->hash);
    g_free(gm->errs);
    g_free(gm);
}

void mapcache_counters(const struct guestmem *gm, struct mapcache_counters *out)
{
    *out = gm->counters;
}
