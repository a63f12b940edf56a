/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one head: surface and viewers. The surface exists only while somebody watches, or for the
 * time of one screendump.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xendm/device.h>
#include <xendm/display.h>

#include "picture.h"

struct display_watch {
    struct display *display;
    const struct display_viewer *viewer;
    void *opaque;
    bool gone; /* unwatched from inside a callback; freed when the callbacks are done */
};

struct display {
    const struct display_device *device;
    void *device_opaque;
    GPtrArray *watches;
    unsigned calling; /* depth of viewers' callbacks */
    uint32_t *pixels;
    unsigned width, height;
};

struct display *display_new(void)
{
    struct display *d = g_new0(struct display, 1);
    d->watches = g_ptr_array_new_with_free_func(g_free);
    return d;
}

static void display_drop_surface(struct display *d)
{
    g_clear_pointer(&d->pixels, g_free);
    d->width = d->height = 0;
    if (d->device && d->device->unwatched) {
        d->device->unwatched(d->device_opaque);
    }
}

void display_free(struct display *d)
{
    if (!d) {
        return;
    }
    g_ptr_array_free(d->watches, TRUE);
    g_free(d->pixels);
    g_free(d);
}

void display_set_device(struct display *d, const struct display_device *device, void *opaque)
{
    g_clear_pointer(&d->pixels, g_free);
    d->width = d->height = 0;
    d->device = device;
    d->device_opaque = opaque;
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

uint32_t *display_resize(struct display *d, unsigned width, unsigned height)
{
    if (width < 1 || width > DISPLAY_WIDTH_MAX || height < 1 || height > DISPLAY_HEIGHT_MAX) {
        return NULL;
    }
    if (d->pixels && width == d->width && height == d->height) {
        return d->pixels;
    }
    g_free(d->pixels);
    d->pixels = g_try_new0(uint32_t, (size_t)width * height);
    d->width = d->pixels ? width : 0;
    d->height = d->pixels ? height : 0;
    if (!d->pixels) {
        return NULL;
    }
    d->calling++;
    for (guint i = 0; i < d->watches->len; i++) {
        struct display_watch *w = g_ptr_array_index(d->watches, i);
        if (!w->gone && w->viewer->resized) {
            w->viewer->resized(w->opaque, width, height);
        }
    }
    d->calling--;
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
    d->calling++;
    for (guint i = 0; i < d->watches->len; i++) {
        struct display_watch *w = g_ptr_array_index(d->watches, i);
        if (!w->gone && w->viewer->damaged) {
            w->viewer->damaged(w->opaque, x, y, width, height);
        }
    }
    d->calling--;
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

static bool display_is_watched(const struct display *d)
{
    for (guint i = 0; i < d->watches->len; i++) {
        if (!((struct display_watch *)g_ptr_array_index(d->watches, i))->gone) {
            return true;
        }
    }
    return false;
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

const uint32_t *display_refresh(struct display *d, bool full, unsigned *width, unsigned *height)
{
    if (d->device && d->calling == 0) {
        bool had_watches = d->watches->len > 0;
        d->calling++;
        d->device->refresh(d->device_opaque, full || !d->pixels);
        d->calling--;
        display_sweep(d);
        if (had_watches && !display_is_watched(d)) {
            display_drop_surface(d);
        }
    }
    *width = d->width;
    *height = d->height;
    return d->pixels;
}

/* A file beside `file` with the same mode as a new one would get, or -1 with errno set. *temporary
 * is to be freed. */
static int open_temporary(const char *file, char **temporary)
{
    *temporary = g_strdup_printf("%s.XXXXXX", file);
    return g_mkstemp_full(*temporary, O_RDWR | O_CLOEXEC, 0644);
}

int display_screendump(struct display *d, const char *file, bool png, GError **err)
{
    unsigned width, height;
    bool watched = display_is_watched(d);
    const uint32_t *pixels = display_refresh(d, !watched, &width, &height);

    if (!pixels) {
        g_set_error(err, XENDM_ERROR, ENODEV, "screendump to %s: there is no picture (%s)", file,
                    d->device ? "not enough memory" : "no graphics device");
        return -ENODEV;
    }
    char *temporary = NULL;
    int error = 0, fd = open_temporary(file, &temporary);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!out) {
        error = errno;
    } else {
        error = png || g_str_has_suffix(file, ".png")
                    ? picture_write_png(out, pixels, width, height)
                    : picture_write_ppm(out, pixels, width, height);
        if (fclose(out) != 0 && error == 0) {
            error = errno;
        }
        fd = -1;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (error == 0 && rename(temporary, file) < 0) {
        error = errno;
    }
    if (error != 0) {
        g_set_error(err, XENDM_ERROR, error, "screendump: cannot write %s: %s", file,
                    g_strerror(error));
        if (out) {
            unlink(temporary);
        }
    }
    g_free(temporary);
    if (!watched) {
        display_drop_surface(d);
    }
    return -error;
}
