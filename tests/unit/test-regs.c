/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers by table: accesses, masks, hooks, limits of saved state; and a walk over the registers
 * of every device class that has some.
 */
#include <errno.h>
#include <string.h>

#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/log.h>
#include <xendm/pci.h>
#include <xendm/regs.h>

#include "fakes.h"

/* ---- a chip with one of each kind ---- */

#define CHIP_REGS(R) \
    R(id, 0x00, 32, .reset = 0xc0ffee01) \
    R(status, 0x04, 8, .w1c = 0x0e, .hold = 0x01, .reset = 0x10) \
    R(mode, 0x05, 8, .rw = 0x3f, .reset = 3, .min = 1, .max = 0x20) \
    R(mask, 0x06, 16, .rw = 0x0ff0, .wakeup = 0x00f0) \
    R(base, 0x08, 64, .rw = 0xfffffffffffff000, .writable = chip_idle, .written = chip_written)

struct chip {
    struct device dev;
    REG_FIELDS(CHIP_REGS)
    uint8_t slot[4];
    struct reg_bank bank;
    bool busy;
    unsigned changes, reads, writes, last_index;
    uint64_t last_value, last_old;
};

static bool chip_idle(void *dev)
{
    return !((struct chip *)dev)->busy;
}

static void chip_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct chip *c = dev;

    c->writes++;
    c->last_index = index;
    c->last_old = old;
    c->last_value = value;
}

static uint64_t doorbell_read(void *dev, unsigned index)
{
    ((struct chip *)dev)->reads++;
    return 0xa0b0c0d0 + index;
}

static void chip_changed(void *dev)
{
    ((struct chip *)dev)->changes++;
}

#define REG_STRUCT struct chip
static const struct reg chip_regs[] = {
    CHIP_REGS(REG_ROW_) REG_ARRAY(struct chip, slot, 0x10, .rw = 0xf0, .stride = 4),
    REG_PORT("doorbell", 0x20, 32, .count = 3, .stride = 8, .read = doorbell_read,
             .written = chip_written),
    REG_END,
};
static const struct reg_block chip_block = {"chip", chip_regs, 0x40, chip_changed};

static int chip_realize(struct device *dev, GError **err)
{
    struct chip *c = DEVICE_CAST(struct chip, dev);

    reg_bank_init(&c->bank, &chip_block, dev);
    return device_place_pio(dev, &c->bank.region, 0x300, err);
}

static const struct state_desc chip_state = {
    .name = "chip",
    .version = 1,
    .fields =
        (const struct state_field[]){
            REG_STATE(CHIP_REGS) STATE_FIELD_BYTES(struct chip, slot),
            STATE_FIELD_END,
        },
};

static const struct device_class chip_class = {
    .name = "test-chip",
    .size = sizeof(struct chip),
    .state = &chip_state,
    .realize = chip_realize,
};

static struct chip *new_chip(struct machine **m)
{
    *m = fake_machine_new();
    return DEVICE_CAST(struct chip, fake_device(*m, &chip_class, NULL, NULL));
}

static uint64_t rd(struct machine *m, unsigned at, unsigned size)
{
    return aspace_read(m->pio, 0x300 + at, size);
}

static void wr(struct machine *m, unsigned at, uint64_t value, unsigned size)
{
    aspace_write(m->pio, 0x300 + at, value, size);
}

static void test_masks(void)
{
    struct machine *m;
    struct chip *c = new_chip(&m);

    g_assert_cmphex(rd(m, 0, 4), ==, 0xc0ffee01);
    wr(m, 0, 0, 4);
    g_assert_cmphex(c->id, ==, 0xc0ffee01);

    c->status = 0x1f;
    wr(m, 4, 0xf5, 1); /* clears bit 2; busy and the constant bit stay */
    g_assert_cmphex(c->status, ==, 0x1b);
    wr(m, 6, 0xffff, 2);
    g_assert_cmphex(c->mask, ==, 0x0ff0);
    wr(m, 7, 0x03, 1); /* half of it */
    g_assert_cmphex(c->mask, ==, 0x03f0);

    wr(m, 5, 0x21, 1); /* out of range: refused */
    wr(m, 5, 0x00, 1);
    g_assert_cmphex(c->mode, ==, 3);
    wr(m, 5, 0xd0, 1); /* the bits it has not do not count */
    g_assert_cmphex(c->mode, ==, 0x10);
    g_assert_cmpuint(c->changes, ==, 7);
    fake_machine_free(m);
}

