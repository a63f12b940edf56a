# SPDX-License-Identifier: GPL-2.0-or-later
"""Group mapcache: guest memory that is mapped."""
import json
import os
import subprocess


def mapcache(b):
    out = subprocess.run([os.path.join(b.build, "tools/benchmarks/mapcache-bench")], check=True,
                         stdout=subprocess.PIPE, text=True,
                         env=dict(os.environ, LD_LIBRARY_PATH=os.path.join(b.build, "tools/xenemu/lib"))).stdout
    for line in out.splitlines():
        r = json.loads(line)
        b.row(f"mapcache_{r['what']}_{r['gb']}", f"mapcache, guest of {r['gb']} GB: {r['what']}",
              "ns").add("xendm", r["ns"])
    b.say("mapcache")
