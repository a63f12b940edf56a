/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USB mass storage and hubs, on a controller that is only ports: the cases of Bulk-Only Transport
 * 1.0, chapter 6.
 */
#include <errno.h>
#include <string.h>

#include <xendm/bytes.h>
#include <xendm/classes.h>
#include <xendm/log.h>

#include "fake-block.h"
#include "usb-fixture.h"

#define SECTORS 4096u

struct bench {
    struct machine *m;
    struct block *block;
    struct usb_device *dev;
};

static struct usb_device *plug_stick(struct machine *m, struct block *block)
{
    g_autoptr(GError) err = NULL;
    struct bus *bus = bus_find(m, &usb_bus_class, NULL, &err);
    struct device *dev = device_new(m, &usb_storage_class, "stick", &err);

    g_assert_no_error(err);
    device_set_backend(dev, "drive", block_backend(block));
    g_assert_cmpint(usb_bus_class.take(bus, dev, &err), ==, 0);
    g_assert_cmpint(device_realize(dev, &err), ==, 0);
    g_assert_no_error(err);
    device_reset(dev, RESET_COLD);
    usb_storage_class.resume(dev);
    return DEVICE_CAST(struct usb_device, dev);
}

static struct bench bench_new(void)
{
    struct fake_controller *c;
    struct bench b = {.m = usb_machine_new(&c), .block = fake_block_new("stick", SECTORS * 512)};

    b.block->limits = (struct block_limits){.logical = 512, .physical = 512};
    b.dev = plug_stick(b.m, b.block);
    usb_configure(b.dev, 3);
    return b;
}

static void bench_free(struct bench *b)
{
    usb_machine_free(b->m);
    fake_block_free(b->block);
}

/* A token, as often as it takes while the disk works. */
static enum usb_status token(struct bench *b, enum usb_pid pid, unsigned endpoint, void *data,
                             size_t length, size_t *done)
{
    enum usb_status status;

    while ((status = usb_token(b->dev, pid, endpoint, data, length, done)) == USB_NAK) {
        g_assert_true(fake_block_complete(b->block, 0));
    }
    return status;
}

static enum usb_status command(struct bench *b, uint32_t length, bool in, const uint8_t *cdb,
                               unsigned n)
{
    uint8_t cbw[31] = {0};

    store_le32(cbw, 0x43425355);
    store_le32(cbw + 4, 77);
    store_le32(cbw + 8, length);
    cbw[12] = in ? 0x80 : 0;
    cbw[14] = (uint8_t)n;
    memcpy(cbw + 15, cdb, MIN(n, 16));
    return token(b, USB_OUT, 2, cbw, sizeof(cbw), NULL);
}

#define CDB(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static void data_in(struct bench *b, uint8_t *buf, size_t length)
{
    for (size_t at = 0, n; at < length; at += n) {
        g_assert_cmpint(token(b, USB_IN, 1, buf + at, MIN(64, length - at), &n), ==, USB_OK);
        g_assert_cmpuint(n, ==, MIN(64, length - at));
    }
}

static void data_out(struct bench *b, uint8_t *buf, size_t length)
{
    for (size_t at = 0, n; at < length; at += n) {
        g_assert_cmpint(token(b, USB_OUT, 2, buf + at, MIN(64, length - at), &n), ==, USB_OK);
        g_assert_cmpuint(n, ==, MIN(64, length - at));
    }
}

static void assert_status(struct bench *b, uint32_t residue, uint8_t status)
{
    uint8_t csw[13];
    size_t n;

    g_assert_cmpint(token(b, USB_IN, 1, csw, sizeof(csw), &n), ==, USB_OK);
    g_assert_cmpuint(n, ==, 13);
    g_assert_cmphex(load_le32(csw), ==, 0x53425355);
    g_assert_cmpuint(load_le32(csw + 4), ==, 77);
    g_assert_cmpuint(load_le32(csw + 8), ==, residue);
    g_assert_cmpuint(csw[12], ==, status);
}

