# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests of recordings share: a machine on xenemu, xendmctl record around what it does, the replay."""
import importlib.machinery
import importlib.util
import os
import re
import shlex
import socket
import subprocess
import time

from client import CTL, PATIENCE, XENDM, XENEMU, Cpu, Qmp, want

SOURCE = os.path.abspath(os.environ.get("XENDM_SRCDIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")))


class Guest:
    """A machine on xenemu, not moved by anybody."""
    count = 0

    def __init__(self, tmp, *options):
        Guest.count += 1
        self.dir = os.path.join(tmp, "run%d" % Guest.count)
        self.log = self.dir + ".log"
        self.proc = subprocess.Popen([XENEMU, "run", "--dm", XENDM, "--rundir", self.dir, "--log", self.log, *options],
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.path = next((line.split()[1] for line in self.proc.stdout if line.startswith("socket ")), None)
        want(self.path, "xenemu run did not start:", self.tail())
        self.monitor = os.path.join(self.dir, "qmp-libxl-1")

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.proc.terminate()
        self.proc.communicate(timeout=PATIENCE)

    def tail(self):
        with open(self.log, errors="replace") as stream:
            return stream.read()[-1500:]

    def pid(self):
        """Who made the monitor's socket."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(self.monitor)
            return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")

    def serves(self):
        return Cpu(self.path).do("inb 0x3f6") & 0x80 == 0

    def run_script(self, path):
        """Its status and what it printed."""
        env = dict(os.environ, XENSTORED_RUNDIR=self.dir, XENEMU_QMP=self.monitor, XENEMU_DOMID="1")
        done = subprocess.run(["python3", os.path.join(SOURCE, "tools/xenemu/xds.py"), "--socket", self.path, "--dm", XENDM,
                               path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, check=False,
                              timeout=600)
        return done.returncode, done.stdout


class Recording:
    """xendmctl record, until the end of the block."""

    def __init__(self, guest, file, *options):
        self.file = file
        self.said = ""
        self.proc = subprocess.Popen([CTL, "record", guest.monitor, file, *options], stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, text=True)
        deadline = time.monotonic() + PATIENCE
        while self.proc.poll() is None and time.monotonic() < deadline:
            with Qmp(guest.monitor) as qmp:
                if re.search("recording: (yes|on|true)", qmp.hmp("info recording")):
                    return
            time.sleep(0.05)

    def __enter__(self):
        return self

    def end(self, ask=True):
        if ask and self.proc.poll() is None:
            self.proc.terminate()
        self.said += self.proc.communicate(timeout=PATIENCE)[0]
        return self.said

    def __exit__(self, *args):
        self.end()


def replay(file, *options, dm=XENDM):
    done = subprocess.run([XENEMU, "replay", "--dm", dm, *options, file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, timeout=120)
    return done.returncode, done.stdout


def scrub(file, clean):
    done = subprocess.run([CTL, "record", "scrub", file, clean], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    want(done.returncode == 0, done.stdout)


def show(file):
    done = subprocess.run([CTL, "record", "show", file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    return done.returncode, done.stdout


def device_run():
    """tests/device/run, which makes scripts' images."""
    loader = importlib.machinery.SourceFileLoader("device_run", os.path.join(SOURCE, "tests/device/run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def script_options(path, tmp):
    """The options of a device script, its images made."""
    options, run = [], device_run()
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            words = shlex.split(line) if line.startswith(("option ", "image ")) else []
            if words[:1] == ["image"]:
                run.make_image(os.path.join(tmp, words[1]), run.size_of(words[2]), words[3] if len(words) > 3 else "zero")
            elif words:
                options += words[1:]
    return [os.path.join(tmp, o[1:]) if o.startswith("@") else o.replace("=@", "=%s/" % tmp) for o in options]


def kinds():
    """Kinds of entries by name, as the file numbers them: those of tape.h, in order."""
    with open(os.path.join(SOURCE, "include/xendm/tape.h"), encoding="utf-8") as stream:
        names = re.search(r"enum tape_kind \{(.*?)TAPE_KINDS", stream.read(), re.S).group(1)
    return {name.lower().replace("_", "-"): i + 1 for i, name in enumerate(re.findall(r"^    TAPE_(\w+)", names, re.M))}


def plant(file, changed, kind, lines=show):
    """Another first number in the last entry of this kind, which has to be below 128 in its lowest bits; the entry's number.
    lines: show(), maybe of another build."""
    with open(file, "rb") as stream:
        data = bytearray(stream.read())
    before = lines(file)[1].splitlines()
    at, number = max((i, int(line.split()[0])) for i, line in enumerate(before) if kind in line.split()[1:3])
    for i in range(len(data) - 2, 0, -1):
        if data[i] != kinds()[kind]:
            continue
        data[i + 1] ^= 1
        with open(changed, "wb") as stream:
            stream.write(data)
        after = lines(changed)[1].splitlines()
        if [n for n, line in enumerate(after) if before[n:n + 1] != [line]] == [at] and len(after) == len(before):
            return number
        data[i + 1] ^= 1
    raise AssertionError("no %s in %s" % (kind, file))
