/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <xendm/backend.h>
#include <xendm/blob.h>
#include <xendm/fw_cfg.h>
#include <xendm/handover.h>
#include <xendm/hold.h>
#include <xendm/log.h>

#include "pc-common.h"

extern const struct backend_class blob_file_class;

const struct backend_class *const *backend_classes(void)
{
    static const struct backend_class *const classes[] = {&blob_file_class, NULL};

    return classes;
}

static const struct fuzz_range ranges[] = {{0x510, 2}, {0x514, 8}, {0}};

#define SETUP_LEN 2048u
#define KERNEL_LEN 100000u
#define INITRD_LEN 3000001u
#define ROM_LEN 1536u
#define DESC 0x8000u /* where the tests put DMA descriptors */

#define DMA_ERROR 1u
#define DMA_READ 2u
#define DMA_SKIP 4u
#define DMA_SELECT 8u
#define DMA_WRITE 16u

static char *dir;

/* ---- files ---- */

static char *file_name(const char *name)
{
    return g_build_filename(dir, name, NULL);
}

static void make_file(const char *name, const void *data, size_t len)
{
    g_autofree char *path = file_name(name);

    g_assert_true(g_file_set_contents(path, data, (gssize)len, NULL));
}

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 7 + i / 251);
}

static void make_pattern(const char *name, size_t len)
{
    g_autofree uint8_t *data = g_malloc(len);

    for (size_t i = 0; i < len; i++) {
        data[i] = pattern(i);
    }
    make_file(name, data, len);
}

static void put32(uint8_t *p, uint32_t value)
{
    value = GUINT32_TO_LE(value);
    memcpy(p, &value, 4);
}

/* A bzImage of protocol 2.15 as far as a loader looks. */
static uint8_t *kernel_image(size_t *len)
{
    uint8_t *k = g_malloc0(SETUP_LEN + KERNEL_LEN);

    for (size_t i = 0; i < KERNEL_LEN; i++) {
        k[SETUP_LEN + i] = pattern(i + 13);
    }
    k[0x1f1] = SETUP_LEN / 512 - 1;
    put32(k + 0x1f4, (KERNEL_LEN + 15) / 16);
    k[0x1fe] = 0x55;
    k[0x1ff] = 0xaa;
    memcpy(k + 0x202, "HdrS", 4);
    k[0x206] = 0x0f;
    k[0x207] = 0x02;
    k[0x211] = 1;
    put32(k + 0x22c, 0x7fffffff);
    k[0x236] = 2;
    put32(k + 0x238, 2047);
    *len = SETUP_LEN + KERNEL_LEN;
    return k;
}

static void make_files(void)
{
    size_t len;
    g_autofree uint8_t *k = kernel_image(&len);

    dir = g_dir_make_tmp("xendm-fw-cfg-XXXXXX", NULL);
    g_assert_nonnull(dir);
    make_file("vmlinuz", k, len);
    make_pattern("initrd", INITRD_LEN);
    make_pattern("rom.bin", ROM_LEN);
    g_setenv("XENDM_FIRMWARE_DIR", dir, TRUE);
}

static void remove_files(void)
{
    GDir *d = g_dir_open(dir, 0, NULL);

    for (const char *name; (name = g_dir_read_name(d));) {
        g_autofree char *path = file_name(name);

        g_assert_cmpint(g_remove(path), ==, 0);
    }
    g_dir_close(d);
    g_rmdir(dir);
    g_free(dir);
}

/* ---- machines ---- */

struct rig {
    struct backend_set *set;
    struct machine *m;
    struct device *dev;
};

static struct object_desc *blob_desc(const char *id, const char *name, bool firmware)
{
    g_autofree char *path = firmware ? g_strdup(name) : file_name(name);

    return object_desc_make(OBJECT_BACKEND, BACKEND_BLOB, "file", id, "file", path, "firmware",
                            firmware ? "on" : "off", NULL);
}

