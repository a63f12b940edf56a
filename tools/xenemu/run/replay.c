/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `xenemu replay`: around a recording (docs/recording.md) what `xenemu run` does around a guest.
 * The device model gets the arguments that it was recorded with, but for what leads to the host:
 * drives become empty files of the same size, serial ports and networks go nowhere, and there is no
 * monitor, since what came from there is in the recording.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "control.h"
#include "device-model.h"
#include "environment.h"
#include "libxl.h"
#include "process.h"
#include "replay.h"
#include "run.h"

#define MAGIC "XENDMREC"
#define VERSION 1u
#define ORDER 0x01020304u
#define VIDEO_PAGES_MAX 0x20000u
#define DIFFERS 3 /* the device model's status */
#define LOG_LINES 12

struct recording {
    GMappedFile *file;
    const char *texts, *state;
    uint32_t texts_len, state_len;
    size_t entries; /* offset */
    GPtrArray *arguments;
    GPtrArray *drives; /* "ID BYTES ro|rw present|empty" */
    GPtrArray *files;  /* "ID BYTES BEGINNING" */
};

static char *under;
static gboolean with_gdb;

/* ---- the head of the file ---- */

static bool take_u32(const char *data, size_t len, size_t *at, uint32_t *value)
{
    const uint8_t *p = (const uint8_t *)data + *at;

    if (len - *at < 4)
        return false;
    *value = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    *at += 4;
    return true;
}

static bool read_texts(struct recording *r)
{
    const char *at = r->texts, *end = r->texts + r->texts_len;

    r->arguments = g_ptr_array_new();
    r->drives = g_ptr_array_new();
    r->files = g_ptr_array_new();
    if (r->texts_len == 0 || end[-1])
        return false;
    for (; at < end; at += strlen(at) + 1) {
        const char *value = strchr(at, '=');

        if (!value)
            return false;
        if (g_str_has_prefix(at, "argument="))
            g_ptr_array_add(r->arguments, (char *)(uintptr_t)(value + 1));
        else if (g_str_has_prefix(at, "drive="))
            g_ptr_array_add(r->drives, (char *)(uintptr_t)(value + 1));
        else if (g_str_has_prefix(at, "file="))
            g_ptr_array_add(r->files, (char *)(uintptr_t)(value + 1));
        else if (g_str_has_prefix(at, "vcpus="))
            opt.vcpus = CLAMP(atoi(value + 1), 1, 128);
    }
    return true;
}

static bool recording_open(struct recording *r, const char *path)
{
    uint32_t version = 0, order = 0;
    GError *error = NULL;
    const char *data;
    size_t len, at = strlen(MAGIC);

    r->file = g_mapped_file_new(path, FALSE, &error);
    if (!r->file)
        return complain("%s", error->message);
    data = g_mapped_file_get_contents(r->file);
    len = g_mapped_file_get_length(r->file);
    if (len < at || memcmp(data, MAGIC, at) != 0)
        return complain("%s is no recording", path);
    if (!take_u32(data, len, &at, &version) || !take_u32(data, len, &at, &order) ||
        version != VERSION || order != ORDER)
        return complain("%s: version %u of recordings; this is for %u", path, version, VERSION);
    if (!take_u32(data, len, &at, &r->texts_len) || r->texts_len > len - at)
        return complain("%s: its head is cut", path);
    r->texts = data + at;
    at += r->texts_len;
    if (!take_u32(data, len, &at, &r->state_len) || r->state_len > len - at)
        return complain("%s: the saved state in it is cut", path);
    r->state = data + at;
    r->entries = at + r->state_len;
    return read_texts(r) || complain("%s: its head is damaged", path);
}

/* ---- what the domain was ---- */

/* "name=value" of a list with commas, from the start of `list` or behind one. */
static char *value_in(const char *list, const char *name)
{
    char **parts = g_strsplit(list, ",", -1), *found = NULL;
    size_t n = strlen(name);

    for (unsigned int i = 0; parts[i] && !found; i++)
        if (!strncmp(parts[i], name, n) && parts[i][n] == '=')
            found = g_strdup(parts[i] + n + 1);
    g_strfreev(parts);
    return found;
}

