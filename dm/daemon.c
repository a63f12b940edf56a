/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's life; see daemon.h. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xendm/block.h>
#include <xendm/chardev.h>
#include <xendm/device.h>
#include <xendm/log.h>
#include <xendm/mapcache.h>
#include <xendm/recorder.h>
#include <xendm/xenstore.h>

#include "daemon.h"
#include <xendm/handover.h>
#include "ioreq/ioreq.h"
#include "loop.h"
#include "sandbox/sandbox.h"
#include "update/update.h"
#include "xen/xen.h"

/* A stream larger than this is not ours: the largest machine there is saves some hundred KiB (VRAM
 * is guest memory). */
#define STATE_STREAM_MAX (64u << 20)

/* ---- what the toolstack and Xen tell us ---- */

void daemon_quit(struct daemon *d, const char *why)
{
    log_info(LOG_DM, "going away: %s", why);
    if (d->loop) {
        g_main_loop_quit(d->loop);
    }
}

static void toolstack_gone(void *opaque)
{
    daemon_quit(opaque, "our directory in xenstore or the domain is gone");
}

static void toolstack_command(void *opaque, const char *command)
{
    struct daemon *d = opaque;

    if (strcmp(command, "flush-cache") == 0) {
        guestmem_invalidate(d->memory);
    } else {
        log_warning(LOG_XENSTORE, "unknown command '%s'", command);
    }
}

static const struct xenstore_events xenstore_events = {.gone = toolstack_gone,
                                                       .command = toolstack_command};

/* ---- opening ---- */

static int open_drives(struct daemon *d, GError **err)
{
    const GPtrArray *drives = d->desc->drives;

    d->backends.drives = g_new0(struct block *, drives->len + 1);
    for (unsigned i = 0; i < drives->len; i++) {
        const struct drive_desc *drive = g_ptr_array_index(drives, i);
        struct block_options options = {
            .id = drive->id,
            .file = drive->file,
            .format = drive->format,
            .read_only = drive->read_only,
            .fd = -1,
        };
        char *inherited = d->heritage ? update_drive(d->heritage, i, &options) : NULL;

        d->backends.drives[i] = block_open(&options, err);
        g_free(inherited);
        if (!d->backends.drives[i]) {
            return -1;
        }
    }
    return 0;
}

static struct chardev *open_chardev(struct daemon *d, const char *kind, unsigned i,
                                    const char *label, const char *spec, GError **err)
{
    g_autofree char *group = g_strdup_printf("%s %u", kind, i);

    return d->heritage ? update_chardev(d->heritage, group, label, spec, err)
                       : chardev_open(label, spec, err);
}

static int open_chardevs(struct daemon *d, GError **err)
{
    const struct machine_desc *desc = d->desc;

    d->backends.serials = g_new0(struct chardev *, desc->serials->len + 1);
    for (unsigned i = 0; i < desc->serials->len; i++) {
        const char *spec = g_ptr_array_index(desc->serials, i);
        char label[16];

        g_snprintf(label, sizeof(label), "serial%u", i);
        d->backends.serials[i] = open_chardev(d, "serial", i, label, spec, err);
        if (!d->backends.serials[i] && strcmp(spec, "none") != 0) {
            return -1;
        }
    }
    d->channels = g_new0(struct chardev *, desc->chardevs->len + 1);
    for (unsigned i = 0; i < desc->chardevs->len; i++) {
        const struct chardev_desc *c = g_ptr_array_index(desc->chardevs, i);

        d->channels[i] = open_chardev(d, "channel", i, c->id, c->spec, err);
        if (!d->channels[i]) {
            return -1;
        }
    }
    return 0;
}

static int open_xen(struct daemon *d, struct xen_domain_info *info, GError **err)
{
    d->xen = xen_handles_open(d->desc->domid,
                              d->heritage ? handover_fd(d->heritage, "xen", "evtchn") : -1, err);
    if (!d->xen || xen_domain_info(d->xen, d->desc, info, err) < 0) {
        return -1;
    }
    d->xenstore = xenstore_open(d->desc->domid, &xenstore_events, d, err);
    return d->xenstore ? 0 : -1;
}

/* ---- incoming state ---- */

