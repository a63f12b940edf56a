/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One PV device and its front end: the states of xenbus; see xendm/pv.h. Xen's io/xenbus.h, and
 * what front ends of Linux, Windows and the BSDs make of it.
 *
 * Whatever changed, the states are read anew and the next step is taken: so no order of events is
 * wrong. The guest can make us look as often as xenstored lets it write; LOOKS_MAX bounds that.
 */
#include <errno.h>
#include <string.h>

#include <xendm/error.h>
#include <xendm/evtchn.h>
#include <xendm/facts.h>
#include <xendm/foreign.h>
#include <xendm/grants.h>
#include <xendm/handover.h>
#include <xendm/log.h>
#include <xendm/turn.h>
#include <xendm/xenstore.h>

#include "internal.h"

#define LOOKS_MAX 40u           /* of one device … */
#define LOOKS_WINDOW_US 1000000 /* … in this time; a front end that connects needs about five */

/* What the host or xenstored cannot for a moment: then a front end would give up for good. */
#define RETRY_FIRST_MS 10u
#define RETRY_MAX_MS 1000u
#define PATIENCE_US (10 * G_TIME_SPAN_SECOND)

const struct pv_host *pv_host(const struct pv_device *dev)
{
    return &dev->bus->host;
}

const char *pv_name(const struct pv_device *dev)
{
    return dev->link->name;
}

bool pv_paused(const struct pv_device *dev)
{
    return dev->bus->paused;
}

/* ---- trying again ---- */

static gboolean look_again(gpointer opaque);

/* Looks again later. False: that went on for too long. */
static bool later(struct pv_device *dev)
{
    struct pv_link *link = dev->link;
    int64_t now = g_get_monotonic_time();

    if (!link->first_try) {
        link->first_try = now;
        link->pause_ms = RETRY_FIRST_MS;
    } else if (now - link->first_try > PATIENCE_US) {
        return false;
    }
    if (!link->timer) {
        link->timer = g_timeout_add(link->pause_ms, look_again, dev);
        link->pause_ms = MIN(link->pause_ms * 2, RETRY_MAX_MS);
    }
    return true;
}

static bool later_if_of_the_moment(struct pv_device *dev, const GError *err)
{
    return err && err->domain == XENDM_ERROR && error_is_of_the_moment(err->code) && later(dev);
}

static void went_well(struct pv_device *dev)
{
    dev->link->first_try = 0;
}

/* ---- keys ---- */

static char *key_path(const struct pv_device *dev, bool front, const char *key)
{
    return g_strdup_printf("%s/%s", front ? dev->link->front : dev->link->path, key);
}

char *pv_read(struct pv_device *dev, bool front, const char *key)
{
    g_autofree char *path = key_path(dev, front, key);

    if (front && !dev->link->front[0]) {
        errno = ENOENT;
        return NULL;
    }
    return xenstore_read(dev->bus->host.xs, path);
}

int pv_read_uint(struct pv_device *dev, bool front, const char *key, uint64_t max, uint64_t *value)
{
    g_autofree char *path = key_path(dev, front, key);

    return front && !dev->link->front[0] ? -ENOENT
                                         : xenstore_read_uint(dev->bus->host.xs, path, max, value);
}

int pv_read_u32(struct pv_device *dev, const char *key, uint32_t *value, GError **err)
{
    uint64_t read = 0;
    int rc = pv_read_uint(dev, true, key, UINT32_MAX, &read);

    if (rc < 0) {
        g_set_error(err, XENDM_ERROR, -rc, "its %s is no number: %s", key, g_strerror(-rc));
    }
    *value = (uint32_t)read;
    return rc;
}

bool pv_read_flag(struct pv_device *dev, bool front, const char *key)
{
    uint64_t value = 0;

    return pv_read_uint(dev, front, key, UINT32_MAX, &value) == 0 && value != 0;
}

