# SPDX-License-Identifier: GPL-2.0-or-later
"""Which Debian the box is made of: this machine's own, or another release from a debootstrap in the cache.

Everything that a release's packages take part in happens inside of it: its packages are installed there, the box's
files are built there by this same package, xendm is built there. `native` is the release this machine runs.
"""

import os
import subprocess

from . import build, packages
from .util import LabError, cache_root, host, say

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
MIRROR = os.environ.get("XENDM_LAB_MIRROR", "http://deb.debian.org/debian")
OTHERS = ("trixie",)        # beside the native one

# Run in a mount namespace of its own, so that nothing stays mounted: ROOT CACHE SOURCE EXTRA COMMAND...
ENTER = r"""
set -e
root=$1 cache=$2 source=$3 extra=$4
shift 4
mkdir -p "$root/mnt/cache" "$root/mnt/source" "$root/mnt/extra"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$cache" "$root/mnt/cache"
mount --bind "$source" "$root/mnt/source"
mount --bind "$extra" "$root/mnt/extra"
cp /etc/resolv.conf "$root/etc/resolv.conf"
exec chroot "$root" "$@"
"""


class Native:
    """The release that this machine runs."""

    name = "native"

    def files(self):
        """The directory with the box's files."""
        return build.build()

    def libraries(self, program):
        """(where it is here, where it goes in dom0) of a program's shared libraries."""
        return [(path, path) for path in build.libraries(program)]

    def default_build(self):
        """Where xendm is looked for when nobody says; None: the usual places of this machine."""
        return None

    def emulator(self):
        """The box's QEMU: the start of its command line, and what its environment needs."""
        return ["qemu-system-x86_64"], {}


class Debootstrap:
    """Another release, in a directory of the cache."""

    def __init__(self, name):
        self.name = name
        self.cache = os.path.join(cache_root(), name)
        self.root = os.path.join(self.cache, "root")

    def there(self):
        """Whether it is complete."""
        return os.path.exists(self.root + "/etc/debian_version") and not os.path.exists(self.root + "/debootstrap")

    def prepare(self):
        """The release is in the cache when this returns."""
        if self.there():
            return
        if os.geteuid() != 0:
            raise LabError("%s is not in the cache yet, and only root can put it there" % self.name)
        packages.install(["debootstrap"])
        os.makedirs(self.cache, exist_ok=True)
        say("fetching Debian %s into %s (once; kept for later runs)" % (self.name, self.root))
        host(["debootstrap", "--variant=minbase", "--include=ca-certificates,python3", self.name, self.root, MIRROR])
        os.makedirs(self.root + "/etc/initramfs-tools", exist_ok=True)
        with open(self.root + "/etc/initramfs-tools/update-initramfs.conf", "w", encoding="ascii") as stream:
            stream.write("update_initramfs=no\n")       # nobody boots it by one
        with open(self.root + "/etc/apt/apt.conf.d/90lab", "w", encoding="ascii") as stream:
            stream.write('Dpkg::Options { "--force-confdef"; "--force-confold"; };\n')       # and dpkg asks nobody about it

    def command(self, argv, extra=None):
        """The command line that runs a program in the release. `extra` is there as /mnt/extra."""
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, "sh", self.root, self.cache,
                SOURCE, extra or self.cache, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
                "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "XENDM_LAB_CACHE=/mnt/cache"] + list(argv)

    def inside(self, argv, what, extra=None):
        """Run a program in the release; its output."""
        done = subprocess.run(self.command(argv, extra), stdout=subprocess.PIPE, check=False)
        text = done.stdout.decode("utf-8", "replace")
        if done.returncode != 0:
            raise LabError("%s in Debian %s failed (it needs root, and the right to mount): %s"
                           % (what, self.name, " / ".join(text.strip().splitlines()[-4:])))
        return text

    def files(self):
        """The directory with the box's files, built inside."""
        self.prepare()
        text = self.inside(["python3", "-B", "-c", "import sys; sys.path.insert(0, '/mnt/source/tools')\n"
                            "from labkit import build, util\n"
                            "try:\n    print(build.build())\nexcept util.LabError as err:\n    sys.exit(str(err))"],
                           "building the box")
        return text.strip().splitlines()[-1].replace("/mnt/cache", self.cache, 1)

    def libraries(self, program):
        """(where it is here, where it goes in dom0) of a program's shared libraries."""
        name = "/mnt/extra/" + os.path.basename(program)
        text = self.inside(["ldd", name], "ldd", extra=os.path.dirname(os.path.abspath(program)))
        found = []
        for line in text.splitlines():
            if "not found" in line:
                raise LabError("%s was not built for Debian %s: %s" % (program, self.name, line.strip()))
            found += [(self.root + word, word) for word in line.split() if word.startswith("/")]
        return found

    def default_build(self):
        """xendm built inside of the release, from this source."""
        self.prepare()
        say("building xendm in Debian %s" % self.name)
        self.inside(["sh", "/mnt/source/tools/build", "/mnt/cache/build", "--prefix=/usr"], "building xendm")
        return os.path.join(self.cache, "build")

    def emulator(self):
        """The release's own qemu-system-x86_64, on its own loader and libraries: it needs no chroot to run."""
        root = self.root
        if not os.path.exists(root + "/usr/bin/qemu-system-x86_64"):
            self.files()
        lib = root + "/usr/lib/x86_64-linux-gnu"
        return ([root + "/usr/lib64/ld-linux-x86-64.so.2", "--library-path", lib, root + "/usr/bin/qemu-system-x86_64",
                 "-L", root + "/usr/share/qemu", "-L", root + "/usr/share/seabios", "-L", root + "/usr/lib/ipxe/qemu"],
                {"QEMU_MODULE_DIR": lib + "/qemu"})


def get(name):
    """The release of this name."""
    return Native() if name == "native" else Debootstrap(name)


def choose_emulator(wanted):
    """The release whose QEMU carries the box. Why not the newest: docs/xendm-lab.1, THE BOX."""
    return get("native" if wanted == "auto" else wanted)
