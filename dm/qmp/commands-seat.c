/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands about what a person in front of the machine sees and types. */
#include <errno.h>
#include <string.h>

#include <linux/input-event-codes.h>

#include <xendm/display.h>
#include <xendm/input.h>

#include "internal.h"

static void screendump_done(void *opaque, GError *err)
{
    qmp_call_finish(opaque, err);
}

void qmp_screendump(struct qmp_call *call, const char *file, bool png)
{
    struct display *display = call->qmp->target->display;
    GError *err = NULL;
    int fd = -1;

    if (!display) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "this machine has no display");
        return;
    }
    if (qmp_fdset_is_path(file)) {
        fd = qmp_fdset_take(call->qmp, file, true, NULL, &err);
        if (fd < 0) {
            qmp_call_finish(call, err);
            return;
        }
    }
    display_screendump(display, file, fd, png, screendump_done, call);
}

/* The one head has no id. */
static void run_screendump(struct qmp_call *call, JsonObject *args)
{
    const char *format = qmp_arg_string(args, "format");

    if (format && strcmp(format, "ppm") != 0 && strcmp(format, "png") != 0) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "screendump: the format is ppm or png, not '%s'",
                      format);
    } else {
        qmp_screendump(call, qmp_arg_string(args, "filename"),
                       format && strcmp(format, "png") == 0);
    }
}

/* ---- keys and pointer ---- */

void qmp_keys_failed(struct qmp_call *call, int error, const char *name)
{
    if (error == -ENOBUFS) {
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      "the guest does not read its keyboard: %u keys wait already",
                      INPUT_KEYS_WAITING_MAX);
    } else {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "there is no key '%s'", name);
    }
}

/* {"type":"qcode","data":"ctrl"}: the code, or 0 with the call answered. */
static unsigned key_value(struct qmp_call *call, JsonNode *node)
{
    JsonObject *key = node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    JsonNode *type = key ? json_object_get_member(key, "type") : NULL;
    JsonNode *data = key ? json_object_get_member(key, "data") : NULL;
    unsigned code;

    if (!type || !qmp_has_type(type, QMP_ARG_STRING) ||
        strcmp(json_node_get_string(type), "qcode") != 0 || !data ||
        !qmp_has_type(data, QMP_ARG_STRING)) {
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      "a key is {'type':'qcode','data':'NAME'}; numbers are not implemented");
        return 0;
    }
    code = input_key_from_name(json_node_get_string(data));
    if (!code) {
        qmp_keys_failed(call, -EINVAL, json_node_get_string(data));
    }
    return code;
}

static void run_send_key(struct qmp_call *call, JsonObject *args)
{
    struct input *input = call->qmp->target->input;
    JsonNode *keys = json_object_get_member(args, "keys");
    JsonNode *hold = json_object_get_member(args, "hold-time");
    gint64 ms = hold ? json_node_get_int(hold) : INPUT_HOLD_MS;
    unsigned codes[INPUT_COMBINATION_MAX], n;
    int rc;

    if (!input || !JSON_NODE_HOLDS_ARRAY(keys) ||
        !(n = json_array_get_length(json_node_get_array(keys))) || n > INPUT_COMBINATION_MAX ||
        ms < 0 || ms > INPUT_HOLD_MS_MAX) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "send-key: 1 to %u keys, held for at most %u ms",
                      INPUT_COMBINATION_MAX, INPUT_HOLD_MS_MAX);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        codes[i] = key_value(call, json_array_get_element(json_node_get_array(keys), i));
        if (!codes[i]) {
            return;
        }
    }
    rc = input_press_keys(input, codes, n, (unsigned)ms);
    if (rc < 0) {
        qmp_keys_failed(call, rc, "");
    } else {
        qmp_call_return(call, NULL);
    }
}

/* ---- single events ---- */

struct seat_event {
    enum { EVENT_KEY, EVENT_BUTTON, EVENT_RELATIVE, EVENT_ABSOLUTE } type;
    unsigned code; /* key, button; 0: a wheel's step */
    bool down, vertical;
    int value;
};

#define SEAT_EVENTS_MAX 64u    /* of one command */
#define NUMBER_KEYPAD_DOT 0x53 /* up to there the numbers of the PC's keys are Linux' */

/* A member of a type, or NULL with the call answered. */
static JsonNode *event_member(struct qmp_call *call, JsonObject *data, const char *name,
                              unsigned type)
{
    JsonNode *node = data ? json_object_get_member(data, name) : NULL;

    if (!node || !qmp_has_type(node, type)) {
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      "input-send-event: an event's '%s' is missing or of the wrong type", name);
        return NULL;
    }
    return node;
}

static JsonObject *object_of(JsonNode *node)
{
    return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

/* A qcode, or a number as the PC's keyboard has them. */
static unsigned event_key(struct qmp_call *call, JsonNode *node)
{
    JsonObject *key = object_of(node);
    JsonNode *type = key ? json_object_get_member(key, "type") : NULL;
    JsonNode *data = key ? json_object_get_member(key, "data") : NULL;

    if (type && qmp_has_type(type, QMP_ARG_STRING) &&
        strcmp(json_node_get_string(type), "number") == 0 && data &&
        qmp_has_type(data, QMP_ARG_INT)) {
        gint64 number = json_node_get_int(data);

        if (number >= 1 && number <= NUMBER_KEYPAD_DOT) {
            return (unsigned)number;
        }
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      "there is no key %" G_GINT64_FORMAT "; those above %u have names only",
                      number, NUMBER_KEYPAD_DOT);
        return 0;
    }
    return key_value(call, node);
}