static void ready(struct bench *b)
{
    uint8_t sense[18];

    g_assert_cmpint(command(b, 18, true, CDB(3, 0, 0, 0, 18, 0)), ==, USB_OK);
    data_in(b, sense, 18);
    assert_status(b, 0, 0);
}

static void test_read_write(void)
{
    struct bench b = bench_new();
    g_autofree uint8_t *buf = g_malloc0(20480);

    ready(&b);
    g_assert_cmpint(command(&b, 20480, true, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 40, 0)), ==, USB_OK);
    data_in(&b, buf, 20480); /* several stages */
    assert_status(&b, 0, 0);
    for (unsigned i = 0; i < 40; i++) {
        g_assert_cmpmem(buf + 512 * i, 512, b.block->data + 512 * (9 + i), 512);
    }
    memset(buf, 0x5a, 20480);
    g_assert_cmpint(command(&b, 20480, false, CDB(0x2a, 0, 0, 0, 1, 0, 0, 0, 40, 0)), ==, USB_OK);
    data_out(&b, buf, 20480);
    assert_status(&b, 0, 0);
    g_assert_cmpmem(buf, 20480, b.block->data + 512 * 256, 20480);
    g_assert_cmpint(command(&b, 0, false, CDB(0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0)), ==, USB_OK);
    assert_status(&b, 0, 0);
    g_assert_cmpuint(b.block->submitted[BLOCK_FLUSH], ==, 1);
    bench_free(&b);
}

/* The numbers are those of 6.7: what the host expects against what the command does. */
static void test_cases(void)
{
    struct bench b = bench_new();
    uint8_t buf[1536];

    ready(&b);
    g_assert_cmpint(command(&b, 0, false, CDB(0, 0, 0, 0, 0, 0)), ==, USB_OK); /* 1 */
    assert_status(&b, 0, 0);
    g_assert_cmpint(command(&b, 0, true, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0)), ==, USB_OK); /* 2 */
    assert_status(&b, 0, 2);
    g_assert_cmpint(command(&b, 0, false, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0)), ==,
                    USB_OK); /* 3 */
    assert_status(&b, 0, 2);
    memset(buf, 0xee, sizeof(buf));
    g_assert_cmpint(command(&b, 512, true, CDB(0, 0, 0, 0, 0, 0)), ==, USB_OK); /* 4 */
    data_in(&b, buf, 512);
    g_assert_cmphex(buf[0], ==, 0);
    assert_status(&b, 512, 0);
    g_assert_cmpint(command(&b, 1536, true, CDB(0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0)), ==,
                    USB_OK); /* 5 */
    data_in(&b, buf, 1536);
    g_assert_cmpmem(buf, 512, b.block->data + 7 * 512, 512);
    g_assert_cmphex(buf[512], ==, 0);
    assert_status(&b, 1024, 0);
    g_assert_cmpint(command(&b, 512, true, CDB(0x28, 0, 0, 0, 0, 7, 0, 0, 2, 0)), ==,
                    USB_OK); /* 7 */
    data_in(&b, buf, 512);
    assert_status(&b, 0, 2);
    g_assert_cmpint(command(&b, 512, true, CDB(0x2a, 0, 0, 0, 0, 7, 0, 0, 1, 0)), ==,
                    USB_OK); /* 8 */
    data_in(&b, buf, 512);
    assert_status(&b, 512, 2);
    g_assert_cmpint(command(&b, 512, false, CDB(0, 0, 0, 0, 0, 0)), ==, USB_OK); /* 9 */
    data_out(&b, buf, 512);
    assert_status(&b, 512, 0);
    g_assert_cmpint(command(&b, 512, false, CDB(0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0)), ==,
                    USB_OK); /* 10 */
    data_out(&b, buf, 512);
    assert_status(&b, 512, 2);
    g_assert_cmpint(command(&b, 1024, false, CDB(0x2a, 0, 0, 0, 0, 7, 0, 0, 1, 0)), ==,
                    USB_OK); /* 11 */
    data_out(&b, buf, 1024);
    assert_status(&b, 512, 0);
    g_assert_cmpint(command(&b, 512, false, CDB(0x2a, 0, 0, 0, 0, 7, 0, 0, 2, 0)), ==,
                    USB_OK); /* 13 */
    data_out(&b, buf, 512);
    assert_status(&b, 0, 2);
    ready(&b); /* and it goes on */
    bench_free(&b);
}

