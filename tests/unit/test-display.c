/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The head: surface life, viewers, screen dumps. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib.h>
#include <glib/gstdio.h>
#include <png.h>

#include <xendm/device.h>
#include <xendm/display.h>

#include "look.h"

struct painter {
    struct display *display;
    unsigned width, height;
    unsigned refreshes, full, unwatched;
    unsigned parts, row; /* of the picture under way; a device that draws in parts */
    uint32_t colour;
};

static uint32_t pixel(unsigned x, unsigned y)
{
    return (x * 7 & 0xff) << 16 | (y * 5 & 0xff) << 8 | ((x ^ y) & 0xff);
}

static bool paint(void *opaque, bool full)
{
    struct painter *p = opaque;
    uint32_t *s = display_resize(p->display, p->width, p->height);

    p->refreshes++;
    p->full += full;
    g_assert_nonnull(s);
    for (unsigned y = 0; y < p->height; y++) {
        for (unsigned x = 0; x < p->width; x++) {
            s[y * p->width + x] = pixel(x, y);
        }
    }
    display_damage(p->display, 1, 2, 3, 4);
    display_damage(p->display, p->width - 1, p->height - 1, 50, 50); /* clipped */
    display_damage(p->display, p->width, 0, 1, 1); /* outside: nobody hears of it */
    return false;
}

static bool paint_more(void *opaque)
{
    struct painter *p = opaque;
    unsigned width, height;
    uint32_t *s = (uint32_t *)display_pixels(p->display, &width, &height);

    p->parts++;
    while (p->row < height) {
        s[p->row++ * width] = p->colour;
        if (display_pause(p->display)) {
            break;
        }
    }
    return p->row < height;
}

static bool paint_slowly(void *opaque, bool full)
{
    struct painter *p = opaque;

    p->refreshes++;
    p->full += full;
    g_assert_nonnull(display_resize(p->display, p->width, p->height));
    p->row = 0;
    return paint_more(p);
}

static void unwatched(void *opaque)
{
    ((struct painter *)opaque)->unwatched++;
}

static const struct display_device painter_device = {.refresh = paint, .unwatched = unwatched};
static const struct display_device slow_device = {.refresh = paint_slowly,
                                                  .more = paint_more,
                                                  .unwatched = unwatched};

struct seen {
    unsigned resized, damaged, width, height;
    unsigned x, y, w, h;
    struct display_watch *watch;
    bool leave;
};

static void on_resized(void *opaque, unsigned width, unsigned height)
{
    struct seen *s = opaque;
    s->resized++;
    s->width = width;
    s->height = height;
}

static void on_damaged(void *opaque, unsigned x, unsigned y, unsigned w, unsigned h)
{
    struct seen *s = opaque;
    s->damaged++;
    s->x = x, s->y = y, s->w = w, s->h = h;
    if (s->leave) {
        display_unwatch(s->watch);
        s->leave = false;
    }
}

static const struct display_viewer viewer = {.resized = on_resized, .damaged = on_damaged};

static void test_viewers(void)
{
    struct display *d = display_new();
    struct painter p = {.display = d, .width = 20, .height = 10};
    struct seen a = {0}, b = {0};
    unsigned w, h;

    g_assert_null(look_at(d, true, &w, &h));
    display_set_device(d, &painter_device, &p);
    a.watch = display_watch(d, &viewer, &a);
    b.watch = display_watch(d, &viewer, &b);
    display_refresh(a.watch, false);
    const uint32_t *s = display_pixels(d, &w, &h);
    g_assert_nonnull(s);
    g_assert_cmpuint(w, ==, 20);
    g_assert_cmpuint(h, ==, 10);
    g_assert_cmphex(s[3 * 20 + 4], ==, pixel(4, 3));
    g_assert_cmpuint(p.full, ==, 1); /* a fresh surface needs everything */
    g_assert_cmpuint(a.resized, ==, 1);
    g_assert_cmpuint(a.damaged, ==, 2);
    g_assert_cmpuint(a.x, ==, 19);
    g_assert_cmpuint(a.w, ==, 1);
    g_assert_cmpuint(a.h, ==, 1);

    p.width = 30;
    display_refresh(b.watch, false);
    g_assert_cmpuint(p.full, ==, 1);
    g_assert_cmpuint(b.resized, ==, 2);
    g_assert_cmpuint(b.width, ==, 30);

    display_unwatch(b.watch);
    g_assert_cmpuint(p.unwatched, ==, 0);
    a.leave = true; /* the last one goes in the middle of a picture */
    display_refresh(a.watch, false);
    g_assert_null(display_pixels(d, &w, &h));
    g_assert_cmpuint(w, ==, 0);
    g_assert_cmpuint(p.unwatched, ==, 1);
    g_assert_cmpuint(a.damaged, ==, 5);
    display_free(d);
}

