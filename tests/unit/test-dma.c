/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DMA: what is allowed, what is refused with which error, and that nothing stays mapped. */
#include <errno.h>
#include <string.h>

#include <xendm/dma.h>
#include <xendm/recorder.h>

#include "fakes.h"

#define HIGH (UINT64_C(4) << 30)

static const struct device_class master_class = {.name = "test-master",
                                                 .size = sizeof(struct device)};

static struct device *new_master(struct machine **m)
{
    *m = fake_machine_new();
    return fake_device(*m, &master_class, NULL, NULL);
}

static void test_copy(void)
{
    struct machine *m;
    struct device *dev = new_master(&m);
    uint8_t out[100], in[100];
    uint64_t noted = recorder->next;

    for (unsigned i = 0; i < sizeof(out); i++) {
        out[i] = (uint8_t)(i * 7 + 1);
    }
    /* Across a border of views, and above 4 GiB. */
    for (uint64_t gpa = 0xffd0; gpa != 0; gpa = gpa < HIGH ? HIGH + 0x100 : 0) {
        g_assert_cmpint(dma_write(dev, gpa, out, sizeof(out)), ==, 0);
        g_assert_cmpmem(fake_guestmem_ptr(m->memory, gpa), 16, out, 16);
        memset(in, 0, sizeof(in));
        g_assert_cmpint(dma_read(dev, gpa, in, sizeof(in)), ==, 0);
        g_assert_cmpmem(in, sizeof(in), out, sizeof(out));
    }
    g_assert_cmpint(dma_read(dev, 0x1000, in, 0), ==, 0);
    g_assert_cmpuint(m->dma.writes, ==, 2);
    g_assert_cmpuint(m->dma.reads, ==, 3);
    g_assert_cmpuint(m->dma.bytes_written, ==, 200);
    g_assert_cmpuint(m->dma.bytes_read, ==, 200);
    g_assert_cmpuint(m->dma.refused, ==, 0);
    g_assert_cmpuint(fake_guestmem_dirty_bytes(m->memory), ==, 200);
    g_assert_cmpuint(recorder->next - noted, ==, 5);
    g_assert_cmpuint(recorder->entry[noted % RECORDER_SIZE].kind, ==, REC_DMA_WRITE);
    g_assert_cmphex(recorder->entry[noted % RECORDER_SIZE].a, ==, 0xffd0);
    fake_machine_free(m);
}

static uint64_t reg_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void reg_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    g_assert_not_reached();
}

static void test_refused(void)
{
    static const struct region_ops ops = {.read = reg_read, .write = reg_write};
    struct machine *m;
    struct device *dev = new_master(&m);
    struct dma_list *l = dma_list_new(dev, 4);
    struct region regs;
    uint8_t buf[64] = {0};
    uint64_t last = (UINT64_C(16) << 20) - 32;
    struct {
        uint64_t gpa;
        int error;
    } cases[] = {
        {UINT64_MAX - 10, -EINVAL},
        {last, -EFAULT}, /* half of it is beyond the memory */
        {UINT64_C(0x80000000), -EFAULT},
        {UINT64_C(1) << 60, -EFAULT},
        {HIGH - 1, -EFAULT},
        {0x200000 - 63, -ELOOP}, /* the last byte is a register */
        {0x200fff, -ELOOP},
        {0x300000 - 8, -EFAULT}, /* runs into a ballooned page */
    };

    region_init(&regs, "registers", &ops, NULL, 0x1000);
    region_place(m->mmio, &regs, 0x200000, NULL);
    fake_guestmem_hole(m->memory, 0x300000, 0x1000);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_cmpint(dma_read(dev, cases[i].gpa, buf, sizeof(buf)), ==, cases[i].error);
        g_assert_cmpint(dma_write(dev, cases[i].gpa, buf, sizeof(buf)), ==, cases[i].error);
        dma_list_begin(l, DMA_FROM_DEVICE);
        g_assert_cmpint(dma_list_add(l, cases[i].gpa, 64), ==, cases[i].error);
        dma_list_end(l, 0);
        g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 0);
    }
    g_assert_cmpuint(m->dma.refused, ==, 3 * G_N_ELEMENTS(cases));
    g_assert_cmpuint(m->dma.bytes_written, ==, 0);
    dev->dma_blocked = true;
    g_assert_cmpint(dma_read(dev, 0x1000, buf, 4), ==, -EPERM);
    g_assert_cmpint(dma_write(dev, 0x1000, buf, 4), ==, -EPERM);
    dma_list_begin(l, DMA_TO_DEVICE);
    g_assert_cmpint(dma_list_add(l, 0x1000, 4), ==, -EPERM);
    dma_list_free(l);
    dev->dma_blocked = false;
    region_remove(&regs);
    g_assert_cmpint(dma_read(dev, 0x200000, buf, 4), ==, 0);
    fake_machine_free(m);
}

