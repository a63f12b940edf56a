/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe: features (5.21.1, 5.9). None is saveable: a controller reset brings the defaults back.
 * Arbitration, error recovery, atomicity and coalescing are kept as they are written and have no
 * effect, which is within what they promise.
 */
#include <string.h>

#include "nvme.h"

#define TEMPERATURE 323u       /* Kelvin, always */
#define TEMPERATURE_LIMIT 343u /* WCTEMP, the default of the upper threshold */
#define SELECT_CURRENT 0u
#define SELECT_DEFAULT 1u
#define SELECT_SAVED 2u
#define SELECT_CAPABILITIES 3u
#define CAPABLE_PER_NS 0x2u
#define CAPABLE_CHANGE 0x4u
#define SAVE 0x80000000u

struct feature_info {
    bool there, changeable;
    uint32_t mask; /* of the number */
    uint32_t def;
};

static const struct feature_info infos[FEATURES] = {
    [FEATURE_ARBITRATION] = {true, true, 0xffffff07, 0x7},
    [FEATURE_POWER] = {true, true, 0xff, 0},
    [FEATURE_TEMPERATURE] = {true, true, 0xffff, TEMPERATURE_LIMIT},
    [FEATURE_ERROR_RECOVERY] = {true, true, 0x1ffff, 0},
    [FEATURE_WRITE_CACHE] = {true, true, 0x1, 1},
    [FEATURE_QUEUES] = {true, true, 0, 0},
    [FEATURE_COALESCING] = {true, true, 0xffff, 0},
    [FEATURE_VECTOR] = {true, true, 0, 0},
    [FEATURE_ATOMICITY] = {true, true, 0x1, 0},
    [FEATURE_EVENTS] = {true, true, 0x11f, 0},
    [FEATURE_TIMESTAMP] = {true, true, 0, 0},
};

void nvme_features_reset(struct nvme *n)
{
    for (unsigned i = 0; i < FEATURES; i++) {
        n->features[i] = infos[i].def;
    }
    n->temperature_under = 0;
    memset(n->vector_cd, 0, sizeof(n->vector_cd));
}

unsigned nvme_temperature_warning(const struct nvme *n)
{
    return TEMPERATURE >= n->features[FEATURE_TEMPERATURE] || TEMPERATURE <= n->temperature_under
               ? 0x2
               : 0;
}

/* ---- GET ---- */

static uint32_t queues_value(const struct nvme *n)
{
    return (n->io_queues - 1) << 16 | (n->io_queues - 1);
}

static uint64_t timestamp_now(const struct nvme *n)
{
    int64_t ms = (vclock_now(n->pci.dev.machine->clock) - n->timestamp_at) / NS_PER_MS;

    return (n->timestamp + (uint64_t)ms) & UINT64_C(0xffffffffffff);
}

static void get_timestamp(struct nvme_request *r)
{
    uint64_t now = timestamp_now(r->n);
    uint8_t data[8];
    uint16_t status;

    store_le32(data, (uint32_t)now);
    store_le32(data + 4, (uint32_t)(now >> 32) | (r->n->timestamp_set ? 1u << 17 : 0));
    status = nvme_put(r, data, sizeof(data));
    nvme_complete(r, status);
}

/* What has more than one value, by a selector in DW11. False: a status in `status`. */
static uint32_t get_value(struct nvme_request *r, unsigned id, uint16_t *status)
{
    const struct nvme *n = r->n;
    uint32_t dw11 = nvme_dw(r, 11), vector = dw11 & 0xffff;

    switch (id) {
    case FEATURE_TEMPERATURE:
        if (dw11 >> 16 & 15) {
            return 0; /* one sensor, the composite one */
        }
        return dw11 >> 20 & 3 ? n->temperature_under : n->features[id];
    case FEATURE_QUEUES:
        return queues_value(n);
    case FEATURE_VECTOR:
        if (vector >= n->vectors) {
            *status = STATUS_INVALID_FIELD;
            return 0;
        }
        return vector | (vector == 0 || n->vector_cd[vector] ? 1u << 16 : 0);
    default:
        return n->features[id];
    }
}

static uint32_t default_value(const struct nvme_request *r, unsigned id)
{
    uint32_t dw11 = nvme_dw(r, 11);

    return id == FEATURE_QUEUES   ? queues_value(r->n)
           : id == FEATURE_VECTOR ? (dw11 & 0xffff) | ((dw11 & 0xffff) == 0 ? 1u << 16 : 0)
           : id == FEATURE_TEMPERATURE && (dw11 >> 16 & 0x3f) ? 0
                                                              : infos[id].def;
}

