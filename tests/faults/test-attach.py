#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""PV disks that the toolstack adds while the guest runs (xl block-attach) and those of image formats: opened behind the
sandbox line, because the toolstack has them in xenstore, and only then. The test is toolstack and front end. TAP."""
import glob
import http.server
import os
import shutil
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True     # the source tree stays clean
from faults import PATIENCE, Machine, Skip, image, tap, want
from client import sanitized     # noqa: E402, found through faults
from front import WRITE, Front

SECTORS = 2048


def qcow2(tmp, name="attached.qcow2"):
    for tool in ("qemu-storage-daemon", "qemu-nbd", "qemu-img"):
        if not shutil.which(tool):
            raise Skip("there is no " + tool)
    path = os.path.join(tmp, name)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", image(tmp + "/plain", SECTORS * 512), path], check=True)
    return path


def convert(path, to):
    """Once its server has ended, which follows the disk's end."""
    deadline = time.monotonic() + PATIENCE
    while subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, to], stderr=subprocess.DEVNULL, check=False).returncode:
        want(time.monotonic() < deadline, path, "is in use still")
        time.sleep(.05)


def number(path, sector):
    with open(path, "rb") as f:
        f.seek(sector * 512)
        return int.from_bytes(f.read(4), "little")


def test_raw(tmp):
    """a raw disk is added, written to and taken away; its image is free then; and added again"""
    path = image(tmp + "/attached", SECTORS * 512)
    os.chmod(path, 0o600)
    m = Machine(tmp)
    for turn in (1, 2):
        disk = Front(m, 51728).add("aio:" + path).state(2).connect()
        want(disk.read(77) == 77, "sector 77")
        disk.put(100, 4711 + turn)
        want(number(path, 100) == 4711 + turn, "in the image")
        disk.remove()
    m.end()


def test_read_only(tmp):
    """a disk for reading is, and one that the toolstack has for reading is not opened for writing"""
    path = image(tmp + "/attached", SECTORS * 512)
    os.chmod(path, 0o600)
    m = Machine(tmp)
    disk = Front(m, 51728).add("aio:" + path, mode="r").state(2).connect()
    want(disk.read(5) == 5 and disk.request(WRITE, 5) != 0, "what it lets be done")
    disk.remove()
    m.end()


def test_refused(tmp):
    """what is not there, is no image, or of a format that nobody serves: one line each, and the guest goes on"""
    m = Machine(tmp)
    for name, params, why in ((51728, "aio:/nonexistent/a", "No such file"), (51744, "aio:/dev/zero", "neither a file nor"),
                              (51760, "qcow:/nonexistent/b", "image format of 'qcow:/nonexistent/b'"),
                              (51776, "aio:", "no image")):
        Front(m, name).add(params).state(6)
        m.logged("qdisk %d cannot be served: .*%s" % (name, why), 1)
    Front(m, 51728).write("/local/domain/0/backend/qdisk/1/51728/params", "aio:" + image(tmp + "/now", 1 << 20))
    Front(m, 51728).state(2)
    m.end()


def test_locked(tmp):
    """an image that somebody else has is refused in one line"""
    path = qcow2(tmp)
    m = Machine(tmp, "--disk", image(tmp + "/hda", SECTORS * 512))
    Front(m, 51728).add("aio:" + tmp + "/hda").state(2)     # its own: the emulated one's other side
    sub = os.path.join(tmp, "other")
    os.mkdir(sub)
    other = Machine(sub, "--disk", path)
    Front(m, 51744).add("aio:" + path).state(6)
    m.logged(r"qdisk 51744 cannot be served: .*attached\.qcow2.*another process has it open", 1)
    other.end()
    m.end()


def test_twin(tmp):
    """an emulated disk of the format qcow2 is the same drive to the PV drivers: opened once, and theirs when it is unplugged"""
    path = qcow2(tmp)
    m = Machine(tmp, "--", "-drive", "file=%s,if=ide,index=0,media=disk,format=qcow2,cache=writeback" % path)
    disk = Front(m, 768).add("qcow2:" + path).state(2).connect()
    want(disk.read(1999) == 1999, "sector 1999")
    m.logged("qdisk 768: is the drive")
    m.cpu.do("outw 0x10 1")
    m.await_log("ide0-hd0: unplugged by the guest")
    want(disk.read(1998) == 1998, "sector 1998, after the unplug")
    m.qmp.ok("xendm-update")
    want(disk.read(1997) == 1997, "sector 1997, after an update")
    disk.remove()
    m.end()


