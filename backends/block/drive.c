/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drives as back ends: options, live update, what is said of them. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <xendm/backend-classes.h>
#include <xendm/facts.h>
#include <xendm/handover.h>

#include "internal.h"

static int check_drive(const struct backend *backend, GError **err)
{
    return block_throttle_check(&((const struct block *)backend)->limits, err);
}

/* As numbers, in the order of struct block_throttle. */
static char *limits_text(const struct block_throttle *t)
{
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; i < BLOCK_RATES; i++) {
        g_string_append_printf(text, "%" PRIu64 " %" PRIu64 " %" PRIu64 " ", t->rate[i].avg,
                               t->rate[i].max, t->rate[i].length);
    }
    g_string_append_printf(text, "%" PRIu64, t->op_size);
    return g_string_free(text, FALSE);
}

static void limits_from_text(const char *text, struct block_throttle *t)
{
    g_auto(GStrv) words = g_strsplit(text, " ", -1);

    memset(t, 0, sizeof(*t));
    if (g_strv_length(words) == 3 * BLOCK_RATES + 1) {
        for (unsigned i = 0; i < BLOCK_RATES; i++) {
            t->rate[i] = (struct block_rate){g_ascii_strtoull(words[3 * i], NULL, 10),
                                             g_ascii_strtoull(words[3 * i + 1], NULL, 10),
                                             g_ascii_strtoull(words[3 * i + 2], NULL, 10)};
        }
        t->op_size = g_ascii_strtoull(words[3 * BLOCK_RATES], NULL, 10);
    }
}

/* What was set while it ran, or else what the options say. */
static int use_limits(struct block *b, const struct handover *from, GError **err)
{
    g_autofree char *where = backend_group(&b->b);
    g_autofree char *text = from ? handover_text(from, where, "limits") : NULL;
    g_autofree char *group = from ? handover_text(from, where, "limits of") : NULL;
    struct block_throttle t = b->limits;

    if (from) {
        limits_from_text(text ? text : "", &t);
    }
    return block_set_throttle(b, &t, from ? group : b->group, err);
}

static int open_drive(struct backend *backend, const struct handover *from, GError **err)
{
    struct block *b = (struct block *)backend;
    g_autofree char *group = backend_group(backend);
    g_autofree char *file = NULL, *format = NULL, *export_name = NULL;
    struct block_options options = {
        .id = backend->id,
        .file = b->image,
        .format = backend->class->driver,
        .read_only = b->read_only,
        .inactive = backend->inactive,
        .fd = -1,
    };

    if (from) {
        file = handover_text(from, group, "file");
        format = handover_text(from, group, "format");
        options.fd = handover_fd(from, group, "medium");
        options.file = options.fd >= 0 ? file : NULL;
        options.format = format;
        options.read_only = handover_int(from, group, "read-only", options.read_only);
        export_name = handover_text(from, group, "export");
        options.export_name = export_name;
        options.size = (uint64_t)handover_int(from, group, "bytes", 0);
        options.lost = -(int)CLAMP(handover_int(from, group, "lost", 0), 0, 4095);
        options.inactive = !handover_int(from, group, "active", true);
    }
    b->cache.through = !b->writeback;
    if (from) {
        b->cache.direct = handover_int(from, group, "direct", b->cache.direct);
    }
    if (block_start(b, &options, err) < 0) {
        return -EINVAL;
    }
    if (use_limits(b, from, err) < 0) {
        block_stop(b);
        return -EINVAL;
    }
    return 0;
}

static void hurry_drive(struct backend *backend, bool on)
{
    gate_hurry((struct block *)backend, on);
}

static void close_drive(struct backend *backend)
{
    block_stop((struct block *)backend);
}

static unsigned drive_busy(const struct backend *backend)
{
    return block_in_flight((const struct block *)backend);
}

static int activate_drive(struct backend *backend, GError **err)
{
    return block_activate((struct block *)backend, err);
}

static void inactivate_drive(struct backend *backend)
{
    block_inactivate((struct block *)backend);
}

static void hand_over_drive(const struct backend *backend, struct handover *to)
{
    const struct block *b = (const struct block *)backend;
    g_autofree char *group = backend_group(backend);

    handover_put_fd(to, group, "medium", block_fd(b));
    handover_put_text(to, group, "file", block_file(b));
    if (b->m) {
        handover_put_text(to, group, "format", block_format(b));
        handover_put_int(to, group, "bytes", (int64_t)block_size(b));
    }
    if (b->m && b->m->driver->export_name) {
        handover_put_text(to, group, "export", b->m->driver->export_name(b->m));
    }
    handover_put_int(to, group, "read-only", block_read_only(b));
    handover_put_int(to, group, "direct", b->cache.direct);
    handover_put_int(to, group, "lost", -block_lost(b));
    handover_put_int(to, group, "active", block_active(b));
    if (block_throttle(b)) {
        g_autofree char *limits = limits_text(block_throttle(b));

        handover_put_text(to, group, "limits", limits);
        handover_put_text(to, group, "limits of", block_throttle_group(b));
    }
}

static void describe_limits(const struct block *b, struct facts *to)
{
    const struct block_throttle *t = block_throttle(b);

    for (unsigned i = 0; t && i < BLOCK_RATES; i++) {
        const struct block_rate *r = &t->rate[i];

        if (r->max) {
            fact_text(to, block_rate_name(i), "%" PRIu64 ", %" PRIu64 " for %" PRIu64 " s", r->avg,
                      r->max, MAX(r->length, 1));
        } else if (r->avg) {
            fact_int(to, block_rate_name(i), (int64_t)r->avg);
        }
    }
    if (t) {
        fact_text(to, "limits of", "%s", block_throttle_group(b));
    }
}

