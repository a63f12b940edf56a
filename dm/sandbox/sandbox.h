/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dropping privileges: the one line of start-up behind which guest data is touched.
 * docs/security.md. */
#ifndef DM_SANDBOX_H
#define DM_SANDBOX_H

#include <glib.h>

#include <xendm/machine-desc.h>

/* Looks up names while files can still be read; fails on unknown users and uid 0. */
struct sandbox;
struct sandbox *sandbox_prepare(const struct machine_desc *desc, GError **err);

/* Irrevocable. In order: no new privileges, chroot, groups, user, capabilities. What was asked for
 * and failed is an error. Last, the system calls are restricted (syscalls.h); `updated`: the
 * program before us did that,
 * and filters add up. */
int sandbox_enter(struct sandbox *sandbox, bool updated, GError **err);

#endif
