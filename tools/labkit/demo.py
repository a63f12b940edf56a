# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/demo's second half: a guest on its serial console, and its picture."""

import os
import re
import sys
import time

from .util import LabError, say

GREETING = r"""
echo
echo "Debian $(cat /etc/debian_version), Linux $(uname -r), $(grep -c ^processor /proc/cpuinfo) CPUs: a Xen HVM guest on its emulated PC"
grep -E '^/dev' /proc/mounts
for dev in /sys/bus/pci/devices/*; do
    echo "$(basename $dev) $(cat $dev/vendor):$(cat $dev/device) $(basename $(readlink $dev/driver 2>/dev/null || echo -))"
done
echo
"""


def do_demo(args, make_box):
    """Verb demo."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    box = make_box(args, terminal="""
until [ -f /share/attach ]; do sleep 0.3; done
echo
echo "This is the guest's serial console (xl console in dom0). Ctrl-] leaves it, and ends the demo."
echo
printf '\\n' >$(xenstore-read /local/domain/$(xl domid demo)/serial/0/tty)
xl console -t serial demo
touch /share/left
sleep 1000
""" if terminal else None)
    with box:
        # imported late: it needs nothing of the command line
        from .guest import Guest    # pylint: disable=import-outside-toplevel
        guest = Guest(box, "demo", memory=512, vcpus=2, append="xen_emul_unplug=never",
                      script=". /etc/lab.sh\ndmesg -n 1\ndrivers\ngreeting() {\n%s\n}\ngreeting\n"
                             "[ -c /dev/tty1 ] && greeting >/dev/tty1\n" % GREETING)
        say("xl create, with device_model_override=\"%s\"" % box.dm_path)
        guest.create()
        say("the guest's serial console follows")
        shown = rounds = 0
        until = time.monotonic() + 600
        while not re.search(r"^LAB shell$[^#]*# ", guest.text, re.M):     # (the prompt; an escape sequence may follow)
            text = guest.text
            sys.stdout.write(text[shown:])
            sys.stdout.flush()
            shown = len(text)
            rounds += 1
            if time.monotonic() > until or (rounds % 40 == 0 and guest.state() is None):
                box.collect(args.out or "xendm-demo-logs")
                raise LabError("the guest did not come up to its shell")
            time.sleep(0.3)
        sys.stdout.write(guest.text[shown:] + "\n")
        sys.stdout.flush()
        path = os.path.abspath(args.png)
        with open(path, "wb") as stream:
            stream.write(guest.screenshot().png())
        say("the guest's screen is in %s" % path)
        print(box.run("xl list"))
        if terminal:
            guest.stop_pump()
            open(box.work + "/share/attach", "w", encoding="ascii").close()
            while box.process.poll() is None and not os.path.exists(box.work + "/share/left"):
                time.sleep(0.2)
            print("\r")
            return 0
        guest.type("uname -a; cat /proc/interrupts | head -n 20\n")
        guest.wait_for(r"i8042|ata_piix|timer", 60)
        time.sleep(2)
        print(guest.text[shown:].strip())
        say("powering the guest off")
        guest.type("poweroff -f\n")
        guest.wait_gone(90)
    say("done")
    return 0
