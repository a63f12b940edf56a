#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""xendmctl why: guests that hang, each of something else that was planted, and its first sentence, which says of what; and guests
that do not, which are left in peace. TAP."""
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True     # the source tree stays clean
from faults import PATIENCE, Disk, Hanging, Machine, OurOwn, Skip, ctl, image, save, server_of, tap, until, want
from front import RING, Front

FINE = "nothing that can be seen from here keeps it from going on"


def verdict(m, *patterns, words=()):
    """The first sentence, once it has all that; the rest after it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        text = ctl(m, "why", "1", *words)
        if all(re.search(p, text.splitlines()[0]) for p in patterns):
            return text
        want(time.monotonic() < deadline, patterns, "not in the first sentence of", text)
        time.sleep(.05)


def read_begins(m, disk):
    """A read by DMA, of which nobody waits for the end."""
    m.cpu.do("writel 0x%x 0x%x" % (disk.prd, disk.buffer))
    m.cpu.do("writel 0x%x 0x80001000" % (disk.prd + 4))
    m.cpu.do("outl 0x%x 0x%x" % (disk.bm + 4, disk.prd))
    disk.command(0xc8, 64, 8)
    m.cpu.do("outb 0x%x 9" % disk.bm)


def cpu(m, **registers):
    m.cpu.ask("cpu " + " ".join("%s=%s" % item for item in registers.items()))


REAL = {"cr0": 0x10, "msr_efer": 0, "cs_arbytes": 0x9b, "ss_arbytes": 0x93}
FLAT = {"cr0": 0x11, "msr_efer": 0, "cs_arbytes": 0xc9b}
FIRMWARE = dict(REAL, cs_sel=0xf000, cs_base=0xf0000, rip=0xe2c3)
BUSY = {"running": 1, "blocked": 0}


def kernel_tables(m):
    """The first GiB at 0 and at the top, where Linux is."""
    for at, value in ((0x2000, 0x3003), (0x2ff8, 0x3003), (0x3000, 0x83), (0x3ff0, 0x83)):
        m.cpu.do("writeq 0x%x 0x%x" % (at, value))


# ---- disks ----

def test_disk(tmp):
    """a disk that does not answer, of a raw file"""
    h = Hanging(tmp)
    h.set("r")
    read_begins(h.m, h.disk)
    verdict(h.m, "the disk ide0-hd0 has not answered for [0-9.]+ s: 1 requests", tmp + "/hda")
    want("no answer for" in ctl(h.m, "recorder", "1", "--latencies"), "the latencies")
    h.set("")
    h.m.end()


def test_disk_stop(tmp):
    """a stop, as of a save, waits for such a disk"""
    h = Hanging(tmp)
    h.set("r")
    read_begins(h.m, h.disk)
    h.m.qmp.say('{"execute": "stop", "id": 9}')
    text = verdict(h.m, "the disk ide0-hd0", "a stop, a save or a migration waits for them")
    want("a stop is under way" in text, text)
    h.set("")
    want("return" in h.m.qmp.receive(), "the stop")
    h.m.end()


def qcow2(tmp):
    if not shutil.which("qemu-storage-daemon") or not shutil.which("qemu-img"):
        raise Skip("there is no qemu-storage-daemon")
    path = tmp + "/hda.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", image(tmp + "/plain", 1 << 20), path], check=True)
    return path


def test_image_server(tmp):
    """an image server that hangs"""
    path = qcow2(tmp)
    m = Machine(tmp, "--disk", path)
    disk, pid = Disk(m.cpu), server_of(path)
    os.kill(pid, signal.SIGSTOP)
    try:
        read_begins(m, disk)
        verdict(m, "the disk ide0-hd0 has not answered", r"its image server is process %d, is stopped by a signal" % pid)
    finally:
        os.kill(pid, signal.SIGCONT)
    m.end()


def test_nbd_server(tmp):
    """a server of somebody's that is gone, and is tried again"""
    if not shutil.which("qemu-nbd"):
        raise Skip("there is no qemu-nbd")
    server = subprocess.Popen(["qemu-nbd", "-t", "-f", "raw", "-k", tmp + "/nbd", image(tmp + "/served", 1 << 20)])
    until(lambda: os.path.exists(tmp + "/nbd"), "its socket")
    try:
        m = Machine(tmp, "--", "-drive", "file=nbd:unix:%s/nbd,if=ide,index=0,media=disk,format=raw,cache=writeback" % tmp)
        disk = Disk(m.cpu)
        server.kill()
        server.wait()
        read_begins(m, disk)
        verdict(m, "the disk ide0-hd0 has not answered", "nbd")
    finally:
        server.kill()
        server.wait()
    m.end(leaks=True)


