/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recording; see tape.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib-unix.h>

#include <config.h>

#include <xendm/backend.h>
#include <xendm/blob.h>
#include <xendm/block.h>
#include <xendm/bytes.h>
#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/input.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/net.h>
#include <xendm/tape.h>
#include <xendm/turn.h>

#include "tape.h"

#define WRITE_AT (32u << 10)     /* bytes */
#define BEHIND_MAX (16u << 20)   /* … that whoever reads may be behind */
#define WRITE_MS 200             /* … or so long after they came */
#define CLOSE_PATIENCE_MS 1000   /* for the rest, when the process ends */
#define DRAIN_PATIENCE_MS 10000u /* … when the recording does */

static struct {
    struct recording_source of; /* no machine: nothing is under way */
    int fd;
    uint64_t limit;
    GByteArray *out;
    gsize sent;     /* of `out` */
    uint64_t bytes; /* in all, what is in `out` included */
    bool on;        /* the machine is recorded; else what is left is written */
    char *why;
    guint room_source, timer;
    unsigned patience;

    void (*begun)(void *opaque, GError *err);
    void *begun_opaque;
    void (*ended)(void *opaque, const struct recording_result *result);
    void *ended_opaque;
    struct recording_result last;
} rec = {.fd = -1};

/* ---- writing ---- */

static void clear(void)
{
    g_clear_handle_id(&rec.room_source, g_source_remove);
    g_clear_handle_id(&rec.timer, g_source_remove);
    if (rec.fd >= 0) {
        close(rec.fd);
    }
    rec.fd = -1;
    g_clear_pointer(&rec.out, g_byte_array_unref);
    rec.of.machine = NULL;
    rec.on = false;
}

static void end(const char *why)
{
    struct recording_result result;

    if (!rec.on) {
        return;
    }
    rec.on = false;
    tape_stop_recording(why);
    g_free(rec.why);
    rec.why = g_strdup(why);
    rec.last = result = (struct recording_result){
        .why = rec.why,
        .bytes = rec.bytes + rec.out->len,
        .entries = tape_entries(),
    };
    log_info(LOG_DM, "the recording ended after %" PRIu64 " entries, %" PRIu64 " bytes: %s",
             result.entries, result.bytes, why);
    if (rec.ended) {
        rec.ended(rec.ended_opaque, &result);
    }
}

static void write_some(void);

static gboolean has_room(gint fd, GIOCondition condition, gpointer opaque)
{
    turn_of("recording");
    rec.room_source = 0;
    write_some();
    return G_SOURCE_REMOVE;
}

/* As much as there is room for; outside of every event. */
static void write_some(void)
{
    while (rec.sent < rec.out->len) {
        ssize_t n = write(rec.fd, rec.out->data + rec.sent, rec.out->len - rec.sent);

        if (n > 0) {
            rec.sent += (gsize)n;
        } else if (n < 0 && errno == EAGAIN) {
            if (!rec.room_source) {
                rec.room_source = g_unix_fd_add(rec.fd, G_IO_OUT | G_IO_ERR, has_room, NULL);
            }
            break;
        } else if (n == 0 || errno != EINTR) {
            g_autofree char *why =
                g_strdup_printf("it cannot be written: %s", g_strerror(n < 0 ? errno : EIO));

            end(why);
            clear();
            return;
        }
    }
    if (rec.sent > 0) {
        rec.bytes += rec.sent;
        g_byte_array_remove_range(rec.out, 0, (guint)rec.sent);
        rec.sent = 0;
    }
    if (!rec.on && rec.out->len == 0) {
        clear();
    }
}

