/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this host does for a guest: its processes by proc(5), and xenstore. See why.h. Whoever does
 * not answer is not waited for: xenstored gets a second, and a file of images is read by a process
 * that is left behind if need be.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xen/io/xs_wire.h>

#include "why.h"

#define ANSWER_MS 1000

/* ---- proc ---- */

/* The first line of a file of proc(5), as much of it as fits. False when it cannot be read. */
static bool proc_line(const char *path, char *line, size_t size)
{
    FILE *f = fopen(path, "re");
    bool found = f && fgets(line, (int)size, f);

    if (f) {
        fclose(f);
    }
    return found;
}

static char state_of(const char *directory)
{
    g_autofree char *path = g_strdup_printf("%s/stat", directory);
    char line[256];
    const char *end = proc_line(path, line, sizeof(line)) ? strrchr(line, ')') : NULL;

    return end && end[1] == ' ' ? end[2] : '\0';
}

/* Where it waits in the kernel; "" when it does not say. */
static void channel_of(const char *directory, char *channel, size_t size)
{
    g_autofree char *path = g_strdup_printf("%s/wchan", directory);

    if (!proc_line(path, channel, size) || strcmp(channel, "0") == 0) {
        channel[0] = '\0';
    }
}

char host_process_state(int pid)
{
    g_autofree char *directory = g_strdup_printf("/proc/%d", pid);

    return state_of(directory);
}

char *host_process_doing(int pid)
{
    g_autofree char *directory = g_strdup_printf("/proc/%d", pid);
    char channel[64];

    switch (state_of(directory)) {
    case 'T':
    case 't':
        return g_strdup_printf(", is stopped by a signal or a debugger (kill -CONT %d)", pid);
    case 'D':
        channel_of(directory, channel, sizeof(channel));
        return g_strdup_printf(", waits in the kernel%s%s", *channel ? ": " : "", channel);
    case 'Z':
        return g_strdup(", has ended and nobody took note of it");
    default:
        return g_strdup("");
    }
}

char *host_process_channel(int pid)
{
    g_autofree char *directory = g_strdup_printf("/proc/%d", pid);
    char channel[64];

    channel_of(directory, channel, sizeof(channel));
    return g_strdup(channel);
}

char *host_thread_stuck(int pid)
{
    g_autofree char *tasks = g_strdup_printf("/proc/%d/task", pid);
    GDir *dir = g_dir_open(tasks, 0, NULL);
    char *found = NULL;
    const char *name;

    while (dir && !found && (name = g_dir_read_name(dir))) {
        g_autofree char *directory = g_build_filename(tasks, name, NULL);
        char channel[64];

        if (state_of(directory) == 'D') {
            channel_of(directory, channel, sizeof(channel));
            found = g_strdup_printf("its thread %s waits in the kernel%s%s", name,
                                    *channel ? ": " : "", channel);
        }
    }
    if (dir) {
        g_dir_close(dir);
    }
    return found;
}

/* The program's name without its directory, then its words; NULL: it cannot be seen. */
static GStrv command_of(const char *pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/cmdline", pid);
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *text = NULL;
    gsize size;

    if (!g_file_get_contents(path, &text, &size, NULL) || size == 0) {
        return NULL;
    }
    for (const char *at = text; at < text + size; at += strlen(at) + 1) {
        g_ptr_array_add(words, words->len ? g_strdup(at) : g_path_get_basename(at));
    }
    g_ptr_array_add(words, NULL);
    return (GStrv)g_ptr_array_free(g_steal_pointer(&words), FALSE);
}

/* The first process of which `is` says yes; 0: none. */
static int find_process(bool (*is)(int pid, GStrv command, const void *arg), const void *arg)
{
    GDir *dir = g_dir_open("/proc", 0, NULL);
    const char *name;
    int found = 0;

    while (dir && !found && (name = g_dir_read_name(dir))) {
        g_auto(GStrv) command = g_ascii_isdigit(*name) ? command_of(name) : NULL;
        int pid = atoi(name);

        if (command && pid != getpid() && is(pid, command, arg)) {
            found = pid;
        }
    }
    if (dir) {
        g_dir_close(dir);
    }
    return found;
}

static bool serves_image(int pid, GStrv command, const void *file)
{
    /* keeper.c of the block back end calls them so. */
    if (strcmp(command[0], "qemu-storage-daemon") != 0 && strcmp(command[0], "qemu-nbd") != 0) {
        return false;
    }
    for (char **word = command + 1; *word; word++) {
        if (strstr(*word, file)) {
            return true;
        }
    }
    return false;
}

int host_image_server(const char *file)
{
    return *file ? find_process(serves_image, file) : 0;
}

/* ---- the toolstack ---- */

struct guest_names {
    const char *name, *domid;
    char *log; /* that xl has open while it watches the guest */
};

