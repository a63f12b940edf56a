/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Advisories about QEMU's server of 9P, each tried on ours: what happened there is said once, above
 * each test. The session is the server's, without its process and sandbox: what the tests show has
 * to hold without them.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "../unit/p9-fixture.h"

#define DOTL_TRUNC 01000u

static void assert_outside_is_untouched(struct p9_test *t)
{
    g_autofree char *path = p9_path(t, "outside/secret"), *dir = p9_path(t, "outside");
    g_autofree char *content = p9_host_content(t, "outside/secret");
    g_autoptr(GDir) listed = g_dir_open(dir, 0, NULL);
    struct stat st;

    g_assert_cmpstr(content, ==, "secret");
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpuint(st.st_nlink, ==, 1);
    g_assert_cmpstr(g_dir_read_name(listed), ==, "secret");
    g_assert_null(g_dir_read_name(listed));
}

static bool mapped(gconstpointer model)
{
    return strcmp(model, "mapped-xattr") == 0;
}

static void setup(struct p9_test *t, gconstpointer model)
{
    p9_test_open(t, model);
    p9_begin(t);
}

static void teardown(struct p9_test *t, gconstpointer model)
{
    assert_outside_is_untouched(t);
    p9_test_close(t);
}

/*
 * CVE-2016-7116: names with slashes and ".." led out of the exported directory; CVE-2017-7471: so
 * did ".." at its root.
 */
static void test_parent(struct p9_test *t, gconstpointer model)
{
    static const char *const names[] = {"../outside/secret", "..", ".", "", "a/b", "/", "/etc"};
    struct stat root, seen;
    uint64_t inode;

    g_assert_cmpint(p9_ask(t, P9_TWALK, "ddwss", 1, 2, 2, "..", ".."), ==, 0);
    memcpy(&inode, p9_answer(t) + 2 + P9_QID + 5, 8);
    g_assert_cmpint(stat(t->tree, &root), ==, 0);
    g_assert_cmpuint(inode, ==, root.st_ino);
    g_assert_cmpint(p9_walk(t, 2, 3, "outside"), ==, ENOENT);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        g_assert_cmpint(p9_ask(t, P9_TMKDIR, "dsdd", 1, names[i], 0700, 0), !=, 0);
        g_assert_cmpint(p9_ask(t, P9_TSYMLINK, "dssd", 1, names[i], "x", 0), !=, 0);
        g_assert_cmpint(p9_ask(t, P9_TMKNOD, "dsdddd", 1, names[i], S_IFREG, 0, 0, 0), !=, 0);
        g_assert_cmpint(p9_ask(t, P9_TUNLINKAT, "dsd", 1, names[i], 0), !=, 0);
        g_assert_cmpint(p9_ask(t, P9_TUNLINKAT, "dsd", 1, names[i], 0x200), !=, 0);
        g_assert_cmpint(p9_ask(t, P9_TRENAMEAT, "dsds", 1, names[i], 1, "x"), !=, 0);
        g_assert_cmpint(p9_ask(t, P9_TLCREATE, "dsddd", 1, names[i], O_RDWR, 0644, 0), !=, 0);
    }
    g_assert_cmpint(p9_ask(t, P9_TMKDIR, "dsdd", 1, "d", 0700, 0), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        g_assert_cmpint(p9_ask(t, P9_TRENAMEAT, "dsds", 1, "d", 1, names[i]), !=, 0);
    }
    g_assert_cmpint(p9_ask(t, P9_TREMOVE, "d", 1), ==, EBUSY);
    g_assert_cmpint(stat(t->tree, &seen), ==, 0);
}

/*
 * CVE-2016-9602: symbolic links of the guest's were followed on the host, at the end of a path and
 * in the middle of it, by nearly every request.
 */
