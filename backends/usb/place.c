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

bool usb_host_where_is_valid(const char *where)
{
    uint64_t bus, address;

    return strlen(where) < USB_HOST_WHERE_MAX &&
           (is_bus_id(where) || split_numbers(where, &bus, &address));
}

static int read_number(const char *where, const char *key, uint64_t max, uint64_t *value)
{
    g_autofree char *path = g_strdup_printf("%s/sys/bus/usb/devices/%s/%s", root(), where, key);
    char text[16] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    rc = n < 0 ? -errno : number_parse(g_strchomp(text), 1, max, value);
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static int find(const char *where, uint64_t *bus, uint64_t *address)
{
    int rc;

    if (!usb_host_where_is_valid(where)) {
        return -EINVAL;
    }
    if (split_numbers(where, bus, address)) {
        return 0;
    }
    rc = read_number(where, "busnum", BUS_MAX, bus);
    return rc ? rc : read_number(where, "devnum", USB_ADDRESS_MAX, address);
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
