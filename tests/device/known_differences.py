# SPDX-License-Identifier: GPL-2.0-or-later
"""Where xendm and QEMU's Xen build answer differently, and why that is right or does not matter.

DIFFERENCES: (what, bits, reason). `what` is a regular expression, matched against the whole access as
tests/device/differential prints it: the line of the socket, then what the generator knows about it in brackets, e.g.
"inb 0x3c5  [index 0x02]". Bits set in `bits` are not compared; None: nothing is; or a function
that says so from xendm's answer to the line before, xendm's answer and QEMU's. Rather only(): the difference is
explained if the answers are the ones it names, and any other pair is not.

AVOID: (what, reason): accesses that the generator leaves out, because they end the machine or because one known
difference would make everything after it different, too.
"""



def number(answer):
    """The number in an answer line."""
    return int(answer.split()[1], 0) if len(answer.split()) == 2 else 0


NOBODY = (0xff, 0xffff, 0xffffffff)     # what a read gets if nobody drives the bus


def only(xendm=None, qemu=None):
    """Only these answers (one or several; None: any) are the difference that is known."""
    def bits(before, x, q):
        for want, got in ((xendm, x), (qemu, q)):
            if want is not None and number(got) not in (want if isinstance(want, tuple) else (want,)):
                return 0
        return None
    return bits


def fields(answer):
    """NAME=VALUE words of an answer."""
    return dict(word.split("=", 1) for word in answer.split() if "=" in word)


def unrouted(_before, x, q):
    """QEMU has told Xen no route of the PCI links; then what the routes would raise differs, and nothing else may."""
    x, q = fields(x), fields(q)
    if q.get("route") != "0,0,0,0" or "route" not in x or x.get("isa") != q.get("isa"):
        return 0
    routed = sum({1 << (int(n) or 2) for n in x["route"].split(",") if int(n)})
    return 0 if (int(x["gsi"], 0) ^ int(q["gsi"], 0)) & ~routed else None


