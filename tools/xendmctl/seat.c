/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xendmctl screen, type, key, click, wait-screen, wait-serial, film: a guest's seat for programs,
 * by its monitor, on any host and with any device model that has QEMU's commands.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "page.h"
#include "picture.h"
#include "qmp.h"
#include "seat.h"

#define TABLET_MAX 0x7fff /* absolute coordinates, whatever the screen's size */
#define LOOK_AGAIN_US 300000
#define SERIAL_MAX (1u << 20)
#define KEY_MS 20 /* between keys: a guest's keyboard keeps 16 */

struct options {
    const char *text, *button;
    bool as_text;
    struct rectangle region; /* width 0: all */
    double tolerance, timeout, seconds, every;
};

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "xendmctl: %s: %s\n", what, why);
    return 1;
}

/* ---- options ---- */

static bool number(const char *text, double *to)
{
    char *end;

    *to = g_ascii_strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*to) && *to >= 0;
}

static bool region(const char *text, struct rectangle *to)
{
    char end;

    return sscanf(text, "%u,%u,%u,%u%c", &to->x, &to->y, &to->width, &to->height, &end) == 4 &&
           to->width > 0 && to->height > 0;
}

/* Takes them out of argv; false: one of them is wrong. `allowed`: their names, with blanks around.
 */
static bool take_options(int *argc, char **argv, const char *allowed, struct options *o)
{
    int kept = 0;

    for (int i = 0; i < *argc; i++) {
        g_autofree char *word = g_strdup_printf(" %s ", argv[i]);
        const char *name = argv[i], *value = i + 1 < *argc ? argv[i + 1] : "";
        bool good = true;

        if (strncmp(name, "--", 2) != 0) {
            argv[kept++] = argv[i];
            continue;
        }
        if (!strstr(allowed, word)) {
            return false;
        }
        if (strcmp(name, "--as-text") == 0) {
            o->as_text = true;
            continue;
        }
        if (strcmp(name, "--text") == 0) {
            o->text = value;
        } else if (strcmp(name, "--button") == 0) {
            o->button = value;
        } else if (strcmp(name, "--region") == 0) {
            good = region(value, &o->region);
        } else {
            good = number(value, strcmp(name, "--tolerance") == 0 ? &o->tolerance
                                 : strcmp(name, "--timeout") == 0 ? &o->timeout
                                 : strcmp(name, "--seconds") == 0 ? &o->seconds
                                                                  : &o->every);
        }
        if (!good || ++i == *argc) {
            return false;
        }
    }
    *argc = kept;
    return true;
}

/* ---- the screen ---- */

static bool read_back(int fd, GByteArray *to)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || st.st_size <= 0) {
        return false;
    }
    g_byte_array_set_size(to, (guint)st.st_size);
    for (size_t done = 0; done < to->len;) {
        ssize_t n = pread(fd, to->data + done, to->len - done, (off_t)done);

        if (n <= 0) {
            return false;
        }
        done += (size_t)n;
    }
    return true;
}

/* As PNG. The device model gets a descriptor: it may not open a file. NULL: said. */
static GByteArray *take_picture(FILE *qmp)
{
    int fd = memfd_create("screen", MFD_CLOEXEC);
    g_autoptr(GByteArray) png = g_byte_array_new();
    g_autoptr(JsonNode) set = fd >= 0 ? qmp_do(qmp, "add-fd", NULL, fd) : NULL, done = NULL,
                        removed = NULL;
    JsonObject *where = json_object_new(), *which = json_object_new();
    gint64 number = 0;
    g_autofree char *path = NULL;

    if (set) {
        number = json_object_get_int_member(json_node_get_object(set), "fdset-id");
        path = g_strdup_printf("/dev/fdset/%" G_GINT64_FORMAT, number);
        json_object_set_string_member(where, "filename", path);
        json_object_set_string_member(where, "format", "png");
        done = qmp_do(qmp, "screendump", json_node_of_object(where), -1);
    }
    if (set) {
        g_autoptr(JsonBuilder) b = json_builder_new();

        json_builder_add_int_value(b, number);
        json_object_set_member(which, "fdset-id", json_builder_get_root(b));
        removed =
            qmp_ask(qmp, "remove-fd", json_node_of_object(which), -1); /* xendm has by itself */
    }
    json_object_unref(where);
    json_object_unref(which);
    if (done && !read_back(fd, png)) {
        fprintf(stderr, "xendmctl: the picture did not come\n");
        json_node_unref(done);
        done = NULL;
    }
    if (fd >= 0) {
        close(fd);
    }
    return done ? g_steal_pointer(&png) : NULL;
}

