#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Recording and replay (docs/recording.md) of devices that talk to more than disks and serial lines: each is used in
earnest, replays to the same bytes without what was at its other end, shows a difference that was planted, and replays
when it was scrubbed. TAP."""
import os
import socket
import struct
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from client import PATIENCE, XENSTORED, Cpu, Qmp, Tap, connect, want        # noqa: E402
from recording import Guest, Recording, plant, replay, scrub, show          # noqa: E402

SECRET = b"My Secret Words!"
MAC, PEER = bytes.fromhex("00163e010203"), bytes.fromhex("00163eaabbcc")
BUFFERS = 0x400000


def put(cpu, address, data):
    cpu.do("write 0x%x 0x%x 0x%s" % (address, len(data), data.hex()))


def get(cpu, address, size):
    return bytes.fromhex(cpu.ask("read 0x%x 0x%x" % (address, size))[0][2:])


def entries(file):
    """What is behind the head, whose saved state stays as it is."""
    with open(file, "rb") as stream:
        data = stream.read()
    at = 16
    for _ in range(2):
        at += 4 + int.from_bytes(data[at:at + 4], "little")
    return data[at:]


def check(tap, tmp, name, options, use, kind, secret=True):
    """Records what `use` does from its yield on, and what is to be seen of it afterwards. kind: of a fact that it has;
    secret: it has some."""
    file, other = os.path.join(tmp, name + ".rec"), os.path.join(tmp, name + ".other")
    with Guest(tmp, *options) as guest:
        run = use(guest, Cpu(guest.path))
        next(run)
        with Recording(guest, file) as recording:
            if recording.proc.poll() is None:
                next(run, None)
            recording.end()
    status, out = replay(file)
    tap("%s replays to the same bytes" % name, status == 0 and "stopped" in recording.said, recording.said + out)
    number = plant(file, other, kind)
    status, out = replay(other)
    tap("%s: another %s is found" % (name, kind), status == 1 and "entry %d differs" % number in out, out)
    scrub(file, other)
    was, left = SECRET in entries(file), SECRET in entries(other)
    status, out = replay(other)
    tap("%s: scrubbed, it replays without what was sent" % name, status == 0 and (was or not secret) and not left,
        "secret before: %s, behind: %s\n%s" % (was, left, out))
    return file


# ---- networks ----

class Cable:
    """The other end of a card's cable."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.option = "socket,id=net0,connect=127.0.0.1:%d" % self.listener.getsockname()[1]

    def plug_in(self):
        self.peer = self.listener.accept()[0]
        self.peer.settimeout(PATIENCE)

    def send(self, *frames):
        self.peer.sendall(b"".join(struct.pack(">I", len(f)) + f for f in frames))

    def receive(self):
        size = struct.unpack(">I", self.peer.recv(4, socket.MSG_WAITALL))[0]
        return self.peer.recv(size, socket.MSG_WAITALL)


def tcp(payload, to=MAC, by=PEER):
    """A frame with TCP over IPv4, without checksums."""
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, 40 + len(payload), 1, 0, 64, 6, 0, 0x0a000001, 0x0a000002)
    return to + by + b"\x08\x00" + ip + struct.pack(">HHIIBBHHH", 80, 4000, 1, 1, 0x50, 0x18, 1000, 0, 0) + payload


FRAMES = (tcp(SECRET * 4), b"\xff" * 6 + PEER + b"\x08\x06" + SECRET * 3, tcp(SECRET, to=PEER),
          b"\x01\x00\x5e\x00\x00\x01" + PEER + b"\x86\xdd" + SECRET * 3, tcp(SECRET * 90))


def both_ways(cable, guest, deliver, send):
    """Frames in both directions, a link that goes, and frames that wait for a stopped guest."""
    deliver(FRAMES)
    for frame in (tcp(SECRET * 8, PEER, MAC), PEER + MAC + b"\x88\xb5" + SECRET * 6):
        send(frame, False)
        want(cable.receive()[34:].endswith(frame[34:][-16:]), "another frame arrived")
    send(tcp(SECRET * 500, PEER, MAC), True)
    want(sum(cable.receive().count(SECRET[:8]) for _ in range(6)) > 400, "the segments are not the frame")
    with Qmp(guest.monitor) as qmp:
        qmp.ok("stop")
        cable.send(FRAMES[0])
        qmp.ok("cont")
        deliver((FRAMES[1],), before=1)
        for up in (False, True):
            qmp.ok("set_link", name="net0", up=up)
            send(FRAMES[0], False)
        cable.receive()
        deliver(FRAMES[:2])


