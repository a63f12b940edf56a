/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xendm/backend.h>
#include <xendm/display.h>
#include <xendm/input.h>
#include <xendm/numbers.h>

#include "fake-pv.h"

struct fake_pv_fault fake_pv_fault;

static bool fails(enum fake_pv_call call)
{
    struct fake_pv_fault *f = &fake_pv_fault;

    if (!f->from || f->call != call) {
        return false;
    }
    f->calls++;
    errno = f->error;
    return f->calls >= f->from && f->calls <= f->until;
}

/* ---- grants ---- */

static int memory = -1;
static uint8_t *guest;
static struct {
    bool granted, read_only;
} table[FAKE_REFS + 1];
void (*fake_grant_copying)(void);
unsigned fake_grant_copies;

struct grants {
    unsigned mapped;
};

static void memory_open(void)
{
    size_t len = (FAKE_REFS + 1) * GRANT_PAGE_SIZE;

    if (memory < 0) {
        memory = memfd_create("guest", MFD_CLOEXEC);
        g_assert_cmpint(ftruncate(memory, (off_t)len), ==, 0);
        guest = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
        g_assert_true(guest != MAP_FAILED);
    }
}

void *fake_grant_page(uint32_t ref)
{
    memory_open();
    return guest + (size_t)ref * GRANT_PAGE_SIZE;
}

void *fake_grant(uint32_t ref, bool read_only)
{
    g_assert_cmpuint(ref, <=, FAKE_REFS);
    table[ref].granted = true;
    table[ref].read_only = read_only;
    memset(fake_grant_page(ref), 0, GRANT_PAGE_SIZE);
    return fake_grant_page(ref);
}

void fake_grant_end(uint32_t ref)
{
    table[ref].granted = false;
}

static int usable(uint32_t ref, bool write)
{
    if (ref > FAKE_REFS || !table[ref].granted) {
        return -ENOENT;
    }
    return write && table[ref].read_only ? -EACCES : 0;
}

struct grants *grants_open(unsigned domid, GError **err)
{
    memory_open();
    memset(table, 0, sizeof(table));
    return g_new0(struct grants, 1);
}

void grants_close(struct grants *g)
{
    g_assert_cmpuint(g->mapped, ==, 0);
    g_free(g);
}

