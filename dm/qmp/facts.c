/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What QMP and HMP both tell: run state, character devices, drives, PCI functions. Each is walked
 * here once.
 */
#include <xendm/chardev.h>
#include <xendm/ide.h>
#include <xendm/pci.h>

#include "internal.h"

static const char *const status_names[] = {
    [QMP_STATUS_PRELAUNCH] = "prelaunch", [QMP_STATUS_INMIGRATE] = "inmigrate",
    [QMP_STATUS_PAUSED] = "paused",       [QMP_STATUS_RUNNING] = "running",
    [QMP_STATUS_SUSPENDED] = "suspended", [QMP_STATUS_SHUTDOWN] = "shutdown",
};

const char *qmp_status_name(struct qmp *qmp)
{
    return status_names[qmp->target->ops->status(qmp->target->opaque)];
}

bool qmp_status_running(struct qmp *qmp)
{
    return qmp->target->ops->status(qmp->target->opaque) == QMP_STATUS_RUNNING;
}

void qmp_foreach_chardev(struct qmp *qmp, qmp_chardev_fn *fn, void *opaque)
{
    const struct qmp_target *t = qmp->target;

    for (guint i = 0; t->serials && i < t->desc->serials->len; i++) {
        if (t->serials[i]) {
            fn(opaque, chardev_label(t->serials[i]), chardev_filename(t->serials[i]), true,
               chardev_connected(t->serials[i]));
        }
    }
    for (guint i = 0; t->chardevs && i < t->desc->chardevs->len; i++) {
        if (t->chardevs[i]) {
            fn(opaque, chardev_label(t->chardevs[i]), chardev_filename(t->chardevs[i]), false,
               chardev_connected(t->chardevs[i]));
        }
    }
    for (guint i = 0; i < qmp->transport.monitors->len; i++) {
        const struct qmp_monitor *monitor = g_ptr_array_index(qmp->transport.monitors, i);
        g_autofree char *name = monitor->path ? g_strdup_printf("unix:%s,server=on", monitor->path)
                                              : g_strdup_printf("fd:%d,server=on", monitor->fd);

        fn(opaque, monitor->id, name, true, monitor->clients->len != 0);
    }
}

bool qmp_drive_info(struct qmp *qmp, unsigned i, struct drive_info *info)
{
    const struct qmp_target *t = qmp->target;

    if (i >= t->desc->drives->len) {
        return false;
    }
    info->desc = g_ptr_array_index(t->desc->drives, i);
    info->block = t->drives ? t->drives[i] : NULL;
    info->device = t->machine ? board_drive(t->machine, info->desc->id) : NULL;
    /* A disk that the guest's PV drivers unplugged is gone until the next reset. */
    return !t->machine || (info->device && !ide_drive_unplugged(info->device));
}

void qmp_foreach_pci(struct qmp *qmp, qmp_pci_fn *fn, void *opaque)
{
    struct pci_bus *bus = qmp->target->machine->pci;

    pci_foreach (pci, bus) {
        fn(opaque, pci);
    }
}
