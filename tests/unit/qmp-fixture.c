/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See qmp-fixture.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <xendm/block.h>
#include <xendm/chardev.h>
#include <xendm/facts.h>

#include "qmp-fakes.h"
#include "qmp-fixture.h"

/* ---- the daemon ---- */

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

void finish_stop(struct fake_dm *dm)
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
        qmp_call_finish(call, g_error_new(g_quark_from_static_string("test"), 1, "write: %s",
                                          g_strerror(errno)));
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

static bool op_describe(void *opaque, const char *topic, struct facts *to)
{
    if (strcmp(topic, "mapcache") != 0) {
        return false;
    }
    fact_int(to, "buckets", 3);
    return true;
}

static const struct qmp_ops ops = {
    .status = op_status,
    .cont = op_cont,
    .stop = op_stop,
    .save = op_save,
    .set_log_dirty = op_log_dirty,
    .quit = op_quit,
    .describe = op_describe,
};

struct fake_dm *dm_new(bool machine)
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
    chardev2 =
        g_strdup_printf("socket,id=libxenstat-cmd,path=%s,server=on,wait=off", dm->quiet_path);
    drive = g_strdup_printf("file=%s,if=ide,index=0,media=disk,format=raw,cache=writeback",
                            dm->disk_file);
    char *const argv[] = {
        "xendm",
        "-xen-domid",
        "7",
        "-machine",
        machine ? "xenfv" : "none",
        "-m",
        "64",
        "-name",
        "g\xff,1",
        "-chardev",
        chardev1,
        "-mon",
        "chardev=libxl-cmd,mode=control",
        "-chardev",
        chardev2,
        "-mon",
        "chardev=libxenstat-cmd,mode=control",
        "-smp",
        "2,maxcpus=4",
        "-serial",
        "null",
        "-vnc",
        "127.0.0.1:0,to=99",
        "-drive",
        drive,
        "-drive",
        "if=none,readonly=on,id=ide-5632",
        "-device",
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
        dm->backends = backend_set_new();
        for (guint i = 0; i < dm->desc->objects->len; i++) {
            const struct object_desc *o = g_ptr_array_index(dm->desc->objects, i);

            if (o->what == OBJECT_BACKEND) {
                backend_add(dm->backends, o, NULL, &err);
                g_assert_no_error(err);
            }
        }
        dm->target.machine = fake_qmp_machine();
        dm->target.display = dm->target.machine->display;
        dm->target.input = dm->target.machine->input;
        fake_qmp_use(dm->backends);
        dm->target.backends = dm->backends;
    }
    return dm;
}

