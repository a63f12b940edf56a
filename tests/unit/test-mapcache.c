/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mapcache on a sparse make-believe guest: hits, eviction, pins, holes, invalidation, trimming. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <glib.h>

#include <xendm/hypervisor.h>
#include <xendm/mapcache.h>

#define PAGES 64u
#define BUCKET (PAGES * (uint64_t)GUEST_PAGE_SIZE)

/*
 * The guest has memory everywhere but in [hole_first, hole_last]. Real memory behind it: none but
 * what is mapped; the first eight bytes of each mapped page hold its frame number.
 */
struct room {
    uint64_t hole_first, hole_last;
    unsigned maps, unmaps, single_maps, gathers;
    int mapped;    /* pages */
    unsigned fail; /* errno for that many map calls … */
    unsigned fail_count;
    uint64_t modified_first;
    unsigned modified_pages, modified_calls;
};

static void *room_refuses(struct room *room)
{
    room->fail_count--;
    errno = (int)room->fail;
    return NULL;
}

/* As on Xen: touching a page that is not there is a fault. */
static void *map_pages(struct room *room, const uint64_t *gfns, unsigned pages, int *errs)
{
    uint8_t *p =
        mmap(NULL, (size_t)pages * GUEST_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    g_assert_true(p != MAP_FAILED);
    for (unsigned i = 0; i < pages; i++) {
        uint8_t *page = p + (size_t)i * GUEST_PAGE_SIZE;

        errs[i] = gfns[i] >= room->hole_first && gfns[i] <= room->hole_last ? EINVAL : 0;
        if (errs[i] == 0) {
            g_assert_cmpint(mprotect(page, GUEST_PAGE_SIZE, PROT_READ | PROT_WRITE), ==, 0);
            memcpy(page, &gfns[i], sizeof(gfns[i]));
        }
    }
    room->mapped += (int)pages;
    return p;
}

static void *room_map(void *opaque, uint64_t gfn, unsigned pages, int *errs)
{
    struct room *room = opaque;
    uint64_t gfns[PAGES];

    if (room->fail_count > 0) {
        return room_refuses(room);
    }
    *(pages == 1 ? &room->single_maps : &room->maps) += 1;
    for (unsigned i = 0; i < pages; i++) {
        gfns[i] = gfn + i;
    }
    return map_pages(room, gfns, pages, errs);
}

static void *room_gather(void *opaque, const uint64_t *gfns, unsigned pages, int *errs)
{
    struct room *room = opaque;

    room->gathers++;
    return room->fail_count > 0 ? room_refuses(room) : map_pages(room, gfns, pages, errs);
}

static void room_unmap(void *opaque, void *ptr, unsigned pages)
{
    struct room *room = opaque;

    if (pages > 1) {
        room->unmaps++;
    }
    room->mapped -= (int)pages;
    g_assert_cmpint(munmap(ptr, (size_t)pages * GUEST_PAGE_SIZE), ==, 0);
}

static void room_modified(void *opaque, uint64_t gfn, unsigned pages)
{
    struct room *room = opaque;

    room->modified_first = gfn;
    room->modified_pages = pages;
    room->modified_calls++;
}

static const struct mapcache_ops ops = {.map = room_map,
                                        .gather = room_gather,
                                        .unmap = room_unmap,
                                        .modified = room_modified};

static struct guestmem *cache_new(struct room *room, unsigned buckets, unsigned idle_seconds)
{
    struct mapcache_limits limits = {PAGES, buckets * BUCKET, idle_seconds};

    memset(room, 0, sizeof(*room));
    room->hole_first = UINT64_MAX;
    return mapcache_new(&ops, room, &limits);
}

static uint64_t frame_at(struct guestmem *gm, uint64_t gpa)
{
    uint64_t frame = 0;

    g_assert_cmpint(guestmem_read(gm, gpa & ~UINT64_C(4095), &frame, sizeof(frame)), ==, 0);
    return frame;
}

static void test_hits(void)
{
    struct mapcache_counters c;
    struct room room;
    struct guestmem *gm = cache_new(&room, 4, 0);
    uint8_t in[BUCKET / 64], out[BUCKET / 64];

    g_assert_cmpuint(frame_at(gm, 0x5000), ==, 5);
    g_assert_cmpuint(frame_at(gm, 0x6000), ==, 6);
    g_assert_cmpuint(frame_at(gm, BUCKET), ==, PAGES);
    g_assert_cmpuint(frame_at(gm, 0x5000), ==, 5);
    mapcache_counters(gm, &c);
    g_assert_cmpuint(c.misses, ==, 2);
    g_assert_cmpuint(c.hits, ==, 2);
    g_assert_cmpuint(c.buckets, ==, 2);
    g_assert_cmpuint(c.bytes_mapped, ==, 2 * BUCKET);
    g_assert_cmpuint(c.bytes_pinned, ==, 0);

    /* A copy across the border of two buckets, and what it marks as modified. */
    for (unsigned i = 0; i < sizeof(in); i++) {
        in[i] = (uint8_t)(i * 7 + 1);
    }
    g_assert_cmpint(guestmem_write(gm, BUCKET - 100, in, sizeof(in)), ==, 0);
    g_assert_cmpuint(room.modified_calls, ==, 2);
    g_assert_cmpuint(room.modified_first, ==, PAGES);
    g_assert_cmpuint(room.modified_pages, ==, 1);
    g_assert_cmpint(guestmem_read(gm, BUCKET - 100, out, sizeof(out)), ==, 0);
    g_assert_cmpmem(in, sizeof(in), out, sizeof(out));
    g_assert_cmpuint(room.modified_calls, ==, 2);
    mapcache_free(gm);
    g_assert_cmpuint(room.maps, ==, room.unmaps);
}

static void test_eviction(void)
{
    struct mapcache_counters c;
    struct room room;
    struct guestmem *gm = cache_new(&room, 4, 0);

    for (unsigned i = 0; i < 4; i++) {
        frame_at(gm, i * BUCKET);
    }
    frame_at(gm, 0); /* now 1 is the oldest */
    frame_at(gm, 4 * BUCKET);
    mapcache_counters(gm, &c);
    g_assert_cmpuint(c.evictions, ==, 1);
    g_assert_cmpuint(c.buckets, ==, 4);
    g_assert_cmpuint(room.maps, ==, 5);
    frame_at(gm, 0);
    frame_at(gm, 2 * BUCKET);
    g_assert_cmpuint(room.maps, ==, 5);
    frame_at(gm, 1 * BUCKET); /* was dropped */
    g_assert_cmpuint(room.maps, ==, 6);
    mapcache_free(gm);
    g_assert_cmpuint(room.maps, ==, room.unmaps);
}

static void test_pins(void)
{
    struct mapcache_counters c;
    struct guestmem_ref ref[6], again;
    struct room room;
    struct guestmem *gm = cache_new(&room, 2, 0);

    /* More pinned than the limit: allowed, and given back afterwards. */
    for (unsigned i = 0; i < 6; i++) {
        g_assert_cmpint(guestmem_get(gm, i * BUCKET + 0x1000, 16, true, &ref[i]), ==, 0);
        g_assert_cmpuint(ref[i].len, ==, 16);
    }
    g_assert_cmpint(guestmem_get(gm, 0x1008, 8, false, &again), ==, 0);
    mapcache_counters(gm, &c);
    g_assert_cmpuint(c.buckets, ==, 6);
    g_assert_cmpuint(c.bytes_pinned, ==, 6 * BUCKET);
    g_assert_cmpuint(c.evictions, ==, 0);
    for (unsigned i = 0; i < 6; i++) {
        uint64_t frame;

        memcpy(&frame, ref[i].ptr, sizeof(frame));
        g_assert_cmpuint(frame, ==, i * PAGES + 1);
        guestmem_put(gm, &ref[i], i == 5 ? 16 : 0);
    }
    g_assert_cmpuint(room.modified_calls, ==, 1);
    g_assert_cmpuint(room.modified_first, ==, 5 * PAGES + 1);
    mapcache_counters(gm, &c);
    g_assert_cmpuint(c.buckets, ==, 2);
    g_assert_cmpuint(c.bytes_pinned, ==, BUCKET);
    guestmem_put(gm, &again, 0);
    mapcache_free(gm);
    g_assert_cmpuint(room.maps, ==, room.unmaps);
}

static void test_views(void)
{
    struct guestmem_ref ref;
    struct room room;
    struct guestmem *gm = cache_new(&room, 2, 0);

    /* Ends with the bucket; an impossible length does not overflow. */
    g_assert_cmpint(guestmem_get(gm, BUCKET - 0x1800, SIZE_MAX / 2, false, &ref), ==, 0);
    g_assert_cmpuint(ref.len, ==, 0x1800);
    guestmem_put(gm, &ref, 0);
    g_assert_cmpint(guestmem_get(gm, 1, SIZE_MAX, false, &ref), ==, 0);
    g_assert_cmpuint(ref.len, ==, BUCKET - 1);
    guestmem_put(gm, &ref, 0);
    g_assert_cmpint(guestmem_get(gm, 0, 0, false, &ref), ==, -EINVAL);
    g_assert_cmpint(guestmem_get(gm, UINT64_MAX - 10, 12, false, &ref), ==, -EINVAL);
    g_assert_cmpint(guestmem_read(gm, UINT64_MAX - 10, &ref, 12), ==, -EINVAL);
    g_assert_cmpint(guestmem_write(gm, UINT64_MAX - 10, &ref, 12), ==, -EINVAL);
    g_assert_cmpint(guestmem_read(gm, 5, NULL, 0), ==, 0);

    /* Ends before a hole, and does not begin in one. */
    room.hole_first = 2 * PAGES + 10;
    room.hole_last = 2 * PAGES + 11;
    g_assert_cmpint(guestmem_get(gm, 2 * BUCKET + 0x8100, 0x10000, true, &ref), ==, 0);
    g_assert_cmpuint(ref.len, ==, 0x1f00);
    memset(ref.ptr, 0xee, ref.len);
    guestmem_put(gm, &ref, ref.len);
    g_assert_cmpuint(room.modified_first, ==, 2 * PAGES + 8);
    g_assert_cmpuint(room.modified_pages, ==, 2);
    g_assert_cmpint(guestmem_get(gm, 2 * BUCKET + 0xa000, 1, false, &ref), ==, -EFAULT);
    g_assert_cmpint(guestmem_get(gm, 2 * BUCKET + 0xbfff, 1, false, &ref), ==, -EFAULT);
    g_assert_cmpint(guestmem_get(gm, 2 * BUCKET + 0xc000, 0x100000, false, &ref), ==, 0);
    g_assert_cmpuint(ref.len, ==, BUCKET - 0xc000);
    guestmem_put(gm, &ref, 0);
    mapcache_free(gm);
}

static void test_holes(void)
{
    struct mapcache_counters c;
    struct guestmem_ref pin, ref;
    struct room room;
    struct guestmem *gm = cache_new(&room, 2, 0);

    room.hole_first = 7;
    room.hole_last = 7;
    g_assert_cmpint(guestmem_get(gm, 0x3000, 8, false, &pin), ==, 0);
    for (unsigned i = 0; i < 100; i++) {
        g_assert_cmpint(guestmem_get(gm, 0x7000, 8, false, &ref), ==, -EFAULT);
    }
    g_assert_cmpuint(room.maps, ==, 1); /* asked page by page, without giving up the bucket */
    g_assert_cmpuint(room.single_maps, ==, 100);

    /* Populated again: works at once, although the old mapping is in use; and that stays valid. */
    room.hole_first = UINT64_MAX;
    g_assert_cmpuint(frame_at(gm, 0x7000), ==, 7);
    g_assert_cmpuint(room.maps, ==, 2);
    g_assert_cmpuint(*(uint64_t *)pin.ptr, ==, 3);
    g_assert_cmpuint(frame_at(gm, 0x3000), ==, 3);
    g_assert_cmpuint(room.maps, ==, 2);
    guestmem_put(gm, &pin, 0);
    g_assert_cmpuint(room.unmaps, ==, 1);
    mapcache_counters(gm, &c);
    g_assert_cmpuint(c.buckets, ==, 1);
    g_assert_cmpuint(c.holes, ==, 101);

    /* Buckets without a single page do not fill the cache. */
    room.hole_first = 100 * PAGES;
    room.hole_last = UINT64_MAX - 1;
    for (unsigned i = 100; i < 200; i++) {
        g_assert_cmpint(guestmem_get(gm, i * BUCKET, 8, false, &ref), ==, -EFAULT);
    }
    mapcache_counters(gm, &c);
    g_assert_cmpuint(c.buckets, ==, 1);

    /* The host cannot: unused buckets are given up once, then the error is the caller's. */
    room.fail = ENOMEM;
    room.fail_count = 1;
    g_assert_cmpuint(frame_at(gm, BUCKET), ==, PAGES);
    mapcache_counters(gm, &c);
    g_assert_cmpuint(c.buckets, ==, 1);
    room.fail_count = 2;
    g_assert_cmpint(guestmem_get(gm, 2 * BUCKET, 8, false, &ref), ==, -ENOMEM);
    room.fail = EPERM;
    room.fail_count = 1;
    g_assert_cmpint(guestmem_get(gm, 2 * BUCKET, 8, false, &ref), ==, -EIO);
    mapcache_free(gm);
    g_assert_cmpuint(room.maps, ==, room.unmaps);
}

static void test_invalidate(void)
{
    struct mapcache_counters c;
    struct guestmem_ref pin[2];
    struct room room;
    struct guestmem *gm = cache_new(&room, 8, 0);

    g_assert_cmpint(guestmem_get(gm, 0x1000, 8, true, &pin[0]), ==, 0);
    g_assert_cmpint(guestmem_get(gm, 0x2000, 8, true, &pin[1]), ==, 0);
    frame_at(gm, BUCKET);
    frame_at(gm, 2 * BUCKET);
    guestmem_invalidate(gm);
    mapcache_counters(gm, &c);
    g_assert_cmpuint(c.buckets, ==, 1);
    g_assert_cmpuint(room.unmaps, ==, 2);

    /*
     * The pinned view is still memory, but is not found any more, and goes with its last reference.
     */
    memset(pin[0].ptr, 0x55, 8);
    g_assert_cmpuint(frame_at(gm, 0x1000), ==, 1);
    g_assert_cmpuint(room.maps, ==, 4);
    guestmem_invalidate(gm);
    guestmem_put(gm, &pin[0], 8);
    g_assert_cmpuint(room.unmaps, ==, 3);
    guestmem_invalidate(gm);
    guestmem_put(gm, &pin[1], 0);
    g_assert_cmpuint(room.unmaps, ==, 4);
    mapcache_counters(gm, &c);
    g_assert_cmpuint(c.buckets, ==, 0);
    g_assert_cmpuint(c.bytes_pinned, ==, 0);
    g_assert_cmpuint(c.bytes_mapped, ==, 0);
    g_assert_cmpuint(c.invalidations, ==, 3);
    mapcache_free(gm);
}

struct keeper {
    struct guestmem *gm;
    struct guestmem_ref ref;
    unsigned told;
};

static void let_go(void *opaque)
{
    struct keeper *k = opaque;

    k->told++;
    if (k->ref.ptr) {
        guestmem_put(k->gm, &k->ref, 0);
    }
}

/* Whoever keeps a view for long is told, and then nothing of the old mappings is left. */
static void test_listener(void)
{
    struct mapcache_counters c;
    struct room room;
    struct guestmem *gm = cache_new(&room, 8, 0);
    struct keeper k = {.gm = gm};

    guestmem_set_listener(gm, let_go, &k);
    g_assert_cmpint(guestmem_get(gm, 0x1000, 8, true, &k.ref), ==, 0);
    guestmem_invalidate(gm);
    mapcache_counters(gm, &c);
    g_assert_cmpuint(k.told, ==, 1);
    g_assert_cmpuint(c.buckets, ==, 0);
    guestmem_set_listener(gm, NULL, NULL);
    guestmem_invalidate(gm);
    g_assert_cmpuint(k.told, ==, 1);
    mapcache_free(gm);
}

/* A guest of a terabyte: what the cache holds is bounded, whatever is touched. */
static void test_sparse(void)
{
    struct mapcache_counters c;
    struct room room;
    struct guestmem *gm = cache_new(&room, 16, 0);
    uint64_t gpa = 0;

    for (unsigned i = 0; i < 5000; i++) {
        gpa = (gpa * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407)) &
              ((UINT64_C(1) << 40) - 4096);
        g_assert_cmpuint(frame_at(gm, gpa), ==, gpa >> 12);
        mapcache_counters(gm, &c);
        g_assert_cmpuint(c.buckets, <=, 16);
    }
    g_assert_cmpuint(c.misses, >, 4000);
    mapcache_trim(gm);
    mapcache_counters(gm, &c);
    g_assert_cmpuint(c.bytes_mapped, ==, 0);
    mapcache_free(gm);
    g_assert_cmpuint(room.maps, ==, room.unmaps);
}