static picture_t *look(FILE *qmp)
{
    g_autoptr(GByteArray) png = take_picture(qmp);
    g_autoptr(GError) err = NULL;
    picture_t *p = png ? picture_of(png, &err) : NULL;

    if (err) {
        fprintf(stderr, "xendmctl: %s\n", err->message);
    }
    return p;
}

static int store(const char *file, const GByteArray *data)
{
    g_autoptr(GError) err = NULL;

    if (strcmp(file, "-") == 0) {
        return fwrite(data->data, data->len, 1, stdout) == 1 ? 0 : fail(file, g_strerror(errno));
    }
    if (!g_file_set_contents(file, (const char *)data->data, (gssize)data->len, &err)) {
        return fail(file, err->message);
    }
    return 0;
}

static unsigned columns(void)
{
    struct winsize size;

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static int screen(FILE *qmp, int argc, char **argv, const struct options *o)
{
    g_autoptr(GByteArray) png = take_picture(qmp);
    g_autoptr(GError) err = NULL;
    g_autoptr(picture_t) p = NULL;
    g_autofree char *text = NULL;

    if (!png) {
        return 1;
    }
    if (argc == 1) {
        return store(argv[0], png);
    }
    p = picture_of(png, &err);
    if (!p) {
        return fail("screen", err->message);
    }
    if (o->as_text) {
        text = picture_text(p);
        if (!text) {
            return fail("screen", "there is no VGA BIOS here, whose font is read");
        }
        fputs(text, stdout);
    } else {
        picture_show(p, columns(), stdout);
    }
    return 0;
}

/* Whether it shows what is waited for: 1, 0, or -1 when it cannot be told. */
static int shows(const picture_t *now, const picture_t *wanted, const struct options *o,
                 double *difference)
{
    struct rectangle where = o->region;

    if (o->text) {
        g_autofree char *text = picture_text(now);

        return text ? g_regex_match_simple(o->text, text, G_REGEX_MULTILINE, 0) : -1;
    }
    if (where.width == 0) {
        where = (struct rectangle){0, 0, wanted->width, wanted->height};
        if (now->width != wanted->width || now->height != wanted->height) {
            *difference = 100;
            return 0;
        }
    }
    *difference = picture_difference(now, wanted, &where);
    return *difference <= o->tolerance;
}

static int wait_screen(FILE *qmp, int argc, char **argv, const struct options *o)
{
    gint64 end = g_get_monotonic_time() + (gint64)(o->timeout * 1e6);
    g_autoptr(GError) err = NULL;
    g_autoptr(picture_t) wanted = argc == 1 ? picture_read(argv[0], &err) : NULL;
    double difference = 100;

    if (err) {
        return fail("wait-screen", err->message);
    }
    for (;;) {
        g_autoptr(picture_t) now = look(qmp);
        int rc = now ? shows(now, wanted, o, &difference) : -1;

        if (rc < 0) {
            return now ? fail("wait-screen", "there is no VGA BIOS here, whose font is read") : 1;
        }
        if (rc > 0) {
            return 0;
        }
        if (g_get_monotonic_time() >= end) {
            break;
        }
        g_usleep(LOOK_AGAIN_US);
    }
    if (wanted) {
        fprintf(stderr, "xendmctl: wait-screen: %.2f %% of the pixels differ\n", difference);
        return 1;
    }
    return fail("wait-screen", "the screen does not show that text");
}

static int film(FILE *qmp, int argc, char **argv, const struct options *o)
{
    g_autoptr(GPtrArray) frames =
        g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    g_autoptr(GArray) times = g_array_new(FALSE, FALSE, sizeof(guint));
    gint64 begin = g_get_monotonic_time(), end = begin + (gint64)(o->seconds * 1e6), shown = begin;
    g_autoptr(GByteArray) whole = NULL;

    do {
        GByteArray *png = take_picture(qmp);
        GByteArray *last = frames->len ? g_ptr_array_index(frames, frames->len - 1) : NULL;
        gint64 now = g_get_monotonic_time();

        if (!png) {
            break; /* what there is is shown */
        }
        if (last && last->len == png->len && memcmp(last->data, png->data, png->len) == 0) {
            g_byte_array_unref(png);
            g_array_index(times, guint, times->len - 1) += (guint)((now - shown) / 1000);
        } else {
            guint ms = (guint)(o->every * 1000);

            g_ptr_array_add(frames, png);
            g_array_append_val(times, ms);
        }
        shown = now;
        g_usleep((gulong)(o->every * 1e6));
    } while (g_get_monotonic_time() < end);
    whole = picture_film(frames, times);
    return whole ? store(argv[0], whole) : fail("film", "there was no picture");
}

/* ---- keys ---- */

/* What a US keyboard needs for a character; NULL: it has none. */
static const char *key_of(char c, bool *shift)
{
    static const struct {
        char plain, shifted;
        const char *name;
    } keys[] = {
        {'1', '!', "1"},
        {'2', '@', "2"},
        {'3', '#', "3"},
        {'4', '$', "4"},
        {'5', '%', "5"},
        {'6', '^', "6"},
        {'7', '&', "7"},
        {'8', '*', "8"},
        {'9', '(', "9"},
        {'0', ')', "0"},
        {'-', '_', "minus"},
        {'=', '+', "equal"},
        {'[', '{', "bracket_left"},
        {']', '}', "bracket_right"},
        {'\\', '|', "backslash"},
        {';', ':', "semicolon"},
        {'\'', '"', "apostrophe"},
        {'`', '~', "grave_accent"},
        {',', '<', "comma"},
        {'.', '>', "dot"},
        {'/', '?', "slash"},
        {' ', 0, "spc"},
        {'\n', 0, "ret"},
        {'\t', 0, "tab"},
    };
    static char letter[2];

    *shift = g_ascii_isupper(c);
    if (g_ascii_isalpha(c)) {
        letter[0] = g_ascii_tolower(c);
        return letter;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (c == keys[i].plain || (c && c == keys[i].shifted)) {
            *shift = c != keys[i].plain;
            return keys[i].name;
        }
    }
    return NULL;
}

/* "ctrl-alt-delete" */
static int press(FILE *qmp, const char *combination)
{
    g_auto(GStrv) names = g_strsplit(combination, "-", 0);
    g_autoptr(JsonBuilder) b = json_builder_new();
    g_autoptr(JsonNode) done = NULL;

    json_builder_begin_object(b);
    json_builder_set_member_name(b, "keys");
    json_builder_begin_array(b);
    for (char **name = names; *name; name++) {
        json_builder_begin_object(b);
        json_builder_set_member_name(b, "type");
        json_builder_add_string_value(b, "qcode");
        json_builder_set_member_name(b, "data");
        json_builder_add_string_value(b, *name);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
    json_builder_set_member_name(b, "hold-time");
    json_builder_add_int_value(b, KEY_MS);
    json_builder_end_object(b);
    done = qmp_do(qmp, "send-key", json_builder_get_root(b), -1);
    g_usleep(2 * KEY_MS * 1000);
    return done ? 0 : 1;
}

static int key(FILE *qmp, int argc, char **argv, const struct options *o)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < argc; i++) {
        rc = press(qmp, argv[i]);
    }
    return rc;
}

