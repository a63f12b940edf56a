/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to hw/virtio: serial.c, the device with its queues, and serial-port.c, what is in it. */
#ifndef HW_VIRTIO_SERIAL_H
#define HW_VIRTIO_SERIAL_H

#include <xendm/bus.h>
#include <xendm/chardev.h>

#include "virtio.h"

#define SERIAL_PORTS 31u /* at most: two queues each, and two for all */
#define SERIAL_NAME_MAX 255u
#define SERIAL_NR_AUTO UINT32_MAX

struct serial;

/* -device virtconsole, -device virtserialport. */
struct serial_port {
    struct device dev; /* first */
    /* properties */
    uint32_t nr;
    char *name;
    struct chardev *chardev; /* NULL: it goes nowhere */

    struct serial *serial; /* NULL: not in it, or not any more */
    uint64_t bytes_in, bytes_out;
};

/*
 * What the driver was told of a number, and said of it. What it has still to be told is no list,
 * but where this differs from what is: a driver without buffers for messages loses none, and costs
 * no memory.
 */
struct serial_slot {
    struct serial_port *port; /* that is in it now, or NULL */
    bool waits;               /* its host has no room: it says when */

    bool added;       /* told that it is there */
    bool gone;        /* what it was told of is not: to be said first */
    bool ready;       /* the driver has it */
    bool typed;       /* told that it is a console */
    bool named;       /* told its name */
    bool open;        /* told that the host's end is open */
    bool flapped;     /* … which was closed and opened again since */
    bool driver_open; /* the driver's end is */
    uint16_t cols, rows;
    uint64_t sent; /* bytes of the first chain of its output that the host has */
};

struct serial {
    struct virtio virtio; /* first */
    /* properties */
    uint32_t max_ports;
    bool emergency, sizes;

    struct bus bus;
    char *bus_id;
    uint32_t slots; /* max_ports of them */
    struct serial_slot slot[SERIAL_PORTS];
    bool ready; /* the driver asked which ports there are */
};

bool serial_port_is_console(const struct serial_port *p);
/* Somebody is at the host's end, for whom the driver's bytes are. */
bool serial_port_connected(const struct serial_port *p);
bool serial_port_size(const struct serial_port *p, uint16_t *cols, uint16_t *rows);

extern const struct bus_class serial_bus_class;
void serial_bus_init(struct serial *s);
void serial_bus_fini(struct serial *s);

/* The driver has a word to hear, or the host's room is back. */
void serial_tell(struct serial *s);
void serial_output(struct serial *s, unsigned nr);
/* Bytes of the first buffer for what comes of port `nr`; 0: it waits. */
size_t serial_room(struct serial *s, unsigned nr);
void serial_input(struct serial *s, unsigned nr, const uint8_t *buf, size_t len);

#endif
