# SPDX-License-Identifier: GPL-2.0-or-later
"""Group net: frames through a network card and its tap, in a network namespace of each guest's own."""
import os
import subprocess

from .guest import Failed
from .processes import cpu_of

CARDS = ("rtl8139", "e1000")
TAP = "bench0"
DEVICE = 6              # on the bus, so that nobody else's line is this one
BAR = 0xf2000000
CABLE = f"ip tuntap add {TAP} mode tap && sysctl -qw net.ipv6.conf.{TAP}.disable_ipv6=1 && ip link set {TAP} up && exec \"$@\""


def possible():
    """Why there can be no such group here, or nothing."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun cannot be opened"
    run = subprocess.run(own_network(["true"]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return run.stdout.strip() if run.returncode else ""


def own_network(argv):
    """The command line in a network namespace with the tap in it; a user's own is one of a user namespace, too."""
    return ["unshare", "-n" if os.geteuid() == 0 else "-rn", "sh", "-c", CABLE, "sh"] + argv


def start(b, name, card):
    program, env = b.dms[name]
    g = b.start(f"{card}-{name}", program, env, wrap=own_network, options=[
        "--device", f"{card},id=nic0,netdev=net0,mac=00:16:3e:01:02:03,addr={DEVICE:02x},romfile=", "--",
        "-netdev", f"type=tap,id=net0,ifname={TAP},br=none,script=no,downscript=no"])
    c = g.cpu()
    register = 0x14 if card == "rtl8139" else 0x10      # of the BAR in memory
    c(f"pciwrite 00:{DEVICE:02x}.0 {register} 4 {BAR}")
    c(f"pciwrite 00:{DEVICE:02x}.0 4 2 7")
    return g


def net(b):
    why = possible()
    if why:
        b.notes.append(f"no group net: {why}")
        return
    for card in CARDS:
        guests = {name: start(b, name, card) for name in b.dms}
        b.running = guests
        b.place(True)
        jobs = []
        for way, wtext, burst in (("tx", "sent, one a doorbell", 1), ("tx", "sent, 16 a doorbell", 16),
                                  ("rx", "received, one by one", 1), ("rx", "received, by 16", 16)):
            for size in (60, 1514):
                key = f"net_{card}_{way}_{burst}_{size}"
                rate = b.row(key, f"{card}: frames of {size} bytes {wtext}", "1000/s", better="more",
                             budget=[("qemu", 2, ">= 2 QEMU")])
                amount = b.row(key + "_mb", "... in them", "MB/s", better="more")
                cpu = b.row(key + "_cpu", "... CPU of the device model a frame", "us", budget=[("qemu", 0.5, "<= 1/2 QEMU")])
                jobs.append((way, burst, size, rate, amount, cpu))
        for rep in range(b.reps):
            for way, burst, size, rate, amount, cpu in jobs:
                n = (1000 if b.quick else 3000) * (1 if burst == 1 else 4)
                for name, g in guests.items():
                    c = g.cpu()
                    c("spin 200")
                    before = cpu_of(g.pid)
                    r = c.bench(f"benchnic {card} {way} {n} {size} {burst} {BAR} {DEVICE} {TAP}")
                    if r["lost"]:
                        raise Failed(f"{name}, {card}: {r['lost']} of {n} frames did not come out of the tap")
                    cpu.add(name, (cpu_of(g.pid) - before) / 1000 / n)
                    rate.add(name, r["n"] / r["total"] * 1e6)
                    amount.add(name, r["n"] * size / r["total"] * 1e3)
            b.say(f"net, {card}, round {rep + 1} of {b.reps}")
        b.end_guests()
