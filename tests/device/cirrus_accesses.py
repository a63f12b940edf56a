# SPDX-License-Identifier: GPL-2.0-or-later
"""Random accesses to a Cirrus adapter for tests/device/differential: blits with every raster operation, and banks.

Only what has one right answer: QEMU refuses a blit that leaves video memory, the chip and xendm wrap; QEMU on Xen leaves
the frame buffer to the guest while a blit waits for the CPU, so that its data goes through the aperture; QEMU's patterns of
24 bits and clipping of 24-bit rows read beyond their source."""

ROPS = (0x00, 0x05, 0x06, 0x09, 0x0b, 0x0d, 0x0e, 0x50, 0x59, 0x6d, 0x90, 0x95, 0xad, 0xd0, 0xd6, 0xda, 0x77)
UP, FROM_CPU, KEYED, PATTERN, EXPAND = 1, 4, 8, 0x40, 0x80
KINDS = (0, UP, KEYED, PATTERN, EXPAND, PATTERN | EXPAND, EXPAND | KEYED, PATTERN | EXPAND | KEYED, FROM_CPU,
         FROM_CPU | EXPAND, FROM_CPU | EXPAND | KEYED, FROM_CPU | PATTERN | EXPAND, FROM_CPU | PATTERN)
MODES = {1: 0x01, 2: 0x07, 3: 0x05, 4: 0x09}    # SR7 by bytes a pixel: QEMU takes a pattern's size from there
STRAYS = 70     # so many accesses, and xendm gives a trapped frame buffer back


class CirrusAccesses:
    FB, MMIO = 0xe0000000, 0xe8000000
    CIRRUS_WEIGHTS = {"cirrus_blit": 20, "cirrus_banks": 6}

    def cirrus_setup(self):
        for reg, size, v in ((0x10, 4, self.FB), (0x14, 4, self.MMIO), (0x04, 2, 3)):
            self.o("pciwrite 0x18 0x%x %d 0x%x" % (reg, size, v))
        self.o("outb 0x3c2 0x67")
        self.o("outw 0x3ce 0x0506")

    def cirrus_finish(self):
        for _ in range(STRAYS):
            self.o("readb 0x%x" % self.FB)
        self.ram("sum 0x%x 0x400000" % self.FB)

    def cirrus_shape(self):
        r = self.r
        kind, pixel = r.choice(KINDS), r.choice([1, 2, 3, 4])
        if kind & KEYED and not kind & EXPAND:
            pixel = r.choice([1, 2])
        if kind & PATTERN and not kind & EXPAND and pixel == 3:
            pixel = 4
        return kind, pixel, pixel * r.randrange(1, 60), r.randrange(1, 12)

    def cirrus_blit(self):
        r = self.r
        kind, pixel, width, height = self.cirrus_shape()
        pitch = r.choice([width, width + 4 * pixel, 256, 1024])
        pitch = max(pitch, width) + 3 & ~3
        src, dst = 4 * r.randrange(0, 0x40000), 0x200000 + 4 * r.randrange(0, 0x40000)
        if kind & PATTERN:
            src &= ~0xff
        if kind & UP:
            src, dst = (a + (height - 1) * pitch + width - 1 for a in (src, dst))
        clip = 0 if pixel == 3 else r.choice([0, 0, r.randrange(8)])
        ext = r.choice([0, 2] if kind & FROM_CPU else [0, 2, 4])
        self.o("outw 0x3c4 0x%x" % (0x07 | MODES[pixel] << 8))
        for _ in range(r.randrange(4)):
            self.o("writel 0x%x 0x%x" % (self.FB + (src & ~3) + 4 * r.randrange(64), r.getrandbits(32)))
        for size, reg, v in (("l", 0x00, r.getrandbits(32)), ("l", 0x04, r.getrandbits(32)), ("w", 0x08, width - 1),
                             ("w", 0x0a, height - 1), ("w", 0x0c, pitch), ("w", 0x0e, pitch), ("l", 0x10, dst),
                             ("w", 0x14, src & 0xffff), ("b", 0x16, src >> 16), ("b", 0x17, clip),
                             ("b", 0x18, kind | (pixel - 1) << 4), ("b", 0x1a, r.choice(ROPS)), ("b", 0x1b, ext),
                             ("w", 0x1c, r.choice([0, 0xffff, r.getrandbits(16)])), ("b", 0x40, 0), ("b", 0x40, 2)):
            self.o("write%s 0x%x 0x%x" % (size, self.MMIO + 0x100 + reg, v))
        if kind & FROM_CPU:
            self.cirrus_data(kind, pixel, width, height)
        self.o("readb 0x%x" % (self.MMIO + 0x140))
        self.cirrus_look(dst if not kind & UP else dst - width)

    def cirrus_data(self, kind, pixel, width, height):
        if kind & PATTERN:
            total = 8 if kind & EXPAND else 64 * pixel
        else:
            total = height * ((width // pixel + 7) // 8 if kind & EXPAND else width + 3 & ~3)
        for _ in range((total + 3) // 4):
            self.o("writel 0x%x 0x%x" % (self.FB + 0x1000000, self.r.getrandbits(32)))

    def cirrus_look(self, where):
        for _ in range(self.r.randrange(3)):
            self.o("readl 0x%x" % (self.FB + (where & ~3) + 4 * self.r.randrange(16)))

    def cirrus_banks(self):
        r = self.r
        self.o("outw 0x3c4 0x0107")
        self.o("outw 0x3ce 0x%x" % (0x0b | r.choice([0, 1, 0x20, 0x21]) << 8))
        for i in (0x09, 0x0a):
            self.o("outw 0x3ce 0x%x" % (i | r.randrange(0, 0xf0) << 8))
        for _ in range(r.randrange(1, 6)):
            size, a = r.choice("bwl"), 0xa0000 + 4 * r.randrange(0, 0x4000)
            if r.random() < 0.5:
                self.o("write%s 0x%x 0x%x" % (size, a, r.getrandbits({"b": 8, "w": 16, "l": 32}[size])))
            self.o("read%s 0x%x" % (size, a))
        for i in (0x09, 0x0a, 0x0b):
            self.o("outw 0x3ce 0x%x" % i)
