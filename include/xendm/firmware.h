/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Firmware that the distribution packages: video BIOSes, boot ROMs, network boot ROMs. A list of
 * directories, separated by colons: the build's, or that of the environment variable
 * XENDM_FIRMWARE_DIR.
 */
#ifndef XENDM_FIRMWARE_H
#define XENDM_FIRMWARE_H

const char *firmware_dirs(void);
/*
 * The file in the first of `dirs` that has it; in the first of all when none has. A name with a
 * slash is left as it is. g_free().
 */
char *firmware_find(const char *dirs, const char *name);

#endif
