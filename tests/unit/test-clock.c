/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtual clock and timers. */
#include <string.h>

#include <xendm/clock.h>

#include "fakes.h"

static GString *fired;

static void note(void *opaque)
{
    g_string_append(fired, opaque);
}

static struct vclock *manual(void)
{
    struct vclock *clock = vclock_new(NULL, NULL);

    fired = g_string_new(NULL);
    vclock_start(clock);
    return clock;
}

static void done(struct vclock *clock)
{
    vclock_free(clock);
    g_string_free(fired, TRUE);
}

static void test_order(void)
{
    struct vclock *clock = manual();
    struct vtimer t[5];

    for (unsigned i = 0; i < 5; i++) {
        static char names[] = "a\0b\0c\0d\0e";

        vtimer_init(&t[i], clock, "test", note, names + 2 * i);
        g_assert_false(vtimer_armed(&t[i]));
    }
    g_assert_cmpint(vclock_next_deadline(clock), ==, VTIMER_OFF);
    vtimer_arm(&t[0], 30);
    vtimer_arm(&t[1], 10);
    vtimer_arm(&t[2], 20);
    vtimer_arm(&t[3], 10); /* the same as b: in order of arming */
    vtimer_arm_in(&t[4], 100);
    g_assert_cmpint(vclock_next_deadline(clock), ==, 10);
    vclock_run(clock);
    g_assert_cmpstr(fired->str, ==, "");
    vclock_set(clock, 9);
    vclock_run(clock);
    g_assert_cmpstr(fired->str, ==, "");
    vclock_set(clock, 25);
    vclock_run(clock);
    g_assert_cmpstr(fired->str, ==, "bdc");
    g_assert_false(vtimer_armed(&t[1]));
    /* Moved later, then disarmed twice. */
    vtimer_arm(&t[0], 40);
    vclock_set(clock, 35);
    vclock_run(clock);
    g_assert_cmpstr(fired->str, ==, "bdc");
    vtimer_disarm(&t[0]);
    vtimer_disarm(&t[0]);
    vclock_set(clock, 99);
    vclock_run(clock);
    g_assert_cmpstr(fired->str, ==, "bdc");
    vclock_set(clock, 100);
    vclock_run(clock);
    g_assert_cmpstr(fired->str, ==, "bdce");
    /* Extremes do not overflow. */
    vtimer_arm_in(&t[0], INT64_MAX);
    g_assert_cmpint(t[0].deadline, ==, INT64_MAX);
    vtimer_arm_in(&t[1], -5);
    g_assert_cmpint(t[1].deadline, ==, 100);
    vtimer_arm(&t[2], VTIMER_OFF);
    g_assert_true(vtimer_armed(&t[2]));
    vclock_run(clock);
    g_assert_cmpstr(fired->str, ==, "bdcecb");
    vtimer_disarm(&t[0]);
    done(clock);
}

struct rearming {
    struct vtimer t, other;
    unsigned count;
    int64_t delay;
};

static void again(void *opaque)
{
    struct rearming *r = opaque;

    r->count++;
    vtimer_arm_in(&r->t, r->delay);
    vtimer_disarm(&r->other);
}

/* A callback that arms itself for now or for the past fires once per run, and run returns. */
static void test_rearm_in_callback(void)
{
    struct vclock *clock = manual();
    struct rearming r = {.delay = 0};

    vtimer_init(&r.t, clock, "again", again, &r);
    vtimer_init(&r.other, clock, "other", note, (char[]){"x"});
    vclock_set(clock, 1000);
    vtimer_arm(&r.t, 5);
    vtimer_arm(&r.other, 6);
    vclock_run(clock);
    g_assert_cmpuint(r.count, ==, 1);
    g_assert_cmpstr(fired->str, ==, ""); /* disarmed by the first while it was due */
    g_assert_cmpint(vclock_next_deadline(clock), ==, 1000);
    vclock_run(clock);
    g_assert_cmpuint(r.count, ==, 2);
    r.delay = 10;
    vclock_run(clock);
    vclock_run(clock);
    g_assert_cmpuint(r.count, ==, 3);
    g_assert_cmpint(r.t.deadline, ==, 1010);
    vtimer_disarm(&r.t);
    done(clock);
}

struct pair {
    struct vtimer a, b;
};

static void arm_and_disarm(void *opaque)
{
    struct pair *p = opaque;

    /* Both wait for the next run; one changes its mind, twice. */
    vtimer_arm(&p->a, 1);
    vtimer_arm(&p->b, 2);
    vtimer_disarm(&p->a);
    vtimer_arm(&p->a, 3);
    vtimer_disarm(&p->b);
    g_string_append_c(fired, '!');
}

static void test_deferred_disarm(void)
{
    struct vclock *clock = manual();
    struct pair p;

    vtimer_init(&p.a, clock, "a", arm_and_disarm, &p);
    vtimer_init(&p.b, clock, "b", note, (char[]){"b"});
    vclock_set(clock, 10);
    vtimer_arm(&p.a, 1);
    vclock_run(clock);
    g_assert_true(vtimer_armed(&p.a));
    g_assert_false(vtimer_armed(&p.b));
    g_assert_cmpint(vclock_next_deadline(clock), ==, 3);
    vtimer_disarm(&p.a);
    g_assert_cmpstr(fired->str, ==, "!");
    done(clock);
}

