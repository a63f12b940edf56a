/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ide-hd: an ATA disk of 512-byte sectors.
 *
 * Sources: ATA/ATAPI-6 (T13/1410D) chapter 8 (commands), ATA-3 for CHS translation, ACS-2 for DATA
 * SET MANAGEMENT. Left out on purpose: SMART, security, HPA setting (SET MAX), queued and streaming
 * commands, APM/AAM; they are not advertised and aborted. Sleeping is an attitude: any command
 * wakes the drive.
 *
 * The write cache is the host's page cache: with it on (the power-on state) FLUSH CACHE is what
 * makes data safe, with it off every write command is followed by a flush before it is reported as
 * done.
 */
#include <errno.h>

#include "ata-internal.h"

#define FEATURE_DSM_TRIM 0x01

enum transfer {
    PIO = 0,
    MULTIPLE = 1 << 0, /* DRQ blocks of several sectors */
    DMA = 1 << 1,
    WRITE = 1 << 2,
    EXT = 1 << 3, /* 48-bit address and 16-bit count */
};

static struct ata_disk *disk_of(struct ata_drive *d)
{
    return (struct ata_disk *)d;
}

/* ---- addresses ---- */

static uint64_t get_lba(const struct ata_disk *disk, bool ext)
{
    const struct ata_drive *d = &disk->d;
    uint32_t low = (uint32_t)d->lba_high[0] << 16 | (uint32_t)d->lba_mid[0] << 8 | d->lba_low[0];

    if (ext) {
        return (uint64_t)d->lba_high[1] << 40 | (uint64_t)d->lba_mid[1] << 32 |
               (uint64_t)d->lba_low[1] << 24 | low;
    }
    return (uint64_t)(d->device & 0x0f) << 24 | low;
}

/* False when the guest's cylinder, head and sector do not exist. */
static bool get_chs(const struct ata_disk *disk, uint64_t *lba)
{
    const struct ata_drive *d = &disk->d;
    uint32_t cylinder = (uint32_t)d->lba_high[0] << 8 | d->lba_mid[0], head = d->device & 0x0f,
             sector = d->lba_low[0];

    if (sector == 0 || sector > disk->sectors || head >= disk->heads) {
        return false;
    }
    *lba = ((uint64_t)cylinder * disk->heads + head) * disk->sectors + sector - 1;
    return true;
}

static bool get_address(const struct ata_disk *disk, bool ext, uint64_t *lba)
{
    if (disk->d.device & ATA_DEVICE_LBA) {
        *lba = get_lba(disk, ext);
        return true;
    }
    return !ext && get_chs(disk, lba);
}

/* Tells the guest of a sector in the form in which it gave the command's. */
static void put_address(struct ata_disk *disk, uint64_t lba)
{
    struct ata_drive *d = &disk->d;

    if (!(d->device & ATA_DEVICE_LBA)) {
        uint64_t track = lba / disk->sectors, cylinder = track / disk->heads;

        d->lba_low[0] = (uint8_t)(lba % disk->sectors + 1);
        d->device = (uint8_t)((d->device & 0xf0) | track % disk->heads);
        d->lba_mid[0] = (uint8_t)cylinder;
        d->lba_high[0] = (uint8_t)(cylinder >> 8);
        return;
    }
    d->lba_low[0] = (uint8_t)lba;
    d->lba_mid[0] = (uint8_t)(lba >> 8);
    d->lba_high[0] = (uint8_t)(lba >> 16);
    if (disk->lba48) {
        d->lba_low[1] = (uint8_t)(lba >> 24);
        d->lba_mid[1] = (uint8_t)(lba >> 32);
        d->lba_high[1] = (uint8_t)(lba >> 40);
    } else {
        d->device = (uint8_t)((d->device & 0xf0) | (lba >> 24 & 0x0f));
    }
}

static void fail_at(struct ata_disk *disk, uint64_t lba, uint8_t error)
{
    put_address(disk, lba);
    ata_drive_abort(&disk->d, error);
}

/*
 * Reads address and count of a command and checks them against the medium. False: the command was
 * ended with an error.
 */
