/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a USB device of the host is, and its process. Linux' Documentation/ABI (sysfs-bus-usb:
 * busnum, devnum) and Documentation/driver-api/usb/usb.rst (usbfs).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <xendm/error.h>
#include <xendm/helper.h>
#include <xendm/numbers.h>
#include <xendm/usb-host.h>

#define USB_MAJOR 189u /* Linux' Documentation/admin-guide/devices.txt */
#define BUS_MAX 999u   /* names have three digits */

/* In the place of the root, for tests: who starts us says so. */
static const char *root(void)
{
    const char *named = g_getenv("XENDM_USB_ROOT");

    return named ? named : "";
}

static bool split_numbers(const char *where, uint64_t *bus, uint64_t *address)
{
    g_auto(GStrv) parts = g_strsplit(where, ":", 3);

    return g_strv_length(parts) == 2 && number_parse(parts[0], 1, BUS_MAX, bus) == 0 &&
           number_parse(parts[1], 1, USB_ADDRESS_MAX, address) == 0;
}

/* A root hub ("usb1") and an interface ("1-2:1.0") are none. */
static bool is_bus_id(const char *where)
{
    return g_regex_match_simple("^[0-9]+-[0-9]+(\\.[0-9]+)*\\z", where, 0, 0);
}

static bool is_ids(const char *where)
{
    return g_regex_match_simple("^id:[0-9a-f]{4}:[0-9a-f]{4}\\z", where, 0, 0);
}

bool usb_host_where_is_valid(const char *where)
{
    uint64_t bus, address;

    return strlen(where) < USB_HOST_WHERE_MAX &&
           (is_bus_id(where) || is_ids(where) || split_numbers(where, &bus, &address));
}

/* What sysfs says of a device. */
static int read_text(const char *where, const char *key, char text[16])
{
    g_autofree char *path = g_strdup_printf("%s/sys/bus/usb/devices/%s/%s", root(), where, key);
    int fd = open(path, O_RDONLY | O_CLOEXEC), e = errno;
    ssize_t n = fd < 0 ? -1 : read(fd, text, 15);

    if (fd >= 0) {
        e = errno;
        close(fd);
    }
    text[MAX(n, 0)] = '\0';
    g_strchomp(text);
    return n < 0 ? -e : 0;
}

static int read_number(const char *where, const char *key, uint64_t max, uint64_t *value)
{
    char text[16];
    int rc = read_text(where, key, text);

    return rc < 0 ? rc : number_parse(text, 1, max, value);
}

/* "1-2" and its like: the first, by name, with the ids of "id:1234:5678". NULL: there is none. */
static char *find_ids(const char *where)
{
    g_autofree char *path = g_strdup_printf("%s/sys/bus/usb/devices", root());
    g_auto(GStrv) ids = g_strsplit(where, ":", 3);
    GDir *dir = g_dir_open(path, 0, NULL);
    char *found = NULL;
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        char vendor[16], product[16];

        if (is_bus_id(name) && read_text(name, "idVendor", vendor) == 0 &&
            read_text(name, "idProduct", product) == 0 && strcmp(vendor, ids[1]) == 0 &&
            strcmp(product, ids[2]) == 0 && (!found || strcmp(name, found) < 0)) {
            g_free(found);
            found = g_strdup(name);
        }
    }
    if (dir) {
        g_dir_close(dir);
    }
    return found;
}

static int find(const char *where, uint64_t *bus, uint64_t *address)
{
    g_autofree char *name = NULL;
    int rc;

    if (!usb_host_where_is_valid(where)) {
        return -EINVAL;
    }
    if (split_numbers(where, bus, address)) {
        return 0;
    }
    if (is_ids(where)) {
        name = find_ids(where);
        where = name;
    }
    if (!where) {
        return -ENOENT;
    }
    rc = read_number(where, "busnum", BUS_MAX, bus);
    return rc ? rc : read_number(where, "devnum", USB_ADDRESS_MAX, address);
}

bool usb_host_where_is_same(const char *one, const char *other)
{
    uint64_t bus[2], address[2];

    return find(one, &bus[0], &address[0]) == 0 && find(other, &bus[1], &address[1]) == 0 &&
           bus[0] == bus[1] && address[0] == address[1];
}

static int open_device(const char *where)
{
    uint64_t bus = 0, address = 0;
    int rc = find(where, &bus, &address), fd;
    g_autofree char *path =
        g_strdup_printf("%s/dev/bus/usb/%03u/%03u", root(), (unsigned)bus, (unsigned)address);
    struct stat st;

    fd = rc < 0 ? -1 : open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (rc < 0 || fd < 0) {
        return rc < 0 ? rc : -errno;
    }
    if (!root()[0] &&
        (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || major(st.st_rdev) != USB_MAJOR)) {
        close(fd);
        return -ENODEV;
    }
    return fd;
}

int usb_host_start(const char *where, GError **err)
{
    g_autofree char *program = helper_program("XENDM_USB", "backends/usb", "xendm-usb");
    char *argv[] = {program, (char *)where, NULL};
    int device = open_device(where), rc;

    if (device < 0) {
        g_set_error(err, XENDM_ERROR, -device, "the USB device %s: %s", where, g_strerror(-device));
        return device;
    }
    rc = helper_start(argv, device, err);
    close(device);
    return rc;
}
