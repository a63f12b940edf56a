/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `xendmctl why` puts together: sentences, of which the first is the verdict. */
#ifndef XENDMCTL_WHY_H
#define XENDMCTL_WHY_H

#include <stdbool.h>

#include "page.h"
#include "xen.h"

struct report {
    const struct page *page;
    struct xen *xen;     /* NULL: it cannot be asked, or the domain is gone */
    struct symbols *map; /* NULL: none was named */
    GPtrArray *causes;   /* what keeps the guest from going on; the first is the verdict */
    GPtrArray *losses;   /* it goes on, but not all of what it does arrives */
    GPtrArray *notes;    /* what else was seen */
    bool paused;         /* its vCPUs execute nothing, and are not to blame */
    bool idle;           /* all vCPUs wait for an interrupt */
};

void why_blame(struct report *r, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void why_lost(struct report *r, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void why_note(struct report *r, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* ---- why-host.c: processes of this host ---- */

/* Of proc(5); 0 when it cannot be seen. */
char host_process_state(int pid);
char *host_process_channel(int pid); /* where it waits in the kernel; "". g_free() */
/* ", is stopped by a signal", ", waits in the kernel (folio_wait_bit)", or "". g_free(). */
char *host_process_doing(int pid);
/* A thread of it that waits in the kernel for a device. g_free(); NULL: there is none. */
char *host_thread_stuck(int pid);
/* The image server of this file; 0: there is none. */
int host_image_server(const char *file);

void why_xenstore(struct report *r); /* is xenstored there? */
void why_frontends(struct report *r);
/* Who of the toolstack is at work on the guest: "xl, process 12 (xl save web …)". NULL: nobody. */
char *why_toolstack(const struct report *r);
/* … and who waits for its end, to remove it. */
char *why_watcher(const struct report *r);
/* Why there is nothing to boot from this file: "has no boot signature"; NULL: there is. */
const char *host_not_bootable(const char *file);

/* ---- why-xen.c ---- */

void why_domain(struct report *r);
void why_vcpus(struct report *r);
void why_lines(struct report *r);

/* ---- why-symbols.c ---- */

struct symbols *symbols_read(const char *path, GError **err);
void symbols_free(struct symbols *s); /* NULL is allowed */
/* "cpu_idle+0x12"; NULL: no symbol is near. `slide`: how far the kernel is from where it was
 * linked. g_free(). */
char *symbols_name(const struct symbols *s, uint64_t address, uint64_t slide);
/* Where it was linked; 0: there is none of that name. */
uint64_t symbols_address(const struct symbols *s, const char *name);

#endif
