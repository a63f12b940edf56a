/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The floor of the benchmarks: an ioreq server that answers every read with all ones and does
 * nothing else. What it takes is what the shared page and the event channels take; no device model
 * can be quicker in the same way of waiting.
 *
 *     floor-dm -xen-domid N [--look US] [anything that libxl adds]
 *
 * Without --look it sleeps in poll() after each answer. With it, it looks at the slots that long
 * before it sleeps, with the ports masked, which is the quickest way to wait that there is.
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
#include <time.h>
#include <unistd.h>
#include <xen/hvm/dm_op.h>
#include <xen/hvm/ioreq.h>
#include <xen/memory.h>
#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xenstore.h>

#define PAGE 4096
#define VCPUS_MAX 128

static struct ioreq *slots;
static struct buffered_iopage *ring;
static xenevtchn_handle *evtchn;
static evtchn_port_t port_of[VCPUS_MAX];
static unsigned vcpus;
static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
    stop = sig;
}

static void die(const char *what)
{
    fprintf(stderr, "floor-dm: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool answer(unsigned vcpu)
{
    struct ioreq *slot = &slots[vcpu];
    uint8_t *state = (uint8_t *)slot + 30;
    uint8_t byte = __atomic_load_n(state, __ATOMIC_ACQUIRE);

    if ((byte & 0xf) != STATE_IOREQ_READY) {
        return false;
    }
    __atomic_store_n(&ring->read_pointer, __atomic_load_n(&ring->write_pointer, __ATOMIC_ACQUIRE),
                     __ATOMIC_RELEASE);
    slot->data = UINT64_MAX;
    __atomic_store_n(state, (uint8_t)((byte & 0xf0) | STATE_IORESP_READY), __ATOMIC_RELEASE);
    xenevtchn_notify(evtchn, port_of[vcpu]);
    return true;
}

static bool answer_all(void)
{
    bool any = false;

    for (unsigned i = 0; i < vcpus; i++) {
        any |= answer(i);
    }
    if (ring->read_pointer != ring->write_pointer) {
        ring->read_pointer = ring->write_pointer;
        any = true;
    }
    return any;
}

static void serve(int64_t look_ns)
{
    int fd = xenevtchn_fd(evtchn);

    while (!stop) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        evtchn_port_t port[64];
        int64_t last;
        ssize_t n;

        if (poll(&p, 1, -1) < 0 || (n = read(fd, port, sizeof(port))) <= 0) {
            continue;
        }
        if (look_ns == 0 && write(fd, port, (size_t)n) != n) {
            die("unmask");
        }
        answer_all();
        if (look_ns == 0) {
            continue;
        }
        for (last = now_ns(); now_ns() - last < look_ns;) {
            if (answer_all()) {
                last = now_ns();
            }
            __builtin_ia32_pause();
        }
        if (write(fd, port, (size_t)n) != n) {
            die("unmask");
        }
        answer_all();
    }
}

static void start(domid_t domid)
{
    xendevicemodel_handle *dmod = xendevicemodel_open(NULL, 0);
    xenforeignmemory_handle *fmem = xenforeignmemory_open(NULL, 0);
    evtchn_port_t buffered;
    void *pages = NULL;
    ioservid_t id;

    evtchn = xenevtchn_open(NULL, 0);
    if (!dmod || !fmem || !evtchn || xendevicemodel_nr_vcpus(dmod, domid, &vcpus) < 0 ||
        vcpus > VCPUS_MAX) {
        die("open");
    }
    if (xendevicemodel_create_ioreq_server(dmod, domid, 2, &id) < 0 ||
        !xenforeignmemory_map_resource(fmem, domid, XENMEM_resource_ioreq_server, id, 0, 2, &pages,
                                       PROT_READ | PROT_WRITE, 0) ||
        xendevicemodel_get_ioreq_server_info(dmod, domid, id, NULL, NULL, &buffered) < 0 ||
        xendevicemodel_map_io_range_to_ioreq_server(dmod, domid, id, 0, 0x100, 0x5ff) < 0 ||
        xendevicemodel_map_io_range_to_ioreq_server(dmod, domid, id, 1, 0xa0000, 0xbffff) < 0 ||
        xendevicemodel_map_pcidev_to_ioreq_server(dmod, domid, id, 0, 0, 1, 1) < 0 ||
        xendevicemodel_set_ioreq_server_state(dmod, domid, id, 1) < 0) {
        die("ioreq server");
    }
    ring = pages;
    slots = (struct ioreq *)((char *)pages + PAGE);
    for (unsigned i = 0; i < vcpus; i++) {
        int p = xenevtchn_bind_interdomain(evtchn, domid, slots[i].vp_eport);

        if (p < 0) {
            die("bind");
        }
        port_of[i] = (evtchn_port_t)p;
    }
    if (xenevtchn_bind_interdomain(evtchn, domid, buffered) < 0) {
        die("bind the buffered ring");
    }
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct xs_handle *xs = xs_open(0);
    const char *look = getenv("FLOOR_DM_LOOK");
    domid_t domid = 0;
    char path[64];

    for (int i = 1; i + 1 < argc; i++) {
        if (!strcmp(argv[i], "-xen-domid")) {
            domid = (domid_t)atoi(argv[i + 1]);
        } else if (!strcmp(argv[i], "--look")) {
            look = argv[i + 1];
        }
    }
    if (!xs || !domid) {
        die("xenstore or -xen-domid");
    }
    sigaction(SIGHUP, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    start(domid);
    snprintf(path, sizeof(path), "/local/domain/0/device-model/%u/state", domid);
    if (!xs_write(xs, XBT_NULL, path, "running", 7)) {
        die("state");
    }
    serve(look ? atoll(look) * 1000 : 0);
    xs_close(xs);
    return 0;
}
