#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/faults/by-hand-ceph.py: disks of a Ceph of one node, which it sets up from Debian's packages (ceph-mon ceph-osd
ceph-common qemu-block-extra) in a directory of its own. By hand, in the build tree, as root; `make check` does not run it. TAP."""
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid

sys.dont_write_bytecode = True     # the source tree stays clean
from faults import FINE, PATIENCE, SERVER, XENDM, Disk, Machine, drive, image, processes, tap, want, write_and_read

SECTORS = 2048
OURS = b"\xab" * 512
RESTART = 15        # seconds
CONF = """[global]
fsid = %(fsid)s
mon host = v1:127.0.0.1:%(port)d
mon initial members = a
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
osd objectstore = memstore
memstore device bytes = 1073741824
log file = %(dir)s/$name.log
run dir = %(dir)s
admin socket = %(dir)s/$name.asok
mon data = %(dir)s/mon
osd data = %(dir)s/osd
[client]
log file =
admin socket =
"""


class Ceph:
    """A monitor and an object store, in memory, and a pool."""

    def __init__(self, tmp):
        self.dir = os.path.join(tmp, "ceph")
        self.conf = os.path.join(self.dir, "ceph.conf")
        self.fsid, self.children = str(uuid.uuid4()), []
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        for name in ("", "mon", "osd"):
            os.mkdir(os.path.join(self.dir, name))
        with open(self.conf, "w", encoding="ascii") as f:
            f.write(CONF % {"fsid": self.fsid, "port": self.port, "dir": self.dir})
        try:
            self.begin()
        except BaseException:
            self.close()
            raise

    def tool(self, *words):
        return subprocess.run([words[0], "-c", self.conf, *words[1:]], check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120).stdout

    def log(self, name):
        with open(os.path.join(self.dir, name + ".log"), encoding="utf-8", errors="replace") as f:
            return f.read()[-1500:]

    def daemon(self, *words):
        self.children.append(subprocess.Popen([words[0], "-f", "-c", self.conf, *words[1:]], stdin=subprocess.DEVNULL,
                                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return self.children[-1]

    def begin(self):
        monmap = os.path.join(self.dir, "monmap")
        self.tool("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", "[v1:127.0.0.1:%d]" % self.port, monmap)
        self.tool("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self.daemon("ceph-mon", "-i", "a")
        osd = str(uuid.uuid4())
        self.tool("ceph", "osd", "new", osd)
        self.tool("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", osd)
        self.osd = None
        for _ in range(PATIENCE // RESTART):
            if self.comes_up():
                break
        else:
            want(False, "the object store does not come up:", self.log("osd.0"))
        self.tool("ceph", "osd", "pool", "create", "p", "8")

    def comes_up(self):
        """Now and then its first word to the monitor is not heard: it is started again."""
        if self.osd:
            self.osd.kill()
            self.osd.wait()
        self.osd = self.daemon("ceph-osd", "-i", "0")
        deadline = time.monotonic() + RESTART
        while "1 up" not in self.tool("ceph", "osd", "stat"):
            if time.monotonic() > deadline:
                return False
            time.sleep(.2)
        return True

    def name(self, image_name):
        """As xl and QEMU have it."""
        return "rbd:p/%s:conf=%s" % (image_name, self.conf)

    def make(self, tmp, fmt, image_name):
        """An image of that format in which each sector holds its number."""
        plain = image(os.path.join(tmp, "plain"), SECTORS * 512)
        if fmt == "raw":
            self.tool("rbd", "import", "--dest-pool", "p", plain, image_name)
        else:
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", fmt, plain, self.name(image_name)], check=True)
        return self.name(image_name)

    def data(self, tmp, fmt, image_name):
        """Its bytes, as qemu-img reads them."""
        out = os.path.join(tmp, "out")
        deadline = time.monotonic() + PATIENCE
        while processes(SERVER, image_name) or processes("qemu-nbd", image_name):
            want(time.monotonic() < deadline, "the image server is there still")
            time.sleep(.05)
        subprocess.run(["qemu-img", "convert", "-f", fmt, "-O", "raw", self.name(image_name), out], check=True)
        with open(out, "rb") as f:
            return f.read()

    def close(self):
        for child in reversed(self.children):
            child.send_signal(signal.SIGCONT)
            child.kill()
            child.wait()


def servers(image_name):
    return processes(SERVER, image_name) + processes("qemu-nbd", image_name)


def formats(tmp, fmt):
    name = CEPH.make(tmp, fmt, fmt)
    m = Machine(tmp, "--", *drive(name, fmt))
    write_and_read(m, Disk(m.cpu))
    m.end()
    data = CEPH.data(tmp, fmt, fmt)
    want(data[200 * 512:216 * 512] == OURS * 16 and data[216 * 512:216 * 512 + 4] == (216).to_bytes(4, "little"), "the image")


def test_raw(tmp):
    """a raw image: what the guest writes is in it"""
    formats(tmp, "raw")


def test_qcow2(tmp):
    """qcow2 on Ceph"""
    formats(tmp, "qcow2")


def test_absent(tmp):
    """an image that is not there, and a monitor that is not: one line that names it"""
    m = Machine(tmp, "--", *drive(CEPH.name("none"), "raw"), may_fail=True)
    m.logged("rbd:p/none.*(No such file|error opening|error reading)")


def test_killed(tmp):
    """the image server is killed: another one serves the next command"""
    m = Machine(tmp, "--", *drive(CEPH.make(tmp, "raw", "killed"), "raw"))
    disk = Disk(m.cpu)
    write_and_read(m, disk)
    for pid in servers("p/killed"):
        os.kill(pid, signal.SIGKILL)
    m.await_log("the connection to the server of .* broke")
    write_and_read(m, disk)
    m.end()


def test_stands_still(tmp):
    """an object store that stands still holds its request only: other disks and QMP go on, a stop is taken back; and then it ends"""
    image(tmp + "/hdc", SECTORS * 512)
    m = Machine(tmp, "--", *drive(CEPH.make(tmp, "raw", "still"), "raw"), *drive(tmp + "/hdc", "raw", 2))
    disk, other = Disk(m.cpu), Disk(m.cpu, 1, 0)
    want(disk.dma(100, 8) == FINE + (4,), "before")
    CEPH.osd.send_signal(signal.SIGSTOP)
    disk.dma_start(300)
    for i in range(20):
        want(other.dma(40 + i) == FINE + (4,), "the other disk")
    want(m.cpu.do("inb 0x3f6") & 0x80, "it does not wait")
    m.qmp.ok("query-status")
    CEPH.osd.send_signal(signal.SIGCONT)
    want(disk.ready() == FINE, "resumed")
    m.cpu.expect("readl 0x%x" % disk.buffer, 300)
    m.end()


def test_update(tmp):
    """live update, with writes that were not flushed"""
    m = Machine(tmp, "--", *drive(CEPH.make(tmp, "raw", "updated"), "raw"))
    disk = Disk(m.cpu)
    m.cpu.do("memset 0x%x %d 0xab" % (disk.buffer, 16 * 512))
    want(disk.dma(300, 16, True) == FINE + (4,), "write")
    m.qmp.ok("xendm-update", binary=XENDM)
    want(disk.flush() == FINE and disk.dma(300, 8) == FINE + (4,), "after")
    m.cpu.expect("readl 0x%x" % disk.buffer, 0xabababab)
    m.end()
    want(CEPH.data(tmp, "raw", "updated")[300 * 512:316 * 512] == OURS * 16, "the image")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="xendm-ceph-") as directory, contextlib.closing(Ceph(directory)) as CEPH:
        sys.exit(tap([test_raw, test_qcow2, test_absent, test_killed, test_stands_still, test_update]))
