/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SCRIPTS processor (LSI53C895A technical manual, chapter 5). It runs in slices: a script may
 * be endless, and some do spin until a word of memory changes. One in which nothing moves gets less
 * and less of the loop.
 *
 * Left out: the target's role, I/O space as source or destination of memory moves (a bus fault).
 */
#include <errno.h>

#include <xendm/tape.h>
#include <xendm/turn.h>

#include "lsi.h"

#define SLICE 1000     /* instructions */
#define SPIN_SLICE 200 /* … when nothing moves */
#define SPINS_FREE 8u  /* slices before the pauses grow */
#define SPIN_PAUSE (20 * NS_PER_US)
#define SPIN_PAUSE_MAX NS_PER_MS
#define COPY_PART 4096u

/* ---- its memory ---- */

static bool inside(const struct pci_bar *bar, uint64_t size, uint64_t address, uint32_t len)
{
    return bar->address != PCI_BAR_UNMAPPED && address >= bar->address && len <= size &&
           address - bar->address <= size - len;
}

static bool fault(struct lsi *s, uint64_t address, uint32_t len, int error)
{
    log_guest(LOG_SCSI, "%s: script at 0x%x cannot reach %u bytes at 0x%llx: %s", s->pci.dev.id,
              s->dsp, len, (unsigned long long)address, g_strerror(-error));
    lsi_dma_interrupt(s, DSTAT_BF);
    return false;
}

bool lsi_read(struct lsi *s, uint64_t address, void *buf, uint32_t len)
{
    const struct pci_bar *ram = &s->pci.bar[LSI_BAR_RAM], *own = &s->pci.bar[LSI_BAR_MEMORY];
    int rc;

    if (inside(ram, LSI_RAM, address, len)) {
        memcpy(buf, s->ram + (address - ram->address), len);
        return true;
    }
    if (inside(own, LSI_REGISTERS, address, len)) {
        for (uint32_t i = 0; i < len; i++) {
            ((uint8_t *)buf)[i] = lsi_register_read(s, (unsigned)(address - own->address) + i);
        }
        return true;
    }
    rc = dma_read(&s->pci.dev, address, buf, len);
    return rc == 0 || fault(s, address, len, rc);
}

bool lsi_write(struct lsi *s, uint64_t address, const void *buf, uint32_t len)
{
    const struct pci_bar *ram = &s->pci.bar[LSI_BAR_RAM], *own = &s->pci.bar[LSI_BAR_MEMORY];
    int rc;

    if (inside(ram, LSI_RAM, address, len)) {
        memcpy(s->ram + (address - ram->address), buf, len);
        return true;
    }
    if (inside(own, LSI_REGISTERS, address, len)) {
        for (uint32_t i = 0; i < len; i++) {
            lsi_register_write(s, (unsigned)(address - own->address) + i,
                               ((const uint8_t *)buf)[i]);
        }
        return true;
    }
    rc = dma_write(&s->pci.dev, address, buf, len);
    return rc == 0 || fault(s, address, len, rc);
}

static bool fetch(struct lsi *s, uint32_t address, uint32_t *words, unsigned n)
{
    uint8_t buf[8];

    if (!lsi_read(s, (uint64_t)s->sfs << 32 | address, buf, 4 * n)) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        words[i] = load_le32(buf + 4 * i);
    }
    return true;
}

static uint32_t relative(uint32_t base, uint32_t offset)
{
    return base + ((offset & 0xffffff) ^ 0x800000) - 0x800000; /* 24 bits with a sign */
}

static void illegal(struct lsi *s)
{
    lsi_dma_interrupt(s, DSTAT_IID);
}

/* Nobody answered the last selection; the driver learns it where its script wants the target. */
static bool timed_out(struct lsi *s)
{
    if (!s->unanswered) {
        return false;
    }
    s->unanswered = false;
    lsi_scsi_interrupt(s, 0, SIST1_STO);
    lsi_script_stop(s);
    return true;
}

/* ---- I/O instructions (5.4) ---- */

#define IO_TABLE (1u << 25)
#define IO_RELATIVE (1u << 26)
#define IO_ATN_SELECT (1u << 24)
#define IO_ATN (1u << 3)
#define IO_ACK (1u << 6)
#define IO_TARGET (1u << 9)
#define IO_CARRY (1u << 10)

