/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI: configuration header, BARs that are sized, moved and overlap, ROM, INTx, MSI, MSI-X, power,
 * saved state. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <xendm/log.h>
#include <xendm/pci.h>

#include "fakes.h"

#define VECTORS 70u
#define MSIX_BAR_SIZE 0x4000u
#define TABLE 0x1000u
#define PBA 0x2000u

/* Everything a function may have. */
struct card {
    struct pci_device pci;
    uint32_t reg[16];
    unsigned writes;
    unsigned moves;
    uint64_t moved_to;
    unsigned written_reg, written_len, config_writes;
    uint32_t written_old;
    char *rom;
    uint32_t volatile_reg;
};

static uint64_t card_read(void *opaque, uint64_t offset, unsigned size)
{
    struct card *c = opaque;

    return c->reg[offset / 4 % 16];
}

static void card_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct card *c = opaque;

    c->reg[offset / 4 % 16] = (uint32_t)value;
    c->writes++;
}

static const struct region_ops card_ops = {
    .read = card_read,
    .write = card_write,
    .impl_min = 4,
    .impl_max = 4,
    .guest_max = 4,
};

static void card_moved(struct device *dev, unsigned bar, uint64_t address)
{
    struct card *c = DEVICE_CAST(struct card, dev);

    g_assert_cmpuint(bar, ==, 4);
    g_assert_true(address != c->moved_to);
    c->moves++;
    c->moved_to = address;
}

static void card_config_written(struct device *dev, unsigned reg, unsigned len, uint32_t old)
{
    struct card *c = DEVICE_CAST(struct card, dev);

    g_assert_cmpuint(reg / 4, ==, (reg + len - 1) / 4);
    c->written_reg = reg;
    c->written_len = len;
    c->written_old = old;
    c->config_writes++;
}

static void card_config_read(struct device *dev, unsigned reg, unsigned len)
{
    struct card *c = DEVICE_CAST(struct card, dev);

    if (reg <= 0xf8 && reg + len > 0xf8) {
        c->pci.config[0xf8] = (uint8_t)++c->volatile_reg;
    }
}

static int card_realize(struct device *dev, GError **err)
{
    struct card *c = DEVICE_CAST(struct card, dev);

    c->moved_to = PCI_BAR_UNMAPPED;
    pci_bar_set_size(&c->pci, 2, UINT64_C(1) << 33);
    pci_cap_add_pm(&c->pci, 0);
    pci_cap_add_msi(&c->pci, 0, 4, true);
    pci_cap_add_msix(&c->pci, 0, VECTORS, 1, TABLE, PBA);
    c->pci.writable[0xf0] = 0xff;
    c->pci.config[0xf1] = 0x77;
    return c->rom ? pci_rom_load(&c->pci, c->rom, err) : 0;
}

static const struct pci_info card_info = {
    .vendor = 0x1234,
    .device = 0xabcd,
    .subsystem_vendor = 0x5678,
    .subsystem = 0xef01,
    .class = 0x020103,
    .revision = 9,
    .intx_pin = 1,
    .bar =
        {
            [0] = {.type = PCI_BAR_IO, .size = 64, .ops = &card_ops, .name = "card-io"},
            [1] = {.type = PCI_BAR_MEM32,
                   .size = MSIX_BAR_SIZE,
                   .ops = &card_ops,
                   .name = "card-mem"},
            [2] = {.type = PCI_BAR_MEM64,
                   .prefetchable = true,
                   .ops = &card_ops,
                   .name = "card-mem64"},
            [4] = {.type = PCI_BAR_MEM32, .prefetchable = true, .size = 1 << 20},
        },
    .config_written = card_config_written,
    .config_read = card_config_read,
    .moved = card_moved,
};

static const struct property card_properties[] = {
    {.name = "romfile", .type = PROP_STRING, .offset = offsetof(struct card, rom)},
    {.name = NULL},
};

static const struct device_class card_class = {
    .name = "card",
    .size = sizeof(struct card),
    .properties = card_properties,
    .realize = card_realize,
    .pci = &card_info,
};

/* One I/O BAR and INTB#; a second kind for identity checks. */
static const struct pci_info small_info = {
    .vendor = 0x1234,
    .device = 0x0002,
    .class = 0x070000,
    .intx_pin = 2,
    .bar = {[0] = {.type = PCI_BAR_IO, .size = 64, .ops = &card_ops, .name = "small-io"}},
};
static const struct device_class small_class = {.name = "small",
                                                .size = sizeof(struct card),
                                                .pci = &small_info};

static uint32_t rd(struct machine *m, unsigned devfn, unsigned reg, unsigned len)
{
    return pci_config_read(m->pci, devfn, reg, len);
}

static void wr(struct machine *m, unsigned devfn, unsigned reg, uint32_t value, unsigned len)
{
    pci_config_write(m->pci, devfn, reg, value, len);
}

#define CARD PCI_DEVFN(5, 0)

static struct machine *new_machine(struct card **card)
{
    struct machine *m = fake_machine_new();

    *card = DEVICE_CAST(struct card, fake_pci_device(m, &card_class, CARD, NULL));
    return m;
}

static void test_header(void)
{
    struct card *c;
    struct machine *m = new_machine(&c);

    g_assert_true(m->hv->function[CARD]);
    g_assert_cmphex(rd(m, CARD, 0, 4), ==, 0xabcd1234);
    g_assert_cmphex(rd(m, CARD, 8, 4), ==, 0x02010309);
    g_assert_cmphex(rd(m, CARD, 0x2c, 4), ==, 0xef015678);
    g_assert_cmphex(rd(m, CARD, 0x3c, 2), ==, 0x0100);
    g_assert_cmphex(rd(m, CARD, 0x04, 4), ==, 0x00100000);
    /* Every write of ones: only what is writable stays. */
    for (unsigned reg = 0; reg < 0x40; reg += 4) {
        if (reg < 0x10 || reg > 0x33) {
            wr(m, CARD, reg, 0xffffffff, 4);
        }
    }
    g_assert_cmphex(rd(m, CARD, 0, 4), ==, 0xabcd1234);
    g_assert_cmphex(rd(m, CARD, 0x04, 4), ==, 0x00100547);
    g_assert_cmphex(rd(m, CARD, 0x08, 4), ==, 0x02010309);
    g_assert_cmphex(rd(m, CARD, 0x0c, 4), ==, 0x0000f8ff);
    g_assert_cmphex(rd(m, CARD, 0x3c, 4), ==, 0x000001ff);
    /* Status bits are cleared by ones, bytewise too, and by nothing else. */
    c->pci.config[7] = 0xf9;
    wr(m, CARD, 0x06, 0x0000, 2);
    g_assert_cmphex(rd(m, CARD, 0x06, 2), ==, 0xf910);
    wr(m, CARD, 0x07, 0x81, 1);
    g_assert_cmphex(rd(m, CARD, 0x06, 2), ==, 0x7810);
    wr(m, CARD, 0x04, 0xf9ff0000, 4);
    g_assert_cmphex(rd(m, CARD, 0x04, 4), ==, 0x00100000);

    /* Over a dword border, over the end, and functions that are not there. */
    g_assert_cmphex(rd(m, CARD, 1, 4), ==, 0x00abcd12);
    g_assert_cmphex(rd(m, CARD, 3, 2), ==, 0x00ab);
    wr(m, CARD, 0xee, 0x55667788, 4);
    g_assert_cmphex(rd(m, CARD, 0xee, 4), ==, 0x77660000);
    g_assert_cmphex(rd(m, CARD, 254, 4), ==, 0xffff0000);
    wr(m, CARD, 254, 0xffffffff, 4);
    g_assert_cmphex(rd(m, CARD, 256, 4), ==, 0xffffffff);
    g_assert_cmphex(rd(m, PCI_DEVFN(5, 1), 0, 4), ==, 0xffffffff);
    g_assert_cmphex(rd(m, 0xff, 0, 2), ==, 0xffff);
    g_assert_cmphex(rd(m, 0x1000, 0, 1), ==, 0xff);
    wr(m, 0x1000, 0, 0, 4);

    /* The chip's hooks. */
    c->config_writes = 0;
    wr(m, CARD, 0xf0, 0x12, 1);
    g_assert_cmpuint(c->written_reg, ==, 0xf0);
    g_assert_cmpuint(c->written_len, ==, 1);
    g_assert_cmphex(c->written_old, ==, 0x00007766);
    wr(m, CARD, 0xf3, 0xabcd, 2);
    g_assert_cmpuint(c->config_writes, ==, 3);
    g_assert_cmpuint(c->written_reg, ==, 0xf4);
    g_assert_cmphex(rd(m, CARD, 0xf8, 1), ==, 1);
    g_assert_cmphex(rd(m, CARD, 0xf8, 4), ==, 2);
    g_assert_cmphex(rd(m, CARD, 0xf4, 4), ==, 0);
    fake_machine_free(m);
}

