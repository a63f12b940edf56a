/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saved state by field tables: see xendm/state.h for the tables, docs/state-format.md for the
 * bytes.
 *
 * Parsing fills a scratch structure of the described layout and a list of what was present;
 * applying walks the list. Nothing in the stream is believed: lengths are checked against what is
 * left, names against the table, values against its limits, and every allocation is bounded by the
 * table or by the stream's own length.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <xendm/clock.h>
#include <xendm/irq.h>
#include <xendm/recorder.h>
#include <xendm/state.h>

#include "core.h"

/* Types in the stream. Their numbers are the format: never change one, add at the end. */
enum wire_type {
    WIRE_U8 = 1,
    WIRE_U16 = 2,
    WIRE_U32 = 3,
    WIRE_U64 = 4,
    WIRE_I32 = 5,
    WIRE_I64 = 6,
    WIRE_BOOL = 7,
    WIRE_BYTES = 8, /* both of STATE_BYTES and STATE_VAR_BYTES */
    WIRE_TIMER = 9,
    WIRE_IRQ = 10,
    WIRE_STRUCT = 11,
    WIRE_SECTION = 12,
    WIRE_OPTIONAL = 0x80, /* a reader that does not know the name may skip it */
};

#define NAME_MAX_LENGTH 255u
#define FIELDS_MAX 512u /* in one table; for the set of those seen */
#define SECTIONS_MAX 32
/* Overdue timers fire at once; one from the deep past would make a periodic device catch up for
 * hours. */
#define OVERDUE_MAX_NS NS_PER_S

GQuark state_error_quark(void)
{
    return g_quark_from_static_string("xendm-state-error");
}

static const struct {
    enum wire_type wire;
    unsigned size; /* of one element in the stream; 0: not fixed */
    size_t memory; /* in the structure */
} types[] = {
    [STATE_U8] = {WIRE_U8, 1, 1},
    [STATE_U16] = {WIRE_U16, 2, 2},
    [STATE_U32] = {WIRE_U32, 4, 4},
    [STATE_U64] = {WIRE_U64, 8, 8},
    [STATE_I32] = {WIRE_I32, 4, 4},
    [STATE_I64] = {WIRE_I64, 8, 8},
    [STATE_BOOL] = {WIRE_BOOL, 1, sizeof(bool)},
    [STATE_BYTES] = {WIRE_BYTES, 1, 1},
    [STATE_TIMER] = {WIRE_TIMER, 8, sizeof(struct vtimer)},
    [STATE_IRQ] = {WIRE_IRQ, 1, sizeof(struct irq)},
    [STATE_STRUCT] = {WIRE_STRUCT, 0, 0},
    [STATE_VAR_BYTES] = {WIRE_BYTES, 0, sizeof(void *)},
    [STATE_VAR_STRUCTS] = {WIRE_STRUCT, 0, 0},
    [STATE_STRING] = {WIRE_BYTES, 0, sizeof(char *)},
};

static inline uint32_t field_count(const struct state_field *f)
{
    return f->count ? f->count : 1;
}

static inline uint32_t field_since(const struct state_field *f)
{
    return f->since ? f->since : 1;
}

static inline bool is_struct(const struct state_field *f)
{
    return f->type == STATE_STRUCT || f->type == STATE_VAR_STRUCTS;
}

static inline bool has_length(const struct state_field *f)
{
    return f->type == STATE_VAR_BYTES || f->type == STATE_VAR_STRUCTS;
}

/* A pointer to memory of its own, which goes from hand to hand. */
static inline bool is_pointer(const struct state_field *f)
{
    return f->type == STATE_VAR_BYTES || f->type == STATE_STRING;
}

static inline size_t field_stride(const struct state_field *f)
{
    return is_struct(f) ? f->stride : types[f->type].memory;
}

static inline uint32_t *length_of(const struct state_field *f, void *base)
{
    return (uint32_t *)((char *)base + f->length_offset);
}

/* Bytes of the structure that the table reaches. */
static size_t desc_extent(const struct state_desc *desc)
{
    size_t extent = 1;

    for (const struct state_field *f = desc->fields; f->name; f++) {
        size_t end = f->offset;

        end += is_pointer(f) ? sizeof(void *) : field_count(f) * field_stride(f);
        if (has_length(f)) {
            extent = MAX(extent, f->length_offset + sizeof(uint32_t));
        }
        extent = MAX(extent, end);
    }
    for (const struct state_desc *const *s = desc->sections; s && *s; s++) {
        extent = MAX(extent, desc_extent(*s));
    }
    return extent;
}

