/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 16-byte output buffer of a PS/2 device. */
#include <string.h>

#include "ps2.h"

bool ps2_queue_put(struct ps2_queue *q, const uint8_t *bytes, unsigned n)
{
    if (q->count + n > PS2_QUEUE_SIZE) {
        return false;
    }
    memcpy(q->data + q->count, bytes, n);
    q->count = (uint8_t)(q->count + n);
    return true;
}

bool ps2_queue_take(struct ps2_queue *q, uint8_t *byte)
{
    if (q->count == 0) {
        return false;
    }
    *byte = q->data[0];
    q->count--;
    memmove(q->data, q->data + 1, q->count);
    q->data[q->count] = 0;
    return true;
}

static const struct state_field ps2_queue_fields[] = {
    STATE_FIELD_BYTES(struct ps2_queue, data),
    STATE_FIELD_U8(struct ps2_queue, count, .max = PS2_QUEUE_SIZE),
    STATE_FIELD_END,
};

const struct state_desc ps2_queue_state = {
    .name = "ps2-queue",
    .version = 1,
    .fields = ps2_queue_fields,
};
