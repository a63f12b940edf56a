# SPDX-License-Identifier: GPL-2.0-or-later
"""-machine secondary: a guest whose PC is QEMU's has an NVMe disk of xendm's, from before its firmware on."""

from labkit.box import CTL, QEMU_DM
from labkit.suite import Skip, life
from shared import write_and_compare

STEPS = [
    "xl create -p with QEMU, the disk is added, xl unpause: Linux boots and finds it",
    "16 MB written are in the image",
    "live update while the guest writes",
    "powers off, and the secondary goes with the domain",
]
IMAGE, PIDFILE, SOCKET = "/root/secondary.img", "/run/secondary.pid", "/run/secondary.qmp"


def add(box, domid):
    """It serves when the command ends."""
    box.run("truncate -s 64M %s" % IMAGE)
    box.run("%s -xen-domid %d -machine secondary -m 512 -daemonize -pidfile %s -chardev socket,id=q,path=%s,server=on,wait=off "
            "-mon chardev=q,mode=control -drive file=%s,if=none,id=a,format=raw -device nvme,drive=a,serial=lab,addr=0x1e 2>&1"
            % (box.dm_path, domid, PIDFILE, SOCKET, IMAGE), 60)


@life("secondary", STEPS, memory=512)
def secondary(t):
    """One guest of two device models."""
    box = t.box
    if box.dm == "qemu":
        with t.step(STEPS[0], vital=True):
            raise Skip("QEMU has no such instance")
        return
    box.put_ctl()
    guest = t.guest("secondary", memory=512, vcpus=1, append="xen_emul_unplug=never", device_model_override=QEMU_DM)
    try:
        with t.step(STEPS[0], vital=True):
            guest.create(paused=True)
            add(box, guest.domid())
            box.run("xl unpause secondary")
            guest.wait_for(r"LAB serve", 600)
            t.equal(guest.cmd("bound 0x010802"), "nvme", "the driver")
            t.equal(guest.cmd("cat /sys/block/nvme0n1/size"), "131072", "sectors")
            t.match(box.run("cat /proc/$(cat %s)/cmdline | tr '\\0' ' '" % PIDFILE), r"secondary", "who serves it")
        with t.step(STEPS[1]):
            write_and_compare(t, guest, 16, "/dev/nvme0n1", IMAGE)
        with t.step(STEPS[2]):
            writes = guest.begin("(for i in 1 2 3 4 5 6 7 8; do dd if=/tmp/data of=/dev/nvme0n1 bs=1M oflag=direct 2>/dev/null || exit; done)")
            for _ in range(3):
                box.run("%s update %s 2>&1" % (CTL, SOCKET), 120)
            t.equal(guest.finish(writes, 240)[0], 0, "writing")
            write_and_compare(t, guest, 16, "/dev/nvme0n1", IMAGE)
        with t.step(STEPS[3]):
            guest.begin("poweroff -f")
            guest.wait_gone(120)
            box.run("for i in 1 2 3 4 5 6 7 8 9 10; do [ -e %s ] || exit 0; sleep 1; done; exit 1" % PIDFILE, 60)
    finally:
        guest.cleanup()
        box.call("[ ! -e {0} ] || kill $(cat {0}); rm -f {1} {2}".format(PIDFILE, IMAGE, SOCKET))
