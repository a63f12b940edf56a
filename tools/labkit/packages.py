# SPDX-License-Identifier: GPL-2.0-or-later
"""Which Debian packages the lab is made of; installs them when it may."""

import functools
import os
import re
import subprocess

from .util import LabError, say

NEEDED = (
    "qemu-system-x86",          # the box
    "xen-hypervisor-VERSION-amd64", "xen-utils-VERSION", "xen-utils-common", "xenstore-utils",
    "qemu-system-xen",          # QEMU's own Xen device model: the peer
    "linux-image-amd64",        # kernel of dom0 and of the guests
    "busybox-static", "seabios", "ipxe-qemu", "qemu-system-data", "xkb-data",
    "dmsetup", "util-linux", "mount", "coreutils", "bash", "e2fsprogs",
    "syslinux", "syslinux-common", "isolinux", "xorriso", "mtools",
    "binutils",                 # assembles the one-sector guest
    "dnsmasq-base", "memtest86+",   # what guests boot by iPXE: the server, and a system that is no Linux
)
# Copied into dom0 when present, never required.
OPTIONAL = ("gdb", "strace")


@functools.lru_cache(None)
def xen_version():
    """The version that this Debian's packages of Xen bear in their names: 4.17, 4.20."""
    for refresh in (False, True):
        if refresh:
            subprocess.run(["apt-get", "update", "-q"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        out = subprocess.run(["apt-cache", "depends", "xen-system-amd64"], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, check=False).stdout.decode()
        found = re.search(r"xen-hypervisor-(\d+\.\d+)-amd64", out)
        if found:
            return found[1]
    raise LabError("this Debian has no package xen-system-amd64")


def needed():
    """The packages by their names in this Debian."""
    return tuple(name.replace("VERSION", xen_version()) if "VERSION" in name else name for name in NEEDED)


def versions():
    """{package: version} of those that are installed."""
    names = needed() + OPTIONAL
    out = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status} ${Version}\n",
                          *names], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    found = {}
    for line in out.stdout.decode().splitlines():
        name, status, version = (line.split(" ") + ["", ""])[:3]
        if status == "installed":
            found[name] = version
    return found


def installed(name):
    """Whether a package is."""
    out = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         check=False)
    return out.stdout == b"installed"


def require():
    """All needed packages are installed when this returns."""
    found = versions()
    missing = [name for name in needed() if name not in found]
    if missing:
        install(missing)
    return versions()


def install(missing):
    """Installs packages, as root."""
    if os.geteuid() != 0:
        raise LabError("these Debian packages are missing: %s (as root: apt-get install %s)"
                       % (", ".join(missing), " ".join(missing)))
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    say("installing packages: %s" % " ".join(missing))
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends"]
    done = subprocess.run(command + missing, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        say("refreshing the package lists and trying again")
        subprocess.run(["apt-get", "update", "-q"], env=env, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)
        done = subprocess.run(command + missing, env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        tail = " / ".join(done.stdout.decode("utf-8", "replace").strip().splitlines()[-3:])
        raise LabError("apt-get install failed: %s" % tail)
