# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest whose disk is on a virtio SCSI host adapter: SeaBIOS and Linux' driver, disks that come, grow and go, and moves with
commands under way."""

from labkit.suite import life
from moving import Linux
from shared import SPARE_START, write_and_compare

MOVES = 3

STEPS = [
    "SeaBIOS boots from the adapter's disk, and Linux has its root there",
    "a request queue for each CPU; units by id and LUN; a CD is read",
    "16 MB written are in the image",
    "a disk grows, and Linux is told; one goes, and comes back",
    "%d x xendmctl update under load" % MOVES,
    "%d x xl save, xl restore under load" % MOVES,
    "%d x xl migrate under load" % MOVES,
    "nothing was lost, repeated or wrong, and the driver has seen no error",
    "powers off",
]

SECOND, THIRD = "/root/vscsi-b.img", "/root/vscsi-c.img"


class VirtioScsi(Linux):
    """Its disks are none of xl's: they are the device model's alone."""

    def __init__(self, t):
        t.box.run("truncate -s 32M %s; truncate -s 16M %s" % (SECOND, THIRD))
        super().__init__(t, "vscsi", memory=400, vcpus=2, append="xen_emul_unplug=never")
        self.guest.config["disk"] = self.guest.config["disk"][1:]
        self.guest.config["device_model_args_hvm"] = [
            "-device", "virtio-scsi-pci,id=vs",
            "-drive", "file=%s,if=none,id=da,format=raw" % self.guest.medium,
            "-device", "scsi-hd,drive=da,bus=vs.0,scsi-id=0,lun=0",
            "-drive", "file=%s,if=none,id=db,format=raw" % SECOND,
            "-device", "scsi-hd,id=sdb,drive=db,bus=vs.0,scsi-id=3,lun=300,serial=lab",
            "-drive", "file=%s,if=none,id=dc,format=raw" % THIRD,
            "-device", "scsi-hd,id=sdc,drive=dc,bus=vs.0,scsi-id=7",
            "-drive", "file=/lab/cd.iso,if=none,id=dd,format=raw,readonly=on,media=cdrom",
            "-device", "scsi-cd,drive=dd,bus=vs.0,scsi-id=3,lun=1"]

    def monitor(self, line):
        """A line for the device model's monitor."""
        self.t.equal(self.box.run("xl qemu-monitor-command %s '%s'" % (self.name, line)).strip(), "", "the monitor's answer")

    def close(self):
        super().close()
        self.box.call("rm -f %s %s" % (SECOND, THIRD))


def by_address(guest, address):
    """The block device at host:channel:id:lun, whatever the host's number is."""
    return guest.cmd("ls -d /sys/class/scsi_device/*:%s/device/block/* | sed 's,.*/,,'" % address).split()[-1]


@life("virtio-scsi", STEPS, memory=512)
def virtio_scsi(t):
    """One guest, moved all the time."""
    t.box.put_ctl()
    mover = VirtioScsi(t)
    guest = mover.guest
    try:
        with t.step(STEPS[0], vital=True):
            root = mover.begin()
            first = by_address(guest, "0:0:0")      # Linux looks at units in parallel: any of them may be sda
            t.equal(root, "/dev/%s2 ext4" % first, "the root file system")
        with t.step(STEPS[1]):
            t.equal(guest.cmd("ls /sys/block/%s/mq | wc -l" % first).split()[-1], "2", "queues")
            second = by_address(guest, "0:3:%d" % (0x4000 | 300))      # Linux keeps the bits of the flat address
            t.equal(guest.cmd("cat /sys/block/%s/size" % second), "65536", "sectors of the second disk")
            cd = by_address(guest, "0:3:1")
            guest.cmd("mkdir -p /cd2; mount -t iso9660 -o ro /dev/%s /cd2 && cmp /cd/bin/busybox /cd2/bin/busybox" % cd, 120)
        with t.step(STEPS[2]):
            guest.cmd("pattern 16 /tmp/data", 120)
            write_and_compare(t, guest, 16, "/dev/%s3" % first, guest.medium, SPARE_START)
            write_and_compare(t, guest, 16, "/dev/" + second, SECOND)
            guest.cmd("rm /tmp/data")
        with t.step(STEPS[3]):
            t.box.run("truncate -s 48M " + SECOND)
            mover.monitor("block_resize db 48M")
            guest.cmd("for i in $(seq 50); do [ $(cat /sys/block/%s/size) = 98304 ] && break; sleep 0.2; done; "
                      "[ $(cat /sys/block/%s/size) = 98304 ]" % (second, second), 60)
            mover.monitor("device_del sdc")
            guest.cmd("for i in $(seq 50); do ls -d /sys/class/scsi_device/*:0:7:0 2>/dev/null || break; sleep 0.2; done; "
                      "! ls -d /sys/class/scsi_device/*:0:7:0", 60)
            mover.monitor("device_add scsi-hd,id=sdc,drive=dc,bus=vs.0,scsi-id=7")
            guest.cmd("for i in $(seq 50); do ls -d /sys/class/scsi_device/*:0:7:0/device/block/* && break; sleep 0.2; done; "
                      "ls -d /sys/class/scsi_device/*:0:7:0/device/block/*", 60)
        with t.step(STEPS[4], vital=True):
            mover.updates(MOVES)
        with t.step(STEPS[5], vital=True):
            mover.saves(MOVES, 1)
        with t.step(STEPS[6], vital=True):
            mover.migrates(MOVES, 1)
        with t.step(STEPS[7]):
            mover.verify()
            t.equal(guest.cmd("dmesg | grep -iE 'virtio_scsi.*(error|fail|timeout)|I/O error'; true"), "", "errors")
        with t.step(STEPS[8]):
            mover.power_off()
    finally:
        guest.cleanup()
        mover.close()
