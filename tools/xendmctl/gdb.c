/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xendmctl gdb: gdb's remote serial protocol (its manual, appendix E) for a guest, on standard
 * input and output (target remote | xendmctl gdb GUEST), or for one client on a port of this host.
 * All stops are of all vCPUs, each of which is a thread, from 1 on.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gdb.h"
#include "gdb-target.h"
#include "page.h"

#define PACKET_MAX 0x4000u
#define MEMORY_MAX (PACKET_MAX / 2 - 8)
#define POLL_MS 5 /* Xen tells nobody that a domain has stopped: it is asked */
#define INTERRUPT 0x03

struct session {
    struct target *target;
    int in, out;
    unsigned bits;
    unsigned vcpu; /* of registers and memory */
    bool no_ack, physical, running, quit;
    GString *received;
};

/* The guest is not left with our breakpoints in it. */
static volatile sig_atomic_t told_to_end;

static void end_signal(int number)
{
    told_to_end = 1;
}

/* ---- packets ---- */

static bool send_all(struct session *s, const char *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = write(s->out, data + done, size - done);

        if (n <= 0 && (errno != EINTR || told_to_end)) {
            s->quit = true;
            return false;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static void reply(struct session *s, const char *text)
{
    g_autoptr(GString) packet = g_string_new("$");
    uint8_t sum = 0;

    for (const char *p = text; *p; p++) { /* the four that mean something are escaped */
        if (strchr("$#}*", *p)) {
            g_string_append_c(packet, '}');
            g_string_append_c(packet, *p ^ 0x20);
        } else {
            g_string_append_c(packet, *p);
        }
    }
    for (gsize i = 1; i < packet->len; i++) {
        sum = (uint8_t)(sum + (uint8_t)packet->str[i]);
    }
    g_string_append_printf(packet, "#%02x", sum);
    send_all(s, packet->str, packet->len);
}

#define DEAF \
    "this Xen was built without CONFIG_GDBSX, and there is no monitor to be had (%s): no " \
    "breakpoints, no steps"

static void reply_error(struct session *s, int rc)
{
    g_autofree char *text = rc == -ENOTSUP
                                ? g_strdup_printf("E." DEAF, g_strerror(target_deaf(s->target)))
                                : g_strdup_printf("E%02x", -rc & 0xff);

    reply(s, text);
}

static void reply_done(struct session *s, int rc)
{
    if (rc < 0) {
        reply_error(s, rc);
    } else {
        reply(s, "OK");
    }
}

static void add_hex(GString *to, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        g_string_append_printf(to, "%02x", ((const uint8_t *)data)[i]);
    }
}

/* How many bytes there were. */
static size_t from_hex(const char *text, uint8_t *to, size_t max)
{
    size_t n = 0;

    while (n < max && g_ascii_isxdigit(text[2 * n]) && g_ascii_isxdigit(text[2 * n + 1])) {
        to[n] = (uint8_t)(g_ascii_xdigit_value(text[2 * n]) << 4 |
                          g_ascii_xdigit_value(text[2 * n + 1]));
        n++;
    }
    return n;
}

/* ---- stops ---- */

static void reply_stop(struct session *s, enum stop_reason reason, uint64_t address)
{
    g_autoptr(GString) text = g_string_new(NULL);

    if (reason == STOP_GONE) {
        s->quit = true;
        reply(s, "W00");
        return;
    }
    /* 5: SIGTRAP, 2: SIGINT, 6: SIGABRT */
    g_string_printf(text, "T%02xthread:%x;",
                    reason == STOP_ASKED      ? 2
                    : reason == STOP_SHUTDOWN ? 6
                                              : 5,
                    s->vcpu + 1);
    if (reason == STOP_BREAKPOINT) {
        g_string_append(text, "swbreak:;");
    } else if (reason == STOP_HARDWARE) {
        g_string_append(text, "hwbreak:;");
    } else if (reason == STOP_WATCH) {
        g_string_append_printf(text, "watch:%" PRIx64 ";", address);
    }
    reply(s, text->str);
}

static void look_whether_stopped(struct session *s)
{
    uint64_t address;
    enum stop_reason reason = target_poll(s->target, &s->vcpu, &address);

    if (reason != STOP_NONE) {
        s->running = false;
        reply_stop(s, reason, address);
    }
}

static void go_on(struct session *s, int step)
{
    int rc = target_go_on(s->target, step);

    if (rc < 0) {
        reply_error(s, rc);
    } else {
        s->running = true;
    }
}

/* vCont;s:1;c — the first action that is a step decides; all others go on. */
static void continue_packet(struct session *s, const char *p)
{
    int step = -1;

    while (*p == ';' && p[1]) {
        char action = p[1];
        unsigned thread = s->vcpu + 1;

        p += 2;
        p += action == 'C' || action == 'S' ? strnlen(p, 2) : 0; /* a signal, that no guest has */
        if (*p == ':') {
            thread = (unsigned)strtoul(p + 1, (char **)(uintptr_t)&p, 16);
        }
        if ((action == 's' || action == 'S') && step < 0 && target_online(s->target, thread - 1)) {
            step = (int)thread - 1;
        }
    }
    go_on(s, step);
}

/* ---- registers ---- */

static void all_registers(struct session *s)
{
    g_autoptr(GString) text = g_string_new(NULL);
    uint8_t value[GDB_REGISTER_MAX];
    unsigned size;

    for (unsigned n = 0;
         (size = gdb_register(s->bits, n, target_registers(s->target, s->vcpu), value)) > 0; n++) {
        add_hex(text, value, size);
    }
    reply(s, text->str);
}

static void set_all_registers(struct session *s, const char *p)
{
    struct hvm_hw_cpu *regs = target_change_registers(s->target, s->vcpu);
    uint8_t value[GDB_REGISTER_MAX];
    unsigned size;

    for (unsigned n = 0; (size = gdb_register(s->bits, n, regs, value)) > 0; n++) {
        if (from_hex(p, value, size) != size) {
            break;
        }
        gdb_set_register(s->bits, n, regs, value);
        p += 2 * (size_t)size;
    }
    reply(s, "OK");
}

static void one_register(struct session *s, const char *p)
{
    g_autoptr(GString) text = g_string_new(NULL);
    uint8_t value[GDB_REGISTER_MAX];
    unsigned n = (unsigned)strtoul(p, NULL, 16),
             size = gdb_register(s->bits, n, target_registers(s->target, s->vcpu), value);

    if (size == 0) {
        reply_error(s, -EINVAL);
        return;
    }
    add_hex(text, value, size);
    reply(s, text->str);
}

static void set_one_register(struct session *s, const char *p)
{
    uint8_t value[GDB_REGISTER_MAX];
    char *end;
    unsigned n = (unsigned)strtoul(p, &end, 16),
             size = gdb_register(s->bits, n, target_registers(s->target, s->vcpu), value);

    if (size == 0 || *end != '=' || from_hex(end + 1, value, size) != size ||
        !gdb_set_register(s->bits, n, target_change_registers(s->target, s->vcpu), value)) {
        reply_error(s, -EINVAL);
    } else {
        reply(s, "OK");
    }
}

/* ---- memory ---- */

static bool place(const char *p, uint64_t *address, uint64_t *size, const char **rest)
{
    char *end;

    *address = g_ascii_strtoull(p, &end, 16);
    if (*end != ',') {
        return false;
    }
    *size = g_ascii_strtoull(end + 1, &end, 16);
    *rest = end;
    return true;
}

static void read_memory(struct session *s, const char *p)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree uint8_t *data = g_malloc(MEMORY_MAX);
    uint64_t address, size;
    size_t n;

    if (!place(p, &address, &size, &p)) {
        reply_error(s, -EINVAL);
        return;
    }
    n = target_read(s->target, s->vcpu, s->physical, address, data, MIN(size, MEMORY_MAX));
    if (n == 0 && size > 0) {
        reply_error(s, -EFAULT);
        return;
    }
    add_hex(text, data, n);
    reply(s, text->str);
}

