/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The xenstore client on a make-believe libxenstore: a tree in memory, watches that fire as
 * xenstored's do (once when set, for the node and everything below), and failures on demand. What
 * is tested here is our side; tests/xenemu runs it against a real xenstored.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>

#include <xenstore.h>

#include <xendm/device.h>
#include <xendm/log.h>
#include <xendm/xenstore.h>

#include "../../xenstore-watch/logic.h"

#define DM "/local/domain/0/device-model/7"

/* The rest of hw/core is not needed here. */
GQuark xendm_error_quark(void)
{
    return g_quark_from_static_string("xendm-error");
}

/* ---- the make-believe library ---- */

struct fake_watch {
    char *path, *token;
};

static struct {
    GTree *tree; /* path → value (GBytes) */
    GPtrArray *watches;
    GQueue events; /* char **, as xs_check_watch() returns them */
    int pipe[2];
    bool introduced;
    unsigned calls;
    bool lost;                 /* the connection is */
    unsigned spoiled;          /* transactions, from now on */
    GPtrArray *in_transaction; /* path, value, …; NULL: there is none */
} fake;
static GRecMutex fake_lock; /* the client's thread is here, too */

static void fake_unlock(GRecMutex **lock)
{
    g_rec_mutex_unlock(*lock);
}

#define LOCKED \
    __attribute__((cleanup(fake_unlock), unused)) GRecMutex *locked = \
        (g_rec_mutex_lock(&fake_lock), &fake_lock)

/* What the client's thread is in, and whether xenstored leaves it without an answer. */
static struct {
    GMutex lock;
    GCond changed;
    GThread *main;
    bool stopped, refuses;
    GString *log;
} slow;

/* True: it is refused. */
static bool slow_down(const char *path, const char *data, unsigned len)
{
    bool refuses;

    if (g_thread_self() == slow.main) {
        return false;
    }
    g_mutex_lock(&slow.lock);
    if (data) {
        g_string_append_printf(slow.log, "%s=%.*s ", path, (int)len, data);
        g_cond_broadcast(&slow.changed);
    }
    while (slow.stopped) {
        g_cond_wait(&slow.changed, &slow.lock);
    }
    refuses = slow.refuses && data;
    g_mutex_unlock(&slow.lock);
    return refuses;
}

static int path_order(const void *a, const void *b, void *opaque)
{
    return strcmp(a, b);
}

