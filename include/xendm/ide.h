/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IDE: how the board attaches drives, and what dm/ may ask of them.
 *
 *   struct device *ide = device_new(m, &piix3_ide_class, NULL, err);      // id "piix3-ide"
 *   pci_device_attach(m->pci, (struct pci_device *)ide, PCI_DEVFN(1, 1), err);
 *   device_realize(ide, err);
 *   struct device *hd = device_new(m, &ide_hd_class, "ide-768", err);     // or ide_cd_class
 *   device_set(hd, "drive", "ide-768", err); // a back end's id; ide-cd does without: empty
 *   device_set(hd, "bus", "0", err);
 *   device_set(hd, "unit", "0", err);
 *   device_realize(hd, err);
 *
 * The block stays the board's: it closes it after the device is freed. A CD drive whose medium may
 * change gets a block without medium.
 */
#ifndef XENDM_IDE_H
#define XENDM_IDE_H

#include <stdbool.h>

#include <glib.h>

#include <xendm/device.h>

struct block;

#define IDE_CONTROLLER_ID "piix3-ide"

/* The drive at `index` = bus * 2 + unit (0..3) of a controller, or NULL when there is none or it
 * was unplugged. */
struct device *ide_drive_at(struct device *controller, unsigned index);

/* CMOS RAM 0x39 has it so, two bits a drive. */
enum ide_translation {
    IDE_TRANSLATION_NONE = 0,
    IDE_TRANSLATION_LBA = 1,
    IDE_TRANSLATION_LARGE = 2,
};

struct ide_geometry {
    uint32_t cylinders, heads, sectors;
    uint8_t translation; /* enum ide_translation: what the BIOS is to do */
};

/*
 * Of an ide-hd. It reads its partition table when it first runs, and not before: `known` is called
 * then, and now with what its size alone says. A restored disk has what it was saved with.
 */
void ide_hd_watch_geometry(struct device *hd,
                           void (*known)(void *opaque, struct device *hd,
                                         const struct ide_geometry *g),
                           void *opaque);

bool ide_drive_is_cd(const struct device *drive);
bool ide_drive_unplugged(const struct device *drive);
struct block *ide_drive_block(const struct device *drive);

/*
 * The toolstack wants to take out the medium of a CD drive; call it before block_eject(), which
 * tells the drive itself what became of the medium. 0: go ahead, the tray is open now. -EBUSY: the
 * guest has locked the tray; unless `force`, it is told of the request (media event "eject
 * request") and may open the tray: try again later. -EINVAL: not a CD drive.
 */
int ide_cd_request_eject(struct device *drive, bool force, GError **err);
/*
 * The same, but the tray stays as it is: before a change by block_insert(), which may fail and then
 * leaves the old medium in, and otherwise opens and closes the tray.
 */
int ide_cd_ask_eject(struct device *drive, bool force, GError **err);
bool ide_cd_tray_open(const struct device *drive);
bool ide_cd_tray_locked(const struct device *drive);

#endif
