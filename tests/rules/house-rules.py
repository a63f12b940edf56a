#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules of the house that a program can check. Prints TAP; each rule is tried first on text that breaks it.

    format    C is as clang-format has it (without clang-format: no line of C is longer than 100)
    paths     a file of the tree that a comment or a document names is there
    sections  a section of docs/toolstack.md that is cited is there
    top       at most TOP_MAX .c files at dm/'s top; each sub-room of dm/ has the header that bears its name
    contracts each function of include/xendm has a caller outside of the tests, or is in tests/rules/waiting, which says for whom it waits
    xsa       the tests that docs/security.md names are there, and it names each of tests/xsa
    python    every Python program compiles, and is clean when ruff or flake8 is there
"""
import ast
import fnmatch
import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from tap import Tap     # noqa: E402

ROOT = os.path.abspath(os.environ.get("XENDM_SRCDIR", os.path.join(os.path.dirname(__file__), "..", "..")))
WIDTH = 100
TOP_MAX = 8
ROOMS = ("base", "backends", "dm", "hw", "include", "mapcache", "tests", "tools", "xenstore-watch", "docs")
SKIPPED = re.compile(r"(^|/)(\.git|__pycache__|autom4te\.cache|build-aux|m4|_[a-z0-9]+)(/|$)")
# What ./bootstrap makes beside the sources.
MADE = {"Makefile.in", "aclocal.m4", "configure", "configure~", "config.h.in", "config.h.in~"}

# What a build in the source tree makes there, beside objects and programs.
MADE_BELOW = re.compile(r"(^|/)(Makefile|libtool|config\.(log|status)|syscalls-filter\.h|guide-device\.c|[a-z]+-stubs\.c|"
                        r"[^/]+\.(log|trs|l[ao]))$|(^|/)\.(deps|libs)/")


def is_binary(path):
    with open(os.path.join(ROOT, path), "rb") as stream:
        return b"\0" in stream.read(4096) and not path.endswith((".c", ".h"))


def tree():
    """Every file of the sources, relative to the root."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        below = os.path.relpath(folder, ROOT)
        folders[:] = [f for f in folders if not SKIPPED.search(os.path.normpath(os.path.join(below, f)))
                      and (below != "." or f in ROOMS)]
        found += [os.path.normpath(os.path.join(below, f)) for f in files]
    return sorted(f for f in found if f not in MADE and not MADE_BELOW.search(f) and not is_binary(f))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as stream:
        return stream.read()


# ---- format ----

def long_lines(path, text):
    return [f"{path}:{n}: longer than {WIDTH}" for n, line in enumerate(text.split("\n"), 1) if len(line) > WIDTH]


def format_violations(paths):
    problems = []
    for path in paths:
        problems += long_lines(path, read(path))
    if shutil.which("clang-format"):
        done = subprocess.run(["clang-format", "--dry-run", "-Werror", *paths], cwd=ROOT, capture_output=True, text=True,
                              check=False)
        problems += [line for line in done.stderr.split("\n") if "error:" in line]
    return problems


def format_self_test():
    problems = [] if long_lines("x.c", "x" * 101) and not long_lines("x.c", "x" * 100) else ["a long line is not seen"]
    if shutil.which("clang-format"):
        done = subprocess.run(["clang-format", "--dry-run", "-Werror", "--assume-filename=dm/x.c"], cwd=ROOT,
                              input="int  f( void ){return 1;}\n", capture_output=True, text=True, check=False)
        if done.returncode == 0:
            problems.append("clang-format takes anything")
    return problems


# ---- paths and sections ----

