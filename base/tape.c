/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tape; see xendm/tape.h and docs/recording.md, which has the format of an entry. */
#include <inttypes.h>
#include <string.h>

#include <xendm/bytes.h>
#include <xendm/recorder.h>
#include <xendm/tape.h>

enum tape_mode tape_mode;
unsigned tape_vcpu;
const struct iovec *tape_guest_iov;
unsigned tape_guest_pieces;

#define BIT(n) (1u << (n))
#define VARINT_MAX 10u /* bytes */

static const struct tape_kind_info kinds[TAPE_KINDS] = {
    [TAPE_END] = {"end", .event = true, .text = true},
    [TAPE_START] = {"start", .event = true},
    [TAPE_STOP] = {"stop", .event = true},
    [TAPE_PIO_READ] = {"pio-read", .event = true, .number = {"vcpu", "port", "size"}},
    [TAPE_PIO_WRITE] = {"pio-write", .event = true, .number = {"vcpu", "port", "size", "value"}},
    [TAPE_PIO_PAYLOAD] = {"pio-payload", .event = true,
                          .number = {"vcpu", "port", "size", "value"}},
    [TAPE_MMIO_READ] = {"mmio-read", .event = true, .number = {"vcpu", "address", "size"}},
    [TAPE_MMIO_WRITE] = {"mmio-write", .event = true,
                         .number = {"vcpu", "address", "size", "value"}},
    [TAPE_MMIO_PAYLOAD] = {"mmio-payload", .event = true,
                           .number = {"vcpu", "address", "size", "value"}},
    [TAPE_CFG_READ] = {"cfg-read", .event = true,
                       .number = {"vcpu", "function", "register", "size"}},
    [TAPE_CFG_WRITE] = {"cfg-write", .event = true,
                        .number = {"vcpu", "function", "register", "size", "value"}},
    [TAPE_PIO_IN] = {"pio-in", .event = true, .number = {"vcpu", "port", "size", "count"}},
    [TAPE_PIO_OUT] = {"pio-out", .event = true, .data = TAPE_GIVEN, .payload = true,
                      .number = {"vcpu", "port", "size", "count"}},
    [TAPE_TIMERS] = {"timers", .event = true},
    [TAPE_BLOCK_DONE] = {"block-done", .event = true, .data = TAPE_GIVEN, .payload = true,
                         .number = {"request", "errno"}},
    [TAPE_CHAR_IN] = {"char-in", .event = true, .text = true, .data = TAPE_GIVEN, .payload = true},
    [TAPE_CHAR_EVENT] = {"char-event", .event = true, .text = true, .number = {"event"}},
    [TAPE_CHAR_ROOM] = {"char-room", .event = true, .text = true},
    [TAPE_KEY] = {"key", .event = true, .number = {"code", "down"}},
    [TAPE_KEYS] = {"keys", .event = true, .data = TAPE_GIVEN, .payload = true, .number = {"hold"}},
    [TAPE_RELATIVE] = {"relative", .event = true, .number = {"dx", "dy", "wheel"}},
    [TAPE_ABSOLUTE] = {"absolute", .event = true, .number = {"x", "y"}},
    [TAPE_BUTTON] = {"button", .event = true, .number = {"code", "down"}},
    [TAPE_SYNC] = {"sync", .event = true},
    [TAPE_GOES_ON] = {"goes-on", .event = true, .text = true},
    [TAPE_ANSWER] = {"answer", .number = {"value"}},
    [TAPE_PAYLOAD_ANSWER] = {"payload-answer", .number = {"value"}},
    [TAPE_HIDDEN_ANSWER] = {"hidden-answer"},
    [TAPE_UNITS] = {"units", .data = TAPE_MADE, .payload = true, .number = {"count"}},
    [TAPE_DMA_READ] = {"dma-read", .asked = BIT(2), .data = TAPE_GIVEN, .payload = true,
                       .number = {"address", "length", "errno"}},
    [TAPE_DMA_WRITE] = {"dma-write", .asked = BIT(2), .data = TAPE_MADE, .payload = true,
                        .number = {"address", "length", "errno"}},
    [TAPE_WINDOW_READ] = {"window-read", .asked = BIT(2), .data = TAPE_GIVEN,
                          .number = {"address", "length", "errno"}},
    [TAPE_WINDOW_WRITE] = {"window-write", .asked = BIT(2), .data = TAPE_MADE,
                           .number = {"address", "length", "errno"}},
    [TAPE_LIST_ADD] = {"list-add", .asked = BIT(2), .number = {"address", "length", "result"}},
    [TAPE_LIST_GET] = {"list-get", .data = TAPE_GIVEN, .payload = true,
                       .number = {"offset", "length"}},
    [TAPE_LIST_PUT] = {"list-put", .data = TAPE_MADE, .payload = true,
                       .number = {"offset", "length"}},
    [TAPE_READ_NOW] = {"read-now", .text = true, .asked = BIT(2), .data = TAPE_GIVEN,
                       .payload = true, .number = {"offset", "length", "errno"}},
    [TAPE_SUBMIT] = {"submit", .text = true, .data = TAPE_MADE, .payload = true,
                     .number = {"request", "operation", "flags", "offset", "length"}},
    [TAPE_VIDEO_READ] = {"video-read", .data = TAPE_GIVEN, .payload = true,
                         .number = {"offset", "length"}},
    [TAPE_LATE] = {"late", .asked = BIT(0), .number = {"late"}},
    [TAPE_CHAR_OUT] = {"char-out", .text = true, .asked = BIT(0), .data = TAPE_MADE,
                       .payload = true, .number = {"taken"}},
    [TAPE_CARRIER] = {"carrier", .text = true, .asked = BIT(0), .number = {"connected"}},
    [TAPE_IRQ] = {"irq", .number = {"line", "level"}},
    [TAPE_INTX] = {"intx", .number = {"device", "pin", "level"}},
    [TAPE_LINK] = {"link", .number = {"link", "irq"}},
    [TAPE_MSI] = {"msi", .number = {"address", "data"}},
    [TAPE_SHUTDOWN] = {"shutdown", .number = {"reason"}},
    [TAPE_SLEEP] = {"sleep", .asked = BIT(1), .number = {"state", "errno"}},
    [TAPE_NET_ASK] = {"net-ask", .event = true, .text = true},
    [TAPE_NET_IN] = {"net-in", .event = true, .text = true, .data = TAPE_GIVEN, .payload = true,
                     .number = {"flags", "checksum", "segment", "header"}},
    [TAPE_NET_SENT] = {"net-sent", .event = true, .text = true},
    [TAPE_NET_LINK] = {"net-link", .event = true, .text = true, .number = {"up"}},
    [TAPE_NET_ROOM] = {"net-room", .number = {"room"}},
    [TAPE_NET_TAKEN] = {"net-taken", .number = {"taken"}},
    [TAPE_NET_OUT] = {"net-out", .text = true, .asked = BIT(5), .data = TAPE_MADE, .payload = true,
                      .number = {"length", "flags", "checksum", "segment", "header", "errno"}},
    [TAPE_NET_CABLE] = {"net-cable", .text = true, .asked = BIT(0), .number = {"up"}},
    [TAPE_LIST_HEADERS] = {"list-headers", .data = TAPE_GIVEN, .payload = true,
                           .number = {"offset", "length"}},
    [TAPE_SOUND] = {"sound", .text = true, .data = TAPE_MADE, .payload = true,
                    .number = {"frames"}},
    [TAPE_FILE_READ] = {"file-read", .text = true, .asked = BIT(2), .data = TAPE_GIVEN,
                        .number = {"offset", "length", "errno"}},
    [TAPE_FILE_COPIED] = {"file-copied", .text = true, .asked = BIT(1),
                          .number = {"offset", "errno"}},
    [TAPE_LIMITS] = {"limits", .text = true, .asked = BIT(TAPE_NUMBERS) - 1,
                     .number = {"logical", "physical", "transfer", "discard", "align", "can"}},
    [TAPE_DMA_STRUCTURE] = {"dma-structure", .asked = BIT(2), .data = TAPE_GIVEN,
                            .number = {"address", "length", "errno"}},
    [TAPE_DMA_HEADERS] = {"dma-headers", .asked = BIT(2), .data = TAPE_GIVEN, .payload = true,
                          .number = {"address", "length", "errno"}},
    [TAPE_DMA_PAYLOAD] = {"dma-payload", .asked = BIT(2), .data = TAPE_GIVEN, .payload = true,
                          .number = {"address", "length", "errno"}},
    [TAPE_RANDOM] = {"random", .asked = BIT(1), .data = TAPE_GIVEN, .payload = true,
                     .number = {"length", "errno"}},
    [TAPE_CHAR_ASK] = {"char-ask", .event = true, .text = true},
    [TAPE_CHAR_SIZE] = {"char-size", .text = true, .asked = BIT(0) | BIT(1) | BIT(2),
                        .number = {"known", "columns", "rows"}},
    [TAPE_P9_DONE] = {"p9-done", .event = true, .text = true, .data = TAPE_GIVEN, .payload = true,
                      .number = {"slot", "length"}},
    [TAPE_P9_TAKE] = {"p9-take", .text = true, .asked = BIT(0), .number = {"slot or errno"}},
    [TAPE_P9_SEND] = {"p9-send", .text = true, .data = TAPE_MADE, .payload = true,
                      .number = {"slot", "length", "limit"}},
};