static struct backend *add_blob(struct rig *r, const char *id, const char *name, bool firmware)
{
    struct object_desc *o = blob_desc(id, name, firmware);
    GError *err = NULL;
    struct backend *b = backend_add(r->set, o, NULL, &err);

    g_assert_no_error(err);
    object_desc_free(o);
    return b;
}

/* NULL with err when it refuses. */
static struct device *try_boot(struct rig *r, const char *kernel, const char *initrd,
                               const char *append, GError **err)
{
    *r = (struct rig){.set = backend_set_new(), .m = fake_machine_new()};
    r->dev = device_new(r->m, &fw_cfg_class, NULL, NULL);
    device_set_backend(r->dev, "kernel", add_blob(r, "kernel", kernel, false));
    device_set_backend(r->dev, "rom", add_blob(r, "rom", "rom.bin", true));
    if (initrd) {
        device_set_backend(r->dev, "initrd", add_blob(r, "initrd", initrd, false));
    }
    if (append) {
        g_assert_cmpint(device_set(r->dev, "append", append, NULL), ==, 0);
    }
    if (device_realize(r->dev, err) < 0) {
        device_free(r->dev);
        r->dev = NULL;
    }
    return r->dev;
}

static struct rig boot(void)
{
    GError *err = NULL;
    struct rig r;

    try_boot(&r, "vmlinuz", "initrd", "console=ttyS0 vga=0x305 quiet", &err);
    g_assert_no_error(err);
    start(r.m);
    return r;
}

static void end(struct rig *r)
{
    fake_machine_free(r->m);
    backend_set_free(r->set);
}

/* ---- as firmware reads ---- */

static void read_item(struct machine *m, uint16_t key, void *buf, size_t len)
{
    out(m, 0x510, key, 2);
    fake_string_in(m->pio, 0x511, buf, 1, len);
}

static uint32_t number(struct machine *m, uint16_t key)
{
    uint32_t value;

    read_item(m, key, &value, 4);
    return GUINT32_FROM_LE(value);
}

static void start_dma_at(struct machine *m, uint64_t at)
{
    out(m, 0x514, GUINT32_SWAP_LE_BE((uint32_t)(at >> 32)), 4);
    out(m, 0x518, GUINT32_SWAP_LE_BE((uint32_t)at), 4);
}

static void start_dma(struct machine *m, uint32_t control, uint32_t length, uint64_t address)
{
    uint32_t *d = fake_guestmem_ptr(m->memory, DESC);

    d[0] = GUINT32_TO_BE(control);
    d[1] = GUINT32_TO_BE(length);
    d[2] = GUINT32_TO_BE((uint32_t)(address >> 32));
    d[3] = GUINT32_TO_BE((uint32_t)address);
    start_dma_at(m, DESC);
}

static uint32_t answer(struct machine *m)
{
    return GUINT32_FROM_BE(*(uint32_t *)fake_guestmem_ptr(m->memory, DESC));
}

/* Its answer: 0, or the error bit. */
static uint32_t dma(struct machine *m, uint32_t control, uint32_t length, uint64_t address)
{
    struct device *dev = machine_find(m, "fw_cfg");

    start_dma(m, control, length, address);
    while (device_is_held(dev)) {
        g_main_context_iteration(NULL, TRUE);
    }
    return answer(m);
}

static void check_pattern(struct machine *m, uint64_t at, size_t first, size_t len)
{
    const uint8_t *p = fake_guestmem_ptr(m->memory, at);

    for (size_t i = 0; i < len; i++) {
        if (p[i] != pattern(first + i)) {
            g_error("byte %zu is 0x%02x, not 0x%02x", i, p[i], pattern(first + i));
        }
    }
}

/* ---- tests ---- */