static void test_links(struct p9_test *t, gconstpointer model)
{
    g_autofree char *file = p9_path(t, "tree/file"), *dir = p9_path(t, "tree/dir");
    g_autofree char *secret = p9_path(t, "outside/secret"), *outside = p9_path(t, "outside");
    struct stat before, after;

    g_assert_cmpint(symlink(secret, file), ==, 0);
    g_assert_cmpint(symlink(outside, dir), ==, 0);
    g_assert_cmpint(stat(secret, &before), ==, 0);
    g_assert_cmpint(p9_walk(t, 1, 2, "file"), ==, 0);
    g_assert_cmpint(p9_walk(t, 1, 3, "dir"), ==, 0);
    g_assert_cmpint(p9_walk(t, 3, 4, "secret"), ==, ENOTDIR);
    g_assert_cmpint(p9_ask(t, P9_TLOPEN, "dd", 2, O_RDONLY), ==, ELOOP);
    g_assert_cmpint(p9_ask(t, P9_TLOPEN, "dd", 3, O_RDONLY), ==, ELOOP);
    g_assert_cmpint(p9_ask(t, P9_TLCREATE, "dsddd", 3, "new", O_RDWR, 0644, 0), ==, ENOTDIR);
    g_assert_cmpint(p9_ask(t, P9_TMKDIR, "dsdd", 3, "new", 0755, 0), ==, ENOTDIR);
    g_assert_cmpint(p9_ask(t, P9_TLINK, "dds", 3, 2, "new"), !=, 0);
    g_assert_cmpint(p9_ask(t, P9_TUNLINKAT, "dsd", 3, "secret", 0), ==, ENOTDIR);
    g_assert_cmpint(p9_ask(t, P9_TRENAMEAT, "dsds", 3, "secret", 1, "mine"), ==, ENOTDIR);
    /* mode, size, times, attributes: of the link, or not at all */
    p9_ask(t, P9_TSETATTR, "dddddqqqqq", 2, 1, 0777, 0, 0, (uint64_t)0, (uint64_t)0, (uint64_t)0,
           (uint64_t)0, (uint64_t)0);
    p9_ask(t, P9_TSETATTR, "dddddqqqqq", 2, 8, 0, 0, 0, (uint64_t)0, (uint64_t)0, (uint64_t)0,
           (uint64_t)0, (uint64_t)0);
    p9_ask(t, P9_TSETATTR, "dddddqqqqq", 2, 0x120, 0, 0, 0, (uint64_t)0, (uint64_t)0, (uint64_t)0,
           (uint64_t)77, (uint64_t)0);
    p9_ask(t, P9_TSETATTR, "dddddqqqqq", 2, 2, 0, 12345, 0, (uint64_t)0, (uint64_t)0, (uint64_t)0,
           (uint64_t)0, (uint64_t)0);
    if (p9_ask(t, P9_TXATTRCREATE, "dsqd", 2, "user.x", (uint64_t)0, 0) == 0) {
        p9_ask(t, P9_TCLUNK, "d", 2);
    }
    g_assert_cmpint(stat(secret, &after), ==, 0);
    g_assert_cmpuint(after.st_mode, ==, before.st_mode);
    g_assert_cmpuint(after.st_uid, ==, before.st_uid);
    g_assert_cmpint(after.st_mtime, ==, before.st_mtime);
    g_assert_cmpint(after.st_size, ==, before.st_size);
    /* O_CREAT on a link */
    g_assert_cmpint(p9_ask(t, P9_TWALK, "ddw", 1, 9, 0), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TLCREATE, "dsddd", 9, "file", O_RDWR | DOTL_TRUNC, 0644, 0), ==,
                    ELOOP);
}

