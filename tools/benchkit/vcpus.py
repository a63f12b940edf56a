# SPDX-License-Identifier: GPL-2.0-or-later
"""Group vcpus: several at once."""
import threading
import time


def vcpus(b):
    b.place(False)
    for count in (1, 2, 4):
        row = b.row(f"vcpus_{count}", f"PIO reads by {count} vCPU{'s' if count > 1 else ''} at once", "1000/s",
                    better="more")
        for rep in range(b.reps):
            for name, g in b.running.items():
                cpus = [g.cpu(i) for i in range(count)]
                cpus[0]("spin 0")
                n = 1000 if b.quick else 3000
                threads = [threading.Thread(target=c, args=(f"benchseq {n} inb 0x1f7",)) for c in cpus]
                begin = time.monotonic()
                for t in threads:
                    t.start()
                for t in threads:
                    t.join()
                row.add(name, n * count / (time.monotonic() - begin) / 1000)
    b.say("vcpus")
