/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port: AHCI 1.3.1 sections 3.3 (registers), 5 (what they do), 6.2 (errors), 10.4 (resets).
 *
 * The drive's registers are filled from the command's FIS; from there on it is an ATA drive as any
 * other (xendm/ata.h), of which this is the host: PIO blocks and DMA chunks go to and from the
 * command's descriptor table, and what the drive says in the end goes into a received FIS.
 *
 * Nobody waits. A port whose command list was stopped shows CR, an adapter in reset HR, until what
 * was in flight is back: until then the guest's memory is not its own.
 */
#include <errno.h>
#include <inttypes.h>

#include <xendm/tape.h>

#include "ahci.h"

#define HEADER 32u
#define TABLE_PACKET 0x40u
#define TABLE_PRDT 0x80u
#define PACKET 12u

#define FIS_HOST 0x27u
#define FIS_DEVICE 0x34u
#define FIS_PIO 0x5fu
#define FIS_COMMAND 0x80u /* in byte 1: the command register, not the control register */
#define FIS_INTERRUPT 0x40u
#define FIS_TO_HOST 0x20u
#define FIS_AT_PIO 0x20u
#define FIS_AT_REGISTER 0x40u

#define SCTL_DET 0x0fu
#define SLICE_US 500

#define ATA_CMD_DEVICE_RESET 0x08u
#define ATA_CMD_READ_FPDMA 0x60u
#define ATA_CMD_WRITE_FPDMA 0x61u
#define ATA_CMD_DIAGNOSTIC 0x90u

static struct ahci_port *port_of(struct ata_host *h)
{
    return (struct ahci_port *)h;
}

static struct device *device_of(const struct ahci_port *p)
{
    return &p->hba->pci.dev;
}

/* ---- FISes ---- */

bool ahci_post_fis(struct ahci_port *p, unsigned at, const uint8_t *fis, size_t len)
{
    uint64_t base = p->fb | (uint64_t)p->fbu << 32;
    int error;

    if (!(p->cmd & CMD_FR)) {
        return false;
    }
    error = dma_write(device_of(p), base + at, fis, len);
    if (error) {
        log_guest(LOG_AHCI, "%s: port %u: received FIS at 0x%" PRIx64 ": %s", device_of(p)->id,
                  p->number, base, g_strerror(-error));
    }
    return error == 0;
}

static void fill_registers(const struct ata_drive *d, uint8_t *fis)
{
    fis[2] = d->status;
    fis[3] = d->error;
    fis[4] = d->lba_low[0];
    fis[5] = d->lba_mid[0];
    fis[6] = d->lba_high[0];
    fis[7] = d->device;
    fis[8] = d->lba_low[1];
    fis[9] = d->lba_mid[1];
    fis[10] = d->lba_high[1];
    fis[12] = d->count[0];
    fis[13] = d->count[1];
}

static void show_status(struct ahci_port *p, const struct ata_drive *d)
{
    p->tfd = d->status | (uint32_t)d->error << 8;
}

static void post_registers(struct ahci_port *p, const struct ata_drive *d, bool interrupt)
{
    uint8_t fis[20] = {FIS_DEVICE, interrupt ? FIS_INTERRUPT : 0};

    fill_registers(d, fis);
    ahci_post_fis(p, FIS_AT_REGISTER, fis, sizeof(fis));
    show_status(p, d);
}

/* `flags` FIS_INTERRUPT and FIS_TO_HOST; the status `before` the data and `after` them. */
static void post_pio_setup(struct ahci_port *p, const struct ata_drive *d, uint8_t flags,
                           uint8_t before, uint8_t after, uint32_t bytes)
{
    uint8_t fis[20] = {FIS_PIO, flags};

    fill_registers(d, fis);
    fis[2] = before;
    fis[15] = after;
    store_le16(fis + 16, bytes);
    ahci_post_fis(p, FIS_AT_PIO, fis, sizeof(fis));
    show_status(p, d);
}

void ahci_halt(struct ahci_port *p, uint32_t interrupt)
{
    p->halted = true;
    ahci_port_interrupt(p, interrupt);
}

/* ---- the end of a command ---- */