/* Into a directory that is there: once the toolstack removed it, its watch will tell. */
static int write_key(struct pv_device *dev, bool front, const char *key, const char *value)
{
    g_autofree char *path = key_path(dev, front, key);
    const char *dir = front ? dev->link->front : dev->link->path;
    int rc = dir[0] ? xenstore_write_in(dev->bus->host.xs, dir, path, value) : -ENOENT;

    if (rc < 0 && rc != -ENOENT) {
        log_warning(LOG_BACKEND, "cannot write %s: %s", path, g_strerror(-rc));
    }
    return rc;
}

int pv_write(struct pv_device *dev, const char *key, const char *fmt, ...)
{
    g_autofree char *value = NULL;
    va_list ap;
    int rc;

    va_start(ap, fmt);
    value = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    rc = write_key(dev, false, key, value);
    if (rc < 0) {
        dev->link->write_error = rc;
    }
    return rc;
}

int pv_write_front(struct pv_device *dev, const char *key, const char *value)
{
    return write_key(dev, true, key, value);
}

/* Not there, or garbage: PV_UNKNOWN. False: xenstore does not say. */
static bool read_state(struct pv_device *dev, bool front, enum pv_state *state)
{
    uint64_t value = PV_UNKNOWN;
    int rc = pv_read_uint(dev, front, "state", PV_CLOSED, &value);

    *state = rc == 0 ? (enum pv_state)value : PV_UNKNOWN;
    return rc == 0 || rc == -ENOENT || rc == -EINVAL || rc == -ERANGE;
}

/* A front end waits for our state, for ever. */
static void say_state(struct pv_device *dev)
{
    int rc = pv_write(dev, "state", "%u", (unsigned)dev->state);

    dev->link->unsaid = rc < 0 && rc != -ENOENT;
    if (dev->link->unsaid && !later(dev)) {
        dev->link->unsaid = false;
    }
}

static void set_state(struct pv_device *dev, enum pv_state state)
{
    if (dev->state != state) {
        dev->state = state;
        say_state(dev);
    }
}

void pv_say_again(struct pv_device *dev)
{
    say_state(dev);
}

/* ---- the connection ---- */

static void rang(void *opaque)
{
    struct pv_device *dev = opaque;

    if (dev->ring) {
        dev->class->event(dev);
    }
}

void pv_notify_channel(struct pv_device *dev, unsigned number)
{
    if (number < dev->link->nports) {
        evtchn_notify(dev->bus->host.events, (unsigned)dev->link->ports[number]);
    }
}

void pv_notify(struct pv_device *dev)
{
    pv_notify_channel(dev, 0);
}

void pv_unmask(struct pv_device *dev)
{
    for (unsigned i = 0; i < dev->link->nports; i++) {
        evtchn_unmask(dev->bus->host.events, (unsigned)dev->link->ports[i]);
    }
}

static int mapped(struct pv_device *dev, unsigned count, int e, GError **err)
{
    if (!dev->ring) {
        g_set_error(err, XENDM_ERROR, -e, "cannot map its ring (%u pages): %s", count,
                    g_strerror(-e));
        return e;
    }
    dev->ring_pages = count;
    return 0;
}

static int map_ring(struct pv_device *dev, const uint32_t *refs, unsigned count, GError **err)
{
    int e = 0;

    dev->ring = count > PV_RING_PAGES_MAX
                    ? (e = -EINVAL, NULL)
                    : grants_map(dev->bus->host.grants, refs, count, true, &e);
    dev->link->by_frame = false;
    if (dev->ring) {
        memcpy(dev->link->refs, refs, count * sizeof(refs[0]));
    }
    return mapped(dev, count, e, err);
}

static int map_frame(struct pv_device *dev, uint64_t frame, GError **err)
{
    int e = 0;

    dev->ring = foreign_map(dev->bus->host.foreign, &frame, 1, true, &e);
    dev->link->by_frame = true;
    dev->link->frame = frame;
    return mapped(dev, 1, e, err);
}