void state_desc_assert(const struct state_desc *desc)
{
    unsigned n = 0;

    XENDM_ASSERT(desc->name && desc->version >= 1 && desc->fields);
    for (const struct state_field *f = desc->fields; f->name; f++) {
        XENDM_ASSERT(++n <= FIELDS_MAX && f->name[0] && strlen(f->name) <= NAME_MAX_LENGTH);
        XENDM_ASSERT(field_since(f) <= desc->version && (unsigned)f->type < G_N_ELEMENTS(types));
        for (const struct state_field *other = desc->fields; other < f; other++) {
            XENDM_ASSERT(strcmp(f->name, other->name) != 0);
        }
        if (is_struct(f)) {
            XENDM_ASSERT(f->sub && !f->sub->sections && desc_extent(f->sub) <= f->stride);
            state_desc_assert(f->sub);
        }
        XENDM_ASSERT(f->type != STATE_STRING || f->count > 0);
        if (has_length(f)) {
            XENDM_ASSERT(f->count > 0);
            /* The length follows from the bytes; a field of its own could contradict them. */
            for (const struct state_field *other = desc->fields; other->name; other++) {
                XENDM_ASSERT(other->offset != f->length_offset);
            }
        }
    }
    for (const struct state_desc *const *s = desc->sections; s && *s; s++) {
        XENDM_ASSERT(!(*s)->sections && s - desc->sections < SECTIONS_MAX);
        state_desc_assert(*s);
    }
}

/* ---- saving ---- */

static void put(GByteArray *out, uint64_t value, unsigned size)
{
    uint64_t le = GUINT64_TO_LE(value);

    g_byte_array_append(out, (const guint8 *)&le, size);
}

/* Writes a 32-bit length of all that follows position `at`, where room for it was left. */
static void patch_length(GByteArray *out, guint at)
{
    uint32_t le = GUINT32_TO_LE((uint32_t)(out->len - at - 4));

    memcpy(out->data + at, &le, sizeof(le));
}

static uint64_t load_number(const struct state_field *f, const void *place)
{
    switch (f->type) {
    case STATE_U8:
        return *(const uint8_t *)place;
    case STATE_U16:
        return *(const uint16_t *)place;
    case STATE_U32:
        return *(const uint32_t *)place;
    case STATE_U64:
        return *(const uint64_t *)place;
    case STATE_I32:
        return (uint64_t)(int64_t) * (const int32_t *)place;
    case STATE_I64:
        return (uint64_t) * (const int64_t *)place;
    case STATE_BOOL:
        return *(const bool *)place;
    case STATE_TIMER:
        return (uint64_t)((const struct vtimer *)place)->deadline;
    case STATE_IRQ:
        return ((const struct irq *)place)->level;
    default:
        g_assert_not_reached();
    }
}

static guint begin(GByteArray *out, unsigned type, const char *name)
{
    size_t len = strlen(name);
    guint at;

    put(out, type, 1);
    put(out, len, 1);
    g_byte_array_append(out, (const guint8 *)name, (guint)len);
    at = out->len;
    put(out, 0, 4);
    return at;
}

static void save_body(const struct state_desc *desc, void *base, GByteArray *out);

static void save_field(const struct state_field *f, void *base, GByteArray *out)
{
    guint at = begin(out, types[f->type].wire | (f->optional ? WIRE_OPTIONAL : 0), f->name);
    char *place = (char *)base + f->offset;

    if (f->type == STATE_BYTES) {
        g_byte_array_append(out, (const guint8 *)place, field_count(f));
    } else if (f->type == STATE_VAR_BYTES) {
        uint32_t length = *length_of(f, base);

        XENDM_ASSERT(length <= f->count);
        g_byte_array_append(out, *(const guint8 **)place, length);
    } else if (f->type == STATE_STRING) {
        const char *text = *(char **)place ? *(char **)place : "";

        XENDM_ASSERT(strlen(text) <= f->count);
        g_byte_array_append(out, (const guint8 *)text, (guint)strlen(text));
    } else if (is_struct(f)) {
        uint32_t count = f->type == STATE_STRUCT ? field_count(f) : *length_of(f, base);

        XENDM_ASSERT(count <= field_count(f));
        put(out, count, 4);
        for (uint32_t i = 0; i < count; i++) {
            guint element = out->len;

            put(out, 0, 4);
            save_body(f->sub, place + i * f->stride, out);
            patch_length(out, element);
        }
    } else {
        for (uint32_t i = 0; i < field_count(f); i++) {
            put(out, load_number(f, place + i * field_stride(f)), types[f->type].size);
        }
    }
    patch_length(out, at);
}

