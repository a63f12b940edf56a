/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VNC, the daemon's part: opens the sockets, starts the keeper, hears from it of viewers, and
 * decides who may look. See xendm/vnc.h for who does what, wire.h for what is said.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <glib-unix.h>

#include <xendm/error.h>
#include <xendm/files.h>
#include <xendm/handover.h>
#include <xendm/helper.h>
#include <xendm/log.h>
#include <xendm/one-fd.h>
#include <xendm/turn.h>

#include "vnc.h"

#define GROUP "vnc"

/* ---- who may look ---- */

bool vnc_refuses(const struct vnc *v)
{
    return v->options.password && (!v->has_password || time(NULL) >= v->expires);
}

int vnc_set_password(struct vnc *v, const char *password, GError **err)
{
    if (!v->options.password) {
        g_set_error(err, XENDM_ERROR, EINVAL,
                    "VNC asks for no password: -vnc was given without password=on");
        return -EINVAL;
    }
    memset(v->password, 0, sizeof(v->password));
    strncpy(v->password, password, VNC_PASSWORD_MAX);
    v->has_password = password[0] != '\0';
    return 0;
}

void vnc_expire_password(struct vnc *v, int64_t when)
{
    v->expires = when;
}

bool vnc_has_auth(const struct vnc *v)
{
    return v->options.password;
}

static void tell(struct vnc *v, void (*event)(void *opaque, const struct vnc_client *client),
                 const struct vnc_client *client)
{
    if (event) {
        event(v->events_opaque, client);
    }
}

static struct vnc_viewer *viewer_at(const struct vnc *v, guint i)
{
    return g_ptr_array_index(v->viewers, i);
}

static void drop_others(struct vnc *v, const struct vnc_viewer *w)
{
    for (guint i = 0; i < v->viewers->len; i++) {
        if (viewer_at(v, i) != w && viewer_at(v, i)->client.initialized) {
            viewer_drop(viewer_at(v, i));
        }
    }
}

static bool somebody_is_alone(const struct vnc *v)
{
    for (guint i = 0; i < v->viewers->len; i++) {
        if (viewer_at(v, i)->exclusive && !viewer_at(v, i)->gone) {
            return true;
        }
    }
    return false;
}

void vnc_viewer_ready(struct vnc *v, struct vnc_viewer *w, bool shared)
{
    enum vnc_share share = v->options.share;

    if (share == VNC_SHARE_IGNORE) {
        shared = true;
    }
    if ((share == VNC_SHARE_FORCE_SHARED && !shared) || (shared && somebody_is_alone(v))) {
        viewer_drop(w);
        return;
    }
    if (!shared) {
        drop_others(v, w);
    }
    w->exclusive = !shared;
    w->client.initialized = true;
    tell(v, v->events ? v->events->initialized : NULL, &w->client);
}

void vnc_viewer_gone(struct vnc *v, struct vnc_viewer *w)
{
    struct vnc_client client = w->client;

    g_ptr_array_remove(v->viewers, w); /* frees it */
    tell(v, v->events ? v->events->disconnected : NULL, &client);
}

/* ---- the keeper ---- */

static void take_viewer(struct vnc *v, const struct vnc_message *m, int fd)
{
    struct vnc_client c = {.websocket = m->viewer.websocket};

    if (v->viewers->len >= VNC_VIEWERS_MAX) {
        close(fd);
        return;
    }
    memcpy(c.host, m->viewer.host, sizeof(c.host) - 1);
    memcpy(c.service, m->viewer.service, sizeof(c.service) - 1);
    c.family = m->viewer.family == 4 ? "ipv4" : m->viewer.family == 6 ? "ipv6" : "unix";
    struct vnc_viewer *w = viewer_new(v, fd, &c);
    g_ptr_array_add(v->viewers, w);
    tell(v, v->events ? v->events->connected : NULL, &w->client);
}

static gboolean listen_again(gpointer opaque);

