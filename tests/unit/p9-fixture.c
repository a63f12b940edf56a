/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "p9-fixture.h"

static int home = -1;

char *p9_path(struct p9_test *t, const char *name)
{
    return g_build_filename(t->dir, name, NULL);
}

void p9_host_file(struct p9_test *t, const char *name, const char *content)
{
    g_autofree char *path = p9_path(t, name);

    g_assert_true(g_file_set_contents(path, content, -1, NULL));
}

char *p9_host_content(struct p9_test *t, const char *name)
{
    g_autofree char *path = p9_path(t, name);
    char *content = NULL;

    g_file_get_contents(path, &content, NULL, NULL);
    return content;
}

void p9_test_open(struct p9_test *t, const char *model)
{
    g_autofree char *outside = NULL;
    int root;

    if (home < 0) {
        home = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    t->dir = g_dir_make_tmp("xendm-p9-XXXXXX", NULL);
    t->tree = p9_path(t, "tree");
    outside = p9_path(t, "outside");
    g_assert_cmpint(g_mkdir(t->tree, 0755), ==, 0);
    g_assert_cmpint(g_mkdir(outside, 0755), ==, 0);
    p9_host_file(t, "outside/secret", "secret");
    root = open(t->tree, O_PATH | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(chdir("/proc/self/fd"), ==, 0);
    t->s = session_new(root, (enum model)model_find(model), 256);
    g_assert_nonnull(t->s);
}

static void remove_all(const char *path)
{
    GDir *dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *below = g_build_filename(path, name, NULL);

        remove_all(below);
    }
    g_clear_pointer(&dir, g_dir_close);
    g_remove(path);
}

void p9_test_close(struct p9_test *t)
{
    session_free(t->s);
    g_assert_cmpint(fchdir(home), ==, 0);
    remove_all(t->dir);
    g_free(t->dir);
    g_free(t->tree);
}

static void put(struct p9_test *t, uint64_t value, size_t bytes)
{
    memcpy(t->message + t->length, &value, bytes);
    t->length += bytes;
}

static void put_arguments(struct p9_test *t, const char *form, va_list ap)
{
    for (; *form; form++) {
        const char *text;

        switch (*form) {
        case 's':
            text = va_arg(ap, const char *);
            put(t, strlen(text), 2);
            memcpy(t->message + t->length, text, strlen(text));
            t->length += strlen(text);
            break;
        case 'q':
            put(t, va_arg(ap, uint64_t), 8);
            break;
        default:
            put(t, va_arg(ap, uint32_t), *form == 'b' ? 1 : *form == 'w' ? 2 : 4);
        }
    }
}

int p9_ask(struct p9_test *t, unsigned type, const char *form, ...)
{
    uint32_t error = 0, size;
    va_list ap;

    t->length = P9_HEADER;
    va_start(ap, form);
    put_arguments(t, form, ap);
    va_end(ap);
    size = (uint32_t)t->length;
    memcpy(t->message, &size, 4);
    t->message[4] = (uint8_t)type;
    t->message[5] = 0x34;
    t->message[6] = 0x12;
    t->length = session_handle(t->s, t->message, t->length, sizeof(t->message));
    memcpy(&size, t->message, 4);
    g_assert_cmpuint(size, ==, t->length);
    g_assert_cmphex(t->message[5] | t->message[6] << 8, ==, 0x1234);
    if (t->message[4] == P9_RLERROR) {
        memcpy(&error, t->message + P9_HEADER, 4);
        g_assert_cmpuint(error, !=, 0);
        return (int)error;
    }
    g_assert_cmpuint(t->message[4], ==, type + 1);
    return 0;
}

const uint8_t *p9_answer(const struct p9_test *t)
{
    return t->message + P9_HEADER;
}

void p9_begin(struct p9_test *t)
{
    g_assert_cmpint(p9_ask(t, P9_TVERSION, "ds", P9_MSIZE, "9P2000.L"), ==, 0);
    g_assert_cmpint(p9_ask(t, P9_TATTACH, "ddssd", 1, UINT32_MAX, "", "", 0), ==, 0);
}

int p9_walk(struct p9_test *t, uint32_t fid, uint32_t new, const char *name)
{
    return p9_ask(t, P9_TWALK, "ddws", fid, new, 1, name);
}
