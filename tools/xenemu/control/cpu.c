/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command: the registers of the virtual CPU that a client plays, as others see them. */
#include <inttypes.h>
#include <string.h>
#include "../host/cpu.h"
#include "../host/domain.h"
#include "commands.h"
#include "qtest.h"
#include "words.h"

static void print_register(void *opaque, const char *name, uint64_t value)
{
    g_string_append_printf(opaque, " %s=0x%" PRIx64, name, value);
}

/* cpu [NAME=VALUE]... */
char *cmd_cpu(struct cmd *c)
{
    struct cpu *cpu = &c->d->vcpu[c->s->vcpu].cpu;
    GString *t;

    for (unsigned int i = 1; i < c->n; i++) {
        char *value = strchr(c->w[i], '=');
        unsigned int size = 0;
        uint64_t v = 0;
        void *at;

        if (!value || !parse_u64(value + 1, &v))
            return fail("%s is not NAME=VALUE", c->w[i]);
        *value = 0;
        at = cpu_register(cpu, c->w[i], &size);
        if (!at)
            return fail("no register is called %s", c->w[i]);
        memcpy(at, &v, size);
    }
    t = g_string_new("OK");
    cpu_foreach_register(cpu, print_register, t);
    return g_string_free(t, FALSE);
}