/* The same, with a directory that becomes a link while a fid has it. */
static void test_swapped(struct p9_test *t, gconstpointer model)
{
    g_autofree char *dir = p9_path(t, "tree/dir"), *old = p9_path(t, "tree/old");
    g_autofree char *below = p9_path(t, "tree/dir/below");
    g_autofree char *outside = p9_path(t, "outside");

    g_assert_cmpint(g_mkdir(dir, 0755), ==, 0);
    g_assert_cmpint(g_mkdir(below, 0755), ==, 0);
    g_assert_cmpint(p9_walk(t, 1, 2, "dir"), ==, 0);
    g_assert_cmpint(p9_walk(t, 2, 3, "below"), ==, 0);
    g_assert_cmpint(rename(dir, old), ==, 0);
    g_assert_cmpint(symlink(outside, dir), ==, 0);
    g_assert_cmpint(p9_walk(t, 2, 4, "secret"), ==, ENOENT);
    g_assert_cmpint(p9_ask(t, P9_TUNLINKAT, "dsd", 2, "secret", 0), ==, ENOENT);
    /* So many others that it is not open any more, but found again by its name. */
    for (uint32_t i = 0; i < 200; i++) {
        g_autofree char *name = g_strdup_printf("f%u", i);

        g_assert_cmpint(p9_ask(t, P9_TMKDIR, "dsdd", 1, name, 0755, 0), ==, 0);
        g_assert_cmpint(p9_walk(t, 1, 100 + i, name), ==, 0);
    }
    g_assert_cmpint(p9_walk(t, 2, 5, "secret"), ==, ENOTDIR);
    g_assert_cmpint(p9_walk(t, 3, 6, ".."), ==, 0);
    g_assert_cmpint(p9_walk(t, 6, 7, "secret"), ==, ENOTDIR);
}

/*
 * CVE-2017-7493: a guest wrote what the server keeps of a file's owner and mode, and so became root
 * of its own files, on a host that believed it.
 */
static void test_kept(struct p9_test *t, gconstpointer model)
{
    g_assert_cmpint(p9_ask(t, P9_TMKNOD, "dsdddd", 1, "f", S_IFREG | 0644, 0, 0, 5), ==, 0);
    g_assert_cmpint(p9_walk(t, 1, 2, "f"), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TXATTRWALK, "dds", 2, 3, "user.virtfs.mode"), ==, ENODATA);
    g_assert_cmpint(p9_ask(t, P9_TXATTRWALK, "dds", 2, 3, ""), ==, 0);
    g_assert_cmpint(p9_answer(t)[0], ==, 0);
    g_assert_cmpint(p9_walk(t, 1, 4, "f"), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TXATTRCREATE, "dsqd", 4, "user.virtfs.mode", (uint64_t)4, 0), ==,
                    0);
    g_assert_cmpint(p9_ask(t, P9_TWRITE, "dqdd", 4, (uint64_t)0, 4, 0104777), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TCLUNK, "d", 4), ==, EACCES);
}

/* CVE-2023-2861: a special file of the host was opened. */
static void test_special(struct p9_test *t, gconstpointer model)
{
    g_autofree char *fifo = p9_path(t, "tree/fifo"), *device = p9_path(t, "tree/device");

    g_assert_cmpint(mkfifo(fifo, 0666), ==, 0);
    g_assert_cmpint(p9_walk(t, 1, 2, "fifo"), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TLOPEN, "dd", 2, O_RDONLY), ==, ENXIO);
    g_assert_cmpint(p9_ask(t, P9_TLOPEN, "dd", 2, O_RDWR), ==, ENXIO);
    g_assert_cmpint(p9_ask(t, P9_TWALK, "ddw", 1, 3, 0), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TLCREATE, "dsddd", 3, "fifo", O_WRONLY, 0644, 0), ==, ENXIO);
    if (mknod(device, S_IFCHR | 0666, makedev(1, 3)) == 0) {
        g_assert_cmpint(p9_walk(t, 1, 4, "device"), ==, 0);
        g_assert_cmpint(p9_ask(t, P9_TLOPEN, "dd", 4, O_RDWR), ==, ENXIO);
    }
    /* Nor are there any that the guest has made. */
    if (!mapped(model)) {
        g_assert_cmpint(p9_ask(t, P9_TMKNOD, "dsdddd", 1, "sda", S_IFBLK | 0666, 8, 0, 0), ==,
                        EPERM);
        g_assert_cmpint(p9_ask(t, P9_TMKNOD, "dsdddd", 1, "mem", S_IFCHR | 0666, 1, 1, 0), ==,
                        EPERM);
    }
}

