/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Replay; see tape.h. A source of the main loop gives the machine one event after the other, at the
 * recorded times of the virtual clock. Work that devices left for a later turn is done by their own
 * sources, when it is its turn on the tape. A recording may say anything: what makes no sense ends
 * the replay.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xendm/aspace.h>
#include <xendm/backend.h>
#include <xendm/block.h>
#include <xendm/chardev.h>
#include <xendm/error.h>
#include <xendm/input.h>
#include <xendm/machine.h>
#include <xendm/net.h>
#include <xendm/p9.h>
#include <xendm/pci.h>
#include <xendm/tape.h>
#include <xendm/turn.h>

#include "tape.h"

#define EVENTS_A_TURN 256u
#define WAITS_MAX 100000u /* turns for a device to go on */
#define STRING_BYTES_MAX 32768u
#define PIO_LAST 0xffffu

struct replay {
    GSource source;
    struct machine *m;
    GByteArray *tape;
    bool trap;
    unsigned waits;
    uint64_t number;   /* of the event's entry */
    char *event;       /* the last one, as text */
    const char *owner; /* the device it was for, or NULL */
};

static struct replay *replay;

/* ---- its end ---- */

static void __attribute__((noreturn)) leave(int status)
{
    fflush(stdout);
    _exit(status);
}

static void __attribute__((noreturn)) differs(void *opaque, const char *expected, const char *got)
{
    const struct replay *r = replay;

    printf("replay: entry %" PRIu64 " differs, in event %" PRIu64 ": %s%s%s%s\n"
           "  recorded: %s\n"
           "  now:      %s\n",
           tape_entries() + 1, r->number, r->event ? r->event : "(none)", r->owner ? " (" : "",
           r->owner ? r->owner : "", r->owner ? ")" : "", expected, got);
    fflush(stdout);
    if (r->trap) {
        raise(SIGTRAP);
    }
    leave(REPLAY_DIFFERS);
}

static void __attribute__((noreturn)) ended(void *opaque)
{
    printf("replay: %" PRIu64 " entries, all as recorded\n", tape_entries());
    leave(0);
}

/* ---- events ---- */

static bool size_is_good(uint64_t size, unsigned most)
{
    return size == 1 || size == 2 || size == 4 || (size == 8 && most == 8);
}

static void access_check(bool good)
{
    if (!good) {
        tape_cannot("an access that makes no sense");
    }
}

static const char *owner_of(const struct region *r)
{
    return r && r->owner ? r->owner->id : NULL;
}

static void answer(struct aspace *as, uint64_t addr, unsigned size, uint64_t value)
{
    bool payload = as && aspace_is_payload(as, addr, size);

    value &= size == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * size) - 1;
    tape_fact(payload ? TAPE_PAYLOAD_ANSWER : TAPE_ANSWER, NULL, &value, NULL, 0);
}

static void play_space(struct aspace *as, const struct tape_entry *e, bool write)
{
    unsigned size = (unsigned)e->number[2];

    access_check(size_is_good(e->number[2], as == replay->m->mmio ? 8 : 4) &&
                 (as == replay->m->mmio || e->number[1] <= PIO_LAST + 1 - size));
    replay->owner = owner_of(aspace_find(as, e->number[1]));
    if (write) {
        aspace_write(as, e->number[1], e->number[3], size);
    } else {
        answer(as, e->number[1], size, aspace_read(as, e->number[1], size));
    }
}

static void play_config(const struct tape_entry *e, bool write)
{
    struct pci_bus *bus = replay->m->pci;
    unsigned size = (unsigned)e->number[3], devfn = (unsigned)e->number[1];
    unsigned reg = (unsigned)e->number[2];
    bool there = e->number[1] <= 0xff && size_is_good(e->number[3], 4) &&
                 e->number[2] <= PCI_CONFIG_SIZE - e->number[3];
    const struct pci_device *pci = there ? pci_device_at(bus, (uint8_t)devfn) : NULL;

    access_check(size_is_good(e->number[3], 4));
    replay->owner = pci ? pci->dev.id : NULL;
    if (write && there) {
        pci_config_write(bus, devfn, reg, (uint32_t)e->number[4], size);
    } else if (!write) {
        answer(NULL, 0, size, there ? pci_config_read(bus, devfn, reg, size) : UINT32_MAX);
    }
}

