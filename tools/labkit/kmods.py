# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel modules of Debian's stock kernel, with their dependencies in loading order."""

import glob
import lzma
import os
import re

from .util import LabError


def plain_name(path):
    """A module's path once it is unpacked: Debian 13 has them compressed, busybox' insmod wants them plain."""
    return path[:-3] if path.endswith(".xz") else path


def read_module(path):
    """The bytes of a module, unpacked."""
    with (lzma.open(path, "rb") if path.endswith(".xz") else open(path, "rb")) as stream:
        return stream.read()


class Kernel:
    """The newest stock kernel installed here."""

    def __init__(self):
        found = []
        for path in glob.glob("/boot/vmlinuz-*-amd64"):
            release = os.path.basename(path)[len("vmlinuz-"):]
            if os.path.isdir("/lib/modules/%s/kernel" % release) and "rt" not in release.split("-"):
                found.append(([int(n) for n in re.findall(r"\d+", release)], release, path))
        if not found:
            raise LabError("no stock Debian kernel in /boot (package linux-image-amd64)")
        _, self.release, self.image = max(found)
        self.root = "/lib/modules/%s" % self.release
        self._path = {}
        self._deps = {}
        with open(self.root + "/modules.dep", encoding="ascii") as stream:
            for line in stream:
                path, _, deps = line.partition(":")
                self._path[self._name(path)] = path
                self._deps[self._name(path)] = [self._name(dep) for dep in deps.split()]
        with open(self.root + "/modules.builtin", encoding="ascii") as stream:
            self._builtin = {self._name(line.strip()) for line in stream}

    @staticmethod
    def _name(path):
        return os.path.basename(path).split(".ko")[0].replace("-", "_")

    def order(self, names):
        """Paths of these modules and all they need, dependencies first; built-in ones left out."""
        done = []

        def visit(name):
            if name in self._builtin:
                return
            if name not in self._path:
                raise LabError("kernel %s has no module %s" % (self.release, name))
            for dep in self._deps[name]:
                visit(dep)
            if self._path[name] not in done:
                done.append(self._path[name])

        for name in names:
            visit(name.replace("-", "_"))
        return [os.path.join(self.root, path) for path in done]
