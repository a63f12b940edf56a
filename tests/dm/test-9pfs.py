#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""9pfs on xenemu: rings, files and what a guest may not do with them, in the sandbox and with a live update under it. What both
have is asked of QEMU's Xen build, too."""
import os
import signal
import stat
import struct
import sys
import time

sys.dont_write_bytecode = True     # the source tree stays clean
SOURCE = os.environ.get("XENDM_SRCDIR") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path.insert(0, os.path.join(SOURCE, "tests/faults"))
sys.path.insert(0, os.path.join(SOURCE, "tests/kit"))
import p9     # noqa: E402
from faults import PATIENCE, XENDM, Machine, Skip, tap, want     # noqa: E402

QEMU = os.environ.get("ORACLE", "/usr/libexec/xen-qemu-system-i386")
BACK, FRONT = "/local/domain/0/backend/9pfs/1/0", "/local/domain/1/device/9pfs/0"


class Guest:
    """Toolstack and front end of a PV guest with one directory."""

    def __init__(self, tmp, model="none", dm=XENDM, rings=2, order=6, start=True):
        self.tmp, self.tree = tmp, tmp + "/tree"
        os.makedirs(self.tree, exist_ok=True)
        self.machine = Machine(tmp, "--pv", dm=dm)
        self.cpu, self.qmp, self.qemu = self.machine.cpu, self.machine.qmp, dm != XENDM
        self.rings = []
        self.write(FRONT, tag="share", backend=BACK, backend_id=0, state=1)
        self.write(BACK, frontend=FRONT, frontend_id=1, path=self.tree, security_model=model, online=1, state=1)
        if start:
            self.await_state(2)
            self.connect(rings, order)

    def xs(self, tool, *args):
        return self.machine.xs(tool, *args)

    def write(self, directory, **keys):
        self.xs("write", *self.words(directory, keys))

    @staticmethod
    def words(directory, keys):
        for key, value in keys.items():
            name = key if key == "security_model" else key.replace("_", "-")
            yield directory + "/" + name
            yield str(value)

    def state(self):
        return self.xs("read", BACK + "/state")

    def await_state(self, state):
        deadline = time.monotonic() + PATIENCE
        while self.state() != str(state):
            want(time.monotonic() < deadline, "it is not in state", state, "but", self.state(), self.machine.log()[-2000:])
            time.sleep(.01)

    def connect(self, rings=2, order=6, first=0x100):
        """`first`: page and reference."""
        self.rings = []
        for n in range(rings):
            at = first + n * (1 + (1 << order))
            self.rings.append(p9.Ring(self.cpu, at, order, at))
        keys = {"version": 1, "num_rings": rings}
        for n, ring in enumerate(self.rings):
            keys.update({"ring-ref%d" % n: ring.ref, "event-channel-%d" % n: ring.port})
        self.xs("write", *[word for key, value in keys.items() for word in (FRONT + "/" + key.replace("num_rings", "num-rings"), str(value))])
        self.write(FRONT, state=3)
        self.await_state(4)
        self.write(FRONT, state=4)

    def client(self, **options):
        return p9.Client(p9.Rings(self.rings), **options)

    def end(self):
        self.machine.end(leaks=True)       # ports and grants are Xen's to take back


def fails(error, function, *args, **options):
    try:
        function(*args, **options)
    except p9.P9Error as e:
        want(e.errno == error, function.__name__, args, "fails with", e, "and not with", os.strerror(error))
        return
    raise AssertionError("%s%s does not fail" % (function.__name__, args))


def put(path, data=b"", mode=0o644):
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def keeps_attributes(directory):
    try:
        os.setxattr(directory, "user.test", b"")
        os.removexattr(directory, "user.test")
    except OSError:
        return False
    return True


