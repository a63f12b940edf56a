/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include <xendm/ata.h>

#include "ide-fixture.h"

static void on_error(void *opaque, const char *id, const char *op, int error)
{
    struct ide_test *t = opaque;

    (void)id;
    t->errors++;
    g_strlcpy(t->last_op, op, sizeof(t->last_op));
    t->last_error = error;
}

static void on_tray(void *opaque, const char *id, bool open)
{
    struct ide_test *t = opaque;

    (void)id;
    t->trays++;
    t->tray_open = open;
}

static void on_unplug(void *opaque, const char *id)
{
    struct ide_test *t = opaque;

    (void)id;
    t->unplugs++;
}

static const struct machine_events events = {.block_error = on_error,
                                             .tray_moved = on_tray,
                                             .unplugged = on_unplug};

/* A disk reads its partition table before its first command; tests do not count that. */
static void looked(struct block *b)
{
    if (b) {
        fake_block_complete_all(b);
        g_string_truncate(b->log, 0);
        memset(b->submitted, 0, sizeof(b->submitted));
        b->largest = b->now_reads = 0;
    }
}

int ide_test_plug(struct device *dev, const char *id, GError **err)
{
    struct bus *bus = bus_find(dev->machine, &ata_bus_class, id, err);
    int rc = bus ? ata_bus_class.take(bus, dev, err) : -ENOENT;

    return rc == 0 ? device_realize(dev, err) : rc;
}

struct device *ide_test_drive(struct ide_test *t, const struct device_class *class, const char *id,
                              struct block *b, unsigned bus, unsigned unit)
{
    bool running = t->m->state == MACHINE_RUNNING;
    GError *err = NULL;
    struct device *dev;

    if (running) {
        machine_stop(t->m);
    }
    dev = device_new(t->m, class, id, &err);

    g_assert_no_error(err);
    device_set_backend(dev, "drive", block_backend(b));
    g_assert_cmpint(device_set(dev, "unit", unit ? "1" : "0", &err), ==, 0);
    ide_test_plug(dev, bus ? "ide.1" : "ide.0", &err);
    g_assert_no_error(err);
    if (running) {
        machine_start(t->m);
        looked(b);
    }
    return dev;
}

void ide_test_build(struct ide_test *t)
{
    memset(t, 0, sizeof(*t));
    t->m = fake_machine_new();
    t->m->events = &events;
    t->m->events_opaque = t;
    t->disk = fake_block_new("ide-768", DISK_SECTORS * 512u);
    t->disc = fake_block_new("ide-5632", CD_BLOCKS * 2048u);
    t->disc->read_only = true;
    t->ide = fake_pci_device(t->m, &piix3_ide_class, PCI_DEVFN(1, 1), NULL);
    t->hd = ide_test_drive(t, &ide_hd_class, "ide-768", t->disk, 0, 0);
    t->cd = ide_test_drive(t, &ide_cd_class, "ide-5632", t->disc, 1, 0);
    machine_complete(t->m);
}

void ide_test_new(struct ide_test *t)
{
    ide_test_build(t);
    machine_start(t->m);
    looked(t->disk);
    ide_test_firmware(t);
}

void ide_test_firmware(struct ide_test *t)
{
    pci_config_write(t->m->pci, PCI_DEVFN(1, 1), 0x40, 0x8000, 2);
    pci_config_write(t->m->pci, PCI_DEVFN(1, 1), 0x42, 0x8000, 2);
    pci_config_write(t->m->pci, PCI_DEVFN(1, 1), 0x20, BM_BASE | 1, 4);
    pci_config_write(t->m->pci, PCI_DEVFN(1, 1), 0x04, 0x0005, 2);
}

void ide_test_reset(struct ide_test *t)
{
    machine_reset(t->m, RESET_WAKEUP);
    ide_test_firmware(t);
}

void ide_test_free(struct ide_test *t)
{
    fake_machine_free(t->m);
    fake_block_free(t->disk);
    fake_block_free(t->disc);
}

static unsigned base(const struct ide_test *t)
{
    return t->channel ? 0x170 : 0x1f0;
}

uint8_t rd(struct ide_test *t, unsigned reg)
{
    return (uint8_t)aspace_read(t->m->pio, base(t) + reg, 1);
}

