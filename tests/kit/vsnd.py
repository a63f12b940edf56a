# SPDX-License-Identifier: GPL-2.0-or-later
"""A front end of the PV sound card (Xen's io/sndif.h) on xenemu: the guest's side of a stream, which takes no care of what it
asks for."""
import base64
import struct
import time

from client import PATIENCE, want

OPEN, CLOSE, READ, WRITE, SET_VOLUME, GET_VOLUME, MUTE, UNMUTE, TRIGGER, QUERY = range(10)
START, PAUSE, STOP, RESUME = range(4)
S8, U8, S16_LE, S16_BE = range(4)
EINVAL, EAGAIN, EFAULT, EOPNOTSUPP = -22, -11, -14, -95
REQ_PROD, REQ_EVENT, RSP_PROD, RSP_EVENT = 0, 4, 8, 12      # of a ring's page
ENTRIES, EVENTS = 32, 63


class Stream:
    """A ring, a page of events, and a buffer with its directory; pages and references have the same numbers."""

    def __init__(self, cpu, first, pages=4):
        self.cpu, self.ring, self.page, self.directory, self.buffer = cpu, first, first + 1, first + 2, first + 3
        self.size = pages << 12
        self.prod = self.seen = 0
        cpu.do("memset 0x%x %d 0" % (first << 12, (3 + pages) << 12))
        for n in range(3 + pages):
            cpu.do("grant add %d 0x%x" % (first + n, first + n))
        self.put(self.directory, 0, struct.pack("<%dI" % (pages + 1), 0, *range(self.buffer, self.buffer + pages)))
        self.put(self.ring, REQ_EVENT, struct.pack("<III", 1, 0, 1))
        self.port, self.event_port = (int(cpu.ask("evtchn alloc")[-1], 0) for _ in range(2))

    def keys(self, where):
        """What is published of it: key, value, …"""
        return {where + "/ring-ref": self.ring, where + "/event-channel": self.port,
                where + "/evt-ring-ref": self.page, where + "/evt-event-channel": self.event_port}

    def put(self, page, offset, data):
        for at in range(0, len(data), 4096):
            part = data[at:at + 4096]
            self.cpu.ask("b64write 0x%x %d %s" % ((page << 12) + offset + at, len(part), base64.b64encode(part).decode()))

    def get(self, page, offset, length):
        return base64.b64decode(self.cpu.ask("b64read 0x%x %d" % ((page << 12) + offset, length))[0])

    def number(self, page, offset):
        return struct.unpack("<I", self.get(page, offset, 4))[0]

    def ring_bell(self):
        self.cpu.do("evtchn send %d" % self.port)

    def send(self, operation, body=b"", bell=True):
        """A request, which need not be answered."""
        entry = struct.pack("<HB5x", self.prod & 0xffff, operation) + body.ljust(56, b"\0")
        self.put(self.ring, 64 + self.prod % ENTRIES * 64, entry)
        self.prod += 1
        self.put(self.ring, REQ_PROD, struct.pack("<I", self.prod & 0xffffffff))
        if bell:
            self.ring_bell()

    def answered(self):
        return self.number(self.ring, RSP_PROD) == self.prod & 0xffffffff

    def answer(self):
        """Status and the rest, of the last request."""
        deadline = time.monotonic() + PATIENCE
        while not self.answered():
            want(time.monotonic() < deadline, "no answer: requests", self.prod, "answers", self.number(self.ring, RSP_PROD))
            time.sleep(.001)
        self.put(self.ring, RSP_EVENT, struct.pack("<I", self.prod + 1 & 0xffffffff))
        entry = self.get(self.ring, 64 + (self.prod - 1) % ENTRIES * 64, 64)
        ident, _, status = struct.unpack_from("<HBxi", entry)
        want(ident == (self.prod - 1) & 0xffff, "the answer is to", ident, "of", self.prod - 1)
        return status, entry[8:]

    def ask(self, operation, body=b""):
        self.send(operation, body)
        return self.answer()[0]

    def open(self, rate=48000, fmt=S16_LE, channels=2, size=None, period=0, directory=None):
        return self.ask(OPEN, struct.pack("<IBBxxIII", rate, fmt, channels, self.size if size is None else size,
                                          self.directory if directory is None else directory, period))

    def close(self):
        return self.ask(CLOSE)

    def trigger(self, what):
        return self.ask(TRIGGER, bytes([what]))

    def transfer(self, operation, offset, length):
        return self.ask(operation, struct.pack("<II", offset, length))

    def write(self, data, offset=0):
        self.put(self.buffer, offset, data)
        return self.transfer(WRITE, offset, len(data))

    def read(self, length, offset=0):
        return self.transfer(READ, offset, length), self.get(self.buffer, offset, length)

    def query(self, formats=(1 << 64) - 1, rates=(0, 0xffffffff), channels=(0, 0xffffffff), size=(0, 0xffffffff), period=(0, 0xffffffff)):
        """What is left of it, or a status."""
        self.send(QUERY, struct.pack("<Q8I", formats, *rates, *channels, *size, *period))
        status, body = self.answer()
        left = struct.unpack_from("<Q8I", body)
        return status or (left[0],) + tuple(zip(left[1::2], left[2::2]))

    def events(self):
        """Positions that were told since."""
        found = []
        prod = self.number(self.page, 4)
        while self.seen != prod:
            ident, kind, position = struct.unpack("<HB5xQ", self.get(self.page, 64 + self.seen % EVENTS * 64, 16))
            want(ident == self.seen & 0xffff and kind == 0, "event", self.seen, "is", ident, kind)
            found.append(position)
            self.seen += 1
        self.put(self.page, 0, struct.pack("<I", self.seen))
        return found

    def await_position(self, position):
        """Until an event tells as much; all positions told since."""
        deadline = time.monotonic() + PATIENCE
        told = []
        while not told or told[-1] < position:
            want(time.monotonic() < deadline, "no event for", position, "but", told[-3:])
            told += self.events()
            time.sleep(.002)
        return told

    def play(self, data, chunk=4096):
        """All of it, as fast as it is taken, round the buffer."""
        at = 0
        for n in range(0, len(data), chunk):
            part = data[n:n + chunk]
            at = at if at + len(part) <= self.size else 0
            status = self.write(part, at)
            want(status == 0, "a write's status is", status)
            at += len(part)
