/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live update, the parts that need neither Xen nor a second program: the manifest, and what is told
 * to Xen when another machine takes over. The calls to Xen end in the stand-ins below.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xendm/error.h>
#include <xendm/handover.h>
#include "dm/xen/internal.h"

/* ---- Xen ---- */

static GString *calls;
static unsigned fail_at; /* the number of the call that fails; 0: none */
static int fail_with;
static unsigned ncalls;

static int note(char sign, const char *kind, uint64_t first, uint64_t last)
{
    g_string_append_printf(calls, "%c%s %" G_GINT64_MODIFIER "x-%" G_GINT64_MODIFIER "x\n", sign,
                           kind, first, last);
    if (++ncalls == fail_at) {
        errno = fail_with;
        return -1;
    }
    return 0;
}

int xendevicemodel_map_io_range_to_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                                ioservid_t id, int is_mmio, uint64_t start,
                                                uint64_t end)
{
    return note('+', is_mmio ? "mmio" : "pio", start, end);
}

int xendevicemodel_unmap_io_range_from_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                                    ioservid_t id, int is_mmio, uint64_t start,
                                                    uint64_t end)
{
    return note('-', is_mmio ? "mmio" : "pio", start, end);
}

int xendevicemodel_map_pcidev_to_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                              ioservid_t id, uint16_t segment, uint8_t bus,
                                              uint8_t device, uint8_t function)
{
    return note('+', "pci", device, function);
}

int xendevicemodel_unmap_pcidev_from_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                                  ioservid_t id, uint16_t segment, uint8_t bus,
                                                  uint8_t device, uint8_t function)
{
    return note('-', "pci", device, function);
}

int xendevicemodel_destroy_ioreq_server(xendevicemodel_handle *dmod, domid_t domid, ioservid_t id)
{
    return note('-', "server", id, 0);
}

int xendevicemodel_set_isa_irq_level(xendevicemodel_handle *dmod, domid_t domid, uint8_t irq,
                                     unsigned int level)
{
    return note('!', "isa", irq, level);
}

static void xen_forget(void)
{
    g_string_truncate(calls, 0);
    ncalls = fail_at = 0;
}

static void assert_calls(const char *want)
{
    g_assert_cmpstr(calls->str, ==, want);
    xen_forget();
}

/* ---- ranges ---- */

/* The machine of the new program: one port range moved, one function more. */
static void describe_new(struct hv_server *s)
{
    g_assert_cmpint(hvs_range_add(s, HV_SPACE_PIO, 0x1f0, 0x1ff), ==, 0);
    hvs_range_del(s, HV_SPACE_PIO, 0x1f0, 0x1ff);
    g_assert_cmpint(hvs_range_add(s, HV_SPACE_PIO, 0x170, 0x177), ==, 0);
    g_assert_cmpint(hvs_range_add(s, HV_SPACE_MMIO, 0xf0000000, 0xf0ffffff), ==, 0);
    g_assert_cmpint(hvs_pci_function_add(s, 0x10), ==, 0);
    g_assert_cmpint(hvs_pci_function_add(s, 0x19), ==, 0);
}

static void test_adopt(void)
{
    struct xen_handles xen = {.domid = 1};
    struct hypervisor *hv = xen_hypervisor_new(&xen, true);
    struct hv_server *s = xen_server_adopt(hv, 3);
    size_t count;

    describe_new(s);
    hv_isa_irq_set(hv, 4, true);
    g_assert_cmpint(hv_memory_relocate(hv, 1, 2, 1), ==, -EBUSY);
    g_assert_cmpint(hv_memory_populate(hv, 1, 1), ==, -EBUSY);
    assert_calls(""); /* only noted */
    xen_server_ranges(s, &count);
    g_assert_cmpuint(count, ==, 4);

    xen_hypervisor_adopted(hv);
    g_assert_cmpuint(xen_server_id(s), ==, 3);
    hv_isa_irq_set(hv, 4, true);
    hvs_pci_function_del(s, 0x19);
    assert_calls("!isa 4-1\n-pci 3-1\n");
    xen_hypervisor_let_go(hv);
    hv_isa_irq_set(hv, 4, true);
    hv_server_free(s);
    xen_hypervisor_free(hv);
    assert_calls(""); /* the server is not destroyed */
}

/* The machine that goes, and what it lets Xen forward to the one that comes. */
static struct hv_server *old_machine(struct xen_handles *xen, struct hypervisor **opened)
{
    struct hypervisor *hv = *opened = xen_hypervisor_new(xen, true);
    struct hv_server *s = xen_server_adopt(hv, 3);

