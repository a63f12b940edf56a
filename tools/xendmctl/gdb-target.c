/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest under a debugger, by Xen's calls; see gdb-target.h. In a domain that is debugged, an INT3
 * and a #DB pause the domain instead of reaching the guest, and the instruction pointer is behind
 * an INT3. A Xen without CONFIG_GDBSX, as releases are, swallows both: there breakpoints are INT1,
 * its monitor tells of them, the vCPU stands there, and what is the guest's own goes to the guest.
 *
 * A step is Xen's (VT-x' monitor trap flag), or the trap flag where there is none (SVM); then an
 * interrupt that the guest takes on the way takes the flag with it.
 */
#include <errno.h>
#include <string.h>

#include "gdb-target.h"
#include "monitor.h"

#define INT3 0xccu
#define DEBUG_REGISTERS 4u
#define UNPAUSE_MAX 64u /* each stop of each vCPU counts as one more pause */

enum {
    RFLAGS_TF = 1u << 8,
    RFLAGS_RF = 1u << 16, /* the breakpoint of a debug register is passed once */
    DR7_RESERVED = 0x400,
};

struct soft_break {
    uint64_t address, physical;
    uint8_t was;
};

struct hard_break {
    bool used;
    enum break_kind kind;
    uint64_t address;
    unsigned length;
    uint64_t was; /* of data: what was there, which tells a write */
};

struct vcpu_state {
    bool online, changed;
    bool held; /* by the monitor, of `met`, until it is answered */
    struct monitor_event met;
    struct hvm_hw_cpu regs;
};

struct target {
    struct xen *xen;
    unsigned vcpus;
    struct vcpu_state vcpu[TARGET_VCPUS_MAX];
    GArray *soft; /* struct soft_break, in memory while it runs */
    struct hard_break hard[DEBUG_REGISTERS];
    bool running, asked, was_paused;
    struct monitor *monitor; /* NULL: Xen pauses the domain by itself */
    int deaf;                /* it does not, nor is there a monitor, because of this; 0 */
    int stepping;            /* -1: none */
    bool by_flag;            /* … by the trap flag */
    uint64_t step_from;
};

/* ---- registers ---- */

static int fetch(struct target *t)
{
    g_autoptr(GByteArray) state = xen_state(t->xen);

    if (!state) {
        return -errno;
    }
    for (unsigned i = 0; i < t->vcpus; i++) {
        const struct hvm_hw_cpu *regs = XEN_STATE(state, CPU, i);

        t->vcpu[i].online = regs != NULL;
        t->vcpu[i].changed = false;
        if (regs) {
            t->vcpu[i].regs = *regs;
        }
    }
    return 0;
}

static int store(struct target *t)
{
    for (unsigned i = 0; i < t->vcpus; i++) {
        int rc = t->vcpu[i].changed ? xen_set_registers(t->xen, i, &t->vcpu[i].regs) : 0;

        if (rc < 0) {
            return rc;
        }
        t->vcpu[i].changed = false;
    }
    return 0;
}

int target_deaf(const struct target *t)
{
    return t->deaf;
}

unsigned target_vcpus(const struct target *t)
{
    return t->vcpus;
}

bool target_online(const struct target *t, unsigned vcpu)
{
    return vcpu < t->vcpus && t->vcpu[vcpu].online;
}

const struct hvm_hw_cpu *target_registers(const struct target *t, unsigned vcpu)
{
    return &t->vcpu[vcpu].regs;
}

struct hvm_hw_cpu *target_change_registers(struct target *t, unsigned vcpu)
{
    t->vcpu[vcpu].changed = true;
    return &t->vcpu[vcpu].regs;
}

/* ---- memory ---- */

size_t target_read(struct target *t, unsigned vcpu, bool physical, uint64_t address, void *to,
                   size_t size)
{
    return physical ? xen_read(t->xen, address, to, size)
                    : cpu_read(t->xen, &t->vcpu[vcpu].regs, address, to, size);
}

size_t target_write(struct target *t, unsigned vcpu, bool physical, uint64_t address,
                    const void *from, size_t size)
{
    return physical ? xen_write(t->xen, address, from, size)
                    : cpu_write(t->xen, &t->vcpu[vcpu].regs, address, from, size);
}

/* ---- breakpoints ---- */

