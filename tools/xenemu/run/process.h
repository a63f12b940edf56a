/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes of a run. */
#ifndef XENEMU_PROCESS_H
#define XENEMU_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

struct child {
    char **argv;
    char **env; /* "NAME=value" to set; "NAME" to remove */
    const char *log;
    bool session;
    bool tells;      /* its standard output is ours */
    bool terminal;   /* … and input and errors, too */
    bool restricted; /* the limits and namespaces that libxl gives with dm_restrict=1 */
    int watched;     /* socket for disk_faults_child(); 0: none */
};

pid_t spawn(const struct child *c);
bool process_ended(pid_t pid, int *status);
void end_child(pid_t pid);
/* Waits until `who` listens on `path`. */
bool wait_connect(const char *path, pid_t pid, const char *who);
void print_log_end(const char *path, unsigned int lines);
bool dm_alive(void);
bool dm_died(void); /* says how; returns false */

#endif
