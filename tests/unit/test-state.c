/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Saved state of one structure: bytes, versions, every refusal, and mutations of a good record. */
#include <errno.h>
#include <string.h>

#include <xendm/clock.h>
#include <xendm/irq.h>
#include <xendm/state.h>

#include "fakes.h"

struct channel {
    uint16_t address;
    uint8_t mode;
    uint32_t derived;
};

struct thing {
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    int32_t i32;
    int64_t i64;
    bool flag;
    uint16_t list[3];
    uint8_t raw[5];
    struct vtimer timer;
    struct irq irq;
    struct channel channel[2];
    uint8_t *data;
    uint32_t data_length;
    uint32_t extra; /* in a section of its own */
    bool has_extra;
    uint32_t capacity; /* of the instance, not state */
    GString *hooks;
};

static GString *hook_log;

static bool channel_check(const void *base, GError **err)
{
    const struct channel *c = base;

    if (c->mode == 3 && c->address == 0xffff) {
        g_set_error(err, STATE_ERROR, 0, "mode 3 at 0xffff");
        return false;
    }
    return true;
}

static void channel_loaded(void *base)
{
    struct channel *c = base;

    c->derived = c->address * 2u;
    g_string_append(hook_log, "channel ");
}

static const struct state_field channel_fields[] = {
    STATE_FIELD_U16(struct channel, address),
    STATE_FIELD_U8(struct channel, mode, .max = 3),
    STATE_FIELD_END,
};

static const struct state_desc channel_desc = {
    .name = "channel",
    .version = 1,
    .fields = channel_fields,
    .check = channel_check,
    .post_load = channel_loaded,
};

static bool extra_needed(const void *base)
{
    return ((const struct thing *)base)->has_extra;
}

static void extra_loaded(void *base)
{
    ((struct thing *)base)->has_extra = true;
    g_string_append(hook_log, "extra ");
}

static const struct state_field extra_fields[] = {
    STATE_FIELD_U32(struct thing, extra, .min = 1, .max = 100),
    STATE_FIELD_END,
};

static const struct state_desc extra_desc = {
    .name = "extra",
    .version = 1,
    .fields = extra_fields,
    .needed = extra_needed,
    .post_load = extra_loaded,
};

static const struct state_desc *const thing_sections[] = {&extra_desc, NULL};

static void thing_saving(void *base)
{
    g_string_append(hook_log, "save ");
}

static bool thing_check(const void *base, GError **err)
{
    const struct thing *t = base;

    g_assert_null(t->hooks); /* what is not listed is zero here */
    if (t->u8 > t->u16) {
        g_set_error(err, STATE_ERROR, 0, "u8 %u is above u16 %u", t->u8, t->u16);
        return false;
    }
    return true;
}

static bool thing_fits(const void *scratch, const void *base, GError **err)
{
    const struct thing *s = scratch, *t = base;

    if (s->u32 >= t->capacity) {
        g_set_error(err, STATE_ERROR, 0, "u32 %u is beyond %u", s->u32, t->capacity);
        return false;
    }
    return true;
}

static void thing_loaded(void *base)
{
    g_string_append(hook_log, "thing ");
}

static const struct state_field thing_fields[] = {
    STATE_FIELD_U8(struct thing, u8),
    STATE_FIELD_U16(struct thing, u16),
    STATE_FIELD_U32(struct thing, u32),
    STATE_FIELD_U64(struct thing, u64),
    STATE_FIELD_I32(struct thing, i32, .min = (uint64_t)-100, .max = 100),
    STATE_FIELD_I64(struct thing, i64),
    STATE_FIELD_BOOL(struct thing, flag),
    STATE_FIELD_U16(struct thing, list, .count = 3, .max = 0x7fff),
    STATE_FIELD_BYTES(struct thing, raw),
    STATE_FIELD_TIMER(struct thing, timer),
    STATE_FIELD_IRQ(struct thing, irq),
    STATE_FIELD_STRUCT(struct thing, channel, 2, &channel_desc),
    {.name = "data",
     .type = STATE_VAR_BYTES,
     .offset = offsetof(struct thing, data),
     .count = 64,
     .length_offset = offsetof(struct thing, data_length)},
    STATE_FIELD_END,
};

