/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <xendm/bytes.h>
#include <xendm/log.h>

#include "fake-audio.h"
#include "pc-common.h"

#define DEVFN PCI_DEVFN(4, 0)
#define MIXER 0xd000
#define MASTER 0xd400
#define IN (MASTER + 0x00)
#define OUT (MASTER + 0x10)
#define MIC (MASTER + 0x20)
#define BDBAR 0
#define CIV 4
#define LVI 5
#define SR 6
#define PICB 8
#define PIV 10
#define CR 11
#define RATE 48000
#define LIST 0x10000u
#define BUF 0x20000u
#define IOC 0x80000000u
#define BUFFER_BYTES 0x1000u

static const struct fuzz_range ranges[] = {{MIXER, 256}, {MASTER, 64}, {0, 0}};

static struct machine *new_machine(struct device **dev, struct audio *a)
{
    struct machine *m = fake_machine_new();
    g_autoptr(GError) err = NULL;

    *dev = device_new(m, &ac97_class, NULL, &err);
    g_assert_no_error(err);
    if (a) {
        device_set_backend(*dev, "audiodev", &a->backend);
    }
    g_assert_cmpint(pci_device_attach(m->pci, (struct pci_device *)*dev, DEVFN, &err), ==, 0);
    g_assert_cmpint(device_realize(*dev, &err), ==, 0);
    device_reset(*dev, RESET_COLD);
    pci_config_write(m->pci, DEVFN, 0x10, MIXER, 4);
    pci_config_write(m->pci, DEVFN, 0x14, MASTER, 4);
    pci_config_write(m->pci, DEVFN, 0x04, 0x0005, 2);
    return m;
}

/* Sample i of all buffers is i. */
static void put_buffers(struct machine *m, unsigned n, uint16_t samples, uint32_t flags)
{
    int16_t value = 0;

    for (unsigned i = 0; i < n; i++) {
        uint8_t *d = fake_guestmem_ptr(m->memory, LIST + 8 * i);
        uint8_t *b = fake_guestmem_ptr(m->memory, BUF + BUFFER_BYTES * i);

        store_le32(d, BUF + BUFFER_BYTES * i);
        store_le32(d + 4, samples | flags);
        for (unsigned k = 0; k < samples && k < BUFFER_BYTES / 2; k++) {
            store_le16(b + 2 * k, (uint16_t)value++);
        }
    }
}

static void run_engine(struct machine *m, uint16_t engine, uint8_t last, uint8_t cr)
{
    out(m, engine + BDBAR, LIST, 4);
    outb(m, engine + LVI, last);
    outb(m, engine + CR, cr);
}

static void frames_pass(struct machine *m, unsigned frames)
{
    fake_clock_step(m, (int64_t)frames * NS_PER_S / RATE + 1);
}

static void test_codec(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev, NULL);

    g_assert_cmphex(in(m, MIXER + 0x7c, 2), ==, 0x8384);
    out(m, MIXER + 0x7c, 0, 2);
    g_assert_cmphex(in(m, MIXER + 0x7c, 2), ==, 0x8384);
    g_assert_cmphex(inb(m, MIXER + 0x7c), ==, 0xff); /* words alone */
    outb(m, MIXER + 0x02, 0);
    g_assert_cmphex(in(m, MIXER + 0x02, 2), ==, 0x8000);
    g_assert_cmphex(in(m, MIXER + 0x80, 2), ==, 0xffff); /* no second codec */
    g_assert_cmphex(in(m, MASTER + 0x30, 4), ==, 0x8100);
    out(m, MASTER + 0x30, 0x38000, 4);
    g_assert_cmphex(in(m, MASTER + 0x30, 4), ==, 0x30100);
    out(m, MIXER + 0x2c, 1000, 2); /* the nearest that it can */
    g_assert_cmpuint(in(m, MIXER + 0x2c, 2), ==, 8000);
    out(m, MIXER + 0x2c, 65535, 2);
    g_assert_cmpuint(in(m, MIXER + 0x2c, 2), ==, 48000);
    out(m, MIXER + 0x02, 0x3f3f, 2);
    out(m, MASTER + 0x2c, 2, 4);
    g_assert_cmphex(in(m, MASTER + 0x2c, 4), ==, 2);
    out(m, MASTER + 0x2c, 6, 4); /* warm: over at once, and nothing else */
    g_assert_cmphex(in(m, MASTER + 0x2c, 4), ==, 2);
    g_assert_cmphex(in(m, MIXER + 0x02, 2), ==, 0x3f3f);
    out(m, MASTER + 0x2c, 0, 4); /* cold */
    g_assert_cmphex(in(m, MIXER + 0x02, 2), ==, 0x8000);
    fake_machine_free(m);
}

