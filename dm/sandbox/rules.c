/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the broker gives. Whoever asks may be an intruder, so it is not enough that root may: what
 * is given is what the command line named, what anybody on the host may read, CDs, and pictures in
 * places where nothing looks for programs or configuration. Everything else a toolstack passes as a
 * descriptor, as libxl always does.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/magic.h>
#include <linux/major.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <xendm/block.h>
#include <xendm/files.h>
#include <xendm/firmware.h>
#include <xendm/numbers.h>
#include <xendm/p9.h>
#include <xendm/usb-host.h>

#include "broker.h"

#define NOBODY 65534u
#define GROUPS_MAX 256

struct broker_rules {
    GPtrArray *named; /* absolute names of the command line's, as they stand there */
    GPtrArray *dirs;  /* where those are, without links */
    GPtrArray *trees; /* struct p9_tree: of -fsdev */
    bool locked_up;
    unsigned domid;
    char *own_program;
    char **firmware; /* directories */
    gid_t groups[GROUPS_MAX];
    int group_count;
};

/* ---- what the command line says ---- */

static void add_name(struct broker_rules *r, const char *path)
{
    g_autofree char *dir = NULL;
    char *real;

    if (!path || path[0] != '/') {
        return;
    }
    dir = g_path_get_dirname(path);
    real = realpath(dir, NULL);
    g_ptr_array_add(r->named, g_strdup(path));
    if (real) {
        g_ptr_array_add(r->dirs, g_strdup(real));
    }
    free(real);
}

static void add_tree(struct broker_rules *r, const struct object_desc *o)
{
    const char *path = object_option(o, "path"), *model = object_option(o, "security_model");
    struct p9_tree *tree = g_new0(struct p9_tree, 1);

    tree->path = g_strdup(path ? path : "");
    tree->model = g_strdup(model ? model : "");
    if (object_option(o, "readonly")) {
        bool_parse(object_option(o, "readonly"), &tree->read_only);
    }
    g_ptr_array_add(r->trees, tree);
}

static void add_object(struct broker_rules *r, const struct object_desc *o)
{
    static const char *const options[] = {"file", "path", "romfile", "filename"};

    if (o->what == OBJECT_BACKEND && o->kind == BACKEND_FSDEV) {
        add_tree(r, o);
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(options); i++) {
        add_name(r, object_option(o, options[i]));
    }
}

struct broker_rules *rules_new(const struct machine_desc *desc, bool locked_up,
                               const char *own_program)
{
    struct broker_rules *r = g_new0(struct broker_rules, 1);

    r->named = g_ptr_array_new();
    r->dirs = g_ptr_array_new();
    r->trees = g_ptr_array_new();
    r->locked_up = locked_up;
    r->domid = desc->domid;
    r->own_program = g_strdup(own_program);
    r->firmware = g_strsplit(firmware_dirs(), ":", -1);
    r->group_count = getgroups(GROUPS_MAX, r->groups);
    for (guint i = 0; i < desc->objects->len; i++) {
        add_object(r, g_ptr_array_index(desc->objects, i));
    }
    for (guint i = 0; i < desc->monitors->len; i++) {
        add_name(r, ((struct monitor_desc *)g_ptr_array_index(desc->monitors, i))->path);
    }
    if (desc->vnc && g_str_has_prefix(desc->vnc, "unix:")) {
        g_autofree char *path = g_strndup(desc->vnc + 5, strcspn(desc->vnc + 5, ","));

        add_name(r, path);
    }
    return r;
}

static bool is_among(const GPtrArray *names, const char *name)
{
    for (guint i = 0; i < names->len; i++) {
        if (strcmp(g_ptr_array_index(names, i), name) == 0) {
            return true;
        }
    }
    return false;
}

/* Without links; NULL: it has none any more. */
static char *real_name(int fd)
{
    char link[64], name[PATH_MAX];
    ssize_t n;

    g_snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, name, sizeof(name) - 1);
    if (n <= 0 || name[0] != '/') {
        return NULL;
    }
    name[n] = '\0';
    return g_str_has_suffix(name, " (deleted)") ? NULL : g_strdup(name);
}

static bool is_below(const char *name, const char *dir)
{
    size_t n = strlen(dir);

    return strncmp(name, dir, n) == 0 && (name[n] == '/' || name[n] == '\0');
}

/* ---- reading ---- */

