/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sets of file descriptors that a client passed: add-fd, remove-fd, query-fdsets, and
 * "/dev/fdset/N" as a file's name.
 *
 * libxl adds one for each save and each CD change and never removes any, so a set is freed by the
 * command that uses it, and all of them when the last client has gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include <xendm/device.h>
#include <xendm/numbers.h>

#include "internal.h"

#define FDSET_PREFIX "/dev/fdset/"

struct passed_fd {
    int fd;
    char *opaque; /* NULL: none */
};

struct qmp_fdset {
    gint64 id;
    GArray *fds; /* struct passed_fd */
};

static void passed_fd_clear(void *p)
{
    struct passed_fd *passed = p;

    if (passed->fd >= 0) {
        close(passed->fd);
    }
    g_free(passed->opaque);
}

static struct qmp_fdset *fdset_find(struct qmp *qmp, gint64 id)
{
    for (guint i = 0; i < qmp->fdsets->len; i++) {
        struct qmp_fdset *set = g_ptr_array_index(qmp->fdsets, i);

        if (set->id == id) {
            return set;
        }
    }
    return NULL;
}

static struct qmp_fdset *fdset_new(struct qmp *qmp, gint64 id)
{
    struct qmp_fdset *set = g_new0(struct qmp_fdset, 1);

    set->id = id;
    set->fds = g_array_new(FALSE, FALSE, sizeof(struct passed_fd));
    g_array_set_clear_func(set->fds, passed_fd_clear);
    g_ptr_array_add(qmp->fdsets, set);
    return set;
}

static void fdset_free(struct qmp *qmp, struct qmp_fdset *set)
{
    g_ptr_array_remove(qmp->fdsets, set);
    g_array_free(set->fds, TRUE);
    g_free(set);
}

void qmp_fdset_free_all(struct qmp *qmp)
{
    while (qmp->fdsets->len) {
        fdset_free(qmp, g_ptr_array_index(qmp->fdsets, 0));
    }
}

bool qmp_fdset_is_path(const char *path)
{
    return g_str_has_prefix(path, FDSET_PREFIX);
}

static bool fd_allows(int fd, bool write)
{
    int flags = fcntl(fd, F_GETFL);
    int mode = flags & O_ACCMODE;

    return flags >= 0 && !(flags & O_PATH) &&
           (mode == O_RDWR || mode == (write ? O_WRONLY : O_RDONLY));
}

int qmp_fdset_take(struct qmp *qmp, const char *path, bool write, char **opaque_out, GError **err)
{
    struct qmp_fdset *set = NULL;
    uint64_t id;
    int fd = -1;

    if (qmp_fdset_is_path(path) &&
        number_parse(path + strlen(FDSET_PREFIX), 0, G_MAXINT64, &id) == 0) {
        set = fdset_find(qmp, (gint64)id);
    }
    if (!set) {
        g_set_error(err, XENDM_ERROR, ENOENT, "'%s': there is no such set of file descriptors",
                    path);
        return -ENOENT;
    }
    for (guint i = 0; i < set->fds->len && fd < 0; i++) {
        struct passed_fd *passed = &g_array_index(set->fds, struct passed_fd, i);

        if (fd_allows(passed->fd, write)) {
            fd = passed->fd;
            passed->fd = -1;
            if (opaque_out) {
                *opaque_out = g_strdup(passed->opaque);
            }
        }
    }
    fdset_free(qmp, set);
    if (fd < 0) {
        g_set_error(err, XENDM_ERROR, EACCES, "'%s': no descriptor in this set is open for %s",
                    path, write ? "writing" : "reading");
        return -EACCES;
    }
    return fd;
}

/* ---- live update ---- */

void qmp_fdset_hand_over(struct qmp *qmp, struct handover *h)
{
    unsigned n = 0;

    for (guint i = 0; i < qmp->fdsets->len; i++) {
        const struct qmp_fdset *set = g_ptr_array_index(qmp->fdsets, i);

        for (guint f = 0; f < set->fds->len; f++) {
            const struct passed_fd *passed = &g_array_index(set->fds, struct passed_fd, f);
            g_autofree char *group = g_strdup_printf("fdset %u", n++);

            handover_put_int(h, group, "id", set->id);
            handover_put_fd(h, group, "file", passed->fd);
            handover_put_text(h, group, "opaque", passed->opaque);
        }
    }
}

