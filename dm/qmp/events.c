/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events, to every client that negotiated. Those that a guest can provoke are rate-limited. */
#include <errno.h>
#include <string.h>

#include <xendm/vnc.h>

#include "internal.h"

enum {
    RATE_TRAY,
    RATE_BLOCK,
    RATE_RTC,
};
G_STATIC_ASSERT(RATE_RTC < G_N_ELEMENTS(((struct qmp *)0)->rate));

/* For what a guest can provoke. */
static bool rate_allows(struct qmp *qmp, unsigned kind)
{
    gint64 second = g_get_monotonic_time() / G_USEC_PER_SEC;

    if (qmp->rate[kind].second != second) {
        qmp->rate[kind].second = second;
        qmp->rate[kind].sent = 0;
    }
    return qmp->rate[kind].sent++ < QMP_EVENTS_PER_SECOND;
}

/* An event's builder, open where its data go; end_event() sends and frees it. */
static JsonBuilder *begin_event(const char *name, bool data)
{
    JsonBuilder *b = json_builder_new();
    gint64 now = g_get_real_time();

    json_builder_begin_object(b);
    json_builder_set_member_name(b, "timestamp");
    json_builder_begin_object(b);
    qmp_build_int(b, "seconds", now / G_USEC_PER_SEC);
    qmp_build_int(b, "microseconds", now % G_USEC_PER_SEC);
    json_builder_end_object(b);
    qmp_build_string(b, "event", name);
    if (data) {
        json_builder_set_member_name(b, "data");
        json_builder_begin_object(b);
    }
    return b;
}

static void end_event(struct qmp *qmp, JsonBuilder *b, bool data)
{
    g_autoptr(JsonNode) message = NULL;
    g_autofree char *text = NULL;

    if (data) {
        json_builder_end_object(b);
    }
    json_builder_end_object(b);
    message = json_builder_get_root(b);
    text = json_to_string(message, FALSE);
    json_builder_unref(b);
    for (guint m = 0; m < qmp->transport.monitors->len; m++) {
        struct qmp_monitor *monitor = g_ptr_array_index(qmp->transport.monitors, m);

        for (guint i = 0; i < monitor->clients->len && !monitor->quiet; i++) {
            struct qmp_client *client = g_ptr_array_index(monitor->clients, i);

            if (!client->negotiated || client->closing) {
                continue;
            }
            if (client->out->len - client->written >= QMP_EVENT_HIGH) {
                client->events_dropped++;
            } else {
                qmp_client_send(client, text);
            }
        }
    }
}

void qmp_event(struct qmp *qmp, const char *name)
{
    end_event(qmp, begin_event(name, false), false);
}

static void event_with_reason(struct qmp *qmp, const char *name, bool by_guest, const char *reason)
{
    JsonBuilder *b = begin_event(name, true);

    qmp_build_bool(b, "guest", by_guest);
    qmp_build_string(b, "reason", reason);
    end_event(qmp, b, true);
}

void qmp_event_shutdown(struct qmp *qmp, bool by_guest, const char *reason)
{
    event_with_reason(qmp, "SHUTDOWN", by_guest, reason);
}

void qmp_event_reset(struct qmp *qmp, bool by_guest, const char *reason)
{
    event_with_reason(qmp, "RESET", by_guest, reason);
}

void qmp_event_tray_moved(struct qmp *qmp, const char *device_id, bool open)
{
    JsonBuilder *b;

    if (rate_allows(qmp, RATE_TRAY)) {
        b = begin_event("DEVICE_TRAY_MOVED", true);
        qmp_build_string(b, "device", device_id);
        qmp_build_bool(b, "tray-open", open);
        qmp_build_string(b, "id", device_id);
        end_event(qmp, b, true);
    }
}

void qmp_event_block_error(struct qmp *qmp, const char *device_id, const char *op, int error)
{
    JsonBuilder *b;

    if (rate_allows(qmp, RATE_BLOCK)) {
        b = begin_event("BLOCK_IO_ERROR", true);
        qmp_build_string(b, "device", device_id);
        qmp_build_string(b, "operation", strcmp(op, "read") == 0 ? "read" : "write");
        qmp_build_string(b, "action", "report");
        qmp_build_bool(b, "nospace", error == -ENOSPC);
        qmp_build_string(b, "reason", g_strerror(-error));
        end_event(qmp, b, true);
    }
}

void qmp_event_rtc_change(struct qmp *qmp, int64_t seconds)
{
    JsonBuilder *b;

    if (rate_allows(qmp, RATE_RTC)) {
        b = begin_event("RTC_CHANGE", true);
        qmp_build_int(b, "offset", seconds);
        end_event(qmp, b, true);
    }
}

void qmp_event_device_deleted(struct qmp *qmp, const char *device_id)
{
    JsonBuilder *b = begin_event("DEVICE_DELETED", true);

    qmp_build_string(b, "device", device_id);
    end_event(qmp, b, true);
}

void qmp_event_recording_ended(struct qmp *qmp, const char *why, uint64_t bytes, uint64_t entries)
{
    JsonBuilder *b = begin_event("XENDM_RECORDING_ENDED", true);

    qmp_build_string(b, "reason", why);
    qmp_build_int(b, "bytes", (gint64)bytes);
    qmp_build_int(b, "entries", (gint64)entries);
    end_event(qmp, b, true);
}

static void build_vnc_end(JsonBuilder *b, const char *name, const char *host, const char *service,
                          const char *family, bool websocket, const char *auth)
{
    json_builder_set_member_name(b, name);
    json_builder_begin_object(b);
    qmp_build_string(b, "host", host);
    qmp_build_string(b, "service", service);
    qmp_build_string(b, "family", family);
    qmp_build_bool(b, "websocket", websocket);
    if (auth) {
        qmp_build_string(b, "auth", auth);
    }
    json_builder_end_object(b);
}

void qmp_event_vnc(struct qmp *qmp, const char *event, const struct vnc_client *c)
{
    JsonBuilder *b = begin_event(event, true);
    struct vnc_address a = {.family = "unknown"};

    if (qmp->target->vnc) {
        vnc_address(qmp->target->vnc, 0, &a);
    }
    build_vnc_end(b, "server", a.host, a.service, a.family, a.websocket,
                  qmp->target->vnc && vnc_has_auth(qmp->target->vnc) ? "vnc" : "none");
    build_vnc_end(b, "client", c->host, c->service, c->family, c->websocket, NULL);
    end_event(qmp, b, true);
}
