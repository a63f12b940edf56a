/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vCPUs' registers; see cpu.h. Intel's SDM, volume 3, sections 4.3 to 4.5: the page tables. */
#include "cpu.h"

enum {
    CR0_PE = 1u << 0,
    CR0_PG = 1u << 31,
    CR4_PSE = 1u << 4,
    CR4_PAE = 1u << 5,
    CR4_LA57 = 1u << 12,
    EFER_LMA = 1u << 10,
    RFLAGS_VM = 1u << 17,
    /* of a segment, as Xen has them: the descriptor's bits without the limit's between them */
    SEGMENT_DPL_SHIFT = 5,
    SEGMENT_L = 1u << 9,
    SEGMENT_DB = 1u << 10,
    ENTRY_PRESENT = 1u << 0,
    ENTRY_LARGE = 1u << 7,
};

#define ENTRY_ADDRESS UINT64_C(0x000ffffffffff000)

enum cpu_mode cpu_mode(const struct hvm_hw_cpu *regs)
{
    if (!(regs->cr0 & CR0_PE)) {
        return CPU_REAL;
    }
    if ((regs->msr_efer & EFER_LMA) && (regs->cs_arbytes & SEGMENT_L)) {
        return CPU_64;
    }
    if (regs->rflags & RFLAGS_VM) {
        return CPU_V86;
    }
    return regs->cs_arbytes & SEGMENT_DB ? CPU_32 : CPU_16;
}

const char *cpu_mode_name(enum cpu_mode mode)
{
    static const char *const names[] = {
        [CPU_REAL] = "real mode",           [CPU_V86] = "virtual 8086 mode",
        [CPU_16] = "16-bit protected mode", [CPU_32] = "32-bit mode",
        [CPU_64] = "64-bit mode",
    };

    return names[mode];
}

unsigned cpu_bits(enum cpu_mode mode)
{
    return mode == CPU_64 ? 64 : mode == CPU_32 ? 32 : 16;
}

unsigned cpu_level(const struct hvm_hw_cpu *regs)
{
    switch (cpu_mode(regs)) {
    case CPU_REAL:
        return 0;
    case CPU_V86:
        return 3;
    default:
        return regs->ss_arbytes >> SEGMENT_DPL_SHIFT & 3;
    }
}

uint64_t cpu_instruction(const struct hvm_hw_cpu *regs)
{
    if (cpu_mode(regs) == CPU_64) {
        return regs->rip;
    }
    return (uint32_t)(regs->cs_base + regs->rip);
}

static bool entry(struct xen *x, uint64_t table, unsigned index, unsigned size, uint64_t *to)
{
    *to = 0;
    return xen_read(x, (table & ENTRY_ADDRESS) + index * size, to, size) == size &&
           (*to & ENTRY_PRESENT);
}

/* Four and five levels, and PAE's two below its own top: nine bits each. */
static bool walk_long(struct xen *x, uint64_t table, int level, uint64_t linear, uint64_t *to)
{
    uint64_t e;

    for (; level > 0; level--) {
        unsigned shift = 12 + 9 * ((unsigned)level - 1);

        if (!entry(x, table, linear >> shift & 0x1ff, 8, &e)) {
            return false;
        }
        if (level == 1 || (level <= 3 && (e & ENTRY_LARGE))) {
            uint64_t page = (UINT64_C(1) << shift) - 1;

            *to = (e & ENTRY_ADDRESS & ~page) | (linear & page);
            return true;
        }
        table = e;
    }
    return false;
}

static bool walk_pae(struct xen *x, uint64_t cr3, uint32_t linear, uint64_t *to)
{
    uint64_t e = 0;

    return xen_read(x, (cr3 & 0xffffffe0) + (linear >> 30) * 8, &e, 8) == 8 &&
           (e & ENTRY_PRESENT) && walk_long(x, e, 2, linear, to);
}

static bool walk_32(struct xen *x, const struct hvm_hw_cpu *regs, uint32_t linear, uint64_t *to)
{
    uint64_t e;

    if (!entry(x, (uint32_t)regs->cr3, linear >> 22, 4, &e)) {
        return false;
    }
    if ((e & ENTRY_LARGE) && (regs->cr4 & CR4_PSE)) {
        /* bits 13 to 20 are the address' bits 32 to 39 */
        *to = (e & 0xffc00000) | (e & 0x1fe000) << 19 | (linear & 0x3fffff);
        return true;
    }
    if (!entry(x, e, linear >> 12 & 0x3ff, 4, &e)) {
        return false;
    }
    *to = (e & 0xfffff000) | (linear & 0xfff);
    return true;
}

bool cpu_translate(struct xen *x, const struct hvm_hw_cpu *regs, uint64_t linear, uint64_t *to)
{
    if (!(regs->cr0 & CR0_PE) || !(regs->cr0 & CR0_PG)) {
        *to = linear;
        return true;
    }
    if (regs->msr_efer & EFER_LMA) {
        return walk_long(x, regs->cr3, regs->cr4 & CR4_LA57 ? 5 : 4, linear, to);
    }
    return regs->cr4 & CR4_PAE ? walk_pae(x, regs->cr3, (uint32_t)linear, to)
                               : walk_32(x, regs, (uint32_t)linear, to);
}

static size_t access_linear(struct xen *x, const struct hvm_hw_cpu *regs, uint64_t linear,
                            void *data, size_t size, bool write)
{
    size_t done = 0;

    while (done < size) {
        size_t n = MIN(size - done, 4096 - (linear + done) % 4096);
        uint64_t address;

        if (!cpu_translate(x, regs, linear + done, &address) ||
            (write ? xen_write(x, address, (char *)data + done, n)
                   : xen_read(x, address, (char *)data + done, n)) != n) {
            break;
        }
        done += n;
    }
    return done;
}

size_t cpu_read(struct xen *x, const struct hvm_hw_cpu *regs, uint64_t linear, void *to,
                size_t size)
{
    return access_linear(x, regs, linear, to, size, false);
}

size_t cpu_write(struct xen *x, const struct hvm_hw_cpu *regs, uint64_t linear, const void *from,
                 size_t size)
{
    return access_linear(x, regs, linear, (void *)(uintptr_t)from, size, true);
}
