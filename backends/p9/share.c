/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -fsdev local: a directory for a device that carries its messages. See xendm/p9.h. */
#include <errno.h>
#include <string.h>

#include <xendm/backend-classes.h>
#include <xendm/error.h>
#include <xendm/p9.h>

struct p9_share {
    struct backend b; /* first */
    struct p9_tree tree;
    struct p9_mount *mount;
};

struct p9_mount *p9_share_mount(struct p9_share *s)
{
    return s->mount;
}

static int check(const struct backend *b, GError **err)
{
    const struct p9_share *s = (const struct p9_share *)b;

    if (!p9_model_known(s->tree.model)) {
        g_set_error(err, XENDM_ERROR, ENOTSUP,
                    "security_model=%s is none of none, passthrough, mapped-xattr", s->tree.model);
        return -ENOTSUP;
    }
    if (s->tree.path[0] != '/') {
        g_set_error(err, XENDM_ERROR, EINVAL, "path=%s does not begin with /", s->tree.path);
        return -EINVAL;
    }
    return 0;
}

/* The server is started now, since a mistake in `path` should be told now. */
static int open_share(struct backend *b, const struct handover *from, GError **err)
{
    struct p9_share *s = (struct p9_share *)b;
    g_autofree char *group = backend_group(b);
    int rc;

    s->mount = p9_mount_new(&s->tree, NULL, NULL);
    p9_mount_record(s->mount, b->id);
    rc = from ? p9_mount_take_over(s->mount, from, group, err) : p9_mount_start(s->mount, err);
    if (rc < 0) {
        g_clear_pointer(&s->mount, p9_mount_free);
    }
    return rc;
}

static void close_share(struct backend *b)
{
    g_clear_pointer(&((struct p9_share *)b)->mount, p9_mount_free);
}

static unsigned busy(const struct backend *b)
{
    return p9_mount_in_flight(((const struct p9_share *)b)->mount);
}

static void hand_over(const struct backend *b, struct handover *to)
{
    g_autofree char *group = backend_group(b);

    p9_mount_hand_over(((const struct p9_share *)b)->mount, to, group);
}

static void describe(const struct backend *b, struct facts *to)
{
    p9_mount_describe(((const struct p9_share *)b)->mount, to);
}

static const struct property properties[] = {
    {.name = "path",
     .type = PROP_STRING,
     .offset = offsetof(struct p9_share, tree.path),
     .required = true,
     .help = "the directory"},
    {.name = "security_model",
     .type = PROP_STRING,
     .offset = offsetof(struct p9_share, tree.model),
     .required = true,
     .help = "none, passthrough or mapped-xattr: whose files are"},
    {.name = "readonly",
     .type = PROP_BOOL,
     .offset = offsetof(struct p9_share, tree.read_only),
     .def = "off",
     .help = "nothing of it can be changed"},
    {.name = NULL},
};

const struct backend_class fsdev_local_class = {
    .kind = BACKEND_FSDEV,
    .driver = "local",
    .help = "a directory of the host",
    .size = sizeof(struct p9_share),
    .properties = properties,
    .check = check,
    .open = open_share,
    .close = close_share,
    .busy = busy,
    .hand_over = hand_over,
    .describe = describe,
};
