# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the text on a guest's screen: cells of the VGA's font, which the VGA BIOS brings, or of one learned from the screen."""

import functools
import lzma
import re
import struct

from labkit.util import LabError

BIOS = "/usr/share/seabios/vgabios-cirrus.bin"
HEIGHT = 16
# the first two glyphs of the 8x16 font: a blank and a face
START = bytes(18) + bytes([0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e])
DOUBT = 14              # more pixels than these different: no character of the font


@functools.lru_cache(None)
def font():
    """The glyphs of the printable characters, as numbers of 128 bits."""
    with open(BIOS, "rb") as stream:
        return glyphs_at(stream.read(), BIOS)


def glyphs_at(data, name):
    """Those of a font somewhere in this."""
    at = data.find(START)
    if at < 0:
        raise LabError("%s has no 8x16 font" % name)
    return {chr(code): int.from_bytes(data[at + HEIGHT * code:at + HEIGHT * (code + 1)], "big") for code in range(32, 127)}


LEARNED = {}


@functools.lru_cache(None)
def likest(bits):
    """What a glyph of 8x16 pixels looks most like."""
    best = min(font().items(), key=lambda item: bin(item[1] ^ bits).count("1"))
    return best[0] if bin(best[1] ^ bits).count("1") <= DOUBT else "\x7f"


def font_of(kernel):
    """The glyphs of the 8x16 font in a Linux kernel (Documentation/x86/boot.rst: the payload), if it was packed by xz."""
    with open(kernel, "rb") as stream:
        image = stream.read()
    offset, size = struct.unpack_from("<II", image, 0x248)
    start = 512 * (image[0x1f1] + 1) + offset
    data = lzma.LZMADecompressor().decompress(image[start:start + size])
    LEARNED.update({bits: letter for letter, bits in glyphs_at(data, kernel).items()})


def glyph(rows):
    """The pixels of a cell, as a number: what is not of its commonest colour is drawn."""
    pixels = [row[i:i + 3] for row in rows for i in range(0, 24, 3)]
    ground = max(set(pixels), key=pixels.count)
    bits = 0
    for pixel in pixels:
        bits = bits << 1 | (pixel != ground)
    return bits


def glyphs(picture):
    """Lines of glyphs. Text modes have cells 9 pixels wide, graphics consoles 8."""
    width = 9 if picture.width == 720 else 8
    stride = 3 * picture.width
    for top in range(0, picture.height - HEIGHT + 1, HEIGHT):
        rows = [picture.pixels[(top + y) * stride:(top + y + 1) * stride] for y in range(HEIGHT)]
        yield [glyph([row[3 * left:3 * left + 24] for row in rows]) for left in range(0, picture.width - width + 1, width)]


def learn(picture, line):
    """The picture's first line is this: the glyphs of another font than the BIOS's."""
    LEARNED.update(zip(next(glyphs(picture)), line))


def text(picture):
    """The screen's lines."""
    return "\n".join("".join(LEARNED.get(bits) or likest(bits) for bits in line).rstrip() for line in glyphs(picture))


def wait_for(guest, viewer, pattern, timeout=60):
    """The picture on which a viewer can read this."""
    last = []

    def ask():
        last[:] = [viewer.picture()]
        return re.search(pattern, text(last[0]), re.M)
    try:
        guest.until(ask, "the screen shows /%s/" % pattern, timeout)
    except LabError as err:
        raise LabError("%s; it shows: %s" % (err, " / ".join(line for line in text(last[0]).splitlines() if line))) from err
    return last[0]
