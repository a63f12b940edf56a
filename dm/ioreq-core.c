/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Serving ioreqs; see dm/ioreq-core.h. Facts: public/hvm/ioreq.h, xen/common/ioreq.c, hvmemul_do_io() of Xen;
 * docs of the contract in section 4.2.
 *
 * The life of a slot: Xen fills it and sets READY; we answer with RESP_READY. The state INPROCESS between the two is allowed
 * but tells nobody anything, so we save the store.
 */
#include <string.h>

#include <xendm/aspace.h>
#include <xendm/guestmem.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/recorder.h>

#include "ioreq-core.h"

#define PORTS 0x10000u
#define RING_SLOTS IOREQ_BUFFER_SLOT_NUM

_Static_assert(sizeof(struct ioreq) == 32, "the slot layout is an ABI");
_Static_assert(sizeof(struct buf_ioreq) == 8, "the ring layout is an ABI");
_Static_assert(offsetof(struct buffered_iopage, write_pointer) == 4, "both pointers are read as one 64-bit number");

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

    memcpy(&value, p, size);    /* x86 is little-endian, host and guest */
    return value;
}

/* ---- what a request may address ---- */

static uint64_t target_read(struct ioreq_core *core, const struct ioreq *r, uint64_t addr)
{
    struct machine *m = core->machine;
    uint32_t devfn, reg;

    switch (r->type) {
    case IOREQ_TYPE_PIO:
        return aspace_read(m->pio, addr, r->size) & size_mask(r->size);
    case IOREQ_TYPE_COPY:
        return aspace_read(m->mmio, addr, r->size) & size_mask(r->size);
    default:
        /* The upper half is segment, bus, device and function; the register may exceed 255 on AMD's extended 0xCF8. */
        devfn = (uint32_t)(addr >> 32);
        reg = (uint32_t)addr;
        if (devfn > 0xff || reg > PCI_CONFIG_SIZE - r->size) {
            return size_mask(r->size);
        }
        return pci_config_read(m->pci, devfn, reg, r->size) & size_mask(r->size);
    }
}

static void target_write(struct ioreq_core *core, const struct ioreq *r, uint64_t addr, uint64_t value)
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

/* The device address of unit `i`: memory steps, ports and registers do not. */
static uint64_t unit_address(const struct ioreq *r, uint32_t i)
{
    uint64_t step = (uint64_t)i * r->size;

    if (r->type != IOREQ_TYPE_COPY) {
        return r->addr;
    }
    return r->df ? r->addr - step : r->addr + step;
}

static const enum recorder_kind read_kind[] = {
    [IOREQ_TYPE_PIO] = REC_PIO_READ, [IOREQ_TYPE_COPY] = REC_MMIO_READ, [IOREQ_TYPE_PCI_CONFIG] = REC_CFG_READ,
};
static const enum recorder_kind write_kind[] = {
    [IOREQ_TYPE_PIO] = REC_PIO_WRITE, [IOREQ_TYPE_COPY] = REC_MMIO_WRITE, [IOREQ_TYPE_PCI_CONFIG] = REC_CFG_WRITE,
};

static uint64_t recorder_address(const struct ioreq *r)
{
    if (r->type == IOREQ_TYPE_PCI_CONFIG) {
        return r->addr >> 32 << 16 | (uint32_t)r->addr;
    }
    return r->addr;
}

/* ---- string instructions ---- */

static void string_fault(struct ioreq_core *core, const struct ioreq *r, unsigned vcpu, uint64_t gpa, int err)
{
    core->counters.string_faults++;
    if (err == -ENOMEM || err == -EAGAIN || err == -EIO) {
        return;         /* the host's failure, which the hypervisor's room has told; see guestmem.h */
    }
    log_guest(ROOM_IOREQ, "vCPU %u: string %s at %#llx: no memory at %#llx (%s)", vcpu,
              r->dir == IOREQ_READ ? "input" : "output", (unsigned long long)r->addr, (unsigned long long)gpa,
              strerror(-err));
}

/*
 * REP INS upwards, which is how PIO disk drivers read: the device's data goes straight into the guest's page. Where that
 * cannot be (no memory there, a unit across two mappings), up to a page's worth goes through the bounce buffer.
 */
static void string_in_direct(struct ioreq_core *core, const struct ioreq *r, unsigned vcpu)
{
    struct machine *m = core->machine;
    uint64_t gpa = r->data;
    uint32_t left = r->count;

    while (left > 0) {
        struct guestmem_ref ref;
        uint32_t n = 0;
        int err = guestmem_get(m->memory, gpa, (size_t)left * r->size, true, &ref);

        if (err == 0) {
            n = (uint32_t)(ref.len / r->size);
            if (n > 0) {
                aspace_read_block(m->pio, r->addr, ref.ptr, r->size, n);
            }
            guestmem_put(m->memory, &ref, (size_t)n * r->size);
        }
        if (n == 0) {
            n = (GUEST_PAGE_SIZE - (uint32_t)(gpa & (GUEST_PAGE_SIZE - 1))) / r->size;
            n = n == 0 ? 1 : n < left ? n : left;
            aspace_read_block(m->pio, r->addr, core->bounce, r->size, n);
            err = guestmem_write(m->memory, gpa, core->bounce, (size_t)n * r->size);
            if (err < 0) {
                string_fault(core, r, vcpu, gpa, err);
            }
        }
        gpa += (uint64_t)n * r->size;
        left -= n;
    }
}

