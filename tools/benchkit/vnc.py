# SPDX-License-Identifier: GPL-2.0-or-later
"""Group vnc: what a viewer costs while the guest draws, and what drawing costs without one."""
import base64
import os
import random
import time

from . import rfb
from .guest import Failed, Qmp
from .processes import cpu_of, family, switches

WIDTH, HEIGHT, PITCH = 1024, 768, 4096
SCREEN = 0xf0000000
TEXT, PICTURES = 0x2000000, 0x3000000           # in the guest's memory: what is copied to the screen
CELL_WIDTH, CELL_HEIGHT = 8, 16
LINES = 120
WINDOW_WIDTH, WINDOW_HEIGHT = 400, 300
PIECE = 1 << 16
ENCODINGS = {"Tight": rfb.TIGHT, "ZRLE": rfb.ZRLE, "hextile": rfb.HEXTILE, "raw": rfb.RAW}


def text():
    """Lines of a console: grey glyphs on black, words with blanks between them."""
    rnd = random.Random(1)
    black, grey = b"\0\0\0\0", b"\xaa\xaa\xaa\0"
    glyphs = [[b"".join(grey if rnd.random() < 0.3 else black for _ in range(CELL_WIDTH)) for _ in range(CELL_HEIGHT)]
              for _ in range(60)]
    blank = [black * CELL_WIDTH] * CELL_HEIGHT
    out = []
    for _ in range(LINES):
        used = rnd.randrange(20, WIDTH // CELL_WIDTH)
        cells = [rnd.choice(glyphs) if i < used and rnd.random() < 0.85 else blank for i in range(WIDTH // CELL_WIDTH)]
        out += [b"".join(cell[row] for cell in cells) for row in range(CELL_HEIGHT)]
    return b"".join(out)


def picture(seed):
    """Something like a photograph: slopes with a little noise."""
    rnd = random.Random(seed)
    noise = rnd.randbytes(WIDTH + HEIGHT)
    rows = []
    for y in range(HEIGHT):
        row = bytearray(PITCH)
        row[0::4] = bytes((x // 4 + seed * 40 + (noise[x + y] & 3)) & 255 for x in range(WIDTH))
        row[1::4] = bytes((x // 8 + y // 4 + (noise[x + y] & 3)) & 255 for x in range(WIDTH))
        row[2::4] = bytes([(y // 3 + seed * 90) & 255]) * WIDTH
        rows.append(bytes(row))
    return b"".join(rows)


class Screen:
    """The guest's side: a mode of 1024×768 in 32 bits, and copies into it as its CPU makes them."""

    def __init__(self, g, sources):
        self.cpu = g.cpu()
        self.cpu(f"pciwrite 00:03.0 0x10 4 {SCREEN}")
        self.cpu("pciwrite 00:03.0 4 2 3")
        for index, value in ((4, 0), (1, WIDTH), (2, HEIGHT), (3, 32), (4, 0x41)):      # VBE: off, geometry, on and linear
            self.cpu(f"outw 0x1ce {index}")
            self.cpu(f"outw 0x1cf {value}")
        self.cpu("inb 0x3da")
        self.cpu("outb 0x3c0 0x20")             # not blank
        for address, data in sources.items():
            for at in range(0, len(data), PIECE):
                piece = data[at:at + PIECE]
                self.cpu(f"b64write {address + at} {len(piece)} {base64.b64encode(piece).decode()}")
        self.window = (0, 0)
        self.show(PICTURES)

    def copy(self, to, source, width, height):
        self.cpu(f"blit {to} {PITCH} {source} {PITCH} {width * 4} {height}")

    def show(self, source):
        self.copy(SCREEN, source, WIDTH, HEIGHT)

    def scroll(self, n):
        self.show(TEXT + n % (LINES - HEIGHT // CELL_HEIGHT) * CELL_HEIGHT * PITCH)

    def move(self, n):
        """A window of text over a picture: what it leaves is drawn anew, then it."""
        x, y = self.window
        at = y * PITCH + x * 4
        self.copy(SCREEN + at, PICTURES + at, WINDOW_WIDTH, WINDOW_HEIGHT)
        x, y = self.window = (n * 12 % (WIDTH - WINDOW_WIDTH), n * 7 % (HEIGHT - WINDOW_HEIGHT))
        self.copy(SCREEN + y * PITCH + x * 4, TEXT, WINDOW_WIDTH, WINDOW_HEIGHT)

    def change(self, n):
        self.show(PICTURES + (n & 1) * PITCH * HEIGHT)


# name, what one sees, pictures a second
SCENES = (("scroll", "text scrolls, 10 lines a second", Screen.scroll, 10), ("move", "a window moves, 20 a second", Screen.move, 20),
          ("change", "the whole screen changes, 4 a second", Screen.change, 4))


def play(screen, scene, rate, seconds):
    begin = time.monotonic()
    for n in range(int(rate * seconds)):
        scene(screen, n)
        time.sleep(max(0, begin + (n + 1) / rate - time.monotonic()))


def watched(b, g, screen, scene, rate, encoding):
    """kB and ms of CPU an update, and updates a second, for a viewer that asks for this encoding."""
    with Qmp(os.path.join(g.dir, "qmp-libxl-1")) as qmp:
        port = int(qmp("query-vnc")["service"])
    viewer = rfb.Viewer(port, encoding)
    try:
        viewer.first.wait()
        time.sleep(0.2)
        seconds = 2
        before = cpu_of(g.pid), viewer.bytes, viewer.updates
        play(screen, scene, rate, seconds)
        time.sleep(0.2)         # the last one
        after = cpu_of(g.pid), viewer.bytes, viewer.updates
        if viewer.error or after[2] == before[2]:
            raise Failed(f"{g.name}: the viewer has seen nothing: {viewer.error}")
    finally:
        viewer.close()
    cpu, size, updates = (a - b for a, b in zip(after, before))
    return size / 1000 / updates, cpu / 1e6 / updates, updates / seconds


def vnc(b):
    sources = {TEXT: text(), PICTURES: picture(0) + picture(1)}
    guests = {name: b.start(f"vnc-{name}", *b.dms[name], options=["--vga", "stdvga"]) for name in b.dms}
    screens = {name: Screen(g, sources) for name, g in guests.items()}
    jobs = []
    for key, what, scene, rate in SCENES:
        for name, encoding in ENCODINGS.items():
            k = f"vnc_{key}_{name.lower()}"
            jobs.append((scene, rate, encoding,
                         (b.row(k, f"VNC, {name}: {what}: an update", "kB"),
                          b.row(k + "_cpu", "... CPU for it, all processes", "ms", budget=[("qemu", 0.5, "<= 1/2 QEMU")]),
                          b.row(k + "_updates", "... updates", "/s", better="more"))))
    wakes = b.row("vnc_none", "No viewer, text scrolls: wake-ups", "/s", budget=[("", 0, "0")])
    for rep in range(min(b.reps, 1 if b.quick else 3)):
        for scene, rate, encoding, rows in jobs:
            for name, g in guests.items():
                for row, value in zip(rows, watched(b, g, screens[name], scene, rate, encoding)):
                    row.add(name, value)
        b.say(f"vnc, round {rep + 1}")
    time.sleep(3)
    for name, g in guests.items():
        before = sum(switches(p) for p in family(g.pid))
        play(screens[name], Screen.scroll, 10, 2)
        wakes.add(name, (sum(switches(p) for p in family(g.pid)) - before) / 2)