static int type(FILE *qmp, int argc, char **argv, const struct options *o)
{
    g_autofree char *text = g_strcompress(argv[0]); /* "\n" is a line's end */
    int rc = 0;

    for (const char *p = text; *p; p++) {
        bool shift;

        if (!key_of(*p, &shift)) {
            return fail("type", "there is a character that a US keyboard has not");
        }
    }
    for (const char *p = text; rc == 0 && *p; p++) {
        bool shift;
        const char *name = key_of(*p, &shift);
        g_autofree char *combination = g_strdup_printf("%s%s", shift ? "shift-" : "", name);

        rc = press(qmp, combination);
    }
    return rc;
}

/* ---- pointer ---- */

static void begin_event(JsonBuilder *b, const char *kind)
{
    json_builder_begin_object(b);
    json_builder_set_member_name(b, "type");
    json_builder_add_string_value(b, kind);
    json_builder_set_member_name(b, "data");
    json_builder_begin_object(b);
}

static void end_event(JsonBuilder *b)
{
    json_builder_end_object(b);
    json_builder_end_object(b);
}

static void axis(JsonBuilder *b, const char *name, double at, unsigned size)
{
    begin_event(b, "abs");
    json_builder_set_member_name(b, "axis");
    json_builder_add_string_value(b, name);
    json_builder_set_member_name(b, "value");
    json_builder_add_int_value(b, size > 1 ? (gint64)(at * TABLET_MAX / (size - 1)) : 0);
    end_event(b);
}

