/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fw_cfg, as firmware finds it on a PC (docs/specs/fw_cfg.rst of QEMU):
 *
 *   0x510  select, 16 bits, write only      0x511  data, a byte a read (0x510 as well)
 *   0x514  address of a DMA descriptor, 64 bits, most significant byte first; writing the low half,
 *          at 0x518, starts it; reads "QEMU CFG"
 *
 * SeaBIOS and the boot ROM use DMA, of any size: it goes in slices, and the vCPU waits in its OUT
 * (hold.h). QEMU's Xen machine offers no DMA, ours does. Left out: writable items, the ACPI device
 * QEMU0002 (ACPI tables are hvmloader's), files that are made when they are selected.
 *
 * With a kernel (properties kernel, initrd, append, rom) linux-boot.c adds what the boot ROM asks
 * for. Users: SeaBIOS, linuxboot_dma.bin.
 */
#include <errno.h>
#include <string.h>

#include <xendm/blob.h>
#include <xendm/classes.h>
#include <xendm/dma.h>
#include <xendm/facts.h>
#include <xendm/fw_cfg.h>
#include <xendm/hold.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/recorder.h>

#include "linux-boot.h"

#define PORT_SELECT 0x510
#define PORT_DMA 0x514

#define KEYS (FW_CFG_FILE_FIRST + FW_CFG_FILE_SLOTS)
#define KEY_WRITE 0x4000u /* selects the same item, for writing, which no item allows */
#define KEY_NONE 0xffffu

#define ID_PORTS 0x1u
#define ID_DMA 0x2u

/* The descriptor: three fields, most significant byte first, and their bits. */
struct descriptor {
    uint32_t control; /* bits 31..16: key, with CONTROL_SELECT */
    uint32_t length;
    uint64_t address;
};
#define CONTROL_ERROR 0x01u
#define CONTROL_READ 0x02u
#define CONTROL_SKIP 0x04u
#define CONTROL_SELECT 0x08u
#define CONTROL_WRITE 0x10u

#define SLICE (64u << 10) /* bytes that one step of a transfer moves */
#define SLICE_PIECES 17u  /* pages of one, wherever it begins */
#define AHEAD 4096u       /* bytes of a file that are read at once for reads by port */

struct item {
    uint8_t *data;     /* ours; NULL: of the file */
    struct blob *file; /* both NULL: there is no such item, which reads as one of no bytes */
    uint64_t file_offset;
    uint32_t len;
};

/* An entry of the directory, as the guest reads it; numbers most significant byte first. */
struct file_entry {
    uint32_t size;
    uint16_t key;
    uint16_t reserved;
    char name[FW_CFG_NAME_MAX + 1];
};
_Static_assert(sizeof(struct file_entry) == 64, "as the guest reads it");

struct fw_cfg {
    struct device dev;
    struct backend *kernel, *initrd, *rom; /* properties */
    char *append;

    struct region ports, dma_port;
    struct item item[KEYS];
    unsigned files;
    struct {
        uint32_t count; /* most significant byte first */
        struct file_entry entry[FW_CFG_FILE_SLOTS];
    } directory;

    uint16_t key; /* below KEYS, or KEY_NONE */
    uint32_t offset;
    uint32_t dma_high; /* written last */

    struct descriptor dma; /* what is still to do */
    uint64_t dma_at;       /* of the descriptor in the guest's memory */
    struct device_work work;
    struct dma_list *list;

    /* What was read ahead. */
    const struct item *ahead_of;
    uint32_t ahead_at, ahead_len;
    uint8_t ahead[AHEAD];
    bool told; /* that the host failed */
};

static struct fw_cfg *fw_cfg_of(struct device *dev)
{
    return DEVICE_CAST(struct fw_cfg, dev);
}

/* ---- items ---- */

static void add(struct fw_cfg *f, unsigned key, struct item item)
{
    XENDM_ASSERT(key < KEYS && !f->item[key].data && !f->item[key].file);
    f->item[key] = item;
}

void fw_cfg_add_bytes(struct device *fw_cfg, unsigned key, const void *data, size_t len)
{
    XENDM_ASSERT(len > 0 && len <= UINT32_MAX);
    add(fw_cfg_of(fw_cfg), key, (struct item){.data = g_memdup2(data, len), .len = (uint32_t)len});
}

void fw_cfg_add_number(struct device *fw_cfg, unsigned key, uint32_t value, unsigned bytes)
{
    uint32_t le = GUINT32_TO_LE(value);

    XENDM_ASSERT(bytes <= sizeof(le));
    fw_cfg_add_bytes(fw_cfg, key, &le, bytes);
}

void fw_cfg_add_blob(struct device *fw_cfg, unsigned key, struct blob *b, uint64_t offset,
                     uint32_t len)
{
    XENDM_ASSERT(offset <= blob_size(b) && len <= blob_size(b) - offset);
    add(fw_cfg_of(fw_cfg), key, (struct item){.file = b, .file_offset = offset, .len = len});
}

/* Its key. */
static unsigned add_name(struct fw_cfg *f, const char *name, uint32_t size)
{
    struct file_entry *entry = &f->directory.entry[f->files];
    unsigned key = FW_CFG_FILE_FIRST + f->files;

    XENDM_ASSERT(f->files < FW_CFG_FILE_SLOTS && strlen(name) <= FW_CFG_NAME_MAX);
    *entry = (struct file_entry){.size = GUINT32_TO_BE(size), .key = GUINT16_TO_BE(key)};
    strcpy(entry->name, name);
    f->directory.count = GUINT32_TO_BE(++f->files);
    memcpy(f->item[FW_CFG_FILE_DIR].data, &f->directory, sizeof(f->directory));
    return key;
}

void fw_cfg_add_file(struct device *fw_cfg, const char *name, const void *data, size_t len)
{
    fw_cfg_add_bytes(fw_cfg, add_name(fw_cfg_of(fw_cfg), name, (uint32_t)len), data, len);
}

void fw_cfg_add_file_blob(struct device *fw_cfg, const char *name, struct blob *b)
{
    uint32_t len = (uint32_t)MIN(blob_size(b), UINT32_MAX);

    fw_cfg_add_blob(fw_cfg, add_name(fw_cfg_of(fw_cfg), name, len), b, 0, len);
}

/* ---- reading ---- */

static void select_key(struct fw_cfg *f, uint16_t key)
{
    key = (uint16_t)(key & ~KEY_WRITE); /* bit 15, items of the architecture: there are none */
    f->key = key < KEYS ? key : KEY_NONE;
    f->offset = 0;
}

static const struct item *selected(const struct fw_cfg *f)
{
    static const struct item none = {.len = 0};

    return f->key < KEYS ? &f->item[f->key] : &none;
}

/* Bytes of the selected item that are left. */
static uint32_t left(const struct fw_cfg *f)
{
    const struct item *item = selected(f);

    return f->offset < item->len ? item->len - f->offset : 0;
}

/* Said once: the guest can read it as often as it likes. */
static void host_failed(struct fw_cfg *f, const struct item *item, int error)
{
    if (!f->told) {
        f->told = true;
        log_error(LOG_PC, "fw_cfg: cannot read '%s': %s", blob_name(item->file),
                  g_strerror(-error));
    }
}

static bool is_ahead(const struct fw_cfg *f, const struct item *item)
{
    return f->ahead_of == item && f->offset >= f->ahead_at &&
           f->offset - f->ahead_at < f->ahead_len;
}

/* A file's bytes by port, at most AHEAD: a chunk is read at once. Zeros where the host fails. */
static uint32_t copy_of_file(struct fw_cfg *f, const struct item *item, uint8_t *to, uint32_t len)
{
    uint32_t n;

    if (!is_ahead(f, item)) {
        uint32_t chunk = MIN(left(f), AHEAD);
        int rc = blob_read(item->file, item->file_offset + f->offset, f->ahead, chunk);

        if (rc < 0) {
            host_failed(f, item, rc);
            memset(f->ahead, 0, chunk);
        }
        f->ahead_of = item;
        f->ahead_at = f->offset;
        f->ahead_len = chunk;
    }
    n = MIN(len, f->ahead_at + f->ahead_len - f->offset);
    memcpy(to, f->ahead + (f->offset - f->ahead_at), n);
    return n;
}

/* Behind the end there are zeros. */
static void read_bytes(struct fw_cfg *f, uint8_t *to, size_t len)
{
    const struct item *item = selected(f);

    while (len > 0 && left(f) > 0) {
        uint32_t n = (uint32_t)MIN(len, left(f));

        if (item->file) {
            n = copy_of_file(f, item, to, n);
        } else {
            memcpy(to, item->data + f->offset, n);
        }
        f->offset += n;
        to += n;
        len -= n;
    }
    memset(to, 0, len);
}

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    uint8_t byte;

    if (size != 1) {
        return UINT64_MAX;
    }
    read_bytes(opaque, &byte, 1);
    return byte;
}

