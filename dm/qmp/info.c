/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HMP's `info TOPIC`. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <config.h>

#include <xendm/aspace.h>
#include <xendm/backend.h>
#include <xendm/block.h>
#include <xendm/facts.h>
#include <xendm/ide.h>
#include <xendm/log.h>
#include <xendm/numbers.h>
#include <xendm/pci.h>
#include <xendm/recorder.h>
#include <xendm/usb.h>

#include "internal.h"

static void out_facts(GString *text, struct facts *facts)
{
    facts_foreach_line(facts, hmp_out_line, text);
    facts_free(facts);
}

/* What only the daemon knows; false: it has no such topic. */
static bool out_topic(const struct qmp_target *t, const char *name, GString *text)
{
    struct facts *facts = facts_new();
    bool known = t->ops->describe && t->ops->describe(t->opaque, name, facts);

    out_facts(text, facts);
    return known;
}

static void info_status(struct qmp *qmp, GString *text, const char *arg)
{
    hmp_out(text, "VM status: %s", qmp_status_name(qmp));
}

static void info_version(struct qmp *qmp, GString *text, const char *arg)
{
    hmp_out(text, "xendm %s", VERSION);
}

static void info_name(struct qmp *qmp, GString *text, const char *arg)
{
    hmp_out(text, "%s", qmp->target->desc->name ? qmp->target->desc->name : "");
}

static void info_kvm(struct qmp *qmp, GString *text, const char *arg)
{
    hmp_out(text, "kvm support: not compiled");
}

static void info_nothing(struct qmp *qmp, GString *text, const char *arg)
{
}

static void info_uuid(struct qmp *qmp, GString *text, const char *arg)
{
    hmp_out(text, "%s", qmp_uuid(qmp));
}

static void info_memory(struct qmp *qmp, GString *text, const char *arg)
{
    hmp_out(text, "base memory: %" PRIu64, qmp_memory_size(qmp));
    hmp_out(text, "plugged memory: 0");
}

static void fact_line(void *opaque, const char *line)
{
    hmp_out(opaque, "    %s", line);
}

/* Whatever the back end says of itself. */
static void fact_lines(GString *text, const struct backend *b)
{
    struct facts *facts = facts_new();

    b->class->describe(b, facts);
    facts_foreach_line(facts, fact_line, text);
    facts_free(facts);
}

struct block_lines {
    GString *text;
    const char *only; /* "": all */
    bool verbose;
};

static void drive_lines(void *opaque, const struct drive_info *d)
{
    const struct block_lines *l = opaque;
    GString *text = l->text;
    const struct block_stats *s = block_stats(d->block);

    if (*l->only && strcmp(l->only, d->id) != 0 && strcmp(l->only, d->qdev) != 0) {
        return;
    }
    if (d->unplugged) {
        hmp_out(text, "%s: unplugged by the guest", d->id);
        return;
    }
    if (block_present(d->block)) {
        hmp_out(text, "%s (#%s): %s (%s%s), %" PRIu64 " bytes", d->id, d->id, block_file(d->block),
                block_format(d->block), block_read_only(d->block) ? ", read-only" : "",
                block_size(d->block));
    } else {
        hmp_out(text, "%s: [not inserted]", d->id);
    }
    hmp_out(text, "    Attached to:      %s", *d->qdev ? d->qdev : "nobody");
    if (d->cd) {
        hmp_out(text, "    Removable device: %s, tray %s",
                ide_cd_tray_locked(d->device) ? "locked" : "not locked",
                ide_cd_tray_open(d->device) ? "open" : "closed");
    }
    hmp_limits_line(text, d->block);
    if (block_present(d->block)) {
        hmp_out(text,
                "    read %" PRIu64 " (%" PRIu64 " bytes, %" PRIu64 " failed), written %" PRIu64
                " (%" PRIu64 " bytes, %" PRIu64 " failed), flushed %" PRIu64 ", in flight %u",
                s->ops[BLOCK_READ], s->bytes[BLOCK_READ], s->errors[BLOCK_READ],
                s->ops[BLOCK_WRITE], s->bytes[BLOCK_WRITE], s->errors[BLOCK_WRITE],
                s->ops[BLOCK_FLUSH], block_in_flight(d->block));
    }
    if (l->verbose) {
        fact_lines(text, block_backend(d->block));
    }
}

