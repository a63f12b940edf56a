/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains come, crash, shut down and go. */
#ifndef XENEMU_DOMAIN_LIFE_H
#define XENEMU_DOMAIN_LIFE_H

#include <glib.h>
#include <stdint.h>

struct host;
struct domain;

struct domain *domain_create(struct host *h, uint32_t id, const char *name, uint64_t memory_kb,
                             uint64_t video_kb, uint64_t mmio_start, unsigned int nr_vcpus,
                             const char **err);
void domain_destroy(struct domain *d);
struct domain *domain_find(struct host *h, uint32_t id);
void domain_crash(struct domain *d, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
int domain_shutdown(struct domain *d, uint32_t reason);
/* Something ended: xenstored looks which domains are left and fires @releaseDomain. */
void virq_dom_exc(struct host *h);

#endif
