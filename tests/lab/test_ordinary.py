# SPDX-License-Identifier: GPL-2.0-or-later
"""An ordinary xl.cfg: libxl's default display, VNC with a password, network cards on a bridge; and the same network by the
PV drivers, which unplug the card."""

from labkit.suite import life
from labkit.util import LabError
from network import DRIVERS, MACS, MEGABYTES, NETS, Copy, bridge, cards, carried, data, no_bridge, pings, vif
from viewer import PASSWORD, Viewer, place, same_as_screen, view

LONG = 30               # MB of a copy during which the guest is moved
ORDINARY = [
    "xl create with libxl's display, vnc=1, vncpasswd, two cards on a bridge",
    "both cards' drivers bind, with their addresses",
    "rtl8139: ping both ways, data both ways",
    "e1000: ping both ways, data both ways",
    "a viewer with a wrong password is refused",
    "a viewer sees what is on the screen",
    "a viewer's keys reach the guest",
    "both cards carry a copy while the guest is saved and restored",
    "after xl restore the network and VNC are there again",
    "powers off; the taps are gone",
]
PV = [
    "the PV drivers unplug disk and card",
    "ping both ways, data both ways by the PV card",
    "xl network-detach, xl network-attach",
]


@life("ordinary", ORDINARY, memory=512)
def ordinary(t):
    """Both cards in one guest, whose kernel leaves them plugged in."""
    box = t.box
    bridge(box, NETS.values())
    guest = t.guest("ordinary", memory=400, append="xen_emul_unplug=never no_console_suspend",
                    vif=[vif("rtl8139"), vif("e1000")], vnc=1, vncpasswd=PASSWORD)
    del guest.config["vga"]
    try:
        steps(t, guest)
    finally:
        guest.cleanup()
        no_bridge(box)
        box.call("rm -f /root/ordinary.save")


def steps(t, guest):
    """The steps of ordinary."""
    box = t.box
    with t.step(ORDINARY[0], vital=True):
        guest.create()
        members = box.run("ls /sys/class/net/xenbr0/brif").split()
        for number in (0, 1):
            t.check("vif%d.%d-emu" % (guest.domid(), number) in members, "the bridge has %s" % members)
        guest.wait_for(r"LAB serve", 400)

    with t.step(ORDINARY[1], vital=True):
        guest.cmd("echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore; drivers", 120)
        found = cards(guest)
        for model, driver in DRIVERS.items():
            t.check(driver in found, "no card has driver %s: %s" % (driver, found))
            t.equal(found[driver][1], MACS[model], "address of the " + model)

    for step, model in ((ORDINARY[2], "rtl8139"), (ORDINARY[3], "e1000")):
        with t.step(step):
            guest.cmd("ip addr add %s.2/24 dev %s; ip link set %s up" % (
                NETS[model], found[DRIVERS[model]][0], found[DRIVERS[model]][0]))
            pings(t, guest, NETS[model])
            data(t, guest, NETS[model])
            count = guest.cmd("cat /sys/class/net/%s/statistics/rx_bytes" % found[DRIVERS[model]][0])
            t.check(int(count) > MEGABYTES << 20, "the card has received %s bytes only" % count)

    host, port = place(t, guest)
    with t.step(ORDINARY[4]):
        try:
            Viewer(box, host, port, "guessed").close()
        except LabError as err:
            t.match(str(err), r"password is refused")
        else:
            t.check(False, "any password is good")

    viewer = None
    try:
        with t.step(ORDINARY[5], vital=True):
            guest.cmd("i=0; while [ $i -lt 12 ]; do echo 'Xendm XENDM #### @@@@ Xendm XENDM #### @@@@'; "
                      "i=$((i + 1)); done >/dev/tty1; sleep 1")
            viewer = Viewer(box, host, port, PASSWORD)
            t.match(viewer.title, r"ordinary", "the title")
            same_as_screen(t, guest, viewer, "ordinary-vnc")

        with t.step(ORDINARY[6]):
            number = guest.begin("timeout 60 head -n 1 </dev/tty1; sleep 1")
            viewer.type("viewer\n")
            t.equal(guest.finish(number, 90)[1].strip(), "viewer", "what the guest's terminal got")
    finally:
        if viewer:
            viewer.close()

    with t.step(ORDINARY[7], vital=True):
        moved_while_copying(t, guest)

    with t.step(ORDINARY[8]):
        for net in NETS.values():
            pings(t, guest, net)
            data(t, guest, net)
        viewer = view(t, guest)
        try:
            t.check(viewer.picture().lit() > 2000, "the screen is black after xl restore")
        finally:
            viewer.close()

    with t.step(ORDINARY[9]):
        guest.begin("poweroff -f")
        guest.wait_gone(120)
        left = [name for name in box.run("ls /sys/class/net").split() if name.startswith("vif")]
        t.equal(left, [], "interfaces left in dom0")