/* info block [-n] [-v] [DEVICE]. -n: what there is has one node each. */
static void info_block(struct qmp *qmp, GString *text, const char *arg)
{
    struct block_lines l = {.text = text};

    while (g_str_has_prefix(arg, "-n") || g_str_has_prefix(arg, "-v")) {
        l.verbose |= arg[1] == 'v';
        arg += 2 + strspn(arg + 2, " \t");
    }
    l.only = arg;
    qmp_foreach_drive(qmp, drive_lines, &l);
    hmp_out(text, "engine: %s", block_engine());
}

static void backend_lines(void *opaque, struct backend *b)
{
    hmp_out(opaque, "%s %s: %s, used by %s", backend_kind_name(b->class->kind), b->id,
            b->class->driver, b->user ? b->user->id : "no device");
    if (b->class->describe) {
        fact_lines(opaque, b);
    }
}

static void info_backends(struct qmp *qmp, GString *text, const char *arg)
{
    if (qmp->target->backends) {
        backend_foreach(qmp->target->backends, backend_lines, text);
    }
}

static void chardev_line(void *opaque, const char *label, const char *filename, bool used,
                         bool connected)
{
    hmp_out(opaque, "%s: filename=%s%s%s", label, filename, used ? "" : ", not used by any device",
            connected ? "" : ", nobody connected");
}

static void info_chardev(struct qmp *qmp, GString *text, const char *arg)
{
    qmp_foreach_chardev(qmp, chardev_line, text);
}

static void region_line(void *opaque, const struct region *r)
{
    hmp_out(opaque, "  %016" PRIx64 "-%016" PRIx64 " %s%s: %" PRIu64 " reads, %" PRIu64 " writes",
            r->base, r->base + (r->size - 1), r->name, r->hidden ? " (hidden)" : "", r->reads,
            r->writes);
}

static void space_lines(GString *text, const char *name, struct aspace *as)
{
    const struct aspace_counters *c = aspace_counters(as);

    hmp_out(text,
            "%s: %" PRIu64 " reads and %" PRIu64 " writes found nobody, %" PRIu64 " were refused",
            name, c->unclaimed_reads, c->unclaimed_writes, c->refused);
    aspace_foreach(as, region_line, text);
}

static void info_mtree(struct qmp *qmp, GString *text, const char *arg)
{
    struct machine *m = qmp->target->machine;

    space_lines(text, "ports", m->pio);
    space_lines(text, "memory", m->mmio);
    hmp_out(text, "guest RAM: 0-%" PRIx64 ", 100000000-%" PRIx64, m->ram_low_end, m->ram_high_end);
    hmp_out(text,
            "DMA: %" PRIu64 " reads (%" PRIu64 " bytes), %" PRIu64 " writes (%" PRIu64
            " bytes), %" PRIu64 " refused",
            m->dma.reads, m->dma.bytes_read, m->dma.writes, m->dma.bytes_written, m->dma.refused);
}

static void pci_lines(void *opaque, struct pci_device *pci)
{
    GString *text = opaque;
    const struct pci_info *info = pci->dev.class->pci;

    hmp_out(text, "00:%02x.%u %04x:%04x class %06x %s%s%s", PCI_SLOT(pci->devfn),
            PCI_FUNCTION(pci->devfn), info->vendor, info->device, info->class, pci->dev.id,
            pci->powered_down ? ", unplugged" : "", pci->dev.dma_blocked ? "" : ", bus master");
    for (unsigned n = 0; n <= PCI_BAR_ROM; n++) {
        if (pci->bar[n].size && pci->bar[n].address != PCI_BAR_UNMAPPED) {
            hmp_out(text, "    BAR%u: %s at %" PRIx64 ", %" PRIu64 " bytes", n,
                    n < PCI_BAR_COUNT && info->bar[n].type == PCI_BAR_IO ? "ports" : "memory",
                    pci->bar[n].address, pci->bar[n].size);
        }
    }
    if (info->intx_pin) {
        hmp_out(text, "    INT%c#, line %u", 'A' + info->intx_pin - 1, pci->config[0x3c]);
    }
}

static void usb_line(void *opaque, struct usb_device *dev)
{
    static const char *const speeds[] = {"1.5", "12", "480", "5000"};
    g_autofree char *product = usb_device_product(dev);

    g_autofree char *path = usb_device_path(dev);

    hmp_out(opaque, "  Device 0.%u, Port %s, Speed %s Mb/s, Product %s, ID: %s", dev->address, path,
            speeds[dev->speed], product ? product : "", dev->dev.id);
}

