/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saved state of the IDE devices as an enemy would write it: records with changed bytes are
 * refused, or loaded and then lived with. What a good stream must bring is in test-ide.c,
 * test-ide-dma.c and test-atapi.c.
 */
#include <errno.h>
#include <string.h>

#include "ide-fixture.h"

#define TABLE 0x8000u
#define BUFFER 0x100000u
#define ROUNDS 100u

static void prepare(struct ide_test *t, unsigned what)
{
    static const uint8_t packet[12] = {0x28, 0, 0, 0, 0, 7, 0, 0, 40};
    struct prd p;

    for (unsigned i = 0; i < 16; i++) {
        p = (struct prd){BUFFER + i * 65536, 0};
        put_table(t, TABLE + 8 * i, &p, 1, i == 15);
    }
    t->channel = what >= 6;
    switch (what) {
    case 0:
        break;
    case 1: /* PIO in, in the middle of a block */
        t->disk->cached = true;
        command48(t, 0x29, 0, 40, 300);
        aspace_read(t->m->pio, 0x1f0, 4);
        break;
    case 2: /* PIO out */
        command48(t, 0x39, 0, 40, 300);
        aspace_write(t->m->pio, 0x1f0, 1, 4);
        break;
    case 3: /* waits for the image */
        t->disk->cached = false;
        machine_stop(t->m);
        command48(t, 0x24, 0, 40, 300);
        return;
    case 4: /* bus master, between chunks */
        bm_start(t, TABLE, true);
        command48(t, 0x25, 0, 0, 8192);
        break;
    case 5:
        bm_start(t, TABLE, false);
        wr(t, 1, 1);
        command48(t, 0x06, 0, 0, 1);
        break;
    case 6:
    case 7:
        t->disc->cached = true;
        wr(t, 1, what == 7);
        wr(t, LBA_HIGH, 8);
        wr(t, STATUS, 0xa0);
        pio_out(t, packet, 12, 2);
        break;
    case 8:
        wr(t, STATUS, 0xa0);
        pio_out(t, packet, 6, 2);
        break;
    }
    machine_stop(t->m);
    fake_block_complete_all(t->disk);
    fake_block_complete_all(t->disc);
    g_assert_false(machine_busy(t->m));
}

/* What a guest might do next. */
static void live(struct ide_test *t, GRand *r)
{
    static uint8_t buf[8192];

    machine_start(t->m);
    for (unsigned i = 0; i < 40; i++) {
        uint32_t x = g_rand_int(r);

        t->channel = x & 1;
        switch (x >> 4 & 7) {
        case 0:
            pio_in(t, buf, sizeof(buf), 4);
            break;
        case 1:
            pio_out(t, buf, sizeof(buf), 2);
            break;
        case 2:
            rd(t, x >> 8 & 7);
            break;
        case 3:
            wr(t, DEVICE, x >> 8 & 0x10);
            break;
        case 4:
            bm_wr(t, 0, x >> 8 & 1, 1);
            break;
        default:
            fake_block_complete(t->disk, 0);
            fake_block_complete(t->disc, 0);
            break;
        }
    }
    machine_stop(t->m);
    fake_block_complete_all(t->disk);
    fake_block_complete_all(t->disc);
    g_assert_cmpuint(fake_guestmem_pinned(t->m->memory), ==, 0);
}

/* Where the value of a field is in a record: behind its name and a length of 4 bytes. */
static uint8_t *find_value(GByteArray *record, const char *name, uint32_t *length)
{
    g_autofree char *key = g_strdup_printf("%c%s", (int)strlen(name), name);
    uint8_t *p = memmem(record->data, record->len, key, strlen(key));

    g_assert_nonnull(p);
    p += strlen(key);
    memcpy(length, p, sizeof(*length));
    return p + 4;
}

/*
 * One record with some values changed. The stream around it has a checksum, which an enemy would
 * make fit; that of the frame (names, types, lengths) is tested with the core.
 */
