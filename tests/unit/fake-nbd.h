/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An image server and its keeper, in place of libnbd (nbd_api_load()) and of xendm-image, for tests
 * of backends/block/nbd.c and nbd-link.c: what the server has is a function of the place, what it
 * says are bytes on a socket, and each call of libnbd's fails by a plan. The clock is the test's.
 */
#ifndef XENDM_TEST_FAKE_NBD_H
#define XENDM_TEST_FAKE_NBD_H

#include <stdbool.h>
#include <stdint.h>

#include <xendm/block.h>

#define FAKE_NBD_SIZE (4u << 20)

/* ---- what fails ---- */

enum fake_nbd_call {
    FAKE_NBD_CREATE,
    FAKE_NBD_NAME,
    FAKE_NBD_CONNECT,
    FAKE_NBD_COMMAND, /* is not taken */
    FAKE_NBD_ANSWER,  /* the server's, with the plan's error */
    FAKE_NBD_SHAKE,   /* the server hangs up in the handshake */
    FAKE_NBD_KEEPER,  /* says FAILED */
    FAKE_NBD_NO_FD,   /* the keeper's descriptor could not be taken: EMFILE */
    FAKE_NBD_SILENCE, /* the keeper does not answer */
    FAKE_NBD_SEND,    /* send(2) to the keeper */
    FAKE_NBD_RECEIVE, /* recvmsg(2) from it */
    FAKE_NBD_CALLS,
};

struct fake_nbd {
    int keeper;      /* our end */
    int server;      /* our end of the connection; -1: none */
    bool by_hand;    /* nothing is said by itself */
    uint32_t serial; /* of what was asked last */
    unsigned asked;
    /* the plan */
    enum fake_nbd_call call;
    int error;
    unsigned from, until; /* the so manieth call of that kind, from 1; 0: none */
    unsigned calls;       /* of that kind */
    /* of an export */
    int64_t size;
    bool read_only, can_flush, can_fua, can_trim, can_zero, multi;
};
extern struct fake_nbd fake_nbd;

/* A drive on it. */
struct block *fake_nbd_open(bool read_only);
void fake_nbd_close(struct block *b); /* nothing is in flight */

/* By hand: what the keeper and the server say. */
void fake_nbd_hear(void); /* what the keeper was asked: `serial`, `asked` */
void fake_nbd_keeper_says(uint32_t kind, uint32_t serial, int error, bool with_fd);
/* The server: 'c' has agreed, 'd' hangs up, else ends a command with an error or none. */
void fake_nbd_server_says(uint8_t what);

/* ---- the clock ---- */
void fake_nbd_time(int64_t us); /* passes */
/* Turns of the loop until nothing is ready; more than so many is a failure. */
void fake_nbd_settle(unsigned most);

uint8_t fake_nbd_byte(uint64_t at); /* of the image */

#endif
