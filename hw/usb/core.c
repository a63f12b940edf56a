/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The USB device framework; see xendm/usb.h. Source: USB 2.0, chapters 8.5.3 (control transfers)
 * and 9.4 (standard requests).
 *
 * Left out, as the guest cannot tell: data toggles (always what the host expects), packets of a
 * control transfer that are longer than endpoint 0 allows.
 */
#include <errno.h>
#include <string.h>

#include <xendm/bytes.h>
#include <xendm/facts.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/usb.h>

#include "usb-internal.h"

static inline const struct usb_class *class_of(const struct usb_device *dev)
{
    return dev->dev.class->usb;
}

/* ---- packets ---- */

size_t usb_packet_put(struct usb_packet *p, const void *bytes, size_t len)
{
    size_t n = MIN(len, p->length - p->done);

    memcpy(p->data + p->done, bytes, n);
    p->done += n;
    return n;
}

size_t usb_packet_get(struct usb_packet *p, void *bytes, size_t len)
{
    size_t n = MIN(len, p->length - p->done);

    memcpy(bytes, p->data + p->done, n);
    p->done += n;
    return n;
}

/* ---- descriptors ---- */

static inline unsigned configuration_length(const struct usb_device *dev)
{
    return load_le16(class_of(dev)->descriptors->configuration + 2);
}

/*
 * The first descriptor of `type` in the configuration that `wanted` takes; `interface` follows the
 * walk. NULL: none.
 */
static const uint8_t *find_descriptor(const struct usb_device *dev, uint8_t type, int interface,
                                      int endpoint)
{
    const uint8_t *p = class_of(dev)->descriptors->configuration, *end;
    int current = -1;

    for (end = p + configuration_length(dev); p < end; p += p[0]) {
        if (p[1] == USB_DT_INTERFACE) {
            current = p[2];
        }
        if (p[1] == type && (interface < 0 || current == interface) &&
            (endpoint < 0 || p[2] == endpoint)) {
            return p;
        }
    }
    return NULL;
}

static bool has_endpoint(const struct usb_device *dev, uint8_t address)
{
    return dev->configuration && find_descriptor(dev, USB_DT_ENDPOINT, -1, address);
}

static bool has_interface(const struct usb_device *dev, uint16_t number)
{
    return dev->configuration && number < 256 && find_descriptor(dev, USB_DT_INTERFACE, number, -1);
}

char *usb_device_string(const struct usb_device *dev, unsigned index)
{
    const struct usb_descriptors *d = class_of(dev)->descriptors;

    for (unsigned i = 1; d && d->strings && d->strings[i - 1]; i++) {
        if (i == index) {
            return g_strdup(d->strings[i - 1]);
        }
    }
    return NULL;
}

char *usb_device_product(const struct usb_device *dev)
{
    return class_of(dev)->descriptors
               ? usb_device_string(dev, class_of(dev)->descriptors->device[15])
               : class_of(dev)->product(dev);
}

char *usb_device_path(const struct usb_device *dev)
{
    const struct usb_port *port = dev->port;
    g_autofree char *hub = port && port->hub ? usb_device_path(port->hub) : NULL;

    return g_strdup_printf("%s%s%u", hub ? hub : "", hub ? "." : "", port ? port->number : 0);
}

static size_t put_bytes(uint8_t *to, size_t room, const uint8_t *bytes, size_t len)
{
    memcpy(to, bytes, MIN(len, room));
    return MIN(len, room);
}

/* String 0 lists the languages: English (United States) alone. */
static enum usb_status get_string(struct usb_device *dev, unsigned index, uint8_t *data,
                                  size_t *length)
{
    static const uint8_t languages[] = {4, USB_DT_STRING, 0x09, 0x04};
    uint8_t bytes[2 + 2 * USB_STRING_MAX];
    g_autofree char *text = index ? usb_device_string(dev, index) : NULL;
    size_t n = text ? MIN(strlen(text), USB_STRING_MAX) : 0;

    if (!index) {
        *length = put_bytes(data, *length, languages, sizeof(languages));
        return USB_OK;
    }
    if (!text) {
        return USB_STALL;
    }
    bytes[0] = (uint8_t)(2 + 2 * n);
    bytes[1] = USB_DT_STRING;
    for (size_t i = 0; i < n; i++) {
        bytes[2 + 2 * i] = (uint8_t)text[i];
        bytes[3 + 2 * i] = 0;
    }
    *length = put_bytes(data, *length, bytes, bytes[0]);
    return USB_OK;
}