static GByteArray *read_stream(int fd, GError **err)
{
    GByteArray *stream = g_byte_array_new();
    uint8_t buf[65536];
    ssize_t n;

    while ((n = read(fd, buf, sizeof(buf))) != 0) {
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            g_set_error(err, XENDM_ERROR, errno, "-incoming fd:%d: cannot read: %s", fd,
                        g_strerror(errno));
            break;
        }
        if (stream->len + (size_t)n > STATE_STREAM_MAX) {
            g_set_error(err, XENDM_ERROR, EFBIG, "-incoming fd:%d: more than %u MiB", fd,
                        STATE_STREAM_MAX >> 20);
            n = -1;
            break;
        }
        g_byte_array_append(stream, buf, (guint)n);
    }
    if (n < 0) {
        g_byte_array_unref(stream);
        return NULL;
    }
    return stream;
}

static int load_state(struct daemon *d, GError **err)
{
    g_autoptr(GByteArray) stream = read_stream(d->desc->incoming_fd, err);

    if (!stream) {
        return -1;
    }
    close(d->desc->incoming_fd);
    if (machine_load(d->machine, stream->data, stream->len, err) < 0) {
        g_prefix_error(err, "the saved state is refused: ");
        return -1;
    }
    log_info(LOG_STATE, "restored from %u bytes", stream->len);
    return 0;
}

/* ---- building ---- */

static int build_machine(struct daemon *d, const struct xen_domain_info *info, GError **err)
{
    struct machine *m;

    d->clock = loop_clock_new(err);
    if (!d->clock) {
        return -1;
    }
    d->hv =
        d->heritage
            ? xen_hypervisor_adopt(d->xen, (unsigned)handover_int(d->heritage, "xen", "server", 0))
            : xen_hypervisor_new(d->xen, true, err);
    if (!d->hv) {
        return -1;
    }
    d->memory = xen_guestmem_new(d->hv, NULL);
    m = d->machine = machine_new(d->hv, d->memory, d->clock);
    m->domid = d->desc->domid;
    m->vcpus = info->vcpus;
    m->vcpus_online = d->desc->vcpus_online;
    m->ram_low_end = info->ram_low_end;
    m->ram_high_end = info->ram_high_end;
    d->incoming = d->desc->incoming_fd >= 0;
    d->backends.restored = d->incoming || d->heritage;
    if (board_build(m, d->desc, &d->backends, err) < 0) {
        return -1;
    }
    machine_complete(m);
    if (d->heritage) {
        if (update_load(d, err) < 0 || update_open_ioreq(d, err) < 0) {
            return -1;
        }
    } else {
        if (d->incoming && load_state(d, err) < 0) {
            return -1;
        }
        d->ioreq = ioreq_server_open(d->xen, m, err);
        if (!d->ioreq) {
            return -1;
        }
    }
    ioreq_server_set_poll(d->ioreq, block_poll);
    return 0;
}

static int drop_privileges(struct daemon *d, GError **err)
{
    if (d->desc->restrict_domid) {
        if (xen_restrict(d->xen, err) < 0) {
            return -1;
        }
        xenstore_restricted(d->xenstore);
    }
    return sandbox_enter(d->sandbox, d->heritage != NULL, err);
}

/*
 * Under -S libxl takes query-status for the answer, and confirmation by xenstore on top of it would
 * meet a busy connection (toolstack.md 1.3): so nothing is written before the first cont.
 * Restricted, it cannot be written at all.
 */
static int tell_running(struct daemon *d, GError **err)
{
    int rc;

    if (d->ready || d->desc->restrict_domid) {
        return 0;
    }
    rc = xenstore_write(d->xenstore, "state", "running");
    if (rc < 0) {
        g_set_error(err, XENDM_ERROR, -rc, "cannot write our state 'running' to xenstore: %s",
                    g_strerror(-rc));
        return rc;
    }
    d->ready = true;
    return 0;
}

/*
 * A disk hangs while a device has to wait for it: when the guest resets the drive or stops the bus
 * master, after which memory is its own again. The main loop does not run then, so that signals are
 * looked at here; nothing is lost, for the guest was not told that its request is done.
 */
static void disk_hangs(void)
{
    const char *end = loop_end_pending();

    if (end) {
        log_warning(LOG_DM, "going away: %s, while a disk does not answer: not waiting for it",
                    end);
        _exit(EXIT_SUCCESS);
    }
}

