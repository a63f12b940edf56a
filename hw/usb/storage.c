/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USB mass storage: a SCSI disk behind bulk-only transport, as a memory stick.
 *
 * Sources: USB Mass Storage Class, Bulk-Only Transport 1.0 (5: CBW and CSW, 6: the thirteen cases);
 * the commands are hw/scsi's. Ids, texts and descriptors are those of QEMU's usb-storage at full
 * speed, and where the host wants more than the command has it gets zeros, as there. Firmware boots
 * from it, and every system has a driver for it.
 *
 * Left out: more than one LUN, CDs, command queuing (UAS).
 */
#include <errno.h>
#include <string.h>

#include <xendm/bytes.h>
#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/log.h>
#include <xendm/scsi.h>
#include <xendm/usb.h>

#include "usb-internal.h"

#define BULK_IN (USB_DIR_IN | 1u)
#define BULK_OUT 2u
#define STAGE 4096u /* bytes between packets and the disk */
#define LE16(v) (uint8_t)((v)&0xff), (uint8_t)((v) >> 8)

#define CBW_SIZE 31u
#define CBW_SIGNATURE 0x43425355u /* "USBC" */
#define CSW_SIZE 13u
#define CSW_SIGNATURE 0x53425355u /* "USBS" */

enum { REQUEST_GET_MAX_LUN = 0xfe, REQUEST_RESET = 0xff };

/* Saved: do not renumber. */
enum { COMMAND = 0, DATA_IN = 1, DATA_OUT = 2, STATUS = 3, MODES };

struct usb_storage {
    struct usb_device usb;
    struct block *block;
    char *model, *firmware, *serial;

    struct scsi_target target;
    struct scsi_task task;
    struct block_queue *queue;
    uint8_t *buffer; /* the target's */

    uint8_t mode;
    bool phase_error; /* the host's idea of the data is not the command's */
    bool moving;      /* a scsi_task_move() that is not looked at yet */
    uint32_t tag;
    uint32_t length;  /* of the CBW */
    uint32_t left;    /* of that, between host and us */
    uint32_t handled; /* of that, between us and the disk */
    uint32_t at, end; /* in the stage */
    uint8_t stage[STAGE];
    uint64_t commands; /* for people */
};

static const char *const strings[] = {"QEMU", "QEMU USB HARDDRIVE", "1",
                                      "Full speed config (usb 1.1)", NULL};

/* clang-format off */
static const uint8_t device_descriptor[] = {
    18, USB_DT_DEVICE, LE16(0x0200), 0, 0, 0, 8, LE16(0x46f4), LE16(0x0001), LE16(0), 1, 2, 3, 1,
};
static const uint8_t configuration[] = {
    9, USB_DT_CONFIGURATION, LE16(32), 1, 1, 4, 0xc0, 0, /* powers itself */
    9, USB_DT_INTERFACE, 0, 0, 2, 8, 6, 0x50, 0,
    7, USB_DT_ENDPOINT, BULK_IN, 2, LE16(64), 0,
    7, USB_DT_ENDPOINT, BULK_OUT, 2, LE16(64), 0,
};
/* clang-format on */

static const struct usb_descriptors descriptors = {
    .device = device_descriptor,
    .configuration = configuration,
    .strings = strings,
};

/* ---- between the stage and the disk ---- */

/* The last move is over: what became of it. */
static void count_move(struct usb_storage *s)
{
    s->moving = false;
    s->handled += s->task.moved;
    if (s->mode == DATA_OUT) {
        s->at = MIN(s->at + s->task.moved, s->end);
        if (s->at == s->end || s->task.phase != SCSI_TASK_DATA_OUT) {
            s->at = s->end = 0; /* what the command does not want is dropped */
        }
    } else {
        s->end = MIN(s->end + s->task.moved, STAGE);
    }
}

static void collect(struct usb_storage *s)
{
    if (s->moving && s->task.phase != SCSI_TASK_WORKING) {
        count_move(s);
    }
}

static void move(struct usb_storage *s, uint32_t at, uint32_t length)
{
    const struct iovec iov = {s->stage + at, length};

    scsi_task_move(&s->task, &iov, 1, length);
    s->moving = true;
    collect(s);
}

