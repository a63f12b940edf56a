/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line parser in-process: what tests/cmdline/table cannot show. The table has the
 * options one by one.
 */
#include <errno.h>
#include <string.h>

#include <xendm/json.h>

#include <xendm/device.h>
#include <xendm/machine-desc.h>

static struct machine_desc *parse(char *const *argv, GError **err)
{
    bool done = true;
    struct machine_desc *desc =
        machine_desc_parse((int)g_strv_length((char **)argv), (char **)argv, &done, err);

    g_assert_false(done);
    return desc;
}

static const struct object_desc *object_at(const struct machine_desc *desc, guint i,
                                           enum object_what what, const char *driver,
                                           const char *id)
{
    const struct object_desc *o = g_ptr_array_index(desc->objects, i);

    g_assert_cmpint(o->what, ==, what);
    g_assert_cmpstr(o->driver, ==, driver);
    g_assert_cmpstr(o->id, ==, id);
    return o;
}

/* Everything that is allocated, and the lists, and then all of it freed (ASan looks). */
static void test_fields(void)
{
    char *const argv[] = {
        "xendm",
        "-xen-domid",
        "3",
        "-machine",
        "pc,accel=xen",
        "-m",
        "1G",
        "-name",
        "a,b",
        "-k",
        "fr",
        "-vnc",
        ":1",
        "-boot",
        "d",
        "-serial",
        "pty",
        "-serial",
        "null",
        "-chardev",
        "pty,id=ch",
        "-chardev",
        "socket,id=m,fd=5,server=on,wait=off",
        "-mon",
        "m,mode=control",
        "-device",
        "xen-pvdevice,device-id=0xc000,id=pv",
        "-drive",
        "file=/x,format=raw,id=a,if=none",
        "-device",
        "ide-hd,drive=a,bus=ide.1",
        "-device",
        "ide-cd",
        "-chroot",
        "/c",
        "-runas",
        "nobody",
        "--log",
        "all=debug,qmp=error",
        NULL,
    };
    GError *err = NULL;
    struct machine_desc *desc = parse(argv, &err);
    const struct monitor_desc *monitor;
    const struct object_desc *o;

    g_assert_no_error(err);
    g_assert_cmpint(desc->type, ==, MACHINE_PC);
    g_assert_cmpuint(desc->ram_bytes, ==, UINT64_C(1) << 30);
    monitor = g_ptr_array_index(desc->monitors, 0);
    g_assert_cmpint(monitor->fd, ==, 5);
    g_assert_null(monitor->path);
    g_assert_cmpstr(desc->log_levels, ==, "all=debug,qmp=error");
    g_assert_cmpuint(desc->objects->len, ==, 10);

    o = object_at(desc, 0, OBJECT_BACKEND, "pty", "serial0");
    o = object_at(desc, 1, OBJECT_BACKEND, "null", "serial1");
    o = object_at(desc, 2, OBJECT_BACKEND, "pty", "ch");
    g_assert_cmpint(o->kind, ==, BACKEND_CHAR);
    o = object_at(desc, 3, OBJECT_BACKEND, "raw", "a");
    g_assert_cmpint(o->kind, ==, BACKEND_BLOCK);
    g_assert_cmpstr(object_option(o, "file"), ==, "/x");
    g_assert_null(object_option(o, "read-only"));
    o = object_at(desc, 4, OBJECT_BACKEND, "raw", "ide0-cd0");
    g_assert_null(object_option(o, "file"));
    g_assert_cmpstr(object_option(o, "read-only"), ==, "on");

    o = object_at(desc, 5, OBJECT_DEVICE, "isa-serial", "serial0");
    g_assert_cmpstr(object_option(o, "chardev"), ==, "serial0");
    o = object_at(desc, 6, OBJECT_DEVICE, "isa-serial", "serial1");
    g_assert_cmpstr(object_option(o, "index"), ==, "1");
    o = object_at(desc, 7, OBJECT_DEVICE, "xen-pvdevice", "pv");
    g_assert_cmpstr(object_option(o, "device-id"), ==, "0xc000");
    /* by place, not by order of the arguments */
    o = object_at(desc, 8, OBJECT_DEVICE, "ide-cd", "ide0-cd0");
    g_assert_cmpstr(object_option(o, "bus"), ==, "ide.0");
    o = object_at(desc, 9, OBJECT_DEVICE, "ide-hd", "a");
    g_assert_cmpstr(object_option(o, "bus"), ==, "ide.1");
    g_assert_cmpstr(object_option(o, "drive"), ==, "a");
    machine_desc_free(desc);
    machine_desc_free(NULL);
}