static void write_memory(struct session *s, const char *p)
{
    g_autofree uint8_t *data = g_malloc(PACKET_MAX);
    uint64_t address, size;

    if (!place(p, &address, &size, &p) || *p != ':' || size > MEMORY_MAX ||
        from_hex(p + 1, data, PACKET_MAX) != size) {
        reply_error(s, -EINVAL);
    } else {
        reply_done(s, target_write(s->target, s->vcpu, s->physical, address, data, size) == size
                          ? 0
                          : -EFAULT);
    }
}

static void breakpoint(struct session *s, const char *p, bool insert)
{
    uint64_t address, length;
    unsigned kind = (unsigned)g_ascii_digit_value(*p);

    if (kind > BREAK_ACCESS || p[1] != ',' || !place(p + 2, &address, &length, &p)) {
        reply(s, "");
    } else {
        reply_done(s, insert ? target_break(s->target, s->vcpu, kind, address, (unsigned)length)
                             : target_unbreak(s->target, kind, address, (unsigned)length));
    }
}

/* ---- commands of our own: `monitor …` ---- */

static void reply_text(struct session *s, const char *text)
{
    g_autoptr(GString) hex = g_string_new(NULL);

    add_hex(hex, text, strlen(text));
    reply(s, hex->str);
}

static void monitor(struct session *s, const char *hex)
{
    g_autofree char *command = g_malloc0(PACKET_MAX + 1);
    g_autoptr(GString) text = g_string_new(NULL);

    command[from_hex(hex, (uint8_t *)command, PACKET_MAX)] = '\0';
    if (strcmp(command, "physical") == 0 || strcmp(command, "virtual") == 0) {
        s->physical = command[0] == 'p';
        g_string_printf(text, "addresses are %s now\n", command);
    } else if (strcmp(command, "vcpus") == 0) {
        for (unsigned i = 0; i < target_vcpus(s->target); i++) {
            const struct hvm_hw_cpu *r = target_registers(s->target, i);

            if (target_online(s->target, i)) {
                g_string_append_printf(text, "vCPU %u, thread %u: %s, %04x:%" PRIx64 "\n", i, i + 1,
                                       cpu_mode_name(cpu_mode(r)), r->cs_sel, r->rip);
            } else {
                g_string_append_printf(text, "vCPU %u: not online\n", i);
            }
        }
    } else {
        g_string_assign(text, "monitor physical | virtual: what addresses of memory mean\n"
                              "monitor vcpus: where they are\n");
    }
    reply_text(s, text->str);
}

