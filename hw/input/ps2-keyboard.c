/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PS/2 keyboard, 105 keys and the media keys, scan code sets 1 to 3.
 *
 * Sources: IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101/102-key)"; A.
 * Chapweske, "The PS/2 keyboard interface" and its scan code tables; what Linux' atkbd and SeaBIOS
 * ask for.
 *
 * Left out: typematic repetition (viewers repeat keys themselves; the rate is accepted), and set
 * 3's key types: every key sends make and break, which is what drivers select.
 *
 * A key that finds no room is dropped whole, never half; a dropped release is kept and sent later,
 * so that no key hangs.
 */
#include <string.h>

#include <glib.h>
#include <linux/input-event-codes.h>

#include <xendm/log.h>

#include "ps2.h"

#define ACK 0xfa
#define RESEND 0xfe
#define SELF_TEST_PASSED 0xaa
#define KEY_CODES 256

/* Key code → set 1 make code; 0xe0xx: with the E0 prefix. Key codes 1..83, 86..88 are set 1 codes
 * themselves. */
static const uint16_t set1_codes[KEY_CODES] = {
    [KEY_ZENKAKUHANKAKU] = 0x76,
    [KEY_RO] = 0x73,
    [KEY_KATAKANA] = 0x78,
    [KEY_HIRAGANA] = 0x77,
    [KEY_HENKAN] = 0x79,
    [KEY_KATAKANAHIRAGANA] = 0x70,
    [KEY_MUHENKAN] = 0x7b,
    [KEY_KPJPCOMMA] = 0x5c,
    [KEY_KPENTER] = 0xe01c,
    [KEY_RIGHTCTRL] = 0xe01d,
    [KEY_KPSLASH] = 0xe035,
    [KEY_SYSRQ] = 0xe037,
    [KEY_RIGHTALT] = 0xe038,
    [KEY_LINEFEED] = 0x5b,
    [KEY_HOME] = 0xe047,
    [KEY_UP] = 0xe048,
    [KEY_PAGEUP] = 0xe049,
    [KEY_LEFT] = 0xe04b,
    [KEY_RIGHT] = 0xe04d,
    [KEY_END] = 0xe04f,
    [KEY_DOWN] = 0xe050,
    [KEY_PAGEDOWN] = 0xe051,
    [KEY_INSERT] = 0xe052,
    [KEY_DELETE] = 0xe053,
    [KEY_MUTE] = 0xe020,
    [KEY_VOLUMEDOWN] = 0xe02e,
    [KEY_VOLUMEUP] = 0xe030,
    [KEY_POWER] = 0xe05e,
    [KEY_KPEQUAL] = 0x59,
    [KEY_PAUSE] = 0xe046,
    [KEY_KPCOMMA] = 0x7e,
    [KEY_HANGEUL] = 0x72,
    [KEY_HANJA] = 0x71,
    [KEY_YEN] = 0x7d,
    [KEY_LEFTMETA] = 0xe05b,
    [KEY_RIGHTMETA] = 0xe05c,
    [KEY_COMPOSE] = 0xe05d,
    [KEY_STOP] = 0xe068,
    [KEY_AGAIN] = 0xe005,
    [KEY_PROPS] = 0xe006,
    [KEY_UNDO] = 0xe007,
    [KEY_FRONT] = 0xe00c,
    [KEY_COPY] = 0xe078,
    [KEY_OPEN] = 0x64,
    [KEY_PASTE] = 0x65,
    [KEY_FIND] = 0xe041,
    [KEY_CUT] = 0xe03c,
    [KEY_HELP] = 0xe075,
    [KEY_MENU] = 0xe01e,
    [KEY_CALC] = 0xe021,
    [KEY_SLEEP] = 0xe05f,
    [KEY_WAKEUP] = 0xe063,
    [KEY_MAIL] = 0xe06c,
    [KEY_BOOKMARKS] = 0xe066,
    [KEY_COMPUTER] = 0xe06b,
    [KEY_BACK] = 0xe06a,
    [KEY_FORWARD] = 0xe069,
    [KEY_NEXTSONG] = 0xe019,
    [KEY_PLAYPAUSE] = 0xe022,
    [KEY_PREVIOUSSONG] = 0xe010,
    [KEY_STOPCD] = 0xe024,
    [KEY_HOMEPAGE] = 0xe032,
    [KEY_REFRESH] = 0xe067,
    [KEY_F13] = 0x5d,
    [KEY_F14] = 0x5e,
    [KEY_F15] = 0x5f,
    [KEY_F16] = 0x55,
    [KEY_F17] = 0xe003,
    [KEY_F18] = 0xe077,
    [KEY_F19] = 0xe004,
    [KEY_F20] = 0x5a,
    [KEY_F21] = 0x74,
    [KEY_F22] = 0xe079,
    [KEY_F23] = 0x6d,
    [KEY_F24] = 0x6f,
    [KEY_SEARCH] = 0xe065,
    [KEY_MEDIA] = 0xe06d,
};

