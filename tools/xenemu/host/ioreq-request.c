/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of a request (xen/common/ioreq.c): slot filled, event sent, states watched, answer
 * taken. What would crash the domain on Xen crashes it here, with the reason kept for the test to
 * read.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <stdint.h>
#include <xen/hvm/dm_op.h>
#include "domain-life.h"
#include "domain.h"

static unsigned int slot_state(const ioreq_t *p)
{
    /* The low four bits of byte 30, which the device model writes without a lock. */
    return __atomic_load_n((const uint8_t *)p + 30, __ATOMIC_ACQUIRE) & 0xf;
}

static void slot_set_state(ioreq_t *p, unsigned int state)
{
    uint8_t *b = (uint8_t *)p + 30;

    __atomic_store_n(b, (uint8_t)((*b & 0xf0) | state), __ATOMIC_RELEASE);
}

void ioreq_abort_waiters(struct domain *d, const struct server *s, const char *why)
{
    unsigned int v;
    uint64_t one = 1;

    for (v = 0; v < d->nr_vcpus; v++) {
        struct vcpu *vc = &d->vcpu[v];

        if (!vc->waiting || (s && vc->waiting != s))
            continue;
        vc->abort_why = why;
        __atomic_store_n(&vc->abort_wait, true, __ATOMIC_RELEASE);
        if (vc->waiting->vport[v] && write(vc->waiting->vport[v]->src.fd, &one, sizeof(one)) < 0)
            host_log(d->host, "eventfd: %s", strerror(errno));
    }
}

void ioreq_watchdog(struct host *h)
{
    int64_t now = g_get_monotonic_time();
    GHashTableIter it;
    gpointer value;

    g_hash_table_iter_init(&it, h->domains);
    while (g_hash_table_iter_next(&it, NULL, &value)) {
        struct domain *d = value;
        unsigned int v;

        for (v = 0; v < d->nr_vcpus; v++) {
            struct vcpu *vc = &d->vcpu[v];
            uint64_t one = 1;

            if (!vc->waiting || vc->abort_wait || now - vc->wait_since < h->access_timeout_us)
                continue;
            vc->abort_why = "no answer from the device model in time";
            __atomic_store_n(&vc->abort_wait, true, __ATOMIC_RELEASE);
            if (write(vc->waiting->vport[v]->src.fd, &one, sizeof(one)) < 0)
                host_log(h, "eventfd: %s", strerror(errno));
        }
    }
}

/* For measurements: the wake-up of the waiting CPU taken out. True if the state changed in time. */
static bool slot_spin(const ioreq_t *p, unsigned int state, int64_t ns)
{
    struct timespec a, b;

    clock_gettime(CLOCK_MONOTONIC, &a);
    do {
        unsigned int i;

        for (i = 0; i < 32; i++) {
            if (slot_state(p) != state)
                return true;
            __builtin_ia32_pause();
        }
        clock_gettime(CLOCK_MONOTONIC, &b);
    } while ((b.tv_sec - a.tv_sec) * 1000000000 + (b.tv_nsec - a.tv_nsec) < ns);
    return false;
}

