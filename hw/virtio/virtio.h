/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to hw/virtio: what all virtio devices have. Source: OASIS Virtual I/O Device (VIRTIO)
 * 1.2; section numbers in this folder are its.
 *
 *   notification → virtio_notify() → type->serve(): virtq_pop() → … → virtq_push(), virtq_signal()
 *
 * A device is a struct that begins with struct virtio, a struct virtio_type, and a struct
 * device_class whose functions call those at the end of this file. It sees chains of buffers and
 * bytes of its configuration, and knows nothing of rings and transports.
 *
 * Everything in a ring is the guest's, who may write it at any time: each descriptor is fetched
 * once, into a local; what it names is checked by the DMA contract when it is used. A chain has at
 * most VIRTIO_PIECES pieces, whatever its links say. What contradicts itself breaks the device
 * (DEVICE_NEEDS_RESET): nothing more of its rings is read until the driver resets it.
 */
#ifndef HW_VIRTIO_VIRTIO_H
#define HW_VIRTIO_VIRTIO_H

#include <xendm/bytes.h>
#include <xendm/dma.h>
#include <xendm/later.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/recorder.h>
#include <xendm/regs.h>

#define VIRTIO_QUEUES 66u      /* of a device: 64 and two */
#define VIRTIO_QUEUE_MAX 1024u /* entries, as QEMU's */
#define VIRTIO_PIECES 1024u    /* of a chain, indirect ones too: as QEMU's */
#define VIRTIO_NO_VECTOR 0xffffu
#define VIRTIO_CONFIG_MAX 64u /* bytes of a device's configuration */

/* Feature bits that are not of one device type (6). */
#define VIRTIO_F(bit) (UINT64_C(1) << (bit))
#define VIRTIO_F_ANY_LAYOUT VIRTIO_F(27) /* legacy */
#define VIRTIO_F_INDIRECT VIRTIO_F(28)
#define VIRTIO_F_EVENT_INDEX VIRTIO_F(29)
#define VIRTIO_F_VERSION_1 VIRTIO_F(32)
#define VIRTIO_F_PACKED VIRTIO_F(34)
#define VIRTIO_F_IN_ORDER VIRTIO_F(35)
#define VIRTIO_F_RING_RESET VIRTIO_F(40)

/* Device status (2.1). */
#define VIRTIO_DRIVER 0x02u
#define VIRTIO_DRIVER_OK 0x04u
#define VIRTIO_FEATURES_OK 0x08u
#define VIRTIO_NEEDS_RESET 0x40u

struct virtio;

struct virtio_piece {
    uint64_t gpa;
    uint32_t len; /* > 0 */
};

/* Buffers that the driver made available together: first those that the device reads. */
struct virtio_chain {
    uint16_t id;    /* by which they are given back */
    uint16_t slots; /* of the packed ring that they take */
    uint16_t turn;  /* how many were taken from the queue before, modulo 2^16 */
    uint16_t out, in;
    uint64_t out_bytes, in_bytes;
    struct virtio_piece *piece; /* out + in of them */
};

struct virtq {
    /* what the driver says */
    uint16_t size, vector;
    bool enabled;
    uint64_t desc, driver, device; /* the three parts (2.6): packed: ring, driver, device events */
    /*
     * Where we are. Split: free-running indices; packed: a slot, and how often the ring went round.
     */
    uint16_t avail, used;
    bool avail_wrap, used_wrap;
    uint16_t taken, given; /* chains, modulo 2^16 */

    /* what follows, or may be forgotten */
    struct dma_window *desc_window, *driver_window, *device_window;
    uint16_t signalled; /* `used` at the last look at whether to interrupt */
    bool signalled_valid;
    bool quiet;  /* the driver was told not to notify, or may have been */
    bool hungry; /* there may be something to take */
    bool owed;   /* an interrupt */
};

enum { VIRTIO_NOTHING = 0, VIRTIO_NO_ROOM = -1 };