def test_disk_errors(tmp):
    """a disk whose requests fail: the guest goes on, and is told so"""
    m = Machine(tmp, "--disk-faults", "--disk", image(tmp + "/hda", 1 << 20))
    disk = Disk(m.cpu)
    m.cpu.fault("disk-read count=all")
    disk.dma(7)
    verdict(m, FINE + "; but [1-9][0-9]* requests to the disk ide0-hd0 failed")
    m.end()


# ---- interrupts ----

def test_lost_interrupt(tmp):
    """an interrupt that Xen did not take"""
    m = Machine(tmp, "--disk", image(tmp + "/hda", 1 << 20))
    disk = Disk(m.cpu)
    m.cpu.fault("set-isa-irq-level errno=EIO")
    read_begins(m, disk)
    verdict(m, "Xen refused 1 interrupts of the device model's: they are lost")
    m.end()


def test_line_high(tmp):
    """an interrupt line that stays high, and nobody serves it"""
    m = Machine(tmp, "--disk", image(tmp + "/hda", 1 << 20))
    read_begins(m, Disk(m.cpu))
    verdict(m, "interrupt line 14 was raised [0-9.]+ s ago and is high still", "the guest has masked it")
    m.cpu.do("inb 0x1f7")
    verdict(m, FINE)
    m.end()


# ---- firmware and vCPUs ----

def test_no_disk(tmp):
    """firmware without a boot device"""
    m = Machine(tmp)
    cpu(m, **FIRMWARE)
    verdict(m, "the firmware found nothing to boot: there is no disk; it waits at f000:e2c3 in real mode")
    m.end()


def test_no_boot_sector(tmp):
    """firmware with a disk that has no boot sector, and an empty CD drive"""
    m = Machine(tmp, "--disk", image(tmp + "/hda", 1 << 20), "--cdrom", "")
    Disk(m.cpu).pio_read(0)
    cpu(m, **FIRMWARE)
    verdict(m, "the firmware found nothing to boot: ", "ide0-hd0 has no boot sector", "is empty")
    m.end()


def test_boot_sector(tmp):
    """a boot sector that stops"""
    m = Machine(tmp, "--disk", image(tmp + "/hda", 1 << 20))
    m.cpu.do("writel 0x7c10 0xf4fdebf4")
    cpu(m, **REAL, cs_sel=0, cs_base=0, rip=0x7c11, rflags=2)
    verdict(m, "vCPU 0 has halted with interrupts off, at 0000:7c11 in real mode, code eb fd f4", "in the boot sector")
    m.end()


def test_halted(tmp):
    """a kernel that halted with interrupts off"""
    m = Machine(tmp)
    cpu(m, **FLAT, rip=0x100000, rflags=2)
    verdict(m, "vCPU 0 has halted with interrupts off, at 0x100000 in 32-bit mode")
    m.end()


def test_spins(tmp):
    """a vCPU that spins in a kernel that is not where it was linked; the symbol is found all the same"""
    m = Machine(tmp, "--vcpus", "2")
    kernel_tables(m)
    m.cpu.do("writew 0x3000100 0xfeeb")
    # the gate of the division error: its handler is at 0xffffffff82001000, 16 MiB behind where the map says
    for at, value in ((0x8000, 0x82008e0000101000), (0x8008, 0xffffffff)):
        m.cpu.do("writeq 0x%x 0x%x" % (at, value))
    with open(tmp + "/map", "w", encoding="ascii") as f:
        f.write("0000000000001000 A not_here\nffffffff81001000 T asm_exc_divide_error\n"
                "ffffffff820000f0 t spin_for_ever\nffffffff82000200 T after\n")
    cpu(m, **BUSY, rip=0xffffffff83000100, idtr_base=0x8000, rflags=2)
    text = verdict(m, r"vCPU 0 spins at 0xffffffff83000100 \(spin_for_ever\+0x10\) in 64-bit mode, code eb fe", "with interrupts off",
                   words=("--system-map", tmp + "/map"))
    want("vCPU 1 idles" in text, text)
    want("no symbol" in ctl(m, "why", "1", "--system-map", "/dev/null", status=1), "an empty map")
    m.end()


