/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <xendm/backend.h>
#include <xendm/ide.h>
#include <xendm/machine-desc.h>

#include "pc-common.h"

static char *directory; /* firmware and disk images */

static uint8_t cmos(struct machine *m, unsigned index)
{
    outb(m, 0x70, (uint8_t)index);
    return inb(m, 0x71);
}

static uint32_t id_at(struct machine *m, unsigned slot, unsigned function)
{
    return pci_config_read(m->pci, PCI_DEVFN(slot, function), 0, 4);
}

static void object_free(gpointer data)
{
    object_desc_free(data);
}

/* What xl gives for an ordinary guest: 2 of 4 vCPUs, one disk, an empty CD drive, a serial port. */
struct fixture {
    struct machine *m;
    struct machine_desc desc;
    struct backend_set *backends;
};

/* A device behind those that are there. */
static struct object_desc *add_device(struct fixture *f, const char *driver)
{
    struct object_desc *o = object_desc_new(OBJECT_DEVICE, 0, driver, NULL);

    g_ptr_array_add(f->desc.objects, o);
    return o;
}

static void add_backend(struct fixture *f, struct object_desc *o)
{
    GError *err = NULL;

    g_assert_nonnull(backend_add(f->backends, o, NULL, &err));
    g_assert_no_error(err);
    object_desc_free(o);
}

static struct object_desc *add_drive(struct fixture *f, const char *driver, unsigned index,
                                     const char *id, uint64_t size)
{
    g_autofree char *file = g_strdup_printf("%s/%s", directory, id);
    struct object_desc *o = add_device(f, driver);
    bool cd = strcmp(driver, "ide-cd") == 0;

    if (size) {
        int fd;

        unlink(file); /* another machine may have it locked */
        fd = open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
        close(fd);
    }
    add_backend(f, object_desc_make(OBJECT_BACKEND, BACKEND_BLOCK, "raw", id, "file",
                                    size ? file : NULL, "read-only", cd ? "on" : NULL, NULL));
    o->id = g_strdup(id);
    object_desc_set(o, "drive", id);
    object_desc_set(o, "bus", index / 2 ? "ide.1" : "ide.0");
    object_desc_set(o, "unit", index % 2 ? "1" : "0");
    return o;
}

static struct machine *new_machine(void)
{
    struct machine *m = fake_machine_new();

    m->vcpus = 4;
    m->vcpus_online = 2;
    m->ram_low_end = 504ull << 20;
    m->ram_high_end = 4ull << 30;
    return m;
}

static void setup(struct fixture *f, gconstpointer data)
{
    memset(f, 0, sizeof(*f));
    f->m = new_machine();
    f->desc.type = MACHINE_XENFV;
    f->desc.acpi = true;
    f->desc.boot_order = g_strdup("cda");
    f->desc.objects = g_ptr_array_new_with_free_func(object_free);
    f->backends = f->m->backends = backend_set_new();
    add_backend(f, object_desc_new(OBJECT_BACKEND, BACKEND_CHAR, "null", "serial0"));
    object_desc_set(add_device(f, "isa-serial"), "chardev", "serial0");
    add_device(f, "xen-platform");
    object_desc_set(add_device(f, "VGA"), "vgamem_mb", "16");
    add_drive(f, "ide-hd", 0, "ide0-hd", 1ull << 30);
    add_drive(f, "ide-cd", 2, "ide-5632", 0);
}

/* Leaves one device of those above out. */
static void remove_device(struct fixture *f, const char *driver)
{
    for (guint i = 0; i < f->desc.objects->len; i++) {
        struct object_desc *o = g_ptr_array_index(f->desc.objects, i);

        if (strcmp(o->driver, driver) == 0) {
            g_ptr_array_remove_index(f->desc.objects, i);
            return;
        }
    }
    g_assert_not_reached();
}

static struct object_desc *find_object(struct fixture *f, const char *driver)
{
    for (guint i = 0; i < f->desc.objects->len; i++) {
        struct object_desc *o = g_ptr_array_index(f->desc.objects, i);

        if (strcmp(o->driver, driver) == 0) {
            return o;
        }
    }
    return NULL;
}

