# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes "newc" cpio archives, the format of a Linux initramfs."""

import gzip
import os
import stat


class Cpio:
    """Collects entries; .data() gives the archive, .write_gz() a compressed file."""

    def __init__(self):
        self._out = bytearray()
        self._inode = 1
        self._dirs = set()

    def _entry(self, name, mode, data=b"", major=0, minor=0):
        raw = name.encode() + b"\0"
        head = "070701" + "".join("%08X" % field for field in (
            self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(raw), 0))
        self._inode += 1
        self._out += head.encode() + raw
        self._pad()
        self._out += data
        self._pad()

    def _pad(self):
        self._out += b"\0" * (-len(self._out) % 4)

    def directory(self, name, mode=0o755):
        """A directory and its parents."""
        name = name.strip("/")
        if not name or name in self._dirs:
            return
        self.directory(os.path.dirname(name))
        self._dirs.add(name)
        self._entry(name, stat.S_IFDIR | mode)

    def file(self, name, data, mode=0o755):
        """A regular file with these bytes."""
        name = name.strip("/")
        self.directory(os.path.dirname(name))
        self._entry(name, stat.S_IFREG | mode, data)

    def copy(self, path, name=None):
        """A file of this machine, by default under its own path."""
        with open(path, "rb") as stream:
            self.file(name or path, stream.read(), stat.S_IMODE(os.stat(path).st_mode))

    def node(self, name, major, minor):
        """A character device."""
        self._entry(name.strip("/"), stat.S_IFCHR | 0o600, b"", major, minor)

    def data(self):
        """The whole archive."""
        end = Cpio()
        end._entry("TRAILER!!!", 0)
        whole = bytes(self._out) + bytes(end._out)
        return whole + b"\0" * (-len(whole) % 512)

    def write_gz(self, path, level=1):
        """Compressed, without time stamps, so that equal content gives equal files."""
        with open(path, "wb") as stream:
            stream.write(gzip.compress(self.data(), level, mtime=0))
