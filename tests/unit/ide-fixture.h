/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine with the IDE controller, as firmware leaves it, and what a guest's driver does with it.
 */
#ifndef XENDM_TEST_IDE_FIXTURE_H
#define XENDM_TEST_IDE_FIXTURE_H

#include <xendm/classes.h>
#include <xendm/ide.h>
#include <xendm/machine.h>
#include <xendm/pci.h>

#include "fake-block.h"
#include "fakes.h"

#define BM_BASE 0xc000u
#define DISK_SECTORS 8192u
#define CD_BLOCKS 1024u

#define DATA 0u
#define ERRORS 1u
#define COUNT 2u
#define LBA_LOW 3u
#define LBA_MID 4u
#define LBA_HIGH 5u
#define DEVICE 6u
#define STATUS 7u

struct ide_test {
    struct machine *m;
    struct device *ide, *hd, *cd; /* primary master, secondary master */
    struct block *disk, *disc;
    unsigned channel; /* the one the helpers below use */

    unsigned errors, trays, unplugs; /* events */
    char last_op[16];
    int last_error;
    bool tray_open;
};

void ide_test_new(struct ide_test *t);
void ide_test_build(struct ide_test *t); /* the same, but it never ran: for machine_load() */
void ide_test_free(struct ide_test *t);
/* what hvmloader does: decoding, BAR, command register */
void ide_test_firmware(struct ide_test *t);
void ide_test_reset(struct ide_test *t); /* S3 and back */
struct device *ide_test_drive(struct ide_test *t, const struct device_class *class, const char *id,
                              struct block *b, unsigned bus, unsigned unit);
/* What device_plug() does with an object's bus=. */
int ide_test_plug(struct device *dev, const char *bus, GError **err);

/* Register access on the current channel. */
uint8_t rd(struct ide_test *t, unsigned reg);
void wr(struct ide_test *t, unsigned reg, uint8_t value);
uint8_t alt(struct ide_test *t);
void control(struct ide_test *t, uint8_t value);
uint32_t bm_rd(struct ide_test *t, unsigned reg, unsigned size);
void bm_wr(struct ide_test *t, unsigned reg, uint32_t value, unsigned size);
bool irq_high(struct ide_test *t);

/* Completes block I/O until the selected drive is not busy; returns the alternate status. */
uint8_t settle(struct ide_test *t);
/* Address, count and command; 28 or 48 bits. */
void command28(struct ide_test *t, uint8_t code, unsigned unit, uint32_t lba, uint8_t count);
void command48(struct ide_test *t, uint8_t code, unsigned unit, uint64_t lba, uint16_t count);
void pio_in(struct ide_test *t, void *buf, size_t len, unsigned width); /* by string I/O */
void pio_out(struct ide_test *t, const void *buf, size_t len, unsigned width);

/* A descriptor table at `table`: triples address, bytes (0 as 64 KiB); the last gets the end bit.
 */
struct prd {
    uint32_t address, bytes;
};
void put_table(struct ide_test *t, uint32_t table, const struct prd *prd, unsigned n, bool end);
void bm_start(struct ide_test *t, uint32_t table, bool to_memory);
uint8_t bm_finish(struct ide_test *t); /* settles, reads and clears the status, clears start */
void *mem(struct ide_test *t, uint64_t gpa);

#endif
