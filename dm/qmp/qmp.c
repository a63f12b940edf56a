/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP as a whole: the transport with the dispatcher behind it. */
#include <xendm/instance.h>

#include "internal.h"

struct qmp *qmp_new(const struct qmp_target *target)
{
    struct qmp *qmp = g_new0(struct qmp, 1);

    qmp->target = target;
    qmp->fdsets = g_ptr_array_new();
    g_queue_init(&qmp->waiting);
    qmp_transport_init(&qmp->transport, &qmp_dispatch_ops, qmp);
    return qmp;
}

int qmp_listen(struct qmp *qmp, const struct monitor_desc *desc, GError **err)
{
    return qmp_monitor_new(&qmp->transport, desc, NULL, err);
}

void qmp_free(struct qmp *qmp)
{
    if (!qmp) {
        return;
    }
    if (qmp->go_on) {
        g_source_remove(qmp->go_on);
    }
    qmp_transport_clear(&qmp->transport);
    qmp_abandon_all(qmp);
    qmp_fdset_free_all(qmp);
    g_ptr_array_free(qmp->fdsets, TRUE);
    g_free(qmp);
}

bool qmp_has_guest(const struct qmp *qmp)
{
    return instance_has(qmp->target->desc->type, INSTANCE_DOMAIN);
}