def check_card(tap, tmp, name, device, driver):
    """A card that has been used, in both directions, and what else its driver tries."""
    cable = Cable()

    def use(guest, cpu):
        nic = driver(cpu, cable)
        cable.plug_in()
        nic.deliver(FRAMES[:2])
        nic.send(FRAMES[0], False)
        cable.receive()
        yield
        both_ways(cable, guest, nic.deliver, nic.send)
        nic.more()

    check(tap, tmp, name, ("--device", device + ",id=nic0,netdev=net0,mac=00:16:3e:01:02:03,addr=06", "--", "-netdev",
                           cable.option), use, "net-out")


class Rtl8139:
    """A driver in C+ mode, at I/O port 0xc100."""
    RX, TX, N = 0x300000, 0x301000, 8

    def __init__(self, cpu, cable):
        self.cpu, self.cable, self.rx, self.tx = cpu, cable, 0, 0
        cpu.do("pciwrite 00:06.0 0x10 4 0xc100")
        cpu.do("pciwrite 00:06.0 4 2 7")
        self.out("b", 0x37, 0x10)
        self.out("w", 0xe0, 0x23)
        for i in range(self.N):
            self.give(i)
            put(cpu, self.TX + 16 * i, bytes(16))
        for reg, value in ((0xe4, self.RX), (0xe8, 0), (0x20, self.TX), (0x24, 0), (0x44, 0xe)):
            self.out("l", reg, value)
        for i in range(2):
            self.out("l", 8 + 4 * i, 0xffffffff)
        self.out("w", 0x3c, 0xc1ff)
        self.out("b", 0x37, 0x0c)

    def out(self, size, reg, value):
        self.cpu.do("out%s 0x%x 0x%x" % (size, 0xc100 + reg, value))

    def give(self, i):
        flags = 0x80000000 | 2048 | (0x40000000 if i == self.N - 1 else 0)
        put(self.cpu, self.RX + 16 * i, struct.pack("<IIQ", flags, 0, BUFFERS + 0x1000 * i))

    def deliver(self, frames, before=0):
        wanted = [f for f in frames if f[:6] != PEER]
        self.cable.send(*frames)
        for _ in range(before + len(wanted)):
            self.cpu.until("readl 0x%x" % (self.RX + 16 * self.rx), 0x80000000, 0)
            self.cpu.do("inw 0xc13e")
            self.out("w", 0x3e, 0xffff)
            self.give(self.rx)
            self.rx = (self.rx + 1) % self.N

    def send(self, frame, large):
        flags = 0xb0000000 | len(frame) | (0x0a050000 | 0x400 << 16 if large else 0x50000) | \
            (0x40000000 if self.tx == self.N - 1 else 0)
        put(self.cpu, BUFFERS + 0x100000, frame)
        put(self.cpu, self.TX + 16 * self.tx, struct.pack("<IIQ", flags, 0, BUFFERS + 0x100000))
        self.out("b", 0xd9, 0x40)
        self.cpu.until("readl 0x%x" % (self.TX + 16 * self.tx), 0x80000000, 0)
        self.tx = (self.tx + 1) % self.N

    def more(self):
        """Four slots and a ring of bytes; then what is sent comes back, and the timer."""
        self.out("b", 0x37, 0x10)
        for reg, value in ((0x30, 0x500000), (0x44, 0xf), (0x40, 0)):
            self.out("l", reg, value)
        self.out("w", 0x3c, 0xffff)
        self.out("b", 0x37, 0x0c)
        put(self.cpu, BUFFERS, FRAMES[0])
        for i in range(4):
            self.out("l", 0x20 + 4 * i, BUFFERS)
            self.out("l", 0x10 + 4 * i, len(FRAMES[0]))
            self.cpu.until("inl 0x%x" % (0xc110 + 4 * i), 0x8000, 0x8000)
            self.cable.receive()
        self.cable.send(*FRAMES)
        self.cpu.until("inw 0xc13e", 1, 1)
        self.out("l", 0x40, 0x60000)
        self.out("l", 0x10, len(FRAMES[0]))
        self.out("l", 0x54, 33000)
        self.out("l", 0x48, 0)
        self.cpu.until("inw 0xc13e", 0x4000, 0x4000)


