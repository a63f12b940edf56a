# SPDX-License-Identifier: GPL-2.0-or-later
"""xendmctl why and gdb, where they need a real Xen: what vCPUs do, how guests end, who of the toolstack is at work; a debugger
in firmware, boot sector and kernel."""

import re

from debugger import session
from labkit.box import CTL
from labkit.suite import Skip, life

STEPS = [
    "a disk without a boot sector: the firmware found nothing to boot",
    "no disk at all",
    "a boot sector that halts with interrupts off, kept: Xen has shut it down",
    "a boot sector that spins",
    "the guest is paused, and nobody is at work on it",
    "a triple fault, kept: Xen's word for it",
    "the device model is stopped by a signal",
    "xenstored is stopped by a signal",
    "Debian's kernel is well, idle",
    "Debian's kernel, while a program computes, is well",
]
GDB = [
    "gdb in SeaBIOS, in real mode: a step, a breakpoint where it waits",
    "gdb in a boot sector: a breakpoint, a step, its registers",
    "gdb in Debian's kernel: a breakpoint in a system call",
    "the guest goes on when gdb has gone",
]
# "W" on the serial port, and waits for a key in SeaBIOS, for as long as it takes
WAITS = b"\xba\xf8\x03\xb0W\xee\xb0\n\xee\xfb\x31\xc0\xcd\x16\xeb\xfa"
# cli; spins at 7c01 | halts, which is a power-off to Xen | loads an interrupt table of no size, and breaks
SPINS, HALTS, FAULTS = b"\xfa\xeb\xfe", b"\xfa\xf4\xeb\xfd", b"\xfa\x0f\x01\x1e\x10\x7c\xcc".ljust(16, b"\0") + bytes(6)


def why(t, guest):
    """Its sentences."""
    return t.box.run("%s why %s" % (CTL, guest.name), 60).splitlines()


def until(t, guest, pattern, timeout=240):
    """The first sentence has this."""
    last = []

    def ask():
        last[:] = why(t, guest)
        return pattern in last[0]
    try:
        guest.until(ask, "why says %s" % pattern, timeout)
    except Exception:
        t.check(False, "why says %s" % " / ".join(last))
    return last


def with_sector(t, name, code, paused=False, **more):
    """A guest of one sector, if there is one."""
    path = "/root/%s.img" % name
    if code is not None:
        with open("%s/share/%s.img" % (t.box.work, name), "wb") as stream:
            stream.write(code.ljust(510, b"\0") + b"\x55\xaa" if code else bytes(512))
        t.box.run("cp /share/%s.img %s && truncate -s 1M %s" % (name, path, path))
        more["disks"] = ["format=raw,vdev=hda,access=rw,backendtype=qdisk,target=%s" % path]
    guest = t.guest(name, media=None, serial="file", memory=64, **more)
    if paused:
        guest.prepare()
        t.box.run("xl create -p /share/guest/%s.cfg" % name, 120)
    else:
        guest.create()
    return guest


def one_sector(t):
    """The steps without a kernel."""
    box = t.box
    with t.step(STEPS[0]):
        guest = with_sector(t, "nosector", b"")
        said = until(t, guest, "the firmware found nothing to boot: ide0-hd0 has no boot sector")
        t.match(said[0], "real mode|16-bit|32-bit")
        guest.destroy()
    with t.step(STEPS[1]):
        guest = with_sector(t, "nodisk", None)
        until(t, guest, "the firmware found nothing to boot: there is no disk")
        guest.destroy()
    with t.step(STEPS[2]):
        guest = with_sector(t, "halts", HALTS, on_poweroff="preserve")
        until(t, guest, "the guest has shut down, and is kept: it powered itself off, or its last vCPU halted with interrupts off")
        guest.destroy()
    guest = with_sector(t, "spins", SPINS)
    with t.step(STEPS[3]):
        until(t, guest, "vCPU 0 spins at 0000:7c01 in real mode, code eb fe")
    with t.step(STEPS[4]):
        box.run("xl pause spins")
        until(t, guest, "the guest is paused in Xen, and no toolstack or debugger is at work on it")
        box.run("xl unpause spins")
        until(t, guest, "vCPU 0 spins")
    with t.step(STEPS[6]):
        box.run("kill -STOP %d" % guest.dm_pid())
        until(t, guest, "is stopped by a signal or a debugger")
        box.run("kill -CONT %d" % guest.dm_pid())
        until(t, guest, "vCPU 0 spins")
    with t.step(STEPS[7]):
        box.run("kill -STOP $(pidof xenstored)")
        said = why(t, guest)
        box.run("kill -CONT $(pidof xenstored)")
        t.match(said[0], "^xenstored, process [0-9]+, is stopped by a signal")
    guest.destroy()
    with t.step(STEPS[5]):
        guest = with_sector(t, "faults", FAULTS, on_reboot="preserve", on_crash="preserve")
        said = until(t, guest, "the guest has shut down, and is kept: ")
        t.match(said[0], "triple fault|crashed")
        t.match(said[0], "Xen says: d[0-9]+v0 Triple fault")
        guest.destroy()