static void test_wrong(void)
{
    static const struct {
        unsigned at;
        uint8_t value;
        size_t length;
    } wrong[] = {{0, 0, 31}, {13, 1, 31}, {14, 0, 31}, {14, 17, 31}, {4, 0, 30}, {4, 0, 0}};
    struct bench b = bench_new();
    uint8_t buf[64];

    ready(&b);
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        uint8_t cbw[31] = {'U', 'S', 'B', 'C', [14] = 6};

        cbw[wrong[i].at] = wrong[i].value;
        g_assert_cmpint(usb_token(b.dev, USB_OUT, 2, cbw, wrong[i].length, NULL), ==, USB_STALL);
        g_assert_cmpint(usb_token(b.dev, USB_OUT, 2, cbw, 31, NULL), ==, USB_STALL); /* halted */
        g_assert_cmpint(usb_control(b.dev, 0x21, 0xff, 0, 0, NULL, 0, NULL), ==, USB_OK);
        g_assert_cmpint(usb_control(b.dev, 2, 1, 0, 2, NULL, 0, NULL), ==, USB_OK);
    }
    g_assert_cmpint(usb_token(b.dev, USB_IN, 1, buf, 64, NULL), ==, USB_STALL); /* nothing asked */
    g_assert_cmpint(usb_control(b.dev, 2, 1, 0, 0x81, NULL, 0, NULL), ==, USB_OK);
    /* A reset while the disk works: the command is over, and the next one waits for its end. */
    b.block->hold = true;
    g_assert_cmpint(command(&b, 512, true, CDB(0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0)), ==, USB_OK);
    g_assert_cmpint(usb_token(b.dev, USB_IN, 1, buf, 64, NULL), ==, USB_NAK);
    g_assert_cmpint(usb_control(b.dev, 0x21, 0xff, 0, 0, NULL, 0, NULL), ==, USB_OK);
    fake_block_complete_all(b.block);
    b.block->hold = false;
    ready(&b);
    bench_free(&b);
}

static void test_failed(void)
{
    struct bench b = bench_new();
    uint8_t buf[1024], sense[18];

    ready(&b);
    b.block->fail[BLOCK_READ] = -EIO;
    b.block->bad_sector = 8;
    g_assert_cmpint(command(&b, 1024, true, CDB(0x28, 0, 0, 0, 0, 8, 0, 0, 2, 0)), ==, USB_OK);
    data_in(&b, buf, 1024);
    assert_status(&b, 1024, 1);
    g_assert_cmpint(command(&b, 18, true, CDB(3, 0, 0, 0, 18, 0)), ==, USB_OK);
    data_in(&b, sense, 18);
    assert_status(&b, 0, 0);
    g_assert_cmphex(sense[2], ==, 3);
    bench_free(&b);
}

/* In the middle of writing. */
static void test_state(void)
{
    struct bench b = bench_new(), o = bench_new();
    uint8_t buf[8192];

    ready(&b);
    memset(buf, 0x77, sizeof(buf));
    g_assert_cmpint(command(&b, 8192, false, CDB(0x2a, 0, 0, 0, 0, 16, 0, 0, 16, 0)), ==, USB_OK);
    data_out(&b, buf, 5120);
    while (usb_storage_class.busy(&b.dev->dev)) {
        g_assert_true(fake_block_complete(b.block, 0));
    }
    memcpy(o.block->data, b.block->data, SECTORS * 512);
    fake_state_round_trip(&b.dev->dev, &o.dev->dev);
    data_out(&o, buf + 5120, 3072);
    assert_status(&o, 0, 0);
    g_assert_cmpmem(o.block->data + 16 * 512, 8192, buf, 8192);
    g_assert_cmphex(o.block->data[32 * 512], !=, 0x77);
    bench_free(&b);
    bench_free(&o);
}

