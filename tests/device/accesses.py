# SPDX-License-Identifier: GPL-2.0-or-later
"""Random but reproducible accesses to the machine's register space, for tests/device/differential.

A generator makes lines of xenemu's socket. Some form what drivers do (a disk command with its registers, packet and
data; a mode set; a UART's programming), the rest is noise on the same registers. Nothing here reads an answer: the
sequence depends on the seed alone, so it can be replayed and cut down.
"""
import random

from cirrus_accesses import CirrusAccesses

# Guest memory: what DMA and string instructions move lies here, and nowhere else.
PRD = 0x8000            # descriptor tables
RAM = 0x100000          # data
RAM_SIZE = 0x100000

DISK_SECTORS = 4096     # 2 MiB
CD_BLOCKS = 512         # 1 MiB


class Machine:
    """The setting of one episode: what `xenemu run` is told."""

    def __init__(self, rng):
        self.vga = rng.random() < 0.85
        self.slave = rng.random() < 0.4
        self.cd = rng.choice(["disc", "disc", "empty", "none"])
        self.vcpus = rng.choice([1, 2, 4])
        # Out of the state, not the stream: the episodes of other machines stay what they were.
        self.cirrus = random.Random(rng.getstate()[1][0]).random() < 0.25
        if self.cirrus:
            self.vga = False

    def options(self, disk0, disk1, cd):
        o = ["--vga", "cirrus" if self.cirrus else "stdvga" if self.vga else "none", "--disk", disk0, "--vcpus", str(self.vcpus),
             "--serial", "null", "-m", "64"]
        if self.slave:
            o += ["--disk", disk1]
        if self.cd != "none":
            o += ["--cdrom", cd if self.cd == "disc" else ""]
        return o

    def script_options(self):
        o = self.options("@disk0", "@disk1", "@cd")
        return " ".join('""' if x == "" else x for x in o)


