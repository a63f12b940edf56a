# SPDX-License-Identifier: GPL-2.0-or-later
"""Two guests at once; a serial port that is a file; cirrus, libxl's default display."""

from labkit.suite import life

STEPS = [
    "two guests boot at the same time",
    "each has its own disk",
    "a script's output in a serial file, then power off",
    "the other goes on",
]


@life("two", STEPS, memory=1000)
def two(t):
    """Different serial ports, displays and numbers of CPUs."""
    first = t.guest("two-a", memory=448, serial="file", vga="cirrus", append="xen_emul_unplug=never",
                    script=". /etc/lab.sh\necho LAB serve\necho a-was-here >/dev/sda3\nsync\nsleep 20\n"
                           "echo LAB bye\nsleep 1\npoweroff -f\n")
    second = t.guest("two-b", memory=448, vcpus=2, append="xen_emul_unplug=never")
    with t.step(STEPS[0], vital=True):
        first.create()
        second.create()
        first.wait_for(r"LAB serve", 400)
        second.wait_for(r"LAB serve", 400)

    with t.step(STEPS[1]):
        second.cmd("echo b-was-here >/dev/sda3; sync")
        for guest, letter in ((first, "a"), (second, "b")):
            t.equal(t.box.run("dd if=%s bs=1M skip=45 count=1 status=none | head -c 10" % guest.medium),
                    "%s-was-here" % letter, "data on %s's disk" % guest.name)

    with t.step(STEPS[2]):
        first.wait_for(r"LAB bye", 60)
        first.wait_gone(60)

    with t.step(STEPS[3]):
        t.equal(second.cmd("grep -c ^processor /proc/cpuinfo"), "2", "number of CPUs")
        second.cmd("dd if=/dev/sda of=/dev/null bs=1M count=2 iflag=direct 2>/dev/null")
