/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xendmctl: see xendmctl(1). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "page.h"
#include "record.h"
#include "seat.h"
#include "stream.h"
#include "update.h"

/* Functions get what follows the words; -1: wrong usage. */
static const struct {
    const char *noun, *verb, *arguments;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"status", NULL, "[GUEST] [--json]", status_main},
    {"why", NULL, "GUEST [--system-map FILE]", why_main},
    {"top", NULL, "[-n ROUNDS]", top_main},
    {"metrics", NULL, "", metrics_main},
    {"recorder", NULL,
     "GUEST|FILE [--kind KIND] [--device ID] [--address FROM[-TO]] [--vcpu N] [--ago S[-S]]\n"
     "           [--last N] [--requests | --latencies | --count kind|device|address|vcpu |\n"
     "           --perfetto | --diff GUEST|FILE]",
     recorder_main},
    {"record", "show", "FILE", record_show},
    {"record", "scrub", "FILE FILE", record_scrub},
    {"record", NULL, "GUEST FILE [--limit MIB] [--seconds S]", record_main},
    {"gdb", NULL, "GUEST [--port PORT] [--bits 16|32|64]", gdb_main},
    {"screen", NULL, "GUEST [FILE | --as-text]", seat_screen},
    {"type", NULL, "GUEST TEXT", seat_type},
    {"key", NULL, "GUEST KEY[-KEY]...", seat_key},
    {"click", NULL, "GUEST X Y [--button left|middle|right]", seat_click},
    {"wait-screen", NULL,
     "GUEST FILE|--text PATTERN [--region X,Y,W,H] [--tolerance PERCENT] [--timeout S]",
     seat_wait_screen},
    {"wait-serial", NULL, "GUEST PATTERN [--timeout S]", seat_wait_serial},
    {"film", NULL, "GUEST FILE [--seconds S] [--every S]", seat_film},
    {"state", "show", "FILE", state_show},
    {"state", "diff", "FILE FILE", state_diff},
    {"state", "extract", "XL-SAVE-FILE FILE", state_extract},
    {"update", NULL, UPDATE_ARGUMENTS, update_main},
};

static int usage(FILE *to)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        fprintf(to, "%s xendmctl %s%s%s %s\n", i ? "      " : "usage:", commands[i].noun,
                commands[i].verb ? " " : "", commands[i].verb ? commands[i].verb : "",
                commands[i].arguments);
    }
    return to == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
    int status = -1;

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
        return usage(stdout);
    }
    for (unsigned i = 0; argc >= 2 && i < G_N_ELEMENTS(commands); i++) {
        int words = commands[i].verb ? 2 : 1;

        if (argc > words && strcmp(argv[1], commands[i].noun) == 0 &&
            (words == 1 || strcmp(argv[2], commands[i].verb) == 0)) {
            status = commands[i].run(argc - 1 - words, argv + 1 + words);
            break;
        }
    }
    if (status < 0) {
        return usage(stderr);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "xendmctl: cannot write: %s\n", strerror(errno));
        return 2;
    }
    return status;
}
