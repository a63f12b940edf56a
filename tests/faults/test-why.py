#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""xendmctl status, top, metrics, recorder and why: a guest that hangs is explained from outside, in the first sentence, and one
that does not is left in peace. TAP."""
import json
import os
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True     # the source tree stays clean
from faults import PATIENCE, XENDM, Disk, Hanging, Machine, image, tap, want

XENDMCTL = os.path.join(os.path.dirname(XENDM), "tools/xendmctl/xendmctl")
PAGE_SIZE_AT = 8        # offsets of struct status_page


def ctl(m, *words, status=0, flags=None):
    """What it prints. `flags`: what Xen says of the domain, as xl list shows it."""
    env = dict(os.environ, XENDM_STATUS_DIR=m.dir)
    bindir = m.dir + "/bin"
    os.makedirs(bindir, exist_ok=True)
    with open(bindir + "/xl", "w") as f:
        f.write("#!/bin/sh\necho Name ID Mem VCPUs State Time\necho \"xenemu1  1  128  1  %s  1.0\"\n" % (flags or "-b----"))
    os.chmod(bindir + "/xl", 0o755)
    env["PATH"] = bindir + ":" + env["PATH"]
    got = subprocess.run([XENDMCTL, *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    want(got.returncode == status, words, "ended with", got.returncode, got.stdout)
    return got.stdout


def verdict(m, *patterns, flags=None):
    """The first sentence, once it has all that."""
    deadline = time.monotonic() + PATIENCE
    while True:
        text = ctl(m, "why", "1", flags=flags)
        first = text.splitlines()[0]
        if all(p in first for p in patterns):
            return text
        want(time.monotonic() < deadline, patterns, "not in the first sentence of", text)
        time.sleep(.05)


def facts(m, group):
    return json.loads(ctl(m, "status", "1", "--json"))["facts"].get(group, {})


def until(what, *words):
    deadline = time.monotonic() + PATIENCE
    while not what():
        want(time.monotonic() < deadline, *words)
        time.sleep(.05)


def test_status(tmp):
    """a running guest: one line, all of it, as JSON, by name and number, as metrics, and for a second in top"""
    m = Machine(tmp, "--disk", image(tmp + "/hda", 1 << 20))
    m.cpu.do("outb 0x70 0x12")
    disk = Disk(m.cpu)
    want(disk.dma(7)[:2] == (0x50, 0), "a read")
    until(lambda: facts(m, "block ide0-hd0").get("reads", 0) > 1, "the read")
    want("xenemu1" in ctl(m, "status") and "running" in ctl(m, "status"), ctl(m, "status"))
    want(facts(m, "machine")["state"] == "running" and facts(m, "ioreq")["pio writes"] > 0, facts(m, "ioreq"))
    want("raw" in ctl(m, "status", "xenemu1"), ctl(m, "status", "xenemu1"))
    metrics = ctl(m, "metrics")
    want('xendm_block_reads{domid="1",name="xenemu1",id="ide0-hd0"} ' in metrics, metrics)
    want(metrics.count("# TYPE xendm_block_reads ") == 1, metrics)
    want("xenemu1" in ctl(m, "top", "-n", "1"), "top")
    want("no xendm serves '2'" in ctl(m, "status", "2", status=1), "another guest")
    for wrong in (("why",), ("status", "1", "2"), ("top", "-n", "0"), ("recorder",), ("recorder", "1", "--vcpu", "x"), ("nonsense",)):
        want("usage:" in ctl(m, *wrong, status=2), wrong)
    m.end()
    want(ctl(m, "status").count("\n") == 1, "it is gone: no line of it", ctl(m, "status"))


def test_recorder(tmp):
    """the flight recorder is read from outside, filtered, with the latencies of disk requests"""
    m = Machine(tmp, "--disk", image(tmp + "/hda", 1 << 20))
    m.cpu.do("outb 0x70 0x3a")
    m.cpu.do("inb 0x3ff")
    last = ctl(m, "recorder", "1", "--address", "0x70", "--kind", "pio-write").splitlines()
    want(len(last) == 1 and "vCPU 0, 1 bytes, at 0x70: 0x3a" in last[0], last)
    want(len(ctl(m, "recorder", "1", "--last", "1").splitlines()) == 1, "the newest")
    want(ctl(m, "recorder", "1", "--vcpu", "1") == "", "no such vCPU")
    want("at 0x3ff" in ctl(m, "recorder", m.dir + "/1"), "by file name")
    want(Disk(m.cpu).dma(7)[:2] == (0x50, 0), "a read")
    text = ctl(m, "recorder", "1", "--latencies")
    want(", 0 without" in text and "less than" in text, text)
    m.end()


def test_healthy(tmp):
    """of a guest that goes on it says so"""
    m = Machine(tmp)
    m.cpu.do("outb 0x70 0x12")
    verdict(m, "xenemu1: nothing that can be seen from here")
    want("last access" in ctl(m, "why", "1") and "all vCPUs wait" in ctl(m, "why", "1"), ctl(m, "why", "1"))
    m.end()


def test_polling(tmp):
    """a guest that polls a register for ever"""
    m = Machine(tmp)
    def polls():
        for _ in range(1500):
            m.cpu.do("inb 0x1f7")
        return "the guest polls" in ctl(m, "why", "1") and "0x1f7" in ctl(m, "why", "1")
    until(polls, "it is not told")
    m.end()


def test_disk(tmp):
    """a disk that does not answer; and a stop that waits for it"""
    h = Hanging(tmp)
    h.set("r")
    disk = h.disk
    m = h.m
    m.cpu.do("writel 0x%x 0x%x" % (disk.prd, disk.buffer))
    m.cpu.do("writel 0x%x 0x80001000" % (disk.prd + 4))
    m.cpu.do("outl 0x%x 0x%x" % (disk.bm + 4, disk.prd))
    disk.command(0xc8, 64, 8)
    m.cpu.do("outb 0x%x 9" % disk.bm)
    verdict(m, "the disk ide0-hd0 has not answered for", "1 requests", tmp + "/hda")
    want("no answer for" in ctl(m, "recorder", "1", "--latencies"), "the latencies")
    m.qmp.say('{"execute": "stop", "id": 9}')
    verdict(m, "the disk ide0-hd0", "a stop, a save or a migration waits for them")
    h.set("")
    want("return" in m.qmp.receive(), "the stop")
    verdict(m, "the machine is stopped")
    m.end()


def test_process(tmp):
    """the process is stopped by a signal; it is killed"""
    m = Machine(tmp)
    pid = m.pid()
    os.kill(pid, signal.SIGSTOP)
    verdict(m, "process %d, is stopped by a signal" % pid)
    os.kill(pid, signal.SIGCONT)
    verdict(m, "nothing that can be seen from here")
    os.kill(pid, signal.SIGKILL)
    verdict(m, "the device model is gone and did not say why")
    want("gone" in ctl(m, "status"), ctl(m, "status"))
    m.kill()


def test_xen(tmp):
    """what only Xen knows: paused, crashed, shut down"""
    m = Machine(tmp)
    verdict(m, "is paused in Xen", flags="--p---")
    verdict(m, "crashed", flags="----c-")
    verdict(m, "has shut down", flags="---s--")
    m.qmp.ok("stop")
    verdict(m, "the machine is stopped: by the monitor", flags="--p---")
    m.end()


def test_lies(tmp):
    """a page that a hostile daemon wrote: nothing of it is believed, and nothing is waited for"""
    m = Machine(tmp)
    m.cpu.do("outb 0x70 0x12")
    until(lambda: facts(m, "machine"), "facts")
    with open(m.dir + "/1", "rb") as f:
        good = f.read()
    m.end()
    at = good.index(b'{"machine"')
    pages = [b"", good[:100], bytes(len(good)), good + b"x", b"\xff" * len(good)]
    for offset, value in ((PAGE_SIZE_AT, b"\xff" * 4), (at - 12, b"\xff" * 4), (at - 16, b"\x01\0\0\0"), (at, b"[[[["), (at, b"\xff\xfe"),
                          (at, b'{"machine": 7}'), (at, b'{"machine": {"state": "\x1b[2J"'), (24, b"\x1b[2J\n\xff" * 20)):
        pages.append(good[:offset] + value + good[offset + len(value):])
    pages.append(good[:at + 65536] + b"\xff" * (len(good) - at - 65536))
    for i, page in enumerate(pages):
        with open(m.dir + "/7", "wb") as f:
            f.write(page)
        for words in (("status",), ("status", "1"), ("status", "--json"), ("metrics",), ("why", "1"), ("recorder", m.dir + "/7"),
                      ("recorder", m.dir + "/7", "--latencies")):
            env = dict(os.environ, XENDM_STATUS_DIR=m.dir)
            got = subprocess.run([XENDMCTL, *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
            want(got.returncode in (0, 1) and b"\x1b" not in got.stdout, i, words, got)
    os.unlink(m.dir + "/7")


if __name__ == "__main__":
    sys.exit(tap([test_status, test_recorder, test_healthy, test_polling, test_disk, test_process, test_xen, test_lies]))
