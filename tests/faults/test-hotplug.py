#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that come and go under a running guest, by QMP and ACPI. On xenemu; TAP."""
import sys

from faults import Machine, image, tap, want

# ACPI PCI hot-plug (hw/acpi/piix4-pm.c): slots that came, slots that shall go, eject.
UP, DOWN, EJECT = 0xae00, 0xae04, 0xae08


def functions(qmp):
    return {d["qdev_id"]: d["slot"] for d in qmp.ok("query-pci")[0]["devices"]}


def machine(tmp):
    disk = tmp + "/hd.img"
    image(disk, 2048)
    return Machine(tmp, "--disk", disk)


def plug(m, name, driver="rtl8139", **options):
    m.qmp.ok("device_add", driver=driver, id=name, **options)
    slot = functions(m.qmp)[name]
    want(m.cpu.do("inl 0x%x" % UP) & 1 << slot, "the guest is not told of slot", slot)
    return slot


def eject(m, name, slot):
    m.qmp.ok("device_del", id=name)
    want(m.cpu.do("inl 0x%x" % DOWN) & 1 << slot, "the guest is not asked for slot", slot)
    m.cpu.do("outl 0x%x 0x%x" % (EJECT, 1 << slot))
    data = m.qmp.event("DEVICE_DELETED")
    want(data["device"] == name, data)


def test_comes_and_goes(tmp):
    """network cards are plugged, used and pulled again, a thousand times"""
    m = machine(tmp)
    for turn in range(1000):
        name = "n%d" % turn
        slot = plug(m, name, driver=("rtl8139", "e1000")[turn & 1], mac="00:16:3e:00:00:01")
        m.cpu.do("pciwrite %02x.0 0x10 4 0xe1000000" % slot if turn & 1 else "pciwrite %02x.0 0x10 4 0xc301" % slot)
        m.cpu.do("pciwrite %02x.0 4 2 7" % slot)
        got = m.cpu.do("readl 0xe1005400" if turn & 1 else "inl 0xc300")
        want(got == 0x003e1600, "it answers 0x%x" % got)
        eject(m, name, slot)
        want(name not in functions(m.qmp), functions(m.qmp))
    m.end()


def test_refused(tmp):
    """what cannot come or go says so, and leaves nothing"""
    m = machine(tmp)
    before = functions(m.qmp)
    for args, word in (({"driver": "ide-hd"}, "hotplug"), ({"driver": "nothing"}, "nothing"),
                       ({"driver": "rtl8139", "mac": "x"}, "mac=x"), ({"driver": "rtl8139", "speed": 9}, "speed"),
                       ({"driver": "rtl8139", "netdev": "n7"}, "n7"), ({"driver": "rtl8139", "bus": "isa.7"}, "isa.7")):
        answer = m.qmp.ask("device_add", **args)
        want("error" in answer and word in answer["error"]["desc"], args, answer)
    slot = plug(m, "n0")
    answer = m.qmp.ask("device_add", driver="rtl8139", id="n0")
    want("error" in answer and "n0" in answer["error"]["desc"], answer)
    answer = m.qmp.ask("device_add", driver="rtl8139", addr="%x" % slot)
    want("error" in answer, answer)
    answer = m.qmp.ask("device_del", id="piix3-ide")
    want("error" in answer, answer)
    eject(m, "n0", slot)
    want(functions(m.qmp) == before, functions(m.qmp))
    m.end()


def test_moved(tmp):
    """a machine that is stopped, goes on and is reset keeps what was plugged"""
    m = machine(tmp)
    slot = plug(m, "n0")
    m.qmp.ok("stop")
    m.qmp.ok("cont")
    want(functions(m.qmp)["n0"] == slot, functions(m.qmp))
    m.qmp.ok("device_del", id="n0")
    m.qmp.ok("system_reset")        # whoever boots next is asked, too
    m.cpu.until("inl 0x%x" % DOWN, 1 << slot, 1 << slot)
    m.cpu.do("outl 0x%x 0x%x" % (EJECT, 1 << slot))
    want(m.qmp.event("DEVICE_DELETED")["device"] == "n0")
    m.end()


def test_spare_drive(tmp):
    """a drive that no device has at the start is there for device_add, again and again"""
    spare = tmp + "/spare.img"
    image(tmp + "/hd.img", 2048)
    image(spare, 4096)
    m = Machine(tmp, "--disk", tmp + "/hd.img", "--", "-drive", "if=none,id=spare,format=raw,file=" + spare)
    drives = {d["device"] for d in m.qmp.ok("query-block")}
    want("spare" in drives, drives)
    for turn in range(3):
        name = "v%d" % turn
        slot = plug(m, name, driver="virtio-blk-pci", drive="spare")
        answer = m.qmp.ask("device_add", driver="virtio-blk-pci", id="other", drive="spare")
        want("error" in answer and "spare" in answer["error"]["desc"], answer)
        m.cpu.do("pciwrite %02x.0 0x20 4 0xe1000000" % slot)
        m.cpu.do("pciwrite %02x.0 4 2 6" % slot)
        capacity = m.cpu.do("readl 0xe1002000")
        want(capacity == 4096 // 512, "sectors", capacity)
        eject(m, name, slot)
    m.end()


def test_places_after_update(tmp):
    """what was plugged where nobody said stays there over a live update, whatever is free by then"""
    for n in range(3):
        image(tmp + "/%d.img" % n, 4096)
    drives = [word for n in range(3) for word in ("-drive", "if=none,id=d%d,format=raw,file=%s/%d.img" % (n, tmp, n))]
    m = Machine(tmp, "--device", "virtio-scsi-pci,id=s", "--device", "piix3-usb-uhci,id=u", "--", *drives)

    def places():
        lines = [line for name in ("b", "tablet", "card") for line in m.qmp.hmp("info device " + name).splitlines()]
        return [line for line in lines if line.split(":")[0] in ("id", "scsi-id", "lun", "port")], functions(m.qmp)["card"]

    m.qmp.ok("device_add", driver="scsi-hd", id="a", bus="s.0", drive="d0")
    m.qmp.ok("device_add", driver="scsi-hd", id="b", bus="s.0", drive="d1")
    m.qmp.ok("device_add", driver="usb-mouse", id="mouse", bus="u.0")
    m.qmp.ok("device_add", driver="usb-tablet", id="tablet", bus="u.0")
    slot = plug(m, "first")
    plug(m, "card")
    for name in ("a", "mouse"):
        m.qmp.ok("device_del", id=name)
        m.qmp.event("DEVICE_DELETED")
    eject(m, "first", slot)
    before = places()
    want(len(before[0]) == 3, before, m.qmp.hmp("info device b"))
    m.qmp.ok("xendm-update")
    want(places() == before, before, places())
    m.end()


sys.exit(tap([test_comes_and_goes, test_refused, test_moved, test_spare_drive, test_places_after_update]))
