#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""xendmctl gdb: gdb's protocol for a guest, on xenemu, whose vCPUs execute a few instructions when they are debugged; by Xen's
debugging, and by its monitor. With gdb itself, too, where it is installed. TAP."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

sys.dont_write_bytecode = True     # the source tree stays clean
from faults import CTL, PATIENCE, WHERE, Machine, Skip, ctl, tap, until, want

CODE = 0x100000
# five no operations, and round again: 100000, 100001, ..., 100005: jmp 100000
LOOP = "0x90 0x90 0x90 0x90 0x90 0xeb 0xf9"
FLAT = "cr0=0x11 msr_efer=0 cs_base=0 cs_arbytes=0xc9b cs_sel=8 rip=0x100000 rflags=0x202 running=1 blocked=0"
SIXTEEN = "cr0=0x10 msr_efer=0 cs_arbytes=0x9b cs_sel=0x1000 cs_base=0x10000 rip=0x20 rflags=0x202 running=1 blocked=0"


def environment(m):
    return dict(os.environ, XENDM_STATUS_DIR=m.dir, XENSTORED_RUNDIR=m.dir, XENEMU_SOCKET=m.dir + "/xen",
                LD_LIBRARY_PATH=WHERE["libraries"])


def put_code(m, at=CODE):
    for n, byte in enumerate(LOOP.split()):
        m.cpu.do("writeb 0x%x %s" % (at + n, byte))


def cpu(m, name):
    return int(dict(w.split("=") for w in m.cpu.ask("cpu"))[name], 0)


def ctl_says(m, *words):
    """What it says on standard error, and to gdb that asks for nothing."""
    return subprocess.run([CTL, *words], env=environment(m), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False).stdout