DIFFERENCES = [
    # Interrupt lines
    (r"^lines(  \[.*)?$", unrouted, "QEMU 10 does not set Xen's link routes when PIIX3's PIRQ registers are written; 7.2 does"),
    # Keyboard controller
    (r"^inb 0x64$", 0x0c, "bit 3 tells command from data on the chip, QEMU has it always on; bit 2 is the command byte's "
                          "system flag on the chip, QEMU only sets it at the self-test"),
    # Serial port
    (r"^inb 0x3fe", 0x0f, "in loopback mode the modem inputs' changes are noted (PC16550D 8.8), not so in QEMU"),
    (r"^inb 0x3f8  \[after LSR\]", lambda lsr, x, q: 0 if number(lsr) & 1 else None,
     "no data: the chip shows what was last there, QEMU sometimes 0"),
    (r"^inb 0x3fa", 0x08, "received data or its timeout, which depends on time"),
    # Disks
    (r"^inb 0x1[7f]6  \[after command (2.|3.|4.|c.|a0)\]$", 0x0f, "the head or top address bits: see below"),
    (r"^inb 0x1f2  \[after command (e5|98)\]$", only(0, 0xff), "CHECK POWER MODE in standby; QEMU never is"),
    # With "absent drive", too: the generator does not know that drives ignore the device register while DRQ is set.
    (r"^inb 0x17[245]  \[(absent drive )?after command a1\]$", only(xendm=(0, 2, 3)),
     "IDENTIFY PACKET DEVICE has no outputs there (ATA-6 8.16): QEMU leaves what was there, xendm byte count and reason"),
    (r"^inb 0x1[7f][2-5]  \[after command (2.|3.|4.|c.|a0)\]$", None,
     "count and address registers after a command that went well say nothing (ATA-6 8, 'normal outputs'); QEMU counts in "
     "them sector by sector, xendm by the block"),
    (r"0x(1f7|3f6|177|376)( |$)", 0x10, "DSC is obsolete since ATA-4; QEMU clears it when a command fails"),
    (r"^inb 0x17[2-6]  \[absent drive", only(xendm=0), "an ATAPI drive 0 answers with zeros for a missing drive 1 (ATA-6 "
                                                       "9.16.2); in QEMU that has registers"),
    (r"^inb 0x1f[45]  \[absent drive\]$", only(0, 0xff), "a disk as drive 0 answers with its own registers for a missing "
                                                         "drive 1 (ATA-6 9.16.1); see above"),
    (r"^inb 0x1f[2-6]  \[absent drive after command", None, "the same; they are what drive 0 had to say"),
    (r"packet 03 reply word 0\]", 0x80, "the information field is not filled, so its valid bit is 0; QEMU sets it"),
    (r"0xc.*\[fails\]$|0x(d|e4).*\[fails\]$", 0x01, "a command that fails does not reach the end of its table, so the "
                                                     "engine stays active (SFF-8038i 1.3.3); QEMU stops it"),
    (r"^(poll )?inb 0x[cde].*\[packet", 0x01, "a table longer than the transfer leaves the engine active (SFF-8038i 1.3.3), "
                                             "in QEMU with disks only"),
    (r"\[after reset\]$", 0x58, "a reset selects drive 0 (ATA-6 9.2), QEMU stays with the one that was"),
    (r"\[.*after load", None, "a medium that was loaded is announced by a unit attention (MMC-3 4.1.6), in QEMU only if "
                              "the toolstack did it"),
    (r"\[identify word (4|5|10|2[0-9]|3[0-3]|49|50|52|6[2-3]|6[5-9]|8[2-8]|93|10[56]|255)\]", None,
     "model, version, ATA level, features: each says what it is"),
    (r"^inb 0x1[7f]1  \[.*(beyond the end,)", 0x14, "an address that is not there is IDNF (ATA-6 table 27); QEMU says ABRT"),
    (r"^inb 0x1[7f]1  \[.*after status\]", lambda status, x, q: 0 if number(status) & 1 else None,
     "the error register says something only if the status says error"),
    (r"^inb 0x1[7f]1  \[.*error\]", None, "the same, without the status"),
    (r"^inb 0x176", 0x4f, "QEMU clears the device register's other bits when it shows the signature"),
    (r"packet 43 format 2 reply word 23\]", only(2, 0), "the start of track 1: see the next"),
    (r"packet 43 format 2 reply word 1[678]\]", None, "the raw TOC is in minutes, seconds and frames always (MMC-3 6.26.2.5)"),
    (r"^inb 0x172  \[packet", 0xf8, "the tag above the interrupt reason stays as written (ATA-6 8.23); QEMU clears it at "
                                   "times"),
    (r"while it runs\]$", None, "the engine may be done before the drive is"),
    (r"packet 46 reply word [01]\]", None, "GET CONFIGURATION: xendm has more features"),
    (r"packet 4a reply word", None, "GET EVENT STATUS: the header without an event; a new medium after a load"),
    (r"packet 5a reply word", None, "mode pages: medium type and capabilities are what each has"),
    (r"packet 12 reply word ([3-9]|..+)\]", None, "INQUIRY: vendor, product, version"),
    (r"packet 43 format 0 reply word [246]\]", 0x0200, "the lead-out has the control bits of the last track (MMC-3 table 214)"),
    (r"packet 43 format 1 reply word .\]", only(qemu=0), "multi-session: QEMU leaves the fields of the last session 0 (MMC-3 table "
                                            "218)"),
    (r"0x(177|376)( |$)", 0x50, "an ATAPI drive is not ready after a reset until its first command (ATA-6 9.2); in QEMU it "
                                "is"),
    # CMOS
    (r"^inb 0x71  \[index 0x(32|37|b2|b7)\]", None, "the century: a clock register in QEMU, RAM in xendm, as Xen keeps "
                                                    "the clock"),
    # DMA controllers
    (r"^inb 0x([a-e]|d[4-9a-c])$", only(0xff, 0), "write-only registers: nobody drives the bus, QEMU says 0"),
    (r"^inb 0x(9|d2)$", only(xendm=0xff), "the same, but here QEMU shows the mask register"),
    (r"^inb 0x(f|de)$", only(qemu=0), "the mask register can be read here on the PIIX3"),
    (r"^inb 0x8[4-6c-e8]$", only(qemu=0xff), "page registers without a channel are storage on the PIIX3; QEMU has no such ports"),
    (r"^in. 0x3f[0-57]$", only(xendm=NOBODY), "QEMU has a floppy controller"),
    # Chip set
    (r"^inb 0x92$", 0xfc, "reserved bits read 0; QEMU keeps all"),
    (r"^inl 0xcf8$", 0x7f000003, "CONFADD's reserved bits are 0 (82441FX 3.1); QEMU keeps them"),
    (r"^inw 0xcfb$", 0xff, "the same beside a byte of CONFDATA"),
    (r"^inl 0xcf[9ab]$", None, "a dword over several registers: only its bytes are somebody's"),
    (r"^in[bw] 0xcf[89a]$|^inb 0xcfb$", only(xendm=NOBODY), "CONFADD answers to dwords only (82441FX 3.1); QEMU gives its bytes"),
    (r"^in. 0xb04[4-7]$", only(qemu=NOBODY), "debug port of Xen's DSDT; QEMU does not have it"),
    (r"^in[wl] 0xb00[45]$", 0xffffffff, "QEMU's block is two bytes, so a wider access reaches nobody"),
    (r"^in[wl] 0x(c[02]|d0|e4)[01][0-9a-f]$", only(qemu=NOBODY), "QEMU's bus master answers bytes only"),
    (r"^inb 0x(c[02]|d0|e4)[01][139b]$", only(0, 0xff), "the bus master's reserved registers"),
    # Configuration space
    (r"^pciread 0xb 0x40 [124]  ", 0x01, "PMBASE's bit 0 says I/O space, read-only"),
    (r"^pciread \S+ 0x([4-9a-f].) .*\[(host|isa|platform|pm|vga|ide)\]", None, "QEMU keeps what is written above 0x40, "
        "defined or not; the registers that do something are seen by what they do"),
    (r"^pciread \S+ (0x)?4 [24]  ", 0xf8c0, "parity, fast back-to-back and stepping are hard-wired in these chips"),
    (r"^pciread \S+ 0x(c|d) ", 0xffff, "these functions have no latency timer, in QEMU all of it is read-only"),
    # VGA. Window and planes are compared in modes that are used: QEMU leaves out mask, rotation and logic in chain-4
    # and odd/even modes, the chip does not; accesses.py sets a mode anew after noise in the registers.
    (r"0x3[bd]a", 0x09, "retrace: xendm follows the virtual clock, QEMU toggles at each read"),
    (r"^inb 0x3c6|port 0x3c6", only(qemu=0), "the DAC's mask: not in QEMU"),
    (r"^inb 0x3c9|port 0x3c9", 0xc0, "the DAC has 6 bits a colour"),
    (r"^inb 0x3c0|port 0x3c0", None, "the attribute index: QEMU hides it while the flip-flop waits for data"),
    (r"^inb 0x3c3", only(1, 0), "video subsystem enable: not in QEMU"),
    (r"0x3c5.*index 0x.[5-7d-f]\]", only(xendm=0), "the sequencer has registers 0-4; QEMU keeps what is written to 5-7"),
    (r"0x3[bd]5.*index 0x2[24]\]", None, "the latch and the attribute flip-flop, undocumented but in every VGA: not in QEMU"),
    (r"0x3[bd]5.*index 0x(19|1[a-f]|[2-9a-f].)\]", only(xendm=0), "the CRTC has registers 0-0x18; QEMU keeps what is written "
                                                           "above"),
    (r"0x3[bd]4", 0xc0, "the CRTC's index has 6 bits"),
    (r"^inb 0x1c[ef]|^inb 0x1d0", None, "the dispi ports are 16 bits wide"),
    (r"^inw 0x1cf.*index 0x(07|0[b-f])\]|^readw.*index 0x(07|0[b-f])\]", None,
     "virtual height follows from the others, QEMU's is stale with the mode off; from 0x0B on there are no registers"),
    (r"^(inw 0x1cf|readw).*index 0x0[12]\]", 0xffff, "with GETCAPS: the largest picture is 4096 x 4096, QEMU's is larger"),
    (r"\[edid\]$", only(qemu=(0,) + NOBODY), "QEMU's xenfv has no EDID, as the machines it is compatible with"),
]

