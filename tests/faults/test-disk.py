#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks of the host that fail: what the guest reads from its registers, what QMP and the log say, what reached the image,
and that the other disk goes on. The first tests ask xenemu for the failures (--disk-faults, thread engine), the others have
them from the kernel, with both engines: an image that shrinks, a limit of file size, a full file system. TAP."""
import os
import re
import resource
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True     # the source tree stays clean
from faults import (PATIENCE, RUNNING, SECTORS, XENDM, Cpu, Disk, Hanging, Machine, Qmp, Skip, image,
                    start_with_disks as start, tap, want)

UNC, ABRT = (0x51, 0x40), (0x51, 4)
NO_SPACE = (0x71, 4)            # the device fault bit, too
FINE = (0x50, 0)


def sector(tmp, n, name="hda"):
    with open(os.path.join(tmp, name), "rb") as f:
        f.seek(n * 512)
        return f.read(4)


def number(n):
    return n.to_bytes(4, "little")


def fill(m, disk, sectors):
    m.cpu.do("memset 0x%x %d 0xab" % (disk.buffer, sectors * 512))


OURS = b"\xab" * 4


def event(m, operation, reason, nospace=False):
    data = m.qmp.event("BLOCK_IO_ERROR")
    want(data["device"] == "ide0-hd0" and data["operation"] == operation and data["action"] == "report"
         and reason in data["reason"] and data["nospace"] == nospace, data)


def serves(m):
    other = Disk(m.cpu, 0, 1)
    want(other.dma(40) == FINE + (4,) and other.pio_read(41) == FINE and other.pio_write(2000) == FINE
         and other.flush() == FINE, "the other disk")
    want(m.qmp.ok("query-status")["running"], "not running")


def test_bad_sector(tmp):
    """a sector that cannot be read: all before it arrives, the registers say which, the rest of the disk is read"""
    m, disk = start(tmp)
    m.cpu.fault("disk-read drive=hda lba=100 count=all")
    want(disk.pio_read(98, 8) == UNC and disk.lba() == 100, "PIO", disk.lba())
    m.cpu.expect("inb 0x1f2", 6)
    m.cpu.do("memset 0x%x 0x10000 0xee" % disk.buffer)
    got = disk.dma(90, 64)
    want(got == UNC + (4,) and disk.lba() == 100, "DMA", got, disk.lba())
    for i in range(10):
        m.cpu.expect("readl 0x%x" % (disk.buffer + i * 512), 90 + i)
    event(m, "read", "Input/output error")
    m.logged("warning ide: ide0-hd0: read at sector 100 failed: Input/output error", 2)
    want(disk.pio_read(101, 8) == FINE and disk.dma(0, 100) == FINE + (4,), "the rest")
    serves(m)
    # VERIFY reads nothing here; READ MULTIPLE, READ SECTORS EXT
    disk.command(0xc6, 0, 4)
    want(disk.ready() == FINE, "SET MULTIPLE")
    disk.command(0xc4, 100, 4)
    want(disk.ready() == UNC and disk.lba() == 100, "READ MULTIPLE")
    m.cpu.ask("fault clear")
    want(disk.pio_read(98, 8) == FINE, "after")
    m.end()


def test_write(tmp):
    """a sector that cannot be written: all before it is written, nothing behind it"""
    m, disk = start(tmp)
    m.cpu.fault("disk-write drive=hda lba=205 count=all")
    fill(m, disk, 64)
    got = disk.dma(200, 16, True)
    want(got == ABRT + (4,) and disk.lba() == 205, got, disk.lba())
    want([sector(tmp, n) for n in (199, 200, 204, 205, 206)] == [number(199), OURS, OURS, number(205), number(206)], "the image")
    event(m, "write", "Input/output error")
    got = disk.pio_write(203, 4)
    want(got == ABRT and disk.lba() == 205, got, disk.lba())
    m.logged("warning ide: ide0-hd0: write at sector 205 failed: Input/output error", 2)
    serves(m)
    m.cpu.ask("fault clear")
    want(disk.dma(200, 16, True) == FINE + (4,) and disk.pio_write(203, 4) == FINE and sector(tmp, 215) == OURS, "after")
    m.end()


def test_no_space(tmp):
    """no space left: the guest sees a device fault, the event says nospace"""
    m, disk = start(tmp)
    m.cpu.fault("disk-write drive=hda errno=ENOSPC count=all")
    got = disk.dma(200, 8, True)
    want(got == NO_SPACE + (4,) and disk.lba() == 200, got, disk.lba())
    event(m, "write", "No space left", True)
    want(disk.pio_write(200) == NO_SPACE, "PIO")
    m.cpu.ask("fault clear")
    want(disk.pio_write(200) == FINE, "after")
    serves(m)
    m.end()


def test_flush(tmp):
    """a flush that failed stays failed: by FLUSH CACHE, by STANDBY, after an update; the cache off: with each write"""
    m, disk = start(tmp)
    want(disk.pio_write(300) == FINE and disk.flush() == FINE, "before")
    m.cpu.fault("disk-flush drive=hda")
    want(disk.flush() == ABRT, "FLUSH CACHE")
    event(m, "write", "Input/output error")
    m.logged("error block: ide0-hd0: flushing '.*/hda' failed: Input/output error; acknowledged writes are lost", 1)
    want(m.cpu.hits() == {"disk-flush": 1}, m.cpu.hits())
    for code in (0xe7, 0xea, 0xe0):
        disk.command(code)
        want(disk.ready() == ABRT, "again", hex(code))
    want(disk.pio_write(301) == FINE and disk.pio_read(302) == FINE, "transfers go on")
    m.qmp.ok("xendm-update", binary=XENDM)
    want(disk.flush() == ABRT, "after an update the loss is forgotten")
    disk.command(0xef, feature=0x82)
    want(disk.ready() == ABRT, "SET FEATURES, which flushes")
    got = disk.pio_write(303)
    want(got == ABRT, "a write through", got)
    serves(m)
    m.end(leaks=True)                   # of the program before the update, for which xenemu cannot know that it gave up all


def test_short(tmp):
    """transfers that are cut short are gone on with; one that moves nothing is an error"""
    m, disk = start(tmp)
    m.cpu.fault("disk-read drive=hda short=700 count=3")
    m.cpu.do("memset 0x%x 0x2000 0xee" % disk.buffer)
    want(disk.dma(400, 16) == FINE + (4,) and m.cpu.hits() == {"disk-read": 3}, "reads", m.cpu.hits())
    for i in range(16):
        m.cpu.expect("readl 0x%x" % (disk.buffer + i * 512), 400 + i)
        m.cpu.expect("readl 0x%x" % (disk.buffer + i * 512 + 508), 400 + i)
    m.cpu.ask("fault clear")
    m.cpu.fault("disk-write drive=hda short=1100 count=2")
    fill(m, disk, 16)
    want(disk.dma(500, 16, True) == FINE + (4,) and m.cpu.hits() == {"disk-write": 2}, "writes", m.cpu.hits())
    want([sector(tmp, n) for n in (499, 500, 502, 504, 515, 516)] == [number(499)] + [OURS] * 4 + [number(516)], "the image")
    m.cpu.ask("fault clear")
    m.cpu.fault("disk-read drive=hda short=0 lba=600 count=all")
    m.cpu.fault("disk-write drive=hda short=0 lba=600 count=all")
    got = disk.dma(598, 8)
    want(got == UNC + (4,) and disk.lba() == 600, "a read that gets nothing", got, disk.lba())
    got = disk.dma(598, 8, True)
    want(got == NO_SPACE + (4,) and disk.lba() == 600, "a write that gets nothing", got, disk.lba())
    m.cpu.ask("fault clear")
    # The host wants to be asked again.
    m.cpu.fault("disk-write drive=hda errno=EAGAIN count=2")
    m.cpu.fault("disk-read drive=hda errno=EINTR lba=700-707")
    want(disk.dma(700, 8) == FINE + (4,) and disk.dma(700, 8, True) == FINE + (4,), "EINTR, EAGAIN")
    want(m.cpu.hits() == {"disk-write": 2, "disk-read": 1}, m.cpu.hits())
    serves(m)
    m.end()


def trim(m, disk, lba, count):
    m.cpu.do("memset 0x%x 512 0" % disk.buffer)
    m.cpu.do("writel 0x%x 0x%x" % (disk.buffer, lba))
    m.cpu.do("writel 0x%x 0x%x" % (disk.buffer + 4, count << 16))
    m.cpu.do("writel 0x%x 0x%x" % (disk.prd, disk.buffer))
    m.cpu.do("writel 0x%x 0x80000200" % (disk.prd + 4))
    m.cpu.do("outl 0x%x 0x%x" % (disk.bm + 4, disk.prd))
    m.cpu.do("outb 0x%x 6" % (disk.bm + 2))
    m.cpu.do("outb 0x%x 0" % (disk.port + 2))           # the count's high byte is what it was before
    disk.command(6, 0, 1, feature=1)
    m.cpu.do("outb 0x%x 1" % disk.bm)
    result = disk.ready()
    m.cpu.do("outb 0x%x 0" % disk.bm)
    return result


def test_discard(tmp):
    """a discard that fails is reported; a host that cannot discard has done no harm"""
    m, disk = start(tmp)
    m.cpu.fault("disk-discard drive=hda")
    want(trim(m, disk, 800, 8) == ABRT, "EIO")
    event(m, "write", "Input/output error")
    m.logged("warning ide: ide0-hd0: discard at sector 800 failed: Input/output error", 1)
    want(sector(tmp, 800) == number(800), "the image")
    want(trim(m, disk, 800, 8) == FINE and sector(tmp, 800) == bytes(4) and sector(tmp, 808) == number(808), "after")
    m.cpu.fault("disk-discard drive=hda errno=EOPNOTSUPP count=all")
    want(trim(m, disk, 900, 8) == FINE, "EOPNOTSUPP")
    serves(m)
    m.end()


def packet(cd, data):
    """Status after a packet command whose data, if any, goes to the buffer; sense key and ASC."""
    cpu = cd.cpu
    cd.command(0xa0, 0xfffe << 8)
    cd.ready()
    for i in range(0, 12, 2):
        cpu.do("outw 0x170 0x%x" % (data[i] | data[i + 1] << 8))
    at = cd.buffer
    while True:
        status, _ = cd.ready()
        if not status & 8:
            return status
        n = cpu.do("inb 0x174") | cpu.do("inb 0x175") << 8
        cpu.do("ins 0x170 2 %d 0x%x" % (n // 2, at))
        at += n


def sense(cd):
    packet(cd, [3, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0])
    return cd.cpu.do("readb 0x%x" % (cd.buffer + 2)) & 15, cd.cpu.do("readb 0x%x" % (cd.buffer + 12))


def read10(block, count):
    return [0x28, 0, 0, 0, block >> 8, block & 255, 0, count >> 8, count & 255, 0, 0, 0]


def test_cd(tmp):
    """a bad block of a CD is MEDIUM ERROR, UNRECOVERED READ ERROR; one that ejects itself is the toolstack's business"""
    m, disk = start(tmp)
    cd = Disk(m.cpu, 1)
    packet(cd, [0] * 12)
    sense(cd)                           # unit attention after power-on
    want(packet(cd, read10(10, 1)) & 1 == 0, "before")
    m.cpu.expect("readl 0x%x" % cd.buffer, 40)
    m.cpu.fault("disk-read drive=hdc lba=52 count=all")         # in block 13
    status = packet(cd, read10(12, 4))
    want(status & 1 and sense(cd) == (3, 0x11), hex(status), "not MEDIUM ERROR")
    data = m.qmp.event("BLOCK_IO_ERROR")
    want(data["device"] == "ide-5632" and data["operation"] == "read", data)
    m.logged("warning ide: ide-5632: read at sector 52 failed: Input/output error", 1)
    want(packet(cd, read10(14, 2)) & 1 == 0, "the rest")
    serves(m)
    m.end()


