/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI Local Bus 3.0, header type 0 and capabilities: register offsets and bits that the bus uses.
 */
#ifndef XENDM_HW_CORE_PCI_REGS_H
#define XENDM_HW_CORE_PCI_REGS_H

#include <stdint.h>

struct pci_device;

enum {
    PCI_VENDOR = 0x00,
    PCI_DEVICE = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION = 0x08,
    PCI_CLASS = 0x09, /* 3 bytes */
    PCI_CACHE_LINE = 0x0c,
    PCI_LATENCY = 0x0d,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BASE_ADDRESS = 0x10,
    PCI_SUBSYSTEM_VENDOR = 0x2c,
    PCI_SUBSYSTEM = 0x2e,
    PCI_ROM_ADDRESS = 0x30,
    PCI_CAPABILITIES = 0x34,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
};

#define PCI_HEADER_SIZE 0x40u

#define PCI_COMMAND_IO 0x0001
#define PCI_COMMAND_MEMORY 0x0002
#define PCI_COMMAND_MASTER 0x0004
#define PCI_COMMAND_PARITY 0x0040
#define PCI_COMMAND_SERR 0x0100
#define PCI_COMMAND_INTX_OFF 0x0400

#define PCI_STATUS_INTX 0x08         /* low byte */
#define PCI_STATUS_CAPABILITIES 0x10 /* low byte */
#define PCI_STATUS_W1C 0xf900

#define PCI_HEADER_MULTIFUNCTION 0x80
#define PCI_BAR_SPACE_IO 0x1u
#define PCI_BAR_TYPE_64 0x4u
#define PCI_BAR_PREFETCHABLE 0x8u
#define PCI_ROM_ENABLE 0x1u

#define PCI_CAP_PM 0x01
#define PCI_CAP_MSI 0x05
#define PCI_CAP_MSIX 0x11
#define PCI_CAP_AF 0x13

/* Offsets in the capabilities. */
#define PCI_PM_CONTROL 4u
#define PCI_PM_STATE_MASK 0x03
#define PCI_PM_D3 3u
#define PCI_PM_NO_SOFT_RESET 0x08
#define PCI_AF_LENGTH 2u
#define PCI_AF_OFFERS 3u
#define PCI_AF_PENDING_FLR 0x03 /* transactions pending, function level reset */
#define PCI_AF_CONTROL 4u
#define PCI_AF_INITIATE 0x01
#define PCI_AF_STATUS 5u
#define PCI_AF_PENDING 0x01
#define PCI_AF_SIZE 6u
#define PCI_MSI_CONTROL 2u
#define PCI_MSI_ENABLE 0x0001
#define PCI_MSI_CAPABLE_SHIFT 1
#define PCI_MSI_ALLOCATED 0x0070
#define PCI_MSI_ALLOCATED_SHIFT 4
#define PCI_MSI_64 0x0080
#define PCI_MSI_ADDRESS 4u
#define PCI_MSIX_CONTROL 2u
#define PCI_MSIX_MASK_ALL 0x4000
#define PCI_MSIX_ENABLE 0x8000

static inline uint16_t config_get16(const uint8_t *config, unsigned reg)
{
    return (uint16_t)(config[reg] | config[reg + 1] << 8);
}

static inline uint32_t config_get32(const uint8_t *config, unsigned reg)
{
    return config_get16(config, reg) | (uint32_t)config_get16(config, reg + 2) << 16;
}

static inline void config_put16(uint8_t *config, unsigned reg, uint16_t value)
{
    config[reg] = (uint8_t)value;
    config[reg + 1] = (uint8_t)(value >> 8);
}

static inline void config_put32(uint8_t *config, unsigned reg, uint32_t value)
{
    config_put16(config, reg, (uint16_t)value);
    config_put16(config, reg + 2, (uint16_t)(value >> 16));
}

/* D state of the PM capability; 0 without one. */
unsigned pci_power_state(const struct pci_device *pci);

#endif