static uint64_t number_in(const char *list, const char *name)
{
    char *text = value_in(list, name);
    uint64_t value = text ? g_ascii_strtoull(text, NULL, 10) : 0;

    g_free(text);
    return value;
}

/* A number of the saved state, whose fields have names (docs/state-format.md); false: none. */
static bool find_field(const struct recording *r, const char *name, unsigned int bytes,
                       uint64_t *value)
{
    char pattern[32];
    unsigned int n = (unsigned int)strlen(name);
    const char *found;

    pattern[0] = (char)n;
    memcpy(pattern + 1, name, n);
    memset(pattern + 1 + n, 0, 4);
    pattern[1 + n] = (char)bytes;
    found = memmem(r->state, r->state_len, pattern, n + 5);
    if (!found || (size_t)(r->state + r->state_len - found) < n + 5 + bytes)
        return false;
    *value = 0;
    memcpy(value, found + n + 5, bytes);
    return true;
}

/* Video memory is guest memory, where it was. */
static void ask_for_video_memory(const struct recording *r)
{
    uint64_t gfn, pages;

    if (find_field(r, "saved_gfn", 8, &gfn) && find_field(r, "saved_pages", 4, &pages) &&
        pages <= VIDEO_PAGES_MAX) {
        opt.populate = g_new0(char *, 2);
        opt.populate[0] = g_strdup_printf("%" PRIu64 "+%" PRIu64, gfn, pages);
    }
}

static const char *option_name(const char *argument)
{
    return argument[0] != '-' ? "" : argument + 1 + (argument[1] == '-');
}

static void read_domain(const struct recording *r)
{
    unsigned int video = 0, ram = 512;

    opt.vga = g_strdup("none");
    for (unsigned int i = 0; i + 1 < r->arguments->len; i++) {
        const char *name = option_name(r->arguments->pdata[i]);
        const char *value = r->arguments->pdata[i + 1];

        if (!strcmp(name, "xen-domid")) {
            opt.domid = CLAMP(atoi(value), 1, 0x7fef);
        } else if (!strcmp(name, "m")) {
            ram = (unsigned int)CLAMP(atoi(value), 8, 1 << 20);
        } else if (!strcmp(name, "machine")) {
            uint64_t end = number_in(value, "max-ram-below-4g");

            opt.mmio_hole = end && end < UINT64_C(1) << 32
                                ? (int)(((UINT64_C(1) << 32) - end) >> 20)
                                : opt.mmio_hole;
        } else if (!strcmp(name, "device") &&
                   (g_str_has_prefix(value, "cirrus-vga") || g_str_has_prefix(value, "VGA"))) {
            g_free(opt.vga);
            opt.vga = g_strdup(value[0] == 'V' ? "stdvga" : "cirrus");
            video = (unsigned int)number_in(value, "vgamem_mb");
        }
    }
    opt.memory = (int)(ram + video);
    opt.name = g_strdup_printf("xenemu%d", opt.domid);
    ask_for_video_memory(r);
}

/* ---- the device model ---- */

static const char *const dropped_alone[] = {"S", "daemonize", "xen-domid-restrict", NULL};
static const char *const dropped[] = {"chroot",      "runas", "run-with", "pidfile",
                                      "incoming",    "vnc",   "k",        "mon",
                                      "update-from", "spice", NULL};

/* A file of so many bytes that begins so, the rest zeros. */
static bool make_file(const char *path, uint64_t bytes, const void *beginning, size_t len)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && ftruncate(fd, (off_t)bytes) == 0 &&
                pwrite(fd, beginning, len, 0) == (ssize_t)len;

    if (!good)
        complain("%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return good;
}

/* The drive as it was, with an empty file as its medium; NULL: said. */
static char *drive_argument(const char *value, const char *drive, unsigned int number)
{
    static const char *const kept[] = {"if", "index", "bus", "unit", "media", "id", "readonly"};
    char **words = g_strsplit(drive, " ", -1);
    GString *text = g_string_new(NULL);
    char *path = g_strdup_printf("%s/drive-%u", run.dir, number);
    bool good = g_strv_length(words) == 4;

    for (unsigned int i = 0; i < G_N_ELEMENTS(kept); i++) {
        char *word = value_in(value, kept[i]);

        if (word)
            g_string_append_printf(text, "%s%s=%s", text->len ? "," : "", kept[i], word);
        g_free(word);
    }
    if (good && !strcmp(words[3], "present")) {
        good = make_file(path, g_ascii_strtoull(words[1], NULL, 10), "", 0);
        g_string_append_printf(text, ",file=%s,format=raw", path);
    }
    g_strfreev(words);
    g_free(path);
    return g_string_free(text, !good);
}

