/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole board behind the ioreq server's core, fed with what a guest can do: requests as Xen
 * writes them and as it never would, string instructions, the buffered ring, memory contents
 * (descriptor tables, TRIM ranges), and in between what the outside does: disk I/O that completes
 * in any order or fails, time, viewers, media, input, wake-up, stop and start, migration. What can
 * be reached has to be saved and loaded again, equal.
 *
 * An input is a sequence of operations, one byte that says which, then its operands.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <xendm/log.h>
#include <xendm/machine-desc.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/turn.h>

#include "../../dm/ioreq/request.h"
#include "../unit/fakes.h"
#include "fuzz.h"
#include "guest.h"

#define VCPUS 3u
#define INPUT_MAX 4096u
#define OPS_MAX 600u

const char *const fuzz_targets[] = {"board", NULL};
const unsigned fuzz_short_run = 250;

/* ---- the board ---- */

struct world {
    struct fuzz_guest g; /* first: what its functions get */
    struct machine_desc desc;
    struct backend_set *backends;
    struct ioreq_core core;
    struct ioreq slot[VCPUS] __attribute__((aligned(4096)));
    struct buffered_iopage *ring;
    bool stopped;
    /* was loaded from a changed stream: what it says then need not be the same again */
    bool hostile;
};

static void free_object(gpointer p)
{
    object_desc_free(p);
}

static void on_notify(void *opaque, unsigned vcpu)
{
}

static void add_device(struct world *w, struct object_desc *o)
{
    g_ptr_array_add(w->desc.objects, o);
}

static void add_serial(struct world *w, unsigned index)
{
    g_autofree char *id = g_strdup_printf("serial%u", index);

    w->g.serial[index] = guest_serial_new(id);
    backend_set_put(w->backends, &w->g.serial[index]->b);
    add_device(w, object_desc_make(OBJECT_DEVICE, 0, "isa-serial", id, "chardev", id, "index",
                                   index ? "1" : "0", NULL));
}

static void add_drive(struct world *w, unsigned index)
{
    const char *id = guest_drive_id[index];
    bool cd = guest_drive_is_cd(index);
    struct block *b = fake_block_new(id, cd ? 300 * 2048 : 400 * 512);

    b->read_only = cd;
    b->hold = true;
    w->g.block[index] = b;
    backend_set_put(w->backends, &b->b);
    add_device(w, object_desc_make(OBJECT_DEVICE, 0, cd ? "ide-cd" : "ide-hd", id, "drive", id,
                                   "bus", index / 2 ? "ide.1" : "ide.0", "unit",
                                   index % 2 ? "1" : "0", NULL));
}

static void describe(struct world *w, unsigned flags)
{
    g_autofree char *mib = g_strdup_printf("%u", 1 + (flags & 3));

    w->desc.type = MACHINE_XENFV;
    w->desc.acpi = true;
    w->desc.boot_order = g_strdup("cda");
    w->desc.objects = g_ptr_array_new_with_free_func(free_object);
    w->backends = backend_set_new();
    for (unsigned i = 0; i < GUEST_SERIALS; i++) {
        add_serial(w, i);
    }
    add_device(w, object_desc_new(OBJECT_DEVICE, 0, "xen-platform", NULL));
    add_device(w, object_desc_make(OBJECT_DEVICE, 0, "VGA", NULL, "vgamem_mb", mib, NULL));
    for (unsigned i = 0; i < GUEST_DRIVES; i++) {
        add_drive(w, i);
    }
}

static void on_released(void *opaque)
{
    struct world *w = opaque;

    ioreq_core_released(&w->core);
}

static void build(struct world *w, bool restored)
{
    struct machine *m = fake_machine_new();
    GError *err = NULL;

    m->vcpus = VCPUS;
    m->vcpus_online = 1;
    m->ram_low_end = UINT64_C(504) << 20;
    m->ram_high_end = UINT64_C(4) << 30;
    m->backends = w->backends;
    m->restored = restored;
    for (unsigned i = 0; i < GUEST_DRIVES; i++) {
        /* opened anew: also what was unplugged */
        w->g.block[i]->present = w->g.block[i]->present || i == 0 || i == 3;
    }
    if (board_build(m, &w->desc, &err) < 0) {
        g_error("%s", err->message);
    }
    machine_complete(m);
    w->g.m = m;
    m->holds.released = on_released;
    m->holds.opaque = w;
    w->core.machine = m;
}