PATH = re.compile(r"(?<![\w/.$*<{}~%-])((?:[\w-]+/)+[\w-]+\.(?:c|h|py|sh|mk|md|xds))\b(?![\w*/]|\.\w)")
FOLDER = re.compile(r"(?<![\w/.$*<{}~%-])((?:base|backends|dm|hw|tests|tools)/[a-z][a-z0-9-]+)\b(?![\w*/<-]|\.\w)")
OTHERS = re.compile(r"(?:QEMU|Xen)'s[\s*]+(?:[\w/.-]+(?:, | and )?)+")     # their trees have rooms of the same names
EXAMPLES = {"hw/misc/tally.c"}                              # of docs/adding-a-device.md
C_COMMENT = re.compile(r"/\*.*?\*/", re.S)
SECTION = re.compile(r"toolstack\.md[\s*#]+((?:\d+(?:\.\d+)?(?:,? (?:and|to) |, )?)+)")
OUTSIDE = re.compile(r"\b(?:contract \d+\.\d|toolstack-contract|DESIGN\.md|design brief|/work/|architecture\.md)")


def prose(path, text):
    """What a reader reads of a file: of C its comments, of the rest everything."""
    if not path.endswith((".c", ".h")):
        return text
    return "\n".join(C_COMMENT.findall(text))


def path_violations(path, text, files, folders):
    """A path counts when it begins with a room's name, or with the name of a folder beside the file."""
    problems = []
    here = os.path.dirname(path)
    words = OTHERS.sub(" ", prose(path, text))
    for name in FOLDER.findall(words):
        if not any(f == name or f.startswith((name + "/", name + ".", name + "-")) for f in files):
            problems.append(f"{path} names {name}, which is not there")
    for name in PATH.findall(words):
        if name in EXAMPLES or re.search("[A-Z]{3}", name):
            continue
        top = name.split("/")[0]
        if top in ROOMS:
            candidates = [name]
            if top == "tests" or top == "tools":
                candidates.append(os.path.join(here, name))
        elif os.path.join(here, top) in folders:
            candidates = [os.path.join(here, name)]
        else:
            continue
        if not any(os.path.normpath(c) in files for c in candidates):
            problems.append(f"{path} names {name}, which is not there")
    return problems


def section_violations(path, text, known):
    problems = []
    words = prose(path, text)
    for cited in SECTION.findall(words):
        for number in re.findall(r"\d+(?:\.\d+)?", cited):
            if number not in known:
                problems.append(f"{path} cites section {number} of docs/toolstack.md, which is not there")
    return problems + [f'{path} refers to "{word}", which a reader has not' for word in OUTSIDE.findall(words)]


def path_self_test():
    files, folders = {"hw/ide/ide.h", "dm/qmp/qmp.h"}, {"hw", "hw/ide", "dm", "dm/qmp"}
    cases = [
        ("hw/ide/x.c", "/* see hw/ide/gone.c */", 1),
        ("hw/ide/x.c", "/* see hw/ide/ide.h */", 0),
        ("hw/ide/x.c", 'f("hw/ide/gone.c");', 0),
        ("dm/x.c", "/* qmp/qmp.h and qmp/gone.h */", 1),
        ("docs/x.md", "as `hw/ide/gone.c` has it; xen/common/ioreq.c is Xen's", 1),
        ("docs/x.md", "`hw/gone` and hw/ide; QEMU's hw/i386/pc.c and hw/ide/core.c.", 1),
    ]
    problems = [f"{case}: {got}" for *case, wanted in cases
                for got in [path_violations(*case, files, folders)] if len(got) != wanted]
    cases = [
        ("x.c", "/* toolstack.md 4.2 */", 0),
        ("x.c", "/* toolstack.md\n * 4.2, 4.99 */", 1),
        ("x.c", "/* con" + "tract 4.2 */", 1),
    ]
    return problems + [f"{case}: {got}" for *case, wanted in cases
                       for got in [section_violations(*case, {"4.2"})] if len(got) != wanted]


# ---- the top of dm/ ----

