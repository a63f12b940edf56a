/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AC97: the sound function of Intel's ICH (82801AA, 8086:2415) with a codec that says it is a
 * SigmaTel STAC9700: soundhw="ac97".
 *
 * Sources: 82801AA data sheet (290655), chapter 13 (configuration, native audio mixer, native audio
 * bus master); Audio Codec '97 2.3, chapter 5.7 (the codec's registers).
 *
 * Three engines move samples between memory and the codec, each by a ring of 32 descriptors: PCM
 * in, PCM out, and the microphone, which has one channel. Time moves them: whenever a register is
 * read, a buffer ends, or TICK_MS have passed, an engine does what it would have done since. No
 * timer runs while nothing plays.
 *
 * Of the codec only those registers are there that a guest of QEMU's card finds: the volumes of
 * master and PCM out, record select and gain, power, the variable rates. The others read 0 and keep
 * it, so that drivers offer no controls for what nobody would hear. What is recorded is silence.
 *
 * Left out: the modem, the second codec, general purpose I/O, wake-up, power down (the bits are
 * kept), what the codec plays when it has no samples (BUP).
 *
 * What differs from QEMU on purpose: a write to CR while the engine runs, and a pause, do not skip
 * the rest of a buffer; interrupt bits follow their enables at any time; GLOB_CNT reads what was
 * written, and a cold reset is one; the microphone is mono; regions have the data sheet's sizes.
 */
#include <string.h>

#include <xendm/audio.h>
#include <xendm/bytes.h>
#include <xendm/classes.h>
#include <xendm/clock.h>
#include <xendm/dma.h>
#include <xendm/facts.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>

#define MIXER_BYTES 256u
#define MASTER_BYTES 64u
#define CONFIG_COMMAND 0x04u

/* The codec's registers (AC '97 5.7), by number of their word. */
#define CODEC_WORDS 64u
enum {
    CODEC_RESET = 0x00 / 2,
    CODEC_MASTER = 0x02 / 2,
    CODEC_PCM_OUT = 0x18 / 2,
    CODEC_RECORD_SELECT = 0x1a / 2,
    CODEC_RECORD_GAIN = 0x1c / 2,
    CODEC_POWER = 0x26 / 2,
    CODEC_EXTENDED_ID = 0x28 / 2,
    CODEC_EXTENDED = 0x2a / 2,
    CODEC_DAC_RATE = 0x2c / 2,
    CODEC_ADC_RATE = 0x32 / 2,
    CODEC_MIC_RATE = 0x34 / 2,
    CODEC_VENDOR_1 = 0x7c / 2,
    CODEC_VENDOR_2 = 0x7e / 2,
};
#define EXTENDED_VRA 0x0001 /* variable rates of PCM, */
#define EXTENDED_VRM 0x0008 /* … of the microphone */
#define MUTE 0x8000
#define PCM_0_DB 8 /* steps of 1.5 dB above it are louder */
#define RATE_MIN 8000u
#define RATE_MAX 48000u

/* An engine's registers, from its base. */
#define ENGINES 3u
enum {
    PCM_IN,
    PCM_OUT,
    MIC_IN,
};
#define BDBAR 0x0
#define CIV 0x4
#define LVI 0x5
#define SR 0x6
#define PICB 0x8
#define PIV 0xa
#define CR 0xb
#define GLOB_CNT 0x2cu
#define GLOB_STA 0x30u
#define CAS 0x34u

#define DESCRIPTORS 32u
#define SR_DCH 0x01 /* halted */
#define SR_CELV 0x02
#define SR_LVBCI 0x04
#define SR_BCIS 0x08
#define SR_FIFOE 0x10
#define SR_CLEAR (SR_LVBCI | SR_BCIS | SR_FIFOE)
#define CR_RPBM 0x01
#define CR_RR 0x02
#define CR_LVBIE 0x04
#define CR_FEIE 0x08
#define CR_IOCE 0x10
#define CR_ENABLES (CR_LVBIE | CR_FEIE | CR_IOCE)
#define CNT_COLD 0x02u /* 0: the link is in cold reset */
#define CNT_KEPT 0x3bu /* all but the warm reset, which is over at once */
#define STA_READY 0x100u
#define STA_RCS 0x8000u
#define STA_KEPT 0x30000u /* AD3, MD3: the driver's own */
#define BD_IOC 0x80000000u

