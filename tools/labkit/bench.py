# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/lab bench: device models side by side under real Xen, with a dom0 that is quiet and one that is busy.

Each run is one life of a guest: Debian's kernel boots from the emulated IDE disk, with PV drivers off, so that everything goes
through the device model; then it reads ports in a loop. Measured are the seconds from `xl create` to the login, accesses a
second of the loop, and what of dom0's CPU the device model took for both. The busy dom0 has a shell that runs grep once a
second, which is what a toolstack's host does, and which once cost xendm far more than QEMU.

Wall time is the point here, so that the table is worth what the machine's quietness is: it says the load average.
"""

import os
import re
import statistics
import time

from .box import Box
from .guest import Guest
from .util import LabError, say

BUSY = """
echo $$ >/run/busy.pid
while [ -e /run/busy ]; do
    grep -q no-such-line /bin/busybox /proc/kallsyms 2>/dev/null
    sleep 1
done"""
READS = 6400            # of the VGA's 32 ports from 0x3c0, all of them by one dd, which is a process each
READ_PORTS = "s=$(cut -d' ' -f1 /proc/uptime); i=0; " \
             "while [ $i -lt %d ]; do dd if=/dev/port of=/dev/null bs=32 skip=30 count=1 2>/dev/null; i=$((i + 32)); done; " \
             "e=$(cut -d' ' -f1 /proc/uptime); echo LAB took $s $e" % READS
COLUMNS = ("login_s", "boot_cpu_s", "accesses_per_s", "cpu_us_per_access", "switches_per_access")
TITLES = {"login_s": "to login, s", "boot_cpu_s": "dom0 CPU of the device model until then, s",
          "accesses_per_s": "accesses a second", "cpu_us_per_access": "dom0 CPU an access, µs",
          "switches_per_access": "switches of the device model an access"}


def used(box, pid):
    """CPU seconds of a process in dom0 and its context switches, both kinds, of its main thread."""
    text = box.run("cut -d')' -f2 /proc/%d/stat; grep ctxt_switches /proc/%d/status" % (pid, pid))
    words = text.split("\n")[0].split()
    return (int(words[11]) + int(words[12])) / 100, sum(int(n) for n in re.findall(r"switches:\s+(\d+)", text))


def one_life(box, number, busy):
    """A dictionary of COLUMNS."""
    busier = None
    if busy:
        box.run("touch /run/busy")
        busier = box.spawn(BUSY)
    guest = Guest(box, "bench%d" % number, memory=320, vcpus=2, append="xen_emul_unplug=never nopv clocksource=acpi_pm")
    try:
        begin = time.monotonic()
        guest.create()
        pid = guest.dm_pid()
        guest.wait_for(r"^LAB serve$", 400)
        login = time.monotonic() - begin
        boot_cpu, switches = used(box, pid)
        found = re.search(r"LAB took ([\d.]+) ([\d.]+)", guest.cmd(READ_PORTS, 400))
        if not found:
            raise LabError("the guest did not say how long its reads took")
        seconds = float(found.group(2)) - float(found.group(1))
        cpu, after = used(box, pid)
    finally:
        guest.destroy()
        guest.cleanup()
        if busier:
            box.run("rm -f /run/busy")
            box.wait(busier, 60, "the end of the busy shell")
    return {"login_s": login, "boot_cpu_s": boot_cpu, "accesses_per_s": READS / seconds,
            "cpu_us_per_access": (cpu - boot_cpu) * 1e6 / READS, "switches_per_access": (after - switches) / READS}


def table(results, about):
    """Medians, as docs/benchmarks.md has them."""
    names = list(dict.fromkeys(name for name, _ in results))
    lines = [about, "", "| dom0 | | %s |" % " | ".join(names), "|---|---|%s" % ("---|" * len(names))]
    for busy in (False, True):
        for column in COLUMNS:
            cells = []
            for name in names:
                lives = results.get((name, busy), [])
                cells.append("%.4g" % statistics.median(life[column] for life in lives) if lives else "-")
            lines.append("| %s | %s | %s |" % ("busy" if busy else "quiet", TITLES[column], " | ".join(cells)))
    return "\n".join(lines)


def do_bench(args):
    """Verb bench."""
    results, about = {}, ""
    for name in args.dms.split(","):
        box = Box(dm=name, xendm_build=args.xendm_build, accelerator=args.accel, memory=args.memory or 4096, smp=args.smp,
                  keep=args.keep, out=args.out)
        with box:
            about = "Xen %s, dom0's kernel %s, a box of %d CPUs by %s, %d runs each, load average of the machine %.1f" % (
                box.run("xl info | sed -n 's/^xen_version *: *//p'").strip(), box.run("uname -r").strip(), args.smp,
                box.accelerator, args.runs, os.getloadavg()[0])
            for number in range(args.runs):
                for busy in (False, True):
                    life = one_life(box, 2 * number + busy, busy)
                    results.setdefault((name, busy), []).append(life)
                    say("%s, dom0 %s: %s" % (name, "busy" if busy else "quiet",
                                             ", ".join("%s %.4g" % item for item in life.items())))
    print(table(results, about))
    return 0
