/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine: order of start, stop and reset, what the guest asks for, and the whole saved state,
 * hostile too. */
#include <errno.h>
#include <string.h>

#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>

#include "fakes.h"

struct part {
    struct device dev;
    uint32_t value, extra;
    uint8_t level;
    bool has_extra, busy;
    struct vtimer timer;
    struct irq irq;
    uint8_t *bytes;
    uint32_t length;
    unsigned loads, unplugs;
};

static GString *calls;

static void on_timer(void *opaque)
{
    ((struct part *)opaque)->value++;
}

static int part_realize(struct device *dev, GError **err)
{
    struct part *p = DEVICE_CAST(struct part, dev);

    vtimer_init(&p->timer, dev->machine->clock, "part", on_timer, p);
    device_connect_isa_irq(dev, &p->irq, 11);
    return 0;
}

static void part_unrealize(struct device *dev)
{
    struct part *p = DEVICE_CAST(struct part, dev);

    vtimer_disarm(&p->timer);
    irq_connect(&p->irq, NULL);
    g_free(p->bytes);
}

static void part_reset(struct device *dev, enum reset_reason why)
{
    g_string_append_printf(calls, "%s:reset%d ", dev->id, why);
}

static void part_quiesce(struct device *dev)
{
    g_assert_false(vclock_running(dev->machine->clock));
    g_string_append_printf(calls, "%s:quiesce ", dev->id);
}

static void part_resume(struct device *dev)
{
    g_string_append_printf(calls, "%s:resume ", dev->id);
}

static bool part_busy(struct device *dev)
{
    return DEVICE_CAST(struct part, dev)->busy;
}

static void part_unplug(struct device *dev, unsigned what)
{
    DEVICE_CAST(struct part, dev)->unplugs |= what;
}

static bool extra_needed(const void *base)
{
    return ((const struct part *)base)->has_extra;
}

static void extra_loaded(void *base)
{
    ((struct part *)base)->has_extra = true;
}

static void part_loaded(void *base)
{
    ((struct part *)base)->loads++;
}

static const struct state_field extra_fields[] = {STATE_FIELD_U32(struct part, extra),
                                                  STATE_FIELD_END};
static const struct state_desc extra_desc = {
    .name = "extra",
    .version = 1,
    .fields = extra_fields,
    .needed = extra_needed,
    .post_load = extra_loaded,
};
static const struct state_desc *const part_sections[] = {&extra_desc, NULL};
static const struct state_field part_fields[] = {
    STATE_FIELD_U32(struct part, value),
    STATE_FIELD_U8(struct part, level, .max = 7),
    STATE_FIELD_TIMER(struct part, timer),
    STATE_FIELD_IRQ(struct part, irq),
    {.name = "bytes",
     .type = STATE_VAR_BYTES,
     .offset = offsetof(struct part, bytes),
     .count = 32,
     .length_offset = offsetof(struct part, length)},
    STATE_FIELD_END,
};
static const struct state_desc part_state = {
    .name = "part",
    .version = 1,
    .fields = part_fields,
    .post_load = part_loaded,
    .sections = part_sections,
};

static const struct device_class part_class = {
    .name = "part",
    .size = sizeof(struct part),
    .state = &part_state,
    .realize = part_realize,
    .unrealize = part_unrealize,
    .reset = part_reset,
    .quiesce = part_quiesce,
    .resume = part_resume,
    .busy = part_busy,
    .unplug = part_unplug,
};

struct card {
    struct pci_device pci;
    uint32_t reg;
};

static uint64_t card_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct card *)opaque)->reg;
}

static const struct region_ops card_ops = {.read = card_read};
static const struct pci_info card_info = {
    .vendor = 0x1af4,
    .device = 1,
    .class = 0xff0000,
    .intx_pin = 1,
    .bar = {[0] = {.type = PCI_BAR_MEM32, .size = 4096, .ops = &card_ops, .name = "card"}},
};
static const struct state_field card_fields[] = {STATE_FIELD_U32(struct card, reg),
                                                 STATE_FIELD_END};