const struct tape_kind_info *tape_kind_info(unsigned kind)
{
    return kind < TAPE_KINDS && kinds[kind].name ? &kinds[kind] : NULL;
}

/* ---- entries as bytes ---- */

static void put_number(GByteArray *to, uint64_t value)
{
    uint8_t buf[VARINT_MAX];
    unsigned n = 0;

    do {
        buf[n++] = (uint8_t)((value & 0x7f) | (value >> 7 ? 0x80 : 0));
        value >>= 7;
    } while (value);
    g_byte_array_append(to, buf, n);
}

struct input {
    const uint8_t *p;
    size_t left;
    bool damaged;
};

/* False: it ends here, or is none. */
static bool get_number(struct input *in, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; in->left > 0; shift += 7) {
        uint8_t byte = *in->p++;

        in->left--;
        if (shift == 63 && byte > 1) {
            in->damaged = true;
            return false;
        }
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            return true;
        }
    }
    return false;
}

size_t tape_stored(const struct tape_entry *e)
{
    if (e->hidden || e->len == 0) {
        return 0;
    }
    return kinds[e->kind].data == TAPE_MADE && e->len > TAPE_PLAIN_MAX ? TAPE_DIGEST : e->len;
}

void tape_encode(GByteArray *to, const struct tape_entry *e, uint64_t *time)
{
    const struct tape_kind_info *k = &kinds[e->kind];
    uint8_t kind = (uint8_t)e->kind;

    g_byte_array_append(to, &kind, 1);
    if (k->event) {
        put_number(to, e->time - *time);
        *time = e->time;
    }
    for (unsigned i = 0; i < TAPE_NUMBERS && k->number[i]; i++) {
        put_number(to, e->number[i]);
    }
    if (k->text) {
        size_t len = strlen(e->text);

        put_number(to, len);
        g_byte_array_append(to, (const guint8 *)e->text, (guint)len);
    }
    if (k->data != TAPE_NO_DATA) {
        put_number(to, (uint64_t)e->len << 1 | e->hidden);
        g_byte_array_append(to, e->data, (guint)tape_stored(e));
    }
}

