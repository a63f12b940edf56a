# SPDX-License-Identifier: GPL-2.0-or-later
"""virsh and Debian's libxl driver with <emulator>: define, start, console, change-media, save, restore, managedsave, destroy."""

from labkit import extra
from labkit.guest import Guest
from labkit.suite import Skip, life
from labkit.util import LabError
from shared import NOTICE

EMULATOR = "/usr/sbin/xendm"
STEPS = [
    "define and start: the emulator is asked who it is, and serves a qcow2 disk",
    "console",
    "change-media: another CD, none, one that is not there",
    "save and restore",
    "managedsave, and start",
    "screenshot",
    "dumpxml tells where VNC and the console are",
    "destroy and undefine",
]
CONF = """auth_unix_rw = "none"
auth_unix_ro = "none"
host_uuid = "3e1b5d1c-8a0e-4f61-9d8e-6f0c8c9d1a77"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
"""
XML = """<domain type='xen'>
  <name>%(name)s</name>
  <memory unit='MiB'>320</memory>
  <vcpu%(pin)s>1</vcpu>
  <os><type arch='x86_64' machine='xenfv'>hvm</type><boot dev='hd'/></os>
  <features><acpi/><apic/><pae/></features>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices>
    <emulator>%(emulator)s</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/><source file='%(disk)s'/><target dev='hda' bus='ide'/>
    </disk>
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw'/><source file='/root/one.iso'/><target dev='hdc' bus='ide'/><readonly/>
    </disk>
    <serial type='pty'><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/>
    <video><model type='vga' vram='16384' heads='1'/></video>
  </devices>
</domain>
"""


class Domain(Guest):
    """A guest that virsh starts."""

    def define(self):
        """Medium, XML, virsh define."""
        self.prepare()
        disk = self.directory + "/disk.qcow2"
        self.box.run("qemu-img convert -f raw -O qcow2 %s %s" % (self.medium, disk), 300)
        pin = " cpuset='1'" if "cpus" in self.config else ""
        with open("%s/share/guest/%s.xml" % (self.box.work, self.name), "w", encoding="ascii") as stream:
            stream.write(XML % {"name": self.name, "pin": pin, "emulator": EMULATOR, "disk": disk})
        self._pump = self.box.spawn(self._pump_script())
        virsh(self.box, "define /share/guest/%s.xml" % self.name)

    def cleanup(self):
        self.box.call("virsh -c xen:///system destroy {0}; virsh -c xen:///system undefine --managed-save {0}".format(self.name), 90)
        super().cleanup()


def virsh(box, command, timeout=200, status=0):
    """A virsh command; what it says."""
    got, text = box.call("timeout %d virsh -c xen:///system %s 2>&1" % (timeout, command), timeout + 10)
    if (got == 0) != (status == 0):
        raise LabError("virsh %s: exit status %d: %s; libvirtd: %s" % (
            command, got, text.strip()[-600:], box.call("tail -n 5 /var/log/libvirt/libvirtd.log")[1][-800:]))
    return text


def start_libvirtd(box):
    """The daemon, as a service manager starts it."""
    extra.image_server(box)
    extra.libvirt(box)
    box.run("""set -e
mkdir -p /etc/libvirt /run/libvirt /var/log/libvirt /var/lib/libvirt /var/cache/libvirt /etc/ssl
printf '%%s' '%s' >/etc/libvirt/libvirtd.conf
ln -sf %s %s
# the emulated CPU of the box is less than any model that libvirt knows: it has no virtual-8086 extensions
sed -i "/name='vme'/d" /usr/share/libvirt/cpu_map/x86_486.xml
libvirtd -d -f /etc/libvirt/libvirtd.conf""" % (CONF, box.dm_path, EMULATOR), 60)
    box.run("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do virsh -c xen:///system version && exit 0; sleep 2; done; "
            "cat /var/log/libvirt/libvirtd.log; exit 1", 120)


