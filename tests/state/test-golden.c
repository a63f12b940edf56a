/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * States that an xendm of format version 1 has saved (tests/state/golden, made by make-golden) are
 * loaded into a whole machine on fakes, and so are several thousand damaged copies, each with a
 * checksum that fits. Every copy is refused, and then the machine is as it was; or it is loaded,
 * and then the machine runs, can be saved, and what it saves is accepted.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <xendm/backend.h>
#include <xendm/display.h>
#include <xendm/log.h>
#include <xendm/machine-desc.h>

#include "tests/unit/look.h"
#include "tests/unit/pc-common.h"

#define DISK_SIZE (8u << 20)
#define DISC_SIZE (2u << 20)
#define STICK_SIZE (1u << 20)
#define NVM_SIZE (1u << 20)
#define VRAM_PAGES 4096u
#define CIRRUS_PAGES 1024u
#define VRAM_GFN 0xf0000u /* where the script put it */
#define FLIPS 250u
#define STEPS 200u /* guest accesses to a machine that took a damaged state */
#define SHA_SIZE 32u
#define END_SIZE (8u + SHA_SIZE)

/* Of golden.xds' machine; of cards.xds', whose sections of the ordinary machine are the same. */
static const char *const names[] = {"pio",       "dma",         "graphics", "cd",
                                    "described", "nvme",        "sound",    "virtio",
                                    "console",   "virtio-scsi", "xhci"};
static const char *const card_names[] = {"nics", "cirrus", "usb"};

static bool cards;                   /* the machine of the test that runs */
static bool with_nvme;               /* … and golden-nvme.xds' */
static bool with_sound;              /* … and golden-sound.xds' */
static bool with_virtio;             /* … and golden-virtio.xds' */
static bool with_scsi;               /* … and golden-virtio-scsi.xds' */
static bool with_xhci;               /* … and golden-xhci.xds' */
static bool with_console;            /* … and golden-console.xds' */
static uint64_t vram_gfn = VRAM_GFN; /* where the domain has its video memory */

static char *directory;

/* ---- the machines of the scripts ---- */

struct fixture {
    struct machine *m;
    struct machine_desc desc;
};

static void object_free(gpointer data)
{
    object_desc_free(data);
}

static void add_backend(struct fixture *f, struct object_desc *o)
{
    GError *err = NULL;

    g_assert_nonnull(backend_add(f->m->backends, o, NULL, &err));
    g_assert_no_error(err);
    object_desc_free(o);
}

static void add_medium(struct fixture *f, const char *id, off_t size, bool read_only)
{
    g_autofree char *file = g_strdup_printf("%s/%s", directory, id);
    int fd;

    unlink(file); /* another machine may have it locked */
    fd = open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    close(fd);
    add_backend(f, object_desc_make(OBJECT_BACKEND, BACKEND_BLOCK, "raw", id, "file", file,
                                    "read-only", read_only ? "on" : NULL, NULL));
}

static void add_drive(struct fixture *f, const char *driver, const char *bus, const char *id,
                      off_t size)
{
    add_medium(f, id, size, strcmp(driver, "ide-cd") == 0);
    g_ptr_array_add(f->desc.objects, object_desc_make(OBJECT_DEVICE, 0, driver, id, "drive", id,
                                                      "bus", bus, "unit", "0", NULL));
}

static void add_device(struct fixture *f, struct object_desc *o)
{
    g_ptr_array_add(f->desc.objects, o);
}

static void add_cards(struct fixture *f)
{
    add_medium(f, "stick", STICK_SIZE, false);
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "cirrus-vga", NULL, "vgamem_mb", "8", NULL));
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "piix3-usb-uhci", NULL, "addr", "01.2", NULL));
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "rtl8139", "nic0", "mac", "00:16:3e:00:00:01",
                                   "rombar", "0", "addr", "04", NULL));
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "e1000", "nic1", "mac", "00:16:3e:00:00:02",
                                   "rombar", "0", "addr", "05", NULL));
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "usb-hub", NULL, "port", "1", NULL));
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "usb-tablet", NULL, "port", "1.1", NULL));
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "usb-kbd", NULL, "port", "1.2", NULL));
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "usb-storage", NULL, "port", "2", "drive",
                                   "stick", NULL));
    add_drive(f, "ide-hd", "ide.0", "ide0-hd0", DISK_SIZE);
}