static void test_volume(void)
{
    struct audio *a = fake_audio_new();
    struct device *dev;
    struct machine *m = new_machine(&dev, a);

    g_assert_cmpuint(a->gain[0], ==, 0); /* mute after reset */
    out(m, MIXER + 0x02, 0, 2);
    g_assert_cmpuint(a->gain[0], ==, 0);
    out(m, MIXER + 0x18, 0x0808, 2);
    g_assert_cmpuint(a->gain[0], ==, AUDIO_GAIN_ONE);
    g_assert_cmpuint(a->gain[1], ==, AUDIO_GAIN_ONE);
    out(m, MIXER + 0x18, 0x0c08, 2); /* 6 dB less, left */
    g_assert_cmpuint(a->gain[0], >, AUDIO_GAIN_ONE * 49 / 100);
    g_assert_cmpuint(a->gain[0], <, AUDIO_GAIN_ONE * 51 / 100);
    out(m, MIXER + 0x18, 0x0400, 2); /* 12 dB more, right */
    g_assert_cmpuint(a->gain[1], >, AUDIO_GAIN_ONE * 39 / 10);
    g_assert_cmpuint(a->gain[1], <, AUDIO_GAIN_ONE * 41 / 10);
    out(m, MIXER + 0x02, 0x3f3f, 2);
    g_assert_cmpuint(a->gain[0], <, AUDIO_GAIN_ONE / 1000);
    out(m, MIXER + 0x2c, 22050, 2);
    g_assert_cmpuint(a->rate, ==, 22050);
    fake_machine_free(m);
    fake_audio_free(a);
}

static void test_plays(void)
{
    struct audio *a = fake_audio_new();
    struct device *dev;
    struct machine *m = new_machine(&dev, a);

    put_buffers(m, 4, 960, IOC);
    run_engine(m, OUT, 2, 0x15);
    g_assert_cmpuint(inb(m, OUT + CIV), ==, 0);
    g_assert_cmpuint(inb(m, OUT + PIV), ==, 1);
    g_assert_cmphex(in(m, OUT + SR, 2), ==, 0);
    g_assert_cmpuint(in(m, OUT + PICB, 2), ==, 960);
    frames_pass(m, 100);
    g_assert_cmpuint(in(m, OUT + PICB, 2), ==, 760);
    g_assert_cmpuint(a->heard->len, ==, 200);
    outb(m, OUT + CR, 0x15); /* again: it goes on where it is */
    g_assert_cmpuint(in(m, OUT + PICB, 2), ==, 760);
    g_assert_false(m->hv->intx_level[4][0]);
    frames_pass(m, 400);
    g_assert_true(m->hv->intx_level[4][0]);
    g_assert_cmphex(in(m, MASTER + 0x30, 4) & 0xe0, ==, 0x40);
    g_assert_cmphex(in(m, OUT + SR, 2), ==, 8);
    g_assert_cmpuint(inb(m, OUT + CIV), ==, 1);
    out(m, OUT + SR, 8, 2);
    g_assert_false(m->hv->intx_level[4][0]);
    outb(m, OUT + CR, 0x14); /* a pause keeps the place */
    frames_pass(m, 1000);
    g_assert_cmpuint(inb(m, OUT + CIV), ==, 1);
    outb(m, OUT + CR, 0x15);
    for (unsigned i = 0; i < 4; i++) {
        frames_pass(m, 480);
    }
    g_assert_cmphex(in(m, OUT + SR, 2), ==, 0xf);
    g_assert_cmpuint(inb(m, OUT + CIV), ==, 2);
    g_assert_cmpint(vclock_next_deadline(m->clock), ==, VTIMER_OFF);
    g_assert_cmpuint(a->heard->len, ==, 3 * 960);
    for (unsigned i = 0; i < a->heard->len; i++) {
        g_assert_cmpint(g_array_index(a->heard, int16_t, i), ==, (int16_t)i);
    }
    out(m, OUT + SR, 0x1c, 2);
    outb(m, OUT + LVI, 1); /* goes round */
    g_assert_cmphex(in(m, OUT + SR, 2), ==, 0);
    g_assert_cmpuint(inb(m, OUT + CIV), ==, 3);
    outb(m, OUT + CR, 2);
    g_assert_cmphex(in(m, OUT + SR, 2), ==, 1);
    g_assert_cmphex(inb(m, OUT + CR), ==, 0x14); /* the enables stay */
    fake_machine_free(m);
    fake_audio_free(a);
}

static void test_records(void)
{
    struct audio *a = fake_audio_new();
    struct device *dev;
    struct machine *m = new_machine(&dev, a);
    uint8_t *b = fake_guestmem_ptr(m->memory, BUF);

    put_buffers(m, 1, 101, 0); /* half a frame at the end */
    run_engine(m, IN, 0, 1);
    for (unsigned i = 0; i < 10; i++) {
        frames_pass(m, 10);
    }
    g_assert_cmphex(in(m, IN + SR, 2), ==, 7);
    g_assert_cmpuint(load_le16(b), ==, 1);
    g_assert_cmpuint(load_le16(b + 2 * 99), ==, 100);
    g_assert_cmpuint(load_le16(b + 2 * 100), ==, 0);
    run_engine(m, MIC, 0, 1); /* one channel: twice the time */
    frames_pass(m, 50);
    g_assert_cmpuint(in(m, MIC + PICB, 2), ==, 51);
    fake_machine_free(m);
    fake_audio_free(a);
}

