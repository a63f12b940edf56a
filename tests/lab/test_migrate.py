# SPDX-License-Identifier: GPL-2.0-or-later
"""Save, restore and migration by the toolstack, to the same box. The guest that is moved counts, and would notice if
anything was lost, repeated or corrupted (count.S, or a shell loop on Debian's kernel)."""

import os
import re
import time

from labkit.suite import life
from labkit.util import LabError, host

HERE = os.path.dirname(os.path.abspath(__file__))
TURNS = int(os.environ.get("XENDM_LAB_TURNS", "10"))    # how often in a loop
MORE = 70               # turns the guest has to make after each move: all its memory is looked at once

MOVE = [
    "runs in a graphics mode, with a CD",
    "xl save -c: the guest goes on",
    "%d x xl save, xl restore" % TURNS,
    "%d x xl migrate" % TURNS,
    "the screen is the same after a move",
    "a receiver that dies leaves the guest running",
    "a receiver that refuses the state leaves the guest running",
    "a full disk for the saved domain leaves the guest running",
    "a full disk for the device model's state leaves the guest running",
    "and then it can still be moved",
    "a paused guest is saved and stays",
]
RESTRICT = [
    "dm_restrict=1: the guest runs",
    "dm_restrict=1: xl save, xl restore",
    "dm_restrict=1: xl migrate",
]
LINUX = [
    "Debian's kernel writes and verifies",
    "xl save, xl restore, 2 times",
    "xl migrate, 2 times",
    "all data is right, and nothing was repeated",
    "disk, CD and console work as before",
]
PV = [
    "the disk is unplugged, its PV disk works",
    "xl save, xl restore, 2 times",
    "the disk is still unplugged, and all data is right",
]


class Mover:
    """A guest with its serial port on a named pipe, so that old and new device model write one text, in order."""

    def __init__(self, t, name, **more):
        self.t, self.box, self.name = t, t.box, name
        self.pipe = "/run/%s" % name
        self.guest = t.guest(name, serial="file", **more)
        self.guest.config["serial"] = "pipe:" + self.pipe
        self.box.run("rm -f {0}.in {0}.out; mkfifo {0}.in {0}.out; chmod 666 {0}.in {0}.out".format(self.pipe))
        self.box.spawn("exec cat <>%s.out >>/share/guest/%s.serial" % (self.pipe, name))
        self.save_file = "/root/%s.save" % name

    def type(self, text):
        """To the serial port."""
        self.box.run("printf %%s '%s' >>%s.in" % (text.replace("'", "'\\''"), self.pipe))

    def command(self, command, timeout=300, status=0):
        """An xl command, with its status as it should be."""
        got, text = self.box.call(command, timeout)
        text = "\n".join(line for line in text.splitlines() if "xc: " not in line)
        if (got == 0) != (status == 0):
            raise LabError("%s: exit status %d: %s" % (command, got, text[-800:]))
        return text

    def save(self):
        """xl save, after which the domain is gone."""
        self.command("xl save %s %s" % (self.name, self.save_file))
        self.t.check(self.guest.domid() is None, "the domain is still there after xl save")

    def restore(self):
        """xl restore."""
        self.command("xl restore %s && rm %s" % (self.save_file, self.save_file))
        self.guest.domid()

    def migrate(self, receiver="xl migrate-receive", status=0, options=""):
        """xl migrate, with a local shell in the place of ssh."""
        text = self.command("xl migrate %s -s '' %s '%s'" % (options, self.name, receiver), 300, status)
        self.guest.domid()
        return text

    def close(self):
        """The pipe's reader goes."""
        self.box.call("for pid in $(pidof cat); do readlink /proc/$pid/fd/0 | grep -q '^%s.out' && kill $pid; done; "
                      "rm -f %s.in %s.out %s" % (self.pipe, self.pipe, self.pipe, self.save_file))