static void io_select(struct lsi *s, uint32_t instruction, uint32_t alternative)
{
    uint32_t setting = instruction & 0x000f0000;

    if (instruction & IO_TABLE) {
        uint8_t entry[4];

        if (!lsi_read(s, (uint64_t)s->drs << 32 | relative(s->dsa, instruction), entry, 4)) {
            return;
        }
        setting = load_le32(entry);
        s->scntl3 = (uint8_t)(setting >> 24);
        s->sxfer = (uint8_t)(setting >> 8);
    }
    s->dnad = alternative;
    if (lsi_connected(s)) { /* reselected meanwhile */
        s->dsp = alternative;
        return;
    }
    if (timed_out(s)) {
        return;
    }
    s->sdid = setting >> 16 & 0x0f;
    s->unanswered = !lsi_bus_select(s, s->sdid, instruction & IO_ATN_SELECT);
}

static void wait_reselect(struct lsi *s, uint32_t alternative)
{
    s->dnad = alternative;
    if (lsi_connected(s) || timed_out(s)) {
        return;
    }
    if (s->istat0 & ISTAT0_SIGP) {
        s->dsp = alternative;
    } else if (!lsi_bus_reselect(s)) {
        s->waiting = WAIT_RESELECT;
    } else if (s->sien0 & SIST0_RSL) {
        lsi_scsi_interrupt(s, SIST0_RSL, 0);
    }
}

static void set_lines(struct lsi *s, uint32_t which)
{
    if (which & IO_ATN) {
        s->socl |= SCL_ATN;
        s->sbcl |= SCL_ATN;
        lsi_bus_attention(s);
    }
    if (which & IO_ACK) {
        s->socl |= SCL_ACK;
        s->sbcl |= SCL_ACK;
    }
    if (which & IO_TARGET) {
        log_guest(LOG_SCSI, "%s: a script wants to be a target", s->pci.dev.id);
    }
    s->carry |= which & IO_CARRY ? true : false;
}

static void clear_lines(struct lsi *s, uint32_t which)
{
    uint8_t lines = (which & IO_ATN ? SCL_ATN : 0) | (which & IO_ACK ? SCL_ACK : 0);

    s->socl &= (uint8_t)~lines;
    s->sbcl &= (uint8_t)~lines;
    s->carry &= which & IO_CARRY ? false : true;
}

static void io(struct lsi *s, uint32_t instruction, uint32_t second)
{
    uint32_t address = instruction & IO_RELATIVE ? relative(s->dsp, second) : second;

    switch (instruction >> 27 & 7) {
    case 0:
        io_select(s, instruction, address);
        break;
    case 1: /* WAIT DISCONNECT */
        if (lsi_connected(s)) {
            s->waiting = WAIT_DISCONNECT;
        }
        break;
    case 2:
        wait_reselect(s, address);
        break;
    case 3:
        set_lines(s, instruction);
        break;
    case 4:
        clear_lines(s, instruction);
        break;
    }
}

/* ---- registers (5.5) ---- */

static uint8_t calculate(struct lsi *s, unsigned operator, uint8_t a, uint8_t b)
{
    unsigned wide;

    switch (operator) {
    case 0:
        return b;
    case 1:
        wide = a << 1 | s->carry;
        s->carry = a >> 7;
        return (uint8_t)wide;
    case 2:
        return a | b;
    case 3:
        return a ^ b;
    case 4:
        return a & b;
    case 5:
        wide = a >> 1 | s->carry << 7;
        s->carry = a & 1;
        return (uint8_t)wide;
    default:
        wide = a + b + (operator== 7 && s->carry ? 1u : 0u);
        s->carry = wide > 0xff;
        return (uint8_t)wide;
    }
}

static void registers(struct lsi *s, uint32_t instruction)
{
    unsigned at = (instruction >> 16 & 0x7f) | (instruction & 0x80);
    unsigned operator= instruction>> 24 & 7;
    uint8_t immediate = (uint8_t)(instruction >> 8);
    uint8_t other = instruction & 1u << 23 ? s->sfbr : immediate;

    switch (instruction >> 27 & 7) {
    case 5:
        lsi_register_write(s, at, calculate(s, operator, s->sfbr, other));
        break;
    case 6:
        s->sfbr = calculate(s, operator, operator? lsi_register_read(s, at) : 0, other);
        break;
    default:
        lsi_register_write(s, at,
                           calculate(s, operator, operator? lsi_register_read(s, at) : 0, other));
        break;
    }
}