static uint8_t *map_pages(const uint32_t *refs, unsigned count)
{
    uint8_t *at =
        mmap(NULL, count * GRANT_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    for (unsigned i = 0; i < count; i++) {
        g_assert_true(mmap(at + i * GRANT_PAGE_SIZE, GRANT_PAGE_SIZE, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_FIXED, memory,
                           (off_t)refs[i] * GRANT_PAGE_SIZE) != MAP_FAILED);
    }
    return at;
}

void *grants_map(struct grants *g, const uint32_t *refs, unsigned count, bool write, int *error)
{
    uint8_t *at;

    *error = count == 0 || count > GRANTS_MAP_MAX ? -EINVAL : fails(FAKE_PV_MAP) ? -errno : 0;
    for (unsigned i = 0; !*error && i < count; i++) {
        *error = usable(refs[i], write);
    }
    if (*error) {
        return NULL;
    }
    at = map_pages(refs, count);
    g->mapped += count;
    return at;
}

void grants_unmap(struct grants *g, void *pages, unsigned count)
{
    munmap(pages, count * GRANT_PAGE_SIZE);
    g->mapped -= count;
}

unsigned grants_mapped(const struct grants *g)
{
    return g->mapped;
}

int grants_copy(struct grants *g, struct grant_copy *parts, unsigned count, bool to_guest)
{
    int error = 0, all = fails(FAKE_PV_COPY) ? -errno : 0;

    fake_grant_copies++;
    if (fake_grant_copying) {
        fake_grant_copying();
    }
    g_assert_cmpuint(count, <=, GRANTS_COPY_MAX);
    for (unsigned i = 0; i < count; i++) {
        struct grant_copy *p = &parts[i];

        g_assert_cmpuint(p->offset + p->len, <=, GRANT_PAGE_SIZE);
        p->error = all ? all : usable(p->ref, to_guest);
        error = error ? error : p->error;
        if (!p->error) {
            uint8_t *theirs = (uint8_t *)fake_grant_page(p->ref) + p->offset;

            memcpy(to_guest ? theirs : p->local, to_guest ? p->local : theirs, p->len);
        }
    }
    return error;
}

/* ---- frames ---- */

unsigned fake_foreign_mapped;

struct foreign {
    char unused;
};

struct foreign *foreign_open(unsigned domid, GError **err)
{
    memory_open();
    return g_new0(struct foreign, 1);
}

void foreign_close(struct foreign *f)
{
    g_free(f);
}

void *foreign_map(struct foreign *f, const uint64_t *frames, unsigned count, bool write, int *error)
{
    g_autofree uint32_t *refs = g_new(uint32_t, count);

    *error = count == 0 || count > FOREIGN_PAGES_MAX ? -EINVAL : 0;
    for (unsigned i = 0; !*error && i < count; i++) {
        *error = frames[i] > FAKE_REFS ? -EFAULT : 0;
        refs[i] = (uint32_t)frames[i];
    }
    if (*error) {
        return NULL;
    }
    fake_foreign_mapped += count;
    return map_pages(refs, count);
}

void foreign_unmap(struct foreign *f, void *pages, unsigned count)
{
    munmap(pages, count * FOREIGN_PAGE_SIZE);
    fake_foreign_mapped -= count;
}

/* ---- event channels: our port is the guest's and a thousand ---- */

#define PORTS 64u
int fake_evtchn_fail;

struct bound {
    void (*rang)(void *opaque);
    void *opaque;
    bool masked, pending;
};

static struct bound ports[PORTS];
static unsigned rung[PORTS];

struct evtchn {
    bool paused;
};
static struct evtchn *the_events;

struct evtchn *evtchn_open(unsigned domid, int fd, GError **err)
{
    return the_events = g_new0(struct evtchn, 1);
}

void evtchn_close(struct evtchn *e)
{
    g_free(e);
}

int evtchn_fd(const struct evtchn *e)
{
    return -1;
}

static void tell(unsigned remote)
{
    struct bound *b = &ports[remote];

    if (b->rang && b->pending && !b->masked && !the_events->paused) {
        b->pending = false;
        b->masked = true;
        b->rang(b->opaque);
    }
}

int evtchn_adopt(struct evtchn *e, unsigned port, void (*rang)(void *opaque), void *opaque)
{
    ports[port - 1000].rang = rang;
    ports[port - 1000].opaque = opaque;
    return 0;
}

int evtchn_bind(struct evtchn *e, uint32_t remote, void (*rang)(void *opaque), void *opaque)
{
    int error = fails(FAKE_PV_BIND) ? -errno : fake_evtchn_fail;

    fake_evtchn_fail = 0;
    if (error || remote >= PORTS || ports[remote].rang) {
        return error ? error : -EINVAL;
    }
    ports[remote] = (struct bound){.rang = rang, .opaque = opaque};
    return (int)remote + 1000;
}

void evtchn_unbind(struct evtchn *e, unsigned port)
{
    ports[port - 1000].rang = NULL;
}

void evtchn_notify(struct evtchn *e, unsigned port)
{
    rung[port - 1000]++;
}

void evtchn_unmask(struct evtchn *e, unsigned port)
{
    ports[port - 1000].masked = false; /* what is pending is told by fake_pv_settle() */
}

void evtchn_pause(struct evtchn *e, bool paused)
{
    e->paused = paused;
}

bool fake_evtchn_ring(uint32_t remote)
{
    bool now = !ports[remote].masked && !the_events->paused;

    ports[remote].pending = true;
    tell(remote);
    return now;
}

unsigned fake_evtchn_rung(uint32_t remote)
{
    unsigned count = rung[remote];

    rung[remote] = 0;
    return count;
}

unsigned fake_evtchn_bound(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < PORTS; i++) {
        count += ports[i].rang != NULL;
    }
    return count;
}

/* ---- xenstore ---- */

unsigned fake_xenstore_reads;
int fake_xenstore_fail;

struct xenstore {
    GTree *values;
    GPtrArray *watches;
    GQueue events; /* struct event * */
    guint source;
};

struct xenstore_watch {
    struct xenstore *xs;
    char *path;
    void (*changed)(void *opaque, const char *path);
    void *opaque;
};

struct event {
    struct xenstore_watch *watch;
    char *path;
};

static gint compare(gconstpointer a, gconstpointer b, gpointer opaque)
{
    return strcmp(a, b);
}

struct xenstore *fake_xenstore_new(void)
{
    struct xenstore *xs = g_new0(struct xenstore, 1);

