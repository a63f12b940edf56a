/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * console: the PV consoles that the toolstack gives to the device model (`type` ioemu), which are
 * its channels. Xen's io/console.h, docs/misc/console.txt, libxl's keys (toolstack.md 3.4). The
 * first console of a guest is xenconsoled's.
 *
 * The other end is a character back end of the command line, which `output` names. Bytes that it
 * has no room for stay in the guest's ring, bytes that the guest has no room for stay with the
 * host; of somebody who is not there, a pty without reader, all is lost, as on a cable that is not
 * plugged in.
 *
 * Left out: outputs without a back end of the command line (`pty`, `file:…`), which libxl writes
 * for stub domains of qemu-xen-traditional only.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <xen/xen.h>
#include <xen/io/console.h>

#include <xendm/backend.h>
#include <xendm/chardev.h>
#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/handover.h>

#include "internal.h"

#define CHARDEV_PREFIX "chardev:"

struct console {
    struct pv_device dev;
    struct chardev *end; /* NULL: none, or not found */
    struct xencons_interface *ring;
    uint32_t in_prod, out_cons; /* ours; what stands in the page is for the front end */
    bool stalled;               /* the other end has no room: it says when */
    uint64_t bytes_in, bytes_out;
};

static struct console *console_of(struct pv_device *dev)
{
    return (struct console *)dev;
}

/* ---- to the host ---- */

/* What is in the ring is copied once; false: the front end's index is nonsense. */
static bool copy_out(const struct console *c, uint8_t *buf, uint32_t *len)
{
    uint32_t prod = __atomic_load_n(&c->ring->out_prod, __ATOMIC_ACQUIRE);

    *len = prod - c->out_cons;
    if (*len > sizeof(c->ring->out)) {
        return false;
    }
    for (uint32_t i = 0; i < *len; i++) {
        buf[i] = (uint8_t)c->ring->out[MASK_XENCONS_IDX(c->out_cons + i, c->ring->out)];
    }
    return true;
}

static void run_out(struct console *c)
{
    uint8_t buf[sizeof(c->ring->out)];
    uint32_t len, done;

    if (!c->ring || c->stalled || pv_paused(&c->dev)) {
        return;
    }
    if (!copy_out(c, buf, &len)) {
        pv_fail(&c->dev, "its ring has more bytes than it has room for");
        return;
    }
    if (len == 0) {
        return;
    }
    done = (uint32_t)chardev_write(c->end, buf, len);
    c->stalled = done < len;
    c->out_cons += done;
    c->bytes_out += done;
    if (done > 0) {
        __atomic_store_n(&c->ring->out_cons, c->out_cons, __ATOMIC_RELEASE);
        pv_notify(&c->dev);
    }
}

static void on_writable(void *opaque)
{
    struct console *c = opaque;

    c->stalled = false;
    run_out(c);
}

/* ---- from the host ---- */

/* The front end's index is its own affair: what is no room is none. */
static size_t on_can_receive(void *opaque)
{
    const struct console *c = opaque;
    uint32_t used;

    if (!c->ring || pv_paused(&c->dev)) {
        return 0;
    }
    used = c->in_prod - __atomic_load_n(&c->ring->in_cons, __ATOMIC_ACQUIRE);
    return used <= sizeof(c->ring->in) ? sizeof(c->ring->in) - used : 0;
}

static void on_receive(void *opaque, const uint8_t *buf, size_t len)
{
    struct console *c = opaque;

    for (size_t i = 0; i < len; i++) {
        c->ring->in[MASK_XENCONS_IDX(c->in_prod + i, c->ring->in)] = (char)buf[i];
    }
    c->in_prod += (uint32_t)len;
    c->bytes_in += len;
    __atomic_store_n(&c->ring->in_prod, c->in_prod, __ATOMIC_RELEASE);
    pv_notify(&c->dev);
}

static const struct chardev_frontend frontend = {
    .can_receive = on_can_receive,
    .receive = on_receive,
    .writable = on_writable,
};

/* ---- as a PV device ---- */

/* Else it is xenconsoled's. */
static bool console_ours(struct pv_device *dev)
{
    g_autofree char *type = pv_read(dev, true, "type");

    return g_strcmp0(type, "ioemu") == 0;
}

static int find_end(struct console *c, const char *id, GError **err)
{
    struct backend *b = backend_find(pv_host(&c->dev)->backends, BACKEND_CHAR, id);

    if (!b || b->user || (chardev_of(b) != c->end && chardev_has_frontend(chardev_of(b)))) {
        g_set_error(err, XENDM_ERROR, b ? EBUSY : ENOENT, "the character device '%s' %s", id,
                    b ? "has another front end" : "is not there");
        return b ? -EBUSY : -ENOENT;
    }
    c->end = chardev_of(b);
    return 0;
}

