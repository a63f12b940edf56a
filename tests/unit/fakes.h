/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What stands for hypervisor and guest memory in unit tests: the same functions as in the real
 * rooms, at link time, recording what was asked.
 */
#ifndef XENDM_TEST_FAKES_H
#define XENDM_TEST_FAKES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include <xendm/guestmem.h>
#include <xendm/hypervisor.h>
#include <xendm/machine.h>

/* ---- guest memory: [0, low) and [4 GiB, 4 GiB + high), minus holes ---- */
struct guestmem *fake_guestmem_new(uint64_t low, uint64_t high);
/* fails the test when a reference is still held */
void fake_guestmem_free(struct guestmem *gm);
/* ballooned out from now on */
void fake_guestmem_hole(struct guestmem *gm, uint64_t gpa, uint64_t len);
/* all holes have memory again */
void fake_guestmem_fill(struct guestmem *gm);
/* The host cannot map anything: -error, until this is 0. */
void fake_guestmem_fail(struct guestmem *gm, int error);
unsigned fake_guestmem_invalidations(struct guestmem *gm);
/* for the test itself */
void *fake_guestmem_ptr(struct guestmem *gm, uint64_t gpa);
unsigned fake_guestmem_pinned(struct guestmem *gm);
/* sum of put()'s `written` */
uint64_t fake_guestmem_dirty_bytes(struct guestmem *gm);

/* ---- hypervisor ---- */
struct hv_server {
    struct hypervisor *hv;
};

struct hypervisor {
    struct hv_server server; /* the only one */
    bool isa_level[16];
    unsigned isa_changes[16];
    bool intx_level[32][4];
    unsigned intx_changes;
    unsigned link_route[4];
    unsigned msi_count;
    uint64_t msi_address;
    uint32_t msi_data;
    unsigned shutdowns;
    int fail_shutdown;                /* errno */
    enum hv_shutdown shutdown_reason; /* the first */
    unsigned s_state;
    int fail_range_add; /* errno to fail the next hv_range_add() with, once */
    int fail_s_state;   /* -errno for hv_acpi_s_state_set() */
    int fail_populate;  /* -errno for hv_memory_populate() */
    int fail_relocate;  /* -errno for hv_memory_relocate() */
    uint64_t ranges_added, ranges_deleted;
    bool function[256]; /* forwarded PCI functions */
    uint8_t *vram;      /* backs hv_memory_map(), made at populate */
    uint64_t vram_gfn;
    size_t vram_pages;
    uint64_t vram_moving; /* where the first pages of it are already; 0: none */
    unsigned relocations;
    bool write_combine;
    /* what hv_memory_dirty() reports next, NULL: everything */
    uint64_t *dirty;
    uint64_t modified_pages;
};

/*
 * A machine on fakes: 16 MiB of low memory, 1 MiB above 4 GiB, a clock that runs and that only
 * fake_clock_step() moves. fake_machine_free() fails the test when a device left a range, a PCI
 * function, a timer or a memory reference behind.
 */
struct machine *fake_machine_new(void);
void fake_machine_free(struct machine *m);
void fake_clock_step(struct machine *m, int64_t ns); /* runs the timers that become due */

/* A whole string instruction: what the block form of a port takes, then unit by unit. */
void fake_string_in(struct aspace *as, uint64_t addr, void *buf, unsigned size, size_t count);
void fake_string_out(struct aspace *as, uint64_t addr, const void *buf, unsigned size,
                     size_t count);

/*
 * device_new + device_realize of a class with "name=value" settings, NULL-terminated, then a cold
 * reset (so that tests may go on without machine_complete() and machine_start()); aborts the test
 * on error.
 */
struct device *fake_device(struct machine *m, const struct device_class *class, const char *id, ...)
    __attribute__((sentinel));
/* The same for a PCI function at devfn. */
struct device *fake_pci_device(struct machine *m, const struct device_class *class, int devfn, ...)
    __attribute__((sentinel));

/* Runs the default main context until `*flag` is true; fails the test after ten seconds. */
void fake_wait(const bool *flag);

/*
 * Saves `dev`, loads the result into `into` (a fresh instance of the same class on another
 * machine), saves that, and fails the test unless both streams are the same.
 */
void fake_state_round_trip(struct device *dev, struct device *into);

#endif