/* Unused mappings go by themselves, and then nothing wakes up any more. */
static void test_idle(void)
{
    struct mapcache_counters c;
    struct guestmem_ref pin;
    struct room room;
    struct guestmem *gm = cache_new(&room, 16, 1);

    frame_at(gm, 0);
    g_assert_cmpint(guestmem_get(gm, BUCKET, 8, false, &pin), ==, 0);
    do {
        g_main_context_iteration(NULL, TRUE);
        mapcache_counters(gm, &c);
    } while (c.trimmed == 0);
    g_assert_cmpuint(c.buckets, ==, 1);
    while (g_main_context_pending(NULL)) {
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_null(g_main_context_find_source_by_user_data(NULL, gm));
    guestmem_put(gm, &pin, 0);
    g_assert_nonnull(g_main_context_find_source_by_user_data(NULL, gm));
    mapcache_free(gm);
    g_assert_null(g_main_context_find_source_by_user_data(NULL, gm));
}

/* Frames of `count` buckets from `bucket` on, one of each, and that they are expected. */
static void expect(struct guestmem *gm, uint64_t *gfns, unsigned bucket, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        gfns[i] = (uint64_t)(bucket + i) * PAGES + i % PAGES;
    }
    guestmem_expect(gm, gfns, count);
}

static void read_all(struct guestmem *gm, const uint64_t *gfns, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        g_assert_cmpuint(frame_at(gm, gfns[i] << GUEST_PAGE_SHIFT), ==, gfns[i]);
    }
}

