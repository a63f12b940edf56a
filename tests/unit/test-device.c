/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Device life cycle: properties, order of calls, what is taken back on failure. */
#include <errno.h>
#include <string.h>

#include <xendm/backend.h>
#include <xendm/aspace.h>
#include <xendm/device.h>
#include <xendm/pci.h>

#include "fakes.h"

struct sample {
    struct device dev;
    bool flag;
    uint32_t number, limited;
    uint64_t big;
    char *text;
    struct block *block;
    struct chardev *chardev;
    struct region regs, more;
    struct irq irq;
};

static GString *calls;
static int realize_result, change_result;

static uint64_t sample_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0x42;
}

static const struct region_ops sample_ops = {.read = sample_read};

static int sample_realize(struct device *dev, GError **err)
{
    struct sample *s = DEVICE_CAST(struct sample, dev);
    int rc;

    g_assert_cmpint(dev->phase, ==, DEVICE_NEW);
    g_string_append(calls, "realize ");
    region_init(&s->regs, "sample-regs", &sample_ops, s, 8);
    region_init(&s->more, "sample-more", &sample_ops, s, 8);
    rc = device_place_pio(dev, &s->regs, 0x300, err);
    if (rc < 0) {
        return rc;
    }
    rc = device_place_mmio(dev, &s->more, 0xe0000000, err);
    if (rc < 0) {
        return rc;
    }
    device_connect_isa_irq(dev, &s->irq, 5);
    if (realize_result < 0) {
        g_set_error(err, XENDM_ERROR, EIO, "%s: no luck", dev->id);
    }
    return realize_result;
}

static void sample_reset(struct device *dev, enum reset_reason why)
{
    g_string_append_printf(calls, "reset%d ", why);
}

static void sample_quiesce(struct device *dev)
{
    g_assert_cmpint(dev->phase, ==, DEVICE_QUIESCED);
    g_string_append(calls, "quiesce ");
}

static void sample_resume(struct device *dev)
{
    g_assert_cmpint(dev->phase, ==, DEVICE_RUNNING);
    g_string_append(calls, "resume ");
}

static int sample_change(struct device *dev, const char *property, const char *value, GError **err)
{
    g_string_append_printf(calls, "change:%s=%s ", property, value);
    if (change_result < 0) {
        g_set_error(err, XENDM_ERROR, EIO, "not now");
    }
    return change_result;
}

static void sample_unrealize(struct device *dev)
{
    struct sample *s = DEVICE_CAST(struct sample, dev);

    irq_connect(&s->irq, NULL);
    g_string_append(calls, "unrealize ");
}

static const struct property sample_properties[] = {
    {.name = "flag", .type = PROP_BOOL, .offset = offsetof(struct sample, flag), .def = "on"},
    {.name = "number",
     .type = PROP_UINT32,
     .offset = offsetof(struct sample, number),
     .def = "0x10"},
    {.name = "limited",
     .type = PROP_UINT32,
     .offset = offsetof(struct sample, limited),
     .def = "3",
     .min = 2,
     .max = 9},
    {.name = "big", .type = PROP_UINT64, .offset = offsetof(struct sample, big)},
    {.name = "text", .type = PROP_STRING, .offset = offsetof(struct sample, text), .def = "hello"},
    {.name = "drive",
     .type = PROP_BACKEND,
     .offset = offsetof(struct sample, block),
     .kind = BACKEND_BLOCK},
    {.name = "chardev",
     .type = PROP_BACKEND,
     .offset = offsetof(struct sample, chardev),
     .kind = BACKEND_CHAR},
    {.name = NULL},
};

static const struct device_class sample_class = {
    .name = "sample",
    .size = sizeof(struct sample),
    .properties = sample_properties,
    .realize = sample_realize,
    .reset = sample_reset,
    .quiesce = sample_quiesce,
    .resume = sample_resume,
    .change = sample_change,
    .unrealize = sample_unrealize,
};

static const struct device_class plain_class = {
    .name = "plain",
    .size = sizeof(struct sample),
    .properties = sample_properties,
};

static struct machine *begin(void)
{
    calls = g_string_new(NULL);
    realize_result = change_result = 0;
    return fake_machine_new();
}

