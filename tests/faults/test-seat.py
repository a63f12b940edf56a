#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""xendmctl screen, type, key, click, wait-screen, wait-serial and film, on xenemu, by the Python module with the same verbs. TAP."""
import os
import struct
import subprocess
import sys
import threading
import zlib

sys.dont_write_bytecode = True     # the source tree stays clean
from faults import CTL, SOURCE, Machine, ctl, tap, want

sys.path.insert(0, os.path.join(SOURCE, "tools"))
from labkit.seat import Seat, SeatError     # noqa: E402

BIOS = "/usr/share/seabios/vgabios-cirrus.bin"


def seat(m):
    return Seat(m.dir + "/qmp-libxl-1", program=CTL)


def chunks(png):
    """Name and data of each, whose sums are right."""
    want(png[:8] == b"\x89PNG\r\n\x1a\n", png[:8])
    at, found = 8, []
    while at < len(png):
        size, = struct.unpack(">I", png[at:at + 4])
        body = png[at + 4:at + 8 + size]
        want(struct.pack(">I", zlib.crc32(body)) == png[at + 8 + size:at + 12 + size], "a sum")
        found.append((body[:4], body[4:]))
        at += 12 + size
    want(found[-1][0] == b"IEND", "its end")
    return found


def fails(what, *words):
    try:
        what(*words[:-1])
    except SeatError as e:
        want(words[-1] in str(e), words[-1], "not in", e)
        return
    raise AssertionError("%s: it went well" % (words,))


def mode13(m):
    """320 by 200 in 256 colours, as the BIOS sets it: its palette's first two entries are black and red."""
    def index(port, values):
        for n, value in enumerate(values):
            m.cpu.do("outb 0x%x %d" % (port, n))
            m.cpu.do("outb 0x%x 0x%x" % (port + 1, value))
    m.cpu.do("pciwrite 00:03.0 4 2 7")
    m.cpu.do("outb 0x3c2 0x63")
    index(0x3c4, (3, 1, 0xf, 0, 0xe))
    m.cpu.do("outb 0x3d4 0x11")
    m.cpu.do("outb 0x3d5 0x0e")
    index(0x3d4, (0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff))
    index(0x3ce, (0, 0, 0, 0, 0, 0x40, 5, 0xf, 0xff))
    m.cpu.do("inb 0x3da")
    for n, value in enumerate(list(range(16)) + [0x41, 0, 0xf, 0, 0]):
        m.cpu.do("outb 0x3c0 %d" % n)
        m.cpu.do("outb 0x3c0 %d" % value)
    m.cpu.do("outb 0x3c0 0x20")
    m.cpu.do("outb 0x3c6 0xff")
    m.cpu.do("outb 0x3c8 0")
    for value in (0, 0, 0, 63, 0, 0):
        m.cpu.do("outb 0x3c9 %d" % value)


def dot(m, number, colour):
    m.cpu.do("writeb 0x%x %d" % (0xa0000 + number, colour))


def test_screen(tmp):
    """the screen as a PNG, in the terminal, and until it looks like a picture, or a part of it does"""
    m = Machine(tmp)
    s = seat(m)
    mode13(m)
    first = s.screen()
    with open(tmp + "/before.png", "wb") as f:
        f.write(first)
    size = struct.unpack(">II", chunks(first)[0][1][:8])
    want(size[0] >= 320 and size[1] >= 200, size)
    s.wait_screen(tmp + "/before.png", timeout=0)
    dot(m, 5, 1)
    want(s.screen() != first, "a dot is not seen")
    fails(s.wait_screen, tmp + "/before.png", None, None, None, 0, "of the pixels differ")
    s.wait_screen(tmp + "/before.png", tolerance=1, timeout=0)
    s.wait_screen(tmp + "/before.png", region=(100, 100, 50, 50), timeout=0)
    fails(s.wait_screen, tmp + "/before.png", None, (5000, 0, 1, 1), None, 0, "100.00 %")
    fails(s.wait_screen, tmp + "/nothing.png", "nothing.png")
    back = threading.Timer(.5, dot, (m, 5, 0))
    back.start()
    s.wait_screen(tmp + "/before.png", timeout=60)
    want("\033[38;2;" in ctl(m, "screen", m.dir + "/qmp-libxl-1"), "in the terminal")
    if os.path.exists(BIOS):
        want(isinstance(s.text(), str), "its text")
        fails(s.wait_screen, None, "login:", None, None, 0, "does not show that text")
    m.end()


