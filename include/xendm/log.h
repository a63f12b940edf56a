/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log: one line a message, to stderr (which is libxl's qemu-dm-<name>.log).
 *
 * Each message belongs to a subsystem, whose level can be changed while the process runs (QMP,
 * command line). Messages that a guest can provoke go through log_guest() only: it is rate-limited
 * per subsystem, and what it swallows is counted. Messages carry no newline and no prefix of their
 * own; control characters in them are escaped.
 */
#ifndef XENDM_LOG_H
#define XENDM_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum log_level {
    XLOG_ERROR,   /* something the admin must act on */
    XLOG_WARNING, /* works, but not as asked */
    XLOG_INFO,    /* life-cycle events; the default level */
    XLOG_DEBUG,   /* for developers */
};

/* Subsystems: enumerator suffix, name in messages and in `log SUBSYSTEM LEVEL`. */
/* clang-format off */
#define LOG_SUBSYSTEMS(X) \
    X(DM, "dm") \
    X(IOREQ, "ioreq") \
    X(QMP, "qmp") \
    X(STATE, "state") \
    X(SANDBOX, "sandbox") \
    X(CORE, "core") \
    X(PCI, "pci") \
    X(PC, "pc") \
    X(ACPI, "acpi") \
    X(IDE, "ide") \
    X(AHCI, "ahci") \
    X(SCSI, "scsi") \
    X(NVME, "nvme") \
    X(VIRTIO, "virtio") \
    X(DISPLAY, "display") \
    X(INPUT, "input") \
    X(CHAR, "char") \
    X(BLOCK, "block") \
    X(NET, "net") \
    X(USB, "usb") \
    X(AUDIO, "audio") \
    X(PLATFORM, "platform") \
    X(MAPCACHE, "mapcache") \
    X(XENSTORE, "xenstore") \
    X(BACKEND, "backend")
/* clang-format on */

enum log_subsystem {
#define X(e, n) LOG_##e,
    LOG_SUBSYSTEMS(X)
#undef X
        LOG_SUBSYSTEM_COUNT,
};

/* Current level of each subsystem; read it through log_enabled(). */
extern uint8_t log_levels[LOG_SUBSYSTEM_COUNT];

static inline bool log_enabled(enum log_subsystem subsystem, enum log_level level)
{
    return level <= log_levels[subsystem];
}

void log_write(enum log_subsystem subsystem, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(subsystem, ...) log_write(subsystem, XLOG_ERROR, __VA_ARGS__)
#define log_warning(subsystem, ...) log_write(subsystem, XLOG_WARNING, __VA_ARGS__)
#define log_info(subsystem, ...) log_write(subsystem, XLOG_INFO, __VA_ARGS__)
#define log_debug(subsystem, ...) \
    do { \
        if (log_enabled(subsystem, XLOG_DEBUG)) \
            log_write(subsystem, XLOG_DEBUG, __VA_ARGS__); \
    } while (0)

/*
 * Counts something that may happen for ever (a disk's failures), and says whether to log it: each
 * of the first LOG_NEWS, then each time the number has doubled.
 */
#define LOG_NEWS 16u
static inline bool log_is_news(uint32_t *count)
{
    ++*count;
    return *count <= LOG_NEWS || !(*count & (*count - 1));
}

/*
 * The guest did something wrong (class `guest`): at most LOG_GUEST_BURST lines per subsystem at
 * once, then one a second; the rest are counted and the count is shown with the next line that
 * passes.
 */
#define LOG_GUEST_BURST 20
void log_guest(enum log_subsystem subsystem, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Nothing is wrong, but the guest can have it said as often as it likes (it sleeps, it wakes up):
 * limited as log_guest() is, with the level of what it says.
 */
void log_provoked(enum log_subsystem subsystem, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * All of it together: at most 1 MiB in any day, of which a quarter at once. When that is used up it
 * is said once, and until half of the burst is there again things are only counted.
 */
#define LOG_GUEST_BYTES_BURST (256u << 10)
#define LOG_GUEST_BYTES_PER_SECOND 9u /* 760 KiB a day */
struct log_budget {
    bool begun, empty;
    unsigned left; /* bytes */
    time_t refilled;
};
/* Takes `bytes` at `now`, in seconds of a clock that only goes forward; false: not there. */
bool log_budget_take(struct log_budget *b, time_t now, unsigned bytes);

/* How many log_guest() calls there were for `subsystem` since the start, shown or not. */
uint64_t log_guest_count(enum log_subsystem subsystem);

/*
 * Sets the level of the subsystem named `subsystem`, or of every subsystem for "all". -EINVAL when
 * either name is unknown.
 */
int log_set_level(const char *subsystem, const char *level);
const char *log_subsystem_name(enum log_subsystem subsystem);
const char *log_level_name(enum log_level level);

#endif
