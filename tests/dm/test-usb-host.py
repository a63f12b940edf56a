#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""usb-host on xenemu: devices of the host, which are this test's (tests/kit/usb.py), behind an emulated UHCI: from the command line
and by QMP as libxl sends it, at whatever speed; a live update and a restore; devices and processes that go."""
import os
import signal
import struct
import sys
import tempfile

sys.dont_write_bytecode = True     # the source tree stays clean
SOURCE = os.environ.get("XENDM_SRCDIR") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path.insert(0, os.path.join(SOURCE, "tests/faults"))
sys.path.insert(0, os.path.join(SOURCE, "tests/kit"))
import usb     # noqa: E402
from client import sanitized     # noqa: E402, found through faults
from faults import XENDM, Machine, processes, tap, until, want     # noqa: E402

BUILD = os.path.dirname(XENDM)
HELPER = os.environ.get("XENDM_USB") or BUILD + "/backends/usb/xendm-usb"
LIBRARY = os.environ.get("XENDM_FAKE_LIBUSB") or BUILD + "/tests/dm/libusb/libusb-1.0.so.0"
SLOT = "01.2"       # of -usb


def fast(name, speed=usb.HIGH, interrupt=8):
    """A device with large packets."""
    size = 512 if speed == usb.HIGH else 1024
    device = bytes([18, 1, 0, 2 if speed == usb.HIGH else 3, 0, 0, 0, 64 if speed == usb.HIGH else 9])
    configuration = (bytes([9, 2, 46, 0, 1, 1, 0, 0x80, 50]) + bytes([9, 4, 0, 0, 3, 0xff, 0, 0, 0])
                     + struct.pack("<BBBBHB", 7, 5, 0x81, 3, interrupt, 8) + struct.pack("<BBBBHB", 7, 5, 0x82, 2, size, 0)
                     + struct.pack("<BBBBHB", 7, 5, 0x02, 2, size, 0))
    return usb.Device(name, speed, device + usb.DEVICE_DESCRIPTOR[8:], configuration)


class Guest:
    """A guest with one controller, and its driver; `devices` are plugged into the host as 1-1, 1-2, …"""

    def __init__(self, tmp, *devices, args=("-usb",), slot=SLOT, options=(), driver=True):
        tmp = tempfile.mkdtemp(dir=tmp)
        self.host = usb.Host(tmp, LIBRARY, HELPER)
        for n, device in enumerate(devices, 1):
            self.host.plug("1-%d" % n, 1, 10 + n, device)
        asan = os.environ.get("ASAN_OPTIONS", "")
        if "--restrict" in options:     # the look for leaks wants /proc
            os.environ["ASAN_OPTIONS"] = asan + ":detect_leaks=0"
        try:
            self.machine = Machine(tmp, *options, "--", *args, vga="none")
        finally:
            os.environ["ASAN_OPTIONS"] = asan
        self.cpu, self.qmp = self.machine.cpu, self.machine.qmp
        self.hc = usb.Uhci(self.cpu, slot) if driver else None

    def xs(self, tool, *args):
        return self.machine.xs(tool, *args)

    def attach(self, where, address, port=1, text=True, **more):
        """As libxl does it: its own list, then QMP."""
        self.xs("write", "/libxl/1/device/vusb/0/port/%d" % port, where)
        number = str if text else int
        return self.qmp.ask("device_add", driver="usb-host", id="xenusb-1-%d" % address, bus="xenusb-0.0", port=str(port),
                            hostbus=number(1), hostaddr=number(address), **more)

    def controller(self):
        """As `xl usbctrl-attach type=devicemodel version=1`."""
        self.qmp.ok("device_add", driver="piix3-usb-uhci", id="xenusb-0")
        self.slot = {d["qdev_id"]: d["slot"] for d in self.qmp.ok("query-pci")[0]["devices"]}["xenusb-0"]
        self.hc = usb.Uhci(self.cpu, "%02x.0" % self.slot)

    def end(self):
        self.machine.end()


def configure(hc, device=usb.DEVICE_DESCRIPTOR, configuration=usb.CONFIGURATION, port=1):
    """As any system begins with a device."""
    hc.await_port(True, port)
    want(hc.changed(port), "no change of the port")
    hc.reset(port)
    want(hc.control(0x80, 6, 0x100, 0, 8) == (0, device[:8]), "8 bytes of the device descriptor")
    want(hc.control(0, 5, 1) == (0, b""), "SET_ADDRESS")
    got = hc.control(0x80, 6, 0x100, 0, 18, 1)
    want(got == (0, device), "the device descriptor", got)
    got = hc.control(0x80, 6, 0x200, 0, 255, 1)
    want(got == (0, configuration), "the configuration", got)
    want(hc.control(0, 9, 1, address=1) == (0, b""), "SET_CONFIGURATION")


def loop_back(hc, data):
    for at in range(0, len(data), 4096):
        part = data[at:at + 4096]
        error, _ = hc.bulk(0x02, part)
        want(error == 0, "what was sent:", hex(error))
        got = hc.bulk(0x82, len(part))
        want(got == (0, part), "what came back of", len(part), "bytes:", hex(got[0]), len(got[1]))


def helpers(where):
    return processes("xendm-usb", where)


def helper_of(where):
    found = helpers(where)
    want(len(found) == 1, "processes:", found)
    return found[0]


def test_device(tmp):
    """By -usbdevice host:BUS.ADDRESS: enumerated, configured; control, bulk and interrupt; given back to the host in the end."""
    device = usb.Device("loop")
    g = Guest(tmp, device, args=("-usb", "-usbdevice", "host:1.11"))
    hc = g.hc
    configure(hc)
    want(hc.control(0x80, 6, 0x302, 0x409, 255, 1)[1] == usb.string_descriptor("loopback"), "the string")
    want(hc.control(0x80, 6, 0x305, 0x409, 255, 1)[0] & usb.STALLED_TD, "a string that is not there")
    want(hc.control(0x40, 1, data=b"v" * 150, address=1) == (0, b""), "a vendor's request")
    want(hc.control(0xc0, 1, length=200, address=1) == (0, b"v" * 150), "and its answer")
    want(hc.control(1, 11, 0, 0, address=1) == (0, b"") and device.asked(usb.SET_INTERFACE), "SET_INTERFACE")
    want(hc.control(0, 5, 200, address=1)[0] & usb.STALLED_TD, "an address that is none")
    device.loop = b""
    for length in (1, 63, 64, 65, 128, 500, 4096):
        loop_back(hc, os.urandom(length))
    loop_back(hc, os.urandom(20000))
    pids = hc.bulk(0x81, 8, wait=False)
    want(hc.finish(pids, .05) is None, "there is nothing to report")
    device.report(b"12345678")
    want(hc.finish(pids) == (0, b"12345678"), "the report")
    device.stall(0x82)
    want(hc.bulk(0x82, 64)[0] & usb.STALLED_TD, "a halted endpoint")
    want(hc.control(2, 1, 0, 0x82, address=1) == (0, b"") and device.asked(usb.CLEAR_HALT)[-1][1] == 0x82, "CLEAR_FEATURE")
    loop_back(hc, b"again")
    text = g.qmp.hmp("info usb")
    want("Speed 12 Mb/s, Product 1234:5678, of the host's 1:11" in text, text)
    want(device.driver == set() and device.asked(usb.DETACH), "the host's driver has it still")
    g.end()
    device.await_asked("end")
    want(device.driver == {0}, "the host's driver does not have it back")


def test_libxl(tmp):
    """usbctrl and usbdev as libxl sends them, before 4.19 and since; what its list does not have is not opened; device_del."""
    one, two = usb.Device("one"), usb.Device("two")
    g = Guest(tmp, one, two, args=(), driver=False)
    g.controller()
    want("return" in g.attach("1-1", 11), "attaching")
    configure(g.hc)
    loop_back(g.hc, b"hello")
    want("return" in g.attach("1-2", 12, port=2, text=False), "attaching by numbers")
    g.hc.await_port(True, 2)
    g.qmp.ok("device_del", id="xenusb-1-11")
    g.hc.await_port(False)
    one.await_asked("end")
    want(one.driver == {0} and g.hc.changed(), "it was not given back")
    answer = g.qmp.ask("device_del", id="xenusb-1-11")
    want(answer["error"]["class"] == "DeviceNotFound", answer)
    g.qmp.ok("device_del", id="xenusb-0")
    g.cpu.do("outl 0xae08 0x%x" % (1 << g.slot))       # the guest agrees
    two.await_asked("end")
    g.end()


def test_refused(tmp):
    """What cannot be is said, and leaves nothing."""
    device = usb.Device("loop")
    g = Guest(tmp, device, args=(), driver=False)
    g.controller()
    for args, word in (({}, "hostbus and hostaddr"), ({"hostbus": 1}, "hostbus and hostaddr"), ({"hostbus": 1, "hostport": "x"}, "hostport"),
                       ({"hostbus": 1, "hostaddr": 300}, "hostaddr"), ({"hostdevice": "/dev/bus/usb/001/011"}, "hostdevice"),
                       ({"hostbus": 1, "hostaddr": 11, "isobsize": 3}, "isobsize"), ({"hostbus": 1, "hostaddr": 11}, "1:11")):
        answer = g.qmp.ask("device_add", driver="usb-host", id="x", **args)
        want("error" in answer and word in answer["error"]["desc"], args, answer)
    want("not USB" not in g.machine.log() and not helpers("1:11"), "something is left")
    answer = g.attach("1-7", 17)
    want("error" in answer and "1:17" in answer["error"]["desc"], answer)
    want("return" in g.attach("1-1", 11), "attaching")
    g.end()


def test_ids(tmp):
    """By vendor and product; by port; with ids that are not the device's."""
    g = Guest(tmp, usb.Device("one"), usb.Device("two"), args=(
        "-usb", "-usbdevice", "host:1234:5678", "-device", "usb-host,hostbus=1,hostport=2,vendorid=0x9999"))
    configure(g.hc)
    g.machine.await_log("1-2 is 1234:5678, which is not what is asked for")
    until(lambda: not helpers("1-2"), "a process of what is not wanted")
    want(g.hc.port(2) & 1 == 0, "the other one is there")
    g.end()


