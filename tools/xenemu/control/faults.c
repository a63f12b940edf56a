/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands: faults to come. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "../faults/faults.h"
#include "../faults/xenstore-proxy.h"
#include "../host/loop.h"
#include "../rpc/operations.h"
#include "commands.h"
#include "qtest.h"
#include "words.h"

static const struct {
    const char *name;
    int value;
} errnos[] = {
    {"EPERM", EPERM},     {"ENOENT", ENOENT},         {"EINTR", EINTR},   {"EIO", EIO},
    {"EAGAIN", EAGAIN},   {"ENOMEM", ENOMEM},         {"EACCES", EACCES}, {"EFAULT", EFAULT},
    {"EBUSY", EBUSY},     {"EEXIST", EEXIST},         {"EINVAL", EINVAL}, {"ENOSPC", ENOSPC},
    {"ENODATA", ENODATA}, {"EOPNOTSUPP", EOPNOTSUPP}, {"ESRCH", ESRCH},   {"ENOSYS", ENOSYS},
    {"EMFILE", EMFILE},   {"EFBIG", EFBIG},           {"EROFS", EROFS},
};

/* A-B or A. */
static bool fault_range(const char *text, uint64_t *first, uint64_t *last)
{
    const char *dash = strchr(text, '-');
    char *head = dash ? g_strndup(text, (gsize)(dash - text)) : g_strdup(text);
    bool ok = parse_u64(head, first) && (!dash || parse_u64(dash + 1, last));

    g_free(head);
    if (ok && !dash)
        *last = *first;
    return ok && *first <= *last;
}

static bool starts_with_any(const char *text, const char *const *heads, unsigned int n)
{
    unsigned int i;

    for (i = 0; i < n; i++)
        if (g_str_has_prefix(text, heads[i]))
            return true;
    return false;
}

/* Which part of an operation's calls fails, and how. NULL, or what is wrong with it. */
static const char *fault_details(struct cmd *c, struct fault *f)
{
    const char *drive = key(c, "drive"), *few = key(c, "short");
    bool disk = f->op >= XE_OP_DISK && f->op != XE_OP_EVENT;
    const char *range = key(c, disk ? "lba" : "gfn");
    unsigned int i;

    for (i = 2; i < c->n; i++) {
        static const char *const all[] = {"nth=", "count=", "errno="};
        static const char *const pages[] = {"gfn="}, *const disks[] = {"lba=", "drive=", "short="};

        if (!starts_with_any(c->w[i], all, 3) &&
            !starts_with_any(c->w[i], disk ? disks : pages, disk ? 3 : 1))
            return "unknown detail; see xenemu(1), FAULTS";
    }
    if (range && !disk && f->op != XE_OP_MAP && f->op != XE_OP_POPULATE)
        return "only map and populate are called for pages";
    if (range && !fault_range(range, &f->gfn, &f->gfn_end))
        return "no range";
    if (drive && (strlen(drive) != 3 || strncmp(drive, "hd", 2)))
        return "drives are hda ... hdd";
    if (drive)
        g_strlcpy(f->drive, drive, sizeof(f->drive));
    if (few && (f->op == XE_OP_DISK + 2 || f->op == XE_OP_DISK + 3 || key(c, "errno") ||
                !parse_u64(few, &f->shorter)))
        return "short=BYTES is for reads and writes, in the place of errno";
    return NULL;
}

char *cmd_fault(struct cmd *c)
{
    GArray *a = c->s->host->faults;
    const char *what = c->n > 1 ? c->w[1] : "list", *e = key(c, "errno"), *wrong;
    struct fault f = {.count = (unsigned int)key_u64(c, "count", 1),
                      .gfn = FAULT_ANY,
                      .shorter = FAULT_FAILS};
    unsigned int i;

    if (!strcmp(what, "clear")) {
        g_array_set_size(a, 0);
        return g_strdup("OK");
    }
    if (!strcmp(what, "list")) {
        GString *t = g_string_new("OK");

        for (i = 0; i < a->len; i++) {
            const struct fault *x = &g_array_index(a, struct fault, i);

            g_string_append_printf(t, " %s:hits=%u", op_name(x->op), x->hits);
        }
        return g_string_free(t, FALSE);
    }
    if (!strcmp(what, "names"))
        return op_names();
    f.op = op_by_name(what);
    if (!f.op)
        return fail("no such operation; see xenemu(1), FAULTS");
    if (!key_u64(c, "nth", 1))
        return fail("the first call is nth=1");
    f.after = (unsigned int)key_u64(c, "nth", 1) - 1;
    if (key(c, "count") && !strcmp(key(c, "count"), "all"))
        f.count = UINT32_MAX;
    f.err = f.op >= XE_OP_DISK && f.op != XE_OP_EVENT ? EIO : ENOMEM;
    if (e) {
        uint64_t v;

        f.err = 0;
        for (i = 0; i < G_N_ELEMENTS(errnos); i++)
            if (!strcmp(errnos[i].name, e))
                f.err = errnos[i].value;
        if (!f.err && parse_u64(e, &v) && v && v < 4096)
            f.err = (int)v;
        if (!f.err)
            return fail("no such errno");
    }
    wrong = fault_details(c, &f);
    if (wrong)
        return fail("%s", wrong);
    if (a->len >= 64)
        return fail("too many faults");
    g_array_append_val(a, f);
    return g_strdup("OK");
}

/* From xenemu run, for each system call on a drive's file: OP DRIVE FIRST LAST CACHED, where the
 * range is of sectors. The answer: 0, or the errno, or 0 and how many bytes at most. */
char *cmd_diskcall(struct cmd *c)
{
    uint64_t shorter = FAULT_FAILS;
    int r = fault_disk(c->s->host->faults, op_by_name(c->w[1]), c->w[2], c->a[3], c->a[4],
                       c->a[5] != 0, &shorter);

    return r > 0 ? g_strdup_printf("OK 0 %" PRIu64, shorter) : g_strdup_printf("OK %d", -r);
}

char *cmd_xsproxy(struct cmd *c)
{
    return done(xsproxy_start(c->s->host, c->w[1], c->w[2]));
}
