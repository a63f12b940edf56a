/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unit tests of xenemu's host: memory, ranges, requests and their states, the ring, events, lines.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../../tools/xenemu/control/words.h"
#include "../../tools/xenemu/host/domain-life.h"
#include "../../tools/xenemu/host/domain.h"
#include "../../tools/xenemu/host/handle.h"
#include "../../tools/xenemu/rpc/connections.h"

struct fixture {
    struct host *h;
    struct domain *d;
    struct conn *dm; /* owns the ports of the pretended device model */
    int stream;      /* its end of the event stream */
};

/* Hosts live as long as the process; here they stay in sight of whoever looks for leaks. */
static struct host *hosts[64];
static unsigned int nr_hosts;

static struct host *new_host(void)
{
    g_assert_cmpuint(nr_hosts, <, G_N_ELEMENTS(hosts));
    return hosts[nr_hosts++] = host_new(NULL);
}

static void stream_ready(struct host *h, struct source *s, uint32_t events)
{
    (void)events;
    evtchn_stream_ready(h, (struct conn *)((char *)s - offsetof(struct conn, stream_src)));
}

static void set_up(struct fixture *f, gconstpointer arg)
{
    const char *err;
    int sv[2];

    (void)arg;
    f->h = new_host();
    f->h->log = NULL;
    f->d = domain_create(f->h, 1, "t", 64 * 1024, 8 * 1024, 0xF0000000, 4, &err);
    g_assert_nonnull(f->d);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), ==, 0);
    f->dm = g_new0(struct conn, 1);
    f->dm->lib = g_strdup("test");
    f->dm->ports = g_ptr_array_new();
    f->dm->stream = f->dm->stream_src.fd = sv[0];
    f->dm->stream_src.ready = stream_ready;
    f->dm->src.fd = dup(sv[0]);
    f->dm->restrict_domid = -1;
    g_ptr_array_add(f->h->conns, f->dm);
    host_watch(f->h, &f->dm->stream_src, 1u << 30 /* EPOLLONESHOT */);
    f->stream = sv[1];
}

static void tear_down(struct fixture *f, gconstpointer arg)
{
    (void)arg;
    pthread_mutex_lock(&f->h->big);
    domain_destroy(f->d);
    conn_close(f->h, f->dm);
    pthread_mutex_unlock(&f->h->big);
    close(f->stream);
}

static uint32_t bind_port(struct fixture *f, uint32_t remote)
{
    struct port *p;

    g_assert_cmpint(port_bind_interdomain(domain_find(f->h, 0), 1, remote, &p), ==, 0);
    port_set_user(p, f->dm);
    return p->nr;
}

/* ---- memory ---- */

static void test_memory_layout(struct fixture *f, gconstpointer arg)
{
    uint64_t left;

    (void)arg;
    g_assert_nonnull(mem_ptr(f->d, 0x9ffff, &left, NULL));
    g_assert_cmpuint(left, ==, 1);
    g_assert_null(mem_ptr(f->d, 0xa0000, &left, NULL));
    g_assert_null(mem_ptr(f->d, 0xbffff, &left, NULL));
    g_assert_nonnull(mem_ptr(f->d, 0xc0000, &left, NULL));
    g_assert_nonnull(mem_ptr(f->d, (56u << 20) - 1, &left, NULL));
    g_assert_null(mem_ptr(f->d, 56u << 20, &left, NULL));
    g_assert_nonnull(mem_ptr(f->d, 0xfeff8000, &left, NULL));
    g_assert_null(mem_ptr(f->d, 0xfefe0000, &left, NULL));
}

static void test_memory_high(void)
{
    struct host *h = new_host();
    uint64_t left;
    const char *err;
    struct domain *d;
    uint8_t *low, *high;

    h->log = NULL;
    d = domain_create(h, 2, "big", 6u << 20, 0, 0xC0000000, 1, &err);
    g_assert_nonnull(d);
    g_assert_null(mem_ptr(d, 0xC0000000, &left, NULL));
    low = mem_ptr(d, 0xC0000000 - 1, &left, NULL);
    high = mem_ptr(d, UINT64_C(1) << 32, &left, NULL);
    g_assert_true(low && high == low + 1); /* one piece of the file */
    g_assert_nonnull(mem_ptr(d, UINT64_C(0x1c0000000) - 1, &left, NULL));
    g_assert_null(mem_ptr(d, UINT64_C(0x1c0000000), &left, NULL));
    domain_destroy(d);
}

