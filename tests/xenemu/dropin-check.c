/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Plays device model only to call the drop-in libraries and check what they answer; writes
 * `running` when everything was right, else says what was wrong and exits. Needs a guest of 64 MB.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xenctrl.h>
#include <xencall.h>
#include <xen/hvm/params.h>
#include <xen/io/xs_wire.h>
#include <xen/grant_table.h>
#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xengnttab.h>
#include <xenstore.h>
#include <xentoolcore.h>

static unsigned int failed;

#define CHECK(cond) \
    do { \
        errno = 0; \
        if (!(cond)) { \
            fprintf(stderr, "%s:%d: %s (errno %s)\n", __FILE__, __LINE__, #cond, strerror(errno)); \
            failed++; \
        } \
    } while (0)

static domid_t domid;

static void check_memory(xc_interface *xc, xenforeignmemory_handle *fm, xendevicemodel_handle *dm)
{
    xen_pfn_t gfns[8] = {0x100, 0x101, 0x102, 0xa0, 0x103, 0x50000, 0x104, 0x105}, vram[4];
    int err[8], i;
    uint8_t *p, *q, *fixed;
    unsigned long bits[1];
    xen_pfn_t top;

    /* Pages with holes among them: the rest is mapped, the holes are reported. */
    p = xenforeignmemory_map(fm, domid, PROT_READ | PROT_WRITE, 8, gfns, err);
    CHECK(p);
    for (i = 0; i < 8; i++)
        CHECK(i == 3 || i == 5 ? err[i] == -EINVAL : err[i] == 0);
    p[0] = 0x12;
    p[4 * 4096] = 0x34;
    q = xenforeignmemory_map(fm, domid, PROT_READ, 1, gfns + 4, NULL);
    CHECK(q && q[0] == 0x34);
    CHECK(xenforeignmemory_unmap(fm, q, 1) == 0);
    CHECK(!xenforeignmemory_map(fm, domid, PROT_READ, 8, gfns, NULL) && errno == EINVAL);
    CHECK(!xenforeignmemory_map(fm, 77, PROT_READ, 1, gfns, err) && errno == ESRCH);
    CHECK(xenforeignmemory_unmap(fm, p, 8) == 0);

    fixed = mmap(NULL, 4 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(xenforeignmemory_map2(fm, domid, fixed, PROT_READ | PROT_WRITE, MAP_FIXED, 2, gfns,
                                NULL) == fixed);
    CHECK(fixed[0] == 0x12);
    CHECK(xenforeignmemory_unmap(fm, fixed, 2) == 0);

    /* A mapping follows the page when it moves. */
    for (i = 0; i < 4; i++)
        vram[i] = 0x40000 + (xen_pfn_t)i;
    CHECK(xc_domain_populate_physmap_exact(xc, domid, 4, 0, 0, vram) == 0);
    p = xenforeignmemory_map(fm, domid, PROT_READ | PROT_WRITE, 4, vram, NULL);
    CHECK(p);
    p[4096] = 0x99;
    CHECK(xendevicemodel_relocate_memory(dm, domid, 4, 0x40000, 0xf0000) == 0);
    for (i = 0; i < 4; i++)
        vram[i] = 0xf0000 + (xen_pfn_t)i;
    q = xenforeignmemory_map(fm, domid, PROT_READ | PROT_WRITE, 4, vram, NULL);
    CHECK(q && q[4096] == 0x99);
    q[4097] = 0x98;
    CHECK(p[4097] == 0x98);
    CHECK(xendevicemodel_pin_memory_cacheattr(dm, domid, 0xf0000, 0xf0003,
                                              XEN_DMOP_MEM_CACHEATTR_WC) == 0);
    CHECK(xendevicemodel_pin_memory_cacheattr(dm, domid, 0xf0000, 0xf0003, 3) < 0 &&
          errno == EINVAL);
    CHECK(xendevicemodel_track_dirty_vram(dm, domid, 0xf0000, 4, bits) == 0);
    CHECK(xendevicemodel_modified_memory(dm, domid, 0xf0000, 0) < 0 && errno == EINVAL);
    CHECK(xendevicemodel_modified_memory(dm, domid, 0xf0001, 1) == 0);
    CHECK(xenforeignmemory_unmap(fm, p, 4) == 0 && xenforeignmemory_unmap(fm, q, 4) == 0);
    CHECK(xc_domain_decrease_reservation_exact(xc, domid, 4, 0, vram) == 0);
    CHECK(xc_domain_maximum_gpfn(xc, domid, &top) >= 0 && top >= 0xfefff);

    /* The quota ends: 9 MiB are left for video memory and the like. */
    xen_pfn_t *many = calloc(4096, sizeof(*many));
    for (i = 0; i < 4096; i++)
        many[i] = 0x60000 + (xen_pfn_t)i;
    CHECK(xc_domain_populate_physmap_exact(xc, domid, 4096, 0, 0, many) < 0 && errno == EBUSY);
    i = xc_domain_decrease_reservation(xc, domid, 4096, 0, many);
    CHECK(i > 2000 && i < 2400);
    free(many);
    CHECK(xendevicemodel_set_mem_type(dm, domid, HVMMEM_ram_ro, 0xc0, 16) == 0);
    gfns[0] = 0xc0;
    CHECK(!xenforeignmemory_map(fm, domid, PROT_READ | PROT_WRITE, 1, gfns, NULL) &&
          errno == EACCES);
    CHECK(xendevicemodel_set_mem_type(dm, domid, HVMMEM_ram_rw, 0xc0, 16) == 0);
}

#ifdef XENEMU_DOMINFO /* until Xen 4.17 */
static void check_domains(xc_interface *xc)
{
    xc_dominfo_t info[2];

    CHECK(xc_domain_getinfo(xc, domid, 1, info) == 1 && info[0].domid == domid && info[0].hvm);
    CHECK(info[0].max_memkb == 65 * 1024);
    CHECK(xc_domain_getinfo(xc, 0, 2, info) == 2 && info[0].domid == 0);
}
#else
static void check_domains(xc_interface *xc)
{
    xc_domaininfo_t info;

    CHECK(xc_domain_getinfo_single(xc, domid, &info) == 0 && info.domain == domid);
    CHECK(info.flags & XEN_DOMINF_hvm_guest && info.max_pages == 65 * 256);
    CHECK(xc_domain_getinfo_single(xc, domid, NULL) == 0);
    CHECK(xc_domain_getinfo_single(xc, domid + 1, &info) < 0 && errno == ESRCH);
    CHECK(xc_domain_getinfolist(xc, 0, 1, &info) == 1 && info.domain == 0);
}
#endif

static void check_control(xc_interface *xc, xendevicemodel_handle *dm)
{
    uint64_t v;
    unsigned int n;

    check_domains(xc);
    CHECK(xc_hvm_param_get(xc, domid, HVM_PARAM_IOREQ_SERVER_PFN, &v) == 0 && v == 0xfeff0);
    CHECK(xc_hvm_param_get(xc, domid, HVM_PARAM_BUFIOREQ_EVTCHN, &v) < 0 && errno == EINVAL);
    CHECK(xc_hvm_param_set(xc, domid, HVM_PARAM_ACPI_S_STATE, 7) < 0 && errno == EINVAL);
    CHECK(xendevicemodel_nr_vcpus(dm, domid, &n) == 0 && n == 2);
    CHECK(xendevicemodel_set_isa_irq_level(dm, domid, 16, 1) < 0 && errno == EINVAL);
    CHECK(xendevicemodel_set_pci_intx_level(dm, domid, 0, 1, 3, 0, 1) < 0 && errno == EINVAL);
    CHECK(xendevicemodel_inject_event(dm, domid, 0, 3, 3, 0, 0, 0) == 0);
    CHECK(xendevicemodel_inject_event(dm, domid, 0, 3, 3, 0, 0, 0) < 0 && errno == EBUSY);
    CHECK(xc_domain_setmaxmem(xc, domid, 65 * 1024) == 0);
    CHECK(xc_physinfo(xc, NULL) < 0 && errno == ENOSYS);
}

static void check_grants(xengnttab_handle *gt)
{
    struct xenstore_domain_interface *ring;
    xengnttab_grant_copy_segment_t seg = {.flags = GNTCOPY_source_gref, .len = 8};
    uint8_t buf[8] = {0};

    /* Reference 1 is the xenstore ring, as the domain builder leaves it. */
    ring = xengnttab_map_grant_ref(gt, domid, 1, PROT_READ | PROT_WRITE);
    CHECK(ring);
    memcpy(ring, "xendmtst", 8);
    seg.source.foreign.ref = 1;
    seg.source.foreign.domid = domid;
    seg.dest.virt = buf;
    CHECK(xengnttab_grant_copy(gt, 1, &seg) == 0 && seg.status == GNTST_okay);
    CHECK(!memcmp(buf, "xendmtst", 8));
    memset(ring, 0, 8);
    seg.source.foreign.ref = 4000;
    CHECK(xengnttab_grant_copy(gt, 1, &seg) == 0 && seg.status == GNTST_bad_gntref);
    seg.source.foreign.ref = 1;
    seg.source.foreign.offset = 4090;
    CHECK(xengnttab_grant_copy(gt, 1, &seg) == 0 && seg.status == GNTST_bad_copy_arg);
    CHECK(xengnttab_unmap(gt, ring, 1) == 0);
    CHECK(!xengnttab_map_grant_ref(gt, domid, 4000, PROT_READ));
}

static void check_events(xenevtchn_handle *xce)
{
    int a = xenevtchn_bind_unbound_port(xce, 0), b;
    uint32_t ports[4];
    evtchn_port_t port;

    CHECK(a > 0);
    b = xenevtchn_bind_interdomain(xce, 0, (evtchn_port_t)a);
    CHECK(b > 0 && b != a);
    CHECK(xenevtchn_pending(xce) == b); /* a fresh binding is pending */
    CHECK(xenevtchn_unmask(xce, (evtchn_port_t)b) == 0);
    CHECK(xenevtchn_notify(xce, (evtchn_port_t)a) == 0);
    CHECK(xenevtchn_pending(xce) == b);
    CHECK(xenevtchn_notify(xce, (evtchn_port_t)b) == 0);
    CHECK(xenevtchn_pending(xce) == a);
    CHECK(xenevtchn_notify(xce, (evtchn_port_t)a) == 0); /* b is still masked */
    usleep(50000);
    port = (evtchn_port_t)b;
    CHECK(write(xenevtchn_fd(xce), &port, 4) == 4); /* the device's own ABI */
    CHECK(read(xenevtchn_fd(xce), ports, sizeof(ports)) == 4 && ports[0] == (uint32_t)b);
    CHECK(xenevtchn_unbind(xce, (evtchn_port_t)b) == 0);
    CHECK(xenevtchn_notify(xce, (evtchn_port_t)b) < 0 && errno == ENOTCONN);
    CHECK(xenevtchn_bind_interdomain(xce, domid, 3000) < 0 && errno == EINVAL);
    CHECK(xenevtchn_unbind(xce, (evtchn_port_t)a) == 0);
}

static void check_restricted(xc_interface *xc, xenforeignmemory_handle *fm,
                             xendevicemodel_handle *dm, xenevtchn_handle *xce, xengnttab_handle *gt)
{
    xen_pfn_t gfn = 0x100;
    uint64_t v;
    void *p;

    CHECK(xentoolcore_restrict_all(domid) == 0);
    p = xenforeignmemory_map(fm, domid, PROT_READ, 1, &gfn, NULL);
    CHECK(p && xenforeignmemory_unmap(fm, p, 1) == 0);
    CHECK(xendevicemodel_set_isa_irq_level(dm, domid, 5, 1) == 0);
    CHECK(!xenforeignmemory_map(fm, (domid_t)(domid + 1), PROT_READ, 1, &gfn, NULL) &&
          errno == EACCES);
    CHECK(xendevicemodel_set_isa_irq_level(dm, (domid_t)(domid + 1), 5, 1) < 0 && errno == EACCES);
    CHECK(xenevtchn_bind_interdomain(xce, (uint32_t)domid + 1, 1) < 0 && errno == EACCES);
    CHECK(xc_hvm_param_get(xc, domid, 1, &v) < 0);
    CHECK(!xengnttab_map_grant_ref(gt, domid, 1, PROT_READ));
}

int main(int argc, char **argv)
{
    struct xs_handle *xs = xs_open(0), *late;
    xenforeignmemory_handle *fm = xenforeignmemory_open(NULL, 0);
    xendevicemodel_handle *dm = xendevicemodel_open(NULL, 0);
    xc_interface *xc = xc_interface_open(NULL, NULL, 0);
    xenevtchn_handle *xce = xenevtchn_open(NULL, 0);
    xengnttab_handle *gt = xengnttab_open(NULL, 0);
    xencall_handle *call = xencall_open(NULL, 0);
    char path[64];
    sigset_t set;
    int i, sig;

    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (i = 1; i + 1 < argc; i++)
        if (!strcmp(argv[i], "-xen-domid"))
            domid = (domid_t)atoi(argv[i + 1]);
    if (!xs || !fm || !dm || !xc || !xce || !gt || !call || !domid) {
        fprintf(stderr, "a handle did not open\n");
        return 1;
    }
    CHECK(xencall2(call, 17, 0, 0) < 0 && errno == ENOSYS);
    CHECK(xencall_close(call) == 0);
    check_control(xc, dm);
    check_memory(xc, fm, dm);
    check_grants(gt);
    check_events(xce);
    snprintf(path, sizeof(path), "/local/domain/0/device-model/%u/state", domid);
    if (failed || !xs_write(xs, XBT_NULL, path, "running", 7))
        return 1;
    late = xs_open(0);
    check_restricted(xc, fm, dm, xce, gt);
    CHECK(!xs_read(late, XBT_NULL, path, NULL)); /* the real libxenstore obeys, too */
    sigwait(&set, &sig);
    if (failed)
        return 1;
    xs_close(late);
    xs_close(xs);
    xengnttab_close(gt);
    xenevtchn_close(xce);
    xc_interface_close(xc);
    xendevicemodel_close(dm);
    xenforeignmemory_close(fm);
    return 0;
}