static void add_console(struct fixture *f)
{
    add_backend(f, object_desc_new(OBJECT_BACKEND, BACKEND_CHAR, "null", "c0"));
    add_backend(f, object_desc_new(OBJECT_BACKEND, BACKEND_CHAR, "null", "c1"));
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "virtio-serial-pci", "vs", "max_ports", "4",
                                   "addr", "06", NULL));
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "virtconsole", "con0", "chardev", "c0", NULL));
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "virtserialport", "port0", "chardev", "c1",
                                   "name", "agent", NULL));
}

static void add_scsi(struct fixture *f)
{
    add_medium(f, "vd", NVM_SIZE, false);
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "virtio-scsi-pci", "vs", "num_queues", "1",
                                   "addr", "06", NULL));
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "scsi-hd", "hd", "drive", "vd", "bus", "vs.0",
                                   "scsi-id", "1", "lun", "3", NULL));
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "scsi-cd", "cd", "bus", "vs.0", NULL));
}

static void add_xhci(struct fixture *f)
{
    add_medium(f, "stick", STICK_SIZE, false);
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "nec-usb-xhci", "xhci", "addr", "05", NULL));
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "usb-hub", NULL, "port", "1", NULL));
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "usb-tablet", NULL, "port", "1.1", NULL));
    add_device(f, object_desc_make(OBJECT_DEVICE, 0, "usb-storage", NULL, "port", "1.2", "drive",
                                   "stick", NULL));
}

static struct fixture *fixture_new(void)
{
    struct fixture *f = g_new0(struct fixture, 1);
    GError *err = NULL;

    f->m = fake_machine_new();
    f->m->vcpus = 1;
    f->m->vcpus_online = 1;
    f->desc.type = MACHINE_XENFV;
    f->desc.acpi = true;
    f->desc.boot_order = (char *)(uintptr_t) "cda";
    f->desc.objects = g_ptr_array_new_with_free_func(object_free);
    f->m->backends = backend_set_new();
    f->m->restored = true;
    add_backend(f, object_desc_new(OBJECT_BACKEND, BACKEND_CHAR, "null", "serial0"));
    g_ptr_array_add(f->desc.objects, object_desc_make(OBJECT_DEVICE, 0, "isa-serial", "serial0",
                                                      "chardev", "serial0", NULL));
    g_ptr_array_add(f->desc.objects, object_desc_new(OBJECT_DEVICE, 0, "xen-platform", NULL));
    if (cards) {
        add_cards(f);
    } else {
        add_device(f, object_desc_make(OBJECT_DEVICE, 0, "VGA", NULL, "vgamem_mb", "16", NULL));
        add_drive(f, "ide-hd", "ide.0", "ide0-hd0", DISK_SIZE);
        add_drive(f, "ide-cd", "ide.1", "ide-5632", DISC_SIZE);
    }
    if (with_nvme) {
        add_medium(f, "nvm", NVM_SIZE, false);
        add_device(f, object_desc_make(OBJECT_DEVICE, 0, "nvme", "nvme0", "drive", "nvm", "serial",
                                       "abc", "addr", "06", NULL));
    }
    if (with_sound) {
        add_device(f, object_desc_make(OBJECT_DEVICE, 0, "AC97", "sound0", "addr", "05", NULL));
        add_device(f,
                   object_desc_make(OBJECT_DEVICE, 0, "i6300esb", "watchdog0", "addr", "06", NULL));
    }
    if (with_virtio) {
        add_medium(f, "vd", NVM_SIZE, false);
        add_device(f, object_desc_make(OBJECT_DEVICE, 0, "virtio-blk-pci", "virtio0", "drive", "vd",
                                       "serial", "abc", "addr", "06", "packed", "on", NULL));
    }
    if (with_scsi) {
        add_scsi(f);
    }
    if (with_xhci) {
        add_xhci(f);
    }
    if (with_console) {
        add_console(f);
    }
    /* The domain has its video memory already. */
    g_assert_cmpint(hv_memory_populate(f->m->hv, vram_gfn, cards ? CIRRUS_PAGES : VRAM_PAGES), ==,
                    0);
    g_assert_cmpint(board_build(f->m, &f->desc, &err), ==, 0);
    g_assert_no_error(err);
    machine_complete(f->m);
    return f;
}

