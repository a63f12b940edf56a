/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -device, -vga, and the back ends that are written DRIVER,id=ID,…: every class of
 * include/xendm/classes.h and backend-classes.h by its own table of properties.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <xendm/backend.h>
#include <xendm/device.h>
#include <xendm/error.h>
#include <xendm/instance.h>
#include <xendm/numbers.h>
#include <xendm/pci.h>
#include <xendm/usb.h>

#include "args.h"

#define SERIALS_MAX 4
#define DEVICE_ID_MAX 255u

/* The option that makes a back end of a kind. */
static const char *const backend_options[BACKEND_KIND_COUNT] = {
    [BACKEND_BLOCK] = "-drive",    [BACKEND_CHAR] = "-chardev",    [BACKEND_NET] = "-netdev",
    [BACKEND_AUDIO] = "-audiodev", [BACKEND_USB_HOST] = "-device", [BACKEND_BLOB] = "-kernel",
    [BACKEND_FSDEV] = "-fsdev",
};

/* ---- help ---- */

static void print_devices(void)
{
    for (const struct device_class *const *c = device_classes(); *c; c++) {
        printf("  %-16s %s%s%s\n", (*c)->name, (*c)->help ? (*c)->help : "",
               (*c)->built_in ? "; not by -device: " : "", (*c)->built_in ? (*c)->built_in : "");
    }
}

static void print_device(const struct device_class *class)
{
    g_autoptr(GString) text = g_string_new(NULL);

    printf("%s: %s\n", class->name, class->help ? class->help : "");
    if (class->built_in) {
        printf("Not by -device: %s.\n", class->built_in);
    }
    property_help(class->properties, text);
    if (class->pci) {
        property_help(pci_bus_class.place, text);
    }
    printf("%s", text->str);
}

static void print_backends(enum backend_kind kind)
{
    for (const struct backend_class *const *c = backend_classes(); *c; c++) {
        if ((*c)->kind == kind) {
            g_autoptr(GString) text = g_string_new(NULL);

            property_help((*c)->properties, text);
            printf("%s: %s\n%s", (*c)->driver, (*c)->help ? (*c)->help : "", text->str);
        }
    }
}

/* ---- -vga ---- */

/* What libxl and QEMU give without vgamem_mb= (toolstack.md 1.4, row 14). */
static const char *default_memory(const char *driver)
{
    return strcmp(driver, "cirrus-vga") == 0 ? "8" : "16";
}

static bool add_display(struct args *a, const char *option, const char *value,
                        struct object_desc *o, GError **err)
{
    args_add_device(a, option, value, RANK_DISPLAY, o);
    if (a->have_display) {
        return args_refuse(option, value, "there can be only one graphics card", err);
    }
    a->have_display = true;
    if (!object_option(o, "vgamem_mb")) {
        object_desc_set(o, "vgamem_mb", default_memory(o->driver));
    }
    return true;
}

bool devices_vga(struct args *a, const char *option, const char *value, GError **err)
{
    static const struct {
        const char *word, *driver;
    } cards[] = {{"std", "VGA"}, {"cirrus", "cirrus-vga"}};

    if (strcmp(value, "none") == 0) {
        if (a->have_display) {
            return args_refuse(option, value, "there can be only one graphics card", err);
        }
        return true;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(cards); i++) {
        if (strcmp(cards[i].word, value) == 0) {
            return add_display(a, "-vga", value,
                               object_desc_new(OBJECT_DEVICE, 0, cards[i].driver, NULL), err);
        }
    }
    return args_refuse(option, value, "this graphics card is not implemented yet", err);
}

/* ---- -device ---- */

static void set_option(void *opaque, const char *key, const char *value)
{
    object_desc_set(opaque, key, value);
}

static bool is_help(const char *text)
{
    return strcmp(text, "help") == 0 || strcmp(text, "?") == 0;
}

static enum device_rank rank_of(const struct device_class *class)
{
    if (strcmp(class->name, "ide-hd") == 0 || strcmp(class->name, "ide-cd") == 0) {
        return RANK_IDE;
    }
    if (strcmp(class->name, "xen-platform") == 0) {
        return RANK_PLATFORM;
    }
    return strcmp(class->name, "isa-serial") == 0 ? RANK_SERIAL : RANK_OTHER;
}