    xs->values = g_tree_new_full(compare, NULL, g_free, g_free);
    xs->watches = g_ptr_array_new();
    fake_xenstore_fail = 0;
    return xs;
}

static void event_free(struct event *e)
{
    g_free(e->path);
    g_free(e);
}

void fake_xenstore_free(struct xenstore *xs)
{
    struct event *e;

    g_assert_cmpuint(xs->watches->len, ==, 0);
    while ((e = g_queue_pop_head(&xs->events))) {
        event_free(e);
    }
    if (xs->source) {
        g_source_remove(xs->source);
    }
    g_tree_destroy(xs->values);
    g_ptr_array_free(xs->watches, TRUE);
    g_free(xs);
}

static gboolean deliver(gpointer opaque)
{
    struct xenstore *xs = opaque;
    struct event *e = g_queue_pop_head(&xs->events);

    if (!e) {
        xs->source = 0;
        return G_SOURCE_REMOVE;
    }
    if (g_ptr_array_find(xs->watches, e->watch, NULL)) {
        e->watch->changed(e->watch->opaque, e->path);
    }
    event_free(e);
    return G_SOURCE_CONTINUE;
}

static void queue(struct xenstore *xs, struct xenstore_watch *w, const char *path)
{
    struct event *e = g_new0(struct event, 1);

    e->watch = w;
    e->path = g_strdup(path);
    g_queue_push_tail(&xs->events, e);
    if (!xs->source) {
        xs->source = g_idle_add(deliver, xs);
    }
}

