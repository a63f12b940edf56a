/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine that test-qmp shows to QMP: the functions of the core, board, drives, screen and
 * keys, at link time.
 */
#ifndef QMP_FAKES_H
#define QMP_FAKES_H

#include <stdbool.h>

#include <xendm/backend.h>
#include <xendm/machine.h>

struct fake_qmp {
    char plugged[128]; /* by device_add */
    char password[16]; /* of VNC */
    int64_t expires;
    bool vcpu_online[4];
    bool tray_locked, tray_open;
    bool disk_unplugged;
    unsigned resets;
    char keys[64];       /* the last combination */
    char screendump[64]; /* the last file */
    char events[256];    /* of input, in order */
    unsigned pointer;    /* chosen */
};
extern struct fake_qmp fake_qmp;

/* Afresh: 4 vCPUs of which 2 are plugged, two PCI functions, drives "ide0-hd0" and "ide-5632". */
struct machine *fake_qmp_machine(void);
/* The fake drives and serial port have the back ends of these ids; before the set is freed: no
 * more. */
void fake_qmp_use(struct backend_set *set);
void fake_qmp_unuse(struct backend_set *set);

#endif
