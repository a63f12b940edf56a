/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's side of the machine, from its description; see daemon.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xendm/backend.h>
#include <xendm/log.h>
#include <xendm/xenstore.h>

#include "daemon.h"
#include "loop.h"
#include "origin.h"

int backends_open(struct daemon *d, GError **err)
{
    d->backends = backend_set_new();
    for (guint i = 0; i < d->desc->objects->len; i++) {
        const struct object_desc *o = g_ptr_array_index(d->desc->objects, i);

        if (o->what == OBJECT_BACKEND && !origin_open_backend(&d->origin, d->backends, o, err)) {
            return -1;
        }
    }
    return 0;
}

/* How long ending waits for I/O that is on its way to the host. */
#define END_PATIENCE_US (1 * G_TIME_SPAN_SECOND)

/*
 * A disk that does not answer must not keep a dying domain's memory: after a moment of patience the
 * process goes as it is, and the kernel takes everything back. The guest was not told that such a
 * request is done, so nothing is lost.
 */
void backends_await_io(struct daemon *d)
{
    gint64 deadline = g_get_monotonic_time() + END_PATIENCE_US;
    unsigned left;

    while (d->backends && (left = backend_set_busy(d->backends)) > 0) {
        if (g_get_monotonic_time() > deadline) {
            log_warning(LOG_DM, "%u disk requests do not come back: not waiting for them", left);
            _exit(EXIT_SUCCESS);
        }
        if (!g_main_context_iteration(NULL, FALSE)) {
            g_usleep(1000);
        }
    }
}

void backends_close(struct daemon *d)
{
    g_clear_pointer(&d->backends, backend_set_free);
}

/*
 * PV back ends that libxl leaves to the device model (toolstack.md 3.4) and that we do not serve
 * yet. Left in state Initialising they hold up a guest with PV drivers: Linux waits 30 s for a
 * keyboard and 5 minutes for a disk. Closed, their frontends give up at once, and the emulated CD
 * drive, keyboard and mouse do the work.
 */
void backends_close_absent(struct daemon *d)
{
    static const char *const kinds[] = {"qdisk", "vkbd", "vfb", "qusb", "9pfs"};

    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *dir =
            g_strdup_printf("/local/domain/0/backend/%s/%u", kinds[i], d->desc->domid);
        g_auto(GStrv) devices = xenstore_list(d->xenstore, dir);
        int e = errno;

        if (!devices && e != ENOENT) {
            log_warning(LOG_BACKEND, "cannot look for %s back ends: %s", kinds[i], g_strerror(e));
        }
        for (char **device = devices; device && *device; device++) {
            g_autofree char *state = g_strdup_printf("%s/%s/state", dir, *device);

            e = xenstore_write(d->xenstore, state, "6"); /* XenbusStateClosed */
            if (e < 0) {
                log_warning(LOG_BACKEND, "cannot close %s: %s", state, g_strerror(-e));
            } else {
                log_info(LOG_BACKEND, "%s %s: there is no such PV back end yet; closed", kinds[i],
                         *device);
            }
        }
    }
}
