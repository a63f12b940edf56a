/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fake-chardev.h"

static void deliver(struct chardev *cd)
{
    while (cd->in->len > 0 && cd->frontend) {
        size_t n = MIN(cd->frontend->can_receive(cd->opaque), cd->in->len);
        g_autofree char *copy = NULL;

        if (n == 0) {
            return;
        }
        copy = g_memdup2(cd->in->str, n);
        g_string_erase(cd->in, 0, (gssize)n);
        cd->frontend->receive(cd->opaque, (const uint8_t *)copy, n);
    }
}

void chardev_set_frontend(struct chardev *cd, const struct chardev_frontend *frontend, void *opaque)
{
    cd->frontend = frontend;
    cd->opaque = opaque;
}

size_t chardev_write(struct chardev *cd, const uint8_t *buf, size_t len)
{
    size_t n = MIN(len, cd->room);

    cd->writes++;
    cd->room -= n;
    g_string_append_len(cd->out, (const char *)buf, (gssize)n);
    return n;
}

void chardev_accept_input(struct chardev *cd)
{
    cd->accepts++;
    deliver(cd);
}

const char *chardev_label(const struct chardev *cd)
{
    return cd->b.id;
}

bool chardev_size(const struct chardev *cd, uint16_t *cols, uint16_t *rows)
{
    *cols = cd->cols;
    *rows = cd->rows;
    return cd->cols && cd->rows;
}

bool chardev_connected(const struct chardev *cd)
{
    return cd->connected;
}

const char *chardev_filename(const struct chardev *cd)
{
    return "test";
}

struct chardev *fake_chardev_new(const char *id)
{
    static const struct backend_class class = {.kind = BACKEND_CHAR, .driver = "fake"};
    struct chardev *cd = g_new0(struct chardev, 1);

    cd->b.class = &class;
    cd->b.id = g_strdup(id);
    cd->out = g_string_new(NULL);
    cd->in = g_string_new(NULL);
    cd->room = SIZE_MAX;
    return cd;
}

void fake_chardev_free(struct chardev *cd)
{
    g_free(cd->b.id);
    g_string_free(cd->out, TRUE);
    g_string_free(cd->in, TRUE);
    g_free(cd);
}

void fake_chardev_type(struct chardev *cd, const char *text)
{
    g_string_append(cd->in, text);
    deliver(cd);
}

void fake_chardev_connect(struct chardev *cd, bool connected)
{
    cd->connected = connected;
    cd->frontend->event(cd->opaque, connected ? CHARDEV_OPENED : CHARDEV_CLOSED);
}

void fake_chardev_has_room(struct chardev *cd, size_t room)
{
    cd->room = room;
    cd->frontend->writable(cd->opaque);
}
