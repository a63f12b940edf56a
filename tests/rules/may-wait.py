#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Nobody waits inside a guest's register access: whoever waits for something outside of the process says turn_waits() first
(xendm/turn.h), of which a build with sanitizers dies inside an access. Here: that it is said.

Prints TAP. The rule itself is tested first, on functions that break it.
"""
import os
import re
import sys

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from tap import Tap     # noqa: E402

ROOT = os.environ.get("XENDM_SRCDIR", os.path.join(os.path.dirname(__file__), "..", ".."))
ROOMS = ("base", "dm", "hw", "mapcache", "xenstore-watch", "backends")
WAITS = re.compile(r"(?<![\w.>])(poll|ppoll|select|pselect|epoll_wait|usleep|sleep|nanosleep|clock_nanosleep|g_usleep|waitpid|wait4|waitid|"
                   r"fsync|fdatasync|syncfs|flock|g_main_context_iteration|g_thread_join|pthread_join|g_cond_wait|g_cond_wait_until|pthread_cond_wait|pthread_cond_timedwait|"
                   r"io_uring_wait_cqe|io_uring_submit_and_wait)\s*\(")
# These look and go on.
LOOKS = {"poll": r",\s*0\s*$", "epoll_wait": r",\s*0\s*$", "g_main_context_iteration": r",\s*FALSE\s*$", "waitpid": "WNOHANG", "flock": "LOCK_NB"}
FUNCTION = re.compile(r"^\w[^\n;{}]*?\b(\w+)\([^;{}]*\)\n\{\n(.*?)^\}", re.M | re.S)
# Other processes, other threads, and what is before the guest or after it.
ELSEWHERE = {
    "backends/block/keeper.c": "a process of its own",
    "backends/p9/": "a process of its own",
    "backends/usb/process.c": "a process of its own",
    "backends/vnc/keeper.c": "a process of its own",
    "backends/vnc/server.c": "a process of its own",
    "backends/vnc/server-input.c": "a process of its own",
    "dm/sandbox/": "the broker's process; the start and the end",
    "dm/service/": "the process that was started, which waits for its child",
    "dm/state/": "the start: a state is read before there is a guest that runs",
    "dm/update/": "a live update: the guest stands",
    "xenstore-watch/worker.c": "a thread of its own, for a second, and its end",
}
THREADS = {("backends/block/threads.c", "fdatasync"), ("backends/block/threads.c", "pthread_cond_timedwait")}


def arguments(text, at):
    """What stands between the parentheses of which the first is at `at`."""
    depth = 0
    for i in range(at, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return text[at + 1:i]
    return text[at + 1:]


def violations(path, text):
    text = re.sub(r"/\*.*?\*/|\"(?:[^\"\\\n]|\\.)*\"", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.S)
    found = []
    for function in FUNCTION.finditer(text):
        name, body = function.groups()
        for call in WAITS.finditer(body):
            looks = LOOKS.get(call.group(1))
            if (looks and re.search(looks, arguments(body, call.end() - 1))) or (path, call.group(1)) in THREADS:
                continue
            if "turn_waits(" not in body[:call.start()]:
                found.append(f"{path}: {name}() waits by {call.group(1)}() and does not say turn_waits()")
    return found


def self_test():
    def function(body):
        return "static int f(int a)\n{\n    %s\n}\n" % body

    cases = [
        ("poll(&p, 1, -1);", 1), ("poll(&p, 1, 0);", 0), ("epoll_wait(f, e, 2, 0);", 0), ("poll(p ? p : q,\n         1, MIN(a, (b)));", 1),
        ("turn_waits();\n    poll(&p, 1, -1);", 0), ("g_usleep(50);\n    turn_waits();", 1), ("waitpid(pid, NULL, WNOHANG);", 0),
        ("while (waitpid(pid, &s, 0) < 0) {\n    }", 1), ("fsync(fd);", 1), ("flock(fd, LOCK_EX | LOCK_NB);", 0),
        ("flock(fd, LOCK_EX);", 1), ("/* then poll(&p, 1, -1) */ g();", 0), ('g("poll(x)");', 0), ("backend_poll(x);", 0),
    ]
    return [f"{body!r}: wanted {want}" for body, want in cases if len(violations("x.c", function(body))) != want]


def main():
    tap, seen = Tap(), 0

    tap.report("the rule finds what breaks it", self_test())
    for room in ROOMS:
        problems = []
        for folder, _, files in os.walk(os.path.join(ROOT, room)):
            for name in sorted(files):
                path = os.path.relpath(os.path.join(folder, name), ROOT)
                if name.endswith(".c"):
                    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
                        text = f.read()
                    seen += len(WAITS.findall(text))
                    if not any(path.startswith(place) for place in ELSEWHERE):
                        problems += violations(path, text)
        tap.report(f"who waits in {room}/ says so", problems)
    tap.report("there are calls to check", [] if seen > 10 else [f"only {seen}"])
    tap.report("the places that are left out are there",
               [f"{place} is not there" for place in ELSEWHERE if not os.path.exists(os.path.join(ROOT, place))])
    return tap.end()


sys.exit(main())