static void test_memory_quota(struct fixture *f, gconstpointer arg)
{
    uint64_t room = f->d->max_pages - f->d->tot_pages, i;

    (void)arg;
    /* Video memory and 1 MiB, less the 16 special pages, plus the VGA hole that is not populated.
     */
    g_assert_cmpuint(room, ==, (9u << 20 >> 12) - 16 + 32);
    for (i = 0; i < room; i++)
        g_assert_cmpint(mem_populate(f->d, 0x40000 + i, 0), ==, 0);
    g_assert_cmpint(mem_populate(f->d, 0x40000 + i, 0), ==, -ENOMEM);
    g_assert_cmpint(mem_remove(f->d, 0x40000, 1, true), ==, 1);
    g_assert_cmpint(mem_populate(f->d, 0x40000 + i, 0), ==, 0);
    /* Populating what is there already replaces the page and costs nothing more. */
    f->d->max_pages++;
    g_assert_cmpint(mem_populate(f->d, 0x40005, 0), ==, 0);
    g_assert_cmpuint(f->d->tot_pages, ==, f->d->max_pages - 1);
}

static void test_memory_relocate(struct fixture *f, gconstpointer arg)
{
    uint64_t left;
    uint8_t *p;
    int i;

    (void)arg;
    for (i = 0; i < 16; i++)
        g_assert_cmpint(mem_populate(f->d, 0x40000 + (uint64_t)i, 0), ==, 0);
    p = mem_ptr(f->d, 0x40003008, &left, NULL);
    *p = 0x5a;
    g_assert_cmpint(mem_relocate(f->d, 16, 0x40000, 0xf0000), ==, 0);
    g_assert_null(mem_ptr(f->d, 0x40003008, &left, NULL));
    g_assert_true(mem_ptr(f->d, 0xf0003008, &left, NULL) == p);
    g_assert_cmpint(mem_relocate(f->d, 16, 0x40000, 0xf0000), ==, -EINVAL);
    /* Page by page: an overlapping move upward carries the first page to the end. */
    p = mem_ptr(f->d, 0xf0000000, &left, NULL);
    g_assert_cmpint(mem_relocate(f->d, 16, 0xf0000, 0xf0001), ==, 0);
    g_assert_true(mem_ptr(f->d, 0xf0010000, &left, NULL) == p);
    g_assert_null(mem_ptr(f->d, 0xf000f000, &left, NULL));
}

static void test_memory_freed_while_mapped(struct fixture *f, gconstpointer arg)
{
    const struct mem_run *r = mem_lookup(f->d, 0x100);
    uint64_t mfn = r->mfn + (0x100 - r->gfn), before = f->d->tot_pages, left;
    uint8_t *p = mem_ptr(f->d, 0x100000, &left, NULL);

    (void)arg;
    *p = 0x77;
    mapping_add(f->h, f->dm, f->d, 0x7000000, 1, mfn, 0x100, MAP_FOREIGN);
    mem_remove(f->d, 0x100, 1, true);
    g_assert_cmpuint(*p, ==, 0x77); /* the mapping keeps it */
    g_assert_cmpuint(f->d->tot_pages, ==, before);
    mapping_remove(f->h, f->dm, 0x7000000, 1, MAP_FOREIGN);
    g_assert_cmpuint(*p, ==, 0);
    g_assert_cmpuint(f->d->tot_pages, ==, before - 1);
    g_assert_cmpuint(f->d->zombies->len, ==, 0);
}

static void test_memory_partial_unmap(struct fixture *f, gconstpointer arg)
{
    (void)arg;
    mapping_add(f->h, f->dm, f->d, 0x10000, 8, 0x200, 0x200, MAP_FOREIGN);
    mapping_remove(f->h, f->dm, 0x12000, 3, MAP_FOREIGN);
    g_assert_cmpuint(f->h->mappings->len, ==, 2);
    mapping_remove(f->h, f->dm, 0x10000, 8, MAP_FOREIGN);
    g_assert_cmpuint(f->h->mappings->len, ==, 0);
}

