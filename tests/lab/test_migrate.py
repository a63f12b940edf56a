# SPDX-License-Identifier: GPL-2.0-or-later
"""Save, restore, migration and soft reset by the toolstack, to the same box. The guest that is moved counts, and would
notice if anything was lost, repeated or corrupted (moving.py)."""

import os
import time

from labkit.suite import life
from moving import Counter, Emulated, Linux

TURNS = int(os.environ.get("XENDM_LAB_TURNS", "10"))    # how often in a loop

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
    "xl save -p: the guest stays, paused",
]
RESTRICT = [
    "dm_restrict=1: the guest runs",
    "dm_restrict=1: xl save, xl restore",
    "dm_restrict=1: xl migrate",
]
SOFT_RESET = [
    "counts, and asks for a soft reset",
    "a new device model serves the same domain, and nothing was lost",
    "the screen is as before",
    "is saved and restored",
]
LINUX = [
    "Debian's kernel writes and verifies, on 4 CPUs, by DMA and PIO, its CD mounted",
    "%d x xl save, xl restore" % TURNS,
    "%d x xl migrate" % TURNS,
    "all data is right, and nothing was repeated",
    "disk, CD and console work as before",
]
PV = [
    "the disk is unplugged, its PV disk works",
    "xl save, xl restore, 2 times",
    "the disk is still unplugged, and all data is right",
]


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
        mover.saves(TURNS)

    with t.step(MOVE[3], vital=True):
        mover.migrates(TURNS)

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
        # (a guest that was paused before cannot be saved by Xen 4.17: "Dom N not suspended")
        mover.command("xl save -p mover %s" % mover.save_file)
        t.match(guest.state() or "", r"^..p", "state after xl save -p")
        box.run("xl unpause mover")
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


@life("soft-reset", SOFT_RESET, quick=True)
def soft_reset(t):
    """What a PVHVM guest's kexec asks for: the device model is saved, ends, and another one goes on in the same domain."""
    turn = 150
    mover = Counter(t, "reset", symbols=["SOFT_RESET=%d" % turn])
    guest = mover.guest
    try:
        with t.step(SOFT_RESET[0], vital=True):
            guest.create()
            domid, pid = guest.domid(), guest.dm_pid()
            mover.goes_on(turn // 3)
            before = guest.screenshot()
            mover.goes_on(turn - 1 - mover.last())
        with t.step(SOFT_RESET[1], vital=True):
            mover.goes_on()
            t.equal(guest.domid(), domid, "the domain's number")
            t.check(guest.dm_pid() != pid, "the device model is the old one")
            t.match(t.box.run("cat /var/log/xen/xl-reset.log"), r"reason code 5 ", "xl's log")
        with t.step(SOFT_RESET[2]):
            after = guest.screenshot()
            t.equal((after.width, after.height), (800, 600), "size of the screen")
            t.equal((after.width, after.height), (before.width, before.height), "size of the screen")
        with t.step(SOFT_RESET[3]):
            mover.save()
            mover.restore()
            mover.goes_on()
    finally:
        guest.cleanup()
        mover.close()


@life("migrate-linux", LINUX, memory=512)
def migrate_linux(t):
    """A real kernel, with its PV drivers for suspending, on the emulated disk with DMA."""
    mover = Emulated(t, "linux")
    guest = mover.guest
    try:
        with t.step(LINUX[0], vital=True):
            mover.begin()
        with t.step(LINUX[1], vital=True):
            mover.saves(TURNS)
        with t.step(LINUX[2], vital=True):
            mover.migrates(TURNS)
        with t.step(LINUX[3]):
            mover.verify()
        with t.step(LINUX[4]):
            mover.no_ata_errors()
            guest.cmd("dd if=/dev/$(ide 0 0) of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null", 120)
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
            t.equal(mover.begin(), "/dev/xvda2 ext4", "the root file system")
        with t.step(PV[1], vital=True):
            mover.saves(2)
        with t.step(PV[2]):
            mover.verify()
            t.equal(guest.cmd("ls /sys/block | grep -c ^sd; true"), "0", "number of emulated disks")
            t.match(guest.monitor("info block"), r"unplugged", "what the device model says of its disks")
    finally:
        guest.cleanup()
        mover.close()