AVOID = [
    (r"^in[wl] 0x170$", "words of a reply whose contents differ, see the replies above"),
    (r"^(inb|outb) 0x1[7f]0( |$)", "the data port is 16 bits wide"),
    (r"^outb 0x177 0xef.*features 0x(?!03)", "SET FEATURES for packet devices: read look-ahead and write cache are for "
                                             "disks; QEMU accepts them"),
    (r"^outb 0x1f7 0xf5$", "SECURITY FREEZE LOCK: xendm has no security commands, QEMU accepts and ignores this one"),
    (r"^outb 0x177 0xe[01567a]$", "power and cache commands of packet devices (ATA-6 table 10), not in QEMU"),
    (r"^outb 0x1[7f]7 0x(27|f8|37|f9)$", "READ NATIVE MAX needs the LBA bit (ATA-6 8.34); QEMU does not look at it"),
    (r"^outb 0x1[7f]7 0x(7[1-9a-f]|1[1-9a-f])$", "SEEK and RECALIBRATE are 7xh and 1xh (ATA-3 8), in QEMU 70h and 10h"),
    (r"^outb 0x1[7f]7 0x91$", "zero sectors in INITIALIZE DEVICE PARAMETERS end QEMU by a division"),
    (r"^outb 0x3fa 0x[4-9a-f].( |$)", "trigger levels above 1: the timeout interrupt depends on time"),
    (r"\[features 0x(05|85|42|c2|67|69|96|9a)\]", "power, acoustic and other modes that QEMU accepts without having "
                                                  "them; xendm does not offer them and aborts"),
    (r"^out. 0x3fa(?!.*quiet)", "clearing the transmitter FIFO raises the THRE interrupt in QEMU even if it was empty; so "
                                "FCR is written while IER is 0"),
    (r"^in. 0x3f8(?!.*(after LSR|divisor))", "no data: see above"),

    (r"^outb 0xc10[48] ", "in QEMU another way to unplug disks, for drivers before 2011, by the platform device's BAR"),
    (r"^outb 0x3f9 0x.?[89a-f]( |$)", "modem status interrupts: see the modem inputs in loopback mode above"),
    (r"^out. 0x64 0x(f[0-9a-f]|fe)\b", "pulses the reset line (and QEMU takes every 0xF0-0xFF for a command)"),
    (r"^out. 0xcf[9ab] |^out[bw] 0xcf8 ", "0xCF9 resets"),
    (r"^outb 0x3[bd]4 0x[4-9a-f].( |$)", "the CRTC's index has 6 bits, QEMU's 8: different registers would be written"),
]