static bool get_extent(struct ata_disk *disk, bool ext)
{
    struct ata_drive *d = &disk->d;
    uint32_t count = ext ? (uint32_t)d->count[1] << 8 | d->count[0] : d->count[0];
    uint64_t total = ata_drive_sectors(d), lba;

    disk->lba48 = ext;
    if (count == 0) {
        count = ext ? 65536 : 256;
    }
    if (ext && !(d->device & ATA_DEVICE_LBA)) {
        ata_drive_abort(d, ATA_ABRT);
        return false;
    }
    if (!get_address(disk, ext, &lba)) {
        ata_drive_abort(d, ATA_IDNF);
        return false;
    }
    if (lba >= total || count > total - lba) {
        log_guest(LOG_IDE, "%s: command 0x%02x beyond the end of the disk", d->dev.id,
                  disk->command);
        fail_at(disk, MAX(lba, total), ATA_IDNF);
        return false;
    }
    d->lba = lba;
    d->left = count;
    return true;
}

/* ---- media commands ---- */

static void cmd_transfer(struct ata_disk *disk, unsigned how)
{
    struct ata_drive *d = &disk->d;

    if ((how & MULTIPLE) && disk->multiple == 0) {
        ata_drive_abort(d, ATA_ABRT);
        return;
    }
    if (!get_extent(disk, how & EXT)) {
        return;
    }
    disk->standby = false;
    d->error = 0;
    d->write = how & WRITE;
    d->drq_sectors = how & MULTIPLE ? disk->multiple : 1;
    if (d->write && block_read_only(d->block)) {
        ata_drive_abort(d, ATA_ABRT);
    } else if (how & DMA) {
        ata_drive_media_dma(d);
    } else {
        ata_drive_media_pio(d);
    }
}

static uint32_t disk_drq_block(struct ata_drive *d)
{
    return MIN(d->media ? d->drq_sectors * ATA_SECTOR : ATA_BUFFER, d->data_end - d->pos);
}

/* The state of the registers after a command that moved sectors: the last one, nothing left. */
static void transfer_done(struct ata_disk *disk)
{
    put_address(disk, disk->d.lba - 1);
    disk->d.count[0] = disk->d.count[1] = 0;
}

static void disk_finish(struct ata_drive *d)
{
    struct ata_disk *disk = disk_of(d);
    bool pio_in = d->phase == ATA_PIO_IN, flushed = d->phase == ATA_FLUSH;

    if (d->media && d->write && !flushed && !disk->write_cache) {
        ata_drive_flush(d);
        return;
    }
    if (d->media) {
        transfer_done(disk);
        d->media = false;
    }
    if (pio_in) {
        /* The guest has its data; the drive has nothing to add. */
        ata_drive_cancel(d);
        d->status = ATA_READY;
        return;
    }
    ata_drive_done(d);
}

static void disk_fail(struct ata_drive *d, enum block_op op, int error)
{
    struct ata_disk *disk = disk_of(d);

    if (op == BLOCK_READ) {
        d->count[0] = (uint8_t)d->left;
        d->count[1] = (uint8_t)(d->left >> 8);
        fail_at(disk, d->lba, ATA_UNC);
        return;
    }
    if (op == BLOCK_WRITE) {
        d->count[0] = (uint8_t)d->left;
        d->count[1] = (uint8_t)(d->left >> 8);
        put_address(disk, d->lba);
    }
    ata_drive_fail(d, op == BLOCK_WRITE && error == -ENOSPC ? ATA_READY | ATA_DF : ATA_READY,
                   ATA_ABRT);
}

static void cmd_flush(struct ata_disk *disk, unsigned arg)
{
    (void)arg;
    disk->d.media = false;
    ata_drive_flush(&disk->d);
}

static void cmd_verify(struct ata_disk *disk, unsigned arg)
{
    if (get_extent(disk, arg & EXT)) {
        disk->standby = false;
        disk->d.lba += disk->d.left;
        transfer_done(disk);
        ata_drive_done(&disk->d);
    }
}

static void cmd_seek(struct ata_disk *disk, unsigned arg)
{
    uint64_t lba;

    (void)arg;
    disk->lba48 = false;
    if (!get_address(disk, false, &lba) || lba >= ata_drive_sectors(&disk->d)) {
        ata_drive_abort(&disk->d, ATA_IDNF);
        return;
    }
    ata_drive_done(&disk->d);
}