static enum usb_status get_descriptor(struct usb_device *dev, const struct usb_setup *s,
                                      uint8_t *data, size_t *length)
{
    const struct usb_descriptors *d = class_of(dev)->descriptors;
    unsigned index = s->value & 0xff;

    switch (s->value >> 8) {
    case USB_DT_DEVICE:
        *length = put_bytes(data, *length, d->device, d->device[0]);
        return index ? USB_STALL : USB_OK;
    case USB_DT_CONFIGURATION:
        *length = put_bytes(data, *length, d->configuration, configuration_length(dev));
        return index ? USB_STALL : USB_OK;
    case USB_DT_STRING:
        return get_string(dev, index, data, length);
    case USB_DT_BOS:
        if (d->bos) {
            *length = put_bytes(data, *length, d->bos, load_le16(d->bos + 2));
            return USB_OK;
        }
        return USB_STALL;
    default: /* the qualifier too: what is of one speed has none */
        return USB_STALL;
    }
}

/* What belongs to an interface: from its part of the configuration, or of its own. */
static enum usb_status get_interface_descriptor(struct usb_device *dev, const struct usb_setup *s,
                                                uint8_t *data, size_t *length)
{
    const struct usb_extra_descriptor *e = class_of(dev)->descriptors->extra;
    uint8_t type = (uint8_t)(s->value >> 8);
    const uint8_t *found;

    if (s->index > 255 || s->value & 0xff) {
        return USB_STALL;
    }
    for (; e && e->length; e++) {
        if (e->type == type && e->interface == s->index) {
            *length = put_bytes(data, *length, e->bytes, e->length);
            return USB_OK;
        }
    }
    found = type > USB_DT_ENDPOINT ? find_descriptor(dev, type, s->index, -1) : NULL;
    if (!found) {
        return USB_STALL;
    }
    *length = put_bytes(data, *length, found, found[0]);
    return USB_OK;
}

/* ---- standard requests ---- */

static void set_configuration(struct usb_device *dev, uint8_t value)
{
    dev->configuration = value;
    dev->halted[0] = dev->halted[1] = 0;
    if (class_of(dev)->configured) {
        class_of(dev)->configured(dev);
    }
}

static enum usb_status answer_bytes(uint8_t *data, size_t *length, unsigned value, size_t len)
{
    uint8_t bytes[2] = {(uint8_t)value, (uint8_t)(value >> 8)};

    *length = put_bytes(data, *length, bytes, len);
    return USB_OK;
}

static enum usb_status device_request(struct usb_device *dev, const struct usb_setup *s,
                                      uint8_t *data, size_t *length)
{
    const uint8_t *configuration = class_of(dev)->descriptors->configuration;
    bool self_powered = configuration[7] & 0x40;

    switch (s->type << 8 | s->request) {
    case USB_DIR_IN << 8 | USB_REQ_GET_STATUS:
        return answer_bytes(data, length, self_powered | dev->remote_wakeup << 1, 2);
    case USB_DIR_IN << 8 | USB_REQ_GET_CONFIGURATION:
        return answer_bytes(data, length, dev->configuration, 1);
    case USB_DIR_IN << 8 | USB_REQ_GET_DESCRIPTOR:
        return get_descriptor(dev, s, data, length);
    case USB_REQ_CLEAR_FEATURE:
    case USB_REQ_SET_FEATURE:
        if (s->value != USB_FEATURE_REMOTE_WAKEUP) {
            return USB_STALL;
        }
        dev->remote_wakeup = s->request == USB_REQ_SET_FEATURE;
        return USB_OK;
    case USB_REQ_SET_ADDRESS:
        if (s->value > USB_ADDRESS_MAX) {
            return USB_STALL;
        }
        dev->address = (uint8_t)s->value; /* we are in the status stage already */
        return USB_OK;
    case USB_REQ_SET_CONFIGURATION:
        if (s->value != 0 && s->value != configuration[5]) {
            return USB_STALL;
        }
        set_configuration(dev, (uint8_t)s->value);
        return USB_OK;
    default:
        return USB_STALL;
    }
}

