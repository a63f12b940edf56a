/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Facts, numbers, properties, descriptions of objects, and messages with a descriptor. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/json.h>
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

static void test_nest(void)
{
    struct facts *f = facts_new();
    g_autofree char *text = NULL;

    facts_nest(f, "net a");
    fact_int(f, "link", 1);
    fact_group(f, "sent");
    fact_int(f, "frames", 2);
    fact_group(f, NULL);
    fact_int(f, "errors", 3);
    fact_group(f, "left open");
    facts_nest(f, "b");
    fact_bool(f, "on", false);
    facts_nest(f, NULL);
    fact_group(f, "c");
    fact_int(f, "d", 4);
    text = facts_to_json(f);
    g_assert_cmpstr(text, ==,
                    "{\"net a\": {\"link\": 1, \"sent frames\": 2, \"errors\": 3}, "
                    "\"b\": {\"on\": false}, \"c\": {\"d\": 4}}");
    g_assert_cmpstr(facts_find(f, "net a", "sent frames"), ==, "2");
    facts_free(f);
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

/* ---- JSON ---- */

static char *again(const char *text, bool pretty)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(JsonNode) node = json_from_string(text, &err);

    g_assert_no_error(err);
    return json_to_string(node, pretty);
}

static void test_json_text(void)
{
    static const char *const same[] = {"{}",
                                       "[]",
                                       "null",
                                       "true",
                                       "-7",
                                       "9223372036854775807",
                                       "[1,[2,{\"a\":[]}],\"\"]",
                                       "{\"z\":false,\"a\":null,\"\":1}",
                                       "\"\\\"\\\\\\b\\f\\n\\r\\t\\u001f\\u007f/\""};
    static const char *const other[][2] = {{" [ 1 , 2 ] \n", "[1,2]"},
                                           {"\"\\u00e4\\ud83d\\ude00\\/\"", "\"ä😀/\""},
                                           {"{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}"},
                                           {"[1.5,-2e3,1e0]", "[1.5,-2000,1]"}};
    g_autofree char *pretty = again("{\"a\":[1,{}],\"b\":\"c\"}", true);

    for (unsigned i = 0; i < G_N_ELEMENTS(same); i++) {
        g_autofree char *text = again(same[i], false);
        g_assert_cmpstr(text, ==, same[i]);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(other); i++) {
        g_autofree char *text = again(other[i][0], false);
        g_assert_cmpstr(text, ==, other[i][1]);
    }
    g_assert_cmpstr(pretty, ==, "{\n  \"a\" : [\n    1,\n    {}\n  ],\n  \"b\" : \"c\"\n}");
}

static void test_json_wrong(void)
{
    static const char *const texts[] = {"",          "{",           "[1,]",        "{\"a\"}",
                                        "{\"a\":}",  "{a:1}",       "[1 2]",       "01",
                                        "1.",        ".5",          "1e",          "+1",
                                        "'a'",       "\"a",         "\"\n\"",      "\"\\x\"",
                                        "\"\\u12\"", "\"\\u0000\"", "\"\\ud800\"", "\"\\udc00\"",
                                        "\"\xff\"",  "1 1",         "truefoo",     "nul",
                                        "[}",        "{]",          "-",           "{\"a\":1,}"};

    for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) err = NULL;

        g_assert_null(json_from_string(texts[i], &err));
        g_assert_error(err, XENDM_ERROR, EINVAL);
    }
}

/* Numbers that an int64 cannot hold; members found one by one and by the index. */
static void test_json_many(void)
{
    g_autoptr(GString) text = g_string_new("{\"large\":9223372036854775808");
    g_autoptr(JsonNode) node = NULL;
    JsonObject *object;

    for (int i = 0; i < 5000; i++) {
        g_string_append_printf(text, ",\"%d\":%d", i % 2500, i);
    }
    g_string_append_c(text, '}');
    node = json_from_string(text->str, NULL);
    object = json_node_get_object(node);
    g_assert_cmpuint(json_object_get_size(object), ==, 2501);
    g_assert_cmpint(json_object_get_int_member(object, "7"), ==, 2507);
    g_assert_false(json_object_has_member(object, "2500"));
    g_assert_cmpint(json_node_get_value_type(json_object_get_member(object, "large")), ==,
                    JSON_TYPE_DOUBLE);
    g_assert_cmpint(json_object_get_int_member(object, "large"), ==, 0);
}

static void test_json_depth(void)
{
    g_autofree char *deep = g_strnfill(2 * JSON_DEPTH_MAX, '[');
    JsonNode *node;

    memset(deep + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    node = json_from_string(deep, NULL);
    g_assert_nonnull(node);
    json_node_unref(node);
    deep[JSON_DEPTH_MAX] = '[';
    g_assert_null(json_from_string(deep, NULL));
}

static void test_json_builder(void)
{
    g_autoptr(JsonBuilder) b = json_builder_new();
    g_autoptr(JsonNode) root = NULL, read = NULL;
    g_autofree char *text = NULL;

    json_builder_begin_object(b);
    json_builder_set_member_name(b, "list");
    json_builder_begin_array(b);
    json_builder_add_int_value(b, -1);
    json_builder_add_string_value(b, NULL);
    json_builder_add_value(b, json_from_string("{\"in\":true}", NULL));
    json_builder_end_array(b);
    json_builder_set_member_name(b, "text");
    json_builder_add_string_value(b, "a\"b");
    json_builder_end_object(b);
    root = json_builder_get_root(b);
    json_object_set_boolean_member(json_node_get_object(root), "on", false);
    json_object_set_string_member(json_node_get_object(root), "text", "c");
    text = json_to_string(root, false);
    g_assert_cmpstr(text, ==, "{\"list\":[-1,null,{\"in\":true}],\"text\":\"c\",\"on\":false}");
    read = json_from_string(text, NULL);
    g_assert_true(json_node_equal(root, read));
    json_object_set_string_member(json_node_get_object(read), "text", "d");
    g_assert_false(json_node_equal(root, read));
    g_assert_null(json_node_get_array(read));
    g_assert_null(json_object_get_string_member(json_node_get_object(read), "on"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/facts/lines", test_lines);
    g_test_add_func("/facts/json", test_json);
    g_test_add_func("/facts/nest", test_nest);
    g_test_add_func("/numbers", test_numbers);
    g_test_add_func("/json/text", test_json_text);
    g_test_add_func("/json/wrong", test_json_wrong);
    g_test_add_func("/json/many-members", test_json_many);
    g_test_add_func("/json/depth", test_json_depth);
    g_test_add_func("/json/builder", test_json_builder);
    g_test_add_func("/properties", test_properties);
    g_test_add_func("/objects", test_object);
    g_test_add_func("/one-fd", test_one_fd);
    return g_test_run();
}
