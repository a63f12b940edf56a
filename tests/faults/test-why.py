#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""xendmctl status, top, metrics and recorder: a guest is looked at from outside, and nothing of a page is believed. Of why there is
more in test-hangs.py. TAP."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys

sys.dont_write_bytecode = True     # the source tree stays clean
from faults import PATIENCE, Disk, Machine, ctl, image, tap, until, want
from client import CTL

PAGE_SIZE_AT = 8        # offsets of struct status_page


def facts(m, group):
    return json.loads(ctl(m, "status", "1", "--json"))["facts"].get(group, {})


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
    m.cpu.do("outb 0x3f8 0x53")
    text = ctl(m, "recorder", "1", "--address", "0x3f8")
    want("not kept  serial0" in text and "0x53" not in text, "a character", text)
    requests = ctl(m, "recorder", "1", "--requests", "--device", "ide0-hd0").splitlines()
    want(any("ide0-hd0     read    0xe00, 4096 bytes: done after" in line for line in requests), requests)
    text = ctl(m, "recorder", "1", "--device", "cmos")
    want(len(text.splitlines()) == 1 and "cmos" in text, text)
    want(ctl(m, "recorder", "1", "--ago", "1000-900") == "" and len(ctl(m, "recorder", "1", "--ago", "900").splitlines()) > 10, "by time")
    text = ctl(m, "recorder", "1", "--count", "device")
    want(re.search(r"^ +[0-9]+ +[0-9.]+ %  piix3-ide$", text, re.M) and re.search(r"^ +1 +[0-9.]+ %  cmos$", text, re.M), text)
    trace = json.loads(ctl(m, "recorder", "1", "--perfetto"))["traceEvents"]
    ends = {(e["ph"], e["id"]) for e in trace if e.get("cat") == "block"}
    want(("b", 0) in ends and ("e", 0) in ends and all("ts" in e and "pid" in e and "tid" in e for e in trace), trace[:5])
    want(any(e["ph"] == "C" and e["name"] == "interrupt line 14" for e in trace), "the interrupt line")
    shutil.copy(m.dir + "/1", tmp + "/before")
    want(ctl(m, "recorder", tmp + "/before", "--diff", "1").endswith("entries are the same\n"), "no difference")
    m.cpu.do("outb 0x70 0x3b")
    text = ctl(m, "recorder", tmp + "/before", "--diff", "1", status=1)
    want(text.count("\n") == 2 and text.splitlines()[1].startswith("+ pio-write") and text.endswith("0x3b  cmos\n"), text)
    pid = m.pid()
    os.kill(pid, signal.SIGSEGV)
    m.await_log("the flight recorder is kept: xendmctl recorder %s/1" % m.dir)
    until(lambda: "gone" in ctl(m, "status"), "its end")
    want("0x3b" in ctl(m, "recorder", m.dir + "/1", "--last", "1"), "what it did last")
    m.kill()


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
    for offset, value in ((PAGE_SIZE_AT, b"\xff" * 4), (at - 20, b"\xff" * 4), (at - 24, b"\x01\0\0\0"), (at, b"[[[["), (at, b"\xff\xfe"),
                          (at, b'{"machine": 7}'), (at, b'{"machine": {"state": "\x1b[2J"'), (24, b"\x1b[2J\n\xff" * 20)):
        pages.append(good[:offset] + value + good[offset + len(value):])
    pages.append(good[:at + 65536] + b"\xff" * (len(good) - at - 65536))
    for i, page in enumerate(pages):
        with open(m.dir + "/7", "wb") as f:
            f.write(page)
        for words in (("status",), ("status", "1"), ("status", "--json"), ("metrics",), ("why", "1"), ("recorder", m.dir + "/7"),
                      ("recorder", m.dir + "/7", "--latencies")):
            env = dict(os.environ, XENDM_STATUS_DIR=m.dir)
            got = subprocess.run([CTL, *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
            want(got.returncode in (0, 1) and b"\x1b" not in got.stdout, i, words, got)
    os.unlink(m.dir + "/7")


if __name__ == "__main__":
    sys.exit(tap([test_status, test_recorder, test_lies]))