static void test_noise(void)
{
    GRand *rand = g_rand_new_with_seed(1);
    struct bench b = bench_new();

    log_set_level("all", "error");
    for (unsigned i = 0; i < 30000; i++) {
        uint8_t buf[1280];
        size_t n = (size_t)g_rand_int_range(rand, 0, 4) == 0
                       ? 31
                       : (size_t)g_rand_int_range(rand, 0, 1280);

        for (size_t k = 0; k < n; k++) {
            buf[k] = (uint8_t)g_rand_int(rand);
        }
        if (n == 31) {
            static const uint8_t codes[] = {0,    3,    0x12, 0x1a, 0x25, 0x28,
                                            0x2a, 0x35, 0x42, 0x88, 0x9e, 0xff};

            store_le32(buf, 0x43425355);
            store_le32(buf + 8, (uint32_t)g_rand_int_range(rand, 0, 9000));
            buf[13] = 0;
            buf[14] = (uint8_t)g_rand_int_range(rand, 1, 17);
            buf[15] = codes[g_rand_int_range(rand, 0, sizeof(codes))];
            memset(buf + 17, 0, 3);
        }
        usb_token(b.dev, g_rand_boolean(rand) ? USB_OUT : USB_IN, 1 + g_rand_boolean(rand), buf, n,
                  NULL);
        fake_block_complete(b.block, 0);
        if (g_rand_int_range(rand, 0, 20) == 0) {
            usb_control(b.dev, 2, 1, 0, 2, NULL, 0, NULL);
            usb_control(b.dev, 2, 1, 0, 0x81, NULL, 0, NULL);
        }
        if (g_rand_int_range(rand, 0, 200) == 0) {
            usb_control(b.dev, 0x21, 0xff, 0, 0, NULL, 0, NULL);
        }
    }
    fake_block_complete_all(b.block);
    g_rand_free(rand);
    bench_free(&b);
}

/* ---- hubs ---- */

static uint32_t port_status(struct usb_device *hub, uint16_t port)
{
    uint8_t status[4] = {0};

    g_assert_cmpint(usb_control(hub, 0xa3, 0, 0, port, status, 4, NULL), ==, USB_OK);
    return load_le32(status);
}