/* ---- queries ---- */

static void features(struct session *s, const char *p)
{
    g_autofree char *xml = gdb_description(s->bits);
    uint64_t offset, size;

    if (!place(p, &offset, &size, &p) || offset > strlen(xml)) {
        reply_error(s, -EINVAL);
    } else {
        g_autofree char *part = g_strndup(xml + offset, MIN(size, MEMORY_MAX)),
                        *text =
                            g_strdup_printf("%c%s", offset + strlen(part) < strlen(xml) ? 'm' : 'l',
                                            part);

        reply(s, text);
    }
}

static void threads(struct session *s)
{
    g_autoptr(GString) text = g_string_new("m");

    for (unsigned i = 0; i < target_vcpus(s->target); i++) {
        if (target_online(s->target, i)) {
            g_string_append_printf(text, "%s%x", text->len > 1 ? "," : "", i + 1);
        }
    }
    reply(s, text->str);
}

static void thread_info(struct session *s, const char *p)
{
    unsigned vcpu = (unsigned)strtoul(p, NULL, 16) - 1;
    g_autofree char *text =
        target_online(s->target, vcpu)
            ? g_strdup_printf("vCPU %u, %s", vcpu,
                              cpu_mode_name(cpu_mode(target_registers(s->target, vcpu))))
            : g_strdup("not online");

    reply_text(s, text);
}