static const struct state_desc thing_desc = {
    .name = "thing",
    .version = 1,
    .fields = thing_fields,
    .pre_save = thing_saving,
    .check = thing_check,
    .fits = thing_fits,
    .post_load = thing_loaded,
    .sections = thing_sections,
};

struct fixture {
    struct vclock *clock;
    struct irq_line line;
    unsigned line_calls;
};

static void fire(void *opaque)
{
}

static void on_line(void *opaque, unsigned number, bool level)
{
    ((struct fixture *)opaque)->line_calls++;
}

static void fixture_init(struct fixture *f)
{
    f->line_calls = 0;
    f->clock = vclock_new(NULL, NULL);
    vclock_set(f->clock, 100 * NS_PER_S);
    irq_line_init(&f->line, on_line, f, 0);
    hook_log = g_string_new(NULL);
}

static void fixture_done(struct fixture *f)
{
    vclock_free(f->clock);
    g_string_free(hook_log, TRUE);
}

static void thing_init(struct thing *t, struct fixture *f)
{
    memset(t, 0, sizeof(*t));
    vtimer_init(&t->timer, f->clock, "thing", fire, t);
    irq_connect(&t->irq, &f->line);
    t->capacity = UINT32_MAX;
    t->hooks = hook_log;
}

static void thing_done(struct thing *t)
{
    vtimer_disarm(&t->timer);
    irq_connect(&t->irq, NULL);
    g_free(t->data);
}

static void thing_fill(struct thing *t)
{
    t->u8 = 0x12;
    t->u16 = 0x3456;
    t->u32 = 0x789abcde;
    t->u64 = UINT64_C(0xfedcba9876543210);
    t->i32 = -77;
    t->i64 = INT64_MIN;
    t->flag = true;
    t->list[0] = 1;
    t->list[2] = 0x7fff;
    memcpy(t->raw, "12345", 5);
    vtimer_arm(&t->timer, 123 * NS_PER_S);
    irq_restore(&t->irq, true);
    t->channel[0] = (struct channel){.address = 0x1111, .mode = 1, .derived = 0x2222};
    t->channel[1] = (struct channel){.address = 0x2222, .mode = 3, .derived = 0x4444};
    t->data_length = 7;
    t->data = g_memdup2("seven77", 7);
    t->extra = 50;
    t->has_extra = true;
}

static GByteArray *save(const struct state_desc *desc, void *base)
{
    GByteArray *bytes = g_byte_array_new();

    state_save(desc, base, bytes);
    return bytes;
}