static void play_units(const struct tape_entry *e, bool read)
{
    struct aspace *pio = replay->m->pio;
    unsigned size = (unsigned)e->number[2];
    bool good = size_is_good(e->number[2], 4) && e->number[1] <= PIO_LAST + 1 - size &&
                e->number[3] > 0 && e->number[3] <= STRING_BYTES_MAX / size &&
                (read || e->len == e->number[3] * size);
    g_autofree uint8_t *buf = NULL;
    uint64_t done;

    access_check(good);
    buf = g_malloc0((gsize)e->number[3] * size);
    replay->owner = owner_of(aspace_find(pio, e->number[1]));
    if (!read && e->data) {
        memcpy(buf, e->data, e->len);
    }
    done = read ? aspace_read_block(pio, e->number[1], buf, size, (size_t)e->number[3])
                : aspace_write_block(pio, e->number[1], buf, size, (size_t)e->number[3]);
    tape_fact(TAPE_UNITS, NULL, &done, buf, read ? (size_t)done * size : 0);
}

static void play_char(const struct tape_entry *e)
{
    struct backend *b = backend_find(replay->m->backends, BACKEND_CHAR, e->text);
    g_autofree uint8_t *bytes = g_malloc0(e->len + 1);

    if (!b) {
        tape_cannot("there is no such character device");
    }
    if (e->data) {
        memcpy(bytes, e->data, e->len);
    }
    switch (e->kind) {
    case TAPE_CHAR_IN:
        if (!chardev_play_input(chardev_of(b), bytes, e->len)) {
            tape_cannot("the device has no room for these bytes");
        }
        break;
    case TAPE_CHAR_ASK:
        chardev_play_ask(chardev_of(b));
        break;
    case TAPE_CHAR_EVENT:
        chardev_play_event(chardev_of(b), (enum chardev_event)e->number[0]);
        break;
    default:
        chardev_play_room(chardev_of(b));
        break;
    }
}

static void play_net(const struct tape_entry *e)
{
    struct backend *b = backend_find(replay->m->backends, BACKEND_NET, e->text);

    if (!b || !net_play((struct net *)b, e)) {
        tape_cannot("there is no card at such a network, or this is no frame");
    }
}

static void play_directory(const struct tape_entry *e)
{
    struct backend *b = backend_find(replay->m->backends, BACKEND_FSDEV, e->text);

    if (!b || !p9_mount_play(p9_share_mount((struct p9_share *)b), e)) {
        tape_cannot("no such message was sent to such a directory");
    }
}

static void play_input(struct input *in, const struct tape_entry *e)
{
    unsigned codes[INPUT_COMBINATION_MAX] = {0},
             n = (unsigned)MIN(e->len / sizeof(codes[0]), INPUT_COMBINATION_MAX);

    switch (e->kind) {
    case TAPE_KEY:
        input_key(in, (unsigned)e->number[0], e->number[1]);
        break;
    case TAPE_KEYS:
        if (e->data) {
            memcpy(codes, e->data, n * sizeof(codes[0]));
        }
        input_press_keys(in, codes, n, (unsigned)e->number[0]);
        break;
    case TAPE_RELATIVE:
        input_relative(in, (int)e->number[0], (int)e->number[1], (int)e->number[2]);
        break;
    case TAPE_ABSOLUTE:
        input_absolute(in, (int)e->number[0], (int)e->number[1]);
        break;
    case TAPE_BUTTON:
        input_button(in, (unsigned)e->number[0], e->number[1]);
        break;
    default:
        input_sync(in);
        break;
    }
}

