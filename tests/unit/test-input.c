/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Routing of input events, key names, LEDs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>
#include <linux/input-event-codes.h>

#include <xendm/clock.h>
#include <xendm/input.h>

struct log {
    GString *text;
};

static void log_key(void *opaque, unsigned code, bool down)
{
    g_string_append_printf(((struct log *)opaque)->text, "%s%u ", down ? "+" : "-", code);
}

static void log_relative(void *opaque, int dx, int dy, int wheel)
{
    g_string_append_printf(((struct log *)opaque)->text, "rel(%d,%d,%d) ", dx, dy, wheel);
}

static void log_absolute(void *opaque, int x, int y)
{
    g_string_append_printf(((struct log *)opaque)->text, "abs(%d,%d) ", x, y);
}

static void log_button(void *opaque, unsigned code, bool down)
{
    g_string_append_printf(((struct log *)opaque)->text, "button(%x,%d) ", code, down);
}

static void log_sync(void *opaque)
{
    g_string_append(((struct log *)opaque)->text, "sync ");
}

static const struct input_device keyboard = {.name = "keyboard", .key = log_key};
static const struct input_device mouse = {
    .name = "mouse",
    .relative = log_relative,
    .button = log_button,
    .sync = log_sync,
};
static const struct input_device tablet = {
    .name = "tablet",
    .absolute = log_absolute,
    .button = log_button,
    .sync = log_sync,
};

static void expect(struct log *l, const char *text)
{
    g_assert_cmpstr(l->text->str, ==, text);
    g_string_truncate(l->text, 0);
}

static void test_routing(void)
{
    struct input *in = input_new();
    struct log k = {g_string_new(NULL)}, m = {g_string_new(NULL)}, t = {g_string_new(NULL)};

    input_key(in, KEY_A, true); /* nobody: no effect */
    input_absolute(in, 1, 1);
    input_sync(in);
    input_attach(in, &keyboard, &k);
    input_attach(in, &mouse, &m);
    g_assert_false(input_is_absolute(in));
    g_assert_true(input_key(in, KEY_A, true));
    input_relative(in, 1, -2, 3);
    input_button(in, BTN_LEFT, true);
    input_sync(in);
    expect(&k, "+30 ");
    expect(&m, "rel(1,-2,3) button(110,1) sync ");

    input_attach(in, &tablet, &t);
    g_assert_true(input_is_absolute(in));
    input_absolute(in, -5, 99999);
    input_button(in, BTN_LEFT, false);
    input_relative(in, 4, 4, 0);
    expect(&t, "abs(0,32767) button(110,0) ");
    expect(&m, "rel(4,4,0) ");
    input_detach(in, &tablet, &m); /* not that one */
    g_assert_true(input_is_absolute(in));
    input_detach(in, &tablet, &t);
    g_assert_false(input_is_absolute(in));
    input_button(in, BTN_LEFT, false);
    expect(&m, "button(110,0) ");
    expect(&t, "");
    input_free(in);
    g_string_free(k.text, TRUE);
    g_string_free(m.text, TRUE);
    g_string_free(t.text, TRUE);
}

struct seat {
    unsigned changes, leds;
    bool absolute;
};

static void on_absolute(void *opaque, bool absolute)
{
    struct seat *s = opaque;
    s->changes++;
    s->absolute = absolute;
}

static void on_leds(void *opaque, unsigned leds)
{
    ((struct seat *)opaque)->leds = leds;
}

static void no_absolute(void *opaque, int x, int y)
{
}

static void test_viewers(void)
{
    static const struct input_viewer viewer = {.absolute = on_absolute, .leds = on_leds};
    static const struct input_device pen = {.name = "tablet", .absolute = no_absolute};
    static const struct input_device wheel = {.name = "mouse"};
    struct input *in = input_new();
    struct seat s = {0};
    int other;

    input_watch(in, &viewer, &s);
    input_attach(in, &wheel, NULL);
    g_assert_cmpuint(s.changes, ==, 0);
    input_attach(in, &pen, NULL);
    g_assert_true(s.changes == 1 && s.absolute);
    input_attach(in, &pen, &other);
    input_detach(in, &pen, NULL);
    g_assert_cmpuint(s.changes, ==, 1);
    input_detach(in, &pen, &other);
    g_assert_true(s.changes == 2 && !s.absolute);
    input_set_leds(in, 5);
    g_assert_cmpuint(s.leds, ==, 5);
    input_unwatch(in, &viewer, &s);
    input_set_leds(in, 1);
    g_assert_cmpuint(s.leds, ==, 5);
    input_free(in);
}