static void test_round_trip(void)
{
    struct fixture f;
    struct thing a, b;
    GError *err = NULL;
    struct state_plan *plan;
    GByteArray *one, *two;

    fixture_init(&f);
    thing_init(&a, &f);
    thing_init(&b, &f);
    thing_fill(&a);
    one = save(&thing_desc, &a);
    g_assert_cmpstr(hook_log->str, ==, "save ");
    g_string_truncate(hook_log, 0);
    plan = state_parse_sized(&thing_desc, sizeof(struct thing), one->data, one->len, &err);
    g_assert_no_error(err);
    g_assert_cmpstr(hook_log->str, ==, "");
    g_assert_cmpuint(b.u8, ==, 0);
    g_assert_true(state_fits(plan, &b, &err));
    state_apply(plan, &b);
    state_plan_free(plan);
    g_assert_cmpstr(hook_log->str, ==, "channel channel extra thing ");
    g_assert_cmpuint(b.u8, ==, 0x12);
    g_assert_cmpuint(b.u16, ==, 0x3456);
    g_assert_cmpuint(b.u32, ==, 0x789abcde);
    g_assert_cmpuint(b.u64, ==, UINT64_C(0xfedcba9876543210));
    g_assert_cmpint(b.i32, ==, -77);
    g_assert_true(b.i64 == INT64_MIN && b.flag);
    g_assert_cmpmem(b.list, sizeof(b.list), a.list, sizeof(a.list));
    g_assert_cmpmem(b.raw, 5, "12345", 5);
    g_assert_cmpint(b.timer.deadline, ==, 123 * NS_PER_S);
    g_assert_true(b.irq.level);
    g_assert_cmpuint(f.line_calls, ==, 0); /* the hypervisor has the level already */
    g_assert_cmpuint(b.channel[1].derived, ==, 0x4444);
    g_assert_cmpmem(b.data, b.data_length, "seven77", 7);
    g_assert_cmpuint(b.extra, ==, 50);
    g_assert_true(b.hooks == hook_log && b.capacity == UINT32_MAX);
    two = save(&thing_desc, &b);
    g_assert_cmpmem(one->data, one->len, two->data, two->len);
    g_byte_array_free(one, TRUE);
    g_byte_array_free(two, TRUE);

    /* Without the optional section, with an unarmed timer and no bytes, into something that has all
     * of it. */
    struct thing c;

    thing_init(&c, &f);
    c.timer.deadline = VTIMER_OFF;
    one = save(&thing_desc, &c);
    plan = state_parse_sized(&thing_desc, sizeof(struct thing), one->data, one->len, &err);
    g_assert_no_error(err);
    state_apply(plan, &b);
    state_plan_free(plan);
    g_assert_false(vtimer_armed(&b.timer));
    g_assert_false(b.irq.level);
    g_assert_cmpuint(b.data_length, ==, 0);
    g_assert_cmpuint(b.extra, ==, 50);
    g_byte_array_free(one, TRUE);
    thing_done(&a);
    thing_done(&b);
    thing_done(&c);
    fixture_done(&f);
}

/* ---- records made by hand ---- */

static void put(GByteArray *out, uint64_t value, unsigned size)
{
    g_byte_array_append(out, (const guint8 *)&value, size);
}

static void put_field(GByteArray *out, unsigned type, const char *name, const void *bytes,
                      unsigned len)
{
    put(out, type, 1);
    put(out, strlen(name), 1);
    g_byte_array_append(out, (const guint8 *)name, (guint)strlen(name));
    put(out, len, 4);
    if (len) {
        g_byte_array_append(out, bytes, len);
    }
}

struct small {
    uint32_t a, b;
    uint8_t c;
};

/* The bytes of docs/state-format.md, exactly. */
static void test_bytes(void)
{
    static const struct state_field fields[] = {
        STATE_FIELD_U32(struct small, a),
        STATE_FIELD_U8(struct small, c, .optional = true),
        STATE_FIELD_END,
    };
    static const struct state_desc desc = {.name = "small", .version = 7, .fields = fields};
    static const uint8_t expect[] = {
        7, 0, 0, 0, 3, 1, 'a', 4, 0, 0, 0, 0x44, 0x33, 0x22, 0x11, 0x81, 1, 'c', 1, 0, 0, 0, 0x55,
    };
    struct small s = {.a = 0x11223344, .c = 0x55};
    GByteArray *bytes = save(&desc, &s);

    g_assert_cmpmem(bytes->data, bytes->len, expect, sizeof(expect));
    g_byte_array_free(bytes, TRUE);
}

static const struct state_field small_v1[] = {
    STATE_FIELD_U32(struct small, a, .min = 1, .max = 10),
    STATE_FIELD_END,
};
static const struct state_field small_v2[] = {
    STATE_FIELD_U32(struct small, b, .since = 2),
    STATE_FIELD_U32(struct small, a, .min = 1, .max = 10),
    STATE_FIELD_END,
};
static const struct state_field small_v3[] = {
    STATE_FIELD_U32(struct small, a, .min = 1, .max = 10),
    STATE_FIELD_U32(struct small, b, .since = 2),
    STATE_FIELD_U8(struct small, c, .since = 3, .optional = true),
    STATE_FIELD_END,
};
static const struct state_desc small_1 = {.name = "small", .version = 1, .fields = small_v1};
static const struct state_desc small_2 = {.name = "small", .version = 2, .fields = small_v2};
static const struct state_desc small_3 = {.name = "small",
                                          .version = 3,
                                          .min_version = 2,
                                          .fields = small_v3};