def files(guest):
    """What any client does, the same for each device model."""
    put(guest.tree + "/hello", b"hello, world\n")
    c = guest.client()
    want(c.version == "9P2000.L", c.version)
    root = c.attach()
    f = c.open(c.walk(root, "hello"))
    want(c.read(f, 7, 100) == b"world\n", "what was read")
    want(c.read(f, 100, 100) == b"", "behind the end")
    a = c.getattr(f)
    want((a["mode"], a["size"], a["uid"]) == (0o100644, 13, os.getuid()), a)
    c.clunk(f)
    fails(2, c.walk, root, "nothing")
    fails(2 if guest.qemu else 9, c.clunk, 12345)       # QEMU has no other word for a fid that is not there

    c.mkdir(root, "d", 0o750)
    want(stat.S_IMODE(os.stat(guest.tree + "/d").st_mode) == 0o750, "the directory's mode")
    d = c.walk(root, "d")
    f = c.create(c.walk(d), "new", mode=0o640)
    data = os.urandom(20000)
    want(c.write(f, 0, data) == len(data), "bytes written")
    want(c.read(f, 5000, 10000) == data[5000:15000], "what comes back")
    c.ask(p9.FSYNC, struct.pack("<II", f, 0))
    want(get(guest.tree + "/d/new") == data, "the file on the host")
    want(stat.S_IMODE(os.stat(guest.tree + "/d/new").st_mode) == 0o640, "the file's mode")
    c.setattr(f, 8, size=10)
    want(os.path.getsize(guest.tree + "/d/new") == 10, "its size")
    c.setattr(f, 1 | 32 | 256, mode=0o600, mtime=(1000, 0))
    st = os.stat(guest.tree + "/d/new")
    want((stat.S_IMODE(st.st_mode), st.st_mtime) == (0o600, 1000), st)

    for n in range(300):
        put("%s/d/file-with-a-long-name-%03d" % (guest.tree, n))
    names = [name for name, _ in c.readdir(c.open(c.walk(d)), 2000)]
    want(sorted(names) == sorted([".", ".."] + os.listdir(guest.tree + "/d")), len(names), "names")

    c.renameat(d, "new", root, "moved")
    want(os.path.exists(guest.tree + "/moved") and not os.path.exists(guest.tree + "/d/new"), "not moved")
    want(c.write(f, 0, b"still") == 5, "to a file that was moved")
    fails(39, c.unlinkat, root, "d", 0x200)
    fails(21, c.unlinkat, root, "d", 0)
    c.unlinkat(root, "moved")
    want(c.read(f, 0, 5) == b"still", "of a file that was removed")
    c.clunk(f)

    c.symlink(root, "link", "/etc/passwd")
    want(os.readlink(guest.tree + "/link") == "/etc/passwd", "the link")
    s = c.walk(root, "link")
    want(stat.S_ISLNK(c.getattr(s)["mode"]) and c.readlink(s) == "/etc/passwd", "the link, seen by the guest")
    fails(22, c.readlink, root)
    c.link(root, c.walk(root, "hello"), "second")
    want(os.stat(guest.tree + "/second").st_nlink == 2, "links")
    c.remove(c.walk(root, "second"))
    want(not os.path.exists(guest.tree + "/second"), "removed")
    want(len(c.ask(p9.STATFS, struct.pack("<I", root))) == 60, "statfs")
    want(c.ask(p9.LOCK, struct.pack("<IBIQQI", c.open(c.walk(root, "hello")), 1, 0, 0, 0, 1) + p9.text("me")) == b"\0", "a lock")
    if not keeps_attributes(guest.tree):
        return
    c.set_xattr(root, "user.colour", b"green")
    want(os.getxattr(guest.tree, "user.colour") == b"green", "the attribute")
    want(c.xattr(root, "user.colour") == b"green", "the attribute, seen by the guest")
    want(b"user.colour" in c.xattr(root).split(b"\0"), "the list of attributes")
    fails(61, c.xattr, root, "user.none")


def test_files(tmp):
    """Files, directories, links, attributes; on the host they are what the guest made."""
    guest = Guest(tmp)
    files(guest)
    guest.end()


def test_files_of_qemu(tmp):
    """QEMU's server agrees with the same client."""
    if not os.access(QEMU, os.X_OK):
        raise Skip("there is no " + QEMU)
    guest = Guest(tmp, dm=QEMU)
    files(guest)
    guest.end()