/* Called with big held; gives it up while it waits. */
static enum io_result ioreq_wait(struct server *s, struct vcpu *vc, ioreq_t *p, ioreq_t *req,
                                 const char **why)
{
    struct domain *d = s->dom;
    struct host *h = d->host;
    int efd = s->vport[vc->id]->src.fd;
    unsigned int prev = STATE_IOREQ_NONE;
    enum io_result result = IO_OK;
    uint64_t data = UINT64_MAX, v;

    s->refs++;
    vc->waiting = s;
    vc->wait_since = g_get_monotonic_time();
    pthread_mutex_unlock(&h->big);
    for (;;) {
        unsigned int state = slot_state(p);

        if (state == STATE_IOREQ_NONE)
            break; /* the emulator died or gave up: all ones */
        if (state < prev || state > STATE_IORESP_READY) {
            pthread_mutex_lock(&h->big);
            if (state > STATE_IORESP_READY)
                domain_crash(d, "server %u vcpu %u: unknown ioreq state %u", s->id, vc->id, state);
            else
                domain_crash(d, "server %u vcpu %u: ioreq state %u after %u", s->id, vc->id, state,
                             prev);
            pthread_mutex_unlock(&h->big);
            *why = d->crash_why;
            result = IO_FAIL;
            break;
        }
        prev = state;
        if (state == STATE_IORESP_READY) {
            data = p->data;
            slot_set_state(p, STATE_IOREQ_NONE);
            break;
        }
        if (__atomic_load_n(&vc->abort_wait, __ATOMIC_ACQUIRE)) {
            slot_set_state(p, STATE_IOREQ_NONE);
            *why = vc->abort_why;
            result = IO_FAIL;
            break;
        }
        if (h->spin_ns && slot_spin(p, state, h->spin_ns))
            continue;
        if (read(efd, &v, sizeof(v)) < 0 && errno != EINTR) {
            *why = "reading the event failed";
            result = IO_FAIL;
            break;
        }
    }
    pthread_mutex_lock(&h->big);
    vc->waiting = NULL;
    vc->abort_wait = false;
    ioreq_put(s);
    pthread_cond_broadcast(&h->idle);
    if (result == IO_OK && req->dir == IOREQ_READ && !req->data_is_ptr)
        req->data = data;
    return result;
}

/* Called with big held. */
static enum io_result ioreq_send(struct server *s, struct vcpu *vc, ioreq_t *req, const char **why)
{
    struct domain *d = s->dom;
    struct port *port = s->vport[vc->id], *peer;
    ioreq_t *p = (ioreq_t *)s->sync.va, *slot, copy = *req;
    unsigned int state;

    if (!p) {
        *why = "the ioreq server has no page: nobody mapped it";
        return IO_FAIL;
    }
    slot = p + vc->id;
    state = slot_state(slot);
    if (state != STATE_IOREQ_NONE) {
        *why = "device model set bad IO state";
        host_log(d->host, "d%u server %u vcpu %u: device model set bad IO state %u", d->id, s->id,
                 vc->id, state);
        return IO_FAIL;
    }
    if (slot->vp_eport != port->nr) {
        *why = "device model set bad event channel";
        host_log(d->host, "d%u server %u vcpu %u: device model set bad event channel %u, not %u",
                 d->id, s->id, vc->id, slot->vp_eport, port->nr);
        return IO_FAIL;
    }
    copy.state = STATE_IOREQ_NONE;
    copy.vp_eport = port->nr;
    *slot = copy;
    slot_set_state(slot, STATE_IOREQ_READY);
    s->sent++;
    peer = port_peer(port);
    if (peer)
        port_deliver(peer);
    return ioreq_wait(s, vc, slot, req, why);
}

static bool ioreq_type_addr(struct domain *d, const ioreq_t *req, unsigned int *type,
                            uint64_t *addr)
{
    if (req->type == IOREQ_TYPE_PCI_CONFIG) { /* asked for directly by a script */
        *type = XEN_DMOP_IO_RANGE_PCI;
        *addr = req->addr;
        return true;
    }
    if (req->type != IOREQ_TYPE_PIO && req->type != IOREQ_TYPE_COPY)
        return false;
    if (req->type == IOREQ_TYPE_PIO && (req->addr & ~UINT64_C(3)) == 0xcfc && d->cf8 >> 31) {
        uint32_t cf8 = d->cf8;

        /* Bits 16…23 bus, 8…15 devfn, 2…7 register; the port gives the low two bits. */
        *type = XEN_DMOP_IO_RANGE_PCI;
        *addr = (uint64_t)(cf8 >> 8 & 0xffff) << 32 | (cf8 & 0xfc) | (req->addr & 3);
        return true;
    }
    *type = req->type == IOREQ_TYPE_PIO ? XEN_DMOP_IO_RANGE_PORT : XEN_DMOP_IO_RANGE_MEMORY;
    *addr = req->addr;
    return true;
}

static struct server *ioreq_select(struct domain *d, ioreq_t *req)
{
    unsigned int type;
    uint64_t addr, start, end, span;
    int id;

