#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Image formats by the image server, and disks behind NBD: what the guest writes is read back by qemu-img; servers that die,
stop, refuse and lie. With the real servers (the packages qemu-system-common, qemu-utils; without them those tests are skipped)
and a toy server that says what it should not. TAP."""
import glob
import http.server
import errno
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True     # the source tree stays clean
from faults import (FINE, PATIENCE, SERVER, XENDM, Disk, Machine, Qmp, Skip, drive, image, processes, server_of, tap, want,
                    write_and_read)
from client import sanitized     # noqa: E402, found through faults

SECTORS = 2048
OURS = b"\xab" * 512


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            raise Skip("there is no " + tool)


def make(tmp, fmt, name="hda.img"):
    """An image of that format in which each sector holds its number."""
    need(SERVER, "qemu-img")
    raw = image(os.path.join(tmp, "plain"), SECTORS * 512)
    path = os.path.join(tmp, name)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", fmt, raw, path], check=True)
    return path


def plain(tmp, fmt, path):
    """Its bytes, as qemu-img reads them."""
    out = os.path.join(tmp, "out")
    gone(SERVER, path)  # it ends after the daemon
    subprocess.run(["qemu-img", "convert", "-f", fmt, "-O", "raw", path, out], check=True)
    with open(out, "rb") as f:
        return f.read()


def can_direct(tmp):
    try:
        os.close(os.open(tmp, os.O_TMPFILE | os.O_RDWR | os.O_DIRECT))
        return True
    except OSError:
        return False


def start(tmp, path, fmt, cache="writeback", **kw):
    m = Machine(tmp, "--", *drive(path, fmt, cache=cache), **kw)
    return m, Disk(m.cpu) if m.path else None


def gone(name, path):
    deadline = time.monotonic() + PATIENCE
    while processes(name, path):
        want(time.monotonic() < deadline, name, "is there still")
        time.sleep(.02)


def formats(tmp, fmt, cache="writeback"):
    path = make(tmp, fmt)
    m, disk = start(tmp, path, fmt, cache)
    write_and_read(m, disk)
    inserted = [b for b in m.qmp.ok("query-block") if b.get("inserted", {}).get("file") == path]
    want(len(inserted) == 1 and inserted[0]["inserted"]["drv"] == fmt, inserted)
    m.end()
    gone(SERVER, path)
    gone("xendm-image", path)
    data = plain(tmp, fmt, path)
    want(data[200 * 512:216 * 512] == OURS * 16 and data[216 * 512:216 * 512 + 4] == (216).to_bytes(4, "little"), "the image")


def test_qcow2(tmp):
    """qcow2: what the guest writes by DMA is in the image; server and keeper end with xendm"""
    formats(tmp, "qcow2")


def test_cache(tmp):
    """qcow2 with cache=none, where that is possible, and with cache=writethrough, whose writes need no flush"""
    if can_direct(tmp):
        formats(tmp, "qcow2", "none")
        os.remove(tmp + "/hda.img")
    path = make(tmp, "qcow2")
    m, disk = start(tmp, path, "qcow2", "writethrough")
    m.cpu.do("memset 0x%x %d 0xab" % (disk.buffer, 16 * 512))
    want(disk.dma(200, 16, True) == FINE + (4,), "write")
    os.kill(server_of(path), signal.SIGKILL)
    m.await_log("the connection to the server of .* broke")
    want(disk.flush() == FINE, "nothing was lost")
    m.end()
    want(plain(tmp, "qcow2", path)[200 * 512:216 * 512] == OURS * 16, "the image")


def test_vpc(tmp):
    """vpc (VHD)"""
    formats(tmp, "vpc")


def test_qed(tmp):
    """qed"""
    formats(tmp, "qed")


def test_vmdk(tmp):
    """vmdk is read, and a write is the guest's error"""
    path = make(tmp, "vmdk")
    m, disk = start(tmp, path, "vmdk")
    want(disk.dma(100, 8) == FINE + (4,), "read")
    m.cpu.expect("readl 0x%x" % disk.buffer, 100)
    want(disk.dma(100, 8, True)[0] & 1, "a write succeeded")
    m.end()