static size_t ports_read_block(void *opaque, uint64_t offset, void *buf, unsigned size,
                               size_t count)
{
    if (size != 1) {
        return 0;
    }
    read_bytes(opaque, buf, count);
    return count;
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    if (size == 2) { /* bytes would be data, which no item takes */
        select_key(opaque, (uint16_t)value);
    }
}

static const struct region_ops ports_ops = {
    .read = ports_read,
    .write = ports_write,
    .read_block = ports_read_block,
    .impl_max = 2,
};

/* ---- DMA ---- */

static void dma_failed(struct fw_cfg *f)
{
    f->dma.control = CONTROL_ERROR;
    f->dma.length = 0;
}

/* Into `bytes` of the guest's memory, which the list has. */
static int fill(struct fw_cfg *f, size_t bytes)
{
    static const uint8_t zeros[SLICE];
    const struct item *item = selected(f);
    struct iovec *iov;
    unsigned count;
    int rc;

    if (left(f) == 0) {
        return dma_list_put(f->list, 0, zeros, bytes);
    }
    if (!item->file) {
        return dma_list_put(f->list, 0, item->data + f->offset, bytes);
    }
    iov = dma_list_iov(f->list, 0, bytes, &count);
    rc = blob_read_iov(item->file, item->file_offset + f->offset, iov, count);
    if (rc < 0) {
        host_failed(f, item, rc);
    }
    return rc;
}

