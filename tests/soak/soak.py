#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/soak/soak.py [-t SECONDS] [-u UPDATES] [-s SEED] [--old PROGRAM] [--dir DIR] [-v]

Guests come and go on one disk image that is checked word by word against what the guest was told, while at random, by a seed
that is printed: the device model is updated by the same program, by another one (--old), by one that refuses, crashes or hangs;
the client of an update dies; the state is saved and restored by a new process in the middle of whatever goes on; stop and cont;
calls of the host fail (disks, mappings, event channels); the process is killed. The guest does PIO, DMA, flushes and
TRIM on the disk with one vCPU, and writes and reads back video memory and the palette with another.

What must hold: a write that was acknowledged is what is read from then on, in this life and in the next; one that failed, or
during which the process died, left each sector as it was or as it should be; errors come only while something fails; every
update leaves a guest with a device model. Prints TAP; `make check` runs it for half a minute, a person for hours.
"""
import argparse
import collections
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True     # the source tree stays clean
SOURCE = os.environ.get("XENDM_SRCDIR") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path.insert(0, os.path.join(SOURCE, "tests/faults"))
from faults import NODE, PATIENCE, XENDM, XENEMU, XENSTORED, Cpu, Disk, OurOwn, Qmp, save, want     # noqa: E402
from client import BUILD, Tap, note as say     # noqa: E402

SECTORS = 8192
TROUBLE = os.path.join(BUILD, "tests/update/trouble.so")
INDEX = b"".join((i * 0x9e3779b1 & 0xffffffff).to_bytes(4, "little") for i in range(128))
INDEX_NUMBER = int.from_bytes(INDEX, "little")
ZEROS = -1


def content(lba, generation):
    """The 128 words of a sector: each depends on sector, generation and place."""
    if generation == ZEROS:
        return bytes(512)
    word = ((generation << 13 ^ lba * 0x85ebca6b) & 0xffffffff).to_bytes(4, "little")
    return (int.from_bytes(word * 128, "little") ^ INDEX_NUMBER).to_bytes(512, "little")


class Model:
    """What the image has to hold: of each sector the generation, or those that it may be."""

    def __init__(self, path):
        self.path = path
        self.may = [{0} for _ in range(SECTORS)]
        self.generation = 0
        self.checked, self.mismatches = 0, 0
        with open(path, "wb") as image:
            image.write(b"".join(content(lba, 0) for lba in range(SECTORS)))

    def begin(self, lba, count, generation):
        """From now on each of these is what it was, or of this generation."""
        for at in range(lba, lba + count):
            self.may[at].add(generation)

    def acknowledged(self, lba, count, generation):
        for at in range(lba, lba + count):
            self.may[at] = {generation}

    def check(self, lba, data, who):
        """Words that are not what they may be are counted; a sector that was in doubt is what was read."""
        for at in range(lba, lba + len(data) // 512):
            got = data[(at - lba) * 512:(at - lba + 1) * 512]
            self.checked += 128
            fits = [g for g in self.may[at] if content(at, g) == got]
            if fits:
                self.may[at] = {fits[0]}
                continue
            words = min(sum(got[i:i + 4] != good[i:i + 4] for i in range(0, 512, 4))
                        for good in (content(at, g) for g in self.may[at]))
            self.mismatches += words
            say("%s: sector %d: %d words are not of generation %s: %s..." % (who, at, words, sorted(self.may[at]), got[:32].hex()))
            self.may[at] = {0, *self.may[at]}

    def check_image(self):
        with open(self.path, "rb") as image:
            self.check(0, image.read(), "the image")


def self_test(directory):
    """A word that changed is counted, a generation that is past is, and one that is in doubt is not."""
    model = Model(os.path.join(directory, "self-test.img"))
    model.begin(5, 2, 1)
    model.check(5, content(5, 1) + content(6, 0), "self-test")
    want(model.mismatches == 0, "what may be is taken for wrong")
    model.acknowledged(7, 1, 2)
    bad = bytearray(content(7, 2))
    bad[100] ^= 1
    devnull = open(os.devnull, "w", encoding="ascii")
    out, sys.stdout = sys.stdout, devnull
    try:
        model.check(7, bytes(bad), "self-test")
        model.check(8, content(8, 1), "self-test")
    finally:
        sys.stdout = out
        devnull.close()
    want(model.mismatches > 100, "what is wrong is not seen")
    os.unlink(model.path)


class Gate:
    """Lets the vCPUs through, access by access, or none of them."""

    def __init__(self):
        self.condition = threading.Condition()
        self.shut, self.inside = False, 0

    def enter(self):
        with self.condition:
            while self.shut:
                self.condition.wait()
            self.inside += 1

    def leave(self):
        with self.condition:
            self.inside -= 1
            self.condition.notify_all()

    def close(self):
        with self.condition:
            self.shut = True
            while self.inside:
                self.condition.wait()

    def open(self):
        with self.condition:
            self.shut = False
            self.condition.notify_all()


class GatedCpu(Cpu):
    def __init__(self, path, number, gate):
        self.gate = gate
        super().__init__(path, number)

    def ask(self, command):
        self.gate.enter()
        try:
            return super().ask(command)
        finally:
            self.gate.leave()


class Load(threading.Thread):
    def __init__(self, life, number):
        super().__init__(daemon=True)
        self.life = life
        self.random = random.Random(life.random.getrandbits(32))
        self.cpu = GatedCpu(life.path, number, life.gate)
        self.count, self.error = 0, None
        self.setup()

    def run(self):
        try:
            while not self.life.over:
                self.step()
                self.count += 1
        except Exception as e:      # the life's end breaks the connection; anything else is a failure
            if not self.life.over:
                self.error = e


class DiskLoad(Load):
    def setup(self):
        self.disk = Disk(self.cpu)

    def result(self, status, error, epoch, what):
        """True when it succeeded. Errors are for the time in which the host fails."""
        if not status & 0x21:
            return True
        excused = epoch & 1 or self.life.epoch != epoch
        want(excused, what, "failed with status 0x%x, error 0x%x, though nothing failed" % (status, error))
        self.life.counts["errors that the guest was told"] += 1
        return False

    def step(self):
        model, r, epoch = self.life.model, self.random, self.life.epoch
        count = r.choice((1, 1, 2, 3, 8, 8, 17, 64))
        lba = r.randrange(SECTORS - count)
        what = r.random()
        if what < .45:
            self.write(model, lba, count, epoch)
        elif what < .93:
            self.read(model, lba, count, epoch)
        elif what < .97:
            self.result(*self.disk.flush(), epoch, "a flush")
        else:
            self.trim(model, lba, count, epoch)

    def write(self, model, lba, count, epoch):
        model.generation += 1
        generation = model.generation
        data = b"".join(content(at, generation) for at in range(lba, lba + count))
        model.begin(lba, count, generation)
        if self.random.random() < .6:
            self.cpu.ask("write 0x%x %d 0x%s" % (self.disk.buffer, len(data), data.hex()))
            status, error, _ = self.disk.dma(lba, count, True, self.pieces(len(data)))
        else:
            status, error = self.pio(lba, count, data)
        if self.result(status, error, epoch, "a write of %d at %d" % (count, lba)):
            model.acknowledged(lba, count, generation)

    def pieces(self, length):
        """A descriptor table that cuts the buffer somewhere."""
        cut = self.random.randrange(2, length, 2)
        return [(self.disk.buffer, cut), (self.disk.buffer + cut, length - cut)]

    def pio(self, lba, count, data):
        self.disk.command(0x30, lba, count)
        for i in range(count):
            status, error = self.disk.ready()
            if not status & 8:
                return status, error
            self.cpu.ask("write 0x%x 512 0x%s" % (self.disk.buffer, data[i * 512:i * 512 + 512].hex()))
            half = self.random.randrange(1, 256)
            self.cpu.do("outs 0x1f0 2 %d 0x%x" % (half, self.disk.buffer))
            self.cpu.do("outs 0x1f0 2 %d 0x%x" % (256 - half, self.disk.buffer + 2 * half))
        return self.disk.ready()

    def read(self, model, lba, count, epoch):
        if self.random.random() < .6:
            status, error, _ = self.disk.dma(lba, count, False, self.pieces(count * 512))
            data = bytes.fromhex(self.cpu.ask("read 0x%x %d" % (self.disk.buffer, count * 512))[0][2:])
        else:
            self.disk.command(0x20, lba, count)
            data = b""
            status, error = self.disk.ready()
            while status & 8:
                half = self.random.randrange(1, 256)
                self.cpu.do("ins 0x1f0 2 %d 0x%x" % (half, self.disk.buffer))
                self.cpu.do("ins 0x1f0 2 %d 0x%x" % (256 - half, self.disk.buffer + 2 * half))
                data += bytes.fromhex(self.cpu.ask("read 0x%x 512" % self.disk.buffer)[0][2:])
                status, error = self.disk.ready()
        if self.result(status, error, epoch, "a read of %d at %d" % (count, lba)):
            want(len(data) == count * 512, "a read of", count, "gave", len(data), "bytes")
            model.check(lba, data, "the guest")

    def trim(self, model, lba, count, epoch):
        """DATA SET MANAGEMENT: what was trimmed is zeros or as it was."""
        model.begin(lba, count, ZEROS)
        self.cpu.do("memset 0x%x 512 0" % self.disk.buffer)
        self.cpu.do("writeq 0x%x 0x%x" % (self.disk.buffer, count << 48 | lba))
        self.cpu.do("outb 0x%x 0" % self.disk.bm)
        self.cpu.do("writel 0x%x 0x%x" % (self.disk.prd, self.disk.buffer))
        self.cpu.do("writel 0x%x 0x80000200" % (self.disk.prd + 4))
        self.cpu.do("outl 0x%x 0x%x" % (self.disk.bm + 4, self.disk.prd))
        self.cpu.do("outb 0x%x 6" % (self.disk.bm + 2))
        for _ in range(2):
            self.cpu.do("outb 0x1f2 0")     # a command of 48 bits: the count is what was written twice
        self.disk.command(0x06, 0, 1, 1)
        self.cpu.do("outb 0x%x 1" % self.disk.bm)
        status, error = self.disk.ready()
        self.cpu.do("outb 0x%x 0" % self.disk.bm)
        self.result(status, error, epoch, "a TRIM")


class ScreenLoad(Load):
    def setup(self):
        slot = [s for s in range(32) if self.cpu.do("pciread 00:%02x.0 8 4" % s) >> 16 == 0x0300][0]
        for reg, size, value in ((4, 2, 0), (0x10, 4, 0xf0000000), (0x18, 4, 0xf3000000), (4, 2, 3)):
            self.cpu.do("pciwrite 00:%02x.0 0x%x %d 0x%x" % (slot, reg, size, value))
        for index, value in ((4, 0), (1, 1024), (2, 768), (3, 32), (4, 0x41), (5, 0)):
            self.cpu.do("outw 0x1ce %d" % index)
            self.cpu.do("outw 0x1cf 0x%x" % value)
        self.cpu.do("outb 0x3c2 0x63")

    def step(self):
        color = [self.random.randrange(64) for _ in range(3)]
        index, at, value = self.random.randrange(256), self.random.randrange(0x7ff0), self.random.getrandbits(32)
        self.cpu.do("outb 0x3c8 0x%x" % index)
        for c in color:
            self.cpu.do("outb 0x3c9 0x%x" % c)
        self.cpu.do("writel 0x%x 0x%x" % (0xa0000 + at, value))
        self.cpu.do("outb 0x3c7 0x%x" % index)
        got = [self.cpu.do("inb 0x3c9") for _ in range(3)]
        want(got == color, "colour", index, "is", got, "not", color)
        got = self.cpu.do("readl 0x%x" % (0xf0000000 + at))
        want(got == value, "video memory at 0x%x is 0x%x, not 0x%x" % (at, got, value))
        time.sleep(.002)


class Life:
    """A domain, from its start to its end or its device model's death."""

    def __init__(self, soak):
        self.soak, self.model, self.random, self.counts = soak, soak.model, soak.random, soak.counts
        self.gate, self.over, self.epoch = Gate(), False, 0
        self.tmp = os.path.join(soak.tmp, "life")
        shutil.rmtree(self.tmp, ignore_errors=True)
        os.mkdir(self.tmp)
        faults = ["--disk-faults"] if self.random.random() < .5 else []
        self.disk_faults = bool(faults)
        self.own = OurOwn(self.tmp, "--disk", self.model.path, "--cdrom", soak.disc, "--vga", "stdvga", "--serial", "null",
                          "--vcpus", "4", *faults)
        self.path = self.own.start()
        self.qmp = self.own.qmp()
        self.qmp.ok("cont")
        self.control = Cpu(self.path, 3)
        self.loads = [DiskLoad(self, 0), ScreenLoad(self, 1)]
        for load in self.loads:
            load.start()

    def pid(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.own.dir + "/qmp-libxl-1")
            return int.from_bytes(s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")

    def log(self):
        with open(self.tmp + "/dm.log", errors="replace") as stream:
            return stream.read()

    def progress(self, steps=3):
        """Each vCPU gets on."""
        before = [load.count for load in self.loads]
        deadline = time.monotonic() + PATIENCE
        while any(load.count < n + steps for load, n in zip(self.loads, before)):
            for load in self.loads:
                if load.error:
                    raise load.error
            want(time.monotonic() < deadline, "a vCPU makes no progress")
            time.sleep(.002)

    # ---- what happens ----

    def update(self, binary, refusal=None):
        reply = self.qmp.ask("xendm-update", binary=binary)
        if refusal:
            want("error" in reply, "an update that cannot work did:", reply)
            self.counts["updates refused: " + refusal] += 1
        else:
            want("return" in reply, "an update failed:", reply)
            self.counts["updates"] += 1
        want(self.qmp.ok("query-status")["running"], "the machine does not run after an update")

    def event_update(self):
        for _ in range(self.random.randint(1, 4)):
            self.update(self.soak.old if self.soak.old and self.random.random() < .3 else XENDM)

    def event_update_refused(self):
        kind = self.random.choice(("false", "nothing", "adopt", "trouble", "trouble", "trouble"))
        if kind == "trouble":
            # A rehearsal that hangs takes half a minute: not here.
            who, what = self.random.choice((("twin", "crash"), ("twin", "exit"), ("new", "crash"), ("new", "exit"), ("new", "hang")))
            when = self.random.choice(("open", "build") + (("main", "events", "go") if who == "new" else ()))
            kind = "%s:%s:%s" % (who, when, what) if self.soak.trouble else "false"
        if kind == "adopt":
            self.control.fault("evtchn-adopt errno=EIO")
            try:
                self.qmp.ask("xendm-update", binary=XENDM)      # whichever way it ends, it serves on
            finally:
                self.control.ask("fault clear")
            self.counts["updates refused: adopt"] += 1
            return
        self.update({"false": "/bin/false", "nothing": "/nonexistent/xendm"}.get(kind) or self.soak.script(kind), kind)

    def event_client_dies(self):
        """The client that asked for an update is gone before it is answered."""
        with Qmp(self.own.dir + "/qmp-libxl-1") as other:
            other.say('{"execute": "xendm-update", "arguments": {"binary": "%s"}}\n' % XENDM)
            time.sleep(self.random.random() * .01)
        self.qmp.ok("query-status")
        self.counts["clients of an update that died"] += 1

    def event_save_restore(self):
        """By a new process, wherever the guest stands: in the middle of a transfer, too."""
        self.gate.close()
        self.qmp.ok("stop")
        with open(self.tmp + "/state", "wb") as stream:
            want("return" in save(self.qmp, stream.fileno()), "a save failed")
        self.qmp.__exit__()
        pid = self.pid()
        self.own.xs("rm", NODE)
        self.end(pid, signal.SIGHUP)
        self.own.xs("write", NODE, "")
        with open(self.tmp + "/state", "rb") as stream:
            self.own.start(stream.fileno())
        self.qmp = self.own.qmp()
        self.qmp.ok("cont")
        self.gate.open()
        self.counts["saves and restores"] += 1

    def event_stop_cont(self):
        self.gate.close()
        self.qmp.ok("stop")
        if self.random.random() < .3:
            self.qmp.ok("xendm-update", binary=XENDM)
            self.counts["updates"] += 1
        self.qmp.ok("cont")
        self.gate.open()
        self.counts["stops"] += 1

    def event_faults(self):
        kinds = ["map errno=ENOMEM", "map errno=EFAULT"]
        if self.disk_faults:
            kinds = ["disk-read errno=EIO", "disk-write errno=EIO", "disk-write errno=ENOSPC", "disk-read short=512",
                     "disk-write short=1024", "disk-discard errno=EIO", "disk-read errno=EINTR", "disk-write errno=EAGAIN"]
        kind = self.random.choice(kinds)
        self.epoch += 1
        self.control.fault("%s nth=%d count=%d" % (kind, self.random.randint(1, 4), self.random.randint(1, 6)))
        self.progress(self.random.randint(1, 30))
        self.control.ask("fault clear")
        self.progress(1)            # what was under way is over
        self.epoch += 1
        self.counts["faults: " + kind] += 1

    def event_kill(self):
        pid = self.pid()
        self.over = True
        self.end(pid, signal.SIGKILL)
        self.counts["kills"] += 1

    def end(self, pid, number):
        """Whoever is the device model now, child of ours or not."""
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
        deadline = time.monotonic() + PATIENCE
        while self.own.dm.poll() is None or os.path.exists("/proc/%d" % pid):
            want(time.monotonic() < deadline, "the device model does not end")
            time.sleep(.002)
            if self.own.dm.pid != pid and self.own.dm.poll() is not None and not os.path.exists("/proc/%d" % pid):
                break

    def close(self):
        """The domain ends; the image is what it has to be."""
        self.gate.open()
        if not self.over:
            self.over = True
            pid = self.pid()
            self.own.xs("rm", NODE)
            self.end(pid, signal.SIGHUP)
        self.own.xenemu.terminate()
        self.own.xenemu.communicate(timeout=PATIENCE)
        for load in self.loads:
            load.join(PATIENCE)
            want(not load.is_alive(), "a vCPU hangs")
        self.counts["disk commands"] += self.loads[0].count
        self.counts["lives"] += 1
        want("Sanitizer" not in self.log() and "assertion" not in self.log().lower(), self.log()[-3000:])
        self.model.check_image()

    def abandon(self):
        self.over = True
        self.gate.open()
        for process in (self.own.dm, self.own.xenemu):
            if process and process.poll() is None:
                process.terminate()
        try:
            self.own.xenemu.wait(10)
        except Exception:
            self.own.xenemu.kill()


class Soak:
    EVENTS = (("update", 40), ("update_refused", 8), ("client_dies", 3), ("save_restore", 8), ("stop_cont", 8), ("faults", 12),
              ("kill", 2))

    def __init__(self, args):
        self.random = random.Random(args.seed)
        self.old, self.verbose = args.old, args.verbose
        self.tmp = tempfile.mkdtemp(prefix="soak-", dir=args.dir)
        self.model = Model(os.path.join(self.tmp, "disk.img"))
        self.disc = os.path.join(self.tmp, "disc.iso")
        with open(self.disc, "wb") as stream:
            stream.truncate(1 << 20)
        self.counts = collections.Counter()
        # A sanitized program wants its library first, before anything that is preloaded.
        with open(XENDM, "rb") as stream:
            self.trouble = os.path.exists(TROUBLE) and b"libasan" not in stream.read()

    def script(self, kind):
        path = os.path.join(self.tmp, kind.replace(":", "-") + ".sh")
        with open(path, "w", encoding="ascii") as stream:
            stream.write('#!/bin/sh\nLD_PRELOAD=%s XENDM_TROUBLE=%s exec %s "$@"\n' % (TROUBLE, kind, XENDM))
        os.chmod(path, 0o700)
        return path

    def run(self, seconds, updates):
        deadline = time.monotonic() + seconds
        names, weights = zip(*self.EVENTS)

        def goes_on():
            return (time.monotonic() < deadline or self.counts["updates"] < updates) and not self.model.mismatches

        while goes_on():
            life = Life(self)
            try:
                while goes_on() and not life.over:
                    life.progress(self.random.randint(1, 10))
                    name = self.random.choices(names, weights)[0]
                    if self.verbose:
                        say(name)
                    getattr(life, "event_" + name)()
                life.close()
            except Exception:
                say("the end of the device model's log:\n" + life.log()[-3000:])
                raise
            finally:
                life.abandon()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-t", "--seconds", type=float, default=float(os.environ.get("XENDM_SOAK_SECONDS", "30")))
    parser.add_argument("-u", "--updates", type=int, default=0, help="go on until there were as many updates, too")
    parser.add_argument("-s", "--seed", type=int, default=int(os.environ.get("XENDM_SOAK_SEED") or time.time_ns() & 0xffffff))
    parser.add_argument("--old", help="another program to update to")
    parser.add_argument("--dir", help="where the image is (default: the place for temporary files)")
    parser.add_argument("-v", "--verbose", action="store_true", help="say each event")
    args = parser.parse_args()
    for path in (XENEMU, XENDM, XENSTORED):
        if not os.access(path, os.X_OK):
            print("1..0 # SKIP there is no %s" % path)
            return 0
    if not shutil.which("xenstore-read"):
        print("1..0 # SKIP no xenstore-utils")
        return 0
    tap = Tap(1)
    say("seed %d" % args.seed)
    soak = Soak(args)
    failure = None
    try:
        self_test(soak.tmp)
        soak.run(args.seconds, args.updates)
    except Exception as e:      # any is a failure; the counts are wanted all the same
        failure = "%s: %s" % (type(e).__name__, e)
    for name, count in sorted(soak.counts.items()):
        say("%s: %d" % (name, count))
    say("words checked: %d, mismatches: %d" % (soak.model.checked, soak.model.mismatches))
    good = not failure and not soak.model.mismatches and soak.model.checked
    tap("soak, seed %d" % args.seed, good, failure or "")
    if good:
        shutil.rmtree(soak.tmp, ignore_errors=True)
    else:
        say("everything is left in " + soak.tmp)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
