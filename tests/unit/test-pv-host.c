/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Grants and event channels of PV devices on Xen's libraries, of which each call fails: whoever
 * rings or is rung is told in the end, nothing spins, and errors are told as they are. The
 * libraries are the test's own.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <glib.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xenevtchn.h>
#include <xengnttab.h>

#include <xendm/evtchn.h>
#include <xendm/grants.h>

#define DOMID 7u
#define PORT 9u

/* ---- the libraries ---- */

static struct {
    const char *call; /* that fails; NULL: none */
    int error;
    unsigned from, until, calls;
} fault;

static bool fails(const char *call)
{
    if (!fault.call || strcmp(fault.call, call) != 0) {
        return false;
    }
    fault.calls++;
    errno = fault.error;
    return fault.calls >= fault.from && fault.calls <= fault.until;
}

static void plan(const char *call, int error, unsigned from, unsigned until)
{
    fault.call = call;
    fault.error = error;
    fault.from = from;
    fault.until = until;
    fault.calls = 0;
}

static int events[2];
static unsigned notified, unmasked, unbound;

ssize_t read(int fd, void *buf, size_t size)
{
    if (fd == events[0] && fails("read")) {
        return -1;
    }
    return syscall(SYS_read, fd, buf, size);
}

xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *logger, unsigned int flags)
{
    return fails("open") ? NULL : (xenevtchn_handle *)events;
}

xenevtchn_handle *xenevtchn_fdopen(struct xentoollog_logger *logger, int fd, unsigned int flags)
{
    return fails("fdopen") ? NULL : (xenevtchn_handle *)events;
}

int xenevtchn_close(xenevtchn_handle *handle)
{
    return 0;
}

int xenevtchn_fd(xenevtchn_handle *handle)
{
    return events[0];
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *handle, uint32_t domid,
                                                     evtchn_port_t remote)
{
    return fails("bind") ? -1 : (int)PORT;
}

int xenevtchn_unbind(xenevtchn_handle *handle, evtchn_port_t port)
{
    unbound++;
    return fails("unbind") ? -1 : 0;
}

int xenevtchn_notify(xenevtchn_handle *handle, evtchn_port_t port)
{
    if (fails("notify")) {
        return -1;
    }
    notified++;
    return 0;
}

int xenevtchn_unmask(xenevtchn_handle *handle, evtchn_port_t port)
{
    if (fails("unmask")) {
        return -1;
    }
    unmasked++;
    return 0;
}

xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger, unsigned flags)
{
    return fails("gnttab") ? NULL : (xengnttab_handle *)events;
}

int xengnttab_close(xengnttab_handle *handle)
{
    return 0;
}

void *xengnttab_map_domain_grant_refs(xengnttab_handle *handle, uint32_t count, uint32_t domid,
                                      uint32_t *refs, int prot)
{
    return fails("map") ? NULL : events;
}

int xengnttab_unmap(xengnttab_handle *handle, void *address, uint32_t count)
{
    return fails("unmap") ? -1 : 0;
}

static int16_t copied[2];

int xengnttab_grant_copy(xengnttab_handle *handle, uint32_t count,
                         xengnttab_grant_copy_segment_t *part)
{
    for (uint32_t i = 0; i < count; i++) {
        part[i].status = copied[i];
    }
    return fails("copy") ? -1 : 0;
}

/* ---- event channels ---- */

static unsigned rang;

static void on_ring(void *opaque)
{
    rang++;
}

static void ring(void)
{
    uint32_t port = PORT;

    g_assert_cmpint(write(events[1], &port, sizeof(port)), ==, sizeof(port));
}

static gboolean over(gpointer opaque)
{
    *(bool *)opaque = true;
    return G_SOURCE_REMOVE;
}

static unsigned turns_in_ms(guint ms)
{
    bool time_over = false;
    unsigned turns = 0;

    g_timeout_add(ms, over, &time_over);
    for (; !time_over; turns++) {
        g_main_context_iteration(NULL, TRUE);
    }
    return turns;
}

static const int errors[] = {EAGAIN, ENOMEM, EINTR, EBUSY, EIO};

/* Told once, as it should be, whatever failed before; and not tried more often than need be. */
static void test_told(void)
{
    struct evtchn *e = evtchn_open(DOMID, -1, NULL);
    static const struct {
        const char *call;
        void (*run)(struct evtchn *e, unsigned port);
        unsigned *done;
    } calls[] = {{"notify", evtchn_notify, &notified}, {"unmask", evtchn_unmask, &unmasked}};

    g_assert_cmpint(evtchn_bind(e, 5, on_ring, NULL), ==, PORT);
    for (unsigned c = 0; c < G_N_ELEMENTS(calls); c++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(errors); i++) {
            for (unsigned until = 1; until <= 3; until += 2) {
                *calls[c].done = 0;
                evtchn_adopt(e, PORT, on_ring, NULL); /* it may be masked */
                plan(calls[c].call, errors[i], 1, until);
                calls[c].run(e, PORT);
                while (*calls[c].done == 0) {
                    g_main_context_iteration(NULL, TRUE);
                }
                g_assert_cmpuint(*calls[c].done, ==, 1);
                g_assert_cmpuint(fault.calls, ==, until + 1);
            }
        }
        evtchn_adopt(e, PORT, on_ring, NULL);
        plan(calls[c].call, ENOMEM, 1, UINT32_MAX);
        calls[c].run(e, PORT);
        g_assert_cmpuint(turns_in_ms(100), <, 30);
        g_assert_cmpuint(fault.calls, <, 30);
        evtchn_unbind(e, PORT); /* nobody is to be told any more */
        plan(NULL, 0, 0, 0);
        g_assert_cmpint(evtchn_bind(e, 5, on_ring, NULL), ==, PORT);
    }
    evtchn_close(e);
}