static const struct state_desc card_state = {.name = "card", .version = 1, .fields = card_fields};

static void card_reset(struct device *dev, enum reset_reason why)
{
    /* The bus was reset before. */
    g_assert_true(dev->dma_blocked);
    g_string_append_printf(calls, "%s:reset%d ", dev->id, why);
}

static const struct device_class card_class = {
    .name = "card",
    .size = sizeof(struct card),
    .state = &card_state,
    .reset = card_reset,
    .pci = &card_info,
};

/* No state at all. */
static const struct device_class bare_class = {.name = "bare", .size = sizeof(struct device)};

struct kit {
    struct machine *m;
    struct part *a, *b;
    struct card *card;
};

#define DEVFN PCI_DEVFN(4, 0)

static void kit_init(struct kit *k)
{
    k->m = fake_machine_new();
    k->a = DEVICE_CAST(struct part, fake_device(k->m, &part_class, "a", NULL));
    fake_device(k->m, &bare_class, NULL, NULL);
    k->card = DEVICE_CAST(struct card, fake_pci_device(k->m, &card_class, DEVFN, NULL));
    k->b = DEVICE_CAST(struct part, fake_device(k->m, &part_class, "b", NULL));
    machine_complete(k->m);
    g_string_truncate(calls, 0);
}

static void kit_run(struct kit *k)
{
    kit_init(k);
    machine_start(k->m);
    g_string_truncate(calls, 0);
}

static void kit_done(struct kit *k)
{
    fake_machine_free(k->m);
}

static unsigned state_calls;
static enum machine_state state_now, state_before;

static void on_state(void *opaque, enum machine_state now, enum machine_state before)
{
    state_calls++;
    state_now = now;
    state_before = before;
}

static GString *events_seen;

static void on_tray(void *opaque, const char *id, bool open)
{
    g_string_append_printf(events_seen, "tray %s %d ", id, open);
}

static void on_block_error(void *opaque, const char *id, const char *op, int error)
{
    g_string_append_printf(events_seen, "error %s %s %d ", id, op, error);
}

static void on_unplugged(void *opaque, const char *id)
{
    g_string_append_printf(events_seen, "unplugged %s ", id);
}

static const struct machine_events events = {
    .state_changed = on_state,
    .tray_moved = on_tray,
    .block_error = on_block_error,
    .unplugged = on_unplugged,
};

static void test_life(void)
{
    struct kit k;

    k.m = fake_machine_new();
    k.m->events = &events;
    state_calls = 0;
    k.a = DEVICE_CAST(struct part, fake_device(k.m, &part_class, "a", NULL));
    k.card = DEVICE_CAST(struct card, fake_pci_device(k.m, &card_class, DEVFN, NULL));
    k.b = DEVICE_CAST(struct part, fake_device(k.m, &part_class, "b", NULL));
    g_string_truncate(calls, 0);
    g_assert_cmpint(k.m->state, ==, MACHINE_BUILDING);
    machine_complete(k.m);
    g_assert_cmpstr(calls->str, ==, "a:reset0 card:reset0 b:reset0 ");
    g_assert_cmpint(k.m->state, ==, MACHINE_STOPPED);
    machine_stop(k.m);
    g_string_truncate(calls, 0);
    machine_start(k.m);
    machine_start(k.m);
    g_assert_cmpstr(calls->str, ==, "a:resume b:resume ");
    g_assert_cmpint(k.m->state, ==, MACHINE_RUNNING);
    g_assert_true(vclock_running(k.m->clock));
    g_assert_cmpuint(state_calls, ==, 2);
    g_assert_cmpint(state_now, ==, MACHINE_RUNNING);
    g_assert_cmpint(state_before, ==, MACHINE_STOPPED);

    vtimer_arm_in(&k.a->timer, 10 * NS_PER_MS);
    fake_clock_step(k.m, 9 * NS_PER_MS);
    g_string_truncate(calls, 0);
    machine_stop(k.m);
    machine_stop(k.m);
    g_assert_cmpstr(calls->str, ==, "b:quiesce a:quiesce ");
    g_assert_cmpint(k.a->dev.phase, ==, DEVICE_QUIESCED);
    fake_clock_step(k.m, NS_PER_S); /* time stands */
    g_assert_cmpuint(k.a->value, ==, 0);
    g_assert_false(machine_busy(k.m));
    k.b->busy = true;
    g_assert_true(machine_busy(k.m));
    k.b->busy = false;
    machine_start(k.m);
    fake_clock_step(k.m, NS_PER_MS);
    g_assert_cmpuint(k.a->value, ==, 1);

    /* PCI's own part comes first for all. */
    pci_config_write(k.m->pci, DEVFN, 4, 6, 2);
    g_string_truncate(calls, 0);
    machine_reset(k.m, RESET_COLD);
    g_assert_cmpstr(calls->str, ==, "a:reset0 card:reset0 b:reset0 ");
    kit_done(&k);
}

