/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See file-size.h. */
#include <sys/resource.h>

#include <xendm/file-size.h>

void file_size_allow(uint64_t bytes)
{
    struct rlimit r;
    rlim_t most = bytes == FILE_SIZE_ANY ? RLIM_INFINITY : (rlim_t)bytes;

    if (getrlimit(RLIMIT_FSIZE, &r) < 0 || r.rlim_cur >= most) {
        return;
    }
    r.rlim_cur = most;
    r.rlim_max = r.rlim_max > most ? r.rlim_max : most;
    setrlimit(RLIMIT_FSIZE, &r);
}