/* A kernel as large as it was, which is read from the recording but for its beginning. */
static char *file_argument(const struct recording *r, const char *id)
{
    char *path = g_strdup_printf("%s/file-%s", run.dir, id);
    bool good = false;

    for (unsigned int i = 0; i < r->files->len && !good; i++) {
        char **words = g_strsplit(r->files->pdata[i], " ", 3);

        if (g_strv_length(words) == 3 && !strcmp(words[0], id)) {
            gsize len;
            guchar *bytes = g_base64_decode(words[2], &len);

            good = make_file(path, g_ascii_strtoull(words[1], NULL, 10), bytes, len);
            g_free(bytes);
        }
        g_strfreev(words);
    }
    if (good)
        return path;
    complain("the recording's file '%s'", id);
    g_free(path);
    return NULL;
}

/* A cable that is plugged in, and whose other end nobody looks at. */
static char *netdev_argument(const char *id)
{
    int ends[2]; /* the first is inherited on purpose */

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0)
        return g_strdup_printf("socket,id=%s,fd=%d", id, ends[0]);
    complain("no socket: %s", strerror(errno));
    return NULL;
}

static bool is_in(const char *const *names, const char *name)
{
    for (; *names; names++)
        if (!strcmp(*names, name))
            return true;
    return false;
}

static void add_pair(GPtrArray *to, const char *option, char *value)
{
    g_ptr_array_add(to, g_strdup(option));
    g_ptr_array_add(to, value);
}

/* What stands for an argument's value that leads to the host. NULL: said. */
static char *changed_value(const struct recording *r, const char *name, const char *value,
                           unsigned int *drives)
{
    char *id = value_in(value, "id"), *changed;

    if (!strcmp(name, "drive")) {
        changed = drive_argument(value, r->drives->pdata[*drives], *drives);
        ++*drives;
        if (!changed)
            complain("the recording's drive '%s'", value);
    } else if (!strcmp(name, "netdev")) {
        changed = netdev_argument(id ? id : "");
    } else if (!strcmp(name, "serial")) {
        changed = g_strdup(!strcmp(value, "none") || g_str_has_prefix(value, "chardev:") ? value
                                                                                         : "null");
    } else if (!strcmp(name, "chardev")) {
        changed = g_strdup_printf("null,id=%s", id ? id : "");
    } else if (!strcmp(name, "audiodev")) {
        changed = g_strdup_printf("none,id=%s", id ? id : "");
    } else if (!strcmp(name, "fsdev")) { /* its server is asked for nothing */
        changed = g_strdup_printf("local,security_model=none,path=%s,id=%s", run.dir, id ? id : "");
    } else {
        changed = file_argument(r, name);
    }
    g_free(id);
    return changed;
}

static bool add_recorded(GPtrArray *to, const struct recording *r)
{
    static const char *const to_host[] = {"drive", "netdev", "serial", "chardev", "audiodev",
                                          "fsdev", "kernel", "initrd", NULL};
    unsigned int drives = 0;

    for (unsigned int i = 0; i < r->arguments->len; i++) {
        const char *argument = r->arguments->pdata[i], *name = option_name(argument);
        const char *value = i + 1 < r->arguments->len ? r->arguments->pdata[i + 1] : "";

        if (is_in(dropped_alone, name))
            continue;
        if (is_in(dropped, name)) {
            i++;
        } else if (!strcmp(name, "drive") && drives == r->drives->len) {
            return complain("the recording has fewer drives than its command line");
        } else if (is_in(to_host, name)) {
            char *changed = changed_value(r, name, value, &drives);

            if (!changed)
                return false;
            add_pair(to, argument, changed);
            i++;
        } else {
            g_ptr_array_add(to, g_strdup(argument));
        }
    }
    return true;
}

