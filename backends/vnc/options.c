/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text of -vnc, as libxl and people write it: HOST:DISPLAY, :DISPLAY or unix:PATH, then options
 * with commas. QEMU's others are refused by name, since who asks for TLS must not get none.
 */
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <xendm/error.h>
#include <xendm/numbers.h>

#include "options.h"

#define PORT_BASE 5900u
#define WEBSOCKET_BASE 5700u
#define DISPLAY_MAX 59635u /* port 65535 */

static int refuse(const char *text, const char *what, GError **err)
{
    g_set_error(err, XENDM_ERROR, EINVAL, "-vnc %s: %s", text, what);
    return -EINVAL;
}

static bool read_number(const char *text, unsigned max, unsigned *value)
{
    uint64_t v;

    if (number_parse(text, 0, max, &v) < 0) {
        return false;
    }
    *value = (unsigned)v;
    return true;
}

static bool read_switch(const char *text, bool *value)
{
    *value = true;
    return !text || bool_parse(text, value) == 0;
}

static bool read_share(const char *text, enum vnc_share *share)
{
    static const char *const names[] = {"allow-exclusive", "force-shared", "ignore"};

    for (unsigned i = 0; text && i < G_N_ELEMENTS(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *share = i;
            return true;
        }
    }
    return false;
}

static bool read_websocket(const char *text, struct vnc_options *o)
{
    bool on;

    if (text && read_number(text, 65535, &o->websocket_port)) {
        o->websocket = o->websocket_port > 0;
        return o->websocket;
    }
    return read_switch(text, &on) && (o->websocket = on, true);
}

/* NULL: understood; else what is wrong. */
static const char *read_option(struct vnc_options *o, const char *name, const char *value)
{
    bool ignored;

    if (strcmp(name, "password") == 0) {
        return read_switch(value, &o->password) ? NULL : "password is on or off";
    }
    if (strcmp(name, "to") == 0) {
        return value && read_number(value, DISPLAY_MAX, &o->to) ? NULL
                                                                : "to is the last display to try";
    }
    if (strcmp(name, "ipv4") == 0) {
        return read_switch(value, &o->ipv4) ? NULL : "ipv4 is on or off";
    }
    if (strcmp(name, "ipv6") == 0) {
        return read_switch(value, &o->ipv6) ? NULL : "ipv6 is on or off";
    }
    if (strcmp(name, "share") == 0) {
        return read_share(value, &o->share) ? NULL
                                            : "share is allow-exclusive, force-shared or ignore";
    }
    if (strcmp(name, "websocket") == 0) {
        return read_websocket(value, o) ? NULL : "websocket is on, off or a port";
    }
    /* how pictures are made: the viewer's own wish counts here */
    if (strcmp(name, "lossy") == 0 || strcmp(name, "non-adaptive") == 0) {
        return read_switch(value, &ignored) ? NULL : "it is on or off";
    }
    return "is an option that xendm's VNC server does not have";
}

static int read_options(const char *text, char *rest, struct vnc_options *o, GError **err)
{
    g_auto(GStrv) parts = g_strsplit(rest, ",", -1);

    for (char **p = parts; *p; p++) {
        char *value = strchr(*p, '=');
        const char *wrong;
        if (value) {
            *value++ = '\0';
        }
        wrong = read_option(o, *p, value);
        if (wrong) {
            g_set_error(err, XENDM_ERROR, EINVAL, "-vnc %s: %s%s%s: %s", text, *p, value ? "=" : "",
                        value ? value : "", wrong);
            return -EINVAL;
        }
    }
    return 0;
}

static void strip_brackets(char *host)
{
    size_t len = strlen(host);

    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        memmove(host, host + 1, len - 2);
        host[len - 2] = '\0';
    }
}

static int read_address(const char *text, char *address, struct vnc_options *o, GError **err)
{
    char *colon = strrchr(address, ':');

    if (g_str_has_prefix(address, "unix:")) {
        o->unix_path = g_strdup(address + 5);
        return o->unix_path[0] && strlen(o->unix_path) < sizeof(((struct sockaddr_un *)0)->sun_path)
                   ? 0
                   : refuse(text, "the path of the socket is empty or too long", err);
    }
    if (!colon || !read_number(colon + 1, DISPLAY_MAX, &o->display)) {
        return refuse(text, "is not of the form HOST:DISPLAY", err);
    }
    *colon = '\0';
    o->host = g_strdup(address);
    strip_brackets(o->host);
    return 0;
}

