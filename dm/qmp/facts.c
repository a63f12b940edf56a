/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What QMP and HMP both tell: run state, character devices, drives, PCI functions. Each is walked
 * here once.
 */
#include <xendm/backend.h>
#include <xendm/block.h>
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

struct chardev_walk {
    qmp_chardev_fn *fn;
    void *opaque;
};

static void visit_chardev(void *opaque, struct backend *b)
{
    const struct chardev_walk *walk = opaque;
    const struct chardev *cd = chardev_of(b);

    if (b->class->kind == BACKEND_CHAR) {
        walk->fn(walk->opaque, b->id, chardev_filename(cd), b->user != NULL, chardev_connected(cd));
    }
}

void qmp_foreach_chardev(struct qmp *qmp, qmp_chardev_fn *fn, void *opaque)
{
    struct chardev_walk walk = {fn, opaque};

    if (qmp->target->backends) {
        backend_foreach(qmp->target->backends, visit_chardev, &walk);
    }
    for (guint i = 0; i < qmp->transport.monitors->len; i++) {
        const struct qmp_monitor *monitor = g_ptr_array_index(qmp->transport.monitors, i);
        g_autofree char *name = monitor->path ? g_strdup_printf("unix:%s,server=on", monitor->path)
                                              : g_strdup_printf("fd:%d,server=on", monitor->fd);

        fn(opaque, monitor->id, name, true, monitor->clients->len != 0);
    }
}

struct drive_walk {
    struct qmp *qmp;
    qmp_drive_fn *fn;
    void *opaque;
};

/* A disk that the guest's PV drivers unplugged is gone until the next reset. */
static void visit_drive(void *opaque, struct backend *b)
{
    const struct drive_walk *walk = opaque;
    struct drive_info drive = {.id = b->id, .block = block_of(b), .device = b->user};

    if (b->class->kind != BACKEND_BLOCK) {
        return;
    }
    if (drive.device) {
        drive.qdev = drive.device->id;
        drive.ide = board_drive(walk->qmp->target->machine, drive.qdev) == drive.device;
        drive.cd = drive.ide && ide_drive_is_cd(drive.device);
        drive.unplugged = drive.ide && ide_drive_unplugged(drive.device);
    } else {
        drive.qdev = "";
    }
    walk->fn(walk->opaque, &drive);
}

void qmp_foreach_drive(struct qmp *qmp, qmp_drive_fn *fn, void *opaque)
{
    struct drive_walk walk = {qmp, fn, opaque};

    if (qmp->target->backends) {
        backend_foreach(qmp->target->backends, visit_drive, &walk);
    }
}

void qmp_foreach_pci(struct qmp *qmp, qmp_pci_fn *fn, void *opaque)
{
    struct pci_bus *bus = qmp->target->machine->pci;

    pci_foreach (pci, bus) {
        fn(opaque, pci);
    }
}
