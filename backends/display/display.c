/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one head: surface and viewers. The surface exists only while somebody watches, or for the
 * time of one screendump.
 *
 * One picture is drawn at a time, for all who asked before it was begun; who asks meanwhile gets
 * the next one, since of this one some rows are drawn already.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xendm/device.h>
#include <xendm/display.h>
#include <xendm/file-size.h>
#include <xendm/host-time.h>
#include <xendm/memory-file.h>
#include <xendm/turn.h>

#include "internal.h"

#define SLICE_NS 500000 /* of a turn */
#define OLD_PART (2u << 20)
#define OLD_MAX 4u /* a guest makes new ones more slowly than they go; if not, it waits */

struct display_watch {
    struct display *display;
    const struct display_viewer *viewer;
    void *opaque;
    bool gone;         /* unwatched from inside a callback; freed when the callbacks are done */
    bool asked, waits; /* for the next picture, for the one that is drawn now */
};

struct display {
    const struct display_device *device;
    void *device_opaque;
    GPtrArray *watches;
    unsigned calling;  /* depth of viewers' callbacks */
    bool drawing;      /* a picture was begun */
    bool full;         /* the next one is to be */
    unsigned pictures; /* begun */
    guint source;      /* the next part of it, or the next one */
    int64_t slice_end;
    unsigned slice_pauses, pauses; /* display_set_slice() */
    uint32_t *pixels;              /* mapped from fd, which a viewer's process may have, too */
    int fd;
    bool sealed;
    unsigned width, height;
    GQueue old; /* struct old_surface *: on their way out */
    guint old_source;
    struct display_cursor *cursor; /* NULL: none */
    int cursor_x, cursor_y;
    bool cursor_visible;
    GList *dumps; /* struct screendump *: under way */
};

/* Calls `member` of all viewers; one may leave meanwhile, even the one that is called. */
#define DISPLAY_TELL(d, member, ...) \
    do { \
        (d)->calling++; \
        for (guint i_ = 0; i_ < (d)->watches->len; i_++) { \
            struct display_watch *w_ = g_ptr_array_index((d)->watches, i_); \
            if (!w_->gone && w_->viewer->member) { \
                w_->viewer->member(w_->opaque, ##__VA_ARGS__); \
            } \
        } \
        (d)->calling--; \
    } while (0)

static size_t surface_bytes(unsigned width, unsigned height)
{
    return (size_t)width * height * sizeof(uint32_t);
}

struct display *display_new(void)
{
    struct display *d = g_new0(struct display, 1);

    file_size_allow(surface_bytes(DISPLAY_WIDTH_MAX, DISPLAY_HEIGHT_MAX));
    d->watches = g_ptr_array_new_with_free_func(g_free);
    d->fd = -1;
    return d;
}

/*
 * Giving back 16 MiB takes the kernel some 3 ms: it is done in parts, like drawing. Of a surface
 * that a viewer's process got only the unmapping can be; the pages go with its last descriptor.
 */
struct old_surface {
    uint8_t *at;
    size_t left;
    int fd;
};

static void old_surface_part(struct old_surface *o)
{
    size_t part = MIN(o->left, OLD_PART);

    o->left -= part;
    if (fallocate(o->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)o->left, (off_t)part) <
        0) {
        /* sealed */
    }
    munmap(o->at + o->left, part);
    if (o->left == 0) {
        close(o->fd);
    }
}

static gboolean old_turn(gpointer opaque)
{
    struct display *d = opaque;
    struct old_surface *o = g_queue_peek_head(&d->old);

    turn_of("display");
    old_surface_part(o);
    if (o->left == 0) {
        g_free(g_queue_pop_head(&d->old));
    }
    if (!g_queue_is_empty(&d->old)) {
        return G_SOURCE_CONTINUE;
    }
    d->old_source = 0;
    return G_SOURCE_REMOVE;
}

static void old_surfaces_free(struct display *d, unsigned keep)
{
    while (g_queue_get_length(&d->old) > keep) {
        struct old_surface *o = g_queue_pop_head(&d->old);
        while (o->left > 0) {
            old_surface_part(o);
        }
        g_free(o);
    }
}

static void surface_free(struct display *d)
{
    if (d->pixels) {
        struct old_surface *o = g_new(struct old_surface, 1);
        *o = (struct old_surface){(uint8_t *)d->pixels, surface_bytes(d->width, d->height), d->fd};
        g_queue_push_tail(&d->old, o);
        old_surfaces_free(d, OLD_MAX);
        if (d->old_source == 0) {
            d->old_source = g_idle_add_full(G_PRIORITY_DEFAULT, old_turn, d, NULL);
        }
    }
    d->pixels = NULL;
    d->fd = -1;
    d->width = d->height = 0;
    d->sealed = false;
}