struct virtio_type {
    const char *name;
    uint16_t id;           /* (5) */
    uint16_t transitional; /* PCI device id of the device that legacy drivers know, too (4.1.2.1) */
    unsigned config_bytes; /* at most VIRTIO_CONFIG_MAX */
    unsigned queue_size;   /* when the device has no property for it */
    uint64_t (*features)(const struct virtio *v); /* of the type */
    void (*config)(const struct virtio *v, uint8_t *to);
    /* One byte of it; NULL: nothing of it can be written. */
    void (*config_written)(struct virtio *v, unsigned at, uint8_t value);
    /* The driver's features changed. NULL: nothing follows from them. */
    void (*chosen)(struct virtio *v);
    /* The driver has chosen its features, or may have: called before the first chain is taken. */
    void (*started)(struct virtio *v);
    /*
     * At most one chain of queue `n`: what it cost (1 and up), VIRTIO_NOTHING, or VIRTIO_NO_ROOM:
     * then virtio_run() follows when there is.
     */
    int (*serve)(struct virtio *v, unsigned n);
    /*
     * Queue `n`, or all (VIRTIO_QUEUES), is being reset: forget its chains. What the host still
     * works on is counted in v->dead until virtio_settled().
     */
    void (*forget)(struct virtio *v, unsigned n);
    /* What was stopped goes on: a resume, or bus mastering came back. NULL: nothing to do. */
    void (*restart)(struct virtio *v);
    /* Bus mastering is off: what is in flight is called back. NULL: nothing to do. */
    void (*blocked)(struct virtio *v);
};

/* Registers of the common configuration that are storage, or a window on the selected queue. */
#define VIRTIO_REGS_1(R) R(device_feature_select, 0x00, 32, .rw = UINT32_MAX)
#define VIRTIO_REGS_2(R) \
    R(driver_feature_select, 0x08, 32, .rw = UINT32_MAX, .written = driver_select_written) \
    R(driver_feature, 0x0c, 32, .rw = UINT32_MAX, .written = driver_feature_written) \
    R(config_vector, 0x10, 16, .rw = 0xffff, .reset = 0xffff, .written = config_vector_written)
#define VIRTIO_REGS_3(R) R(queue_select, 0x16, 16, .rw = 0xffff, .written = queue_select_written)
#define VIRTIO_REGS_4(R) \
    R(queue_desc, 0x20, 64, .rw = UINT64_MAX, .written = queue_address_written) \
    R(queue_driver, 0x28, 64, .rw = UINT64_MAX, .written = queue_address_written) \
    R(queue_device, 0x30, 64, .rw = UINT64_MAX, .written = queue_address_written)

struct virtio {
    struct pci_device pci; /* first */
    const struct virtio_type *type;
    /* properties */
    char *disable_legacy;
    bool disable_modern, indirect, event_index, packed, in_order, queue_reset;
    uint32_t vectors;    /* UINT32_MAX: one a queue, and one */
    uint32_t queue_size; /* of new queues */

    uint32_t queues;
    REG_FIELDS(VIRTIO_REGS_1)
    REG_FIELDS(VIRTIO_REGS_2)
    REG_FIELDS(VIRTIO_REGS_3)
    REG_FIELDS(VIRTIO_REGS_4)
    uint64_t driver_features;
    uint8_t status, isr, generation;
    bool broken;
    struct virtq vq[VIRTIO_QUEUES];

    unsigned hungry;      /* queues */
    unsigned turn;        /* the queue that is next */
    struct later more;    /* goes on serving */
    struct later signals; /* sends the interrupts that are owed */
    bool stopped;
    bool blocked;       /* bus mastering was off when we last looked */
    bool started;       /* type->started() was called for these features */
    bool settling;      /* holds a driver that resets until `dead` is 0 */
    unsigned dead;      /* what the host still does for a driver of the past */
    uint8_t window_cap; /* offset of the capability through which the BAR is seen */

    /* of the chain that is being looked at */
    struct virtio_piece piece[VIRTIO_PIECES];
    uint8_t table[VIRTIO_PIECES * 16];
};

