/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest of one sector, for tests that need a device model and a disk but no operating system. It
 * writes to the first serial port:
 *   T        it runs
 *   R or rNN sector 8 was read, or the BIOS's status (hex)
 *   W or wNN the same for writing it
 *   E or eNN reading the last sector of the disk (by its size as the BIOS reports it)
 *   .        once per 64 sectors, while it reads and writes for ever (LBA 64 ... 127)
 */
        .code16
        .globl _start
_start:
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        cld
        sti
        movb    $'T', %al
        call    put

        movw    $8, lba
        movb    $0x42, %ah
        movb    $'R', %bl
        call    transfer
        movb    $0x43, %ah
        movb    $'W', %bl
        call    transfer

        movw    $params, %si            /* size of the disk in sectors, at offset 16 */
        movb    $0x48, %ah
        movb    $0x80, %dl
        int     $0x13
        movl    params + 16, %eax
        decl    %eax
        movl    %eax, lba
        movb    $0x42, %ah
        movb    $'E', %bl
        call    transfer

again:  movl    $64, lba
1:      movb    $0x42, %ah
        call    disk
        movb    $0x43, %ah
        call    disk
        incl    lba
        cmpl    $128, lba
        jb      1b
        movb    $'.', %al
        call    put
        jmp     again

/* One sector at `lba`, AH = 42h read or 43h write: status in AH, carry on error. */
disk:   pushw   %bx
        movb    $0, %al
        movb    $0x80, %dl
        movw    $packet, %si
        movw    $1, packet + 2          /* the BIOS stores the number done here */
        int     $0x13
        popw    %bx
        ret

/* disk, then report with the letter in BL. */
transfer:
        call    disk
        movb    %ah, %cl
        movb    %bl, %al
        jnc     put
        orb     $0x20, %al
        call    put
        movb    %cl, %al
        shrb    $4, %al
        call    digit
        movb    %cl, %al
        andb    $15, %al
digit:  addb    $'0', %al
        cmpb    $'9', %al
        jbe     put
        addb    $7, %al

        .include "com1.S"

        .balign 4
packet: .byte   16, 0
        .word   1
        .word   0x8000, 0               /* buffer 0000:8000 */
lba:    .long   0, 0
params: .word   30

        .org    510
        .byte   0x55, 0xaa
