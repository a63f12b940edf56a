/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scrolling is found by a number for each row. Rows of the new picture whose number an old row had,
 * and no other, say how far they came; the distance that most of them name is taken, if it is
 * enough, and then every row that it explains is part of the move, blank ones too.
 *
 * Numbers cost a look at each row that changed. A picture that changes all over and never scrolls,
 * a film, is looked at ever less often.
 */
#include <string.h>

#include <xendm/display.h>

#include "scroll.h"

#define ROWS_MIN 48u   /* a change that is lower is sent as it is */
#define VOTES_MIN 12u  /* rows that name a distance */
#define COPIED_MIN 24u /* rows that a move spares */
#define SLOTS 8192u    /* twice the rows there may be; a power of two */
#define PATIENCE 4u    /* looks in vain, after which it looks at two of sixteen pictures */
#define NOBODY UINT16_MAX
#define SEVERAL 0x8000u /* … rows have this number: the first of them, and this bit */

static struct {
    uint64_t hash[DISPLAY_HEIGHT_MAX];
    bool known[DISPLAY_HEIGHT_MAX];
    uint64_t now[DISPLAY_HEIGHT_MAX]; /* of the rows that changed */
    bool changed[DISPLAY_HEIGHT_MAX];
    uint16_t slot[SLOTS]; /* old rows by their number */
    uint16_t votes[2 * DISPLAY_HEIGHT_MAX];
    unsigned in_vain;
} s;

void scroll_forget(void)
{
    memset(s.known, 0, sizeof(s.known));
    s.in_vain = 0;
}

/* Four sums at once, so that none waits for the other's multiplication. */
static uint64_t hash_row(const uint8_t *row, size_t bytes)
{
    static const uint64_t factor = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t sum[4] = {1, 2, 3, 4}, word[4];
    size_t at = 0;

    for (; at + sizeof(word) <= bytes; at += sizeof(word)) {
        memcpy(word, row + at, sizeof(word));
        for (unsigned i = 0; i < 4; i++) {
            sum[i] = (sum[i] ^ word[i]) * factor;
            sum[i] ^= sum[i] >> 29;
        }
    }
    memset(word, 0, sizeof(word));
    memcpy(word, row + at, bytes - at);
    for (unsigned i = 0; i < 4; i++) {
        sum[0] = ((sum[0] ^ word[i]) * factor ^ sum[i]) * factor;
        sum[0] ^= sum[0] >> 29;
    }
    return sum[0];
}

/* Which rows the damage touches; how many. */
static unsigned mark_changed(sraRegionPtr damage, unsigned height)
{
    sraRectangleIterator *it = sraRgnGetIterator(damage);
    unsigned rows = 0;
    sraRect r;

    memset(s.changed, 0, height * sizeof(*s.changed));
    while (sraRgnIteratorNext(it, &r)) {
        for (int y = MAX(r.y1, 0); y < r.y2 && y < (int)height; y++) {
            rows += !s.changed[y];
            s.changed[y] = true;
        }
    }
    sraRgnReleaseIterator(it);
    return rows;
}

static unsigned first_slot(uint64_t hash)
{
    return (unsigned)(hash >> 40) % SLOTS;
}

/* Its place in the table, or the free one where it would be. */
static uint16_t *slot_of(uint64_t hash)
{
    unsigned i = first_slot(hash);

    while (s.slot[i] != NOBODY && s.hash[s.slot[i] & ~SEVERAL] != hash) {
        i = (i + 1) % SLOTS;
    }
    return &s.slot[i];
}

static void collect_old_rows(unsigned height)
{
    memset(s.slot, 0xff, sizeof(s.slot));
    for (unsigned y = 0; y < height; y++) {
        uint16_t *slot = s.known[y] ? slot_of(s.hash[y]) : NULL;

        if (slot) {
            *slot = *slot == NOBODY ? (uint16_t)y : *slot | SEVERAL;
        }
    }
}

