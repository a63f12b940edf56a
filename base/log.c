/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log to stderr; see xendm/log.h for the rules. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <xendm/log.h>

uint8_t log_levels[LOG_SUBSYSTEM_COUNT] = {
#define X(e, n) [LOG_##e] = XLOG_INFO,
    LOG_SUBSYSTEMS(X)
#undef X
};

static const char *const subsystem_names[LOG_SUBSYSTEM_COUNT] = {
#define X(e, n) [LOG_##e] = n,
    LOG_SUBSYSTEMS(X)
#undef X
};

static const char *const level_names[] = {
    [XLOG_ERROR] = "error",
    [XLOG_WARNING] = "warning",
    [XLOG_INFO] = "info",
    [XLOG_DEBUG] = "debug",
};

/* For what a guest can provoke: lines by subsystem, bytes for all of them together. */
static struct {
    uint64_t calls;
    uint64_t swallowed;
    unsigned tokens;
    time_t refilled;
} guest_class[LOG_SUBSYSTEM_COUNT];

static struct log_budget budget;

#define LOG_LINE_MAX 1024
/* time, class and subsystem of a line, and at times a line that tells how many were left out */
#define LOG_GUEST_OVERHEAD 100

/* One write(2) a line, so that lines of several writers to one log file do not mix. */
static void emit(enum log_subsystem subsystem, const char *class, const char *fmt, va_list ap)
{
    char line[LOG_LINE_MAX];
    struct timespec now;
    struct tm tm;
    size_t len;
    int n;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    len = strftime(line, sizeof(line), "%H:%M:%S", &tm);
    len += snprintf(line + len, sizeof(line) - len, ".%03ld %s %s: ", now.tv_nsec / 1000000, class,
                    subsystem_names[subsystem]);
    n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
    if (n < 0) {
        return;
    }
    len += (size_t)n < sizeof(line) - len - 1 ? (size_t)n : sizeof(line) - len - 2;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) {
            line[i] = '?';
        }
    }
    line[len++] = '\n';
    while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR) {
    }
}

void log_write(enum log_subsystem subsystem, enum log_level level, const char *fmt, ...)
{
    va_list ap;

    if (!log_enabled(subsystem, level)) {
        return;
    }
    va_start(ap, fmt);
    emit(subsystem, level_names[level], fmt, ap);
    va_end(ap);
}

bool log_budget_take(struct log_budget *b, time_t now, unsigned bytes)
{
    if (!b->begun) {
        b->begun = true;
        b->left = LOG_GUEST_BYTES_BURST;
        b->refilled = now;
    }
    if (now > b->refilled) {
        uint64_t grown = (uint64_t)(now - b->refilled) * LOG_GUEST_BYTES_PER_SECOND;

        b->left = grown >= LOG_GUEST_BYTES_BURST - b->left ? LOG_GUEST_BYTES_BURST
                                                           : b->left + (unsigned)grown;
        b->refilled = now;
    }
    /* Once empty, it fills for some hours, or its end would be told again and again. */
    if (b->empty && b->left < LOG_GUEST_BYTES_BURST / 2) {
        return false;
    }
    b->empty = b->left < bytes;
    if (!b->empty) {
        b->left -= bytes;
    }
    return !b->empty;
}

/* Whether a line about `subsystem` may be written now; `len`: without time and names. */
static bool guest_line_allowed(enum log_subsystem subsystem, unsigned len)
{
    bool was_empty = budget.empty;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (guest_class[subsystem].calls == 1) {
        guest_class[subsystem].tokens = LOG_GUEST_BURST;
        guest_class[subsystem].refilled = now.tv_sec;
    }
    if (now.tv_sec > guest_class[subsystem].refilled) {
        time_t grown = now.tv_sec - guest_class[subsystem].refilled;

        guest_class[subsystem].tokens +=
            grown > LOG_GUEST_BURST ? LOG_GUEST_BURST : (unsigned)grown;
        if (guest_class[subsystem].tokens > LOG_GUEST_BURST) {
            guest_class[subsystem].tokens = LOG_GUEST_BURST;
        }
        guest_class[subsystem].refilled = now.tv_sec;
    }
    if (guest_class[subsystem].tokens == 0) {
        return false;
    }
    if (!log_budget_take(&budget, now.tv_sec, len + LOG_GUEST_OVERHEAD)) {
        if (!was_empty) {
            log_write(subsystem, XLOG_WARNING,
                      "the guest has used up its share of the log; for some hours what it provokes "
                      "is only counted (info log)");
        }
        return false;
    }
    guest_class[subsystem].tokens--;
    return true;
}

static void provoked(enum log_subsystem subsystem, const char *class, const char *fmt, va_list ap)
{
    va_list again;
    int len;

    va_copy(again, ap);
    len = guest_class[subsystem].tokens || guest_class[subsystem].calls == 1
              ? vsnprintf(NULL, 0, fmt, again)
              : 0;
    va_end(again);
    if (!guest_line_allowed(subsystem, len < 0 ? 0 : (unsigned)len)) {
        guest_class[subsystem].swallowed++;
        return;
    }
    if (guest_class[subsystem].swallowed > 0) {
        uint64_t swallowed = guest_class[subsystem].swallowed;

        guest_class[subsystem].swallowed = 0;
        log_write(subsystem, XLOG_WARNING, "%llu messages about the guest left out",
                  (unsigned long long)swallowed);
    }
    emit(subsystem, class, fmt, ap);
}

void log_guest(enum log_subsystem subsystem, const char *fmt, ...)
{
    va_list ap;

    guest_class[subsystem].calls++;
    if (log_enabled(subsystem, XLOG_WARNING)) {
        va_start(ap, fmt);
        provoked(subsystem, "guest", fmt, ap);
        va_end(ap);
    }
}

void log_provoked(enum log_subsystem subsystem, enum log_level level, const char *fmt, ...)
{
    va_list ap;

    guest_class[subsystem].calls++;
    if (log_enabled(subsystem, level)) {
        va_start(ap, fmt);
        provoked(subsystem, level_names[level], fmt, ap);
        va_end(ap);
    }
}

uint64_t log_guest_count(enum log_subsystem subsystem)
{
    return guest_class[subsystem].calls;
}

int log_set_level(const char *subsystem, const char *level)
{
    bool all = strcmp(subsystem, "all") == 0;
    bool found = false;
    int value = -1;

    for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(level_names[i], level) == 0) {
            value = (int)i;
        }
    }
    for (unsigned i = 0; i < LOG_SUBSYSTEM_COUNT && value >= 0; i++) {
        if (all || strcmp(subsystem_names[i], subsystem) == 0) {
            log_levels[i] = (uint8_t)value;
            found = true;
        }
    }
    return found ? 0 : -EINVAL;
}

const char *log_subsystem_name(enum log_subsystem subsystem)
{
    return subsystem_names[subsystem];
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}
