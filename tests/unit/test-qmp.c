/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP over real UNIX sockets, with a fake daemon and a fake machine behind it. The clients here do what libxl and xentop do
 * (toolstack-contract.md 2.1, 2.3), and what a hostile client would.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib/gstdio.h>
#include <json-glib/json-glib.h>

#include <xendm/block.h>
#include <xendm/chardev.h>
#include <xendm/log.h>

#include "dm/qmp.h"
#include "qmp-fakes.h"

/* ---- the daemon ---- */

struct fake_dm {
    struct machine_desc *desc;
    struct qmp_target target;
    struct qmp *qmp;
    char *dir, *path, *quiet_path;
    struct block *drives[2];
    struct chardev *serials[1];
    char *disk_file;

    enum qmp_status status;
    unsigned conts;
    struct qmp_call *stop;      /* not finished yet */
    bool stop_at_once;
    unsigned saves;
    bool save_live;
    int log_dirty;
    unsigned quits;
};

static enum qmp_status op_status(void *opaque)
{
    return ((struct fake_dm *)opaque)->status;
}

static int op_cont(void *opaque, GError **err)
{
    struct fake_dm *dm = opaque;

    dm->conts++;
    dm->status = QMP_STATUS_RUNNING;
    qmp_event(dm->qmp, "RESUME");
    return 0;
}

static void op_stop(void *opaque, struct qmp_call *call)
{
    struct fake_dm *dm = opaque;

    if (dm->stop_at_once) {
        dm->status = QMP_STATUS_PAUSED;
        qmp_call_finish(call, NULL);
    } else {
        g_assert_null(dm->stop);
        dm->stop = call;
    }
}

static void finish_stop(struct fake_dm *dm)
{
    struct qmp_call *call = dm->stop;

    g_assert_nonnull(call);
    dm->stop = NULL;
    dm->status = QMP_STATUS_PAUSED;
    qmp_call_finish(call, NULL);
}

static void op_save(void *opaque, int fd, bool live, struct qmp_call *call)
{
    struct fake_dm *dm = opaque;

    dm->saves++;
    dm->save_live = live;
    if (write(fd, "state", 5) == 5) {
        qmp_call_finish(call, NULL);
    } else {
        qmp_call_finish(call, g_error_new(g_quark_from_static_string("test"), 1, "write: %s", g_strerror(errno)));
    }
    close(fd);
}

static int op_log_dirty(void *opaque, bool enable, GError **err)
{
    ((struct fake_dm *)opaque)->log_dirty = enable;
    return 0;
}

static void op_quit(void *opaque)
{
    ((struct fake_dm *)opaque)->quits++;
}

static bool op_describe(void *opaque, const char *topic, void (*line)(void *to, const char *text), void *to)
{
    if (strcmp(topic, "mapcache") != 0) {
        return false;
    }
    line(to, "buckets 3");
    return true;
}

static const struct qmp_ops ops = {
    .status = op_status, .cont = op_cont, .stop = op_stop, .save = op_save, .set_log_dirty = op_log_dirty,
    .quit = op_quit, .describe = op_describe,
};

static struct fake_dm *dm_new(bool machine)
{
    struct fake_dm *dm = g_new0(struct fake_dm, 1);
    g_autofree char *chardev1 = NULL, *chardev2 = NULL, *drive = NULL;
    GError *err = NULL;
    bool done;

    dm->dir = g_dir_make_tmp("xendm-qmp-XXXXXX", &err);
    g_assert_no_error(err);
    dm->path = g_strdup_printf("%s/qmp", dm->dir);
    dm->quiet_path = g_strdup_printf("%s/stat", dm->dir);
    dm->disk_file = g_strdup_printf("%s/disk", dm->dir);
    g_assert_true(g_file_set_contents(dm->disk_file, "0123456789", 10, NULL));
    chardev1 = g_strdup_printf("socket,id=libxl-cmd,path=%s,server=on,wait=off", dm->path);
    chardev2 = g_strdup_printf("socket,id=libxenstat-cmd,path=%s,server=on,wait=off", dm->quiet_path);
    drive = g_strdup_printf("file=%s,if=ide,index=0,media=disk,format=raw,cache=writeback", dm->disk_file);
    char *const argv[] = {
        "xendm", "-xen-domid", "7", "-machine", machine ? "xenfv" : "none", "-m", "64", "-name", "g\xff,1", "-chardev",
        chardev1, "-mon", "chardev=libxl-cmd,mode=control", "-chardev", chardev2, "-mon",
        "chardev=libxenstat-cmd,mode=control", "-smp", "2,maxcpus=4", "-serial", "null", "-vnc", "127.0.0.1:0,to=99",
        "-drive", drive, "-drive", "if=none,readonly=on,id=ide-5632", "-device",
        "ide-cd,id=ide-5632,drive=ide-5632,bus=ide.1,unit=0",
    };
    dm->desc = machine_desc_parse(G_N_ELEMENTS(argv), (char **)argv, &done, &err);
    g_assert_no_error(err);
    dm->target = (struct qmp_target){.desc = dm->desc, .ops = &ops, .opaque = dm};
    dm->qmp = qmp_new(&dm->target);
    for (guint i = 0; i < dm->desc->monitors->len; i++) {
        g_assert_cmpint(qmp_listen(dm->qmp, g_ptr_array_index(dm->desc->monitors, i), &err), ==, 0);
        g_assert_no_error(err);
    }
    if (machine) {
        struct block_options disk = {.id = "ide0-hd0", .file = dm->disk_file, .format = "raw", .fd = -1};
        struct block_options cd = {.id = "ide-5632", .format = "raw", .read_only = true, .fd = -1};

        dm->drives[0] = block_open(&disk, &err);
        g_assert_no_error(err);
        dm->drives[1] = block_open(&cd, &err);
        g_assert_no_error(err);
        dm->serials[0] = chardev_open("serial0", "null", &err);
        g_assert_no_error(err);
        dm->target.machine = fake_qmp_machine();
        dm->target.drives = dm->drives;
        dm->target.serials = dm->serials;
    }
    return dm;
}

static void dm_free(struct fake_dm *dm)
{
    qmp_free(dm->qmp);
    g_assert_false(g_file_test(dm->path, G_FILE_TEST_EXISTS));
    for (int i = 0; i < 2; i++) {
        if (dm->drives[i]) {
            block_close(dm->drives[i]);
        }
    }
    if (dm->serials[0]) {
        chardev_close(dm->serials[0]);
    }
    machine_desc_free(dm->desc);
    g_unlink(dm->disk_file);
    g_rmdir(dm->dir);
    g_free(dm->disk_file);
    g_free(dm->dir);
    g_free(dm->path);
    g_free(dm->quiet_path);
    g_free(dm);
}

/* ---- a client ---- */

struct client {
    int fd;
    GString *in;
};

