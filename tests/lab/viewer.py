# SPDX-License-Identifier: GPL-2.0-or-later
"""A VNC viewer (RFB 3.8, password, raw pixels), and the way from it to a port of dom0: bash copies between a TCP
connection and files, since the box has no network."""

import ctypes
import os
import struct
import time

from labkit.png import Picture
from labkit.util import LabError

ENCODING_RAW, ENCODING_DESKTOP_SIZE = 0, -223
AUTH_VNC = 2
PASSWORD = "sesame42"
GCRY_DES, GCRY_ECB = 302, 1

RELAY = """exec bash -c 'exec 3<>/dev/tcp/%(host)s/%(port)d || exit 1
cat <&3 >/share/%(name)s.in &
cat <>/run/%(name)s.out >&3 & sender=$!
wait -n; kill $sender 2>/dev/null; rm -f /run/%(name)s.out'"""


class Connection:
    """A TCP connection from dom0."""

    number = 0

    def __init__(self, box, host, port):
        Connection.number += 1
        self.box = box
        self.name = "connection-%d" % Connection.number
        self._taken = 0
        box.run("mkfifo /run/%s.out" % self.name)
        self._relay = box.spawn(RELAY % {"host": host, "port": port, "name": self.name})

    def send(self, data):
        """All of it."""
        path = "%s/share/%s.piece" % (self.box.work, self.name)
        with open(path, "wb") as stream:
            stream.write(data)
        self.box.run("cat /share/%s.piece >/run/%s.out" % (self.name, self.name))

    def receive(self, size, timeout=60):
        """Exactly so many bytes."""
        until = time.monotonic() + timeout
        path = "%s/share/%s.in" % (self.box.work, self.name)
        while True:
            if os.path.exists(path) and os.path.getsize(path) >= self._taken + size:
                with open(path, "rb") as stream:
                    stream.seek(self._taken)
                    self._taken += size
                    return stream.read(size)
            if time.monotonic() > until:
                raise LabError("%d bytes did not come from dom0's port within %d s" % (size, timeout))
            time.sleep(0.05)

    def close(self):
        """The connection ends."""
        self.box.call("for pid in $(pidof cat); do ls -l /proc/$pid/fd | grep -q '/%s[.]' && kill $pid; done; "
                      "rm -f /share/%s.* /run/%s.out" % (self.name, self.name, self.name))
        self.box.wait(self._relay, 30)


def answer(challenge, password):
    """VNC's: DES of the challenge, with the password as key and the bits of its bytes turned round (RFC 6143, 7.2.2)."""
    key = bytes(int("{:08b}".format(byte)[::-1], 2) for byte in password.encode().ljust(8, b"\0")[:8])
    gcrypt = ctypes.CDLL("libgcrypt.so.20")
    gcrypt.gcry_check_version(None)
    handle = ctypes.c_void_p()
    out = ctypes.create_string_buffer(len(challenge))
    if gcrypt.gcry_cipher_open(ctypes.byref(handle), GCRY_DES, GCRY_ECB, 0):
        raise LabError("libgcrypt has no DES")
    gcrypt.gcry_cipher_setkey(handle, key, ctypes.c_size_t(8))
    gcrypt.gcry_cipher_encrypt(handle, out, ctypes.c_size_t(len(challenge)), challenge, ctypes.c_size_t(len(challenge)))
    gcrypt.gcry_cipher_close(handle)
    return out.raw