/* `len` bytes of it; NULL: there are not so many. */
static const uint8_t *get_bytes(struct input *in, uint64_t len)
{
    const uint8_t *at = in->p;

    if (len > in->left) {
        return NULL;
    }
    in->p += len;
    in->left -= (size_t)len;
    return at;
}

static bool get_text(struct input *in, struct tape_entry *e)
{
    const uint8_t *at;
    uint64_t len;

    if (!get_number(in, &len)) {
        return false;
    }
    if (len > TAPE_TEXT_MAX) {
        in->damaged = true;
        return false;
    }
    at = get_bytes(in, len);
    if (!at) {
        return false;
    }
    in->damaged = memchr(at, '\0', (size_t)len) != NULL;
    memcpy(e->text, at, (size_t)len);
    e->text[len] = '\0';
    return !in->damaged;
}

static bool get_data(struct input *in, struct tape_entry *e)
{
    const uint8_t *at;
    uint64_t len;

    if (!get_number(in, &len)) {
        return false;
    }
    e->hidden = len & 1;
    if (len >> 1 > TAPE_DATA_MAX) {
        in->damaged = true;
        return false;
    }
    e->len = (size_t)(len >> 1);
    at = get_bytes(in, tape_stored(e));
    e->data = tape_stored(e) > 0 ? at : NULL;
    return at != NULL;
}