/* The keyboard controller's table: set 2 code → set 1 code. Above 0x7f only two codes are
 * translated. */
static const uint8_t translation[128] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};

uint8_t ps2_translate(uint8_t set2)
{
    switch (set2) {
    case 0x83: /* F7 */
        return 0x41;
    case 0x84: /* SysRq, that is Alt with Print Screen */
        return 0x54;
    default:
        return set2 < 128 ? translation[set2] : set2;
    }
}

static uint8_t set2_from_set1(uint8_t code)
{
    if (code == 0x41 || code == 0x54) {
        return code == 0x41 ? 0x83 : 0x84;
    }
    for (unsigned i = 1; i < 128; i++) {
        if (translation[i] == code) {
            return (uint8_t)i;
        }
    }
    return 0;
}

/* Set 3 has no prefixes. Keys it does not know send nothing. */
static const uint8_t set3_codes[KEY_CODES] = {
    [KEY_ESC] = 0x08,        [KEY_1] = 0x16,         [KEY_2] = 0x1e,
    [KEY_3] = 0x26,          [KEY_4] = 0x25,         [KEY_5] = 0x2e,
    [KEY_6] = 0x36,          [KEY_7] = 0x3d,         [KEY_8] = 0x3e,
    [KEY_9] = 0x46,          [KEY_0] = 0x45,         [KEY_MINUS] = 0x4e,
    [KEY_EQUAL] = 0x55,      [KEY_BACKSPACE] = 0x66, [KEY_TAB] = 0x0d,
    [KEY_Q] = 0x15,          [KEY_W] = 0x1d,         [KEY_E] = 0x24,
    [KEY_R] = 0x2d,          [KEY_T] = 0x2c,         [KEY_Y] = 0x35,
    [KEY_U] = 0x3c,          [KEY_I] = 0x43,         [KEY_O] = 0x44,
    [KEY_P] = 0x4d,          [KEY_LEFTBRACE] = 0x54, [KEY_RIGHTBRACE] = 0x5b,
    [KEY_ENTER] = 0x5a,      [KEY_LEFTCTRL] = 0x11,  [KEY_A] = 0x1c,
    [KEY_S] = 0x1b,          [KEY_D] = 0x23,         [KEY_F] = 0x2b,
    [KEY_G] = 0x34,          [KEY_H] = 0x33,         [KEY_J] = 0x3b,
    [KEY_K] = 0x42,          [KEY_L] = 0x4b,         [KEY_SEMICOLON] = 0x4c,
    [KEY_APOSTROPHE] = 0x52, [KEY_GRAVE] = 0x0e,     [KEY_LEFTSHIFT] = 0x12,
    [KEY_BACKSLASH] = 0x5c,  [KEY_Z] = 0x1a,         [KEY_X] = 0x22,
    [KEY_C] = 0x21,          [KEY_V] = 0x2a,         [KEY_B] = 0x32,
    [KEY_N] = 0x31,          [KEY_M] = 0x3a,         [KEY_COMMA] = 0x41,
    [KEY_DOT] = 0x49,        [KEY_SLASH] = 0x4a,     [KEY_RIGHTSHIFT] = 0x59,
    [KEY_KPASTERISK] = 0x7e, [KEY_LEFTALT] = 0x19,   [KEY_SPACE] = 0x29,
    [KEY_CAPSLOCK] = 0x14,   [KEY_F1] = 0x07,        [KEY_F2] = 0x0f,
    [KEY_F3] = 0x17,         [KEY_F4] = 0x1f,        [KEY_F5] = 0x27,
    [KEY_F6] = 0x2f,         [KEY_F7] = 0x37,        [KEY_F8] = 0x3f,
    [KEY_F9] = 0x47,         [KEY_F10] = 0x4f,       [KEY_F11] = 0x56,
    [KEY_F12] = 0x5e,        [KEY_NUMLOCK] = 0x76,   [KEY_SCROLLLOCK] = 0x5f,
    [KEY_KP7] = 0x6c,        [KEY_KP8] = 0x75,       [KEY_KP9] = 0x7d,
    [KEY_KPMINUS] = 0x84,    [KEY_KP4] = 0x6b,       [KEY_KP5] = 0x73,
    [KEY_KP6] = 0x74,        [KEY_KPPLUS] = 0x7c,    [KEY_KP1] = 0x69,
    [KEY_KP2] = 0x72,        [KEY_KP3] = 0x7a,       [KEY_KP0] = 0x70,
    [KEY_KPDOT] = 0x71,      [KEY_102ND] = 0x13,     [KEY_KPENTER] = 0x79,
    [KEY_RIGHTCTRL] = 0x58,  [KEY_KPSLASH] = 0x77,   [KEY_SYSRQ] = 0x57,
    [KEY_RIGHTALT] = 0x39,   [KEY_HOME] = 0x6e,      [KEY_UP] = 0x63,
    [KEY_PAGEUP] = 0x6f,     [KEY_LEFT] = 0x61,      [KEY_RIGHT] = 0x6a,
    [KEY_END] = 0x65,        [KEY_DOWN] = 0x60,      [KEY_PAGEDOWN] = 0x6d,
    [KEY_INSERT] = 0x67,     [KEY_DELETE] = 0x64,    [KEY_PAUSE] = 0x62,
    [KEY_LEFTMETA] = 0x8b,   [KEY_RIGHTMETA] = 0x8c, [KEY_COMPOSE] = 0x8d,
};