static void test_shutdown(void)
{
    struct kit k;

    kit_run(&k);
    machine_request_reset(k.m);
    g_assert_cmpuint(k.m->hv->shutdowns, ==, 1);
    g_assert_cmpint(k.m->hv->shutdown_reason, ==, HV_SHUTDOWN_REBOOT);
    g_assert_cmpint(k.m->state, ==, MACHINE_SHUTDOWN);
    g_assert_false(vclock_running(k.m->clock));
    machine_request_poweroff(k.m);
    machine_request_suspend(k.m);
    g_assert_cmpuint(k.m->hv->shutdowns, ==, 1);
    g_assert_cmpuint(k.m->hv->s_state, ==, 0);
    g_assert_cmpstr(calls->str, ==,
                    ""); /* the toolstack builds another machine; we reset nothing */
    machine_stop(k.m);
    machine_start(k.m);
    g_assert_cmpint(k.m->state, ==, MACHINE_SHUTDOWN);
    kit_done(&k);

    /* Refused: the guest runs on, and what it tries next counts. */
    kit_run(&k);
    k.m->hv->fail_shutdown = EPERM;
    machine_request_reset(k.m);
    g_assert_cmpint(k.m->state, ==, MACHINE_RUNNING);
    g_assert_true(vclock_running(k.m->clock));
    k.m->hv->fail_shutdown = 0;
    machine_request_poweroff(k.m);
    g_assert_cmpint(k.m->state, ==, MACHINE_SHUTDOWN);
    g_assert_cmpint(k.m->hv->shutdown_reason, ==, HV_SHUTDOWN_POWEROFF);
    kit_done(&k);

    /* The access was in flight when the machine was stopped. */
    kit_run(&k);
    machine_stop(k.m);
    machine_request_poweroff(k.m);
    g_assert_cmpint(k.m->hv->shutdown_reason, ==, HV_SHUTDOWN_POWEROFF);
    g_assert_cmpint(k.m->state, ==, MACHINE_STOPPED);
    machine_start(k.m);
    g_assert_cmpint(k.m->state, ==, MACHINE_SHUTDOWN);
    g_assert_false(vclock_running(k.m->clock));
    kit_done(&k);
}

