/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP over a live update: what a client said and did not get answered yet, and what we said and it
 * did not read yet, goes on in the next program. A client notices nothing but a pause.
 *
 * Commands that wait for their turn behind the update were not begun: they are put back before the
 * client's unread input, as text, and the successor reads them again.
 */
#include <errno.h>
#include <string.h>

#include <config.h>

#include <xendm/error.h>
#include <xendm/log.h>
#include <xendm/turn.h>

#include "internal.h"

#define CLIENTS_ALL_MAX (4 * QMP_CLIENTS_MAX)

/* ---- handing over ---- */

static char *command_text(const struct qmp_call *call)
{
    g_autoptr(JsonBuilder) b = json_builder_new();
    g_autoptr(JsonNode) root = NULL;

    json_builder_begin_object(b);
    qmp_build_string(b, "execute", call->command->name);
    json_builder_set_member_name(b, "arguments");
    json_builder_add_value(b, json_node_of_object(call->args));
    json_builder_end_object(b);
    root = json_builder_get_root(b);
    return qmp_json_with_id(root, call->id);
}

static int hand_over_client(const struct qmp_client *client, const struct qmp_call *update,
                            unsigned monitor, const char *group, struct handover *h, GError **err)
{
    g_autoptr(GByteArray) in = g_byte_array_new();
    struct qmp *qmp = client->monitor->qmp;

    if (client->call && client->call != update) {
        g_autofree char *text = NULL;

        if (!g_queue_find(&qmp->waiting, client->call)) {
            g_set_error(err, XENDM_ERROR, EBUSY, "the command %s is under way",
                        client->call->command->name);
            return -EBUSY;
        }
        text = command_text(client->call);
        g_byte_array_append(in, (const guint8 *)text, (guint)strlen(text));
    } else if (client->call) {
        handover_put_int(h, group, "update", 1);
        if (client->call->id) {
            handover_put_text(h, group, "id", client->call->id);
        }
    }
    g_byte_array_append(in, client->in->data, client->in->len);
    handover_put_int(h, group, "monitor", monitor);
    handover_put_fd(h, group, "socket", client->fd);
    handover_put_int(h, group, "negotiated", client->negotiated);
    handover_put_int(h, group, "eof", client->eof);
    handover_put_int(h, group, "closing", client->closing);
    handover_put_int(h, group, "skip", client->scan.skip);
    handover_put_bytes(h, group, "in", in->data, in->len);
    handover_put_bytes(h, group, "out", client->out->data + client->written,
                       client->out->len - client->written);
    for (unsigned i = 0; i < client->nfds; i++) {
        g_autofree char *key = g_strdup_printf("passed-%u", i);

        handover_put_fd(h, group, key, client->fds[i]);
    }
    return 0;
}

int qmp_hand_over(struct qmp *qmp, struct qmp_call *call, struct handover *h, GError **err)
{
    unsigned n = 0;

    for (guint m = 0; m < qmp->transport.monitors->len; m++) {
        const struct qmp_monitor *monitor = g_ptr_array_index(qmp->transport.monitors, m);
        g_autofree char *group = g_strdup_printf("monitor %u", m);

        handover_put_fd(h, group, "socket", monitor->fd);
        handover_put_text(h, group, "path", monitor->path);
        handover_put_int(h, group, "device", (int64_t)monitor->device);
        handover_put_int(h, group, "inode", (int64_t)monitor->inode);
        for (guint i = 0; i < monitor->clients->len; i++) {
            g_autofree char *name = g_strdup_printf("client %u", n);
            const struct qmp_client *client = g_ptr_array_index(monitor->clients, i);
            int rc;

            if (client->broken) {
                continue;
            }
            rc = hand_over_client(client, call, m, name, h, err);
            if (rc < 0) {
                return rc;
            }
            n++;
        }
    }
    qmp_fdset_hand_over(qmp, h);
    return 0;
}

/* ---- taking over ---- */

static void take_bytes(const struct handover *h, const char *group, const char *key, GByteArray *to)
{
    size_t len = 0;
    g_autofree uint8_t *data = handover_bytes(h, group, key, &len);

    if (data) {
        g_byte_array_append(to, data, (guint)len);
    }
}

static bool is_there(const struct qmp *qmp, const struct qmp_client *client)
{
    for (guint m = 0; m < qmp->transport.monitors->len; m++) {
        const struct qmp_monitor *monitor = g_ptr_array_index(qmp->transport.monitors, m);

        if (g_ptr_array_find(monitor->clients, client, NULL)) {
            return true;
        }
    }
    return false;
}

