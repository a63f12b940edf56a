/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xendm: from the command line to the main loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xendm/instance.h>
#include <xendm/log.h>
#include <xendm/machine-desc.h>
#include <xendm/recorder.h>

#include "control.h"
#include "daemon.h"
#include "loop.h"
#include "sandbox/sandbox.h"
#include "service/service.h"
#include "update/update.h"

static void terminate(void *opaque, const char *signal_name)
{
    daemon_quit(opaque, signal_name);
}

static void dump(void *opaque)
{
    recorder_dump(STDERR_FILENO, 0);
}

static const struct loop_handlers handlers = {.terminate = terminate, .dump = dump};

/* One line, which is what libxl's log shows of a start that failed. */
static int fail(const struct daemon *d, GError *err)
{
    if (d->origin.arrival) {
        update_refuse(d->origin.arrival, err ? err->message : "failed");
    }
    service_say(err ? err->message : "failed");
    g_clear_error(&err);
    return EXIT_FAILURE;
}

static int serve(struct daemon *d, const struct machine_desc *desc)
{
    struct control *control = NULL;
    GError *err = NULL;
    int status = EXIT_SUCCESS;

    if (daemon_start(d, desc, &err) < 0 || !(control = control_new(d, desc, &err))) {
        status = fail(d, err);
    } else {
        control_attach(control);
        if (daemon_serve(d, &err) < 0) {
            status = fail(d, err);
        }
    }
    control_free(control);
    daemon_end(d);
    return status;
}

int main(int argc, char **argv)
{
    static struct daemon d;
    struct machine_desc *desc;
    GError *err = NULL;
    bool done = false;
    int status;

    d.argc = argc;
    d.argv = argv;
    sandbox_close_inherited(argc, argv);
    d.origin.arrival = update_arrive(argc, argv, &err);
    if (err) {
        return fail(&d, err);
    }
    desc = machine_desc_parse(argc, argv, &done, &err);
    if (!desc) {
        return done ? EXIT_SUCCESS : fail(&d, err);
    }
    origin_init(&d.origin, desc);
    if (desc->dump_machine) {
        g_autofree char *json = machine_desc_to_json(desc);

        status = puts(json) >= 0 && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    } else {
        recorder_init();
        daemon_set_log_levels(desc);
        if (!d.origin.arrival && service_begin(desc, &err) < 0) {
            return fail(&d, err);
        }
        if (instance_has(desc->type, INSTANCE_DOMAIN)) {
            sandbox_begin(desc, argc, argv);
        }
        if (loop_init(&handlers, &d, &err) < 0) {
            return fail(&d, err);
        }
        loop_ask_for_short_slices();
        status = serve(&d, desc);
    }
    sandbox_end();
    service_end();
    machine_desc_free(desc);
    return status;
}
