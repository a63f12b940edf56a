/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio: saved state of what all devices have. Rings are in the guest's memory; of a queue there
 * are its settings and positions. What else there is of a queue may be forgotten: after a load all
 * queues are looked at, and the next chain that is given back interrupts.
 */
#include <errno.h>
#include <inttypes.h>

#include "virtio.h"

#define Q(kind, f, ...) STATE_FIELD_##kind(struct virtq, f, __VA_ARGS__)
#define V(kind, f, ...) STATE_FIELD_##kind(struct virtio, f, __VA_ARGS__)

static const struct state_field queue_fields[] = {
    Q(U16, size, .min = 1, .max = VIRTIO_QUEUE_MAX),
    Q(U16, vector),
    Q(BOOL, enabled),
    Q(U64, desc),
    Q(U64, driver),
    Q(U64, device),
    Q(U16, avail),
    Q(U16, used),
    Q(BOOL, avail_wrap),
    Q(BOOL, used_wrap),
    Q(U16, taken),
    Q(U16, given),
    STATE_FIELD_END,
};

static const struct state_desc queue_state = {.name = "queue",
                                              .version = 1,
                                              .fields = queue_fields};

static const struct state_field piece_fields[] = {
    STATE_FIELD_U64(struct virtio_piece, gpa),
    STATE_FIELD_U32(struct virtio_piece, len, .min = 1, .max = UINT32_MAX),
    STATE_FIELD_END,
};

const struct state_desc virtio_piece_state = {.name = "piece",
                                              .version = 1,
                                              .fields = piece_fields};

static const struct state_field fields[] = {
    V(U32, device_feature_select),
    V(U32, driver_feature_select),
    V(U16, config_vector),
    V(U16, queue_select),
    V(U64, driver_features),
    V(U8, status),
    V(U8, isr, .max = 3),
    V(U8, generation),
    V(BOOL, broken),
    STATE_FIELD_STRUCTS_VAR(struct virtio, vq, VIRTIO_QUEUES, queues, &queue_state),
    STATE_FIELD_END,
};

static bool fits(const void *scratch, const void *base, GError **err)
{
    const struct virtio *saved = scratch, *v = base;

    if (saved->queues != v->queues) {
        g_set_error(err, STATE_ERROR, EINVAL, "%u queues, and there are %u", saved->queues,
                    v->queues);
        return false;
    }
    for (unsigned n = 0; n < saved->queues; n++) {
        if (saved->vq[n].size > v->queue_size || !virtio_vector_fits(v, saved->vq[n].vector)) {
            g_set_error(err, STATE_ERROR, EINVAL, "queue %u: size %u of %u, vector %u", n,
                        saved->vq[n].size, v->queue_size, saved->vq[n].vector);
            return false;
        }
    }
    if ((saved->status & VIRTIO_FEATURES_OK) && (saved->driver_features & ~virtio_offered(v))) {
        g_set_error(err, STATE_ERROR, EINVAL,
                    "features 0x%" PRIx64 " are used, and 0x%" PRIx64 " are offered",
                    saved->driver_features, virtio_offered(v));
        return false;
    }
    if (!virtio_vector_fits(v, saved->config_vector)) {
        g_set_error(err, STATE_ERROR, EINVAL, "interrupt vector %u, and there are %u",
                    saved->config_vector, v->pci.msix_count);
        return false;
    }
    return true;
}

static void post_load(void *base)
{
    struct virtio *v = base;

    virtio_forget_unsaved(v);
    virtio_show_selected(v);
}

const struct state_desc virtio_state = {
    .name = "virtio",
    .version = 1,
    .fields = fields,
    .fits = fits,
    .post_load = post_load,
};
