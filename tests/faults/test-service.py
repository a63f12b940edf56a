#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A running xendm under faults of Xen and xenstore: the guest gets the chip's answer, the admin a log line and, for disks,
an event, and everything else goes on. TAP."""
import os
import re
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True     # the source tree stays clean
from faults import CTL, PATIENCE, Cpu, Disk, Machine, Skip, XENDM, image, tap, want

ABORTED = (0x51, 4, 6)          # ERR with ABRT; the bus master has an error and an interrupt
FINE = (0x50, 0, 4)
MIB = 1 << 20


def machine(tmp, *options, **kw):
    image(tmp + "/hda", 1 << 20)
    image(tmp + "/hdb", 1 << 20)
    m = Machine(tmp, "--disk", tmp + "/hda", "--disk", tmp + "/hdb", *options, **kw)
    return m, Disk(m.cpu)


def counters(m, topic, name):
    return int(re.search(name + r"[: ]+(\d+)", m.qmp.hmp("info " + topic)).group(1))


def serves(m):
    """Another device, the monitor, and the other disk."""
    m.cpu.do("outb 0x3ff 0x5a")
    m.cpu.expect("inb 0x3ff", 0x5a)
    want(m.qmp.ok("query-status")["running"], "not running")
    other = Disk(m.cpu, 0, 1)
    want(other.dma(40) == FINE, "the other disk")
    m.cpu.expect("readl 0x%x" % other.buffer, 40)


def test_map(tmp):
    """guest memory that cannot be mapped: a DMA read and a DMA write end with an error, and the next ones work"""
    m, disk = machine(tmp)
    for n, (write, errno, text) in enumerate(((False, "ENOMEM", "Cannot allocate memory"), (True, "EAGAIN", "temporarily"),
                                              (False, "EPERM", "Input/output error"), (True, "EINVAL", "Input/output error"))):
        buffer = (8 + n) * MIB          # nothing there is mapped yet, the descriptors are
        want(disk.dma(0) == FINE, "before")
        m.cpu.do("memset 0x%x 0x1000 0xee" % buffer)
        m.cpu.fault("map count=all errno=" + errno)
        got = disk.dma(16, 8, write, [(buffer, 4096)])
        want(got == ABORTED, "write" if write else "read", errno, got)
        m.cpu.do("outb 0x3ff 0x5a")
        m.cpu.expect("inb 0x3ff", 0x5a)
        disk.command(0x20, 7, 1)
        want(disk.ready() == (0x58, 0), "PIO needs no mapping")
        m.cpu.expect("inw 0x1f0", 7)
        for _ in range(127):
            m.cpu.do("inl 0x1f0")
        m.cpu.do("inw 0x1f0")
        m.cpu.ask("fault clear")
        event = m.qmp.event("BLOCK_IO_ERROR") if m.qmp.ok("query-status") else None
        want(event["device"] == "ide0-hd0" and event["operation"] == ("write" if write else "read")
             and event["action"] == "report" and text in event["reason"] and not event["nospace"], event)
        m.logged("warning ide: ide0-hd0: guest memory near 0x0*%x cannot be mapped: .*%s" % (buffer, text), 1)
        with open(tmp + "/hda", "rb") as f:
            f.seek(16 * 512)
            want(f.read(4) == (16).to_bytes(4, "little"), "the disk was written")
        want(disk.dma(16, 8, False, [(buffer, 4096)]) == FINE, "after")
        m.cpu.expect("readl 0x%x" % buffer, 16)
    m.logged("error dm: Xen refused to map memory of the domain", times=None)
    want(counters(m, "mapcache", "map errors") >= 4, m.qmp.hmp("info mapcache"))
    serves(m)
    m.end()


def test_map_retry(tmp):
    """short of memory for one more mapping: what is not in use is given back, and the guest notices nothing"""
    m, disk = machine(tmp)
    want(disk.dma(0) == FINE, "before")
    m.cpu.fault("map errno=ENOMEM")
    want(disk.dma(16, 8, False, [(9 * MIB, 4096)]) == FINE and m.cpu.hits() == {"map": 1}, m.cpu.hits())
    m.cpu.expect("readl 0x%x" % (9 * MIB), 16)
    serves(m)
    m.end()


def test_missing_pages(tmp):
    """pages that do not map, in the buffer and below the descriptor table, are the guest's error: no event"""
    m, disk = machine(tmp)
    buffer, table = 16 * MIB, 20 * MIB
    m.cpu.fault("map gfn=0x%x count=all" % ((buffer >> 12) + 3))
    for write in (False, True):
        got = disk.dma(64, 64, write, [(buffer, 32768)])
        want(got == ABORTED, "a page of the buffer:", got)
    m.cpu.fault("map gfn=0x%x count=all" % (table >> 12))
    want(disk.dma(0, prd=table) == ABORTED, "the descriptor table")
    # The table's first page is there, the second is not: a descriptor before the end of a page, the next one behind it.
    second = table + 4 * MIB + 0x1000
    m.cpu.fault("map gfn=0x%x count=all" % (second >> 12))
    got = disk.dma(0, 16, False, [(disk.buffer, 4096), (disk.buffer + 4096, 4096)], prd=second - 8)
    want(got == ABORTED, "the second page of the table:", got)
    m.cpu.ask("fault clear")
    for address, times in ((buffer + 0, 2), (table, 1), (second, 1)):
        m.logged(r"guest ide: ide0-hd0: bus master met an error near 0x0*%x: Bad address" % address, times)
    want(disk.dma(64, 64, False, [(buffer, 32768)]) == FINE and disk.dma(0, prd=table) == FINE, "after")
    m.cpu.expect("readl 0x%x" % (buffer + 3 * 4096), 64 + 24)
    want(counters(m, "mapcache", "holes hit") >= 3, m.qmp.hmp("info mapcache"))
    serves(m)
    want(not [e for e in m.qmp.events if e["event"] == "BLOCK_IO_ERROR"], m.qmp.events)
    m.end()


