# SPDX-License-Identifier: GPL-2.0-or-later
"""Group string: disk data by REP INSW."""
from .processes import cpu_ns
from .ide import BUFFER


def string(b):
    b.place(True)
    row = b.row("insw", "REP INSW disk read, tmpfs", "MB/s", better="more",
                budget=[("qemu", 5, ">= 5 QEMU")])
    move = b.row("insw_sector", "... one sector: status and REP INSW", "us",
                 budget=[("qemu", 0.2, "<= 1/5 QEMU")])
    cpu = b.row("insw_cpu", "... CPU of the device model per sector", "us")
    op = " ; ".join([f"outb 0x1f2 8 ; outb 0x1f3 $0 ; outb 0x1f4 $1 ; outb 0x1f5 $2 ; outb 0x1f6 0xe0 ; outb 0x1f7 0x20"] +
                    [f"until inb 0x1f7 0x88 0x08 ; ins 0x1f0 2 256 {BUFFER + 512 * i}" for i in range(8)])
    n = 50 if b.quick else 150
    for rep in range(b.reps):
        for name in b.dms:
            g = b.running[name]
            c = g.cpu()
            c("spin 200")
            c("outb 0x3f6 2")       # no interrupts, as SeaBIOS reads
            before = cpu_ns(g.pid)
            r = c.bench(f"benchseq {n} lba=seq,{b.sectors},8 {op}")
            cpu.add(name, (cpu_ns(g.pid) - before) / 1000 / (n * 8))
            row.add(name, n * 4096 / r["total"] * 1000)
            c("outb 0x1f2 255")
            c("outb 0x1f7 0x20")
            one = c.bench(f"benchseq 200 until inb 0x1f7 0x88 0x08 ; ins 0x1f0 2 256 {BUFFER}")
            c("outb 0x3f6 6")
            c("outb 0x3f6 2")
            c.bench("benchseq 1 until inb 0x3f6 0x80 0")
            c("outb 0x1f6 0xe0")
            move.add(name, one["p50"] / 1000)
        b.say(f"string, round {rep + 1} of {b.reps}")