def test_rates(tmp):
    """a guest that repeats what fails fills neither the log nor the monitor"""
    m, disk = start(tmp)
    m.cpu.fault("disk-read drive=hda lba=100 count=all")
    reads, most, told = 0, 150, 0
    while most >= 150 and reads < 1500:     # again, if the machine was so busy that nothing needed to be held back
        begin = time.monotonic()
        for _ in range(150):
            want(disk.pio_read(100) == UNC, "a read that works")
        most, reads = 20 * (time.monotonic() - begin + 2), reads + 150
        m.logged("read at sector 100 failed", 16 + reads.bit_length() - 5)      # then 32, 64, 128…
        m.qmp.ok("query-status")
        events = len([e for e in m.qmp.events if e["event"] == "BLOCK_IO_ERROR"]) - told
        want(1 <= events <= most, events, "events and not", most)
        told += events
    want(most < 150, "too slow a machine")
    serves(m)
    m.end()


def test_unplug(tmp):
    """the flush before the disks are unplugged fails: the admin is told, the guest's PV drivers take over"""
    m, disk = start(tmp)
    want(disk.pio_write(300) == FINE, "a write")
    m.cpu.fault("disk-flush drive=hda")
    m.cpu.expect("inw 0x10", 0x49d2)
    m.cpu.do("outw 0x12 0x0003")
    m.cpu.do("outl 0x10 0")
    m.cpu.do("outw 0x10 1")
    event(m, "write", "Input/output error")
    m.logged("warning ide: ide0-hd0: flush before the unplugging failed: Input/output error", 1)
    want(m.cpu.do("inb 0x1f7") in (0, 0xff, 0x7f), "a disk is there")
    m.end()


