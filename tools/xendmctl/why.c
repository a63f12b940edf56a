/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xendmctl why: what a guest that does not go on waits for, in sentences. The first is the verdict;
 * what follows is what else was seen. Asked from outside: the status page, the host's view of the
 * process, Xen's view of the domain (by xl). Nobody's answer is waited for.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "page.h"

#define LONG_TURN_S 0.1 /* a loop that is not back after this hangs */
#define LONG_REQUEST_S 1.0
#define POLLING 1000u /* accesses of one kind in the last second */
#define QUIET_S 10.0

struct report {
    const struct page *page;
    GPtrArray *lines;
    bool healthy; /* nothing that was found keeps the guest from going on */
};

G_GNUC_PRINTF(2, 3) static void say(struct report *r, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    g_ptr_array_add(r->lines, g_strdup_vprintf(fmt, args));
    va_end(args);
}

#define blame(r, ...) ((r)->healthy = false, say((r), __VA_ARGS__))

/* ---- the process ---- */

/* The first line of a file of proc(5), as much of it as fits. False when it cannot be read. */
static bool proc_line(int pid, const char *what, char *line, size_t size)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", pid, what);
    FILE *f = fopen(path, "re");
    bool found = f && fgets(line, (int)size, f);

    if (f) {
        fclose(f);
    }
    return found;
}

/* The letter of proc(5), 0 when it cannot be seen. */
static char process_state(int pid)
{
    char line[256];
    const char *end = proc_line(pid, "stat", line, sizeof(line)) ? strrchr(line, ')') : NULL;

    return end && end[1] == ' ' ? end[2] : '\0';
}

static void process(struct report *r)
{
    const struct status_page *raw = &r->page->raw;
    g_autofree char *source = page_clean(raw->turn.source), *name = page_clean(raw->name);
    char state = process_state(raw->pid);
    double turn = raw->turn.begin ? page_age(r->page, raw->turn.begin) : 0;

    if (!r->page->served) {
        blame(r,
              "the device model is gone and did not say why: it was killed or crashed after %s; "
              "its log is /var/log/xen/qemu-dm-%s.log",
              source, name);
        return;
    }
    if (state == 'T' || state == 't') {
        blame(r,
              "the device model, process %d, is stopped by a signal or a debugger: kill -CONT %d",
              raw->pid, raw->pid);
    } else if (turn >= LONG_TURN_S) {
        char channel[64] = "0";
        bool waits = state == 'D' || state == 'S';

        if (waits) {
            proc_line(raw->pid, "wchan", channel, sizeof(channel));
        }
        blame(r,
              "the device model itself hangs: for %.1f s now in one turn of its loop, in '%s'%s%s",
              turn, source, waits ? ", where it waits in the kernel: " : ", and uses the CPU",
              waits ? (strcmp(channel, "0") != 0 ? channel : "it does not say where") : "");
    }
}

/* ---- the machine ---- */

struct drives {
    struct report *r;
    bool stop; /* a stop waits for them */
};

static void drive(void *opaque, const char *group, const char *id, JsonObject *facts)
{
    const struct drives *d = opaque;
    struct report *r = d->r;
    int64_t count = json_object_get_int_member(facts, "in flight"),
            since = json_object_get_int_member(facts, "silent since");
    g_autofree char *name = page_clean(id), *file = page_text(r->page, group, "file");

    if (count > 0 && page_age(r->page, since) >= LONG_REQUEST_S) {
        blame(r,
              "the disk %s has not answered for %.1f s: %" PRId64 " requests are in flight to %s%s",
              name, page_age(r->page, since), count, *file ? file : "a medium that was taken out",
              d->stop ? ", and a stop, a save or a migration waits for them" : "");
    }
    if (json_object_get_int_member(facts, "failed") > 0) {
        say(r, "%" PRId64 " requests to the disk %s failed since the start",
            json_object_get_int_member(facts, "failed"), name);
    }
}

static void waiting_vcpus(struct report *r)
{
    for (int64_t i = 0; i < page_int(r->page, "ioreq", "vCPUs") && i < 1024; i++) {
        g_autofree char *who = g_strdup_printf("vCPU %d waits for", (int)i);
        g_autofree char *since = g_strdup_printf("vCPU %d waits since", (int)i);
        g_autofree char *device = page_text(r->page, "ioreq", who);
        double age = page_age(r->page, page_int(r->page, "ioreq", since));

        if (*device && age >= LONG_TURN_S) {
            blame(r,
                  "vCPU %d waits for the device %s, which has not answered its access for %.1f s",
                  (int)i, device, age);
        }
    }
}

static void machine(struct report *r)
{
    g_autofree char *state = page_text(r->page, "machine", "state"),
                    *doing = page_text(r->page, "machine", "under way");
    struct drives d = {r, strcmp(doing, "stop") == 0};

    page_foreach(r->page, "block", drive, &d);
    waiting_vcpus(r);
    if (*doing) {
        blame(r, "a %s is under way and has not ended", doing);
    }
    if (strcmp(state, "stopped") == 0 || strcmp(state, "building") == 0) {
        blame(r,
              page_int(r->page, "machine", "started")
                  ? "the machine is stopped: by the monitor, as a save or a migration does (cont "
                    "lets it go on)"
                  : "the machine was never started: the toolstack has not said cont, or a saved "
                    "state is being received");
    } else if (strcmp(state, "shut down") == 0) {
        blame(r, "the guest has shut down, and is kept");
    } else if (strcmp(state, "suspended") == 0) {
        blame(r, "the guest sleeps (ACPI S3): xl trigger %u s3resume", r->page->raw.domid);
    }
}

