/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The private protocol between the drop-in libraries and the host process: one SOCK_SEQPACKET
 * message per request, one per reply. Both ends come from the same build, so there is no versioning
 * beyond XE_MAGIC; nothing else may speak it. File descriptors ride as SCM_RIGHTS on the reply.
 */
#ifndef XENEMU_RPC_H
#define XENEMU_RPC_H

#include <stdint.h>

#define XE_MAGIC 0x58453031u
#define XE_ENV_SOCKET "XENEMU_SOCKET"

/* Payload limit in bytes, well below the default socket buffer (212,992). */
#define XE_PAYLOAD_MAX 65536u
#define XE_MAP_BATCH 4096u

enum xe_op {
    XE_OP_HELLO = 1,    /* payload: library name */
    XE_OP_RESTRICT,     /* domid */
    XE_OP_LOG,          /* payload: text; one-way */
    XE_OP_DOMAIN_MEMFD, /* domid → fd */
    XE_OP_DOMAIN_INFO,  /* a0: first domid, n: max → struct xe_dominfo[] */

    XE_OP_MAP = 20, /* n gfns; a0: address, a1: prot, a2: index of the first → struct xe_run[] */
    XE_OP_UNMAP,    /* a0: address, a1: pages; one-way */
    XE_OP_RESOURCE, /* a0: type, a1: id, a2: frame, a3: nr, a4: address → struct xe_run[] */
    XE_OP_RESOURCE_SIZE, /* a0: type, a1: id → a0: size in bytes */

    XE_OP_GNT_MAP = 30, /* n struct xe_ref; a0: address, a1: writable → struct xe_run[] per ref */
    XE_OP_GNT_UNMAP,    /* a0: address, a1: count */
    XE_OP_GNT_NOTIFY,   /* a0: address, a1: offset, a2: port, a3: action */
    XE_OP_GNT_COPY,     /* n struct xe_copy → struct xe_copy with mem_off, status */

    XE_OP_EVTCHN_OPEN = 40,   /* → fd: the stream that stands for /dev/xen/evtchn */
    XE_OP_EVTCHN_UNBOUND,     /* a0: remote domid → a0: port, fd */
    XE_OP_EVTCHN_INTERDOMAIN, /* a0: remote domid, a1: remote port → a0: port, fd */
    XE_OP_EVTCHN_VIRQ,        /* a0: virq → a0: port, fd */
    XE_OP_EVTCHN_UNBIND,      /* a0: port */
    XE_OP_EVTCHN_NOTIFY,      /* a0: port; only for handles that lost the descriptor */
    XE_OP_EVTCHN_ADOPT, /* a0: inode of an inherited stream → a0: how many ports are bound */
    XE_OP_EVTCHN_PORT,  /* a0: index below that → a0: port, fd */

    XE_OP_POPULATE = 60,       /* n gfns, a0: order → ret: extents done */
    XE_OP_DECREASE,            /* n gfns, a0: order → ret: extents done */
    XE_OP_ADD_TO_PHYSMAP,      /* a0: space, a1: idx, a2: gfn */
    XE_OP_REMOVE_FROM_PHYSMAP, /* a0: gfn */
    XE_OP_SETMAXMEM,           /* a0: KiB */
    XE_OP_MAX_GPFN,            /* → a0 */
    XE_OP_SHUTDOWN,            /* a0: reason */
    XE_OP_PAUSE,               /* a0: 1 pause, 0 unpause */
    XE_OP_PARAM_SET,           /* a0: index, a1: value */
    XE_OP_PARAM_GET,           /* a0: index → a0: value */
    XE_OP_LOGDIRTY,    /* a0: 0 off, 1 on, 2 clean, 3 peek; a1: pages → bitmap, a0: dirty count */
    XE_OP_HVM_CONTEXT, /* → the domain's saved state; a0: its size */
    XE_OP_VCPU_INFO,   /* a0: vCPU → a0: enum xe_vcpu, a1: ns of CPU time */
    XE_OP_VCPU_GET,    /* a0: vCPU → struct hvm_hw_cpu */
    XE_OP_VCPU_SET,    /* a0: vCPU; payload: struct hvm_hw_cpu */
    XE_OP_DEBUGGING,   /* a0: 1 on, 0 off */
    XE_OP_STEP,        /* a0: 1 on, 0 off, a1: vCPU */
    XE_OP_MONITOR,     /* a0: 1 on, 0 off → a0: page number of its ring, a1: port */
    XE_OP_MONITOR_WANT, /* a0: VM_EVENT_REASON_*, a1: 1 on, 0 off */
    XE_OP_CONSOLE,      /* → Xen's own messages */
    XE_OP_PT,           /* passthrough bookkeeping: a0: enum xe_pt, a1..: as given */

    XE_OP_DM = 100, /* + number of the dm_op; arguments in the order of the library call */
};

enum xe_pt {
    XE_PT_IOPORT_MAP = 1,
    XE_PT_MEMORY_MAP,
    XE_PT_IOMEM_PERM,
    XE_PT_MAP_PIRQ,
    XE_PT_MAP_PIRQ_MSI,
    XE_PT_UNMAP_PIRQ,
    XE_PT_BIND_PCI_IRQ,
    XE_PT_UNBIND_IRQ,
    XE_PT_UPDATE_MSI,
    XE_PT_UNBIND_MSI,
};

struct xe_req {
    uint32_t magic;
    uint32_t op;
    uint32_t domid;
    uint32_t n;
    uint64_t a[6];
};

struct xe_rep {
    int32_t ret; /* ≥ 0, or -errno */
    uint32_t n;  /* records of payload */
    uint64_t a[4];
};

/* Pages index … index+count-1 of the request lie at off of the domain's memfd, or failed with err.
 */
struct xe_run {
    uint32_t index;
    uint32_t count;
    uint64_t off;
    int32_t err;
    uint32_t domid;
};

struct xe_ref {
    uint32_t domid;
    uint32_t ref;
};

struct xe_copy {
    uint32_t domid;
    uint32_t ref;
    uint16_t offset;
    uint16_t len;
    uint8_t write;
    uint8_t pad;
    int16_t status;
    uint64_t mem_off;
};

struct xe_dominfo {
    uint32_t domid;
    uint32_t flags; /* enum xe_domflag */
    uint32_t shutdown_reason;
    uint32_t nr_vcpus;
    uint64_t tot_pages;
    uint64_t max_kb;
    uint8_t uuid[16];
};

enum xe_vcpu {
    XE_VCPU_ONLINE = 1,
    XE_VCPU_BLOCKED = 2,
    XE_VCPU_RUNNING = 4,
};

enum xe_domflag {
    XE_DOM_DYING = 1,
    XE_DOM_CRASHED = 2,
    XE_DOM_SHUTDOWN = 4,
    XE_DOM_PAUSED = 8,
    XE_DOM_HVM = 16,
};

struct xe_extent {
    uint64_t pfn;
    uint32_t nr;
    uint32_t pad;
};

#endif
