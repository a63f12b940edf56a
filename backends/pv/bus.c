/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bus: which PV devices the toolstack gave the domain, and their life as a whole; see
 * xendm/pv.h. A watch a kind sees directories come, go and change; device.c does the rest.
 */
#include <errno.h>
#include <string.h>

#include <xendm/error.h>
#include <xendm/evtchn.h>
#include <xendm/facts.h>
#include <xendm/grants.h>
#include <xendm/handover.h>
#include <xendm/log.h>
#include <xendm/numbers.h>
#include <xendm/turn.h>
#include <xendm/xenstore.h>

#include "internal.h"

#define DEVICES_MAX 256u

static struct pv_device *find(const struct pv_bus *bus, const struct pv_class *class,
                              unsigned devid)
{
    for (guint i = 0; i < bus->devices->len; i++) {
        struct pv_device *dev = g_ptr_array_index(bus->devices, i);

        if (dev->class == class && dev->devid == devid) {
            return dev;
        }
    }
    return NULL;
}

void pv_bus_forget(struct pv_bus *bus, struct pv_device *dev)
{
    g_ptr_array_remove(bus->devices, dev);
}

/* ---- directories ---- */

static struct pv_device *add(struct pv_kind *kind, unsigned devid)
{
    struct pv_bus *bus = kind->bus;
    g_autofree char *path = g_strdup_printf("%s/%u", kind->path, devid);
    struct pv_device *dev;

    if (bus->devices->len >= DEVICES_MAX) {
        log_warning(LOG_BACKEND, "%s: there are %u PV devices already", path, DEVICES_MAX);
        return NULL;
    }
    dev = pv_device_new(bus, kind->class, devid, path);
    g_ptr_array_add(bus->devices, dev);
    return dev;
}

static bool directory_exists(struct pv_kind *kind, const char *name)
{
    g_autofree char *state = g_strdup_printf("%s/%s/state", kind->path, name);
    g_autofree char *value = xenstore_read(kind->bus->host.xs, state);

    /* What cannot be read now is taken to be there: only what is known to be gone is let go. */
    return value || errno != ENOENT;
}

/* "832/params": something below changed, or the directory came or went. */
static void entry_changed(struct pv_kind *kind, const char *entry)
{
    g_autofree char *name = g_strndup(entry, strcspn(entry, "/"));
    const char *key = entry[strlen(name)] ? entry + strlen(name) + 1 : "";
    struct pv_device *dev;
    uint64_t devid;

    if (number_parse(name, 0, UINT32_MAX, &devid) < 0) {
        return;
    }
    dev = find(kind->bus, kind->class, (unsigned)devid);
    if (!directory_exists(kind, name)) {
        if (dev) {
            pv_device_leave(dev);
        }
        return;
    }
    dev = dev ? dev : add(kind, (unsigned)devid);
    if (!dev || dev->link->leaving) { /* the old one is there still */
        if (dev) {
            dev->link->followed = true;
        }
        return;
    }
    if (key[0] && dev->class->changed) {
        dev->class->changed(dev, key);
    }
    /* Keys but these say nothing of the states. */
    if (!key[0] || strcmp(key, "state") == 0 || strcmp(key, "online") == 0 ||
        strcmp(key, "frontend") == 0) {
        pv_device_look(dev);
    }
}

#define LIST_AGAIN_MS 100u
#define LIST_TRIES 100u

static void look_at_all(struct pv_kind *kind);

static gboolean list_again(gpointer opaque)
{
    struct pv_kind *kind = opaque;

    turn_of("PV states");
    kind->timer = 0;
    look_at_all(kind);
    return G_SOURCE_REMOVE;
}

static void look_at_all(struct pv_kind *kind)
{
    struct pv_bus *bus = kind->bus;
    g_auto(GStrv) names = xenstore_list(bus->host.xs, kind->path);

    if (!names && errno != ENOENT) {
        log_warning(LOG_BACKEND, "cannot list %s: %s", kind->path, g_strerror(errno));
        if (!kind->timer && kind->tries++ < LIST_TRIES) {
            kind->timer = g_timeout_add(LIST_AGAIN_MS, list_again, kind);
        }
        return;
    }
    kind->tries = 0;
    for (guint i = bus->devices->len; i-- > 0;) {
        struct pv_device *dev = g_ptr_array_index(bus->devices, i);
        g_autofree char *name = g_strdup_printf("%u", dev->devid);

        if (dev->class == kind->class &&
            !(names && g_strv_contains((const char *const *)names, name))) {
            pv_device_leave(dev);
        }
    }
    for (char **name = names; name && *name; name++) {
        entry_changed(kind, *name);
    }
}

void pv_bus_look_later(struct pv_bus *bus, const struct pv_class *class)
{
    for (guint i = 0; i < bus->watches->len; i++) {
        struct pv_kind *kind = g_ptr_array_index(bus->watches, i);

        if (kind->class == class) {
            g_clear_handle_id(&kind->timer, g_source_remove);
            kind->timer = g_timeout_add(0, list_again, kind);
        }
    }
}

static void changed(void *opaque, const char *path)
{
    struct pv_kind *kind = opaque;
    size_t len = strlen(kind->path);

    if (strncmp(path, kind->path, len) == 0 && path[len] == '/') {
        entry_changed(kind, path + len + 1);
    } else {
        look_at_all(kind);
    }
}

/* ---- life ---- */

static void kind_free(void *opaque)
{
    struct pv_kind *kind = opaque;

    if (kind->timer) {
        g_source_remove(kind->timer);
    }
    xenstore_unwatch(kind->watch);
    g_free(kind->path);
    g_free(kind);
}

