/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to hw/ide; the drives are hw/ata's.
 *
 *   piix3-ide.c    the PCI function, its bus-master registers
 *   bus-master.c   the PRD engine: descriptor table → mapped guest memory
 *   ide-channel.c  the cable: ports, drive selection, interrupt, software reset
 */
#ifndef XENDM_IDE_INTERNAL_H
#define XENDM_IDE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <xendm/ata.h>
#include <xendm/classes.h>
#include <xendm/dma.h>
#include <xendm/facts.h>
#include <xendm/ide.h>
#include <xendm/irq.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/state.h>

/* Bus-master command and status. */
#define BM_START 0x01
#define BM_TO_MEMORY 0x08
#define BM_ACTIVE 0x01
#define BM_ERROR 0x02
#define BM_INTERRUPT 0x04
#define BM_DRIVE_DMA 0x60

struct ide_channel;

/* Where the engine is in the descriptor table. */
struct ide_bm_cursor {
    uint32_t next;          /* address of the descriptor to fetch next */
    uint32_t address, left; /* rest of the current one */
    uint32_t fetched;       /* descriptors so far */
    bool last;              /* the current one had the end-of-table bit */
};

struct ide_bm {
    uint8_t command, status;
    uint32_t table;
    struct ide_bm_cursor cursor;
    struct ide_bm_cursor chunk_start; /* to do a failed chunk again */
    struct ata_drive *client;         /* the drive that asks for DMA */
    bool stopping; /* the guest cleared Start while the host works on its memory */
    /* A chunk that is being put together, maybe over several turns of the loop. */
    uint32_t total, keep;       /* bytes in the list; of whole sectors */
    struct ide_bm_cursor whole; /* behind the last whole sector */
};

struct ide_channel {
    struct ata_host host;
    struct ide_controller *controller;
    uint8_t select; /* 0 or 1: bit DEV as last written */
    uint8_t control;
    struct irq irq;
    struct region command_ports, control_port;
    struct ide_bm bm;
};

struct ide_controller {
    struct pci_device pci;
    struct ide_channel channel[2];
    /* IDETIM of both, for S3: the bus' reset comes before ours */
    uint8_t timing[4];
};

/* bus-master.c */
void ide_bm_reset(struct ide_channel *ch);
void ide_bm_interrupt(struct ide_channel *ch);
void ide_bm_master_off(struct ide_channel *ch); /* in the function's command register */
uint8_t ide_bm_read(const struct ide_channel *ch, unsigned reg);
void ide_bm_write(struct ide_channel *ch, unsigned reg, uint8_t value);
extern const struct ata_host_ops ide_host_ops; /* the engine's side; interrupts: ide-channel.c */

/* ide-channel.c */
extern const struct region_ops ide_command_ops, ide_control_ops;
void ide_channel_update_irq(struct ide_channel *ch);
void ide_channel_reset(struct ide_channel *ch);
void ide_channel_interrupt(struct ata_host *h, struct ata_drive *d);
void ide_channel_quiet(struct ata_host *h);

#endif
