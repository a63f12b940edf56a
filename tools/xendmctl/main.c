/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xendmctl: see xendmctl(1). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "stream.h"
#include "update.h"

static const struct {
    const char *noun, *verb, *arguments;
    int count;
    int (*run)(char **argv);
} commands[] = {
    {"state", "show", "FILE", 1, state_show},
    {"state", "diff", "FILE FILE", 2, state_diff},
    {"state", "extract", "XL-SAVE-FILE FILE", 2, state_extract},
};

static int usage(FILE *to)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        fprintf(to, "%s xendmctl %s %s %s\n", i ? "      " : "usage:", commands[i].noun,
                commands[i].verb, commands[i].arguments);
    }
    fprintf(to, "       xendmctl " UPDATE_USAGE "\n");
    return to == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
    int status;

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
        return usage(stdout);
    }
    if (argc >= 2 && strcmp(argv[1], "update") == 0) {
        status = update_main(argc - 2, argv + 2);
        return status < 0 ? usage(stderr) : status;
    }
    for (unsigned i = 0; argc >= 3 && i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(argv[1], commands[i].noun) == 0 && strcmp(argv[2], commands[i].verb) == 0) {
            if (argc - 3 != commands[i].count) {
                break;
            }
            status = commands[i].run(argv + 3);
            if (fflush(stdout) != 0 || ferror(stdout)) {
                fprintf(stderr, "xendmctl: cannot write: %s\n", strerror(errno));
                return 2;
            }
            return status;
        }
    }
    return usage(stderr);
}
