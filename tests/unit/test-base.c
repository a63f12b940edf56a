/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Facts, numbers, properties, descriptions of objects, and messages with a descriptor. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/numbers.h>
#include <xendm/object.h>
#include <xendm/one-fd.h>

/* ---- facts ---- */

static void collect(void *opaque, const char *text)
{
    g_string_append(opaque, text);
    g_string_append_c(opaque, '\n');
}

static struct facts *some_facts(void)
{
    struct facts *f = facts_new();

    fact_text(f, "model", "%s %d", "A\"\\\n\xff", 7);
    fact_int(f, "left", -3);
    fact_group(f, "queue 1");
    fact_hex(f, "base", UINT64_C(0xfedcba9876543210));
    fact_bool(f, "on", true);
    fact_group(f, "queue 2");
    fact_bool(f, "on", false);
    fact_group(f, NULL);
    fact_int(f, "last", 9);
    return f;
}

static void test_lines(void)
{
    struct facts *f = some_facts();
    g_autoptr(GString) text = g_string_new(NULL);

    facts_foreach_line(f, collect, text);
    g_assert_cmpstr(text->str, ==,
                    "model: A\"\\\n\xff 7\nleft: -3\nqueue 1:\n  base: 0xfedcba9876543210\n"
                    "  on: yes\nqueue 2:\n  on: no\nlast: 9\n");
    g_assert_cmpstr(facts_find(f, "queue 2", "on"), ==, "no");
    g_assert_cmpstr(facts_find(f, NULL, "last"), ==, "9");
    g_assert_null(facts_find(f, NULL, "on"));
    facts_free(f);
    facts_free(NULL);
}

static void test_json(void)
{
    struct facts *f = some_facts(), *none = facts_new(), *ends = facts_new();
    g_autofree char *text = facts_to_json(f), *empty = facts_to_json(none), *last = NULL;

    g_assert_cmpstr(text, ==,
                    "{\"model\": \"A\\\"\\\\\\u000a\xef\xbf\xbd 7\", \"left\": -3, "
                    "\"queue 1\": {\"base\": 18364758544493064720, \"on\": true}, "
                    "\"queue 2\": {\"on\": false}, \"last\": 9}");
    g_assert_cmpstr(empty, ==, "{}");
    fact_group(ends, "a");
    fact_group(ends, "b");
    last = facts_to_json(ends);
    g_assert_cmpstr(last, ==, "{\"a\": {}, \"b\": {}}");
    facts_free(f);
    facts_free(none);
    facts_free(ends);
}

/* ---- numbers ---- */

static void test_numbers(void)
{
    static const char *const bad[] = {"",   " 1",  "-1", "+1",   "1 ", "0x",
                                      "1x", "0xg", "x1", "0x 1", "1.5"};
    uint64_t v = 0;
    const char *end;
    bool flag = false;

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_cmpint(number_parse(bad[i], 0, UINT64_MAX, &v), ==, -EINVAL);
    }
    g_assert_cmpint(number_parse("18446744073709551615", 0, UINT64_MAX, &v), ==, 0);
    g_assert_cmpuint(v, ==, UINT64_MAX);
    g_assert_cmpint(number_parse("18446744073709551616", 0, UINT64_MAX, &v), ==, -ERANGE);
    g_assert_cmpint(number_parse("0X1f", 0, 31, &v), ==, 0);
    g_assert_cmpuint(v, ==, 31);
    g_assert_cmpint(number_parse("010", 0, 31, &v), ==, 0);
    g_assert_cmpuint(v, ==, 10);
    g_assert_cmpint(number_parse("3", 4, 31, &v), ==, -ERANGE);
    g_assert_cmpint(number_parse_hex("1f.7", 255, &v, &end), ==, 0);
    g_assert_cmpuint(v, ==, 31);
    g_assert_cmpstr(end, ==, ".7");
    g_assert_cmpint(number_parse_hex("1f.7", 255, &v, NULL), ==, -EINVAL);
    g_assert_cmpint(number_parse_hex("100", 255, &v, NULL), ==, -ERANGE);
    g_assert_cmpint(number_parse_size("2g", 1, UINT64_MAX, &v), ==, 0);
    g_assert_cmpuint(v, ==, UINT64_C(2) << 30);
    g_assert_cmpint(number_parse_size("504", 1 << 20, UINT64_MAX, &v), ==, 0);
    g_assert_cmpuint(v, ==, UINT64_C(504) << 20);
    g_assert_cmpint(number_parse_size("5", 1 << 20, 4 << 20, &v), ==, -ERANGE);
    g_assert_cmpint(number_parse_size("0", 1, 9, &v), ==, -ERANGE);
    g_assert_cmpint(number_parse_size("", 1, 9, &v), ==, -EINVAL);
    g_assert_cmpint(number_parse_size("K", 1, 9, &v), ==, -EINVAL);
    g_assert_cmpint(bool_parse("yes", &flag), ==, 0);
    g_assert_true(flag);
    g_assert_cmpint(bool_parse("off", &flag), ==, 0);
    g_assert_false(flag);
    g_assert_cmpint(bool_parse("On", &flag), ==, -EINVAL);
}

/* ---- properties ---- */

struct thing {
    bool on;
    uint32_t small;
    uint64_t large;
    char *text;
    void *disk;
};