# ---- disks that hang ----

def begin_dma(disk, lba, count, write=False):
    cpu = disk.cpu
    cpu.do("writel 0x%x 0x%x" % (disk.prd, disk.buffer))
    cpu.do("writel 0x%x 0x%x" % (disk.prd + 4, count * 512 | 0x80000000))
    cpu.do("outl 0x%x 0x%x" % (disk.bm + 4, disk.prd))
    disk.command(0xca if write else 0xc8, lba, count)
    cpu.do("outb 0x%x 0x%x" % (disk.bm, 1 if write else 9))


def test_hang_reset(tmp):
    """reads and writes that hang: after a reset or a stop the drive is busy until they are over, and the others go on"""
    h = Hanging(tmp)
    m, disk = h.m, h.disk
    other = Disk(m.cpu, 1)
    for what, write in (("r", False), ("w", True)):
        for give_up in ("outb 0x3f6 4", "outb 0xc000 0", "pciwrite 00:01.1 4 2 1"):
            h.set(what)
            begin_dma(disk, 64, 8, write)
            h.begun()
            m.cpu.do(give_up)
            m.cpu.do("outb 0x3f6 0")
            want(m.cpu.do("inb 0x3f6") & 0x80, "not busy:", what, give_up)
            want(m.qmp.ok("query-status")["running"], "not running")
            m.cpu.do("outb 0x176 0xa0")                 # the other channel
            want(m.cpu.do("inb 0x376") & 0x80 == 0, "the other channel is busy")
            h.set("")
            m.cpu.until("inb 0x3f6", 0x80, 0)
            m.cpu.do("outb 0x3f6 4")
            m.cpu.do("outb 0x3f6 0")
            m.cpu.until("inb 0x3f6", 0x80, 0)
            m.cpu.do("outb 0xc000 0")
            m.cpu.do("pciwrite 00:01.1 4 2 5")
            want(disk.dma(100) == FINE + (4,), "afterwards:", what, give_up)
    want(other.ready(), "the CD")
    m.end()