def test_unplugged(tap, tmp):
    """A replay begins with cables that are plugged in."""
    with Guest(tmp, "--device", "e1000,id=nic0,netdev=net0", "--", "-netdev", "socket,id=net0,listen=127.0.0.1:0") as guest:
        with Qmp(guest.monitor) as qmp:
            qmp.ok("set_link", name="net0", up=False)
        recording = Recording(guest, os.path.join(tmp, "unplugged.rec"))
        said = recording.end()
    tap("a recording does not begin while a link is down", "the link of net0 is down" in said, said)


class E1000:
    """A driver, at 0xf0000000."""
    BASE, RX, TX, N = 0xf0000000, 0x300000, 0x301000, 8

    def __init__(self, cpu, cable):
        self.cpu, self.cable, self.rx, self.tx = cpu, cable, 0, 0
        cpu.do("pciwrite 00:06.0 0x10 4 0x%x" % self.BASE)
        cpu.do("pciwrite 00:06.0 4 2 7")
        for i in range(self.N):
            put(cpu, self.RX + 16 * i, struct.pack("<QQ", BUFFERS + 0x1000 * i, 0))
            put(cpu, self.TX + 16 * i, bytes(16))
        for reg, value in ((0x2800, self.RX), (0x2808, 16 * self.N), (0x2810, 0), (0x2818, self.N - 1), (0x3800, self.TX),
                           (0x3808, 16 * self.N), (0x3810, 0), (0x3818, 0), (0xd0, 0x1ffff), (0xc4, 200),
                           (0x100, 0x801a), (0x400, 10)):
            self.write(reg, value)

    def write(self, reg, value):
        self.cpu.do("writel 0x%x 0x%x" % (self.BASE + reg, value))

    def deliver(self, frames, before=0):
        self.cable.send(*frames)
        for _ in range(before + len(frames)):
            self.cpu.until("readb 0x%x" % (self.RX + 16 * self.rx + 12), 1, 1)
            put(self.cpu, self.RX + 16 * self.rx + 8, bytes(8))
            self.write(0x2818, self.rx)
            self.cpu.do("readl 0x%x" % (self.BASE + 0xc0))
            self.rx = (self.rx + 1) % self.N

    def descriptor(self, address, lower, upper):
        put(self.cpu, self.TX + 16 * self.tx, struct.pack("<QII", address, lower, upper))
        self.tx = (self.tx + 1) % self.N

    def send(self, frame, large):
        put(self.cpu, BUFFERS + 0x100000, frame)
        context = struct.unpack("<Q", struct.pack("<BBHBBH", 14, 24, 33, 34, 50, 0))[0]
        self.descriptor(context, 0x20000000 | (7 if large else 3) << 24 | len(frame) - 54, (54 | 1448 << 8) << 8 if large else 0)
        self.descriptor(BUFFERS + 0x100000, 0x29100000 | (0x4000000 if large else 0) | len(frame), 0x300)
        self.write(0x3818, self.tx)
        self.cpu.until("readl 0x%x" % (self.BASE + 0x3810), 0xffff, self.tx)


    def more(self):
        """Loopback."""
        self.write(0x100, 0x80da)
        self.send(FRAMES[0], False)