static bool below(const char *path, const char *top)
{
    size_t len = strlen(top);

    return strncmp(path, top, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* Removing a directory tells those who watch something in it, too. */
static void fire(struct xenstore *xs, const char *path, bool removed)
{
    for (guint i = 0; i < xs->watches->len; i++) {
        struct xenstore_watch *w = g_ptr_array_index(xs->watches, i);

        if (below(path, w->path)) {
            queue(xs, w, path);
        } else if (removed && below(w->path, path)) {
            queue(xs, w, w->path);
        }
    }
}

char *xenstore_read(struct xenstore *xs, const char *path)
{
    const char *value = g_tree_lookup(xs->values, path);

    fake_xenstore_reads++;
    if (fails(FAKE_PV_READ)) {
        return NULL;
    }
    errno = fake_xenstore_fail ? fake_xenstore_fail : ENOENT;
    return value && !fake_xenstore_fail ? g_strdup(value) : NULL;
}

int xenstore_read_uint(struct xenstore *xs, const char *path, uint64_t max, uint64_t *value)
{
    g_autofree char *text = xenstore_read(xs, path);

    return text ? number_parse(text, 0, max, value) : -errno;
}

static void put_value(struct xenstore *xs, const char *path, const char *value)
{
    g_tree_replace(xs->values, g_strdup(path), g_strdup(value));
    fire(xs, path, false);
}

int xenstore_write(struct xenstore *xs, const char *path, const char *value)
{
    if (fails(FAKE_PV_WRITE)) {
        return -errno;
    }
    put_value(xs, path, value);
    return 0;
}

static gboolean is_in(gpointer key, gpointer value, gpointer opaque)
{
    const char **dir = opaque;

    if (below(key, *dir)) {
        *dir = NULL;
    }
    return !*dir;
}

int xenstore_write_in(struct xenstore *xs, const char *directory, const char *path,
                      const char *value)
{
    g_tree_foreach(xs->values, is_in, &directory);
    return directory ? -ENOENT : xenstore_write(xs, path, value);
}

unsigned xenstore_own_domid(const struct xenstore *xs)
{
    return 0;
}

struct listing {
    const char *path;
    GHashTable *names;
};

static gboolean list_one(gpointer key, gpointer value, gpointer opaque)
{
    struct listing *l = opaque;
    const char *path = key;
    size_t len = strlen(l->path);

    if (below(path, l->path) && path[len] == '/') {
        g_hash_table_add(l->names, g_strndup(path + len + 1, strcspn(path + len + 1, "/")));
    }
    return FALSE;
}

char **xenstore_list(struct xenstore *xs, const char *path)
{
    struct listing l = {path, g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL)};
    char **names = NULL;
    GHashTableIter it;
    gpointer name;
    guint n = 0;

    if (fails(FAKE_PV_LIST)) {
        g_hash_table_destroy(l.names);
        return NULL;
    }
    g_tree_foreach(xs->values, list_one, &l);
    if (g_hash_table_size(l.names) > 0) {
        names = g_new0(char *, g_hash_table_size(l.names) + 1);
        g_hash_table_iter_init(&it, l.names);
        while (g_hash_table_iter_next(&it, &name, NULL)) {
            names[n++] = g_strdup(name);
        }
    }
    g_hash_table_destroy(l.names);
    errno = ENOENT;
    return names;
}

struct xenstore_watch *xenstore_watch(struct xenstore *xs, const char *path,
                                      void (*changed)(void *opaque, const char *path), void *opaque)
{
    struct xenstore_watch *w;

    if (fails(FAKE_PV_WATCH)) {
        return NULL;
    }
    w = g_new0(struct xenstore_watch, 1);
    w->xs = xs;
    w->path = g_strdup(path);
    w->changed = changed;
    w->opaque = opaque;
    g_ptr_array_add(xs->watches, w);
    queue(xs, w, path);
    return w;
}

void xenstore_unwatch(struct xenstore_watch *w)
{
    if (w) {
        g_ptr_array_remove(w->xs->watches, w);
        g_free(w->path);
        g_free(w);
    }
}

const char *fake_xenstore_get(struct xenstore *xs, const char *path)
{
    const char *value = g_tree_lookup(xs->values, path);

    return value ? value : "";
}

void fake_xenstore_set(struct xenstore *xs, const char *path, const char *fmt, ...)
{
    g_autofree char *value = NULL;
    va_list ap;

    va_start(ap, fmt);
    value = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    put_value(xs, path, value);
}

struct removal {
    const char *path;
    GPtrArray *keys;
};

static gboolean find_below(gpointer key, gpointer value, gpointer opaque)
{
    struct removal *r = opaque;

    if (below(key, r->path)) {
        g_ptr_array_add(r->keys, key);
    }
    return FALSE;
}

void fake_xenstore_remove(struct xenstore *xs, const char *path)
{
    struct removal r = {path, g_ptr_array_new()};

    g_tree_foreach(xs->values, find_below, &r);
    for (guint i = 0; i < r.keys->len; i++) {
        g_tree_remove(xs->values, g_ptr_array_index(r.keys, i));
    }
    g_ptr_array_free(r.keys, TRUE);
    fire(xs, path, true);
}

void fake_pv_settle(void)
{
    bool again;

    do {
        again = false;
        while (g_main_context_iteration(NULL, FALSE)) {
            ;
        }
        for (unsigned i = 0; the_events && i < PORTS; i++) {
            if (ports[i].rang && ports[i].pending && !ports[i].masked && !the_events->paused) {
                tell(i);
                again = true;
            }
        }
    } while (again);
}

/* ---- what a bus needs ---- */

void fake_pv_host_open(struct pv_host *host)
{
    host->domid = FAKE_DOMID;
    host->xs = fake_xenstore_new();
    host->grants = grants_open(FAKE_DOMID, NULL);
    host->foreign = foreign_open(FAKE_DOMID, NULL);
    host->events = evtchn_open(FAKE_DOMID, -1, NULL);
    host->display = display_new();
    host->backends = backend_set_new();
    host->input = input_new();
}

struct pv_bus *fake_pv_take_over(struct pv_host *host, const struct handover *left)
{
    struct pv_bus *bus = pv_bus_new(host, pv_classes());

    pv_bus_pause(bus);
    g_assert_cmpint(pv_bus_take_over(bus, left, NULL), ==, 0);
    pv_bus_resume(bus);
    g_assert_cmpint(pv_bus_start(bus, NULL), ==, 0);
    fake_pv_settle();
    return bus;
}

void fake_pv_host_close(struct pv_host *host, struct pv_bus *bus)
{
    fake_pv_settle();
    g_assert_cmpuint(fake_evtchn_bound(), ==, 0);
    pv_bus_free(bus);
    g_assert_cmpuint(grants_mapped(host->grants), ==, 0);
    g_assert_cmpuint(fake_foreign_mapped, ==, 0);
    grants_close(host->grants);
    foreign_close(host->foreign);
    display_free(host->display);
    evtchn_close(host->events);
    backend_set_free(host->backends);
    input_free(host->input);
    fake_xenstore_free(host->xs);
}
