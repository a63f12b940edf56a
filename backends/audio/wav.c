/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sound back end "wav": what is played goes into a file, 16 bits, two channels. Time in which
 * nothing is played is not in it.
 *
 * Source: Multimedia Programming Interface and Data Specifications 1.0 (RIFF, WAVE, PCM). The
 * header says how long the file is: it is written again whenever half a megabyte has come, and at
 * the end, so that what a killed process leaves can be played, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xendm/backend-classes.h>
#include <xendm/bytes.h>
#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/file-size.h>
#include <xendm/handover.h>
#include <xendm/log.h>

#include "audio.h"

#define HEADER 44u
#define FRAME (AUDIO_OUT_CHANNELS * 2u)
#define BYTES_MAX (UINT32_MAX - HEADER) /* sizes have 32 bits */
#define SAY_EVERY (512u << 10)

struct wav {
    struct audio audio;
    char *path;
    uint32_t frequency;
    int fd;
    uint32_t bytes, said; /* of samples: in the file, in its header */
    bool failed;          /* the admin was told */
};

static void make_header(const struct wav *w, uint8_t h[HEADER])
{
    memcpy(h, "RIFF", 4);
    store_le32(h + 4, HEADER - 8 + w->bytes);
    memcpy(h + 8, "WAVEfmt ", 8);
    store_le32(h + 16, 16); /* bytes of the format */
    store_le16(h + 20, 1);  /* PCM */
    store_le16(h + 22, AUDIO_OUT_CHANNELS);
    store_le32(h + 24, w->audio.rate);
    store_le32(h + 28, w->audio.rate * FRAME);
    store_le16(h + 32, FRAME);
    store_le16(h + 34, 16); /* bits of a sample */
    memcpy(h + 36, "data", 4);
    store_le32(h + 40, w->bytes);
}

static int say_length(struct wav *w)
{
    uint8_t h[HEADER];
    ssize_t n;

    make_header(w, h);
    w->said = w->bytes;
    n = pwrite(w->fd, h, sizeof(h), 0);
    return n == sizeof(h) ? 0 : n < 0 ? -errno : -ENOSPC;
}

static int failed(struct wav *w, int error)
{
    if (!w->failed) {
        log_warning(LOG_AUDIO, "audiodev %s: %s: %s", w->audio.backend.id, w->path,
                    g_strerror(-error));
        w->failed = true;
    }
    return error;
}

static int wav_play(struct audio *a, const int16_t *frames, size_t count)
{
    struct wav *w = (struct wav *)a;
    size_t bytes = count * FRAME;
    ssize_t n;

    if (bytes > BYTES_MAX - w->bytes) {
        return failed(w, -EFBIG);
    }
    do {
        n = pwrite(w->fd, frames, bytes, (off_t)HEADER + w->bytes);
    } while (n < 0 && errno == EINTR);
    if (n != (ssize_t)bytes) { /* a part of it is written over by what comes next */
        return failed(w, n < 0 ? -errno : -ENOSPC);
    }
    w->failed = false;
    w->bytes += (uint32_t)bytes;
    return w->bytes - w->said >= SAY_EVERY ? say_length(w) : 0;
}

static const struct audio_driver wav_driver = {.play = wav_play};

static int refuse(const struct wav *w, GError **err, int error)
{
    g_set_error(err, XENDM_ERROR, error, "audiodev %s: path=%s: %s", w->audio.backend.id,
                w->path ? w->path : "", g_strerror(error));
    return -error;
}

/* A pipe or a terminal could make us wait. */
static int open_file(struct wav *w, GError **err)
{
    struct stat st;
    int error;

    w->fd = open(w->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
    if (w->fd < 0) {
        return refuse(w, err, errno);
    }
    error = fstat(w->fd, &st) < 0 ? errno : S_ISREG(st.st_mode) ? 0 : EINVAL;
    if (!error && ftruncate(w->fd, 0) < 0) {
        error = errno;
    }
    if (!error) {
        error = -say_length(w);
    }
    if (error) {
        close(w->fd);
        return refuse(w, err, error);
    }
    file_size_allow((uint64_t)HEADER + BYTES_MAX);
    return 0;
}

static int wav_open(struct backend *b, const struct handover *from, GError **err)
{
    struct wav *w = (struct wav *)b;

    w->audio.driver = &wav_driver;
    w->audio.rate = w->frequency;
    if (from) {
        g_autofree char *group = backend_group(b);

        w->fd = handover_fd(from, group, "fd");
        w->bytes = (uint32_t)handover_int(from, group, "bytes", 0);
        return w->fd < 0 ? refuse(w, err, EBADF) : 0;
    }
    return open_file(w, err);
}

static void wav_close(struct backend *b)
{
    struct wav *w = (struct wav *)b;

    say_length(w);
    close(w->fd);
}

static void wav_hand_over(const struct backend *b, struct handover *to)
{
    const struct wav *w = (const struct wav *)b;
    g_autofree char *group = backend_group(b);

    handover_put_fd(to, group, "fd", w->fd);
    handover_put_int(to, group, "bytes", w->bytes);
}

static void wav_describe(const struct backend *b, struct facts *to)
{
    const struct wav *w = (const struct wav *)b;

    fact_text(to, "path", "%s", w->path);
    fact_int(to, "bytes", w->bytes);
    audio_describe(&w->audio, to);
}

static const struct property wav_properties[] = {
    {"path", PROP_STRING, offsetof(struct wav, path), .required = true,
     .help = "the file, which is emptied"},
    {"out.frequency", PROP_UINT32, offsetof(struct wav, frequency), .def = "44100",
     .min = AUDIO_RATE_MIN, .max = AUDIO_RATE_MAX, .help = "frames a second (default 44100)"},
    {NULL},
};

const struct backend_class audio_wav_class = {
    .kind = BACKEND_AUDIO,
    .driver = "wav",
    .help = "a file of type WAVE",
    .size = sizeof(struct wav),
    .properties = wav_properties,
    .open = wav_open,
    .close = wav_close,
    .hand_over = wav_hand_over,
    .describe = wav_describe,
};