static void end(struct machine *m)
{
    fake_machine_free(m);
    g_string_free(calls, TRUE);
}

static void test_properties(void)
{
    static const struct {
        const char *name, *value;
        int rc;
    } bad[] = {
        {"nonsense", "1", -ENOENT},
        {"flag", "maybe", -EINVAL},
        {"flag", "", -EINVAL},
        {"number", "", -EINVAL},
        {"number", "12x", -EINVAL},
        {"number", "-1", -EINVAL},
        {"number", " 1", -EINVAL},
        {"number", "0x", -EINVAL},
        {"number", "4294967296", -EINVAL},
        {"number", "0x-1", -EINVAL},
        {"limited", "1", -EINVAL},
        {"limited", "10", -EINVAL},
        {"big", "18446744073709551616", -EINVAL},
        {"drive", "x", -ENOENT},
        {"chardev", "x", -ENOENT},
    };
    struct machine *m = begin();
    struct device *dev = device_new(m, &sample_class, NULL, NULL);
    struct sample *s = DEVICE_CAST(struct sample, dev);

    g_assert_true(s->flag);
    g_assert_cmpuint(s->number, ==, 16);
    g_assert_cmpuint(s->limited, ==, 3);
    g_assert_cmpuint(s->big, ==, 0);
    g_assert_cmpstr(s->text, ==, "hello");
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) err = NULL;

        g_assert_cmpint(device_set(dev, bad[i].name, bad[i].value, &err), ==, bad[i].rc);
        g_assert_error(err, XENDM_ERROR, -bad[i].rc);
        g_assert_nonnull(strstr(err->message, "sample"));
        g_assert_nonnull(strstr(err->message, bad[i].name));
        g_assert_nonnull(strstr(err->message, bad[i].value));
    }
    g_assert_true(s->flag);
    g_assert_cmpuint(s->number, ==, 16);
    g_assert_cmpint(device_set(dev, "flag", "off", NULL), ==, 0);
    g_assert_cmpint(device_set(dev, "number", "0xffffffff", NULL), ==, 0);
    g_assert_cmpint(device_set(dev, "limited", "9", NULL), ==, 0);
    g_assert_cmpint(device_set(dev, "big", "18446744073709551615", NULL), ==, 0);
    g_assert_cmpint(device_set(dev, "text", "a,b=c", NULL), ==, 0);
    g_assert_false(s->flag);
    g_assert_cmpuint(s->number, ==, UINT32_MAX);
    g_assert_cmpuint(s->big, ==, UINT64_MAX);
    g_assert_cmpstr(s->text, ==, "a,b=c");
    end(m);
}

/* By id out of the machine's set, or by hand; who has it is known, and nobody else gets it. */
static void test_backends(void)
{
    static const struct backend_class disk_class = {.kind = BACKEND_BLOCK, .driver = "disk"};
    static const struct backend_class line_class = {.kind = BACKEND_CHAR, .driver = "line"};
    struct machine *m = begin();
    struct device *dev = device_new(m, &sample_class, "one", NULL);
    struct device *other = device_new(m, &sample_class, "other", NULL);
    struct sample *s = DEVICE_CAST(struct sample, dev);
    struct backend *disk = g_new0(struct backend, 1), *line = g_new0(struct backend, 1);
    GError *err = NULL;

    disk->class = &disk_class;
    disk->id = g_strdup("x");
    line->class = &line_class;
    line->id = g_strdup("x");
    g_assert_cmpint(device_set(dev, "drive", "x", &err), ==, -ENOENT); /* no set at all */
    g_clear_error(&err);
    m->backends = backend_set_new();
    backend_set_put(m->backends, line);
    g_assert_cmpint(device_set(dev, "drive", "x", &err), ==, -ENOENT);
    g_assert_cmpstr(err->message, ==, "one: property drive: there is no block back end 'x'");
    g_clear_error(&err);
    backend_set_put(m->backends, disk);
    g_assert_cmpint(device_set(dev, "drive", "x", NULL), ==, 0);
    g_assert_cmpint(device_set(dev, "chardev", "x", NULL), ==, 0);
    g_assert_true((void *)s->block == disk && (void *)s->chardev == line);
    g_assert_true(disk->user == dev && line->user == dev);
    g_assert_cmpint(device_set(other, "drive", "x", &err), ==, -EBUSY);
    g_assert_cmpstr(err->message, ==,
                    "other: property drive: block back end 'x' is used by device one");
    g_clear_error(&err);
    g_assert_cmpint(backend_remove(m->backends, disk, NULL), ==, -EBUSY);
    device_set_backend(dev, "chardev", NULL);
    g_assert_null(line->user);
    device_free(dev);
    g_assert_null(disk->user);
    g_assert_cmpint(device_set(other, "drive", "x", NULL), ==, 0);
    device_free(other);
    backend_set_free(m->backends);
    m->backends = NULL;
    end(m);
}