static gboolean write_now(gpointer opaque)
{
    turn_of("recording");
    if (!rec.on && rec.patience++ >= DRAIN_PATIENCE_MS / WRITE_MS) {
        rec.timer = 0;
        clear();
        return G_SOURCE_REMOVE;
    }
    if (!rec.room_source) {
        write_some();
    }
    return rec.of.machine ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

/* ---- the tape ---- */

static int64_t now(void *opaque)
{
    return vclock_now(((struct machine *)opaque)->clock);
}

static void freeze(void *opaque, int64_t at)
{
    vclock_freeze(((struct machine *)opaque)->clock, at);
}

static void thaw(void *opaque)
{
    vclock_thaw(((struct machine *)opaque)->clock);
}

static void grown(void *opaque)
{
    if (rec.bytes + rec.out->len >= rec.limit) {
        end("its limit is reached");
    } else if (rec.out->len >= BEHIND_MAX) {
        end("whoever writes it down does not keep up");
    }
    if (rec.out->len >= WRITE_AT && !rec.room_source) {
        write_some();
    }
}

/* The tape may be in the middle of what it tells of. */
static void lost(void *opaque, const char *what)
{
    g_autofree char *why = g_strdup_printf("something happened that is not recorded: %s", what);

    end(why);
}

/* ---- the head of the file ---- */

static void put_text(GByteArray *to, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

static void put_text(GByteArray *to, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, fmt);
    text = g_strdup_vprintf(fmt, args);
    va_end(args);
    g_byte_array_append(to, (const guint8 *)text, (guint)strlen(text) + 1);
}

static void put_u32(GByteArray *to, size_t value)
{
    uint8_t bytes[4];

    store_le32(bytes, (uint32_t)value);
    g_byte_array_append(to, bytes, sizeof(bytes));
}

static void put_drive(void *opaque, struct backend *b)
{
    const struct block *block = (const struct block *)b;

    if (b->class->kind == BACKEND_BLOCK) {
        put_text(opaque, "drive=%s %" PRIu64 " %s %s", b->id, block_size(block),
                 block_read_only(block) ? "ro" : "rw", block_present(block) ? "present" : "empty");
    }
}

#define FILE_BEGINNING 65536u /* what a device looks at before a replay's first event */

/* Files that the guest is given, as a kernel; firmware is everywhere. */
static void put_file(void *opaque, struct backend *b)
{
    const struct blob *file = (const struct blob *)b;
    g_autofree char *text = NULL;
    g_autofree uint8_t *bytes = NULL;
    size_t n;

    if (b->class->kind != BACKEND_BLOB) {
        return;
    }
    n = (size_t)MIN(blob_size(file), FILE_BEGINNING);
    bytes = g_malloc0(n + 1);
    blob_read(file, 0, bytes, n);
    text = g_base64_encode(bytes, n);
    put_text(opaque, "file=%s %" PRIu64 " %s", b->id, blob_size(file), text);
}

static void put_head(const struct recording_source *of, const GByteArray *state, GByteArray *to)
{
    g_autoptr(GByteArray) texts = g_byte_array_new();

    put_text(texts, "program=%s", PACKAGE_STRING);
    put_text(texts, "vcpus=%u", of->machine->vcpus);
    for (int i = 1; i < of->argc; i++) {
        put_text(texts, "argument=%s", of->argv[i]);
    }
    backend_foreach(of->machine->backends, put_drive, texts);
    backend_foreach(of->machine->backends, put_file, texts);
    g_byte_array_append(to, (const guint8 *)TAPE_FILE_MAGIC, strlen(TAPE_FILE_MAGIC));
    put_u32(to, TAPE_FILE_VERSION);
    put_u32(to, TAPE_FILE_ORDER);
    put_u32(to, texts->len);
    g_byte_array_append(to, texts->data, texts->len);
    put_u32(to, state->len);
    g_byte_array_append(to, state->data, state->len);
}

/* ---- begin ---- */

static void find_unplugged(void *opaque, struct backend *b)
{
    const struct backend **found = opaque;

    if (b->class->kind == BACKEND_NET && !net_link((const struct net *)b)) {
        *found = b;
    }
}

/* What a replay has, when it begins, is keys that are up and cables that are plugged in. */
static bool is_as_begun(const struct machine *m, GError **err)
{
    const struct backend *unplugged = NULL;

    backend_foreach(m->backends, find_unplugged, &unplugged);
    if (input_keys_held(m->input)) {
        g_set_error(err, XENDM_ERROR, EBUSY, "a key is held down");
    } else if (unplugged) {
        g_set_error(err, XENDM_ERROR, EBUSY, "the link of %s is down", unplugged->id);
    } else {
        return true;
    }
    return false;
}

static bool may_begin(const struct machine *m, int fd, uint64_t limit, GError **err)
{
    struct stat st;

    if (rec.of.machine) {
        g_set_error(err, XENDM_ERROR, EBUSY, "a recording is under way");
    } else if (!m) {
        g_set_error(err, XENDM_ERROR, ENODEV, "there is no machine");
    } else if (limit < RECORDING_LIMIT_MIN) {
        g_set_error(err, XENDM_ERROR, EINVAL, "limit %" PRIu64 " is below %u bytes", limit,
                    RECORDING_LIMIT_MIN);
    } else if (fstat(fd, &st) < 0 || !(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))) {
        g_set_error(err, XENDM_ERROR, EINVAL, "a recording goes into a pipe or a socket");
    } else {
        return is_as_begun(m, err);
    }
    return false;
}