def test_polls(tmp):
    """a guest that polls a register for ever"""
    m = Machine(tmp)
    deadline = time.monotonic() + PATIENCE
    while True:
        asked = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(.4)"])
        while asked.poll() is None:
            m.cpu.ask("bench 2000 inb 0x1f7")
        text = []

        def ask(to=text):
            to.append(ctl(m, "why", "1"))
        thread = threading.Thread(target=ask)
        thread.start()
        while thread.is_alive():
            m.cpu.ask("bench 2000 inb 0x1f7")
        if "the guest polls: its accesses all go to 0x1f7 of piix3-ide" in text[0].splitlines()[0]:
            break
        want(time.monotonic() < deadline, text[0])
    m.end()


def test_offline(tmp):
    """no vCPU is there"""
    m = Machine(tmp)
    cpu(m, online=0)
    verdict(m, "none of the guest's 1 vCPUs is online")
    m.end()


# ---- stopped, paused, ended ----

def test_paused(tmp):
    """paused, and whoever did it is gone"""
    m = Machine(tmp)
    m.cpu.ask("pause")
    verdict(m, "the guest is paused in Xen, and no toolstack or debugger is at work on it: xl unpause 1")
    m.cpu.ask("unpause")
    verdict(m, FINE)
    m.end()


def test_paused_by(tmp):
    """paused by a toolstack that is at work on it"""
    m = Machine(tmp)
    m.cpu.ask("pause")
    with subprocess.Popen(["xl", "-c", "read x; :", "xenemu1"], executable="/bin/sh", stdin=subprocess.PIPE) as xl:
        verdict(m, r"the guest is paused in Xen, and at work on it is process %d \(xl " % xl.pid)
        xl.communicate(b"\n")
    m.end()


def test_shut_down(tmp):
    """it has powered itself off and is kept"""
    m = Machine(tmp)
    m.cpu.ask("shutdown 0")
    verdict(m, "the guest has shut down, and is kept: it powered itself off, or its last vCPU halted with interrupts off; no xl watches it")
    with open(tmp + "/xl-xenemu1.log", "w", encoding="ascii") as log, subprocess.Popen(
            ["xl", "-c", "read x; :", "/etc/xen/xenemu1.cfg"], executable="/bin/sh", stdin=subprocess.PIPE, stdout=log) as xl:
        verdict(m, r"it powered itself off, .*; xl keeps it \(on_poweroff, on_reboot, on_crash\): process %d \(xl " % xl.pid)
        xl.communicate(b"\n")
    m.end()


def test_crashed(tmp):
    """it crashed, and what Xen said of it"""
    m = Machine(tmp)
    m.cpu.ask("crash Triple fault - invoking HVM shutdown action 1")
    text = verdict(m, "the guest has shut down, and is kept: it crashed; Xen says: d1v0 Triple fault")
    want("vCPU 0 stands at" in text, text)
    m.end()


def test_stopped(tmp):
    """stopped by the monitor"""
    m = Machine(tmp)
    m.qmp.ok("stop")
    verdict(m, r"the machine is stopped: by the monitor \(stop\); cont lets it go on; no toolstack")
    m.end()


def test_migration(tmp):
    """a migration that stays in a phase: memory, then devices' state, then nobody says what next"""
    m = Machine(tmp)
    m.qmp.ok("xen-set-global-dirty-log", enable=True)
    text = verdict(m, FINE)
    until(lambda: "copies its memory while it runs" in ctl(m, "why", "1"), text)
    m.qmp.ok("stop")
    verdict(m, "stopped for a save or migration, which still copies memory and has not asked for the devices' state")
    with open(tmp + "/state", "wb") as f:
        want("return" in save(m.qmp, f.fileno()), "a save")
    verdict(m, "its state was saved: a save or migration is in its last phase")
    m.qmp.ok("cont")
    m.qmp.ok("xen-set-global-dirty-log", enable=False)
    verdict(m, FINE + "$")
    m.end()


def test_never_started(tmp):
    """the toolstack has not said cont"""
    m = OurOwn(tmp)
    m.argv.append("-S")
    m.env["XENDM_STATUS_DIR"] = m.dir
    starting = threading.Thread(target=m.start)
    starting.start()                            # until it says that it runs, for which it waits for cont
    until(lambda: os.path.exists(m.dir + "/qmp-libxl-1") and os.path.exists(m.dir + "/1"), "its page")
    with m.qmp() as qmp:
        verdict(m, "the machine was never started: the toolstack has not said cont")
        qmp.ok("cont")
        starting.join()
        verdict(m, FINE)
    m.end_dm()
    m.xenemu.terminate()
    m.xenemu.communicate()


# ---- the host ----

