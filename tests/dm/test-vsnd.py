#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The PV sound card on xenemu: what a guest plays arrives in a file, to the sample and in its time, in the sandbox and with live
updates under it; what is recorded; what a guest may not ask for."""
import os
import struct
import sys
import tempfile
import time

sys.dont_write_bytecode = True     # the source tree stays clean
SOURCE = os.environ.get("XENDM_SRCDIR") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path.insert(0, os.path.join(SOURCE, "tests/faults"))
sys.path.insert(0, os.path.join(SOURCE, "tests/kit"))
import vsnd     # noqa: E402
from faults import PATIENCE, Machine, OurOwn, save, tap, until, want     # noqa: E402
from vsnd import EAGAIN, EFAULT, EINVAL, PAUSE, RESUME, START, STOP     # noqa: E402

BACK, FRONT = "/local/domain/0/backend/vsnd/1/0", "/local/domain/1/device/vsnd/0"
RATE, FRAME = 48000, 4


class Guest:
    """Toolstack and front end of a guest with one card: a stream that plays, and one that records."""

    def __init__(self, tmp, *more, pv=True, audiodev="wav,id=vsnd0,path=%s/vsnd.wav,out.frequency=48000", keys=None):
        self.tmp = tmp
        line = ["-audiodev", audiodev % tmp if "%" in audiodev else audiodev] if audiodev else []
        self.machine = Machine(tmp, *(["--pv"] if pv else []), "--", *line, *more)
        self.cpu, self.qmp = self.machine.cpu, self.machine.qmp
        self.streams = []
        self.write(FRONT, {"backend": BACK, "backend-id": 0, "short-name": "Card", "0/0/type": "p", "0/0/unique-id": 0, "0/1/type": "c",
                           "0/1/unique-id": 1, **(keys or {}), "state": 1})
        self.write(BACK, {"frontend": FRONT, "frontend-id": 1, "online": 1, "state": 1})
        self.await_state(2)

    def xs(self, tool, *args):
        return self.machine.xs(tool, *args)

    def write(self, directory, keys):
        self.xs("write", *[word for key, value in keys.items() for word in (directory + "/" + key, str(value))])

    def await_state(self, state):
        deadline = time.monotonic() + PATIENCE
        while self.xs("read", BACK + "/state") != str(state):
            want(time.monotonic() < deadline, "it is not in state", state, self.machine.log()[-2000:])
            time.sleep(.01)

    def connect(self, first=0x200, pages=4, where=("0/0", "0/1")):
        self.streams = [vsnd.Stream(self.cpu, first + n * (3 + pages), pages) for n in range(len(where))]
        for stream, path in zip(self.streams, where):
            self.write(FRONT, stream.keys(path))
        self.write(FRONT, {"state": 3})
        self.await_state(4)
        self.write(FRONT, {"state": 4})
        return self.streams

    def again(self):
        """The front end goes, and may come back."""
        self.write(FRONT, {"state": 6})
        self.await_state(6)
        for stream in self.streams:
            for n in range(3 + (stream.size >> 12)):
                self.cpu.do("grant remove %d" % (stream.ring + n))
        self.write(FRONT, {"state": 1})
        self.await_state(2)

    def update(self):
        want("return" in self.qmp.ask("xendm-update"), "an update")

    def wav(self):
        """Rate and samples of the file, which is whole once the device model has ended."""
        with open(self.tmp + "/vsnd.wav", "rb") as f:
            data = f.read()
        want(data[:4] == b"RIFF" and data[8:16] == b"WAVEfmt ", "no file of sound:", data[:16])
        return struct.unpack_from("<I", data, 24)[0], data[44:]

    def end(self):
        self.machine.end(leaks=True)       # ports and grants are Xen's to take back


def ramp(frames, first=0):
    return b"".join(struct.pack("<Hh", n & 0xffff, -(n % 1000)) for n in range(first, first + frames))


def test_play(tmp):
    """Half a second, written as fast as it is taken: each sample is in the file, and it took half a second."""
    guest = Guest(tmp)
    play, _ = guest.connect()
    want(guest.xs("read", BACK + "/versions") == "2", "the protocol's version")
    want(play.open(RATE, period=2400 * FRAME) == 0, "it cannot be opened")
    data = ramp(24000)
    play.play(data[:play.size])
    want(play.write(b"\0" * 4) == EAGAIN, "more than the buffer has room for, before it is started")
    begin = time.monotonic()
    want(play.trigger(START) == 0, "it does not start")
    play.play(data[play.size:])
    told = play.await_position(24000 * FRAME)
    took = time.monotonic() - begin
    want(.45 < took < PATIENCE / 2, "it took", took, "s")
    want(all(b // (2400 * FRAME) > a // (2400 * FRAME) for a, b in zip([0] + told, told)), "events at", told)
    want(play.trigger(STOP) == 0 and play.close() == 0, "the end")
    want("vsnd 0" in guest.qmp.hmp("info pv"), "it is not described")
    guest.end()
    want(guest.wav() == (RATE, data), "the file has", len(guest.wav()[1]), "bytes of", len(data))


def test_formats(tmp):
    """Other rates and formats are converted; what cannot be is refused, and the log says what."""
    guest = Guest(tmp)
    play, _ = guest.connect()
    want(play.query(rates=(44100, 50000))[:3] == ((1 << 14) - 1, (44100, 50000), (1, 2)), "what is possible:", play.query())
    want(play.query(formats=1 << 14) == EINVAL, "floating point is none of ours")
    for wrong in (dict(fmt=14), dict(rate=3999), dict(rate=192001), dict(channels=3), dict(channels=0), dict(size=1)):
        want(play.open(**wrong) == EINVAL, wrong, "is opened")
    guest.machine.await_log("playback stream 0/0: format 14, .*its format is none of ours")
    want(play.open(24000, vsnd.U8, 1) == 0, "8 bits")
    play.play(bytes([0x80 + n % 100 for n in range(1200)]))
    want(play.trigger(START) == 0 and play.transfer(vsnd.WRITE, 0, 2) == 0, "it does not play")
    time.sleep(.2)
    want(play.close() == 0, "it is not closed")
    guest.end()
    data = guest.wav()[1]
    samples = struct.unpack("<%dh" % (len(data) // 2), data)
    want(abs(len(samples) - 4 * 1202) <= 8 and max(samples) == 99 << 8, "samples", len(samples), max(samples))
    want(all(left == right for left, right in zip(samples[::2], samples[1::2])), "one channel is two that are the same")


def test_volume(tmp):
    """Half as loud, and one side mute."""
    guest = Guest(tmp)
    play, record = guest.connect()
    want(play.open() == 0 and record.open() == 0, "they cannot be opened")
    play.put(play.buffer, 0, struct.pack("<ii", -6021, 0) + bytes([0, 1]))
    want(play.transfer(vsnd.SET_VOLUME, 0, 8) == 0 and play.transfer(vsnd.MUTE, 8, 2) == 0, "loudness")
    want(play.transfer(vsnd.GET_VOLUME, 100, 8) == 0 and play.get(play.buffer, 100, 8) == struct.pack("<ii", -6021, 0), "what it is")
    want(record.transfer(vsnd.SET_VOLUME, 0, 8) == vsnd.EOPNOTSUPP, "what is recorded has no loudness")
    want(play.write(struct.pack("<hh", 10000, 10000) * 480) == 0 and play.trigger(START) == 0, "it does not play")
    time.sleep(.1)
    want(play.close() == 0, "it is not closed")
    guest.end()
    want(set(struct.iter_unpack("<hh", guest.wav()[1])) == {(4999, 0)}, set(struct.iter_unpack("<hh", guest.wav()[1])))


def test_triggers(tmp):
    """Time does not pass while it is paused; what was not played before a stop never is."""
    guest = Guest(tmp)
    play, _ = guest.connect(pages=8)
    data = ramp(8192)
    want(play.open(8000, period=400 * FRAME) == 0, "it cannot be opened")
    want(play.write(data) == 0 and play.trigger(START) == 0, "it does not start")
    play.await_position(800 * FRAME)
    want(play.trigger(PAUSE) == 0, "it is not paused")
    told = play.events()
    time.sleep(.2)
    want(play.events() == [], "it goes on after", told)
    want(play.trigger(RESUME) == 0, "it does not go on")
    play.await_position(1600 * FRAME)
    want(play.trigger(STOP) == 0, "it does not stop")
    want(play.events()[-1:] == [play.size], "a stop goes to the buffer's beginning")
    want(play.trigger(9) == EINVAL, "a trigger that there is not")
    want(play.write(b"\x01\x02\x03\x04" * 80) == 0 and play.trigger(START) == 0, "it does not start again")
    time.sleep(.1)
    guest.end()
    heard = guest.wav()[1]
    want(guest.machine.proc.returncode is not None and heard.endswith(b"\x01\x02\x03\x04"), "the second part is missing")


def test_capture(tmp):
    """As many frames as time has passed, of silence; reading waits for them."""
    guest = Guest(tmp)
    _, record = guest.connect()
    want(record.open(8000, period=160 * FRAME) == 0, "it cannot be opened")
    want(record.read(400)[0] == EAGAIN, "it was not started")
    record.put(record.buffer, 0, b"\xff" * 3200)
    begin = time.monotonic()
    want(record.trigger(START) == 0, "it does not start")
    for _ in range(4):
        want(record.read(1600) == (0, b"\0" * 1600), "silence")
    took = time.monotonic() - begin
    want(.18 < took < PATIENCE / 2, "1600 frames took", took, "s")
    want(record.await_position(1280 * FRAME), "no events")
    want(record.write(b"\0" * 4) == EINVAL, "it plays")
    guest.end()


def test_update(tmp):
    """Three live updates while it plays: nothing of it is lost or comes twice, and its loudness and its events go on."""
    guest = Guest(tmp)
    play, record = guest.connect()
    data = ramp(28800)
    want(play.open(RATE, period=4800 * FRAME) == 0 and record.open(8000) == 0, "they cannot be opened")
    play.put(play.buffer, 0, bytes([0, 1]))
    want(play.transfer(vsnd.MUTE, 0, 2) == 0, "a side is not mute")
    play.play(data[:play.size])
    want(play.trigger(START) == 0 and record.trigger(START) == 0, "they do not start")
    at = play.size
    for _ in range(3):
        play.play(data[at:at + 16384])
        play.put(play.buffer, 0, data[at + 16384:at + 20480])
        play.send(vsnd.WRITE, struct.pack("<II", 0, 4096))      # waits for room
        guest.update()
        want(play.answer()[0] == 0, "what waited")
        at += 20480
    play.play(data[at:])
    play.await_position(len(data))
    want(record.read(4000) == (0, b"\0" * 4000), "what is recorded")
    want(play.close() == 0 and play.open(44100) == 0, "it cannot be opened again")
    guest.end()
    heard = [left for left, _ in struct.iter_unpack("<HH", guest.wav()[1])]
    want(heard == [n & 0xffff for n in range(28800)], "heard", len(heard), "frames")
    want({right for _, right in struct.iter_unpack("<HH", guest.wav()[1])} == {0}, "a side is not mute after the updates")


def test_pause(tmp):
    """A machine that stands still plays nothing, and goes on where it was."""
    guest = Guest(tmp, pv=False)
    guest.qmp.ok("cont")
    play, _ = guest.connect()
    data = ramp(4096)
    want(play.open(8000) == 0 and play.write(data) == 0 and play.trigger(START) == 0, "it does not play")
    time.sleep(.1)
    guest.qmp.ok("stop")
    size = os.path.getsize(tmp + "/vsnd.wav")
    time.sleep(.3)
    want(os.path.getsize(tmp + "/vsnd.wav") == size, "it goes on")
    guest.qmp.ok("cont")
    time.sleep(.6)
    guest.end()
    want(len(guest.wav()[1]) // FRAME in range(6 * 4095, 6 * 4097 + 1), "it has", len(guest.wav()[1]) // FRAME, "frames")


def test_hostile(tmp):
    """Requests that are none, pages that are not there, directories that lead round: each is answered, and it is served on."""
    guest = Guest(tmp)
    play, _ = guest.connect()
    for operation in range(256):
        play.send(operation, b"\xff" * 56)
        want(play.answer()[0] < 0 or operation == vsnd.CLOSE, "request", operation, "of a stream that is not open")
    want(play.open(directory=0) == EFAULT and play.open(directory=99999) == EFAULT, "a directory that is not there")
    want(play.open(size=4 << 20) == EFAULT, "a directory that ends too early")
    play.put(play.directory, 0, struct.pack("<I", play.directory))
    want(play.open(size=(4 << 20) + 1) == EINVAL, "more than there may be")
    want(play.open(size=4 << 20) == 0, "one that names itself has an end")
    play.put(play.directory, 4 * 5, struct.pack("<I", 99999))
    want(play.open(size=4 << 20) == 0, "its pages are not looked at before they are used")
    want(play.transfer(vsnd.WRITE, 16384, 4096) == EFAULT, "a page that is not there")
    want(play.open() == 0 and play.open() == 0, "one that is open is another one then")
    for offset, length in ((0, 16388), (16384, 4), (0xffffffff, 4), (4, 0xfffffffc), (0, 3)):
        for operation in range(vsnd.READ, vsnd.UNMUTE + 1):
            want(play.transfer(operation, offset, length) == EINVAL, operation, offset, length)
    want(play.write(b"\0" * 4096) == 0, "it is served no more")
    play.put(play.ring, vsnd.REQ_PROD, struct.pack("<I", play.prod + 33))
    play.ring_bell()
    guest.await_state(5)
    guest.again()
    play, _ = guest.connect()
    want(play.open() == 0, "it is served no more")
    guest.end()


def test_reconnect(tmp):
    """It goes in the middle and comes back, and the domain is destroyed while it plays."""
    guest = Guest(tmp)
    for _ in range(3):
        play, _ = guest.connect()
        want(play.open(period=400) == 0 and play.write(ramp(4096)) == 0 and play.trigger(START) == 0, "it does not play")
        play.await_position(400)
        guest.again()
    play, _ = guest.connect()
    want(play.open(period=400) == 0 and play.trigger(START) == 0, "it does not play")
    guest.end()


def test_streams(tmp):
    """Cards as the toolstack describes them: sixteen streams in two devices, what each may do, and one too many."""
    keys = {"sample-rates": "8000,48000", "0/sample-formats": "s16_le,mu_law", "1/0/channels-max": 1}
    keys.update({"%d/%d/type" % (n // 8, n % 8): "p" for n in range(16)})
    guest = Guest(tmp, keys=keys)
    streams = guest.connect(pages=1, where=["%d/%d" % (n // 8, n % 8) for n in range(16)])
    want(streams[0].query()[:3] == (1 << vsnd.S16_LE, (8000, 48000), (1, 2)), streams[0].query())
    want(streams[8].query()[:3] == ((1 << 14) - 1, (8000, 48000), (1, 1)), streams[8].query())
    for stream in streams:
        want(stream.open(8000, channels=1) == 0 and stream.open(44100, channels=1) == EINVAL and stream.open(8000, channels=1) == 0, "a stream")
        want(stream.write(b"\0" * 4096) == 0 and stream.trigger(START) == 0, "a stream does not play")
    guest.update()
    want(all(stream.close() == 0 for stream in streams), "a stream after the update")
    guest.again()
    guest.write(FRONT, {"2/0/type": "p"})
    guest.write(FRONT, {"state": 3})
    guest.await_state(5)
    guest.machine.await_log("more than 16 streams")
    guest.end()


def test_nobody(tmp):
    """Without a back end of its own it takes the only one, or plays to nobody in as much time."""
    for audiodev, said in (("wav,id=any,path=%s/vsnd.wav", "any"), (None, ""), ("none,id=other", "other")):
        guest = Guest(tmp, *(["-audiodev", "none,id=second"] if said == "other" else []), audiodev=audiodev)
        play, _ = guest.connect()
        want(play.open(period=480 * FRAME) == 0 and play.trigger(START) == 0, "it does not play")
        play.await_position(960 * FRAME)
        facts = guest.qmp.hmp("info pv")
        want(("audio back end: " + said).strip() in facts.replace("  ", " ") if said == "any" else "any" not in facts, facts)
        if said != "any":
            guest.machine.await_log("vsnd 0: nobody hears it")
        guest.end()


def test_restored(tmp):
    """libxl waits for the offer before a restored guest goes on, and until then there is nothing but the offer."""
    own = OurOwn(tmp)
    own.start()
    with own.qmp() as qmp, tempfile.TemporaryFile() as file:
        qmp.ok("stop")
        want("return" in save(qmp, file.fileno()), "it is not saved")
        own.end_dm()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        own.start(incoming=file.fileno())
    with own.qmp() as qmp:
        for path, value in ((FRONT + "/state", 1), (BACK + "/frontend", FRONT), (BACK + "/frontend-id", 1), (BACK + "/online", 1),
                            (BACK + "/state", 1)):
            own.xs("write", path, str(value))
        until(lambda: own.xs("read", BACK + "/state") == "2", "it is not offered")
        want(qmp.ok("query-status")["running"] is False, "it runs")
        facts = qmp.hmp("info pv")
        want("vsnd 0" in facts and "vkbd 0" not in facts, facts)
        qmp.ok("cont")
        until(lambda: "vkbd 0" in qmp.hmp("info pv"), "the others are not served")
    own.end_dm()
    own.xenemu.terminate()
    own.xenemu.wait(PATIENCE)


sys.exit(tap([test_play, test_formats, test_volume, test_triggers, test_capture, test_update, test_pause, test_hostile, test_reconnect,
              test_streams, test_nobody, test_restored]))
