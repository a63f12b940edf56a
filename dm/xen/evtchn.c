/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event channels of PV front ends on libxenevtchn; see xendm/evtchn.h. */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <unistd.h>

#include <xenevtchn.h>

#include <xendm/error.h>
#include <xendm/evtchn.h>
#include <xendm/log.h>
#include <xendm/turn.h>

#define PORTS_PER_TURN 16u
/* What is refused for a moment is tried again: an answer not told of is a disk that hangs. */
#define AGAIN_MS 10u
#define AGAIN_TRIES 1000u

struct bound {
    void (*rang)(void *opaque);
    void *opaque;
    bool masked; /* or may be: a device of many channels unmasks all of them */
};

struct evtchn {
    xenevtchn_handle *handle;
    unsigned domid;
    GHashTable *ports; /* our port → struct bound * */
    GSource *source;
    gpointer tag;
    bool paused;
    GHashTable *owed;  /* port → what of it is to be tried again */
    guint again;       /* … then; 0: nothing is owed */
    unsigned tries;    /* in a row */
    uint32_t failures; /* of reading */
    bool deaf;         /* reading failed: not watched until `again` */
};

enum { OWE_NOTIFY = 1, OWE_UNMASK = 2 };

struct evtchn_source {
    GSource source;
    struct evtchn *e;
};

static short ready(const struct evtchn *e)
{
    struct pollfd p = {.fd = xenevtchn_fd(e->handle), .events = POLLIN};

    return poll(&p, 1, 0) == 1 ? p.revents : 0;
}

static void broken(struct evtchn *e, const char *why)
{
    log_error(LOG_BACKEND, "PV event channels cannot be read any more: %s", why);
    g_source_remove_unix_fd(e->source, e->tag);
    e->tag = NULL;
}

static void watch(struct evtchn *e)
{
    if (e->tag) {
        g_source_modify_unix_fd(e->source, e->tag, e->paused || e->deaf ? 0 : G_IO_IN);
    }
}

static gboolean try_again(gpointer opaque);

static void later(struct evtchn *e)
{
    if (!e->again) {
        e->again = g_timeout_add(AGAIN_MS, try_again, e);
    }
}

static void owe(struct evtchn *e, unsigned port, unsigned what)
{
    gpointer key = GUINT_TO_POINTER(port);
    unsigned before = GPOINTER_TO_UINT(g_hash_table_lookup(e->owed, key));

    log_debug(LOG_BACKEND, "cannot %s port %u: %s", what == OWE_NOTIFY ? "notify" : "unmask", port,
              g_strerror(errno));
    g_hash_table_insert(e->owed, key, GUINT_TO_POINTER(before | what));
    later(e);
}

/* What is still owed afterwards. */
static unsigned settle(struct evtchn *e, unsigned port, unsigned what)
{
    if (what & OWE_NOTIFY && xenevtchn_notify(e->handle, port) == 0) {
        what &= ~(unsigned)OWE_NOTIFY;
    }
    if (what & OWE_UNMASK && xenevtchn_unmask(e->handle, port) == 0) {
        what &= ~(unsigned)OWE_UNMASK;
    }
    return what;
}

static gboolean try_again(gpointer opaque)
{
    struct evtchn *e = opaque;
    GHashTableIter it;
    gpointer port, what;

    turn_of("PV events");
    g_hash_table_iter_init(&it, e->owed);
    while (g_hash_table_iter_next(&it, &port, &what)) {
        unsigned left = settle(e, GPOINTER_TO_UINT(port), GPOINTER_TO_UINT(what));

        if (left) {
            g_hash_table_iter_replace(&it, GUINT_TO_POINTER(left));
        } else {
            g_hash_table_iter_remove(&it);
        }
    }
    e->deaf = false;
    watch(e);
    if (g_hash_table_size(e->owed) == 0) {
        e->again = e->tries = 0;
        return G_SOURCE_REMOVE;
    }
    if (++e->tries < AGAIN_TRIES) {
        return G_SOURCE_CONTINUE;
    }
    log_error(LOG_BACKEND, "front ends at %u PV event channels cannot be told of anything",
              g_hash_table_size(e->owed));
    g_hash_table_remove_all(e->owed);
    e->again = e->tries = 0;
    return G_SOURCE_REMOVE;
}