static void fixture_free(struct fixture *f)
{
    struct backend_set *backends = f->m->backends;

    board_free(f->m);
    fake_machine_free(f->m);
    backend_set_free(backends);
    g_ptr_array_unref(f->desc.objects);
    g_free(f);
}

static GByteArray *save(struct machine *m)
{
    GByteArray *out = g_byte_array_new();
    GError *err = NULL;

    g_assert_cmpint(machine_save(m, out, &err), ==, 0);
    g_assert_no_error(err);
    return out;
}

static void assert_same(const GByteArray *a, const GByteArray *b)
{
    g_assert_cmpmem(a->data, a->len, b->data, b->len);
}

static GByteArray *golden(const char *name)
{
    g_autofree char *file = g_strdup_printf(GOLDEN_DIR "/%s.state", name);
    GError *err = NULL;
    char *data;
    gsize len;

    g_file_get_contents(file, &data, &len, &err);
    g_assert_no_error(err);
    return g_byte_array_new_take((guint8 *)data, len);
}

/* ---- looking at a stream, as the format says and without any of the loader's code ---- */

static uint32_t get32(const GByteArray *s, guint at)
{
    uint32_t v;

    g_assert_cmpuint(at + 4, <=, s->len);
    memcpy(&v, s->data + at, 4);
    return GUINT32_FROM_LE(v);
}

static void add32(GByteArray *s, guint at, uint32_t more)
{
    uint32_t v = GUINT32_TO_LE(get32(s, at) + more);

    memcpy(s->data + at, &v, 4);
}

#define NEST_MAX 8

struct spot {
    guint at, len; /* of a field's value */
    guint header;  /* of the field itself: its type */
    unsigned type;
    guint length[NEST_MAX]; /* where the lengths are that count these bytes, outermost first */
    unsigned depth;
};

static void find_fields(const GByteArray *s, guint at, guint end, struct spot outer, GArray *out)
{
    at += 4; /* version */
    while (at < end) {
        struct spot f = outer;

        f.header = at;
        f.type = s->data[at] & 0x7f;
        at += 2u + s->data[at + 1];
        g_assert_cmpuint(f.depth, <, NEST_MAX);
        f.length[f.depth++] = at;
        f.len = get32(s, at);
        f.at = at + 4;
        g_array_append_val(out, f);
        if (f.type == 11) {
            guint element = f.at + 4;

            for (uint32_t n = get32(s, f.at); n > 0; n--) {
                struct spot inner = f;

                inner.length[inner.depth++] = element;
                find_fields(s, element + 4, element + 4 + get32(s, element), inner, out);
                element += 4 + get32(s, element);
            }
        } else if (f.type == 12) {
            find_fields(s, f.at, f.at + f.len, f, out);
        }
        at = f.at + f.len;
    }
    g_assert_cmpuint(at, ==, end);
}

struct record {
    guint at, len; /* with its head */
};

/* Those of type SECTION. */
static GArray *find_records(const GByteArray *s)
{
    GArray *out = g_array_new(FALSE, FALSE, sizeof(struct record));

    for (guint at = 20 + get32(s, 16); get32(s, at) != 0;) {
        struct record r = {.at = at, .len = 8 + get32(s, at + 4)};

        if ((get32(s, at) & 0x7fffffff) == 1) {
            g_array_append_val(out, r);
        }
        at += r.len;
    }
    return out;
}

static guint record_payload(const GByteArray *s, guint at)
{
    at += 8;
    at += 1u + s->data[at];
    return at + 1u + s->data[at];
}

static GArray *find_all_fields(const GByteArray *s)
{
    GArray *records = find_records(s), *out = g_array_new(FALSE, FALSE, sizeof(struct spot));

    for (guint i = 0; i < records->len; i++) {
        struct record *r = &g_array_index(records, struct record, i);
        struct spot outer = {.length = {r->at + 4}, .depth = 1};

        find_fields(s, record_payload(s, r->at), r->at + r->len, outer, out);
    }
    g_array_unref(records);
    return out;
}

/* The end and a checksum for what is there. */
static void seal(GByteArray *s)
{
    static const guint8 end[8] = {0, 0, 0, 0, SHA_SIZE};
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    guint8 digest[SHA_SIZE];
    gsize size = sizeof(digest);

    g_checksum_update(sum, s->data, (gssize)s->len);
    g_checksum_get_digest(sum, digest, &size);
    g_checksum_free(sum);
    g_byte_array_append(s, end, sizeof(end));
    g_byte_array_append(s, digest, sizeof(digest));
}

