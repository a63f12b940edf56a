/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Serving ioreqs; see dm/ioreq/request.h. Facts: public/hvm/ioreq.h, xen/common/ioreq.c,
 * hvmemul_do_io() of Xen; docs of the contract in section 4.2.
 *
 * The life of a slot: Xen fills it and sets READY; we answer with RESP_READY. The state INPROCESS
 * between the two is allowed but tells nobody anything, so we save the store.
 */
#include <string.h>

#include <glib.h>

#include <xendm/aspace.h>
#include <xendm/clock.h>
#include <xendm/guestmem.h>
#include <xendm/hold.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/probe.h>
#include <xendm/recorder.h>
#include <xendm/tape.h>

#include "request.h"

#define PORTS 0x10000u
#define RING_SLOTS IOREQ_BUFFER_SLOT_NUM
#define STARVE_FIRST_NS (1 * NS_PER_MS)
#define STARVE_MAX_NS (100 * NS_PER_MS)
#define STARVE_PATIENCE_NS (5 * NS_PER_S)
#define STRING_NS (1 * NS_PER_MS) /* a string instruction's turn when nobody says when it ends */
/* A string looks at the clock after one unit, then after twice as many while units are quick … */
#define LOOK_NS (20 * NS_PER_US)
/* … and at most so many: the look costs as much as a unit or two */
#define UNITS_LOOK_MAX 32u
#define ITEMS_LOOK 64u /* the same for the ring, whose items are all alike */

_Static_assert(sizeof(struct ioreq) == 32, "the slot layout is an ABI");
_Static_assert(sizeof(struct buf_ioreq) == 8, "the ring layout is an ABI");
_Static_assert(offsetof(struct buffered_iopage, write_pointer) == 4,
               "both pointers are read as one 64-bit number");

static uint64_t size_mask(unsigned size)
{
    return size >= 8 ? UINT64_MAX : (UINT64_C(1) << size * 8) - 1;
}

static bool size_valid(uint32_t size, unsigned max)
{
    return size != 0 && size <= max && (size & (size - 1)) == 0;
}

/* True if `count` units of `size`, going up or down from `addr`, stay inside the 64-bit space. */
static bool span_valid(uint64_t addr, uint32_t count, uint32_t size, bool down)
{
    uint64_t rest = (uint64_t)(count - 1) * size;

    if (addr + (size - 1) < addr) {
        return false;
    }
    return down ? addr >= rest : addr + rest + (size - 1) >= addr;
}

static uint64_t unit_load(const uint8_t *p, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, p, size); /* x86 is little-endian, host and guest */
    return value;
}

/* ---- what a request may address ---- */

static uint64_t machine_read(struct ioreq_core *core, const struct ioreq *r, uint64_t addr)
{
    struct machine *m = core->machine;
    uint32_t devfn, reg;

    switch (r->type) {
    case IOREQ_TYPE_PIO:
        return aspace_read(m->pio, addr, r->size) & size_mask(r->size);
    case IOREQ_TYPE_COPY:
        return aspace_read(m->mmio, addr, r->size) & size_mask(r->size);
    default:
        /*
         * The upper half is segment, bus, device and function; the register may exceed 255 on AMD's
         * extended 0xCF8.
         */
        devfn = (uint32_t)(addr >> 32);
        reg = (uint32_t)addr;
        if (devfn > 0xff || reg > PCI_CONFIG_SIZE - r->size) {
            return size_mask(r->size);
        }
        return pci_config_read(m->pci, devfn, reg, r->size) & size_mask(r->size);
    }
}

static void machine_write(struct ioreq_core *core, const struct ioreq *r, uint64_t addr,
                          uint64_t value)
{
    struct machine *m = core->machine;
    uint32_t devfn, reg;

    value &= size_mask(r->size);
    switch (r->type) {
    case IOREQ_TYPE_PIO:
        aspace_write(m->pio, addr, value, r->size);
        break;
    case IOREQ_TYPE_COPY:
        aspace_write(m->mmio, addr, value, r->size);
        break;
    default:
        devfn = (uint32_t)(addr >> 32);
        reg = (uint32_t)addr;
        if (devfn <= 0xff && reg <= PCI_CONFIG_SIZE - r->size) {
            pci_config_write(m->pci, devfn, reg, (uint32_t)value, r->size);
        }
        break;
    }
}

/*
 * In a recording an access is an event. dm/tape/play.c does the same in a replay: what is above
 * this, slots and string instructions, is not part of the machine.
 */
static bool is_payload(struct ioreq_core *core, const struct ioreq *r, uint64_t addr)
{
    struct machine *m = core->machine;

    return r->type != IOREQ_TYPE_PCI_CONFIG &&
           aspace_is_payload(r->type == IOREQ_TYPE_PIO ? m->pio : m->mmio, addr, r->size);
}