static void save_body(const struct state_desc *desc, void *base, GByteArray *out)
{
    if (desc->pre_save) {
        desc->pre_save(base);
    }
    put(out, desc->version, 4);
    for (const struct state_field *f = desc->fields; f->name; f++) {
        save_field(f, base, out);
    }
    for (const struct state_desc *const *s = desc->sections; s && *s; s++) {
        if (!(*s)->needed || (*s)->needed(base)) {
            guint at = begin(out, WIRE_SECTION, (*s)->name);

            save_body(*s, base, out);
            patch_length(out, at);
        }
    }
}

void state_save(const struct state_desc *desc, void *base, GByteArray *out)
{
    state_desc_assert(desc);
    save_body(desc, base, out);
}

/* ---- parsing ---- */

struct plan_item {
    const struct state_field *field;
    size_t base; /* of the structure it is in, from the start of the whole */
};

/* A structure or section that was present: for its hooks, innermost first. */
struct plan_part {
    const struct state_desc *desc;
    size_t base;
};

struct state_plan {
    const struct state_desc *desc;
    char *scratch;
    GArray *items; /* struct plan_item */
    GArray *parts; /* struct plan_part */
};

struct reader {
    const uint8_t *data;
    size_t left;
};

/* Where in the record we are, for messages: a chain on the stack. */
struct where {
    const struct where *up;
    const char *name;
    int index; /* of an array element; -1 for none */
};

static void where_text(const struct where *w, GString *s)
{
    if (!w) {
        return;
    }
    where_text(w->up, s);
    if (s->len > 0) {
        g_string_append_c(s, '.');
    }
    g_string_append(s, w->name);
    if (w->index >= 0) {
        g_string_append_printf(s, "[%d]", w->index);
    }
}

static bool __attribute__((format(printf, 3, 4)))
refuse(GError **err, const struct where *w, const char *fmt, ...)
{
    g_autoptr(GString) s = g_string_new(NULL);
    va_list ap;

    where_text(w, s);
    g_string_append(s, ": ");
    va_start(ap, fmt);
    g_string_append_vprintf(s, fmt, ap);
    va_end(ap);
    g_set_error_literal(err, STATE_ERROR, EINVAL, s->str);
    return false;
}

static bool take(struct reader *r, size_t n, const uint8_t **bytes)
{
    if (r->left < n) {
        return false;
    }
    *bytes = r->data;
    r->data += n;
    r->left -= n;
    return true;
}

static uint64_t get_number(const uint8_t *p, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, p, size);
    return GUINT64_FROM_LE(value);
}

static bool take_number(struct reader *r, unsigned size, uint64_t *value)
{
    const uint8_t *p;

    if (!take(r, size, &p)) {
        return false;
    }
    *value = get_number(p, size);
    return true;
}

static bool is_signed(enum state_type type)
{
    return type == STATE_I32 || type == STATE_I64 || type == STATE_TIMER;
}

/* Checks one element and puts it into the scratch structure. */
static bool store_number(const struct state_field *f, void *place, uint64_t value,
                         const struct where *w, GError **err)
{
    if (f->type == STATE_I32) {
        value = (uint64_t)(int64_t)(int32_t)(uint32_t)value;
    }
    if ((f->type == STATE_BOOL || f->type == STATE_IRQ) && value > 1) {
        return refuse(err, w, "value %" PRIu64 " is neither 0 nor 1", value);
    }
    if (f->min || f->max) {
        if (is_signed(f->type) &&
            ((int64_t)value < (int64_t)f->min || (int64_t)value > (int64_t)f->max)) {
            return refuse(err, w, "value %" PRId64 " is not in %" PRId64 "..%" PRId64,
                          (int64_t)value, (int64_t)f->min, (int64_t)f->max);
        }
        if (!is_signed(f->type) && (value < f->min || value > f->max)) {
            return refuse(err, w, "value %" PRIu64 " is not in %" PRIu64 "..%" PRIu64, value,
                          f->min, f->max);
        }
    }
    switch (f->type) {
    case STATE_U8:
        *(uint8_t *)place = (uint8_t)value;
        break;
    case STATE_U16:
        *(uint16_t *)place = (uint16_t)value;
        break;
    case STATE_U32:
        *(uint32_t *)place = (uint32_t)value;
        break;
    case STATE_U64:
        *(uint64_t *)place = value;
        break;
    case STATE_I32:
        *(int32_t *)place = (int32_t)(int64_t)value;
        break;
    case STATE_I64:
        *(int64_t *)place = (int64_t)value;
        break;
    case STATE_BOOL:
        *(bool *)place = value != 0;
        break;
    case STATE_TIMER:
        ((struct vtimer *)place)->deadline = (int64_t)value;
        break;
    case STATE_IRQ:
        ((struct irq *)place)->level = value != 0;
        break;
    default:
        g_assert_not_reached();
    }
    return true;
}