int64_t tape_decode(const uint8_t *p, size_t left, struct tape_entry *e, uint64_t *time)
{
    struct input in = {.p = p, .left = left};
    const struct tape_kind_info *k = left ? tape_kind_info(p[0]) : NULL;
    bool whole = true;

    *e = (struct tape_entry){.kind = left ? p[0] : 0};
    if (!k) {
        return left ? -1 : 0;
    }
    get_bytes(&in, 1);
    if (k->event) {
        whole = get_number(&in, &e->time);
        e->time += *time;
    }
    for (unsigned i = 0; whole && i < TAPE_NUMBERS && k->number[i]; i++) {
        whole = get_number(&in, &e->number[i]);
    }
    whole =
        whole && (!k->text || get_text(&in, e)) && (k->data == TAPE_NO_DATA || get_data(&in, e));
    if (!whole) {
        return in.damaged ? -1 : 0;
    }
    if (k->event) {
        *time = e->time;
    }
    return in.p - p;
}

#define SHOWN 32u /* bytes of data */

char *tape_entry_text(const struct tape_entry *e)
{
    const struct tape_kind_info *k = &kinds[e->kind];
    size_t stored = tape_stored(e);
    GString *s = g_string_new(k->name);

    if (k->text) {
        g_autofree char *safe = g_strescape(e->text, NULL);

        g_string_append_printf(s, " %s", safe);
    }
    for (unsigned i = 0; i < TAPE_NUMBERS && k->number[i]; i++) {
        int64_t n = (int64_t)e->number[i];

        g_string_append_printf(s, n > -4096 && n < 10 ? " %s %" PRId64 : " %s %#" PRIx64,
                               k->number[i], e->number[i]);
    }
    if (k->data != TAPE_NO_DATA && e->len > 0) {
        g_string_append_printf(s, ", %zu bytes%s", e->len,
                               e->hidden                                  ? " (scrubbed)"
                               : k->data == TAPE_MADE && stored != e->len ? " of digest"
                                                                          : ":");
        for (size_t i = 0; i < MIN(stored, SHOWN); i++) {
            g_string_append_printf(s, " %02x", e->data[i]);
        }
        if (stored > SHOWN) {
            g_string_append(s, " …");
        }
    }
    return g_string_free(s, FALSE);
}

/* A number that differs when the bytes differ, but for one case in 2^64; no secret. */
static void digest(const uint8_t *p, size_t len, uint8_t out[TAPE_DIGEST])
{
    uint64_t h = len * UINT64_C(0x9e3779b97f4a7c15);

    for (; len > 0; p += MIN(len, 8), len -= MIN(len, 8)) {
        uint64_t word = 0;

        memcpy(&word, p, MIN(len, 8));
        h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
        h ^= h >> 32;
    }
    store_le64(out, h);
}

/* ---- the one that is under way ---- */

static struct {
    struct tape_clock clock;
    unsigned depth; /* of events */
    uint64_t time;  /* of the last event in bytes */
    uint64_t entries;

    struct tape_recorder to;

    struct tape_player from;
    struct tape_entry next;
    int64_t next_len; /* 0: nothing is left, -1: damage */
} tape;

