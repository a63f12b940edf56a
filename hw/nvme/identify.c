/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVMe: what the controller says of itself: IDENTIFY (5.15) and log pages (5.14). */
#include <string.h>

#include "nvme.h"

#define IDENTIFY_BYTES 4096u
#define VENDOR 0x1b36u
#define SUBSYSTEM_VENDOR 0x1af4u
#define MODEL "XENDM NVMe Ctrl"
#define FIRMWARE "1.0"
#define TEMPERATURE 323u

/* ASCII, padded by blanks. */
static void store_text(uint8_t *to, size_t size, const char *text)
{
    memset(to, ' ', size);
    memcpy(to, text, MIN(strlen(text), size));
}

/* ---- IDENTIFY ---- */

static void controller_capabilities(const struct nvme *n, uint8_t *d)
{
    store_le32(d + 80, 0x00010400);   /* VER */
    store_le32(d + 92, 1u << 8);      /* OAES: namespace attributes */
    d[111] = 1;                       /* CNTRLTYPE: I/O */
    store_le16(d + 256, 0x102);       /* OACS: FORMAT NVM, DOORBELL BUFFER CONFIG */
    d[258] = NVME_ABORTS - 1;         /* ACL */
    d[259] = NVME_EVENT_REQUESTS - 1; /* AERL */
    d[260] = 0x3;                     /* FRMW: one slot, read-only */
    d[261] = 0x6;                     /* LPA: effects, and offsets into pages */
    d[262] = NVME_ERRORS - 1;         /* ELPE */
    store_le16(d + 266, 343);         /* WCTEMP */
    store_le16(d + 268, 373);         /* CCTEMP */
    d[512] = 0x66;                    /* SQES */
    d[513] = 0x44;                    /* CQES */
    store_le32(d + 516, NVME_NAMESPACES);
    /* ONCS: COMPARE, DATASET MANAGEMENT, WRITE ZEROES, timestamp, VERIFY */
    store_le16(d + 520, 0x01 | 0x04 | 0x08 | 0x40 | 0x80);
    d[525] = 0x7;             /* VWC: there is one, and FLUSH takes NSID_ALL */
    store_le32(d + 536, 0x2); /* SGLS: dwords, no longer than the transfer */
}

static void identify_controller(const struct nvme *n, uint8_t *d)
{
    g_autofree char *nqn = g_strdup_printf("nqn.2014.08.org.nvmexpress:%04x%04x%-20s%-40s", VENDOR,
                                           SUBSYSTEM_VENDOR, n->serial, MODEL);

    store_le16(d, VENDOR);
    store_le16(d + 2, SUBSYSTEM_VENDOR);
    store_text(d + 4, 20, n->serial);
    store_text(d + 24, 40, MODEL);
    store_text(d + 64, 8, FIRMWARE);
    d[72] = 6;    /* RAB */
    d[73] = 0x00; /* IEEE 52-54-00, lowest byte first */
    d[74] = 0x54;
    d[75] = 0x52;
    d[77] = (uint8_t)n->mdts;
    controller_capabilities(n, d);
    memcpy(d + 768, nqn, MIN(strlen(nqn), 255));
    store_le16(d + 2048, 0x9c4); /* one power state: 25 W */
    store_le32(d + 2048 + 4, 0x10);
    store_le32(d + 2048 + 8, 0x4);
}

static void identify_namespace(const struct nvme_ns *ns, uint8_t *d)
{
    const struct block_limits *limits = block_limits(ns->block);
    uint64_t blocks = nvme_ns_blocks(ns);
    uint32_t align = MAX(limits->discard_align >> ns->shift, 1);

    store_le64(d, blocks);      /* NSZE */
    store_le64(d + 8, blocks);  /* NCAP */
    store_le64(d + 16, blocks); /* NUSE */
    d[24] = 0x10;               /* NSFEAT: the preferences below */
    d[25] = 1;                  /* NLBAF, from 0 */
    d[26] = ns->shift == 12;    /* FLBAS */
    d[33] = 0x8;                /* DLFEAT: WRITE ZEROES may deallocate */
    store_le16(d + 64, MAX(limits->physical >> ns->shift, 1) - 1); /* NPWG */
    store_le16(d + 66, MAX(limits->physical >> ns->shift, 1) - 1); /* NPWA */
    store_le16(d + 68, MIN(align, 65536) - 1);                     /* NPDG */
    store_le16(d + 70, MIN(align, 65536) - 1);                     /* NPDA */
    d[99] = block_read_only(ns->block);                            /* NSATTR */
    d[128 + 2] = 9;
    d[132 + 2] = 12;
}

