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

#include "why.h"

#define LONG_TURN_S 0.1 /* a loop that is not back after this hangs */
#define LONG_REQUEST_S 1.0
#define POLLING 1000u /* accesses of one kind in the last second */
#define QUIET_S 10.0

static void add(GPtrArray *to, const char *fmt, va_list args)
{
    g_ptr_array_add(to, g_strdup_vprintf(fmt, args));
}

void why_blame(struct report *r, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(r->causes, fmt, args);
    va_end(args);
}

void why_lost(struct report *r, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(r->losses, fmt, args);
    va_end(args);
}

void why_note(struct report *r, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(r->notes, fmt, args);
    va_end(args);
}

/* ---- the process ---- */

static void process(struct report *r)
{
    const struct status_page *raw = &r->page->raw;
    g_autofree char *source = page_clean(raw->turn.source), *name = page_clean(raw->name);
    char state = host_process_state(raw->pid);
    double turn = raw->turn.begin ? page_age(r->page, raw->turn.begin) : 0;

    if (!r->page->served) {
        why_blame(
            r,
            "the device model is gone and did not say why: it was killed or crashed after %s; "
            "its log is /var/log/xen/qemu-dm-%s.log",
            source, name);
        return;
    }
    if (state == 'T' || state == 't') {
        why_blame(
            r, "the device model, process %d, is stopped by a signal or a debugger: kill -CONT %d",
            raw->pid, raw->pid);
    } else if (turn >= LONG_TURN_S) {
        g_autofree char *channel = host_process_channel(raw->pid);
        bool waits = state == 'D' || state == 'S';

        why_blame(r,
                  "the device model itself hangs: for %.1f s now in one turn of its loop, in "
                  "'%s'%s%s",
                  turn, source, waits ? ", where it waits in the kernel: " : ", and uses the CPU",
                  waits ? (*channel ? channel : "it does not say where") : "");
    }
}

/* ---- the machine ---- */

struct drives {
    struct report *r;
    bool stop; /* a stop waits for them */
};

/* Who of the host does not answer for this file: its image server, or a thread of the daemon's. */
static char *blocker(const struct report *r, const char *file, const char *format)
{
    int server = strcmp(format, "raw") == 0 ? 0 : host_image_server(file);

    if (server) {
        g_autofree char *doing = host_process_doing(server);

        return g_strdup_printf("; its image server is process %d%s", server, doing);
    }
    if (strcmp(format, "raw") != 0) {
        return g_strdup("; no image server of it runs on this host");
    }
    {
        g_autofree char *thread = host_thread_stuck(r->page->raw.pid);

        return thread ? g_strdup_printf("; %s", thread) : g_strdup("");
    }
}

static void drive(void *opaque, const char *group, const char *id, JsonObject *facts)
{
    const struct drives *d = opaque;
    struct report *r = d->r;
    int64_t count = json_object_get_int_member(facts, "in flight"),
            since = json_object_get_int_member(facts, "silent since"),
            failed = json_object_get_int_member(facts, "failed");
    g_autofree char *name = page_clean(id), *file = page_text(r->page, group, "file"),
                    *format = page_text(r->page, group, "format");

    if (count > 0 && page_age(r->page, since) >= LONG_REQUEST_S) {
        g_autofree char *who = blocker(r, file, format);

        why_blame(r,
                  "the disk %s has not answered for %.1f s: %" PRId64
                  " requests are in flight to %s%s%s",
                  name, page_age(r->page, since), count,
                  *file ? file : "a medium that was taken out",
                  d->stop ? ", and a stop, a save or a migration waits for them" : "", who);
    }
    if (failed > 0) {
        why_lost(r, "%" PRId64 " requests to the disk %s failed (its log says with what error)",
                 failed, name);
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
            why_blame(
                r, "vCPU %d waits for the device %s, which has not answered its access for %.1f s",
                (int)i, device, age);
        }
    }
}

