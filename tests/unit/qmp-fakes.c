/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See qmp-fakes.h. */
#include <errno.h>
#include <string.h>

#include <xendm/bus.h>
#include <xendm/usb.h>
#include <xendm/vnc.h>
#include <xendm/backend.h>
#include <xendm/display.h>
#include <xendm/facts.h>
#include <xendm/ide.h>
#include <xendm/input.h>
#include <xendm/pci.h>

#include "qmp-fakes.h"

struct fake_qmp fake_qmp;

static struct machine machine;
static struct device disk, cd;
static struct region region = {.name = "fake-region", .base = 0x1f0, .size = 8, .reads = 3};

static void describe(struct device *dev, struct facts *to)
{
    fact_text(to, "says", "this");
}

static const struct pci_info info = {
    .vendor = 0x5853,
    .device = 1,
    .class = 0xff8000,
    .intx_pin = 1,
    .bar = {{.type = PCI_BAR_MEM32}},
};
static const struct device_class class = {.name = "fake", .pci = &info, .describe = describe};
static struct pci_device functions[2];

/* The command line asks these whether it is right; nobody makes one. */
static const struct property drive_properties[] = {
    {.name = "drive", .type = PROP_BACKEND, .kind = BACKEND_BLOCK},
    {.name = NULL},
};
static const struct property drive_place[] = {
    {.name = "unit", .type = PROP_UINT32, .max = 1},
    {.name = NULL},
};
static const struct bus_class drive_bus = {.name = "IDE", .place = drive_place};
static const struct property serial_properties[] = {
    {.name = "index", .type = PROP_UINT32, .max = 3},
    {.name = "chardev", .type = PROP_BACKEND, .kind = BACKEND_CHAR},
    {.name = NULL},
};
static const struct property vga_properties[] = {
    {.name = "vgamem_mb", .type = PROP_UINT32, .min = 1, .max = 256},
    {.name = NULL},
};
static const struct device_class classes[] = {
    {.name = "ide-hd", .properties = drive_properties, .bus = &drive_bus},
    {.name = "ide-cd", .properties = drive_properties, .bus = &drive_bus},
    {.name = "isa-serial", .properties = serial_properties},
    {.name = "VGA", .properties = vga_properties, .display = true},
    {.name = "xen-platform", .pci = &info},
    {.name = "xen-pvdevice", .pci = &info},
    {.name = "i440fx", .built_in = "every machine has one"},
};

const struct device_class *const *device_classes(void)
{
    static const struct device_class *list[G_N_ELEMENTS(classes) + 1];

    for (size_t i = 0; i < G_N_ELEMENTS(classes); i++) {
        list[i] = &classes[i];
    }
    return list;
}

const struct device_class *device_class_find(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(classes); i++) {
        if (strcmp(classes[i].name, name) == 0) {
            return &classes[i];
        }
    }
    return NULL;
}

struct machine *fake_qmp_machine(void)
{
    memset(&fake_qmp, 0, sizeof(fake_qmp));
    fake_qmp.vcpu_online[0] = fake_qmp.vcpu_online[1] = true;
    if (!machine.devices) {
        machine.devices = g_ptr_array_new();
        g_ptr_array_add(machine.devices, &functions[0]);
    }
    machine.vcpus = 4;
    machine.display = (struct display *)&machine; /* only handed on */
    machine.input = (struct input *)&machine;
    disk.id = (char *)"ide0-hd0";
    cd.id = (char *)"ide-5632";
    functions[0] = (struct pci_device){.dev = {.class = &class, .id = (char *)"fake-pci"},
                                       .devfn = PCI_DEVFN(3, 1)};
    functions[0].bar[0].size = 4096;
    functions[0].bar[0].address = 0xf0000000;
    functions[1] = (struct pci_device){.dev = {.class = &class, .id = (char *)"pulled"},
                                       .devfn = 255,
                                       .powered_down = true};
    return &machine;
}

void fake_qmp_use(struct backend_set *set)
{
    backend_find(set, BACKEND_BLOCK, "ide0-hd0")->user = &disk;
    backend_find(set, BACKEND_BLOCK, "ide-5632")->user = &cd;
    backend_find(set, BACKEND_CHAR, "serial0")->user = &functions[0].dev;
}