def test_fast(tmp):
    """A high-speed device behind UHCI has the descriptors of a full-speed one, and sees whole transfers; one that cannot is refused."""
    device = fast("fast")
    g = Guest(tmp, device, fast("wide", interrupt=512), args=(
        "-usb", "-usbdevice", "host:1.11", "-usbdevice", "host:1.12"))
    seen = usb.CONFIGURATION[:24] + bytes([16]) + usb.CONFIGURATION[25:]
    configure(g.hc, device.descriptor, seen)
    want(g.hc.control(0x80, 6, 0x600, 0, 10, 1)[0] & usb.STALLED_TD, "a qualifier")
    for length in (1, 64, 512, 513, 640, 1024, 4000):
        before = len(device.asked(usb.SUBMIT))
        loop_back(g.hc, os.urandom(length))
        written = [len(e[4]) for e in device.asked(usb.SUBMIT)[before:] if e[3] == 2]
        want(written == [length], length, "bytes were written as", written)
    device.feed(b"x" * 128)        # a short packet for the device, two full ones for the guest
    want(g.hc.bulk(0x82, 1024) == (0, b"x" * 128), "what is shorter than was asked for")
    device.feed(b"y" * 128)
    want(g.hc.bulk(0x82, 128) == (0, b"y" * 128), "what is not")
    device.feed(b"z" * 13)
    want(g.hc.bulk(0x82, 13) == (0, b"z" * 13), "what is behind it")
    g.machine.await_log("1:12 has high speed, and cannot be slower.*nec-usb-xhci")
    until(lambda: not helpers("1:12"), "a process of what is refused")
    want(g.hc.port(2) & 1 == 0, "it is there all the same")
    g.end()