def test_process(tmp):
    """the device model is stopped by a signal"""
    m = Machine(tmp)
    pid = m.pid()
    os.kill(pid, signal.SIGSTOP)
    verdict(m, "the device model, process %d, is stopped by a signal" % pid)
    os.kill(pid, signal.SIGCONT)
    verdict(m, FINE)
    m.end()


def test_killed(tmp):
    """the device model was killed"""
    m = Machine(tmp)
    os.kill(m.pid(), signal.SIGKILL)
    verdict(m, "the device model is gone and did not say why")
    want("gone" in ctl(m, "status"), ctl(m, "status"))
    m.kill()


def test_turn(tmp):
    """the device model itself hangs: it writes a state to somebody who does not read"""
    m = Machine(tmp)
    m.qmp.ok("stop")
    there, here = os.pipe()
    os.set_blocking(here, False)
    try:
        while True:
            os.write(here, bytes(65536))
    except BlockingIOError:
        pass
    os.set_blocking(here, True)
    name = m.qmp.ask("add-fd", fd=here)["return"]["fdset-id"]
    m.qmp.say('{"execute": "xen-save-devices-state", "arguments": {"filename": "/dev/fdset/%d"}, "id": 7}' % name)
    verdict(m, "the device model itself hangs: for [0-9.]+ s now in one turn of its loop, in '[a-z]", "waits in the kernel")
    os.close(there)
    os.close(here)
    m.kill()


def xenstored_of(m):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as f, open("/proc/%s/comm" % pid, encoding="ascii") as c:
                if c.read().strip() == "xenstored" and ("XENSTORED_RUNDIR=%s\0" % m.dir).encode() in f.read() + b"\0":
                    return int(pid)
        except OSError:
            continue
    raise AssertionError("no xenstored")


def test_xenstored(tmp):
    """xenstored is stopped"""
    m = Machine(tmp)
    pid = xenstored_of(m)
    os.kill(pid, signal.SIGSTOP)
    try:
        verdict(m, "xenstored, process %d, is stopped by a signal or a debugger .*, does not answer" % pid)
    finally:
        os.kill(pid, signal.SIGCONT)
    verdict(m, FINE)
    m.end()


def test_pty(tmp):
    """a pseudo-terminal that nobody reads is full"""
    m = Machine(tmp, serial="pty")
    m.cpu.ask("bench 9000 outb 0x3f8 65")
    verdict(m, FINE + r"; but [1-9][0-9]* bytes that it wrote to serial0 \(pty:/dev/pts/[0-9]+\) were dropped")
    with open(ctl_pty(m), "rb"):            # somebody looks in, and reads nothing
        until(lambda: m.cpu.ask("bench 9000 outb 0x3f8 65") and m.cpu.do("inb 0x3fd") & 0x60 == 0, "it is not full")
        verdict(m, r"what the guest writes to serial0 \(pty:/dev/pts/[0-9]+\) waits for [0-9.]+ s: whoever has that open does not read")
    m.end()


def ctl_pty(m):
    return [c["filename"] for c in m.qmp.ok("query-chardev") if c["label"] == "serial0"][0][4:]


# ---- PV devices ----

def test_ring(tmp):
    """a ring that lies"""
    m = Machine(tmp)
    front = Front(m, 51728).add("aio:" + image(tmp + "/pv", 1 << 20)).state(2).connect()
    front.write(front.front + "/state", 4)
    verdict(m, FINE)
    m.cpu.ask("writel 0x%x 0x7fffffff" % (RING << 12))
    m.cpu.ask("evtchn send %s" % front.port)
    verdict(m, "the PV device qdisk 51728 is served no more: its front end broke the rules")
    m.end(leaks=True)


def test_back_end(tmp):
    """a front end that waits for a back end that never comes"""
    m = Machine(tmp)
    front = Front(m, 51728)
    front.xenstore("write", front.front + "/backend", "/local/domain/0/backend/vbd/1/51728", front.front + "/state", 3,
                   "/local/domain/0/backend/vbd/1/51728/state", 2, "/local/domain/0/backend/vbd/1/51728/hotplug-error",
                   "losetup failed")
    verdict(m, "the guest's PV device vbd 51728 is initialised, and its back end is waiting: it has not answered; losetup failed")
    m.end()


# ---- guests that are well ----

def healthy(m, *patterns):
    text = verdict(m, "^xenemu1: " + FINE + "$")
    for pattern in patterns:
        want(re.search(pattern, text), pattern, "not in", text)


def test_idle(tmp):
    """well: idle, with the timer of its APIC armed"""
    m = Machine(tmp)
    m.cpu.do("writel 0xfee00320 0x200ec")
    m.cpu.do("writel 0xfee00380 0x10000")
    m.cpu.do("outb 0x70 0x12")
    healthy(m, "vCPU 0 idles at", "the timer of its local APIC is armed")
    m.end()