static struct client *client_open(const char *path)
{
    struct client *c = g_new0(struct client, 1);
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    g_assert_cmpint(connect(c->fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    c->in = g_string_new(NULL);
    return c;
}

static void client_close(struct client *c)
{
    close(c->fd);
    g_string_free(c->in, TRUE);
    g_free(c);
}

/* Lets the server work until it has nothing to do. */
static void settle(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

static void put(struct client *c, const void *data, size_t len)
{
    const char *p = data;
    gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

    while (len) {
        ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);

        if (n > 0) {
            p += n;
            len -= (size_t)n;
        } else {
            g_assert_cmpint(errno, ==, EAGAIN);
            g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        }
        g_main_context_iteration(NULL, FALSE);
    }
}

static void say(struct client *c, const char *text)
{
    put(c, text, strlen(text));
}

/* Reads what is there; false at the end of the stream. */
static bool pull(struct client *c)
{
    char buf[65536];
    ssize_t n = recv(c->fd, buf, sizeof(buf), 0);

    if (n > 0) {
        g_string_append_len(c->in, buf, n);
    }
    return n > 0 || (n < 0 && errno == EAGAIN);
}

/* The next line; it must end in CR LF and have no other line end. NULL when the server hung up. */
static char *get_line(struct client *c)
{
    gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    char *end, *line;
    bool open = true;

    while (!(end = strchr(c->in->str, '\n')) && open) {
        g_main_context_iteration(NULL, FALSE);
        open = pull(c);
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    }
    if (!end) {
        g_assert_cmpuint(c->in->len, ==, 0);
        return NULL;
    }
    g_assert_true(end > c->in->str && end[-1] == '\r');
    line = g_strndup(c->in->str, end - 1 - c->in->str);
    g_assert_null(strchr(line, '\r'));
    g_string_erase(c->in, 0, end + 1 - c->in->str);
    return line;
}

static JsonNode *get(struct client *c)
{
    g_autofree char *line = get_line(c);
    GError *err = NULL;
    JsonNode *node;

    g_assert_nonnull(line);
    node = json_from_string(line, &err);
    g_assert_no_error(err);
    g_assert_true(JSON_NODE_HOLDS_OBJECT(node));
    return node;
}

/* The value at a path like "return/status" or "return/0/id"; NULL if there is none. */
static JsonNode *at(JsonNode *node, const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);

    for (char **part = parts; *part && node; part++) {
        if (JSON_NODE_HOLDS_OBJECT(node)) {
            node = json_object_get_member(json_node_get_object(node), *part);
        } else if (JSON_NODE_HOLDS_ARRAY(node)) {
            guint64 i = g_ascii_strtoull(*part, NULL, 10);
            JsonArray *array = json_node_get_array(node);

            node = i < json_array_get_length(array) ? json_array_get_element(array, (guint)i) : NULL;
        } else {
            node = NULL;
        }
    }
    return node;
}

static const char *text_at(JsonNode *node, const char *path)
{
    JsonNode *found = at(node, path);

    return found ? json_node_get_string(found) : NULL;
}

static void assert_text(JsonNode *reply, const char *path, const char *want)
{
    g_assert_cmpstr(text_at(reply, path), ==, want);
}

static JsonNode *ask(struct client *c, const char *command)
{
    say(c, command);
    return get(c);
}

static void assert_ok(struct client *c, const char *command)
{
    g_autoptr(JsonNode) reply = ask(c, command);

    if (!at(reply, "return")) {
        g_autofree char *text = json_to_string(reply, FALSE);
        g_test_message("%s: %s", command, text);
    }
    g_assert_nonnull(at(reply, "return"));
}

static void assert_error(struct client *c, const char *command, const char *class, const char *part_of_desc)
{
    g_autoptr(JsonNode) reply = ask(c, command);

    assert_text(reply, "error/class", class);
    g_assert_nonnull(text_at(reply, "error/desc"));
    if (!strstr(text_at(reply, "error/desc"), part_of_desc)) {
        g_test_message("%s: %s", command, text_at(reply, "error/desc"));
        g_test_fail();
    }
}

static void assert_int(JsonNode *reply, const char *path, gint64 want)
{
    JsonNode *found = at(reply, path);

    g_assert_nonnull(found);
    g_assert_cmpint(json_node_get_int(found), ==, want);
}

/* Reply of human-monitor-command. The caller frees. */
static char *human(struct client *c, const char *line)
{
    g_autofree char *command = g_strdup_printf(
        "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"%s\"}}", line);
    g_autoptr(JsonNode) reply = ask(c, command);

    g_assert_nonnull(text_at(reply, "return"));
    return g_strdup(text_at(reply, "return"));
}

static void assert_human(struct client *c, const char *line, const char *part)
{
    g_autofree char *text = human(c, line);

    if (!strstr(text, part)) {
        g_test_message("%s: %s", line, text);
        g_test_fail();
    }
}

/* Connects and negotiates. */
static struct client *client_new(const char *path)
{
    struct client *c = client_open(path);
    g_autoptr(JsonNode) greeting = get(c);

    g_assert_nonnull(at(greeting, "QMP/version/qemu/major"));
    assert_ok(c, "{\"execute\":\"qmp_capabilities\",\"id\":1}\r\n");
    return c;
}

static void assert_silence(struct client *c)
{
    settle();
    pull(c);
    g_assert_cmpstr(c->in->str, ==, "");
}

static unsigned open_fds(void)
{
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
    unsigned n = 0;

    while (g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    return n;
}

/* ---- transport ---- */

static void test_greeting(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_open(dm->path);
    g_autoptr(JsonNode) greeting = get(c);

    assert_int(greeting, "QMP/version/qemu/major", 7);
    assert_int(greeting, "QMP/version/qemu/minor", 2);
    assert_int(greeting, "QMP/version/qemu/micro", 0);
    g_assert_true(g_str_has_prefix(text_at(greeting, "QMP/version/package"), "xendm "));
    g_assert_true(JSON_NODE_HOLDS_ARRAY(at(greeting, "QMP/capabilities")));
    assert_error(c, "{\"execute\":\"query-status\"}", "CommandNotFound", "qmp_capabilities");
    assert_ok(c, "{\"execute\":\"qmp_capabilities\"}");
    assert_error(c, "{\"execute\":\"qmp_capabilities\"}", "CommandNotFound", "qmp_capabilities");
    assert_ok(c, "{\"execute\":\"query-status\"}");
    assert_silence(c);
    client_close(c);
    dm_free(dm);
}

static void test_byte_at_a_time(void)
{
    static const char command[] = " {\"execute\" : \"query-name\", \"arguments\": {}, \"id\": 2020372736}\r\n";
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);
    g_autoptr(JsonNode) reply = NULL;

    for (const char *p = command; *p; p++) {
        if (p < command + sizeof(command) - 3) {
            assert_silence(c);
        }
        put(c, p, 1);
    }
    reply = get(c);
    assert_int(reply, "id", 2020372736);
    g_assert_nonnull(text_at(reply, "return/name"));
    g_assert_true(g_utf8_validate(text_at(reply, "return/name"), -1, NULL));
    assert_silence(c);
    client_close(c);
    dm_free(dm);
}

static void test_several_in_one_write(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);