static bool parse_body(struct state_plan *plan, const struct state_desc *desc, size_t base,
                       struct reader r, const struct where *w, GError **err);

static bool parse_structs(struct state_plan *plan, const struct state_field *f, size_t base,
                          struct reader r, struct where *w, GError **err)
{
    bool variable = f->type == STATE_VAR_STRUCTS;
    uint64_t count, length;

    if (!take_number(&r, 4, &count) ||
        (variable ? count > field_count(f) : count != field_count(f))) {
        return refuse(err, w, "does not have %s%u elements", variable ? "at most " : "",
                      field_count(f));
    }
    if (variable) {
        struct plan_item item = {.field = f, .base = base};

        *length_of(f, plan->scratch + base) = (uint32_t)count;
        g_array_append_val(plan->items, item);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct reader element;

        w->index = f->count > 1 ? (int)i : -1;
        if (!take_number(&r, 4, &length) || length > r.left) {
            return refuse(err, w, "is cut short");
        }
        element = (struct reader){.data = r.data, .left = length};
        if (!parse_body(plan, f->sub, base + f->offset + i * f->stride, element, w, err)) {
            return false;
        }
        r.data += length;
        r.left -= length;
    }
    w->index = -1;
    if (r.left > 0) {
        return refuse(err, w, "%zu bytes too many", r.left);
    }
    return true;
}

static bool text_is_good(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (g_ascii_iscntrl(text[i])) {
            return false;
        }
    }
    return g_utf8_validate(text, (gssize)len, NULL);
}

static bool parse_field(struct state_plan *plan, const struct state_field *f, size_t base,
                        unsigned type, struct reader r, const struct where *up, GError **err)
{
    struct where w = {.up = up, .name = f->name, .index = -1};
    struct plan_item item = {.field = f, .base = base};
    char *place = plan->scratch + base + f->offset;

    if (type != types[f->type].wire) {
        return refuse(err, &w, "has type %u, not %u", type, types[f->type].wire);
    }
    if (is_struct(f)) {
        return parse_structs(plan, f, base, r, &w, err);
    }
    if (is_pointer(f)) {
        char *copy;

        if (r.left > f->count) {
            return refuse(err, &w, "has %zu bytes, more than %u", r.left, f->count);
        }
        if (f->type == STATE_STRING && !text_is_good((const char *)r.data, r.left)) {
            return refuse(err, &w, "is no text");
        }
        copy = g_malloc0(r.left + 1);
        memcpy(copy, r.data, r.left);
        *(void **)place = copy;
        if (has_length(f)) {
            *length_of(f, plan->scratch + base) = (uint32_t)r.left;
        }
    } else {
        if (r.left != (uint64_t)field_count(f) * types[f->type].size) {
            return refuse(err, &w, "has %zu bytes, not %" PRIu64, r.left,
                          (uint64_t)field_count(f) * types[f->type].size);
        }
        if (f->type == STATE_BYTES) {
            memcpy(place, r.data, r.left);
        } else {
            for (uint32_t i = 0; i < field_count(f); i++) {
                w.index = f->count > 1 ? (int)i : -1;
                if (!store_number(f, place + i * field_stride(f),
                                  get_number(r.data + i * types[f->type].size, types[f->type].size),
                                  &w, err)) {
                    return false;
                }
            }
        }
    }
    g_array_append_val(plan->items, item);
    return true;
}

static const struct state_field *field_find(const struct state_desc *desc, const char *name,
                                            unsigned *index)
{
    for (unsigned i = 0; desc->fields[i].name; i++) {
        if (strcmp(desc->fields[i].name, name) == 0) {
            *index = i;
            return &desc->fields[i];
        }
    }
    return NULL;
}

