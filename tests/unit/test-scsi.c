/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SCSI targets and tasks, without anything that carries them. */
#include <errno.h>
#include <string.h>

#include <xendm/bytes.h>
#include <xendm/machine.h>
#include <xendm/scsi.h>

#include "fake-block.h"
#include "fakes.h"

#define SECTORS 4096u

struct scsi_test {
    struct machine *m;
    struct device dev;
    struct device_class class;
    struct block *block;
    uint8_t buffer[SCSI_BUFFER];
    struct scsi_target target;
    struct scsi_task task;
    struct block_queue *queue;
    unsigned changes, errors;
};

static void on_error(void *opaque, const char *id, const char *op, int error)
{
    ((struct scsi_test *)opaque)->errors++;
}

static const struct machine_events events = {.block_error = on_error};

static void on_change(void *opaque)
{
    struct scsi_test *t = opaque;

    g_assert_cmpint(t->task.phase, !=, SCSI_TASK_WORKING);
    t->changes++;
}

static void setup(struct scsi_test *t, gconstpointer type)
{
    memset(t, 0, sizeof(*t));
    t->m = fake_machine_new();
    t->m->events = &events;
    t->m->events_opaque = t;
    t->class.name = "scsi";
    t->dev = (struct device){.class = &t->class, .machine = t->m, .id = (char *)"disk0"};
    t->block = fake_block_new("disk0", SECTORS * 512u);
    t->block->limits = (struct block_limits){.logical = 512, .physical = 4096, .can_discard = true};
    t->target = (struct scsi_target){
        .type = type,
        .dev = &t->dev,
        .block = t->block,
        .model = "MODEL",
        .firmware = "1.0",
        .serial = "S1",
        .buffer = t->buffer,
    };
    scsi_target_init(&t->target);
    t->queue = block_queue_new(t->block);
    scsi_task_init(&t->task, on_change, t);
    scsi_task_use(&t->task, &t->target, t->queue);
    scsi_task_resume(&t->task);
    t->target.attention = 0;
}

static void teardown(struct scsi_test *t, gconstpointer type)
{
    scsi_task_fini(&t->task);
    block_queue_free(t->queue);
    scsi_target_fini(&t->target);
    fake_machine_free(t->m);
    fake_block_free(t->block);
}

static void settle(struct scsi_test *t)
{
    while (t->task.phase == SCSI_TASK_WORKING) {
        g_assert_true(fake_block_complete(t->block, 0));
    }
}

static void start(struct scsi_test *t, const uint8_t *cdb, unsigned length)
{
    scsi_task_start(&t->task, cdb, length);
}

#define CDB(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

/* Moves `length` bytes in pieces of `piece`; how many it became. */
static uint32_t move(struct scsi_test *t, void *buf, uint32_t length, uint32_t piece)
{
    uint32_t done = 0;

    while (done < length &&
           (t->task.phase == SCSI_TASK_DATA_IN || t->task.phase == SCSI_TASK_DATA_OUT)) {
        struct iovec iov[2] = {{(uint8_t *)buf + done, piece / 2},
                               {(uint8_t *)buf + done + piece / 2, piece - piece / 2}};

        scsi_task_move(&t->task, iov, 2, MIN(piece, length - done));
        settle(t);
        done += t->task.moved;
    }
    return done;
}

static void assert_ended(struct scsi_test *t, uint8_t status)
{
    g_assert_cmpint(t->task.phase, ==, SCSI_TASK_ENDED);
    g_assert_cmphex(t->task.status, ==, status);
}

static void assert_sense(struct scsi_test *t, uint8_t key, uint16_t asc)
{
    uint8_t sense[SCSI_SENSE];

    assert_ended(t, SCSI_CHECK_CONDITION);
    start(t, CDB(0x03, 0, 0, 0, SCSI_SENSE, 0));
    g_assert_cmpuint(move(t, sense, SCSI_SENSE, SCSI_SENSE), ==, SCSI_SENSE);
    assert_ended(t, SCSI_GOOD);
    g_assert_cmphex(sense[2], ==, key);
    g_assert_cmphex(sense[12] << 8 | sense[13], ==, asc);
}