bool devices_device(struct args *a, const char *option, const char *value, GError **err)
{
    g_autofree char *driver = g_strndup(value, strcspn(value, ","));
    g_autofree char *who = g_strdup_printf("%s %s:", option, driver);
    const char *rest = value + strlen(driver);
    const struct device_class *class = device_class_find(driver);
    optlist_auto struct optlist *list = NULL;
    struct object_desc *o;

    if (is_help(driver)) {
        print_devices();
        a->answered = true;
        return true;
    }
    if (!class) {
        return args_refuse(option, driver, "this device is not implemented yet", err);
    }
    if (*rest && is_help(rest + 1)) {
        print_device(class);
        a->answered = true;
        return true;
    }
    if (class->built_in) {
        return args_refuse(option, driver, class->built_in, err);
    }
    list = optlist_parse(who, value, "driver", NULL, err);
    if (!list) {
        return false;
    }
    optlist_take(list, "driver");
    o = object_desc_new(OBJECT_DEVICE, 0, driver, optlist_take(list, "id"));
    optlist_take_rest(list, set_option, o);
    if (class->display) {
        return add_display(a, "-device", value, o, err);
    }
    args_add_device(a, "-device", value, rank_of(class), o);
    return true;
}

/* ---- -usb, -usbdevice ---- */

#define UHCI_PORTS 2u

/* Function 2 of the PIIX3, as QEMU's machine has it. */
bool devices_usb(struct args *a, const char *option, const char *value, GError **err)
{
    if (!a->have_usb) {
        a->have_usb = true;
        args_add_device(a, "-usb", "", RANK_USB,
                        object_desc_make(OBJECT_DEVICE, 0, "piix3-usb-uhci", NULL, "addr", "01.2",
                                         NULL));
    }
    return true;
}

/* Whether it takes whatever port is free. */
static bool is_usb_anywhere(const struct device_arg *arg)
{
    const struct device_class *class = device_class_find(arg->object->driver);

    return class && class->usb && !object_option(arg->object, "port") &&
           !object_option(arg->object, "bus");
}

/*
 * More devices than the controller has ports: a hub comes into the second one, as QEMU does it by
 * itself. With two devices, where QEMU does it already, none is needed, and states that were saved
 * without one go on.
 */
bool devices_add_hub(struct args *a, GError **err)
{
    unsigned count = 0;
    guint second = 0;

    for (guint i = 0; i < a->devices->len; i++) {
        const struct device_arg *arg = g_ptr_array_index(a->devices, i);

        if (strcmp(arg->object->driver, "usb-hub") == 0) {
            return true;
        }
        if (is_usb_anywhere(arg) && ++count == 2) {
            second = i;
        }
    }
    if (count > UHCI_PORTS && a->have_usb) {
        args_add_device(a, "-usb", "", RANK_OTHER,
                        object_desc_new(OBJECT_DEVICE, 0, "usb-hub", NULL));
        g_ptr_array_insert(a->devices, (gint)second,
                           g_ptr_array_steal_index(a->devices, a->devices->len - 1));
    }
    return true;
}

/* host:BUS.ADDRESS, in decimal; host:VENDOR:PRODUCT, in hexadecimal: xl.cfg(5), and QEMU once. */
static bool add_host_usb(struct args *a, const char *value, GError **err)
{
    const char *rest = value + strlen("host:");
    bool is_ids = strchr(rest, ':') != NULL;
    g_auto(GStrv) parts = g_strsplit(rest, is_ids ? ":" : ".", 3);
    struct object_desc *o;
    uint64_t n[2] = {0};

    for (unsigned i = 0; g_strv_length(parts) == 2 && i < 2; i++) {
        if ((is_ids ? number_parse_hex(parts[i], UINT16_MAX, &n[i], NULL)
                    : number_parse(parts[i], 1, 999, &n[i])) < 0) {
            n[0] = 0;
            break;
        }
    }
    if (!n[0] || !n[1]) {
        return args_refuse("-usbdevice", value,
                           "it is host:BUS.ADDRESS or host:VENDOR:PRODUCT, these in hexadecimal",
                           err);
    }
    o = object_desc_new(OBJECT_DEVICE, 0, "usb-host", NULL);
    for (unsigned i = 0; i < 2; i++) {
        static const char *const names[2][2] = {{"hostbus", "hostaddr"}, {"vendorid", "productid"}};
        g_autofree char *text = g_strdup_printf("%" PRIu64, n[i]);

        object_desc_set(o, names[is_ids][i], text);
    }
    args_add_device(a, "-usbdevice", value, RANK_OTHER, o);
    return devices_usb(a, "-usbdevice", value, err);
}

