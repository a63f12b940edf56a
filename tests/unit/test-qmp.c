/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP's transport over real UNIX sockets: the clients do what libxl and xentop do
 * (toolstack.md 2.1, 2.3), and what a hostile client would. Also what waits for what, and
 * descriptors.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <xendm/log.h>

#include "qmp-fixture.h"

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
    static const char command[] =
        " {\"execute\" : \"query-name\", \"arguments\": {}, \"id\": 2020372736}\r\n";
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
        "0",
        "-5",
        "9223372036854775807",
        "\"a}{\\\"\\\\\"",
        "{\"x\":[1,{}]}",
        "[[],\"]\"]",
        "null",
        "true",
        "1.5",
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
    assert_error(c, "{\"execute\":\"a\\u0000b\"}", "GenericError", "NUL");
    assert_error(c, "{'execute':'}}]\\'{\"\\\"'}", "CommandNotFound", "}}]'{\"\"");
    assert_error(c, "{'execute':\"it's\"}", "CommandNotFound", "it's");
    assert_ok(c, "{\"execute\":\"query-status\"}");
    client_close(c);
    dm_free(dm);
}

static void test_garbage(void)
{
    static const char *const bad[] = {
        "hello\n",
        "}\n",
        "]\n",
        "{]\n",
        "[}\n",
        "{\"execute\":\"query-status\"]\n",
        "\"x\"\n",
        "12\n",
        "[1,2]\n",
        "[]\n",
        "{}\n",
        "{\"execute\":1}\n",
        "{\"execute\":{}}\n",
        "{\"execute\":\"query-status\",\"arguments\":[]}\n",
        "{\"execute\":\"query-status\",\"arguments\":null}\n",
        "{\"exec-oob\":\"query-status\"}\n",
        "{\"execute\":\"query-status\",\"extra\":1}\n",
        "{,}\n",
        "{\"execute\" \"query-status\"}\n",
        "{\"\xc0\xaf\":1}\n",
        "{\"execute\":\"\xc3\x28\"}\n",
        "{execute:query-status}\n",
        "\xff\n",
        "{\"execute\":\"query-status\",}\n",
        "{\"a\":\"\\ud800\"}\n",
        "{\"a\":1e99999}\n",
        "/* { */ x\n",
        "{ /* } \n",
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
    for (int i = 0; i < 2; i++) {
        g_autoptr(JsonNode) reply = get(c);
        assert_text(reply, "error/class", "GenericError");
    }
    assert_ok(c, "{\"execute\":\"query-status\"}");
    client_close(c);
    dm_free(dm);
}

/* An id is echoed as it was written, however large or odd it is; single quotes are JSON's then. */
static void test_ids_as_written(void)
{
    static const char *const ids[][2] = {
        {"12345678901234567890", NULL},
        {"-170141183460469231731687303715884105728", NULL},
        {"1e400", NULL},
        {"0.10000000000000000555", NULL},
        {"\"\\u0000\\u00e9\\ud83d\\ude00\"", NULL},
        {"'it\\'s \"so\"'", "\"it's \\\"so\\\"\""},
        {"{ 'a' : [ 1 ,\n2 ] }", "{\"a\":[1,2]}"},
    };
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);

    for (size_t i = 0; i < G_N_ELEMENTS(ids); i++) {
        const char *want = ids[i][1] ? ids[i][1] : ids[i][0];
        g_autofree char *command = g_strdup_printf("{'execute':'query-status','id':%s}", ids[i][0]);
        g_autofree char *end = g_strdup_printf(",\"id\":%s}", want);
        g_autofree char *line = NULL;

        say(c, command);
        line = get_line(c);
        g_strchomp(line);
        g_assert_true(g_str_has_suffix(line, end));
        g_assert_true(g_str_has_prefix(line, "{\"return\":"));
    }
    {
        g_autofree char *text = g_strnfill(200000, 'x');
        g_autofree char *command = g_strdup_printf("{'execute':'query-name','id':'%s'}", text);
        g_autoptr(JsonNode) reply = ask(c, command);

        assert_text(reply, "id", text);
    }
    client_close(c);
    dm_free(dm);
}