static void identify_list(const struct nvme *n, uint32_t after, uint8_t *d)
{
    unsigned count = 0;

    for (struct nvme_ns *ns = nvme_ns_next(n, after); ns; ns = nvme_ns_next(n, ns->nsid)) {
        store_le32(d + 4 * count++, ns->nsid);
    }
}

/* One descriptor, of an UUID, if there is one; some id there must be. */
static void identify_descriptors(const struct nvme_ns *ns, uint8_t *d)
{
    d[0] = 3;
    d[1] = 16;
    memcpy(d + 4, ns->uuid, 16);
}

void nvme_run_identify(struct nvme_request *r)
{
    uint32_t cns = nvme_dw(r, 10) & 0xff, nsid = nvme_nsid(r);
    g_autofree uint8_t *data = g_malloc0(IDENTIFY_BYTES);
    uint16_t status = STATUS_OK;

    switch (cns) {
    case 0x00:
    case 0x11: /* all that are allocated are active */
        if (nsid == 0 || (nsid > NVME_NAMESPACES && !(cns == 0 && nsid == NSID_ALL))) {
            status = STATUS_INVALID_NAMESPACE | STATUS_DNR;
        } else if (r->ns) {
            identify_namespace(r->ns, data);
        } else if (nsid == NSID_ALL) {
            data[25] = 1; /* what all have in common */
            data[128 + 2] = 9;
            data[132 + 2] = 12;
        }
        break;
    case 0x01:
        identify_controller(r->n, data);
        break;
    case 0x02:
    case 0x10:
        if (nsid >= NSID_ALL - 1) {
            status = STATUS_INVALID_NAMESPACE | STATUS_DNR;
        } else {
            identify_list(r->n, nsid, data);
        }
        break;
    case 0x03:
        if (r->ns) {
            identify_descriptors(r->ns, data);
        } else {
            status = STATUS_INVALID_NAMESPACE | STATUS_DNR;
        }
        break;
    default:
        status = STATUS_INVALID_FIELD | STATUS_DNR;
        break;
    }
    if (status == STATUS_OK) {
        status = nvme_put(r, data, IDENTIFY_BYTES);
    }
    nvme_complete(r, status);
}

/* ---- log pages ---- */

void nvme_note_error(struct nvme_request *r, uint16_t status)
{
    struct nvme *n = r->n;

    memmove(n->error + 1, n->error, (NVME_ERRORS - 1) * sizeof(n->error[0]));
    n->error[0] = (struct nvme_error){.count = ++n->errors,
                                      .sqid = r->sqid,
                                      .cid = nvme_cid(r),
                                      .status = status,
                                      .lba = r->sqid ? nvme_qw(r, 10) : 0,
                                      .nsid = nvme_nsid(r)};
}

static void page_errors(const struct nvme *n, uint8_t *d)
{
    for (unsigned i = 0; i < NVME_ERRORS; i++) {
        const struct nvme_error *e = &n->error[i];

        if (e->count) {
            store_le64(d, e->count);
            store_le16(d + 8, e->sqid);
            store_le16(d + 10, e->cid);
            store_le16(d + 12, (uint32_t)e->status << 1);
            store_le16(d + 14, 0xffff); /* no parameter of the command is blamed */
            store_le64(d + 16, e->lba);
            store_le32(d + 24, e->nsid);
        }
        d += 64;
    }
}

