#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon with saved state that is good, damaged or somebody else's, and with places it cannot be saved to. On xenemu."""

import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

SOURCE = os.environ.get("XENDM_SRCDIR") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from client import PATIENCE, XENDM, XENEMU, XENSTORED, Qmp, Tap    # noqa: E402

report = Tap()


class Run:
    """A device model on xenemu, with the machine of golden.xds."""

    def __init__(self, directory, *options, vga="stdvga"):
        self.log = directory + "/dm.log"
        if os.path.exists(self.log):
            os.unlink(self.log)
        self.directory = directory + "/run"
        self.process = subprocess.Popen(
            [XENEMU, "run", "--dm", XENDM, "--disk", directory + "/disk", "--cdrom", directory + "/disc", "--vga", vga,
             "--serial", "null", "--rundir", self.directory, "--log", self.log, *options,
             # Where the guest of golden.xds had its video memory, as it comes with a restored domain.
             *(["--populate", "0xf0000+4096"] if vga == "stdvga" else [])],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def ready(self):
        """Whether it came up; with what it printed."""
        text = ""
        for line in self.process.stdout:
            text += line
            if line.startswith("socket "):
                return True, text
        return False, text

    def ended(self):
        """(status of xenemu, log of the device model) of one that ends by itself."""
        text = self.process.communicate(timeout=60)[0]
        with open(self.log, encoding="utf-8", errors="replace") as stream:
            return self.process.returncode, stream.read(), text

    def monitor(self):
        """A connection to the monitor."""
        return Qmp(self.directory + "/qmp-libxl-1")

    def ask(self, text):
        """A command of xenemu's socket, whose answer is a number."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.directory + "/qtest-1")
            s.sendall(text.encode() + b"\n")
            words = s.makefile().readline().split()
            return int(words[1], 0) if len(words) == 2 and words[0] == "OK" else words

    def end(self):
        """As a user ends it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)
        return self.process.returncode


def sealed(body):
    """With an end and a checksum that fits."""
    return body + struct.pack("<II", 0, 32) + hashlib.sha256(body).digest()


def save_to(run, fd):
    """What xen-save-devices-state says to this descriptor. A set of descriptors lives as long as its client."""
    with run.monitor() as qmp:
        number = qmp.ok("add-fd", fd=fd)["fdset-id"]
        return qmp.ask("xen-save-devices-state", live=True, filename="/dev/fdset/%d" % number)


def main():
    """All tests."""
    for program in (XENDM, XENEMU, XENSTORED):
        if not os.access(program, os.X_OK):
            print("1..0 # SKIP there is no %s" % program)
            return 0
    with tempfile.TemporaryDirectory(prefix="incoming-") as tmp:
        for name, size in (("disk", 8 << 20), ("disc", 2 << 20)):
            with open(tmp + "/" + name, "wb") as stream:
                stream.truncate(size)
        tests(tmp)
    print("1..%d" % report.number)
    return 1 if report.failed else 0


def tests(tmp):
    """With a directory that has a disk and a disc."""
    with open(SOURCE + "/tests/state/golden/pio.state", "rb") as stream:
        good = stream.read()
    state = tmp + "/state"

    def put(data):
        with open(state, "wb") as stream:
            stream.write(data)
        return state

    # The guest was 156 words before the end of the second of three sectors.
    run = Run(tmp, "--incoming", put(good))
    ok, text = run.ready()
    report("a golden file is taken over", ok, text)
    if ok:
        for words in (156, 256):
            for _ in range(words):
                run.ask("outw 0x1f0 0x1234")
            until = time.monotonic() + PATIENCE
            while run.ask("inb 0x3f6") & 0x80 and time.monotonic() < until:
                time.sleep(0.01)
        with open(tmp + "/disk", "rb") as stream:
            stream.seek(41 * 512)
            report("and the guest goes on", stream.read(512) == struct.pack("<100H", *range(0x5000, 0x5064))
                   + struct.pack("<H", 0x1234) * 156 and run.ask("inb 0x1f7") == 0x50, run.ask("inb 0x1f7"))

        with run.monitor() as qmp:
            qmp.ok("stop")
        with open("/dev/full", "wb") as full:
            answer = save_to(run, full.fileno())
        report("a full disk is an error", "No space" in answer.get("error", {}).get("desc", ""), answer)
        reader, writer = os.pipe()
        os.close(reader)
        answer = save_to(run, writer)
        os.close(writer)
        report("a pipe without a reader is an error", "Broken pipe" in str(answer.get("error")), answer)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        try:
            while os.write(writer, bytes(4096)):
                pass
        except BlockingIOError:
            os.set_blocking(writer, True)
        answer = save_to(run, writer)
        os.close(reader)
        os.close(writer)
        report("a pipe that nobody reads is an error after a while", "timed out" in str(answer.get("error")), answer)
        with open(tmp + "/disk", "rb") as only_read:
            answer = save_to(run, only_read.fileno())
        report("a descriptor for reading is an error", "no descriptor in this set" in str(answer.get("error")), answer)
        with run.monitor() as qmp:
            answers = [qmp.ask("xen-set-global-dirty-log", enable=False), qmp.ask("cont")]
        report("after that, log-dirty can be ended and the guest goes on",
               all("return" in a for a in answers) and run.ask("inb 0x1f7") == 0x50, answers)
        answer = save_to(run, os.open(os.devnull, os.O_WRONLY))
        report("a running machine is not saved", "stop it first" in str(answer.get("error")), answer)
        report("it ends in order", run.end() == 0)
    else:
        run.end()

    bad = bytearray(good[:-40])
    bad[good.index(b"\x03\x0bafter_start") + 17] = 77
    for name, data, pattern, vga in (
            ("a number out of range", sealed(bytes(bad)), r"machine: machine.after_start: value 77 is not in", "stdvga"),
            ("a wrong checksum", good[:-1] + b"\0", "checksum is wrong", "stdvga"),
            ("half a file", good[:4000], "cut short", "stdvga"),
            ("an empty file", b"", "does not begin with XENDMSAV", "stdvga"),
            ("QEMU's state", b"QEVM\0\0\0\3" + bytes(8000), "does not begin with XENDMSAV", "stdvga"),
            ("another machine's", good, "no device VGA", "none")):
        status, log, text = Run(tmp, "--incoming", put(data), vga=vga).ended()
        lines = [line for line in log.splitlines() if "saved state" in line]
        report("%s is refused, in one line" % name, status == 1 and len(lines) == 1 and re.search(pattern, lines[0]),
               log + text)
        left = subprocess.run(["pgrep", "-f", state], stdout=subprocess.PIPE, check=False).stdout
        report("and the process is gone", not left, left)


if __name__ == "__main__":
    sys.exit(main())
