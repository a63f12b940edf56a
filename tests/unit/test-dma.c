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
    uint64_t noted = recorder.next;

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
    g_assert_cmpuint(recorder.next - noted, ==, 5);
    g_assert_cmpuint(recorder.entry[noted % RECORDER_SIZE].kind, ==, REC_DMA_WRITE);
    g_assert_cmphex(recorder.entry[noted % RECORDER_SIZE].a, ==, 0xffd0);
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
    struct dma_segment seg[4];
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
        g_assert_cmpint(dma_map(dev, cases[i].gpa, 64, DMA_FROM_DEVICE, seg, 4), ==,
                        cases[i].error);
        g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 0);
    }
    g_assert_cmpuint(m->dma.refused, ==, 3 * G_N_ELEMENTS(cases));
    g_assert_cmpuint(m->dma.bytes_written, ==, 0);
    dev->dma_blocked = true;
    g_assert_cmpint(dma_read(dev, 0x1000, buf, 4), ==, -EPERM);
    g_assert_cmpint(dma_write(dev, 0x1000, buf, 4), ==, -EPERM);
    g_assert_cmpint(dma_map(dev, 0x1000, 4, DMA_TO_DEVICE, seg, 4), ==, -EPERM);
    dev->dma_blocked = false;
    region_remove(&regs);
    g_assert_cmpint(dma_read(dev, 0x200000, buf, 4), ==, 0);
    fake_machine_free(m);
}

static void test_map(void)
{
    struct machine *m;
    struct device *dev = new_master(&m);
    struct dma_segment seg[8];
    size_t sum = 0;
    int n;

    /* 64 KiB from an odd address: at least two views, in order and without gap. */
    n = dma_map(dev, 0x10123, 65536, DMA_FROM_DEVICE, seg, 8);
    g_assert_cmpint(n, ==, 2);
    for (int i = 0; i < n; i++) {
        g_assert_cmphex(seg[i].ref.gpa, ==, 0x10123 + sum);
        memset(seg[i].ref.ptr, 0x5a + i, seg[i].ref.len);
        sum += seg[i].ref.len;
    }
    g_assert_cmpuint(sum, ==, 65536);
    g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 2);
    size_t first = seg[0].ref.len;
    dma_unmap(dev, seg, 2, first + 10); /* cut short: only that much is dirty */
    g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 0);
    g_assert_cmpuint(fake_guestmem_dirty_bytes(m->memory), ==, first + 10);
    g_assert_cmpuint(m->dma.bytes_written, ==, first + 10);
    g_assert_cmphex(*(uint8_t *)fake_guestmem_ptr(m->memory, 0x20000), ==, 0x5b);

    g_assert_cmpint(dma_map(dev, 0x10123, 65536, DMA_FROM_DEVICE, seg, 1), ==, -ENOBUFS);
    g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 0);
    g_assert_cmpint(dma_map(dev, 0x10123, 65536, DMA_FROM_DEVICE, seg, 0), ==, -ENOBUFS);
    g_assert_cmpint(dma_map(dev, 0x10123, 0, DMA_FROM_DEVICE, seg, 8), ==, 0);

    n = dma_map(dev, 0x1fff0, 32, DMA_TO_DEVICE, seg, 8);
    g_assert_cmpint(n, ==, 2);
    g_assert_false(seg[0].ref.write);
    g_assert_cmphex(*(uint8_t *)seg[0].ref.ptr, ==, 0x5a);
    dma_unmap(dev, seg, 2, 32);
    g_assert_cmpuint(m->dma.bytes_read, ==, 32);
    g_assert_cmpuint(fake_guestmem_dirty_bytes(m->memory), ==, first + 10);

    /* A hole at the second page: what was mapped of the first is given back. */
    fake_guestmem_hole(m->memory, 0x41000, 0x1000);
    g_assert_cmpint(dma_map(dev, 0x40800, 0x2000, DMA_FROM_DEVICE, seg, 8), ==, -EFAULT);
    g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 0);
    fake_machine_free(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dma/copy", test_copy);
    g_test_add_func("/dma/refused", test_refused);
    g_test_add_func("/dma/map", test_map);
    return g_test_run();
}