static gboolean ports_rang(GSource *source, GSourceFunc callback, gpointer opaque)
{
    struct evtchn *e = ((struct evtchn_source *)source)->e;
    uint32_t port[PORTS_PER_TURN];
    short events = ready(e);
    ssize_t n;

    turn_of("PV events");
    if (!(events & POLLIN) && events) {
        broken(e, "the connection to Xen has ended");
        return G_SOURCE_CONTINUE;
    }
    if (e->paused || !events) {
        return G_SOURCE_CONTINUE;
    }
    /* Linux' ABI of /dev/xen/evtchn: an array of ports, which are masked by being read. */
    n = read(xenevtchn_fd(e->handle), port, sizeof(port));
    for (ssize_t i = 0; i < n / (ssize_t)sizeof(port[0]); i++) {
        struct bound *b = g_hash_table_lookup(e->ports, GUINT_TO_POINTER(port[i]));

        if (b) { /* else it was unbound a moment ago */
            b->masked = true;
            b->rang(b->opaque);
        }
    }
    if (n == 0) {
        broken(e, "it ended");
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        if (log_is_news(&e->failures)) {
            log_error(LOG_BACKEND, "reading PV event channels: %s", g_strerror(errno));
        }
        e->deaf = true;
        watch(e);
        later(e);
    }
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = {.dispatch = ports_rang};

static xenevtchn_handle *open_handle(int fd, GError **err)
{
    xenevtchn_handle *handle = fd >= 0 ? xenevtchn_fdopen(NULL, fd, 0) : xenevtchn_open(NULL, 0);

    if (!handle) {
        int e = errno;

        g_set_error(err, XENDM_ERROR, e, "cannot open event channels (/dev/xen/evtchn): %s",
                    g_strerror(e));
    }
    return handle;
}

struct evtchn *evtchn_open(unsigned domid, int fd, GError **err)
{
    xenevtchn_handle *handle = open_handle(fd, err);
    struct evtchn *e;

    if (!handle) {
        return NULL;
    }
    e = g_new0(struct evtchn, 1);
    e->handle = handle;
    e->domid = domid;
    e->ports = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
    e->owed = g_hash_table_new(g_direct_hash, g_direct_equal);
    e->source = g_source_new(&source_funcs, sizeof(struct evtchn_source));
    ((struct evtchn_source *)e->source)->e = e;
    g_source_set_name(e->source, "PV events");
    g_source_set_can_recurse(e->source, TRUE); /* spares four system calls a dispatch */
    e->tag = g_source_add_unix_fd(e->source, xenevtchn_fd(handle), G_IO_IN);
    g_source_attach(e->source, NULL);
    return e;
}

void evtchn_close(struct evtchn *e)
{
    if (!e) {
        return;
    }
    g_source_destroy(e->source);
    g_source_unref(e->source);
    if (e->again) {
        g_source_remove(e->again);
    }
    xenevtchn_close(e->handle);
    g_hash_table_destroy(e->ports);
    g_hash_table_destroy(e->owed);
    g_free(e);
}

int evtchn_fd(const struct evtchn *e)
{
    return xenevtchn_fd(e->handle);
}

int evtchn_adopt(struct evtchn *e, unsigned port, void (*rang)(void *opaque), void *opaque)
{
    struct bound *b = g_new0(struct bound, 1);

    b->rang = rang;
    b->opaque = opaque;
    b->masked = true;
    g_hash_table_insert(e->ports, GUINT_TO_POINTER(port), b);
    return 0;
}

int evtchn_bind(struct evtchn *e, uint32_t remote, void (*rang)(void *opaque), void *opaque)
{
    int port;

    if (g_hash_table_size(e->ports) >= EVTCHN_PORTS_MAX) {
        return -ENOSPC;
    }
    port = xenevtchn_bind_interdomain(e->handle, e->domid, remote);
    if (port < 0) {
        return errno ? -errno : -EIO;
    }
    evtchn_adopt(e, (unsigned)port, rang, opaque);
    return port;
}

void evtchn_unbind(struct evtchn *e, unsigned port)
{
    g_hash_table_remove(e->owed, GUINT_TO_POINTER(port));
    if (g_hash_table_remove(e->ports, GUINT_TO_POINTER(port)) &&
        xenevtchn_unbind(e->handle, port) != 0) {
        log_warning(LOG_BACKEND, "cannot unbind port %u: %s", port, g_strerror(errno));
    }
}

void evtchn_notify(struct evtchn *e, unsigned port)
{
    if (xenevtchn_notify(e->handle, port) != 0) {
        owe(e, port, OWE_NOTIFY);
    }
}

void evtchn_unmask(struct evtchn *e, unsigned port)
{
    struct bound *b = g_hash_table_lookup(e->ports, GUINT_TO_POINTER(port));

    if (!b || !b->masked) {
        return;
    }
    b->masked = false;
    if (xenevtchn_unmask(e->handle, port) != 0) {
        owe(e, port, OWE_UNMASK);
    }
}

void evtchn_pause(struct evtchn *e, bool paused)
{
    bool before = e->paused;

    e->paused = paused;
    if (before != paused) {
        watch(e);
    }
}