def test_names(tmp):
    """names of files with what means something in options and protocols; a backing file beside the image"""
    need(SERVER, "qemu-img")
    directory = os.path.join(tmp, "a,driver=raw,,b")
    os.mkdir(directory)
    base = make(tmp, "qcow2", "a,driver=raw,,b/base, 1.img")
    path = os.path.join(directory, "nbd:top, 2.img")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base, 1.img", path], check=True)
    m, disk = start(tmp, path, "qcow2")
    write_and_read(m, disk)
    m.end()
    want(plain(tmp, "qcow2", base)[200 * 512:200 * 512 + 4] == (200).to_bytes(4, "little"), "the backing file was written")


def test_idle(tmp):
    """nothing runs while nobody asks the disk for anything"""
    m, disk = start(tmp, make(tmp, "qcow2"), "qcow2")
    want(disk.dma(100, 8) == FINE + (4,), "a read")
    m.qmp.ok("query-status")
    time.sleep(0.2)             # what the read left to do
    clock = (~m.pid() << 3) | 2             # Linux' id of the CPU time of another process
    before = time.clock_gettime_ns(clock)
    time.sleep(1)
    used = time.clock_gettime_ns(clock) - before
    want(used < 10_000_000, used, "ns of CPU in a second")
    m.end()


def test_lock(tmp):
    """an image that another has is refused, in QEMU's words; one that is no qcow2, too; and one that is not there"""
    path = make(tmp, "qcow2")
    m, disk = start(tmp, path, "qcow2")
    other = os.path.join(tmp, "other")
    os.mkdir(other)
    second, _ = start(other, path, "qcow2", may_fail=True)
    want(not second.path and "lock" in second.log(), second.log())
    want(disk.dma(100, 8) == FINE + (4,), "the first")
    m.end()
    second, _ = start(other, os.path.join(tmp, "plain"), "qcow2", may_fail=True)
    want(not second.path and "not in qcow2 format" in second.log(), second.log())
    second, _ = start(other, "/nonexistent/x", "qcow2", may_fail=True)
    want(not second.path and "No such file" in second.log(), second.log())


def test_absent(tmp):
    """without an image server the error names the package"""
    os.environ["XENDM_QEMU_STORAGE_DAEMON"] = "/nonexistent"
    try:
        image(tmp + "/x", SECTORS * 512)
        m, _ = start(tmp, tmp + "/x", "qcow2", may_fail=True)
    finally:
        del os.environ["XENDM_QEMU_STORAGE_DAEMON"]
    want(not m.path and "qemu-system-common" in m.log(), m.log())


def test_killed_clean(tmp):
    """the server is killed when all is flushed: the next command is served by another"""
    path = make(tmp, "qcow2")
    m, disk = start(tmp, path, "qcow2")
    write_and_read(m, disk)
    pid = server_of(path)
    os.kill(pid, signal.SIGKILL)
    m.await_log("the connection to the server of .* broke")
    write_and_read(m, disk)
    m.logged("the image server of .* ended: qemu-storage-daemon was killed by signal 9", 1)
    want(server_of(path) != pid, "the same server")
    m.logged("connected to a server of .* again", 1)
    m.end()
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", path], check=False)
    want(plain(tmp, "qcow2", path)[200 * 512:216 * 512] == OURS * 16, "the image")


def test_killed_dirty(tmp):
    """the server is killed with writes that were acknowledged and not flushed: no flush succeeds, QMP tells, reading goes on"""
    path = make(tmp, "qcow2")
    m, disk = start(tmp, path, "qcow2")
    want(disk.dma(200, 16, True) == FINE + (4,), "write")
    os.kill(server_of(path), signal.SIGKILL)
    m.await_log("acknowledged writes are lost")
    want(disk.flush()[0] & 1, "the flush succeeded")
    data = m.qmp.event("BLOCK_IO_ERROR")
    want(data["device"] == "ide0-hd0", data)
    want(disk.dma(100, 8) == FINE + (4,), "read")
    want(disk.flush()[0] & 1, "another flush succeeded")
    m.end()


def test_killed_for_good(tmp):
    """a server that cannot be started again: the guest sees an error, QMP the event, the other disk goes on"""
    path = make(tmp, "qcow2")
    image(tmp + "/hdb", SECTORS * 512)
    m = Machine(tmp, "--", *drive(path, "qcow2"), *drive(tmp + "/hdb", "raw", 1))
    disk, other = Disk(m.cpu), Disk(m.cpu, 0, 1)
    want(disk.dma(100, 8) == FINE + (4,), "before")
    os.rename(path, path + ".away")
    os.kill(server_of(path), signal.SIGKILL)
    disk.select = 0xe0
    want(disk.dma(100, 8)[0] & 1, "it was read")
    data = m.qmp.event("BLOCK_IO_ERROR")
    want(data["device"] == "ide0-hd0" and data["operation"] == "read", data)
    m.logged("there is no server of .*No such file")
    want(other.dma(40) == FINE + (4,), "the other disk")
    os.rename(path + ".away", path)
    want(disk.dma(100, 8) == FINE + (4,), "after")
    m.end()


