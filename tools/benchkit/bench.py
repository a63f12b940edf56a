# SPDX-License-Identifier: GPL-2.0-or-later
"""One run: the device models, the guests that several groups share, the rows, the table."""
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time

from . import (access, controllers, default, disk, ide, instances, mapcache, memory, net, p9fs, qdisk, start, state, string,
               vcpus, vnc)
from .guest import Guest
from .result import Row, cell, judge, number

QEMU = "/usr/libexec/xen-qemu-system-i386"
GROUPS = {"access": access.access, "string": string.string, "disk": disk.disk, "vcpus": vcpus.vcpus,
          "start": start.start, "memory": memory.memory, "instances": instances.instances,
          "mapcache": mapcache.mapcache, "state": state.state, "default": default.default, "net": net.net,
          "vnc": vnc.vnc, "qdisk": qdisk.qdisk,
          "qcow2": qdisk.qcow2, "9pfs": p9fs.p9fs, "ahci": controllers.ahci, "nvme": controllers.nvme,
          "lsi": controllers.lsi, "virtio-blk": controllers.virtio,
          "virtio-scsi": controllers.virtio_scsi}
NEED_RUNNING = ("access", "string", "disk", "vcpus")        # on guests that boot() starts, one after the other


class Bench:
    def __init__(self, args):
        self.quick, self.only = args.quick, args.only
        self.build = os.path.realpath(args.build)
        self.disk_dir = args.disk_dir
        self.work = tempfile.mkdtemp(prefix="xendm-bench-")
        self.rows, self.notes, self.guests, self.image_dirs = [], [], [], []
        self.group, self.running = None, {}
        self.reps = args.reps or (5 if args.quick else 15)
        self.dms = {"xendm": (os.path.join(self.build, "xendm"), {})}
        if os.access(QEMU, os.X_OK):
            self.dms["qemu"] = (QEMU, {})
        else:
            self.notes.append(f"{QEMU} is not installed: no comparison with QEMU")
        floor = os.path.join(self.build, "tools/benchmarks/floor-dm")
        self.floors = {"floor-sleeps": (floor, {}), "floor-looks": (floor, {"FLOOR_DM_LOOK": "20"})}

    def row(self, *args, **kw):
        r = Row(*args, **kw)
        self.rows.append(r)
        return r

    def say(self, text):
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def start(self, name, program, env, **kw):
        g = Guest(self, name, program, env, **kw)
        self.guests.append(g)
        return g

    # -- guests for all groups that need a running one

    def images(self):
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else self.work
        self.sectors = 131072
        self.image_dirs = [tempfile.mkdtemp(prefix="xendm-bench-", dir=shm),
                           tempfile.mkdtemp(prefix="xendm-bench-", dir=self.disk_dir)]
        for d in self.image_dirs:
            for name in self.dms:
                with open(os.path.join(d, name + ".img"), "wb") as f:
                    for _ in range(self.sectors // 2048):
                        f.write(os.urandom(1 << 20))
                    os.fsync(f.fileno())

    def image(self, where, name):
        """The image of this device model, where: 0 on tmpfs, 1 on a disk."""
        if not self.image_dirs:
            self.images()
        return os.path.join(self.image_dirs[where], name + ".img")

    def boot(self):
        for name, (program, env) in {**self.dms, **self.floors}.items():
            disks = [self.image(w, name if name in self.dms else "xendm") for w in (0, 1)]
            options = ["--vcpus", "4"]
            if name in self.dms:
                options += ["--disk", disks[0], "--disk", disks[1]]
            self.running[name] = self.start(name, program, env, options=options)
        for name in self.dms:
            c = self.running[name].cpu()
            for line in ide.SETUP:
                c(line)

    def place(self, apart):
        """
        A guest has cores of its own: apart, the vCPUs (the sessions of xenemu) are on one CPU and the device model's main
        thread on another. Everything else runs where it likes.
        """
        for g in self.running.values():
            g.apart = apart
            g.place()

    # -- all of it

    def run(self):
        self.load = [os.getloadavg()]
        self.began = time.time()
        if any(group in NEED_RUNNING for group in self.only):
            self.boot()
        try:
            for name, group in GROUPS.items():
                if name not in self.only:
                    continue
                if name not in NEED_RUNNING:        # nothing of the other groups runs beside it
                    self.end_guests()
                self.group = name
                group(self)
        finally:
            self.load.append(os.getloadavg())
            self.end_guests()

    def end_guests(self):
        for g in self.guests:
            g.end()
        self.guests = []

    def clean(self):
        self.end_guests()
        for d in self.image_dirs + [self.work]:
            shutil.rmtree(d, ignore_errors=True)

    def machine(self):
        model = "?"
        with open("/proc/cpuinfo") as f:
            for line in f:
                if line.startswith("model name"):
                    model = line.split(":", 1)[1].strip()
        qemu = subprocess.run([QEMU, "--version"], stdout=subprocess.PIPE, text=True, check=False).stdout.split("\n")[0]
        return (f"{qemu}; {model}, {os.cpu_count()} CPUs; {platform.system()} {platform.release()}; "
                f"load {self.load[0][0]:.1f} before, {self.load[1][0]:.1f} after; "
                f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime(self.began))} UTC")

    def table(self):
        head = ["what", "unit", "xendm", "QEMU", "floor, sleeps", "floor, looks", "/QEMU", "/floor", "budget"]
        lines = []
        for r in self.rows:
            verdict = "; ".join(f"{text}: {'yes' if ok else 'NO'}" for text, ok in judge(r))
            ratio = [number(r.ratio(w)) for w in ("qemu", "floor")]
            lines.append([r.what, r.unit] + [cell(r.stat(w)) for w in ("xendm", "qemu", "floor-sleeps", "floor-looks")] +
                         ratio + [verdict])
        width = [max(len(x[i]) for x in [head] + lines) for i in range(len(head))]

        def out(cells):
            return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, width)) + " |"

        text = [out(head), "|" + "|".join("-" * (w + 2) for w in width) + "|"]
        return "\n".join(text + [out(x) for x in lines])

    def json(self):
        return {"machine": self.machine(), "repetitions": self.reps, "notes": self.notes, "rows": [
            {"key": r.key, "what": r.what, "unit": r.unit, "better": r.better,
             "result": {w: r.stat(w) for w in r.values}, "ratio_qemu": r.ratio("qemu"), "ratio_floor": r.ratio("floor"),
             "rules": r.budget, "budget": [{"text": t, "met": ok} for t, ok in judge(r)]} for r in self.rows]}
