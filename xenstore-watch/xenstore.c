/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The xenstore client on libxenstore; see xendm/xenstore.h. Contract 1.7 (ending), 3.1 (our
 * directory).
 *
 * libxenstore reads the connection in a thread of its own as soon as there is a watch, and signals
 * arrivals on a pipe. We take many events per turn, merge equal ones, and call back a bounded
 * number of times per turn. Once we serve, requests go through worker.c, so that a xenstored that
 * stops stops nobody else; when it goes on, every watch is called as if it had fired.
 *
 * xentoolcore_restrict_all() puts /dev/null in the place of the connection: a request written then
 * would wait for its answer for ever. So after xenstore_restricted() the library is not called any
 * more, except to close.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib-unix.h>
#include <xenstore.h>
#include <xenstore_lib.h>

#include <xendm/device.h>
#include <xendm/log.h>
#include <xendm/turn.h>
#include <xendm/xenstore.h>

#include "logic.h"
#include "worker.h"

#define EVENTS_PER_TURN 4096u /* taken off the library */
#define CALLS_PER_TURN 64u
#define QUEUE_MAX 256u /* different events that wait here; the rest waits in the library */
#define PATIENCE_MS 1000u

struct xenstore_watch {
    struct xenstore *xs;
    uint32_t serial;
    char *path; /* as registered */
    void (*changed)(void *opaque, const char *path);
    void *opaque;
};

struct xenstore {
    struct xs_handle *handle;
    struct xenstore_worker *worker;
    unsigned domid, own_domid;
    char *directory; /* /local/domain/<own>/device-model/<domid> */
    struct xenstore_events events;
    void *opaque;
    bool restricted;

    GHashTable *watches; /* serial → struct xenstore_watch * */
    uint32_t next_serial;
    struct xenstore_queue *queue;
    GSource *source;
    gpointer fd_tag;
    int alive_fd; /* a connection that says nothing, but hangs up with xenstored; -1: none */
    guint alive_source;

    struct xenstore_watch *on_directory, *on_release, *on_command;
    bool directory_seen, domain_seen; /* only what was there can vanish */
    bool directory_unknown;           /* looking failed */
    bool lost;                        /* the connection, which was said */
    bool check_gone, gone;
    bool look_anew; /* all of it */
};

struct xs_source {
    GSource source;
    struct xenstore *xs;
};

static bool dead(struct xenstore *xs)
{
    if (xs->restricted) {
        errno = EPERM;
        return true;
    }
    return false;
}

/*
 * After a request that failed. libxenstore notices the end of xenstored in its own thread and tells
 * nobody: later requests find no connection. Errno is kept.
 */
static void note_loss(struct xenstore *xs)
{
    int e = errno;

    if ((e == EBADF || e == EPIPE || e == ECONNRESET || e == ENOTCONN) && !xs->lost) {
        xs->lost = true;
        log_error(LOG_XENSTORE, "lost the connection to xenstored: %s", strerror(e));
    }
    errno = e;
}

/* ---- values ---- */

/* Asks for it: the job, if it went well, else NULL with errno. */
static struct xs_job *answer_to(struct xenstore *xs, struct xs_job *job)
{
    int rc = xenstore_worker_ask(xs->worker, job);

    if (rc < 0) {
        errno = -rc;
        return NULL;
    }
    if (!job->ok) {
        errno = job->error;
        xs_job_free(job);
        note_loss(xs);
        return NULL;
    }
    return job;
}

static struct xs_job *job_for(struct xenstore *xs, enum xs_op op, const char *path)
{
    g_autofree char *full = dead(xs) ? NULL : xenstore_absolute(xs->directory, path);

    return full != NULL ? xs_job_new(op, full, NULL) : NULL;
}