/*
 * CVE-2016-8577, -9102 to -9106: what belongs to a fid was leaked when a request came twice;
 * CVE-2016-9102: attributes of any size. CVE-2017-15038: an attribute was read before it was
 * written, with what was in memory.
 */
static void test_memory(struct p9_test *t, gconstpointer model)
{
    int rc = 0;
    uint32_t fid;

    g_assert_cmpint(p9_ask(t, P9_TWALK, "ddw", 1, 2, 0), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TXATTRCREATE, "dsqd", 2, "user.a", (uint64_t)65536, 0), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TXATTRCREATE, "dsqd", 2, "user.a", (uint64_t)65536, 0), ==, EBUSY);
    g_assert_cmpint(p9_ask(t, P9_TREAD, "dqd", 2, (uint64_t)0, 4096), ==, EBADF);
    g_assert_cmpint(p9_ask(t, P9_TCLUNK, "d", 2), ==, EINVAL);
    g_assert_cmpint(p9_ask(t, P9_TWALK, "ddw", 1, 2, 0), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TXATTRCREATE, "dsqd", 2, "user.a", UINT64_MAX, 0), ==, E2BIG);
    for (fid = 10; rc == 0 && fid < 10000; fid++) {
        g_assert_cmpint(p9_ask(t, P9_TWALK, "ddw", 1, fid, 0), ==, 0);
        rc = p9_ask(t, P9_TXATTRCREATE, "dsqd", fid, "user.a", (uint64_t)65536, 0);
    }
    g_assert_cmpint(rc, ==, ENOSPC);
    g_assert_cmpuint(fid, <, 1000);
    p9_begin(t); /* which forgets them all */
    g_assert_cmpint(p9_ask(t, P9_TWALK, "ddw", 1, 2, 0), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TXATTRCREATE, "dsqd", 2, "user.a", (uint64_t)65536, 0), ==, 0);
}

/* Of everything that a guest may have as much as it likes: fids, and files that are open. */
static void test_bounds(struct p9_test *t, gconstpointer model)
{
    int rc = 0;
    uint32_t n;

    for (n = 2; rc == 0 && n < 2 * FIDS_MAX; n++) {
        rc = p9_ask(t, P9_TWALK, "ddw", 1, n, 0);
    }
    g_assert_cmpint(rc, ==, ENFILE);
    p9_begin(t);
    for (n = 2, rc = 0; rc == 0 && n < 1000; n++) {
        g_assert_cmpint(p9_ask(t, P9_TWALK, "ddw", 1, n, 0), ==, 0);
        rc = p9_ask(t, P9_TLOPEN, "dd", n, O_RDONLY);
    }
    g_assert_cmpint(rc, ==, ENFILE);
    p9_begin(t);
    /* A path of any length: each step is one name. */
    g_assert_cmpint(p9_ask(t, P9_TWALK, "ddw", 1, 2, 0), ==, 0);
    for (n = 0, rc = 0; rc == 0 && n < 2 * TREE_DEPTH_MAX; n++) {
        rc = p9_ask(t, P9_TMKDIR, "dsdd", 2, "d", 0755, 0);
        rc = rc ? rc : p9_walk(t, 2, 2, "d");
    }
    g_assert_cmpint(rc, ==, ENAMETOOLONG);
    while (n-- > 0) { /* and back */
        g_assert_cmpint(p9_walk(t, 2, 2, ".."), ==, 0);
    }
}

/*
 * CVE-2018-19364, -19489, CVE-2021-20181: names and fids that were changed while something else
 * used them.
 */
