# SPDX-License-Identifier: GPL-2.0-or-later
"""The PV sound card (vsnd=): Debian's front end plays into a file of domain 0, and records."""

import struct
import time

from labkit.suite import life
from labkit.util import host
from moving import HERE, update
from pvguest import guest_of, pieces

STEPS = [
    "xl create with vsnd=: the card is there",
    "what is played is in domain 0, to the sample, after as much time",
    "also when the device model is replaced in the middle",
    "what is recorded is silence, after as much time",
    "xl save and xl restore: it plays again",
    "nothing wakes the device model up when nothing is played",
]
RATE, FRAMES, FILE = 8000, 32000, "/root/vsnd.wav"
CARD = ["CARD, short-name=Lab, sample-formats=s16_le;u8, sample-rates=8000;48000, buffer-size=65536", "PCM, name=Lab",
        "STREAM, unique-id=0, type=p", "STREAM, unique-id=1, type=c"]


def player(t):
    """A raw disk that begins with the program."""
    image = t.box.work + "/share/guest/tone"
    host(["gcc", "-O2", "-static", "-o", image, HERE + "/tone.c"], "gcc")
    with open(image, "ab") as stream:
        stream.truncate(-(-stream.tell() // 4096) * 4096)
    t.box.run("cp /share/guest/tone /root/tone.img; sync")
    return "format=raw,vdev=xvdb,access=ro,backendtype=qdisk,target=/root/tone.img"


def in_file(t):
    """The wav's frames."""
    data = t.box.get(FILE)
    t.equal(struct.unpack_from("<HHI", data, 20), (1, 2, RATE), "the file's format")
    samples = struct.unpack("<%dh" % ((len(data) - 44) // 2), data[44:])
    return list(zip(samples[::2], samples[1::2]))


def tone(frames):
    """What tone.c plays."""
    left = [struct.unpack("<h", struct.pack("<H", number & 0xffff))[0] for number in range(1, frames + 1)]
    return [(value, ~value) for value in left]


def has_tone(t, before, frames):
    """All of it, in order, behind what was in the file before; beside it there is silence."""
    heard = in_file(t)[before:]
    loud = [frame for frame in heard if frame != (0, 0)]
    t.check(loud == tone(frames), "of %d frames %d were heard, %d of them loud; the first that differs is %s" % (
        frames, len(heard), len(loud), next((n for n, (a, b) in enumerate(zip(loud, tone(frames))) if a != b), "the last")))


def in_time(t, text, frames):
    """The program's own words: how long it took, without a gap."""
    said = t.match(text, r"tone: (\d+) frames in (\d+) ms, 0 gaps, (\d+) loud")
    wanted = frames * 1000 // RATE
    t.equal(int(said.group(1)), frames, "frames")
    t.check(wanted * 0.7 <= int(said.group(2)) <= wanted * 1.6 + 2000, "%d frames took %s ms, not %d" % (frames, said.group(2), wanted))
    return said


@life("sound", STEPS, memory=300)
def sound(t):
    """One PV guest with a card of two streams."""
    t.box.put_ctl()
    pieces(t)
    guest = guest_of(t, "sound", "pv", memory=256, vsnd=[CARD],
                     device_model_args=["-audiodev", "wav,id=vsnd0,path=%s,out.frequency=%d" % (FILE, RATE)])
    guest.config["disk"].append(player(t))
    with t.step(STEPS[0], vital=True):
        guest.create()
        guest.wait_for(r"LAB serve", 200)
        guest.cmd("dd if=/dev/xvdb of=/tmp/tone 2>/dev/null && chmod 755 /tmp/tone && modprobe snd_xen_front; "
                  "for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /dev/snd/pcmC0D0p ] && break; sleep 1; done", 120)
        t.match(guest.cmd("cat /proc/asound/cards"), r"vsnd", "the guest's cards")
        t.match(guest.cmd("ls /dev/snd"), r"pcmC0D0c\s+pcmC0D0p", "its devices")

    with t.step(STEPS[1]):
        in_time(t, guest.cmd("/tmp/tone play %d %d" % (RATE, FRAMES), 120), FRAMES)
        has_tone(t, 0, FRAMES)
        t.match(guest.monitor("info pv"), r"vsnd 0", "what the device model says of it")

    with t.step(STEPS[2]):
        before = len(in_file(t))
        number = guest.begin("/tmp/tone play %d %d" % (RATE, 2 * FRAMES))
        t.box.run("sleep 2")
        update(t.box, guest)
        status, text = guest.finish(number, 180)
        t.equal(status, 0, "the player's exit status")
        in_time(t, text, 2 * FRAMES)
        has_tone(t, before, 2 * FRAMES)

    with t.step(STEPS[3]):
        said = in_time(t, guest.cmd("/tmp/tone record %d %d" % (RATE, FRAMES), 120), FRAMES)
        t.equal(said.group(3), "0", "loud samples")

    with t.step(STEPS[4]):
        t.box.run("xl save sound /root/sound.save && xl restore /root/sound.save && rm /root/sound.save", 240)
        guest.domid()
        time.sleep(2)
        guest.cmd("for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /dev/snd/pcmC0D0p ] && break; sleep 1; done", 120)
        in_time(t, guest.cmd("/tmp/tone play %d %d" % (RATE, FRAMES), 120), FRAMES)
        has_tone(t, 0, FRAMES)       # (the file is the new device model's)

    with t.step(STEPS[5]):
        switches = "sleep 3; grep ^voluntary /proc/%d/status" % guest.dm_pid()
        before = int(t.box.run(switches).split()[1])
        after = int(t.box.run("sleep 20; " + switches).split()[1])
        t.check(after - before < 20, "it was woken %d times in 20 s" % (after - before))
    t.box.call("rm -f %s /root/tone.img" % FILE, 30)