static void test_ports(void)
{
    struct machine *m = fake_machine_new();
    char text[8] = {0};
    uint8_t many[300];

    fake_device(m, &fw_cfg_class, NULL, NULL);
    start(m);
    read_item(m, 0, text, 4);
    g_assert_cmpstr(text, ==, "QEMU");
    g_assert_cmphex(number(m, 1), ==, 3);
    read_item(m, 5, many, 2);
    g_assert_cmphex(many[0] | many[1] << 8, ==, 1);
    g_assert_cmphex(inb(m, 0x511), ==, 0); /* behind the end */
    out(m, 0x510, 0x4000, 2);              /* for writing, which nothing allows */
    outb(m, 0x511, 'X');
    out(m, 0x510, 0, 2);
    g_assert_cmphex(inb(m, 0x510), ==, 'Q'); /* either port */
    g_assert_cmphex(inb(m, 0x511), ==, 'E');
    g_assert_cmphex(in(m, 0x510, 2), ==, 0xffff);
    g_assert_cmphex(inb(m, 0x511), ==, 'M'); /* that was no read */
    for (unsigned key = 0x40; key < 0x10000; key += 0x3f) {
        memset(many, 1, sizeof(many));
        read_item(m, (uint16_t)(key & 0xc03f ? key | 0x80 : key), many, sizeof(many));
        g_assert_cmphex(many[0] | many[299], ==, 0);
    }
    g_assert_cmphex(in(m, 0x514, 4), ==, 0x554d4551); /* "QEMU" */
    g_assert_cmphex(in(m, 0x518, 4), ==, 0x47464320); /* " CFG" */
    fake_machine_free(m);
}

static void test_items(void)
{
    struct rig r = boot();
    struct machine *m = r.m;
    g_autofree uint8_t *setup = g_malloc0(SETUP_LEN), *kernel = g_malloc0(KERNEL_LEN + 10);
    char text[64];
    uint32_t initrd;

    g_assert_cmphex(number(m, FW_CFG_SETUP_ADDR), ==, 0x10000);
    g_assert_cmpuint(number(m, FW_CFG_SETUP_SIZE), ==, SETUP_LEN);
    g_assert_cmphex(number(m, FW_CFG_CMDLINE_ADDR), ==, 0x20000);
    g_assert_cmpuint(number(m, FW_CFG_CMDLINE_SIZE), ==,
                     strlen("console=ttyS0 vga=0x305 quiet") + 1);
    read_item(m, FW_CFG_CMDLINE_DATA, text, sizeof(text));
    g_assert_cmpstr(text, ==, "console=ttyS0 vga=0x305 quiet");
    g_assert_cmphex(number(m, FW_CFG_KERNEL_ADDR), ==, 0x100000);
    g_assert_cmpuint(number(m, FW_CFG_KERNEL_SIZE), ==, KERNEL_LEN);
    read_item(m, FW_CFG_KERNEL_DATA, kernel, KERNEL_LEN + 10);
    for (unsigned i = 0; i < KERNEL_LEN; i++) {
        g_assert_cmphex(kernel[i], ==, pattern(i + 13));
    }
    g_assert_cmphex(kernel[KERNEL_LEN] | kernel[KERNEL_LEN + 9], ==, 0);

    initrd = number(m, FW_CFG_INITRD_ADDR);
    g_assert_cmpuint(number(m, FW_CFG_INITRD_SIZE), ==, INITRD_LEN);
    g_assert_cmphex(initrd & 0xfff, ==, 0);
    g_assert_cmphex(initrd + INITRD_LEN, <=, m->ram_low_end - 0x28000);
    g_assert_cmphex(initrd + INITRD_LEN + 0x1000, >=, m->ram_low_end - 0x28001);

    /* The header says it as well. */
    read_item(m, FW_CFG_SETUP_DATA, setup, SETUP_LEN);
    g_assert_cmphex(setup[0x210], ==, 0xb0);
    g_assert_cmphex(setup[0x211], ==, 0x81);
    g_assert_cmphex(setup[0x1fa] | setup[0x1fb] << 8, ==, 0x305);
    g_assert_cmphex(setup[0x224] | setup[0x225] << 8, ==, 0xfe00);
    g_assert_cmpint(memcmp(setup + 0x228, "\0\0\2\0", 4), ==, 0);
    g_assert_cmphex(GUINT32_FROM_LE(*(uint32_t *)(setup + 0x218)), ==, initrd);
    g_assert_cmphex(GUINT32_FROM_LE(*(uint32_t *)(setup + 0x21c)), ==, INITRD_LEN);
    end(&r);
}

