# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest whose disk is sda, of an LSI 53C895A: SeaBIOS and Linux' sym53c8xx, and moves with commands under way."""

from labkit.suite import life
from moving import Linux
from shared import SPARE_START, write_and_compare

MOVES = 3

STEPS = [
    "SeaBIOS boots from the adapter's disk, and Linux has its root there",
    "tagged commands; two disks and their ids",
    "16 MB written are in the image",
    "%d x xl save, xl restore under load" % MOVES,
    "%d x xl migrate under load" % MOVES,
    "%d x xendmctl update under load" % MOVES,
    "nothing was lost, repeated or wrong, and the driver has seen no error",
    "powers off",
]


class Scsi(Linux):
    """Two disks on the adapter."""

    def __init__(self, t):
        self.second = "/root/scsi-b.img"
        t.box.run("truncate -s 32M " + self.second)
        super().__init__(t, "scsi", memory=400, vcpus=2, append="xen_emul_unplug=never",
                         disks=["format=raw,vdev=sdb,access=rw,backendtype=qdisk,target=" + self.second])
        self.guest.config["disk"][0] = self.guest.config["disk"][0].replace("vdev=hda", "vdev=sda")

    def close(self):
        super().close()
        self.box.call("rm -f " + self.second)


@life("scsi", STEPS, memory=512)
def scsi(t):
    """One guest, moved all the time."""
    if t.box.dm != "qemu":
        t.box.put_ctl()
    mover = Scsi(t)
    guest = mover.guest
    try:
        with t.step(STEPS[0], vital=True):
            t.equal(mover.begin(), "/dev/sda2 ext4", "the root file system")
            t.equal(guest.cmd("bound 0x010000"), "sym53c8xx", "the adapter's driver")
        with t.step(STEPS[1]):
            t.check(int(guest.cmd("cat /sys/block/sda/device/queue_depth")) > 1, "the disk has no tagged commands")
            t.equal(guest.cmd("cat /sys/block/sdb/size"), "65536", "sectors of the second disk")
        with t.step(STEPS[2]):
            guest.cmd("pattern 16 /tmp/data", 120)
            write_and_compare(t, guest, 16, "/dev/sda3", guest.medium, SPARE_START)
            write_and_compare(t, guest, 16, "/dev/sdb", mover.second)
            guest.cmd("rm /tmp/data")
        with t.step(STEPS[3], vital=True):
            mover.saves(MOVES, 1)
        with t.step(STEPS[4], vital=True):
            mover.migrates(MOVES, 1)
        with t.step(STEPS[5], vital=True):
            mover.updates(MOVES, 1)
        with t.step(STEPS[6]):
            mover.verify()
            t.equal(guest.cmd("dmesg | grep -iE 'sym0.*(error|abort|timeout|mismatch)|I/O error'; true"), "", "errors")
        with t.step(STEPS[7]):
            mover.power_off()
    finally:
        guest.cleanup()
        mover.close()
