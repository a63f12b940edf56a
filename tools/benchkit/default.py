# SPDX-License-Identifier: GPL-2.0-or-later
"""Group default: what people have: Cirrus, VNC, a network card, a tablet, a disk, a CD. All processes are counted."""
import os
import time

from . import net
from .guest import Failed, timed_start
from .processes import cpu_of, family, memory_of, switches

UHCI = 0xc100
FRAMES, QUEUE, TRANSFERS, SETUP, BUFFER = 0x100000, 0x102000, 0x103000, 0x105000, 0x104000
EVERY = 8               # frames: how often Linux asks a tablet
ACTIVE, NAK = 0x800000, 0x080000
SET_ADDRESS, SET_CONFIGURATION = 0x00050500, 0x00010900


class Tablet:
    """What Linux' uhci-hcd leaves running for a tablet that nobody moves (UHCI Design Guide 1.1, chapters 2 and 3)."""

    def __init__(self, cpu):
        self.cpu, self.address = cpu, 0
        for line in (f"pciwrite 00:01.2 0x20 4 {UHCI}", "pciwrite 00:01.2 4 2 5", f"outw {UHCI} 2"):
            cpu(line)
        self.until(f"inw {UHCI}", 2, 0)
        for port in (UHCI + 16, UHCI + 18):
            for value in (0x200, 0, 0xe):       # reset, no reset, enable
                cpu(f"outw {port} {value}")
        cpu(f"outl {UHCI + 8} {FRAMES}")
        cpu(f"writel {QUEUE} 1")
        self.queue(1)
        for i in range(1024):
            cpu(f"writel {FRAMES + 4 * i} {QUEUE | 2}")
        cpu(f"outw {UHCI} 1")
        self.request(SET_ADDRESS)
        self.address = 5
        self.request(SET_CONFIGURATION)
        for i in range(1024):
            cpu(f"writel {FRAMES + 4 * i} {QUEUE | 2 if i % EVERY == 0 else 1}")
        self.transfer(0, 0x69, 1, 8, BUFFER, 1)
        self.queue(TRANSFERS)
        self.until(f"readl {TRANSFERS + 4}", NAK | ACTIVE, NAK | ACTIVE)

    def until(self, command, mask, value):
        end = time.monotonic() + 10
        while int(self.cpu(command).split()[1], 0) & mask != value:
            if time.monotonic() > end:
                raise Failed(f"tablet: {command} does not become {value:#x}")

    def queue(self, first):
        self.cpu(f"writel {QUEUE + 4} {first}")

    def transfer(self, i, pid, endpoint, size, buffer, link):
        at = TRANSFERS + 32 * i
        for offset, value in ((0, link), (8, pid | self.address << 8 | endpoint << 15 | ((size - 1) & 0x7ff) << 21),
                              (12, buffer), (4, 0x18000000 | ACTIVE)):
            self.cpu(f"writel {at + offset} {value}")

    def request(self, setup):
        """A control request without data."""
        self.cpu(f"writel {SETUP} {setup}")
        self.cpu(f"writel {SETUP + 4} 0")
        self.transfer(1, 0x69, 0, 0, 0, 1)
        self.transfer(0, 0x2d, 0, 8, SETUP, TRANSFERS + 32 | 4)
        self.queue(TRANSFERS)
        self.until(f"readl {TRANSFERS + 36}", ACTIVE, 0)
        self.queue(1)


def options(b, name):
    disc = os.path.join(b.work, "default.iso")
    with open(disc, "wb") as f:
        f.truncate(16 << 20)
    return ["--disk", b.image(0, name), "--cdrom", disc, "--device", "rtl8139,id=nic0,netdev=net0,mac=00:16:3e:01:02:03",
            "--", "-netdev", f"type=tap,id=net0,ifname={net.TAP},script=no,downscript=no", "-usb", "-usbdevice", "tablet"]


def idle(b, name, seconds, guest):
    """Wake-ups of all threads a second, CPU in ms a minute."""
    before = [sum(switches(p) for p in family(guest.pid)), cpu_of(guest.pid)]
    time.sleep(seconds)
    after = [sum(switches(p) for p in family(guest.pid)), cpu_of(guest.pid)]
    return (after[0] - before[0]) / seconds, (after[1] - before[1]) / 1e6 * 60 / seconds


def default(b):
    why = net.possible()
    if why:
        b.notes.append(f"no group default: {why}")
        return
    ready = b.row("default_ready", "Default guest: exec until ready (QMP and state=running)", "ms",
                  budget=[("qemu", 0.2, "<= 1/5 QEMU")])
    used = b.row("default_start_cpu", "... CPU of the device model until then", "ms")
    private = b.row("default_private_dirty", "... private dirty memory, all processes", "MB", budget=[("", 1.5, "<= 1.5 MB")])
    rss = b.row("default_rss", "... RSS, all processes", "MB", budget=[("", 12, "<= 12 MB")])
    pss = b.row("default_pss", "... PSS, all processes", "MB")
    processes = b.row("default_processes", "... processes", "")
    quiet = b.row("default_idle_wakes", "... wake-ups, idle, no tablet driver", "/s", budget=[("", 0, "0")])
    wakes = b.row("default_tablet_wakes", "... wake-ups, a driver asks the tablet", "/s", budget=[("", 20, "<= 20 a second")])
    cpu = b.row("default_tablet_cpu", "... CPU, a driver asks the tablet", "ms/min")
    for rep in range(b.reps if b.quick else 2 * b.reps):
        for name in b.dms:
            qmp, running, ns = timed_start(b, name, f"start-{name}", options(b, name), wrap=net.own_network)
            ready.add(name, max(qmp, running))
            used.add(name, ns)
    guests = {name: b.start(f"default-{name}", *b.dms[name], options=options(b, name), wrap=net.own_network)
              for name in b.dms}
    time.sleep(5)       # what a start leaves to be done later is not idleness
    seconds = 10 if b.quick else 30
    for name, g in guests.items():
        pids = family(g.pid)
        memory = [memory_of(p) for p in pids]
        processes.add(name, len(pids))
        rss.add(name, sum(m["rss"] for m in memory) / 1024)
        pss.add(name, sum(m["pss"] for m in memory) / 1024)
        private.add(name, sum(m["private_dirty"] for m in memory) / 1024)
        quiet.add(name, idle(b, name, seconds, g)[0])
        Tablet(g.cpu())
        time.sleep(1)
        a, used_idle = idle(b, name, seconds, g)
        wakes.add(name, a)
        cpu.add(name, used_idle)
    b.say("default")