static void cmd_native_max(struct ata_disk *disk, unsigned arg)
{
    struct ata_drive *d = &disk->d;
    uint64_t last = ata_drive_sectors(d) - 1;

    if (!(d->device & ATA_DEVICE_LBA)) {
        ata_drive_abort(d, ATA_ABRT);
        return;
    }
    disk->lba48 = arg & EXT;
    put_address(disk, disk->lba48 ? last : MIN(last, 0x0fffffffu));
    ata_drive_done(d);
}

/* ---- DATA SET MANAGEMENT ---- */

static void cmd_data_set(struct ata_disk *disk, unsigned arg)
{
    struct ata_drive *d = &disk->d;
    uint32_t blocks = (uint32_t)d->count[1] << 8 | d->count[0];

    (void)arg;
    if (!(d->feature[0] & FEATURE_DSM_TRIM) || !(d->device & ATA_DEVICE_LBA) || blocks == 0 ||
        blocks > ATA_TRIM_BLOCKS || block_read_only(d->block)) {
        ata_drive_abort(d, ATA_ABRT);
        return;
    }
    disk->lba48 = true;
    ata_drive_buffer_dma(d, blocks * ATA_SECTOR, true);
}

/* An entry is 48 bits of address and 16 bits of length; length 0 is an empty one. All are checked
 * before any is done. */
static bool trim_entry(const struct ata_drive *d, uint32_t pos, uint64_t *sector, uint32_t *count)
{
    const uint8_t *e = d->buffer + pos;
    uint64_t total = ata_drive_sectors(d);

    *sector = load_le32(e) | (uint64_t)load_le16(e + 4) << 32;
    *count = load_le16(e + 6);
    return *count == 0 || (*sector < total && *count <= total - *sector);
}

static void disk_buffer_in(struct ata_drive *d, uint32_t length)
{
    uint64_t sector;
    uint32_t count;

    for (uint32_t pos = 0; pos < length; pos += 8) {
        if (!trim_entry(d, pos, &sector, &count)) {
            fail_at(disk_of(d), sector, ATA_ABRT); /* ACS-2 7.5.3.2 */
            return;
        }
    }
    ata_drive_discard(d, length);
}

static bool disk_discard_next(struct ata_drive *d, uint64_t *sector, uint32_t *count)
{
    while (d->data_end - d->pos >= 8) {
        bool valid = trim_entry(d, d->pos, sector, count);

        d->pos += 8;
        if (valid && *count) {
            return true;
        }
    }
    return false;
}

/* ---- logs ---- */

#define LOG_DIRECTORY 0x00
#define LOG_QUEUED_ERROR 0x10

/* READ LOG EXT: what queued commands need, and the list of it (ACS-2 7.24, A.2, A.14). */
static void cmd_read_log(struct ata_disk *disk, unsigned arg)
{
    struct ata_drive *d = &disk->d;
    uint32_t count = (uint32_t)d->count[1] << 8 | d->count[0];

    if (!d->host->sata || count != 1 || d->lba_mid[0] || d->lba_mid[1] ||
        (d->lba_low[0] != LOG_DIRECTORY && d->lba_low[0] != LOG_QUEUED_ERROR)) {
        ata_drive_abort(d, ATA_ABRT);
        return;
    }
    memset(d->buffer, 0, ATA_SECTOR);
    if (d->lba_low[0] == LOG_QUEUED_ERROR) {
        d->host->ops->queue_error(d->host, d->buffer);
    } else {
        store_le16(d->buffer, 1); /* version */
        store_le16(d->buffer + 2 * LOG_QUEUED_ERROR, 1);
    }
    ata_drive_buffer_pio(d, ATA_SECTOR, false, true);
}

bool ata_drive_caches(const struct ata_drive *d)
{
    return !d->packet && ((const struct ata_disk *)d)->write_cache;
}

/* ---- settings ---- */

static void cmd_identify(struct ata_disk *disk, unsigned arg)
{
    (void)arg;
    ata_identify(disk, disk->d.buffer);
    ata_drive_buffer_pio(&disk->d, ATA_SECTOR, false, true);
}

static void cmd_init_parameters(struct ata_disk *disk, unsigned arg)
{
    struct ata_drive *d = &disk->d;
    uint32_t heads = (d->device & 0x0f) + 1u, sectors = d->count[0];

    (void)arg;
    if (sectors == 0) {
        ata_drive_abort(d, ATA_ABRT);
        return;
    }
    disk->heads = heads;
    disk->sectors = sectors;
    disk->cylinders = (uint32_t)MAX(MIN(ata_drive_sectors(d) / (heads * sectors), 65535u), 1u);
    ata_drive_done(d);
}