/* As SeaBIOS finds the boot ROM. */
static void test_files(void)
{
    struct rig r = boot();
    struct {
        uint32_t count;
        struct {
            uint32_t size;
            uint16_t key, reserved;
            char name[56];
        } file[32];
    } d;
    char order[64];
    uint8_t rom[ROM_LEN + 1];

    read_item(r.m, FW_CFG_FILE_DIR, &d, sizeof(d));
    g_assert_cmpuint(GUINT32_FROM_BE(d.count), ==, 2);
    g_assert_cmpstr(d.file[0].name, ==, "bootorder");
    read_item(r.m, GUINT16_FROM_BE(d.file[0].key), order, sizeof(order));
    g_assert_cmpstr(order, ==, "/rom@genroms/rom.bin");
    g_assert_cmpuint(GUINT32_FROM_BE(d.file[0].size), ==, strlen(order) + 1);
    g_assert_cmpstr(d.file[1].name, ==, "genroms/rom.bin");
    g_assert_cmpuint(GUINT32_FROM_BE(d.file[1].size), ==, ROM_LEN);
    read_item(r.m, GUINT16_FROM_BE(d.file[1].key), rom, sizeof(rom));
    for (unsigned i = 0; i < ROM_LEN; i++) {
        g_assert_cmphex(rom[i], ==, pattern(i));
    }
    /* Byte by byte, with another item in between. */
    out(r.m, 0x510, GUINT16_FROM_BE(d.file[1].key), 2);
    g_assert_cmphex(inb(r.m, 0x511), ==, pattern(0));
    g_assert_cmphex(inb(r.m, 0x511), ==, pattern(1));
    g_assert_cmphex(number(r.m, FW_CFG_ID), ==, 3);
    out(r.m, 0x510, FW_CFG_INITRD_DATA, 2);
    for (unsigned i = 0; i < 9000; i++) {
        g_assert_cmphex(inb(r.m, 0x511), ==, pattern(i));
    }
    end(&r);
}

static void test_dma(void)
{
    struct rig r = boot();
    struct machine *m = r.m;
    const uint32_t initrd = (uint32_t)FW_CFG_INITRD_DATA << 16 | DMA_SELECT;

    /* Whole and in parts, at odd addresses. */
    g_assert_cmphex(dma(m, initrd | DMA_READ, INITRD_LEN, 0x200123), ==, 0);
    check_pattern(m, 0x200123, 0, INITRD_LEN);
    g_assert_cmphex(dma(m, initrd, 77, 0), ==, 0); /* selects only */
    g_assert_cmphex(dma(m, DMA_READ, 5, 0x1ffffd), ==, 0);
    check_pattern(m, 0x1ffffd, 0, 5);
    g_assert_cmphex(dma(m, DMA_SKIP, 1000, 0), ==, 0);
    g_assert_cmphex(inb(m, 0x511), ==, pattern(1005));
    g_assert_cmphex(dma(m, DMA_READ, 200000, 0x300000), ==, 0);
    check_pattern(m, 0x300000, 1006, 200000);

    /* Behind the end: zeros. */
    memset(fake_guestmem_ptr(m->memory, 0x300000), 0xee, 0x30001);
    g_assert_cmphex(dma(m, (uint32_t)FW_CFG_ID << 16 | DMA_SELECT | DMA_READ, 0x30000, 0x300000),
                    ==, 0);
    g_assert_cmphex(*(uint32_t *)fake_guestmem_ptr(m->memory, 0x300000), ==, 3);
    for (unsigned i = 4; i < 0x30000; i++) {
        g_assert_cmphex(*(uint8_t *)fake_guestmem_ptr(m->memory, 0x300000 + i), ==, 0);
    }
    g_assert_cmphex(*(uint8_t *)fake_guestmem_ptr(m->memory, 0x330000), ==, 0xee);
    g_assert_cmphex(dma(m, 0x99u << 16 | DMA_SELECT | DMA_READ, 4, 0x300000), ==, 0);
    g_assert_cmphex(*(uint32_t *)fake_guestmem_ptr(m->memory, 0x300000), ==, 0);
    g_assert_cmphex(dma(m, initrd | DMA_SKIP, UINT32_MAX, 0), ==, 0);
    g_assert_cmphex(inb(m, 0x511), ==, 0);
    end(&r);
}