/* Who stopped it, as far as what was asked of the daemon tells. */
static void stopped(struct report *r)
{
    g_autofree char *toolstack = why_toolstack(r);
    const char *at_work = toolstack ? "; at work on it is " : "; no toolstack is at work on it";
    const char *who = toolstack ? toolstack : "";

    if (page_int(r->page, "machine", "being received")) {
        why_blame(r,
                  "the machine was received, by a restore or a migration, and its toolstack has "
                  "not said cont%s%s",
                  at_work, who);
    } else if (!page_int(r->page, "machine", "started")) {
        why_blame(r, "the machine was never started: the toolstack has not said cont%s%s", at_work,
                  who);
    } else if (page_int(r->page, "machine", "saved")) {
        why_blame(r,
                  "the machine is stopped, and its state was saved: a save or migration is in "
                  "its last phase, and has neither removed the guest nor said cont%s%s",
                  at_work, who);
    } else if (page_int(r->page, "machine", "memory is being copied")) {
        why_blame(r,
                  "the machine is stopped for a save or migration, which still copies memory "
                  "and has not asked for the devices' state%s%s",
                  at_work, who);
    } else {
        why_blame(r, "the machine is stopped: by the monitor (stop); cont lets it go on%s%s",
                  at_work, who);
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
        why_blame(r,
                  "a %s is under way and has not ended: it waits until no request is in flight "
                  "and what was written is on stable storage",
                  doing);
    } else if (strcmp(state, "stopped") == 0 || strcmp(state, "building") == 0) {
        stopped(r);
    } else if (strcmp(state, "shut down") == 0 && !r->xen) {
        why_blame(r, "the guest has shut down, and is kept");
    } else if (strcmp(state, "suspended") == 0) {
        why_blame(r, "the guest sleeps (ACPI S3): xl trigger %u s3resume", r->page->raw.domid);
    } else if (page_int(r->page, "machine", "memory is being copied")) {
        why_note(r, "a save or migration copies its memory while it runs");
    }
}

/* ---- back ends that hold something up ---- */

static void chardev(void *opaque, const char *group, const char *id, JsonObject *facts)
{
    struct report *r = opaque;
    g_autofree char *name = page_clean(id), *file = page_text(r->page, group, "filename");

    if (json_object_has_member(facts, "output waits since") &&
        page_age(r->page, json_object_get_int_member(facts, "output waits since")) >=
            LONG_REQUEST_S) {
        why_blame(r,
                  "what the guest writes to %s (%s) waits for %.1f s: whoever has that open does "
                  "not read",
                  name, file,
                  page_age(r->page, json_object_get_int_member(facts, "output waits since")));
    }
    if (json_object_get_int_member(facts, "dropped") > 0) {
        why_lost(r,
                 "%" PRId64 " bytes that it wrote to %s (%s) were dropped: nobody reads it, or not "
                 "fast enough",
                 json_object_get_int_member(facts, "dropped"), name, file);
    }
}

static void network(void *opaque, const char *group, const char *id, JsonObject *facts)
{
    struct report *r = opaque;
    g_autofree char *name = page_clean(id);

    if (json_object_has_member(facts, "link") && !json_object_get_boolean_member(facts, "link")) {
        why_lost(r, "the link of the network card on %s is down (set_link)", name);
    }
    if (json_object_has_member(facts, "device has room") &&
        !json_object_get_boolean_member(facts, "device has room")) {
        why_note(r, "the network card on %s has no room: the guest does not take its frames", name);
    }
    if (json_object_has_member(facts, "host has room") &&
        !json_object_get_boolean_member(facts, "host has room")) {
        why_note(r, "the host does not take what the network card on %s sends", name);
    }
}

/* PV devices that xendm itself serves. Each is a group of its kind; who they are says a fact. */
static void pv_device(struct report *r, const char *group, JsonObject *facts)
{
    g_autofree char *name = page_clean(group);

    if (json_object_get_boolean_member(facts, "broke the rules")) {
        why_blame(r,
                  "the PV device %s is served no more: its front end broke the rules of the "
                  "ring, and the log says which",
                  name);
    } else if (json_object_get_boolean_member(facts, "waits for room")) {
        why_blame(r, "the guest's output to %s waits: nobody reads it", name);
    }
}

static void pv_devices(struct report *r)
{
    JsonObject *all = json_node_get_object(r->page->facts);
    g_autoptr(GList) names = json_object_get_members(all);

    for (const GList *l = names; l; l = l->next) {
        JsonObject *facts = page_group(r->page, l->data);

        if (facts && json_object_has_member(facts, "front end")) {
            pv_device(r, l->data, facts);
        }
    }
}

/* ---- what the guest did last ---- */

struct accesses {
    const struct recorder_entry *last; /* NULL: there was none */
    double age;                        /* of it, s */
    unsigned all, same; /* within a second; that are as the last one, answer and all */
};

static struct accesses accesses(const struct page *page)
{
    const struct recorder *rec = &page->raw.recorder;
    struct accesses a = {0};