/* The kernel's answer to somebody without any rights, links and directories on the way included. */
static int open_as_nobody(const struct broker_rules *r, const char *path)
{
    int fd;

    if (geteuid() != 0) {
        return files_open_read(path);
    }
    setgroups(0, NULL);
    setfsgid(NOBODY);
    setfsuid(NOBODY); /* takes what root may do with files along, and brings it back */
    fd = files_open_read(path);
    setfsuid(0);
    setfsgid(getegid());
    setgroups((size_t)MAX(r->group_count, 0), r->groups);
    return fd;
}

/* Files there tell of the host's processes and of the kernel. */
static bool is_of_kernel(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) < 0 || fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC ||
           fs.f_type == DEBUGFS_MAGIC || fs.f_type == TRACEFS_MAGIC ||
           fs.f_type == SECURITYFS_MAGIC || fs.f_type == CGROUP_SUPER_MAGIC ||
           fs.f_type == CGROUP2_SUPER_MAGIC;
}

static bool is_cd(const struct stat *st, const char *name)
{
    return S_ISBLK(st->st_mode)
               ? major(st->st_rdev) == SCSI_CDROM_MAJOR
               : strlen(name) > 4 && g_ascii_strcasecmp(name + strlen(name) - 4, ".iso") == 0;
}

static bool is_firmware(const struct broker_rules *r, const char *path)
{
    g_autofree char *dir = g_path_get_dirname(path);

    return g_strv_contains((const char *const *)r->firmware, dir);
}

static bool may_read(const struct broker_rules *r, const char *path, int fd, bool anybody)
{
    g_autofree char *name = real_name(fd);
    struct stat st;

    if (!name || fstat(fd, &st) < 0 || is_of_kernel(fd)) {
        return false;
    }
    if (r->locked_up) { /* what is not named, comes as a descriptor */
        return is_among(r->named, path) || (anybody && is_firmware(r, path));
    }
    return anybody || is_among(r->named, path) || is_cd(&st, name) ||
           images_is_named(r->domid, path, false);
}

int rules_open_read(const struct broker_rules *r, const char *path)
{
    int fd = open_as_nobody(r, path);
    bool anybody = fd >= 0;

    if (fd == -EACCES || fd == -EPERM) {
        fd = files_open_read(path);
    }
    if (fd >= 0 && !may_read(r, path, fd, anybody)) {
        close(fd);
        return -EACCES;
    }
    return fd;
}

/*
 * The server of an open image reads nothing but that image (backends/block/image-confine.c), so who
 * may read it may have it served. A descriptor says that of itself: but for one that is for writing
 * only, since the server opens it anew.
 */
static int open_image(const struct broker_rules *r, const char *path, int fd)
{
    struct stat st;
    int flags;

    if (fd < 0) {
        return path[0] ? rules_open_read(r, path) : -EBADF;
    }
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY || fstat(fd, &st) < 0 ||
        (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) || is_of_kernel(fd)) {
        return -EACCES;
    }
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

static int serve_open_image(const struct broker_rules *r, const char *format, const char *path,
                            int passed)
{
    static const char *const formats[] = {"qcow2", "vpc", "qed", "vmdk", NULL};
    int image = g_strv_contains(formats, format) ? open_image(r, path, passed) : -EACCES;
    int keeper = image < 0 ? image : block_keeper_for(format, image);

    if (image >= 0) {
        close(image);
    }
    return keeper;
}

/* ---- writing ---- */

/* An image of a PV disk, which the toolstack named in xenstore. Nothing of the kernel's. */
int rules_open_write(const struct broker_rules *r, const char *path)
{
    int fd =
        !r->locked_up && images_is_named(r->domid, path, true) ? files_open_write(path) : -EACCES;

    if (fd >= 0 && is_of_kernel(fd)) {
        close(fd);
        return -EACCES;
    }
    return fd;
}

/*
 * What the toolstack gave the domain as a PV disk is served with whatever its metadata names; what
 * only may be read, by itself.
 */
int rules_start_keeper(const struct broker_rules *r, const char *driver, const char *file,
                       int passed, unsigned flags)
{
    bool read_only = flags & FILES_KEEPER_READS;

    if (passed < 0 && !r->locked_up && strcmp(driver, "raw") != 0 &&
        images_is_served(r->domid, driver, file, !read_only)) {
        return block_start_keeper(driver, file, flags, NULL);
    }
    return read_only ? serve_open_image(r, driver, file, passed) : -EACCES;
}

