/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest device model there can be: an ioreq server over a page of ports, a page of MMIO and
 * one PCI function, which remembers what was written and gives it back. It is the test subject of
 * xenemu's own tests, and the floor that benchmarks compare with: nothing can answer a request with
 * less.
 *
 * Ports 0x5000 … 0x5fff and MMIO 0xf4000000 … 0xf4000fff are one byte of memory each; PCI 00:1e.0
 * likewise. Port 0x5ff0 (write): raise (1) or lower (0) ISA irq 5; 0x5ff4: pulse an MSI; 0x5ff8:
 * shutdown with that reason; 0x5ffc (read): writes to VGA memory seen so far, buffered or not.
 * --bad KIND breaks the protocol on purpose at the first access to port 0x5f00: state, eport, none,
 * silent, exit.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xen/hvm/dm_op.h>
#include <xen/hvm/ioreq.h>
#include <xen/memory.h>
#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xenstore.h>
#include <xentoolcore.h>

#define PORT_BASE 0x5000u
#define MMIO_BASE 0xf4000000u
#define PAGE 4096u
#define BDF 0xf0u

static struct {
    domid_t domid;
    xendevicemodel_handle *dmod;
    xenforeignmemory_handle *fmem;
    xenevtchn_handle *xce;
    xenforeignmemory_resource_handle *fres;
    struct shared_iopage *sync;
    struct buffered_iopage *buf;
    ioservid_t id;
    unsigned int nr_vcpus;
    evtchn_port_t port[128], buf_port;
    uint8_t ports[PAGE], mmio[PAGE], pci[256];
    uint32_t vga_writes;
    const char *bad;
} dm;

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
    stop = sig;
}