static void test_memory_types(struct fixture *f, gconstpointer arg)
{
    (void)arg;
    g_assert_cmpint(mem_set_type(f->d, MEM_RAM_RO, 0xc0, 0x20), ==, 0);
    g_assert_cmpint(mem_lookup(f->d, 0xdf)->type, ==, MEM_RAM_RO);
    g_assert_cmpint(mem_lookup(f->d, 0xe0)->type, ==, MEM_RAM_RW);
    g_assert_cmpint(mem_set_type(f->d, MEM_IOREQ_SERVER, 0xc0, 1), ==, -EINVAL);
    g_assert_cmpint(mem_set_type(f->d, MEM_RAM_RW, 0xc0, 0x20), ==, 0);
    g_assert_cmpint(mem_set_type(f->d, MEM_RAM_RO, 0xa0, 1), ==, -EINVAL);
}

static void test_dirty(struct fixture *f, gconstpointer arg)
{
    uint8_t bits[2];

    (void)arg;
    g_assert_cmpint(mem_track_vram(f->d, 0x1000, 16, bits), ==, 0);
    g_assert_cmphex(bits[0], ==, 0xff); /* the first call says everything */
    g_assert_cmpint(mem_track_vram(f->d, 0x1000, 16, bits), ==, 0);
    g_assert_cmphex(bits[0] | bits[1], ==, 0);
    mem_mark_dirty(f->d, 0x1009, 1);
    g_assert_cmpint(mem_track_vram(f->d, 0x1000, 16, bits), ==, 0);
    g_assert_cmphex(bits[1], ==, 2);
    g_assert_cmpint(mem_track_vram(f->d, 0, 0x40001, NULL), ==, -EINVAL);

    f->d->log.on = true;
    g_assert_cmpint(mem_modified(f->d, 0x123, 2), ==, 0);
    g_assert_true(dirty_test(&f->d->log, 0x124) && !dirty_test(&f->d->log, 0x125));
    g_assert_true(dirty_test(&f->d->modified, 0x123));
    g_assert_cmpint(mem_modified(f->d, 0x123, 0), ==, -EINVAL);
    g_assert_cmpint(mem_modified(f->d, f->d->max_gfn, 1), ==,
                    -EINVAL); /* Xen refuses the last one */
    g_assert_cmpint(mem_modified(f->d, UINT64_MAX, 2), ==, -EINVAL);
    g_assert_cmpint(mem_track_vram(f->d, 0x1000, 16, bits), ==, -EINVAL);
}

/* ---- ioreq servers ---- */

static void test_servers(struct fixture *f, gconstpointer arg)
{
    uint64_t out[3], mfn;
    unsigned int id, i;

    (void)arg;
    g_assert_cmpint(ioreq_create(f->d, 3, &id), ==, -EINVAL);
    for (i = 0; i < 8; i++) {
        g_assert_cmpint(ioreq_create(f->d, 2, &id), ==, 0);
        g_assert_cmpuint(id, ==, i);
    }
    g_assert_cmpint(ioreq_create(f->d, 0, &id), ==, -ENOSPC);
    g_assert_cmpint(ioreq_destroy(f->d, 3), ==, 0);
    g_assert_cmpint(ioreq_destroy(f->d, 3), ==, -ENOENT);
    g_assert_cmpint(ioreq_create(f->d, 0, &id), ==, 0);
    g_assert_cmpuint(id, ==, 3); /* the lowest free one */

    /* Resource and gfn mapping exclude each other. */
    g_assert_cmpint(ioreq_resource(f->d, 0, 1, &mfn), ==, 0);
    g_assert_cmpint(ioreq_info(f->d, 0, true, out), ==, 0);
    g_assert_cmpint(ioreq_info(f->d, 0, false, out), ==, -EPERM);
    g_assert_cmpint(ioreq_info(f->d, 1, false, out), ==, 0);
    g_assert_cmphex(out[0], ==, 0xfeff0);
    g_assert_cmphex(out[1], ==, 0xfeff1);
    g_assert_cmpint(ioreq_resource(f->d, 1, 0, &mfn), ==, -EPERM);
    g_assert_cmpint(ioreq_resource(f->d, 3, 0, &mfn), ==, -ENOENT); /* no buffered page */
    g_assert_cmpint(ioreq_resource(f->d, 0, 2, &mfn), ==, -EINVAL);

    /* The gfns leave the guest while the server is enabled. */
    g_assert_nonnull(mem_lookup(f->d, 0xfeff0));
    g_assert_cmpint(ioreq_set_state(f->d, 1, true), ==, 0);
    g_assert_null(mem_lookup(f->d, 0xfeff0));
    g_assert_cmpint(ioreq_set_state(f->d, 1, false), ==, 0);
    g_assert_nonnull(mem_lookup(f->d, 0xfeff0));
}

