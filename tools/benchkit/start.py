# SPDX-License-Identifier: GPL-2.0-or-later
"""Group start: from exec until the toolstack goes on."""
from .guest import timed_start


def start(b):
    answer = b.row("start_qmp", "exec until QMP answers", "ms")
    ready = b.row("start_ready", "exec until ready (QMP and state=running)", "ms",
                  budget=[("qemu", 0.25, "<= 1/4 QEMU")])
    cpu = b.row("start_cpu", "... CPU of the device model until then", "ms")
    for rep in range(b.reps if b.quick else 2 * b.reps):
        for name in b.dms:
            qmp, running, used = timed_start(b, name, f"start-{name}", ["--disk", b.image(0, name)])
            answer.add(name, qmp)
            ready.add(name, max(qmp, running))
            cpu.add(name, used)
    b.say("start")
