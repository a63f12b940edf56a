# SPDX-License-Identifier: GPL-2.0-or-later
"""What processes use: CPU time, switches, memory."""
import os
import time


def cpu_ns(pid):
    """CPU time of all threads of a process, dead ones included; Linux' clock id of another process."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def switches(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as f:
            total += sum(int(line.split()[1]) for line in f if "ctxt_switches" in line)
    return total


def memory_of(pid):
    """kB: resident, proportional and private dirty memory; threads."""
    wanted = {"Rss": "rss", "Pss": "pss", "Private_Dirty": "private_dirty"}
    out = {}
    with open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f:
            key = line.split(":")[0]
            if key in wanted:
                out[wanted[key]] = int(line.split()[1])
    out["threads"] = len(os.listdir(f"/proc/{pid}/task"))
    return out


def cpu_of(pid):
    """CPU time of a process and of those that it has started, which all live on."""
    return sum(cpu_ns(p) for p in family(pid))


def servers(image):
    """Image servers, which are nobody's children: those that have this file among their arguments."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                args = f.read().split(b"\0")
        except OSError:
            continue
        if os.path.basename(args[0]) in (b"qemu-nbd", b"qemu-storage-daemon") and any(image.encode() in a for a in args[1:]):
            found.append(int(pid))
    return found


def family(pid):
    """A process and all its descendants."""
    return [pid] + [p for child in children(pid) for p in family(child)]


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(x) for x in f.read().split()]
