/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live update, the parts that need neither Xen nor a second program: the manifest, and what is told
 * to Xen when another machine takes over. The calls to Xen end in the stand-ins below.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

static const struct xen_range before[] = {
    {XEN_RANGE_PIO, 0x1f0, 0x1f7},
    {XEN_RANGE_MMIO, 0xf0000000, 0xf0ffffff},
    {XEN_RANGE_PCI, 0x10, 0x10},
};

/* The machine of the new program: one port range moved, one function more. */
static struct hv_server *new_machine(struct xen_handles *xen, struct hypervisor **opened)
{
    struct hypervisor *hv = *opened = xen_hypervisor_new(xen, true);
    struct hv_server *s = xen_server_adopt(hv, 3);

    g_assert_cmpint(hvs_range_add(s, HV_SPACE_PIO, 0x1f0, 0x1ff), ==, 0);
    hvs_range_del(s, HV_SPACE_PIO, 0x1f0, 0x1ff);
    g_assert_cmpint(hvs_range_add(s, HV_SPACE_PIO, 0x170, 0x177), ==, 0);
    g_assert_cmpint(hvs_range_add(s, HV_SPACE_MMIO, 0xf0000000, 0xf0ffffff), ==, 0);
    g_assert_cmpint(hvs_pci_function_add(s, 0x10), ==, 0);
    g_assert_cmpint(hvs_pci_function_add(s, 0x19), ==, 0);
    hv_isa_irq_set(hv, 4, true);
    g_assert_cmpint(hv_memory_relocate(hv, 1, 2, 1), ==, -EBUSY);
    g_assert_cmpint(hv_memory_populate(hv, 1, 1), ==, -EBUSY);
    assert_calls(""); /* only noted */
    return s;
}

static void test_commit(void)
{
    struct xen_handles xen = {.domid = 1};
    struct hypervisor *hv;
    struct hv_server *s = new_machine(&xen, &hv);
    GError *err = NULL;
    size_t count;

    g_assert_cmpint(xen_server_commit(s, before, G_N_ELEMENTS(before), &err), ==, 0);
    g_assert_no_error(err);
    assert_calls("+pio 170-177\n+pci 3-1\n-pio 1f0-1f7\n");
    g_assert_cmpuint(xen_server_id(s), ==, 3);
    xen_hypervisor_adopted(hv);
    xen_server_ranges(s, &count);
    g_assert_cmpuint(count, ==, 4);
    hv_isa_irq_set(hv, 4, true);
    hvs_pci_function_del(s, 0x19);
    assert_calls("!isa 4-1\n-pci 3-1\n");
    xen_server_ranges(s, &count);
    g_assert_cmpuint(count, ==, 3);
    hv_server_free(s);
    assert_calls("-server 3-0\n");
    xen_hypervisor_free(hv);
}

static void test_commit_refused(void)
{
    struct xen_handles xen = {.domid = 1};
    struct hypervisor *hv;
    struct hv_server *s = new_machine(&xen, &hv);
    GError *err = NULL;

    fail_at = 2;
    fail_with = ENOSPC;
    g_assert_cmpint(xen_server_commit(s, before, G_N_ELEMENTS(before), &err), ==, -ENOSPC);
    g_assert_nonnull(err);
    g_clear_error(&err);
    assert_calls("+pio 170-177\n+pci 3-1\n-pio 170-177\n"); /* as it was */

    fail_at = 2;
    fail_with = EEXIST; /* somebody was there before us: so be it */
    g_assert_cmpint(xen_server_commit(s, before, G_N_ELEMENTS(before), &err), ==, 0);
    assert_calls("+pio 170-177\n+pci 3-1\n-pio 1f0-1f7\n");
    hv_server_free(s);
    xen_hypervisor_free(hv);
}

/* Freed before the commit it leaves the server to the program that goes on with it. */
static void test_not_ours_to_destroy(void)
{
    struct xen_handles xen = {.domid = 1};
    struct hypervisor *hv;

    hv_server_free(new_machine(&xen, &hv));
    xen_hypervisor_free(hv);
    assert_calls("");
}