/* Reverses the order of `n` units in place: what the device gives first belongs to the highest address. */
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

/* Device to memory or back, a bounce buffer at a time. Guest memory is read once: a vCPU may write it meanwhile. */
static void string_bounced(struct ioreq_core *core, const struct ioreq *r, unsigned vcpu)
{
    struct machine *m = core->machine;
    bool pio = r->type == IOREQ_TYPE_PIO;
    uint32_t most = (uint32_t)sizeof(core->bounce) / r->size;
    uint8_t *buf = core->bounce;

    for (uint32_t done = 0, n; done < r->count; done += n) {
        uint64_t low;
        size_t len;
        int err;

        n = r->count - done < most ? r->count - done : most;
        len = (size_t)n * r->size;
        low = r->df ? r->data - (uint64_t)(done + n - 1) * r->size : r->data + (uint64_t)done * r->size;
        if (r->dir == IOREQ_READ) {
            if (pio) {
                aspace_read_block(m->pio, r->addr, buf, r->size, n);
            } else {
                for (uint32_t i = 0; i < n; i++) {
                    uint64_t value = target_read(core, r, unit_address(r, done + i));

                    memcpy(buf + (size_t)i * r->size, &value, r->size);
                }
            }
            if (r->df) {
                units_reverse(buf, r->size, n);
            }
            err = guestmem_write(m->memory, low, buf, len);
            if (err < 0) {
                string_fault(core, r, vcpu, low, err);
            }
            continue;
        }
        err = guestmem_read(m->memory, low, buf, len);
        if (err < 0) {
            /* As if nobody drove the bus; what could be read of it is not used either. */
            memset(buf, 0xff, len);
            string_fault(core, r, vcpu, low, err);
        }
        if (r->df) {
            units_reverse(buf, r->size, n);
        }
        if (pio) {
            aspace_write_block(m->pio, r->addr, buf, r->size, n);
        } else {
            for (uint32_t i = 0; i < n; i++) {
                target_write(core, r, unit_address(r, done + i), unit_load(buf + (size_t)i * r->size, r->size));
            }
        }
    }
}

/* REP STOS to a device, and other repetitions with the data in the request: returns what was read last. */
static uint64_t string_value(struct ioreq_core *core, const struct ioreq *r)
{
    uint64_t value = r->data;

    for (uint32_t i = 0; i < r->count; i++) {
        if (r->dir == IOREQ_READ) {
            value = target_read(core, r, unit_address(r, i));
        } else {
            target_write(core, r, unit_address(r, i), r->data);
        }
    }
    return value;
}

/* ---- one request ---- */

static uint64_t bad_request(struct ioreq_core *core, const struct ioreq *r, unsigned vcpu)
{
    core->counters.bad++;
    recorder_note(REC_BAD_REQUEST, r->type, r->addr, r->size);
    log_guest(ROOM_IOREQ, "vCPU %u: a request that makes no sense: type %u state %u dir %u size %u count %u ptr %u at %#llx",
              vcpu, r->type, r->state, r->dir, r->size, r->count, r->data_is_ptr, (unsigned long long)r->addr);
    return UINT64_MAX;
}