static void read_slice(struct fw_cfg *f)
{
    uint32_t want = MIN(f->dma.length, SLICE), inside = left(f);
    int64_t taken;

    if (inside > 0) {
        want = MIN(want, inside);
    }
    dma_list_begin(f->list, DMA_FROM_DEVICE);
    taken = dma_list_add(f->list, f->dma.address, want);
    if (taken <= 0 || fill(f, (size_t)taken) < 0) {
        dma_list_end(f->list, taken > 0 ? (size_t)taken : 0);
        dma_failed(f);
        return;
    }
    dma_list_end(f->list, (size_t)taken);
    if (inside > 0) {
        f->offset += (uint32_t)taken;
    }
    f->dma.address += (uint64_t)taken;
    f->dma.length -= (uint32_t)taken;
}

static void dma_answer(struct fw_cfg *f)
{
    uint32_t control = GUINT32_TO_BE(f->dma.control & CONTROL_ERROR);
    int rc = dma_write(&f->dev, f->dma_at, &control, sizeof(control));

    if (rc < 0) {
        log_guest(LOG_PC, "fw_cfg: cannot answer at 0x%llx: %s", (unsigned long long)f->dma_at,
                  g_strerror(-rc));
    }
}

static bool dma_step(void *opaque)
{
    struct fw_cfg *f = opaque;

    if (f->dma.length > 0) {
        read_slice(f);
        return true;
    }
    dma_answer(f);
    return false;
}

/* What takes no time: the whole of it but reading, which is left to the steps. */
static void dma_begin(struct fw_cfg *f)
{
    uint32_t control = f->dma.control;

    f->dma.control = 0;
    if (control & CONTROL_SELECT) {
        select_key(f, (uint16_t)(control >> 16));
    }
    if (control & CONTROL_READ) {
        return;
    }
    if ((control & CONTROL_WRITE) && f->dma.length > 0) { /* no item takes any */
        dma_failed(f);
    } else if (control & CONTROL_SKIP) {
        f->offset += MIN(f->dma.length, left(f));
    }
    f->dma.length = 0;
}

static void dma_start(struct fw_cfg *f, uint64_t at)
{
    struct descriptor d;
    int rc = dma_read(&f->dev, at, &d, sizeof(d));

    f->dma_at = at;
    if (rc < 0) {
        log_guest(LOG_PC, "fw_cfg: no DMA descriptor at 0x%llx: %s", (unsigned long long)at,
                  g_strerror(-rc));
        dma_failed(f);
        dma_answer(f);
        return;
    }
    f->dma = (struct descriptor){
        .control = GUINT32_FROM_BE(d.control),
        .length = GUINT32_FROM_BE(d.length),
        .address = GUINT64_FROM_BE(d.address),
    };
    dma_begin(f);
    device_work_start(&f->work, &f->dev, dma_step, f);
}

static uint64_t dma_port_read(void *opaque, uint64_t offset, unsigned size)
{
    static const char signature[8] = {'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G'};
    uint64_t value = 0;

    for (unsigned i = 0; i < size && offset + i < sizeof(signature); i++) {
        value |= (uint64_t)(uint8_t)signature[offset + i] << i * 8;
    }
    return value;
}

static void dma_port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct fw_cfg *f = opaque;
    uint32_t half = GUINT32_SWAP_LE_BE((uint32_t)value);

    if (size != 4 || device_work_on(&f->work)) {
        return;
    }
    if (offset == 0) {
        f->dma_high = half;
    } else if (offset == 4) {
        uint64_t at = (uint64_t)f->dma_high << 32 | half;

        f->dma_high = 0;
        dma_start(f, at);
    }
}

static const struct region_ops dma_port_ops = {
    .read = dma_port_read,
    .write = dma_port_write,
    .impl_max = 4,
};

/* ---- life ---- */

static void free_items(struct fw_cfg *f)
{
    for (unsigned i = 0; i < KEYS; i++) {
        g_free(f->item[i].data);
    }
}

