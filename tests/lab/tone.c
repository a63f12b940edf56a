/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In a guest: plays or records by ALSA's system calls alone (<sound/asound.h>), so that it is one
 * static program. 16 bits, two channels; what is played says in each frame which it is.
 *
 *     tone play|record RATE FRAMES
 *
 * Played: left is the frame's number from 1 on, right its complement, of 16 bits. Recorded: says
 * how many samples were not 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <sound/asound.h>

#define PERIOD 1024u
#define PERIODS 8u

static int fd, gaps;

static void call(unsigned long request, void *argument, const char *what)
{
    if (ioctl(fd, request, argument) < 0) {
        perror(what);
        exit(1);
    }
}

static void set_mask(struct snd_pcm_hw_params *p, int parameter, unsigned bit)
{
    struct snd_mask *m = &p->masks[parameter - SNDRV_PCM_HW_PARAM_FIRST_MASK];

    memset(m, 0, sizeof(*m));
    m->bits[bit / 32] = 1u << bit % 32;
}

static void set_interval(struct snd_pcm_hw_params *p, int parameter, unsigned value)
{
    struct snd_interval *i = &p->intervals[parameter - SNDRV_PCM_HW_PARAM_FIRST_INTERVAL];

    *i = (struct snd_interval){.min = value, .max = value, .integer = 1};
}

static void configure(unsigned rate, int record)
{
    struct snd_pcm_hw_params hw = {.rmask = ~0u};
    struct snd_pcm_sw_params sw = {.period_step = 1,
                                   .avail_min = PERIOD,
                                   .start_threshold = record ? 1 : PERIOD * PERIODS,
                                   .stop_threshold = PERIOD * PERIODS,
                                   .boundary = PERIOD * PERIODS};

    memset(hw.masks, 0xff, sizeof(hw.masks));
    for (unsigned i = 0; i < sizeof(hw.intervals) / sizeof(hw.intervals[0]); i++) {
        hw.intervals[i] = (struct snd_interval){.max = ~0u};
    }
    set_mask(&hw, SNDRV_PCM_HW_PARAM_ACCESS, (unsigned)SNDRV_PCM_ACCESS_RW_INTERLEAVED);
    set_mask(&hw, SNDRV_PCM_HW_PARAM_FORMAT, (unsigned)SNDRV_PCM_FORMAT_S16_LE);
    set_mask(&hw, SNDRV_PCM_HW_PARAM_SUBFORMAT, (unsigned)SNDRV_PCM_SUBFORMAT_STD);
    set_interval(&hw, SNDRV_PCM_HW_PARAM_CHANNELS, 2);
    set_interval(&hw, SNDRV_PCM_HW_PARAM_RATE, rate);
    set_interval(&hw, SNDRV_PCM_HW_PARAM_PERIOD_SIZE, PERIOD);
    set_interval(&hw, SNDRV_PCM_HW_PARAM_PERIODS, PERIODS);
    call(SNDRV_PCM_IOCTL_HW_PARAMS, &hw, "HW_PARAMS");
    while (sw.boundary * 2 <= 0x40000000ul) {
        sw.boundary *= 2;
    }
    call(SNDRV_PCM_IOCTL_SW_PARAMS, &sw, "SW_PARAMS");
    call(SNDRV_PCM_IOCTL_PREPARE, NULL, "PREPARE");
}

/* An underrun or overrun is counted, and it goes on. */
static unsigned move(unsigned long request, int16_t *frames, unsigned count)
{
    struct snd_xferi x = {.buf = frames, .frames = count};

    if (ioctl(fd, request, &x) == 0) {
        return (unsigned)x.result;
    }
    if (errno != EPIPE) {
        perror("transfer");
        exit(1);
    }
    gaps++;
    call(SNDRV_PCM_IOCTL_PREPARE, NULL, "PREPARE");
    return 0;
}

static long long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
    int record = argc > 1 && strcmp(argv[1], "record") == 0;
    unsigned rate = argc > 2 ? (unsigned)atoi(argv[2]) : 8000;
    unsigned frames = argc > 3 ? (unsigned)atoi(argv[3]) : 8000, done = 0, loud = 0;
    int16_t buffer[PERIOD][2];
    long long begin;

    fd = open(record ? "/dev/snd/pcmC0D0c" : "/dev/snd/pcmC0D0p", O_RDWR);
    if (fd < 0) {
        perror("open");
        return 1;
    }
    configure(rate, record);
    begin = now_ms();
    while (done < frames) {
        unsigned count = frames - done < PERIOD ? frames - done : PERIOD;

        for (unsigned i = 0; i < count; i++) {
            buffer[i][0] = record ? 1 : (int16_t)(done + i + 1);
            buffer[i][1] = (int16_t)~buffer[i][0];
        }
        count = move(record ? SNDRV_PCM_IOCTL_READI_FRAMES : SNDRV_PCM_IOCTL_WRITEI_FRAMES,
                     buffer[0], count);
        for (unsigned i = 0; record && i < count; i++) {
            loud += buffer[i][0] || buffer[i][1];
        }
        done += count;
    }
    if (!record) {
        call(SNDRV_PCM_IOCTL_DRAIN, NULL, "DRAIN");
    }
    printf("tone: %u frames in %lld ms, %d gaps, %u loud\n", done, now_ms() - begin, gaps, loud);
    close(fd);
    return 0;
}
