/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The status page: a file that the daemon keeps up to date and others map or read, so that there is
 * an answer when the daemon itself has none (tools/xendmctl: status, top, metrics, recorder, why).
 *
 * One file a guest, STATUS_DIRECTORY/DOMID, of root's; whoever serves the guest holds a flock() on
 * it, so a page that nobody has locked is of a daemon that is gone. XENDM_STATUS_DIR in the
 * environment names another directory. A live update hands the file on.
 *
 * The process that writes it reads what a guest sends: readers believe nothing of it. Numbers are
 * little endian.
 */
#ifndef XENDM_STATUS_H
#define XENDM_STATUS_H

#include <stdint.h>
#include <stdlib.h>

#include <xendm/recorder.h>
#include <xendm/turn.h>

#define STATUS_DIRECTORY "/run/xendm"
static inline const char *status_directory(void)
{
    const char *named = getenv("XENDM_STATUS_DIR");

    return named ? named : STATUS_DIRECTORY;
}

#define STATUS_MAGIC "XENDMST1"
#define STATUS_FACTS_MAX 65536u

struct status_page {
    char magic[8];
    uint32_t size; /* of all this: another layout has another size, or magic */
    uint32_t domid;
    int32_t pid;       /* of the process that serves, as its own namespace of processes has it */
    uint32_t finished; /* it went away as it should */
    uint64_t since;    /* CLOCK_REALTIME, ns: it serves */
    char name[128];    /* the guest's; all texts here end with a NUL */
    char version[32];
    struct turn_now turn;
    /* JSON, an object: each member a group of facts (facts.h). Odd sequence: being written. */
    uint32_t sequence, length;
    uint64_t when;  /* CLOCK_MONOTONIC, ns */
    uint64_t count; /* recorder_time() at the same moment: the rate of the recorder's times */
    char facts[STATUS_FACTS_MAX];
    struct recorder recorder;
};

#endif