static void test_ranges(struct fixture *f, gconstpointer arg)
{
    unsigned int id, i;

    (void)arg;
    g_assert_cmpint(ioreq_create(f->d, 0, &id), ==, 0);
    g_assert_cmpint(ioreq_map_range(f->d, id, 0, 0x100, 0x107), ==, 0);
    g_assert_cmpint(ioreq_map_range(f->d, id, 0, 0x107, 0x110), ==, -EEXIST);
    g_assert_cmpint(ioreq_map_range(f->d, id, 0, 0x110, 0x108), ==, -EINVAL);
    g_assert_cmpint(ioreq_map_range(f->d, id, 3, 0, 1), ==, -EINVAL);
    g_assert_cmpint(ioreq_map_range(f->d, 7, 0, 0, 1), ==, -ENOENT);
    g_assert_cmpint(ioreq_map_range(f->d, id, 0, 0x108, 0x10f), ==, 0);
    g_assert_cmpuint(f->d->server[id]->ranges[0]->len, ==, 1);            /* merged */
    g_assert_cmpint(ioreq_unmap_range(f->d, id, 0, 0x104, 0x10b), ==, 0); /* a hole in the middle */
    g_assert_cmpuint(f->d->server[id]->ranges[0]->len, ==, 2);
    g_assert_cmpint(ioreq_unmap_range(f->d, id, 0, 0x100, 0x104), ==, -ENOENT);
    g_assert_cmpint(ioreq_unmap_range(f->d, id, 0, 0x100, 0x103), ==, 0);
    g_assert_cmpint(ioreq_unmap_range(f->d, id, 0, 0x10c, 0x10f), ==, 0);
    for (i = 0; i < 256; i++)
        g_assert_cmpint(ioreq_map_range(f->d, id, 1, i * 0x2000, i * 0x2000 + 0xfff), ==, 0);
    g_assert_cmpint(ioreq_map_range(f->d, id, 1, 0x800000, 0x800fff), ==, -ENOMEM);
}

/* A device model in a thread: answers with what the test told it to. */
struct responder {
    struct fixture *f;
    unsigned int id, vcpu;
    int mode; /* 0 answer, 1 state 7, 2 back to READY, 3 NONE, 4 nothing, 5 wrong port afterwards */
    ioreq_t seen;
    uint64_t answer;
    uint32_t port;
};

static void *responder_thread(void *arg)
{
    struct responder *r = arg;
    ioreq_t *slot = (ioreq_t *)r->f->d->server[r->id]->sync.va + r->vcpu;
    uint8_t *state = (uint8_t *)slot + 30;
    uint64_t one = 1;
    uint32_t port;
    int efd = r->f->d->server[r->id]->vport[r->vcpu]->src.fd;

    g_assert_cmpint(read(r->f->stream, &port, 4), ==, 4);
    g_assert_cmpuint(port, ==, r->port);
    g_assert_cmpuint(*state & 0xf, ==, STATE_IOREQ_READY);
    r->seen = *slot;
    if (r->mode == 4)
        return NULL;
    *state = (uint8_t)((*state & 0xf0) | STATE_IOREQ_INPROCESS);
    if (r->mode == 2) {
        /* Let the waiter see INPROCESS first, then go backwards. */
        g_assert_cmpint(write(efd, &one, 8), ==, 8);
        g_usleep(50000);
    }
    slot->data = r->answer;
    if (r->mode == 5)
        slot->vp_eport++;
    __atomic_store_n(state,
                     (uint8_t)((*state & 0xf0) | (r->mode == 1   ? 7
                                                  : r->mode == 2 ? 1
                                                  : r->mode == 3 ? 0
                                                                 : 3)),
                     __ATOMIC_RELEASE);
    g_assert_cmpint(write(efd, &one, 8), ==, 8);
    return NULL;
}