static void info_usb(struct qmp *qmp, GString *text, const char *arg)
{
    usb_foreach(qmp->target->machine, usb_line, text);
}

static void info_pci(struct qmp *qmp, GString *text, const char *arg)
{
    qmp_foreach_pci(qmp, pci_lines, text);
}

static void info_cpus(struct qmp *qmp, GString *text, const char *arg)
{
    struct machine *m = qmp->target->machine;

    for (unsigned vcpu = 0; vcpu < m->vcpus; vcpu++) {
        hmp_out(text, "vCPU %u: %s", vcpu, board_vcpu_is_online(m, vcpu) ? "plugged" : "unplugged");
    }
}

static void intx_line(void *opaque, struct pci_device *pci)
{
    if (pci->dev.class->pci->intx_pin) {
        hmp_out(opaque, "00:%02x.%u INT%c#: %s%s", PCI_SLOT(pci->devfn), PCI_FUNCTION(pci->devfn),
                'A' + pci->dev.class->pci->intx_pin - 1,
                pci->intx_asserted ? "asserted" : "not asserted",
                pci_msi_enabled(pci) || pci_msix_enabled(pci) ? " (MSI in use)" : "");
    }
}

static void info_irq(struct qmp *qmp, GString *text, const char *arg)
{
    struct machine *m = qmp->target->machine;

    for (unsigned i = 0; i < G_N_ELEMENTS(m->isa_irq); i++) {
        hmp_out(text, "ISA %2u: %s, %" PRIu64 " changes", i,
                irq_line_level(&m->isa_irq[i]) ? "high" : "low", m->isa_irq[i].changes);
    }
    qmp_foreach_pci(qmp, intx_line, text);
}

static void info_devices(struct qmp *qmp, GString *text, const char *arg)
{
    static const char *const phases[] = {
        [DEVICE_NEW] = "new",          [DEVICE_REALIZED] = "realized", [DEVICE_RUNNING] = "running",
        [DEVICE_QUIESCED] = "stopped", [DEVICE_LEAVING] = "leaving",
    };
    struct machine *m = qmp->target->machine;

    for (guint i = 0; i < m->devices->len; i++) {
        const struct device *dev = g_ptr_array_index(m->devices, i);

        hmp_out(text, "%s: %s, %s", dev->id, dev->class->help ? dev->class->help : dev->class->name,
                phases[dev->phase]);
    }
}

static void info_device(struct qmp *qmp, GString *text, const char *arg)
{
    struct device *dev = machine_find(qmp->target->machine, arg);

    if (!dev) {
        hmp_out(text, "Error: there is no device '%s'; info devices lists them", arg);
    } else if (dev->class->describe || dev->banks->len) {
        struct facts *facts = facts_new();

        device_describe(dev, facts);
        out_facts(text, facts);
    } else {
        hmp_out(text, "%s: %s", dev->id, dev->class->name);
    }
}

static void info_log(struct qmp *qmp, GString *text, const char *arg)
{
    for (unsigned sub = 0; sub < LOG_SUBSYSTEM_COUNT; sub++) {
        hmp_out(text, "%s: %s, %" PRIu64 " complaints about the guest", log_subsystem_name(sub),
                log_level_name(log_levels[sub]), log_guest_count(sub));
    }
}

static void info_recorder(struct qmp *qmp, GString *text, const char *arg)
{
    uint64_t max = 0;
    char buf[4096];
    ssize_t n;
    int fd;

    if (*arg && number_parse(arg, 1, RECORDER_SIZE, &max) < 0) {
        hmp_out(text, "Error: '%s' is not a number of entries (1 to %u)", arg, RECORDER_SIZE);
        return;
    }
    /* recorder_dump() knows descriptors only, for it must work in a signal handler. */
    fd = memfd_create("recorder", MFD_CLOEXEC);
    if (fd < 0) {
        hmp_out(text, "Error: memfd_create: %s", g_strerror(errno));
        return;
    }
    recorder_dump(fd, (unsigned)max);
    lseek(fd, 0, SEEK_SET);
    while (text->len < HMP_OUTPUT_MAX && (n = read(fd, buf, sizeof(buf))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (buf[i] == '\n') {
                g_string_append_c(text, '\r');
            }
            g_string_append_c(text, buf[i]);
        }
    }
    close(fd);
}