class Remote:
    """What gdb says, on a pipe or a port."""

    def __init__(self, m, *options, port=False):
        words = [CTL, "gdb", "xenemu1", *options]
        if port:
            self.process = subprocess.Popen(words + ["--port", "0"], env=environment(m), stdout=subprocess.PIPE, text=True)
            number = int(self.process.stdout.readline().split(":")[-1])
            self.sock = socket.create_connection(("127.0.0.1", number), PATIENCE)
            self.process.stdout.close()
        else:
            self.sock, theirs = socket.socketpair()
            self.process = subprocess.Popen(words, env=environment(m), stdin=theirs, stdout=theirs)
            theirs.close()
        self.sock.settimeout(PATIENCE)
        self.file = self.sock.makefile("rb")

    def send(self, text):
        self.sock.sendall(b"$%s#%02x" % (text.encode(), sum(text.encode()) & 255))

    def receive(self):
        while True:
            byte = self.file.read(1)
            want(byte, "it hung up")
            if byte == b"$":
                break
        text = b""
        while True:
            byte = self.file.read(1)
            if byte == b"#":
                break
            text += bytes([self.file.read(1)[0] ^ 0x20]) if byte == b"}" else byte
        want(int(self.file.read(2), 16) is not None, "no sum")
        with contextlib.suppress(BrokenPipeError):      # it may be gone behind the answer to D
            self.sock.sendall(b"+")
        return text.decode()

    def ask(self, text):
        self.send(text)
        return self.receive()

    def ok(self, text):
        got = self.ask(text)
        want(got == "OK", text, "->", got)

    def monitor(self, text):
        return bytes.fromhex(self.ask("qRcmd," + text.encode().hex())).decode()

    def numbers(self):
        """Of all registers, by name: number and bytes, as the description says."""
        xml, part = "", "m"
        while part[0] == "m":
            part = self.ask("qXfer:features:read:target.xml:%x,400" % len(xml))
            xml += part[1:]
        return {name: (int(number), int(bits) // 8) for name, bits, number in
                re.findall(r'<reg name="(\w+)" bitsize="(\d+)" [^>]*regnum="(\d+)"', xml)}

    def register(self, number):
        return int.from_bytes(bytes.fromhex(self.ask("p%x" % number)), "little")

    def end(self):
        self.sock.close()
        self.file.close()
        want(self.process.wait(PATIENCE) == 0, "it ended with", self.process.returncode)


def test_registers(tmp):
    """registers are read and written, by name and all at once; the guest stands, and goes on at the end"""
    m = Machine(tmp, "--vcpus", "2")
    put_code(m)
    m.cpu.ask("cpu %s rax=0x1122334455667788 r15=0x99" % FLAT)
    r = Remote(m, "--bits", "64")
    want("swbreak+" in r.ask("qSupported:swbreak+"), "what it can")
    want(m.cpu.ask("state") == ["paused"], "it runs")
    number = r.numbers()
    want(r.register(number["rax"][0]) == 0x1122334455667788 and r.register(number["r15"][0]) == 0x99, "registers")
    want(r.register(number["rip"][0]) == CODE and r.register(number["cr0"][0]) == 0x11, "the system's")
    everything = r.ask("g")
    want(len(everything) == 2 * sum(size for _, size in number.values()), "the size of g")
    want(everything.startswith("8877665544332211"), everything[:40])
    r.ok("P%x=%s" % (number["rbx"][0], (0xabcdef).to_bytes(8, "little").hex()))
    want(r.ask("P%x=%s" % (number["cr3"][0], "00" * 8)).startswith("E"), "cr3 cannot be changed")
    want(r.ask("pfff").startswith("E"), "no such register")
    r.ok("G" + "0100000000000000" + everything[16:])
    want(r.ask("qfThreadInfo") == "m1,2" and r.ask("qsThreadInfo") == "l", "vCPUs")
    r.ok("Hg2")
    want(r.register(number["rip"][0]) == 0x1000, "of the other vCPU")
    want("vCPU 1, 64-bit mode" in bytes.fromhex(r.ask("qThreadExtraInfo,2")).decode(), "what it says of it")
    want("vCPU 0, thread 1: 32-bit mode, 0008:100000" in r.monitor("vcpus"), r.monitor("vcpus"))
    r.ok("Hg1")
    r.ok("P%x=%s" % (number["rbx"][0], (0xabcdef).to_bytes(8, "little").hex()))
    want(r.ask("_nonsense") == "" and r.ask("") == "", "nonsense")
    r.ok("D")
    r.end()
    want(cpu(m, "rbx") == 0xabcdef and cpu(m, "rax") == 1, "what was written")
    want(m.cpu.ask("state") == ["running"], "it stands")
    m.end()


def test_memory(tmp):
    """memory, virtual through the guest's tables and physical; what is not mapped is refused"""
    m = Machine(tmp)
    for at, value in ((0x2ff8, 0x3003), (0x3ff0, 0x83)):        # the first GiB is at the top
        m.cpu.do("writeq 0x%x 0x%x" % (at, value))
    m.cpu.do("writel 0x100000 0x04030201")
    r = Remote(m)
    want(r.ask("mffffffff80100000,4") == "01020304", "virtual")
    want(r.ask("m100000,4").startswith("E"), "what is not mapped")
    r.monitor("physical")
    want(r.ask("m100000,4") == "01020304" and r.ask("mf0000000,4").startswith("E"), "physical")
    r.ok("M100ffe,4:aabbccdd")          # across two pages
    r.monitor("virtual")
    want(r.ask("mffffffff80100ffe,4") == "aabbccdd", "written")
    for wrong in ("m", "mzz", "m1", "M100000,4:aa", "Z9,1,1", "H", "G", "p", "P1=", "qThreadExtraInfo,", "qXfer:features:read:target.xml:"):
        got = r.ask(wrong)
        want(got in ("", "OK") or got.startswith("E") or "not online".encode().hex() == got or len(got) == 16, wrong, got)
    r.end()
    m.end()


@contextlib.contextmanager
def without(*what):
    """A Xen that lacks these."""
    names = ["XENEMU_NO_" + name for name in what]
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]


