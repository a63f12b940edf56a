#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""All device scripts, with the machine saved and loaded into a fresh device model all the time; and the same
state saved again, byte for byte. Under sanitizers a process takes ten times as long to start."""

import glob
import os
import sys

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from client import XENSTORED    # noqa: E402

source = os.environ.get("XENDM_SRCDIR") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
build = os.environ.get("XENDM_BUILDDIR") or os.getcwd()
dm = build + "/xendm"
xenemu = build + "/tools/xenemu/xenemu"
for program in (dm, xenemu, XENSTORED):
    if not os.access(program, os.X_OK):
        print("1..0 # SKIP there is no %s" % program)
        sys.exit(0)
with open(build + "/config.status", encoding="utf-8", errors="replace") as stream:
    every = "40" if "-fsanitize" in stream.read() else "5"
scripts = sorted(glob.glob(source + "/tests/device/*.xds")) + sorted(glob.glob(source + "/tests/state/*.xds"))
os.execv(sys.executable, [sys.executable, source + "/tests/device/run", "--dm", dm, "--xenemu", xenemu,
                          "--migrate", every] + scripts)