/* What firmware does; without it most of a random input would miss. */
static void boot(struct machine *m)
{
    static const struct {
        uint8_t devfn, reg;
        uint32_t value;
    } writes[] = {
        {PCI_DEVFN(1, 1), 0x20, 0xc100},     {PCI_DEVFN(1, 1), 0x40, 0x80008000},
        {PCI_DEVFN(1, 1), 0x04, 7},          {PCI_DEVFN(1, 3), 0x40, 0xb001},
        {PCI_DEVFN(1, 3), 0x80, 1},          {PCI_DEVFN(2, 0), 0x10, 0xc000},
        {PCI_DEVFN(2, 0), 0x14, 0xf2000000}, {PCI_DEVFN(2, 0), 0x04, 7},
        {PCI_DEVFN(3, 0), 0x10, 0xf0000000}, {PCI_DEVFN(3, 0), 0x18, 0xf3000000},
        {PCI_DEVFN(3, 0), 0x30, 0xf3010001}, {PCI_DEVFN(3, 0), 0x04, 7},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(writes); i++) {
        pci_config_write(m->pci, writes[i].devfn, writes[i].reg, writes[i].value, 4);
    }
}

/* ---- requests ---- */

/*
 * A turn of the main loop: whatever the guest did, the rest of us waits no longer than this. Where
 * the sanitizers look at every byte it takes longer.
 */
#if defined(__SANITIZE_ADDRESS__)
#define TURN_MAX (10 * TURN_LIMIT_NS)
#else
#define TURN_MAX TURN_LIMIT_NS
#endif

static int64_t longest_turn;

static int64_t cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static bool turn(struct world *w, unsigned vcpu)
{
    int64_t start = cpu_ns(), took;
    bool served;

    w->core.deadline = ioreq_now_ns() + NS_PER_MS;
    served = ioreq_core_serve(&w->core, vcpu);
    w->core.deadline = 0;
    took = cpu_ns() - start;
    longest_turn = MAX(longest_turn, took);
    if (took > TURN_MAX) {
        g_error("a turn took %" G_GINT64_FORMAT " us of CPU time", took / 1000);
    }
    return served;
}

static void report_turns(void)
{
    printf("# longest turn: %" G_GINT64_FORMAT " us of CPU time\n", longest_turn / 1000);
}

static bool string_on(const struct world *w, unsigned vcpu)
{
    return w->core.rest != NULL && w->core.rest[vcpu].on;
}

static void serve(struct world *w, unsigned vcpu)
{
    if (w->g.in.left % 4 == 0 && string_on(w, vcpu)) {
        return; /* this vCPU has an instruction under way: the others go on */
    }
    if (w->g.in.left % 4 != 0) {
        guest_settle(&w->g); /* else it may find its device held, and be left */
    }
    if (turn(w, vcpu)) {
        unsigned state;

        while (string_on(w, vcpu) && w->g.in.left % 4 != 0) {
            guest_settle(&w->g);
            turn(w, vcpu);
        }
        if (string_on(w, vcpu)) {
            return;
        }
        state = w->slot[vcpu].state;
        if (state != STATE_IORESP_READY && state != STATE_IOREQ_NONE) {
            g_error("a slot was left in state %u", state);
        }
    }
    w->slot[vcpu].state = STATE_IOREQ_NONE;
}

static void request(struct world *w, struct ioreq r)
{
    unsigned vcpu = w->g.in.left % VCPUS;

    fuzz_steps++;
    r.state = STATE_IOREQ_READY;
    w->slot[vcpu] = r;
    serve(w, vcpu);
}

static void pio_write(struct fuzz_guest *g, uint32_t port, uint64_t value, unsigned size)
{
    request((struct world *)g,
            (struct ioreq){
                .type = IOREQ_TYPE_PIO, .addr = port, .size = size, .count = 1, .data = value});
}

static uint64_t pio_read(struct fuzz_guest *g, uint32_t port, unsigned size)
{
    request((struct world *)g,
            (struct ioreq){
                .type = IOREQ_TYPE_PIO, .dir = IOREQ_READ, .addr = port, .size = size, .count = 1});
    return 0; /* what is answered depends on whose turn it is */
}