static void test_dma_mistakes(void)
{
    struct rig r = boot();
    struct machine *m = r.m;
    const uint32_t initrd = (uint32_t)FW_CFG_INITRD_DATA << 16 | DMA_SELECT;
    uint32_t *d = fake_guestmem_ptr(m->memory, DESC);

    g_assert_cmphex(dma(m, initrd | DMA_WRITE, 4, 0x300000), ==, DMA_ERROR);
    g_assert_cmphex(dma(m, initrd | DMA_READ, INITRD_LEN, 0xfff000), ==, DMA_ERROR); /* RAM ends */
    check_pattern(m, 0xfff000, 0, 0); /* what of it was written is not said */
    g_assert_cmphex(dma(m, initrd | DMA_READ, 16, UINT64_MAX - 4), ==, DMA_ERROR);
    g_assert_cmphex(dma(m, DMA_READ, UINT32_MAX, UINT64_C(1) << 62), ==, DMA_ERROR);
    fake_guestmem_hole(m->memory, 0x400000, 4096);
    g_assert_cmphex(dma(m, initrd | DMA_READ, 0x10000, 0x3fc000), ==, DMA_ERROR);
    g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 0);

    /* A descriptor that is nowhere, or half of it; other widths start nothing. */
    start_dma_at(m, UINT64_C(1) << 50);
    start_dma_at(m, UINT64_MAX - 3);
    start_dma_at(m, 0xfffff8);
    g_assert_cmphex(GUINT32_FROM_BE(*(uint32_t *)fake_guestmem_ptr(m->memory, 0xfffff8)), ==,
                    DMA_ERROR);
    d[0] = GUINT32_TO_BE(DMA_WRITE);
    d[1] = GUINT32_TO_BE(1);
    out(m, 0x51a, GUINT16_TO_BE(DESC), 2);
    outb(m, 0x51b, 0);
    g_assert_cmphex(answer(m), ==, DMA_WRITE);
    /* The high half is used up. */
    out(m, 0x514, 0xffffffff, 4);
    out(m, 0x518, 0, 4);
    out(m, 0x518, GUINT32_TO_BE(DESC), 4);
    g_assert_cmphex(answer(m), ==, DMA_ERROR);
    g_assert_false(device_is_held(r.dev));
    end(&r);
}

