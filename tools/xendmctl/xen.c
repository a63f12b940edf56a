/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Xen's view of a domain, by libxenctrl and libxenforeignmemory; see xen.h. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <xencall.h>
#include <xenctrl.h>
#include <xenforeignmemory.h>
#include <xentoollog.h>

#include "xen.h"

#define PAGE 4096u
#define PAGE_SHIFT 12
#define MESSAGES_MAX 65536u
#define STATE_MAX (16u << 20)

struct xen {
    uint32_t domid;
    xc_interface *xc;
    xenforeignmemory_handle *memory;
};

/* What fails is told by who asks. */
static void say_nothing(struct xentoollog_logger *logger, xentoollog_level level, int err,
                        const char *context, const char *format, va_list args)
{
}

static void destroy_nothing(struct xentoollog_logger *logger)
{
}

static struct xentoollog_logger silent = {.vmessage = say_nothing, .destroy = destroy_nothing};

struct xen *xen_open(uint32_t domid)
{
    struct xen *x = g_new0(struct xen, 1);
    struct xen_domain domain;
    int rc = -ENOENT;

    x->domid = domid;
    x->xc = xc_interface_open(&silent, &silent, 0);
    x->memory = x->xc ? xenforeignmemory_open(&silent, 0) : NULL;
    if (x->memory) {
        rc = xen_domain(x, &domain);
    } else if (errno) {
        rc = -errno;
    }
    if (rc < 0) {
        xen_close(x);
        errno = -rc;
        return NULL;
    }
    return x;
}

void xen_close(struct xen *x)
{
    if (x) {
        if (x->memory) {
            xenforeignmemory_close(x->memory);
        }
        if (x->xc) {
            xc_interface_close(x->xc);
        }
        g_free(x);
    }
}

int xen_domain(struct xen *x, struct xen_domain *to)
{
    xc_domaininfo_t info;
    int n = xc_domain_getinfolist(x->xc, x->domid, 1, &info);

    if (n < 0) {
        return -errno;
    }
    if (n == 0 || info.domain != x->domid) {
        return -ESRCH;
    }
    *to = (struct xen_domain){
        .paused = (info.flags & XEN_DOMINF_paused) != 0,
        .dying = (info.flags & XEN_DOMINF_dying) != 0,
        .shutdown = (info.flags & XEN_DOMINF_shutdown) != 0,
        .reason = info.flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask,
        .vcpus = info.max_vcpu_id == XEN_INVALID_MAX_VCPU_ID ? 0 : info.max_vcpu_id + 1,
    };
    return 0;
}

int xen_pause(struct xen *x)
{
    return xc_domain_pause(x->xc, x->domid) < 0 ? -errno : 0;
}

int xen_unpause(struct xen *x)
{
    return xc_domain_unpause(x->xc, x->domid) < 0 ? -errno : 0;
}

int xen_vcpu(struct xen *x, unsigned vcpu, struct xen_vcpu *to)
{
    xc_vcpuinfo_t info;

    if (xc_vcpu_getinfo(x->xc, x->domid, vcpu, &info) < 0) {
        return -errno;
    }
    *to = (struct xen_vcpu){info.online, info.blocked, info.running, info.cpu_time};
    return 0;
}

/* ---- state ---- */

GByteArray *xen_state(struct xen *x)
{
    int size = xc_domain_hvm_getcontext(x->xc, x->domid, NULL, 0);
    GByteArray *state;

    if (size <= 0 || (unsigned)size > STATE_MAX) {
        errno = size < 0 ? errno : EINVAL;
        return NULL;
    }
    state = g_byte_array_sized_new((guint)size);
    g_byte_array_set_size(state, (guint)size);
    size = xc_domain_hvm_getcontext(x->xc, x->domid, state->data, state->len);
    if (size < 0 || (guint)size > state->len) {
        int saved = size < 0 ? errno : EINVAL;

        g_byte_array_unref(state);
        errno = saved;
        return NULL;
    }
    g_byte_array_set_size(state, (guint)size);
    return state;
}

const void *xen_state_find(const GByteArray *state, unsigned type, unsigned instance, size_t size)
{
    struct hvm_save_descriptor head;

    for (size_t at = 0; at + sizeof(head) <= state->len; at += head.length) {
        memcpy(&head, state->data + at, sizeof(head));
        at += sizeof(head);
        if (head.typecode == HVM_SAVE_CODE(END) || head.length > state->len - at) {
            break;
        }
        if (head.typecode == type && head.instance == instance) {
            return head.length >= size ? state->data + at : NULL;
        }
    }
    return NULL;
}

