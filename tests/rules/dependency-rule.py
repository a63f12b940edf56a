#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The dependency rule of docs/design.md, checked on every source file: who may include what.

Prints TAP. The rule itself is tested first, on lines that break it.
"""
import os
import re
import sys

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from tap import Tap     # noqa: E402

ROOT = os.environ.get("XENDM_SRCDIR", os.path.join(os.path.dirname(__file__), "..", ".."))
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)

# Headers of Xen's libraries and public interface.
XEN = re.compile(r"^(xen/|xenctrl|xendevicemodel|xenforeignmemory|xenevtchn|xengnttab|xencall|xentoolcore|"
                 r"xentoollog|xenstore\.h|xenguest|libxl|xs\.h|xen_)")
# Contracts about the toolstack, which an emulated chip has no business with.
TOOLSTACK_CONTRACTS = {"xendm/xenstore.h", "xendm/mapcache.h"}
# The part of dm/ that talks to Xen.
DM_XEN = re.compile(r"^dm/(xen|ioreq)/[^/]*\.[ch]$")
ROOMS = ("base", "dm", "hw", "mapcache", "xenstore-watch", "backends")
# A sub-room of dm/ has one public header, which bears its name.
DM_ROOM_HEADER = re.compile(r"^([a-z]+)/\1\.h$")


def may_include_xen(path):
    return (DM_XEN.match(path) or path.startswith(("xenstore-watch/", "backends/pv/")))


def violations(path, text, exists):
    """What is wrong with the includes of `path` (relative to the root); `exists` tells of files beside it."""
    found = []
    sheltered = path.startswith(("base/", "hw/", "backends/")) and not path.startswith("backends/pv/")
    for style, name in INCLUDE.findall(text):
        ours = style == '"' and path.startswith("dm/") and DM_ROOM_HEADER.match(name)
        if XEN.match(name) and not ours and not may_include_xen(path):
            found.append(f"{path} includes Xen's <{name}>")
        if sheltered and name in TOOLSTACK_CONTRACTS:
            found.append(f"{path} includes <{name}>, which is the toolstack's side")
        if name.startswith("xendm/"):
            if style == '"':
                found.append(f'{path} includes the contract "{name}" in quotes')
            continue
        if style == '"' and name != "config.h":
            if ours:
                if not exists(os.path.join("dm", name)):
                    found.append(f'{path} includes "{name}", which dm/ has not')
            elif "/" in name:
                found.append(f'{path} includes "{name}": a private header of another room')
            elif not exists(os.path.join(os.path.dirname(path), name)):
                found.append(f'{path} includes "{name}", which is not beside it')
    return found


def sources():
    for room in ROOMS + ("include",):
        for folder, _, files in os.walk(os.path.join(ROOT, room)):
            for name in sorted(files):
                # syscalls-filter.h is made, by a build in the source tree beside its source.
                if name.endswith((".c", ".h")) and name != "syscalls-filter.h":
                    yield os.path.relpath(os.path.join(folder, name), ROOT)


def self_test():
    cases = [
        ("hw/ide/x.c", "#include <xenctrl.h>", 1),
        ("hw/ide/x.c", "#include <xen/hvm/ioreq.h>", 1),
        ("hw/ide/x.c", "#include <xendm/xenstore.h>", 1),
        ("hw/ide/x.c", '#include "../pc/board.h"', 1),
        ("hw/ide/x.c", '#include "missing.h"', 1),
        ("hw/ide/x.c", '#include "xendm/pci.h"', 1),
        ("backends/block/x.c", "  # include <xendevicemodel.h>", 1),
        ("dm/qmp/transport.c", "#include <xenforeignmemory.h>", 1),
        ("include/xendm/x.h", "#include <xenevtchn.h>", 1),
        ("dm/xen/hypervisor.c", "#include <xenforeignmemory.h>", 0),
        ("dm/ioreq/server.c", "#include <xen/hvm/ioreq.h>", 0),
        ("mapcache/x.c", "#include <xenforeignmemory.h>", 1),
        ("dm/qmp/x.c", '#include "update/here.h"', 1),
        ("dm/qmp/x.c", '#include "here/here.h"', 0),
        ("dm/qmp/x.c", "#include <xen/xen.h>", 1),
        ("dm/qmp/x.c", '#include "daemon.h"', 1),
        ("dm/qmp/x.c", '#include "update/update.h"', 1),
        ("hw/ide/x.c", '#include <xendm/pci.h>\n#include "here.h"\n#include <string.h>', 0),
    ]
    bad = []
    for path, text, want in cases:
        got = violations(path, text, lambda p: p.endswith("here.h"))
        if len(got) != want:
            bad.append(f"{path}: {text!r}: wanted {want} violations, got {got}")
    return bad


def main():
    tap = Tap()

    tap.report("the rule finds what breaks it", self_test())
    files = list(sources())
    tap.report("there are sources to check", [] if len(files) > 20 else [f"only {len(files)} under {ROOT}"])
    problems = {}
    for path in files:
        with open(os.path.join(ROOT, path), encoding="utf-8") as f:
            text = f.read()
        room = path.split("/")[0]
        problems.setdefault(room, [])
        problems[room] += violations(path, text, lambda p: os.path.exists(os.path.join(ROOT, p)))
        if "SPDX-License-Identifier: GPL-2.0-or-later" not in text.split("\n", 1)[0]:
            problems[room].append(f"{path} does not begin with its SPDX line")
    for room in sorted(problems):
        tap.report(f"{room}/ keeps the dependency rule", problems[room])
    return tap.end()


sys.exit(main())