def test_computing(tmp):
    """well: one vCPU computes, one runs a program's loop"""
    m = Machine(tmp, "--vcpus", "2")
    cpu(m, **BUSY, wander=0x1000)
    m.cpu.ask("vcpu 1")
    cpu(m, **BUSY, ss_arbytes=0xcf3, cs_arbytes=0xafb)
    healthy(m, "vCPU 0 computes", "vCPU 1 computes")
    m.end()


def test_reading(tmp):
    """well: it has read from its disk and from its CD"""
    m = Machine(tmp, "--disk", image(tmp + "/hda", 1 << 20), "--cdrom", image(tmp + "/cd", 1 << 20))
    want(Disk(m.cpu).dma(7)[:2] == (0x50, 0), "a read")
    healthy(m, "the guest's last access to an emulated device was .* of piix3-ide")
    m.end()


def test_booting(tmp):
    """well: still in its firmware, with a disk that boots"""
    path = image(tmp + "/hda", 1 << 20)
    with open(path, "r+b") as f:
        f.seek(510)
        f.write(b"\x55\xaa")
    m = Machine(tmp, "--disk", path)
    Disk(m.cpu).pio_read(0)
    cpu(m, **FIRMWARE)
    healthy(m, "still in its firmware, at f000:e2c3 in real mode")
    m.end()


def test_back_again(tmp):
    """well: after pause and stop, a save, and a live update"""
    m = Machine(tmp)
    m.cpu.ask("pause")
    m.qmp.ok("stop")
    with open(tmp + "/state", "wb") as f:
        want("return" in save(m.qmp, f.fileno()), "a save")
    m.qmp.ok("cont")
    m.cpu.ask("unpause")
    healthy(m)
    m.qmp.ok("xendm-update")
    m.cpu.do("outb 0x70 0x12")
    healthy(m)
    m.end()


def test_offline_one(tmp):
    """well: one of two vCPUs is off"""
    m = Machine(tmp, "--vcpus", "2")
    m.cpu.ask("vcpu 1")
    cpu(m, online=0)
    healthy(m, "vCPU 0 idles")
    m.end()


def test_pv(tmp):
    """well: its disk is a PV one, and works"""
    m = Machine(tmp)
    front = Front(m, 51728).add("aio:" + image(tmp + "/pv", 1 << 20)).state(2).connect()
    front.write(front.front + "/state", 4)
    want(front.read(9) == 9, "a read")
    healthy(m)
    m.end(leaks=True)


def test_talking(tmp):
    """well: it talks by a serial port that is read, and polls its line status between"""
    m = Machine(tmp, serial="file:%s/serial" % tmp)
    for _ in range(700):
        m.cpu.do("inb 0x3fd")
        m.cpu.do("inb 0x3fd")
        m.cpu.do("outb 0x3f8 65")
    healthy(m, "of serial")
    m.end()


def test_received(tmp):
    """well: it was restored from a saved state, and goes on"""
    m = Machine(tmp)
    m.qmp.ok("stop")
    with open(tmp + "/state", "wb") as f:
        want("return" in save(m.qmp, f.fileno()), "a save")
    m.end()
    m = Machine(tmp, "--incoming", tmp + "/state", "--populate", "0x1f000+4096")
    healthy(m)
    m.end()


def test_network(tmp):
    """well: with a network card whose link is up"""
    m = Machine(tmp, "--", "-device", "rtl8139,id=nic0,netdev=net0,mac=00:16:3e:00:00:01", "-netdev",
                "socket,id=net0,listen=127.0.0.1:0")
    healthy(m)
    m.end()


HANGS = [test_disk, test_disk_stop, test_image_server, test_nbd_server, test_disk_errors, test_lost_interrupt, test_line_high, test_no_disk,
         test_no_boot_sector, test_boot_sector, test_halted, test_spins, test_polls, test_offline, test_paused, test_paused_by,
         test_shut_down, test_crashed, test_stopped, test_migration, test_never_started, test_process, test_killed, test_turn,
         test_xenstored, test_pty, test_ring, test_back_end]
HEALTHY = [test_idle, test_computing, test_reading, test_booting, test_back_again, test_offline_one, test_pv, test_talking,
           test_received, test_network]

if __name__ == "__main__":
    names = sys.argv[1:]
    sys.exit(tap([test for test in HANGS + HEALTHY if not names or test.__name__ in names]))