@life("why", STEPS, memory=512)
def life_why(t):
    """Planted hangs, then a guest that is well."""
    t.box.put_ctl()
    one_sector(t)
    with t.step(STEPS[8], vital=True):
        guest = t.guest("well")
        guest.create()
        guest.wait_for("LAB serve", 400)
        said = until(t, guest, "well: nothing that can be seen from here keeps it from going on")
        t.match("\n".join(said), "vCPU 0 (idles|runs now and then).* in 64-bit mode, code [0-9a-f ]+")
    with t.step(STEPS[9]):
        guest.cmd("(while :; do :; done) & sleep 1")
        said = until(t, guest, "well: nothing that can be seen from here keeps it from going on")
        t.match("\n".join(said), "vCPU 0 (computes|runs now and then)")


def has_int1(box):
    """The emulated CPU of older QEMUs does not know the instruction that breakpoints are, and has neither debug registers for a
    guest nor INT3 for its hypervisor."""
    return box.accelerator == "kvm" or tuple(map(int, re.findall(r"[0-9]+", box.carrier)[:2])) >= (9, 1)


@life("gdb", GDB, memory=512)
def life_gdb(t):
    """Guests of one sector, and Debian's kernel, by Xen's monitor."""
    t.box.put_ctl()
    breaks, without = has_int1(t.box), "no breakpoints on the emulated CPU of %s, which has no INT1 (--emulator trixie)" % t.box.carrier
    with t.step(GDB[0]):
        guest = with_sector(t, "bare", WAITS)
        guest.wait_for("W\n", 240)
        more = ["break *$wait", "continue", "delete", 'printf "again %d\n", $pc == $wait'] if breaks else []
        said = session(t, guest, 16, "set $wait = $pc", 'printf "first %x:%x\n", $cs, $wait - $cs * 16', "x/2i $pc", "stepi",
                       'printf "then %x\n", $eip', *more, "monitor vcpus")
        t.match(said, r"first f000:[0-9a-f]{4}\n=> 0xf[0-9a-f]{4}:")
        t.match(said, r"then f[0-9a-f]{4}\n")
        if breaks:
            t.match(said, r"again 1\n.*real mode, f000:")
        guest.destroy()
        if not breaks:
            raise Skip("registers, code and a step are right; " + without)
    with t.step(GDB[1]):
        guest = with_sector(t, "spins", SPINS)
        until(t, guest, "vCPU 0 spins at 0000:7c01 in real mode, code eb fe")
        more = ["break *0x7c01", "continue", "delete"] if breaks else []
        said = session(t, guest, 16, "x/2i 0x7c00", *more, "stepi", "set $eip = 0x7c00", "stepi",
                       'printf "then %x, flags %x\n", $eip, $eflags')
        t.match(said, r"0x7c00:\s+cli\s*\n(=>)?\s+0x7c01:\s+jmp\s+0x7c01")
        if breaks:
            t.match(said, r"Breakpoint 1, 0x0*7c01")
        t.match(said, r"then 7c01, flags [0-9a-f]+")
        until(t, guest, "vCPU 0 spins at 0000:7c01 in real mode, code eb fe")
        guest.destroy()
        if not breaks:
            raise Skip("a step and a register that is changed are right; " + without)
    with t.step(GDB[2], vital=True):
        if breaks and t.box.accelerator != "kvm":
            raise Skip("Debian's kernel does not boot on the emulated CPU of %s (xendm-lab(1))" % t.box.carrier)
        guest = t.guest("kernel")
        guest.create()
        guest.wait_for("LAB serve", 400)
        place = int(guest.cmd("grep ' [tT] __x64_sys_getppid$' /proc/kallsyms").split()[0], 16)
        number = guest.begin("sleep 20; sh -c 'echo parent $PPID'")
        more = ["break *0x%x" % place, "continue", "delete", 'printf "at %lx\n", $rip'] if breaks else ["stepi"]
        said = session(t, guest, 64, "info threads", *more, 'printf "cr0 %lx\n", $cr0', "x/3i $pc")
        t.match(said, r"cr0 8005003[0-9a-f]")
        t.match(said, r"Thread 1 \(vCPU 0, 64-bit mode\)")
        if not breaks:
            raise Skip("registers, code and a step in the kernel are right; " + without)
        t.match(said, "at %x\n" % place)
    with t.step(GDB[3]):
        t.match(guest.finish(number, 120)[1], "parent [0-9]+")
        t.equal(guest.cmd("echo it goes on"), "it goes on")
        until(t, guest, "kernel: nothing that can be seen from here keeps it from going on")
