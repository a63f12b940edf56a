/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything that reads text: QMP's transport and commands (a real server, clients of its sockets),
 * the command line, and the small readers (xenstore values and tokens, option lists, character
 * devices).
 *
 * A target each.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <xendm/log.h>
#include <xendm/machine-desc.h>
#include <xendm/numbers.h>

#include "../../dm/config/optlist.h"
#include "../../xenstore-watch/logic.h"
#include "../unit/qmp-fixture.h"
#include "fuzz.h"

#define OUTPUT_MAX (4u << 20) /* what one client may be told for 8 KiB of input */
#define ARGS_MAX 24

const unsigned fuzz_short_run = 500;

/* ---- QMP ---- */

static struct fake_dm *dm;

static void dm_end(void)
{
    if (dm->stop) {
        finish_stop(dm);
    }
    settle();
    dm_free(dm);
}

static void check_output(struct client *c, gsize *total)
{
    char *end;

    while (pull(c) && (end = memchr(c->in->str, '\n', c->in->len))) {
        gsize len = (gsize)(end - c->in->str);
        g_autoptr(JsonNode) node = NULL;

        if (len == 0 || end[-1] != '\r' || memchr(c->in->str, '\r', len - 1)) {
            g_error("a message does not end in CR LF, or has another");
        }
        end[-1] = '\0';
        node = json_from_string(c->in->str, NULL);
        if (!node || !JSON_NODE_HOLDS_OBJECT(node)) {
            g_error("no JSON: %s", c->in->str);
        }
        *total += len + 1;
        if (*total > OUTPUT_MAX) {
            g_error("too much for too little");
        }
        g_string_erase(c->in, 0, (gssize)(len + 1));
    }
}

/* False when it hung up, as it may. `nfds` up to 2. */
static bool send_piece(struct client *c, const char *buf, size_t len, const int *fds, unsigned nfds)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control = {.space = {0}};
    struct iovec iov = {(void *)buf, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (nfds > 0) {
        struct cmsghdr *header = &control.align;

        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(nfds * sizeof(int)),
                                   .cmsg_level = SOL_SOCKET,
                                   .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(header), fds, nfds * sizeof(int));
    }
    return len == 0 || sendmsg(c->fd, &msg, MSG_NOSIGNAL) >= 0 || errno == EAGAIN;
}

/* Pieces of up to 255 bytes, with or without a descriptor; the server runs in between, or not. */
static void fuzz_qmp(struct fuzz_input *in)
{
    unsigned flags = fuzz_u8(in), before;
    struct client *c, *other = NULL;
    gsize total = 0;

    if (!dm) {
        dm = dm_new(true);
        atexit(dm_end);
    }
    before = open_fds();
    dm->stop_at_once = flags & 1;
    c = flags & 2 ? client_open(flags & 4 ? dm->quiet_path : dm->path) : client_new(dm->path);
    if (flags & 8) {
        other = client_new(dm->path);
    }
    while (in->left > 0) {
        unsigned len = fuzz_u8(in), how = fuzz_u8(in);
        char buf[256];

        bool up;

        fuzz_steps++;
        fuzz_bytes(in, buf, len);
        if (how < 16) {
            int fds[2] = {open("/dev/null", how & 1 ? O_RDONLY : O_WRONLY),
                          open("/dev/null", O_RDWR)};

            up = send_piece(c, buf, len, fds, 1 + (how >> 1 & 1));
            close(fds[0]);
            close(fds[1]);
        } else {
            up = send_piece(c, buf, len, NULL, 0);
        }
        if (!up) {
            break;
        }
        if (how & 0x80) {
            settle();
            check_output(c, &total);
        }
        if ((how & 0x60) == 0x60) {
            qmp_event(dm->qmp, "STOP");
        }
        if (other && (how & 0x30) == 0x30) {
            send_piece(other, "{\"execute\":\"query-status\"}", 26, NULL, 0);
        }
    }
    settle();
    check_output(c, &total);
    if (dm->stop) {
        finish_stop(dm);
        settle();
        check_output(c, &total);
    }
    client_close(c);
    if (other) {
        total = 0;
        check_output(other, &total);
        client_close(other);
    }
    settle();
    /* One that is served in a moment may hold one or two; what leaks is more every time. */
    if (open_fds() > before) {
        g_error("%u descriptors are left over", open_fds() - before);
    }
}

/* ---- the others ---- */

