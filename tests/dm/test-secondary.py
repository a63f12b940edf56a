#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""-machine secondary: PCI functions for a domain that another device model, ours or QEMU's, gives its PC. TAP on stdout."""
import os
import subprocess
import sys

sys.dont_write_bytecode = True     # the source tree stays clean
SOURCE = os.environ.get("XENDM_SRCDIR") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path.insert(0, os.path.join(SOURCE, "tests/faults"))
from faults import (NODE, PATIENCE, RUNNING, XENDM, Machine, Qmp, Skip, environment, image, save, tap, until, want,     # noqa: E402
                    xenstore)
from client import sanitized     # noqa: E402

QEMU = os.environ.get("ORACLE", "/usr/libexec/xen-qemu-system-i386")
NVME = 0x00101b36           # as nvme.h has it
BAR = 0xf3000000
VERSION = BAR + 8           # NVMe 1.4, 3.1.2
INTMS, INTMC = BAR + 0xc, BAR + 0x10
COMMAND_MEMORY, COMMAND_MASTER = 2, 4
FUNCTION = "0:10.0"
BACK_END = "/local/domain/0/backend/qdisk/1/51728"


class Secondary:
    """One NVMe controller in slot 16 of the machine's domain."""

    def __init__(self, m, *options, incoming=None, number=0):
        self.m, self.socket = m, "%s/secondary%d" % (m.dir, number)
        self.image = m.dir + "/namespace"
        if not os.path.exists(self.image):
            image(self.image, 1 << 20)
        self.log = m.dir + "/secondary.log"
        line = ["-xen-domid", "1", "-machine", "secondary", "-m", "512", "-chardev",
                "socket,id=q,path=%s,server=on,wait=off" % self.socket, "-mon", "chardev=q,mode=control",
                "-drive", "file=%s,if=none,id=a,format=raw" % self.image, "-device", "nvme,id=nvme,drive=a,serial=a,addr=0x10", *options]
        fds = []
        if incoming is not None:
            line += ["-incoming", "fd:%d" % incoming]
            fds = [incoming]
        with open(self.log, "ab") as log:
            env = environment(m)
            if "-chroot" in options:    # the look for leaks wants /proc
                env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
            self.process = subprocess.Popen([XENDM, *line], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            pass_fds=fds, start_new_session=True)
        RUNNING.append(self)
        until(lambda: os.path.exists(self.socket) or self.process.poll() is not None, "the secondary does not start")
        until(lambda: "ready" in self.said() or self.process.poll() is not None, "the secondary is not ready")
        want(self.process.poll() is None, "the secondary ended:", self.said())
        self.qmp = Qmp(self.socket)

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def end(self):
        self.process.terminate()
        want(self.process.wait(PATIENCE) == 0, "the secondary ended with", self.process.returncode, self.said())

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def enable(cpu):
    """As firmware and driver do: it lies at BAR, and answers."""
    cpu.do("pciwrite %s 0x10 4 0x%x" % (FUNCTION, BAR))
    cpu.do("pciwrite %s 0x14 4 0" % FUNCTION)
    cpu.do("pciwrite %s 4 2 %d" % (FUNCTION, COMMAND_MEMORY | COMMAND_MASTER))
    cpu.expect("readl 0x%x" % VERSION, 0x00010400)


def is_served(cpu):
    cpu.expect("pciread %s 0 4" % FUNCTION, NVME)
    cpu.do("writel 0x%x 1" % INTMS)
    cpu.expect("readl 0x%x" % INTMS, 1)


