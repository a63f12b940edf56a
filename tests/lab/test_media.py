# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's media: CDs that are put in, changed and ejected in every order, while the emulated drive is used under dm_restrict and
beside PV disks; disks of the format qcow2 that the PV drivers take over; disks that come and go while the guest runs; all of it
through saving, migration, live update and the end of an image server."""

from labkit import extra
from labkit.suite import Skip, life
from labkit.util import LabError
from moving import Mover, update
from shared import NOTICE, SPARE_START

MEBI = 1 << 20
# busybox has no eject: the last one who closes the drive does it.
EJECT = "cd /proc/sys/dev/cdrom; echo 0 >autoclose; echo 1 >autoeject; dd if=/dev/sr0 of=/dev/null bs=2048 count=1; echo 0 >autoeject"
CDS = {"a": 2, "b": 3}      # MiB

CD = [
    "an empty drive, under dm_restrict",
    "put in, changed, ejected, put in: the guest reads each",
    "the guest ejects, closes the tray, gets another CD",
    "a CD that is not there changes nothing",
    "saved and restored with a CD; changed after that",
    "migrated with a CD; ejected after that, and put in",
]
MEDIA = [
    "boots from a qcow2 disk, which its PV drivers take over; writes and verifies",
    "CDs beside PV disks, in the same orders",
    "a raw and a qcow2 disk come, are written to, and go",
    "saved and restored under disk load",
    "migrated under disk load",
    "live update under disk load, with an attached disk",
    "the image server is killed while the guest reads",
    "a second guest on the same image is refused in one line",
    "all data is right, and in the image",
]

# In the guest: write, read back past the cache, compare; a file a turn. WORKING counts.
WORK = r"""
. /etc/lab.sh
mkdir -p /work
(i=0
while [ ! -e /stop ]; do
    i=$((i + 1))
    head -c 100000 /dev/urandom >/tmp/block
    sum=$(md5sum </tmp/block | cut -c1-32)
    dd if=/tmp/block of=/work/$((i % 20)) conv=fsync 2>/dev/null || echo "BAD write $i"
    echo $sum >/work/$((i % 20)).sum
    echo 3 >/proc/sys/vm/drop_caches
    for k in $i $((i - 7)); do
        [ $k -gt 0 ] || continue
        [ "$(md5sum </work/$((k % 20)) | cut -c1-32)" = "$(cat /work/$((k % 20)).sum)" ] || echo "BAD data $i $k"
    done
    echo $i >/tmp/working
done) &
serve
"""


class Cds:
    """The CDs of dom0, and what the guest sees of them."""

    def __init__(self, t, guest):
        self.t, self.box, self.guest = t, t.box, guest
        for name, size in CDS.items():
            self.box.run("[ -e /root/cd-{0}.iso ] || head -c {1} /dev/urandom >/root/cd-{0}.iso".format(name, size * MEBI))
        self.sums = {name: self.box.run("md5sum </root/cd-%s.iso" % name).split()[0] for name in CDS}

    def put(self, name):
        """xl cd-insert, and the guest reads it."""
        self.box.run("xl cd-insert %s hdc /root/cd-%s.iso" % (self.guest.name, name))
        self.reads(name)

    def reads(self, name):
        """This one is in the drive."""
        self.guest.cmd(NOTICE)
        self.t.equal(self.guest.cmd("md5sum </dev/sr0 | cut -c1-32", 120), self.sums[name], "checksum of CD %s" % name)

    def eject(self):
        """xl cd-eject, and the guest sees that there is none."""
        self.box.run("xl cd-eject %s hdc" % self.guest.name)
        self.none()

    def none(self):
        """No medium is in the drive."""
        status, text = self.guest.finish(self.guest.begin("dd if=/dev/sr0 of=/dev/null bs=2048 count=1 2>&1"), 60)
        self.t.check(status != 0 and "medium" in text, "the empty drive: status %d, %s" % (status, text))

    def orders(self):
        """Put in, changed, changed to the same, ejected, ejected again, put in."""
        for step in ("a", "b", "b", "", "", "a", "b"):
            if step:
                self.put(step)
            else:
                self.eject()


@life("media-cd", CD, memory=512)
def media_cd(t):
    """The emulated drive of a guest whose device model has nothing but what libxl passes it."""
    mover = Mover(t, "cds", media="disk", memory=320, append="xen_emul_unplug=never", script=". /etc/lab.sh\nserve\n", dm_restrict=1,
                  disks=["vdev=hdc,access=ro,devtype=cdrom"])
    guest, box = mover.guest, t.box
    try:
        # libxl lets a restricted device model write files of 256 KiB, and no larger ones: so its disks are devices
        guest.prepare()
        loop = box.run("losetup -f --show " + guest.medium).strip()
        guest.config["disk"][0] = "format=raw,vdev=hda,access=rw,backendtype=phy,target=" + loop
        with t.step(CD[0], vital=True):
            guest.create()
            guest.wait_for("LAB serve", 600)
            cds = Cds(t, guest)
            cds.none()
        with t.step(CD[1]):
            cds.orders()
        with t.step(CD[2]):
            guest.cmd(EJECT)
            cds.none()
            guest.cmd("echo 1 >/proc/sys/dev/cdrom/autoclose")      # by the next who opens it
            cds.reads("b")
            guest.cmd(EJECT)
            cds.put("a")
        with t.step(CD[3]):
            status, _ = box.call("xl cd-insert cds hdc /root/nothing.iso 2>&1")
            t.check(status != 0, "xl cd-insert of nothing succeeds")
            cds.reads("a")
        with t.step(CD[4], vital=True):
            mover.save()
            mover.restore()
            cds.reads("a")
            cds.put("b")
        with t.step(CD[5]):
            mover.migrate()
            cds.reads("b")
            cds.eject()
            cds.put("a")
    finally:
        guest.cleanup()
        mover.close()
        box.call("losetup -D")


class Worker(Mover):
    """Debian's kernel on PV disks of which the first is a qcow2 image, with a working loop."""

    def __init__(self, t):
        super().__init__(t, "media", media="disk", memory=400, append="labroot=xvda2 no_console_suspend", script=WORK,
                         disks=["format=raw,vdev=hdc,access=ro,devtype=cdrom,target=/root/cd-a.iso"])
        self.image = self.guest.directory + "/disk.qcow2"
        self.guest.config["disk"][0] = "format=qcow2,vdev=hda,access=rw,backendtype=qdisk,target=" + self.image

    def create(self):
        """With the medium converted."""
        self.guest.prepare()
        self.box.run("qemu-img convert -f raw -O qcow2 %s %s" % (self.guest.medium, self.image), 300)
        self.guest.create()

    def working(self):
        """Turns so far."""
        if "BAD" in self.guest.text:
            raise LabError("the guest has found wrong data: %s" % self.guest.text[self.guest.text.index("BAD"):][:200])
        return int(self.guest.cmd("cat /tmp/working 2>/dev/null || echo 0"))

    def goes_on(self, turns=2):
        """So many turns of the loop."""
        start = self.working()
        self.guest.until(lambda: self.working() >= start + turns, "%d turns after %d" % (turns, start), 200)