static inline bool virtio_has(const struct virtio *v, uint64_t feature)
{
    return v->driver_features & feature;
}
static inline bool virtio_modern(const struct virtio *v)
{
    return virtio_has(v, VIRTIO_F_VERSION_1);
}
static inline unsigned virtio_in_flight(const struct virtq *q)
{
    return (uint16_t)(q->taken - q->given);
}

/* ---- queues (queue.c) ---- */

/* The driver may use it: chains are taken, and given back. */
bool virtio_runs(const struct virtio *v, const struct virtq *q);
/*
 * The next chain of queue `n`, its pieces in v->piece. False: there is none, and the driver was
 * asked to notify; or the device is broken.
 */
bool virtq_pop(struct virtio *v, unsigned n, struct virtio_chain *c);
/* Whether there is one; false: the driver was asked to notify, or the device is broken. */
bool virtq_ready(struct virtio *v, unsigned n);
/* One that was just popped was not used: it is the next again. Not of a packed ring's past. */
void virtq_unpop(struct virtio *v, unsigned n, const struct virtio_chain *c);
/* `written`: bytes of its buffers that the device wrote, from the start. */
void virtq_push(struct virtio *v, unsigned n, const struct virtio_chain *c, uint32_t written);
/* Interrupts if the driver wants that; `others`: more will be pushed soon. */
void virtq_signal(struct virtio *v, unsigned n, bool others);
void virtq_signal_all(struct virtio *v); /* those that are owed */
void virtq_drop_windows(struct virtq *q);
void virtq_enable(struct virtio *v, unsigned n);
/* Sizes and positions as after a reset. */
void virtq_clear(struct virtio *v, unsigned n);
/* It contradicts itself: nothing more is done for this driver. */
void virtio_broken(struct virtio *v, unsigned n, const char *why);

/*
 * Whether one that was popped may be given back now: in order, if the driver wants that, and only
 * while the device may write.
 */
bool virtq_may_push(const struct virtio *v, unsigned n, const struct virtio_chain *c);

/*
 * `kept` becomes `c`, with pieces of its own, which stay when v->piece is another chain's. They are
 * allocated, and grow; `*room`: how many there is room for, at first 0.
 */
void virtio_chain_keep(struct virtio_chain *kept, unsigned *room, const struct virtio_chain *c);
uint64_t virtio_pieces_bytes(const struct virtio_piece *p, unsigned count);

/*
 * Copies from the pieces that the device reads, or to those that it writes, `skip` bytes behind
 * their start. 0, -EINVAL beyond their end, or as dma_read().
 */
int virtio_read(struct virtio *v, const struct virtio_chain *c, uint64_t skip, void *buf,
                size_t len);
int virtio_read_content(struct virtio *v, const struct virtio_chain *c, uint64_t skip, void *buf,
                        size_t len, enum dma_content what);
int virtio_write(struct virtio *v, const struct virtio_chain *c, uint64_t skip, const void *buf,
                 size_t len);
/* Where byte `skip` of those that the device writes is; it has to be there. */
uint64_t virtio_in_at(const struct virtio_chain *c, uint64_t skip);
/* Adds [skip, skip + len) of them to a list that was begun: how much, or dma_list_add()'s error. */
int64_t virtio_map(struct virtio *v, const struct virtio_chain *c, struct dma_list *l,
                   enum dma_direction direction, uint64_t skip, uint64_t len);

void virtio_notify(struct virtio *v, unsigned n);
void virtio_run(struct virtio *v); /* there may be something to do for hungry queues: soon */
/* Queue `n` may have something to do, or all: soon. */
void virtio_feed(struct virtio *v, unsigned n);
void virtio_feed_all(struct virtio *v);
void virtio_sources_stop(struct virtio *v);
void virtio_forget_unsaved(struct virtio *v);

/* ---- the transport (pci.c) ---- */