def test_deaf(tmp):
    """a Xen with neither CONFIG_GDBSX nor a monitor: steps and breakpoints are refused, registers and Ctrl-C work, nothing is changed"""
    m = Machine(tmp)
    put_code(m)
    m.cpu.ask("cpu %s" % FLAT)
    with without("GDBSX", "MONITOR"):
        r = Remote(m, "--bits", "32")
    for what in ("Z0,%x,1" % CODE, "Z1,%x,1" % CODE, "vCont;s:1;c"):
        want("CONFIG_GDBSX" in r.ask(what), what)
    want(r.ask("m%x,1" % CODE) == "90", "memory")
    r.send("vCont;c")
    until(lambda: m.cpu.ask("state") != ["paused"], "it goes on")
    r.sock.sendall(b"\x03")
    want(r.receive().startswith("T02"), "Ctrl-C")
    r.ok("D")
    r.end()
    m.cpu.expect("readb 0x%x" % CODE, 0x90)
    m.end()


def steps(tmp):
    m = Machine(tmp)
    put_code(m)
    m.cpu.ask("cpu " + FLAT)
    r = Remote(m, port=True)
    pc = r.numbers()["eip"][0]
    for at in (1, 2, 3):
        want(r.ask("vCont;s:1").startswith("T05thread:1;"), "a step")
        want(r.register(pc) == CODE + at, hex(r.register(pc)))
    r.ok("Z0,100001,1")
    for _ in range(2):
        want("swbreak" in r.ask("vCont;c") and r.register(pc) == CODE + 1, "the breakpoint", hex(r.register(pc)))
        want(r.ask("m100000,7") == LOOP.replace("0x", "").replace(" ", ""), "the code is seen as it is")
        r.ok("z0,100001,1")
        r.ask("s")
        want(r.register(pc) == CODE + 2, "past it")
        r.ok("Z0,100001,1")
    r.ok("z0,100001,1")
    r.send("c")
    until(lambda: m.cpu.ask("state") == ["running"], "it does not go on")
    r.sock.sendall(b"\x03")
    want(r.receive().startswith("T02thread:1;"), "Ctrl-C")
    want(r.ask("Z3,100000,4").startswith("E") and r.ask("Z2,100001,4").startswith("E"), "a watchpoint that there is not")
    for n in range(4):
        r.ok("Z2,%x,8" % (0x200000 + 8 * n))
    want(r.ask("Z2,300000,8").startswith("E"), "a fifth")
    r.ok("z2,200000,8")
    r.ok("Z2,300000,8")
    r.send("c")
    until(lambda: m.cpu.ask("state") == ["running"] and cpu(m, "dr7") & 0xff == 0x55, "debug registers")
    r.end()
    want(m.cpu.ask("state") == ["running"] and cpu(m, "dr7") == 0x400 and cpu(m, "rflags") == 0x202, "what is left")
    m.end()


def test_steps(tmp):
    """steps, a breakpoint in its loop, and Ctrl-C; nothing of it is left in the guest"""
    steps(tmp)


def test_monitor(tmp):
    """the same by Xen's monitor, for a Xen without CONFIG_GDBSX"""
    with without("GDBSX"):
        steps(tmp)


def test_own(tmp):
    """by the monitor: the guest's own INT3, INT1 and trap flag are the guest's; two debuggers are one too many; one that is killed"""
    m = Machine(tmp, "--vcpus", "2")
    put_code(m)
    m.cpu.do("writeb 0x100002 0xcc")
    m.cpu.do("writeb 0x100001 0xf1")
    m.cpu.ask("cpu " + FLAT)
    with without("GDBSX"):
        r = Remote(m)
        pc = r.numbers()["eip"][0]
        r.ok("Z0,100004,1")
        want("swbreak" in r.ask("c") and r.register(pc) == CODE + 4, "ours", hex(r.register(pc)))
        want("Device or resource busy" in ctl_says(m, "gdb", "1"), "another one")
        r.ok("z0,100004,1")
        r.ok("P%x=%s" % (r.numbers()["eflags"][0], (0x302).to_bytes(4, "little").hex()))
        r.send("c")
        until(lambda: m.cpu.ask("state") == ["running"], "it does not go on")
        r.sock.sendall(b"\x03")
        want(r.receive().startswith("T02"), "Ctrl-C")
        r.end()
        want(m.cpu.do("readb 0x100002") == 0xcc and m.cpu.do("readb 0x100001") == 0xf1 and m.cpu.ask("state") == ["running"], "what is left")
        r = Remote(m)
        r.ok("Z0,100003,1")
        r.ask("c")
        r.process.send_signal(signal.SIGTERM)
        want(r.process.wait(PATIENCE) == 0 and m.cpu.do("readb 0x100003") == 0x90, "a breakpoint is left")
        want(m.cpu.ask("state") == ["running"], "it stands")
        Remote(m).end()
    m.end()


