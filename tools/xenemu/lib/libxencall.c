/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libxencall.so.1: handles and buffers work; a raw hypercall has nobody to take it and fails with
 * ENOSYS. Device models use the typed libraries. One question has an answer: whether this Xen has
 * CONFIG_GDBSX, which it has unless XENEMU_NO_GDBSX is in the environment.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <xencall.h>
#include <xen/xen.h>
#include <xen/domctl.h>
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

int xencall1(xencall_handle *h, unsigned int op, uint64_t arg1)
{
    const struct xen_domctl *d = (const void *)(uintptr_t)arg1;

    (void)h;
    if (op == __HYPERVISOR_domctl && d->cmd == XEN_DOMCTL_gdbsx_domstatus &&
        !getenv("XENEMU_NO_GDBSX"))
        return 0;
    errno = ENOSYS;
    return -1;
}

int xencall_buffers_never_fault(xencall_handle *h)
{
    (void)h;
    return 1;
}