static uint32_t some_port(struct world *w)
{
    static const struct {
        uint16_t base, size;
    } ports[] = {
        {0x00, 32},   {0x60, 5},  {0x70, 2},    {0x81, 15},   {0x92, 1},   {0xb2, 2},   {0xc0, 32},
        {0x170, 8},   {0x376, 1}, {0x1f0, 8},   {0x3f6, 1},   {0x1ce, 4},  {0x3b4, 16}, {0x3c0, 32},
        {0x2f8, 8},   {0x3f8, 8}, {0xae00, 16}, {0xaf00, 32}, {0xafe0, 4}, {0xb000, 8}, {0xb044, 4},
        {0xb100, 16}, {0xcf8, 8}, {0xc100, 16}, {0xc000, 16}, {0x1f0, 1},  {0x3c0, 16}, {0x1ce, 3},
    };
    unsigned which = fuzz_u8(&w->g.in);

    if (which >= 250) {
        return (uint32_t)fuzz_uint(&w->g.in, 2);
    }
    which %= G_N_ELEMENTS(ports);
    return ports[which].base + fuzz_u8(&w->g.in) % ports[which].size;
}

static uint64_t some_address(struct world *w)
{
    unsigned which = fuzz_u8(&w->g.in);
    uint64_t base;

    switch (which % 8) {
    case 0:
    case 1:
    case 2:
        return 0xa0000 + fuzz_uint(&w->g.in, 3) % 0x20010;
    case 3:
        base = guest_bar(w->g.m, PCI_DEVFN(3, 0), 2);
        return base + fuzz_uint(&w->g.in, 2) % 0x1008;
    case 4:
        base = guest_bar(w->g.m, PCI_DEVFN(2, 0), 1);
        return base + fuzz_uint(&w->g.in, 2);
    case 5:
        base = guest_bar(w->g.m, PCI_DEVFN(3, 0), PCI_BAR_ROM);
        return base + fuzz_uint(&w->g.in, 2) % 0x1010;
    case 6:
        return fuzz_uint(&w->g.in, 8);
    default:
        return UINT64_MAX - fuzz_u8(&w->g.in);
    }
}

static uint8_t some_devfn(struct world *w)
{
    static const uint8_t devfn[] = {PCI_DEVFN(0, 0), PCI_DEVFN(1, 0), PCI_DEVFN(1, 1),
                                    PCI_DEVFN(1, 3), PCI_DEVFN(2, 0), PCI_DEVFN(3, 0),
                                    PCI_DEVFN(3, 0), PCI_DEVFN(1, 1)};
    unsigned which = fuzz_u8(&w->g.in);

    return which >= 248 ? fuzz_u8(&w->g.in) : devfn[which % G_N_ELEMENTS(devfn)];
}

static void op_pio(struct world *w)
{
    uint32_t port = some_port(w);
    unsigned how = fuzz_u8(&w->g.in);

    request(w, (struct ioreq){.type = IOREQ_TYPE_PIO,
                              .dir = how & 1,
                              .addr = port,
                              .size = 1u << (how >> 1) % 3,
                              .count = 1,
                              .data = fuzz_uint(&w->g.in, 1u << (how >> 1) % 3)});
}

static void op_mmio(struct world *w)
{
    uint64_t address = some_address(w);
    unsigned how = fuzz_u8(&w->g.in);

    request(w, (struct ioreq){.type = IOREQ_TYPE_COPY,
                              .dir = how & 1,
                              .addr = address,
                              .size = 1u << (how >> 1 & 3),
                              .count = 1,
                              .data = fuzz_uint(&w->g.in, 1u << (how >> 1 & 3))});
}

static void op_config(struct world *w)
{
    uint64_t devfn = some_devfn(w);
    unsigned reg = fuzz_u8(&w->g.in), how = fuzz_u8(&w->g.in);
    uint32_t value = (uint32_t)fuzz_uint(&w->g.in, 4);

    if (how & 0x80) {
        static const uint8_t often[] = {0x04, 0x10, 0x14, 0x18, 0x20, 0x30,
                                        0x40, 0x60, 0x80, 0x90, 0xd2, 0x3c};

        reg = often[reg % sizeof(often)];
    }
    if (how & 0x40) {
        value = value % 2 ? 0xffffffff : (value & 0xff) << 24 | (value & 0x700);
    }
    request(w, (struct ioreq){.type = IOREQ_TYPE_PCI_CONFIG,
                              .dir = how & 1,
                              .addr = devfn << 32 | reg,
                              .size = 1u << (how >> 1) % 3,
                              .count = 1,
                              .data = value});
}

static void op_string(struct world *w)
{
    unsigned how = fuzz_u8(&w->g.in);
    bool pio = how & 1;
    struct ioreq r = {
        .type = pio ? IOREQ_TYPE_PIO : IOREQ_TYPE_COPY,
        .dir = how >> 1 & 1,
        .df = how >> 2 & 1,
        .data_is_ptr = (how >> 3 & 3) != 0,
        .size = 1u << (how >> 5) % (pio ? 3 : 4),
        .count = (uint32_t)fuzz_uint(&w->g.in, 2) % 700,
    };

    r.addr = pio ? some_port(w) : some_address(w);
    r.data = guest_some_memory(&w->g);
    if (how >> 3 & 1 && how & 0x80) {
        r.count = 4096;
    }
    request(w, r);
}