static void page_smart(const struct nvme *n, uint8_t *d)
{
    uint64_t reads = 0, writes = 0, read_bytes = 0, written = 0;
    int64_t hours = vclock_now(n->pci.dev.machine->clock) / NS_PER_S / 3600;

    for (struct nvme_ns *ns = nvme_ns_next(n, 0); ns; ns = nvme_ns_next(n, ns->nsid)) {
        reads += ns->reads;
        writes += ns->writes;
        read_bytes += ns->bytes_read;
        written += ns->bytes_written;
    }
    d[0] = (uint8_t)nvme_temperature_warning(n);
    store_le16(d + 1, TEMPERATURE);
    d[3] = 100; /* spare, of which … */
    d[4] = 10;  /* … so much is the least */
    store_le64(d + 32, (read_bytes / 512 + 999) / 1000);
    store_le64(d + 48, (written / 512 + 999) / 1000);
    store_le64(d + 64, reads);
    store_le64(d + 80, writes);
    store_le64(d + 128, (uint64_t)hours);
    store_le64(d + 176, n->errors);
}

static void page_firmware(uint8_t *d)
{
    d[0] = 1; /* slot 1 is active */
    store_text(d + 8, 8, FIRMWARE);
}

static void page_namespaces(struct nvme *n, uint8_t *d)
{
    unsigned count = 0;

    for (uint32_t nsid = 1; nsid <= NVME_NAMESPACES; nsid++) {
        if (n->ns_changed[(nsid - 1) / 8] >> (nsid - 1) % 8 & 1) {
            store_le32(d + 4 * count++, nsid);
        }
    }
}

static void page_effects(uint8_t *d)
{
    for (unsigned i = 0; i < 256; i++) {
        store_le32(d + 4 * i, nvme_admin_commands[i].effects);
        store_le32(d + 1024 + 4 * i, nvme_io_commands[i].effects);
    }
}

/* Bytes of the page, which is in `d`; 0: there is none of that id. */
static uint32_t make_page(struct nvme *n, unsigned id, uint8_t *d)
{
    switch (id) {
    case PAGE_ERRORS:
        page_errors(n, d);
        return NVME_ERRORS * 64;
    case PAGE_SMART:
        page_smart(n, d);
        return 512;
    case PAGE_FIRMWARE:
        page_firmware(d);
        return 512;
    case PAGE_NAMESPACES:
        page_namespaces(n, d);
        return 4096;
    case PAGE_EFFECTS:
        page_effects(d);
        return 4096;
    default:
        return 0;
    }
}

/* Reading a page lets the events that point to it come again. */
static void page_was_read(struct nvme *n, unsigned id)
{
    for (unsigned type = 0; type < EVENT_TYPES; type++) {
        if (n->event[type].masked && n->event[type].page == id) {
            n->event[type].masked = false;
        }
    }
    if (id == PAGE_NAMESPACES) {
        memset(n->ns_changed, 0, sizeof(n->ns_changed));
    }
    nvme_events_send(n);
}

void nvme_run_log(struct nvme_request *r)
{
    struct nvme *n = r->n;
    uint32_t id = nvme_dw(r, 10) & 0xff;
    bool keep = nvme_dw(r, 10) & 0x8000;
    uint64_t dwords = (nvme_dw(r, 10) >> 16 | (uint64_t)(nvme_dw(r, 11) & 0xffff) << 16) + 1;
    uint64_t offset = nvme_qw(r, 12);
    g_autofree uint8_t *data = g_malloc0(IDENTIFY_BYTES);
    uint32_t size = make_page(n, id, data);
    uint16_t status;

    if (!size) {
        nvme_complete(r, STATUS_INVALID_LOG | STATUS_DNR);
        return;
    }
    if (offset >= size || (offset & 3)) {
        nvme_complete(r, STATUS_INVALID_FIELD | STATUS_DNR);
        return;
    }
    status = nvme_put(r, data + offset, (uint32_t)MIN(dwords * 4, size - offset));
    nvme_complete(r, status);
    if (status == STATUS_OK && !keep) {
        page_was_read(n, id);
    }
}
