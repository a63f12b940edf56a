/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Booting Linux directly: the loader's half of Documentation/arch/x86/boot.rst of Linux, for the
 * 16-bit entry. The boot ROM (linuxboot_dma.bin of QEMU) asks fw_cfg for three pieces and where
 * they go, and jumps into the set-up code:
 *
 *   0x010000  set-up code (real mode), its heap behind it     0x020000  command line
 *   0x100000  the kernel                                      initial RAM disk: high, below 4 GiB
 *
 * The file is trusted as little as a disk image: of its header every length is checked here. Left
 * out: kernels before protocol 2.02 (Linux 2.4) and zImages, ELF images (multiboot, PVH).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <xendm/blob.h>
#include <xendm/bytes.h>
#include <xendm/error.h>
#include <xendm/fw_cfg.h>
#include <xendm/log.h>

#include "linux-boot.h"

#define SETUP_ADDR 0x10000u
#define SETUP_MAX 0x10000u
#define CMDLINE_ADDR 0x20000u
#define CMDLINE_MAX 0x10000u /* with its NUL */
#define CMDLINE_OLD 255u     /* what kernels before protocol 2.06 read of it */
#define KERNEL_ADDR 0x100000u
#define PAGE 4096u
/* At the end of the guest's memory: ACPI tables of firmware that puts them there (as QEMU). */
#define FIRMWARE_BYTES 0x28000u

/* Offsets of the set-up header. */
enum {
    SETUP_SECTS = 0x1f1,
    SYSSIZE = 0x1f4, /* units of 16 bytes */
    VID_MODE = 0x1fa,
    BOOT_FLAG = 0x1fe,
    HEADER = 0x202,
    VERSION = 0x206,
    TYPE_OF_LOADER = 0x210,
    LOADFLAGS = 0x211,
    RAMDISK_IMAGE = 0x218,
    RAMDISK_SIZE = 0x21c,
    HEAP_END_PTR = 0x224,
    CMD_LINE_PTR = 0x228,
    INITRD_ADDR_MAX = 0x22c,
    XLOADFLAGS = 0x236,
    CMDLINE_SIZE = 0x238,
    HEADER_END = 0x268,
};
#define LOADED_HIGH 0x01u
#define CAN_USE_HEAP 0x80u
#define LOADER_QEMU 0xb0u
#define XLF_CAN_BE_LOADED_ABOVE_4G 0x02u

struct image {
    const struct linux_boot *boot;
    uint8_t *setup; /* SETUP_MAX bytes, of which setup_len are the file's */
    uint32_t setup_len, kernel_len;
    unsigned protocol;
    uint32_t initrd_addr, initrd_len;
};

