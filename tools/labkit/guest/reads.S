/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest of one sector that reads the status of the disk for ever, each an access that the device model answers, and prints a
 * character for every BATCH of them to the first serial port. What it is told there is how:
 *   b   busy: one after the other, "b"
 *   a   alone: it counts a while between them, so that the device model goes to sleep, "a"
 */
        .code16
        .globl _start
        .equ    BATCH, 16
        .equ    COUNT, 60000            /* turns of two instructions: some hundred microseconds */
_start:
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        cli
        movb    $'T', mode
again:  movb    mode, %al
        call    put
        movw    $0x3fd, %dx
        inb     %dx, %al
        testb   $1, %al
        jz      1f
        movw    $0x3f8, %dx
        inb     %dx, %al
        movb    %al, mode
1:      movw    $BATCH, %cx
2:      movw    $0x1f7, %dx
        inb     %dx, %al
        cmpb    $'b', mode
        je      4f
        movw    $COUNT, %bx
3:      decw    %bx
        jnz     3b
4:      loop    2b
        jmp     again

        .include "com1.S"

mode:   .byte   'T'

        .org    510
        .byte   0x55, 0xaa