/* ---- transfer control (5.6) ---- */

#define TC_WAIT (1u << 16)
#define TC_PHASE (1u << 17)
#define TC_DATA (1u << 18)
#define TC_TRUE (1u << 19)
#define TC_FLY (1u << 20)
#define TC_CARRY (1u << 21)
#define TC_RELATIVE (1u << 23)

/* Each comparison that is asked for has the result that is asked for. */
static bool condition(const struct lsi *s, uint32_t instruction)
{
    bool wanted = instruction & TC_TRUE;
    uint8_t mask = (uint8_t) ~(instruction >> 8);

    if (!(instruction & (TC_TRUE | TC_CARRY | TC_PHASE | TC_DATA))) {
        return false; /* no operation */
    }
    return !((instruction & TC_CARRY) && s->carry != wanted) &&
           !((instruction & TC_PHASE) &&
             (lsi_phase(s) == (instruction >> 24 & PHASE_BITS)) != wanted) &&
           !((instruction & TC_DATA) && ((s->sfbr & mask) == (instruction & mask)) != wanted);
}

static void go(struct lsi *s, uint32_t instruction, uint32_t address)
{
    switch (instruction >> 27 & 7) {
    case 0:
        s->adder = address;
        s->dsp = address;
        break;
    case 1:
        s->temp = s->dsp;
        s->dsp = address;
        break;
    case 2:
        s->dsp = s->temp;
        break;
    case 3:
        if (instruction & TC_FLY) {
            s->istat0 |= ISTAT0_INTF;
            lsi_update(s);
        } else {
            lsi_dma_interrupt(s, DSTAT_SIR);
        }
        break;
    default:
        illegal(s);
        break;
    }
}

static void transfer_control(struct lsi *s, uint32_t instruction, uint32_t second, uint32_t at)
{
    if (instruction & (TC_PHASE | TC_WAIT)) {
        if (timed_out(s)) {
            return;
        }
        if ((instruction & TC_WAIT) && !lsi_connected(s)) {
            lsi_scsi_interrupt(s, SIST0_UDC, 0); /* the target that it waits for is gone */
            return;
        }
        if ((instruction & TC_WAIT) && !lsi_req(s)) {
            s->dsp = at; /* once more then */
            s->waiting = WAIT_REQ;
            return;
        }
    }
    if (condition(s, instruction)) {
        go(s, instruction, instruction & TC_RELATIVE ? relative(s->dsp, second) : second);
    }
}

/* ---- memory (5.7, 5.8) ---- */

static void copy_on(struct lsi *s)
{
    uint8_t buf[COPY_PART];

    while (s->copy_left > 0 && s->budget > 0) {
        uint32_t n = MIN(s->copy_left, COPY_PART);

        if (!lsi_read(s, s->copy_from, buf, n) || !lsi_write(s, s->copy_to, buf, n)) {
            s->copy_left = 0;
            return;
        }
        s->copy_from += n;
        s->copy_to += n;
        s->copy_left -= n;
        lsi_spend(s, 2 * n);
    }
}

static void memory_move(struct lsi *s, uint32_t instruction, uint32_t source)
{
    uint32_t destination;

    if (!fetch(s, s->dsp, &destination, 1)) {
        return;
    }
    s->dsp += 4; /* TEMP stays as it is: drivers rely on that, whatever the manual says */
    if (s->dmode & (DMODE_SIOM | DMODE_DIOM)) {
        fault(s, source, instruction & DBC_BITS, -EPERM);
        return;
    }
    s->copy_from = (uint64_t)s->mmrs << 32 | source;
    s->copy_to = (uint64_t)s->mmws << 32 | destination;
    s->copy_left = instruction & DBC_BITS;
    copy_on(s);
}

#define LS_DSA (1u << 28)
#define LS_LOAD (1u << 24)

