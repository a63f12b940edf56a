/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fw_cfg: what firmware is given by name or number (docs/specs/fw_cfg.rst of QEMU). Device class
 * "fw_cfg"; under Xen a machine has one only when a kernel is given, as QEMU's has.
 *
 * Items are added while the machine is built and stay as they are. Data is copied; a blob is read
 * when the guest reads it. A key that is taken, or a number out of range, is a bug of the caller.
 */
#ifndef XENDM_FW_CFG_H
#define XENDM_FW_CFG_H

#include <stddef.h>
#include <stdint.h>

struct blob;
struct device;

enum fw_cfg_key {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_VCPUS = 0x05,
    FW_CFG_KERNEL_ADDR = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_INITRD_ADDR = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_SETUP_ADDR = 0x16,
    FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18,
    FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
};
#define FW_CFG_FILE_SLOTS 32u
#define FW_CFG_NAME_MAX 55u /* bytes of a file's name */

void fw_cfg_add_bytes(struct device *fw_cfg, unsigned key, const void *data, size_t len);
void fw_cfg_add_number(struct device *fw_cfg, unsigned key, uint32_t value, unsigned bytes);
/* `len` bytes of `b` from `offset` on, which it has. */
void fw_cfg_add_blob(struct device *fw_cfg, unsigned key, struct blob *b, uint64_t offset,
                     uint32_t len);

/* Named items, in order of the calls. */
void fw_cfg_add_file(struct device *fw_cfg, const char *name, const void *data, size_t len);
void fw_cfg_add_file_blob(struct device *fw_cfg, const char *name, struct blob *b);

#endif
