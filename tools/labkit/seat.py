# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's seat for programs, on any Xen host: xendmctl's verbs of the same names.

    seat = Seat("web")
    seat.wait_screen(text="login:", timeout=300)
    seat.type("root\\n")

`run` executes a command elsewhere, given a list of words, and returns (exit status, bytes): of a host in a box, or by ssh.
"""

import subprocess


class SeatError(Exception):
    """What xendmctl said."""


def here(words):
    """On this host."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stderr if done.returncode else done.stdout


class Seat:
    """That of one guest: its name, its domain id, or its monitor's socket."""

    def __init__(self, guest, run=here, program="xendmctl"):
        self.guest, self.run, self.program = str(guest), run, program

    def _do(self, verb, *words, **options):
        given = [word for name, value in options.items() if value is not None for word in ("--" + name, str(value))]
        status, said = self.run([self.program, verb, self.guest, *map(str, words), *given])
        if status != 0:
            raise SeatError("%s: %s" % (verb, said.decode("utf-8", "replace").strip()))
        return said

    def screen(self):
        """The screen, as the bytes of a PNG."""
        return self._do("screen", "-")

    def text(self):
        """What can be read on it."""
        return self._do("screen", "--as-text").decode("utf-8", "replace")

    def type(self, text):
        """As a US keyboard; a newline is Enter."""
        self._do("type", text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t"))

    def key(self, *combinations):
        """Each pressed and let go: "ctrl-alt-delete"."""
        self._do("key", *combinations)

    def click(self, x, y, button="left"):
        """There, in pixels."""
        self._do("click", x, y, button=button)

    def wait_screen(self, picture=None, text=None, region=None, tolerance=None, timeout=None):
        """Until it shows this picture (a file), or text that the pattern finds. region: (x, y, width, height)."""
        self._do("wait-screen", *([picture] if picture else []), text=text, tolerance=tolerance, timeout=timeout,
                 region="%d,%d,%d,%d" % tuple(region) if region else None)

    def wait_serial(self, pattern, timeout=None):
        """What came on its serial port until the pattern was found."""
        return self._do("wait-serial", pattern, timeout=timeout).decode("utf-8", "replace")

    def film(self, path, seconds=None, every=None):
        """An animated PNG of so many seconds."""
        self._do("film", path, seconds=seconds, every=every)
