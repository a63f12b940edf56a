#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every callback of the main loop says whose turn it is (xendm/turn.h), so that `info loop` names who was long; and
chips have no callbacks but by xendm/later.h, which a recording has.

Prints TAP. The rule itself is tested first, on lines that break it.
"""
import os
import re
import sys

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from tap import Tap     # noqa: E402

ROOT = os.environ.get("XENDM_SRCDIR", os.path.join(os.path.dirname(__file__), "..", ".."))
ROOMS = ("base", "dm", "hw", "mapcache", "xenstore-watch", "backends")
# Which argument of the call is the callback.
ADDERS = {"g_unix_fd_add": 2, "g_timeout_add": 1, "g_timeout_add_seconds": 1, "g_idle_add": 0, "g_idle_add_full": 1,
          "g_unix_fd_add_full": 3, "g_timeout_add_full": 2, "g_source_set_callback": 1}
ADD = re.compile(r"\b(%s)\s*\(" % "|".join(ADDERS))
# Memory of devices that have left.
CHIPS_MAY = {"hw/core/device.c"}
FUNCS = re.compile(r"\bGSourceFuncs\s+\w+\s*=\s*\{(.*?)\};", re.S)


def arguments(text, at):
    """What stands between the parentheses of which the first is at `at`, by commas."""
    depth, start, found = 0, at + 1, []
    for i in range(at, len(text)):
        if text[i] in "([{":
            depth += 1
        elif text[i] in ")]}":
            depth -= 1
        if depth == 0 or (depth == 1 and text[i] == ","):
            found.append(text[start:i].strip())
            start = i + 1
        if depth == 0:
            break
    return found


def callbacks(text):
    found = set()
    for m in ADD.finditer(text):
        args = arguments(text, m.end() - 1)
        if len(args) > ADDERS[m.group(1)]:
            found.add(re.sub(r"^G_SOURCE_FUNC\((\w+)\)$", r"\1", args[ADDERS[m.group(1)]]))
    for m in FUNCS.finditer(text):
        named = re.search(r"\.dispatch\s*=\s*(\w+)", m.group(1))
        fields = [field.strip() for field in m.group(1).split(",")]
        found.add(named.group(1) if named else fields[2] if len(fields) > 2 else "?")
    return found


def violations(path, text):
    found = []
    if path.startswith("hw/") and path not in CHIPS_MAY:
        found += [f"{path}: the callback {name} is no work of xendm/later.h" for name in sorted(callbacks(text))]
    for name in sorted(callbacks(text)):
        body = re.search(r"^static gboolean %s\([^;{]*\)\n\{\n(.*?)^\}" % re.escape(name), text, re.M | re.S)
        if not body:
            found.append(f"{path}: the callback {name} is not a static function of this file")
        elif "turn_of(" not in body.group(1):
            found.append(f"{path}: {name}() does not say turn_of()")
    return found


def self_test():
    good = 'static gboolean ready(gint fd, GIOCondition is, gpointer p)\n{\n    turn_of("x");\n    return 1;\n}\n'
    bad = good.replace('    turn_of("x");\n', "")
    cases = [
        (good + "void f(void)\n{\n    g_unix_fd_add(fd, G_IO_IN, ready, NULL);\n}\n", 0),
        (bad + "void f(void)\n{\n    g_unix_fd_add(fd(1, 2), G_IO_IN, ready, NULL);\n}\n", 1),
        (bad + "void f(void)\n{\n    x = g_timeout_add_seconds(1, ready, NULL);\n}\n", 1),
        (bad + "static GSourceFuncs funcs = {.prepare = p, .dispatch = ready};\n", 1),
        (bad + "static GSourceFuncs funcs = {p, c, ready, NULL};\n", 1),
        (good + "static GSourceFuncs funcs = {p, c, ready, NULL};\n", 0),
        ("void f(void)\n{\n    g_idle_add(elsewhere, NULL);\n}\n", 1),
    ]
    wrong = [f"{text!r}: wanted {want}" for text, want in cases if len(violations("x.c", text)) != want]
    if not violations("hw/core/hold.c", cases[0][0]):
        wrong.append("a chip's own source is not seen")
    return wrong


def main():
    tap, seen = Tap(), 0

    tap.report("the rule finds what breaks it", self_test())
    for room in ROOMS:
        problems = []
        for folder, _, files in os.walk(os.path.join(ROOT, room)):
            for name in sorted(files):
                if name.endswith(".c"):
                    path = os.path.join(folder, name)
                    with open(path, encoding="utf-8") as f:
                        text = f.read()
                    seen += len(callbacks(text))
                    problems += violations(os.path.relpath(path, ROOT), text)
        tap.report(f"callbacks in {room}/ say whose turn it is", problems)
    tap.report("there are callbacks to check", [] if seen > 10 else [f"only {seen}"])
    return tap.end()


sys.exit(main())
