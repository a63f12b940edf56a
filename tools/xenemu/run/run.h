/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the two halves of `xenemu run`: the run itself, and what libxl would have written. */
#ifndef XENEMU_RUN_H
#define XENEMU_RUN_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <xenstore.h>

struct run_options {
    char *dm, *socket, *script, *vga, *name, *rundir, *attach, *log, *xenstored, *boot, *incoming;
    char **disks, **cdroms, **serials, **faults, **sets, **devices, **populate;
    int memory, vcpus, domid, timeout, start_timeout, mmio_hole, access_timeout;
    gboolean restrict_dm, leaks, qmp_check, keep, xs_faults, disk_faults, no_platform, gdb, verbose,
        print;
};

struct run {
    char *dir, *libdir, *lib_sock, *cmd_sock, *qmp_path, *log;
    pid_t host, xenstored, dm;
    FILE *ctl;
    char **extra; /* further arguments of the device model */
    struct xs_handle *xs;
    int64_t exec_time;
    bool dm_dead, own_dir;
    int dm_status;
};

extern struct run_options opt;
extern struct run run;

/* run.c */
bool complain(const char *fmt, ...) G_GNUC_PRINTF(1, 2); /* says it, returns false */
/* Answer without "OK ", or NULL with the failure told; lines before it are printed. */
char *ctl(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/* disk-faults.c */
void disk_faults_child(int sock);
/* The other end of that socket; `control`: a connection to the command socket, which it keeps. */
bool disk_faults_watch(int sock, FILE *control);

/* run-libxl.c */
int video_mb(void);
bool write_nodes(void);
GPtrArray *dm_arguments(int qmp_fd, int state_fd, char **extra);

#endif
