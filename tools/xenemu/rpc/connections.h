/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections of the drop-in libraries. */
#ifndef XENEMU_CONNECTIONS_H
#define XENEMU_CONNECTIONS_H

struct host;
struct conn;

void conn_new(struct host *h, int fd);
void conn_close(struct host *h, struct conn *c);

#endif
