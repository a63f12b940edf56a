/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vfb: the PV frame buffer, the screen of PV and PVH guests. Xen's io/fbif.h. The front end's
 * memory is mapped and never copied but for what a viewer looks at; without a viewer nothing is
 * drawn.
 *
 * The protocol is from before there were grants: the shared page, the page directory in it and the
 * pages of pixels are given by frame numbers. All of it is read once, when the front end connects.
 * A front end may change its mode within the memory that it gave then (`feature-resize`).
 *
 * Left out: refresh periods, which no front end heeds; the backend-side keys of SDL and VNC, which
 * are on the command line.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <xen/xen.h>
#include <xen/io/fbif.h>
#include <xen/io/protocols.h>

#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/foreign.h>
#include <xendm/handover.h>
#include <xendm/log.h>

#include "fb.h"

/* The directory begins in the shared page and ends where the first ring does. */
#define DIRECTORY_END XENFB_IN_RING_OFFS

/* The same page laid out by compilers with longs of 4 and of 8 bytes. */
struct protocol {
    const char *name;
    unsigned directory; /* offset in the page */
    unsigned entry;     /* bytes of a frame number */
};

static const struct protocol protocols[] = {
    {XEN_IO_PROTO_ABI_X86_64, 40, 8},
    {XEN_IO_PROTO_ABI_X86_32, 36, 4},
};

static struct fb *fb_of(struct pv_device *dev)
{
    return (struct fb *)dev;
}

/* ---- the front end's memory ---- */

static uint64_t entry(const struct protocol *p, const uint8_t *directory, unsigned i)
{
    uint64_t value = 0;

    memcpy(&value, directory + (size_t)i * p->entry, p->entry);
    return value;
}

/* The frame numbers of all pixels' pages, from the pages that the directory names. */
static int read_directory(struct fb *f, const struct protocol *p, unsigned pages, uint64_t *frames)
{
    struct foreign *foreign = pv_host(&f->dev)->foreign;
    unsigned per_page = FOREIGN_PAGE_SIZE / p->entry;
    unsigned count = (pages + per_page - 1) / per_page;
    g_autofree uint64_t *tables = g_new(uint64_t, count);
    uint8_t *table;
    int e;

    if (p->directory + count * p->entry > DIRECTORY_END) {
        return -E2BIG;
    }
    for (unsigned i = 0; i < count; i++) {
        tables[i] = entry(p, (const uint8_t *)f->page + p->directory, i);
    }
    table = foreign_map(foreign, tables, count, false, &e);
    if (!table) {
        return e;
    }
    for (unsigned i = 0; i < pages; i++) {
        frames[i] = entry(p, table, i);
    }
    foreign_unmap(foreign, table, count);
    return 0;
}

static const struct protocol *find_protocol(struct fb *f)
{
    g_autofree char *name = pv_read(&f->dev, true, "protocol");

    for (unsigned i = 0; name && i < G_N_ELEMENTS(protocols); i++) {
        if (strcmp(protocols[i].name, name) == 0) {
            return &protocols[i];
        }
    }
    return name ? NULL : &protocols[0];
}

static unsigned pages_of(uint32_t bytes)
{
    return (bytes + FOREIGN_PAGE_SIZE - 1) / FOREIGN_PAGE_SIZE;
}

static int map_memory(struct fb *f)
{
    const struct protocol *p = find_protocol(f);
    unsigned pages = pages_of(f->bytes);
    g_autofree uint64_t *frames = NULL;
    int e;

    if (!p || f->bytes == 0 || pages > FOREIGN_PAGES_MAX) {
        return p ? -EINVAL : -ENOTSUP;
    }
    frames = g_new(uint64_t, pages);
    e = read_directory(f, p, pages, frames);
    if (e == 0) {
        f->memory = foreign_map(pv_host(&f->dev)->foreign, frames, pages, false, &e);
    }
    return e;
}

