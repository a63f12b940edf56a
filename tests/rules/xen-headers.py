#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Xen's headers are seen by those rooms alone that talk to Xen: not through a header of another room either.

The dependency rule reads what a file includes; this asks the compiler what it comes to. Prints TAP. The rule itself is tested
first, on a file that gets a header of Xen's by way of one of ours.
"""
import os
import re
import shlex
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from tap import Tap     # noqa: E402

ROOT = os.path.abspath(os.environ.get("XENDM_SRCDIR", os.path.join(os.path.dirname(__file__), "..", "..")))
BUILD = os.path.abspath(os.environ.get("XENDM_BUILDDIR", "."))
CC = shlex.split(os.environ.get("CC", "cc"))
ROOMS = ("base", "dm", "hw", "mapcache", "xenstore-watch", "backends")
MAY = ("dm/xen/", "dm/ioreq/", "xenstore-watch/", "backends/pv/")
XEN = re.compile(r"/(xen/[^ ]*|xenctrl|xendevicemodel|xenforeignmemory|xenevtchn|xengnttab|xencall|xentoolcore|xentoollog|"
                 r"xenstore|xenguest|libxl[^/]*|xs)\.h$")


def flags():
    cflags = subprocess.run(["pkg-config", "--cflags", "glib-2.0"], stdout=subprocess.PIPE,
                            text=True, check=True).stdout
    return shlex.split(cflags) + ["-D_GNU_SOURCE", "-DHAVE_CONFIG_H", "-I" + BUILD, "-I" + os.path.join(ROOT, "include"),
                                  "-iquote", os.path.join(ROOT, "dm"), "-I" + ROOT]


def seen(path, options):
    """Every header that `path` comes to include. One that is generated and not there yet does not matter."""
    run = subprocess.run(CC + ["-M", "-MG"] + options + [path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if run.returncode:
        raise RuntimeError(run.stderr)
    return run.stdout.replace("\\\n", " ").split(":", 1)[1].split()


def xen_headers(path, options):
    # Contracts of ours may have such names: include/xendm/xenstore.h.
    return sorted({h for h in seen(path, options) if XEN.search(h) and "/xendm/" not in h and not h.startswith(ROOT + "/dm/xen/")})


def self_test(options):
    with tempfile.TemporaryDirectory() as tmp:
        os.makedirs(tmp + "/sys/xen")
        for name, text in (("sys/xen/sched.h", ""), ("ours.h", "#include <xen/sched.h>\n"), ("a.c", '#include "ours.h"\n'),
                           ("b.c", "#include <string.h>\n")):
            with open(os.path.join(tmp, name), "w", encoding="utf-8") as f:
                f.write(text)
        got = [xen_headers(os.path.join(tmp, name), options + ["-I" + tmp + "/sys"]) for name in ("a.c", "b.c")]
    return [] if len(got[0]) == 1 and not got[1] else [f"found {got}"]


def main():
    try:
        options = flags()
        subprocess.run(CC + ["--version"], stdout=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError) as e:
        print(f"1..0 # SKIP no compiler or no pkg-config: {e}")
        return 0
    tap, looked = Tap(), 0

    tap.report("a header of Xen's is found behind one of ours", self_test(options))
    for room in ROOMS:
        problems = []
        for folder, _, files in os.walk(os.path.join(ROOT, room)):
            for name in sorted(files):
                path = os.path.relpath(os.path.join(folder, name), ROOT)
                if name.endswith(".c") and not path.startswith(MAY):
                    looked += 1
                    problems += [f"{path} sees {h}" for h in xen_headers(os.path.join(ROOT, path), options)]
        tap.report(f"{room}/ sees none of Xen's headers that is not its business", problems)
    tap.report("there are files to look at", [] if looked > 50 else [f"only {looked}"])
    return tap.end()


sys.exit(main())