char *xenstore_read(struct xenstore *xs, const char *path)
{
    struct xs_job *job = job_for(xs, XS_OP_READ, path);
    char *value = NULL;

    job = job != NULL ? answer_to(xs, job) : NULL;
    if (job == NULL) {
        return NULL;
    }
    if (job->length <= XENSTORE_VALUE_MAX) {
        value = g_strndup(job->text, job->length);
    }
    xs_job_free(job);
    if (value == NULL) {
        errno = E2BIG;
    }
    return value;
}

int xenstore_read_uint(struct xenstore *xs, const char *path, uint64_t max, uint64_t *value)
{
    g_autofree char *text = xenstore_read(xs, path);

    return text == NULL ? -errno : xenstore_parse_uint(text, max, value);
}

/* NULL with errno: it cannot be written. */
static struct xs_job *job_to_write(struct xenstore *xs, enum xs_op op, const char *path,
                                   const char *value)
{
    struct xs_job *job = job_for(xs, op, path);

    if (job != NULL && strlen(value) > XENSTORE_VALUE_MAX) {
        xs_job_free(job);
        errno = E2BIG;
        return NULL;
    }
    if (job != NULL) {
        job->value = g_strdup(value);
    }
    return job;
}

/* What is done as soon as xenstored goes on is done, for all others. */
static int written(struct xenstore *xs, struct xs_job *job)
{
    struct xs_job *answer = answer_to(xs, job);

    if (answer == NULL) {
        return errno == EINPROGRESS ? 0 : -errno;
    }
    xs_job_free(answer);
    return 0;
}

int xenstore_write(struct xenstore *xs, const char *path, const char *value)
{
    struct xs_job *job = job_to_write(xs, XS_OP_WRITE, path, value);

    return job == NULL ? -errno : written(xs, job);
}

int xenstore_write_in(struct xenstore *xs, const char *directory, const char *path,
                      const char *value)
{
    struct xs_job *job = job_to_write(xs, XS_OP_WRITE_IN, path, value);

    if (job == NULL) {
        return -errno;
    }
    job->directory = xenstore_absolute(xs->directory, directory);
    if (job->directory == NULL) {
        int e = errno;

        xs_job_free(job);
        return -e;
    }
    return written(xs, job);
}

int xenstore_write_later(struct xenstore *xs, const char *path, const char *value)
{
    struct xs_job *job = job_to_write(xs, XS_OP_WRITE, path, value);

    if (job == NULL) {
        return -errno;
    }
    job->newest_counts = true;
    return xenstore_worker_put(xs->worker, job);
}

unsigned xenstore_own_domid(const struct xenstore *xs)
{
    return xs->own_domid;
}

char **xenstore_list(struct xenstore *xs, const char *path)
{
    struct xs_job *job = job_for(xs, XS_OP_LIST, path);
    char **list;

    job = job != NULL ? answer_to(xs, job) : NULL;
    if (job == NULL) {
        return NULL;
    }
    list = g_new0(char *, (size_t)job->length + 1);
    for (unsigned i = 0; i < job->length; i++) {
        list[i] = g_strdup(job->list[i]);
    }
    xs_job_free(job);
    return list;
}

/* ---- watches ---- */

struct xenstore_watch *xenstore_watch(struct xenstore *xs, const char *path,
                                      void (*changed)(void *opaque, const char *path), void *opaque)
{
    char token[XENSTORE_TOKEN_SIZE];
    struct xs_job *job = job_for(xs, XS_OP_WATCH, path);
    struct xenstore_watch *w;

    if (job == NULL) {
        return NULL;
    }
    do {
        xs->next_serial++;
    } while (xs->next_serial == 0 ||
             g_hash_table_contains(xs->watches, GUINT_TO_POINTER(xs->next_serial)));
    xenstore_token_print(token, xs->next_serial);
    job->value = g_strdup(token);
    job = answer_to(xs, job);
    if (job == NULL) {
        return NULL;
    }
    w = g_new0(struct xenstore_watch, 1);
    w->xs = xs;
    w->serial = xs->next_serial;
    w->path = g_steal_pointer(&job->path);
    w->changed = changed;
    w->opaque = opaque;
    g_hash_table_insert(xs->watches, GUINT_TO_POINTER(w->serial), w);
    xs_job_free(job);
    return w;
}

