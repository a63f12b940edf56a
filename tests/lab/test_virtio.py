# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest whose only disk is a virtio one: SeaBIOS and Linux' driver, and moves with requests under way; then a driver
from before virtio 1.0, by the legacy registers alone."""

from labkit.suite import life
from moving import Linux
from network import bridge, cards, data, no_bridge, pings

MOVES = 3
NET = "10.9.3"
MAC = "00:16:3e:00:10:41"
CARD = "bridge=xenbr0,model=virtio-net,type=ioemu,mac=" + MAC

STEPS = [
    "SeaBIOS boots from the disk, and Linux has its root on it",
    "a queue for each CPU, by MSI-X, and the features of virtio 1.2",
    "trim, flush, the write cache's switch",
    "random bytes; model=virtio-net: ping both ways, data both ways",
    "%d x xendmctl update under load" % MOVES,
    "%d x xl save, xl restore under load" % MOVES,
    "%d x xl migrate under load" % MOVES,
    "data both ways by the card, which has moved, too",
    "nothing was lost, repeated or wrong, and the driver has seen no error",
    "powers off",
]

LEGACY_STEPS = [
    "SeaBIOS boots from it by the legacy registers, and Linux has its root on it",
    "xendmctl update, xl save and xl restore under load",
    "nothing was lost, repeated or wrong",
    "powers off",
]


class Virtio(Linux):
    """The guest's disk is no disk of xl's: it is the device model's alone."""

    def __init__(self, t, name, options="", **more):
        super().__init__(t, name, memory=400, append="xen_emul_unplug=never", **more)
        self.guest.config["disk"] = self.guest.config["disk"][1:]
        self.guest.config["device_model_args_hvm"] = [
            "-drive", "file=%s,if=none,id=vd,format=raw" % self.guest.medium,
            "-device", "virtio-blk-pci,drive=vd,serial=lab" + options]

    def begin(self):
        """Boots; the loop runs."""
        self.t.equal(super().begin(), "/dev/vda2 ext4", "the root file system")

    def features(self):
        """Numbers of the bits that Linux has negotiated."""
        bits = self.guest.cmd("cat /sys/block/vda/device/features").split()[-1]
        return [i for i, bit in enumerate(bits) if bit == "1"]


@life("virtio", STEPS, memory=512)
def virtio(t):
    """One guest, moved all the time."""
    t.box.put_ctl()
    mover = Virtio(t, "virtio", ",packed=on", vcpus=2, vif=[CARD])
    guest = mover.guest
    guest.config["device_model_args_hvm"] += ["-device", "virtio-rng-pci"]
    bridge(t.box, [NET])
    try:
        with t.step(STEPS[0], vital=True):
            mover.begin()
        with t.step(STEPS[1]):
            t.equal(guest.cmd("ls /sys/block/vda/mq | wc -l").split()[-1], "2", "queues")
            t.match(guest.cmd("cat /proc/interrupts"), r"virtio\d+-req\.1", "interrupts")
            t.equal({9, 11, 12, 13, 14, 28, 29, 32, 34} - set(mover.features()), set(), "features that are missing")
        with t.step(STEPS[2]):
            guest.cmd("dd if=/dev/zero of=/work/hole bs=1M count=4 conv=fsync 2>/dev/null && rm /work/hole && fstrim /")
            t.equal(guest.cmd("cat /sys/block/vda/serial; echo").split()[-1], "lab", "the serial number")
            guest.cmd("echo 'write through' >/sys/block/vda/cache_type && echo 'write back' >/sys/block/vda/cache_type")
        with t.step(STEPS[3]):
            guest.cmd("drivers", 120)
            interface, address = cards(guest)["virtio_net"]
            t.equal(address, MAC, "the card's address")
            guest.cmd("ip addr add %s.2/24 dev %s; ip link set %s up" % (NET, interface, interface))
            pings(t, guest, NET)
            data(t, guest, NET)
            guest.cmd("modprobe virtio_rng; head -c 100 /dev/hwrng | wc -c | grep -q 100")
        with t.step(STEPS[4], vital=True):
            mover.updates(MOVES)
        with t.step(STEPS[5], vital=True):
            mover.saves(MOVES, 1)
        with t.step(STEPS[6], vital=True):
            mover.migrates(MOVES, 1)
        with t.step(STEPS[7]):
            data(t, guest, NET)
        with t.step(STEPS[8]):
            mover.verify()
            t.equal(guest.cmd("dmesg | grep -iE '(virtio|vda).*(timeout|error|reset)'; true"), "", "errors")
        with t.step(STEPS[9]):
            mover.power_off()
    finally:
        guest.cleanup()
        mover.close()
        no_bridge(t.box)


@life("virtio-legacy", LEGACY_STEPS, memory=512)
def virtio_legacy(t):
    """The registers that drivers from before virtio 1.0 know, and nothing else."""
    t.box.put_ctl()
    mover = Virtio(t, "virtio-legacy", ",disable-modern=on")
    guest = mover.guest
    try:
        with t.step(LEGACY_STEPS[0], vital=True):
            mover.begin()
            t.check(32 not in mover.features(), "the driver has found the registers of virtio 1.0")
        with t.step(LEGACY_STEPS[1], vital=True):
            mover.updates(1)
            mover.saves(1)
        with t.step(LEGACY_STEPS[2]):
            mover.verify()
        with t.step(LEGACY_STEPS[3]):
            mover.power_off()
    finally:
        guest.cleanup()
        mover.close()
