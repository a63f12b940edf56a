/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See memory-file.h. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xendm/memory-file.h>

static bool seal(int fd, int more)
{
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | more) == 0;
}

int memory_file_new(const char *name, size_t bytes, bool fixed)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 && (ftruncate(fd, (off_t)bytes) < 0 || (fixed && !seal(fd, 0)))) {
        int e = errno;

        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

void *memory_file_map(int fd, size_t bytes)
{
    void *p = MAP_FAILED;

    if (fd >= 0) { /* else errno says why not */
        p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    return p == MAP_FAILED ? NULL : p;
}

bool memory_file_show(int fd)
{
    return seal(fd, F_SEAL_FUTURE_WRITE);
}