#define TICK_MS 10
#define TICK_MIN (1 * NS_PER_MS) /* a guest with buffers of one sample gets no more than these */
#define LATE_MAX (200 * NS_PER_MS)
#define PIECE 512u /* samples copied at once */

struct ac97;

struct engine {
    struct ac97 *card;
    unsigned number, channels;
    struct audio_stream *stream;
    struct vtimer timer; /* follows from the rest */

    uint32_t bdbar;
    uint8_t civ, lvi, piv, cr;
    uint16_t sr, picb;         /* picb: samples left */
    uint32_t address, control; /* of the descriptor that is worked on */
    bool begun;                /* there is one since the reset */
    bool fetched;              /* … and it was read, which bus mastering is needed for */
    int64_t since;             /* what came before is done; on the virtual clock */
};

struct ac97 {
    struct pci_device pci;
    struct audio *audio; /* property */
    struct engine engine[ENGINES];
    uint16_t codec[CODEC_WORDS];
    uint32_t cnt, sta; /* GLOB_CNT, GLOB_STA, without what follows from the rest */
    uint8_t cas;       /* somebody has the semaphore */
};

static struct ac97 *ac97_of(struct device *dev)
{
    return DEVICE_CAST(struct ac97, dev);
}

/* ---- interrupts ---- */

static bool engine_interrupts(const struct engine *e)
{
    return ((e->sr & SR_LVBCI) && (e->cr & CR_LVBIE)) || ((e->sr & SR_BCIS) && (e->cr & CR_IOCE)) ||
           ((e->sr & SR_FIFOE) && (e->cr & CR_FEIE));
}

static void update_irq(struct ac97 *s)
{
    bool wanted = false;

    for (unsigned i = 0; i < ENGINES; i++) {
        wanted |= engine_interrupts(&s->engine[i]);
    }
    pci_intx_set(&s->pci, wanted);
}

static uint32_t global_status(const struct ac97 *s)
{
    static const uint8_t bits[ENGINES] = {[PCM_IN] = 5, [PCM_OUT] = 6, [MIC_IN] = 7};
    uint32_t status = s->sta | STA_READY;

    for (unsigned i = 0; i < ENGINES; i++) {
        status |= (uint32_t)engine_interrupts(&s->engine[i]) << bits[i];
    }
    return status;
}

/* ---- samples ---- */

static uint32_t engine_rate(const struct engine *e)
{
    static const uint8_t words[ENGINES] = {
        [PCM_IN] = CODEC_ADC_RATE, [PCM_OUT] = CODEC_DAC_RATE, [MIC_IN] = CODEC_MIC_RATE};

    return e->card->codec[words[e->number]];
}

static bool engine_runs(const struct engine *e)
{
    return (e->cr & CR_RPBM) && !(e->sr & SR_DCH) && !e->card->pci.dev.dma_blocked;
}

/* Memory that is not there sounds like silence, and the FIFO ran empty. */
static void play(struct engine *e, int16_t *samples, unsigned count)
{
    if (dma_read(&e->card->pci.dev, e->address, samples, count * 2) < 0) {
        memset(samples, 0, count * 2);
        e->sr |= SR_FIFOE;
    }
    for (unsigned i = 0; i < count; i++) {
        samples[i] = GINT16_FROM_LE(samples[i]);
    }
    audio_write(e->stream, samples, count / e->channels);
}

static void record(struct engine *e, int16_t *samples, unsigned count)
{
    samples[count - 1] = 0; /* of half a frame */
    audio_read(e->stream, samples, count / e->channels);
    for (unsigned i = 0; i < count; i++) {
        samples[i] = GINT16_TO_LE(samples[i]);
    }
    if (dma_write(&e->card->pci.dev, e->address, samples, count * 2) < 0) {
        e->sr |= SR_FIFOE;
    }
}