static void fuzz_cmdline(struct fuzz_input *in)
{
    char *argv[ARGS_MAX + 1] = {g_strdup("xendm")};
    struct machine_desc *desc;
    GError *err = NULL;
    bool done = false;
    int argc = 1;

    while (in->left > 0 && argc < ARGS_MAX) {
        const void *zero = memchr(in->data, '\0', in->left);
        gsize len = zero ? (gsize)((const uint8_t *)zero - in->data) : in->left;
        char *arg = g_strndup((const char *)in->data, len);

        /* These write to standard output. */
        if (strstr(arg, "help") || strstr(arg, "version") || strcmp(arg, "-h") == 0 ||
            strcmp(arg, "--h") == 0) {
            g_free(arg);
        } else {
            argv[argc++] = arg;
        }
        in->data += len + (zero ? 1 : 0);
        in->left -= len + (zero ? 1 : 0);
    }
    desc = machine_desc_parse(argc, argv, &done, &err);
    if (desc) {
        g_autofree char *json = machine_desc_to_json(desc);
        g_autoptr(JsonNode) node = json_from_string(json, NULL);

        if (!node || err) {
            g_error("no JSON: %s", json);
        }
        machine_desc_free(desc);
    } else if (!done && (!err || strchr(err->message, '\n'))) {
        g_error("refused without one line");
    }
    g_clear_error(&err);
    for (int i = 0; i < argc; i++) {
        g_free(argv[i]);
    }
}

static void fuzz_xenstore(struct fuzz_input *in)
{
    g_autofree char *text = g_strndup((const char *)in->data, in->left);
    g_autofree char *path = xenstore_absolute("/local/domain/0/device-model/1", text);
    uint64_t value = 0;

    if (xenstore_parse_uint(text, 1000, &value) == 0 && value > 1000) {
        g_error("beyond its limit");
    }
    if (path && strlen(path) > XENSTORE_PATH_MAX) {
        g_error("too long a path");
    }
    xenstore_token_parse(text);
}

static void fuzz_options(struct fuzz_input *in)
{
    static const struct optlist_form forms[] = {
        {{"if=none", "readonly=on", "id=ide-"}, "file", {"format="}},
        {{NULL}, "file", {"if=ide", "index=", "media=disk", "format=", "cache=writeback"}},
        {.key = NULL},
    };
    g_autofree char *text = g_strndup((const char *)in->data, in->left);
    char *serial[] = {(char *)"xendm", (char *)"-machine", (char *)"none", (char *)"-serial", text};
    struct machine_desc *desc;
    bool done;
    struct optlist *list;
    GError *err = NULL;
    uint64_t value = 0;

    if (number_parse(text, 10, 2000, &value) == 0 && (value < 10 || value > 2000)) {
        g_error("beyond its limits");
    }
    list = optlist_parse("-x", text, "word", forms, &err);
    if (list) {
        optlist_take(list, "file");
        optlist_end(list, NULL);
        optlist_free(list);
    } else if (!err) {
        g_error("refused without a word");
    }
    g_clear_error(&err);
    desc = machine_desc_parse(G_N_ELEMENTS(serial), serial, &done, &err);
    if (!desc && !err) {
        g_error("refused without a word");
    }
    machine_desc_free(desc);
    g_clear_error(&err);
}

enum text_target { TEXT_QMP, TEXT_CMDLINE, TEXT_OPTIONS, TEXT_XENSTORE };

const char *const fuzz_targets[] = {"qmp", "command-line", "options", "xenstore", NULL};

static void (*const run[])(struct fuzz_input *in) = {fuzz_qmp, fuzz_cmdline, fuzz_options,
                                                     fuzz_xenstore};
static enum text_target target;
static bool chosen;

void fuzz_choose(unsigned which)
{
    target = (enum text_target)which;
    chosen = true;
}

uint64_t fuzz_steps;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};

    log_set_level("all", "error");
    if (!chosen) {
        fuzz_choose_by_name();
    }
    fuzz_steps += target != TEXT_QMP;
    run[target](&in);
    return 0;
}

/* ---- inputs ---- */