static int put_state(const struct recording *r)
{
    char *path = g_strdup_printf("%s/replay.state", run.dir);
    GError *error = NULL;
    int fd = -1;

    if (!g_file_set_contents(path, r->state, r->state_len, &error))
        complain("%s", error->message);
    else
        fd = open(path, O_RDONLY); /* inherited on purpose */
    g_free(path);
    return fd;
}

/* Its status; 2: it could not be started, or died. */
static int play(const struct recording *r, const char *path)
{
    GPtrArray *argv = g_ptr_array_new();
    struct child c = {.env = dm_environment(), .log = run.log, .tells = true};
    char **words = under ? g_strsplit(under, " ", -1) : NULL;
    int state = put_state(r), tape = open(path, O_RDONLY), status = 0;

    if (state < 0 || tape < 0 || lseek(tape, (off_t)r->entries, SEEK_SET) < 0)
        return 2;
    for (unsigned int i = 0; words && words[i]; i++)
        g_ptr_array_add(argv, words[i]);
    g_ptr_array_add(argv, opt.dm);
    if (!add_recorded(argv, r))
        return 2;
    add_pair(argv, "-incoming", g_strdup_printf("fd:%d", state));
    add_pair(argv, "--replay", g_strdup_printf("fd:%d%s", tape, under ? ",trap" : ""));
    if (opt.verbose)
        for (unsigned int i = 0; i < argv->len; i++)
            printf("%s%s", (char *)argv->pdata[i], i + 1 < argv->len ? " " : "\n");
    fflush(stdout);
    g_ptr_array_add(argv, NULL);
    c.argv = (char **)argv->pdata;
    c.terminal = under != NULL;
    run.dm = spawn(&c);
    close(state);
    close(tape);
    while (!stop && waitpid(run.dm, &status, WNOHANG) == 0)
        g_usleep(2000);
    if (stop)
        return 2;
    run.dm = 0;
    if (under)
        return 0;
    if (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == DIFFERS))
        return WEXITSTATUS(status) == 0 ? 0 : 1;
    complain("the device model did not come to the recording's end");
    print_log_end(run.log, LOG_LINES);
    return 2;
}

static const GOptionEntry entries[] = {
    {"dm", 0, 0, G_OPTION_ARG_FILENAME, &opt.dm, "Device model (default: xendm in $PATH)", "PATH"},
    {"gdb", 0, 0, G_OPTION_ARG_NONE, &with_gdb, "Under gdb, which stops at the difference", NULL},
    {"under", 0, 0, G_OPTION_ARG_STRING, &under, "Under another program, e.g. valgrind", "COMMAND"},
    {"rundir", 0, 0, G_OPTION_ARG_FILENAME, &opt.rundir, "Directory for sockets and logs", "DIR"},
    {"xenstored", 0, 0, G_OPTION_ARG_FILENAME, &opt.xenstored, "xenstored to use", "PATH"},
    {"keep", 0, 0, G_OPTION_ARG_NONE, &opt.keep, "Keep the directory", NULL},
    {"verbose", 'v', 0, G_OPTION_ARG_NONE, &opt.verbose, "Print the argument vector", NULL},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static bool parse(int *argc, char ***argv)
{
    GOptionContext *oc = g_option_context_new("FILE");
    GError *error = NULL;

    g_option_context_add_main_entries(oc, entries, NULL);
    g_option_context_set_summary(oc, "Gives a device model what a recording has, and compares.");
    if (!g_option_context_parse(oc, argc, argv, &error))
        return complain("%s", error->message);
    if (*argc != 2)
        return complain("one recording, please");
    if (!opt.dm)
        opt.dm = g_find_program_in_path("xendm");
    if (!opt.dm || access(opt.dm, X_OK))
        return complain("%s: %s", opt.dm ? opt.dm : "xendm", strerror(errno));
    if (with_gdb && !under)
        under = g_strdup("gdb -q -ex run --args");
    return true;
}

static void on_signal(int sig)
{
    stop = sig;
}

int replay_main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = on_signal};
    struct recording r = {.file = NULL};
    int status = 2;

    if (!parse(&argc, &argv) || !recording_open(&r, argv[1]))
        return 2;
    read_domain(&r);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
    if (under)
        signal(SIGINT, SIG_IGN); /* it is the debugger's */
    else
        sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (find_libdir() && set_up())
        status = play(&r, argv[1]);
    return tear_down(false, status);
}