def test_balloon(tmp):
    """ballooned pages: DMA to and from them, a descriptor table in one, string instructions; back again they serve"""
    m, disk = machine(tmp)
    page = 24 * MIB
    want(disk.dma(8, 8, False, [(page, 4096)]) == FINE, "before")
    m.cpu.ask("balloon 0x%x 1" % (page >> 12))
    for write in (False, True):
        want(disk.dma(8, 8, write, [(page, 4096)]) == ABORTED, "a page that is not there")
    want(disk.dma_go(8, 8, False, page) == ABORTED, "the descriptor table")
    # The first half of the sector has a place, the second has none; the drive's data is gone all the same.
    disk.command(0x20, 5, 1)
    disk.ready()
    m.cpu.do("ins 0x1f0 2 256 0x%x" % (page - 256))
    m.cpu.expect("readl 0x%x" % (page - 256), 5)
    want(disk.ready() == (0x50, 0), "the drive waits for more")
    disk.command(0x30, 6, 1)
    disk.ready()
    m.cpu.do("outs 0x1f0 2 256 0x%x" % page)
    want(disk.ready() == (0x50, 0), "the drive waits for more")
    want(re.search("without memory: [1-9]", m.qmp.hmp("info ioreq")), m.qmp.hmp("info ioreq"))
    m.cpu.ask("populate 0x%x 1" % (page >> 12))
    want(disk.dma(8, 8, False, [(page, 4096)]) == FINE, "after")
    m.cpu.expect("readl 0x%x" % page, 8)
    m.logged("guest ioreq: ")
    serves(m)
    m.end()


def test_string_unmapped(tmp):
    """a string instruction whose memory the host cannot map"""
    m, disk = machine(tmp)
    m.cpu.fault("map count=all")
    disk.command(0x20, 5, 1)
    disk.ready()
    m.cpu.do("ins 0x1f0 2 256 0x%x" % (30 * MIB))
    want(disk.ready() == (0x50, 0), "the drive waits for more")
    m.cpu.ask("fault clear")
    m.logged("error dm: Xen refused to map memory of the domain")
    want(disk.pio_read(5) == (0x50, 0), "after")
    serves(m)
    m.end()