static enum usb_status interface_request(struct usb_device *dev, const struct usb_setup *s,
                                         uint8_t *data, size_t *length)
{
    if ((s->type << 8 | s->request) ==
        ((USB_DIR_IN | USB_RECIPIENT_INTERFACE) << 8 | USB_REQ_GET_DESCRIPTOR)) {
        return get_interface_descriptor(dev, s, data, length);
    }
    if (!has_interface(dev, s->index)) {
        return USB_STALL;
    }
    switch (s->type << 8 | s->request) {
    case (USB_DIR_IN | USB_RECIPIENT_INTERFACE) << 8 | USB_REQ_GET_STATUS:
        return answer_bytes(data, length, 0, 2);
    case (USB_DIR_IN | USB_RECIPIENT_INTERFACE) << 8 | USB_REQ_GET_INTERFACE:
        return answer_bytes(data, length, 0, 1);
    case USB_RECIPIENT_INTERFACE << 8 | USB_REQ_SET_INTERFACE: /* there are no alternates */
        return s->value ? USB_STALL : USB_OK;
    default:
        return USB_STALL;
    }
}

static enum usb_status endpoint_request(struct usb_device *dev, const struct usb_setup *s,
                                        uint8_t *data, size_t *length)
{
    unsigned number = s->index & 15;
    uint16_t *halted = &dev->halted[s->index & USB_DIR_IN ? 1 : 0];

    if (s->index & ~0x8fu || (number != 0 && !has_endpoint(dev, (uint8_t)s->index))) {
        return USB_STALL;
    }
    switch (s->type << 8 | s->request) {
    case (USB_DIR_IN | USB_RECIPIENT_ENDPOINT) << 8 | USB_REQ_GET_STATUS:
        return answer_bytes(data, length, *halted >> number & 1, 2);
    case USB_RECIPIENT_ENDPOINT << 8 | USB_REQ_CLEAR_FEATURE:
    case USB_RECIPIENT_ENDPOINT << 8 | USB_REQ_SET_FEATURE:
        if (s->value != USB_FEATURE_ENDPOINT_HALT) {
            return USB_STALL;
        }
        if (number != 0) { /* endpoint 0 is halted by no request */
            *halted &= (uint16_t) ~(1u << number);
            *halted |= (uint16_t)((s->request == USB_REQ_SET_FEATURE) << number);
        }
        return USB_OK;
    default:
        return USB_STALL;
    }
}

static enum usb_status standard_request(struct usb_device *dev, const struct usb_setup *s,
                                        uint8_t *data, size_t *length)
{
    switch (s->type & 0x1f) {
    case USB_RECIPIENT_DEVICE:
        return device_request(dev, s, data, length);
    case USB_RECIPIENT_INTERFACE:
        return interface_request(dev, s, data, length);
    case USB_RECIPIENT_ENDPOINT:
        return endpoint_request(dev, s, data, length);
    default:
        return USB_STALL;
    }
}

/* ---- control transfers ---- */

struct usb_setup usb_setup_parse(const uint8_t *b)
{
    return (struct usb_setup){b[0], b[1], load_le16(b + 2), load_le16(b + 4), load_le16(b + 6)};
}

/* `*length`: room, or what the host sent; then what there is to send. */
static enum usb_status perform(struct usb_device *dev, size_t *length)
{
    struct usb_setup s = usb_setup_parse(dev->setup);
    enum usb_status status = USB_STALL;

