# SPDX-License-Identifier: GPL-2.0-or-later
"""Small things everybody in the lab needs: messages, errors, running a host command."""

import os
import subprocess
import sys
import time


class LabError(Exception):
    """Something the user must read; printed as one line, without a traceback."""


START = time.monotonic()


def say(text):
    """One progress line on stderr, with seconds since the start."""
    sys.stderr.write("lab %6.1f  %s\n" % (time.monotonic() - START, text))
    sys.stderr.flush()


def host(argv, what=None, stdin=None):
    """Run a command on this machine; its output, or LabError with its last lines."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              input=stdin, check=False)
    except OSError as err:
        raise LabError("%s: %s" % (argv[0], err.strerror)) from err
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        tail = " / ".join(text.strip().splitlines()[-4:])
        raise LabError("%s failed (%s exits with %d): %s"
                       % (what or argv[0], argv[0], done.returncode, tail))
    return text


def cache_root():
    """Where built images live between runs."""
    return os.environ.get("XENDM_LAB_CACHE") or os.path.expanduser("~/.cache/xendm-lab")
