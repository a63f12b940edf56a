# SPDX-License-Identifier: GPL-2.0-or-later
"""USB without USB: a host with devices, which tests/dm/fake-libusb.c asks in libusb's place, and those who drive them on xenemu:
a front end of usbif (Xen's io/usbif.h), which takes no care of what it sends, and a driver of UHCI (its Design Guide 1.1)."""
import base64
import os
import socket
import struct
import threading
import time

from client import PATIENCE, want

(WRAP, CLAIM, RELEASE, DETACH, ATTACH, ACTIVE, SET_CONFIGURATION, GET_CONFIGURATION, SET_INTERFACE, CLEAR_HALT, RESET, SUBMIT, CANCEL,
 ANSWER, DONE) = range(15)
COMPLETED, ERROR, TIMED_OUT, CANCELLED, STALL, NO_DEVICE, OVERFLOW = range(7)       # enum libusb_transfer_status
CONTROL, ISOCHRONOUS, BULK, INTERRUPT = range(4)                                    # enum libusb_transfer_type
LOW, FULL, HIGH, SUPER = 1, 2, 3, 4                                                 # libusb's speeds, and usbif's

DEVICE_DESCRIPTOR = bytes([18, 1, 0x10, 1, 0, 0, 0, 8]) + struct.pack("<HHHBBBB", 0x1234, 0x5678, 0x100, 1, 2, 3, 1)
CONFIGURATION = (bytes([9, 2, 46, 0, 1, 1, 0, 0x80, 50]) + bytes([9, 4, 0, 0, 3, 0xff, 0, 0, 0]) + bytes([7, 5, 0x81, 3, 8, 0, 10])
                 + bytes([7, 5, 0x82, 2, 64, 0, 0]) + bytes([7, 5, 0x02, 2, 64, 0, 0]))
STRINGS = {1: "xendm", 2: "loopback", 3: "0001"}


def string_descriptor(text):
    data = text.encode("utf-16-le")
    return bytes([2 + len(data), 3]) + data