/* The distance that most rows name, or 0. */
static int most_votes(unsigned height)
{
    unsigned best = 0;

    memset(s.votes, 0, sizeof(s.votes));
    for (unsigned y = 0; y < height; y++) {
        uint16_t old = s.changed[y] ? *slot_of(s.now[y]) : NOBODY;

        if (old < DISPLAY_HEIGHT_MAX && old != y) {
            unsigned i = y + DISPLAY_HEIGHT_MAX - old;

            s.votes[i]++;
            best = s.votes[i] > s.votes[best] ? i : best;
        }
    }
    return s.votes[best] >= VOTES_MIN ? (int)best - (int)DISPLAY_HEIGHT_MAX : 0;
}

static bool explained(unsigned y, int distance, unsigned height)
{
    int from = (int)y - distance;

    return s.changed[y] && from >= 0 && from < (int)height && s.known[from] &&
           s.hash[from] == s.now[y] && !(s.known[y] && s.hash[y] == s.now[y]);
}

static void add_rows(sraRegionPtr region, unsigned first, unsigned end, unsigned width)
{
    sraRegionPtr rows = sraRgnCreateRect(0, (int)first, (int)width, (int)end);

    sraRgnOr(region, rows);
    sraRgnDestroy(rows);
}

/* Rows that a move explains, into `copy`; how many. */
static unsigned collect_copy(sraRegionPtr copy, int distance, unsigned width, unsigned height)
{
    unsigned rows = 0;

    for (unsigned y = 0, first; y < height; y++) {
        for (first = y; y < height && explained(y, distance, height); y++) {
        }
        if (y > first) {
            add_rows(copy, first, y, width);
            rows += y - first;
        }
    }
    return rows;
}

static void drop_unchanged(sraRegionPtr damage, unsigned width, unsigned height)
{
    for (unsigned y = 0, first; y < height; y++) {
        for (first = y; y < height && s.changed[y] && s.known[y] && s.hash[y] == s.now[y]; y++) {
        }
        if (y > first) {
            sraRegionPtr rows = sraRgnCreateRect(0, (int)first, (int)width, (int)y);

            sraRgnSubtract(damage, rows);
            sraRgnDestroy(rows);
        }
    }
}

static int find_move(unsigned width, unsigned height, sraRegionPtr damage, sraRegionPtr copy)
{
    int distance;

    collect_old_rows(height);
    distance = most_votes(height);
    if (distance && collect_copy(copy, distance, width, height) < COPIED_MIN) {
        sraRgnMakeEmpty(copy);
        distance = 0;
    }
    drop_unchanged(damage, width, height);
    sraRgnSubtract(damage, copy);
    return distance;
}

int scroll_find(const uint8_t *pixels, unsigned width, unsigned height, bool certain,
                sraRegionPtr damage, sraRegionPtr copy)
{
    unsigned rows;
    int distance = 0;

    if (width > DISPLAY_WIDTH_MAX || height > DISPLAY_HEIGHT_MAX) {
        return 0;
    }
    rows = mark_changed(damage, height);
    if (rows >= ROWS_MIN && s.in_vain > PATIENCE && s.in_vain % 16 > 1) {
        s.in_vain++;
        for (unsigned y = 0; y < height; y++) {
            s.known[y] &= !s.changed[y];
        }
        return 0;
    }
    for (unsigned y = 0; y < height; y++) {
        if (s.changed[y]) {
            s.now[y] = hash_row(pixels + (size_t)y * width * 4, (size_t)width * 4);
        }
    }
    if (certain && rows >= ROWS_MIN) {
        distance = find_move(width, height, damage, copy);
        s.in_vain = distance ? 0 : s.in_vain + 1;
    }
    for (unsigned y = 0; y < height; y++) {
        if (s.changed[y]) {
            s.hash[y] = s.now[y];
            s.known[y] = true;
        }
    }
    return distance;
}
