/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tape: entries as bytes, whatever the bytes; what a replay takes from it and compares. */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>

#include <xendm/tape.h>

static bool same_entry(const struct tape_entry *a, const struct tape_entry *b)
{
    return a->kind == b->kind && a->time == b->time &&
           memcmp(a->number, b->number, sizeof(a->number)) == 0 && strcmp(a->text, b->text) == 0 &&
           a->len == b->len && a->hidden == b->hidden && tape_stored(a) == tape_stored(b) &&
           (a->data != NULL) == (tape_stored(a) > 0) &&
           (tape_stored(a) == 0 || memcmp(a->data, b->data, tape_stored(a)) == 0);
}

/* One of every kind, with numbers of every length. */
static GByteArray *all_kinds(struct tape_entry *made, unsigned *count)
{
    static uint8_t bytes[100];
    GByteArray *out = g_byte_array_new();
    uint64_t time = 0;

    *count = 0;
    for (unsigned kind = 1; kind < TAPE_KINDS; kind++) {
        const struct tape_kind_info *k = tape_kind_info(kind);
        struct tape_entry *e = &made[(*count)++];

        g_assert_nonnull(k);
        *e = (struct tape_entry){.kind = kind, .data = bytes};
        e->time = k->event ? kind * UINT64_C(123456789) : 0;
        for (unsigned i = 0; i < TAPE_NUMBERS && k->number[i]; i++) {
            e->number[i] = UINT64_MAX >> (kind * 7 + i) % 64;
        }
        if (k->text) {
            g_strlcpy(e->text, "ide0-hd0", sizeof(e->text));
        }
        if (k->data != TAPE_NO_DATA) {
            e->len = kind % 3 ? sizeof(bytes) : TAPE_PLAIN_MAX;
            e->hidden = kind % 5 == 0;
        }
        tape_encode(out, e, &time);
    }
    return out;
}

static void test_entries(void)
{
    struct tape_entry made[TAPE_KINDS], e;
    unsigned count;
    g_autoptr(GByteArray) out = all_kinds(made, &count);
    uint64_t time = 0;
    size_t at = 0;

    for (unsigned i = 0; i < count; i++) {
        int64_t n = tape_decode(out->data + at, out->len - at, &e, &time);
        g_autofree char *text = tape_entry_text(&e);

        g_assert_cmpint(n, >, 0);
        g_assert_true(same_entry(&e, &made[i]));
        g_assert_true(g_str_has_prefix(text, tape_kind_info(e.kind)->name));
        at += (size_t)n;
    }
    g_assert_cmpuint(at, ==, out->len);
    g_assert_cmpint(tape_decode(out->data, 0, &e, &time), ==, 0);
}

/* Every prefix is not whole, and random changes are an entry, none, or damage; memory is exact. */
static void test_damage(void)
{
    struct tape_entry made[TAPE_KINDS], e;
    unsigned count;
    g_autoptr(GByteArray) out = all_kinds(made, &count);
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);

    for (unsigned round = 0; round < 20000; round++) {
        size_t from = (size_t)g_rand_int_range(rand, 0, (gint32)out->len);
        size_t len = (size_t)g_rand_int_range(rand, 0, (gint32)(out->len - from) + 1);
        g_autofree uint8_t *copy = g_memdup2(out->data + from, len);
        uint64_t time = 0;
        size_t at = 0;
        int64_t n;

        for (unsigned i = 0; i < 3 && len > 0; i++) {
            copy[g_rand_int_range(rand, 0, (gint32)len)] = (uint8_t)g_rand_int(rand);
        }
        while ((n = tape_decode(copy ? copy + at : NULL, len - at, &e, &time)) > 0) {
            g_autofree char *text = tape_entry_text(&e);

            g_assert_cmpuint((size_t)n, <=, len - at);
            at += (size_t)n;
        }
        g_assert_true(n == 0 || n == -1);
    }
}

/* ---- a machine of two devices: one asks for memory and tells what it found, one is asked ---- */

static int64_t clock_now;
static int64_t frozen;
static uint8_t memory[64];
static unsigned flaw; /* of this build */

static int64_t now(void *opaque)
{
    return clock_now;
}

static void freeze(void *opaque, int64_t at)
{
    frozen = at;
}

static void thaw(void *opaque)
{
    frozen = -1;
}

static void device_write(uint64_t value)
{
    uint8_t buf[8] = {0};
    uint64_t n[] = {value, sizeof(buf), 0};

    memcpy(buf, memory + value, sizeof(buf));
    tape_fact(TAPE_DMA_READ, NULL, n, buf, sizeof(buf));
    if (n[2] != 0) {
        return; /* as the chip would */
    }
    buf[0] ^= (uint8_t)(flaw == 1);
    tape_fact(TAPE_DMA_WRITE, NULL, (uint64_t[]){value + 8, sizeof(buf), 0}, buf, sizeof(buf));
    if (flaw != 2) {
        tape_fact(TAPE_IRQ, NULL, (uint64_t[]){5, 1}, NULL, 0);
    }
    if (flaw == 3) {
        tape_fact(TAPE_IRQ, NULL, (uint64_t[]){5, 0}, NULL, 0);
    }
}

