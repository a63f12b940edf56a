# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/lab bench: device models side by side under real Xen, with a dom0 that is quiet and one that is busy.

One box has both device models, and guests alternate between them, so that noise of the machine hits both. The guest of one sector
(guest/reads.S) reads a port for ever, busy or with pauses in which the device model goes to sleep; measured are its accesses a
second and what of dom0's CPU the device model took for each. With --logins, Debian's kernel boots from the emulated IDE disk, PV
drivers off, and the seconds from `xl create` to the login count. The busy dom0 has a shell that runs grep once a second, which
is what a toolstack's host does, and which once cost xendm far more than QEMU.

Wall time is the point here, so that the table is worth what the machine's quietness is: it says the load average.
"""

import os
import re
import statistics
import time

from .box import QEMU_DM
from .build import boot_sector
from .guest import Guest
from .util import say

HERE = os.path.dirname(os.path.abspath(__file__))
BUSY = """
echo $$ >/run/busy.pid
while [ -e /run/busy ]; do
    grep -q no-such-line /bin/busybox /proc/kallsyms 2>/dev/null
    sleep 1
done"""
BATCH = 16             # accesses for a character, as in reads.S
SECONDS = 8             # for which each is measured
HOW = {"b": "busy", "a": "alone"}
TITLES = {"rate": "accesses a second", "cpu": "dom0 CPU an access, µs", "switches": "switches of the device model an access",
          "login": "to login, s", "login_cpu": "dom0 CPU of the device model until then, s"}


def used(box, pid):
    """CPU seconds of a process in dom0, with all its threads, and the context switches of its main thread, both kinds."""
    text = box.run("cat /proc/%d/schedstat; cat /proc/%d/task/*/schedstat; grep ctxt_switches /proc/%d/status" % (pid, pid, pid))
    numbers = [int(line.split()[0]) for line in text.split("\n") if re.match(r"\d", line)]
    return sum(numbers[1:]) / 1e9, sum(int(n) for n in re.findall(r"switches:\s+(\d+)", text))


class Busy:
    """Other work in dom0, or none."""

    def __init__(self, box, busy):
        self.box, self.job = box, None
        if busy:
            box.run("touch /run/busy")
            self.job = box.spawn(BUSY)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.job:
            self.box.run("rm -f /run/busy")
            self.box.wait(self.job, 120, "the end of the busy shell")


class Reader(Guest):
    """The guest of one sector."""

    def __init__(self, box, name, program):
        image = "%s/%s" % (box.work, name)
        boot_sector(HERE + "/guest/reads.S", image)
        box.put(image, "/root/%s.img" % name)
        box.run("truncate -s 8M /root/%s.img" % name)
        super().__init__(box, name, media=None, memory=32, vcpus=1, device_model_override=program,
                         disks=["format=raw,vdev=hda,access=rw,backendtype=qdisk,target=/root/%s.img" % name])

    def measure(self, how):
        """{column: figure}, for the accesses of so many seconds."""
        self.type(how)
        self.wait_for(how, 60)
        pid = self.dm_pid()
        begin, before = time.monotonic(), used(self.box, pid)
        count = len(self.text)
        time.sleep(SECONDS)
        after, end = used(self.box, pid), time.monotonic()
        n = max(1, (len(self.text) - count) * BATCH)
        return {"rate": n / (end - begin), "cpu": (after[0] - before[0]) * 1e6 / n, "switches": (after[1] - before[1]) / n}


def read_life(box, number, dm, program, note):
    """One guest; its figures in both dom0s go to note(busy, column, figure)."""
    guest = Reader(box, "reads-%s-%d" % (dm, number), program)
    try:
        guest.create()
        guest.wait_for("T", 120)
        for busy in (False, True):
            with Busy(box, busy):
                for how, title in HOW.items():
                    for column, figure in guest.measure(how).items():
                        note(busy, "%s, %s" % (title, TITLES[column]), figure)
    finally:
        guest.cleanup()
        box.run("rm -f /root/%s.img" % guest.name)


def login_life(box, number, dm, program, note):
    """Debian's kernel in both dom0s."""
    for busy in (False, True):
        with Busy(box, busy):
            guest = Guest(box, "login-%s-%d%d" % (dm, number, busy), memory=400, vcpus=2, device_model_override=program,
                          append="xen_emul_unplug=never")
            try:
                begin = time.monotonic()
                guest.create()
                guest.wait_for(r"^LAB serve$", 600)
                note(busy, TITLES["login"], time.monotonic() - begin)
                note(busy, TITLES["login_cpu"], used(box, guest.dm_pid())[0])
            finally:
                guest.cleanup()


def table(results, names, about):
    """Medians, as docs/benchmarks.md has them."""
    lines = [about, "", "| dom0 | | %s |" % " | ".join(names), "|---|---|%s" % ("---|" * len(names))]
    for busy, column in dict.fromkeys((busy, column) for _, busy, column in results):
        cells = []
        for name in names:
            figures = results.get((name, busy, column), [])
            cells.append("%.4g" % statistics.median(figures) if figures else "-")
        lines.append("| %s | %s | %s |" % ("busy" if busy else "quiet", column, " | ".join(cells)))
    return "\n".join(lines)


def do_bench(args, make_box):
    """Verb bench."""
    results = {}
    with make_box(args) as box:
        programs = {"xendm" if args.dm == "xendm" else os.path.basename(args.dm): box.dm_path, "qemu": QEMU_DM}
        about = "Xen %s, dom0's kernel %s, a box of %d CPUs by %s, %d runs each, load average of the machine %.1f" % (
            box.run("xl info | sed -n 's/^xen_version *: *//p'").strip(), box.run("uname -r").strip(), args.smp,
            box.accelerator, args.runs, os.getloadavg()[0])
        for life, runs in ((read_life, args.runs), (login_life, args.logins)):
            for number in range(runs):
                for name, program in programs.items():
                    def note(busy, column, figure, name=name):
                        results.setdefault((name, busy, column), []).append(figure)
                        say("%s, dom0 %s: %s: %.4g" % (name, "busy" if busy else "quiet", column, figure))
                    life(box, number, name, program, note)      # a console's file is of one guest's name
    print(table(results, list(programs), about))
    return 0
