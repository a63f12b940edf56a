/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon and the server of an exported directory (xendm-p9) say to each other: whole
 * messages on a socket, and the messages of 9P in memory that both have. The first is P9_WIRE_HELLO
 * with that memory: slots of P9_SLOT_SIZE bytes. Then each is a slot with a request in it, and the
 * same slot with the answer comes back. Neither trusts the other: the server is told by a guest
 * what to do, the daemon may be in a guest's hands.
 */
#ifndef BACKENDS_P9_WIRE_H
#define BACKENDS_P9_WIRE_H

#include <stdint.h>

#include <xendm/p9.h>

#define P9_WIRE_HELLO 0x39506865u

struct p9_wire {
    uint32_t slot;   /* HELLO: the number above */
    uint32_t length; /* bytes of the message; HELLO: of the memory */
    uint32_t limit;  /* of a request: what the answer may have */
    uint32_t reserved;
};

#endif