static bool bit_get(const uint8_t *map, unsigned n)
{
    return map[n / 8] >> n % 8 & 1;
}

static void bit_put(uint8_t *map, unsigned n, bool on)
{
    map[n / 8] = (uint8_t)(on ? map[n / 8] | 1u << n % 8 : map[n / 8] & ~(1u << n % 8));
}

static bool key_is_down(const struct ps2_keyboard *k, unsigned a, unsigned b)
{
    return bit_get(k->down, a) || bit_get(k->down, b);
}

struct sequence {
    uint8_t byte[8];
    unsigned n;
};

static void put(struct sequence *s, unsigned byte)
{
    s->byte[s->n++] = (uint8_t)byte;
}

/* One set 1 code in set 1 or 2. */
static void put_code(struct sequence *s, unsigned set, unsigned code, bool down)
{
    if (code >> 8) {
        put(s, code >> 8);
    }
    if (set == 1) {
        put(s, (code & 0x7f) | (down ? 0 : 0x80u));
    } else {
        if (!down) {
            put(s, 0xf0);
        }
        put(s, set2_from_set1(code & 0x7f));
    }
}

/* What the keyboard sends for a key. Empty: it has no such key. At most 8 bytes (Pause). */
static struct sequence key_sequence(const struct ps2_keyboard *k, unsigned code, bool down)
{
    struct sequence s = {.n = 0};

