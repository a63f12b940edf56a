#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What can go wrong in a live update, and when: the program that comes crashes, hangs or ends at each point of
its way; the guest, the host and the toolstack do something in between. There is a device model afterwards, and
no process is left over. TAP."""
import json
import os
import re
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../faults"))
from faults import CTL, PATIENCE, XENDM, Disk, Machine, Qmp, Skip, image, note, tap, want    # noqa: E402

BUILD = os.environ.get("XENDM_BUILDDIR", ".")
TROUBLE = os.path.join(BUILD, "tests/update/trouble.so")
MANY = 300


def is_sanitized():
    return "libasan" in subprocess.run(["ldd", XENDM], stdout=subprocess.PIPE, text=True, check=False).stdout


def script(tmp, name, text):
    path = os.path.join(tmp, name)
    with open(path, "w") as f:
        f.write("#!/bin/sh\n" + text + "\n")
    os.chmod(path, 0o755)
    return path


def troubled(tmp, spec):
    if is_sanitized() or not os.path.exists(TROUBLE):
        raise Skip("no preloading: sanitized, or not built")
    return script(tmp, spec.replace(":", "-"), 'LD_PRELOAD=%s XENDM_TROUBLE=%s exec %s "$@"' % (TROUBLE, spec, XENDM))


def processes(tmp, brokers=False):
    """Of this machine: those that have its directory on their command line, but for xenemu's own, and for brokers unless asked."""
    found = []
    for pid in os.listdir("/proc"):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                words = f.read().split(b"\0")
            with open("/proc/%s/stat" % pid) as f:
                name, state = f.read().rsplit(")", 1)
                state = state.split()[0]
        except OSError:
            continue
        if b"-xen-domid" in words and any(tmp.encode() in word for word in words) and state != "Z" and b"run" not in words[1:2] and \
           (brokers or not name.endswith("(xendm-broker")):
            found.append(int(pid))
    return sorted(found)


def until(what, *detail):
    deadline = time.monotonic() + PATIENCE
    while not what():
        want(time.monotonic() < deadline, *detail)
        time.sleep(.01)


def alone(tmp, pid):
    until(lambda: processes(tmp) == [pid], "left over:", processes(tmp), "beside", pid)


def serves(m):
    m.cpu.expect("inw 0x10", 0x49d2)
    want(m.qmp.ok("query-status")["running"], "it does not run")


def begin(m, binary):
    m.qmp.say(json.dumps({"execute": "xendm-update", "arguments": {"binary": binary}, "id": "u"}))


def test_each_point(tmp):
    """the new program or its twin crashes, hangs or ends at each point of its way: refused, the guest is served, nothing is left"""
    m = Machine(tmp, "--disk", image(tmp + "/hda", 1 << 20))
    disk = Disk(m.cpu)
    pid = m.pid()
    points = [("twin", "open"), ("twin", "build"), ("new", "main"), ("new", "open"), ("new", "build"), ("new", "events"),
              ("new", "go")]
    for who, when in points:
        for what in ("crash", "exit") if (who, when) in (("twin", "build"), ("new", "main")) else ("crash", "exit", "hang"):
            reply = m.qmp.ask("xendm-update", binary=troubled(tmp, "%s:%s:%s" % (who, when, what)))
            want("error" in reply, who, when, what, "->", reply)
            want(m.pid() == pid, "the process id changed")
            serves(m)
            want(disk.dma(3) == (0x50, 0, 4), "the disk after", who, when, what)
            alone(tmp, pid)
    m.qmp.ok("xendm-update", binary=XENDM)
    serves(m)
    m.end()


def test_guest_meanwhile(tmp):
    """between rehearsal and change the guest unplugs its disks, gives back video memory, and the program's file is replaced"""
    m = Machine(tmp, "--disk", image(tmp + "/hda", 1 << 20), "--cdrom", image(tmp + "/cd", 1 << 20))
    slow = script(tmp, "new", 'sleep .5\nexec %s "$@"' % XENDM)
    slot = [s for s in range(32) if m.cpu.do("pciread 00:%02x.0 8 4" % s) >> 16 == 0x0300][0]
    m.cpu.do("pciwrite 00:%02x.0 0x10 4 0xf0000000" % slot)
    m.cpu.do("pciwrite 00:%02x.0 4 2 3" % slot)
    m.cpu.do("writel 0xf0000000 0x1234")
    begin(m, slow)
    m.await_log("asking it first")
    os.rename(script(tmp, "false", "exit 1"), slow)
    m.cpu.do("outw 0x10 1")
    for page in range(3, 40):
        m.cpu.ask("balloon 0x%x 1" % (0xf0000 + page))
    with open(tmp + "/cd", "r+b") as f:
        f.truncate(1000)
    reply = m.qmp.receive()
    want("return" in reply, reply)
    serves(m)
    m.cpu.expect("readl 0xf0000000", 0x1234)
    # And once more, now that all of that is so from the start.
    m.qmp.ok("xendm-update", binary=XENDM)
    serves(m)
    m.cpu.expect("readl 0xf0000000", 0x1234)
    m.end(leaks=True)