def test_interrupts(tmp):
    """an interrupt that cannot be raised, one that cannot be lowered: said in the log, and the next ones come"""
    m, disk = machine(tmp)
    m.cpu.do("outb 0x3f6 0")
    for level in (1, 2):                # the call that raises, the call that lowers
        m.cpu.do("inb 0x1f7")
        m.cpu.expect("irqstate 14", 0)
        m.cpu.fault("set-isa-irq-level nth=%d errno=EIO" % level)
        disk.command(0xe7)
        m.cpu.until("inb 0x3f6", 0x80, 0)
        m.cpu.expect("irqstate 14", level - 1)
        m.cpu.expect("inb 0x1f7", 0x50)
        want(m.cpu.hits() == {"set-isa-irq-level": 1}, m.cpu.hits())
        m.cpu.ask("fault clear")
        disk.command(0xe7)
        m.cpu.until("inb 0x3f6", 0x80, 0)
        m.cpu.expect("irqstate 14", 1)
        m.cpu.expect("inb 0x1f7", 0x50)
        m.cpu.expect("irqstate 14", 0)
    m.logged("error dm: Xen refused to set an ISA interrupt level", 2)
    m.cpu.fault("set-pci-link-route errno=EIO")
    m.cpu.do("pciwrite 00:01.0 0x60 1 5")
    m.cpu.expect("pciread 00:01.0 0x60 1", 5)
    m.logged("error dm: Xen refused to route a PCI link", 1)
    m.cpu.do("pciwrite 00:01.0 0x60 1 0x80")
    m.cpu.do("pciwrite 00:01.0 0x60 1 5")
    want("route=5,0,0,0" in m.cpu.ask("lines"), m.cpu.ask("lines"))
    serves(m)
    want(counters(m, "hypervisor", "failed") == 3, m.qmp.hmp("info hypervisor"))
    m.end()


def test_ranges(tmp):
    """a BAR that Xen does not forward reads as nobody's, until it is placed again; video memory that cannot be moved"""
    m, disk = machine(tmp)
    vga = next(s for s in range(32) if m.cpu.do("pciread 00:%02x.0 8 4" % s) >> 16 == 0x0300)

    def write(reg, value, size=4):
        m.cpu.do("pciwrite 00:%02x.0 0x%x %d 0x%x" % (vga, reg, size, value))

    write(4, 3, 2)
    m.cpu.fault("map-io-range errno=EPERM")
    write(0x18, 0xf3000000)
    m.cpu.expect("readl 0xf3000504", 0xffffffff)
    want(m.cpu.hits() == {"map-io-range": 1}, m.cpu.hits())
    m.logged("error dm: Xen refused to forward a memory range .0xf3000000", 1)
    m.cpu.ask("fault clear")
    write(0x18, 0xf3001000)
    want(m.cpu.do("readw 0xf3001500") == 0xb0c5, "the registers of the display", hex(m.cpu.do("readw 0xf3001500")))
    m.cpu.fault("unmap-io-range errno=EPERM")
    write(0x18, 0xf3002000)
    want(m.cpu.do("readw 0xf3002500") == 0xb0c5, "the registers of the display")
    m.cpu.expect("readl 0xf3001500", 0xffffffff)         # still forwarded, and nobody's
    m.logged("error dm: Xen refused to stop forwarding a memory range", 1)
    m.cpu.ask("fault clear")
    # Linear frame buffer: memory of the guest, which Xen moves.
    for op, value in ((4, 0), (1, 640), (2, 480), (3, 32), (4, 0x41)):
        m.cpu.do("outw 0x1ce %d" % op)
        m.cpu.do("outw 0x1cf %d" % value)
    m.cpu.do("writel 0xa0000 0x11223344")
    m.cpu.fault("relocate-memory errno=EBUSY")
    write(0x10, 0xf0000000)
    m.logged("error dm: Xen refused to move memory of the domain", 1)
    m.logged("guest display: VGA: video memory stays at gfn 0x\\w+: cannot move it to 0xf0000: Device or resource busy", 1)
    m.cpu.expect("readl 0xa0000", 0x11223344)
    m.cpu.ask("fault clear")
    m.cpu.fault("pin-memory-cacheattr errno=EINVAL")
    write(0x10, 0xf1000000)
    m.cpu.expect("readl 0xf1000000", 0x11223344)
    m.logged("error dm: Xen refused to set the caching of memory", 1)
    m.cpu.do("inb 0x3da")
    m.cpu.do("outb 0x3c0 0x20")         # the screen is on
    m.cpu.do("writel 0xf1000000 0x00ff0000")
    m.qmp.hmp("screendump %s/screen.ppm" % tmp)
    with open(tmp + "/screen.ppm", "rb") as f:
        want(f.read().split(b"255\n", 1)[1][:3] == b"\xff\0\0", "the picture")
    serves(m)
    m.end()