static void fill(struct guestmem *gm, unsigned buckets)
{
    for (unsigned i = 0; i < buckets; i++) {
        frame_at(gm, i * BUCKET);
    }
}

/* Scattered pages are mapped together, where each would cost a bucket another one. */
static void test_expected(void)
{
    uint64_t gfns[GUESTMEM_EXPECT_MAX];
    struct mapcache_counters c;
    struct room room;
    struct guestmem *gm = cache_new(&room, 4, 0);

    /* There is room: the cache does as it does always. */
    fill(gm, 3);
    g_assert_false(guestmem_is_full(gm));
    expect(gm, gfns, 100, 64);
    g_assert_cmpuint(room.gathers, ==, 0);

    fill(gm, 4);
    g_assert_true(guestmem_is_full(gm));
    for (unsigned round = 0; round < 3; round++) {
        unsigned maps = room.maps;

        expect(gm, gfns, 100 + 64 * round, 64);
        g_assert_cmpuint(room.gathers, ==, round + 1);
        read_all(gm, gfns, 64);
        g_assert_cmpuint(room.maps, ==, maps + 1); /* the first comes with what is around it */
    }
    mapcache_counters(gm, &c);
    g_assert_cmpuint(c.buckets, ==, 4);
    g_assert_cmpuint(c.gathered, ==, 3 * 63);
    g_assert_cmpuint(c.bytes_mapped, ==, 4 * BUCKET + 63 * GUEST_PAGE_SIZE);
    g_assert_cmpuint(c.bytes_pinned, ==, 0);

    /* In another order, more than once, and what nobody expected. */
    g_assert_cmpuint(frame_at(gm, gfns[20] << GUEST_PAGE_SHIFT), ==, gfns[20]);
    g_assert_cmpuint(frame_at(gm, gfns[63] << GUEST_PAGE_SHIFT), ==, gfns[63]);
    g_assert_cmpuint(frame_at(gm, gfns[20] << GUEST_PAGE_SHIFT), ==, gfns[20]);
    g_assert_cmpuint(room.gathers, ==, 3);
    g_assert_cmpuint(frame_at(gm, 1000 * BUCKET), ==, 1000 * PAGES);

    /* What is written is marked. */
    g_assert_cmpint(guestmem_write(gm, gfns[30] << GUEST_PAGE_SHIFT, gfns, 16), ==, 0);
    g_assert_cmpuint(room.modified_first, ==, gfns[30]);
    g_assert_cmpuint(room.modified_pages, ==, 1);
    mapcache_free(gm);
    g_assert_cmpint(room.mapped, ==, 0);
}