static void tape_access(struct ioreq_core *core, const struct ioreq *r, uint64_t addr, bool write,
                        uint64_t value)
{
    bool config = r->type == IOREQ_TYPE_PCI_CONFIG, pio = r->type == IOREQ_TYPE_PIO;
    enum tape_kind kind = config  ? write ? TAPE_CFG_WRITE : TAPE_CFG_READ
                          : pio   ? write ? TAPE_PIO_WRITE : TAPE_PIO_READ
                          : write ? TAPE_MMIO_WRITE
                                  : TAPE_MMIO_READ;

    value &= size_mask(r->size);
    if (config) {
        tape_begin_event(kind, NULL,
                         (uint64_t[]){tape_vcpu, addr >> 32, (uint32_t)addr, r->size, value}, NULL,
                         0);
        return;
    }
    if (write && is_payload(core, r, addr)) {
        kind = pio ? TAPE_PIO_PAYLOAD : TAPE_MMIO_PAYLOAD;
    }
    tape_begin_event(kind, NULL, (uint64_t[]){tape_vcpu, addr, r->size, value}, NULL, 0);
}

static uint64_t target_read(struct ioreq_core *core, const struct ioreq *r, uint64_t addr)
{
    uint64_t value;
    bool payload;

    if (!tape_on()) {
        return machine_read(core, r, addr);
    }
    payload = is_payload(core, r, addr);
    tape_access(core, r, addr, false, 0);
    value = machine_read(core, r, addr);
    tape_fact(payload ? TAPE_PAYLOAD_ANSWER : TAPE_ANSWER, NULL, &value, NULL, 0);
    tape_end_event();
    return value;
}

static void target_write(struct ioreq_core *core, const struct ioreq *r, uint64_t addr,
                         uint64_t value)
{
    if (!tape_on()) {
        machine_write(core, r, addr, value);
        return;
    }
    tape_access(core, r, addr, true, value);
    machine_write(core, r, addr, value);
    tape_end_event();
}

/* Units of a string at a port that takes many in one call. */
static uint32_t target_block(struct ioreq_core *core, const struct ioreq *r, uint8_t *buf,
                             uint32_t n)
{
    struct machine *m = core->machine;
    bool read = r->dir == IOREQ_READ;
    size_t bytes = (size_t)n * r->size;
    uint64_t done;

    tape_enter(read ? TAPE_PIO_IN : TAPE_PIO_OUT, NULL,
               (uint64_t[]){tape_vcpu, r->addr, r->size, n}, buf, read ? 0 : bytes);
    done = read ? aspace_read_block(m->pio, r->addr, buf, r->size, n)
                : aspace_write_block(m->pio, r->addr, buf, r->size, n);
    if (tape_on()) {
        tape_fact(TAPE_UNITS, NULL, &done, buf, read ? (size_t)done * r->size : 0);
        tape_end_event();
    }
    return (uint32_t)done;
}

/* The device address of unit `i`: memory steps, ports and registers do not. */
static uint64_t unit_address(const struct ioreq *r, uint32_t i)
{
    uint64_t step = (uint64_t)i * r->size;

    if (r->type != IOREQ_TYPE_COPY) {
        return r->addr;
    }
    return r->df ? r->addr - step : r->addr + step;
}

/* The device at `addr` of what `r` is for, or NULL. */
static const struct device *target_device(const struct ioreq_core *core, const struct ioreq *r,
                                          uint64_t addr)
{
    const struct machine *m = core->machine;
    const struct region *region;
    const struct pci_device *pci;

    switch (r->type) {
    case IOREQ_TYPE_PIO:
        region = aspace_find(m->pio, addr);
        return region != NULL ? region->owner : NULL;
    case IOREQ_TYPE_COPY:
        region = aspace_find(m->mmio, addr);
        return region != NULL ? region->owner : NULL;
    case IOREQ_TYPE_PCI_CONFIG:
        pci = addr >> 32 <= 0xff ? pci_device_at(m->pci, (uint8_t)(addr >> 32)) : NULL;
        return pci != NULL ? &pci->dev : NULL;
    default:
        return NULL;
    }
}

static bool target_held(const struct ioreq_core *core, const struct ioreq *r, uint64_t addr)
{
    const struct device *dev = target_device(core, r, addr);

    return dev != NULL && device_is_held(dev);
}

/* Whether the device that unit `i` of `r` is for holds: then it waits, untouched. */
static bool must_wait(struct ioreq_core *core, const struct ioreq *r, uint32_t i)
{
    uint64_t addr;

    if (__builtin_expect(core->machine->holds.held == 0, 1)) {
        return false;
    }
    addr = unit_address(r, i);
    if (!target_held(core, r, addr) && !target_held(core, r, addr + r->size - 1)) {
        return false;
    }
    core->waited = true;
    core->counters.waited++;
    return true;
}

