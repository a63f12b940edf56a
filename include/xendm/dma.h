/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DMA: how a device reaches guest memory. Every function takes a length. Refused with an error,
 * never fatal:
 *   -EPERM   the device may not (PCI bus master off)
 *   -ELOOP   the address belongs to a device's registers
 *   -EFAULT  no memory there
 *   -EINVAL  address + length overflows
 * and the device then does what its chip does on a master abort. A guest structure is fetched once
 * into a local; nothing in a mapped view may be read twice. Written pages are marked dirty for
 * migration.
 */
#ifndef XENDM_DMA_H
#define XENDM_DMA_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <xendm/guestmem.h>

struct device;

enum dma_direction {
    DMA_TO_DEVICE,   /* the device reads guest memory */
    DMA_FROM_DEVICE, /* the device writes guest memory */
};

int dma_read(struct device *dev, uint64_t gpa, void *buf, size_t len);
int dma_write(struct device *dev, uint64_t gpa, const void *buf, size_t len);

/* A mapped piece; ref.ptr / ref.len are the memory. */
struct dma_segment {
    struct guestmem_ref ref;
    enum dma_direction direction;
};

/*
 * Maps [gpa, gpa + len) into at most `max` segments in order. Returns how many were used, or the
 * error with nothing left mapped; -ENOBUFS when `max` are too few. dma_unmap() takes as many and
 * `done`, the bytes transferred from the start.
 */
int dma_map(struct device *dev, uint64_t gpa, size_t len, enum dma_direction direction,
            struct dma_segment *segment, unsigned max);
void dma_unmap(struct device *dev, struct dma_segment *segment, unsigned count, size_t done);

/* Totals for status output. */
struct dma_counters {
    uint64_t reads, writes, bytes_read, bytes_written, refused;
};

#endif