static const struct {
    const char *name;
    unsigned code;
    int wheel;
} buttons[] = {
    {"left", BTN_LEFT, 0}, {"middle", BTN_MIDDLE, 0}, {"right", BTN_RIGHT, 0},
    {"side", BTN_SIDE, 0}, {"extra", BTN_EXTRA, 0},   {"wheel-up", 0, 1},
    {"wheel-down", 0, -1}, {"wheel-left", 0, 0},      {"wheel-right", 0, 0},
};

static bool read_button(struct qmp_call *call, JsonObject *data, struct seat_event *e)
{
    JsonNode *down = event_member(call, data, "down", QMP_ARG_BOOL);
    JsonNode *button = down ? event_member(call, data, "button", QMP_ARG_STRING) : NULL;

    if (!button) {
        return false;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(buttons); i++) {
        if (strcmp(buttons[i].name, json_node_get_string(button)) == 0) {
            e->code = buttons[i].code;
            e->value = buttons[i].wheel;
            e->down = json_node_get_boolean(down);
            return true;
        }
    }
    qmp_call_fail(call, QMP_GENERIC_ERROR, "Parameter 'button' does not accept value '%s'",
                  json_node_get_string(button));
    return false;
}

static bool read_key(struct qmp_call *call, JsonObject *data, struct seat_event *e)
{
    JsonNode *down = event_member(call, data, "down", QMP_ARG_BOOL);

    if (!down) {
        return false;
    }
    e->down = json_node_get_boolean(down);
    e->code = event_key(call, json_object_get_member(data, "key"));
    return e->code != 0;
}

static bool read_axis(struct qmp_call *call, JsonObject *data, struct seat_event *e)
{
    JsonNode *axis = event_member(call, data, "axis", QMP_ARG_STRING);
    JsonNode *value = axis ? event_member(call, data, "value", QMP_ARG_INT) : NULL;
    const char *name;

    if (!value) {
        return false;
    }
    name = json_node_get_string(axis);
    if (strcmp(name, "x") != 0 && strcmp(name, "y") != 0) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "Parameter 'axis' does not accept value '%s'", name);
        return false;
    }
    e->vertical = name[0] == 'y';
    e->value = (int)CLAMP(json_node_get_int(value), -INPUT_ABS_MAX, INPUT_ABS_MAX);
    return true;
}

static const struct {
    const char *name;
    bool (*read)(struct qmp_call *call, JsonObject *data, struct seat_event *e);
} event_types[] = {
    [EVENT_KEY] = {"key", read_key},
    [EVENT_BUTTON] = {"btn", read_button},
    [EVENT_RELATIVE] = {"rel", read_axis},
    [EVENT_ABSOLUTE] = {"abs", read_axis},
};

static bool read_event(struct qmp_call *call, JsonNode *node, struct seat_event *e)
{
    JsonObject *event = object_of(node);
    JsonNode *type = event_member(call, event, "type", QMP_ARG_STRING);

    if (!type) {
        return false;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(event_types); i++) {
        if (strcmp(event_types[i].name, json_node_get_string(type)) == 0) {
            *e = (struct seat_event){.type = i};
            return event_types[i].read(call, object_of(json_object_get_member(event, "data")), e);
        }
    }
    qmp_call_fail(call, QMP_GENERIC_ERROR, "Parameter 'type' does not accept value '%s'",
                  json_node_get_string(type));
    return false;
}

static void send_event(struct input *in, const struct seat_event *e)
{
    switch (e->type) {
    case EVENT_KEY:
        input_key(in, e->code, e->down);
        break;
    case EVENT_BUTTON:
        if (e->code) {
            input_button(in, e->code, e->down);
        } else if (e->down && e->value) {
            input_relative(in, 0, 0, e->value);
        }
        break;
    case EVENT_RELATIVE:
        input_relative(in, e->vertical ? 0 : e->value, e->vertical ? e->value : 0, 0);
        break;
    case EVENT_ABSOLUTE:
        input_absolute_axis(in, e->vertical, e->value);
        break;
    }
}

/* All of them or, if one is wrong, none. */
static void run_input_send_event(struct qmp_call *call, JsonObject *args)
{
    struct input *in = call->qmp->target->input;
    JsonNode *list = json_object_get_member(args, "events");
    const char *device = qmp_arg_string(args, "device");
    struct seat_event events[SEAT_EVENTS_MAX];
    JsonArray *array = JSON_NODE_HOLDS_ARRAY(list) ? json_node_get_array(list) : NULL;

    if (!in || device) {
        qmp_call_fail(call, device ? QMP_DEVICE_NOT_FOUND : QMP_GENERIC_ERROR,
                      device ? "there is one screen, and it has no id: no '%s'"
                             : "this machine has no input",
                      device);
        return;
    }
    if (!array || json_array_get_length(array) > SEAT_EVENTS_MAX) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "input-send-event: 'events' is a list of at most %u",
                      SEAT_EVENTS_MAX);
        return;
    }
    for (guint i = 0; i < json_array_get_length(array); i++) {
        if (!read_event(call, json_array_get_element(array, i), &events[i])) {
            return;
        }
    }
    for (guint i = 0; i < json_array_get_length(array); i++) {
        send_event(in, &events[i]);
    }
    input_sync(in);
    qmp_call_return(call, NULL);
}

