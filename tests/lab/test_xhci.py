# SPDX-License-Identifier: GPL-2.0-or-later
"""usbversion=3: Linux' driver of the USB 3 controller, a memory stick and a tablet behind it, and moves while the stick is read."""

from events import device, wait_inputs
from labkit.suite import life
from moving import Linux
from shared import image_sum, write_and_compare

MOVES = 3
MEGABYTES = 8
STICK = "/root/xhci-stick.img"

STEPS = [
    "libxl's usbversion=3, with a tablet and a stick on the controller",
    "xhci_hcd is the driver, by MSI",
    "the tablet, and a keyboard behind a hub, are enumerated",
    "%d MB written to the stick are in its image, and are read back" % MEGABYTES,
    "%d x xendmctl update while it is read" % MOVES,
    "%d x xl save, xl restore while it is read" % MOVES,
    "%d x xl migrate while it is read" % MOVES,
    "xl usbctrl-attach type=devicemodel version=3: another controller, and it goes again",
    "nothing that was read was wrong, and the driver has seen no error",
    "powers off",
]

# In the guest, on one line: the stick is read past the cache again and again. A line in the file for each time.
READER = ("(n=0; while [ ! -e /stop-stick ]; do n=$((n + 1)); echo 3 >/proc/sys/vm/drop_caches; "
          "sum=$(dd if=/dev/%s bs=1M count=%d iflag=direct 2>/dev/null | md5sum | cut -c1-32); "
          '[ "$sum" = %s ] && echo "$n good" >>/tmp/stick || echo "$n BAD $sum" >>/tmp/stick; '
          "done) </dev/null >/dev/null 2>&1 &")


class Xhci(Linux):
    """What is on the controller is the device model's alone. Without PV interrupts, so that nothing is told of a move."""

    def __init__(self, t):
        self.reading = False
        t.box.run("truncate -s %dM %s" % (MEGABYTES, STICK))
        super().__init__(t, "xhci", memory=400, vcpus=1, append="nopv")
        self.guest.config["usbversion"] = 3
        self.guest.config["device_model_args_hvm"] = [
            "-device", "usb-tablet,bus=usb.0,port=1", "-drive", "file=%s,if=none,id=stick,format=raw" % STICK,
            "-device", "usb-storage,bus=usb.0,port=2,drive=stick", "-device", "usb-hub,bus=usb.0,port=3",
            "-device", "usb-kbd,bus=usb.0,port=3.1"]

    def reads(self):
        """How often the stick was read; all of it has to have been right."""
        text = self.guest.cmd("cat /tmp/stick 2>/dev/null; true")
        self.t.check("BAD" not in text, "the stick was read wrong: %s" % text[-400:])
        return len(text.splitlines())

    def goes_on(self, turns=3):
        """The loop on the disk; and what was begun of the stick after this is read to its end."""
        super().goes_on(turns)
        if self.reading:
            start = self.reads()
            self.guest.until(lambda: self.reads() >= start + 2, "the stick is read", 400)

    def read(self, stick, md5):
        """From now on it is read all the time."""
        self.guest.cmd(READER % (stick, MEGABYTES, md5))
        self.reading = True

    def close(self):
        super().close()
        self.box.call("rm -f " + STICK)


def find_stick(guest):
    """The name of the disk that is on USB."""
    def found():
        text = guest.cmd("drivers; for disk in /sys/block/sd*; do readlink -f $disk; done")
        return [line.rsplit("/", 1)[1] for line in text.splitlines() if "/usb" in line]
    guest.until(found, "there is a disk on USB", 120)
    return found()[0]


def controllers(guest):
    """PCI functions of the class."""
    return guest.cmd("grep -l '^0x0c0330' /sys/bus/pci/devices/*/class; true").split()


def another(t, mover):
    """A controller more, by QMP, and its end."""
    guest = mover.guest
    mover.command("xl usbctrl-attach %s type=devicemodel version=3 ports=2" % mover.name)
    guest.until(lambda: len(controllers(guest)) == 2, "the guest has two controllers", 60)
    number = t.match(mover.command("xl usb-list %s" % mover.name), r"(?m)^(\d+) +devicemodel").group(1)
    mover.command("xl usbctrl-detach %s %s" % (mover.name, number))
    guest.until(lambda: len(controllers(guest)) == 1, "the guest has one controller again", 60)


@life("xhci", STEPS, memory=512)
def xhci(t):
    """One guest, moved all the time."""
    if t.box.dm != "qemu":
        t.box.put_ctl()
    mover = Xhci(t)
    guest = mover.guest
    try:
        with t.step(STEPS[0], vital=True):
            mover.begin()
        with t.step(STEPS[1], vital=True):
            guest.cmd("drivers", 120)
            t.equal(guest.cmd("bound 0x0c0330"), "xhci_hcd", "the controller's driver")
            t.match(guest.cmd("cat /proc/interrupts"), r"MSI.*xhci_hcd", "interrupts")
        with t.step(STEPS[2]):
            found = wait_inputs(guest, 2)
            for kind in ("Tablet", "Keyboard"):
                device(t, found, kind)
        with t.step(STEPS[3], vital=True):
            stick = find_stick(guest)
            t.equal(guest.cmd("cat /sys/block/%s/size" % stick), str(MEGABYTES * 2048), "sectors of the stick")
            guest.cmd("pattern %d /tmp/data" % MEGABYTES, 120)
            write_and_compare(t, guest, MEGABYTES, "/dev/" + stick, STICK)
            guest.cmd("rm /tmp/data")
            mover.read(stick, image_sum(t.box, STICK, MEGABYTES))
            mover.goes_on(1)
        with t.step(STEPS[4], vital=True):
            mover.updates(MOVES, 1)
        with t.step(STEPS[5], vital=True):
            mover.saves(MOVES, 1)
        with t.step(STEPS[6], vital=True):
            mover.migrates(MOVES, 1)
        with t.step(STEPS[7]):
            another(t, mover)
        with t.step(STEPS[8]):
            guest.cmd("touch /stop-stick")
            t.check(mover.reads() >= 2 * 2 * MOVES, "the stick was read seldom")
            mover.verify()
            t.equal(guest.cmd("dmesg | grep -iE 'usb.*(reset|error|timeout)|xhci.*(died|error|timeout|halt)|I/O error'; true"), "",
                    "errors")
        with t.step(STEPS[9]):
            mover.power_off()
    finally:
        guest.cleanup()
        mover.close()