static void test_names(void)
{
    static const char *const all[] = {
        "shift",        "shift_r",
        "alt",          "alt_r",
        "ctrl",         "ctrl_r",
        "menu",         "esc",
        "minus",        "equal",
        "backspace",    "tab",
        "bracket_left", "bracket_right",
        "ret",          "semicolon",
        "apostrophe",   "grave_accent",
        "backslash",    "comma",
        "dot",          "slash",
        "asterisk",     "spc",
        "caps_lock",    "num_lock",
        "scroll_lock",  "kp_divide",
        "kp_multiply",  "kp_subtract",
        "kp_add",       "kp_enter",
        "kp_decimal",   "sysrq",
        "less",         "print",
        "home",         "pgup",
        "pgdn",         "end",
        "left",         "up",
        "down",         "right",
        "insert",       "delete",
        "stop",         "again",
        "props",        "undo",
        "front",        "copy",
        "open",         "paste",
        "find",         "cut",
        "lf",           "help",
        "meta_l",       "meta_r",
        "compose",      "pause",
        "ro",           "hiragana",
        "henkan",       "yen",
        "muhenkan",     "katakanahiragana",
        "kp_comma",     "kp_equals",
        "power",        "sleep",
        "wake",         "audionext",
        "audioprev",    "audiostop",
        "audioplay",    "audiomute",
        "volumeup",     "volumedown",
        "mediaselect",  "mail",
        "calculator",   "computer",
        "ac_home",      "ac_back",
        "ac_forward",   "ac_refresh",
        "ac_bookmarks", "lang1",
        "lang2",
    };
    char name[8];

    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        g_test_message("%s", all[i]);
        g_assert_cmpuint(input_key_from_name(all[i]), !=, 0);
    }
    for (char c = '0'; c <= '9'; c++) {
        g_snprintf(name, sizeof(name), "%c", c);
        g_assert_cmpuint(input_key_from_name(name), ==,
                         c == '0' ? KEY_0 : KEY_1 + (unsigned)(c - '1'));
        g_snprintf(name, sizeof(name), "kp_%c", c);
        g_assert_cmpuint(input_key_from_name(name), !=, 0);
    }
    for (char c = 'a'; c <= 'z'; c++) {
        g_snprintf(name, sizeof(name), "%c", c);
        g_assert_cmpuint(input_key_from_name(name), !=, 0);
    }
    for (unsigned i = 1; i <= 24; i++) {
        g_snprintf(name, sizeof(name), "f%u", i);
        g_assert_cmpuint(input_key_from_name(name), !=, 0);
    }
    g_assert_cmpuint(input_key_from_name("f13"), ==, KEY_F13);
    g_assert_cmpuint(input_key_from_name("ret"), ==, KEY_ENTER);
    g_assert_cmpuint(input_key_from_name("spc"), ==, KEY_SPACE);
    g_assert_cmpuint(input_key_from_name("A"), ==, 0);
    g_assert_cmpuint(input_key_from_name(""), ==, 0);
    g_assert_cmpuint(input_key_from_name("enter"), ==, 0);
}

static void test_send_keys(void)
{
    struct input *in = input_new();
    struct log k = {g_string_new(NULL)};
    char *bad = NULL;
    GString *many = g_string_new("a");

    input_attach(in, &keyboard, &k);
    g_assert_cmpint(input_send_keys(in, "ctrl-alt-delete", 100, &bad), ==, 0);
    g_assert_null(bad);
    expect(&k, "+29 +56 +111 -111 -56 -29 ");
    g_assert_cmpint(input_send_keys(in, "x", 0, &bad), ==, 0);
    expect(&k, "+45 -45 ");

    g_assert_cmpint(input_send_keys(in, "ctrl-nonsense-a", 100, &bad), ==, -EINVAL);
    g_assert_cmpstr(bad, ==, "nonsense");
    g_clear_pointer(&bad, g_free);
    g_assert_cmpint(input_send_keys(in, "", 100, &bad), ==, -EINVAL);
    g_assert_cmpstr(bad, ==, "");
    g_clear_pointer(&bad, g_free);
    g_assert_cmpint(input_send_keys(in, "ctrl-", 100, &bad), ==, -EINVAL);
    g_assert_cmpstr(bad, ==, "");
    g_clear_pointer(&bad, g_free);
    for (unsigned i = 0; i < 100; i++) {
        g_string_append(many, "-a");
    }
    g_assert_cmpint(input_send_keys(in, many->str, 100, &bad), ==, -EINVAL);
    g_assert_nonnull(bad);
    g_free(bad);
    expect(&k, ""); /* nothing is pressed unless everything is known */
    g_string_free(many, TRUE);
    g_string_free(k.text, TRUE);
    input_free(in);
}

/* A keyboard with room for one event at a time. */
struct slow {
    struct log log;
    bool full;
};

static void slow_key(void *opaque, unsigned code, bool down)
{
    struct slow *s = opaque;

    g_assert_false(s->full);
    s->full = true;
    log_key(&s->log, code, down);
}

