#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""xendmctl status, top, metrics and recorder: a guest is looked at from outside, and nothing of a page is believed. Of why there is
more in test-hangs.py. TAP."""
import json
import os
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True     # the source tree stays clean
from faults import PATIENCE, Disk, Hanging, Machine, ctl, image, tap, until, want
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
            got = subprocess.run([CTL, *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
            want(got.returncode in (0, 1) and b"\x1b" not in got.stdout, i, words, got)
    os.unlink(m.dir + "/7")


if __name__ == "__main__":
    sys.exit(tap([test_status, test_recorder, test_lies]))
