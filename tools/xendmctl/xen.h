/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain as Xen knows it, for those who look at a guest or debug it: run states, registers,
 * memory. Needs root in domain 0.
 */
#ifndef XENDMCTL_XEN_H
#define XENDMCTL_XEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include <xen/xen.h>
#include <xen/hvm/save.h>

struct xen;
typedef struct xen xen_t;

/* NULL with errno: Xen cannot be asked, or there is no such domain. */
struct xen *xen_open(uint32_t domid);
void xen_close(struct xen *x); /* NULL is allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xen_t, xen_close)

struct xen_domain {
    bool paused, dying, shutdown;
    unsigned reason; /* SHUTDOWN_*, once it has shut down */
    unsigned vcpus;
};
/* 0 or -errno, as all here. */
int xen_domain(struct xen *x, struct xen_domain *to);
int xen_pause(struct xen *x);
int xen_unpause(struct xen *x);

struct xen_vcpu {
    bool online, blocked, running;
    uint64_t cpu_time; /* ns */
};
int xen_vcpu(struct xen *x, unsigned vcpu, struct xen_vcpu *to);

/* All that Xen saves of the domain, of one moment; NULL with errno. */
GByteArray *xen_state(struct xen *x);
/* A record of it, of at least `size` bytes; NULL: there is none. */
const void *xen_state_find(const GByteArray *state, unsigned type, unsigned instance, size_t size);
#define XEN_STATE(state, code, instance) \
    ((const HVM_SAVE_TYPE(code) *)xen_state_find(state, HVM_SAVE_CODE(code), instance, \
                                                 HVM_SAVE_LENGTH(code)))

/* Guest-physical memory; how many bytes, from the first one, there were. */
size_t xen_read(struct xen *x, uint64_t address, void *to, size_t size);
size_t xen_write(struct xen *x, uint64_t address, const void *from, size_t size);

/* Xen's own messages, the newest of them; NULL. g_free(). */
char *xen_messages(struct xen *x);

/* ---- debugging ---- */

/* Breakpoint instructions and single steps pause the domain, and are not the guest's. */
int xen_set_debugging(struct xen *x, bool on);
/* False: an INT3 or a #DB of a domain that is debugged is swallowed, and nobody hears of it. */
bool xen_stops_for_debuggers(const struct xen *x);
/* -EOPNOTSUPP: this host cannot; the trap flag does it then. */
int xen_set_step(struct xen *x, unsigned vcpu, bool on);

/* What can be changed of a vCPU: general registers, RIP, RFLAGS, debug registers. */
int xen_set_registers(struct xen *x, unsigned vcpu, const struct hvm_hw_cpu *regs);

#endif