static void unmap_memory(struct fb *f)
{
    if (f->memory) {
        foreign_unmap(pv_host(&f->dev)->foreign, (void *)f->memory, pages_of(f->bytes));
        f->memory = NULL;
    }
}

/* ---- what it says ---- */

static void on_resize(struct fb *f, const struct xenfb_resize *r)
{
    struct fb_mode mode = {.width = (uint32_t)r->width,
                           .height = (uint32_t)r->height,
                           .stride = (uint32_t)r->stride,
                           .offset = (uint32_t)r->offset,
                           .depth = (uint32_t)r->depth};

    if (fb_mode_check(&mode, f->bytes) < 0) {
        f->refused++;
        log_guest(LOG_BACKEND,
                  "%s: a mode of %d by %d, %d bits, at %d, rows of %d bytes: not shown",
                  pv_name(&f->dev), r->width, r->height, r->depth, r->offset, r->stride);
        return;
    }
    f->resizes++;
    f->mode = mode;
    fb_damage_all(f);
}

static void on_event(struct fb *f, const union xenfb_out_event *e)
{
    switch (e->type) {
    case XENFB_TYPE_UPDATE:
        f->update_events++;
        fb_damage(f, e->update.x, e->update.y, e->update.width, e->update.height);
        break;
    case XENFB_TYPE_RESIZE:
        on_resize(f, &e->resize);
        break;
    default: /* "should be ignored" */
        break;
    }
}

/* An event is copied once (XSA-155): only the copy is looked at. */
static void copy_event(const struct fb *f, union xenfb_out_event *to)
{
    memcpy(to, &XENFB_OUT_RING_REF(f->page, f->out_cons), sizeof(*to));
    __asm__ volatile("" : "+m"(*to) : : "memory");
}

static void fb_event(struct pv_device *dev)
{
    struct fb *f = fb_of(dev);
    uint32_t prod;

    pv_unmask(dev); /* before the look at the ring: what comes behind it rings again */
    prod = __atomic_load_n(&f->page->out_prod, __ATOMIC_ACQUIRE);
    if (pv_paused(dev) || prod == f->out_cons) {
        return;
    }
    if (prod - f->out_cons > XENFB_OUT_RING_LEN) {
        pv_fail(dev, "its ring has more events than it has room for");
        return;
    }
    while (f->out_cons != prod) {
        union xenfb_out_event e;

        copy_event(f, &e);
        f->out_cons++;
        on_event(f, &e);
    }
    __atomic_store_n(&f->page->out_cons, f->out_cons, __ATOMIC_RELEASE);
    pv_notify(dev);
    display_changed(pv_host(dev)->display);
}

/* ---- as a PV device ---- */

static int fb_offer(struct pv_device *dev, GError **err)
{
    if (!pv_host(dev)->display || !pv_host(dev)->foreign) {
        g_set_error(err, XENDM_ERROR, ENODEV, "there is no screen for it");
        return -ENODEV;
    }
    pv_write(dev, "feature-resize", "1");
    return 0;
}

static int fb_connect(struct pv_device *dev, GError **err)
{
    struct fb *f = fb_of(dev);
    uint32_t port = 0;
    uint64_t frame = 0;
    int rc = pv_read_uint(dev, true, "page-ref", UINT64_MAX, &frame);

    if (rc < 0) {
        g_set_error(err, XENDM_ERROR, -rc, "its page-ref is no number: %s", g_strerror(-rc));
        return rc;
    }
    rc = pv_read_u32(dev, "event-channel", &port, err);
    if (rc < 0) {
        return rc;
    }
    f->updates = pv_read_flag(dev, true, "feature-update");
    if (f->updates) {
        pv_write(dev, "request-update", "1");
    }
    return pv_attach_frame(dev, frame, port, err);
}

