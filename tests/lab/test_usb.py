# SPDX-License-Identifier: GPL-2.0-or-later
"""USB devices of the host, real ones as far as a box's are: a stick at high speed and one at SuperSpeed, and a mouse at full speed,
in an HVM guest behind an emulated UHCI, or xHCI. Debian's kernel has no front end for qusb."""

import hashlib
import json
import os
import socket
import time

from labkit.kmods import Kernel, plain_name, read_module
from labkit.suite import life
from moving import update

STEPS = [
    "domain 0 has two sticks and a mouse",
    "xl create with usbctrl=: the guest has the controller",
    "xl usbdev-attach: the guest's own driver reads the stick at high speed",
    "also when the device model is replaced in the middle",
    "what is written is in the stick",
    "the mouse's reports arrive",
    "xl usbdev-detach: domain 0 has its stick back",
    "a stick at SuperSpeed",
    "the mouse is pulled out of the host: the guest sees it go",
]
SIZE = 2 << 20
HCD = ("xhci_pci", "usb_storage", "sd_mod", "usbhid", "hid_generic")


class Monitor:
    """Of the box's QEMU."""

    def __init__(self, box):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(box.work + "/qmp.sock")
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.ask("qmp_capabilities")

    def ask(self, command, **args):
        self.file.write(json.dumps({"execute": command, "arguments": args}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "error" in answer:
                raise RuntimeError("%s: %s" % (command, answer["error"]["desc"]))
            if "return" in answer:
                return answer["return"]

    def stick(self, t, name, port):
        """Random bytes; their checksum."""
        path, data = "%s/%s.img" % (t.box.work, name), os.urandom(SIZE)
        with open(path, "wb") as stream:
            stream.write(data)
        self.ask("blockdev-add", driver="raw", file={"driver": "file", "filename": path}, **{"node-name": name + "-node"})
        self.ask("device_add", driver="usb-storage", id=name, bus="xhci.0", port=str(port), drive=name + "-node")
        return hashlib.md5(data).hexdigest()


def load_drivers(t):
    """Modules that the box' domain 0 has not."""
    kernel, names = Kernel(), []
    stage = t.box.work + "/share/usb-modules"
    os.makedirs(stage, exist_ok=True)
    for path in kernel.order(HCD):
        names.append(os.path.basename(plain_name(path)))
        with open(stage + "/" + names[-1], "wb") as stream:
            stream.write(read_module(path))
    t.box.run("".join("insmod /share/usb-modules/%s 2>/dev/null; " % name for name in names) + "true", 120)


def find(t, speed, interface):
    """The bus id, bus and address of domain 0's device of that speed and interface class."""
    script = ("for d in /sys/bus/usb/devices/*-*:1.0; do [ $(cat $d/bInterfaceClass) = %s ] || continue; p=${d%%:*}; "
              "[ $(cat $p/speed) = %s ] && echo ${p##*/} $(cat $p/busnum) $(cat $p/devnum) && break; done")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        words = t.box.call(script % (interface, speed))[1].split()
        if len(words) == 3:
            return words[0], int(words[1]), int(words[2])
        time.sleep(1)
    t.check(False, "no device: " + t.box.call("dmesg | tail -30; grep . /sys/bus/usb/devices/*/speed")[1])
    return None


def guest_disk(guest):
    """The name of the disk that is on USB."""
    return guest.cmd("for i in $(seq 60); do for d in /sys/block/sd*; do readlink -f $d | grep -q usb && [ $(cat $d/size) -gt 0 ] && "
                     "break 2; d=; done; sleep 1; done; echo ${d##*/}", 120).split()[-1]


def read_sum(guest, disk, timeout=180):
    """Of all of it; a driver that has trouble says which."""
    text = guest.cmd("echo 3 >/proc/sys/vm/drop_caches; timeout %d md5sum </dev/%s || dmesg | grep -E ' (usb|scsi|sd) ' | tail -12"
                     % (timeout - 60, disk), timeout)
    return text.split()[0] if len(text.split("\n")) < 4 else text


@life("usb", STEPS, memory=512)
def usb(t):
    """Behind UHCI, where they are full-speed devices."""
    pass_through(t, 1, "uhci_hcd", "UHCI Host Controller")


@life("usb3", STEPS, memory=512)
def usb3(t):
    """Behind xHCI, at their own speeds."""
    pass_through(t, 3, "xhci_hcd", "xHCI Host Controller")


def pass_through(t, version, module, name):
    """One guest."""
    t.box.put_ctl()
    with t.step(STEPS[0], vital=True):
        monitor = Monitor(t.box)
        load_drivers(t)
        wanted = monitor.stick(t, "stick", 2)
        wanted_super = monitor.stick(t, "superstick", 1)
        monitor.ask("device_add", driver="usb-mouse", id="mouse", bus="xhci.0", port="3", usb_version=1)
        stick, super_stick, mouse = find(t, "480", "08"), find(t, "5000", "08"), find(t, "12", "03")
        driver = "readlink /sys/bus/usb/devices/%s:1.0/driver" % stick[0]
        t.match(t.box.run(driver), r"usb-storage$", "the stick's driver")

    guest = t.guest("usb", memory=400, append="xen_emul_unplug=never", usbctrl=["type=devicemodel,version=%d" % version])
    with t.step(STEPS[1], vital=True):
        guest.create()
        guest.wait_for(r"LAB serve", 600)
        guest.cmd("drivers; modprobe -a %s usb_storage sd_mod usbhid hid_generic evdev" % module, 120)
        t.match(guest.cmd("dmesg | grep " + module), name, "the kernel's log")

    with t.step(STEPS[2], vital=True):
        t.box.run("xl usbdev-attach usb hostbus=%d hostaddr=%d" % stick[1:], 60)
        disk = guest_disk(guest)
        begin = time.monotonic()
        t.equal(read_sum(guest, disk), wanted, "the checksum")
        print("#   %d KiB/s" % (SIZE / 1024 / (time.monotonic() - begin)))
        t.match(t.box.run("xl usb-list usb"), r"Bus %03d Device %03d" % stick[1:], "xl usb-list")

    with t.step(STEPS[3]):
        number = guest.begin("echo 3 >/proc/sys/vm/drop_caches; md5sum </dev/%s" % disk)
        for _ in range(3):
            t.box.run("sleep 1")
            update(t.box, guest)
        status, text = guest.finish(number, 400)
        t.equal((status, text.split()[0]), (0, wanted), "exit status and checksum")
        t.equal(guest.cmd("dmesg | grep -iE 'usb.*(reset|error|disconnect)'; true"), "", "what the driver says")

    with t.step(STEPS[4]):
        sent = guest.cmd("head -c 300000 /dev/urandom >/tmp/data; dd if=/tmp/data of=/dev/%s bs=64k seek=4 conv=fsync 2>/dev/null; "
                         "sync; md5sum </tmp/data" % disk, 200).split()[0]
        with open(t.box.work + "/stick.img", "rb") as stream:
            stream.seek(4 << 16)
            t.equal(hashlib.md5(stream.read(300000)).hexdigest(), sent, "the checksum")

    with t.step(STEPS[5]):
        t.box.run("xl usbdev-attach usb hostbus=%d hostaddr=%d" % mouse[1:], 60)
        event = guest.cmd("for i in $(seq 60); do for d in /sys/class/input/event*; do readlink -f $d | grep -q usb && break 2; d=; done; "
                          "sleep 1; done; echo ${d##*/}", 120).split()[-1]
        number = guest.begin("timeout 30 head -c 72 /dev/input/%s | hexdump -v -e '24/1 \"%%02x\" \"\\n\"'" % event)
        for _ in range(20):
            monitor.ask("input-send-event", events=[{"type": "rel", "data": {"axis": "x", "value": 7}}])
            time.sleep(.2)
        status, text = guest.finish(number, 60)
        t.match(text, r"0200000007000000", "what it says")       # EV_REL, REL_X, 7

    with t.step(STEPS[6]):
        t.box.run("xl usbdev-detach usb 0 1", 60)
        t.box.run("for i in $(seq 20); do [ -e /sys/bus/usb/devices/%s:1.0/driver ] && exit; sleep 1; done; exit 1" % stick[0], 60)
        t.match(t.box.run(driver), r"usb-storage$", "the stick's driver")
        guest.cmd("for i in $(seq 60); do [ -e /sys/block/%s ] || break; sleep 1; done; [ ! -e /sys/block/%s ]" % (disk, disk), 120)

    with t.step(STEPS[7]):
        t.box.run("xl usbdev-attach usb hostbus=%d hostaddr=%d" % super_stick[1:], 60)
        t.equal(read_sum(guest, guest_disk(guest)), wanted_super, "the checksum")

    with t.step(STEPS[8]):       # the last one: libxl attaches nothing while it has one in its list that is gone
        monitor.ask("device_del", id="mouse")
        guest.cmd("for i in $(seq 60); do [ -e /dev/input/%s ] || break; sleep 1; done; [ ! -e /dev/input/%s ]" % (event, event), 120)
