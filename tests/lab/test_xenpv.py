# SPDX-License-Identifier: GPL-2.0-or-later
"""PV and PVH guests, whose back ends alone are the device model's (-machine xenpv): root on qdisk, channels, the PV keyboard,
disks that come and go, save and restore; and domain 0's own instance, as xencommons starts it. Debian's kernel has no driver
for the PV frame buffer: that is left to tests/device/pv-fb.xds."""

import shutil
import time

from labkit import build
from labkit.guest import Guest
from labkit.suite import life

STEPS = [
    "a PV guest boots, its root on qdisk",
    "keys reach it by the PV keyboard",
    "a channel on a socket carries both ways",
    "a channel on a pty carries both ways, xl channel-list says where",
    "xl block-attach: written, and there in the image after xl block-detach",
    "xl save and xl restore while it writes",
    "a PVH guest boots, its root on qdisk",
    "domain 0's instance: started, ready, a disk attached to domain 0",
]
APPEND = "console=tty0 console=hvc0 quiet mitigations=off random.trust_cpu=on audit=0 panic=-1 labroot=xvda2"


class PvGuest(Guest):
    """One that is booted directly and talks by the console that xenconsoled serves."""

    def __init__(self, box, name, kind, **config):
        super().__init__(box, name, **config)
        for key in ("serial", "vga"):
            del self.config[key]
        self.config.update(type=kind, kernel="/root/vmlinuz", ramdisk="/root/initrd", cmdline=APPEND,
                           disk=["format=raw,vdev=xvda,access=rw,backendtype=qdisk,target=%s" % self.medium])

    def _pump_script(self):
        return super()._pump_script().replace("/serial/0/tty", "/console/tty")

    def type(self, text):
        """Send characters to its console."""
        self.box.run("printf %%s '%s' >$(xenstore-read /local/domain/%s/console/tty)" % (text.replace("'", "'\\''"), self.domid()))


