/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leaky buckets, with the meaning that QEMU documents for -drive's throttling.* options
 * (docs/throttle.txt there): `avg` for ever; without `max` a tenth of a second of it at once; with
 * `max` so much in a second, for `length` seconds, before `avg` holds.
 */
#include <xendm/clock.h>
#include <xendm/error.h>

#include "throttle.h"

#define RATE_MAX UINT64_C(1000000000000000) /* QEMU's: what a double counts exactly */

static const char *const rate_names[BLOCK_RATES] = {
    [BLOCK_BPS_TOTAL] = "bps-total", [BLOCK_BPS_READ] = "bps-read",
    [BLOCK_BPS_WRITE] = "bps-write", [BLOCK_IOPS_TOTAL] = "iops-total",
    [BLOCK_IOPS_READ] = "iops-read", [BLOCK_IOPS_WRITE] = "iops-write",
};

const char *block_rate_name(enum block_rate_kind kind)
{
    return rate_names[kind];
}

bool block_throttle_any(const struct block_throttle *t)
{
    for (unsigned i = 0; i < BLOCK_RATES; i++) {
        if (t->rate[i].avg) {
            return true;
        }
    }
    return false;
}

static int refuse(GError **err, const char *name, const char *why)
{
    g_set_error(err, XENDM_ERROR, EINVAL, "throttling %s: %s", name, why);
    return -EINVAL;
}

static int check_rate(const char *name, const struct block_rate *r, GError **err)
{
    if (r->avg > RATE_MAX || r->max > RATE_MAX) {
        return refuse(err, name, "a limit is at most 10^15");
    }
    if (r->length > 1 && !r->max) {
        return refuse(err, name, "a length of bursts without their rate");
    }
    if (r->length > UINT32_MAX || (r->max && r->length > RATE_MAX / r->max)) {
        return refuse(err, name, "the bursts are too long for their rate");
    }
    if (r->max && !r->avg) {
        return refuse(err, name, "bps_max/iops_max need the bps/iops they are bursts of");
    }
    if (r->max && r->max < r->avg) {
        return refuse(err, name, "bps_max/iops_max cannot be lower than bps/iops");
    }
    return 0;
}

static bool total_and_part(const struct block_rate *total)
{
    return (total[0].avg || total[0].max) &&
           (total[1].avg || total[1].max || total[2].avg || total[2].max);
}

int block_throttle_check(const struct block_throttle *t, GError **err)
{
    bool iops = false;

    for (unsigned i = 0; i < BLOCK_RATES; i++) {
        int e = check_rate(rate_names[i], &t->rate[i], err);

        if (e < 0) {
            return e;
        }
        iops |= i >= BLOCK_IOPS_TOTAL && t->rate[i].avg;
    }
    if (total_and_part(&t->rate[BLOCK_BPS_TOTAL]) || total_and_part(&t->rate[BLOCK_IOPS_TOTAL])) {
        return refuse(err, "total", "a total and its read or write part cannot both be limited");
    }
    if (t->op_size && !iops) {
        return refuse(err, "iops-size", "iops_size requires an iops value to be set");
    }
    return 0;
}

void throttle_init(struct throttle *t, const struct block_throttle *limits, int64_t now_ns)
{
    *t = (struct throttle){.limits = *limits, .drained_ns = now_ns};
}

static void drain(struct throttle *t, int64_t now_ns)
{
    double seconds = (double)(now_ns - t->drained_ns) / (double)NS_PER_S;

    if (seconds <= 0) {
        return;
    }
    t->drained_ns = now_ns;
    for (unsigned i = 0; i < BLOCK_RATES; i++) {
        const struct block_rate *r = &t->limits.rate[i];
        struct throttle_bucket *b = &t->bucket[i];

        b->level = MAX(b->level - (double)r->avg * seconds, 0);
        b->burst_level = MAX(b->burst_level - (double)r->max * seconds, 0);
    }
}

/* Seconds until the bucket takes more. */
static double bucket_wait(const struct throttle_bucket *b, const struct block_rate *r)
{
    double length = r->length > 1 ? (double)r->length : 1;
    double room = r->max ? (double)r->max * length : (double)r->avg / 10;

    if (!r->avg) {
        return 0;
    }
    if (b->level > room) {
        return (b->level - room) / (double)r->avg;
    }
    if (length > 1 && b->burst_level > (double)r->max / 10) {
        return (b->burst_level - (double)r->max / 10) / (double)r->max;
    }
    return 0;
}

static bool concerns(enum block_rate_kind kind, bool write)
{
    return kind == BLOCK_BPS_TOTAL || kind == BLOCK_IOPS_TOTAL ||
           write == (kind == BLOCK_BPS_WRITE || kind == BLOCK_IOPS_WRITE);
}

int64_t throttle_wait(struct throttle *t, bool write, int64_t now_ns)
{
    double longest = 0;

    drain(t, now_ns);
    for (unsigned i = 0; i < BLOCK_RATES; i++) {
        if (concerns(i, write)) {
            longest = MAX(longest, bucket_wait(&t->bucket[i], &t->limits.rate[i]));
        }
    }
    /* A moment at least: what is to wait does not come round at once. */
    return longest > 0 ? MAX((int64_t)(MIN(longest, 1e6) * (double)NS_PER_S), NS_PER_US) : 0;
}

void throttle_account(struct throttle *t, bool write, uint64_t bytes)
{
    uint64_t size = t->limits.op_size;
    double requests = size && bytes > size ? (double)bytes / (double)size : 1;

    for (unsigned i = 0; i < BLOCK_RATES; i++) {
        if (concerns(i, write)) {
            double units = i >= BLOCK_IOPS_TOTAL ? requests : (double)bytes;

            t->bucket[i].level += units;
            t->bucket[i].burst_level += units;
        }
    }
}