static bool is_below(const char *path, const char *parent)
{
    size_t len = strlen(parent);

    return strncmp(path, parent, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static void fake_event(const char *path, const char *token)
{
    char **vec = malloc(2 * sizeof(*vec) + strlen(path) + strlen(token) + 2);

    vec[XS_WATCH_PATH] = (char *)(vec + 2);
    vec[XS_WATCH_TOKEN] = vec[XS_WATCH_PATH] + strlen(path) + 1;
    strcpy(vec[XS_WATCH_PATH], path);
    strcpy(vec[XS_WATCH_TOKEN], token);
    if (g_queue_is_empty(&fake.events)) {
        g_assert_cmpint(write(fake.pipe[1], "!", 1), ==, 1);
    }
    g_queue_push_tail(&fake.events, vec);
}

static void fake_fire(const char *path)
{
    LOCKED;
    for (unsigned i = 0; i < fake.watches->len; i++) {
        struct fake_watch *w = fake.watches->pdata[i];

        if (is_below(path, w->path)) {
            fake_event(path, w->token);
        }
    }
}

static void fake_set(const char *path, const char *value)
{
    LOCKED;
    g_tree_replace(fake.tree, g_strdup(path), g_bytes_new(value, strlen(value)));
    fake_fire(path);
}

static gboolean collect_below(void *key, void *value, void *opaque)
{
    void **arg = opaque;

    if (is_below(key, arg[0])) {
        g_ptr_array_add(arg[1], g_strdup(key));
    }
    return FALSE;
}

static void fake_remove(const char *path)
{
    g_autoptr(GPtrArray) gone = g_ptr_array_new_with_free_func(g_free);
    void *arg[2] = {(void *)path, gone};
    LOCKED;

    g_tree_foreach(fake.tree, collect_below, arg);
    for (unsigned i = 0; i < gone->len; i++) {
        g_tree_remove(fake.tree, gone->pdata[i]);
    }
    fake_fire(path);
}

static void fake_watch_free(void *opaque)
{
    struct fake_watch *w = opaque;

    g_free(w->path);
    g_free(w->token);
    g_free(w);
}

const char *xs_daemon_socket(void)
{
    return "/nonexistent/socket";
}

struct xs_handle *xs_open(unsigned long flags)
{
    g_assert_null(fake.watches);
    slow.main = g_thread_self();
    slow.stopped = slow.refuses = false;
    slow.log = g_string_new(NULL);
    fake.watches = g_ptr_array_new_with_free_func(fake_watch_free);
    g_assert_cmpint(pipe(fake.pipe), ==, 0);
    return (struct xs_handle *)&fake;
}

void xs_close(struct xs_handle *h)
{
    char **vec;

    g_string_free(g_steal_pointer(&slow.log), TRUE);
    while ((vec = g_queue_pop_head(&fake.events)) != NULL) {
        free(vec);
    }
    g_ptr_array_free(fake.watches, TRUE);
    fake.watches = NULL;
    close(fake.pipe[0]);
    close(fake.pipe[1]);
}

int xs_fileno(struct xs_handle *h)
{
    return fake.pipe[0];
}

char **xs_check_watch(struct xs_handle *h)
{
    LOCKED;
    char **vec = g_queue_pop_head(&fake.events);
    char c;

    if (vec == NULL) {
        errno = fake.lost ? EINVAL : EAGAIN;
        return NULL;
    }
    if (g_queue_is_empty(&fake.events)) {
        g_assert_cmpint(read(fake.pipe[0], &c, 1), ==, 1);
    }
    return vec;
}

bool xs_watch(struct xs_handle *h, const char *path, const char *token)
{
    struct fake_watch *w = g_new0(struct fake_watch, 1);

    slow_down(path, NULL, 0);
    LOCKED;
    fake.calls++;
    w->path = g_strdup(path);
    w->token = g_strdup(token);
    g_ptr_array_add(fake.watches, w);
    fake_event(path, token);
    return true;
}

bool xs_unwatch(struct xs_handle *h, const char *path, const char *token)
{
    slow_down(path, NULL, 0);
    LOCKED;
    fake.calls++;
    for (unsigned i = 0; i < fake.watches->len; i++) {
        struct fake_watch *w = fake.watches->pdata[i];

        if (strcmp(w->path, path) == 0 && strcmp(w->token, token) == 0) {
            g_ptr_array_remove_index(fake.watches, i);
            return true;
        }
    }
    errno = ENOENT;
    return false;
}

void *xs_read(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned int *len)
{
    GBytes *value;
    char *copy;
    size_t n;

    slow_down(path, NULL, 0);
    LOCKED;
    value = g_tree_lookup(fake.tree, path);
    fake.calls++;
    if (value == NULL) {
        errno = ENOENT;
        return NULL;
    }
    n = g_bytes_get_size(value);
    copy = malloc(n + 1);
    if (n > 0) {
        memcpy(copy, g_bytes_get_data(value, NULL), n);
    }
    copy[n] = '\0';
    *len = (unsigned)n;
    return copy;
}

bool xs_write(struct xs_handle *h, xs_transaction_t t, const char *path, const void *data,
              unsigned int len)
{
    if (slow_down(path, data, len)) {
        errno = EACCES;
        return false;
    }
    LOCKED;
    fake.calls++;
    if (t != XBT_NULL) {
        g_ptr_array_add(fake.in_transaction, g_strdup(path));
        g_ptr_array_add(fake.in_transaction, g_strndup(data, len));
        return true;
    }
    g_tree_replace(fake.tree, g_strdup(path), g_bytes_new(data, len));
    fake_fire(path);
    return true;
}

xs_transaction_t xs_transaction_start(struct xs_handle *h)
{
    g_assert_null(fake.in_transaction);
    if (fake.lost) {
        errno = EBADF;
        return XBT_NULL;
    }
    fake.in_transaction = g_ptr_array_new_with_free_func(g_free);
    return 1;
}

bool xs_transaction_end(struct xs_handle *h, xs_transaction_t t, bool abort)
{
    g_autoptr(GPtrArray) written = g_steal_pointer(&fake.in_transaction);

    if (fake.spoiled > 0) {
        fake.spoiled--;
        errno = EAGAIN;
        return false;
    }
    for (unsigned i = 0; !abort && i < written->len; i += 2) {
        fake_set(written->pdata[i], written->pdata[i + 1]);
    }
    return true;
}

char **xs_directory(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned int *num)
{
    g_autoptr(GPtrArray) below = g_ptr_array_new_with_free_func(g_free);
    void *arg[2] = {(void *)path, below};
    size_t bytes = 0, skip = strlen(path) + 1;
    char **vec, *p;

    slow_down(path, NULL, 0);
    LOCKED;
    fake.calls++;
    g_tree_foreach(fake.tree, collect_below, arg);
    if (below->len == 0) {
        errno = ENOENT;
        return NULL;
    }
    for (unsigned i = 0; i < below->len; i++) {
        bytes += sizeof(char *) + strlen(below->pdata[i]) + 1;
    }
    vec = malloc(bytes);
    p = (char *)(vec + below->len);
    *num = 0;
    for (unsigned i = 0; i < below->len; i++) {
        const char *full = below->pdata[i];

        if (strlen(full) > skip && strchr(full + skip, '/') == NULL) {
            vec[(*num)++] = strcpy(p, full + skip);
            p += strlen(p) + 1;
        }
    }
    return vec;
}

bool xs_is_domain_introduced(struct xs_handle *h, unsigned int domid)
{
    slow_down(NULL, NULL, 0);
    LOCKED;
    fake.calls++;
    g_assert_cmpuint(domid, ==, 7);
    return fake.introduced;
}

/* ---- the client under test ---- */

struct seen {
    unsigned gone, commands, changes;
    char *command, *path;
    struct xenstore_watch *drop; /* ended by the callback */
};

static void on_gone(void *opaque)
{
    ((struct seen *)opaque)->gone++;
}

static void on_command(void *opaque, const char *command)
{
    struct seen *seen = opaque;

    seen->commands++;
    g_free(seen->command);
    seen->command = g_strdup(command);
}

static void on_change(void *opaque, const char *path)
{
    struct seen *seen = opaque;

    seen->changes++;
    g_free(seen->path);
    seen->path = g_strdup(path);
    if (seen->drop != NULL) {
        xenstore_unwatch(seen->drop);
        seen->drop = NULL;
    }
}

static void settle(void)
{
    while (g_main_context_pending(NULL)) {
        g_main_context_iteration(NULL, FALSE);
    }
}

static struct xenstore *client_new(struct seen *seen, bool with_directory)
{
    static const struct xenstore_events events = {on_gone, on_command};
    GError *err = NULL;
    struct xenstore *xs;

    memset(&fake, 0, sizeof(fake));
    memset(seen, 0, sizeof(*seen));
    fake.tree = g_tree_new_full(path_order, NULL, g_free, (GDestroyNotify)g_bytes_unref);
    fake.introduced = with_directory;
    if (with_directory) {
        g_tree_replace(fake.tree, g_strdup(DM), g_bytes_new("", 0));
    }
    xs = xenstore_open(7, &events, seen, &err);
    g_assert_no_error(err);
    return xs;
}

static void client_free(struct xenstore *xs, struct seen *seen)
{
    xenstore_close(xs);
    g_tree_unref(fake.tree);
    g_free(seen->command);
    g_free(seen->path);
}

static void test_numbers(void)
{
    static const char *const bad[] = {"",    " 1",   "1 ",
                                      "+1",  "-1",   "0x10",
                                      "1.0", "\xff", "99999999999999999999x"};
    uint64_t v = 42;

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_cmpint(xenstore_parse_uint(bad[i], UINT64_MAX, &v), ==, -EINVAL);
    }
    g_assert_cmpint(xenstore_parse_uint("18446744073709551616", UINT64_MAX, &v), ==, -ERANGE);
    g_assert_cmpint(xenstore_parse_uint("184467440737095516150", UINT64_MAX, &v), ==, -ERANGE);
    g_assert_cmpint(xenstore_parse_uint("11", 10, &v), ==, -ERANGE);
    g_assert_cmpuint(v, ==, 42);
    g_assert_cmpint(xenstore_parse_uint("18446744073709551615", UINT64_MAX, &v), ==, 0);
    g_assert_cmpuint(v, ==, UINT64_MAX);
    g_assert_cmpint(xenstore_parse_uint("0010", 10, &v), ==, 0);
    g_assert_cmpuint(v, ==, 10);
}

static void test_tokens(void)
{
    static const char *const strange[] = {"",        "x",       "xendm",           "xendm:",
                                          "xendm:0", "xendm:g", "xendm:123456789", "xendm:-1"};
    static const uint32_t serials[] = {1, 0xabc, UINT32_MAX};
    char token[XENSTORE_TOKEN_SIZE];

    for (unsigned i = 0; i < G_N_ELEMENTS(strange); i++) {
        g_assert_cmpuint(xenstore_token_parse(strange[i]), ==, 0);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(serials); i++) {
        xenstore_token_print(token, serials[i]);
        g_assert_cmpuint(xenstore_token_parse(token), ==, serials[i]);
    }
}

static void test_write_in(void)
{
    g_autofree char *big = g_strnfill(XENSTORE_VALUE_MAX + 1, 'x');
    struct seen seen;
    struct xenstore *xs = client_new(&seen, true);

    g_assert_cmpint(xenstore_write_in(xs, "/back", "/back/state", "4"), ==, -ENOENT);
    g_assert_null(g_tree_lookup(fake.tree, "/back/state"));
    fake_set("/back", "");
    g_assert_cmpint(xenstore_write_in(xs, "/back", "/back/state", big), ==, -E2BIG);
    fake.spoiled = 3;
    g_assert_cmpint(xenstore_write_in(xs, "/back", "/back/state", "4"), ==, 0);
    g_assert_nonnull(g_tree_lookup(fake.tree, "/back/state"));
    fake.spoiled = 1000;
    g_assert_cmpint(xenstore_write_in(xs, "/back", "/back/state", "5"), ==, -EAGAIN);
    g_assert_cmpuint(fake.spoiled, >, 900);
    fake.spoiled = 0;
    fake.lost = true;
    g_assert_cmpint(xenstore_write_in(xs, "/back", "/back/state", "5"), ==, -EBADF);
    fake.lost = false;
    client_free(xs, &seen);
}

static void test_values(void)
{
    g_autofree char *big = g_strnfill(XENSTORE_VALUE_MAX + 1, 'x');
    g_autofree char *deep = g_strnfill(XENSTORE_PATH_MAX + 1, 'x');
    struct seen seen;
    struct xenstore *xs = client_new(&seen, true);
    char *value, **list;
    uint64_t n;

    g_assert_cmpint(xenstore_write(xs, "state", "running"), ==, 0);
    g_assert_nonnull(g_tree_lookup(fake.tree, DM "/state"));
    value = xenstore_read(xs, DM "/state");
    g_assert_cmpstr(value, ==, "running");
    g_free(value);
    g_assert_cmpint(xenstore_write(xs, "backends/qdisk", "12"), ==, 0);
    g_assert_cmpint(xenstore_read_uint(xs, "backends/qdisk", 100, &n), ==, 0);
    g_assert_cmpuint(n, ==, 12);
    g_assert_cmpint(xenstore_read_uint(xs, "backends/qdisk", 11, &n), ==, -ERANGE);
    g_assert_cmpint(xenstore_read_uint(xs, "state", 11, &n), ==, -EINVAL);
    g_assert_cmpint(xenstore_read_uint(xs, "absent", 11, &n), ==, -ENOENT);
    xenstore_write(xs, "b", "");
    xenstore_write(xs, "c", "");
    list = xenstore_list(xs, DM);
    g_assert_cmpuint(g_strv_length(list), ==, 3);
    g_assert_cmpstr(list[0], ==, "b");
    g_assert_cmpstr(list[2], ==, "state");
    g_strfreev(list);
    g_assert_null(xenstore_list(xs, "/nowhere"));
    g_assert_cmpint(errno, ==, ENOENT);

    /* Garbage by others: too long, bytes of all kinds. */
    fake_set(DM "/long", big);
    g_assert_null(xenstore_read(xs, "long"));
    g_assert_cmpint(errno, ==, E2BIG);
    g_assert_cmpint(xenstore_write(xs, "long", big), ==, -E2BIG);
    g_assert_cmpint(xenstore_write(xs, deep, ""), ==, -EINVAL);
    g_assert_cmpint(xenstore_write(xs, "", ""), ==, -EINVAL);
    g_tree_replace(fake.tree, g_strdup(DM "/nul"), g_bytes_new("a\0b", 3));
    value = xenstore_read(xs, "nul");
    g_assert_cmpstr(value, ==, "a");
    g_free(value);
    client_free(xs, &seen);
}

static void test_watches(void)
{
    struct seen seen, other = {0};
    struct xenstore *xs = client_new(&seen, true);
    struct xenstore_watch *w = xenstore_watch(xs, "/a", on_change, &seen);
    struct xenstore_watch *v = xenstore_watch(xs, "/b", on_change, &other);

    settle();
    g_assert_cmpuint(seen.changes, ==, 1); /* as xenstored does */
    g_assert_cmpstr(seen.path, ==, "/a");
    fake_set("/a/b/c", "1");
    settle();
    g_assert_cmpuint(seen.changes, ==, 2);
    g_assert_cmpstr(seen.path, ==, "/a/b/c");

    /* One callback ends the other watch, whose event is on its way. */
    other.changes = 0;
    seen.drop = v;
    fake_set("/a", "1");
    fake_set("/b", "1");
    settle();
    g_assert_cmpuint(seen.changes, ==, 3);
    g_assert_cmpuint(other.changes, ==, 0);

    /* Tokens that are not ours. */
    fake_event("/a", "whatever");
    fake_event("/a", "xendm:ffffffff");
    settle();
    g_assert_cmpuint(seen.changes, ==, 3);
    xenstore_unwatch(w);
    g_free(other.path);
    client_free(xs, &seen);
}

/* A guest that writes its nodes as fast as it can. */
static void test_storm(void)
{
    struct seen seen;
    struct xenstore *xs = client_new(&seen, true);
    struct xenstore_watch *w = xenstore_watch(xs, "/guest", on_change, &seen);
    unsigned turns = 0;

    settle();
    seen.changes = 0;
    for (unsigned i = 0; i < 3000; i++) {
        fake_set("/guest/same", "x");
    }
    g_main_context_iteration(NULL, FALSE);
    g_assert_cmpuint(seen.changes, ==, 1);
    settle();
    g_assert_cmpuint(seen.changes, ==, 1);

    seen.changes = 0;
    for (unsigned i = 0; i < 3000; i++) {
        g_autofree char *path = g_strdup_printf("/guest/%u", i % 1000);

        fake_set(path, "x");
    }
    while (g_main_context_pending(NULL)) {
        unsigned before = seen.changes;

        g_main_context_iteration(NULL, FALSE);
        g_assert_cmpuint(seen.changes - before, <=, 64);
        turns++;
    }
    g_assert_cmpuint(seen.changes, >=, 1000);
    g_assert_cmpuint(seen.changes, <=, 3000);
    g_assert_cmpuint(turns, >=, 1000 / 64);
    xenstore_unwatch(w);
    client_free(xs, &seen);
}

static void test_commands(void)
{
    struct seen seen;
    struct xenstore *xs = client_new(&seen, true);

    settle();
    g_assert_cmpuint(seen.commands, ==, 0);
    fake_set(DM "/command", "flush-cache");
    settle();
    g_assert_cmpuint(seen.commands, ==, 1);
    g_assert_cmpstr(seen.command, ==, "flush-cache");
    fake_set(DM "/command", "");
    fake_remove(DM "/command");
    settle();
    g_assert_cmpuint(seen.commands, ==, 1);
    client_free(xs, &seen);
}

static void test_gone(void)
{
    struct seen seen;
    struct xenstore *xs = client_new(&seen, true);

    settle();
    fake_set(DM "/state", "running");
    fake_fire("@releaseDomain"); /* some other domain */
    settle();
    g_assert_cmpuint(seen.gone, ==, 0);
    fake_remove(DM);
    settle();
    g_assert_cmpuint(seen.gone, ==, 1);
    fake.introduced = false;
    fake_fire("@releaseDomain");
    settle();
    g_assert_cmpuint(seen.gone, ==, 1);
    client_free(xs, &seen);

    xs = client_new(&seen, true);
    settle();
    fake.introduced = false;
    fake_fire("@releaseDomain");
    settle();
    g_assert_cmpuint(seen.gone, ==, 1);
    client_free(xs, &seen);

    /* Started by hand: what never was cannot go. */
    xs = client_new(&seen, false);
    settle();
    fake_fire("@releaseDomain");
    fake_set(DM "/command", "x");
    settle();
    g_assert_cmpuint(seen.gone, ==, 0);
    g_assert_cmpuint(seen.commands, ==, 1);
    client_free(xs, &seen);
}

static void test_restricted(void)
{
    struct seen seen;
    struct xenstore *xs = client_new(&seen, true);
    struct xenstore_watch *w = xenstore_watch(xs, "/a", on_change, &seen);
    unsigned calls;
    uint64_t n;

    settle();
    seen.changes = 0;
    fake_set("/a", "1");
    xenstore_restricted(xs);
    calls = fake.calls; /* none may be made any more: it would hang */
    fake_remove(DM);
    settle();
    g_assert_cmpuint(seen.changes, ==, 0);
    g_assert_cmpuint(seen.gone, ==, 0);
    g_assert_null(xenstore_read(xs, "a"));
    g_assert_cmpint(errno, ==, EPERM);
    g_assert_null(xenstore_list(xs, "a"));
    g_assert_cmpint(errno, ==, EPERM);
    g_assert_null(xenstore_watch(xs, "a", on_change, &seen));
    g_assert_cmpint(errno, ==, EPERM);
    g_assert_cmpint(xenstore_write(xs, "a", "b"), ==, -EPERM);
    g_assert_cmpint(xenstore_read_uint(xs, "a", 1, &n), ==, -EPERM);
    xenstore_unwatch(w);
    g_assert_cmpuint(fake.calls, ==, calls);
    client_free(xs, &seen);
    g_assert_cmpuint(fake.calls, ==, calls);
}

/* xenstored went away: no loop over a dead descriptor. */
static void test_lost(void)
{
    struct seen seen;
    struct xenstore *xs = client_new(&seen, true);

    settle();
    fake.lost = true;
    g_assert_cmpint(write(fake.pipe[1], "!", 1), ==, 1);
    settle();
    g_assert_cmpuint(seen.gone, ==, 0);
    g_assert_false(g_main_context_pending(NULL));
    client_free(xs, &seen);
}

/* Waits until the writer has begun with all of `text`, in this order, and with nothing since. */
static void await_log(const char *text)
{
    g_mutex_lock(&slow.lock);
    while (!g_str_has_suffix(slow.log->str, text)) {
        g_cond_wait(&slow.changed, &slow.lock);
    }
    g_mutex_unlock(&slow.lock);
}

static void set_stopped(bool stopped)
{
    g_mutex_lock(&slow.lock);
    slow.stopped = stopped;
    g_cond_broadcast(&slow.changed);
    g_mutex_unlock(&slow.lock);
}

/* xenstored is stopped: writes are taken without waiting, the last value of each path counts. */
static void test_write_later(void)
{
    struct seen seen = {0};
    struct xenstore *xs = client_new(&seen, true);
    g_autofree char *long_value = g_strnfill(XENSTORE_VALUE_MAX + 1, 'x'), *last = NULL;
    unsigned many = 0;
    int rc = 0;

    set_stopped(true);
    g_assert_cmpint(xenstore_write_later(xs, "/a", "1"), ==, 0);
    await_log("/a=1 ");
    for (unsigned i = 0; i < 1000; i++) {
        g_autofree char *value = g_strdup_printf("%u", i);

        g_assert_cmpint(xenstore_write_later(xs, "/a", value), ==, 0);
        g_assert_cmpint(xenstore_write_later(xs, "b", value), ==, 0);
    }
    g_assert_cmpint(xenstore_write_later(xs, "/a", long_value), ==, -E2BIG);
    set_stopped(false);
    await_log("/a=1 /a=999 " DM "/b=999 ");
    /* Bounded, whatever the paths. */
    set_stopped(true);
    for (; many < 1000 && rc == 0; many++) {
        g_autofree char *path = g_strdup_printf("/many/%u", many);

        rc = xenstore_write_later(xs, path, "x");
    }
    g_assert_cmpint(rc, ==, -ENOBUFS);
    set_stopped(false);
    last = g_strdup_printf("/many/%u=x ", many - 2);
    await_log(last);
    g_mutex_lock(&slow.lock);
    slow.refuses = true;
    g_mutex_unlock(&slow.lock);
    log_set_level("xenstore", "error");
    g_assert_cmpint(xenstore_write_later(xs, "/a", "2"), ==, 0);
    await_log("/a=2 ");
    xenstore_restricted(xs);
    g_assert_cmpint(xenstore_write_later(xs, "/a", "3"), ==, -EPERM);
    client_free(xs, &seen);
}

static unsigned watches_of_library(void)
{
    LOCKED;
    return fake.watches->len;
}

/* xenstored is stopped, and goes on: nobody waits for long, nothing is lost, all is looked at. */
static void test_stopped(void)
{
    struct seen seen = {0};
    struct xenstore *xs = client_new(&seen, true);
    struct xenstore_watch *w, *other;
    g_autofree char *value = NULL;
    bool answers = false;
    unsigned watches, calls;
    uint64_t number;

    fake_set("/a", "1");
    fake_set("/dir/state", "1");
    xenstore_serving(xs);
    w = xenstore_watch(xs, "/a", on_change, &seen);
    other = xenstore_watch(xs, "/b", on_change, &seen);
    settle();
    g_assert_cmpint(xenstore_read_uint(xs, "/a", 9, &number), ==, 0);
    g_assert_cmpuint(number, ==, 1);
    watches = watches_of_library();
    calls = fake.calls;
    log_set_level("xenstore", "error");

    set_stopped(true);
    g_assert_null(xenstore_read(xs, "/a"));
    g_assert_cmpint(errno, ==, EAGAIN);
    for (unsigned i = 0; i < 1000; i++) { /* and no more of them waits, which would take minutes */
        g_assert_null(xenstore_read(xs, "/a"));
        g_assert_cmpint(errno, ==, EAGAIN);
        g_assert_null(xenstore_list(xs, "/dir"));
        g_assert_cmpint(errno, ==, EAGAIN);
        g_assert_null(xenstore_watch(xs, "/c", on_change, &seen));
        g_assert_cmpint(errno, ==, EAGAIN);
    }
    g_assert_cmpint(xenstore_write(xs, "/a", "2"), ==, 0);
    g_assert_cmpint(xenstore_write_in(xs, "/dir/state", "/dir/state", "3"), ==, 0);
    g_assert_cmpint(xenstore_write_in(xs, "/gone", "/gone/state", "3"), ==, 0);
    g_assert_cmpint(xenstore_write(xs, "/a", "4"), ==, 0);
    xenstore_unwatch(other);
    settle();
    g_assert_cmpuint(fake.calls, ==, calls);
    g_assert_cmpuint(seen.gone, ==, 0);

    seen.changes = 0;
    set_stopped(false);
    await_log("/a=2 /dir/state=3 /a=4 ");
    while (seen.changes == 0) {
        g_main_context_iteration(NULL, TRUE);
    }
    while (watches_of_library() != watches - 1) {
        g_thread_yield();
    }
    settle();
    value = xenstore_read(xs, "/a");
    g_assert_cmpstr(value, ==, "4");
    g_assert_null(xenstore_read(xs, "/gone/state"));
    g_assert_cmpint(errno, ==, ENOENT);

    /* A watch that nobody waited for to its end is nobody's. */
    set_stopped(true);
    g_assert_null(xenstore_watch(xs, "/c", on_change, &seen));
    g_assert_cmpint(errno, ==, EAGAIN);
    set_stopped(false);
    while (!answers) {
        g_autofree char *read = xenstore_read(xs, "/a");

        answers = read != NULL;
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpuint(watches_of_library(), ==, watches - 1);
    xenstore_unwatch(w);

    /* The end waits for nobody. */
    set_stopped(true);
    g_assert_null(xenstore_read(xs, "/a"));
    xenstore_close(xs);
    g_assert_nonnull(
        fake.watches); /* it could not be closed, and what the thread asked for stays */
    set_stopped(false);
    g_free(seen.command);
    g_free(seen.path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xenstore/numbers", test_numbers);
    g_test_add_func("/xenstore/tokens", test_tokens);
    g_test_add_func("/xenstore/values", test_values);
    g_test_add_func("/xenstore/write-in", test_write_in);
    g_test_add_func("/xenstore/watches", test_watches);
    g_test_add_func("/xenstore/storm", test_storm);
    g_test_add_func("/xenstore/commands", test_commands);
    g_test_add_func("/xenstore/gone", test_gone);
    g_test_add_func("/xenstore/restricted", test_restricted);
    g_test_add_func("/xenstore/lost", test_lost);
    g_test_add_func("/xenstore/write-later", test_write_later);
    g_test_add_func("/xenstore/stopped", test_stopped);
    return g_test_run();
}