    say(c, "{\"execute\":\"query-status\",\"id\":1}{\"execute\":\"nonsense\",\"id\":2}\n\n"
           "{\"execute\":\"query-version\",\"id\":3}   {\"execute\":\"query-name\",\"id\":4}");
    for (int i = 1; i <= 4; i++) {
        g_autoptr(JsonNode) reply = get(c);

        assert_int(reply, "id", i);
        g_assert_true((at(reply, "error") != NULL) == (i == 2));
    }
    assert_silence(c);
    client_close(c);
    dm_free(dm);
}

static void test_ids(void)
{
    static const char *const ids[] = {
        "0", "-5", "9223372036854775807", "\"a}{\\\"\\\\\"", "{\"x\":[1,{}]}", "[[],\"]\"]", "null", "true", "1.5",
    };
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);
    g_autoptr(JsonNode) without = ask(c, "{\"execute\":\"query-status\"}");

    g_assert_null(at(without, "id"));
    for (size_t i = 0; i < G_N_ELEMENTS(ids); i++) {
        for (int good = 0; good < 2; good++) {
            g_autofree char *command = g_strdup_printf("{\"id\":%s,\"execute\":\"%s\"}", ids[i],
                                                       good ? "query-status" : "query-nothing");
            g_autoptr(JsonNode) want = json_from_string(ids[i], NULL);
            g_autoptr(JsonNode) reply = ask(c, command);

            g_assert_nonnull(at(reply, "id"));
            g_assert_true(json_node_equal(at(reply, "id"), want));
        }
    }
    client_close(c);
    dm_free(dm);
}

static void test_strings_with_braces(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);

    assert_error(c, "{\"execute\":\"}}]\\\"{\\\\\"}", "CommandNotFound", "}}]\"{\\");
    assert_error(c, "{\"execute\":\"a\\u0000b\"}", "CommandNotFound", "a");
    assert_ok(c, "{\"execute\":\"query-status\"}");
    client_close(c);
    dm_free(dm);
}

static void test_garbage(void)
{
    static const char *const bad[] = {
        "hello\n", "}\n", "]\n", "{]\n", "[}\n", "{\"execute\":\"query-status\"]\n", "\"x\"\n", "12\n", "[1,2]\n", "[]\n", "{}\n",
        "{\"execute\":1}\n", "{\"execute\":{}}\n", "{\"execute\":\"query-status\",\"arguments\":[]}\n",
        "{\"execute\":\"query-status\",\"arguments\":null}\n", "{\"exec-oob\":\"query-status\"}\n",
        "{\"execute\":\"query-status\",\"extra\":1}\n", "{,}\n", "{\"execute\" \"query-status\"}\n", "{\"\xff\":1}\n",
        "{\"execute\":\"\xc3\x28\"}\n", "{execute:query-status}\n", "\xff\n", "{\"execute\":\"query-status\",}\n",
        "{\"a\":\"\\ud800\"}\n", "{\"a\":1e99999}\n", "/* { */ x\n", "{ /* } \n",
    };
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(JsonNode) reply = ask(c, bad[i]);

        assert_text(reply, "error/class", "GenericError");
        /* Back in step after the line. */
        say(c, "\n");
        assert_ok(c, "{\"execute\":\"query-status\"}");
        assert_silence(c);
    }
    put(c, "\0\0\n", 3);
    {
        g_autoptr(JsonNode) reply = get(c);
        assert_text(reply, "error/class", "GenericError");
    }
    assert_ok(c, "{\"execute\":\"query-status\"}");
    client_close(c);
    dm_free(dm);
}

static void test_deep(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);
    GString *deep = g_string_new("{\"execute\":\"query-status\",\"id\":");

    for (int i = 0; i < 5000; i++) {
        g_string_append(deep, "[");
    }
    for (int i = 0; i < 5000; i++) {
        g_string_append(deep, "]");
    }
    g_string_append(deep, "}\n");
    assert_error(c, deep->str, "GenericError", "deep");
    g_string_free(deep, TRUE);
    assert_ok(c, "{\"execute\":\"query-status\",\"id\":[[[[[[[[{}]]]]]]]]}");
    assert_silence(c);
    client_close(c);
    dm_free(dm);
}

/* An error and the end of the connection, whatever the endless thing is; others are served all the while. */
static void endless(const char *begin, const char *unit)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path), *other = client_new(dm->path);
    gsize sent = 0;
    bool open = true;

    say(c, begin);
    while (open && sent < 10 << 20) {
        ssize_t n = send(c->fd, unit, strlen(unit), MSG_NOSIGNAL);

        if (n > 0) {
            sent += (gsize)n;
        }
        g_main_context_iteration(NULL, FALSE);
        open = n > 0 || errno == EAGAIN;
    }
    g_assert_false(open);
    g_assert_cmpuint(sent, <, 10 << 20);
    {
        g_autoptr(JsonNode) reply = get(c);
        assert_text(reply, "error/class", "GenericError");
    }
    assert_ok(other, "{\"execute\":\"query-status\"}");
    client_close(c);
    client_close(other);
    dm_free(dm);
}

