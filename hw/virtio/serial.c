/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio console (5.3): PCI 1af4:1003, or 1af4:1043 without the legacy registers. Ports with a pair
 * of queues each, which are consoles or have names, as org.qemu.guest_agent.0; two queues of
 * messages about them. Drivers without VIRTIO_CONSOLE_F_MULTIPORT know port 0. Linux, the BSDs and
 * Windows know it; libvirt's and QEMU's guest agents ask for it.
 *
 * Bytes go from the driver's buffers to the host and the other way, nothing is kept here. A chain
 * of which the host took a part is left in the ring, and how much that was is state. Output of a
 * port that has nobody at its other end is dropped, as QEMU does.
 *
 * The size of a terminal is offered when asked for (console-size=on) only: Linux before 6.15 takes
 * columns for rows.
 */
#include <errno.h>
#include <string.h>

#include <xendm/classes.h>
#include <xendm/facts.h>

#include "serial.h"

#define F_SIZE VIRTIO_F(0)
#define F_MULTIPORT VIRTIO_F(1)
#define F_EMERG_WRITE VIRTIO_F(2)

#define CONFIG_BYTES 12u /* (5.3.4) */
#define CONFIG_EMERGENCY 8u

enum { CONTROL_IN = 2, CONTROL_OUT = 3, FIRST_MORE = 4 }; /* queues (5.3.2) */

/* Messages (5.3.6.1). */
enum {
    DEVICE_READY = 0,
    DEVICE_ADD = 1,
    DEVICE_REMOVE = 2,
    PORT_READY = 3,
    CONSOLE_PORT = 4,
    RESIZE = 5,
    PORT_OPEN = 6,
    PORT_NAME = 7,
};

#define MESSAGE 8u
#define MESSAGE_MAX (MESSAGE + SERIAL_NAME_MAX + 1)
#define VECTORS 2u       /* as QEMU's: one for all queues, one for the configuration */
#define STEP_BYTES 4096u /* of output: copied at a time */

static inline struct serial *serial_of(const struct virtio *v)
{
    return (struct serial *)v;
}

static unsigned in_queue(unsigned nr)
{
    return nr ? FIRST_MORE + 2 * (nr - 1) : 0;
}

static unsigned out_queue(unsigned nr)
{
    return in_queue(nr) + 1;
}

static unsigned port_of(unsigned queue)
{
    return queue < CONTROL_IN ? 0 : (queue - FIRST_MORE) / 2 + 1;
}

static bool multiport(const struct serial *s)
{
    return virtio_has(&s->virtio, F_MULTIPORT);
}

/* The driver takes what comes. */
static bool takes(const struct serial *s, unsigned nr)
{
    return multiport(s) ? s->slot[nr].driver_open : nr == 0;
}

/* ---- what the driver is told ---- */

struct message {
    uint32_t nr;
    uint16_t event, value;
    const char *text; /* or NULL */
    bool size;
};

static bool size_differs(const struct serial *s, const struct serial_slot *slot)
{
    uint16_t cols = 0, rows = 0;

    return virtio_has(&s->virtio, F_SIZE) && serial_port_is_console(slot->port) &&
           serial_port_size(slot->port, &cols, &rows) && (cols != slot->cols || rows != slot->rows);
}

/* The one that is next for a port that the driver has; it counts as told. */
static bool message_of_ready(const struct serial *s, struct serial_slot *slot, struct message *m)
{
    bool connected = serial_port_connected(slot->port);

    m->value = 1;
    if (!slot->typed && serial_port_is_console(slot->port)) {
        m->event = CONSOLE_PORT;
        slot->typed = true;
    } else if (!slot->named && slot->port->name) {
        m->event = PORT_NAME;
        m->text = slot->port->name;
        slot->named = true;
    } else if (slot->open && (slot->flapped || !connected)) {
        m->event = PORT_OPEN;
        m->value = 0;
        slot->open = slot->flapped = false;
    } else if (!slot->open && connected) {
        m->event = PORT_OPEN;
        slot->open = true;
    } else if (size_differs(s, slot)) {
        m->event = RESIZE;
        m->value = 0;
        m->size = serial_port_size(slot->port, &slot->cols, &slot->rows);
    } else {
        return false;
    }
    return true;
}