/* ---- the mouse, by hand ---- */

static void build_mouse(void *opaque, const struct input_pointer *p)
{
    JsonBuilder *b = opaque;

    json_builder_begin_object(b);
    qmp_build_int(b, "index", p->number);
    qmp_build_string(b, "name", p->name);
    qmp_build_bool(b, "current", p->current);
    qmp_build_bool(b, "absolute", p->absolute);
    json_builder_end_object(b);
}

static void run_query_mice(struct qmp_call *call, JsonObject *args)
{
    struct input *in = call->qmp->target->input;
    JsonBuilder *b = json_builder_new();

    json_builder_begin_array(b);
    if (in) {
        input_foreach_pointer(in, build_mouse, b);
    }
    json_builder_end_array(b);
    qmp_call_build(call, b);
}

static void mouse_line(void *opaque, const struct input_pointer *p)
{
    hmp_out(opaque, "%c Mouse #%u: %s%s", p->current ? '*' : ' ', p->number, p->name,
            p->absolute ? " (absolute)" : "");
}

void hmp_info_mice(struct qmp *qmp, GString *text, const char *arg)
{
    struct input *in = qmp->target->input;

    if (in) {
        input_foreach_pointer(in, mouse_line, text);
    }
    if (text->len == 0) {
        hmp_out(text, "No mouse devices connected");
    }
}

/* Up to `most` whole numbers; -1: there is something else. */
static int read_numbers(const char *arg, int *numbers, int most)
{
    g_auto(GStrv) words = g_strsplit_set(arg, " \t", -1);
    int n = 0;

    for (char **word = words; *word; word++) {
        gint64 value;

        if (!**word) {
            continue;
        }
        if (n == most || !g_ascii_string_to_signed(*word, 10, INT16_MIN, INT16_MAX, &value, NULL)) {
            return -1;
        }
        numbers[n++] = (int)value;
    }
    return n;
}

/* NULL: the call is answered. */
static struct input *numbers_for_input(struct qmp_call *call, const char *arg, int *numbers,
                                       int least, int most, const char *usage)
{
    struct input *in = call->qmp->target->input;
    int n = read_numbers(arg, numbers, most);

    if (!in || n < least) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "%s", !in ? "this machine has no input" : usage);
        return NULL;
    }
    return in;
}

void hmp_mouse_move(struct qmp_call *call, const char *arg)
{
    int n[3] = {0, 0, 0};
    struct input *in = numbers_for_input(call, arg, n, 2, 3, "mouse_move DX DY [WHEEL]");

    if (in) {
        input_relative(in, n[0], n[1], n[2]);
        input_sync(in);
        qmp_call_text(call, "");
    }
}

void hmp_mouse_button(struct qmp_call *call, const char *arg)
{
    static const unsigned codes[] = {BTN_LEFT, BTN_MIDDLE, BTN_RIGHT};
    int state = 0;
    struct input *in = numbers_for_input(call, arg, &state, 1, 1,
                                         "mouse_button STATE: 1 left, 2 middle, 4 right, added up");

    for (unsigned i = 0; in && i < G_N_ELEMENTS(codes); i++) {
        input_button(in, codes[i], state & 1 << i);
    }
    if (in) {
        input_sync(in);
        qmp_call_text(call, "");
    }
}

void hmp_mouse_set(struct qmp_call *call, const char *arg)
{
    int number = 0;
    struct input *in =
        numbers_for_input(call, arg, &number, 1, 1, "mouse_set NUMBER, of info mice");

    if (in && input_choose_pointer(in, (unsigned)number) < 0) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "Mouse at index '%d' not found", number);
    } else if (in) {
        qmp_call_text(call, "");
    }
}

const struct qmp_command qmp_seat_commands[] = {
    {"input-send-event",
     run_input_send_event,
     QMP_NEEDS_MACHINE,
     {{"device", QMP_ARG_STRING | QMP_ARG_OPTIONAL},
      {"head", QMP_ARG_INT | QMP_ARG_OPTIONAL},
      {"events", QMP_ARG_ANY}}},
    {"query-mice", run_query_mice, QMP_NEEDS_MACHINE},
    {"send-key",
     run_send_key,
     0,
     {{"keys", QMP_ARG_ANY}, {"hold-time", QMP_ARG_INT | QMP_ARG_OPTIONAL}}},
    {"screendump",
     run_screendump,
     0,
     {{"filename", QMP_ARG_STRING}, {"format", QMP_ARG_STRING | QMP_ARG_OPTIONAL}}},
    {NULL},
};
