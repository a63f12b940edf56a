# SPDX-License-Identifier: GPL-2.0-or-later
"""PPM (what screendump writes) to PNG, and a few questions about pictures."""

import struct
import zlib

from .util import LabError


class Picture:
    """A picture of 8-bit RGB pixels."""

    def __init__(self, width, height, pixels):
        self.width, self.height, self.pixels = width, height, pixels

    @classmethod
    def from_ppm(cls, data):
        """Reads a binary PPM with 255 levels."""
        fields, at = [], 0
        while len(fields) < 4:
            while at < len(data) and data[at:at + 1].isspace():
                at += 1
            if data[at:at + 1] == b"#":
                at = data.index(b"\n", at)
                continue
            start = at
            while at < len(data) and not data[at:at + 1].isspace():
                at += 1
            if start == at:
                raise LabError("the screenshot is no picture (%d bytes)" % len(data))
            fields.append(data[start:at])
        width, height = int(fields[1]), int(fields[2])
        pixels = data[at + 1:]
        if fields[0] != b"P6" or fields[3] != b"255" or len(pixels) < width * height * 3:
            raise LabError("the screenshot is no complete PPM picture")
        return cls(width, height, pixels[:width * height * 3])

    def colours(self):
        """How many different colours occur."""
        return len({self.pixels[i:i + 3] for i in range(0, len(self.pixels), 3)})

    def lit(self):
        """How many pixels are not black."""
        return sum(1 for i in range(0, len(self.pixels), 3) if any(self.pixels[i:i + 3]))

    def png(self):
        """The picture as the bytes of a PNG file."""
        stride = self.width * 3
        raw = b"".join(b"\0" + self.pixels[y * stride:(y + 1) * stride] for y in range(self.height))

        def chunk(kind, body):
            return (struct.pack(">I", len(body)) + kind + body
                    + struct.pack(">I", zlib.crc32(kind + body)))

        head = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw, 6))
                + chunk(b"IEND", b""))
