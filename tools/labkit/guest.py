# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest in the box: its medium, its xl configuration, its serial console, its screen."""

import os
import re
import shlex
import time

from . import build
from .png import Picture
from .util import LabError, say

# Cheaper under emulation, and nothing that changes which devices the kernel finds or drives.
BASE_APPEND = "console=tty0 console=ttyS0,115200 quiet mitigations=off random.trust_cpu=on audit=0 panic=-1"
PATIENT = 3             # seconds of waiting before it is said
NEW_LIFE = "\n=== the console starts anew ===\n"


class Guest:
    """One guest. create() starts it; the box destroys what is left at the end of a test.

    media    "disk" (hda), "cd" (hdc), "tiny" (one-sector guest on hda) or None
    append   more words for the kernel command line
    script   shell text run by the guest's init; "serve" gives a guest that obeys cmd()
    serial   "pty" (can be typed to) or "file"
    disks    more xl disk specifications
    backend  "qdisk" or "phy": who serves the first disk to the PV driver
    config   any key of xl.cfg, overriding what is here
    """

    def __init__(self, box, name, media="disk", memory=512, vcpus=1, append="", script="serve", serial="pty",
                 disks=(), backend="qdisk", **config):
        self.box = box
        self.name = name
        self.media = media
        self.append = (BASE_APPEND + " " + append).strip()
        self.script = ". /etc/lab.sh; serve\n" if script == "serve" else script
        self.serial = serial
        self.directory = "/root/" + name
        self.chatter = None     # lines that something in the guest prints beside its commands, as a pattern
        self.domids = []
        self._past = ""
        self._seen = ""
        self._cursor = 0
        self._serial_number = 0
        self._pump = None
        own = {"disk": "format=raw,vdev=hda,access=rw,backendtype=%s,target=%s" % (backend, self.medium),
               "tiny": "format=raw,vdev=hda,access=rw,backendtype=%s,target=%s" % (backend, self.medium),
               "cd": "format=raw,vdev=hdc,access=ro,devtype=cdrom,target=%s" % self.medium}
        self.config = {
            "name": name, "type": "hvm", "memory": memory, "vcpus": vcpus,
            "device_model_override": box.dm_path, "device_model_version": "qemu-xen",
            "serial": "pty" if serial == "pty" else "file:/share/guest/%s.serial" % name,
            "vga": "stdvga", "disk": ([own[media]] if media else []) + list(disks),
            "on_poweroff": "destroy", "on_reboot": "restart", "on_crash": "destroy",
        }
        if box.accelerator == "tcg" and box.smp > 1:
            # dom0 is on CPU 0. Guests with several CPUs, spread over the box's, were seen to triple-fault in two
            # of two runs, once with Xen's own RIP in the guest's state: the emulated SVM is suspected, not proven.
            self.config["cpus"] = "1"
        if media == "cd":
            self.config["boot"] = "d"
        self.config.update(config)

    @property
    def medium(self):
        """The guest's own copy of its boot medium, in dom0."""
        return "%s/%s" % (self.directory, {"disk": "disk.img", "tiny": "tiny.img", "cd": "cd.iso"}.get(self.media))

    # --- life ---------------------------------------------------------------------------------

    def prepare(self):
        """Everything but starting it: medium, boot menu, script, configuration."""
        host = "%s/share/guest/%s" % (self.box.work, self.name)
        share = "/share/guest/%s" % self.name
        lines = ["mkdir -p %s" % self.directory]
        if self.media:
            lines.append("[ -e %s ] || cp --sparse=always /lab/%s %s"
                         % (self.medium, os.path.basename(self.medium), self.medium))
        if self.media in ("disk", "cd"):
            place = self.box.media[self.media]
            append = self.append + (" labroot=sr0" if self.media == "cd" else "")
            with open(host + ".menu", "wb") as stream:
                stream.write(build.menu_text(append))
            with open(host + ".test", "wb") as stream:
                stream.write(build.script_archive(self.script) if self.script else b"\0" * build.TEST_SIZE)
            for part in ("menu", "test"):
                lines.append("dd if=%s.%s of=%s bs=512 seek=%d conv=notrunc status=none"
                             % (share, part, self.medium, place[part] // 512))
        with open(host + ".cfg", "w", encoding="utf-8") as stream:
            for key, value in self.config.items():
                stream.write("%s=%s\n" % (key, self._value(value)))
        with open(host + ".serial", "a", encoding="utf-8"):
            pass
        lines.append("sync")
        self.box.run("set -e\n" + "\n".join(lines), timeout=120)

    @staticmethod
    def _value(value):
        if isinstance(value, (list, tuple)):
            return "[%s]" % ", ".join(Guest._value(item) for item in value)
        return str(value) if isinstance(value, int) else '"%s"' % value

    def try_create(self, timeout=120, paused=False):
        """(exit status, output) of xl create; `paused`: it does not begin to run."""
        self.prepare()
        if self.serial == "pty" and self._pump is None:
            self._pump = self.box.spawn(self._pump_script())
        status, text = self.box.call("xl create %s/share/guest/%s.cfg" % ("-p " if paused else "", self.name), timeout)
        if status == 0:
            self.domid()
        return status, text

    def create(self, timeout=120, paused=False):
        """xl create, which has to work."""
        say("  creating guest %s" % self.name)
        status, text = self.try_create(timeout, paused)
        if status != 0:
            raise LabError("xl create %s: exit status %d: %s" % (
                self.name, status, " / ".join(text.strip().splitlines()[-6:])))
        return self

    def _pump_script(self):
        """Copies whatever pseudo-terminal the guest has at the moment to the file read here."""
        return """
while [ ! -e /share/guest/%(name)s.stop ]; do
    id=$(xenstore-ls -f /local/domain | sed -n 's,^/local/domain/\\([0-9]*\\)/name = "%(name)s"$,\\1,p') &&
    tty=$(xenstore-read /local/domain/$id/serial/0/tty 2>/dev/null) &&
    stty -F $tty raw -echo 2>/dev/null &&
    cat $tty >>/share/guest/%(name)s.serial 2>/dev/null
    sleep 1
done""" % {"name": self.name}

    def stop_pump(self):
        """Leave the guest's pseudo-terminal to somebody else; nothing arrives here any more."""
        if self._pump:
            with open("%s/share/guest/%s.stop" % (self.box.work, self.name), "w", encoding="ascii"):
                pass
            self.box.run("for pid in $(pidof cat); do readlink /proc/$pid/fd/1 | grep -q /guest/%s.serial && "
                         "kill $pid; done; true" % self.name)
            self.box.wait(self._pump, 30, "the end of %s's console pump" % self.name)
            self._pump = None

    def domid(self):
        """The domain's number now, or None."""
        status, text = self.box.call("xl domid %s 2>/dev/null" % self.name, 30)
        if status != 0 or not text.strip().isdigit():
            return None
        number = int(text)
        if number not in self.domids:
            self.domids.append(number)
        return number

    def state(self):
        """xl's six letters (r-----, -b----, --p---, ...), or None."""
        status, text = self.box.call("xl list %s 2>/dev/null" % self.name, 30)
        lines = text.strip().splitlines()
        return lines[-1].split()[4] if status == 0 and len(lines) > 1 else None

    def dm_pid(self):
        """The device model's process in dom0."""
        text = self.box.run("xenstore-read /local/domain/%s/image/device-model-pid" % self.domid())
        return int(text)

    def until(self, ask, what, timeout):
        """Ask again and again until the answer is true."""
        timeout *= self.box.patience
        begin = time.monotonic()
        told = False
        while True:
            answer = ask()
            if answer:
                return answer
            waited = time.monotonic() - begin
            if waited > timeout:
                raise LabError("not within %d s: %s" % (timeout, what))
            if waited > PATIENT and not told:
                told = True
                say("  waiting until %s (up to %d s)" % (what, timeout))
            time.sleep(0.3)

    def wait_gone(self, timeout=60):
        """Wait until no domain has this name."""
        self.until(lambda: self.domid() is None, "%s is gone" % self.name, timeout)

    def wait_new_life(self, old, timeout=60):
        """Wait until xl has restarted the guest as another domain."""
        def ask():
            now = self.domid()
            return now if now not in (None, old) else None
        return self.until(ask, "%s is a new domain" % self.name, timeout)

    def destroy(self, timeout=60):
        """xl destroy."""
        return self.box.run("xl destroy %s" % self.name, timeout)

    def cleanup(self):
        """End the guest without complaint and remove its files."""
        if self.domid() is not None:
            self.box.call("xl destroy %s" % self.name, 90)
        self.stop_pump()
        self.box.call("rm -rf %s" % self.directory, 60)

    # --- serial console -----------------------------------------------------------------------

    @property
    def text(self):
        """Everything the guest has written to its serial console, over all its lives."""
        try:
            with open("%s/share/guest/%s.serial" % (self.box.work, self.name), "rb") as stream:
                now = stream.read().decode("utf-8", "replace").replace("\r", "")
        except OSError:
            now = ""
        if not now.startswith(self._seen):
            self._past += self._seen + NEW_LIFE
        self._seen = now
        return self._past + self._seen

    def wait_for(self, pattern, timeout=120, bad=r"LAB no root|Kernel panic|Unable to mount"):
        """Wait for a regular expression on the console, after what was matched before."""
        timeout *= self.box.patience
        begin = time.monotonic()
        looked = begin
        told = False
        while True:
            text = self.text
            found = re.compile(pattern, re.M).search(text, self._cursor)
            if found:
                self._cursor = found.end()
                return found
            wrong = re.compile(bad).search(text, self._cursor) if bad else None
            now = time.monotonic()
            if wrong or now - begin > timeout:
                raise LabError("%s; waited %d s for /%s/ on %s's console, which ends: %s" % (
                    "the guest says: " + wrong.group(0) if wrong else "nothing came", now - begin, pattern,
                    self.name, " / ".join(text.strip().splitlines()[-5:]) or "(nothing at all)"))
            if now - begin > PATIENT and not told:
                told = True
                say("  waiting for /%s/ on %s's console (up to %d s)" % (pattern, self.name, timeout))
            if now - looked > 5:
                looked = now
                if self.box.process.poll() is not None:
                    raise LabError("the box ended")
                if self.restarted():
                    raise LabError("guest %s was restarted by itself (domain %d now; see xl's log and xl dmesg); "
                                   "waited for /%s/" % (self.name, self.domids[-1], pattern))
                if self.state() is None and not re.compile(pattern, re.M).search(self.text, self._cursor):
                    time.sleep(3)       # a restart leaves a gap of two seconds
                    if self.state() is None and not re.compile(pattern, re.M).search(self.text, self._cursor):
                        raise LabError("guest %s is gone; waited for /%s/; its console ends: %s" % (
                            self.name, pattern, " / ".join(self.text.strip().splitlines()[-5:])))
            time.sleep(0.1)

    def keys(self, terminal, text):
        """Press keys; what the guest's terminal makes of them, up to the end of the line."""
        number = self.begin("timeout 30 head -n 1 </dev/%s" % terminal)
        time.sleep(2)
        for key in list(text) + ["ret"]:
            self.monitor("sendkey " + key)
            time.sleep(0.3)
        return self.finish(number, 60)[1].strip()

    def restarted(self):
        """Whether the guest is another domain than the last one known."""
        before = list(self.domids)
        self.domid()
        return bool(before) and self.domids != before

    def type(self, text):
        """Send characters to the guest's serial port."""
        self.box.run("printf %%s %s >$(xenstore-read /local/domain/%s/serial/0/tty)"
                     % (shlex.quote(text), self.domid()))

    def begin(self, command):
        """Give a serving guest something to do; the number for finish()."""
        self._serial_number += 1
        self.type("%d %s\n" % (self._serial_number, command))
        return self._serial_number

    def finish(self, number, timeout=60):
        """(exit status, output) of a command given with begin()."""
        start = self._cursor
        found = self.wait_for(r"^LAB done %d (\d+)\n" % number, timeout)
        output = self.text[start:found.start()]
        if self.chatter:
            output = re.sub(self.chatter, "", output, flags=re.M)
        return int(found.group(1)), output.strip("\n")

    def cmd(self, command, timeout=60):
        """The output of a command in a serving guest; the command has to succeed."""
        status, text = self.finish(self.begin(command), timeout)
        if status != 0:
            raise LabError("in guest %s: %s: exit status %d: %s"
                           % (self.name, command, status, " / ".join(text.splitlines()[-4:])))
        return text

    # --- screen -------------------------------------------------------------------------------

    def screenshot(self):
        """The guest's screen as a Picture."""
        path = "/run/xen/screen-%s.ppm" % self.name     # where the sandbox lets it write pictures
        text = self.box.run("rm -f %s; xl qemu-monitor-command %s 'screendump %s'; "
                            "for i in 1 2 3 4 5 6 7 8 9 10; do [ -s %s ] && break; sleep 0.3; done; sleep 0.3; [ -s %s ]"
                            % (path, self.name, path, path, path), 60)
        try:
            return Picture.from_ppm(self.box.get(path))
        except LabError as err:
            raise LabError("%s (the monitor said: %s)" % (err, text.strip())) from err

    def monitor(self, command):
        """The answer of the device model's monitor."""
        return self.box.run("xl qemu-monitor-command %s %s" % (self.name, shlex.quote(command)), 30)
