/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host process: what Xen is to a device model. One lock (`big`) guards all state; it is never
 * held while a virtual CPU waits for an answer. Threads: the main one (epoll: library requests,
 * event channels, a watchdog) and one per client of the command socket, which plays the virtual CPU
 * it chose.
 */
#ifndef XENEMU_HOST_H
#define XENEMU_HOST_H

#include <glib.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <xen/xen.h>
#include <xen/sched.h>
#include <xen/hvm/ioreq.h>
#include <xen/hvm/dm_op.h>
#include <xen/hvm/params.h>
#include "../rpc/rpc.h"

#define XE_PAGE_SHIFT 12
#define XE_PAGE 4096u
#define XE_MAX_VCPUS 128u
#define XE_MAX_SERVERS 8u
#define XE_MAX_RANGES 256u
#define XE_MAX_PARAMS 64u
#define XE_MAX_LINKS 4u
#define XE_NR_GSI 48u
#define XE_INVALID_GFN UINT64_MAX

struct host;
struct domain;
struct conn;

/* ---- main loop ---- */

struct source {
    int fd;
    void (*ready)(struct host *h, struct source *s, uint32_t events);
};

/* ---- guest memory (host-mem.c) ---- */

enum mem_type { MEM_RAM_RW, MEM_RAM_RO, MEM_MMIO_DM, MEM_IOREQ_SERVER };

/* Pages gfn … gfn+nr-1 lie at mfn … of the memfd. Sorted by gfn, no overlap; a gap is a hole. */
struct mem_run {
    uint64_t gfn, nr, mfn;
    enum mem_type type;
};

enum map_kind { MAP_FOREIGN, MAP_GRANT, MAP_RESOURCE };

/* A mapping that some process holds; counted as a leak when it is there at the end. */
struct mapping {
    struct conn *conn;
    struct domain *dom;
    uint64_t addr, pages, mfn, gfn;
    enum map_kind kind;
    unsigned int index; /* in host->mappings */
    uint32_t ref;
    bool writable;
    uint8_t notify; /* grant: 1 = clear byte, 2 = send event */
    uint16_t notify_offset;
    uint32_t notify_port;
};

struct dirty_log {
    uint64_t *bits; /* mapped without reservation */
    uint64_t nr;
    bool on;
};

/* ---- event channels (host-evtchn.c) ---- */

enum port_state { PORT_FREE, PORT_UNBOUND, PORT_INTERDOMAIN, PORT_VIRQ };

struct port {
    struct source src; /* fd = eventfd that the other end writes */
    struct domain *dom;
    uint32_t nr;
    enum port_state state;
    uint32_t remote_domid, remote_port;
    uint32_t virq;
    struct conn *user; /* the handle that owns it; NULL = the guest or Xen */
    bool xen;          /* consumer is an ioreq wait in this process */
    bool watched;
    bool masked, pending;
    int peer_efd; /* unbound: the eventfd that the later peer adopts */
    uint64_t events;
};

/* ---- ioreq servers (host-ioreq.c) ---- */

struct range {
    uint64_t start, end;
};

struct ioreq_page {
    uint64_t mfn; /* 0 = none */
    uint64_t gfn; /* XE_INVALID_GFN unless mapped by gfn */
    uint8_t *va;
};

struct server {
    unsigned int id, refs;
    struct domain *dom;
    bool enabled, dead, atomic;
    int bufioreq_handling;
    GArray *ranges[3]; /* struct range, sorted */
    struct ioreq_page sync, buf;
    uint32_t buf_port;
    struct port *vport[XE_MAX_VCPUS];
    uint64_t sent, sent_buffered;
};

struct vcpu {
    unsigned int id;
    pthread_mutex_t lock; /* one access at a time; taken before big */
    struct server *waiting;
    int64_t wait_since; /* µs, monotonic */
    bool abort_wait;
    const char *abort_why;
    bool event_pending;
};

struct grant {
    uint32_t domid; /* who may map */
    uint64_t gfn;
    bool readonly;
    unsigned int in_use;
};

struct msi_record {
    uint64_t addr;
    uint32_t data;
};