def test_mappings(tmp):
    """mappings fail, once, twice in a row and always: refused, the guest is served, and later it goes well"""
    m = Machine(tmp, "--disk", image(tmp + "/hda", 1 << 20))
    for spec in ("map errno=ENOMEM", "map nth=2 errno=ENOMEM", "map count=2 errno=EAGAIN", "map count=all errno=EINVAL",
                 "resource errno=ENOMEM", "resource nth=2 errno=EPERM", "evtchn-adopt errno=EIO", "evtchn-open errno=EMFILE"):
        m.cpu.fault(spec)
        reply = m.qmp.ask("xendm-update", binary=XENDM)
        want("error" in reply or "evtchn-open" in spec or "nth=2" in spec, spec, "->", reply)
        m.cpu.ask("fault clear")
        serves(m)
    m.qmp.ok("xendm-update", binary=XENDM)
    serves(m)
    m.end()


def test_signals(tmp):
    """SIGHUP, SIGTERM and SIGKILL in each phase end everything"""
    points = [None, "twin:build:hang", "new:open:hang", "new:events:hang", "new:go:hang"]
    for number, point in enumerate(points):
        for what in (signal.SIGHUP, signal.SIGTERM, signal.SIGKILL):
            sub = "%s/%d-%d" % (tmp, number, what)
            os.mkdir(sub)
            m = Machine(sub)
            pid = m.pid()
            if point:
                begin(m, troubled(sub, point))
                until(lambda: len(processes(sub)) > (1 if point.startswith("new:") else 2), "it does not begin", processes(sub))
                if point.startswith("new:"):
                    m.await_log("asking it first")
                time.sleep(.1)
            else:
                m.qmp.ok("xendm-update", binary=XENDM)
            os.kill(pid, what)
            until(lambda: not processes(sub), "left over after", what, "at", point, processes(sub))
            m.kill()


def test_keeper(tmp):
    """the process that the toolstack knows stays, passes signals on, and ends with the one that serves"""
    m = Machine(tmp)
    pid = m.pid()
    for _ in range(3):
        m.qmp.ok("xendm-update", binary=XENDM)
        until(lambda: len(processes(tmp)) == 2, "processes:", processes(tmp))
        want(pid in processes(tmp), "the first one is gone")
    want(len(os.listdir("/proc/%d/fd" % pid)) == 5, "it holds:", os.listdir("/proc/%d/fd" % pid))
    with open("/proc/%d/maps" % pid) as f:
        want("xenemu" not in [line.split()[-1] for line in f if "memfd" in line], "it maps the guest")
    os.kill(pid, signal.SIGUSR1)
    m.await_log("flight recorder")
    serves(m)
    os.kill([p for p in processes(tmp) if p != pid][0], signal.SIGKILL)
    until(lambda: not processes(tmp, True), "left over:", processes(tmp, True))
    m.kill()


def test_hanging_disk(tmp):
    """a disk does not answer: the machine cannot stand still, the update is refused, and the guest goes on"""
    dm = script(tmp, "dm", "LD_PRELOAD=%s/tests/dm/hang.so XENDM_BLOCK_ENGINE=threads exec %s \"$@\"" % (BUILD, XENDM))
    if is_sanitized() or not os.path.exists(BUILD + "/tests/dm/hang.so"):
        raise Skip("no preloading: sanitized, or not built")
    m = Machine(tmp, "--disk", image(tmp + "/hda", 1 << 20), dm=dm)
    pid = m.pid()
    Disk(m.cpu)
    for command in ("writel 0x1000 0x2000", "writel 0x1004 0x80000200", "outl 0xc004 0x1000", "outb 0x1f6 0xe0", "outb 0x1f2 1",
                    "outb 0x1f3 0", "outb 0x1f4 0", "outb 0x1f5 0", "outb 0x1f7 0xc8", "outb 0xc000 9"):
        m.cpu.do(command)
    reply = m.qmp.ask("xendm-update", binary=XENDM)
    want("disk does not answer" in reply.get("error", {}).get("desc", ""), reply)
    serves(m)
    alone(tmp, pid)
    os.kill(pid, signal.SIGHUP)
    until(lambda: not processes(tmp, True), "left over:", processes(tmp, True))
    m.kill()


def test_end_meanwhile(tmp):
    """SIGHUP while an update is on its way and a disk does not answer: it ends, no crash, and no process outlives it"""
    if is_sanitized() or not os.path.exists(BUILD + "/tests/dm/hang.so"):
        raise Skip("no preloading: sanitized, or not built")
    dm = script(tmp, "dm", "LD_PRELOAD=%s/tests/dm/hang.so XENDM_BLOCK_ENGINE=threads exec %s \"$@\"" % (BUILD, XENDM))
    slow = script(tmp, "new", 'sleep .8\nexec %s "$@"' % XENDM)
    for number, (binary, awaited) in enumerate(((slow, None), (XENDM, 3))):
        sub = "%s/%d" % (tmp, number)
        os.mkdir(sub)
        m = Machine(sub, "--disk", image(sub + "/hda", 1 << 20), "--access-timeout", "500", dm=dm)
        pid = m.pid()
        Disk(m.cpu)
        for command in ("writel 0x1000 0x2000", "writel 0x1004 0x80000200", "outl 0xc004 0x1000", "outb 0x1f6 0xe0", "outb 0x1f2 1",
                        "outb 0x1f3 0", "outb 0x1f4 0", "outb 0x1f5 0", "outb 0x1f7 0xc8", "outb 0xc000 9"):
            m.cpu.do(command)
        begin(m, binary)
        m.await_log("asking it first")
        if awaited:         # old, new and twin: it stands still for them, or tries to
            until(lambda: len(processes(sub)) == awaited, "processes:", processes(sub))
        os.kill(pid, signal.SIGHUP)
        until(lambda: not processes(sub, True), "left over:", processes(sub, True))
        want("fatal signal" not in m.log(), "it crashed:", m.log()[-2000:])
        m.kill()