int vnc_options_parse(const char *text, struct vnc_options *o, GError **err)
{
    g_autofree char *copy = g_strdup(text);
    char *rest = strchr(copy, ',');
    int rc;

    memset(o, 0, sizeof(*o));
    o->share = VNC_SHARE_ALLOW_EXCLUSIVE;
    if (rest) {
        *rest++ = '\0';
    }
    rc = read_address(text, copy, o, err);
    if (rc == 0 && rest) {
        rc = read_options(text, rest, o, err);
    }
    if (rc == 0 && o->to && o->to < o->display) {
        rc = refuse(text, "to is below the display", err);
    }
    if (rc < 0) {
        vnc_options_clear(o);
    }
    return rc;
}

void vnc_options_clear(struct vnc_options *o)
{
    g_clear_pointer(&o->host, g_free);
    g_clear_pointer(&o->unix_path, g_free);
}

/* ---- sockets ---- */

static void close_all(struct vnc_listener *l, int count)
{
    for (int i = 0; i < count; i++) {
        close(l[i].fd);
    }
}

static int listen_unix(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    g_strlcpy(sun.sun_path, path, sizeof(sun.sun_path));
    if (fd >= 0 && (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || listen(fd, 8) < 0)) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd < 0 ? -errno : fd;
}

static int listen_one(const struct addrinfo *a)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

    if (fd < 0) {
        return -errno;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (a->ai_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, 8) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

/*
 * The port on all addresses of the host, or on none. What this host does not speak at all (IPv6
 * switched off) is left out if another address works.
 */
static int listen_port(const struct vnc_options *o, unsigned port, bool websocket,
                       struct vnc_listener *l, int max, int *gai)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
    char service[16];
    int count = 0, error = -EADDRNOTAVAIL;

    hints.ai_family = o->ipv4 == o->ipv6 ? AF_UNSPEC : o->ipv4 ? AF_INET : AF_INET6;
    g_snprintf(service, sizeof(service), "%u", port);
    *gai = getaddrinfo(o->host[0] ? o->host : NULL, service, &hints, &list);
    if (*gai) {
        return -EINVAL;
    }
    for (struct addrinfo *a = list; a && count < max; a = a->ai_next) {
        int fd = listen_one(a);
        if (fd >= 0) {
            l[count++] = (struct vnc_listener){fd, websocket};
        } else if (fd == -EADDRINUSE) {
            close_all(l, count);
            count = 0;
            error = fd;
            break;
        } else {
            error = fd;
        }
    }
    freeaddrinfo(list);
    return count ? count : error;
}

static int fail(const struct vnc_options *o, unsigned port, int error, int gai, GError **err)
{
    g_set_error(err, XENDM_ERROR, -error, "-vnc: cannot listen on %s port %u: %s",
                o->host[0] ? o->host : "any address,", port,
                gai ? gai_strerror(gai) : g_strerror(-error));
    return error;
}

static int listen_tcp(struct vnc_options *o, struct vnc_listener *l, GError **err)
{
    unsigned last = MAX(o->to, o->display);
    int gai = 0, count = 0, more;

    for (;; o->display++) {
        count = listen_port(o, PORT_BASE + o->display, false, l, VNC_LISTENERS_MAX / 2, &gai);
        if (count != -EADDRINUSE || o->display >= last) {
            break;
        }
    }
    if (count < 0) {
        return fail(o, PORT_BASE + o->display, count, gai, err);
    }
    if (!o->websocket) {
        return count;
    }
    unsigned port = o->websocket_port ? o->websocket_port : WEBSOCKET_BASE + o->display;
    more = listen_port(o, port, true, l + count, VNC_LISTENERS_MAX / 2, &gai);
    if (more < 0) {
        close_all(l, count);
        return fail(o, port, more, gai, err);
    }
    return count + more;
}

int vnc_listen(struct vnc_options *o, struct vnc_listener l[VNC_LISTENERS_MAX], GError **err)
{
    if (!o->unix_path) {
        return listen_tcp(o, l, err);
    }
    int fd = listen_unix(o->unix_path);
    if (fd < 0) {
        g_set_error(err, XENDM_ERROR, -fd, "-vnc: cannot listen on unix:%s: %s", o->unix_path,
                    g_strerror(-fd));
        return fd;
    }
    l[0] = (struct vnc_listener){fd, false};
    return 1;
}