static void button(JsonBuilder *b, const char *name, bool down)
{
    begin_event(b, "btn");
    json_builder_set_member_name(b, "down");
    json_builder_add_boolean_value(b, down);
    json_builder_set_member_name(b, "button");
    json_builder_add_string_value(b, name);
    end_event(b);
}

static int send_pointer(FILE *qmp, const picture_t *p, double x, double y, const char *name,
                        bool down)
{
    g_autoptr(JsonBuilder) b = json_builder_new();
    g_autoptr(JsonNode) done = NULL;

    json_builder_begin_object(b);
    json_builder_set_member_name(b, "events");
    json_builder_begin_array(b);
    axis(b, "x", x, p->width);
    axis(b, "y", y, p->height);
    button(b, name, down);
    json_builder_end_array(b);
    json_builder_end_object(b);
    done = qmp_do(qmp, "input-send-event", json_builder_get_root(b), -1);
    g_usleep(2 * KEY_MS * 1000);
    return done ? 0 : 1;
}

static int click(FILE *qmp, int argc, char **argv, const struct options *o)
{
    g_autoptr(picture_t) p = NULL;
    double x, y;
    int rc;

    if (!number(argv[0], &x) || !number(argv[1], &y)) {
        return -1;
    }
    p = look(qmp);
    if (!p) {
        return 1;
    }
    if (x >= p->width || y >= p->height) {
        fprintf(stderr, "xendmctl: click: the screen has %u by %u pixels\n", p->width, p->height);
        return 1;
    }
    rc = send_pointer(qmp, p, x, y, o->button, true);
    return rc ? rc : send_pointer(qmp, p, x, y, o->button, false);
}

/* ---- the serial port ---- */

