# SPDX-License-Identifier: GPL-2.0-or-later
"""PV and PVH guests, whose back ends alone are the device model's (-machine xenpv): root on qdisk, channels, the PV keyboard,
disks that come and go, save and restore; and domain 0's own instance, as xencommons starts it. Debian's kernel has no driver
for the PV frame buffer: that is left to tests/device/pv-fb.xds."""

import time

from labkit import extra
from labkit.suite import life
from pvguest import APPEND, guest_of, pieces

STEPS = [
    "a PV guest boots, its root on qdisk",
    "keys reach it by the PV keyboard",
    "a channel on a socket carries both ways",
    "a channel on a pty carries both ways, xl channel-list says where",
    "xl block-attach: written, and there in the image after xl block-detach",
    "xl save and xl restore while it writes",
    "a PVH guest boots, its root on qdisk",
    "domain 0's instance: a boot loader looks at a guest's qcow2 disk in domain 0",
]


def answers(guest, tty):
    """A line that comes by this terminal is answered. It stays open: its last closing would reset it, echo and all."""
    guest.cmd("(exec 4<>/dev/{0}; stty raw -echo <&4; echo open >/tmp/{0}.open; head -n 1 <&4 >/tmp/{0}; "
              "echo from-{0} >&4; sleep 60) >/dev/null 2>&1 & until [ -e /tmp/{0}.open ]; do sleep 0.1; done".format(tty))


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
        answers(guest, "hvc1")
        extra.put(t.box, ["socat"], ["/usr/bin/socat"])
        text = t.box.run("printf 'to-hvc1\\n' | timeout 60 socat -T 10 STDIO,ignoreeof UNIX-CONNECT:/root/channel.sock; true", 90)
        t.equal((text.strip(), guest.cmd("cat /tmp/hvc1")), ("from-hvc1", "to-hvc1"), "what host and guest have read")

    with t.step(STEPS[3]):
        answers(guest, "hvc2")
        tty = t.match(t.box.run("xl channel-list xenpv | tail -n 1"), r"(/dev/pts/\d+)", "xl channel-list").group(1)
        # (opened by the shell of a session, it would be its terminal, and stop who reads from behind)
        text = t.box.run("timeout 60 sh -c 'exec 3<>%s; stty raw -echo <&3; echo to-hvc2 >&3; head -n 1 <&3'" % tty, 90)
        t.equal((text.strip(), guest.cmd("cat /tmp/hvc2")), ("from-hvc2", "to-hvc2"), "what host and guest have read")
        t.match(guest.monitor("info pv"), r"bytes of the guest", "what the device model says of it")

    with t.step(STEPS[4]):
        t.box.run("truncate -s 8M /root/more.img; xl block-attach xenpv format=raw,vdev=xvdb,access=rw,backendtype=qdisk,"
                  "direct-io-safe,target=/root/more.img")
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


LOADER = """#!/bin/sh
# libxl's bootloader, called as pygrub is: it looks at the disk in domain 0, and says what to boot.
for word; do
    case $word in --output=*) out=${word#*=} ;; --output-directory=*) dir=${word#*=} ;; esac
    disk=$word
done
for i in 1 2 3 4 5 6 7 8 9 10; do [ -b $disk ] && break; sleep 1; done
echo $disk $(md5sum <$disk) >/root/loader.log
cp /root/vmlinuz $dir/kernel; cp /root/initrd $dir/ramdisk
printf 'kernel %s/kernel\\0ramdisk %s/ramdisk\\0args %s\\0' $dir $dir "APPEND" >$out
"""


