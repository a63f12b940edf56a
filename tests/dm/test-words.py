#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP's and HMP's words, held against QEMU's own lists and against the manual page; TAP on stdout.

Each command of QEMU's Xen build is here, or is refused with a reason of its own. The lists are of the programs without a
machine, which needs no Xen.
"""
import os
import re
import socket
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from client import XENDM, Qmp, Tap, connect     # noqa: E402

QEMU = os.environ.get("ORACLE", "/usr/libexec/xen-qemu-system-i386")
PAGE = os.path.join(os.environ.get("XENDM_SRCDIR", os.path.join(os.path.dirname(__file__), "../..")), "docs/xendm.8")
GENERAL = ("there is no command %s", "there is no command '%s'; help lists them", "there is no topic '%s'; info help lists them")


class Program:
    """A device model without a machine, and its monitor."""

    def __init__(self, directory, name, argv):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.join(directory, name))
        listener.listen(1)
        client = connect(os.path.join(directory, name))
        fd = listener.fileno()
        self.process = subprocess.Popen(argv + ["-S", "-nodefaults", "-nographic", "-chardev",
                                                "socket,id=m,fd=%d,server=on,wait=off" % fd, "-mon", "chardev=m,mode=control"],
                                        pass_fds=[fd], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        listener.close()
        self.qmp = Qmp(client)

    def end(self):
        self.qmp.ask("quit")
        self.qmp.__exit__()
        self.process.wait(timeout=60)

    def commands(self):
        return sorted(c["name"] for c in self.qmp.ok("query-commands"))

    def words(self, line):
        """The names that `help` or `info` lists: each form of "cont|c  -- resume emulation"."""
        found = set()
        for text in self.qmp.hmp(line).splitlines():
            head = re.match(r"(?:info )?([a-z?][\w|?+-]*)\b ?.*", text)
            if head and not text.startswith(("\t", " ", "copy", "is ", "of ", "by ", "the ", "if ", "into ")):
                found |= set(head.group(1).split("|"))
        return sorted(found)


def qmp_commands(xendm, qemu):
    ours = set(xendm.commands())
    wrong = []
    for name in qemu.commands():
        if name not in ours:
            error = xendm.qmp.ask(name).get("error", {})
            if error.get("class") != "CommandNotFound" or error["desc"] == GENERAL[0] % name:
                wrong.append("%s: %s" % (name, error))
    assert len(qemu.commands()) > 150
    assert not wrong, "\n".join(wrong)


def human_commands(xendm, qemu):
    ours = xendm.words("help")
    names = [n for n in qemu.words("help") if n not in ours]
    wrong = [n for n in names if xendm.qmp.hmp(n).strip() in ("Error: " + GENERAL[1] % n, "")]
    assert {"cont", "balloon", "drive_backup", "savevm"} <= set(qemu.words("help")), qemu.words("help")
    assert not wrong, wrong


def human_topics(xendm, qemu):
    names = qemu.words("info")
    wrong = [n for n in names if xendm.qmp.hmp("info " + n).strip() == "Error: " + GENERAL[2] % n]
    assert {"block", "balloon", "usb", "vnc"} <= set(names), names
    assert not wrong, wrong


def manual(xendm, _):
    with open(PAGE, encoding="utf-8") as stream:
        page = set(re.split(r"[\s(),;]+", stream.read().replace("\\&", "")))
    wrong = [w for w in xendm.commands() + xendm.words("help") + xendm.words("info help") if w not in page]
    assert not wrong, "not in xendm(8): %s" % wrong


def main():
    tests = [("QMP's commands", qmp_commands), ("HMP's commands", human_commands), ("HMP's topics", human_topics),
             ("what the manual has", manual)]
    if not os.access(XENDM, os.X_OK) or not os.access(QEMU, os.X_OK):
        print("1..0 # SKIP %s or %s is not there" % (XENDM, QEMU))
        return 0
    tap = Tap(len(tests))
    with tempfile.TemporaryDirectory(prefix="xendm-words-") as directory:
        xendm = Program(directory, "xendm", [XENDM, "-machine", "none,accel=xen"])
        qemu = Program(directory, "qemu", [QEMU, "-machine", "none,accel=qtest"])
        for title, test in tests:
            wrong = []
            try:
                test(xendm, qemu)
            except AssertionError as e:
                wrong.append(str(e))
            tap.report(title, wrong)
        xendm.end()
        qemu.end()
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
