# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that a life wants in dom0 beside what the box's recipe has: of the box's Debian, installed there when missing, and
copied into the running dom0 with the libraries they are linked with."""

import contextlib
import glob
import os
import tarfile

from . import packages
from .util import LabError


class Native:
    """Packages of this machine."""

    def __init__(self, release):
        self.release = release

    @staticmethod
    def install(names):
        """They are installed when this returns."""
        missing = [name for name in names if not packages.installed(name)]
        if missing:
            packages.install(missing)

    @staticmethod
    def here(path):
        """Where a file of the release is on this machine."""
        return path

    def libraries(self, path):
        """Names of a program's libraries in the release."""
        return [name for _, name in self.release.libraries(path)]


class Other:
    """Packages of another release."""

    def __init__(self, release):
        self.release = release

    def install(self, names):
        """They are installed when this returns."""
        with contextlib.suppress(LabError):
            self.release.inside(["dpkg", "-s"] + list(names), "looking for packages")
            return
        self.release.inside(["sh", "-c", 'apt-get update -q && exec apt-get install -y -q --no-install-recommends "$@"', "sh"]
                            + list(names), "apt-get install")

    def here(self, path):
        """Where a file of the release is on this machine."""
        return self.release.root + path

    def libraries(self, path):
        """Names of a program's libraries in the release."""
        text = self.release.inside(["ldd", path], "ldd")
        return [word for line in text.splitlines() for word in line.split() if word.startswith("/")]


def put(box, names, programs=(), data=()):
    """Packages, and what of them goes into dom0: programs and plug-ins with their libraries, and other files and directories.
    Patterns are allowed; what is there already is replaced."""
    source = (Native if box.release.name == "native" else Other)(box.release)
    source.install(names)
    root = source.here("")
    wanted = {}

    def add(path, whole):
        found = [name[len(root):] for name in sorted(glob.glob(root + path))]
        if not found:
            raise LabError("no file is called %s in the packages %s" % (path, " ".join(names)))
        for name in found:
            wanted[name] = root + name
            if whole:
                wanted.update((library, root + library) for library in source.libraries(name))

    for path in programs:
        add(path, True)
    for path in data:
        add(path, False)
    unpack(box, wanted)


def program(box, path, target):
    """A program that was built for the box's release, and what dom0 lacks of its libraries."""
    wanted = {name: source for source, name in box.release.libraries(path)}
    there = box.run("for f in %s; do [ -e $f ] && echo $f; done; true" % " ".join(wanted)).split()
    unpack(box, dict({name: source for name, source in wanted.items() if name not in there}, **{target: path}))


def unpack(box, files):
    """{name in dom0: file here}."""
    archive = box.work + "/share/extra.tar"
    with tarfile.open(archive, "w", dereference=True) as tar:
        for name, path in files.items():
            tar.add(path, name.lstrip("/"))
    box.run("cd / && tar -xf /share/extra.tar && ldconfig", 300)
    os.unlink(archive)


def image_server(box):
    """What serves images other than raw ones, and makes them."""
    put(box, ["qemu-utils", "qemu-system-common", "libnbd0"], ["/usr/bin/qemu-storage-daemon", "/usr/bin/qemu-nbd", "/usr/bin/qemu-img", "/usr/lib/x86_64-linux-gnu/libnbd.so.0"])


def libvirt(box):
    """libvirtd with the driver for libxl, and virsh."""
    lib = "/usr/lib/x86_64-linux-gnu/libvirt/"
    put(box, ["libvirt-daemon", "libvirt-daemon-driver-xen", "libvirt-clients"],
        ["/usr/sbin/libvirtd", "/usr/sbin/virtlogd", "/usr/bin/virsh", lib + "connection-driver/libvirt_driver_libxl.so",
         lib + "lock-driver/*.so"],
        ["/usr/share/libvirt/cpu_map", "/usr/lib/libvirt"])