static void fill(struct tape_entry *e, enum tape_kind kind, const char *text, const uint64_t *n,
                 const void *data, size_t len, uint8_t room[TAPE_DIGEST])
{
    const struct tape_kind_info *k = &kinds[kind];

    *e = (struct tape_entry){.kind = kind};
    for (unsigned i = 0; n && i < TAPE_NUMBERS && k->number[i]; i++) {
        e->number[i] = n[i];
    }
    if (text) {
        g_strlcpy(e->text, text, sizeof(e->text));
    }
    if (k->data != TAPE_NO_DATA) {
        e->len = len;
        e->data = data;
        if (k->data == TAPE_MADE && len > TAPE_PLAIN_MAX) {
            digest(data, len, room);
            e->data = room;
        }
    }
}

bool tape_inside(void)
{
    return tape.depth > 0;
}

uint64_t tape_entries(void)
{
    return tape.entries;
}

/* ---- recording ---- */

static void append(const struct tape_entry *e)
{
    tape_encode(tape.to.out, e, &tape.time);
    tape.entries++;
}

void tape_record(const struct tape_recorder *to)
{
    XENDM_ASSERT(tape_mode == TAPE_OFF && tape.depth == 0);
    tape.to = *to;
    tape.clock = to->clock;
    tape.time = tape.entries = 0;
    tape_guest_iov = NULL;
    tape_mode = TAPE_RECORDS;
}

void tape_stop_recording(const char *why)
{
    struct tape_entry e;

    if (tape_mode != TAPE_RECORDS) {
        return;
    }
    fill(&e, TAPE_END, why, NULL, NULL, 0, NULL);
    e.time = tape.time;
    append(&e);
    if (tape.depth > 0) {
        tape.clock.thaw(tape.clock.opaque);
        tape.depth = 0;
    }
    tape_mode = TAPE_OFF;
}

static void record_event(struct tape_entry *e)
{
    int64_t now = tape.clock.now(tape.clock.opaque);

    tape.clock.freeze(tape.clock.opaque, now);
    e->time = (uint64_t)now;
    append(e);
}

/* ---- playing ---- */

static void look_ahead(void)
{
    uint64_t time = tape.time;

    tape.next_len = tape_decode(tape.from.data, tape.from.len, &tape.next, &time);
}

void tape_play(const struct tape_player *from)
{
    XENDM_ASSERT(tape_mode == TAPE_OFF && tape.depth == 0);
    tape.from = *from;
    tape.clock = (struct tape_clock){.freeze = from->freeze, .opaque = from->opaque};
    tape.time = tape.entries = 0;
    tape_guest_iov = NULL;
    tape_mode = TAPE_PLAYS;
    look_ahead();
}

static void took(void)
{
    if (kinds[tape.next.kind].event) {
        tape.time = tape.next.time;
    }
    tape.entries++;
    tape.from.data += tape.next_len;
    tape.from.len -= (size_t)tape.next_len;
    look_ahead();
}

static char *next_text(void)
{
    if (tape.next_len > 0) {
        return tape_entry_text(&tape.next);
    }
    return g_strdup(tape.next_len < 0    ? "(the recording is damaged here)"
                    : tape.from.len == 0 ? "(the recording ends here)"
                                         : "(the recording is cut here)");
}

static void __attribute__((noreturn)) differs(const struct tape_entry *got)
{
    g_autofree char *expected = next_text();
    g_autofree char *have = got ? tape_entry_text(got) : g_strdup("nothing more of this event");

    tape.from.differs(tape.from.opaque, expected, have);
}

void tape_cannot(const char *why)
{
    g_autofree char *expected = next_text();

    tape.from.differs(tape.from.opaque, expected, why);
}

/* A tape that was cut has an end all the same: what is missing is not compared. */
static bool at_the_end(void)
{
    return tape.next_len == 0 || (tape.next_len > 0 && tape.next.kind == TAPE_END);
}

void tape_next_event(struct tape_entry *e)
{
    if (at_the_end()) {
        tape.from.ended(tape.from.opaque);
    }
    if (tape.next_len < 0 || !kinds[tape.next.kind].event) {
        differs(NULL);
    }
    *e = tape.next;
}

void tape_take_event(void)
{
    tape.clock.freeze(tape.clock.opaque, (int64_t)tape.next.time);
    tape.depth++;
    took();
}