def test_super(tmp):
    """A SuperSpeed device, too."""
    device = fast("super", usb.SUPER)
    g = Guest(tmp, device, args=("-usb", "-usbdevice", "host:1.11"))
    seen = device.descriptor[:2] + bytes([0, 2]) + device.descriptor[4:7] + bytes([64]) + device.descriptor[8:]
    configure(g.hc, seen, usb.CONFIGURATION[:24] + bytes([16]) + usb.CONFIGURATION[25:])
    loop_back(g.hc, os.urandom(6000))
    g.end()


def test_plain(tmp):
    """A driver that says nothing of where its transfers end, as SeaBIOS: what was collected goes out all the same."""
    device = usb.Device("loop")
    g = Guest(tmp, device, args=("-usb", "-usbdevice", "host:1.11"))
    configure(g.hc)
    g.hc.plain = True
    for length in (31, 64, 512, 4096):
        data = os.urandom(length)
        want(g.hc.bulk(0x02, data) == (0, b""), "what was sent")
        until(lambda: len(device.loop) == length, "it did not arrive")
        want(g.hc.bulk(0x82, length) == (0, data), "what came back")
    g.end()


def test_cancel(tmp):
    """Transfers that the guest takes back, of a device that does not answer; another one after it."""
    device = usb.Device("loop")
    g = Guest(tmp, device, args=("-usb", "-usbdevice", "host:1.11"))
    configure(g.hc)
    device.silent = True
    pids = g.hc.bulk(0x02, b"never", wait=False)
    want(g.hc.finish(pids, .05) is None, "an answer of a silent device")
    g.hc.cancel()
    pids = g.hc.begin([(usb.SETUP, 1, 0, struct.pack("<BBHHH", 0xc0, 1, 0, 0, 8), False), (usb.IN, 1, 0, 8, False)])
    want(g.hc.finish(pids, .05) is None, "an answer of a silent device")
    g.hc.cancel()
    device.silent = False
    loop_back(g.hc, b"and again")
    want(g.hc.control(0x80, 6, 0x100, 0, 18, 1) == (0, usb.DEVICE_DESCRIPTOR), "the device descriptor")
    for _ in range(20):     # more than there are slots
        pids = g.hc.bulk(0x81, 8, wait=False)
        g.hc.finish(pids, .003)
        g.hc.reset()
        want(g.hc.control(0, 5, 1) == (0, b"") and g.hc.control(0, 9, 1, address=1) == (0, b""), "after a reset")
    want(not device.flying, "requests that nobody waits for", device.flying)
    loop_back(g.hc, b"and again")
    g.end()