def pattern_sum(guest, device):
    """16 MiB are written to a disk; their checksum, as the guest reads them back."""
    guest.cmd("[ -e /tmp/data ] || pattern 4 /tmp/data", 120)
    wrote = guest.cmd("write_check /tmp/data %s" % device, 200).split()[2]
    guest.cmd("[ $(read_check %s 4 | cut -d' ' -f3) = %s ]" % (device, wrote), 200)
    return wrote


def attach(t, guest, kind, vdev, path):
    """xl block-attach of a qdisk; the guest has it."""
    t.box.run("xl block-attach %s format=%s,vdev=%s,access=rw,backendtype=qdisk,target=%s" % (guest.name, kind, vdev, path))
    guest.until(lambda: guest.finish(guest.begin("[ $(cat /sys/block/%s/size) -gt 0 ]" % vdev))[0] == 0, vdev + " is there", 60)


def detach(t, guest, vdev):
    """xl block-detach; the guest has it no more, and its image is free."""
    t.box.run("xl block-detach %s %s" % (guest.name, vdev))
    guest.until(lambda: guest.finish(guest.begin("[ ! -e /sys/block/%s ]" % vdev))[0] == 0, vdev + " is gone", 60)


def image_sum(box, kind, path):
    """Of the first 4 MiB of an image that is free."""
    return box.run("for i in 1 2 3 4 5 6 7 8 9 10; do qemu-img convert -f %s -O raw %s /root/plain.img 2>/dev/null && break; sleep 1; done; "
                   "head -c %d /root/plain.img | md5sum; rm /root/plain.img" % (kind, path, 4 * MEBI), 120).split()[0]


