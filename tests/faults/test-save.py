#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A save that cannot be written, after which the guest goes on; and a soft reset, in which libxl lets a new device model take
over the state that the old one saved in the same domain (toolstack.md 5.3). TAP."""
import os
import resource
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True     # the source tree stays clean
from faults import NODE, PATIENCE, Cpu, Disk, Machine, OurOwn, Skip, image, save, tap, want

FINE = (0x50, 0, 4)


def test_no_place(tmp):
    """no space, a limit of file size, a pipe that nobody reads: QMP says why, cont, and a save to a good place works"""
    image(tmp + "/hda", 1 << 20)
    m = Machine(tmp, "--disk", tmp + "/hda")
    disk = Disk(m.cpu)
    pid = m.pid()
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    with open(tmp + "/state", "wb") as state, open("/dev/full", "wb") as full:
        read_end, write_end = os.pipe()
        os.close(read_end)
        for fd, limit, why in ((full.fileno(), soft, "No space left"), (state.fileno(), 4096, "File too large"),
                               (write_end, soft, "Broken pipe"), (state.fileno(), soft, None)):
            want(disk.dma(5) == FINE, "the disk before")
            m.qmp.ok("xen-set-global-dirty-log", enable=True)
            m.qmp.ok("stop")
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, hard))
            reply = save(m.qmp, fd)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
            if why:
                text = reply.get("error", {}).get("desc", "")
                want(why in text and "cannot write the state" in text, reply)
            else:
                want("return" in reply and os.path.getsize(tmp + "/state") > 4096, reply)
            want(m.qmp.ok("query-status")["status"] == "paused", "not paused")
            m.qmp.ok("cont")
            m.qmp.ok("xen-set-global-dirty-log", enable=False)
            want(disk.dma(6) == FINE and m.qmp.ok("query-status")["running"], "the disk after")
        os.close(write_end)
    with open(tmp + "/state", "rb") as f:
        want(f.read(8) == b"XENDMSAV", "what was saved")
    m.end()


def test_full_file_system(tmp):
    """a state file on a full file system: no space, and the guest goes on"""
    place = tmp + "/small"
    os.mkdir(place)
    # One page for the state, which needs more; the shell holds the mount until its input ends.
    holder = subprocess.Popen(["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=4k none "$0" && echo up && cat', place],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) \
        if shutil.which("unshare") else None
    if not holder or holder.stdout.readline() != "up\n":
        raise Skip("no mount namespace of one's own")
    image(tmp + "/hda", 1 << 20)
    m = Machine(tmp, "--disk", tmp + "/hda")
    disk = Disk(m.cpu)
    m.qmp.ok("stop")
    with open("/proc/%d/root%s/state" % (holder.pid, place), "wb") as state:
        reply = save(m.qmp, state.fileno())
    want("No space left" in reply.get("error", {}).get("desc", ""), reply)
    m.qmp.ok("cont")
    want(disk.dma(6) == FINE, "the disk after")
    m.end()
    holder.communicate("")


def test_soft_reset(tmp):
    """a soft reset: state saved, device model ended, another one started with it in the same domain, and the guest goes on"""
    if not shutil.which("xenstore-read"):
        raise Skip("no xenstore-utils")
    image(tmp + "/hda", 1 << 20)
    own = OurOwn(tmp, "--disk", tmp + "/hda", "--vga", "stdvga", "--serial", "null")
    try:
        cpu = Cpu(own.start())
        disk = Disk(cpu)
        want(disk.dma(100) == FINE, "the disk")
        # A picture, an interrupt that waits, a sector of which half was read, a route.
        cpu.do("pciwrite 00:01.0 0x60 1 5")
        vga = next(s for s in range(32) if cpu.do("pciread 00:%02x.0 8 4" % s) >> 16 == 0x0300)
        for reg, size, value in ((0x10, 4, 0xf0000000), (0x18, 4, 0xf3000000), (4, 2, 3)):
            cpu.do("pciwrite 00:%02x.0 0x%x %d 0x%x" % (vga, reg, size, value))
        for index, value in ((4, 0), (1, 640), (2, 480), (3, 32), (4, 0x41)):
            cpu.do("outw 0x1ce %d" % index)
            cpu.do("outw 0x1cf %d" % value)
        cpu.do("writel 0xa0010 0x11223344")
        cpu.do("writel 0xf0000020 0x55667788")
        disk.command(0x20, 7, 2)
        disk.ready()
        cpu.do("ins 0x1f0 2 100 0x%x" % disk.buffer)
        cpu.do("outb 0x3ff 0x77")
        cpu.do("outb 0x64 0x60")
        cpu.do("outb 0x60 0x47")
        cpu.do("outb 0x64 0xd2")
        cpu.do("outb 0x60 0x1c")
        cpu.until("irqstate 1", 1, 1)
        memory, lines = cpu.ask("memory"), cpu.ask("lines")
        qmp = own.qmp()
        qmp.ok("stop")
        with open(tmp + "/qemu-save", "wb") as f:
            want("return" in save(qmp, f.fileno()), "save")
        own.end_dm()
        want(cpu.ask("servers") == [], "the old ioreq server is there:", cpu.ask("servers"))
        want(cpu.ask("memory") == memory, "the guest's memory:", memory, cpu.ask("memory"))
        want(cpu.ask("lines") == lines, "interrupt lines:", lines, cpu.ask("lines"))
        own.xs("write", NODE, "")
        with open(tmp + "/qemu-save", "rb") as f:
            own.start(f.fileno())
        qmp = own.qmp()
        want(qmp.ok("query-status")["status"] == "paused", qmp.ok("query-status"))
        qmp.ok("cont")
        want(cpu.ask("memory") == memory and cpu.ask("lines") == lines, memory, cpu.ask("memory"), lines, cpu.ask("lines"))
        cpu.do("ins 0x1f0 2 156 0x%x" % (disk.buffer + 200))
        cpu.expect("readl 0x%x" % (disk.buffer + 508), 7)
        disk.ready()
        cpu.do("ins 0x1f0 2 256 0x%x" % disk.buffer)
        cpu.expect("readl 0x%x" % disk.buffer, 8)
        cpu.expect("inb 0x3ff", 0x77)
        cpu.expect("inb 0x60", 0x1c)
        cpu.expect("irqstate 1", 0)
        for address in (0xa0010, 0xf0000010):
            cpu.expect("readl 0x%x" % address, 0x11223344)
        cpu.expect("readl 0xa0020", 0x55667788)
        want(disk.dma(100) == FINE, "the disk after")
        own.end_dm()
        want(cpu.ask("servers") == [], cpu.ask("servers"))
    finally:
        own.xenemu.terminate()
        out = own.xenemu.communicate(timeout=PATIENCE)[0]
        if own.dm.poll() is None:
            own.dm.kill()
    want("LEAK" not in out, out)


if __name__ == "__main__":
    sys.exit(tap([test_no_place, test_full_file_system, test_soft_reset]))