def test_goes(tmp):
    """The device is pulled out, or its process killed, or lies: the guest sees an unplug, and the rest goes on."""
    for how in ("killed", "pulled", "lies"):
        device = usb.Device(how)
        g = Guest(tmp, device, args=("-usb", "-usbdevice", "host:1.11"))
        configure(g.hc)
        g.hc.bulk(0x82, 64, wait=False)
        until(lambda: device.flying, "nothing is asked of the device")
        if how == "killed":
            os.kill(helper_of("1:11"), signal.SIGKILL)
        elif how == "pulled":
            device.pull_out()
        else:
            device.lies = 1000000
            g.hc.cancel()
            g.hc.bulk(0x02, b"x" * 64, wait=False)
        g.hc.await_port(False)
        want(g.hc.changed(), how, "no change of the port")
        g.machine.await_log("1:11 is gone")
        want("return" in g.qmp.ask("query-status"), "the monitor")
        want("gone" in g.qmp.hmp("info device usb-host"), g.qmp.hmp("info device usb-host"))
        g.end()


def test_update(tmp):
    """A live update, of one from the command line and one that was plugged: the process stays, and what is in flight with it."""
    for plugged in (False, True):
        device = usb.Device("loop%d" % plugged)
        g = Guest(tmp, device, args=() if plugged else ("-usb", "-usbdevice", "host:1.11"), driver=not plugged)
        if plugged:
            g.controller()
            want("return" in g.attach("1-1", 11), "attaching")
        configure(g.hc)
        pid = helper_of("1:11")
        for n in range(5):
            pids = g.hc.bulk(0x82, 300, wait=False)
            until(lambda: device.flying, "nothing is asked of the device")
            want("return" in g.qmp.ask("xendm-update"), "an update", g.machine.log()[-2000:])
            device.feed(b"round %03d" % n * 10)
            want(g.hc.finish(pids) == (0, b"round %03d" % n * 10), "what came back", n)
            loop_back(g.hc, os.urandom(1000))
        want(helper_of("1:11") == pid, "another process")
        want(len(device.asked(usb.WRAP)) == 1 and not g.hc.changed(), "it was opened anew, or the guest saw it")
        device.pull_out()
        g.hc.await_port(False)
        want("return" in g.qmp.ask("xendm-update"), "an update without it", g.machine.log()[-2000:])
        want(not g.hc.port() & 1, "it is there again")
        g.end()


