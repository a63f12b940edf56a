/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A character back end whose other end is the test. */
#ifndef TESTS_FAKE_CHARDEV_H
#define TESTS_FAKE_CHARDEV_H

#include <xendm/backend.h>
#include <xendm/chardev.h>

struct chardev {
    struct backend b;
    const struct chardev_frontend *frontend;
    void *opaque;
    GString *out;
    size_t room; /* how many bytes the host takes */
    bool connected;
    uint16_t cols, rows;
    unsigned writes, accepts;
    GString *in; /* waits until the device takes it */
};

struct chardev *fake_chardev_new(const char *id);
void fake_chardev_free(struct chardev *cd);
void fake_chardev_type(struct chardev *cd, const char *text);
void fake_chardev_connect(struct chardev *cd, bool connected);
void fake_chardev_has_room(struct chardev *cd, size_t room);

#endif
