# SPDX-License-Identifier: GPL-2.0-or-later
"""A client of 9P2000.L (Linux' <net/9p/9p.h>), and Xen's transport under it (docs/misc/9pfs.pandoc) on xenemu: the
guest's side of 9pfs, which takes no care of what it sends."""
import base64
import os
import struct
import time

from client import PATIENCE, want

RLERROR = 7
STATFS, LOPEN, LCREATE, SYMLINK, MKNOD, RENAME, READLINK, GETATTR, SETATTR = 8, 12, 14, 16, 18, 20, 22, 24, 26
XATTRWALK, XATTRCREATE, READDIR, FSYNC, LOCK, GETLOCK, LINK, MKDIR, RENAMEAT, UNLINKAT = 30, 32, 40, 50, 52, 54, 70, 72, 74, 76
VERSION, AUTH, ATTACH, FLUSH, WALK, READ, WRITE, CLUNK, REMOVE = 100, 102, 104, 108, 110, 116, 118, 120, 122
NOFID, NOTAG = 0xffffffff, 0xffff
IN_CONS, IN_PROD, OUT_CONS, OUT_PROD = 0, 4, 64, 68     # of a ring's page


class P9Error(Exception):
    """Rlerror."""

    def __init__(self, number, kind=0):
        super().__init__("%s, to a request of type %d" % (os.strerror(number), kind))
        self.errno = number


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<H", len(data)) + data


def message(kind, tag, body):
    return struct.pack("<IBH", 7 + len(body), kind, tag) + body


class Client:
    """Requests, one at a time, over a transport with send(message) and receive() -> message."""

    def __init__(self, transport, msize=65536, version="9P2000.L"):
        self.transport, self.fids, self.tag = transport, 0, 0
        self.msize, self.version = self.hello(msize, version)

    def hello(self, msize, version):
        body = self.ask(VERSION, struct.pack("<I", msize) + text(version), NOTAG)
        size, length = struct.unpack_from("<IH", body)
        return size, body[6:6 + length].decode()

    def ask(self, kind, body=b"", tag=None):
        self.tag = (self.tag + 1) % 0xffff
        tag = self.tag if tag is None else tag
        self.transport.send(message(kind, tag, body))
        answer = self.transport.receive()
        size, got, got_tag = struct.unpack_from("<IBH", answer)
        want(size == len(answer) and got_tag == tag, "an answer of", len(answer), "says", size, "and tag", got_tag, "to", tag)
        if got == RLERROR:
            raise P9Error(struct.unpack("<I", answer[7:])[0], kind)
        want(got == kind + 1, "the answer to", kind, "is", got)
        return answer[7:]

    def new(self):
        self.fids += 1
        return self.fids

    def attach(self, uid=0):
        fid = self.new()
        self.ask(ATTACH, struct.pack("<II", fid, NOFID) + text("") + text("") + struct.pack("<I", uid))
        return fid

    def walk(self, fid, *names):
        """A new fid; P9Error(2) when not all names are there."""
        new = self.new()
        body = self.ask(WALK, struct.pack("<IIH", fid, new, len(names)) + b"".join(map(text, names)))
        if struct.unpack_from("<H", body)[0] < len(names):
            raise P9Error(2)
        return new

    def open(self, fid, flags=0):
        self.ask(LOPEN, struct.pack("<II", fid, flags))
        return fid

    def create(self, fid, name, flags=2, mode=0o644, gid=0):
        self.ask(LCREATE, struct.pack("<I", fid) + text(name) + struct.pack("<III", flags, mode, gid))
        return fid

    def read(self, fid, offset, count):
        return self.ask(READ, struct.pack("<IQI", fid, offset, count))[4:]

    def write(self, fid, offset, data):
        return struct.unpack("<I", self.ask(WRITE, struct.pack("<IQI", fid, offset, len(data)) + data))[0]

    def clunk(self, fid):
        self.ask(CLUNK, struct.pack("<I", fid))

    def remove(self, fid):
        self.ask(REMOVE, struct.pack("<I", fid))

    def getattr(self, fid):
        body = self.ask(GETATTR, struct.pack("<IQ", fid, 0x7ff))
        mode, uid, gid, links, rdev, size = struct.unpack_from("<IIIQQQ", body, 21)
        return {"qid": body[8:21], "mode": mode, "uid": uid, "gid": gid, "links": links, "rdev": rdev, "size": size,
                "mtime": struct.unpack_from("<Q", body, 21 + 36 + 32)[0]}

    def setattr(self, fid, valid, mode=0, uid=0, gid=0, size=0, atime=(0, 0), mtime=(0, 0)):
        self.ask(SETATTR, struct.pack("<IIIIIQQQQQ", fid, valid, mode, uid, gid, size, *atime, *mtime))

    def mkdir(self, fid, name, mode=0o755, gid=0):
        self.ask(MKDIR, struct.pack("<I", fid) + text(name) + struct.pack("<II", mode, gid))

    def symlink(self, fid, name, target, gid=0):
        self.ask(SYMLINK, struct.pack("<I", fid) + text(name) + text(target) + struct.pack("<I", gid))

    def mknod(self, fid, name, mode, major=0, minor=0, gid=0):
        self.ask(MKNOD, struct.pack("<I", fid) + text(name) + struct.pack("<IIII", mode, major, minor, gid))

    def readlink(self, fid):
        return self.ask(READLINK, struct.pack("<I", fid))[2:].decode()

    def link(self, directory, fid, name):
        self.ask(LINK, struct.pack("<II", directory, fid) + text(name))

    def renameat(self, old, name, new, new_name):
        self.ask(RENAMEAT, struct.pack("<I", old) + text(name) + struct.pack("<I", new) + text(new_name))

    def rename(self, fid, new, new_name):
        self.ask(RENAME, struct.pack("<II", fid, new) + text(new_name))

    def unlinkat(self, fid, name, flags=0):
        self.ask(UNLINKAT, struct.pack("<I", fid) + text(name) + struct.pack("<I", flags))

    def readdir(self, fid, count=8192):
        """Names and kinds of all entries."""
        found, offset = [], 0
        while True:
            body = self.ask(READDIR, struct.pack("<IQI", fid, offset, count))
            end = 4 + struct.unpack_from("<I", body)[0]
            if end == 4:
                return found
            at = 4
            while at < end:
                offset, kind, length = struct.unpack_from("<QBH", body, at + 13)
                at += 24
                found.append((body[at:at + length].decode(), kind))
                at += length

    def xattr(self, fid, name=""):
        new = self.new()
        size = struct.unpack("<Q", self.ask(XATTRWALK, struct.pack("<II", fid, new) + text(name)))[0]
        data = self.read(new, 0, size)
        self.clunk(new)
        return data

    def set_xattr(self, fid, name, data, flags=0):
        new = self.walk(fid)
        self.ask(XATTRCREATE, struct.pack("<I", new) + text(name) + struct.pack("<QI", len(data), flags))
        if data:
            self.write(new, 0, data)
        self.clunk(new)


