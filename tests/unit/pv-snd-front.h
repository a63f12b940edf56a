/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Toolstack and front end of a PV sound card, for its unit test: one request at a time, on fakes.
 * The clock is the test's; the ear is fake-audio.c.
 */
#ifndef XENDM_TEST_PV_SND_FRONT_H
#define XENDM_TEST_PV_SND_FRONT_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/sndif.h>

#include "fake-audio.h"
#include "fake-pv.h"

#define BACK "/local/domain/0/backend/vsnd/7/0"
#define FRONT "/local/domain/7/device/vsnd/0"
#define RING(n) (1 + 2 * (n)) /* references */
#define EVENTS(n) (2 + 2 * (n))
#define PORT(n) (5 + 2 * (n)) /* that of events is the next */
#define DIRECTORY 90u
#define DATA 100u
#define PAGES 16u
#define STREAMS 4u /* that a test has at most */

struct world {
    struct pv_host host;
    struct pv_bus *bus;
    struct audio *ear;
    uint32_t prod[STREAMS], seen[STREAMS]; /* requests, events */
    uint16_t id;
};

extern gint64 now_us;

void set(struct world *w, const char *path, const char *value);
void set_front(struct world *w, const char *key, const char *value);
void expect(struct world *w, const char *path, const char *value);
struct audio *add_ear(struct world *w, const char *id);
void toolstack_adds(struct world *w);
void front_state(struct world *w, const char *state);
void publish(struct world *w, unsigned n, const char *stream);
void prepare_buffer(void);
void front_connects(struct world *w);
struct world *world_of(const char *ear);
struct world *world_new(void);
void world_free(struct world *w);
uint32_t *index_of(unsigned n, unsigned which);
void put(struct world *w, unsigned n, struct xensnd_req r);
void ring_bell(unsigned n);
struct xensnd_resp answer(struct world *w, unsigned n, uint32_t back);
struct xensnd_resp ask_for(struct world *w, unsigned n, struct xensnd_req r);
int ask(struct world *w, unsigned n, struct xensnd_req r);
struct xensnd_req open_req(unsigned format, unsigned channels, uint32_t rate, uint32_t buffer,
                           uint32_t period);
struct xensnd_req rw(unsigned operation, uint32_t offset, uint32_t length);
struct xensnd_req trigger(unsigned type);
uint8_t *buffer(void);
void pass(double ms);
uint64_t event(struct world *w, unsigned n);
bool no_event(struct world *w, unsigned n);
void heard(struct world *w, unsigned samples, int16_t first);
void ramp(unsigned offset, unsigned samples, int16_t first);

#define START trigger(XENSND_OP_TRIGGER_START)
#define STOP trigger(XENSND_OP_TRIGGER_STOP)
#define WRITE(offset, length) rw(XENSND_OP_WRITE, offset, length)
#define READ(offset, length) rw(XENSND_OP_READ, offset, length)
#define CLOSE rw(XENSND_OP_CLOSE, 0, 0)
/* 48 frames a millisecond, of four octets; 1024 frames in the buffer, 256 in a period. */
#define ORDINARY open_req(XENSND_PCM_FORMAT_S16_LE, 2, 48000, 4096, 1024)

#endif