static bool transfer(const struct state_desc *from, struct small *a, const struct state_desc *to,
                     struct small *b, GError **err)
{
    GByteArray *bytes = save(from, a);
    struct state_plan *plan = state_parse(to, bytes->data, bytes->len, err);

    g_byte_array_free(bytes, TRUE);
    if (plan) {
        state_apply(plan, b);
        state_plan_free(plan);
    }
    return plan != NULL;
}

static void test_versions(void)
{
    struct small a = {.a = 5, .b = 6, .c = 7}, b;
    g_autoptr(GError) err = NULL;

    /* Old into new: the new field keeps its reset value; the order in the table does not matter. */
    b = (struct small){.b = 99};
    g_assert_true(transfer(&small_1, &a, &small_2, &b, &err));
    g_assert_true(b.a == 5 && b.b == 99);
    /* New into old: the unknown field is needed, so it is refused by name. */
    g_assert_false(transfer(&small_2, &a, &small_1, &b, &err));
    g_assert_nonnull(strstr(err->message, "small"));
    g_assert_nonnull(strstr(err->message, "field b"));
    g_clear_error(&err);
    /* What only version 3 has may be left out. */
    b = (struct small){.c = 1};
    g_assert_true(transfer(&small_3, &a, &small_2, &b, &err));
    g_assert_true(b.a == 5 && b.b == 6 && b.c == 1);
    g_assert_true(transfer(&small_2, &a, &small_3, &b, &err));
    g_assert_true(b.c == 1);
    g_assert_true(transfer(&small_3, &a, &small_3, &b, &err));
    g_assert_true(b.c == 7);
    /* Too old. */
    g_assert_false(transfer(&small_1, &a, &small_3, &b, &err));
    g_assert_nonnull(strstr(err->message, "version 1"));
}

static void refused(const struct state_desc *desc, GByteArray *bytes, const char *word)
{
    g_autoptr(GError) err = NULL;
    struct state_plan *plan =
        state_parse_sized(desc, sizeof(struct thing), bytes->data, bytes->len, &err);

    g_assert_null(plan);
    g_assert_error(err, STATE_ERROR, EINVAL);
    if (!strstr(err->message, word)) {
        g_error("\"%s\" does not say \"%s\"", err->message, word);
    }
    g_byte_array_free(bytes, TRUE);
}

static GByteArray *record(uint32_t version)
{
    GByteArray *bytes = g_byte_array_new();

    put(bytes, version, 4);
    return bytes;
}

static void test_refusals(void)
{
    uint32_t five = 5, eleven = 11;
    GByteArray *r;

    refused(&small_1, g_byte_array_new(), "cut short");
    r = record(1);
    g_byte_array_set_size(r, 3);
    refused(&small_1, r, "cut short");
    refused(&small_1, record(0), "version 0");
    refused(&small_1, record(1), "field a is missing");
    r = record(2);
    put_field(r, 3, "a", &five, 4);
    refused(&small_2, r, "field b is missing");
    r = record(1);
    put_field(r, 3, "a", &eleven, 4);
    refused(&small_1, r, "a: value 11 is not in 1..10");
    r = record(1);
    put_field(r, 3, "a", &five, 4);
    put_field(r, 3, "a", &five, 4);
    refused(&small_1, r, "a is there twice");
    r = record(1);
    put_field(r, 2, "a", &five, 2);
    refused(&small_1, r, "type 2, not 3");
    for (unsigned len = 0; len < 4; len++) {
        r = record(1);
        put_field(r, 3, "a", &five, len);
        refused(&small_1, r, "bytes, not 4");
    }
    r = record(1);
    put_field(r, 3, "", &five, 4);
    refused(&small_1, r, "readable name");
    r = record(1);
    put_field(r, 3, "a\n", &five, 4);
    refused(&small_1, r, "readable name");
    r = record(1);
    put_field(r, 12, "a", &five, 4);
    refused(&small_1, r, "field a is not known");
    r = record(1);
    put_field(r, 3, "a", &five, 4);
    put_field(r, 200 & 0x7f, "zz", &five, 4);
    refused(&small_1, r, "field zz is not known");
    /* Cut after every byte. */
    for (unsigned len = 0; len < 4 + 7 + 4; len++) {
        r = record(1);
        put_field(r, 3, "a", &five, 4);
        g_byte_array_set_size(r, len);
        refused(&small_1, r, len == 4 ? "missing" : "cut short");
    }
    /* A length that says more than there is. */
    r = record(1);
    put_field(r, 3, "a", &five, 4);
    memset(r->data + 7, 0xff, 4);
    refused(&small_1, r, "field a is cut short");
}