extern const struct region_ops virtio_legacy_ops;
extern const struct reg_block virtio_block;
uint64_t virtio_offered(const struct virtio *v);
void virtio_interrupt_queue(struct virtio *v, unsigned n);
void virtio_config_changed(struct virtio *v);
void virtio_settled(struct virtio *v); /* v->dead is 0 */
void virtio_show_selected(struct virtio *v);
bool virtio_vector_fits(const struct virtio *v, uint16_t vector);

/* For the device's class. */
int virtio_realize(struct virtio *v, const struct virtio_type *type, unsigned queues, GError **err);
void virtio_unrealize(struct virtio *v);
void virtio_reset(struct virtio *v);
void virtio_quiesce(struct virtio *v);
void virtio_resume(struct virtio *v);
void virtio_describe(const struct virtio *v, struct facts *to);
void virtio_config_written(struct device *dev, unsigned reg, unsigned len, uint32_t old);
void virtio_config_read(struct device *dev, unsigned reg, unsigned len);

#define VIRTIO_BAR_LEGACY 0
#define VIRTIO_BAR_MSIX 1
#define VIRTIO_BAR_MODERN 4

/* pci_info of a type: its class code, and its id among the PCI devices of virtio 1.x (4.1.2). */
#define VIRTIO_PCI_INFO(class_code, type_id, ...) \
    { \
        .vendor = 0x1af4, .device = 0x1040 + (type_id), .subsystem_vendor = 0x1af4, \
        .subsystem = 0x1100, .class = (class_code), .revision = 1, .intx_pin = 1, \
        .bar = {[VIRTIO_BAR_LEGACY] = {.type = PCI_BAR_IO, \
                                       .ops = &virtio_legacy_ops, \
                                       .name = "virtio-legacy"}, \
                [VIRTIO_BAR_MSIX] = {.type = PCI_BAR_MEM32, .name = "virtio-msix"}, \
                [VIRTIO_BAR_MODERN] = {.type = PCI_BAR_MEM64, \
                                       .prefetchable = true, \
                                       .regs = &virtio_block}}, \
        .config_written = virtio_config_written, .config_read = virtio_config_read, __VA_ARGS__ \
    }

/* Rows of a table of properties; `st` begins with struct virtio. */
#define VIRTIO_PROPERTIES \
    {.name = "disable-legacy", \
     .type = PROP_STRING, \
     .offset = offsetof(struct virtio, disable_legacy), \
     .def = "auto", \
     .help = "on: for drivers of virtio 1.0 and later only; auto is off"}, \
        {.name = "disable-modern", \
         .type = PROP_BOOL, \
         .offset = offsetof(struct virtio, disable_modern), \
         .def = "off", \
         .help = "for drivers from before virtio 1.0 only"}, \
        {.name = "vectors", \
         .type = PROP_UINT32, \
         .offset = offsetof(struct virtio, vectors), \
         .def = "0xffffffff", \
         .help = "MSI-X vectors; 0: none; without: as many as there are queues, and one"}, \
        {.name = "indirect_desc", \
         .type = PROP_BOOL, \
         .offset = offsetof(struct virtio, indirect), \
         .def = "on", \
         .help = "descriptors in tables of their own"}, \
        {.name = "event_idx", \
         .type = PROP_BOOL, \
         .offset = offsetof(struct virtio, event_index), \
         .def = "on", \
         .help = "each side says when it wants to be told"}, \
        {.name = "packed", \
         .type = PROP_BOOL, \
         .offset = offsetof(struct virtio, packed), \
         .def = "off", \
         .help = "packed rings"}, \
        {.name = "in_order", \
         .type = PROP_BOOL, \
         .offset = offsetof(struct virtio, in_order), \
         .def = "off", \
         .help = "buffers come back in the order in which they were given"}, \
    { \
        .name = "queue_reset", .type = PROP_BOOL, .offset = offsetof(struct virtio, queue_reset), \
        .def = "on", .help = "one queue can be reset alone" \
    }

/* ---- saved state (state.c): a structure in the device's own table ---- */

extern const struct state_desc virtio_state, virtio_piece_state;
#define VIRTIO_STATE(st) STATE_FIELD_STRUCT(st, virtio, 1, &virtio_state)

#endif