static void cmd_set_multiple(struct ata_disk *disk, unsigned arg)
{
    uint8_t n = disk->d.count[0];

    (void)arg;
    if (n > ATA_MULTIPLE_MAX || (n & (n - 1))) {
        ata_drive_abort(&disk->d, ATA_ABRT);
        return;
    }
    disk->multiple = n;
    ata_drive_done(&disk->d);
}

/* PIO default and flow control, MWDMA 0-2, UDMA 0-5. */
static bool transfer_mode_valid(uint8_t mode)
{
    unsigned n = mode & 7;

    switch (mode >> 3) {
    case 0:
        return n <= 1;
    case 1:
        return n <= 4;
    case 4:
        return n <= 2;
    case 8:
        return n <= 5;
    default:
        return false;
    }
}

static void cmd_set_features(struct ata_disk *disk, unsigned arg)
{
    struct ata_drive *d = &disk->d;

    (void)arg;
    switch (d->feature[0]) {
    case 0x02:
        disk->write_cache = true;
        break;
    case 0x82:
        /* What was cached until now becomes safe, too. */
        disk->write_cache = false;
        cmd_flush(disk, 0);
        return;
    case 0x03:
        if (!transfer_mode_valid(d->count[0])) {
            ata_drive_abort(d, ATA_ABRT);
            return;
        }
        disk->transfer_mode = d->count[0];
        break;
    case 0x55:
        disk->look_ahead = false;
        break;
    case 0xaa:
        disk->look_ahead = true;
        break;
    case 0x66: /* keep settings over a software reset, which we do anyway */
    case 0xcc:
        break;
    default:
        ata_drive_abort(d, ATA_ABRT);
        return;
    }
    ata_drive_done(d);
}

static void cmd_ok(struct ata_disk *disk, unsigned arg)
{
    (void)arg;
    ata_drive_done(&disk->d);
}

static void cmd_standby(struct ata_disk *disk, unsigned arg)
{
    disk->standby = true;
    cmd_flush(disk, arg); /* real drives empty their cache before they spin down */
}

static void cmd_idle(struct ata_disk *disk, unsigned arg)
{
    (void)arg;
    disk->standby = false;
    ata_drive_done(&disk->d);
}

static void cmd_check_power(struct ata_disk *disk, unsigned arg)
{
    (void)arg;
    disk->d.count[0] = disk->standby ? 0x00 : 0xff;
    ata_drive_done(&disk->d);
}

struct ata_command {
    void (*run)(struct ata_disk *disk, unsigned arg);
    unsigned arg;
};

/* Codes that are not here, among them NOP, are aborted. */
static const struct ata_command commands[256] = {
    [0x06] = {cmd_data_set, 0},
    [0x10 ... 0x1f] = {cmd_ok, 0},         /* RECALIBRATE */
    [0x20 ... 0x21] = {cmd_transfer, PIO}, /* READ SECTORS, without retries */
    [0x24] = {cmd_transfer, EXT},
    [0x25] = {cmd_transfer, DMA | EXT},
    [0x27] = {cmd_native_max, EXT},
    [0x29] = {cmd_transfer, MULTIPLE | EXT},
    [0x2f] = {cmd_read_log, 0},
    [0x30 ... 0x31] = {cmd_transfer, WRITE},
    [0x34] = {cmd_transfer, WRITE | EXT},
    [0x35] = {cmd_transfer, DMA | WRITE | EXT},
    [0x39] = {cmd_transfer, MULTIPLE | WRITE | EXT},
    [0x3c] = {cmd_transfer, WRITE}, /* WRITE VERIFY */
    [0x40 ... 0x41] = {cmd_verify, 0},
    [0x42] = {cmd_verify, EXT},
    [0x70 ... 0x7f] = {cmd_seek, 0},
    [0x91] = {cmd_init_parameters, 0},
    [0x94] = {cmd_standby, 0}, /* … IMMEDIATE, and the same at its old place */
    [0x95] = {cmd_idle, 0},
    [0x96] = {cmd_standby, 0},
    [0x97] = {cmd_idle, 0},
    [0x98] = {cmd_check_power, 0},
    [0x99] = {cmd_standby, 0}, /* SLEEP */
    [0xc4] = {cmd_transfer, MULTIPLE},
    [0xc5] = {cmd_transfer, MULTIPLE | WRITE},
    [0xc6] = {cmd_set_multiple, 0},
    [0xc8 ... 0xc9] = {cmd_transfer, DMA},
    [0xca ... 0xcb] = {cmd_transfer, DMA | WRITE},
    [0xe0] = {cmd_standby, 0},
    [0xe1] = {cmd_idle, 0},
    [0xe2] = {cmd_standby, 0},
    [0xe3] = {cmd_idle, 0},
    [0xe5] = {cmd_check_power, 0},
    [0xe6] = {cmd_standby, 0},
    [0xe7] = {cmd_flush, 0},
    [0xea] = {cmd_flush, EXT},
    [0xec] = {cmd_identify, 0},
    [0xef] = {cmd_set_features, 0},
    [0xf8] = {cmd_native_max, 0},
};

