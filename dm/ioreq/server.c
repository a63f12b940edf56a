/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ioreq server; see dm/ioreq/ioreq.h, docs/design.md "The way of a guest access", toolstack.md
 * 4.2.
 *
 * A turn: one read(2) takes all pending event channels, which the kernel masks. Requests are
 * served, each with one notify. While they come fast we stay, looking at the slots (32 bytes a
 * vCPU, all in our cache until Xen writes one), with the channels masked, so that neither Xen nor
 * the kernel does anything but set a bit that is set already. Only when nothing came for a while
 * one write(2) unmasks them all, and we go back to poll(2).
 *
 * Whether to stay is learnt: only a guest whose requests follow each other within about SPIN_NS
 * makes us wait that long, and waiting in vain is tried ever more rarely. A guest that knocks once
 * in a while costs one wake-up each, and an idle one nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>

#include "ioreq.h"
#include "request.h"
#include "xen/xen.h"

#include <xen/memory.h>

#include <xendm/clock.h>
#include <xendm/device.h>
#include <xendm/facts.h>
#include <xendm/hypervisor.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/turn.h>

#define SPIN_NS (20 * NS_PER_US) /* how long to look at the slots after an answer */
/* a wake-up so soon after an answer would have been caught by spinning */
#define NEAR_NS (100 * NS_PER_US)
/* a turn with so many was a burst: the next one may begin another */
#define BURST_REQUESTS 4u
/* at most so many occasions are let pass after waiting in vain */
#define SPIN_SKIP_MAX 64u
/* pause instructions between two looks; about 0.2 µs on current CPUs */
#define SPIN_PAUSES 4
#define TURN_REQUESTS 512u      /* then other sources have a go … */
#define TURN_NS (1 * NS_PER_MS) /* … or after that long */
#define PORTS_PER_READ 256u
#define SLOTS_PER_PAGE (GUEST_PAGE_SIZE / sizeof(struct ioreq))
#define PORT_NONE UINT16_MAX
#define PORT_MAX (1u << 17) /* FIFO event channels */
#define PORT_RING (UINT16_MAX - 1)

struct ioreq_source {
    GSource source;
    struct ioreq_server *server;
};

struct ioreq_server {
    struct ioreq_core core;
    xendevicemodel_handle *dmod;
    xenforeignmemory_handle *fmem;
    xenevtchn_handle *evtchn;
    domid_t domid;
    ioservid_t id;
    GSource *source;
    gpointer fd_tag;
    int fd;

    /* The pages: one resource (buffered page first), or two guest frames on old kernels. */
    xenforeignmemory_resource_handle *resource;
    void *sync_page, *ring_page; /* mapped by frame */

    unsigned *vcpu_port; /* local ports */
    unsigned ring_port;
    bool enabled;        /* by us, or by the program before us */
    uint16_t *port_vcpu; /* by local port: vCPU, PORT_RING or PORT_NONE */
    unsigned ports;      /* size of that */

    evtchn_port_t *masked; /* taken and not given back yet */
    unsigned masked_count, masked_max;

    bool again;          /* the last turn was cut: go on without an event */
    guint retry;         /* the pause until guest memory is asked for again */
    bool may_spin;       /* more than one CPU */
    bool bursty;         /* the last turn that had requests had many */
    unsigned spin_skip;  /* occasions still to let pass … */
    unsigned spin_fails; /* … doubling with each vain wait */
    int64_t last_answer;
    bool (*poll)(void);
    struct ioreq_server_counters counters;
};

static void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("" ::: "memory");
#endif
}

/* ---- event channels ---- */

static void notify_vcpu(void *opaque, unsigned vcpu)
{
    struct ioreq_server *s = opaque;

    s->counters.notifies++;
    if (xenevtchn_notify(s->evtchn, s->vcpu_port[vcpu]) != 0) {
        /* the domain is going */
        log_debug(LOG_IOREQ, "notifying vCPU %u: %s", vcpu, strerror(errno));
    }
}

/*
 * Linux' ABI of /dev/xen/evtchn, which libxenevtchn offers one port at a time: an array of ports
 * per read and per write.
 */