/* ---- pictures in parts ---- */

struct looker {
    struct display_watch *watch;
    unsigned drawn;
    unsigned again; /* ask once more from inside drawn(), so often */
    bool leave;
};

static void on_drawn(void *opaque)
{
    struct looker *l = opaque;

    l->drawn++;
    if (l->again) {
        l->again--;
        display_refresh(l->watch, false);
    }
    if (l->leave) {
        display_unwatch(l->watch);
    }
}

static const struct display_viewer looker = {.drawn = on_drawn};

static void turns_until(const unsigned *count, unsigned value)
{
    while (*count < value) {
        g_assert_true(g_main_context_iteration(NULL, TRUE));
    }
}

/* Until nothing is to be done any more; how many there were. */
static unsigned turns_left(void)
{
    unsigned n = 0;

    while (g_main_context_iteration(NULL, FALSE)) {
        n++;
    }
    return n;
}

/* Who asks while a picture is drawn gets the next one: it has to show what is true by then. */
static void test_parts(void)
{
    struct display *d = display_new();
    struct painter p = {.display = d, .width = 4, .height = 100, .colour = 1};
    struct looker a = {0}, b = {0};
    unsigned width, height;

    display_set_device(d, &slow_device, &p);
    display_set_slice(d, 10);
    a.watch = display_watch(d, &looker, &a);
    b.watch = display_watch(d, &looker, &b);
    display_refresh(a.watch, false);
    g_assert_cmpuint(a.drawn, ==, 0);
    g_assert_cmpuint(p.parts, ==, 1);
    g_main_context_iteration(NULL, TRUE);
    g_assert_cmpuint(p.parts, ==, 2); /* one a turn */
    g_assert_cmpuint(p.row, ==, 20);
    p.colour = 2;
    display_refresh(b.watch, false);
    display_refresh(b.watch, false); /* twice is once */
    g_assert_cmpuint(p.parts, ==, 2);
    turns_until(&a.drawn, 1);
    g_assert_cmpuint(p.parts, ==, 10);
    g_assert_cmpuint(b.drawn, ==, 0);
    turns_until(&b.drawn, 1);
    g_assert_cmpuint(p.parts, ==, 20);
    g_assert_cmpuint(p.refreshes, ==, 2);
    g_assert_cmpuint(p.full, ==, 1);
    g_assert_cmphex(display_pixels(d, &width, &height)[0], ==, 2);
    g_assert_false(g_main_context_iteration(NULL, FALSE)); /* nothing is left over */
    g_assert_cmpuint(a.drawn, ==, 1);

    a.again = 2; /* from inside: later, not deeper */
    display_refresh(a.watch, true);
    turns_until(&a.drawn, 4);
    g_assert_cmpuint(p.refreshes, ==, 5);
    g_assert_cmpuint(p.full, ==, 2);
    g_assert_cmpuint(b.drawn, ==, 1);
    display_free(d);
}