    if (k->set == 3) {
        if (set3_codes[code]) {
            if (!down) {
                put(&s, 0xf0);
            }
            put(&s, set3_codes[code]);
        }
        return s;
    }
    unsigned set1 = set1_codes[code];
    if (!set1 && ((code >= 1 && code <= 83) || (code >= 86 && code <= 88))) {
        set1 = code;
    }
    if (!set1) {
        return s;
    }
    if (code == KEY_SYSRQ) {
        /* Alone it comes with a shift that nobody pressed, so that it looks like a PC's shifted
         * '*'. */
        bool alone = !key_is_down(k, KEY_LEFTSHIFT, KEY_RIGHTSHIFT) &&
                     !key_is_down(k, KEY_LEFTCTRL, KEY_RIGHTCTRL);
        if (key_is_down(k, KEY_LEFTALT, KEY_RIGHTALT)) {
            put_code(&s, k->set, 0x54, down);
        } else {
            if (alone && down) {
                put_code(&s, k->set, 0xe02a, true);
            }
            put_code(&s, k->set, 0xe037, down);
            if (alone && !down) {
                put_code(&s, k->set, 0xe02a, false);
            }
        }
    } else if (code == KEY_PAUSE) {
        /* Make and break come together when it is pressed; with Ctrl it is Break. */
        if (!down) {
            return s;
        }
        if (key_is_down(k, KEY_LEFTCTRL, KEY_RIGHTCTRL)) {
            put_code(&s, k->set, 0xe046, true);
            put_code(&s, k->set, 0xe046, false);
        } else {
            put_code(&s, k->set, 0xe11d, true);
            put_code(&s, k->set, 0x45, true);
            put_code(&s, k->set, 0xe11d, false);
            put_code(&s, k->set, 0x45, false);
        }
    } else {
        put_code(&s, k->set, set1, down);
    }
    return s;
}

static bool key_send(struct ps2_keyboard *k, unsigned code, bool down)
{
    struct sequence s = key_sequence(k, code, down);
    return ps2_queue_put(&k->keys, s.byte, s.n);
}

static void on_key(void *opaque, unsigned code, bool down)
{
    struct ps2_keyboard *k = opaque;

    if (code == 0 || code >= KEY_CODES || !k->scanning) {
        return;
    }
    if (!down && !bit_get(k->down, code)) {
        return; /* the guest never heard of the press */
    }
    if (!key_send(k, code, down)) {
        k->dropped++;
        if (!down) {
            bit_put(k->release, code, true);
        }
        return;
    }
    bit_put(k->down, code, down);
    bit_put(k->release, code, false);
    k->port.ready(k->port.opaque);
}

static void send_late_releases(struct ps2_keyboard *k)
{
    for (unsigned code = 1; code < KEY_CODES; code++) {
        if (bit_get(k->release, code) && key_send(k, code, false)) {
            bit_put(k->release, code, false);
            bit_put(k->down, code, false);
        }
    }
}

void ps2_keyboard_release_all(struct ps2_keyboard *k)
{
    for (size_t i = 0; i < sizeof(k->release); i++) {
        k->release[i] |= k->down[i];
    }
}

/* The longest sequence is 8 bytes. A keyboard that is off forgets what is typed. */
static bool has_room(void *opaque)
{
    const struct ps2_keyboard *k = opaque;

    return !k->scanning || k->keys.count + 8 <= PS2_QUEUE_SIZE;
}

const struct input_device ps2_keyboard_input = {
    .name = "ps2-keyboard",
    .key = on_key,
    .key_room = has_room,
};

static void clear_keys(struct ps2_keyboard *k)
{
    memset(&k->keys, 0, sizeof(k->keys));
    memset(k->down, 0, sizeof(k->down));
    memset(k->release, 0, sizeof(k->release));
}

static void set_leds(struct ps2_keyboard *k, uint8_t leds)
{
    k->leds = leds & 7;
    if (k->port.input) {
        input_set_leds(k->port.input, k->leds);
    }
}

static void set_defaults(struct ps2_keyboard *k)
{
    k->set = 2;
    clear_keys(k);
}

void ps2_keyboard_reset(struct ps2_keyboard *k)
{
    memset(&k->reply, 0, sizeof(k->reply));
    k->command = k->last = 0;
    set_defaults(k);
    set_leds(k, 0);
    k->scanning = true;
}

static void answer(struct ps2_keyboard *k, uint8_t byte)
{
    ps2_queue_put(&k->reply, &byte, 1); /* full: the guest never reads, so it does not miss it */
}

/* Commands have bit 7 set and arguments do not (ED, F3, F0), so a command in place of one ends the
 * waiting. */
