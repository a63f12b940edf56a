/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live update: another program goes on under a running guest. docs/live-update.md has the whole
 * story and the manifest.
 *
 * In short: the new program is started beside us. A twin of it builds itself a machine from a copy
 * of our state and says whether it could, and it itself one without state; then our machine stands
 * still, and the new program gets the state and everything that is open. Only when it has said
 * "serving" do we let go. Until then we are all there, and go on whatever becomes of it. Afterwards
 * the first process of all stays as the keeper of the process id that the toolstack knows: it
 * passes signals on, and ends with the one that serves.
 *
 * This room knows processes, sockets and the order of things. What is handed on, it does not know.
 */
#ifndef DM_UPDATE_H
#define DM_UPDATE_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

struct handover;

/* ---- the program that goes ---- */

struct update_ops {
    /*
     * Nothing of this is told to anybody. `still` is called, maybe inside, when no I/O is in flight
     * any more; go_on also takes back a wish to stand still that was not fulfilled yet.
     */
    void (*stand_still)(void *opaque, void (*still)(void *arg), void *arg);
    void (*go_on)(void *opaque);
    /* While it stands still. The state, written to `fd`. */
    int (*save)(void *opaque, int fd, GError **err);
    /* All but "update". `check`: for the twin, and early: without what has one owner. */
    int (*hand_over)(void *opaque, bool check, struct handover *h, GError **err);
    /* What Xen forwards to us, as text. g_free(). */
    char *(*ranges)(void *opaque);
    /* Xen forwards what the successor wants, or (NULL) what we do. */
    int (*forward)(void *opaque, const char *ranges, GError **err);
    /* Looks for signals; true: the process is to end. */
    bool (*is_ending)(void *opaque);
    /* The successor serves: what is mapped is to go, Xen and the toolstack are not told. */
    void (*let_go)(void *opaque);
    /* It failed and is freed; this program goes on. Takes the error over. */
    void (*failed)(void *opaque, GError *err);
};

struct update_request {
    const char *binary; /* a path; with a socket: its name for the log */
    int socket;         /* of a program that somebody started for us; taken over. -1: we do */
    int signal_fd;      /* readable when is_ending() is to be asked */
    int keeper;         /* where the process stands that the toolstack knows; -1: that is us */
};

struct update;
/* NULL with err: it could not be started. */
struct update *update_new(const struct update_ops *ops, void *opaque,
                          const struct update_request *request, GError **err);
/* Goes its way; does not return when the new program serves at once. */
void update_begin(struct update *u);
/* The process ends: the new program is killed, failed() is not called. NULL is no update. */
void update_cancel(struct update *u);

/* ---- the program that comes ---- */

struct arrival;

/*
 * First thing in main(): NULL without error when the command line does not say --update-from. Forks
 * the twin: from here on this may be one.
 */
struct arrival *update_arrive(int argc, char **argv, GError **err);
/* Says why not, and ends the process. */
void update_refuse(struct arrival *a, const char *why) __attribute__((noreturn));
bool update_is_twin(const struct arrival *a);

/*
 * All is open that needs a name, and privileges are dropped: waits for what is left to us. It may
 * be early: without what has one owner, and with the rest as it was at that time, which is good to
 * build from. When that is done update_receive_rest() waits for the whole, where all that was good
 * to build from is the same; what was received before is gone. If it was whole, it is the result.
 */
const struct handover *update_receive(struct arrival *a, GError **err);
const struct handover *update_receive_rest(struct arrival *a, GError **err);

struct update_result {
    char *binary;
    int64_t check_us, pause_us, total_us;
};

/*
 * All is built and loaded; the twin ends here. Waits for the word if there is one to wait for, says
 * that it serves, and returns: now it does. `ranges`: what it wants forwarded, as text. A
 * descriptor for update_watch().
 */
int update_take_over(struct arrival *a, const char *ranges);
/* The guest goes on. Frees the arrival and what was received. */
void update_end(struct arrival *a, struct update_result *result);

/* ---- the process that the toolstack knows ---- */

/*
 * Stays: passes signals on to who serves, ends with it. Closes everything else. `ending`: one that
 * ends was heard already.
 */
void update_keep(int keeper, int signal_fd, bool ending) __attribute__((noreturn));

/* For who serves: `end` when the keeper is gone or was told to end, `dump` for SIGUSR1. */
void update_watch(int keeper, void (*end)(void *opaque, const char *why),
                  void (*dump)(void *opaque), void *opaque);

#endif
