/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PV back ends that there are. The daemon closes the others (dm/backends.c). */
#include "internal.h"

const struct pv_class *const *pv_classes(void)
{
    static const struct pv_class *const classes[] = {
        &pv_kbd_class, &pv_blk_class, &pv_console_class, &pv_fb_class, &pv_p9_class,
        &pv_usb_class, &pv_vif_class, &pv_snd_class,     NULL};

    return classes;
}
