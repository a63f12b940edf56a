/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds the device model's state in what `xl save` writes: xl's header and configuration, then
 * libxl's stream, which holds libxc's (the guest's memory), then a record with the device model's
 * bytes. Xen's docs/specs/libxl-migration-stream.pandoc and libxc-migration-stream.pandoc. Memory
 * is skipped, not read.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "stream.h"

#define STATE_MAX (64u << 20)
#define XL_MAGIC "Xen saved domain, xl format\n \0 \r"
#define XL_ORDER 0x01020304u
#define LIBXL_IDENT UINT64_C(0x4c6962786c466d74)
#define LIBXC_ID 0x58454e46u

enum {
    LIBXL_END = 0,
    LIBXL_LIBXC_CONTEXT = 1,
    LIBXL_EMULATOR_CONTEXT = 3,
    LIBXC_END = 0,
};

struct xl_header {
    char magic[32];
    uint32_t order, mandatory, optional, length;
};

static bool get(FILE *f, void *to, size_t n)
{
    return fread(to, 1, n, f) == n;
}

static bool skip(FILE *f, uint64_t n)
{
    return n <= INT64_MAX && fseeko(f, (off_t)n, SEEK_CUR) == 0;
}

static GByteArray *take(FILE *f, uint64_t n, GError **err)
{
    GByteArray *out;

    if (n > STATE_MAX) {
        return stream_refuse(err, "the device model's state has more than %u MiB", STATE_MAX >> 20);
    }
    out = g_byte_array_sized_new((guint)n + 1);
    g_byte_array_set_size(out, (guint)n);
    if (!get(f, out->data, n)) {
        g_byte_array_unref(out);
        return stream_refuse(err, "the device model's state is cut short");
    }
    return out;
}

static uint64_t padded(uint32_t n)
{
    return ((uint64_t)n + 7) & ~UINT64_C(7);
}

static bool skip_libxc(FILE *f)
{
    struct {
        uint64_t marker;
        uint32_t id, version;
        uint16_t options, reserved1;
        uint32_t reserved2;
    } image;
    uint8_t domain[16];
    uint32_t record[2];

    if (!get(f, &image, sizeof(image)) || image.marker != UINT64_MAX ||
        GUINT32_FROM_BE(image.id) != LIBXC_ID || !get(f, domain, sizeof(domain))) {
        return false;
    }
    do {
        if (!get(f, record, sizeof(record)) || !skip(f, padded(GUINT32_FROM_LE(record[1])))) {
            return false;
        }
    } while (record[0] != LIBXC_END);
    return true;
}

/* From libxl's stream header on. */
static GByteArray *read_libxl(FILE *f, GError **err)
{
    struct {
        uint64_t ident;
        uint32_t version, options;
    } header;
    uint32_t record[2];

    if (!get(f, &header, sizeof(header)) || GUINT64_FROM_BE(header.ident) != LIBXL_IDENT) {
        return stream_refuse(err, "no libxl stream follows xl's header");
    }
    if (GUINT32_FROM_BE(header.version) != 2 || (GUINT32_FROM_BE(header.options) & 1)) {
        return stream_refuse(err, "the libxl stream is not little-endian of version 2");
    }
    for (;;) {
        uint32_t type, len, emulator[2];

        if (!get(f, record, sizeof(record))) {
            return stream_refuse(err, "the libxl stream is cut short");
        }
        type = GUINT32_FROM_LE(record[0]);
        len = GUINT32_FROM_LE(record[1]);
        if (type == LIBXL_END) {
            return stream_refuse(err, "there is no device model's state in it");
        }
        if (type == LIBXL_EMULATOR_CONTEXT && len >= sizeof(emulator) &&
            get(f, emulator, sizeof(emulator))) {
            return take(f, len - sizeof(emulator), err);
        }
        if (!skip(f, padded(len)) || (type == LIBXL_LIBXC_CONTEXT && !skip_libxc(f))) {
            return stream_refuse(err, "the libxl stream is cut short in a record of type %u", type);
        }
    }
}

static GByteArray *read_file(FILE *f, GError **err)
{
    struct xl_header xl;
    GByteArray *whole;
    uint8_t buf[65536];
    size_t n;

    if (get(f, &xl, sizeof(xl)) && memcmp(xl.magic, XL_MAGIC, sizeof(xl.magic)) == 0) {
        if (GUINT32_FROM_LE(xl.order) != XL_ORDER || !skip(f, GUINT32_FROM_LE(xl.length))) {
            return stream_refuse(err, "xl's header is damaged");
        }
        return read_libxl(f, err);
    }
    rewind(f);
    whole = g_byte_array_new();
    while ((n = fread(buf, 1, sizeof(buf), f)) > 0) {
        if (whole->len + n > STATE_MAX) {
            g_byte_array_unref(whole);
            return stream_refuse(err, "more than %u MiB: this is no device model's state",
                                 STATE_MAX >> 20);
        }
        g_byte_array_append(whole, buf, (guint)n);
    }
    if (ferror(f)) {
        g_byte_array_unref(whole);
        return stream_refuse(err, "%s", g_strerror(errno));
    }
    return whole;
}

GByteArray *stream_read(const char *path, GError **err)
{
    FILE *f = fopen(path, "rbe");
    GByteArray *bytes = f ? read_file(f, err) : stream_refuse(err, "%s", g_strerror(errno));

    if (!bytes) {
        g_prefix_error(err, "%s: ", path);
    }
    if (f) {
        fclose(f);
    }
    return bytes;
}