static void unmap_ring(struct pv_device *dev)
{
    if (dev->ring && dev->link->by_frame) {
        foreign_unmap(dev->bus->host.foreign, dev->ring, dev->ring_pages);
    } else if (dev->ring) {
        grants_unmap(dev->bus->host.grants, dev->ring, dev->ring_pages);
    }
    dev->ring = NULL;
}

void *pv_map_more(struct pv_device *dev, const uint32_t *refs, unsigned count, GError **err)
{
    struct pv_link *link = dev->link;
    struct pv_map *map = &link->maps[MIN(link->nmaps, PV_MORE_MAPS_MAX - 1)];
    int e = -ENOSPC;
    void *at = link->nmaps == PV_MORE_MAPS_MAX
                   ? NULL
                   : grants_map(dev->bus->host.grants, refs, count, true, &e);

    if (!at) {
        g_set_error(err, XENDM_ERROR, -e, "cannot map its pages (%u): %s", count, g_strerror(-e));
        return NULL;
    }
    *map = (struct pv_map){at, count, g_memdup2(refs, count * sizeof(refs[0]))};
    link->nmaps++;
    return at;
}

void *pv_more(const struct pv_device *dev, unsigned number, unsigned *pages)
{
    *pages = number < dev->link->nmaps ? dev->link->maps[number].count : 0;
    return *pages ? dev->link->maps[number].at : NULL;
}

/* Its number. */
static int bind_port(struct pv_device *dev, uint32_t port, GError **err)
{
    struct pv_link *link = dev->link;
    int rc = link->nports == PV_CHANNELS_MAX ? -ENOSPC
                                             : evtchn_bind(dev->bus->host.events, port, rang, dev);

    if (rc < 0) {
        g_set_error(err, XENDM_ERROR, -rc, "cannot bind its event channel %u: %s", port,
                    g_strerror(-rc));
        return rc;
    }
    link->ports[link->nports] = rc;
    return (int)link->nports++;
}

int pv_bind_more(struct pv_device *dev, uint32_t port, GError **err)
{
    return bind_port(dev, port, err);
}

static void unmap_all(struct pv_device *dev)
{
    struct pv_link *link = dev->link;

    unmap_ring(dev);
    while (link->nmaps > 0) {
        struct pv_map *map = &link->maps[--link->nmaps];

        grants_unmap(dev->bus->host.grants, map->at, map->count);
        g_free(map->refs);
    }
}

static void detach(struct pv_device *dev)
{
    struct pv_link *link = dev->link;

    unmap_all(dev);
    while (link->nports > 0) {
        evtchn_unbind(dev->bus->host.events, (unsigned)link->ports[--link->nports]);
    }
}

/* The ring is mapped, or that failed with `rc`. */
static int attach(struct pv_device *dev, int rc, uint32_t port, GError **err)
{
    if (rc == 0) {
        rc = bind_port(dev, port, err);
    }
    if (rc >= 0) {
        rc = dev->class->attached(dev, NULL, NULL, err);
    }
    if (rc < 0) {
        detach(dev);
    }
    return rc < 0 ? rc : 0;
}

int pv_attach(struct pv_device *dev, const uint32_t *refs, unsigned count, uint32_t port,
              GError **err)
{
    return attach(dev, map_ring(dev, refs, count, err), port, err);
}

int pv_attach_frame(struct pv_device *dev, uint64_t frame, uint32_t port, GError **err)
{
    return attach(dev, map_frame(dev, frame, err), port, err);
}

/* True: nothing is in flight any more. */
static bool disconnected(struct pv_device *dev)
{
    if (dev->ring) {
        dev->class->disconnect(dev);
        detach(dev);
        log_guest(LOG_BACKEND, "%s: disconnected", pv_name(dev));
    }
    dev->link->draining = pv_device_busy(dev);
    return !dev->link->draining;
}