/* The host moves no more, or the other way: the command goes on without. */
static void cut(struct usb_storage *s)
{
    s->phase_error = true;
    scsi_task_cut(&s->task);
}

static void on_change(void *opaque)
{
    struct usb_storage *s = opaque;

    collect(s);
    usb_wakeup(&s->usb, BULK_IN);
    usb_wakeup(&s->usb, BULK_OUT);
}

/* ---- command, data, status ---- */

static enum usb_status take_command(struct usb_storage *s, struct usb_packet *p)
{
    uint8_t cbw[CBW_SIZE];

    if (s->task.phase == SCSI_TASK_WORKING) {
        return USB_NAK; /* one that a reset took back */
    }
    if (p->length != CBW_SIZE || usb_packet_get(p, cbw, CBW_SIZE) != CBW_SIZE ||
        load_le32(cbw) != CBW_SIGNATURE || cbw[13] != 0 || cbw[14] < 1 || cbw[14] > SCSI_CDB_MAX) {
        log_guest(LOG_USB, "%s: %zu bytes that are no command", s->usb.dev.id, p->length);
        return USB_STALL;
    }
    s->tag = load_le32(cbw + 4);
    s->length = s->left = load_le32(cbw + 8);
    s->mode = s->length == 0 ? STATUS : cbw[12] & 0x80 ? DATA_IN : DATA_OUT;
    s->phase_error = false;
    s->handled = s->at = s->end = 0;
    s->commands++;
    scsi_task_start(&s->task, cbw + 15, cbw[14]);
    return USB_OK;
}

static bool is_over(const struct usb_storage *s)
{
    return s->task.phase == SCSI_TASK_ENDED || s->task.phase == SCSI_TASK_IDLE;
}

/* More behind what is in the stage. */
static void fetch(struct usb_storage *s)
{
    uint32_t have = s->end - s->at;

    memmove(s->stage, s->stage + s->at, have);
    s->at = 0;
    s->end = have;
    move(s, have, MIN(s->left - have, STAGE - have));
}

/* A packet is full, or the last one; behind the command's data are zeros. */
static enum usb_status data_in(struct usb_storage *s, struct usb_packet *p)
{
    uint32_t want = (uint32_t)MIN(MIN(p->length, s->left), STAGE), n;

    if (s->end - s->at < want && s->task.phase == SCSI_TASK_DATA_OUT) {
        cut(s);
    }
    if (s->end - s->at < want && s->task.phase == SCSI_TASK_DATA_IN) {
        fetch(s);
    }
    if (s->end - s->at < want && !is_over(s)) {
        return USB_NAK;
    }
    n = (uint32_t)usb_packet_put(p, s->stage + s->at, MIN(s->end - s->at, want));
    s->at += n;
    memset(p->data + p->done, 0, want - n);
    p->done += want - n;
    s->left -= want;
    if (s->left == 0) {
        s->mode = STATUS;
    }
    return USB_OK;
}

/* The stage goes to the disk. False: not now. */
static bool push(struct usb_storage *s)
{
    if (s->task.phase == SCSI_TASK_DATA_IN) {
        cut(s);
    }
    if (s->task.phase == SCSI_TASK_DATA_OUT && s->at < s->end) {
        move(s, s->at, s->end - s->at);
    }
    if (is_over(s)) {
        s->at = s->end = 0;
    }
    return s->task.phase != SCSI_TASK_WORKING && s->at == s->end;
}

static enum usb_status data_out(struct usb_storage *s, struct usb_packet *p)
{
    size_t n;

    if (p->length > s->left) {
        return USB_STALL;
    }
    if ((s->task.phase == SCSI_TASK_WORKING || STAGE - s->end < p->length) && !push(s)) {
        return USB_NAK;
    }
    n = usb_packet_get(p, s->stage + s->end, STAGE - s->end);
    s->end += (uint32_t)n;
    s->left -= (uint32_t)n;
    if (s->left == 0) {
        push(s);
        s->mode = s->left == 0 && s->at == s->end && !s->moving ? STATUS : s->mode;
    }
    return USB_OK;
}