def test_hang_eject(tmp):
    """a CD that hangs is ejected and another put in at once; the drive is busy until the old one lets go"""
    h = Hanging(tmp)
    m, cd = h.m, Disk(h.m.cpu, 1)
    image(tmp + "/other.iso", 64 * 2048)
    packet(cd, [0] * 12)
    sense(cd)
    h.set("r")
    m.cpu.do("outb 0x171 0")
    cd.command(0xa0, 0xfffe << 8)
    cd.ready()
    for i in range(0, 12, 2):
        data = read10(100, 4)
        m.cpu.do("outw 0x170 0x%x" % (data[i] | data[i + 1] << 8))
    want(m.cpu.do("inb 0x376") & 0x80, "not busy")
    m.qmp.ok("eject", id="ide-5632", force=True)
    m.qmp.ok("blockdev-change-medium", id="ide-5632", filename=tmp + "/other.iso", format="raw")
    want([d["inserted"]["file"] for d in m.qmp.ok("query-block") if d["device"] == "ide-5632"] == [tmp + "/other.iso"], "the new one")
    want(m.cpu.do("inb 0x376") & 0x80, "not busy")
    h.set("")
    m.cpu.until("inb 0x376", 0x80, 0)
    m.cpu.do("outb 0x376 4")
    m.cpu.do("outb 0x376 0")
    m.cpu.until("inb 0x376", 0x80, 0)
    for _ in range(4):
        if packet(cd, read10(3, 1)) & 1 == 0:
            break
        sense(cd)
    m.cpu.expect("readl 0x%x" % cd.buffer, 12)
    m.end()


