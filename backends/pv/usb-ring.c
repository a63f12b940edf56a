/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rings of a PV USB host controller: requests (urbs) of the guest to devices, and plugs and
 * unplugs to the guest. Xen's io/usbif.h and io/ring.h.
 *
 * An entry is copied once (XSA-155). Data is copied by Xen, into a slot that the device's process
 * has, too, and out of it when the request is over, into the pages that the copy named. Lengths and
 * segments are held against each other before. What a front end asks to unlink and is not there has
 * ended already, as the answer is on its way.
 *
 * What a front end is told of ports is no list: an event is where that differs from what is.
 *
 * Left out: isochronous requests, which are answered with USBIF_STATUS_INVAL.
 */
#include <errno.h>
#include <string.h>

#include <xendm/bytes.h>
#include <xendm/grants.h>
#include <xendm/turn.h>

#include "usb.h"

#define HEADER 64u /* of a ring's page */
#define TURN_REQUESTS 64u
#define REQUEST_SET_ADDRESS 5u /* USB 2.0, table 9-4 */

/* ---- a ring ---- */

struct header {
    uint32_t req_prod, req_event, rsp_prod, rsp_event;
};

static struct header *header(const struct vusb_ring *r)
{
    return (struct header *)(void *)r->page;
}

static uint8_t *entry(const struct vusb_ring *r, uint32_t index)
{
    return r->page + HEADER + (index & (r->entries - 1)) * r->entry;
}

/* Requests that nobody has taken. */
static uint32_t waiting(const struct vusb_ring *r)
{
    return __atomic_load_n(&header(r)->req_prod, __ATOMIC_ACQUIRE) - r->taken;
}

/* With what was taken and has no answer: then it has no room for them. */
static bool is_overfull(const struct vusb_ring *r, uint32_t there)
{
    return there > r->entries || there + (r->taken - r->answered) > r->entries;
}

