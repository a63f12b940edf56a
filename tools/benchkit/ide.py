# SPDX-License-Identifier: GPL-2.0-or-later
"""What an IDE driver writes."""

# For one DMA request: task file, descriptor table, command, go, interrupt, acknowledge.
DMA = ("outb 0x1f2 {count} ; outb 0x1f3 $0 ; outb 0x1f4 $1 ; outb 0x1f5 $2 ; outb 0x1f6 0xe0 ; outl 0xc004 {prd} ; "
       "inb 0xc000 ; outb 0xc000 {direction} ; outb 0x1f7 {command} ; inb 0xc000 ; outb 0xc000 {direction}|1 ; irq 14 ; "
       "inb 0xc002 ; outb 0xc000 {direction} ; inb 0x3f6 ; inb 0x1f7 ; outb 0xc002 4")
PRD_4K, PRD_64K, BUFFER = 0x8000, 0x8100, 0x100000

SETUP = ("pciwrite 00:01.1 0x40 2 0x8000", "pciwrite 00:01.1 0x42 2 0x8000",
         "pciwrite 00:01.1 0x20 4 0xc001", "pciwrite 00:01.1 0x04 2 5",
         f"memset {BUFFER} 0x10000 0", "outb 0x1f6 0xe0",
         f"writel {PRD_4K} {BUFFER}", f"writel {PRD_4K + 4} 0x80001000",
         f"writel {PRD_64K} {BUFFER}", f"writel {PRD_64K + 4} 0x80000000")
