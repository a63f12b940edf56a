#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What people and toolstacks do at the monitor of a running guest, and what must not come of it."""
import sys

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


if __name__ == "__main__":
    sys.exit(tap([test_recorder]))