static bool slow_room(void *opaque)
{
    return !((struct slow *)opaque)->full;
}

static const struct input_device slow_keyboard = {
    .name = "slow",
    .key = slow_key,
    .key_room = slow_room,
};

/* However slowly it reads, the guest gets every key, in order; hold times count when it is their
 * turn. */
static void test_slow_guest(void)
{
    struct vclock *clock = vclock_new(NULL, NULL);
    struct input *in = input_new();
    struct slow s = {.log = {g_string_new(NULL)}};
    g_autoptr(GString) want = g_string_new(NULL);
    char *bad = NULL;

    input_set_clock(in, clock);
    vclock_start(clock);
    input_attach(in, &slow_keyboard, &s);
    for (unsigned i = 0; i < 500; i++) {
        unsigned code = KEY_1 + i % 10;

        g_assert_true(input_key(in, code, true));
        g_assert_true(input_key(in, code, false));
        g_string_append_printf(want, "+%u -%u ", code, code);
    }
    g_assert_true(input_keys_held(in));
    while (input_keys_waiting(in) > 0) {
        s.full = false;
        input_key_ready(in);
    }
    expect(&s.log, want->str);
    g_assert_false(input_keys_held(in));

    s.full = false;
    g_assert_cmpint(input_send_keys(in, "ctrl-c", 250, &bad), ==, 0);
    g_assert_cmpint(input_send_keys(in, "x", 50, &bad), ==, 0);
    for (unsigned i = 0; i < 4; i++) {
        s.full = false;
        input_key_ready(in);
    }
    expect(&s.log, "+29 +46 ");
    vclock_set(clock, vclock_now(clock) + 249 * NS_PER_MS);
    vclock_run(clock);
    expect(&s.log, "");
    vclock_set(clock, vclock_now(clock) + NS_PER_MS);
    vclock_run(clock);
    for (unsigned i = 0; i < 4; i++) {
        s.full = false;
        input_key_ready(in);
    }
    expect(&s.log, "-46 -29 +45 ");
    vclock_set(clock, vclock_now(clock) + 50 * NS_PER_MS);
    vclock_run(clock);
    expect(&s.log, "-45 ");
    g_assert_cmpuint(input_keys_waiting(in), ==, 0);
    g_assert_cmpint(vclock_next_deadline(clock), ==, VTIMER_OFF);
    input_free(in);
    vclock_free(clock);
    g_string_free(s.log.text, TRUE);
}

/* Who never reads costs a bounded queue; nothing that went down stays down. */
static void test_deaf_guest(void)
{
    struct input *in = input_new();
    struct slow s = {.log = {g_string_new(NULL)}, .full = true};
    GHashTable *down = g_hash_table_new(NULL, NULL);
    g_auto(GStrv) words = NULL;
    unsigned refused = 0;
    char *bad = NULL;

    input_attach(in, &slow_keyboard, &s);
    for (unsigned i = 0; i < 100000; i++) {
        refused += !input_key(in, KEY_A + i % 9, true);
        input_key(in, KEY_A + i % 9, false);
    }
    g_assert_cmpuint(refused, ==, 100000 - INPUT_KEYS_WAITING_MAX);
    g_assert_cmpuint(input_keys_waiting(in), ==, 2 * INPUT_KEYS_WAITING_MAX);
    g_assert_cmpint(input_send_keys(in, "a", 0, &bad), ==, -ENOBUFS);
    while (input_keys_waiting(in) > 0) {
        s.full = false;
        input_key_ready(in);
    }
    words = g_strsplit(s.log.text->str, " ", 0);
    for (char **w = words; **w; w++) {
        gpointer code = GUINT_TO_POINTER(atoi(*w + 1));

        g_assert_true(**w == '+' ? g_hash_table_add(down, code) : g_hash_table_remove(down, code));
    }
    g_assert_cmpuint(g_hash_table_size(down), ==, 0);
    g_hash_table_destroy(down);
    input_free(in);
    g_string_free(s.log.text, TRUE);
}

static void test_leds(void)
{
    struct input *in = input_new();
    g_assert_cmpuint(input_leds(in), ==, 0);
    input_set_leds(in, 0xff);
    g_assert_cmpuint(input_leds(in), ==, 7);
    input_free(in);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/input/routing", test_routing);
    g_test_add_func("/input/viewers", test_viewers);
    g_test_add_func("/input/names", test_names);
    g_test_add_func("/input/send-keys", test_send_keys);
    g_test_add_func("/input/slow-guest", test_slow_guest);
    g_test_add_func("/input/deaf-guest", test_deaf_guest);
    g_test_add_func("/input/leds", test_leds);
    return g_test_run();
}