/* A client that lost its place sends a byte that JSON has not: one error, and the next command is
 * answered, on the same line too. */
static void test_reset(void)
{
    static const char *const lost[] = {
        "{\"execute\":",
        "{\"execute\":\"quer",
        "{'execute':'quer\\",
        "[[[[{",
        "",
        "{\"execute\":\"query-name\",\"id\":0",
    };
    static const char resets[] = "\x01\x1b\x7\xfe\xff";
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);

    for (size_t i = 0; i < G_N_ELEMENTS(lost); i++) {
        for (const char *reset = resets; *reset; reset++) {
            g_autoptr(JsonNode) error = NULL;

            say(c, lost[i]);
            settle();
            put(c, reset, 1);
            error = get(c);
            assert_text(error, "error/class", "GenericError");
            assert_ok(c, "{\"execute\":\"query-name\",\"id\":13}");
            assert_silence(c);
        }
    }
    /* Garbage is skipped to the end of the line, or to such a byte. */
    assert_error(c, "x {", "GenericError", "JSON");
    put(c, "\xff", 1);
    assert_ok(c, "{\"execute\":\"query-name\"}");
    /* A line's end in a string is no part of it. */
    assert_error(c, "{\"execute\":\"query-\n", "GenericError", "JSON");
    assert_ok(c, "{\"execute\":\"query-name\"}");
    assert_silence(c);
    client_close(c);
    dm_free(dm);
}

/* What looks like JSON and is not, on one line; the id is told where it was seen. */
static void test_grammar(void)
{
    static const char *const bad[] = {
        "{'execute':'query-name','id':01}",
        "{'execute':'query-name','id':1.}",
        "{'execute':'query-name','id':-}",
        "{'execute':'query-name','id':nul}",
        "{'execute':'query-name','id':tru e}",
        "{'execute':'query-name',,'id':1}",
        "{'execute':'query-name' 'id':1}",
        "{'execute':'query-name','id':'\\x'}",
        "{'execute':'query-name','id':1,'id':2}",
        "{'execute':'query-name','execute':'quit'}",
        "{'execute':'query-name','id':'\\ud800\\u0041'}",
        "{'execute':'query-name','id':[1,]}",
        "{'execute':'query-name','id':[,1]}",
        "{'execute':'query-name','id':+1}",
    };
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(JsonNode) reply = ask(c, bad[i]);

        assert_text(reply, "error/class", "GenericError");
        assert_silence(c);
    }
    /* No number turns into another one. */
    assert_error(c, "{'execute':'cpu-add','arguments':{'id':18446744073709551617}}", "GenericError",
                 "integer");
    assert_error(c, "{'execute':'cpu-add','arguments':{'id':1.0}}", "GenericError", "integer");
    g_assert_cmpuint(dm->quits, ==, 0);
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
    {
        g_autofree char *open = g_strnfill(1023, '['), *close = g_strnfill(1023, ']');
        g_autofree char *most =
            g_strdup_printf("{\"execute\":\"query-status\",\"id\":%s%s}", open, close);
        g_autofree char *inside =
            g_strdup_printf("{\"execute\":\"query-status\",\"arguments\":{\"x\":%s%s}}", open + 1,
                            close + 1);

        assert_ok(c, most);
        assert_error(c, inside, "GenericError", "'x'");
    }
    assert_silence(c);
    client_close(c);
    dm_free(dm);
}

/*
 * An error and the end of the connection, whatever the endless thing is; others are served all the
 * while.
 */
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
    endless("{\"execute\":\"", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                               "aaaaaaaaaaaaaaaaaaaaaaaaaaaa");
}

static void test_endless_garbage(void)
{
    endless("x", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
                 "[[[[[[[[[[[[[[[");
}