/* Viewers leave, the device goes, the display is freed in the middle of a picture. */
static void test_parts_end(void)
{
    struct display *d = display_new();
    struct painter p = {.display = d, .width = 4, .height = 100};
    struct looker a = {0}, b = {0};
    unsigned width, height;

    display_set_device(d, &slow_device, &p);
    display_set_slice(d, 10);
    a.watch = display_watch(d, &looker, &a);
    display_refresh(a.watch, false);
    display_unwatch(a.watch);
    g_assert_cmpuint(p.unwatched, ==, 1);
    turns_left();
    g_assert_cmpuint(p.parts, ==, 1);

    a.watch = display_watch(d, &looker, &a); /* the next one begins at the top */
    b.watch = display_watch(d, &looker, &b);
    a.leave = true;
    display_refresh(a.watch, false);
    turns_until(&a.drawn, 1);
    g_assert_cmpuint(p.parts, ==, 11);
    b.leave = true; /* the last one */
    display_refresh(b.watch, false);
    turns_until(&b.drawn, 1);
    g_assert_cmpuint(p.unwatched, ==, 2);

    b = (struct looker){.watch = display_watch(d, &looker, &b)};
    display_refresh(b.watch, false);
    display_set_device(d, NULL, NULL);
    g_assert_cmpuint(b.drawn, ==, 1);
    g_assert_null(display_pixels(d, &width, &height));
    turns_left();
    display_refresh(b.watch, false);
    g_assert_cmpuint(b.drawn, ==, 2);
    display_set_device(d, &slow_device, &p);
    display_refresh(b.watch, false);
    display_free(d);
    g_assert_false(g_main_context_iteration(NULL, FALSE));
}

/* 16 MiB go in some turns, whether a viewer's process has the descriptor or not. */
static void test_memory_goes(void)
{
    struct display *d = display_new();
    struct painter p = {.display = d, .width = 2560, .height = 1600};
    struct looker l = {0};

    display_set_device(d, &painter_device, &p);
    for (unsigned given = 0; given < 2; given++) {
        l.watch = display_watch(d, &looker, &l);
        display_refresh(l.watch, false);
        g_assert_true(!given || display_surface_fd(d) >= 0);
        display_unwatch(l.watch);
        g_assert_cmpuint(turns_left(), >=, 8);
    }
    for (unsigned i = 0; i < 20; i++) { /* faster than turns: there are never many */
        l.watch = display_watch(d, &looker, &l);
        display_refresh(l.watch, false);
        display_unwatch(l.watch);
    }
    g_assert_cmpuint(turns_left(), <=, 40);
    display_free(d);
}

struct told {
    unsigned changed, set, moved;
    const struct display_cursor *cursor;
    int x, y;
    bool visible;
    struct display_watch *watch;
};

static void on_changed(void *opaque)
{
    struct told *t = opaque;
    t->changed++;
    if (t->changed == 2) {
        display_unwatch(t->watch);
    }
}

static void on_cursor_set(void *opaque, const struct display_cursor *cursor)
{
    struct told *t = opaque;
    t->set++;
    t->cursor = cursor;
}

static void on_cursor_moved(void *opaque, int x, int y, bool visible)
{
    struct told *t = opaque;
    t->moved++;
    t->x = x, t->y = y, t->visible = visible;
}

static const struct display_viewer told_viewer = {
    .changed = on_changed,
    .cursor_set = on_cursor_set,
    .cursor_moved = on_cursor_moved,
};

static void test_cursor(void)
{
    struct display *d = display_new();
    struct told t = {0};
    struct display_cursor c = {.width = 2, .height = 2, .hot_x = 9, .hot_y = 1, .argb = {1, 2, 3}};
    const struct display_cursor *got;
    int x, y;

    g_assert_false(display_cursor_get(d, &got, &x, &y));
    t.watch = display_watch(d, &told_viewer, &t);
    display_cursor_set(d, &c);
    c.argb[1] = 77; /* the display has its own copy */
    g_assert_cmpuint(t.set, ==, 1);
    g_assert_cmpuint(t.cursor->argb[1], ==, 2);
    g_assert_cmpuint(t.cursor->hot_x, ==, 1); /* inside the shape */
    g_assert_false(display_cursor_get(d, &got, &x, &y));
    display_cursor_move(d, -3, 5, true);
    display_cursor_move(d, -3, 5, true);
    g_assert_cmpuint(t.moved, ==, 1);
    g_assert_true(display_cursor_get(d, &got, &x, &y));
    g_assert_true(got == t.cursor && x == -3 && y == 5);
    c.width = DISPLAY_CURSOR_MAX + 1; /* no chip's: taken for none */
    display_cursor_set(d, &c);
    g_assert_cmpuint(t.set, ==, 2);
    g_assert_null(t.cursor);
    display_changed(d);
    display_changed(d); /* it leaves here */
    display_changed(d);
    g_assert_cmpuint(t.changed, ==, 2);
    display_free(d);
}