static void test_suspend(void)
{
    g_autoptr(GError) err = NULL;
    struct kit k;

    kit_run(&k);
    g_assert_cmpint(machine_wakeup(k.m, &err), ==, -EINVAL);
    g_clear_error(&err);
    machine_request_suspend(k.m);
    g_assert_cmpuint(k.m->hv->s_state, ==, 3);
    g_assert_cmpint(k.m->state, ==, MACHINE_SUSPENDED);
    g_assert_false(vclock_running(k.m->clock));
    machine_stop(k.m);
    g_assert_cmpint(machine_wakeup(k.m, &err), ==, -EINVAL);
    g_clear_error(&err);
    machine_start(k.m);
    g_assert_cmpint(k.m->state, ==, MACHINE_SUSPENDED);
    g_string_truncate(calls, 0);
    g_assert_cmpint(machine_wakeup(k.m, &err), ==, 0);
    g_assert_cmpstr(calls->str, ==, "a:reset1 card:reset1 b:reset1 ");
    g_assert_cmpuint(k.m->hv->s_state, ==, 0);
    g_assert_cmpint(k.m->state, ==, MACHINE_RUNNING);
    g_assert_true(vclock_running(k.m->clock));

    /* Restricted: the guest goes on running. */
    k.m->hv->fail_s_state = EPERM;
    machine_request_suspend(k.m);
    machine_request_suspend(k.m);
    g_assert_cmpint(k.m->state, ==, MACHINE_RUNNING);
    g_assert_true(vclock_running(k.m->clock));
    k.m->hv->fail_s_state = 0;
    machine_request_suspend(k.m);
    k.m->hv->fail_s_state = EPERM;
    g_assert_cmpint(machine_wakeup(k.m, &err), ==, -EPERM);
    g_assert_error(err, XENDM_ERROR, EPERM);
    g_assert_cmpint(k.m->state, ==, MACHINE_SUSPENDED);
    kit_done(&k);
}

static void test_events(void)
{
    struct kit k;

    kit_run(&k);
    machine_event_tray(k.m, "cd", true); /* nobody listens */
    machine_event_block_error(k.m, "hd", "read", -EIO);
    machine_event_unplugged(k.m, "hd");
    k.m->events = &events;
    events_seen = g_string_new(NULL);
    machine_event_tray(k.m, "cd", true);
    machine_event_block_error(k.m, "hd", "read", EIO);
    machine_event_unplugged(k.m, "hd");
    g_assert_cmpstr(events_seen->str, ==, "tray cd 1 error hd read 5 unplugged hd ");
    g_string_free(events_seen, TRUE);
    machine_request_unplug(k.m, UNPLUG_DISKS | UNPLUG_NICS);
    g_assert_cmpuint(k.a->unplugs, ==, UNPLUG_DISKS | UNPLUG_NICS);
    g_assert_cmpuint(k.b->unplugs, ==, UNPLUG_DISKS | UNPLUG_NICS);
    kit_done(&k);
}

/* ---- saved state ---- */

static void fill(struct kit *k)
{
    machine_start(k->m);
    fake_clock_step(k->m, 5 * NS_PER_S);
    k->a->value = 0x11111111;
    k->a->level = 3;
    k->a->bytes = g_memdup2("payload", 7);
    k->a->length = 7;
    vtimer_arm_in(&k->a->timer, NS_PER_S);
    k->b->value = 0x22222222;
    k->b->extra = 0x33333333;
    k->b->has_extra = true;
    irq_set(&k->b->irq, true);
    k->card->reg = 0x44444444;
    pci_config_write(k->m->pci, DEVFN, 0x10, 0xe0000000, 4);
    pci_config_write(k->m->pci, DEVFN, 4, 6, 2);
    pci_intx_set(&k->card->pci, true);
    machine_stop(k->m);
}

static GByteArray *save(struct machine *m)
{
    GByteArray *out = g_byte_array_new();
    GError *err = NULL;

    machine_save(m, out, &err);
    g_assert_no_error(err);
    return out;
}

/* Everything of the machine that loading may change, as bytes: to prove that nothing did. */
static GByteArray *picture(struct kit *k)
{
    GByteArray *p = save(k->m);
    struct part *parts[] = {k->a, k->b};

    for (unsigned i = 0; i < 2; i++) {
        uint64_t facts[] = {parts[i]->loads, (uintptr_t)parts[i]->bytes,
                            (uint64_t)parts[i]->timer.deadline, parts[i]->has_extra,
                            parts[i]->extra};

        g_byte_array_append(p, (const guint8 *)facts, sizeof(facts));
    }
    g_byte_array_append(p, k->card->pci.config, PCI_CONFIG_SIZE);
    g_byte_array_append(p, (const guint8 *)k->m->hv, sizeof(*k->m->hv));
    return p;
}