/* Every device's inputs must come by a way that is recorded. */
static bool is_known(const struct machine *m, GError **err)
{
    for (guint i = 0; i < m->devices->len; i++) {
        const struct device *dev = g_ptr_array_index(m->devices, i);

        if (!dev->class->recorded) {
            g_set_error(err, XENDM_ERROR, ENOTSUP,
                        "the guest has %s (%s), of which a recording would not have everything",
                        dev->id, dev->class->name);
            return false;
        }
    }
    return true;
}

static void stands_still(void *opaque)
{
    struct machine *m = rec.of.machine;
    g_autoptr(GByteArray) state = g_byte_array_new();
    struct tape_recorder to = {
        .clock = {.now = now, .freeze = freeze, .thaw = thaw, .opaque = m},
        .out = rec.out,
        .grown = grown,
        .lost = lost,
    };
    GError *err = NULL;

    if (machine_save(m, state, &err) == 0) {
        put_head(&rec.of, state, rec.out);
        block_tape_begin();
        rec.on = true;
        tape_record(&to);
        rec.timer = g_timeout_add(WRITE_MS, write_now, NULL);
        log_info(LOG_DM, "the machine is recorded, up to %" PRIu64 " bytes", rec.limit);
    }
    rec.of.go_on(rec.of.opaque);
    if (err) {
        clear();
    }
    rec.begun(rec.begun_opaque, err);
}

void recording_begin(const struct recording_source *source, int fd, uint64_t limit,
                     void (*begun)(void *opaque, GError *err), void *opaque)
{
    GError *err = NULL;

    if (!may_begin(source->machine, fd, limit, &err) || !is_known(source->machine, &err)) {
        close(fd);
        begun(opaque, err);
        return;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    rec.of = *source;
    rec.fd = fd;
    rec.limit = limit;
    rec.out = g_byte_array_new();
    rec.sent = 0;
    rec.bytes = 0;
    rec.patience = 0;
    rec.begun = begun;
    rec.begun_opaque = opaque;
    rec.of.stand_still(rec.of.opaque, stands_still, NULL);
}

/* ---- end ---- */

void recording_stop(const char *why)
{
    if (rec.on) {
        end(why);
        write_some();
    }
}

void recording_close(const char *why)
{
    int64_t until = g_get_monotonic_time() + CLOSE_PATIENCE_MS * 1000;

    end(why);
    while (rec.of.machine && g_get_monotonic_time() < until) {
        struct pollfd pfd = {.fd = rec.fd, .events = POLLOUT};

        turn_waits();
        poll(&pfd, 1, CLOSE_PATIENCE_MS);
        write_some();
    }
    clear();
}

void recording_set_listener(void (*ended)(void *opaque, const struct recording_result *result),
                            void *opaque)
{
    rec.ended = ended;
    rec.ended_opaque = opaque;
}

void recording_describe(struct facts *to)
{
    fact_bool(to, "recording", rec.on);
    if (rec.on) {
        fact_int(to, "entries", (int64_t)tape_entries());
        fact_int(to, "bytes", (int64_t)(rec.bytes + rec.out->len));
        fact_int(to, "limit", (int64_t)rec.limit);
    } else if (rec.last.why) {
        fact_text(to, "the last one ended", "%s", rec.last.why);
        fact_int(to, "its entries", (int64_t)rec.last.entries);
        fact_int(to, "its bytes", (int64_t)rec.last.bytes);
    }
}

void recording_last_words(void)
{
    gsize at = rec.sent;

    while (rec.fd >= 0 && rec.out && at < rec.out->len) {
        ssize_t n = write(rec.fd, rec.out->data + at, rec.out->len - at);

        if (n <= 0) {
            break;
        }
        at += (gsize)n;
    }
}
