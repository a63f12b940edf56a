# SPDX-License-Identifier: GPL-2.0-or-later
"""Group instances: many guests."""
import time

from .guest import Failed, Guest
from .processes import cpu_ns, memory_of


def instances(b):
    for count in (1, 10) if b.quick else (1, 10, 100):
        total = b.row(f"instances_{count}", f"{count} instance{'s' if count > 1 else ''}: memory (PSS)", "MB")
        private = b.row(f"instances_{count}_private", "... private dirty", "MB")
        cpu = b.row(f"instances_{count}_cpu", "... CPU when idle", "ms/min")
        for name, (program, env) in b.dms.items():
            many = []
            try:
                for i in range(count):
                    many.append(Guest(b, f"many-{name}", program, env, domid=i + 1,
                                      host=many[0] if many else None, options=["-m", "64"]))
            except Failed as e:
                b.notes.append(f"{count} instances of {name}: only {len(many)} started: {e}")
            time.sleep(5)
            before = sum(cpu_ns(g.pid) for g in many)
            time.sleep(10)
            cpu.add(name, (sum(cpu_ns(g.pid) for g in many) - before) / 1e6 * 6)
            memory = [memory_of(g.pid) for g in many]
            total.add(name, sum(m["pss"] for m in memory) / 1024)
            private.add(name, sum(m["private_dirty"] for m in memory) / 1024)
            for g in reversed(many):
                g.end()
        b.say(f"{count} instances")