/* For whoever asks the toolstack where the other end is. */
static void write_tty(struct console *c)
{
    const char *name = chardev_filename(c->end);

    if (g_str_has_prefix(name, "pty:")) {
        pv_write_front(&c->dev, "tty", name + strlen("pty:"));
    }
}

/*
 * The character device that an output names, or NULL. "pty" is what libxl writes for a channel on
 * one; the command line has made it, as libxl-channelN, when we still could.
 */
static char *end_of_output(const struct pv_device *dev, const char *output)
{
    if (g_strcmp0(output, "pty") == 0) {
        return g_strdup_printf("libxl-channel%u", dev->devid);
    }
    return output && g_str_has_prefix(output, CHARDEV_PREFIX)
               ? g_strdup(output + strlen(CHARDEV_PREFIX))
               : NULL;
}

static int console_offer(struct pv_device *dev, GError **err)
{
    struct console *c = console_of(dev);
    g_autofree char *output = pv_read(dev, true, "output");
    g_autofree char *id = end_of_output(dev, output);
    int rc;

    if (!id) {
        g_set_error(err, XENDM_ERROR, ENOTSUP, "its output '%s' is none that is served",
                    output ? output : "");
        return -ENOTSUP;
    }
    rc = find_end(c, id, err);
    if (rc == 0) {
        write_tty(c);
    }
    return rc;
}

static int console_connect(struct pv_device *dev, GError **err)
{
    uint32_t ref = 0, port = 0;
    int rc = pv_read_u32(dev, "ring-ref", &ref, err);

    rc = rc ? rc : pv_read_u32(dev, "port", &port, err);
    return rc ? rc : pv_attach(dev, &ref, 1, port, err);
}

static int console_attached(struct pv_device *dev, const struct handover *from, const char *group,
                            GError **err)
{
    struct console *c = console_of(dev);

    if (!c->end) {
        g_set_error(err, XENDM_ERROR, ENOENT, "it has no other end");
        return -ENOENT;
    }
    c->ring = dev->ring;
    c->stalled = false;
    if (from) {
        c->in_prod = (uint32_t)handover_int(from, group, "in", 0);
        c->out_cons = (uint32_t)handover_int(from, group, "out", 0);
    } else { /* a front end that has lived with another back end goes on where that was */
        c->in_prod = __atomic_load_n(&c->ring->in_prod, __ATOMIC_RELAXED);
        c->out_cons = __atomic_load_n(&c->ring->out_cons, __ATOMIC_RELAXED);
    }
    chardev_set_frontend(c->end, &frontend, c);
    return 0;
}

static void console_event(struct pv_device *dev)
{
    struct console *c = console_of(dev);

    pv_unmask(dev); /* before the look at the ring: what comes behind it rings again */
    chardev_accept_input(c->end);
    run_out(c);
}

static void console_disconnect(struct pv_device *dev)
{
    struct console *c = console_of(dev);

    c->ring = NULL;
    chardev_set_frontend(c->end, NULL, NULL);
}

/* ---- live update ---- */

static void console_hand_over(const struct pv_device *dev, struct handover *to, const char *group)
{
    const struct console *c = (const struct console *)dev;

    if (c->end) {
        handover_put_text(to, group, "chardev", chardev_label(c->end));
    }
    handover_put_int(to, group, "in", c->in_prod);
    handover_put_int(to, group, "out", c->out_cons);
}

static int console_take_over(struct pv_device *dev, const struct handover *from, const char *group,
                             GError **err)
{
    g_autofree char *id = handover_text(from, group, "chardev");

    return id ? find_end(console_of(dev), id, err) : 0;
}

static void console_describe(const struct pv_device *dev, struct facts *to)
{
    const struct console *c = (const struct console *)dev;

    fact_text(to, "character device", "%s", c->end ? chardev_label(c->end) : "");
    fact_int(to, "bytes to the guest", (int64_t)c->bytes_in);
    fact_int(to, "bytes of the guest", (int64_t)c->bytes_out);
    fact_bool(to, "waits for room", c->stalled);
}

const struct pv_class pv_console_class = {
    .kind = "console",
    .size = sizeof(struct console),
    .ours = console_ours,
    .offer = console_offer,
    .connect = console_connect,
    .take_over = console_take_over,
    .attached = console_attached,
    .event = console_event,
    .disconnect = console_disconnect,
    .hand_over = console_hand_over,
    .describe = console_describe,
};
