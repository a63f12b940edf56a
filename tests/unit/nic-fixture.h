/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine with one network card, on a cable of the test's own (fake-net.h). */
#ifndef TESTS_NIC_FIXTURE_H
#define TESTS_NIC_FIXTURE_H

#include <xendm/turn.h>

#include "fake-net.h"
#include "pc-common.h"

#define DEVFN PCI_DEVFN(4, 0)

static const uint8_t own_mac[6] = {0x00, 0x16, 0x3e, 0x0a, 0x0b, 0x0c};

struct box {
    struct machine *m;
    struct device *dev;
    struct net *net;
    unsigned tail; /* of a transmit ring, where the test fills one */
};

static inline struct box box_with(const struct device_class *class, uint32_t bar0, uint32_t bar1)
{
    struct box b = {.m = fake_machine_new(), .net = fake_net_new()};
    GError *err = NULL;

    b.dev = device_new(b.m, class, NULL, &err);
    g_assert_no_error(err);
    g_assert_cmpint(device_set(b.dev, "mac", "00:16:3e:0a:0b:0c", &err), ==, 0);
    device_set_backend(b.dev, "netdev", &b.net->backend);
    pci_device_attach(b.m->pci, (struct pci_device *)b.dev, DEVFN, &err);
    g_assert_no_error(err);
    device_realize(b.dev, &err);
    g_assert_no_error(err);
    start(b.m);
    pci_config_write(b.m->pci, DEVFN, 0x10, bar0, 4);
    pci_config_write(b.m->pci, DEVFN, 0x14, bar1, 4);
    pci_config_write(b.m->pci, DEVFN, 0x04, 7, 2);
    return b;
}

static inline void box_free(struct box *b)
{
    fake_machine_free(b->m);
    fake_net_free(b->net);
}

static inline uint8_t *mem(struct box *b, uint64_t gpa)
{
    return fake_guestmem_ptr(b->m->memory, gpa);
}

static inline void st32(struct box *b, uint64_t gpa, uint32_t v)
{
    memcpy(mem(b, gpa), &v, 4);
}

/* From here on the turn is used up, until turn_start(). */
static inline void use_up_turn(void)
{
    turn_begin();
    while (!turn_is_used_up()) {
    }
}

static inline bool line(struct box *b)
{
    return b->m->hv->intx_level[4][0];
}

static inline void fill(uint8_t *f, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++) {
        f[i] = (uint8_t)(i * 3 + seed);
    }
}

#endif
