/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the board fills in before the guest starts. */
#ifndef XENDM_HW_PC_CMOS_H
#define XENDM_HW_PC_CMOS_H

#include <stdint.h>

struct device;

/* Index 14..127. */
void cmos_set(struct device *cmos, unsigned index, uint8_t value);

#endif