static void unmask_ports(struct ioreq_server *s)
{
    unsigned done = 0;

    while (done < s->masked_count) {
        ssize_t n = write(s->fd, s->masked + done, (s->masked_count - done) * sizeof(s->masked[0]));

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            /*
             * One of them is refused (closed under us): one by one then, so that it takes no other
             * with it.
             */
            for (; done < s->masked_count; done++) {
                if (xenevtchn_unmask(s->evtchn, s->masked[done]) != 0) {
                    log_debug(LOG_IOREQ, "unmasking port %u: %s", s->masked[done], strerror(errno));
                }
            }
            break;
        }
        done += (unsigned)((size_t)n / sizeof(s->masked[0]));
    }
    s->masked_count = 0;
}

static void events_broken(struct ioreq_server *s, const char *why)
{
    log_error(LOG_IOREQ, "reading event channels: %s; the guest's accesses are not served any more",
              why);
    g_source_remove_unix_fd(s->source, s->fd_tag);
    s->fd_tag = NULL;
}

/* Takes what is pending and serves the vCPUs named. Returns how many requests that were. */
static unsigned take_ports(struct ioreq_server *s)
{
    evtchn_port_t port[PORTS_PER_READ];
    unsigned served = 0, count;
    /* never 0: a masked port is not reported again */
    unsigned room = s->masked_max - s->masked_count;
    ssize_t n = read(s->fd, port, MIN(room, PORTS_PER_READ) * sizeof(port[0]));

    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            events_broken(s, strerror(errno));
        }
        return 0;
    }
    if (n == 0) {
        events_broken(s, "end of file");
        return 0;
    }
    count = (unsigned)((size_t)n / sizeof(port[0]));
    s->counters.wakes++;
    s->counters.ports += count;
    for (unsigned i = 0; i < count; i++) {
        s->masked[s->masked_count++] = port[i];
    }
    /* Those that there is no time for are found by looking at the slots. */
    for (unsigned i = 0; i < count && (i == 0 || !ioreq_core_late(&s->core)); i++) {
        uint16_t who = port[i] < s->ports ? s->port_vcpu[port[i]] : PORT_NONE;

        if (who == PORT_RING) {
            served += ioreq_core_drain(&s->core);
        } else if (who != PORT_NONE && ioreq_core_serve(&s->core, who)) {
            served++;
        }
    }
    return served;
}

/* ---- the loop ---- */

/*
 * Decides, once a turn, whether to wait for more after the first answer. `start` is when the turn's
 * event came.
 */
static bool worth_waiting(struct ioreq_server *s, int64_t start)
{
    if (!s->may_spin) {
        return false;
    }
    if (s->bursty) {
        return true;
    }
    if (start - s->last_answer > NEAR_NS) {
        return false;
    }
    if (s->spin_skip > 0) {
        s->spin_skip--;
        return false;
    }
    return true;
}

static void learn(struct ioreq_server *s, unsigned served, bool waited, unsigned hits)
{
    s->bursty = served >= BURST_REQUESTS;
    if (hits > 0) {
        s->spin_fails = 0;
    } else if (waited) {
        s->spin_fails = s->spin_fails == 0 ? 1 : MIN(s->spin_fails * 2, SPIN_SKIP_MAX);
        s->spin_skip = s->spin_fails;
    }
}

static void turn(struct ioreq_server *s, bool event)
{
    int64_t start = ioreq_now_ns();
    int64_t deadline = 0; /* of the wait that is on, 0 when none is */
    unsigned served;
    unsigned hits = 0;
    bool waited = false, wait = false, decided = false;

    s->core.deadline = start + TURN_NS;
    s->again = false;
    served = event ? take_ports(s) : 0;
    for (;;) {
        unsigned n = ioreq_core_poll(&s->core, TURN_REQUESTS);
        int64_t now;

        if (n > 0 || (s->poll != NULL && s->poll())) {
            served += n;
            if (n > 0 && deadline != 0) {
                deadline = 0;
                hits++;
            }
            if (served >= TURN_REQUESTS || ioreq_now_ns() - start > TURN_NS) {
                s->again = true;
                s->counters.full_turns++;
                break;
            }
            continue;
        }
        if (served == 0) {
            break;
        }
        if (!decided) {
            decided = true;
            wait = worth_waiting(s, start);
        }
        if (!wait) {
            break;
        }
        now = ioreq_now_ns();
        if (deadline == 0) {
            deadline = now + SPIN_NS;
            waited = true;
            s->counters.spins++;
        } else if (now >= deadline) {
            break;
        }
        for (unsigned i = 0; i < SPIN_PAUSES; i++) {
            cpu_relax();
        }
    }
    s->counters.spin_hits += hits;
    if (served > 0) {
        learn(s, served, waited, hits);
        /* When we began to wait, if we did: that was the last answer. */
        s->last_answer = deadline != 0 ? deadline - SPIN_NS : ioreq_now_ns();
        s->counters.batch_max = MAX(s->counters.batch_max, served);
    } else if (event) {
        s->counters.idle_wakes++;
    }
    if (!s->again) {
        unmask_ports(s);
    }
}