static bool has_open(int pid, const char *end)
{
    g_autofree char *directory = g_strdup_printf("/proc/%d/fd", pid);
    GDir *dir = g_dir_open(directory, 0, NULL);
    bool found = false;
    const char *name;

    while (dir && !found && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(directory, name, NULL);
        g_autofree char *to = g_file_read_link(path, NULL);

        found = to && g_str_has_suffix(to, end);
    }
    if (dir) {
        g_dir_close(dir);
    }
    return found;
}

/* "web", "7" or "/etc/xen/web.cfg". */
static bool names(const char *word, const struct guest_names *guest)
{
    g_autofree char *base = g_path_get_basename(word);
    size_t length = strlen(guest->name);

    return strcmp(word, guest->name) == 0 || strcmp(word, guest->domid) == 0 ||
           (strncmp(base, guest->name, length) == 0 && base[length] == '.');
}

/* xl create stays, and waits for the guest's end, with its log open: it is not at work then. */
static bool watches(int pid, GStrv command, const void *guest)
{
    return strcmp(command[0], "xl") == 0 && has_open(pid, ((const struct guest_names *)guest)->log);
}

static bool works_on(int pid, GStrv command, const void *guest)
{
    static const char *const programs[] = {"xl", "libxl-save-helper", "gdbsx", "xendmctl"};
    unsigned i = 0;

    while (i < G_N_ELEMENTS(programs) && strcmp(command[0], programs[i]) != 0) {
        i++;
    }
    if (i == G_N_ELEMENTS(programs) || watches(pid, command, guest) ||
        (strcmp(command[0], "xendmctl") == 0 && g_strcmp0(command[1], "gdb") != 0)) {
        return false;
    }
    for (char **word = command + 1; *word; word++) {
        if (names(*word, guest)) {
            return true;
        }
    }
    return false;
}

static char *toolstack(const struct report *r, bool (*is)(int pid, GStrv command, const void *arg))
{
    g_autofree char *domid = g_strdup_printf("%u", r->page->raw.domid),
                    *log = g_strdup_printf("/xl-%s.log", r->page->raw.name);
    struct guest_names guest = {r->page->raw.name, domid, log};
    int pid = find_process(is, &guest);
    g_autofree char *number = g_strdup_printf("%d", pid), *words = NULL, *clean = NULL;
    g_auto(GStrv) command = pid ? command_of(number) : NULL;

    if (!command) {
        return NULL;
    }
    words = g_strjoinv(" ", command);
    clean = page_clean(words);
    return g_strdup_printf("process %d (%.60s)", pid, clean);
}

char *why_toolstack(const struct report *r)
{
    return toolstack(r, works_on);
}

char *why_watcher(const struct report *r)
{
    return toolstack(r, watches);
}

/* ---- xenstore, by its wire protocol: libxenstore would wait for ever ---- */

struct xs {
    int fd;
    int pid; /* who serves; 0: not known */
};

static bool wait_for(int fd, short events)
{
    struct pollfd p = {fd, events, 0};

    return poll(&p, 1, ANSWER_MS) == 1 && (p.revents & events);
}

static bool transfer(int fd, void *data, size_t size, bool out)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = !wait_for(fd, out ? POLLOUT : POLLIN) ? -1
                    : out ? send(fd, (char *)data + done, size - done, MSG_NOSIGNAL)
                          : recv(fd, (char *)data + done, size - done, 0);

        if (n <= 0) {
            return false;
        }
        done += (size_t)n;
    }
    return true;
}

/* What a node holds, or its children's names; with a NUL behind it. NULL: it is not there. */
static char *xs_ask(const struct xs *xs, enum xsd_sockmsg_type type, size_t *size, bool *answered,
                    const char *fmt, ...) G_GNUC_PRINTF(5, 6);
static char *xs_ask(const struct xs *xs, enum xsd_sockmsg_type type, size_t *size, bool *answered,
                    const char *fmt, ...)
{
    g_autofree char *path = NULL, *answer = NULL;
    struct xsd_sockmsg head = {.type = type};
    va_list args;

    va_start(args, fmt);
    path = g_strdup_vprintf(fmt, args);
    va_end(args);
    head.len = (uint32_t)strlen(path) + 1;
    *answered = transfer(xs->fd, &head, sizeof(head), true) &&
                transfer(xs->fd, path, head.len, true) &&
                transfer(xs->fd, &head, sizeof(head), false) && head.len <= XENSTORE_PAYLOAD_MAX;
    if (!*answered) {
        return NULL;
    }
    answer = g_malloc0(head.len + 1);
    *answered = transfer(xs->fd, answer, head.len, false);
    *size = head.len;
    return *answered && head.type == (uint32_t)type ? g_steal_pointer(&answer) : NULL;
}