class Counter(Mover):
    """The one-sector guest count.S."""

    def __init__(self, t, name, **more):
        super().__init__(t, name, media=None, memory=64,
                         disks=["format=raw,vdev=hda,access=rw,backendtype=qdisk,target=/root/%s.img" % name,
                                "format=raw,vdev=hdc,access=ro,devtype=cdrom,target=/lab/cd.iso"], **more)
        image = "%s/%s.bin" % (self.box.work, name)
        host(["as", "--32", "-o", image + ".o", HERE + "/count.S"])
        host(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o", image, image + ".o"])
        self.box.put(image, "/root/%s.img" % name)
        self.box.run("truncate -s 8M /root/%s.img; chmod 666 /root/%s.img" % (name, name))

    def last(self):
        """The number the guest is at, after a look at all that it has printed."""
        lines = self.guest.text.split("\n")[:-1]
        for at, line in enumerate(lines):
            if line != "%08X" % (at + 1):
                raise LabError("line %d of the guest's output is %r: %s" % (at + 1, line, lines[max(0, at - 3):at + 4]))
        return len(lines)

    def goes_on(self, turns=MORE):
        """So many turns more, and nothing wrong in any."""
        start = self.last()
        self.guest.until(lambda: self.last() >= start + turns, "%s counts from %d to %d" % (self.name, start, start + turns),
                         120)

    def close(self):
        super().close()
        self.box.call("rm -f /root/%s.img" % self.name)


@life("migrate-count", MOVE)
def migrate(t):
    """Everything around one guest that counts."""
    mover = Counter(t, "mover")
    try:
        move(t, mover)
    finally:
        mover.guest.cleanup()
        mover.close()


def move(t, mover):
    """The steps."""
    box, guest = t.box, mover.guest
    with t.step(MOVE[0], vital=True):
        guest.create()
        mover.goes_on()

    with t.step(MOVE[1], vital=True):
        mover.command("xl save -c mover %s" % mover.save_file)
        mover.goes_on()

    with t.step(MOVE[2], vital=True):
        for _ in range(TURNS):
            mover.save()
            mover.restore()
            mover.goes_on()

    with t.step(MOVE[3], vital=True):
        for _ in range(TURNS):
            mover.migrate()
            mover.goes_on()

    with t.step(MOVE[4]):
        before = guest.screenshot()
        mover.migrate()
        after = guest.screenshot()
        t.equal((after.width, after.height), (800, 600), "size of the screen")
        t.equal((after.width, after.height), (before.width, before.height), "size of the screen")
        mover.goes_on()

    with t.step(MOVE[5], vital=True):
        for size in (1000, 3000000):
            mover.migrate("head -c %d | xl migrate-receive" % size, status=1)
            t.match(guest.state() or "", r"^[rb-]-----", "state after a failed migration")
            mover.goes_on()

    with t.step(MOVE[6], vital=True):
        # the same guest with another display: its device model cannot take the state
        box.run("grep -v ^vga /share/guest/mover.cfg >/root/other.cfg; echo 'vga=\"none\"' >>/root/other.cfg")
        mover.migrate(status=1, options="-C /root/other.cfg")
        mover.goes_on()
        log = box.run("cat /var/log/xen/qemu-dm-mover--incoming.log")
        t.match(log, r"this machine has no device VGA|QEMU|qemu", "the receiving device model's log")
        t.equal(box.run("xl list | grep -c mover").strip(), "1", "number of domains")

    with t.step(MOVE[7], vital=True):
        box.run("mkdir -p /root/small; mount -t tmpfs -o size=4m small /root/small")
        try:
            mover.command("xl save mover /root/small/file", status=1)
        finally:
            box.run("umount /root/small")
        mover.goes_on()

    with t.step(MOVE[8], vital=True):
        # libxl leaves the file of a failed save there until the next one, or the domain's end
        box.run("""set -e
rm -f /var/lib/xen/qemu-save.*
mkdir -p /root/small; mount -t tmpfs -o size=512k small /root/small
cp -a /var/lib/xen/. /root/small
dd if=/dev/zero of=/root/small/fill bs=4k 2>/dev/null || true
truncate -s -4096 /root/small/fill
mount --bind /root/small /var/lib/xen""")
        try:
            mover.command("xl save mover %s" % mover.save_file, status=1)
        finally:
            box.run("umount /var/lib/xen /root/small")
        mover.goes_on()

    with t.step(MOVE[9]):
        mover.migrate()
        mover.goes_on()

    with t.step(MOVE[10]):
        box.run("xl pause mover")
        mover.command("xl save -p mover %s; xl unpause mover" % mover.save_file)
        mover.goes_on()


@life("migrate-restrict", RESTRICT)
def migrate_restrict(t):
    """The same for a device model that has locked itself up."""
    mover = Counter(t, "locked", dm_restrict=1)
    try:
        with t.step(RESTRICT[0], vital=True):
            mover.guest.create()
            mover.goes_on()
        with t.step(RESTRICT[1], vital=True):
            mover.save()
            mover.restore()
            mover.goes_on()
        with t.step(RESTRICT[2]):
            mover.migrate()
            mover.goes_on()
    finally:
        mover.guest.cleanup()
        mover.close()


# In the guest: write, read back past the cache, compare; a file a turn, and all of them at the end.
WORK = r"""
. /etc/lab.sh
mkdir -p /work
(i=0
while [ ! -e /stop ]; do
    i=$((i + 1))
    head -c 200000 /dev/urandom >/tmp/block
    sum=$(md5sum </tmp/block | cut -c1-32)
    dd if=/tmp/block of=/work/$((i % 40)) conv=fsync 2>/dev/null || echo "BAD write $i"
    echo $sum >/work/$((i % 40)).sum
    sync
    echo 3 >/proc/sys/vm/drop_caches
    for k in $i $((i - 7)); do
        [ $k -gt 0 ] || continue
        [ "$(md5sum </work/$((k % 40)) | cut -c1-32)" = "$(cat /work/$((k % 40)).sum)" ] || echo "BAD data $i $k"
    done
    echo "COUNT $i"
done; echo "STOPPED $i") &
serve
"""


class Linux(Mover):
    """Debian's kernel with a working loop, and its console."""

    def __init__(self, t, name, append="xen_emul_unplug=never", **more):
        super().__init__(t, name, media="disk", append=append + " no_console_suspend", script=WORK,
                         disks=["format=raw,vdev=hdc,access=ro,devtype=cdrom,target=/lab/cd.iso"], **more)
        self.guest.type = self.type

    def count(self):
        """Where the loop is; every number has to have come once."""
        text = self.guest.text
        if "BAD" in text:
            raise LabError("the guest has found wrong data: %s" % re.findall("BAD.*", text)[:5])
        numbers = [int(n) for n in re.findall(r"^COUNT (\d+)$", text, re.M)]
        if numbers != list(range(1, len(numbers) + 1)):
            raise LabError("the guest's count is not without gaps: %s" % numbers)
        return len(numbers)

    def goes_on(self, turns=3):
        """So many turns of the loop."""
        start = self.count()
        self.guest.until(lambda: self.count() >= start + turns, "%s counts from %d to %d" % (self.name, start, start + turns),
                         240)

    def verify(self):
        """The loop ends, and every file is looked at."""
        self.guest.cmd("touch /stop")
        self.guest.wait_for(r"STOPPED \d+", 120)
        self.count()
        self.guest.cmd("echo 3 >/proc/sys/vm/drop_caches; for f in /work/*.sum; do "
                       '[ "$(md5sum <${f%.sum} | cut -c1-32)" = "$(cat $f)" ] || exit 1; done', 240)


@life("migrate-linux", LINUX, memory=512)
def migrate_linux(t):
    """A real kernel, with its PV drivers for suspending, on the emulated disk with DMA."""
    mover = Linux(t, "linux", memory=400)
    guest = mover.guest
    try:
        with t.step(LINUX[0], vital=True):
            guest.create()
            guest.wait_for(r"LAB serve", 600)
            mover.goes_on()
        with t.step(LINUX[1], vital=True):
            for _ in range(2):
                mover.save()
                mover.restore()
                mover.goes_on()
        with t.step(LINUX[2], vital=True):
            for _ in range(2):
                mover.migrate()
                mover.goes_on()
        with t.step(LINUX[3]):
            mover.verify()
        with t.step(LINUX[4]):
            t.equal(guest.cmd("dmesg | grep -E '^.{14} ata.*(exception|timeout|failed|lost)'; true"), "", "ATA errors")
            guest.cmd("dd if=/dev/sda of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null", 120)
            guest.cmd("dd if=/dev/sr0 of=/dev/null bs=64k count=16 2>/dev/null", 120)
            time.sleep(1)
            t.check(guest.screenshot().lit() > 0, "the screen is black")
    finally:
        guest.cleanup()
        mover.close()


@life("migrate-pv", PV, memory=512)
def migrate_pv(t):
    """A guest that works with PV disks. Not moved: the block script does not give a file to two domains of one host."""
    mover = Linux(t, "pvmover", append="labroot=xvda2", memory=400, backend="phy")
    guest = mover.guest
    try:
        with t.step(PV[0], vital=True):
            guest.create()
            t.match(guest.wait_for(r"LAB root (\S+ \S+) at .*", 600).group(1), r"^/dev/xvda2 ext4$")
            guest.wait_for(r"LAB serve", 120)
            mover.goes_on()
        with t.step(PV[1], vital=True):
            for _ in range(2):
                mover.save()
                mover.restore()
                mover.goes_on()
        with t.step(PV[2]):
            mover.verify()
            t.equal(guest.cmd("ls /sys/block | grep -c ^sd; true"), "0", "number of emulated disks")
            t.match(guest.monitor("info devices"), r"unplugged", "what the device model says of its disks")
    finally:
        guest.cleanup()
        mover.close()
