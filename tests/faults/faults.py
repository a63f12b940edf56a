# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of this directory share: xendm on xenemu, its guest's CPU, its monitor, its log. TAP."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SOURCE = os.environ.get("XENDM_SRCDIR") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path.insert(0, os.path.join(SOURCE, "tests/kit"))
from client import CTL, PATIENCE, WHERE, XENDM, XENEMU, XENSTORED, Qmp, Tap, note, want    # noqa: E402
import client                                                               # noqa: E402


class Skip(Exception):
    """Something that the test needs is not there."""


def temporary():
    return tempfile.mkdtemp(prefix="xf-")


def image(path, size):
    """Each sector holds its own number."""
    with open(path, "wb") as f:
        f.write(b"".join(i.to_bytes(4, "little") * 128 for i in range(size // 512)))
    return path


class Cpu(client.Cpu):
    """One that expects, and makes xenemu fail."""

    def expect(self, command, value, mask=None):
        got = self.do(command)
        got = got & mask if mask is not None else got
        want(got == value, command, "is", hex(got), "not", hex(value))

    def fault(self, spec):
        self.ask("fault " + spec)

    def hits(self):
        return {h.split(":hits=")[0]: int(h.split("=")[1]) for h in self.ask("fault list")}


NODE = "/local/domain/0/device-model/1"
RUNNING = []            # machines, to be cleaned up after a test that failed


class Machine:
    """xendm with one vCPU per `vcpus` and what is asked for."""

    def __init__(self, directory, *options, vga="stdvga", serial="null", dm=XENDM, prefix=(), may_fail=False):
        self.dir = os.path.join(directory, "run")
        self.logfile = os.path.join(directory, "dm.log")
        if os.path.exists(self.logfile):
            os.unlink(self.logfile)
        self.proc = subprocess.Popen(
            list(prefix) + [XENEMU, "run", "--dm", dm, "--rundir", self.dir, "--log", self.logfile, "--vga", vga,
                            "--serial", serial, "--leaks"] + list(options),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        RUNNING.append(self)
        self.out, self.path = "", None
        for line in self.proc.stdout:
            self.out += line
            if line.startswith("socket "):
                self.path = line.split()[1]
                break
        if self.path:
            self.qmp = Qmp(os.path.join(self.dir, "qmp-libxl-1"))
            self.cpu = Cpu(self.path)
        elif not may_fail:
            raise AssertionError("it did not start:\n" + self.out + self.log())

    def xs(self, tool, *args):
        return xenstore(self.dir, tool, *args)

    def log(self):
        try:
            with open(self.logfile, errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def logged(self, pattern, times=None):
        """Lines of the log that match, of which there must be at least one, or so many."""
        lines = [line for line in self.log().splitlines() if re.search(pattern, line)]
        want(len(lines) == times if times is not None else lines, "log lines with", repr(pattern), "are", len(lines), ":\n",
             self.log()[-3000:])
        return lines

    def await_log(self, pattern):
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.log()):
            want(time.monotonic() < deadline, "no log line with", repr(pattern), ":\n", self.log()[-3000:])
            time.sleep(.01)

    def pid(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(os.path.join(self.dir, "qmp-libxl-1"))
            cred = s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int.from_bytes(cred[:4], "little")

    def end(self, status=0, leaks=False):
        """As the toolstack ends it; what it leaves behind fails the test (but for `leaks`)."""
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
        self.out += self.proc.stdout.read()
        got = self.proc.wait(timeout=PATIENCE)
        want(leaks or "LEAK" not in self.out, self.out)
        # Sanitized, the tool complains of what it does not free before it ends; xendm must not.
        want(got == status or (leaks and got == 3) or "LeakSanitizer" in self.out, "xenemu ended with", got, ":\n", self.out, self.log()[-3000:])
        want("Sanitizer" not in self.log() and "assertion" not in self.log().lower(), self.log()[-3000:])

    def kill(self):
        """xenemu takes everything that it started with it."""
        if self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()


def processes(name, args):
    """Those of that name with that in their arguments."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                argv = f.read().split(b"\0")
        except OSError:
            continue
        if os.path.basename(argv[0]) == name.encode() and any(args.encode() in a for a in argv[1:]):
            found.append(int(pid))
    return found


SERVER = "qemu-storage-daemon"


def server_of(path):
    """The image server that has this file."""
    pids = processes(SERVER, path)
    want(len(pids) == 1, "servers of", path, ":", pids)
    return pids[0]


def environment(m):
    """Of a program whose Xen and xenstored are this machine's xenemu."""
    return dict(os.environ, XENDM_STATUS_DIR=m.dir, XENSTORED_RUNDIR=m.dir, XENEMU_SOCKET=m.dir + "/xen",
                LD_LIBRARY_PATH=WHERE["libraries"])


def xenstore(directory, tool, *args):
    """What xenstore-TOOL prints, of xenemu's xenstored there."""
    env = dict(os.environ, XENSTORED_RUNDIR=directory)
    return subprocess.run(["xenstore-" + tool, *args], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          check=False).stdout.strip()


def ctl(m, *words, status=0):
    """What xendmctl prints of this machine."""
    got = subprocess.run([CTL, *words], env=environment(m), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    want(got.returncode == status, words, "ended with", got.returncode, got.stdout)
    return got.stdout


def until(what, *words):
    deadline = time.monotonic() + PATIENCE
    while not what():
        want(time.monotonic() < deadline, *words)
        time.sleep(.05)


def save(qmp, fd):
    """What xen-save-devices-state says, as libxl asks for it."""
    fdset = qmp.ask("add-fd", fd=fd)["return"]["fdset-id"]
    return qmp.ask("xen-save-devices-state", filename="/dev/fdset/%d" % fdset, live=True)


class OurOwn:
    """A domain of xenemu's whose device models we start and end ourselves, as libxl does."""

    def __init__(self, tmp, *options):
        self.dir, self.tmp = tmp + "/run", tmp
        self.xenemu = subprocess.Popen([XENEMU, "run", "--dm", XENDM, "--rundir", self.dir, "--wait-dm", "--leaks", *options],
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.argv = self.xenemu.stdout.readline().split()
        self.env = dict(os.environ)
        for line in self.xenemu.stdout:
            if line.startswith("start the device model"):
                break
            name, _, value = line.rstrip("\n").partition("=")
            self.env[name] = value
        self.dm = None

    def xs(self, tool, *args):
        return xenstore(self.dir, tool, *args)

    def start(self, incoming=None):
        with open(self.tmp + "/dm.log", "a") as log:
            extra = ["-incoming", "fd:%d" % incoming] if incoming is not None else []
            self.dm = subprocess.Popen(self.argv + extra, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       pass_fds=[incoming] if incoming is not None else [], start_new_session=True)
        if incoming is None:
            with open(self.dir + "/pid", "w") as f:
                f.write("%d\n" % self.dm.pid)
            os.rename(self.dir + "/pid", self.dir + "/dm.pid")
            for line in self.xenemu.stdout:
                if line.startswith("socket "):
                    return line.split()[1]
            raise AssertionError("it did not start")
        deadline = time.monotonic() + PATIENCE
        while self.xs("read", NODE + "/state") != "running":
            want(time.monotonic() < deadline and self.dm.poll() is None, "it did not start")
            time.sleep(.01)
        return None

    def qmp(self):
        return Qmp(self.dir + "/qmp-libxl-1")

    def end_dm(self):
        self.xs("rm", NODE)
        try:
            self.dm.send_signal(1)
        except ProcessLookupError:      # it saw its directory go
            pass
        want(self.dm.wait(PATIENCE) == 0, "it ended with", self.dm.returncode)


FINE = (0x50, 0)        # status and error register of an IDE drive that did what it was told


def drive(path, fmt, index=0, cache="writeback"):
    """Of the command line: an image that xl names so."""
    return ["-drive", "file=%s,if=ide,index=%d,media=disk,format=%s,cache=%s" % (path, index, fmt, cache)]


class Disk:
    """The driver of one IDE drive, with a descriptor table and a buffer of its own."""

    def __init__(self, cpu, channel=0, unit=0):
        self.cpu = cpu
        self.port, self.control = (0x1f0, 0x3f6) if channel == 0 else (0x170, 0x376)
        self.bm = 0xc000 + 8 * channel
        self.select = 0xe0 | unit << 4
        self.gsi = 14 + channel
        self.prd = 0xf000 + 0x200 * channel + 0x100 * unit
        self.buffer = 0x100000 + 0x40000 * (2 * channel + unit)
        for reg, size, value in ((0x40, 2, 0x8000), (0x42, 2, 0x8000), (0x20, 4, 0xc001), (4, 2, 5)):
            cpu.do("pciwrite 00:01.1 0x%x %d 0x%x" % (reg, size, value))

    def command(self, code, lba=0, count=0, feature=0):
        self.cpu.until("inb 0x%x" % self.control, 0x80, 0)
        for reg, value in ((6, self.select | lba >> 24), (1, feature), (2, count), (3, lba & 255), (4, lba >> 8 & 255),
                           (5, lba >> 16 & 255), (7, code)):
            self.cpu.do("outb 0x%x 0x%x" % (self.port + reg, value))

    def ready(self):
        """Status, error register."""
        self.cpu.until("inb 0x%x" % self.control, 0x80, 0)
        return self.cpu.do("inb 0x%x" % (self.port + 7)), self.cpu.do("inb 0x%x" % (self.port + 1))

    def lba(self):
        low = [self.cpu.do("inb 0x%x" % (self.port + reg)) for reg in (3, 4, 5, 6)]
        return low[0] | low[1] << 8 | low[2] << 16 | (low[3] & 15) << 24

    def pio_read(self, lba, count=1):
        """(status, error) when it is over, having read what there was."""
        self.command(0x20, lba, count)
        for _ in range(count):
            status, error = self.ready()
            if not status & 8:
                return status, error
            self.cpu.do("ins 0x%x 2 256 0x%x" % (self.port, self.buffer))
            self.cpu.expect("readl 0x%x" % self.buffer, lba)
            lba += 1
        return self.ready()

    def pio_write(self, lba, count=1):
        self.command(0x30, lba, count)
        for i in range(count):
            status, error = self.ready()
            if not status & 8:
                return status, error
            self.cpu.do("outs 0x%x 2 256 0x%x" % (self.port, self.buffer))
        return self.ready()

    def dma(self, lba, count=8, write=False, table=None, prd=None):
        """(status, error, status of the bus master). `table`: (address, bytes) pairs; None: the buffer."""
        prd = prd or self.prd
        table = table if table is not None else [(self.buffer, count * 512)]
        for i, (address, length) in enumerate(table):
            self.cpu.do("writel 0x%x 0x%x" % (prd + 8 * i, address))
            self.cpu.do("writel 0x%x 0x%x" % (prd + 8 * i + 4, length | (0x80000000 if i == len(table) - 1 else 0)))
        return self.dma_go(lba, count, write, prd)

    def dma_start(self, lba, count=8, write=False, prd=None):
        """By the table that is there; not waited for."""
        self.cpu.do("outl 0x%x 0x%x" % (self.bm + 4, prd or self.prd))
        self.cpu.do("outb 0x%x 6" % (self.bm + 2))
        self.command(0xca if write else 0xc8, lba, count)
        self.cpu.do("outb 0x%x 0x%x" % (self.bm, 1 if write else 9))

    def dma_go(self, lba, count, write, prd):
        self.dma_start(lba, count, write, prd)
        self.cpu.until("inb 0x%x" % self.control, 0x80, 0)
        master = self.cpu.do("inb 0x%x" % (self.bm + 2)) & 7
        self.cpu.do("outb 0x%x 0" % self.bm)
        return self.ready() + (master,)

    def flush(self):
        self.command(0xe7)
        return self.ready()


def write_and_read(m, disk):
    """Of a disk in which each sector holds its number: sixteen are written, and read with what is before them."""
    m.cpu.do("memset 0x%x %d 0xab" % (disk.buffer, 16 * 512))
    want(disk.dma(200, 16, True) == FINE + (4,), "write")
    want(disk.flush() == FINE, "flush")
    m.cpu.do("memset 0x%x 0x10000 0xee" % disk.buffer)
    want(disk.dma(196, 8) == FINE + (4,), "read")
    m.cpu.expect("readl 0x%x" % disk.buffer, 196)
    m.cpu.expect("readl 0x%x" % (disk.buffer + 4 * 512), 0xabababab)


def tap(tests, machine=None):
    """Runs functions, named by their doc strings. Status for sys.exit()."""
    for path in (XENEMU, XENDM, XENSTORED):
        if not os.access(path, os.X_OK):
            print("1..0 # SKIP there is no %s" % path)
            return 0
    results = Tap(len(tests))
    for test in tests:
        start = time.monotonic()
        tmp = temporary()
        try:
            test(tmp)
            results(test.__doc__, True)
        except Skip as e:
            results.skip(test.__doc__, e)
        except Exception as e:      # any is a failure of this test
            results(test.__doc__, False, "%s: %s" % (type(e).__name__, e))
            log = os.path.join(tmp, "dm.log")
            if os.path.exists(log):
                with open(log, errors="replace") as f:
                    note(f.read()[-2000:])
        finally:
            while RUNNING:
                RUNNING.pop().kill()
            shutil.rmtree(tmp, ignore_errors=True)
        note("%.1f s" % (time.monotonic() - start))
    return results.end()


SECTORS = 2048          # of each of those disks


def start_with_disks(tmp, *options, engine="faults", **kw):
    """A machine with disks hda and hdb and a CD in hdc."""
    for name in ("hda", "hdb", "hdc"):
        image(os.path.join(tmp, name), SECTORS * 512)
    if engine == "faults":
        options = ("--disk-faults",) + options
    else:
        os.environ["XENDM_BLOCK_ENGINE"] = engine
    try:
        m = Machine(tmp, "--disk", tmp + "/hda", "--disk", tmp + "/hdb", "--cdrom", tmp + "/hdc", *options, **kw)
    finally:
        os.environ.pop("XENDM_BLOCK_ENGINE", None)
    uring = "io_uring is not available" not in m.log()
    if engine == "io_uring" and not uring:
        m.end()
        raise Skip("no io_uring here")
    return m, Disk(m.cpu)


HANG_SO = os.path.join(os.path.dirname(XENDM), "tests/dm/hang.so")


class Hanging:
    """A machine of which `what` hangs while it is set: "r" reads, "w" writes, "f" flushes. /dev/shm would not do: what is in
    memory is copied at once."""

    def __init__(self, tmp, *options):
        if not os.path.exists(HANG_SO):
            raise Skip("tests/dm/hang.so is not built")
        self.flag = tmp + "/hang"
        self.set("")
        dm = tmp + "/dm"
        with open(dm, "w") as f:
            f.write("#!/bin/sh\nexport HANG=%s XENDM_BLOCK_ENGINE=threads ASAN_OPTIONS=verify_asan_link_order=0\n"
                    'LD_PRELOAD=%s exec %s "$@"\n' % (self.flag, HANG_SO, XENDM))
        os.chmod(dm, 0o755)
        self.m, self.disk = start_with_disks(tmp, "--vcpus", "2", *options, engine="threads", dm=dm)

    def set(self, what):
        with open(self.flag, "r+" if os.path.exists(self.flag) else "w") as f:
            f.write(what.ljust(16))                 # it is mapped

    def begun(self):
        """Waits until a call of the host's hangs: before, a request may be taken back."""
        deadline = time.monotonic() + PATIENCE
        while True:
            with open(self.flag) as f:
                if f.read().endswith("!"):
                    return
            want(time.monotonic() < deadline, "nothing hangs")
            time.sleep(.005)
