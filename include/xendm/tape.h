/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tape: everything that enters the emulated machine and everything that it answers, in order,
 * so that the same machine can be given the same again, somewhere else, and be compared
 * (docs/recording.md). The flight recorder (recorder.h) is something else: it is always on, and has
 * no values of what devices read.
 *
 * Two sorts of entries. An *event* comes from outside and makes the machine do something: an access
 * of the guest's, a timer that is due, a disk request that is done, a byte for the UART. *Facts*
 * happen inside of an event: what a device asked its surroundings for (guest memory, a sector) is
 * given back to it in a replay, what it told them (an interrupt, a write) is compared.
 *
 * Whoever implements a contract between the machine and the rest calls this, in recording and in
 * replay alike: tape_fact() writes down what there is, or compares it and fills in what the tape
 * has. So each place says once what it lets through. It costs one branch where nothing is recorded.
 *
 * The virtual clock stands still inside an event, so that how often a device asks for the time
 * makes no difference.
 *
 * A fact outside of every event has a cause that is not recorded: the recording ends there, loudly.
 */
#ifndef XENDM_TAPE_H
#define XENDM_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <glib.h>

enum tape_mode {
    TAPE_OFF,
    TAPE_RECORDS,
    TAPE_PLAYS,
};
extern enum tape_mode tape_mode;

static inline bool tape_on(void)
{
    return __builtin_expect(tape_mode != TAPE_OFF, 0);
}

static inline bool tape_plays(void)
{
    return __builtin_expect(tape_mode == TAPE_PLAYS, 0);
}

/* The order is that of the file: new ones go to the end. */
enum tape_kind {
    TAPE_END = 1, /* the recording ended in good order; text: why */
    /* events */
    TAPE_START, /* of the machine: devices resume */
    TAPE_STOP,
    TAPE_PIO_READ,
    TAPE_PIO_WRITE,
    TAPE_PIO_PAYLOAD, /* a write to where payload goes (struct region) */
    TAPE_MMIO_READ,
    TAPE_MMIO_WRITE,
    TAPE_MMIO_PAYLOAD,
    TAPE_CFG_READ,
    TAPE_CFG_WRITE,
    TAPE_PIO_IN, /* units of a string instruction in one call */
    TAPE_PIO_OUT,
    TAPE_TIMERS,
    TAPE_BLOCK_DONE,
    TAPE_CHAR_IN,
    TAPE_CHAR_EVENT,
    TAPE_CHAR_ROOM,
    TAPE_KEY,
    TAPE_KEYS,
    TAPE_RELATIVE,
    TAPE_ABSOLUTE,
    TAPE_BUTTON,
    TAPE_SYNC,
    TAPE_GOES_ON, /* a device's work that was left for a later turn; text: its id */
    /* facts */
    TAPE_ANSWER,
    TAPE_PAYLOAD_ANSWER,
    TAPE_HIDDEN_ANSWER, /* scrubbed: any will do */
    TAPE_UNITS,         /* how many were done */
    TAPE_DMA_READ,
    TAPE_DMA_WRITE,
    TAPE_WINDOW_READ,
    TAPE_WINDOW_WRITE,
    TAPE_LIST_ADD,
    TAPE_LIST_GET,
    TAPE_LIST_PUT,
    TAPE_READ_NOW,
    TAPE_SUBMIT,
    TAPE_VIDEO_READ,
    TAPE_LATE, /* whether work has to be left for a later turn */
    TAPE_CHAR_OUT,
    TAPE_CARRIER,
    TAPE_IRQ,
    TAPE_INTX,
    TAPE_LINK,
    TAPE_MSI,
    TAPE_SHUTDOWN,
    TAPE_SLEEP,
    /* of a network (events, then facts) */
    TAPE_NET_ASK,  /* the host asks whether the card has room */
    TAPE_NET_IN,   /* … has a frame for it */
    TAPE_NET_SENT, /* … has room again, after -EAGAIN */
    TAPE_NET_LINK,
    TAPE_NET_ROOM,
    TAPE_NET_TAKEN,
    TAPE_NET_OUT,
    TAPE_NET_CABLE,
    TAPE_LIST_HEADERS, /* as TAPE_LIST_GET, of a frame's headers */
    TAPE_SOUND,
    TAPE_FILE_READ,   /* of a kernel */
    TAPE_FILE_COPIED, /* … straight into guest memory */
    TAPE_LIMITS,      /* of a disk of the host's */
    /* as TAPE_DMA_READ, where the device knows what it is */
    TAPE_DMA_STRUCTURE,
    TAPE_DMA_HEADERS, /* a frame's beginning */
    TAPE_DMA_PAYLOAD,
    TAPE_RANDOM,
    TAPE_CHAR_ASK,  /* event: the host asks whether there is room, of a device that has to look */
    TAPE_CHAR_SIZE, /* of a terminal */
    TAPE_P9_DONE,   /* event: a message of a directory's is answered */
    TAPE_P9_TAKE,
    TAPE_P9_SEND,
    TAPE_KINDS
};

/* The head of a recording's file (docs/recording.md). */
#define TAPE_FILE_MAGIC "XENDMREC"
#define TAPE_FILE_VERSION 1u
#define TAPE_FILE_ORDER 0x01020304u

