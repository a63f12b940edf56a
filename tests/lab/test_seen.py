# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person at the guest's seat has: Cirrus with Linux' own driver on it, USB tablet and keyboard, by VNC."""

import screen
from events import (ABS_X, ABS_Y, BTN_LEFT, BTN_RIGHT, EV_ABS, EV_KEY, EV_REL, PS2, REL_WHEEL, Events, device, inputs,
                    mouse_moves, wait_inputs)
from labkit.suite import life
from viewer import PASSWORD, same_as_screen, view

STEPS = [
    "libxl's display, usb=1, a tablet and a keyboard",
    "uhci_hcd and usbhid find both",
    "the tablet: absolute positions, buttons and wheel arrive in /dev/input",
    "the USB keyboard types on the guest's terminal",
    "Linux' cirrus driver sets a mode, its console is on the screen",
    "the viewer's picture of the new mode is the screen",
    "xl save, xl restore: picture, tablet and keyboard are there again",
    "relative movement by the PS/2 mouse, once the guest has let go of the tablet",
]
ABS_MAX = 0x7fff
ALPHABET = "".join(chr(code) for code in range(33, 127))
LINES = ["The quick brown fox jumps over the lazy dog 0123456789", "Sphinx of black quartz, judge my vow: {}[]()<>#@!?%&*+-=/"]


def absolute(at, size):
    """A viewer's coordinate as a tablet says it: QEMU's and xendm's rounding differ by one."""
    return at * ABS_MAX // (size - 1)


def write_lines(guest):
    """Known text on an empty terminal: all characters in the first line."""
    guest.cmd(r"printf '\033[2J\033[H' >/dev/tty2; "
              "printf '%%b\\n' '%s' >/dev/tty2; sleep 1" % "' '".join(line.replace("\\", "\\\\").replace("'", r"\0047")
                                                                     for line in [ALPHABET] + LINES))


def read_lines(t, picture):
    """The text is there, letter by letter."""
    read = screen.text(picture)
    for line in LINES:
        t.check(line in read, "the screen does not show %r, but: %s" % (line, read.strip()[:400]))


def typed(t, guest, viewer, word):
    """A line typed by the viewer arrives on the second terminal, which nobody else reads."""
    viewer.type(word + "\n")
    t.equal(guest.cmd("timeout 60 head -n 1 </dev/tty2", 90).strip(), word, "what the guest's terminal got")


def steps(t, guest):
    """The steps of seen."""
    box = t.box
    with t.step(STEPS[0], vital=True):
        guest.create()
        guest.wait_for(r"LAB serve", 400)
        guest.cmd("(exec sleep 100000 </dev/tty2 >/dev/tty2) & chvt 2")

    with t.step(STEPS[1], vital=True):
        found = wait_inputs(guest, 2)
        devices = {kind: device(t, found, kind) for kind in ("Tablet", "Keyboard")}
        t.equal(guest.cmd("bound 0x0c0300"), "uhci_hcd", "the USB controller's driver")

    viewer = view(t, guest)
    try:
        with t.step(STEPS[2]):
            events = Events(guest, devices["Tablet"])
            width, height = viewer.width, viewer.height
            viewer.point(10, 20)
            viewer.point(width - 1, height - 1)
            viewer.point(width - 1, height - 1, 1)
            viewer.point(0, 0, 1)
            viewer.point(0, 0, 4)
            viewer.point(0, 0, 8)
            viewer.point(0, 0)
            events.wait((EV_ABS, ABS_X, ABS_MAX), (EV_ABS, ABS_Y, ABS_MAX), (EV_KEY, BTN_LEFT, 1), (EV_ABS, ABS_X, 0),
                        (EV_ABS, ABS_Y, 0), (EV_KEY, BTN_LEFT, 0), (EV_KEY, BTN_RIGHT, 1), (EV_REL, REL_WHEEL, 1))
            at = [value for kind, code, value in events.seen() if (kind, code) == (EV_ABS, ABS_X)]
            t.check(abs(at[0] - absolute(10, width)) <= 2, "10 of %d pixels is %d" % (width, at[0]))

        with t.step(STEPS[3]):
            events = Events(guest, devices["Keyboard"])
            typed(t, guest, viewer, "The Seat 42")
            t.check(events.seen(), "the keys came by another keyboard")

        with t.step(STEPS[4], vital=True):
            t.equal(guest.cmd("bound 0x030000"), "cirrus", "the display's driver")
            t.match(guest.cmd("cat /proc/fb"), r"^0 cirrus", "frame buffers")
            width, height = guest.cmd("cat /sys/class/graphics/fb0/virtual_size").split(",")
            write_lines(guest)
            shot = guest.screenshot()
            t.equal((shot.width, shot.height), (int(width), int(height)), "size of the screen")
            screen.learn(shot, ALPHABET)
            read_lines(t, shot)

        with t.step(STEPS[5]):
            read_lines(t, same_as_screen(t, guest, viewer, "seen-cirrus"))

        with t.step(STEPS[6]):
            box.run("xl save seen /root/seen.save", 300)
            box.run("xl restore /root/seen.save", 300)
            guest.domid()
            viewer.close()
            viewer = view(t, guest)
            read_lines(t, same_as_screen(t, guest, viewer, "seen-restored"))
            typed(t, guest, viewer, "back again")
            events = Events(guest, devices["Tablet"])
            viewer.point(viewer.width - 1, 0, 1)
            viewer.point(0, 0)
            events.wait((EV_ABS, ABS_X, ABS_MAX), (EV_KEY, BTN_LEFT, 1), (EV_ABS, ABS_X, 0), (EV_KEY, BTN_LEFT, 0))
            write_lines(guest)
            read_lines(t, viewer.picture())

        with t.step(STEPS[7]):
            guest.cmd("for d in /sys/bus/usb/devices/*; do grep -q Tablet $d/product 2>/dev/null && "
                      "echo 0 >$d/bConfigurationValue; done; true")
            mouse_moves(t, viewer, Events(guest, device(t, inputs(guest, PS2), "Mouse")))
    finally:
        viewer.close()


@life("seen", STEPS, memory=512)
def seen(t):
    """One guest with all of it."""
    guest = t.guest("seen", memory=400, append="xen_emul_unplug=never no_console_suspend", vnc=1, vncpasswd=PASSWORD, usb=1,
                    usbdevice=["tablet", "keyboard"])
    del guest.config["vga"]
    try:
        steps(t, guest)
    finally:
        guest.cleanup()
        t.box.call("rm -f /root/seen.save")
