/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a process hands on to the program that takes its place (live update): a manifest of named
 * values, and descriptors, which are named in it and travel beside it over a UNIX socket.
 * docs/live-update.md has the names and what they mean.
 *
 * Values of any bytes are stored in base64, so that a file name with a line end stays one value.
 */
#ifndef DM_HANDOVER_H
#define DM_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#define HANDOVER_FORMAT 3 /* a manifest of another format is refused */

struct handover;

struct handover *handover_new(void);
/* One that was received closes the descriptors that nobody asked for. */
void handover_free(struct handover *h);

/* `socket`: SOCK_SEQPACKET. Never waits: what is on its way is bounded, so the buffer takes it. */
int handover_send(const struct handover *h, int socket, GError **err);
/* Waits for one. NULL with err; the other end being gone is EPIPE. */
struct handover *handover_receive(int socket, GError **err);

/* Group names: "drive 0". `fd` stays the caller's; -1: then nothing is stored. */
void handover_put_fd(struct handover *h, const char *group, const char *key, int fd);
void handover_put_int(struct handover *h, const char *group, const char *key, int64_t value);
void handover_put_bytes(struct handover *h, const char *group, const char *key, const void *data,
                        size_t len);
void handover_put_text(struct handover *h, const char *group, const char *key, const char *text);

/*
 * What of a manifest that is put together says the same as another one: all groups but those whose
 * name begins so (NULL-terminated); of descriptors, what they are open on. g_free().
 */
char *handover_digest(const struct handover *h, const char *const *but);

bool handover_has(const struct handover *h, const char *group);
/* -1 when it is not there; else the caller's from now on, close-on-exec. */
int handover_fd(const struct handover *h, const char *group, const char *key);
int64_t handover_int(const struct handover *h, const char *group, const char *key, int64_t def);
/* NULL when it is not there; g_free(). A NUL follows the data. */
uint8_t *handover_bytes(const struct handover *h, const char *group, const char *key, size_t *len);
char *handover_text(const struct handover *h, const char *group, const char *key);

#endif