    for (uint64_t i = rec->next; i > page_recorder_first(page); i--) {
        const struct recorder_entry *e = &rec->entry[(i - 1) % RECORDER_SIZE];
        double ago = page_ago_us(page, e) / 1e6;

        if (e->kind > REC_STRING) {
            continue;
        }
        if (!a.last) {
            a.last = e;
            a.age = ago;
        }
        if (ago > 1) {
            break;
        }
        a.all++;
        a.same += a.last->kind == e->kind && a.last->a == e->a && a.last->b == e->b;
    }
    return a;
}

static bool polls(const struct accesses *a)
{
    return a->same > POLLING && a->same > a->all - a->all / 16;
}

/* `later`: a page from after everything else was looked at; NULL: it is gone. */
static void guest(struct report *r, const struct page *later)
{
    struct accesses a = accesses(r->page);
    struct accesses b = later ? accesses(later) : (struct accesses){0};
    g_autofree char *device = a.last ? page_device(r->page, a.last) : g_strdup("");

    if (!a.last) {
        why_note(r, "the guest has used no emulated device yet");
    } else if (polls(&a) && polls(&b) && a.last->a == b.last->a && a.last->b == b.last->b) {
        why_blame(r,
                  "the guest polls: its accesses all go to 0x%" PRIx64
                  "%s%s, which answers 0x%" PRIx64 " each time, and not what it waits for",
                  a.last->a, *device ? " of " : "", device,
                  a.last->aux & RECORDER_NO_VALUE ? 0 : a.last->b);
    } else if (a.age > QUIET_S) {
        why_note(r,
                 "the guest used no emulated device for %.0f s: it idles, computes, or uses PV "
                 "drivers",
                 a.age);
    } else {
        why_note(r,
                 "the guest's last access to an emulated device was %.3f s ago, to 0x%" PRIx64
                 "%s%s",
                 a.age, a.last->a, *device ? " of " : "", device);
    }
}

/* ---- the command ---- */

static void print(const struct report *r, const char *name)
{
    if (r->causes->len == 0) {
        printf("%s: nothing that can be seen from here keeps it from going on%s%s\n", name,
               r->losses->len ? "; but " : "",
               r->losses->len ? (const char *)g_ptr_array_index(r->losses, 0) : "");
    }
    for (guint i = 0; i < r->causes->len; i++) {
        printf("%s%s\n", i ? "  " : "", (const char *)g_ptr_array_index(r->causes, i));
    }
    for (guint i = r->causes->len == 0; i < r->losses->len; i++) {
        printf("  %s\n", (const char *)g_ptr_array_index(r->losses, i));
    }
    for (guint i = 0; i < r->notes->len; i++) {
        printf("  %s\n", (const char *)g_ptr_array_index(r->notes, i));
    }
}

static void look(struct report *r)
{
    g_autofree char *path = g_strdup_printf("%s/%u", status_directory(), r->page->raw.domid);
    g_autoptr(page_t) later = NULL;

    why_xenstore(r);
    process(r);
    machine(r);
    why_domain(r);
    why_vcpus(r);
    pv_devices(r);
    why_frontends(r);
    why_lines(r);
    page_foreach(r->page, "char", chardev, r);
    page_foreach(r->page, "net", network, r);
    later = page_read(path, NULL);
    guest(r, later);
}

int why_main(int argc, char **argv)
{
    bool map = argc == 3 && strcmp(argv[1], "--system-map") == 0;
    g_autoptr(page_t) page = NULL;
    g_autoptr(GError) err = NULL;
    g_autofree char *name = NULL;
    struct report r = {0};

    if ((argc != 1 && !map) || argv[0][0] == '-') {
        return -1;
    }
    page = page_of_guest(argv[0]);
    r.map = map && page ? symbols_read(argv[2], &err) : NULL;
    if (err) {
        fprintf(stderr, "xendmctl: %s\n", err->message);
    }
    if (!page || err) {
        return 1;
    }
    r.page = page;
    r.xen = xen_open(page->raw.domid);
    r.causes = g_ptr_array_new_with_free_func(g_free);
    r.losses = g_ptr_array_new_with_free_func(g_free);
    r.notes = g_ptr_array_new_with_free_func(g_free);
    look(&r);
    name = page_clean(page->raw.name);
    print(&r, name);
    g_ptr_array_unref(r.causes);
    g_ptr_array_unref(r.losses);
    g_ptr_array_unref(r.notes);
    xen_close(r.xen);
    symbols_free(r.map);
    return 0;
}
