/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hypervisor, and machines on it, for unit tests. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <xendm/device.h>
#include <xendm/pci.h>
#include <xendm/regs.h>
#include <xendm/state.h>

#include "fakes.h"

#define LOW_RAM (UINT64_C(16) << 20)
#define HIGH_RAM (UINT64_C(1) << 20)
#define WAIT_SECONDS 10

/* ---- what devices ask of the hypervisor ---- */

void hv_isa_irq_set(struct hypervisor *hv, unsigned irq, bool level)
{
    g_assert_cmpuint(irq, <, 16);
    hv->isa_level[irq] = level;
    hv->isa_changes[irq]++;
}

void hv_pci_intx_set(struct hypervisor *hv, unsigned device, unsigned pin, bool level)
{
    g_assert_cmpuint(device, <, 32);
    g_assert_cmpuint(pin, <, 4);
    hv->intx_level[device][pin] = level;
    hv->intx_changes++;
}

void hv_pci_link_route(struct hypervisor *hv, unsigned link, unsigned isa_irq)
{
    g_assert_cmpuint(link, <, 4);
    g_assert_cmpuint(isa_irq, <, 16);
    hv->link_route[link] = isa_irq;
}

void hv_msi_inject(struct hypervisor *hv, uint64_t address, uint32_t data)
{
    hv->msi_count++;
    hv->msi_address = address;
    hv->msi_data = data;
}

int hvs_range_add(struct hv_server *s, enum hv_space space, uint64_t first, uint64_t last)
{
    struct hypervisor *hv = s->hv;

    g_assert_cmpuint(first, <=, last);
    if (hv->fail_range_add) {
        int error = abs(hv->fail_range_add);

        hv->fail_range_add = 0;
        return -error;
    }
    hv->ranges_added++;
    return 0;
}

void hvs_range_del(struct hv_server *s, enum hv_space space, uint64_t first, uint64_t last)
{
    struct hypervisor *hv = s->hv;

    hv->ranges_deleted++;
    g_assert_cmpuint(hv->ranges_deleted, <=, hv->ranges_added);
}

int hvs_pci_function_add(struct hv_server *s, unsigned devfn)
{
    struct hypervisor *hv = s->hv;

    g_assert_cmpuint(devfn, <, 256);
    g_assert_false(hv->function[devfn]);
    hv->function[devfn] = true;
    return 0;
}

void hvs_pci_function_del(struct hv_server *s, unsigned devfn)
{
    struct hypervisor *hv = s->hv;

    g_assert_true(hv->function[devfn]);
    hv->function[devfn] = false;
}

int hv_shutdown(struct hypervisor *hv, enum hv_shutdown reason)
{
    if (hv->fail_shutdown) {
        return -hv->fail_shutdown;
    }
    if (hv->shutdowns++ == 0) {
        hv->shutdown_reason = reason;
    }
    return 0;
}

int hv_acpi_s_state_set(struct hypervisor *hv, unsigned state)
{
    if (hv->fail_s_state) {
        return -abs(hv->fail_s_state);
    }
    hv->s_state = state;
    return 0;
}

/* ---- video memory: one range at a time ---- */

int hv_memory_populate(struct hypervisor *hv, uint64_t gfn, size_t pages)
{
    if (hv->fail_populate) {
        return -abs(hv->fail_populate);
    }
    g_assert_null(hv->vram);
    hv->vram = g_malloc0(pages * GUEST_PAGE_SIZE);
    hv->vram_gfn = gfn;
    hv->vram_pages = pages;
    return 0;
}

