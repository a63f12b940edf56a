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
    } else if (!call->qmp->target->machine->input) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "this machine has no input");
    } else if ((rc = input_send_keys(call->qmp->target->machine->input, keys, (unsigned)ms, &bad)) <
               0) {
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

/* QEMU's words for what is not the device model's under Xen, or not here: what to use instead. */
static const char *const elsewhere[][2] = {
    {"balloon", "the guest's memory is Xen's: xl mem-set"},
    {"block_resize", "not implemented; a PV disk's size follows the host's device"},
    {"change", "xl cd-insert, or blockdev-change-medium over QMP"},
    {"cpu", "the vCPUs are Xen's: xl vcpu-list, xenctx"},
    {"delvm", "snapshots are the storage's"},
    {"device_add", "QMP's device_add, or xl"},
    {"device_del", "QMP's device_del, or xl"},
    {"drive_add", "xl block-attach"},
    {"drive_backup", "snapshots are the storage's"},
    {"drive_mirror", "not implemented"},
    {"eject", "xl cd-eject"},
    {"gdbserver", "the vCPUs are Xen's: gdbsx"},
    {"loadvm", "xl restore"},
    {"migrate", "xl migrate"},
    {"nmi", "xl trigger GUEST nmi"},
    {"pmemsave", "xl dump-core"},
    {"quit", "xl destroy"},
    {"savevm", "xl save"},
    {"x", "the guest's memory is Xen's: xl dump-core, gdbsx"},
    {"xp", "the guest's memory is Xen's: xl dump-core, gdbsx"},
};

static const char *look_elsewhere(const char *word)
{
    for (size_t i = 0; i < G_N_ELEMENTS(elsewhere); i++) {
        if (strcmp(elsewhere[i][0], word) == 0) {
            return elsewhere[i][1];
        }
    }
    return NULL;
}

static void hmp_help(struct qmp_call *call, const char *arg);

static const struct hmp_command {
    const char *name;
    void (*run)(struct qmp_call *call, const char *arg);
    unsigned flags;
    const char *help;
} commands[] = {
    {"c", hmp_cont, HMP_MACHINE | HMP_EXCLUSIVE, "the same as cont"},
    {"cont", hmp_cont, HMP_MACHINE | HMP_EXCLUSIVE,
     "go on (Xen may still hold the guest: xl unpause)"},
    {"help", hmp_help, 0, "this"},
    {"info", hmp_info, 0, "TOPIC: see info help"},
    {"log", hmp_log, 0, "SUBSYSTEM LEVEL: error, warning, info or debug; subsystem all"},
    {"recorder", hmp_recorder, 0,
     "payload on|off: keep keys, serial bytes and disk words in the flight recorder, or forget it"},
    {"screendump", hmp_screendump, HMP_MACHINE,
     "FILE: a picture of the screen, PNG if it ends in .png, else PPM"},
    {"sendkey", hmp_sendkey, HMP_MACHINE,
     "KEYS [hold]: press, and release after that many milliseconds, as ctrl-alt-delete 200"},
    {"set_link", hmp_set_link, 0, "NAME on|off: the cable of a network card or back end"},
    {"stop", hmp_stop, HMP_MACHINE | HMP_EXCLUSIVE, "stop the devices and finish their I/O"},
    {"system_powerdown", hmp_system_powerdown, HMP_MACHINE, "press the power button"},
    {"system_reset", hmp_system_reset, HMP_MACHINE | HMP_EXCLUSIVE, "reset the guest"},
};

static void hmp_help(struct qmp_call *call, const char *arg)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        hmp_out(text, "%s -- %s", commands[i].name, commands[i].help);
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
    } else if (!command && look_elsewhere(word)) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "there is no command '%s': %s", word,
                      look_elsewhere(word));
    } else if (!command) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "there is no command '%s'; help lists them", word);
    } else if ((command->flags & HMP_MACHINE) && !call->qmp->target->machine) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "there is no machine");
    } else {
        command->run(call, arg);
    }
}
