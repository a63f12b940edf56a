#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qusb on xenemu: a PV USB host controller with devices of the host, which are this test's (tests/kit/usb.py): what a guest may do
with them, what a device, its process and a front end may do that nobody expects, and a live update under it all."""
import os
import signal
import struct
import sys
import time

sys.dont_write_bytecode = True     # the source tree stays clean
SOURCE = os.environ.get("XENDM_SRCDIR") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path.insert(0, os.path.join(SOURCE, "tests/faults"))
sys.path.insert(0, os.path.join(SOURCE, "tests/kit"))
import usb     # noqa: E402
from client import sanitized     # noqa: E402, found through faults
from faults import NODE, XENDM, Machine, processes, tap, until, want     # noqa: E402

BUILD = os.path.dirname(XENDM)
HELPER = os.environ.get("XENDM_USB") or BUILD + "/backends/usb/xendm-usb"
LIBRARY = os.environ.get("XENDM_FAKE_LIBUSB") or BUILD + "/tests/dm/libusb/libusb-1.0.so.0"
BACK, FRONT = "/local/domain/0/backend/qusb/1/0", "/local/domain/1/device/vusb/0"


class Guest:
    """Toolstack and front end of a guest with one controller; `devices` are plugged into the host as 1-1, 1-2, …"""

    def __init__(self, tmp, *devices, version=2, count=4, connect=True, into=1, options=("--pv",)):
        self.tmp = tmp
        self.host = usb.Host(tmp, LIBRARY, HELPER)
        for n, device in enumerate(devices, 1):
            self.host.plug("1-%d" % n, 1, 10 + n, device)
        self.machine = Machine(tmp, *options)
        self.cpu, self.qmp, self.front, self.page = self.machine.cpu, self.machine.qmp, None, 0x100
        self.write(FRONT, backend=BACK, backend_id=0, state=1)
        self.write(BACK, frontend=FRONT, frontend_id=1, usb_ver=version, num_ports=count, online=1, state=1, port="", type="qusb",
                   **{"port/%d" % n: "1-%d" % n if n <= into and devices else "" for n in range(1, count + 1)})
        if connect:
            self.await_state(2)
            self.connect()

    def xs(self, tool, *args):
        return self.machine.xs(tool, *args)

    def write(self, directory, **keys):
        self.xs("write", *[w for key, value in keys.items() for w in (directory + "/" + key.replace("_", "-"), str(value))])

    def put_into(self, port, where):
        self.write(BACK, **{"port/%d" % port: where})

    def await_state(self, state):
        until(lambda: self.xs("read", BACK + "/state") == str(state), "it is not in state", state, "but", self.xs("read", BACK + "/state"))

    def connect(self, events=64):
        self.front = usb.Front(self.cpu, self.page)
        self.page += 0x60
        self.write(FRONT, **{"urb-ring-ref": self.front.urbs.ref, "conn-ring-ref": self.front.conns.ref, "event-channel": self.front.port})
        self.write(FRONT, state=4)
        self.await_state(4)
        self.front.offer_events(events)

    def disconnect(self):
        self.write(FRONT, state=6)
        self.await_state(6)

    def reconnect(self, events=64):
        self.disconnect()
        self.write(FRONT, state=1)
        self.await_state(2)
        self.connect(events)

    def plugged(self, port=1, speed=usb.FULL):
        got = self.front.event()
        want(got == (port, speed), "the event is", got, "not", (port, speed), self.machine.log()[-2000:])

    def end(self):
        self.machine.end(leaks=True)       # ports and grants are Xen's to take back


def configure(f, address=5, port=1):
    """As any system begins with a device."""
    want(f.control(0, 5, address, port=port) == (usb.OK, 0), "SET_ADDRESS")
    want(f.control(0x80, 6, 0x100, 0, 18, port, address) == (usb.OK, usb.DEVICE_DESCRIPTOR), "the device descriptor")
    status, got = f.control(0x80, 6, 0x200, 0, 255, port, address)
    want((status, got) == (usb.OK, usb.CONFIGURATION), "the configuration", status, got)
    want(f.control(0, 9, 1, port=port, address=address) == (usb.OK, 0), "SET_CONFIGURATION")


def loop_back(f, data, address=5):
    want(f.bulk(0x02, data=data, address=address) == (usb.OK, len(data)), "what was sent")
    status, got = f.bulk(0x82, len(data), address=address)
    want(status == usb.OK and got == data, "what came back:", status, len(got))


def test_device(tmp):
    """Plugged, addressed, configured; control, bulk and interrupt requests; given back to the host in the end."""
    device = usb.Device("loop")
    g = Guest(tmp, device)
    g.plugged()
    f = g.front
    configure(f)
    want(f.control(0x80, 6, 0x302, 0x409, 255, address=5)[1] == usb.string_descriptor("loopback"), "the string")
    want(f.control(0x80, 6, 0x305, 0x409, 255, address=5)[0] == usb.STALLED, "a string that is not there")
    want(f.control(0x40, 1, data=b"vendor data", address=5) == (usb.OK, 11), "a vendor's request")
    want(f.control(0xc0, 1, length=64, address=5) == (usb.OK, b"vendor data"), "and its answer")
    want(f.control(1, 11, 0, 0, address=5) == (usb.OK, 0) and device.asked(usb.SET_INTERFACE), "SET_INTERFACE")
    device.loop = b""
    loop_back(f, b"hello")
    loop_back(f, os.urandom(60000))
    number = f.bulk(0x81, 8, address=5, wait=False, kind=usb.INT_TYPE)
    want(f.answer(number, .05) is None, "there is nothing to report")
    device.report(b"12345678")
    want(f.answer(number) == (usb.OK, 8) and f.read(8) == b"12345678", "the report")
    device.stalls.add(0x82)
    want(f.bulk(0x82, 64, address=5)[0] == usb.STALLED, "a halted endpoint")
    want(f.control(2, 1, 0, 0x82, address=5) == (usb.OK, 0) and (usb.CLEAR_HALT, 0x82) in [e[:2] for e in device.log], "CLEAR_FEATURE")
    loop_back(f, b"again")
    info = g.qmp.hmp("info pv")
    want("port 1: 1-1" in info, info)
    want(device.driver == set() and device.asked(usb.DETACH), "the host's driver has it still")
    g.put_into(1, "")
    g.plugged(speed=0)
    device.await_asked("end")
    want(device.driver == {0}, "the host's driver does not have it back")
    want(f.bulk(0x02, data=b"x", address=5)[0] == usb.NODEV, "a request for nothing")
    g.end()


def test_confined(tmp):
    """The process is nobody, behind a filter, and has the device, two sockets and memory; the daemon has no libusb."""
    g = Guest(tmp, usb.Device("loop"))
    g.plugged()
    pid = helper_of("1-1")
    with open("/proc/%d/status" % pid) as f:
        status = {key: value.strip() for key, _, value in (line.partition(":") for line in f)}
    with open("/proc/%d/maps" % g.machine.pid()) as f:
        want("libusb" not in f.read(), "libusb is in the daemon")
    if not sanitized() and os.getuid() == 0:
        want(status["Seccomp"] == "2" and status["NoNewPrivs"] == "1", status["Seccomp"], status["NoNewPrivs"])
        want(set(status["Uid"].split()) == {"65534"} and int(status["CapEff"], 16) == 0, status["Uid"], status["CapEff"])
    files = sorted(os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid) if int(fd) > 2)
    want(len(files) == 3 and files[0].endswith("/dev/bus/usb/001/011"), files)
    g.end()


def test_addresses(tmp):
    """Ports, by number and by the address that the guest gave; speeds; what is too fast; what is none."""
    devices = usb.Device("one", usb.LOW), usb.Device("two"), usb.Device("three", usb.HIGH), usb.Device("four", usb.SUPER)
    g = Guest(tmp, *devices, version=1, into=4)
    got = {g.front.event(), g.front.event()}
    want(got == {(1, usb.LOW), (2, usb.FULL)}, "events", got)
    g.machine.await_log("1-3 is too fast")
    g.machine.await_log("1-4 is too fast")
    configure(g.front, 7, port=2)
    configure(g.front, 9, port=1)
    g.front.control(0x40, 1, data=b"of the second", port=0, address=7)
    want(devices[1].loop == b"of the second" and devices[0].loop == b"", "another device has it")
    want(g.front.control(0x80, 6, 0x100, 0, 18, 3, 0)[0] == usb.NODEV, "a port without a device")
    want(g.front.control(0x80, 6, 0x100, 0, 18, 31, 0)[0] == usb.NODEV, "a port that is not there")
    want(g.front.control(0x80, 6, 0x100, 0, 18, 1, 8)[0] == usb.NODEV, "an address that nobody has")
    want(g.front.control(0, 5, 200, port=1)[0] == usb.STALLED, "an address that is none")
    for where in ("9-9", "usb1", "../../etc", "1-1:1.0", "1-1.", "x" * 300):
        g.put_into(3, where)
    g.machine.await_log("no USB device")
    want("return" in g.qmp.ask("query-status"), "the monitor")
    g.end()


def test_hotplug(tmp):
    """Into ports and out of them while the guest runs; another device in the same port; events that wait for room."""
    one, two = usb.Device("one"), usb.Device("two", usb.HIGH)
    g = Guest(tmp, one, two, into=0)
    want(g.front.event(.05) is None, "an event of nothing")
    g.put_into(2, "1-1")
    g.plugged(2)
    number = g.front.bulk(0x81, 8, port=2, wait=False, kind=usb.INT_TYPE)
    one.await_asked(usb.SUBMIT)
    g.put_into(2, "1-2")
    g.plugged(2, 0)
    g.plugged(2, usb.HIGH)
    want(g.front.answer(number) == (usb.NODEV, 0), "a request of the device before")
    one.await_asked("end")
    g.reconnect(events=0)
    want(g.front.event(.1) is None, "an event that nobody asked for")
    g.front.offer_events(1)
    g.plugged(2, usb.HIGH)
    g.put_into(2, "")
    two.await_asked("end")
    g.put_into(2, "1-1")
    one.await_asked(usb.RESET, 2)
    g.front.offer_events(2)
    g.plugged(2, 0)
    g.plugged(2, usb.FULL)
    g.write(BACK, online=0, state=5)
    g.disconnect()
    g.xs("rm", BACK)
    one.await_asked("end", 2)
    g.end()


def test_unlink(tmp):
    """Requests that are taken back; of what is not there; whose device never answers."""
    device = usb.Device("loop")
    g = Guest(tmp, device)
    g.plugged()
    f = g.front
    configure(f)
    numbers = [f.bulk(0x82, 100, address=5, wait=False) for _ in range(15)]
    device.await_asked(usb.SUBMIT, 15)
    for number in reversed(numbers):
        want(f.unlink(number) == (usb.OK, 0), "unlinking", number)
        want(f.answer(number) == (usb.SHUTDOWN, 0), "what was unlinked", number)
    for number in (numbers[0], 0, 0xffff):
        want(f.unlink(number) == (usb.OK, 0), "unlinking what is not there")
    loop_back(f, b"hello")
    device.silent = True
    number = f.bulk(0x02, data=b"x", address=5, wait=False)
    want(f.answer(number, .05) is None, "an answer of a silent device")
    f.unlink(number)
    want(f.answer(number) == (usb.SHUTDOWN, 0), "what was unlinked")
    g.end()


def test_hostile(tmp):
    """Requests that contradict themselves are refused; indices that are none end the connection, until it begins anew."""
    device = usb.Device("loop")
    g = Guest(tmp, device)
    g.plugged()
    f = g.front
    configure(f)
    asked = len(device.asked(usb.SUBMIT))
    out, into = usb.pipe(3, 1, 5, 2), usb.pipe(3, 1, 5, 2, True)
    cases = [(usb.INVAL, dict(where=out, length=100, segments=b"")),
             (usb.INVAL, dict(where=out, length=4097, segments=f.segments(4096, f.data))),
             (usb.INVAL, dict(where=out, length=10, segments=struct.pack("<IHH", f.data, 4090, 10))),
             (usb.INVAL, dict(where=out, length=10, segments=struct.pack("<IHH", f.data, 0xffff, 0xffff))),
             (usb.INVAL, dict(where=out, length=10, segments=struct.pack("<IHH", f.data, 0, 0) * 2)),
             (usb.INVAL, dict(where=out, length=65535, nsegs=17)),
             (usb.INVAL, dict(where=out, length=65535, nsegs=0xffff)),
             (usb.INVAL, dict(where=usb.pipe(0, 1, 5, 2), length=10)),          # isochronous
             (usb.INVAL, dict(where=usb.pipe(3, 1, 5, 0), length=10)),          # bulk to endpoint 0
             (usb.INVAL, dict(where=usb.pipe(2, 1, 5, 3), length=10)),          # control to another
             (usb.INVAL, dict(where=usb.pipe(2, 1, 5, 0), length=10, special=struct.pack("<BBHHH", 0x40, 1, 0, 0, 11))),
             (usb.INVAL, dict(where=usb.pipe(2, 1, 5, 0), length=10, special=struct.pack("<BBHHH", 0xc0, 1, 0, 0, 10))),
             (usb.IOERROR, dict(where=out, length=10, segments=struct.pack("<IHH", 0xfffffff0, 0, 10))),
             (usb.OK, dict(where=out, length=0, segments=b""))]
    for status, request in cases:
        number = f.request(**request)
        f.push()
        got = f.answer(number)
        want(got == (status, 0), request, "is answered with", got)
    want(len(device.asked(usb.SUBMIT)) == asked + 1, "the device was asked for one of these", device.log)
    device.loop = b"y" * 64
    number = f.request(into, 64, segments=struct.pack("<IHH", 0xfffffff0, 0, 64))
    f.push()
    want(f.answer(number) == (usb.IOERROR, 0), "a page that is none")
    loop_back(f, b"hello")
    for name, more in (("urbs", 17), ("urbs", 0x80000000), ("urbs", -1), ("conns", 0x7fffffff)):
        ring = getattr(f, name)
        g.cpu.do("writel 0x%x %d" % (ring.base, (ring.prod + more) & 0xffffffff))
        f.ring()
        g.await_state(5)
        g.reconnect()
        g.plugged()
        f = g.front
    configure(f)
    loop_back(f, b"and again")
    want(len(device.asked(usb.WRAP)) == 1, "it was opened anew")
    g.end()


def test_reconnect(tmp):
    """A front end that goes with requests in flight: they are the device's no more, and it is reset for the next one."""
    device = usb.Device("loop")
    g = Guest(tmp, device)
    for n in range(5):
        g.plugged()
        configure(g.front)
        for _ in range(12):
            g.front.bulk(0x82, 1000, address=5, wait=False)
        device.await_asked(usb.SUBMIT, (n + 1) * 12)
        resets = len(device.asked(usb.RESET))
        g.reconnect()
        device.await_asked(usb.RESET, resets + 1)
    g.plugged()
    configure(g.front)
    loop_back(g.front, b"hello")
    want(not device.flying, "requests that nobody waits for", device.flying)
    g.end()