def test_log_dirty(tmp):
    """a page that cannot be reported as written during a live migration is an error in the log"""
    m, disk = machine(tmp)
    m.qmp.ok("xen-set-global-dirty-log", enable=True)
    m.cpu.fault("modified-memory errno=EPERM")
    want(disk.dma(8) == FINE, "DMA")
    m.logged("error dm: Xen refused to mark memory as modified", 1)
    m.cpu.ask("dirty modified")
    want(disk.dma(8) == FINE and "0x%x+0x1" % (disk.buffer >> 12) in m.cpu.ask("dirty modified"), "the next one")
    serves(m)
    m.end()


def test_power(tmp):
    """a reset and a sleep that Xen refuses: the guest runs on, and its next attempt works"""
    m, disk = machine(tmp)
    pm = next(s for s in range(8) if m.cpu.do("pciread 00:01.%d 0 4" % s) == 0x71138086)
    m.cpu.do("pciwrite 00:01.%d 0x40 4 0xb001" % pm)
    m.cpu.do("pciwrite 00:01.%d 0x80 1 1" % pm)
    m.cpu.fault("param-set errno=EPERM")
    m.cpu.do("outw 0xb004 0x2400")      # S3
    want(m.cpu.ask("state") == ["running"] and m.qmp.ok("query-status")["status"] == "running", m.cpu.ask("state"))
    want(m.cpu.hits() == {"param-set": 1}, "no S3 was tried:", m.cpu.hits())
    m.logged("the guest asks for S3, which the hypervisor refuses us", 1)
    m.cpu.ask("fault clear")
    serves(m)
    m.cpu.fault("remote-shutdown errno=EPERM")
    m.cpu.do("outb 0xcf9 2")
    m.cpu.do("outb 0xcf9 6")
    want(m.cpu.ask("state") == ["running"], m.cpu.ask("state"))
    m.logged("error dm: Xen refused to shut the domain down", 1)
    m.cpu.expect("inb 0x3fd", 0x60)
    m.cpu.ask("fault clear")
    m.cpu.do("outb 0xcf9 2")
    m.cpu.do("outb 0xcf9 6")
    deadline = time.monotonic() + PATIENCE
    while m.cpu.ask("state") != ["shutdown", "reboot"]:
        want(time.monotonic() < deadline, m.cpu.ask("state"))
    m.end()


def test_lost_event(tmp):
    """an event that is lost on the way: the access is served with the next one of any CPU"""
    m, disk = machine(tmp, "--vcpus", "2")
    first, second = Cpu(m.path, 0), Cpu(m.path, 1)
    time.sleep(.05)                     # nobody looks at the slots any more
    m.cpu.fault("event")
    first.send("inb 0x3fd")
    time.sleep(.2)
    want(m.cpu.hits() == {"event": 1}, m.cpu.hits())
    second.expect("inb 0x3fd", 0x60)
    want(first.answer() == ["0x%04x" % 0x60], "the first one's answer")
    serves(m)
    m.end()


def test_xenstore(tmp):
    """xenstore says EAGAIN: a clock offset is not stored, a command is not seen, and both are said"""
    m, disk = machine(tmp, "--xs-faults")

    # libxl makes this one; xenemu has no use for it.
    m.xs("write", "/local/domain/1/vm", "/vm/1", "/vm/1/name", "one")
    tools = m.xs("read", "/vm/1/name") == "one"

    def stored(offset):
        deadline = time.monotonic() + PATIENCE
        while m.xs("read", "/vm/1/rtc/timeoffset") != str(offset):
            want(time.monotonic() < deadline, offset, "is not stored")
            time.sleep(0.02)

    if tools:
        m.cpu.ask("timeoffset 30")
        stored(30)
        m.cpu.fault("xs-write errno=EAGAIN")
        m.cpu.ask("timeoffset 7200")
        m.await_log("warning xenstore: cannot write /vm/1/rtc/timeoffset: Resource temp")
        want(m.cpu.hits() == {"xs-write": 1}, m.cpu.hits())
        m.cpu.ask("fault clear")
        m.cpu.ask("timeoffset 60")
        stored(60)
    if tools:
        before = counters(m, "mapcache", "invalidations")
        m.cpu.fault("xs-read count=all errno=EAGAIN")
        m.xs("write", "/local/domain/0/device-model/1/command", "flush-cache")
        m.await_log("warning xenstore: cannot read the toolstack's command: Resource temp")
        m.cpu.ask("fault clear")
        m.xs("write", "/local/domain/0/device-model/1/command", "flush-cache")
        deadline = time.monotonic() + PATIENCE
        while counters(m, "mapcache", "invalidations") != before + 1:
            want(time.monotonic() < deadline, "the command was not seen")
    serves(m)
    m.end()


