#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""-kernel: files that are not there or no kernel end the start with one line; what the guest reads stays the same file over
a live update and after its name is gone; a large transfer keeps nobody else waiting; a file that is cut short costs the
guest that file. TAP."""
import os
import re
import select
import struct
import sys

sys.dont_write_bytecode = True     # the source tree stays clean
from faults import XENDM, Cpu, Machine, tap, want

INITRD = 24 << 20
INITRD_DATA, SELECT_READ = 0x12, 0x0a


def kernel(path, cut=0):
    """What a loader looks at: a bzImage of boot protocol 2.15, each of whose sectors bears its number."""
    data = bytearray(b"".join(struct.pack("<I", n) * 128 for n in range(128)))
    for at, form, value in ((0x1f1, "<B", 3), (0x1f4, "<I", (len(data) - 2048) // 16), (0x1fe, "<H", 0xaa55),
                            (0x202, "4s", b"HdrS"), (0x206, "<H", 0x20f), (0x211, "<B", 1), (0x22c, "<I", 0x7fffffff)):
        struct.pack_into(form, data, at, value)
    with open(path, "wb") as f:
        f.write(data[:len(data) - cut])
    return path


def numbered(path, size):
    with open(path, "wb") as f:
        for n in range(size // 4096):
            f.write(struct.pack("<I", n) * 1024)
    return path


def start(tmp, *more):
    return Machine(tmp, "--vcpus", "2", "--", "-kernel", kernel(tmp + "/vmlinuz"), "-initrd", numbered(tmp + "/initrd", INITRD), *more)


def descriptor(key, length, address, control=SELECT_READ):
    return "write 0x2000 16 0x" + struct.pack(">IIQ", key << 16 | control, length, address).hex()


def test_refused(tmp):
    """a file that is missing, empty, no kernel or cut short ends the start, with its name"""
    good, bad = kernel(tmp + "/vmlinuz"), tmp + "/bad"
    with open(tmp + "/empty", "wb"):
        pass
    cases = ((("-kernel", tmp + "/none"), r"cannot open '\S+/none': No such file"),
             (("-kernel", tmp + "/empty"), r"'\S+/empty' is empty"),
             (("-kernel", tmp), r"'\S+' is no file"),
             (("-kernel", XENDM if os.path.getsize(XENDM) > 4096 else good), r"'\S+' is (an ELF image|no kernel)"),
             (("-kernel", kernel(bad, 1000)), r"'\S+/bad' is truncated: 62488 of 63488 bytes"),
             (("-kernel", good, "-initrd", tmp + "/none"), r"cannot open '\S+/none': No such file"))
    for arguments, pattern in cases:
        m = Machine(tmp, "--", *arguments, may_fail=True)
        want(m.proc.wait() != 0, arguments, "started")
        lines = [line for line in m.log().splitlines() if line.startswith("xendm:")]
        want(len(lines) == 1 and re.search(pattern, lines[0]), arguments, "said", m.log())


def test_update(tmp):
    """after a live update the guest reads on in the same file, whose name is another's by now"""
    m = start(tmp)
    m.cpu.do("outw 0x510 %d" % INITRD_DATA)
    m.cpu.do("ins 0x511 1 4096 0x4000")
    os.rename(numbered(tmp + "/other", 8192), tmp + "/initrd")
    for name in ("initrd", "vmlinuz"):
        m.qmp.ok("xendm-update", binary=XENDM)
        os.unlink(tmp + "/" + name)
    m.cpu.expect("inb 0x511", 1)
    m.cpu.do(descriptor(INITRD_DATA, INITRD, 0x2000000))
    m.cpu.do("outl 0x518 0x00200000")
    m.cpu.expect("readl 0x2000", 0)
    m.cpu.expect("readl 0x%x" % (0x2000000 + INITRD - 4096), INITRD // 4096 - 1)
    m.kill()


def test_others(tmp):
    """while a large transfer is under way, another vCPU and QMP are served"""
    m = start(tmp)
    other = Cpu(m.path, 1)
    served = 0
    for _ in range(5):                  # the first one makes the guest's pages
        m.cpu.do(descriptor(INITRD_DATA, INITRD, 0x2000000))
        m.cpu.send("outl 0x518 0x00200000")
        while not select.select([m.cpu.sock], [], [], 0)[0]:
            other.expect("pciread 00:01.1 0 4", 0x70108086)
            served += 1
        m.cpu.answer("outl")
        m.cpu.expect("readl 0x2000", 0)
        want(m.qmp.ok("query-status")["running"] is True, "the machine does not run")
    want(served > 5, "only", served, "accesses of the other vCPU were served")
    m.kill()


def test_cut_short(tmp):
    """a file that somebody shortens is an error for the guest, said once, and everything else goes on"""
    m = start(tmp)
    os.truncate(tmp + "/initrd", 8192)
    for _ in range(3):
        m.cpu.do(descriptor(INITRD_DATA, INITRD, 0x2000000))
        m.cpu.do("outl 0x518 0x00200000")
        m.cpu.expect("readl 0x2000", 0x01000000)
    m.cpu.do(descriptor(INITRD_DATA, 8192, 0x2000000))
    m.cpu.do("outl 0x518 0x00200000")
    m.cpu.expect("readl 0x2000", 0)
    m.logged(r"error pc: fw_cfg: cannot read '\S+/initrd': Input/output error", 1)
    m.kill()


if __name__ == "__main__":
    sys.exit(tap([test_refused, test_update, test_others, test_cut_short]))
