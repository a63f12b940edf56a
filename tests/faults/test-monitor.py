#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What people and toolstacks do at the monitor of a running guest, and what must not come of it."""
import os
import stat
import sys
import time

sys.dont_write_bytecode = True
from faults import Disk, Machine, image, tap, want     # noqa: E402


def test_recorder(tmp):
    """the flight recorder keeps neither keys, serial bytes, disk words nor pixels unless asked"""
    m = Machine(tmp, "--disk", image(tmp + "/disk", 1 << 20), serial="null")
    cpu = m.cpu

    def use():
        m.qmp.hmp("sendkey q")
        cpu.do("inb 0x60")
        cpu.do("inb 0x60")
        cpu.do("outb 0x3f8 0x53")
        cpu.do("outb 0x3ff 0x54")
        disk.command(0x20, 0x33, 1)
        disk.ready()
        cpu.do("inw 0x1f0")
        cpu.do("ins 0x1f0 2 255 0x%x" % disk.buffer)
        cpu.do("writeb 0xa0000 0x56")
        return m.qmp.hmp("info recorder").split("\r\n")

    disk = Disk(cpu)
    secret = ("a=0x60 b=0x15 ", "a=0x3f8 b=0x53 ", "a=0x1f0 b=0x33 ", "a=0xa0000 b=0x56 ")
    text = "\n".join(use())
    for value in secret:
        want(value not in text, value, "in", text)
    for line in ("a=0x60 b=- ", "a=0x3f8 b=- ", "a=0x1f0 b=- ", "a=0x3ff b=0x54 "):
        want(line in text, line, "not in", text)
    m.qmp.hmp("recorder payload on")
    text = "\n".join(use())
    for value in secret[:3]:
        want(value in text, value, "not in", text)
    m.qmp.hmp("recorder payload off")
    text = m.qmp.hmp("info recorder")
    for value in secret:
        want(value not in text, value, "in", text)
    want("Error" in m.qmp.hmp("recorder payload maybe"), "nonsense is taken")
    m.end()


def test_screendump(tmp):
    """screendump replaces regular files only: a device, a FIFO, a link and what it names stay what they are"""
    m = Machine(tmp)
    os.mknod(tmp + "/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mkfifo(tmp + "/fifo")
    os.symlink(tmp + "/target", tmp + "/link")
    with open(tmp + "/target", "w") as f:
        f.write("precious")
    for name in ("null", "fifo", "link"):
        before = os.lstat(tmp + "/" + name)
        answer = m.qmp.hmp("screendump %s/%s" % (tmp, name))
        want("no regular file" in answer, name, answer)
        want(os.lstat(tmp + "/" + name).st_ino == before.st_ino, name, "was replaced")
        reply = m.qmp.ask("screendump", filename="%s/%s" % (tmp, name), format="png")
        want("error" in reply, reply)
    with open(tmp + "/target") as f:
        want(f.read() == "precious", "what a link names was written to")
    for _ in range(2):
        want(m.qmp.hmp("screendump %s/target" % tmp) == "", "a regular file is not replaced")
    with open(tmp + "/target", "rb") as f:
        want(f.read(2) == b"P6", "no PPM")
    m.qmp.ok("screendump", filename=tmp + "/shot", format="png")
    with open(tmp + "/shot", "rb") as f:
        want(f.read(4) == b"\x89PNG", "no PNG")
    want("error" in m.qmp.ask("screendump", filename=tmp + "/shot", format="gif"), "a GIF?")
    want(not [f for f in os.listdir(tmp) if f.startswith("shot.")], os.listdir(tmp))
    m.end()


def test_keys(tmp):
    """no key of a burst is lost however slowly the guest reads; sendkey's hold time is kept"""
    m = Machine(tmp)
    cpu = m.cpu
    cpu.do("outb 0x64 0x60")
    cpu.do("outb 0x60 0x41")        # translated, interrupts on
    for i in range(60):
        want(m.qmp.hmp("sendkey %d 1" % (i % 10)) == "", "refused")
    codes = [0x0b] + list(range(2, 11))
    for i in range(60):
        for code in (codes[i % 10], codes[i % 10] | 0x80):
            cpu.until("inb 0x64", 1, 1)
            cpu.expect("inb 0x60", code)
    start = time.monotonic()            # before the key goes down: however late it is seen, it was not up sooner
    m.qmp.hmp("sendkey q 300")
    cpu.until("inb 0x64", 1, 1)
    cpu.expect("inb 0x60", 0x10)
    cpu.until("inb 0x64", 1, 1)
    want(time.monotonic() - start > .25, "held for", time.monotonic() - start)
    cpu.expect("inb 0x60", 0x90)
    reply = m.qmp.ask("send-key", keys=[{"type": "qcode", "data": "ctrl"}, {"type": "qcode", "data": "c"}], **{"hold-time": 1})
    want("return" in reply, reply)
    for code in (0x1d, 0x2e, 0xae, 0x9d):
        cpu.until("inb 0x64", 1, 1)
        cpu.expect("inb 0x60", code)
    refused = [m.qmp.hmp("sendkey a 0") for _ in range(1100)]
    want(refused[0] == "" and "does not read" in refused[-1], refused[0], refused[-1])
    m.end()


if __name__ == "__main__":
    sys.exit(tap([test_recorder, test_screendump, test_keys]))