/* ---- memory ---- */

static size_t access_memory(struct xen *x, uint64_t address, void *data, size_t size, bool write)
{
    size_t done = 0;

    while (done < size) {
        xen_pfn_t gfn = (address + done) >> PAGE_SHIFT;
        size_t offset = (address + done) % PAGE, n = MIN(size - done, PAGE - offset);
        int err = 0;
        char *page =
            xenforeignmemory_map(x->memory, x->domid, write ? PROT_READ | PROT_WRITE : PROT_READ, 1,
                                 &gfn, &err);

        if (!page) {
            break;
        }
        if (!err) {
            memcpy(write ? page + offset : (char *)data + done,
                   write ? (char *)data + done : page + offset, n);
        }
        xenforeignmemory_unmap(x->memory, page, 1);
        if (err) {
            break;
        }
        done += n;
    }
    return done;
}

size_t xen_read(struct xen *x, uint64_t address, void *to, size_t size)
{
    return access_memory(x, address, to, size, false);
}

size_t xen_write(struct xen *x, uint64_t address, const void *from, size_t size)
{
    return access_memory(x, address, (void *)(uintptr_t)from, size, true);
}

char *xen_messages(struct xen *x)
{
    g_autofree char *text = g_malloc(MESSAGES_MAX + 1);
    unsigned size = MESSAGES_MAX;

    if (xc_readconsolering(x->xc, text, &size, 0, 0, NULL) < 0) {
        return NULL;
    }
    text[MIN(size, MESSAGES_MAX)] = '\0';
    return g_steal_pointer(&text);
}

/* ---- debugging ---- */

int xen_set_debugging(struct xen *x, bool on)
{
    return xc_domain_setdebugging(x->xc, x->domid, on) < 0 ? -errno : 0;
}

/*
 * libxenctrl has no call for it: a Xen that was built without CONFIG_GDBSX, as releases are, does
 * not know gdbsx' questions. What cannot be asked is taken for one that has it.
 */
bool xen_stops_for_debuggers(const struct xen *x)
{
    xencall_handle *calls = xencall_open(&silent, 0);
    struct xen_domctl *op = calls ? xencall_alloc_buffer(calls, sizeof(*op)) : NULL;
    bool stops = true;

    if (op) {
        *op = (struct xen_domctl){.cmd = XEN_DOMCTL_gdbsx_domstatus,
                                  .interface_version = XEN_DOMCTL_INTERFACE_VERSION,
                                  .domain = (domid_t)x->domid};
        stops = xencall1(calls, __HYPERVISOR_domctl, (uintptr_t)op) >= 0 ||
                (errno != ENOSYS && errno != EOPNOTSUPP);
        xencall_free_buffer(calls, op);
    }
    xencall_close(calls);
    return stops;
}

int xen_set_step(struct xen *x, unsigned vcpu, bool on)
{
    return xc_domain_debug_control(x->xc, x->domid,
                                   on ? XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_ON
                                      : XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_OFF,
                                   vcpu) < 0
               ? -errno
               : 0;
}

/* The context has more than these, which goes back as it came. */
int xen_set_registers(struct xen *x, unsigned vcpu, const struct hvm_hw_cpu *regs)
{
    vcpu_guest_context_any_t context;
    struct cpu_user_regs *user = &context.c.user_regs;

    if (xc_vcpu_getcontext(x->xc, x->domid, vcpu, &context) < 0) {
        return -errno;
    }
    user->rax = regs->rax;
    user->rbx = regs->rbx;
    user->rcx = regs->rcx;
    user->rdx = regs->rdx;
    user->rbp = regs->rbp;
    user->rsi = regs->rsi;
    user->rdi = regs->rdi;
    user->rsp = regs->rsp;
    user->r8 = regs->r8;
    user->r9 = regs->r9;
    user->r10 = regs->r10;
    user->r11 = regs->r11;
    user->r12 = regs->r12;
    user->r13 = regs->r13;
    user->r14 = regs->r14;
    user->r15 = regs->r15;
    user->rip = regs->rip;
    user->rflags = regs->rflags;
    context.c.debugreg[0] = regs->dr0;
    context.c.debugreg[1] = regs->dr1;
    context.c.debugreg[2] = regs->dr2;
    context.c.debugreg[3] = regs->dr3;
    context.c.debugreg[6] = regs->dr6;
    context.c.debugreg[7] = regs->dr7;
    return xc_vcpu_setcontext(x->xc, x->domid, vcpu, &context) < 0 ? -errno : 0;
}
