# SPDX-License-Identifier: GPL-2.0-or-later
"""Live update under a running guest: 20 times while its disk and its console work, and a program that refuses."""

import os
import re

from labkit.suite import life
from labkit.util import LabError, say

UPDATES = 20
CTL = "/root/xendmctl"

STEPS = [
    "boots",
    "%d x xendmctl update under disk load" % UPDATES,
    "nothing was lost, repeated or wrong",
    "process, pseudo-terminal and screen are the same",
    "a program that refuses changes nothing",
    "powers off",
]

# Written by DMA or PIO, read back past the page cache; a line for each turn.
LOAD = ("n=0; while [ ! -e /tmp/stop ]; do n=$((n + 1)); head -c 262144 /dev/urandom >/tmp/one; "
        "dd if=/tmp/one of=/dev/sda3 bs=64k oflag=direct 2>/dev/null || echo LAB wrong write $n; "
        "dd if=/dev/sda3 of=/tmp/two bs=64k count=4 iflag=direct 2>/dev/null || echo LAB wrong read $n; "
        "cmp -s /tmp/one /tmp/two || echo LAB wrong data $n; echo LAB turn $n; done; echo LAB stopped $n")


def find_ctl(box):
    """xendmctl of the build whose xendm is under test."""
    path = os.path.join(os.path.dirname(box.find_xendm()), "tools/xendmctl/xendmctl")
    for place in (path, path.replace("/.libs", "")):
        if os.path.exists(place):
            return place
    raise LabError("no xendmctl at %s" % path)


def update(box, guest, status=0, more=""):
    """xendmctl update; what it says."""
    got, text = box.call("%s update %d %s 2>&1" % (CTL, guest.domid(), more), 120)
    if got != status:
        raise LabError("xendmctl update: exit status %d: %s" % (got, text.strip()[-800:]))
    return text


@life("update", STEPS, memory=640)
def live_update(t):
    """One guest, a disk by DMA, two CPUs."""
    box = t.box
    guest = t.guest("update", memory=512, vcpus=2, append="xen_emul_unplug=never")
    box.put(find_ctl(box), CTL)
    box.run("chmod 755 " + CTL)

    with t.step(STEPS[0], vital=True):
        guest.create()
        guest.wait_for(r"LAB serve", 400)
        pid = guest.dm_pid()
        terminal = box.run("xenstore-read /local/domain/%d/serial/0/tty" % guest.domid())

    with t.step(STEPS[1], vital=True):
        guest.cmd("(%s) &" % LOAD)
        guest.wait_for(r"LAB turn 2$", 120)
        pauses = []
        for number in range(UPDATES):
            text = update(box, guest)
            pauses.append(float(t.match(text, r"\+ ([0-9.]+) ms").group(1)))
            say("  update %d: %s" % (number + 1, text.strip()))
            guest.wait_for(r"LAB turn \d+$", 120)
        say("  pause: min %.1f, median %.1f, max %.1f ms" % (min(pauses), sorted(pauses)[UPDATES // 2], max(pauses)))

    with t.step(STEPS[2]):
        guest.cmd("touch /tmp/stop")
        last = int(guest.wait_for(r"LAB stopped (\d+)", 120).group(1))
        t.equal([int(n) for n in re.findall(r"LAB turn (\d+)$", guest.text, re.M)], list(range(1, last + 1)),
                "the turns on the console")
        t.check("LAB wrong" not in guest.text, "the guest found something wrong")
        t.equal(guest.cmd("dmesg | grep -E '^.{14} ata.*(exception|timeout|failed|lost)'; true"), "", "ATA errors")

    with t.step(STEPS[3]):
        t.equal(guest.dm_pid(), pid, "the device model's process in xenstore")
        box.run("[ -d /proc/%d ]" % pid)
        t.equal(box.run("xenstore-read /local/domain/%d/serial/0/tty" % guest.domid()), terminal, "the pseudo-terminal")
        before = guest.screenshot().pixels
        update(box, guest)
        t.check(guest.screenshot().pixels == before, "the screen changed")

    with t.step(STEPS[4]):
        t.match(update(box, guest, 1, "--binary /bin/false"), r"ended with status 1")
        t.equal(guest.cmd("echo still here"), "still here", "the guest's answer")
        t.match(update(box, guest, 1, "--binary /nonexistent"), r"No such file")

    with t.step(STEPS[5]):
        guest.begin("poweroff -f")
        guest.wait_gone(120)