def test_format(tmp):
    """a PV disk of the format qcow2 that was there at the start; one more later"""
    path, later = qcow2(tmp), qcow2(tmp, "later.qcow2")
    os.chmod(path, 0o600)
    m = Machine(tmp, "--xenstore", "/local/domain/0/backend/qdisk/1/51728/params=qcow2:" + path)
    for devid, name in ((51728, path), (51744, later)):
        disk = Front(m, devid).add("qcow2:" + name).state(2).connect()
        want(disk.read(1234) == 1234, "sector 1234")
        disk.put(1000, 4711)
        disk.remove()
        convert(name, tmp + "/out")
        want(number(tmp + "/out", 1000) == 4711, "in the image")
    m.end()


def test_late_format(tmp):
    """one of the format qcow2 may come at any time; the first behind NBD is refused in one line, which says what to do; that helps"""
    if sanitized():
        raise Skip("a build with sanitizers has no sandbox")
    path = qcow2(tmp)
    m = Machine(tmp)
    disk = Front(m, 51744).add("qcow2:" + path).state(2).connect()
    want(disk.read(99) == 99, "sector 99")
    disk.remove()
    server = subprocess.Popen(["qemu-nbd", "-f", "qcow2", "-k", tmp + "/nbd", "-t", path])
    while not os.path.exists(tmp + "/nbd"):
        want(server.poll() is None, "no server")
        time.sleep(.01)
    Front(m, 51728).add("raw:nbd:unix:" + tmp + "/nbd").state(6)
    m.logged("qdisk 51728 cannot be served: .*xendmctl update", 1)
    m.qmp.ok("xendm-update")
    disk = Front(m, 51728).state(2).connect()
    want(disk.read(99) == 99, "sector 99")
    m.qmp.ok("xendm-update")
    want(disk.read(98) == 98, "sector 98, after another update")
    disk.remove()
    m.end()
    server.kill()
    server.wait()


class Web(http.server.BaseHTTPRequestHandler):
    """One file, of which parts may be asked for."""
    protocol_version = "HTTP/1.1"
    data = b"".join(i.to_bytes(4, "little") * 128 for i in range(SECTORS))
    asked = 0

    def do_HEAD(self):
        self.reply(200, self.data, False)

    def do_GET(self):
        Web.asked += 1
        first, last = (self.headers.get("Range") or "bytes=0-").split("=")[1].split("-")
        first, last = int(first), min(int(last or len(self.data) - 1), len(self.data) - 1)
        self.reply(206, self.data[first:last + 1], True, "bytes %d-%d/%d" % (first, last, len(self.data)))

    def reply(self, status, data, body, part=None):
        self.send_response(status)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        if part:
            self.send_header("Content-Range", part)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *args):
        pass


def test_web(tmp):
    """a disk for reading that a web server has (http: here; https: is the same driver of the image server's)"""
    if not shutil.which("qemu-nbd") or not glob.glob("/usr/lib/*/qemu/block-curl.so"):
        raise Skip("there is no curl for qemu-nbd (Debian: qemu-block-extra)")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        params = "aio:http://127.0.0.1:%d/disk.img" % server.server_port
        m = Machine(tmp, "--xenstore", "/local/domain/0/backend/qdisk/1/51728/params=" + params)
        disk = Front(m, 51728).add(params, mode="r").state(2).connect()
        for sector in (0, 1000, SECTORS - 1):
            want(disk.read(sector) == sector, "sector", sector)
        want(Web.asked > 0 and disk.request(WRITE, 5) != 0, "what it lets be done")
        disk.remove()
        m.end()
        server.shutdown()


sys.exit(tap([test_raw, test_read_only, test_refused, test_locked, test_twin, test_format, test_late_format, test_web], Machine))