/* Changes one field of a good `thing` record and expects the refusal to name it. */
static void thing_refused(void (*spoil)(struct thing *t), const char *word)
{
    struct fixture f;
    struct thing t;

    fixture_init(&f);
    thing_init(&t, &f);
    thing_fill(&t);
    spoil(&t);
    refused(&thing_desc, save(&thing_desc, &t), word);
    thing_done(&t);
    fixture_done(&f);
}

static void spoil_i32(struct thing *t)
{
    t->i32 = -101;
}
static void spoil_list(struct thing *t)
{
    t->list[1] = 0x8000;
}
static void spoil_mode(struct thing *t)
{
    t->channel[1].mode = 4;
}
static void spoil_channel(struct thing *t)
{
    t->channel[0] = (struct channel){.address = 0xffff, .mode = 3};
}
static void spoil_cross(struct thing *t)
{
    t->u16 = 1;
}
static void spoil_extra(struct thing *t)
{
    t->extra = 101;
}

static void test_checks(void)
{
    thing_refused(spoil_i32, "thing.i32: value -101 is not in -100..100");
    thing_refused(spoil_list, "thing.list[1]: value 32768");
    thing_refused(spoil_mode, "thing.channel[1].mode: value 4");
    thing_refused(spoil_channel, "mode 3 at 0xffff");
    thing_refused(spoil_cross, "u8 18 is above u16 1");
    thing_refused(spoil_extra, "thing.extra.extra: value 101");
}

static void test_fits(void)
{
    struct fixture f;
    struct thing a, b;
    g_autoptr(GError) err = NULL;
    struct state_plan *plan;
    GByteArray *bytes;

    fixture_init(&f);
    thing_init(&a, &f);
    thing_init(&b, &f);
    thing_fill(&a);
    b.capacity = 100;
    bytes = save(&thing_desc, &a);
    plan = state_parse_sized(&thing_desc, sizeof(struct thing), bytes->data, bytes->len, NULL);
    g_assert_nonnull(plan);
    g_assert_false(state_fits(plan, &b, &err));
    g_assert_nonnull(strstr(err->message, "beyond 100"));
    state_plan_free(plan); /* never applied: its bytes are freed */
    g_byte_array_free(bytes, TRUE);
    thing_done(&a);
    thing_done(&b);
    fixture_done(&f);
}

/* A deadline from the deep past is brought near, so that nobody catches up for hours. */
static void test_overdue(void)
{
    struct fixture f;
    struct thing a, b;
    struct state_plan *plan;
    GByteArray *bytes;

    fixture_init(&f);
    thing_init(&a, &f);
    thing_init(&b, &f);
    for (int64_t deadline = 99 * NS_PER_S; deadline >= INT64_MIN + 1;
         deadline = deadline > 0 ? -5 : INT64_MIN + 1) {
        vtimer_arm(&a.timer, deadline);
        bytes = save(&thing_desc, &a);
        plan = state_parse_sized(&thing_desc, sizeof(struct thing), bytes->data, bytes->len, NULL);
        state_apply(plan, &b);
        state_plan_free(plan);
        g_byte_array_free(bytes, TRUE);
        g_assert_cmpint(b.timer.deadline, ==, MAX(deadline, 99 * NS_PER_S));
        if (deadline == INT64_MIN + 1) {
            break;
        }
    }
    thing_done(&a);
    thing_done(&b);
    fixture_done(&f);
}

/* Thousands of damaged records: refused with a reason, or loaded into something that can be saved
 * again. */
