/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Xen's monitor as a debugger uses it; see monitor.h. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <glib.h>
#include <xenctrl.h>
#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xen/vm_event.h>

#include "monitor.h"

#define PAGE 4096u
#define NO_ERROR_CODE UINT32_MAX /* X86_EVENT_NO_EC */
#define VECTOR_DEBUG 1u
#define TYPE_INT1 5u /* X86_ET_PRIV_SW_EXC; HVMOP_TRAP_pri_sw_exc */

struct monitor {
    uint32_t domid;
    xc_interface *xc;
    xendevicemodel_handle *dm;
    xenevtchn_handle *events;
    int port;
    void *page;
    vm_event_back_ring_t ring;
};

/* Steps are Xen's own on VT-x alone: elsewhere this is refused, and the trap flag does it. */
static int tell_us(struct monitor *m, bool on)
{
    int rc = xc_monitor_debug_exceptions(m->xc, m->domid, on, true);

    if (rc == 0 && xc_monitor_singlestep(m->xc, m->domid, on) < 0) {
        errno = 0;
    }
    return rc;
}

static int open_ring(struct monitor *m)
{
    uint32_t port = 0;

    m->page = xc_monitor_enable(m->xc, m->domid, &port);
    if (!m->page) {
        return -1;
    }
    SHARED_RING_INIT((vm_event_sring_t *)m->page);
    BACK_RING_INIT(&m->ring, (vm_event_sring_t *)m->page, PAGE);
    m->port = xenevtchn_bind_interdomain(m->events, m->domid, port);
    return m->port < 0 ? -1 : tell_us(m, true);
}

struct monitor *monitor_open(uint32_t domid)
{
    struct monitor *m = g_new0(struct monitor, 1);
    int e;

    m->domid = domid;
    m->port = -1;
    m->xc = xc_interface_open(NULL, NULL, 0);
    m->dm = m->xc ? xendevicemodel_open(NULL, 0) : NULL;
    m->events = m->dm ? xenevtchn_open(NULL, 0) : NULL;
    if (m->events && open_ring(m) == 0) {
        return m;
    }
    e = errno;
    monitor_close(m);
    errno = e;
    return NULL;
}

void monitor_close(struct monitor *m)
{
    struct monitor_event e;

    if (m->page) {
        tell_us(m, false);
        while (m->port >= 0 && monitor_next(m, &e)) {
            monitor_pass(m, &e);
        }
        xc_monitor_disable(m->xc, m->domid);
        munmap(m->page, PAGE);
    }
    if (m->events) {
        xenevtchn_close(m->events);
    }
    if (m->dm) {
        xendevicemodel_close(m->dm);
    }
    if (m->xc) {
        xc_interface_close(m->xc);
    }
    g_free(m);
}

static void read_event(const vm_event_request_t *r, struct monitor_event *to)
{
    const struct vm_event_debug *d = &r->u.debug_exception;
    const struct vm_event_regs_x86 *regs = &r->data.regs.x86;

    *to = (struct monitor_event){
        .vcpu = r->vcpu_id,
        .address = d->gfn * PAGE + (regs->cs_base + regs->rip) % PAGE,
        .reason = r->reason,
        .flags = r->flags,
    };
    if (r->reason != VM_EVENT_REASON_SINGLESTEP) {
        to->breakpoint = d->type == TYPE_INT1;
        to->type = d->type;
        to->length = d->insn_length;
        to->pending = d->pending_dbg;
    }
}

bool monitor_next(struct monitor *m, struct monitor_event *to)
{
    vm_event_request_t request;

    while (RING_HAS_UNCONSUMED_REQUESTS(&m->ring)) {
        memcpy(&request, RING_GET_REQUEST(&m->ring, m->ring.req_cons), sizeof(request));
        m->ring.req_cons++;
        m->ring.sring->req_event = m->ring.req_cons + 1;
        read_event(&request, to);
        if (request.reason == VM_EVENT_REASON_DEBUG_EXCEPTION ||
            request.reason == VM_EVENT_REASON_SINGLESTEP) {
            return true;
        }
        monitor_answer(m, to); /* nobody asked for it */
    }
    return false;
}

void monitor_answer(struct monitor *m, const struct monitor_event *e)
{
    vm_event_response_t response = {
        .version = VM_EVENT_INTERFACE_VERSION,
        .flags = e->flags & VM_EVENT_FLAG_VCPU_PAUSED,
        .reason = e->reason,
        .vcpu_id = e->vcpu,
    };

    memcpy(RING_GET_RESPONSE(&m->ring, m->ring.rsp_prod_pvt), &response, sizeof(response));
    m->ring.rsp_prod_pvt++;
    RING_PUSH_RESPONSES(&m->ring);
    xenevtchn_notify(m->events, (evtchn_port_t)m->port);
}

void monitor_pass(struct monitor *m, const struct monitor_event *e)
{
    if (e->reason != VM_EVENT_REASON_SINGLESTEP) {
        xendevicemodel_inject_event(m->dm, (domid_t)m->domid, (int)e->vcpu, VECTOR_DEBUG, e->type,
                                    NO_ERROR_CODE, e->length, e->pending);
    }
    monitor_answer(m, e);
}
