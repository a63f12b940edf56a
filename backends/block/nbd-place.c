/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a medium is: the forms in which QEMU and libxl write an NBD server, and the start of the
 * keeper that makes connections to it, or to an image server (xendm-image, keeper.c).
 *
 *   nbd:HOST:PORT[:exportname=NAME]       nbd:unix:PATH[:exportname=NAME]
 *   nbd://HOST[:PORT]/NAME                nbd+unix:///NAME?socket=PATH
 */
#include <errno.h>
#include <string.h>

#include <xendm/block.h>
#include <xendm/error.h>
#include <xendm/files.h>
#include <xendm/helper.h>

#include "nbd.h"

#define NBD_PORT "10809" /* IANA's for nbd */

struct place {
    bool is_unix;
    char *host, *port; /* or the path, as `host` */
    char *export;
};

static void place_clear(struct place *p)
{
    g_free(p->host);
    g_free(p->port);
    g_free(p->export);
}

static int no_place(const char *file, const char *why, GError **err)
{
    g_set_error(err, XENDM_ERROR, EINVAL, "'%s': %s", file, why);
    return -EINVAL;
}

/* nbd:unix:PATH and nbd:HOST:PORT, as QEMU has always written them. */
static int parse_old(struct place *p, const char *file, GError **err)
{
    const char *rest = file + strlen("nbd:");
    const char *name = strstr(rest, ":exportname=");
    g_autofree char *where = name ? g_strndup(rest, (gsize)(name - rest)) : g_strdup(rest);
    char *colon;

    p->export = g_strdup(name ? name + strlen(":exportname=") : "");
    if (g_str_has_prefix(where, "unix:")) {
        p->is_unix = true;
        p->host = g_strdup(where + strlen("unix:"));
        return p->host[0] ? 0 : no_place(file, "the socket's path is missing", err);
    }
    colon = strrchr(where, ':');
    if (!colon || colon == where || !colon[1]) {
        return no_place(file, "nbd:HOST:PORT or nbd:unix:PATH is wanted", err);
    }
    *colon = '\0';
    p->port = g_strdup(colon + 1);
    if (where[0] == '[' && colon[-1] == ']') {
        colon[-1] = '\0';
        p->host = g_strdup(where + 1);
    } else {
        p->host = g_strdup(where);
    }
    return 0;
}

static int parse_uri(struct place *p, const char *file, GError **err)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(GUri) uri = g_uri_parse(file, G_URI_FLAGS_NONE, &why);
    const char *scheme, *path;

    if (!uri) {
        return no_place(file, why->message, err);
    }
    scheme = g_uri_get_scheme(uri);
    path = g_uri_get_path(uri);
    p->export = g_strdup(path[0] == '/' ? path + 1 : path);
    if (strcmp(scheme, "nbd+unix") == 0) {
        const char *query = g_uri_get_query(uri);
        g_autoptr(GHashTable) params =
            query ? g_uri_parse_params(query, -1, "&", G_URI_PARAMS_NONE, NULL) : NULL;
        const char *socket = params ? g_hash_table_lookup(params, "socket") : NULL;

        p->is_unix = true;
        p->host = g_strdup(socket);
        return socket && socket[0] ? 0 : no_place(file, "socket=PATH is missing", err);
    }
    if (strcmp(scheme, "nbd") != 0 && strcmp(scheme, "nbd+tcp") != 0) {
        return no_place(file, "of NBD, nbd://, nbd+tcp:// and nbd+unix:// are served", err);
    }
    p->host = g_strdup(g_uri_get_host(uri));
    p->port =
        g_uri_get_port(uri) > 0 ? g_strdup_printf("%d", g_uri_get_port(uri)) : g_strdup(NBD_PORT);
    return p->host && p->host[0] ? 0 : no_place(file, "the host is missing", err);
}

static int parse_place(struct place *p, const char *file, GError **err)
{
    if (g_str_has_prefix(file, "nbd:") && !g_str_has_prefix(file, "nbd://")) {
        return parse_old(p, file, err);
    }
    return parse_uri(p, file, err);
}

/* ---- the keeper ---- */

int block_keeper_for(const char *format, int image)
{
    g_autofree char *keeper = helper_program("XENDM_IMAGE", "backends/block", "xendm-image");
    char *argv[] = {keeper, "serve-open", (char *)format, NULL};

    return helper_start(argv, image, NULL);
}

int block_start_keeper(const char *driver, const char *file, unsigned flags, GError **err)
{
    static const char *const modes[] = {
        [0] = "w",
        [FILES_KEEPER_READS] = "r",
        [FILES_KEEPER_DIRECT] = "wd",
        [FILES_KEEPER_READS | FILES_KEEPER_DIRECT] = "rd",
    };
    char *mode = (char *)modes[flags % G_N_ELEMENTS(modes)];
    g_autofree char *keeper = helper_program("XENDM_IMAGE", "backends/block", "xendm-image");
    char *serve[] = {keeper, "serve", (char *)driver, mode, (char *)file, NULL};
    struct place p = {0};
    int rc;

    if (strcmp(driver, "nbd") != 0) {
        return helper_start(serve, -1, err);
    }
    rc = parse_place(&p, file, err);
    if (rc == 0) {
        char *connect[] = {keeper, p.is_unix ? "unix" : "tcp", p.host, p.port, NULL};

        rc = helper_start(connect, -1, err);
    }
    place_clear(&p);
    return rc;
}

static char *export_of(const char *file, GError **err)
{
    struct place p = {0};
    char *name = parse_place(&p, file, err) == 0 ? g_steal_pointer(&p.export) : NULL;

    place_clear(&p);
    return name;
}

/* By who may start programs still when we may not any more, or by us. */
static int start_or_ask(const char *format, const char *file, int image, unsigned flags,
                        GError **err)
{
    int fd = files_start_keeper(format, file, image, flags);

    if (fd == -ENOSYS && image < 0) {
        return block_start_keeper(format, file, flags, err);
    }
    if (fd == -ENOSYS) {
        fd = block_keeper_for(format, image);
    }
    if (fd < 0) {
        g_set_error(err, XENDM_ERROR, -fd, "a server for '%s' cannot be started: %s",
                    file ? file : "the descriptor", files_why(-fd));
    }
    return fd;
}

int nbd_keeper_start(struct nbd_link *l, const char *format, const char *file, int image,
                     unsigned flags, GError **err)
{
    l->served = strcmp(format, "nbd") != 0;
    l->export = l->served ? g_strdup("") : export_of(file, err);
    if (!l->export) {
        return -EINVAL;
    }
    l->keeper = start_or_ask(format, file, image, flags, err);
    return MIN(l->keeper, 0);
}