int hv_memory_relocate(struct hypervisor *hv, uint64_t from_gfn, uint64_t to_gfn, size_t pages)
{
    if (hv->fail_relocate) {
        return -abs(hv->fail_relocate);
    }
    if (!hv->vram || pages > hv->vram_pages) {
        return -EINVAL;
    }
    if (hv->vram_moving && from_gfn - hv->vram_moving <= hv->vram_pages - pages) {
        return 0; /* back */
    }
    if (from_gfn - hv->vram_gfn > hv->vram_pages - pages) {
        return -EINVAL;
    }
    hv->vram_moving = to_gfn - (from_gfn - hv->vram_gfn);
    if (from_gfn - hv->vram_gfn == hv->vram_pages - pages) {
        hv->vram_gfn = hv->vram_moving;
        hv->vram_moving = 0;
        hv->relocations++;
    }
    return 0;
}

void hv_memory_write_combine(struct hypervisor *hv, uint64_t gfn, size_t pages, bool on)
{
    hv->write_combine = on;
}

void hv_memory_modified(struct hypervisor *hv, uint64_t gfn, size_t pages)
{
    hv->modified_pages += pages;
}

int hv_memory_dirty(struct hypervisor *hv, uint64_t gfn, size_t pages, uint64_t *bitmap)
{
    size_t words = (pages + 63) / 64;

    if (pages == 0) {
        return 0;
    }
    if (hv->dirty) {
        memcpy(bitmap, hv->dirty, words * sizeof(uint64_t));
    } else {
        memset(bitmap, 0xff, words * sizeof(uint64_t));
    }
    return 0;
}

void *hv_memory_map(struct hypervisor *hv, uint64_t gfn, size_t pages)
{
    if (!hv->vram || gfn < hv->vram_gfn || gfn - hv->vram_gfn > hv->vram_pages ||
        pages > hv->vram_pages - (gfn - hv->vram_gfn)) {
        errno = EFAULT;
        return NULL;
    }
    return hv->vram + (gfn - hv->vram_gfn) * GUEST_PAGE_SIZE;
}

void hv_memory_unmap(struct hypervisor *hv, void *ptr, size_t pages)
{
}

/* ---- machines ---- */

struct machine *fake_machine_new(void)
{
    struct hypervisor *hv = g_new0(struct hypervisor, 1);
    struct machine *m;

    hv->server.hv = hv;
    m = machine_new(hv, &hv->server, fake_guestmem_new(LOW_RAM, HIGH_RAM), vclock_new(NULL, NULL));

    m->ram_low_end = LOW_RAM;
    m->ram_high_end = (UINT64_C(4) << 30) + HIGH_RAM;
    m->vcpus = m->vcpus_online = 1;
    m->domid = 1;
    vclock_start(m->clock);
    return m;
}

void fake_string_in(struct aspace *as, uint64_t addr, void *buf, unsigned size, size_t count)
{
    for (size_t done = aspace_read_block(as, addr, buf, size, count); done < count; done++) {
        uint64_t value = aspace_read(as, addr, size);

        memcpy((uint8_t *)buf + done * size, &value, size);
    }
}

void fake_string_out(struct aspace *as, uint64_t addr, const void *buf, unsigned size, size_t count)
{
    for (size_t done = aspace_write_block(as, addr, buf, size, count); done < count; done++) {
        uint64_t value = 0;

        memcpy(&value, (const uint8_t *)buf + done * size, size);
        aspace_write(as, addr, value, size);
    }
}

void fake_machine_free(struct machine *m)
{
    struct hypervisor *hv = m->hv;
    struct guestmem *memory = m->memory;
    struct vclock *clock = m->clock;

    machine_free(m);
    vclock_free(clock);
    fake_guestmem_free(memory);
    g_assert_cmpuint(hv->ranges_added, ==, hv->ranges_deleted);
    for (unsigned i = 0; i < 256; i++) {
        g_assert_false(hv->function[i]);
    }
    g_free(hv->vram);
    g_free(hv);
}