/* A large one goes in slices, while the vCPU waits and everything else goes on. */
static void test_slices(void)
{
    struct rig r;
    GError *err = NULL;
    unsigned turns = 0;
    g_autofree char *path = file_name("large");
    uint32_t len = 10u << 20;
    int fd = g_open(path, O_CREAT | O_RDWR, 0600);

    g_assert_cmpint(ftruncate(fd, len), ==, 0);
    close(fd);
    try_boot(&r, "vmlinuz", "large", NULL, &err);
    g_assert_no_error(err);
    start(r.m);
    memset(fake_guestmem_ptr(r.m->memory, 0x400000), 0xee, len);
    start_dma(r.m, (uint32_t)FW_CFG_INITRD_DATA << 16 | DMA_SELECT | DMA_READ, len, 0x400000);
    g_assert_true(device_is_held(r.dev));
    machine_stop(r.m);
    g_assert_true(machine_busy(r.m)); /* a save waits for it */
    for (; device_is_held(r.dev); turns++) {
        g_assert_cmphex(answer(r.m), !=, 0);
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpuint(turns, >, 0);
    g_assert_false(machine_busy(r.m));
    g_assert_cmphex(answer(r.m), ==, 0);
    for (uint32_t i = 0; i < len; i++) {
        if (*(uint8_t *)fake_guestmem_ptr(r.m->memory, 0x400000 + i)) {
            g_error("byte 0x%x was not written", i);
        }
    }
    g_assert_cmpuint(fake_guestmem_dirty_bytes(r.m->memory), >=, len);
    machine_start(r.m);

    /* A reset in the middle: what is left is not moved. */
    memset(fake_guestmem_ptr(r.m->memory, 0x400000), 0xee, len);
    start_dma(r.m, (uint32_t)FW_CFG_INITRD_DATA << 16 | DMA_SELECT | DMA_READ, len, 0x400000);
    g_assert_true(device_is_held(r.dev));
    machine_reset(r.m, RESET_COLD);
    g_assert_false(device_is_held(r.dev));
    g_assert_cmphex(*(uint8_t *)fake_guestmem_ptr(r.m->memory, 0x400000 + len - 1), ==, 0xee);
    g_assert_cmphex(inb(r.m, 0x511), ==, 'Q'); /* what is selected after a reset */
    start_dma(r.m, (uint32_t)FW_CFG_INITRD_DATA << 16 | DMA_SELECT | DMA_READ, len, 0x400000);
    end(&r); /* in the middle of it */
}

/* Somebody shortens a file that is in use. */
static void test_shortened(void)
{
    struct rig r;
    GError *err = NULL;
    g_autofree char *path = file_name("shrinking");

    make_pattern("shrinking", 100000);
    try_boot(&r, "vmlinuz", "shrinking", NULL, &err);
    g_assert_no_error(err);
    start(r.m);
    log_set_level("all", "error");
    g_assert_cmpint(truncate(path, 10000), ==, 0);
    g_assert_cmphex(dma(r.m, (uint32_t)FW_CFG_INITRD_DATA << 16 | DMA_SELECT | DMA_READ, 100000,
                        0x400000),
                    ==, DMA_ERROR);
    out(r.m, 0x510, FW_CFG_INITRD_DATA, 2);
    for (unsigned i = 0; i < 100000; i++) {
        uint8_t byte = inb(r.m, 0x511);

        g_assert_true(byte == 0 || byte == pattern(i));
    }
    log_set_level("all", "info");
    end(&r);
}

/* ---- kernels that are none ---- */

static void change_nothing(uint8_t *k, size_t *len)
{
}
static void no_magic(uint8_t *k, size_t *len)
{
    k[0x203] = 'x';
}
static void no_flag(uint8_t *k, size_t *len)
{
    k[0x1fe] = 0;
}
static void elf(uint8_t *k, size_t *len)
{
    memcpy(k, "\177ELF", 4);
}
static void tiny(uint8_t *k, size_t *len)
{
    *len = 0x230;
}
static void one_byte(uint8_t *k, size_t *len)
{
    *len = 1;
}
static void old(uint8_t *k, size_t *len)
{
    k[0x206] = 1;
}
static void z_image(uint8_t *k, size_t *len)
{
    k[0x211] = 0;
}
static void all_setup(uint8_t *k, size_t *len)
{
    *len = SETUP_LEN;
}
static void much_setup(uint8_t *k, size_t *len)
{
    k[0x1f1] = 255;
}
static void cut(uint8_t *k, size_t *len)
{
    *len -= 100;
}
static void huge(uint8_t *k, size_t *len)
{
    put32(k + 0x1f4, UINT32_MAX);
}

static void test_refused(void)
{
    static const struct {
        void (*change)(uint8_t *k, size_t *len);
        const char *why; /* NULL: none */
    } kernels[] = {
        {change_nothing, NULL},
        {no_magic, "no kernel of Linux"},
        {no_flag, "no kernel of Linux"},
        {elf, "ELF image"},
        {tiny, "no kernel of Linux"},
        {one_byte, "no kernel of Linux"},
        {old, "too old"},
        {z_image, "too old"},
        {all_setup, "truncated or damaged"},
        {much_setup, "truncated or damaged"},
        {cut, "is truncated: 99900 of 100000 bytes"},
        {huge, "is truncated"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(kernels); i++) {
        size_t len;
        g_autofree uint8_t *k = kernel_image(&len);
        GError *err = NULL;
        struct rig r;

        kernels[i].change(k, &len);
        make_file("bad", k, len);
        try_boot(&r, "bad", NULL, NULL, &err);
        if (kernels[i].why) {
            g_assert_nonnull(err);
            g_assert_nonnull(strstr(err->message, kernels[i].why));
            g_assert_nonnull(strstr(err->message, "bad'"));
            g_clear_error(&err);
        } else {
            g_assert_no_error(err);
        }
        end(&r);
    }
}

static void test_too_large(void)
{
    g_autofree char *path = file_name("sparse"), *text = g_strnfill(70000, 'a');
    GError *err = NULL;
    struct rig r;
    int fd = g_open(path, O_CREAT | O_RDWR, 0600);

    for (uint64_t len = 15u << 20; len < UINT64_C(1) << 40; len <<= 5) {
        g_assert_cmpint(ftruncate(fd, (off_t)len), ==, 0);
        g_assert_null(try_boot(&r, "vmlinuz", "sparse", NULL, &err));
        g_assert_nonnull(strstr(err->message, "sparse' and the kernel do not fit"));
        g_clear_error(&err);
        end(&r);
    }
    close(fd);
    g_assert_null(try_boot(&r, "vmlinuz", NULL, text, &err));
    g_assert_nonnull(strstr(err->message, "command line has 70000 bytes"));
    g_clear_error(&err);
    end(&r);
    log_set_level("all", "error");
    text[5000] = '\0'; /* more than the kernel reads, which is its affair */
    g_assert_nonnull(try_boot(&r, "vmlinuz", NULL, text, &err));
    log_set_level("all", "info");
    end(&r);
}

/* Whatever the header says, nothing is read or placed outside. */
static void test_damaged(void)
{
    GRand *rand = g_rand_new_with_seed(10);
    unsigned taken = 0;

    log_set_level("all", "error");
    for (unsigned i = 0; i < 300; i++) {
        size_t len;
        g_autofree uint8_t *k = kernel_image(&len);
        GError *err = NULL;
        struct rig r;

        for (unsigned n = 0; n < 4; n++) {
            k[g_rand_int_range(rand, 0x1f1, 0x268)] = (uint8_t)g_rand_int(rand);
        }
        make_file("bad", k, len);
        if (try_boot(&r, "bad", "initrd", "vga=ask", &err)) {
            uint32_t at = number(r.m, FW_CFG_INITRD_ADDR);

            taken++;
            g_assert_cmpuint(number(r.m, FW_CFG_SETUP_SIZE), <=, 0x10000);
            g_assert_cmpuint(at, >=, 0x100000 + number(r.m, FW_CFG_KERNEL_SIZE));
            g_assert_cmpuint(at + INITRD_LEN, <=, r.m->ram_low_end);
        }
        g_clear_error(&err);
        end(&r);
    }
    log_set_level("all", "info");
    g_assert_cmpuint(taken, >, 20);
    g_rand_free(rand);
}

static void test_files_refused(void)
{
    static const struct {
        const char *name, *why;
    } files[] = {{"missing", "No such file"},
                 {"fifo", "is no file"},
                 {"empty", "is empty"},
                 {"", "is no file"}};
    struct backend_set *set = backend_set_new();
    g_autofree char *fifo = file_name("fifo");

    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    make_file("empty", "", 0);
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        struct object_desc *o = blob_desc("kernel", files[i].name, false);
        GError *err = NULL;

        g_assert_null(backend_add(set, o, NULL, &err));
        g_assert_nonnull(err);
        g_assert_nonnull(strstr(err->message, files[i].why));
        g_clear_error(&err);
        object_desc_free(o);
    }
    backend_set_free(set);
}

/* Over a live update: the same file, whatever has its name now, of the same size. */
static void test_handed_over(void)
{
    struct rig r = {.set = backend_set_new()};
    g_autofree char *path = file_name("moving"), *other = file_name("other");
    struct backend_set *next = backend_set_new();
    struct object_desc *o = blob_desc("initrd", "moving", false);
    struct handover *h = handover_new(), *got;
    GError *err = NULL;
    struct backend *b;
    uint8_t bytes[16];
    int pair[2];

    make_pattern("moving", 5000);
    make_file("other", "something else", 14);
    add_blob(&r, "initrd", "moving", false);
    g_assert_cmpint(g_rename(other, path), ==, 0);
    backend_set_hand_over(r.set, h);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), ==, 0);
    g_assert_cmpint(handover_send(h, pair[0], &err), ==, 0);
    got = handover_receive(pair[1], &err);
    g_assert_no_error(err);
    b = backend_add(next, o, got, &err);
    g_assert_no_error(err);
    g_assert_cmpuint(blob_size(blob_of(b)), ==, 5000);
    g_assert_cmpint(blob_read(blob_of(b), 4984, bytes, 16), ==, 0);
    g_assert_cmphex(bytes[15], ==, pattern(4999));
    g_assert_cmpint(blob_read(blob_of(b), 4990, bytes, 16), ==, -EIO);
    handover_free(h);
    handover_free(got);
    close(pair[0]);
    close(pair[1]);
    object_desc_free(o);
    backend_set_free(next);
    backend_set_free(r.set);
}