def test_beside_ours(tmp):
    """Beside xendm: its functions are served, the others stay whose they were, and so do xenstore and PV back ends."""
    m = Machine(tmp)
    before = m.cpu.do("pciread 0:02.0 0 4")
    m.cpu.expect("pciread %s 0 4" % FUNCTION, 0xffffffff)
    xenstore(m.dir, "write", BACK_END + "/state", "1")
    xenstore(m.dir, "write", NODE + "/state", "as it was")
    other = Secondary(m)
    enable(m.cpu)
    is_served(m.cpu)
    want(m.cpu.do("pciread 0:02.0 0 4") == before, "the platform device is another")
    want(xenstore(m.dir, "read", NODE + "/state") == "as it was", "the state in xenstore is written by it")
    want(xenstore(m.dir, "read", BACK_END + "/state") == "1", "a back end was closed that is not its own")
    names = {d["qdev_id"] for bus in other.qmp.ok("query-pci") for d in bus["devices"]}
    want(names == {"nvme"}, "its devices are", names)
    want(m.qmp.ok("query-status")["running"] and other.qmp.ok("query-status")["running"], "one of them does not run")
    other.end()
    m.cpu.expect("pciread %s 0 4" % FUNCTION, 0xffffffff)
    m.cpu.expect("readl 0x%x" % VERSION, 0xffffffff)
    want(m.cpu.do("pciread 0:02.0 0 4") == before, "the platform device went with it")
    m.end()


def test_beside_qemu(tmp):
    """Beside QEMU: the same."""
    if not os.access(QEMU, os.X_OK):
        raise Skip("there is no %s" % QEMU)
    m = Machine(tmp, dm=QEMU)
    before = m.cpu.do("pciread 0:02.0 0 4")
    other = Secondary(m)
    enable(m.cpu)
    is_served(m.cpu)
    want(m.cpu.do("pciread 0:02.0 0 4") == before != 0xffffffff, "QEMU's platform device is another")
    other.end()
    m.cpu.expect("pciread %s 0 4" % FUNCTION, 0xffffffff)
    m.end(leaks=True)


def test_update(tmp):
    """It is updated by itself, and saved and restored by whoever asks its own monitor."""
    m = Machine(tmp)
    other = Secondary(m)
    enable(m.cpu)
    is_served(m.cpu)
    want("return" in other.qmp.ask("xendm-update", binary=XENDM), "the update failed:", other.said())
    m.cpu.expect("readl 0x%x" % INTMS, 1)
    other.qmp.ok("stop")
    path = tmp + "/state"
    with open(path, "wb") as f:
        want("return" in save(other.qmp, f.fileno()), "it is not saved:", other.said())
    other.end()
    m.cpu.expect("pciread %s 0 4" % FUNCTION, 0xffffffff)
    with open(path, "rb") as f:
        again = Secondary(m, incoming=f.fileno(), number=1)
    again.qmp.ok("cont")
    m.cpu.expect("readl 0x%x" % INTMS, 1)
    m.cpu.do("writel 0x%x 1" % INTMC)
    m.cpu.expect("readl 0x%x" % INTMS, 0)
    again.end()
    m.end()


def test_restricted(tmp):
    """It gives its rights up, as under dm_restrict, and serves."""
    m = Machine(tmp)
    os.mkdir(tmp + "/root")
    other = Secondary(m, "-xen-domid-restrict", "-chroot", tmp + "/root", "-runas", "65000:65000")
    with open("/proc/%d/status" % other.process.pid, encoding="ascii") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f)
    want(status["Uid"].split() == ["65000"] * 4 and int(status["CapEff"], 16) == 0, status)
    want(status["Seccomp"] == "2" or sanitized(), status)
    enable(m.cpu)
    is_served(m.cpu)
    other.end()
    m.end()


def test_refused(tmp):
    """What needs the chips of a PC, or a slot that nobody named, is refused in one line."""
    for words, why in ((("-device", "nvme,drive=a,serial=a"), "addr= is missing"),
                       (("-device", "isa-serial"), "has PCI functions"),
                       (("-drive", "file=/dev/null,if=ide,index=0,format=raw"), "has PCI functions"),
                       (("-serial", "null"), "has PCI functions"),
                       (("-vga", "std"), "addr= is missing"),
                       (("-usb",), "has PCI functions")):
        done = subprocess.run([XENDM, "-xen-domid", "1", "-machine", "secondary", "-m", "512", "-drive",
                               "file=%s,if=none,id=a,format=raw" % os.devnull, *words], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)
        lines = done.stderr.splitlines()
        want(done.returncode == 1 and len(lines) == 1 and words[0] in lines[0] and why in lines[0], words, done)


sys.exit(tap([test_beside_ours, test_beside_qemu, test_update, test_restricted, test_refused]))
