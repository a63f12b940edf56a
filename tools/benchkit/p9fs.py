# SPDX-License-Identifier: GPL-2.0-or-later
"""Group 9pfs: a directory, with xenemu as the front end."""
import os
import shutil
import struct
import tempfile

import p9

from .processes import cpu_ns, cpu_of
from .qdisk import FrontEnd

RING, ORDER = 0x1000, 7         # page and first reference; half a megabyte of data
SIZE = 64 << 20                 # of the file that is read and written


class P9FrontEnd(FrontEnd):
    """One ring, and a client that has mounted."""

    def __init__(self, g, tree):
        self.env = dict(os.environ, XENSTORED_RUNDIR=g.dir)
        self.here, self.there = "/local/domain/0/backend/9pfs/1/0", "/local/domain/1/device/9pfs/0"
        self.cpu = g.cpu()
        self.cpu.do = lambda line: int((self.cpu(line).split() + ["0"])[1], 0)
        self.cpu.ask = lambda line: self.cpu(line).split()[1:]
        self.offer({"frontend": self.there, "frontend-id": 1, "path": tree, "security_model": "none", "online": 1, "state": 1})
        self.ring = p9.Ring(self.cpu, RING, ORDER, RING)
        self.write(self.there, {"tag": "bench", "version": 1, "num-rings": 1, "ring-ref0": RING, "event-channel-0": self.ring.port,
                                "state": 3})
        self.wait("4")
        self.write(self.there, {"state": 4})
        self.client = p9.Client(self.ring, msize=131072)
        self.root = self.client.attach()
        self.file = self.client.open(self.client.walk(self.root, "data"), 2)

    def bench(self, count, depth, step, *messages):
        return self.cpu.bench(f"bench9p {count} {depth} {RING} {self.ring.port} {step} {SIZE} "
                              + " ".join(m.hex() for m in messages))


def look(front):
    """What a client asks to look at a file: walk, attributes, clunk."""
    name = p9.text("directory") + p9.text("file")
    return (p9.message(p9.WALK, 0, struct.pack("<IIH", front.root, 77777, 2) + name),
            p9.message(p9.GETATTR, 0, struct.pack("<IQ", 77777, 0x7ff)), p9.message(p9.CLUNK, 0, struct.pack("<I", 77777)))


def make_and_remove(front):
    return (p9.message(p9.MKDIR, 0, struct.pack("<I", front.root) + p9.text("new") + struct.pack("<II", 0o755, 0)),
            p9.message(p9.UNLINKAT, 0, struct.pack("<I", front.root) + p9.text("new") + struct.pack("<I", 0x200)))


def read(size):
    return lambda front: (p9.message(p9.READ, 0, struct.pack("<IQI", front.file, 0, size)),)


def write(size):
    return lambda front: (p9.message(p9.WRITE, 0, struct.pack("<IQI", front.file, 0, size) + b"x" * size),)


def jobs_for(b):
    for key, what, messages, count in (("look", "look at a file (walk, attributes, clunk)", look, 3000),
                                       ("make", "make a directory and remove it", make_and_remove, 3000)):
        yield messages, count, 1, 0, rows_for(b, key, what, "req/s")
    for size, text, count in ((4096, "4 KiB", 4000), (126976, "124 KiB", 1000)):
        for way, messages in (("read", read), ("write", write)):
            for depth in (1, 4):
                if way == "write" and size > 4096:      # a message is one line to xenemu
                    size = 32768
                    text = "32 KiB"
                yield messages(size), count, depth, size, rows_for(b, f"{way}_{size}_{depth}", f"{text}, {way}, depth {depth}", "MB/s")


def rows_for(b, key, what, unit):
    return (b.row(f"9pfs_{key}", f"9pfs, {what}", unit, better="more", budget=[("qemu", 1.5, ">= 1.5 QEMU")]),
            b.row(f"9pfs_{key}_us", "... latency of a request", "us"),
            b.row(f"9pfs_{key}_cpu", "... CPU of all processes a request", "us", budget=[("qemu", 0.5, "<= 1/2 QEMU")]))


def server_of(tree):
    """The server of a directory, which is nobody's child: it has it as descriptor 4."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/fd/4") == tree and os.path.basename(os.readlink(f"/proc/{pid}/exe")).endswith("xendm-p9"):
                return [int(pid)]
        except OSError:
            pass
    return []


def p9fs(b):
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else b.work
    trees = {name: tempfile.mkdtemp(prefix="xendm-bench-", dir=shm) for name in b.dms}
    try:
        for tree in trees.values():
            os.mkdir(tree + "/directory")
            for name, size in (("directory/file", 1), ("data", SIZE)):
                with open(f"{tree}/{name}", "wb") as f:
                    f.write(b"x" * size)
        measure(b, trees)
    finally:
        b.end_guests()
        for tree in trees.values():
            shutil.rmtree(tree, ignore_errors=True)


def measure(b, trees):
    b.running = guests = {name: b.start(f"9pfs-{name}", *b.dms[name], options=["--pv"]) for name in b.dms}
    b.place(True)
    fronts = {name: P9FrontEnd(g, trees[name]) for name, g in guests.items()}
    beside = {name: server_of(trees[name]) for name in guests}
    for pid in [pid for pids in beside.values() for pid in pids]:       # not on the guest's core, as QEMU's threads are not
        os.sched_setaffinity(pid, sorted(os.sched_getaffinity(0))[-1:])

    def used(name):
        return cpu_of(guests[name].pid) + sum(map(cpu_ns, beside[name]))

    jobs = list(jobs_for(b))
    for rep in range(b.reps):
        for messages, count, depth, step, (rate, latency, cpu) in jobs:
            n = count // 4 if b.quick else count
            for name, front in fronts.items():
                front.cpu("spin 200")
                before = used(name)
                r = front.bench(n, depth, step, *messages(front))
                cpu.add(name, (used(name) - before) / 1000 / r["n"])
                rate.add(name, r["n"] * (step / 1e6 if step else 1) / (r["total"] / 1e9))
                latency.add(name, r["p50"] / 1000)
        b.say(f"{b.group}, round {rep + 1} of {b.reps}")