static void test_endless_command(void)
{
    endless("{\"execute\":\"", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
}

static void test_endless_garbage(void)
{
    endless("x", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[");
}

/* xentop: no newline, no id, each answer one document (contract 2.3), and no event in between. */
static void test_libxenstat(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_open(dm->quiet_path);
    GError *err = NULL;

    say(c, "{ \"execute\": \"qmp_capabilities\" }");
    settle();
    g_assert_true(pull(c));
    g_assert_cmpuint(c->in->len, >, 0);
    g_string_truncate(c->in, 0);
    for (int i = 0; i < 3; i++) {
        g_autoptr(JsonParser) parser = json_parser_new();

        say(c, i == 1 ? "{ \"execute\": \"query-block\" }" : "{ \"execute\": \"query-blockstats\" }");
        qmp_event(dm->qmp, "STOP");
        qmp_event_tray_moved(dm->qmp, "ide-5632", true);
        settle();
        g_assert_true(pull(c));
        g_assert_true(json_parser_load_from_data(parser, c->in->str, (gssize)c->in->len, &err));
        g_assert_no_error(err);
        if (i == 1) {
            assert_text(json_parser_get_root(parser), "return/0/device", "ide0-hd0");
            assert_text(json_parser_get_root(parser), "return/0/inserted/file", dm->disk_file);
        } else {
            assert_text(json_parser_get_root(parser), "return/0/device", "ide0-hd0");
            assert_int(json_parser_get_root(parser), "return/0/stats/rd_bytes", 0);
            assert_int(json_parser_get_root(parser), "return/0/stats/wr_operations", 0);
        }
        g_string_truncate(c->in, 0);
    }
    client_close(c);
    dm_free(dm);
}

static void test_events(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path), *mute = client_open(dm->path);
    g_autoptr(JsonNode) greeting = get(mute), resume = NULL, reply = NULL, error = NULL;
    unsigned trays = 0;

    say(c, "{\"execute\":\"cont\"}");
    resume = get(c);
    reply = get(c);
    assert_text(resume, "event", "RESUME");
    g_assert_nonnull(at(resume, "timestamp/seconds"));
    g_assert_nonnull(at(reply, "return"));
    qmp_event_block_error(dm->qmp, "ide0-hd0", "flush", -ENOSPC);
    error = get(c);
    assert_text(error, "event", "BLOCK_IO_ERROR");
    assert_text(error, "data/device", "ide0-hd0");
    assert_text(error, "data/operation", "write");
    g_assert_true(json_node_get_boolean(at(error, "data/nospace")));
    /* A guest may play with its tray as it likes. */
    for (int i = 0; i < 10000; i++) {
        qmp_event_tray_moved(dm->qmp, "ide-5632", i & 1);
    }
    say(c, "{\"execute\":\"query-status\",\"id\":99}");
    for (;;) {
        g_autoptr(JsonNode) message = get(c);

        if (at(message, "return")) {
            break;
        }
        assert_text(message, "event", "DEVICE_TRAY_MOVED");
        trays++;
    }
    g_assert_cmpuint(trays, >=, 1);
    g_assert_cmpuint(trays, <, 1000);
    assert_silence(mute);
    client_close(mute);
    client_close(c);
    dm_free(dm);
}

/* Neither replies nor events of someone who does not read grow without bound, and others do not wait. */
static void test_slow_client(void)
{
    static const char command[] = "{\"execute\":\"query-commands\"}";
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path), *other = client_new(dm->path);
    unsigned sent = 0, received = 0;
    size_t done = 0;

    /* Until the server takes no more. */
    for (int idle = 0; idle < 50;) {
        ssize_t n = send(c->fd, command + done, sizeof(command) - 1 - done, MSG_NOSIGNAL);

        if (n > 0) {
            done += (size_t)n;
            idle = 0;
        } else {
            g_assert_cmpint(errno, ==, EAGAIN);
            idle++;
        }
        if (done == sizeof(command) - 1) {
            sent++;
            done = 0;
            g_assert_cmpuint(sent, <, 1000000);
        }
        g_main_context_iteration(NULL, FALSE);
    }
    for (int i = 0; i < 20000; i++) {
        qmp_event(dm->qmp, "STOP");
        pull(other);
        g_string_truncate(other->in, 0);
    }
    settle();
    pull(other);
    g_string_truncate(other->in, 0);
    assert_ok(other, "{\"execute\":\"query-status\"}");
    /* Nothing of what was answered is lost. */
    while (received < sent) {
        g_autoptr(JsonNode) message = get(c);

        received += at(message, "return") != NULL;
    }
    client_close(c);
    client_close(other);
    dm_free(dm);
}

static void test_no_hangup_after_reply(void)
{
    static const char *const commands[] = {
        "{\"execute\":\"query-status\"}", "{\"execute\":\"nonsense\"}", "{\"execute\":\"quit\"}",
    };
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};

        say(c, commands[i]);
        settle();
        g_assert_cmpint(poll(&p, 1, 0), ==, 1);
        g_assert_cmpint(p.revents, ==, POLLIN);
        json_node_unref(get(c));
        g_assert_cmpint(poll(&p, 1, 0), ==, 0);
    }
    g_assert_cmpuint(dm->quits, ==, 1);
    client_close(c);
    dm_free(dm);
}

/* The client shuts its sending side and still wants its answer. */
static void test_half_closed(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);
    g_autoptr(JsonNode) reply = NULL;

    say(c, "{\"execute\":\"stop\",\"id\":3}");
    shutdown(c->fd, SHUT_WR);
    settle();
    finish_stop(dm);
    reply = get(c);
    assert_int(reply, "id", 3);
    g_assert_null(get_line(c));
    client_close(c);
    dm_free(dm);
}

static void test_many_clients(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c[30];
    unsigned before = open_fds();

    for (size_t i = 0; i < G_N_ELEMENTS(c); i++) {
        c[i] = client_open(dm->path);
        settle();
    }
    for (size_t i = 0; i < G_N_ELEMENTS(c); i++) {
        g_autoptr(JsonNode) greeting = get(c[i]);   /* those who wait come when the first ones go */

        assert_ok(c[i], "{\"execute\":\"qmp_capabilities\"}");
        assert_ok(c[i], "{\"execute\":\"query-status\"}");
        client_close(c[i]);
        settle();
    }
    for (int i = 0; i < 200; i++) {
        client_close(client_new(dm->path));
    }
    settle();
    g_assert_cmpuint(open_fds(), ==, before);
    dm_free(dm);
}

static void test_passed_socket(void)
{
    struct fake_dm *dm = dm_new(false);
    g_autofree char *path = g_strdup_printf("%s/own", dm->dir);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct monitor_desc monitor = {.chardev_id = "libxl-cmd"};
    struct client *early;
    GError *err = NULL;

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    monitor.fd = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(bind(monitor.fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(qmp_listen(dm->qmp, &monitor, &err), ==, -EBADF);
    g_clear_error(&err);
    g_assert_cmpint(listen(monitor.fd, 1), ==, 0);
    /* libxl's query-status is in the socket before we are there (contract 1.2, row 12). */
    early = client_open(path);
    g_assert_cmpint(send(early->fd, "{\"execute\":\"qmp_capabilities\"}", 30, 0), ==, 30);
    g_assert_cmpint(qmp_listen(dm->qmp, &monitor, &err), ==, 0);
    json_node_unref(get(early));
    json_node_unref(get(early));
    client_close(early);
    g_unlink(path);
    dm_free(dm);
}

static void test_bad_sockets(void)
{
    struct fake_dm *dm = dm_new(false);
    g_autofree char *longer = g_strnfill(200, 'a');
    GError *err = NULL;

    g_assert_cmpint(qmp_listen(dm->qmp, &(struct monitor_desc){"a", longer, -1}, &err), ==, -ENAMETOOLONG);
    g_clear_error(&err);
    g_assert_cmpint(qmp_listen(dm->qmp, &(struct monitor_desc){"a", "/nowhere/at/all", -1}, &err), ==, -ENOENT);
    g_clear_error(&err);
    g_assert_cmpint(qmp_listen(dm->qmp, &(struct monitor_desc){"a", NULL, 987654}, &err), ==, -EBADF);
    g_clear_error(&err);
    dm_free(dm);
}

/* ---- commands that take their time ---- */

static void test_asynchronous_stop(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path), *other = client_new(dm->quiet_path);
    g_autoptr(JsonNode) r1 = NULL, r2 = NULL, r3 = NULL;

    dm->status = QMP_STATUS_RUNNING;
    say(c, "{\"execute\":\"stop\",\"id\":1}{\"execute\":\"query-status\",\"id\":2}");
    say(other, "{\"execute\":\"query-status\",\"id\":10}");
    settle();
    assert_silence(c);                          /* still draining, and the next command keeps its place */
    r1 = get(other);
    assert_text(r1, "return/status", "running");    /* queries elsewhere do not wait */
    say(other, "{\"execute\":\"cont\",\"id\":11}{\"execute\":\"query-status\",\"id\":12}");
    assert_silence(other);                      /* but this does */
    g_assert_cmpuint(dm->conts, ==, 0);
    finish_stop(dm);
    g_assert_cmpuint(dm->conts, ==, 1);
    r2 = get(c);
    assert_int(r2, "id", 1);
    r3 = get(other);
    assert_int(r3, "id", 11);
    client_close(c);
    client_close(other);
    dm_free(dm);
}

static void test_client_vanishes(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path), *waiting = client_new(dm->path), *witness = client_new(dm->quiet_path);

    /* In the middle of a command. */
    struct client *partial = client_new(dm->path);
    say(partial, "{\"execute\":\"query-st");
    client_close(partial);
    settle();

    /* While its stop drains, and while it waits for its turn. */
    say(c, "{\"execute\":\"stop\"}");
    settle();
    say(waiting, "{\"execute\":\"cont\"}");
    settle();
    client_close(waiting);
    client_close(c);
    settle();
    finish_stop(dm);
    g_assert_cmpuint(dm->conts, ==, 0);         /* nobody is there who wants it */
    assert_ok(witness, "{\"execute\":\"cont\"}");

    /* Before it reads the reply. */
    for (int i = 0; i < 50; i++) {
        c = client_new(dm->path);
        say(c, "{\"execute\":\"query-commands\"}");
        client_close(c);
    }
    settle();
    assert_ok(witness, "{\"execute\":\"query-status\"}");
    client_close(witness);
    dm_free(dm);
}

