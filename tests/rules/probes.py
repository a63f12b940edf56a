#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The probes that docs/probes.md lists are those of the program, with as many arguments. Prints TAP."""
import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from tap import Tap     # noqa: E402

ROOT = os.path.abspath(os.environ.get("XENDM_SRCDIR", os.path.join(os.path.dirname(__file__), "..", "..")))
BUILD = os.path.abspath(os.environ.get("XENDM_BUILDDIR", "."))


def listed():
    """Name to number of arguments; what is in brackets is about an argument."""
    found = {}
    with open(os.path.join(ROOT, "docs/probes.md"), encoding="utf-8") as stream:
        for names, arguments in re.findall(r"^\| (`[a-z_`, ]+`) \| ([^|]*) \|", stream.read(), re.M):
            arguments = re.sub(r"\([^)]*\)", "", arguments)
            for name in re.findall("[a-z_]+", names):
                found[name] = arguments.count(",") + 1
    return found


def built():
    notes = subprocess.run(["readelf", "-n", BUILD + "/xendm"], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = {}
    for name, arguments in re.findall(r"Provider: xendm\n\s+Name: (\w+)\n.*\n\s+Arguments: (.*)", notes):
        found.setdefault(name, set()).add(len(arguments.split()))
    return found


def main():
    tap = Tap()
    if not shutil.which("readelf"):
        print("1..0 # SKIP there is no readelf")
        return 0
    here, there = built(), listed()
    tap.report("docs/probes.md lists some", [] if len(there) > 5 else [f"only {there}"])
    if not here:
        tap.skip("they are those of the program", "it was built without sys/sdt.h")
        return tap.end()
    tap.report("they are those of the program", [f"{name}: the program has {here.get(name)}, docs/probes.md {there.get(name)}"
                                                 for name in sorted(set(here) | set(there)) if here.get(name) != {there.get(name)}])
    return tap.end()


sys.exit(main())