static void test_attach(void)
{
    struct machine *m = fake_machine_new();
    g_autoptr(GError) err = NULL;
    struct pci_device *d[31];

    for (unsigned i = 0; i < 30; i++) {
        d[i] =
            (struct pci_device *)fake_pci_device(m, &small_class,
                                                 i == 3 ? PCI_DEVFN(7, 5) : PCI_DEVFN_AUTO, NULL);
    }
    /* Slot 7 is in use by one function: AUTO passes it by. */
    g_assert_cmphex(d[0]->devfn, ==, PCI_DEVFN(2, 0));
    g_assert_cmphex(d[4]->devfn, ==, PCI_DEVFN(5, 0));
    g_assert_cmphex(d[6]->devfn, ==, PCI_DEVFN(8, 0));
    g_assert_cmphex(d[29]->devfn, ==, PCI_DEVFN(31, 0));
    d[30] = (struct pci_device *)device_new(m, &small_class, "last", NULL);
    g_assert_cmpint(device_realize(&d[30]->dev, &err), ==, -EINVAL); /* not attached */
    g_clear_error(&err);
    g_assert_cmpint(pci_device_attach(m->pci, d[30], PCI_DEVFN_AUTO, &err), ==, -ENOSPC);
    g_clear_error(&err);
    g_assert_cmpint(pci_device_attach(m->pci, d[30], PCI_DEVFN(7, 5), &err), ==, -EBUSY);
    g_assert_nonnull(strstr(err->message, d[3]->dev.id));
    g_assert_nonnull(strstr(err->message, "last"));
    g_clear_error(&err);
    g_assert_cmpint(pci_device_attach(m->pci, d[30], 256, &err), ==, -ERANGE);
    g_clear_error(&err);
    g_assert_cmpint(pci_device_attach(m->pci, d[30], PCI_DEVFN(7, 0), &err), ==, 0);
    g_assert_cmpint(device_realize(&d[30]->dev, &err), ==, 0);
    g_assert_true(pci_device_at(m->pci, PCI_DEVFN(7, 0)) == d[30]);
    g_assert_true(pci_device_next(m->pci, 0) == d[0]);
    g_assert_true(pci_device_next(m->pci, PCI_DEVFN(7, 1)) == d[3]);
    g_assert_null(pci_device_at(m->pci, 0));
    g_assert_null(pci_device_at(m->pci, 256));
    device_free(&d[30]->dev);
    g_assert_false(m->hv->function[PCI_DEVFN(7, 0)]);
    g_assert_null(pci_device_at(m->pci, PCI_DEVFN(7, 0)));
    fake_machine_free(m);
}

/* What the guest reads back after writing ones. */
static void test_bar_sizes(void)
{
    struct card *c;
    struct machine *m = new_machine(&c);
    static const uint32_t expect[] = {0xffffffc1, 0xffffc000, 0x0000000c, 0xfffffffe,
                                      0xfff00008, 0,          0,          0};

    for (int decode = 0; decode < 2; decode++) {
        wr(m, CARD, 4, decode ? 3 : 0, 2);
        for (unsigned i = 0; i < G_N_ELEMENTS(expect); i++) {
            wr(m, CARD, 0x10 + 4 * i, 0xffffffff, 4);
        }
        for (unsigned i = 0; i < G_N_ELEMENTS(expect); i++) {
            g_assert_cmphex(rd(m, CARD, 0x10 + 4 * i, 4), ==, i == 7 ? 0xef015678 : expect[i]);
        }
        /* Sizing with decoding on places nothing. */
        for (unsigned bar = 0; bar <= PCI_BAR_ROM; bar++) {
            g_assert_true(c->pci.bar[bar].address == PCI_BAR_UNMAPPED);
        }
    }
    g_assert_cmpuint(m->hv->ranges_added, ==, 0);
    g_assert_cmpuint(c->moves, ==, 0);
    fake_machine_free(m);
}