void xenstore_unwatch(struct xenstore_watch *w)
{
    char token[XENSTORE_TOKEN_SIZE];

    if (w == NULL) {
        return;
    }
    if (!w->xs->restricted) {
        xenstore_token_print(token, w->serial);
        written(w->xs, xs_job_new(XS_OP_UNWATCH, w->path, token));
    }
    g_hash_table_remove(w->xs->watches, GUINT_TO_POINTER(w->serial));
    g_free(w->path);
    g_free(w);
}

static void stop_listening(struct xenstore *xs)
{
    if (xs->fd_tag != NULL) {
        g_source_remove_unix_fd(xs->source, xs->fd_tag);
        xs->fd_tag = NULL;
    }
}

/* Takes events off the library until there are none, or enough. */
static void collect(struct xenstore *xs)
{
    for (unsigned i = 0; i < EVENTS_PER_TURN && !xenstore_queue_full(xs->queue); i++) {
        char **event = xs_check_watch(xs->handle);
        uint32_t serial;

        if (event == NULL) {
            if (errno != EAGAIN) {
                errno = EPIPE;
                note_loss(xs);
                stop_listening(xs);
            }
            return;
        }
        serial = xenstore_token_parse(event[XS_WATCH_TOKEN]);
        if (serial != 0 && g_hash_table_contains(xs->watches, GUINT_TO_POINTER(serial))) {
            xenstore_queue_add(xs->queue, serial, event[XS_WATCH_PATH]);
        }
        free(event);
    }
}

static void call_gone(struct xenstore *xs, const char *why)
{
    xs->gone = true;
    log_info(LOG_XENSTORE, "%s: going away", why);
    if (xs->events.gone != NULL) {
        xs->events.gone(xs->opaque);
    }
}

/*
 * Watches on our directory and on the release of domains say only "look": a value below was
 * written, or some other domain ended. Once a turn, however many there were, we look.
 */
static void look_whether_gone(struct xenstore *xs)
{
    g_autofree char *value = NULL;
    struct xs_job *job;

    if (xs->gone || xs->restricted) {
        return;
    }
    value = xenstore_read(xs, xs->directory);
    if (value != NULL) {
        xs->directory_seen = true;
    } else if (errno == ENOENT && xs->directory_seen) {
        call_gone(xs, "the toolstack removed our directory");
        return;
    } else if (errno != ENOENT) {
        /* It may be there: once it is seen, its end will be. */
        log_warning(LOG_XENSTORE, "cannot look at %s: %s", xs->directory, g_strerror(errno));
        xs->directory_unknown = true;
    }
    job = xs_job_new(XS_OP_INTRODUCED, NULL, NULL);
    job->domid = xs->domid;
    job = answer_to(xs, job);
    if (job != NULL) {
        xs->domain_seen = true;
        xs_job_free(job);
    } else if (errno == 0 && xs->domain_seen) {
        call_gone(xs, "the domain is gone");
    }
}

static void stop_listening_for_end(struct xenstore *xs)
{
    if (xs->alive_source) {
        g_source_remove(xs->alive_source);
        xs->alive_source = 0;
    }
    if (xs->alive_fd >= 0) {
        close(xs->alive_fd);
        xs->alive_fd = -1;
    }
}

static gboolean xenstored_ended(gint fd, GIOCondition condition, gpointer opaque)
{
    struct xenstore *xs = opaque;

    turn_of("xenstore end");
    errno = EPIPE;
    note_loss(xs);
    xs->alive_source = 0;
    stop_listening_for_end(xs);
    return G_SOURCE_REMOVE;
}

/*
 * libxenstore shows nobody its socket. Where xenstored is a domain of its own there is none, and
 * the next request tells.
 */