static bool message_of(const struct serial *s, struct serial_slot *slot, struct message *m)
{
    if (slot->gone) {
        m->event = DEVICE_REMOVE;
        m->value = 1;
        slot->gone = false;
    } else if (slot->port && !slot->added) {
        m->event = DEVICE_ADD;
        m->value = 1;
        slot->added = true;
    } else {
        return slot->port && slot->ready && message_of_ready(s, slot, m);
    }
    return true;
}

static bool next_message(struct serial *s, struct message *m)
{
    *m = (struct message){0};
    for (m->nr = 0; s->ready && m->nr < s->slots; m->nr++) {
        if (message_of(s, &s->slot[m->nr], m)) {
            return true;
        }
    }
    return false;
}

/* A name ends with a NUL, which the standard does not want, and drivers know of QEMU. */
static size_t write_message(const struct serial *s, const struct message *m, uint8_t *to)
{
    const struct serial_slot *slot = &s->slot[m->nr];
    size_t len = m->text ? strlen(m->text) + 1 : 0;

    store_le32(to, m->nr);
    store_le16(to + 4, m->event);
    store_le16(to + 6, m->value);
    if (len) {
        memcpy(to + MESSAGE, m->text, len);
    } else if (m->size) {
        store_le16(to + MESSAGE, slot->cols);
        store_le16(to + MESSAGE + 2, slot->rows);
        len = 4;
    }
    return MESSAGE + len;
}

static int serve_control_in(struct serial *s)
{
    struct virtio *v = &s->virtio;
    uint8_t bytes[MESSAGE_MAX];
    struct virtio_chain c;
    struct message m;
    size_t len;

    if (!multiport(s) || !virtq_ready(v, CONTROL_IN) || !next_message(s, &m) ||
        !virtq_pop(v, CONTROL_IN, &c)) {
        return VIRTIO_NOTHING;
    }
    if (c.out || c.in_bytes < MESSAGE) {
        virtio_broken(v, CONTROL_IN, "a buffer that is not to be written, or too small");
        return VIRTIO_NOTHING;
    }
    len = (size_t)MIN(write_message(s, &m, bytes), c.in_bytes);
    if (virtio_write(v, &c, 0, bytes, len) < 0) {
        virtio_broken(v, CONTROL_IN, "a buffer is in no memory");
        return VIRTIO_NOTHING;
    }
    virtq_push(v, CONTROL_IN, &c, (uint32_t)len);
    virtq_signal(v, CONTROL_IN, true);
    return 2;
}

void serial_tell(struct serial *s)
{
    if (multiport(s) && s->ready) {
        virtio_feed(&s->virtio, CONTROL_IN);
    }
}

/* ---- what the driver says ---- */

/* As after its reset, but for what is there. */
static void forget_told(struct serial_slot *slot, bool gone)
{
    *slot = (struct serial_slot){.port = slot->port, .waits = slot->waits, .gone = gone};
}

static void driver_asks(struct serial *s)
{
    s->ready = true;
    for (unsigned i = 0; i < s->slots; i++) {
        s->slot[i].added = s->slot[i].ready = false;
    }
}

/*
 * Linux that wakes up, also at the end of a migration, says no DEVICE_READY after its reset: it
 * knows its ports. The others are told again, which it takes for nothing new.
 */
static void driver_has(struct serial *s, struct serial_slot *slot)
{
    slot->added |= !s->ready;
    s->ready = slot->ready = true;
    slot->typed = slot->named = slot->open = slot->flapped = false;
    slot->cols = slot->rows = 0;
}

static void driver_opens(struct serial_slot *slot, bool open)
{
    slot->driver_open = open;
    if (open && slot->port->chardev) {
        chardev_accept_input(slot->port->chardev);
    }
}

static void take_message(struct serial *s, uint32_t nr, unsigned event, unsigned value)
{
    struct serial_slot *slot = nr < s->slots ? &s->slot[nr] : NULL;
    const char *id = s->virtio.pci.dev.id;

    if (event == DEVICE_READY) {
        if (value) {
            driver_asks(s);
        } else {
            log_guest(LOG_VIRTIO, "%s: the driver cannot use it", id);
        }
    } else if (!slot || !slot->port) {
        log_guest(LOG_VIRTIO, "%s: message %u about port %u, which is not there", id, event, nr);
    } else if (event == PORT_READY && value) {
        driver_has(s, slot);
    } else if (event == PORT_READY) {
        slot->ready = false;
        log_guest(LOG_VIRTIO, "%s: the driver cannot use port %u", id, nr);
    } else if (event == PORT_OPEN) {
        driver_opens(slot, value);
    } else {
        log_guest(LOG_VIRTIO, "%s: message %u, which drivers do not send", id, event);
    }
}

