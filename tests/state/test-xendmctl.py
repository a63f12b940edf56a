#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""xendmctl state: what it shows of golden files, and what it says to damaged ones."""

import glob
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile

SOURCE = os.environ.get("XENDM_SRCDIR") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
PROGRAM = (os.environ.get("XENDM_BUILDDIR") or os.getcwd()) + "/tools/xendmctl/xendmctl"
GOLDEN = SOURCE + "/tests/state/golden/"

sys.dont_write_bytecode = True     # the source tree stays clean
sys.path.insert(0, SOURCE + "/tests/kit")
from client import Tap      # noqa: E402

report = Tap()


def run(*words):
    """(exit status, output, errors)"""
    done = subprocess.run([PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def golden(name):
    """The bytes of a golden file."""
    with open(GOLDEN + name + ".state", "rb") as stream:
        return stream.read()


def sealed(body):
    """With an end and a checksum that fits."""
    return body + struct.pack("<II", 0, 32) + hashlib.sha256(body).digest()


def padded(kind, data):
    """A record of libxl's or libxc's stream."""
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def xl_file(state, end=True):
    """What xl save writes around a device model's state, with two pages of memory."""
    config = b"{}\0\0"
    libxc = struct.pack(">QIIHHI", 2 ** 64 - 1, 0x58454e46, 3, 0, 0, 0) + struct.pack("<IHHII", 2, 12, 0, 4, 17)
    libxc += padded(1, bytes(8) + b"m" * 8192) + padded(9, b"abc") + padded(0, b"")
    out = b"Xen saved domain, xl format\n \0 \r" + struct.pack("<IIII", 0x01020304, 3, 0, len(config)) + config
    out += struct.pack(">QII", 0x4c6962786c466d74, 2, 0)
    out += struct.pack("<II", 1, 0) + libxc
    out += padded(2, struct.pack("<II", 2, 0))
    if state is not None:
        out += padded(3, struct.pack("<II", 2, 0) + state)
    return out + (padded(0, b"") if end else b"")


def main():
    """All tests."""
    if not os.access(PROGRAM, os.X_OK):
        print("1..0 # SKIP there is no %s" % PROGRAM)
        return 0
    tmp = tempfile.mkdtemp(prefix="xendmctl-")
    file = tmp + "/file"

    def bad(data):
        with open(file, "wb") as stream:
            stream.write(data)
        status, out, err = run("state", "show", file)
        return status == 1 and not out and err.count("\n") == 1 and err.startswith("xendmctl: " + file) and err

    for path in sorted(glob.glob(GOLDEN + "*.state")):
        status, out, err = run("state", "show", path)
        shown = json.loads(out) if status == 0 else {}
        report("show %s is JSON" % os.path.basename(path), status == 0 and shown["bytes"] == os.path.getsize(path), err)
    fields = {(r["device"], r["section"]): r["fields"]
              for r in json.loads(run("state", "show", GOLDEN + "pio.state")[1])["records"]}
    disk = fields[("ide0-hd0", "ide-hd")]
    report("fields have names and values", disk["left"] == 3 and disk["write"] is True and disk["lba"] == 40
           and disk["buffer"].startswith("00400140"), disk)
    report("machine, clock, timers", fields[("", "machine")]["clock"] > 0, fields[("", "machine")])

    report("diff of a file with itself is empty", run("state", "diff", GOLDEN + "cd.state", GOLDEN + "cd.state")
           == (0, "", ""))
    status, out, err = run("state", "diff", GOLDEN + "pio.state", GOLDEN + "dma.state")
    report("diff names the fields", status == 1 and "\nide0-hd0:ide-hd.left: 3 -> 0\n" in out
           and "\ni8042:i8042.aux_irq: 0 -> 1\n" in out, out + err)
    report("diff of a file that is not there", run("state", "diff", GOLDEN + "cd.state", tmp + "/none")[0] == 2)

    state = golden("graphics")
    with open(file, "wb") as stream:
        stream.write(xl_file(state))
    report("a file of xl save is looked into", run("state", "diff", file, GOLDEN + "graphics.state")[0] == 0)
    run("state", "extract", file, tmp + "/out")
    with open(tmp + "/out", "rb") as stream:
        report("extract gives the same bytes", stream.read() == state)
    for name, data in (("cut in the guest's memory", xl_file(state)[:4000]), ("without a device model", xl_file(None)),
                       ("without an end", xl_file(None, False)), ("cut in the state", xl_file(state)[:-1000])):
        report("xl save file %s" % name, bad(data), run("state", "show", file))

    for name, data in (("an empty file", b""), ("text", b"hello\n" * 20), ("format 2", state[:8] + b"\2" + state[9:]),
                       ("a wrong checksum", state[:-1] + bytes([state[-1] ^ 1])), ("something behind the end", state + b"x"),
                       ("an unknown record", sealed(state[:-40] + struct.pack("<II", 5, 0)))):
        report("%s is refused in one line" % name, bad(data), run("state", "show", file))
    report("an optional unknown record is skipped", not bad(sealed(state[:-40] + struct.pack("<II", 0x80000005, 0))))
    described = golden("described")
    hashed = described.index(struct.pack("<II", 0x80000002, 32)) + 8
    lines = described[20:20 + struct.unpack_from("<I", described, 16)[0]].split(b"\n", 1)[1]
    shown = run("state", "show", GOLDEN + "described.state")[1]
    report("the hash of the machine's description is shown", described[hashed:hashed + 32] == hashlib.sha256(lines).digest() and
           json.loads(shown)["machine-sha256"] == hashlib.sha256(lines).hexdigest(), shown[:600])
    report("one that does not match is refused", bad(sealed(described[:hashed] + bytes(32) + described[hashed + 32:-40])))
    deep = struct.pack("<I", 1)
    for _ in range(100):
        deep = struct.pack("<IBB", 1, 12, 1) + b"s" + struct.pack("<I", len(deep)) + deep
    deep = b"\1d\1s" + deep
    report("endless nesting is refused", bad(sealed(state[:-40] + struct.pack("<II", 1, len(deep)) + deep)))
    wrong = []
    for at in range(0, len(state), 37):
        bent = bytearray(state)
        bent[at] ^= 0x80
        with open(file, "wb") as stream:
            stream.write(sealed(bytes(bent[:-40])) if at < len(state) - 40 else bent)
        status, out, err = run("state", "show", file)
        if status not in (0, 1) or (status == 1) != (err.count("\n") == 1):
            wrong.append((at, status, err))
        if status == 0:
            json.loads(out)
    report("damage never crashes it", not wrong, wrong)
    report("usage", run()[0] == 2 and run("state", "show")[0] == 2 and run("--help")[0] == 0)
    for path in glob.glob(tmp + "/*"):
        os.unlink(path)
    os.rmdir(tmp)
    print("1..%d" % report.number)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