static bool load_changed(struct device *from, struct device *to, unsigned changes, GRand *r)
{
    g_autoptr(GByteArray) record = g_byte_array_new();
    g_autoptr(GError) err = NULL;
    const struct state_field *fields = from->class->state->fields;
    struct state_plan *plan;
    int count = 0;

    while (fields[count].name) {
        count++;
    }
    state_save(from->class->state, from, record);
    for (unsigned k = 0; k < changes; k++) {
        uint32_t length, at;
        uint8_t *value = find_value(record, fields[g_rand_int_range(r, 0, count)].name, &length);

        if (length) {
            at = (uint32_t)g_rand_int_range(r, 0, (gint32)MIN(length, 64u));
            value[at] = g_rand_boolean(r) ? (uint8_t)(g_rand_int(r) & 7) : (uint8_t)g_rand_int(r);
        }
    }
    plan = state_parse(from->class->state, record->data, record->len, &err);
    if (!plan) {
        g_assert_nonnull(err);
        g_assert_cmpuint(changes, >, 0);
        return false;
    }
    state_apply(plan, to);
    state_plan_free(plan);
    return true;
}

static void test_hostile(gconstpointer data)
{
    unsigned what = GPOINTER_TO_UINT(data), loaded = 0;
    GRand *r = g_rand_new_with_seed(4711 + what);
    struct ide_test from, to;

    ide_test_new(&from);
    from.disk->hold = from.disc->hold = true;
    prepare(&from, what);
    for (unsigned i = 0; i < ROUNDS; i++) {
        ide_test_build(&to);
        to.disk->hold = to.disc->hold = true;
        load_changed(from.ide, to.ide, i % 2 * 8, r);
        loaded += load_changed(from.hd, to.hd, i % 4, r);
        loaded += load_changed(from.cd, to.cd, i % 4, r);
        memcpy(mem(&to, TABLE), mem(&from, TABLE), 4096);
        live(&to, r);
        ide_test_free(&to);
    }
    g_test_message("%u of %u records were loaded", loaded, 2 * ROUNDS);
    g_assert_cmpuint(loaded, >, ROUNDS / 2);
    ide_test_free(&from);
    g_rand_free(r);
}

/*
 * The disk beside a CD drive was unplugged, the CD drive has an interrupt pending: taking the disk
 * off the cable again while the state is loaded must not lower the line, which Xen has as it was
 * saved.
 */
static void test_unplugged_neighbour(void)
{
    g_autoptr(GByteArray) saved = g_byte_array_new();
    struct block *disc[2] = {fake_block_new("cd", 2048), fake_block_new("cd", 2048)};
    struct ide_test from, to;
    GError *err = NULL;

    ide_test_new(&from);
    ide_test_drive(&from, &ide_cd_class, "cd", disc[0], 0, 1);
    machine_request_unplug(from.m, UNPLUG_DISKS);
    fake_block_complete_all(from.disk);
    wr(&from, DEVICE, 0x10);
    wr(&from, STATUS, 0xa1);
    g_assert_true(irq_high(&from));
    machine_stop(from.m);
    g_assert_cmpint(machine_save(from.m, saved, &err), ==, 0);

    ide_test_build(&to);
    ide_test_drive(&to, &ide_cd_class, "cd", disc[1], 0, 1);
    g_assert_cmpint(machine_load(to.m, saved->data, saved->len, &err), ==, 0);
    g_assert_no_error(err);
    g_assert_cmpuint(to.m->hv->isa_changes[14], ==, 0);
    machine_start(to.m);
    g_assert_cmphex(rd(&to, STATUS) & 0x08, ==, 0x08);
    /* the drive's interrupt was there to be taken */
    g_assert_cmpuint(to.m->hv->isa_changes[14], ==, 1);
    g_assert_false(irq_high(&to));
    ide_test_free(&from);
    ide_test_free(&to);
    fake_block_free(disc[0]);
    fake_block_free(disc[1]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i <= 8; i++) {
        g_autofree char *path = g_strdup_printf("/ide-state/hostile/%u", i);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_hostile);
    }
    g_test_add_func("/ide-state/unplugged-neighbour", test_unplugged_neighbour);
    return g_test_run();
}