static void move_samples(struct engine *e, unsigned count)
{
    int16_t samples[PIECE];

    for (unsigned n; count > 0; count -= n) {
        n = MIN(count, PIECE);
        if (e->number == PCM_OUT) {
            play(e, samples, n);
        } else {
            record(e, samples, n);
        }
        e->address += n * 2;
        e->picb = (uint16_t)(e->picb - n);
    }
}

/* ---- buffers ---- */

static void fetch(struct engine *e)
{
    uint8_t bytes[8] = {0};
    uint32_t at = e->bdbar + e->civ * 8u;

    if (e->fetched) {
        return;
    }
    if (dma_read(&e->card->pci.dev, at, bytes, sizeof(bytes)) < 0) {
        log_guest(LOG_AUDIO, "%s: no descriptor at 0x%x", e->card->pci.dev.id, at);
    }
    e->address = load_le32(bytes) & ~1u;
    e->control = load_le32(bytes + 4);
    e->picb = (uint16_t)e->control;
    e->fetched = true;
}

static void next_buffer(struct engine *e)
{
    e->civ = e->piv;
    e->piv = (uint8_t)((e->piv + 1) % DESCRIPTORS);
    e->begun = true;
    e->fetched = false;
}

static void buffer_ends(struct engine *e)
{
    if (e->control & BD_IOC) {
        e->sr |= SR_BCIS;
    }
    if (e->civ == e->lvi) {
        e->sr |= SR_LVBCI | SR_CELV | SR_DCH;
    } else {
        next_buffer(e);
    }
}

static void move_frames(struct engine *e, uint32_t frames)
{
    /* Empty buffers take no time: no more of them at once than the ring has. */
    for (unsigned empty = 0; empty < DESCRIPTORS && !(e->sr & SR_DCH);) {
        uint32_t samples;

        fetch(e);
        samples = MIN(frames * e->channels, e->picb);
        move_samples(e, samples);
        frames -= (samples + e->channels - 1) / e->channels;
        if (e->picb > 0) {
            return;
        }
        empty += samples == 0;
        buffer_ends(e);
    }
}

/* Whatever time has done since the last look. */
static void engine_advance(struct engine *e)
{
    int64_t now = vclock_now(e->card->pci.dev.machine->clock), late = now - e->since;
    uint32_t rate = engine_rate(e), frames;

    if (!engine_runs(e) || late < 0) {
        e->since = now;
        return;
    }
    if (late > LATE_MAX) {
        e->since = now - LATE_MAX;
        late = LATE_MAX;
    }
    frames = (uint32_t)(late * rate / NS_PER_S);
    e->since += (int64_t)frames * NS_PER_S / rate;
    move_frames(e, frames);
    update_irq(e->card);
}

static void engine_schedule(struct engine *e)
{
    int64_t ns;

    if (!engine_runs(e)) {
        vtimer_disarm(&e->timer);
        return;
    }
    fetch(e);
    ns = ((int64_t)e->picb / e->channels + 1) * NS_PER_S / engine_rate(e);
    vtimer_arm(&e->timer, e->since + CLAMP(ns, TICK_MIN, TICK_MS * NS_PER_MS));
}

static void engine_ticks(void *opaque)
{
    engine_advance(opaque);
    engine_schedule(opaque);
}

static void engine_reset(struct engine *e)
{
    e->bdbar = e->address = e->control = 0;
    e->civ = e->lvi = e->piv = 0;
    e->picb = 0;
    e->sr = SR_DCH;
    e->cr &= CR_ENABLES; /* 13.2.7: those are kept */
    e->begun = e->fetched = false;
}

/* ---- an engine's registers ---- */

static void control_written(struct engine *e, uint8_t value)
{
    bool starts = (value & CR_RPBM) && !(e->cr & CR_RPBM);

    if (value & CR_RR) {
        engine_reset(e);
        return;
    }
    e->cr = value & (CR_ENABLES | CR_RPBM);
    if (!(value & CR_RPBM)) {
        e->sr |= SR_DCH;
    } else if (starts) {
        if (!e->begun || (e->sr & SR_CELV)) {
            e->sr &= (uint16_t)~SR_CELV;
            next_buffer(e);
        }
        e->sr &= (uint16_t)~SR_DCH;
    }
}

