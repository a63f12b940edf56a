# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs tests/lab/test_*.py. A guest's boot is dear, so tests come in "lives": the tests of a life are
steps with the same guests, in order. Output is TAP, with a summary line at the end.

    @life("cd", ["boots from CD", "reads it"])
    def cd(t):
        guest = t.guest("cd", media="cd")
        with t.step("boots from CD", vital=True):
            guest.create()
            guest.wait_for("LAB serve", 240)
        with t.step("reads it"):
            t.equal(guest.cmd("..."), "...")

Every life ends with one more test, "leaves nothing": domains, processes, sockets, xenstore nodes.
"""

import contextlib
import importlib.util
import os
import re
import sys
import tempfile
import threading
import time
import traceback

from .box import Box
from .guest import Guest
from .util import LabError, say

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "lab")
LAST = "leaves nothing"
LIVES = []


class Skip(Exception):
    """This test cannot run here; the text says why."""


class CheckFailed(Exception):
    """The tested thing is wrong."""


class Abandon(Exception):
    """A vital step failed: the rest of the life makes no sense."""


class Life:
    """A function and what it is going to test."""

    def __init__(self, name, steps, quick, memory, run):
        self.name, self.quick, self.memory, self.run = name, quick, memory, run
        self.steps = list(steps) + [LAST]
        self.file = ""


def life(name, steps, quick=False, memory=0):
    """Decorator. memory: MB of guests' memory that the box has to have for this life."""
    def wrap(run):
        LIVES.append(Life(name, steps, quick, memory, run))
        return run
    return wrap


class Report:
    """TAP lines and counters, for lives that may run side by side."""

    def __init__(self):
        self._lock = threading.Lock()
        self.number = self.passed = self.failed = self.skipped = 0

    def line(self, good, name, note="", skip=None):
        """One test's result."""
        with self._lock:
            self.number += 1
            if skip is not None:
                self.skipped += 1
            elif good:
                self.passed += 1
            else:
                self.failed += 1
            print("%sok %d - %s%s" % ("" if good else "not ", self.number, name,
                                      " # SKIP " + skip if skip is not None else ""))
            for text in note.strip().splitlines():
                print("#   " + text)
            print(end="", flush=True)