static void test_ids(void)
{
    struct machine *m = begin();
    g_autoptr(GError) err = NULL;
    g_autofree char *longest = g_strnfill(255, 'x');
    g_autofree char *too_long = g_strnfill(256, 'x');
    struct device *a = device_new(m, &sample_class, NULL, NULL);
    struct device *b = device_new(m, &sample_class, NULL, NULL);
    struct device *c = device_new(m, &sample_class, "mine", NULL);

    g_assert_cmpstr(a->id, ==, "sample");
    g_assert_cmpstr(b->id, ==, "sample.1");
    g_assert_true(machine_find(m, "mine") == c);
    g_assert_null(machine_find(m, "yours"));
    g_assert_null(device_new(m, &plain_class, "sample.1", &err));
    g_assert_error(err, XENDM_ERROR, EEXIST);
    g_clear_error(&err);
    g_assert_null(device_new(m, &plain_class, "", &err));
    g_clear_error(&err);
    g_assert_null(device_new(m, &plain_class, too_long, &err));
    g_assert_nonnull(device_new(m, &plain_class, longest, NULL));
    device_free(b);
    g_assert_null(machine_find(m, "sample.1"));
    g_assert_cmpstr(device_new(m, &sample_class, NULL, NULL)->id, ==, "sample.1");
    end(m);
}

static void test_life(void)
{
    struct machine *m = begin();
    struct device *dev = device_new(m, &sample_class, NULL, NULL);
    struct sample *s = DEVICE_CAST(struct sample, dev);
    g_autoptr(GError) err = NULL;

    g_assert_cmpint(device_realize(dev, NULL), ==, 0);
    g_assert_cmpint(dev->phase, ==, DEVICE_REALIZED);
    g_assert_cmphex(aspace_read(m->pio, 0x300, 1), ==, 0x42);
    g_assert_cmphex(aspace_read(m->mmio, 0xe0000000, 1), ==, 0x42);
    irq_set(&s->irq, true);
    g_assert_true(m->hv->isa_level[5]);
    machine_complete(m);
    machine_start(m);
    g_assert_cmpstr(calls->str, ==, "realize reset0 resume ");

    /* Changes at run time go through the class and are stored when it agrees. */
    g_assert_cmpint(device_set(dev, "number", "7", &err), ==, 0);
    g_assert_cmpuint(s->number, ==, 7);
    g_assert_cmpint(device_set(dev, "number", "x", &err), ==, -EINVAL);
    g_clear_error(&err);
    change_result = -EIO;
    g_assert_cmpint(device_set(dev, "number", "8", &err), ==, -EIO);
    g_assert_cmpuint(s->number, ==, 7);
    g_clear_error(&err);
    machine_stop(m);
    g_assert_cmpstr(calls->str, ==,
                    "realize reset0 resume change:number=7 change:number=8 quiesce ");
    g_string_truncate(calls, 0);
    device_free(dev);
    g_assert_cmpstr(calls->str, ==, "unrealize ");
    g_assert_false(m->hv->isa_level[5]);
    g_assert_cmphex(aspace_read(m->pio, 0x300, 1), ==, 0xff);
    g_assert_cmpuint(m->hv->ranges_deleted, ==, 2);

    struct device *plain = fake_device(m, &plain_class, NULL, NULL);

    g_assert_cmpint(device_set(plain, "number", "1", &err), ==, -EBUSY);
    g_assert_error(err, XENDM_ERROR, EBUSY);
    end(m);
}

