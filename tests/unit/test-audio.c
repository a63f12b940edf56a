/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sound back ends: core, nobody, and files. */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <xendm/backend-classes.h>
#include <xendm/bytes.h>
#include <xendm/handover.h>

#include "backends/audio/audio.h"

/* The table of this program. */
const struct backend_class *const *backend_classes(void)
{
    static const struct backend_class *const classes[] = {&audio_none_class, &audio_wav_class,
                                                          NULL};

    return classes;
}

static struct audio *add(struct backend_set *set, const char *driver, const char *path,
                         const char *rate, const struct handover *from, GError **err)
{
    struct object_desc *desc = object_desc_make(OBJECT_BACKEND, BACKEND_AUDIO, driver, "a0", "path",
                                                path, "out.frequency", rate, NULL);
    struct backend *b = backend_add(set, desc, from, err);

    object_desc_free(desc);
    return (struct audio *)b;
}

static char *temp_path(void)
{
    g_autoptr(GError) err = NULL;
    char *path = NULL;
    int fd = g_file_open_tmp("audio-XXXXXX.wav", &path, &err);

    g_assert_no_error(err);
    close(fd);
    return path;
}

static uint8_t *contents(const char *path, size_t *len)
{
    g_autoptr(GError) err = NULL;
    char *text;

    g_file_get_contents(path, &text, len, &err);
    g_assert_no_error(err);
    return (uint8_t *)text;
}

static void test_none(void)
{
    struct backend_set *set = backend_set_new();
    g_autoptr(GError) err = NULL;
    struct audio *a = add(set, "none", NULL, NULL, NULL, &err);
    struct audio_stream *s, *r, *alone;
    int16_t frames[] = {1, 2, 3, 4};

    g_assert_no_error(err);
    s = audio_play_new(a, "out", 2);
    r = audio_record_new(a, "in", 2);
    audio_write(s, frames, 2);
    audio_read(r, frames, 2);
    g_assert_cmpint(frames[0] | frames[1] | frames[2] | frames[3], ==, 0);
    g_assert_cmpuint(a->played, ==, 2);
    g_assert_cmpuint(a->recorded, ==, 2);
    audio_close(s);
    audio_close(r);
    alone = audio_play_new(NULL, "out", 1); /* a card without a back end */
    audio_write(alone, frames, 4);
    audio_close(alone);
    backend_set_free(set);
}

static void test_wav(void)
{
    static const int16_t frames[] = {1000, -1000, INT16_MAX, INT16_MIN};
    g_autofree char *path = temp_path();
    g_autofree uint8_t *file = NULL;
    struct backend_set *set = backend_set_new();
    g_autoptr(GError) err = NULL;
    struct audio *a = add(set, "wav", path, "48000", NULL, &err);
    struct audio_stream *s, *second;
    size_t len;

    g_assert_no_error(err);
    s = audio_play_new(a, "out", 2);
    second = audio_play_new(a, "second", 2);
    audio_write(s, frames, 2);
    audio_write(second, frames, 2); /* not heard */
    audio_set_gain(s, AUDIO_GAIN_ONE / 2, AUDIO_GAIN_ONE * 2);
    audio_write(s, frames, 2);
    audio_close(second);
    audio_close(s);
    backend_set_free(set);
    file = contents(path, &len);
    g_assert_cmpuint(len, ==, 44 + 16);
    g_assert_cmpmem(file, 4, "RIFF", 4);
    g_assert_cmpuint(load_le32(file + 4), ==, 36 + 16);
    g_assert_cmpmem(file + 8, 8, "WAVEfmt ", 8);
    g_assert_cmpuint(load_le32(file + 24), ==, 48000);
    g_assert_cmpuint(load_le32(file + 40), ==, 16);
    g_assert_cmpint((int16_t)load_le16(file + 44), ==, 1000);
    g_assert_cmpint((int16_t)load_le16(file + 50), ==, INT16_MIN);
    g_assert_cmpint((int16_t)load_le16(file + 52), ==, 500);
    g_assert_cmpint((int16_t)load_le16(file + 54), ==, -2000);
    g_assert_cmpint((int16_t)load_le16(file + 58), ==, INT16_MIN); /* clipped */
    g_unlink(path);
}