/* "pty:/dev/pts/3" or the name of a file. g_free(); NULL: said. */
static char *serial_place(FILE *qmp)
{
    g_autoptr(JsonNode) all = qmp_do(qmp, "query-chardev", NULL, -1);
    JsonArray *array = all ? json_node_get_array(all) : NULL;

    for (guint i = 0; array && i < json_array_get_length(array); i++) {
        JsonObject *one = json_node_get_object(json_array_get_element(array, i));

        if (one && g_strcmp0(json_object_get_string_member(one, "label"), "serial0") == 0) {
            const char *name = json_object_get_string_member(one, "filename");

            return g_strdup(g_str_has_prefix(name, "file:") ? name + 5 : name);
        }
    }
    if (all) {
        fprintf(stderr, "xendmctl: wait-serial: the guest has no serial port\n");
    }
    return NULL;
}

static int wait_serial(FILE *qmp, int argc, char **argv, const struct options *o)
{
    gint64 end = g_get_monotonic_time() + (gint64)(o->timeout * 1e6);
    g_autofree char *place = serial_place(qmp);
    bool pty = place && g_str_has_prefix(place, "pty:");
    g_autoptr(GString) text = g_string_new(NULL);
    int fd =
        place ? open(pty ? place + 4 : place, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC) : -1;

    if (fd < 0) {
        return place ? fail(place, g_strerror(errno)) : 1;
    }
    do {
        struct pollfd p = {fd, POLLIN, 0};
        char data[4096];
        ssize_t n;

        poll(&p, 1, 100);
        n = read(fd, data, sizeof(data));
        if (n > 0) {
            fwrite(data, (size_t)n, 1, stdout);
            fflush(stdout);
            for (ssize_t i = 0; i < n; i++) { /* a pattern is of lines, whatever ends them */
                if (data[i] != '\r' && data[i] != '\0') {
                    g_string_append_c(text, data[i]);
                }
            }
            g_string_erase(text, 0, text->len > SERIAL_MAX ? (gssize)(text->len - SERIAL_MAX) : 0);
        } else if (!pty || n == 0) {
            g_usleep(LOOK_AGAIN_US / 3); /* the end of a file that grows */
        }
        if (g_regex_match_simple(argv[0], text->str, G_REGEX_MULTILINE | G_REGEX_RAW, 0)) {
            close(fd);
            return 0;
        }
    } while (g_get_monotonic_time() < end);
    close(fd);
    return fail("wait-serial", "nothing like it came");
}

/* ---- the commands ---- */

static const struct verb {
    const char *name, *options;
    int least, most; /* words after the guest */
    int (*run)(FILE *qmp, int argc, char **argv, const struct options *o);
} verbs[] = {
    {"screen", " --as-text ", 0, 1, screen},
    {"type", "", 1, 1, type},
    {"key", "", 1, 64, key},
    {"click", " --button ", 2, 2, click},
    {"wait-screen", " --text --region --tolerance --timeout ", 0, 1, wait_screen},
    {"wait-serial", " --timeout ", 1, 1, wait_serial},
    {"film", " --seconds --every ", 1, 1, film},
};

static int run(const char *name, int argc, char **argv)
{
    struct options o = {.button = "left", .timeout = 60, .seconds = 60, .every = 1};
    const struct verb *v = verbs;
    FILE *qmp;
    int rc;

    while (strcmp(v->name, name) != 0) {
        v++;
    }
    if (!take_options(&argc, argv, v->options, &o) || argc < 1 + v->least || argc > 1 + v->most ||
        (v->run == wait_screen && (argc == 2) == (o.text != NULL)) ||
        (v->run == screen && argc == 2 && o.as_text)) {
        return -1;
    }
    qmp = qmp_open(argv[0]);
    if (!qmp) {
        return 1;
    }
    rc = v->run(qmp, argc - 1, argv + 1, &o);
    fclose(qmp);
    return rc;
}

#define VERB(function, name) \
    int function(int argc, char **argv) \
    { \
        return run(name, argc, argv); \
    }
VERB(seat_screen, "screen")
VERB(seat_type, "type")
VERB(seat_key, "key")
VERB(seat_click, "click")
VERB(seat_wait_screen, "wait-screen")
VERB(seat_wait_serial, "wait-serial")
VERB(seat_film, "film")