class Device:
    """A device with an interrupt endpoint (0x81) that says what the test says, a bulk loopback (0x02 to 0x82) and strings.
    `log` has what was asked of it."""

    def __init__(self, name, speed=FULL, descriptor=DEVICE_DESCRIPTOR, configuration=CONFIGURATION):
        self.name, self.speed, self.descriptor, self.its_configuration = name, speed, descriptor, configuration
        self.lock = threading.Lock()
        self.connection, self.log = None, []
        self.configuration, self.loop, self.flying = 1, b"", {}
        self.silent, self.stalls, self.lies, self.driver, self.slow = False, set(), 0, {0}, 0

    def asked(self, kind):
        with self.lock:
            return [entry for entry in self.log if entry[0] == kind]

    def await_asked(self, kind, count=1):
        deadline = time.monotonic() + PATIENCE
        while len(self.asked(kind)) < count:
            want(time.monotonic() < deadline, "it was not asked for", kind, self.log)
            time.sleep(.002)

    def send(self, kind, a=0, b=0, c=0, data=b""):
        try:
            self.connection.send(struct.pack("<5i", kind, a, b, c, len(data)) + data)
        except (OSError, AttributeError):
            pass

    def handle(self, kind, a, b, c, data):
        """By the host's thread."""
        with self.lock:
            self.log.append((kind, a, b, c, data))
            if kind == SUBMIT:
                self.submit(a, b, c, data)
            elif kind == CANCEL:
                if self.flying.pop(a, None):
                    self.send(DONE, a, CANCELLED)
            else:
                time.sleep(self.slow)
                self.send(ANSWER, *self.answer(kind, a))

    def answer(self, kind, a):
        """What a call of libusb's returns, and more."""
        if kind == GET_CONFIGURATION:
            return 0, self.configuration
        if kind == ACTIVE:
            return (int(a in self.driver),)
        if kind == DETACH:
            self.driver.discard(a)
        if kind == ATTACH:
            self.driver.add(a)
        if kind == SET_CONFIGURATION:
            self.configuration = max(a, 0)
        if kind == RESET:
            self.loop, self.stalls = b"", set()
            for transfer in sorted(self.flying):
                self.send(DONE, transfer, CANCELLED)
            self.flying = {}
        if kind == CLEAR_HALT:
            self.stalls.discard(a)
        return (0,)

    def submit(self, transfer, kind, endpoint, data):
        if endpoint in self.stalls:
            self.send(DONE, transfer, STALL)
        elif self.silent:
            self.flying[transfer] = (kind, endpoint, data)
        elif kind == CONTROL:
            self.control(transfer, data)
        elif endpoint == 0x02:
            self.loop += data
            self.send(DONE, transfer, COMPLETED, len(data))
            self.pump()
        else:
            self.flying[transfer] = (kind, endpoint, data)
            self.pump()

    def pump(self):
        for transfer, (_, endpoint, data) in list(self.flying.items()):      # in the order of asking
            if endpoint == 0x82 and self.loop:
                part, self.loop = self.loop[:len(data)], self.loop[len(data):]
                del self.flying[transfer]
                self.send(DONE, transfer, COMPLETED, len(part) + self.lies, part)

    def control(self, transfer, data):
        kind, request, value, _, length = struct.unpack_from("<BBHHH", data)
        answer = None
        if (kind, request) == (0x80, 6):
            answer = {1: self.descriptor, 2: self.its_configuration,
                      3: string_descriptor(STRINGS[value & 255]) if value & 255 in STRINGS else None if value & 255 else bytes([4, 3, 9, 4])}
            answer = answer.get(value >> 8)
        elif kind == 0x40:
            self.loop = data[8:]
            answer = b""
        elif kind == 0xc0:
            answer = self.loop
        if answer is None:
            self.send(DONE, transfer, STALL)
        elif kind & 0x80:
            part = answer[:length]
            self.send(DONE, transfer, COMPLETED, len(part) + self.lies, part)
        else:
            self.send(DONE, transfer, COMPLETED, length)

    def stall(self, endpoint):
        """From now on, until it is cleared."""
        with self.lock:
            self.stalls.add(endpoint)
            for transfer, (_, of, _) in list(self.flying.items()):
                if of == endpoint:
                    del self.flying[transfer]
                    self.send(DONE, transfer, STALL)

    def feed(self, data):
        """The bulk endpoint has something."""
        with self.lock:
            self.loop += data
            self.pump()

    def report(self, data):
        """The interrupt endpoint has something. False: nobody waits for it."""
        with self.lock:
            for transfer, (_, endpoint, _) in list(self.flying.items()):
                if endpoint == 0x81:
                    del self.flying[transfer]
                    self.send(DONE, transfer, COMPLETED, len(data), data)
                    return True
        return False

    def pull_out(self):
        """It vanishes; whoever waits hears it from the socket's end."""
        with self.lock:
            if self.connection:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.connection = None


