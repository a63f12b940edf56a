#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The instance without a machine: console, frame buffer and disk of a PV guest, in the sandbox, and a live update under them."""
import os
import socket
import sys
import time

sys.dont_write_bytecode = True     # the source tree stays clean
SOURCE = os.environ.get("XENDM_SRCDIR") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path.insert(0, os.path.join(SOURCE, "tests/faults"))
from faults import PATIENCE, Machine, image, tap, want     # noqa: E402

CHANNEL, VFB, KEYS, DISK = "console/1", "vfb/0", "vkbd/0", "qdisk/51728"
KIND = {"qdisk/51728": "vbd/51728"}      # how the front end's directory is called


class Guest:
    """Toolstack and front ends of a PV guest."""

    def __init__(self, tmp, *line):
        self.tmp = tmp
        line = line or ("-chardev", "socket,id=libxl-channel1,path=%s/channel,server=on,wait=off" % tmp)
        self.machine = Machine(tmp, "--pv", "--", *line)
        self.cpu, self.qmp = self.machine.cpu, self.machine.qmp
        self.written = 0
        self.port = {}

    def xs(self, tool, *args):
        return self.machine.xs(tool, *args)

    @staticmethod
    def front(device):
        return "/local/domain/1/device/" + KIND.get(device, device)

    @staticmethod
    def back(device):
        kind, number = device.split("/")
        return "/local/domain/0/backend/%s/1/%s" % (kind, number)

    def write(self, directory, **keys):
        for key, value in keys.items():
            self.xs("write", directory + "/" + key.replace("_", "-"), str(value))

    def add(self, device, front, back):
        self.write(self.front(device), **front, state=1)
        self.write(self.back(device), frontend=self.front(device), frontend_id=1, **back, online=1, state=1)

    def await_state(self, device, state):
        deadline = time.monotonic() + PATIENCE
        while self.xs("read", self.back(device) + "/state") != str(state):
            want(time.monotonic() < deadline, device, "is not in state", state, self.machine.log()[-2000:])
            time.sleep(.01)

    def connect(self, device, port_key="event_channel", **keys):
        self.port[device] = self.cpu.ask("evtchn alloc")[-1]
        self.write(self.front(device), **keys, **{port_key: int(self.port[device], 0)}, state=3)
        self.await_state(device, 4)
        self.write(self.front(device), state=4)

    def pokes(self, *commands):
        for command in commands:
            self.cpu.do(command)

    def add_channel(self, output="chardev:libxl-channel1"):
        self.add(CHANNEL, {"type": "ioemu", "output": output, "tty": ""}, {})
        self.await_state(CHANNEL, 2)
        self.pokes("memset 0x30000 4096 0", "grant add 9 0x30")
        self.connect(CHANNEL, "port", ring_ref=9)

    def says(self, text):
        for n, byte in enumerate(text):
            self.cpu.do("writeb 0x%x %d" % (0x30400 + self.written + n, byte))
        self.written += len(text)
        self.pokes("writel 0x30c0c %d" % self.written, "evtchn send %s" % self.port[CHANNEL])

    def show(self):
        """64 by 32 pixels in two pages."""
        self.pokes("memset 0x40000 4096 0", "memset 0x41000 4096 0", "memset 0x42000 8192 0", "writel 0x40010 64", "writel 0x40014 32",
                   "writel 0x40018 256", "writel 0x4001c 8192", "writeb 0x40020 32", "writel 0x40028 0x41", "writel 0x41000 0x42",
                   "writel 0x41008 0x43", "writel 0x42000 0x00123456")
        self.connect(VFB, page_ref=0x40, feature_update=1)

    def picture(self):
        path = self.tmp + "/screen.ppm"
        want("return" in self.qmp.ask("screendump", filename=path), "no picture")
        with open(path, "rb") as f:
            return f.read()

    def end(self):
        self.machine.end(leaks=True)       # ports are Xen's to take back


def expect_channel(guest, client, text):
    guest.says(text)
    got = b""
    while len(got) < len(text):
        got += client.recv(100)
    want(got == text, "the channel gave", got)


def test_devices(tmp):
    """A channel, the screen and a disk that is written, in the sandbox; all go on after a live update."""
    guest = Guest(tmp)
    guest.add_channel()
    guest.show()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(tmp + "/channel")
        client.sendall(b"x")
        guest.cpu.until("readl 0x30c04", 0xffffffff, 1)     # so that somebody is there
        expect_channel(guest, client, b"before")
        before = guest.picture()
        want(before.startswith(b"P6\n64 32\n255\n\x12\x34\x56\x00"), "the picture begins with", before[:20])
        updated = guest.qmp.ask("xendm-update")
        want("return" in updated, updated)
        expect_channel(guest, client, b"after")
        want(guest.picture() == before, "another picture")
        client.sendall(b"in")
        guest.cpu.until("readl 0x30c04", 0xffffffff, 3)
    guest.end()


def test_pty(tmp):
    """A channel on a pseudo-terminal, which somebody opens and closes, carries both ways each time."""
    guest = Guest(tmp, "-chardev", "pty,id=libxl-channel1")
    guest.add_channel("pty")
    tty = guest.xs("read", guest.front(CHANNEL) + "/tty")
    want(tty.startswith("/dev/pts/"), "its terminal is", tty)
    for times in range(3):
        fd = os.open(tty, os.O_RDWR | os.O_NOCTTY)
        os.write(fd, b"host")
        guest.cpu.until("readl 0x30c04", 0xffffffff, 4 * (times + 1))
        guest.says(b"guest")
        want(os.read(fd, 100) == b"guest", "the host reads something else")
        os.close(fd)
    guest.end()


def test_images(tmp):
    """In the sandbox an image is opened for writing if a disk's keys name it, and for reading only if they say so."""
    guest = Guest(tmp)
    for number, mode, info in ((51728, "w", "0"), (51744, "r", "4")):
        device = "qdisk/%d" % number
        KIND[device] = "vbd/%d" % number
        path = image("%s/image-%s" % (tmp, mode), 1 << 20)
        os.chmod(path, 0o600)
        guest.add(device, {}, {"params": "aio:" + path, "mode": mode, "device_type": "disk", "type": "qdisk"})
        guest.await_state(device, 2)
        want(guest.xs("read", guest.back(device) + "/sectors") == "2048", "its size")
        want(guest.xs("read", guest.back(device) + "/info") == info, "whether it is read-only")
    guest.end()


def test_keys(tmp):
    """Keys that a monitor sends are pressed and released, one after the other, also after a stop and a live update."""
    guest = Guest(tmp)
    guest.pokes("memset 0x50000 4096 0", "grant add 10 0x50")
    guest.connect(KEYS, page_gref=10)
    for times in range(3):
        guest.qmp.hmp("sendkey a")
        guest.qmp.hmp("sendkey ret")
        guest.cpu.until("readl 0x50004", 0xffffffff, 4 * (times + 1))       # events so far
        guest.pokes("writel 0x50000 %d" % (4 * (times + 1)))
        if times == 0:
            guest.qmp.ok("stop")
            guest.qmp.ok("cont")
        else:
            guest.qmp.ok("xendm-update")
    guest.end()


sys.exit(tap([test_devices, test_pty, test_keys, test_images]))