static int serve_control_out(struct serial *s)
{
    struct virtio *v = &s->virtio;
    uint8_t bytes[MESSAGE];
    struct virtio_chain c;

    if (!virtq_pop(v, CONTROL_OUT, &c)) {
        return VIRTIO_NOTHING;
    }
    if (c.in) {
        virtio_broken(v, CONTROL_OUT, "a message that is to be written");
        return VIRTIO_NOTHING;
    }
    if (c.out_bytes < MESSAGE) {
        log_guest(LOG_VIRTIO, "%s: a message of %u bytes", v->pci.dev.id, (unsigned)c.out_bytes);
    } else if (virtio_read(v, &c, 0, bytes, MESSAGE) < 0) {
        virtio_broken(v, CONTROL_OUT, "a message is in no memory");
        return VIRTIO_NOTHING;
    } else if (multiport(s)) {
        take_message(s, load_le32(bytes), load_le16(bytes + 4), load_le16(bytes + 6));
        serial_tell(s);
    }
    virtq_push(v, CONTROL_OUT, &c, 0);
    virtq_signal(v, CONTROL_OUT, true);
    return 2 + c.out / 32;
}

/* ---- bytes of the driver ---- */

/* What the host took of the next part; -1: the device is broken. */
static int send_part(struct serial *s, unsigned nr, const struct virtio_chain *c, size_t *part)
{
    struct serial_slot *slot = &s->slot[nr];
    uint8_t bytes[STEP_BYTES];
    size_t done;

    *part = (size_t)MIN(c->out_bytes - slot->sent, STEP_BYTES);
    if (virtio_read_content(&s->virtio, c, slot->sent, bytes, *part, DMA_PAYLOAD) < 0) {
        virtio_broken(&s->virtio, out_queue(nr), "a buffer is in no memory");
        return -1;
    }
    done = chardev_write(slot->port->chardev, bytes, *part);
    slot->port->bytes_out += done;
    slot->sent += done;
    return (int)done;
}

static int give_back_output(struct serial *s, unsigned nr, const struct virtio_chain *c)
{
    s->slot[nr].sent = 0;
    virtq_push(&s->virtio, out_queue(nr), c, 0);
    virtq_signal(&s->virtio, out_queue(nr), true);
    return 1 + c->out / 32;
}

static int serve_output(struct serial *s, unsigned nr)
{
    struct virtio *v = &s->virtio;
    struct serial_slot *slot = &s->slot[nr];
    bool connected = slot->port && serial_port_connected(slot->port);
    struct virtio_chain c;
    size_t part = 0;
    int done;

    if (connected && slot->waits) {
        return VIRTIO_NO_ROOM;
    }
    if (!virtq_pop(v, out_queue(nr), &c)) {
        return VIRTIO_NOTHING;
    }
    if (c.in) {
        virtio_broken(v, out_queue(nr), "output that is to be written");
        return VIRTIO_NOTHING;
    }
    if (!connected || slot->sent >= c.out_bytes) { /* to nobody, or not what it was */
        return give_back_output(s, nr, &c);
    }
    done = send_part(s, nr, &c, &part);
    if (done < 0) {
        return VIRTIO_NOTHING;
    }
    if (slot->sent == c.out_bytes) {
        return give_back_output(s, nr, &c) + done / 1024;
    }
    virtq_unpop(v, out_queue(nr), &c);
    slot->waits = (size_t)done < part;
    return slot->waits ? VIRTIO_NO_ROOM : 1 + done / 1024 + c.out / 32;
}

void serial_output(struct serial *s, unsigned nr)
{
    s->slot[nr].waits = false;
    virtio_feed(&s->virtio, out_queue(nr));
}

/* ---- bytes of the host ---- */

/* The next buffer; false: none, or the device is broken. */
static bool pop_input(struct serial *s, unsigned nr, struct virtio_chain *c)
{
    if (!virtq_pop(&s->virtio, in_queue(nr), c)) {
        return false;
    }
    if (c->out) {
        virtio_broken(&s->virtio, in_queue(nr), "a buffer that is not to be written");
        return false;
    }
    return true;
}

