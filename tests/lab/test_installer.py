# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's installer, typed at by a viewer: its dialogs are read off the picture. What it loads by the network comes from an
archive in dom0 that has one component, which fetches a file and tells its checksum."""

import hashlib
import io
import lzma
import os
import re
import tarfile

import screen
from labkit.suite import life
from labkit.util import cache_root, host
from network import vif
from server import NET, Server
from viewer import PASSWORD, keep, same_as_screen, view

STEPS = [
    "kernel and initial RAM disk of the installer boot",
    "the first dialog is read, and answered",
    "location and keyboard",
    "the network is set up by DHCP, host name and domain are typed",
    "a component of the installer comes from dom0's server, and runs",
    "and fetches %d MB" % 16,
]
MEGABYTES = 16
PACKAGE = "debian-installer-12-netboot-amd64"
FILES = "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/"
APPEND = ("fb=false console=tty0 quiet mitigations=off random.trust_cpu=on priority=high mirror/country=manual "
          "mirror/protocol=http mirror/http/hostname=%s.1:8080 mirror/http/directory=/debian mirror/http/proxy= "
          "debian-installer/allow_unauthenticated=true anna/no_kernel_modules=true" % NET)
BACKSPACE, RETURN = 0xff08, 0xff0d
SCRIPT = """#!/bin/sh
wget -q -O /tmp/started http://{net}.1:8080/debian/started.$(hostname)
wget -q -O /tmp/large http://{net}.1:8080/debian/large
wget -q -O /tmp/ended http://{net}.1:8080/debian/sum.$(md5sum </tmp/large | cut -c1-32)
"""


def installer():
    """The directory with the installer's kernel and initial RAM disk, fetched once."""
    place = os.path.join(cache_root(), "installer")
    if not os.path.exists(place + "/done"):
        os.makedirs(place, exist_ok=True)
        host(["sh", "-c", 'cd "$1" && apt-get download -q "$2" && dpkg-deb -x "$2"_*.deb . && rm "$2"_*.deb && touch done',
              "sh", place, PACKAGE], "apt-get download " + PACKAGE)
    return os.path.join(place, FILES)


def tar(files):
    """A packed archive of {name: (bytes, mode)}."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.GNU_FORMAT) as archive:
        for name, (content, mode) in files.items():
            member = tarfile.TarInfo("./" + name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def component(fields):
    """A package of the installer's kind (deb(5)) with a menu item that runs SCRIPT."""
    members = (("debian-binary", b"2.0\n"),
               ("control.tar.gz", tar({"control": (fields.encode(), 0o644),
                                       "postinst": (SCRIPT.format(net=NET).encode(), 0o755)})),
               ("data.tar.gz", tar({"lab": (b"here\n", 0o644)})))
    data = b"!<arch>\n"
    for name, content in members:
        data += b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name.encode(), 0, 0, 0, b"100644", len(content))
        data += content + b"\n" * (len(content) % 2)
    return data


def archive_files(large):
    """{path: bytes} of an archive with one component."""
    fields = ("Package: lab-udeb\nVersion: 1\nArchitecture: all\nMaintainer: lab <lab@localhost>\nSection: debian-installer\n"
              "Priority: standard\nInstaller-Menu-Item: 2400\nDescription: Talk to the lab\n")
    udeb = component(fields)
    name = "pool/lab-udeb_1_all.udeb"
    index = lzma.compress(("%sFilename: %s\nSize: %d\nSHA256: %s\n\n" % (
        fields, name, len(udeb), hashlib.sha256(udeb).hexdigest())).encode())
    where = "main/debian-installer/binary-amd64/Packages.xz"
    release = ("Origin: Debian\nLabel: Debian\nSuite: stable\nVersion: 12.0\nCodename: bookworm\n"
               "Date: Sat, 10 Jun 2023 08:00:00 UTC\nArchitectures: amd64\nComponents: main\nSHA256:\n %s %8d %s\n" % (
                   hashlib.sha256(index).hexdigest(), len(index), where))
    part = "Archive: stable\nOrigin: Debian\nLabel: Debian\nComponent: main\nArchitecture: amd64\n"
    files = {name: udeb, "large": large}
    for suite in ("bookworm", "stable"):
        files.update({"dists/%s/Release" % suite: release.encode(), "dists/%s/%s" % (suite, where): index,
                      "dists/%s/main/binary-amd64/Release" % suite: part.encode()})
    return files


