/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Key symbols to keys, by libxkbcommon and xkb-data. The whole layout is turned round once, into a
 * table of symbols, before the process gives up its files.
 */
#include <stdlib.h>
#include <string.h>

#include <linux/input-event-codes.h>
#include <xkbcommon/xkbcommon.h>

#include "keymap.h"

#define EVDEV_OFFSET 8u /* of xkb's key codes */
#define LEVELS 4u       /* none, shift, AltGr, both */

struct entry {
    xkb_keysym_t symbol;
    struct keymap_key key;
};

struct keymap {
    struct entry *entries; /* by symbol, and of equal ones the plainest first */
    size_t count, room;
};

/* QEMU's names that are not xkb's: language-country. */
static const struct {
    const char *name, *layout, *variant;
} known[] = {
    {"en-us", "us", NULL}, {"en-gb", "gb", NULL}, {"de-ch", "ch", "de"}, {"fr-ch", "ch", "fr"},
    {"fr-be", "be", NULL}, {"nl-be", "be", NULL}, {"fr-ca", "ca", NULL}, {"pt-br", "br", NULL},
    {"sv", "se", NULL},    {"da", "dk", NULL},    {"sl", "si", NULL},    {"ja", "jp", NULL},
    {"et", "ee", NULL},    {"cz", "cz", NULL},    {"el", "gr", NULL},    {"es", "es", NULL},
    {"ar", "ara", NULL},   {"hr", "hr", NULL},
};

static int by_symbol(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int xl = x->key.shift + 2 * x->key.altgr, yl = y->key.shift + 2 * y->key.altgr;

    if (x->symbol != y->symbol) {
        return x->symbol < y->symbol ? -1 : 1;
    }
    return xl != yl ? xl - yl : (int)x->key.code - (int)y->key.code;
}

static void add(struct keymap *k, xkb_keysym_t symbol, struct keymap_key key)
{
    if (k->count == k->room) {
        size_t room = k->room ? k->room * 2 : 512;
        struct entry *bigger = realloc(k->entries, room * sizeof(*bigger));
        if (!bigger) {
            return;
        }
        k->entries = bigger;
        k->room = room;
    }
    k->entries[k->count++] = (struct entry){symbol, key};
}

static void add_key(struct keymap *k, struct xkb_keymap *xkb, xkb_keycode_t code)
{
    xkb_level_index_t levels = xkb_keymap_num_levels_for_key(xkb, code, 0);

    for (xkb_level_index_t level = 0; level < levels && level < LEVELS; level++) {
        const xkb_keysym_t *symbols;
        int n = xkb_keymap_key_get_syms_by_level(xkb, code, 0, level, &symbols);
        struct keymap_key key = {.code = code - EVDEV_OFFSET,
                                 .shift = level & 1,
                                 .altgr = level & 2,
                                 .levels = levels > 1};
        if (n == 1 && symbols[0] != XKB_KEY_NoSymbol) {
            add(k, symbols[0], key);
        }
    }
}

struct collect {
    struct keymap *k;
};

static void each_key(struct xkb_keymap *xkb, xkb_keycode_t code, void *opaque)
{
    if (code > EVDEV_OFFSET && code < EVDEV_OFFSET + KEY_MAX) {
        add_key(((struct collect *)opaque)->k, xkb, code);
    }
}

/* Into layout and variant; the name is the viewer's no longer than the caller's buffer. */
static void split_name(const char *name, char *layout, size_t size, const char **variant)
{
    char *paren;

    *variant = NULL;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(name, known[i].name) == 0) {
            strncpy(layout, known[i].layout, size - 1);
            *variant = known[i].variant;
            return;
        }
    }
    strncpy(layout, name, size - 1);
    paren = strchr(layout, '(');
    if (paren) {
        *paren++ = '\0';
        paren[strcspn(paren, ")")] = '\0';
        *variant = paren;
    }
}

struct keymap *keymap_new(const char *name)
{
    char layout[64] = "";
    struct xkb_rule_names names = {.rules = "evdev", .model = "pc105", .layout = layout};
    struct xkb_context *context = xkb_context_new(XKB_CONTEXT_NO_ENVIRONMENT_NAMES);
    struct xkb_keymap *xkb = NULL;
    struct keymap *k = NULL;

