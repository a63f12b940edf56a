/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to xendm-usb: what it gives up before it looks at the device. */
#ifndef BACKENDS_USB_CONFINE_H
#define BACKENDS_USB_CONFINE_H

#include <stdbool.h>

bool confine_to_device(void);

#endif
