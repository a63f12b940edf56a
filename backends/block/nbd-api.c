/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <unistd.h>

#include <xendm/error.h>

#include "nbd-api.h"

#define LIBRARY "libnbd.so.0"

static const struct {
    const char *name;
    size_t offset;
} calls[] = {
#define X(call) {"nbd_" #call, offsetof(struct nbd_api, call)},
    NBD_CALLS(X)
#undef X
};

const struct nbd_api *nbd_api_load(GError **err)
{
    static struct nbd_api api;
    static bool loaded;
    void *library;

    if (loaded) {
        return &api;
    }
    library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        bool late = access("/usr", F_OK) < 0; /* the root that the sandbox leaves us is empty */

        g_set_error(err, XENDM_ERROR, ENOENT, "%s (%s)", dlerror(),
                    late ? "with the first disk behind NBD or elsewhere it comes too late: "
                           "after `xendmctl update` it is there"
                         : "Debian: the package libnbd0");
        return NULL;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(calls); i++) {
        void *symbol = dlsym(library, calls[i].name);

        if (!symbol) {
            g_set_error(err, XENDM_ERROR, ENOSYS, "%s has no %s", LIBRARY, calls[i].name);
            return NULL;
        }
        *(void **)((char *)&api + calls[i].offset) = symbol;
    }
    loaded = true;
    return &api;
}