static bool same_numbers(const struct tape_entry *got)
{
    const struct tape_kind_info *k = &kinds[got->kind];

    for (unsigned i = 0; i < TAPE_NUMBERS && k->number[i]; i++) {
        if (!(k->asked & BIT(i)) && got->number[i] != tape.next.number[i]) {
            return false;
        }
    }
    return true;
}

static bool same(const struct tape_entry *got)
{
    if (tape.next_len <= 0 || tape.next.kind != got->kind ||
        strcmp(tape.next.text, got->text) != 0 || !same_numbers(got)) {
        return false;
    }
    if (kinds[got->kind].data != TAPE_MADE || tape.next.hidden) {
        return true;
    }
    return tape.next.len == got->len &&
           (got->len == 0 || memcmp(tape.next.data, got->data, tape_stored(got)) == 0);
}

/* What `got` is, the machine asks or tells; its answers are filled in. */
static size_t compare(const struct tape_entry *got, uint64_t *n, void *data, size_t room)
{
    const struct tape_kind_info *k = &kinds[got->kind];
    size_t len = 0;

    if (tape.next_len > 0 && tape.next.kind == TAPE_HIDDEN_ANSWER &&
        (got->kind == TAPE_ANSWER || got->kind == TAPE_PAYLOAD_ANSWER)) {
        took();
        return 0;
    }
    if (!same(got)) {
        if (at_the_end()) {
            tape.from.ended(tape.from.opaque);
        }
        differs(got);
    }
    for (unsigned i = 0; i < TAPE_NUMBERS && k->number[i]; i++) {
        if (k->asked & BIT(i)) {
            n[i] = tape.next.number[i];
        }
    }
    if (k->data == TAPE_GIVEN) {
        len = tape.next.len;
        if (len > room) {
            differs(got);
        }
        if (len > 0 && tape.next.hidden) {
            memset(data, 0, len);
        } else if (len > 0) {
            memcpy(data, tape.next.data, len);
        }
    }
    took();
    return len;
}

/* ---- for everybody ---- */

bool tape_begin_event(enum tape_kind kind, const char *text, const uint64_t *n, const void *data,
                      size_t len)
{
    uint8_t room[TAPE_DIGEST];
    struct tape_entry e;

    if (tape.depth > 0) {
        tape.depth++;
        return true;
    }
    fill(&e, kind, text, n, data, MIN(len, TAPE_DATA_MAX), room);
    if (tape_mode == TAPE_PLAYS) {
        if (!same(&e)) {
            return false;
        }
        tape_take_event();
        return true;
    }
    record_event(&e);
    tape.depth++;
    return true;
}

void tape_end_event(void)
{
    if (tape.depth == 0 || --tape.depth > 0) {
        return; /* the recording may have ended meanwhile */
    }
    if (tape_mode == TAPE_PLAYS) {
        if (!at_the_end() && (tape.next_len < 0 || !kinds[tape.next.kind].event)) {
            differs(NULL);
        }
        return;
    }
    tape.clock.thaw(tape.clock.opaque);
    tape.to.grown(tape.to.opaque);
}

size_t tape_fact(enum tape_kind kind, const char *text, uint64_t *n, void *data, size_t len)
{
    uint8_t room[TAPE_DIGEST];
    struct tape_entry e;

    fill(&e, kind, text, n, data, MIN(len, TAPE_DATA_MAX), room);
    if (tape_mode == TAPE_PLAYS) {
        if (tape.depth == 0) {
            differs(&e);
        }
        return compare(&e, n, data, len);
    }
    if (tape_mode == TAPE_RECORDS && tape.depth == 0) {
        g_autofree char *what = tape_entry_text(&e);

        tape.to.lost(tape.to.opaque, what);
    } else if (tape_mode == TAPE_RECORDS) {
        append(&e);
    }
    return len;
}

void tape_unrecorded(const char *what)
{
    if (tape_mode == TAPE_RECORDS && tape.depth == 0) {
        tape.to.lost(tape.to.opaque, what);
    }
}

bool tape_was_late(bool late)
{
    uint64_t n[] = {late};

    tape_fact(TAPE_LATE, NULL, n, NULL, 0);
    return n[0];
}
