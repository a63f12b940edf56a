# SPDX-License-Identifier: GPL-2.0-or-later
"""Group state: saved state, loading it, live update."""
import os
import re
import subprocess
import time

from .guest import TIMED_OUT, Failed, Qmp, timed_start, video_memory


def empty_image(b, name):
    path = os.path.join(b.work, f"state-{name}.img")
    with open(path, "wb") as f:
        f.truncate(64 << 20)
    return path


def state(b):
    size = b.row("state_size", "Saved state of a default guest, without its memory", "KB")
    stop = b.row("state_stop", "... stop until the reply", "ms")
    save = b.row("state_save", "... xen-save-devices-state to a file until the reply", "ms")
    load = b.row("state_load", "exec with -incoming until ready (QMP and state=running)", "ms")
    cpu = b.row("state_load_cpu", "... CPU of the device model until then", "ms")
    disk = {name: ["--disk", empty_image(b, name)] for name in b.dms}
    guests = {name: b.start(f"saved-{name}", program, env, options=disk[name]) for name, (program, env) in b.dms.items()}
    video = {name: video_memory(g) for name, g in guests.items()}
    for rep in range(b.reps):
        for name, g in guests.items():
            qmp = Qmp(os.path.join(g.dir, "qmp-libxl-1"))
            with open(os.path.join(b.work, f"{name}.state"), "wb") as f:
                fdset = qmp("add-fd", fd=f.fileno())["fdset-id"]
                begin = time.monotonic()
                qmp("stop")
                stopped = time.monotonic()
                qmp("xen-save-devices-state", filename=f"/dev/fdset/{fdset}", live=False)
                end = time.monotonic()
                qmp("cont")
            stop.add(name, (stopped - begin) * 1000)
            save.add(name, (end - stopped) * 1000)
            size.add(name, os.path.getsize(f.name) / 1024)
    updates = 20 if b.quick else 50
    pauses, checks = live_updates(b, guests["xendm"], updates)
    for g in guests.values():
        g.end()
    for rep in range(b.reps):
        for name in b.dms:
            qmp, running, used = timed_start(b, name, f"load-{name}", disk[name] + video[name] + [
                "--incoming", os.path.join(b.work, f"{name}.state")])
            load.add(name, max(qmp, running))
            cpu.add(name, used)
    pause = b.row("update_pause", f"Live update: guest accesses wait for the change, {updates} updates", "ms")
    for p in pauses:
        pause.add("xendm", p)
    b.row("update_pause_min", "... the shortest", "ms").add("xendm", min(pauses))
    b.row("update_pause_max", "... the longest", "ms").add("xendm", max(pauses))
    check = b.row("update_check", "... and for the rehearsal before it", "ms")
    for c in checks:
        check.add("xendm", c)
    b.say("state")


def live_updates(b, guest, count):
    """Milliseconds that the guest waited, as xendmctl update prints them: for the change, for the rehearsal."""
    ctl = os.path.join(b.build, "tools/xendmctl/xendmctl")
    pauses, checks = [], []
    for _ in range(count):
        run = subprocess.run([ctl, "update", os.path.join(guest.dir, "qmp-libxl-1")], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=TIMED_OUT, check=False)
        ms = re.search(r"waited ([0-9.]+) ms \+ ([0-9.]+) ms", run.stdout)
        if run.returncode or not ms:
            raise Failed(f"xendmctl update: {run.stdout}")
        checks.append(float(ms.group(1)))
        pauses.append(float(ms.group(2)))
    return pauses, checks