static void listen_for_end(struct xenstore *xs)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    const char *path = xs_daemon_socket();

    if (path == NULL || strlen(path) >= sizeof(addr.sun_path)) {
        return;
    }
    strcpy(addr.sun_path, path);
    xs->alive_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (xs->alive_fd >= 0 && connect(xs->alive_fd, (struct sockaddr *)&addr, sizeof(addr)) == 0) {
        xs->alive_source = g_unix_fd_add(xs->alive_fd, G_IO_HUP | G_IO_ERR, xenstored_ended, xs);
    } else {
        stop_listening_for_end(xs);
    }
}

static gboolean source_prepare(GSource *source, gint *timeout)
{
    struct xenstore *xs = ((struct xs_source *)source)->xs;

    *timeout = -1;
    if (xs->restricted) {
        return false;
    }
    xs->look_anew |= xenstore_worker_recovered(xs->worker);
    return !xenstore_queue_empty(xs->queue) || xs->check_gone || xs->look_anew;
}

static gboolean source_check(GSource *source)
{
    struct xenstore *xs = ((struct xs_source *)source)->xs;

    return source_prepare(source, &(gint){0}) ||
           (xs->fd_tag != NULL && g_source_query_unix_fd(source, xs->fd_tag) != 0);
}

/* Once xenstored answers again: who could not read meanwhile shall. */
static void look_anew(struct xenstore *xs)
{
    g_autoptr(GList) serials = g_hash_table_get_keys(xs->watches);

    xs->look_anew = false;
    log_info(LOG_XENSTORE, "xenstored answers again");
    for (GList *l = serials; l != NULL; l = l->next) {
        struct xenstore_watch *w = g_hash_table_lookup(xs->watches, l->data);

        if (w != NULL && !xs->restricted) {
            w->changed(w->opaque, w->path);
        }
    }
}

static gboolean source_dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
    struct xenstore *xs = ((struct xs_source *)source)->xs;
    struct xenstore_event *event;
    GIOCondition ready = xs->fd_tag != NULL ? g_source_query_unix_fd(source, xs->fd_tag) : 0;

    turn_of("xenstore");
    if (xs->restricted) {
        stop_listening(xs);
        return G_SOURCE_CONTINUE;
    }
    if ((ready & G_IO_IN) == 0 && (ready & (G_IO_HUP | G_IO_ERR | G_IO_NVAL)) != 0) {
        errno = EPIPE;
        note_loss(xs);
        stop_listening(xs);
    } else if (ready != 0) {
        collect(xs);
    }
    if (xs->look_anew) {
        look_anew(xs);
    }
    for (unsigned i = 0; i < CALLS_PER_TURN && (event = xenstore_queue_take(xs->queue)) != NULL;
         i++) {
        struct xenstore_watch *w =
            g_hash_table_lookup(xs->watches, GUINT_TO_POINTER(event->serial));

        if (w != NULL && !xs->restricted) {
            w->changed(w->opaque, event->path);
        }
        g_free(event);
    }
    if (xs->check_gone) {
        xs->check_gone = false;
        look_whether_gone(xs);
    }
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = {source_prepare, source_check, source_dispatch,
                                    NULL,           NULL,         NULL};

/* ---- what the toolstack tells us ---- */

static void maybe_gone(void *opaque, const char *path)
{
    struct xenstore *xs = opaque;

    xs->check_gone = true;
}

static void command_changed(void *opaque, const char *path)
{
    struct xenstore *xs = opaque;
    g_autofree char *command = xenstore_read(xs, "command");

    /* Absent is the usual case: the watch fires once when it is set. */
    if (command == NULL && errno != ENOENT) {
        log_warning(LOG_XENSTORE, "cannot read the toolstack's command: %s", g_strerror(errno));
    }
    if (command != NULL && command[0] != '\0' && xs->events.command != NULL) {
        xs->events.command(xs->opaque, command);
    }
}

/* ---- life ---- */