    if ((s.type & USB_TYPE_MASK) == USB_TYPE_STANDARD) {
        status = standard_request(dev, &s, dev->control, length);
    } else if (class_of(dev)->control) {
        status = class_of(dev)->control(dev, &s, dev->control, length);
    }
    if (status != USB_OK) {
        log_debug(LOG_USB, "%s: refuses request %02x %02x, value %04x, index %04x", dev->dev.id,
                  s.type, s.request, s.value, s.index);
        return USB_STALL;
    }
    return USB_OK;
}

static enum usb_status stall_control(struct usb_device *dev)
{
    dev->stage = USB_STAGE_STALLED;
    return USB_STALL;
}

/*
 * SETUP is always taken and ends what was under way; a request that cannot be answered is refused
 * in the stage after it. The length that counts is set here, once, and never above the buffer
 * (CVE-2020-14364, XSA-335: a length that was kept though it had been found too long).
 */
static enum usb_status handle_setup(struct usb_device *dev, struct usb_packet *p)
{
    uint8_t setup[8];
    size_t length;

    if (usb_packet_get(p, setup, sizeof(setup)) != sizeof(setup)) {
        return USB_IO_ERROR;
    }
    memcpy(dev->setup, setup, sizeof(setup));
    dev->at = dev->length = 0;
    length = load_le16(setup + 6);
    if (setup[0] & USB_DIR_IN && length) {
        length = MIN(length, USB_CONTROL_MAX);
        dev->stage = perform(dev, &length) == USB_OK ? USB_STAGE_DATA_IN : USB_STAGE_STALLED;
        dev->length = dev->stage == USB_STAGE_DATA_IN ? (uint32_t)MIN(length, USB_CONTROL_MAX) : 0;
    } else if (length > USB_CONTROL_MAX) {
        dev->stage = USB_STAGE_STALLED;
    } else {
        dev->length = (uint32_t)length;
        dev->stage = length ? USB_STAGE_DATA_OUT : USB_STAGE_STATUS_IN;
    }
    return USB_OK;
}

static enum usb_status control_in(struct usb_device *dev, struct usb_packet *p)
{
    size_t length = dev->length;

    if (dev->stage == USB_STAGE_DATA_IN) {
        dev->at += (uint32_t)usb_packet_put(p, dev->control + dev->at, dev->length - dev->at);
        return USB_OK;
    }
    if (dev->stage == USB_STAGE_STATUS_IN) {
        dev->stage = USB_STAGE_IDLE;
        return perform(dev, &length) == USB_OK ? USB_OK : stall_control(dev);
    }
    return stall_control(dev);
}

static enum usb_status control_out(struct usb_device *dev, struct usb_packet *p)
{
    if (dev->stage == USB_STAGE_DATA_IN) { /* the host has what it wants */
        p->done = p->length;
        dev->stage = USB_STAGE_IDLE;
        return USB_OK;
    }
    if (dev->stage != USB_STAGE_DATA_OUT || p->length > dev->length - dev->at) {
        return stall_control(dev);
    }
    dev->at += (uint32_t)usb_packet_get(p, dev->control + dev->at, p->length);
    if (dev->at == dev->length) {
        dev->stage = USB_STAGE_STATUS_IN;
    }
    return USB_OK;
}

static enum usb_status handle_endpoint(struct usb_device *dev, struct usb_packet *p)
{
    bool in = p->pid == USB_IN;
    enum usb_status status;

    if (p->pid == USB_SETUP) {
        return USB_IO_ERROR; /* no control endpoint but 0 */
    }
    if (!class_of(dev)->descriptors) {
        return class_of(dev)->transfer(dev, p);
    }
    if (!has_endpoint(dev, p->endpoint | (in ? USB_DIR_IN : 0)) ||
        dev->halted[in] >> p->endpoint & 1 || !class_of(dev)->transfer) {
        return USB_STALL;
    }
    status = class_of(dev)->transfer(dev, p);
    if (status == USB_STALL) {
        dev->halted[in] |= (uint16_t)(1u << p->endpoint);
    }
    return status;
}

