/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What libxl has written when it starts a device model: xenstore nodes and the argument vector. */
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xenstore.h>
#include <stdint.h>
#include <xen/hvm/params.h>
#include "control.h"
#include "libxl.h"
#include "run.h"

/* ---- xenstore ---- */

static bool xs_put(const char *path, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

static bool xs_put(const char *path, const char *fmt, ...)
{
    va_list ap;
    char *v;
    bool ok;

    va_start(ap, fmt);
    v = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    ok = xs_write(run.xs, XBT_NULL, path, v, (unsigned int)strlen(v));
    g_free(v);
    return ok ? true : complain("xenstore write %s: %s", path, strerror(errno));
}

int video_mb(void)
{
    if (!strcmp(opt.vga, "stdvga"))
        return 16;
    return opt.pv || !strcmp(opt.vga, "none") ? 0 : 8;
}

#define PUT(base, node, ...) \
    do { \
        char *p_ = g_strdup_printf("%s/%s", (base), (node)); \
        ok = ok && xs_put(p_, __VA_ARGS__); \
        g_free(p_); \
    } while (0)

/* Both sides of the first device of a kind. */
static bool put_device(const char *kind)
{
    char *be = g_strdup_printf("/local/domain/0/backend/%s/%d/0", kind, opt.domid);
    char *fe = g_strdup_printf("/local/domain/%d/device/%s/0", opt.domid, kind);
    bool ok = true;

    PUT(be, "frontend", "%s", fe);
    PUT(be, "frontend-id", "%d", opt.domid);
    PUT(be, "online", "1");
    PUT(be, "state", "1");
    PUT(fe, "backend", "%s", be);
    PUT(fe, "backend-id", "0");
    PUT(fe, "state", "1");
    g_free(be);
    g_free(fe);
    return ok;
}

/* The nodes that libxl has written when it starts the device model (toolstack.md 1.2, 3.1, 3.3). */
bool write_nodes(void)
{
    struct xs_permissions guest_reads[2] = {
        {.id = 0, .perms = XS_PERM_NONE},
        {.id = (unsigned int)opt.domid, .perms = XS_PERM_READ},
    };
    struct xs_permissions guest_owns[1] = {
        {.id = (unsigned int)opt.domid, .perms = XS_PERM_NONE},
    };
    static const char *const guest_dirs[] = {"drivers",
                                             "feature",
                                             "attr",
                                             "error",
                                             "data",
                                             "control/shutdown",
                                             "device/suspend/event-channel"};
    char *dom = g_strdup_printf("/local/domain/%d", opt.domid);
    char *vm = g_strdup_printf("/vm/00000000-0000-4000-8000-%012x", opt.domid);
    char *dm = g_strdup_printf("/local/domain/0/device-model/%d", opt.domid);
    char *port = ctl("xenparam %d", HVM_PARAM_STORE_EVTCHN);
    char *cport = ctl("xenparam %d", HVM_PARAM_CONSOLE_EVTCHN);
    char *be = g_strdup_printf("/local/domain/0/backend/vkbd/%d/0", opt.domid);
    bool ok = port && cport;
    unsigned int i;

    PUT("/local/domain/0", "name", "Domain-0");
    PUT("/local/domain/0", "domid", "0");
    PUT(vm, "name", "%s", opt.name);
    PUT(vm, "uuid", "%s", vm + 4);
    ok = ok && xs_mkdir(run.xs, XBT_NULL, dom) &&
         xs_set_permissions(run.xs, XBT_NULL, dom, guest_reads, 2);
    PUT(dom, "vm", "%s", vm);
    PUT(dom, "name", "%s", opt.name);
    PUT(dom, "domid", "%d", opt.domid);
    PUT(dom, "memory/static-max", "%d", opt.memory * 1024);
    PUT(dom, "memory/target", "%d", (opt.memory - video_mb()) * 1024);
    PUT(dom, "memory/videoram", "%d", video_mb() * 1024);
    for (i = 0; i < (unsigned int)opt.vcpus; i++) {
        char *node = g_strdup_printf("cpu/%u/availability", i);

        PUT(dom, node, "online");
        g_free(node);
    }
    for (i = 0; i < G_N_ELEMENTS(guest_dirs); i++) {
        char *p = g_strdup_printf("%s/%s", dom, guest_dirs[i]);

        ok = ok && xs_mkdir(run.xs, XBT_NULL, p) &&
             xs_set_permissions(run.xs, XBT_NULL, p, guest_owns, 1);
        g_free(p);
    }
    if (ok) {
        PUT(dom, "store/port", "%lu", strtoul(port, NULL, 0));
        PUT(dom, "store/ring-ref", "%u", 0xFEFFCu);
        PUT(dom, "console/port", "%lu", strtoul(cport, NULL, 0));
        PUT(dom, "console/ring-ref", "%u", 0xFEFFFu);
        PUT(dom, "console/limit", "1048576");
        PUT(dom, "console/type", "xenconsoled");
        PUT(dom, "console/output", "pty");
        PUT(be, "backend-type", "qemu");
        ok = ok && put_device("vkbd");
    }
    if (ok && opt.pv) {
        ok = put_device("vfb");
    } else if (ok) {
        PUT(dom, "hvmloader/bios", "seabios");
        PUT(dom, "hvmloader/allow-memory-relocate", "0");
    }
    for (i = 0; ok && opt.sets && opt.sets[i]; i++) {
        char **kv = g_strsplit(opt.sets[i], "=", 2);

        ok = kv[0] && kv[1] ? xs_put(kv[0], "%s", kv[1]) : complain("--xenstore PATH=VALUE");
        g_strfreev(kv);
    }
    if (ok && !xs_introduce_domain(run.xs, (unsigned int)opt.domid, 0xFEFFC,
                                   (unsigned int)strtoul(port, NULL, 0)))
        ok = complain("xenstore introduce: %s", strerror(errno));
    if (ok && !xs_mkdir(run.xs, XBT_NULL, dm))
        ok = complain("xenstore mkdir %s: %s", dm, strerror(errno));
    g_free(dom);
    g_free(vm);
    g_free(dm);
    g_free(be);
    g_free(port);
    g_free(cport);
    return ok;
}

#undef PUT

/* ---- arguments ---- */

static void add(GPtrArray *a, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

static void add(GPtrArray *a, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_ptr_array_add(a, g_strdup_vprintf(fmt, ap));
    va_end(ap);
}

/* 16 to 30: what is emulated, but for drives. */
static void add_machine(GPtrArray *a)
{
    const char *vga = opt.vga;
    unsigned int i;

    for (i = 0; opt.serials && opt.serials[i]; i++) { /* 16 */
        add(a, "-serial");
        add(a, "%s", opt.serials[i]);
    }
    if (strcmp(vga, "none")) { /* 20 */
        add(a, "-device");
        add(a, !strcmp(vga, "stdvga") ? "VGA,vgamem_mb=%d" : "cirrus-vga,vgamem_mb=%d", video_mb());
    }
    add(a, "-boot");
    add(a, "order=%s", opt.boot ? opt.boot : "cda");
    if (opt.vcpus > 1) { /* 27 */
        add(a, "-smp");
        add(a, "%d,maxcpus=%d", opt.vcpus, opt.vcpus);
    }
    add(a, "-net"); /* 30: no tap without root; --device adds what is wanted */
    add(a, "none");
    for (i = 0; opt.devices && opt.devices[i]; i++) {
        add(a, "-device");
        add(a, "%s", opt.devices[i]);
    }
}

/* 35' */
static void add_kind(GPtrArray *a)
{
    add(a, "-machine");
    if (opt.mmio_hole)
        add(a, "%s,suppress-vmdesc=on,max-ram-below-4g=%" PRIu64,
            opt.no_platform ? "pc,accel=xen" : "xenfv",
            (UINT64_C(1) << 32) - ((uint64_t)opt.mmio_hole << 20));
    else
        add(a, "%s,suppress-vmdesc=on", opt.no_platform ? "pc,accel=xen" : "xenfv");
}

/* 37, 38, 40, 41 */
static void add_drives(GPtrArray *a)
{
    bool ahci = opt.hdtype && !strcmp(opt.hdtype, "ahci");
    unsigned int i, k = 0;

    if (ahci) {
        add(a, "-device");
        add(a, "ahci,id=ahci0");
    }
    for (i = 0; opt.cdroms && opt.cdroms[i]; i++) { /* 38: from hdc on */
        static const int devno[] = {5632, 5696};

        if (i > 1)
            break;
        add(a, "-drive");
        if (*opt.cdroms[i])
            add(a, "if=none,readonly=on,id=ide-%d,file=%s,format=raw", devno[i], opt.cdroms[i]);
        else
            add(a, "if=none,readonly=on,id=ide-%d", devno[i]);
        add(a, "-device");
        add(a, "ide-cd,id=ide-%d,drive=ide-%d,bus=ide.1,unit=%u", devno[i], devno[i], i);
    }
    for (i = 0; opt.disks && opt.disks[i]; i++, k++) { /* 41 */
        const char *dot = strrchr(opt.disks[i], '.');
        const char *format = dot && !strcmp(dot, ".qcow2") ? "qcow2" : "raw";

        add(a, "-drive");
        if (ahci) { /* 40 */
            add(a, "file=%s,if=none,id=ahcidisk-%u,format=%s,cache=writeback", opt.disks[i], k,
                format);
            add(a, "-device");
            add(a, "ide-hd,bus=ahci0.%u,unit=0,drive=ahcidisk-%u", k, k);
            continue;
        }
        add(a, "file=%s,if=ide,index=%u,media=disk,format=%s,cache=writeback", opt.disks[i], k,
            format);
    }
}

/* toolstack.md 1.4, in its order; the numbers are its rows. */
GPtrArray *dm_arguments(int qmp_fd, int state_fd, char **extra)
{
    GPtrArray *a = g_ptr_array_new();
    unsigned int i;

    add(a, "%s", opt.dm);
    add(a, "-xen-domid");
    add(a, "%d", opt.domid);
    add(a, "-no-shutdown");
    add(a, "-chardev");
    if (opt.restrict_dm)
        add(a, "socket,id=libxl-cmd,fd=%d,server=on,wait=off", qmp_fd);
    else
        add(a, "socket,id=libxl-cmd,path=%s,server=on,wait=off", run.qmp_path);
    if (opt.restrict_dm)
        add(a, "-S");
    add(a, "-mon");
    add(a, "chardev=libxl-cmd,mode=control");
    add(a, "-chardev");
    add(a, "socket,id=libxenstat-cmd,path=%s/qmp-libxenstat-%d,server=on,wait=off", run.dir,
        opt.domid);
    add(a, "-mon");
    add(a, "chardev=libxenstat-cmd,mode=control");
    add(a, "-nodefaults");
    add(a, "-no-user-config");
    if (opt.pv)
        add(a, "-xen-attach"); /* 8 */
    add(a, "-name");
    add(a, "%s", opt.name);
    add(a, "-vnc");
    add(a, "127.0.0.1:0,to=99");
    add(a, "-display");
    add(a, "none");
    if (!opt.pv)
        add_machine(a);
    if (opt.restrict_dm) { /* 32 */
        add(a, "-xen-domid-restrict");
        if (geteuid() == 0) { /* chroot() needs it; libxl always has it */
            add(a, run.run_with ? "-run-with" : "-chroot");
            add(a, "%s%s/qemu-root-%d", run.run_with ? "chroot=" : "", run.dir, opt.domid);
        }
    }
    if (state_fd >= 0) { /* 33 */
        add(a, "-incoming");
        add(a, "fd:%d", state_fd);
    }
    for (i = 0; extra && extra[i]; i++) /* 34 */
        add(a, "%s", extra[i]);
    if (opt.pv) {
        add(a, "-machine");
        add(a, "xenpv"); /* 35 */
    } else {
        add_kind(a);
    }
    add(a, "-m");
    add(a, "%d", opt.memory - video_mb());
    if (!opt.pv)
        add_drives(a);
    g_ptr_array_add(a, NULL);
    return a;
}
