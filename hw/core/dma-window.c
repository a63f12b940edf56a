/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory that a device and the guest both go on using; see xendm/dma.h.
 *
 * A window is views that are kept. They are given up when the guest's memory changes, and made anew
 * by the next access, so that a page which the guest gave back is neither held nor written.
 *
 * Dirty pages are remembered and marked when the window ends or the machine stops: marking is a
 * hypercall, a ring is written for each request, and Xen's last pass of a migration comes after the
 * stop. What is written after it (completions of what was in flight) is marked at once.
 */
#include <errno.h>
#include <string.h>

#include <xendm/device.h>
#include <xendm/dma.h>
#include <xendm/machine.h>
#include <xendm/recorder.h>

#include "core.h"

struct view {
    struct guestmem_ref ref;
    size_t at; /* where it begins in the window */
};

struct dma_window {
    struct device *dev;
    uint64_t gpa;
    size_t len;
    bool write;
    int error;     /* of the last access */
    GArray *views; /* struct view, in order and without gap; empty: not mapped */
    unsigned last; /* the view that was used last */
    bool dirty;    /* something in dirty_page */
    uint64_t dirty_page[];
};

static inline struct view *view_at(const struct dma_window *w, unsigned i)
{
    return &g_array_index(w->views, struct view, i);
}

static inline size_t pages_of(const struct dma_window *w)
{
    return ((w->gpa & (GUEST_PAGE_SIZE - 1)) + w->len + GUEST_PAGE_SIZE - 1) >> GUEST_PAGE_SHIFT;
}

/* ---- dirty pages ---- */

static void mark(struct dma_window *w, uint64_t page, size_t pages)
{
    uint64_t first = (w->gpa >> GUEST_PAGE_SHIFT) + page;

    guestmem_written(w->dev->machine->memory, first << GUEST_PAGE_SHIFT, pages << GUEST_PAGE_SHIFT);
}

/* While it is still mapped. */
static void window_flush(struct dma_window *w)
{
    size_t pages = pages_of(w), run = 0;

    if (!w->dirty) {
        return;
    }
    for (size_t i = 0; i <= pages; i++) {
        if (i < pages && (w->dirty_page[i / 64] >> i % 64 & 1)) {
            run++;
        } else if (run > 0) {
            mark(w, i - run, run);
            run = 0;
        }
    }
    memset(w->dirty_page, 0, (pages + 63) / 64 * sizeof(w->dirty_page[0]));
    w->dirty = false;
}

static void window_written(struct dma_window *w, size_t at, size_t len)
{
    size_t start = (w->gpa & (GUEST_PAGE_SIZE - 1)) + at;
    size_t first = start >> GUEST_PAGE_SHIFT, last = (start + len - 1) >> GUEST_PAGE_SHIFT;

    w->dev->machine->dma.bytes_written += len;
    for (size_t i = first; i <= last; i++) {
        w->dirty_page[i / 64] |= UINT64_C(1) << i % 64;
    }
    w->dirty = true;
    if (w->dev->machine->state == MACHINE_STOPPED) {
        window_flush(w);
    }
}

/* ---- mapping ---- */

static void window_unmap(struct dma_window *w)
{
    window_flush(w);
    for (unsigned i = 0; i < w->views->len; i++) {
        guestmem_put(w->dev->machine->memory, &view_at(w, i)->ref, 0);
    }
    g_array_set_size(w->views, 0);
    w->last = 0;
}

static int window_map(struct dma_window *w)
{
    int rc = dma_check(w->dev, w->gpa, w->len);

    for (size_t at = 0; rc == 0 && at < w->len;) {
        struct view v = {.at = at};

        rc = guestmem_get(w->dev->machine->memory, w->gpa + at, w->len - at, w->write, &v.ref);
        if (rc == 0) {
            at += v.ref.len;
            g_array_append_val(w->views, v);
        }
    }
    if (rc < 0) {
        window_unmap(w);
    }
    return dma_note(w->dev, w->write ? DMA_FROM_DEVICE : DMA_TO_DEVICE, w->gpa, w->len, rc);
}

struct dma_window *dma_window_new(struct device *dev, uint64_t gpa, size_t len, bool write,
                                  int *error)
{
    size_t words = ((len >> GUEST_PAGE_SHIFT) + 2 + 63) / 64; /* it may begin and end in a page */
    struct dma_window *w;

    if (len == 0 || len > DMA_WINDOW_MAX) {
        *error = -EINVAL;
        return NULL;
    }
    w = g_malloc0(sizeof(*w) + words * sizeof(w->dirty_page[0]));
    w->dev = dev;
    w->gpa = gpa;
    w->len = len;
    w->write = write;
    w->views = g_array_new(FALSE, FALSE, sizeof(struct view));
    *error = window_map(w);
    if (*error < 0) {
        g_array_free(w->views, TRUE);
        g_free(w);
        return NULL;
    }
    g_ptr_array_add(machine_private(dev->machine)->windows, w);
    return w;
}

void dma_window_free(struct dma_window *w)
{
    if (!w) {
        return;
    }
    window_unmap(w);
    g_ptr_array_remove_fast(machine_private(w->dev->machine)->windows, w);
    g_array_free(w->views, TRUE);
    g_free(w);
}

void dma_windows_unmap(void *machine)
{
    GPtrArray *windows = machine_private(machine)->windows;

    for (unsigned i = 0; i < windows->len; i++) {
        window_unmap(g_ptr_array_index(windows, i));
    }
}