static void test_bar_moves(void)
{
    struct card *c;
    struct machine *m = new_machine(&c);

    wr(m, CARD, 0x10, 0xc005, 4);
    wr(m, CARD, 0x14, 0xf0000000, 4);
    g_assert_null(aspace_find(m->pio, 0xc000)); /* decoding is off */
    wr(m, CARD, 4, 1, 2);
    g_assert_true(aspace_find(m->pio, 0xc000) == &c->pci.bar[0].region);
    g_assert_cmphex(c->pci.bar[0].address, ==, 0xc000);
    g_assert_null(aspace_find(m->mmio, 0xf0000000));
    wr(m, CARD, 4, 3, 2);
    g_assert_true(aspace_find(m->mmio, 0xf0000000) == &c->pci.bar[1].region);
    aspace_write(m->pio, 0xc004, 0x12345678, 4);
    g_assert_cmphex(c->reg[1], ==, 0x12345678);
    g_assert_cmphex(aspace_read(m->pio, 0xc006, 1), ==, 0x34);
    g_assert_cmphex(aspace_read(m->mmio, 0xf0000004, 2), ==, 0x5678);

    /* Moves while decoded, byte by byte: every address on the way is decoded, too. */
    wr(m, CARD, 0x11, 0xd1, 1);
    g_assert_null(aspace_find(m->pio, 0xc000));
    g_assert_nonnull(aspace_find(m->pio, 0xd100));
    wr(m, CARD, 0x10, 0x40, 1);
    g_assert_cmphex(c->pci.bar[0].address, ==, 0xd140);
    g_assert_cmphex(aspace_read(m->pio, 0xd144, 4), ==, 0x12345678);
    uint64_t added = m->hv->ranges_added;
    wr(m, CARD, 0x10, 0xd141, 4); /* the same place: no calls */
    wr(m, CARD, 0x3c, 5, 1);
    g_assert_cmpuint(m->hv->ranges_added, ==, added);

    /* Where nothing can be: 0, beyond the space. */
    wr(m, CARD, 0x10, 0, 4);
    g_assert_cmphex(c->pci.bar[0].address, ==, PCI_BAR_UNMAPPED);
    wr(m, CARD, 0x10, 0x1c000, 4);
    g_assert_cmphex(c->pci.bar[0].address, ==, PCI_BAR_UNMAPPED);
    wr(m, CARD, 0x10, 0xffc0, 4);
    g_assert_cmphex(c->pci.bar[0].address, ==, 0xffc0);
    wr(m, CARD, 0x14, 0, 4);
    g_assert_cmphex(c->pci.bar[1].address, ==, PCI_BAR_UNMAPPED);

    /* 64 bits: low and high half one after the other. 8 GiB are aligned to 8 GiB. */
    wr(m, CARD, 0x1c, 2, 4);
    wr(m, CARD, 0x18, 0xffffffff, 4);
    g_assert_cmphex(c->pci.bar[2].address, ==, UINT64_C(0x200000000));
    aspace_write(m->mmio, UINT64_C(0x3fffffffc), 0x99, 4);
    g_assert_cmphex(c->reg[15], ==, 0x99);
    wr(m, CARD, 0x1c, 0x10000, 4); /* beyond 48 bits */
    g_assert_cmphex(c->pci.bar[2].address, ==, PCI_BAR_UNMAPPED);
    wr(m, CARD, 0x1c, 0xfffe, 4);
    g_assert_cmphex(c->pci.bar[2].address, ==, UINT64_C(0xfffe00000000));

    /* Memory of the device itself: told once per change. */
    wr(m, CARD, 0x20, 0xe0000000, 4);
    g_assert_cmpuint(c->moves, ==, 1);
    g_assert_cmphex(c->moved_to, ==, 0xe0000000);
    wr(m, CARD, 0x20, 0xe0100000, 4);
    g_assert_cmpuint(c->moves, ==, 2);
    g_assert_null(aspace_find(m->mmio, 0xe0100000));
    wr(m, CARD, 4, 0, 2);
    g_assert_cmphex(c->moved_to, ==, PCI_BAR_UNMAPPED);
    g_assert_cmpuint(c->moves, ==, 3);
    g_assert_cmpuint(m->hv->ranges_added, ==, m->hv->ranges_deleted);
    fake_machine_free(m);
}

/* Two functions at one address, a fixed region in the way, a hypervisor that says no: undecoded,
 * then tried again. */
static void test_bar_overlap(void)
{
    struct card *c;
    struct machine *m = new_machine(&c);
    struct card *s =
        DEVICE_CAST(struct card, fake_pci_device(m, &small_class, PCI_DEVFN(6, 0), NULL));
    uint64_t mistakes = log_guest_count(LOG_PCI);
    struct region fixed;

    wr(m, CARD, 0x10, 0xc000, 4);
    wr(m, CARD, 4, 1, 2);
    wr(m, s->pci.devfn, 0x10, 0xc000, 4);
    wr(m, s->pci.devfn, 4, 1, 2);
    g_assert_true(aspace_find(m->pio, 0xc000) == &c->pci.bar[0].region);
    g_assert_cmphex(s->pci.bar[0].address, ==, PCI_BAR_UNMAPPED);
    g_assert_cmpuint(log_guest_count(LOG_PCI), ==, mistakes + 1);
    /* The first moves away: the other is decoded without being touched. */
    wr(m, CARD, 0x10, 0xc040, 4);
    g_assert_true(aspace_find(m->pio, 0xc000) == &s->pci.bar[0].region);
    g_assert_true(aspace_find(m->pio, 0xc040) == &c->pci.bar[0].region);
    /* Into the other again, and away by switching decoding off. */
    wr(m, s->pci.devfn, 0x10, 0xc040, 4);
    g_assert_cmphex(s->pci.bar[0].address, ==, PCI_BAR_UNMAPPED);
    wr(m, CARD, 4, 0, 2);
    g_assert_cmphex(s->pci.bar[0].address, ==, 0xc040);

    region_init(&fixed, "fixed", &card_ops, c, 8);
    g_assert_cmpint(region_place(m->pio, &fixed, 0x3f8, NULL), ==, 0);
    wr(m, s->pci.devfn, 0x10, 0x3c0, 4);
    g_assert_cmphex(s->pci.bar[0].address, ==, PCI_BAR_UNMAPPED);
    g_assert_true(aspace_find(m->pio, 0x3f8) == &fixed);
    g_assert_cmphex(rd(m, s->pci.devfn, 0x10, 4), ==, 0x3c1);
    region_remove(&fixed);

    m->hv->fail_range_add = ENOSPC;
    wr(m, s->pci.devfn, 0x10, 0xd000, 4);
    g_assert_cmphex(s->pci.bar[0].address, ==, PCI_BAR_UNMAPPED);
    wr(m, s->pci.devfn, 0x10, 0xd000, 4);
    g_assert_cmphex(s->pci.bar[0].address, ==, 0xd000);

    /* BARs of one function change places with one write. */
    wr(m, CARD, 0x14, 0xf0000000, 4);
    wr(m, CARD, 4, 2, 2);
    wr(m, CARD, 0x20, 0xf0000000,
       4); /* ours over our own registers: the device's memory is not in our space */
    g_assert_cmphex(c->moved_to, ==, 0xf0000000);
    g_assert_cmphex(c->pci.bar[1].address, ==, 0xf0000000);
    device_free(&c->pci.dev);
    g_assert_null(aspace_find(m->mmio, 0xf0000000));
    fake_machine_free(m);
}

static void test_rom(void)
{
    struct machine *m = fake_machine_new();
    g_autofree char *file = NULL, *setting = NULL;
    char image[3000];
    struct card *c;
    g_autoptr(GError) err = NULL;
    int fd = g_file_open_tmp("xendm-rom-XXXXXX", &file, NULL);

    for (unsigned i = 0; i < sizeof(image); i++) {
        image[i] = (char)(i * 3);
    }
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, image, sizeof(image)), ==, sizeof(image));
    close(fd);
    setting = g_strdup_printf("romfile=%s", file);
    c = DEVICE_CAST(struct card, fake_pci_device(m, &card_class, CARD, setting, NULL));
    g_unlink(file);
    wr(m, CARD, 0x30, 0xffffffff, 4);
    g_assert_cmphex(rd(m, CARD, 0x30, 4), ==, 0xfffff001);
    wr(m, CARD, 0x30, 0xf1000000, 4);
    wr(m, CARD, 4, 2, 2);
    g_assert_null(aspace_find(m->mmio, 0xf1000000)); /* ROM enable is off */
    wr(m, CARD, 0x30, 1, 1);
    g_assert_nonnull(aspace_find(m->mmio, 0xf1000000));
    for (unsigned size = 1; size <= 8; size *= 2) {
        for (unsigned at = 0; at + size <= sizeof(image); at += 97) {
            uint64_t expect = 0;

            memcpy(&expect, image + at, size);
            g_assert_cmphex(aspace_read(m->mmio, 0xf1000000 + at, size), ==, expect);
        }
    }
    g_assert_cmphex(aspace_read(m->mmio, 0xf1000fff, 1), ==, 0);
    aspace_write(m->mmio, 0xf1000000, 0x1234, 4);
    g_assert_cmphex(aspace_read(m->mmio, 0xf1000001, 1), ==, 3);
    wr(m, CARD, 4, 0, 2);
    g_assert_null(aspace_find(m->mmio, 0xf1000000));
    fake_machine_free(m);

    m = fake_machine_new();
    c = DEVICE_CAST(struct card, device_new(m, &card_class, NULL, NULL));
    device_set(&c->pci.dev, "romfile", file, NULL);
    g_assert_cmpint(pci_device_attach(m->pci, &c->pci, CARD, NULL), ==, 0);
    g_assert_cmpint(device_realize(&c->pci.dev, &err), <, 0);
    g_assert_nonnull(strstr(err->message, file));
    g_assert_false(m->hv->function[CARD]);
    fake_machine_free(m);
}

