/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See files.h. We may be root and names come from persons: nothing is opened that may have effects
 * or make us wait, and nothing is replaced but a regular file.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#include <xendm/files.h>

static const struct files_ops *by;

static struct picture {
    char *file, *temporary;
} pictures[FILES_PICTURES];

void files_set_ops(const struct files_ops *ops)
{
    by = ops;
}

const char *files_why(int error)
{
    if (error == EINVAL) {
        return "it is neither a file nor a block device";
    }
    return by && error == EACCES ? "not among what the sandbox gives by name (docs/security.md): "
                                   "pass a descriptor, or use -sandbox off"
                                 : g_strerror(error);
}

/* ---- images ---- */

static bool is_image(const struct stat *st)
{
    return S_ISREG(st->st_mode) || S_ISBLK(st->st_mode);
}

static int open_image(const char *path, int mode)
{
    struct stat st;
    int fd;

    if (stat(path, &st) == 0 && !is_image(&st)) {
        return -EINVAL;
    }
    do {
        fd = open(path, mode | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return -errno;
    }
    if (fstat(fd, &st) < 0 || !is_image(&st)) { /* it may be another one by now */
        close(fd);
        return -EINVAL;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return fd;
}

int files_open_read(const char *path)
{
    return by ? by->open_read(path) : open_image(path, O_RDONLY);
}

int files_open_write(const char *path)
{
    return by ? by->open_write(path) : open_image(path, O_RDWR);
}

int files_start_keeper(const char *driver, const char *file, int image, unsigned flags)
{
    return by ? by->start_keeper(driver, file, image, flags) : -ENOSYS;
}

int files_serve_tree(const char *path, const char *model, bool read_only)
{
    return by ? by->serve_tree(path, model, read_only) : -ENOSYS;
}

int files_serve_usb(const char *where)
{
    return by ? by->serve_usb(where) : -ENOSYS;
}

/* ---- pictures ---- */

/* 0 when there is nothing at `file` or a regular file. */
static int check_target(const char *file)
{
    struct stat st;

    if (lstat(file, &st) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    return S_ISREG(st.st_mode) ? 0 : -EEXIST;
}

/*
 * What came to be there while the picture was packed is left alone, but for a regular file. An old
 * kernel or file system that knows no RENAME_NOREPLACE leaves a gap of some microseconds.
 */
static int put_in_place(const char *temporary, const char *file)
{
    int e;

    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, file, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EEXIST && errno != EINVAL && errno != ENOSYS) {
        return -errno;
    }
    e = check_target(file);
    return e == 0 && rename(temporary, file) < 0 ? -errno : e;
}

/* With the mode that a new file would get. */
static int picture_begin(const char *path, unsigned *picture)
{
    g_autofree char *temporary = g_strdup_printf("%s.XXXXXX", path);
    unsigned i = 0;
    int fd = check_target(path);

    while (i < FILES_PICTURES && pictures[i].file) {
        i++;
    }
    if (fd < 0 || i == FILES_PICTURES) {
        return fd < 0 ? fd : -EBUSY;
    }
    fd = g_mkstemp_full(temporary, O_RDWR | O_CLOEXEC, 0644);
    if (fd < 0) {
        return -errno;
    }
    pictures[i].file = g_strdup(path);
    pictures[i].temporary = g_steal_pointer(&temporary);
    *picture = i;
    return fd;
}

int files_picture_begin(const char *path, unsigned *picture)
{
    return by ? by->picture_begin(path, picture) : picture_begin(path, picture);
}

static int picture_end(unsigned picture, bool complete)
{
    struct picture *p = picture < FILES_PICTURES ? &pictures[picture] : NULL;
    int e;

    if (!p || !p->file) {
        return -EBADF;
    }
    e = complete ? put_in_place(p->temporary, p->file) : 0;
    if (!complete || e < 0) {
        unlink(p->temporary);
    }
    g_clear_pointer(&p->file, g_free);
    g_clear_pointer(&p->temporary, g_free);
    return e;
}

int files_picture_end(unsigned picture, bool complete)
{
    return by ? by->picture_end(picture, complete) : picture_end(picture, complete);
}

/* ---- others ---- */

static int remove_socket(const char *path, dev_t device, ino_t inode)
{
    struct stat st;

    if (lstat(path, &st) < 0) {
        return -errno;
    }
    if (!S_ISSOCK(st.st_mode) || st.st_dev != device || st.st_ino != inode) {
        return -ESTALE;
    }
    return unlink(path) < 0 ? -errno : 0;
}

int files_remove_socket(const char *path, dev_t device, ino_t inode)
{
    return by ? by->remove_socket(path, device, inode) : remove_socket(path, device, inode);
}

static int drop_cache(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode)) {
        return -ENOTBLK;
    }
    return ioctl(fd, BLKFLSBUF, 0) < 0 ? -errno : 0;
}

int files_drop_cache(int fd)
{
    return by ? by->drop_cache(fd) : drop_cache(fd);
}
