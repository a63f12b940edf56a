/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * human-monitor-command (`xl qemu-monitor-command`): a line of text in, text out. For people;
 * programs use QMP.
 *
 * Lines end in CR LF, as in QEMU's monitor. Output is bounded by HMP_OUTPUT_MAX.
 */
#include <string.h>

#include <xendm/input.h>
#include <xendm/log.h>
#include <xendm/numbers.h>
#include <xendm/recorder.h>

#include "internal.h"

void hmp_out(GString *text, const char *fmt, ...)
{
    va_list ap;

    if (text->len < HMP_OUTPUT_MAX) {
        va_start(ap, fmt);
        g_string_append_vprintf(text, fmt, ap);
        va_end(ap);
        g_string_append(text, "\r\n");
    }
}

void hmp_out_line(void *to, const char *line)
{
    hmp_out(to, "%s", line);
}

const char *hmp_split_word(char *line)
{
    char *rest = line + strcspn(line, " \t");

    if (*rest) {
        *rest++ = '\0';
    }
    return rest + strspn(rest, " \t");
}

/* ---- commands ---- */

static void hmp_cont(struct qmp_call *call, const char *arg)
{
    qmp_run_cont(call, call->args);
}

static void hmp_stop(struct qmp_call *call, const char *arg)
{
    qmp_run_stop(call, call->args);
}

static void hmp_system_reset(struct qmp_call *call, const char *arg)
{
    qmp_run_system_reset(call, call->args);
}

static void hmp_screendump(struct qmp_call *call, const char *arg)
{
    if (!*arg) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "screendump FILE");
    } else {
        qmp_screendump(call, arg, false);
    }
}

static void hmp_sendkey(struct qmp_call *call, const char *arg)
{
    g_autofree char *keys = g_strdup(arg);
    const char *hold = hmp_split_word(keys);
    char *bad = NULL;
    uint64_t ms = INPUT_HOLD_MS;
    int rc;

    if (!*keys) {
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      "sendkey KEYS [hold], as in: sendkey ctrl-alt-delete");
    } else if (*hold && number_parse(hold, 0, INPUT_HOLD_MS_MAX, &ms) < 0) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "'%s' is not a time of at most %u milliseconds",
                      hold, INPUT_HOLD_MS_MAX);
    } else if (!call->qmp->target->input) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "this machine has no input");
    } else if ((rc = input_send_keys(call->qmp->target->input, keys, (unsigned)ms, &bad)) < 0) {
        qmp_keys_failed(call, rc, bad ? bad : keys);
        g_free(bad);
    } else {
        qmp_call_text(call, "");
    }
}

static void hmp_log(struct qmp_call *call, const char *arg)
{
    g_autofree char *name = g_strdup(arg);
    const char *level = hmp_split_word(name);

    if (!*level || log_set_level(name, level) < 0) {
        qmp_call_fail(
            call, QMP_GENERIC_ERROR,
            "log SUBSYSTEM LEVEL: a subsystem of info log or all; error, warning, info, debug");
    } else {
        qmp_call_text(call, "");
    }
}

static void hmp_recorder(struct qmp_call *call, const char *arg)
{
    if (strcmp(arg, "payload on") != 0 && strcmp(arg, "payload off") != 0) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "recorder payload on|off");
        return;
    }
    recorder_set_payload(strcmp(arg, "payload on") == 0);
    qmp_call_text(call, "");
}

static void hmp_system_powerdown(struct qmp_call *call, const char *arg)
{
    qmp_run_system_powerdown(call, call->args);
}

static void hmp_system_wakeup(struct qmp_call *call, const char *arg)
{
    qmp_run_system_wakeup(call, call->args);
}

static void hmp_help(struct qmp_call *call, const char *arg);