void dm_free(struct fake_dm *dm)
{
    qmp_free(dm->qmp);
    g_assert_false(g_file_test(dm->path, G_FILE_TEST_EXISTS));
    if (dm->backends) {
        fake_qmp_unuse(dm->backends);
        backend_set_free(dm->backends);
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

struct client *client_open(const char *path)
{
    struct client *c = g_new0(struct client, 1);
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    g_assert_cmpint(connect(c->fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    c->in = g_string_new(NULL);
    return c;
}

void client_close(struct client *c)
{
    close(c->fd);
    g_string_free(c->in, TRUE);
    g_free(c);
}

/* Lets the server work until it has nothing to do. */
void settle(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

void put(struct client *c, const void *data, size_t len)
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

void say(struct client *c, const char *text)
{
    put(c, text, strlen(text));
}

/* Reads what is there; false at the end of the stream. */
bool pull(struct client *c)
{
    char buf[65536];
    ssize_t n = recv(c->fd, buf, sizeof(buf), 0);

    if (n > 0) {
        g_string_append_len(c->in, buf, n);
    }
    return n > 0 || (n < 0 && errno == EAGAIN);
}

/* The next line; it must end in CR LF and have no other line end. NULL when the server hung up. */
char *get_line(struct client *c)
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

JsonNode *get(struct client *c)
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
JsonNode *at(JsonNode *node, const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);

    for (char **part = parts; *part && node; part++) {
        if (JSON_NODE_HOLDS_OBJECT(node)) {
            node = json_object_get_member(json_node_get_object(node), *part);
        } else if (JSON_NODE_HOLDS_ARRAY(node)) {
            guint64 i = g_ascii_strtoull(*part, NULL, 10);
            JsonArray *array = json_node_get_array(node);

            node =
                i < json_array_get_length(array) ? json_array_get_element(array, (guint)i) : NULL;
        } else {
            node = NULL;
        }
    }
    return node;
}

const char *text_at(JsonNode *node, const char *path)
{
    JsonNode *found = at(node, path);

    return found ? json_node_get_string(found) : NULL;
}

void assert_text(JsonNode *reply, const char *path, const char *want)
{
    g_assert_cmpstr(text_at(reply, path), ==, want);
}

JsonNode *ask(struct client *c, const char *command)
{
    say(c, command);
    return get(c);
}

void assert_ok(struct client *c, const char *command)
{
    g_autoptr(JsonNode) reply = ask(c, command);

    if (!at(reply, "return")) {
        g_autofree char *text = json_to_string(reply, FALSE);
        g_test_message("%s: %s", command, text);
    }
    g_assert_nonnull(at(reply, "return"));
}

void assert_error(struct client *c, const char *command, const char *class,
                  const char *part_of_desc)
{
    g_autoptr(JsonNode) reply = ask(c, command);

    assert_text(reply, "error/class", class);
    g_assert_nonnull(text_at(reply, "error/desc"));
    if (!strstr(text_at(reply, "error/desc"), part_of_desc)) {
        g_test_message("%s: %s", command, text_at(reply, "error/desc"));
        g_test_fail();
    }
}

void assert_int(JsonNode *reply, const char *path, gint64 want)
{
    JsonNode *found = at(reply, path);

    g_assert_nonnull(found);
    g_assert_cmpint(json_node_get_int(found), ==, want);
}

/* Reply of human-monitor-command. The caller frees. */
char *human(struct client *c, const char *line)
{
    g_autofree char *command = g_strdup_printf(
        "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"%s\"}}", line);
    g_autoptr(JsonNode) reply = ask(c, command);

    g_assert_nonnull(text_at(reply, "return"));
    return g_strdup(text_at(reply, "return"));
}

void assert_human(struct client *c, const char *line, const char *part)
{
    g_autofree char *text = human(c, line);

    if (!strstr(text, part)) {
        g_test_message("%s: %s", line, text);
        g_test_fail();
    }
}

/* Connects and negotiates. */
struct client *client_new(const char *path)
{
    struct client *c = client_open(path);
    g_autoptr(JsonNode) greeting = get(c);

    g_assert_nonnull(at(greeting, "QMP/version/qemu/major"));
    assert_ok(c, "{\"execute\":\"qmp_capabilities\",\"id\":1}\r\n");
    return c;
}

void assert_silence(struct client *c)
{
    settle();
    pull(c);
    g_assert_cmpstr(c->in->str, ==, "");
}

unsigned open_fds(void)
{
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
    unsigned n = 0;

    while (g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    return n;
}

/* As libxl: the descriptors ride on the first byte, the rest follows. */
void say_with_fds(struct client *c, const char *text, const int *fds, unsigned nfds)
{
    char control[CMSG_SPACE(32 * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec iov = {.iov_base = (void *)text, .iov_len = 1};
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = CMSG_SPACE(nfds * sizeof(int)),
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

int open_file(const char *name, int flags)
{
    int fd = open(name, flags | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

gint64 add_fd(struct client *c, int fd, const char *command)
{
    g_autoptr(JsonNode) reply = NULL;

    say_with_fds(c, command, &fd, 1);
    close(fd);
    reply = get(c);
    g_assert_nonnull(at(reply, "return/fd"));
    return json_node_get_int(at(reply, "return/fdset-id"));
}
