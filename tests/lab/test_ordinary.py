# SPDX-License-Identifier: GPL-2.0-or-later
"""An ordinary xl.cfg: libxl's default display, VNC with a password, network cards on a bridge; and the same network by the
PV drivers, which unplug the card."""

import os

from labkit.suite import life
from labkit.util import LabError
from viewer import Viewer

PASSWORD = "sesame42"
MEGABYTES = 4
MACS = {"rtl8139": "00:16:3e:00:01:39", "e1000": "00:16:3e:00:10:00"}
DRIVERS = {"rtl8139": "8139cp", "e1000": "e1000"}
NETS = {"rtl8139": "10.9.1", "e1000": "10.9.2"}

ORDINARY = [
    "xl create with libxl's display, vnc=1, vncpasswd, two cards on a bridge",
    "both cards' drivers bind, with their addresses",
    "rtl8139: ping both ways, data both ways",
    "e1000: ping both ways, data both ways",
    "a viewer with a wrong password is refused",
    "a viewer sees what is on the screen",
    "a viewer's keys reach the guest",
    "xl save, xl restore: the network and VNC are there again",
    "powers off; the taps are gone",
]
PV = [
    "the PV drivers unplug disk and card",
    "ping both ways, data both ways by the PV card",
    "xl network-detach, xl network-attach",
]


def vif(model):
    """An entry of vif=[]."""
    return "bridge=xenbr0,model=%s,type=ioemu,mac=%s" % (model, MACS[model])


def bridge(box, addresses):
    """dom0's side of the network. Traffic that only the bridge carries, so that each card is used for its own."""
    box.run("set -e\nip addr flush dev xenbr0\n" + "\n".join("ip addr add %s.1/24 dev xenbr0" % net for net in addresses))


def pings(t, guest, net):
    """Three each way, none lost."""
    guest.until(lambda: guest.finish(guest.begin("ping -c 1 -W 2 %s.1 >/dev/null" % net), 30)[0] == 0,
                "the network carries something", 60)
    t.match(guest.cmd("ping -c 3 -W 10 %s.1" % net, 60), r"3 packets received", "the guest's ping")
    t.match(t.box.run("ping -c 3 -W 10 %s.2" % net, 60), r"3 packets received", "dom0's ping")


def data(t, guest, net):
    """TCP with full frames, compared by checksum. (nc ends when either side has no more to say: a pipe never says so.)"""
    box = t.box
    box.run("head -c %d /dev/urandom >/root/net.data; rm -f /run/silent; mkfifo /run/silent" % (MEGABYTES << 20))
    guest.cmd("rm -f /tmp/silent; mkfifo /tmp/silent")
    wanted = box.run("md5sum </root/net.data").split()[0]
    server = box.spawn("timeout 200 nc -l -p 5001 </root/net.data")
    got = guest.cmd("sleep 1; nc %s.1 5001 <>/tmp/silent | tee /tmp/net.data | md5sum" % net, 200).split()[0]
    t.equal(got, wanted, "checksum in the guest")
    box.wait(server, 60)
    server = box.spawn("timeout 200 nc -l -p 5002 <>/run/silent | md5sum")
    guest.cmd("sleep 1; nc %s.1 5002 </tmp/net.data; rm /tmp/net.data" % net, 200)
    t.equal(box.wait(server, 200)[1].split()[0], wanted, "checksum in dom0")


def vnc_place(t, guest):
    """What xl vncviewer reads: host, port, password."""
    where = "/local/domain/%d/console/" % guest.domid()
    host, port, password = (t.box.run("xenstore-read %s%s" % (where, name)).strip()
                            for name in ("vnc-listen", "vnc-port", "vnc-pass"))
    t.equal(host, "127.0.0.1", "vnc-listen")
    t.equal(password, PASSWORD, "vnc-pass")
    t.check(5900 <= int(port) <= 5999, "vnc-port is %s" % port)
    return host, int(port)


def difference(one, other):
    """How many pixels differ."""
    return sum(1 for i in range(0, len(one.pixels), 3) if one.pixels[i:i + 3] != other.pixels[i:i + 3])


def cards(guest):
    """{driver: (interface, address)} of the guest."""
    text = guest.cmd("for i in /sys/class/net/*; do [ -e $i/device/driver ] && "
                     "echo $(basename $(readlink $i/device/driver)) $(basename $i) $(cat $i/address); done; true")
    return {line.split()[0]: tuple(line.split()[1:]) for line in text.splitlines()}


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
        box.call("ip addr flush dev xenbr0; rm -f /root/net.data /root/ordinary.save")


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

    host, port = vnc_place(t, guest)
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
            seen, shot = viewer.picture(), guest.screenshot()
            os.makedirs(t.out, exist_ok=True)
            with open("%s/ordinary-vnc.png" % t.out, "wb") as stream:
                stream.write(seen.png())
            t.equal((seen.width, seen.height), (shot.width, shot.height), "size of the picture")
            t.check(seen.lit() > 2000, "the picture has %d lit pixels" % seen.lit())
            t.check(difference(seen, shot) <= 300, "%d pixels differ from the screen" % difference(seen, shot))  # a cursor

        with t.step(ORDINARY[6]):
            number = guest.begin("timeout 60 head -n 1 </dev/tty1; sleep 1")
            viewer.keys([ord(letter) for letter in "viewer"] + [0xff0d])
            t.equal(guest.finish(number, 90)[1].strip(), "viewer", "what the guest's terminal got")
    finally:
        if viewer:
            viewer.close()

    with t.step(ORDINARY[7]):
        box.run("xl save ordinary /root/ordinary.save", 300)
        box.run("xl restore /root/ordinary.save", 300)
        guest.domid()
        for net in NETS.values():
            pings(t, guest, net)
            data(t, guest, net)
        viewer = Viewer(box, *vnc_place(t, guest), PASSWORD)
        try:
            t.check(viewer.picture().lit() > 2000, "the screen is black after xl restore")
        finally:
            viewer.close()

    with t.step(ORDINARY[8]):
        guest.begin("poweroff -f")
        guest.wait_gone(120)
        left = [name for name in box.run("ls /sys/class/net").split() if name.startswith("vif")]
        t.equal(left, [], "interfaces left in dom0")


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
            t.check("vif%d.0-emu" % guest.domid() not in box.run("ls /sys/class/net/xenbr0/brif").split()
                    or "DOWN" in box.run("ip link show vif%d.0-emu" % guest.domid()), "the card's tap is still in use")
            t.equal(guest.cmd("grep -l 0x020000 /sys/bus/pci/devices/*/class | wc -l"), "0", "emulated cards")

        with t.step(PV[1]):
            guest.cmd("ip addr add %s.2/24 dev %s; ip link set %s up" % (net, found["vif"][0], found["vif"][0]))
            pings(t, guest, net)
            data(t, guest, net)

        with t.step(PV[2]):
            box.run("xl network-detach ordpv 0", 120)
            guest.until(lambda: not cards(guest), "the card is gone", 60)
            box.run("xl network-attach ordpv bridge=xenbr0 mac=%s" % MACS["e1000"], 120)
            found = guest.until(lambda: cards(guest), "another card is there", 60)
            guest.cmd("ip addr add %s.2/24 dev %s; ip link set %s up" % (net, found["vif"][0], found["vif"][0]))
            pings(t, guest, net)
    finally:
        guest.cleanup()
        box.call("ip addr flush dev xenbr0; rm -f /root/net.data")
