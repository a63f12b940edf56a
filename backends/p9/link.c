/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's end of a server of files; see xendm/p9.h and wire.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>

#include <xendm/error.h>
#include <xendm/files.h>
#include <xendm/handover.h>
#include <xendm/helper.h>
#include <xendm/log.h>
#include <xendm/memory-file.h>
#include <xendm/one-fd.h>
#include <xendm/turn.h>

#include "wire.h"

#define MEMORY_SIZE ((size_t)P9_SLOTS * P9_SLOT_SIZE)

struct p9_link {
    const struct p9_user *user;
    void *opaque;
    int socket, memory_fd;
    uint8_t *memory;
    GSource *watch; /* NULL: nothing comes any more */
    bool ended;
    uint32_t taken, sent; /* slots, by bit */
    uint32_t limit[P9_SLOTS];
};

/* ---- the start ---- */

bool p9_model_known(const char *model)
{
    static const char *const models[] = {"none", "passthrough", "mapped", "mapped-xattr", NULL};

    return g_strv_contains(models, model);
}

int p9_start_server(const struct p9_tree *tree, GError **err)
{
    g_autofree char *program = helper_program("XENDM_P9", "backends/p9", "xendm-p9");
    char *argv[] = {program, tree->model, tree->read_only ? "ro" : "rw", NULL};
    int dir, rc;

    if (!p9_model_known(tree->model)) {
        g_set_error(err, XENDM_ERROR, ENOTSUP,
                    "the security model '%s' is none of none, passthrough, mapped-xattr",
                    tree->model);
        return -ENOTSUP;
    }
    dir = open(tree->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        rc = -errno;
        g_set_error(err, XENDM_ERROR, -rc, "'%s': %s", tree->path, g_strerror(-rc));
        return rc;
    }
    rc = helper_start(argv, dir, err);
    close(dir);
    return rc;
}

/* By us, or by who may start programs still when we may not any more. */
static int start_or_ask(const struct p9_tree *tree, GError **err)
{
    int fd = files_serve_tree(tree->path, tree->model, tree->read_only);

    if (fd == -ENOSYS) {
        return p9_start_server(tree, err);
    }
    if (fd < 0) {
        g_set_error(err, XENDM_ERROR, -fd, "no server can be started for '%s' (model '%s'): %s",
                    tree->path, tree->model, files_why(-fd));
    }
    return fd;
}

/* ---- what comes ---- */

static void unwatch(struct p9_link *l)
{
    if (l->watch) {
        g_source_destroy(l->watch);
        g_clear_pointer(&l->watch, g_source_unref);
    }
}

static void end(struct p9_link *l)
{
    unwatch(l);
    l->ended = true;
    l->sent = 0;
    l->user->ended(l->opaque);
}

