/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Words of a command line, and answers. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "words.h"

char *fail(const char *fmt, ...)
{
    va_list ap;
    char *t, *r;

    va_start(ap, fmt);
    t = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    r = g_strdup_printf("FAIL %s", t);
    g_free(t);
    return r;
}

char *done(int r)
{
    return r < 0 ? fail("%s", strerror(-r)) : g_strdup("OK");
}

const char *key(struct cmd *c, const char *name)
{
    size_t len = strlen(name);
    unsigned int i;

    for (i = 1; i < c->n; i++)
        if (!strncmp(c->w[i], name, len) && c->w[i][len] == '=')
            return c->w[i] + len + 1;
    return NULL;
}

uint64_t key_u64(struct cmd *c, const char *name, uint64_t def)
{
    const char *t = key(c, name);
    uint64_t v;

    return t && parse_u64(t, &v) ? v : def;
}

bool parse_u64(const char *s, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(s, &end, 0);
    return *s && !*end && !errno && *s != '-';
}

bool parse_bdf(const char *t, uint32_t *bdf)
{
    unsigned int b, dv, f;
    uint64_t v;

    if (sscanf(t, "%x:%x.%u", &b, &dv, &f) == 3 && b < 256 && dv < 32 && f < 8) {
        *bdf = b << 8 | dv << 3 | f;
        return true;
    }
    if (sscanf(t, "%x.%u", &dv, &f) == 2 && strchr(t, '.') && dv < 32 && f < 8) {
        *bdf = dv << 3 | f;
        return true;
    }
    if (!parse_u64(t, &v) || v > 0xffff)
        return false;
    *bdf = (uint32_t)v;
    return true;
}