def own_instance(t):
    """As Debian's init script starts it; then a guest whose boot loader looks at its disk, as pygrub does."""
    box = t.box
    extra.image_server(box)
    box.run("%s -xen-domid 0 -xen-attach -name dom0 -nographic -M xenpv -daemonize -monitor none -serial none -parallel none "
            "-pidfile /run/qemu-dom0.pid" % box.dm_path, 60)
    t.equal(box.run("xenstore-read /local/domain/0/device-model/0/state").strip(), "running", "its state")
    guest = guest_of(t, "loaded", "pv", memory=256)
    try:
        guest.prepare()
        image = guest.directory + "/disk.qcow2"
        wanted = box.run("qemu-img convert -f raw -O qcow2 {0} {1}; md5sum <{0}".format(guest.medium, image), 300).split()[0]
        with open("%s/share/guest/loader" % box.work, "w", encoding="ascii") as stream:
            stream.write(LOADER.replace("APPEND", APPEND))
        box.run("cp /share/guest/loader /root/loader; chmod 755 /root/loader")
        for key in ("kernel", "ramdisk", "cmdline"):
            del guest.config[key]
        guest.config.update(bootloader="/root/loader",
                            disk=["format=qcow2,vdev=xvda,access=rw,backendtype=qdisk,target=%s" % image])
        guest.create()
        t.match(box.run("cat /root/loader.log"), r"^/dev/xvd\w+ %s" % wanted, "what the boot loader saw")
        t.match(guest.wait_for(r"LAB root (\S+ \S+) at .*", 300).group(1), r"^/dev/xvda2 ext4$")
        guest.wait_for("LAB serve", 60)
        t.equal(box.run("xenstore-ls /local/domain/0/backend/qdisk/0 2>/dev/null; true"), "", "what is left in domain 0")
    finally:
        guest.cleanup()
        box.call("kill $(cat /run/qemu-dom0.pid); xenstore-rm /local/domain/0/device-model/0; rm -f /root/loader*", 30)


SUM = "find . -type f | sort | xargs md5sum | md5sum"
SHARED = ["a directory of domain 0 is mounted: 10,000 files have the same checksums in the guest", "what the guest writes is there"]


@life("9pfs", SHARED, memory=700)
def p9(t):
    """Directories that PV guests mount."""
    pieces(t)
    guest = guest_of(t, "p9", "pv", memory=256, p9=["tag=share,path=/root/share,security_model=none"])
    t.box.run("mkdir /root/share")
    guest.create()
    guest.wait_for(r"LAB serve", 200)
    with t.step(SHARED[0], vital=True):
        read_share(t, guest)
    with t.step(SHARED[1]):
        write_share(t, guest)


def read_share(t, guest):
    made = t.box.run("cd /root/share; for d in $(seq 100); do mkdir $d; for f in $(seq 100); do echo $d is not $f >$d/file-$f; done; "
                     "done; " + SUM, 300)
    # (with a cache, for in the box a request takes some milliseconds)
    guest.cmd("modprobe 9p; modprobe 9pnet_xen; mkdir -p /mnt; mount -t 9p -o trans=xen,version=9p2000.L,cache=loose share /mnt", 120)
    t.equal(guest.cmd("cd /mnt; " + SUM.replace("sort", "sort | tee /tmp/list"), 1200).strip(), made.strip(), "the checksum of all checksums")
    t.equal(guest.cmd("wc -l </tmp/list"), "10000", "files that the guest has seen")


def write_share(t, guest):
    guest.cmd("cd /mnt; dd if=/dev/urandom of=big bs=64k count=64 2>/dev/null; mkdir new; ln -s ../big new/link; chmod 640 big; "
              "mv 1/file-1 new/moved; rm -r 2; md5sum <big >/tmp/sum; sync", 300)
    t.equal(t.box.run("cd /root/share; md5sum <big; readlink new/link; cat new/moved; ls -d 2 1/file-1; true").split("\n")[:3],
            [guest.cmd("cat /tmp/sum").strip(), "../big", "1 is not 1"], "what dom0 finds")
    t.match(guest.monitor("info pv"), r"9pfs 0", "what the device model says of it")
    guest.cmd("umount /mnt", 60)
