/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A proxy before xenstored; see xenstore-proxy.c. */
#ifndef XENEMU_XENSTORE_PROXY_H
#define XENEMU_XENSTORE_PROXY_H

struct host;

int xsproxy_start(struct host *h, const char *real, const char *front);

#endif