static void test_end_with_calls_under_way(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path), *waiting = client_new(dm->path);
    struct qmp_call *call;

    say(c, "{\"execute\":\"stop\"}");
    settle();
    say(waiting, "{\"execute\":\"cont\"}");
    settle();
    call = dm->stop;
    g_assert_nonnull(call);
    dm_free(dm);
    qmp_call_finish(call, NULL);                /* whoever has it may still end it */
    client_close(c);
    client_close(waiting);
}

/* ---- file descriptors ---- */

/* As libxl: the descriptors ride on the first byte, the rest follows. */
static void say_with_fds(struct client *c, const char *text, const int *fds, unsigned nfds)
{
    char control[CMSG_SPACE(32 * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec iov = {.iov_base = (void *)text, .iov_len = 1};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(nfds * sizeof(int)),
    };
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(nfds * sizeof(int));
    memcpy(CMSG_DATA(cmsg), fds, nfds * sizeof(int));
    g_assert_cmpint(sendmsg(c->fd, &msg, MSG_NOSIGNAL), ==, 1);
    settle();
    say(c, text + 1);
}

static int open_file(const char *name, int flags)
{
    int fd = open(name, flags | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static gint64 add_fd(struct client *c, int fd, const char *command)
{
    g_autoptr(JsonNode) reply = NULL;

    say_with_fds(c, command, &fd, 1);
    close(fd);
    reply = get(c);
    g_assert_nonnull(at(reply, "return/fd"));
    return json_node_get_int(at(reply, "return/fdset-id"));
}

static void test_save(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);
    g_autofree char *file = g_strdup_printf("%s/save", dm->dir), *text = NULL;
    unsigned before = open_fds();

    for (int i = 0; i < 100; i++) {
        gint64 id = add_fd(c, open_file(file, O_WRONLY | O_CREAT), "{\"execute\":\"add-fd\",\"id\":5}\r\n");
        g_autofree char *command = g_strdup_printf("{\"execute\":\"xen-save-devices-state\",\"id\":6,\"arguments\":"
                                                   "{\"live\":%s,\"filename\":\"/dev/fdset/%" G_GINT64_FORMAT "\"}}\r\n",
                                                   i & 1 ? "true" : "false", id);

        assert_ok(c, command);
        g_assert_true(dm->save_live == (i & 1));
        assert_error(c, command, "GenericError", "/dev/fdset/");        /* used up */
    }
    g_assert_cmpuint(dm->saves, ==, 100);
    g_assert_cmpuint(open_fds(), ==, before);
    g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "state");

    /* Open the wrong way: refused, and not kept either. */
    add_fd(c, open_file(file, O_RDONLY), "{\"execute\":\"add-fd\"}");
    assert_error(c, "{\"execute\":\"xen-save-devices-state\",\"arguments\":{\"filename\":\"/dev/fdset/0\"}}", "GenericError",
                 "writing");
    g_assert_cmpuint(open_fds(), ==, before);
    assert_error(c, "{\"execute\":\"xen-save-devices-state\",\"arguments\":{\"filename\":\"/tmp/x\"}}", "GenericError", "/tmp/x");
    assert_error(c, "{\"execute\":\"xen-save-devices-state\",\"arguments\":{\"filename\":\"/dev/fdset/x\"}}", "GenericError",
                 "/dev/fdset/x");
    g_unlink(file);
    client_close(c);
    dm_free(dm);
}

static void test_fdsets(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path), *other;
    unsigned before = open_fds();
    g_autoptr(JsonNode) list = NULL;
    int two[12];
    int fd;

    assert_error(c, "{\"execute\":\"add-fd\"}", "GenericError", "descriptor");
    fd = open_file("/dev/null", O_RDONLY);
    g_assert_cmpint(add_fd(c, fd, "{\"execute\":\"add-fd\",\"arguments\":{\"opaque\":\"raw:/x\"}}"), ==, 0);
    fd = open_file("/dev/null", O_RDONLY);
    g_assert_cmpint(add_fd(c, fd, "{\"execute\":\"add-fd\"}"), ==, 1);
    fd = open_file("/dev/null", O_RDONLY);
    g_assert_cmpint(add_fd(c, fd, "{\"execute\":\"add-fd\",\"arguments\":{\"fdset-id\":1}}"), ==, 1);
    list = ask(c, "{\"execute\":\"query-fdsets\"}");
    assert_int(list, "return/0/fdset-id", 0);
    assert_text(list, "return/0/fds/0/opaque", "raw:/x");
    g_assert_nonnull(at(list, "return/1/fds/1/fd"));
    assert_ok(c, "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":1}}");
    assert_error(c, "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":1}}", "GenericError", "remove-fd");
    assert_error(c, "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":0,\"fd\":-1}}", "GenericError", "remove-fd");
    g_assert_cmpuint(open_fds(), ==, before + 1);

    /* Bounded, and gone with the last client. */
    for (int i = 0; i < 200; i++) {
        fd = open_file("/dev/null", O_RDONLY);
        say_with_fds(c, "{\"execute\":\"add-fd\"}", &fd, 1);
        close(fd);
        json_node_unref(get(c));
    }
    g_assert_cmpuint(open_fds(), <=, before + 64);
    client_close(c);
    settle();
    g_assert_cmpuint(open_fds(), ==, before - 2);       /* both ends of the connection */

    /* Passed and never named: gone with their client. More than anyone needs: the client goes. */
    c = client_new(dm->path);
    other = client_new(dm->path);
    before = open_fds();
    for (unsigned i = 0; i < G_N_ELEMENTS(two); i++) {
        two[i] = open_file("/dev/null", O_RDONLY);
    }
    say_with_fds(c, "{\"execute\":\"query-status\"}", two, 3);
    json_node_unref(get(c));
    say_with_fds(other, "{", two, 12);
    {
        g_autoptr(JsonNode) reply = get(other);
        assert_text(reply, "error/class", "GenericError");
        g_assert_null(get_line(other));
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(two); i++) {
        close(two[i]);
    }
    client_close(c);
    client_close(other);
    settle();
    g_assert_cmpuint(open_fds(), ==, before - 4);
    dm_free(dm);
}

