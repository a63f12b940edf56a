/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's saved state: a preamble, a record per device and section, and an end with a
 * checksum. The bytes are in docs/state-format.md.
 *
 * Loading goes in four steps, and only the last one changes anything: find the records, parse each
 * into a plan, see that every device got what it needs and that it fits, apply in the machine's
 * order.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/recorder.h>
#include <xendm/regs.h>
#include <xendm/state.h>

#include "core.h"

static const char magic[8] = {'X', 'E', 'N', 'D', 'M', 'S', 'A', 'V'};

#define FORMAT_VERSION 1u
#define ENDIAN_MARK 0x01020304u
#define TEXT_MAX (256u << 10)
#define DIGEST_SIZE 32u /* SHA-256 */

enum record_type {
    RECORD_END = 0,
    RECORD_SECTION = 1,
    /* SHA-256 of the description's lines; not in the first streams of version 1 */
    RECORD_DESCRIPTION = 2,
    /* a reader to whom type, device or section mean nothing skips the record */
    RECORD_OPTIONAL = 0x80000000u,
};

/* ---- what belongs to no device ---- */

struct global_state {
    int64_t clock;
    uint32_t after_start; /* enum machine_state */
};

static const struct state_field global_fields[] = {
    /* Half of what int64_t holds, so that deadlines can be computed from it. */
    STATE_FIELD_I64(struct global_state, clock, .min = 0, .max = INT64_MAX / 2),
    STATE_FIELD_U32(struct global_state, after_start, .min = MACHINE_RUNNING,
                    .max = MACHINE_SHUTDOWN),
    STATE_FIELD_END,
};

static const struct state_desc global_desc = {
    .name = "machine",
    .version = 1,
    .fields = global_fields,
};

/* ---- saving ---- */

static void put32(GByteArray *out, uint32_t value)
{
    uint32_t le = GUINT32_TO_LE(value);

    g_byte_array_append(out, (const guint8 *)&le, sizeof(le));
}

static void put_name(GByteArray *out, const char *name)
{
    uint8_t len = (uint8_t)strlen(name);

    g_byte_array_append(out, &len, 1);
    g_byte_array_append(out, (const guint8 *)name, len);
}

static void save_record(const char *id, const struct state_desc *desc, void *base, GByteArray *out)
{
    uint32_t le;
    guint at;

    if (desc->needed && !desc->needed(base)) {
        return;
    }
    put32(out, RECORD_SECTION);
    at = out->len;
    put32(out, 0);
    put_name(out, id);
    put_name(out, desc->name);
    state_save(desc, base, out);
    le = GUINT32_TO_LE(out->len - at - 4);
    memcpy(out->data + at, &le, sizeof(le));
}

/*
 * For people and messages: the program, then a line per device. What may be loaded is not decided
 * by it.
 */
static char *machine_text(struct machine *m)
{
    GString *s = g_string_new(PACKAGE_STRING "\n");

    for (unsigned i = 0; i < m->devices->len; i++) {
        const struct device *dev = g_ptr_array_index(m->devices, i);

        if (pci_device_is(dev)) {
            unsigned devfn = ((const struct pci_device *)dev)->devfn;

            g_string_append_printf(s, "%02x.%x ", PCI_SLOT(devfn), PCI_FUNCTION(devfn));
        }
        g_string_append_printf(s, "%s %s\n", dev->class->name, dev->id);
    }
    g_string_truncate(s, MIN(s->len, TEXT_MAX));
    return g_string_free(s, FALSE);
}

static void digest(const void *data, size_t len, uint8_t out[DIGEST_SIZE])
{
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    gsize size = DIGEST_SIZE;

    g_checksum_update(sum, data, (gssize)len);
    g_checksum_get_digest(sum, out, &size);
    g_checksum_free(sum);
}

/* The part of a description that is the machine: without the program's line. */
static const char *device_lines(const char *text, size_t len, size_t *left)
{
    const char *end = len ? memchr(text, '\n', len) : NULL;

    *left = end ? len - (size_t)(end + 1 - text) : 0;
    return end ? end + 1 : "";
}

static void description_digest(const char *text, size_t len, uint8_t out[DIGEST_SIZE])
{
    size_t left;
    const char *lines = device_lines(text, len, &left);

    digest(lines, left, out);
}