static void test_read(struct scsi_test *t, gconstpointer type)
{
    static const uint32_t pieces[] = {8 * 512, 512, 4096, 64, 1000, 13};
    uint8_t buf[8 * 512];

    for (unsigned i = 0; i < G_N_ELEMENTS(pieces); i++) {
        memset(buf, 0, sizeof(buf));
        start(t, CDB(0x28, 0, 0, 0, 0, 5, 0, 0, 8, 0));
        g_assert_cmpint(t->task.phase, ==, SCSI_TASK_DATA_IN);
        g_assert_cmpuint(t->task.left, ==, sizeof(buf));
        g_assert_cmpuint(move(t, buf, sizeof(buf), pieces[i]), ==, sizeof(buf));
        assert_ended(t, SCSI_GOOD);
        g_assert_cmpmem(buf, sizeof(buf), t->block->data + 5 * 512, sizeof(buf));
    }
    /* What is whole goes in one request; what is not, is read once. */
    g_string_truncate(t->block->log, 0);
    start(t, CDB(0x08, 0, 0, 5, 8, 0));
    move(t, buf, sizeof(buf), sizeof(buf));
    g_assert_cmpstr(t->block->log->str, ==, "R5+8 ");
    start(t, CDB(0x88, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0));
    move(t, buf, sizeof(buf), 13);
    assert_ended(t, SCSI_GOOD);
    g_assert_cmpstr(t->block->log->str, ==, "R5+8 R5+8 ");
}

