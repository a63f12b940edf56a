/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory for unit tests. Views end at every 64 KiB of guest address, because mappings in the
 * mapcache end somewhere, too, and devices must not count on more.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "fakes.h"

#define HIGH_BASE (UINT64_C(4) << 30)
#define VIEW_END (UINT64_C(64) << 10)

struct hole {
    uint64_t gpa, len;
};

struct guestmem {
    uint8_t *low_ptr, *high_ptr;
    uint64_t low, high;
    GArray *holes;
    unsigned pinned;
    uint64_t dirty_bytes;
    unsigned invalidations;
    int fail;
    void (*invalidated)(void *opaque);
    void *invalidated_opaque;
};

static void *map(uint64_t len)
{
    void *p;

    if (len == 0) {
        return NULL;
    }
    p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    g_assert_true(p != MAP_FAILED);
    return p;
}

struct guestmem *fake_guestmem_new(uint64_t low, uint64_t high)
{
    struct guestmem *gm = g_new0(struct guestmem, 1);

    g_assert_cmpuint(low, <=, HIGH_BASE);
    gm->low = low;
    gm->high = high;
    gm->low_ptr = map(low);
    gm->high_ptr = map(high);
    gm->holes = g_array_new(FALSE, FALSE, sizeof(struct hole));
    return gm;
}

void fake_guestmem_free(struct guestmem *gm)
{
    g_assert_cmpuint(gm->pinned, ==, 0);
    if (gm->low_ptr) {
        munmap(gm->low_ptr, gm->low);
    }
    if (gm->high_ptr) {
        munmap(gm->high_ptr, gm->high);
    }
    g_array_free(gm->holes, TRUE);
    g_free(gm);
}

void fake_guestmem_hole(struct guestmem *gm, uint64_t gpa, uint64_t len)
{
    struct hole h = {gpa, len};

    g_array_append_val(gm->holes, h);
}

void fake_guestmem_fill(struct guestmem *gm)
{
    g_array_set_size(gm->holes, 0);
}

void fake_guestmem_fail(struct guestmem *gm, int error)
{
    gm->fail = error;
}

/* Bytes of memory from `gpa` on, up to `len`, without a gap; 0 when there is none at all. */
static uint64_t run_at(struct guestmem *gm, uint64_t gpa, uint64_t len, uint8_t **ptr)
{
    uint64_t n;

    if (gpa < gm->low) {
        n = gm->low - gpa;
        *ptr = gm->low_ptr + gpa;
    } else if (gpa >= HIGH_BASE && gpa - HIGH_BASE < gm->high) {
        n = gm->high - (gpa - HIGH_BASE);
        *ptr = gm->high_ptr + (gpa - HIGH_BASE);
    } else {
        return 0;
    }
    n = MIN(n, len);
    for (guint i = 0; i < gm->holes->len; i++) {
        const struct hole *h = &g_array_index(gm->holes, struct hole, i);

        if (gpa >= h->gpa && gpa - h->gpa < h->len) {
            return 0;
        }
        if (h->gpa > gpa && h->gpa - gpa < n) {
            n = h->gpa - gpa;
        }
    }
    return n;
}

void *fake_guestmem_ptr(struct guestmem *gm, uint64_t gpa)
{
    uint8_t *ptr = NULL;

    g_assert_cmpuint(run_at(gm, gpa, 1, &ptr), ==, 1);
    return ptr;
}

unsigned fake_guestmem_pinned(struct guestmem *gm)
{
    return gm->pinned;
}

uint64_t fake_guestmem_dirty_bytes(struct guestmem *gm)
{
    return gm->dirty_bytes;
}

int guestmem_get(struct guestmem *gm, uint64_t gpa, size_t len, bool write,
                 struct guestmem_ref *ref)
{
    uint8_t *ptr = NULL;
    uint64_t n;

    if (len == 0 || gpa + (len - 1) < gpa) {
        return -EINVAL;
    }
    if (gm->fail) {
        return -gm->fail;
    }
    n = run_at(gm, gpa, MIN(len, VIEW_END - gpa % VIEW_END), &ptr);
    if (n == 0) {
        return -EFAULT;
    }
    *ref = (struct guestmem_ref){.ptr = ptr, .len = n, .gpa = gpa, .write = write, .cookie = gm};
    gm->pinned++;
    return 0;
}

void guestmem_put(struct guestmem *gm, struct guestmem_ref *ref, size_t written)
{
    g_assert_true(ref->cookie == gm);
    g_assert_cmpuint(gm->pinned, >, 0);
    g_assert_cmpuint(written, <=, ref->len);
    g_assert_true(ref->write || written == 0);
    gm->pinned--;
    gm->dirty_bytes += written;
    memset(ref, 0, sizeof(*ref));
}

static int copy(struct guestmem *gm, uint64_t gpa, void *to, const void *from, size_t len)
{
    struct guestmem_ref ref;
    int rc;

    if (len > 0 && gpa + (len - 1) < gpa) {
        return -EINVAL;
    }
    for (size_t done = 0; done < len;) {
        size_t n;

        rc = guestmem_get(gm, gpa + done, len - done, from != NULL, &ref);
        if (rc < 0) {
            return rc;
        }
        n = ref.len;
        if (from) {
            memcpy(ref.ptr, (const uint8_t *)from + done, n);
        } else {
            memcpy((uint8_t *)to + done, ref.ptr, n);
        }
        guestmem_put(gm, &ref, from ? n : 0);
        done += n;
    }
    return 0;
}

int guestmem_read(struct guestmem *gm, uint64_t gpa, void *buf, size_t len)
{
    return copy(gm, gpa, buf, NULL, len);
}

int guestmem_write(struct guestmem *gm, uint64_t gpa, const void *buf, size_t len)
{
    return copy(gm, gpa, NULL, buf, len);
}

/* All of it is mapped, always. */
bool guestmem_is_full(const struct guestmem *gm)
{
    return false;
}

void guestmem_expect(struct guestmem *gm, const uint64_t *gfns, unsigned count)
{
}

void guestmem_written(struct guestmem *gm, uint64_t gpa, size_t len)
{
    g_assert_cmpuint(gm->pinned, >, 0);
    gm->dirty_bytes += len;
}

void guestmem_set_listener(struct guestmem *gm, void (*invalidated)(void *opaque), void *opaque)
{
    gm->invalidated = invalidated;
    gm->invalidated_opaque = opaque;
}

void guestmem_invalidate(struct guestmem *gm)
{
    gm->invalidations++;
    if (gm->invalidated) {
        gm->invalidated(gm->invalidated_opaque);
    }
}

unsigned fake_guestmem_invalidations(struct guestmem *gm)
{
    return gm->invalidations;
}