static void test_mutations(void)
{
    GRand *rand = g_rand_new_with_seed(42);
    unsigned loaded = 0, turned_down = 0;
    struct fixture f;
    struct thing good;
    GByteArray *bytes;

    fixture_init(&f);
    thing_init(&good, &f);
    thing_fill(&good);
    bytes = save(&thing_desc, &good);
    for (unsigned turn = 0; turn < 20000; turn++) {
        g_autofree uint8_t *bad = g_malloc(bytes->len + 16);
        size_t len = bytes->len;
        g_autoptr(GError) err = NULL;
        struct state_plan *plan;

        memcpy(bad, bytes->data, len);
        for (int n = g_rand_int_range(rand, 1, 4); n > 0; n--) {
            size_t at = (size_t)g_rand_int_range(rand, 0, (gint32)len);

            switch (g_rand_int_range(rand, 0, 5)) {
            case 0:
                bad[at] = (uint8_t)g_rand_int(rand);
                break;
            case 1:
                bad[at] ^= (uint8_t)(1u << g_rand_int_range(rand, 0, 8));
                break;
            case 2:
                len = at + 1;
                break;
            case 3:
                memmove(bad + at, bad + at + 1, len - at - 1);
                len -= len > 1;
                break;
            default:
                bad[at] = g_rand_boolean(rand) ? 0xff : 0;
                break;
            }
        }
        /* Exactly as long as it is, so that the sanitizer sees a read beyond. */
        g_autofree uint8_t *exact = g_memdup2(bad, len);

        plan = state_parse_sized(&thing_desc, sizeof(struct thing), exact, len, &err);
        if (plan) {
            struct thing t;

            g_assert_no_error(err);
            thing_init(&t, &f);
            if (state_fits(plan, &t, NULL)) {
                GByteArray *again;

                state_apply(plan, &t);
                again = save(&thing_desc, &t);
                g_assert_cmpuint(t.u8, <=, t.u16);
                g_assert_cmpint(t.i32, <=, 100);
                g_assert_cmpuint(t.channel[1].mode, <=, 3);
                g_assert_cmpuint(t.data_length, <=, 64);
                g_byte_array_free(again, TRUE);
            }
            state_plan_free(plan);
            thing_done(&t);
            loaded++;
        } else {
            g_assert_error(err, STATE_ERROR, EINVAL);
            g_assert_true(g_utf8_validate(err->message, -1, NULL));
            turned_down++;
        }
    }
    g_test_message("%u loaded, %u refused", loaded, turned_down);
    g_assert_cmpuint(loaded, >, 500);
    g_assert_cmpuint(turned_down, >, 5000);
    g_byte_array_free(bytes, TRUE);
    thing_done(&good);
    fixture_done(&f);
    g_rand_free(rand);
}

/* ---- arrays of which some are in use, and text ---- */

struct ring {
    uint32_t head;
    bool on;
};

struct bag {
    uint32_t rings;
    struct ring ring[5];
    char *name;
};

static const struct state_desc ring_desc = {
    .name = "ring",
    .version = 1,
    .fields =
        (const struct state_field[]){
            STATE_FIELD_U32(struct ring, head, .max = 100),
            STATE_FIELD_BOOL(struct ring, on),
            STATE_FIELD_END,
        },
};

static const struct state_desc bag_desc = {
    .name = "bag",
    .version = 1,
    .fields =
        (const struct state_field[]){
            STATE_FIELD_STRUCTS_VAR(struct bag, ring, 5, rings, &ring_desc),
            STATE_FIELD_STRING(struct bag, name, 8),
            STATE_FIELD_END,
        },
};

static GByteArray *bag_bytes(uint32_t rings, const char *name)
{
    struct bag b = {.rings = rings, .name = (char *)name};
    GByteArray *out = g_byte_array_new();

    for (unsigned i = 0; i < 5; i++) {
        b.ring[i] = (struct ring){.head = 10 + i, .on = i & 1};
    }
    state_save(&bag_desc, &b, out);
    return out;
}

