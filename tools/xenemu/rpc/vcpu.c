/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations on virtual CPUs: what a toolstack or a debugger sees and changes of them. */
#include <errno.h>
#include <string.h>
#include "../host/cpu.h"
#include "../host/domain.h"
#include "operations.h"

int op_hvm_context(struct call *k)
{
    GByteArray *state = g_byte_array_new();
    int r = 0;

    cpu_save_domain(k->d, state);
    k->rep.a[0] = state->len;
    if (state->len <= XE_PAYLOAD_MAX) {
        memcpy(k->out, state->data, state->len);
        k->outlen = state->len;
    } else {
        r = -ENOSPC;
    }
    g_byte_array_unref(state);
    return r;
}

static struct cpu *vcpu_of(struct call *k, unsigned int arg)
{
    uint64_t n = k->req->a[arg];

    return n < k->d->nr_vcpus ? &k->d->vcpu[n].cpu : NULL;
}

int op_vcpu_info(struct call *k)
{
    struct cpu *cpu = vcpu_of(k, 0);

    if (!cpu)
        return -ESRCH;
    if (cpu->running && !k->d->paused) {
        cpu->time += 1000000000u; /* busier than any clock tells: nothing here depends on time */
        cpu->regs.rip += cpu->wander;
    }
    k->rep.a[0] = (cpu->online ? XE_VCPU_ONLINE : 0u) | (cpu->blocked ? XE_VCPU_BLOCKED : 0u) |
                  (cpu->running ? XE_VCPU_RUNNING : 0u);
    k->rep.a[1] = cpu->time;
    return 0;
}

int op_vcpu_get(struct call *k)
{
    const struct cpu *cpu = vcpu_of(k, 0);

    if (!cpu)
        return -ESRCH;
    memcpy(k->out, &cpu->regs, sizeof(cpu->regs));
    k->outlen = sizeof(cpu->regs);
    return 0;
}

int op_vcpu_set(struct call *k)
{
    struct cpu *cpu = vcpu_of(k, 0);

    if (!cpu)
        return -ESRCH;
    if (k->paylen != sizeof(cpu->regs))
        return -EINVAL;
    memcpy(&cpu->regs, k->pay, sizeof(cpu->regs));
    return 0;
}

int op_debugging(struct call *k)
{
    k->d->debugged = k->req->a[0] != 0;
    return 0;
}

int op_step(struct call *k)
{
    struct cpu *cpu = vcpu_of(k, 1);

    if (!cpu)
        return -EINVAL;
    cpu->step = k->req->a[0] != 0;
    return 0;
}

int op_monitor(struct call *k)
{
    int r;

    if (!k->req->a[0]) {
        monitor_disable(k->d);
        return 0;
    }
    r = monitor_enable(k->d);
    if (r == 0) {
        k->rep.a[0] = k->d->monitor.gfn;
        k->rep.a[1] = k->d->monitor.port->nr;
    }
    return r;
}

int op_monitor_want(struct call *k)
{
    uint64_t reason = k->req->a[0];

    if (!k->d->monitor.port || reason >= G_N_ELEMENTS(k->d->monitor.wanted))
        return -EINVAL;
    k->d->monitor.wanted[reason] = k->req->a[1] != 0;
    return 0;
}

/* One line: what a domain crashed of. */
int op_console(struct call *k)
{
    GHashTableIter it;
    gpointer v;

    g_hash_table_iter_init(&it, k->h->domains);
    while (g_hash_table_iter_next(&it, NULL, &v)) {
        const struct domain *d = v;

        if (d->crashed)
            k->outlen +=
                (size_t)g_snprintf((char *)k->out + k->outlen, (gulong)(XE_PAYLOAD_MAX - k->outlen),
                                   "(XEN) d%uv0 %s\n", d->id, d->crash_why);
    }
    k->rep.a[0] = k->outlen;
    return 0;
}