/* A ramp stays one at another rate, a second a second. */
static void test_rates(void)
{
    static const uint32_t rates[] = {8000, 22050, 44100, 48000, 96000};

    for (unsigned i = 0; i < G_N_ELEMENTS(rates); i++) {
        g_autofree char *path = temp_path();
        g_autofree uint8_t *file = NULL;
        struct backend_set *set = backend_set_new();
        g_autoptr(GError) err = NULL;
        struct audio *a = add(set, "wav", path, NULL, NULL, &err);
        struct audio_stream *s;
        int16_t last = 0;
        size_t len;

        g_assert_no_error(err);
        s = audio_play_new(a, "out", 1);
        audio_set_rate(s, rates[i]);
        for (uint32_t n = 0; n < rates[i]; n++) {
            int16_t sample = (int16_t)((uint64_t)n * 30000 / rates[i]);

            audio_write(s, &sample, 1);
        }
        audio_close(s);
        backend_set_free(set);
        file = contents(path, &len);
        g_assert_cmpuint(len, >=, 44 + 4 * 44098);
        g_assert_cmpuint(len, <=, 44 + 4 * 44102);
        for (size_t at = 44; at < len; at += 4) {
            int16_t sample = (int16_t)load_le16(file + at);

            g_assert_cmpint(sample, >=, last);
            g_assert_cmpint(sample, <=, last + 8);
            g_assert_cmpint(sample, ==, (int16_t)load_le16(file + at + 2));
            last = sample;
        }
        g_unlink(path);
    }
}

static void test_refused(void)
{
    struct backend_set *set = backend_set_new();
    g_autoptr(GError) err = NULL;

    g_assert_null(add(set, "wav", NULL, NULL, NULL, &err));
    g_assert_nonnull(strstr(err->message, "path"));
    g_clear_error(&err);
    g_assert_null(add(set, "wav", "/nowhere/at/all.wav", NULL, NULL, &err));
    g_assert_nonnull(strstr(err->message, "/nowhere/at/all.wav"));
    g_clear_error(&err);
    g_assert_null(add(set, "wav", "/dev/null", NULL, NULL, &err)); /* it might make us wait */
    g_assert_nonnull(err);
    g_clear_error(&err);
    g_assert_null(add(set, "wav", "x", "100", NULL, &err));
    g_assert_nonnull(strstr(err->message, "out.frequency"));
    backend_set_free(set);
}

/* The disk is full: sound is lost, and counted; nothing else happens. */
static void test_full(void)
{
    static const int16_t frames[2000];
    struct backend_set *set = backend_set_new();
    g_autofree char *path = temp_path();
    g_autoptr(GError) err = NULL;
    struct audio *a = add(set, "wav", path, "48000", NULL, &err);
    struct audio_stream *s = audio_play_new(a, "out", 2);
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

    if (full < 0) {
        g_test_skip("no /dev/full");
    } else {
        for (int fd = 3; fd < 64; fd++) { /* the file's descriptor now leads there */
            char link[64], target[PATH_MAX];
            ssize_t n;

            g_snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
            n = readlink(link, target, sizeof(target) - 1);
            if (n > 0 && strncmp(target, path, (size_t)n) == 0) {
                g_assert_cmpint(dup2(full, fd), ==, fd);
            }
        }
        audio_write(s, frames, 1000);
        g_assert_cmpuint(a->lost, ==, 1000);
        g_assert_cmpuint(a->played, ==, 0);
        close(full);
    }
    audio_close(s);
    backend_set_free(set);
    g_unlink(path);
}

/* A live update: the successor goes on behind what was played. */
static void test_hand_over(void)
{
    static const int16_t frames[] = {1, 2, 3, 4};
    struct backend_set *set = backend_set_new(), *next = backend_set_new();
    g_autofree char *path = temp_path();
    g_autofree uint8_t *file = NULL;
    g_autoptr(GError) err = NULL;
    struct audio *a = add(set, "wav", path, "48000", NULL, &err), *b;
    struct audio_stream *s = audio_play_new(a, "out", 2);
    struct handover *h = handover_new(), *got;
    int pair[2];
    size_t len;

    audio_write(s, frames, 2);
    audio_close(s);
    backend_set_hand_over(set, h);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), ==, 0);
    g_assert_cmpint(handover_send(h, pair[0], &err), ==, 0);
    got = handover_receive(pair[1], &err);
    g_assert_no_error(err);
    b = add(next, "wav", path, "48000", got, &err);
    g_assert_no_error(err);
    backend_set_free(set);
    s = audio_play_new(b, "out", 2);
    audio_write(s, frames, 2);
    audio_close(s);
    backend_set_free(next);
    handover_free(h);
    handover_free(got);
    close(pair[0]);
    close(pair[1]);
    file = contents(path, &len);
    g_assert_cmpuint(len, ==, 44 + 16);
    g_assert_cmpuint(load_le32(file + 40), ==, 16);
    g_assert_cmpmem(file + 44, 8, file + 52, 8);
    g_unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/audio/none", test_none);
    g_test_add_func("/audio/wav", test_wav);
    g_test_add_func("/audio/rates", test_rates);
    g_test_add_func("/audio/refused", test_refused);
    g_test_add_func("/audio/full", test_full);
    g_test_add_func("/audio/hand-over", test_hand_over);
    return g_test_run();
}
