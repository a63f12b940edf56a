/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an NBD server and its keeper may say, and the drive behind them: with requests under way,
 * taken back and tried again; connections come, agree, answer and break in any order, the keeper
 * answers what was not asked, and time passes. What is read is what the server has, each request
 * ends once, and all of them when nobody is there any more.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <xendm/log.h>

#include "tests/unit/fake-nbd.h"
#include "backends/block/image-wire.h"
#include "fuzz.h"

#define REQUESTS 12u
#define PIECES 3u
#define LONGEST (8u * 512)
#define TURNS 400u
#define STEPS_MAX 400u

const unsigned fuzz_short_run = 1500;
const char *const fuzz_targets[] = {"image", NULL};
static bool chosen;

void fuzz_choose(unsigned target)
{
    chosen = true;
    log_set_level("all", "off");
}

/* ---- the drive ---- */

struct one {
    struct block_request req;
    struct iovec iov[PIECES];
    uint8_t data[LONGEST];
    bool under_way;
};

static struct {
    struct block *b;
    struct block_queue *q;
    struct one one[REQUESTS];
    bool read_only;
} drive;

static void done(struct block_request *req, int error)
{
    struct one *o = req->opaque;

    if (!o->under_way || error > 0) {
        g_error("a request ended twice, or with %d", error);
    }
    o->under_way = false;
    for (uint64_t i = 0; error == 0 && req->op == BLOCK_READ && i < req->length; i++) {
        uint8_t is = fake_nbd_byte(req->offset + i);

        if (o->data[i] != is && o->data[i] != 0) { /* 0: behind the end of a server's */
            g_error("byte %" G_GUINT64_FORMAT " is %u, not %u", (guint64)(req->offset + i),
                    o->data[i], is);
        }
    }
}

static void submit(struct fuzz_input *in)
{
    struct one *o = &drive.one[fuzz_u8(in) % REQUESTS];
    unsigned how = fuzz_u8(in), sectors = 1 + fuzz_u8(in) % 8, cut = fuzz_u8(in) * 16u;
    uint32_t length = sectors * 512, first = MIN(cut, length);

    if (o->under_way) {
        return;
    }
    o->under_way = true;
    memset(o->data, 0, sizeof(o->data));
    o->iov[0] = (struct iovec){o->data, first};
    o->iov[1] = (struct iovec){o->data + first, length - first};
    o->req = (struct block_request){.op = how % 5,
                                    .flags = how & 0x80   ? BLOCK_FUA
                                             : how & 0x40 ? BLOCK_MAY_UNMAP
                                                          : 0,
                                    .offset = fuzz_uint(in, 2) % (FAKE_NBD_SIZE / 512) * 512,
                                    .length = length,
                                    .iov = o->iov,
                                    .niov = 2,
                                    .done = done,
                                    .opaque = o};
    block_submit(drive.q, &o->req);
}

static void keeper(struct fuzz_input *in)
{
    unsigned how = fuzz_u8(in);
    uint32_t serial;

    fake_nbd_hear();
    serial = fake_nbd.serial + (how & 0xe0 ? 0 : how % 3 - 1);
    switch (how % 8) {
    case 0:
        fake_nbd_keeper_says(IMAGE_FAILED, serial, how & 16 ? EMFILE : fuzz_u8(in), false);
        break;
    case 1:
        fake_nbd_keeper_says(IMAGE_ENDED, serial, how & 16 ? EIO : 0, false);
        break;
    case 2:
        fake_nbd_keeper_says(IMAGE_CONNECTED_NBD, serial, 0, false);
        break;
    case 3:
        fake_nbd_keeper_says(fuzz_u8(in), serial, (int)fuzz_uint(in, 4), how & 16);
        break;
    default:
        fake_nbd_keeper_says(IMAGE_CONNECTED_NBD, serial, 0, true);
        fake_nbd_server_says('c');
    }
}

static void export(struct fuzz_input *in)
{
    unsigned how = fuzz_u8(in);

    fake_nbd.size = how & 0xc0 ? FAKE_NBD_SIZE + how % 3 * 300
                               : (int64_t)fuzz_uint(in, 1 + how % 8); /* smaller, none, negative */
    fake_nbd.read_only = drive.read_only || (how & 0x3f) == 1;
    fake_nbd.can_flush = how & 2;
    fake_nbd.can_fua = how & 4;
    fake_nbd.can_trim = how & 8;
    fake_nbd.can_zero = how & 16;
    fake_nbd.multi = how & 32;
}

static void pass_time(struct fuzz_input *in)
{
    static const int64_t us[] = {1000, 25000, 150000, 1200000, 6000000, 25000000};

    fake_nbd_time(us[fuzz_u8(in) % G_N_ELEMENTS(us)]);
}

static void image_step(struct fuzz_input *in)
{
    unsigned what = fuzz_u8(in);

    fuzz_steps++;
    switch (what % 16) {
    case 0 ... 4:
        submit(in);
        break;
    case 5: {
        struct one *o = &drive.one[fuzz_u8(in) % REQUESTS];

        if (o->under_way) {
            block_cancel(drive.q, &o->req);
        }
        break;
    }
    case 6 ... 8:
        keeper(in);
        break;
    case 9 ... 12:
        fake_nbd_server_says(what & 0x80 ? fuzz_u8(in) : (what & 0x70) >> 1);
        break;
    case 13:
        export(in);
        break;
    case 14:
        pass_time(in);
        break;
    default:
        fake_nbd.call = fuzz_u8(in) % FAKE_NBD_CALLS;
        fake_nbd.error = what & 0x80 ? EMFILE : ENOMEM;
        fake_nbd.from = fake_nbd.calls + 1;
        fake_nbd.until = fake_nbd.from + (what >> 4 & 3);
    }
    fake_nbd_settle(TURNS);
}

/* Nobody is there any more: all is taken back, and comes. */
static void image_end(void)
{
    fake_nbd.from = 0;
    close(fake_nbd.keeper);
    fake_nbd.keeper = -1;
    if (fake_nbd.server >= 0) {
        close(fake_nbd.server);
        fake_nbd.server = -1;
    }
    for (unsigned i = 0; i < REQUESTS; i++) {
        if (drive.one[i].under_way) {
            block_cancel(drive.q, &drive.one[i].req);
        }
    }
    for (unsigned round = 0; block_in_flight(drive.b) > 0; round++) {
        if (round > 100) {
            g_error("%u requests never end", block_in_flight(drive.b));
        }
        fake_nbd_time(500000);
        fake_nbd_settle(TURNS);
    }
}

static void fuzz_image(struct fuzz_input *in)
{
    drive.read_only = fuzz_u8(in) & 1;
    drive.b = fake_nbd_open(drive.read_only);
    fake_nbd.by_hand = true;
    drive.q = block_queue_new(drive.b);
    for (unsigned i = 0; in->left > 0 && i < STEPS_MAX; i++) {
        image_step(in);
    }
    image_end();
    block_queue_free(drive.q);
    fake_nbd_close(drive.b);
}

uint64_t fuzz_steps;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};

    if (!chosen) {
        fuzz_choose_by_name();
    }
    fuzz_image(&in);
    return 0;
}

void fuzz_generate(GRand *rand, GByteArray *out)
{
    unsigned len = (unsigned)g_rand_int_range(rand, 10, 250);

    g_byte_array_set_size(out, len);
    for (unsigned i = 0; i < len; i++) {
        out->data[i] = (uint8_t)g_rand_int_range(rand, 0, 256);
    }
}
