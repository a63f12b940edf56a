/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's ring, of which we are the front end; see monitor.h. */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/hvm/params.h>
#include <xen/vm_event.h>
#include "cpu.h"
#include "domain.h"

#define xen_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define xen_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define xen_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)

static vm_event_sring_t *ring_of(struct domain *d)
{
    enum mem_type type;
    uint64_t left;
    uint8_t *at = mem_ptr(d, d->monitor.gfn << XE_PAGE_SHIFT, &left, &type);

    return (vm_event_sring_t *)(void *)at;
}

static void ring_attach(struct domain *d, vm_event_front_ring_t *ring)
{
    FRONT_RING_INIT(ring, ring_of(d), 1u << XE_PAGE_SHIFT);
    ring->req_prod_pvt = d->monitor.produced;
    ring->rsp_cons = d->monitor.consumed;
}

int monitor_enable(struct domain *d)
{
    struct monitor *m = &d->monitor;

    if (m->port)
        return -EBUSY;
    memset(m, 0, sizeof(*m));
    m->gfn = d->params[HVM_PARAM_MONITOR_RING_PFN];
    if (!ring_of(d))
        return -EINVAL;
    m->port = port_alloc_unbound(d, 0);
    return m->port ? 0 : -ENOSPC;
}

void monitor_disable(struct domain *d)
{
    if (d->monitor.port)
        port_free(d->monitor.port);
    memset(&d->monitor, 0, sizeof(d->monitor));
}

void monitor_tell(struct domain *d, unsigned int vcpu, uint32_t reason, uint8_t type)
{
    struct cpu *cpu = &d->vcpu[vcpu].cpu;
    vm_event_request_t event = {
        .version = VM_EVENT_INTERFACE_VERSION,
        .flags = VM_EVENT_FLAG_VCPU_PAUSED,
        .reason = reason,
        .vcpu_id = vcpu,
    };
    vm_event_front_ring_t ring;

    if (!d->monitor.port || !d->monitor.wanted[reason])
        return;
    ring_attach(d, &ring);
    event.u.debug_exception.gfn = (cpu->regs.cs_base + cpu->regs.rip) >> XE_PAGE_SHIFT;
    event.u.debug_exception.type = type;
    event.data.regs.x86.rip = cpu->regs.rip;
    event.data.regs.x86.cs_base = (uint32_t)cpu->regs.cs_base;
    memcpy(RING_GET_REQUEST(&ring, ring.req_prod_pvt), &event, sizeof(event));
    ring.req_prod_pvt++;
    RING_PUSH_REQUESTS(&ring);
    d->monitor.produced = ring.req_prod_pvt;
    cpu->held = true;
    port_notify_peer(d->monitor.port);
}

void monitor_answered(struct domain *d)
{
    vm_event_front_ring_t ring;

    ring_attach(d, &ring);
    while (RING_HAS_UNCONSUMED_RESPONSES(&ring)) {
        vm_event_response_t answer;

        memcpy(&answer, RING_GET_RESPONSE(&ring, ring.rsp_cons), sizeof(answer));
        ring.rsp_cons++;
        if (answer.vcpu_id < d->nr_vcpus && answer.flags & VM_EVENT_FLAG_VCPU_PAUSED)
            d->vcpu[answer.vcpu_id].cpu.held = false;
    }
    d->monitor.consumed = ring.rsp_cons;
    if (!d->paused)
        cpu_run_debugged(d);
}
