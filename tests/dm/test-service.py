#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Domain 0's own instance, as xencommons starts it: -daemonize and -pidfile; TAP on stdout."""
import os
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True     # the source tree stays clean
SOURCE = os.environ.get("XENDM_SRCDIR") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path.insert(0, os.path.join(SOURCE, "tests/faults"))
from faults import PATIENCE, RUNNING, XENDM, OurOwn, Skip, tap, until, want     # noqa: E402

STATE = "/local/domain/0/device-model/0/state"
LINE = ["-xen-domid", "0", "-xen-attach", "-name", "dom0", "-nographic", "-M", "xenpv", "-daemonize", "-monitor", "/dev/null",
        "-serial", "/dev/null", "-parallel", "/dev/null", "-nodefaults", "-no-user-config", "-pidfile"]


def start(host, pidfile, **env):
    """Its end, and what it said. Whoever reads its output is not kept waiting by the service."""
    host.pidfiles.add(pidfile)
    return subprocess.run([XENDM, *LINE, pidfile], env=dict(host.env, **env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


def await_gone(path):
    deadline = time.monotonic() + PATIENCE
    while os.path.exists(path):
        want(time.monotonic() < deadline, path, "is still there")
        time.sleep(.005)


def serves(host, pidfile):
    """It runs when the one that was started has ended, and is the process of the file."""
    done = start(host, pidfile)
    want(done.returncode == 0 and done.stdout == "", done)
    want(host.xs("read", STATE) == "running", "the state is", host.xs("read", STATE))
    pid = int(read(pidfile))
    want(os.readlink("/proc/%d/cwd" % pid) == "/" and os.getsid(pid) == pid, "it has not left where it was started")
    want({os.readlink("/proc/%d/fd/%d" % (pid, fd)) for fd in (0, 1, 2)} == {"/dev/null"}, "its standard streams")
    return pid


def ends(pidfile, number):
    os.kill(int(read(pidfile)), number)
    await_gone(pidfile)


class Host(OurOwn):
    def __init__(self, tmp):
        super().__init__(tmp, "--pv")
        self.pidfiles = set()
        RUNNING.append(self)

    def kill(self):
        """Also the service, which nobody is the parent of: one that a test left behind half-way."""
        for pidfile in filter(os.path.exists, self.pidfiles):
            pid = int(read(pidfile))
            try:
                with open("/proc/%d/cmdline" % pid, "rb") as f:
                    if pidfile.encode() in f.read().split(b"\0"):
                        os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.xenemu.terminate()
        self.xenemu.wait(PATIENCE)
        self.xenemu.stdout.close()


def test_two(tmp):
    """It serves when the one that was started has ended; another one is told so; SIGTERM ends it, and its file goes."""
    host, pidfile = Host(tmp), tmp + "/dom0.pid"
    pid = serves(host, pidfile)
    second = start(host, pidfile)
    want(second.returncode == 1 and pidfile in second.stderr and len(second.stderr.splitlines()) == 1, second)
    want(int(read(pidfile)) == pid and host.xs("read", STATE) == "running", "the first one is disturbed")
    ends(pidfile, signal.SIGTERM)


def test_killed(tmp):
    """A file that was left behind is used; killed, it leaves none."""
    host, pidfile = Host(tmp), tmp + "/dom0.pid"
    with open(pidfile, "w", encoding="ascii") as f:
        f.write("1234567890\n")
    serves(host, pidfile)
    ends(pidfile, signal.SIGKILL)


def test_fails(tmp):
    """What cannot serve says so to who started it, in one line and by its status."""
    host, pidfile = Host(tmp), tmp + "/dom0.pid"
    done = start(host, pidfile, XENSTORED_RUNDIR=host.dir + "/nowhere")
    want(done.returncode == 1 and done.stderr.startswith("xendm: "), done)
    await_gone(pidfile)
    done = start(host, "/nowhere/at/all")
    want(done.returncode == 1 and "/nowhere/at/all" in done.stderr, done)


def test_image(tmp):
    """A disk of an image format that comes for a boot loader is offered, and taken away."""
    if not (shutil.which("qemu-img") and shutil.which("qemu-storage-daemon")):
        raise Skip("there is no qemu-img or qemu-storage-daemon")
    host, pidfile, path = Host(tmp), tmp + "/dom0.pid", tmp + "/a.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"], check=True)
    serves(host, pidfile)
    back, front = "/local/domain/0/backend/qdisk/0/51712", "/local/domain/0/device/vbd/51712"
    host.xs("write", front + "/state", "1")
    for key, value in (("frontend", front), ("params", "qcow2:" + path), ("frontend-id", "0"), ("online", "1"), ("type", "qdisk"),
                       ("mode", "w"), ("device-type", "disk"), ("state", "1")):
        host.xs("write", back + "/" + key, value)
    until(lambda: host.xs("read", back + "/state") in ("2", "6"), "the disk is not looked at")
    want((host.xs("read", back + "/state"), host.xs("read", back + "/sectors")) == ("2", "2048"), "it is", host.xs("ls", back))
    host.xs("rm", back)
    until(lambda: subprocess.run(["qemu-img", "info", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 check=False).returncode == 0, "its image is not free again")
    ends(pidfile, signal.SIGTERM)


sys.exit(tap([test_two, test_killed, test_fails, test_image]))