bool pv_device_busy(const struct pv_device *dev)
{
    return dev->class->busy && dev->class->busy(dev);
}

void pv_fail(struct pv_device *dev, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    log_guest(LOG_BACKEND, "%s: %s: it is served no more", pv_name(dev), text);
    dev->link->failed = true;
    disconnected(dev);
    set_state(dev, PV_CLOSING);
}

/* ---- the states ---- */

static int write_offer(struct pv_device *dev, GError **err)
{
    int rc;

    dev->link->write_error = 0;
    rc = dev->class->offer ? dev->class->offer(dev, err) : 0;
    if (rc == 0 && dev->link->write_error) {
        rc = dev->link->write_error;
        g_set_error(err, XENDM_ERROR, -rc, "its keys cannot be written: %s", g_strerror(-rc));
    }
    return rc;
}

static void offer(struct pv_device *dev)
{
    g_autoptr(GError) err = NULL;
    int rc;

    dev->link->failed = false;
    dev->link->refused = false;
    rc = write_offer(dev, &err);
    if (rc == -EINPROGRESS || (rc < 0 && later_if_of_the_moment(dev, err))) {
        return;
    }
    went_well(dev);
    if (rc < 0) {
        log_guest(LOG_BACKEND, "%s cannot be served: %s", pv_name(dev), err->message);
        dev->link->refused = true;
        set_state(dev, PV_CLOSED);
        return;
    }
    set_state(dev, PV_INIT_WAIT);
}

void pv_offer_again(struct pv_device *dev)
{
    dev->link->refused = false;
    pv_device_look(dev);
}

static void connect_front(struct pv_device *dev)
{
    g_autoptr(GError) err = NULL;

    if (dev->class->connect(dev, &err) < 0) {
        if (later_if_of_the_moment(dev, err)) {
            return;
        }
        went_well(dev);
        log_guest(LOG_BACKEND, "%s: %s", pv_name(dev), err->message);
        dev->link->failed = true;
        set_state(dev, PV_CLOSING);
        return;
    }
    went_well(dev);
    dev->link->connections++;
    log_guest(LOG_BACKEND, "%s: connected, ring of %u page%s", pv_name(dev), dev->ring_pages,
              dev->ring_pages == 1 ? "" : "s");
    set_state(dev, PV_CONNECTED);
    dev->class->event(dev); /* what was put into the ring before we were bound */
}

static bool active(enum pv_state front)
{
    return front == PV_INITIALISED || front == PV_CONNECTED || front == PV_CLOSING;
}

/* The toolstack wants it away: it wrote Closing into our state, and takes `online` back. */
static void close_step(struct pv_device *dev, enum pv_state front)
{
    if (!active(front) && disconnected(dev)) {
        set_state(dev, PV_CLOSED);
    }
}

static void step(struct pv_device *dev, enum pv_state front)
{
    switch (front) {
    case PV_INITIALISING: /* new, or again: after a kexec without a word */
        if (dev->state != PV_INIT_WAIT && !dev->link->refused && disconnected(dev)) {
            offer(dev);
        }
        break;
    case PV_INITIALISED:
    case PV_CONNECTED:
        if (dev->state == PV_INITIALISING) { /* it came back from a suspend and does not wait */
            offer(dev);
        }
        if (dev->bus->paused) { /* it is early: only offered */
            dev->link->look = true;
        } else if (dev->state == PV_INIT_WAIT && !dev->link->failed) {
            connect_front(dev);
        }
        break;
    case PV_CLOSING: /* it may use its ring still, to flush a disk */
        if (dev->state != PV_CLOSED) {
            set_state(dev, PV_CLOSING);
        }
        break;
    case PV_CLOSED:
    case PV_UNKNOWN:
        if (disconnected(dev)) {
            set_state(dev, PV_CLOSED);
        }
        break;
    case PV_INIT_WAIT: /* no front end waits so */
        break;
    }
}

static void front_changed(void *opaque, const char *path)
{
    pv_device_look(opaque);
}

