/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The server of 9P with requests of a client that may mean harm, while the host changes the same
 * directory. What is beside the directory must be as it was. A target for each security model.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "../unit/p9-fixture.h"
#include "fuzz.h"

#define STEPS_MAX 200u

const unsigned fuzz_short_run = 300;
const char *const fuzz_targets[] = {"none", "mapped-xattr", NULL};
static const char *model;

void fuzz_choose(unsigned target)
{
    model = fuzz_targets[target];
}

static const char *const names[] = {"a", "b",   "c",       "d",    "link",   "..", ".",
                                    "",  "a/b", "outside", "tree", "user.x", "f1", "f2"};
/* Those without which nothing comes of the others more than once. */
static const uint8_t types[] = {8,   12,  12,  12,  14,  14,  14,  16,  18,  20,  22,
                                24,  26,  30,  32,  40,  40,  50,  52,  54,  70,  72,
                                72,  74,  76,  100, 102, 104, 108, 110, 110, 110, 110,
                                110, 110, 116, 116, 118, 118, 120, 120, 122};

/* The body by the type's form, with values that make sense half of the time. */
static const char *form_of(unsigned type)
{
    static const char *const forms[256] = {
        [8] = "f",      [12] = "fd",     [14] = "fnddd", [16] = "fnnd",       [18] = "fndddd",
        [20] = "ffn",   [22] = "f",      [24] = "fq",    [26] = "fddddqqqqq", [30] = "ffn",
        [32] = "fnqd",  [40] = "fqd",    [50] = "fd",    [52] = "fbdqqdn",    [54] = "fbqqdn",
        [70] = "ffn",   [72] = "fndd",   [74] = "fnfn",  [76] = "fnd",        [100] = "dv",
        [102] = "fnnd", [104] = "fdnnd", [108] = "w",    [110] = "ffcn",      [116] = "fqd",
        [118] = "fqd",  [120] = "f",     [122] = "f",
    };

    return forms[type] ? forms[type] : "";
}

static void put(GByteArray *m, uint64_t value, unsigned bytes)
{
    g_byte_array_append(m, (const uint8_t *)&value, bytes);
}

static void put_text(GByteArray *m, const char *text)
{
    put(m, strlen(text), 2);
    g_byte_array_append(m, (const uint8_t *)text, (guint)strlen(text));
}

static void put_one(GByteArray *m, char form, struct fuzz_input *in)
{
    unsigned how = fuzz_u8(in);

    switch (form) {
    case 'f':
        put(m, how < 240 ? how % 8 : fuzz_uint(in, 4), 4);
        break;
    case 'n':
        put_text(m, names[how < 192 ? how % 5 : how % G_N_ELEMENTS(names)]);
        break;
    case 'v':
        put_text(m, how < 240 ? "9P2000.L" : "9P2000");
        break;
    case 'c':
        put(m, how < 224 ? 1 : how % 4, 2);
        break;
    case 'b':
        put(m, how, 1);
        break;
    case 'w':
        put(m, how, 2);
        break;
    case 'q':
        put(m, how < 128 ? how : how < 250 ? how * 100 : fuzz_uint(in, 8), 8);
        break;
    default:
        put(m, how < 200 ? how : fuzz_uint(in, 4), 4);
    }
}

static void request(struct p9_test *t, struct fuzz_input *in)
{
    g_autoptr(GByteArray) m = g_byte_array_new();
    unsigned type = types[fuzz_u8(in) % G_N_ELEMENTS(types)], cut = fuzz_u8(in);
    uint32_t size;

    put(m, 0, 4);
    put(m, type, 1);
    put(m, fuzz_u8(in), 2);
    for (const char *form = form_of(type); *form; form++) {
        put_one(m, *form, in);
    }
    if (cut < 10) {
        g_byte_array_set_size(m, MAX(m->len * cut / 10, P9_HEADER));
    }
    size = m->len;
    memcpy(m->data, &size, 4);
    memset(t->message, (int)cut, 4096);
    memcpy(t->message, m->data, m->len);
    /* Of a write more follows than its head. */
    size = (uint32_t)session_handle(t->s, t->message, m->len + (type == P9_TWRITE ? cut : 0),
                                    sizeof(t->message));
    if (size < P9_HEADER || size > sizeof(t->message)) {
        abort();
    }
}

/* Somebody on the host: what is a directory now may be a link out of it next. */
static void host(struct p9_test *t, struct fuzz_input *in)
{
    g_autofree char *one = g_build_filename(t->tree, names[fuzz_u8(in) % 4], NULL);
    g_autofree char *two = g_build_filename(t->tree, names[fuzz_u8(in) % 5], NULL);
    g_autofree char *outside = p9_path(t, "outside");
    int rc = 0;

    switch (fuzz_u8(in) % 5) {
    case 0:
        rc = symlink(outside, two);
        break;
    case 1:
        rc = rename(one, two);
        break;
    case 2:
        rc = g_remove(one);
        break;
    case 3:
        rc = g_mkdir(one, 0755);
        break;
    default:
        rc = g_file_set_contents(one, "x", 1, NULL) ? 0 : -1;
    }
    errno = rc < 0 ? 0 : errno;
}

static void assert_outside(struct p9_test *t)
{
    g_autofree char *content = p9_host_content(t, "outside/secret"), *path = p9_path(t, "outside");
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);

    if (g_strcmp0(content, "secret") != 0 || g_strcmp0(g_dir_read_name(dir), "secret") != 0 ||
        g_dir_read_name(dir)) {
        abort();
    }
}

uint64_t fuzz_steps;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    struct p9_test t;

    fuzz_steps++;
    if (!model) {
        fuzz_choose_by_name();
    }
    p9_test_open(&t, model);
    p9_begin(&t);
    for (unsigned i = 0; in.left > 0 && i < STEPS_MAX; i++) {
        if (fuzz_u8(&in) < 230) {
            request(&t, &in);
        } else {
            host(&t, &in);
        }
    }
    assert_outside(&t);
    p9_test_close(&t);
    return 0;
}

void fuzz_generate(GRand *rand, GByteArray *out)
{
    unsigned len = (unsigned)g_rand_int_range(rand, 50, 1500);

    g_byte_array_set_size(out, len);
    for (unsigned i = 0; i < len; i++) {
        out->data[i] = (uint8_t)g_rand_int_range(rand, 0, 256);
    }
}
