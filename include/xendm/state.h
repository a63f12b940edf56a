/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saved state, described by tables. A device lists its fields once; saving, loading, checking,
 * decoding (`xendmctl state`) and comparing in tests all follow the table. Fields are named in the
 * stream, so tables may be reordered and extended: a field with `since` above the record's version
 * keeps its reset value. Only state that cannot be derived is listed; the rest is rebuilt in
 * post_load. docs/state-format.md has the bytes.
 *
 * Loading is hostile: each value is checked against [min, max] (numbers) or by `check` before any
 * device is touched, and then the whole is applied, or nothing.
 */
#ifndef XENDM_STATE_H
#define XENDM_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

enum state_type {
    STATE_U8,
    STATE_U16,
    STATE_U32,
    STATE_U64, /* little-endian in the stream */
    STATE_I32,
    STATE_I64,
    STATE_BOOL,
    STATE_BYTES,  /* `count` raw bytes */
    STATE_TIMER,  /* struct vtimer: its deadline, VTIMER_OFF when not armed */
    STATE_IRQ,    /* struct irq: its level, restored by irq_restore() */
    STATE_STRUCT, /* `count` structures of `stride` bytes, described by `sub` */
    /* *(void **) of *(uint32_t *)(base + length_offset) bytes, g_malloc; count is its limit */
    STATE_VAR_BYTES,
    /*
     * As STATE_STRUCT, but only the first *(uint32_t *)(base + length_offset) of at most `count`
     * elements are in the stream. A load sets that number; elements behind it keep their values.
     */
    STATE_VAR_STRUCTS,
    /* char *, g_malloc; NULL counts as "". UTF-8 without control characters; count: most bytes */
    STATE_STRING,
};

struct state_desc;

struct state_field {
    const char *name;
    enum state_type type;
    size_t offset;  /* from the start of the described structure */
    uint32_t count; /* array elements; 0 counts as 1 */
    uint32_t since; /* first version of the description that has it; 0 counts as 1 */
    /* accepted values of numbers (signed types: as int64_t); both 0: every value */
    uint64_t min, max;
    /* a reader may skip it when unknown and do without it when missing */
    bool optional;
    size_t stride; /* STATE_STRUCT: sizeof one element */
    const struct state_desc *sub;
    size_t length_offset; /* STATE_VAR_BYTES, STATE_VAR_STRUCTS */
};

struct state_desc {
    const char *name;                 /* section name in the stream, unique per device */
    uint32_t version;                 /* at least 1; raised when fields are added */
    uint32_t min_version;             /* oldest that can be loaded; 0 counts as 1 */
    const struct state_field *fields; /* ends with name NULL */

    void (*pre_save)(void *base);
    /*
     * Cross-field checks, on a copy that no device uses yet: base is a scratch structure with only
     * the listed fields set.
     */
    bool (*check)(const void *base, GError **err);
    /*
     * What only the instance knows (sizes of its tables, its medium): may these values go into
     * `base`? Changes nothing.
     */
    bool (*fits)(const void *scratch, const void *base, GError **err);
    /*
     * Derived state is rebuilt; everything was checked, so this cannot fail. The sections' and
     * structures' run first.
     */
    void (*post_load)(void *base);
    /*
     * A section that is written only when true (then loaded only when present); NULL: always, and
     * required.
     */
    bool (*needed)(const void *base);
    const struct state_desc *const *sections; /* optional parts, NULL-terminated; same base */
};

#define STATE_FIELD_END \
    { \
        .name = NULL \
    }
#define STATE_NUM_(T, st, f, ...) \
    { \
        .name = #f, .type = (T), .offset = offsetof(st, f), __VA_ARGS__ \
    }
#define STATE_FIELD_U8(st, f, ...) STATE_NUM_(STATE_U8, st, f, __VA_ARGS__)
#define STATE_FIELD_U16(st, f, ...) STATE_NUM_(STATE_U16, st, f, __VA_ARGS__)
#define STATE_FIELD_U32(st, f, ...) STATE_NUM_(STATE_U32, st, f, __VA_ARGS__)
#define STATE_FIELD_U64(st, f, ...) STATE_NUM_(STATE_U64, st, f, __VA_ARGS__)
#define STATE_FIELD_I32(st, f, ...) STATE_NUM_(STATE_I32, st, f, __VA_ARGS__)
#define STATE_FIELD_I64(st, f, ...) STATE_NUM_(STATE_I64, st, f, __VA_ARGS__)
#define STATE_FIELD_BOOL(st, f, ...) STATE_NUM_(STATE_BOOL, st, f, __VA_ARGS__)
#define STATE_FIELD_TIMER(st, f) STATE_NUM_(STATE_TIMER, st, f, .count = 1)
#define STATE_FIELD_IRQ(st, f) STATE_NUM_(STATE_IRQ, st, f, .count = 1)
#define STATE_FIELD_BYTES(st, f, ...) \
    { \
        .name = #f, .type = STATE_BYTES, .offset = offsetof(st, f), .count = sizeof(((st *)0)->f), \
        __VA_ARGS__ \
    }
#define STATE_FIELD_STRUCT(st, f, n, subdesc, ...) \
    { \
        .name = #f, .type = STATE_STRUCT, .offset = offsetof(st, f), .count = (n), \
        .stride = sizeof(((st *)0)->f) / (n), .sub = (subdesc), __VA_ARGS__ \
    }

/* An array in the structure of which the first `number` (a uint32_t) elements are in use. */
#define STATE_FIELD_STRUCTS_VAR(st, f, n, number, subdesc, ...) \
    { \
        .name = #f, .type = STATE_VAR_STRUCTS, .offset = offsetof(st, f), .count = (n), \
        .stride = sizeof(((st *)0)->f) / (n), .sub = (subdesc), \
        .length_offset = offsetof(st, number), __VA_ARGS__ \
    }
#define STATE_FIELD_STRING(st, f, most, ...) \
    { \
        .name = #f, .type = STATE_STRING, .offset = offsetof(st, f), .count = (most), __VA_ARGS__ \
    }

/* Appends `base`'s fields, as named and typed values, to `out`. */
void state_save(const struct state_desc *desc, void *base, GByteArray *out);

/*
 * Two steps. state_parse() checks one record's payload against `desc` and makes a plan that holds
 * all values; it touches nothing. state_apply() stores them into `base` and calls post_load. A plan
 * is applied at most once, then freed.
 */
struct state_plan;
struct state_plan *state_parse(const struct state_desc *desc, const void *data, size_t len,
                               GError **err);
/*
 * The same with a scratch structure of at least `size` bytes, for checks that look at members that
 * are not listed (zero).
 */
struct state_plan *state_parse_sized(const struct state_desc *desc, size_t size, const void *data,
                                     size_t len, GError **err);
/* runs the `fits` hooks */
bool state_fits(const struct state_plan *plan, const void *base, GError **err);
void state_apply(struct state_plan *plan, void *base);
void state_plan_free(struct state_plan *plan);

#define STATE_ERROR (state_error_quark())
GQuark state_error_quark(void);

#endif