static void teardown(struct fixture *f, gconstpointer data)
{
    board_free(f->m);
    fake_machine_free(f->m);
    backend_set_free(f->backends);
    g_ptr_array_unref(f->desc.objects);
    g_free(f->desc.boot_order);
}

static void build(struct fixture *f)
{
    GError *err = NULL;

    int rc = board_build(f->m, &f->desc, &err);
    g_assert_no_error(err);
    g_assert_cmpint(rc, ==, 0);
    start(f->m);
}

static void build_fails(struct fixture *f, const char *what)
{
    GError *err = NULL;

    g_assert_cmpint(board_build(f->m, &f->desc, &err), <, 0);
    g_assert_nonnull(err);
    g_assert_nonnull(strstr(err->message, what));
    g_error_free(err);
    g_assert_cmpuint(f->m->devices->len, ==, 0);
    g_assert_null(f->m->board);
    /* The fake hypervisor gives video memory once. */
    fake_machine_free(f->m);
    f->m = new_machine();
    f->m->backends = f->backends;
}

/* As QEMU 7.2's xenfv shows them under Xen (hvmloader's log). */
static void test_slots(struct fixture *f, gconstpointer data)
{
    struct object_desc *pv = add_device(f, "xen-pvdevice");
    unsigned functions = 0;

    object_desc_set(pv, "device-id", "0xc000");
    build(f);
    g_assert_cmphex(id_at(f->m, 0, 0), ==, 0x12378086);
    g_assert_cmphex(id_at(f->m, 1, 0), ==, 0x70008086);
    g_assert_cmphex(id_at(f->m, 1, 1), ==, 0x70108086);
    g_assert_cmphex(id_at(f->m, 1, 2), ==, 0xffffffff);
    g_assert_cmphex(id_at(f->m, 1, 3), ==, 0x71138086);
    g_assert_cmphex(id_at(f->m, 2, 0), ==, 0x00015853);
    g_assert_cmphex(id_at(f->m, 3, 0), ==, 0x11111234);
    g_assert_cmphex(id_at(f->m, 4, 0), ==, 0xc0005853);
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        g_assert_true(f->m->hv->function[devfn] == (pci_device_at(f->m->pci, devfn) != NULL));
        functions += f->m->hv->function[devfn];
    }
    g_assert_cmpuint(functions, ==, 7);
    g_assert_nonnull(f->m->input);
    g_assert_nonnull(f->m->display);
    g_assert_cmphex(in(f->m, 0xae0c, 4), ==, 0xfffffff4); /* chip set and VGA stay */
}