/* Of the back end that the command line below has of the kind. */
static const char *backend_id(enum backend_kind kind)
{
    return kind == BACKEND_BLOCK   ? "d"
           : kind == BACKEND_NET   ? "n"
           : kind == BACKEND_AUDIO ? "a"
           : kind == BACKEND_FSDEV ? "f"
                                   : "c";
}

/* -device makes every class that can be made, with each of its properties, or says why not. */
static void test_every_class(void)
{
    for (const struct device_class *const *c = device_classes(); *c; c++) {
        g_autoptr(GString) value = g_string_new((*c)->name);
        char *argv[] = {"xendm",
                        "-xen-domid",
                        "3",
                        "-machine",
                        "pc,accel=xen",
                        "-m",
                        "64",
                        "-chardev",
                        "null,id=c",
                        "-netdev",
                        "socket,id=n,listen=:0",
                        "-audiodev",
                        "none,id=a",
                        "-fsdev",
                        "local,id=f,path=/tmp,security_model=none",
                        "-drive",
                        "if=none,id=d,file=/x,format=raw",
                        "-device",
                        NULL,
                        NULL,
                        NULL,
                        NULL};
        GError *err = NULL;
        struct machine_desc *desc;
        bool done, drive = false;

        for (const struct property *p = (*c)->properties; p && p->name; p++) {
            g_autofree char *number = g_strdup_printf("%" G_GUINT64_FORMAT, p->max ? p->max : 1);

            drive |= p->type == PROP_BACKEND && p->kind == BACKEND_BLOCK;
            g_string_append_printf(value, ",%s=%s", p->name,
                                   p->type == PROP_BACKEND  ? backend_id(p->kind)
                                   : p->type == PROP_BOOL   ? "on"
                                   : p->type == PROP_STRING ? "t"
                                                            : number);
        }
        argv[18] = value->str;
        if (!drive) { /* a drive that nobody uses is refused */
            argv[19] = (char *)"-device";
            argv[20] = (char *)"ide-hd,drive=d";
        }
        desc = machine_desc_parse((int)g_strv_length(argv), argv, &done, &err);
        if ((*c)->built_in) {
            g_assert_null(desc);
            g_assert_nonnull(strstr(err->message, (*c)->built_in));
            g_clear_error(&err);
        } else {
            g_assert_no_error(err);
            g_assert_nonnull(desc);
        }
        machine_desc_free(desc);
    }
}

/* The dump is valid JSON, the same twice, its members in one order. */
static void test_json(void)
{
    char *const argv[] = {"xendm", "-xen-domid", "3",     "-machine",   "xenfv",
                          "-m",    "8",          "-name", "\xff\"\\\n", NULL};
    GError *err = NULL;
    struct machine_desc *desc = parse(argv, &err);
    g_autofree char *first = NULL, *second = NULL;
    g_autoptr(JsonNode) node = NULL;
    g_autoptr(GList) members = NULL;

    g_assert_no_error(err);
    first = machine_desc_to_json(desc);
    second = machine_desc_to_json(desc);
    g_assert_cmpstr(first, ==, second);
    g_assert_true(g_utf8_validate(first, -1, NULL));
    node = json_from_string(first, &err);
    g_assert_no_error(err);
    members = json_object_get_members(json_node_get_object(node));
    g_assert_cmpstr(members->data, ==, "machine");
    g_assert_cmpstr(g_list_last(members)->data, ==, "log-levels");
    g_assert_true(
        g_str_has_suffix(json_object_get_string_member(json_node_get_object(node), "name"),
                         "\"\\\n"));
    machine_desc_free(desc);
}