static void die(const char *what)
{
    fprintf(stderr, "echo-dm: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint8_t *dm_target(const ioreq_t *req, uint64_t addr)
{
    switch (req->type) {
    case IOREQ_TYPE_PIO:
        return addr >= PORT_BASE && addr + req->size <= PORT_BASE + PAGE
                   ? dm.ports + (addr - PORT_BASE)
                   : NULL;
    case IOREQ_TYPE_COPY:
        return addr >= MMIO_BASE && addr + req->size <= MMIO_BASE + PAGE
                   ? dm.mmio + (addr - MMIO_BASE)
                   : NULL;
    case IOREQ_TYPE_PCI_CONFIG:
        return (addr & 0xffffffff) + req->size <= sizeof(dm.pci) ? dm.pci + (addr & 0xff) : NULL;
    default:
        return NULL;
    }
}

static void dm_side_effects(const ioreq_t *req)
{
    if (req->type != IOREQ_TYPE_PIO || req->dir != IOREQ_WRITE)
        return;
    if (req->addr == 0x5ff0)
        xendevicemodel_set_isa_irq_level(dm.dmod, dm.domid, 5, req->data & 1);
    else if (req->addr == 0x5ff4)
        xendevicemodel_inject_msi(dm.dmod, dm.domid, 0xfee00000, (uint32_t)req->data);
    else if (req->addr == 0x5ff8)
        xendevicemodel_shutdown(dm.dmod, dm.domid, (unsigned int)req->data & 7);
}

static uint8_t *dm_map(uint64_t gpa, uint32_t size)
{
    xen_pfn_t gfn[2] = {gpa >> 12, (gpa + size - 1) >> 12};

    return xenforeignmemory_map(dm.fmem, dm.domid, PROT_READ | PROT_WRITE, gfn[0] == gfn[1] ? 1 : 2,
                                gfn, NULL);
}

static void dm_move(ioreq_t *req, uint8_t *dev, void *mem)
{
    if (!dev) {
        if (req->dir == IOREQ_READ)
            memset(mem, 0xff, req->size);
    } else if (req->dir == IOREQ_READ) {
        memcpy(mem, dev, req->size);
    } else {
        memcpy(dev, mem, req->size);
    }
}

static void dm_handle(ioreq_t *req)
{
    uint32_t i;

    if (req->type == IOREQ_TYPE_COPY && req->dir == IOREQ_WRITE && req->addr < MMIO_BASE)
        dm.vga_writes += req->count; /* the ring was full */
    if (req->type == IOREQ_TYPE_PIO && req->addr == 0x5ffc && req->dir == IOREQ_READ)
        memcpy(dm.ports + 0xffc, &dm.vga_writes, 4);
    for (i = 0; i < req->count; i++) {
        uint64_t step = (uint64_t)i * req->size, addr = req->addr, gpa;
        uint8_t *page;

        if (req->type == IOREQ_TYPE_COPY)
            addr = req->df ? addr - step : addr + step;
        if (!req->data_is_ptr) {
            if (req->dir == IOREQ_READ)
                req->data = 0;
            dm_move(req, dm_target(req, addr), &req->data);
            continue;
        }
        gpa = req->df ? req->data - step : req->data + step;
        page = dm_map(gpa, req->size);
        if (!page)
            continue;
        dm_move(req, dm_target(req, addr), page + (gpa & (PAGE - 1)));
        xenforeignmemory_unmap(dm.fmem, page, ((gpa & (PAGE - 1)) + req->size + PAGE - 1) / PAGE);
    }
    dm_side_effects(req);
}

static void dm_drain(void)
{
    while (dm.buf) {
        uint32_t rp = __atomic_load_n(&dm.buf->read_pointer, __ATOMIC_ACQUIRE);
        uint32_t wp = __atomic_load_n(&dm.buf->write_pointer, __ATOMIC_ACQUIRE);
        unsigned int slots;

        if (rp == wp)
            return;
        slots = dm.buf->buf_ioreq[rp % IOREQ_BUFFER_SLOT_NUM].size == 3 ? 2 : 1;
        dm.vga_writes++;
        __atomic_fetch_add(&dm.buf->read_pointer, slots, __ATOMIC_ACQ_REL);
    }
}

static void dm_request(unsigned int vcpu)
{
    ioreq_t *slot = &dm.sync->vcpu_ioreq[vcpu], req;
    uint8_t *state = (uint8_t *)slot + 30;
    bool bad;

    if ((__atomic_load_n(state, __ATOMIC_ACQUIRE) & 0xf) != STATE_IOREQ_READY)
        return;
    req = *slot;
    __atomic_store_n(state, (*state & 0xf0) | STATE_IOREQ_INPROCESS, __ATOMIC_RELEASE);
    bad = dm.bad && req.type == IOREQ_TYPE_PIO && req.addr == 0x5f00;
    if (bad && !strcmp(dm.bad, "silent"))
        return;
    if (bad && !strcmp(dm.bad, "exit"))
        abort();
    dm_handle(&req);
    slot->data = req.data;
    if (bad && !strcmp(dm.bad, "eport"))
        slot->vp_eport++;
    __atomic_store_n(state,
                     (uint8_t)((*state & 0xf0) |
                               (bad && !strcmp(dm.bad, "state")  ? 7
                                : bad && !strcmp(dm.bad, "none") ? STATE_IOREQ_NONE
                                                                 : STATE_IORESP_READY)),
                     __ATOMIC_RELEASE);
    xenevtchn_notify(dm.xce, dm.port[vcpu]);
}

static void dm_open(bool restricted)
{
    void *pages = NULL;
    unsigned int i;

    dm.dmod = xendevicemodel_open(NULL, 0);
    dm.fmem = xenforeignmemory_open(NULL, 0);
    dm.xce = xenevtchn_open(NULL, 0);
    if (!dm.dmod || !dm.fmem || !dm.xce)
        die("open");
    if (xendevicemodel_nr_vcpus(dm.dmod, dm.domid, &dm.nr_vcpus) < 0 || dm.nr_vcpus > 128)
        die("nr_vcpus");
    if (xendevicemodel_create_ioreq_server(dm.dmod, dm.domid, 2 /* atomic pointers */, &dm.id) < 0)
        die("create");
    dm.fres = xenforeignmemory_map_resource(dm.fmem, dm.domid, XENMEM_resource_ioreq_server, dm.id,
                                            0, 2, &pages, PROT_READ | PROT_WRITE, 0);
    if (!dm.fres)
        die("map_resource");
    dm.buf = pages;
    dm.sync = (void *)((char *)pages + PAGE);
    if (xendevicemodel_get_ioreq_server_info(dm.dmod, dm.domid, dm.id, NULL, NULL, &dm.buf_port) <
            0 ||
        xendevicemodel_map_io_range_to_ioreq_server(dm.dmod, dm.domid, dm.id, 0, PORT_BASE,
                                                    PORT_BASE + PAGE - 1) < 0 ||
        xendevicemodel_map_io_range_to_ioreq_server(dm.dmod, dm.domid, dm.id, 1, MMIO_BASE,
                                                    MMIO_BASE + PAGE - 1) < 0 ||
        xendevicemodel_map_io_range_to_ioreq_server(dm.dmod, dm.domid, dm.id, 1, 0xA0000, 0xBFFFF) <
            0 ||
        xendevicemodel_map_pcidev_to_ioreq_server(dm.dmod, dm.domid, dm.id, 0, 0, BDF >> 3,
                                                  BDF & 7) < 0 ||
        xendevicemodel_set_ioreq_server_state(dm.dmod, dm.domid, dm.id, 1) < 0)
        die("ioreq server");
    for (i = 0; i < dm.nr_vcpus; i++) {
        int p = xenevtchn_bind_interdomain(dm.xce, dm.domid, dm.sync->vcpu_ioreq[i].vp_eport);

        if (p < 0)
            die("bind");
        dm.port[i] = (evtchn_port_t)p;
    }
    dm.buf_port = (evtchn_port_t)xenevtchn_bind_interdomain(dm.xce, dm.domid, dm.buf_port);
    if (restricted && xentoolcore_restrict_all(dm.domid) < 0)
        die("restrict");
}

static void dm_close(void)
{
    unsigned int i;

    xendevicemodel_set_ioreq_server_state(dm.dmod, dm.domid, dm.id, 0);
    for (i = 0; i < dm.nr_vcpus; i++)
        xenevtchn_unbind(dm.xce, dm.port[i]);
    xenevtchn_unbind(dm.xce, dm.buf_port);
    xenforeignmemory_unmap_resource(dm.fmem, dm.fres);
    xendevicemodel_destroy_ioreq_server(dm.dmod, dm.domid, dm.id);
    xenevtchn_close(dm.xce);
    xenforeignmemory_close(dm.fmem);
    xendevicemodel_close(dm.dmod);
}

int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = on_signal};
    struct xs_handle *xs = xs_open(0);
    bool restricted = false, leak = false;
    char path[64];
    int i;

    for (i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-xen-domid") && i + 1 < argc)
            dm.domid = (domid_t)atoi(argv[++i]);
        else if (!strcmp(argv[i], "--bad") && i + 1 < argc)
            dm.bad = argv[++i];
        else if (!strcmp(argv[i], "--restrict"))
            restricted = true;
        else if (!strcmp(argv[i], "--leak"))
            leak = true;
    }
    if (!xs || !dm.domid)
        die("xenstore or -xen-domid");
    sigaction(SIGHUP, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    snprintf(path, sizeof(path), "/local/domain/0/device-model/%u/state", dm.domid);
    dm_open(false);
    if (!xs_write(xs, XBT_NULL, path, "running", 7))
        die("state");
    if (restricted && xentoolcore_restrict_all(dm.domid) < 0)
        die("restrict");
    while (!stop) {
        struct pollfd p = {.fd = xenevtchn_fd(dm.xce), .events = POLLIN};
        int port, v;

        if (poll(&p, 1, -1) < 0)
            continue;
        port = xenevtchn_pending(dm.xce);
        if (port < 0)
            continue;
        xenevtchn_unmask(dm.xce, (evtchn_port_t)port);
        dm_drain();
        for (v = 0; v < (int)dm.nr_vcpus; v++)
            if (dm.port[v] == (evtchn_port_t)port)
                dm_request((unsigned int)v);
    }
    if (!leak)
        dm_close();
    xs_close(xs);
    return 0;
}