static void disk_command(struct ata_drive *d, uint8_t code)
{
    struct ata_disk *disk = disk_of(d);

    disk->command = code;
    if (commands[code].run) {
        commands[code].run(disk, commands[code].arg);
    } else {
        log_debug(LOG_IDE, "%s: command 0x%02x is not supported", d->dev.id, code);
        ata_drive_abort(d, ATA_ABRT);
    }
}

/* ---- life ---- */

static void use_geometry(struct ata_disk *disk)
{
    disk->heads = disk->geometry.heads;
    disk->sectors = disk->geometry.sectors;
    disk->cylinders = disk->geometry.cylinders;
}

/* The first sector is in the buffer, if it could be read. */
static void disk_looked(struct ata_drive *d, int error)
{
    struct ata_disk *disk = disk_of(d);

    if (error) {
        return; /* the guest will see for itself */
    }
    ata_geometry_by_table(d->buffer, ata_drive_sectors(d), &disk->geometry);
    use_geometry(disk);
    if (disk->geometry_known) {
        disk->geometry_known(disk->geometry_opaque, &d->dev, &disk->geometry);
    }
}

void ide_hd_watch_geometry(struct device *hd,
                           void (*known)(void *opaque, struct device *hd,
                                         const struct ide_geometry *g),
                           void *opaque)
{
    struct ata_disk *disk = DEVICE_CAST(struct ata_disk, hd);

    disk->geometry_known = known;
    disk->geometry_opaque = opaque;
    known(opaque, hd, &disk->geometry);
}

static void ide_hd_resume(struct device *dev)
{
    struct ata_disk *disk = DEVICE_CAST(struct ata_disk, dev);

    ata_drive_resume(dev);
    if (!disk->looked && disk->d.host) {
        disk->looked = true;
        ata_drive_look(&disk->d, disk_looked);
    }
}

static void disk_reset(struct ata_drive *d, bool hard)
{
    struct ata_disk *disk = disk_of(d);

    d->lba_mid[0] = d->lba_high[0] = 0;
    disk->lba48 = false;
    disk->standby = false;
    if (hard) {
        use_geometry(disk);
        disk->multiple = ATA_MULTIPLE_MAX;
        disk->write_cache = true;
        disk->look_ahead = true;
        disk->transfer_mode = 0x45; /* UDMA 5 */
        d->drq_sectors = 1;
    }
}

static const struct ata_drive_ops disk_ops = {
    .command = disk_command,
    .reset = disk_reset,
    .drq_block = disk_drq_block,
    .finish = disk_finish,
    .buffer_in = disk_buffer_in,
    .fail = disk_fail,
    .discard_next = disk_discard_next,
};

static int ide_hd_realize(struct device *dev, GError **err)
{
    struct ata_drive *d = DEVICE_CAST(struct ata_drive, dev);

    if (!d->block || (!block_present(d->block) && !d->dev.machine->restored)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: a disk needs a drive with an image", dev->id);
        return -EINVAL;
    }
    ata_geometry_by_size(ata_drive_sectors(d), &DEVICE_CAST(struct ata_disk, dev)->geometry);
    return ata_drive_realize(d, &disk_ops, err);
}

static void ide_hd_reset(struct device *dev, enum reset_reason why)
{
    (void)why;
    ata_drive_reset(DEVICE_CAST(struct ata_drive, dev), true);
}