static const enum recorder_kind read_kind[] = {
    [IOREQ_TYPE_PIO] = REC_PIO_READ,
    [IOREQ_TYPE_COPY] = REC_MMIO_READ,
    [IOREQ_TYPE_PCI_CONFIG] = REC_CFG_READ,
};
static const enum recorder_kind write_kind[] = {
    [IOREQ_TYPE_PIO] = REC_PIO_WRITE,
    [IOREQ_TYPE_COPY] = REC_MMIO_WRITE,
    [IOREQ_TYPE_PCI_CONFIG] = REC_CFG_WRITE,
};

static uint64_t recorder_address(const struct ioreq *r)
{
    if (r->type == IOREQ_TYPE_PCI_CONFIG) {
        return r->addr >> 32 << 16 | (uint32_t)r->addr;
    }
    return r->addr;
}

/* ---- string instructions ---- */

/* How long this turn may last. */
struct budget {
    struct device *const *holder; /* a unit that holds its device is the last of the turn */
    uint32_t units, step;         /* since the last look at the clock; when to look again */
    int64_t look, end;
    bool over;
};

static struct budget budget_new(const struct ioreq_core *core)
{
    int64_t now = ioreq_now_ns();

    return (struct budget){
        .holder = &core->machine->holds.by_this,
        .step = 1,
        .look = now,
        .end = core->deadline != 0 ? core->deadline : now + STRING_NS,
    };
}

/* `units` more were done: is the turn over? */
static bool spent(struct budget *b, uint32_t units)
{
    int64_t now;

    if (*b->holder != NULL) {
        return true;
    }
    b->units += units;
    if (b->units < b->step) {
        return false;
    }
    now = ioreq_now_ns();
    b->step = now - b->look > LOOK_NS ? 1 : MIN(b->step * 2, UNITS_LOOK_MAX);
    b->look = now;
    b->units = 0;
    return now >= b->end;
}

/*
 * Guest memory of a string was asked for, with this result. True: the host cannot map it now, and
 * only now, perhaps. All ones would then be written to a disk as if the guest had sent them, and
 * what was read of one would be gone; so the instruction stops here, and is gone on with later.
 */
static bool string_starves(struct ioreq_core *core, struct budget *budget, int err)
{
    int64_t now;

    if (__builtin_expect(err >= 0, 1)) {
        core->starved_since = 0;
        return false;
    }
    if (!guestmem_host_failed(err)) {
        return false;
    }
    now = ioreq_now_ns();
    if (core->starved_since == 0) {
        core->starved_since = now;
        core->pause_ns = STARVE_FIRST_NS;
    } else if (now - core->starved_since > STARVE_PATIENCE_NS) {
        return false;
    } else {
        core->pause_ns = MIN(core->pause_ns * 2, STARVE_MAX_NS);
    }
    core->counters.string_pauses++;
    core->starving = core->retry_wanted = budget->over = true;
    return true;
}

/* Whether memory is there to be written; what a device gives cannot be given back. */
static int memory_for(struct ioreq_core *core, uint64_t gpa, size_t len)
{
    while (len > 0) {
        struct guestmem_ref ref;
        int err = guestmem_get(core->machine->memory, gpa, len, true, &ref);

        if (err < 0) {
            return err;
        }
        gpa += ref.len;
        len -= ref.len;
        guestmem_put(core->machine->memory, &ref, 0);
    }
    return 0;
}

static void string_fault(struct ioreq_core *core, const struct ioreq *r, unsigned vcpu,
                         uint64_t gpa, int err)
{
    core->counters.string_faults++;
    if (guestmem_host_failed(err)) {
        return; /* the hypervisor's room has told */
    }
    log_guest(LOG_IOREQ, "vCPU %u: string %s at %#llx: no memory at %#llx (%s)", vcpu,
              r->dir == IOREQ_READ ? "input" : "output", (unsigned long long)r->addr,
              (unsigned long long)gpa, strerror(-err));
}

/* Whether the port takes many units in one call. Then it is a data port, and fast. */
static bool port_has_blocks(const struct ioreq_core *core, const struct ioreq *r)
{
    const struct region *region = aspace_find(core->machine->pio, r->addr);

    return region != NULL && (r->dir == IOREQ_READ ? region->ops->read_block != NULL
                                                   : region->ops->write_block != NULL);
}

/*
 * Units done + 0 … done + n - 1 of `r` between the device and `buf`, in the order in which the
 * device sees them. Returns how many there was time for; fewer than `n`: budget->over.
 */