static const struct hmp_command {
    const char *name;
    void (*run)(struct qmp_call *call, const char *arg);
    unsigned flags;
    const char *help;
} commands[] = {
    {"announce_self", hmp_announce_self, 0, "tell the switches where the guest's networks are"},
    {"block_resize", hmp_block_resize, HMP_MACHINE | HMP_ARG,
     "DEVICE SIZE: the size of a disk, as 20G; the guest is told"},
    {"block_set_io_throttle", hmp_block_set_io_throttle, HMP_MACHINE | HMP_ARG,
     "DEVICE BPS BPS_RD BPS_WR IOPS IOPS_RD IOPS_WR: limits; 0 is none"},
    {"c", hmp_cont, HMP_GUEST | HMP_EXCLUSIVE, "the same as cont"},
    {"change", hmp_change, HMP_MACHINE | HMP_ARG,
     "DEVICE [-f] FILE [FORMAT]: another CD; xl cd-insert tells the toolstack, too"},
    {"cont", hmp_cont, HMP_GUEST | HMP_EXCLUSIVE,
     "go on (Xen may still hold the guest: xl unpause)"},
    {"device_add", hmp_device_add, HMP_MACHINE | HMP_ARG,
     "DRIVER[,NAME=VALUE]…: plug one in, as -device"},
    {"device_del", hmp_device_del, HMP_MACHINE | HMP_ARG, "ID: ask the guest to let it go"},
    {"eject", hmp_eject, HMP_MACHINE | HMP_ARG,
     "[-f] DEVICE: take the CD out; xl cd-eject tells the toolstack, too"},
    {"?", hmp_help, 0, "the same as help"},
    {"help", hmp_help, 0, "[COMMAND]: this"},
    {"info", hmp_info, 0, "TOPIC: see info help"},
    {"log", hmp_log, 0, "SUBSYSTEM LEVEL: error, warning, info or debug; subsystem all"},
    {"mouse_button", hmp_mouse_button, HMP_MACHINE | HMP_ARG,
     "STATE: 1 left, 2 middle, 4 right, added up"},
    {"mouse_move", hmp_mouse_move, HMP_MACHINE | HMP_ARG, "DX DY [WHEEL]"},
    {"mouse_set", hmp_mouse_set, HMP_MACHINE | HMP_ARG,
     "NUMBER: who gets movements; see info mice"},
    {"netdev_add", hmp_netdev_add, HMP_ARG, "KIND,id=ID[,NAME=VALUE]…: as -netdev"},
    {"netdev_del", hmp_netdev_del, HMP_ARG, "ID"},
    {"recorder", hmp_recorder, 0,
     "payload on|off: keep keys, serial bytes and disk words in the flight recorder, or forget it"},
    {"screendump", hmp_screendump, HMP_GUEST,
     "FILE: a picture of the screen, PNG if it ends in .png, else PPM"},
    {"sendkey", hmp_sendkey, HMP_GUEST,
     "KEYS [hold]: press, and release after that many milliseconds, as ctrl-alt-delete 200"},
    {"set_link", hmp_set_link, 0, "NAME on|off: the cable of a network card or back end"},
    {"s", hmp_stop, HMP_GUEST | HMP_EXCLUSIVE, "the same as stop"},
    {"stop", hmp_stop, HMP_GUEST | HMP_EXCLUSIVE, "stop the devices and finish their I/O"},
    {"system_powerdown", hmp_system_powerdown, HMP_MACHINE, "press the power button"},
    {"system_reset", hmp_system_reset, HMP_MACHINE | HMP_EXCLUSIVE, "reset the guest"},
    {"system_wakeup", hmp_system_wakeup, HMP_MACHINE | HMP_EXCLUSIVE, "from S3"},
};

static void hmp_help(struct qmp_call *call, const char *arg)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (!*arg || strcmp(arg, commands[i].name) == 0) {
            hmp_out(text, "%s -- %s", commands[i].name, commands[i].help);
        }
    }
    qmp_call_text(call, text->str);
}

static const struct hmp_command *find(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* The line without blanks and line end around it. */
static char *trim(const char *line)
{
    return g_strstrip(g_strdup(line));
}

bool hmp_is_exclusive(const char *line)
{
    g_autofree char *word = trim(line);
    const struct hmp_command *command;

    hmp_split_word(word);
    command = find(word);
    return command && (command->flags & HMP_EXCLUSIVE);
}

void hmp_run(struct qmp_call *call, const char *line)
{
    g_autofree char *word = trim(line);
    const char *arg = hmp_split_word(word);
    const struct hmp_command *command = find(word);

    if (!*word) {
        qmp_call_text(call, "");
    } else if (!command && elsewhere_command(word)) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "there is no command '%s': %s", word,
                      elsewhere_command(word));
    } else if (!command) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "there is no command '%s'; help lists them", word);
    } else if (((command->flags & HMP_MACHINE) && !call->qmp->target->machine) ||
               ((command->flags & HMP_GUEST) && !qmp_has_guest(call->qmp))) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "there is no machine");
    } else if ((command->flags & HMP_ARG) && !*arg) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "%s %s", command->name, command->help);
    } else {
        command->run(call, arg);
    }
}