class Host:
    """sysfs, usbfs and libusb, below a directory. XENDM_USB_ROOT, XENDM_USB and XENDM_FAKE_USB lead there."""

    def __init__(self, tmp, library, helper):
        self.root, self.devices = tmp + "/usb", {}
        os.makedirs(self.root, exist_ok=True)
        path = self.root + "/socket"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(path)
        self.listener.listen(20)
        program = self.root + "/xendm-usb"
        with open(program, "w") as f:
            f.write("#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s \"$@\"\n" % (os.path.dirname(library), helper))
        os.chmod(program, 0o755)
        os.environ.update(XENDM_USB_ROOT=self.root, XENDM_USB=program, XENDM_FAKE_USB=path)
        threading.Thread(target=self.accept, daemon=True).start()

    def plug(self, where, bus, address, device):
        directory = "%s/sys/bus/usb/devices/%s" % (self.root, where)
        os.makedirs(directory, exist_ok=True)
        ids = struct.unpack_from("<HH", device.descriptor, 8)
        for key, value in (("busnum", "%d" % bus), ("devnum", "%d" % address), ("idVendor", "%04x" % ids[0]), ("idProduct", "%04x" % ids[1])):
            with open(directory + "/" + key, "w") as f:
                f.write(value + "\n")
        directory = "%s/dev/bus/usb/%03d" % (self.root, bus)
        os.makedirs(directory, exist_ok=True)
        with open("%s/%03d" % (directory, address), "w") as f:
            f.write(device.name)
        self.devices[device.name] = device
        return device

    def accept(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        device = None
        while True:
            try:
                message = connection.recv(1 << 17)
            except OSError:
                message = b""
            if not message:
                break
            kind, a, b, c, length = struct.unpack_from("<5i", message)
            data = message[20:20 + length]
            if kind == WRAP:
                device = self.devices[data.decode()]
                with device.lock:
                    device.connection = connection
                    device.flying = {}
                    device.log.append((WRAP, 0, 0, 0, b""))
                    device.send(ANSWER, 0, device.speed, 0, device.descriptor + device.its_configuration)
            else:
                device.handle(kind, a, b, c, data)
        if device:
            with device.lock:
                device.log.append(("end", 0, 0, 0, b""))


# ---- the front end ----

REQUEST, CONN = 148, 4
URBS, CONNS = 16, 512
PIPE_IN, UNLINK = 0x80, 0x20
ISOC_TYPE, INT_TYPE, CTRL_TYPE, BULK_TYPE = range(4)
OK, NODEV, INVAL, STALLED, IOERROR, BABBLE, SHUTDOWN = 0, -19, -22, -32, -71, -75, -108


def pipe(kind, port=1, address=0, endpoint=0, into=False, unlink=False):
    return port | (UNLINK if unlink else 0) | (PIPE_IN if into else 0) | address << 8 | endpoint << 15 | kind << 30


class Ring:
    """One page, shared."""

    def __init__(self, cpu, page, ref, size, entries):
        self.cpu, self.base, self.ref, self.size, self.entries = cpu, page << 12, ref, size, entries
        self.prod = self.seen = 0
        cpu.do("memset 0x%x 4096 0" % self.base)
        cpu.do("writel 0x%x 1" % (self.base + 4))
        cpu.do("writel 0x%x 1" % (self.base + 12))
        cpu.do("grant add %d 0x%x" % (ref, page))

    def put(self, data):
        at = self.base + 64 + self.prod % self.entries * self.size
        self.cpu.ask("b64write 0x%x %d %s" % (at, len(data), base64.b64encode(data).decode()))
        self.prod += 1

    def push(self):
        self.cpu.do("writel 0x%x %d" % (self.base, self.prod & 0xffffffff))

    def get(self, size, patience=PATIENCE):
        """The next response; None: there is none."""
        deadline = time.monotonic() + patience
        while self.cpu.do("readl 0x%x" % (self.base + 8)) == self.seen:
            if time.monotonic() > deadline:
                return None
            time.sleep(.001)
        at = self.base + 64 + self.seen % self.entries * self.size
        self.seen += 1
        self.cpu.do("writel 0x%x %d" % (self.base + 12, self.seen + 1))
        return base64.b64decode(self.cpu.ask("b64read 0x%x %d" % (at, size))[0])


class Front:
    """A PV USB host controller, seen from its guest: pages from `first` on, references the same."""

    def __init__(self, cpu, first=0x100, pages=80):
        self.cpu, self.first = cpu, first
        self.urbs, self.conns = Ring(cpu, first, first, REQUEST, URBS), Ring(cpu, first + 1, first + 1, CONN, CONNS)
        for page in range(first + 2, first + 2 + pages):
            cpu.do("grant add %d 0x%x" % (page, page))
        self.data = first + 2
        self.port = cpu.do("evtchn alloc")
        self.id, self.answers = 0, {}

    def ring(self):
        self.cpu.do("evtchn send %d" % self.port)

    def offer_events(self, count=64):
        for n in range(count):
            self.conns.put(struct.pack("<HH", n, 0))
        self.conns.push()
        self.ring()

    def event(self, patience=PATIENCE):
        """Port and speed; None: there is none."""
        data = self.conns.get(CONN, patience)
        return struct.unpack("<HBB", data)[1:] if data else None

    def segments(self, length, page):
        found = b""
        while length > 0:
            found += struct.pack("<IHH", page, 0, min(length, 4096))
            length, page = length - 4096, page + 1
        return found

    def request(self, where, length=0, special=b"", page=None, segments=None, flags=0, nsegs=None):
        """Its id. Not yet seen by the other end."""
        self.id = (self.id + 1) & 0xffff
        page = self.data if page is None else page
        segments = self.segments(length, page) if segments is None else segments
        nsegs = len(segments) // 8 if nsegs is None else nsegs
        self.urbs.put(struct.pack("<HHIHH", self.id, nsegs, where, flags, length) + special.ljust(8, b"\0") + segments.ljust(128, b"\0"))
        return self.id

    def push(self):
        self.urbs.push()
        self.ring()

    def answer(self, number, patience=PATIENCE):
        """Status and length of that request's answer; others are kept."""
        while number not in self.answers:
            data = self.urbs.get(16, patience)
            if data is None:
                return None
            got, _, status, length, _ = struct.unpack("<HHiii", data)
            self.answers[got] = (status, length)
        return self.answers.pop(number)

    def read(self, length, page=None):
        at = (self.data if page is None else page) << 12
        return base64.b64decode(self.cpu.ask("b64read 0x%x %d" % (at, length))[0]) if length else b""

    def write(self, data, page=None):
        at = (self.data if page is None else page) << 12
        self.cpu.ask("b64write 0x%x %d %s" % (at, len(data), base64.b64encode(data).decode()))

    def control(self, kind, request, value=0, index=0, length=0, port=1, address=0, data=b""):
        """Status and data of a control request."""
        length = len(data) if data else length
        if data:
            self.write(data)
        into = bool(kind & 0x80)
        number = self.request(pipe(CTRL_TYPE, port, address, 0, into), length, struct.pack("<BBHHH", kind, request, value, index, length))
        self.push()
        status, got = self.answer(number)
        return status, self.read(got) if into and status == OK else got

    def bulk(self, endpoint, length=0, data=b"", port=1, address=0, wait=True, page=None, kind=BULK_TYPE):
        """Status and data, or, not waited for, the id."""
        if data:
            self.write(data, page)
        number = self.request(pipe(kind, port, address, endpoint & 15, endpoint & 0x80), len(data) or length, page=page)
        self.push()
        if not wait:
            return number
        status, got = self.answer(number)
        return status, self.read(got, page) if endpoint & 0x80 else got

    def unlink(self, number, port=1):
        got = self.request(pipe(0, port, unlink=True), special=struct.pack("<H", number))
        self.push()
        return self.answer(got)


# ---- a driver of UHCI ----

IN, OUT, SETUP = 0x69, 0xe1, 0x2d
ACTIVE_TD, STALLED_TD, BABBLE_TD, NAK_TD, TIMEOUT_TD = 1 << 23, 1 << 22, 1 << 20, 1 << 19, 1 << 18


class Uhci:
    """One controller, with one queue, in which is one transfer at a time: as Linux has them, or as SeaBIOS (`plain`)."""

    def __init__(self, cpu, slot, base=0x200000, io=0xc400, plain=False):
        self.cpu, self.base, self.io, self.plain = cpu, base, io, plain
        self.queue, self.tds, self.data = base + 0x1000, base + 0x2000, base + 0x10000
        self.toggle = {}
        cpu.do("pciwrite %s 0x20 4 0x%x" % (slot, io | 1))
        cpu.do("pciwrite %s 4 2 5" % slot)
        cpu.do("outw 0x%x 2" % io)                     # HCRESET
        cpu.ask("b64write 0x%x 4096 %s" % (base, base64.b64encode(struct.pack("<I", self.queue | 2) * 1024).decode()))
        cpu.ask("b64write 0x%x 16 %s" % (self.queue, base64.b64encode(struct.pack("<4I", 1, 1, 0, 0)).decode()))
        cpu.do("outl 0x%x 0x%x" % (io + 8, base))
        cpu.do("outw 0x%x 0xc1" % io)

    def port(self, number=1):
        return self.cpu.do("inw 0x%x" % (self.io + 0xe + 2 * number))

    def await_port(self, connected, number=1):
        deadline = time.monotonic() + PATIENCE
        while bool(self.port(number) & 1) != connected:
            want(time.monotonic() < deadline, "port", number, "is", hex(self.port(number)))
            time.sleep(.002)

    def changed(self, number=1):
        """Whether something was plugged or unplugged since the last look."""
        got = self.port(number)
        self.cpu.do("outw 0x%x 0x%x" % (self.io + 0xe + 2 * number, got & 0x14 | 2))
        return bool(got & 2)

    def reset(self, number=1):
        at = self.io + 0xe + 2 * number
        self.cpu.do("outw 0x%x 0x200" % at)
        time.sleep(.01)
        self.cpu.do("outw 0x%x 0" % at)
        self.cpu.do("outw 0x%x 4" % at)
        self.toggle = {}

    def begin(self, tds):
        """[(pid, address, endpoint, bytes or length, short is an end)] go into the queue."""
        words, at = b"", self.data
        for n, (pid, address, endpoint, data, more) in enumerate(tds):
            length = data if isinstance(data, int) else len(data)
            status = ACTIVE_TD | 3 << 27
            if not self.plain:
                status |= 0 if n + 1 < len(tds) else 1 << 24
                status |= 1 << 29 if pid == IN and more else 0
            words += struct.pack("<4I", self.tds + 32 * (n + 1) | 4 if n + 1 < len(tds) else 1, status,
                                 (length - 1 & 0x7ff) << 21 | endpoint << 15 | address << 8 | pid, at) + bytes(16)
            if not isinstance(data, int) and data:
                self.cpu.ask("b64write 0x%x %d %s" % (at, length, base64.b64encode(data).decode()))
            at += 64
        self.cpu.ask("b64write 0x%x %d %s" % (self.tds, len(words), base64.b64encode(words).decode()))
        self.cpu.do("writel 0x%x 0x%x" % (self.queue + 4, self.tds))
        self.count = len(tds)
        return [td[0] for td in tds]

    def statuses(self):
        raw = base64.b64decode(self.cpu.ask("b64read 0x%x %d" % (self.tds, 32 * self.count))[0])
        return [struct.unpack_from("<I", raw, 32 * n + 4)[0] for n in range(self.count)]

    def finish(self, pids, patience=PATIENCE):
        """Bits of the first error, or 0; and what came in. None: it is not over."""
        deadline = time.monotonic() + patience
        while True:
            got, into = b"", self.statuses()
            for n, status in enumerate(into):
                length = (status + 1) & 0x7ff
                if status & ACTIVE_TD:
                    break
                if status & 0x7e0000 & ~NAK_TD:
                    self.cancel()
                    return status & 0x760000, got
                if pids[n] == IN and length:
                    got += base64.b64decode(self.cpu.ask("b64read 0x%x %d" % (self.data + 64 * n, length))[0])
                if n + 1 == self.count or (status & 1 << 29 and length < 64):
                    self.cancel()
                    return 0, got
            if time.monotonic() > deadline:
                return None
            time.sleep(.001)

    def cancel(self):
        self.cpu.do("writel 0x%x 1" % (self.queue + 4))
        time.sleep(.003)

    def control(self, kind, request, value=0, index=0, length=0, address=0, data=b"", size=64):
        """Error and data of a control transfer."""
        length = len(data) or length
        tds = [(SETUP, address, 0, struct.pack("<BBHHH", kind, request, value, index, length), False)]
        pid = IN if kind & 0x80 and length else OUT
        for at in range(0, length, size):
            tds.append((pid, address, 0, min(size, length - at) if pid == IN else data[at:at + size], pid == IN))
        status = (OUT if pid == IN else IN, address, 0, 0, False)
        if pid == OUT or not length:
            return self.finish(self.begin(tds + [status]))
        error, got = self.finish(self.begin(tds))
        if not error:
            error, _ = self.finish(self.begin([status]))
        return error, got

    def bulk(self, endpoint, what, address=1, size=64, wait=True):
        """Error and data; `what`: bytes that go out, or how many may come in."""
        pid, tds = IN if endpoint & 0x80 else OUT, []
        length = what if pid == IN else len(what)
        for at in range(0, max(length, 1), size):
            n = min(size, length - at)
            tds.append((pid, address, endpoint & 15, n if pid == IN else what[at:at + n], at + n < length))
        pids = self.begin(tds)
        return self.finish(pids) if wait else pids
