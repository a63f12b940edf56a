/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupt lines: many sources, one wire, calls on change only. */
#include <xendm/irq.h>

#include "fakes.h"

struct wire {
    unsigned calls;
    bool level;
};

static void on_set(void *opaque, unsigned number, bool level)
{
    struct wire *w = opaque;

    g_assert_cmpuint(number, ==, 7);
    g_assert_true(w->level != level);
    w->level = level;
    w->calls++;
}

static void test_shared(void)
{
    struct wire w = {0};
    struct irq_line line;
    struct irq a = {0}, b = {0};

    irq_line_init(&line, on_set, &w, 7);
    irq_connect(&a, &line);
    irq_connect(&b, &line);
    g_assert_cmpuint(w.calls, ==, 0);
    irq_set(&a, false);
    g_assert_cmpuint(w.calls, ==, 0);
    irq_set(&a, true);
    irq_set(&a, true);
    irq_set(&b, true);
    g_assert_cmpuint(w.calls, ==, 1);
    irq_set(&a, false);
    g_assert_true(w.level && irq_line_level(&line));
    irq_set(&b, false);
    g_assert_false(w.level);
    g_assert_cmpuint(w.calls, ==, 2);
    g_assert_cmpuint(line.changes, ==, 2);
}

static void test_pulse(void)
{
    struct wire w = {0};
    struct irq_line line;
    struct irq a = {0}, b = {0};

    irq_line_init(&line, on_set, &w, 7);
    irq_connect(&a, &line);
    irq_connect(&b, &line);
    irq_pulse(&a);
    g_assert_cmpuint(w.calls, ==, 2);
    irq_set(&b, true);
    irq_pulse(&a); /* the wire is high already: no edge */
    g_assert_cmpuint(w.calls, ==, 3);
}

static void test_connect(void)
{
    struct wire w = {0};
    struct irq_line line, other;
    struct irq a = {0};

    irq_set(&a, true); /* not connected: no effect */
    g_assert_false(a.level);
    irq_line_init(&line, on_set, &w, 7);
    irq_line_init(&other, on_set, &w, 7);
    irq_connect(&a, &line);
    irq_set(&a, true);
    irq_connect(&a, &other);
    g_assert_false(irq_line_level(&line));
    g_assert_false(a.level);
    irq_set(&a, true);
    irq_connect(&a, NULL);
    g_assert_false(irq_line_level(&other));
    g_assert_cmpuint(w.calls, ==, 4);
}

static void test_restore(void)
{
    struct wire w = {0};
    struct irq_line line;
    struct irq a = {0}, b = {0};

    irq_line_init(&line, on_set, &w, 7);
    irq_connect(&a, &line);
    irq_connect(&b, &line);
    irq_restore(&a, true);
    irq_restore(&a, true);
    irq_restore(&b, false);
    g_assert_cmpuint(w.calls, ==, 0);
    g_assert_true(irq_line_level(&line));
    w.level = true; /* as the hypervisor's own saved state has it */
    irq_set(&b, true);
    g_assert_cmpuint(w.calls, ==, 0);
    irq_restore(&a, false);
    g_assert_true(irq_line_level(&line));
    irq_set(&b, false);
    g_assert_cmpuint(w.calls, ==, 1);
    g_assert_false(w.level);
}

/* Random levels of many sources against an OR. */
static void test_random(void)
{
    GRand *rand = g_rand_new_with_seed(5);
    struct wire w = {0};
    struct irq_line line;
    struct irq source[9] = {0};

    irq_line_init(&line, on_set, &w, 7);
    for (unsigned i = 0; i < 9; i++) {
        irq_connect(&source[i], &line);
    }
    for (unsigned turn = 0; turn < 5000; turn++) {
        bool any = false;

        irq_set(&source[g_rand_int_range(rand, 0, 9)], g_rand_boolean(rand));
        for (unsigned i = 0; i < 9; i++) {
            any |= source[i].level;
        }
        g_assert_true(w.level == any && irq_line_level(&line) == any);
    }
    g_rand_free(rand);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/irq/shared", test_shared);
    g_test_add_func("/irq/pulse", test_pulse);
    g_test_add_func("/irq/connect", test_connect);
    g_test_add_func("/irq/restore", test_restore);
    g_test_add_func("/irq/random", test_random);
    return g_test_run();
}