    split_name(name, layout, sizeof(layout), &names.variant);
    if (context) {
        xkb_context_set_log_level(context, XKB_LOG_LEVEL_CRITICAL);
        xkb = xkb_keymap_new_from_names(context, &names, XKB_KEYMAP_COMPILE_NO_FLAGS);
    }
    if (xkb) {
        k = calloc(1, sizeof(*k));
    }
    if (k) {
        struct collect c = {k};
        xkb_keymap_key_for_each(xkb, each_key, &c);
        qsort(k->entries, k->count, sizeof(*k->entries), by_symbol);
    }
    xkb_keymap_unref(xkb);
    xkb_context_unref(context);
    return k;
}

void keymap_free(struct keymap *k)
{
    if (k) {
        free(k->entries);
        free(k);
    }
}

static const struct entry *lookup(const struct keymap *k, xkb_keysym_t symbol)
{
    size_t low = 0, high = k->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (k->entries[middle].symbol < symbol) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < k->count && k->entries[low].symbol == symbol ? &k->entries[low] : NULL;
}

/* Symbols that viewers send and layouts do not have, or have under another name. */
static xkb_keysym_t other_name(xkb_keysym_t symbol)
{
    switch (symbol) {
    case XKB_KEY_ISO_Left_Tab:
        return XKB_KEY_Tab;
    case XKB_KEY_Mode_switch:
        return XKB_KEY_ISO_Level3_Shift;
    case XKB_KEY_Meta_L:
        return XKB_KEY_Super_L;
    case XKB_KEY_Meta_R:
        return XKB_KEY_Super_R;
    case XKB_KEY_Sys_Req:
        return XKB_KEY_Print;
    case XKB_KEY_Break:
        return XKB_KEY_Pause;
    }
    if (symbol >= 0x01000000u && symbol <= 0x010000ffu) { /* Unicode for what Latin 1 has */
        return symbol & 0xff;
    }
    xkb_keysym_t lower = xkb_keysym_to_lower(symbol);
    return lower != symbol ? lower : XKB_KEY_NoSymbol;
}

struct keymap_key keymap_find(const struct keymap *k, uint32_t symbol)
{
    const struct entry *e = lookup(k, symbol);

    if (!e && symbol == XKB_KEY_ISO_Level3_Shift) {
        return (struct keymap_key){.code = KEY_RIGHTALT};
    }
    if (!e && other_name(symbol) != XKB_KEY_NoSymbol) {
        return keymap_find(k, other_name(symbol));
    }
    return e ? e->key : (struct keymap_key){0};
}

unsigned keymap_from_xt(uint32_t xt)
{
    /* Those behind 0xe0; the others are evdev's own numbers (linux/input-event-codes.h). */
    static const struct {
        uint8_t xt, code;
    } extended[] = {
        {0x1c, KEY_KPENTER},  {0x1d, KEY_RIGHTCTRL}, {0x20, KEY_MUTE},    {0x2e, KEY_VOLUMEDOWN},
        {0x30, KEY_VOLUMEUP}, {0x35, KEY_KPSLASH},   {0x37, KEY_SYSRQ},   {0x38, KEY_RIGHTALT},
        {0x45, KEY_NUMLOCK},  {0x46, KEY_PAUSE},     {0x47, KEY_HOME},    {0x48, KEY_UP},
        {0x49, KEY_PAGEUP},   {0x4b, KEY_LEFT},      {0x4d, KEY_RIGHT},   {0x4f, KEY_END},
        {0x50, KEY_DOWN},     {0x51, KEY_PAGEDOWN},  {0x52, KEY_INSERT},  {0x53, KEY_DELETE},
        {0x5b, KEY_LEFTMETA}, {0x5c, KEY_RIGHTMETA}, {0x5d, KEY_COMPOSE}, {0x5e, KEY_POWER},
        {0x5f, KEY_SLEEP},    {0x63, KEY_WAKEUP},
    };

    if (xt >= 0x100) {
        return 0;
    }
    if (xt & 0x80) {
        for (size_t i = 0; i < sizeof(extended) / sizeof(extended[0]); i++) {
            if (extended[i].xt == (xt & 0x7f)) {
                return extended[i].code;
            }
        }
        return 0;
    }
    switch (xt) {
    case 0x54:
        return KEY_SYSRQ;
    case 0x70:
        return KEY_KATAKANAHIRAGANA;
    case 0x73:
        return KEY_RO;
    case 0x79:
        return KEY_HENKAN;
    case 0x7b:
        return KEY_MUHENKAN;
    case 0x7d:
        return KEY_YEN;
    case 0x7e:
        return KEY_KPCOMMA;
    }
    return xt <= KEY_F12 ? xt : 0;
}
