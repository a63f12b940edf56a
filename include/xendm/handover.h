/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a process hands on to the program that takes its place (live update): a manifest of named
 * values in a memfd, and descriptors, which are named in it by number. docs/live-update.md has the
 * names and what they mean.
 *
 * Values of any bytes are stored in base64, so that a file name with a line end stays one value.
 */
#ifndef DM_HANDOVER_H
#define DM_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#define HANDOVER_FORMAT 1 /* a manifest of another format is refused */

struct handover;

struct handover *handover_new(void);
void handover_free(struct handover *h); /* the descriptors stay open */

/* Reads from the start of `fd`, which stays open. Marks every descriptor named as close-on-exec. */
struct handover *handover_read(int fd, GError **err);

/* Into a new memfd; -1 with err. */
int handover_write(const struct handover *h, GError **err);

/* Group names: "drive 0". `fd` may be -1: then nothing is stored. */
void handover_put_fd(struct handover *h, const char *group, const char *key, int fd);
void handover_put_int(struct handover *h, const char *group, const char *key, int64_t value);
void handover_put_bytes(struct handover *h, const char *group, const char *key, const void *data,
                        size_t len);
void handover_put_text(struct handover *h, const char *group, const char *key, const char *text);
void handover_remove(struct handover *h, const char *group, const char *key);

bool handover_has(const struct handover *h, const char *group);
/* -1 when it is not there; else the caller's, close-on-exec. */
int handover_fd(const struct handover *h, const char *group, const char *key);
int64_t handover_int(const struct handover *h, const char *group, const char *key, int64_t def);
/* NULL when it is not there; g_free(). A NUL follows the data. */
uint8_t *handover_bytes(const struct handover *h, const char *group, const char *key, size_t *len);
char *handover_text(const struct handover *h, const char *group, const char *key);

/* The descriptors named, for exec: fcntl() only, so that a signal handler may call it. */
void handover_set_inheritable(const struct handover *h, bool on);

#endif
