#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest may repeat for ever neither fills the log nor keeps xenstored busy: the real xendm on xenemu. TAP."""
import os
import socket
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(os.environ.get("XENDM_BUILDDIR", "."))
XENEMU = os.path.join(BUILD, "tools/xenemu/xenemu")
XENDM = os.path.join(BUILD, "xendm")
TIMES = 400
LINES = 100             # room for what is limited: 20 at once and room of the log, then one a second
PATIENCE = 60


class Machine:
    def __init__(self, tmp, *options):
        self.log = os.path.join(tmp, "log")
        self.proc = subprocess.Popen(
            [XENEMU, "run", "--dm", XENDM, "--rundir", os.path.join(tmp, "run"), "--log", self.log, "--vga", "stdvga",
             "--serial", "null", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        path = None
        for line in self.proc.stdout:
            if line.startswith("socket "):
                path = line.split()[1]
                break
        assert path, "xenemu run did not start"
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(path)
        self.file = self.sock.makefile("rw")

    def do(self, command):
        self.file.write(command + "\n")
        self.file.flush()
        answer = self.file.readline().split()
        return answer

    def lines(self):
        with open(self.log, errors="replace") as f:
            return len(f.readlines())

    def end(self):
        self.proc.terminate()
        self.proc.stdout.read()
        self.proc.wait(timeout=PATIENCE)


def flood(options, commands, setup=()):
    """Lines that the log grew by while `commands` were repeated TIMES times."""
    with tempfile.TemporaryDirectory(prefix="xendm-flood-") as tmp:
        m = Machine(tmp, *options)
        try:
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
            with open(m.log, errors="replace") as f:
                tail = f.read()[-300:]
            return m.lines() - before, tail
        finally:
            m.end()


PM = ("pciwrite 00:01.3 0x40 4 0xb001", "pciwrite 00:01.3 0x80 1 1")
CASES = (
    ("S3 that we may not enter", ("--restrict",), ("outw 0xb004 0x2400",), PM),
    ("clock offsets that we may not store", ("--restrict",), ("timeoffset 1", "timeoffset 2"), ()),
    ("clock offsets", (), ("timeoffset 1", "timeoffset 2"), ()),
    ("lines for the log, unknown sleep types, commands and unplug masks", (),
     ("outb 0x12 0x0a", "outb 0x12 0x41", "outw 0xb004 0x3c00", "outb 0x64 0x01", "outw 0x10 0x8000",
      "outb 0x1f7 0xff"), PM),
)


def main():
    failed = False
    print("1..%d" % (len(CASES) + 1))
    for number, (name, options, commands, setup) in enumerate(CASES, 1):
        grown, tail = flood(options, commands, setup)
        good = grown <= LINES
        failed |= not good
        print("%sok %d - %s: %d lines for %d times" % ("" if good else "not ", number, name, grown, TIMES))
        if not good:
            print("# " + tail.replace("\n", "\n# "))
        sys.stdout.flush()
    # The last offset counts, however many there were.
    with tempfile.TemporaryDirectory(prefix="xendm-flood-") as tmp:
        script = os.path.join(tmp, "last.xds")
        with open(script, "w") as f:
            f.write("test the last one counts\nrepeat 50 as i\ntimeoffset $i\nend\ntimeoffset 4711\n"
                    "await 5000 xs read /vm/00000000-0000-4000-8000-000000000001/rtc/timeoffset == \"4711\"\n")
        done = subprocess.run([XENEMU, "run", "--dm", XENDM, "--rundir", tmp + "/run", "--log", tmp + "/log", "--vga",
                               "none", "--serial", "null", "--script", script], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
        good = done.returncode == 0
        failed |= not good
        print("%sok %d - the last clock offset is stored" % ("" if good else "not ", len(CASES) + 1))
        if not good:
            print("# " + done.stdout[-1500:].replace("\n", "\n# "))
    return failed


sys.exit(main())
