/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disk I/O of the device model that fails on demand; see disk.c. */
#ifndef XENEMU_DISK_FAULTS_H
#define XENEMU_DISK_FAULTS_H

#include <stdbool.h>
#include <stdio.h>

void disk_faults_child(int sock);
/* The other end of that socket; `control`: a connection to the command socket, which it keeps. */
bool disk_faults_watch(int sock, FILE *control);

#endif