static uint32_t device_units(struct ioreq_core *core, const struct ioreq *r, uint32_t done,
                             uint8_t *buf, uint32_t n, struct budget *budget)
{
    bool blocks = r->type == IOREQ_TYPE_PIO && port_has_blocks(core, r);
    uint32_t i = 0;

    while (i < n) {
        uint8_t *at = buf + (size_t)i * r->size;
        uint32_t part = 1;

        if (must_wait(core, r, done + i)) {
            budget->over = true;
            break;
        }
        if (blocks) {
            part = target_block(core, r, at, n - i);
        } else if (r->dir == IOREQ_READ) {
            uint64_t value = target_read(core, r, unit_address(r, done + i));

            memcpy(at, &value, r->size);
        } else {
            target_write(core, r, unit_address(r, done + i), unit_load(at, r->size));
        }
        i += part;
        if (spent(budget, part)) {
            budget->over = true;
            break;
        }
    }
    return i;
}

/*
 * REP INS upwards, which is how PIO disk drivers read: the device's data goes straight into the
 * guest's page. Where that cannot be (no memory there, a unit across two mappings), up to a page's
 * worth goes through the bounce buffer.
 */
static uint32_t string_in_direct(struct ioreq_core *core, const struct ioreq *r, unsigned vcpu,
                                 uint32_t done, struct budget *budget)
{
    struct machine *m = core->machine;

    while (done < r->count) {
        uint64_t gpa = r->data + (uint64_t)done * r->size;
        uint32_t left = r->count - done, n = 0;
        struct guestmem_ref ref;
        int err = guestmem_get(m->memory, gpa, (size_t)left * r->size, true, &ref);

        if (string_starves(core, budget, err)) {
            break;
        }
        if (err == 0) {
            n = (uint32_t)(ref.len / r->size);
            if (n > 0) {
                n = device_units(core, r, done, ref.ptr, n, budget);
            }
            guestmem_put(m->memory, &ref, (size_t)n * r->size);
        }
        if (n == 0 && !budget->over) {
            n = (GUEST_PAGE_SIZE - (uint32_t)(gpa & (GUEST_PAGE_SIZE - 1))) / r->size;
            n = n == 0 ? 1 : n < left ? n : left;
            if (string_starves(core, budget, memory_for(core, gpa, (size_t)n * r->size))) {
                break;
            }
            n = device_units(core, r, done, core->bounce, n, budget);
            err = guestmem_write(m->memory, gpa, core->bounce, (size_t)n * r->size);
            if (err < 0) {
                string_fault(core, r, vcpu, gpa, err);
            }
        }
        done += n;
        if (budget->over) {
            break;
        }
    }
    return done;
}

/*
 * Reverses the order of `n` units in place: what the device gives first belongs to the highest
 * address.
 */
static void units_reverse(uint8_t *buf, unsigned size, uint32_t n)
{
    for (uint32_t i = 0; i < n / 2; i++) {
        uint8_t *a = buf + (size_t)i * size;
        uint8_t *b = buf + (size_t)(n - 1 - i) * size;
        uint8_t tmp[8];

        memcpy(tmp, a, size);
        memcpy(a, b, size);
        memcpy(b, tmp, size);
    }
}

/* The lowest address of units done … done + n - 1 in memory. */
static uint64_t units_memory(const struct ioreq *r, uint32_t done, uint32_t n)
{
    return r->df ? r->data - (uint64_t)(done + n - 1) * r->size
                 : r->data + (uint64_t)done * r->size;
}

/*
 * Device to memory or back, a bounce buffer at a time. A unit of guest memory is used as it was
 * read: a vCPU may write it meanwhile.
 */
static uint32_t string_bounced(struct ioreq_core *core, const struct ioreq *r, unsigned vcpu,
                               uint32_t done, struct budget *budget)
{
    struct machine *m = core->machine;
    uint32_t most = (uint32_t)sizeof(core->bounce) / r->size;
    uint8_t *buf = core->bounce;

    while (done < r->count) {
        uint32_t n = r->count - done < most ? r->count - done : most;
        uint64_t low;
        int err;

        if (r->dir == IOREQ_READ) {
            low = units_memory(r, done, n);
            if (string_starves(core, budget, memory_for(core, low, (size_t)n * r->size))) {
                break;
            }
            n = device_units(core, r, done, buf, n, budget);
            if (r->df) {
                units_reverse(buf, r->size, n);
            }
            low = units_memory(r, done, n);
            err = guestmem_write(m->memory, low, buf, (size_t)n * r->size);
            if (err < 0) {
                string_fault(core, r, vcpu, low, err);
            }
        } else {
            low = units_memory(r, done, n);
            err = guestmem_read(m->memory, low, buf, (size_t)n * r->size);
            if (string_starves(core, budget, err)) {
                break;
            }
            if (err < 0) {
                /* As if nobody drove the bus; what could be read of it is not used either. */
                memset(buf, 0xff, (size_t)n * r->size);
                string_fault(core, r, vcpu, low, err);
            }
            if (r->df) {
                units_reverse(buf, r->size, n);
            }
            n = device_units(core, r, done, buf, n, budget);
        }
        done += n;
        if (budget->over) {
            break;
        }
    }
    return done;
}