struct fault {
    uint32_t op;
    unsigned int after; /* calls that still succeed */
    unsigned int count; /* calls that then fail; UINT_MAX = all */
    int err;
    /* only requests that touch these; XE_INVALID_GFN = any. Disks: sectors */
    uint64_t gfn, gfn_end;
    /* disks: not an error, but at most so many bytes; FAULT_FAILS = an error */
    uint64_t shorter;
    char drive[4]; /* disks: "hda" …; "" = any */
    uint32_t hits;
};

#define FAULT_FAILS UINT64_MAX

struct xen_devices; /* host-xen.c: what Xen emulates itself */

struct domain {
    struct host *host;
    uint32_t id;
    uint8_t uuid[16];
    char *name;
    unsigned int inflight; /* accesses in progress */

    int memfd;
    uint8_t *mem;
    uint64_t mem_pages; /* size of the memfd and of `mem` */
    uint64_t next_mfn;
    GArray *runs;    /* struct mem_run */
    GArray *zombies; /* freed while mapped: counted until unmapped */
    uint64_t tot_pages, max_pages, max_gfn;
    struct dirty_log log, modified, vram;
    uint64_t vram_first, vram_nr;
    bool vram_fresh;
    GArray *pinned; /* struct mem_run: type = memory type */

    uint64_t params[XE_MAX_PARAMS];
    uint64_t ioreq_gfn_mask, legacy_gfn_mask;

    unsigned int nr_vcpus;
    struct vcpu *vcpu;
    struct server *server[XE_MAX_SERVERS];
    struct server *mem_server; /* owner of MEM_IOREQ_SERVER pages */
    uint32_t mem_server_flags;

    GPtrArray *ports;   /* struct port *, index = number */
    GHashTable *grants; /* ref → struct grant */

    uint32_t pci_intx[4]; /* bit per device, by pin */
    uint16_t isa_level;
    uint8_t link_route[XE_MAX_LINKS], link_count[XE_MAX_LINKS];
    uint8_t gsi_count[XE_NR_GSI];
    uint64_t gsi_level; /* bit per line, what the IO-APIC sees */
    uint64_t irq_ops, irq_ops_same;
    GArray *msi; /* struct msi_record, at most 4096 */
    uint64_t msi_total;
    GPtrArray *pt_log; /* strings */

    uint32_t cf8;
    struct xen_devices *xen;

    bool paused, shutdown, crashed;
    uint32_t shutdown_reason;
    char *crash_why;
    bool dying;
};

/* ---- connections of libraries (host-rpc.c) ---- */

struct conn {
    struct source src; /* must be first */
    char *lib;
    uint32_t pid;
    int64_t restrict_domid; /* -1 = unrestricted */
    bool is_dm;
    int stream;            /* evtchn: our end */
    uint64_t stream_inode; /* of the process's end: names it to whoever inherits it */
    bool orphan; /* the handle is closed, but the stream is open: somebody may inherit it */
    struct source stream_src;
    bool stream_armed;
    uint8_t partial[4];
    unsigned int partial_len;
    GPtrArray *ports; /* struct port *, owned by this handle */
    uint64_t calls;
};

struct session; /* host-qtest.c */

struct host {
    pthread_mutex_t big;
    pthread_cond_t idle; /* an access ended, or a line changed */
    int epfd;
    GPtrArray *conns;
    GHashTable *domains;     /* id → struct domain; 0 is dom0: ports only */
    GPtrArray *mappings;     /* struct mapping * */
    GHashTable *map_by_addr; /* key conn^addr → GSList of mappings */
    GPtrArray *sessions;
    GArray *faults;       /* struct fault */
    GHashTable *missing;  /* function → count */
    GHashTable *op_count; /* op → calls */
    GPtrArray *left;      /* strings "PID what": still held when a handle was closed */
    GPtrArray *graveyard; /* sources freed after the current turn */
    int64_t access_timeout_us;
    int64_t spin_ns; /* how long a waiting CPU looks before it sleeps; 0 as on Xen */
    bool quit;
    FILE *log;
    unsigned int listen_nr;
};

