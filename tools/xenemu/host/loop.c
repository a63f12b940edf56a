/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host process: main loop, listening sockets, log. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "../faults/faults.h"
#include "../rpc/rpc.h"
#include "domain-life.h"
#include "domain.h"

struct listener {
    struct source src; /* must be first */
    bool library;      /* else the command socket */
    uint32_t domid;    /* command socket: selected domain; 0 = none */
};

void host_log(struct host *h, const char *fmt, ...)
{
    va_list ap;

    if (!h->log)
        return;
    va_start(ap, fmt);
    vfprintf(h->log, fmt, ap);
    va_end(ap);
    fputc('\n', h->log);
    fflush(h->log);
}

void host_watch(struct host *h, struct source *s, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = s};

    if (epoll_ctl(h->epfd, EPOLL_CTL_ADD, s->fd, &e) < 0)
        host_log(h, "epoll: %s", strerror(errno));
}

void host_rewatch(struct host *h, struct source *s, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = s};

    if (epoll_ctl(h->epfd, EPOLL_CTL_MOD, s->fd, &e) < 0)
        host_log(h, "epoll: %s", strerror(errno));
}

void host_unwatch(struct host *h, struct source *s)
{
    epoll_ctl(h->epfd, EPOLL_CTL_DEL, s->fd, NULL);
}

void host_event(struct host *h, struct domain *d, enum host_event what, const char *fmt, ...)
{
    va_list ap;

    if (!h->hooks)
        return;
    va_start(ap, fmt);
    h->hooks->on_event(h, d, what, fmt, ap);
    va_end(ap);
}

static void listener_ready(struct host *h, struct source *s, uint32_t events)
{
    struct listener *l = (struct listener *)s;
    int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);

    (void)events;
    if (fd < 0)
        return;
    if (h->hooks)
        h->hooks->on_accept(h, fd, l->library, l->domid ? domain_find(h, l->domid) : NULL);
    else
        close(fd);
}

static int listen_unix(const char *path, int type)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(sa.sun_path))
        return -ENAMETOOLONG;
    strcpy(sa.sun_path, path);
    fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    unlink(path);
    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 64) < 0) {
        int r = -errno;

        close(fd);
        return r;
    }
    return fd;
}

static int host_listen_any(struct host *h, const char *path, bool library, uint32_t domid)
{
    int fd = listen_unix(path, library ? SOCK_SEQPACKET : SOCK_STREAM);
    struct listener *l;

    if (fd < 0)
        return fd;
    l = g_new0(struct listener, 1);
    l->src.fd = fd;
    l->src.ready = listener_ready;
    l->library = library;
    l->domid = domid;
    host_watch(h, &l->src, EPOLLIN);
    return 0;
}

int host_listen(struct host *h, const char *path, struct domain *dom)
{
    return host_listen_any(h, path, false, dom ? dom->id : 0);
}

struct host *host_new(const struct host_hooks *hooks)
{
    struct host *h = g_new0(struct host, 1);
    const char *err;

    h->hooks = hooks;
    pthread_mutex_init(&h->big, NULL);
    pthread_cond_init(&h->idle, NULL);
    h->epfd = epoll_create1(EPOLL_CLOEXEC);
    h->conns = g_ptr_array_new();
    h->domains = g_hash_table_new(g_direct_hash, g_direct_equal);
    h->mappings = g_ptr_array_new();
    h->map_by_addr = g_hash_table_new(g_direct_hash, g_direct_equal);
    h->sessions = g_ptr_array_new();
    h->faults = g_array_new(FALSE, FALSE, sizeof(struct fault));
    h->missing = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    h->op_count = g_hash_table_new(g_direct_hash, g_direct_equal);
    h->left = g_ptr_array_new_with_free_func(g_free);
    h->graveyard = g_ptr_array_new();
    h->access_timeout_us = 10 * G_USEC_PER_SEC;
    h->log = stderr;
    domain_create(h, 0, "Domain-0", 0, 0, 0, 0, &err);
    return h;
}

void host_run(struct host *h)
{
    struct epoll_event ev[64];

    while (!h->quit) {
        int i, n = epoll_wait(h->epfd, ev, 64, 500);

        pthread_mutex_lock(&h->big);
        for (i = 0; i < n && !h->quit; i++) {
            struct source *s = ev[i].data.ptr;

            /* A source may have been closed by an earlier one of this turn. */
            if (s && s->fd >= 0)
                s->ready(h, s, ev[i].events);
        }
        ioreq_watchdog(h);
        for (i = 0; i < (int)h->graveyard->len; i++)
            g_free(g_ptr_array_index(h->graveyard, i));
        g_ptr_array_set_size(h->graveyard, 0);
        pthread_mutex_unlock(&h->big);
    }
}

static void signal_ready(struct host *h, struct source *s, uint32_t events)
{
    (void)s, (void)events;
    h->quit = true;
}

int host_main(int argc, char **argv, const struct host_hooks *hooks)
{
    static gchar *lib_path, *cmd_path, *log_path;
    static gint timeout_ms = 10000;
    static gboolean parent_death;
    static const GOptionEntry entries[] = {
        {"library-socket", 0, 0, G_OPTION_ARG_FILENAME, &lib_path,
         "Where the drop-in libraries connect (" XE_ENV_SOCKET ")", "PATH"},
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &cmd_path, "Command socket", "PATH"},
        {"log", 0, 0, G_OPTION_ARG_FILENAME, &log_path, "Log file instead of standard error",
         "FILE"},
        {"access-timeout", 0, 0, G_OPTION_ARG_INT, &timeout_ms,
         "Milliseconds a guest access may wait for the device model (default 10000)", "MS"},
        {"die-with-parent", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &parent_death, NULL, NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    GOptionContext *oc = g_option_context_new("- the process that stands for the hypervisor");
    struct source sig = {.ready = signal_ready};
    struct rlimit rl;
    GError *error = NULL;
    struct host *h;
    sigset_t set;
    int r;

    g_option_context_add_main_entries(oc, entries, NULL);
    if (!g_option_context_parse(oc, &argc, &argv, &error) || argc > 1) {
        fprintf(stderr, "xenemu host: %s\n", error ? error->message : "too many arguments");
        return 2;
    }
    g_option_context_free(oc);
    if (!lib_path || !cmd_path) {
        fprintf(stderr, "xenemu host: --library-socket and --socket are needed\n");
        return 2;
    }
    if (parent_death)
        prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (!getrlimit(RLIMIT_NOFILE, &rl)) { /* an eventfd per port, several per client */
        rl.rlim_cur = rl.rlim_max;
        setrlimit(RLIMIT_NOFILE, &rl);
    }
    signal(SIGPIPE, SIG_IGN);
    h = host_new(hooks);
    h->access_timeout_us = (int64_t)timeout_ms * 1000;
    if (log_path) {
        h->log = fopen(log_path, "ae");
        if (!h->log) {
            fprintf(stderr, "xenemu host: %s: %s\n", log_path, strerror(errno));
            return 1;
        }
    }
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sig.fd = signalfd(-1, &set, SFD_CLOEXEC);
    host_watch(h, &sig, EPOLLIN);
    r = host_listen_any(h, lib_path, true, 0);
    if (r < 0) {
        fprintf(stderr, "xenemu host: %s: %s\n", lib_path, strerror(-r));
        return 1;
    }
    r = host_listen_any(h, cmd_path, false, 0);
    if (r < 0) {
        fprintf(stderr, "xenemu host: %s: %s\n", cmd_path, strerror(-r));
        return 1;
    }
    host_run(h);
    unlink(lib_path);
    unlink(cmd_path);
    return 0;
}