@life("media", MEDIA, memory=700)
def media(t):
    """One guest with PV drivers."""
    box = t.box
    extra.image_server(box)
    if box.dm != "qemu":
        box.put_ctl()
    box.run("qemu-img create -f raw /root/x.img 16M; qemu-img create -f qcow2 /root/x.qcow2 16M; head -c %d /dev/urandom >/root/cd-a.iso"
            % (CDS["a"] * MEBI))
    worker = Worker(t)
    try:
        steps(t, worker)
    finally:
        worker.guest.cleanup()
        worker.close()
        box.call("rm -f /root/x.img /root/x.qcow2 /root/cd-?.iso")


def steps(t, worker):
    """The steps."""
    box, guest = t.box, worker.guest
    cds = Cds(t, guest)
    with t.step(MEDIA[0], vital=True):
        worker.create()
        t.match(guest.wait_for(r"LAB root (\S+ \S+) at .*", 600).group(1), r"^/dev/xvda2 ext4$")
        guest.wait_for("LAB serve", 120)
        t.equal(box.run("xenstore-read /local/domain/0/backend/qdisk/%d/768/state" % guest.domid()).strip(), "4", "state of the qdisk")
        t.equal(guest.cmd("ls /sys/block | grep -c ^sd; true"), "0", "number of emulated disks")
        worker.goes_on()

    with t.step(MEDIA[1]):
        cds.reads("a")
        cds.orders()

    with t.step(MEDIA[2]):
        for kind, vdev, path in (("raw", "xvdb", "/root/x.img"), ("qcow2", "xvdc", "/root/x.qcow2")):
            attach(t, guest, kind, vdev, path)
            wrote = pattern_sum(guest, "/dev/" + vdev)
            worker.goes_on()
            detach(t, guest, vdev)
            t.equal(image_sum(box, kind, path), wrote, "checksum of %s" % path)

    with t.step(MEDIA[3], vital=True):
        worker.save()
        worker.restore()
        worker.goes_on()
        cds.reads("b")

    with t.step(MEDIA[4], vital=True):
        worker.migrate()
        worker.goes_on()
        cds.put("a")

    with t.step(MEDIA[5]):
        if box.dm == "qemu":
            raise Skip("QEMU has no live update")
        attach(t, guest, "qcow2", "xvdc", "/root/x.qcow2")
        for _ in range(3):
            update(box, guest)
            worker.goes_on()
        pattern_sum(guest, "/dev/xvdc")

    with t.step(MEDIA[6]):
        if box.dm == "qemu":
            raise Skip("QEMU has no image server")
        guest.cmd("sync; sleep 1; dd if=/dev/xvdc of=/dev/null bs=64k count=1 iflag=direct 2>/dev/null")
        reading = guest.begin("for i in 1 2 3 4 5; do echo $(read_check /dev/xvdc 4 | cut -d' ' -f3); done | sort -u | wc -l")
        box.run("for pid in $(pidof qemu-storage-daemon); do tr '\\0' ' ' </proc/$pid/cmdline | grep -q x.qcow2 && kill -9 $pid; done; true")
        t.equal(guest.finish(reading, 300), (0, "1"), "different checksums of what is read")
        worker.goes_on()
        detach(t, guest, "xvdc")

    with t.step(MEDIA[7]):
        second = t.guest("second", media=None, memory=64, disks=[guest.config["disk"][0]])
        status, text = second.try_create()
        t.check(status != 0, "a second guest got the image")
        log = box.run("cat /var/log/xen/qemu-dm-second.log")
        t.match(log, r"lock", "the second device model's log")
        t.equal(len([line for line in log.splitlines() if "lock" in line]) <= 2, True, "one line: " + log[-500:])
        second.cleanup()
        worker.goes_on()

    with t.step(MEDIA[8]):
        guest.cmd("touch /stop; while [ $(cat /tmp/working) != $(sleep 3; cat /tmp/working) ]; do :; done", 200)
        guest.cmd("echo 3 >/proc/sys/vm/drop_caches; for f in /work/*.sum; do "
                  '[ "$(md5sum <${f%.sum} | cut -c1-32)" = "$(cat $f)" ] || exit 1; done', 240)
        t.check("BAD" not in guest.text, "the guest has found wrong data")
        wrote = pattern_sum(guest, "/dev/xvda3")
        guest.begin("sync; poweroff -f")
        guest.wait_gone(120)
        box.run("for i in 1 2 3 4 5; do qemu-img check -q %s && break; sleep 1; done; qemu-img check -q %s" % (worker.image, worker.image), 120)
        box.run("qemu-img convert -f qcow2 -O raw %s /root/plain.img" % worker.image, 200)
        t.equal(box.run("dd if=/root/plain.img bs=1M skip=%d count=4 status=none | md5sum; rm /root/plain.img" % SPARE_START).split()[0], wrote,
                "checksum in the image")