bool devices_usbdevice(struct args *a, const char *option, const char *value, GError **err)
{
    static const struct {
        const char *word, *driver;
    } words[] = {{"tablet", "usb-tablet"}, {"mouse", "usb-mouse"}, {"keyboard", "usb-kbd"}};

    if (g_str_has_prefix(value, "host:")) {
        return add_host_usb(a, value, err);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        if (strcmp(words[i].word, value) == 0) {
            args_add_device(a, "-usbdevice", value, RANK_OTHER,
                            object_desc_new(OBJECT_DEVICE, 0, words[i].driver, NULL));
            return devices_usb(a, option, value, err);
        }
    }
    return args_refuse(option, value,
                       g_str_has_prefix(value, "disk:")
                           ? "a disk is -drive if=none,id=ID,… and -device usb-storage,drive=ID"
                           : "known are tablet, mouse, keyboard and host:",
                       err);
}

/* ---- -netdev and its like ---- */

/* DRIVER,id=ID,name=value…: the driver's class says what it understands. */
static bool add_backend(struct args *a, enum backend_kind kind, const char *driver_key,
                        const char *option, const char *value, GError **err)
{
    optlist_auto struct optlist *list = optlist_parse(option, value, driver_key, NULL, err);
    const char *driver, *id;
    struct backend_arg *arg;

    if (!list) {
        return false;
    }
    driver = optlist_take(list, driver_key);
    id = optlist_take(list, "id");
    if (driver && is_help(driver)) {
        print_backends(kind);
        a->answered = true;
        return true;
    }
    if (!driver || !backend_class_find(kind, driver)) {
        g_autofree char *why =
            g_strdup_printf("there is no such %s back end", backend_kind_name(kind));

        return args_refuse(option, driver ? driver : value, why, err);
    }
    if (!id || !*id) {
        return args_refuse(option, value, "id= is missing", err);
    }
    if (args_find_backend(a, kind, id)) {
        return args_refuse(option, value, "this id is taken", err);
    }
    arg = args_add_backend(a, backend_options[kind], value,
                           object_desc_new(OBJECT_BACKEND, kind, driver, id));
    optlist_take_rest(list, set_option, arg->object);
    return backend_check(arg->object, err) == 0 ? true : args_refuse_because(&arg->from, err);
}

bool devices_netdev(struct args *a, const char *option, const char *value, GError **err)
{
    return add_backend(a, BACKEND_NET, "type", option, value, err);
}

bool devices_fsdev(struct args *a, const char *option, const char *value, GError **err)
{
    return add_backend(a, BACKEND_FSDEV, "fsdriver", option, value, err);
}

bool devices_audiodev(struct args *a, const char *option, const char *value, GError **err)
{
    return add_backend(a, BACKEND_AUDIO, "driver", option, value, err);
}

/* ---- all read ---- */

/* isa-serial without index= takes the first port that is free; two on one port are refused. */
static bool place_serials(struct args *a, GError **err)
{
    bool seen[SERIALS_MAX] = {false};

    for (unsigned round = 0; round < 2; round++) {
        for (guint i = 0; i < a->devices->len; i++) {
            struct device_arg *arg = g_ptr_array_index(a->devices, i);
            const char *index =
                arg->rank == RANK_SERIAL ? object_option(arg->object, "index") : NULL;
            uint64_t place = 0;

            if (arg->rank != RANK_SERIAL || (round == 0) != (index != NULL)) {
                continue;
            }
            if (index && number_parse(index, 0, SERIALS_MAX - 1, &place) < 0) {
                continue; /* its class says what is wrong */
            }
            while (!index && place < SERIALS_MAX && seen[place]) {
                place++;
            }
            if (place == SERIALS_MAX || seen[place]) {
                return args_refuse(arg->from.option, arg->from.value,
                                   index ? "this serial port is there already"
                                         : "all four serial ports are there already",
                                   err);
            }
            seen[place] = true;
            arg->place = (int)place;
            if (!index) {
                char text[8];

                g_snprintf(text, sizeof(text), "%d", arg->place);
                object_desc_set(arg->object, "index", text);
            }
        }
    }
    return true;
}

static int pci_option(const void *opaque, const char *name, const char *value, GError **err)
{
    const struct property *p = property_find(pci_bus_class.place, name);
    int devfn;

    if (!p) {
        return 0;
    }
    if (property_set(p, NULL, value, err) < 0) {
        return -1;
    }
    if (strcmp(name, "addr") == 0 && !pci_addr_parse(value, &devfn)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "property addr: \"%s\" is no slot[.function]", value);
        return -1;
    }
    return 1;
}

/* A place on the bus of a controller; whether there is such a one is seen when it is made. */
static int place_option(const void *opaque, const char *name, const char *value, GError **err)
{
    const struct bus_class *bus = opaque;
    const struct property *p = property_find(bus->place, name);

    if (!p) {
        return strcmp(name, "bus") == 0;
    }
    return property_set(p, NULL, value, err) < 0 ? -1 : 1;
}

