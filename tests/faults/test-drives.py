#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Drives that become longer, shorter or slower while the guest uses them, by QMP: what the guest reads, what reached the
image, and that a stop does not wait for limits. TAP."""
import os
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True     # the source tree stays clean
from faults import FINE, XENDM, Disk, Machine, Skip, image, tap, want

SECTORS = 2048


def start(tmp):
    image(tmp + "/hda", SECTORS * 512)
    image(tmp + "/hdb", SECTORS * 512)
    m = Machine(tmp, "--disk", tmp + "/hda", "--disk", tmp + "/hdb")
    return m, Disk(m.cpu)


def identified(disk):
    """The sectors that IDENTIFY DEVICE tells: by LBA28, by LBA48."""
    disk.command(0xec)
    want(disk.ready()[0] & 8, "no data of IDENTIFY")
    disk.cpu.do("ins 0x%x 2 256 0x%x" % (disk.port, disk.buffer))
    return disk.cpu.do("readl 0x%x" % (disk.buffer + 120)), disk.cpu.do("readl 0x%x" % (disk.buffer + 200))


def test_size(tmp):
    """block_resize: IDENTIFY tells, sectors that are new can be used, those that are gone cannot, the other disk is as it was"""
    m, disk = start(tmp)
    want(identified(disk) == (SECTORS, SECTORS), identified(disk))
    want(disk.dma(SECTORS, 8)[0] & 1, "beyond the end")
    m.qmp.ok("block_resize", device="ide0-hd0", size=2 * SECTORS * 512)
    want(identified(disk) == (2 * SECTORS, 2 * SECTORS), identified(disk))
    want(disk.dma(2 * SECTORS - 8, 8, True) == FINE + (4,), "a write to what is new")
    want(disk.flush() == FINE and os.path.getsize(tmp + "/hda") == 2 * SECTORS * 512, "the file")
    want(m.qmp.hmp("block_resize ide0-hd0 512K") == "", "HMP")
    want(identified(disk) == (1024, 1024) and os.path.getsize(tmp + "/hda") == 1024 * 512, identified(disk))
    want(disk.dma(1020, 8)[0] & 1 and disk.dma(1016, 8) == FINE + (4,), "the end")
    want(m.qmp.ok("query-block")[0]["inserted"]["image"]["virtual-size"] == 1024 * 512, m.qmp.ok("query-block"))
    want(identified(Disk(m.cpu, 0, 1)) == (SECTORS, SECTORS), "the other")
    m.end()


LIMIT = {"bps": 1, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}


def begin(disk, lba):
    """A read of the disk's that is not waited for."""
    cpu = disk.cpu
    cpu.do("writel 0x%x 0x%x" % (disk.prd, disk.buffer))
    cpu.do("writel 0x%x 0x80001000" % (disk.prd + 4))
    disk.dma_start(lba)


def held(m):
    return "bps-total: 1" in m.qmp.hmp("info block -v ide0-hd0") and "held: 0" not in m.qmp.hmp("info block -v ide0-hd0")


def test_limits(tmp):
    """a limit of a byte a second: what is above it waits, a reset takes it back, a stop lets it go, and without it all goes on"""
    m, disk = start(tmp)
    m.qmp.ok("block_set_io_throttle", device="ide0-hd0", **LIMIT)
    want(m.qmp.ok("query-block")[0]["inserted"]["bps"] == 1, m.qmp.ok("query-block"))
    want(disk.dma(8, 8) == FINE + (4,), "an empty bucket takes one")
    begin(disk, 16)
    want(m.cpu.do("inb 0x3f6") & 0x80 and held(m), "it does not wait", m.qmp.hmp("info block -v"))
    m.cpu.do("outb 0x3f6 4")
    m.cpu.do("outb 0x3f6 0")
    m.cpu.until("inb 0x3f6", 0x80, 0)
    m.cpu.do("outb 0xc000 0")
    begin(disk, 24)
    want(m.cpu.do("inb 0x3f6") & 0x80, "it does not wait")
    m.qmp.ok("stop")
    m.qmp.ok("cont")
    m.cpu.until("inb 0x3f6", 0x80, 0)
    m.cpu.expect("readl 0x%x" % disk.buffer, 24)
    m.cpu.do("outb 0xc000 0")
    begin(disk, 32)
    want(m.cpu.do("inb 0x3f6") & 0x80, "the limit is gone after a stop")
    m.qmp.ok("block_set_io_throttle", device="ide0-hd0", **dict(LIMIT, bps=0))
    m.cpu.until("inb 0x3f6", 0x80, 0)
    m.cpu.expect("readl 0x%x" % disk.buffer, 32)
    m.cpu.do("outb 0xc000 0")
    want(disk.dma(40, 8) == FINE + (4,), "afterwards")
    m.end()


def uncached(path):
    """Whether nothing of it is in the host's page cache."""
    with open(path, "rb") as f:
        try:
            return not os.preadv(f.fileno(), [bytearray(4096)], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            return True


def test_direct(tmp):
    """cache=none: what the guest reads and writes, from any memory, stays out of the host's cache; a live update too"""
    where = tempfile.mkdtemp(prefix="xf-direct-", dir=os.getcwd())      # not in memory
    path = where + "/hda"
    image(path, SECTORS * 512)
    with open(path, "rb") as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    m = Machine(tmp, "--", "-drive", "file=%s,if=ide,index=0,media=disk,format=raw,cache=none" % path, may_fail=True)
    try:
        if m.path is None:
            want("cannot be used past the host's page cache" in m.out, m.out)
            raise Skip("the file system here has no O_DIRECT")
        for _ in range(2):
            disk = Disk(m.cpu)
            m.cpu.do("memset 0x%x %d 0xab" % (disk.buffer, 8 * 512))
            want(disk.dma(0, 8, True) == FINE + (4,) and disk.flush() == FINE, "write")
            disk.buffer += 2                        # which nothing but a copy can serve
            want(disk.dma(0, 16) == FINE + (4,), "read")
            m.cpu.expect("readl 0x%x" % disk.buffer, 0xabababab)
            m.cpu.expect("readl 0x%x" % (disk.buffer + 8 * 512), 8)
            want(uncached(path), "it is in the page cache")
            want(m.qmp.ok("query-block")[0]["inserted"]["cache"] == {"writeback": True, "direct": True, "no-flush": False}, "query-block")
            m.qmp.ok("xendm-update", binary=XENDM)
        m.end()
    finally:
        shutil.rmtree(where)


if __name__ == "__main__":
    sys.exit(tap([test_size, test_limits, test_direct]))
