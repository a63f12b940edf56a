# SPDX-License-Identifier: GPL-2.0-or-later
"""PV and PVH guests on Debian's kernel."""

import shutil

from labkit import build
from labkit.guest import Guest

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