struct pv_bus *pv_bus_new(const struct pv_host *host, const struct pv_class *const *classes)
{
    struct pv_bus *bus = g_new0(struct pv_bus, 1);

    bus->host = *host;
    bus->classes = classes;
    bus->devices = g_ptr_array_new();
    bus->watches = g_ptr_array_new_with_free_func(kind_free);
    for (unsigned i = 0; classes[i]; i++) {
        struct pv_kind *kind = g_new0(struct pv_kind, 1);

        kind->bus = bus;
        kind->class = classes[i];
        kind->path = g_strdup_printf("/local/domain/%u/backend/%s/%u", xenstore_own_domid(host->xs),
                                     classes[i]->kind, host->domid);
        g_ptr_array_add(bus->watches, kind);
    }
    return bus;
}

static int watch_kind(struct pv_kind *kind, GError **err)
{
    if (!kind->watch) {
        kind->watch = xenstore_watch(kind->bus->host.xs, kind->path, changed, kind);
    }
    if (!kind->watch) {
        int e = errno;

        g_set_error(err, XENDM_ERROR, e, "cannot watch %s: %s", kind->path, g_strerror(e));
        return -e;
    }
    return 0;
}

static int watch_kinds(struct pv_bus *bus, bool early, GError **err)
{
    int rc = 0;

    for (guint i = 0; rc == 0 && i < bus->watches->len; i++) {
        struct pv_kind *kind = g_ptr_array_index(bus->watches, i);

        rc = early && !kind->class->early ? 0 : watch_kind(kind, err);
    }
    return rc;
}

int pv_bus_start(struct pv_bus *bus, GError **err)
{
    if (bus->started) {
        return 0;
    }
    bus->started = true;
    return watch_kinds(bus, false, err);
}

int pv_bus_start_early(struct pv_bus *bus, GError **err)
{
    return bus->started ? 0 : watch_kinds(bus, true, err);
}

void pv_bus_free(struct pv_bus *bus)
{
    if (!bus) {
        return;
    }
    while (bus->devices->len > 0) {
        pv_device_free(g_ptr_array_index(bus->devices, bus->devices->len - 1));
    }
    g_ptr_array_free(bus->devices, TRUE);
    g_ptr_array_free(bus->watches, TRUE);
    g_free(bus);
}

void pv_bus_pause(struct pv_bus *bus)
{
    bus->paused = true;
    evtchn_pause(bus->host.events, true);
}

void pv_bus_resume(struct pv_bus *bus)
{
    if (!bus->paused) {
        return;
    }
    bus->paused = false;
    evtchn_pause(bus->host.events, false);
    for (guint i = bus->devices->len; i-- > 0;) {
        pv_device_resume(g_ptr_array_index(bus->devices, i));
    }
}

bool pv_bus_busy(const struct pv_bus *bus)
{
    for (guint i = 0; i < bus->devices->len; i++) {
        if (pv_device_busy(g_ptr_array_index(bus->devices, i))) {
            return true;
        }
    }
    return false;
}

/* ---- live update ---- */

/* "pv qdisk 832": kinds and numbers, space between. */
#define GROUP "pv"

void pv_bus_hand_over(const struct pv_bus *bus, struct handover *to)
{
    g_autoptr(GString) list = g_string_new(NULL);

    for (guint i = 0; i < bus->devices->len; i++) {
        const struct pv_device *dev = g_ptr_array_index(bus->devices, i);
        g_autofree char *group = g_strdup_printf(GROUP " %s", pv_name(dev));

        if (!dev->link->leaving) {
            g_string_append_printf(list, "%s %u\n", dev->class->kind, dev->devid);
            pv_device_hand_over(dev, to, group);
        }
    }
    handover_put_text(to, GROUP, "devices", list->str);
}

static int take_over_one(struct pv_bus *bus, const struct handover *from, const char *name,
                         GError **err)
{
    g_auto(GStrv) words = g_strsplit(name, " ", 2);
    g_autofree char *group = g_strdup_printf(GROUP " %s", name);
    uint64_t devid = 0;

    for (guint i = 0; words[0] && words[1] && i < bus->watches->len; i++) {
        struct pv_kind *kind = g_ptr_array_index(bus->watches, i);
        struct pv_device *dev;

        if (strcmp(kind->class->kind, words[0]) == 0 &&
            number_parse(words[1], 0, UINT32_MAX, &devid) == 0 &&
            !find(bus, kind->class, (unsigned)devid)) {
            dev = add(kind, (unsigned)devid);
            return dev ? pv_device_take_over(dev, from, group, err) : -ENOSPC;
        }
    }
    g_set_error(err, XENDM_ERROR, ENOENT, "there is no such PV back end here");
    return -ENOENT;
}

int pv_bus_take_over(struct pv_bus *bus, const struct handover *from, GError **err)
{
    g_autofree char *text = handover_text(from, GROUP, "devices");
    g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", (int)DEVICES_MAX + 1);

    for (char **line = lines; *line && **line; line++) {
        int rc = take_over_one(bus, from, *line, err);

        if (rc < 0) {
            g_prefix_error(err, "%s: ", *line);
            return rc;
        }
    }
    return 0;
}

/* ---- what is said of it ---- */

void pv_bus_describe(const struct pv_bus *bus, struct facts *to)
{
    fact_int(to, "devices", bus->devices->len);
    fact_int(to, "mapped pages", grants_mapped(bus->host.grants));
    for (guint i = 0; i < bus->devices->len; i++) {
        const struct pv_device *dev = g_ptr_array_index(bus->devices, i);

        fact_group(to, pv_name(dev));
        pv_device_describe(dev, to);
    }
    fact_group(to, NULL);
}