/* The next request, copied; the front end rings when there is another one. False: there is none. */
static bool take(struct vusb_ring *r, void *request, size_t size)
{
    if (waiting(r) == 0) {
        __atomic_store_n(&header(r)->req_event, r->taken + 1, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (waiting(r) == 0) {
            return false;
        }
    }
    memcpy(request, entry(r, r->taken), size);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* from here on it is the copy */
    return true;
}

static void answer(struct vusb_ring *r, const void *response, size_t size)
{
    memcpy(entry(r, r->answered++), response, size);
}

/* All that was answered. True: the front end wants to be told. */
static bool show(struct vusb_ring *r)
{
    uint32_t old = r->shown, event;

    if (!r->page || r->answered == old) {
        return false;
    }
    r->shown = r->answered;
    __atomic_store_n(&header(r)->rsp_prod, r->answered, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    event = __atomic_load_n(&header(r)->rsp_event, __ATOMIC_RELAXED);
    return r->answered - event < r->answered - old;
}

static void show_all(struct vusb *v)
{
    bool urbs = show(&v->urbs), conns = show(&v->conns);

    if (urbs || conns) {
        pv_notify(&v->dev);
    }
}

void vusb_rings_set(struct vusb *v, void *urbs, void *conns)
{
    v->urbs = (struct vusb_ring){.page = urbs,
                                 .entry = sizeof(union usbif_urb_sring_entry),
                                 .entries = VUSB_URBS};
    v->conns = (struct vusb_ring){.page = conns,
                                  .entry = sizeof(union usbif_conn_sring_entry),
                                  .entries = USB_CONN_RING_SIZE};
}

/* A front end that goes on with its rings has answers of the back end before us in them. */
bool vusb_rings_begin(struct vusb *v)
{
    struct vusb_ring *const rings[] = {&v->urbs, &v->conns};

    G_STATIC_ASSERT(USB_URB_RING_SIZE == VUSB_URBS);
    for (unsigned i = 0; i < G_N_ELEMENTS(rings); i++) {
        struct vusb_ring *r = rings[i];

        r->taken = r->answered = r->shown = __atomic_load_n(&header(r)->rsp_prod, __ATOMIC_RELAXED);
        if (is_overfull(r, waiting(r))) {
            return false;
        }
    }
    return true;
}

void vusb_rings_end(struct vusb *v)
{
    later_forget(&v->more);
    v->urbs.page = v->conns.page = NULL;
    memset(v->urb, 0, sizeof(v->urb));
}

/* ---- urbs ---- */

static void respond(struct vusb *v, uint16_t id, int32_t status, uint32_t length)
{
    const struct usbif_urb_response r = {.id = id,
                                         .status = status,
                                         .actual_length = (int32_t)length};

    answer(&v->urbs, &r, sizeof(r));
}

/* The pieces of the guest's memory that hold `length` bytes. Their number; -EINVAL: they do not. */
static int lay_out(const struct usbif_request_segment *seg, unsigned nsegs, uint32_t length,
                   uint8_t *local, struct grant_copy *parts)
{
    uint32_t at = 0;
    unsigned i;

    for (i = 0; i < nsegs && at < length; i++) {
        uint32_t n = MIN(seg[i].length, length - at);

        if (n == 0 || seg[i].offset + (uint32_t)seg[i].length > GRANT_PAGE_SIZE) {
            return -EINVAL;
        }
        parts[i] = (struct grant_copy){.ref = seg[i].gref,
                                       .offset = seg[i].offset,
                                       .len = (uint16_t)n,
                                       .local = local ? local + at : NULL};
        at += n;
    }
    return at < length ? -EINVAL : (int)i;
}

static int copy(struct vusb *v, const struct vusb_urb *u, uint32_t length, bool to_guest)
{
    struct grant_copy parts[USBIF_MAX_SEGMENTS_PER_REQUEST];
    uint8_t *local = usb_host_memory(v->ports[u->port].host, u->slot);
    int count = lay_out(u->seg, u->nsegs, length, local, parts);

    return count <= 0 ? count
                      : grants_copy(pv_host(&v->dev)->grants, parts, (unsigned)count, to_guest);
}

/* Who is meant: a device that has an address by that; else what is in the port. NULL: nobody. */
static struct vusb_port *find_port(struct vusb *v, uint32_t pipe)
{
    unsigned number = usbif_pipeportnum(pipe), address = usbif_pipedevice(pipe);
    struct vusb_port *port = number >= 1 && number <= v->count ? &v->ports[number - 1] : NULL;

    for (unsigned i = 0; address && i < v->count && (!port || port->address != address); i++) {
        if (v->ports[i].address == address) {
            port = &v->ports[i];
        }
    }
    return port && (!address || port->address == address) && port->told != USBIF_SPEED_NONE &&
                   !port->replaced && vusb_speed(port) != USBIF_SPEED_NONE
               ? port
               : NULL;
}

/* From what the front end says to what the device is asked. False: it contradicts itself. */
static bool translate(const struct usbif_urb_request *r, struct usb_host_request *q)
{
    *q = (struct usb_host_request){.length = r->buffer_length};
    q->endpoint = (uint8_t)(usbif_pipeendpoint(r->pipe) | (usbif_pipein(r->pipe) ? USB_DIR_IN : 0));
    switch (usbif_pipetype(r->pipe)) {
    case USBIF_PIPE_TYPE_INT:
        q->type = USB_HOST_INTERRUPT;
        return usbif_pipeendpoint(r->pipe) != 0;
    case USBIF_PIPE_TYPE_BULK:
        q->type = USB_HOST_BULK;
        return usbif_pipeendpoint(r->pipe) != 0;
    case USBIF_PIPE_TYPE_CTRL:
        q->type = USB_HOST_CONTROL;
        q->endpoint = 0;
        memcpy(q->setup, r->u.ctrl, sizeof(q->setup));
        q->length = load_le16(q->setup + 6);
        return usbif_pipeendpoint(r->pipe) == 0 && q->length <= r->buffer_length &&
               (q->length == 0 || !(q->setup[0] & USB_DIR_IN) == usbif_pipeout(r->pipe));
    default:
        return false;
    }
}

static struct vusb_urb *free_urb(struct vusb *v)
{
    for (unsigned i = 0; i < VUSB_URBS; i++) {
        if (!v->urb[i].used) {
            return &v->urb[i];
        }
    }
    return NULL; /* cannot be: the ring has no more */
}

/* Whose data is there. 0, or what to answer. */
static int32_t submit(struct vusb *v, struct vusb_port *port, unsigned slot,
                      const struct usbif_urb_request *r, const struct usb_host_request *q)
{
    struct vusb_urb *u = free_urb(v);

    if (!u) {
        return USBIF_STATUS_IOERROR;
    }
    *u = (struct vusb_urb){.in = q->type == USB_HOST_CONTROL ? q->setup[0] & USB_DIR_IN
                                                             : q->endpoint & USB_DIR_IN,
                           .port = (uint8_t)(port->number - 1),
                           .slot = (uint8_t)slot,
                           .id = r->id,
                           .nsegs = r->nr_buffer_segs,
                           .length = q->length};
    memcpy(u->seg, r->seg, sizeof(u->seg));
    if (!u->in && copy(v, u, q->length, false) < 0) {
        return USBIF_STATUS_IOERROR;
    }
    u->used = true;
    usb_host_submit(port->host, slot, q);
    return USBIF_STATUS_OK;
}

static bool segments_hold(const struct usbif_urb_request *r, uint32_t length)
{
    struct grant_copy parts[USBIF_MAX_SEGMENTS_PER_REQUEST];

    return r->nr_buffer_segs <= USBIF_MAX_SEGMENTS_PER_REQUEST &&
           lay_out(r->seg, r->nr_buffer_segs, length, NULL, parts) >= 0;
}

static void refuse(struct vusb *v, const struct usbif_urb_request *r, int32_t status)
{
    v->refused++;
    respond(v, r->id, status, 0);
}

static bool is_set_address(const struct usb_host_request *q)
{
    return q->type == USB_HOST_CONTROL && q->setup[0] == 0 && q->setup[1] == REQUEST_SET_ADDRESS;
}

/* The address is of the guest's bus, where the device is alone. */
static void set_address(struct vusb *v, struct vusb_port *port, const struct usbif_urb_request *r,
                        const struct usb_host_request *q)
{
    unsigned address = load_le16(q->setup + 2);

    if (address > USB_ADDRESS_MAX) {
        refuse(v, r, USBIF_STATUS_STALL);
    } else {
        port->address = (uint8_t)address;
        respond(v, r->id, USBIF_STATUS_OK, 0);
    }
}

/* False: the device cannot take it now. */
static bool run_submit(struct vusb *v, const struct usbif_urb_request *r)
{
    struct vusb_port *port = find_port(v, r->pipe);
    struct usb_host_request q;
    int32_t status;
    int slot;

    if (!port) {
        refuse(v, r, USBIF_STATUS_NODEV);
        return true;
    }
    if (!translate(r, &q) || !segments_hold(r, q.length)) {
        refuse(v, r, USBIF_STATUS_INVAL);
        return true;
    }
    if (is_set_address(&q)) {
        set_address(v, port, r, &q);
        return true;
    }
    slot = usb_host_take(port->host);
    if (slot < 0) {
        if (slot != -EBUSY) {
            refuse(v, r, USBIF_STATUS_NODEV);
        }
        return slot != -EBUSY;
    }
    status = submit(v, port, (unsigned)slot, r, &q);
    if (status != USBIF_STATUS_OK) {
        usb_host_give(port->host, (unsigned)slot);
        refuse(v, r, status);
    }
    return true;
}

static void run_unlink(struct vusb *v, const struct usbif_urb_request *r)
{
    v->unlinks++;
    for (unsigned i = 0; i < VUSB_URBS; i++) {
        struct vusb_urb *u = &v->urb[i];

        if (u->used && !u->unlinked && u->id == r->u.unlink.unlink_id) {
            u->unlinked = true;
            usb_host_cancel(v->ports[u->port].host, u->slot);
            break;
        }
    }
    respond(v, r->id, USBIF_STATUS_OK, 0);
}

/* The next request of the ring. False: none could be taken. */
static bool run_one(struct vusb *v)
{
    struct usbif_urb_request r;

    if (is_overfull(&v->urbs, waiting(&v->urbs))) {
        pv_fail(&v->dev, "its ring has more requests than it has room for");
        return false;
    }
    if (!take(&v->urbs, &r, sizeof(r))) {
        return false;
    }
    v->urbs.taken++;
    if (usbif_pipeunlink(r.pipe)) {
        run_unlink(v, &r);
    } else if (!run_submit(v, &r)) {
        v->urbs.taken--; /* read again when there is room */
        return false;
    }
    v->requests++;
    return true;
}

static void run_more(void *opaque)
{
    vusb_run(opaque);
}

void vusb_run(struct vusb *v)
{
    static const struct later_kind kind = {.turn = "PV USB", .go_on = run_more};
    unsigned taken = 0;

    while (v->urbs.page && !pv_paused(&v->dev)) {
        if (taken >= TURN_REQUESTS || (taken && turn_is_used_up())) {
            later_ask(&v->more, &kind, v, NULL);
            break;
        }
        if (!run_one(v)) {
            break;
        }
        taken++;
    }
    show_all(v);
}

/* ---- of the devices ---- */

static int32_t status_of(enum usb_host_status status)
{
    static const int32_t of[USB_HOST_STATUSES] = {
        [USB_HOST_OK] = USBIF_STATUS_OK,
        [USB_HOST_STALL] = USBIF_STATUS_STALL,
        [USB_HOST_BABBLE] = USBIF_STATUS_BABBLE,
        [USB_HOST_IO_ERROR] = USBIF_STATUS_IOERROR,
        [USB_HOST_CANCELLED] = USBIF_STATUS_SHUTDOWN,
        [USB_HOST_GONE] = USBIF_STATUS_NODEV,
    };

    return of[status];
}

static struct vusb_urb *find_urb(struct vusb *v, const struct vusb_port *port, unsigned slot)
{
    for (unsigned i = 0; i < VUSB_URBS; i++) {
        struct vusb_urb *u = &v->urb[i];

        if (u->used && u->port == port->number - 1 && u->slot == slot) {
            return u;
        }
    }
    return NULL;
}

/* The slot's data goes to the guest, which may have taken its pages back. */
void vusb_done(struct vusb *v, struct vusb_port *port, unsigned slot, enum usb_host_status status,
               uint32_t length)
{
    struct vusb_urb *u = find_urb(v, port, slot);
    int32_t answer_status = status_of(status);

    if (u) {
        u->used = false;
        length = MIN(length, u->length);
        if (u->in && length && copy(v, u, length, true) < 0) {
            answer_status = USBIF_STATUS_IOERROR;
            length = 0;
        }
        respond(v, u->id, answer_status, length);
    }
    show_all(v);
}

/* ---- plugs and unplugs ---- */

/* False: the front end has no room for an event. */
static bool tell(struct vusb *v, struct vusb_port *port, uint8_t speed)
{
    struct usbif_conn_request r;
    struct usbif_conn_response event = {.portnum = (uint8_t)port->number, .speed = speed};

    if (!take(&v->conns, &r, sizeof(r))) {
        return false;
    }
    v->conns.taken++;
    event.id = r.id;
    answer(&v->conns, &event, sizeof(event));
    port->told = speed;
    port->replaced = false;
    port->address = 0;
    return true;
}

static bool tell_port(struct vusb *v, struct vusb_port *port)
{
    uint8_t speed = vusb_speed(port);

    if (port->told != USBIF_SPEED_NONE && (port->replaced || port->told != speed) &&
        !tell(v, port, USBIF_SPEED_NONE)) {
        return false;
    }
    return port->told == speed || tell(v, port, speed);
}

void vusb_tell(struct vusb *v)
{
    if (!v->conns.page || pv_paused(&v->dev)) {
        return;
    }
    if (is_overfull(&v->conns, waiting(&v->conns))) {
        pv_fail(&v->dev, "its ring of events has more requests than it has room for");
        return;
    }
    for (unsigned i = 0; i < v->count; i++) {
        if (!tell_port(v, &v->ports[i])) {
            break;
        }
    }
    show_all(v);
}