/*
 * REP STOS to a device, and other repetitions with the data in the request; *value is what was read
 * last.
 */
static uint32_t string_value(struct ioreq_core *core, const struct ioreq *r, uint32_t done,
                             struct budget *budget, uint64_t *value)
{
    while (done < r->count) {
        if (must_wait(core, r, done)) {
            break;
        }
        if (r->dir == IOREQ_READ) {
            *value = target_read(core, r, unit_address(r, done));
        } else {
            target_write(core, r, unit_address(r, done), r->data);
        }
        done++;
        if (spent(budget, 1)) {
            break;
        }
    }
    return done;
}

/*
 * One turn of a string instruction: units that are done by now; the answer counts when that is all.
 */
static uint32_t string_turn(struct ioreq_core *core, const struct ioreq *r, unsigned vcpu,
                            uint32_t done, uint64_t *answer)
{
    struct budget budget = budget_new(core);

    *answer = r->data;
    if (!r->data_is_ptr) {
        return string_value(core, r, done, &budget, answer);
    }
    if (r->type == IOREQ_TYPE_PIO && r->dir == IOREQ_READ && !r->df) {
        return string_in_direct(core, r, vcpu, done, &budget);
    }
    return string_bounced(core, r, vcpu, done, &budget);
}

/* A turn; the units that are done now. */
static uint32_t string_serve(struct ioreq_core *core, const struct ioreq *r, unsigned vcpu,
                             uint32_t done, uint64_t *answer)
{
    core->starving = false;
    tape_vcpu = vcpu;
    done = string_turn(core, r, vcpu, done, answer);
    core->counters.string_turns += done < r->count;
    return done;
}

/* ---- one request ---- */

static uint64_t bad_request(struct ioreq_core *core, const struct ioreq *r, unsigned vcpu)
{
    core->counters.bad++;
    recorder_note(REC_BAD_REQUEST, r->type, r->addr, r->size);
    log_guest(LOG_IOREQ,
              "vCPU %u: a request that makes no sense: type %u state %u dir %u size %u count %u "
              "ptr %u at %#llx",
              vcpu, r->type, r->state, r->dir, r->size, r->count, r->data_is_ptr,
              (unsigned long long)r->addr);
    return UINT64_MAX;
}

static bool request_valid(const struct ioreq *r)
{
    if (r->count == 0 || r->count > IOREQ_COUNT_MAX) {
        return false;
    }
    switch (r->type) {
    case IOREQ_TYPE_PIO:
        if (!size_valid(r->size, 4) || r->addr > PORTS - r->size ||
            (!r->data_is_ptr && r->count != 1)) {
            return false;
        }
        break;
    case IOREQ_TYPE_COPY:
        if (!size_valid(r->size, 8) || !span_valid(r->addr, r->count, r->size, r->df)) {
            return false;
        }
        break;
    default:
        if (!size_valid(r->size, 4) || (!r->data_is_ptr && r->count != 1)) {
            return false;
        }
        break;
    }
    return !r->data_is_ptr || span_valid(r->data, r->count, r->size, r->df);
}

static void count_access(struct ioreq_counters *c, const struct ioreq *r)
{
    bool read = r->dir == IOREQ_READ;

    switch (r->type) {
    case IOREQ_TYPE_PIO:
        *(read ? &c->pio_reads : &c->pio_writes) += 1;
        break;
    case IOREQ_TYPE_COPY:
        *(read ? &c->mmio_reads : &c->mmio_writes) += 1;
        break;
    default:
        *(read ? &c->config_reads : &c->config_writes) += 1;
        break;
    }
}

static void time_offset(struct ioreq_core *core, uint64_t seconds)
{
    struct machine *m = core->machine;

    core->counters.time_offsets++;
    if (m->events != NULL && m->events->rtc_offset != NULL) {
        m->events->rtc_offset(m->events_opaque, (int64_t)seconds);
    }
}

/* Notes an access with its value, which payload is spared. Before a write, after a read. */
static void note_access(struct ioreq_core *core, enum recorder_kind kind, uint32_t aux,
                        const struct ioreq *r, uint64_t value)
{
    struct aspace *as = r->type == IOREQ_TYPE_PIO    ? core->machine->pio
                        : r->type == IOREQ_TYPE_COPY ? core->machine->mmio
                                                     : NULL;

    if (as && !recorder_payload && aspace_is_payload(as, r->addr, r->size)) {
        aux |= RECORDER_NO_VALUE;
        value = 0;
    }
    recorder_note(kind, aux, recorder_address(r), value);
    PROBE5(access, kind, aux >> 8 & 0xffff, recorder_address(r), r->size, value);
}

