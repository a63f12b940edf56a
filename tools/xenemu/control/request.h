/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accesses by name. */
#ifndef XENEMU_REQUEST_H
#define XENEMU_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/hvm/ioreq.h>

struct cmd;

/* An access as its words say: in*, out*, read*, write*, ins, outs, pciread, pciwrite. */
bool request_parse(struct cmd *c, ioreq_t *req);

#endif