static void describe_drive(const struct backend *backend, struct facts *to)
{
    const struct block *b = (const struct block *)backend;

    fact_text(to, "file", "%s", block_file(b));
    fact_text(to, "format", "%s", block_format(b));
    fact_int(to, "bytes", (int64_t)block_size(b));
    fact_bool(to, "read-only", block_read_only(b));
    fact_bool(to, "active", block_active(b));
    fact_bool(to, "cache.direct", b->cache.direct);
    fact_bool(to, "cache.writeback", !b->cache.through);
    fact_bool(to, "cache.no-flush", b->cache.no_flush);
    fact_int(to, "number", b->number);
    fact_int(to, "in flight", b->in_flight);
    if (b->in_flight > 0) {
        fact_int(to, "silent since", b->progress);
    }
    fact_int(to, "reads", (int64_t)b->stats.ops[BLOCK_READ]);
    fact_int(to, "writes", (int64_t)b->stats.ops[BLOCK_WRITE]);
    fact_int(to, "flushes", (int64_t)b->stats.ops[BLOCK_FLUSH]);
    fact_int(to, "failed",
             (int64_t)(b->stats.errors[BLOCK_READ] + b->stats.errors[BLOCK_WRITE] +
                       b->stats.errors[BLOCK_FLUSH] + b->stats.errors[BLOCK_DISCARD] +
                       b->stats.errors[BLOCK_ZERO]));
    fact_int(to, "bytes read", (int64_t)b->stats.bytes[BLOCK_READ]);
    fact_int(to, "bytes written", (int64_t)b->stats.bytes[BLOCK_WRITE]);
    fact_int(to, "retries", (int64_t)b->stats.retries);
    fact_int(to, "held", (int64_t)b->stats.held);
    describe_limits(b, to);
}

#define RATE(name_, kind_, what_) \
    {.name = "throttling." name_, \
     .type = PROP_UINT64, \
     .offset = offsetof(struct block, limits.rate[kind_].avg), \
     .help = what_ " a second"}, \
        {.name = "throttling." name_ "-max", \
         .type = PROP_UINT64, \
         .offset = offsetof(struct block, limits.rate[kind_].max), \
         .help = "… in a burst"}, \
    { \
        .name = "throttling." name_ "-max-length", .type = PROP_UINT64, \
        .offset = offsetof(struct block, limits.rate[kind_].length), .help = "seconds of a burst" \
    }

static const struct property drive_properties[] = {
    RATE("bps-total", BLOCK_BPS_TOTAL, "bytes"),
    RATE("bps-read", BLOCK_BPS_READ, "bytes read"),
    RATE("bps-write", BLOCK_BPS_WRITE, "bytes written"),
    RATE("iops-total", BLOCK_IOPS_TOTAL, "requests"),
    RATE("iops-read", BLOCK_IOPS_READ, "reads"),
    RATE("iops-write", BLOCK_IOPS_WRITE, "writes"),
    {.name = "throttling.iops-size",
     .type = PROP_UINT64,
     .offset = offsetof(struct block, limits.op_size),
     .help = "bytes that count as one request; a longer one counts as several"},
    {.name = "throttling.group",
     .type = PROP_STRING,
     .offset = offsetof(struct block, group),
     .help = "drives of one group share their limits (default: the drive's id)"},
    {.name = "file",
     .type = PROP_STRING,
     .offset = offsetof(struct block, image),
     .help = "the image; without it the drive is empty"},
    {.name = "read-only",
     .type = PROP_BOOL,
     .offset = offsetof(struct block, read_only),
     .def = "off",
     .help = "opened for reading only"},
    {.name = "cache.direct",
     .type = PROP_BOOL,
     .offset = offsetof(struct block, cache.direct),
     .def = "off",
     .help = "past the host's page cache (O_DIRECT)"},
    {.name = "cache.writeback",
     .type = PROP_BOOL,
     .offset = offsetof(struct block, writeback),
     .def = "on",
     .help = "off: a write is on stable storage when it is done"},
    {.name = "cache.no-flush",
     .type = PROP_BOOL,
     .offset = offsetof(struct block, cache.no_flush),
     .def = "off",
     .help = "the guest's flushes do nothing: its data are lost if the host fails"},
    {.name = NULL},
};

#define DRIVER(name_, prepare_, help_) \
    const struct backend_class block_##name_##_class = { \
        .kind = BACKEND_BLOCK, \
        .driver = #name_, \
        .help = help_, \
        .size = sizeof(struct block), \
        .properties = drive_properties, \
        .prepare = prepare_, \
        .check = check_drive, \
        .open = open_drive, \
        .close = close_drive, \
        .busy = drive_busy, \
        .poll = block_poll, \
        .hurry = hurry_drive, \
        .activate = activate_drive, \
        .inactivate = inactivate_drive, \
        .hand_over = hand_over_drive, \
        .describe = describe_drive, \
    }

DRIVER(raw, block_start_engine, "a file or block device of the host as it is");
DRIVER(host_device, block_start_engine, "a block device of the host");
DRIVER(nbd, block_nbd_prepare, "what an NBD server has: nbd:HOST:PORT, nbd:unix:PATH, nbd://…");
DRIVER(qcow2, NULL, "a qcow2 image, by the image server");
DRIVER(vpc, NULL, "a VHD image, by the image server");
DRIVER(qed, NULL, "a QED image, by the image server");
DRIVER(vmdk, NULL, "a VMDK image, for reading, by the image server");
DRIVER(remote, block_nbd_prepare, "bytes that the image server reaches: rbd:, iscsi:, https:");
