/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <endian.h>
#include <string.h>

#include "codec.h"

static uint64_t take(struct p9_in *in, size_t bytes)
{
    uint64_t value = 0;

    if (in->left < bytes) {
        in->bad = true;
        in->left = 0;
        return 0;
    }
    memcpy(&value, in->at, bytes);
    in->at += bytes;
    in->left -= bytes;
    return le64toh(value);
}

uint8_t p9_u8(struct p9_in *in)
{
    return (uint8_t)take(in, 1);
}

uint16_t p9_u16(struct p9_in *in)
{
    return (uint16_t)take(in, 2);
}

uint32_t p9_u32(struct p9_in *in)
{
    return (uint32_t)take(in, 4);
}

uint64_t p9_u64(struct p9_in *in)
{
    return take(in, 8);
}

/* Moved over its length, so that there is room for the end. */
char *p9_string(struct p9_in *in)
{
    static char nothing[1];
    size_t len = p9_u16(in);
    char *text = (char *)in->at - 1;

    if (in->bad || in->left < len || memchr(in->at, '\0', len)) {
        in->bad = true;
        in->left = 0;
        nothing[0] = '\0';
        return nothing;
    }
    memmove(text, in->at, len);
    text[len] = '\0';
    in->at += len;
    in->left -= len;
    return text;
}

uint8_t *p9_put_room(struct p9_out *out, size_t len)
{
    uint8_t *at = out->start + out->at;

    if (out->full || out->size - out->at < len) {
        out->full = true;
        return NULL;
    }
    out->at += len;
    return at;
}

static void put(struct p9_out *out, uint64_t value, size_t bytes)
{
    uint8_t *at = p9_put_room(out, bytes);

    value = htole64(value);
    if (at) {
        memcpy(at, &value, bytes);
    }
}

void p9_put_u8(struct p9_out *out, uint8_t value)
{
    put(out, value, 1);
}

void p9_put_u16(struct p9_out *out, uint16_t value)
{
    put(out, value, 2);
}

void p9_put_u32(struct p9_out *out, uint32_t value)
{
    put(out, value, 4);
}

void p9_put_u64(struct p9_out *out, uint64_t value)
{
    put(out, value, 8);
}

void p9_put_string(struct p9_out *out, const char *text, size_t len)
{
    uint8_t *at;

    p9_put_u16(out, (uint16_t)len);
    at = p9_put_room(out, len);
    if (at) {
        memcpy(at, text, len);
    }
}

void p9_put_header(struct p9_out *out, uint8_t type, uint16_t tag)
{
    struct p9_out header = {.start = out->start, .size = P9_HEADER};

    p9_put_u32(&header, (uint32_t)out->at);
    p9_put_u8(&header, type);
    p9_put_u16(&header, tag);
}