static bool begins(const char *text, const char *with, const char **rest)
{
    *rest = text + strlen(with);
    return strncmp(text, with, strlen(with)) == 0;
}

static void query(struct session *s, const char *p)
{
    const char *rest;

    if (begins(p, "qSupported", &rest)) {
        g_autofree char *text =
            g_strdup_printf("PacketSize=%x;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+;"
                            "QStartNoAckMode+",
                            PACKET_MAX);

        reply(s, text);
    } else if (begins(p, "qXfer:features:read:target.xml:", &rest)) {
        features(s, rest);
    } else if (strcmp(p, "qfThreadInfo") == 0) {
        threads(s);
    } else if (strcmp(p, "qsThreadInfo") == 0) {
        reply(s, "l");
    } else if (begins(p, "qThreadExtraInfo,", &rest)) {
        thread_info(s, rest);
    } else if (strcmp(p, "qC") == 0) {
        g_autofree char *text = g_strdup_printf("QC%x", s->vcpu + 1);

        reply(s, text);
    } else if (strcmp(p, "qAttached") == 0) {
        reply(s, "1");
    } else if (begins(p, "qRcmd,", &rest)) {
        monitor(s, rest);
    } else if (strcmp(p, "QStartNoAckMode") == 0) {
        reply(s, "OK");
        s->no_ack = true;
    } else {
        reply(s, "");
    }
}

/* 0 and -1 are any thread: the one that there is. */
static void choose_thread(struct session *s, const char *p)
{
    long thread = *p ? strtol(p + 1, NULL, 16) : 0; /* behind the letter of what it is for */

    if (thread <= 0) {
        reply(s, "OK");
    } else if (target_online(s->target, (unsigned)thread - 1)) {
        s->vcpu = (unsigned)thread - 1;
        reply(s, "OK");
    } else {
        reply_error(s, -EINVAL);
    }
}

static void packet(struct session *s, const char *p)
{
    switch (*p) {
    case '?':
        reply_stop(s, STOP_ASKED, 0);
        break;
    case 'g':
        all_registers(s);
        break;
    case 'G':
        set_all_registers(s, p + 1);
        break;
    case 'p':
        one_register(s, p + 1);
        break;
    case 'P':
        set_one_register(s, p + 1);
        break;
    case 'm':
        read_memory(s, p + 1);
        break;
    case 'M':
        write_memory(s, p + 1);
        break;
    case 'Z':
    case 'z':
        breakpoint(s, p + 1, *p == 'Z');
        break;
    case 'c':
        go_on(s, -1);
        break;
    case 's':
        go_on(s, (int)s->vcpu);
        break;
    case 'v':
        if (strcmp(p, "vCont?") == 0) {
            reply(s, "vCont;c;C;s;S");
        } else if (strncmp(p, "vCont;", 6) == 0) {
            continue_packet(s, p + 5);
        } else {
            reply(s, "");
        }
        break;
    case 'H':
        choose_thread(s, p + 1);
        break;
    case 'T':
        reply_done(s,
                   target_online(s->target, (unsigned)strtoul(p + 1, NULL, 16) - 1) ? 0 : -ESRCH);
        break;
    case 'q':
    case 'Q':
        query(s, p);
        break;
    case 'D':
        reply(s, "OK");
        s->quit = true;
        break;
    case 'k': /* gdb's kill leaves the guest alone */
        s->quit = true;
        break;
    default:
        reply(s, "");
        break;
    }
}

/* ---- what comes ---- */