def test_sixteen(tmp):
    """real mode: the program counter is the linear address, ip without its segment"""
    m = Machine(tmp)
    put_code(m, 0x10020)
    m.cpu.ask("cpu " + SIXTEEN)
    r = Remote(m)
    want("<architecture>i8086<" in r.ask("qXfer:features:read:target.xml:0,400"), "the architecture")
    number = r.numbers()
    want(r.register(number["eip"][0]) == 0x10020 and r.register(number["ip"][0]) == 0x20, "where it is")
    r.ok("Z0,10024,1")
    want("swbreak" in r.ask("c") and r.register(number["ip"][0]) == 0x24, "a breakpoint")
    r.ok("P%x=%s" % (number["eip"][0], (0x10021).to_bytes(4, "little").hex()))
    want(r.register(number["ip"][0]) == 0x21, "where it was put")
    r.end()
    m.end()


def test_ends(tmp):
    """killed by a signal it leaves no breakpoint; a guest that ends, and one that was paused before; two at a time"""
    m = Machine(tmp)
    put_code(m)
    m.cpu.ask("cpu " + FLAT)
    r = Remote(m)
    r.ok("Z0,100003,1")
    r.ask("c")
    want("at work on it is process %d (xendmctl gdb xenemu1)" % r.process.pid in ctl(m, "why", "1"), ctl(m, "why", "1"))
    r.process.send_signal(signal.SIGTERM)
    want(r.process.wait(PATIENCE) == 0 and m.cpu.do("readb 0x100003") == 0x90, "a breakpoint is left")
    want(m.cpu.ask("state") == ["running"], "it stands")
    m.cpu.ask("pause")
    r = Remote(m)
    r.ask("?")
    r.end()
    want(m.cpu.ask("state") == ["paused"], "it was paused before")
    m.cpu.ask("unpause")
    r = Remote(m)
    r.ask("?")
    r.send("c")
    m.cpu.ask("crash Triple fault")
    want(r.receive().startswith("T06"), "the guest's end")
    r.end()
    want("no xendm serves" in ctl(m, "gdb", "7", status=1), "another guest")
    for wrong in (("gdb",), ("gdb", "1", "--bits", "8"), ("gdb", "1", "--port", "x"), ("gdb", "1", "--port")):
        want("usage:" in ctl(m, *wrong, status=2), wrong)
    m.end()


def test_gdb(tmp):
    """gdb itself: registers, code, a breakpoint, steps, in real mode and in 32 bits"""
    if not shutil.which("gdb"):
        raise Skip("there is no gdb")
    m = Machine(tmp)
    for state, at, where in ((SIXTEEN, 0x10020, "ip"), (FLAT, CODE, "eip")):
        put_code(m, at)
        m.cpu.ask("cpu " + state)
        script = ["target remote | %s gdb xenemu1" % CTL, "printf \"at %%x\\n\", $%s" % where, "x/6i $pc", "break *0x%x" % (at + 3), "continue",
                  "stepi", "printf \"then %x\\n\", $eip", "info threads", "monitor vcpus", "detach"]
        done = subprocess.run(["gdb", "-nx", "-q", "-batch"] + [w for line in script for w in ("-ex", line)], env=environment(m),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
                              check=False)
        for pattern in (r"^at (20|100000)$", r"nop\n.*nop\n.*nop\n.*nop\n.*nop\n.*jmp +0x%x" % at, r"^Breakpoint 1, 0x0*%x" % (at + 3),
                        r"^then %x$" % (at + 4), r"vCPU 0, (real|32-bit) mode", r"detached"):
            want(re.search(pattern, done.stdout, re.M), pattern, "not in", done.stdout)
    m.end()


if __name__ == "__main__":
    sys.exit(tap([test_registers, test_memory, test_deaf, test_steps, test_monitor, test_own, test_sixteen, test_ends, test_gdb]))
