# SPDX-License-Identifier: GPL-2.0-or-later
"""Groups qdisk and qcow2: a PV disk, with xenemu as its front end."""
import os
import subprocess
import time

from .guest import TIMED_OUT, Failed
from .processes import cpu_ns, cpu_of, servers

RING, RING_PAGES, FIRST_REF = 0x1000, 8, 100        # the ring's first page; eight of them have room for 256 requests
DEVICE = 51712                                      # xvda
CONNECTED = "4"


class FrontEnd:
    """What the toolstack and the guest write until the disk is connected; then the ring is ready for benchblk."""

    def __init__(self, g, image, image_format):
        self.env = dict(os.environ, XENSTORED_RUNDIR=g.dir)
        self.here = f"/local/domain/0/backend/qdisk/1/{DEVICE}"
        self.there = f"/local/domain/1/device/vbd/{DEVICE}"
        self.cpu = g.cpu()
        self.offer({"frontend": self.there, "frontend-id": 1, "device-type": "disk", "mode": "w", "type": "qdisk",
                    "dev": "xvda", "removable": 0, "bootable": 1, "direct-io-safe": 0, "online": 1,
                    "params": f"{image_format}:{image}", "state": 1})
        self.connect()

    def xenstore(self, tool, *words):
        run = subprocess.run(["xenstore-" + tool, *words], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, check=False)
        if run.returncode:
            raise Failed(f"xenstore-{tool} {' '.join(words)}: {run.stdout}")
        return run.stdout.strip()

    def write(self, base, keys):
        self.xenstore("write", *[word for key, value in keys.items() for word in (f"{base}/{key}", str(value))])

    def wait(self, state):
        end = time.monotonic() + TIMED_OUT
        while self.xenstore("read", self.here + "/state") != state:
            if time.monotonic() > end:
                raise Failed(f"the disk does not come to state {state}: " + self.xenstore("ls", self.here))
            time.sleep(0.02)

    def offer(self, keys):
        self.write(self.there, {"state": 1, "backend": self.here, "backend-id": 0})
        self.write(self.here, keys)
        self.wait("2")

    def connect(self):
        refs = {}
        self.cpu(f"memset {RING << 12} {RING_PAGES << 12} 0")
        self.cpu(f"writel {(RING << 12) + 4} 1")        # both sides are told of the first request and the first answer
        self.cpu(f"writel {(RING << 12) + 12} 1")
        for i in range(RING_PAGES):
            self.cpu(f"grant add {FIRST_REF + i} {RING + i}")
            refs[f"ring-ref{i}"] = FIRST_REF + i
        self.port = int(self.cpu("evtchn alloc").split()[1])
        keys = self.xenstore("list", self.here).split("\n")
        self.indirect = int("feature-max-indirect-segments" in keys)
        self.write(self.there, {**refs, "ring-page-order": RING_PAGES.bit_length() - 1, "event-channel": self.port,
                                "protocol": "x86_64-abi", "state": 3})
        self.wait(CONNECTED)
        self.write(self.there, {"state": CONNECTED})

    def bench(self, way, count, size, depth, order, sectors):
        return self.cpu.bench(f"benchblk {way} {count} {size} {depth} {RING} {RING_PAGES} {self.port} {self.indirect} "
                              f"{order} {sectors}")


def rows_for(b, key, what, budgets):
    rate, cpu = budgets
    return (b.row(key, what, "MB/s", better="more", budget=rate),
            b.row(key + "_us", "... latency", "us"),
            b.row(key + "_cpu", "... CPU of the device model a transfer", "us", budget=cpu))


def measure(b, jobs, fronts, guests, images):
    beside = {name: servers(images[name]) for name in guests}

    def used(name):
        return cpu_of(guests[name].pid) + sum(map(cpu_ns, beside[name]))

    for rep in range(b.reps):
        for way, size, depth, order, total, rows in jobs:
            rate, latency, cpu = rows
            n = max(2 * depth, (total // 4 if b.quick else total) // size)
            for name, front in fronts.items():
                with open(images[name], "rb") as f:
                    os.fdatasync(f.fileno())
                front.cpu("spin 200")
                before = used(name)
                r = front.bench(way, n, size, depth, order, b.sectors)
                cpu.add(name, (used(name) - before) / 1000 / n)
                rate.add(name, n * size / r["total"] * 1e3)
                latency.add(name, r["p50"] / 1000)
        b.say(f"{b.group}, round {rep + 1} of {b.reps}")


def qdisk(b):
    jobs = []
    for size, text, order, total in ((4096, "4 KiB, random", "rand", 16 << 20), (65536, "64 KiB", "seq", 128 << 20),
                                     (1 << 20, "1 MiB", "seq", 256 << 20)):
        for depth in (1, 32, 256) if size < 1 << 20 else (1, 32):
            for way in ("read", "write"):
                jobs.append((way, size, depth, order, total, rows_for(
                    b, f"qdisk_{size}_{depth}_{way}", f"PV disk, {text}, {way}, depth {depth}",
                    ([("qemu", 1.5, ">= 1.5 QEMU")], [("qemu", 0.5, "<= 1/2 QEMU")]))))
    images = {name: b.image(0, name) for name in b.dms}
    guests = {name: b.start(f"qdisk-{name}", *b.dms[name], options=["--disk", images[name]]) for name in b.dms}
    b.running = guests
    b.place(True)
    fronts = {name: FrontEnd(g, images[name], "aio") for name, g in guests.items()}
    measure(b, jobs, fronts, guests, images)


def qcow2(b):
    images = {name: b.image(0, name)[:-4] + ".qcow2" for name in b.dms}
    for name, image in images.items():
        run = subprocess.run(["qemu-img", "convert", "-O", "qcow2", b.image(0, name), image], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, check=False)
        if run.returncode:
            raise Failed(f"qemu-img: {run.stdout}")
    jobs = []
    for size, text, order, total in ((4096, "4 KiB, random", "rand", 16 << 20), (65536, "64 KiB", "seq", 128 << 20)):
        for depth in (1, 32):
            for way in ("read", "write"):
                jobs.append((way, size, depth, order, total, rows_for(
                    b, f"qcow2_{size}_{depth}_{way}", f"PV disk on qcow2, {text}, {way}, depth {depth}",
                    ([("qemu", 0.9, ">= 0.9 QEMU")] if depth == 32 else None, None))))
    guests = {name: b.start(f"qcow2-{name}", *b.dms[name], options=["--disk", images[name]]) for name in b.dms}
    b.running = guests
    fronts = {name: FrontEnd(g, images[name], "qcow2") for name, g in guests.items()}
    measure(b, jobs, fronts, guests, images)