/* A device unmasks all its channels; Xen hears of those that rang. */
static void test_unmask(void)
{
    struct evtchn *e = evtchn_open(DOMID, -1, NULL);

    plan(NULL, 0, 0, 0);
    evtchn_bind(e, 5, on_ring, NULL);
    for (unsigned i = 0; i < 3; i++) {
        rang = unmasked = 0;
        ring();
        while (rang == 0) {
            g_main_context_iteration(NULL, TRUE);
        }
        evtchn_unmask(e, PORT);
        evtchn_unmask(e, PORT);
        evtchn_unmask(e, PORT + 1);
        g_assert_cmpuint(unmasked, ==, 1);
    }
    evtchn_close(e);
}

static void test_read(void)
{
    struct evtchn *e = evtchn_open(DOMID, -1, NULL);

    evtchn_bind(e, 5, on_ring, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(errors); i++) {
        rang = 0;
        plan("read", errors[i], 1, 3);
        ring();
        while (rang == 0) {
            g_main_context_iteration(NULL, TRUE);
        }
        g_assert_cmpuint(rang, ==, 1);
    }
    plan("read", EIO, 1, UINT32_MAX);
    ring();
    g_assert_cmpuint(turns_in_ms(100), <, 40); /* it does not spin */
    evtchn_pause(e, true);
    plan(NULL, 0, 0, 0);
    rang = 0;
    turns_in_ms(30);
    g_assert_cmpuint(rang, ==, 0);
    evtchn_pause(e, false);
    while (rang == 0) {
        g_main_context_iteration(NULL, TRUE);
    }
    evtchn_close(e);
}

static void test_open(void)
{
    GError *err = NULL;
    struct evtchn *e;

    for (unsigned i = 0; i < G_N_ELEMENTS(errors); i++) {
        plan("open", errors[i], 1, 1);
        g_assert_null(evtchn_open(DOMID, -1, &err));
        g_assert_cmpint(err->code, ==, errors[i]);
        g_clear_error(&err);
        plan("fdopen", errors[i], 1, 1);
        g_assert_null(evtchn_open(DOMID, 3, &err));
        g_clear_error(&err);
        plan("gnttab", errors[i], 1, 1);
        g_assert_null(grants_open(DOMID, &err));
        g_assert_cmpint(err->code, ==, errors[i]);
        g_clear_error(&err);
        plan("bind", errors[i], 1, 1);
        e = evtchn_open(DOMID, -1, NULL);
        g_assert_cmpint(evtchn_bind(e, 5, on_ring, NULL), ==, -errors[i]);
        g_assert_cmpint(evtchn_bind(e, 5, on_ring, NULL), ==, PORT);
        plan("unbind", errors[i], 1, 1);
        evtchn_unbind(e, PORT);
        evtchn_close(e);
    }
    plan(NULL, 0, 0, 0);
}

/* ---- grants ---- */

static void test_grants(void)
{
    static const struct {
        int16_t status;
        int error;
    } statuses[] = {{GNTST_okay, 0},
                    {GNTST_bad_gntref, -ENOENT},
                    {GNTST_permission_denied, -EACCES},
                    {GNTST_eagain, -EAGAIN},
                    {GNTST_general_error, -EIO}};
    struct grants *g = grants_open(DOMID, NULL);
    struct grant_copy part[2] = {{.len = 8}, {.len = 8}};
    uint32_t ref = 1;
    int error = 0;
    void *pages;

    for (unsigned i = 0; i < G_N_ELEMENTS(errors); i++) {
        plan("map", errors[i], 1, 1);
        g_assert_null(grants_map(g, &ref, 1, true, &error));
        g_assert_cmpint(error, ==, -errors[i]);
        g_assert_cmpuint(grants_mapped(g), ==, 0);
        plan("unmap", errors[i], 1, 1);
        pages = grants_map(g, &ref, 1, true, &error);
        g_assert_nonnull(pages);
        grants_unmap(g, pages, 1);
        g_assert_cmpuint(grants_mapped(g), ==, 0);
        plan("copy", errors[i], 1, 1);
        g_assert_cmpint(grants_copy(g, part, 2, false), ==, -errors[i]);
        g_assert_cmpint(part[0].error, ==, -errors[i]);
        g_assert_cmpint(part[1].error, ==, -errors[i]);
        g_assert_cmpint(grants_copy(g, part, 2, true), ==, 0);
    }
    plan(NULL, 0, 0, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(statuses); i++) {
        copied[1] = statuses[i].status;
        g_assert_cmpint(grants_copy(g, part, 2, true), ==, statuses[i].error);
        g_assert_cmpint(part[0].error, ==, 0);
        g_assert_cmpint(part[1].error, ==, statuses[i].error);
    }
    grants_close(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_assert_cmpint(pipe(events), ==, 0);
    g_test_add_func("/pv/host/told", test_told);
    g_test_add_func("/pv/host/unmask", test_unmask);
    g_test_add_func("/pv/host/read", test_read);
    g_test_add_func("/pv/host/open", test_open);
    g_test_add_func("/pv/host/grants", test_grants);
    return g_test_run();
}