/* The toolstack writes it first, but the directory is seen key by key outside a transaction. */
static bool find_front(struct pv_device *dev)
{
    struct pv_link *link = dev->link;
    g_autofree char *front = link->front[0] ? NULL : pv_read(dev, false, "frontend");
    g_autofree char *state = NULL;
    uint64_t domid = 0;

    if (link->front[0]) {
        return true;
    }
    if (!front || front[0] != '/') {
        return false;
    }
    if (pv_read_uint(dev, false, "frontend-id", UINT16_MAX, &domid) < 0 ||
        domid != dev->bus->host.domid) {
        log_warning(LOG_BACKEND, "%s: its front end is not in domain %u", pv_name(dev),
                    dev->bus->host.domid);
        return false;
    }
    g_free(link->front);
    link->front = g_steal_pointer(&front);
    if (dev->class->ours && !dev->class->ours(dev)) {
        link->front[0] = '\0'; /* as it is now: it is looked at again when our directory changes */
        return false;
    }
    state = key_path(dev, true, "state");
    link->watch = xenstore_watch(dev->bus->host.xs, state, front_changed, dev);
    if (!link->watch) {
        log_error(LOG_BACKEND, "cannot watch %s: %s", state, g_strerror(errno));
        link->front[0] = '\0'; /* found again then */
        return !later(dev);
    }
    return true;
}

static void leave_step(struct pv_device *dev)
{
    struct pv_bus *bus = dev->bus;
    const struct pv_class *class = dev->class;
    bool followed = dev->link->followed;

    if (!disconnected(dev)) {
        return;
    }
    pv_device_free(dev);
    if (followed) {
        pv_bus_look_later(bus, class);
    }
}

static void look_now(struct pv_device *dev)
{
    enum pv_state ours, front;
    uint64_t online = 1;

    if (dev->link->leaving) {
        leave_step(dev);
        return;
    }
    if (!find_front(dev)) {
        return;
    }
    if (!read_state(dev, false, &ours) || !read_state(dev, true, &front)) {
        later(dev); /* what is not known changes nothing */
        return;
    }
    if (dev->link->unsaid) {
        say_state(dev);
        return; /* what stands there is not our word */
    }
    pv_read_uint(dev, false, "online", UINT32_MAX, &online);
    if (ours != PV_CLOSED || front != PV_INITIALISING) { /* somebody begins anew */
        dev->link->refused = false;
    }
    if (ours == PV_INITIALISING && dev->state == PV_CLOSED) {
        dev->state = PV_INITIALISING; /* the toolstack has it anew */
    }
    if (ours == PV_CLOSING && dev->state != PV_CLOSED) {
        dev->state = PV_CLOSING; /* as the toolstack has it */
    } else if (ours == PV_CLOSED && !dev->ring) {
        dev->state = PV_CLOSED;
    }
    if (!online || (ours == PV_CLOSING && !active(front) && front != PV_INITIALISING)) {
        if (!online && dev->state != PV_CLOSED) {
            set_state(dev, PV_CLOSING);
        }
        close_step(dev, front);
        return;
    }
    step(dev, front);
}

static gboolean look_again(gpointer opaque)
{
    struct pv_device *dev = opaque;

    turn_of("PV states");
    dev->link->timer = 0;
    pv_device_look(dev);
    return G_SOURCE_REMOVE;
}

void pv_device_look(struct pv_device *dev)
{
    struct pv_link *link = dev->link;
    int64_t now = g_get_monotonic_time();

    if (dev->bus->paused && (dev->bus->started || !dev->class->early)) {
        link->look = true;
        return;
    }
    if (now - link->window >= LOOKS_WINDOW_US) {
        link->window = now;
        link->looks = 0;
    }
    if (++link->looks <= LOOKS_MAX) {
        look_now(dev);
    } else if (!link->timer) {
        link->timer = g_timeout_add((guint)((link->window + LOOKS_WINDOW_US - now) / 1000 + 1),
                                    look_again, dev);
    }
}