    if (!ioreq_type_addr(d, req, &type, &addr))
        return NULL;
    start = addr;
    end = addr + req->size - 1;
    if (type == XEN_DMOP_IO_RANGE_MEMORY) {
        span = (uint64_t)(req->count - 1) * req->size;
        if (req->df)
            start = addr - span;
        else
            end = addr + span + req->size - 1;
    } else if (type == XEN_DMOP_IO_RANGE_PCI) {
        start = end = addr >> 32;
    }
    for (id = XE_MAX_SERVERS - 1; id >= 0; id--) {
        struct server *s = d->server[id];

        if (!s || !s->enabled || !range_contains(s->ranges[type], start, end))
            continue;
        if (type == XEN_DMOP_IO_RANGE_PCI) {
            req->type = IOREQ_TYPE_PCI_CONFIG;
            req->addr = addr;
        }
        return s;
    }
    return NULL;
}

/* One buffered item; false if it cannot go that way. */
static bool ioreq_send_buffered(struct server *s, const ioreq_t *req)
{
    struct domain *d = s->dom;
    uint32_t *ptr = (uint32_t *)s->buf.va; /* [0] read, [1] write */
    buf_ioreq_t bp = {.type = req->type,
                      .dir = req->dir,
                      .addr = req->addr & 0xfffff,
                      .data = (uint32_t)req->data};
    unsigned int i, slots = 1;
    buf_ioreq_t *ring;
    struct port *port, *peer;
    uint32_t wp, rp;

    if (!ptr || req->addr > 0xfffff || req->data_is_ptr || req->count != 1)
        return false;
    switch (req->size) {
    case 1:
        bp.size = 0;
        break;
    case 2:
        bp.size = 1;
        break;
    case 4:
        bp.size = 2;
        break;
    case 8:
        bp.size = 3;
        slots = 2;
        break;
    default:
        return false;
    }
    ring = (buf_ioreq_t *)(ptr + 2);
    rp = __atomic_load_n(&ptr[0], __ATOMIC_ACQUIRE);
    wp = ptr[1];
    if (wp - rp >= IOREQ_BUFFER_SLOT_NUM - (slots - 1))
        return false;
    ring[wp % IOREQ_BUFFER_SLOT_NUM] = bp;
    if (slots == 2) {
        bp.data = (uint32_t)(req->data >> 32);
        ring[(wp + 1) % IOREQ_BUFFER_SLOT_NUM] = bp;
    }
    __atomic_store_n(&ptr[1], wp + slots, __ATOMIC_RELEASE);
    /* Atomic mode: both pointers are brought back below the ring size in one step. */
    for (i = 0; s->bufioreq_handling == 2 && i < IOREQ_BUFFER_SLOT_NUM; i++) {
        uint64_t old = __atomic_load_n((uint64_t *)s->buf.va, __ATOMIC_ACQUIRE), new;
        uint32_t n = (uint32_t)old / IOREQ_BUFFER_SLOT_NUM * IOREQ_BUFFER_SLOT_NUM;

        if (!n)
            break;
        new = (uint64_t)((uint32_t)(old >> 32) - n) << 32 | ((uint32_t)old - n);
        __atomic_compare_exchange_n((uint64_t *)s->buf.va, &old, new, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE);
    }
    s->sent_buffered++;
    port = port_get(d, s->buf_port);
    peer = port ? port_peer(port) : NULL;
    if (peer)
        port_deliver(peer);
    return true;
}

enum io_result io_buffered(struct domain *d, ioreq_t *req)
{
    enum io_result result = IO_NOBODY;
    struct server *s;

    pthread_mutex_lock(&d->host->big);
    s = ioreq_select(d, req);
    if (s && ioreq_send_buffered(s, req))
        result = IO_OK;
    pthread_mutex_unlock(&d->host->big);
    return result;
}

/* Single non-pointer writes to VGA memory are posted (xen/arch/x86/hvm/stdvga.c of 4.17.6 and
 * later). */
static bool ioreq_is_stdvga(const ioreq_t *req)
{
    return req->type == IOREQ_TYPE_COPY && req->dir == IOREQ_WRITE && !req->data_is_ptr &&
           req->count == 1 && req->addr >= 0xA0000 && req->addr + req->size <= 0xC0000;
}