def top_violations(files):
    top = [f for f in files if re.fullmatch(r"dm/[^/]+\.c", f)]
    problems = [f"dm/ has {len(top)} .c files at its top, not at most {TOP_MAX}: {' '.join(top)}"] if len(top) > TOP_MAX else []
    for room in sorted({f.split("/")[1] for f in files if re.fullmatch(r"dm/[^/]+/.*\.c", f)}):
        if f"dm/{room}/{room}.h" not in files:
            problems.append(f"dm/{room} has no header {room}.h")
    return problems


def top_self_test():
    problems = [] if top_violations({f"dm/{n}.c" for n in range(TOP_MAX + 1)}) else ["a crowd is not seen"]
    if not top_violations({"dm/new/a.c"}) or top_violations({"dm/new/a.c", "dm/new/new.h"}):
        problems.append("a room without a header is not seen")
    return problems


# ---- unused contracts ----

DECLARED = re.compile(r"^(?!static|typedef|#|extern|return)[a-z][\w \t*\n]*?\b(\w+)\((?=[^;{]*\)[^;{]*;)", re.M)


def declared(text):
    """The functions that a header declares; inline ones are none."""
    return [name for name in DECLARED.findall(C_COMMENT.sub(" ", text)) if name != "__attribute__"]


def waiting(text):
    """tests/rules/waiting: a function, or a pattern of names, and whom it waits for."""
    lines = [line.split(None, 1) for line in text.split("\n") if line.strip() and not line.startswith("#")]
    return {line[0]: line[1] for line in lines if len(line) == 2}


def contract_violations(headers, sources, awaited):
    """`headers` and `sources`: texts by path. A definition stands in column 0 and calls nobody."""
    problems = []
    seen = set()
    words = re.compile(r"^(?:[\w*][^;{}()]*?[ *])?(\w+)\([^;]*?\)\n\{|(\w+)", re.M)
    for text in sources.values():
        seen |= {word for _, word in words.findall(C_COMMENT.sub(" ", text))}
    for text in headers.values():
        seen |= set(re.findall(r"\w+", DECLARED.sub(" ", C_COMMENT.sub(" ", text))))
    unused = {name: path for path, text in sorted(headers.items()) for name in declared(text) if name not in seen}
    for name, path in unused.items():
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in awaited):
            problems.append(f"{path}: nobody calls {name}() but the tests; who waits for it? Say so in tests/rules/waiting")
    for pattern in awaited:
        if not fnmatch.filter(unused, pattern):
            problems.append(f"tests/rules/waiting: {pattern} waits no more (or is not there)")
    return problems


def contract_self_test():
    headers = {"x.h": "struct a *used(int x);\nvoid unused(void);\nint awaited(struct a *a,\n            int b);\n"}
    sources = {"x.c": "void unused(void)\n{\n    used(1);\n}\n"}
    got = contract_violations(headers, sources, {"await*": "someone"})
    problems = [] if len(got) == 1 and "unused()" in got[0] else [f"wanted a word about unused(), got {got}"]
    if len(contract_violations(headers, sources, {"awaited": "", "unused": "", "used": "", "x": ""})) != 2:
        problems.append("a caller that came is not seen")
    if waiting("# of\nf someone\ng\n") != {"f": "someone"}:
        problems.append("a line without a reason counts")
    return problems


# ---- advisories ----

def advisory_violations(document, tests):
    """`tests`: text of all tests. A name that ends in / is a group."""
    named = re.findall(r"`(/[a-z0-9-]+/[a-z0-9-]*)`", document)
    problems = []
    for name in dict.fromkeys(named):
        group, one = name[1:].split("/")
        if f'"{name}' not in tests and not (f'"/{group}/"' in tests and f'"{one}"' in tests):
            problems.append(f"docs/security.md names {name}, which is no test")
    for name in re.findall(r'ADD\("([^"]*)"|"/xsa/([^"]+)"', tests):
        full = "/xsa/" + "".join(name)
        if full not in named:
            problems.append(f"docs/security.md does not name {full}")
    return problems