void dma_windows_flush(struct machine *m)
{
    GPtrArray *windows = machine_private(m)->windows;

    for (unsigned i = 0; i < windows->len; i++) {
        window_flush(g_ptr_array_index(windows, i));
    }
}

bool dma_window_exists(const struct device *dev)
{
    GPtrArray *windows = machine_private(dev->machine)->windows;

    for (unsigned i = 0; i < windows->len; i++) {
        if (((struct dma_window *)g_ptr_array_index(windows, i))->dev == dev) {
            return true;
        }
    }
    return false;
}

/* ---- accesses ---- */

static int access_check(struct dma_window *w, size_t at, size_t len, bool write)
{
    if (at > w->len || len > w->len - at || (write && !w->write)) {
        return -EINVAL;
    }
    if (w->dev->dma_blocked) {
        return -EPERM;
    }
    return w->views->len > 0 || tape_plays() ? 0 : window_map(w);
}

/* The view with byte `at`, which is in the window. */
static struct view *view_find(struct dma_window *w, size_t at)
{
    struct view *v = view_at(w, w->last);
    unsigned low = 0, high = w->views->len;

    if (at >= v->at && at - v->at < v->ref.len) {
        return v;
    }
    while (high - low > 1) {
        unsigned middle = low + (high - low) / 2;

        *(view_at(w, middle)->at <= at ? &low : &high) = middle;
    }
    w->last = low;
    return view_at(w, low);
}

static void window_copy(struct dma_window *w, size_t at, void *buf, size_t len, bool write)
{
    for (size_t done = 0; done < len;) {
        struct view *v = view_find(w, at + done);
        size_t offset = at + done - v->at, part = MIN(v->ref.len - offset, len - done);
        uint8_t *ptr = (uint8_t *)v->ref.ptr + offset, *ours = (uint8_t *)buf + done;

        memcpy(write ? ptr : ours, write ? ours : ptr, part);
        done += part;
    }
}

static void window_tape(struct dma_window *w, size_t at, void *buf, size_t len, bool write)
{
    w->error =
        dma_tape(write ? TAPE_WINDOW_WRITE : TAPE_WINDOW_READ, w->gpa + at, buf, len, w->error);
}

static int window_access(struct dma_window *w, size_t at, void *buf, size_t len, bool write)
{
    w->error = access_check(w, at, len, write);
    if (w->error == 0 && len > 0 && !tape_plays()) {
        window_copy(w, at, buf, len, write);
        if (write) {
            window_written(w, at, len);
        } else {
            w->dev->machine->dma.bytes_read += len;
        }
    }
    if (tape_on()) {
        window_tape(w, at, buf, len, write);
    }
    return w->error;
}

int dma_window_read(struct dma_window *w, size_t at, void *buf, size_t len)
{
    return window_access(w, at, buf, len, false);
}

int dma_window_write(struct dma_window *w, size_t at, const void *buf, size_t len)
{
    return window_access(w, at, (void *)buf, len, true);
}

/*
 * Where `size` aligned bytes of guest memory are; NULL: an error, or not aligned (then piece by
 * piece).
 */
static void *window_word(struct dma_window *w, size_t at, size_t size, bool write)
{
    struct view *v;

    w->error = access_check(w, at, size, write);
    if (w->error < 0 || ((w->gpa + at) & (size - 1)) != 0 || tape_plays()) {
        return NULL;
    }
    v = view_find(w, at); /* pages end at multiples of `size` */
    return (uint8_t *)v->ref.ptr + (at - v->at);
}

static inline bool unaligned(const struct dma_window *w, size_t at, size_t size)
{
    return w->error == 0 && ((w->gpa + at) & (size - 1)) != 0 && !tape_plays();
}

#define WINDOW_ACCESS(bits) \
    uint##bits##_t dma_window_load##bits(struct dma_window *w, size_t at) \
    { \
        uint##bits##_t *word = window_word(w, at, bits / 8, false); \
        uint##bits##_t value = UINT##bits##_MAX; \
\
        if (word) { \
            value = __atomic_load_n(word, __ATOMIC_ACQUIRE); \
        } else if (unaligned(w, at, bits / 8)) { \
            window_copy(w, at, &value, sizeof(value), false); \
            __atomic_thread_fence(__ATOMIC_ACQUIRE); \
        } \
        if (tape_on()) { \
            window_tape(w, at, &value, sizeof(value), false); \
        } \
        return GUINT##bits##_FROM_LE(value); \
    } \
\
    void dma_window_store##bits(struct dma_window *w, size_t at, uint##bits##_t value) \
    { \
        uint##bits##_t *word = window_word(w, at, bits / 8, true); \
\
        value = GUINT##bits##_TO_LE(value); \
        if (word) { \
            __atomic_store_n(word, value, __ATOMIC_RELEASE); \
        } else if (unaligned(w, at, bits / 8)) { \
            __atomic_thread_fence(__ATOMIC_RELEASE); \
            window_copy(w, at, &value, sizeof(value), true); \
        } \
        if (w->error == 0 && !tape_plays()) { \
            window_written(w, at, bits / 8); \
        } \
        if (tape_on()) { \
            window_tape(w, at, &value, sizeof(value), true); \
        } \
    }

WINDOW_ACCESS(16)
WINDOW_ACCESS(32)
WINDOW_ACCESS(64)

int dma_window_error(const struct dma_window *w)
{
    return w->error;
}
