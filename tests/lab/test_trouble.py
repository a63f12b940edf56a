# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad disks, killed device models, guests that end in the middle of something. One-sector guests."""

import re
import time

from labkit.suite import life

DISKS = [
    "a missing disk is refused with its name",
    "a read-only disk is refused with a reason",
    "an empty disk boots nothing and breaks nothing",
    "a disk that fails: the BIOS gets an error",
]
ENDS = [
    "destroy with BIOS disk I/O in flight",
    "kill -9 of the device model, then xl destroy",
    "SIGTERM ends the device model",
    "pause, then destroy",
]
RESTRICT = [
    "dm_restrict=1: the guest runs and reads its disk",
    "dm_restrict=1: the device model is not root, and is locked up",
]


def refused(t, guest, path, reason="$^"):
    """xl create fails, and xl or the device model's log names the disk, or the reason if that is enough."""
    status, text = guest.try_create()
    t.check(status != 0, "xl create accepted %s" % path)
    text += t.box.call("cat /var/log/xen/qemu-dm-%s.log" % guest.name)[1]
    t.check(path in text or re.search(reason, text), "no message names %s: %s" % (path, text[-600:]))
    t.check(guest.domid() is None, "the domain exists")


@life("disks", DISKS, quick=True)
def disks(t):
    """What cannot be opened is refused; what cannot be read is an error of the drive."""
    with t.step(DISKS[0]):
        # the file goes away under libxl's nose: a disk of a script whose path is wrong
        t.box.run("ln -sf /root/nowhere.img /root/dangling.img")
        refused(t, t.guest("missing", media=None, serial="file",
                           disks=["format=raw,vdev=hda,access=rw,backendtype=qdisk,target=/root/dangling.img"]),
                "/root/dangling.img")
        t.box.run("rm /root/dangling.img")

    with t.step(DISKS[1]):
        loop = t.box.run("truncate -s 8M /root/ro.img; losetup -r -f --show /root/ro.img").strip()
        try:
            refused(t, t.guest("readonly", media=None, serial="file",
                               disks=["format=raw,vdev=hda,access=rw,backendtype=qdisk,target=%s" % loop]), loop,
                    "not writable|[Rr]ead-only")
        finally:
            t.box.run("losetup -d %s; rm /root/ro.img" % loop)

    with t.step(DISKS[2]):
        # 100 bytes: no whole sector. Refused with its name, or a drive the BIOS cannot boot from.
        t.box.run("head -c 100 /dev/zero >/root/small.img")
        guest = t.guest("small", media=None, serial="file",
                        disks=["format=raw,vdev=hda,access=rw,backendtype=qdisk,target=/root/small.img"])
        status, text = guest.try_create()
        if status == 0:
            guest.until(lambda: "No bootable device" in t.box.run("xl dmesg -c"), "the BIOS gives up", 90)
            t.match(guest.state() or "", r"^[rb-]+$", "state")
            guest.destroy()
        else:
            text += t.box.call("cat /var/log/xen/qemu-dm-small.log")[1]
            t.check("/root/small.img" in text, "no message names the disk: %s" % text[-600:])

    with t.step(DISKS[3]):
        t.box.run("""set -e
cp --sparse=always /lab/tiny.img /root/failing.img
loop=$(losetup -f --show /root/failing.img)
printf '0 8 linear %s 0\\n8 8 error\\n16 16368 linear %s 16\\n' $loop $loop | dmsetup create failing --noudevsync
dmsetup mknodes failing""")
        guest = t.guest("failing", media=None, serial="file",
                        disks=["format=raw,vdev=hda,access=rw,backendtype=qdisk,target=/dev/mapper/failing"])
        try:
            guest.create()
            guest.wait_for(r"Tr[0-9A-F]{2}w[0-9A-F]{2}E\.", 200, bad=None)
        finally:
            guest.cleanup()
            t.box.run("dmsetup remove --noudevsync failing; losetup -D; rm -f /root/failing.img")


@life("ends", ENDS, quick=True)
def ends(t):
    """However a guest ends, nothing stays."""
    guest = t.guest("ends-a", media="tiny", serial="file")
    with t.step(ENDS[0]):
        guest.create()
        guest.wait_for(r"TRWE\.", 120, bad=None)
        pid = guest.dm_pid()
        guest.destroy()
        guest.wait_gone(30)
        guest.until(lambda: t.box.call("[ -d /proc/%d ]" % pid)[0] != 0, "the device model is gone", 20)

    guest = t.guest("ends-b", media="tiny", serial="file")
    with t.step(ENDS[1]):
        guest.create()
        guest.wait_for(r"TRWE\.", 120, bad=None)
        t.box.run("kill -9 %d" % guest.dm_pid())
        time.sleep(2)
        guest.destroy()
        guest.wait_gone(60)

    guest = t.guest("ends-c", media="tiny", serial="file")
    with t.step(ENDS[2]):
        guest.create()
        guest.wait_for(r"T", 120, bad=None)
        pid = guest.dm_pid()
        t.box.run("kill -TERM %d" % pid)
        guest.until(lambda: t.box.call("[ -d /proc/%d ]" % pid)[0] != 0, "the device model is gone", 20)
        t.box.call("xl destroy ends-c")     # QEMU's own takes the domain along
        guest.wait_gone(60)

    guest = t.guest("ends-d", media="tiny", serial="file")
    with t.step(ENDS[3]):
        guest.create()
        guest.wait_for(r"T", 120, bad=None)
        t.box.run("xl pause ends-d")
        guest.destroy()
        guest.wait_gone(30)


@life("restrict", RESTRICT, quick=True)
def restrict(t):
    """A device model that gave up everything it no longer needs."""
    guest = t.guest("restrict", media="tiny", serial="pty", dm_restrict=1)
    with t.step(RESTRICT[0], vital=True):
        guest.create()
        guest.wait_for(r"TRWE\.\.", 120, bad=None)
    with t.step(RESTRICT[1]):
        pid, domid = guest.dm_pid(), guest.domid()
        status = t.box.run("cat /proc/%d/status" % pid)
        uid = 131072 + domid
        t.match(status, r"^Uid:\s+%d\s+%d\s+%d\s+%d$" % (uid, uid, uid, uid), "process status")
        for kind in ("Eff", "Prm", "Inh"):
            t.match(status, r"^Cap%s:\s+0+$" % kind, "process status")
        if t.box.dm != "qemu":      # which libxl does not ask for a filter of system calls
            t.match(status, r"^Seccomp:\s+2$", "process status")
        root = t.box.run("readlink /proc/%d/root" % pid).strip()
        t.check(root != "/", "the process sees the whole file system")
        t.check(t.box.run("ls -A /proc/%d/root/" % pid).strip() == "", "its root directory is not empty")
        text = t.box.run("ls /proc/%d/root/ >/dev/null; xl list restrict" % pid)
        t.match(text, r"restrict", "xl list")
        guest.destroy()
        guest.wait_gone(30)