static int refuse(const struct blob *file, GError **err, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
static int refuse(const struct blob *file, GError **err, const char *fmt, ...)
{
    g_autofree char *why = NULL;
    va_list ap;

    va_start(ap, fmt);
    why = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_set_error(err, XENDM_ERROR, EINVAL, "'%s' %s", blob_name(file), why);
    return -EINVAL;
}

/* ---- the kernel ---- */

static int read_setup(struct image *im, GError **err)
{
    const struct blob *file = im->boot->kernel;
    uint32_t len = (uint32_t)MIN(blob_size(file), SETUP_MAX);
    int rc = blob_read(file, 0, im->setup, len);

    if (rc < 0) {
        return refuse(file, err, "cannot be read: %s", g_strerror(-rc));
    }
    if (len >= 4 && memcmp(im->setup, "\177ELF", 4) == 0) {
        return refuse(file, err, "is an ELF image: give a bzImage (vmlinuz)");
    }
    if (len < HEADER_END || load_le16(im->setup + BOOT_FLAG) != 0xaa55 ||
        memcmp(im->setup + HEADER, "HdrS", 4) != 0) {
        return refuse(file, err, "is no kernel of Linux for x86: it has no set-up header");
    }
    return 0;
}

static int check_header(struct image *im, GError **err)
{
    const struct blob *file = im->boot->kernel;
    unsigned sectors = im->setup[SETUP_SECTS] ? im->setup[SETUP_SECTS] : 4;
    uint64_t rest, claimed;

    im->protocol = load_le16(im->setup + VERSION);
    if (im->protocol < 0x202 || !(im->setup[LOADFLAGS] & LOADED_HIGH)) {
        return refuse(file, err, "is too old a kernel: a bzImage of boot protocol 2.02 is needed");
    }
    im->setup_len = (sectors + 1) * 512;
    if (im->setup_len > SETUP_MAX || im->setup_len >= blob_size(file)) {
        return refuse(file, err, "is truncated or damaged: %u bytes of set-up code", im->setup_len);
    }
    rest = blob_size(file) - im->setup_len;
    claimed = im->protocol >= 0x204 ? load_le32(im->setup + SYSSIZE) * UINT64_C(16) : 0;
    if (claimed > rest + 15) {
        return refuse(file, err,
                      "is truncated: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                      " bytes behind the set-up code",
                      rest, claimed);
    }
    if (im->boot->ram_end < KERNEL_ADDR || rest > im->boot->ram_end - KERNEL_ADDR) {
        return refuse(file, err, "does not fit into the guest's memory");
    }
    im->kernel_len = (uint32_t)rest;
    return 0;
}

/* ---- the initial RAM disk ---- */

static uint64_t initrd_limit(const struct image *im)
{
    uint64_t limit = im->protocol >= 0x203 ? load_le32(im->setup + INITRD_ADDR_MAX) : 0x37ffffff;
    uint64_t ram = im->boot->ram_end > FIRMWARE_BYTES ? im->boot->ram_end - FIRMWARE_BYTES : 0;

    if (im->protocol >= 0x20c && (im->setup[XLOADFLAGS] & XLF_CAN_BE_LOADED_ABOVE_4G)) {
        limit = UINT32_MAX;
    }
    return MIN(limit, ram ? ram - 1 : 0);
}

static int place_initrd(struct image *im, GError **err)
{
    const struct blob *file = im->boot->initrd;
    uint64_t limit = initrd_limit(im), begin = KERNEL_ADDR + (uint64_t)im->kernel_len;
    uint64_t at;

    if (!file) {
        return 0;
    }
    at = blob_size(file) <= limit ? (limit - blob_size(file)) & ~(uint64_t)(PAGE - 1) : 0;
    if (at < begin) {
        return refuse(file, err,
                      "and the kernel do not fit into the guest's memory: %" G_GUINT64_FORMAT
                      " bytes are left for it",
                      limit > begin ? limit - begin : 0);
    }
    im->initrd_addr = (uint32_t)at;
    im->initrd_len = (uint32_t)blob_size(file);
    return 0;
}

/* ---- the command line ---- */

/* What the kernel is told by the header, as it is long gone when it reads its command line. */
static void set_video_mode(struct image *im)
{
    static const struct {
        const char *word;
        uint16_t mode;
    } words[] = {{"normal", 0xffff}, {"ext", 0xfffe}, {"ask", 0xfffd}};
    const char *at = strstr(im->boot->append, "vga=");

    if (!at || (at != im->boot->append && at[-1] != ' ')) {
        return;
    }
    at += strlen("vga=");
    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
        if (g_str_has_prefix(at, words[i].word)) {
            store_le16(im->setup + VID_MODE, words[i].mode);
            return;
        }
    }
    store_le16(im->setup + VID_MODE, (uint32_t)strtoul(at, NULL, 0));
}

static int check_append(const struct image *im, GError **err)
{
    size_t len = strlen(im->boot->append);
    uint32_t known = im->protocol >= 0x206 ? load_le32(im->setup + CMDLINE_SIZE) : CMDLINE_OLD;

    if (len >= CMDLINE_MAX) {
        g_set_error(err, XENDM_ERROR, EINVAL, "the kernel's command line has %zu bytes, at most %u",
                    len, CMDLINE_MAX - 1);
        return -EINVAL;
    }
    if (len > known) {
        log_warning(LOG_PC, "'%s' reads only the first %u bytes of its command line",
                    blob_name(im->boot->kernel), known);
    }
    return 0;
}

