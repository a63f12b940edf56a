# SPDX-License-Identifier: GPL-2.0-or-later
"""Emulated disks unplugged, PV disks in their place; xl console; triple fault."""

from labkit.suite import Skip, life
from shared import check_cpus

STEPS = [
    "unplugs and mounts its root from /dev/xvda2 through blkback",
    "the emulated disks are gone",
    "a PV disk served by the device model (qdisk)",
    "1 CPU",
    "xl console on the serial pty",
    "destroy with disk I/O in flight",
    "4 CPUs run and take interrupts",
    "a triple fault is a reboot",
]


@life("pv", STEPS, memory=600)
def pv(t):
    """The kernel's default with PV drivers."""
    t.box.run("truncate -s 16M /root/pv-b.img; printf qdisk-data | dd of=/root/pv-b.img conv=notrunc status=none")
    guest = t.guest("pv", memory=512, backend="phy", append="labroot=xvda2", on_reboot="destroy",
                    disks=["format=raw,vdev=hdb,access=rw,backendtype=qdisk,target=/root/pv-b.img"])
    with t.step(STEPS[0], vital=True):
        guest.create()
        t.match(t.box.run("losetup -a"), r"/root/pv/disk.img", "loop devices of dom0")
        t.match(guest.wait_for(r"LAB root (\S+ \S+) at .*", 400).group(1), r"^/dev/xvda2 ext4$")
        guest.wait_for(r"LAB serve", 60)
        t.equal(t.box.run("xenstore-read /local/domain/0/backend/vbd/%d/768/state" % guest.domid()).strip(), "4",
                "state of the blkback device")

    with t.step(STEPS[1]):
        t.equal(guest.cmd("ls /sys/block | grep -c ^sd; true"), "0", "number of emulated disks")
        t.equal(guest.cmd("bound 0xff8000"), "xen-platform-pci", "the Xen platform device's driver")
        guest.cmd("echo kept >/mark; sync")

    with t.step(STEPS[2]):
        backend = "/local/domain/0/backend/qdisk/%d/832" % guest.domid()
        if t.box.run("xenstore-read %s/state" % backend).strip() == "6" and t.box.dm != "qemu":
            raise Skip("this device model serves no qdisk")
        t.equal(guest.cmd("head -c 10 /dev/xvdb; echo"), "qdisk-data", "data")

    with t.step(STEPS[3]):
        t.equal(guest.cmd("grep -c ^processor /proc/cpuinfo"), "1", "number of CPUs")

    with t.step(STEPS[4]):
        guest.stop_pump()
        text = t.box.run("""
(sleep 2; printf '900 echo CONSOLE-$((40 + 2))\\n'; sleep 5; printf '\\035') |
    timeout 30 script -qc 'xl console -t serial pv' /dev/null; true""", 60)     # xl console types only from a terminal
        t.match(text, r"CONSOLE-42", "what xl console showed")

    with t.step(STEPS[5]):
        tty = t.box.run("xenstore-read /local/domain/%d/serial/0/tty" % guest.domid()).strip()
        t.box.run("printf '901 while :; do dd if=/dev/xvda of=/dev/null bs=64k iflag=direct count=500; done &\\n' >%s; "
                  "sleep 3" % tty)
        guest.destroy()
        guest.wait_gone(30)

    again = t.guest("pv2", memory=512, vcpus=4, append="xen_emul_unplug=never reboot=triple", on_reboot="destroy")
    with t.step(STEPS[6], vital=True):
        again.create()
        again.wait_for(r"LAB serve", 600)
        check_cpus(t, again, 4)

    with t.step(STEPS[7]):
        old = again.domid()
        again.begin("echo triple >/sys/kernel/reboot/type; reboot -f")
        again.wait_gone(90)
        t.match(t.box.run("cat /var/log/xen/xl-pv2.log"), r"Domain %d has shut down, reason code 1 " % old, "xl's log")