def serve(t, server, large):
    """The archive is in dom0."""
    top = server.share + "debian/"
    for name, content in archive_files(large).items():
        os.makedirs(os.path.dirname(top + name), exist_ok=True)
        with open(top + name, "wb") as stream:
            stream.write(content)
    t.box.run("cp -r /share/guest/debian /root/http/", 60)
    server.start()


def asked_for(t, guest, pattern, timeout):
    """Waits until dom0's server is asked for this."""
    guest.until(lambda: re.search(pattern, t.box.run("cat /run/httpd.log")), "the server is asked for " + pattern, timeout)


def answer(guest, viewer, pattern, keysyms=(RETURN,), timeout=120):
    """A dialog is there; keys."""
    picture = screen.wait_for(guest, viewer, pattern, timeout)
    viewer.keys(keysyms)
    return picture


def install(t, model):
    """The steps, by one card."""
    files, server, large = installer(), Server(t), os.urandom(MEGABYTES << 20)
    screen.font_of(files + "linux")
    for name in ("linux", "initrd.gz"):
        t.box.put(files + name, "/root/" + name)
    t.box.run("truncate -s 1G /root/target.img")
    guest = t.guest("installer", media=None, memory=1024, kernel="/root/linux", ramdisk="/root/initrd.gz", cmdline=APPEND,
                    disks=["format=raw,vdev=hda,access=rw,backendtype=qdisk,target=/root/target.img"],
                    vif=[vif(model)], vnc=1, vncpasswd=PASSWORD, usb=1, usbdevice=["tablet"], on_reboot="destroy")
    del guest.config["vga"]
    viewer = None
    try:
        serve(t, server, large)
        with t.step(STEPS[0], vital=True):
            guest.create()
            viewer = view(t, guest)
            screen.wait_for(guest, viewer, r"Select a language", 500)
        with t.step(STEPS[1], vital=True):
            same_as_screen(t, guest, viewer, "installer-language")
            answer(guest, viewer, r"Choose the language to be used for the installation process")
        with t.step(STEPS[2], vital=True):
            answer(guest, viewer, r"Select your location")
            answer(guest, viewer, r"Keymap to use", timeout=200)
        with t.step(STEPS[3], vital=True):
            keep(t, "installer-name", answer(guest, viewer, r"Please enter the hostname", [BACKSPACE] * 20, 300))
            t.match(t.box.run("cat /run/dnsmasq.log"), r"DHCPACK", "dnsmasq's log")
            viewer.type("seat\n")
            answer(guest, viewer, r"Domain name:", [BACKSPACE] * 20)
            viewer.type("lab\n")
        with t.step(STEPS[4], vital=True):
            asked_for(t, guest, r"Packages\.xz", 300)
            asked_for(t, guest, r"lab-udeb_1_all\.udeb", 120)
            asked_for(t, guest, r"started\.seat", 120)
        with t.step(STEPS[5]):
            asked_for(t, guest, r"sum\.%s" % hashlib.md5(large).hexdigest(), 200)
    finally:
        if viewer:
            keep(t, "installer-end", viewer.picture())
            viewer.close()
        guest.cleanup()
        server.stop()
        t.box.call("rm -f /root/linux /root/initrd.gz /root/target.img")


@life("installer", STEPS, memory=1100)
def installer_e1000(t):
    """By the e1000."""
    install(t, "e1000")
