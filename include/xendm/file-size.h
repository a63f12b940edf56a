/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How large files may become that this process writes (RLIMIT_FSIZE). With dm_restrict=1 libxl lets
 * a device model have 256 KiB of any file (libxl_linux.c, libxl__local_dm_preexec_restrict()),
 * memory files too: less than the guest's disks, and less than its screen.
 */
#ifndef XENDM_FILE_SIZE_H
#define XENDM_FILE_SIZE_H

#include <stdint.h>

#define FILE_SIZE_ANY UINT64_MAX

/*
 * For what the toolstack named itself: an image that is to be written, the picture for viewers.
 * Before the privileges go; later it has no effect, and writes beyond the limit fail with EFBIG.
 */
void file_size_allow(uint64_t bytes);

#endif
