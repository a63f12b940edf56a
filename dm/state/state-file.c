/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole machine in a file; see state.h and docs/state-format.md. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xendm/error.h>
#include <xendm/log.h>
#include <xendm/probe.h>

#include "state.h"

/* A stream larger than this is not ours: the largest machine there is saves some hundred KiB (VRAM
 * is guest memory). */
#define STATE_STREAM_MAX (64u << 20)

/* ---- reading ---- */

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
            g_set_error(err, XENDM_ERROR, errno, "cannot read it: %s", g_strerror(errno));
            break;
        }
        if (stream->len + (size_t)n > STATE_STREAM_MAX) {
            g_set_error(err, XENDM_ERROR, EFBIG, "it has more than %u MiB", STATE_STREAM_MAX >> 20);
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

int state_file_load(struct machine *m, int fd, GError **err)
{
    g_autoptr(GByteArray) stream = read_stream(fd, err);

    close(fd);
    if (!stream || machine_load(m, stream->data, stream->len, err) < 0) {
        g_prefix_error(err, "the saved state is refused: ");
        return -1;
    }
    PROBE1(restored, stream->len);
    log_info(LOG_STATE, "restored from %u bytes", stream->len);
    return 0;
}

/* ---- writing ---- */

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

int state_file_save(struct machine *m, int fd, GError **err)
{
    g_autoptr(GByteArray) stream = g_byte_array_new();
    gint64 deadline = g_get_monotonic_time() + SAVE_PATIENCE_US;
    struct stat st;
    bool file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    size_t done = 0;

    if (m && machine_save(m, stream, err) < 0) { /* without one there is nothing in it */
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
    PROBE1(saved, stream->len);
    log_info(LOG_STATE, "saved %u bytes", stream->len);
    return 0;
}