    xen_hypervisor_adopted(hv);
    g_assert_cmpint(hvs_range_add(s, HV_SPACE_PIO, 0x1f0, 0x1f7), ==, 0);
    g_assert_cmpint(hvs_range_add(s, HV_SPACE_MMIO, 0xf0000000, 0xf0ffffff), ==, 0);
    g_assert_cmpint(hvs_pci_function_add(s, 0x10), ==, 0);
    xen_forget();
    return s;
}

static const struct xen_range after[] = {
    {XEN_RANGE_PIO, 0x170, 0x177},
    {XEN_RANGE_MMIO, 0xf0000000, 0xf0ffffff},
    {XEN_RANGE_PCI, 0x10, 0x10},
    {XEN_RANGE_PCI, 0x19, 0x19},
};

static void test_hand_on(void)
{
    struct xen_handles xen = {.domid = 1};
    struct hypervisor *hv;
    struct hv_server *s = old_machine(&xen, &hv);
    GError *err = NULL;

    g_assert_cmpint(xen_server_hand_on(s, after, G_N_ELEMENTS(after), &err), ==, 0);
    g_assert_no_error(err);
    assert_calls("+pio 170-177\n+pci 3-1\n-pio 1f0-1f7\n");
    xen_server_take_back(s, after, G_N_ELEMENTS(after));
    assert_calls("+pio 1f0-1f7\n-pio 170-177\n-pci 3-1\n");

    fail_at = 2;
    fail_with = ENOSPC;
    g_assert_cmpint(xen_server_hand_on(s, after, G_N_ELEMENTS(after), &err), ==, -ENOSPC);
    g_assert_nonnull(err);
    g_clear_error(&err);
    assert_calls("+pio 170-177\n+pci 3-1\n-pio 170-177\n"); /* as it was */

    fail_at = 2;
    fail_with = EEXIST; /* somebody was there before us: so be it */
    g_assert_cmpint(xen_server_hand_on(s, after, G_N_ELEMENTS(after), &err), ==, 0);
    assert_calls("+pio 170-177\n+pci 3-1\n-pio 1f0-1f7\n");
    xen_hypervisor_let_go(hv);
    hv_server_free(s);
    xen_hypervisor_free(hv);
    assert_calls("");
}

/* ---- the manifest ---- */

static void make_pair(int pair[2])
{
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), ==, 0);
}

static bool same_file(int a, int b)
{
    struct stat one, other;

    return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_ino == other.st_ino &&
           one.st_dev == other.st_dev;
}

static void test_manifest(void)
{
    static const char blob[] = "a\nb\0c\xff=[d]";
    struct handover *h = handover_new();
    g_autofree uint8_t *bytes = NULL;
    g_autofree char *text = NULL, *none = NULL, *empty = NULL;
    int file = memfd_create("x", 0), other = memfd_create("y", 0), fd, unused, pair[2];
    size_t len = 0;

    make_pair(pair);
    handover_put_fd(h, "drive 0", "medium", file);
    handover_put_fd(h, "drive 1", "medium", -1);
    handover_put_fd(h, "drive 2", "medium", other);
    handover_put_int(h, "xen", "server", INT64_MIN);
    handover_put_bytes(h, "client 0", "in", blob, sizeof(blob));
    handover_put_text(h, "drive 0", "file", "/tmp/\xe4, [x]\n");
    handover_put_text(h, "drive 0", "none", NULL);
    handover_put_text(h, "drive 0", "empty", "");
    g_assert_cmpint(handover_send(h, pair[0], NULL), ==, 0);
    handover_free(h);

    h = handover_receive(pair[1], NULL);
    g_assert_nonnull(h);
    fd = handover_fd(h, "drive 0", "medium");
    g_assert_cmpint(fd, !=, file);
    g_assert_true(same_file(fd, file));
    g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
    g_assert_cmpint(handover_fd(h, "drive 1", "medium"), ==, -1);
    g_assert_cmpint(handover_fd(h, "nothing", "medium"), ==, -1);
    g_assert_cmpint(handover_int(h, "xen", "server", 1), ==, INT64_MIN);
    g_assert_cmpint(handover_int(h, "xen", "other", 5), ==, 5);
    bytes = handover_bytes(h, "client 0", "in", &len);
    g_assert_cmpmem(bytes, len, blob, sizeof(blob));
    text = handover_text(h, "drive 0", "file");
    g_assert_cmpstr(text, ==, "/tmp/\xe4, [x]\n");
    none = handover_text(h, "drive 0", "none");
    g_assert_null(none);
    empty = handover_text(h, "drive 0", "empty");
    g_assert_cmpstr(empty, ==, "");
    g_assert_true(handover_has(h, "client 0"));
    g_assert_false(handover_has(h, "client 1"));
    unused = other + 1; /* that of drive 2, which nobody asked for */
    while (!same_file(unused, other)) {
        g_assert_cmpint(unused++, <, 1000);
    }
    handover_free(h);
    g_assert_cmpint(fcntl(unused, F_GETFD), ==, -1);
    g_assert_true(same_file(fd, file));
    close(fd);
    close(file);
    close(other);
    close(pair[0]);
    close(pair[1]);
}

