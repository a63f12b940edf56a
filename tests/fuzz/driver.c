/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives a fuzz target without libFuzzer: reproducible random inputs under whatever sanitizers the
 * build has.
 *
 *     fuzz-NAME                  the short run of `make check`, as TAP
 *     fuzz-NAME -t SECONDS [-s SEED]
 *     fuzz-NAME FILE...          these inputs; a crash leaves its own as crash-NAME
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <xendm/log.h>

#include "fuzz.h"

#define SEED 1u
#define SLOW_US (5 * G_USEC_PER_SEC) /* one input that takes so long is a finding, too */

#if defined(__SANITIZE_ADDRESS__)
void __sanitizer_set_death_callback(void (*callback)(void));
#define HAVE_DEATH_CALLBACK 1
#endif

static GByteArray *input;

/* The input at hand, for `fuzz-NAME crash-NAME`. */
static void keep_input(void)
{
    g_autofree char *file = g_strdup_printf("crash-%s", fuzz_name);
    FILE *out = input ? fopen(file, "wb") : NULL;

    if (out) {
        fwrite(input->data, 1, input->len, out);
        fclose(out);
        fprintf(stderr, "# the input is in %s\n", file);
    }
}

static void on_abort(int number)
{
    keep_input();
    signal(number, SIG_DFL);
    raise(number);
}

static void run_one(void)
{
    gint64 start = g_get_monotonic_time(), took;

    LLVMFuzzerTestOneInput(input->data, input->len);
    took = g_get_monotonic_time() - start;
    if (took > SLOW_US) {
        fprintf(stderr, "# one input of %u bytes took %" G_GINT64_FORMAT " ms\n", input->len,
                took / 1000);
        abort();
    }
}

static unsigned run_random(uint32_t seed, unsigned count, gint64 until)
{
    GRand *rand = g_rand_new_with_seed(seed);
    unsigned done = 0;

    while (count > 0 ? done < count : g_get_monotonic_time() < until) {
        g_byte_array_set_size(input, 0);
        fuzz_generate(rand, input);
        run_one();
        done++;
    }
    g_rand_free(rand);
    return done;
}

static int run_files(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        g_autofree char *data = NULL;
        gsize len = 0;

        if (!g_file_get_contents(argv[i], &data, &len, NULL)) {
            fprintf(stderr, "cannot read %s\n", argv[i]);
            return EXIT_FAILURE;
        }
        g_byte_array_set_size(input, 0);
        g_byte_array_append(input, (const guint8 *)data, (guint)len);
        run_one();
    }
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    uint32_t seed = SEED;
    long seconds = 0;
    int option;
    unsigned done;

    /* --tap is how tests/unit/tap runs everything; TAP is what the short run prints anyway. */
    static const struct option longer[] = {{"tap", no_argument, NULL, 'T'}, {NULL, 0, NULL, 0}};

    while ((option = getopt_long(argc, argv, "t:s:", longer, NULL)) != -1) {
        if (option == 'T') {
            continue;
        }
        if (option == 't') {
            seconds = atol(optarg);
        } else if (option == 's') {
            seed = (uint32_t)strtoul(optarg, NULL, 0);
        } else {
            return EXIT_FAILURE;
        }
    }
    log_set_level("all", "error");
    input = g_byte_array_new();
#ifdef HAVE_DEATH_CALLBACK
    __sanitizer_set_death_callback(keep_input);
#endif
    signal(SIGABRT, on_abort);
    signal(SIGTRAP, on_abort); /* g_error() */
    if (optind < argc) {
        return run_files(argc - optind, argv + optind);
    }
    if (seconds > 0) {
        done = run_random(seed, 0, g_get_monotonic_time() + seconds * G_USEC_PER_SEC);
        printf("%s: seed %u, %u inputs, nothing found\n", fuzz_name, seed, done);
    } else {
        printf("TAP version 13\n1..1\n");
        done = run_random(seed, fuzz_short_run, 0);
        printf("ok 1 - %s: %u random inputs\n", fuzz_name, done);
    }
    g_byte_array_free(input, TRUE);
    return EXIT_SUCCESS;
}