static void stop_clock(void *opaque)
{
    vclock_stop(opaque);
    g_string_append_c(fired, 's');
}

static void test_stopped(void)
{
    struct vclock *clock = manual();
    struct vtimer stopper, t;

    vtimer_init(&stopper, clock, "stopper", stop_clock, clock);
    vtimer_init(&t, clock, "t", note, (char[]){"t"});
    vtimer_arm(&stopper, 5);
    vtimer_arm(&t, 6);
    vclock_set(clock, 50);
    vclock_run(clock); /* stopped by the first: the second stays armed */
    g_assert_cmpstr(fired->str, ==, "s");
    g_assert_false(vclock_running(clock));
    vclock_run(clock);
    g_assert_cmpstr(fired->str, ==, "s");
    g_assert_true(vtimer_armed(&t));
    vclock_start(clock);
    vclock_run(clock);
    g_assert_cmpstr(fired->str, ==, "st");
    done(clock);
}

static int64_t asked = -2;
static unsigned asks;

static void on_rearm(void *opaque, int64_t delay)
{
    asked = delay;
    asks++;
}

/* The clock on host time: it asks for wake-ups only when they change, and stands while stopped. */
static void test_host_time(void)
{
    struct vclock *clock = vclock_new(on_rearm, NULL);
    struct vtimer t, u;
    int64_t before;

    fired = g_string_new(NULL);
    vtimer_init(&t, clock, "t", note, (char[]){"t"});
    vtimer_init(&u, clock, "u", note, (char[]){"u"});
    g_assert_cmpint(vclock_now(clock), ==, 0);
    vtimer_arm(&t, 3600 * NS_PER_S);
    g_assert_cmpuint(asks, ==, 0); /* stopped: nobody is to be woken */
    vclock_start(clock);
    g_assert_cmpuint(asks, ==, 1);
    g_assert_cmpint(asked, >, 0);
    g_assert_cmpint(asked, <=, 3600 * NS_PER_S);
    vtimer_arm(&u, 7200 * NS_PER_S);
    g_assert_cmpuint(asks, ==, 1); /* later than what was asked for */
    vtimer_arm(&u, 0);
    g_assert_cmpuint(asks, ==, 2);
    g_assert_cmpint(asked, ==, 0);
    vclock_run(clock);
    g_assert_cmpstr(fired->str, ==, "u");
    g_assert_cmpuint(asks, ==, 3);
    g_assert_cmpint(asked, >, 0);
    vtimer_disarm(&t);
    g_assert_cmpint(asked, ==, -1);
    before = vclock_now(clock);
    g_assert_cmpint(vclock_now(clock), >=, before);
    vtimer_arm(&t, INT64_MAX);
    vclock_stop(clock);
    g_assert_cmpint(asked, ==, -1);
    before = vclock_now(clock);
    g_usleep(2000);
    g_assert_cmpint(vclock_now(clock), ==, before);
    vclock_set(clock, 12345 * NS_PER_S);
    vclock_start(clock);
    g_assert_cmpint(vclock_now(clock), >=, 12345 * NS_PER_S);
    vtimer_disarm(&t);
    vclock_stop(clock);
    vclock_free(clock);
    g_string_free(fired, TRUE);
}

/* Thousands of timers against a sorted model. */
struct many {
    struct vtimer t;
    int64_t fired_at;
    struct vclock *clock;
};

static int64_t last_fired;

static void note_time(void *opaque)
{
    struct many *m = opaque;

    g_assert_cmpint(m->fired_at, >=, last_fired); /* holds the deadline */
    last_fired = m->fired_at;
    m->fired_at = -1;
}

static void test_many(void)
{
    enum { N = 500 };
    struct vclock *clock = manual();
    GRand *rand = g_rand_new_with_seed(99);
    struct many *m = g_new0(struct many, N);
    int64_t now = 0;

    for (unsigned i = 0; i < N; i++) {
        vtimer_init(&m[i].t, clock, "many", note_time, &m[i]);
        m[i].fired_at = -1;
    }
    for (unsigned turn = 0; turn < 2000; turn++) {
        for (unsigned k = 0; k < 10; k++) {
            struct many *x = &m[g_rand_int_range(rand, 0, N)];

            if (g_rand_int_range(rand, 0, 3) == 0) {
                vtimer_disarm(&x->t);
                x->fired_at = -1;
            } else {
                x->fired_at = now + g_rand_int_range(rand, 1, 1000);
                vtimer_arm(&x->t, x->fired_at);
            }
        }
        now += g_rand_int_range(rand, 0, 100);
        vclock_set(clock, now);
        last_fired = 0;
        vclock_run(clock);
        for (unsigned i = 0; i < N; i++) {
            g_assert_true(vtimer_armed(&m[i].t) == (m[i].fired_at >= 0));
            g_assert_true(m[i].fired_at < 0 || m[i].fired_at > now);
        }
    }
    for (unsigned i = 0; i < N; i++) {
        vtimer_disarm(&m[i].t);
    }
    g_free(m);
    g_rand_free(rand);
    done(clock);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/clock/order", test_order);
    g_test_add_func("/clock/rearm-in-callback", test_rearm_in_callback);
    g_test_add_func("/clock/deferred-disarm", test_deferred_disarm);
    g_test_add_func("/clock/stopped", test_stopped);
    g_test_add_func("/clock/host-time", test_host_time);
    g_test_add_func("/clock/many", test_many);
    return g_test_run();
}