static void test_write(struct scsi_test *t, gconstpointer type)
{
    static const uint32_t pieces[] = {4 * 512, 512, 64, 1000, 13};
    uint8_t buf[4 * 512];

    for (unsigned i = 0; i < G_N_ELEMENTS(pieces); i++) {
        memset(buf, (int)i + 1, sizeof(buf));
        buf[777] = 0x77;
        start(t, CDB(0x2a, 0, 0, 0, 0, 9, 0, 0, 4, 0));
        g_assert_cmpint(t->task.phase, ==, SCSI_TASK_DATA_OUT);
        g_assert_cmpuint(move(t, buf, sizeof(buf), pieces[i]), ==, sizeof(buf));
        assert_ended(t, SCSI_GOOD);
        g_assert_cmpmem(buf, sizeof(buf), t->block->data + 9 * 512, sizeof(buf));
    }
    g_assert_cmpuint(t->block->submitted[BLOCK_FLUSH], ==, 0);
    start(t, CDB(0x2a, 0x08, 0, 0, 0, 9, 0, 0, 4, 0)); /* FUA */
    move(t, buf, sizeof(buf), sizeof(buf));
    assert_ended(t, SCSI_GOOD);
    g_assert_cmpuint(t->block->submitted[BLOCK_FLUSH], ==, 1);
    start(t, CDB(0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    settle(t);
    assert_ended(t, SCSI_GOOD);
    g_assert_cmpuint(t->block->submitted[BLOCK_FLUSH], ==, 2);
}

static void test_bounds(struct scsi_test *t, gconstpointer type)
{
    start(t, CDB(0x28, 0, 0, 0, 0x0f, 0xff, 0, 0, 2, 0));
    assert_sense(t, SENSE_ILLEGAL_REQUEST, 0x2100);
    start(t, CDB(0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0));
    assert_sense(t, SENSE_ILLEGAL_REQUEST, 0x2100);
    start(t, CDB(0x28, 0, 0, 0, 0x10, 0, 0, 0, 0, 0)); /* nothing, at the end */
    assert_ended(t, SCSI_GOOD);
    start(t, CDB(0xff, 0, 0, 0, 0, 0));
    assert_sense(t, SENSE_ILLEGAL_REQUEST, 0x2000);
    t->block->read_only = true;
    start(t, CDB(0x2a, 0, 0, 0, 0, 9, 0, 0, 4, 0));
    assert_sense(t, SENSE_DATA_PROTECT, 0x2700);
    t->block->present = false;
    start(t, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 4, 0));
    assert_sense(t, SENSE_NOT_READY, 0x3a01);
}

static void test_failure(struct scsi_test *t, gconstpointer type)
{
    uint8_t buf[4 * 512];

    t->block->bad_sector = 11;
    t->block->fail[BLOCK_READ] = t->block->fail[BLOCK_WRITE] = -EIO;
    start(t, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 4, 0));
    g_assert_cmpuint(move(t, buf, sizeof(buf), 512), ==, 1024);
    g_assert_cmpuint(t->errors, ==, 1);
    assert_sense(t, SENSE_MEDIUM_ERROR, 0x1100);
    start(t, CDB(0x2a, 0, 0, 0, 0, 9, 0, 0, 4, 0));
    move(t, buf, sizeof(buf), 100);
    assert_sense(t, SENSE_MEDIUM_ERROR, 0x0c00);
    t->block->fail[BLOCK_FLUSH] = -EIO;
    start(t, CDB(0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    settle(t);
    assert_sense(t, SENSE_HARDWARE_ERROR, 0x4400);
}

static void test_tables(struct scsi_test *t, gconstpointer type)
{
    uint8_t buf[256];

    start(t, CDB(0x12, 0, 0, 0, 36, 0));
    g_assert_cmpuint(move(t, buf, sizeof(buf), sizeof(buf)), ==, 36);
    g_assert_cmphex(buf[0], ==, 0);
    g_assert_cmpint(buf[7], ==, 2); /* CMDQUE: or Linux sends one command at a time */
    g_assert_cmpmem(buf + 8, 13, "XENDM   MODEL", 13);
    start(t, CDB(0x12, 1, 0, 0, 255, 0));
    g_assert_cmpuint(move(t, buf, sizeof(buf), 10), ==, 10);
    g_assert_cmpmem(buf, 10, "\0\0\0\6\0\x80\x83\xb0\xb1\xb2", 10);
    for (unsigned i = 4; i < 10; i++) {
        uint8_t page[256];
        uint32_t n;

        start(t, CDB(0x12, 1, buf[i], 0, 255, 0));
        n = move(t, page, sizeof(page), sizeof(page));
        assert_ended(t, SCSI_GOOD);
        g_assert_cmphex(page[1], ==, buf[i]);
        g_assert_cmpuint(n, ==, 4u + load_be16(page + 2));
    }
    start(t, CDB(0x12, 1, 0xc0, 0, 255, 0));
    assert_sense(t, SENSE_ILLEGAL_REQUEST, 0x2400);
    start(t, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    g_assert_cmpuint(move(t, buf, 8, 8), ==, 8);
    g_assert_cmpuint(load_be32(buf), ==, SECTORS - 1);
    g_assert_cmpuint(load_be32(buf + 4), ==, 512);
    start(t, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0));
    g_assert_cmpuint(move(t, buf, 32, 32), ==, 32);
    g_assert_cmphex(buf[13], ==, 3); /* 4096 */
    g_assert_cmphex(buf[14], ==, 0x80);
    start(t, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0));
    g_assert_cmpuint(move(t, buf, 16, 16), ==, 16);
    start(t, CDB(0x1a, 0, 0x3f, 0, 255, 0));
    g_assert_cmpuint(move(t, buf, sizeof(buf), sizeof(buf)), ==, 4 + 8 + 20 + 12);
    g_assert_cmpuint(buf[0], ==, 4 + 8 + 20 + 12 - 1);
    g_assert_cmphex(buf[12 + 2], ==, 0x04); /* WCE */
}

static void test_mode_select(struct scsi_test *t, gconstpointer type)
{
    uint8_t list[4 + 20] = {[4] = 0x08, [5] = 18};

    start(t, CDB(0x15, 0x10, 0, 0, sizeof(list), 0));
    g_assert_cmpint(t->task.phase, ==, SCSI_TASK_DATA_OUT);
    g_assert_cmpuint(move(t, list, sizeof(list), 5), ==, sizeof(list));
    assert_ended(t, SCSI_GOOD);
    g_assert_false(t->target.write_cache);
    g_assert_cmpuint(t->block->submitted[BLOCK_FLUSH], ==, 1);
    list[5] = 200; /* longer than the list */
    start(t, CDB(0x15, 0x10, 0, 0, sizeof(list), 0));
    move(t, list, sizeof(list), sizeof(list));
    assert_sense(t, SENSE_ILLEGAL_REQUEST, 0x1a00);
    start(t, CDB(0x15, 0x10, 0, 0, 2, 0)); /* no whole header, and cut besides */
    scsi_task_cut(&t->task);
    assert_sense(t, SENSE_ILLEGAL_REQUEST, 0x1a00);
}

static void test_unmap(struct scsi_test *t, gconstpointer type)
{
    uint8_t list[8 + 32] = {0};

    store_be16(list, 38);
    store_be16(list + 2, 32);
    store_be32(list + 12, 16);
    store_be32(list + 16, 8);
    store_be32(list + 28, 100);
    store_be32(list + 32, 1);
    start(t, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, sizeof(list), 0));
    g_assert_cmpuint(move(t, list, sizeof(list), sizeof(list)), ==, sizeof(list));
    assert_ended(t, SCSI_GOOD);
    g_assert_cmpstr(t->block->log->str, ==, "D16+8 D100+1 ");
    store_be32(list + 28, SECTORS);
    start(t, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, sizeof(list), 0));
    move(t, list, sizeof(list), sizeof(list));
    assert_sense(t, SENSE_ILLEGAL_REQUEST, 0x2100);
    g_assert_cmpstr(t->block->log->str, ==, "D16+8 D100+1 "); /* none of the list was done */
}