/* A copy without the end. */
static GByteArray *body(const GByteArray *s)
{
    GByteArray *out = g_byte_array_new();

    return g_byte_array_append(out, s->data, s->len - END_SIZE);
}

static void insert(GByteArray *s, guint at, const void *bytes, guint len)
{
    guint old = s->len;

    g_byte_array_set_size(s, old + len);
    memmove(s->data + at + len, s->data + at, old - at);
    memcpy(s->data + at, bytes, len);
}

/* ---- what a damaged state may do ---- */

struct trial {
    struct fixture *f; /* never ran, takes the next one */
    GByteArray *before;
    unsigned refused, loaded;
};

static void settle(struct machine *m)
{
    gint64 until = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;

    while (machine_busy(m)) {
        g_main_context_iteration(NULL, FALSE);
        g_assert_cmpint(g_get_monotonic_time(), <, until);
    }
}

/* The guest goes on, at random, with whatever it found itself in. */
static void run_guest(struct machine *m)
{
    static const struct fuzz_range ports[] = {
        {0x1f0, 8}, {0x3f6, 1},    {0x170, 8},   {0x376, 1},   {0x3b4, 2}, {0x3ba, 1}, {0x3c0, 32},
        {0x1ce, 3}, {0x60, 1},     {0x64, 1},    {0x70, 2},    {0x3f8, 8}, {0x00, 16}, {0xc000, 16},
        {0x10, 4},  {0xc100, 256}, {0xc200, 64}, {0xc300, 32}, {0},
    };
    g_autoptr(GRand) rand = g_rand_new_with_seed(4);
    unsigned width, height;

    machine_start(m);
    look_at(m->display, true, &width, &height);
    for (unsigned i = 0; i < STEPS; i++) {
        fuzz_step(m, rand, ports, -1);
        aspace_write(m->mmio, 0xa0000 + g_rand_int(rand) % 0x1fff0, g_rand_int(rand), 4);
        aspace_read(m->mmio, 0xa0000 + g_rand_int(rand) % 0x1fff0, 4);
        g_main_context_iteration(NULL, FALSE);
    }
    fake_clock_step(m, 20 * NS_PER_MS);
    look_at(m->display, true, &width, &height); /* whatever the registers say now can be drawn */
    machine_stop(m);
    settle(m);
}

static void assert_one_line(const GError *err)
{
    g_assert_nonnull(err);
    g_assert_true(g_str_has_prefix(err->message, "saved state: "));
    for (const char *p = err->message; *p; p++) {
        g_assert_true(g_ascii_isprint(*p));
    }
}

/* The domain has its video memory wherever the guest put it. */
static struct fixture *fixture_after(const struct fixture *f)
{
    struct fixture *next;

    vram_gfn = f->m->hv->vram_gfn;
    next = fixture_new();
    vram_gfn = VRAM_GFN;
    return next;
}

/* Takes `s` over. True when it was loaded. */
static bool try(struct trial *t, GByteArray *s)
{
    g_autoptr(GError) err = NULL;
    int rc = machine_load(t->f->m, s->data, s->len, &err);

    if (rc < 0) {
        GByteArray *after = save(t->f->m);

        assert_one_line(err);
        assert_same(t->before, after);
        g_byte_array_unref(after);
        t->refused++;
    } else {
        GByteArray *again;
        struct fixture *next;

        g_assert_no_error(err);
        run_guest(t->f->m);
        again = save(t->f->m);
        next = fixture_after(t->f);
        g_assert_cmpint(machine_load(next->m, again->data, again->len, &err), ==, 0);
        g_assert_no_error(err);
        fixture_free(next);
        fixture_free(t->f);
        g_byte_array_unref(again);
        t->f = fixture_new();
        t->loaded++;
    }
    g_byte_array_unref(s);
    return rc == 0;
}

static bool try_sealed(struct trial *t, GByteArray *s)
{
    seal(s);
    return try(t, s);
}

static void trial_begin(struct trial *t)
{
    memset(t, 0, sizeof(*t));
    t->f = fixture_new();
    t->before = save(t->f->m);
}