def is_open(m, path):
    fds = "/proc/%d/fd/" % m.pid()
    return os.path.realpath(path) in [os.path.realpath(fds + fd) for fd in os.listdir(fds)]


def test_hang_unplug(tmp):
    """an unplug waits for the flush: the vCPU that asked does, the other one and QMP do not"""
    h = Hanging(tmp)
    m, disk, second = h.m, h.disk, Cpu(h.m.path, 1)
    want(disk.pio_write(300) == FINE, "a write")
    h.set("f")
    m.cpu.expect("inw 0x10", 0x49d2)
    m.cpu.do("outw 0x12 0x0003")
    m.cpu.do("outl 0x10 0")
    m.cpu.send("outw 0x10 1")
    deadline = time.monotonic() + PATIENCE
    while second.do("inb 0x1f7") != 0:              # gone for everybody
        want(time.monotonic() < deadline, "still there")
    want(m.qmp.ok("query-status")["running"], "not running")
    want(is_open(m, tmp + "/hda"), "closed before it was flushed")
    m.cpu.sock.settimeout(.3)
    try:
        m.cpu.answer()
        raise AssertionError("the vCPU did not wait")
    except TimeoutError:
        pass
    h.set("")
    m.qmp.event("DEVICE_DELETED")
    m.qmp.event("DEVICE_DELETED")
    want(not is_open(m, tmp + "/hda") and not is_open(m, tmp + "/hdb") and is_open(m, tmp + "/hdc"), "still open")
    second.expect("inb 0x1f7", 0)
    m.end()


def test_stop(tmp):
    """stop flushes every disk: while that hangs cont takes it back, when it fails the guest goes on, and after it nothing is dirty"""
    h = Hanging(tmp)
    m, disk = h.m, h.disk
    want(disk.dma(100, 8, True) == FINE + (4,), "a write")
    h.set("f")
    with Qmp(m.dir + "/qmp-libxl-1") as asks:
        asks.say('{"execute": "stop", "id": 7}')
        deadline = time.monotonic() + PATIENCE
        while m.qmp.ok("query-status")["running"]:
            want(time.monotonic() < deadline, "no stop")
        m.qmp.ok("cont")
        reply = asks.receive()
        want(reply["id"] == 7 and "taken the stop back" in reply["error"]["desc"], reply)
        want(m.qmp.ok("query-status")["running"] and m.cpu.do("inb 0x3f6") == 0x50, "it does not go on")
        h.set("")
    want(disk.dma(100, 8) == FINE + (4,), "a read")
    m.qmp.ok("stop")
    m.qmp.ok("cont")
    m.end()
    m, disk = start(tmp)
    want(disk.dma(100, 8, True) == FINE + (4,), "a write")
    m.cpu.fault("disk-flush drive=hdb")
    reply = m.qmp.ask("stop")
    want("hd1" in reply["error"]["desc"] and "Input/output error" in reply["error"]["desc"], reply)
    want(m.qmp.ok("query-status")["running"] and disk.flush() == FINE, "it does not go on")
    m.cpu.ask("fault clear")
    m.end()