/* romfile= and rombar= of every function; a default where its package is. */
static void test_rom_properties(void)
{
    static const struct {
        const char *setting, *value;
        bool dirs, rom;
    } cases[] = {
        {NULL, NULL, true, true},     {NULL, NULL, false, false},
        {"romfile", "", true, false}, {"rombar", "0", true, false},
        {"rombar", "1", true, true},  {"romfile", "missing.rom", true, false},
    };
    g_autofree char *dir = g_dir_make_tmp("xendm-pci-XXXXXX", NULL);
    g_autofree char *dirs = g_strdup_printf("/nonexistent:%s", dir);
    g_autofree char *file = g_build_filename(dir, "wants.rom", NULL);
    static const struct pci_info info = {.vendor = 0x1234,
                                         .device = 3,
                                         .class = 0x020000,
                                         .rom = "wants.rom"};
    static const struct device_class class = {.name = "wants",
                                              .size = sizeof(struct pci_device),
                                              .pci = &info};

    g_assert_true(g_file_set_contents(file, "\x55\xaa", 2, NULL));
    for (size_t i = 0; i < 2 * G_N_ELEMENTS(cases); i++) {
        const char *setting = cases[i / 2].setting, *value = cases[i / 2].value;
        struct machine *m = fake_machine_new();
        struct device *dev = device_new(m, &class, NULL, NULL);
        bool there = i % 2 == 0; /* then the file goes */
        bool refused = setting && strcmp(value, "missing.rom") == 0;
        GError *err = NULL;

        m->firmware_dirs = cases[i / 2].dirs ? dirs : NULL;
        if (!there) {
            g_unlink(file);
        }
        if (setting) {
            g_assert_cmpint(device_set(dev, setting, value, NULL), ==, 0);
        }
        g_assert_cmpint(pci_device_attach(m->pci, (struct pci_device *)dev, CARD, NULL), ==, 0);
        g_assert_cmpint(device_realize(dev, &err), ==, refused ? -EINVAL : 0);
        g_assert_true(refused == (err && strstr(err->message, "missing.rom")));
        g_clear_error(&err);
        if (!refused) {
            wr(m, CARD, 0x30, 0xffffffff, 4);
            g_assert_cmphex(rd(m, CARD, 0x30, 4), ==, there && cases[i / 2].rom ? 0xfffff801 : 0);
        }
        fake_machine_free(m);
        g_assert_true(there || g_file_set_contents(file, "\x55\xaa", 2, NULL));
    }
    g_unlink(file);
    g_rmdir(dir);
}

/* Two functions of slot 3 on one pin, one on another pin. */
static void test_intx(void)
{
    struct machine *m = fake_machine_new();
    struct pci_device *a =
        (struct pci_device *)fake_pci_device(m, &small_class, PCI_DEVFN(3, 0), NULL);
    struct pci_device *b =
        (struct pci_device *)fake_pci_device(m, &small_class, PCI_DEVFN(3, 1), NULL);
    struct pci_device *c =
        (struct pci_device *)fake_pci_device(m, &card_class, PCI_DEVFN(3, 2), NULL);

    pci_intx_set(a, true);
    pci_intx_set(a, true);
    g_assert_true(m->hv->intx_level[3][1]);
    g_assert_cmpuint(m->hv->intx_changes, ==, 1);
    pci_intx_set(b, true);
    pci_intx_set(a, false);
    g_assert_true(m->hv->intx_level[3][1]);
    g_assert_cmpuint(m->hv->intx_changes, ==, 1);
    pci_intx_set(c, true);
    g_assert_true(m->hv->intx_level[3][0]);
    g_assert_cmpuint(m->hv->intx_changes, ==, 2);
    g_assert_cmphex(rd(m, b->devfn, 6, 1) & 8, ==, 8);
    g_assert_cmphex(rd(m, a->devfn, 6, 1) & 8, ==, 0);
    /* Command bit 10 holds it back; status shows it all the same. */
    wr(m, b->devfn, 4, 0x400, 2);
    g_assert_false(m->hv->intx_level[3][1]);
    g_assert_cmphex(rd(m, b->devfn, 6, 1) & 8, ==, 8);
    pci_intx_set(a, true);
    g_assert_true(m->hv->intx_level[3][1]);
    pci_intx_set(a, false);
    pci_intx_set(b, false);
    pci_intx_set(b, true);
    g_assert_false(m->hv->intx_level[3][1]);
    wr(m, b->devfn, 4, 0, 2);
    g_assert_true(m->hv->intx_level[3][1]);
    /* MSI and INTx exclude each other. */
    wr(m, c->devfn, c->cap_msi + 2u, 1, 2);
    g_assert_false(m->hv->intx_level[3][0]);
    wr(m, c->devfn, c->cap_msi + 2u, 0, 2);
    g_assert_true(m->hv->intx_level[3][0]);
    wr(m, c->devfn, c->cap_msix + 2u, 0x8000, 2);
    g_assert_false(m->hv->intx_level[3][0]);
    pci_device_reset(b);
    g_assert_false(m->hv->intx_level[3][1]);
    fake_machine_free(m);
}

static void test_msi(void)
{
    struct card *c;
    struct machine *m = new_machine(&c);
    unsigned cap = c->pci.cap_msi;

    g_assert_cmphex(rd(m, CARD, 0x34, 1), ==, 0x40);
    g_assert_cmphex(rd(m, CARD, 0x40, 2), ==, 0x4801);
    g_assert_cmphex(cap, ==, 0x48);
    g_assert_cmphex(rd(m, CARD, cap, 4), ==, 0x00845805);
    g_assert_cmphex(rd(m, CARD, 0x58, 4), ==, 0x00450011);
    g_assert_false(pci_msi_send(&c->pci, 0));
    wr(m, CARD, cap + 4, 0xfee01003, 4);
    wr(m, CARD, cap + 8, 0x1, 4);
    wr(m, CARD, cap + 12, 0xffff4143, 4);
    g_assert_cmphex(rd(m, CARD, cap + 4, 4), ==, 0xfee01000);
    wr(m, CARD, cap + 2, 0xffff, 2);
    g_assert_cmphex(rd(m, CARD, cap + 2, 2), ==, 0x00f5);
    g_assert_true(pci_msi_enabled(&c->pci));
    /* Without bus mastering no message leaves. */
    g_assert_true(pci_msi_send(&c->pci, 1));
    g_assert_cmpuint(m->hv->msi_count, ==, 0);
    wr(m, CARD, 4, 4, 2);
    g_assert_true(pci_msi_send(&c->pci, 1));
    g_assert_cmpuint(m->hv->msi_count, ==, 1);
    g_assert_cmphex(m->hv->msi_address, ==, UINT64_C(0x1fee01000));
    g_assert_cmphex(m->hv->msi_data, ==, 0x4141); /* more than 4 asked for: 4 */
    wr(m, CARD, cap + 2, 0x0011, 2);              /* two vectors: 3 shares with 1 */
    g_assert_true(pci_msi_send(&c->pci, 3));
    g_assert_cmphex(m->hv->msi_data, ==, 0x4143);
    g_assert_true(pci_msi_send(&c->pci, 2));
    g_assert_cmphex(m->hv->msi_data, ==, 0x4142);
    wr(m, CARD, cap + 2, 0, 2);
    g_assert_false(pci_msi_send(&c->pci, 0));
    fake_machine_free(m);
}