static void test_round_trip(void)
{
    struct kit k, n;
    GByteArray *one, *two;
    g_autoptr(GError) err = NULL;

    kit_init(&k);
    fill(&k);
    one = save(k.m);
    g_assert_cmpmem(one->data, 8, "XENDMSAV", 8);
    kit_init(&n);
    g_assert_cmpint(machine_load(n.m, one->data, one->len, &err), ==, 0);
    g_assert_no_error(err);
    g_assert_cmpint(n.m->state, ==, MACHINE_STOPPED);
    g_assert_cmpint(vclock_now(n.m->clock), ==, 5 * NS_PER_S);
    g_assert_cmpuint(n.a->value, ==, 0x11111111);
    g_assert_cmpuint(n.a->loads, ==, 1);
    g_assert_cmpmem(n.a->bytes, n.a->length, "payload", 7);
    g_assert_true(n.b->has_extra && n.b->extra == 0x33333333 && !n.a->has_extra);
    g_assert_true(irq_line_level(&n.m->isa_irq[11]));
    g_assert_cmpuint(n.m->hv->isa_changes[11], ==, 0);
    g_assert_cmpuint(n.m->hv->intx_changes, ==, 0);
    g_assert_cmphex(aspace_read(n.m->mmio, 0xe0000000, 4), ==, 0x44444444);
    two = save(n.m);
    g_assert_cmpmem(one->data, one->len, two->data, two->len);
    machine_start(n.m);
    g_assert_cmpint(n.m->state, ==, MACHINE_RUNNING);
    fake_clock_step(n.m, NS_PER_S);
    g_assert_cmpuint(n.a->value, ==, 0x11111112); /* the timer went on where it was */
    machine_stop(n.m);
    g_assert_cmpint(machine_load(n.m, one->data, one->len, &err), ==, -EBUSY);
    g_byte_array_free(one, TRUE);
    g_byte_array_free(two, TRUE);
    kit_done(&k);
    kit_done(&n);
}

static void test_when(void)
{
    g_autoptr(GError) err = NULL;
    GByteArray *out = g_byte_array_new();
    struct kit k, n;

    kit_run(&k);
    g_assert_cmpint(machine_save(k.m, out, &err), ==, -EBUSY);
    g_clear_error(&err);
    machine_request_suspend(k.m);
    machine_stop(k.m);
    k.a->busy = true;
    g_assert_cmpint(machine_save(k.m, out, &err), ==, -EBUSY);
    g_clear_error(&err);
    k.a->busy = false;
    g_assert_cmpint(machine_save(k.m, out, &err), ==, 0);
    /* A guest saved in S3 is in S3 again. */
    kit_init(&n);
    g_assert_cmpint(machine_load(n.m, out->data, out->len, &err), ==, 0);
    machine_start(n.m);
    g_assert_cmpint(n.m->state, ==, MACHINE_SUSPENDED);
    g_assert_cmpint(machine_wakeup(n.m, NULL), ==, 0);
    g_byte_array_free(out, TRUE);
    kit_done(&k);
    kit_done(&n);
}

static void fix_checksum(GByteArray *s)
{
    if (s->len >= 40) {
        GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
        gsize size = 32;

        g_checksum_update(sum, s->data, (gssize)s->len - 40);
        g_checksum_get_digest(sum, s->data + s->len - 32, &size);
        g_checksum_free(sum);
    }
}