/*
 * Does what `r`, a private copy, asks for; the data of the answer. Returns how many units of it are
 * done: all, but for a string instruction that needs more turns.
 */
static uint32_t request_serve(struct ioreq_core *core, const struct ioreq *r, unsigned vcpu,
                              uint64_t *answer)
{
    uint32_t aux = (r->size & 0xff) | vcpu << 8;

    *answer = r->data;
    tape_vcpu = vcpu;
    switch (r->type) {
    case IOREQ_TYPE_PIO:
    case IOREQ_TYPE_COPY:
    case IOREQ_TYPE_PCI_CONFIG:
        break;
    case IOREQ_TYPE_TIMEOFFSET:
        time_offset(core, r->data);
        return r->count;
    case IOREQ_TYPE_INVALIDATE:
        core->counters.invalidates++;
        guestmem_invalidate(core->machine->memory);
        return r->count;
    default:
        *answer = bad_request(core, r, vcpu);
        return r->count;
    }
    if (!request_valid(r)) {
        *answer = bad_request(core, r, vcpu);
        return r->count;
    }
    count_access(&core->counters, r);
    if (__builtin_expect(r->count == 1 && !r->data_is_ptr, 1)) {
        if (r->dir == IOREQ_READ) {
            *answer = target_read(core, r, r->addr);
            note_access(core, read_kind[r->type], aux, r, *answer);
            return 1;
        }
        note_access(core, write_kind[r->type], aux, r, r->data & size_mask(r->size));
        target_write(core, r, r->addr, r->data);
        return 1;
    }
    recorder_note(REC_STRING, aux, recorder_address(r), r->count | (uint64_t)r->dir << 32);
    core->counters.strings++;
    core->counters.string_units += r->count;
    return string_serve(core, r, vcpu, 0, answer);
}

/* The answer to `vcpu`, whose request's last word was `word`. */
static void request_answer(struct ioreq_core *core, unsigned vcpu, uint64_t word, uint64_t answer,
                           uint8_t state)
{
    struct ioreq *slot = &core->slot[vcpu];

    __atomic_store_n((uint64_t *)slot + 1, answer, __ATOMIC_RELAXED);
    /* The byte that holds the state, with data_is_ptr, dir and df above it. */
    __atomic_store_n((uint8_t *)slot + 30, (uint8_t)((word >> 48 & 0xf0) | state),
                     __ATOMIC_RELEASE);
    core->notify(core->opaque, vcpu);
}

static uint64_t last_word(const struct ioreq *r)
{
    uint64_t word;

    memcpy(&word, (const uint8_t *)r + 24, sizeof(word));
    return word;
}

/* ---- requests that take more than one turn, or whose answer comes later ---- */

static void rest_answer(struct ioreq_core *core, unsigned vcpu)
{
    struct ioreq_rest *rest = &core->rest[vcpu];

    rest->on = false;
    request_answer(core, vcpu, last_word(&rest->r), rest->answer, STATE_IORESP_READY);
}

/*
 * What was not done yet, as a request of its own, in the slot: whoever serves it next, we or the
 * program after us, begins there. Xen looks at nothing but state and data of an answer.
 */
static void rest_park(struct ioreq_core *core, unsigned vcpu)
{
    const struct ioreq_rest *rest = &core->rest[vcpu];
    struct ioreq *slot = &core->slot[vcpu];
    uint64_t step = (uint64_t)rest->done * rest->r.size;
    uint64_t data = rest->r.data;

    if (rest->r.data_is_ptr) {
        data = rest->r.df ? data - step : data + step;
    }
    __atomic_store_n(&slot->addr, unit_address(&rest->r, rest->done), __ATOMIC_RELAXED);
    __atomic_store_n(&slot->data, data, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->count, rest->r.count - rest->done, __ATOMIC_RELAXED);
    core->rest[vcpu].on = false;
}

/*
 * A turn of `r` came to `done` units. Answers, or remembers what is left: units, or that a device
 * holds.
 */
static void request_came_to(struct ioreq_core *core, const struct ioreq *r, unsigned vcpu,
                            uint32_t done, uint64_t answer)
{
    struct device *holder = core->machine->holds.by_this;

    if (__builtin_expect(done >= r->count && holder == NULL, 1)) {
        request_answer(core, vcpu, last_word(r), answer, STATE_IORESP_READY);
        return;
    }
    if (core->rest == NULL) {
        core->rest = g_new0(struct ioreq_rest, core->vcpus);
    }
    core->counters.delayed += holder != NULL;
    core->rest[vcpu] = (struct ioreq_rest){
        .r = *r,
        .done = done,
        .on = true,
        .starves = core->starving && holder == NULL,
        .waits = holder,
        .answer = answer,
        .since = ioreq_now_ns(),
    };
}