class VirtioNet:
    """A driver with split rings of 16 at 0xf0000000, checksums and segments left to the card."""
    BASE, RINGS, N = 0xf0000000, 0x300000, 16

    def __init__(self, cpu, cable, features=1 << 0 | 1 << 5 | 1 << 11 | 1 << 16, queues=2):
        self.cpu, self.cable, self.index, self.used = cpu, cable, [0, 0], [0, 0]
        for reg, value in ((0x20, self.BASE), (0x24, 0)):
            cpu.do("pciwrite 00:06.0 0x%x 4 0x%x" % (reg, value))
        cpu.do("pciwrite 00:06.0 4 2 6")
        for value in (0, 1, 3):
            self.write("b", 0x14, value)
        for word, wanted in ((0, features), (1, 1)):
            self.write("l", 8, word)
            self.write("l", 0xc, wanted)
        self.write("b", 0x14, 11)
        for n in range(queues):
            ring = self.RINGS + 0x3000 * n
            cpu.do("memset 0x%x 0x3000 0" % ring)
            self.write("w", 0x16, n)
            self.write("w", 0x18, self.N)
            for i in range(3):
                self.write("l", 0x20 + 8 * i, ring + 0x1000 * i)
                self.write("l", 0x24 + 8 * i, 0)
            self.write("w", 0x1c, 1)
        self.write("b", 0x14, 15)
        for i in range(self.N if queues > 1 else 0):
            self.give(0, BUFFERS + 0x1000 * i, 2048, 2)

    def write(self, size, reg, value):
        self.cpu.do("write%s 0x%x 0x%x" % (size, self.BASE + reg, value))

    def give(self, queue, address, length, flags):
        i = self.index[queue] % self.N
        put(self.cpu, self.RINGS + 0x3000 * queue + 16 * i, struct.pack("<QIHH", address, length, flags, 0))
        self.offer(queue, i)

    def offer(self, queue, descriptor):
        ring = self.RINGS + 0x3000 * queue
        self.cpu.do("writew 0x%x %d" % (ring + 0x1004 + 2 * (self.index[queue] % self.N), descriptor))
        self.index[queue] = self.index[queue] + 1 & 0xffff
        self.cpu.do("writew 0x%x %d" % (ring + 0x1002, self.index[queue]))

    def notify(self, queue):
        offset = self.cpu.do("readw 0x%x" % (self.BASE + 0x1e))
        self.write("w", 0x3000 + 4 * offset, queue)

    def wait(self, queue):
        self.used[queue] = self.used[queue] + 1 & 0xffff
        deadline = time.monotonic() + PATIENCE
        while self.cpu.do("readw 0x%x" % (self.RINGS + 0x3000 * queue + 0x2002)) - self.used[queue] & 0x8000:
            want(time.monotonic() < deadline, "queue", queue, "gives nothing back")

    def deliver(self, frames, before=0):
        self.cable.send(*frames)
        for _ in range(before + len(frames)):
            self.wait(0)
            self.give(0, BUFFERS + 0x1000 * (self.index[0] % self.N), 2048, 2)
            self.notify(0)
            self.cpu.do("readb 0x%x" % (self.BASE + 0x1000))

    def send(self, frame, large):
        header = struct.pack("<BBHHHHH", 1, 1, 54, 1448, 34, 16, 0) if large else bytes(12)
        put(self.cpu, BUFFERS + 0x100000, header + frame)
        self.give(1, BUFFERS + 0x100000, len(header) + len(frame), 0)
        self.notify(1)
        self.wait(1)

    def more(self):
        """That was all."""


def test_virtio_serial(tap, tmp):
    """A console whose other end is a socket: typed into, written to, closed and opened."""
    path = os.path.join(tmp, "console")

    def use(guest, cpu):
        port = VirtioNet(cpu, None, 0)
        line = connect(path)
        line.sendall(SECRET)
        port.wait(0)
        yield
        for i in range(5):
            line.sendall(SECRET * (i + 1))
            port.wait(0)
            port.give(0, BUFFERS + 0x1000 * i, 2048, 2)
            port.notify(0)
            put(cpu, BUFFERS + 0x100000, SECRET * 2)
            port.give(1, BUFFERS + 0x100000, 32, 0)
            port.notify(1)
            port.wait(1)
            want(line.recv(32, socket.MSG_WAITALL) == SECRET * 2, "something else was written")
        line.close()
        with Qmp(guest.monitor) as qmp:
            qmp.ok("stop")
            qmp.ok("cont")
        line = connect(path)
        line.sendall(SECRET)
        port.wait(0)

    check(tap, tmp, "virtio-serial", ("--device", "virtio-serial-pci,id=vs,addr=06", "--", "-chardev",
                                      "socket,id=c0,path=%s,server=on,wait=off" % path, "-device", "virtconsole,chardev=c0"),
          use, "window-write")