void fake_clock_step(struct machine *m, int64_t ns)
{
    int64_t end = vclock_now(m->clock) + ns;
    unsigned turns = 0;

    if (!vclock_running(m->clock)) {
        return;
    }
    for (;;) {
        int64_t next = vclock_next_deadline(m->clock);

        if (next == VTIMER_OFF || next > end || !vclock_running(m->clock)) {
            break;
        }
        /* A device that keeps arming a timer for the past would hang the daemon's loop. */
        g_assert_cmpuint(turns++, <, 1000000);
        if (next > vclock_now(m->clock)) {
            vclock_set(m->clock, next);
        }
        vclock_run(m->clock);
    }
    if (vclock_running(m->clock)) {
        vclock_set(m->clock, end);
    }
}

static struct device *realize(struct machine *m, const struct device_class *class, const char *id,
                              bool pci, int devfn, va_list ap)
{
    GError *err = NULL;
    struct device *dev = device_new(m, class, id, &err);
    const char *setting;

    g_assert_no_error(err);
    if (pci) {
        pci_device_attach(m->pci, (struct pci_device *)dev, devfn, &err);
        g_assert_no_error(err);
    }
    while ((setting = va_arg(ap, const char *)) != NULL) {
        const char *equals = strchr(setting, '=');
        g_autofree char *name = NULL;

        g_assert_nonnull(equals);
        name = g_strndup(setting, (gsize)(equals - setting));
        device_set(dev, name, equals + 1, &err);
        g_assert_no_error(err);
    }
    device_realize(dev, &err);
    g_assert_no_error(err);
    /* As after power on, for tests that do not go through machine_complete(). */
    if (m->state == MACHINE_BUILDING) {
        if (pci_device_is(dev)) {
            pci_device_reset((struct pci_device *)dev);
        }
        device_reset(dev, RESET_COLD);
    }
    return dev;
}

struct device *fake_device(struct machine *m, const struct device_class *class, const char *id, ...)
{
    struct device *dev;
    va_list ap;

    va_start(ap, id);
    dev = realize(m, class, id, false, 0, ap);
    va_end(ap);
    return dev;
}

struct device *fake_pci_device(struct machine *m, const struct device_class *class, int devfn, ...)
{
    struct device *dev;
    va_list ap;

    va_start(ap, devfn);
    dev = realize(m, class, NULL, true, devfn, ap);
    va_end(ap);
    return dev;
}

static gboolean waited_too_long(gpointer opaque)
{
    g_error("waited %d seconds in vain", WAIT_SECONDS);
    return G_SOURCE_REMOVE;
}

void fake_wait(const bool *flag)
{
    guint timeout = g_timeout_add_seconds(WAIT_SECONDS, waited_too_long, NULL);

    while (!*flag) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_source_remove(timeout);
}

/* ---- saved state of one device ---- */

static GByteArray *save_section(const struct state_desc *desc, struct device *dev)
{
    GByteArray *bytes = g_byte_array_new();

    state_save(desc, dev, bytes);
    return bytes;
}

static void section_round_trip(const struct state_desc *desc, struct device *dev,
                               struct device *into)
{
    GByteArray *saved = save_section(desc, dev);
    GError *err = NULL;
    struct state_plan *plan =
        state_parse_sized(desc, dev->class->size, saved->data, saved->len, &err);
    GByteArray *again;

    g_assert_no_error(err);
    for (unsigned i = 0; desc == dev->class->state && i < into->banks->len; i++) {
        g_assert_true(reg_bank_fits(g_ptr_array_index(into->banks, i), plan, &err));
    }
    g_assert_true(state_fits(plan, into, &err));
    g_assert_no_error(err);
    state_apply(plan, into);
    state_plan_free(plan);
    again = save_section(desc, into);
    g_assert_cmpmem(saved->data, saved->len, again->data, again->len);
    g_byte_array_free(saved, TRUE);
    g_byte_array_free(again, TRUE);
}

void fake_state_round_trip(struct device *dev, struct device *into)
{
    g_assert_true(dev->class == into->class);
    g_assert_true(dev->machine != into->machine);
    if (pci_device_is(dev)) {
        section_round_trip(&pci_state, dev, into);
    }
    if (dev->class->state) {
        section_round_trip(dev->class->state, dev, into);
    }
}
