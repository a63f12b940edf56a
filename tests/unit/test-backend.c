/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The set of back ends with drivers of the test's own, among them one of kind NET: nothing in the
 * set, nor in whoever walks it, knows what a network is.
 */
#include <errno.h>
#include <string.h>

#include <xendm/backend.h>
#include <xendm/device.h>
#include <xendm/error.h>

struct wire {
    struct backend b;
    char *name;
    uint32_t queues;
    bool fail;
};

static GString *story;
static unsigned polls, busy_wires;

static void note(const char *what, const struct backend *b)
{
    g_string_append_printf(story, "%s %s; ", what, b->id);
}

static int wire_open(struct backend *b, const struct handover *from, GError **err)
{
    struct wire *w = (struct wire *)b;

    if (w->fail) {
        g_set_error(err, XENDM_ERROR, EIO, "%s: cut", b->id);
        return -EIO;
    }
    note(from ? "adopt" : "open", b);
    return 0;
}

static void wire_close(struct backend *b)
{
    note("close", b);
}

static unsigned wire_busy(const struct backend *b)
{
    return busy_wires & 1u << (b->id[0] - 'a') ? 2 : 0;
}

static bool wire_poll(void)
{
    polls++;
    return polls == 2;
}

static const struct property wire_properties[] = {
    {.name = "name", .type = PROP_STRING, .offset = offsetof(struct wire, name), .def = "wire"},
    {.name = "queues",
     .type = PROP_UINT32,
     .offset = offsetof(struct wire, queues),
     .def = "1",
     .min = 1,
     .max = 8},
    {.name = "fail", .type = PROP_BOOL, .offset = offsetof(struct wire, fail)},
    {.name = NULL},
};

static const struct backend_class wire_class = {
    .kind = BACKEND_NET,
    .driver = "wire",
    .size = sizeof(struct wire),
    .properties = wire_properties,
    .open = wire_open,
    .close = wire_close,
    .busy = wire_busy,
    .poll = wire_poll,
};

static const struct backend_class line_class = {
    .kind = BACKEND_CHAR,
    .driver = "wire", /* the same name in another kind */
    .size = sizeof(struct backend),
    .poll = wire_poll, /* shared: asked once */
};

const struct backend_class *const *backend_classes(void)
{
    static const struct backend_class *const classes[] = {&wire_class, &line_class, NULL};

    return classes;
}

static struct backend *add(struct backend_set *set, enum backend_kind kind, const char *id,
                           const char *option, const char *value, GError **err)
{
    struct object_desc *o = object_desc_new(OBJECT_BACKEND, kind, "wire", id);
    struct backend *b;

    if (option) {
        object_desc_set(o, option, value);
    }
    b = backend_add(set, o, NULL, err);
    object_desc_free(o);
    return b;
}

static void refuse(struct backend_set *set, const char *id, const char *option, const char *value,
                   const char *message)
{
    struct object_desc *o = object_desc_new(OBJECT_BACKEND, BACKEND_NET, "wire", id);
    GError *err = NULL;

    g_assert_null(add(set, BACKEND_NET, id, option, value, &err));
    g_assert_nonnull(err);
    g_assert_cmpstr(err->message, ==, message);
    g_clear_error(&err);
    object_desc_free(o);
}

static void append_id(void *opaque, struct backend *b)
{
    g_string_append(opaque, b->id);
}

static void remove_it(void *opaque, struct backend *b)
{
    g_assert_cmpint(backend_remove(opaque, b, NULL), ==, 0);
}

