#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/lab suite: the matrix, retries, TAP, JUnit and the HTML page, with a program in the lab's place. In a browser, too, where
one is installed. TAP."""
import html.parser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from tap import Tap     # noqa: E402

ROOT = os.path.abspath(os.environ.get("XENDM_SRCDIR", os.path.join(os.path.dirname(__file__), "..", "..")))
LAB = os.path.join(ROOT, "tools/lab")
INI = """[suite]
title = Two & two
retries = 1
memory = 100
[matrix]
dm = xendm, qemu
tests = disks, cd
"""
# What is done in the lab's place: "disks" has a step that fails at first under xendm, and always under qemu; "cd" under qemu ends the box.
STAND_IN = r"""#!/usr/bin/env python3
import os, sys
sys.path.insert(0, %(tools)r)
from labkit.png import Picture
words = sys.argv[1:]
dm, out, life = words[words.index("--dm") + 1], words[words.index("--out") + 1], words[-1]
picture = Picture(4, 2, bytes(range(24))).png()
def keep(name):
    os.makedirs(out + "/" + name, exist_ok=True)
    for file, data in (("guest.png", picture), ("guest.console.txt", b"<login> \x00\n" * 100), ("why-1.txt", b"vCPU 0 spins\n"),
                       ("recorder-1.txt", b"pio-read\n")):
        with open(out + "/" + name + "/" + file, "wb") as stream:
            stream.write(data)
print("TAP version 13")
if life == "disks":
    bad = dm == "qemu" and not os.path.exists(%(good)r) or "again" not in out and not os.path.exists(%(good)r)
    keep("failed-disks" if bad else "passed-disks")
    print("ok 1 - disks: one")
    print("%%sok 2 - disks: two <b>" %% ("not " if bad else ""))
    if bad:
        print("#   wanted & got <nothing>\n#   logs: " + out + "/failed-disks")
    print("ok 3 - disks: three # SKIP no such thing")
    sys.exit(bad)
if dm == "qemu":
    print("no box\n", file=sys.stderr)
    sys.exit(3)
print("ok 1 - cd: reads")
"""


class Page(html.parser.HTMLParser):
    """What a page draws in from elsewhere, and what is open at its end."""

    def __init__(self, text):
        super().__init__()
        self.outside, self.stack, self.pictures = [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        where = values.get("src") or values.get("href") or ""
        if where and not where.startswith(("#", "data:")):
            self.outside.append(where)
        self.pictures += tag == "img"
        if tag not in ("meta", "img", "br", "link"):
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag, tag


def run(tmp, *words):
    env = dict(os.environ, XENDM_LAB_PROGRAM=tmp + "/stand-in")
    return subprocess.run([sys.executable, LAB, "suite", *words, tmp], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False)


def newest(tmp, name):
    directory = os.path.join(tmp, "results", sorted(os.listdir(tmp + "/results"))[-1])
    with open(os.path.join(directory, name), encoding="utf-8") as stream:
        return stream.read()


def check(tap, name, conditions, detail=""):
    tap(name, all(conditions), "%s %s" % (conditions, detail))


def bad_files(tap, tmp):
    problems = []
    for text, word in (("[matrix]\ntests = a\n[other]\n", "no section [other]"), ("[matrix]\ntest = a\n", "[matrix] has no test"),
                       ("[suite]\nretries = x\n[matrix]\ntests = a\n", "retries is no number: x"), ("[matrix]\ndm = xendm\n", "has no tests"),
                       ("nonsense\n", "suite.ini"), ("[matrix]\ntests = a, a\n", "are the same")):
        with open(tmp + "/suite.ini", "w", encoding="utf-8") as stream:
            stream.write(text)
        done = run(tmp)
        if done.returncode != 1 or word not in done.stderr or "Traceback" in done.stderr:
            problems.append("%r: %d, %s" % (text, done.returncode, done.stderr))
    tap.report("what is wrong in a suite.ini is named", problems)


def browser(tap, tmp):
    name = "the page in a browser"
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        tap.skip(name, "there is no chromium")
        return
    directory = os.path.join(tmp, "results", sorted(os.listdir(tmp + "/results"))[0])
    shot = os.environ.get("XENDM_SUITE_PICTURE") or tmp + "/page.png"
    done = subprocess.run([program, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=%s/profile" % tmp, "--window-size=1400,1600",
                           "--screenshot=" + shot, "file://%s/index.html" % directory], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=300, check=False)
    dom = subprocess.run([program, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=%s/profile" % tmp, "--dump-dom",
                          "file://%s/index.html" % directory], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    check(tap, name, [os.path.exists(shot) and os.path.getsize(shot) > 10000, "Two &amp; two" in dom.stdout], done.stdout[-500:])


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory() as tmp:
        with open(tmp + "/stand-in", "w", encoding="utf-8") as stream:
            stream.write(STAND_IN % {"tools": os.path.join(ROOT, "tools"), "good": tmp + "/good"})
        os.chmod(tmp + "/stand-in", 0o755)
        bad_files(tap, tmp)
        with open(tmp + "/suite.ini", "w", encoding="utf-8") as stream:
            stream.write(INI)
        done = run(tmp, "--list")
        tap("the matrix", sorted(done.stdout.splitlines()) == ["qemu native cd", "qemu native disks", "xendm native cd", "xendm native disks"],
            done.stdout + done.stderr)
        done = run(tmp)
        check(tap, "its status and its last line", [done.returncode == 1, done.stdout.endswith(
            "\n3 passed, 2 failed, 2 skipped, 1 passed when run again\n")], done.stdout + done.stderr)
        text = newest(tmp, "tests.tap")
        check(tap, "TAP", [text in done.stdout, len(re.findall("^(not )?ok ", text, re.M)) == 8, "\n1..8\n" in text,
                           re.search("^ok [0-9]+ - xendm native disks: disks: two <b>\n#   failed at first", text, re.M),
                           re.search("^not ok [0-9]+ - qemu native cd: cd: the box itself\n#   it ended with status 3\n#   no box", text, re.M)],
              text)
        root = ElementTree.fromstring(newest(tmp, "junit.xml"))
        check(tap, "JUnit", [len(root) == 4, len(root.findall(".//testcase")) == 8, len(root.findall(".//failure")) == 2,
                             len(root.findall(".//flakyFailure")) == 1, len(root.findall(".//skipped")) == 2])
        text = newest(tmp, "index.html")
        page = Page(text)
        check(tap, "the page: whole, by itself, with pictures, logs and reasons",
              [not page.outside, not page.stack, page.pictures == 2, "wanted &amp; got &lt;nothing&gt;" in text, "disks: two <b>" not in text,
               "no run is known in which it passed" in text, "… 40 lines before" in text, "\x00" not in text], (page.outside, page.stack, page.pictures))
        with open(tmp + "/good", "w", encoding="utf-8"):
            pass
        browser(tap, tmp)
        done = run(tmp, "--jobs", "1")
        check(tap, "a run in which it passes", ["failed, 2 skipped" in done.stdout, "not ok" in done.stdout], done.stdout + done.stderr)
        os.unlink(tmp + "/good")
        run(tmp)
        page = Page(newest(tmp, "index.html"))
        check(tap, "then it is shown beside a failure", ["the last run that passed: 20" in newest(tmp, "index.html"), page.pictures == 4,
                                                         not page.outside, not page.stack], page.pictures)
    return tap.end()


sys.exit(main())