static gboolean on_keeper(gint from, GIOCondition condition, gpointer opaque)
{
    struct vnc *v = opaque;
    struct vnc_message m;
    int fd;

    turn_of("vnc");
    ssize_t n = one_fd_receive(from, &m, sizeof(m), &fd, MSG_DONTWAIT);
    if (n > 0 && m.kind == VNC_VIEWER && (size_t)n == VNC_SIZE(viewer)) {
        if (fd >= 0) {
            take_viewer(v, &m, fd);
        } else { /* we have no room for another: its server hears that, and the viewer */
            log_write(LOG_DISPLAY, XLOG_WARNING, "vnc: a viewer is lost, for want of descriptors");
        }
        return G_SOURCE_CONTINUE;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (n < 0 && errno == EAGAIN) {
        return G_SOURCE_CONTINUE;
    }
    if (n < 0 && errno != ECONNRESET && errno != EPIPE) { /* memory is short */
        v->source = g_timeout_add_seconds(1, listen_again, v);
        return G_SOURCE_REMOVE;
    }
    log_write(LOG_DISPLAY, XLOG_ERROR, "vnc: its keeper has ended; no new viewers from now on");
    waitpid(v->keeper, NULL, WNOHANG);
    v->source = 0;
    return G_SOURCE_REMOVE;
}

static void listen_to_keeper(struct vnc *v)
{
    v->source = g_unix_fd_add(v->keeper_fd, G_IO_IN | G_IO_HUP, on_keeper, v);
}

static gboolean listen_again(gpointer opaque)
{
    turn_of("vnc");
    listen_to_keeper(opaque);
    return G_SOURCE_REMOVE;
}

/*
 * Between fork and exec: async-signal-safe calls only. The descriptors come to their places by way
 * of numbers above all of them, so that none is overwritten before it was copied.
 */
static G_GNUC_NORETURN void become_keeper(int *fds, unsigned count, char *const argv[],
                                          char *const envp[])
{
    for (unsigned i = 0; i < count; i++) {
        fds[i] = fcntl(fds[i], F_DUPFD, VNC_FD_DAEMON + (int)count);
    }
    for (unsigned i = 0; i < count; i++) {
        if (fds[i] < 0 || dup2(fds[i], VNC_FD_DAEMON + (int)i) < 0) {
            _exit(127);
        }
    }
    close_range(VNC_FD_DAEMON + count, ~0U, 0);
    helper_reset_signals();
    execve(argv[0], argv, envp);
    _exit(127);
}

static int start_keeper(struct vnc *v, GError **err)
{
    g_autofree char *keeper = helper_program("XENDM_VNC", "backends/vnc", "xendm-vnc");
    g_autofree char *server =
        helper_program("XENDM_VNC_SERVER", "backends/vnc", "xendm-vnc-server");
    int pair[2], fds[2 + VNC_LISTENERS_MAX], program_fd;
    char websockets[16], count[16];
    unsigned mask = 0;

    program_fd = open(server, O_RDONLY | O_CLOEXEC);
    if (program_fd < 0 || access(keeper, X_OK) < 0) {
        int error = errno;
        g_set_error(err, XENDM_ERROR, error, "-vnc: %s: %s", program_fd < 0 ? server : keeper,
                    g_strerror(error));
        if (program_fd >= 0) {
            close(program_fd);
        }
        return -error;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        int error = errno;
        close(program_fd);
        g_set_error(err, XENDM_ERROR, error, "-vnc: socketpair: %s", g_strerror(error));
        return -error;
    }
    fds[0] = pair[1];
    fds[1] = program_fd;
    for (unsigned i = 0; i < v->listener_count; i++) {
        fds[2 + i] = v->listeners[i].fd;
        mask |= v->listeners[i].websocket ? 1u << i : 0;
    }
    g_snprintf(count, sizeof(count), "%u", v->listener_count);
    g_snprintf(websockets, sizeof(websockets), "%u", mask);
    char *argv[] = {keeper, count, websockets, NULL};
    g_auto(GStrv) envp = g_get_environ();
    v->keeper = fork();
    if (v->keeper == 0) {
        become_keeper(fds, 2 + v->listener_count, argv, envp);
    }
    int error = errno;
    close(pair[1]);
    close(program_fd);
    if (v->keeper < 0) {
        close(pair[0]);
        g_set_error(err, XENDM_ERROR, error, "-vnc: fork: %s", g_strerror(error));
        return -error;
    }
    v->keeper_fd = pair[0];
    return 0;
}

/* ---- live update ---- */

static void hand_over_viewer(const struct vnc_viewer *w, unsigned i, struct handover *to)
{
    g_autofree char *group = g_strdup_printf(GROUP " viewer %u", i);

    handover_put_fd(to, group, "fd", w->fd);
    handover_put_text(to, group, "host", w->client.host);
    handover_put_text(to, group, "service", w->client.service);
    handover_put_text(to, group, "family", w->client.family);
    handover_put_int(to, group, "websocket", w->client.websocket);
    handover_put_int(to, group, "exclusive", w->exclusive);
    handover_put_int(to, group, "buttons", w->buttons);
    handover_put_bytes(to, group, "keys", w->keys, sizeof(w->keys));
}

/* Who is still at the password would have to be asked again: those come back by themselves. */
void vnc_hand_over(const struct vnc *v, struct handover *to)
{
    unsigned viewers = 0;

    handover_put_fd(to, GROUP, "keeper", v->keeper_fd);
    handover_put_int(to, GROUP, "pid", v->keeper);
    handover_put_int(to, GROUP, "display", v->options.display);
    handover_put_int(to, GROUP, "device", (int64_t)v->device);
    handover_put_int(to, GROUP, "inode", (int64_t)v->inode);
    for (unsigned i = 0; i < v->listener_count; i++) {
        g_autofree char *key = g_strdup_printf("listener %u", i);
        handover_put_fd(to, GROUP, key, v->listeners[i].fd);
        g_autofree char *flag = g_strdup_printf("websocket %u", i);
        handover_put_int(to, GROUP, flag, v->listeners[i].websocket);
    }
    handover_put_int(to, GROUP, "has-password", v->has_password);
    handover_put_bytes(to, GROUP, "password", v->password, sizeof(v->password));
    handover_put_int(to, GROUP, "expires", v->expires);
    for (guint i = 0; i < v->viewers->len; i++) {
        if (viewer_at(v, i)->client.initialized && !viewer_at(v, i)->gone) {
            hand_over_viewer(viewer_at(v, i), viewers++, to);
        }
    }
}

static const char *known_family(const char *text)
{
    return g_strcmp0(text, "ipv4") == 0 ? "ipv4" : g_strcmp0(text, "ipv6") == 0 ? "ipv6" : "unix";
}

static bool inherit_viewer(struct vnc *v, unsigned i, const struct handover *from)
{
    g_autofree char *group = g_strdup_printf(GROUP " viewer %u", i);
    int fd = handover_fd(from, group, "fd");
    struct vnc_client c = {.initialized = true};
    size_t len = 0;

    if (fd < 0) {
        return false;
    }
    g_autofree char *host = handover_text(from, group, "host");
    g_autofree char *service = handover_text(from, group, "service");
    g_autofree char *family = handover_text(from, group, "family");
    g_strlcpy(c.host, host ? host : "", sizeof(c.host));
    g_strlcpy(c.service, service ? service : "", sizeof(c.service));
    c.family = known_family(family);
    c.websocket = handover_int(from, group, "websocket", 0);
    struct vnc_viewer *w = viewer_new(v, fd, &c);
    w->exclusive = handover_int(from, group, "exclusive", 0);
    w->buttons = handover_int(from, group, "buttons", 0) & 7;
    g_autofree uint8_t *keys = handover_bytes(from, group, "keys", &len);
    if (keys && len == sizeof(w->keys)) {
        memcpy(w->keys, keys, len);
    }
    g_ptr_array_add(v->viewers, w);
    return true;
}

static void inherit(struct vnc *v, const struct handover *from)
{
    size_t len = 0;

    v->keeper_fd = handover_fd(from, GROUP, "keeper");
    v->keeper = (pid_t)handover_int(from, GROUP, "pid", 0);
    v->device = (dev_t)handover_int(from, GROUP, "device", 0);
    v->inode = (ino_t)handover_int(from, GROUP, "inode", 0);
    v->options.display = (unsigned)handover_int(from, GROUP, "display", v->options.display);
    for (unsigned i = 0; i < VNC_LISTENERS_MAX; i++) {
        g_autofree char *key = g_strdup_printf("listener %u", i);
        g_autofree char *flag = g_strdup_printf("websocket %u", i);
        int fd = handover_fd(from, GROUP, key);
        if (fd < 0) {
            break;
        }
        v->listeners[v->listener_count++] =
            (struct vnc_listener){fd, handover_int(from, GROUP, flag, 0)};
    }
    v->has_password = handover_int(from, GROUP, "has-password", 0);
    v->expires = handover_int(from, GROUP, "expires", VNC_NEVER);
    g_autofree uint8_t *password = handover_bytes(from, GROUP, "password", &len);
    if (password && len == sizeof(v->password)) {
        memcpy(v->password, password, len);
        v->password[VNC_PASSWORD_MAX] = '\0';
    }
    for (unsigned i = 0; i < VNC_VIEWERS_MAX && inherit_viewer(v, i, from); i++) {
    }
}

/* ---- life ---- */

int vnc_check(const struct vnc_config *config, GError **err)
{
    struct vnc_options o;
    int rc = vnc_options_parse(config->options, &o, err);

    if (rc == 0) {
        vnc_options_clear(&o);
    }
    return rc;
}

static void note_socket(struct vnc *v)
{
    struct stat st;

    if (v->options.unix_path && lstat(v->options.unix_path, &st) == 0) {
        v->device = st.st_dev;
        v->inode = st.st_ino;
    }
}

struct vnc *vnc_open(const struct vnc_config *config, const struct handover *from, GError **err)
{
    struct vnc *v = g_new0(struct vnc, 1);
    int count = 0;

    v->keeper_fd = -1;
    v->expires = VNC_NEVER;
    v->name = g_strdup(config->guest_name ? config->guest_name : "xendm");
    v->keymap = g_strdup(config->keymap ? config->keymap : "en-us");
    v->viewers = g_ptr_array_new_with_free_func((GDestroyNotify)viewer_free);
    if (vnc_options_parse(config->options, &v->options, err) < 0) {
        vnc_free(v);
        return NULL;
    }
    if (from) {
        inherit(v, from);
    } else {
        count = vnc_listen(&v->options, v->listeners, err);
        v->listener_count = count > 0 ? (unsigned)count : 0;
        note_socket(v);
        if (count < 0 || start_keeper(v, err) < 0) {
            vnc_free(v);
            return NULL;
        }
    }
    if (v->keeper_fd >= 0) {
        listen_to_keeper(v);
    }
    return v;
}

void vnc_attach(struct vnc *v, struct display *display, struct input *input)
{
    v->display = display;
    v->input = input;
    if (input) {
        input_watch(input, &vnc_input_viewer, v);
    }
}

void vnc_set_events(struct vnc *v, const struct vnc_events *events, void *opaque)
{
    v->events = events;
    v->events_opaque = opaque;
}

/*
 * Nothing of ours outlives us; and nothing keeps us: it has no more to do than to end its servers.
 * After a live update it is not our child, and nobody waits.
 */
static void await_keeper(const struct vnc *v)
{
    for (unsigned i = 0; i < 200 && v->keeper > 0; i++) {
        if (waitpid(v->keeper, NULL, WNOHANG) != 0) {
            return;
        }
        turn_waits();
        g_usleep(1000);
    }
}

void vnc_free(struct vnc *v)
{
    if (!v) {
        return;
    }
    g_clear_handle_id(&v->source, g_source_remove);
    g_ptr_array_free(v->viewers, TRUE);
    if (v->input) {
        input_unwatch(v->input, &vnc_input_viewer, v);
    }
    if (v->keeper_fd >= 0) {
        close(v->keeper_fd); /* which the keeper hears as the end */
        await_keeper(v);
    }
    for (unsigned i = 0; i < v->listener_count; i++) {
        close(v->listeners[i].fd);
    }
    if (v->options.unix_path && v->listener_count) {
        files_remove_socket(v->options.unix_path, v->device, v->inode);
    }
    vnc_options_clear(&v->options);
    g_free(v->name);
    g_free(v->keymap);
    g_free(v);
}

void vnc_let_go(struct vnc *v)
{
    g_clear_pointer(&v->options.unix_path, g_free); /* the successor's to remove */
    v->display = NULL;
    v->input = NULL;
    v->keeper = 0;
    vnc_free(v);
}

/* ---- for those who ask ---- */

unsigned vnc_addresses(const struct vnc *v)
{
    return v->listener_count;
}

void vnc_address(const struct vnc *v, unsigned i, struct vnc_address *out)
{
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof(a);

    memset(out, 0, sizeof(*out));
    out->websocket = v->listeners[i].websocket;
    out->family = "unix";
    getsockname(v->listeners[i].fd, (struct sockaddr *)&a, &len);
    if (a.ss_family == AF_UNIX) {
        g_strlcpy(out->host, v->options.unix_path ? v->options.unix_path : "", sizeof(out->host));
        return;
    }
    out->family = a.ss_family == AF_INET6 ? "ipv6" : "ipv4";
    getnameinfo((struct sockaddr *)&a, len, out->host, sizeof(out->host), out->service,
                sizeof(out->service), NI_NUMERICHOST | NI_NUMERICSERV);
}

void vnc_foreach_client(const struct vnc *v,
                        void (*fn)(void *opaque, const struct vnc_client *client), void *opaque)
{
    for (guint i = 0; i < v->viewers->len; i++) {
        if (!viewer_at(v, i)->gone) {
            fn(opaque, &viewer_at(v, i)->client);
        }
    }
}