static void on_wish(void *opaque, unsigned width, unsigned height)
{
    struct painter *p = opaque;
    p->width = width;
    p->height = height;
}

static void test_wish(void)
{
    static const struct display_device wishful = {.refresh = paint, .wish = on_wish};
    struct display *d = display_new();
    struct painter p = {.display = d, .width = 20, .height = 10};

    display_wish(d, 30, 30); /* nobody there */
    display_set_device(d, &painter_device, &p);
    display_wish(d, 30, 30); /* nobody who grants it */
    g_assert_cmpuint(p.width, ==, 20);
    display_set_device(d, &wishful, &p);
    display_wish(d, 0, 30);
    display_wish(d, 30, DISPLAY_HEIGHT_MAX + 1);
    g_assert_cmpuint(p.width, ==, 20);
    display_wish(d, 1366, 768);
    g_assert_cmpuint(p.width, ==, 1366);
    g_assert_cmpuint(p.height, ==, 768);
    display_free(d);
}

/* A viewer's process sees the pixels, and can do them no harm. */
static void test_shared(void)
{
    struct display *d = display_new();
    struct painter p = {.display = d, .width = 20, .height = 10};
    struct told t = {0};
    unsigned width, height;

    g_assert_cmpint(display_surface_fd(d), ==, -1);
    display_set_device(d, &painter_device, &p);
    t.watch = display_watch(d, &told_viewer, &t);
    const uint32_t *pixels = look_at(d, true, &width, &height);
    int fd = display_surface_fd(d);
    g_assert_cmpint(fd, >=, 0);
    uint32_t *shared = mmap(NULL, 20 * 10 * 4, PROT_READ, MAP_SHARED, fd, 0);
    g_assert_true(shared != MAP_FAILED);
    g_assert_cmpmem(shared, 20 * 10 * 4, pixels, 20 * 10 * 4);
    g_assert_true(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    g_assert_cmpint(ftruncate(fd, 0), <, 0);
    g_assert_cmpint(pwrite(fd, "x", 1, 0), <, 0);
    munmap(shared, 20 * 10 * 4);
    display_unwatch(t.watch);
    g_assert_cmpint(display_surface_fd(d), ==, -1);
    display_free(d);
}

static void test_limits(void)
{
    struct display *d = display_new();

    g_assert_null(display_resize(d, 0, 1));
    g_assert_null(display_resize(d, 1, DISPLAY_HEIGHT_MAX + 1));
    g_assert_null(display_resize(d, DISPLAY_WIDTH_MAX + 1, 1));
    g_assert_nonnull(display_resize(d, DISPLAY_WIDTH_MAX, 1));
    display_free(d);
}

struct dumped {
    bool done;
    GError *err;
};

static void on_dumped(void *opaque, GError *err)
{
    struct dumped *dumped = opaque;
    g_assert_false(dumped->done);
    dumped->done = true;
    dumped->err = err;
}

/* 0, or -errno with *err. */
static int dump(struct display *d, const char *file, bool png, GError **err)
{
    struct dumped dumped = {0};

    display_screendump(d, file, -1, png, on_dumped, &dumped);
    while (!dumped.done) {
        g_main_context_iteration(NULL, TRUE);
    }
    if (!dumped.err) {
        return 0;
    }
    int code = dumped.err->code;
    g_propagate_error(err, dumped.err);
    return -code;
}

static void check_png(const char *file)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    g_assert_true(png_image_begin_read_from_file(&image, file));
    image.format = PNG_FORMAT_RGB;
    g_assert_cmpuint(image.width, ==, 33);
    g_assert_cmpuint(image.height, ==, 17);
    g_autofree uint8_t *rgb = g_malloc(PNG_IMAGE_SIZE(image));
    g_assert_true(png_image_finish_read(&image, NULL, rgb, 0, NULL));
    for (unsigned y = 0; y < 17; y++) {
        for (unsigned x = 0; x < 33; x++) {
            const uint8_t *c = rgb + (y * 33 + x) * 3;
            g_assert_cmphex((uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2], ==, pixel(x, y));
        }
    }
}