def test_film(tmp):
    """a film: an animated PNG with a frame for each picture that is another one"""
    m = Machine(tmp)
    s = seat(m)
    mode13(m)
    turns = [threading.Timer(at, dot, (m, 7, colour)) for at, colour in ((1, 1), (2.5, 0))]
    for turn in turns:
        turn.start()
    s.film(tmp + "/film.png", seconds=4, every=.1)
    with open(tmp + "/film.png", "rb") as f:
        film = chunks(f.read())
    frames = struct.unpack(">II", dict(film)[b"acTL"])[0]
    names = [name for name, _ in film]
    want(frames == 3 and names.count(b"fcTL") == 3 and names.count(b"fdAT") >= 2 and b"IDAT" in names, names)
    numbers = [struct.unpack(">I", data[:4])[0] for name, data in film if name in (b"fcTL", b"fdAT")]
    want(numbers == list(range(len(numbers))), numbers)
    m.end()


def test_keys(tmp):
    """text and keys arrive at the keyboard controller, and what it cannot be is refused"""
    m = Machine(tmp)
    s = seat(m)
    m.cpu.do("outb 0x64 0x60")
    m.cpu.do("outb 0x60 0x45")          # translated; no interrupt is needed to read it
    m.cpu.do("outb 0x60 0xf4")
    m.cpu.until("inb 0x64", 1, 1)
    m.cpu.do("inb 0x60")

    def codes(number):
        found = []
        while len(found) < number:
            m.cpu.until("inb 0x64", 1, 1)
            found.append(m.cpu.do("inb 0x60"))
        return found
    s.type("aB\n")
    got = codes(8)
    want(got[:4] == [0x1e, 0x9e, 0x2a, 0x30] and sorted(got[4:6]) == [0xaa, 0xb0] and got[6:] == [0x1c, 0x9c], [hex(c) for c in got])
    s.key("ctrl-c", "f1")
    got = codes(6)
    want(sorted(got[:4]) == sorted([0x1d, 0x2e, 0xae, 0x9d]) and got[4:] == [0x3b, 0xbb], [hex(c) for c in got])
    fails(s.type, "\u00e4", "a US keyboard has not")
    fails(s.key, "ctrl-nothing", "there is no key")
    m.end()


def test_click(tmp):
    """a click; where there is no screen is refused"""
    m = Machine(tmp)
    s = seat(m)
    s.click(10, 20)
    s.click(0, 0, "right")
    fails(s.click, 9999, 0, "the screen has")
    fails(s.click, 1, 1, "nothing", "nothing")
    m.end()


def test_serial(tmp):
    """what comes on the serial port, of a file and of a pseudo-terminal"""
    for kind in ("file:%s/serial" % tmp, "pty"):
        m = Machine(tmp, serial=kind)

        def says(text, to=m):
            for letter in text:
                to.cpu.do("outb 0x3f8 %d" % ord(letter))
        later = threading.Timer(1, says, ("one\r\nready 42\r\n",))
        later.start()
        got = seat(m).wait_serial("^ready 42", timeout=60)
        want("one" in got and "ready 42" in got, repr(got))
        fails(seat(m).wait_serial, "never", 0, "nothing like it came")
        later.join()
        m.end()
    m = Machine(tmp, serial="null")
    fails(seat(m).wait_serial, "x", 0, "null")
    m.end()


def test_words(tmp):
    """wrong words"""
    m = Machine(tmp)
    for words in (("screen",), ("screen", "1", "a", "b"), ("type", "1"), ("key", "1"), ("click", "1", "2"), ("wait-screen", "1"),
                  ("wait-screen", "1", "a", "--text", "b"), ("wait-screen", "1", "a", "--region", "1,2,3"), ("film", "1"),
                  ("film", "1", "a", "--seconds"), ("film", "1", "a", "--tolerance", "1"), ("wait-serial", "1", "a", "--timeout", "x")):
        want("usage:" in ctl(m, *words, status=2), words)
    got = subprocess.run([CTL, "screen", "/nowhere/at/all", "x.png"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    want(got.returncode == 1 and "/nowhere/at/all" in got.stdout, got)
    m.end()


if __name__ == "__main__":
    sys.exit(tap([test_screen, test_film, test_keys, test_click, test_serial, test_words]))
