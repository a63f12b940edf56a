/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 2352 bytes of a CD's sector of mode 1, around its 2048 bytes of data.
 *
 * Source: ECMA-130, clauses 14 (sector layout), 14.3 (EDC) and annex A (the two Reed-Solomon codes
 * over GF(2^8) with x^8 + x^4 + x^3 + x^2 + 1). An image has only the data; the rest follows from
 * it and from the sector's place.
 */
#include "scsi-internal.h"

#define AT_HEADER 12u
#define AT_DATA 16u
#define AT_EDC 2064u
#define AT_P 2076u
#define AT_Q 2248u

/* A vector of P or Q: `length` bytes of data and then two of parity. */
struct code {
    unsigned vectors, length;
    unsigned step, next; /* from byte to byte, from pair of vectors to pair of vectors */
    unsigned parity;     /* where it goes */
    unsigned size;       /* of what is covered, where the diagonals of Q wrap */
};

static const struct code codes[2] = {
    {.vectors = 86, .length = 24, .step = 86, .next = 2, .parity = AT_P, .size = 86 * 24},
    {.vectors = 52, .length = 43, .step = 88, .next = 86, .parity = AT_Q, .size = 52 * 43},
};

static uint8_t times_two(uint8_t x)
{
    return (uint8_t)(x << 1 ^ (x & 0x80 ? 0x1d : 0));
}

/* x / 3 for each x, 3 × y being y ^ 2 × y. */
static const uint8_t *thirds(void)
{
    static uint8_t table[256];
    static bool made;

    for (unsigned y = 0; !made && y < 256; y++) {
        table[y ^ times_two((uint8_t)y)] = (uint8_t)y;
    }
    made = true;
    return table;
}

/*
 * Both sums of a codeword are zero, the plain one and that weighted by powers of two, the last byte
 * having weight 1. With S the plain and W the weighted sum of the data (the first parity byte
 * having weight 2): a ^ b = S, 2a ^ b = W, hence 3a = S ^ W.
 */
static void put_parity(uint8_t *sector, const struct code *c)
{
    const uint8_t *covered = sector + AT_HEADER;

    for (unsigned v = 0; v < c->vectors; v++) {
        unsigned at = (v >> 1) * c->next + (v & 1);
        uint8_t sum = 0, weighted = 0, a;

        for (unsigned i = 0; i < c->length; i++) {
            sum ^= covered[at];
            weighted = times_two(weighted ^ covered[at]);
            at = (at + c->step) % c->size;
        }
        weighted = times_two(weighted);
        a = thirds()[sum ^ weighted];
        sector[c->parity + v] = a;
        sector[c->parity + c->vectors + v] = a ^ sum;
    }
}

static uint32_t edc(const uint8_t *p, unsigned length)
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < length; i++) {
        sum ^= p[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            sum = sum >> 1 ^ (sum & 1 ? 0xd8018001u : 0);
        }
    }
    return sum;
}

static uint8_t bcd(uint32_t n)
{
    return (uint8_t)(n / 10 % 10 << 4 | n % 10);
}

void cd_raw_sector(uint8_t *sector, uint32_t block)
{
    uint32_t frame = block + CD_MSF_OFFSET, sum;

    memset(sector, 0xff, AT_HEADER);
    sector[0] = sector[AT_HEADER - 1] = 0;
    sector[AT_HEADER] = bcd(frame / 75 / 60);
    sector[AT_HEADER + 1] = bcd(frame / 75 % 60);
    sector[AT_HEADER + 2] = bcd(frame % 75);
    sector[AT_HEADER + 3] = 1; /* mode */
    sum = edc(sector, AT_EDC);
    for (unsigned i = 0; i < 4; i++) {
        sector[AT_EDC + i] = (uint8_t)(sum >> 8 * i);
    }
    memset(sector + AT_EDC + 4, 0, AT_P - AT_EDC - 4);
    put_parity(sector, &codes[0]);
    put_parity(sector, &codes[1]);
}

void cd_raw_expand(uint8_t *buffer, uint32_t block, uint32_t count)
{
    while (count-- > 0) {
        uint8_t *sector = buffer + (size_t)count * CD_RAW;

        memmove(sector + AT_DATA, buffer + (size_t)count * CD_BLOCK, CD_BLOCK);
        cd_raw_sector(sector, block + count);
    }
}