static void test_hub(void)
{
    struct fake_controller *c;
    struct machine *m = usb_machine_new(&c);
    struct usb_device *hub = usb_plug(m, &usb_hub_class, "hub"), *mouse;
    g_autoptr(GError) err = NULL;
    g_autofree char *path = NULL;
    uint8_t bits[2];

    mouse = usb_try_plug(m, &usb_mouse_class, "mouse", "1.3", &err);
    g_assert_no_error(err);
    path = usb_device_path(mouse);
    g_assert_cmpstr(path, ==, "1.3");
    g_assert_null(usb_try_plug(m, &usb_mouse_class, "m2", "1.9", &err));
    g_clear_error(&err);
    g_assert_null(usb_try_plug(m, &usb_mouse_class, "m2", "2.1", &err));
    g_clear_error(&err);
    g_assert_null(usb_try_plug(m, &usb_mouse_class, "m2", "1.3", &err));
    g_clear_error(&err);
    usb_configure(hub, 9);
    g_assert_cmphex(port_status(hub, 3), ==, 0x00010101);
    g_assert_cmphex(port_status(hub, 1), ==, 0x00000100);
    g_assert_cmpint(usb_token(hub, USB_IN, 1, bits, 2, NULL), ==, USB_OK);
    g_assert_cmphex(load_le16(bits), ==, 8);
    g_assert_null(usb_find_device(hub, 0)); /* not enabled */
    g_assert_cmpint(usb_control(hub, 0x23, 3, 4, 3, NULL, 0, NULL), ==, USB_OK);
    g_assert_true(usb_find_device(hub, 0) == mouse);
    g_assert_true(usb_find_device(hub, 9) == hub);
    usb_configure(mouse, 4);
    g_assert_true(usb_find_device(hub, 4) == mouse);
    for (uint16_t feature = 16; feature <= 20; feature++) {
        g_assert_cmpint(usb_control(hub, 0x23, 1, feature, 3, NULL, 0, NULL), ==, USB_OK);
    }
    g_assert_cmpint(usb_token(hub, USB_IN, 1, bits, 2, NULL), ==, USB_NAK);
    g_assert_cmpint(usb_control(hub, 0x23, 3, 2, 3, NULL, 0, NULL), ==, USB_OK); /* suspended */
    g_assert_null(usb_find_device(hub, 4));
    g_assert_cmpint(usb_control(hub, 0x23, 1, 2, 3, NULL, 0, NULL), ==, USB_OK);
    g_assert_cmpint(usb_control(hub, 0x23, 3, 99, 3, NULL, 0, NULL), ==, USB_STALL);
    g_assert_cmpint(usb_control(hub, 0x23, 3, 4, 9, NULL, 0, NULL), ==, USB_STALL);
    g_assert_cmpint(usb_control(hub, 0xa3, 0, 0, 0, bits, 2, NULL), ==, USB_STALL);
    /* A reset of the hub: behind it nobody is heard until its port is reset again. */
    usb_port_reset(hub->port);
    g_assert_null(usb_find_device(hub, 4));
    device_unplug(&mouse->dev);
    g_assert_cmphex(port_status(hub, 3) & 3, ==, 0);
    usb_machine_free(m);
}

/* Ports of hubs are taken when there are no others; a hub that goes takes along what it has. */
static void test_chain(void)
{
    struct fake_controller *c;
    struct machine *m = usb_machine_new(&c);
    struct usb_device *hub = usb_plug(m, &usb_hub_class, "hub"), *dev[FAKE_PORTS + 8] = {NULL};
    g_autoptr(GError) err = NULL;
    g_autofree char *path = NULL;

    for (unsigned i = 0; i < FAKE_PORTS - 1 + 8; i++) {
        g_autofree char *id = g_strdup_printf("m%u", i);

        dev[i] = usb_plug(m, &usb_mouse_class, id);
    }
    path = usb_device_path(dev[FAKE_PORTS - 1 + 7]);
    g_assert_cmpstr(path, ==, "1.8");
    g_assert_null(usb_try_plug(m, &usb_mouse_class, "more", NULL, &err));
    g_assert_nonnull(strstr(err->message, "usb-hub"));
    device_unplug(&hub->dev);
    g_assert_null(machine_find(m, "m3"));
    g_assert_nonnull(machine_find(m, "m0"));
    usb_machine_free(m);
}

static void test_hub_state(void)
{
    struct fake_controller *c;
    struct machine *m = usb_machine_new(&c), *n = usb_machine_new(&c);
    struct usb_device *hub = usb_plug(m, &usb_hub_class, "hub"), *other;

    other = usb_plug(n, &usb_hub_class, "hub");
    usb_plug(m, &usb_mouse_class, "m0");
    usb_configure(hub, 9);
    fake_state_round_trip(&hub->dev, &other->dev);
    g_assert_cmpuint(other->address, ==, 9);
    usb_machine_free(m);
    usb_machine_free(n);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/usb-storage/read-write", test_read_write);
    g_test_add_func("/usb-storage/cases", test_cases);
    g_test_add_func("/usb-storage/wrong", test_wrong);
    g_test_add_func("/usb-storage/failed", test_failed);
    g_test_add_func("/usb-storage/state", test_state);
    g_test_add_func("/usb-storage/noise", test_noise);
    g_test_add_func("/usb-hub/ports", test_hub);
    g_test_add_func("/usb-hub/chain", test_chain);
    g_test_add_func("/usb-hub/state", test_hub_state);
    return g_test_run();
}
