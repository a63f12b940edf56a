# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that count, and notice if anything was lost, repeated or corrupted while their device model was replaced:
count.S, one sector of code, and a shell loop on Debian's kernel."""

import os
import re

from labkit.box import CTL
from labkit.build import boot_sector
from labkit.suite import Skip
from labkit.util import LabError

HERE = os.path.dirname(os.path.abspath(__file__))
MORE = 70               # turns of count.S after each move: all its memory is looked at once


def update(box, guest, status=0, more=""):
    """xendmctl update; what it says."""
    got, text = box.call("%s update %d %s 2>&1" % (CTL, guest.domid(), more), 120)
    if got != status:
        raise LabError("xendmctl update: exit status %d: %s" % (got, text.strip()[-800:]))
    return text


class Mover:
    """A guest with its serial port on a named pipe, so that old and new device model write one text, in order; or on a
    pseudo-terminal, for a device model that keeps it."""

    def __init__(self, t, name, tty=False, **more):
        self.t, self.box, self.name = t, t.box, name
        self.pipe = "/run/%s" % name
        self.guest = t.guest(name, serial="pty" if tty else "file", **more)
        if not tty:
            self.guest.config["serial"] = "pipe:" + self.pipe
            self.guest.type = self.type
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

    # Many moves; after each the guest goes on, `turns` of its own.

    def saves(self, times, *turns):
        for _ in range(times):
            self.save()
            self.restore()
            self.goes_on(*turns)

    def migrates(self, times, *turns):
        for _ in range(times):
            self.migrate()
            self.goes_on(*turns)

    def updates(self, times, *turns):
        if self.box.dm == "qemu":
            raise Skip("QEMU has no live update")
        for _ in range(times):
            update(self.box, self.guest)
            self.goes_on(*turns)

    def close(self):
        """The pipe's reader goes."""
        self.box.call("for pid in $(pidof cat); do readlink /proc/$pid/fd/0 | grep -q '^%s.out' && kill $pid; done; "
                      "rm -f %s.in %s.out %s" % (self.pipe, self.pipe, self.pipe, self.save_file))


class Counter(Mover):
    """The one-sector guest count.S."""

    def __init__(self, t, name, symbols=(), **more):
        super().__init__(t, name, media=None, memory=64,
                         disks=["format=raw,vdev=hda,access=rw,backendtype=qdisk,target=/root/%s.img" % name,
                                "format=raw,vdev=hdc,access=ro,devtype=cdrom,target=/lab/cd.iso"], **more)
        image = "%s/%s.bin" % (self.box.work, name)
        boot_sector(HERE + "/count.S", image, symbols)
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
                         400)

    def close(self):
        super().close()
        self.box.call("rm -f /root/%s.img" % self.name)


# In the guest: write, read back past the cache, compare; a file a turn, and all of them at the end. The same with the disk
# that is hdb, and with a file of the CD, if they are there.
WORK = r"""
. /etc/lab.sh
mkdir -p /work /cd
pio=$(ide 0 1)
mount -t iso9660 -o ro /dev/sr0 /cd 2>/dev/null && cd_sum=$(md5sum </cd/bin/busybox)
(i=0
while [ ! -e /stop ]; do
    i=$((i + 1))
    head -c 200000 /dev/urandom >/tmp/block
    sum=$(md5sum </tmp/block | cut -c1-32)
    dd if=/tmp/block of=/work/$((i % 20)) conv=fsync 2>/dev/null || echo "BAD write $i"
    echo $sum >/work/$((i % 20)).sum
    sync
    echo 3 >/proc/sys/vm/drop_caches
    for k in $i $((i - 7)); do
        [ $k -gt 0 ] || continue
        [ "$(md5sum </work/$((k % 20)) | cut -c1-32)" = "$(cat /work/$((k % 20)).sum)" ] || echo "BAD data $i $k"
    done
    if [ -n "$pio" ]; then
        dd if=/tmp/block of=/dev/$pio bs=4k count=8 seek=$((i % 20 * 8)) oflag=direct 2>/dev/null || echo "BAD write PIO $i"
        dd if=/dev/$pio of=/tmp/back bs=4k count=8 skip=$((i % 20 * 8)) iflag=direct 2>/dev/null || echo "BAD read PIO $i"
        [ "$(md5sum </tmp/back)" = "$(head -c 32768 /tmp/block | md5sum)" ] || echo "BAD data PIO $i"
    fi
    [ -z "$cd_sum" ] || [ "$(md5sum </cd/bin/busybox)" = "$cd_sum" ] || echo "BAD data CD $i"
    echo "COUNT $i"
done; echo "STOPPED $i") &
serve
"""


class Linux(Mover):
    """Debian's kernel with a working loop, and its console."""

    def __init__(self, t, name, append="xen_emul_unplug=never", disks=(), **more):
        super().__init__(t, name, media="disk", append=append + " no_console_suspend", script=WORK,
                         disks=["format=raw,vdev=hdc,access=ro,devtype=cdrom,target=/lab/cd.iso"] + list(disks), **more)
        self.guest.chatter = r"^COUNT \d+\n"

    def begin(self):
        """Boots; the loop runs. Returns the device and file system that Linux has its root on."""
        self.guest.create()
        root = self.guest.wait_for(r"LAB root (\S+ \S+) at .*", 600).group(1)
        self.guest.wait_for(r"LAB serve", 240)
        self.goes_on()
        return root

    def power_off(self):
        """The guest ends itself."""
        self.guest.begin("poweroff -f")
        self.guest.wait_gone(120)

    def count(self):
        """Where the loop is; every number has to have come once."""
        text = self.guest.text
        if "BAD" in text:
            raise LabError("the guest has found wrong data: %s" % re.findall("BAD.*", text)[:5])
        numbers = [int(n) for n in re.findall(r"^COUNT (\d+)\n", text, re.M)]
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

    def no_ata_errors(self):
        """Linux has noticed nothing."""
        self.t.equal(self.guest.cmd("dmesg | grep -E '^.{14} ata.*(exception|timeout|failed|lost)'; true"), "", "ATA errors")


class Emulated(Linux):
    """On 4 CPUs, with all on IDE: one disk by DMA, one by PIO, and a mounted CD."""

    def __init__(self, t, name, **more):
        self.pio_image = "/root/%s-pio.img" % name
        t.box.run("truncate -s 8M " + self.pio_image)
        super().__init__(t, name, memory=400, vcpus=4, append="xen_emul_unplug=never libata.force=1.01:pio4",
                         disks=["format=raw,vdev=hdb,access=rw,backendtype=qdisk,target=" + self.pio_image], **more)

    def begin(self):
        """Boot; the machine is the one that was asked for, and the loop runs."""
        t, guest = self.t, self.guest
        root = super().begin()
        t.equal(guest.cmd("grep -c ^processor /proc/cpuinfo"), "4", "number of CPUs")
        t.match(guest.cmd("cat /proc/mounts"), r"^/dev/sr0 /cd", "mounted file systems")
        t.match(guest.cmd("cat /sys/class/ata_device/dev1.0/xfer_mode"), r"DMA", "the transfer mode of hda")
        t.match(guest.cmd("cat /sys/class/ata_device/dev1.1/xfer_mode"), r"PIO", "the transfer mode of hdb")
        return root

    def close(self):
        super().close()
        self.box.call("rm -f " + self.pio_image)