static gboolean client_go_on(gpointer opaque)
{
    struct qmp *qmp = opaque;
    g_autoptr(GPtrArray) clients = g_ptr_array_new();

    turn_of("qmp");
    /* What one asks for may end another, and itself. */
    for (guint m = 0; m < qmp->transport.monitors->len; m++) {
        const struct qmp_monitor *monitor = g_ptr_array_index(qmp->transport.monitors, m);

        for (guint i = 0; i < monitor->clients->len; i++) {
            g_ptr_array_add(clients, g_ptr_array_index(monitor->clients, i));
        }
    }
    for (guint i = 0; i < clients->len; i++) {
        struct qmp_client *client = g_ptr_array_index(clients, i);

        if (is_there(qmp, client) && !client->call) {
            qmp_client_resume(client);
        }
    }
    qmp->go_on = 0;
    return G_SOURCE_REMOVE;
}

static int take_over_client(struct qmp *qmp, const struct handover *h, const char *group,
                            struct qmp_call **call, GError **err)
{
    int64_t m = handover_int(h, group, "monitor", -1);
    int fd = handover_fd(h, group, "socket");
    struct qmp_client *client;

    if (m < 0 || m >= qmp->transport.monitors->len || fd < 0) {
        g_set_error(err, XENDM_ERROR, EINVAL, "update manifest: %s makes no sense", group);
        return -EINVAL;
    }
    client = qmp_client_new(g_ptr_array_index(qmp->transport.monitors, m), fd);
    client->negotiated = handover_int(h, group, "negotiated", 0);
    client->eof = handover_int(h, group, "eof", 0);
    client->closing = handover_int(h, group, "closing", 0);
    client->scan.skip = handover_int(h, group, "skip", 0);
    take_bytes(h, group, "in", client->in);
    take_bytes(h, group, "out", client->out);
    for (unsigned i = 0; i < QMP_CLIENT_FDS_MAX; i++) {
        g_autofree char *key = g_strdup_printf("passed-%u", i);
        int passed = handover_fd(h, group, key);

        if (passed >= 0) {
            client->fds[client->nfds++] = passed;
        }
    }
    if (handover_int(h, group, "update", 0)) {
        g_autofree char *id = handover_text(h, group, "id");

        *call = qmp_revive(client, "xendm-update", id);
    }
    return 0;
}

int qmp_take_over(struct qmp *qmp, const struct handover *h, struct qmp_call **call, GError **err)
{
    const GPtrArray *monitors = qmp->target->desc->monitors;

    *call = NULL;
    for (guint m = 0; m < monitors->len; m++) {
        g_autofree char *group = g_strdup_printf("monitor %u", m);
        g_autofree char *path = handover_text(h, group, "path");
        struct qmp_socket socket = {
            .fd = handover_fd(h, group, "socket"),
            .path = path,
            .device = (uint64_t)handover_int(h, group, "device", 0),
            .inode = (uint64_t)handover_int(h, group, "inode", 0),
        };
        int rc;

        if (socket.fd < 0) {
            g_set_error(err, XENDM_ERROR, EINVAL, "update manifest: there is no %s", group);
            return -EINVAL;
        }
        rc = qmp_monitor_new(&qmp->transport, g_ptr_array_index(monitors, m), &socket, err);
        if (rc < 0) {
            return rc;
        }
    }
    for (unsigned n = 0; n < CLIENTS_ALL_MAX; n++) {
        g_autofree char *group = g_strdup_printf("client %u", n);
        int rc;

        if (!handover_has(h, group)) {
            break;
        }
        rc = take_over_client(qmp, h, group, call, err);
        if (rc < 0) {
            return rc;
        }
    }
    qmp_fdset_take_over(qmp, h);
    /* What they wrote before is there already: no event will tell. */
    qmp->go_on = g_idle_add_full(G_PRIORITY_HIGH, client_go_on, qmp, NULL);
    return 0;
}

void qmp_call_updated(struct qmp_call *call, const struct qmp_update_result *result)
{
    JsonBuilder *b = json_builder_new();

    json_builder_begin_object(b);
    qmp_build_string(b, "version", VERSION);
    qmp_build_string(b, "binary", result->binary);
    qmp_build_int(b, "pause-us", result->pause_us);
    qmp_build_int(b, "check-pause-us", result->check_us);
    qmp_build_int(b, "total-us", result->total_us);
    json_builder_end_object(b);
    qmp_call_build(call, b);
}