/* A new last buffer: one that had come to the end goes on. */
static void last_written(struct engine *e, uint8_t value)
{
    if ((e->cr & CR_RPBM) && (e->sr & SR_DCH)) {
        e->sr &= (uint16_t) ~(SR_DCH | SR_CELV);
        next_buffer(e);
    }
    e->lvi = value % DESCRIPTORS;
}

static void engine_write(struct engine *e, unsigned reg, uint8_t value)
{
    switch (reg) {
    case BDBAR:
    case BDBAR + 1:
    case BDBAR + 2:
    case BDBAR + 3:
        e->bdbar &= ~(0xffu << 8 * reg);
        e->bdbar |= (uint32_t)value << 8 * reg;
        e->bdbar &= ~7u;
        break;
    case LVI:
        last_written(e, value);
        break;
    case SR:
        e->sr &= (uint16_t) ~(value & SR_CLEAR);
        break;
    case CR:
        control_written(e, value);
        break;
    }
}

static uint32_t engine_read(const struct engine *e, unsigned reg)
{
    switch (reg) {
    case BDBAR:
        return e->bdbar;
    case CIV & ~3u:
        return e->civ | (uint32_t)e->lvi << 8 | (uint32_t)e->sr << 16;
    case PICB & ~3u:
        return e->picb | (uint32_t)e->piv << 16 | (uint32_t)e->cr << 24;
    default:
        return 0;
    }
}

/* ---- the codec ---- */

static const struct {
    uint16_t reset, writable;
} codec_words[CODEC_WORDS] = {
    [CODEC_MASTER] = {MUTE, 0xbf3f},
    [CODEC_PCM_OUT] = {MUTE | PCM_0_DB << 8 | PCM_0_DB, 0x9f1f},
    [CODEC_RECORD_SELECT] = {0, 0x0707},
    [CODEC_RECORD_GAIN] = {MUTE | 0x0808, 0x8f0f},
    [CODEC_POWER] = {0x000f, 0x7ff0},                                /* all parts are ready */
    [CODEC_EXTENDED_ID] = {0x0800 | EXTENDED_VRA | EXTENDED_VRM, 0}, /* AC '97 2.3 */
    [CODEC_EXTENDED] = {EXTENDED_VRA | EXTENDED_VRM, EXTENDED_VRA | EXTENDED_VRM},
    [CODEC_DAC_RATE] = {RATE_MAX, 0xffff},
    [CODEC_ADC_RATE] = {RATE_MAX, 0xffff},
    [CODEC_MIC_RATE] = {RATE_MAX, 0xffff},
    [CODEC_VENDOR_1] = {0x8384, 0}, /* SigmaTel */
    [CODEC_VENDOR_2] = {0x7600, 0}, /* STAC9700 */
};

/* `steps` of 1.5 dB less, or more when negative. */
static uint32_t gain_of(int steps)
{
    uint64_t gain = AUDIO_GAIN_ONE;

    for (; steps > 0; steps--) {
        gain = gain * 55142 >> 16; /* 10^(-1.5/20) */
    }
    for (; steps < 0; steps++) {
        gain = gain * 77890 >> 16;
    }
    return (uint32_t)gain;
}

static void update_sound(struct ac97 *s)
{
    uint16_t master = s->codec[CODEC_MASTER], pcm = s->codec[CODEC_PCM_OUT];
    bool mute = (master | pcm) & MUTE;
    int left = (master >> 8 & 0x3f) + (pcm >> 8 & 0x1f) - PCM_0_DB;
    int right = (master & 0x3f) + (pcm & 0x1f) - PCM_0_DB;

    audio_set_gain(s->engine[PCM_OUT].stream, mute ? 0 : gain_of(left), mute ? 0 : gain_of(right));
    for (unsigned i = 0; i < ENGINES; i++) {
        audio_set_rate(s->engine[i].stream, engine_rate(&s->engine[i]));
    }
}

static void codec_reset(struct ac97 *s)
{
    for (unsigned i = 0; i < CODEC_WORDS; i++) {
        s->codec[i] = codec_words[i].reset;
    }
    update_sound(s);
}

