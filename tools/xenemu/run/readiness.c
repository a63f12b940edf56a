/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When the device model is ready, and the QMP exchange that libxl then does. */
#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xenstore.h>
#include "control.h"
#include "process.h"
#include "readiness.h"
#include "run.h"

/* Next CR LF terminated message, or NULL; libxl accepts nothing else as an end. */
static char *qmp_message(int fd, int timeout_ms)
{
    int64_t end = g_get_monotonic_time() + (int64_t)timeout_ms * 1000;
    GString *t = g_string_new(NULL);

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char c;

        if (t->len >= 2 && !memcmp(t->str + t->len - 2, "\r\n", 2))
            return g_string_free(t, FALSE);
        if (g_get_monotonic_time() > end || poll(&p, 1, 100) < 0 || t->len > 1 << 20)
            break;
        if (p.revents && read(fd, &c, 1) != 1)
            break;
        if (p.revents)
            g_string_append_c(t, c);
    }
    g_string_free(t, TRUE);
    return NULL;
}

static char *qmp_command(int fd, const char *cmd, unsigned int id)
{
    char *text = g_strdup_printf("{\"execute\":\"%s\",\"id\":%u}\r\n", cmd, id), *m;
    char *want = g_strdup_printf("%u", id);
    bool sent = write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    g_free(text);
    while (sent && (m = qmp_message(fd, 10000))) {
        if (strstr(m, "\"return\"") && strstr(m, want)) {
            g_free(want);
            return m;
        }
        if (strstr(m, "\"error\"")) {
            complain("QMP %s: %s", cmd, g_strchomp(m));
            g_free(m);
            g_free(want);
            return NULL;
        }
        g_free(m); /* an event */
    }
    g_free(want);
    complain("QMP %s: no answer", cmd);
    return NULL;
}

/* One connection as libxl makes it; `expect` must be in the reply of the last command. */
bool qmp_session(const char *const *cmds, const char *expect)
{
    int fd = connect_unix(run.qmp_path), i;
    unsigned int id = 0x786c7100;
    bool ok = false;
    char *m, *last = NULL;

    if (fd < 0)
        return complain("QMP %s: %s", run.qmp_path, strerror(errno));
    m = qmp_message(fd, 10000);
    if (!m || !strstr(m, "\"QMP\"") || !strstr(m, "\"major\"")) {
        complain("QMP: no greeting that ends with CR LF");
        goto out;
    }
    g_free(m);
    m = qmp_command(fd, "qmp_capabilities", id++);
    for (i = 0; m && cmds[i]; i++) {
        g_free(m);
        m = qmp_command(fd, cmds[i], id++);
        if (m && opt.verbose)
            printf("QMP %s: %s", cmds[i], m);
    }
    last = m;
    ok = m && (!expect || strstr(m, expect));
    if (m && !ok)
        complain("QMP %s: expected %s in %s", cmds[i - 1], expect, g_strchomp(m));
    m = NULL;
out:
    g_free(m);
    g_free(last);
    close(fd);
    return ok;
}

/* What libxl's probe asks: whether the reply to a command has this text. No answer is none. */
bool qmp_tells(const char *cmd, const char *text)
{
    char *ask[] = {g_strdup("{\"execute\":\"qmp_capabilities\"}\r\n"),
                   g_strdup_printf("{\"execute\":\"%s\"}\r\n", cmd),
                   g_strdup("{\"execute\":\"quit\"}\r\n")};
    int fd = connect_unix(run.qmp_path);
    char *m = fd < 0 ? NULL : qmp_message(fd, 10000); /* the greeting */
    bool found = false;
    unsigned int i;

    for (i = 0; i < G_N_ELEMENTS(ask); i++) {
        size_t len = strlen(ask[i]);

        if (m) {
            g_free(m);
            m = write(fd, ask[i], len) == (ssize_t)len ? qmp_message(fd, 10000) : NULL;
            found |= i == 1 && m && strstr(m, text);
        }
        g_free(ask[i]);
    }
    g_free(m);
    if (fd >= 0)
        close(fd);
    return found;
}

bool wait_running(void)
{
    char *path = g_strdup_printf("/local/domain/0/device-model/%d/state", opt.domid);
    int64_t end = g_get_monotonic_time() + (int64_t)opt.start_timeout * G_USEC_PER_SEC;
    bool ok = false;

    xs_watch(run.xs, path, "state");
    while (!stop && !ok) {
        struct pollfd p = {.fd = xs_fileno(run.xs), .events = POLLIN};
        unsigned int len;
        char **v, *state;

        if (run.dm && !dm_alive()) {
            dm_died();
            break;
        }
        if (g_get_monotonic_time() > end) {
            complain("the device model did not write 'running' to %s in %d s", path,
                     opt.start_timeout);
            print_log_end(run.log, 20);
            break;
        }
        if (poll(&p, 1, 50) <= 0)
            continue;
        while ((v = xs_check_watch(run.xs)))
            free(v);
        state = xs_read(run.xs, XBT_NULL, path, &len);
        ok = state && !strcmp(state, "running");
        free(state);
    }
    xs_unwatch(run.xs, path, "state");
    g_free(path);
    return ok;
}

bool wait_ready(void)
{
    static const char *const status[] = {"query-status", NULL};
    static const char *const cont[] = {"cont", NULL};
    static const char *const post[] = {"query-chardev", "query-vnc", NULL};
    bool ok;

    if (opt.restrict_dm) /* readiness is the answer on the socket that was there first */
        ok = qmp_session(status, opt.incoming ? "paused" : "prelaunch");
    else
        ok = wait_running();
    if (ok)
        printf("ready after %.1f ms\n", (double)(g_get_monotonic_time() - run.exec_time) / 1000.0);
    if (ok && opt.qmp_check)
        ok = qmp_session(post, "\"enabled\"");
    if (ok && (opt.qmp_check || opt.restrict_dm || opt.incoming))
        ok = qmp_session(cont, NULL);
    if (ok)
        g_free(ctl("unpause"));
    fflush(stdout);
    return ok;
}
