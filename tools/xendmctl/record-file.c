/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A recording, read; see record.h and docs/recording.md. Anything may be in it. */
#include <string.h>

#include <xendm/bytes.h>
#include <xendm/error.h>

#include "record.h"

static bool take_u32(record_t *f, uint32_t *value)
{
    if (f->all->len - f->at < 4) {
        return false;
    }
    *value = load_le32(f->all->data + f->at);
    f->at += 4;
    return true;
}

/* A length, and so many bytes; NULL: they are not there. */
static const uint8_t *take_block(record_t *f, size_t *len)
{
    const uint8_t *at;
    uint32_t n;

    if (!take_u32(f, &n) || n > f->all->len - f->at) {
        return NULL;
    }
    at = f->all->data + f->at;
    f->at += n;
    *len = n;
    return at;
}

static bool read_head(record_t *f)
{
    uint32_t version, order;

    if (f->all->len < strlen(TAPE_FILE_MAGIC) ||
        memcmp(f->all->data, TAPE_FILE_MAGIC, strlen(TAPE_FILE_MAGIC)) != 0) {
        return false;
    }
    f->at = strlen(TAPE_FILE_MAGIC);
    if (!take_u32(f, &version) || !take_u32(f, &order) || version != TAPE_FILE_VERSION ||
        order != TAPE_FILE_ORDER) {
        return false;
    }
    f->texts = (const char *)take_block(f, &f->texts_len);
    if (!f->texts || f->texts_len == 0 || f->texts[f->texts_len - 1]) {
        return false;
    }
    f->state = take_block(f, &f->state_len);
    f->entries = f->at;
    return f->state != NULL;
}

record_t *record_open(const char *path, GError **err)
{
    record_t *f;
    char *data;
    gsize len;

    if (!g_file_get_contents(path, &data, &len, err)) {
        return NULL;
    }
    f = g_new0(record_t, 1);
    f->all = g_byte_array_new_take((guint8 *)data, len);
    if (!read_head(f)) {
        g_set_error(err, XENDM_ERROR, 0, "%s: no recording of version %u, or its head is damaged",
                    path, TAPE_FILE_VERSION);
        record_free(f);
        return NULL;
    }
    return f;
}

void record_free(record_t *f)
{
    if (f) {
        g_byte_array_unref(f->all);
        g_free(f);
    }
}

enum record_next record_next(record_t *f, struct tape_entry *e)
{
    size_t left = f->all->len - f->at;
    int64_t n = tape_decode(f->all->data + f->at, left, e, &f->time);

    if (n <= 0) {
        return n < 0 ? RECORD_DAMAGED : left == 0 ? RECORD_OVER : RECORD_CUT;
    }
    f->at += (size_t)n;
    f->number++;
    return RECORD_ENTRY;
}