/* Any width, any alignment, several registers at once; what nobody has reads 0. */
static void test_widths(void)
{
    struct machine *m;
    struct chip *c = new_chip(&m);

    c->status = 0x11;
    g_assert_cmphex(rd(m, 0, 8), ==, 0x00000311c0ffee01);
    g_assert_cmphex(rd(m, 3, 4), ==, 0x000311c0);
    wr(m, 4, 0x0ab00c0e, 4);
    g_assert_cmphex(c->mode, ==, 0x0c);
    g_assert_cmphex(c->mask, ==, 0x0ab0);
    g_assert_cmphex(c->status, ==, 0x11);

    wr(m, 8, 0x123456789abcdef0, 8);
    g_assert_cmphex(c->base, ==, 0x123456789abcd000);
    g_assert_cmpuint(c->writes, ==, 1);
    wr(m, 12, 0xffffffff, 4);
    g_assert_cmphex(c->base, ==, 0xffffffff9abcd000);
    g_assert_cmphex(c->last_old, ==, 0x123456789abcd000);
    g_assert_cmphex(c->last_value, ==, 0xffffffff00000000); /* of the bytes that were written */
    c->busy = true;
    wr(m, 8, 0, 8);
    g_assert_cmphex(c->base, ==, 0xffffffff9abcd000);
    g_assert_cmpuint(c->writes, ==, 2);

    wr(m, 0x14, 0xffffffffffffffff, 8);
    g_assert_cmphex(c->slot[0], ==, 0);
    g_assert_cmphex(c->slot[1], ==, 0xf0);
    g_assert_cmphex(c->slot[2], ==, 0xf0);
    g_assert_cmphex(rd(m, 0x14, 8), ==, 0x000000f0000000f0);
    g_assert_cmphex(rd(m, 0x15, 2), ==, 0);

    g_assert_cmphex(rd(m, 0x28, 4), ==, 0xa0b0c0d1);
    g_assert_cmphex(rd(m, 0x31, 2), ==, 0xb0c0);
    g_assert_cmpuint(c->reads, ==, 2);
    wr(m, 0x30, 7, 4);
    g_assert_cmpuint(c->last_index, ==, 2);
    g_assert_cmphex(c->last_value, ==, 7);
    g_assert_cmphex(rd(m, 0x38, 8), ==, 0);
    fake_machine_free(m);
}

static void test_reset(void)
{
    struct machine *m;
    struct chip *c = new_chip(&m);

    memset(&c->id, 0xff, sizeof(c->id));
    c->mask = 0x0ff0;
    c->slot[3] = 0xf0;
    device_reset(&c->dev, RESET_WAKEUP);
    g_assert_cmphex(c->id, ==, 0xc0ffee01);
    g_assert_cmphex(c->mask, ==, 0x00f0);
    g_assert_cmphex(c->slot[3], ==, 0);
    device_reset(&c->dev, RESET_COLD);
    g_assert_cmphex(c->mask, ==, 0);
    fake_machine_free(m);
}

