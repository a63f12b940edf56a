/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands about what a person in front of the machine sees and types. */
#include <string.h>

#include <xendm/display.h>

#include "internal.h"

static void screendump_done(void *opaque, GError *err)
{
    qmp_call_finish(opaque, err);
}

void qmp_screendump(struct qmp_call *call, const char *file, bool png)
{
    struct machine *m = call->qmp->target->machine;

    if (!m->display) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "this machine has no display");
    } else {
        display_screendump(m->display, file, png, screendump_done, call);
    }
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

const struct qmp_command qmp_seat_commands[] = {
    {"screendump",
     run_screendump,
     QMP_NEEDS_MACHINE,
     {{"filename", QMP_ARG_STRING}, {"format", QMP_ARG_STRING | QMP_ARG_OPTIONAL}}},
    {NULL},
};