static void test_life(void)
{
    struct backend_set *set = backend_set_new();
    g_autoptr(GString) ids = g_string_new(NULL);
    g_autofree char *group = NULL;
    struct device dev = {.id = (char *)"nic0"};
    struct backend *a, *b, *line, *unnamed;
    GError *err = NULL;

    story = g_string_new(NULL);
    a = add(set, BACKEND_NET, "a", "name", "vif,script=no", NULL);
    b = add(set, BACKEND_NET, "b", "queues", "8", NULL);
    line = add(set, BACKEND_CHAR, "a", NULL, NULL, NULL);
    unnamed = add(set, BACKEND_CHAR, NULL, NULL, NULL, NULL);
    g_assert_cmpstr(((struct wire *)a)->name, ==, "vif,script=no");
    g_assert_cmpuint(((struct wire *)b)->queues, ==, 8);
    g_assert_cmpstr(((struct wire *)b)->name, ==, "wire");
    g_assert_true(backend_find(set, BACKEND_NET, "a") == a);
    g_assert_true(backend_find(set, BACKEND_CHAR, "a") == line);
    g_assert_true(backend_find(set, BACKEND_CHAR, "wire") == unnamed);
    g_assert_null(backend_find(set, BACKEND_CHAR, "b"));
    backend_foreach(set, append_id, ids);
    g_assert_cmpstr(ids->str, ==, "abawire");
    group = backend_group(a);
    g_assert_cmpstr(group, ==, "net a");

    g_assert_cmpuint(backend_set_busy(set), ==, 0);
    busy_wires = 3;
    g_assert_cmpuint(backend_set_busy(set), ==, 4);
    busy_wires = 0;
    g_assert_false(backend_poll_all());
    g_assert_true(backend_poll_all());
    g_assert_cmpuint(polls, ==, 2);

    a->user = &dev;
    g_assert_cmpint(backend_remove(set, a, &err), ==, -EBUSY);
    g_assert_cmpstr(err->message, ==, "net back end 'a' is used by device nic0");
    g_clear_error(&err);
    a->user = NULL;
    g_assert_cmpint(backend_remove(set, a, &err), ==, 0);
    g_assert_null(backend_find(set, BACKEND_NET, "a"));
    add(set, BACKEND_NET, "c", NULL, NULL, NULL);
    backend_set_free(set);
    g_assert_cmpstr(story->str, ==, "open a; open b; close a; open c; close c; close b; ");
    g_string_free(story, TRUE);
}

static void test_refused(void)
{
    struct backend_set *set = backend_set_new();
    struct object_desc *o = object_desc_new(OBJECT_BACKEND, BACKEND_AUDIO, "wire", "a");
    g_autofree char *longer = g_strnfill(BACKEND_ID_MAX + 1, 'x');
    GError *err = NULL;

    story = g_string_new(NULL);
    g_assert_null(backend_add(set, o, NULL, &err));
    g_assert_cmpstr(err->message, ==, "a: there is no audio back end 'wire'");
    g_clear_error(&err);
    g_assert_cmpint(backend_check(o, &err), <, 0);
    g_clear_error(&err);
    o->kind = BACKEND_NET;
    g_assert_cmpint(backend_check(o, NULL), ==, 0);
    object_desc_set(o, "queues", "9");
    g_assert_cmpint(backend_check(o, &err), <, 0);
    g_assert_cmpstr(err->message, ==, "property queues: 9 is not in 1..8");
    g_clear_error(&err);
    object_desc_free(o);

    refuse(set, "a", "queues", "9", "a: property queues: 9 is not in 1..8");
    refuse(set, "a", "speed", "9", "a: wire has no property speed (value \"9\")");
    refuse(set, "a", "fail", "on", "a: cut");
    refuse(set, "", NULL, NULL, ": the id \"\" is empty or longer than 255 bytes");
    g_assert_null(add(set, BACKEND_NET, longer, NULL, NULL, &err));
    g_clear_error(&err);
    add(set, BACKEND_NET, "a", NULL, NULL, NULL);
    refuse(set, "a", NULL, NULL, "there are two net back ends with the id a");
    add(set, BACKEND_NET, "b", NULL, NULL, NULL);
    backend_foreach(set, remove_it, set);
    g_assert_null(backend_find(set, BACKEND_NET, "b"));
    backend_set_free(set);
    backend_set_free(NULL);
    g_assert_cmpstr(story->str, ==, "open a; open b; close a; close b; ");
    g_string_free(story, TRUE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/backend/life", test_life);
    g_test_add_func("/backend/refused", test_refused);
    return g_test_run();
}