void wr(struct ide_test *t, unsigned reg, uint8_t value)
{
    aspace_write(t->m->pio, base(t) + reg, value, 1);
}

uint8_t alt(struct ide_test *t)
{
    return (uint8_t)aspace_read(t->m->pio, base(t) + 0x206, 1);
}

void control(struct ide_test *t, uint8_t value)
{
    aspace_write(t->m->pio, base(t) + 0x206, value, 1);
}

uint32_t bm_rd(struct ide_test *t, unsigned reg, unsigned size)
{
    return (uint32_t)aspace_read(t->m->pio, BM_BASE + t->channel * 8 + reg, size);
}

void bm_wr(struct ide_test *t, unsigned reg, uint32_t value, unsigned size)
{
    aspace_write(t->m->pio, BM_BASE + t->channel * 8 + reg, value, size);
}

bool irq_high(struct ide_test *t)
{
    return irq_line_level(&t->m->isa_irq[14 + t->channel]);
}

uint8_t settle(struct ide_test *t)
{
    struct block *blocks[2] = {t->disk, t->disc};

    for (unsigned turns = 0; alt(t) & 0x80; turns++) {
        bool some = false;

        g_assert_cmpuint(turns, <, 100000);
        for (unsigned i = 0; i < 2; i++) {
            some |= fake_block_complete(blocks[i], 0);
        }
        some |= g_main_context_iteration(NULL, FALSE);
        g_assert_true(some);
    }
    return alt(t);
}

void command28(struct ide_test *t, uint8_t code, unsigned unit, uint32_t lba, uint8_t count)
{
    wr(t, DEVICE, (uint8_t)(0xe0 | unit << 4 | (lba >> 24 & 15)));
    wr(t, COUNT, count);
    wr(t, LBA_LOW, (uint8_t)lba);
    wr(t, LBA_MID, (uint8_t)(lba >> 8));
    wr(t, LBA_HIGH, (uint8_t)(lba >> 16));
    wr(t, STATUS, code);
}

void command48(struct ide_test *t, uint8_t code, unsigned unit, uint64_t lba, uint16_t count)
{
    wr(t, DEVICE, (uint8_t)(0xe0 | unit << 4));
    wr(t, COUNT, count >> 8);
    wr(t, LBA_LOW, (uint8_t)(lba >> 24));
    wr(t, LBA_MID, (uint8_t)(lba >> 32));
    wr(t, LBA_HIGH, (uint8_t)(lba >> 40));
    wr(t, COUNT, (uint8_t)count);
    wr(t, LBA_LOW, (uint8_t)lba);
    wr(t, LBA_MID, (uint8_t)(lba >> 8));
    wr(t, LBA_HIGH, (uint8_t)(lba >> 16));
    wr(t, STATUS, code);
}

void pio_in(struct ide_test *t, void *buf, size_t len, unsigned width)
{
    fake_string_in(t->m->pio, base(t), buf, width, len / width);
}

void pio_out(struct ide_test *t, const void *buf, size_t len, unsigned width)
{
    fake_string_out(t->m->pio, base(t), buf, width, len / width);
}

void *mem(struct ide_test *t, uint64_t gpa)
{
    return fake_guestmem_ptr(t->m->memory, gpa);
}

void put_table(struct ide_test *t, uint32_t table, const struct prd *prd, unsigned n, bool end)
{
    for (unsigned i = 0; i < n; i++) {
        uint32_t entry[2] = {prd[i].address,
                             (prd[i].bytes & 0xffff) | (end && i == n - 1 ? 0x80000000u : 0)};

        memcpy(mem(t, table + 8 * i), entry, sizeof(entry));
    }
}

void bm_start(struct ide_test *t, uint32_t table, bool to_memory)
{
    bm_wr(t, 4, table, 4);
    bm_wr(t, 2, 0x66, 1);
    bm_wr(t, 0, to_memory ? 9 : 1, 1);
}

uint8_t bm_finish(struct ide_test *t)
{
    uint8_t status;

    settle(t);
    status = (uint8_t)bm_rd(t, 2, 1);
    bm_wr(t, 0, 0, 1);
    bm_wr(t, 2, status, 1);
    return status;
}