def save(m, path, live):
    with open(path, "wb") as f:
        m.qmp.ask("add-fd", fd=f.fileno(), **{"fdset-id": 1})
        m.qmp.ok("xen-save-devices-state", filename="/dev/fdset/1", live=live)


def test_migration(tmp):
    """an image is one side's: the receiver's from its first cont on, the sender's again when that took back the save"""
    m, disk = start(tmp, engine="threads", vga="none")
    want(disk.dma(100, 8, True) == FINE + (4,), "a write")
    m.qmp.ok("stop")
    save(m, tmp + "/state", False)              # xl save -c: nobody else gets it
    os.mkdir(tmp + "/to")
    disks = ["--disk", tmp + "/hda", "--disk", tmp + "/hdb", "--cdrom", tmp + "/hdc"]
    second = Machine(tmp + "/to", *disks, "--incoming", tmp + "/state", vga="none", may_fail=True)
    want(second.path is None and "lock" in second.out, "the first cont of the second:", second.out)
    second.kill()
    shutil.rmtree(tmp + "/to/run", ignore_errors=True)
    save(m, tmp + "/state", True)               # a migration
    os.truncate(tmp + "/hdb", SECTORS * 1024)   # it grew meanwhile
    second = Machine(tmp + "/to", *disks, "--incoming", tmp + "/state", vga="none")
    sizes = {d["device"]: d["inserted"]["image"]["virtual-size"] for d in second.qmp.ok("query-block") if "inserted" in d}
    want(sizes["ide0-hd1"] == SECTORS * 1024, sizes)
    other = Disk(second.cpu)
    want(other.dma(100, 8) == FINE + (4,) and other.dma(100, 8, True) == FINE + (4,), "the receiver")
    reply = m.qmp.ask("cont")
    want("lock" in reply.get("error", {}).get("desc", ""), reply)
    want(not m.qmp.ok("query-status")["running"], "both run")
    second.end(leaks=True)
    m.qmp.ok("cont")                            # the migration failed
    want(disk.dma(100, 8) == FINE + (4,), "the sender again")
    m.end()


# ---- the kernel's own failures ----

def truncated(tmp, engine):
    m, disk = start(tmp, engine=engine)
    os.truncate(tmp + "/hda", 1000 * 512 + 100)
    m.cpu.do("memset 0x%x 0x10000 0xee" % disk.buffer)
    got = disk.dma(990, 32)
    want(got == UNC + (4,) and disk.lba() == 1000, got, disk.lba())
    for i in range(10):
        m.cpu.expect("readl 0x%x" % (disk.buffer + i * 512), 990 + i)
    want(disk.pio_read(999) == FINE and disk.pio_read(1000) == UNC and disk.pio_read(1500) == UNC, "PIO")
    event(m, "read", "Input/output error")
    m.logged("warning ide: ide0-hd0: read at sector 1000 failed", 2)
    fill(m, disk, 32)
    want(disk.dma(1000, 8, True) == FINE + (4,) and disk.flush() == FINE and sector(tmp, 1007) == OURS, "what is written is there")
    want(disk.pio_read(999) == FINE, "after")
    serves(m)
    m.end()


def limited(tmp, engine):
    m, disk = start(tmp, engine=engine)
    pid = m.pid()
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1000 * 512 + 256, hard))
    fill(m, disk, 32)
    got = disk.dma(996, 16, True)
    want(got == ABRT + (4,) and disk.lba() == 1000, got, disk.lba())
    want([sector(tmp, n) for n in (996, 999, 1001)] == [OURS, OURS, number(1001)], "the image")
    event(m, "write", "File too large")
    want(disk.pio_write(1004) == ABRT and disk.pio_write(900) == FINE, "PIO")
    other = Disk(m.cpu, 0, 1)
    want(other.dma(1500) == FINE + (4,) and other.pio_write(900) == FINE, "the other disk")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    want(disk.dma(996, 16, True) == FINE + (4,) and disk.flush() == FINE and sector(tmp, 1011) == OURS, "after")
    serves(m)
    m.end()


