# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether KVM can carry the box. It must offer guests SVM or VMX, or Xen inside cannot run HVM guests."""

import fcntl
import json
import os
import struct

from .util import cache_root, say

KVM_GET_API_VERSION = 0xAE00
KVM_GET_SUPPORTED_CPUID = 0xC008AE05
CPUID_ENTRIES = 256


def kvm_offers():
    """"svm", "vmx" or a sentence that says why KVM is of no use here."""
    try:
        fd = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError as err:
        return "/dev/kvm: %s" % err.strerror
    try:
        if fcntl.ioctl(fd, KVM_GET_API_VERSION) != 12:
            return "/dev/kvm speaks an unknown API version"
        table = bytearray(struct.pack("II", CPUID_ENTRIES, 0) + bytes(40 * CPUID_ENTRIES))
        fcntl.ioctl(fd, KVM_GET_SUPPORTED_CPUID, table)
    except OSError as err:
        return "/dev/kvm: %s" % err.strerror
    finally:
        os.close(fd)
    for i in range(min(struct.unpack_from("I", table)[0], CPUID_ENTRIES)):
        leaf, _, _, _, _, ecx, _ = struct.unpack_from("7I", table, 8 + 40 * i)
        if leaf == 0x80000001 and ecx & 1 << 2:
            return "svm"
        if leaf == 1 and ecx & 1 << 5:
            return "vmx"
    return "KVM here offers its guests neither SVM nor VMX (no nested virtualisation)"


def boot_id():
    """Changes whenever this machine is started, and with it what KVM can do."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        return stream.read().strip()


def choose(wanted, probe):
    """"kvm" or "tcg". `probe` boots a box with KVM and tells whether Xen in it offers HVM."""
    if wanted != "auto":
        return wanted
    offer = kvm_offers()
    if offer not in ("svm", "vmx"):
        say("emulating the host's CPU (TCG): %s" % offer)
        return "tcg"
    path = os.path.join(cache_root(), "kvm-verdict.json")
    key = "%s %s" % (boot_id(), os.uname().release)
    try:
        with open(path, encoding="utf-8") as stream:
            known = json.load(stream)
        if known["key"] == key:
            return known["accel"]
    except (OSError, ValueError, KeyError):
        pass
    say("KVM offers %s; trying whether Xen really runs on it (once per boot of this machine)" % offer)
    accel = "kvm" if probe() else "tcg"
    say("the box runs on %s" % accel)
    with open(path, "w", encoding="utf-8") as stream:
        json.dump({"key": key, "accel": accel}, stream)
    return accel
