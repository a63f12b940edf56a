/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The program that a live update starts, and the process that it is. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <xendm/helper.h>

#include "broker.h"

static int command_words;
static char **command_line;

void program_set_command_line(int argc, char **argv)
{
    command_words = argc;
    command_line = argv;
}

/* Our command line with another name and line. */
static char **make_argv(const char *path, int line)
{
    GPtrArray *argv = g_ptr_array_new();

    g_ptr_array_add(argv, g_strdup(path));
    for (int i = 1; i < command_words; i++) {
        if (strcmp(command_line[i], "--update-from") == 0) {
            i++;
            continue;
        }
        g_ptr_array_add(argv, g_strdup(command_line[i]));
    }
    g_ptr_array_add(argv, g_strdup("--update-from"));
    g_ptr_array_add(argv, g_strdup_printf("%d", line));
    g_ptr_array_add(argv, NULL);
    return (char **)g_ptr_array_free(argv, FALSE);
}

/* Only what a signal handler may do. */
static void become(int program, char **argv, int line) __attribute__((noreturn));
static void become(int program, char **argv, int line)
{
    extern char **environ;

    helper_reset_signals();
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    fcntl(line, F_SETFD, 0);
    fexecve(program, argv, environ);
    _exit(127);
}

int program_start(int program, const char *path, int line)
{
    g_auto(GStrv) argv = make_argv(path, line);
    pid_t pid = fork();
    int e = errno;

    if (pid == 0) {
        become(program, argv, line);
    }
    close(program);
    return pid < 0 ? -e : pid;
}