static void test_one_short_line(void)
{
    g_autofree char *longer = g_strnfill(100000, 'x');
    g_autofree char *value = g_strdup_printf("a\nb\x01%s\r\n", longer);
    char *argv[] = {"xendm", "-machine", value, NULL};
    GError *err = NULL;

    longer[50000] = '\n';
    g_assert_null(parse(argv, &err));
    g_assert_true(g_error_matches(err, XENDM_ERROR, EINVAL));
    g_assert_true(g_str_has_prefix(err->message, "-machine a\\x0ab\\x01xxx"));
    g_assert_true(
        g_str_has_suffix(err->message, ": there is no such machine (xenfv, pc, xenpv, none)"));
    g_assert_cmpuint(strlen(err->message), <, 500);
    for (const char *p = err->message; *p; p++) {
        g_assert_cmpint((unsigned char)*p, >=, 0x20);
    }
    g_error_free(err);
}

static void test_no_arguments(void)
{
    char *const argv[] = {"xendm", NULL};
    GError *err = NULL;
    bool done;

    g_assert_null(parse(argv, &err));
    g_assert_nonnull(err);
    g_clear_error(&err);
    g_assert_null(machine_desc_parse(0, NULL, &done, &err));
    g_assert_nonnull(err);
    g_clear_error(&err);
}

/* Random lines of plausible words: parsed or refused with a reason, never anything else. */
static void test_random(void)
{
    static const char *const words[] = {
        "-xen-domid",
        "-machine",
        "-m",
        "-smp",
        "-boot",
        "-drive",
        "-device",
        "-chardev",
        "-mon",
        "-serial",
        "-run-with",
        "-vnc",
        "-incoming",
        "--log",
        "-net",
        "-runas",
        "xenfv",
        "7",
        "504",
        "none",
        "pty",
        "fd:3",
        "order=c",
        "=",
        ",",
        ",,",
        "a=b",
        "file=/a,if=ide,index=0,media=disk,format=raw,cache=writeback",
        "if=none,readonly=on,id=ide-1,file=,format=raw",
        "file=",
        ",format=raw",
        "if=none,id=a",
        "ide-cd,drive=a",
        "ide-hd,drive=a,bus=ide.0,unit=1",
        "VGA",
        "VGA,",
        "cirrus-vga,vgamem_mb=",
        "socket,id=a,path=/a,server=on,wait=off",
        "socket,id=,path=,server=on,wait=off",
        "chardev=a,mode=control",
        "",
        "chroot=/,user=1:1",
        "xen-pvdevice,device-id=",
        "socket,path=/x,id=",
        "18446744073709551616",
        "-1",
        "0x",
        "T",
        "1T",
        "=,=,=",
        "-netdev",
        "-audiodev",
        "tap,id=a",
        "chardev:a",
        "null,id=a",
        "isa-serial,chardev=a,index=",
        "i440fx",
        "unix:/a,server,nowait",
        "tcp:[",
        "file:",
        "id=a,id=a",
    };
    GRand *rand = g_rand_new_with_seed(3);

    for (int round = 0; round < 20000; round++) {
        char *argv[12] = {"xendm"};
        int argc = g_rand_int_range(rand, 1, G_N_ELEMENTS(argv));
        GError *err = NULL;
        struct machine_desc *desc;
        bool done;

        for (int i = 1; i < argc; i++) {
            const char *a = words[g_rand_int_range(rand, 0, G_N_ELEMENTS(words))];
            const char *b = g_rand_int_range(rand, 0, 4)
                                ? ""
                                : words[g_rand_int_range(rand, 0, G_N_ELEMENTS(words))];

            argv[i] = g_strconcat(a, b, NULL);
        }
        desc = machine_desc_parse(argc, argv, &done, &err);
        g_assert_true((desc != NULL) != (err != NULL));
        if (desc) {
            g_autofree char *json = machine_desc_to_json(desc);

            g_assert_true(g_utf8_validate(json, -1, NULL));
            machine_desc_free(desc);
        } else {
            g_assert_cmpuint(strlen(err->message), >, 3);
            g_error_free(err);
        }
        for (int i = 1; i < argc; i++) {
            g_free(argv[i]);
        }
    }
    g_rand_free(rand);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cmdline/fields", test_fields);
    g_test_add_func("/cmdline/every-class", test_every_class);
    g_test_add_func("/cmdline/json", test_json);
    g_test_add_func("/cmdline/one-short-line", test_one_short_line);
    g_test_add_func("/cmdline/no-arguments", test_no_arguments);
    g_test_add_func("/cmdline/random", test_random);
    return g_test_run();
}