static gboolean on_retry(gpointer opaque)
{
    struct ioreq_server *s = opaque;

    turn_of("ioreq");
    s->retry = 0;
    s->again = true;
    ioreq_core_retry(&s->core);
    return G_SOURCE_REMOVE;
}

static gboolean source_prepare(GSource *source, gint *timeout)
{
    *timeout = -1;
    return ((struct ioreq_source *)source)->server->again;
}

static gboolean source_check(GSource *source)
{
    struct ioreq_server *s = ((struct ioreq_source *)source)->server;

    return s->again || (s->fd_tag != NULL && g_source_query_unix_fd(source, s->fd_tag) != 0);
}

static gboolean source_dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
    struct ioreq_server *s = ((struct ioreq_source *)source)->server;
    GIOCondition ready = s->fd_tag != NULL ? g_source_query_unix_fd(source, s->fd_tag) : 0;

    if ((ready & G_IO_IN) == 0 && (ready & (G_IO_ERR | G_IO_HUP | G_IO_NVAL)) != 0) {
        events_broken(s, "error on the descriptor");
        ready = 0;
    }
    turn_of("ioreq");
    turn(s, (ready & G_IO_IN) != 0);
    if (s->core.retry_wanted && s->retry == 0) {
        s->retry = g_timeout_add((guint)(s->core.pause_ns / NS_PER_MS), on_retry, s);
    }
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = {source_prepare, source_check, source_dispatch,
                                    NULL,           NULL,         NULL};

/* ---- opening ---- */

static bool no_such_call(int e)
{
    return e == EOPNOTSUPP || e == ENOSYS || e == ENOTTY || e == EINVAL;
}

/* Frame 0 of the resource is the buffered page, 1… the slots. */
static bool map_resource(struct ioreq_server *s, unsigned sync_pages, GError **err)
{
    void *base = NULL;
    int e;

    s->resource = xenforeignmemory_map_resource(s->fmem, s->domid, XENMEM_resource_ioreq_server,
                                                s->id, XENMEM_resource_ioreq_server_frame_bufioreq,
                                                1 + sync_pages, &base, PROT_READ | PROT_WRITE, 0);
    if (s->resource != NULL) {
        s->core.ring = base;
        s->core.slot = (struct ioreq *)((uint8_t *)base + GUEST_PAGE_SIZE);
        return true;
    }
    e = errno;
    if (sync_pages > 1) {
        g_set_error(
            err, XENDM_ERROR, e,
            "the domain has %u vCPUs, but Xen offers one page of I/O requests, enough for %zu "
            "(%s)",
            s->core.vcpus, SLOTS_PER_PAGE, g_strerror(e));
    } else if (!no_such_call(e)) {
        g_set_error(err, XENDM_ERROR, e, "cannot map the ioreq server's pages: %s", g_strerror(e));
    }
    return false;
}

/* Kernels before 4.18: the pages are taken from the guest's own, at frames that Xen names. */
static bool map_frames(struct ioreq_server *s, GError **err)
{
    xen_pfn_t sync = 0, ring = 0;

    if (xendevicemodel_get_ioreq_server_info(s->dmod, s->domid, s->id, &sync, &ring, NULL) == 0) {
        s->sync_page =
            xenforeignmemory_map(s->fmem, s->domid, PROT_READ | PROT_WRITE, 1, &sync, NULL);
        if (s->sync_page != NULL) {
            s->ring_page =
                xenforeignmemory_map(s->fmem, s->domid, PROT_READ | PROT_WRITE, 1, &ring, NULL);
        }
    }
    if (s->sync_page == NULL || s->ring_page == NULL) {
        int e = errno;

        g_set_error(err, XENDM_ERROR, e,
                    "cannot map the ioreq server's pages, neither as a resource nor by frame: %s",
                    g_strerror(e));
        return false;
    }
    log_info(LOG_IOREQ,
             "the kernel cannot map ioreq pages as a resource: mapped guest frames %#llx and %#llx",
             (unsigned long long)sync, (unsigned long long)ring);
    s->core.slot = s->sync_page;
    s->core.ring = s->ring_page;
    return true;
}