static void test_list(void)
{
    struct machine *m;
    struct device *dev = new_master(&m);
    struct dma_list *l = dma_list_new(dev, 4);
    struct iovec *iov;
    uint8_t buf[0x200];
    unsigned n;

    /* Three pieces: within a view, across a border of views, and beyond the list's size. */
    dma_list_begin(l, DMA_FROM_DEVICE);
    g_assert_cmpint(dma_list_add(l, 0x1000, 0x100), ==, 0x100);
    g_assert_cmpint(dma_list_add(l, 0x1ff80, 0x100), ==, 0x100);
    g_assert_cmpint(dma_list_add(l, 0x2fff0, 0x100), ==,
                    0x10); /* its second half is a fifth view */
    g_assert_cmpint(dma_list_add(l, 0x30000, 0x100), ==, 0);
    g_assert_cmpuint(dma_list_bytes(l), ==, 0x210);
    g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 4);

    /* What is contiguous in our mapping is one element, though it was mapped by views. */
    iov = dma_list_iov(l, 0, SIZE_MAX, &n);
    g_assert_cmpuint(n, ==, 3);
    g_assert_cmpuint(iov[1].iov_len, ==, 0x100);
    g_assert_true(iov[1].iov_base == fake_guestmem_ptr(m->memory, 0x1ff80));
    iov = dma_list_iov(l, 0x180, 0x81, &n);
    g_assert_cmpuint(n, ==, 2);
    g_assert_true(iov[0].iov_base == fake_guestmem_ptr(m->memory, 0x20000));
    g_assert_cmpuint(iov[0].iov_len, ==, 0x80);
    g_assert_cmpuint(iov[1].iov_len, ==, 1);
    dma_list_iov(l, 0x210, 1, &n);
    g_assert_cmpuint(n, ==, 0);

    for (unsigned i = 0; i < sizeof(buf); i++) {
        buf[i] = (uint8_t)(i * 5 + 3);
    }
    g_assert_cmpint(dma_list_put(l, 0x08, buf, 0x200), ==, 0);
    g_assert_cmpmem(fake_guestmem_ptr(m->memory, 0x1008), 0xf8, buf, 0xf8);
    g_assert_cmpmem(fake_guestmem_ptr(m->memory, 0x1ff80), 0x100, buf + 0xf8, 0x100);
    g_assert_cmpmem(fake_guestmem_ptr(m->memory, 0x2fff0), 8, buf + 0x1f8, 8);
    g_assert_cmpint(dma_list_put(l, 0x11, buf, 0x200), ==, -EINVAL);
    g_assert_cmpint(dma_list_put(l, SIZE_MAX, buf, 2), ==, -EINVAL);
    dma_list_end(l, 0x120); /* cut short */
    g_assert_cmpuint(fake_guestmem_dirty_bytes(m->memory), ==, 0x120);
    g_assert_cmpuint(m->dma.bytes_written, ==, 0x120);
    g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 0);

    /* Used again, the other way. */
    dma_list_begin(l, DMA_TO_DEVICE);
    g_assert_cmpint(dma_list_add(l, 0x1008, 4), ==, 4);
    g_assert_cmpint(dma_list_get(l, 1, buf + 0x100, 3), ==, 0);
    g_assert_cmpmem(buf + 0x100, 3, buf + 1, 3);
    dev->dma_blocked = true;
    g_assert_cmpint(dma_list_get(l, 1, buf, 3), ==, -EPERM);
    g_assert_cmpint(dma_list_add(l, 0x1008, 4), ==, -EPERM);
    dma_list_free(l);
    g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 0);
    g_assert_cmpuint(fake_guestmem_dirty_bytes(m->memory), ==, 0x120);
    fake_machine_free(m);
}