static bool still_held(const struct ioreq_core *core, const struct device *dev)
{
    const GPtrArray *devices = core->machine->devices;

    /* It may be gone, and then nobody holds. */
    for (unsigned i = 0; i < devices->len; i++) {
        if (g_ptr_array_index(devices, i) == dev) {
            return device_is_held(dev);
        }
    }
    return false;
}

bool ioreq_core_released(struct ioreq_core *core)
{
    bool more = false;

    for (unsigned vcpu = 0; core->rest != NULL && vcpu < core->vcpus; vcpu++) {
        struct ioreq_rest *rest = &core->rest[vcpu];

        if (!rest->on || rest->waits == NULL || still_held(core, rest->waits)) {
            continue;
        }
        rest->waits = NULL;
        if (rest->done >= rest->r.count) {
            rest_answer(core, vcpu);
        } else if (core->hold) {
            rest_park(core, vcpu);
        } else {
            more = true;
        }
    }
    return more || core->waited;
}

void ioreq_core_park(struct ioreq_core *core)
{
    for (unsigned vcpu = 0; core->rest != NULL && vcpu < core->vcpus; vcpu++) {
        if (core->rest[vcpu].on && core->rest[vcpu].waits == NULL) {
            rest_park(core, vcpu);
        }
    }
}

/* Goes on with a string instruction that had its turns before. */
static bool rest_serve(struct ioreq_core *core, unsigned vcpu)
{
    struct ioreq_rest rest = core->rest[vcpu];
    uint64_t answer;
    uint32_t done;

    if (core->busy || core->hold || rest.waits != NULL || (rest.starves && core->retry_wanted) ||
        must_wait(core, &rest.r, rest.done)) {
        return false;
    }
    ioreq_core_drain(core);
    if (core->ring_left) {
        return false;
    }
    core->busy = true;
    core->rest[vcpu].on = false;
    core->machine->holds.by_this = NULL;
    done = string_serve(core, &rest.r, vcpu, rest.done, &answer);
    core->busy = false;
    request_came_to(core, &rest.r, vcpu, done, answer);
    return true;
}

void ioreq_core_retry(struct ioreq_core *core)
{
    core->retry_wanted = false;
}

void ioreq_core_clear(struct ioreq_core *core)
{
    g_clear_pointer(&core->rest, g_free);
}

bool ioreq_core_serve(struct ioreq_core *core, unsigned vcpu)
{
    struct ioreq *slot = &core->slot[vcpu];
    uint64_t *word = (uint64_t *)slot;
    union {
        uint64_t word[4];
        struct ioreq r;
    } req;
    uint64_t answer;
    uint32_t done;

    if (__builtin_expect(core->rest != NULL, 0) && core->rest[vcpu].on) {
        return rest_serve(core, vcpu);
    }
    /*
     * State and type are in the last word; what it says about the others holds once it says READY.
     */
    req.word[3] = __atomic_load_n(&word[3], __ATOMIC_ACQUIRE);
    if (__builtin_expect(req.r.state != STATE_IOREQ_READY && req.r.state <= STATE_IORESP_READY,
                         1)) {
        return false;
    }
    if (__builtin_expect(core->busy, 0)) {
        return false;
    }
    if (__builtin_expect(core->hold && req.r.type != IOREQ_TYPE_INVALIDATE, 0)) {
        core->counters.held++;
        return false;
    }
    for (unsigned i = 0; i < 3; i++) {
        req.word[i] = __atomic_load_n(&word[i], __ATOMIC_RELAXED);
    }
    if (__builtin_expect(req.r.state > STATE_IORESP_READY, 0)) {
        /*
         * Nothing that Xen writes. NONE lets a waiting read end with all ones and keeps the slot
         * usable.
         */
        answer = bad_request(core, &req.r, vcpu);
        request_answer(core, vcpu, req.word[3], answer, STATE_IOREQ_NONE);
        return true;
    }
    if (__builtin_expect(must_wait(core, &req.r, 0), 0)) {
        return false;
    }
    ioreq_core_drain(core); /* what was posted before must be seen before */
    if (__builtin_expect(core->ring_left && req.r.type != IOREQ_TYPE_INVALIDATE, 0)) {
        return false;
    }
    core->busy = true;
    core->machine->holds.by_this = NULL;
    done = request_serve(core, &req.r, vcpu, &answer);
    core->busy = false;
    request_came_to(core, &req.r, vcpu, done, answer);
    return true;
}

