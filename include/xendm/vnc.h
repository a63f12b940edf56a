/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VNC: the screen, keys and pointer for viewers on the network. This process opens the sockets on
 * which viewers arrive and never reads from one. A keeper process (libexec, xendm-vnc) accepts and
 * starts a server process (xendm-vnc-server) for each viewer, which gets the connection, the pixels
 * as shared memory that it cannot write, and a message socket to us (backends/vnc/wire.h). It has
 * no rights on Xen or files. A viewer that is hostile or slow, and the crash of its server, cost
 * that viewer its picture. Without viewers there is the keeper, asleep.
 *
 *   vnc_open (before privileges are dropped) → vnc_attach (machine is built) → … → vnc_free
 */
#ifndef XENDM_VNC_H
#define XENDM_VNC_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

struct display;
struct input;
struct handover;
struct vnc;

/* What QMP calls VncClientInfo. Texts are numeric; "" for a UNIX socket. */
struct vnc_client {
    char host[64], service[32];
    const char *family; /* "ipv4", "ipv6", "unix" */
    bool websocket;
    bool initialized; /* past password and hello */
};

/* Each may be NULL. QMP events VNC_CONNECTED, VNC_INITIALIZED, VNC_DISCONNECTED. */
struct vnc_events {
    void (*connected)(void *opaque, const struct vnc_client *client);
    void (*initialized)(void *opaque, const struct vnc_client *client);
    void (*disconnected)(void *opaque, const struct vnc_client *client);
};

struct vnc_config {
    const char *options;    /* of -vnc, as given: HOST:DISPLAY[,password=on][,to=N]… */
    const char *guest_name; /* for viewers' titles */
    const char *keymap;     /* of -k: "de"; NULL: "en-us" */
};

/* Would vnc_open() understand it? Opens nothing. 0 or -EINVAL, naming option and value. */
int vnc_check(const struct vnc_config *config, GError **err);
struct vnc *vnc_open(const struct vnc_config *config, const struct handover *from, GError **err);
void vnc_free(struct vnc *v); /* viewers go, the keeper ends */
/* Another program has them now: only our descriptors are closed. */
void vnc_let_go(struct vnc *v);
void vnc_attach(struct vnc *v, struct display *display, struct input *input);
void vnc_set_events(struct vnc *v, const struct vnc_events *events, void *opaque);
void vnc_hand_over(const struct vnc *v, struct handover *to); /* viewers stay connected */

/*
 * The password, of which VNC uses eight bytes. Needed when the options said password=on: until it
 * is set nobody gets in. -EINVAL: the options did not ask for one.
 */
int vnc_set_password(struct vnc *v, const char *password, GError **err);
#define VNC_NEVER INT64_MAX
void vnc_expire_password(struct vnc *v, int64_t when); /* seconds since 1970 */
bool vnc_has_auth(const struct vnc *v);

/* Where it listens: the first socket, and each. `websocket`: browsers only. */
struct vnc_address {
    char host[64], service[32];
    const char *family;
    bool websocket;
};
unsigned vnc_addresses(const struct vnc *v);
void vnc_address(const struct vnc *v, unsigned i, struct vnc_address *out);
void vnc_foreach_client(const struct vnc *v,
                        void (*fn)(void *opaque, const struct vnc_client *client), void *opaque);

#endif