def test_once_more(tmp):
    """what the new program has built from changes before the guest stands still: it is started once more, and takes over"""
    m = Machine(tmp, "--disk", image(tmp + "/hda", 1 << 20), "--cdrom", image(tmp + "/cd", 1 << 20), "--serial",
                "unix:%s/com,server=on,wait=off" % tmp)
    pid, other = m.pid(), Qmp(m.dir + "/qmp-libxl-1")
    again = 0
    for i in range(40):
        begin(m, XENDM)
        # At some moment of its way, which takes some ten milliseconds.
        time.sleep(i % 20 * .002)
        other.say(json.dumps({"execute": "eject", "arguments": {"id": "ide-5632", "force": True}} if i % 2 else
                             {"execute": "blockdev-change-medium",
                              "arguments": {"id": "ide-5632", "filename": tmp + "/cd", "format": "raw"}}) + "\n")
        reply = m.qmp.receive()
        want("return" in reply, reply)
        want("return" in other.receive(), "the CD")
        serves(m)
        want(m.pid() == pid, "the process id changed")
        again = len(re.findall("once more", m.log()))
    note("%d of 40 were started once more" % again)
    until(lambda: len(processes(tmp)) == 2, "processes:", processes(tmp))
    m.end()


def test_restricted(tmp):
    """under dm_restrict: updated, as locked up as before; and one that fails is refused"""
    m = Machine(tmp, "--restrict", "--disk", image(tmp + "/hda", 1 << 20), "--cdrom", "")
    disk = Disk(m.cpu)
    pid = m.pid()
    if m.qmp.ok("query-status")["status"] != "running":
        m.qmp.ok("cont")
    for binary, status in ((XENDM, 0), ("/bin/false", 1), (script(tmp, "usb", 'exec %s "$@" -usb' % XENDM), 1), (XENDM, 0)):
        run = subprocess.run([CTL, "update", m.dir + "/qmp-libxl-1", "--binary", binary], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False)
        want(run.returncode == status, binary, "->", run.returncode, run.stdout, m.log()[-1500:])
        serves(m)
        want(disk.dma(3) == (0x50, 0, 4), "the disk after", binary)
        want(m.pid() == pid, "the process id changed")
    facts = []
    for p in processes(tmp):
        with open("/proc/%d/status" % p) as f:
            lines = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        facts.append([lines[key] for key in ("Uid", "Gid", "CapEff", "CapPrm", "NoNewPrivs", "Seccomp")] +
                     [os.readlink("/proc/%d/root" % p)])
    want(len(facts) == 2 and facts[0] == facts[1], "keeper and new program:", facts)
    os.kill(pid, signal.SIGHUP)
    until(lambda: not processes(tmp, True), "left over:", processes(tmp, True))
    m.kill()


def test_many(tmp):
    """hundreds of updates of a guest whose disk is busy: every sector is right, nothing piles up"""
    m = Machine(tmp, "--disk", image(tmp + "/hda", 1 << 20), "--cdrom", "")
    disk = Disk(m.cpu)
    pid = m.pid()
    pauses = []
    for i in range(MANY):
        want(disk.dma(i % 2000) == (0x50, 0, 4), "DMA before update", i)
        m.cpu.expect("readl 0x%x" % disk.buffer, i % 2000)
        disk.command(0x20, 7, 2)
        pauses.append(m.qmp.ok("xendm-update", binary=XENDM)["pause-us"] / 1000)
        for sector in (7, 8):               # the command goes on in the next program
            disk.cpu.until("inb 0x3f6", 0x88, 8)
            m.cpu.do("ins 0x1f0 2 256 0x%x" % disk.buffer)
            m.cpu.expect("readl 0x%x" % disk.buffer, sector)
        disk.ready()
    until(lambda: len(processes(tmp)) == 2, "processes:", processes(tmp))
    want(m.pid() == pid, "the process id changed")
    pauses.sort()
    note("%d updates; pause: median %.1f, 99%% %.1f, max %.1f ms" % (MANY, pauses[MANY // 2], pauses[MANY * 99 // 100], pauses[-1]))
    m.end()


if __name__ == "__main__":
    sys.exit(tap([test_each_point, test_guest_meanwhile, test_mappings, test_signals, test_keeper, test_hanging_disk, test_end_meanwhile, test_once_more, test_restricted,
                  test_many]))