/* Steps through a request that Xen answers itself, or that nobody answers. */
static void io_internal(struct domain *d, ioreq_t *req, bool nobody)
{
    uint32_t i;

    for (i = 0; i < req->count; i++) {
        uint64_t step = (uint64_t)i * req->size, left, value = 0, gpa;
        uint64_t addr = req->addr;
        uint8_t *p = NULL;

        if (req->type == IOREQ_TYPE_COPY)
            addr = req->df ? addr - step : addr + step;
        if (req->data_is_ptr) {
            gpa = req->df ? req->data - step : req->data + step;
            p = mem_ptr(d, gpa, &left, NULL);
            if (p && left < req->size)
                p = NULL;
        }
        if (req->dir == IOREQ_READ) {
            value = nobody ? UINT64_MAX : xen_read(d, req, addr);
            if (p)
                memcpy(p, &value, req->size);
            else
                req->data = value;
        } else if (!nobody) {
            if (p)
                memcpy(&value, p, req->size);
            xen_write(d, req, addr, p ? value : req->data);
        }
    }
}

enum io_result io_access(struct domain *d, unsigned int vcpu, ioreq_t *req, const char **why)
{
    struct vcpu *vc = &d->vcpu[vcpu];
    struct host *h = d->host;
    enum io_result result = IO_OK;
    struct server *s = NULL;

    pthread_mutex_lock(&vc->lock);
    pthread_mutex_lock(&h->big);
    d->inflight++;
    if (d->dying || d->crashed) {
        *why = d->crashed ? d->crash_why : "the domain is gone";
        result = IO_FAIL;
        goto out;
    }
    /* 32-bit writes to 0xCF8 are latched and go on to whoever registered the port. */
    if (req->type == IOREQ_TYPE_PIO && req->addr == 0xcf8 && req->size == 4 &&
        req->dir == IOREQ_WRITE && !req->data_is_ptr)
        d->cf8 = (uint32_t)req->data;
    if (xen_intercept(d, req)) {
        io_internal(d, req, false);
        goto out;
    }
    if (req->type == IOREQ_TYPE_COPY) {
        const struct mem_run *r = mem_lookup(d, req->addr >> XE_PAGE_SHIFT);

        if (r && r->type == MEM_IOREQ_SERVER && d->mem_server && req->dir == IOREQ_WRITE)
            s = d->mem_server;
    }
    if (!s)
        s = ioreq_select(d, req);
    if (!s) {
        io_internal(d, req, true);
        result = IO_NOBODY;
    } else if (!ioreq_is_stdvga(req) || !ioreq_send_buffered(s, req)) {
        result = ioreq_send(s, vc, req, why);
    }
out:
    d->inflight--;
    if (d->dying)
        pthread_cond_broadcast(&h->idle);
    pthread_mutex_unlock(&h->big);
    pthread_mutex_unlock(&vc->lock);
    return result;
}

enum io_result io_broadcast(struct domain *d, unsigned int vcpu, uint8_t type, uint64_t data,
                            const char **why)
{
    struct vcpu *vc = &d->vcpu[vcpu];
    struct host *h = d->host;
    enum io_result result = IO_NOBODY;
    int id;

    pthread_mutex_lock(&vc->lock);
    pthread_mutex_lock(&h->big);
    d->inflight++;
    for (id = XE_MAX_SERVERS - 1; id >= 0 && result != IO_FAIL && !d->dying; id--) {
        struct server *s = d->server[id];
        ioreq_t req = {.type = type,
                       .size = type == IOREQ_TYPE_TIMEOFFSET ? 8 : 4,
                       .count = 1,
                       .dir = IOREQ_WRITE,
                       .data = data,
                       .state = STATE_IOREQ_READY};

        if (!s || !s->enabled)
            continue;
        if (type == IOREQ_TYPE_TIMEOFFSET) {
            if (ioreq_send_buffered(s, &req))
                result = IO_OK;
        } else {
            result = ioreq_send(s, vc, &req, why);
        }
    }
    d->inflight--;
    if (d->dying)
        pthread_cond_broadcast(&h->idle);
    pthread_mutex_unlock(&h->big);
    pthread_mutex_unlock(&vc->lock);
    return result;
}