/* Loads a stream that must be refused, and proves that the machine is as it was. */
static void refused(const void *data, size_t len, const char *word)
{
    g_autoptr(GError) err = NULL;
    GByteArray *before, *after;
    struct kit n;

    kit_init(&n);
    before = picture(&n);
    g_assert_cmpint(machine_load(n.m, data, len, &err), ==, -EINVAL);
    g_assert_nonnull(err);
    if (word && !strstr(err->message, word)) {
        g_error("\"%s\" does not say \"%s\"", err->message, word);
    }
    after = picture(&n);
    g_assert_cmpmem(before->data, before->len, after->data, after->len);
    g_byte_array_free(before, TRUE);
    g_byte_array_free(after, TRUE);
    kit_done(&n);
}

static GByteArray *changed(const GByteArray *good)
{
    GByteArray *s = g_byte_array_new();

    g_byte_array_append(s, good->data, good->len);
    return s;
}

static uint32_t get32(const GByteArray *s, guint at)
{
    uint32_t v;

    memcpy(&v, s->data + at, 4);
    return GUINT32_FROM_LE(v);
}

/* Position of the record of `id`, `section`; its length including the head in *len. */
static guint find_record(const GByteArray *s, const char *id, const char *section, guint *len)
{
    guint at = 20 + get32(s, 16);

    while (get32(s, at) != 0) {
        const uint8_t *p = s->data + at + 8;

        *len = 8 + get32(s, at + 4);
        if (p[0] == strlen(id) && memcmp(p + 1, id, p[0]) == 0 && p[1 + p[0]] == strlen(section) &&
            memcmp(p + 2 + p[0], section, strlen(section)) == 0) {
            return at;
        }
        at += *len;
    }
    g_assert_not_reached();
}

/* Position of the first record of this type. */
static guint find_type(const GByteArray *s, uint32_t type)
{
    guint at = 20 + get32(s, 16);

    while (get32(s, at) != type) {
        g_assert_cmpuint(get32(s, at), !=, 0);
        at += 8 + get32(s, at + 4);
    }
    return at;
}

static void refused_and_free(GByteArray *s, const char *word)
{
    fix_checksum(s);
    refused(s->data, s->len, word);
    g_byte_array_free(s, TRUE);
}

static void test_refusals(void)
{
    static const char *const records[][2] = {
        {"", "machine"}, {"a", "part"}, {"card", "pci"}, {"card", "card"}, {"b", "part"}};
    struct kit k;
    GByteArray *good, *s;
    guint at, len;

    kit_init(&k);
    fill(&k);
    good = save(k.m);
    refused("", 0, "XENDMSAV");
    refused("QEVM", 4, "XENDMSAV");
    for (guint cut = 0; cut < good->len; cut += cut < 200 || cut + 200 > good->len ? 1 : 13) {
        g_autofree uint8_t *exact = g_memdup2(good->data, cut);

        refused(exact, cut, NULL);
    }
    s = changed(good);
    s->data[8] = 2;
    refused_and_free(s, "format version 2");
    s = changed(good);
    s->data[12] = 1;
    refused_and_free(s, "byte order");
    s = changed(good);
    memset(s->data + 16, 0xff, 4);
    refused_and_free(s, "description is cut short");
    /* The last value changed, and the checksum not. */
    s = changed(good);
    s->data[s->len - 41] ^= 1;
    refused(s->data, s->len, "checksum");
    g_byte_array_free(s, TRUE);
    s = changed(good);
    g_byte_array_append(s, (const guint8 *)"x", 1);
    refused(s->data, s->len, "follow the end");
    g_byte_array_free(s, TRUE);
    for (unsigned i = 0; i < G_N_ELEMENTS(records); i++) {
        g_autofree char *missing = g_strdup_printf("%s: section %s is missing",
                                                   i ? records[i][0] : "machine", records[i][1]);
        g_autofree char *twice = g_strdup_printf("%s: section %s is there twice",
                                                 i ? records[i][0] : "machine", records[i][1]);

        at = find_record(good, records[i][0], records[i][1], &len);
        s = changed(good);
        g_byte_array_remove_range(s, at, len);
        refused_and_free(s, missing);
        s = changed(good);
        g_byte_array_set_size(s, at);
        g_byte_array_append(s, good->data + at, len);
        g_byte_array_append(s, good->data + at, good->len - at);
        refused_and_free(s, twice);
    }
    at = find_record(good, "b", "part", &len);
    s = changed(good);
    s->data[at + 9] = 'z';
    refused_and_free(s, "no device z");
    s = changed(good);
    s->data[at + 11] = 'z';
    refused_and_free(s, "device b has no section zart");
    s = changed(good);
    s->data[at] = 9;
    refused_and_free(s, "unknown type 9");
    s = changed(good);
    s->data[at + 4] -= 1;
    refused_and_free(s, NULL);
    /* The very last record is bad: those before were good, and still nothing may have happened. */
    k.b->level = 8;
    s = save(k.m);
    refused_and_free(s, "b: part.level: value 8 is not in 0..7");
    k.b->level = 0;
    /* And the last one does not fit its device. */
    k.card->pci.config[0] ^= 1;
    s = save(k.m);
    refused_and_free(s, "card: pci: config: register 0x00");
    g_byte_array_free(good, TRUE);
    kit_done(&k);
}