/* ---- the ring of posted writes ---- */

static struct ioreq ring_request(const struct buf_ioreq *item, uint64_t data)
{
    return (struct ioreq){
        .addr = item->addr,
        .data = data,
        .count = 1,
        .size = 1u << item->size,
        .dir = item->dir,
        .type = item->type,
        .state = STATE_IOREQ_READY,
    };
}

static void ring_item(struct ioreq_core *core, struct ioreq r, uint64_t data)
{
    core->counters.buffered++;
    note_access(core, REC_BUFFERED, r.size, &r, data);
    if (r.type == IOREQ_TYPE_TIMEOFFSET) {
        time_offset(core, data);
    } else if (r.dir == IOREQ_READ || (r.type != IOREQ_TYPE_PIO && r.type != IOREQ_TYPE_COPY) ||
               !request_valid(&r)) {
        bad_request(core, &r, 0);
    } else {
        count_access(&core->counters, &r);
        target_write(core, &r, r.addr, data);
    }
}

/*
 * The pointers cannot be: drop what they pretend is there, together, so that Xen's own adjustment
 * cannot fall between.
 */
static void ring_resync(struct ioreq_core *core, uint64_t both)
{
    uint64_t *pointers = (uint64_t *)core->ring;
    uint32_t write = (uint32_t)(both >> 32);
    uint64_t now = (uint64_t)write << 32 | write;

    core->counters.ring_resyncs++;
    log_guest(LOG_IOREQ,
              "buffered ring: pointers %u and %u are too far apart, dropping its contents",
              (uint32_t)both, write);
    __atomic_compare_exchange_n(pointers, &both, now, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* The page begins with the two pointers, one word, and the slots follow. */
static uint64_t *ring_word(struct buffered_iopage *ring, uint32_t pointer)
{
    return (uint64_t *)ring + 1 + pointer % RING_SLOTS;
}

bool ioreq_core_late(const struct ioreq_core *core)
{
    return core->deadline != 0 && ioreq_now_ns() >= core->deadline;
}

unsigned ioreq_core_drain(struct ioreq_core *core)
{
    struct buffered_iopage *ring = core->ring;
    unsigned done = 0;

    if (ring == NULL || core->hold || core->busy) {
        return 0;
    }
    core->ring_left = false;
    /* The bound keeps a guest that posts as fast as we drain from keeping us here. */
    while (done < RING_SLOTS) {
        /*
         * In atomic mode Xen may lower both pointers by multiples of 511 at any time: the index
         * stays the same.
         */
        uint64_t both = __atomic_load_n((uint64_t *)ring, __ATOMIC_ACQUIRE);
        uint32_t read = (uint32_t)both;
        uint32_t used = (uint32_t)(both >> 32) - read;
        struct buf_ioreq item, high;
        struct ioreq r;
        uint32_t slots = 1;
        uint64_t word, data;

        if (used == 0) {
            break;
        }
        if (done % ITEMS_LOOK == ITEMS_LOOK - 1 && ioreq_core_late(core)) {
            core->ring_left = true;
            break;
        }
        core->busy = true;
        if (used > RING_SLOTS) {
            ring_resync(core, both);
            core->busy = false;
            done++;
            continue;
        }
        word = __atomic_load_n(ring_word(ring, read), __ATOMIC_RELAXED);
        memcpy(&item, &word, sizeof(item));
        data = item.data;
        if (item.size == 3 && used >= 2) {
            word = __atomic_load_n(ring_word(ring, read + 1), __ATOMIC_RELAXED);
            memcpy(&high, &word, sizeof(high));
            data |= (uint64_t)high.data << 32;
            slots = 2;
        }
        r = ring_request(&item, data);
        if (must_wait(core, &r, 0)) { /* and with it all that comes behind */
            core->ring_left = true;
            core->busy = false;
            break;
        }
        __atomic_fetch_add(&ring->read_pointer, slots, __ATOMIC_ACQ_REL);
        if (item.size == 3 && slots == 1) {
            bad_request(core, &r, 0); /* half an item: Xen publishes both slots at once */
        } else {
            ring_item(core, r, data);
        }
        core->busy = false;
        done++;
    }
    return done;
}

unsigned ioreq_core_poll(struct ioreq_core *core, unsigned max)
{
    unsigned done = ioreq_core_drain(core);

    for (unsigned i = 0; i < core->vcpus && done < max; i++) {
        unsigned vcpu = core->next_vcpu;

        core->next_vcpu = vcpu + 1 < core->vcpus ? vcpu + 1 : 0;
        if (ioreq_core_serve(core, vcpu)) {
            done++;
            if (done > 1 && ioreq_core_late(core)) {
                break;
            }
        }
    }
    return done;
}
