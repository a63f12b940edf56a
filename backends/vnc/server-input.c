/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A viewer's keys and pointer. Keys come by symbol, or, where the viewer can ("QEMU Extended Key
 * Event", pseudo encoding -258), by the number that its keyboard gave them, which needs no layout.
 * The pointer comes by place; where the guest has no absolute device, as movement from the place
 * before, or as the viewer's own ("QEMU Pointer Motion Change", -257).
 *
 * Source: the RFB protocol, community version (github.com/rfbproto/rfbproto), 7.5.4 to 7.5.6, 7.7.
 */
#include <string.h>

#include <linux/input-event-codes.h>

#include <xendm/bytes.h>
#include <xendm/input.h>

#include "server.h"

#define ENCODING_POINTER_CHANGE (-257)
#define ENCODING_EXTENDED_KEY (-258)

static void send_key(unsigned code, bool down)
{
    struct vnc_message m = {.kind = VNC_KEY, .key = {code, down}};

    if (code) {
        server_tell(&m, VNC_SIZE(key));
        server_hurry();
    }
}

/*
 * A symbol that needs a modifier which the viewer does not hold (it types for a program, or has
 * another layout), or that must not have the one it holds: changed for this key.
 */
static void send_with(struct keymap_key key)
{
    bool shift = key.levels && key.shift != server.shift;
    bool altgr = key.levels && key.altgr != server.altgr;

    if (shift) {
        send_key(KEY_LEFTSHIFT, key.shift);
    }
    if (altgr) {
        send_key(KEY_RIGHTALT, key.altgr);
    }
    send_key(key.code, true);
    if (altgr) {
        send_key(KEY_RIGHTALT, server.altgr);
    }
    if (shift) {
        send_key(KEY_LEFTSHIFT, server.shift);
    }
}

/* With Caps Lock on the guest turns letters round by itself. */
static bool is_letter(rfbKeySym symbol)
{
    return (symbol >= 'a' && symbol <= 'z') || (symbol >= 'A' && symbol <= 'Z');
}

static void on_key(rfbBool down, rfbKeySym symbol, rfbClientPtr client)
{
    struct keymap_key key = keymap_find(server.keymap, symbol);

    if (key.code == KEY_LEFTSHIFT || key.code == KEY_RIGHTSHIFT) {
        server.shift = down;
    } else if (key.code == KEY_RIGHTALT) {
        server.altgr = down;
    }
    if (is_letter(symbol) && (server.start.start.leds & 4)) {
        key.levels = false;
    }
    if (down) {
        send_with(key);
    } else {
        send_key(key.code, false);
    }
}

/* Buttons 4 and 5 are the wheel's steps. */
static void send_pointer(int x, int y, bool absolute, int mask)
{
    struct vnc_message m = {.kind = VNC_POINTER};
    uint32_t buttons = (uint32_t)mask & 7;
    int up = (mask >> 3 & 1) && !(server.buttons >> 3 & 1);
    int down = (mask >> 4 & 1) && !(server.buttons >> 4 & 1);

    m.pointer.x = x;
    m.pointer.y = y;
    m.pointer.absolute = absolute;
    m.pointer.buttons = buttons;
    m.pointer.wheel = up - down;
    server.buttons = (uint32_t)mask;
    server_tell(&m, VNC_SIZE(pointer));
    server_hurry();
}

static void on_pointer(int mask, int x, int y, rfbClientPtr client)
{
    int width = server.screen->width, height = server.screen->height;

    if (server.absolute) {
        x = width > 1 ? x * INPUT_ABS_MAX / (width - 1) : 0;
        y = height > 1 ? y * INPUT_ABS_MAX / (height - 1) : 0;
        send_pointer(x, y, true, mask);
        return;
    }
    if (server.relative_ok) {
        send_pointer(x - 0x7fff, y - 0x7fff, false, mask);
        return;
    }
    send_pointer(server.last_known ? x - server.last_x : 0,
                 server.last_known ? y - server.last_y : 0, false, mask);
    server.last_x = x;
    server.last_y = y;
    server.last_known = true;
}

/* ---- extensions ---- */

/* An update of one pseudo rectangle, which says that we can, or how it is. */
static void send_pseudo(rfbClientPtr client, unsigned x, int encoding)
{
    uint8_t m[16] = {0}; /* type 0, padding, one rectangle */

    store_be16(m + 2, 1);
    store_be16(m + 4, x);
    store_be16(m + 8, (unsigned)server.screen->width);
    store_be16(m + 10, (unsigned)server.screen->height);
    store_be16(m + 12, (uint32_t)encoding >> 16);
    store_be16(m + 14, (uint32_t)encoding & 0xffff);
    if (rfbWriteExact(client, (char *)m, sizeof(m)) < 0) {
        rfbCloseClient(client);
    }
}

static rfbBool enable_encoding(rfbClientPtr client, void **data, int encoding)
{
    if (encoding == ENCODING_POINTER_CHANGE) {
        server.relative_ok = true;
        send_pseudo(client, server.absolute, encoding);
        return TRUE;
    }
    if (encoding == ENCODING_EXTENDED_KEY) {
        send_pseudo(client, 0, encoding);
        return TRUE;
    }
    return FALSE;
}

/* Type 255; of its kinds 0 is a key (7.5.6), the others were not offered. */
static rfbBool handle_message(rfbClientPtr client, void *data, const rfbClientToServerMsg *m)
{
    uint8_t rest[11];

    if (m->type != rfbQemuEvent) {
        return FALSE;
    }
    if (rfbReadExact(client, (char *)rest, sizeof(rest)) <= 0 || rest[0] != 0) {
        rfbCloseClient(client);
        return TRUE;
    }
    uint32_t xt = load_be32(rest + 7);
    if ((xt & 0xff00) == 0xe000) {
        xt = (xt & 0x7f) | 0x80; /* some viewers write the prefix out */
    }
    send_key(keymap_from_xt(xt), rest[1] || rest[2]);
    return TRUE;
}

static int pseudo_encodings[] = {ENCODING_POINTER_CHANGE, ENCODING_EXTENDED_KEY, 0};

static rfbBool new_client(rfbClientPtr client, void **data)
{
    return TRUE;
}

static rfbProtocolExtension extension = {
    .newClient = new_client,
    .pseudoEncodings = pseudo_encodings,
    .enablePseudoEncoding = enable_encoding,
    .handleMessage = handle_message,
};

void input_set_absolute(bool absolute)
{
    if (absolute == server.absolute) {
        return;
    }
    server.absolute = absolute;
    server.last_known = false;
    if (server.relative_ok && server.client) {
        send_pseudo(server.client, absolute, ENCODING_POINTER_CHANGE);
    }
}

void input_init(void)
{
    server.screen->kbdAddEvent = on_key;
    server.screen->ptrAddEvent = on_pointer;
    rfbRegisterProtocolExtension(&extension);
}
