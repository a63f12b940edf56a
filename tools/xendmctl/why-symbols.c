/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A kernel's symbols: its System.map, or the /proc/kallsyms of the running one. See why.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "why.h"

#define FAR_AWAY (UINT64_C(1) << 20) /* so far from the symbol before it an address is not its */

struct symbol {
    uint64_t address;
    char *name;
};

struct symbols {
    GArray *all; /* sorted */
};

static void clear(gpointer symbol)
{
    g_free(((struct symbol *)symbol)->name);
}

static int by_address(const void *a, const void *b)
{
    const struct symbol *x = a, *y = b;

    return x->address < y->address ? -1 : x->address > y->address;
}

struct symbols *symbols_read(const char *path, GError **err)
{
    FILE *f = fopen(path, "re");
    struct symbols *s;
    char line[512];

    if (!f) {
        g_set_error(err, G_FILE_ERROR, g_file_error_from_errno(errno), "%s: %s", path,
                    g_strerror(errno));
        return NULL;
    }
    s = g_new0(struct symbols, 1);
    s->all = g_array_new(FALSE, FALSE, sizeof(struct symbol));
    g_array_set_clear_func(s->all, clear);
    while (fgets(line, sizeof(line), f)) {
        struct symbol one = {0};
        char kind, name[256];

        /* what is absolute (A) is no place of the kernel's */
        if (sscanf(line, "%" SCNx64 " %c %255s", &one.address, &kind, name) == 3 &&
            one.address > 0 && strchr("tTwW", kind)) {
            one.name = g_strdup(name);
            g_array_append_val(s->all, one);
        }
    }
    fclose(f);
    if (s->all->len == 0) {
        g_set_error(err, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s: there is no symbol in it", path);
        symbols_free(s);
        return NULL;
    }
    g_array_sort(s->all, by_address);
    return s;
}

void symbols_free(struct symbols *s)
{
    if (s) {
        g_array_unref(s->all);
        g_free(s);
    }
}

char *symbols_name(const struct symbols *s, uint64_t address, uint64_t slide)
{
    uint64_t linked = address - slide;
    guint low = 0, high = s->all->len;

    while (low < high) {
        guint middle = (low + high) / 2;

        if (g_array_index(s->all, struct symbol, middle).address <= linked) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low > 0) {
        const struct symbol *at = &g_array_index(s->all, struct symbol, low - 1);

        if (linked - at->address < FAR_AWAY) {
            return g_strdup_printf("%s+0x%" PRIx64, at->name, linked - at->address);
        }
    }
    return NULL;
}

uint64_t symbols_address(const struct symbols *s, const char *name)
{
    for (guint i = 0; i < s->all->len; i++) {
        const struct symbol *one = &g_array_index(s->all, struct symbol, i);

        if (strcmp(one->name, name) == 0) {
            return one->address;
        }
    }
    return 0;
}