def full(tmp, engine):
    """On a tmpfs of 2 MiB in a mount namespace: no root needed where users may have one."""
    where = tmp + "/small"
    os.mkdir(where)
    mount = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=2m none "$0" && exec "$@"', where]
    if not shutil.which("unshare") or subprocess.run(mount + ["true"], stderr=subprocess.DEVNULL, check=False).returncode:
        raise Skip("no mount namespace of one's own")
    # Two empty images (holes cost nothing), and what the others need.
    script = 'truncate -s 8M "$0/hda" "$0/hdb"; exec "$@"'
    os.environ["XENDM_BLOCK_ENGINE"] = engine
    try:
        m = Machine(tmp, "--disk", where + "/hda", "--disk", where + "/hdb",
                    prefix=mount + ["sh", "-c", script, where])
    finally:
        del os.environ["XENDM_BLOCK_ENGINE"]
    with open("/proc/%d/task/%d/children" % (m.pid(), m.pid())) as f:       # itself it sees no files any more
        broker = f.read().split()[0]
    inside = "/proc/%s/root%s" % (broker, where)
    disk = Disk(m.cpu)
    fill(m, disk, 128)
    lba, got = 0, None
    while lba < 8192:
        got = disk.dma(lba, 128, True)
        if got != FINE + (4,):
            break
        lba += 128
    want(got == NO_SPACE + (4,), "all of it was written", got, lba)
    bad = disk.lba()
    want(lba <= bad < lba + 128 and sector(inside, bad - 1) == OURS, "the sector is", bad, "after", lba)
    event(m, "write", "No space left", True)
    want(disk.dma(bad - 1, 1) == FINE + (4,) and disk.pio_write(8) == FINE, "what has its place is read and written")
    other = Disk(m.cpu, 0, 1)
    want(other.pio_write(0) == NO_SPACE, "the other disk is full as well")
    m.logged("warning ide: ide0-hd1: write at sector 0 failed: No space left on device", 1)
    subprocess.run(["nsenter", "-t", str(m.pid()), "-U", "-m", "--preserve-credentials", "mount", "-o", "remount,size=16m", where],
                   check=True)
    want(disk.dma(lba, 128, True) == FINE + (4,) and disk.flush() == FINE and other.pio_write(0) == FINE, "after")
    m.end()


def test_moved_memory(tmp):
    """video memory moves: a disk's DMA to its old place finds nothing, and then the new memory there"""
    m, disk = start(tmp)
    for lba in (7, 9, 11):
        with open(os.path.join(tmp, "hda"), "r+b") as f:
            f.seek(lba * 512)
            f.write(number(lba))
    at = int(re.search(r"at 0x([0-9a-f]+)", m.qmp.hmp("info device VGA")).group(1), 16)
    want(disk.dma(7, 8, False, [(at, 4096)]) == FINE + (4,), "DMA into video memory")
    m.cpu.do("pciwrite 00:03.0 0x10 4 0xf0000000")
    m.cpu.do("pciwrite 00:03.0 4 2 3")
    m.cpu.expect("readl 0xf0000000", 7)
    got = disk.dma(9, 8, False, [(at, 4096)])
    want(got[0] != FINE and got[2] & 2, "DMA to where there is no memory", got)
    m.cpu.expect("readl 0xf0000000", 7)
    m.cpu.ask("populate 0x%x 1" % (at >> 12))
    want(disk.dma(11, 8, False, [(at, 4096)]) == FINE + (4,), "DMA to new memory")
    m.cpu.expect("readl 0x%x" % at, 11)
    m.cpu.expect("readl 0xf0000000", 7)
    m.end()


def loop_of_4096(path):
    """A host's disk of 4096-byte sectors."""
    try:
        got = subprocess.run(["losetup", "--sector-size", "4096", "-f", "--show", path], capture_output=True, text=True, check=False)
    except FileNotFoundError as e:
        raise Skip(e) from e
    if got.returncode != 0:
        raise Skip("no loop device of 4096-byte sectors: " + got.stderr.strip())
    return got.stdout.strip()