def test_restored(tmp):
    """A saved machine, restored where the host has the device: the guest sees it unplugged and plugged in."""
    device = usb.Device("loop")
    g = Guest(tmp, device, args=("-usb", "-usbdevice", "host:1.11"))
    configure(g.hc)
    loop_back(g.hc, b"hello")
    g.qmp.ok("stop")
    with open(tmp + "/state", "wb") as file:
        g.qmp.ok("add-fd", fd=file.fileno(), **{"fdset-id": 1})
        g.qmp.ok("xen-save-devices-state", filename="/dev/fdset/1", live=False)
    g.end()
    device.await_asked("end")
    for options in ((), ("--restrict",)):
        g = Guest(tmp, device, args=("-usb", "-usbdevice", "host:1.11"), driver=False,
                  options=("--incoming", tmp + "/state") + options)
        g.qmp.ok("cont")
        until(lambda: g.cpu.do("inw 0xc410") & 7 == 3, "the port does not say that something came, and is not enabled")
        g.hc = usb.Uhci(g.cpu, SLOT)
        configure(g.hc)
        loop_back(g.hc, b"hello again")
        g.end()


def test_restricted(tmp):
    """With dm_restrict it is opened before; no other one comes."""
    device = usb.Device("loop")
    g = Guest(tmp, device, usb.Device("two"), args=("-usb", "-usbdevice", "host:1.11"), options=("--restrict",))
    configure(g.hc)
    loop_back(g.hc, b"hello")
    answer = g.qmp.ask("device_add", driver="usb-host", hostbus=1, hostaddr=12)
    want("error" in answer and "1:12" in answer["error"]["desc"], answer)
    g.end()


def test_confined(tmp):
    """The daemon has no libusb."""
    g = Guest(tmp, usb.Device("loop"), args=("-usb", "-usbdevice", "host:1.11"))
    configure(g.hc)
    with open("/proc/%d/maps" % g.machine.pid()) as f:
        want("libusb" not in f.read(), "libusb is in the daemon")
    with open("/proc/%d/status" % helper_of("1:11")) as f:
        status = {key: value.strip() for key, _, value in (line.partition(":") for line in f)}
    if not sanitized() and os.getuid() == 0:
        want(status["Seccomp"] == "2" and int(status["CapEff"], 16) == 0, status["Seccomp"], status["CapEff"])
    g.end()


want(os.path.exists(LIBRARY), "there is no", LIBRARY)
TESTS = [test_device, test_libxl, test_refused, test_ids, test_fast, test_super, test_plain, test_cancel, test_goes, test_update, test_restored, test_restricted,
         test_confined]
sys.exit(tap([t for t in TESTS if not sys.argv[1:] or t.__name__ in sys.argv[1:]]))
