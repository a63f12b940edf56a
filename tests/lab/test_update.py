# SPDX-License-Identifier: GPL-2.0-or-later
"""Live update under a running guest: 20 times while its disks and its console work, and programs that refuse."""

from labkit.suite import life
from labkit.util import say
from moving import Counter, Emulated, update

UPDATES = 20

COUNT = [
    "counts in a graphics mode, with a CD",
    "%d x xendmctl update under PIO" % UPDATES,
    "the screen is the same",
    "is saved and restored by the new program",
]
LINUX = [
    "Debian's kernel writes and verifies, on 4 CPUs, by DMA and PIO, its CD mounted",
    "%d x xendmctl update under disk load" % UPDATES,
    "process, pseudo-terminal and screen are the same",
    "a program that refuses changes nothing",
    "nothing was lost, repeated or wrong",
    "powers off",
]


def update_often(t, mover):
    """Many updates, between which the guest goes on."""
    pauses = []
    for number in range(UPDATES):
        text = update(t.box, mover.guest)
        pauses.append(float(t.match(text, r"\+ ([0-9.]+) ms").group(1)))
        say("  update %d: %s" % (number + 1, text.strip()))
        mover.goes_on()
    say("  pause: min %.1f, median %.1f, max %.1f ms" % (min(pauses), sorted(pauses)[UPDATES // 2], max(pauses)))


@life("update-count", COUNT)
def update_count(t):
    """The guest of one sector: the BIOS's PIO, and a graphics mode."""
    t.box.put_ctl()
    mover = Counter(t, "upcount")
    guest = mover.guest
    try:
        with t.step(COUNT[0], vital=True):
            guest.create()
            mover.goes_on()
        with t.step(COUNT[1], vital=True):
            update_often(t, mover)
        with t.step(COUNT[2]):
            t.box.run("xl pause upcount")
            before = guest.screenshot()
            update(t.box, guest)
            after = guest.screenshot()
            t.box.run("xl unpause upcount")
            t.equal((after.width, after.height), (800, 600), "size of the screen")
            t.check(after.pixels == before.pixels, "the screen changed")
            mover.goes_on()
        with t.step(COUNT[3]):
            mover.save()
            mover.restore()
            mover.goes_on()
    finally:
        guest.cleanup()
        mover.close()


@life("update-linux", LINUX, memory=512)
def update_linux(t):
    """A real kernel on its emulated disks."""
    box = t.box
    box.put_ctl()
    mover = Emulated(t, "update", tty=True)
    guest = mover.guest
    try:
        with t.step(LINUX[0], vital=True):
            mover.begin()
            pid = guest.dm_pid()
            terminal = box.run("xenstore-read /local/domain/%d/serial/0/tty" % guest.domid())

        with t.step(LINUX[1], vital=True):
            update_often(t, mover)

        with t.step(LINUX[2]):
            t.equal(guest.dm_pid(), pid, "the device model's process in xenstore")
            box.run("[ -d /proc/%d ]" % pid)
            t.equal(box.run("xenstore-read /local/domain/%d/serial/0/tty" % guest.domid()), terminal, "the pseudo-terminal")
            box.run("xl pause update")
            before = guest.screenshot().pixels
            update(box, guest)
            # (the cursor blinks, for a paused guest, too)
            same = any(guest.screenshot().pixels == before for _ in range(8))
            box.run("xl unpause update")
            t.check(same, "the screen changed")
            mover.goes_on()

        with t.step(LINUX[3]):
            t.match(update(box, guest, 1, "--binary /bin/false"), r"ended with status 1")
            t.match(update(box, guest, 1, "--binary /nonexistent"), r"No such file")
            mover.goes_on()

        with t.step(LINUX[4]):
            mover.verify()
            mover.no_ata_errors()

        with t.step(LINUX[5]):
            mover.power_off()
    finally:
        guest.cleanup()
        mover.close()
