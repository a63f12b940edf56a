/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Grants of one domain on libxengnttab; see xendm/grants.h. Xen's grant_table.h. */
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#include <xen/xen.h>
#include <xengnttab.h>

#include <xendm/error.h>
#include <xendm/grants.h>
#include <xendm/recorder.h>

struct grants {
    xengnttab_handle *handle;
    unsigned domid;
    unsigned mapped;
    GHashTable *pages; /* address → count */
};

struct grants *grants_open(unsigned domid, GError **err)
{
    xengnttab_handle *handle = xengnttab_open(NULL, 0);
    struct grants *g;

    if (!handle) {
        int e = errno;

        g_set_error(err, XENDM_ERROR, e,
                    "cannot open grants (/dev/xen/gntdev): %s: is the module xen-gntdev loaded?",
                    g_strerror(e));
        return NULL;
    }
    g = g_new0(struct grants, 1);
    g->handle = handle;
    g->domid = domid;
    g->pages = g_hash_table_new(g_direct_hash, g_direct_equal);
    return g;
}

void grants_close(struct grants *g)
{
    GHashTableIter it;
    gpointer pages, count;

    if (!g) {
        return;
    }
    g_hash_table_iter_init(&it, g->pages);
    while (g_hash_table_iter_next(&it, &pages, &count)) {
        xengnttab_unmap(g->handle, pages, GPOINTER_TO_UINT(count));
    }
    g_hash_table_destroy(g->pages);
    xengnttab_close(g->handle);
    g_free(g);
}

void *grants_map(struct grants *g, const uint32_t *refs, unsigned count, bool write, int *error)
{
    uint32_t copy[GRANTS_MAP_MAX];
    void *pages;

    *error = count == 0 || count > GRANTS_MAP_MAX   ? -EINVAL
             : g->mapped + count > GRANTS_TOTAL_MAX ? -ENOSPC
                                                    : 0;
    if (*error) {
        return NULL;
    }
    for (unsigned i = 0; i < count; i++) {
        copy[i] = refs[i];
    }
    pages = xengnttab_map_domain_grant_refs(g->handle, count, g->domid, copy,
                                            write ? PROT_READ | PROT_WRITE : PROT_READ);
    if (!pages) {
        *error = errno ? -errno : -EIO;
        return NULL;
    }
    g->mapped += count;
    g_hash_table_insert(g->pages, pages, GUINT_TO_POINTER(count));
    return pages;
}

void grants_unmap(struct grants *g, void *pages, unsigned count)
{
    XENDM_ASSERT(GPOINTER_TO_UINT(g_hash_table_lookup(g->pages, pages)) == count);
    g_hash_table_remove(g->pages, pages);
    g->mapped -= count;
    xengnttab_unmap(g->handle, pages, count);
}

unsigned grants_mapped(const struct grants *g)
{
    return g->mapped;
}

/* What Xen says of one part; GNTST_* of grant_table.h. */
static int copy_error(int16_t status)
{
    return status == GNTST_okay                ? 0
           : status == GNTST_bad_gntref        ? -ENOENT
           : status == GNTST_permission_denied ? -EACCES
           : status == GNTST_eagain            ? -EAGAIN
                                               : -EIO;
}

static int all_fail(struct grant_copy *parts, unsigned count, int error)
{
    for (unsigned i = 0; i < count; i++) {
        parts[i].error = error;
    }
    return error;
}

int grants_copy(struct grants *g, struct grant_copy *parts, unsigned count, bool to_guest)
{
    xengnttab_grant_copy_segment_t seg[GRANTS_COPY_MAX];
    int error = 0;

    if (count == 0 || count > GRANTS_COPY_MAX) {
        return all_fail(parts, count, count ? -EINVAL : 0);
    }
    for (unsigned i = 0; i < count; i++) {
        const struct grant_copy *p = &parts[i];
        union xengnttab_copy_ptr ours = {.virt = p->local};
        union xengnttab_copy_ptr theirs = {
            .foreign = {.ref = p->ref, .offset = p->offset, .domid = (uint16_t)g->domid}};

        if (p->offset + (unsigned)p->len > GRANT_PAGE_SIZE) {
            return all_fail(parts, count, -EINVAL);
        }
        seg[i] = (xengnttab_grant_copy_segment_t){
            .source = to_guest ? ours : theirs,
            .dest = to_guest ? theirs : ours,
            .len = p->len,
            .flags = to_guest ? GNTCOPY_dest_gref : GNTCOPY_source_gref,
        };
    }
    if (xengnttab_grant_copy(g->handle, count, seg) != 0) {
        return all_fail(parts, count, errno ? -errno : -EIO);
    }
    for (unsigned i = 0; i < count; i++) {
        parts[i].error = copy_error(seg[i].status);
        error = error ? error : parts[i].error;
    }
    return error;
}