def test_directory(tap, tmp):
    """A directory of the host: files that are looked at, read and written, several at a time, and one that is not there."""
    path = os.path.join(tmp, "shared")
    os.mkdir(path)
    with open(os.path.join(path, "file"), "wb") as stream:
        stream.write(SECRET * 1000)

    def text(s):
        return struct.pack("<H", len(s)) + s

    def use(guest, cpu):
        port = VirtioNet(cpu, None, 0, queues=1)

        def send(slot, kind, body):
            """A message with the tag `slot`: two descriptors, of which the second is for the answer."""
            out, answer = BUFFERS + 0x10000 * slot, BUFFERS + 0x10000 * slot + 0x8000
            message = struct.pack("<IBH", 7 + len(body), kind, slot) + body
            put(cpu, out, message)
            put(cpu, port.RINGS + 32 * slot, struct.pack("<QIHHQIHH", out, len(message), 1, 2 * slot + 1, answer, 0x8000, 2, 0))
            port.offer(0, 2 * slot)
            port.notify(0)

        def answer(slot):
            at = BUFFERS + 0x10000 * slot + 0x8000
            return get(cpu, at, int.from_bytes(get(cpu, at, 4), "little"))

        def ask(kind, body, slot=1):
            send(slot, kind, body)
            port.wait(0)
            return answer(slot)

        def begin():
            want(ask(100, struct.pack("<I", 0x8000) + text(b"9P2000.L"))[4] == 101, "another version")
            want(ask(104, struct.pack("<II", 0, 0xffffffff) + text(b"") + text(b"") + struct.pack("<I", 0))[4] == 105, "no root")

        begin()
        yield
        begin()
        for turn in range(3):
            want(ask(110, struct.pack("<IIH", 0, 1, 1) + text(b"file"))[4] == 111, "no file")
            want(ask(24, struct.pack("<IQ", 1, 0x7ff))[4] == 25, "no attributes")
            want(ask(12, struct.pack("<II", 1, 2))[4] == 13, "not opened")
            for slot in range(1, 6):
                send(slot, 116, struct.pack("<IQI", 1, 160 * slot, 1600))
            for slot in range(1, 6):
                port.wait(0)
            want(all(answer(slot)[11:] == SECRET * 100 for slot in range(1, 6)) or turn, "something else was read")
            want(ask(118, struct.pack("<IQI", 1, 0, 160) + SECRET * 10)[4] == 119, "not written")
            want(ask(110, struct.pack("<IIH", 0, 3, 1) + text(b"nothing"))[4] == 7, "it is there")
            want(ask(120, struct.pack("<I", 1))[4] == 121, "not closed")
            with Qmp(guest.monitor) as qmp:
                qmp.ok("stop")
                qmp.ok("cont")
        cpu.do("inb 0x64")

    check(tap, tmp, "virtio-9p", ("--device", "virtio-9p-pci,id=share,fsdev=f0,mount_tag=share,addr=06", "--", "-fsdev",
                                  "local,id=f0,path=%s,security_model=none" % path), use, "p9-send")


# ---- USB ----

