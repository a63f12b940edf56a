# SPDX-License-Identifier: GPL-2.0-or-later
"""Groups ahci, nvme, lsi, virtio-blk and virtio-scsi: a controller's driver in xenemu (benchdisk), at several depths."""
import os

from .processes import cpu_of

BAR, SLOT = 0xf0000000, 5
SECTORS = 131072
LSI_RAM = 0x10000
OPTIONS = {
    "ahci": ["--device", f"ahci,id=c0,addr=0{SLOT}"],
    "nvme": ["--device", f"nvme,drive=d0,serial=bench,addr=0{SLOT}"],
    "lsi": ["--device", f"lsi53c895a,id=c0,addr=0{SLOT}"],
    "virtio-blk": ["--device", f"virtio-blk-pci,drive=d0,num-queues=1,queue-size=128,addr=0{SLOT}"],
    "virtio-scsi": ["--device", f"virtio-scsi-pci,id=c0,num_queues=1,virtqueue_size=128,addr=0{SLOT}"],
}
DISKS = {"ahci": ["-device", "ide-hd,bus=c0.0,drive=d0"], "nvme": [], "virtio-blk": [],
         "lsi": ["-device", "scsi-hd,drive=d0,scsi-id=0"], "virtio-scsi": ["-device", "scsi-hd,drive=d0,scsi-id=0"]}
BARS = {"ahci": [(0x24, BAR)], "nvme": [(0x10, BAR), (0x14, 0)], "lsi": [(0x14, BAR), (0x18, BAR + LSI_RAM)],
        "virtio-blk": [(0x20, BAR), (0x24, 0)], "virtio-scsi": [(0x20, BAR), (0x24, 0)]}
NAMES = {"ahci": "AHCI", "nvme": "NVMe", "lsi": "LSI 53C895A", "virtio-blk": "virtio disk",
         "virtio-scsi": "virtio SCSI"}
DEEPEST = {"ahci": 32, "nvme": 64, "lsi": 64, "virtio-blk": 64, "virtio-scsi": 64}


def start(b, kind, name):
    g = b.start(f"{kind}-{name}", *b.dms[name], options=OPTIONS[kind] + [
        "--", "-drive", f"file={b.image(0, name)},if=none,id=d0,format=raw"] + DISKS[kind])
    cpu = g.cpu()
    for at, value in BARS[kind]:
        cpu(f"pciwrite 00:0{SLOT}.0 {at} 4 {value}")
    cpu(f"pciwrite 00:0{SLOT}.0 4 2 6")
    return g, cpu


def jobs(b, kind):
    """(way, bytes, depth, order, requests, rows)"""
    for size, text, order, count in ((4096, "4 KiB, random", "rand", 2000), (65536, "64 KiB", "seq", 800)):
        for depth in (1, 8, DEEPEST[kind]):
            for way in ("read", "write"):
                key = f"{kind}_{size}_{depth}_{way}"
                need = (2, ">= 2 QEMU") if depth == 1 else (1.5, ">= 1.5 QEMU")
                yield way, size, depth, order, count // 4 if b.quick else count, (
                    b.row(key, f"{NAMES[kind]}, {text}, {way}, depth {depth}", "req/s", better="more",
                          budget=[("qemu", *need)]),
                    b.row(key + "_us", "... latency", "us"),
                    b.row(key + "_cpu", "... CPU of the device model a request", "us",
                          budget=[("qemu", 0.5, "<= 1/2 QEMU")]))


def controller(b, kind):
    guests = {name: start(b, kind, name) for name in b.dms}
    b.running = {name: g for name, (g, _) in guests.items()}
    b.place(True)
    todo = list(jobs(b, kind))
    for rep in range(b.reps):
        for way, size, depth, order, n, (rate, latency, used) in todo:
            for name, (g, cpu) in guests.items():
                with open(b.image(0, name), "rb") as f:
                    os.fdatasync(f.fileno())
                before = cpu_of(g.pid)
                r = cpu.bench(f"benchdisk {kind} {way} {n} {size} {depth} {BAR} {SLOT} {order} {SECTORS}")
                used.add(name, (cpu_of(g.pid) - before) / 1000 / n)
                rate.add(name, n / r["total"] * 1e9)
                latency.add(name, r["p50"] / 1000)
        b.say(f"{kind}, round {rep + 1} of {b.reps}")


def ahci(b):
    controller(b, "ahci")


def nvme(b):
    controller(b, "nvme")


def lsi(b):
    controller(b, "lsi")


def virtio(b):
    controller(b, "virtio-blk")


def virtio_scsi(b):
    controller(b, "virtio-scsi")
