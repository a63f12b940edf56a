/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LSI 53C895A: PCI-to-SCSI host adapter, 1000:0012, "lsi53c895a". Xen's toolstack gives it to
 * guests with disks named sd*. SeaBIOS' lsi-scsi, Linux' sym53c8xx, the BSDs' sym and siop, and
 * drivers of old Windows' drive it.
 *
 * Sources: LSI53C895A PCI to Ultra2 SCSI Controller Technical Manual 2.2; section and chapter
 * numbers are its.
 *
 * Left out: the target's role, low-level mode (STEST2.LOW), loop back, the handshake timer, NVRAM
 * behind GPIO, parity.
 */
#include <errno.h>

#include <xendm/classes.h>
#include <xendm/facts.h>

#include "lsi.h"

static struct lsi *lsi_of(struct device *dev)
{
    return DEVICE_CAST(struct lsi, dev);
}

/* A unit has left the bus: as if somebody had pulled its cable. */
static void unit_gone(struct scsi_host *h, struct scsi_unit *u)
{
    struct lsi *s = lsi_of(h->controller);
    bool on_the_bus = lsi_connected(s) && s->id == u->id;

    for (unsigned i = 0; i < LSI_REQUESTS; i++) {
        if (s->request[i].used && !s->request[i].dead && s->request[i].unit == u) {
            lsi_request_cancel(&s->request[i]);
        }
    }
    s->allegiance &= (uint16_t) ~(1u << u->id);
    if (on_the_bus) {
        lsi_bus_free(s);
        lsi_scsi_interrupt(s, SIST0_UDC, 0);
    }
}

static const struct scsi_host_ops host_ops = {.gone = unit_gone};

static void general_timer(void *opaque)
{
    struct lsi *s = opaque;

    s->stime1 &= 0xf0;
    lsi_scsi_interrupt(s, 0, SIST1_GEN);
}

static int lsi_realize(struct device *dev, GError **err)
{
    struct lsi *s = lsi_of(dev);

    for (unsigned i = 0; i < LSI_REQUESTS; i++) {
        s->request[i].lsi = s;
        scsi_task_init(&s->request[i].task, lsi_request_changed, &s->request[i]);
    }
    s->current = LSI_NONE;
    s->stopped = true; /* until the first resume */
    vtimer_init(&s->general, dev->machine->clock, "lsi", general_timer, s);
    vtimer_init(&s->slice, dev->machine->clock, "lsi-script", lsi_script_slice, s);
    scsi_host_init(&s->host, dev, LSI_IDS, 1, LSI_OWN_ID, &host_ops);
    return 0;
}

static void lsi_unrealize(struct device *dev)
{
    struct lsi *s = lsi_of(dev);

    lsi_script_stop(s);
    vtimer_disarm(&s->general);
    scsi_host_fini(&s->host);
    for (unsigned i = 0; i < LSI_REQUESTS; i++) {
        scsi_task_fini(&s->request[i].task);
        g_free(s->request[i].buffer);
        g_free(s->request[i].saved);
    }
}

/* The registers are reset already. */
static void lsi_reset(struct device *dev, enum reset_reason why)
{
    struct lsi *s = lsi_of(dev);

    lsi_script_stop(s);
    lsi_bus_reset(s);
    vtimer_disarm(&s->general);
    s->dsp = 0;
    s->carry = s->unanswered = false;
    s->spinning = 0;
    memset(s->ram, 0, sizeof(s->ram));
}

static void lsi_quiesce(struct device *dev)
{
    struct lsi *s = lsi_of(dev);

    s->stopped = true;
    for (unsigned i = 0; i < LSI_REQUESTS; i++) {
        scsi_task_quiesce(&s->request[i].task);
    }
}

static bool lsi_busy(struct device *dev)
{
    const struct lsi *s = lsi_of(dev);

    for (unsigned i = 0; i < LSI_REQUESTS; i++) {
        if (scsi_task_busy(&s->request[i].task)) {
            return true;
        }
    }
    return false;
}

static void lsi_resume(struct device *dev)
{
    struct lsi *s = lsi_of(dev);

    s->stopped = false;
    for (unsigned i = 0; i < LSI_REQUESTS; i++) {
        scsi_task_resume(&s->request[i].task);
    }
    lsi_requests_kick(s);
    if (lsi_connected(s) && !lsi_req(s) && lsi_current(s)) {
        lsi_bus_continue(s);
    }
    lsi_script_go(s);
    lsi_bus_wanted(s);
}

static void lsi_config_written(struct device *dev, unsigned reg, unsigned len, uint32_t old)
{
    lsi_update(lsi_of(dev));
}

static void lsi_describe(struct device *dev, struct facts *to)
{
    static const char *const waits[WAIT_ENDS] = {"runs", "waits for a reselection",
                                                 "waits for a disconnection",
                                                 "waits for the target"};
    const struct lsi *s = lsi_of(dev);
    unsigned commands = 0;

    for (unsigned i = 0; i < LSI_REQUESTS; i++) {
        commands += s->request[i].used;
    }
    fact_text(to, "script", "%s", s->istat1 & ISTAT1_SRUN ? waits[s->waiting] : "stopped");
    fact_hex(to, "dsp", s->dsp);
    if (lsi_connected(s)) {
        fact_text(to, "bus", "id %u, phase %u%s", s->id, lsi_phase(s),
                  lsi_req(s) ? "" : ", no REQ");
    } else {
        fact_text(to, "bus", "free");
    }
    fact_int(to, "commands under way", commands);
    fact_int(to, "commands", (int64_t)s->commands);
    fact_int(to, "instructions", (int64_t)s->instructions);
}

static const struct pci_config_reg lsi_config[] = {
    {0x0d, 0xff, 0xff}, /* latency timer, as QEMU's begins */
    {0},
};

static const struct pci_info lsi_pci = {
    .vendor = 0x1000,
    .device = 0x0012,
    .subsystem_vendor = 0x0000,
    .subsystem = 0x1000, /* as guests that were installed under QEMU know it */
    .class = 0x010000,
    .intx_pin = 1,
    .bar =
        {
            [LSI_BAR_IO] = {.type = PCI_BAR_IO, .size = 256, .ops = &lsi_io_ops, .name = "lsi-io"},
            [LSI_BAR_MEMORY] = {.type = PCI_BAR_MEM32, .size = 1024, .regs = &lsi_block},
            [LSI_BAR_RAM] =
                {.type = PCI_BAR_MEM32, .size = LSI_RAM, .ops = &lsi_ram_ops, .name = "lsi-ram"},
        },
    .config = lsi_config,
    .config_written = lsi_config_written,
};

static const char *const lsi_aliases[] = {"lsi", NULL};

const struct device_class lsi_class = {
    .name = "lsi53c895a",
    .aliases = lsi_aliases,
    .help = "LSI 53C895A SCSI host adapter",
    .size = sizeof(struct lsi),
    .state = &lsi_state,
    .recorded = true,
    .hotplug = true,
    .realize = lsi_realize,
    .reset = lsi_reset,
    .quiesce = lsi_quiesce,
    .busy = lsi_busy,
    .resume = lsi_resume,
    .unrealize = lsi_unrealize,
    .describe = lsi_describe,
    .pci = &lsi_pci,
};