/* The back ends that a device names are there, and nobody else's. */
static bool link_backend(struct args *a, const struct device_arg *arg, const struct property *p,
                         GError **err)
{
    const char *id = object_option(arg->object, p->name);
    struct backend_arg *backend = id ? args_find_backend(a, p->kind, id) : NULL;

    if (!id || (backend && arg->rank == RANK_IDE)) { /* drives.c has linked it */
        return true;
    }
    if (!backend || backend->used) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s %s: %s=%s: %s%s%s", arg->from.option,
                    arg->from.value, p->name, id,
                    backend ? "another device has it" : "there is no ",
                    backend ? "" : backend_options[p->kind], backend ? "" : " with this id");
        return false;
    }
    backend->used = true;
    return true;
}

/*
 * Without a chipset of its own: another device model has the ISA side and the slots not asked for.
 */
static bool check_secondary(const struct device_arg *arg, const struct device_class *class,
                            GError **err)
{
    const char *why = NULL;

    if (arg->rank == RANK_IDE || arg->rank == RANK_USB || (!class->pci && !class->bus)) {
        why = "-machine secondary has PCI functions, and what hangs on them, alone";
    } else if (class->pci && !object_option(arg->object, "addr")) {
        why = "addr= is missing: which slots are free only the domain's other device model knows";
    }
    return !why || args_refuse(arg->from.option, arg->from.value, why, err);
}

static bool link_device(struct args *a, const struct device_arg *arg, GError **err)
{
    const struct device_class *class = device_class_find(arg->object->driver);
    const char *id = arg->object->id;

    if (instance_has(a->desc->type, INSTANCE_MACHINE) &&
        !instance_has(a->desc->type, INSTANCE_CHIPSET) && !check_secondary(arg, class, err)) {
        return false;
    }
    if (property_check(class->properties, arg->object,
                       class->pci   ? pci_option
                       : class->bus ? place_option
                                    : NULL,
                       class->bus, err) < 0) {
        return args_refuse_because(&arg->from, err);
    }
    if (id && (!*id || strlen(id) > DEVICE_ID_MAX)) {
        return args_refuse(arg->from.option, arg->from.value,
                           "the id is empty or longer than 255 bytes", err);
    }
    for (guint i = 0; id && i < a->devices->len; i++) {
        const struct device_arg *other = g_ptr_array_index(a->devices, i);

        if (other != arg && g_strcmp0(other->object->id, id) == 0) {
            g_autofree char *why = g_strdup_printf("there are two devices with the id %s", id);

            return args_refuse(arg->from.option, arg->from.value, why, err);
        }
    }
    for (const struct property *p = class->properties; p && p->name; p++) {
        if (p->type == PROP_BACKEND && !link_backend(a, arg, p, err)) {
            return false;
        }
    }
    return true;
}

/* What the kind of instance has by itself: xenfv the platform device. */
static bool add_own_device(struct args *a, const struct instance_kind *kind, GError **err)
{
    const struct device_class *class = device_class_find(kind->device);

    for (guint i = 0; i < a->devices->len; i++) {
        const struct device_arg *arg = g_ptr_array_index(a->devices, i);

        if (device_class_find(arg->object->driver) == class) {
            g_autofree char *why = g_strdup_printf("the machine %s has one", kind->name);

            return args_refuse(arg->from.option, arg->from.value, why, err);
        }
    }
    args_add_device(a, "-machine", kind->name, rank_of(class),
                    object_desc_new(OBJECT_DEVICE, 0, kind->device, NULL));
    return true;
}

/* What serves a domain without a machine has nothing to be put on one. */
bool devices_check(struct args *a, GError **err)
{
    const struct instance_kind *kind = instance_kind(a->desc->type);

    if (a->devices->len > 0 && (kind->parts & INSTANCE_DOMAIN) &&
        !(kind->parts & INSTANCE_MACHINE)) {
        const struct device_arg *arg = g_ptr_array_index(a->devices, 0);
        g_autofree char *why = g_strdup_printf("-machine %s has no emulated devices", kind->name);

        return args_refuse(arg->from.option, arg->from.value, why, err);
    }
    return true;
}

bool devices_link(struct args *a, GError **err)
{
    const struct instance_kind *kind = instance_kind(a->desc->type);

    if (!place_serials(a, err) || (kind->device && !add_own_device(a, kind, err))) {
        return false;
    }
    for (guint i = 0; i < a->devices->len; i++) {
        if (!link_device(a, g_ptr_array_index(a->devices, i), err)) {
            return false;
        }
    }
    return true;
}