def helper_of(where):
    found = processes("xendm-usb", where)
    want(len(found) == 1, "processes:", found)
    return found[0]


def test_process_ends(tmp):
    """The process is killed, or stopped; the device pulled out, or lies: what was asked fails, the guest sees an unplug."""
    device = usb.Device("loop")
    g = Guest(tmp, device)
    for how in ("killed", "pulled", "lies", "lies in a request"):
        g.plugged()
        configure(g.front)
        number = g.front.bulk(0x82, 64, address=5, wait=False)
        device.await_asked(usb.SUBMIT)
        if how == "killed":
            os.kill(helper_of("1-1"), signal.SIGKILL)
        elif how == "pulled":
            device.pull_out()
        elif how == "lies":
            device.lies = 1000000
            g.front.bulk(0x02, data=b"x" * 64, address=5, wait=False)
        else:
            device.lies = 1000000
            g.front.request(usb.pipe(2, 1, 5, 0, True), 18, struct.pack("<BBHHH", 0x80, 6, 0x100, 0, 18))
            g.front.push()
        g.plugged(speed=0)
        want(g.front.answer(number) == (usb.NODEV, 0), how, "the request")
        want(g.front.bulk(0x02, data=b"x", address=5)[0] == usb.NODEV, how, "one more")
        g.machine.await_log("1-1 is gone")
        device.lies = 0
        g.put_into(1, "")
        time.sleep(.05)
        g.put_into(1, "1-1")
    g.plugged()
    configure(g.front)
    os.kill(helper_of("1-1"), signal.SIGSTOP)
    number = g.front.bulk(0x02, data=b"x", address=5, wait=False)
    want("return" in g.qmp.ask("query-status"), "the monitor")
    want(g.front.unlink(number) == (usb.OK, 0), "unlinking")
    os.kill(helper_of("1-1"), signal.SIGKILL)
    want(g.front.answer(number) == (usb.NODEV, 0), "the request")
    g.end()


