/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xendmctl record: has a guest's device model tell everything that enters it, and writes that down.
 * The file is opened here, since xendm may open none, and written here, so that nobody but us waits
 * for the disk that it is on.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xendm/numbers.h>

#include "qmp.h"
#include "record.h"

#define PIPE_BYTES (1 << 20)
#define LIMIT_MIB 64u
#define LIMIT_MIB_MAX 65536u
#define SECONDS_MAX 1000000u

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = 1;
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "xendmctl: %s: %s\n", what, why);
    return 1;
}

/* ---- what came of it ---- */

static void tell(const char *path)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(record_t) f = record_open(path, &err);
    g_autofree char *why = g_strdup("the device model ended, or stopped telling, in the middle");
    enum record_next next;
    struct tape_entry e;

    if (!f) {
        fail("record", err->message);
        return;
    }
    while ((next = record_next(f, &e)) == RECORD_ENTRY) {
        if (e.kind == TAPE_END) {
            g_free(why);
            why = g_strdup(e.text);
        }
    }
    printf("%s: %" PRIu64 " entries, %u bytes: %s\n", path, f->number, f->all->len, why);
}

/* ---- recording ---- */

static bool begin(FILE *qmp, int fd, uint64_t limit)
{
    g_autoptr(JsonNode) set = qmp_do(qmp, "add-fd", NULL, fd), begun = NULL;
    g_autofree char *name = NULL;
    JsonObject *arguments;
    JsonBuilder *b;

    if (!set) {
        return false;
    }
    name = g_strdup_printf("/dev/fdset/%" G_GINT64_FORMAT,
                           json_object_get_int_member(json_node_get_object(set), "fdset-id"));
    arguments = json_object_new();
    b = json_builder_new();
    json_builder_add_int_value(b, (gint64)limit);
    json_object_set_string_member(arguments, "file", name);
    json_object_set_member(arguments, "limit", json_builder_get_root(b));
    json_builder_unref(b);
    begun = qmp_do(qmp, "xendm-record", json_node_of_object(arguments), -1);
    json_object_unref(arguments);
    return begun != NULL;
}

static bool write_all(int fd, const uint8_t *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n < 0 ? errno : EIO;
            return false;
        }
        p += n;
        len -= (size_t)n;
    }
    return true;
}

/*
 * Waits for more. Signals are let in here alone: one that came between a look at `interrupted` and
 * the wait would be forgotten by it.
 */
static bool more_comes(int from, int64_t left, const sigset_t *let_in)
{
    struct pollfd pfd = {.fd = from, .events = POLLIN};
    struct timespec most = {.tv_sec = left / G_USEC_PER_SEC,
                            .tv_nsec = left % G_USEC_PER_SEC * 1000};

    return ppoll(&pfd, 1, left < 0 ? NULL : &most, let_in) > 0;
}

/* Until the device model has no more to say; `until` in µs, 0: until told. */
static bool copy(FILE *qmp, int from, int to, int64_t until, const char *path)
{
    static uint8_t buf[PIPE_BYTES];
    sigset_t ours, before;
    bool stopping = false;
    ssize_t n = 1;

    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGHUP);
    sigprocmask(SIG_BLOCK, &ours, &before);
    while (n != 0) {
        int64_t left = until && !stopping ? MAX(until - g_get_monotonic_time(), 0) : -1;

        if (!stopping && (interrupted || left == 0)) {
            g_autoptr(JsonNode) stopped = NULL;

            sigprocmask(SIG_SETMASK, &before, NULL); /* a monitor that hangs can be left */
            stopped = qmp_do(qmp, "xendm-record-stop", NULL, -1);
            stopping = true;
            continue;
        }
        if (!more_comes(from, left, &before)) {
            continue;
        }
        n = read(from, buf, sizeof(buf));
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            fail("record", g_strerror(errno));
            return false;
        }
        if (n > 0 && !write_all(to, buf, (size_t)n)) {
            fail(path, g_strerror(errno));
            return false;
        }
    }
    return true;
}

static int record(const char *guest, const char *path, uint64_t limit, uint64_t seconds)
{
    struct sigaction action = {.sa_handler = on_signal};
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), ends[2];
    FILE *qmp;
    bool good;

    if (file < 0 || pipe2(ends, O_CLOEXEC) < 0) {
        return fail(path, g_strerror(errno));
    }
    fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    qmp = qmp_open(guest);
    if (!qmp) {
        return 1;
    }
    good = begin(qmp, ends[1], limit);
    close(ends[1]);
    good = good &&
           copy(qmp, ends[0], file,
                seconds ? g_get_monotonic_time() + (int64_t)seconds * G_USEC_PER_SEC : 0, path);
    close(ends[0]);
    fclose(qmp);
    if (close(file) < 0 && good) {
        return fail(path, g_strerror(errno));
    }
    if (!good) {
        return 1;
    }
    tell(path);
    return 0;
}

int record_main(int argc, char **argv)
{
    uint64_t mib = LIMIT_MIB, seconds = 0;
    const char *words[2];
    int n = 0;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--limit") == 0 && i + 1 < argc) {
            if (number_parse(argv[++i], 1, LIMIT_MIB_MAX, &mib) < 0) {
                return fail("--limit", "1 to 65536 MiB");
            }
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
            if (number_parse(argv[++i], 1, SECONDS_MAX, &seconds) < 0) {
                return fail("--seconds", "1 to 1000000");
            }
        } else if (argv[i][0] == '-' || n == 2) {
            return -1;
        } else {
            words[n++] = argv[i];
        }
    }
    return n == 2 ? record(words[0], words[1], mib << 20, seconds) : -1;
}

/* ---- showing ---- */

int record_show(int argc, char **argv)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(record_t) f = argc == 1 ? record_open(argv[0], &err) : NULL;
    enum record_next next;
    struct tape_entry e;

    if (argc != 1) {
        return -1;
    }
    if (!f) {
        return fail("record show", err->message);
    }
    for (const char *text = f->texts; text < f->texts + f->texts_len; text += strlen(text) + 1) {
        g_autofree char *safe = g_strescape(text, NULL);

        printf("%s\n", safe);
    }
    printf("state %zu bytes\n", f->state_len);
    while ((next = record_next(f, &e)) == RECORD_ENTRY) {
        g_autofree char *text = tape_entry_text(&e);

        if (tape_kind_info(e.kind)->event) {
            printf("%" PRIu64 " %.6f %s\n", f->number, (double)e.time / 1e9, text);
        } else {
            printf("%" PRIu64 "     %s\n", f->number, text);
        }
    }
    if (next != RECORD_OVER) {
        return fail(argv[0], next == RECORD_CUT ? "it is cut behind this entry"
                                                : "it is damaged behind this entry");
    }
    return 0;
}