#define TAPE_NUMBERS 6u
#define TAPE_TEXT_MAX 255u
#define TAPE_DATA_MAX (16u << 20)
#define TAPE_PLAIN_MAX 32u /* what is longer and only to be compared is kept as a digest */
#define TAPE_DIGEST 8u
#define TAPE_ERRNO_MAX 4095u

enum tape_data {
    TAPE_NO_DATA,
    TAPE_GIVEN, /* to the machine */
    TAPE_MADE,  /* by the machine: compared */
};

struct tape_kind_info {
    const char *name;
    bool event;
    bool text;
    unsigned asked; /* bit n: number n is an answer to the machine, not compared */
    enum tape_data data;
    bool payload; /* the data is, or may be, what a user typed, sent or stored */
    const char *number[TAPE_NUMBERS]; /* NULL: no more */
};
/* NULL: there is no such kind. */
const struct tape_kind_info *tape_kind_info(unsigned kind);

struct tape_entry {
    unsigned kind;
    uint64_t time; /* of events: ns of the virtual clock */
    uint64_t number[TAPE_NUMBERS];
    char text[TAPE_TEXT_MAX + 1];
    size_t len; /* of the data; of TAPE_MADE ones above TAPE_PLAIN_MAX only the digest is there */
    const uint8_t *data; /* not copied; NULL when hidden or empty */
    bool hidden;         /* scrubbed: given as zeros, or made as anything */
};

size_t tape_stored(const struct tape_entry *e); /* bytes at `data` */
/* Appends it. *time is that of the event before. */
void tape_encode(GByteArray *to, const struct tape_entry *e, uint64_t *time);
/*
 * Bytes of the entry at `p`; its data stay there. 0: it is not whole; -1: it is damaged. Any bytes
 * may be there.
 */
int64_t tape_decode(const uint8_t *p, size_t left, struct tape_entry *e, uint64_t *time);
char *tape_entry_text(const struct tape_entry *e); /* a line for people; g_free() */

/* ---- for who implements a contract; only while tape_on(), unless they say so ---- */

/* Inside of an event. */
bool tape_inside(void);

/*
 * Begins an event; tape_end_event() follows if this is true. False, in a replay only: it is not on
 * the tape now, and must not happen. Inside of another it is no event of its own. `n`: the kind's
 * numbers, or NULL for none; `text` likewise.
 */
bool tape_begin_event(enum tape_kind kind, const char *text, const uint64_t *n, const void *data,
                      size_t len);
void tape_end_event(void);

/*
 * The two around what an event does, recorded or not: one branch each. False is only for who may
 * leave it for later; others go on, and tape_leave() is harmless then.
 */
static inline bool tape_enter(enum tape_kind kind, const char *text, const uint64_t *n,
                              const void *data, size_t len)
{
    return !tape_on() || tape_begin_event(kind, text, n, data, len);
}

static inline void tape_leave(void)
{
    if (tape_on()) {
        tape_end_event();
    }
}

/*
 * Says what happens. In a replay the numbers that are answers, and data that are given, are filled
 * in; `len` is then what there is room for. Returns how many bytes there are.
 */
size_t tape_fact(enum tape_kind kind, const char *text, uint64_t *n, void *data, size_t len);

/* Which vCPU's access comes next, for the reader. */
extern unsigned tape_vcpu;
/*
 * The vector that was last made of guest memory itself, while that lasts: its bytes do not go
 * through the machine.
 */
extern const struct iovec *tape_guest_iov;
extern unsigned tape_guest_pieces;

/* Something comes in that has no kind of entry: a recording ends there. */
void tape_unrecorded(const char *what);

/* TAPE_LATE. Whether to stop here: what is so, or in a replay what was so. */
bool tape_was_late(bool late);
static inline bool tape_late(bool late)
{
    return tape_on() ? tape_was_late(late) : late;
}

/* ---- for dm/tape ---- */

struct tape_clock {
    int64_t (*now)(void *opaque);
    void (*freeze)(void *opaque, int64_t now);
    void (*thaw)(void *opaque);
    void *opaque;
};

/*
 * From here on entries are appended to `out`. `grown` is called after events, outside of all;
 * `lost` once, when something came in that is not recorded: nothing is appended then.
 */
struct tape_recorder {
    struct tape_clock clock;
    GByteArray *out;
    void (*grown)(void *opaque);
    void (*lost)(void *opaque, const char *what);
    void *opaque;
};
void tape_record(const struct tape_recorder *to);
void tape_stop_recording(const char *why); /* appends TAPE_END */
uint64_t tape_entries(void);               /* recorded or played */

/*
 * Neither returns. `ended`: all was played that there is, maybe inside of an event, of a recording
 * that was cut.
 */
struct tape_player {
    void (*freeze)(void *opaque, int64_t now);
    const uint8_t *data;
    size_t len;
    void (*differs)(void *opaque, const char *expected, const char *got) __attribute__((noreturn));
    void (*ended)(void *opaque) __attribute__((noreturn));
    void *opaque;
};
void tape_play(const struct tape_player *from);
/* The event that is next. At the end the player's `ended` is called. */
void tape_next_event(struct tape_entry *e);
/* That one begins, and is the caller's to do; tape_end_event() follows. */
void tape_take_event(void);
/* What the player cannot do as the tape has it. */
void tape_cannot(const char *why) __attribute__((noreturn));

#endif
