/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVM Express, base specification 1.4: numbers. Section numbers are its. */
#ifndef HW_NVME_SPEC_H
#define HW_NVME_SPEC_H

/* ---- registers (3.1) ---- */

#define CC_EN 0x1u
#define CC_CSS(cc) ((cc) >> 4 & 7)
#define CC_MPS(cc) ((cc) >> 7 & 15)
#define CC_AMS(cc) ((cc) >> 11 & 7)
#define CC_SHN(cc) ((cc) >> 14 & 3)
#define CC_IOSQES(cc) ((cc) >> 16 & 15)
#define CC_IOCQES(cc) ((cc) >> 20 & 15)
#define CC_BITS 0x00fffff1u

#define CSTS_RDY 0x1u
#define CSTS_CFS 0x2u
#define CSTS_SHST 0xcu
#define CSTS_SHST_BUSY 0x4u
#define CSTS_SHST_DONE 0x8u

#define CAP_MQES (NVME_ENTRIES_MAX - 1u)
#define CAP_CQR (UINT64_C(1) << 16)
#define CAP_TO (UINT64_C(0xf) << 24) /* 7.5 s */
#define CAP_CSS_NVM (UINT64_C(1) << 37)
#define CAP_MPSMAX (UINT64_C(4) << 52) /* 64 KiB */

/* ---- commands ---- */

#define PSDT_PRP 0u
#define PSDT_SGL 1u
#define PSDT_SGL_BOTH 2u

enum admin_opcode {
    ADMIN_DELETE_SQ = 0x00,
    ADMIN_CREATE_SQ = 0x01,
    ADMIN_GET_LOG = 0x02,
    ADMIN_DELETE_CQ = 0x04,
    ADMIN_CREATE_CQ = 0x05,
    ADMIN_IDENTIFY = 0x06,
    ADMIN_ABORT = 0x08,
    ADMIN_SET_FEATURES = 0x09,
    ADMIN_GET_FEATURES = 0x0a,
    ADMIN_ASYNC_EVENT = 0x0c,
    ADMIN_DOORBELL_BUFFER = 0x7c,
    ADMIN_FORMAT = 0x80,
};

enum io_opcode {
    IO_FLUSH = 0x00,
    IO_WRITE = 0x01,
    IO_READ = 0x02,
    IO_COMPARE = 0x05,
    IO_WRITE_ZEROES = 0x08,
    IO_DATA_SET = 0x09,
    IO_VERIFY = 0x0c,
};

#define NSID_ALL 0xffffffffu

/* ---- status (4.6.1): type in bits 10:8, code in bits 7:0 ---- */

#define STATUS_DNR 0x4000 /* do not retry */

enum status {
    STATUS_OK = 0x000,
    STATUS_INVALID_OPCODE = 0x001,
    STATUS_INVALID_FIELD = 0x002,
    STATUS_DATA_TRANSFER = 0x004,
    STATUS_INTERNAL = 0x006,
    STATUS_ABORTED = 0x007,
    STATUS_QUEUE_DELETED = 0x008,
    STATUS_INVALID_NAMESPACE = 0x00b,
    STATUS_SEQUENCE = 0x00c,
    STATUS_SGL_SEGMENT = 0x00d,
    STATUS_SGL_COUNT = 0x00e,
    STATUS_SGL_LENGTH = 0x00f,
    STATUS_SGL_TYPE = 0x011,
    STATUS_PRP_OFFSET = 0x013,
    STATUS_SGL_OFFSET = 0x016,
    STATUS_WRITE_PROTECTED = 0x020,
    STATUS_LBA_RANGE = 0x080,
    STATUS_CAPACITY = 0x081,
    STATUS_NOT_READY = 0x082,
    STATUS_FORMATTING = 0x084,
    STATUS_INVALID_CQ = 0x100,
    STATUS_INVALID_QUEUE = 0x101,
    STATUS_QUEUE_SIZE = 0x102,
    STATUS_ABORT_LIMIT = 0x103,
    STATUS_EVENT_LIMIT = 0x105,
    STATUS_INTERRUPT_VECTOR = 0x108,
    STATUS_INVALID_LOG = 0x109,
    STATUS_INVALID_FORMAT = 0x10a,
    STATUS_QUEUE_DELETION = 0x10c,
    STATUS_NOT_SAVEABLE = 0x10d,
    STATUS_NOT_CHANGEABLE = 0x10e,
    STATUS_NOT_PER_NAMESPACE = 0x10f,
    STATUS_WRITE_FAULT = 0x280,
    STATUS_READ_ERROR = 0x281,
    STATUS_COMPARE = 0x285,
};

/* ---- events (5.2) ---- */

enum event_type {
    EVENT_ERROR = 0,
    EVENT_SMART = 1,
    EVENT_NOTICE = 2,
    EVENT_TYPES,
};

#define EVENT_BAD_DOORBELL 0x00
#define EVENT_BAD_DOORBELL_VALUE 0x01
#define EVENT_TEMPERATURE 0x01
#define EVENT_NAMESPACES 0x00

enum log_page {
    PAGE_ERRORS = 0x01,
    PAGE_SMART = 0x02,
    PAGE_FIRMWARE = 0x03,
    PAGE_NAMESPACES = 0x04,
    PAGE_EFFECTS = 0x05,
};

/* ---- features (5.21.1) ---- */

enum feature {
    FEATURE_ARBITRATION = 0x01,
    FEATURE_POWER = 0x02,
    FEATURE_TEMPERATURE = 0x04,
    FEATURE_ERROR_RECOVERY = 0x05,
    FEATURE_WRITE_CACHE = 0x06,
    FEATURE_QUEUES = 0x07,
    FEATURE_COALESCING = 0x08,
    FEATURE_VECTOR = 0x09,
    FEATURE_ATOMICITY = 0x0a,
    FEATURE_EVENTS = 0x0b,
    FEATURE_TIMESTAMP = 0x0e,
    FEATURES,
};

#endif