/* host.c */
void host_log(struct host *h, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void host_watch(struct host *h, struct source *s, uint32_t events);
void host_unwatch(struct host *h, struct source *s);
void host_rewatch(struct host *h, struct source *s, uint32_t events);
int host_listen(struct host *h, const char *path, struct domain *dom);
int host_main(int argc, char **argv);
struct host *host_new(void);
void host_run(struct host *h);

/* host-mem.c */
struct domain *domain_create(struct host *h, uint32_t id, const char *name, uint64_t memory_kb,
                             uint64_t video_kb, uint64_t mmio_start, unsigned int nr_vcpus,
                             const char **err);
void domain_destroy(struct domain *d);
struct domain *domain_find(struct host *h, uint32_t id);
void domain_crash(struct domain *d, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
const struct mem_run *mem_lookup(const struct domain *d, uint64_t gfn);
uint64_t mem_alloc_mfn(struct domain *d, uint64_t nr);
int mem_populate(struct domain *d, uint64_t gfn, unsigned int order);
int mem_remove(struct domain *d, uint64_t gfn, uint64_t nr, bool free_pages);
void mem_insert(struct domain *d, uint64_t gfn, uint64_t nr, uint64_t mfn, enum mem_type type);
int mem_relocate(struct domain *d, uint64_t nr, uint64_t src, uint64_t dst);
int mem_set_type(struct domain *d, enum mem_type type, uint64_t gfn, uint64_t nr);
uint8_t *mem_ptr(struct domain *d, uint64_t gpa, uint64_t *left, enum mem_type *type);
void mem_mark_dirty(struct domain *d, uint64_t gfn, uint64_t nr);
void dirty_set(struct dirty_log *log, uint64_t gfn, uint64_t nr);
void dirty_clear(struct dirty_log *log);
bool dirty_test(const struct dirty_log *log, uint64_t gfn);
int mem_track_vram(struct domain *d, uint64_t first, uint32_t nr, uint8_t *bitmap);
int mem_modified(struct domain *d, uint64_t pfn, uint64_t nr);
struct mapping *mapping_add(struct host *h, struct conn *c, struct domain *d, uint64_t addr,
                            uint64_t pages, uint64_t mfn, uint64_t gfn, enum map_kind kind);
void mapping_remove(struct host *h, struct conn *c, uint64_t addr, uint64_t pages,
                    enum map_kind kind);
void mapping_drop_conn(struct host *h, struct conn *c);

/* host-evtchn.c */
struct port *port_alloc(struct domain *d);
void port_free(struct port *p);
struct port *port_get(struct domain *d, uint32_t nr);
struct port *port_alloc_unbound(struct domain *d, uint32_t remote_domid);
int port_bind_interdomain(struct domain *d, uint32_t remote_domid, uint32_t remote_port,
                          struct port **out);
struct port *port_peer(struct port *p);
void port_notify_peer(struct port *p);
void port_deliver(struct port *p);
void port_set_user(struct port *p, struct conn *c);
void evtchn_drain(struct host *h, struct conn *c);
void evtchn_stream_ready(struct host *h, struct source *s, uint32_t events);

/* host-ioreq.c */
int ioreq_create(struct domain *d, int bufioreq, unsigned int *id);
int ioreq_destroy(struct domain *d, unsigned int id);
int ioreq_info(struct domain *d, unsigned int id, bool no_gfns, uint64_t out[3]);
int ioreq_map_range(struct domain *d, unsigned int id, unsigned int type, uint64_t start,
                    uint64_t end);
int ioreq_unmap_range(struct domain *d, unsigned int id, unsigned int type, uint64_t start,
                      uint64_t end);
int ioreq_set_state(struct domain *d, unsigned int id, bool enabled);
int ioreq_resource(struct domain *d, unsigned int id, uint64_t frame, uint64_t *mfn);
int ioreq_map_mem_type(struct domain *d, unsigned int id, uint32_t type, uint32_t flags);
void ioreq_put(struct server *s);
void ioreq_abort_waiters(struct domain *d, const struct server *s, const char *why);
void ioreq_watchdog(struct host *h);

enum io_result { IO_OK, IO_NOBODY, IO_FAIL };

/*
 * Carry out one request as the CPU would: Xen's own devices first, then the server that claims it,
 * else all ones. On IO_FAIL `why` says in one line what Xen would have said. Called without `big`.
 */
enum io_result io_access(struct domain *d, unsigned int vcpu, ioreq_t *req, const char **why);
enum io_result io_buffered(struct domain *d, ioreq_t *req);
enum io_result io_broadcast(struct domain *d, unsigned int vcpu, uint8_t type, uint64_t data,
                            const char **why);

/* host-gnttab.c */
int gnttab_add(struct domain *d, uint32_t ref, uint32_t domid, uint64_t gfn, bool readonly);
int gnttab_remove(struct domain *d, uint32_t ref);
struct grant *gnttab_get(struct domain *d, uint32_t ref, bool write, int16_t *status);
void gnttab_unmapped(struct host *h, struct mapping *m);

/* host-irq.c */
int irq_set_intx(struct domain *d, unsigned int dev, unsigned int pin, unsigned int level);
int irq_set_isa(struct domain *d, unsigned int irq, unsigned int level);
int irq_set_route(struct domain *d, unsigned int link, unsigned int irq);
int irq_inject_msi(struct domain *d, uint64_t addr, uint32_t data);
unsigned int irq_intx_gsi(unsigned int dev, unsigned int pin);

/* host-xen.c */
struct xen_devices *xen_devices_new(void);
bool xen_intercept(struct domain *d, const ioreq_t *req);
uint64_t xen_read(struct domain *d, const ioreq_t *req, uint64_t addr);
void xen_write(struct domain *d, const ioreq_t *req, uint64_t addr, uint64_t data);
int param_set(struct domain *d, uint32_t index, uint64_t value);
int param_get(struct domain *d, uint32_t index, uint64_t *value);
int domain_shutdown(struct domain *d, uint32_t reason);
void virq_dom_exc(struct host *h);

/* host-rpc.c */
void conn_new(struct host *h, int fd);
void conn_close(struct host *h, struct conn *c);
const char *op_name(uint32_t op);
uint32_t op_by_name(const char *name);
char *op_names(void); /* an answer */
int fault_call(struct host *h, uint32_t op);
int fault_disk(struct host *h, uint32_t op, const char *drive, uint64_t first, uint64_t last,
               bool cached, uint64_t *shorter);

/* Pseudo operations for faults: requests to xenstored, through the proxy, and disk I/O. */
#define XE_OP_XS 10000u
#define XE_OP_DISK 11000u

/* host-qtest.c */
void session_new(struct host *h, int fd, struct domain *dom);
void session_broadcast(struct host *h, struct domain *d, unsigned int what, const char *fmt, ...)
    G_GNUC_PRINTF(4, 5);
enum { SESSION_IRQ = 1, SESSION_MSI = 2, SESSION_EVTCHN = 4 };

struct session {
    struct host *host;
    struct domain *dom;
    unsigned int vcpu;
    unsigned int want; /* asynchronous lines */
    int fd;
    pthread_mutex_t out_lock;
    GString *pending; /* asynchronous lines not yet sent */
};

/* host-cmd.c: commands beyond qtest. NULL if the command is unknown. */
char *command_run(struct session *s, char **w, unsigned int n);
bool parse_u64(const char *s, uint64_t *out);
bool parse_bdf(const char *t, uint32_t *bdf);

/* host-bench.c */
char *bench_sequence(struct session *s, char **w, unsigned int n);

/* One access as the CPU makes it, in pieces where Xen would cut it. */
enum io_result guest_port(struct session *s, bool in, uint16_t port, unsigned int size,
                          uint64_t *value, const char **why);
enum io_result guest_mem(struct session *s, bool read, uint64_t gpa, unsigned int size,
                         uint64_t *value, const char **why);

/* run.c, xsproxy.c */
int run_main(int argc, char **argv);
int xsproxy_start(struct host *h, const char *real, const char *front);

#endif
