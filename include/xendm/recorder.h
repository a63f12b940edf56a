/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flight recorder: the last RECORDER_SIZE accesses, interrupt changes and DMA transfers, kept in
 * memory always.
 *
 * Noting costs one time-stamp counter read and a 32-byte store. The contents are written out on a
 * failed assertion, a fatal signal, SIGUSR1, or on request (`info recorder`). recorder_dump() is
 * async-signal-safe.
 *
 * What a guest's user typed, sent or stored is not kept: the values of accesses to a region that
 * says so (struct region, `payload`) are left out unless `recorder payload on` was asked for.
 */
#ifndef XENDM_RECORDER_H
#define XENDM_RECORDER_H

#include <stdbool.h>
#include <stdint.h>
#if defined(__x86_64__) || defined(__i386__)
#include <x86intrin.h>
#endif

/* Kinds: enumerator suffix, text in the dump, meaning of (aux, a, b). */
#define RECORDER_KINDS(X) \
    X(PIO_READ, "pio-read")     /* aux: size | vcpu << 8, a: port, b: value returned */ \
    X(PIO_WRITE, "pio-write")   /* aux: size | vcpu << 8, a: port, b: value */ \
    X(MMIO_READ, "mmio-read")   /* aux: size | vcpu << 8, a: address, b: value returned */ \
    X(MMIO_WRITE, "mmio-write") /* aux: size | vcpu << 8, a: address, b: value */ \
    X(CFG_READ, \
      "cfg-read") /* aux: size | vcpu << 8, a: devfn << 16 | register, b: value returned */ \
    X(CFG_WRITE, "cfg-write") /* aux: size | vcpu << 8, a: devfn << 16 | register, b: value */ \
    X(STRING, "string") /* aux: size | vcpu << 8, a: address, b: repetition count | dir << 32 */ \
    X(BUFFERED, "buffered")     /* aux: size, a: address, b: value */ \
    X(BAD_REQUEST, "bad-req")   /* aux: type, a: address, b: size */ \
    X(IRQ, "irq")               /* aux: level, a: line number, b: 0 ISA, 1 INTx */ \
    X(MSI, "msi")               /* a: address, b: data */ \
    X(DMA_READ, "dma-read")     /* a: guest address, b: length; aux: 0 or errno */ \
    X(DMA_WRITE, "dma-write")   /* a: guest address, b: length; aux: 0 or errno */ \
    X(BLOCK, "block")           /* aux: operation | drive << 16, a: offset, b: length */ \
    X(BLOCK_DONE, "block-done") /* aux: errno | drive << 16, a: offset, b: length */ \
    X(QMP, "qmp")               /* aux: connection, a: id, b: 0 command, 1 reply, 2 error */ \
    X(RESET, "reset")           /* a: why */ \
    X(LIFE, "life")             /* a: new run state, b: old run state */

enum recorder_kind {
#define X(e, n) REC_##e,
    RECORDER_KINDS(X)
#undef X
        RECORDER_KIND_COUNT,
};

const char *recorder_kind_name(uint32_t kind); /* "?" of one that is none */

/* Of a disk request's aux; the drive's number is a fact of it. */
#define RECORDER_BLOCK_MASK 0xffffu
#define RECORDER_DRIVE_SHIFT 16

#define RECORDER_SIZE 4096u /* entries; a power of two */

struct recorder_entry {
    uint64_t when; /* time-stamp counter (nanoseconds where there is none) */
    uint64_t a, b;
    uint32_t aux;
    uint32_t kind;
};

struct recorder {
    /* two readings of both clocks give the rate of the time stamps: this one, and a reader's */
    uint64_t start_count, start_ns; /* … CLOCK_MONOTONIC */
    /* entries ever noted; index of the next one is next % RECORDER_SIZE */
    uint64_t next;
    struct recorder_entry entry[RECORDER_SIZE];
};

extern struct recorder *recorder;

/*
 * From now on it is there, with what it has, and stays in `file` if the process dies; NULL: in this
 * process's own memory again, empty.
 */
void recorder_use(struct recorder *where, const char *file);

/* in aux, of an access whose value was left out */
#define RECORDER_NO_VALUE (UINT32_C(1) << 31)
extern bool recorder_payload;       /* values of payload regions are kept */
void recorder_set_payload(bool on); /* off: what was kept of them is forgotten, with all else */

static inline uint64_t recorder_time(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __rdtsc();
#else
    extern uint64_t recorder_time_slow(void);
    return recorder_time_slow();
#endif
}

static inline void recorder_note(enum recorder_kind kind, uint32_t aux, uint64_t a, uint64_t b)
{
    struct recorder_entry *e = &recorder->entry[recorder->next++ % RECORDER_SIZE];

    e->when = recorder_time();
    e->kind = kind;
    e->aux = aux;
    e->a = a;
    e->b = b;
}

/* Calibrates the time stamps; call once at start-up. */
void recorder_init(void);

/* Writes the newest `max` entries (0: all) as text to `fd`, oldest first. Async-signal-safe. */
void recorder_dump(int fd, unsigned max);

/* When the process dies: all of it, or where it is kept and the last entries. Async-signal-safe. */
void recorder_last_words(int fd);

/*
 * "We have a bug": writes the message and the recorder to stderr and aborts. Never reachable by
 * what a guest, an image, a stream or a client supplies; for those use the device's own error.
 */
#define XENDM_ASSERT(cond) \
    do { \
        if (__builtin_expect(!(cond), 0)) \
            recorder_assert_failed(#cond, __FILE__, __LINE__); \
    } while (0)
void recorder_assert_failed(const char *what, const char *file, int line) __attribute__((noreturn));

#endif
