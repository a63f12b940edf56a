/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A proxy between a device model and xenstored that can refuse requests on demand. Runs in the host
 * process, so that one command socket asks for all faults. Requests pass untouched unless a fault
 * named xs-OP is due; a refused transaction end is turned into an abort, so that nothing of it
 * stays.
 */
#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <xenstore_lib.h>
#include "../host/loop.h"
#include "faults.h"
#include "xenstore-proxy.h"

struct proxy {
    struct host *h;
    int listen_fd;
    char *real;
};

struct relay {
    struct proxy *p;
    int client, server;
    uint32_t deny_id; /* reply to replace */
    bool deny;
    char why[16];
};

static bool read_all(int fd, void *buf, size_t len)
{
    char *p = buf;

    while (len) {
        ssize_t n = read(fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool send_message(int fd, const struct xsd_sockmsg *m, const char *pay)
{
    char buf[sizeof(*m) + XENSTORE_PAYLOAD_MAX];

    memcpy(buf, m, sizeof(*m));
    memcpy(buf + sizeof(*m), pay, m->len);
    return send(fd, buf, sizeof(*m) + m->len, MSG_NOSIGNAL) == (ssize_t)(sizeof(*m) + m->len);
}

static const char *errno_text(int err)
{
    unsigned int i;

    for (i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++)
        if (xsd_errors[i].errnum == err)
            return xsd_errors[i].errstring;
    return "EIO";
}

static int proxy_fault(struct host *h, uint32_t type)
{
    uint32_t op = XE_OP_XS + type;
    int err;

    pthread_mutex_lock(&h->big);
    err = -fault_call(h->faults, op);
    pthread_mutex_unlock(&h->big);
    return err;
}

static bool relay_request(struct relay *r)
{
    char pay[XENSTORE_PAYLOAD_MAX];
    struct xsd_sockmsg m;
    int err;

    if (!read_all(r->client, &m, sizeof(m)) || m.len > sizeof(pay) ||
        !read_all(r->client, pay, m.len))
        return false;
    err = proxy_fault(r->p->h, m.type);
    if (err && m.type != XS_TRANSACTION_END) {
        m.type = XS_ERROR;
        g_strlcpy(pay, errno_text(err), sizeof(pay));
        m.len = (uint32_t)strlen(pay) + 1;
        return send_message(r->client, &m, pay);
    }
    if (err) {
        r->deny = true;
        r->deny_id = m.req_id;
        g_strlcpy(r->why, errno_text(err), sizeof(r->why));
        if (m.len)
            pay[0] = 'F';
    }
    return send_message(r->server, &m, pay);
}

static bool relay_reply(struct relay *r)
{
    char pay[XENSTORE_PAYLOAD_MAX];
    struct xsd_sockmsg m;

    if (!read_all(r->server, &m, sizeof(m)) || m.len > sizeof(pay) ||
        !read_all(r->server, pay, m.len))
        return false;
    if (r->deny && m.type != XS_WATCH_EVENT && m.req_id == r->deny_id) {
        r->deny = false;
        m.type = XS_ERROR;
        g_strlcpy(pay, r->why, sizeof(pay));
        m.len = (uint32_t)strlen(pay) + 1;
    }
    return send_message(r->client, &m, pay);
}

static void *relay_thread(void *arg)
{
    struct relay *r = arg;
    bool ok = true;

    while (ok) {
        struct pollfd p[2] = {{.fd = r->client, .events = POLLIN},
                              {.fd = r->server, .events = POLLIN}};

        if (poll(p, 2, -1) < 0 && errno != EINTR)
            break;
        if (p[1].revents)
            ok = relay_reply(r);
        if (ok && p[0].revents)
            ok = relay_request(r);
    }
    close(r->client);
    close(r->server);
    g_free(r);
    return NULL;
}

static void *proxy_thread(void *arg)
{
    struct proxy *p = arg;

    for (;;) {
        struct sockaddr_un sa = {.sun_family = AF_UNIX};
        int fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        struct relay *r;
        pthread_t t;

        if (fd < 0)
            continue;
        r = g_new0(struct relay, 1);
        r->p = p;
        r->client = fd;
        r->server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_strlcpy(sa.sun_path, p->real, sizeof(sa.sun_path));
        if (connect(r->server, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
            pthread_create(&t, NULL, relay_thread, r)) {
            close(fd);
            close(r->server);
            g_free(r);
            continue;
        }
        pthread_detach(t);
    }
    return NULL;
}

int xsproxy_start(struct host *h, const char *real, const char *front)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct proxy *p = g_new0(struct proxy, 1);
    pthread_t t;

    p->h = h;
    p->real = g_strdup(real);
    p->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_strlcpy(sa.sun_path, front, sizeof(sa.sun_path));
    unlink(front);
    if (p->listen_fd < 0 || bind(p->listen_fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
        listen(p->listen_fd, 16) < 0 || pthread_create(&t, NULL, proxy_thread, p))
        return -errno;
    pthread_detach(t);
    return 0;
}