static struct soft_break *soft_at(const struct target *t, uint64_t address)
{
    for (guint i = 0; i < t->soft->len; i++) {
        struct soft_break *b = &g_array_index(t->soft, struct soft_break, i);

        if (b->address == address) {
            return b;
        }
    }
    return NULL;
}

static int soft_break(struct target *t, unsigned vcpu, uint64_t address)
{
    struct soft_break b = {.address = address};

    if (soft_at(t, address)) {
        return 0;
    }
    if (!cpu_translate(t->xen, &t->vcpu[vcpu].regs, address, &b.physical) ||
        xen_read(t->xen, b.physical, &b.was, 1) != 1) {
        return -EFAULT;
    }
    g_array_append_val(t->soft, b);
    return 0;
}

static void put_soft(struct target *t, bool in)
{
    for (guint i = 0; i < t->soft->len; i++) {
        struct soft_break *b = &g_array_index(t->soft, struct soft_break, i);
        const uint8_t byte = !in ? b->was : t->monitor ? MONITOR_BREAKPOINT : INT3;

        if (in) { /* the guest may have written there since */
            xen_read(t->xen, b->physical, &b->was, 1);
        }
        xen_write(t->xen, b->physical, &byte, 1);
    }
}

static uint64_t data_at(struct target *t, const struct hard_break *b)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < t->vcpus; i++) {
        if (t->vcpu[i].online &&
            cpu_read(t->xen, &t->vcpu[i].regs, b->address, &value, b->length) == b->length) {
            break;
        }
    }
    return value;
}

/* Intel's SDM, volume 3, 17.2.4: a local enable bit, a kind and a length for each. */
static void put_hard(struct target *t, bool in)
{
    for (unsigned i = 0; i < t->vcpus; i++) {
        struct hvm_hw_cpu *r = &t->vcpu[i].regs;
        uint64_t dr7 = DR7_RESERVED, *dr[] = {&r->dr0, &r->dr1, &r->dr2, &r->dr3};
        bool any = false;

        for (unsigned n = 0; n < DEBUG_REGISTERS; n++) {
            const struct hard_break *b = &t->hard[n];
            uint64_t kind = b->kind == BREAK_HARDWARE ? 0 : b->kind == BREAK_WRITE ? 1 : 3;
            uint64_t length = b->kind == BREAK_HARDWARE ? 0
                              : b->length == 8          ? 2
                                                        : (uint64_t)b->length - 1;

            if (b->used) {
                *dr[n] = b->address;
                dr7 |= UINT64_C(1) << (2 * n) | (kind | length << 2) << (16 + 4 * n);
                any = true;
            }
        }
        if (t->vcpu[i].online && (any || r->dr7 != DR7_RESERVED)) {
            r->dr7 = in ? dr7 : DR7_RESERVED;
            r->dr6 = 0;
            t->vcpu[i].changed = true;
        }
    }
    for (unsigned n = 0; in && n < DEBUG_REGISTERS; n++) {
        t->hard[n].was = t->hard[n].used ? data_at(t, &t->hard[n]) : 0;
    }
}

static struct hard_break *hard_slot(struct target *t, bool used, enum break_kind kind,
                                    uint64_t address, unsigned length)
{
    for (unsigned n = 0; n < DEBUG_REGISTERS; n++) {
        struct hard_break *b = &t->hard[n];

        if (used ? b->used && b->kind == kind && b->address == address && b->length == length
                 : !b->used) {
            return b;
        }
    }
    return NULL;
}

int target_break(struct target *t, unsigned vcpu, enum break_kind kind, uint64_t address,
                 unsigned length)
{
    struct hard_break *b;

    if (t->deaf) {
        return -ENOTSUP;
    }
    if (kind == BREAK_SOFTWARE) {
        return soft_break(t, vcpu, address);
    }
    length = kind == BREAK_HARDWARE ? 1 : length;
    if ((length != 1 && length != 2 && length != 4 && length != 8) || address % length != 0 ||
        kind == BREAK_READ) { /* x86 has no debug register for reads alone */
        return -EINVAL;
    }
    if (hard_slot(t, true, kind, address, length)) {
        return 0;
    }
    b = hard_slot(t, false, kind, address, length);
    if (!b) {
        return -ENOSPC;
    }
    *b = (struct hard_break){true, kind, address, length, 0};
    return 0;
}