static void forget_user(void *opaque, struct backend *b)
{
    b->user = NULL;
}

void fake_qmp_unuse(struct backend_set *set)
{
    backend_foreach(set, forget_user, NULL);
}

struct device *machine_find(struct machine *m, const char *id)
{
    return strcmp(id, "fake-pci") == 0 ? &functions[0].dev : NULL;
}

void machine_request_reset(struct machine *m)
{
    fake_qmp.resets++;
}

int machine_wakeup(struct machine *m, GError **err)
{
    g_set_error(err, XENDM_ERROR, EINVAL, "the guest is not suspended");
    return -EINVAL;
}

struct device *board_drive(struct machine *m, const char *id)
{
    return strcmp(id, disk.id) == 0 ? &disk : strcmp(id, cd.id) == 0 ? &cd : NULL;
}

int board_vcpu_online(struct machine *m, unsigned vcpu)
{
    g_assert_cmpuint(vcpu, <, m->vcpus);
    fake_qmp.vcpu_online[vcpu] = true;
    return 0;
}

bool board_vcpu_is_online(struct machine *m, unsigned vcpu)
{
    g_assert_cmpuint(vcpu, <, m->vcpus);
    return fake_qmp.vcpu_online[vcpu];
}

void device_describe(struct device *dev, struct facts *to)
{
    if (dev->class->describe) {
        dev->class->describe(dev, to);
    }
}

/* Read here, and stored nowhere. */
static const struct property pci_place[] = {
    {.name = "addr", .type = PROP_STRING},
    {.name = "romfile", .type = PROP_STRING},
    {.name = "rombar", .type = PROP_UINT32, .max = 1},
    {.name = NULL},
};

const struct bus_class pci_bus_class = {.name = "PCI", .place = pci_place};

struct pci_device *pci_device_next(struct pci_bus *bus, unsigned devfn)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(functions); i++) {
        if (functions[i].devfn >= devfn) {
            return &functions[i];
        }
    }
    return NULL;
}

bool pci_msi_enabled(const struct pci_device *pci)
{
    return false;
}

bool pci_msix_enabled(const struct pci_device *pci)
{
    return true;
}

void aspace_foreach(struct aspace *as, void (*fn)(void *opaque, const struct region *r),
                    void *opaque)
{
    fn(opaque, &region);
}

const struct aspace_counters *aspace_counters(const struct aspace *as)
{
    static const struct aspace_counters counters = {1, 2, 3};

    return &counters;
}

bool ide_drive_is_cd(const struct device *drive)
{
    return drive == &cd;
}

bool ide_drive_unplugged(const struct device *drive)
{
    return drive == &disk && fake_qmp.disk_unplugged;
}

int ide_cd_ask_eject(struct device *drive, bool force, GError **err)
{
    g_assert_true(drive == &cd);
    if (fake_qmp.tray_locked && !force) {
        g_set_error(err, XENDM_ERROR, EBUSY, "the tray is locked");
        return -EBUSY;
    }
    return 0;
}

int ide_cd_request_eject(struct device *drive, bool force, GError **err)
{
    int rc = ide_cd_ask_eject(drive, force, err);

    fake_qmp.tray_open |= rc == 0;
    return rc;
}

bool ide_cd_tray_open(const struct device *drive)
{
    return fake_qmp.tray_open;
}

bool ide_cd_tray_locked(const struct device *drive)
{
    return fake_qmp.tray_locked;
}

void display_screendump(struct display *d, const char *file, int fd, bool png,
                        display_screendump_done *done, void *opaque)
{
    g_assert_true(d == (struct display *)&machine);
    g_strlcpy(fake_qmp.screendump, file, sizeof(fake_qmp.screendump));
    done(opaque, NULL);
}

int input_press_keys(struct input *in, const unsigned *codes, unsigned n, unsigned hold_ms)
{
    g_snprintf(fake_qmp.keys, sizeof(fake_qmp.keys), "%u keys from %u for %u ms", n, codes[0],
               hold_ms);
    return 0;
}

unsigned input_key_from_name(const char *name)
{
    return strcmp(name, "a") == 0 ? 30 : 0;
}