class Uhci:
    """A driver of PIIX3's controller, at I/O port 0xc100."""
    FRAMES, QH, TD, BUF, SETUP, CBW = 0x100000, 0x2020200, 0x103000, 0x104000, 0x105000, 0x106000

    def __init__(self, cpu):
        self.cpu, self.n = cpu, 0
        cpu.do("pciwrite 00:01.2 0x20 4 0xc100")
        cpu.do("pciwrite 00:01.2 4 2 5")
        cpu.do("outw 0xc100 2")
        cpu.until("inw 0xc100", 2, 0)
        cpu.do("outl 0xc108 0x%x" % self.FRAMES)
        cpu.do("outw 0xc104 0xf")
        put(cpu, self.QH, struct.pack("<II", 1, 1))
        cpu.do("memset 0x%x 4096 2" % self.FRAMES)       # each frame has the queue
        cpu.do("outw 0xc100 1")

    def root_reset(self, port):
        for value in (0x200, 0, 0xe):
            self.cpu.do("outw 0x%x 0x%x" % (0xc10e + 2 * port, value))

    def td(self, pid, address, endpoint, length, buffer, toggle=0):
        put(self.cpu, self.TD + 32 * self.n,
            struct.pack("<IIII", self.TD + 32 * self.n + 36, 0x18800000,
                        pid | address << 8 | endpoint << 15 | toggle << 19 | (length - 1 & 0x7ff) << 21, buffer))
        self.n += 1

    def go(self):
        last = self.TD + 32 * (self.n - 1)
        self.cpu.do("writel 0x%x 1" % last)
        self.cpu.do("writel 0x%x 0x19800000" % (last + 4))
        self.cpu.do("outw 0xc102 0x1f")
        put(self.cpu, self.QH, struct.pack("<II", 1, self.TD))
        self.cpu.until("readl 0x%x" % (last + 4), 0x800000, 0)
        want(self.cpu.do("readl 0x%x" % (last + 4)) & 0x7e0000 == 0, "a transfer failed")
        self.n = 0

    def request(self, address, *setup):
        """bmRequestType, bRequest, wValue, wIndex, wLength; what is to be sent follows, what comes is in BUF."""
        put(self.cpu, self.SETUP, struct.pack("<BBHHH", *setup[:5]))
        self.td(0x2d, address, 0, 8, self.SETUP)
        there = setup[0] & 0x80
        for at in range(0, setup[4], 8):
            self.td(0x69 if there else 0xe1, address, 0, min(8, setup[4] - at), self.BUF + at)
        self.td(0xe1 if there and setup[4] else 0x69, address, 0, 0, 0)
        self.go()

    def set_up(self, address):
        self.request(0, 0, 5, address, 0, 0)
        self.request(address, 0x80, 6, 0x100, 0, 18)
        self.request(address, 0, 9, 1, 0, 0)

    def report(self, address, length):
        self.td(0x69, address, 1, length, self.BUF)
        self.go()
        return get(self.cpu, self.BUF, length)

    def bulk(self, pid, address, endpoint, length, buffer):
        for at in range(0, length, 64):
            self.td(pid, address, endpoint, min(64, length - at), buffer + at)
        self.go()

    def command(self, address, cdb, length, there):
        put(self.cpu, self.CBW, struct.pack("<IIIBBB", 0x43425355, 1, length, 0x80 if there else 0, 0, len(cdb)) +
            cdb.ljust(16, b"\0"))
        self.bulk(0xe1, address, 2, 31, self.CBW)
        if length:
            self.bulk(0x69 if there else 0xe1, address, 1 if there else 2, length, BUFFERS)
        self.bulk(0x69, address, 1, 13, self.BUF)
        return get(self.cpu, self.BUF, 13)[12] == 0


def test_usb(tap, tmp):
    """Tablet, hub, keyboard, mouse and a memory stick, as a guest has them that is busy with them."""
    stick = os.path.join(tmp, "stick.img")
    with open(stick, "wb") as stream:
        stream.write(SECRET * (1 << 16))

    def events(qmp, *list_of):
        qmp.ok("input-send-event", events=[{"type": kind, "data": data} for kind, data in list_of])

    def key(qmp, code, down):
        events(qmp, ("key", {"down": down, "key": {"type": "qcode", "data": code}}))

    def use(guest, cpu):
        hc = Uhci(cpu)
        hc.root_reset(1)
        hc.set_up(1)
        hc.root_reset(2)
        hc.set_up(2)
        for port in (1, 2, 3):
            for feature in (8, 4):
                hc.request(2, 0x23, 3, feature, port, 0)
            for change in (16, 20):
                hc.request(2, 0x23, 1, change, port, 0)
            hc.set_up(2 + port)
        hc.command(5, b"\x12\0\0\0\x24\0", 36, True)
        hc.command(5, bytes(6), 0, False)       # that it was switched on
        want(hc.command(5, b"\x25" + bytes(9), 8, True), "it has no capacity")
        with Qmp(guest.monitor) as qmp:
            events(qmp, ("abs", {"axis": "x", "value": 1000}), ("abs", {"axis": "y", "value": 2000}))
            want(hc.report(1, 6)[1:5] == struct.pack("<HH", 1000, 2000), "another place")
            yield
            for i in range(5):
                events(qmp, ("abs", {"axis": "x", "value": 3000 * i}))
                hc.report(1, 6)
                events(qmp, ("rel", {"axis": "x", "value": 5}))
                events(qmp, ("btn", {"down": i % 2 == 0, "button": "left"}))
                hc.report(4, 4)
            for code in ("s", "e", "c", "right"):
                key(qmp, code, True)
                hc.report(3, 8)
                key(qmp, code, False)
                hc.report(3, 8)
            put(cpu, hc.BUF, b"\x01")
            hc.request(3, 0x21, 9, 0x200, 0, 1)
            hc.request(2, 0xa3, 0, 0, 1, 4)
            put(cpu, BUFFERS, SECRET * 64)
            for lba in range(0, 8, 2):
                hc.command(5, struct.pack(">BBIBHB", 0x2a, 0, lba, 0, 2, 0), 1024, False)
                hc.command(5, struct.pack(">BBIBHB", 0x28, 0, lba + 100, 0, 2, 0), 1024, True)
            want(get(cpu, BUFFERS, 1024) == SECRET * 64, "something else was read")
            hc.command(5, b"\x35" + bytes(9), 0, False)
            qmp.ok("stop")
            qmp.ok("cont")
            hc.command(5, struct.pack(">BBIBHB", 0x28, 0, 7, 0, 4, 0), 2048, True)
            cpu.do("sleep 20")

    check(tap, tmp, "usb", ("--device", "piix3-usb-uhci,addr=01.2", "--device", "usb-tablet,port=1", "--device",
                            "usb-hub,port=2", "--device", "usb-kbd,port=2.1", "--device", "usb-mouse,port=2.2", "--", "-drive",
                            "file=%s,if=none,id=stick,format=raw" % stick, "-device", "usb-storage,port=2.3,drive=stick"), use,
          "submit")