/* Whatever the page says. */
static void op_raw(struct world *w)
{
    unsigned vcpu = fuzz_u8(&w->g.in) % VCPUS;

    fuzz_bytes(&w->g.in, &w->slot[vcpu], sizeof(w->slot[vcpu]));
    serve(w, vcpu);
}

static void op_ring(struct world *w)
{
    unsigned how = fuzz_u8(&w->g.in), n = fuzz_u8(&w->g.in) % 8;

    if (how > 240) {
        w->ring->read_pointer = (uint32_t)fuzz_uint(&w->g.in, 4);
        w->ring->write_pointer = (uint32_t)fuzz_uint(&w->g.in, 4);
    }
    for (unsigned i = 0; i < n; i++) {
        fuzz_bytes(&w->g.in,
                   &w->ring->buf_ioreq[(w->ring->write_pointer + i) % IOREQ_BUFFER_SLOT_NUM],
                   sizeof(struct buf_ioreq));
    }
    w->ring->write_pointer += n;
    ioreq_core_drain(&w->core);
}

/* ---- the outside ---- */

static void op_host(struct world *w)
{
    unsigned how = fuzz_u8(&w->g.in);

    if (how & 1) {
        board_vcpu_online(w->g.m, how >> 4);
    } else {
        fake_guestmem_hole(w->g.m->memory, fuzz_uint(&w->g.in, 2) & ~0xfffu, 0x1000);
    }
}

static void stop(struct world *w)
{
    if (!w->stopped) {
        w->core.deadline = ioreq_now_ns() + NS_PER_MS;
        ioreq_core_poll(&w->core, UINT32_MAX);
        w->core.deadline = 0;
        ioreq_core_drain(&w->core);
        w->core.hold = true;
        ioreq_core_park(&w->core);
        machine_stop(w->g.m);
        w->stopped = true;
    }
    guest_drain(&w->g);
    guest_settle(&w->g);
    if (machine_busy(w->g.m)) {
        g_error("busy without a request");
    }
}

static void start(struct world *w)
{
    machine_start(w->g.m);
    w->core.hold = false;
    w->stopped = false;
}

static void end_machine(struct world *w)
{
    struct machine *m = w->g.m;

    guest_settle(&w->g);
    m->holds.released = NULL;
    guest_unwatch(&w->g);
    board_free(m);
    fake_machine_free(m);
}

/*
 * To a new machine that goes on; it has to take the state, and to say the same. A damaged stream it
 * takes or refuses; if so it is as before and takes the good one.
 */
static void migrate(struct world *w, bool damaged)
{
    GByteArray *saved = g_byte_array_new(), *again = g_byte_array_new();
    struct machine *old = w->g.m;
    uint64_t gfn = old->hv->vram_gfn;
    size_t pages = old->hv->vram_pages;
    g_autofree uint8_t *memory = g_malloc(0x20000);
    g_autofree uint8_t *vram = g_steal_pointer(&old->hv->vram);
    GError *err = NULL;

    stop(w);
    if (machine_save(old, saved, &err) < 0) {
        g_error("not saved: %s", err->message);
    }
    if (guestmem_read(old->memory, 0, memory, 0x20000) < 0) {
        memset(memory, 0, 0x20000);
    }
    end_machine(w);
    build(w, true);
    guestmem_write(w->g.m->memory, 0, memory, 0x20000);
    w->g.m->hv->vram = g_steal_pointer(&vram);
    w->g.m->hv->vram_gfn = gfn;
    w->g.m->hv->vram_pages = pages;
    if (damaged) {
        GByteArray *bad = g_byte_array_new();

        g_byte_array_append(bad, saved->data, saved->len);
        guest_damage_state(&w->g, bad);
        damaged = machine_load(w->g.m, bad->data, bad->len, &err) == 0;
        w->hostile |= damaged;
        if (!damaged && (!err || !err->message[0])) {
            g_error("refused without a word");
        }
        g_clear_error(&err);
        g_byte_array_free(bad, TRUE);
    }
    if (!damaged && machine_load(w->g.m, saved->data, saved->len, &err) < 0) {
        if (!w->hostile) {
            g_error("not loaded: %s", err->message);
        }
        g_clear_error(&err);
    }
    if (machine_save(w->g.m, again, &err) < 0) {
        g_error("not saved again: %s", err->message);
    }
    if (!w->hostile &&
        (saved->len != again->len || memcmp(saved->data, again->data, saved->len) != 0)) {
        g_file_set_contents("crash-state-1", (const char *)saved->data, saved->len, NULL);
        g_file_set_contents("crash-state-2", (const char *)again->data, again->len, NULL);
        g_error("saved again it is another state: xendmctl state diff crash-state-1 crash-state-2");
    }
    g_byte_array_free(saved, TRUE);
    g_byte_array_free(again, TRUE);
    start(w);
}

