/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What Xen itself emulates for an HVM guest (toolstack.md 4.4): these accesses never reach
 * the device model. The devices are as simple as a test of a device model needs: registers hold
 * what was written, clocks run, nothing interrupts. Also HVM parameters.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "domain.h"

#define RTC_SIZE 14u
#define PIT_HZ 1193182u
#define PM_HZ 3579545u

struct pit_channel {
    uint16_t reload, latch;
    uint8_t mode, access; /* access: 1 low, 2 high, 3 both */
    bool high_next, latched, write_high;
    uint64_t start;
};

struct xen_devices {
    uint8_t rtc_index, rtc[RTC_SIZE];
    uint8_t pic_imr[2], pic_elcr[2], pic_icw[2];
    struct pit_channel pit[3];
    uint8_t port61;
    uint8_t pm1[4];
    uint32_t ioapic_index, ioapic[0x80];
    uint32_t lapic[0x400];
    uint64_t hpet[0x80];
    char line[128];
    unsigned int line_len;
};

struct xen_devices *xen_devices_new(void)
{
    struct xen_devices *x = g_new0(struct xen_devices, 1);
    unsigned int i;

    x->rtc[10] = 0x26;
    x->rtc[11] = 0x02;
    x->rtc[13] = 0x80;
    x->pic_imr[0] = x->pic_imr[1] = 0xff;
    for (i = 0; i < 48; i++)
        x->ioapic[0x10 + 2 * i] = 0x10000;
    x->lapic[0x030 / 4] = 0x00050014;
    x->hpet[0] = 0x0429b17f8086a201u;
    return x;
}

/* ---- as others see them ---- */

uint8_t xen_pic_mask(const struct domain *d, unsigned int pic)
{
    return d->xen->pic_imr[pic];
}

void xen_ioapic(const struct domain *d, struct hvm_hw_vioapic *to)
{
    memset(to, 0, sizeof(*to));
    for (unsigned int i = 0; i < G_N_ELEMENTS(to->redirtbl); i++)
        to->redirtbl[i].bits = d->xen->ioapic[0x10 + 2 * i] | (uint64_t)d->xen->ioapic[0x11 + 2 * i]
                                                                  << 32;
}

void xen_lapic(const struct domain *d, struct hvm_hw_lapic_regs *to)
{
    memcpy(to->data, d->xen->lapic, sizeof(to->data));
}

static uint64_t now_ticks(uint64_t hz)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * hz + (uint64_t)ts.tv_nsec * hz / 1000000000u;
}

static unsigned int pm_base(const struct domain *d)
{
    return d->params[HVM_PARAM_ACPI_IOPORTS_LOCATION] == 1 ? 0xB000 : 0x1F40;
}

static bool in(uint64_t addr, uint32_t size, uint64_t start, uint64_t len)
{
    return addr >= start && addr + size <= start + len;
}

bool xen_intercept(struct domain *d, const ioreq_t *req)
{
    struct xen_devices *x = d->xen;
    uint64_t a = req->addr;
    uint32_t n = req->size;

    if (req->type == IOREQ_TYPE_COPY)
        return in(a, n, 0xFEC00000, 0x100) || in(a, n, 0xFEE00000, 0x1000) ||
               in(a, n, 0xFED00000, 0x400);
    if (req->type != IOREQ_TYPE_PIO)
        return false;
    if (in(a, n, 0x70, 2)) {
        if (n != 1)
            return true; /* swallowed; reads are all ones */
        if (a == 0x70 && req->dir == IOREQ_WRITE && !req->data_is_ptr) {
            x->rtc_index = req->data & 0x7f;
            return x->rtc_index < RTC_SIZE;
        }
        return x->rtc_index < RTC_SIZE;
    }
    if (a == 0xE9)
        return req->dir == IOREQ_WRITE;
    return in(a, n, 0x20, 2) || in(a, n, 0xA0, 2) || in(a, n, 0x4D0, 2) || in(a, n, 0x40, 4) ||
           in(a, n, 0x61, 1) || in(a, n, 0x80, 1) || in(a, n, 0xED, 1) || in(a, n, pm_base(d), 4) ||
           in(a, n, pm_base(d) + 8, 4);
}