static void finish(struct ahci_port *p, struct ata_drive *d)
{
    uint64_t header = (p->clb | (uint64_t)p->clbu << 32) + p->slot * HEADER;
    bool failed = d->status & ATA_ERR;
    uint8_t moved[4];

    store_le32(moved, p->moved);
    dma_write(device_of(p), header + 4, moved, sizeof(moved)); /* PRDBC */
    p->ci &= ~(1u << p->slot);
    p->slot = AHCI_NO_SLOT;
    d->intrq = false;
    if (p->pio_in && !p->packet_sent && !failed) {
        show_status(p, d); /* the PIO Setup FIS said all there is to say */
        return;
    }
    post_registers(p, d, true);
    if (failed) {
        ahci_halt(p, PORT_DHRS | PORT_TFES);
    } else {
        ahci_port_interrupt(p, PORT_DHRS);
    }
}

/* The guest's memory failed: the port stops there, and the drive is lost until a reset. */
static void memory_failed(struct ahci_port *p, struct ata_drive *d, int error)
{
    log_guest(LOG_AHCI, "%s: port %u: error near 0x%" PRIx64 ": %s", device_of(p)->id, p->number,
              p->host.bad_address, g_strerror(-error));
    p->slot = AHCI_NO_SLOT;
    if (d) {
        ata_drive_hold_reset(d);
    }
    ahci_halt(p, PORT_HBFS);
}

/* ---- PIO ---- */

static void next_slice(void *opaque)
{
    ahci_port_go(opaque);
}

static void go_later(struct ahci_port *p)
{
    static const struct later_kind kind = {.turn = "ahci", .go_on = next_slice};

    later_ask(&p->later, &kind, p, p->host.id);
}

/* These return whether there may be more to do at once. */
static bool send_packet(struct ahci_port *p, struct ata_drive *d)
{
    uint64_t at = p->prd.table - TABLE_PRDT + TABLE_PACKET;
    int error = dma_read(device_of(p), at, d->buffer + d->pos, MIN(PACKET, d->drq_end - d->pos));

    if (error) {
        p->host.bad_address = at;
        memory_failed(p, d, error);
        return false;
    }
    post_pio_setup(p, d, 0, d->status, (d->status & ~ATA_DRQ) | ATA_BSY, d->drq_end - d->pos);
    p->packet_sent = true;
    d->pos = d->drq_end;
    ata_drive_pio_done(d);
    return true;
}

static bool move_pio(struct ahci_port *p, struct ata_drive *d)
{
    bool in = d->phase == ATA_PIO_IN, ended;
    uint32_t start = d->pos;
    uint8_t before, flags = in ? FIS_TO_HOST : 0;
    int64_t n;

    if (d->packet && !in && !p->packet_sent) {
        return send_packet(p, d);
    }
    n = ahci_copy(p, d->buffer + d->pos, d->drq_end - d->pos, in ? DMA_FROM_DEVICE : DMA_TO_DEVICE,
                  &ended);
    if (n < 0) {
        memory_failed(p, d, (int)n);
        return false;
    }
    d->pos += (uint32_t)n;
    p->moved += (uint32_t)n;
    if (d->pos < d->drq_end && !ended) {
        go_later(p);
        return false;
    }
    if (d->pos < d->drq_end) {
        p->host.ops->starved(&p->host, d);
        return true;
    }
    if (in || p->moved > (uint32_t)n) {
        flags |= FIS_INTERRUPT; /* all but what the host is to write first */
    }
    before = d->status;
    ata_drive_pio_done(d);
    post_pio_setup(p, d, flags, before, d->status, d->pos > start ? d->pos - start : (uint32_t)n);
    p->pio_in = in;
    if (in && !(d->status & (ATA_BSY | ATA_DRQ))) {
        finish(p, d);
    }
    if (flags & FIS_INTERRUPT) {
        ahci_port_interrupt(p, PORT_PSS);
    }
    return true;
}

/* ---- issue ---- */

static void soft_reset(struct ahci_port *p, struct ata_drive *d, uint8_t control)
{
    uint8_t was = p->control;

    p->control = control;
    if (~was & control & ATA_CONTROL_SRST) {
        ahci_queue_drop(p);
        ata_drive_hold_reset(d);
    } else if (was & ~control & ATA_CONTROL_SRST) {
        ata_drive_reset(d, false);
        p->queue_failed = false;
        p->signature_pending = true;
    }
}