#define MEM UINT64_C(0xf0000000)

static void msix_setup(struct machine *m, struct card *c)
{
    wr(m, CARD, 0x14, (uint32_t)MEM, 4);
    wr(m, CARD, 4, 6, 2);
    wr(m, CARD, c->pci.cap_msix + 2u, 0x8000, 2);
}

static uint64_t table(unsigned vector)
{
    return MEM + TABLE + 16 * vector;
}

static void test_msix(void)
{
    struct card *c;
    struct machine *m = new_machine(&c);
    struct aspace *mmio = m->mmio;
    unsigned cap = c->pci.cap_msix;

    g_assert_cmphex(rd(m, CARD, cap + 4, 4), ==, TABLE | 1);
    g_assert_cmphex(rd(m, CARD, cap + 8, 4), ==, PBA | 1);
    g_assert_false(pci_msix_send(&c->pci, 0));
    msix_setup(m, c);
    wr(m, CARD, cap + 2, 0x3fff, 2); /* size is fixed */
    g_assert_cmphex(rd(m, CARD, cap + 2, 2), ==, VECTORS - 1);
    wr(m, CARD, cap + 2, 0x8000, 2);
    /* After reset every vector is masked. */
    g_assert_cmphex(aspace_read(mmio, table(69) + 12, 4), ==, 1);
    aspace_write(mmio, table(69), UINT64_C(0x12fee00007), 8);
    aspace_write(mmio, table(69) + 8, 0x4242, 4);
    g_assert_cmphex(aspace_read(mmio, table(69), 8), ==, UINT64_C(0x12fee00004));
    g_assert_cmphex(aspace_read(mmio, table(69) + 4, 4), ==, 0x12);
    g_assert_true(pci_msix_send(&c->pci, 69));
    g_assert_cmpuint(m->hv->msi_count, ==, 0);
    g_assert_cmphex(aspace_read(mmio, MEM + PBA + 8, 8), ==, 1 << 5);
    g_assert_cmphex(aspace_read(mmio, MEM + PBA + 8, 4), ==, 1 << 5);
    aspace_write(mmio, MEM + PBA + 8, 0, 8); /* read-only */
    g_assert_cmphex(aspace_read(mmio, MEM + PBA + 8, 4), ==, 1 << 5);
    /* Unmasking delivers, once. */
    aspace_write(mmio, table(69) + 12, 0xfffffffe, 4);
    g_assert_cmpuint(m->hv->msi_count, ==, 1);
    g_assert_cmphex(m->hv->msi_address, ==, UINT64_C(0x12fee00004));
    g_assert_cmphex(m->hv->msi_data, ==, 0x4242);
    g_assert_cmphex(aspace_read(mmio, table(69) + 8, 8), ==, 0x4242);
    g_assert_cmphex(aspace_read(mmio, MEM + PBA + 8, 8), ==, 0);
    g_assert_true(pci_msix_send(&c->pci, 69));
    g_assert_cmpuint(m->hv->msi_count, ==, 2);
    /* Function mask. */
    wr(m, CARD, cap + 2, 0xc000, 2);
    g_assert_true(pci_msix_send(&c->pci, 69));
    g_assert_true(pci_msix_send(&c->pci, 69));
    g_assert_cmpuint(m->hv->msi_count, ==, 2);
    wr(m, CARD, cap + 2, 0x8000, 2);
    g_assert_cmpuint(m->hv->msi_count, ==, 3);
    /* Bus mastering. */
    wr(m, CARD, 4, 2, 2);
    g_assert_true(pci_msix_send(&c->pci, 69));
    g_assert_cmpuint(m->hv->msi_count, ==, 3);
    wr(m, CARD, 4, 6, 2);
    g_assert_cmpuint(m->hv->msi_count, ==, 4);
    g_assert_false(pci_msix_send(&c->pci, VECTORS));
    g_assert_false(pci_msix_send(&c->pci, UINT_MAX));

    /* The rest of the BAR is the device's, by its own rules (dwords only, up to 4 bytes). */
    aspace_write(mmio, MEM + 8, 0x1234, 4);
    g_assert_cmphex(c->reg[2], ==, 0x1234);
    g_assert_cmphex(aspace_read(mmio, MEM + 9, 1), ==, 0x12);
    g_assert_cmphex(aspace_read(mmio, MEM + 8, 8), ==, UINT64_MAX);
    unsigned writes = c->writes;

    /* What is no dword of the table is nothing, also where it leaves the table. */
    aspace_write(mmio, table(0), 0x55, 1);
    aspace_write(mmio, table(0) + 2, 0x55555555, 4);
    aspace_write(mmio, table(0) + 4, 0x5555555555, 8);
    aspace_write(mmio, MEM + TABLE - 4, UINT64_MAX, 8);
    aspace_write(mmio, MEM + TABLE + 16 * VECTORS - 4, UINT64_MAX, 8);
    g_assert_cmphex(aspace_read(mmio, table(0), 8), ==, 0);
    g_assert_cmphex(aspace_read(mmio, table(0), 2), ==, 0xffff);
    g_assert_cmphex(aspace_read(mmio, MEM + TABLE + 16 * VECTORS, 4), ==,
                    c->reg[TABLE / 4 % 16 + 24 % 16]);
    g_assert_cmpuint(c->writes, ==, writes);
    pci_device_reset(&c->pci);
    g_assert_cmphex(c->pci.msix_table[69].control, ==, 1);
    g_assert_false(pci_msix_enabled(&c->pci));
    fake_machine_free(m);
}

/* ---- MSI-X in a BAR whose other registers are a table ---- */

#define TABLED_REGS(R) R(first, 0x00, 32, .rw = UINT32_MAX) R(second, 0x10, 64, .rw = 0xff)

struct tabled {
    struct pci_device pci;
    REG_FIELDS(TABLED_REGS)
};

#define REG_STRUCT struct tabled
static const struct reg tabled_regs[] = {REG_ROWS(TABLED_REGS)};
static const struct reg_block tabled_block = {"tabled", tabled_regs, 0x20, NULL};

static int tabled_realize(struct device *dev, GError **err)
{
    pci_cap_add_msix(DEVICE_CAST(struct pci_device, dev), 0, 2, 0, 0x800, 0xc00);
    return 0;
}

static const struct pci_info tabled_info = {
    .vendor = 0x1234,
    .device = 0xabce,
    .bar = {[0] = {.type = PCI_BAR_MEM64, .size = 0x1000, .regs = &tabled_block}},
};