static const struct state_desc *section_find(const struct state_desc *desc, const char *name,
                                             unsigned *index)
{
    for (unsigned i = 0; desc->sections && desc->sections[i]; i++) {
        if (strcmp(desc->sections[i]->name, name) == 0) {
            *index = i;
            return desc->sections[i];
        }
    }
    return NULL;
}

/* Field names come from the stream into messages: only what is printable and harmless. */
static bool name_is_good(const char *name)
{
    for (; *name; name++) {
        if (!g_ascii_isgraph(*name)) {
            return false;
        }
    }
    return true;
}

static bool parse_body(struct state_plan *plan, const struct state_desc *desc, size_t base,
                       struct reader r, const struct where *w, GError **err)
{
    struct plan_part part = {.desc = desc, .base = base};
    bool seen[FIELDS_MAX] = {false};
    uint32_t sections_seen = 0;
    uint64_t version;

    if (!take_number(&r, 4, &version)) {
        return refuse(err, w, "is cut short");
    }
    if (version < (desc->min_version ? desc->min_version : 1)) {
        return refuse(err, w, "version %" PRIu64 " is older than %u, the oldest that can be loaded",
                      version, desc->min_version ? desc->min_version : 1);
    }
    while (r.left > 0) {
        char name[NAME_MAX_LENGTH + 1];
        uint64_t type, name_length, length;
        const struct state_desc *section;
        const struct state_field *f;
        struct reader value;
        const uint8_t *bytes;
        unsigned index;

        if (!take_number(&r, 1, &type) || !take_number(&r, 1, &name_length) ||
            !take(&r, name_length, &bytes)) {
            return refuse(err, w, "is cut short");
        }
        memcpy(name, bytes, name_length);
        name[name_length] = '\0';
        if (name_length == 0 || strlen(name) != name_length || !name_is_good(name)) {
            return refuse(err, w, "has a field without a readable name");
        }
        if (!take_number(&r, 4, &length) || length > r.left) {
            return refuse(err, w, "field %s is cut short", name);
        }
        value = (struct reader){.data = r.data, .left = length};
        r.data += length;
        r.left -= length;
        if (type == WIRE_SECTION && (section = section_find(desc, name, &index)) != NULL) {
            struct where inner = {.up = w, .name = section->name, .index = -1};

            if (sections_seen & 1u << index) {
                return refuse(err, &inner, "is there twice");
            }
            sections_seen |= 1u << index;
            if (!parse_body(plan, section, base, value, &inner, err)) {
                return false;
            }
            continue;
        }
        f = type == WIRE_SECTION ? NULL : field_find(desc, name, &index);
        if (!f) {
            if (type & WIRE_OPTIONAL) {
                continue;
            }
            return refuse(err, w, "field %s is not known here (version %" PRIu64 ", ours is %u)",
                          name, version, desc->version);
        }
        if (seen[index]) {
            return refuse(err, w, "field %s is there twice", name);
        }
        seen[index] = true;
        if (!parse_field(plan, f, base, (unsigned)type & ~(unsigned)WIRE_OPTIONAL, value, w, err)) {
            return false;
        }
    }
    for (unsigned i = 0; desc->fields[i].name; i++) {
        const struct state_field *f = &desc->fields[i];

        if (!seen[i] && !f->optional && field_since(f) <= version) {
            return refuse(err, w, "field %s is missing", f->name);
        }
    }
    for (unsigned i = 0; desc->sections && desc->sections[i]; i++) {
        if (!desc->sections[i]->needed && !(sections_seen & 1u << i)) {
            return refuse(err, w, "section %s is missing", desc->sections[i]->name);
        }
    }
    g_array_append_val(plan->parts, part);
    return true;
}

/* After all values are there, because the stream decides in which order they come. */
static bool run_checks(const struct state_plan *plan, const struct where *w, GError **err)
{
    for (guint i = 0; i < plan->parts->len; i++) {
        const struct plan_part *part = &g_array_index(plan->parts, struct plan_part, i);
        g_autoptr(GError) inner = NULL;

        if (part->desc->check && !part->desc->check(plan->scratch + part->base, &inner)) {
            return refuse(err, w, "%s%s%s", part->desc == plan->desc ? "" : part->desc->name,
                          part->desc == plan->desc ? "" : ": ",
                          inner ? inner->message : "values do not agree");
        }
    }
    return true;
}