/* A stream cannot say what the chip could not be in. */
static void test_state(void)
{
    static const struct {
        unsigned field;
        uint64_t bad, good;
    } cases[] = {
        {offsetof(struct chip, id), 0xc0ffee00, 0xc0ffee01},
        {offsetof(struct chip, status), 0x30, 0x1f},
        {offsetof(struct chip, status), 0x0f, 0x11}, /* a constant bit is missing */
        {offsetof(struct chip, mode), 0x00, 0x20},
        {offsetof(struct chip, mode), 0x21, 0x01},
        {offsetof(struct chip, slot) + 2, 0x01, 0xf0},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (unsigned good = 0; good < 2; good++) {
            struct machine *from = fake_machine_new(), *to = fake_machine_new();
            struct device *dev = device_new(from, &chip_class, NULL, NULL);
            struct device *into = device_new(to, &chip_class, NULL, NULL);
            g_autoptr(GByteArray) saved = g_byte_array_new();
            g_autoptr(GError) err = NULL;
            int rc;

            g_assert_cmpint(device_realize(dev, NULL), ==, 0);
            g_assert_cmpint(device_realize(into, NULL), ==, 0);
            machine_complete(from);
            machine_complete(to);
            memcpy((char *)dev + cases[i].field, good ? &cases[i].good : &cases[i].bad,
                   cases[i].field == offsetof(struct chip, id) ? 4 : 1);
            g_assert_cmpint(machine_save(from, saved, NULL), ==, 0);
            rc = machine_load(to, saved->data, saved->len, &err);
            g_assert_cmpint(rc, ==, good ? 0 : -EINVAL);
            if (!good) {
                g_assert_nonnull(strstr(err->message, "test-chip: chip: register "));
                g_assert_cmphex(DEVICE_CAST(struct chip, into)->status, ==, 0x10); /* untouched */
            }
            fake_machine_free(from);
            fake_machine_free(to);
        }
    }
}

static void test_describe(void)
{
    struct facts *facts = facts_new();
    struct machine *m;
    struct chip *c = new_chip(&m);

    device_describe(&c->dev, facts);
    g_assert_cmpstr(facts_find(facts, "chip", "id"), ==, "0xc0ffee01");
    g_assert_cmpstr(facts_find(facts, "chip", "mask"), ==, "0x0000");
    g_assert_cmpstr(facts_find(facts, "chip", "slot"), ==, "0x00 0x00 0x00 0x00");
    g_assert_null(facts_find(facts, "chip", "doorbell"));
    facts_free(facts);
    fake_machine_free(m);
}

/* ---- every class ---- */

/* Those that cannot be made by their name alone, and why. */
static const struct {
    const char *name, *why;
} not_alone[] = {
    {"ide-hd", "wants a controller and a back end"},
    {"ide-cd", "wants a controller"},
    {"usb-tablet", "wants a controller"},
    {"usb-mouse", "wants a controller"},
    {"usb-kbd", "wants a controller"},
    {"nvme-ns", "wants a controller and a back end"},
    {"virtio-blk-pci", "wants a back end; a virtio device without is among the others"},
    {"virtio-9p-pci", "wants a back end; a virtio device without is among the others"},
    {"virtconsole", "wants a controller"},
    {"virtserialport", "wants a controller"},
    {"usb-hub", "wants a controller"},
    {"usb-storage", "wants a controller"},
    {"usb-host", "wants a controller and a device of the host"},
    {"scsi-hd", "wants a controller and a back end"},
    {"scsi-cd", "wants a controller"},
    {"xen-pvdevice", "wants a device id"},
};

static bool excused(const struct device_class *class)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(not_alone); i++) {
        if (strcmp(not_alone[i].name, class->name) == 0) {
            return true;
        }
    }
    return false;
}

static struct device *make(struct machine *m, const struct device_class *class)
{
    struct device *dev = device_new(m, class, NULL, NULL);

    if (pci_device_is(dev)) {
        g_assert_cmpint(pci_device_attach(m->pci, (struct pci_device *)dev, PCI_DEVFN(5, 0), NULL),
                        ==, 0);
    }
    if (device_realize(dev, NULL) < 0) {
        device_free(dev);
        return NULL;
    }
    machine_complete(m);
    machine_start(m);
    return dev;
}

static unsigned reg_count(const struct reg *r)
{
    return r->count ? r->count : 1;
}

/* Writes one register by units of `size` bytes. */
static void write_reg(struct reg_bank *bank, const struct reg *r, unsigned index, unsigned size,
                      uint64_t value)
{
    uint64_t at = r->offset + (uint64_t)index * (r->stride ? r->stride : r->width);

    for (unsigned done = 0; done < r->width; done += size) {
        reg_ops.write(bank, at + done, value >> 8 * done, size);
    }
}

static void walk_reset(struct device *dev)
{
    for (unsigned b = 0; b < dev->banks->len; b++) {
        const struct reg_bank *bank = g_ptr_array_index(dev->banks, b);

        for (const struct reg *r = bank->block->regs; r->name; r++) {
            for (unsigned i = 0; r->at != REG_NO_FIELD && i < reg_count(r); i++) {
                g_assert_cmphex(reg_value(r, dev, i), ==, r->reset);
            }
        }
    }
}