static void test_attention(struct scsi_test *t, gconstpointer type)
{
    scsi_target_reset(&t->target, true);
    start(t, CDB(0x12, 0, 0, 0, 36, 0)); /* INQUIRY says nothing of it */
    scsi_task_cut(&t->task);
    start(t, CDB(0x00, 0, 0, 0, 0, 0));
    assert_sense(t, SENSE_UNIT_ATTENTION, 0x2900);
    start(t, CDB(0x00, 0, 0, 0, 0, 0));
    assert_ended(t, SCSI_GOOD);
    t->block->listener->resized(t->block->listener_opaque);
    start(t, CDB(0x00, 0, 0, 0, 0, 0));
    assert_sense(t, SENSE_UNIT_ATTENTION, 0x2a09);
}

static void test_cancel(struct scsi_test *t, gconstpointer type)
{
    uint8_t buf[512];

    t->block->hold = true;
    start(t, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 4, 0));
    scsi_task_cancel(&t->task); /* nothing in flight: at once */
    g_assert_cmpint(t->task.phase, ==, SCSI_TASK_IDLE);
    start(t, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 4, 0));
    scsi_task_move(&t->task, &(struct iovec){buf, sizeof(buf)}, 1, sizeof(buf));
    g_assert_cmpint(t->task.phase, ==, SCSI_TASK_WORKING);
    scsi_task_cancel(&t->task);
    g_assert_cmpint(t->task.phase, ==, SCSI_TASK_WORKING);
    g_assert_true(scsi_task_busy(&t->task));
    fake_block_complete_all(t->block);
    g_assert_cmpint(t->task.phase, ==, SCSI_TASK_IDLE);
    g_assert_cmpuint(t->changes, ==, 1);
}

/* ---- saved state: at each point of a command, into a second one ---- */

static const struct state_field move_fields[] = {STATE_SCSI_TARGET(struct scsi_test, target),
                                                 STATE_SCSI_TASK(struct scsi_test, task),
                                                 STATE_FIELD_END};
static const struct state_desc move_state = {.name = "test", .version = 1, .fields = move_fields};

/* The machine is stopped, saved, loaded into `to`, and goes on there. */
static void move_over(struct scsi_test *from, struct scsi_test *to)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    GError *err = NULL;
    struct state_plan *plan;

    scsi_task_quiesce(&from->task);
    while (scsi_task_busy(&from->task)) {
        g_assert_true(fake_block_complete(from->block, 0));
    }
    state_save(&move_state, from, out);
    plan = state_parse_sized(&move_state, sizeof(*to), out->data, out->len, &err);
    g_assert_no_error(err);
    state_apply(plan, to);
    state_plan_free(plan);
    scsi_task_resume(&to->task);
}

