# SPDX-License-Identifier: GPL-2.0-or-later
"""Group memory: a default guest that idles."""
import time

from .processes import cpu_ns, memory_of, switches


def memory(b):
    seconds = 20 if b.quick else 60
    rows = {
        "private_dirty": b.row("private_dirty", "Private dirty memory, idle", "MB", budget=[("", 4, "<= 4 MB")]),
        "rss": b.row("rss", "RSS, idle", "MB", budget=[("", 10, "<= 10 MB")]),
        "pss": b.row("pss", "PSS, idle", "MB"),
        "threads": b.row("threads", "Threads", ""),
    }
    wakes = b.row("idle_wakes", "Wake-ups of the idle process, all threads", "/min", budget=[("", 0, "0")])
    cpu = b.row("idle_cpu", "CPU of the idle process", "ms/min")
    guests = {}
    for name, (program, env) in {**b.dms, "floor-sleeps": b.floors["floor-sleeps"]}.items():
        image = b.image(0, name if name in b.dms else "xendm")
        guests[name] = b.start(f"idle-{name}", program, env, options=["--disk", image])
    time.sleep(5)       # what a start leaves to be done later is not idleness
    before = {name: (switches(g.pid), cpu_ns(g.pid)) for name, g in guests.items()}
    time.sleep(seconds)
    for name, g in guests.items():
        wakes.add(name, (switches(g.pid) - before[name][0]) * 60 / seconds)
        cpu.add(name, (cpu_ns(g.pid) - before[name][1]) / 1e6 * 60 / seconds)
        for key, value in memory_of(g.pid).items():
            rows[key].add(name, value if key == "threads" else value / 1024)
        g.end()
    b.say("memory")