struct state_plan *state_parse_sized(const struct state_desc *desc, size_t size, const void *data,
                                     size_t len, GError **err)
{
    struct state_plan *plan = g_new0(struct state_plan, 1);
    struct reader r = {.data = data, .left = len};
    struct where w = {.up = NULL, .name = desc->name, .index = -1};

    state_desc_assert(desc);
    plan->desc = desc;
    plan->scratch = g_malloc0(MAX(size, desc_extent(desc)));
    plan->items = g_array_new(FALSE, FALSE, sizeof(struct plan_item));
    plan->parts = g_array_new(FALSE, FALSE, sizeof(struct plan_part));
    if (!parse_body(plan, desc, 0, r, &w, err) || !run_checks(plan, &w, err)) {
        state_plan_free(plan);
        return NULL;
    }
    return plan;
}

struct state_plan *state_parse(const struct state_desc *desc, const void *data, size_t len,
                               GError **err)
{
    return state_parse_sized(desc, 0, data, len, err);
}

void state_plan_free(struct state_plan *plan)
{
    if (!plan) {
        return;
    }
    for (guint i = 0; i < plan->items->len; i++) {
        const struct plan_item *item = &g_array_index(plan->items, struct plan_item, i);

        if (is_pointer(item->field)) {
            g_free(*(void **)(plan->scratch + item->base + item->field->offset));
        }
    }
    g_array_free(plan->items, TRUE);
    g_array_free(plan->parts, TRUE);
    g_free(plan->scratch);
    g_free(plan);
}

const void *state_plan_value(const struct state_plan *plan, size_t offset)
{
    for (guint i = 0; i < plan->items->len; i++) {
        const struct plan_item *item = &g_array_index(plan->items, struct plan_item, i);
        const struct state_field *f = item->field;
        size_t start = item->base + f->offset;

        if (!is_pointer(f) && !is_struct(f) && offset >= start &&
            offset - start < field_count(f) * field_stride(f)) {
            return plan->scratch + offset;
        }
    }
    return NULL;
}

/* ---- applying ---- */

bool state_fits(const struct state_plan *plan, const void *base, GError **err)
{
    for (guint i = 0; i < plan->parts->len; i++) {
        const struct plan_part *part = &g_array_index(plan->parts, struct plan_part, i);
        g_autoptr(GError) inner = NULL;

        if (part->desc->fits && !part->desc->fits(plan->scratch + part->base,
                                                  (const char *)base + part->base, &inner)) {
            g_set_error(err, STATE_ERROR, EINVAL, "%s: %s", part->desc->name,
                        inner ? inner->message : "does not fit this device");
            return false;
        }
    }
    return true;
}

static void apply_timer(struct vtimer *timer, int64_t deadline)
{
    int64_t oldest;

    if (deadline == VTIMER_OFF) {
        vtimer_disarm(timer);
        return;
    }
    oldest = vclock_now(timer->clock) - OVERDUE_MAX_NS;
    vtimer_arm(timer, deadline > oldest ? deadline : oldest);
}

static void apply_item(struct state_plan *plan, const struct plan_item *item, char *base)
{
    const struct state_field *f = item->field;
    char *from = plan->scratch + item->base + f->offset;
    char *to = base + item->base + f->offset;

    if (has_length(f)) {
        *length_of(f, base + item->base) = *length_of(f, plan->scratch + item->base);
    }
    if (is_struct(f)) {
        return; /* its elements are items of their own */
    }
    for (uint32_t i = 0; i < field_count(f); i++, from += field_stride(f), to += field_stride(f)) {
        switch (f->type) {
        case STATE_TIMER:
            apply_timer((struct vtimer *)to, ((struct vtimer *)from)->deadline);
            break;
        case STATE_IRQ:
            irq_restore((struct irq *)to, ((struct irq *)from)->level);
            break;
        case STATE_VAR_BYTES:
        case STATE_STRING:
            g_free(*(void **)to);
            *(void **)to = *(void **)from;
            *(void **)from = NULL; /* handed over */
            return;
        default:
            memcpy(to, from, field_count(f) * field_stride(f));
            return;
        }
    }
}

void state_apply(struct state_plan *plan, void *base)
{
    for (guint i = 0; i < plan->items->len; i++) {
        apply_item(plan, &g_array_index(plan->items, struct plan_item, i), base);
    }
    for (guint i = 0; i < plan->parts->len; i++) {
        const struct plan_part *part = &g_array_index(plan->parts, struct plan_part, i);

        if (part->desc->post_load) {
            part->desc->post_load((char *)base + part->base);
        }
    }
}