class Failing:
    """A machine whose keeper's calls fail: "NUMBER CALL ERRNO FROM UNTIL"."""

    def __init__(self, tmp, path):
        library = os.path.join(os.path.dirname(XENDM), "tests/faults/fail-call.so")
        keeper = os.path.join(os.path.dirname(XENDM), "backends/block/xendm-image")
        if sanitized() or not os.path.exists(library):
            raise Skip("no preloading: sanitized, or not built")
        self.file, self.number = tmp + "/fail", 0
        self.plan("none", 0, 0, 0)
        for name, text in (("keeper", 'FAIL_FILE=%s LD_PRELOAD=%s exec %s "$@"' % (self.file, library, keeper)),
                           ("dm", 'XENDM_IMAGE=%s/keeper exec %s "$@"' % (tmp, XENDM))):
            with open(tmp + "/" + name, "w") as f:
                f.write("#!/bin/sh\n" + text + "\n")
            os.chmod(tmp + "/" + name, 0o755)
        self.m, self.disk = start(tmp, path, "qcow2", dm=tmp + "/dm")

    def plan(self, call, error, first, last):
        self.number += 1
        with open(self.file, "r+" if os.path.exists(self.file) else "w") as f:
            f.write(("%d %s %d %d %d" % (self.number, call, error, first, last)).ljust(64))     # it is mapped


def test_keeper_calls(tmp):
    """each call of the keeper's fails, the first time or the second: another server comes, the guest notices nothing"""
    path = make(tmp, "qcow2")
    f = Failing(tmp, path)
    want(f.disk.dma(8, 8) == FINE + (4,), "before")
    for call, error in (("fork", errno.EAGAIN), ("pipe2", errno.EMFILE), ("mkdtemp", errno.ENOSPC), ("socket", errno.ENFILE),
                        ("bind", errno.ENOMEM), ("listen", errno.ENOMEM), ("connect", errno.EAGAIN), ("sendmsg", errno.ENOBUFS),
                        ("send", errno.ENOMEM), ("recv", errno.ENOMEM), ("ppoll", errno.ENOMEM), ("recv", errno.EINTR)):
        for first in (1, 2):
            f.plan(call, error, first, first)
            os.kill(server_of(path), signal.SIGKILL)
            want(f.disk.dma(8 * first, 8) == FINE + (4,), "with", call, "failing with", errno.errorcode[error], "time", first)
            f.m.cpu.expect("readl 0x%x" % f.disk.buffer, 8 * first)
    f.plan("fork", errno.EAGAIN, 1, 1 << 30)
    os.kill(server_of(path), signal.SIGKILL)
    want(f.disk.dma(8, 8)[0] & 1, "no server can be started, and the disk answers")
    f.plan("none", 0, 0, 0)
    deadline = time.monotonic() + PATIENCE
    while f.disk.dma(8, 8) != FINE + (4,):
        want(time.monotonic() < deadline, "it does not work again")
    f.m.end()


def test_stopped(tmp):
    """a server that stands still holds its own request only, and ends with xendm"""
    path = make(tmp, "qcow2")
    image(tmp + "/hdc", SECTORS * 512)
    m = Machine(tmp, "--", *drive(path, "qcow2"), *drive(tmp + "/hdc", "raw", 2))
    disk, other = Disk(m.cpu), Disk(m.cpu, 1, 0)
    want(disk.dma(100, 8) == FINE + (4,), "before")
    os.kill(server_of(path), signal.SIGSTOP)
    disk.dma_start(300)
    for i in range(20):
        want(other.dma(40 + i) == FINE + (4,), "the other disk")
    want(m.cpu.do("inb 0x3f6") & 0x80, "it does not wait")
    m.qmp.ok("query-status")
    os.kill(server_of(path), signal.SIGCONT)
    want(disk.ready() == FINE, "resumed")
    m.cpu.expect("readl 0x%x" % disk.buffer, 300)
    os.kill(server_of(path), signal.SIGSTOP)
    m.end()
    gone(SERVER, path)


