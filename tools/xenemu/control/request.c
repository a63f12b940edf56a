/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands: requests that Xen makes and qtest has no word for; accesses by name, for repeating. */
#include <inttypes.h>
#include <string.h>
#include "../host/domain.h"
#include "commands.h"
#include "qtest.h"
#include "request.h"
#include "words.h"

static bool pci_request(struct cmd *c, ioreq_t *req)
{
    uint32_t bdf, size = (uint32_t)c->a[3];

    if (!parse_bdf(c->w[1], &bdf) || (size != 1 && size != 2 && size != 4) || c->a[2] > 255 ||
        c->a[2] % size)
        return false;
    memset(req, 0, sizeof(*req));
    req->type = IOREQ_TYPE_PCI_CONFIG;
    req->addr = (uint64_t)bdf << 32 | c->a[2];
    req->size = size;
    req->count = 1;
    req->state = STATE_IOREQ_READY;
    req->dir = c->w[0][3] == 'r' ? IOREQ_READ : IOREQ_WRITE;
    req->data = c->w[0][3] == 'r' ? 0 : c->a[4] & (UINT64_MAX >> (64 - 8 * size));
    return true;
}

bool request_parse(struct cmd *c, ioreq_t *req)
{
    static const char *const names[] = {"inb",    "inw",    "inl",    "outb",  "outw",
                                        "outl",   "readb",  "readw",  "readl", "readq",
                                        "writeb", "writew", "writel", "writeq"};
    static const uint8_t sizes[] = {1, 2, 4, 1, 2, 4, 1, 2, 4, 8, 1, 2, 4, 8};
    unsigned int i;

    memset(req, 0, sizeof(*req));
    if (!strncmp(c->w[0], "pci", 3))
        return c->n >= 4 && pci_request(c, req);
    if (!strcmp(c->w[0], "ins") || !strcmp(c->w[0], "outs")) {
        req->type = IOREQ_TYPE_PIO;
        req->addr = c->a[1];
        req->size = (uint32_t)c->a[2];
        req->count = (uint32_t)c->a[3];
        req->data = c->a[4];
        req->data_is_ptr = 1;
        req->dir = c->w[0][0] == 'i' ? IOREQ_READ : IOREQ_WRITE;
        req->state = STATE_IOREQ_READY;
        return c->n >= 5 && req->count && req->size && req->size <= 4;
    }
    for (i = 0; i < G_N_ELEMENTS(names); i++)
        if (!strcmp(c->w[0], names[i])) {
            req->type = i < 6 ? IOREQ_TYPE_PIO : IOREQ_TYPE_COPY;
            req->dir = c->w[0][0] == 'i' || c->w[0][0] == 'r' ? IOREQ_READ : IOREQ_WRITE;
            req->addr = c->a[1];
            req->data = c->a[2];
            req->size = sizes[i];
            req->count = 1;
            req->state = STATE_IOREQ_READY;
            return c->n >= 2;
        }
    return false;
}

char *cmd_pci(struct cmd *c)
{
    const char *why = NULL;
    ioreq_t req;

    if (!pci_request(c, &req))
        return fail("usage: pciread BB:DD.F REG SIZE, pciwrite BB:DD.F REG SIZE VALUE");
    if (io_access(c->d, c->s->vcpu, &req, &why) == IO_FAIL)
        return fail("%s", why);
    if (req.dir == IOREQ_WRITE)
        return g_strdup("OK");
    return g_strdup_printf("OK 0x%0*" PRIx64, (int)req.size * 2,
                           req.data & (UINT64_MAX >> (64 - 8 * req.size)));
}

char *cmd_bufwrite(struct cmd *c)
{
    ioreq_t req = {.type = IOREQ_TYPE_COPY,
                   .addr = c->a[1],
                   .size = (uint32_t)c->a[2],
                   .count = 1,
                   .dir = IOREQ_WRITE,
                   .data = c->a[3]};

    switch (io_buffered(c->d, &req)) {
    case IO_OK:
        return g_strdup("OK");
    default:
        return fail("no server takes it, or the ring is full");
    }
}

char *cmd_broadcast(struct cmd *c)
{
    bool inv = !strcmp(c->w[0], "invalidate");
    const char *why = NULL;
    enum io_result r =
        io_broadcast(c->d, c->s->vcpu, inv ? IOREQ_TYPE_INVALIDATE : IOREQ_TYPE_TIMEOFFSET,
                     inv ? UINT64_MAX : c->a[1], &why);

    return r == IO_OK ? g_strdup("OK") : fail("%s", why ? why : "no ioreq server");
}