/* What does not pay: few pages, pages that lie together, pages that are there. */
static void test_expected_for_nothing(void)
{
    uint64_t gfns[GUESTMEM_EXPECT_MAX];
    struct room room;
    struct guestmem *gm = cache_new(&room, 4, 0);

    fill(gm, 4);
    expect(gm, gfns, 100, 8);
    expect(gm, gfns, 0, 4);
    for (unsigned i = 0; i < 64; i++) {
        gfns[i] = 100 * PAGES + i;
    }
    guestmem_expect(gm, gfns, 64);
    for (unsigned i = 0; i < 64; i++) {
        gfns[i] = (100 + i / 16) * PAGES + i % 16;
    }
    guestmem_expect(gm, gfns, 64);
    guestmem_expect(gm, gfns, 0);
    g_assert_cmpuint(room.gathers, ==, 0);
    mapcache_free(gm);
    g_assert_cmpint(room.mapped, ==, 0);
}

/* A view goes on where the guest's memory does, and not where only ours does; holes are holes. */
static void test_expected_views(void)
{
    uint64_t gfns[32];
    struct guestmem_ref ref;
    struct room room;
    struct guestmem *gm = cache_new(&room, 4, 0);

    fill(gm, 4);
    for (unsigned i = 0; i < 32; i++) {
        gfns[i] = (uint64_t)(100 + i / 2) * PAGES + i % 2;
    }
    room.hole_first = room.hole_last = gfns[11];
    guestmem_expect(gm, gfns, 32);
    g_assert_cmpuint(room.gathers, ==, 1);
    g_assert_cmpint(guestmem_get(gm, (gfns[6] << GUEST_PAGE_SHIFT) + 0x800, 0x10000, false, &ref),
                    ==, 0);
    g_assert_cmpuint(ref.len, ==, 0x1800);
    guestmem_put(gm, &ref, 0);
    g_assert_cmpint(guestmem_get(gm, (gfns[6] << GUEST_PAGE_SHIFT) + 0x800, 0x900, true, &ref), ==,
                    0);
    g_assert_cmpuint(ref.len, ==, 0x900);
    guestmem_put(gm, &ref, 0x900);
    g_assert_cmpuint(room.modified_pages, ==, 2);
    g_assert_cmpint(guestmem_get(gm, gfns[10] << GUEST_PAGE_SHIFT, 0x10000, false, &ref), ==, 0);
    g_assert_cmpuint(ref.len, ==, GUEST_PAGE_SIZE);
    guestmem_put(gm, &ref, 0);
    g_assert_cmpint(guestmem_get(gm, gfns[11] << GUEST_PAGE_SHIFT, 8, false, &ref), ==, -EFAULT);
    mapcache_free(gm);
    g_assert_cmpint(room.mapped, ==, 0);
}