static void test_state(struct scsi_test *t, gconstpointer type)
{
    struct scsi_test *other = g_new(struct scsi_test, 1), *now = t, *next = other;
    uint8_t in[4 * 512], out[4 * 512];
    uint32_t done;

    setup(other, type);
    for (unsigned i = 0; i < sizeof(out); i++) {
        out[i] = (uint8_t)(i * 7);
    }
    for (unsigned round = 0; round < 2; round++) {
        start(now,
              round ? (const uint8_t[]){0x2a, 0x08, 0, 0, 0, 9, 0, 0, 4, 0}
                    : (const uint8_t[]){0x28, 0, 0, 0, 0, 9, 0, 0, 4, 0},
              10);
        for (done = 0; done < sizeof(in);) {
            struct iovec iov = {(round ? out : in) + done, MIN(700, sizeof(in) - done)};

            scsi_task_move(&now->task, &iov, 1, 700);
            move_over(now, next);
            done += now->task.moved;
            scsi_task_cancel(&now->task);
            scsi_task_resume(&now->task);
            now = next;
            next = now == t ? other : t;
            settle(now);
            if (round) {
                memcpy(next->block->data, now->block->data, SECTORS * 512u);
                memcpy(now->block->data + 9 * 512, next->block->data + 9 * 512, 4 * 512);
            }
        }
        settle(now);
        assert_ended(now, SCSI_GOOD);
        if (round == 0) {
            g_assert_cmpmem(in, sizeof(in), t->block->data + 9 * 512, sizeof(in));
        }
    }
    teardown(other, type);
    g_free(other);
}

static void test_hostile_state(struct scsi_test *t, gconstpointer type)
{
    static const struct {
        uint8_t phase, step;
        uint32_t at, length, bounce_at, bounce_end;
        uint64_t left;
    } bad[] = {
        {SCSI_TASK_WORKING, SCSI_READ, 0, 0, 0, 0, 512},
        {SCSI_TASK_DATA_IN, SCSI_WRITE, 0, 0, 0, 0, 512},
        {SCSI_TASK_DATA_IN, SCSI_READ, 0, 0, 0, 0, 0},
        {SCSI_TASK_DATA_IN, SCSI_READ, 0, 0, 9, 8, 512},
        {SCSI_TASK_DATA_IN, SCSI_REPLY, 8, 8, 0, 0, 0},
        {SCSI_TASK_DATA_IN, SCSI_REPLY, 0, 8, 0, 0, 9},
        {SCSI_TASK_DATA_OUT, SCSI_WRITE, 0, 0, 0, 512, 512},
        {SCSI_TASK_DATA_OUT, SCSI_DONE, 0, 0, 0, 0, 1},
    };

    start(t, (const uint8_t[]){0, 0, 0, 0, 0, 0}, 6);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GByteArray) out = g_byte_array_new();
        GError *err = NULL;

        t->task.phase = bad[i].phase;
        t->task.step = bad[i].step;
        t->task.at = bad[i].at;
        t->task.length = bad[i].length;
        t->task.bounce_at = bad[i].bounce_at;
        t->task.bounce_end = bad[i].bounce_end;
        t->task.left = bad[i].left;
        state_save(&move_state, t, out);
        g_assert_null(state_parse_sized(&move_state, sizeof(*t), out->data, out->len, &err));
        g_assert_nonnull(err);
        g_error_free(err);
    }
    /* More promised than the extent has: an error when it comes to that, no crash. */
    t->task.phase = SCSI_TASK_DATA_IN;
    t->task.step = SCSI_READ;
    t->task.bounce_at = t->task.bounce_end = t->task.sectors = 0;
    t->task.left = 4096;
    g_assert_cmpuint(move(t, t->buffer, 4096, 4096), ==, 0);
    assert_ended(t, SCSI_CHECK_CONDITION);
}

/* ---- CD ---- */

static void test_cd_raw(struct scsi_test *t, gconstpointer type)
{
    uint8_t buf[3 * CD_RAW];

    start(t, CDB(0xbe, 0, 0, 0, 0, 2, 0, 0, 3, 0xf8, 0, 0));
    g_assert_cmpuint(t->task.left, ==, sizeof(buf));
    g_assert_cmpuint(move(t, buf, sizeof(buf), 999), ==, sizeof(buf));
    assert_ended(t, SCSI_GOOD);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmphex(buf[i * CD_RAW + 15], ==, 1);
        g_assert_cmpmem(buf + i * CD_RAW + 16, CD_BLOCK, t->block->data + (2 + i) * CD_BLOCK,
                        CD_BLOCK);
    }
}