int daemon_start(struct daemon *d, const struct machine_desc *desc, GError **err)
{
    struct xen_domain_info info;

    d->desc = desc;
    d->loop = g_main_loop_new(NULL, FALSE);
    block_set_waiting(disk_hangs);
    d->sandbox = sandbox_prepare(desc, err);
    if (!d->sandbox || open_xen(d, &info, err) < 0 || open_drives(d, err) < 0 ||
        open_chardevs(d, err) < 0 || build_machine(d, &info, err) < 0) {
        return -1;
    }
    if (desc->vnc) {
        log_warning(LOG_DISPLAY,
                    "-vnc %s: there is no VNC server yet; use screendump and the serial console",
                    desc->vnc);
    }
    return 0;
}

/*
 * PV back ends that libxl leaves to the device model (toolstack.md 3.4) and that we do not serve
 * yet. Left in state Initialising they hold up a guest with PV drivers: Linux waits 30 s for a
 * keyboard and 5 minutes for a disk. Closed, their frontends give up at once, and the emulated CD
 * drive, keyboard and mouse do the work.
 */
static void close_absent_backends(struct daemon *d)
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

int daemon_serve(struct daemon *d, GError **err)
{
    if (!d->heritage) {
        close_absent_backends(d);
    }
    if (drop_privileges(d, err) < 0) {
        return -1;
    }
    xen_hypervisor_serving(d->hv);
    /* No guest data before this line: from here on the guest's accesses are served and its memory
     * is read. */
    if (d->heritage) {
        if (update_complete(d, err) < 0) {
            return -1;
        }
        g_main_loop_run(d->loop);
        return 0;
    }
    /* The toolstack waits for it, for a minute: better to say at once that nothing comes. */
    if (!d->desc->start_stopped && tell_running(d, err) < 0) {
        return -1;
    }
    if (!d->desc->start_stopped && d->desc->incoming_fd < 0 && daemon_continue(d, err) < 0) {
        return -1;
    }
    log_info(LOG_DM, "domain %u '%s': ready", d->desc->domid, d->desc->name ? d->desc->name : "");
    g_main_loop_run(d->loop);
    return 0;
}

/* How long ending waits for I/O that is on its way to the host. */
#define END_PATIENCE_US (1 * G_TIME_SPAN_SECOND)

static unsigned in_flight(const struct daemon *d)
{
    unsigned count = 0;

    for (unsigned i = 0; d->backends.drives && i < d->desc->drives->len; i++) {
        count += d->backends.drives[i] ? block_in_flight(d->backends.drives[i]) : 0;
    }
    return count;
}

/*
 * A disk that does not answer must not keep a dying domain's memory: after a moment of patience the
 * process goes as it is, and the kernel takes everything back. The guest was not told that such a
 * request is done, so nothing is lost.
 */
static void await_io(struct daemon *d)
{
    gint64 deadline = g_get_monotonic_time() + END_PATIENCE_US;
    unsigned left;

    while ((left = in_flight(d)) > 0) {
        if (g_get_monotonic_time() > deadline) {
            log_warning(LOG_DM, "%u disk requests do not come back: not waiting for them", left);
            _exit(EXIT_SUCCESS);
        }
        if (!g_main_context_iteration(NULL, FALSE)) {
            g_usleep(1000);
        }
    }
}

void daemon_end(struct daemon *d)
{
    if (d->stop_source) {
        g_source_remove(d->stop_source);
    }
    if (d->ioreq) {
        ioreq_server_close(d->ioreq);
        d->ioreq = NULL;
    }
    await_io(d);
    if (d->machine) {
        board_free(d->machine);
        machine_free(d->machine);
    }
    for (unsigned i = 0; d->backends.drives && i < d->desc->drives->len; i++) {
        block_close(d->backends.drives[i]);
    }
    for (unsigned i = 0; d->backends.serials && i < d->desc->serials->len; i++) {
        chardev_close(d->backends.serials[i]);
    }
    for (unsigned i = 0; d->channels && i < d->desc->chardevs->len; i++) {
        chardev_close(d->channels[i]);
    }
    if (d->memory) {
        mapcache_free(d->memory);
    }
    if (d->hv) {
        xen_hypervisor_free(d->hv);
    }
    if (d->xenstore) {
        xenstore_close(d->xenstore);
    }
    if (d->xen) {
        xen_handles_close(d->xen);
    }
    g_clear_pointer(&d->backends.drives, g_free);
    g_clear_pointer(&d->backends.serials, g_free);
    g_clear_pointer(&d->channels, g_free);
    g_clear_pointer(&d->loop, g_main_loop_unref);
}

/* ---- running and stopping ---- */

void daemon_go_on(struct daemon *d)
{
    d->updating = true;
    machine_start(d->machine);
    d->updating = false;
    ioreq_server_resume(d->ioreq);
}