static const struct device_class tabled_class = {
    .name = "tabled",
    .size = sizeof(struct tabled),
    .realize = tabled_realize,
    .pci = &tabled_info,
};

static void test_msix_beside_registers(void)
{
    struct machine *m = fake_machine_new();
    struct tabled *t = DEVICE_CAST(struct tabled, fake_pci_device(m, &tabled_class, CARD, NULL));

    wr(m, CARD, 0x10, (uint32_t)MEM, 4);
    wr(m, CARD, 4, 6, 2);
    wr(m, CARD, t->pci.cap_msix + 2u, 0x8000, 2);
    aspace_write(m->mmio, MEM, 0x12345678, 4);
    aspace_write(m->mmio, MEM + 0x10, UINT64_MAX, 8);
    g_assert_cmphex(t->first, ==, 0x12345678);
    g_assert_cmphex(aspace_read(m->mmio, MEM + 2, 2), ==, 0x1234);
    g_assert_cmphex(aspace_read(m->mmio, MEM + 0x10, 8), ==, 0xff);
    g_assert_cmphex(aspace_read(m->mmio, MEM + 0x400, 4), ==, 0); /* a gap of the table's */
    aspace_write(m->mmio, MEM + 0x810, 0xfee00000, 8);
    aspace_write(m->mmio, MEM + 0x818, 0x31, 8);
    g_assert_true(pci_msix_send(&t->pci, 1));
    g_assert_cmphex(m->hv->msi_data, ==, 0x31);
    g_assert_true(pci_msix_send(&t->pci, 0));
    g_assert_cmphex(aspace_read(m->mmio, MEM + 0xc00, 8), ==, 1);
    /* An event of Xen's, number 0x17: masked elsewhere. */
    aspace_write(m->mmio, MEM + 0x800, 0xfee17000, 8);
    aspace_write(m->mmio, MEM + 0x808, UINT64_C(1) << 32 | 0x4300, 8);
    g_assert_cmphex(m->hv->msi_data, ==, 0x4300);
    g_assert_cmphex(m->hv->msi_address, ==, 0xfee17000);
    g_assert_cmphex(aspace_read(m->mmio, MEM + 0xc00, 8), ==, 0);
    fake_machine_free(m);
}

static void test_power(void)
{
    struct card *c;
    struct machine *m = new_machine(&c);
    unsigned pmcsr = c->pci.cap_pm + 4u;
    uint8_t buf[4];

    g_assert_cmphex(rd(m, CARD, c->pci.cap_pm + 2u, 2), ==, 0x0003);
    wr(m, CARD, 0x10, 0xc000, 4);
    g_assert_cmpint(dma_read(&c->pci.dev, 0x1000, buf, 4), ==, -EPERM);
    wr(m, CARD, 4, 7, 2);
    g_assert_cmpint(dma_read(&c->pci.dev, 0x1000, buf, 4), ==, 0);
    wr(m, CARD, pmcsr, 1, 1); /* D1 is not there */
    g_assert_cmphex(rd(m, CARD, pmcsr, 2), ==, 0x0008);
    g_assert_nonnull(aspace_find(m->pio, 0xc000));
    wr(m, CARD, pmcsr, 0xffff, 2);
    g_assert_cmphex(rd(m, CARD, pmcsr, 2), ==, 0x000b);
    g_assert_null(aspace_find(m->pio, 0xc000));
    g_assert_cmpint(dma_read(&c->pci.dev, 0x1000, buf, 4), ==, -EPERM);
    wr(m, CARD, pmcsr, 2, 2); /* nor D2: stays in D3 */
    g_assert_cmphex(rd(m, CARD, pmcsr, 2), ==, 0x000b);
    g_assert_cmphex(rd(m, CARD, 0, 4), ==, 0xabcd1234);
    wr(m, CARD, pmcsr, 0, 2);
    g_assert_nonnull(aspace_find(m->pio, 0xc000));
    g_assert_cmpint(dma_read(&c->pci.dev, 0x1000, buf, 4), ==, 0);
    wr(m, CARD, pmcsr, 3, 2);
    pci_device_reset(&c->pci);
    g_assert_cmphex(rd(m, CARD, pmcsr, 2), ==, 0x0008);
    g_assert_cmphex(rd(m, CARD, 4, 2), ==, 0);
    fake_machine_free(m);
}

static void test_pull(void)
{
    struct card *c;
    struct machine *m = new_machine(&c);
    uint8_t buf[4];

    machine_complete(m);
    wr(m, CARD, 0x10, 0xc000, 4);
    wr(m, CARD, 4, 7, 2);
    wr(m, CARD, 0xf0, 0x99, 1);
    pci_intx_set(&c->pci, true);
    pci_device_pull(&c->pci);
    pci_device_pull(&c->pci);
    g_assert_cmphex(rd(m, CARD, 0, 4), ==, 0xffffffff);
    g_assert_cmphex(rd(m, CARD, 0x10, 1), ==, 0xff);
    wr(m, CARD, 4, 0, 2);
    g_assert_null(aspace_find(m->pio, 0xc000));
    g_assert_false(m->hv->intx_level[5][0]);
    g_assert_cmpint(dma_write(&c->pci.dev, 0x1000, buf, 4), ==, -EPERM);
    pci_intx_set(&c->pci, false);
    pci_intx_set(&c->pci, true);
    g_assert_false(m->hv->intx_level[5][0]);
    /* Over S3 it stays out, or the guest would have its disk twice. */
    machine_reset(m, RESET_WAKEUP);
    g_assert_cmphex(rd(m, CARD, 0, 4), ==, 0xffffffff);
    machine_reset(m, RESET_COLD);
    g_assert_cmphex(rd(m, CARD, 0, 4), ==, 0xabcd1234);
    g_assert_cmphex(rd(m, CARD, 4, 2), ==, 0);
    g_assert_cmphex(rd(m, CARD, 0x10, 4), ==, 1);
    g_assert_cmphex(rd(m, CARD, 0xf0, 1), ==, 0);
    fake_machine_free(m);
}

/* Reset of the header; the chip's own registers are the chip's. */
static void test_reset(void)
{
    struct card *c;
    struct machine *m = new_machine(&c);

    wr(m, CARD, 0x10, 0xc000, 4);
    wr(m, CARD, 0x20, 0xe0000000, 4);
    wr(m, CARD, 0x3c, 0x0b, 1);
    wr(m, CARD, 0x0c, 0x4010, 2);
    wr(m, CARD, 4, 7, 2);
    wr(m, CARD, 0xf0, 0x99, 1);
    pci_device_reset(&c->pci);
    g_assert_cmphex(rd(m, CARD, 4, 4), ==, 0x00100000);
    g_assert_cmphex(rd(m, CARD, 0x0c, 4), ==, 0);
    g_assert_cmphex(rd(m, CARD, 0x10, 4), ==, 1);
    g_assert_cmphex(rd(m, CARD, 0x20, 4), ==, 8);
    g_assert_cmphex(rd(m, CARD, 0x3c, 1), ==, 0);
    g_assert_cmphex(rd(m, CARD, 0xf0, 2), ==, 0x7799);
    g_assert_null(aspace_find(m->pio, 0xc000));
    g_assert_cmphex(c->moved_to, ==, PCI_BAR_UNMAPPED);
    g_assert_true(c->pci.dev.dma_blocked);
    fake_machine_free(m);
}

