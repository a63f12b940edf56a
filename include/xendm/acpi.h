/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI power management controller (piix4_pm_class): what the board and hot-plug tell it. The
 * register blocks are those that hvmloader's DSDT describes: CPU map at 0xAF00 (GPE0 bit 2), PCI
 * slots at 0xAE00 (GPE0 bit 1).
 */
#ifndef XENDM_ACPI_H
#define XENDM_ACPI_H

#include <stdbool.h>

struct device;

#define ACPI_VCPU_MAX 256u

/*
 * Marks a vCPU online and tells the guest; false when it was online already. `vcpu` below
 * ACPI_VCPU_MAX.
 */
bool acpi_vcpu_online(struct device *pm, unsigned vcpu);
bool acpi_vcpu_is_online(struct device *pm, unsigned vcpu);

#endif