int daemon_continue(struct daemon *d, GError **err)
{
    if (d->stop_source) {
        g_set_error(err, XENDM_ERROR, EBUSY, "a stop is on its way");
        return -EBUSY;
    }
    if (d->machine->state == MACHINE_STOPPED) {
        machine_start(d->machine);
        ioreq_server_resume(d->ioreq);
    }
    if (!d->started) {
        g_autoptr(GError) untold = NULL;

        d->started = true;
        if (tell_running(d, &untold) < 0) { /* whoever said cont has its answer by QMP */
            log_error(LOG_XENSTORE, "%s", untold->message);
        }
    }
    return 0;
}

/*
 * A stop waits for I/O in flight, which completes in the loop: each turn we look again. Nothing is
 * polled, for completions wake the loop; and nothing blocks, for a disk may hang.
 */
struct stop_source {
    GSource source;
    struct daemon *d;
};

static gboolean stop_prepare(GSource *source, gint *timeout)
{
    *timeout = -1;
    return !machine_busy(((struct stop_source *)source)->d->machine);
}

static gboolean stop_dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
    struct daemon *d = ((struct stop_source *)source)->d;
    void (*stopped)(void *) = d->stopped;

    d->stop_source = 0;
    d->stopped = NULL;
    stopped(d->stopped_opaque);
    return G_SOURCE_REMOVE;
}

static GSourceFuncs stop_funcs = {.prepare = stop_prepare, .dispatch = stop_dispatch};

void daemon_stop(struct daemon *d, void (*stopped)(void *opaque), void *opaque)
{
    GSource *source;

    d->stopped = stopped;
    d->stopped_opaque = opaque;
    if (d->machine->state != MACHINE_STOPPED) {
        ioreq_server_pause(d->ioreq);
        machine_stop(d->machine);
    }
    source = g_source_new(&stop_funcs, sizeof(struct stop_source));
    ((struct stop_source *)source)->d = d;
    d->stop_source = g_source_attach(source, NULL);
    g_source_unref(source);
}

/*
 * Whoever passed the descriptor may pass anything, a pipe that nobody reads included: that must not
 * hold us up. libxl passes a plain file.
 */
#define SAVE_PATIENCE_US (2 * G_TIME_SPAN_SECOND)

static ssize_t write_state(int fd, bool file, const void *data, size_t len, gint64 deadline)
{
    struct pollfd pfd = {.fd = fd, .events = POLLOUT};
    gint64 left = (deadline - g_get_monotonic_time()) / G_TIME_SPAN_MILLISECOND;
    int n;

    if (file) {
        return write(fd, data, len);
    }
    n = poll(&pfd, 1, (int)MAX(left, 0));
    if (n <= 0) {
        errno = n < 0 ? errno : ETIMEDOUT;
        return -1;
    }
    return write(fd, data, MIN(len, PIPE_BUF)); /* so much of it does not block */
}

int daemon_save(struct daemon *d, int fd, GError **err)
{
    g_autoptr(GByteArray) stream = g_byte_array_new();
    gint64 deadline = g_get_monotonic_time() + SAVE_PATIENCE_US;
    struct stat st;
    bool file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    size_t done = 0;

    if (d->machine->state != MACHINE_STOPPED || d->stop_source || machine_busy(d->machine)) {
        g_set_error(err, XENDM_ERROR, EBUSY, "the machine runs: stop it first");
        return -EBUSY;
    }
    if (machine_save(d->machine, stream, err) < 0) {
        return -1;
    }
    /* libxl opens the file without O_TRUNC: what an earlier save left behind the end would be read
     * as ours. And after a save that failed the descriptor stands where that one came to. */
    if (ftruncate(fd, 0) < 0 ? errno != EINVAL : lseek(fd, 0, SEEK_SET) < 0 && errno != ESPIPE) {
        g_set_error(err, XENDM_ERROR, errno, "cannot truncate the state file: %s",
                    g_strerror(errno));
        return -1;
    }
    while (done < stream->len) {
        ssize_t n = write_state(fd, file, stream->data + done, stream->len - done, deadline);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            g_set_error(err, XENDM_ERROR, n < 0 ? errno : EIO, "cannot write the state: %s",
                        g_strerror(n < 0 ? errno : EIO));
            return -1;
        }
        done += (size_t)n;
    }
    log_info(LOG_STATE, "saved %u bytes", stream->len);
    return 0;
}