static void trial_end(struct trial *t, unsigned at_least)
{
    g_test_message("%u refused, %u loaded", t->refused, t->loaded);
    g_assert_cmpuint(t->refused + t->loaded, >=, at_least);
    g_byte_array_unref(t->before);
    fixture_free(t->f);
}

/* ---- tests ---- */

static bool same_name(const GByteArray *a, guint at_a, const GByteArray *b, guint at_b)
{
    return a->data[at_a] == b->data[at_b] &&
           memcmp(a->data + at_a, b->data + at_b, 1u + a->data[at_a]) == 0;
}

/* The record of `b` with the device and section of the one at `at` of `a`; 0 when there is none. */
static guint same_record(const GByteArray *a, guint at, const GByteArray *b)
{
    GArray *records = find_records(b);
    guint found = 0;

    for (guint i = 0; i < records->len; i++) {
        guint there = g_array_index(records, struct record, i).at;

        if (same_name(a, at + 8, b, there + 8) &&
            same_name(a, at + 9 + a->data[at + 8], b, there + 9 + b->data[there + 8])) {
            found = there;
        }
    }
    g_array_unref(records);
    return found;
}

/* The part of the configuration space that is the device's. A capability may have come since. */
static void assert_capabilities(const uint8_t *old, const uint8_t *now)
{
    uint8_t expected[PCI_CONFIG_SIZE];

    memcpy(expected, old, sizeof(expected));
    if (!old[0x68] && now[0x68] == 0x13) { /* AF, of NVMe, behind its PM capability */
        expected[0x61] = 0x68;
        memcpy(expected + 0x68, now + 0x68, 6);
    }
    g_assert_cmpmem(expected + 0x40, 0xc0, now + 0x40, 0xc0);
}

static bool is_part(const struct spot *part, const struct spot *whole)
{
    unsigned below = whole->type == 11 ? 2 : 1; /* an array's elements are counted, too */

    return part->depth == whole->depth + below && part->header >= whole->at &&
           part->header < whole->at + whole->len;
}

/* The field in `whole` of that name which comes as the `nth`, from 0. */
static const struct spot *part_named(const GByteArray *b, const GArray *fields,
                                     const struct spot *whole, const GByteArray *a, guint name,
                                     unsigned nth)
{
    for (guint i = 0; i < fields->len; i++) {
        const struct spot *f = &g_array_index(fields, struct spot, i);

        if (is_part(f, whole) && same_name(a, name, b, f->header + 1) && nth-- == 0) {
            return f;
        }
    }
    return NULL;
}

/* A field is the same; one that has fields in it has at least the same ones. */
static void assert_field(const GByteArray *a, const GArray *fields, const struct spot *f,
                         const GByteArray *b, const GArray *others, const struct spot *other)
{
    bool whole = true;

    for (guint i = 0; i < fields->len; i++) {
        const struct spot *part = &g_array_index(fields, struct spot, i), *there;
        unsigned nth = 0;

        if (!is_part(part, f)) {
            continue;
        }
        whole = false;
        while (part_named(a, fields, f, a, part->header + 1, nth) != part) {
            nth++;
        }
        there = part_named(b, others, other, a, part->header + 1, nth);
        g_assert_nonnull(there);
        assert_field(a, fields, part, b, others, there);
    }
    if (whole) {
        g_assert_cmpmem(a->data + f->at, f->len, b->data + other->at, other->len);
    }
}

/*
 * Every field of `a` is in `b`, with its value. Newer devices may have more. What a PCI function
 * says of itself is the program's and may change, so bytes 0 to 3Fh of its configuration are not
 * compared here but for command and BARs.
 */