static void load_registers(struct ata_drive *d, const uint8_t *fis)
{
    d->feature[0] = fis[3];
    d->feature[1] = fis[11];
    d->lba_low[0] = fis[4];
    d->lba_mid[0] = fis[5];
    d->lba_high[0] = fis[6];
    d->device = (fis[7] & ~ATA_DEVICE_DEV) | ATA_DEVICE_OBSOLETE;
    d->lba_low[1] = fis[8];
    d->lba_mid[1] = fis[9];
    d->lba_high[1] = fis[10];
    d->count[0] = fis[12];
    d->count[1] = fis[13];
    d->error = 0;
    d->intrq = false;
}

static void begin(struct ahci_port *p, struct ata_drive *d, unsigned slot, const uint8_t *fis,
                  const struct ahci_prd *prd)
{
    uint8_t code = fis[2];

    load_registers(d, fis);
    p->slot = (uint8_t)slot;
    p->prd = p->chunk_start = *prd;
    p->moved = 0;
    p->packet_sent = p->pio_in = false;
    p->tfd = ATA_BSY | ATA_READY;
    if (code == ATA_CMD_DIAGNOSTIC || (code == ATA_CMD_DEVICE_RESET && d->packet)) {
        ata_drive_reset(d, false);
    } else {
        ata_drive_command(d, code);
    }
}

/* False: not now. */
static bool issue(struct ahci_port *p, struct ata_drive *d, unsigned slot)
{
    uint64_t at = (p->clb | (uint64_t)p->clbu << 32) + slot * HEADER;
    uint8_t header[HEADER], fis[20];
    struct ahci_prd prd = {0};
    int error = dma_read(device_of(p), at, header, sizeof(header));

    if (error == 0) {
        at = (load_le32(header + 8) & ~UINT64_C(0x7f)) | (uint64_t)load_le32(header + 12) << 32;
        error = dma_read(device_of(p), at, fis, sizeof(fis));
    }
    if (error) {
        p->host.bad_address = at;
        memory_failed(p, NULL, error);
        return false;
    }
    p->cmd = (p->cmd & ~CMD_CCS) | slot << CMD_CCS_SHIFT;
    if (fis[0] != FIS_HOST || (header[0] & 0x1f) < 5 || (fis[1] & 0x0f)) {
        log_guest(LOG_AHCI, "%s: port %u: slot %u has no command", device_of(p)->id, p->number,
                  slot);
        ahci_halt(p, PORT_IFS);
        return false;
    }
    prd.table = at + TABLE_PRDT;
    prd.count = load_le16(header + 2);
    if (!(fis[1] & FIS_COMMAND)) {
        p->ci &= ~(1u << slot);
        soft_reset(p, d, fis[15]);
        return true;
    }
    if (d->status & (ATA_BSY | ATA_DRQ)) {
        return false;
    }
    if ((fis[2] == ATA_CMD_READ_FPDMA || fis[2] == ATA_CMD_WRITE_FPDMA) && !d->packet) {
        p->ci &= ~(1u << slot);
        ahci_queue_issue(p, slot, fis, &prd);
    } else {
        begin(p, d, slot, fis, &prd);
    }
    return true;
}

/* The next in turn behind the current one. */
static unsigned next_slot(const struct ahci_port *p)
{
    unsigned slot = ((p->cmd & CMD_CCS) >> CMD_CCS_SHIFT) + 1;

    for (unsigned i = 0; i < AHCI_SLOTS; i++, slot++) {
        if (p->ci & 1u << slot % AHCI_SLOTS) {
            break;
        }
    }
    return slot % AHCI_SLOTS;
}

static bool dropped_in_flight(const struct ahci_port *p)
{
    for (unsigned i = 0; p->in_flight && i < AHCI_SLOTS; i++) {
        if (p->queue[i].dropped) {
            return true;
        }
    }
    return false;
}

static bool can_issue(const struct ahci_port *p)
{
    return p->ci && (p->cmd & CMD_ST) && (p->cmd & CMD_CR) && !p->halted &&
           p->slot == AHCI_NO_SLOT && !p->signature_pending && p->detected && !dropped_in_flight(p);
}

/* ---- going on ---- */

static void post_signature(struct ahci_port *p, struct ata_drive *d)
{
    if (!p->signature_pending || !p->detected || (d->status & ATA_BSY) || !(p->cmd & CMD_FR) ||
        dropped_in_flight(p)) {
        return;
    }
    p->signature_pending = false;
    p->sig = (uint32_t)d->lba_high[0] << 24 | (uint32_t)d->lba_mid[0] << 16 |
             (uint32_t)d->lba_low[0] << 8 | d->count[0];
    post_registers(p, d, false);
}