def test_xenstored_stopped(tmp):
    """xenstored is stopped: the guest sets its clock and runs on, QMP answers, and the last offset is stored afterwards"""
    m, disk = machine(tmp)
    m.xs("write", "/local/domain/1/vm", "/vm/1", "/vm/1/rtc/timeoffset", "0")
    if m.xs("read", "/local/domain/1/vm") != "/vm/1":
        raise Skip("no xenstore-write")
    m.qmp.ok("query-status")
    pid = child(m, b"xenstored")
    os.kill(pid, signal.SIGSTOP)
    try:
        for offset in (100, 200, 300):
            m.cpu.ask("timeoffset %d" % offset)
            want(m.qmp.event("RTC_CHANGE")["offset"] == offset, "no event")
            serves(m)
    finally:
        os.kill(pid, signal.SIGCONT)
    deadline = time.monotonic() + PATIENCE
    while m.xs("read", "/vm/1/rtc/timeoffset") != "300":
        want(time.monotonic() < deadline, "the last offset is not stored")
        time.sleep(.02)
    m.end()


def test_xenstored_stops_behind_an_event(tmp):
    """xenstored stops between telling of a change and saying what it is: the guest and QMP go on, what changed is seen later, and an end is an end"""
    m, disk = machine(tmp)
    m.xs("write", "/local/domain/1/vm", "/vm/1")
    if m.xs("read", "/local/domain/1/vm") != "/vm/1":
        raise Skip("no xenstore-write")
    m.qmp.ok("query-status")
    pid = child(m, b"xenstored")
    for place in ("/vm/2", "/vm/3"):
        os.kill(m.pid(), signal.SIGSTOP)
        m.xs("write", "/local/domain/1/vm", place)
        os.kill(pid, signal.SIGSTOP)
        os.kill(m.pid(), signal.SIGCONT)
        for _ in range(3):
            serves(m)
        if place == "/vm/3":
            break
        m.logged("xenstored does not answer", 1)
        os.kill(pid, signal.SIGCONT)
        m.await_log("xenstored answers again")
        m.cpu.ask("timeoffset 100")
        deadline = time.monotonic() + PATIENCE
        while m.xs("read", "/vm/2/rtc/timeoffset") != "100":
            want(time.monotonic() < deadline, "the offset is not stored where it belongs now")
            time.sleep(.02)
    m.logged("xenstored does not answer", 2)
    dm = m.pid()
    os.kill(dm, signal.SIGHUP)
    try:
        await_end(dm)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_files_hang(tmp):
    """the process that opens files gets stuck in one: the command says so, guest and monitor go on, and when it comes back it is asked again"""
    for name in ("one", "two", "three"):
        with open(tmp + "/%s.iso" % name, "wb") as f:
            f.truncate(1 << 20)
    m, disk = machine(tmp, "--cdrom", tmp + "/one.iso")

    def change(name):
        return m.qmp.ask("blockdev-change-medium", id="ide-5632", filename=tmp + "/%s.iso" % name, format="raw")

    def medium():
        return [d["inserted"]["file"] for d in m.qmp.ok("query-block") if d["device"] == "ide-5632"]

    want("return" in change("two") and medium() == [tmp + "/two.iso"], medium())
    broker = children(m.pid())[0]
    os.kill(broker, signal.SIGSTOP)
    try:
        for _ in range(20):         # of which the first waits
            answer = change("three")
            want("error" in answer and "three.iso" in answer["error"]["desc"] and "timed out" in answer["error"]["desc"], answer)
            serves(m)
        want(medium() == [tmp + "/two.iso"], medium())
        m.logged("does not answer for " + tmp + "/three.iso", 1)
    finally:
        os.kill(broker, signal.SIGCONT)
    deadline = time.monotonic() + PATIENCE
    while "error" in change("three"):
        want(time.monotonic() < deadline, "it is not asked any more")
        time.sleep(.02)
    want(medium() == [tmp + "/three.iso"], medium())
    m.logged("goes on", 1)
    serves(m)
    os.kill(broker, signal.SIGSTOP)
    dm = m.pid()
    try:
        os.kill(dm, signal.SIGHUP)
        await_end(dm)
    finally:
        os.kill(broker, signal.SIGCONT)


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(x) for x in f.read().split()]