static void test_variable(void)
{
    for (uint32_t rings = 0; rings <= 5; rings++) {
        g_autoptr(GByteArray) bytes = bag_bytes(rings, rings ? "one" : NULL);
        g_autoptr(GByteArray) again = g_byte_array_new();
        g_autoptr(GError) err = NULL;
        struct bag b = {.rings = 4, .name = g_strdup("before")};
        struct state_plan *plan = state_parse(&bag_desc, bytes->data, bytes->len, &err);

        g_assert_no_error(err);
        b.ring[4].head = 77;
        state_apply(plan, &b);
        state_plan_free(plan);
        g_assert_cmpuint(b.rings, ==, rings);
        g_assert_cmpuint(b.ring[4].head, ==, rings == 5 ? 14 : 77); /* behind the last: kept */
        g_assert_cmpstr(b.name, ==, rings ? "one" : "");
        state_save(&bag_desc, &b, again);
        g_assert_cmpmem(bytes->data, bytes->len, again->data, again->len);
        g_free(b.name);
    }
}

/* Each byte of a stream changed to each of some values: refused, or a value that may be. */
static void test_variable_hostile(void)
{
    g_autoptr(GByteArray) bytes = bag_bytes(5, "eight ch");

    for (guint at = 0; at < bytes->len; at++) {
        guint8 was = bytes->data[at];

        for (unsigned value = 0; value < 256; value += 3) {
            struct bag b = {0};
            struct state_plan *plan;

            bytes->data[at] = (guint8)value;
            plan = state_parse(&bag_desc, bytes->data, bytes->len, NULL);
            if (plan) {
                state_apply(plan, &b);
                state_plan_free(plan);
                g_assert_cmpuint(b.rings, <=, 5);
                g_assert_cmpuint(strlen(b.name), <=, 8);
                g_assert_true(g_utf8_validate(b.name, -1, NULL));
                for (unsigned i = 0; i < 5; i++) {
                    g_assert_cmpuint(b.ring[i].head, <=, 100);
                }
                g_free(b.name);
            }
        }
        bytes->data[at] = was;
    }
    for (guint len = 0; len < bytes->len; len++) {
        g_assert_null(state_parse(&bag_desc, bytes->data, len, NULL));
    }
}

static void test_variable_limits(void)
{
    static const struct state_field more[] = {
        STATE_FIELD_STRUCTS_VAR(struct bag, ring, 5, rings, &ring_desc),
        STATE_FIELD_STRING(struct bag, name, 64),
        STATE_FIELD_END,
    };
    static const struct state_field fewer[] = {
        {.name = "ring",
         .type = STATE_VAR_STRUCTS,
         .offset = offsetof(struct bag, ring),
         .count = 2,
         .stride = sizeof(struct ring),
         .sub = &ring_desc,
         .length_offset = offsetof(struct bag, rings)},
        STATE_FIELD_STRING(struct bag, name, 8),
        STATE_FIELD_END,
    };
    const struct state_desc wide = {.name = "bag", .version = 1, .fields = more};
    const struct state_desc narrow = {.name = "bag", .version = 1, .fields = fewer};
    static const char *const names[] = {"nine char", "\n", "\x7f", "\xff\xfe"};
    g_autoptr(GByteArray) three = bag_bytes(3, "");
    g_autoptr(GError) err = NULL;

    g_assert_null(state_parse(&narrow, three->data, three->len, &err));
    g_assert_cmpstr(err->message, ==, "bag.ring: does not have at most 2 elements");
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        struct bag b = {.name = (char *)names[i]};
        g_autoptr(GByteArray) out = g_byte_array_new();

        state_save(&wide, &b, out);
        g_assert_null(state_parse(&bag_desc, out->data, out->len, NULL));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/state/bytes", test_bytes);
    g_test_add_func("/state/round-trip", test_round_trip);
    g_test_add_func("/state/versions", test_versions);
    g_test_add_func("/state/refusals", test_refusals);
    g_test_add_func("/state/checks", test_checks);
    g_test_add_func("/state/fits", test_fits);
    g_test_add_func("/state/overdue", test_overdue);
    g_test_add_func("/state/mutations", test_mutations);
    g_test_add_func("/state/variable", test_variable);
    g_test_add_func("/state/variable-hostile", test_variable_hostile);
    g_test_add_func("/state/variable-limits", test_variable_limits);
    return g_test_run();
}