static void assert_contains(const GByteArray *a, const GByteArray *b)
{
    GArray *fields = find_all_fields(a), *others = find_all_fields(b), *records = find_records(a);

    for (guint i = 0, r = 0; i < fields->len; i++) {
        const struct spot *f = &g_array_index(fields, struct spot, i), *other = NULL;
        guint record, there, there_end;

        if (f->depth > 2) {
            continue; /* compared as a part of what it is in */
        }
        while (f->header >= g_array_index(records, struct record, r).at +
                                g_array_index(records, struct record, r).len) {
            r++;
        }
        record = g_array_index(records, struct record, r).at;
        there = same_record(a, record, b);
        g_assert_cmpuint(there, >, 0);
        there_end = there + 8 + get32(b, there + 4);
        for (guint k = 0; k < others->len && !other; k++) {
            const struct spot *o = &g_array_index(others, struct spot, k);

            if (o->depth == f->depth && o->header > there && o->header < there_end &&
                same_name(a, f->header + 1, b, o->header + 1)) {
                other = o;
            }
        }
        g_assert_nonnull(other);
        if (f->len == PCI_CONFIG_SIZE && other->len == f->len &&
            memcmp(a->data + f->header + 1,
                   "\x06"
                   "config",
                   7) == 0) {
            g_assert_cmpmem(a->data + f->at + 4, 2, b->data + other->at + 4, 2);
            g_assert_cmpmem(a->data + f->at + 0x10, 0x18, b->data + other->at + 0x10, 0x18);
            assert_capabilities(a->data + f->at, b->data + other->at);
        } else {
            assert_field(a, fields, f, b, others, other);
        }
    }
    g_array_unref(fields);
    g_array_unref(others);
    g_array_unref(records);
}

/* Saved again, it is what it was. */
static void test_loads(gconstpointer name)
{
    struct fixture *f = fixture_new();
    GByteArray *s = golden(name), *again;
    GError *err = NULL;

    machine_load(f->m, s->data, s->len, &err);
    g_assert_no_error(err);
    again = save(f->m);
    assert_contains(s, again);
    g_byte_array_unref(again);

    /* Every interrupt source is as it was, and Xen, which has its own record of the lines, was told
     * nothing. */
    for (unsigned i = 0; i < 16; i++) {
        g_assert_cmpuint(f->m->hv->isa_changes[i], ==, 0);
    }
    g_assert_cmpuint(f->m->hv->intx_changes, ==, 0);
    run_guest(f->m);
    g_byte_array_unref(s);
    fixture_free(f);
}

/* What the guest had begun goes on: the last 156 words of a sector, then the third one, arrive in
 * the image. */
