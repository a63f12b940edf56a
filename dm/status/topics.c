/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's parts as facts; see status.h. */
#include <string.h>

#include <xendm/facts.h>
#include <xendm/instance.h>
#include <xendm/mapcache.h>
#include <xendm/pv.h>
#include <xendm/turn.h>

#include "ioreq/ioreq.h"
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

static const struct topic {
    const char *name;
    enum instance_part part;
    void (*describe)(const struct status_parts *of, struct facts *to);
} topics[] = {
    {"hypervisor", INSTANCE_GUEST, hypervisor},
    {"ioreq", INSTANCE_ACCESSES, ioreq},
    {"loop", INSTANCE_DOMAIN, loop},
    {"mapcache", INSTANCE_GUEST, mapcache},
    {"pv", INSTANCE_DOMAIN, pv},
};

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
