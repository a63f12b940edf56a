# SPDX-License-Identifier: GPL-2.0-or-later
"""Group access: single accesses, busy and alone."""
import os
import subprocess


class BusyLoop:
    """Somebody else on the device model's CPU, as in a busy dom0."""

    def __enter__(self):
        last = sorted(os.sched_getaffinity(0))[-1]
        self.run = subprocess.Popen(["taskset", "-c", str(last), "sh", "-c", "while :; do :; done"])
        return self

    def __exit__(self, *error):
        self.run.kill()
        self.run.wait()


def beside_others(b, cpus):
    median = b.row("pio_read_beside", "PIO read, one per 1 ms, beside a busy loop", "us", budget=[("qemu", 1, "<= QEMU")])
    mean = b.row("pio_read_beside_mean", "... mean", "us", budget=[("qemu", 1, "<= QEMU")])
    for rep in range(b.reps):
        for name, c in cpus.items():
            with BusyLoop():
                c("spin 5000")
                r = c.bench(f"benchseq {100 if b.quick else 300} gap=1000 inb 0x1f7")
                median.add(name, r["p50"] / 1000)
                mean.add(name, r["total"] / r["n"] / 1000)
    b.say("access, beside a busy loop")


def access(b):
    b.place(True)
    what = [("pio_read", "PIO read", "inb 0x1f7"), ("pio_write", "PIO write", "outb 0x1f3 5"),
            ("mmio_read", "MMIO read", "readl 0xa0000"), ("config_read", "PCI config read", "pciread 00:01.1 0 4")]
    modes = [("spin", "busy, vCPU runs", 200, 0, 5000), ("sleep", "busy, vCPU sleeps", 0, 0, 2000),
             ("spaced", "one per 0.5 ms, vCPU runs", 200, 500, 100)]
    rows = {}
    for key, text, op in what:
        for mode, mtext, *_ in modes:
            rows[key, mode] = b.row(f"{key}_{mode}", f"{text}, {mtext}", "us", budget=[
                ("qemu", 0.5, "<= 1/2 QEMU"), ("floor", 1.3, "<= 1.3 floor")])
    rows["post", "spin"] = b.row("buffered_write", "Buffered write, for the vCPU", "us",
                                 budget=[("floor", 1.3, "<= 1.3 floor")])
    rows["drain", "spin"] = b.row("buffered_drain", "500 buffered writes until all are done", "us")
    cpus = {name: g.cpu() for name, g in b.running.items()}
    for rep in range(b.reps):
        for key, text, op in what:
            for mode, mtext, spin, gap, n in modes:
                n = n if not b.quick else n // 2
                for name, c in cpus.items():
                    c(f"spin {spin}")
                    r = c.bench(f"benchseq {n} {'gap=%d ' % gap if gap else ''}{op}")
                    rows[key, mode].add(name, r["p50"] / 1000)
        for name, c in cpus.items():
            c("spin 200")
            r = c.bench("benchseq 200 gap=300 writeb 0xa0000 5")
            rows["post", "spin"].add(name, r["p50"] / 1000)
            start = c.bench("benchseq 500 writeb 0xa0000 5")
            end = c.bench("benchseq 1 readb 0xa0000")
            rows["drain", "spin"].add(name, (start["total"] + end["total"]) / 1000)
        b.say(f"access, round {rep + 1} of {b.reps}")
    beside_others(b, cpus)