def test_update(tmp):
    """A live update: the process stays, and with it what is in flight; nothing is lost or done twice."""
    device = usb.Device("loop")
    g = Guest(tmp, device)
    g.plugged()
    f = g.front
    configure(f)
    pid = helper_of("1-1")
    for n in range(6):
        waits = f.bulk(0x81, 8, address=5, wait=False, page=f.data + 40, kind=usb.INT_TYPE)
        read = f.bulk(0x82, 100, address=5, wait=False, page=f.data + 50)
        device.await_asked(usb.SUBMIT, 2)
        want("return" in g.qmp.ask("xendm-update"), "an update", g.machine.log()[-2000:])
        device.report(b"%08d" % n)
        want(f.answer(waits) == (usb.OK, 8) and f.read(8, f.data + 40) == b"%08d" % n, "the report", n)
        want(f.bulk(0x02, data=b"round %d" % n, address=5) == (usb.OK, 7), "what was sent")
        want(f.answer(read) == (usb.OK, 7) and f.read(7, f.data + 50) == b"round %d" % n, "what came back")
    want(helper_of("1-1") == pid, "another process")
    want(len(device.asked(usb.WRAP)) == 1 and len(device.asked(usb.RESET)) == 1, "it was opened or reset anew")
    written = [e for e in device.asked(usb.SUBMIT) if e[3] == 0x02]
    want(len(written) == 6, "what was sent reached the device", len(written), "times")
    g.qmp.ask("stop")
    number = f.bulk(0x82, 100, address=5, wait=False)
    want(f.answer(number, .1) is None, "a request while it is stopped")
    g.qmp.ask("cont")
    f.bulk(0x02, data=b"z" * 10, address=5, wait=False, page=f.data + 20)
    want(f.answer(number) == (usb.OK, 10), "the request")
    g.end()