void pv_idle(struct pv_device *dev)
{
    if (dev->link->draining) {
        dev->link->draining = false;
        g_clear_handle_id(&dev->link->timer, g_source_remove); /* of something less urgent */
        dev->link->timer = g_timeout_add(0, look_again, dev);
    }
}

void pv_device_resume(struct pv_device *dev)
{
    if (dev->class->resumed) {
        dev->class->resumed(dev);
    }
    if (dev->ring) {
        dev->class->event(dev);
    }
    if (dev->link->look) {
        dev->link->look = false;
        pv_device_look(dev);
    }
}

/* ---- life ---- */

struct pv_device *pv_device_new(struct pv_bus *bus, const struct pv_class *class, unsigned devid,
                                const char *path)
{
    struct pv_device *dev = g_malloc0(class->size);

    dev->class = class;
    dev->bus = bus;
    dev->devid = devid;
    dev->state = PV_INITIALISING;
    dev->link = g_new0(struct pv_link, 1);
    dev->link->name = g_strdup_printf("%s %u", class->kind, devid);
    dev->link->path = g_strdup(path);
    dev->link->front = g_strdup("");
    return dev;
}

/* Its port stays bound: whoever closes the event channels ends that, or another process has it. */
void pv_device_free(struct pv_device *dev)
{
    struct pv_link *link = dev->link;

    if (dev->ring) {
        dev->class->disconnect(dev);
        unmap_all(dev);
    }
    if (dev->class->removed) {
        dev->class->removed(dev, link->leaving);
    }
    if (link->timer) {
        g_source_remove(link->timer);
    }
    xenstore_unwatch(link->watch);
    pv_bus_forget(dev->bus, dev);
    g_free(link->name);
    g_free(link->path);
    g_free(link->front);
    g_free(link);
    g_free(dev);
}

void pv_device_leave(struct pv_device *dev)
{
    if (!dev->link->leaving) {
        dev->link->leaving = true;
        dev->link->looks = 0; /* that was the toolstack */
        pv_device_look(dev);
    }
}

/* ---- live update ---- */

/* Keys are lists: of references for each mapping, and of ports. */
static void hand_over_more(const struct pv_link *link, struct handover *to, const char *group)
{
    for (unsigned i = 0; i < link->nmaps; i++) {
        g_autofree char *key = g_strdup_printf("more %u", i);

        handover_put_bytes(to, group, key, link->maps[i].refs,
                           link->maps[i].count * sizeof(link->maps[i].refs[0]));
    }
    for (unsigned i = 1; i < link->nports; i++) {
        g_autofree char *key = g_strdup_printf("port %u", i);

        handover_put_int(to, group, key, link->ports[i]);
    }
}

void pv_device_hand_over(const struct pv_device *dev, struct handover *to, const char *group)
{
    handover_put_int(to, group, "state", (int)dev->state);
    handover_put_int(to, group, "failed", dev->link->failed);
    if (dev->ring && dev->link->by_frame) {
        handover_put_bytes(to, group, "frame", &dev->link->frame, sizeof(dev->link->frame));
    } else if (dev->ring) {
        handover_put_bytes(to, group, "refs", dev->link->refs,
                           dev->ring_pages * sizeof(dev->link->refs[0]));
    }
    if (dev->ring) {
        handover_put_int(to, group, "port", dev->link->ports[0]);
        hand_over_more(dev->link, to, group);
    }
    if (dev->class->hand_over) {
        dev->class->hand_over(dev, to, group);
    }
}