static uint8_t csw_status(const struct usb_storage *s)
{
    return s->phase_error ? 2 : s->task.status != SCSI_GOOD;
}

static enum usb_status status(struct usb_storage *s, struct usb_packet *p)
{
    uint8_t csw[CSW_SIZE];

    if (s->mode == DATA_OUT && !push(s)) { /* the last of it */
        return USB_NAK;
    }
    s->mode = STATUS;
    if (s->task.phase == SCSI_TASK_DATA_IN || s->task.phase == SCSI_TASK_DATA_OUT) {
        cut(s);
    }
    if (s->task.phase == SCSI_TASK_WORKING) {
        return USB_NAK;
    }
    if (p->length < CSW_SIZE) {
        return USB_STALL;
    }
    store_le32(csw, CSW_SIGNATURE);
    store_le32(csw + 4, s->tag);
    store_le32(csw + 8, s->length - MIN(s->handled, s->length));
    csw[12] = csw_status(s);
    usb_packet_put(p, csw, sizeof(csw));
    s->mode = COMMAND;
    return USB_OK;
}

static enum usb_status transfer(struct usb_device *dev, struct usb_packet *p)
{
    struct usb_storage *s = (struct usb_storage *)dev;

    if (p->pid == USB_OUT) {
        return s->mode == COMMAND    ? take_command(s, p)
               : s->mode == DATA_OUT ? data_out(s, p)
                                     : USB_STALL;
    }
    if (s->mode == DATA_IN) {
        return data_in(s, p);
    }
    return s->mode == STATUS || (s->mode == DATA_OUT && s->left == 0) ? status(s, p) : USB_STALL;
}

/* ---- requests, resets ---- */

static void transport_reset(struct usb_storage *s)
{
    scsi_task_cancel(&s->task);
    s->moving = false;
    s->mode = COMMAND;
    s->at = s->end = 0;
    s->left = s->length = s->handled = 0;
    s->phase_error = false;
}

static enum usb_status control(struct usb_device *dev, const struct usb_setup *setup, uint8_t *data,
                               size_t *length)
{
    switch (setup->type << 8 | setup->request) {
    case 0xa100 | REQUEST_GET_MAX_LUN:
        *length = MIN(*length, 1u);
        memset(data, 0, *length);
        return USB_OK;
    case 0x2100 | REQUEST_RESET:
        transport_reset((struct usb_storage *)dev);
        return USB_OK;
    default:
        return USB_STALL;
    }
}

static void configured(struct usb_device *dev)
{
    transport_reset((struct usb_storage *)dev);
}

/* ---- life ---- */

static int storage_realize(struct device *dev, GError **err)
{
    struct usb_storage *s = DEVICE_CAST(struct usb_storage, dev);

    s->buffer = g_malloc0(SCSI_BUFFER);
    s->target = (struct scsi_target){
        .type = &scsi_disk_type,
        .dev = dev,
        .block = s->block,
        .model = s->model,
        .firmware = s->firmware,
        .serial = s->serial,
        .buffer = s->buffer,
    };
    scsi_target_init(&s->target);
    s->queue = block_queue_new(s->block);
    scsi_task_init(&s->task, on_change, s);
    scsi_task_use(&s->task, &s->target, s->queue);
    return 0;
}

static void storage_unrealize(struct device *dev)
{
    struct usb_storage *s = DEVICE_CAST(struct usb_storage, dev);

    scsi_task_fini(&s->task);
    block_queue_free(s->queue);
    scsi_target_fini(&s->target);
    g_free(s->buffer);
}

static void storage_reset(struct device *dev, enum reset_reason why)
{
    struct usb_storage *s = DEVICE_CAST(struct usb_storage, dev);

    usb_device_reset(&s->usb);
    scsi_target_reset(&s->target, true);
}

static void storage_quiesce(struct device *dev)
{
    scsi_task_quiesce(&DEVICE_CAST(struct usb_storage, dev)->task);
}

static bool storage_busy(struct device *dev)
{
    return scsi_task_busy(&DEVICE_CAST(struct usb_storage, dev)->task);
}

static void storage_resume(struct device *dev)
{
    scsi_task_resume(&DEVICE_CAST(struct usb_storage, dev)->task);
}