/* ---- what the boot ROM gets ---- */

static void patch_header(struct image *im)
{
    uint8_t *setup = im->setup;

    setup[TYPE_OF_LOADER] = LOADER_QEMU;
    setup[LOADFLAGS] |= CAN_USE_HEAP;
    store_le16(setup + HEAP_END_PTR, CMDLINE_ADDR - SETUP_ADDR - 0x200);
    store_le32(setup + CMD_LINE_PTR, CMDLINE_ADDR);
    store_le32(setup + RAMDISK_IMAGE, im->initrd_addr);
    store_le32(setup + RAMDISK_SIZE, im->initrd_len);
    set_video_mode(im);
}

static void add_items(struct device *fw_cfg, const struct image *im)
{
    const struct linux_boot *boot = im->boot;
    size_t cmdline = strlen(boot->append) + 1;

    fw_cfg_add_number(fw_cfg, FW_CFG_SETUP_ADDR, SETUP_ADDR, 4);
    fw_cfg_add_number(fw_cfg, FW_CFG_SETUP_SIZE, im->setup_len, 4);
    fw_cfg_add_bytes(fw_cfg, FW_CFG_SETUP_DATA, im->setup, im->setup_len);
    fw_cfg_add_number(fw_cfg, FW_CFG_CMDLINE_ADDR, CMDLINE_ADDR, 4);
    fw_cfg_add_number(fw_cfg, FW_CFG_CMDLINE_SIZE, (uint32_t)cmdline, 4);
    fw_cfg_add_bytes(fw_cfg, FW_CFG_CMDLINE_DATA, boot->append, cmdline);
    fw_cfg_add_number(fw_cfg, FW_CFG_KERNEL_ADDR, KERNEL_ADDR, 4);
    fw_cfg_add_number(fw_cfg, FW_CFG_KERNEL_SIZE, im->kernel_len, 4);
    fw_cfg_add_blob(fw_cfg, FW_CFG_KERNEL_DATA, boot->kernel, im->setup_len, im->kernel_len);
    if (boot->initrd) {
        fw_cfg_add_number(fw_cfg, FW_CFG_INITRD_ADDR, im->initrd_addr, 4);
        fw_cfg_add_number(fw_cfg, FW_CFG_INITRD_SIZE, im->initrd_len, 4);
        fw_cfg_add_blob(fw_cfg, FW_CFG_INITRD_DATA, boot->initrd, 0, im->initrd_len);
    }
}

/* SeaBIOS runs every ROM in genroms/, and boots first what is named first in bootorder. */
static void add_rom(struct device *fw_cfg, struct blob *rom)
{
    g_autofree char *base = g_path_get_basename(blob_name(rom));
    g_autofree char *name = g_strdup_printf("genroms/%.40s", base);
    g_autofree char *order = g_strdup_printf("/rom@%s", name);

    fw_cfg_add_file(fw_cfg, "bootorder", order, strlen(order) + 1);
    fw_cfg_add_file_blob(fw_cfg, name, rom);
}

int linux_boot_add(struct device *fw_cfg, const struct linux_boot *boot, GError **err)
{
    g_autofree uint8_t *setup = g_malloc0(SETUP_MAX);
    struct image im = {.boot = boot, .setup = setup};

    if (read_setup(&im, err) < 0 || check_header(&im, err) < 0 || check_append(&im, err) < 0 ||
        place_initrd(&im, err) < 0) {
        return -EINVAL;
    }
    patch_header(&im);
    add_items(fw_cfg, &im);
    if (boot->rom) {
        add_rom(fw_cfg, boot->rom);
    }
    return 0;
}