static int take_over_pages(struct pv_device *dev, const struct handover *from, const char *group,
                           GError **err)
{
    size_t len = 0, frame_len = 0;
    g_autofree uint8_t *refs = handover_bytes(from, group, "refs", &len);
    g_autofree uint8_t *frame = handover_bytes(from, group, "frame", &frame_len);
    uint32_t list[PV_RING_PAGES_MAX];
    uint64_t number;

    if (frame && frame_len == sizeof(number)) {
        memcpy(&number, frame, sizeof(number));
        return map_frame(dev, number, err);
    }
    if (!refs || len == 0 || len > sizeof(list)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "what is left of it is no ring");
        return -EINVAL;
    }
    memcpy(list, refs, len);
    return map_ring(dev, list, (unsigned)(len / sizeof(list[0])), err);
}

static int no_port(GError **err)
{
    g_set_error(err, XENDM_ERROR, EINVAL, "what is left of it is no port");
    return -EINVAL;
}

static void adopt_port(struct pv_device *dev, int64_t port)
{
    dev->link->ports[dev->link->nports++] = (int)port;
    evtchn_adopt(dev->bus->host.events, (unsigned)port, rang, dev);
}

static int take_over_maps(struct pv_device *dev, const struct handover *from, const char *group,
                          GError **err)
{
    for (unsigned i = 0; i < PV_MORE_MAPS_MAX; i++) {
        g_autofree char *key = g_strdup_printf("more %u", i);
        size_t len = 0;
        g_autofree uint32_t *refs = (uint32_t *)(void *)handover_bytes(from, group, key, &len);

        if (!refs) {
            break;
        }
        if (!pv_map_more(dev, refs, (unsigned)(len / sizeof(refs[0])), err)) {
            return -EIO;
        }
    }
    return 0;
}

static int take_over_ports(struct pv_device *dev, const struct handover *from, const char *group,
                           GError **err)
{
    for (unsigned i = 1; i < PV_CHANNELS_MAX; i++) {
        g_autofree char *key = g_strdup_printf("port %u", i);
        int64_t port = handover_int(from, group, key, -1);

        if (port < 0) {
            break;
        }
        if (port > INT32_MAX) {
            return no_port(err);
        }
        adopt_port(dev, port);
    }
    return 0;
}

static int take_over_ring(struct pv_device *dev, const struct handover *from, const char *group,
                          GError **err)
{
    int64_t port = handover_int(from, group, "port", -1);
    int rc;

    if (port < 0) { /* it was not connected */
        return 0;
    }
    if (port > INT32_MAX) {
        return no_port(err);
    }
    rc = take_over_pages(dev, from, group, err);
    if (rc == 0) {
        adopt_port(dev, port);
        dev->link->connections++;
        rc = take_over_maps(dev, from, group, err);
    }
    rc = rc < 0 ? rc : take_over_ports(dev, from, group, err);
    return rc < 0 ? rc : dev->class->attached(dev, from, group, err);
}

int pv_device_take_over(struct pv_device *dev, const struct handover *from, const char *group,
                        GError **err)
{
    dev->state = (enum pv_state)CLAMP(handover_int(from, group, "state", 0), 0, PV_CLOSED);
    dev->link->failed = handover_int(from, group, "failed", 0);
    if (dev->class->take_over && dev->class->take_over(dev, from, group, err) < 0) {
        return -EIO;
    }
    return take_over_ring(dev, from, group, err);
}

/* ---- what is said of it ---- */

static const char *state_name(enum pv_state state)
{
    static const char *const names[] = {"unknown",   "initialising", "waiting", "initialised",
                                        "connected", "closing",      "closed"};

    return names[state];
}

void pv_device_describe(const struct pv_device *dev, struct facts *to)
{
    fact_text(to, "state", "%s", state_name(dev->state));
    fact_text(to, "front end", "%s", dev->link->front);
    fact_bool(to, "broke the rules", dev->link->failed);
    fact_int(to, "connections", dev->link->connections);
    if (dev->ring) {
        fact_int(to, "ring pages", dev->ring_pages);
        fact_int(to, "port", dev->link->ports[0]);
    }
    if (dev->class->describe) {
        dev->class->describe(dev, to);
    }
}
