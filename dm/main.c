/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xendm: from the command line to the main loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xendm/log.h>
#include <xendm/machine-desc.h>
#include <xendm/recorder.h>

#include "control.h"
#include "daemon.h"
#include "loop.h"
#include "update/update.h"

static void terminate(void *opaque, const char *signal_name)
{
    daemon_quit(opaque, signal_name);
}

static void dump(void *opaque)
{
    recorder_dump(STDERR_FILENO, 0);
}

static const struct loop_handlers handlers = {.terminate = terminate,
                                              .dump = dump,
                                              .crashed = update_crashed};

/* One line, which is what libxl's log shows of a start that failed. */
static int fail(GError *err)
{
    update_fail(err ? err->message : "failed");
    fprintf(stderr, "xendm: %s\n", err ? err->message : "failed");
    g_clear_error(&err);
    return EXIT_FAILURE;
}

/* "SUBSYSTEM=LEVEL[,SUBSYSTEM=LEVEL…]", checked by the command line already. */
static void set_log_levels(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text ? text : "", ",", -1);

    for (char **p = parts; *p; p++) {
        char *equals = strchr(*p, '=');

        if (equals) {
            *equals = '\0';
            log_set_level(*p, equals + 1);
        }
    }
}

/*
 * libxl 4.20 and later asks first, without a domain, what the command line offers (toolstack.md
 * 1.9): QMP and nothing else.
 */
static int serve_probe(struct daemon *d, const struct machine_desc *desc)
{
    GError *err = NULL;
    struct control *control = control_new(d, desc, &err);

    if (!control) {
        return fail(err);
    }
    d->desc = desc;
    d->loop = g_main_loop_new(NULL, FALSE);
    g_main_loop_run(d->loop);
    control_free(control);
    g_main_loop_unref(d->loop);
    return EXIT_SUCCESS;
}

static int serve(struct daemon *d, const struct machine_desc *desc)
{
    struct control *control = NULL;
    GError *err = NULL;
    int status = EXIT_SUCCESS;

    if (daemon_start(d, desc, &err) < 0 || !(control = control_new(d, desc, &err))) {
        status = fail(err);
    } else {
        control_attach(control);
        if (daemon_serve(d, &err) < 0) {
            status = fail(err);
        }
    }
    control_free(control);
    daemon_end(d);
    return status;
}

int main(int argc, char **argv)
{
    static struct daemon d;
    const struct handover *heritage;
    struct machine_desc *desc;
    GError *err = NULL;
    bool done = false;
    int status;

    d.argc = argc;
    d.argv = argv;
    heritage = update_inherit(argc, argv, &err);
    if (err) {
        return fail(err);
    }
    desc = machine_desc_parse(argc, argv, &done, &err);
    if (!desc) {
        return done ? EXIT_SUCCESS : fail(err);
    }
    origin_init(&d.origin, desc, heritage);
    if (desc->dump_machine) {
        g_autofree char *json = machine_desc_to_json(desc);

        status = puts(json) >= 0 && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    } else {
        recorder_init();
        set_log_levels(desc->log_levels);
        if (loop_init(&handlers, &d, &err) < 0) {
            return fail(err);
        }
        status = desc->type == MACHINE_NONE ? serve_probe(&d, desc) : serve(&d, desc);
    }
    machine_desc_free(desc);
    return status;
}
