/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Directories of the host for a guest: a server of 9P2000.L (backends/p9), which is a process of
 * its own, and carries out what the guest asks for. Whoever has a transport to a guest (a ring of
 * Xen's, a queue of virtio's) puts each message into a slot and gets the answer there; messages are
 * the guest's affair and the server's, and are not looked into here.
 *
 * Nothing here waits: a directory on a dead server of the network is the other process's trouble.
 */
#ifndef XENDM_P9_H
#define XENDM_P9_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

struct handover;
struct p9_link;

#define P9_SLOTS 16u
#define P9_SLOT_SIZE (512u << 10) /* bytes: no message is larger */
#define P9_MESSAGE_MIN 7u         /* size[4] type[1] tag[2], and nothing else */
#define P9_LIMIT_MIN 4096u        /* what an answer may have, at least */

struct p9_user {
    /* The answer is in the slot, which stays the user's. */
    void (*answered)(void *opaque, unsigned slot, uint32_t length);
    /* The server is gone, with all fids; what was sent is not answered any more. */
    void (*ended)(void *opaque);
};

/*
 * The process that serves a directory by a security model (none, passthrough, mapped,
 * mapped-xattr): its socket, or -errno. Where names are given up, by files_serve_tree().
 */
int p9_start_server(const char *path, const char *model, GError **err);

/* A server for it, and the memory. NULL with `err`. */
struct p9_link *p9_link_new(const char *path, const char *model, const struct p9_user *user,
                            void *opaque, GError **err);
/* The server ends with it, unless another process has it, too (live update). NULL is allowed. */
void p9_link_free(struct p9_link *l);

/* A free slot, or -EBUSY. */
int p9_slot_take(struct p9_link *l);
void p9_slot_give(struct p9_link *l, unsigned slot);
uint8_t *p9_slot_memory(struct p9_link *l, unsigned slot);
/* The slot is the server's until its answer, which has at most `limit` bytes. */
void p9_slot_send(struct p9_link *l, unsigned slot, uint32_t length, uint32_t limit);
/* Requests without an answer. */
unsigned p9_in_flight(const struct p9_link *l);

/* Live update, with nothing in flight. Slots that were taken are so afterwards. */
void p9_link_hand_over(const struct p9_link *l, struct handover *to, const char *group);
struct p9_link *p9_link_take_over(const struct handover *from, const char *group,
                                  const struct p9_user *user, void *opaque, GError **err);

#endif
