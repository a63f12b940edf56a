# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests of xendm on xenemu share: where things are, and the guest's CPU."""
import os
import socket
import time

BUILD = os.path.abspath(os.environ.get("XENDM_BUILDDIR", "."))
XENEMU = os.path.join(BUILD, "tools/xenemu/xenemu")
XENDM = os.path.join(BUILD, "xendm")
CTL = os.path.join(BUILD, "tools/xendmctl/xendmctl")
XENSTORED = os.environ.get("XENEMU_XENSTORED", "/usr/lib/xen-4.17/bin/xenstored")
PATIENCE = 60           # seconds, for anything


def want(cond, *detail):
    if not cond:
        raise AssertionError(" ".join(str(d) for d in detail))


class Cpu:
    """One connection to xenemu's qtest socket is one virtual CPU."""

    def __init__(self, path, number=0):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(path)
        self.file = self.sock.makefile("rw")
        self.ask("vcpu %d" % number)

    def send(self, command):
        self.file.write(command + "\n")
        self.file.flush()

    def answer(self, command=""):
        answer = self.file.readline().split()
        want(answer and answer[0] == "OK", command, "->", " ".join(answer))
        return answer[1:]

    def ask(self, command):
        self.send(command)
        return self.answer(command)

    def do(self, command):
        answer = self.ask(command)
        return int(answer[0], 0) if answer else None

    def until(self, command, mask, value):
        deadline = time.monotonic() + PATIENCE
        while True:
            got = self.do(command)
            if got & mask == value:
                return got
            want(time.monotonic() < deadline, command, "stays", hex(got))