def test_update(tmp):
    """live update: the new program has a server of its own, and all that was written"""
    path = make(tmp, "qcow2")
    m, disk = start(tmp, path, "qcow2")
    write_and_read(m, disk)
    m.cpu.do("memset 0x%x %d 0xab" % (disk.buffer, 16 * 512))
    want(disk.dma(300, 16, True) == FINE + (4,), "write")
    before = server_of(path)
    m.qmp.ok("xendm-update", binary=XENDM)
    want(disk.flush() == FINE and disk.dma(300, 8) == FINE + (4,), "after")
    m.cpu.expect("readl 0x%x" % disk.buffer, 0xabababab)
    want(server_of(path) != before, "the same server")
    m.end()
    want(plain(tmp, "qcow2", path)[300 * 512:316 * 512] == OURS * 16, "the image")


def save(m, path, live):
    with open(path, "wb") as f:
        m.qmp.ask("add-fd", fd=f.fileno(), **{"fdset-id": 1})
        m.qmp.ok("xen-save-devices-state", filename="/dev/fdset/1", live=live)


def test_migration(tmp):
    """migration: the receiver has the image from its first cont on, and reads what the sender wrote; one of both has it"""
    path = make(tmp, "qcow2")
    m, disk = start(tmp, path, "qcow2", vga="none")
    write_and_read(m, disk)
    m.qmp.ok("stop")
    save(m, tmp + "/state", False)              # xl save -c: nobody else gets it
    os.mkdir(tmp + "/to")
    second = Machine(tmp + "/to", "--incoming", tmp + "/state", "--", *drive(path, "qcow2"), vga="none", may_fail=True)
    want(second.path is None and "lock" in second.out, "the first cont of the second:", second.out)
    second.kill()
    shutil.rmtree(tmp + "/to/run", ignore_errors=True)
    save(m, tmp + "/state", True)               # a migration
    want(not processes(SERVER, path), "the sender has it still")
    second = Machine(tmp + "/to", "--incoming", tmp + "/state", "--", *drive(path, "qcow2"), vga="none")
    other = Disk(second.cpu)
    want(other.dma(204, 8) == FINE + (4,), "the receiver")
    second.cpu.expect("readl 0x%x" % other.buffer, 0xabababab)
    write_and_read(second, other)
    reply = m.qmp.ask("cont")
    want("lock" in reply.get("error", {}).get("desc", ""), reply)
    second.end(leaks=True)
    gone("xendm-image", tmp + "/to")
    m.qmp.ok("cont")                            # the migration failed
    write_and_read(m, disk)
    m.end()


def test_restricted(tmp):
    """dm_restrict=1: images are written beyond libxl's limit of 256 KiB; a server that is killed is replaced, by the keeper alone"""
    if sanitized():
        raise Skip("the leak sanitizer cannot look at itself as another user")
    path = make(tmp, "qcow2")
    image(tmp + "/hdc", SECTORS * 512)
    m = Machine(tmp, "--restrict", "--", *drive(path, "qcow2"), *drive(tmp + "/hdc", "raw", 2))
    disk = Disk(m.cpu)
    write_and_read(m, disk)
    want(Disk(m.cpu, 1, 0).dma(SECTORS - 8, 8, True) == FINE + (4,), "the raw one's end")
    os.kill(server_of(path), signal.SIGKILL)
    m.await_log("the connection to the server of .* broke")
    write_and_read(m, disk)
    m.end()


def medium(m):
    """File and format of what is in the CD drive."""
    found = [b["inserted"] for b in m.qmp.ok("query-block") if b["device"] == "ide-5632" and "inserted" in b]
    return (found[0]["file"], found[0]["drv"]) if found else None


def change(m, path, fmt, fd=None):
    """By name, or as libxl does it; the answer."""
    if fd is None:
        return m.qmp.ask("blockdev-change-medium", id="ide-5632", filename=path, format=fmt)
    with open(path, "rb") as f:
        number = m.qmp.ask("add-fd", fd=f.fileno(), opaque="%s:%s" % (fmt, path))["return"]["fdset-id"]
    return m.qmp.ask("blockdev-change-medium", id="ide-5632", filename="/dev/fdset/%d" % number, format=fmt)


