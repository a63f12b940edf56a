/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to the virtio SCSI host (5.6): scsi.c has the device, its events and what people see;
 * scsi-request.c what comes by its queues, and the saved state of that.
 */
#ifndef HW_VIRTIO_SCSI_H
#define HW_VIRTIO_SCSI_H

#include <xendm/scsi.h>

#include "virtio.h"

#define VSCSI_REQUESTS 128u /* taken and not given back; the rest waits in the guest's queues */
#define VSCSI_PIECES 4096u  /* of these together, as a virtio disk's */

/* Queues (5.6.2). */
enum { VSCSI_CONTROL = 0, VSCSI_EVENTS = 1, VSCSI_FIXED = 2 };

/* Features (5.6.3); data in both directions and protection information are not offered. */
#define VSCSI_F_HOTPLUG VIRTIO_F(1)
#define VSCSI_F_CHANGE VIRTIO_F(2)

/* Responses (5.6.6.1, 5.6.6.2). Saved: do not renumber. */
enum vscsi_response {
    VSCSI_OK = 0,
    VSCSI_OVERRUN = 1,
    VSCSI_ABORTED = 2,
    VSCSI_BAD_TARGET = 3,
    VSCSI_RESET = 4,
    VSCSI_TRANSPORT_FAILURE = 6,
    VSCSI_FAILURE = 9,
    VSCSI_FUNCTION_COMPLETE = 0,
    VSCSI_FUNCTION_SUCCEEDED = 10,
    VSCSI_FUNCTION_REJECTED = 11,
    VSCSI_INCORRECT_LUN = 12,
    VSCSI_NO_RESPONSE = 0xff,
};

/* Sizes without CDB and sense data, whose sizes the driver says. */
#define VSCSI_REQUEST 19u
#define VSCSI_ANSWER 12u
#define VSCSI_CDB 32u   /* of a driver that says nothing (5.6.4) */
#define VSCSI_SENSE 96u /* the same */

/* Asynchronous notification (5.6.6.2): a CD drive's medium. */
#define VSCSI_ASYNC_MEDIA 16u

struct virtio_scsi;

struct vscsi_request {
    struct virtio_scsi *s;
    bool used;
    bool dead;    /* the driver that made it is gone: waits for the host */
    bool ended;   /* waits until it may be given back */
    bool mapped;  /* the list has the memory of a move */
    uint8_t drop; /* the response it is cancelled with, or VSCSI_NO_RESPONSE */
    uint16_t queue;
    struct virtio_chain chain; /* its pieces are the request's own */
    unsigned room;             /* for pieces */
    uint32_t id, lun;
    uint64_t tag;
    uint32_t head_out, head_in; /* bytes before the data */
    uint64_t done;              /* bytes of data */
    struct scsi_unit *unit;     /* whose task it is; NULL: none is under way */
    struct scsi_task task;
    struct dma_list *list;
    size_t map_bytes;
    uint8_t *copy;            /* of them, if the target looks at them */
    struct vscsi_request *by; /* the task management that waits for its end */
    unsigned waits;           /* of a task management: for so many */
    uint8_t answer[VSCSI_ANSWER + SCSI_SENSE], answer_length;
};

struct virtio_scsi {
    struct virtio virtio; /* first */
    /* properties */
    uint32_t num_queues, max_sectors, cmd_per_lun;
    bool hotplug, param_change;

    struct scsi_host host;
    uint32_t cdb_size, sense_size; /* as the driver says */
    bool events_missed;
    struct vscsi_request request[VSCSI_REQUESTS];
    unsigned used, pieces;
    struct later more; /* goes on with requests whose data come without waiting */
    unsigned turn;
    uint64_t commands, bytes_read, bytes_written, managements, events; /* for people */

    /* for the state */
    uint32_t saved_count, saved_pieces;
    struct virtio_piece saved_piece[VSCSI_PIECES];
};

static inline struct virtio_scsi *vscsi_of(const struct virtio *v)
{
    return (struct virtio_scsi *)v;
}

/* scsi-request.c */
void vscsi_requests_init(struct virtio_scsi *s);
void vscsi_requests_fini(struct virtio_scsi *s);
int vscsi_serve_request(struct virtio_scsi *s, unsigned n);
int vscsi_serve_control(struct virtio_scsi *s);
void vscsi_forget(struct virtio_scsi *s, unsigned n);
void vscsi_requests_stop(struct virtio_scsi *s); /* what is in flight is called back */
void vscsi_requests_go(struct virtio_scsi *s);
bool vscsi_requests_busy(const struct virtio_scsi *s);
void vscsi_drop_unit(struct virtio_scsi *s, const struct scsi_unit *u); /* it is gone */
extern const struct state_desc vscsi_request_state;
void vscsi_pre_save(void *base);
bool vscsi_check(const void *base, GError **err);
bool vscsi_fits(const void *scratch, const void *base, GError **err);
void vscsi_post_load(void *base);

#endif
