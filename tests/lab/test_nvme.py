# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest whose only disk is an NVMe namespace: SeaBIOS and Linux' driver, and moves with commands under way."""

from labkit.suite import life
from moving import Linux

MOVES = 3

STEPS = [
    "SeaBIOS boots from the namespace, and Linux has its root on it",
    "one pair of queues for each CPU, by MSI-X",
    "trim and flush",
    "%d x xendmctl update under load" % MOVES,
    "%d x xl save, xl restore under load" % MOVES,
    "%d x xl migrate under load" % MOVES,
    "nothing was lost, repeated or wrong, and the driver has seen no error",
    "powers off",
]


class Nvme(Linux):
    """The guest's disk is no disk of xl's: it is the device model's alone."""

    def __init__(self, t):
        super().__init__(t, "nvme", memory=400, vcpus=2, append="xen_emul_unplug=never")
        self.guest.config["disk"] = self.guest.config["disk"][1:]
        self.guest.config["device_model_args_hvm"] = [
            "-drive", "file=%s,if=none,id=nvm,format=raw" % self.guest.medium, "-device", "nvme,drive=nvm,serial=lab"]


@life("nvme", STEPS, memory=512)
def nvme(t):
    """One guest, moved all the time."""
    t.box.put_ctl()
    mover = Nvme(t)
    guest = mover.guest
    try:
        with t.step(STEPS[0], vital=True):
            t.equal(mover.begin(), "/dev/nvme0n1p2 ext4", "the root file system")
        with t.step(STEPS[1]):
            t.equal(guest.cmd("ls /sys/block/nvme0n1/mq | wc -l").split()[-1], "2", "queues")
            t.match(guest.cmd("cat /proc/interrupts"), r"nvme0q2", "interrupts")
        with t.step(STEPS[2]):
            guest.cmd("dd if=/dev/zero of=/work/hole bs=1M count=4 conv=fsync 2>/dev/null && rm /work/hole && fstrim /")
        with t.step(STEPS[3], vital=True):
            mover.updates(MOVES)
        with t.step(STEPS[4], vital=True):
            mover.saves(MOVES, 1)
        with t.step(STEPS[5], vital=True):
            mover.migrates(MOVES, 1)
        with t.step(STEPS[6]):
            mover.verify()
            t.equal(guest.cmd("dmesg | grep -iE 'nvme.*(timeout|abort|reset|error)'; true"), "", "errors")
        with t.step(STEPS[7]):
            mover.power_off()
    finally:
        guest.cleanup()
        mover.close()
