/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What daemon, keeper and servers say to each other: datagrams (SOCK_SEQPACKET), each one of the
 * structures below, beginning with its kind; in the byte order of the host, since all three are
 * built together. A server is not trusted: the daemon checks each value that comes from one.
 *
 *   keeper → daemon   VNC_VIEWER with the server's socket
 *   daemon → server   VNC_START first, then SURFACE with a descriptor, DAMAGE, DONE …
 *   server → daemon   REFRESH, KEY, POINTER …; end of file: the viewer or its server has gone
 */
#ifndef BACKENDS_VNC_WIRE_H
#define BACKENDS_VNC_WIRE_H

#include <stdint.h>

#include <xendm/display.h>

/* Descriptors of keeper and server at their start. */
#define VNC_FD_DAEMON 3   /* the socket to the daemon */
#define VNC_FD_PROGRAM 4  /* keeper: the server's program; server: the viewer's connection */
#define VNC_FD_LISTENER 5 /* keeper: the first of those on which viewers arrive */

#define VNC_VIEWERS_MAX 16u
#define VNC_PASSWORD_MAX 8u
#define VNC_NAME_MAX 256u
#define VNC_DAMAGE_MAX 32u
#define VNC_WIRE_MAX 20480u /* the largest message, a cursor */

/* How a server ended, for the keeper: an address that guesses passwords has to wait. */
#define VNC_EXIT_OK 0
#define VNC_EXIT_AUTH 2

enum vnc_kind {
    VNC_VIEWER = 1,

    VNC_START,
    VNC_SURFACE, /* with a descriptor */
    VNC_DAMAGE,
    VNC_DONE, /* what REFRESH asked for is drawn */
    VNC_CHANGED,
    VNC_CURSOR,
    VNC_CURSOR_AT,
    VNC_POINTER_MODE,
    VNC_LEDS,

    VNC_READY, /* the viewer is past password and hello */
    VNC_REFRESH,
    VNC_KEY,
    VNC_POINTER,
    VNC_WISH,
};

struct vnc_message {
    uint32_t kind;
    union {
        struct {
            char host[64], service[32];
            uint8_t family; /* 4, 6, 0: UNIX */
            uint8_t websocket;
        } viewer;
        struct {
            char name[VNC_NAME_MAX], keymap[32];
            char password[VNC_PASSWORD_MAX + 1];
            uint8_t auth;      /* a password is asked for */
            uint8_t refuse;    /* … and none is right: not set, or over */
            uint8_t websocket; /* nothing but a browser may talk here */
            uint8_t absolute, leds;
        } start;
        struct {
            uint32_t width, height;
        } surface, wish;
        struct {
            uint32_t count;
            struct {
                uint16_t x, y, width, height;
            } rect[VNC_DAMAGE_MAX];
        } damage;
        struct {
            uint32_t present;
            struct display_cursor shape;
        } cursor;
        struct {
            int32_t x, y;
            uint32_t visible;
        } cursor_at;
        /*
         * POINTER_MODE: absolute; LEDS: bits; REFRESH: full; READY: shared; DONE: since the last
         * DONE nobody has drawn for others, and no damage was lost
         */
        uint32_t value;
        struct {
            uint32_t code; /* evdev */
            uint32_t down;
        } key;
        struct {
            int32_t x, y; /* absolute: 0..INPUT_ABS_MAX; else movement */
            uint32_t absolute;
            uint32_t buttons; /* bit 0 left, 1 middle, 2 right */
            int32_t wheel;
        } pointer;
    };
};

#define VNC_SIZE(member) (sizeof(uint32_t) + sizeof(((struct vnc_message *)0)->member))

#endif