def pieces(t):
    """Kernel and initial RAM disk for dom0."""
    share = "%s/share/guest/" % t.box.work
    shutil.copy(t.box.files + "/vmlinuz", share + "pv.vmlinuz")
    with open(share + "pv.initrd", "wb") as stream, open(t.box.files + "/initrd.gz", "rb") as initrd:
        stream.write(initrd.read().ljust(-(-initrd.tell() // 4) * 4, b"\0"))
        stream.write(build.script_archive(". /etc/lab.sh; serve\n"))
    t.box.run("cp /share/guest/pv.vmlinuz /root/vmlinuz; cp /share/guest/pv.initrd /root/initrd; sync", 120)


def guest_of(t, name, kind, **config):
    """Cleaned up at the end of the life."""
    guest = PvGuest(t.box, name, kind, **config)
    t.guests.append(guest)
    return guest


@life("xenpv", STEPS, memory=700)
def xenpv(t):
    """One of each kind."""
    pieces(t)
    guest = guest_of(t, "xenpv", "pv", memory=256, vfb=["vnc=1"],
                     # libxl gives the first the number of the guest's own console, which wins
                     channel=["connection=pty,name=org.lab.lost",
                              "connection=socket,path=/root/channel.sock,name=org.lab.socket",
                              "connection=pty,name=org.lab.pty"])
    with t.step(STEPS[0], vital=True):
        guest.create()
        t.match(guest.wait_for(r"LAB root (\S+ \S+) at .*", 200).group(1), r"^/dev/xvda2 ext4$")
        guest.wait_for(r"LAB serve", 60)
        t.equal(guest.cmd("cat /sys/hypervisor/guest_type"), "PV", "kind of guest")
        t.match(t.box.run("xenstore-ls /local/domain/0/backend/qdisk/%d" % guest.domid()), r'state = "4"', "the disk's back end")

    with t.step(STEPS[1]):
        t.equal(guest.keys("tty1", "keys"), "keys", "what was typed")

    with t.step(STEPS[2]):
        guest.cmd("stty -F /dev/hvc1 raw -echo; echo nobody-hears >/dev/hvc1")
        t.match(guest.monitor("info pv"), r"(?s)console 1.*libxl-channel.*bytes of the guest: 13\b", "what the device model has taken")

    with t.step(STEPS[3]):
        tty = t.match(t.box.run("xl channel-list xenpv | tail -n 1"), r"(/dev/pts/\d+)", "xl channel-list").group(1)
        guest.cmd("stty -F /dev/hvc2 raw -echo; (head -n 1 </dev/hvc2 >/tmp/in; echo from-guest >/dev/hvc2) & true")
        text = t.box.run("exec 3<>%s; stty -F %s raw -echo; echo to-guest >&3; timeout 20 head -n 1 <&3" % (tty, tty), 40)
        t.match(text, r"^from-guest", "what the host read")
        t.equal(guest.cmd("cat /tmp/in"), "to-guest", "what the guest read")

    with t.step(STEPS[4]):
        t.box.run("truncate -s 8M /root/more.img; xl block-attach xenpv format=raw,vdev=xvdb,access=rw,backendtype=qdisk,"
                  "target=/root/more.img")
        guest.cmd("for i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/xvdb ] && break; sleep 1; done; "
                  "printf written >/tmp/w; dd if=/tmp/w of=/dev/xvdb conv=sync,fsync bs=512 2>/dev/null", 90)
        t.box.run("xl block-detach xenpv xvdb", 90)
        t.equal(t.box.run("head -c 7 /root/more.img"), "written", "the image's first bytes")

    with t.step(STEPS[5]):
        guest.cmd("(while :; do dd if=/dev/zero of=/wr bs=64k count=64 conv=fsync 2>/dev/null; echo x >>/log; sync; done) & true")
        before = guest.domid()
        t.box.run("xl save xenpv /root/xenpv.save", 240)
        t.box.run("xl restore /root/xenpv.save; rm -f /root/xenpv.save", 240)
        t.check(guest.domid() != before, "it is the same domain")
        time.sleep(2)
        lines = int(guest.cmd("wc -l </log", 120))
        guest.cmd("sleep 3; sync", 120)
        t.check(int(guest.cmd("wc -l </log", 120)) > lines, "nothing is written after the restore")
        guest.cmd("echo again >/dev/hvc1")
    guest.cleanup()

    pvh = guest_of(t, "xenpvh", "pvh", memory=256)
    with t.step(STEPS[6]):
        pvh.create()
        pvh.wait_for(r"LAB root /dev/xvda2 ext4 at ", 400)
        pvh.wait_for(r"LAB serve", 100)
        t.equal(pvh.cmd("cat /sys/hypervisor/guest_type"), "PVH", "kind of guest")
        pvh.cmd("echo kept >/mark; sync")
    pvh.cleanup()

    with t.step(STEPS[7]):
        own_instance(t)


def own_instance(t):
    """As xencommons starts it; then the disk of a guest, as pygrub looks at it."""
    line = "-xen-domid 0 -xen-attach -name dom0 -nographic -M xenpv -daemonize -monitor /dev/null -serial /dev/null " \
           "-parallel /dev/null -nodefaults -no-user-config -pidfile /run/xen/qemu-dom0.pid"
    t.box.run("%s %s" % (t.box.dm_path, line), 60)
    t.equal(t.box.run("xenstore-read /local/domain/0/device-model/0/state").strip(), "running", "its state")
    try:
        t.box.run("printf %-1048576s looked-at >/root/own.img; xl block-attach 0 format=raw,vdev=xvdc,access=rw,backendtype=qdisk,"
                  "target=/root/own.img; for i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/xvdc ] && break; sleep 1; done", 60)
        seen = t.box.run("ls -l /dev/xvd*; lsmod | grep blkfront; xenstore-ls /local/domain/0/backend/qdisk; xenstore-ls /local/domain/0/device; true")
        t.match(seen, "/dev/xvdc", "the disk in dom0")
        t.equal(t.box.run("dd if=/dev/xvdc bs=9 count=1 2>/dev/null"), "looked-at", "its first bytes")
        t.box.run("xl block-detach 0 xvdc", 60)
    finally:
        t.box.call("kill $(cat /run/xen/qemu-dom0.pid); xenstore-rm /local/domain/0/device-model/0", 30)
