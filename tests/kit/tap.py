# SPDX-License-Identifier: GPL-2.0-or-later
"""Test Anything Protocol on standard output, as automake's driver reads it."""
from typing import Iterable, Optional, Union

SAID_AT_MOST = 3000     # characters of what went wrong; the end of it says most


def note(text: object) -> None:
    print("# " + str(text).replace("\n", "\n# "), flush=True)


class Tap:
    """Results of the tests of a program, as they come. `planned`: how many there will be; else end() says it."""

    def __init__(self, planned: Optional[int] = None):
        self.number, self.failed, self.planned = 0, False, planned
        if planned is not None:
            print("1..%d" % planned, flush=True)

    def __call__(self, name: str, good: object, why: object = "") -> None:
        self.number += 1
        self.failed |= not good
        print("%s %d - %s" % ("ok" if good else "not ok", self.number, name.replace("#", "")), flush=True)
        if not good and why:
            note(str(why)[-SAID_AT_MOST:])

    def report(self, name: str, problems: Union[str, Iterable[str]]) -> None:
        """Good without problems, of which each is said."""
        problems = [problems] if isinstance(problems, str) and problems else list(problems)
        self(name, not problems)
        for problem in problems:
            note(problem)

    def skip(self, name: str, why: object) -> None:
        self.number += 1
        print("ok %d - %s # SKIP %s" % (self.number, name.replace("#", ""), why), flush=True)

    def end(self) -> int:
        """The status for sys.exit()."""
        if self.planned is None:
            print("1..%d" % self.number, flush=True)
        return 1 if self.failed else 0