/* Of the shared page, once. */
static void read_mode(struct fb *f)
{
    const struct xenfb_page *page = f->page;

    f->bytes = __atomic_load_n(&page->mem_length, __ATOMIC_RELAXED);
    f->mode = (struct fb_mode){
        .width = (uint32_t)__atomic_load_n(&page->width, __ATOMIC_RELAXED),
        .height = (uint32_t)__atomic_load_n(&page->height, __ATOMIC_RELAXED),
        .stride = __atomic_load_n(&page->line_length, __ATOMIC_RELAXED),
        .depth = __atomic_load_n(&page->depth, __ATOMIC_RELAXED),
    };
}

static void take_over_mode(struct fb *f, const struct handover *from, const char *group)
{
    f->mode = (struct fb_mode){
        .width = (uint32_t)handover_int(from, group, "width", 0),
        .height = (uint32_t)handover_int(from, group, "height", 0),
        .stride = (uint32_t)handover_int(from, group, "stride", 0),
        .offset = (uint32_t)handover_int(from, group, "offset", 0),
        .depth = (uint32_t)handover_int(from, group, "depth", 0),
    };
    f->bytes = (uint32_t)handover_int(from, group, "bytes", 0);
    f->updates = handover_int(from, group, "updates", 0);
    f->out_cons = (uint32_t)handover_int(from, group, "out", 0);
}

static int fb_attached(struct pv_device *dev, const struct handover *from, const char *group,
                       GError **err)
{
    struct fb *f = fb_of(dev);
    int rc;

    f->page = dev->ring;
    read_mode(f);
    f->out_cons = __atomic_load_n(&f->page->out_cons, __ATOMIC_RELAXED);
    if (from) {
        take_over_mode(f, from, group);
    }
    rc = fb_mode_check(&f->mode, f->bytes);
    if (rc == 0) {
        rc = map_memory(f);
    }
    if (rc < 0) {
        f->page = NULL;
        g_set_error(err, XENDM_ERROR, -rc,
                    "its frame buffer of %u by %u, %u bits, in %u bytes cannot be shown: %s",
                    f->mode.width, f->mode.height, f->mode.depth, f->bytes, g_strerror(-rc));
        return rc;
    }
    fb_damage_all(f);
    fb_show(f, true);
    return 0;
}

static void fb_disconnect(struct pv_device *dev)
{
    struct fb *f = fb_of(dev);

    f->page = NULL;
    fb_show(f, false);
    unmap_memory(f);
}

static void fb_hand_over(const struct pv_device *dev, struct handover *to, const char *group)
{
    const struct fb *f = (const struct fb *)dev;

    handover_put_int(to, group, "width", f->mode.width);
    handover_put_int(to, group, "height", f->mode.height);
    handover_put_int(to, group, "stride", f->mode.stride);
    handover_put_int(to, group, "offset", f->mode.offset);
    handover_put_int(to, group, "depth", f->mode.depth);
    handover_put_int(to, group, "bytes", f->bytes);
    handover_put_int(to, group, "updates", f->updates);
    handover_put_int(to, group, "out", f->out_cons);
}

static void fb_describe(const struct pv_device *dev, struct facts *to)
{
    const struct fb *f = (const struct fb *)dev;

    if (f->page) {
        fact_text(to, "mode", "%u by %u, %u bits", f->mode.width, f->mode.height, f->mode.depth);
        fact_int(to, "bytes", f->bytes);
        fact_bool(to, "says what it changes", f->updates);
    }
    fact_int(to, "updates", (int64_t)f->update_events);
    fact_int(to, "resizes", (int64_t)f->resizes);
    fact_int(to, "refused", (int64_t)f->refused);
    fact_int(to, "pictures", (int64_t)f->pictures);
}

const struct pv_class pv_fb_class = {
    .kind = "vfb",
    .size = sizeof(struct fb),
    .offer = fb_offer,
    .connect = fb_connect,
    .attached = fb_attached,
    .event = fb_event,
    .disconnect = fb_disconnect,
    .hand_over = fb_hand_over,
    .describe = fb_describe,
};
