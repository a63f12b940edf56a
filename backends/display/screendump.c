/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * screendump: the screen as a file. A large picture takes longer to draw and to pack than the main
 * loop may be kept: the display draws it in parts, and it is written some rows a turn; the surface
 * stays as it is meanwhile, unless another viewer has it drawn anew.
 *
 * We may be root, and the name comes from a person: a regular file is replaced, when the picture is
 * complete, and nothing else is touched. Who says /dev/null, a FIFO or a link gets an error. A
 * descriptor that was passed is somebody's who may do that anyway.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xendm/device.h>
#include <xendm/files.h>
#include <xendm/turn.h>

#include "internal.h"
#include "picture.h"

#define SLICE_US 500

struct screendump {
    struct display *display;
    struct display_watch *watch;
    char *file;
    int fd;         /* that was passed; -1: the file is named */
    unsigned place; /* files_picture_begin()'s */
    FILE *out;
    bool png;
    struct picture *picture;
    unsigned width, height, row;
    bool resized;
    guint source;
    display_screendump_done *done;
    void *opaque;
};

static GError *dump_error(const struct screendump *s, int error)
{
    return g_error_new(XENDM_ERROR, error, "screendump: cannot write %s: %s", s->file,
                       error == EEXIST      ? "it is there, and no regular file"
                       : error == ENODEV    ? "there is no graphics device"
                       : error == ESTALE    ? "the screen changed its size meanwhile"
                       : error == ECANCELED ? "the machine ends"
                                            : files_why(error));
}

/* Ends it, with the file in place or an errno. */
static void dump_end(struct screendump *s, int error)
{
    if (s->picture) {
        int e = picture_end(s->picture, error == 0);

        error = error ? error : e;
    }
    if (s->out) {
        int e = fclose(s->out) != 0 ? errno : 0;

        error = error ? error : e;
        e = s->fd < 0 ? -files_picture_end(s->place, error == 0) : 0;
        error = error ? error : e;
    } else if (s->fd >= 0) {
        close(s->fd);
    }
    if (s->source) {
        g_source_remove(s->source);
    }
    display_remove_dump(s->display, s);
    display_unwatch(s->watch);
    s->done(s->opaque, error ? dump_error(s, error) : NULL);
    g_free(s->file);
    g_free(s);
}

void screendump_cancel(struct screendump *s)
{
    dump_end(s, ECANCELED);
}

static gboolean dump_slice(gpointer opaque)
{
    struct screendump *s = opaque;
    gint64 end = g_get_monotonic_time() + SLICE_US;
    unsigned width, height;
    const uint32_t *pixels = display_pixels(s->display, &width, &height);
    int error = s->resized || !pixels || width != s->width || height != s->height ? ESTALE : 0;

    turn_of("screendump");
    do {
        if (error == 0 && s->row < s->height) {
            error = picture_row(s->picture, pixels + (size_t)s->row++ * width);
        }
    } while (error == 0 && s->row < s->height && g_get_monotonic_time() < end);
    if (error == 0 && s->row < s->height) {
        return G_SOURCE_CONTINUE;
    }
    s->source = 0;
    dump_end(s, error);
    return G_SOURCE_REMOVE;
}

static void on_resized(void *opaque, unsigned width, unsigned height)
{
    struct screendump *s = opaque;

    s->resized = s->picture != NULL;
}

static int open_picture(struct screendump *s)
{
    int fd = s->fd < 0 ? files_picture_begin(s->file, &s->place) : s->fd, error;
    struct stat st;

    if (fd < 0) {
        return -fd;
    }
    if (s->fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
        return EEXIST;
    }
    s->out = fdopen(fd, "wb");
    if (s->out || s->fd >= 0) {
        return s->out ? 0 : errno;
    }
    error = errno;
    close(fd);
    files_picture_end(s->place, false);
    return error;
}

/* The picture is drawn: now it can be written. */
static void on_drawn(void *opaque)
{
    struct screendump *s = opaque;
    int error;

    if (!display_pixels(s->display, &s->width, &s->height)) {
        dump_end(s, display_has_device(s->display) ? ENOMEM : ENODEV);
        return;
    }
    error = open_picture(s);
    if (error == 0) {
        s->picture = picture_begin(s->out, s->png, s->width, s->height, &error);
    }
    if (error) {
        dump_end(s, error);
        return;
    }
    s->source = g_idle_add_full(G_PRIORITY_DEFAULT, dump_slice, s, NULL);
}

static const struct display_viewer dump_viewer = {.resized = on_resized, .drawn = on_drawn};

void display_screendump(struct display *d, const char *file, int fd, bool png,
                        display_screendump_done *done, void *opaque)
{
    struct screendump *s = g_new0(struct screendump, 1);
    bool watched = display_is_watched(d);

    s->display = d;
    s->file = g_strdup(file);
    s->fd = fd;
    s->png = png || g_str_has_suffix(file, ".png");
    s->done = done;
    s->opaque = opaque;
    s->watch = display_watch(d, &dump_viewer, s);
    display_add_dump(d, s);
    display_refresh(s->watch, !watched);
}