def test_mapped(tmp):
    """mapped-xattr: owners, modes, links and special files are the guest's, and on the host nothing but plain files."""
    if not keeps_attributes(tmp):
        raise Skip("the file system keeps no attributes of users'")
    guest = Guest(tmp, "mapped-xattr")
    c = guest.client()
    root = c.attach(uid=1000)
    c.clunk(c.create(c.walk(root), "f", mode=0o4755, gid=100))
    a = c.getattr(c.walk(root, "f"))
    want((a["mode"], a["uid"], a["gid"]) == (0o104755, 1000, 100), a)
    st = os.stat(guest.tree + "/f")
    want((st.st_mode, st.st_uid) == (0o100600, os.getuid()), st)
    want(struct.unpack("<I", os.getxattr(guest.tree + "/f", "user.virtfs.uid"))[0] == 1000, "as QEMU keeps it")
    c.setattr(c.walk(root, "f"), 1 | 2, mode=0o600, uid=7)
    a = c.getattr(c.walk(root, "f"))
    want((a["mode"], a["uid"], a["gid"]) == (0o100600, 7, 100), a)
    c.symlink(root, "l", "../../etc/shadow")
    want(stat.S_ISREG(os.lstat(guest.tree + "/l").st_mode), "a link is a file there")
    want(c.readlink(c.walk(root, "l")) == "../../etc/shadow", "the link")
    fails(40, c.open, c.walk(root, "l"))
    c.mknod(root, "disk", 0o60600, 8, 1)
    a = c.getattr(c.walk(root, "disk"))
    want(stat.S_ISBLK(a["mode"]) and a["rdev"] == os.makedev(8, 1), a)
    want(stat.S_ISREG(os.lstat(guest.tree + "/disk").st_mode), "a device is a file there")
    fails(6, c.open, c.walk(root, "disk"))
    want(c.xattr(root) == b"", "what is kept of a file is seen by the guest")
    fails(61, c.xattr, c.walk(root, "f"), "user.virtfs.uid")
    fails(13, c.set_xattr, c.walk(root, "f"), "user.virtfs.uid", b"\0\0\0\0")
    fails(13, c.set_xattr, c.walk(root, "f"), "security.capability", b"x" * 20)
    guest.end()


def test_rings(tmp):
    """More than one ring, messages over a ring's end, answers that wait for room, requests that come in pieces."""
    guest = Guest(tmp, rings=4, order=2)
    put(guest.tree + "/data", os.urandom(100000))
    data = get(guest.tree + "/data")
    clients = [guest.client(msize=1 << 20)]
    want(clients[0].msize == 8192, "a message is larger than the ring:", clients[0].msize)
    root = clients[0].attach()
    f = clients[0].open(clients[0].walk(root, "data"))
    for n in range(60):
        ring = guest.rings[n % 4]
        ring.send(p9.message(p9.READ, n, struct.pack("<IQI", f, n * 1000, 3000)))
        answer = ring.receive()
        want(answer[11:] == data[n * 1000:n * 1000 + 3000], "ring", n % 4, "offset", n * 1000)
    ring = guest.rings[1]
    for n in range(20):           # far more than the ring has room for
        ring.send(p9.message(p9.READ, n, struct.pack("<IQI", f, n * 3000, 3000)))
    got = {}
    for n in range(20):
        answer = ring.receive(ring=True)
        got[struct.unpack_from("<H", answer, 5)[0]] = answer[11:]
    want(got == {n: data[n * 3000:n * 3000 + 3000] for n in range(20)}, "answers", sorted(got))
    request = p9.message(p9.READ, 5, struct.pack("<IQI", f, 0, 10))
    for byte in request:
        ring.send(bytes([byte]))
    want(ring.receive()[11:] == data[:10], "a request in pieces")
    guest.end()


