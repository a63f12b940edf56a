# SPDX-License-Identifier: GPL-2.0-or-later
"""Recordings made on real Xen, replayed on this machine without it (docs/recording.md): firmware and Debian's kernel from the
guest's first access on, and a guest that runs already."""

import os
import subprocess
import sys

from labkit.box import CTL
from labkit.suite import Skip, life

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from recording import plant     # noqa: E402

STEPS = [
    "from the first access to the login, 256 MB at most",
    "it replays on xenemu to the same bytes",
    "scrubbed, it replays, too",
    "where an answer was changed in it, the replay stops, and says so",
    "a guest that runs: ten seconds of its disk and its console replay",
    "the guest was not disturbed",
]


def call(*argv):
    """(exit status, output) on this machine."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=1800)
    return done.returncode, done.stdout


class Recording:
    """xendmctl record in dom0, into a file of this machine's."""

    def __init__(self, t, guest, name):
        self.t, self.guest = t, guest
        self.file = "%s/share/%s.rec" % (t.box.work, name)
        self.job = t.box.spawn("exec %s record %s /share/%s.rec --limit 256 2>&1" % (CTL, guest.name, name))
        guest.until(lambda: "recording: yes" in guest.monitor("info recording"), "it records", 60)

    def end(self):
        """What it said at its end."""
        self.t.box.run("kill -INT $(pidof xendmctl) 2>/dev/null; true")
        return self.t.box.wait(self.job, 60, "the end of xendmctl record")[1]


def replay(box, file):
    """(exit status, output)"""
    return call(box.tool("tools/xenemu/xenemu"), "replay", "--dm", box.find_xendm(), file)


def replays(t, file):
    """The replay has to be as recorded."""
    status, text = replay(t.box, file)
    t.check(status == 0, "the replay of %s: %s" % (file, text))
    return text


@life("record", STEPS, memory=512)
def record(t):
    """One guest."""
    box = t.box
    if box.dm == "qemu":
        with t.step(STEPS[0], vital=True):
            raise Skip("QEMU records nothing under Xen")
        return
    box.put_ctl()
    ctl = box.tool("tools/xendmctl/xendmctl")
    guest = t.guest("record", memory=400, vcpus=2, append="xen_emul_unplug=never")
    with t.step(STEPS[0], vital=True):
        guest.create(paused=True)
        first = Recording(t, guest, "first")
        box.run("xl unpause record")
        guest.wait_for(r"LAB serve", 900)
        t.match(first.end(), "stopped|its limit")
    with t.step(STEPS[1]):
        t.match(replays(t, first.file), r"[0-9]{5,} entries")
    with t.step(STEPS[2]):
        clean = first.file + ".clean"
        t.equal(call(ctl, "record", "scrub", first.file, clean), (0, ""), "scrub")
        replays(t, clean)
    with t.step(STEPS[3]):
        other = first.file + ".other"
        number = plant(first.file, other, "answer", lambda file: call(ctl, "record", "show", file))
        status, text = replay(box, other)
        t.equal(status, 1, "the replay's status")
        t.match(text, r"entry %d differs" % number)
    with t.step(STEPS[4]):
        second = Recording(t, guest, "second")
        guest.cmd("for i in 1 2 3 4 5; do dd if=/dev/urandom of=/root/data bs=64k count=16 conv=fsync 2>/dev/null; sleep 2; done", 240)
        t.match(second.end(), "stopped|its limit")
        replays(t, second.file)
    with t.step(STEPS[5]):
        t.equal(guest.cmd("echo it goes on"), "it goes on")
        guest.cleanup()