def moved_while_copying(t, guest):
    """Out of the guest by one card, into it by the other, while it is saved and restored."""
    box = t.box
    before = {tap: carried(box, tap) for tap in ("vif%d.%d-emu" % (guest.domid(), number) for number in (0, 1))}
    out = Copy(guest.cmd, box.run, NETS["rtl8139"] + ".2", LONG)
    into = Copy(box.run, guest.cmd, NETS["e1000"] + ".1", LONG)
    for tap, start in before.items():
        guest.until(lambda tap=tap, start=start: carried(box, tap) > start + (1 << 20), "the copies are on their way", 120)
    t.check(not out.done() and not into.done(), "the copies have ended before the guest is moved")
    box.run("xl save ordinary /root/ordinary.save", 300)
    box.run("xl restore /root/ordinary.save", 300)
    guest.domid()
    for copy in (out, into):
        guest.until(copy.done, "the copy has arrived", 300)
        copy.check(t)


@life("ordinary-pv", PV, memory=512)
def ordinary_pv(t):
    """The same configuration, with the kernel's default."""
    box, net = t.box, NETS["e1000"]
    bridge(box, [net])
    guest = t.guest("ordpv", memory=400, backend="phy", append="labroot=xvda2", vif=[vif("e1000")], vnc=1,
                    vncpasswd=PASSWORD)
    del guest.config["vga"]
    try:
        with t.step(PV[0], vital=True):
            guest.create()
            guest.wait_for(r"LAB serve", 400)
            guest.cmd("drivers", 120)
            found = cards(guest)
            t.equal(sorted(found), ["vif"], "drivers of the guest's cards")
            t.equal(found["vif"][1], MACS["e1000"], "address")
            t.equal(guest.cmd("grep -l 0x020000 /sys/bus/pci/devices/*/class | wc -l"), "0", "emulated cards")

        with t.step(PV[1]):
            tap = "cat /sys/class/net/vif%d.0-emu/statistics/rx_packets" % guest.domid()     # from the emulated card
            before = box.run(tap)
            guest.cmd("ip addr add %s.2/24 dev %s; ip link set %s up" % (net, found["vif"][0], found["vif"][0]))
            pings(t, guest, net)
            data(t, guest, net)
            t.equal(box.run(tap), before, "frames that the unplugged card has sent")

        with t.step(PV[2]):
            box.run("xl network-detach ordpv 0", 120)
            guest.until(lambda: not cards(guest), "the card is gone", 60)
            box.run("xl network-attach ordpv bridge=xenbr0 mac=%s" % MACS["e1000"], 120)
            found = guest.until(lambda: cards(guest), "another card is there", 60)
            guest.cmd("ip addr add %s.2/24 dev %s; ip link set %s up" % (net, found["vif"][0], found["vif"][0]))
            pings(t, guest, net)
    finally:
        guest.cleanup()
        no_bridge(box)