static void storage_describe(struct device *dev, struct facts *to)
{
    static const char *const modes[MODES] = {"command", "data in", "data out", "status"};
    const struct usb_storage *s = DEVICE_CAST(struct usb_storage, dev);

    usb_device_describe(DEVICE_CAST(struct usb_device, dev), to);
    fact_text(to, "transport", "%s, %u of %u bytes left", modes[s->mode], s->left, s->length);
    fact_int(to, "commands", (int64_t)s->commands);
    scsi_target_describe(&s->target, to);
}

/* ---- saved state ---- */

/*
 * Nothing is in flight: a task that works still has its data, and has to flush or to discard. The
 * one that goes on with it knows of no move.
 */
static void storage_pre_save(void *base)
{
    struct usb_storage *s = base;

    if (s->moving) {
        count_move(s);
    }
}

/* The command is the target's last one, which is where it was before there could be several. */
static void storage_post_load(void *base)
{
    struct usb_storage *s = base;

    memcpy(s->task.cdb, s->target.cdb, sizeof(s->task.cdb));
    s->task.fua = s->target.fua;
}

static bool storage_check(const void *base, GError **err)
{
    const struct usb_storage *s = base;

    if (s->at > s->end || s->left > s->length || s->handled > s->length) {
        g_set_error(err, XENDM_ERROR, EINVAL, "stage at %u of %u, %u and %u of %u bytes", s->at,
                    s->end, s->left, s->handled, s->length);
        return false;
    }
    return true;
}

static const struct state_field storage_fields[] = {
    STATE_USB_DEVICE(struct usb_storage, usb),
    STATE_SCSI_TARGET(struct usb_storage, target),
    STATE_SCSI_TASK(struct usb_storage, task),
    STATE_FIELD_U8(struct usb_storage, mode, .max = MODES - 1),
    STATE_FIELD_BOOL(struct usb_storage, phase_error),
    STATE_FIELD_U32(struct usb_storage, tag),
    STATE_FIELD_U32(struct usb_storage, length),
    STATE_FIELD_U32(struct usb_storage, left),
    STATE_FIELD_U32(struct usb_storage, handled),
    STATE_FIELD_U32(struct usb_storage, at, .max = STAGE),
    STATE_FIELD_U32(struct usb_storage, end, .max = STAGE),
    STATE_FIELD_BYTES(struct usb_storage, stage),
    STATE_FIELD_END,
};

static const struct state_desc storage_state = {
    .name = "usb-storage",
    .version = 1,
    .fields = storage_fields,
    .pre_save = storage_pre_save,
    .check = storage_check,
    .post_load = storage_post_load,
};

static const struct property storage_properties[] = {
    {.name = "drive",
     .type = PROP_BACKEND,
     .kind = BACKEND_BLOCK,
     .offset = offsetof(struct usb_storage, block),
     .required = true,
     .help = "the disk's image, of -drive if=none"},
    {.name = "serial",
     .type = PROP_STRING,
     .offset = offsetof(struct usb_storage, serial),
     .help = "serial number"},
    {.name = "model",
     .type = PROP_STRING,
     .offset = offsetof(struct usb_storage, model),
     .def = "QEMU HARDDISK",
     .help = "product"},
    {.name = "ver",
     .type = PROP_STRING,
     .offset = offsetof(struct usb_storage, firmware),
     .def = "2.5+",
     .help = "revision"},
    {.name = NULL},
};

const struct device_class usb_storage_class = {
    .name = "usb-storage",
    .help = "disk",
    .size = sizeof(struct usb_storage),
    .properties = storage_properties,
    .state = &storage_state,
    .recorded = true,
    .bus = &usb_bus_class,
    .hotplug = true,
    .realize = storage_realize,
    .reset = storage_reset,
    .unrealize = storage_unrealize,
    .quiesce = storage_quiesce,
    .busy = storage_busy,
    .resume = storage_resume,
    .describe = storage_describe,
    .usb =
        &(const struct usb_class){
            .speed = USB_FULL,
            .descriptors = &descriptors,
            .control = control,
            .transfer = transfer,
            .configured = configured,
        },
};