/* The rate that it then has is the nearest that it can (5.8.3); a fixed one stays. */
static uint16_t codec_rate(const struct ac97 *s, unsigned word, uint16_t value)
{
    uint16_t bit = word == CODEC_MIC_RATE ? EXTENDED_VRM : EXTENDED_VRA;

    return s->codec[CODEC_EXTENDED] & bit ? (uint16_t)CLAMP(value, RATE_MIN, RATE_MAX) : RATE_MAX;
}

static void codec_write(struct ac97 *s, unsigned word, uint16_t value)
{
    uint16_t writable = codec_words[word].writable;

    for (unsigned i = 0; i < ENGINES; i++) { /* what came before had the old rate and loudness */
        engine_advance(&s->engine[i]);
    }
    if (word == CODEC_RESET) {
        codec_reset(s);
    } else {
        s->codec[word] = (uint16_t)((s->codec[word] & ~writable) | (value & writable));
    }
    s->codec[CODEC_DAC_RATE] = codec_rate(s, CODEC_DAC_RATE, s->codec[CODEC_DAC_RATE]);
    s->codec[CODEC_ADC_RATE] = codec_rate(s, CODEC_ADC_RATE, s->codec[CODEC_ADC_RATE]);
    s->codec[CODEC_MIC_RATE] = codec_rate(s, CODEC_MIC_RATE, s->codec[CODEC_MIC_RATE]);
    update_sound(s);
    for (unsigned i = 0; i < ENGINES; i++) {
        engine_schedule(&s->engine[i]);
    }
}

/* Of words alone; any access ends who had the semaphore. The second half is the other codec's. */
static uint64_t mixer_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ac97 *s = opaque;

    s->cas = 0;
    if (size != 2 || offset % 2) {
        return UINT32_MAX;
    }
    if (offset / 2 >= CODEC_WORDS) {
        s->sta |= STA_RCS;
        return UINT32_MAX;
    }
    return s->codec[offset / 2];
}

static void mixer_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct ac97 *s = opaque;

    s->cas = 0;
    if (size == 2 && offset % 2 == 0 && offset / 2 < CODEC_WORDS) {
        codec_write(s, (unsigned)offset / 2, (uint16_t)value);
    }
}

static const struct region_ops mixer_ops = {.read = mixer_read, .write = mixer_write};

/* ---- the bus master's registers ---- */

static uint32_t master_dword(struct ac97 *s, unsigned reg)
{
    switch (reg) {
    case GLOB_CNT:
        return s->cnt;
    case GLOB_STA:
        return global_status(s);
    default:
        return reg / 16 < ENGINES ? engine_read(&s->engine[reg / 16], reg % 16) : UINT32_MAX;
    }
}

static uint64_t master_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ac97 *s = opaque;
    uint64_t value = 0;

    if (offset == CAS) {
        value = s->cas;
        s->cas = 1;
        return value;
    }
    if (offset / 16 < ENGINES) {
        engine_advance(&s->engine[offset / 16]);
        engine_schedule(&s->engine[offset / 16]);
    }
    for (unsigned i = 0; i < size; i++) {
        unsigned at = (unsigned)offset + i;

        value |= (uint64_t)(master_dword(s, at & ~3u) >> 8 * (at % 4) & 0xff) << 8 * i;
    }
    return value;
}

static void global_control(struct ac97 *s, uint32_t value)
{
    bool reset = (s->cnt & CNT_COLD) && !(value & CNT_COLD);

    s->cnt = value & CNT_KEPT;
    if (reset) {
        for (unsigned i = 0; i < ENGINES; i++) {
            engine_reset(&s->engine[i]);
            s->engine[i].cr = 0;
        }
        codec_reset(s);
    }
}

static void global_write(struct ac97 *s, unsigned reg, uint32_t value, unsigned size)
{
    if (size != 4) {
        return; /* no driver does; 13.2.8 wants whole ones */
    }
    if (reg == GLOB_CNT) {
        global_control(s, value);
    } else if (reg == GLOB_STA) {
        s->sta = (s->sta & ~(value & STA_RCS) & ~STA_KEPT) | (value & STA_KEPT);
    }
}