static unsigned int make_server(struct fixture *f, struct responder *r)
{
    uint64_t mfn;
    unsigned int id;

    g_assert_cmpint(ioreq_create(f->d, 2, &id), ==, 0);
    g_assert_cmpint(ioreq_resource(f->d, id, 1, &mfn), ==, 0);
    g_assert_cmpint(ioreq_resource(f->d, id, 0, &mfn), ==, 0);
    g_assert_cmpint(ioreq_map_range(f->d, id, 0, 0x1f0, 0x1f7), ==, 0);
    g_assert_cmpint(ioreq_map_range(f->d, id, 2, 0x08, 0x08), ==, 0);
    g_assert_cmpint(ioreq_map_range(f->d, id, 1, 0xa0000, 0xbffff), ==, 0);
    g_assert_cmpuint(((ioreq_t *)f->d->server[id]->sync.va)[2].vp_eport, ==, 0);
    g_assert_cmpint(ioreq_set_state(f->d, id, true), ==, 0);
    g_assert_cmpuint(((ioreq_t *)f->d->server[id]->sync.va)[2].vp_eport, !=, 0);
    r->f = f;
    r->id = id;
    r->port = bind_port(f, f->d->server[id]->vport[r->vcpu]->nr);
    return id;
}

static enum io_result one_access(struct fixture *f, struct responder *r, ioreq_t *req,
                                 const char **why)
{
    enum io_result result;
    pthread_t t;

    g_assert_cmpint(pthread_create(&t, NULL, responder_thread, r), ==, 0);
    result = io_access(f->d, r->vcpu, req, why);
    pthread_join(t, NULL);
    /* What the device model writes back after it took the event. */
    g_assert_cmpint(write(f->stream, &r->port, 4), ==, 4);
    return result;
}

static ioreq_t port_in(uint64_t addr, uint32_t size)
{
    return (ioreq_t){.type = IOREQ_TYPE_PIO,
                     .addr = addr,
                     .size = size,
                     .count = 1,
                     .dir = 1,
                     .state = STATE_IOREQ_READY};
}

static void test_request(struct fixture *f, gconstpointer arg)
{
    struct responder r = {.vcpu = 2, .answer = 0xabcd};
    const char *why = NULL;
    ioreq_t req = port_in(0x1f0, 2);

    (void)arg;
    make_server(f, &r);
    g_assert_cmpint(one_access(f, &r, &req, &why), ==, IO_OK);
    g_assert_cmphex(req.data, ==, 0xabcd);
    g_assert_cmphex(r.seen.addr, ==, 0x1f0);
    g_assert_cmpuint(r.seen.size, ==, 2);
    g_assert_cmpuint(r.seen.vp_eport, ==, f->d->server[r.id]->vport[2]->nr);

    /* Only wholly inside a range; a disabled server is skipped. */
    req = port_in(0x1f6, 4);
    g_assert_cmpint(io_access(f->d, 2, &req, &why), ==, IO_NOBODY);
    g_assert_cmphex(req.data, ==, UINT64_MAX);
    ioreq_set_state(f->d, r.id, false);
    req = port_in(0x1f0, 1);
    g_assert_cmpint(io_access(f->d, 2, &req, &why), ==, IO_NOBODY);
}

static void test_request_order(struct fixture *f, gconstpointer arg)
{
    struct responder a = {.vcpu = 0, .answer = 1}, b = {.vcpu = 0, .answer = 2};
    const char *why = NULL;
    ioreq_t req = port_in(0x1f0, 1);

    (void)arg;
    make_server(f, &a);
    make_server(f, &b);
    g_assert_cmpint(one_access(f, &b, &req, &why), ==, IO_OK);
    g_assert_cmphex(req.data, ==, 2); /* the highest id first */
    g_assert_cmpint(ioreq_destroy(f->d, b.id), ==, 0);
    req = port_in(0x1f0, 1);
    g_assert_cmpint(one_access(f, &a, &req, &why), ==, IO_OK);
    g_assert_cmphex(req.data, ==, 1);
}

static void test_request_pci(struct fixture *f, gconstpointer arg)
{
    struct responder r = {.vcpu = 0, .answer = 0x7000};
    const char *why = NULL;
    ioreq_t req = {
        .type = IOREQ_TYPE_PIO, .addr = 0xcf8, .size = 4, .count = 1, .data = 0x80000800};

    (void)arg;
    make_server(f, &r);
    g_assert_cmpint(io_access(f->d, 0, &req, &why), ==, IO_NOBODY);
    req = port_in(0xcfe, 2);
    g_assert_cmpint(one_access(f, &r, &req, &why), ==, IO_OK);
    g_assert_cmpuint(r.seen.type, ==, IOREQ_TYPE_PCI_CONFIG);
    g_assert_cmphex(r.seen.addr, ==, UINT64_C(8) << 32 | 2);
    g_assert_cmphex(req.data, ==, 0x7000);
    req =
        (ioreq_t){.type = IOREQ_TYPE_PIO, .addr = 0xcf8, .size = 4, .count = 1, .data = 0x80001000};
    io_access(f->d, 0, &req, &why);
    req = port_in(0xcfc, 4);
    g_assert_cmpint(io_access(f->d, 0, &req, &why), ==, IO_NOBODY);
    g_assert_cmphex(req.data, ==, UINT64_MAX);
}