static void add_basics(struct fw_cfg *f)
{
    struct device *dev = &f->dev;

    fw_cfg_add_bytes(dev, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_add_number(dev, FW_CFG_ID, ID_PORTS | ID_DMA, 4);
    fw_cfg_add_number(dev, FW_CFG_NOGRAPHIC, 0, 2);
    fw_cfg_add_number(dev, FW_CFG_BOOT_MENU, 0, 2);
    fw_cfg_add_number(dev, FW_CFG_VCPUS, dev->machine->vcpus_online, 2);
    fw_cfg_add_bytes(dev, FW_CFG_FILE_DIR, &f->directory, sizeof(f->directory));
}

static int add_linux(struct fw_cfg *f, GError **err)
{
    struct linux_boot boot = {
        .kernel = blob_of(f->kernel),
        .initrd = blob_of(f->initrd),
        .rom = blob_of(f->rom),
        .append = f->append ? f->append : "",
        .ram_end = f->dev.machine->ram_low_end,
    };

    return f->kernel ? linux_boot_add(&f->dev, &boot, err) : 0;
}

static int fw_cfg_realize(struct device *dev, GError **err)
{
    struct fw_cfg *f = fw_cfg_of(dev);

    add_basics(f);
    region_init(&f->ports, "fw_cfg", &ports_ops, f, 2);
    region_init(&f->dma_port, "fw_cfg-dma", &dma_port_ops, f, 8);
    if (add_linux(f, err) < 0 || device_place_pio(dev, &f->ports, PORT_SELECT, err) < 0 ||
        device_place_pio(dev, &f->dma_port, PORT_DMA, err) < 0) {
        free_items(f);
        return -EINVAL;
    }
    f->list = dma_list_new(dev, SLICE_PIECES);
    return 0;
}

/* The guest that waited for it is gone. */
static void abandon(struct fw_cfg *f)
{
    if (device_work_on(&f->work)) {
        dma_failed(f);
        device_work_finish(&f->work);
    }
}

static void fw_cfg_reset(struct device *dev, enum reset_reason why)
{
    struct fw_cfg *f = fw_cfg_of(dev);

    abandon(f);
    select_key(f, FW_CFG_SIGNATURE);
    f->dma_high = 0;
}

static void fw_cfg_unrealize(struct device *dev)
{
    struct fw_cfg *f = fw_cfg_of(dev);

    abandon(f);
    dma_list_free(f->list);
    free_items(f);
}

static void fw_cfg_describe(struct device *dev, struct facts *to)
{
    const struct fw_cfg *f = fw_cfg_of(dev);

    fact_hex(to, "key", f->key);
    fact_int(to, "offset", f->offset);
    fact_int(to, "files", f->files);
}

static bool fw_cfg_check(const void *base, GError **err)
{
    const struct fw_cfg *f = base;

    if (f->key >= KEYS && f->key != KEY_NONE) {
        g_set_error(err, STATE_ERROR, EINVAL, "key 0x%x cannot be selected", f->key);
        return false;
    }
    return true;
}

static const struct state_field fw_cfg_fields[] = {
    STATE_FIELD_U16(struct fw_cfg, key),
    STATE_FIELD_U32(struct fw_cfg, offset),
    STATE_FIELD_U32(struct fw_cfg, dma_high),
    STATE_FIELD_END,
};

static const struct state_desc fw_cfg_state = {
    .name = "fw_cfg",
    .version = 1,
    .fields = fw_cfg_fields,
    .check = fw_cfg_check,
};

static const struct property fw_cfg_properties[] = {
    {.name = "kernel",
     .type = PROP_BACKEND,
     .kind = BACKEND_BLOB,
     .offset = offsetof(struct fw_cfg, kernel),
     .help = "kernel of Linux"},
    {.name = "initrd",
     .type = PROP_BACKEND,
     .kind = BACKEND_BLOB,
     .offset = offsetof(struct fw_cfg, initrd),
     .help = "its initial RAM disk"},
    {.name = "rom",
     .type = PROP_BACKEND,
     .kind = BACKEND_BLOB,
     .offset = offsetof(struct fw_cfg, rom),
     .help = "option ROM that starts it"},
    {.name = "append",
     .type = PROP_STRING,
     .offset = offsetof(struct fw_cfg, append),
     .help = "its command line"},
    {.name = NULL},
};

const struct device_class fw_cfg_class = {
    .name = "fw_cfg",
    .help = "what the firmware is given, a kernel to boot",
    .built_in = "-kernel makes it",
    .size = sizeof(struct fw_cfg),
    .properties = fw_cfg_properties,
    .state = &fw_cfg_state,
    .recorded = true,
    .realize = fw_cfg_realize,
    .reset = fw_cfg_reset,
    .unrealize = fw_cfg_unrealize,
    .describe = fw_cfg_describe,
};
