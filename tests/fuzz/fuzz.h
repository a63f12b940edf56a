/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz targets: each is one file with LLVMFuzzerTestOneInput(), which takes any bytes and returns
 * 0, or dies. With
 * --enable-fuzzer (clang) libFuzzer drives it and looks for new ways through the code; otherwise
 * driver.c does, with reproducible random inputs. docs/security.md says how to run them.
 */
#ifndef XENDM_FUZZ_H
#define XENDM_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <glib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * A program may hold several targets (NULL behind the last), of which one is chosen before the
 * first input; under libFuzzer XENDM_FUZZ_TARGET does.
 */
extern const char *const fuzz_targets[];
void fuzz_choose(unsigned target);

/* For libFuzzer, which has no options of ours; the first when nothing is said. */
static inline void fuzz_choose_by_name(void)
{
    const char *name = g_getenv("XENDM_FUZZ_TARGET");

    for (unsigned i = 0; fuzz_targets[i]; i++) {
        if (!name || strcmp(name, fuzz_targets[i]) == 0) {
            fuzz_choose(i);
            return;
        }
    }
    g_error("XENDM_FUZZ_TARGET=%s: there is no such target", name);
}

/* For driver.c: how many inputs a short run tries of each, and how to make one. */
extern const unsigned fuzz_short_run;
void fuzz_generate(GRand *rand, GByteArray *out);

/* What the inputs came to: accesses of a guest, messages. The targets count, the driver tells. */
extern uint64_t fuzz_steps;

/* Reads an input from its begin; behind the end there are zeros. */
struct fuzz_input {
    const uint8_t *data;
    size_t left;
};

static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->data++;
}

static inline uint64_t fuzz_uint(struct fuzz_input *in, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)fuzz_u8(in) << 8 * i;
    }
    return value;
}

static inline void fuzz_bytes(struct fuzz_input *in, void *to, size_t len)
{
    size_t n = len < in->left ? len : in->left;

    memset(to, 0, len);
    if (n > 0) {
        memcpy(to, in->data, n);
    }
    in->data += n;
    in->left -= n;
}

#endif