/* The description's hash: the same for the same machine, bound to the text, and not asked for. */
static void test_description(void)
{
    const uint32_t type = 0x80000002u;
    struct kit k, n;
    GByteArray *good, *s;
    g_autoptr(GError) err = NULL;
    g_autofree char *sum = NULL, *hex = NULL;
    const char *lines;
    guint at, text;

    kit_init(&k);
    fill(&k);
    good = save(k.m);
    at = find_type(good, type);
    text = get32(good, 16);
    lines = memchr(good->data + 20, '\n', text);
    g_assert_nonnull(lines++);
    sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)lines,
                                      text - (gsize)((const guint8 *)lines - good->data - 20));
    for (unsigned i = 0; i < 32; i++) {
        g_autofree char *byte = g_strndup(sum + 2 * i, 2);

        g_assert_cmphex(good->data[at + 8 + i], ==, strtoul(byte, NULL, 16));
    }
    s = changed(good);
    s->data[20 + text - 2] ^= 1;
    refused_and_free(s, "description does not match its hash");
    s = changed(good);
    s->data[at + 8] ^= 1;
    refused_and_free(s, "description does not match its hash");
    s = changed(good);
    s->data[20] ^= 1; /* the program's line is not part of the machine */
    fix_checksum(s);
    kit_init(&n);
    g_assert_cmpint(machine_load(n.m, s->data, s->len, &err), ==, 0);
    kit_done(&n);
    g_byte_array_free(s, TRUE);
    s = changed(good);
    g_byte_array_set_size(s, at);
    g_byte_array_append(s, good->data + at, 40);
    g_byte_array_append(s, good->data + at, good->len - at);
    refused_and_free(s, "description is there twice");
    s = changed(good);
    g_byte_array_remove_range(s, at, 40);
    fix_checksum(s);
    kit_init(&n);
    g_assert_cmpint(machine_load(n.m, s->data, s->len, &err), ==, 0);
    g_assert_no_error(err);
    kit_done(&n);
    g_byte_array_free(s, TRUE);
    g_byte_array_free(good, TRUE);
    kit_done(&k);
}

/* A stream of another machine: one device less, one more. */
static void test_other_machine(void)
{
    struct kit k;
    struct machine *m = fake_machine_new();
    GByteArray *s;

    fake_device(m, &part_class, "a", NULL);
    machine_complete(m);
    s = save(m);
    refused(s->data, s->len, "card: section pci is missing (saved by another machine: it lacks '");
    g_byte_array_free(s, TRUE);
    fake_machine_free(m);

    k.m = fake_machine_new();
    fake_device(k.m, &part_class, "a", NULL);
    fake_pci_device(k.m, &card_class, DEVFN, NULL);
    fake_device(k.m, &part_class, "b", NULL);
    fake_device(k.m, &part_class, "c", NULL);
    machine_complete(k.m);
    s = save(k.m);
    refused(s->data, s->len,
            "no device c (section part) (saved by another machine: it has 'part c'");
    g_byte_array_free(s, TRUE);
    fake_machine_free(k.m);
}