static void master_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct ac97 *s = opaque;

    for (unsigned i = 0; i < ENGINES; i++) {
        engine_advance(&s->engine[i]);
    }
    if (offset >= GLOB_CNT) {
        global_write(s, (unsigned)offset, (uint32_t)value, size);
    } else {
        for (unsigned i = 0; i < size; i++) {
            unsigned at = (unsigned)offset + i;

            if (at / 16 < ENGINES) {
                engine_write(&s->engine[at / 16], at % 16, (uint8_t)(value >> 8 * i));
            }
        }
    }
    update_irq(s);
    for (unsigned i = 0; i < ENGINES; i++) {
        engine_schedule(&s->engine[i]);
    }
}

static const struct region_ops master_ops = {.read = master_read, .write = master_write};

/* ---- life ---- */

static const struct {
    const char *name;
    unsigned channels;
} engines[ENGINES] = {
    [PCM_IN] = {"ac97 in", 2}, [PCM_OUT] = {"ac97 out", 2}, [MIC_IN] = {"ac97 microphone", 1}};

static int ac97_realize(struct device *dev, GError **err)
{
    struct ac97 *s = ac97_of(dev);

    for (unsigned i = 0; i < ENGINES; i++) {
        struct engine *e = &s->engine[i];

        e->card = s;
        e->number = i;
        e->channels = engines[i].channels;
        e->stream = i == PCM_OUT ? audio_play_new(s->audio, engines[i].name, e->channels)
                                 : audio_record_new(s->audio, engines[i].name, e->channels);
        vtimer_init(&e->timer, dev->machine->clock, engines[i].name, engine_ticks, e);
    }
    return 0;
}

static void ac97_unrealize(struct device *dev)
{
    struct ac97 *s = ac97_of(dev);

    for (unsigned i = 0; i < ENGINES; i++) {
        vtimer_disarm(&s->engine[i].timer);
        audio_close(s->engine[i].stream);
    }
}

static void ac97_reset(struct device *dev, enum reset_reason why)
{
    struct ac97 *s = ac97_of(dev);

    s->cnt = s->sta = 0;
    s->cas = 0;
    for (unsigned i = 0; i < ENGINES; i++) {
        engine_reset(&s->engine[i]);
        s->engine[i].cr = 0;
        s->engine[i].since = 0;
        vtimer_disarm(&s->engine[i].timer);
    }
    codec_reset(s);
    update_irq(s);
}

static void ac97_resume(struct device *dev)
{
    struct ac97 *s = ac97_of(dev);

    for (unsigned i = 0; i < ENGINES; i++) {
        engine_advance(&s->engine[i]);
        engine_schedule(&s->engine[i]);
    }
}

/* The time before bus mastering came on does not count. */
static void ac97_config_written(struct device *dev, unsigned reg, unsigned len, uint32_t old)
{
    struct ac97 *s = ac97_of(dev);

    for (unsigned i = 0; reg < CONFIG_COMMAND + 2 && reg + len > CONFIG_COMMAND && i < ENGINES;
         i++) {
        struct engine *e = &s->engine[i];

        if (!vtimer_armed(&e->timer)) {
            e->since = vclock_now(dev->machine->clock);
        }
        engine_schedule(e);
    }
}

static void ac97_describe(struct device *dev, struct facts *to)
{
    struct ac97 *s = ac97_of(dev);

    for (unsigned i = 0; i < ENGINES; i++) {
        const struct engine *e = &s->engine[i];

        fact_group(to, engines[i].name);
        fact_bool(to, "runs", engine_runs(e));
        fact_int(to, "rate", engine_rate(e));
        fact_int(to, "buffer", e->civ);
        fact_int(to, "samples left", e->picb);
    }
    fact_group(to, NULL);
}

static const struct property ac97_properties[] = {
    {.name = "audiodev",
     .type = PROP_BACKEND,
     .offset = offsetof(struct ac97, audio),
     .kind = BACKEND_AUDIO,
     .help = "who hears it; without: nobody"},
    {.name = NULL},
};