size_t serial_room(struct serial *s, unsigned nr)
{
    struct virtio_chain c;

    if (!takes(s, nr) || !pop_input(s, nr, &c)) {
        return 0;
    }
    virtq_unpop(&s->virtio, in_queue(nr), &c);
    return (size_t)MIN(c.in_bytes, SIZE_MAX);
}

/* There was room for it a moment ago. Of a driver that took its buffers back since, it is lost. */
void serial_input(struct serial *s, unsigned nr, const uint8_t *buf, size_t len)
{
    struct virtio *v = &s->virtio;
    struct virtio_chain c;

    while (len > 0 && pop_input(s, nr, &c)) {
        size_t part = (size_t)MIN(len, c.in_bytes);

        if (virtio_write(v, &c, 0, buf, part) < 0) {
            virtio_broken(v, in_queue(nr), "a buffer is in no memory");
            return;
        }
        virtq_push(v, in_queue(nr), &c, (uint32_t)part);
        buf += part;
        len -= part;
    }
    virtq_signal(v, in_queue(nr), true);
}

static int serve_input(struct serial *s, unsigned nr)
{
    struct serial_port *p = s->slot[nr].port;

    if (p && p->chardev && takes(s, nr) && virtq_ready(&s->virtio, in_queue(nr))) {
        chardev_accept_input(p->chardev);
    }
    return VIRTIO_NOTHING;
}

/* ---- both ---- */

static int serial_serve(struct virtio *v, unsigned n)
{
    struct serial *s = serial_of(v);

    switch (n) {
    case CONTROL_IN:
        return serve_control_in(s);
    case CONTROL_OUT:
        return serve_control_out(s);
    default:
        return n % 2 ? serve_output(s, port_of(n)) : serve_input(s, port_of(n));
    }
}

static void serial_forget(struct virtio *v, unsigned n)
{
    struct serial *s = serial_of(v);

    if (n == VIRTIO_QUEUES) {
        s->ready = false;
        for (unsigned i = 0; i < s->slots; i++) {
            forget_told(&s->slot[i], false);
        }
    } else if (n % 2 && n != CONTROL_OUT) {
        s->slot[port_of(n)].sent = 0;
    }
}

static uint64_t serial_features(const struct virtio *v)
{
    const struct serial *s = serial_of(v);
    uint64_t f = s->max_ports > 1 ? F_MULTIPORT : 0;

    f |= s->emergency ? F_EMERG_WRITE : 0;
    f |= s->sizes ? F_SIZE : 0;
    return f;
}

static void serial_config(const struct virtio *v, uint8_t *to)
{
    const struct serial *s = serial_of(v);
    uint16_t cols = 0, rows = 0;

    if (s->sizes && s->slot[0].port) {
        serial_port_size(s->slot[0].port, &cols, &rows);
    }
    store_le16(to, cols);
    store_le16(to + 2, rows);
    store_le32(to + 4, s->max_ports);
}

/* A character of a driver that cannot do better, for the first console (5.3.4). */
static void serial_config_written(struct virtio *v, unsigned at, uint8_t value)
{
    struct serial *s = serial_of(v);

    for (unsigned i = 0; at == CONFIG_EMERGENCY && s->emergency && i < s->slots; i++) {
        struct serial_port *p = s->slot[i].port;

        if (p && serial_port_is_console(p) && serial_port_connected(p)) {
            p->bytes_out += chardev_write(p->chardev, &value, 1);
            return;
        }
    }
}

static const struct virtio_type type = {
    .name = "console",
    .id = 3,
    .transitional = 0x1003,
    .config_bytes = CONFIG_BYTES,
    .queue_size = 128,
    .features = serial_features,
    .config = serial_config,
    .config_written = serial_config_written,
    .serve = serial_serve,
    .forget = serial_forget,
};

/* ---- life ---- */

static int serial_realize(struct device *dev, GError **err)
{
    struct serial *s = DEVICE_CAST(struct serial, dev);

    s->slots = s->max_ports;
    if (s->virtio.vectors == UINT32_MAX) {
        s->virtio.vectors = VECTORS;
    }
    if (virtio_realize(&s->virtio, &type, 2 * (s->max_ports + 1), err) < 0) {
        return -EINVAL;
    }
    serial_bus_init(s);
    return 0;
}

static void serial_unrealize(struct device *dev)
{
    struct serial *s = DEVICE_CAST(struct serial, dev);

    serial_bus_fini(s);
    virtio_unrealize(&s->virtio);
}

static void serial_reset(struct device *dev, enum reset_reason why)
{
    virtio_reset(&DEVICE_CAST(struct serial, dev)->virtio);
}

