/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's parts as facts; see status.h. */
#include <inttypes.h>
#include <string.h>

#include <xendm/aspace.h>
#include <xendm/backend.h>
#include <xendm/device.h>
#include <xendm/facts.h>
#include <xendm/instance.h>
#include <xendm/machine.h>
#include <xendm/mapcache.h>
#include <xendm/pci.h>
#include <xendm/pv.h>
#include <xendm/turn.h>

#include "ioreq/ioreq.h"
#include "tape/tape.h"
#include "xen/xen.h"
#include "status.h"

static void ioreq(const struct status_parts *of, struct facts *to)
{
    ioreq_server_describe(of->ioreq, to);
}

static void mapcache(const struct status_parts *of, struct facts *to)
{
    struct mapcache_counters n;

    mapcache_counters(of->memory, &n);
    fact_int(to, "buckets", n.buckets);
    fact_int(to, "KiB mapped", (int64_t)(n.bytes_mapped >> 10));
    fact_int(to, "KiB pinned", (int64_t)(n.bytes_pinned >> 10));
    fact_int(to, "hits", (int64_t)n.hits);
    fact_int(to, "misses", (int64_t)n.misses);
    fact_int(to, "evictions", (int64_t)n.evictions);
    fact_int(to, "invalidations", (int64_t)n.invalidations);
    fact_int(to, "gathered", (int64_t)n.gathered);
    fact_int(to, "map errors", (int64_t)n.map_errors);
    fact_int(to, "holes hit", (int64_t)n.holes);
}

static void hypervisor(const struct status_parts *of, struct facts *to)
{
    struct xen_hypervisor_counters n;

    xen_hypervisor_counters(of->hv, &n);
    fact_int(to, "irq calls", (int64_t)n.irq_calls);
    fact_int(to, "msi calls", (int64_t)n.msi_calls);
    fact_int(to, "range calls", (int64_t)n.range_calls);
    fact_int(to, "modified calls", (int64_t)n.modified_calls);
    fact_int(to, "failed", (int64_t)n.failures);
    fact_int(to, "interrupts refused", (int64_t)n.interrupt_failures);
}

static void longest(struct facts *to, const char *when, const struct turn_longest *turn)
{
    if (turn->source) {
        fact_text(to, when,
                  "%" G_GINT64_FORMAT " us of CPU time, %" G_GINT64_FORMAT
                  " us in all, most of it %s",
                  turn->cpu_ns / 1000, turn->wall_ns / 1000, turn->source);
    } else {
        fact_text(to, when, "less than 1000 us");
    }
}

static void loop(const struct status_parts *of, struct facts *to)
{
    const struct turn_counters *n = turn_counters();

    fact_int(to, "turns", (int64_t)n->turns);
    fact_int(to, "turns above 1 ms of CPU time", (int64_t)n->above_1ms);
    fact_int(to, "turns above 5 ms of CPU time", (int64_t)n->above_5ms);
    longest(to, "longest turn since the start", &n->longest);
    longest(to, "longest turn since this was last asked", &n->recent);
}

static void pv(const struct status_parts *of, struct facts *to)
{
    if (of->pv) {
        pv_bus_describe(of->pv, to);
    } else {
        fact_bool(to, "served", false);
    }
}

static void recording(const struct status_parts *of, struct facts *to)
{
    recording_describe(to);
}

static void life(const struct status_parts *of, struct facts *to)
{
    static const char *const states[] = {
        [MACHINE_BUILDING] = "building",  [MACHINE_STOPPED] = "stopped",
        [MACHINE_RUNNING] = "running",    [MACHINE_SUSPENDED] = "suspended",
        [MACHINE_SHUTDOWN] = "shut down",
    };

    fact_text(to, "state", "%s", states[of->state]);
    fact_bool(to, "started", of->started);
    if (of->doing) {
        fact_text(to, "under way", "%s", of->doing);
    }
    fact_bool(to, "being received", of->incoming && !of->started);
    fact_bool(to, "saved", of->saved);
    if (of->hv) {
        fact_bool(to, "memory is being copied", xen_hypervisor_log_dirty(of->hv));
    }
}

static void hardware(const struct machine *m, struct facts *to)
{
    fact_int(to, "vCPUs", m->vcpus);
    fact_int(to, "devices", m->devices->len);
    fact_int(to, "DMA bytes read", (int64_t)m->dma.bytes_read);
    fact_int(to, "DMA bytes written", (int64_t)m->dma.bytes_written);
    fact_int(to, "DMA refused", (int64_t)m->dma.refused);
}

/* "ports 0x1f0-0x1f7": "piix3-ide", so that addresses can be given names by who reads them. */
static void place(struct facts *to, const char *space, const struct region *r)
{
    g_autofree char *name =
        g_strdup_printf("%s 0x%" PRIx64 "-0x%" PRIx64, space, r->base, r->base + r->size - 1);

    fact_text(to, name, "%s", r->owner ? r->owner->id : r->name);
}

static void port_place(void *opaque, const struct region *r)
{
    place(opaque, "ports", r);
}

static void memory_place(void *opaque, const struct region *r)
{
    place(opaque, "memory", r);
}

static void places(const struct status_parts *of, struct facts *to)
{
    if (!of->machine) {
        return;
    }
    aspace_foreach(of->machine->pio, port_place, to);
    aspace_foreach(of->machine->mmio, memory_place, to);
    pci_foreach (pci, of->machine->pci) {
        g_autofree char *name = g_strdup_printf("function 0x%x", pci->devfn);

        fact_text(to, name, "%s", pci->dev.id);
    }
}

static void backend(void *opaque, struct backend *b)
{
    struct facts *to = opaque;
    g_autofree char *name = g_strdup_printf("%s %s", backend_kind_name(b->class->kind), b->id);

    facts_nest(to, name);
    fact_text(to, "driver", "%s", b->class->driver);
    fact_text(to, "used by", "%s", b->user ? b->user->id : "");
    if (b->class->describe) {
        b->class->describe(b, to);
    }
}

static const struct topic {
    const char *name;
    enum instance_part part;
    void (*describe)(const struct status_parts *of, struct facts *to);
} topics[] = {
    {"hypervisor", INSTANCE_GUEST, hypervisor},
    {"ioreq", INSTANCE_ACCESSES, ioreq},
    {"loop", INSTANCE_DOMAIN, loop},
    {"mapcache", INSTANCE_GUEST, mapcache},
    {"places", INSTANCE_ACCESSES, places},
    {"pv", INSTANCE_DOMAIN, pv},
    {"recording", INSTANCE_MACHINE, recording},
};

void status_describe_all(const struct status_parts *of, struct facts *to)
{
    facts_nest(to, "machine");
    life(of, to);
    if (of->machine) {
        hardware(of->machine, to);
    }
    backend_foreach(of->backends, backend, to);
    for (size_t i = 0; i < G_N_ELEMENTS(topics); i++) {
        bool groups = topics[i].describe == pv; /* a group a device, by themselves */

        if (instance_has(of->type, topics[i].part)) {
            facts_nest(to, groups ? NULL : topics[i].name);
            topics[i].describe(of, to);
        }
    }
}

bool status_describe(const struct status_parts *of, const char *topic, struct facts *to)
{
    for (size_t i = 0; i < G_N_ELEMENTS(topics); i++) {
        if (strcmp(topics[i].name, topic) == 0 && instance_has(of->type, topics[i].part)) {
            topics[i].describe(of, to);
            return true;
        }
    }
    return false;
}
