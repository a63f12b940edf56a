#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Recording and replay (docs/recording.md) of the real xendm on xenemu: whole device scripts are recorded and replay
to the same bytes; another build is stopped at the access that differs; and what ends a recording never ends the
guest. TAP."""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from client import CTL, PATIENCE, XENDM, XENSTORED, Cpu, Qmp, Tap, note, want   # noqa: E402
from recording import SOURCE, Guest, Recording, replay, script_options, scrub, show     # noqa: E402

SCRIPTS = ("ide", "atapi", "serial", "i8042", "cmos", "pm", "pirq", "pci-host", "i8257", "strings", "vga", "vga-modes",
           "cirrus", "platform", "reset-port92", "fw-cfg", "i6300esb", "ac97",
           "uhci", "usb-storage", "xhci", "ahci", "lsi", "nvme", "virtio-blk", "virtio-scsi", "virtio-net",
           "virtio-serial")
# What ends the recording of a script before its end.
ENDS = {"atapi": "a locked medium is asked for", "virtio-scsi": "a medium changes"}
# Scripts that say with data what is to be done: registers in a window of pixels, a comparison with the first sector.
BY_DATA = {"cirrus", "nvme"}
SECRET = b"My Secret Words!"


def disk(tmp, name="disk.img", size=1 << 20):
    path = os.path.join(tmp, name)
    with open(path, "wb") as stream:
        stream.write((SECRET * 32 * (size // 512))[:size])
    return path


# ---- what a guest does ----

def processor(guest):
    """A CPU whose firmware has set up the disk controller."""
    cpu = Cpu(guest.path)
    for reg, size, value in ((0x40, 2, 0x8000), (0x42, 2, 0x8000), (0x20, 4, 0xc001), (4, 2, 5)):
        cpu.do("pciwrite 00:01.1 0x%x %d 0x%x" % (reg, size, value))
    return cpu


def read_sectors(cpu, lba, count):
    cpu.until("inb 0x3f6", 0x88, 0)
    for port, value in ((6, 0xe0), (2, count), (3, lba & 255), (4, lba >> 8), (5, 0), (7, 0x20)):
        cpu.do("outb 0x%x 0x%x" % (0x1f0 + port, value))
    for i in range(count):
        cpu.until("inb 0x3f6", 0x89, 8)
        cpu.do("ins 0x1f0 2 256 0x%x" % (0x100000 + 512 * i))


def identify(cpu):
    cpu.until("inb 0x3f6", 0x88, 0)
    cpu.do("outb 0x1f6 0xe0")
    cpu.do("outb 0x1f7 0xec")
    cpu.until("inb 0x3f6", 0x89, 8)
    cpu.do("ins 0x1f0 2 256 0x100000")


def dma(cpu, lba, count, write=False):
    cpu.do("writel 0xff000 0x200000")
    cpu.do("writel 0xff004 0x%x" % (0x80000000 | count * 512))
    cpu.do("outl 0xc004 0xff000")
    cpu.do("outb 0xc002 6")
    cpu.until("inb 0x3f6", 0x88, 0)
    for port, value in ((6, 0xe0), (2, count), (3, lba & 255), (4, lba >> 8), (5, 0), (7, 0xca if write else 0xc8)):
        cpu.do("outb 0x%x 0x%x" % (0x1f0 + port, value))
    cpu.do("outb 0xc000 %d" % (1 if write else 9))
    cpu.until("inb 0xc002", 5, 4)
    cpu.do("outb 0xc000 0")
    cpu.do("inb 0x1f7")


# ---- tests ----

def test_scripts(tap, tmp):
    for name in SCRIPTS:
        path = os.path.join(SOURCE, "tests/device", name + ".xds")
        file = os.path.join(tmp, name + ".rec")
        with Guest(tmp, *script_options(path, tmp)) as guest:
            with Recording(guest, file, "--limit", "256") as recording:
                status, out = guest.run_script(path)
        want(status == 0, name, out[-1500:])
        status, out = replay(file)
        last = out.strip().splitlines()[-1:] or [""]
        tap("%s: %s" % (name, re.sub(r"^.*bytes: ", "", recording.said.strip())), status == 0 and ENDS.get(name, "stopped") in recording.said,
            recording.said + out)
        note(last[0])
        if status == 0 and name not in BY_DATA:
            scrub(file, file + ".clean")
            status, out = replay(file + ".clean")
            tap("%s: scrubbed, it replays" % name, status == 0, out)
            os.unlink(file)


def test_whole(tap, tmp):
    """Accesses, DMA, keys, serial input, stop and cont, from a machine in the middle of a command."""
    file, pipe = os.path.join(tmp, "whole.rec"), os.path.join(tmp, "com1")
    with Guest(tmp, "--disk", disk(tmp), "--serial", "unix:%s,server=on,wait=off" % pipe, "--vga", "stdvga") as guest:
        cpu = processor(guest)
        cpu.do("outb 0x3fc 0xb")
        cpu.do("outb 0x3f9 1")
        cpu.do("outb 0x64 0x60")
        cpu.do("outb 0x60 0x01")
        cpu.do("outb 0x1f7 0xec")        # IDENTIFY, whose data are read after the recording began
        with Recording(guest, file) as recording:
            cpu.until("inb 0x3f6", 0x89, 8)
            cpu.do("ins 0x1f0 2 256 0x100000")
            identify(cpu)
            read_sectors(cpu, 7, 3)
            dma(cpu, 64, 8)
            dma(cpu, 128, 8, write=True)
            with Qmp(guest.monitor) as qmp, Qmp(pipe, negotiate=False) as line:
                line.sock.sendall(SECRET)
                for byte in SECRET:
                    cpu.until("inb 0x3fd", 1, 1)
                    want(cpu.do("inb 0x3f8") == byte, "another byte than was sent")
                for key in ("a", "right"):
                    qmp.ok("send-key", keys=[{"type": "qcode", "data": key}], **{"hold-time": 20})
                    cpu.until("inb 0x64", 1, 1)
                    cpu.do("inb 0x60")
                qmp.ok("stop")
                qmp.ok("cont")
                cpu.do("outb 0x3f8 0x41")
            dma(cpu, 64, 8)
            recording.end()
        want(guest.serves(), "the guest is not served after its recording")
    status, out = replay(file)
    tap("a recording from now on replays to the same bytes", status == 0 and "all as recorded" in out,
        recording.said + out)
    return file


def test_regression(tap, tmp, file):
    """Another build, whose disks call themselves otherwise; and a recording in which one answer is another."""
    with open(XENDM, "rb") as stream:
        program = stream.read()
    want(program.count(b"XENDM HARDDISK") > 0, "no name of a disk to change")
    other = os.path.join(tmp, "xendm")
    with open(other, "wb") as stream:
        stream.write(program.replace(b"XENDM HARDDISK", b"XENDM HARDDISC"))
    os.chmod(other, 0o755)
    status, out = replay(file, dm=other)
    tap("another build is stopped at the access that differs: %s" % (out.splitlines() or [""])[0],
        status == 1 and "pio-in" in out and "(piix3-ide)" in out and "recorded:" in out, out)
    _, text = show(file)
    last = [int(line.split()[0]) for line in text.splitlines() if line.split()[1:2] == ["answer"]][-1]
    number, value = next((int(w[0]), int(w[3], 0)) for w in (line.split() for line in text.splitlines())
                         if w[1:3] == ["answer", "value"] and int(w[0]) == last)
    with open(file, "rb") as stream:
        data = bytearray(stream.read())
    want(value < 0x7f, "the last answer is not one byte long in the file")
    changed = os.path.join(tmp, "changed.rec")
    kind = next(i for i in range(len(data) - 1, 0, -1) if changes_answer(tmp, data, i, value, number))
    data[kind + 1] ^= 1
    with open(changed, "wb") as stream:
        stream.write(data)
    status, out = replay(changed)
    tap("a changed answer is found, by its number", status == 1 and "entry %d differs" % number in out, out)


def changes_answer(tmp, data, at, value, number):
    """Whether the byte behind `at` is the value of that entry: the file says another number then."""
    if data[at + 1:at + 2] != bytes([value]):
        return False
    trial = os.path.join(tmp, "trial.rec")
    with open(trial, "wb") as stream:
        stream.write(data[:at + 1] + bytes([value ^ 1]) + data[at + 2:])
    status, text = show(trial)
    return status == 0 and any(line.split()[:3] == [str(number), "answer", "value"] and
                               int(line.split()[3], 0) == value ^ 1 for line in text.splitlines())


def test_scrub(tap, tmp, file):
    clean = os.path.join(tmp, "clean.rec")
    scrub(file, clean)
    with open(file, "rb") as before, open(clean, "rb") as after:
        tap("nothing of the disk or the serial line is left", SECRET in before.read() and SECRET not in after.read())
    status, out = replay(clean)
    tap("it replays still", status == 0, out)


def test_damage(tap, tmp, file):
    """Whatever is in a file: it is shown, scrubbed and played, or refused, and nobody dies of it."""
    rng, bad = random.Random(4), []
    with open(file, "rb") as stream:
        whole = stream.read()
    head = whole.index(b"XENDMSAV")
    trial, out_file = os.path.join(tmp, "bad.rec"), os.path.join(tmp, "bad.out")
    for i in range(60):
        data = bytearray(whole)
        if i % 3 == 0:
            data = data[:rng.randrange(len(data))]
        else:
            for _ in range(rng.choice((1, 8))):
                data[rng.randrange(0 if i % 3 == 1 else len(whole) - 2000, len(data))] = rng.randrange(256)
        with open(trial, "wb") as stream:
            stream.write(data)
        for command in ([CTL, "record", "show", trial], [CTL, "record", "scrub", trial, out_file]):
            status = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode
            if status not in (0, 1):
                bad.append("%s: %d" % (command[2], status))
        if i % 6 == 2 and len(data) > head:
            status, out = replay(trial)
            if status not in (0, 1, 2) or "signal" in out:
                bad.append("replay: %d %s" % (status, out))
    tap.report("damaged recordings kill nobody", bad)


def test_ends(tap, tmp):
    """A recording ends, the guest does not."""
    file = os.path.join(tmp, "ends.rec")
    with Guest(tmp, "--disk", disk(tmp)) as guest, Qmp(guest.monitor) as qmp:
        cpu = processor(guest)
        with Recording(guest, file, "--limit", "1") as recording:
            deadline = time.monotonic() + PATIENCE
            while recording.proc.poll() is None and time.monotonic() < deadline:
                dma(cpu, 0, 128)
                for _ in range(64):
                    read_sectors(cpu, 0, 128)
            recording.end(False)
        reason = qmp.event("XENDM_RECORDING_ENDED")
        size = os.path.getsize(file)
        status, out = replay(file)
        tap("at its limit", "its limit is reached" in recording.said and reason["reason"] == "its limit is reached" and
            1 << 20 <= size < 2 << 20 and status == 0 and guest.serves(), recording.said + out)

        recording = Recording(guest, "/dev/full")
        deadline = time.monotonic() + PATIENCE
        while recording.proc.poll() is None and time.monotonic() < deadline:
            read_sectors(cpu, 0, 128)
        recording.end(False)
        read_sectors(cpu, 0, 128)
        reason = qmp.event("XENDM_RECORDING_ENDED")["reason"]
        tap("on a full disk: %s" % reason, recording.proc.returncode == 1 and "No space left" in recording.said and
            "cannot be written" in reason and guest.serves(), recording.said)

        recording = Recording(guest, file)
        reply = qmp.ok("xendm-update", binary=XENDM)
        said = recording.end(False)
        tap("at a live update", "a live update" in said and reply and guest.serves(), said)

        with Recording(guest, file) as recording:
            read_sectors(cpu, 0, 1)
            qmp = Qmp(guest.monitor)
            qmp.ok("cpu-add", id=0)
            qmp.hmp("system_reset")
        tap("a successor is recorded, too", os.path.getsize(file) > 0 and replay(file)[0] == 0, recording.said)


def test_life(tap, tmp):
    file = os.path.join(tmp, "life.rec")
    with Guest(tmp, "--disk", disk(tmp), "--restrict") as guest, Qmp(guest.monitor) as qmp:
        with Recording(guest, file) as recording:        # restricted, it was not started yet
            qmp.ok("cont")
            cpu = processor(guest)
            read_sectors(cpu, 0, 8)
            second = subprocess.run([CTL, "record", guest.monitor, file + "2"], stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, text=True, check=False)
        status, out = replay(file)
        tap("from before the guest's first access, with dm_restrict", status == 0 and "start" in show(file)[1],
            recording.said + out)
        tap("one at a time", second.returncode == 1 and "a recording is under way" in second.stdout, second.stdout)


def test_crash(tap, tmp):
    """A device model that dies: its recording has the access before, though nobody had written it down."""
    file = os.path.join(tmp, "crash.rec")
    with Guest(tmp, "--serial", "null") as guest:
        recording = Recording(guest, file)
        Cpu(guest.path).do("outb 0x3ff 0x5c")
        os.kill(guest.pid(), signal.SIGSEGV)
        said = recording.end(False)
    status, out = replay(file)
    tap("a device model that dies leaves its last access", "in the middle" in said and
        "port 0x3ff size 1 value 0x5c" in show(file)[1] and status == 0, said + out + show(file)[1][-1500:])


def test_debugger(tap, tmp, file):
    name = "a debugger stands where it differs"
    if not shutil.which("gdb"):
        tap.skip(name, "no gdb")
        return
    other = os.path.join(tmp, "xendm")
    status, out = replay(file, "--under", "gdb -q -batch -ex run -ex bt --args", dm=other)
    tap(name, "SIGTRAP" in out and "tape_fact" in out, out)


def main():
    tap = Tap()
    if not os.path.exists(XENSTORED):
        print("1..0 # SKIP no %s" % XENSTORED)
        return 0
    with tempfile.TemporaryDirectory(prefix="rec") as tmp:
        file = test_whole(tap, tmp)
        for test in (test_regression, test_debugger, test_scrub, test_damage):
            test(tap, tmp, file)
        for test in (test_ends, test_life, test_crash, test_scripts):
            test(tap, tmp)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