/* xentop (toolstack.md 2.3): no newline, no id, each answer one document, no event in between. */
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
        g_autoptr(JsonNode) root = NULL;

        say(c,
            i == 1 ? "{ \"execute\": \"query-block\" }" : "{ \"execute\": \"query-blockstats\" }");
        qmp_event(dm->qmp, "STOP");
        qmp_event_tray_moved(dm->qmp, "ide-5632", true);
        settle();
        g_assert_true(pull(c));
        root = json_from_string(c->in->str, &err);
        g_assert_nonnull(root);
        g_assert_no_error(err);
        if (i == 1) {
            assert_text(root, "return/0/device", "ide0-hd0");
            assert_text(root, "return/0/inserted/file", dm->disk_file);
        } else {
            assert_text(root, "return/0/device", "ide0-hd0");
            assert_int(root, "return/0/stats/rd_bytes", 0);
            assert_int(root, "return/0/stats/wr_operations", 0);
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

    g_assert_nonnull(at(greeting, "QMP"));
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

/*
 * Neither replies nor events of someone who does not read grow without bound, and others do not
 * wait.
 */
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
        "{\"execute\":\"query-status\"}",
        "{\"execute\":\"nonsense\"}",
        "{\"execute\":\"quit\"}",
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
        g_autoptr(JsonNode) greeting = get(c[i]); /* those who wait come when the first ones go */

        g_assert_nonnull(at(greeting, "QMP"));
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
    /* libxl's query-status is in the socket before we are there (toolstack.md 1.2, row 12). */
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

    g_assert_cmpint(qmp_listen(dm->qmp, &(struct monitor_desc){"a", longer, -1}, &err), ==,
                    -ENAMETOOLONG);
    g_clear_error(&err);
    g_assert_cmpint(qmp_listen(dm->qmp, &(struct monitor_desc){"a", "/nowhere/at/all", -1}, &err),
                    ==, -ENOENT);
    g_clear_error(&err);
    g_assert_cmpint(qmp_listen(dm->qmp, &(struct monitor_desc){"a", NULL, 987654}, &err), ==,
                    -EBADF);
    g_clear_error(&err);
    dm_free(dm);
}

/* ---- commands that take their time ---- */

static void test_asynchronous_stop(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path), *other = client_new(dm->quiet_path);
    g_autoptr(JsonNode) r1 = NULL, r2 = NULL, r3 = NULL, event = NULL;

    dm->status = QMP_STATUS_RUNNING;
    say(c, "{\"execute\":\"stop\",\"id\":1}{\"execute\":\"query-status\",\"id\":2}");
    say(other, "{\"execute\":\"query-status\",\"id\":10}");
    settle();
    /* still draining, and the next command keeps its place */
    assert_silence(c);
    r1 = get(other);
    assert_text(r1, "return/status", "running"); /* queries elsewhere do not wait */
    /* cont may take it back, which is the daemon's matter: it does not wait either */
    assert_ok(other, "{\"execute\":\"cont\"}");
    g_assert_cmpuint(dm->conts, ==, 1);
    event = get(c);
    assert_text(event, "event", "RESUME");
    say(other, "{\"execute\":\"stop\",\"id\":11}{\"execute\":\"query-status\",\"id\":12}");
    assert_silence(other); /* but this does */
    finish_stop(dm);
    finish_stop(dm); /* the other one's */
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
    struct client *c = client_new(dm->path), *waiting = client_new(dm->path),
                  *witness = client_new(dm->quiet_path);

    /* In the middle of a command. */
    struct client *partial = client_new(dm->path);
    say(partial, "{\"execute\":\"query-st");
    client_close(partial);
    settle();

    /* While its stop drains, and while it waits for its turn. */
    say(c, "{\"execute\":\"stop\"}");
    settle();
    say(waiting, "{\"execute\":\"stop\"}");
    settle();
    client_close(waiting);
    client_close(c);
    settle();
    finish_stop(dm);
    g_assert_null(dm->stop); /* nobody is there who wants it */
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
    say(waiting, "{\"execute\":\"stop\"}");
    settle();
    call = dm->stop;
    g_assert_nonnull(call);
    dm_free(dm);
    qmp_call_finish(call, NULL); /* whoever has it may still end it */
    client_close(c);
    client_close(waiting);
}