/* Damaged anywhere, with a checksum that fits: refused without a trace, or loaded into a machine
 * that runs. */
static void test_mutations(void)
{
    GRand *rand = g_rand_new_with_seed(2024);
    unsigned loaded = 0, turned_down = 0;
    struct kit k;
    GByteArray *good;

    kit_init(&k);
    fill(&k);
    good = save(k.m);
    for (unsigned turn = 0; turn < 4000; turn++) {
        GByteArray *s = changed(good), *before, *after;
        g_autoptr(GError) err = NULL;
        struct kit n;

        for (int i = g_rand_int_range(rand, 1, 4); i > 0; i--) {
            guint at = (guint)g_rand_int_range(rand, 0, (gint32)s->len);

            switch (g_rand_int_range(rand, 0, 6)) {
            case 0:
                s->data[at] = (uint8_t)g_rand_int(rand);
                break;
            case 1:
            case 2:
                s->data[at] ^= (uint8_t)(1u << g_rand_int_range(rand, 0, 8));
                break;
            case 3:
                g_byte_array_remove_range(s, at, MIN(s->len - at, turn % 8 + 1));
                break;
            case 4:
                memset(s->data + at, g_rand_boolean(rand) ? 0xff : 0, MIN(s->len - at, 4));
                break;
            default:
                memmove(s->data + at, s->data + s->len / 2, MIN(s->len - at, s->len - s->len / 2));
                break;
            }
            if (s->len == 0) {
                break;
            }
        }
        if (g_rand_int_range(rand, 0, 20)) {
            fix_checksum(s);
        }
        g_autofree uint8_t *exact = g_memdup2(s->data, s->len);

        kit_init(&n);
        before = picture(&n);
        if (machine_load(n.m, exact, s->len, &err) == 0) {
            g_assert_no_error(err);
            loaded++;
            g_assert_cmpuint(n.a->level, <=, 7);
            g_assert_cmpuint(n.a->length, <=, 32);
            after = save(n.m);
            machine_start(n.m);
            fake_clock_step(n.m, 2 * NS_PER_S);
            pci_config_write(n.m->pci, DEVFN, 4, 7, 2);
            aspace_read(n.m->mmio, 0xe0000000, 4);
        } else {
            g_assert_nonnull(err);
            turned_down++;
            after = picture(&n);
            g_assert_cmpmem(before->data, before->len, after->data, after->len);
        }
        g_byte_array_free(before, TRUE);
        g_byte_array_free(after, TRUE);
        g_byte_array_free(s, TRUE);
        kit_done(&n);
    }
    g_test_message("%u loaded, %u refused", loaded, turned_down);
    g_assert_cmpuint(loaded, >, 200);
    g_assert_cmpuint(turned_down, >, 1000);
    g_byte_array_free(good, TRUE);
    kit_done(&k);
    g_rand_free(rand);
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    log_set_level("all", "error");
    calls = g_string_new(NULL);
    g_test_add_func("/machine/life", test_life);
    g_test_add_func("/machine/shutdown", test_shutdown);
    g_test_add_func("/machine/suspend", test_suspend);
    g_test_add_func("/machine/events", test_events);
    g_test_add_func("/machine/state/round-trip", test_round_trip);
    g_test_add_func("/machine/state/when", test_when);
    g_test_add_func("/machine/state/refusals", test_refusals);
    g_test_add_func("/machine/state/description", test_description);
    g_test_add_func("/machine/state/other-machine", test_other_machine);
    g_test_add_func("/machine/state/mutations", test_mutations);
    rc = g_test_run();
    g_string_free(calls, TRUE);
    return rc;
}
