/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest of one sector that would notice if anything was lost, repeated or corrupted while it was
 * saved, restored or moved. Turn n: write sector 64 + n % 64 with a pattern made of n, read it back,
 * read the oldest of the 64, compare both, and print n as eight hexadecimal digits and a newline.
 * "!" and the number that a sector should have had: it had not.
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

again:  incl    n
        movl    n, %eax
        movw    $0x9000, %di
        call    pattern
        movl    n, %eax
        movw    $0x9000, packet + 4
        movb    $0x43, %bl
        call    disk
        movl    n, %eax
        call    verify
        movl    n, %eax
        subl    $63, %eax
        jbe     1f
        call    verify
1:      movl    n, %eax
        call    number
        movb    $10, %al
        call    put
        jmp     again

/* 128 words that follow from EAX, at DI */
pattern:
        movw    $128, %cx
1:      stosl
        addl    $0x01010101, %eax
        loop    1b
        ret

/* The sector of turn EAX has to hold its pattern. */
verify: pushl   %eax
        movw    $0x8000, %di
        movw    $128, %cx
        rep stosl
        movw    $0x8000, packet + 4
        movb    $0x42, %bl
        call    disk
        popl    %eax
        pushl   %eax
        movw    $0x9200, %di
        call    pattern
        movw    $0x8000, %si
        movw    $0x9200, %di
        movw    $128, %cx
        repe cmpsl
        popl    %eax
        jne     wrong
        ret

/* Sector of turn EAX; BL = 42h read or 43h write */
disk:   andl    $63, %eax
        addl    $64, %eax
        movl    %eax, packet + 8
        movw    $1, packet + 2          /* the BIOS stores the number done here */
        movb    %bl, %ah
        movb    $0, %al
        movb    $0x80, %dl
        movw    $packet, %si
        int     $0x13
        jc      wrong
        ret

wrong:  pushl   %eax
        movb    $'!', %al
        call    put
        popl    %eax
        call    number
        hlt
        jmp     wrong

/* EAX in hexadecimal */
number: movw    $8, %cx
1:      roll    $4, %eax
        pushl   %eax
        andb    $15, %al
        addb    $'0', %al
        cmpb    $'9', %al
        jbe     2f
        addb    $7, %al
2:      call    put
        popl    %eax
        loop    1b
        ret

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

        .balign 4
packet: .byte   16, 0
        .word   1
        .word   0x8000, 0               /* buffer, then sector */
        .long   0, 0
n:      .long   0

        .org    510
        .byte   0x55, 0xaa
