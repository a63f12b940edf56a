#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon itself, the real one on xenemu: that it can be looked into (log levels, flight recorder, signals), does without
what old kernels lack, and that what a guest may repeat for ever neither fills the log nor keeps xenstored busy. TAP."""
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from client import BUILD, PATIENCE, XENDM, XENEMU, XENSTORED, Qmp, Tap, filters, sanitized     # noqa: E402

TIMES = 400
LINES = 100             # room for what is limited: 20 at once and room of the log, then one a second

report = Tap()


class Machine:
    def __init__(self, tmp, *options, dm=XENDM):
        self.dir = os.path.join(tmp, "run")
        self.log = os.path.join(tmp, "log")
        self.proc = subprocess.Popen(
            [XENEMU, "run", "--dm", dm, "--rundir", self.dir, "--log", self.log, "--vga", "stdvga",
             "--serial", "null", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        path, text = None, ""
        for line in self.proc.stdout:
            text += line
            if line.startswith("socket "):
                path = line.split()[1]
                break
        assert path, "xenemu run did not start: " + text
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(path)
        self.file = self.sock.makefile("rw")

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.end()

    def do(self, command):
        self.file.write(command + "\n")
        self.file.flush()
        answer = self.file.readline().split()
        return answer

    def text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def lines(self):
        return self.text().count("\n")

    def wait_for(self, pattern):
        """The log has it within a while."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if re.search(pattern, self.text()):
                return True
            time.sleep(0.01)
        return False

    def qmp(self, *commands):
        """The answers on a connection of their own; a command is its name and its arguments."""
        with Qmp(self.dir + "/qmp-libxl-1") as qmp:
            return [qmp.ask(name, **args) for name, args in commands]

    def human(self, line):
        with Qmp(self.dir + "/qmp-libxl-1") as qmp:
            return qmp.hmp(line)

    def pid(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.dir + "/qmp-libxl-1")
            return int.from_bytes(s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")

    def end(self):
        if self.proc.poll() is None:
            self.proc.terminate()
        self.proc.stdout.read()
        self.proc.stdout.close()
        return self.proc.wait(timeout=PATIENCE)


def flood(options, commands, setup=()):
    """Lines that the log grew by while `commands` were repeated TIMES times."""
    with tempfile.TemporaryDirectory(prefix="xendm-flood-") as tmp:
        with Machine(tmp, *options) as m:
            for command in setup:
                m.do(command)
            before = m.lines()
            for _ in range(TIMES):
                for command in commands:
                    answer = m.do(command)
                    # The ring of posted writes may be full for a moment: as Xen, we wait then.
                    while answer and answer[0] == "FAIL" and command.startswith("timeoffset"):
                        time.sleep(0.001)
                        answer = m.do(command)
                    assert answer and answer[0] == "OK", (command, answer)
            m.do("inb 0x92")    # everything before was served
            return m.lines() - before, m.text()[-300:]


PM = ("pciwrite 00:01.3 0x40 4 0xb001", "pciwrite 00:01.3 0x80 1 1")
CASES = (
    ("S3 that we may not enter", ("--restrict",), ("outw 0xb004 0x2400",), PM),
    ("clock offsets that we may not store", ("--restrict",), ("timeoffset 1", "timeoffset 2"), ()),
    ("clock offsets", (), ("timeoffset 1", "timeoffset 2"), ()),
    ("lines for the log, unknown sleep types, commands and unplug masks", (),
     ("outb 0x12 0x0a", "outb 0x12 0x41", "outw 0xb004 0x3c00", "outb 0x64 0x01", "outw 0x10 0x8000",
      "outb 0x1f7 0xff"), PM),
)


def test_looking(tmp):
    with Machine(tmp) as m:
        m.do("outb 0x2f7 0x5a")
        m.do("outb 0x70 0x55")
        text = m.human("info recorder 20")
        report("info recorder has the last accesses", re.search(r"pio-write a=0x70 b=0x55 aux=0x1", text), text)
        os.kill(m.pid(), signal.SIGUSR1)
        report("SIGUSR1 writes them into the log",
               m.wait_for(r"flight recorder: \d+ of \d+ entries, oldest first\n(.*\n)*.*pio-write a=0x70 b=0x55"), m.text())
        report("and the guest goes on", m.do("inb 0x92")[0] == "OK")
        for level, want in (("info", 0), ("debug", 1), ("info", 1)):
            m.human("log qmp " + level)
            before = m.text().count("debug qmp: ")
            m.human("info name")
            grown = m.text().count("debug qmp: ") > before
            if grown != (level == "debug"):
                break
        else:
            want = 2
        report("a room's log level follows at run time", want == 2, m.text())
        pid = m.pid()
        os.kill(pid, signal.SIGHUP)
        report("SIGHUP ends it", ended(pid), m.text())


def ended(pid):
    """It is gone within a while."""
    until = time.monotonic() + PATIENCE
    while os.path.exists("/proc/%d/exe" % pid):
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def test_crash(tmp):
    with Machine(tmp) as m:
        m.do("outb 0x70 0x66")
        os.kill(m.pid(), signal.SIGSEGV)
        report("a fatal signal writes the recorder before the process dies",
               m.wait_for(r"fatal signal\nthe flight recorder is kept: .*\nflight recorder: (.*\n)*.*pio-write a=0x70 b=0x66"), m.text())


@contextlib.contextmanager
def hanging_disk(tmp, *options):
    """A machine whose disk does not answer, in the middle of a read by DMA that a thread has begun."""
    os.mkdir(tmp)
    dm, disk, hang = [os.path.join(tmp, name) for name in ("dm", "disk", "hang")]
    with open(dm, "w") as f:
        f.write("#!/bin/sh\nASAN_OPTIONS=verify_asan_link_order=0 HANG=%s LD_PRELOAD=%s/tests/dm/hang.so "
                'XENDM_BLOCK_ENGINE=threads exec %s "$@"\n' % (hang, BUILD, XENDM))
    with open(hang, "w") as f:
        f.write(" " * 16)
    os.chmod(dm, 0o755)
    with open(disk, "wb") as f:
        f.truncate(1 << 20)
    with Machine(tmp, "--disk", disk, *options, dm=dm) as m:
        m.do("pciwrite 00:01.1 0x40 2 0x8000")
        until = time.monotonic() + PATIENCE
        while int(m.do("inb 0x3f6")[1], 16) & 0x80 and time.monotonic() < until:
            time.sleep(0.005)       # it looks at the partition table first
        with open(hang, "r+") as f:
            f.write("r")
        for command in ("pciwrite 00:01.1 0x20 4 0xc001", "pciwrite 00:01.1 4 2 5",
                        "writel 0x1000 0x2000", "writel 0x1004 0x80000200", "outl 0xc004 0x1000", "outb 0x1f6 0xe0",
                        "outb 0x1f2 1", "outb 0x1f3 0", "outb 0x1f4 0", "outb 0x1f5 0", "outb 0x1f7 0xc8", "outb 0xc000 9"):
            m.do(command)
        until = time.monotonic() + PATIENCE
        with open(hang) as f:
            while time.monotonic() < until and "!" not in f.read():
                f.seek(0)
                time.sleep(0.005)
        yield m


def test_hanging_disk(tmp):
    """What ends the process ends it while a disk hangs, and what a guest does to the drive is done; what a monitor asks is answered while a stop waits."""
    with hanging_disk(tmp + "/stop") as m, socket.socket(socket.AF_UNIX) as s:
        s.connect(m.dir + "/qmp-libxl-1")
        s.sendall(b'{"execute":"qmp_capabilities"}{"execute":"stop"}')
        answers = []
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and (not answers or answers[0]["return"]["running"]):
            answers = m.qmp(("query-status", {}))
        os.kill(m.pid(), signal.SIGHUP)     # the disk never answers: nothing else ends it
        m.proc.wait(timeout=PATIENCE)
        report("QMP answers while a stop waits for a disk, and SIGHUP ends it", not answers[0]["return"]["running"],
               (answers, m.text()))
    with hanging_disk(tmp + "/reset") as m:
        pid = m.pid()
        busy = m.do("inb 0x3f6")
        # A soft reset, the stop of the bus master, its mastering: nobody waits, and the drive is busy.
        m.do("outb 0x3f6 4")
        m.do("outb 0x3f6 0")
        m.do("outb 0xc000 0")
        m.do("pciwrite 00:01.1 4 2 1")
        after = m.do("inb 0x3f6")
        answer = m.qmp(("query-status", {}))[0]
        report("a reset while the disk hangs: the drive is busy, the guest and QMP go on",
               busy == ["OK", "0x00d0"] and after == ["OK", "0x0080"] and answer["return"]["running"], (busy, after, answer))
        os.kill(pid, signal.SIGHUP)
        gone = ended(pid)
        report("SIGHUP ends it while a disk hangs", gone and "1 disk requests do not come back" in m.text(), m.text())
        if not gone:
            os.kill(pid, signal.SIGKILL)


def test_system_calls(tmp):
    """One filter for all threads, unless told otherwise; and what a locked up one does not let us do is done."""
    with Machine(tmp, "--", "-sandbox", "off") as m:
        report("-sandbox off: no filter", set(filters(m.pid())) == {0}, filters(m.pid()))
    for name, options in (("as ever", ("--vcpus", "1")), ("restricted", ("--restrict",))):
        # A thread that reads from a disk which does not answer is there for sure.
        with hanging_disk(os.path.join(tmp, name.replace(" ", "-")), *options, "--", "-sandbox", "on") as m:
            got = filters(m.pid())
            report("-sandbox on, %s: a filter for each thread" % name, set(got) == {0 if sanitized() else 1} and len(got) > 1, got)


def test_frames(tmp):
    """A kernel that cannot map resources: the pages are two frames of the guest."""
    with Machine(tmp, "--fault", "resource,count=all,errno=EOPNOTSUPP", "--vcpus", "3") as m:
        answers = [m.do(c) for c in ("outb 0x70 0x38", "outb 0x71 0x12", "outb 0x70 0x38", "inb 0x71", "vcpu 2", "inb 0x71")]
        report("ioreq pages by guest frame, three vCPUs", answers[3] == answers[5] == ["OK", "0x0012"] and
               "mapped guest frames" in m.text() and "pages by: frame" in m.human("info ioreq"), (answers, m.text()))


def test_restricted_save(tmp):
    """What a device model that has given up its rights saves, another one takes, and gives them up, too."""
    state = os.path.join(tmp, "state")
    os.mkdir(tmp + "/1")
    with Machine(tmp + "/1", "--restrict") as m:
        for command in ("outb 0x3ff 0x5a", "pciwrite 00:03.0 0x10 4 0xf0000000", "pciwrite 00:03.0 4 2 2",
                        "memset 0xf0000000 4096 0x77"):
            m.do(command)
        with open(state, "wb") as file, Qmp(m.dir + "/qmp-libxl-1") as qmp:
            answers = [qmp.ask("xen-set-global-dirty-log", enable=True), qmp.ask("stop"),
                       qmp.ask("add-fd", fd=file.fileno(), **{"fdset-id": 1}),
                       qmp.ask("xen-save-devices-state", filename="/dev/fdset/1", live=True),
                       qmp.ask("xen-set-global-dirty-log", enable=False)]
        report("restricted: saved", all("return" in a for a in answers), (answers, m.text()))
        # libxl lets it write 256 KiB of a file, or of memory that is one: no picture for viewers, unless it minds.
        with open(tmp + "/picture", "wb+") as file, Qmp(m.dir + "/qmp-libxl-1") as qmp:
            answers = [qmp.ask("add-fd", fd=file.fileno(), **{"fdset-id": 2}), qmp.ask("screendump", filename="/dev/fdset/2")]
            file.seek(0)
            report("restricted: a screendump", "return" in answers[1] and file.read(2) == b"P6", (answers, m.text()))
        answers = m.qmp(("cont", {}))
        report("restricted: and goes on", "return" in answers[0] and m.do("inb 0x3ff") == ["OK", "0x005a"], answers)
    os.mkdir(tmp + "/2")
    with Machine(tmp + "/2", "--restrict", "--incoming", state, "--populate", "0xf0000+4096") as m:
        m.qmp(("cont", {}))
        report("restricted: restored", m.do("inb 0x3ff") == ["OK", "0x005a"], m.text())


def test_last_offset(tmp):
    script = os.path.join(tmp, "last.xds")
    with open(script, "w") as f:
        f.write("test the last one counts\nrepeat 50 as i\ntimeoffset $i\nend\ntimeoffset 4711\n"
                "await 5000 xs exists /vm/00000000-0000-4000-8000-000000000001/rtc/timeoffset == 1\n"
                "await 5000 xs read /vm/00000000-0000-4000-8000-000000000001/rtc/timeoffset == \"4711\"\n")
    done = subprocess.run([XENEMU, "run", "--dm", XENDM, "--rundir", tmp + "/run", "--log", tmp + "/log", "--vga",
                           "none", "--serial", "null", "--script", script], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
    report("the last clock offset is stored", done.returncode == 0, done.stdout)


def main():
    if not os.access(XENSTORED, os.X_OK):
        print("1..0 # SKIP there is no xenstored")
        return 0
    for name, options, commands, setup in CASES:
        grown, tail = flood(options, commands, setup)
        report("%s: a bounded number of lines for %d times" % (name, TIMES), grown <= LINES, "%d lines\n%s" % (grown, tail))
    for test in (test_last_offset, test_restricted_save, test_looking, test_crash, test_hanging_disk, test_system_calls, test_frames):
        with tempfile.TemporaryDirectory(prefix="xendm-daemon-") as tmp:
            test(tmp)
    print("1..%d" % report.number)
    return 1 if report.failed else 0


sys.exit(main())