static void op_life(struct world *w)
{
    unsigned how = fuzz_u8(&w->g.in);

    switch (how % 16) {
    case 0:
        machine_reset(w->g.m, RESET_WAKEUP);
        break;
    case 1:
        machine_wakeup(w->g.m, NULL);
        break;
    case 2:
    case 3:
        stop(w);
        break;
    case 4:
    case 5:
    case 6:
        start(w);
        break;
    case 7:
        migrate(w, false);
        break;
    case 9:
        migrate(w, true);
        break;
    case 8:
        guest_describe(&w->g);
        break;
    default:
        fake_clock_step(w->g.m, (int64_t)fuzz_uint(&w->g.in, 2) * NS_PER_US << (how >> 4));
        break;
    }
}

static void op_boot(struct world *w)
{
    boot(w->g.m);
}

/* Either the board's own or a driver's; how often a line stands here is how often it is tried. */
static const struct {
    void (*board)(struct world *w);
    void (*guest)(struct fuzz_guest *g);
} ops[] = {
    {.board = op_pio},           {.board = op_pio},       {.board = op_pio},
    {.board = op_pio},           {.board = op_mmio},      {.board = op_mmio},
    {.board = op_mmio},          {.board = op_config},    {.board = op_config},
    {.board = op_string},        {.board = op_string},    {.board = op_raw},
    {.board = op_ring},          {.board = op_host},      {.board = op_life},
    {.board = op_boot},          {.guest = guest_memory}, {.guest = guest_ata},
    {.guest = guest_ata},        {.guest = guest_ata},    {.guest = guest_bus_master},
    {.guest = guest_bus_master}, {.guest = guest_vbe},    {.guest = guest_vga},
    {.guest = guest_look},       {.guest = guest_disk},   {.guest = guest_disk},
    {.guest = guest_disk},       {.guest = guest_medium}, {.guest = guest_keys},
    {.guest = guest_serial},
};

static void one_op(struct world *w)
{
    unsigned which = fuzz_u8(&w->g.in) % G_N_ELEMENTS(ops);

    if (ops[which].board) {
        ops[which].board(w);
    } else {
        ops[which].guest(&w->g);
    }
}

void fuzz_choose(unsigned target)
{
}

uint64_t fuzz_steps;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world *w = NULL;
    unsigned flags;

    guest_firmware();
    log_set_level("all", "error");
    if (posix_memalign((void **)&w, 4096, sizeof(*w)) != 0) {
        abort();
    }
    memset(w, 0, sizeof(*w));
    w->g.in = (struct fuzz_input){data, size};
    w->g.out = pio_write;
    w->g.get = pio_read;
    flags = fuzz_u8(&w->g.in);
    describe(w, flags);
    if (posix_memalign((void **)&w->ring, 4096, 4096) != 0) {
        abort();
    }
    memset(w->ring, 0, 4096);
    w->core.slot = w->slot;
    w->core.ring = w->ring;
    w->core.vcpus = VCPUS;
    w->core.notify = on_notify;
    build(w, false);
    start(w);
    if (flags & 0x80) {
        boot(w->g.m);
    }
    for (unsigned n = 0; w->g.in.left > 0 && n < OPS_MAX; n++) {
        one_op(w);
    }
    if (flags & 0x40) {
        migrate(w, flags & 0x10);
    }
    guest_drain(&w->g);
    end_machine(w);
    backend_set_free(w->backends);
    g_ptr_array_unref(w->desc.objects);
    g_free(w->desc.boot_order);
    ioreq_core_clear(&w->core);
    free(w->ring);
    free(w);
    return 0;
}

void fuzz_generate(GRand *rand, GByteArray *out)
{
    static bool first = true;
    unsigned len = 64 + g_rand_int(rand) % INPUT_MAX;

    if (first) {
        first = false;
        guest_firmware();
        atexit(report_turns);
    }
    g_byte_array_set_size(out, len);
    for (unsigned i = 0; i < len; i++) {
        out->data[i] = (uint8_t)g_rand_int(rand);
    }
    out->data[0] |= 0x80;
}