/* ---- what an instance chooses: types of BARs, a reset of the function alone ---- */

struct chooser {
    struct pci_device pci;
    unsigned resets;
    enum reset_reason why;
    bool busy;
};

static int chooser_realize(struct device *dev, GError **err)
{
    struct chooser *c = DEVICE_CAST(struct chooser, dev);

    pci_bar_set_type(&c->pci, 0, PCI_BAR_MEM64, true); /* the class says I/O */
    pci_bar_set_size(&c->pci, 0, UINT64_C(1) << 32);
    pci_bar_set_type(&c->pci, 2, PCI_BAR_IO, false);
    pci_bar_set_size(&c->pci, 2, 32);
    pci_cap_add_af(&c->pci, 0);
    c->pci.config[0xf0] = 0x11;
    c->pci.writable[0xf0] = 0xff;
    return 0;
}

static void chooser_reset(struct device *dev, enum reset_reason why)
{
    struct chooser *c = DEVICE_CAST(struct chooser, dev);

    c->resets++;
    c->why = why;
}

static bool chooser_busy(struct device *dev)
{
    return DEVICE_CAST(struct chooser, dev)->busy;
}

static const struct pci_info chooser_info = {
    .vendor = 0x1234,
    .device = 0x0003,
    .bar = {[0] = {.type = PCI_BAR_IO, .ops = &card_ops, .name = "chooser-0"},
            [2] = {.type = PCI_BAR_MEM32, .ops = &card_ops, .name = "chooser-2"}},
};
static const struct device_class chooser_class = {.name = "chooser",
                                                  .size = sizeof(struct chooser),
                                                  .realize = chooser_realize,
                                                  .reset = chooser_reset,
                                                  .busy = chooser_busy,
                                                  .pci = &chooser_info};

static void test_bar_types(void)
{
    struct machine *m = fake_machine_new();
    struct chooser *c = DEVICE_CAST(struct chooser, fake_pci_device(m, &chooser_class, CARD, NULL));

    g_assert_cmphex(rd(m, CARD, 0x10, 4), ==, 0xc);
    g_assert_cmphex(rd(m, CARD, 0x18, 4), ==, 1);
    wr(m, CARD, 0x10, 0xffffffff, 4);
    wr(m, CARD, 0x14, 0xffffffff, 4);
    wr(m, CARD, 0x18, 0xffffffff, 4);
    g_assert_cmphex(rd(m, CARD, 0x10, 4), ==, 0xc);
    g_assert_cmphex(rd(m, CARD, 0x14, 4), ==, 0xffffffff);
    g_assert_cmphex(rd(m, CARD, 0x18, 4), ==, 0xffffffe1);
    wr(m, CARD, 0x14, 0x10, 4);
    wr(m, CARD, 0x18, 0xc000, 4);
    wr(m, CARD, 4, 3, 2);
    g_assert_true(aspace_find(m->mmio, UINT64_C(0x1000000000)) == &c->pci.bar[0].region);
    g_assert_true(aspace_find(m->pio, 0xc000) == &c->pci.bar[2].region);
    fake_machine_free(m);
}

static void test_function_reset(void)
{
    struct machine *m = fake_machine_new();
    struct chooser *c = DEVICE_CAST(struct chooser, fake_pci_device(m, &chooser_class, CARD, NULL));
    unsigned at = rd(m, CARD, 0x34, 1), before = c->resets;

    g_assert_cmphex(rd(m, CARD, at, 4), ==, 0x03060013);
    wr(m, CARD, 0x18, 0xc000, 4);
    wr(m, CARD, 4, 7, 2);
    wr(m, CARD, 0xf0, 0x99, 1);
    c->busy = true;
    g_assert_cmphex(rd(m, CARD, at + 4, 2), ==, 0x0100);
    g_assert_cmphex(c->pci.config[at + 5], ==, 0); /* it is no state */
    c->busy = false;
    g_assert_cmphex(rd(m, CARD, at + 4, 2), ==, 0);
    wr(m, CARD, at + 4, 0xfe, 1); /* not the bit */
    g_assert_cmpuint(c->resets, ==, before);
    g_assert_true(aspace_find(m->pio, 0xc000) == &c->pci.bar[2].region);
    wr(m, CARD, at + 2, 0x0001ffff, 4); /* whatever the width */
    g_assert_cmpuint(c->resets, ==, before + 1);
    g_assert_cmpint(c->why, ==, RESET_DEVICE);
    g_assert_null(aspace_find(m->pio, 0xc000));
    g_assert_cmphex(rd(m, CARD, 4, 2), ==, 0);
    g_assert_cmphex(rd(m, CARD, 0x18, 4), ==, 1);
    g_assert_cmphex(rd(m, CARD, 0xf0, 1), ==, 0x11);
    g_assert_cmphex(rd(m, CARD, at, 4), ==, 0x03060013);
    g_assert_cmphex(rd(m, CARD, at + 4, 2), ==, 0);
    g_assert_true(c->pci.dev.dma_blocked);
    fake_machine_free(m);
}

static void test_state(void)
{
    struct card *a, *b;
    struct machine *m = new_machine(&a), *n = new_machine(&b);

    wr(m, CARD, 0x10, 0xc000, 4);
    wr(m, CARD, 0x1c, 2, 4);
    wr(m, CARD, 0x20, 0xe0000000, 4);
    msix_setup(m, a);
    wr(m, CARD, 4, 7, 2);
    wr(m, CARD, 0xf0, 0x31, 1);
    aspace_write(m->mmio, table(3), 0xfee00000, 8);
    pci_msix_send(&a->pci, 65);
    wr(m, CARD, a->pci.cap_msix + 2u, 0, 2);
    pci_intx_set(&a->pci, true);
    b->volatile_reg = a->volatile_reg;
    fake_state_round_trip(&a->pci.dev, &b->pci.dev);
    g_assert_true(aspace_find(n->pio, 0xc000) == &b->pci.bar[0].region);
    g_assert_true(aspace_find(n->mmio, MEM) == &b->pci.bar[1].region);
    g_assert_cmphex(b->pci.bar[2].address, ==, UINT64_C(0x200000000));
    g_assert_cmphex(b->pci.bar[4].address, ==, 0xe0000000);
    g_assert_cmpuint(b->moves, ==, 0); /* the memory is there already */
    g_assert_cmphex(aspace_read(n->mmio, table(3), 4), ==, 0xfee00000);
    g_assert_cmphex(aspace_read(n->mmio, MEM + PBA + 8, 4), ==, 2);
    g_assert_cmphex(rd(n, CARD, 0xf0, 2), ==, 0x7731);
    g_assert_false(b->pci.dev.dma_blocked);
    /* The wire is high in the hypervisor's state: counted without a call, lowered with one. */
    g_assert_cmpuint(n->hv->intx_changes, ==, 0);
    g_assert_true(b->pci.intx.level);
    pci_intx_set(&b->pci, false);
    g_assert_cmpuint(n->hv->intx_changes, ==, 1);

    pci_device_pull(&a->pci);
    fake_machine_free(n);
    n = new_machine(&b);
    fake_state_round_trip(&a->pci.dev, &b->pci.dev);
    g_assert_cmphex(rd(n, CARD, 0, 4), ==, 0xffffffff);
    g_assert_null(aspace_find(n->pio, 0xc000));
    fake_machine_free(m);
    fake_machine_free(n);
}