def cd_block(m, n):
    """The first word of a block of 2048 bytes, by READ(10); None: an error."""
    cpu = Disk(m.cpu, 1).cpu                # it sets the controller up
    for _ in range(3):                # unit attention, a tray that was open
        cpu.until("inb 0x376", 0x80, 0)
        for reg, value in ((6, 0xa0), (1, 0), (4, 0), (5, 8), (7, 0xa0)):
            cpu.do("outb 0x%x 0x%x" % (0x170 + reg, value))
        cpu.until("inb 0x376", 0x88, 8)
        packet = bytes([0x28, 0, n >> 24, n >> 16 & 255, n >> 8 & 255, n & 255, 0, 0, 1, 0, 0, 0])
        for i in range(0, 12, 2):
            cpu.do("outw 0x170 0x%x" % (packet[i] | packet[i + 1] << 8))
        cpu.until("inb 0x376", 0x80, 0)
        if cpu.do("inb 0x177") & 8:
            cpu.do("ins 0x170 2 1024 0x200000")
            return cpu.do("readl 0x200000")
    return None


def test_change(tmp):
    """a CD is changed to such images in the sandbox, by name and by descriptor; what fails leaves the one that was there"""
    path, second = make(tmp, "qcow2", "a.qcow2"), make(tmp, "vpc", "b.vhd")
    bad = os.path.join(tmp, "bad.iso")
    plain_iso = os.path.join(tmp, "plain")
    with open(bad, "wb") as f:
        f.write(b"QFI\xfb" + b"\xff" * 65532)
    os.chmod(tmp, 0o755)
    m = Machine(tmp, "--cdrom", plain_iso)
    for n, fd in enumerate((None, True, None, True)):
        reply = change(m, path, "qcow2", fd)
        want("return" in reply and medium(m) == (path, "qcow2"), reply, medium(m))
        want(cd_block(m, 3) == 12, "the CD says", cd_block(m, 3))
        for wrong in (change(m, bad, "qcow2", fd), change(m, os.path.join(tmp, "none.iso"), "qcow2"),
                      change(m, path, "nonsense", fd)):
            want("error" in wrong and medium(m) == (path, "qcow2"), wrong, medium(m))
        reply = change(m, second, "vpc", fd)
        want("return" in reply and medium(m) == (second, "vpc"), reply, medium(m))
        want(cd_block(m, 5) == 20, "the CD says", cd_block(m, 5))
        reply = change(m, plain_iso, "raw") if n & 1 else m.qmp.ask("eject", id="ide-5632", force=True)
        want("return" in reply, reply)
    gone("xendm-image", "serve-open")
    m.end()


class Other:
    """As a machine, for another client."""

    def __init__(self, qmp):
        self.qmp = qmp


def test_change_slow(tmp):
    """a CD whose server takes its time: QMP and the guest are served meanwhile, and an eject takes the change back"""
    path, go = make(tmp, "qcow2", "a.qcow2"), tmp + "/go"
    image_server = os.path.join(os.path.dirname(XENDM), "backends/block/xendm-image")
    for name, text in (("keeper", 'while [ ! -e %s ]; do sleep .02; done\nexec %s "$@"' % (go, image_server)),
                       ("dm", 'XENDM_IMAGE=%s/keeper exec %s "$@"' % (tmp, XENDM))):
        with open(tmp + "/" + name, "w") as f:
            f.write("#!/bin/sh\n" + text + "\n")
        os.chmod(tmp + "/" + name, 0o755)
    os.chmod(tmp, 0o755)
    m = Machine(tmp, "--cdrom", "", dm=tmp + "/dm")
    ask = {"execute": "blockdev-change-medium", "id": "c", "arguments": {"id": "ide-5632", "filename": path, "format": "qcow2"}}
    with Qmp(m.dir + "/qmp-libxl-1") as other:
        m.qmp.say(json.dumps(ask))
        want(other.ok("query-status")["running"] and medium(Other(other)) is None, "the medium is there before its server")
        m.cpu.do("outb 0x3ff 0x5a")
        m.cpu.expect("inb 0x3ff", 0x5a)
        want("is being opened" in change(Other(other), path, "qcow2").get("error", {}).get("desc", ""), "a second change")
        other.ok("eject", id="ide-5632", force=True)
        reply = m.qmp.receive()
        want(reply["id"] == "c" and "was to be emptied" in reply["error"]["desc"], reply)
        m.qmp.say(json.dumps(ask))
        other.ok("query-status")
        with open(go, "w"):
            pass
        reply = m.qmp.receive()
        want("return" in reply and medium(m) == (path, "qcow2"), reply, medium(m))
    want(cd_block(m, 3) == 12, "the CD")
    m.end()