static void ide_hd_unplug(struct device *dev, unsigned what)
{
    struct ata_drive *d = DEVICE_CAST(struct ata_drive, dev);

    if ((what & UNPLUG_DISKS) ||
        ((what & UNPLUG_AUX_DISKS) && d->host && d->host->first + d->unit)) {
        ata_drive_unplug(d);
    }
}

static void ide_hd_unrealize(struct device *dev)
{
    ata_drive_unrealize(DEVICE_CAST(struct ata_drive, dev));
}

static void ide_hd_describe(struct device *dev, struct facts *to)
{
    struct ata_disk *disk = DEVICE_CAST(struct ata_disk, dev);

    ata_drive_describe(&disk->d, to);
    fact_text(to, "geometry", "%u/%u/%u", disk->cylinders, disk->heads, disk->sectors);
    fact_int(to, "multiple", disk->multiple);
    fact_hex(to, "transfer mode", disk->transfer_mode);
    fact_bool(to, "write cache", disk->write_cache);
}

static void ide_hd_pre_save(void *base)
{
    ata_drive_pre_save(base);
}

static bool ide_hd_check(const void *base, GError **err)
{
    const struct ata_disk *disk = base;

    if (disk->multiple & (disk->multiple - 1) || disk->d.drq_sectors & (disk->d.drq_sectors - 1)) {
        g_set_error(err, STATE_ERROR, EINVAL, "multiple %u, DRQ block of %u: no power of two",
                    disk->multiple, disk->d.drq_sectors);
        return false;
    }
    return ata_drive_check_state(&disk->d, err);
}

/* The image of one that the guest has unplugged may be gone; see the property. */
static bool ide_hd_fits(const void *scratch, const void *base, GError **err)
{
    const struct ata_disk *saved = scratch, *disk = base;

    if (!saved->d.unplugged && !block_present(disk->d.block)) {
        g_set_error(err, STATE_ERROR, EINVAL, "there is no image for it");
        return false;
    }
    return true;
}

static void ide_hd_post_load(void *base)
{
    ((struct ata_disk *)base)->looked = true;
    ata_drive_post_load(base);
}

static const struct state_field disk_fields[] = {
    ATA_DRIVE_STATE,
    STATE_FIELD_U8(struct ata_disk, command),
    STATE_FIELD_BOOL(struct ata_disk, lba48),
    STATE_FIELD_U32(struct ata_disk, cylinders, .min = 1, .max = 65535),
    STATE_FIELD_U32(struct ata_disk, heads, .min = 1, .max = 16),
    STATE_FIELD_U32(struct ata_disk, sectors, .min = 1, .max = 255),
    STATE_FIELD_U8(struct ata_disk, multiple, .max = ATA_MULTIPLE_MAX),
    STATE_FIELD_BOOL(struct ata_disk, write_cache),
    STATE_FIELD_BOOL(struct ata_disk, look_ahead),
    STATE_FIELD_BOOL(struct ata_disk, standby),
    STATE_FIELD_U8(struct ata_disk, transfer_mode),
    STATE_FIELD_U32(struct ata_disk, geometry.cylinders, .since = 2, .min = 1, .max = 16383),
    STATE_FIELD_U32(struct ata_disk, geometry.heads, .since = 2, .min = 1, .max = 16),
    STATE_FIELD_U32(struct ata_disk, geometry.sectors, .since = 2, .min = 1, .max = 63),
    STATE_FIELD_END,
};

static const struct state_desc disk_state = {
    .name = "ide-hd",
    .version = 2, /* 2: geometry after a reset */
    .fields = disk_fields,
    .pre_save = ide_hd_pre_save,
    .check = ide_hd_check,
    .fits = ide_hd_fits,
    .post_load = ide_hd_post_load,
};

static const struct property disk_properties[] = {
    ATA_DRIVE_PROPERTIES("XENDM HARDDISK"),
    {.name = NULL},
};

const struct device_class ide_hd_class = {
    .name = "ide-hd",
    .help = "ATA disk",
    .size = sizeof(struct ata_disk),
    .recorded = true,
    .properties = disk_properties,
    .state = &disk_state,
    .bus = &ata_bus_class,
    .hotplug = true,
    .realize = ide_hd_realize,
    .reset = ide_hd_reset,
    .quiesce = ata_drive_quiesce,
    .busy = ata_drive_busy,
    .resume = ide_hd_resume,
    .unplug = ide_hd_unplug,
    .unrealize = ide_hd_unrealize,
    .describe = ide_hd_describe,
};