/* ---- commands ---- */

static void test_errors(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);

    assert_error(c, "{\"execute\":\"no-such-command\"}", "CommandNotFound", "no-such-command");
    assert_error(c, "{\"execute\":\"device_del\",\"arguments\":{\"id\":\"x\"}}", "CommandNotFound", "device_del");
    assert_error(c, "{\"execute\":\"query-status\",\"arguments\":{\"x\":1}}", "GenericError", "'x'");
    assert_error(c, "{\"execute\":\"xen-set-global-dirty-log\"}", "GenericError", "'enable' is missing");
    assert_error(c, "{\"execute\":\"xen-set-global-dirty-log\",\"arguments\":{\"enable\":1}}", "GenericError",
                 "'enable' must be a boolean");
    assert_error(c, "{\"execute\":\"cpu-add\",\"arguments\":{\"id\":\"1\"}}", "GenericError", "'id' must be an integer");
    assert_error(c, "{\"execute\":\"cpu-add\",\"arguments\":{\"id\":1.5}}", "GenericError", "'id' must be an integer");
    assert_error(c, "{\"execute\":\"cpu-add\",\"arguments\":{\"id\":{}}}", "GenericError", "'id' must be an integer");
    assert_error(c, "{\"execute\":\"change-vnc-password\",\"arguments\":{\"password\":null}}", "GenericError",
                 "'password' must be a string");
    assert_error(c, "{\"execute\":\"eject\",\"arguments\":{\"id\":\"nothing\"}}", "DeviceNotFound", "nothing");
    assert_error(c, "{\"execute\":\"eject\"}", "GenericError", "'id'");
    client_close(c);
    dm_free(dm);
}

static void test_life(void)
{
    static const struct {
        enum qmp_status status;
        const char *name;
    } statuses[] = {
        {QMP_STATUS_PRELAUNCH, "prelaunch"}, {QMP_STATUS_INMIGRATE, "inmigrate"}, {QMP_STATUS_PAUSED, "paused"},
        {QMP_STATUS_RUNNING, "running"},     {QMP_STATUS_SUSPENDED, "suspended"}, {QMP_STATUS_SHUTDOWN, "shutdown"},
    };
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->quiet_path);

    for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++) {
        g_autoptr(JsonNode) reply = NULL;

        dm->status = statuses[i].status;
        reply = ask(c, "{\"execute\":\"query-status\"}");
        assert_text(reply, "return/status", statuses[i].name);
        g_assert_true(json_node_get_boolean(at(reply, "return/running")) == (dm->status == QMP_STATUS_RUNNING));
    }
    dm->stop_at_once = true;
    assert_ok(c, "{\"execute\":\"cont\"}");
    assert_ok(c, "{\"execute\":\"cont\"}");
    g_assert_cmpuint(dm->conts, ==, 2);
    assert_ok(c, "{\"execute\":\"stop\"}");
    g_assert_cmpint(dm->status, ==, QMP_STATUS_PAUSED);
    assert_ok(c, "{\"execute\":\"xen-set-global-dirty-log\",\"arguments\":{\"enable\":true}}");
    g_assert_cmpint(dm->log_dirty, ==, 1);
    assert_ok(c, "{\"execute\":\"xen-set-global-dirty-log\",\"arguments\":{\"enable\":false}}");
    g_assert_cmpint(dm->log_dirty, ==, 0);
    assert_ok(c, "{\"execute\":\"system_reset\"}");
    g_assert_cmpuint(fake_qmp.resets, ==, 1);
    assert_error(c, "{\"execute\":\"system_wakeup\"}", "GenericError", "not suspended");
    assert_error(c, "{\"execute\":\"system_powerdown\"}", "GenericError", "xl trigger");
    client_close(c);
    dm_free(dm);
}

static void test_queries(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);
    g_autoptr(JsonNode) chardev = ask(c, "{\"execute\":\"query-chardev\"}");
    g_autoptr(JsonNode) vnc = ask(c, "{\"execute\":\"query-vnc\"}");
    g_autoptr(JsonNode) version = ask(c, "{\"execute\":\"query-version\"}");
    g_autoptr(JsonNode) pci = ask(c, "{\"execute\":\"query-pci\"}");
    g_autoptr(JsonNode) options = ask(c, "{\"execute\":\"query-command-line-options\"}");
    JsonArray *all = json_node_get_array(at(options, "return"));
    bool chroot_found = false, user_found = false;

    assert_text(chardev, "return/0/label", "serial0");
    assert_text(chardev, "return/0/filename", "null");
    assert_text(chardev, "return/1/label", "libxl-cmd");
    g_assert_false(json_node_get_boolean(at(vnc, "return/enabled")));
    assert_ok(c, "{\"execute\":\"change-vnc-password\",\"arguments\":{\"password\":\"x\"}}");
    assert_int(version, "return/qemu/major", 7);
    assert_int(pci, "return/0/bus", 0);
    assert_int(pci, "return/0/devices/0/slot", 3);
    assert_int(pci, "return/0/devices/0/function", 1);
    assert_text(pci, "return/0/devices/0/qdev_id", "fake-pci");
    assert_int(pci, "return/0/devices/0/regions/0/address", 0xf0000000);
    g_assert_null(at(pci, "return/0/devices/1"));       /* the unplugged one is not shown */
    for (guint i = 0; i < json_array_get_length(all); i++) {
        JsonNode *option = json_array_get_element(all, i);

        if (strcmp(text_at(option, "option"), "run-with") == 0) {
            chroot_found = strcmp(text_at(option, "parameters/0/name"), "chroot") == 0;
            user_found = strcmp(text_at(option, "parameters/1/name"), "user") == 0;
        }
    }
    g_assert_true(chroot_found && user_found);
    client_close(c);
    dm_free(dm);
}

