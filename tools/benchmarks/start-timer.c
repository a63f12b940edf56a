/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Times a device model's start: run in its place with libxl's arguments, it becomes $BENCH_DM by
 * exec, while a child of its own watches until QMP has answered a command and xenstore says
 * "running". $BENCH_OUT then holds one line: nanoseconds from exec to the QMP answer, and to
 * `running`.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <xenstore.h>

#define GIVE_UP_NS (INT64_C(30) * 1000000000)
#define LOOK_NS 100000 /* a socket that is not there yet cannot be waited for */

struct watcher {
    struct xs_handle *xs;
    char state_path[64];
    struct sockaddr_un qmp;
    int qmp_fd;
    bool asked, answered, running;
    char text[4096];
    size_t len;
};

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool state_running(struct watcher *w)
{
    unsigned n;
    char *state = xs_read(w->xs, XBT_NULL, w->state_path, &n);
    bool running = state && strcmp(state, "running") == 0;

    free(state);
    return running;
}

static void qmp_try(struct watcher *w)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (struct sockaddr *)&w->qmp, sizeof(w->qmp)) < 0) {
        close(fd);
        return;
    }
    w->qmp_fd = fd;
}

static void qmp_read(struct watcher *w)
{
    static const char ask[] = "{\"execute\":\"qmp_capabilities\"}\r\n";
    ssize_t n = read(w->qmp_fd, w->text + w->len, sizeof(w->text) - 1 - w->len);

    if (n <= 0) {
        fprintf(stderr, "start-timer: QMP closed\n");
        exit(1);
    }
    w->len += (size_t)n;
    w->text[w->len] = '\0';
    if (!w->asked && strchr(w->text, '\n')) {
        w->asked = write(w->qmp_fd, ask, sizeof(ask) - 1) == (ssize_t)sizeof(ask) - 1;
    }
    w->answered = strstr(w->text, "\"return\"") != NULL;
}

/* Writes the result and ends. */
static void watch(struct watcher *w, int ready_fd, int start_fd)
{
    int64_t begin, end, qmp_ns = 0, running_ns = 0;
    FILE *out;

    xs_watch(w->xs, w->state_path, "");
    if (write(ready_fd, "", 1) != 1 || read(start_fd, &begin, sizeof(begin)) != sizeof(begin)) {
        exit(1);
    }
    end = begin + GIVE_UP_NS;
    while ((!w->answered || !w->running) && now_ns() < end) {
        struct pollfd p[2] = {{.fd = xs_fileno(w->xs), .events = POLLIN},
                              {.fd = w->qmp_fd, .events = POLLIN}};
        struct timespec look = {.tv_sec = w->qmp_fd < 0 ? 0 : 1,
                                .tv_nsec = w->qmp_fd < 0 ? LOOK_NS : 0};
        char **event;

        ppoll(p, 2, &look, NULL);
        if (w->qmp_fd < 0) {
            qmp_try(w);
        } else if (p[1].revents) {
            qmp_read(w);
            qmp_ns = w->answered ? now_ns() - begin : 0;
        }
        while (!w->running && (event = xs_check_watch(w->xs)) != NULL) {
            free(event);
            w->running = state_running(w);
            running_ns = now_ns() - begin;
        }
    }
    out = fopen(getenv("BENCH_OUT"), "w");
    if (out) {
        fprintf(out, "%lld %lld\n", (long long)(w->answered ? qmp_ns : -1),
                (long long)(w->running ? running_ns : -1));
        fclose(out);
    }
    exit(0);
}

int main(int argc, char **argv)
{
    struct watcher w = {.qmp_fd = -1, .qmp = {.sun_family = AF_UNIX}};
    int ready[2], start[2];
    int64_t begin;
    char byte;

    for (int i = 1; i + 1 < argc; i++) {
        const char *path = strstr(argv[i + 1], "id=libxl-cmd,path=");

        if (!strcmp(argv[i], "-xen-domid")) {
            snprintf(w.state_path, sizeof(w.state_path), "/local/domain/0/device-model/%s/state",
                     argv[i + 1]);
        } else if (!strcmp(argv[i], "-chardev") && path) {
            path += strlen("id=libxl-cmd,path=");
            snprintf(w.qmp.sun_path, sizeof(w.qmp.sun_path), "%.*s", (int)strcspn(path, ","), path);
        }
    }
    if (!getenv("BENCH_DM") || !getenv("BENCH_OUT") || pipe(ready) < 0 || pipe(start) < 0) {
        fprintf(stderr, "start-timer: BENCH_DM and BENCH_OUT\n");
        return 1;
    }
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        w.xs = xs_open(0);
        if (!w.xs) {
            return 1;
        }
        watch(&w, ready[1], start[0]);
    }
    if (read(ready[0], &byte, 1) != 1) {
        return 1;
    }
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(start[0]);
    }
    begin = now_ns();
    if (write(start[1], &begin, sizeof(begin)) != sizeof(begin)) {
        return 1;
    }
    close(start[1]);
    argv[0] = getenv("BENCH_DM");
    execv(argv[0], argv);
    fprintf(stderr, "start-timer: %s: %s\n", argv[0], strerror(errno));
    return 127;
}
