/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a fuzz target does as guest and as host, in the patterns that drivers and back ends have:
 * random register accesses alone hardly ever start a command. Each function takes what it does from
 * the input. fuzz-board drives all of them through the ioreq core, fuzz-device one chip's directly.
 */
#ifndef XENDM_FUZZ_GUEST_H
#define XENDM_FUZZ_GUEST_H

#include <xendm/backend.h>
#include <xendm/chardev.h>
#include <xendm/display.h>
#include <xendm/machine.h>
#include <xendm/p9.h>

#include "../unit/fake-block.h"
#include "fuzz.h"

#define GUEST_DRIVES 4u
#define GUEST_SERIALS 2u

/* A character back end that takes what the input says. */
struct chardev {
    struct backend b;
    const struct chardev_frontend *frontend;
    void *opaque;
    bool connected;
    unsigned takes; /* bytes of the next write; more than a FIFO: all */
};

/* A directory, whose server is tests/unit/fake-p9.c. */
struct p9_share {
    struct backend b;
    struct p9_mount *mount;
};

struct fuzz_guest {
    struct fuzz_input in;
    struct machine *m;
    struct block *block[GUEST_DRIVES]; /* disk, CD, CD, disk */
    struct chardev *serial[GUEST_SERIALS];
    struct net *net; /* of the one network card; NULL: none */
    struct display_watch *watch;
    void (*out)(struct fuzz_guest *g, uint32_t port, uint64_t value, unsigned size);
    uint64_t (*get)(struct fuzz_guest *g, uint32_t port, unsigned size);
};

/* Ids of the drives as the board has them, and which of them are CD drives. */
extern const char *const guest_drive_id[GUEST_DRIVES];
static inline bool guest_drive_is_cd(unsigned i)
{
    return i == 1 || i == 2;
}

struct chardev *guest_serial_new(const char *id);
void guest_serial_free(struct chardev *cd);
struct p9_share *guest_share_new(void);
void guest_share_free(struct p9_share *s);

/* A directory with an option ROM for the VGA; it goes when the process ends. */
const char *guest_firmware(void);

uint64_t guest_bar(struct machine *m, unsigned devfn, unsigned bar);
/* Guest memory: low pages mostly, the ends of RAM, anything. */
uint64_t guest_some_memory(struct fuzz_guest *g);

/* The guest. */
void guest_memory(struct fuzz_guest *g);
void guest_ata(struct fuzz_guest *g);
void guest_atapi(struct fuzz_guest *g);
void guest_data(struct fuzz_guest *g);
void guest_trim(struct fuzz_guest *g);
void guest_bus_master(struct fuzz_guest *g);
void guest_ahci(struct fuzz_guest *g);
void guest_ac97(struct fuzz_guest *g);
void guest_i6300esb(struct fuzz_guest *g);
void guest_vbe(struct fuzz_guest *g);
void guest_vga(struct fuzz_guest *g);
void guest_cirrus(struct fuzz_guest *g);
void guest_keyboard(struct fuzz_guest *g);
void guest_unplug(struct fuzz_guest *g);
void guest_nvme_start(struct fuzz_guest *g); /* guest-nvme.c */
void guest_nvme(struct fuzz_guest *g);
void guest_nvme_doorbell(struct fuzz_guest *g);
void guest_virtio_start(struct fuzz_guest *g); /* guest-virtio.c: a device at 4.0 */
void guest_virtio(struct fuzz_guest *g);
void guest_virtio_console(struct fuzz_guest *g);
void guest_virtio_p9(struct fuzz_guest *g);
void guest_virtio_scsi(struct fuzz_guest *g); /* units 0:0 and 2:1 */
void guest_virtio_scsi_control(struct fuzz_guest *g);
void guest_virtio_ring(struct fuzz_guest *g);
void guest_virtio_reset(struct fuzz_guest *g);
void guest_xhci_start(struct fuzz_guest *g); /* guest-xhci.c: four devices, see there */
void guest_xhci(struct fuzz_guest *g);
void guest_xhci_command(struct fuzz_guest *g);
void guest_xhci_events(struct fuzz_guest *g);
void guest_lsi_start(struct fuzz_guest *g); /* guest-lsi.c */
void guest_lsi_command(struct fuzz_guest *g);
void guest_lsi_script(struct fuzz_guest *g);
void guest_lsi_interrupt(struct fuzz_guest *g);
/* guest-rings.c: a network card at 4.0, the USB controller at 1.2 */
void guest_e1000(struct fuzz_guest *g);
void guest_rtl8139(struct fuzz_guest *g);
void guest_uhci(struct fuzz_guest *g);
void guest_cable(struct fuzz_guest *g);
void guest_pointer(struct fuzz_guest *g);

/* The host. */
void guest_look(struct fuzz_guest *g);
void guest_unwatch(struct fuzz_guest *g);
void guest_disk(struct fuzz_guest *g);
void guest_medium(struct fuzz_guest *g);
void guest_keys(struct fuzz_guest *g);
void guest_serial(struct fuzz_guest *g);
void guest_server(struct fuzz_guest *g);
void guest_describe(struct fuzz_guest *g); /* `info device` of all */
void guest_settle(struct fuzz_guest *g);   /* devices that hold (hold.h) come to their ends */
void guest_drain(struct fuzz_guest *g);    /* all disk I/O completes */

/* Some bytes of a saved state changed, and a checksum that fits, as an enemy would see to. */
void guest_damage_state(struct fuzz_guest *g, GByteArray *stream);

#endif
