#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian packages have what `make install` puts, each file once, and are built from what configure asks for.

Building them is tools/package's; this is what breaks them most easily.
"""
import fnmatch
import glob
import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from tap import Tap     # noqa: E402

ROOT = os.path.abspath(os.environ.get("XENDM_SRCDIR", os.path.join(os.path.dirname(__file__), "..", "..")))
BUILD = os.environ.get("XENDM_BUILDDIR", ".")
# What tools/build has to name and debian/control need not: debhelper brings it, or a library does; or it has another name.
BROUGHT = {"pkg-config", "pkgconf", "gcc", "make", "autoconf", "automake", "libtool", "xkb-data"}


def text(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as stream:
        return stream.read()


def installed():
    """What `make install` puts, relative to the root, with Debian's place for libraries."""
    with tempfile.TemporaryDirectory() as root:
        made = subprocess.run(["make", "-s", "-C", BUILD, "install", "DESTDIR=" + root, "prefix=/usr", "exec_prefix=/usr",
                               "libdir=/usr/lib/ARCH", "libexecdir=/usr/libexec"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if made.returncode != 0:
            return None, made.stdout.decode("utf-8", "replace")
        return sorted(os.path.relpath(os.path.join(folder, name), root) for folder, _, files in os.walk(root)
                      for name in files), ""


def claimed(path, patterns):
    """Which of {package: patterns} take a file, as dh_install reads them."""
    return [package for package, lines in patterns.items()
            if any(fnmatch.fnmatch(path, line) or fnmatch.fnmatch(path, line + "/*") for line in lines)]


def wrong_claims(files, patterns):
    """A line for each file that no package or several have, and for each pattern that finds nothing."""
    problems = ["%s is in %s" % (path, " and ".join(owners) or "no package")
                for path, owners in ((path, claimed(path, patterns)) for path in files) if len(owners) != 1]
    return problems + ["%s.install: nothing is called %s" % (package, line) for package, lines in patterns.items()
                       for line in lines if not any(claimed(path, {package: [line]}) for path in files)]


def build_depends(control):
    """The names after Build-Depends."""
    field = re.search(r"^Build-Depends:((?:.*\n)(?: .*\n)*)", control, re.M)[1]
    return {re.match(r"\s*([a-z0-9.+-]+)", word)[1] for word in field.split(",")}


def main():
    tap = Tap(5)
    example = {"a": ["usr/bin/x", "usr/lib/*/d"], "b": ["usr/lib/*/d/y", "usr/gone"]}
    tap("(a file of two packages, one of none and a pattern of nothing are seen)",
        len(wrong_claims(["usr/bin/x", "usr/lib/ARCH/d/y", "usr/bin/z"], example)) == 3)
    patterns = {os.path.basename(path)[:-len(".install")]: text(path).split()
                for path in glob.glob(os.path.join(ROOT, "debian/*.install"))}
    files, why = installed()
    if files is None:
        tap("make install", False, why)
    else:
        tap.report("each file that is installed is in one package", wrong_claims(files, patterns))
    needed = build_depends(text("debian/control"))
    asked = set(re.findall(r"^XENDM_NEED\(.*?\],\s*\[.*?\],\s*\[([a-z0-9.+-]+)\]", text("configure.ac"), re.M | re.S))
    tap.report("what configure asks for is in Build-Depends (%d packages)" % len(asked), sorted(asked - needed) or
               ([] if len(asked) > 8 else ["configure.ac was not understood"]))
    listed = set(re.search(r'install-packages" ((?:.*\\\n)*.*)', text("tools/build"))[1].replace("\\", " ").split())
    tap.report("tools/build installs the same", sorted((listed - BROUGHT) ^ (needed - BROUGHT - {"debhelper-compat"})))
    version = re.search(r"AC_INIT\(\[xendm\], \[([^]]+)\]", text("configure.ac"))[1]
    tap("the package has the version of configure.ac", text("debian/changelog").startswith("xendm (%s) " % version))
    return tap.end()


sys.exit(main())
