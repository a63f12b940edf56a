# SPDX-License-Identifier: GPL-2.0-or-later
"""Results of many boxes: TAP, JUnit's XML, and one HTML page that needs no other file."""

import base64
import glob
import html
import json
import os
import re
import time
import xml.etree.ElementTree as ElementTree

SHOWN = 60              # lines of a log at its end
PASSED, FLAKY, FAILED, SKIPPED = "passed", "flaky", "failed", "skipped"
WORDS = {PASSED: "passed", FLAKY: "passed when it was run again", FAILED: "failed", SKIPPED: "skipped"}


class Test:
    """A step of a life in one box of the matrix."""

    def __init__(self, name, state, note="", logs=""):
        self.name, self.state, self.note, self.logs = name, state, note, logs
        self.before = None      # evidence of the last run that passed: (when, directory)

    @property
    def life(self):
        """Its life, which is what can be run again."""
        return self.name.split(":")[0]

    def as_json(self):
        """For those who look for the last run that passed."""
        return {"name": self.name, "state": self.state, "logs": self.logs}


def read_tap(text):
    """The tests of a TAP stream; what follows one as comments is its note."""
    tests = []
    for line in text.splitlines():
        found = re.match(r"(not )?ok \d+ - (.*?)(?: # SKIP (.*))?$", line)
        if found:
            bad, name, skip = found.groups()
            tests.append(Test(name, SKIPPED if skip is not None else FAILED if bad else PASSED, skip or ""))
        elif line.startswith("#   ") and tests:
            logs = re.match(r"#   logs: (.*)", line)
            if logs:
                tests[-1].logs = logs.group(1)
            else:
                tests[-1].note += line[4:] + "\n"
    return tests


def again(tests, later):
    """What a second run of the same lives makes of these: a failure that passes then is flaky, and keeps its note."""
    now = {test.name: test for test in later}
    for test in tests:
        if test.state == FAILED and test.name in now and now[test.name].state == PASSED:
            test.state = FLAKY


def count(boxes, state):
    """Tests in that state."""
    return sum(test.state == state for box in boxes for test in box.tests)


def summary(boxes):
    """In words."""
    return "%d passed, %d failed, %d skipped, %d passed when run again" % tuple(
        count(boxes, state) for state in (PASSED, FAILED, SKIPPED, FLAKY))


def tap(boxes):
    """All of them, with the box in front."""
    lines, number = ["TAP version 13"], 0
    for box in boxes:
        for test in box.tests:
            number += 1
            mark = " # SKIP " + test.note.strip() if test.state == SKIPPED else ""
            lines.append("%sok %d - %s: %s%s" % ("not " if test.state == FAILED else "", number, box.name, test.name, mark))
            if test.state == FLAKY:
                lines.append("#   failed at first, passed when it was run again")
            if test.state in (FLAKY, FAILED):
                lines += ["#   " + line for line in test.note.strip().splitlines()]
    return "\n".join(lines + ["1..%d" % number, "# " + summary(boxes)]) + "\n"


def printable(text):
    """Without what XML cannot carry."""
    return re.sub("[^\t\n\x20-\ud7ff\ue000-\ufffd]", "?", text)


def junit(boxes):
    """As Jenkins and GitLab read it; flakyFailure is Surefire's word."""
    root = ElementTree.Element("testsuites")
    for box in boxes:
        suite = ElementTree.SubElement(root, "testsuite", name=box.name, tests=str(len(box.tests)), time="%.1f" % box.seconds,
                                       failures=str(sum(t.state == FAILED for t in box.tests)),
                                       skipped=str(sum(t.state == SKIPPED for t in box.tests)))
        for test in box.tests:
            case = ElementTree.SubElement(suite, "testcase", classname="%s.%s" % (box.name, test.life), name=test.name)
            kind = {FAILED: "failure", FLAKY: "flakyFailure", SKIPPED: "skipped"}.get(test.state)
            if kind:
                lines = printable(test.note).strip().splitlines() or [test.state]
                ElementTree.SubElement(case, kind, message=lines[0]).text = "\n".join(lines)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


# ---- HTML ----

STYLE = """body{font:14px/1.4 sans-serif;margin:2em;max-width:90em}h1{font-size:1.4em}h2{font-size:1.15em;margin-top:2em}
table{border-collapse:collapse}td,th{padding:.2em .7em;text-align:left;border-bottom:1px solid #ddd;vertical-align:top}
.passed{color:#176b2c}.failed{color:#b00020;font-weight:bold}.flaky{color:#9a5b00;font-weight:bold}.skipped{color:#666}
pre{background:#f4f4f4;padding:.6em;overflow:auto;max-height:28em;font-size:12px}img{max-width:100%;border:1px solid #999}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:1.5em}summary{cursor:pointer}.note{white-space:pre-wrap}"""
# what a directory of evidence may hold, most telling first
EVIDENCE = (("why it waits", "why-*.txt"), ("serial console", "*.console.txt"), ("flight recorder", "recorder-*.txt"),
            ("device model's log", "qemu-dm-*.log"), ("Xen", "console.log"), ("the lab", "lab.log"))