static void test_state_refused(void)
{
    struct card *a;
    struct machine *m = new_machine(&a);
    struct device *other = fake_pci_device(m, &small_class, PCI_DEVFN(9, 0), NULL);
    GByteArray *bytes = g_byte_array_new();
    g_autoptr(GError) err = NULL;
    struct state_plan *plan;

    state_save(&pci_state, other, bytes);
    plan = state_parse_sized(&pci_state, sizeof(struct card), bytes->data, bytes->len, &err);
    g_assert_no_error(err);
    g_assert_false(state_fits(plan, a, &err));
    g_assert_nonnull(strstr(err->message, "register 0x02"));
    state_plan_free(plan);
    g_clear_error(&err);

    /* The same device with another table. */
    g_byte_array_set_size(bytes, 0);
    uint32_t right = a->pci.msix_table_bytes;
    a->pci.msix_table_bytes -= 16;
    state_save(&pci_state, a, bytes);
    a->pci.msix_table_bytes = right;
    plan = state_parse_sized(&pci_state, sizeof(struct card), bytes->data, bytes->len, &err);
    g_assert_false(state_fits(plan, a, &err));
    g_assert_nonnull(strstr(err->message, "msix_table"));
    state_plan_free(plan);
    g_byte_array_free(bytes, TRUE);
    fake_machine_free(m);
}

/* Config space of ones, of zeros and of noise: nothing that only the chip may set changes, and
 * nothing breaks. */
static void test_state_hostile(void)
{
    GRand *rand = g_rand_new_with_seed(11);

    for (unsigned turn = 0; turn < 300; turn++) {
        struct card *a, *b;
        struct machine *m = new_machine(&a), *n = new_machine(&b);
        uint8_t reset[PCI_CONFIG_SIZE];

        memcpy(reset, a->pci.config, sizeof(reset));
        for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
            bool identity = i < 4 || (i >= 9 && i < 12) || i == 0x0e || i == 0x34 || i == 0x3d;

            if (!identity) {
                a->pci.config[i] = turn == 0 ? 0xff : turn == 1 ? 0 : (uint8_t)g_rand_int(rand);
            }
        }
        for (unsigned i = 0; i < VECTORS; i++) {
            a->pci.msix_table[i] =
                (struct msix_entry){g_rand_int(rand) | (uint64_t)g_rand_int(rand) << 32,
                                    g_rand_int(rand), g_rand_int(rand)};
        }
        a->pci.msix_pba[0] = a->pci.msix_pba[1] = UINT64_MAX;

        GByteArray *bytes = g_byte_array_new();
        GError *err = NULL;
        struct state_plan *plan;

        state_save(&pci_state, a, bytes);
        plan = state_parse_sized(&pci_state, sizeof(struct card), bytes->data, bytes->len, &err);
        g_assert_no_error(err);
        g_assert_true(state_fits(plan, b, &err));
        state_apply(plan, b);
        state_plan_free(plan);
        g_byte_array_free(bytes, TRUE);
        b->moved_to = b->pci.bar[4].address; /* as a device's post_load does */
        for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
            uint8_t fixed = (uint8_t) ~(b->pci.writable[i] | b->pci.w1c[i]);

            g_assert_cmphex(b->pci.config[i] & fixed, ==, reset[i] & fixed);
        }
        g_assert_cmphex(b->pci.msix_pba[1] >> (VECTORS - 64), ==, 0);
        /* And it can be used. */
        for (unsigned reg = 0; reg < 256; reg += 4) {
            wr(n, CARD, reg, g_rand_int(rand), 4);
            rd(n, CARD, reg, 4);
        }
        pci_msix_send(&b->pci, 69);
        pci_msi_send(&b->pci, 3);
        fake_machine_free(m);
        fake_machine_free(n);
    }
    g_rand_free(rand);
}

/* A guest that writes noise into configuration space and into whatever is decoded. */
static void test_fuzz(void)
{
    GRand *rand = g_rand_new_with_seed(77);
    struct card *c;
    struct machine *m = new_machine(&c);
    struct pci_device *s =
        (struct pci_device *)fake_pci_device(m, &small_class, PCI_DEVFN(5, 1), NULL);

    for (unsigned turn = 0; turn < 60000; turn++) {
        unsigned devfn = g_rand_boolean(rand) ? CARD : s->devfn;
        unsigned reg = (unsigned)g_rand_int_range(rand, 0, 256),
                 len = 1u << g_rand_int_range(rand, 0, 3);

        switch (g_rand_int_range(rand, 0, 8)) {
        case 0:
            wr(m, devfn, 4, g_rand_int(rand) | 7, 2);
            break;
        case 1:
            aspace_write(m->mmio, MEM + (unsigned)g_rand_int_range(rand, 0, MSIX_BAR_SIZE),
                         g_rand_int(rand), len);
            break;
        case 2:
            wr(m, CARD, 0x14, (uint32_t)MEM, 4);
            break;
        case 3:
            pci_msix_send(&c->pci, g_rand_int(rand) % 80);
            pci_msi_send(&c->pci, g_rand_int(rand));
            break;
        case 4:
            pci_intx_set(g_rand_boolean(rand) ? s : &c->pci, g_rand_boolean(rand));
            break;
        case 5:
            aspace_read(m->mmio, MEM + (unsigned)g_rand_int_range(rand, 0, MSIX_BAR_SIZE), len * 2);
            break;
        default:
            wr(m, devfn, reg, g_rand_int(rand), len);
            break;
        }
        g_assert_cmphex(rd(m, CARD, 0, 4), ==, 0xabcd1234);
        g_assert_true(c->pci.bar[1].region.space ==
                      (c->pci.bar[1].address == PCI_BAR_UNMAPPED ? NULL : m->mmio));
        g_assert_true(c->moved_to == c->pci.bar[4].address);
    }
    g_rand_free(rand);
    fake_machine_free(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    log_set_level("pci", "error");
    g_test_add_func("/pci/header", test_header);
    g_test_add_func("/pci/attach", test_attach);
    g_test_add_func("/pci/bar-sizes", test_bar_sizes);
    g_test_add_func("/pci/bar-moves", test_bar_moves);
    g_test_add_func("/pci/bar-overlap", test_bar_overlap);
    g_test_add_func("/pci/rom", test_rom);
    g_test_add_func("/pci/rom-properties", test_rom_properties);
    g_test_add_func("/pci/intx", test_intx);
    g_test_add_func("/pci/msi", test_msi);
    g_test_add_func("/pci/msix", test_msix);
    g_test_add_func("/pci/msix-beside-registers", test_msix_beside_registers);
    g_test_add_func("/pci/power", test_power);
    g_test_add_func("/pci/pull", test_pull);
    g_test_add_func("/pci/reset", test_reset);
    g_test_add_func("/pci/bar-types", test_bar_types);
    g_test_add_func("/pci/function-reset", test_function_reset);
    g_test_add_func("/pci/state", test_state);
    g_test_add_func("/pci/state-refused", test_state_refused);
    g_test_add_func("/pci/state-hostile", test_state_hostile);
    g_test_add_func("/pci/fuzz", test_fuzz);
    return g_test_run();
}