/* Nothing is found any more behind an invalidation, and what is held is memory until it is put. */
static void test_expected_ends(void)
{
    uint64_t gfns[GUESTMEM_EXPECT_MAX], others[GUESTMEM_EXPECT_MAX];
    struct mapcache_counters c;
    struct guestmem_ref ref[2];
    struct room room;
    struct guestmem *gm = cache_new(&room, 4, 0);
    unsigned maps;

    fill(gm, 4);
    expect(gm, gfns, 100, 64);
    g_assert_cmpint(guestmem_get(gm, gfns[9] << GUEST_PAGE_SHIFT, 8, true, &ref[0]), ==, 0);
    expect(gm, others, 300, 64);
    g_assert_cmpint(guestmem_get(gm, others[9] << GUEST_PAGE_SHIFT, 8, true, &ref[1]), ==, 0);
    maps = room.maps;
    g_assert_cmpuint(frame_at(gm, gfns[10] << GUEST_PAGE_SHIFT), ==, gfns[10]);
    g_assert_cmpuint(room.maps, ==, maps + 1);
    guestmem_invalidate(gm);
    g_assert_cmpuint(frame_at(gm, others[10] << GUEST_PAGE_SHIFT), ==, others[10]);
    g_assert_cmpuint(room.maps, ==, maps + 2);
    memset(ref[0].ptr, 0x55, 8);
    memset(ref[1].ptr, 0x55, 8);
    mapcache_counters(gm, &c);
    g_assert_cmpuint(c.bytes_pinned, ==, 2 * 63 * GUEST_PAGE_SIZE);
    guestmem_put(gm, &ref[0], 8);
    guestmem_put(gm, &ref[1], 0);
    mapcache_counters(gm, &c);
    g_assert_cmpuint(c.bytes_pinned, ==, 0);
    mapcache_trim(gm);
    g_assert_cmpint(room.mapped, ==, 0);

    /* The host cannot: one by one, as always. */
    fill(gm, 4);
    room.fail = ENOMEM;
    room.fail_count = 1;
    expect(gm, gfns, 100, 64);
    read_all(gm, gfns, 64);
    /* Short of memory for a bucket, it gets back what was expected, too. */
    expect(gm, gfns, 200, 64);
    room.fail_count = 1;
    g_assert_cmpuint(frame_at(gm, 500 * BUCKET), ==, 500 * PAGES);
    g_assert_cmpint(room.mapped, ==, PAGES);
    mapcache_free(gm);
    g_assert_cmpint(room.mapped, ==, 0);
}