int target_unbreak(struct target *t, enum break_kind kind, uint64_t address, unsigned length)
{
    struct hard_break *b;

    if (kind == BREAK_SOFTWARE) {
        for (guint i = 0; i < t->soft->len; i++) {
            if (g_array_index(t->soft, struct soft_break, i).address == address) {
                g_array_remove_index(t->soft, i);
                return 0;
            }
        }
        return -ENOENT;
    }
    b = hard_slot(t, true, kind, address, kind == BREAK_HARDWARE ? 1 : length);
    if (!b) {
        return -ENOENT;
    }
    b->used = false;
    return 0;
}

/* ---- running and stopping ---- */

static uint64_t cpu_time(struct target *t)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < t->vcpus; i++) {
        struct xen_vcpu v;

        sum += xen_vcpu(t->xen, i, &v) == 0 ? v.cpu_time : 0;
    }
    return sum;
}

/*
 * Pauses count, and nobody tells how many there are: several vCPUs may have stopped at once. One
 * that is paused still, and has executed nothing, has more of them; else it has stopped again.
 */
static int unpause(struct target *t)
{
    uint64_t before = cpu_time(t);

    for (unsigned i = 0; i < UNPAUSE_MAX; i++) {
        struct xen_domain d;
        int rc = xen_unpause(t->xen);

        if (rc < 0) {
            return rc;
        }
        if (xen_domain(t->xen, &d) < 0 || !d.paused || cpu_time(t) != before) {
            break;
        }
    }
    return 0;
}

static void answer_all(struct target *t)
{
    for (unsigned i = 0; t->monitor && i < t->vcpus; i++) {
        if (t->vcpu[i].held) {
            t->vcpu[i].held = false;
            monitor_answer(t->monitor, &t->vcpu[i].met);
        }
    }
}

int target_go_on(struct target *t, int step)
{
    int rc;

    if (step >= 0 && t->deaf) {
        return -ENOTSUP;
    }
    t->stepping = step;
    t->asked = false;
    put_hard(t, true);
    if (step >= 0) {
        struct hvm_hw_cpu *r = target_change_registers(t, (unsigned)step);

        t->step_from = cpu_instruction(r);
        rc = xen_set_step(t->xen, (unsigned)step, true);
        t->by_flag = rc < 0;
        if (t->by_flag) {
            r->rflags |= RFLAGS_TF;
        }
    }
    for (unsigned i = 0; i < t->vcpus; i++) { /* where a debug register stopped it: past it */
        if (t->vcpu[i].online &&
            hard_slot(t, true, BREAK_HARDWARE, cpu_instruction(&t->vcpu[i].regs), 1)) {
            target_change_registers(t, i)->rflags |= RFLAGS_RF;
        }
    }
    rc = store(t);
    if (rc < 0) {
        return rc;
    }
    put_soft(t, true);
    t->running = true;
    answer_all(t);
    return unpause(t);
}

int target_interrupt(struct target *t)
{
    t->asked = true;
    return xen_pause(t->xen);
}

/* At an instruction of ours: in front of it, or back there. */
static bool hit_soft(struct target *t, unsigned *vcpu)
{
    for (unsigned i = 0; i < t->vcpus; i++) {
        const struct vcpu_state *v = &t->vcpu[i];
        bool here = v->online && (t->monitor ? v->held && v->met.breakpoint
                                             : soft_at(t, cpu_instruction(&v->regs) - 1) != NULL);

        if (here) {
            if (!t->monitor) {
                target_change_registers(t, i)->rip--;
            }
            *vcpu = i;
            return true;
        }
    }
    return false;
}

static enum stop_reason hit_hard(struct target *t, unsigned *vcpu, uint64_t *address)
{
    for (unsigned n = 0; n < DEBUG_REGISTERS; n++) {
        const struct hard_break *b = &t->hard[n];

        for (unsigned i = 0; b->used && i < t->vcpus; i++) {
            const struct hvm_hw_cpu *r = &t->vcpu[i].regs;
            bool here = b->kind == BREAK_HARDWARE ? cpu_instruction(r) == b->address
                                                  : (r->dr6 >> n & 1) || data_at(t, b) != b->was;

            if (t->vcpu[i].online && here) {
                *vcpu = i;
                *address = b->address;
                return b->kind == BREAK_HARDWARE ? STOP_HARDWARE : STOP_WATCH;
            }
        }
    }
    return STOP_NONE;
}