static void test_bad_states(void)
{
    static const char *const expect[] = {NULL, "unknown ioreq state 7", "ioreq state 1 after 2"};
    int mode;

    for (mode = 1; mode <= 5; mode++) {
        struct responder r = {.vcpu = 1, .mode = mode};
        struct fixture f;
        const char *why = NULL;
        ioreq_t req = port_in(0x1f0, 1);
        enum io_result result;
        pthread_t t;

        set_up(&f, NULL);
        make_server(&f, &r);
        if (mode == 4) { /* nobody answers: the watchdog ends it */
            f.h->access_timeout_us = 100000;
            g_assert_cmpint(pthread_create(&t, NULL, responder_thread, &r), ==, 0);
            pthread_t main_loop;
            pthread_create(&main_loop, NULL, (void *(*)(void *))(void (*)(void))host_run, f.h);
            result = io_access(f.d, 1, &req, &why);
            f.h->quit = true;
            pthread_join(main_loop, NULL);
            pthread_join(t, NULL);
            g_assert_cmpint(result, ==, IO_FAIL);
            g_assert_nonnull(strstr(why, "no answer"));
        } else {
            result = one_access(&f, &r, &req, &why);
        }
        if (mode <= 2) {
            g_assert_cmpint(result, ==, IO_FAIL);
            g_assert_true(f.d->crashed);
            g_assert_nonnull(strstr(f.d->crash_why, expect[mode]));
            g_assert_cmpint(io_access(f.d, 1, &req, &why), ==, IO_FAIL);
        } else if (mode == 3) {
            g_assert_cmpint(result, ==, IO_OK);
            g_assert_cmphex(req.data, ==, UINT64_MAX);
        } else if (mode == 5) {
            g_assert_cmpint(result, ==, IO_OK);
            req = port_in(0x1f0, 1);
            g_assert_cmpint(io_access(f.d, 1, &req, &why), ==, IO_FAIL);
            g_assert_nonnull(strstr(why, "event channel"));
        }
        tear_down(&f, NULL);
    }
}

/* ---- the buffered ring ---- */

static void test_ring(struct fixture *f, gconstpointer arg)
{
    struct responder r = {.vcpu = 0};
    unsigned int id = make_server(f, &r), i;
    struct server *s = f->d->server[id];
    uint32_t *ptr = (uint32_t *)s->buf.va;
    buf_ioreq_t *ring = (buf_ioreq_t *)(ptr + 2);
    ioreq_t w = {.type = IOREQ_TYPE_COPY, .addr = 0xa0010, .size = 1, .count = 1, .data = 0x11};

    (void)arg;
    g_assert_cmpint(io_buffered(f->d, &w), ==, IO_OK);
    g_assert_cmpuint(ptr[1], ==, 1);
    g_assert_cmphex(ring[0].addr, ==, 0xa0010);
    g_assert_cmphex(ring[0].data, ==, 0x11);
    w.size = 8;
    w.data = UINT64_C(0x1122334455667788);
    g_assert_cmpint(io_buffered(f->d, &w), ==, IO_OK);
    g_assert_cmpuint(ptr[1], ==, 3);
    g_assert_cmphex(ring[1].data, ==, 0x55667788);
    g_assert_cmphex(ring[2].data, ==, 0x11223344);
    w.size = 1;
    for (i = 3; i < 511; i++)
        g_assert_cmpint(io_buffered(f->d, &w), ==, IO_OK);
    g_assert_cmpint(io_buffered(f->d, &w), ==, IO_NOBODY); /* full */
    ptr[0] = 511; /* all taken: the next one brings both pointers back */
    g_assert_cmpint(io_buffered(f->d, &w), ==, IO_OK);
    g_assert_cmpuint(ptr[0], ==, 0);
    g_assert_cmpuint(ptr[1], ==, 1);
    w.data_is_ptr = 1;
    g_assert_cmpint(io_buffered(f->d, &w), ==, IO_NOBODY);
    w.data_is_ptr = 0;
    w.count = 2;
    g_assert_cmpint(io_buffered(f->d, &w), ==, IO_NOBODY);

    /* A VGA write of the CPU goes this way by itself and needs no answer. */
    const char *why = NULL;
    w.count = 1;
    g_assert_cmpint(io_access(f->d, 0, &w, &why), ==, IO_OK);
    g_assert_cmpuint(ptr[1], ==, 2);
}