class Ring:
    """One ring in the guest's memory: its page, then the data; struct xen_9pfs_data_intf of Xen's io/ring.h."""

    def __init__(self, cpu, page, order, first_ref):
        self.cpu, self.base, self.order, self.ref = cpu, page << 12, order, first_ref
        self.size = 1 << (order + 11)
        self.into, self.out = self.base + 0x1000, self.base + 0x1000 + self.size
        cpu.do("memset 0x%x %d 0" % (self.base, 0x1000 + 2 * self.size))
        for n in range(1 + (1 << order)):
            cpu.do("grant add %d 0x%x" % (first_ref + n, page + n))
            if n:
                cpu.do("writel 0x%x %d" % (self.base + 0x80 + 4 * n, first_ref + n))
        cpu.do("writel 0x%x %d" % (self.base + 0x80, order))
        self.port = cpu.do("evtchn alloc")

    def get(self, at):
        return self.cpu.do("readl 0x%x" % (self.base + at))

    def put(self, at, value):
        self.cpu.do("writel 0x%x %d" % (self.base + at, value & 0xffffffff))

    def copy_in(self, at, index, data):
        """Into one of the halves, over its end."""
        while data:
            place = index & (self.size - 1)
            part = data[:self.size - place]
            self.cpu.ask("b64write 0x%x %d %s" % (at + place, len(part), base64.b64encode(part).decode()))
            data, index = data[len(part):], index + len(part)

    def copy_out(self, at, index, length):
        data = b""
        while length:
            place = index & (self.size - 1)
            part = min(length, self.size - place)
            data += base64.b64decode(self.cpu.ask("b64read 0x%x %d" % (at + place, part))[0])
            length, index = length - part, index + part
        return data

    def send(self, data, ring=True):
        prod = self.get(OUT_PROD)
        self.copy_in(self.out, prod, data)
        self.put(OUT_PROD, prod + len(data))
        if ring:
            self.ring_bell()

    def ring_bell(self):
        self.cpu.do("evtchn send %d" % self.port)

    def await_bytes(self, count):
        deadline = time.monotonic() + PATIENCE
        while True:
            cons = self.get(IN_CONS)
            if (self.get(IN_PROD) - cons) & 0xffffffff >= count:
                return cons
            want(time.monotonic() < deadline, "no answer of", count, "bytes")
            time.sleep(.0005)

    def receive(self, ring=False):
        """The next answer. ring: the back end is told that there is room."""
        cons = self.await_bytes(4)
        size = struct.unpack("<I", self.copy_out(self.into, cons, 4))[0]
        self.await_bytes(size)
        data = self.copy_out(self.into, cons, size)
        self.put(IN_CONS, cons + size)
        if ring:
            self.ring_bell()
        return data


class Rings:
    """All rings as one transport: a tag belongs to a ring, as Linux has it and QEMU wants it."""

    def __init__(self, rings):
        self.rings, self.last = rings, rings[0]

    def send(self, data):
        self.last = self.rings[struct.unpack_from("<H", data, 5)[0] % len(self.rings)]
        self.last.send(data)

    def receive(self):
        return self.last.receive()