static bool surface_new(struct display *d, unsigned width, unsigned height)
{
    size_t bytes = surface_bytes(width, height);
    int fd = memory_file_new("xendm-display", bytes, false);
    void *p = memory_file_map(fd, bytes);

    if (!p) {
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    d->pixels = p;
    d->fd = fd;
    d->width = width;
    d->height = height;
    return true;
}

/* Whoever is given the descriptor can only look. */
static bool surface_seal(struct display *d)
{
    d->sealed = d->sealed || memory_file_show(d->fd);
    return d->sealed;
}

static void display_drop_surface(struct display *d)
{
    d->drawing = false;
    g_clear_handle_id(&d->source, g_source_remove);
    surface_free(d);
    if (d->device && d->device->unwatched) {
        d->device->unwatched(d->device_opaque);
    }
}

void display_free(struct display *d)
{
    if (!d) {
        return;
    }
    while (d->dumps) {
        screendump_cancel(d->dumps->data);
    }
    g_clear_handle_id(&d->source, g_source_remove);
    g_ptr_array_free(d->watches, TRUE);
    surface_free(d);
    g_clear_handle_id(&d->old_source, g_source_remove);
    old_surfaces_free(d, 0);
    g_free(d->cursor);
    g_free(d);
}

static void display_sweep(struct display *d)
{
    if (d->calling > 0) {
        return;
    }
    for (guint i = d->watches->len; i-- > 0;) {
        struct display_watch *w = g_ptr_array_index(d->watches, i);
        if (w->gone) {
            g_ptr_array_remove_index(d->watches, i);
        }
    }
}

bool display_is_watched(const struct display *d)
{
    for (guint i = 0; i < d->watches->len; i++) {
        if (!((struct display_watch *)g_ptr_array_index(d->watches, i))->gone) {
            return true;
        }
    }
    return false;
}

uint32_t *display_resize(struct display *d, unsigned width, unsigned height)
{
    if (width < 1 || width > DISPLAY_WIDTH_MAX || height < 1 || height > DISPLAY_HEIGHT_MAX) {
        return NULL;
    }
    if (d->pixels && width == d->width && height == d->height) {
        return d->pixels;
    }
    surface_free(d);
    if (!surface_new(d, width, height)) {
        return NULL;
    }
    DISPLAY_TELL(d, resized, width, height);
    return d->pixels;
}

void display_damage(struct display *d, unsigned x, unsigned y, unsigned width, unsigned height)
{
    if (x >= d->width || y >= d->height) {
        return;
    }
    width = MIN(width, d->width - x);
    height = MIN(height, d->height - y);
    if (width == 0 || height == 0) {
        return;
    }
    DISPLAY_TELL(d, damaged, x, y, width, height);
}

/* After calls to viewers outside a refresh: who left is forgotten. */
static void display_told(struct display *d, bool had_watches)
{
    if (d->calling > 0) {
        return;
    }
    display_sweep(d);
    if (had_watches && !display_is_watched(d)) {
        display_drop_surface(d);
    }
}

void display_changed(struct display *d)
{
    bool had = d->watches->len > 0;

    DISPLAY_TELL(d, changed);
    display_told(d, had);
}

void display_cursor_set(struct display *d, const struct display_cursor *cursor)
{
    bool had = d->watches->len > 0;

    if (!cursor && !d->cursor) {
        return;
    }
    g_clear_pointer(&d->cursor, g_free);
    if (cursor && cursor->width >= 1 && cursor->width <= DISPLAY_CURSOR_MAX &&
        cursor->height >= 1 && cursor->height <= DISPLAY_CURSOR_MAX) {
        d->cursor = g_memdup2(cursor, sizeof(*cursor));
        d->cursor->hot_x = MIN(cursor->hot_x, cursor->width - 1);
        d->cursor->hot_y = MIN(cursor->hot_y, cursor->height - 1);
    }
    DISPLAY_TELL(d, cursor_set, d->cursor);
    display_told(d, had);
}

void display_cursor_move(struct display *d, int x, int y, bool visible)
{
    bool had = d->watches->len > 0;

    if (x == d->cursor_x && y == d->cursor_y && visible == d->cursor_visible) {
        return;
    }
    d->cursor_x = x;
    d->cursor_y = y;
    d->cursor_visible = visible;
    DISPLAY_TELL(d, cursor_moved, x, y, visible);
    display_told(d, had);
}

bool display_cursor_get(const struct display *d, const struct display_cursor **cursor, int *x,
                        int *y)
{
    *cursor = d->cursor;
    *x = d->cursor_x;
    *y = d->cursor_y;
    return d->cursor && d->cursor_visible;
}

int display_surface_fd(struct display *d)
{
    return d->pixels && surface_seal(d) ? d->fd : -1;
}

void display_wish(struct display *d, unsigned width, unsigned height)
{
    if (d->device && d->device->wish && width >= 1 && width <= DISPLAY_WIDTH_MAX && height >= 1 &&
        height <= DISPLAY_HEIGHT_MAX) {
        d->device->wish(d->device_opaque, width, height);
    }
}

struct display_watch *display_watch(struct display *d, const struct display_viewer *viewer,
                                    void *opaque)
{
    struct display_watch *w = g_new0(struct display_watch, 1);
    w->display = d;
    w->viewer = viewer;
    w->opaque = opaque;
    g_ptr_array_add(d->watches, w);
    return w;
}

void display_unwatch(struct display_watch *w)
{
    if (!w) {
        return;
    }
    struct display *d = w->display;
    w->gone = true;
    /* Inside a refresh the surface is in use: display_refresh() drops it then. */
    if (d->calling == 0) {
        display_sweep(d);
        if (!display_is_watched(d)) {
            display_drop_surface(d);
        }
    }
}

/* ---- pictures ---- */

bool display_pause(struct display *d)
{
    if (d->slice_pauses) {
        return ++d->pauses >= d->slice_pauses;
    }
    return host_now_ns() >= d->slice_end;
}

/* Those who asked wait for this picture from now on; whether there are any. */
static bool take_askers(struct display *d)
{
    bool any = false;

    for (guint i = 0; i < d->watches->len; i++) {
        struct display_watch *w = g_ptr_array_index(d->watches, i);
        if (w->asked && !w->gone) {
            w->asked = false;
            w->waits = any = true;
        }
    }
    return any;
}

static void tell_drawn(struct display *d)
{
    bool had = d->watches->len > 0;

    d->drawing = false;
    d->calling++;
    for (guint i = 0; i < d->watches->len; i++) {
        struct display_watch *w = g_ptr_array_index(d->watches, i);
        if (w->waits && !w->gone) {
            w->waits = false;
            if (w->viewer->drawn) {
                w->viewer->drawn(w->opaque);
            }
        }
    }
    d->calling--;
    display_told(d, had);
}

void display_set_device(struct display *d, const struct display_device *device, void *opaque)
{
    bool drawing = d->drawing;

    surface_free(d);
    display_cursor_set(d, NULL);
    d->device = device;
    d->device_opaque = opaque;
    if (drawing) {
        tell_drawn(d); /* there is nothing to be seen */
    }
}

/* A part of a picture, of a new one unless there is one under way; whether there is more of it. */
static bool draw(struct display *d)
{
    bool had = d->watches->len > 0, full = d->full || !d->pixels, more = false;

    d->slice_end = host_now_ns() + SLICE_NS;
    d->pauses = 0;
    d->calling++;
    if (d->drawing) {
        more = d->device->more(d->device_opaque);
    } else if (d->device) {
        d->full = false;
        d->pictures++;
        more = d->device->refresh(d->device_opaque, full);
    }
    d->drawing = more;
    d->calling--;
    display_told(d, had);
    return d->drawing;
}

static bool display_has_askers(const struct display *d)
{
    for (guint i = 0; i < d->watches->len; i++) {
        const struct display_watch *w = g_ptr_array_index(d->watches, i);
        if (w->asked && !w->gone) {
            return true;
        }
    }
    return false;
}

/* What of `drawing` a turn does. */
static void draw_part(struct display *d)
{
    if ((d->drawing || take_askers(d)) && !draw(d)) {
        tell_drawn(d);
    }
}

static gboolean draw_turn(gpointer opaque)
{
    struct display *d = opaque;
    guint source = d->source;

    turn_of("display");
    draw_part(d);
    if (d->source != source) {
        return G_SOURCE_REMOVE; /* it went with the surface, perhaps for another one */
    }
    if (d->drawing || display_has_askers(d)) {
        return G_SOURCE_CONTINUE;
    }
    d->source = 0;
    return G_SOURCE_REMOVE;
}

static void draw_later(struct display *d)
{
    if (d->source == 0) {
        d->source = g_idle_add_full(G_PRIORITY_DEFAULT, draw_turn, d, NULL);
    }
}

void display_refresh(struct display_watch *w, bool full)
{
    struct display *d = w->display;

    w->asked = true;
    d->full |= full;
    if (!d->drawing && d->calling == 0 && d->source == 0) {
        draw_part(d);
        if (!d->drawing && !display_has_askers(d)) {
            return;
        }
    }
    draw_later(d);
}

unsigned display_pictures(const struct display *d)
{
    return d->pictures;
}

void display_set_slice(struct display *d, unsigned pauses)
{
    d->slice_pauses = pauses;
}

void display_finish(struct display *d)
{
    while (d->drawing || display_has_askers(d)) {
        draw_part(d);
    }
    g_clear_handle_id(&d->source, g_source_remove);
}

const uint32_t *display_pixels(const struct display *d, unsigned *width, unsigned *height)
{
    *width = d->width;
    *height = d->height;
    return d->pixels;
}

bool display_has_device(const struct display *d)
{
    return d->device != NULL;
}

void display_add_dump(struct display *d, struct screendump *dump)
{
    d->dumps = g_list_prepend(d->dumps, dump);
}

void display_remove_dump(struct display *d, struct screendump *dump)
{
    d->dumps = g_list_remove(d->dumps, dump);
}
