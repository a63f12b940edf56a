/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DMA; see xendm/dma.h. The one place where the emulated machine reaches guest memory. */
#include <errno.h>

#include <xendm/device.h>
#include <xendm/dma.h>
#include <xendm/machine.h>
#include <xendm/probe.h>
#include <xendm/recorder.h>
#include <xendm/tape.h>

#include "core.h"

int dma_check(struct device *dev, uint64_t gpa, size_t len)
{
    /* A device touches no guest memory in realize. */
    XENDM_ASSERT(dev->phase != DEVICE_NEW);
    if (len > 0 && gpa + (len - 1) < gpa) {
        return -EINVAL;
    }
    if (dev->dma_blocked) {
        return -EPERM;
    }
    if (aspace_overlaps(dev->machine->mmio, gpa, len)) {
        return -ELOOP;
    }
    return 0;
}

/* Counts and notes the outcome, and returns it. */
int dma_note(struct device *dev, enum dma_direction direction, uint64_t gpa, size_t len, int rc)
{
    struct dma_counters *c = &dev->machine->dma;

    recorder_note(direction == DMA_TO_DEVICE ? REC_DMA_READ : REC_DMA_WRITE,
                  rc < 0 ? (uint32_t)-rc : 0, gpa, len);
    PROBE4(dma, direction, gpa, len, rc);
    if (rc < 0) {
        c->refused++;
    } else if (direction == DMA_TO_DEVICE) {
        c->reads++;
    } else {
        c->writes++;
    }
    return rc;
}

/* What came of a copy, in a recording, or what is to have come of it in a replay. */
int dma_tape(enum tape_kind kind, uint64_t gpa, void *buf, size_t len, int rc)
{
    uint64_t n[] = {gpa, len, (uint64_t)-rc};

    tape_fact(kind, NULL, n, buf, rc < 0 && !tape_plays() ? 0 : len);
    return -(int)MIN(n[2], TAPE_ERRNO_MAX);
}

int dma_read(struct device *dev, uint64_t gpa, void *buf, size_t len)
{
    return dma_read_content(dev, gpa, buf, len, DMA_ANYTHING);
}

int dma_read_content(struct device *dev, uint64_t gpa, void *buf, size_t len, enum dma_content what)
{
    static const enum tape_kind kind[] = {
        [DMA_ANYTHING] = TAPE_DMA_READ,
        [DMA_STRUCTURE] = TAPE_DMA_STRUCTURE,
        [DMA_HEADERS] = TAPE_DMA_HEADERS,
        [DMA_PAYLOAD] = TAPE_DMA_PAYLOAD,
    };
    int rc = dma_check(dev, gpa, len);

    if (rc == 0 && len > 0) {
        if (!tape_plays()) {
            rc = guestmem_read(dev->machine->memory, gpa, buf, len);
        }
        if (tape_on()) {
            rc = dma_tape(kind[what], gpa, buf, len, rc);
        }
    }
    if (rc == 0) {
        dev->machine->dma.bytes_read += len;
    }
    return dma_note(dev, DMA_TO_DEVICE, gpa, len, rc);
}

int dma_write(struct device *dev, uint64_t gpa, const void *buf, size_t len)
{
    int rc = dma_check(dev, gpa, len);

    if (rc == 0 && len > 0) {
        if (!tape_plays()) {
            rc = guestmem_write(dev->machine->memory, gpa, buf, len);
        }
        if (tape_on()) {
            rc = dma_tape(TAPE_DMA_WRITE, gpa, (void *)buf, len, rc);
        }
    }
    if (rc == 0) {
        dev->machine->dma.bytes_written += len;
    }
    return dma_note(dev, DMA_FROM_DEVICE, gpa, len, rc);
}