void nvme_run_get_features(struct nvme_request *r)
{
    uint32_t id = nvme_dw(r, 10) & 0xff, select = nvme_dw(r, 10) >> 8 & 7;
    uint16_t status = STATUS_OK;

    if (id >= FEATURES || !infos[id].there || select > SELECT_CAPABILITIES) {
        nvme_complete(r, STATUS_INVALID_FIELD | STATUS_DNR);
        return;
    }
    if (select == SELECT_CAPABILITIES) {
        r->result = infos[id].changeable ? CAPABLE_CHANGE : 0;
    } else if (id == FEATURE_TIMESTAMP) {
        get_timestamp(r);
        return;
    } else {
        r->result = select == SELECT_CURRENT ? get_value(r, id, &status) : default_value(r, id);
    }
    nvme_complete(r, status ? status | STATUS_DNR : STATUS_OK);
}

/* ---- SET ---- */

static uint16_t set_temperature(struct nvme_request *r)
{
    struct nvme *n = r->n;
    uint32_t dw11 = nvme_dw(r, 11), select = dw11 >> 20 & 3;

    if (dw11 >> 16 & 15) {
        return STATUS_OK; /* a sensor that there is not */
    }
    if (select > 1) {
        return STATUS_INVALID_FIELD;
    }
    *(select ? &n->temperature_under : &n->features[FEATURE_TEMPERATURE]) = dw11 & 0xffff;
    if (nvme_temperature_warning(n) && (n->features[FEATURE_EVENTS] & 0x2)) {
        nvme_event(n, EVENT_SMART, EVENT_TEMPERATURE, PAGE_SMART);
    }
    return STATUS_OK;
}

static bool has_io_queues(const struct nvme *n)
{
    for (unsigned i = 1; i < NVME_QUEUES; i++) {
        if (n->sq[i].exists || n->cq[i].exists) {
            return true;
        }
    }
    return false;
}

/* The answer is what there are, whatever was asked for. */
static uint16_t set_queues(struct nvme_request *r)
{
    uint32_t dw11 = nvme_dw(r, 11);

    if (has_io_queues(r->n)) {
        return STATUS_SEQUENCE;
    }
    if ((dw11 & 0xffff) == 0xffff || dw11 >> 16 == 0xffff) {
        return STATUS_INVALID_FIELD;
    }
    r->result = queues_value(r->n);
    return STATUS_OK;
}

static uint16_t set_vector(struct nvme_request *r)
{
    uint32_t dw11 = nvme_dw(r, 11), vector = dw11 & 0xffff;

    if (vector >= r->n->vectors) {
        return STATUS_INVALID_FIELD;
    }
    r->n->vector_cd[vector] = dw11 >> 16 & 1;
    return STATUS_OK;
}

static uint16_t set_timestamp(struct nvme_request *r)
{
    struct nvme *n = r->n;
    uint8_t data[8];
    uint16_t status = nvme_get(r, data, sizeof(data), sizeof(data));

    if (status == STATUS_OK) {
        n->timestamp = load_le32(data) | (uint64_t)load_le16(data + 4) << 32;
        n->timestamp_at = vclock_now(n->pci.dev.machine->clock);
        n->timestamp_set = true;
    }
    return status;
}

static uint16_t set_value(struct nvme_request *r, unsigned id)
{
    switch (id) {
    case FEATURE_TEMPERATURE:
        return set_temperature(r);
    case FEATURE_QUEUES:
        return set_queues(r);
    case FEATURE_VECTOR:
        return set_vector(r);
    case FEATURE_TIMESTAMP:
        return set_timestamp(r);
    case FEATURE_POWER: /* state 0 is the only one */
        return nvme_dw(r, 11) & 0x1f ? STATUS_INVALID_FIELD : STATUS_OK;
    default:
        r->n->features[id] = nvme_dw(r, 11) & infos[id].mask;
        return STATUS_OK;
    }
}

/* What was cached until now becomes safe before the cache is off. */
static bool flushes_first(const struct nvme_request *r, unsigned id)
{
    return id == FEATURE_WRITE_CACHE && !(nvme_dw(r, 11) & 1) && (r->n->features[id] & 1);
}

void nvme_run_set_features(struct nvme_request *r)
{
    uint32_t id = nvme_dw(r, 10) & 0xff, nsid = nvme_nsid(r);
    uint16_t status;

    if (nvme_dw(r, 10) & SAVE) {
        status = STATUS_NOT_SAVEABLE;
    } else if (id >= FEATURES || !infos[id].there) {
        status = STATUS_INVALID_FIELD;
    } else if (nsid != 0 && nsid != NSID_ALL) {
        status = nvme_ns_find(r->n, nsid) ? STATUS_NOT_PER_NAMESPACE : STATUS_INVALID_NAMESPACE;
    } else if (!infos[id].changeable) {
        status = STATUS_NOT_CHANGEABLE;
    } else if (flushes_first(r, id) && !nvme_flush_all(r)) {
        return;
    } else {
        status = set_value(r, id);
    }
    nvme_complete(r, status ? status | STATUS_DNR : STATUS_OK);
}
