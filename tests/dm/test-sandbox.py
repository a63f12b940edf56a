#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What an intruder in the daemon can do: a preloaded library plays one (intruder.c), with dm_restrict and without. What is
left to him is in docs/security.md. TAP."""
import os
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../faults"))
from faults import PATIENCE, XENDM, Machine, Skip, image, tap, want    # noqa: E402

BUILD = os.environ.get("XENDM_BUILDDIR", ".")
INTRUDER = os.path.join(BUILD, "tests/dm/intruder.so")
FATAL = ("ptrace", "execve", "fork", "mount", "unshare", "chroot", "process_vm_readv")
# Everything else must fail. This one shows that the broker is asked as it wants to be asked.
GIVEN = {"broker: what anybody may read"}
AS_ROOT_ONLY = {"broker: another's file", "broker: another's program"}     # not root, these are our own


def threads(pid):
    found = []
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task)) as f:
            found.append(dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line))
    return found


def intruded(tmp, name, only=""):
    if "libasan" in subprocess.run(["ldd", XENDM], stdout=subprocess.PIPE, text=True, check=False).stdout:
        raise Skip("sanitizers leave less locked up, and want to be the first library")
    if not os.path.exists(INTRUDER):
        raise Skip("it is not built")
    victim = os.path.join(tmp, "secret")
    with open(victim, "w") as f:
        f.write("#!/bin/sh\n")
    os.chmod(victim, 0o700)
    if os.geteuid() == 0:
        os.chown(victim, 1000, 1000)
    dm = os.path.join(tmp, "dm-" + name)
    with open(dm, "w") as f:
        f.write("#!/bin/sh\nXENDM_VICTIM='%s' XENDM_INTRUDER='%s' LD_PRELOAD='%s' exec '%s' \"$@\"\n" % (victim, only, INTRUDER, XENDM))
    os.chmod(dm, 0o755)
    return dm, victim


def words(m):
    deadline = time.monotonic() + PATIENCE
    while "intruder: that was all" not in m.log():
        want(time.monotonic() < deadline, "the intruder did not come to the end", m.log())
        time.sleep(.01)
    return dict(line[len("intruder: "):].rsplit(": ", 1) for line in m.log().splitlines() if line.startswith("intruder: ") and
                line.count(": ") > 1)


def test_default(tmp):
    """without dm_restrict: no names, no processes, no sockets, nobody else's process, and of the broker what anybody may have"""
    dm, victim = intruded(tmp, "default")
    m = Machine(tmp, "--disk", image(tmp + "/hda", 1 << 20), dm=dm)
    os.kill(m.pid(), signal.SIGUSR2)
    got = words(m)
    want(len(got) > 20, got)
    if os.geteuid() != 0:
        got = {name: word for name, word in got.items() if name not in AS_ROOT_ONLY}
    want({name for name, word in got.items() if word == "done"} == GIVEN, got)
    want(os.path.exists(victim), "it is gone")
    for thread in threads(m.pid()):
        want(int(thread["CapPrm"], 16) == int(thread["CapEff"], 16) == 0 and thread["Seccomp"] == "2", thread)
    if os.geteuid() == 0:
        want(os.listdir("/proc/%d/root" % m.pid()) == [], "files in its root")
    m.cpu.expect("inw 0x10", 0x49d2)
    m.end()


def test_restricted(tmp):
    """with dm_restrict: the same, and of the broker nothing at all"""
    dm, victim = intruded(tmp, "restricted")
    m = Machine(tmp, "--restrict", dm=dm)
    os.kill(m.pid(), signal.SIGUSR2)
    got = words(m)
    want(len(got) > 20 and not [name for name, word in got.items() if word == "done"], got)
    want(os.path.exists(victim), "it is gone")
    m.cpu.expect("inw 0x10", 0x49d2)
    m.end()


def test_fatal(tmp):
    """what only an intruder calls is his end"""
    for only in FATAL:
        sub = os.path.join(tmp, only)
        os.mkdir(sub)
        dm, _ = intruded(sub, "fatal", only)
        m = Machine(sub, dm=dm)
        os.kill(m.pid(), signal.SIGUSR2)
        m.proc.wait(PATIENCE)
        want("that was all" not in m.log(), only, "went well:", m.log()[-500:])
        m.kill()


def link(path):
    """Where it leads; None when it was closed since it was listed."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None


def test_descriptors(tmp):
    """what was left open is closed, unless the command line names it"""
    dm = os.path.join(tmp, "dm")
    with open(dm, "w") as f:
        f.write("#!/bin/sh\nexec 7</etc/passwd 8</etc/passwd\nexec '%s' \"$@\"\n" % XENDM)
    os.chmod(dm, 0o755)
    m = Machine(tmp, dm=dm)
    for pid in [m.pid()] + [int(p) for p in open("/proc/%d/task/%d/children" % (m.pid(), m.pid())).read().split()]:
        names = [target for target in (link("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid)) if target]
        want(names and "/etc/passwd" not in names, names)
    m.end()


if __name__ == "__main__":
    sys.exit(tap([test_default, test_restricted, test_fatal, test_descriptors]))