static enum stop_reason why_stopped(struct target *t, unsigned *vcpu, uint64_t *address)
{
    enum stop_reason reason;

    if (t->stepping >= 0) {
        *vcpu = (unsigned)t->stepping;
        if (t->by_flag) {
            target_change_registers(t, *vcpu)->rflags &= ~(uint64_t)RFLAGS_TF;
        } else {
            xen_set_step(t->xen, *vcpu, false);
        }
    }
    if (hit_soft(t, vcpu)) {
        return STOP_BREAKPOINT;
    }
    reason = hit_hard(t, vcpu, address);
    if (reason != STOP_NONE) {
        return reason;
    }
    return t->stepping >= 0 && !t->asked ? STOP_STEP : STOP_ASKED;
}

static bool is_ours(const struct target *t, const struct monitor_event *e)
{
    for (guint i = 0; e->breakpoint && i < t->soft->len; i++) {
        if (g_array_index(t->soft, struct soft_break, i).physical == e->address) {
            return true;
        }
    }
    for (unsigned n = 0; !e->breakpoint && n < DEBUG_REGISTERS; n++) {
        if (t->hard[n].used) {
            return true;
        }
    }
    return !e->breakpoint && t->stepping == (int)e->vcpu;
}

/* True: one of ours was met. */
static bool take_events(struct target *t)
{
    struct monitor_event e;
    bool met = false;

    while (t->monitor && monitor_next(t->monitor, &e)) {
        if (e.vcpu >= t->vcpus || !is_ours(t, &e)) {
            monitor_pass(t->monitor, &e);
            continue;
        }
        t->vcpu[e.vcpu].held = true;
        t->vcpu[e.vcpu].met = e;
        met = true;
    }
    return met;
}

enum stop_reason target_poll(struct target *t, unsigned *vcpu, uint64_t *address)
{
    struct xen_domain d;
    enum stop_reason reason;

    *address = 0;
    if (take_events(t)) {
        xen_pause(t->xen); /* the others, which may have met one meanwhile */
        take_events(t);
    }
    if (xen_domain(t->xen, &d) < 0 || d.dying) {
        t->running = false;
        return STOP_GONE;
    }
    if (!d.paused && !d.shutdown) {
        return STOP_NONE;
    }
    t->running = false;
    put_soft(t, false);
    if (fetch(t) < 0) {
        return STOP_GONE;
    }
    reason = why_stopped(t, vcpu, address);
    put_hard(t, false);
    return d.shutdown ? STOP_SHUTDOWN : reason;
}

static int listen_for_stops(struct target *t, uint32_t domid)
{
    if (xen_stops_for_debuggers(t->xen)) {
        return xen_set_debugging(t->xen, true);
    }
    t->monitor = monitor_open(domid);
    t->deaf = t->monitor ? 0 : errno;
    return 0;
}

struct target *target_attach(uint32_t domid)
{
    struct xen *xen = xen_open(domid);
    struct target *t;
    struct xen_domain d;
    int rc = xen ? xen_domain(xen, &d) : -errno;

    if (rc == 0 && !d.paused) {
        rc = xen_pause(xen);
    }
    if (rc < 0) {
        xen_close(xen);
        errno = -rc;
        return NULL;
    }
    t = g_new0(struct target, 1);
    t->xen = xen;
    t->vcpus = MIN(d.vcpus, TARGET_VCPUS_MAX);
    t->was_paused = d.paused;
    t->stepping = -1;
    t->soft = g_array_new(FALSE, FALSE, sizeof(struct soft_break));
    rc = listen_for_stops(t, domid);
    if (rc == 0) {
        rc = fetch(t);
    }
    if (rc < 0) {
        target_detach(t);
        errno = -rc;
        return NULL;
    }
    return t;
}

void target_detach(struct target *t)
{
    unsigned vcpu;
    uint64_t address;

    if (t->running) {
        target_interrupt(t);
        target_poll(t, &vcpu, &address);
    }
    g_array_set_size(t->soft, 0);
    memset(t->hard, 0, sizeof(t->hard));
    if (!t->monitor) {
        xen_set_debugging(t->xen, false);
    }
    if (t->was_paused) {
        store(t);
        answer_all(t);
    } else {
        target_go_on(t, -1);
    }
    if (t->monitor) {
        monitor_close(t->monitor);
    }
    g_array_unref(t->soft);
    xen_close(t->xen);
    g_free(t);
}