def large_sectors(tmp, engine):
    loop = loop_of_4096(image(tmp + "/image", SECTORS * 512))
    os.environ["XENDM_BLOCK_ENGINE"] = engine
    try:
        m = Machine(tmp, "--disk", loop)
        if "io_uring is not available" in m.log() and engine == "io_uring":
            raise Skip("no io_uring here")
        disk = Disk(m.cpu)
        fill(m, disk, 8)
        want(disk.dma(801, 1, write=True) == FINE + (4,) and disk.pio_write(803) == FINE, "writes of 512 bytes")
        want(disk.dma(802, 1) == FINE + (4,), "a read")
        m.cpu.expect("readl 0x%x" % disk.buffer, 802)
        # Whole blocks of the device are zeros afterwards; what is smaller is as it was, and no error.
        for lba, count, first, end in ((808, 8, 808, 816), (809, 3, 0, 0), (821, 20, 824, 840), (1000, 1, 0, 0), (1039, 900, 1040, 1936)):
            want(trim(m, disk, lba, count) == FINE, "TRIM of", count, "at", lba)
            for at in {lba, lba + count - 1, first, end - 1, first - 1, end} - {0, -1}:
                disk.dma(at, 1)
                got = m.cpu.do("readl 0x%x" % disk.buffer)
                want(got == (0 if first <= at < end or 808 <= at < 816 else at), "sector", at, "is", got)
        want(disk.flush() == FINE, "a flush")
        m.end()
        with open(tmp + "/image", "rb") as f:
            f.seek(801 * 512)
            want(f.read(8 * 512) == OURS * 128 + number(802) * 128 + OURS * 128 + b"".join(number(n) * 128 for n in range(804, 808)) + bytes(512),
                 "the image")
    finally:
        os.environ.pop("XENDM_BLOCK_ENGINE", None)
        while RUNNING:
            RUNNING.pop().kill()
        subprocess.run(["losetup", "-d", loop], check=False)


def test_unmappable(tmp):
    """the host cannot map guest memory for a moment while a string instruction moves data: it waits, nothing is lost or invented"""
    m, disk = start(tmp)
    fill(m, disk, 1)
    for lba, command, instruction in ((77, 0x30, "outs"), (78, 0x20, "ins")):
        disk.command(command, lba, 1)
        want(disk.ready()[0] & 8, "it asks for data, or has some")
        m.cpu.do("invalidate")
        m.cpu.fault("map errno=ENOMEM count=6")
        m.cpu.do("%s 0x1f0 2 256 0x%x" % (instruction, disk.buffer))
        want(disk.ready() == FINE, "the end of the command")
        m.cpu.ask("fault clear")
    want(sector(tmp, 77) == OURS, "what was sent is on the disk")
    for at in (0, 508):
        m.cpu.expect("readl 0x%x" % (disk.buffer + at), 78)
    pauses = re.search(r"pauses until memory can be mapped: (\d+)", m.qmp.hmp("info ioreq"))
    want(pauses and int(pauses.group(1)) >= 4, m.qmp.hmp("info ioreq"))
    m.end()


def kernel(function, engine, doc):
    def test(tmp):
        function(tmp, engine)
    test.__doc__ = "%s, by %s" % (doc, engine)
    return test


KERNEL = [kernel(f, engine, doc) for engine in ("io_uring", "threads") for f, doc in (
    (truncated, "an image that became shorter: what is missing cannot be read, and can be written"),
    (limited, "a limit of the size of files: a write is cut short and then refused, and nobody is killed"),
    (full, "a full file system: a device fault, and more space makes it good"),
    (large_sectors, "a host's disk of 4096-byte sectors: a TRIM of any extent succeeds, for whole sectors of the host"))]

if __name__ == "__main__":
    sys.exit(tap([test_bad_sector, test_write, test_no_space, test_flush, test_short, test_discard, test_cd, test_rates,
                  test_unplug, test_moved_memory,
                  test_hang_reset, test_hang_eject, test_hang_unplug, test_stop, test_migration, test_unmappable] + KERNEL))