def tail(path):
    """The end of a log."""
    with open(path, encoding="utf-8", errors="replace") as stream:
        lines = stream.read().splitlines()
    more = ["… %d lines before" % (len(lines) - SHOWN)] if len(lines) > SHOWN else []
    return "\n".join(more + lines[-SHOWN:])


def below(directory, pattern):
    """Files of that name, there or in a folder of it."""
    return sorted(glob.glob(os.path.join(glob.escape(directory), pattern)) + glob.glob(os.path.join(glob.escape(directory), "*", pattern)))


def evidence(directory):
    """Pictures and logs, inside the page."""
    parts = []
    for path in below(directory, "*.png"):
        with open(path, "rb") as stream:
            data = base64.b64encode(stream.read()).decode()
        name = html.escape(os.path.basename(path))
        parts.append('<figure><img alt="screen of %s" src="data:image/png;base64,%s"><figcaption>%s</figcaption></figure>' % (name, data, name))
    for title, pattern in EVIDENCE:
        for path in below(directory, pattern):
            parts.append("<details%s><summary>%s: %s</summary><pre>%s</pre></details>" % (
                " open" if title.startswith("why") else "", title, html.escape(os.path.basename(path)), html.escape(printable(tail(path)))))
    return "\n".join(parts) or "<p>nothing was kept</p>"


def failure(box, test):
    """One test that failed, beside the last run in which it passed."""
    before = ("<h3>the last run that passed: %s</h3>%s" % (html.escape(test.before[0]), evidence(test.before[1])) if test.before
              else "<h3>no run is known in which it passed</h3>")
    return '<h2 id="%s" class="%s">%s: %s</h2>\n<p class="note">%s</p>\n<div class="pair"><div><h3>now</h3>%s</div><div>%s</div></div>' % (
        anchor(box, test), test.state, html.escape(box.name), html.escape(test.name), html.escape(printable(test.note.strip())),
        evidence(test.logs) if test.logs else "<p>nothing was kept</p>", before)


def anchor(box, test):
    """A name for links."""
    return re.sub("[^a-z0-9]+", "-", (box.name + " " + test.name).lower()).strip("-")


def page(title, boxes, when):
    """The whole report."""
    names = []
    for box in boxes:
        names += [test.name for test in box.tests if test.name not in names]
    head = "".join("<th>%s<br><small>%d s</small></th>" % (html.escape(box.name), box.seconds) for box in boxes)
    rows = []
    for name in names:
        cells = []
        for box in boxes:
            found = [test for test in box.tests if test.name == name]
            if not found:
                cells.append("<td></td>")
            elif found[0].state in (FAILED, FLAKY):
                cells.append('<td class="%s"><a href="#%s" class="%s">%s</a></td>' % (
                    found[0].state, anchor(box, found[0]), found[0].state, WORDS[found[0].state]))
            else:
                cells.append('<td class="%s" title="%s">%s</td>' % (found[0].state, html.escape(found[0].note.strip(), True), WORDS[found[0].state]))
        rows.append("<tr><th>%s</th>%s</tr>" % (html.escape(name), "".join(cells)))
    bad = [failure(box, test) for state in (FAILED, FLAKY) for box in boxes for test in box.tests if test.state == state]
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>%s</title><style>%s</style></head><body>\n<h1>%s</h1>\n'
            "<p>%s, %s</p>\n<table><tr><th></th>%s</tr>\n%s\n</table>\n%s\n</body></html>\n") % (
                html.escape(title), STYLE, html.escape(title), html.escape(when), summary(boxes), head, "\n".join(rows), "\n".join(bad))


# ---- files ----

def last_pass(results, box, test, now):
    """When, and what was kept of it."""
    for run in sorted(os.listdir(results), reverse=True):
        path = os.path.join(results, run, "results.json")
        if run == now or not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as stream:
            tests = json.load(stream).get(box.name, [])
        for one in tests:
            if one["name"] == test.name and one["state"] == PASSED:
                return run, os.path.join(results, run, box.directory, "passed-" + test.life)
    return None


def write(results, run, title, boxes):
    """tests.tap, junit.xml, index.html, and results.json for the next time. The page's path."""
    directory = os.path.join(results, run)
    for box in boxes:
        for test in box.tests:
            if test.state in (FAILED, FLAKY):
                test.before = last_pass(results, box, test, run)
    files = {"tests.tap": tap(boxes), "junit.xml": junit(boxes),
             "results.json": json.dumps({box.name: [test.as_json() for test in box.tests] for box in boxes}, indent=1),
             "index.html": page(title, boxes, time.strftime("%Y-%m-%d %H:%M"))}
    for name, text in files.items():
        with open(os.path.join(directory, name), "w", encoding="utf-8") as stream:
            stream.write(text)
    return os.path.join(directory, "index.html")
