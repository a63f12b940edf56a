# SPDX-License-Identifier: GPL-2.0-or-later
"""A PV disk of the guest's: what libxl writes, and a front end."""
import os
import shutil
import subprocess
import time

from faults import PATIENCE, Skip, want

RING, DATA = 0x40, 0x41     # pages of guest memory
READ, WRITE, FLUSH = 0, 1, 3


class Front:
    """A PV disk: libxl's keys, and a guest's front end with a ring of one page (Xen's io/blkif.h, 64-bit)."""

    def __init__(self, m, devid):
        if not shutil.which("xenstore-write"):
            raise Skip("there is no xenstore-write")
        self.m, self.cpu, self.devid, self.port, self.count = m, m.cpu, devid, None, 0
        self.back = "/local/domain/0/backend/qdisk/1/%d" % devid
        self.front = "/local/domain/1/device/vbd/%d" % devid

    def xenstore(self, tool, *args):
        done = subprocess.run(["xenstore-" + tool, *map(str, args)], env=dict(os.environ, XENSTORED_RUNDIR=self.m.dir),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False)
        want(done.returncode == 0, tool, args, done.stdout)
        return done.stdout.strip()

    def write(self, path, value):
        self.xenstore("write", path, value)

    def add(self, params, mode="w", kind="disk"):
        keys = {"frontend": self.front, "frontend-id": 1, "device-type": kind, "mode": mode, "params": params, "online": 1, "state": 1}
        words = [word for key, value in keys.items() for word in ("%s/%s" % (self.back, key), value)]
        self.xenstore("write", self.front + "/state", 1, *words)    # in one transaction, as libxl does
        return self

    def state(self, wanted):
        deadline = time.monotonic() + PATIENCE
        while True:
            got = self.xenstore("read", self.back + "/state")
            if got == str(wanted):
                return self
            want(time.monotonic() < deadline, self.back, "stays in state", got, ":", self.m.log()[-2000:])
            time.sleep(.02)

    def connect(self):
        for page in (RING, DATA):
            self.cpu.ask("memset 0x%x 4096 0" % (page << 12))
            self.cpu.ask("grant add %d 0x%x" % (page, page))
        for at in (4, 12):
            self.cpu.ask("writel 0x%x 1" % ((RING << 12) + at))
        self.port = self.cpu.ask("evtchn alloc")[0]
        for key, value in (("ring-ref", RING), ("event-channel", self.port), ("protocol", "x86_64-abi"), ("state", 3)):
            self.write("%s/%s" % (self.front, key), value)
        self.count = 0
        return self.state(4)

    def request(self, operation, sector):
        """One sector, by the front of the data page; its status."""
        at = (RING << 12) + 0x40 + self.count % 32 * 112
        self.cpu.ask("writew 0x%x 0x%x" % (at, operation | (0 if operation == FLUSH else 0x100)))
        self.cpu.ask("writel 0x%x 0x1234" % (at + 8))
        self.cpu.ask("writel 0x%x %d" % (at + 16, sector))
        self.cpu.ask("writel 0x%x %d" % (at + 24, DATA))
        self.cpu.ask("writew 0x%x 0" % (at + 28))
        self.count += 1
        self.cpu.ask("writel 0x%x %d" % (RING << 12, self.count))
        self.cpu.ask("evtchn send %s" % self.port)
        self.cpu.until("readl 0x%x" % ((RING << 12) + 8), 0xffffffff, self.count)
        return self.cpu.do("readw 0x%x" % (at + 10))

    def read(self, sector):
        """The number that a sector begins with."""
        want(self.request(READ, sector) == 0, "read", self.m.log()[-2000:])
        return self.cpu.do("readl 0x%x" % (DATA << 12))

    def put(self, sector, number):
        self.cpu.ask("writel 0x%x %d" % (DATA << 12, number))
        want(self.request(WRITE, sector) == 0 and self.request(FLUSH, 0) == 0, "write", self.m.log()[-2000:])

    def remove(self):
        """As xl block-detach: the front end closes, and the toolstack takes the keys away."""
        self.write(self.back + "/online", 0)
        self.write(self.back + "/state", 5)
        self.write(self.front + "/state", 6)
        self.state(6)
        self.xenstore("rm", self.back)