def test_flood(tmp):
    """Thousands of requests, unlinks and refusals as fast as they go; the monitor answers in between."""
    device = usb.Device("loop")
    g = Guest(tmp, device)
    g.plugged()
    f = g.front
    configure(f)
    for n in range(300):
        numbers = [f.request(usb.pipe(3, 1, 5, 2, True), 512, page=f.data + i) for i in range(6)]
        numbers += [f.request(usb.pipe(0, 1, unlink=True), special=struct.pack("<H", i)) for i in numbers]
        numbers += [f.request(usb.pipe(0, 1, 5, 2), 100)]
        f.push()
        for number in numbers:
            want(f.answer(number) is not None, "round", n, "request", number)
    want("return" in g.qmp.ask("query-status"), "the monitor")
    want(not device.flying, device.flying)
    loop_back(f, b"hello")
    g.end()


def test_told(tmp):
    """The toolstack finds in xenstore that qusb is served, and a machine serves it, too."""
    g = Guest(tmp, usb.Device("loop"), options=())
    want("qusb" in g.xs("list", NODE + "/backends").split(), g.xs("list", NODE + "/backends"))
    g.plugged()
    configure(g.front)
    loop_back(g.front, b"hello")
    g.end()


want(os.path.exists(LIBRARY), "there is no", LIBRARY)
TESTS = [test_device, test_confined, test_addresses, test_hotplug, test_unlink, test_hostile, test_reconnect, test_process_ends, test_update, test_flood,
         test_told]
sys.exit(tap([t for t in TESTS if not sys.argv[1:] or t.__name__ in sys.argv[1:]]))
