/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event channels of PV front ends on libxenevtchn; see xendm/evtchn.h. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <xenevtchn.h>

#include <xendm/error.h>
#include <xendm/evtchn.h>
#include <xendm/log.h>
#include <xendm/turn.h>

#define PORTS_PER_TURN 16u

struct bound {
    void (*rang)(void *opaque);
    void *opaque;
};

struct evtchn {
    xenevtchn_handle *handle;
    unsigned domid;
    GHashTable *ports; /* our port → struct bound * */
    GSource *source;
    gpointer tag;
    bool paused;
};

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
            b->rang(b->opaque);
        }
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        broken(e, n == 0 ? "it ended" : g_strerror(errno));
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
    xenevtchn_close(e->handle);
    g_hash_table_destroy(e->ports);
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
    if (g_hash_table_remove(e->ports, GUINT_TO_POINTER(port)) &&
        xenevtchn_unbind(e->handle, port) != 0) {
        log_debug(LOG_BACKEND, "cannot unbind port %u: %s", port, g_strerror(errno));
    }
}

void evtchn_notify(struct evtchn *e, unsigned port)
{
    if (xenevtchn_notify(e->handle, port) != 0) {
        log_debug(LOG_BACKEND, "cannot notify port %u: %s", port, g_strerror(errno));
    }
}

void evtchn_unmask(struct evtchn *e, unsigned port)
{
    if (xenevtchn_unmask(e->handle, port) != 0) {
        log_debug(LOG_BACKEND, "cannot unmask port %u: %s", port, g_strerror(errno));
    }
}

void evtchn_pause(struct evtchn *e, bool paused)
{
    if (e->paused != paused && e->tag) {
        g_source_modify_unix_fd(e->source, e->tag, paused ? 0 : G_IO_IN);
    }
    e->paused = paused;
}