static void note(const char *fmt, ...)
{
    size_t at = strlen(fake_qmp.events);
    va_list ap;

    va_start(ap, fmt);
    g_vsnprintf(fake_qmp.events + at, sizeof(fake_qmp.events) - at, fmt, ap);
    va_end(ap);
}

bool input_key(struct input *in, unsigned code, bool down)
{
    note("key %u %d, ", code, down);
    return true;
}

void input_button(struct input *in, unsigned code, bool down)
{
    note("button %x %d, ", code, down);
}

void input_relative(struct input *in, int dx, int dy, int wheel)
{
    note("move %d %d %d, ", dx, dy, wheel);
}

void input_absolute_axis(struct input *in, bool vertical, int value)
{
    note("%c=%d, ", vertical ? 'y' : 'x', value);
}

void input_sync(struct input *in)
{
    note("sync; ");
}

void input_foreach_pointer(const struct input *in,
                           void (*fn)(void *opaque, const struct input_pointer *pointer),
                           void *opaque)
{
    fn(opaque, &(struct input_pointer){"tablet", 3, true, fake_qmp.pointer != 2});
    fn(opaque, &(struct input_pointer){"mouse", 2, false, fake_qmp.pointer == 2});
}

int input_choose_pointer(struct input *in, unsigned number)
{
    fake_qmp.pointer = number;
    return number == 2 || number == 3 ? 0 : -ENOENT;
}

int input_send_keys(struct input *in, const char *combination, unsigned hold_ms, char **bad)
{
    const char *unknown = strstr(combination, "nokey");

    if (unknown) {
        *bad = g_strdup(unknown);
        return -EINVAL;
    }
    g_strlcpy(fake_qmp.keys, combination, sizeof(fake_qmp.keys));
    return 0;
}

/* ---- xendm/vnc.h: one address, one viewer; the password is what was said last ---- */

int vnc_check(const struct vnc_config *config, GError **err)
{
    return 0;
}

unsigned vnc_addresses(const struct vnc *v)
{
    return 1;
}

void vnc_address(const struct vnc *v, unsigned i, struct vnc_address *out)
{
    *out = (struct vnc_address){.host = "127.0.0.1", .service = "5901", .family = "ipv4"};
}

void vnc_foreach_client(const struct vnc *v,
                        void (*fn)(void *opaque, const struct vnc_client *client), void *opaque)
{
    const struct vnc_client c = {.host = "192.0.2.7",
                                 .service = "40000",
                                 .family = "ipv4",
                                 .initialized = true};

    fn(opaque, &c);
}

bool vnc_has_auth(const struct vnc *v)
{
    return true;
}

int vnc_set_password(struct vnc *v, const char *password, GError **err)
{
    g_strlcpy(fake_qmp.password, password, sizeof(fake_qmp.password));
    return 0;
}

void vnc_expire_password(struct vnc *v, int64_t when)
{
    fake_qmp.expires = when;
}

/* ---- xendm/bus.h: what comes is told by name, and some things refuse ---- */

struct device *device_plug(struct machine *m, const struct object_desc *desc, GError **err)
{
    const char *mac = object_option(desc, "mac");

    g_snprintf(fake_qmp.plugged, sizeof(fake_qmp.plugged), "%s %s %s %s", desc->driver,
               desc->id ? desc->id : "-", mac ? mac : "-",
               object_option(desc, "n") ? object_option(desc, "n") : "-");
    if (strcmp(desc->driver, "fixed") == 0) {
        g_set_error(err, XENDM_ERROR, EINVAL, "Device 'fixed' does not support hotplugging");
        return NULL;
    }
    return (struct device *)&fake_qmp;
}

int device_request_unplug(struct device *dev, GError **err)
{
    g_set_error(err, XENDM_ERROR, EINVAL, "Device '%s' does not support hotplugging", dev->id);
    return -EINVAL;
}

/* ---- xendm/usb.h: nothing is plugged in ---- */

char *usb_device_path(const struct usb_device *dev)
{
    return g_strdup("1");
}

char *usb_device_product(const struct usb_device *dev)
{
    return NULL;
}

void usb_foreach(struct machine *m, void (*each)(void *opaque, struct usb_device *dev),
                 void *opaque)
{
}
