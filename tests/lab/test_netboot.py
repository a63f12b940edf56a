# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that boot by iPXE over each network card, from dom0's DHCP, TFTP and HTTP servers; then what they can say to one
another. One of what boots is no Linux."""

import shutil

import screen
from events import Events, device, mouse_moves, wait_inputs
from labkit import build
from labkit.guest import BASE_APPEND
from labkit.suite import life
from network import DRIVERS, MACS, Copy, cards, carried, vif
from server import HOSTS, Server
from viewer import PASSWORD, keep, view

MEGABYTES = 100
MEMTEST = "/usr/share/lab/memtest.bin"

NETBOOT = [
    "two guests without a bootable disk boot Linux by iPXE",
    "each by its own card, from TFTP and HTTP",
    "they ping one another",
    "rtl8139 to e1000: %d MB" % MEGABYTES,
    "e1000 to rtl8139: %d MB, while the receiver is migrated" % MEGABYTES,
    "a USB mouse that is alone takes a viewer's movement",
]
MEMTEST_STEPS = [
    "iPXE loads and starts Memtest86+",
    "it tests, and the viewer sees it",
    "its own UHCI driver takes the viewer's keys",
]


def linux_files(t, server):
    """The lab's kernel and initial RAM disk, with the script that serves."""
    shutil.copy(t.box.files + "/vmlinuz", server.share + "net.vmlinuz")
    with open(server.share + "net.initrd", "wb") as stream, open(t.box.files + "/initrd.gz", "rb") as initrd:
        stream.write(initrd.read().ljust(-(-initrd.tell() // 4) * 4, b"\0"))
        stream.write(build.script_archive(". /etc/lab.sh; serve\n"))
    t.box.run("cp /share/guest/net.vmlinuz /root/http/vmlinuz; cp /share/guest/net.initrd /root/http/initrd", 60)


@life("netboot", NETBOOT, memory=1000)
def netboot(t):
    """Two guests, whose disk's boot sector is never reached."""
    server = Server(t)
    linux_files(t, server)
    guests = {}
    for model in HOSTS:
        server.offer(model, "vmlinuz", BASE_APPEND + " xen_emul_unplug=never no_console_suspend labcard=" + model, "initrd")
        more = {"vnc": 1, "vncpasswd": PASSWORD, "usb": 1, "usbdevice": ["mouse"]} if model == "e1000" else {}
        guests[model] = t.guest("net" + model, memory=400, boot="nc", vif=[vif(model)], **more)
    try:
        server.start()
        boot(t, guests)
        talk(t, guests)
        mouse(t, guests["e1000"])
    finally:
        for guest in guests.values():
            guest.cleanup()
        server.stop()


def boot(t, guests):
    """Both come up, by their own card."""
    with t.step(NETBOOT[0], vital=True):
        for guest in guests.values():
            guest.create()
        for model, guest in guests.items():
            guest.wait_for(r"LAB serve", 600)
            t.match(guest.cmd("cat /proc/cmdline"), r" labcard=%s" % model, "command line")

    with t.step(NETBOOT[1], vital=True):
        log = t.box.run("cat /run/dnsmasq.log")
        for model in HOSTS:
            t.match(log, r"sent /root/tftp/%s.ipxe to %s" % (model, HOSTS[model]), "dnsmasq's log")
        for model, guest in guests.items():
            guest.cmd("drivers", 120)
            interface, address = cards(guest)[DRIVERS[model]]
            t.equal(address, MACS[model], "the card's address")
            guest.cmd("ip addr add %s/24 dev %s; ip link set %s up" % (HOSTS[model], interface, interface))


def talk(t, guests):
    """From guest to guest."""
    rtl, e1000 = guests["rtl8139"], guests["e1000"]
    with t.step(NETBOOT[2], vital=True):
        for guest, other in ((rtl, HOSTS["e1000"]), (e1000, HOSTS["rtl8139"])):
            guest.until(lambda g=guest, o=other: g.finish(g.begin("ping -c 1 -W 2 %s >/dev/null" % o), 30)[0] == 0,
                        "the network carries something", 60)
            t.match(guest.cmd("ping -c 3 -W 10 %s" % other, 60), r"3 packets received", "ping")

    with t.step(NETBOOT[3]):
        copy = Copy(rtl.cmd, e1000.cmd, HOSTS["rtl8139"], MEGABYTES)
        rtl.until(copy.done, "the copy has arrived", 400)
        copy.check(t)

    with t.step(NETBOOT[4]):
        tap = "vif%d.0-emu" % rtl.domid()
        start = carried(t.box, tap)
        copy = Copy(e1000.cmd, rtl.cmd, HOSTS["e1000"], MEGABYTES)
        rtl.until(lambda: carried(t.box, tap) > start + (1 << 20), "the copy is on its way", 120)
        t.box.run("xl migrate -s '' %s 'xl migrate-receive'" % rtl.name, 300)
        rtl.domid()
        t.check(not copy.done(), "the copy has ended before the guest was moved")
        rtl.until(copy.done, "the copy has arrived", 400)
        copy.check(t)


def mouse(t, guest):
    """Of the guest that has one."""
    with t.step(NETBOOT[5]):
        found = wait_inputs(guest, 1)
        viewer = view(t, guest)
        try:
            mouse_moves(t, viewer, Events(guest, device(t, found, "Mouse")))
        finally:
            viewer.close()


@life("netboot-memtest", MEMTEST_STEPS, memory=128)
def memtest(t):
    """A small guest that runs no Linux. (Memtest86+ reads a USB keyboard by a driver of its own.)"""
    server = Server(t)
    t.box.run("cp %s /root/http/memtest" % MEMTEST)
    server.offer("e1000", "memtest", "console=ttyS0,115200 keyboard=usb")
    guest = t.guest("memtest", media=None, memory=96, boot="n", vif=[vif("e1000")], vnc=1, vncpasswd=PASSWORD, usb=1,
                    usbdevice=["keyboard"], on_reboot="destroy")
    del guest.config["vga"]
    viewer = None
    try:
        server.start()
        with t.step(MEMTEST_STEPS[0], vital=True):
            guest.create()
            guest.wait_for(r"Memtest86", 300)
        with t.step(MEMTEST_STEPS[1], vital=True):
            viewer = view(t, guest)
            keep(t, "memtest", screen.wait_for(guest, viewer, r"Memtest86\+", 60))
            screen.wait_for(guest, viewer, r"Pass +[1-9][0-9]?%", 100)
        with t.step(MEMTEST_STEPS[2]):
            viewer.keys([0xffbe])       # F1
            keep(t, "memtest-menu", screen.wait_for(guest, viewer, r"Settings:", 60))
    finally:
        if viewer:
            viewer.close()
        guest.cleanup()
        server.stop()
