/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine: what devices find around them. One per process. Built by hw/pc/board.c from a
 * machine description; run, stopped, saved and ended by dm/. Devices use it; they do not know of
 * QMP, xenstore or the command line.
 */
#ifndef XENDM_MACHINE_H
#define XENDM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include <xendm/aspace.h>
#include <xendm/clock.h>
#include <xendm/device.h>
#include <xendm/dma.h>
#include <xendm/guestmem.h>
#include <xendm/hold.h>
#include <xendm/hypervisor.h>
#include <xendm/irq.h>

struct backend_set;
struct display;
struct handover;
struct input;
struct machine_desc;
struct pci_bus;

enum machine_state {
    MACHINE_BUILDING, /* devices are made; nothing is served yet */
    /* complete, quiesced: before the first cont, after stop, after load */
    MACHINE_STOPPED,
    MACHINE_RUNNING,
    MACHINE_SUSPENDED, /* guest in S3, waits for system_wakeup */
    MACHINE_SHUTDOWN,  /* guest raised a shutdown; we stay until the toolstack ends us */
};

/* Told by the machine, implemented by dm/ (QMP events, xenstore, log). Each may be NULL. */
struct machine_events {
    void (*state_changed)(void *opaque, enum machine_state now, enum machine_state before);
    void (*rtc_offset)(void *opaque, int64_t seconds); /* the guest set its clock */
    void (*tray_moved)(void *opaque, const char *device_id, bool open);
    /* Host I/O of a drive failed and the guest was told so. op: "read", "write", "flush". */
    void (*block_error)(void *opaque, const char *device_id, const char *op, int error);
    void (*unplugged)(void *opaque, const char *device_id);
};

struct machine {
    struct hypervisor *hv;
    struct hv_server *server; /* whose accesses these devices answer */
    struct guestmem *memory;
    struct vclock *clock;
    struct aspace *pio, *mmio;
    struct pci_bus *pci;
    struct irq_line isa_irq[16];
    struct display *display; /* the one head, or NULL (vga="none") */
    struct input *input;
    struct backend_set *backends; /* the caller's; NULL: none */
    const char *firmware_dirs;    /* firmware.h; NULL: devices have no option ROMs by default */
    bool restored;                /* the guest's memory is there already, video memory included */
    bool inherited; /* as the program before this one leaves it: what take_over() is for */

    /* guest RAM is [0, low_end) and [4 GiB, high_end), as the toolstack laid it out */
    uint64_t ram_low_end;
    uint64_t ram_high_end;
    unsigned vcpus;        /* maximum */
    unsigned vcpus_online; /* at start */
    unsigned domid;

    enum machine_state state;
    /* struct device *, in order of creation, which is the order of reset and save */
    GPtrArray *devices;
    struct dma_counters dma;
    struct machine_holds holds;
    const struct machine_events *events;
    void *events_opaque;
    void *board; /* hw/pc's own */
};

/* An empty machine: address spaces, clock, bus, interrupt lines. `clock` is owned by the caller. */
struct machine *machine_new(struct hypervisor *hv, struct hv_server *server,
                            struct guestmem *memory, struct vclock *clock);
void machine_free(struct machine *m); /* devices last made go first */
struct device *machine_find(struct machine *m, const char *id);

/* All devices were realized: cold reset, state becomes STOPPED. */
void machine_complete(struct machine *m);

/*
 * Life. start: resumes the devices and the clock; stop: the reverse. I/O that is in flight then
 * completes: the caller runs the main loop while machine_busy(). A machine that was suspended or
 * shut down is that again after stop and start.
 */
void machine_start(struct machine *m);
void machine_stop(struct machine *m);
/* after stop: true while a device still completes I/O */
bool machine_busy(struct machine *m);
void machine_reset(struct machine *m, enum reset_reason why);

/* What the guest asks for by its chips' registers. */
/* 0xCF9, 0x64/0xFE, port 0x92, ACPI: raises SHUTDOWN_reboot */
void machine_request_reset(struct machine *m);
void machine_request_poweroff(struct machine *m);    /* S4/S5 */
void machine_request_watchdog(struct machine *m);    /* its time was over: SHUTDOWN_watchdog */
void machine_request_suspend(struct machine *m);     /* S3 */
int machine_wakeup(struct machine *m, GError **err); /* -EINVAL when not suspended */
void machine_request_unplug(struct machine *m, unsigned what);

/* Events by the devices; forward to machine_events. */
void machine_event_tray(struct machine *m, const char *device_id, bool open);
void machine_event_block_error(struct machine *m, const char *device_id, const char *op, int error);
void machine_event_unplugged(struct machine *m, const char *device_id);

/*
 * The whole machine's state as a sequence of records {device id, section, version, payload};
 * docs/state-format.md. machine_load() is all-or-nothing: -EINVAL with device, section, field and
 * value in `err`, and nothing was changed.
 */
int machine_save(struct machine *m, GByteArray *out, GError **err);
int machine_load(struct machine *m, const void *data, size_t len, GError **err);

/*
 * Live update: what devices have of the host (device.h), and which came while the machine ran. The
 * successor plugs these in as well before its machine is complete, and takes the others' before it
 * loads their state. What does not differ from rehearsal to change is machine_hand_over_plan()'s.
 */
void machine_hand_over_plan(const struct machine *m, struct handover *to);
int machine_plug_as_before(struct machine *m, const struct handover *from, GError **err);
void machine_hand_over(const struct machine *m, struct handover *to);
int machine_take_over(struct machine *m, const struct handover *from, GError **err);

/*
 * Board: hw/pc/board.c. The description's devices, and what belongs to the board itself. Every back
 * end that they name is open, in m->backends.
 */
int board_build(struct machine *m, const struct machine_desc *desc, GError **err);
void board_free(struct machine *m);

/*
 * vCPU hot-plug (QMP device_add / cpu-add): -EINVAL out of range, 0 also when it is online already.
 */
int board_vcpu_online(struct machine *m, unsigned vcpu);
bool board_vcpu_is_online(struct machine *m, unsigned vcpu);
/* Drive by id ("ide-5632") or index for CD change. NULL when there is none. */
struct device *board_drive(struct machine *m, const char *id);

#endif
