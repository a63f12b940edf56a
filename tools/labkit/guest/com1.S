/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AL to COM1 */
put:    pushw   %ax
        movw    $0x3fd, %dx
1:      inb     %dx, %al
        testb   $0x20, %al
        jz      1b
        popw    %ax
        movw    $0x3f8, %dx
        outb    %al, %dx
        ret