static void test_screendump(void)
{
    g_autofree char *dir = g_dir_make_tmp("xendm-XXXXXX", NULL);
    g_autofree char *png = g_build_filename(dir, "a.png", NULL),
                    *ppm = g_build_filename(dir, "a.ppm", NULL);
    g_autofree char *forced = g_build_filename(dir, "b", NULL),
                    *nowhere = g_build_filename(dir, "no", "b", NULL);
    g_autoptr(GError) err = NULL;
    struct display *d = display_new();
    struct painter p = {.display = d, .width = 33, .height = 17};
    char *text;
    size_t len;

    g_assert_cmpint(dump(d, ppm, false, &err), ==, -ENODEV);
    g_assert_nonnull(strstr(err->message, ppm));
    g_clear_error(&err);

    display_set_device(d, &painter_device, &p);
    g_assert_cmpint(dump(d, png, false, &err), ==, 0);
    g_assert_cmpuint(p.unwatched, ==, 1); /* nobody looks: the surface went again */
    check_png(png);
    g_assert_cmpint(dump(d, forced, true, &err), ==, 0);
    check_png(forced);

    g_assert_true(g_file_set_contents(ppm, "old", 3, NULL));
    g_assert_cmpint(dump(d, ppm, false, &err), ==, 0);
    g_assert_true(g_file_get_contents(ppm, &text, &len, NULL));
    static const char header[] = "P6\n33 17\n255\n";
    g_assert_cmpuint(len, ==, strlen(header) + 33 * 17 * 3);
    g_assert_cmpmem(text, strlen(header), header, strlen(header));
    const uint8_t *last = (uint8_t *)text + len - 3;
    g_assert_cmphex((uint32_t)last[0] << 16 | (uint32_t)last[1] << 8 | last[2], ==, pixel(32, 16));
    g_free(text);

    g_assert_cmpint(dump(d, nowhere, false, &err), ==, -ENOENT);
    g_assert_nonnull(strstr(err->message, nowhere));

    /* Nothing but the three pictures was left behind. */
    GDir *entries = g_dir_open(dir, 0, NULL);
    unsigned n = 0;
    while (g_dir_read_name(entries)) {
        n++;
    }
    g_dir_close(entries);
    g_assert_cmpuint(n, ==, 3);
    g_unlink(png);
    g_unlink(ppm);
    g_unlink(forced);
    g_rmdir(dir);
    display_free(d);
}

static void test_screendump_targets(void)
{
    g_autofree char *dir = g_dir_make_tmp("xendm-XXXXXX", NULL);
    g_autofree char *name = g_build_filename(dir, "a.ppm", NULL);
    g_autofree char *target = g_build_filename(dir, "target", NULL);
    struct display *d = display_new();
    struct painter p = {.display = d, .width = 33, .height = 17};
    struct stat before, after;

    display_set_device(d, &painter_device, &p);
    for (unsigned kind = 0; kind < 5; kind++) {
        g_autoptr(GError) err = NULL;
        int fd = -1;

        switch (kind) {
        case 0:
            g_assert_cmpint(mkfifo(name, 0666), ==, 0);
            break;
        case 1: /* whether its target is there or not */
        case 2:
            g_assert_cmpint(symlink(target, name), ==, 0);
            break;
        case 3:
            fd = socket(AF_UNIX, SOCK_STREAM, 0);
            struct sockaddr_un addr = {.sun_family = AF_UNIX};
            g_strlcpy(addr.sun_path, name, sizeof(addr.sun_path));
            g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
            break;
        default:
            g_assert_cmpint(mkdir(name, 0755), ==, 0);
            break;
        }
        if (kind == 2) {
            g_assert_true(g_file_set_contents(target, "precious", 8, NULL));
        }
        g_assert_cmpint(lstat(name, &before), ==, 0);
        g_assert_cmpint(dump(d, name, false, &err), ==, -EEXIST);
        g_assert_nonnull(strstr(err->message, name));
        g_assert_cmpint(lstat(name, &after), ==, 0);
        g_assert_true(before.st_ino == after.st_ino && before.st_mode == after.st_mode);
        if (kind == 2) {
            g_autofree char *text = NULL;
            g_assert_true(g_file_get_contents(target, &text, NULL, NULL));
            g_assert_cmpstr(text, ==, "precious");
            g_unlink(target);
        }
        if (fd >= 0) {
            close(fd);
        }
        g_assert_cmpint(g_remove(name), ==, 0);
        g_assert_cmpint(access(target, F_OK), <, 0);
    }
    g_assert_cmpint(g_rmdir(dir), ==, 0); /* nothing was left behind */
    display_free(d);
}