static void test_expected_idle(void)
{
    uint64_t gfns[GUESTMEM_EXPECT_MAX];
    struct guestmem_ref ref;
    struct room room;
    struct guestmem *gm = cache_new(&room, 4, 1);

    fill(gm, 4);
    expect(gm, gfns, 100, 64);
    g_assert_cmpint(guestmem_get(gm, gfns[9] << GUEST_PAGE_SHIFT, 8, true, &ref), ==, 0);
    while (g_main_context_find_source_by_user_data(NULL, gm)) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpint(room.mapped, ==, 63);
    guestmem_put(gm, &ref, 8);
    g_assert_cmpint(room.mapped, ==, 0);
    mapcache_free(gm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/mapcache/hits", test_hits);
    g_test_add_func("/mapcache/eviction", test_eviction);
    g_test_add_func("/mapcache/pins", test_pins);
    g_test_add_func("/mapcache/views", test_views);
    g_test_add_func("/mapcache/holes", test_holes);
    g_test_add_func("/mapcache/invalidate", test_invalidate);
    g_test_add_func("/mapcache/listener", test_listener);
    g_test_add_func("/mapcache/sparse", test_sparse);
    g_test_add_func("/mapcache/idle", test_idle);
    g_test_add_func("/mapcache/expected", test_expected);
    g_test_add_func("/mapcache/expected/for-nothing", test_expected_for_nothing);
    g_test_add_func("/mapcache/expected/views", test_expected_views);
    g_test_add_func("/mapcache/expected/ends", test_expected_ends);
    g_test_add_func("/mapcache/expected/idle", test_expected_idle);
    return g_test_run();
}