def test_change_restricted(tmp):
    """dm_restrict=1: by descriptor, as libxl does, and by no name that the command line has not"""
    if sanitized():
        raise Skip("the leak sanitizer cannot look at itself as another user")
    path = make(tmp, "qcow2", "a.qcow2")
    os.chmod(path, 0o600)
    m = Machine(tmp, "--restrict", "--cdrom", os.path.join(tmp, "plain"))
    reply = change(m, path, "qcow2")
    want("error" in reply and medium(m)[1] == "raw", reply)
    reply = change(m, path, "qcow2", True)
    want("return" in reply and medium(m) == (path, "qcow2"), reply)
    want(cd_block(m, 7) == 28, "the CD says", cd_block(m, 7))
    os.kill(server_of("/proc/self/fd/4"), signal.SIGKILL)
    want(cd_block(m, 9) == 36, "after the server's end")
    m.end()


def test_change_backing(tmp):
    """the server of a CD that came later reads that image alone: none that its metadata names"""
    if sanitized():
        raise Skip("a build with sanitizers has no sandbox")
    base = make(tmp, "qcow2", "base.qcow2")
    path = os.path.join(tmp, "over.iso")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, path], check=True)
    os.chmod(tmp, 0o755)
    m = Machine(tmp, "--cdrom", os.path.join(tmp, "plain"))
    for fd in (None, True):
        reply = change(m, path, "qcow2", fd)
        want("base.qcow2" in reply.get("error", {}).get("desc", "") and medium(m)[1] == "raw", reply)
    m.end()


def nbd_server(path, fmt, sock):
    need("qemu-nbd")
    proc = subprocess.Popen(["qemu-nbd", "-f", fmt, "-k", sock, "-x", "disk", "-t", path])
    deadline = time.monotonic() + PATIENCE
    while not os.path.exists(sock):
        want(time.monotonic() < deadline and proc.poll() is None, "no server")
        time.sleep(.01)
    return proc


def test_nbd(tmp):
    """a disk in somebody's NBD server; the server goes away and comes back"""
    path, sock = make(tmp, "qcow2"), tmp + "/s"
    proc = nbd_server(path, "qcow2", sock)
    try:
        m, disk = start(tmp, "nbd+unix:///disk?socket=" + sock, "raw")
        write_and_read(m, disk)
        proc.terminate()
        proc.wait()
        os.path.exists(sock) and os.unlink(sock)
        m.await_log("the connection to the server of .* broke")
        proc = nbd_server(path, "qcow2", sock)
        write_and_read(m, disk)
        m.end()
    finally:
        proc.terminate()
        proc.wait()
    want(plain(tmp, "qcow2", path)[200 * 512:216 * 512] == OURS * 16, "the image")


# ---- https: ----

class Ranges(http.server.BaseHTTPRequestHandler):
    """One file, of which parts may be asked for."""

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(self.server.data)))
        self.end_headers()

    def do_GET(self):
        first, last = (int(word) for word in self.headers["Range"].split("=")[1].split("-"))
        part = self.server.data[first:last + 1]
        self.send_response(206)
        self.send_header("Content-Range", "bytes %d-%d/%d" % (first, first + len(part) - 1, len(self.server.data)))
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, format, *args):   # pylint: disable=redefined-builtin
        pass


