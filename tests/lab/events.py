# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest's input devices say to its programs: linux/input.h."""

import struct

EVENT = struct.Struct("<qqHHi")     # struct input_event: seconds, microseconds, type, code, value
EV_KEY, EV_REL, EV_ABS = 1, 2, 3
REL_X, REL_Y, REL_WHEEL = 0, 1, 8
ABS_X, ABS_Y = 0, 1
BTN_LEFT, BTN_RIGHT = 0x110, 0x111
USB, PS2 = "0003", "0011"           # linux/input.h's numbers of buses


class Events:
    """What arrives at an input device of the guest from now on."""

    number = 0

    def __init__(self, guest, device):
        Events.number += 1
        self.guest, self.file = guest, "/tmp/events.%d" % Events.number
        guest.cmd("cat /dev/input/%s >%s & sleep 1" % (device, self.file))

    def seen(self):
        """[(type, code, value)] so far."""
        data = bytes.fromhex("".join(self.guest.cmd("xxd -p %s" % self.file).split()))
        whole = len(data) // EVENT.size * EVENT.size
        return [event[2:] for event in EVENT.iter_unpack(data[:whole])]

    def wait(self, *wanted):
        """All of these have come, in this order, other events between them or not."""
        def ask():
            rest = iter(self.seen())
            return all(event in rest for event in wanted)
        self.guest.until(ask, "these events come: %s" % list(wanted), 60)

    def moved(self, code):
        """The sum of relative movements."""
        return sum(value for kind, which, value in self.seen() if (kind, which) == (EV_REL, code))


def inputs(guest, bus=USB):
    """{name: event device} of the guest's input devices on a bus."""
    text = guest.cmd("cat /proc/bus/input/devices")
    found = {}
    for block in text.split("\n\n"):
        if "Bus=" + bus in block:
            name = block.split('Name="', 1)[1].split('"', 1)[0]
            found[name] = next(word for word in block.split("Handlers=", 1)[1].split() if word.startswith("event"))
    return found


def wait_inputs(guest, count):
    """inputs() of the USB, once there are so many. Drivers are asked for again: what a hub finds is found later."""
    guest.until(lambda: guest.cmd("drivers", 60) == "" and len(inputs(guest)) >= count, "%d USB input devices are there" % count, 90)
    return inputs(guest)


def device(t, found, kind):
    """The event device of a tablet, mouse or keyboard."""
    names = [name for name in found if kind in name]
    t.check(len(names) == 1, "one %s is wanted, there are %s" % (kind, sorted(found)))
    return found[names[0]]


def mouse_moves(t, viewer, events):
    """A viewer's movement and click arrive as a mouse's."""
    viewer.point(100, 100)
    viewer.point(160, 70)
    viewer.point(160, 70, 1)
    viewer.point(160, 70)
    events.wait((EV_KEY, BTN_LEFT, 1), (EV_KEY, BTN_LEFT, 0))
    t.check(events.moved(REL_X) > 0 > events.moved(REL_Y), "the mouse moved by %d, %d" % (
        events.moved(REL_X), events.moved(REL_Y)))
