/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IDENTIFY DEVICE of ide-hd (ATA/ATAPI-6 section 8.15, ACS-2 for TRIM).
 *
 * Says ATA-4 to ATA-7, of which the last is what makes guests look at the word for TRIM. Not there:
 * SMART, security, power-up in standby, APM, AAM, queued commands.
 */
#include "ata-internal.h"

static void put_word(uint8_t *buf, unsigned word, uint32_t value)
{
    store_le16(buf + 2 * word, (uint16_t)value);
}

/* ATA strings have the first character in the high byte. */
static void put_text(uint8_t *buf, unsigned word, unsigned words, const char *text)
{
    uint8_t padded[40];

    ata_text(padded, 2 * words, text);
    for (unsigned i = 0; i < words; i++) {
        put_word(buf, word + i, (uint32_t)padded[2 * i] << 8 | padded[2 * i + 1]);
    }
}

/* One of the eight modes of a word like 63 or 88 is selected by the transfer mode register. */
static uint32_t modes(uint32_t supported, uint8_t transfer_mode, uint8_t kind)
{
    return supported | ((transfer_mode & 0xf8) == kind ? 0x100u << (transfer_mode & 7) : 0);
}

static void common(const struct ata_drive *d, uint8_t *buf, uint8_t transfer_mode)
{
    put_text(buf, 10, 10, d->serial);
    put_text(buf, 23, 4, d->firmware);
    put_text(buf, 27, 20, d->model);
    put_word(buf, 48, 1); /* 32-bit PIO */
    put_word(buf, 53, 7); /* words 54-58, 64-70, 88 are valid */
    put_word(buf, 63, modes(0x07, transfer_mode, 0x20));
    put_word(buf, 64, 0x03); /* PIO 3 and 4 */
    for (unsigned i = 65; i <= 68; i++) {
        put_word(buf, i, 120); /* ns per cycle */
    }
    put_word(buf, 88, modes(0x3f, transfer_mode, 0x40));
    /* Hardware reset result: drive 0 or 1 by jumper, 80-wire cable. */
    put_word(buf, 93, d->unit ? 0x6b00 : 0x600b);
}

static void checksum(uint8_t *buf)
{
    uint8_t sum = 0;

    buf[510] = 0xa5;
    for (unsigned i = 0; i < 511; i++) {
        sum += buf[i];
    }
    buf[511] = (uint8_t)-sum;
}

/* Serial ATA 2.6 13.2.1: there is no cable, and maybe a queue. */
static void serial(const struct ata_drive *d, uint8_t *buf)
{
    if (!d->host->sata) {
        return;
    }
    put_word(buf, 76, 1 << 1 | (d->packet ? 0 : 1 << 8)); /* 1.5 Gbit/s, NCQ */
    put_word(buf, 93, 0);
    if (!d->packet) {
        put_word(buf, 75, 31);               /* depth, less one */
        put_word(buf, 84, 1 << 14 | 1 << 5); /* general purpose logs */
        put_word(buf, 87, 1 << 14 | 1 << 5);
    }
}

void ata_identify(const struct ata_disk *disk, uint8_t *buf)
{
    uint64_t total = ata_drive_sectors(&disk->d);
    uint32_t lba28 = (uint32_t)MIN(total, 0x0fffffffu);
    uint32_t chs = disk->cylinders * disk->heads * disk->sectors;

    memset(buf, 0, ATA_SECTOR);
    common(&disk->d, buf, disk->transfer_mode);
    put_word(buf, 0, 0x0040); /* ATA, fixed */
    put_word(buf, 1, disk->geometry.cylinders);
    put_word(buf, 3, disk->geometry.heads);
    put_word(buf, 6, disk->geometry.sectors);
    put_word(buf, 47, 0x8000 | ATA_MULTIPLE_MAX);
    put_word(buf, 49, 1 << 11 | 1 << 9 | 1 << 8); /* IORDY, LBA, DMA */
    put_word(buf, 50, 0x4000);
    put_word(buf, 51, 0x0200); /* PIO 2, for those who look here */
    put_word(buf, 54, disk->cylinders);
    put_word(buf, 55, disk->heads);
    put_word(buf, 56, disk->sectors);
    put_word(buf, 57, chs);
    put_word(buf, 58, chs >> 16);
    put_word(buf, 59, disk->multiple ? 0x100u | disk->multiple : 0);
    put_word(buf, 60, lba28);
    put_word(buf, 61, lba28 >> 16);
    put_word(buf, 80, 0x00f0); /* ATA-4 … ATA-7 */
    put_word(buf, 81, 0x0016);
    put_word(buf, 82, 1 << 14 | 1 << 6 | 1 << 5 | 1 << 3); /* NOP, look-ahead, write cache, power */
    put_word(buf, 83, 1 << 14 | 1 << 13 | 1 << 12 | 1 << 10); /* FLUSH CACHE (EXT), LBA48 */
    put_word(buf, 84, 1 << 14);
    put_word(buf, 85,
             1u << 14 | (uint32_t)disk->look_ahead << 6 | (uint32_t)disk->write_cache << 5 |
                 1 << 3);
    put_word(buf, 86, 1 << 13 | 1 << 12 | 1 << 10);
    put_word(buf, 87, 1 << 14);
    for (unsigned i = 0; i < 4; i++) {
        put_word(buf, 100 + i, (uint32_t)(total >> 16 * i));
    }
    put_word(buf, 105, ATA_TRIM_BLOCKS);
    put_word(buf, 169, 1); /* TRIM */
    serial(&disk->d, buf);
    checksum(buf);
}

void atapi_identify(const struct ata_cd *cd, uint8_t *buf)
{
    memset(buf, 0, ATA_SECTOR);
    common(&cd->d, buf, cd->transfer_mode);
    /* ATAPI, CD-ROM, removable, DRQ within 50 us of PACKET, 12 bytes of it */
    put_word(buf, 0, 2 << 14 | 5 << 8 | 1 << 7 | 2 << 5);
    put_word(buf, 49, 1 << 11 | 1 << 9 | 1 << 8);
    put_word(buf, 71, 30); /* ns from PACKET to bus release, likewise SERVICE: not used */
    put_word(buf, 72, 30);
    put_word(buf, 80, 0x001e);                    /* … ATA/ATAPI-4 */
    put_word(buf, 82, 1 << 14 | 1 << 9 | 1 << 4); /* NOP, DEVICE RESET, PACKET */
    put_word(buf, 83, 1 << 14);
    put_word(buf, 84, 1 << 14);
    put_word(buf, 85, 1 << 14 | 1 << 9 | 1 << 4);
    put_word(buf, 87, 1 << 14);
    serial(&cd->d, buf);
    checksum(buf);
}
