/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What stands for grants, event channels and xenstore in unit tests of PV back ends, at link time.
 * The test is guest and toolstack.
 */
#ifndef XENDM_TEST_FAKE_PV_H
#define XENDM_TEST_FAKE_PV_H

#include <stdbool.h>
#include <stdint.h>

#include <xendm/evtchn.h>
#include <xendm/foreign.h>
#include <xendm/grants.h>
#include <xendm/pv.h>
#include <xendm/xenstore.h>

#define FAKE_DOMID 7u

/* ---- grants: references 1..FAKE_REFS, each of a page of its own ---- */
#define FAKE_REFS 600u
/* Grants the page, to be written unless `read_only`; what the guest sees of it. */
void *fake_grant(uint32_t ref, bool read_only);
void fake_grant_end(uint32_t ref); /* what is mapped stays */
void *fake_grant_page(uint32_t ref);
/* Called before each copy, as the guest's other vCPU. NULL: nobody. */
extern void (*fake_grant_copying)(void);
extern unsigned fake_grant_copies; /* calls */

/* ---- frames, for protocols without grants: n is the page of reference n, granted or not ---- */
extern unsigned fake_foreign_mapped; /* pages */

/* ---- event channels ---- */
/* By the guest, at its port. True: our side was told at once, else it is masked or paused. */
bool fake_evtchn_ring(uint32_t remote);
unsigned fake_evtchn_rung(uint32_t remote); /* by us, since it was asked last */
unsigned fake_evtchn_bound(void);           /* ports */
extern int fake_evtchn_fail;                /* -errno of the next bind, once */

/* ---- xenstore ---- */
struct xenstore *fake_xenstore_new(void);
void fake_xenstore_free(struct xenstore *xs);
extern unsigned fake_xenstore_reads;
extern int fake_xenstore_fail; /* errno of all reads; 0: they work */
const char *fake_xenstore_get(struct xenstore *xs, const char *path); /* "" when not there */
void fake_xenstore_set(struct xenstore *xs, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void fake_xenstore_remove(struct xenstore *xs, const char *path); /* and what is below */

/* ---- what fails: calls of this kind from the so manieth on (1; 0: none) up to another ---- */
enum fake_pv_call {
    FAKE_PV_MAP,
    FAKE_PV_COPY, /* as a whole */
    FAKE_PV_BIND,
    FAKE_PV_READ, /* of xenstore */
    FAKE_PV_WRITE,
    FAKE_PV_WATCH,
    FAKE_PV_LIST,
};
struct fake_pv_fault {
    enum fake_pv_call call;
    int error; /* errno */
    unsigned from, until;
    unsigned calls; /* of that kind, since it was set */
};
extern struct fake_pv_fault fake_pv_fault;

/* Runs the loop until nothing more happens. */
void fake_pv_settle(void);

/* ---- what a bus needs, of the domain FAKE_DOMID ---- */
void fake_pv_host_open(struct pv_host *host);
/* Another program's bus, of what the one before it left; runs. */
struct pv_bus *fake_pv_take_over(struct pv_host *host, const struct handover *left);
/* And the bus: nothing is bound or mapped any more, once its devices have seen what was removed. */
void fake_pv_host_close(struct pv_host *host, struct pv_bus *bus);

#endif
