/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio entropy device (5.4): PCI 1af4:1005, or 1af4:1044 without the legacy registers. Random
 * bytes of the host's kernel, at most so many a second that a guest which asks for ever keeps
 * nobody else from the CPU; the rest of a request is given when its time comes.
 *
 * Left out: sources of entropy other than the kernel (rng=), and rates of the admin's (max-bytes,
 * period).
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <xendm/classes.h>
#include <xendm/clock.h>
#include <xendm/facts.h>
#include <xendm/tape.h>

#include "virtio.h"

#define PERIOD_NS (NS_PER_S / 100)
#define PERIOD_BYTES 10240u /* a MiB a second */
#define CHUNK 256u          /* getrandom() gives as much without being interrupted */

struct virtio_rng {
    struct virtio virtio; /* first */
    uint32_t left;        /* bytes in this period */
    struct vtimer timer;  /* its end; not armed: it has not begun */
    uint64_t bytes;
};

static inline struct virtio_rng *rng_of(const struct virtio *v)
{
    return (struct virtio_rng *)v;
}

/* 0, or that the host has none yet; of a recording (xendm/tape.h). */
static int some_random(uint8_t *bytes, size_t len)
{
    bool none = !tape_plays() && getrandom(bytes, len, GRND_NONBLOCK) != (ssize_t)len;
    uint64_t n[] = {len, none ? EAGAIN : 0};

    if (tape_on()) {
        tape_fact(TAPE_RANDOM, NULL, n, bytes, none ? 0 : len);
    }
    return n[1] ? -EAGAIN : 0;
}

static int fill(struct virtio_rng *r, const struct virtio_chain *c, size_t len)
{
    uint8_t bytes[CHUNK];

    for (size_t done = 0, part; done < len; done += part) {
        int error;

        part = MIN(len - done, CHUNK);
        if (some_random(bytes, part) < 0) {
            return (int)done; /* the host has just been started */
        }
        error = virtio_write(&r->virtio, c, done, bytes, part);
        if (error) {
            return error;
        }
    }
    return (int)len;
}

/* As much of a request as there is; the driver asks again for the rest (5.4.6). */
static int rng_serve(struct virtio *v, unsigned n)
{
    struct virtio_rng *r = rng_of(v);
    struct virtio_chain c;
    int got;

    if (r->left == 0) {
        return VIRTIO_NO_ROOM;
    }
    if (!virtq_pop(v, n, &c)) {
        return VIRTIO_NOTHING;
    }
    if (c.out || !c.in) {
        virtio_broken(v, n, "a buffer that is not to be written");
        return VIRTIO_NOTHING;
    }
    got = fill(r, &c, (size_t)MIN(c.in_bytes, r->left));
    if (got == 0) {
        virtq_unpop(v, n, &c);
        return VIRTIO_NOTHING;
    }
    if (got < 0) {
        virtio_broken(v, n, "a buffer is in no memory");
        return VIRTIO_NOTHING;
    }
    if (!vtimer_armed(&r->timer)) {
        vtimer_arm(&r->timer, vclock_now(v->pci.dev.machine->clock) + PERIOD_NS);
    }
    r->left -= (uint32_t)got;
    r->bytes += (uint32_t)got;
    virtq_push(v, n, &c, (uint32_t)got);
    virtq_signal(v, n, false);
    return 1 + got / 1024 + c.in / 32;
}

static void period_ends(void *opaque)
{
    struct virtio_rng *r = opaque;

    r->left = PERIOD_BYTES;
    virtio_run(&r->virtio);
}

static void rng_forget(struct virtio *v, unsigned n)
{
}

static uint64_t rng_features(const struct virtio *v)
{
    return 0;
}

static void rng_config(const struct virtio *v, uint8_t *to)
{
}

static const struct virtio_type type = {
    .name = "entropy",
    .id = 4,
    .transitional = 0x1005,
    .queue_size = 8,
    .features = rng_features,
    .config = rng_config,
    .serve = rng_serve,
    .forget = rng_forget,
};

static int rng_realize(struct device *dev, GError **err)
{
    struct virtio_rng *r = DEVICE_CAST(struct virtio_rng, dev);

    vtimer_init(&r->timer, dev->machine->clock, "virtio-rng", period_ends, r);
    return virtio_realize(&r->virtio, &type, 1, err);
}

static void rng_unrealize(struct device *dev)
{
    struct virtio_rng *r = DEVICE_CAST(struct virtio_rng, dev);

    vtimer_disarm(&r->timer);
    virtio_unrealize(&r->virtio);
}

static void rng_reset(struct device *dev, enum reset_reason why)
{
    struct virtio_rng *r = DEVICE_CAST(struct virtio_rng, dev);

    virtio_reset(&r->virtio);
    if (why == RESET_COLD) {
        vtimer_disarm(&r->timer);
        r->left = PERIOD_BYTES;
        r->bytes = 0;
    }
}

static void rng_quiesce(struct device *dev)
{
    virtio_quiesce(&DEVICE_CAST(struct virtio_rng, dev)->virtio);
}

static void rng_resume(struct device *dev)
{
    virtio_resume(&DEVICE_CAST(struct virtio_rng, dev)->virtio);
}

static void rng_describe(struct device *dev, struct facts *to)
{
    const struct virtio_rng *r = DEVICE_CAST(struct virtio_rng, dev);

    virtio_describe(&r->virtio, to);
    fact_int(to, "bytes", (int64_t)r->bytes);
}

static const struct property properties[] = {
    VIRTIO_PROPERTIES,
    {.name = NULL},
};

static const struct state_field fields[] = {
    VIRTIO_STATE(struct virtio_rng),
    STATE_FIELD_U32(struct virtio_rng, left, .max = PERIOD_BYTES),
    STATE_FIELD_TIMER(struct virtio_rng, timer),
    STATE_FIELD_U64(struct virtio_rng, bytes),
    STATE_FIELD_END,
};

static bool rng_check(const void *base, GError **err)
{
    const struct virtio_rng *r = base;

    if (r->left < PERIOD_BYTES && !vtimer_armed(&r->timer)) {
        g_set_error(err, STATE_ERROR, EINVAL, "%u bytes are left, and the period has not begun",
                    r->left);
        return false;
    }
    return true;
}

static const struct state_desc state = {
    .name = "virtio-rng",
    .version = 1,
    .fields = fields,
    .check = rng_check,
};

static const struct pci_info pci = VIRTIO_PCI_INFO(0x00ff00, 4);

static const char *const aliases[] = {"virtio-rng", NULL};

const struct device_class virtio_rng_class = {
    .name = "virtio-rng-pci",
    .aliases = aliases,
    .help = "virtio entropy device",
    .size = sizeof(struct virtio_rng),
    .properties = properties,
    .state = &state,
    .recorded = true,
    .hotplug = true,
    .realize = rng_realize,
    .reset = rng_reset,
    .quiesce = rng_quiesce,
    .resume = rng_resume,
    .unrealize = rng_unrealize,
    .describe = rng_describe,
    .pci = &pci,
};