struct usb_device *usb_find_device(struct usb_device *dev, unsigned address)
{
    if (!dev->attached) {
        return NULL;
    }
    return dev->address == address ? dev
           : class_of(dev)->behind ? class_of(dev)->behind(dev, address)
                                   : NULL;
}

enum usb_status usb_handle(struct usb_device *dev, struct usb_packet *p)
{
    p->done = 0;
    p->endpoint &= 15;
    if (p->endpoint) {
        return handle_endpoint(dev, p);
    }
    if (class_of(dev)->endpoint0) {
        return class_of(dev)->endpoint0(dev, p);
    }
    switch (p->pid) {
    case USB_SETUP:
        return handle_setup(dev, p);
    case USB_IN:
        return control_in(dev, p);
    default:
        return control_out(dev, p);
    }
}

/* ---- life ---- */

void usb_device_reset(struct usb_device *dev)
{
    dev->address = 0;
    dev->remote_wakeup = false;
    dev->stage = USB_STAGE_IDLE;
    dev->at = dev->length = 0;
    memset(dev->setup, 0, sizeof(dev->setup));
    memset(dev->control, 0, sizeof(dev->control));
    set_configuration(dev, 0);
}

void usb_port_reset(struct usb_port *port)
{
    if (port->device) {
        usb_device_reset(port->device);
    }
}

void usb_wakeup(struct usb_device *dev, uint8_t endpoint)
{
    if (dev->attached) {
        dev->port->ops->wakeup(dev->port, endpoint);
    }
}

void usb_device_describe(struct usb_device *dev, struct facts *to)
{
    static const char *const stages[USB_STAGE_COUNT] = {"idle", "data in", "data out", "status",
                                                        "stalled"};

    g_autofree char *path = usb_device_path(dev);

    fact_text(to, "port", "%s", path);
    fact_int(to, "address", dev->address);
    fact_int(to, "configuration", dev->configuration);
    fact_bool(to, "remote wake-up", dev->remote_wakeup);
    fact_text(to, "control transfer", "%s, %u of %u bytes", stages[dev->stage], dev->at,
              dev->length);
}

/* ---- saved state ---- */

static bool device_check(const void *base, GError **err)
{
    const struct usb_device *dev = base;

    if (dev->at > dev->length) {
        g_set_error(err, XENDM_ERROR, EINVAL, "control transfer: at %u of %u bytes", dev->at,
                    dev->length);
        return false;
    }
    return true;
}

static bool device_fits(const void *scratch, const void *base, GError **err)
{
    const struct usb_device *from = scratch, *dev = base;
    const struct usb_descriptors *d = class_of(dev)->descriptors;

    if (d && from->configuration != 0 && from->configuration != d->configuration[5]) {
        g_set_error(err, XENDM_ERROR, EINVAL, "the device has no configuration %u",
                    from->configuration);
        return false;
    }
    return true;
}

static const struct state_field device_fields[] = {
    STATE_FIELD_U8(struct usb_device, address, .max = USB_ADDRESS_MAX),
    STATE_FIELD_U8(struct usb_device, configuration),
    STATE_FIELD_BOOL(struct usb_device, remote_wakeup),
    {.name = "halted",
     .type = STATE_U16,
     .offset = offsetof(struct usb_device, halted),
     .count = 2},
    STATE_FIELD_U8(struct usb_device, stage, .max = USB_STAGE_COUNT - 1),
    STATE_FIELD_BYTES(struct usb_device, setup),
    STATE_FIELD_BYTES(struct usb_device, control),
    STATE_FIELD_U32(struct usb_device, length, .max = USB_CONTROL_MAX),
    STATE_FIELD_U32(struct usb_device, at, .max = USB_CONTROL_MAX),
    STATE_FIELD_END,
};

const struct state_desc usb_device_state = {
    .name = "usb-device",
    .version = 1,
    .fields = device_fields,
    .check = device_check,
    .fits = device_fits,
};
