# SPDX-License-Identifier: GPL-2.0-or-later
"""Which Debian packages the lab is made of; installs them when it may."""

import os
import subprocess

from .util import LabError, say

NEEDED = (
    "qemu-system-x86",          # the box
    "xen-hypervisor-4.17-amd64", "xen-utils-4.17", "xen-utils-common", "xenstore-utils",
    "qemu-system-xen",          # QEMU's own Xen device model: the peer
    "linux-image-amd64",        # kernel of dom0 and of the guests
    "busybox-static", "seabios", "ipxe-qemu",
    "dmsetup", "util-linux", "mount", "coreutils", "bash", "e2fsprogs",
    "syslinux", "syslinux-common", "isolinux", "xorriso", "mtools",
    "binutils",                 # assembles the one-sector guest
)
# Copied into dom0 when present, never required.
OPTIONAL = ("gdb", "strace")


def versions(names=NEEDED + OPTIONAL):
    """{package: version} of those that are installed."""
    out = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status} ${Version}\n",
                          *names], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    found = {}
    for line in out.stdout.decode().splitlines():
        name, status, version = (line.split(" ") + ["", ""])[:3]
        if status == "installed":
            found[name] = version
    return found


def require():
    """All needed packages are installed when this returns."""
    found = versions()
    missing = [name for name in NEEDED if name not in found]
    if not missing:
        return found
    if os.geteuid() != 0:
        raise LabError("these Debian packages are missing: %s (as root: apt-get install %s)"
                       % (", ".join(missing), " ".join(missing)))
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    say("installing packages: %s" % " ".join(missing))
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends"]
    done = subprocess.run(install + missing, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        say("refreshing the package lists and trying again")
        subprocess.run(["apt-get", "update", "-q"], env=env, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)
        done = subprocess.run(install + missing, env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        tail = " / ".join(done.stdout.decode("utf-8", "replace").strip().splitlines()[-3:])
        raise LabError("apt-get install failed: %s" % tail)
    return versions()
