/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The socket in place of a CPU: QEMU's qtest line protocol. Every client has its own thread and
 * plays one virtual CPU (`vcpu N`), so concurrent CPUs are concurrent clients.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../host/domain.h"
#include "commands.h"
#include "qtest.h"
#include "words.h"

#define MAX_LINE (4u << 20)
#define MAX_WORDS 128u

/* ---- output ---- */

static void session_write(struct session *s, const char *data, size_t len)
{
    while (len) {
        ssize_t n = send(s->fd, data, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        data += n;
        len -= (size_t)n;
    }
}

void session_event(struct host *h, struct domain *d, enum host_event what, const char *fmt,
                   va_list ap)
{
    unsigned int i;

    for (i = 0; i < h->sessions->len; i++) {
        struct session *s = g_ptr_array_index(h->sessions, i);
        va_list copy;

        if (s->dom == d && what == EVENT_DOMAIN_GONE)
            s->dom = NULL;
        if (s->dom != d || !(s->want & what))
            continue;
        pthread_mutex_lock(&s->out_lock);
        if (s->pending->len < MAX_LINE) {
            size_t sent = 0;

            va_copy(copy, ap);
            g_string_append_vprintf(s->pending, fmt, copy);
            va_end(copy);
            g_string_append_c(s->pending, '\n');
            while (sent < s->pending->len) {
                ssize_t n = send(s->fd, s->pending->str + sent, s->pending->len - sent,
                                 MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n <= 0)
                    break;
                sent += (size_t)n;
            }
            g_string_erase(s->pending, 0, (gssize)sent);
        }
        pthread_mutex_unlock(&s->out_lock);
    }
}

/* ---- accesses ---- */

static enum io_result guest_port(struct session *s, bool in, uint16_t port, unsigned int size,
                                 uint64_t *value, const char **why)
{
    uint64_t mask = UINT64_MAX >> (64 - 8 * size);
    ioreq_t req = {.type = IOREQ_TYPE_PIO,
                   .addr = port,
                   .size = size,
                   .count = 1,
                   .dir = in ? IOREQ_READ : IOREQ_WRITE,
                   .state = STATE_IOREQ_READY,
                   .data = in ? 0 : *value & mask};
    enum io_result r = io_access(s->dom, s->vcpu, &req, why);

    if (in)
        *value = req.data & mask;
    return r;
}

/* At most 8 bytes that do not cross a page. */
static enum io_result guest_mem_piece(struct session *s, bool read, uint64_t gpa, unsigned int size,
                                      uint64_t *value, const char **why)
{
    struct domain *d = s->dom;
    enum mem_type type = MEM_RAM_RW;
    uint64_t left;
    uint8_t *p;

    pthread_mutex_lock(&d->host->big);
    p = mem_ptr(d, gpa, &left, &type);
    if (p && (read || type != MEM_IOREQ_SERVER)) {
        if (read) {
            *value = 0;
            memcpy(value, p, size);
        } else if (type != MEM_RAM_RO) { /* writes to read-only RAM vanish */
            memcpy(p, value, size);
            mem_mark_dirty(d, gpa >> XE_PAGE_SHIFT, 1);
        }
        pthread_mutex_unlock(&d->host->big);
        return IO_OK;
    }
    pthread_mutex_unlock(&d->host->big);
    ioreq_t req = {.type = IOREQ_TYPE_COPY,
                   .addr = gpa,
                   .size = size,
                   .count = 1,
                   .dir = read ? IOREQ_READ : IOREQ_WRITE,
                   .state = STATE_IOREQ_READY,
                   .data = read ? 0 : *value};
    enum io_result r = io_access(d, s->vcpu, &req, why);
    if (read)
        *value = req.data & (UINT64_MAX >> (64 - 8 * size));
    return r;
}

static enum io_result guest_mem(struct session *s, bool read, uint64_t gpa, unsigned int size,
                                uint64_t *value, const char **why)
{
    unsigned int room = XE_PAGE - (unsigned int)(gpa & (XE_PAGE - 1)), done = 0;
    enum io_result r = IO_OK;
    uint64_t total = 0;

    if (size <= room)
        return guest_mem_piece(s, read, gpa, size, value, why);
    while (done < size && r != IO_FAIL) { /* split at the page, then into powers of two */
        unsigned int left = done < room ? MIN(room, size) - done : size - done, n = 8;
        uint64_t part;

        while (n > left)
            n /= 2;
        part = *value >> (8 * done) & (UINT64_MAX >> (64 - 8 * n));
        r = guest_mem_piece(s, read, gpa + done, n, &part, why);
        total |= part << (8 * done);
        done += n;
    }
    if (read)
        *value = total;
    return r;
}

static enum io_result guest_buffer(struct session *s, bool read, uint64_t gpa, uint8_t *buf,
                                   uint64_t len, const char **why)
{
    enum io_result r = IO_OK;

    while (len && r != IO_FAIL) {
        enum mem_type type = MEM_RAM_RW;
        uint64_t left, n, value = 0;
        uint8_t *p;

        pthread_mutex_lock(&s->host->big);
        p = mem_ptr(s->dom, gpa, &left, &type);
        if (p && (read || type != MEM_IOREQ_SERVER)) {
            n = MIN(left, len);
            if (read) {
                memcpy(buf, p, n);
            } else if (type != MEM_RAM_RO) {
                memcpy(p, buf, n);
                mem_mark_dirty(s->dom, gpa >> XE_PAGE_SHIFT,
                               (gpa + n - 1) / XE_PAGE - gpa / XE_PAGE + 1);
            }
            pthread_mutex_unlock(&s->host->big);
        } else {
            pthread_mutex_unlock(&s->host->big);
            n = gpa & 3 || len < 4 ? (gpa & 1 || len < 2 ? 1 : 2) : 4;
            if (!read)
                memcpy(&value, buf, n);
            r = guest_mem_piece(s, read, gpa, (unsigned int)n, &value, why);
            if (read)
                memcpy(buf, &value, n);
        }
        gpa += n;
        buf += n;
        len -= n;
    }
    return r;
}

/* ---- commands ---- */

static char *reply_fail(const char *why)
{
    return g_strdup_printf("FAIL %s", why ? why : "the access failed");
}

static unsigned int size_of(char c)
{
    switch (c) {
    case 'b':
        return 1;
    case 'w':
        return 2;
    case 'l':
        return 4;
    case 'q':
        return 8;
    default:
        return 0;
    }
}

static char *qtest_single(struct session *s, char **w, unsigned int n)
{
    const char *why = NULL;
    uint64_t addr, value = 0;
    unsigned int size;
    bool port, read;

    size = size_of(w[0][strlen(w[0]) - 1]);
    port = w[0][0] == 'i' || w[0][0] == 'o';
    read = w[0][0] == 'i' || w[0][0] == 'r';
    if (n != (read ? 2u : 3u) || !parse_u64(w[1], &addr) || (!read && !parse_u64(w[2], &value)))
        return g_strdup("FAIL usage: in{b,w,l} PORT, out{b,w,l} PORT VALUE, read{b,w,l,q} ADDR, "
                        "write{b,w,l,q} ADDR VALUE");
    if (port && addr > 0xffff)
        return g_strdup("FAIL no such port");
    if (port ? guest_port(s, read, (uint16_t)addr, size, &value, &why) == IO_FAIL
             : guest_mem(s, read, addr, size, &value, &why) == IO_FAIL)
        return reply_fail(why);
    if (!read)
        return g_strdup("OK");
    return g_strdup_printf(port ? "OK 0x%04" PRIx64 : "OK 0x%016" PRIx64, value);
}

static int hex(char c)
{
    return g_ascii_isxdigit(c) ? g_ascii_xdigit_value(c) : -1;
}

static char *qtest_block(struct session *s, char **w, unsigned int n)
{
    bool read = strstr(w[0], "read") != NULL, b64 = !strncmp(w[0], "b64", 3);
    bool fill = !strcmp(w[0], "memset");
    const char *why = NULL;
    uint64_t addr, len, value;
    uint8_t *buf;
    char *out = NULL;
    gsize got = 0, i;

    if (n != (read ? 3u : 4u) || !parse_u64(w[1], &addr) || !parse_u64(w[2], &len) || !len ||
        len > MAX_LINE)
        return g_strdup("FAIL usage: read ADDR SIZE, write ADDR SIZE DATA, memset ADDR SIZE VALUE");
    buf = g_malloc0(len);
    if (fill) {
        if (!parse_u64(w[3], &value)) {
            g_free(buf);
            return g_strdup("FAIL bad value");
        }
        memset(buf, (int)(value & 0xff), len);
    } else if (!read && b64) {
        guchar *data = g_base64_decode(w[3], &got);

        memcpy(buf, data, MIN(got, len));
        g_free(data);
    } else if (!read) {
        const char *p = w[3];

        if (p[0] != '0' || p[1] != 'x') {
            g_free(buf);
            return g_strdup("FAIL data must begin with 0x");
        }
        for (i = 0, p += 2; i < len && hex(p[0]) >= 0 && hex(p[1]) >= 0; i++, p += 2)
            buf[i] = (uint8_t)(hex(p[0]) << 4 | hex(p[1]));
    }
    if (guest_buffer(s, read, addr, buf, len, &why) == IO_FAIL) {
        out = reply_fail(why);
    } else if (!read) {
        out = g_strdup("OK");
    } else if (b64) {
        char *t = g_base64_encode(buf, len);

        out = g_strdup_printf("OK %s", t);
        g_free(t);
    } else {
        GString *t = g_string_sized_new(2 * len + 8);

        g_string_append(t, "OK 0x");
        for (i = 0; i < len; i++)
            g_string_append_printf(t, "%02x", buf[i]);
        out = g_string_free(t, FALSE);
    }
    g_free(buf);
    return out;
}

static bool is_single(const char *c)
{
    static const char *const names[] = {"inb",    "inw",    "inl",    "outb",  "outw",
                                        "outl",   "readb",  "readw",  "readl", "readq",
                                        "writeb", "writew", "writel", "writeq"};
    unsigned int i;

    for (i = 0; i < G_N_ELEMENTS(names); i++)
        if (!strcmp(c, names[i]))
            return true;
    return false;
}

static char *qtest_run(struct session *s, char **w, unsigned int n)
{
    const char *c = w[0];
    char *out;

    if (is_single(c) || !strcmp(c, "read") || !strcmp(c, "write") || !strcmp(c, "memset") ||
        !strcmp(c, "b64read") || !strcmp(c, "b64write")) {
        if (!s->dom)
            return g_strdup("FAIL no domain selected");
        return is_single(c) ? qtest_single(s, w, n) : qtest_block(s, w, n);
    }
    if (!strcmp(c, "endianness"))
        return g_strdup("OK little");
    if (!strcmp(c, "irq_intercept_in") || !strcmp(c, "irq_intercept_out")) {
        s->want |= EVENT_IRQ;
        return g_strdup("OK");
    }
    if (!strcmp(c, "clock_step") || !strcmp(c, "clock_set"))
        return g_strdup("FAIL a device model under Xen keeps its own time");
    if (!strcmp(c, "set_irq_in"))
        return g_strdup("FAIL Xen has no way to drive a device's input");
    out = command_run(s, w, n);
    return out ? out : g_strdup_printf("FAIL Unknown command '%s'", c);
}

static void session_line(struct session *s, char *line)
{
    char *w[MAX_WORDS], *save = NULL, *t, *out;
    unsigned int n = 0;
    GString *reply;

    for (t = strtok_r(line, " \t\r", &save); t && n < MAX_WORDS; t = strtok_r(NULL, " \t\r", &save))
        w[n++] = t;
    if (!n || w[0][0] == '#')
        return;
    out = qtest_run(s, w, n);
    pthread_mutex_lock(&s->out_lock);
    reply = g_string_new_len(s->pending->str, (gssize)s->pending->len);
    g_string_truncate(s->pending, 0);
    g_string_append(reply, out);
    g_string_append_c(reply, '\n');
    session_write(s, reply->str, reply->len);
    pthread_mutex_unlock(&s->out_lock);
    g_string_free(reply, TRUE);
    g_free(out);
}

static void *session_thread(void *arg)
{
    struct session *s = arg;
    GString *in = g_string_new(NULL);
    char buf[16384];
    ssize_t n;

    while ((n = recv(s->fd, buf, sizeof(buf), 0)) > 0 || (n < 0 && errno == EINTR)) {
        char *nl;

        if (n < 0)
            continue;
        g_string_append_len(in, buf, n);
        while ((nl = memchr(in->str, '\n', in->len))) {
            size_t len = (size_t)(nl - in->str);

            *nl = 0;
            session_line(s, in->str);
            g_string_erase(in, 0, (gssize)len + 1);
        }
        if (in->len > 2 * MAX_LINE)
            break;
    }
    pthread_mutex_lock(&s->host->big);
    g_ptr_array_remove_fast(s->host->sessions, s);
    pthread_mutex_unlock(&s->host->big);
    close(s->fd);
    g_string_free(in, TRUE);
    g_string_free(s->pending, TRUE);
    g_free(s);
    return NULL;
}

void session_new(struct host *h, int fd, struct domain *dom)
{
    struct session *s = g_new0(struct session, 1);
    pthread_t t;

    s->host = h;
    s->dom = dom;
    s->fd = fd;
    s->pending = g_string_new(NULL);
    pthread_mutex_init(&s->out_lock, NULL);
    g_ptr_array_add(h->sessions, s);
    if (pthread_create(&t, NULL, session_thread, s)) {
        g_ptr_array_remove_fast(h->sessions, s);
        close(fd);
        g_free(s);
        return;
    }
    pthread_detach(t);
}