static void save_digest(uint32_t type, const uint8_t sum[DIGEST_SIZE], GByteArray *out)
{
    put32(out, type);
    put32(out, DIGEST_SIZE);
    g_byte_array_append(out, sum, DIGEST_SIZE);
}

static bool devices_migrate(const struct machine *m, GError **err)
{
    for (unsigned i = 0; i < m->devices->len; i++) {
        const struct device *dev = g_ptr_array_index(m->devices, i);

        if (dev->class->unmigratable) {
            g_set_error(err, XENDM_ERROR, ENOTSUP, "%s (%s) cannot be saved: %s", dev->id,
                        dev->class->name, dev->class->unmigratable);
            return false;
        }
    }
    return true;
}

int machine_save(struct machine *m, GByteArray *out, GError **err)
{
    struct global_state global = {
        .clock = vclock_now(m->clock),
        .after_start = machine_private(m)->after_start,
    };
    g_autofree char *text = NULL;
    guint start = out->len;
    uint8_t sum[DIGEST_SIZE];

    if (m->state != MACHINE_STOPPED) {
        g_set_error(err, XENDM_ERROR, EBUSY,
                    "state can be saved only while the machine is stopped");
        return -EBUSY;
    }
    if (machine_busy(m)) {
        g_set_error(err, XENDM_ERROR, EBUSY, "state cannot be saved while I/O is in flight");
        return -EBUSY;
    }
    if (!devices_migrate(m, err)) {
        return -ENOTSUP;
    }
    text = machine_text(m);
    g_byte_array_append(out, (const guint8 *)magic, sizeof(magic));
    put32(out, FORMAT_VERSION);
    put32(out, ENDIAN_MARK);
    put32(out, (uint32_t)strlen(text));
    g_byte_array_append(out, (const guint8 *)text, (guint)strlen(text));
    description_digest(text, strlen(text), sum);
    save_digest(RECORD_DESCRIPTION | RECORD_OPTIONAL, sum, out);
    save_record("", &global_desc, &global, out);
    for (unsigned i = 0; i < m->devices->len; i++) {
        struct device *dev = g_ptr_array_index(m->devices, i);

        if (pci_device_is(dev)) {
            save_record(dev->id, &pci_state, dev, out);
        }
        if (dev->class->state) {
            save_record(dev->id, dev->class->state, dev, out);
        }
    }
    digest(out->data + start, out->len - start, sum);
    save_digest(RECORD_END, sum, out);
    return 0;
}

/* ---- loading ---- */

/* What the machine takes, in the order of applying; a plan is put to each. */
struct slot {
    struct device *dev; /* NULL: the machine's own */
    const struct state_desc *desc;
    struct state_plan *plan;
};

struct cursor {
    const uint8_t *data;
    size_t len, at;
};

/* The machine's description in the stream: not terminated, any bytes. */
struct description {
    const char *text;
    uint32_t len;
    bool hashed;
};

static bool take(struct cursor *c, size_t n, const uint8_t **bytes)
{
    if (c->len - c->at < n) {
        return false;
    }
    *bytes = c->data + c->at;
    c->at += n;
    return true;
}

static bool take32(struct cursor *c, uint32_t *value)
{
    const uint8_t *p;

    if (!take(c, 4, &p)) {
        return false;
    }
    memcpy(value, p, 4);
    *value = GUINT32_FROM_LE(*value);
    return true;
}

/* A counted name; bytes that do not belong into a message are refused. */
static bool take_name(struct cursor *c, char name[256])
{
    const uint8_t *len, *p;

    if (!take(c, 1, &len) || !take(c, *len, &p)) {
        return false;
    }
    for (unsigned i = 0; i < *len; i++) {
        if (p[i] < 0x20 || p[i] == 0x7f) {
            return false;
        }
        name[i] = (char)p[i];
    }
    name[*len] = '\0';
    return true;
}

static int __attribute__((format(printf, 2, 3))) refuse(GError **err, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_set_error(err, STATE_ERROR, EINVAL, "saved state: %s", text);
    return -EINVAL;
}