static bool xs_open(struct xs *xs)
{
    const char *directory = getenv("XENSTORED_RUNDIR");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred who;
    socklen_t size = sizeof(who);

    *xs = (struct xs){-1, 0};
    g_snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket",
               directory ? directory : "/run/xenstored");
    xs->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (xs->fd < 0 || connect(xs->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        return false;
    }
    if (getsockopt(xs->fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0) {
        xs->pid = who.pid;
    }
    return true;
}

static void xs_close(struct xs *xs)
{
    if (xs->fd >= 0) {
        close(xs->fd);
    }
}

void why_xenstore(struct report *r)
{
    bool answered = false;
    struct xs xs;
    size_t size;

    if (xs_open(&xs)) {
        g_autofree char *any = xs_ask(&xs, XS_READ, &size, &answered, "/local/domain/0/name");

        if (!answered) {
            g_autofree char *doing = host_process_doing(xs.pid);

            why_blame(r,
                      "xenstored, process %d%s, does not answer: the toolstack, and every PV "
                      "device that comes or goes, waits for it",
                      xs.pid, doing);
        }
    } else if (errno == ECONNREFUSED || errno == EAGAIN) {
        why_blame(r, "xenstored is gone: nobody listens on its socket");
    }
    xs_close(&xs);
}

/* ---- PV devices ---- */

static const char *xenbus_state(int state)
{
    static const char *const names[] = {"unknown",   "initialising", "waiting", "initialised",
                                        "connected", "closing",      "closed"};

    return state >= 0 && state < (int)G_N_ELEMENTS(names) ? names[state] : "unknown";
}

enum { INITIALISED = 3, CONNECTED = 4 };

static int state_at(const struct xs *xs, const char *path)
{
    g_autofree char *text = NULL;
    bool answered;
    size_t size;

    text = xs_ask(xs, XS_READ, &size, &answered, "%s/state", path);
    return text ? atoi(text) : 0;
}

static void frontend(struct report *r, const struct xs *xs, const char *kind, const char *id)
{
    g_autofree char *path = g_strdup_printf("/local/domain/%u/device/%s/%s", r->page->raw.domid,
                                            kind, id),
                    *back = NULL, *error = NULL, *clean = NULL;
    int state = state_at(xs, path), other;
    bool answered;
    size_t size;

    back = xs_ask(xs, XS_READ, &size, &answered, "%s/backend", path);
    other = back ? state_at(xs, back) : 0;
    if (!back || !((state == CONNECTED && other != CONNECTED) ||
                   (state == INITIALISED && other < CONNECTED))) {
        return;
    }
    error = xs_ask(xs, XS_READ, &size, &answered, "%s/hotplug-error", back);
    clean = page_clean(error ? error : "");
    why_blame(r, "the guest's PV device %s %s is %s, and its back end is %s: %s%s%s", kind, id,
              xenbus_state(state), xenbus_state(other),
              other > CONNECTED ? "it is served no more" : "it has not answered",
              *clean ? "; " : "", clean);
}

void why_frontends(struct report *r)
{
    struct xs xs;
    bool answered;
    size_t size = 0;

    if (xs_open(&xs)) {
        g_autofree char *kinds = xs_ask(&xs, XS_DIRECTORY, &size, &answered,
                                        "/local/domain/%u/device", r->page->raw.domid);

        for (const char *kind = kinds; kind && kind < kinds + size; kind += strlen(kind) + 1) {
            size_t length = 0;
            g_autofree char *ids =
                *kind ? xs_ask(&xs, XS_DIRECTORY, &length, &answered, "/local/domain/%u/device/%s",
                               r->page->raw.domid, kind)
                      : NULL;

            for (const char *id = ids; id && id < ids + length; id += strlen(id) + 1) {
                if (*id) {
                    frontend(r, &xs, kind, id);
                }
            }
        }
    }
    xs_close(&xs);
}

/* ---- images ---- */

#define CD_BLOCK 2048
#define CD_BOOT_RECORD 17

static bool has_boot_record(int fd)
{
    unsigned char sector[512], record[CD_BLOCK];

    return (pread(fd, sector, sizeof(sector), 0) == sizeof(sector) && sector[510] == 0x55 &&
            sector[511] == 0xaa) ||
           (pread(fd, record, sizeof(record), CD_BOOT_RECORD * CD_BLOCK) == sizeof(record) &&
            memcmp(record + 7, "EL TORITO SPECIFICATION", 23) == 0);
}

const char *host_not_bootable(const char *file)
{
    int ends[2], status = 0;
    bool answered;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0) {
        return NULL;
    }
    pid = fork();
    if (pid == 0) { /* a file can be of a server that never answers */
        int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

        _exit(fd < 0 ? 2 : has_boot_record(fd) ? 0 : 1);
    }
    close(ends[1]);
    answered = pid > 0 && wait_for(ends[0], POLLHUP) && waitpid(pid, &status, 0) == pid;
    close(ends[0]);
    if (pid > 0 && !answered) {
        kill(pid, SIGKILL);
        return "cannot be read now";
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 1 ? "has no boot sector" : NULL;
}
