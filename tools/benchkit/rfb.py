# SPDX-License-Identifier: GPL-2.0-or-later
"""A VNC viewer that counts (RFC 6143): it reads updates as far as it must to know where they end, and asks for the next."""
import socket
import struct
import threading

from .guest import TIMED_OUT, Failed

RAW, COPY, HEXTILE, TIGHT, ZRLE, DESKTOP_SIZE, COMPRESS_2 = 0, 1, 5, 7, 16, -223, -254
PIXEL = 4
# 32 bits, of which red is the highest byte used
FORMAT = struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)


class Viewer(threading.Thread):
    """Runs until close(); `bytes`, `updates` and `frame` (the last one's end) are its figures."""

    def __init__(self, port, encoding):
        super().__init__(daemon=True)
        self.bytes = self.updates = 0
        self.error, self.closing = None, False
        self.sock = socket.create_connection(("127.0.0.1", port), TIMED_OUT)
        self.file = self.sock.makefile("rb", buffering=1 << 20)
        self.greet()
        self.sock.sendall(FORMAT + struct.pack(">BxHiiii", 2, 4, encoding, COPY, DESKTOP_SIZE, COMPRESS_2))
        self.first = threading.Event()
        self.start()

    def read(self, n):
        data = self.file.read(n)
        if len(data) != n:
            raise EOFError("the server hung up")
        self.bytes += n
        return data

    def greet(self):
        self.read(12)
        self.sock.sendall(b"RFB 003.008\n")
        kinds = self.read(self.read(1)[0])
        if 1 not in kinds:
            raise Failed(f"the VNC server wants one of {list(kinds)}")
        self.sock.sendall(b"\1")
        if self.read(4) != bytes(4):
            raise Failed("the VNC server refuses")
        self.sock.sendall(b"\1")
        self.width, self.height, _, length = struct.unpack(">HH16sI", self.read(24))
        self.read(length)

    def ask(self, incremental):
        self.sock.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))

    def run(self):
        try:
            self.ask(0)
            while True:
                self.message()
        except (OSError, EOFError, ValueError) as e:
            self.error = None if self.closing else e
            self.first.set()

    def message(self):
        kind = self.read(1)[0]
        if kind == 2:           # bell
            return
        if kind == 3:           # clipboard
            self.read(struct.unpack(">xxxI", self.read(7))[0])
            return
        if kind != 0:
            raise ValueError(f"message {kind}")
        for _ in range(struct.unpack(">xH", self.read(3))[0]):
            self.rectangle(*struct.unpack(">HHHHi", self.read(12)))
        self.updates += 1
        self.first.set()
        self.ask(1)

    def rectangle(self, x, y, width, height, encoding):
        if encoding == RAW:
            self.read(width * height * PIXEL)
        elif encoding == COPY:
            self.read(4)
        elif encoding == ZRLE:
            self.read(struct.unpack(">I", self.read(4))[0])
        elif encoding == HEXTILE:
            for top in range(0, height, 16):
                for left in range(0, width, 16):
                    self.tile(min(16, width - left), min(16, height - top))
        elif encoding == TIGHT:
            self.tight(width, height)
        elif encoding == DESKTOP_SIZE:
            self.width, self.height = width, height
        else:
            raise ValueError(f"encoding {encoding}")

    def tile(self, width, height):
        kind = self.read(1)[0]
        if kind & 1:
            self.read(width * height * PIXEL)
            return
        self.read(PIXEL * (bool(kind & 2) + bool(kind & 4)))
        if kind & 8:
            self.read(self.read(1)[0] * (PIXEL + 2 if kind & 16 else 2))

    def tight(self, width, height):
        control = self.read(1)[0] >> 4
        if control == 8:                                        # fill
            self.read(3)
            return
        if control == 9:                                        # JPEG
            self.read(self.compact())
            return
        if control > 9:
            raise ValueError(f"Tight, {control}")
        kind = self.read(1)[0] if control & 4 else 0            # filter
        size = width * height * 3
        if kind == 1:                                           # palette
            colours = self.read(1)[0] + 1
            self.read(colours * 3)
            size = height * ((width + 7) // 8) if colours == 2 else width * height
        self.read(size if size < 12 else self.compact())

    def compact(self):
        value = 0
        for shift in (0, 7, 14):
            byte = self.read(1)[0]
            value |= (byte if shift == 14 else byte & 0x7f) << shift
            if not byte & 0x80:
                break
        return value

    def close(self):
        self.closing = True
        self.sock.shutdown(socket.SHUT_RDWR)
        self.join()
        self.file.close()
        self.sock.close()