/* Acts on what has come whole; the rest stays. */
static void take(struct session *s)
{
    GString *r = s->received;

    while (!s->quit && r->len > 0) {
        const char *end;
        gsize length;

        if (r->str[0] != '$') {
            if (r->str[0] == INTERRUPT && s->running) {
                target_interrupt(s->target);
            }
            g_string_erase(r, 0, 1);
            continue;
        }
        end = memchr(r->str, '#', r->len);
        length = end ? (gsize)(end - r->str) : 0;
        if (!end || length + 3 > r->len) {
            s->quit = r->len > 4 * PACKET_MAX;
            return;
        }
        {
            g_autofree char *text = g_strndup(r->str + 1, length - 1);

            g_string_erase(r, 0, (gssize)length + 3);
            if (!s->no_ack) {
                send_all(s, "+", 1);
            }
            packet(s, text);
        }
    }
}

static void serve(struct session *s)
{
    while (!s->quit && !told_to_end) {
        struct pollfd p = {s->in, POLLIN, 0};
        int n = poll(&p, 1, s->running ? POLL_MS : -1);

        if (n > 0) {
            char data[4096];
            ssize_t got = read(s->in, data, sizeof(data));

            if (got <= 0) {
                break;
            }
            g_string_append_len(s->received, data, got);
            take(s);
        }
        if (s->running && !s->quit) {
            look_whether_stopped(s);
        }
    }
}

/* One client on this host; -1 with errno. */
static int accept_one(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof(address);
    int one = 1, client, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 1) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
        return -1;
    }
    printf("waiting for gdb: target remote 127.0.0.1:%u\n", ntohs(address.sin_port));
    fflush(stdout);
    client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    close(fd);
    return client;
}

/* ---- the command ---- */

static bool number(const char *text, unsigned max, unsigned *to)
{
    char *end;
    guint64 n = g_ascii_strtoull(text, &end, 10);

    *to = (unsigned)MIN(n, max);
    return g_ascii_isdigit(*text) && *end == '\0' && n <= max;
}

static bool options(int argc, char **argv, int *port, unsigned *bits)
{
    for (int i = 1; i < argc; i += 2) {
        unsigned n = 0;

        if (i + 1 == argc) {
            return false;
        }
        if (strcmp(argv[i], "--port") == 0 && number(argv[i + 1], 65535, &n)) {
            *port = (int)n;
        } else if (strcmp(argv[i], "--bits") == 0 && number(argv[i + 1], 64, &n) &&
                   (n == 16 || n == 32 || n == 64)) {
            *bits = n;
        } else {
            return false;
        }
    }
    return true;
}

int gdb_main(int argc, char **argv)
{
    struct sigaction end = {.sa_handler = end_signal};
    struct session s = {.in = STDIN_FILENO, .out = STDOUT_FILENO};
    g_autoptr(page_t) page = NULL;
    unsigned bits = 0;
    int port = -1;

    if (argc < 1 || argv[0][0] == '-' || !options(argc, argv, &port, &bits)) {
        return -1;
    }
    page = page_of_guest(argv[0]);
    if (!page) {
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGHUP, &end, NULL);
    if (port < 0) {
        signal(SIGINT, SIG_IGN); /* gdb's, whose child we are */
    } else {
        sigaction(SIGINT, &end, NULL);
    }
    if (port >= 0) {
        s.in = s.out = accept_one((unsigned)port);
    }
    s.target = s.in >= 0 ? target_attach(page->raw.domid) : NULL;
    if (!s.target) {
        fprintf(stderr, "xendmctl: gdb: %s\n", g_strerror(errno));
        return 1;
    }
    if (target_deaf(s.target)) {
        fprintf(stderr, "xendmctl: gdb: " DEAF "\n", g_strerror(target_deaf(s.target)));
    }
    while (s.vcpu + 1 < target_vcpus(s.target) && !target_online(s.target, s.vcpu)) {
        s.vcpu++;
    }
    s.bits = bits ? bits : cpu_bits(cpu_mode(target_registers(s.target, s.vcpu)));
    s.received = g_string_new(NULL);
    serve(&s);
    target_detach(s.target);
    g_string_free(s.received, TRUE);
    return 0;
}
