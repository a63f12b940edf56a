/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recording and replay of the machine (docs/recording.md): the file around the tape (xendm/tape.h).
 *
 * A recording goes into a pipe or socket whose other end somebody reads (xendmctl record): a disk
 * is then his to wait for, and one that is full his to tell of. Whoever does not read fast enough
 * loses the recording, never the guest its device model.
 */
#ifndef DM_TAPE_H
#define DM_TAPE_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

struct facts;
struct machine;

/* What is recorded, and how it stands still meanwhile. */
struct recording_source {
    struct machine *machine; /* NULL: there is none */
    int argc;                /* with what the process was started */
    char **argv;
    /* As for a live update: nobody's business. go_on() only after `still` was called. */
    void (*stand_still)(void *opaque, void (*still)(void *arg), void *arg);
    void (*go_on)(void *opaque);
    void *opaque;
};

/*
 * Begins: the machine stands still for as long as its state takes to be saved, which goes in front.
 * `fd` is taken over. `begun` is called, maybe inside, with an error that is its to free. Refused,
 * by name: a machine that has a part whose inputs are not recorded.
 */
void recording_begin(const struct recording_source *source, int fd, uint64_t limit,
                     void (*begun)(void *opaque, GError *err), void *opaque);
/* Ends it, with a reason for whoever reads it; what is left is still written. Not one: no effect.
 */
void recording_stop(const char *why);
/* The process ends, or becomes another: also what is left of the last one. */
void recording_close(const char *why);
/* Is told when one has ended, for whatever reason. */
struct recording_result {
    const char *why;
    uint64_t bytes, entries;
};
void recording_set_listener(void (*ended)(void *opaque, const struct recording_result *result),
                            void *opaque);
void recording_describe(struct facts *to);
/* When the process dies: what is still in memory. Async-signal-safe. */
void recording_last_words(void);

#define RECORDING_LIMIT_MIN (1u << 20)
#define RECORDING_LIMIT_DEFAULT (64u << 20)

/*
 * Replay: what is behind the saved state, which the machine has loaded. The process ends with it: 0
 * when all was as recorded, REPLAY_DIFFERS at the first difference, of which standard output tells.
 * `trap`: with a breakpoint there, for a debugger.
 */
#define REPLAY_DIFFERS 3
int replay_begin(struct machine *m, int fd, bool trap, GError **err);

#endif
