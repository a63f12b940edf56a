/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a run was asked for, and what it has. */
#ifndef XENEMU_RUN_H
#define XENEMU_RUN_H

#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <xenstore.h>

struct run_options {
    char *dm, *socket, *script, *vga, *name, *rundir, *attach, *log, *xenstored, *boot, *incoming;
    char *hdtype;
    char **disks, **cdroms, **serials, **faults, **sets, **devices, **populate;
    int memory, vcpus, domid, timeout, start_timeout, mmio_hole, access_timeout;
    gboolean restrict_dm, leaks, qmp_check, keep, xs_faults, disk_faults, no_platform, pv, gdb,
        verbose, print;
};

struct run {
    char *dir, *libdir, *lib_sock, *cmd_sock, *qmp_path, *log;
    pid_t host, xenstored, dm;
    FILE *ctl;
    char **extra; /* further arguments of the device model */
    struct xs_handle *xs;
    int64_t exec_time;
    bool dm_dead, own_dir, run_with;
    int dm_status;
};

extern struct run_options opt;
extern struct run run;
extern volatile sig_atomic_t stop; /* the signal that ends the run, or 0 */

int run_main(int argc, char **argv);
/* Everybody ends; the status becomes what they left behind, unless it is worse already. */
int tear_down(bool ready, int status);

#endif