/* What is there only when the picture is done counts, too. */
static void test_screendump_race(void)
{
    g_autofree char *dir = g_dir_make_tmp("xendm-XXXXXX", NULL);
    g_autofree char *name = g_build_filename(dir, "a.png", NULL);
    struct display *d = display_new();
    struct painter p = {.display = d, .width = 640, .height = 480};
    struct dumped dumped = {0};
    struct stat st;

    display_set_device(d, &painter_device, &p);
    display_screendump(d, name, -1, false, on_dumped, &dumped);
    g_assert_false(dumped.done);
    g_assert_cmpint(mkfifo(name, 0666), ==, 0);
    while (!dumped.done) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_error(dumped.err, XENDM_ERROR, EEXIST);
    g_clear_error(&dumped.err);
    g_assert_cmpint(lstat(name, &st), ==, 0);
    g_assert_true(S_ISFIFO(st.st_mode));
    g_unlink(name);
    g_assert_cmpint(g_rmdir(dir), ==, 0);
    display_free(d);
}

/* A large one takes several turns; another size and the machine's end meanwhile end it. */
static void test_screendump_slices(void)
{
    g_autofree char *dir = g_dir_make_tmp("xendm-XXXXXX", NULL);
    g_autofree char *name = g_build_filename(dir, "a.png", NULL);
    struct display *d = display_new();
    struct painter p = {.display = d, .width = 2560, .height = 1600};
    struct dumped dumped[3] = {0};
    unsigned turns = 0, width, height;

    display_set_device(d, &painter_device, &p);
    display_screendump(d, name, -1, false, on_dumped, &dumped[0]);
    for (; !dumped[0].done; turns++) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_no_error(dumped[0].err);
    g_assert_cmpuint(turns, >, 3);
    g_assert_cmpint(g_unlink(name), ==, 0);

    display_screendump(d, name, -1, false, on_dumped, &dumped[1]);
    g_main_context_iteration(NULL, TRUE);
    p.width = 800;
    look_at(d, false, &width, &height);
    while (!dumped[1].done) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_error(dumped[1].err, XENDM_ERROR, ESTALE);
    g_clear_error(&dumped[1].err);

    display_screendump(d, name, -1, false, on_dumped, &dumped[2]);
    g_main_context_iteration(NULL, TRUE);
    display_free(d);
    g_assert_error(dumped[2].err, XENDM_ERROR, ECANCELED);
    g_clear_error(&dumped[2].err);
    g_assert_cmpint(g_rmdir(dir), ==, 0);
}

static void test_write_fails(void)
{
    g_autoptr(GError) err = NULL;
    struct display *d = display_new();
    struct painter p = {.display = d, .width = 640, .height = 480};

    display_set_device(d, &painter_device, &p);
    if (access("/proc/self/fd", W_OK) != 0) {
        g_test_skip("no /proc");
    } else {
        g_assert_cmpint(dump(d, "/proc/self/fd/x.png", false, &err), <, 0);
        g_assert_nonnull(strstr(err->message, "/proc/self/fd/x.png"));
    }
    display_free(d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/display/parts", test_parts);
    g_test_add_func("/display/parts-end", test_parts_end);
    g_test_add_func("/display/memory-goes", test_memory_goes);
    g_test_add_func("/display/viewers", test_viewers);
    g_test_add_func("/display/cursor", test_cursor);
    g_test_add_func("/display/wish", test_wish);
    g_test_add_func("/display/shared", test_shared);
    g_test_add_func("/display/limits", test_limits);
    g_test_add_func("/display/screendump", test_screendump);
    g_test_add_func("/display/screendump-targets", test_screendump_targets);
    g_test_add_func("/display/screendump-race", test_screendump_race);
    g_test_add_func("/display/screendump-slices", test_screendump_slices);
    g_test_add_func("/display/write-fails", test_write_fails);
    return g_test_run();
}
