/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libxencall.so.1: handles and buffers work; a raw hypercall has nobody to take it and fails with
 * ENOSYS. Device models use the typed libraries.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <xencall.h>
#include "client.h"

struct xencall_handle {
    struct xe_client client; /* must be first */
};

xencall_handle *xencall_open(struct xentoollog_logger *logger, unsigned open_flags)
{
    (void)logger, (void)open_flags;
    return xe_client_open(sizeof(struct xencall_handle), "xencall", xe_restrict_null);
}

int xencall_close(xencall_handle *h)
{
    return xe_client_close((struct xe_client *)h);
}

int xencall_fd(xencall_handle *h)
{
    return h->client.fd;
}

void *xencall_alloc_buffer_pages(xencall_handle *h, size_t nr_pages)
{
    void *p =
        mmap(NULL, nr_pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)h;
    return p == MAP_FAILED ? NULL : p;
}

void xencall_free_buffer_pages(xencall_handle *h, void *p, size_t nr_pages)
{
    (void)h;
    if (p)
        munmap(p, nr_pages << 12);
}

void *xencall_alloc_buffer(xencall_handle *h, size_t size)
{
    (void)h;
    return calloc(1, size ? size : 1);
}

void xencall_free_buffer(xencall_handle *h, void *p)
{
    (void)h;
    free(p);
}

int xencall_buffers_never_fault(xencall_handle *h)
{
    (void)h;
    return 1;
}