static uint64_t device_read(void)
{
    return (uint64_t)frozen / 1000;
}

static void grown(void *opaque)
{
}

static void lost(void *opaque, const char *what)
{
    g_string_append(opaque, what);
    tape_stop_recording("lost");
}

static GByteArray *record(GString *what)
{
    struct tape_recorder to = {
        .clock = {.now = now, .freeze = freeze, .thaw = thaw},
        .out = g_byte_array_new(),
        .grown = grown,
        .lost = lost,
        .opaque = what,
    };

    tape_record(&to);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t value;

        clock_now += 5000;
        for (unsigned k = 0; k < sizeof(memory); k++) {
            memory[k] = (uint8_t)(i * 64 + k);
        }
        tape_begin_event(TAPE_PIO_WRITE, NULL, (uint64_t[]){0, 0x10, 1, i}, NULL, 0);
        clock_now += 5000;
        device_write(i);
        tape_end_event();
        tape_begin_event(TAPE_PIO_READ, NULL, (uint64_t[]){0, 0x11, 1}, NULL, 0);
        value = device_read();
        tape_fact(TAPE_ANSWER, NULL, &value, NULL, 0);
        tape_end_event();
    }
    return to.out;
}

static void __attribute__((noreturn)) differs(void *opaque, const char *expected, const char *got)
{
    g_assert_nonnull(expected);
    g_assert_nonnull(got);
    _exit(1);
}

static void __attribute__((noreturn)) ended(void *opaque)
{
    _exit(0);
}

static void __attribute__((noreturn)) play(const uint8_t *data, size_t len)
{
    struct tape_player from = {
        .freeze = freeze, .data = data, .len = len, .differs = differs, .ended = ended};
    struct tape_entry e;

    tape_play(&from);
    memset(memory, 0xee, sizeof(memory));
    for (;;) {
        uint64_t value;

        tape_next_event(&e);
        tape_take_event();
        if (e.kind == TAPE_PIO_WRITE) {
            device_write(MIN(e.number[3], 40));
        } else if (e.kind == TAPE_PIO_READ) {
            value = device_read();
            tape_fact(TAPE_ANSWER, NULL, &value, NULL, 0);
        } else {
            tape_cannot("another event");
        }
        tape_end_event();
    }
}

/* The status of a replay, in a process of its own, which it ends. */
static int replay(const uint8_t *data, size_t len, unsigned with_flaw)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        flaw = with_flaw;
        play(data, len);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_replay(void)
{
    g_autoptr(GString) what = g_string_new(NULL);
    g_autoptr(GByteArray) out = record(what);
    struct tape_entry e;
    uint64_t time = 0;
    size_t before = out->len;

    tape_stop_recording("enough");
    g_assert_true(tape_mode == TAPE_OFF);
    g_assert_cmpuint(out->len, >, before);
    g_assert_cmpint(replay(out->data, out->len, 0), ==, 0);
    g_assert_cmpint(replay(out->data, before, 0), ==, 0); /* cut between two events */
    for (unsigned i = 1; i <= 3; i++) {
        g_assert_cmpint(replay(out->data, out->len, i), ==, 1);
    }
    /* Wherever it is cut, what is there is played. */
    for (size_t at = 0, n; at < before; at += n) {
        n = (size_t)tape_decode(out->data + at, out->len - at, &e, &time);
        g_assert_cmpint(replay(out->data, at + n, 0), ==, 0);
        g_assert_cmpint(replay(out->data, at + n - 1, 0), ==, 0);
    }
}

static void test_any_bytes(void)
{
    g_autoptr(GString) what = g_string_new(NULL);
    g_autoptr(GByteArray) out = record(what);
    g_autoptr(GRand) rand = g_rand_new_with_seed(9);

    tape_stop_recording("enough");
    for (unsigned round = 0; round < 100; round++) {
        g_autofree uint8_t *copy = g_memdup2(out->data, out->len);

        copy[g_rand_int_range(rand, 0, (gint32)out->len)] = (uint8_t)g_rand_int(rand);
        g_assert_cmpint(replay(copy, out->len, 0), <=, 1);
    }
}

/* What has no event around it has a cause that is not recorded. */
static void test_lost(void)
{
    g_autoptr(GString) what = g_string_new(NULL);
    g_autoptr(GByteArray) out = record(what);

    g_assert_cmpuint(what->len, ==, 0);
    tape_fact(TAPE_IRQ, NULL, (uint64_t[]){11, 1}, NULL, 0);
    g_assert_cmpstr(what->str, ==, "irq line 0xb level 1");
    g_assert_true(tape_mode == TAPE_OFF);
    g_assert_cmpint(replay(out->data, out->len, 0), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tape/entries", test_entries);
    g_test_add_func("/tape/damage", test_damage);
    g_test_add_func("/tape/replay", test_replay);
    g_test_add_func("/tape/any-bytes", test_any_bytes);
    g_test_add_func("/tape/lost", test_lost);
    return g_test_run();
}