/* More than one packet takes. */
static void test_manifest_many(void)
{
    struct handover *h = handover_new();
    int file[600], pair[2];

    make_pair(pair);
    for (unsigned i = 0; i < G_N_ELEMENTS(file); i++) {
        g_autofree char *group = g_strdup_printf("drive %u", i);

        file[i] = memfd_create("x", MFD_CLOEXEC);
        g_assert_cmpint(file[i], >=, 0);
        handover_put_fd(h, group, "medium", file[i]);
    }
    g_assert_cmpint(handover_send(h, pair[0], NULL), ==, 0);
    handover_free(h);
    h = handover_receive(pair[1], NULL);
    g_assert_nonnull(h);
    for (unsigned i = 0; i < G_N_ELEMENTS(file); i++) {
        g_autofree char *group = g_strdup_printf("drive %u", i);
        int fd = handover_fd(h, group, "medium");

        g_assert_true(same_file(fd, file[i]));
        close(fd);
        close(file[i]);
    }
    handover_free(h);
    close(pair[0]);
    close(pair[1]);
}

static void send_text(int socket, const char *content, const char *head, uint32_t fds_left)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
                          .cmsg_level = SOL_SOCKET,
                          .cmsg_type = SCM_RIGHTS}};
    struct {
        char word[4];
        uint32_t left;
    } packet = {.left = fds_left};
    struct iovec iov = {.iov_base = &packet, .iov_len = sizeof(packet)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    int fd = memfd_create("x", 0);

    memcpy(packet.word, head, sizeof(packet.word));
    memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
    g_assert_cmpint(write(fd, content, strlen(content)), ==, (gssize)strlen(content));
    g_assert_cmpint(sendmsg(socket, &msg, 0), ==, (gssize)sizeof(packet));
    close(fd);
}

static void assert_refused_packet(const char *content, const char *head, uint32_t left,
                                  const char *part)
{
    GError *err = NULL;
    int pair[2];

    make_pair(pair);
    send_text(pair[0], content, head, left);
    close(pair[0]);
    g_assert_null(handover_receive(pair[1], &err));
    g_assert_nonnull(err);
    g_assert_nonnull(strstr(err->message, part));
    g_error_free(err);
    close(pair[1]);
}

static void assert_refused(const char *content, const char *part)
{
    assert_refused_packet(content, "XUH2", 0, part);
}

static void test_manifest_refused(void)
{
    GError *err = NULL;
    int pair[2];

    assert_refused("", "no file of 1 to");
    assert_refused("\xff\xfe[", "manifest");
    assert_refused("[manifest]\nformat=1\n", "format 1");
    assert_refused("[update]\ncheck=1\n", "format 0");
    assert_refused("[manifest]\nformat=3\n[drive 0]\nfd-medium=0\n", "descriptor 0");
    assert_refused("[manifest]\nformat=3\n[drive 0]\nfd-medium=-7\n", "descriptor -7");
    assert_refused("[manifest]\nformat=3\n[drive 0]\nfd-medium=x\n", "descriptor 0");
    assert_refused_packet("[manifest]\nformat=3\n", "GARB", 0, "none");
    assert_refused_packet("[manifest]\nformat=3\n", "XUH2", 3, "nobody is there");
    assert_refused_packet("[manifest]\nformat=3\n", "XUH2", 1u << 31, "none");
    make_pair(pair);
    close(pair[0]);
    g_assert_null(handover_receive(pair[1], &err));
    g_assert_error(err, XENDM_ERROR, EPIPE);
    g_error_free(err);
    close(pair[1]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    calls = g_string_new(NULL);
    g_test_add_func("/update/adopt", test_adopt);
    g_test_add_func("/update/hand-on", test_hand_on);
    g_test_add_func("/update/manifest", test_manifest);
    g_test_add_func("/update/manifest/many", test_manifest_many);
    g_test_add_func("/update/manifest/refused", test_manifest_refused);
    return g_test_run();
}