static uint8_t rtc_read(struct xen_devices *x)
{
    time_t t = time(NULL);
    struct tm tm;
    int v;

    gmtime_r(&t, &tm);
    switch (x->rtc_index) {
    case 0:
        v = tm.tm_sec;
        break;
    case 2:
        v = tm.tm_min;
        break;
    case 4:
        v = tm.tm_hour;
        break;
    case 6:
        v = tm.tm_wday + 1;
        break;
    case 7:
        v = tm.tm_mday;
        break;
    case 8:
        v = tm.tm_mon + 1;
        break;
    case 9:
        v = tm.tm_year % 100;
        break;
    default:
        return x->rtc[x->rtc_index];
    }
    return x->rtc[11] & 4 ? (uint8_t)v : (uint8_t)(v / 10 << 4 | v % 10);
}

static uint8_t pit_read(struct pit_channel *c)
{
    uint32_t reload = c->reload ? c->reload : 65536;
    uint16_t count = (uint16_t)(reload - (now_ticks(PIT_HZ) - c->start) % reload);

    if (c->latched)
        count = c->latch;
    if (c->access == 3) {
        c->high_next = !c->high_next;
        if (c->high_next)
            return (uint8_t)count;
        c->latched = false;
        return (uint8_t)(count >> 8);
    }
    c->latched = false;
    return (uint8_t)(c->access == 2 ? count >> 8 : count);
}

static void pit_write(struct xen_devices *x, unsigned int reg, uint8_t v)
{
    struct pit_channel *c;

    if (reg == 3) {
        if (v >> 6 == 3)
            return;
        c = &x->pit[v >> 6];
        if (!(v & 0x30)) {
            uint32_t reload = c->reload ? c->reload : 65536;

            c->latch = (uint16_t)(reload - (now_ticks(PIT_HZ) - c->start) % reload);
            c->latched = true;
            return;
        }
        c->access = v >> 4 & 3;
        c->mode = v >> 1 & 7;
        c->high_next = c->write_high = c->latched = false;
        return;
    }
    c = &x->pit[reg];
    if (c->access == 2 || (c->access == 3 && c->write_high))
        c->reload = (uint16_t)((c->reload & 0xff) | v << 8);
    else
        c->reload = (uint16_t)((c->reload & 0xff00) | v);
    if (c->access == 3)
        c->write_high = !c->write_high;
    c->start = now_ticks(PIT_HZ);
}

static uint64_t mmio_read(struct xen_devices *x, uint64_t a)
{
    if (a >> 12 == 0xFEC00) {
        if ((a & 0xff) < 0x10)
            return x->ioapic_index;
        switch (x->ioapic_index) {
        case 0:
            return 0;
        case 1:
            return 47u << 16 | 0x11;
        default:
            return x->ioapic_index < 0x80 ? x->ioapic[x->ioapic_index] : 0;
        }
    }
    if (a >> 12 == 0xFEE00)
        return x->lapic[(a & 0xfff) / 4];
    if ((a & 0x3f8) == 0xf0)
        return now_ticks(62500000);
    return x->hpet[(a & 0x3ff) / 8] >> ((a & 7) * 8);
}

uint64_t xen_read(struct domain *d, const ioreq_t *req, uint64_t a)
{
    struct xen_devices *x = d->xen;

    if (req->type == IOREQ_TYPE_COPY)
        return mmio_read(x, a);
    if (in(a, req->size, pm_base(d) + 8, 4))
        return req->size == 4 ? now_ticks(PM_HZ) & 0xffffffff : UINT64_MAX;
    if (in(a, req->size, pm_base(d), 4)) {
        uint32_t v = 0;

        memcpy(&v, x->pm1 + (a - pm_base(d)), req->size);
        return v;
    }
    if (req->size != 1)
        return UINT64_MAX;
    switch (a) {
    case 0x21:
    case 0xA1:
        return x->pic_imr[a == 0xA1];
    case 0x20:
    case 0xA0:
        return 0;
    case 0x4D0:
    case 0x4D1:
        return x->pic_elcr[a & 1];
    case 0x40:
    case 0x41:
    case 0x42:
        return pit_read(&x->pit[a & 3]);
    case 0x61:
        /* Bit 4 follows the refresh clock, bit 5 the output of channel 2. */
        return (uint8_t)((x->port61 & 3) | (now_ticks(66287) & 1) << 4 |
                         (now_ticks(PIT_HZ) / 1024 & 1) << 5);
    case 0x71:
        return rtc_read(x);
    default:
        return 0xff;
    }
}