/* ---- event channels ---- */

static int stream_take(struct fixture *f)
{
    uint32_t port;

    return recv(f->stream, &port, 4, MSG_DONTWAIT) == 4 ? (int)port : 0;
}

static void test_events(struct fixture *f, gconstpointer arg)
{
    struct port *guest = port_alloc_unbound(f->d, 0), *mine;
    uint32_t nr = bind_port(f, guest->nr);

    (void)arg;
    mine = port_get(domain_find(f->h, 0), nr);
    port_deliver(mine);
    g_assert_cmpint(stream_take(f), ==, (int)nr);
    port_deliver(mine);
    port_deliver(mine);
    g_assert_cmpint(stream_take(f), ==, 0); /* masked until written back */
    g_assert_cmpint(write(f->stream, &nr, 4), ==, 4);
    evtchn_drain(f->h, f->dm);
    g_assert_cmpint(stream_take(f), ==, (int)nr); /* two became one */
    g_assert_cmpint(stream_take(f), ==, 0);
    g_assert_cmpint(write(f->stream, &nr, 4), ==, 4);
    evtchn_drain(f->h, f->dm);
    g_assert_cmpint(stream_take(f), ==, 0);

    /* To the guest: pending, counted. */
    port_notify_peer(mine);
    g_assert_true(guest->pending);
    /* The peer of a closed port is unbound again. */
    port_free(mine);
    g_assert_cmpint(guest->state, ==, PORT_UNBOUND);
    g_assert_cmpint(port_bind_interdomain(domain_find(f->h, 0), 1, 999, &mine), ==, -EINVAL);
    g_assert_cmpint(port_bind_interdomain(domain_find(f->h, 0), 9, 1, &mine), ==, -ESRCH);
}

/* ---- interrupts, parameters, grants ---- */

static void test_irq(struct fixture *f, gconstpointer arg)
{
    (void)arg;
    g_assert_cmpuint(irq_intx_gsi(1, 0), ==, 20);
    g_assert_cmpuint(irq_intx_gsi(31, 3), ==, 16 + ((31 * 4 + 3 + 3) & 31));
    g_assert_cmpint(irq_set_route(f->d, 3, 11), ==, 0);
    g_assert_cmpint(irq_set_intx(f->d, 3, 0, 1), ==, 0);
    g_assert_cmphex(f->d->gsi_level, ==, UINT64_C(1) << 28 | 1 << 11);
    g_assert_cmpint(irq_set_isa(f->d, 11, 1), ==, 0); /* a second source of the same line */
    g_assert_cmpint(irq_set_intx(f->d, 3, 0, 0), ==, 0);
    g_assert_cmphex(f->d->gsi_level, ==, 1 << 11);
    g_assert_cmpint(irq_set_isa(f->d, 11, 0), ==, 0);
    g_assert_cmphex(f->d->gsi_level, ==, 0);
    g_assert_cmpint(irq_set_isa(f->d, 0, 1), ==, 0);
    g_assert_cmphex(f->d->gsi_level, ==, 1 << 2); /* the timer is on GSI 2 */
    g_assert_cmpint(irq_set_isa(f->d, 16, 1), ==, -EINVAL);
    g_assert_cmpint(irq_set_intx(f->d, 32, 0, 1), ==, -EINVAL);
    g_assert_cmpint(irq_set_intx(f->d, 1, 4, 1), ==, -EINVAL);
    g_assert_cmpint(irq_set_intx(f->d, 1, 0, 2), ==, -EINVAL);
    /* A changed route moves a raised link. */
    g_assert_cmpint(irq_set_isa(f->d, 0, 0), ==, 0);
    g_assert_cmpint(irq_set_intx(f->d, 3, 0, 1), ==, 0);
    g_assert_cmpint(irq_set_route(f->d, 3, 5), ==, 0);
    g_assert_cmphex(f->d->gsi_level, ==, UINT64_C(1) << 28 | 1 << 5);
    g_assert_cmpint(irq_inject_msi(f->d, 0xfee01000, 0x41), ==, 0);
    g_assert_cmpuint(f->d->msi->len, ==, 1);
    g_assert_cmpint(irq_inject_msi(f->d, 0x1000, 0x41), ==, -EINVAL);
}

