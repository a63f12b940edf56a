/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest of one sector that would notice if anything was lost, repeated or corrupted while it was
 * saved, restored or moved. It sets a graphics mode, and then in turn n
 *   writes sector 64 + n % 64 with a pattern made of n, and reads it back into buffer n % 64
 *     (which the device model writes: with REP INS, when the BIOS uses PIO);
 *   writes n to a place n % 64 in the video memory's window;
 *   looks whether the new buffer, the oldest of the 64 and the oldest of the 64 places hold what they
 *     were given;
 *   prints n as eight hexadecimal digits and a newline.
 * "!" and a number: something did not.
 *
 * With SOFT_RESET it shuts down in that turn for the reason that asks the toolstack for a soft reset, after
 * which the domain, its memory as it was, goes on behind the hypercall, with a new device model.
 */
        .code16
        .globl _start
_start:
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        cld
        sti
        movw    $0x4f02, %ax            /* 800 x 600 in 24 bits */
        movw    $0x115, %bx
        int     $0x10
        pushw   $0xa000
        popw    %fs
        pushw   $0x2000
        popw    %es

again:  incl    n
        .ifdef SOFT_RESET
        cmpl    $SOFT_RESET, n
        je      soft_reset
goon:
        .endif
        movl    n, %eax
        pushw   %es
        pushw   %ds
        popw    %es
        movw    $0x9000, %di
        movw    $128, %cx
1:      stosl
        addl    $0x01010101, %eax
        loop    1b
        popw    %es

        movw    $0x9000, packet + 4
        movw    $0, packet + 6
        movb    $0x43, %ah
        call    disk
        call    slot
        movw    %di, packet + 4
        movw    $0x2000, packet + 6
        movb    $0x42, %ah
        call    disk
        call    verify

        call    slot
        addw    %di, %di
        movl    n, %eax
        movl    %eax, %fs:(%di)

        subl    $63, n
        jbe     1f
        call    verify
        call    slot
        addw    %di, %di
        movl    n, %eax
        cmpl    %eax, %fs:(%di)
        jne     wrong
1:      addl    $63, n
        movl    n, %eax
        call    number
        jmp     again

/* DI = offset of buffer n % 64 */
slot:   movw    n, %di
        andw    $63, %di
        shlw    $9, %di
        ret

/* That buffer has to hold turn n's pattern. */
verify: call    slot
        movl    n, %eax
        movw    $128, %cx
1:      scasl
        jne     wrong
        addl    $0x01010101, %eax
        loop    1b
        ret

/* AH = 42h read or 43h write; sector of turn n */
disk:   movb    n, %al
        andb    $63, %al
        orb     $64, %al
        movb    %al, packet + 8
        movw    $1, packet + 2          /* the BIOS stores the number done here */
        movb    $0, %al
        movb    $0x80, %dl
        movw    $packet, %si
        int     $0x13
        jc      wrong
        ret

wrong:  movb    $'!', %al
        call    put
        movl    n, %eax
        call    number
        hlt
        jmp     wrong

/* EAX in hexadecimal, newline */
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
        movb    $10, %al

        .include "com1.S"

        .ifdef SOFT_RESET
/* Xen takes hypercalls in protected mode only. The data segments stay what they are. */
soft_reset:
        cli
        movl    $0x40000002, %eax       /* EBX = the MSR that makes a hypercall page */
        cpuid
        movl    %ebx, %ecx
        movl    $0x5000, %eax
        xorl    %edx, %edx
        wrmsr
        lgdtl   gdtr
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmp    $8, $1f
        .code32
1:      movl    $2, %ebx                /* SCHEDOP_shutdown */
        movl    $reason, %ecx
        movl    $0x5000 + 29 * 32, %eax /* __HYPERVISOR_sched_op */
        call    *%eax
        ljmp    $16, $1f
        .code16
1:      movl    %cr0, %eax
        andb    $0xfe, %al
        movl    %eax, %cr0
        ljmp    $0, $1f
1:      sti
        jmp     goon

        .balign 8
gdt:    .quad   0, 0x00cf9b000000ffff, 0x00009b000000ffff       /* code: 32 bits, 16 bits */
gdtr:   .word   23
        .long   gdt
reason: .long   5                       /* SHUTDOWN_soft_reset */
        .endif

        .balign 4
packet: .byte   16, 0
        .word   1
        .word   0, 0                    /* buffer: offset, segment */
        .long   64, 0
n:      .long   0

        .org    510
        .byte   0x55, 0xaa