void qmp_fdset_take_over(struct qmp *qmp, const struct handover *h)
{
    for (unsigned n = 0; n < QMP_FDSET_FDS_MAX; n++) {
        g_autofree char *group = g_strdup_printf("fdset %u", n);
        gint64 id = handover_int(h, group, "id", -1);
        struct passed_fd passed = {.fd = handover_fd(h, group, "file")};
        struct qmp_fdset *set;

        if (id < 0 || passed.fd < 0) {
            break;
        }
        set = fdset_find(qmp, id);
        passed.opaque = handover_text(h, group, "opaque");
        g_array_append_val((set ? set : fdset_new(qmp, id))->fds, passed);
    }
}

static void run_add_fd(struct qmp_call *call, JsonObject *args)
{
    struct qmp *qmp = call->qmp;
    struct passed_fd passed = {.fd = qmp_client_take_fd(call->client)};
    bool named = json_object_has_member(args, "fdset-id");
    gint64 id = named ? json_object_get_int_member(args, "fdset-id") : 0;
    struct qmp_fdset *set;
    JsonBuilder *b;
    guint total = 0;

    if (passed.fd < 0) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "add-fd: no file descriptor came with the command");
        return;
    }
    for (guint i = 0; i < qmp->fdsets->len; i++) {
        total += ((struct qmp_fdset *)g_ptr_array_index(qmp->fdsets, i))->fds->len;
    }
    if (id < 0 || total >= QMP_FDSET_FDS_MAX) {
        close(passed.fd);
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      id < 0 ? "argument 'fdset-id' must not be negative"
                             : "there are too many file descriptors already");
        return;
    }
    while (!named && fdset_find(qmp, id)) {
        id++;
    }
    set = fdset_find(qmp, id);
    if (!set) {
        set = fdset_new(qmp, id);
    }
    passed.opaque = g_strdup(qmp_arg_string(args, "opaque"));
    g_array_append_val(set->fds, passed);
    b = json_builder_new();
    json_builder_begin_object(b);
    qmp_build_int(b, "fd", passed.fd);
    qmp_build_int(b, "fdset-id", id);
    json_builder_end_object(b);
    qmp_call_build(call, b);
}

static void run_remove_fd(struct qmp_call *call, JsonObject *args)
{
    struct qmp_fdset *set = fdset_find(call->qmp, json_object_get_int_member(args, "fdset-id"));
    bool found = false;

    if (set && !json_object_has_member(args, "fd")) {
        fdset_free(call->qmp, set);
        found = true;
    } else if (set) {
        gint64 fd = json_object_get_int_member(args, "fd");

        for (guint i = 0; i < set->fds->len && !found; i++) {
            if (g_array_index(set->fds, struct passed_fd, i).fd == fd) {
                g_array_remove_index(set->fds, i);
                found = true;
            }
        }
        if (set->fds->len == 0) {
            fdset_free(call->qmp, set);
        }
    }
    if (found) {
        qmp_call_return(call, NULL);
    } else {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "remove-fd: there is no such file descriptor");
    }
}

static void run_query_fdsets(struct qmp_call *call, JsonObject *args)
{
    JsonBuilder *b = json_builder_new();

    json_builder_begin_array(b);
    for (guint i = 0; i < call->qmp->fdsets->len; i++) {
        const struct qmp_fdset *set = g_ptr_array_index(call->qmp->fdsets, i);

        json_builder_begin_object(b);
        qmp_build_int(b, "fdset-id", set->id);
        json_builder_set_member_name(b, "fds");
        json_builder_begin_array(b);
        for (guint f = 0; f < set->fds->len; f++) {
            const struct passed_fd *passed = &g_array_index(set->fds, struct passed_fd, f);

            json_builder_begin_object(b);
            qmp_build_int(b, "fd", passed->fd);
            if (passed->opaque) {
                qmp_build_string(b, "opaque", passed->opaque);
            }
            json_builder_end_object(b);
        }
        json_builder_end_array(b);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
    qmp_call_build(call, b);
}

const struct qmp_command qmp_fdset_commands[] = {
    {"add-fd",
     run_add_fd,
     0,
     {{"fdset-id", QMP_ARG_INT | QMP_ARG_OPTIONAL}, {"opaque", QMP_ARG_STRING | QMP_ARG_OPTIONAL}}},
    {"remove-fd",
     run_remove_fd,
     0,
     {{"fdset-id", QMP_ARG_INT}, {"fd", QMP_ARG_INT | QMP_ARG_OPTIONAL}}},
    {"query-fdsets", run_query_fdsets},
    {NULL},
};