static int read_preamble(struct cursor *c, struct description *d, GError **err)
{
    uint32_t version, mark;
    const uint8_t *p;

    if (!take(c, sizeof(magic), &p) || memcmp(p, magic, sizeof(magic)) != 0) {
        return refuse(err, "this is none of xendm's: it does not begin with XENDMSAV");
    }
    if (!take32(c, &version) || !take32(c, &mark) || !take32(c, &d->len)) {
        return refuse(err, "the preamble is cut short");
    }
    if (version != FORMAT_VERSION) {
        return refuse(err, "format version %u is not known, only %u", version, FORMAT_VERSION);
    }
    if (mark != ENDIAN_MARK) {
        return refuse(err, "the byte order mark is 0x%08x", mark);
    }
    if (d->len > TEXT_MAX || !take(c, d->len, &p)) {
        return refuse(err, "the machine's description is cut short");
    }
    d->text = (const char *)p;
    return 0;
}

static void add_slot(GArray *slots, struct device *dev, const struct state_desc *desc)
{
    struct slot slot = {.dev = dev, .desc = desc};

    g_array_append_val(slots, slot);
}

static struct slot *find_slot(GArray *slots, const char *id, const char *section, bool *device)
{
    *device = false;
    for (guint i = 0; i < slots->len; i++) {
        struct slot *s = &g_array_index(slots, struct slot, i);

        if (strcmp(s->dev ? s->dev->id : "", id) == 0) {
            *device = true;
            if (strcmp(s->desc->name, section) == 0) {
                return s;
            }
        }
    }
    return NULL;
}

static int read_section(GArray *slots, struct cursor body, bool optional, GError **err)
{
    char id[256], section[256];
    struct slot *slot;
    size_t size;
    bool device;

    if (!take_name(&body, id) || !take_name(&body, section)) {
        return refuse(err, "a record has no readable name");
    }
    slot = find_slot(slots, id, section, &device);
    if (!slot && optional) {
        return 0;
    }
    if (!slot) {
        g_autofree char *shown = g_strescape(id, NULL), *shown_section = g_strescape(section, NULL);

        return device ? refuse(err, "device %s has no section %s", shown, shown_section)
                      : refuse(err, "this machine has no device %s (section %s)", shown,
                               shown_section);
    }
    if (slot->plan) {
        return refuse(err, "%s: section %s is there twice", id[0] ? id : "machine", section);
    }
    size = slot->dev ? slot->dev->class->size : sizeof(struct global_state);
    slot->plan = state_parse_sized(slot->desc, size, body.data + body.at, body.len - body.at, err);
    if (!slot->plan) {
        g_prefix_error(err, "saved state: %s: ", id[0] ? id : "machine");
        return -EINVAL;
    }
    return 0;
}

static int read_description(struct description *d, struct cursor body, GError **err)
{
    uint8_t sum[DIGEST_SIZE];

    description_digest(d->text, d->len, sum);
    if (body.len != DIGEST_SIZE || memcmp(sum, body.data, DIGEST_SIZE) != 0) {
        return refuse(err, "the machine's description does not match its hash");
    }
    if (d->hashed) {
        return refuse(err, "the hash of the machine's description is there twice");
    }
    d->hashed = true;
    return 0;
}

static int read_records(GArray *slots, struct cursor *c, struct description *d, GError **err)
{
    uint8_t sum[DIGEST_SIZE];

    for (;;) {
        size_t start = c->at;
        struct cursor body;
        uint32_t type, len;
        int rc;

        if (!take32(c, &type) || !take32(c, &len) || c->len - c->at < len) {
            return refuse(err, "a record at byte %zu is cut short", start);
        }
        body = (struct cursor){.data = c->data + c->at, .len = len};
        c->at += len;
        switch (type) {
        case RECORD_SECTION:
        case RECORD_SECTION | RECORD_OPTIONAL:
            rc = read_section(slots, body, type & RECORD_OPTIONAL, err);
            if (rc < 0) {
                return rc;
            }
            break;
        case RECORD_DESCRIPTION:
        case RECORD_DESCRIPTION | RECORD_OPTIONAL:
            rc = read_description(d, body, err);
            if (rc < 0) {
                return rc;
            }
            break;
        case RECORD_END:
            digest(c->data, start, sum);
            if (len != DIGEST_SIZE || memcmp(sum, body.data, DIGEST_SIZE) != 0) {
                return refuse(err, "the checksum is wrong");
            }
            if (c->at != c->len) {
                return refuse(err, "%zu bytes follow the end", c->len - c->at);
            }
            return 0;
        default:
            if (type & RECORD_OPTIONAL) {
                break;
            }
            return refuse(err, "a record at byte %zu has the unknown type %u", start, type);
        }
    }
}