class Viewer:
    """A viewer of one guest."""

    def __init__(self, box, host, port, password):
        self.wire = Connection(box, host, port)
        try:
            self._greet(password)
        except BaseException:
            self.wire.close()
            raise

    def _greet(self, password):
        wire = self.wire
        version = wire.receive(12)
        if version != b"RFB 003.008\n":
            raise LabError("the server says %r" % version)
        wire.send(version)
        kinds = wire.receive(wire.receive(1)[0])
        if AUTH_VNC not in kinds:
            raise LabError("the server offers no password, but %s" % list(kinds))
        wire.send(bytes([AUTH_VNC]))
        wire.send(answer(wire.receive(16), password))
        if struct.unpack(">I", wire.receive(4))[0] != 0:
            raise LabError("the password is refused")
        wire.send(b"\1")        # other viewers may stay
        self.width, self.height, _, length = struct.unpack(">HH16sI", wire.receive(24))
        self.title = wire.receive(length).decode()
        # 32 bits a pixel, of which red is the highest byte used: B, G, R, unused in memory
        wire.send(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
                  + struct.pack(">BxHii", 2, 2, ENCODING_RAW, ENCODING_DESKTOP_SIZE))

    def close(self):
        """It goes."""
        self.wire.close()

    def picture(self):
        """The whole screen, asked for now."""
        while True:
            size = self.width, self.height
            pixels = bytearray(3 * size[0] * size[1])
            self.wire.send(struct.pack(">BBHHHH", 3, 0, 0, 0, *size))
            missing = size[0] * size[1]
            while missing > 0 and size == (self.width, self.height):
                missing -= self._update(pixels, size)
            if size == (self.width, self.height):
                return Picture(size[0], size[1], bytes(pixels))

    def _update(self, pixels, size):
        """One FramebufferUpdate, into the picture as long as it has this size; how many pixels it had."""
        kind, count = struct.unpack(">BxH", self.wire.receive(4))
        if kind != 0:
            raise LabError("message %d of the server is not understood" % kind)
        done = 0
        for _ in range(count):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self.wire.receive(12))
            if encoding == ENCODING_DESKTOP_SIZE:
                self.width, self.height = width, height
                continue
            data = self.wire.receive(4 * width * height)
            done += width * height
            if size != (self.width, self.height):
                continue
            for row in range(height):
                line = data[4 * width * row:4 * width * (row + 1)]
                at = 3 * ((y + row) * size[0] + x)
                for colour in range(3):
                    pixels[at + colour:at + 3 * width:3] = line[2 - colour::4]
        return done

    def keys(self, keysyms):
        """Each is pressed and let go."""
        for keysym in keysyms:
            self.wire.send(struct.pack(">BBxxIBBxxI", 4, 1, keysym, 4, 0, keysym))

    def type(self, text):
        """Keys of a line: letters, digits, blanks, newlines."""
        self.keys([0xff0d if letter == "\n" else ord(letter) for letter in text])

    def point(self, x, y, buttons=0):
        """The pointer is there, with these buttons down (1 left, 2 middle, 4 right, 8 and 16 the wheel)."""
        self.wire.send(struct.pack(">BBHH", 5, buttons, x, y))


def place(t, guest):
    """What xl vncviewer reads: host, port, password."""
    where = "/local/domain/%d/console/" % guest.domid()
    host, port, password = (t.box.run("xenstore-read %s%s" % (where, name)).strip()
                            for name in ("vnc-listen", "vnc-port", "vnc-pass"))
    t.equal(host, "127.0.0.1", "vnc-listen")
    t.equal(password, PASSWORD, "vnc-pass")
    t.check(5900 <= int(port) <= 5999, "vnc-port is %s" % port)
    return host, int(port)


def view(t, guest):
    """A viewer, as xl vncviewer starts one."""
    return Viewer(t.box, *place(t, guest), PASSWORD)


def difference(one, other):
    """How many pixels differ."""
    return sum(1 for i in range(0, len(one.pixels), 3) if one.pixels[i:i + 3] != other.pixels[i:i + 3])


def keep(t, name, picture):
    """A picture for people, beside the logs."""
    os.makedirs(t.out, exist_ok=True)
    with open("%s/%s.png" % (t.out, name), "wb") as stream:
        stream.write(picture.png())


def same_as_screen(t, guest, viewer, name):
    """The viewer's picture, which is the device model's own but for a blinking cursor."""
    seen, shot = viewer.picture(), guest.screenshot()
    keep(t, name, seen)
    t.equal((seen.width, seen.height), (shot.width, shot.height), "size of the picture")
    t.check(seen.lit() > 2000, "the picture has %d lit pixels" % seen.lit())
    t.check(difference(seen, shot) <= 300, "%d pixels differ from the screen" % difference(seen, shot))
    return seen