static void test_cpus(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);
    g_autoptr(JsonNode) fast = ask(c, "{\"execute\":\"query-cpus-fast\"}");
    g_autoptr(JsonNode) pluggable = ask(c, "{\"execute\":\"query-hotpluggable-cpus\"}");
    g_autofree char *add = NULL;

    assert_int(fast, "return/0/cpu-index", 0);
    assert_int(fast, "return/1/cpu-index", 1);
    g_assert_null(at(fast, "return/2"));
    add = g_strdup_printf("{\"execute\":\"device_add\",\"arguments\":{\"id\":\"cpu-2\",\"driver\":\"%s\",\"socket-id\":2,"
                          "\"core-id\":0,\"thread-id\":0}}", text_at(pluggable, "return/0/type"));
    assert_ok(c, add);
    g_assert_true(fake_qmp.vcpu_online[2]);
    assert_ok(c, "{\"execute\":\"cpu-add\",\"arguments\":{\"id\":3}}");
    g_assert_true(fake_qmp.vcpu_online[3]);
    assert_error(c, "{\"execute\":\"cpu-add\",\"arguments\":{\"id\":4}}", "GenericError", "4");
    assert_error(c, "{\"execute\":\"cpu-add\",\"arguments\":{\"id\":-1}}", "GenericError", "-1");
    assert_error(c, "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"usb-host\",\"bus\":\"x\"}}", "GenericError",
                 "usb-host");
    assert_error(c, "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"xen-vcpu\",\"socket-id\":\"1\"}}", "GenericError",
                 "'socket-id' must be an integer");
    assert_error(c, "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"xen-vcpu\",\"socket-id\":1,\"x\":2}}",
                 "GenericError", "'x'");
    client_close(c);
    dm_free(dm);
}

/* xl cd-insert, as libxl does it. */
static void test_cd(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);
    g_autofree char *iso = g_strdup_printf("%s/a,b.iso", dm->dir);
    g_autofree char *add = g_strdup_printf("{\"execute\":\"add-fd\",\"arguments\":{\"opaque\":\"raw:%s\"}}", iso);
    static const char *const change = "{\"execute\":\"blockdev-change-medium\",\"arguments\":{\"id\":\"ide-5632\","
                                      "\"filename\":\"/dev/fdset/0\",\"format\":\"raw\"}}";
    unsigned before;

    g_assert_true(g_file_set_contents(iso, "iso", 3, NULL));
    before = open_fds();
    for (int i = 0; i < 3; i++) {
        g_autoptr(JsonNode) full = NULL, empty = NULL;

        assert_ok(c, "{\"execute\":\"eject\",\"arguments\":{\"id\":\"ide-5632\"}}");
        g_assert_cmpint(add_fd(c, open_file(iso, O_RDONLY), add), ==, 0);
        assert_ok(c, change);
        full = ask(c, "{\"execute\":\"query-block\"}");
        assert_text(full, "return/1/device", "ide-5632");
        assert_text(full, "return/1/inserted/file", iso);
        g_assert_true(json_node_get_boolean(at(full, "return/1/inserted/ro")));
        assert_ok(c, "{\"execute\":\"eject\",\"arguments\":{\"device\":\"ide-5632\",\"force\":true}}");
        empty = ask(c, "{\"execute\":\"query-block\"}");
        g_assert_null(at(empty, "return/1/inserted"));
    }
    g_assert_cmpuint(open_fds(), ==, before);
    assert_error(c, change, "GenericError", "/dev/fdset/0");
    fake_qmp.tray_locked = true;
    assert_error(c, "{\"execute\":\"eject\",\"arguments\":{\"id\":\"ide-5632\"}}", "GenericError", "locked");
    g_assert_cmpint(add_fd(c, open_file(iso, O_RDONLY), add), ==, 0);
    assert_error(c, change, "GenericError", "locked");
    g_assert_cmpuint(open_fds(), ==, before);           /* not kept */
    fake_qmp.tray_locked = false;
    assert_error(c, "{\"execute\":\"eject\",\"arguments\":{\"id\":\"ide0-hd0\"}}", "GenericError", "ide0-hd0");
    assert_error(c, "{\"execute\":\"blockdev-change-medium\",\"arguments\":{\"id\":\"ide-5632\",\"filename\":\"/nowhere\"}}",
                 "GenericError", "nowhere");
    assert_error(c, "{\"execute\":\"blockdev-change-medium\",\"arguments\":{\"id\":\"ide-5632\",\"filename\":\"\"}}",
                 "GenericError", "filename");
    /* The guest unplugged its disk: it is no longer listed. */
    fake_qmp.disk_unplugged = true;
    {
        g_autoptr(JsonNode) rest = ask(c, "{\"execute\":\"query-block\"}");
        assert_text(rest, "return/0/device", "ide-5632");
        g_assert_null(at(rest, "return/1"));
    }
    fake_qmp.disk_unplugged = false;
    g_unlink(iso);
    client_close(c);
    dm_free(dm);
}

static void test_human(void)
{
    static const char *const infos[][2] = {
        {"info status", "VM status: running\r\n"}, {"info version", "xendm "}, {"  info   name \\t", "g"},
        {"info block", "ide0-hd0"}, {"info chardev", "serial0: filename=null"}, {"info mtree", "fake-region"},
        {"info pci", "00:03.1 5853:0001"}, {"info cpus", "vCPU 1: plugged"}, {"info irq", "ISA  1: low"},
        {"info devices", "fake-pci"}, {"info device fake-pci", "says this"}, {"info device nope", "Error: "},
        {"info device", "Error: "}, {"info recorder", "\r\n"}, {"info recorder 3", "\r\n"}, {"info recorder 0", "Error: "},
        {"info recorder x", "Error: "}, {"info log", "ide: info"}, {"info mapcache", "buckets 3\r\n"},
        {"info nonsense", "Error: "}, {"info registers", "xenctx 7"}, {"info", "info block"}, {"info help", "info block"},
        {"help", "screendump -- FILE"}, {"", ""}, {"nonsense \\\"a}", "Error: "}, {"log ide debug", ""}, {"info log", "ide: debug"},
        {"log ide", "Error: "}, {"log x debug", "Error: "}, {"log ide info", ""}, {"sendkey ctrl-alt-delete 100", ""},
        {"sendkey ctrl-nokey", "nokey"}, {"sendkey a x", "Error: "}, {"sendkey", "Error: "}, {"screendump", "Error: "},
        {"screendump /tmp/a b.png", ""}, {"cont", ""}, {"c", ""}, {"system_reset", ""},
    };
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->quiet_path);
    g_autoptr(JsonNode) reply = NULL;

    dm->status = QMP_STATUS_RUNNING;
    for (size_t i = 0; i < G_N_ELEMENTS(infos); i++) {
        assert_human(c, infos[i][0], infos[i][1]);
        if (!*infos[i][1]) {
            g_autofree char *text = human(c, infos[i][0]);
            g_assert_cmpstr(text, ==, "");
        }
    }
    g_assert_cmpstr(fake_qmp.keys, ==, "ctrl-alt-delete");
    g_assert_cmpstr(fake_qmp.screendump, ==, "/tmp/a b.png");
    say(c, "{\"execute\":\"human-monitor-command\",\"id\":8,\"arguments\":{\"command-line\":\"stop\"}}");
    assert_silence(c);
    finish_stop(dm);
    reply = get(c);
    assert_int(reply, "id", 8);
    assert_text(reply, "return", "");
    client_close(c);
    dm_free(dm);
}

