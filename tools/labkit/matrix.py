# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/lab suite DIR: what DIR/suite.ini describes, in one box for each combination, side by side as far as memory allows."""

import configparser
import itertools
import os
import re
import shlex
import subprocess
import sys
import threading
import time

from . import report
from .util import LabError, say

LAB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab")
AXES = ("dm", "suite", "options", "tests")
SETTINGS = {"title", "retries", "timeout", "memory"}
HOST_MB = 1024          # left to this machine


class Combination:
    """One box, and what came of it."""

    def __init__(self, values, memory):
        self.values, self.memory = values, memory
        self.name = " ".join(value for value in values.values() if value)
        self.directory = re.sub("[^a-z0-9]+", "-", self.name.lower()).strip("-")
        self.tests = []
        self.seconds = 0


def items(text):
    """Comma-separated; empty ones count (no options)."""
    return [word.strip() for word in text.split(",")]


def read(path):
    """(settings, combinations) of a suite.ini."""
    ini = configparser.ConfigParser(interpolation=None)
    try:
        if not ini.read(path, encoding="utf-8"):
            raise LabError("there is no %s" % path)
    except configparser.Error as err:
        raise LabError("%s: %s" % (path, err)) from err
    for section in ini.sections():
        known = {"suite": SETTINGS, "matrix": set(AXES)}.get(section)
        if known is None:
            raise LabError("%s: there is no section [%s]" % (path, section))
        for key in ini[section]:
            if key not in known:
                raise LabError("%s: [%s] has no %s" % (path, section, key))
    settings = dict(ini["suite"]) if ini.has_section("suite") else {}
    matrix = dict(ini["matrix"]) if ini.has_section("matrix") else {}
    if not matrix.get("tests"):
        raise LabError("%s: [matrix] has no tests" % path)
    for key in ("retries", "timeout", "memory"):
        if key in settings and not settings[key].isdigit():
            raise LabError("%s: %s is no number: %s" % (path, key, settings[key]))
    axes = [items(matrix.get(axis, {"dm": "xendm", "suite": "native", "options": ""}.get(axis, ""))) for axis in AXES]
    memory = int(settings.get("memory", 4096))
    boxes = [Combination(dict(zip(AXES, values)), memory) for values in itertools.product(*axes)]
    if len({box.directory for box in boxes}) < len(boxes):
        raise LabError("%s: two boxes of the matrix are the same" % path)
    return settings, boxes


def available_mb():
    """Memory that this machine can give."""
    with open("/proc/meminfo", encoding="ascii") as stream:
        return int(re.search(r"MemAvailable: +(\d+)", stream.read()).group(1)) // 1024


class Memory:
    """What boxes take of it; one box runs whatever there is."""

    def __init__(self, total):
        self.free, self.total = total, total
        self.changed = threading.Condition()

    def take(self, size):
        """Wait until there is so much."""
        with self.changed:
            while self.free < size and self.free < self.total:
                self.changed.wait()
            self.free -= size

    def give(self, size):
        """There it is again."""
        with self.changed:
            self.free += size
            self.changed.notify_all()


def run_box(box, tests, out, passed_on, timeout):
    """The tests of one box, run once."""
    words = [os.environ.get("XENDM_LAB_PROGRAM", LAB), "test", "--dm", box.values["dm"], "--suite", box.values["suite"], "--memory",
             str(box.memory), "--out", out, "--evidence", *passed_on, *shlex.split(box.values["options"]), *tests]
    os.makedirs(out, exist_ok=True)
    begin = time.monotonic()
    with open(out + "/tests.tap", "w", encoding="utf-8") as tap, open(out + "/lab.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=tap, stderr=log)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
            status = None
    box.seconds += time.monotonic() - begin
    with open(out + "/tests.tap", encoding="utf-8", errors="replace") as stream:
        found = report.read_tap(stream.read())
    if status is None or (status != 0 and not any(test.state == report.FAILED for test in found)):
        with open(out + "/lab.log", encoding="utf-8", errors="replace") as stream:
            end = "\n".join(stream.read().splitlines()[-8:])
        why = "it had not ended after %d s" % timeout if status is None else "it ended with status %d" % status
        found.append(report.Test("%s: the box itself" % " ".join(tests), report.FAILED, why + "\n" + end, out))
    return found


def run_one(box, memory, run_directory, passed_on, settings):
    """A combination, with its retries."""
    memory.take(box.memory)
    try:
        say("%s" % box.name)
        out = os.path.join(run_directory, box.directory)
        timeout = int(settings.get("timeout", 3600))
        box.tests = run_box(box, shlex.split(box.values["tests"]), out, passed_on, timeout)
        for turn in range(int(settings.get("retries", 0))):
            lives = sorted({test.life for test in box.tests if test.state == report.FAILED})
            if not lives:
                break
            names = shlex.split(box.values["tests"]) if any(t.name.endswith(": the box itself") for t in box.tests
                                                            if t.state == report.FAILED) else lives
            say("%s: again: %s" % (box.name, " ".join(names)))
            later = run_box(box, names, "%s/again-%d" % (out, turn + 1), passed_on, timeout)
            report.again(box.tests, later)
            known = {test.name for test in box.tests}
            box.tests += [test for test in later if test.name not in known]
            for test in box.tests:
                if test.name.endswith(": the box itself") and not any(t.name == test.name for t in later):
                    test.state = report.FLAKY
    except Exception as err:    # pylint: disable=broad-except
        box.tests.append(report.Test("the box itself", report.FAILED, str(err)))
    finally:
        memory.give(box.memory)


def new_directory(results):
    """Named by the second, so that names sort by time; who comes in the same second waits for the next."""
    while True:
        run = time.strftime("%Y-%m-%d-%H%M%S")
        try:
            os.mkdir(os.path.join(results, run))
            return run
        except FileExistsError:
            time.sleep(.1)


def do_suite(args):
    """Verb suite."""
    settings, boxes = read(os.path.join(args.directory, "suite.ini"))
    if args.list:
        for box in boxes:
            print(box.name)
        return 0
    results = os.path.abspath(args.results or os.path.join(args.directory, "results"))
    os.makedirs(results, exist_ok=True)
    run = new_directory(results)
    passed_on = ["--accel", args.accel] + (["--xendm-build", os.path.abspath(args.xendm_build)] if args.xendm_build else [])
    memory = Memory(max(available_mb() - HOST_MB, 1))
    waiting, lock = list(boxes), threading.Lock()

    def worker():
        while True:
            with lock:
                if not waiting:
                    return
                box = waiting.pop(0)
            run_one(box, memory, os.path.join(results, run), passed_on, settings)

    workers = [threading.Thread(target=worker, daemon=True) for _ in range(min(args.jobs or len(boxes), len(boxes)))]
    for thread in workers:
        thread.start()
    for thread in workers:
        while thread.is_alive():
            thread.join(1)
    page = report.write(results, run, settings.get("title", os.path.basename(os.path.abspath(args.directory))), boxes)
    sys.stdout.write(report.tap(boxes))
    say("the report is %s" % page)
    print(report.summary(boxes), flush=True)
    return 1 if report.count(boxes, report.FAILED) else 0