def advisory_self_test():
    tests = '"/ioreq/once" "/xsa/1-a" g_test_add("/xsa/" name) ADD("2-b", f)'
    problems = [] if not advisory_violations("`/ioreq/once` `/xsa/1-a` `/xsa/2-b`", tests) else ["what is there is not seen"]
    got = advisory_violations("`/ioreq/gone` `/xsa/1-a`", tests)
    return problems + ([] if len(got) == 2 else [f"wanted a missing test and a missing name, got {got}"])


# ---- Python ----

def is_python(path, text):
    return path.endswith(".py") or text.startswith("#!") and "python" in text.split("\n", 1)[0]


def python_violations(path, text):
    try:
        ast.parse(text, path)
    except SyntaxError as err:
        return [f"{path}:{err.lineno}: {err.msg}"]
    return []


def lint(paths):
    """What a linter finds, when there is one: names that are not there, imports that nobody uses."""
    if shutil.which("ruff"):
        command = ["ruff", "check", "--quiet", "--no-cache", "--select", "F,E9", "--line-length", "140"]
    elif shutil.which("flake8"):
        command = ["flake8", "--select", "F,E9"]
    else:
        return []
    done = subprocess.run(command + paths, cwd=ROOT, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).split("\n")[:40] if done.returncode != 0 else []


def python_self_test():
    return [] if python_violations("x.py", "def f(:\n") and not python_violations("x.py", "x = 1\n") else ["anything goes"]


def main():
    tap = Tap()

    paths = tree()
    files = set(paths)
    folders = {os.path.dirname(f) for f in files}
    texts = {f: read(f) for f in paths if not f.endswith((".state", ".png", ".pyc"))}
    in_c = [f for f in paths if f.endswith((".c", ".h"))]
    tap.report("there is a tree to check", [] if len(in_c) > 150 else [f"only {len(in_c)} C files under {ROOT}"])

    tap.report("format: what breaks it is seen", format_self_test())
    tap.report("format", format_violations(in_c))

    tap.report("paths, sections: what breaks them is seen", path_self_test())
    known = re.findall(r"^#+ (\d+(?:\.\d+)?)", texts["docs/toolstack.md"], re.M)
    named, cited = [], []
    for path, text in texts.items():
        if path in ("docs/toolstack.md", "tests/rules/house-rules.py", "tests/rules/dependency-rule.py"):
            continue
        if not path.endswith((".mk", ".am")):   # make looks after those, and after what it makes
            named += path_violations(path, text, files, folders)
        cited += section_violations(path, text, set(known))
    tap.report("paths: what is named is there", named)
    tap.report("sections: what is cited is there, and in the tree", cited)

    tap.report("top: what breaks it is seen", top_self_test())
    tap.report("top: dm/ has few files at its top, and its rooms have doors", top_violations(files))

    tap.report("contracts: what breaks them is seen", contract_self_test())
    headers = {f: t for f, t in texts.items() if f.startswith("include/xendm/")}
    sources = {f: t for f, t in texts.items() if f.endswith(".c") and not f.startswith("tests/")}
    tap.report("contracts: each function has a caller", contract_violations(headers, sources, waiting(texts["tests/rules/waiting"])))

    tap.report("advisories: what breaks them is seen", advisory_self_test())
    in_tests = {f: t for f, t in texts.items() if f.startswith("tests/") and f.endswith(".c")}
    xsa = "".join(t for f, t in in_tests.items() if f.startswith("tests/xsa/"))
    others = "".join(t for f, t in in_tests.items() if not f.startswith("tests/xsa/")).replace("ADD(", "add(")
    tap.report("advisories: the table is true", advisory_violations(texts["docs/security.md"], xsa + others))

    tap.report("python: what breaks it is seen", python_self_test())
    programs = [f for f, t in texts.items() if is_python(f, t)]
    tap.report("python: all of it compiles", [p for f in programs for p in python_violations(f, texts[f])])
    tap.report("python: nothing to say for a linter", lint(programs))
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
