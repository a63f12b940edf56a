#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A short run of random accesses to xendm and QEMU's Xen build side by side. Always the same accesses, so that a
failure is this change's; `make check-differential` looks further. Short episodes: more kinds of machine."""
import os
import sys

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from client import XENSTORED, version    # noqa: E402

ORACLE = "/usr/libexec/xen-qemu-system-i386"
SEED, ACCESSES, EPISODE = 7, 100000, 10000

source = os.environ.get("XENDM_SRCDIR") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
build = os.environ.get("XENDM_BUILDDIR") or os.getcwd()
dm = build + "/xendm"
xenemu = build + "/tools/xenemu/xenemu"
for program in (ORACLE, dm, xenemu, XENSTORED):
    if not os.access(program, os.X_OK):
        print("1..0 # SKIP there is no %s" % program)
        sys.exit(0)
print("# the oracle: %s" % version(ORACLE), flush=True)
os.execv(sys.executable, [sys.executable, source + "/tests/device/differential", "--dm", dm, "--xenemu", xenemu,
                          "--oracle", ORACLE, "--seed", str(SEED), "--count", str(ACCESSES),
                          "--length", str(EPISODE), "--reduce", "30"])
