/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which cylinders, heads and sectors a disk of ide-hd says it has.
 *
 * Sources: ATA-3 6.2.2; the partition table of DOS; what QEMU makes of both (its manual, "-device
 * ide-hd", bios-chs-trans), so that a system installed under QEMU finds the geometry that its boot
 * code and its partition table were written for.
 *
 * The last sector of a partition that ends at a cylinder's end tells heads and sectors. If these
 * can be a drive's, they are; if there are more than 16 heads a BIOS has translated, and the drive
 * is as its size says with the translation that gives so many.
 */
#include "ata-internal.h"

#define TABLE 446u
#define ENTRY 16u
#define ENTRIES 4u
#define CYLINDERS_MAX 16383u
#define LARGE_MAX 131072u /* cylinders × heads that the translation "large" reaches */

void ata_geometry_by_size(uint64_t sectors, struct ide_geometry *g)
{
    uint64_t cylinders = sectors / (ATA_DEFAULT_HEADS * ATA_DEFAULT_SECTORS);

    *g = (struct ide_geometry){
        .cylinders = (uint32_t)CLAMP(cylinders, 2, CYLINDERS_MAX),
        .heads = ATA_DEFAULT_HEADS,
        .sectors = ATA_DEFAULT_SECTORS,
    };
    g->translation = g->cylinders <= 1024 ? IDE_TRANSLATION_NONE : IDE_TRANSLATION_LBA;
}

/* What an entry of the partition table says; false if it says nothing that can be. */
static bool entry_geometry(const uint8_t *e, uint64_t total, struct ide_geometry *g)
{
    uint32_t length = load_le32(e + 12);
    uint64_t cylinders;

    g->heads = e[5] + 1u;
    g->sectors = e[6] & 63;
    if (length == 0 || e[5] == 0 || g->sectors == 0) {
        return false;
    }
    cylinders = total / (g->heads * g->sectors);
    if (cylinders < 1 || cylinders > CYLINDERS_MAX) {
        return false;
    }
    g->cylinders = (uint32_t)cylinders;
    return true;
}

void ata_geometry_by_table(const uint8_t *sector, uint64_t sectors, struct ide_geometry *g)
{
    struct ide_geometry found;

    ata_geometry_by_size(sectors, g);
    if (sector[510] != 0x55 || sector[511] != 0xaa) {
        return;
    }
    for (unsigned i = 0; i < ENTRIES; i++) {
        if (!entry_geometry(sector + TABLE + i * ENTRY, sectors, &found)) {
            continue;
        }
        if (found.heads > 16) {
            g->translation =
                g->cylinders * g->heads <= LARGE_MAX ? IDE_TRANSLATION_LARGE : IDE_TRANSLATION_LBA;
        } else {
            found.translation = IDE_TRANSLATION_NONE;
            *g = found;
        }
        return;
    }
}
