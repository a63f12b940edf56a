/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A driver for xHCI, as small as can be: what the tests of the controller share. */
#ifndef XENDM_TEST_XHCI_FIXTURE_H
#define XENDM_TEST_XHCI_FIXTURE_H

#include <xendm/bytes.h>
#include <xendm/classes.h>
#include <xendm/pci.h>

#include "fake-block.h"
#include "usb-fixture.h"

#define DEVFN PCI_DEVFN(5, 0)
#define BAR UINT64_C(0xf0000000)
#define USBCMD 0x40u
#define USBSTS 0x44u
#define CRCR 0x58u
#define DCBAAP 0x70u
#define CONFIG 0x78u
#define PORTSC(n) (0x440u + 16u * ((n)-1))
#define IMAN 0x1020u
#define ERSTSZ 0x1028u
#define ERSTBA 0x1030u
#define ERDP 0x1038u
#define DOORBELL(slot) (0x2000u + 4u * (slot))

/* Ports of the default: four of USB 3, then four of USB 2. */
#define FIRST2 5u

#define DCBAA 0x10000u
#define ERST 0x12000u
#define EVENTS 0x13000u
#define INPUT 0x15000u
#define OUTPUT(slot) (0x20000u + 0x1000u * (slot))
#define RING(slot, dci) (0x100000u + 0x400u * (32u * (slot) + (dci))) /* 0, 0: commands */
#define RING_TRBS 64u
#define DATA 0x400000u

#define CYCLE 1u
#define TOGGLE 2u
#define ISP 4u
#define CHAIN 0x10u
#define IOC 0x20u
#define IDT 0x40u
#define BEI 0x200u
#define IN 0x10000u
#define TYPE(t) ((uint32_t)(t) << 10)
enum { NORMAL = 1, SETUP, STAGE_DATA, STAGE_STATUS, LINK = 6, EVENT_DATA, NOOP };
enum { ENABLE = 9, DISABLE, ADDRESS, CONFIGURE, EVALUATE, RESET_EP, STOP_EP, SET_DEQ, RESET_DEV };
#define FOR(slot, dci) ((uint32_t)(slot) << 24 | (uint32_t)(dci) << 16)

struct event {
    uint64_t parameter;
    uint32_t status, control;
};
#define CODE(e) ((e).status >> 24)
#define LEFT(e) ((e).status & 0xffffff)
#define EVENT_TYPE(e) ((e).control >> 10 & 63)

struct bench {
    struct machine *m;
    struct device *hc;
    struct block *block;
    struct usb_device *tablet, *hub, *mouse, *stick;
    unsigned at[65][32]; /* of each ring: the next TRB */
    bool cycle[65][32];  /* … and the bit that makes it valid, inverted */
    unsigned size, event_at;
    bool event_cycle;
};

struct bench bench_new(void);  /* a tablet in 1, a stick in 2, a hub in 3 with a mouse: it runs */
struct bench bench_bare(void); /* the same, and nothing of it was written yet */
void bench_free(struct bench *b);
void bench_start(struct bench *b, unsigned event_trbs);
void settle(struct bench *b); /* what goes on in later turns */

uint32_t rd(struct bench *b, unsigned reg);
void wr(struct bench *b, unsigned reg, uint32_t value);
uint8_t *mem(struct bench *b, uint64_t at);
void put_trb(struct bench *b, uint64_t at, uint64_t parameter, uint32_t status, uint32_t control);
/* Puts one at the end of a ring; returns where. */
uint64_t push(struct bench *b, unsigned slot, unsigned dci, uint64_t parameter, uint32_t status,
              uint32_t control);
void ring_reset(struct bench *b, unsigned slot, unsigned dci);
void ring(struct bench *b, unsigned slot, unsigned dci); /* the doorbell, and what follows */

bool peek_event(struct bench *b, struct event *e); /* and leaves it */
bool next_event(struct bench *b, struct event *e); /* and tells the controller */
struct event want_event(struct bench *b, unsigned type, unsigned code);
void no_event(struct bench *b);

/* A command, run; its completion code. */
unsigned command(struct bench *b, uint64_t parameter, uint32_t control);
struct event command_event(struct bench *b, uint64_t parameter, uint32_t control);
/* An input context: what to add besides the slot, of the device in that port. */
void put_input(struct bench *b, uint32_t drop, uint32_t add, unsigned port, uint32_t route);
void put_endpoint(struct bench *b, unsigned slot, unsigned dci, unsigned type, unsigned packet,
                  unsigned interval);
unsigned output_state(struct bench *b, unsigned slot, unsigned dci);
void reset_port(struct bench *b, unsigned port);
/* Reset, slot, address; returns the slot. */
unsigned attach_device(struct bench *b, unsigned port, uint32_t route);
/* … and SET_CONFIGURATION, and its endpoints: of the stick, or a HID or hub's. */
unsigned attach_hid(struct bench *b, unsigned port, uint32_t route);
unsigned attach_stick(struct bench *b);
/* A control transfer; the code of its first event that is no success. */
unsigned control(struct bench *b, unsigned slot, uint8_t type, uint8_t request, uint16_t value,
                 uint16_t index, uint64_t data, uint16_t length);
/* A command block of the stick's, queued and rung. */
void put_cbw(struct bench *b, uint64_t at, uint32_t length, bool in, uint8_t op, uint32_t lba,
             uint16_t count);

#endif
