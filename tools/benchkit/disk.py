# SPDX-License-Identifier: GPL-2.0-or-later
"""Group disk: requests by bus master DMA, one at a time as IDE has them."""
import os

from .ide import DMA, PRD_4K, PRD_64K
from .processes import cpu_ns


def disk(b):
    b.place(True)
    jobs = []
    for where, place in ((0, "tmpfs"), (1, "disk")):
        for kind, text, count, prd, lba in (
                ("4k", "4 KiB random", 8, PRD_4K, f"rand,{b.sectors},8"),
                ("64k", "64 KiB sequential", 128, PRD_64K, f"seq,{b.sectors},128")):
            for direction, dtext, command, bits in (("read", "read", "0xc8", 8), ("write", "write", "0xca", 0)):
                key = f"dma_{kind}_{direction}_{place}"
                what = f"DMA {text} {dtext}, {place}"
                budget = [("qemu", 1, ">= QEMU")] if direction == "read" else None
                rate = b.row(key, what, "req/s", better="more", budget=budget)
                lat = b.row(key + "_us", "... latency", "us")
                cpu = b.row(key + "_cpu", "... CPU of the device model per request", "us",
                            budget=[("qemu", 0.5, "<= 1/2 QEMU")] if direction == "read" else None)
                op = DMA.format(count=count, prd=prd, direction=bits, command=command)
                op = op.replace(f"{bits}|1", str(bits | 1)).replace("0x1f6 0xe0", f"0x1f6 {0xe0 | where << 4}")
                jobs.append((key, where, direction, lba, op, rate, lat, cpu))
    n = 100 if b.quick else 300
    for rep in range(b.reps):
        for key, where, direction, lba, op, rate, lat, cpu in jobs:
            for name in b.dms:
                g = b.running[name]
                c = g.cpu()
                c("spin 200")
                c("outb 0x3f6 0")
                c(f"outb 0x1f6 {0xe0 | where << 4}")
                if where == 1 and direction == "read":
                    with open(b.image(1, name), "rb") as f:
                        os.fdatasync(f.fileno())
                        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                before = cpu_ns(g.pid)
                r = c.bench(f"benchseq {n} lba={lba} {op}")
                cpu.add(name, (cpu_ns(g.pid) - before) / 1000 / n)
                rate.add(name, n / r["total"] * 1e9)
                lat.add(name, r["p50"] / 1000)
        b.say(f"disk, round {rep + 1} of {b.reps}")