static void test_renamed(struct p9_test *t, gconstpointer model)
{
    g_autofree char *content = NULL;

    g_assert_cmpint(p9_ask(t, P9_TMKDIR, "dsdd", 1, "a", 0755, 0), ==, 0);
    g_assert_cmpint(p9_walk(t, 1, 2, "a"), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TMKDIR, "dsdd", 2, "b", 0755, 0), ==, 0);
    g_assert_cmpint(p9_walk(t, 2, 3, "b"), ==, 0);
    g_assert_cmpint(p9_walk(t, 2, 4, "b"), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TLCREATE, "dsddd", 4, "f", O_RDWR, 0644, 0), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TRENAMEAT, "dsds", 1, "a", 3, "c"), ==, EINVAL); /* into itself */
    g_assert_cmpint(p9_ask(t, P9_TRENAMEAT, "dsds", 1, "a", 1, "z"), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TRENAME, "dds", 4, 1, "moved"), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TWRITE, "dqdd", 4, (uint64_t)0, 4, 0x64636261), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TREMOVE, "d", 3), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TUNLINKAT, "dsd", 1, "z", 0x200), ==, 0);
    g_assert_cmpint(p9_walk(t, 2, 5, "b"), ==, ENOENT);
    g_assert_cmpint(p9_walk(t, 2, 5, ".."), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TREMOVE, "d", 2), ==, ENOENT);
    content = p9_host_content(t, "tree/moved");
    g_assert_cmpstr(content, ==, "abcd");
    g_assert_cmpint(p9_ask(t, P9_TREMOVE, "d", 4), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TREMOVE, "d", 4), ==, EBADF);
}

/* CVE-2016-8578 and others of the kind: requests that end in the middle, and do not say so. */
static void test_short(struct p9_test *t, gconstpointer model)
{
    static const uint8_t types[] = {8,   12,  14,  16,  18,  20,  22,  24,  26,  30,
                                    32,  40,  50,  52,  54,  70,  72,  74,  76,  99,
                                    100, 102, 104, 106, 108, 110, 112, 116, 118, 120};
    for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
        for (uint32_t length = 0; length < 64; length++) {
            memset(t->message, 0xff, sizeof(t->message));
            memcpy(t->message, &length, 4);
            t->message[4] = types[i];
            g_assert_cmpuint(session_handle(t->s, t->message, length, 4096), >=, P9_HEADER);
        }
    }
    p9_begin(t);
    /* More than a message has room for, by a count that it says. */
    g_assert_cmpint(p9_ask(t, P9_TMKNOD, "dsdddd", 1, "f", S_IFREG | 0644, 0, 0, 0), ==, 0);
    g_assert_cmpint(p9_walk(t, 1, 2, "f"), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TLOPEN, "dd", 2, O_RDWR), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TWRITE, "dqdd", 2, (uint64_t)0, UINT32_MAX, 1), ==, EINVAL);
    g_assert_cmpint(p9_ask(t, P9_TREAD, "dqd", 2, (uint64_t)0, UINT32_MAX), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TREAD, "dqd", 2, UINT64_MAX, 1), ==, EINVAL);
}

static bool attributes_are_kept(void)
{
    struct p9_test t;
    bool kept;

    p9_test_open(&t, "none");
    kept = setxattr(t.tree, "user.test", "", 0, 0) == 0;
    p9_test_close(&t);
    return kept;
}

static void test_no_attributes(void)
{
    g_test_skip("the file system of temporary files keeps no attributes of users'");
}

int main(int argc, char **argv)
{
    bool attributes;

    g_test_init(&argc, &argv, NULL);
    attributes = attributes_are_kept();
    if (!attributes) {
        g_test_add_func("/xsa-mapped/all", test_no_attributes);
    }
#define ADD(name, fn) \
    g_test_add("/xsa/" name, struct p9_test, "none", setup, fn, teardown); \
    MAPPED(name, fn)
#define MAPPED(name, fn) \
    if (attributes) { \
        g_test_add("/xsa-mapped/" name, struct p9_test, "mapped-xattr", setup, fn, teardown); \
    }
    ADD("cve-2016-7116-parent", test_parent);
    ADD("cve-2016-8578-short-requests", test_short);
    ADD("cve-2016-9102-memory-of-fids", test_memory);
    ADD("cve-2016-9602-links", test_links);
    ADD("cve-2016-9602-swapped", test_swapped);
    MAPPED("cve-2017-7493-kept-attributes", test_kept);
    ADD("cve-2018-19364-renamed", test_renamed);
    ADD("cve-2023-2861-special-files", test_special);
    ADD("9p-bounds", test_bounds);
    return g_test_run();
}