/* Registers by table say themselves what they can be. */
static bool registers_fit(const struct slot *s, GError **err)
{
    for (unsigned i = 0; s->desc == s->dev->class->state && i < s->dev->banks->len; i++) {
        if (!reg_bank_fits(g_ptr_array_index(s->dev->banks, i), s->plan, err)) {
            return false;
        }
    }
    return true;
}

/* That nothing is missing, and that what is there may go where it shall. */
static int check_slots(GArray *slots, GError **err)
{
    for (guint i = 0; i < slots->len; i++) {
        const struct slot *s = &g_array_index(slots, struct slot, i);
        const char *id = s->dev ? s->dev->id : "machine";

        if (!s->plan) {
            if (s->desc->needed) {
                continue;
            }
            return refuse(err, "%s: section %s is missing", id, s->desc->name);
        }
        if (s->dev && (!registers_fit(s, err) || !state_fits(s->plan, s->dev, err))) {
            g_prefix_error(err, "saved state: %s: ", id);
            return -EINVAL;
        }
    }
    return 0;
}

/* The first line of `a` that `b` has not; NULL when it has all. */
static char *line_missing(const char *a, size_t a_len, const char *b, size_t b_len)
{
    g_autofree char *ours = g_strndup(a, a_len), *theirs = g_strndup(b, b_len);
    g_auto(GStrv) lines = g_strsplit(ours, "\n", -1), others = g_strsplit(theirs, "\n", -1);

    for (unsigned i = 0; lines[i]; i++) {
        if (!g_strv_contains((const char *const *)others, lines[i])) {
            return g_strescape(lines[i], NULL);
        }
    }
    return NULL;
}

/* A refusal of another machine's state is easier to understand with the difference. */
static void explain(struct machine *m, const struct description *d, GError **err)
{
    g_autofree char *text = machine_text(m), *with = NULL, *without = NULL, *was = NULL;
    size_t own_len, len;
    const char *own = device_lines(text, strlen(text), &own_len);
    const char *saved = device_lines(d->text, d->len, &len);

    if (!err || !*err) {
        return;
    }
    with = line_missing(saved, len, own, own_len);
    without = line_missing(own, own_len, saved, len);
    if (!with && !without) {
        return;
    }
    was = (*err)->message;
    (*err)->message =
        g_strdup_printf("%s (saved by another machine:%s%.100s%s%s%.100s%s)", was,
                        with ? " it has '" : "", with ? with : "", with ? "'" : "",
                        without ? " it lacks '" : "", without ? without : "", without ? "'" : "");
}

static void apply_slots(struct machine *m, GArray *slots)
{
    for (guint i = 0; i < slots->len; i++) {
        struct slot *s = &g_array_index(slots, struct slot, i);

        if (!s->plan) {
        } else if (s->dev) {
            state_apply(s->plan, s->dev);
        } else {
            struct global_state global = {0};

            state_apply(s->plan, &global);
            vclock_set(m->clock, global.clock);
            machine_private(m)->after_start = (enum machine_state)global.after_start;
        }
    }
}

int machine_load(struct machine *m, const void *data, size_t len, GError **err)
{
    struct cursor c = {.data = data, .len = len};
    struct description d = {0};
    GArray *slots;
    int rc;

    if (m->state != MACHINE_STOPPED || machine_private(m)->started) {
        g_set_error(err, XENDM_ERROR, EBUSY, "state is loaded only into a machine that never ran");
        return -EBUSY;
    }
    /* The machine's own first: timers are armed against its clock. */
    slots = g_array_new(FALSE, FALSE, sizeof(struct slot));
    add_slot(slots, NULL, &global_desc);
    for (unsigned i = 0; i < m->devices->len; i++) {
        struct device *dev = g_ptr_array_index(m->devices, i);

        if (pci_device_is(dev)) {
            add_slot(slots, dev, &pci_state);
        }
        if (dev->class->state) {
            add_slot(slots, dev, dev->class->state);
        }
    }
    rc = read_preamble(&c, &d, err);
    if (rc == 0) {
        rc = read_records(slots, &c, &d, err);
    }
    if (rc == 0) {
        rc = check_slots(slots, err);
    }
    if (rc == 0) {
        apply_slots(m, slots);
    } else if (d.hashed) {
        explain(m, &d, err);
    }
    for (guint i = 0; i < slots->len; i++) {
        state_plan_free(g_array_index(slots, struct slot, i).plan);
    }
    g_array_free(slots, TRUE);
    return rc;
}