def test_hostile(tmp):
    """What no front end writes ends the connection, not the device model; then it may begin anew."""
    guest = Guest(tmp, start=False)
    guest.await_state(2)
    for poke in ((p9.OUT_PROD, 0x7fffffff), (p9.OUT_CONS, 5), "short", "long"):
        guest.connect(rings=2, order=3)
        ring = guest.rings[1]
        if poke == "short":
            ring.send(struct.pack("<IBH", 6, 100, 0))
        elif poke == "long":
            ring.send(struct.pack("<IBH", 0xfffffff0, 100, 0))
        else:
            ring.put(*poke)
            ring.ring_bell()
        if poke == (p9.OUT_CONS, 5):      # that index is the back end's own
            want(guest.client().version == "9P2000.L", "it is served no more")
        else:
            guest.await_state(5)
        guest.write(FRONT, state=6)
        guest.await_state(6)
        for ring in guest.rings:
            for n in range(1 + (1 << ring.order)):
                guest.cpu.do("grant remove %d" % (ring.ref + n))
        guest.write(FRONT, state=1)
        guest.await_state(2)
    for key, value in (("num-rings", 5), ("num-rings", 0), ("version", 2)):
        guest.write(FRONT, **{"version": 1, "num_rings": 1, key.replace("-", "_"): value}, state=3)
        guest.await_state(5)
        guest.write(FRONT, state=6)
        guest.await_state(6)
        guest.write(FRONT, state=1)
        guest.await_state(2)
    guest.connect()
    want(guest.client().version == "9P2000.L", "it is served no more")
    guest.end()


def server_of(guest):
    """The process id of the one server of this test's directory."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                name = f.read().split(b"\0")[0]
            if name.endswith(b"/xendm-p9") and os.path.realpath("/proc/%s/fd/4" % pid) == os.path.realpath(guest.tree):
                found.append(int(pid))
        except OSError:
            pass
    want(len(found) == 1, "servers:", found)
    return found[0]


def test_server_ends(tmp):
    """A server that is killed: what is mounted fails, mounting anew works; nothing waits for ever."""
    guest = Guest(tmp)
    c = guest.client()
    root = c.attach()
    pid = server_of(guest)
    os.kill(pid, signal.SIGSTOP)
    guest.rings[0].send(p9.message(p9.GETATTR, 1, struct.pack("<IQ", root, 0x7ff)))
    guest.rings[1].send(p9.message(p9.GETATTR, 2, struct.pack("<IQ", root, 0x7ff)))
    want("status: connected" in guest.qmp.hmp("info pv") or guest.qmp.hmp("info status"), "the monitor")
    os.kill(pid, signal.SIGKILL)
    guest.machine.await_log("the server of .* has ended")
    for ring, tag in ((0, 1), (1, 2)):
        answer = guest.rings[ring].receive()
        want(answer == p9.message(p9.RLERROR, tag, struct.pack("<I", 5)), "the answer to what it had is", answer)
    fails(5, c.getattr, root)
    put(guest.tree + "/again", b"x")
    c = guest.client()
    want(c.getattr(c.walk(c.attach(), "again"))["size"] == 1, "mounted anew")
    guest.end()


def test_update(tmp):
    """A live update: files stay open, answers that wait for room come, and the server is the same."""
    guest = Guest(tmp, order=2, rings=2)
    put(guest.tree + "/f", b"0123456789" * 1000)
    c = guest.client()
    f = c.open(c.walk(c.attach(), "f"))
    pid = server_of(guest)
    ring = guest.rings[1]
    for n in range(6):
        ring.send(p9.message(p9.READ, n, struct.pack("<IQI", f, n * 10, 4000)))
    ring.await_bytes(4011)
    for _ in range(3):
        want("return" in guest.qmp.ask("xendm-update"), "an update")
    for n in range(6):
        answer = ring.receive(ring=True)
        want(struct.unpack_from("<H", answer, 5)[0] == n and len(answer) == 4011, "answer", n)
    want(c.read(f, 3, 4) == b"3456", "the file")
    want(server_of(guest) == pid, "another server")
    guest.end()


def test_refused(tmp):
    """What cannot be served says why, and holds up no guest."""
    guest = Guest(tmp, "mapped-file", start=False)
    guest.await_state(6)
    guest.machine.await_log("9pfs 0 cannot be served: .*mapped-file")
    guest.write(BACK, path=guest.tree + "/nothing", security_model="none", state=1)
    guest.machine.await_log("9pfs 0 cannot be served: .*nothing")
    guest.write(BACK, path=guest.tree, state=1)
    guest.await_state(2)
    guest.connect()
    want(guest.client().version == "9P2000.L", "it is served no more")
    guest.end()


sys.exit(tap([test_files, test_files_of_qemu, test_mapped, test_rings, test_hostile, test_server_ends, test_update, test_refused]))