/* 1: an answer; 0: there is none; -1: the server is gone, or mad. */
static int receive(struct p9_link *l, struct p9_wire *w)
{
    ssize_t n = recv(l->socket, w, sizeof(*w), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    return n == sizeof(*w) && w->slot < P9_SLOTS && (l->sent >> w->slot & 1) &&
                   w->length >= P9_MESSAGE_MIN && w->length <= l->limit[w->slot]
               ? 1
               : -1;
}

/* Answers, and the end of it, which is looked for when none is waited for, too. */
static gboolean readable(gint fd, GIOCondition condition, gpointer opaque)
{
    struct p9_link *l = opaque;

    turn_of("9P");
    do {
        struct p9_wire w;
        int rc = receive(l, &w);

        if (rc < 0) {
            end(l);
            return G_SOURCE_REMOVE;
        }
        if (rc == 0) {
            break;
        }
        l->sent &= ~(UINT32_C(1) << w.slot);
        l->user->answered(l->opaque, w.slot, w.length);
    } while (l->sent);
    return G_SOURCE_CONTINUE;
}

static void watch(struct p9_link *l)
{
    l->watch = g_unix_fd_source_new(l->socket, G_IO_IN | G_IO_HUP | G_IO_ERR);
    g_source_set_callback(l->watch, G_SOURCE_FUNC(readable), l, NULL);
    g_source_set_can_recurse(l->watch, TRUE); /* spares four system calls a dispatch */
    g_source_attach(l->watch, NULL);
}

/* ---- life ---- */

static struct p9_link *link_new(int socket, int memory, const struct p9_user *user, void *opaque,
                                GError **err)
{
    struct p9_link *l = g_new0(struct p9_link, 1);

    l->user = user;
    l->opaque = opaque;
    l->socket = socket;
    l->memory_fd = memory;
    l->memory = memory_file_map(memory, MEMORY_SIZE);
    if (socket < 0 || !l->memory) {
        int e = errno ? errno : EIO;

        g_set_error(err, XENDM_ERROR, e, "there is no memory to share with the server: %s",
                    g_strerror(e));
        p9_link_free(l);
        return NULL;
    }
    watch(l);
    return l;
}

struct p9_link *p9_link_new(const struct p9_tree *tree, const struct p9_user *user, void *opaque,
                            GError **err)
{
    const struct p9_wire hello = {.slot = P9_WIRE_HELLO, .length = (uint32_t)MEMORY_SIZE};
    int socket = start_or_ask(tree, err);
    int memory = socket < 0 ? -1 : memory_file_new("xendm-p9", MEMORY_SIZE, true);
    struct p9_link *l = socket < 0 ? NULL : link_new(socket, memory, user, opaque, err);

    if (l && one_fd_send(socket, &hello, sizeof(hello), l->memory_fd, 0) != sizeof(hello)) {
        g_set_error(err, XENDM_ERROR, EPIPE, "the server for '%s' has ended", tree->path);
        g_clear_pointer(&l, p9_link_free);
    }
    return l;
}

void p9_link_free(struct p9_link *l)
{
    if (!l) {
        return;
    }
    unwatch(l);
    if (l->memory) {
        munmap(l->memory, MEMORY_SIZE);
    }
    if (l->memory_fd >= 0) {
        close(l->memory_fd);
    }
    if (l->socket >= 0) {
        close(l->socket);
    }
    g_free(l);
}

/* ---- slots ---- */

int p9_slot_take(struct p9_link *l)
{
    uint32_t free_ones = ~l->taken & ((UINT32_C(1) << P9_SLOTS) - 1);
    int slot = l->ended || !free_ones ? -EBUSY : __builtin_ctz(free_ones);

    l->taken |= slot < 0 ? 0 : UINT32_C(1) << slot;
    return slot;
}

void p9_slot_give(struct p9_link *l, unsigned slot)
{
    l->taken &= ~(UINT32_C(1) << slot);
}

uint8_t *p9_slot_memory(struct p9_link *l, unsigned slot)
{
    return l->memory + (size_t)slot * P9_SLOT_SIZE;
}

/* The socket has room for all slots. If it has not, that is no server. */
void p9_slot_send(struct p9_link *l, unsigned slot, uint32_t length, uint32_t limit)
{
    const struct p9_wire w = {.slot = slot,
                              .length = length,
                              .limit = CLAMP(limit, P9_LIMIT_MIN, P9_SLOT_SIZE)};

    l->sent |= UINT32_C(1) << slot;
    l->limit[slot] = w.limit;
    if (send(l->socket, &w, sizeof(w), MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(w)) {
        log_debug(LOG_BACKEND, "9P server: %s", g_strerror(errno));
        shutdown(l->socket, SHUT_RDWR); /* which is heard of in the loop */
    }
}

uint32_t p9_slots_taken(const struct p9_link *l)
{
    return l->taken;
}

/* ---- live update ---- */

void p9_link_hand_over(const struct p9_link *l, struct handover *to, const char *group)
{
    handover_put_fd(to, group, "server", l->socket);
    handover_put_fd(to, group, "slots", l->memory_fd);
    handover_put_int(to, group, "taken", l->taken);
}

struct p9_link *p9_link_take_over(const struct handover *from, const char *group,
                                  const struct p9_user *user, void *opaque, GError **err)
{
    int socket = handover_fd(from, group, "server");
    struct p9_link *l = link_new(socket, handover_fd(from, group, "slots"), user, opaque, err);

    if (l) {
        l->taken = (uint32_t)handover_int(from, group, "taken", 0);
    }
    return l;
}