class Generator(CirrusAccesses):
    def __init__(self, seed, avoid=()):
        self.r = random.Random(seed)
        self.machine = Machine(self.r)
        self.avoid = avoid
        self.lines = []
        self.tags = []
        self.accesses = 0
        # What the generator itself last wrote, for names in the table of differences; a guess after noise.
        self.index = {0x70: 0, 0x3c4: 0, 0x3ce: 0, 0x3d4: 0, 0x3b4: 0, 0x1ce: 0, 0x3c0: 0}
        self.dlab = False
        self.misc = 0
        self.vga_dirty = True
        self.selected = [0, 0]
        self.beyond = [False, False]
        # By channel, then by register: the command that may have left something in it; likewise in its previous
        # content (HOB). Gone when it is written.
        self.left = [{}, {}]
        self.left_before = [{}, {}]
        self.hob = [0, 0]
        self.bm = 0xc000
        self.fb = 0xe0000000
        self.mmio = 0xe8000000
        self.pci = {"host": 0x00, "isa": 0x08, "ide": 0x09, "pm": 0x0b, "platform": 0x10}
        if self.machine.vga:
            self.pci["vga"] = 0x18
        self.setup()
        self.keep_only("")

    WEIGHTS = {"i8042": 10, "cmos": 4, "dma8257": 6, "ata": 16, "atapi": 10, "ide_noise": 6, "serial": 10, "pm": 6,
               "platform": 3, "pci_config": 10, "strings": 2, "misc_ports": 4, "check": 4}
    VGA_WEIGHTS = {"vga_registers": 12, "vga_window": 8, "vga_mode": 2, "dispi": 5, "vga_mmio": 5}

    @classmethod
    def names(cls):
        return list(cls.WEIGHTS) + list(cls.VGA_WEIGHTS) + list(cls.CIRRUS_WEIGHTS)

    def keep_only(self, names):
        """Which generators take part; an empty list: all that the machine has devices for."""
        table = dict(self.WEIGHTS, **(self.VGA_WEIGHTS if self.machine.vga else
                                        self.CIRRUS_WEIGHTS if self.machine.cirrus else {}))
        wanted = [n for n in table if not names or n in names.split(",")] or ["check"]
        self.parts = [getattr(self, n) for n in wanted]
        self.weights = [table[n] for n in wanted]

    # ---- one line ----

    def o(self, line, tag="", cost=1):
        text = line + ("  [" + tag + "]" if tag else "")
        for rule in self.avoid:
            if rule.search(text):
                return
        self.lines.append(line)
        self.tags.append(text)
        self.accesses += cost

    def ram(self, line):
        self.o(line, cost=0)

    # Commands that change count and address: those with an extent, PACKET, CHECK POWER MODE.
    LEAVES = dict.fromkeys([0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x29, 0x30, 0x31, 0x34, 0x35, 0x39, 0x40, 0x41, 0x42, 0xc4,
                            0xc5, 0xc8, 0xc9, 0xca, 0xcb, 0xa0], range(2, 7)) | {0xe5: (2,), 0x98: (2,), 0xa1: (2, 4, 5)}

    def note_index(self, port, value):
        if port in self.index and port != (0x3b4 if self.misc & 1 else 0x3d4):
            self.index[port] = value
            if port in (0x3b4, 0x3d4):  # one register, at one of two addresses
                self.index[0x3b4] = self.index[0x3d4] = value
        if port == 0x3c2:
            self.misc = value
        if port in (0x3c2, 0x3c4, 0x3c5, 0x3ce, 0x3cf):
            self.vga_dirty = True
        if port & ~0x87 == 0x170:       # 0x170-0x177, 0x1F0-0x1F7
            ch, reg = port >> 7 & 1, port & 7
            before = self.left[ch].pop(reg, None)
            self.left_before[ch].pop(reg, None)
            if before is not None:
                self.left_before[ch][reg] = before
            if reg:
                self.hob[ch] = 0
            if reg == 6:
                self.selected[ch] = value >> 4 & 1
            if reg == 7 and (ch == 0 or value != 0xa1):     # a disk refuses that one
                for left in (self.left[ch], self.left_before[ch]):
                    left.update(dict.fromkeys(self.LEAVES.get(value, ()), value))
        if port in (0x376, 0x3f6):
            self.hob[port >> 7 & 1] = value >> 7

    def outb(self, port, value, tag=""):
        if port == 0x177 and self.machine.cd == "none":
            return                      # QEMU runs commands on a channel without drives
        self.note_index(port, value & 0xff)
        if port == 0x3fb:
            self.dlab = bool(value & 0x80)
        self.o("outb 0x%x 0x%x" % (port, value & 0xff), tag or self.port_tag(port))

    def outw(self, port, value, tag=""):
        self.note_index(port, value & 0xff)
        self.o("outw 0x%x 0x%x" % (port, value & 0xffff), tag or self.port_tag(port))

    def inb(self, port, tag=""):
        if port & ~0x87 == 0x170 and port & 7 == 1:
            tag = self.port_tag(port) + tag
            tag += ", beyond the end, " if self.beyond[port >> 7 & 1] else ", "
            tag += "after status" if self.lines[-1] == "inb 0x%x" % (port + 6) else "error"
        self.o("inb 0x%x" % port, tag or self.port_tag(port))

    def port_tag(self, port):
        if port & ~0x87 == 0x170 and 1 <= port & 7 <= 6:
            ch = port >> 7 & 1
            command = (self.left_before if self.hob[ch] and port & 7 < 6 else self.left)[ch].get(port & 7)
            after = "" if command is None else "after command %02x" % command
            if self.selected[ch] and not (port & 0x80 and self.machine.slave):
                return ("absent drive " + after).strip()
            if port & 7 > 1:
                return after
        base = {0x71: 0x70, 0x3c5: 0x3c4, 0x3cf: 0x3ce, 0x3d5: 0x3d4, 0x3b5: 0x3b4, 0x1cf: 0x1ce, 0x1d0: 0x1ce,
                0x3c1: 0x3c0}.get(port)
        if base is not None:
            return "index 0x%02x" % self.index[base]
        if port in (0x3f8, 0x3f9):
            return "divisor" if self.dlab else ""
        return ""

    def noise(self, ports, n=None, wide=0.06):
        r = self.r
        for _ in range(n or r.randrange(1, 6)):
            port = r.choice(ports)
            size = r.choice("wl") if r.random() < wide else "b"
            bits = {"b": 8, "w": 16, "l": 32}[size]
            if r.random() < 0.55:
                self.o("in%s 0x%x" % (size, port), self.port_tag(port))
            elif size == "b":
                self.outb(port, r.getrandbits(8))
            elif size == "w":
                self.outw(port, r.getrandbits(16))
            else:
                self.o("out%s 0x%x 0x%x" % (size, port, r.getrandbits(bits)), self.port_tag(port))

    def address(self, length):
        """A place for `length` bytes, now and then with an odd start."""
        a = RAM + self.r.randrange(0, RAM_SIZE - length - 16) & ~1
        return a if self.r.random() < 0.5 else a & ~0xfff

    # ---- episodes ----

    def setup(self):
        """As hvmloader leaves the machine."""
        w = lambda f, reg, size, v: self.o("pciwrite 0x%x 0x%x %d 0x%x" % (self.pci[f], reg, size, v))
        for i, irq in enumerate((5, 10, 11, 5)):
            w("isa", 0x60 + i, 1, irq)
        w("ide", 0x40, 2, 0x8000)
        w("ide", 0x42, 2, 0x8000)
        w("ide", 0x20, 4, self.bm | 1)
        w("ide", 0x04, 2, 5)
        w("pm", 0x40, 4, 0xb001)
        w("pm", 0x80, 1, 1)
        w("pm", 0x04, 2, 1)
        w("platform", 0x10, 4, 0xc101)
        w("platform", 0x14, 4, 0xea000000)
        w("platform", 0x04, 2, 7)
        if self.machine.vga:
            w("vga", 0x10, 4, self.fb)
            w("vga", 0x18, 4, self.mmio)
            w("vga", 0x04, 2, 7)
        if self.machine.cirrus:
            self.cirrus_setup()
        self.outb(0x64, 0x60)
        self.outb(0x60, 0x47)
        self.outb(0x64, 0xd4)           # the mouse's defaults are not what QEMU's has after power-on
        self.outb(0x60, 0xf6)
        self.inb(0x60)
        self.outb(0x3fc, 0x0b)          # OUT2 is on after a reset in QEMU
        for ch in (0, 1):
            self.soft_reset(ch)
        self.ram("memset 0x%x 0x%x 0x5a" % (RAM, RAM_SIZE))

    def part(self):
        """One more sequence; if many vCPUs are there, from one of them."""
        if self.machine.vcpus > 1 and self.r.random() < 0.2:
            self.ram("vcpu %d" % self.r.randrange(self.machine.vcpus))
        self.r.choices(self.parts, self.weights)[0]()

    def finish(self):
        self.settle()
        for ch in (0, 1):
            self.soft_reset(ch)
        self.check()
        self.ram("sum 0x0 0x4000000")
        if self.machine.vga:
            self.o("pciwrite 0x%x 4 2 7" % self.pci["vga"])
            self.o("pciread 0x%x 0x10 4" % self.pci["vga"])
            self.o("inb 0x3cc")                             # posted writes are done
            self.ram("sum 0x%x 0x1000000" % self.fb)
        if self.machine.cirrus:
            self.cirrus_finish()
        if self.r.random() < 0.5:
            # Not 4 and 8 alone: QEMU resets the controller at 4, and takes 8 (NVMe) for all disks.
            self.o("outw 0x10 0x%x" % self.r.choice([1, 2, 3, 5, 7]))
            self.inb(0x1f7)
            self.inb(0x177)
            for f in self.pci.values():
                self.o("pciread 0x%x 0 4" % f)

    def check(self):
        self.o("lines", cost=0)
        if self.r.random() < 0.2:
            self.ram("sum 0x%x 0x%x" % (RAM, RAM_SIZE))

    # ---- keyboard controller ----

    def i8042(self):
        r = self.r
        for _ in range(r.randrange(1, 5)):
            k = r.random()
            if k < 0.35:
                c = r.choice([0x20, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xad, 0xae, 0xc0, 0xd0, 0xff])
                self.outb(0x64, c)
                self.inb(0x60)
                if c == 0xaa:       # sets the system flag in the command byte, in QEMU only in the status
                    self.outb(0x64, 0x60)
                    self.outb(0x60, 0x47)
            elif k < 0.5:
                c = r.choice([0x60, 0x60, 0xd1, 0xd2, 0xd3])
                self.outb(0x64, c)
                v = r.getrandbits(7)    # bit 7 of the command byte: kept by QEMU
                self.outb(0x60, r.choice([v, 0x47, 0x45, 0x65, 0x77]) & (0xcf if c == 0xd1 else 0xff) | {0xd1: 1, 0x60: 4}.get(c, 0))
            elif k < 0.75:
                c = r.choice([0xff, 0xf6, 0xf5, 0xf4, 0xf2, 0xee, 0xf3, 0xf0, 0xed, 0x05])
                self.outb(0x60, c)
                self.inb(0x60)
                if c in (0xf3, 0xf0, 0xed):
                    self.outb(0x60, r.choice([0, 1, 2, 3]) if c == 0xf0 else r.getrandbits(3 if c == 0xed else 7))
            else:
                c = r.choice([0xff, 0xf6, 0xf5, 0xf4, 0xf2, 0xf3, 0xea, 0xf0, 0xeb, 0xe9, 0xe8, 0xe6, 0xe7])     # unknown ones: QEMU's mouse says nothing
                self.outb(0x64, 0xd4)
                self.outb(0x60, c)
                self.inb(0x60)
                if c in (0xf3, 0xe8):
                    self.outb(0x64, 0xd4)
                    self.outb(0x60, r.choice([0, 1, 2, 3] if c == 0xe8 else [10, 20, 40, 60, 80, 100]))
                elif c == 0xf2 and r.random() < 0.3:    # the wheel's knock, always as a whole
                    for v in (0xf3, 200, 0xf3, r.choice([100, 200]), 0xf3, 80, 0xf2):
                        self.outb(0x64, 0xd4)
                        self.outb(0x60, v)
                        self.inb(0x60)
                        self.inb(0x60)
            # All answers are fetched before the next command, as drivers do: QEMU's devices forget them.
            for _ in range(6):
                self.inb(0x64)
                self.inb(0x60)
        self.o("lines", cost=0)

    # ---- CMOS, DMA controllers, odds and ends ----

    def cmos(self):
        r = self.r
        for _ in range(r.randrange(1, 6)):
            self.outb(0x70, r.randrange(14, 128) | r.choice([0, 0x80]))
            if r.random() < 0.4:
                self.outb(0x71, r.getrandbits(8))
            self.inb(0x71)

    def dma8257(self):
        r = self.r
        if r.random() < 0.5:
            ch = r.randrange(8)
            base, step = (0, 1) if ch < 4 else (0xc0, 2)
            n = ch & 3
            self.outb(base + 10 * step, 4 | n)
            self.outb(base + 12 * step, 0)
            self.outb(base + 11 * step, r.choice([0x44, 0x48, 0x58, 0x54, 0xc0]) & 0xfc | n)
            for reg in (2 * n, 2 * n + 1):
                v = r.getrandbits(16)
                self.outb(base + reg * step, v)
                self.outb(base + reg * step, v >> 8)
                self.outb(base + 12 * step, 0)
                self.inb(base + reg * step)
                self.inb(base + reg * step)
            self.outb([0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a][ch], r.getrandbits(8))
            self.outb(base + 10 * step, n)
            self.inb(base + 15 * step)
            self.inb(base + 8 * step)
        # Not single writes to addresses and counts: half a value shows on the chip at once, in QEMU not.
        self.noise(list(range(8, 16)) + list(range(0x81, 0x90)) + list(range(0xd0, 0xe0, 2)), wide=0)
        for _ in range(r.randrange(3)):
            self.inb(r.choice(list(range(0, 8)) + list(range(0xc0, 0xd0, 2))))

    def misc_ports(self):
        r = self.r
        k = r.random()
        if k < 0.3:
            if r.random() < 0.5:
                self.outb(0x92, r.getrandbits(8) & 0xfe)
            self.inb(0x92)
        elif k < 0.6:
            self.o("outl 0xcf8 0x%x" % (0x80000000 | r.choice(list(self.pci.values()) + [0xf8]) << 8 |
                                        r.choice([0, 8, 0x2c, 0x3c])))
            self.o("inl 0xcfc" if r.random() < 0.7 else "inb 0x%x" % (0xcfc + r.randrange(4)))
            self.o("inl 0xcf8")
        elif k < 0.7:
            self.noise([0xcf8, 0xcf9, 0xcfa, 0xcfb])
        elif k < 0.8:
            self.o("in%s 0x%x" % (r.choice("bwl"), r.choice([0x80, 0x2f8, 0x201, 0x3e8, 0x300, 0xe000, 0xffff, 0x3f7,
                                                             0x377, 0x3f0, 0x62])))
        else:
            self.o("read%s 0x%x" % (r.choice("bwl"), r.choice([0xf0000000, 0xfee00000 + 0x100000, 0xc0000000])))

    # ---- power management ----

    def pm(self):
        r = self.r
        k = r.random()
        if k < 0.3:
            if r.random() < 0.5:
                self.outb(r.choice([0xb2, 0xb3]), r.choice([0xf0, 0xf1, r.getrandbits(8)]))
            self.inb(0xb2)
            self.inb(0xb3)
            self.o("inw 0xb004")
        elif k < 0.5:
            self.outw(0xb004, r.getrandbits(16) & ~0x2000)
            self.o("in%s 0xb004" % r.choice("bwl"))
        elif k < 0.75:
            self.noise([0xafe0, 0xafe1, 0xafe2, 0xafe3])
            self.o("inl 0xafe0")
            self.o("lines", cost=0)
        elif k < 0.9:
            self.noise(range(0xaf00, 0xaf20), wide=0.3)
        else:
            for reg in (0, 4, 8, 12):
                self.o("inl 0x%x" % (0xae00 + reg))
            self.o("outl 0x%x 0x%x" % (0xae00 + r.randrange(4) * 4, 1 << r.randrange(8, 32)))
        if r.random() < 0.1:
            self.noise(range(0xb044, 0xb048))

    def platform(self):
        r = self.r
        self.o(r.choice(["inb 0x10", "inw 0x10", "inl 0x10", "inb 0x12", "inw 0x12", "inb 0x11", "inb 0x13",
                         "outw 0x12 0x3", "outl 0x10 0x12345", "outb 0x10 1", "outb 0x10 0", "outb 0x12 0x41",
                         "outb 0x12 0x0a"]))
        if r.random() < 0.4:
            self.o("%s 0x%x" % (r.choice(["inb", "inw", "inl"]), 0xc100 + r.randrange(0, 252)))
            self.outb(0xc100 + r.randrange(0, 16), r.getrandbits(1))
            self.o("read%s 0x%x" % (r.choice("bwl"), 0xea000000 + r.randrange(0, 0x1000000, 4)))

    # ---- PCI ----

    def pci_config(self):
        r = self.r
        for _ in range(r.randrange(1, 6)):
            name = r.choice(list(self.pci))
            f = self.pci[name]
            size = r.choice([1, 2, 4, 4])
            reg = r.randrange(0, 256 if r.random() < 0.5 else 64) & ~(size - 1)
            k = r.random()
            if k < 0.55:
                if reg >= 0x40 and name in self.CHIP and r.random() < 0.8:
                    reg, size, _ = r.choice(self.CHIP[name])
                self.o("pciread 0x%x 0x%x %d" % (f, reg, size), name)
            elif k < 0.75:
                # Without what would move or disable something (that has generators of its own), and above 0x40
                # only what the data sheet has and we care for: QEMU keeps whatever is written there.
                if reg >= 0x40:
                    if name == "isa":
                        continue        # a PIRQ write makes QEMU forget the level of other ISA interrupts
                    reg, size, mask = r.choice(self.CHIP.get(name, [(0x3c, 1, 0xff)]))
                    v = r.getrandbits(8 * size) & mask
                    self.o("pciwrite 0x%x 0x%x %d 0x%x" % (f, reg, size, v), name)
                    self.o("pciread 0x%x 0x%x %d" % (f, reg, size), name)
                    self.after_chip_register(name, f)
                    continue
                if reg < 0x28 and reg + size > 0x10 or reg < 6 and reg + size > 4 or 0x30 <= reg < 0x34:
                    continue
                self.o("pciwrite 0x%x 0x%x %d 0x%x" % (f, reg, size, r.getrandbits(8 * size)), name)
                self.o("pciread 0x%x 0x%x %d" % (f, reg, size), name)
            elif k < 0.8:
                self.o("pciread 0x%x 0x%x %d" % (r.choice([0x07, 0x0a, 0x0c, 0x20, 0xf8, 0xff, 0x100]), reg, size), "absent")
            elif k < 0.9:
                self.command_register(name)
            else:
                self.bars(name)

    CHIP = {"isa": [(0x60, 1, 0x8f), (0x61, 1, 0x8f), (0x62, 1, 0x8f), (0x63, 1, 0x8f), (0x60, 4, 0x8f8f8f8f)],
            "ide": [(0x40, 2, 0xffff), (0x42, 2, 0xffff), (0x44, 1, 0xff), (0x40, 4, 0xffffffff)],
            "pm": [(0x40, 4, 0xffc0), (0x80, 1, 1), (0xd2, 1, 0x0e)],
            "host": [(0x59, 1, 0xf0), (0x5a, 1, 0xff), (0x5b, 1, 0x33), (0x5c, 4, 0x33333333)]}

    def after_chip_register(self, name, f):
        if name == "ide":
            self.o("pciwrite 0x%x 0x40 4 0x80008000" % f)
        elif name == "pm":
            self.o("pciwrite 0x%x 0x40 4 0xb001" % f)
            self.o("pciwrite 0x%x 0x80 1 1" % f)
            self.o("inw 0xb004")

    def command_register(self, name):
        """Decoding off and on again, with a look at what was behind it."""
        f = self.pci[name]
        v = self.r.getrandbits(11) & ~0x400 if self.r.random() < 0.5 else self.r.choice([0, 1, 2, 3, 4, 5, 6, 7])
        self.settle()
        self.o("pciwrite 0x%x 4 2 0x%x" % (f, v), name)
        self.o("pciread 0x%x 4 4" % f, name)
        if name == "ide":
            self.inb(self.bm + 2)
            self.inb(0x1f7)
        elif name == "vga":
            self.o("readw 0x%x" % (self.mmio + 0x500))
            if v & 2:
                self.o("readl 0x%x" % self.fb)
            self.inb(0x3cc)
        elif name == "platform":
            self.inb(0xc100)
            self.o("readl 0xea000000")
        elif name == "pm":
            self.o("inw 0xb004")
        self.o("pciwrite 0x%x 4 2 %d" % (f, {"ide": 5, "vga": 7, "platform": 7, "pm": 1}.get(name, 7)), name)

    def bars(self, name):
        r, f = self.r, self.pci[name]
        self.settle()
        if name == "ide":
            if r.random() < 0.5:
                self.bm = r.choice([0xc000, 0xc200, 0xc210, 0xd000, 0xe400])
            self.o("pciwrite 0x%x 0x20 4 0xffffffff" % f, name)
            self.o("pciread 0x%x 0x20 4" % f, name)
            self.o("pciwrite 0x%x 0x20 4 0x%x" % (f, self.bm | 1), name)
            self.o("inl 0x%x" % self.bm)
        elif name == "vga":
            self.o("pciwrite 0x%x 4 2 0" % f, name)
            for reg in r.sample([0x10, 0x14, 0x18, 0x1c, 0x30], 2):
                self.o("pciwrite 0x%x 0x%x 4 0xffff%s" % (f, reg, "f800" if reg == 0x30 else "ffff"), name)
                self.o("pciread 0x%x 0x%x 4" % (f, reg), name)
            if r.random() < 0.5:    # video memory stays: QEMU 7.2 can move it once only
                self.mmio = r.choice([0xe8000000, 0xe8001000, 0xf8000000])
            self.o("pciwrite 0x%x 0x30 4 0" % f, name)
            self.o("pciwrite 0x%x 0x10 4 0x%x" % (f, self.fb), name)
            self.o("pciwrite 0x%x 0x18 4 0x%x" % (f, self.mmio), name)
            self.o("pciwrite 0x%x 4 2 7" % f, name)
            self.o("pciread 0x%x 0x10 4" % f, name)
            self.o("readl 0x%x" % self.fb)
            self.o("readw 0x%x" % (self.mmio + 0x50a))
        elif name == "platform":
            self.o("pciwrite 0x%x 0x%x 4 0xffffffff" % (f, r.choice([0x10, 0x14])), name)
            self.o("pciread 0x%x 0x10 4" % f, name)
            self.o("pciread 0x%x 0x14 4" % f, name)
            self.o("pciwrite 0x%x 0x10 4 0xc101" % f, name)
            self.o("pciwrite 0x%x 0x14 4 0xea000000" % f, name)
        else:
            reg = r.choice([0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x30])
            self.o("pciwrite 0x%x 0x%x 4 0xffffffff" % (f, reg), name)
            self.o("pciread 0x%x 0x%x 4" % (f, reg), name)
            self.o("pciwrite 0x%x 0x%x 4 0" % (f, reg), name)

    # ---- IDE ----

    def settle(self):
        """Until no disk request is under way: what comes before and after it is compared, not how long it takes."""
        for ctl in (0x3f6, 0x376):
            self.o("poll inb 0x%x 3000 0x80 0" % ctl)

    def ide_status(self):
        for base in (0x1f0, 0x170):
            for reg in self.r.sample(range(1, 8), 4):
                self.inb(base + reg)

    def channel(self):
        ch = self.r.randrange(2)
        return ch, (0x1f0, 0x170)[ch], (0x3f6, 0x376)[ch]

    def select_disk(self):
        if self.r.random() < 0.15:
            ch, base, ctl = self.channel()
            return ch, base, ctl, self.r.randrange(2)
        return 0, 0x1f0, 0x3f6, int(self.machine.slave and self.r.random() < 0.4)

    def soft_reset(self, ch, control=0):
        """QEMU then runs its diagnostic and raises the interrupt, a drive does not (ATA-6 9.2): so it is taken back."""
        base, ctl = (0x1f0, 0x170)[ch], (0x3f6, 0x376)[ch]
        self.outb(ctl, 4)
        self.outb(ctl, control)
        self.o("poll inb 0x%x 3000 0x80 0" % ctl, "after reset")
        for drive in (0x10, 0):
            self.outb(base + 6, 0xa0 | drive)
            self.o("inb 0x%x" % (base + 7), "after reset")
        self.outb(self.bm + 8 * ch + 2, 6)
        self.left[1 - ch] = {}
        self.left_before[1 - ch] = {}

    def recover(self, ch, base, ctl, drive):
        self.outb(self.bm + 8 * ch, 0)
        self.settle()
        self.soft_reset(ch, self.r.choice([0, 0, 0, 2]))
        self.outb(base + 6, 0xa0 | drive << 4)

    def taskfile(self, base, drive, lba, count, ext, lba_mode):
        self.beyond[base >> 7 & 1] = lba + count > DISK_SECTORS
        if ext:
            for reg, v in ((2, count >> 8), (3, lba >> 24), (4, lba >> 32), (5, lba >> 40)):
                self.outb(base + reg, v)
        head = lba >> 24 & 15
        if not lba_mode:            # as CHS: 16 heads of 63 sectors
            c, h, s = lba // 1008, lba // 63 % 16, lba % 63 + 1
            lba, head = s | c << 8, h
        for reg, v in ((2, count), (3, lba), (4, lba >> 8), (5, lba >> 16),
                       (6, 0xa0 | (0x40 if lba_mode else 0) | drive << 4 | (0 if ext else head))):
            self.outb(base + reg, v)

    def ata(self):
        r = self.r
        ch, base, ctl, drive = self.select_disk()
        if ch or r.random() < 0.15:
            self.recover(ch, base, ctl, drive)
        k = r.random()
        ext = r.random() < 0.25
        count = r.choice([1, 1, 2, 3, 8, 16, 17, 40])
        lba = r.randrange(0, DISK_SECTORS - 48) if r.random() < 0.95 else \
            r.choice([DISK_SECTORS - 1, DISK_SECTORS, DISK_SECTORS - 3, 0xfffffff, 0x123456])
        if lba < DISK_SECTORS:
            lba = min(lba, DISK_SECTORS - count)    # how much of a command that crosses the end is done differs
        lba_mode = ext or r.random() < 0.85
        if k < 0.3:
            self.taskfile(base, drive, lba, count, ext, lba_mode)
            self.ata_pio_read(base, ctl, count, (r.choice([0x20, 0x20, 0x21, 0xc4]), 0x24, 0x29)[
                ext and r.choice([1, 1, 2])])
        elif k < 0.45:
            lba = min(lba, DISK_SECTORS - 8)
            count = min(count, 8)       # all of it is sent: of half a command QEMU has written half, xendm nothing
            self.taskfile(base, drive, lba, count, ext, lba_mode)
            self.ata_pio_write(base, ctl, count, (r.choice([0x30, 0x31, 0xc5]), 0x34, 0x39)[
                ext and r.choice([1, 1, 2])])
        elif k < 0.75:
            write = r.random() < 0.4
            self.dma_command(ch, base, ctl, drive, lba, count, ext, lba_mode, write)
        else:
            self.ata_simple(base, ctl, drive, lba, count, ext, lba_mode)
        if r.random() < 0.3:
            self.ide_status()
            self.o("lines", cost=0)

    def block(self, base, words, write=False):
        r = self.r
        size = r.choice([2, 2, 2, 4])
        n = words * 2 // size
        a = self.address(words * 2)
        if r.random() < 0.2:
            for _ in range(min(n, r.randrange(1, 5))):
                if write:
                    self.o("out%s 0x%x 0x%x" % ("w" if size == 2 else "l", base, r.getrandbits(8 * size)))
                else:
                    self.o("in%s 0x%x" % ("w" if size == 2 else "l", base))
                n -= 1
        if n > 0:
            self.o("%s 0x%x %d %d 0x%x" % ("outs" if write else "ins", base, size, n, a))

    def ata_pio_read(self, base, ctl, count, cmd):
        r = self.r
        self.outb(base + 7, cmd)
        done, step = 0, 1           # by the sector: xendm has the next one sooner than QEMU
        part = min(count, r.choice([count, count, 2]))
        whole, count = part == count, part
        while done < count:
            self.o("poll inb 0x%x 3000 0x80 0" % ctl)
            if r.random() < 0.5:
                self.inb(base + 7)
            self.block(base, 256 * min(step, count - done))
            done += step
        self.settle()
        self.inb(base + 7)
        self.inb(base + 1)
        if not whole:
            self.recover(base == 0x170, base, ctl, r.randrange(2))

    def ata_pio_write(self, base, ctl, count, cmd):
        r = self.r
        self.outb(base + 7, cmd)
        for _ in range(count):
            self.o("poll inb 0x%x 3000 0x80 0" % ctl)
            self.block(base, 256, True)
        self.settle()
        self.inb(base + 7)
        self.inb(base + 1)

    def prd_table(self, length):
        """Descriptors for about `length` bytes, some odd in size, some over a page's end."""
        r = self.r
        at = PRD + r.choice([0, 8, 0x100, 0x7f0])
        total, i, free = 0, 0, RAM + r.randrange(0, 0x40000) & ~1
        if r.random() < 0.08:
            length += r.choice([2, 512, 4096])   # too short: devices stop in the middle, QEMU before the start
        while total < length:
            n = min(length - total, r.choice([512, 1024, 4096, 65536, 2 * r.randrange(1, 900)]))
            if r.random() < 0.5:
                free = (free | 0xfff) + 1
            a, free = free, free + n    # none overlaps another: which one wins is not defined
            free += r.choice([0, 0, 2, 100])
            total += n
            self.ram("writel 0x%x 0x%x" % (at + 8 * i, a))
            self.ram("writel 0x%x 0x%x" % (at + 8 * i + 4, n & 0xffff | (0x80000000 if total >= length else 0)))
            i += 1
        return at

    def dma_command(self, ch, base, ctl, drive, lba, count, ext, lba_mode, write):
        r = self.r
        bm = self.bm + 8 * ch
        self.outb(bm, 0)
        table = self.prd_table(512 * count)
        self.o("outl 0x%x 0x%x" % (bm + 4, table))
        self.outb(bm + 2, r.choice([6, 6, 6, 0x66]))
        self.taskfile(base, drive, lba, count, ext, lba_mode)
        first = r.random() < 0.5
        to_memory = 0 if write else 8
        if first:
            self.outb(bm, to_memory)
        self.outb(base + 7, (0x35 if write else 0x25) if ext else r.choice([0xca, 0xcb] if write else [0xc8, 0xc9]))
        self.outb(bm, to_memory | 1)
        tag = "fails" if lba + count > DISK_SECTORS or ch or drive and not self.machine.slave else ""
        self.o("poll inb 0x%x 40 5 1 not" % (bm + 2), "while it runs")
        self.o("poll inb 0x%x 3000 0x88 0" % ctl)
        self.inb(bm + 2, tag)
        if r.random() < 0.5:
            self.inb(bm)
            self.o("inl 0x%x" % (bm + 4))
        self.o("lines", cost=0)
        self.inb(ctl)
        self.outb(bm, r.choice([0, to_memory]))
        self.inb(base + 7)
        self.inb(base + 1)
        self.outb(bm + 2, 6)
        self.inb(bm + 2, tag)
        if r.random() < 0.2:
            self.ram("sum 0x%x 0x%x" % (RAM, RAM_SIZE))

    def ata_simple(self, base, ctl, drive, lba, count, ext, lba_mode):
        r = self.r
        k = r.random()
        if k < 0.25:
            self.outb(base + 6, 0xa0 | drive << 4)
            self.outb(base + 7, r.choice([0xec, 0xec, 0xa1]))
            self.o("poll inb 0x%x 3000 0x80 0" % ctl)
            a = RAM + 0x800 * r.randrange(16)
            self.ram("memset 0x%x 512 0" % a)
            self.o("ins 0x%x 2 256 0x%x" % (base, a))
            for w in r.sample(range(256), 8):
                self.o("readw 0x%x" % (a + 2 * w), "identify word %d" % w, cost=0)
            self.ram("memset 0x%x 512 0" % a)
            self.settle()
            self.inb(base + 7)
            return
        if k < 0.4:                 # SET FEATURES
            sub, v = r.choice([(3, 0x08), (3, 0x0c), (3, 0x22), (3, 0x42), (3, 0x45), (3, 0),
                               (2, 0), (0x82, 0), (0xaa, 0), (0x55, 0), (0xcc, 0), (0x66, 0), (0x05, 0x80),
                               (0x85, 0), (0x42, 0), (0xc2, 0), (0x69, 0), (0x67, 0), (0x96, 0), (0x9a, 0), (0x77, 0)])
            self.outb(base + 6, 0xa0 | drive << 4)
            self.outb(base + 1, sub)
            self.outb(base + 2, v)
            self.outb(base + 7, 0xef, "features 0x%02x" % sub)
        elif k < 0.5:
            self.outb(base + 6, 0xa0 | drive << 4)
            n = r.choice([1, 2, 4, 8, 16, 0, 3, 32, 128])
            self.outb(base + 2, n)
            self.outb(base + 7, 0xc6)
            self.settle()
            self.inb(base + 7)
            self.inb(base + 1)
            if n != 16:                 # after a refused one, and after a reset, QEMU and xendm differ
                self.outb(base + 2, 16)
                self.outb(base + 7, 0xc6)
        elif k < 0.65:              # VERIFY, SEEK, RECALIBRATE, READ NATIVE MAX …
            self.taskfile(base, drive, lba, count, ext, lba_mode)
            c = r.choice([0x42 if ext else 0x40, 0x41, 0x70, 0x10, 0xf8, 0x27])
            if c & 0xf0 in (0x40, 0x70) and lba + count > DISK_SECTORS:
                return                  # VERIFY, SEEK: QEMU does not look at the address
            self.outb(base + 7, c, "with LBA" if lba_mode else "")
            if c in (0x27, 0xf8):       # leaves the last address; a transfer from there would cross the end
                self.settle()
                for reg in (3, 4, 5):
                    self.inb(base + reg)
                    self.outb(base + reg, 0)
        elif k < 0.7:
            self.outb(base + 6, 0xa0 | drive << 4 | 15)
            self.outb(base + 2, 63)     # others: xendm checks addresses against them, QEMU does not
            self.outb(base + 7, 0x91, "not zero")
        else:
            self.outb(base + 6, 0xa0 | drive << 4)
            self.outb(base + 7, r.choice([0x90, 0x08, 0xe7, 0xea, 0xe0, 0xe1, 0xe2, 0xe3, 0xe5, 0xe6, 0x94, 0x95, 0x96,
                                          0x97, 0x98, 0x99, 0x00, 0xde, 0xda, 0xf5]))
        self.settle()
        for reg in r.sample(range(1, 8), 5):
            self.inb(base + reg)
        self.inb(base + 7)

    def ide_noise(self):
        """Registers at random. A command is followed by a wait, so that nothing is compared while it runs."""
        r = self.r
        ch, base, ctl = self.channel()
        self.beyond[1 - ch] = True      # any address
        for _ in range(r.randrange(2, 8)):
            k = r.random()
            if k < 0.45:
                self.inb(base + r.randrange(1, 8))
            elif k < 0.75:
                self.outb(base + r.randrange(1, 7), r.getrandbits(8))
            elif k < 0.8:
                v = r.choice([0, 2, 4, 6, 0x80, 0x82, 8])
                if v & 4:
                    self.soft_reset(ch, v & ~4)
                else:
                    self.outb(ctl, v)
                self.inb(ctl)
            elif k < 0.85:
                self.o(r.choice(["inw 0x%x", "inl 0x%x", "inb 0x%x"]) % base)
                self.settle()
            elif k < 0.9:
                self.o(r.choice(["outw 0x%x 0x1234", "outl 0x%x 0x12345678"]) % base)
                self.settle()
            elif k < 0.92:
                self.inb(self.bm + 8 * ch + r.randrange(8))
                if r.random() < 0.5:
                    self.outb(self.bm + 8 * ch + r.randrange(2, 8), r.getrandbits(8))
            else:
                self.noise_command(base)
        self.recover(ch, base, ctl, r.randrange(2))

    def noise_command(self, base):
        """Any command, also those that nobody has, with whatever the registers hold. Some get registers of their own:
        what a command before left in them says nothing, so the two drives would do different things with it."""
        r = self.r
        c, tag = r.getrandbits(8), ""
        if c in (0x40, 0x41, 0x70, 0x30, 0x31, 0x32, 0x33, 0x38, 0x3c, 0xc5, 0xcd, 0xe8, 0x45):
            return              # writing to places that are not there: found at once, in QEMU after the data
        if c in (0x24, 0x29, 0x34, 0x39, 0x42):
            return              # 48-bit commands need the LBA bit (ATA-6); QEMU does not look at it
        if c in (0x25, 0x35, 0xc8, 0xc9, 0xca, 0xcb, 0x26, 0x36, 0xc7, 0xcc, 0x60, 0x61):
            return              # DMA that nobody starts: has a generator of its own
        if c in (0x20, 0x21, 0x22, 0x23, 0xc4):
            # All of it on the disk or none of it, as in ata().
            lba = r.choice([r.randrange(DISK_SECTORS - 8), DISK_SECTORS + r.getrandbits(20)])
            self.taskfile(base, r.randrange(2), lba, r.randrange(1, 9), False, True)
        elif c == 0xc6:
            self.outb(base + 2, 16)     # as ata_simple() leaves it
        elif c == 0xef:
            sub = r.choice([2, 0x82, 0x55, 0xaa, 0xcc, 0x66, 0x77])
            self.outb(base + 1, sub)
            tag = "features 0x%02x" % sub
        self.outb(base + 7, c, tag)
        self.settle()
        self.inb(base + 7)
        self.inb(base + 1)

    # ---- ATAPI ----

    def packet(self):
        """Twelve bytes, and how many the drive answers at most."""
        r = self.r
        k = r.random()
        p = [0] * 12

        def be(at, n, v):
            for i in range(n):
                p[at + i] = v >> 8 * (n - 1 - i) & 0xff
        length = r.choice([4, 8, 12, 16, 18, 20, 24, 32, 36, 40, 64, 96, 128, 255])
        if k < 0.3:
            lba = r.randrange(0, CD_BLOCKS - 8) if r.random() < 0.9 else r.choice([CD_BLOCKS - 1, CD_BLOCKS, 0x7fffff])
            n = r.choice([1, 1, 2, 3, 0])
            p[0] = r.choice([0x28, 0x28, 0xa8])
            be(2, 4, lba)
            be(6, 4, n) if p[0] == 0xa8 else be(7, 2, n)
            return p, 2048 * n
        if k < 0.4:
            p[0] = 0x03
            p[4] = length
        elif k < 0.48:
            p[0] = 0x12
            p[4] = length
        elif k < 0.55:
            p[0] = 0x00
        elif k < 0.6:
            p[0] = 0x25
            length = 8
        elif k < 0.67:
            p[0] = 0x43
            p[1] = r.choice([0, 2])
            p[9] = r.choice([0, 0, 1, 2]) << 6      # not byte 2, which QEMU does not look at
            p[6] = r.choice([0, 0, 1] if p[9] else [0, 0, 1, 0xaa, 2])
            be(7, 2, length)
        elif k < 0.72:
            p[0] = 0x4a
            p[1] = r.choice([1, 1, 0])
            p[4] = r.choice([0x10, 0x10, 0, 2, 0x40])
            be(7, 2, length)
        elif k < 0.77:
            p[0] = 0x46
            p[1] = r.choice([0, 0, 1])          # single features, and others than the first: not in QEMU
            length = 8
            be(7, 2, length)
        elif k < 0.82:
            p[0] = 0x5a
            p[2] = r.choice([0x01, 0x0e, 0x2a, 0x1a, 0xc1])  # others are not in QEMU
            be(7, 2, length)
        elif k < 0.86:
            p[0] = 0x1b
            p[4] = r.choice([0, 1, 2, 3, 2, 3])
            length = 0
        elif k < 0.9:
            p[0] = 0x1e
            p[4] = r.getrandbits(1)
            length = 0
        elif k < 0.93:
            p[0] = r.choice([0x51, 0x52, 0xad, 0xbd])
            be(8, 2, length)
            if p[0] == 0xad:
                p[7] = r.choice([0, 1])
            elif p[0] != 0xbd:
                be(7, 2, length)
        elif k < 0.96:
            p[0] = r.choice([0x2b, 0xbb, 0x35, 0xbe, 0xb9, 0x44, 0x45, 0xa4])
            if p[0] == 0xbe:
                be(6, 3, 1)
                p[9] = r.choice([0x10, 0])      # no raw sectors: xendm does not have them
                length = 2352
        else:
            p = [r.getrandbits(8) for _ in range(12)]
            p[0] = r.choice([0x02, 0x20, 0x2f, 0x60, 0x90, 0xc0, 0xd1, 0xff])   # nobody has these
        return p, length

    def atapi(self):
        r = self.r
        ch, base, ctl, drive = 1, 0x170, 0x376, 0
        if r.random() < 0.15:
            self.recover(ch, base, ctl, drive)
        p, length = self.packet()
        # Not with DMA where replies differ: they stay in memory, and its checksum would, too.
        dma = r.random() < 0.5 and p[0] in (0x28, 0xa8, 0x25, 0x00, 0x1b) and self.machine.cd != "none" \
            and ch == 1
        bm = self.bm + 8 * ch
        self.outb(base + 7, 8)          # whatever the command before had left
        self.settle()
        self.outb(base + 6, 0xa0 | drive << 4)
        if dma:
            self.outb(bm, 0)
            self.o("outl 0x%x 0x%x" % (bm + 4, self.prd_table(max(length, 2) & ~1)))
            self.outb(bm + 2, 6)
        limit = r.choice([2048, 4096, 0xfffe, 0xffff, 0x800, 36, 8, 512])
        if p[0] == 0xbe:
            limit = 2352                # QEMU takes 0 for a command that might have no data
        self.outb(base + 1, int(dma))
        self.outb(base + 4, limit)
        self.outb(base + 5, limit >> 8)
        tag = "packet %02x" % p[0] + (" format %d" % (p[9] >> 6) if p[0] == 0x43 else "")
        self.outb(base + 7, 0xa0)
        self.o("poll inb 0x%x 3000 0x80 0" % ctl)
        if r.random() < 0.3:
            self.inb(base + 2)
            self.inb(base + 7)
        if r.random() < 0.3:
            a = RAM + 0x4000
            self.ram("write 0x%x 12 0x%s" % (a, bytes(p).hex()))
            self.o("outs 0x%x 2 6 0x%x" % (base, a), tag)
        else:
            for i in range(0, 12, 2):
                self.o("outw 0x%x 0x%x" % (base, p[i] | p[i + 1] << 8), tag)
        if dma:
            self.outb(bm, 9)
            self.o("poll inb 0x%x 25 5 1 not" % (bm + 2), tag + " while it runs")
            self.o("poll inb 0x%x 3000 0x88 0" % ctl, tag)
            self.inb(bm + 2, tag)
            self.outb(bm, 0)
            self.settle()
        else:
            turns, done = 0, 0
            self.settle()
            while turns < r.choice([1, 2, 3]):
                turns += 1
                for reg in (7, 2, 4, 5):
                    self.inb(base + reg, tag)
                n = min(max(length, 2), max(limit & 0xfffe, 2))
                if p[0] in (0, 0x1b, 0x1e) or r.random() < 0.1:
                    break
                n = (n + 1) // 2
                a = self.address(2 * n)
                self.o("ins 0x%x 2 %d 0x%x" % (base, n, a), tag)
                for w in r.sample(range(n), min(n, 4)):
                    self.o("readw 0x%x" % (a + 2 * w), "%s reply word %d" % (tag, done + w), cost=0)
                done += n
                if p[0] in (0x28, 0xa8, 0xbe):
                    self.ram("sum 0x%x %d" % (a, 2 * n))
                self.ram("memset 0x%x %d 0x5a" % (a, 2 * n))
                self.settle()
        self.o("lines", tag, cost=0)
        for reg in (7, 1, 2):
            self.inb(base + reg, tag)
        if p[0] in (0x1b, 0x1e):        # and closed and unlocked again
            for q in ((0x1e, 0), (0x1b, 3)):
                self.outb(base + 7, 8)
                self.settle()
                self.outb(base + 1, 0)
                self.outb(base + 7, 0xa0)
                self.settle()
                for v in (q[0], 0, q[1], 0, 0, 0):
                    self.outw(base, v)
                self.settle()
                self.inb(base + 7)
                self.inb(base + 1)
            p = [0x1b, 0, 0, 0, 3]
        if p[0] == 0x1b and p[4] & 3 == 3:
            for _ in range(2):
                self.outb(base + 6, 0xa0 | drive << 4)
                self.outb(base + 1, 0)
                self.outb(base + 7, 0xa0)
                self.settle()
                for _ in range(6):
                    self.outw(base, 0)
                self.o("poll inb 0x%x 3000 0x80 0" % ctl, "after load")
                for reg in (7, 1, 2):
                    self.inb(base + reg, "after load")
        if r.random() < 0.3:
            self.recover(ch, base, ctl, drive)

    # ---- serial port ----

    def serial(self):
        r = self.r
        b = 0x3f8
        k = r.random()
        if k < 0.25:                # as 8250 drivers set a port up
            self.outb(b + 3, 0x80)
            self.outb(b, r.choice([1, 1, 2, 12]))
            self.outb(b + 1, 0)
            self.inb(b, "divisor")
            self.outb(b + 3, r.choice([3, 3, 7, 0x1b, 2]))
            self.outb(b + 1, 0)
            self.outb(b + 2, r.choice([0, 1, 7, 0xc7, 0x87, 6]), "quiet")
            self.outb(b + 4, r.choice([3, 0xb, 8, 0]))
            self.outb(b + 1, r.choice([0, 1, 2, 3, 5, 7, 0xf]))
            self.inb(b + 2)
        elif k < 0.45:              # loopback
            self.outb(b + 3, 3)
            self.outb(b + 1, 0)
            self.outb(b + 2, r.choice([0, 1, 7, 0xc7, 0x47]), "quiet")
            self.outb(b + 1, r.choice([0, 0, 1, 2, 3, 7]))
            self.outb(b + 4, 0x10 | r.getrandbits(4))
            self.inb(b + 6)
            for _ in range(r.randrange(1, 20)):
                if r.random() < 0.6:
                    self.outb(b, r.getrandbits(8))
                if r.random() < 0.5:
                    self.inb(b + r.choice([5, 2, 6]))
                if r.random() < 0.4:
                    self.read_rbr()
            self.outb(b + 4, 0x10 | r.getrandbits(4))
            self.inb(b + 6)
            self.outb(b + 1, 0)
            self.outb(b + 2, 6, "quiet")
            self.outb(b + 4, r.getrandbits(4))
            self.inb(b + 6)
            self.inb(b + 6)
        elif k < 0.6:               # sending
            self.outb(b + 4, 3)
            for _ in range(r.randrange(1, 10)):
                self.outb(b, r.getrandbits(8))
                self.inb(b + 5)
                if r.random() < 0.3:
                    self.inb(b + 2)
        else:
            self.noise(range(b, b + 8), wide=0)
            self.read_rbr()
        self.inb(b + 5)     # xendm collects characters until somebody looks or it has nothing else to do
        self.o("lines", "serial", cost=0)

    def read_rbr(self):
        if not self.dlab:
            self.inb(0x3fd)
            self.inb(0x3f8, "after LSR")

    # ---- VGA ----

    def vga_registers(self):
        r = self.r
        for _ in range(r.randrange(1, 5)):
            k = r.random()
            if k < 0.2:
                i = r.randrange(0, 8)
                self.pair(0x3c4, i, r.getrandbits(8))
            elif k < 0.4:
                self.pair(0x3ce, r.randrange(0, 16), r.getrandbits(8))
            elif k < 0.6:
                self.pair(r.choice([0x3d4, 0x3d4, 0x3b4]), r.randrange(0, 0x28), r.getrandbits(8))
            elif k < 0.7:
                self.inb(0x3da)
                self.index[0x3c0] = r.randrange(0, 0x20)
                self.o("outb 0x3c0 0x%x" % (self.index[0x3c0] | r.choice([0, 0x20])), "attribute index")
                if r.random() < 0.7:
                    self.o("outb 0x3c0 0x%x" % r.getrandbits(8), "attribute %02x" % self.index[0x3c0])
                else:
                    self.inb(0x3c1)
                    self.inb(0x3c0)
                    self.inb(0x3da)
            elif k < 0.85:
                self.outb(r.choice([0x3c7, 0x3c8]), r.getrandbits(8))
                for _ in range(r.randrange(0, 7)):
                    if r.random() < 0.5:
                        self.outb(0x3c9, r.getrandbits(8))
                    else:
                        self.inb(0x3c9)
                self.inb(0x3c7)
                self.inb(0x3c8)
                self.inb(0x3c6)
            else:
                self.outb(0x3c2, r.choice([0x67, 0x63, 0xe3, 0x66, r.getrandbits(8)]))
                self.inb(0x3cc)
        if r.random() < 0.25:
            self.noise(list(range(0x3b0, 0x3c0)) + list(range(0x3c0, 0x3e0)), wide=0)

    def pair(self, port, i, v):
        r = self.r
        if r.random() < 0.5:
            self.outw(port, i | v << 8, "index 0x%02x" % i)
        else:
            self.outb(port, i)
            if r.random() < 0.7:
                self.outb(port + 1, v)
        self.inb(port + 1)

    def vga_window(self):
        r = self.r
        if self.vga_dirty:
            self.vga_mode()
            return
        for _ in range(r.randrange(1, 8)):
            size = r.choice("bbwl")
            a = 0xa0000 + r.randrange(0, 0x20000) & ~3
            if r.random() < 0.5:
                a = r.choice([0xa0000, 0xb8000, 0xb0000]) + r.randrange(0, 64)
            if r.random() < 0.6:
                self.o("write%s 0x%x 0x%x" % (size, a, r.getrandbits({"b": 8, "w": 16, "l": 32}[size])))
            if r.random() < 0.6:
                self.o("read%s 0x%x" % (size, a))
        if r.random() < 0.2:
            n, size = r.randrange(1, 64), r.choice([1, 2, 4])
            self.o("movs_%s 0x%x %d %d 0x%x" % (r.choice(["in", "out"]), r.choice([0xa0000, 0xb8000, 0xa8000]), size, n,
                                                self.address(n * size)))
        if r.random() < 0.3:
            self.o("readb 0xa0000")
            self.o("readl 0x%x" % (self.fb + r.randrange(0, 0x40000) & ~3))

    MODES = {   # misc, sequencer 1-4, graphics 0-8, attribute mode
        "text": (0x67, [0x00, 0x03, 0x00, 0x02], [0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff], 0x0c),
        "planar": (0xe3, [0x01, 0x0f, 0x00, 0x06], [0, 0, 0, 0, 0, 0, 0x05, 0x0f, 0xff], 0x01),
        "linear": (0x63, [0x01, 0x0f, 0x00, 0x0e], [0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff], 0x41),
        "x": (0x63, [0x01, 0x0f, 0x00, 0x06], [0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff], 0x41),
        "cga": (0x63, [0x01, 0x03, 0x00, 0x02], [0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff], 0x01),
    }

    def vga_mode(self):
        name = self.r.choice(list(self.MODES))
        misc, sr, gr, mode = self.MODES[name]
        self.outw(0x1ce, 4)
        self.outw(0x1cf, 0)
        self.outb(0x3c2, misc)
        for i, v in enumerate(sr):
            self.outw(0x3c4, i + 1 | v << 8)
        self.outw(0x3d4, 0x0011)
        for i, v in enumerate([0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0xd, 0xe, 0, 0, 0, 0, 0x9c, 0x8e,
                               0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff]):
            self.outw(0x3d4, i | v << 8)
        for i, v in enumerate(gr):
            self.outw(0x3ce, i | v << 8)
        self.inb(0x3da)
        for i in range(16):
            self.outb(0x3c0, i)
            self.outb(0x3c0, i)
        self.outb(0x3c0, 0x10)
        self.outb(0x3c0, mode)
        self.outb(0x3c0, 0x20)
        if name in ("planar", "x"):
            self.o("readb 0xa0000")     # the latches: reads in other modes load them, too, but not in QEMU
        self.vga_dirty = False
        for _ in range(4):
            self.vga_window()
        if name == "planar" and self.r.random() < 0.7:
            self.planar()

    def planar(self):
        """Write modes, read modes, set/reset, rotation, logic and masks, as 16-colour modes use them."""
        r = self.r
        for _ in range(r.randrange(1, 12)):
            i = r.choice([0, 1, 2, 3, 4, 5, 7, 8])
            v = r.getrandbits(8)
            self.outw(0x3ce, i | (v & 0x0b if i == 5 else v) << 8)
            if r.random() < 0.5:
                self.outw(0x3c4, 2 | r.randrange(16) << 8)
            self.vga_dirty = False
            self.vga_window()
        self.vga_dirty = True

    def dispi(self):
        """Mode sets as vgabios and bochs-drm do them, with values that the hardware takes as they are. Which nearest
        value it takes for others is each implementation's own business."""
        r = self.r
        w, h, bpp = r.choice([(640, 480, 32), (800, 600, 16), (1024, 768, 32), (320, 200, 8), (1280, 1024, 24),
                              (800, 33, 15), (1600, 1200, 32), (640, 400, 8), (8, 1, 8), (2048, 2048, 32)])
        mode = r.choice([0x41, 0x01, 0xc1, 0x61, 0x81])
        for i, v in ((4, 0), (0, r.choice([0xb0c5, 0xb0c0, 0xb0c2, 0xb0c4])), (3, bpp), (1, w), (2, h), (4, mode)):
            self.dispi_write(i, v)
        self.dispi_reads()
        for _ in range(r.randrange(0, 5)):
            k = r.random()
            self.vga_dirty = False      # dispi sets the window's mode
            if k < 0.3 and bpp > 4:
                self.dispi_write(5, r.randrange(0, 64))
                self.vga_window()
            elif k < 0.5:
                wider = 8 * r.randrange(0, 16)
                self.dispi_write(8, 0)
                self.dispi_write(6, w + wider)
                self.dispi_write(8, min(wider, r.choice([0, 8, 16])))
                self.dispi_write(9, r.randrange(0, 8))
            elif k < 0.6:
                self.dispi_write(5, 0)      # QEMU would go to bank 0, but not say so
                self.dispi_write(4, mode | 2)
                self.dispi_read(3)
                self.dispi_read(10)
                self.dispi_write(4, mode)
            elif k < 0.8:
                self.vga_window()
            else:
                self.o("writel 0x%x 0x%x" % (self.fb + r.randrange(0, w * h) & ~3, r.getrandbits(32)))
            self.dispi_reads()
        self.dispi_write(5, 0)
        self.vga_mode()             # QEMU forces VGA registers as long as VBE is on: all are set anew

    def dispi_write(self, i, v):
        if self.r.random() < 0.8:
            self.outw(0x1ce, i)
            self.outw(0x1cf, v)
        else:
            self.o("writew 0x%x 0x%x" % (self.mmio + 0x500 + 2 * i, v))

    def dispi_read(self, i):
        if self.r.random() < 0.8:
            self.outw(0x1ce, i)
            self.o("inw 0x1cf", "index 0x%02x" % i)
        else:
            self.o("readw 0x%x" % (self.mmio + 0x500 + 2 * i), "index 0x%02x" % i)

    def dispi_reads(self):
        for i in self.r.sample(range(0, 16), self.r.randrange(1, 5)):
            self.dispi_read(i)

    def vga_mmio(self):
        r = self.r
        for _ in range(r.randrange(1, 5)):
            k = r.random()
            if k < 0.35:
                self.dispi_read(r.randrange(0, 16))
            elif k < 0.6:
                port = r.choice([0x3c0, 0x3c1, 0x3c2, 0x3c4, 0x3c5, 0x3c6, 0x3c7, 0x3c8, 0x3c9, 0x3cc, 0x3ce, 0x3cf, 0x3d4,
                                 0x3d5])
                if r.random() < 0.4 and port not in (0x3c0,):
                    v = r.getrandbits(8)
                    self.note_index(port, v)
                    self.o("writeb 0x%x 0x%x" % (self.mmio + 0x400 + port - 0x3c0, v), "port 0x%x" % port)
                self.o("readb 0x%x" % (self.mmio + 0x400 + port - 0x3c0),
                       ("port 0x%x " % port + self.port_tag(port)).strip())
            elif k < 0.7:
                self.o("readl 0x%x" % (self.mmio + r.choice([0x600, 0x604])), "extended")
            elif k < 0.8:
                self.o("read%s 0x%x" % (r.choice("bwl"), self.mmio + r.randrange(0, 0x100, 4)), "edid")
            else:
                a = self.fb + r.choice([r.randrange(0, 0x1000000), r.randrange(0, 0x20000)]) & ~3
                if r.random() < 0.6:
                    self.o("writel 0x%x 0x%x" % (a, r.getrandbits(32)))
                self.o("read%s 0x%x" % (r.choice("bwl"), a))

    # ---- string instructions on everything ----

    def strings(self):
        r = self.r
        ports = [0x60, 0x3fd, 0xb2, 0x12, 0xafe0, 0x10]
        if self.machine.vga:
            ports += [0x3cf, 0x3c8]
        port, size, n = r.choice(ports), r.choice([1, 1, 2, 4]), r.choice([1, 2, 3, 7, 30])
        if 0x3c0 <= port < 0x3e0 or port == 0x3fd:
            size = 1
        df = r.random() < 0.3
        a = self.address(512) + 128     # what lies up to 128 bytes before it is looked at, too, and is RAM as well
        if r.random() < 0.7 or port in (0x12, 0x64, 0x10, 0x1f7, 0x60):
            self.o("ins 0x%x %d %d 0x%x%s" % (port, size, n, a, " df" if df else ""), self.port_tag(port))
            self.o("read 0x%x 256" % (a - 128), "ins 0x%x %s" % (port, self.port_tag(port)), cost=0)
            self.ram("memset 0x%x 256 0x5a" % (a - 128))
        else:
            self.ram("memset 0x%x 256 0x%x" % (a - 128, r.getrandbits(8)))
            self.o("outs 0x%x %d %d 0x%x%s" % (port, size, n, a, " df" if df else ""), self.port_tag(port))
            self.vga_dirty = True
            self.inb(port)