static const struct property table[] = {
    {.name = "on", .type = PROP_BOOL, .offset = offsetof(struct thing, on), .def = "on"},
    {.name = "small",
     .type = PROP_UINT32,
     .offset = offsetof(struct thing, small),
     .min = 2,
     .max = 9,
     .def = "4",
     .help = "a small one"},
    {.name = "large", .type = PROP_UINT64, .offset = offsetof(struct thing, large)},
    {.name = "text", .type = PROP_STRING, .offset = offsetof(struct thing, text), .def = "a"},
    {.name = "disk",
     .type = PROP_BACKEND,
     .offset = offsetof(struct thing, disk),
     .kind = BACKEND_BLOCK},
    {.name = NULL},
};

static void refuse(struct thing *t, const char *name, const char *text, const char *message)
{
    GError *err = NULL;

    g_assert_cmpint(property_set(property_find(table, name), t, text, &err), ==, -EINVAL);
    g_assert_true(g_error_matches(err, XENDM_ERROR, EINVAL));
    g_assert_cmpstr(err->message, ==, message);
    g_clear_error(&err);
}

static void test_properties(void)
{
    struct thing t = {0};
    g_autoptr(GString) help = g_string_new(NULL);

    property_set_defaults(table, &t);
    g_assert_true(t.on);
    g_assert_cmpuint(t.small, ==, 4);
    g_assert_cmpstr(t.text, ==, "a");
    g_assert_null(property_find(table, "other"));
    g_assert_null(property_find(NULL, "other"));
    refuse(&t, "on", "maybe", "property on: \"maybe\" is neither on nor off");
    refuse(&t, "small", "-1", "property small: \"-1\" is no number");
    refuse(&t, "small", "10", "property small: 10 is not in 2..9");
    refuse(&t, "disk", "", "property disk: \"\" is no id of a back end");
    g_assert_cmpuint(t.small, ==, 4);
    g_assert_cmpint(property_set(property_find(table, "small"), NULL, "5", NULL), ==, 0);
    g_assert_cmpuint(t.small, ==, 4); /* only checked */
    g_assert_cmpint(property_set(property_find(table, "large"), &t, "0xffffffffff", NULL), ==, 0);
    g_assert_cmpuint(t.large, ==, UINT64_C(0xffffffffff));
    g_assert_cmpint(property_set(property_find(table, "text"), &t, "b,c=d", NULL), ==, 0);
    g_assert_cmpstr(t.text, ==, "b,c=d");
    g_assert_cmpint(property_set(property_find(table, "disk"), &t, "d0", NULL), ==, 0);
    g_assert_null(t.disk);
    property_help(table, help);
    g_assert_nonnull(
        strstr(help->str, "small=NUMBER           a small one (2 to 9) (default 4)\n"));
    g_assert_nonnull(strstr(help->str, "disk=ID                 (id of a block back end)\n"));
    property_free_strings(table, &t);
    g_assert_null(t.text);
}

static void test_object(void)
{
    struct object_desc *o = object_desc_new(OBJECT_BACKEND, BACKEND_NET, "tap", NULL);

    object_desc_set(o, "ifname", "vif1.0,script=no");
    object_desc_set(o, "mac", "x");
    object_desc_set(o, "mac", "y");
    g_assert_cmpstr(object_option(o, "ifname"), ==, "vif1.0,script=no");
    g_assert_cmpstr(object_option(o, "mac"), ==, "y");
    g_assert_null(object_option(o, "id"));
    g_assert_cmpuint(o->options->len, ==, 2);
    g_assert_cmpstr(backend_kind_name(o->kind), ==, "net");
    object_desc_free(o);
    object_desc_free(NULL);
}

static int lowest_free(void)
{
    int fd = dup(0);

    close(fd);
    return fd;
}

/* With one, without, and with two, which are none: nothing of them stays open here. */
static void test_one_fd(void)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control = {.head = {.cmsg_len = CMSG_LEN(2 * sizeof(int)),
                          .cmsg_level = SOL_SOCKET,
                          .cmsg_type = SCM_RIGHTS}};
    struct iovec iov = {.iov_base = (char[]){"two"}, .iov_len = 3};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    int pair[2], fd, free_before;
    char text[8];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), ==, 0);
    free_before = lowest_free();
    memcpy(CMSG_DATA(&control.head), pair, sizeof(pair));

    g_assert_cmpint(one_fd_send(pair[0], "one", 3, 0, 0), ==, 3);
    g_assert_cmpint(one_fd_receive(pair[1], text, sizeof(text), &fd, 0), ==, 3);
    g_assert_cmpint(fd, ==, free_before);
    close(fd);
    g_assert_cmpint(one_fd_send(pair[0], "none", 4, -1, 0), ==, 4);
    g_assert_cmpint(one_fd_receive(pair[1], text, sizeof(text), &fd, 0), ==, 4);
    g_assert_cmpint(fd, ==, -1);
    g_assert_cmpint(sendmsg(pair[0], &msg, 0), ==, 3);
    g_assert_cmpint(one_fd_receive(pair[1], text, sizeof(text), &fd, 0), ==, 3);
    g_assert_cmpint(fd, ==, -1);
    g_assert_cmpint(lowest_free(), ==, free_before);
    g_assert_cmpint(one_fd_receive(pair[1], text, sizeof(text), &fd, MSG_DONTWAIT), ==, -1);
    g_assert_cmpint(errno, ==, EAGAIN);
    close(pair[0]);
    g_assert_cmpint(one_fd_receive(pair[1], text, sizeof(text), &fd, 0), ==, 0);
    close(pair[1]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/facts/lines", test_lines);
    g_test_add_func("/facts/json", test_json);
    g_test_add_func("/numbers", test_numbers);
    g_test_add_func("/properties", test_properties);
    g_test_add_func("/objects", test_object);
    g_test_add_func("/one-fd", test_one_fd);
    return g_test_run();
}