static bool take_argument(struct ps2_keyboard *k, uint8_t byte)
{
    uint8_t command = k->command;

    if (command == 0) {
        return false;
    }
    if (byte >= 0xed && command < 0xfb) {
        k->command = 0;
        return false;
    }
    k->command = 0;
    switch (command) {
    case 0xed:
        set_leds(k, byte);
        answer(k, ACK);
        break;
    case 0xf0:
        if (byte > 3) {
            answer(k, RESEND);
            break;
        }
        answer(k, ACK);
        if (byte == 0) {
            answer(k, k->set);
        } else {
            k->set = byte;
            clear_keys(k);
        }
        break;
    case 0xf3:
        answer(k, ACK);
        break;
    default: /* FB..FD: any number of keys until the next command */
        if (byte >= 0xed) {
            return false;
        }
        k->command = command;
        answer(k, ACK);
        break;
    }
    return true;
}

void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t byte)
{
    if (take_argument(k, byte)) {
        return;
    }
    switch (byte) {
    case 0xed: /* LEDs */
    case 0xf0: /* scan code set */
    case 0xf3: /* typematic rate */
    case 0xfb:
    case 0xfc:
    case 0xfd: /* type of single keys, set 3 */
        k->command = byte;
        answer(k, ACK);
        break;
    case 0xee: /* echo */
        answer(k, 0xee);
        break;
    case 0xf2: /* identify: MF2 keyboard */
        answer(k, ACK);
        answer(k, 0xab);
        answer(k, 0x83);
        break;
    case 0xf4:
        clear_keys(k);
        k->scanning = true;
        answer(k, ACK);
        break;
    case 0xf5:
        set_defaults(k);
        k->scanning = false;
        answer(k, ACK);
        break;
    case 0xf6:
        set_defaults(k);
        k->scanning = true;
        answer(k, ACK);
        break;
    case 0xf7:
    case 0xf8:
    case 0xf9:
    case 0xfa: /* type of all keys, set 3 */
        answer(k, ACK);
        break;
    case 0xfe:
        answer(k, k->last);
        break;
    case 0xff:
        ps2_keyboard_reset(k);
        answer(k, ACK);
        answer(k, SELF_TEST_PASSED);
        break;
    default:
        log_guest(LOG_INPUT, "keyboard: unknown command 0x%02x", byte);
        answer(k, RESEND);
        break;
    }
}

bool ps2_keyboard_take(struct ps2_keyboard *k, bool answers_only, uint8_t *byte, bool *is_answer)
{
    *is_answer = ps2_queue_take(&k->reply, byte);
    if (!*is_answer && !answers_only && k->keys.count == 0) {
        send_late_releases(k);
    }
    if (!*is_answer && (answers_only || !ps2_queue_take(&k->keys, byte))) {
        return false;
    }
    k->last = *byte;
    if (!*is_answer) {
        send_late_releases(k);
    }
    return true;
}

static const struct state_field ps2_keyboard_fields[] = {
    STATE_FIELD_STRUCT(struct ps2_keyboard, reply, 1, &ps2_queue_state),
    STATE_FIELD_STRUCT(struct ps2_keyboard, keys, 1, &ps2_queue_state),
    STATE_FIELD_U8(struct ps2_keyboard, command),
    STATE_FIELD_U8(struct ps2_keyboard, last),
    STATE_FIELD_U8(struct ps2_keyboard, set, .min = 1, .max = 3),
    STATE_FIELD_U8(struct ps2_keyboard, leds, .max = 7),
    STATE_FIELD_BOOL(struct ps2_keyboard, scanning),
    STATE_FIELD_BYTES(struct ps2_keyboard, down),
    STATE_FIELD_BYTES(struct ps2_keyboard, release),
    STATE_FIELD_END,
};

static void ps2_keyboard_post_load(void *base)
{
    struct ps2_keyboard *k = base;
    set_leds(k, k->leds);
}

const struct state_desc ps2_keyboard_state = {
    .name = "ps2-keyboard",
    .version = 1,
    .fields = ps2_keyboard_fields,
    .post_load = ps2_keyboard_post_load,
};
