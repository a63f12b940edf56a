/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine with an NVMe controller, and as much of a driver as its tests want: an admin queue and
 * I/O queue 1, commands one at a time or many.
 */
#ifndef TESTS_NVME_FIXTURE_H
#define TESTS_NVME_FIXTURE_H

#include <string.h>

#include <xendm/bytes.h>
#include <xendm/classes.h>
#include <xendm/log.h>
#include <xendm/pci.h>

#include "fake-block.h"
#include "fakes.h"

#define DEVFN PCI_DEVFN(4, 0)
#define BAR UINT64_C(0xf0000000)
#define ASQ 0x10000u
#define ACQ 0x11000u
#define SQ1 0x12000u
#define CQ1 0x16000u
#define LIST 0x20000u
#define DATA 0x100000u
#define ENTRIES 16u
#define SECTORS 8192u
#define NO_COMPLETION 0xffffu

struct box {
    struct machine *m;
    struct device *dev;
    struct block *disk;
    unsigned tail[3], head[3];
    bool phase[3];
    uint16_t cid;
    uint32_t result;
    uint32_t head_seen; /* SQHD of the last completion */
};

void box_new(struct box *b); /* not started */
void box_start(struct box *b);
void box_queues(struct box *b); /* I/O queue 1 */
void box_free(struct box *b);
/* Another machine on the same disk, with the state of this one; this one is gone. */
void box_move(struct box *b);

uint32_t rd(struct box *b, unsigned reg);
void wr(struct box *b, unsigned reg, uint32_t value);
uint8_t *mem(struct box *b, uint64_t gpa);

struct command {
    uint8_t op;
    uint32_t nsid;
    uint64_t prp1, prp2;
    uint32_t dw10, dw11, dw12, dw13;
    uint8_t flags;
};
/* Puts it into the queue, and rings; the id of the command. */
uint16_t issue(struct box *b, unsigned q, struct command c);
/* The next completion's status, or NO_COMPLETION; `cid` may be NULL. */
uint16_t completion(struct box *b, unsigned q, uint16_t *cid);
/* One command: the loop runs until its completion is there. */
uint16_t command(struct box *b, unsigned q, struct command c);
void settle(struct box *b); /* the loop runs dry */

/* Sector n of the fake disk begins with its number. */
uint64_t sector_at(struct box *b, uint64_t gpa);

/* A command about blocks, which the fields behind it may change. */
#pragma GCC diagnostic ignored "-Woverride-init"
#define BLOCKS(op_, lba, n, ...) \
    ((struct command){ \
        .op = (op_), .nsid = 1, .prp1 = DATA, .dw10 = (lba), .dw12 = (n)-1, __VA_ARGS__})

#endif