static void test_ports(struct fixture *f, gconstpointer data)
{
    static const uint16_t claimed[] = {
        0x00,  0x0f,  0x10,  0x13,   0x60,   0x64,   0x70,   0x71,  0x81,  0x8f,  0x92,
        0xb2,  0xb3,  0xc0,  0xdf,   0x170,  0x177,  0x1f0,  0x1f7, 0x376, 0x3f6, 0x3f8,
        0x3ff, 0x3c0, 0x3da, 0xae00, 0xaf00, 0xafe0, 0xafe3, 0xcf8, 0xcff,
    };
    /* Xen's own (toolstack.md 4.4), hvmloader's test ports, and what is not there. */
    static const uint16_t free_ports[] = {
        0x20, 0x21, 0x40,  0x43,  0x5e,  0x5f,  0x61,  0x80,  0xa0,   0xa1,
        0xe9, 0xed, 0x2f8, 0x3f0, 0x378, 0x4d0, 0x4d1, 0x510, 0xb000, 0xb008,
    };

    build(f);
    for (unsigned i = 0; i < G_N_ELEMENTS(claimed); i++) {
        if (!aspace_find(f->m->pio, claimed[i])) {
            g_error("port 0x%x is not served", claimed[i]);
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(free_ports); i++) {
        struct region *r = aspace_find(f->m->pio, free_ports[i]);

        if (r) {
            g_error("port 0x%x is taken by %s", free_ports[i], r->name);
        }
    }
}

/* The bytes QEMU 7.2 sets for the same machine. */
static void test_cmos(struct fixture *f, gconstpointer data)
{
    static const struct {
        uint8_t index, value;
    } qemu[] = {
        {0x10, 0x00}, {0x12, 0xf0}, {0x14, 0x06}, {0x15, 0x80}, {0x16, 0x02}, {0x17, 0xff},
        {0x18, 0xff}, {0x19, 0x2f}, {0x1a, 0x00}, {0x1b, 0x20}, {0x1c, 0x08}, {0x1d, 0x10},
        {0x1e, 0xff}, {0x1f, 0xff}, {0x20, 0xc8}, {0x21, 0x20}, {0x22, 0x08}, {0x23, 0x3f},
        {0x24, 0x00}, {0x30, 0xff}, {0x31, 0xff}, {0x34, 0x80}, {0x35, 0x1e}, {0x38, 0x10},
        {0x39, 0x01}, {0x3d, 0x32}, {0x5b, 0x00}, {0x5f, 0x01},
    };

    build(f);
    for (unsigned i = 0; i < G_N_ELEMENTS(qemu); i++) {
        if (cmos(f->m, qemu[i].index) != qemu[i].value) {
            g_error("CMOS 0x%02x is 0x%02x, QEMU's 0x%02x", qemu[i].index,
                    cmos(f->m, qemu[i].index), qemu[i].value);
        }
    }
    g_assert_cmphex(cmos(f->m, 0x32), >=, 0x20);
    g_assert_cmphex(cmos(f->m, 0x32), ==, cmos(f->m, 0x37));
}

static void test_cmos_big(struct fixture *f, gconstpointer data)
{
    f->m->ram_low_end = 0xf0000000;
    f->m->ram_high_end = (4ull << 30) + (3ull << 30);
    add_drive(f, "ide-hd", 1, "ide1-hd", 137ull << 30);
    add_drive(f, "ide-hd", 3, "ide3-hd", 100ull << 20);
    g_free(f->desc.boot_order);
    f->desc.boot_order = g_strdup("n");
    build(f);
    g_assert_cmphex(cmos(f->m, 0x34), ==, 0x00);
    g_assert_cmphex(cmos(f->m, 0x35), ==, 0xef);
    g_assert_cmphex(cmos(f->m, 0x5b), ==, 0x00);
    g_assert_cmphex(cmos(f->m, 0x5c), ==, 0xc0);
    g_assert_cmphex(cmos(f->m, 0x5d), ==, 0x00);
    g_assert_cmphex(cmos(f->m, 0x12), ==, 0xff);
    g_assert_cmphex(cmos(f->m, 0x1a), ==, 0x2f);
    g_assert_cmphex(cmos(f->m, 0x24), ==, 0xff);
    g_assert_cmphex(cmos(f->m, 0x25), ==, 0x3f);
    g_assert_cmphex(cmos(f->m, 0x2c), ==, 0x3f);
    g_assert_cmphex(cmos(f->m, 0x39), ==, 0x05); /* 100 MiB need no translation */
    g_assert_cmphex(cmos(f->m, 0x3d), ==, 0x04);
    g_assert_cmphex(cmos(f->m, 0x38), ==, 0x00);
}

static void test_drives(struct fixture *f, gconstpointer data)
{
    struct device *hd, *cd;

    build(f);
    hd = board_drive(f->m, "ide0-hd");
    cd = board_drive(f->m, "ide-5632");
    g_assert_nonnull(hd);
    g_assert_nonnull(cd);
    g_assert_true(ide_drive_is_cd(cd));
    g_assert_false(ide_drive_is_cd(hd));
    g_assert_true(board_drive(f->m, "0") == hd);
    g_assert_true(board_drive(f->m, "2") == cd);
    g_assert_null(board_drive(f->m, "1"));
    g_assert_null(board_drive(f->m, "4"));
    g_assert_null(board_drive(f->m, ""));
    g_assert_null(board_drive(f->m, "serial0"));
    g_assert_null(board_drive(f->m, "piix3"));
}

static void test_vcpus(struct fixture *f, gconstpointer data)
{
    build(f);
    g_assert_cmphex(inb(f->m, 0xaf00), ==, 0x03);
    g_assert_true(board_vcpu_is_online(f->m, 1));
    g_assert_false(board_vcpu_is_online(f->m, 2));
    out(f->m, 0xafe2, 4, 2);
    g_assert_cmpint(board_vcpu_online(f->m, 1), ==, 0);
    g_assert_false(f->m->hv->isa_level[9]);
    g_assert_cmpint(board_vcpu_online(f->m, 3), ==, 0);
    g_assert_true(f->m->hv->isa_level[9]);
    g_assert_cmphex(inb(f->m, 0xaf00), ==, 0x0b);
    g_assert_cmpint(board_vcpu_online(f->m, 4), ==, -EINVAL);
    g_assert_cmpint(board_vcpu_online(f->m, UINT32_MAX), ==, -EINVAL);
}

static void test_lean(struct fixture *f, gconstpointer data)
{
    f->desc.type = MACHINE_PC;
    f->desc.acpi = false;
    remove_device(f, "VGA");
    remove_device(f, "isa-serial");
    remove_device(f, "xen-platform");
    build(f);
    g_assert_cmphex(id_at(f->m, 1, 3), ==, 0xffffffff);
    g_assert_cmphex(id_at(f->m, 2, 0), ==, 0xffffffff);
    g_assert_null(aspace_find(f->m->pio, 0x10));
    g_assert_null(aspace_find(f->m->pio, 0x3f8));
    g_assert_null(aspace_find(f->m->pio, 0xafe0));
    g_assert_null(f->m->display);
    g_assert_true(board_vcpu_is_online(f->m, 1));
    g_assert_cmpint(board_vcpu_online(f->m, 1), ==, 0);
    g_assert_cmpint(board_vcpu_online(f->m, 2), ==, -EINVAL);
}

static void test_cirrus(struct fixture *f, gconstpointer data)
{
    struct object_desc *o = find_object(f, "VGA");

    g_free(o->driver);
    o->driver = g_strdup("cirrus-vga");
    object_desc_set(o, "vgamem_mb", "8");
    object_desc_set(o, "romfile", "");
    build(f);
    g_assert_cmphex(id_at(f->m, 3, 0), ==, 0x00b81013);
    g_assert_cmpuint(f->m->hv->vram_pages, ==, (4u << 20) >> GUEST_PAGE_SHIFT);
}

static void test_no_hardware(struct fixture *f, gconstpointer data)
{
    f->desc.type = MACHINE_XENPV;
    g_assert_cmpint(board_build(f->m, &f->desc, NULL), ==, 0);
    g_assert_cmpuint(f->m->devices->len, ==, 0);
    g_assert_null(board_drive(f->m, "0"));
}

static void test_addr(struct fixture *f, gconstpointer data)
{
    struct object_desc *a = add_device(f, "xen-pvdevice");
    struct object_desc *b = add_device(f, "xen-pvdevice");

    object_desc_set(a, "device-id", "1");
    object_desc_set(a, "addr", "0x1d.0x0");
    object_desc_set(b, "device-id", "2");
    object_desc_set(b, "addr", "a");
    build(f);
    g_assert_cmphex(id_at(f->m, 0x1d, 0), ==, 0x00015853);
    g_assert_cmphex(id_at(f->m, 0x0a, 0), ==, 0x00025853);
}

/* Each failure names what is wrong and leaves nothing behind; then the same description can be
 * built. */
static void test_failures(struct fixture *f, gconstpointer data)
{
    struct object_desc *d;

    g_free(f->desc.boot_order);
    f->desc.boot_order = g_strdup("cx");
    build_fails(f, "order=cx");
    g_free(f->desc.boot_order);
    f->desc.boot_order = g_strdup("cdna");
    build_fails(f, "three");
    g_free(f->desc.boot_order);
    f->desc.boot_order = NULL;

    d = add_device(f, "no-such-thing");
    build_fails(f, "no-such-thing");
    g_free(d->driver);
    d->driver = g_strdup("xen-pvdevice");
    build_fails(f, "device-id");
    object_desc_set(d, "device-id", "0xc000");
    object_desc_set(d, "addr", "3");
    build_fails(f, "VGA"); /* who has the slot */
    object_desc_set(d, "addr", "32");
    build_fails(f, "32");
    object_desc_set(d, "addr", "4");
    object_desc_set(d, "colour", "red");
    build_fails(f, "colour");
    g_ptr_array_remove(f->desc.objects, d);
    d = add_device(f, "xen-pvdevice");
    object_desc_set(d, "device-id", "0xc000");
    object_desc_set(d, "addr", "4");

    setenv("XENDM_FIRMWARE_DIR", "/nonexistent", 1);
    build_fails(f, "/nonexistent/vgabios-stdvga.bin");
    setenv("XENDM_FIRMWARE_DIR", directory, 1);

    d = add_drive(f, "ide-hd", 2, "ide2-hd", 1 << 20);
    build_fails(f, "ide2-hd");
    object_desc_set(d, "unit", "2");
    build_fails(f, "unit");
    object_desc_set(d, "unit", "1");
    object_desc_set(d, "drive", "ide0-hd");
    build_fails(f, "used by device ide0-hd");
    object_desc_set(d, "drive", "nowhere");
    build_fails(f, "there is no block back end 'nowhere'");
    object_desc_set(d, "drive", "ide2-hd");
    build(f);
}

/* The whole machine, after some life: saved, loaded into a fresh one, saved again. */
static void test_whole_state(struct fixture *f, gconstpointer data)
{
    static const struct fuzz_range ranges[] = {
        {0x00, 16}, {0x60, 5},   {0x70, 2},    {0x81, 15},  {0xc0, 32},
        {0x3f8, 8}, {0x3c0, 32}, {0xae00, 16}, {0xafe0, 4}, {0},
    };
    struct fixture g;
    GByteArray *first = g_byte_array_new(), *second = g_byte_array_new();
    GError *err = NULL;

    setup(&g, NULL);
    build(f);
    fuzz(f->m, 0xb0a2d, ranges, PCI_DEVFN(2, 0), 20000);
    machine_stop(f->m); /* from whatever the guest brought it to */
    while (machine_busy(f->m)) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpint(machine_save(f->m, first, &err), ==, 0);
    g_assert_no_error(err);

    g.m->restored = true;
    /* The domain has its video memory already. */
    g_assert_cmpint(hv_memory_populate(g.m->hv, f->m->hv->vram_gfn, f->m->hv->vram_pages), ==, 0);
    g_assert_cmpint(board_build(g.m, &g.desc, &err), ==, 0);
    g_assert_no_error(err);
    machine_complete(g.m);
    g_assert_cmpint(machine_load(g.m, first->data, first->len, &err), ==, 0);
    g_assert_no_error(err);
    g_assert_cmpint(machine_save(g.m, second, &err), ==, 0);
    g_assert_no_error(err);
    g_assert_cmpmem(first->data, first->len, second->data, second->len);
    g_byte_array_free(first, TRUE);
    g_byte_array_free(second, TRUE);
    teardown(&g, NULL);
}

int main(int argc, char **argv)
{
    g_autofree char *rom = NULL;
    g_autofree char *data = g_malloc0(4096);
    int ret;

    g_test_init(&argc, &argv, NULL);
    directory = g_dir_make_tmp("xendm-board-XXXXXX", NULL);
    g_assert_nonnull(directory);
    rom = g_build_filename(directory, "vgabios-stdvga.bin", NULL);
    memcpy(data, "\x55\xaa\x08", 3);
    g_assert_true(g_file_set_contents(rom, data, 4096, NULL));
    setenv("XENDM_FIRMWARE_DIR", directory, 1);
#define ADD(name, fn) g_test_add("/board/" name, struct fixture, NULL, setup, fn, teardown)
    ADD("slots", test_slots);
    ADD("ports", test_ports);
    ADD("cmos", test_cmos);
    ADD("cmos-big", test_cmos_big);
    ADD("drives", test_drives);
    ADD("vcpus", test_vcpus);
    ADD("lean", test_lean);
    ADD("cirrus", test_cirrus);
    ADD("no-hardware", test_no_hardware);
    ADD("addr", test_addr);
    ADD("failures", test_failures);
    ADD("whole-state", test_whole_state);
    ret = g_test_run();
    {
        static const char *const names[] = {
            "vgabios-stdvga.bin", "ide0-hd", "ide1-hd", "ide2-hd", "ide3-hd", "ide-5632",
        };

        for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
            g_autofree char *file = g_build_filename(directory, names[i], NULL);

            g_unlink(file);
        }
    }
    g_rmdir(directory);
    g_free(directory);
    return ret;
}
