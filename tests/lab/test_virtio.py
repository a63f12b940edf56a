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
    "an agent's channel carries both ways; a directory of dom0 is mounted, read and written",
    "%d x xendmctl update under load" % MOVES,
    "%d x xl save, xl restore under load" % MOVES,
    "%d x xl migrate under load" % MOVES,
    "data both ways by the card and the channel, which have moved, too",
    "nothing was lost, repeated or wrong, and the driver has seen no error",
    "powers off",
]

LEGACY_STEPS = [
    "SeaBIOS boots from it by the legacy registers, and Linux has its root on it",
    "xendmctl update, xl save and xl restore under load",
    "nothing was lost, repeated or wrong",
    "powers off",
]


AGENT, SHARED = "/run/agent", "/root/shared"
MORE = ["-device", "virtio-rng-pci", "-device", "virtio-serial-pci", "-chardev", "pipe,id=agent,path=" + AGENT,
        "-device", "virtserialport,chardev=agent,name=lab.agent",
        "-fsdev", "local,id=shared,path=%s,security_model=none" % SHARED, "-device", "virtio-9p-pci,fsdev=shared,mount_tag=shared"]


def channel(t, guest, word):
    """A line each way."""
    guest.cmd("modprobe virtio_console; port=/dev/$(basename $(dirname $(grep -l lab.agent /sys/class/virtio-ports/*/name))); "
              "(exec 4<>$port; head -n 1 <&4 >/tmp/agent; echo from-%s >&4; sleep 2) >/dev/null 2>&1 &" % word)
    text = t.box.run("timeout 60 sh -c 'exec 3<>{0}.out; echo to-{1} >>{0}.in; head -n 1 <&3'".format(AGENT, word), 90)
    t.equal((text.strip(), guest.cmd("cat /tmp/agent")), ("from-" + word, "to-" + word), "what host and guest have read")


def directory(t, guest):
    """Written on both sides, read on the other."""
    t.box.run("head -c 3000000 /dev/urandom >%s/theirs" % SHARED)
    guest.cmd("modprobe 9pnet_virtio; modprobe 9p; mkdir -p /shared; mount -t 9p -o trans=virtio,version=9p2000.L shared /shared", 120)
    theirs = guest.cmd("md5sum </shared/theirs", 120).split()[0]
    ours = guest.cmd("head -c 3000000 /dev/urandom >/shared/ours; md5sum </shared/ours; umount /shared", 120).split()[0]
    sums = t.box.run("cd %s && md5sum theirs ours | cut -c1-32" % SHARED).split()
    t.equal(sums, [theirs, ours], "checksums in dom0")


class Virtio(Linux):
    """The guest's disk is no disk of xl's: it is the device model's alone."""

    def __init__(self, t, name, options="", cache="writeback", **more):
        super().__init__(t, name, memory=400, append="xen_emul_unplug=never", **more)
        self.guest.config["disk"] = self.guest.config["disk"][1:]
        self.guest.config["device_model_args_hvm"] = [
            "-drive", "file=%s,if=none,id=vd,format=raw,cache=%s" % (self.guest.medium, cache),
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
    guest.config["device_model_args_hvm"] += MORE
    t.box.run("rm -rf {0}.in {0}.out {1}; mkfifo {0}.in {0}.out; mkdir {1}".format(AGENT, SHARED))
    bridge(t.box, [NET])
    try:
        with t.step(STEPS[0], vital=True):
            mover.begin()
        with t.step(STEPS[1]):
            t.equal(guest.cmd("ls /sys/block/vda/mq | wc -l").split()[-1], "2", "queues")
            t.match(guest.cmd("cat /proc/interrupts"), r"virtio\d+-req\.1", "interrupts")
            t.equal({9, 11, 12, 13, 14, 28, 29, 32, 34} - set(mover.features()), set(), "features that are missing")
        with t.step(STEPS[2]):
            guest.cmd("dd if=/dev/zero of=/work/hole bs=1M count=1 conv=fsync 2>/dev/null && rm /work/hole && fstrim /")
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
        with t.step(STEPS[4]):
            channel(t, guest, "first")
            directory(t, guest)
        with t.step(STEPS[5], vital=True):
            mover.updates(MOVES)
        with t.step(STEPS[6], vital=True):
            mover.saves(MOVES, 1)
        with t.step(STEPS[7], vital=True):
            mover.migrates(MOVES, 1)
        with t.step(STEPS[8]):
            data(t, guest, NET)
            channel(t, guest, "second")
        with t.step(STEPS[9]):
            mover.verify()
            t.equal(guest.cmd("dmesg | grep -iE '(virtio|vda).*(timeout|error|reset)'; true"), "", "errors")
        with t.step(STEPS[10]):
            mover.power_off()
    finally:
        guest.cleanup()
        mover.close()
        t.box.call("rm -rf {0}.in {0}.out {1}".format(AGENT, SHARED))
        no_bridge(t.box)


@life("virtio-legacy", LEGACY_STEPS, memory=512)
def virtio_legacy(t):
    """The registers that drivers from before virtio 1.0 know, and nothing else; past dom0's page cache, for which the memory that
    Xen maps has to be copied."""
    t.box.put_ctl()
    mover = Virtio(t, "virtio-legacy", ",disable-modern=on", cache="none")
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