/* ---- back ends that hold something up ---- */

static void chardev(void *opaque, const char *group, const char *id, JsonObject *facts)
{
    struct report *r = opaque;
    g_autofree char *name = page_clean(id);

    if (json_object_get_int_member(facts, "dropped") > 0) {
        say(r,
            "%" PRId64 " bytes that the guest wrote to %s were dropped: nobody reads it, or not "
            "fast enough",
            json_object_get_int_member(facts, "dropped"), name);
    }
}

static void network(void *opaque, const char *group, const char *id, JsonObject *facts)
{
    struct report *r = opaque;
    g_autofree char *name = page_clean(id);

    if (json_object_has_member(facts, "link") && !json_object_get_boolean_member(facts, "link")) {
        say(r, "the link of the network card on %s is down (set_link)", name);
    }
    if (json_object_has_member(facts, "device has room") &&
        !json_object_get_boolean_member(facts, "device has room")) {
        say(r, "the network card on %s has no room: the guest does not take its frames", name);
    }
}

/* ---- Xen's view ---- */

/* The flags of xl list, "r-----"; NULL when they cannot be had. */
static char *xen_flags(uint32_t domid)
{
    g_autofree char *id = g_strdup_printf("%u", domid);
    char *argv[] = {(char *)"xl", (char *)"list", id, NULL};
    g_autofree char *out = NULL;
    g_auto(GStrv) lines = NULL, words = NULL;

    if (!g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL,
                      NULL, &out, NULL, NULL, NULL)) {
        return NULL;
    }
    lines = g_strsplit(out, "\n", 0);
    words =
        g_strv_length(lines) >= 2 ? g_regex_split_simple(" +", g_strchomp(lines[1]), 0, 0) : NULL;
    return words && g_strv_length(words) >= 2 ? g_strdup(words[g_strv_length(words) - 2]) : NULL;
}

static void xen(struct report *r)
{
    g_autofree char *flags = xen_flags(r->page->raw.domid);

    if (!flags) {
        return;
    }
    if (strchr(flags, 'c')) {
        blame(r, "Xen says that the guest crashed: xl dmesg says how");
    } else if (strchr(flags, 'd')) {
        blame(r, "Xen is destroying the guest: somebody still holds pages of its memory");
    } else if (strchr(flags, 's')) {
        blame(r, "Xen says that the guest has shut down, and the toolstack has not removed it");
    } else if (strchr(flags, 'p')) {
        blame(r, "the guest is paused in Xen: xl unpause %u", r->page->raw.domid);
    } else if (strchr(flags, 'b')) {
        say(r, "Xen says that all vCPUs wait for an event or an answer");
    } else if (strchr(flags, 'r')) {
        say(r, "Xen says that a vCPU runs right now");
    }
}

/* ---- what the guest did last ---- */

static bool same_access(const struct recorder_entry *a, const struct recorder_entry *b)
{
    return a->kind == b->kind && a->a == b->a;
}

static void guest(struct report *r)
{
    const struct recorder *rec = &r->page->raw.recorder;
    uint64_t first = page_recorder_first(r->page);
    const struct recorder_entry *last = NULL;
    unsigned same = 0, all = 0;
    double age = 0;

    for (uint64_t i = rec->next; i > first; i--) {
        const struct recorder_entry *e = &rec->entry[(i - 1) % RECORDER_SIZE];
        double ago = page_ago_us(r->page, e) / 1e6;

        if (e->kind > REC_STRING) {
            continue;
        }
        if (!last) {
            last = e;
            age = ago;
        }
        if (ago > 1) {
            break;
        }
        all++;
        same += same_access(last, e);
    }
    if (!last) {
        say(r, "the guest has used no emulated device yet");
    } else if (age > QUIET_S) {
        say(r,
            "the guest used no emulated device for %.0f s: it idles, computes, or uses PV drivers",
            age);
    } else if (same > POLLING && same > all / 2) {
        say(r,
            "the guest polls: %u of its last %u accesses within a second were to 0x%" PRIx64
            ", which answered 0x%" PRIx64 " last",
            same, all, last->a, last->aux & RECORDER_NO_VALUE ? 0 : last->b);
    } else {
        say(r, "the guest's last access to an emulated device was %.3f s ago, to 0x%" PRIx64, age,
            last->a);
    }
}

int why_main(int argc, char **argv)
{
    g_autoptr(page_t) page = NULL;
    struct report r = {.healthy = true};
    g_autofree char *name = NULL;

    if (argc != 1 || argv[0][0] == '-') {
        return -1;
    }
    page = page_of_guest(argv[0]);
    if (!page) {
        return 1;
    }
    r.page = page;
    r.lines = g_ptr_array_new_with_free_func(g_free);
    process(&r);
    machine(&r);
    xen(&r);
    name = page_clean(page->raw.name);
    if (r.healthy) {
        printf("%s: nothing that can be seen from here keeps it from going on\n", name);
    }
    page_foreach(page, "char", chardev, &r);
    page_foreach(page, "net", network, &r);
    guest(&r);
    for (guint i = 0; i < r.lines->len; i++) {
        printf("%s%s\n", i || r.healthy ? "  " : "", (const char *)g_ptr_array_index(r.lines, i));
    }
    g_ptr_array_free(r.lines, TRUE);
    return 0;
}
