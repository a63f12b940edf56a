/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is done of the sandbox before anything is opened: see sandbox.h. */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <xendm/backend.h>
#include <xendm/log.h>

#include "broker.h"
#include "sandbox.h"

#define NAMED_MAX 64u
#define HELPERS_END_MS 500

static char *own_program;
static int broker_socket = -1;
static pid_t broker_pid;

/* ---- descriptors ---- */

/* "fd=3", "fds=3:4", "fd:3", "\"fd\": \"3\"": numbers that follow the letters "fd". */
static unsigned collect_named(const char *word, unsigned *named, unsigned count)
{
    for (const char *at = word; (at = strstr(at, "fd")); at += 2) {
        const char *p = at + 2 + (at[2] == 's');

        p += strspn(p, "\"'=: ");
        while (*p >= '0' && *p <= '9' && count < NAMED_MAX) {
            char *end;

            named[count++] = (unsigned)MIN(strtoul(p, &end, 10), INT_MAX);
            p = *end == ':' ? end + 1 : end;
        }
    }
    return count;
}

static int compare(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

    return x < y ? -1 : x > y;
}

void sandbox_close_inherited(int argc, char **argv)
{
    unsigned named[NAMED_MAX], count = 0, next = STDERR_FILENO + 1;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--update-from") == 0) {
            return; /* dm/update knows what is ours */
        }
        count = collect_named(argv[i], named, count);
    }
    if (count == NAMED_MAX) {
        return; /* rather too many than one too few */
    }
    qsort(named, count, sizeof(named[0]), compare);
    for (unsigned i = 0; i < count; i++) {
        if (named[i] > next) {
            close_range(next, named[i] - 1, 0);
        }
        next = MAX(next, named[i] + 1);
    }
    close_range(next, UINT_MAX, 0);
}

/* ---- the broker ---- */

const char *sandbox_own_program(void)
{
    return own_program ? own_program : "";
}

/* A package's new file may have taken the name by the time that somebody asks. */
static void remember_program(void)
{
    own_program = g_file_read_link("/proc/self/exe", NULL);
    if (own_program && g_str_has_suffix(own_program, " (deleted)")) {
        own_program[strlen(own_program) - strlen(" (deleted)")] = '\0';
    }
}

static void start_broker(const struct machine_desc *desc)
{
    bool locked_up = desc->chroot_dir || desc->run_as || desc->restrict_domid;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        log_info(LOG_DM, "sandbox: no broker: %s", g_strerror(errno));
        return;
    }
    broker_pid = fork();
    if (broker_pid == 0) {
        close(pair[0]);
        broker_serve(pair[1], rules_new(desc, locked_up, sandbox_own_program()));
    }
    close(pair[1]);
    if (broker_pid < 0) {
        log_info(LOG_DM, "sandbox: no broker: %s", g_strerror(errno));
        broker_pid = 0;
        close(pair[0]);
        return;
    }
    broker_socket = pair[0];
    broker_use(pair[0]);
}

/* ---- namespaces ---- */

/* An NBD server or an image elsewhere: "nbd://host/", "rbd:pool/image"; not "/dir/a:b". */
static bool is_elsewhere(const struct object_desc *o)
{
    const char *file = o->kind == BACKEND_BLOCK ? object_option(o, "file") : NULL;

    return file && strcmp(o->driver, "raw") != 0 && strcspn(file, ":") < strcspn(file, "/");
}

static bool wants_network(const struct machine_desc *desc)
{
    for (guint i = 0; i < desc->objects->len; i++) {
        const struct object_desc *o = g_ptr_array_index(desc->objects, i);

        if (o->what == OBJECT_BACKEND && (o->kind == BACKEND_NET || object_option(o, "host") ||
                                          object_option(o, "port") || is_elsewhere(o))) {
            return true;
        }
    }
    return desc->vnc != NULL;
}

/* Before there are threads: each would keep the ones that it was born into. */
static void leave_namespaces(const struct machine_desc *desc)
{
    int flags = CLONE_NEWIPC | (wants_network(desc) ? 0 : CLONE_NEWNET);

    if (unshare(flags) < 0) {
        log_info(LOG_DM, "sandbox: no namespaces of our own: %s", g_strerror(errno));
    }
}

/*
 * What the C library reads when it is first wanted, which may be behind the line: the time zone of
 * the log, and what unwinds a thread that libxenstore cancels at the end.
 */
static void load_late_files(void)
{
    tzset();
    dlopen("libgcc_s.so.1", RTLD_NOW); /* stays */
}

void sandbox_begin(const struct machine_desc *desc, int argc, char **argv)
{
    remember_program();
    program_set_command_line(argc, argv);
    if (desc->sandbox != SANDBOX_OFF) {
        load_late_files();
        start_broker(desc);
        leave_namespaces(desc);
    }
}

/* -1: all. Nothing keeps us: one may be in a system call that does not end. */
static void await_end(pid_t pid)
{
    for (int i = 0; i < HELPERS_END_MS; i++) {
        pid_t ended = waitpid(pid, NULL, WNOHANG);

        if (ended < 0 || ended == pid) {
            break;
        }
        g_usleep(1000);
    }
}

void sandbox_end_as_it_is(void)
{
    close_range(STDERR_FILENO + 1, UINT_MAX, 0); /* by which they hear of it */
    await_end(-1);
    _exit(EXIT_SUCCESS);
}

void sandbox_end(void)
{
    if (broker_pid > 0) {
        close(broker_socket);
        await_end(broker_pid);
        broker_pid = 0;
    }
}
