#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What bash completes after xendmctl, asked as bash asks."""
import os
import shutil
import socket
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../kit"))
from tap import Tap     # noqa: E402

ROOT = os.path.abspath(os.environ.get("XENDM_SRCDIR", os.path.join(os.path.dirname(__file__), "..", "..")))
FILE = os.path.join(ROOT, "tools/xendmctl/completion/xendmctl")
# The words typed, the last one being completed; what is offered. 7 and 12 are domains, "a file" and "b" are here.
CASES = (
    (("",), ("status", "why", "top", "metrics", "recorder", "record", "gdb", "screen", "type", "key", "click", "wait-screen", "wait-serial", "film", "state", "update", "--help")),
    (("st",), ("status", "state")),
    (("state", ""), ("show", "diff", "extract")),
    (("state", "s"), ("show",)),
    (("state", "show", ""), ("a file", "b")),
    (("state", "show", "b", ""), ()),
    (("state", "diff", "b", "a"), ("a file",)),
    (("state", "diff", "b", "b", ""), ()),
    (("update", ""), ("7", "12", "a file", "b")),
    (("update", "1"), ("12",)),
    (("update", "7", ""), ("--binary",)),
    (("update", "7", "--binary", "a"), ("a file",)),
    (("update", "7", "--binary", "b", ""), ()),
    (("nothing", ""), ()),
)
SCRIPT = """
. "$1" || exit
real=$(declare -f _xendmctl_domids)
eval "${real/_xendmctl_domids/domids_of}"
_xendmctl_domids() { [[ $1 == /var/run/xen ]] && domids_of "$RUN"; }
COMP_WORDS=(xendmctl "${@:2}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
function=$(complete -p xendmctl | sed -n 's/.* -F \\([^ ]*\\) .*/\\1/p')
"$function" xendmctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>&1
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(words, here, run):
    done = subprocess.run(["bash", "--norc", "-c", SCRIPT, "bash", FILE, *words], cwd=here, env=dict(os.environ, RUN=run),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return [line for line in done.stdout.decode().split("\n") if line]


def main():
    tap = Tap()
    if not shutil.which("bash"):
        tap.skip("completion", "no bash here")
        return tap.end()
    with tempfile.TemporaryDirectory() as run, tempfile.TemporaryDirectory() as here:
        sockets = []
        for domid in (7, 12):
            sockets.append(socket.socket(socket.AF_UNIX))
            sockets[-1].bind("%s/qmp-libxl-%d" % (run, domid))
        open(run + "/qmp-libxl-9", "w", encoding="ascii").close()       # no socket: no domain
        for name in ("a file", "b"):
            open(os.path.join(here, name), "w", encoding="ascii").close()
        for words, offered in CASES:
            got = complete(words, here, run)
            tap("xendmctl %s<tab>" % " ".join(words), sorted(got) == sorted(offered), "offered: %s" % got)
    return tap.end()


sys.exit(main())