static void walk_register(struct reg_bank *bank, const struct reg *r, unsigned index)
{
    static const uint64_t values[] = {UINT64_MAX, 0, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa};
    uint64_t fixed = ~(r->rw | r->w1c | r->hold);

    for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
        for (unsigned size = 1; size <= r->width; size *= 2) {
            write_reg(bank, r, index, size, values[i]);
            if (r->at == REG_NO_FIELD) {
                continue;
            }
            g_assert_cmphex((reg_value(r, bank->dev, index) ^ r->reset) & fixed &
                                (r->width == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * r->width) - 1),
                            ==, 0);
            if (!r->written && !r->writable && !r->min && !r->max) {
                g_assert_cmphex(reg_value(r, bank->dev, index) & r->rw, ==, values[i] & r->rw);
            }
        }
    }
}

/* Whatever noise brings the chip into can be saved and loaded: nothing is missing in `hold`. */
static void walk_noise(struct machine *m, struct device *dev, GRand *rand)
{
    struct machine *n = fake_machine_new();
    struct device *into = device_new(n, dev->class, NULL, NULL);
    g_autoptr(GByteArray) saved = g_byte_array_new();
    GError *err = NULL;

    for (unsigned i = 0; i < 2000; i++) {
        struct reg_bank *bank =
            g_ptr_array_index(dev->banks,
                              (unsigned)g_rand_int_range(rand, 0, (int)dev->banks->len));
        unsigned size = 1u << g_rand_int_range(rand, 0, 4);
        uint64_t at;

        if (size > bank->block->size) {
            continue;
        }
        at = (uint64_t)g_rand_int_range(rand, 0, (int)(bank->block->size - size + 1));
        reg_ops.write(bank, at, (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand), size);
        reg_ops.read(bank, at, size);
        fake_clock_step(m, g_rand_int_range(rand, 0, 100000));
    }
    machine_stop(m);
    g_assert_false(machine_busy(m));
    g_assert_cmpint(machine_save(m, saved, NULL), ==, 0);
    if (pci_device_is(into)) {
        pci_device_attach(n->pci, (struct pci_device *)into, PCI_DEVFN(5, 0), NULL);
    }
    g_assert_cmpint(device_realize(into, NULL), ==, 0);
    machine_complete(n);
    machine_load(n, saved->data, saved->len, &err);
    g_assert_no_error(err);
    fake_machine_free(n);
}

static void test_classes(void)
{
    GRand *rand = g_rand_new_with_seed(1);
    unsigned walked = 0;

    log_set_level("all", "error");
    for (unsigned c = 0; device_classes()[c]; c++) {
        const struct device_class *class = device_classes()[c];
        struct machine *m = fake_machine_new();
        struct device *dev = make(m, class);

        if (!dev != excused(class)) {
            g_error("%s can%s be made by its name alone: see not_alone", class->name,
                    dev ? "" : "not");
        }
        if (!dev) {
            fake_machine_free(m);
            continue;
        }
        walk_reset(dev);
        for (unsigned b = 0; b < dev->banks->len; b++) {
            struct reg_bank *bank = g_ptr_array_index(dev->banks, b);

            for (const struct reg *r = bank->block->regs; r->name; r++) {
                for (unsigned i = 0; i < reg_count(r); i++) {
                    walk_register(bank, r, i);
                    walked++;
                }
            }
        }
        machine_reset(m, RESET_COLD);
        walk_reset(dev);
        if (dev->banks->len) {
            walk_noise(m, dev, rand);
        }
        fake_machine_free(m);
    }
    g_assert_cmpuint(walked, >=, 20);
    g_test_message("%u registers walked", walked);
    g_rand_free(rand);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/regs/masks", test_masks);
    g_test_add_func("/regs/widths", test_widths);
    g_test_add_func("/regs/reset", test_reset);
    g_test_add_func("/regs/state", test_state);
    g_test_add_func("/regs/describe", test_describe);
    g_test_add_func("/regs/classes", test_classes);
    return g_test_run();
}
