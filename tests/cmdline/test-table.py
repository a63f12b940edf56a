#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Feeds each case of tests/cmdline/table to `xendm --dump-machine` and compares; TAP on stdout.

XENDM in the environment names the program; else it is the one of the build directory.
"""
import json
import os
import re
import shlex
import subprocess
import sys

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from tap import Tap     # noqa: E402

BASE = ["-xen-domid", "7", "-machine", "xenfv", "-m", "504"]


def cases(path):
    case = None
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        line = line.rstrip("\n")
        if not line or line.startswith("#"):
            continue
        if line.startswith("== "):
            if case:
                yield case
            case = {"title": line[3:], "args": [], "base": True, "json": {}, "refused": None}
            continue
        key, value = re.match(r"(\w+): ?(.*)$", line).groups()
        if key == "args":
            case["args"] += shlex.split(value)
        elif key == "base":
            case["base"] = value != "no"
        elif key == "json":
            case["json"].update(json.loads(value))
        elif key == "refused":
            case["refused"] = value
        else:
            sys.exit(f"{path}:{number}: unknown key {key}")
    if case:
        yield case


def to_bytes(arg):
    parts = re.split(r"\\x([0-9a-f]{2})", arg)
    return b"".join(bytes([int(p, 16)]) if i % 2 else p.encode() for i, p in enumerate(parts))


def check(program, case):
    """Yields what is wrong."""
    args = (BASE if case["base"] else []) + case["args"]
    run = subprocess.run([program, "--dump-machine"] + [to_bytes(a) for a in args], stdin=subprocess.DEVNULL,
                         capture_output=True, timeout=60)
    if case["refused"] is not None:
        want = ("xendm: " + case["refused"] + "\n").encode()
        if run.stderr != want:
            yield f"stderr is {run.stderr!r}"
            yield f"instead of {want!r}"
        if run.returncode != 1:
            yield f"exit status {run.returncode} instead of 1"
        if run.stdout:
            yield f"stdout is {run.stdout!r}"
        return
    if not case["json"]:
        yield "the case expects nothing"
    if run.returncode != 0 or run.stderr:
        yield f"exit status {run.returncode}, stderr {run.stderr!r}"
        return
    dump = json.loads(run.stdout)
    for key, value in case["json"].items():
        if key not in dump:
            yield f"{key} is not in the dump"
        elif dump[key] != value:
            yield f"{key} is {json.dumps(dump[key])}"
            yield f"instead of {json.dumps(value)}"


def main():
    builddir = os.environ.get("XENDM_BUILDDIR", ".")
    program = os.environ.get("XENDM", os.path.join(builddir, "xendm"))
    if not os.access(program, os.X_OK):
        print(f"1..0 # SKIP {program} is not there")
        return 0
    table = list(cases(os.path.join(os.path.dirname(os.path.abspath(__file__)), "table")))
    tap = Tap(len(table))
    for case in table:
        tap.report(case["title"], check(program, case))
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
