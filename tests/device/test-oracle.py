#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""All device scripts against QEMU's Xen build: what they expect is not only our own opinion. The same scripts
against xendm: tests/state/test-scripts.py."""
import os
import sys

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from client import XENSTORED, version    # noqa: E402

ORACLE = "/usr/libexec/xen-qemu-system-i386"

source = os.environ.get("XENDM_SRCDIR") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
build = os.environ.get("XENDM_BUILDDIR") or os.getcwd()
xenemu = build + "/tools/xenemu/xenemu"
for program in (ORACLE, xenemu, XENSTORED):
    if not os.access(program, os.X_OK):
        print("1..0 # SKIP there is no %s" % program)
        sys.exit(0)
with open(build + "/config.status", encoding="utf-8", errors="replace") as stream:
    if "-fsanitize" in stream.read():
        print("1..0 # SKIP nothing of a build with sanitizers takes part: see the ordinary build")
        sys.exit(0)
print("# the oracle: %s" % version(ORACLE), flush=True)
os.execv(sys.executable, [sys.executable, source + "/tests/device/run", "--dm", ORACLE, "--xenemu", xenemu])