/* ---- the manifest ---- */

static void test_manifest(void)
{
    static const char blob[] = "a\nb\0c\xff=[d]";
    struct handover *h = handover_new();
    g_autofree uint8_t *bytes = NULL;
    g_autofree char *text = NULL, *none = NULL, *empty = NULL;
    int file = memfd_create("x", 0), fd;
    size_t len = 0;

    handover_put_fd(h, "drive 0", "medium", file);
    handover_put_fd(h, "drive 1", "medium", -1);
    handover_put_int(h, "xen", "server", INT64_MIN);
    handover_put_bytes(h, "client 0", "in", blob, sizeof(blob));
    handover_put_text(h, "drive 0", "file", "/tmp/\xe4, [x]\n");
    handover_put_text(h, "drive 0", "none", NULL);
    handover_put_text(h, "drive 0", "empty", "");
    handover_put_int(h, "gone", "key", 1);
    handover_remove(h, "gone", "key");
    fd = handover_write(h, NULL);
    g_assert_cmpint(fd, >=, 0);
    handover_set_inheritable(h, true);
    g_assert_cmpint(fcntl(file, F_GETFD), ==, 0);
    handover_free(h);

    h = handover_read(fd, NULL);
    g_assert_nonnull(h);
    g_assert_cmpint(fcntl(file, F_GETFD), ==, FD_CLOEXEC);
    g_assert_cmpint(handover_fd(h, "drive 0", "medium"), ==, file);
    g_assert_cmpint(handover_fd(h, "drive 1", "medium"), ==, -1);
    g_assert_cmpint(handover_fd(h, "nothing", "medium"), ==, -1);
    g_assert_cmpint(handover_int(h, "xen", "server", 1), ==, INT64_MIN);
    g_assert_cmpint(handover_int(h, "xen", "other", 5), ==, 5);
    g_assert_cmpint(handover_int(h, "gone", "key", 6), ==, 6);
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
    handover_free(h);
    close(file);
    close(fd);
}

static void assert_refused(const char *content, const char *part)
{
    GError *err = NULL;
    int fd = memfd_create("x", 0);

    g_assert_cmpint(write(fd, content, strlen(content)), ==, (gssize)strlen(content));
    g_assert_null(handover_read(fd, &err));
    g_assert_nonnull(err);
    g_assert_nonnull(strstr(err->message, part));
    g_error_free(err);
    close(fd);
}

static void test_manifest_refused(void)
{
    int pipe_fd[2];
    GError *err = NULL;

    assert_refused("", "no file of 1 to");
    assert_refused("\xff\xfe[", "manifest");
    assert_refused("[manifest]\nformat=2\n", "format 2");
    assert_refused("[update]\ncheck=1\n", "format 0");
    assert_refused("[manifest]\nformat=1\n[drive 0]\nfd-medium=900\n", "descriptor 900");
    assert_refused("[manifest]\nformat=1\n[drive 0]\nfd-medium=1\n", "descriptor 1");
    assert_refused("[manifest]\nformat=1\n[drive 0]\nfd-medium=-7\n", "descriptor -7");
    assert_refused("[manifest]\nformat=1\n[drive 0]\nfd-medium=x\n", "descriptor 0");
    g_assert_cmpint(pipe(pipe_fd), ==, 0);
    g_assert_null(handover_read(pipe_fd[0], &err));
    g_assert_nonnull(err);
    g_error_free(err);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    calls = g_string_new(NULL);
    g_test_add_func("/update/commit", test_commit);
    g_test_add_func("/update/commit/refused", test_commit_refused);
    g_test_add_func("/update/not-ours", test_not_ours_to_destroy);
    g_test_add_func("/update/manifest", test_manifest);
    g_test_add_func("/update/manifest/refused", test_manifest_refused);
    return g_test_run();
}
