/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into xenstored, and nothing else, by `xenemu run`: it answers for the two files of
 * xenfs that xenstored opens by fixed name, /proc/xen/xsd_port and /proc/xen/xsd_kva. The port
 * number comes in XENEMU_XSD_PORT; the ring page is private, since no kernel is at the other end.
 * Kept apart from the drop-in libraries so that those interpose on nothing but Xen's own symbols.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int open(const char *path, int flags, ...);
int open64(const char *path, int flags, ...);

static int xsd_memfd(const char *content, off_t size)
{
    int fd = memfd_create("xenemu-xsd", MFD_CLOEXEC);
    size_t len = strlen(content);

    if (fd < 0)
        return -1;
    if (ftruncate(fd, size) < 0 || (len && pwrite(fd, content, len, 0) != (ssize_t)len)) {
        close(fd);
        errno = EIO;
        return -1;
    }
    return fd;
}

static int xsd_open(const char *path, int flags, mode_t mode)
{
    const char *port = getenv("XENEMU_XSD_PORT");

    if (port && !strcmp(path, "/proc/xen/xsd_port"))
        return xsd_memfd(port, (off_t)strlen(port));
    if (port && !strcmp(path, "/proc/xen/xsd_kva"))
        return xsd_memfd("", 4096);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;

    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list ap;

        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    return xsd_open(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    mode_t mode = 0;

    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list ap;

        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    return xsd_open(path, flags, mode);
}