static bool map_pages(struct ioreq_server *s, GError **err)
{
    unsigned sync_pages = (unsigned)((s->core.vcpus + SLOTS_PER_PAGE - 1) / SLOTS_PER_PAGE);
    GError *why = NULL;

    if (map_resource(s, sync_pages, &why)) {
        return true;
    }
    if (why != NULL) {
        g_propagate_error(err, why);
        return false;
    }
    return map_frames(s, err);
}

static void name_port(struct ioreq_server *s, unsigned port, uint16_t who)
{
    if (port >= s->ports) {
        unsigned size = port + 64;

        s->port_vcpu = g_renew(uint16_t, s->port_vcpu, size);
        for (unsigned i = s->ports; i < size; i++) {
            s->port_vcpu[i] = PORT_NONE;
        }
        s->ports = size;
    }
    s->port_vcpu[port] = who;
}

static int bind_port(struct ioreq_server *s, evtchn_port_t remote, uint16_t who, const char *what,
                     GError **err)
{
    int port = xenevtchn_bind_interdomain(s->evtchn, s->domid, remote);

    if (port < 0) {
        int e = errno;

        g_set_error(err, XENDM_ERROR, e,
                    "cannot bind the event channel of %s (port %u of domain %u): %s", what, remote,
                    s->domid, g_strerror(e));
        return -1;
    }
    name_port(s, (unsigned)port, who);
    return port;
}

static bool bind_ports(struct ioreq_server *s, GError **err)
{
    evtchn_port_t ring = 0;
    char what[32];
    int port;

    if (xendevicemodel_get_ioreq_server_info(s->dmod, s->domid, s->id, NULL, NULL, &ring) != 0) {
        int e = errno;

        g_set_error(err, XENDM_ERROR, e, "cannot ask for the ioreq server's event channel: %s",
                    g_strerror(e));
        return false;
    }
    port = bind_port(s, ring, PORT_RING, "the buffered ring", err);
    if (port < 0) {
        return false;
    }
    s->ring_port = (unsigned)port;
    for (unsigned i = 0; i < s->core.vcpus; i++) {
        /* Written by Xen when the server was enabled. */
        evtchn_port_t remote = __atomic_load_n(&s->core.slot[i].vp_eport, __ATOMIC_RELAXED);

        snprintf(what, sizeof(what), "vCPU %u", i);
        port = bind_port(s, remote, (uint16_t)i, what, err);
        if (port < 0) {
            return false;
        }
        s->vcpu_port[i] = (unsigned)port;
    }
    return true;
}

static bool several_cpus(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        return CPU_COUNT(&set) > 1;
    }
    return sysconf(_SC_NPROCESSORS_ONLN) > 1;
}

static void released(void *opaque)
{
    struct ioreq_server *s = opaque;

    if (ioreq_core_released(&s->core)) {
        s->core.waited = false;
        s->again = true;
        g_main_context_wakeup(NULL);
    }
}

static struct ioreq_server *server_new(const struct xen_handles *xen, struct machine *machine,
                                       GError **err)
{
    struct ioreq_server *s;

    if (machine->server == NULL || machine->vcpus == 0 || machine->vcpus >= PORT_RING) {
        g_set_error(err, XENDM_ERROR, EINVAL, "no ioreq server was made, or %u vCPUs are too many",
                    machine->vcpus);
        return NULL;
    }
    s = g_new0(struct ioreq_server, 1);
    s->dmod = xen_devicemodel(xen);
    s->fmem = xen_foreignmemory(xen);
    s->evtchn = xen_evtchn(xen);
    s->domid = (domid_t)xen_domid(xen);
    s->id = (ioservid_t)xen_server_id(machine->server);
    s->core.machine = machine;
    s->core.vcpus = machine->vcpus;
    s->core.notify = notify_vcpu;
    s->core.opaque = s;
    s->core.hold = true;
    s->vcpu_port = g_new0(unsigned, machine->vcpus);
    s->masked_max = machine->vcpus + 1 + PORTS_PER_READ;
    s->masked = g_new0(evtchn_port_t, s->masked_max);
    s->may_spin = several_cpus();
    machine->holds.released = released;
    machine->holds.opaque = s;
    if (!map_pages(s, err)) {
        ioreq_server_close(s);
        return NULL;
    }
    return s;
}

