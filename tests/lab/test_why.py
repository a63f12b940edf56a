# SPDX-License-Identifier: GPL-2.0-or-later
"""xendmctl why, where it needs a real Xen: what vCPUs do, how guests end, interrupts, who of the toolstack is at work."""

from labkit.suite import life
from moving import CTL, put_ctl

STEPS = [
    "a disk without a boot sector: the firmware found nothing to boot",
    "no disk at all",
    "a boot sector that halts with interrupts off",
    "a boot sector that spins",
    "the guest is paused, and nobody is at work on it",
    "a triple fault, kept: Xen's word for it",
    "the device model is stopped by a signal",
    "xenstored is stopped by a signal",
    "Debian's kernel is well, idle",
    "Debian's kernel, while a program computes, is well",
]
# cli; spins at 7c01 | halts at 7c02 | loads an interrupt table of no size, and breaks
SPINS, HALTS, FAULTS = b"\xfa\xeb\xfe", b"\xfa\xf4\xeb\xfd", b"\xfa\x0f\x01\x1e\x10\x7c\xcc".ljust(16, b"\0") + bytes(6)


def why(t, guest):
    """Its sentences."""
    return t.box.run("%s why %s" % (CTL, guest.name), 60).splitlines()


def until(t, guest, pattern, timeout=60):
    """The first sentence has this."""
    last = []

    def ask():
        last[:] = why(t, guest)
        return pattern in last[0]
    try:
        guest.until(ask, "why says %s" % pattern, timeout)
    except Exception:
        t.check(False, "why says %s" % " / ".join(last))
    return last


def with_sector(t, name, code, **more):
    """A guest of one sector, if there is one."""
    path = "/root/%s.img" % name
    if code is not None:
        with open("%s/share/%s.img" % (t.box.work, name), "wb") as stream:
            stream.write(code.ljust(510, b"\0") + b"\x55\xaa" if code else bytes(512))
        t.box.run("cp /share/%s.img %s && truncate -s 1M %s" % (name, path, path))
        more["disks"] = ["format=raw,vdev=hda,access=rw,backendtype=qdisk,target=%s" % path]
    guest = t.guest(name, media=None, serial="file", memory=64, **more)
    guest.create()
    return guest


def one_sector(t):
    """The steps without a kernel."""
    box = t.box
    with t.step(STEPS[0]):
        guest = with_sector(t, "nosector", b"")
        said = until(t, guest, "the firmware found nothing to boot: ide-768 has no boot sector")
        t.match(said[0], "real mode|16-bit|32-bit")
        guest.destroy()
    with t.step(STEPS[1]):
        guest = with_sector(t, "nodisk", None)
        until(t, guest, "the firmware found nothing to boot: there is no disk")
        guest.destroy()
    with t.step(STEPS[2]):
        guest = with_sector(t, "halts", HALTS)
        until(t, guest, "vCPU 0 has halted with interrupts off, at 0000:7c02 in real mode, code eb fd")
        guest.destroy()
    guest = with_sector(t, "spins", SPINS)
    with t.step(STEPS[3]):
        until(t, guest, "vCPU 0 spins at 0000:7c01 in real mode, code eb fe")
    with t.step(STEPS[4]):
        box.run("xl pause spins")
        until(t, guest, "the guest is paused in Xen, and no toolstack or debugger is at work on it")
        box.run("xl unpause spins")
        until(t, guest, "vCPU 0 spins")
    with t.step(STEPS[6]):
        box.run("kill -STOP %d" % guest.dm_pid())
        until(t, guest, "is stopped by a signal or a debugger")
        box.run("kill -CONT %d" % guest.dm_pid())
        until(t, guest, "vCPU 0 spins")
    with t.step(STEPS[7]):
        box.run("kill -STOP $(pidof xenstored)")
        said = why(t, guest)
        box.run("kill -CONT $(pidof xenstored)")
        t.match(said[0], "^xenstored, process [0-9]+, is stopped by a signal")
    guest.destroy()
    with t.step(STEPS[5]):
        guest = with_sector(t, "faults", FAULTS, on_reboot="preserve", on_crash="preserve")
        said = until(t, guest, "the guest has shut down, and is kept: ")
        t.match(said[0], "triple fault|crashed")
        t.match(said[0], "Xen says: d[0-9]+v0 Triple fault")
        guest.destroy()


@life("why", STEPS, memory=512)
def life_why(t):
    """Planted hangs, then a guest that is well."""
    put_ctl(t.box)
    one_sector(t)
    with t.step(STEPS[8], vital=True):
        guest = t.guest("well")
        guest.create()
        guest.wait_for("LAB serve", 400)
        said = until(t, guest, "well: nothing that can be seen from here keeps it from going on")
        t.match("\n".join(said), "vCPU 0 (idles|runs now and then).* in 64-bit mode, code [0-9a-f ]+")
    with t.step(STEPS[9]):
        guest.cmd("(while :; do :; done) & sleep 1")
        said = until(t, guest, "well: nothing that can be seen from here keeps it from going on")
        t.match("\n".join(said), "vCPU 0 (computes|runs now and then)")