static void info_registers(struct qmp *qmp, GString *text, const char *arg)
{
    hmp_out(text, "Error: the vCPUs are Xen's; see xenctx %u", qmp->target->desc->domid);
}

static void info_help(struct qmp *qmp, GString *text, const char *arg);

static const struct topic {
    const char *name;
    void (*show)(struct qmp *qmp, GString *text, const char *arg);
    unsigned flags;
    const char *help;
} topics[] = {
    {"backends", info_backends, 0, "every back end, and what it says of itself"},
    {"block", info_block, 0, "drives, their media and counters"},
    {"block-jobs", hmp_info_block_jobs, 0, "what works on images in the background: nothing"},
    {"blockstats", hmp_info_blockstats, 0, "drives' counters, a line each"},
    {"chardev", info_chardev, 0, "character devices"},
    {"cpus", info_cpus, HMP_MACHINE, "which vCPUs are plugged"},
    {"device", info_device, HMP_MACHINE | HMP_ARG, "ID: what the device says of itself"},
    {"devices", info_devices, HMP_MACHINE, "every device"},
    {"help", info_help, 0, "this"},
    {"hotpluggable-cpus", info_cpus, HMP_MACHINE, "the same as cpus"},
    {"iothreads", info_nothing, 0, "there are none"},
    {"irq", info_irq, HMP_MACHINE, "interrupt lines"},
    {"jobs", hmp_info_block_jobs, 0, "the same as block-jobs"},
    {"kvm", info_kvm, 0, "for tools that ask"},
    {"log", info_log, 0, "log levels and complaints about the guest, by subsystem"},
    {"memory-devices", info_nothing, 0, "there are none"},
    {"memory_size_summary", info_memory, HMP_MACHINE, "bytes of the guest's memory"},
    {"mice", hmp_info_mice, HMP_MACHINE, "pointers, and who gets movements"},
    {"migrate", info_nothing, 0, "the toolstack knows: xl"},
    {"mtree", info_mtree, HMP_MACHINE, "address spaces, regions, access counters"},
    {"name", info_name, 0, "the guest's name"},
    {"network", hmp_info_network, 0, "network back ends, and who uses them"},
    {"pci", info_pci, HMP_MACHINE, "PCI functions"},
    {"recorder", info_recorder, 0, "[N]: the newest entries of the flight recorder"},
    {"registers", info_registers, 0, "where to find the vCPUs' registers"},
    {"snapshots", info_nothing, 0, "there are none: they are the storage's"},
    {"status", info_status, 0, "run state"},
    {"usb", info_usb, HMP_MACHINE, "USB devices"},
    {"uuid", info_uuid, 0, "of the guest"},
    {"version", info_version, 0, "of xendm"},
    {"vnc", hmp_info_vnc, 0, "where the VNC server listens, and who looks"},
};

static void info_help(struct qmp *qmp, GString *text, const char *arg)
{
    for (size_t i = 0; i < G_N_ELEMENTS(topics); i++) {
        hmp_out(text, "info %s -- %s", topics[i].name, topics[i].help);
    }
    hmp_out(text,
            "info ioreq, info mapcache, info hypervisor, info loop, info pv, info recording -- "
            "what the daemon says of its parts");
}

void hmp_info(struct qmp_call *call, const char *arg)
{
    struct qmp *qmp = call->qmp;
    const struct qmp_target *t = qmp->target;
    g_autofree char *name = g_strdup(*arg ? arg : "help");
    g_autoptr(GString) text = g_string_new(NULL);
    const char *rest = hmp_split_word(name);
    const struct topic *topic = topics;

    while (topic < topics + G_N_ELEMENTS(topics) && strcmp(topic->name, name) != 0) {
        topic++;
    }
    if (topic == topics + G_N_ELEMENTS(topics)) {
        if (!out_topic(t, name, text)) {
            const char *why = elsewhere_topic(name);

            hmp_out(text, "Error: there is no topic '%s'%s%s", name, why ? ": " : "",
                    why ? why : "; info help lists them");
        }
    } else if ((topic->flags & HMP_MACHINE) && !t->machine) {
        hmp_out(text, "Error: there is no machine");
    } else if ((topic->flags & HMP_ARG) && !*rest) {
        hmp_out(text, "Error: info %s %s", topic->name, topic->help);
    } else {
        topic->show(qmp, text, rest);
    }
    qmp_call_text(call, text->str);
}