/* Which domain this is: dom0, a driver domain or a stub domain. */
static unsigned own_domid(struct xs_handle *handle)
{
    unsigned len = 0;
    g_autofree char *text = NULL;
    char *raw = xs_read(handle, XBT_NULL, "domid", &len);
    uint64_t value = 0;

    if (raw != NULL && len <= XENSTORE_VALUE_MAX) {
        text = g_strndup(raw, len);
        xenstore_parse_uint(text, UINT16_MAX, &value);
    }
    free(raw);
    return (unsigned)value;
}

struct xenstore *xenstore_open(unsigned domid, const struct xenstore_events *events, void *opaque,
                               GError **err)
{
    struct xs_handle *handle = xs_open(0);
    struct xenstore *xs;

    if (handle == NULL) {
        int e = errno;

        g_set_error(err, XENDM_ERROR, e,
                    "cannot connect to xenstored: %s: is it running, and is this dom0?",
                    g_strerror(e));
        return NULL;
    }
    xs = g_new0(struct xenstore, 1);
    xs->handle = handle;
    xs->alive_fd = -1;
    xs->worker = xenstore_worker_new(handle);
    xs->domid = domid;
    xs->own_domid = own_domid(handle);
    xs->directory = g_strdup_printf("/local/domain/%u/device-model/%u", xs->own_domid, domid);
    xs->events = *events;
    xs->opaque = opaque;
    xs->watches = g_hash_table_new(g_direct_hash, g_direct_equal);
    xs->queue = xenstore_queue_new(QUEUE_MAX);
    look_whether_gone(xs);
    if (!xs->directory_seen && !xs->directory_unknown) {
        log_info(LOG_XENSTORE, "%s does not exist: nobody started us through libxl", xs->directory);
    }
    xs->on_directory = xenstore_watch(xs, xs->directory, maybe_gone, xs);
    if (xs->on_directory != NULL) {
        xs->on_release = xenstore_watch(xs, "@releaseDomain", maybe_gone, xs);
    }
    if (xs->on_release != NULL) {
        xs->on_command = xenstore_watch(xs, "command", command_changed, xs);
    }
    if (xs->on_command == NULL) {
        int e = errno;

        g_set_error(err, XENDM_ERROR, e, "cannot set xenstore watches: %s", g_strerror(e));
        xenstore_close(xs);
        return NULL;
    }
    xs->source = g_source_new(&source_funcs, sizeof(struct xs_source));
    ((struct xs_source *)xs->source)->xs = xs;
    g_source_set_name(xs->source, "xenstore");
    xs->fd_tag = g_source_add_unix_fd(xs->source, xs_fileno(handle), G_IO_IN);
    g_source_attach(xs->source, NULL);
    listen_for_end(xs);
    return xs;
}

void xenstore_close(struct xenstore *xs)
{
    if (xs == NULL) {
        return;
    }
    if (xs->source != NULL) {
        g_source_destroy(xs->source);
        g_source_unref(xs->source);
    }
    xenstore_unwatch(xs->on_directory);
    xenstore_unwatch(xs->on_release);
    xenstore_unwatch(xs->on_command);
    if (g_hash_table_size(xs->watches) > 0) {
        log_debug(LOG_XENSTORE, "%u watches were left at the end", g_hash_table_size(xs->watches));
    }
    stop_listening_for_end(xs);
    if (xenstore_worker_free(xs->worker)) {
        xs_close(xs->handle);
    }
    g_hash_table_destroy(xs->watches);
    xenstore_queue_free(xs->queue);
    g_free(xs->directory);
    g_free(xs);
}

bool xenstore_directory_seen(const struct xenstore *xs)
{
    return xs->directory_seen;
}

void xenstore_expect(struct xenstore *xs, bool directory)
{
    xs->directory_seen = xs->directory_seen || directory;
    xs->domain_seen = true;
    xs->check_gone = true;
}

void xenstore_serving(struct xenstore *xs)
{
    xenstore_worker_limit(xs->worker, PATIENCE_MS);
}

void xenstore_restricted(struct xenstore *xs)
{
    xs->restricted = true;
    stop_listening(xs);
    stop_listening_for_end(xs);
}
