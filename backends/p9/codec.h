/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to backends/p9: messages of 9P2000.L, little-endian, as diod's protocol.md and Linux's
 * net/9p/9p.h have them.
 */
#ifndef BACKENDS_P9_CODEC_H
#define BACKENDS_P9_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Requests; the answer to each has the next number. */
enum p9_type {
    P9_RLERROR = 7,
    P9_TSTATFS = 8,
    P9_TLOPEN = 12,
    P9_TLCREATE = 14,
    P9_TSYMLINK = 16,
    P9_TMKNOD = 18,
    P9_TRENAME = 20,
    P9_TREADLINK = 22,
    P9_TGETATTR = 24,
    P9_TSETATTR = 26,
    P9_TXATTRWALK = 30,
    P9_TXATTRCREATE = 32,
    P9_TREADDIR = 40,
    P9_TFSYNC = 50,
    P9_TLOCK = 52,
    P9_TGETLOCK = 54,
    P9_TLINK = 70,
    P9_TMKDIR = 72,
    P9_TRENAMEAT = 74,
    P9_TUNLINKAT = 76,
    P9_TVERSION = 100,
    P9_TAUTH = 102,
    P9_TATTACH = 104,
    P9_TFLUSH = 108,
    P9_TWALK = 110,
    P9_TREAD = 116,
    P9_TWRITE = 118,
    P9_TCLUNK = 120,
    P9_TREMOVE = 122,
};

#define P9_HEADER 7u /* size, type, tag */
#define P9_QID 13u

/* What is left of a request. It is ours: reading a string changes it. */
struct p9_in {
    uint8_t *at;
    size_t left;
    bool bad; /* something was read that is not there */
};

uint8_t p9_u8(struct p9_in *in);
uint16_t p9_u16(struct p9_in *in);
uint32_t p9_u32(struct p9_in *in);
uint64_t p9_u64(struct p9_in *in);
/* Within the request, NUL-terminated; "" and `bad` when it has a NUL inside. */
char *p9_string(struct p9_in *in);

/* An answer, of which nothing is read back. What has no room is an error. */
struct p9_out {
    uint8_t *start;
    size_t at, size;
    bool full;
};

void p9_put_u8(struct p9_out *out, uint8_t value);
void p9_put_u16(struct p9_out *out, uint16_t value);
void p9_put_u32(struct p9_out *out, uint32_t value);
void p9_put_u64(struct p9_out *out, uint64_t value);
void p9_put_string(struct p9_out *out, const char *text, size_t len);
/* Room for so many bytes, or NULL. */
uint8_t *p9_put_room(struct p9_out *out, size_t len);
/* The header, once the rest is there. */
void p9_put_header(struct p9_out *out, uint8_t type, uint16_t tag);

#endif