static void load_store(struct lsi *s, uint32_t instruction, uint32_t second)
{
    bool load = instruction & LS_LOAD, by_dsa = instruction & LS_DSA;
    uint32_t high = by_dsa ? s->drs : load ? s->mmrs : s->mmws;
    uint64_t address = (uint64_t)high << 32 | (by_dsa ? relative(s->dsa, second) : second);
    unsigned n = instruction & 7, at = instruction >> 16 & 0xff;
    uint8_t buf[4];

    if (n < 1 || n > 4 || at + n > LSI_REGISTERS) {
        illegal(s);
        return;
    }
    if (!load) {
        for (unsigned i = 0; i < n; i++) {
            buf[i] = lsi_register_read(s, at + i);
        }
        lsi_write(s, address, buf, n);
    } else if (lsi_read(s, address, buf, n)) {
        for (unsigned i = 0; i < n; i++) {
            lsi_register_write(s, at + i, buf[i]);
        }
    }
}

/* ---- one instruction after the other ---- */

static void step(struct lsi *s)
{
    uint32_t at = s->dsp, word[2];

    s->instructions++;
    if (!fetch(s, at, word, 2)) {
        return;
    }
    if (word[0] == 0) { /* half a word of padding, as QEMU has it for the sake of some drivers */
        s->dsp = at + 4;
        return;
    }
    s->dsp = at + 8;
    s->dsps = word[1];
    s->dbc = word[0];
    switch (word[0] >> 30) {
    case 0:
        lsi_block_move(s, word[0], word[1], at);
        break;
    case 1:
        if ((word[0] >> 27 & 7) < 5) {
            io(s, word[0], word[1]);
        } else {
            registers(s, word[0]);
        }
        break;
    case 2:
        transfer_control(s, word[0], word[1], at);
        break;
    default:
        if (word[0] & 1u << 29) {
            load_store(s, word[0], word[1]);
        } else {
            memory_move(s, word[0], word[1]);
        }
        break;
    }
}

static bool runs(const struct lsi *s)
{
    return (s->istat1 & ISTAT1_SRUN) && s->waiting == WAIT_NOTHING && !s->stopped;
}

static void one(struct lsi *s)
{
    if (s->in_move) {
        lsi_move_on(s);
    } else if (s->copy_left) {
        copy_on(s);
    } else {
        step(s);
    }
    if ((s->dcntl & DCNTL_SSM) && runs(s) && !s->in_move && !s->copy_left) {
        lsi_dma_interrupt(s, DSTAT_SSI);
    }
}

/* A selection that nobody answered is told at the latest now, also to a script that only spins. */
static void end_slice(struct lsi *s)
{
    int64_t wait = SPIN_PAUSE;

    if (timed_out(s)) {
        return;
    }
    if (s->spinning > SPINS_FREE) {
        wait = MIN((s->spinning - SPINS_FREE + 1) * SPIN_PAUSE, SPIN_PAUSE_MAX);
    }
    s->spinning = MIN(s->spinning + 1, 1000);
    vtimer_arm_in(&s->slice, wait);
}

void lsi_script_go(struct lsi *s)
{
    if (s->executing || !runs(s)) {
        return;
    }
    s->executing = true;
    s->budget = s->spinning > SPINS_FREE ? SPIN_SLICE : SLICE;
    while (runs(s) && s->budget > 0) {
        s->budget--;
        one(s);
        if (s->budget % 16 == 0 && tape_late(turn_is_used_up())) {
            break;
        }
    }
    s->executing = false;
    if (runs(s)) {
        end_slice(s);
    } else {
        vtimer_disarm(&s->slice);
    }
    /* What is read or written in a wait may have let somebody have the bus. */
    lsi_bus_wanted(s);
}

void lsi_script_slice(void *opaque)
{
    lsi_script_go(opaque);
}

void lsi_script_start(struct lsi *s)
{
    s->istat1 |= ISTAT1_SRUN;
    s->waiting = WAIT_NOTHING;
    s->in_move = false;
    s->copy_left = 0;
    s->spinning = 0;
    lsi_script_go(s);
}

void lsi_script_stop(struct lsi *s)
{
    s->istat1 &= (uint8_t)~ISTAT1_SRUN;
    s->waiting = WAIT_NOTHING;
    s->in_move = false;
    s->copy_left = 0;
    vtimer_disarm(&s->slice);
}