static const char *const words[] = {
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\r\n",
    "\n",
    " ",
    "\\u0000",
    "\\ud800",
    "1e999",
    "-0",
    "99999999999999999999",
    "true",
    "null",
    "\"execute\"",
    "\"arguments\"",
    "\"id\"",
    "\"exec-oob\"",
    "\"qmp_capabilities\"",
    "{{{{{{{{",
    "[[[[[[[[",
    "{\"execute\":\"qmp_capabilities\"}",
    "{\"execute\":\"query-status\",\"id\":[[{}]]}",
    "{\"execute\":\"query-block\"}",
    "{\"execute\":\"query-pci\"}",
    "{\"execute\":\"query-cpus-fast\"}",
    "{\"execute\":\"stop\"}",
    "{\"execute\":\"cont\"}",
    "{\"execute\":\"add-fd\"}",
    "{\"execute\":\"add-fd\",\"arguments\":{\"fdset-id\":3,\"opaque\":\"raw:/x\"}}",
    "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":3}}",
    "{\"execute\":\"query-fdsets\"}",
    "{\"execute\":\"xen-save-devices-state\",\"arguments\":{\"filename\":\"/dev/fdset/"
    "0\",\"live\":false}}",
    "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"info recorder 7\"}}",
    "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"info mtree\"}}",
    "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"sendkey a-b-c-d\"}}",
    "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"log all error\"}}",
    "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"xen-vcpu\",\"socket-id\":1,\"core-"
    "id\":0,\"thread-id\":0}}",
    "{\"execute\":\"eject\",\"arguments\":{\"id\":\"ide-5632\",\"force\":true}}",
    "{\"execute\":\"system_reset\"}",
    "{\"execute\":\"cpu-add\",\"arguments\":{\"id\":2}}",
    "{\"execute\":\"xen-set-global-dirty-log\",\"arguments\":{\"enable\":true}}",
    "{\"execute\":\"blockdev-change-medium\",\"arguments\":{\"id\":\"ide-5632\",\"filename\":\"/"
    "dev/fdset/0\"}}",
};

static const char *const args[] = {
    "-xen-domid",
    "7",
    "-machine",
    "xenfv",
    "pc,accel=xen",
    "none",
    "-m",
    "64",
    "-name",
    "a,b",
    "-smp",
    "2,maxcpus=4",
    "-boot",
    "order=cda",
    "-drive",
    "file=/x,y,if=ide,index=0,media=disk,format=raw,cache=writeback",
    "if=none,readonly=on,id=ide-5632",
    "-device",
    "ide-cd,id=ide-5632,drive=ide-5632,bus=ide.1,unit=0",
    "VGA,vgamem_mb=16",
    "xen-pvdevice,device-id=0xc000",
    "-serial",
    "pty",
    "file:/x",
    "-chardev",
    "socket,id=c,path=/x,server=on,wait=off",
    "socket,id=c,fd=3,server=on",
    "-mon",
    "chardev=c,mode=control",
    "-vnc",
    "127.0.0.1:0,to=99",
    "-incoming",
    "fd:5",
    "-runas",
    "65536:65534",
    "-chroot",
    "/var",
    "-run-with",
    "user=a,chroot=/b",
    "--log",
    "ide=debug,all=info",
    "-S",
    "-no-acpi",
    "-nodefaults",
    "-vga",
    "cirrus",
    "-display",
    "-net",
    "-k",
    "de",
    "-xen-domid-restrict",
    "-no-shutdown",
};

static void add_text(GByteArray *out, GRand *rand, const char *text)
{
    gsize at = out->len, len = strlen(text);

    g_byte_array_append(out, (const guint8 *)text, (guint)len);
    if (len > 0 && g_rand_int(rand) % 8 == 0) {
        out->data[at + g_rand_int(rand) % len] = (uint8_t)g_rand_int(rand);
    }
}

static const char *const values[] = {
    "1",
    "0",
    "999",
    "1000",
    "18446744073709551616",
    "-1",
    "0x10",
    " 7",
    "/local/domain/1/",
    "..",
    "//",
    "device-model/1/state",
    "token:",
    "W0x7f",
    "\xff",
    "@releaseDomain",
};

static const char *some_word(GRand *rand)
{
    uint32_t which = g_rand_int(rand);

    switch (target) {
    case TEXT_QMP:
        return words[which % G_N_ELEMENTS(words)];
    case TEXT_XENSTORE:
        return values[which % G_N_ELEMENTS(values)];
    default:
        return args[which % G_N_ELEMENTS(args)];
    }
}

/* A length, a byte that says how it is sent, and what is sent. */
static void add_piece(GByteArray *out, GRand *rand)
{
    guint at = out->len;
    uint8_t head[2] = {0, (uint8_t)g_rand_int(rand)};

    g_byte_array_append(out, head, 2);
    for (unsigned n = g_rand_int(rand) % 4; n > 0; n--) {
        add_text(out, rand, some_word(rand));
    }
    out->data[at] = (uint8_t)MIN(out->len - at - 2, 255);
}

void fuzz_generate(GRand *rand, GByteArray *out)
{
    uint8_t flags = (uint8_t)g_rand_int(rand);

    if (target == TEXT_QMP) {
        g_byte_array_append(out, &flags, 1);
    }
    for (unsigned pieces = 1 + g_rand_int(rand) % 24; pieces > 0; pieces--) {
        if (target == TEXT_QMP) {
            add_piece(out, rand);
            continue;
        }
        add_text(out, rand, some_word(rand));
        if (target == TEXT_CMDLINE) {
            g_byte_array_append(out, (const guint8 *)"", 1);
        }
    }
}
