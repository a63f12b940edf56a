#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""libxl's probe run (toolstack.md 1.9) against the daemon itself, which needs no Xen for it; TAP on stdout.

The question is in the passed socket before the process runs, as libxl has it there.
"""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile


class Probe:
    def __init__(self, program, directory):
        path = os.path.join(directory, "qmp")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)
        self.client = socket.socket(socket.AF_UNIX)
        self.client.settimeout(60)
        self.client.connect(path)
        self.client.sendall(b'{"execute":"qmp_capabilities","id":1}\r\n')
        fd = listener.fileno()
        self.process = subprocess.Popen(
            [program, "-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=xen",
             "-chardev", f"socket,id=libxl-cmd,fd={fd},server=on,wait=off", "-mon", "chardev=libxl-cmd,mode=control"],
            pass_fds=[fd], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        listener.close()
        os.unlink(path)
        self.input = b""

    def line(self):
        while b"\r\n" not in self.input:
            data = self.client.recv(65536)
            if not data:
                raise EOFError("the connection ended")
            self.input += data
        line, self.input = self.input.split(b"\r\n", 1)
        return json.loads(line)

    def ask(self, command, **arguments):
        self.client.sendall(json.dumps({"execute": command, "id": 7, "arguments": arguments}).encode() + b"\r\n")
        reply = self.line()
        assert reply["id"] == 7, reply
        return reply

    def end(self):
        out, err = self.process.communicate(timeout=60)
        self.client.close()
        return self.process.returncode, out, err


def quits(probe):
    greeting = probe.line()
    assert greeting["QMP"]["version"]["qemu"]["major"] == 7, greeting
    assert probe.line() == {"return": {}, "id": 1}
    options = {o["option"]: [p["name"] for p in o["parameters"]]
               for o in probe.ask("query-command-line-options")["return"]}
    assert {"chroot", "user"} <= set(options["run-with"]), options
    assert probe.ask("query-status")["return"]["status"] == "prelaunch"
    assert probe.ask("cont")["error"]["class"] == "GenericError"
    assert probe.ask("no-such-thing")["error"]["class"] == "CommandNotFound"
    assert probe.ask("quit")["return"] == {}


def hung_up(probe):
    probe.line()
    probe.line()
    probe.process.send_signal(signal.SIGHUP)


def main():
    program = os.environ.get("XENDM", os.path.join(os.environ.get("XENDM_BUILDDIR", "."), "xendm"))
    if not os.access(program, os.X_OK):
        print(f"1..0 # SKIP {program} is not there")
        return 0
    tests = [("asked, and told to quit", quits), ("SIGHUP, inherited as ignored", hung_up)]
    failed = False
    print(f"1..{len(tests)}")
    for number, (title, test) in enumerate(tests, 1):
        wrong = []
        with tempfile.TemporaryDirectory(prefix="xendm-probe-") as directory:
            probe = Probe(program, directory)
            try:
                test(probe)
            except (AssertionError, EOFError, OSError, KeyError, ValueError) as e:
                wrong.append(repr(e))
                probe.process.kill()
            status, out, err = probe.end()
            if status != 0 or out:
                wrong.append(f"exit status {status}, stdout {out!r}, stderr {err!r}")
        failed |= bool(wrong)
        print(f"{'not ok' if wrong else 'ok'} {number} {title}")
        for line in wrong:
            print(f"# {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