static void play(const struct tape_entry *e)
{
    struct machine *m = replay->m;

    switch (e->kind) {
    case TAPE_START:
        machine_start(m);
        break;
    case TAPE_STOP:
        machine_stop(m);
        break;
    case TAPE_PIO_READ:
    case TAPE_PIO_WRITE:
    case TAPE_PIO_PAYLOAD:
        play_space(m->pio, e, e->kind != TAPE_PIO_READ);
        break;
    case TAPE_MMIO_READ:
    case TAPE_MMIO_WRITE:
    case TAPE_MMIO_PAYLOAD:
        play_space(m->mmio, e, e->kind != TAPE_MMIO_READ);
        break;
    case TAPE_CFG_READ:
    case TAPE_CFG_WRITE:
        play_config(e, e->kind == TAPE_CFG_WRITE);
        break;
    case TAPE_PIO_IN:
    case TAPE_PIO_OUT:
        play_units(e, e->kind == TAPE_PIO_IN);
        break;
    case TAPE_TIMERS:
        vclock_run(m->clock);
        break;
    case TAPE_BLOCK_DONE:
        if (!block_play_done(e->number[0], -(int)MIN(e->number[1], TAPE_ERRNO_MAX), e->data,
                             e->len)) {
            tape_cannot("the machine has no such request in flight");
        }
        break;
    case TAPE_CHAR_IN:
    case TAPE_CHAR_ASK:
    case TAPE_CHAR_EVENT:
    case TAPE_CHAR_ROOM:
        play_char(e);
        break;
    case TAPE_NET_ASK:
    case TAPE_NET_IN:
    case TAPE_NET_SENT:
    case TAPE_NET_LINK:
        play_net(e);
        break;
    case TAPE_P9_DONE:
        play_directory(e);
        break;
    default:
        play_input(m->input, e);
        break;
    }
}

/* ---- the source ---- */

static gboolean prepare(GSource *source, gint *timeout)
{
    *timeout = 0;
    return TRUE;
}

static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
    struct replay *r = replay;
    struct tape_entry e;

    turn_of("replay");
    for (unsigned i = 0; i < EVENTS_A_TURN; i++) {
        tape_next_event(&e);
        if (r->number != tape_entries() + 1) {
            r->number = tape_entries() + 1;
            g_free(r->event);
            r->event = tape_entry_text(&e);
            r->owner = NULL;
            r->waits = 0;
        }
        if (e.kind == TAPE_GOES_ON) {
            if (r->waits++ == WAITS_MAX) {
                tape_cannot("the device has nothing left to do");
            }
            break; /* its own source is next */
        }
        tape_take_event();
        play(&e);
        tape_end_event();
    }
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs funcs = {.prepare = prepare, .dispatch = dispatch};

static GByteArray *read_all(int fd, GError **err)
{
    GByteArray *all = g_byte_array_new();
    uint8_t buf[65536];
    ssize_t n;

    while ((n = read(fd, buf, sizeof(buf))) != 0) {
        if (n > 0) {
            g_byte_array_append(all, buf, (guint)n);
        } else if (errno != EINTR) {
            g_set_error(err, XENDM_ERROR, errno, "cannot read the recording: %s",
                        g_strerror(errno));
            g_byte_array_unref(all);
            return NULL;
        }
    }
    close(fd);
    return all;
}

static void freeze(void *opaque, int64_t at)
{
    vclock_freeze(((struct machine *)opaque)->clock, at);
}

int replay_begin(struct machine *m, int fd, bool trap, GError **err)
{
    GByteArray *all;
    struct tape_player player;

    if (!m) {
        g_set_error(err, XENDM_ERROR, ENODEV, "there is no machine to replay a recording");
        return -ENODEV;
    }
    all = read_all(fd, err);
    if (!all) {
        return -EIO;
    }
    replay = (struct replay *)g_source_new(&funcs, sizeof(struct replay));
    replay->m = m;
    replay->tape = all;
    replay->trap = trap;
    player = (struct tape_player){
        .freeze = freeze,
        .data = all->data,
        .len = all->len,
        .differs = differs,
        .ended = ended,
        .opaque = m,
    };
    block_tape_begin();
    tape_play(&player);
    g_source_set_priority(&replay->source, G_PRIORITY_DEFAULT);
    g_source_attach(&replay->source, NULL);
    return 0;
}