def child(m, word):
    for pid in children(m.proc.pid):
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            if word in f.read():
                return pid
    raise AssertionError("no process with %r" % word)


def await_end(pid):
    """Of a process whose parent may not have looked yet."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with open("/proc/%d/stat" % pid) as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return
        except OSError:
            return
        want(time.monotonic() < deadline, "process", pid, "stays")
        time.sleep(.01)


def cpu_time(pid):
    return time.clock_gettime((~pid << 3) | 2)


def test_no_xenstored(tmp):
    """xenstored dies: the guest runs on, an update is refused and changes nothing, and the end comes by SIGHUP"""
    m, disk = machine(tmp)
    os.kill(child(m, b"xenstored"), signal.SIGKILL)
    serves(m)
    m.cpu.ask("timeoffset 60")
    want(m.qmp.event("RTC_CHANGE")["offset"] == 60, "no event")
    m.await_log("error xenstore: lost the connection to xenstored")
    m.await_log("warning xenstore: cannot (store the guest's clock offset|write .*/rtc/timeoffset)")
    pid = m.pid()
    run = subprocess.run([CTL, "update", os.path.join(m.dir, "qmp-libxl-1"), "--binary", XENDM], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    want(run.returncode == 1 and "cannot connect to xenstored" in run.stdout, run.returncode, run.stdout)
    want(m.pid() == pid, "another process")
    serves(m)
    before = cpu_time(pid)
    time.sleep(.3)
    want(cpu_time(pid) - before < .02, "it spins")
    os.kill(pid, signal.SIGHUP)
    await_end(pid)
    m.logged("going away: Hangup", 1)
    want("Sanitizer" not in m.log(), m.log())
    m.kill()


def test_no_events(tmp):
    """Xen's event channels break: it is said once, nothing spins, the monitor answers, and it can be ended"""
    m, disk = machine(tmp)
    pid = m.pid()
    os.kill(child(m, b"host"), signal.SIGKILL)
    m.await_log("error ioreq: reading event channels: .*; the guest's accesses are not served any more")
    m.logged("reading event channels", 1)
    want(m.qmp.ok("query-status"), "QMP")
    before = cpu_time(pid)
    time.sleep(.3)
    want(cpu_time(pid) - before < .02, "it spins")
    m.qmp.sock.sendall(b'{"execute": "quit"}\n')
    await_end(pid)
    m.logged("going away: quit", 1)
    want("Sanitizer" not in m.log(), m.log())
    m.kill()


def test_end(tmp):
    """ending and failing to start with calls that give back failing, too"""
    m, disk = machine(tmp)
    for op in ("evtchn-unbind", "destroy-ioreq-server", "set-ioreq-server-state"):
        m.cpu.fault(op + " count=all errno=EIO")
    m.proc.send_signal(signal.SIGTERM)
    out = m.proc.stdout.read()
    m.proc.wait(timeout=60)
    want("exited with" not in out and "killed" not in out, out)
    m.logged("going away: Hangup|directory", times=None)
    m = Machine(tmp, "--disk", tmp + "/hda", "--fault", "populate,nth=2,errno=ENOMEM,count=all", "--fault",
                "decrease,count=all,errno=EIO", may_fail=True)
    want(not m.path and "exited with status 1" in m.out, m.out)
    lines = m.log().splitlines()
    want(lines and re.match("xendm: VGA: the domain cannot have 16 MiB of video memory", lines[-1]), m.log())
    m.proc.stdout.read()
    m.proc.wait(timeout=60)


if __name__ == "__main__":
    sys.exit(tap([test_map, test_map_retry, test_missing_pages, test_balloon, test_string_unmapped, test_interrupts,
                  test_ranges, test_log_dirty, test_power, test_lost_event, test_xenstore, test_xenstored_stopped, test_xenstored_stops_behind_an_event,
                  test_no_xenstored, test_files_hang, test_no_events, test_end]))