static void test_cd_tray(struct scsi_test *t, gconstpointer type)
{
    uint8_t buf[36];
    GError *err = NULL;

    start(t, CDB(0x12, 0, 0, 0, 36, 0));
    g_assert_cmpuint(move(t, buf, 36, 36), ==, 36);
    g_assert_cmphex(buf[0], ==, 0x05);
    g_assert_cmphex(buf[1], ==, 0x80);
    start(t, CDB(0x1e, 0, 0, 0, 1, 0));
    g_assert_cmpint(scsi_cd_request_eject(&t->target, false, &err), ==, -EBUSY);
    g_clear_error(&err);
    start(t, CDB(0x1e, 0, 0, 0, 0, 0));
    g_assert_cmpint(scsi_cd_request_eject(&t->target, false, &err), ==, 0);
    start(t, CDB(0x00, 0, 0, 0, 0, 0));
    assert_sense(t, SENSE_NOT_READY, 0x3a02);
    block_insert(t->block, NULL, NULL, NULL);
    start(t, CDB(0x00, 0, 0, 0, 0, 0));
    assert_sense(t, SENSE_NOT_READY, 0x3a00);
    start(t, CDB(0x00, 0, 0, 0, 0, 0));
    assert_sense(t, SENSE_UNIT_ATTENTION, 0x2800);
    start(t, CDB(0x00, 0, 0, 0, 0, 0));
    assert_ended(t, SCSI_GOOD);
}

/* Any command with any bytes behind it ends, and moves no more than it said. */
static void test_any(struct scsi_test *t, gconstpointer type)
{
    static uint8_t buf[SCSI_BUFFER];
    GRand *random = g_rand_new_with_seed(9);

    for (unsigned i = 0; i < 20000; i++) {
        uint8_t cdb[SCSI_CDB_MAX];

        for (unsigned k = 0; k < sizeof(cdb); k++) {
            cdb[k] = (uint8_t)g_rand_int_range(random, 0, k == 0 || i & 1 ? 256 : 4);
        }
        start(t, cdb, (unsigned)g_rand_int_range(random, 1, 17));
        settle(t);
        if (t->task.phase != SCSI_TASK_ENDED) {
            uint32_t piece = (uint32_t)g_rand_int_range(random, 2, 5000);

            move(t, buf, (uint32_t)MIN(t->task.left, 20000), piece);
        }
        if (t->task.phase != SCSI_TASK_ENDED) {
            scsi_task_cut(&t->task);
        }
        settle(t);
        g_assert_cmpint(t->task.phase, ==, SCSI_TASK_ENDED);
    }
    g_rand_free(random);
}

#define ADD(name, type, fn) g_test_add(name, struct scsi_test, type, setup, fn, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("/scsi/disk/read", &scsi_disk_type, test_read);
    ADD("/scsi/disk/write", &scsi_disk_type, test_write);
    ADD("/scsi/disk/bounds", &scsi_disk_type, test_bounds);
    ADD("/scsi/disk/failure", &scsi_disk_type, test_failure);
    ADD("/scsi/disk/tables", &scsi_disk_type, test_tables);
    ADD("/scsi/disk/mode-select", &scsi_disk_type, test_mode_select);
    ADD("/scsi/disk/unmap", &scsi_disk_type, test_unmap);
    ADD("/scsi/disk/attention", &scsi_disk_type, test_attention);
    ADD("/scsi/disk/cancel", &scsi_disk_type, test_cancel);
    ADD("/scsi/disk/state", &scsi_disk_type, test_state);
    ADD("/scsi/disk/hostile-state", &scsi_disk_type, test_hostile_state);
    ADD("/scsi/disk/any", &scsi_disk_type, test_any);
    ADD("/scsi/cd/raw", &scsi_cd_type, test_cd_raw);
    ADD("/scsi/cd/tray", &scsi_cd_type, test_cd_tray);
    ADD("/scsi/cd/any", &scsi_cd_type, test_any);
    return g_test_run();
}
