# SPDX-License-Identifier: GPL-2.0-or-later
"""Direct boot of a kernel: kernel=, ramdisk= and cmdline= of xl.cfg for an HVM guest.

SeaBIOS finds fw_cfg and in it the boot ROM (linuxboot_dma.bin), which asks for the pieces. QEMU's Xen machine gives it
linuxboot.bin, without DMA: under this emulator it reads some megabytes byte by byte, so its guest gets more time.
"""

import hashlib
import os
import shutil

from labkit import build
from labkit.cpio import Cpio
from labkit.guest import BASE_APPEND
from labkit.suite import Skip, life

LARGE = 200
STEPS = [
    "what is no kernel ends the start, with a reason",
    "boots kernel and initial RAM disk past a disk that could boot as well",
    "kernel and initial RAM disk arrived whole",
    "boots them again after a reboot",
    "an initial RAM disk of %d MB arrives whole" % LARGE,
]
TIME = {"xendm": 400, "qemu": 900}


# Runs before the initial RAM disk's own init.
LOOK = """#!/bin/busybox sh
/bin/busybox md5sum </large >/sum
echo "LAB large $(/bin/busybox cat /sum)" >/dev/console
exec /init
"""


def large_initrd(t):
    """The usual one with a file of random bytes; their checksum."""
    data = os.urandom(LARGE << 20)
    archive = Cpio()
    archive.file("large", data)
    archive.file("look", LOOK.encode(), 0o755)
    with open("%s/share/guest/direct.initrd" % t.box.work, "ab") as stream:
        stream.write(archive.data())
    t.box.run("cp /share/guest/direct.initrd /root/initrd; sync", 240)
    return hashlib.md5(data).hexdigest()


@life("kernel", STEPS, memory=1300)
def kernel(t):
    """One guest, with a disk whose own boot menu is not used."""
    share = "%s/share/guest/" % t.box.work
    shutil.copy(t.box.files + "/vmlinuz", share + "direct.vmlinuz")
    with open(share + "direct.initrd", "wb") as stream, open(t.box.files + "/initrd.gz", "rb") as initrd:
        stream.write(initrd.read().ljust(-(-initrd.tell() // 4) * 4, b"\0"))
        stream.write(build.script_archive(". /etc/lab.sh; serve\n"))
    t.box.run("cp /share/guest/direct.vmlinuz /root/vmlinuz; cp /share/guest/direct.initrd /root/initrd; "
              "head -c 5000000 /root/vmlinuz >/root/cut; sync", 120)
    guest = t.guest("kernel", memory=512, kernel="/root/cut", ramdisk="/root/initrd",
                    cmdline=BASE_APPEND + " xen_emul_unplug=never labdirect=a,b")

    with t.step(STEPS[0]):
        if t.box.dm != "qemu":      # which starts it
            status, _ = guest.try_create()
            t.check(status != 0, "the guest was created")
            t.match(t.box.run("cat /var/log/xen/qemu-dm-kernel.log"), r"'/root/cut' is truncated: \d+ of \d+ bytes", "log")
    guest.config["kernel"] = "/root/vmlinuz"

    with t.step(STEPS[1], vital=True):
        guest.create()
        guest.wait_for(r"LAB serve", TIME.get(t.box.dm, 400))
        t.match(guest.cmd("cat /proc/cmdline"), r" labdirect=a,b$", "command line")

    with t.step(STEPS[2]):
        # The pieces as the kernel found them: its own set-up header, and the initramfs that it could unpack to the end.
        t.equal(guest.cmd("cat /sys/kernel/boot_params/version"), "0x020f", "boot protocol")
        t.equal(guest.cmd("dmesg | grep -ci 'initramfs unpacking failed'; true"), "0", "complaints of the kernel")
        size = int(t.box.run("stat -c %s /root/initrd"))
        t.check(size > 1 << 20, "an initial RAM disk of %d bytes" % size)
        first, last = t.match(guest.cmd("dmesg | grep RAMDISK:"), r"\[mem (0x[0-9a-f]+)-(0x[0-9a-f]+)\]").groups()
        t.check(0 <= int(last, 16) + 1 - int(first, 16) - size < 4096, "the kernel's RAM disk is %s-%s" % (first, last))

    with t.step(STEPS[3]):
        old = guest.domid()
        guest.begin("reboot -f")
        guest.wait_new_life(old, 120)
        guest.wait_for(r"LAB serve", TIME.get(t.box.dm, 400))
        t.match(guest.cmd("cat /proc/cmdline"), r" labdirect=a,b$", "command line")
    guest.cleanup()

    with t.step(STEPS[4]):
        if t.box.dm == "qemu":
            raise Skip("QEMU's boot ROM for Xen fetches it byte by byte")
        wanted = large_initrd(t)
        guest = t.guest("large", memory=512 + 3 * LARGE, kernel="/root/vmlinuz", ramdisk="/root/initrd",
                        cmdline=BASE_APPEND + " xen_emul_unplug=never rdinit=/look")
        guest.create()
        t.equal(guest.wait_for(r"LAB large ([0-9a-f]{32})", 500).group(1), wanted, "checksum in the guest")
        guest.wait_for(r"LAB serve", 100)
        guest.cleanup()
    t.box.run("rm -f /root/vmlinuz /root/initrd /root/cut")