void ioreq_server_listen(struct ioreq_server *s, const struct xen_handles *xen)
{
    int flags;

    s->evtchn = xen_evtchn(xen);
    /*
     * We read only what poll announced; should the kernel have changed its mind meanwhile, that
     * must not block us.
     */
    s->fd = xenevtchn_fd(s->evtchn);
    flags = fcntl(s->fd, F_GETFL);
    if (flags >= 0) {
        fcntl(s->fd, F_SETFL, flags | O_NONBLOCK);
    }
    s->source = g_source_new(&source_funcs, sizeof(struct ioreq_source));
    ((struct ioreq_source *)s->source)->server = s;
    g_source_set_name(s->source, "ioreq");
    s->fd_tag = g_source_add_unix_fd(s->source, s->fd, G_IO_IN);
    /*
     * Else GLib takes the descriptor out of its poll set around each dispatch, at four system calls
     * a turn.
     */
    g_source_set_can_recurse(s->source, TRUE);
    g_source_attach(s->source, NULL);
}

struct ioreq_server *ioreq_server_open(const struct xen_handles *xen, struct machine *machine,
                                       GError **err)
{
    struct ioreq_server *s = server_new(xen, machine, err);

    if (s == NULL) {
        return NULL;
    }
    if (xendevicemodel_set_ioreq_server_state(s->dmod, s->domid, s->id, 1) != 0) {
        int e = errno;

        g_set_error(err, XENDM_ERROR, e, "cannot enable the ioreq server: %s", g_strerror(e));
        ioreq_server_close(s);
        return NULL;
    }
    s->enabled = true;
    if (!bind_ports(s, err)) {
        ioreq_server_close(s);
        return NULL;
    }
    ioreq_server_listen(s, xen);
    return s;
}

struct ioreq_server *ioreq_server_adopt(const struct xen_handles *xen, struct machine *machine,
                                        const unsigned *ports, size_t count, GError **err)
{
    struct ioreq_server *s;

    for (size_t i = 0; i < count; i++) {
        if (ports[i] == 0 || ports[i] > PORT_MAX) {
            g_set_error(err, XENDM_ERROR, EINVAL, "event channel port %u was handed on", ports[i]);
            return NULL;
        }
    }
    if (count != (size_t)machine->vcpus + 1) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%zu event channels for %u vCPUs were handed on",
                    count, machine->vcpus);
        return NULL;
    }
    s = server_new(xen, machine, err);
    if (s == NULL) {
        return NULL;
    }
    s->ring_port = ports[0];
    name_port(s, ports[0], PORT_RING);
    for (unsigned i = 0; i < machine->vcpus; i++) {
        s->vcpu_port[i] = ports[i + 1];
        name_port(s, ports[i + 1], (uint16_t)i);
    }
    /*
     * Our predecessor may have read events and not unmasked their ports: as if we had read them.
     * Unmasking what is not masked has no effect.
     */
    for (size_t i = 0; i < count; i++) {
        s->masked[s->masked_count++] = ports[i];
    }
    s->enabled = true;
    return s;
}

unsigned *ioreq_server_ports(const struct ioreq_server *s, size_t *count)
{
    unsigned *ports = g_new(unsigned, (size_t)s->core.vcpus + 1);

    ports[0] = s->ring_port;
    memcpy(ports + 1, s->vcpu_port, s->core.vcpus * sizeof(ports[0]));
    *count = (size_t)s->core.vcpus + 1;
    return ports;
}

void ioreq_server_close(struct ioreq_server *s)
{
    if (s == NULL) {
        return;
    }
    if (s->source != NULL) {
        g_source_destroy(s->source);
        g_source_unref(s->source);
    }
    g_clear_handle_id(&s->retry, g_source_remove);
    for (unsigned port = 0; port < s->ports; port++) {
        if (s->port_vcpu[port] != PORT_NONE) {
            xenevtchn_unbind(s->evtchn, port);
        }
    }
    /* Fails when the domain is gone, which is the usual reason for being here. */
    if (s->enabled) {
        xendevicemodel_set_ioreq_server_state(s->dmod, s->domid, s->id, 0);
    }
    if (s->resource != NULL) {
        xenforeignmemory_unmap_resource(s->fmem, s->resource);
    }
    if (s->sync_page != NULL) {
        xenforeignmemory_unmap(s->fmem, s->sync_page, 1);
    }
    if (s->ring_page != NULL) {
        xenforeignmemory_unmap(s->fmem, s->ring_page, 1);
    }
    s->core.machine->holds.released = NULL;
    ioreq_core_clear(&s->core);
    g_free(s->port_vcpu);
    g_free(s->vcpu_port);
    g_free(s->masked);
    g_free(s);
}