static void test_list_refused(void)
{
    static const struct region_ops ops = {.read = reg_read, .write = reg_write};
    struct machine *m;
    struct device *dev = new_master(&m);
    struct dma_list *l = dma_list_new(dev, 4);
    struct region regs;
    uint64_t refused;

    region_init(&regs, "registers", &ops, NULL, 0x1000);
    region_place(m->mmio, &regs, 0x200000, NULL);
    fake_guestmem_hole(m->memory, 0x41000, 0x1000);
    dma_list_begin(l, DMA_FROM_DEVICE);
    g_assert_cmpint(dma_list_add(l, 0x1000, 0x100), ==, 0x100);
    refused = m->dma.refused;
    /* Each leaves the list as it was. */
    g_assert_cmpint(dma_list_add(l, 0x40800, 0x2000), ==, -EFAULT);
    g_assert_cmpint(dma_list_add(l, 0x1fffff, 2), ==, -ELOOP);
    g_assert_cmpint(dma_list_add(l, UINT64_MAX - 3, 8), ==, -EINVAL);
    g_assert_cmpint(dma_list_add(l, 0x1000, 0), ==, -EINVAL);
    g_assert_cmpint(dma_list_add(l, 0x1000, SIZE_MAX), ==, -EINVAL);
    g_assert_cmpuint(m->dma.refused - refused, ==, 5);
    g_assert_cmpuint(dma_list_bytes(l), ==, 0x100);
    g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 1);
    dma_list_free(l);
    region_remove(&regs);
    fake_machine_free(m);
}

static void test_window(void)
{
    struct machine *m;
    struct device *dev = new_master(&m);
    uint8_t *ring = fake_guestmem_ptr(m->memory, 0xf000);
    uint32_t word[2] = {0x11223344, 0x55667788};
    struct dma_window *w;
    uint8_t got[8];
    int error;

    /* Two pages in two views: the border is at 0x10000. */
    w = dma_window_new(dev, 0xf000, 0x2000, true, &error);
    g_assert_cmpint(error, ==, 0);
    g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 2);
    memcpy(ring + 0xffc, word, 8);
    g_assert_cmphex(dma_window_load32(w, 0xffc), ==, 0x11223344);
    g_assert_cmphex(dma_window_load32(w, 0x1000), ==, 0x55667788);
    g_assert_cmphex(dma_window_load16(w, 0xffe), ==, 0x1122);
    g_assert_cmphex(dma_window_load64(w, 0xffc), ==, 0x5566778811223344); /* unaligned, across */
    g_assert_cmpint(dma_window_read(w, 0xffe, got, 4), ==, 0);
    g_assert_cmpmem(got, 4, ring + 0xffe, 4);

    dma_window_store16(w, 0, 0xabcd);
    dma_window_store32(w, 0x1ffc, 0x01020304);
    dma_window_store64(w, 0x0ffc, 0x1112131415161718);
    g_assert_cmphex(ring[0], ==, 0xcd);
    g_assert_cmphex(ring[0x1fff], ==, 1);
    g_assert_cmphex(ring[0x1003], ==, 0x11);
    g_assert_cmpuint(fake_guestmem_dirty_bytes(m->memory), ==, 0); /* when it ends */

    /* Beyond the end: all ones, nothing written, and said. */
    for (size_t at = 0x1ffd; at != 0; at = at == 0x1ffd ? 0x2000 : at == 0x2000 ? SIZE_MAX : 0) {
        g_assert_cmphex(dma_window_load32(w, at), ==, UINT32_MAX);
        g_assert_cmpint(dma_window_error(w), ==, -EINVAL);
        dma_window_store32(w, at, 0);
        g_assert_cmpint(dma_window_write(w, at, word, 4), ==, -EINVAL);
    }
    g_assert_cmphex(ring[0x2000], ==, 0);
    g_assert_cmphex(ring[0x1fff], ==, 1);

    dma_window_free(w);
    g_assert_cmpuint(fake_guestmem_dirty_bytes(m->memory), ==, 2 * GUEST_PAGE_SIZE);
    g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 0);

    /* One that the device only reads is never written. */
    w = dma_window_new(dev, 0xf000, 16, false, &error);
    dma_window_store16(w, 0, 0);
    g_assert_cmpint(dma_window_error(w), ==, -EINVAL);
    g_assert_cmphex(dma_window_load16(w, 0), ==, 0xabcd);
    dma_window_free(w);
    g_assert_cmpuint(fake_guestmem_dirty_bytes(m->memory), ==, 2 * GUEST_PAGE_SIZE);

    g_assert_null(dma_window_new(dev, 0xf000, 0, true, &error));
    g_assert_cmpint(error, ==, -EINVAL);
    g_assert_null(dma_window_new(dev, 0xf000, DMA_WINDOW_MAX + 1, true, &error));
    g_assert_cmpint(error, ==, -EINVAL);
    g_assert_null(dma_window_new(dev, UINT64_MAX - 8, 16, true, &error));
    g_assert_cmpint(error, ==, -EINVAL);
    g_assert_null(dma_window_new(dev, (UINT64_C(16) << 20) - 8, 16, true, &error));
    g_assert_cmpint(error, ==, -EFAULT);
    g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 0);
    fake_machine_free(m);
}