/* ---- file descriptors ---- */

static void test_save(void)
{
    struct fake_dm *dm = dm_new(true);
    struct client *c = client_new(dm->path);
    g_autofree char *file = g_strdup_printf("%s/save", dm->dir), *text = NULL;
    unsigned before = open_fds();

    for (int i = 0; i < 100; i++) {
        gint64 id =
            add_fd(c, open_file(file, O_WRONLY | O_CREAT), "{\"execute\":\"add-fd\",\"id\":5}\r\n");
        g_autofree char *command =
            g_strdup_printf("{\"execute\":\"xen-save-devices-state\",\"id\":6,\"arguments\":"
                            "{\"live\":%s,\"filename\":\"/dev/fdset/%" G_GINT64_FORMAT "\"}}\r\n",
                            i & 1 ? "true" : "false", id);

        assert_ok(c, command);
        g_assert_true(dm->save_live == (i & 1));
        assert_error(c, command, "GenericError", "/dev/fdset/"); /* used up */
    }
    g_assert_cmpuint(dm->saves, ==, 100);
    g_assert_cmpuint(open_fds(), ==, before);
    g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "state");

    /* Open the wrong way: refused, and not kept either. */
    add_fd(c, open_file(file, O_RDONLY), "{\"execute\":\"add-fd\"}");
    assert_error(
        c, "{\"execute\":\"xen-save-devices-state\",\"arguments\":{\"filename\":\"/dev/fdset/0\"}}",
        "GenericError", "writing");
    g_assert_cmpuint(open_fds(), ==, before);
    assert_error(c,
                 "{\"execute\":\"xen-save-devices-state\",\"arguments\":{\"filename\":\"/tmp/x\"}}",
                 "GenericError", "/tmp/x");
    assert_error(
        c, "{\"execute\":\"xen-save-devices-state\",\"arguments\":{\"filename\":\"/dev/fdset/x\"}}",
        "GenericError", "/dev/fdset/x");
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
    g_assert_cmpint(add_fd(c, fd, "{\"execute\":\"add-fd\",\"arguments\":{\"opaque\":\"raw:/x\"}}"),
                    ==, 0);
    fd = open_file("/dev/null", O_RDONLY);
    g_assert_cmpint(add_fd(c, fd, "{\"execute\":\"add-fd\"}"), ==, 1);
    fd = open_file("/dev/null", O_RDONLY);
    g_assert_cmpint(add_fd(c, fd, "{\"execute\":\"add-fd\",\"arguments\":{\"fdset-id\":1}}"), ==,
                    1);
    list = ask(c, "{\"execute\":\"query-fdsets\"}");
    assert_int(list, "return/0/fdset-id", 0);
    assert_text(list, "return/0/fds/0/opaque", "raw:/x");
    g_assert_nonnull(at(list, "return/1/fds/1/fd"));
    assert_ok(c, "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":1}}");
    assert_error(c, "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":1}}", "GenericError",
                 "remove-fd");
    assert_error(c, "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":0,\"fd\":-1}}",
                 "GenericError", "remove-fd");
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
    g_assert_cmpuint(open_fds(), ==, before - 2); /* both ends of the connection */

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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    log_set_level("qmp", "error");
    g_test_add_func("/qmp/greeting", test_greeting);
    g_test_add_func("/qmp/byte-at-a-time", test_byte_at_a_time);
    g_test_add_func("/qmp/several-in-one-write", test_several_in_one_write);
    g_test_add_func("/qmp/ids", test_ids);
    g_test_add_func("/qmp/ids-as-written", test_ids_as_written);
    g_test_add_func("/qmp/reset", test_reset);
    g_test_add_func("/qmp/grammar", test_grammar);
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
    return g_test_run();
}
