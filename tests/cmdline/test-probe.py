#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""libxl's probe run (toolstack.md 1.9) against the daemon itself, which needs no Xen for it; TAP on stdout.

The question is in the passed socket before the process runs, as libxl has it there.
"""
import os
import signal
import socket
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from client import Qmp, Tap, connect     # noqa: E402


class Probe:
    def __init__(self, program, directory):
        path = os.path.join(directory, "qmp")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)
        client = connect(path)
        client.sendall(b'{"execute":"qmp_capabilities","id":1}\r\n')
        self.qmp = Qmp(client, negotiate=False)
        fd = listener.fileno()
        self.process = subprocess.Popen(
            [program, "-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=xen",
             "-chardev", f"socket,id=libxl-cmd,fd={fd},server=on,wait=off", "-mon", "chardev=libxl-cmd,mode=control"],
            pass_fds=[fd], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        listener.close()
        os.unlink(path)

    def end(self):
        out, err = self.process.communicate(timeout=60)
        self.qmp.__exit__()
        return self.process.returncode, out, err


def quits(probe):
    greeting = probe.qmp.line()
    assert greeting["QMP"]["version"]["qemu"]["major"] == 7, greeting
    assert probe.qmp.line() == {"return": {}, "id": 1}
    options = {o["option"]: [p["name"] for p in o["parameters"]]
               for o in probe.qmp.ask("query-command-line-options")["return"]}
    assert {"chroot", "user"} <= set(options["run-with"]), options
    assert probe.qmp.ask("query-status")["return"]["status"] == "prelaunch"
    assert probe.qmp.ask("cont")["error"]["class"] == "GenericError"
    assert probe.qmp.ask("no-such-thing")["error"]["class"] == "CommandNotFound"
    assert probe.qmp.ask("quit")["return"] == {}


def hung_up(probe):
    probe.qmp.line()
    probe.qmp.line()
    probe.process.send_signal(signal.SIGHUP)


def main():
    program = os.environ.get("XENDM", os.path.join(os.environ.get("XENDM_BUILDDIR", "."), "xendm"))
    if not os.access(program, os.X_OK):
        print(f"1..0 # SKIP {program} is not there")
        return 0
    tests = [("asked, and told to quit", quits), ("SIGHUP, inherited as ignored", hung_up)]
    tap = Tap(len(tests))
    for title, test in tests:
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
        tap.report(title, wrong)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