void xen_write(struct domain *d, const ioreq_t *req, uint64_t a, uint64_t v)
{
    struct xen_devices *x = d->xen;
    unsigned int i;

    if (req->type == IOREQ_TYPE_COPY) {
        if (a >> 12 == 0xFEC00) {
            if ((a & 0xff) < 0x10)
                x->ioapic_index = v & 0xff;
            else if (x->ioapic_index < 0x80)
                x->ioapic[x->ioapic_index] = (uint32_t)v;
        } else if (a >> 12 == 0xFEE00) {
            x->lapic[(a & 0xfff) / 4] = (uint32_t)v;
        } else if ((a & 0x3ff) >= 0x10) {
            x->hpet[(a & 0x3ff) / 8] = v;
        }
        return;
    }
    if (in(a, req->size, pm_base(d), 4)) {
        for (i = 0; i < req->size; i++) {
            unsigned int off = (unsigned int)(a - pm_base(d)) + i;
            uint8_t b = (uint8_t)(v >> (8 * i));

            if (off < 2)
                x->pm1[off] &= (uint8_t)~b; /* status: write 1 to clear */
            else
                x->pm1[off] = b;
        }
        return;
    }
    if (req->size != 1)
        return;
    switch (a) {
    case 0x20:
    case 0xA0:
        if (v & 0x10)
            x->pic_icw[a == 0xA0] = v & 1 ? 3 : 2;
        break;
    case 0x21:
    case 0xA1:
        if (x->pic_icw[a == 0xA1])
            x->pic_icw[a == 0xA1]--;
        else
            x->pic_imr[a == 0xA1] = (uint8_t)v;
        break;
    case 0x4D0:
    case 0x4D1:
        x->pic_elcr[a & 1] = (uint8_t)v;
        break;
    case 0x40:
    case 0x41:
    case 0x42:
    case 0x43:
        pit_write(x, a & 3, (uint8_t)v);
        break;
    case 0x61:
        x->port61 = v & 3;
        break;
    case 0x71:
        if (x->rtc_index >= 10 && x->rtc_index < 12)
            x->rtc[x->rtc_index] = (uint8_t)v;
        else if (x->rtc_index < 10)
            x->rtc[x->rtc_index] = (uint8_t)v;
        break;
    case 0xE9:
        if (v == '\n' || x->line_len == sizeof(x->line) - 1) {
            x->line[x->line_len] = 0;
            host_log(d->host, "d%u guest: %s", d->id, x->line);
            x->line_len = 0;
        } else if (v >= 32 && v < 127) {
            x->line[x->line_len++] = (char)v;
        }
        break;
    default:
        break;
    }
}

/* ---- parameters ---- */

static bool param_deprecated(uint32_t index)
{
    switch (index) {
    case HVM_PARAM_PAE_ENABLED:
    case HVM_PARAM_DM_DOMAIN:
    case HVM_PARAM_MEMORY_EVENT_CR0:
    case HVM_PARAM_MEMORY_EVENT_CR3:
    case HVM_PARAM_MEMORY_EVENT_CR4:
    case HVM_PARAM_MEMORY_EVENT_INT3:
    case HVM_PARAM_NESTEDHVM:
    case HVM_PARAM_MEMORY_EVENT_SINGLE_STEP:
    case HVM_PARAM_BUFIOREQ_EVTCHN:
    case HVM_PARAM_MEMORY_EVENT_MSR:
        return true;
    default:
        return false;
    }
}

int param_get(struct domain *d, uint32_t index, uint64_t *value)
{
    if (index >= XE_MAX_PARAMS || param_deprecated(index))
        return -EINVAL;
    *value = d->params[index];
    return 0;
}

int param_set(struct domain *d, uint32_t index, uint64_t value)
{
    if (index >= XE_MAX_PARAMS || param_deprecated(index))
        return -EINVAL;
    switch (index) {
    case HVM_PARAM_VIRIDIAN:
    case HVM_PARAM_IOREQ_PFN:
    case HVM_PARAM_BUFIOREQ_PFN:
    case HVM_PARAM_IOREQ_SERVER_PFN:
    case HVM_PARAM_NR_IOREQ_SERVER_PAGES:
        if (d->params[index] && d->params[index] != value)
            return -EEXIST;
        break;
    case HVM_PARAM_ACPI_S_STATE:
        if (value != 0 && value != 3)
            return -EINVAL;
        break;
    case HVM_PARAM_ACPI_IOPORTS_LOCATION:
        if (value > 1)
            return -EINVAL;
        break;
    default:
        break;
    }
    d->params[index] = value;
    return 0;
}
