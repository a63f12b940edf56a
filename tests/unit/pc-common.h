/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of the PC's chips share: port accesses, and hostile ones with a fixed seed. */
#ifndef XENDM_TEST_PC_COMMON_H
#define XENDM_TEST_PC_COMMON_H

#include <string.h>

#include <xendm/aspace.h>
#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/machine.h>
#include <xendm/pci.h>

#include "fakes.h"

#define FUZZ_STEPS 100000u

struct fuzz_range {
    uint16_t first, size;
};

static inline uint32_t in(struct machine *m, uint16_t port, unsigned size)
{
    return (uint32_t)aspace_read(m->pio, port, size);
}

static inline uint8_t inb(struct machine *m, uint16_t port)
{
    return (uint8_t)in(m, port, 1);
}

static inline void out(struct machine *m, uint16_t port, uint32_t value, unsigned size)
{
    aspace_write(m->pio, port, value, size);
}

static inline void outb(struct machine *m, uint16_t port, uint8_t value)
{
    out(m, port, value, 1);
}

static inline void count_line(void *opaque, const char *text)
{
    g_assert_nonnull(text);
    g_assert_null(strchr(text, '\n'));
    ++*(unsigned *)opaque;
}

/* `ranges` ends with size 0; devfn -1: no configuration accesses. */
static inline void fuzz_step(struct machine *m, GRand *rand, const struct fuzz_range *ranges,
                             int devfn)
{
    static const unsigned sizes[] = {1, 2, 4};
    uint32_t choice = g_rand_int(rand);
    uint32_t value = g_rand_int(rand);
    unsigned size = sizes[choice % 3];
    unsigned n = 0, total = 0;
    uint16_t port;

    if (devfn >= 0 && (choice >> 8) % 4 == 0) {
        unsigned reg = g_rand_int(rand) % PCI_CONFIG_SIZE;

        if (choice & 0x10000) {
            pci_config_read(m->pci, (unsigned)devfn, reg, size);
        } else {
            pci_config_write(m->pci, (unsigned)devfn, reg, value, size);
        }
        return;
    }
    if ((choice >> 20) % 512 == 0) {
        fake_clock_step(m, value % (50 * NS_PER_MS));
        return;
    }
    while (ranges[n].size) {
        total += ranges[n++].size;
    }
    value %= total;
    for (n = 0; value >= ranges[n].size; n++) {
        value -= ranges[n].size;
    }
    port = (uint16_t)(ranges[n].first + value);
    value = g_rand_int(rand);
    if (choice & 0x10000) {
        in(m, port, size);
    } else {
        out(m, port, value, size);
    }
}

static inline void fuzz(struct machine *m, uint32_t seed, const struct fuzz_range *ranges,
                        int devfn, unsigned steps)
{
    GRand *rand = g_rand_new_with_seed(seed);

    for (unsigned i = 0; i < steps; i++) {
        fuzz_step(m, rand, ranges, devfn);
    }
    g_rand_free(rand);
}

/* Saved state with bytes changed: refused, or harmless. The device is used for nothing else
 * afterwards. */
static inline void fuzz_state(struct device *dev, uint32_t seed, const struct fuzz_range *ranges,
                              int devfn)
{
    GRand *rand = g_rand_new_with_seed(seed);
    GByteArray *good = g_byte_array_new();
    unsigned accepted = 0, refused = 0, lines = 0;

    state_save(dev->class->state, dev, good);
    for (unsigned i = 0; i < 2000; i++) {
        GByteArray *bad = g_byte_array_new();
        struct state_plan *plan;
        GError *err = NULL;

        g_byte_array_append(bad, good->data, good->len);
        for (unsigned k = 1 + g_rand_int(rand) % 3; k > 0; k--) {
            bad->data[g_rand_int(rand) % bad->len] = (uint8_t)g_rand_int(rand);
        }
        plan = state_parse(dev->class->state, bad->data, bad->len, &err);
        if (plan) {
            state_apply(plan, dev);
            state_plan_free(plan);
            accepted++;
            for (unsigned k = 0; k < 20; k++) {
                fuzz_step(dev->machine, rand, ranges, devfn);
            }
            if (dev->class->describe) {
                struct facts *facts = facts_new();

                dev->class->describe(dev, facts);
                facts_foreach_line(facts, count_line, &lines);
                facts_free(facts);
            }
        } else {
            g_assert_nonnull(err);
            g_clear_error(&err);
            refused++;
        }
        g_byte_array_free(bad, TRUE);
    }
    g_test_message("%s: %u changed states accepted, %u refused", dev->class->name, accepted,
                   refused);
    g_assert_cmpuint(accepted, >, 0);
    g_assert_cmpuint(refused, >, 0);
    g_byte_array_free(good, TRUE);
    g_rand_free(rand);
}

static inline void start(struct machine *m)
{
    machine_complete(m);
    machine_start(m);
}

#endif