/* Contract 1.9. */
static void test_probe(void)
{
    struct fake_dm *dm = dm_new(false);
    struct client *c = client_new(dm->path);

    assert_ok(c, "{\"execute\":\"query-command-line-options\",\"id\":1}");
    assert_ok(c, "{\"execute\":\"query-command-line-options\",\"arguments\":{\"option\":\"run-with\"}}");
    assert_error(c, "{\"execute\":\"query-command-line-options\",\"arguments\":{\"option\":\"x\"}}", "GenericError", "'x'");
    assert_ok(c, "{\"execute\":\"query-block\"}");
    assert_ok(c, "{\"execute\":\"query-chardev\"}");
    assert_error(c, "{\"execute\":\"cont\"}", "GenericError", "machine");
    assert_error(c, "{\"execute\":\"query-pci\"}", "GenericError", "machine");
    assert_human(c, "info pci", "Error: ");
    assert_human(c, "cont", "Error: ");
    assert_ok(c, "{\"execute\":\"quit\"}");
    g_assert_cmpuint(dm->quits, ==, 1);
    client_close(c);
    dm_free(dm);
}

/* ---- everything with anything ---- */

/* Whatever arguments a command gets, it answers, and the connection lives. */
static void test_every_command(void)
{
    static const char *const values[] = {
        "0", "-1", "9223372036854775807", "1.5", "\"\"", "\"/dev/fdset/0\"", "\"ide-5632\"", "\"ide0-hd0\"", "\"xen-vcpu\"",
        "true", "null", "{}", "[]", "\"\\u0000\"", "\"info recorder\"",
    };
    static const char *const names[] = {
        "id", "device", "filename", "format", "force", "enable", "live", "driver", "socket-id", "core-id", "thread-id",
        "fdset-id", "fd", "opaque", "command-line", "password", "option", "query-nodes", "read-only-mode",
    };
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->quiet_path);
    g_autoptr(JsonNode) list = ask(c, "{\"execute\":\"query-commands\"}");
    JsonArray *commands = json_node_get_array(at(list, "return"));
    GRand *rand = g_rand_new_with_seed(1);
    unsigned n = json_array_get_length(commands);

    dm->stop_at_once = true;
    g_assert_cmpuint(n, >, 25);
    for (unsigned round = 0; round < 40 * n; round++) {
        const char *name = text_at(json_array_get_element(commands, round % n), "name");
        g_autoptr(GString) text = g_string_new(NULL);
        g_autoptr(JsonNode) reply = NULL;

        g_string_printf(text, "{\"execute\":\"%s\",\"id\":%u,\"arguments\":{", name, round);
        for (int k = g_rand_int_range(rand, 0, 4); k > 0; k--) {
            g_string_append_printf(text, "\"%s\":%s%s", names[g_rand_int_range(rand, 0, G_N_ELEMENTS(names))],
                                   values[g_rand_int_range(rand, 0, G_N_ELEMENTS(values))], k > 1 ? "," : "");
        }
        g_string_append(text, "}}");
        reply = ask(c, text->str);
        assert_int(reply, "id", round);
        g_assert_true((at(reply, "return") != NULL) != (at(reply, "error") != NULL));
    }
    g_rand_free(rand);
    client_close(c);
    dm_free(dm);
}

/* Mutations of a conversation; only that the server stands it and serves others. */
static void test_mutations(void)
{
    static const char conversation[] =
        "{\"execute\":\"qmp_capabilities\"}\r\n{\"execute\":\"query-block\",\"id\":{\"a\":[1,2,\"\\\"}\"]}}\n"
        "{\"execute\":\"eject\",\"arguments\":{\"id\":\"ide-5632\",\"force\":true},\"id\":-3}"
        "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"info mtree\"}}\r\n"
        "{\"execute\":\"add-fd\"}{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"xen-vcpu\",\"socket-id\":1}}";
    struct fake_dm *dm = dm_new(true);
    struct client *witness = client_new(dm->quiet_path);
    GRand *rand = g_rand_new_with_seed(2);

    dm->stop_at_once = true;
    for (int round = 0; round < 1500; round++) {
        struct client *c = client_open(dm->path);
        g_autofree char *text = g_memdup2(conversation, sizeof(conversation));
        size_t len = sizeof(conversation) - 1;

        for (int k = g_rand_int_range(rand, 0, 6); k > 0; k--) {
            static const char interesting[] = "{}[]\"\\,:\n\0\xff" "0a";
            size_t where = (size_t)g_rand_int_range(rand, 0, (gint32)len);

            if (g_rand_int_range(rand, 0, 3) == 0) {
                len = where + 1;
            } else {
                text[where] = interesting[g_rand_int_range(rand, 0, sizeof(interesting) - 1)];
            }
        }
        put(c, text, len);
        settle();
        pull(c);
        client_close(c);
    }
    settle();
    assert_ok(witness, "{\"execute\":\"query-status\"}");
    g_rand_free(rand);
    client_close(witness);
    dm_free(dm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    log_set_level("qmp", "error");
    g_test_add_func("/qmp/greeting", test_greeting);
    g_test_add_func("/qmp/byte-at-a-time", test_byte_at_a_time);
    g_test_add_func("/qmp/several-in-one-write", test_several_in_one_write);
    g_test_add_func("/qmp/ids", test_ids);
    g_test_add_func("/qmp/strings-with-braces", test_strings_with_braces);
    g_test_add_func("/qmp/garbage", test_garbage);
    g_test_add_func("/qmp/deep", test_deep);
    g_test_add_func("/qmp/endless-command", test_endless_command);
    g_test_add_func("/qmp/endless-garbage", test_endless_garbage);
    g_test_add_func("/qmp/libxenstat", test_libxenstat);
    g_test_add_func("/qmp/events", test_events);
    g_test_add_func("/qmp/slow-client", test_slow_client);
    g_test_add_func("/qmp/no-hangup-after-reply", test_no_hangup_after_reply);
    g_test_add_func("/qmp/half-closed", test_half_closed);
    g_test_add_func("/qmp/many-clients", test_many_clients);
    g_test_add_func("/qmp/passed-socket", test_passed_socket);
    g_test_add_func("/qmp/bad-sockets", test_bad_sockets);
    g_test_add_func("/qmp/asynchronous-stop", test_asynchronous_stop);
    g_test_add_func("/qmp/client-vanishes", test_client_vanishes);
    g_test_add_func("/qmp/end-with-calls-under-way", test_end_with_calls_under_way);
    g_test_add_func("/qmp/save", test_save);
    g_test_add_func("/qmp/fdsets", test_fdsets);
    g_test_add_func("/qmp/errors", test_errors);
    g_test_add_func("/qmp/life", test_life);
    g_test_add_func("/qmp/queries", test_queries);
    g_test_add_func("/qmp/cpus", test_cpus);
    g_test_add_func("/qmp/cd", test_cd);
    g_test_add_func("/qmp/human", test_human);
    g_test_add_func("/qmp/probe", test_probe);
    g_test_add_func("/qmp/every-command", test_every_command);
    g_test_add_func("/qmp/mutations", test_mutations);
    return g_test_run();
}