/* No memory, no bus mastering, empty buffers all around, one sample with an interrupt each. */
static void test_mistakes(void)
{
    struct audio *a = fake_audio_new();
    struct device *dev;
    struct machine *m = new_machine(&dev, a);

    put_buffers(m, 2, 100, 0);
    store_le32(fake_guestmem_ptr(m->memory, LIST), 0xfee00000);
    run_engine(m, OUT, 1, 9);
    frames_pass(m, 60);
    g_assert_cmphex(in(m, OUT + SR, 2), ==, 0x10);
    g_assert_true(m->hv->intx_level[4][0]);
    g_assert_cmpint(g_array_index(a->heard, int16_t, 0), ==, 0);
    outb(m, OUT + CR, 2);

    run_engine(m, OUT, 1, 1);
    pci_config_write(m->pci, DEVFN, 0x04, 0x0001, 2);
    frames_pass(m, 1000);
    g_assert_cmphex(in(m, OUT + SR, 2) & 1, ==, 0);
    g_assert_cmpuint(in(m, OUT + PICB, 2), ==, 100);
    pci_config_write(m->pci, DEVFN, 0x04, 0x0005, 2);
    g_assert_cmpuint(in(m, OUT + PICB, 2), ==, 100);
    frames_pass(m, 60);
    g_assert_cmpuint(inb(m, OUT + CIV), ==, 1);
    outb(m, OUT + CR, 2);

    memset(fake_guestmem_ptr(m->memory, LIST), 0, 256);
    run_engine(m, OUT, 31, 1);
    frames_pass(m, 100);
    g_assert_cmphex(in(m, OUT + SR, 2), ==, 7);
    outb(m, OUT + CR, 2);

    for (unsigned i = 0; i < 32; i++) {
        store_le32(fake_guestmem_ptr(m->memory, LIST + 8 * i + 4), IOC | 1);
    }
    run_engine(m, OUT, 31, 0x11);
    g_assert_cmpint(vclock_next_deadline(m->clock), >=, vclock_now(m->clock) + NS_PER_MS - 1000);
    frames_pass(m, 48);
    g_assert_cmphex(in(m, OUT + SR, 2), ==, 0xf);
    fake_machine_free(m);
    fake_audio_free(a);
}

static void test_state(void)
{
    struct audio *a = fake_audio_new();
    struct device *dev, *other;
    struct machine *m = new_machine(&dev, a), *n = fake_machine_new();

    other = fake_pci_device(n, &ac97_class, DEVFN, NULL);
    put_buffers(m, 4, 960, IOC);
    put_buffers(n, 4, 960, IOC);
    out(m, MIXER + 0x02, 0x0505, 2);
    out(m, MIXER + 0x18, 0x0808, 2);
    run_engine(m, OUT, 3, 0x15);
    frames_pass(m, 600);
    fake_state_round_trip(dev, other);
    fake_machine_free(m);
    fake_machine_free(n);
    fake_audio_free(a);
}

static void test_noise(void)
{
    GRand *rand = g_rand_new_with_seed(1);
    struct audio *a = fake_audio_new();
    struct device *dev;
    struct machine *m = new_machine(&dev, a);

    log_set_level("all", "error");
    put_buffers(m, 32, 50, IOC);
    for (unsigned i = 0; i < 30000; i++) {
        if (i % 64 == 0) {
            pci_config_write(m->pci, DEVFN, 0x10, MIXER, 4);
            pci_config_write(m->pci, DEVFN, 0x14, MASTER, 4);
            pci_config_write(m->pci, DEVFN, 0x04, 0x0005, 2);
            run_engine(m, (uint16_t)(MASTER + 16 * (i / 64 % 3)), 31, 0x15);
            g_array_set_size(a->heard, 0);
        }
        fuzz_step(m, rand, ranges, i % 16 ? -1 : (int)DEVFN);
        fake_clock_step(m, g_rand_int_range(rand, 0, 2000000));
    }
    g_rand_free(rand);
    fake_machine_free(m);
    fake_audio_free(a);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ac97/codec", test_codec);
    g_test_add_func("/ac97/volume", test_volume);
    g_test_add_func("/ac97/plays", test_plays);
    g_test_add_func("/ac97/records", test_records);
    g_test_add_func("/ac97/mistakes", test_mistakes);
    g_test_add_func("/ac97/state", test_state);
    g_test_add_func("/ac97/noise", test_noise);
    return g_test_run();
}