/* ---- saved state ---- */

static const struct state_field engine_fields[] = {
    STATE_FIELD_U32(struct engine, bdbar),
    STATE_FIELD_U8(struct engine, civ, .max = DESCRIPTORS - 1),
    STATE_FIELD_U8(struct engine, lvi, .max = DESCRIPTORS - 1),
    STATE_FIELD_U8(struct engine, piv, .max = DESCRIPTORS - 1),
    STATE_FIELD_U8(struct engine, cr, .max = CR_ENABLES | CR_RPBM),
    STATE_FIELD_U16(struct engine, sr, .max = SR_CLEAR | SR_CELV | SR_DCH),
    STATE_FIELD_U16(struct engine, picb),
    STATE_FIELD_U32(struct engine, address),
    STATE_FIELD_U32(struct engine, control),
    STATE_FIELD_BOOL(struct engine, begun),
    STATE_FIELD_BOOL(struct engine, fetched),
    STATE_FIELD_I64(struct engine, since, .max = INT64_MAX),
    STATE_FIELD_END,
};

static const struct state_desc engine_state = {.name = "engine",
                                               .version = 1,
                                               .fields = engine_fields};

static const struct state_field ac97_fields[] = {
    STATE_FIELD_STRUCT(struct ac97, engine, ENGINES, &engine_state),
    STATE_FIELD_U16(struct ac97, codec, .count = CODEC_WORDS),
    STATE_FIELD_U32(struct ac97, cnt, .max = CNT_KEPT),
    STATE_FIELD_U32(struct ac97, sta, .max = STA_KEPT | STA_RCS),
    STATE_FIELD_U8(struct ac97, cas, .max = 1),
    STATE_FIELD_END,
};

static bool ac97_check(const void *base, GError **err)
{
    static const uint8_t rates[] = {CODEC_DAC_RATE, CODEC_ADC_RATE, CODEC_MIC_RATE};
    const struct ac97 *s = base;

    for (unsigned i = 0; i < CODEC_WORDS; i++) {
        if ((s->codec[i] ^ codec_words[i].reset) & ~codec_words[i].writable) {
            g_set_error(err, STATE_ERROR, 0, "the codec's register 0x%x cannot be 0x%x", i * 2,
                        s->codec[i]);
            return false;
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(rates); i++) {
        if (s->codec[rates[i]] != codec_rate(s, rates[i], s->codec[rates[i]])) {
            g_set_error(err, STATE_ERROR, 0, "the codec has no rate of %u", s->codec[rates[i]]);
            return false;
        }
    }
    return true;
}

static void ac97_post_load(void *base)
{
    update_sound(base);
}

static const struct state_desc ac97_state = {
    .name = "ac97",
    .version = 1,
    .fields = ac97_fields,
    .check = ac97_check,
    .post_load = ac97_post_load,
};

static const struct pci_info ac97_pci = {
    .vendor = 0x8086,
    .device = 0x2415,
    .subsystem_vendor = 0x1af4, /* as guests that were installed under QEMU know it */
    .subsystem = 0x1100,
    .class = 0x040100,
    .revision = 1,
    .intx_pin = 1,
    .bar =
        {
            [0] = {.type = PCI_BAR_IO, .size = MIXER_BYTES, .ops = &mixer_ops, .name = "ac97-nam"},
            [1] =
                {.type = PCI_BAR_IO, .size = MASTER_BYTES, .ops = &master_ops, .name = "ac97-nabm"},
        },
    .config_written = ac97_config_written,
};

static const char *const ac97_aliases[] = {"ac97", NULL};

const struct device_class ac97_class = {
    .name = "AC97",
    .aliases = ac97_aliases,
    .help = "Intel 82801AA AC97 sound",
    .size = sizeof(struct ac97),
    .properties = ac97_properties,
    .state = &ac97_state,
    .recorded = true,
    .hotplug = true,
    .realize = ac97_realize,
    .unrealize = ac97_unrealize,
    .reset = ac97_reset,
    .resume = ac97_resume,
    .describe = ac97_describe,
    .pci = &ac97_pci,
};