static bool pump(struct ahci_port *p, struct ata_drive *d)
{
    if (p->slot == AHCI_NO_SLOT || (d->status & ATA_BSY)) {
        return false;
    }
    if (d->phase == ATA_PIO_IN || d->phase == ATA_PIO_OUT) {
        return move_pio(p, d);
    }
    if (!(d->status & ATA_DRQ)) {
        finish(p, d);
    }
    return false;
}

static void go_on(struct ahci_port *p)
{
    int64_t end = g_get_monotonic_time() + SLICE_US;
    struct ata_drive *d = ahci_drive(p);

    while (d && pump(p, d)) {
    }
    if (d) {
        post_signature(p, d);
    }
    while ((d = ahci_drive(p)) && can_issue(p) && issue(p, d, next_slot(p))) {
        while (pump(p, d)) {
        }
        post_signature(p, d);
        if (tape_late(g_get_monotonic_time() >= end)) {
            go_later(p);
            break;
        }
    }
}

bool ahci_port_quiet(const struct ahci_port *p)
{
    const struct ata_drive *d = ahci_drive(p);

    return !dropped_in_flight(p) && !(d && d->cancelling);
}

void ahci_port_go(struct ahci_port *p)
{
    if (p->hba->quiesced) {
        return;
    }
    if (p->pumping) {
        p->again = true;
        return;
    }
    p->pumping = true;
    do {
        p->again = false;
        go_on(p);
    } while (p->again);
    p->pumping = false;
    if (!(p->cmd & CMD_ST) && ahci_port_quiet(p)) {
        p->cmd &= ~CMD_CR;
    }
    ahci_quiet(p->hba);
}

void ahci_port_issue(struct ahci_port *p, uint32_t slots)
{
    if (p->cmd & CMD_ST) {
        p->ci |= slots;
        ahci_port_go(p);
    }
}

/* ---- resets ---- */

/* What the port did ends here; the drive is busy until a reset. */
static void abandon(struct ahci_port *p)
{
    struct ata_drive *d = ahci_drive(p);

    ahci_queue_drop(p);
    later_forget(&p->later);
    if (p->slot != AHCI_NO_SLOT && d) {
        ata_drive_hold_reset(d);
    }
    p->slot = AHCI_NO_SLOT;
}

static void link_down(struct ahci_port *p)
{
    p->ssts = 0;
    p->tfd = TFD_NONE;
    p->sig = UINT32_MAX;
    p->detected = p->signature_pending = p->queue_failed = false;
    p->control = 0;
}

/* COMRESET, or the end of it: the drive is reset, and tells who it is. */
static void link_up(struct ahci_port *p)
{
    struct ata_drive *d = ahci_drive(p);

    abandon(p);
    link_down(p);
    if (!d || (p->sctl & SCTL_DET)) {
        return;
    }
    ata_drive_reset(d, false);
    p->ssts = SSTS_PRESENT;
    p->serr |= SERR_X;
    p->detected = p->signature_pending = true;
    ahci_port_interrupt(p, PORT_PCS);
    ahci_port_go(p);
}

void ahci_port_reset(struct ahci_port *p)
{
    p->is = p->ie = p->serr = p->sctl = p->sact = p->ci = 0;
    p->cmd = CMD_POD | CMD_SUD | (p->cmd & CMD_CR);
    p->halted = false;
    link_up(p); /* nobody has to ask: there is no staggered spin-up (section 10.1.1) */
    if (ahci_port_quiet(p)) {
        p->cmd &= ~CMD_CR;
    }
}

void ahci_port_command(struct ahci_port *p, uint32_t old)
{
    p->cmd &= ~CMD_ICC; /* done at once: there is nothing to wake */
    p->cmd = p->cmd & CMD_FRE ? p->cmd | CMD_FR : p->cmd & ~CMD_FR;
    if (~old & p->cmd & CMD_ST) {
        p->cmd = (p->cmd & ~CMD_CCS) | CMD_CR | (AHCI_SLOTS - 1) << CMD_CCS_SHIFT;
        p->halted = false;
    } else if (old & ~p->cmd & CMD_ST) {
        abandon(p);
        p->ci = p->sact = 0;
        p->halted = false;
        p->cmd &= ~CMD_CCS;
    }
    ahci_port_go(p);
}

