# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests of xendm on xenemu share: where things are, TAP, the guest's CPU, the monitor."""
import json
import os
import socket
import subprocess
import sys
import time
from typing import List, Union

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from tap import Tap, note     # noqa: E402,F401

BUILD = os.path.abspath(os.environ.get("XENDM_BUILDDIR", "."))
XENEMU = os.path.join(BUILD, "tools/xenemu/xenemu")
XENDM = os.path.join(BUILD, "xendm")
CTL = os.path.join(BUILD, "tools/xendmctl/xendmctl")


def where():
    """What xenemu would use, by name: xen, xenctrl, xenstored, libraries. Empty if it is not built."""
    try:
        out = subprocess.run([XENEMU, "where"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                             check=False).stdout
    except OSError:
        return {}
    return dict(line.split(" ", 1) for line in out.splitlines())


WHERE = where()
XENSTORED = WHERE.get("xenstored", "xenstored (xenemu is not built)")
PATIENCE = 60           # seconds, for anything


def want(cond, *detail):
    if not cond:
        raise AssertionError(" ".join(str(d) for d in detail))


def version(program):
    """What a device model calls itself, in one line."""
    out = subprocess.run([program, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return (out.stdout.splitlines() or ["%s of unknown version" % program])[0]


def sanitized():
    """Whether this is a build with sanitizers, which leaves the system calls alone."""
    with open(BUILD + "/config.status", encoding="utf-8", errors="replace") as stream:
        return "-fsanitize" in stream.read()


def filters(pid):
    """How many seccomp filters each thread of a process has."""
    found = []
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task), encoding="ascii") as stream:
            found += [int(line.split()[1]) for line in stream if line.startswith("Seccomp_filters:")]
    return found


def connect(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE)
    sock.connect(path)
    return sock


class Qmp:
    """A connection to a monitor: its path, or a socket that is connected, and whether to negotiate on it."""

    def __init__(self, to: Union[str, socket.socket], negotiate: bool = True):
        self.sock = connect(to) if isinstance(to, str) else to
        self.file = self.sock.makefile("r", newline="\n")
        self.events: List[dict] = []        # that came before answers
        if negotiate:
            self.greeting = self.line()
            self.ask("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.file.close()
        self.sock.close()

    def line(self):
        text = self.file.readline()
        want(text, "the monitor hung up")
        return json.loads(text)

    def receive(self):
        """The next message that is no event."""
        while True:
            message = self.line()
            if "event" not in message:
                return message
            self.events.append(message)

    def say(self, text, fd=None):
        data = text.encode()
        if fd is not None:
            socket.send_fds(self.sock, [data[:1]], [fd])
            data = data[1:]
        self.sock.sendall(data)

    def ask(self, command, ident=1, fd=None, **args):
        """The answer, good or bad. fd: a descriptor to pass."""
        self.say(json.dumps({"execute": command, "arguments": args, "id": ident}) + "\r\n", fd)
        reply = self.receive()
        want(reply.get("id") == ident, "reply to another command:", reply)
        return reply

    def ok(self, command, **args):
        reply = self.ask(command, **args)
        want("return" in reply, command, reply)
        return reply["return"]

    def hmp(self, text):
        return self.ok("human-monitor-command", **{"command-line": text})

    def event(self, name):
        """The data of the next event of that name, from now or from before; events before it are dropped."""
        while True:
            while self.events:
                event = self.events.pop(0)
                if event["event"] == name:
                    return event["data"]
            self.events.append(self.line())


class Cpu:
    """One connection to xenemu's qtest socket is one virtual CPU."""

    def __init__(self, path, number=0):
        self.sock = connect(path)
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
