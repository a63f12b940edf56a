/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages of the guest's by frame number on libxenforeignmemory; see xendm/foreign.h. */
#include <errno.h>
#include <sys/mman.h>

#include <xenforeignmemory.h>

#include <xendm/error.h>
#include <xendm/foreign.h>
#include <xendm/log.h>

struct foreign {
    xenforeignmemory_handle *handle;
    unsigned domid;
};

struct foreign *foreign_open(unsigned domid, GError **err)
{
    xenforeignmemory_handle *handle = xenforeignmemory_open(NULL, 0);
    struct foreign *f;

    if (!handle) {
        int e = errno;

        g_set_error(err, XENDM_ERROR, e,
                    "cannot open the guest memory interface (/dev/xen/privcmd): %s", g_strerror(e));
        return NULL;
    }
    f = g_new0(struct foreign, 1);
    f->handle = handle;
    f->domid = domid;
    return f;
}

void foreign_close(struct foreign *f)
{
    if (f) {
        xenforeignmemory_close(f->handle);
        g_free(f);
    }
}

void *foreign_map(struct foreign *f, const uint64_t *frames, unsigned count, bool write, int *error)
{
    g_autofree xen_pfn_t *numbers = NULL;
    void *pages;

    *error = 0;
    if (count == 0 || count > FOREIGN_PAGES_MAX) {
        *error = -EINVAL;
        return NULL;
    }
    numbers = g_new(xen_pfn_t, count);
    for (unsigned i = 0; i < count; i++) {
        numbers[i] = (xen_pfn_t)frames[i];
    }
    errno = 0;
    pages = xenforeignmemory_map(f->handle, f->domid, write ? PROT_READ | PROT_WRITE : PROT_READ,
                                 count, numbers, NULL);
    if (!pages) {
        *error = errno ? -errno : -EIO;
    }
    return pages;
}

void foreign_unmap(struct foreign *f, void *pages, unsigned count)
{
    if (xenforeignmemory_unmap(f->handle, pages, count) != 0) {
        log_warning(LOG_BACKEND, "cannot unmap %u pages: %s", count, g_strerror(errno));
    }
}