void ahci_port_control(struct ahci_port *p, uint32_t old)
{
    struct ata_drive *d = ahci_drive(p);

    if (p->sctl & SCTL_DET) {
        abandon(p);
        link_down(p);
        if (d) {
            ata_drive_hold_reset(d);
        }
        p->ssts = (p->sctl & SCTL_DET) == 4 ? 4 : 0;
    } else if (old & SCTL_DET) {
        link_up(p);
    }
    ahci_port_go(p);
}

void ahci_port_master_off(struct ahci_port *p)
{
    struct ata_drive *d = ahci_drive(p);

    if (d) {
        ata_drive_dma_back(d);
    }
    ahci_queue_call_back(p);
}

/* ---- the drive's host ---- */

static void port_interrupt(struct ata_host *h, struct ata_drive *d)
{
    ahci_port_go(port_of(h));
}

static void port_quiet(struct ata_host *h)
{
    ahci_port_go(port_of(h));
}

static bool port_claim(struct ata_host *h, struct ata_drive *d)
{
    return true;
}

static void port_release(struct ata_host *h, const struct ata_drive *d)
{
}

static bool port_active(const struct ata_host *h, const struct ata_drive *d)
{
    return ((const struct ahci_port *)h)->slot != AHCI_NO_SLOT;
}

static void port_idle(struct ata_host *h, const struct ata_drive *d)
{
}

static void port_stop(struct ata_host *h)
{
}

static void port_error(struct ata_host *h, int error)
{
    port_of(h)->is |= PORT_HBFS; /* the interrupt comes with the aborted command */
}

static void port_starved(struct ata_host *h, struct ata_drive *d)
{
    port_of(h)->is |= PORT_OFS;
    ata_drive_abort(d, ATA_ABRT);
}

static void port_begin(struct ata_host *h, struct ata_drive *d, enum dma_direction direction)
{
    struct ahci_port *p = port_of(h);

    p->chunk_start = p->prd;
    dma_list_begin(d->list, direction);
}

static int64_t port_gather(struct ata_host *h, struct ata_drive *d, uint32_t want)
{
    struct ahci_port *p = port_of(h);
    int64_t n = ahci_gather(p, &p->prd, d->list, want);

    p->moved += n > 0 ? (uint32_t)n : 0;
    return n;
}

static void port_rewind(struct ata_host *h)
{
    struct ahci_port *p = port_of(h);

    p->prd = p->chunk_start;
    p->moved -= MIN(p->moved, p->kept);
}

static int64_t port_copy(struct ata_host *h, void *buf, uint32_t len, enum dma_direction direction,
                         bool *ended)
{
    struct ahci_port *p = port_of(h);
    int64_t n = ahci_copy(p, buf, len, direction, ended);

    p->moved += n > 0 ? (uint32_t)n : 0;
    return n;
}

static void port_attached(struct ata_host *h)
{
    struct ahci_port *p = port_of(h);

    if (device_of(p)->phase == DEVICE_RUNNING || device_of(p)->phase == DEVICE_QUIESCED) {
        ata_drive_reset(ahci_drive(p), true);
        p->serr |= SERR_N;
        ahci_port_interrupt(p, PORT_PRCS);
        link_up(p);
    }
}

static void port_detached(struct ata_host *h)
{
    struct ahci_port *p = port_of(h);
    bool was = p->detected;

    abandon(p);
    link_down(p);
    if (was) {
        p->serr |= SERR_N | SERR_X;
        ahci_port_interrupt(p, PORT_PRCS | PORT_PCS);
    }
}

static void port_queue_error(struct ata_host *h, uint8_t *page)
{
    ahci_queue_log(port_of(h), page);
}

const struct ata_host_ops ahci_host_ops = {
    .interrupt = port_interrupt,
    .quiet = port_quiet,
    .claim = port_claim,
    .release = port_release,
    .active = port_active,
    .idle = port_idle,
    .stop = port_stop,
    .error = port_error,
    .starved = port_starved,
    .begin = port_begin,
    .gather = port_gather,
    .rewind = port_rewind,
    .copy = port_copy,
    .attached = port_attached,
    .detached = port_detached,
    .queue_error = port_queue_error,
};