static void test_params(struct fixture *f, gconstpointer arg)
{
    uint64_t v;

    (void)arg;
    g_assert_cmpint(param_get(f->d, HVM_PARAM_BUFIOREQ_EVTCHN, &v), ==, -EINVAL);
    g_assert_cmpint(param_set(f->d, HVM_PARAM_IOREQ_PFN, 5), ==, -EEXIST);
    g_assert_cmpint(param_set(f->d, HVM_PARAM_ACPI_S_STATE, 4), ==, -EINVAL);
    g_assert_cmpint(param_set(f->d, HVM_PARAM_ACPI_S_STATE, 3), ==, 0);
    g_assert_cmpint(param_get(f->d, HVM_PARAM_ACPI_S_STATE, &v), ==, 0);
    g_assert_cmpuint(v, ==, 3);
    g_assert_cmpint(param_get(f->d, 64, &v), ==, -EINVAL);
    g_assert_cmpint(domain_shutdown(f->d, 9), ==, -EINVAL);
    g_assert_cmpint(domain_shutdown(f->d, 1), ==, 0);
    g_assert_cmpint(domain_shutdown(f->d, 3), ==, 0);
    g_assert_cmpuint(f->d->shutdown_reason, ==, 1); /* the first one stays */
}

static void test_cmos_split(struct fixture *f, gconstpointer arg)
{
    ioreq_t w = {.type = IOREQ_TYPE_PIO, .addr = 0x70, .size = 1, .count = 1, .data = 0x0d};
    ioreq_t r = port_in(0x71, 1), wide = port_in(0x70, 2);

    (void)arg;
    g_assert_true(xen_intercept(f->d, &w));
    g_assert_true(xen_intercept(f->d, &r));
    w.data = 0x0e;
    g_assert_false(xen_intercept(f->d, &w));
    g_assert_false(xen_intercept(f->d, &r));
    g_assert_true(xen_intercept(f->d, &wide));
}

static void test_grants(struct fixture *f, gconstpointer arg)
{
    int16_t status;

    (void)arg;
    g_assert_cmpint(gnttab_add(f->d, 9, 0, 0x100, true), ==, 0);
    g_assert_nonnull(gnttab_get(f->d, 9, false, &status));
    g_assert_null(gnttab_get(f->d, 9, true, &status));
    g_assert_cmpint(status, ==, -8); /* GNTST_permission_denied */
    g_assert_null(gnttab_get(f->d, 10, false, &status));
    gnttab_get(f->d, 9, false, &status)->in_use++;
    g_assert_cmpint(gnttab_remove(f->d, 9), ==, -EBUSY);
    gnttab_get(f->d, 9, false, &status)->in_use--;
    g_assert_cmpint(gnttab_remove(f->d, 9), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define T(path, func) g_test_add("/xenemu/" path, struct fixture, NULL, set_up, func, tear_down)
    T("memory/layout", test_memory_layout);
    g_test_add_func("/xenemu/memory/high", test_memory_high);
    T("memory/quota", test_memory_quota);
    T("memory/relocate", test_memory_relocate);
    T("memory/freed-while-mapped", test_memory_freed_while_mapped);
    T("memory/partial-unmap", test_memory_partial_unmap);
    T("memory/types", test_memory_types);
    T("memory/dirty", test_dirty);
    T("ioreq/servers", test_servers);
    T("ioreq/ranges", test_ranges);
    T("ioreq/request", test_request);
    T("ioreq/order", test_request_order);
    T("ioreq/pci", test_request_pci);
    g_test_add_func("/xenemu/ioreq/bad-states", test_bad_states);
    T("ioreq/ring", test_ring);
    T("evtchn/mask", test_events);
    T("irq/lines", test_irq);
    T("xen/params", test_params);
    T("xen/cmos-split", test_cmos_split);
    T("grants", test_grants);
    return g_test_run();
}