static void test_failed_realize(void)
{
    struct machine *m = begin();
    struct device *first = device_new(m, &sample_class, "one", NULL);
    struct device *second = device_new(m, &sample_class, "two", NULL);
    g_autoptr(GError) err = NULL;

    realize_result = -EIO;
    g_assert_cmpint(device_realize(first, &err), ==, -EIO);
    g_assert_cmpint(first->phase, ==, DEVICE_NEW);
    g_assert_null(aspace_find(m->pio, 0x300));
    g_assert_null(aspace_find(m->mmio, 0xe0000000));
    g_clear_error(&err);
    realize_result = 0;
    g_assert_cmpint(device_realize(first, &err), ==, 0);
    g_assert_cmpint(device_realize(second, &err), ==, -EBUSY);
    g_assert_nonnull(strstr(err->message, "two"));
    g_assert_nonnull(strstr(err->message, "sample-regs"));
    g_clear_error(&err);
    device_free(second);
    g_assert_nonnull(aspace_find(m->pio, 0x300));
    device_free(first);

    /* The second region fails at the hypervisor: the first goes, too. */
    first = device_new(m, &sample_class, "one", NULL);
    m->hv->fail_range_add = ENOSPC;
    g_assert_cmpint(device_realize(first, &err), ==, -ENOSPC);
    g_assert_null(aspace_find(m->pio, 0x300));
    end(m);
}

/* Plugged into a machine that runs: reset and resumed at once. */
static void test_hotplug(void)
{
    struct machine *m = begin();
    struct device *dev;

    machine_complete(m);
    dev = fake_device(m, &sample_class, "early", NULL);
    g_assert_cmpstr(calls->str, ==, "realize reset0 ");
    g_assert_cmpint(dev->phase, ==, DEVICE_REALIZED);
    device_free(dev);
    machine_start(m);
    g_string_truncate(calls, 0);
    dev = fake_device(m, &sample_class, "late", NULL);
    g_assert_cmpstr(calls->str, ==, "realize reset0 resume ");
    g_assert_cmpint(dev->phase, ==, DEVICE_RUNNING);
    machine_stop(m);
    end(m);
}

/* The core asserts the order: each of these is a bug of ours. */
static void subprocess_realize_twice(void)
{
    struct machine *m = begin();
    struct device *dev = fake_device(m, &sample_class, NULL, NULL);

    device_realize(dev, NULL);
}

static void subprocess_complete_unrealized(void)
{
    struct machine *m = begin();

    device_new(m, &sample_class, NULL, NULL);
    machine_complete(m);
}

static void subprocess_start_early(void)
{
    machine_start(begin());
}

static void subprocess_wrong_backend(void)
{
    struct machine *m = begin();

    device_set_backend(device_new(m, &sample_class, NULL, NULL), "number", NULL);
}

static void subprocess_timer_left(void)
{
    struct machine *m = begin();
    static struct vtimer t;

    vtimer_init(&t, m->clock, "forgotten", NULL, NULL);
    vtimer_arm(&t, 5);
    end(m);
}

static void test_asserts(void)
{
    static const char *const names[] = {"realize-twice", "complete-unrealized", "start-early",
                                        "wrong-backend", "timer-left"};

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_strdup_printf("/device/asserts/subprocess/%s", names[i]);

        g_test_trap_subprocess(path, 0, 0);
        g_test_trap_assert_failed();
        g_test_trap_assert_stderr("*xendm: bug: *");
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/device/properties", test_properties);
    g_test_add_func("/device/backends", test_backends);
    g_test_add_func("/device/ids", test_ids);
    g_test_add_func("/device/life", test_life);
    g_test_add_func("/device/failed-realize", test_failed_realize);
    g_test_add_func("/device/hotplug", test_hotplug);
    g_test_add_func("/device/asserts", test_asserts);
    g_test_add_func("/device/asserts/subprocess/realize-twice", subprocess_realize_twice);
    g_test_add_func("/device/asserts/subprocess/complete-unrealized",
                    subprocess_complete_unrealized);
    g_test_add_func("/device/asserts/subprocess/start-early", subprocess_start_early);
    g_test_add_func("/device/asserts/subprocess/wrong-backend", subprocess_wrong_backend);
    g_test_add_func("/device/asserts/subprocess/timer-left", subprocess_timer_left);
    return g_test_run();
}
