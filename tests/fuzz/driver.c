/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives a fuzz target without libFuzzer: reproducible random inputs under whatever sanitizers the
 * build has.
 *
 *     fuzz-NAME                             the short run of `make check`, as TAP
 *     fuzz-NAME [-T TARGET] -t SECONDS [-s SEED]
 *     fuzz-NAME [-T TARGET] FILE...         these inputs; a crash leaves its own as crash-TARGET
 *     fuzz-NAME -l                          the targets
 *
 * A long run tells inputs a second of CPU time, and the input that took longest.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <xendm/log.h>

#include "fuzz.h"

#define SEED 1u
/* One input that takes so much of the CPU is a finding, too; under sanitizers, too. */
#define SLOW_US (5 * G_USEC_PER_SEC)

#if defined(__SANITIZE_ADDRESS__)
void __sanitizer_set_death_callback(void (*callback)(void));
#define HAVE_DEATH_CALLBACK 1
#endif

static GByteArray *input;
static unsigned target;
static gint64 longest;

/* The input at hand, for `fuzz-NAME crash-NAME`. */
static void keep_input(void)
{
    g_autofree char *file = g_strdup_printf("crash-%s", fuzz_targets[target]);
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

/* Microseconds of this process, so that other processes do not count. */
static gint64 cpu_time(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (gint64)ts.tv_sec * G_USEC_PER_SEC + ts.tv_nsec / 1000;
}

/* A target may have a clock of its own in GLib's place. */
static gint64 wall_time(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (gint64)ts.tv_sec * G_USEC_PER_SEC + ts.tv_nsec / 1000;
}

static void run_one(void)
{
    gint64 start = cpu_time(), took;

    LLVMFuzzerTestOneInput(input->data, input->len);
    took = cpu_time() - start;
    longest = MAX(longest, took);
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

    while (count > 0 ? done < count : wall_time() < until) {
        g_byte_array_set_size(input, 0);
        fuzz_generate(rand, input);
        run_one();
        done++;
    }
    g_rand_free(rand);
    return done;
}

static void run_long(uint32_t seed, long seconds)
{
    gint64 start = cpu_time();
    unsigned done = run_random(seed, 0, wall_time() + seconds * G_USEC_PER_SEC);

    printf("%s: seed %u, %u inputs with %" G_GUINT64_FORMAT
           " accesses or messages, %.0f inputs a second, the longest %.1f ms, nothing found\n",
           fuzz_targets[target], seed, done, fuzz_steps,
           done / ((double)(cpu_time() - start) / G_USEC_PER_SEC), (double)longest / 1000);
}

static void run_short(uint32_t seed)
{
    unsigned n = 0, done;

    while (fuzz_targets[n]) {
        n++;
    }
    printf("TAP version 13\n1..%u\n", n);
    for (target = 0; target < n; target++) {
        fuzz_choose(target);
        done = run_random(seed, fuzz_short_run, 0);
        printf("ok %u - %s: %u random inputs\n", target + 1, fuzz_targets[target], done);
        fflush(stdout);
    }
}

static bool choose(const char *name)
{
    for (target = 0; fuzz_targets[target]; target++) {
        if (strcmp(fuzz_targets[target], name) == 0) {
            fuzz_choose(target);
            return true;
        }
    }
    fprintf(stderr, "there is no target %s\n", name);
    return false;
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
    const char *name = NULL;
    long seconds = 0;
    int option;

    /* --tap is how tests/unit/tap runs everything; TAP is what the short run prints anyway. */
    static const struct option longer[] = {{"tap", no_argument, NULL, 'x'}, {NULL, 0, NULL, 0}};

    while ((option = getopt_long(argc, argv, "t:s:T:l", longer, NULL)) != -1) {
        switch (option) {
        case 'x':
            break;
        case 't':
            seconds = atol(optarg);
            break;
        case 's':
            seed = (uint32_t)strtoul(optarg, NULL, 0);
            break;
        case 'T':
            name = optarg;
            break;
        case 'l':
            for (unsigned i = 0; fuzz_targets[i]; i++) {
                puts(fuzz_targets[i]);
            }
            return EXIT_SUCCESS;
        default:
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
    if ((seconds > 0 || optind < argc) && !choose(name ? name : fuzz_targets[0])) {
        return EXIT_FAILURE;
    }
    if (optind < argc) {
        return run_files(argc - optind, argv + optind);
    }
    if (seconds > 0) {
        run_long(seed, seconds);
    } else {
        run_short(seed);
    }
    g_byte_array_free(input, TRUE);
    return EXIT_SUCCESS;
}