static bool request_valid(const struct ioreq *r)
{
    if (r->count == 0 || r->count > IOREQ_COUNT_MAX) {
        return false;
    }
    switch (r->type) {
    case IOREQ_TYPE_PIO:
        if (!size_valid(r->size, 4) || r->addr > PORTS - r->size || (!r->data_is_ptr && r->count != 1)) {
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

/* Does what `r`, a private copy, asks for, and returns the data of the answer. */
static uint64_t request_serve(struct ioreq_core *core, const struct ioreq *r, unsigned vcpu)
{
    uint32_t aux = (r->size & 0xff) | vcpu << 8;
    uint64_t value;

    switch (r->type) {
    case IOREQ_TYPE_PIO:
    case IOREQ_TYPE_COPY:
    case IOREQ_TYPE_PCI_CONFIG:
        break;
    case IOREQ_TYPE_TIMEOFFSET:
        time_offset(core, r->data);
        return r->data;
    case IOREQ_TYPE_INVALIDATE:
        core->counters.invalidates++;
        guestmem_invalidate(core->machine->memory);
        return r->data;
    default:
        return bad_request(core, r, vcpu);
    }
    if (!request_valid(r)) {
        return bad_request(core, r, vcpu);
    }
    count_access(&core->counters, r);
    if (__builtin_expect(r->count == 1 && !r->data_is_ptr, 1)) {
        if (r->dir == IOREQ_READ) {
            value = target_read(core, r, r->addr);
            recorder_note(read_kind[r->type], aux, recorder_address(r), value);
            return value;
        }
        recorder_note(write_kind[r->type], aux, recorder_address(r), r->data & size_mask(r->size));
        target_write(core, r, r->addr, r->data);
        return r->data;
    }
    recorder_note(REC_STRING, aux, recorder_address(r), r->count | (uint64_t)r->dir << 32);
    core->counters.strings++;
    core->counters.string_units += r->count;
    if (!r->data_is_ptr) {
        return string_value(core, r);
    }
    if (r->type == IOREQ_TYPE_PIO && r->dir == IOREQ_READ && !r->df) {
        string_in_direct(core, r, vcpu);
    } else {
        string_bounced(core, r, vcpu);
    }
    return r->data;
}

bool ioreq_core_serve(struct ioreq_core *core, unsigned vcpu)
{
    struct ioreq *slot = &core->slot[vcpu];
    uint64_t *word = (uint64_t *)slot;
    /* The byte that holds the state, with data_is_ptr, dir and df above it. */
    uint8_t *state = (uint8_t *)slot + 30;
    union {
        uint64_t word[4];
        struct ioreq r;
    } req;
    uint64_t answer;
    uint8_t done = STATE_IORESP_READY;

    /* State and type are in the last word; what it says about the others holds once it says READY. */
    req.word[3] = __atomic_load_n(&word[3], __ATOMIC_ACQUIRE);
    if (__builtin_expect(req.r.state != STATE_IOREQ_READY && req.r.state <= STATE_IORESP_READY, 1)) {
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
    core->busy = true;
    if (__builtin_expect(req.r.state > STATE_IORESP_READY, 0)) {
        /* Nothing that Xen writes. NONE lets a waiting read end with all ones and keeps the slot usable. */
        answer = bad_request(core, &req.r, vcpu);
        done = STATE_IOREQ_NONE;
    } else {
        core->busy = false;
        ioreq_core_drain(core);     /* what was posted before must be seen before */
        core->busy = true;
        answer = request_serve(core, &req.r, vcpu);
    }
    core->busy = false;
    __atomic_store_n(&word[1], answer, __ATOMIC_RELAXED);
    __atomic_store_n(state, (uint8_t)((req.word[3] >> 48 & 0xf0) | done), __ATOMIC_RELEASE);
    core->notify(core->opaque, vcpu);
    return true;
}

/* ---- the ring of posted writes ---- */

static void ring_item(struct ioreq_core *core, const struct buf_ioreq *item, uint64_t data)
{
    struct ioreq r = {
        .addr = item->addr, .data = data, .count = 1, .size = 1u << item->size, .dir = item->dir, .type = item->type,
        .state = STATE_IOREQ_READY,
    };

    core->counters.buffered++;
    recorder_note(REC_BUFFERED, r.size, r.addr, data);
    if (r.type == IOREQ_TYPE_TIMEOFFSET) {
        time_offset(core, data);
    } else if (r.dir == IOREQ_READ || (r.type != IOREQ_TYPE_PIO && r.type != IOREQ_TYPE_COPY) || !request_valid(&r)) {
        bad_request(core, &r, 0);
    } else {
        count_access(&core->counters, &r);
        target_write(core, &r, r.addr, data);
    }
}

/* The pointers cannot be: drop what they pretend is there, together, so that Xen's own adjustment cannot fall between. */
static void ring_resync(struct ioreq_core *core, uint64_t both)
{
    uint64_t *pointers = (uint64_t *)core->ring;
    uint32_t write = (uint32_t)(both >> 32);
    uint64_t now = (uint64_t)write << 32 | write;

    core->counters.ring_resyncs++;
    log_guest(ROOM_IOREQ, "buffered ring: pointers %u and %u are too far apart, dropping its contents", (uint32_t)both,
              write);
    __atomic_compare_exchange_n(pointers, &both, now, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* The page begins with the two pointers, one word, and the slots follow. */
static uint64_t *ring_word(struct buffered_iopage *ring, uint32_t pointer)
{
    return (uint64_t *)ring + 1 + pointer % RING_SLOTS;
}

unsigned ioreq_core_drain(struct ioreq_core *core)
{
    struct buffered_iopage *ring = core->ring;
    unsigned done = 0;

    if (ring == NULL || core->hold || core->busy) {
        return 0;
    }
    /* The bound keeps a guest that posts as fast as we drain from keeping us here. */
    while (done < RING_SLOTS) {
        /* In atomic mode Xen may lower both pointers by multiples of 511 at any time: the index stays the same. */
        uint64_t both = __atomic_load_n((uint64_t *)ring, __ATOMIC_ACQUIRE);
        uint32_t read = (uint32_t)both;
        uint32_t used = (uint32_t)(both >> 32) - read;
        struct buf_ioreq item, high;
        uint32_t slots = 1;
        uint64_t word, data;

        if (used == 0) {
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
        __atomic_fetch_add(&ring->read_pointer, slots, __ATOMIC_ACQ_REL);
        if (item.size == 3 && slots == 1) {
            struct ioreq r = { .addr = item.addr, .size = 8, .count = 1, .type = item.type };

            bad_request(core, &r, 0);   /* half an item: Xen publishes both slots at once */
        } else {
            ring_item(core, &item, data);
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
        }
    }
    return done;
}