/* The mapping follows guest memory and the bus master bit. */
static void test_window_ends(void)
{
    struct machine *m;
    struct device *dev = new_master(&m);
    uint8_t *ring = fake_guestmem_ptr(m->memory, 0x20000);
    struct dma_window *w;
    int error;

    w = dma_window_new(dev, 0x20000, 0x2000, true, &error);
    dma_window_store16(w, 0x1000, 1);
    guestmem_invalidate(m->memory);
    g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 0); /* not held until the next access */
    g_assert_cmpuint(fake_guestmem_dirty_bytes(m->memory), ==, GUEST_PAGE_SIZE);
    g_assert_cmphex(dma_window_load16(w, 0x1000), ==, 1);
    g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 1);

    /* The guest gives the second page back: nothing of the ring is reached, and nothing is lost. */
    fake_guestmem_hole(m->memory, 0x21000, 0x1000);
    guestmem_invalidate(m->memory);
    g_assert_cmphex(dma_window_load16(w, 0), ==, 0xffff);
    g_assert_cmpint(dma_window_error(w), ==, -EFAULT);
    dma_window_store16(w, 0, 5);
    g_assert_cmphex(ring[0], ==, 0);
    g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 0);
    fake_guestmem_fill(m->memory);
    dma_window_store16(w, 0, 5);
    g_assert_cmpint(dma_window_error(w), ==, 0);
    g_assert_cmphex(ring[0], ==, 5);

    dev->dma_blocked = true;
    dma_window_store16(w, 0, 6);
    g_assert_cmpint(dma_window_error(w), ==, -EPERM);
    g_assert_cmphex(dma_window_load32(w, 0), ==, UINT32_MAX);
    g_assert_cmphex(ring[0], ==, 5);
    dev->dma_blocked = false;
    dma_window_free(w);
    fake_machine_free(m);
}

/* What was written is dirty when the machine has stopped, and what comes after that at once. */
static void test_window_stop(void)
{
    struct machine *m = fake_machine_new();
    struct device *dev = device_new(m, &master_class, NULL, NULL);
    struct dma_window *w;
    int error;

    g_assert_cmpint(device_realize(dev, NULL), ==, 0);
    machine_complete(m);
    machine_start(m);
    w = dma_window_new(dev, 0x20000, 0x10000, true, &error);
    dma_window_store32(w, 0x0ffc, 1);
    dma_window_store32(w, 0x1000, 1);
    dma_window_store32(w, 0x9000, 1);
    g_assert_cmpuint(fake_guestmem_dirty_bytes(m->memory), ==, 0);
    machine_stop(m);
    g_assert_cmpuint(fake_guestmem_dirty_bytes(m->memory), ==, 3 * GUEST_PAGE_SIZE);
    dma_window_store32(w, 0x0ffc, 2);
    g_assert_cmpuint(fake_guestmem_dirty_bytes(m->memory), ==, 4 * GUEST_PAGE_SIZE);
    dma_window_free(w);
    g_assert_cmpuint(fake_guestmem_dirty_bytes(m->memory), ==, 4 * GUEST_PAGE_SIZE);
    fake_machine_free(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dma/copy", test_copy);
    g_test_add_func("/dma/refused", test_refused);
    g_test_add_func("/dma/list", test_list);
    g_test_add_func("/dma/list-refused", test_list_refused);
    g_test_add_func("/dma/window", test_window);
    g_test_add_func("/dma/window-ends", test_window_ends);
    g_test_add_func("/dma/window-stop", test_window_stop);
    return g_test_run();
}