/* One of the command line's, and not with more rights than there. */
static bool is_given(const struct broker_rules *r, const struct p9_tree *tree)
{
    for (guint i = 0; i < r->trees->len; i++) {
        const struct p9_tree *t = g_ptr_array_index(r->trees, i);

        if (strcmp(t->path, tree->path) == 0 && strcmp(t->model, tree->model) == 0 &&
            (tree->read_only || !t->read_only)) {
            return true;
        }
    }
    return false;
}

int rules_serve_tree(const struct broker_rules *r, const char *path, const char *model,
                     bool read_only)
{
    const struct p9_tree tree = {(char *)path, (char *)model, read_only};

    return !r->locked_up && (is_given(r, &tree) || images_is_tree(r->domid, path, model))
               ? p9_start_server(&tree, NULL)
               : -EACCES;
}

int rules_serve_usb(const struct broker_rules *r, const char *where)
{
    return !r->locked_up && usb_host_where_is_valid(where) && images_is_usb(r->domid, where)
               ? usb_host_start(where, NULL)
               : -EACCES;
}

/* ---- pictures ---- */

static bool is_temporary(const char *dir)
{
    return is_below(dir, "/tmp") || is_below(dir, "/var/tmp");
}

static bool may_make_in(const struct broker_rules *r, const char *dir)
{
    static const char *const dirs[] = {"/var/lib/xen", "/run/xen", "/var/run/xen", "/var/log/xen",
                                       "/dev/shm"};

    for (unsigned i = 0; i < G_N_ELEMENTS(dirs); i++) {
        if (is_below(dir, dirs[i])) {
            return true;
        }
    }
    return is_temporary(dir) || is_among(r->dirs, dir);
}

/* What is replaced is a picture, or nothing yet: not somebody's disk image. */
static bool may_replace(int dir, const char *base)
{
    static const char png[] = "\x89PNG", ppm[] = "P6\n";
    int fd = openat(dir, base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    char head[4];
    ssize_t n;

    if (fd < 0) { /* files_picture_begin() refuses what is there and no file */
        return errno == ENOENT || errno == ELOOP;
    }
    n = read(fd, head, sizeof(head));
    close(fd);
    return n == 0 || (n == 4 && (memcmp(head, png, 4) == 0 || memcmp(head, ppm, 3) == 0));
}

int rules_picture_place(const struct broker_rules *r, const char *path, int *dir)
{
    g_autofree char *parent = g_path_get_dirname(path), *base = g_path_get_basename(path);
    g_autofree char *real = NULL;
    struct stat st;
    int e = 0;

    *dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*dir < 0) {
        return -errno;
    }
    real = real_name(*dir);
    if (r->locked_up || !real || !may_make_in(r, real) || is_among(r->named, path)) {
        e = -EACCES;
    } else if (fstatat(*dir, base, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        e = !S_ISREG(st.st_mode)                            ? -EEXIST
            : is_temporary(real) || may_replace(*dir, base) ? 0
                                                            : -EACCES;
    }
    if (e < 0) {
        close(*dir);
    }
    return e;
}

bool rules_is_socket(const struct broker_rules *r, const char *path)
{
    return is_among(r->named, path);
}

/* ---- programs ---- */

/* Nobody but root (or us) can have put it there or can change it. */
static bool is_safe(const struct stat *st)
{
    return (st->st_uid == 0 || st->st_uid == geteuid()) &&
           (!(st->st_mode & (S_IWGRP | S_IWOTH)) ||
            (S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX)));
}

static bool is_installed(const char *name, int fd)
{
    g_autofree char *at = g_strdup(name);
    struct stat st;

    if (fstat(fd, &st) < 0 || !is_safe(&st)) {
        return false;
    }
    while (at[1] != '\0') {
        char *slash = strrchr(at, '/');

        slash[slash == at ? 1 : 0] = '\0';
        if (lstat(at, &st) < 0 || !is_safe(&st)) {
            return false;
        }
    }
    return true;
}

int rules_open_program(const struct broker_rules *r, const char *path)
{
    int fd = path[0] == '/' ? open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY) : -1, e = errno;
    g_autofree char *name = fd >= 0 ? real_name(fd) : NULL;
    struct stat st;

    if (fd < 0) {
        return path[0] == '/' ? -e : -EINVAL;
    }
    e = !name || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111) ||
                (geteuid() == 0 && strcmp(path, r->own_program) != 0 && !is_installed(name, fd))
            ? -EACCES
            : 0;
    if (e < 0) {
        close(fd);
        return e;
    }
    fcntl(fd, F_SETFL, 0);
    return fd;
}