static void serial_quiesce(struct device *dev)
{
    virtio_quiesce(&DEVICE_CAST(struct serial, dev)->virtio);
}

static void serial_resume(struct device *dev)
{
    struct serial *s = DEVICE_CAST(struct serial, dev);

    for (unsigned i = 0; i < s->slots; i++) {
        s->slot[i].waits = false; /* tried again, as by one that was loaded */
    }
    virtio_resume(&s->virtio);
}

static void serial_describe(struct device *dev, struct facts *to)
{
    const struct serial *s = DEVICE_CAST(struct serial, dev);
    unsigned ports = 0, opened = 0;

    for (unsigned i = 0; i < s->slots; i++) {
        ports += s->slot[i].port != NULL;
        opened += s->slot[i].driver_open;
    }
    virtio_describe(&s->virtio, to);
    fact_text(to, "bus", "%s", s->bus_id);
    fact_int(to, "ports", ports);
    fact_int(to, "ports at most", s->max_ports);
    fact_bool(to, "asked for ports", s->ready);
    fact_int(to, "opened by the guest", opened);
}

static const struct property properties[] = {
    {.name = "max_ports",
     .type = PROP_UINT32,
     .offset = offsetof(struct serial, max_ports),
     .def = "31",
     .min = 1,
     .max = SERIAL_PORTS,
     .help = "ports that there can be"},
    {.name = "emergency-write",
     .type = PROP_BOOL,
     .offset = offsetof(struct serial, emergency),
     .def = "on",
     .help = "the guest may write a character without a queue"},
    {.name = "console-size",
     .type = PROP_BOOL,
     .offset = offsetof(struct serial, sizes),
     .def = "off",
     .help = "tell the size of terminals, in the standard's order"},
    VIRTIO_PROPERTIES,
    {.name = NULL},
};

/* ---- saved state ---- */

#define SLOT(kind, f, ...) STATE_FIELD_##kind(struct serial_slot, f, __VA_ARGS__)

static const struct state_field slot_fields[] = {
    SLOT(BOOL, added), SLOT(BOOL, gone), SLOT(BOOL, ready),   SLOT(BOOL, typed),
    SLOT(BOOL, named), SLOT(BOOL, open), SLOT(BOOL, flapped), SLOT(BOOL, driver_open),
    SLOT(U16, cols),   SLOT(U16, rows),  SLOT(U64, sent),     STATE_FIELD_END,
};

static const struct state_desc slot_state = {.name = "slot", .version = 1, .fields = slot_fields};

static const struct state_field fields[] = {
    VIRTIO_STATE(struct serial),
    STATE_FIELD_BOOL(struct serial, ready),
    STATE_FIELD_STRUCTS_VAR(struct serial, slot, SERIAL_PORTS, slots, &slot_state),
    STATE_FIELD_END,
};

static bool serial_fits(const void *scratch, const void *base, GError **err)
{
    const struct serial *saved = scratch, *s = base;

    if (saved->slots != s->slots) {
        g_set_error(err, STATE_ERROR, EINVAL, "max_ports is %u, and was %u", s->slots,
                    saved->slots);
        return false;
    }
    return true;
}

/* A port that this machine lacks is gone, for the guest that knows it. */
static void serial_post_load(void *base)
{
    struct serial *s = base;

    for (unsigned i = 0; i < s->slots; i++) {
        struct serial_slot *slot = &s->slot[i];

        slot->waits = false;
        if (!slot->port && slot->added) {
            forget_told(slot, true);
        }
    }
}

static const struct state_desc state = {
    .name = "virtio-serial",
    .version = 1,
    .fields = fields,
    .fits = serial_fits,
    .post_load = serial_post_load,
};

static const struct pci_info pci = VIRTIO_PCI_INFO(0x078000, 3);

static const char *const aliases[] = {"virtio-serial", NULL};

const struct device_class virtio_con_class = {
    .name = "virtio-serial-pci",
    .aliases = aliases,
    .help = "virtio console: ports for consoles and agents",
    .size = sizeof(struct serial),
    .properties = properties,
    .state = &state,
    .recorded = true,
    .hotplug = true,
    .realize = serial_realize,
    .reset = serial_reset,
    .quiesce = serial_quiesce,
    .resume = serial_resume,
    .unrealize = serial_unrealize,
    .describe = serial_describe,
    .pci = &pci,
};