# ---- disks that are busy ----

DISK = "file=%s,if=none,id=d,format=raw"
# Options, the slot, the BAR's register; a BAR of 64 bits has its upper half behind it.
ADAPTERS = {
    "ahci": (("--hdtype", "ahci", "--disk", "%s"), 4, 0x24),
    "nvme": (("--device", "nvme,drive=d,serial=1,addr=05", "--", "-drive", DISK), 5, 0x10),
    "virtio-blk": (("--device", "virtio-blk-pci,drive=d,addr=05", "--", "-drive", DISK), 5, 0x20),
    "virtio-scsi": (("--device", "virtio-scsi-pci,id=s,addr=05", "--", "-drive", DISK, "-device", "scsi-hd,drive=d,scsi-id=0"),
                    5, 0x20),
    "lsi": (("--device", "lsi53c895a,id=s,addr=05", "--", "-drive", DISK, "-device", "scsi-hd,drive=d,scsi-id=0"), 5, 0x14),
}


def test_busy_disk(tap, tmp, name):
    """Sixteen commands at a time, recorded from the middle of it."""
    image = os.path.join(tmp, name + ".img")
    with open(image, "wb") as stream:
        stream.write(bytes(512) + SECRET * (1 << 19))     # the first sector has the partition table, which stays
    options, slot, bar = ADAPTERS[name]
    count = {"read": 3000, "write": 300}

    recorded = threading.Event()

    def bench(path):
        """A whole round of it is in the recording. (What is written to sector 0 would be taken for a partition table.)"""
        cpu, last = Cpu(path), False
        while not last:
            last = recorded.is_set()
            for op in ("read", "write") if last else ("read",):
                cpu.ask("benchdisk %s %s %d 4096 16 0xf0000000 %d rand 16384" % (name, op, count[op], slot))

    def use(guest, cpu):
        cpu.do("pciwrite 00:%02x.0 0x%x 4 0xf0000000" % (slot, bar))
        if name in ("nvme", "virtio-blk", "virtio-scsi"):
            cpu.do("pciwrite 00:%02x.0 0x%x 4 0" % (slot, bar + 4))
        if name == "lsi":
            cpu.do("pciwrite 00:%02x.0 0x18 4 0xf0010000" % slot)
        cpu.do("pciwrite 00:%02x.0 4 2 7" % slot)
        busy = threading.Thread(target=bench, args=(guest.path,))
        busy.start()
        time.sleep(0.05)
        yield
        recorded.set()
        busy.join()
        cpu.do("inb 0x64")

    check(tap, tmp, name, [o % image if "%s" in o else o for o in options], use, "submit", secret=False)


def main():
    tap = Tap()
    if not os.path.exists(XENSTORED):
        print("1..0 # SKIP no %s" % XENSTORED)
        return 0
    with tempfile.TemporaryDirectory(prefix="rec") as tmp:
        check_card(tap, tmp, "rtl8139", "rtl8139", Rtl8139)
        check_card(tap, tmp, "e1000", "e1000", E1000)
        check_card(tap, tmp, "virtio-net", "virtio-net-pci", VirtioNet)
        for test in (test_virtio_serial, test_directory, test_unplugged, test_usb):
            test(tap, tmp)
        for name in sorted(ADAPTERS):
            test_busy_disk(tap, tmp, name)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