void ioreq_server_leave(struct ioreq_server *s)
{
    for (unsigned port = 0; port < s->ports; port++) {
        s->port_vcpu[port] = PORT_NONE;
    }
    s->enabled = false;
    ioreq_server_close(s);
}

/* ---- life ---- */

void ioreq_server_pause(struct ioreq_server *s)
{
    /*
     * One round, of one turn, is all that counts: what comes later comes from a guest that runs on,
     * and has to wait, as does what there is no time for. What was posted is guest state.
     */
    s->core.deadline = ioreq_now_ns() + TURN_NS;
    ioreq_core_poll(&s->core, UINT32_MAX);
    s->core.deadline = 0;
    ioreq_core_drain(&s->core);
    s->core.hold = true;
    ioreq_core_park(&s->core);
}

void ioreq_server_set_poll(struct ioreq_server *s, bool (*poll)(void))
{
    s->poll = poll;
}

void ioreq_server_resume(struct ioreq_server *s)
{
    s->core.hold = false;
    s->again = true; /* what was held has had its event */
    g_main_context_wakeup(NULL);
}

/* ---- looking in ---- */

void ioreq_server_counters(const struct ioreq_server *s, struct ioreq_server_counters *out)
{
    *out = s->counters;
    out->requests = s->core.counters;
}

/* The vCPUs whose access waits for the end of something long. */
static void describe_waits(const struct ioreq_core *core, struct facts *to)
{
    for (unsigned i = 0; core->rest != NULL && i < core->vcpus; i++) {
        if (core->rest[i].on && core->rest[i].waits != NULL) {
            g_autofree char *who = g_strdup_printf("vCPU %u waits for", i);
            g_autofree char *since = g_strdup_printf("vCPU %u waits since", i);

            fact_text(to, who, "%s", core->rest[i].waits->id);
            fact_int(to, since, core->rest[i].since);
        }
    }
}

void ioreq_server_describe(const struct ioreq_server *s, struct facts *to)
{
    const struct ioreq_counters *r = &s->core.counters;
    const struct {
        const char *name;
        uint64_t count;
    } counters[] = {
        {"pio reads", r->pio_reads},
        {"pio writes", r->pio_writes},
        {"mmio reads", r->mmio_reads},
        {"mmio writes", r->mmio_writes},
        {"config reads", r->config_reads},
        {"config writes", r->config_writes},
        {"strings", r->strings},
        {"string units", r->string_units},
        {"string units without memory", r->string_faults},
        {"pauses until memory can be mapped", r->string_pauses},
        {"strings interrupted", r->string_turns},
        {"buffered", r->buffered},
        {"buffered ring resynchronised", r->ring_resyncs},
        {"time offsets", r->time_offsets},
        {"invalidations", r->invalidates},
        {"bad requests", r->bad},
        {"held", r->held},
        {"delayed", r->delayed},
        {"waits for a held device", r->waited},
        {"wakes", s->counters.wakes},
        {"wakes for nothing", s->counters.idle_wakes},
        {"ports taken", s->counters.ports},
        {"notifies", s->counters.notifies},
        {"spins", s->counters.spins},
        {"spins that found something", s->counters.spin_hits},
        {"turns cut", s->counters.full_turns},
        {"most requests in a turn", s->counters.batch_max},
    };

    fact_int(to, "server", s->id);
    fact_int(to, "vCPUs", s->core.vcpus);
    fact_text(to, "pages by", "%s", s->resource != NULL ? "resource" : "frame");
    fact_bool(to, "holds requests", s->core.hold);
    for (size_t i = 0; i < G_N_ELEMENTS(counters); i++) {
        fact_int(to, counters[i].name, (int64_t)counters[i].count);
    }
    describe_waits(&s->core, to);
}