def https_server(tmp, data):
    """Its port, and the certificate with which it speaks for 127.0.0.1."""
    need("qemu-nbd", "openssl")
    if not glob.glob("/usr/lib/*/qemu/block-curl.so"):
        raise Skip("QEMU has no https: here (Debian: the package qemu-block-extra)")
    cert, key = os.path.join(tmp, "cert.pem"), os.path.join(tmp, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=xendm's test", "-addext",
                    "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, stderr=subprocess.DEVNULL)
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    web.data = data
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    web.socket = context.wrap_socket(web.socket, server_side=True)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    return web.server_address[1], cert


def test_https(tmp):
    """a CD from an https: server: whose certificate nobody knows ends the start with a reason; whose is known is read"""
    with open(image(os.path.join(tmp, "plain"), SECTORS * 512), "rb") as f:
        port, cert = https_server(tmp, f.read())
    url = "https://127.0.0.1:%d/a.iso" % port
    line = ["--", "-drive", "file=%s,if=ide,index=2,media=cdrom,format=raw,readonly=on" % url]
    m = Machine(tmp, *line, may_fail=True)
    want(not m.path, "it starts")
    m.logged("(?i)%s.*certificate" % re.escape(url))
    known = "/etc/ssl/certs/ca-certificates.crt"
    if os.geteuid() != 0 or not os.path.exists(known):
        raise Skip("only root can have another %s for a while" % known)
    m = Machine(tmp, *line, prefix=["unshare", "--mount", "sh", "-c", 'mount --bind "$0" %s && exec "$@"' % known, cert])
    want(any(b.get("inserted", {}).get("file") == url for b in m.qmp.ok("query-block")), m.qmp.ok("query-block"))
    for block in (3, 500):
        want(cd_block(m, block) == 4 * block, "the CD says", cd_block(m, block))
    m.end()
    gone("qemu-nbd", url)


# ---- a server that lies ----

MAGIC, OPT, REPLY = 0x4e42444d41474943, 0x49484156454f5054, 0x3e889045565a9


class Toy:
    """NBD over a UNIX socket, newstyle, simple replies. `answer(toy, connection, command)` may do as it likes."""

    def __init__(self, path, answer=None, size=SECTORS * 512, flags=0x1 | 0x4, hello=None):
        self.answer, self.size, self.flags, self.hello = answer or Toy.good, size, flags, hello
        self.data = bytearray(b"".join(i.to_bytes(4, "little") * 128 for i in range(SECTORS)))
        self.connections, self.commands = 0, 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(8)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    @staticmethod
    def get(conn, n):
        data = b""
        while len(data) < n:
            part = conn.recv(n - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def serve(self, conn):
        try:
            if self.hello:
                self.hello(self, conn)
                return
            self.agree(conn)
            while True:
                _, flags, kind, cookie, offset, length = struct.unpack(">IHHQQI", self.get(conn, 28))
                payload = self.get(conn, length) if kind == 1 else b""
                self.commands += 1
                if kind == 2:
                    return
                self.answer(self, conn, (kind, cookie, offset, length, payload))
        except (EOFError, OSError):
            pass
        finally:
            conn.close()

    def agree(self, conn):
        conn.sendall(struct.pack(">QQH", MAGIC, OPT, 3))
        self.get(conn, 4)
        while True:
            _, option, length = struct.unpack(">QII", self.get(conn, 16))
            self.get(conn, length)
            if option == 7:     # NBD_OPT_GO
                info = struct.pack(">HQH", 0, self.size, self.flags)
                conn.sendall(struct.pack(">QIII", REPLY, option, 3, len(info)) + info + struct.pack(">QIII", REPLY, option, 1, 0))
                return
            conn.sendall(struct.pack(">QIII", REPLY, option, 0x80000001, 0))

    def reply(self, conn, cookie, data=b"", error=0):
        conn.sendall(struct.pack(">IIQ", 0x67446698, error, cookie) + data)

    def good(self, conn, command):
        kind, cookie, offset, length, payload = command
        if kind == 1:
            self.data[offset:offset + length] = payload
        self.reply(conn, cookie, bytes(self.data[offset:offset + length]) if kind == 0 else b"")


def toy(tmp, **kw):
    server_ = Toy(tmp + "/toy", **kw)
    m, disk = start(tmp, "nbd:unix:" + tmp + "/toy", "raw", may_fail=True)
    return server_, m, disk


def test_toy(tmp):
    """the toy server, when it behaves: reading, writing, flushing"""
    s, m, disk = toy(tmp)
    write_and_read(m, disk)
    want(bytes(s.data[200 * 512:201 * 512]) == OURS, "the bytes")
    m.end()


def test_sizes(tmp):
    """sizes that are none are refused"""
    for i, size in enumerate((0, 511, 2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1)):
        sub = tmp + "/%d" % i
        os.mkdir(sub)
        _, m, _ = toy(sub, size=size)
        want(not m.path and "assert" not in m.log().lower(), size, m.log())


def test_read_only(tmp):
    """an export for reading only is refused for a disk"""
    _, m, _ = toy(tmp, flags=0x1 | 0x2)
    want(not m.path and "for reading only" in m.log(), m.log())


def test_hello(tmp):
    """greetings that are none: nothing at all, rubbish, another protocol, an end"""
    def rubbish(_, conn):
        conn.sendall(b"\xff" * 4096)

    def http(_, conn):
        conn.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

    def end(_, conn):
        pass

    for i, hello in enumerate((rubbish, http, end)):
        sub = tmp + "/%d" % i
        os.mkdir(sub)
        _, m, _ = toy(sub, hello=hello)
        want(not m.path and "drive ide0-hd0" in m.log(), m.log())


def lies(tmp, answer, times=None):
    """The server does so when it is asked, so many times. When that ends the guest has what it wanted; else it has an error,
    xendm serves on, and the server comes to its senses."""
    s, m, disk = toy(tmp)
    want(disk.dma(100, 8) == FINE + (4,), "before")
    done = []

    def once(s, conn, command):
        done.append(command)
        (answer if times is None or len(done) <= times else Toy.good)(s, conn, command)

    s.answer = once
    if times is None:
        want(disk.dma(300, 8)[0] & 1, "no error")
        m.qmp.event("BLOCK_IO_ERROR")
        s.answer = Toy.good
    want(disk.dma(300, 8) == FINE + (4,), "after")
    m.cpu.expect("readl 0x%x" % disk.buffer, 300)
    want(m.qmp.ok("query-status")["running"] and (times is None or len(done) == times + 1), len(done))
    if times:
        m.logged("the connection to the server of .* broke", 1)
        m.logged("connected to a server of .* again", 1)
    m.end()
    return s


def test_error(tmp):
    """an error of the server's is the guest's, at once"""
    s = lies(tmp, lambda s, conn, c: s.reply(conn, c[1], error=5))
    want(s.connections == 1, s.connections)


def test_cookies(tmp):
    """answers to what was not asked: the connection ends, others are tried, with pauses, for ten seconds"""
    s = lies(tmp, lambda s, conn, c: s.reply(conn, c[1] + 7, bytes(c[3])))
    want(3 < s.connections < 60, s.connections)


def test_short(tmp):
    """answers that are cut short, and connections that end"""
    def short(s, conn, c):
        s.reply(conn, c[1], bytes(c[3] // 2))
        conn.shutdown(socket.SHUT_RDWR)

    s = lies(tmp, short, 3)
    want(s.connections == 4, s.connections)


def test_magic(tmp):
    """rubbish instead of an answer"""
    lies(tmp, lambda s, conn, c: conn.sendall(b"\x5a" * 1000), 2)


def test_structured(tmp):
    """structured answers that nobody agreed on, of absurd lengths"""
    lies(tmp, lambda s, conn, c: conn.sendall(struct.pack(">IHHQI", 0x668e33ef, 1, 1, c[1], 0xffffffff)), 2)


def test_shrinks(tmp):
    """an export that is smaller after a break is not used; one that is as it was, is"""
    s, m, disk = toy(tmp)
    want(disk.dma(100, 8) == FINE + (4,), "before")
    s.size, s.answer = 100 * 512, lambda s, conn, c: conn.shutdown(socket.SHUT_RDWR)
    want(disk.dma(50, 8)[0] & 1, "no error")
    m.logged("there is no server of .*smaller than it was")
    s.size, s.answer = SECTORS * 512, Toy.good
    want(disk.dma(300, 8) == FINE + (4,), "after")
    m.end()


def test_silent(tmp):
    """a server that never answers: xendm ends when it is told to"""
    s, m, disk = toy(tmp)
    want(disk.dma(100, 8) == FINE + (4,), "before")
    s.answer = lambda s, conn, c: None
    m.cpu.do("outl 0x%x 0x%x" % (disk.bm + 4, disk.prd))
    disk.command(0xc8, 300, 8)
    m.cpu.do("outb 0x%x 9" % disk.bm)
    m.qmp.ok("query-status")
    want(m.cpu.do("inb 0x3f6") & 0x80, "it does not wait")
    m.end(leaks=True)
    m.logged("1 disk requests do not come back")


TESTS = [test_qcow2, test_cache, test_vpc, test_qed, test_vmdk, test_names, test_idle, test_lock, test_absent, test_killed_clean, test_killed_dirty,
         test_killed_for_good, test_keeper_calls, test_stopped, test_update, test_migration, test_restricted, test_change, test_change_slow,
         test_change_restricted, test_change_backing, test_nbd, test_https, test_toy, test_sizes, test_read_only, test_hello, test_error,
         test_cookies, test_short, test_magic, test_structured, test_shrinks, test_silent]

if __name__ == "__main__":
    sys.exit(tap([t for t in TESTS if not sys.argv[1:] or t.__name__ in sys.argv[1:]]))