@life("libvirt", STEPS, memory=512)
def libvirt(t):
    """One domain."""
    box = t.box
    start_libvirtd(box)
    box.run("for name in one two; do head -c 2000000 /dev/urandom | head -c 1998848 >/root/$name.iso; done")
    guest = Domain(box, "virt", memory=320, append="xen_emul_unplug=never")
    t.guests.append(guest)
    try:
        steps(t, guest)
    finally:
        guest.cleanup()
        box.call("kill $(cat /run/libvirtd.pid); rm -f /root/one.iso /root/two.iso /root/virt.save")


def cd_is(t, guest, name):
    """The guest reads this CD."""
    guest.cmd(NOTICE)
    t.equal(guest.cmd("md5sum </dev/sr0 | cut -c1-32", 120), t.box.run("md5sum </root/%s.iso" % name).split()[0], "checksum of the CD")


def steps(t, guest):
    """The steps."""
    box = t.box
    with t.step(STEPS[0], vital=True):
        guest.define()
        virsh(box, "start virt")
        guest.wait_for("LAB serve", 600)
        t.equal(box.run("readlink /proc/%d/exe" % guest.dm_pid()).strip(), box.run("readlink -f " + EMULATOR).strip(), "the device model")
        t.match(virsh(box, "list"), r"virt +running", "virsh list")
        cd_is(t, guest, "one")

    with t.step(STEPS[1]):
        guest.stop_pump()
        text = box.run("""
(sleep 3; printf '900 echo CONSOLE-$((40 + 2))\\n'; sleep 5; printf '\\035') |
    timeout 40 script -qc 'virsh -c xen:///system console virt' /dev/null; true""", 80)
        t.match(text, r"CONSOLE-42", "what virsh console showed")
    box.call("rm -f /share/guest/virt.stop")
    guest._pump = box.spawn(guest._pump_script())

    with t.step(STEPS[2]):
        virsh(box, "change-media virt hdc --update /root/two.iso")
        cd_is(t, guest, "two")
        virsh(box, "change-media virt hdc --eject")
        guest.cmd(NOTICE)
        t.check(guest.finish(guest.begin("dd if=/dev/sr0 of=/dev/null count=1 2>&1"), 60)[0] != 0, "the drive is not empty")
        virsh(box, "change-media virt hdc --insert /root/one.iso")
        cd_is(t, guest, "one")
        # (here libvirt has libxl take the old one out before it looks for the new one)
        virsh(box, "change-media virt hdc --update /root/nothing.iso", status=1)
        virsh(box, "change-media virt hdc --update /root/one.iso")      # it still has this one in its books
        cd_is(t, guest, "one")

    with t.step(STEPS[3], vital=True):
        guest.cmd("echo saved >/tmp/mark")
        virsh(box, "save virt /root/virt.save")
        t.check(guest.domid() is None, "the domain is there still")
        virsh(box, "restore /root/virt.save")
        guest.domid()
        t.equal(guest.cmd("cat /tmp/mark"), "saved", "what the guest remembers")
        cd_is(t, guest, "one")

    with t.step(STEPS[4], vital=True):
        virsh(box, "managedsave virt")
        t.check(guest.domid() is None, "the domain is there still")
        virsh(box, "start virt")
        guest.domid()
        t.equal(guest.cmd("cat /tmp/mark"), "saved", "what the guest remembers")

    with t.step(STEPS[5]):
        status, text = box.call("timeout 60 virsh -c xen:///system screenshot virt /root/virt.ppm 2>&1", 90)
        if status != 0 and "not supported" in text:
            raise Skip("libvirt's libxl driver has none, whatever the device model: xl qemu-monitor-command virt 'screendump …'")
        t.equal(status, 0, "exit status of virsh screenshot: " + text)

    with t.step(STEPS[6]):
        text = virsh(box, "dumpxml virt")
        t.match(text, r"<graphics type='vnc' port='59\d\d'", "the domain's XML")
        t.match(text, r"<console type='pty' tty='/dev/pts/\d+'", "the domain's XML")

    with t.step(STEPS[7]):
        virsh(box, "destroy virt")
        guest.wait_gone(60)
        virsh(box, "undefine virt")
        t.check("virt" not in virsh(box, "list --all"), "the domain is defined still")