class Context:
    """What a life function works with."""

    def __init__(self, box, one, report, out, evidence=False):
        self.box, self.life, self.report, self.out, self.evidence = box, one, report, out, evidence
        self.done = set()
        self.guests = []
        self.bad = False

    def guest(self, name, **more):
        """A guest that is cleaned up at the end of the life."""
        guest = Guest(self.box, name, **more)
        self.guests.append(guest)
        return guest

    @contextlib.contextmanager
    def step(self, name, vital=False):
        """One test."""
        if name not in self.life.steps or name in self.done:
            raise LabError("life %s has no (further) step %s" % (self.life.name, name))
        self.done.add(name)
        title = "%s: %s" % (self.life.name, name)
        begin = time.monotonic()
        try:
            yield
        except Skip as why:
            self.report.line(True, title, skip=str(why))
            return
        except (LabError, CheckFailed) as err:
            self._failed(title, str(err))
            if vital:
                raise Abandon() from err
            return
        except Abandon:
            raise
        except Exception:   # pylint: disable=broad-except
            self._failed(title, traceback.format_exc())
            if vital:
                raise Abandon() from None
            return
        self.report.line(True, title)
        say("  ok after %.0f s: %s" % (time.monotonic() - begin, title))

    def _failed(self, title, note):
        self.bad = True
        target = os.path.join(self.out, re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-"))
        self.report.line(False, title, note + "\nlogs: " + target)
        with contextlib.suppress(LabError):
            self.box.put_ctl()
        self.box.collect(target)
        self._keep_guests(target)

    def _keep_guests(self, target):
        """Screens of those that there are, and all consoles."""
        os.makedirs(target, exist_ok=True)
        for guest in self.guests:
            with contextlib.suppress(LabError, OSError):
                if guest.domid() is not None:
                    with open("%s/%s.png" % (target, guest.name), "wb") as stream:
                        stream.write(guest.screenshot().png())
        for guest in self.guests:
            with contextlib.suppress(OSError), open("%s/%s.console.txt" % (target, guest.name), "w",
                                                    encoding="utf-8") as stream:
                stream.write(guest.text)

    @staticmethod
    def check(good, text):
        """Fail the step unless this is true."""
        if not good:
            raise CheckFailed(text)

    @staticmethod
    def equal(got, wanted, what="value"):
        """Fail the step unless both are the same."""
        if got != wanted:
            raise CheckFailed("%s is %r, not %r" % (what, got, wanted))

    @staticmethod
    def match(text, pattern, what="text"):
        """The match of a pattern that has to occur."""
        found = re.search(pattern, text, re.M)
        if not found:
            raise CheckFailed("%s has nothing like /%s/: %s" % (what, pattern, text.strip()[-600:]))
        return found

    def finish(self):
        """Clean up and see what stayed behind."""
        domids = set()
        if self.evidence and not self.bad:
            self._keep_guests(os.path.join(self.out, "passed-" + self.life.name))
        with self.step(LAST):
            problems = []
            for guest in self.guests:
                domids.update(guest.domids)
                guest.cleanup()
            until = time.monotonic() + 25
            while True:
                problems = self.box.leftovers(domids)
                if not problems or time.monotonic() > until:
                    break
                time.sleep(1)
            if problems:
                raise CheckFailed("left behind after %d s:\n%s" % (25, "\n".join(problems)))
        for name in self.life.steps:
            if name not in self.done:
                self.report.line(False, "%s: %s" % (self.life.name, name), "not reached")


def load():
    """All lives of tests/lab."""
    LIVES.clear()
    sys.path.insert(0, TESTS)       # for tests/lab/shared.py
    for name in sorted(os.listdir(TESTS)):
        if not re.fullmatch(r"test_\w+\.py", name):
            continue
        spec = importlib.util.spec_from_file_location(name[:-3], os.path.join(TESTS, name))
        before = len(LIVES)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for one in LIVES[before:]:
            one.file = name[len("test_"):-3]
    return LIVES


def run_life(box, one, report, out, evidence):
    """One life, whatever happens in it."""
    context = Context(box, one, report, out, evidence)
    say("%s (%s)" % (one.name, one.file))
    try:
        one.run(context)
    except Abandon:
        pass
    except Exception:   # pylint: disable=broad-except
        report.line(False, "%s: outside of any step" % one.name, traceback.format_exc())
    context.finish()


def do_test(args):
    """Verb test."""
    lives = load()
    if args.name:
        lives = [one for one in lives if one.name in args.name or one.file in args.name]
        known = {one.name for one in LIVES} | {one.file for one in LIVES}
        for name in args.name:
            if name not in known:
                raise LabError("no test is called %s (tools/lab test --list)" % name)
    if args.quick:
        lives = [one for one in lives if one.quick]
    if args.list:
        for one in lives:
            for step in one.steps:
                print("%s: %s: %s%s" % (one.file, one.name, step, " (quick)" if one.quick else ""))
        return 0
    if not lives:
        raise LabError("nothing to run")
    out = args.out or tempfile.mkdtemp(prefix="xendm-lab-logs-")
    report = Report()
    print("TAP version 13")
    memory = args.memory or 2048 + max(2048, max(one.memory for one in lives) + 1024)
    begin = time.monotonic()
    with Box(dm=args.dm, xendm_build=args.xendm_build, accelerator=args.accel, memory=memory, smp=args.smp,
             passthrough=args.passthrough, keep=args.keep, out=out, suite=args.suite, emulator=args.emulator) as box:
        waiting = list(lives)
        lock = threading.Lock()

        def worker():
            while True:
                with lock:
                    if not waiting:
                        return
                    one = waiting.pop(0)
                run_life(box, one, report, out, args.evidence)

        threads = [threading.Thread(target=worker, daemon=True) for _ in range(max(1, args.jobs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(1)
    print("1..%d" % report.number)
    say("%d lives in %.0f s; logs in %s" % (len(lives), time.monotonic() - begin, out))
    print("%d passed, %d failed, %d skipped" % (report.passed, report.failed, report.skipped), flush=True)
    return 1 if report.failed else 0