static void test_state(void)
{
    struct rig r = boot(), n = boot();

    out(r.m, 0x510, FW_CFG_INITRD_DATA, 2);
    inb(r.m, 0x511);
    out(r.m, 0x514, 0xff, 4);
    fake_state_round_trip(r.dev, n.dev);
    g_assert_cmphex(inb(n.m, 0x511), ==, pattern(1));
    g_assert_cmphex(inb(n.m, 0x511), ==, pattern(2));
    end(&r);
    end(&n);
}

static void test_fuzz(void)
{
    struct rig r = boot(), n = boot();

    log_set_level("all", "error");
    for (unsigned i = 0; i < 4096; i++) { /* descriptors of all kinds */
        *(uint8_t *)fake_guestmem_ptr(r.m->memory, i) = (uint8_t)(i * i >> 3);
    }
    fuzz(r.m, 510, ranges, -1, 20000);
    while (device_is_held(r.dev)) {
        g_main_context_iteration(NULL, TRUE);
    }
    fake_state_round_trip(r.dev, n.dev);
    fuzz_state(n.dev, 510, ranges, -1);
    log_set_level("all", "info");
    end(&r);
    end(&n);
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    make_files();
    g_test_add_func("/fw-cfg/ports", test_ports);
    g_test_add_func("/fw-cfg/items", test_items);
    g_test_add_func("/fw-cfg/files", test_files);
    g_test_add_func("/fw-cfg/dma", test_dma);
    g_test_add_func("/fw-cfg/dma-mistakes", test_dma_mistakes);
    g_test_add_func("/fw-cfg/slices", test_slices);
    g_test_add_func("/fw-cfg/shortened", test_shortened);
    g_test_add_func("/fw-cfg/refused", test_refused);
    g_test_add_func("/fw-cfg/too-large", test_too_large);
    g_test_add_func("/fw-cfg/damaged", test_damaged);
    g_test_add_func("/fw-cfg/files-refused", test_files_refused);
    g_test_add_func("/fw-cfg/handed-over", test_handed_over);
    g_test_add_func("/fw-cfg/state", test_state);
    g_test_add_func("/fw-cfg/fuzz", test_fuzz);
    rc = g_test_run();
    remove_files();
    return rc;
}