static void test_goes_on(void)
{
    struct fixture *f = fixture_new();
    g_autofree char *file = g_strdup_printf("%s/ide0-hd0", directory);
    GByteArray *s = golden("pio");
    GError *err = NULL;
    uint16_t sector[512];
    int fd;

    g_assert_cmpint(machine_load(f->m, s->data, s->len, &err), ==, 0);
    machine_start(f->m);
    for (unsigned i = 0; i < 156 + 256; i++) {
        if (i == 156) {
            settle(f->m);
        }
        out(f->m, 0x1f0, 0x5064 + i, 2);
    }
    settle(f->m);
    g_assert_cmphex(inb(f->m, 0x1f7), ==, 0x50);
    machine_stop(f->m);
    settle(f->m);
    fd = open(file, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(pread(fd, sector, sizeof(sector), 41 * 512), ==, sizeof(sector));
    close(fd);
    for (unsigned i = 0; i < 512; i++) {
        g_assert_cmphex(GUINT16_FROM_LE(sector[i]), ==, 0x5000 + i);
    }
    g_byte_array_unref(s);
    fixture_free(f);
}

static void test_flipped(gconstpointer name)
{
    GByteArray *s = golden(name);
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    struct trial t;

    trial_begin(&t);
    for (unsigned i = 0; i < FLIPS; i++) {
        GByteArray *bad = body(s);

        bad->data[g_rand_int(rand) % bad->len] ^= (guint8)(1u << g_rand_int(rand) % 8);
        try_sealed(&t, bad);
    }
    /* And one of which only the checksum knows. */
    g_byte_array_ref(s);
    s->data[30] ^= 1;
    g_assert_false(try(&t, s));
    g_assert_cmpuint(t.refused, >, FLIPS / 8);
    trial_end(&t, FLIPS);
    g_byte_array_unref(s);
}

static void test_cut(gconstpointer name)
{
    GByteArray *s = golden(name);
    GArray *records = find_records(s);
    struct trial t;

    trial_begin(&t);
    for (guint i = 0; i < records->len; i++) {
        const struct record *r = &g_array_index(records, struct record, i);
        const guint cuts[] = {r->at,     r->at + 3,          r->at + 8,
                              r->at + 9, r->at + r->len / 2, r->at + r->len - 1};

        for (unsigned c = 0; c < G_N_ELEMENTS(cuts); c++) {
            GByteArray *bad = body(s), *raw = body(s);

            g_assert_false(try_sealed(&t, g_byte_array_set_size(bad, cuts[c])));
            g_assert_false(try(&t, g_byte_array_set_size(raw, cuts[c])));
        }
    }
    for (guint len = 0; len < 24; len++) {
        GByteArray *raw = body(s);

        g_assert_false(try(&t, g_byte_array_set_size(raw, len)));
    }
    trial_end(&t, 100);
    g_array_unref(records);
    g_byte_array_unref(s);
}

/* A section that is written only when there is something to say may be left out. */
static void test_records(gconstpointer name)
{
    GByteArray *s = golden(name);
    GArray *records = find_records(s);
    struct trial t;
    unsigned missing = 0;

    trial_begin(&t);
    for (guint i = 0; i < records->len; i++) {
        const struct record *r = &g_array_index(records, struct record, i);
        GByteArray *twice = body(s), *without = body(s), *last = body(s), *unknown = body(s),
                   *skipped = body(s), *longer = body(s), *counted = body(s), *nobody = body(s);
        GBytes *copy = g_bytes_new(s->data + r->at, r->len);

        insert(twice, r->at, g_bytes_get_data(copy, NULL), r->len);
        g_assert_false(try_sealed(&t, twice));
        g_byte_array_remove_range(without, r->at, r->len);
        missing += !try_sealed(&t, without);
        g_byte_array_remove_range(last, r->at, r->len);
        g_byte_array_append(last, g_bytes_get_data(copy, NULL), r->len);
        g_assert_true(try_sealed(&t, last)); /* the order of records is free */
        insert(unknown, r->at, "\x03\0\0\0\x03\0\0\0abc", 11);
        g_assert_false(try_sealed(&t, unknown));
        insert(skipped, r->at, "\x03\0\0\x80\x03\0\0\0abc", 11);
        g_assert_true(try_sealed(&t, skipped));
        insert(longer, r->at + r->len, "\0\0\0\0\0\0\0", 7);
        add32(longer, r->at + 4, 7);
        g_assert_false(try_sealed(&t, longer));
        add32(counted, r->at + 4, 1u << 31);
        g_assert_false(try_sealed(&t, counted));
        insert(nobody, r->at, "\x01\0\0\x80\x0c\0\0\0\x02zz\x02zz\1\0\0\0\0\0", 20);
        g_assert_true(try_sealed(&t, nobody));
        g_bytes_unref(copy);
    }
    g_assert_cmpuint(missing, >=, records->len - 2);
    trial_end(&t, 100);
    g_array_unref(records);
    g_byte_array_unref(s);
}

/* The field grows by `len` bytes, and everything around it with it. */
static GByteArray *enlarged(const GByteArray *s, const struct spot *f, const void *bytes, guint len)
{
    GByteArray *out = body(s);

    for (unsigned i = 0; i < f->depth; i++) {
        add32(out, f->length[i], len);
    }
    insert(out, f->at + f->len, bytes, len);
    return out;
}

/* Every field there is: too long, too short, of another type, twice, unknown. */
static void test_fields(gconstpointer name)
{
    GByteArray *s = golden(name);
    GArray *fields = find_all_fields(s);
    struct trial t;

    trial_begin(&t);
    for (guint i = 0; i < fields->len; i++) {
        const struct spot *f = &g_array_index(fields, struct spot, i);
        GByteArray *retyped = body(s), *renamed = body(s), *counted = body(s);

        if (f->type != 8) { /* bytes may be of any number */
            g_assert_false(try_sealed(&t, enlarged(s, f, "\0", 1)));
        } else {
            try_sealed(&t, enlarged(s, f, "\xff", 1));
        }
        retyped->data[f->header] = (guint8)(f->type == 1 ? 7 : 1);
        g_assert_false(try_sealed(&t, retyped));
        renamed->data[f->header + 2] = '~';
        g_assert_false(try_sealed(&t, renamed));
        add32(counted, f->length[f->depth - 1], (uint32_t)-1);
        g_assert_false(try_sealed(&t, counted));
    }
    trial_end(&t, 400);
    g_array_unref(fields);
    g_byte_array_unref(s);
}

/* Every number there is, at its extremes. */
static void test_values(gconstpointer name)
{
    static const unsigned sizes[] = {0, 1, 2, 4, 8, 4, 8, 1, 1, 8, 1};
    GByteArray *s = golden(name);
    GArray *fields = find_all_fields(s);
    g_autoptr(GRand) rand = g_rand_new_with_seed(2);
    struct trial t;

    trial_begin(&t);
    for (guint i = 0; i < fields->len; i++) {
        const struct spot *f = &g_array_index(fields, struct spot, i);
        unsigned size = f->type < G_N_ELEMENTS(sizes) ? sizes[f->type] : 0;
        guint count = size ? f->len / size : 0;

        /* Of long arrays the first, the last, and one between. */
        for (guint n = 0; n < MIN(count, 3); n++) {
            guint at = f->at + size * (n == 0 ? 0 : n == 1 ? count - 1 : count / 2);
            static const uint64_t values[] = {0, UINT64_MAX, 0x8080808080808080, 0x7f7f7f7f7f7f7f7f,
                                              1};

            for (unsigned v = 0; v < G_N_ELEMENTS(values) + 1; v++) {
                uint64_t value =
                    v < G_N_ELEMENTS(values) ? values[v] : g_rand_int(rand) * UINT64_C(0x100000001);
                GByteArray *bad = body(s);

                if (f->type == 8 && v > 1) {
                    g_byte_array_unref(bad);
                    continue;
                }
                memcpy(bad->data + at, &value, size);
                try_sealed(&t, bad);
            }
        }
    }
    trial_end(&t, 400);
    g_array_unref(fields);
    g_byte_array_unref(s);
}

struct case_of_test {
    const char *name;
    bool cards;
    GTestDataFunc run;
};

static void run_case(gconstpointer data)
{
    const struct case_of_test *c = data;

    cards = c->cards;
    with_nvme = strcmp(c->name, "nvme") == 0;
    with_sound = strcmp(c->name, "sound") == 0;
    with_virtio = strcmp(c->name, "virtio") == 0;
    with_scsi = strcmp(c->name, "virtio-scsi") == 0;
    with_xhci = strcmp(c->name, "xhci") == 0;
    with_console = strcmp(c->name, "console") == 0;
    c->run(c->name);
}

/* All states of a machine have the same fields: those of one or two are tried one by one. */
static unsigned cases_of(const char *name, bool of_cards, unsigned all)
{
    static const char *const plain[] = {"graphics", "cd", "described", NULL};

    if (g_strv_contains(plain, name)) {
        return all - 2;
    }
    return of_cards && strcmp(name, "usb") != 0 ? 2 : all;
}

static void add_cases(const char *name, bool of_cards)
{
    static const struct {
        const char *what;
        GTestDataFunc run;
    } tests[] = {
        {"loads", test_loads},     {"flipped", test_flipped}, {"cut", test_cut},
        {"records", test_records}, {"fields", test_fields},   {"values", test_values},
    };

    for (unsigned i = 0; i < cases_of(name, of_cards, G_N_ELEMENTS(tests)); i++) {
        g_autofree char *path = g_strdup_printf("/state/golden/%s/%s", name, tests[i].what);
        struct case_of_test *c = g_new(struct case_of_test, 1);

        *c = (struct case_of_test){name, of_cards, tests[i].run};
        g_test_add_data_func_full(path, c, run_case, g_free);
    }
}

int main(int argc, char **argv)
{
    static const char *const media[] = {"ide0-hd0", "ide-5632", "stick", "nvm"};
    int status;

    g_test_init(&argc, &argv, NULL);
    memset(log_levels, XLOG_ERROR, sizeof(log_levels));
    directory = g_dir_make_tmp("xendm-golden-XXXXXX", NULL);
    for (unsigned n = 0; n < G_N_ELEMENTS(names); n++) {
        add_cases(names[n], false);
    }
    g_test_add_func("/state/golden/pio/goes-on", test_goes_on);
    for (unsigned n = 0; n < G_N_ELEMENTS(card_names); n++) {
        add_cases(card_names[n], true);
    }
    status = g_test_run();
    for (unsigned i = 0; i < G_N_ELEMENTS(media); i++) {
        g_autofree char *file = g_build_filename(directory, media[i], NULL);

        g_unlink(file);
    }
    g_rmdir(directory);
    g_free(directory);
    return status;
}
