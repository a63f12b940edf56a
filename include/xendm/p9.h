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

struct facts;
struct handover;
struct p9_link;
struct p9_mount;
struct tape_entry;
struct p9_share; /* embeds struct backend, of kind BACKEND_FSDEV: -fsdev */

#define P9_SLOTS 16u
#define P9_SLOT_SIZE (512u << 10) /* bytes: no message is larger */
#define P9_MESSAGE_MIN 7u         /* size[4] type[1] tag[2], and nothing else */
#define P9_LIMIT_MIN 4096u        /* what an answer may have, at least */

#define P9_VERSION 100u /* the type of a message with which a guest begins anew */
#define P9_FAILURE_BYTES 11u

/* A directory, and how it is served: security model none, passthrough, mapped or mapped-xattr. */
struct p9_tree {
    char *path, *model;
    bool read_only;
};

bool p9_model_known(const char *model);

/* ---- what a guest mounts: for who carries the messages ---- */

struct p9_mount_user {
    /* The answer is in the slot, which stays the user's until it is given. */
    void (*answered)(void *opaque, unsigned slot, uint32_t length);
    /* p9_mount_take() said -EBUSY: try again, soon. */
    void (*room)(void *opaque);
};

/* There is no server yet. Copies `tree`. `user` NULL: answers are dropped. */
struct p9_mount *p9_mount_new(const struct p9_tree *tree, const struct p9_mount_user *user,
                              void *opaque);
void p9_mount_free(struct p9_mount *m); /* its server ends with it; NULL is allowed */
void p9_mount_set_user(struct p9_mount *m, const struct p9_mount_user *user, void *opaque);
/* A server, if there is none. */
int p9_mount_start(struct p9_mount *m, GError **err);
/* No server any more, and nothing of it. */
void p9_mount_end(struct p9_mount *m);
bool p9_mount_served(const struct p9_mount *m);

/*
 * A slot for a message with that header (P9_MESSAGE_MIN bytes). -EBUSY: not now. -EIO: the server
 * is gone, and the guest does not begin anew: p9_mount_refuse() has what is to be answered.
 */
int p9_mount_take(struct p9_mount *m, const uint8_t *header);
uint32_t p9_mount_refuse(struct p9_mount *m, const uint8_t *header, uint8_t *answer);
/* The message is in the slot, which is the server's until its answer, of at most `limit` bytes. */
void p9_mount_send(struct p9_mount *m, unsigned slot, uint32_t length, uint32_t limit);
void p9_mount_give(struct p9_mount *m, unsigned slot);
/* Somebody has it. */
bool p9_mount_holds(const struct p9_mount *m, unsigned slot);
uint8_t *p9_mount_memory(struct p9_mount *m, unsigned slot);
unsigned p9_mount_in_flight(const struct p9_mount *m);

/* An error, EIO, instead of an answer; its length, P9_FAILURE_BYTES. */
uint32_t p9_failure(uint8_t *to, uint16_t tag);

/* Live update, with nothing in flight. Slots that were taken are so afterwards. */
void p9_mount_hand_over(const struct p9_mount *m, struct handover *to, const char *group);
int p9_mount_take_over(struct p9_mount *m, const struct handover *from, const char *group,
                       GError **err);
void p9_mount_describe(const struct p9_mount *m, struct facts *to);

/*
 * It is the machine's: its messages are recorded, by that name (tape.h). In a replay its server is
 * asked for nothing.
 */
void p9_mount_record(struct p9_mount *m, const char *name);
/* An event of its. False: it cannot be. */
bool p9_mount_play(struct p9_mount *m, const struct tape_entry *e);

struct p9_mount *p9_share_mount(struct p9_share *s);

/* ---- its server, and memory that both have ---- */

struct p9_user {
    /* The answer is in the slot, which stays the user's. */
    void (*answered)(void *opaque, unsigned slot, uint32_t length);
    /* The server is gone, with all fids; what was sent is not answered any more. */
    void (*ended)(void *opaque);
};

/*
 * The process that serves a directory: its socket, or -errno. Where names are given up, by
 * files_serve_tree().
 */
int p9_start_server(const struct p9_tree *tree, GError **err);

/* A server for it, and the memory. NULL with `err`. */
struct p9_link *p9_link_new(const struct p9_tree *tree, const struct p9_user *user, void *opaque,
                            GError **err);
/* The server ends with it, unless another process has it, too (live update). NULL is allowed. */
void p9_link_free(struct p9_link *l);

/* A free slot, or -EBUSY. */
int p9_slot_take(struct p9_link *l);
void p9_slot_give(struct p9_link *l, unsigned slot);
uint8_t *p9_slot_memory(struct p9_link *l, unsigned slot);
/* The slot is the server's until its answer, which has at most `limit` bytes. */
void p9_slot_send(struct p9_link *l, unsigned slot, uint32_t length, uint32_t limit);
uint32_t p9_slots_taken(const struct p9_link *l); /* by bit */

/* Live update, with nothing in flight. Slots that were taken are so afterwards. */
void p9_link_hand_over(const struct p9_link *l, struct handover *to, const char *group);
struct p9_link *p9_link_take_over(const struct handover *from, const char *group,
                                  const struct p9_user *user, void *opaque, GError **err);

#endif
