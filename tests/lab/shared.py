# SPDX-License-Identifier: GPL-2.0-or-later
"""What several lab tests do."""

from labkit.build import BOOT_SIZE, BOOT_START, MIB, ROOT_SIZE

SPARE_START = (BOOT_START + BOOT_SIZE + ROOT_SIZE) // MIB       # the third partition of a guest's disk

# In the guest: Linux looks at a changed CD twice, and what is read before that fails. Where udev runs, it has looked already.
NOTICE = "for i in 1 2 3; do dd if=/dev/sr0 of=/dev/null bs=2048 count=1 2>/dev/null; done; true"


def disk_interrupts(guest, irq, cpus):
    """Per-CPU counts of an interrupt line."""
    words = guest.cmd("grep -E '^ *%s:' /proc/interrupts" % irq).split()
    return [int(word) for word in words[1:1 + cpus]]


def check_cpus(t, guest, cpus):
    """So many CPUs run code and, told to, take the disk's interrupts."""
    t.equal(guest.cmd("grep -c ^processor /proc/cpuinfo"), str(cpus), "number of CPUs")
    for cpu in range(cpus):
        guest.cmd("taskset %x sleep 0.1" % (1 << cpu))
    irq = t.match(guest.cmd("grep ata_piix /proc/interrupts"), r"^ *(\d+):.*ata_piix$").group(1)
    for cpu in sorted({cpus - 1, 1 % cpus}):
        guest.cmd("echo %x >/proc/irq/%s/smp_affinity" % (1 << cpu, irq))
        before = disk_interrupts(guest, irq, cpus)
        guest.cmd("dd if=/dev/$(ide 0 0) of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null")
        after = disk_interrupts(guest, irq, cpus)
        t.check(after[cpu] - before[cpu] >= 8,
                "disk interrupts did not move to CPU %d: %s, then %s" % (cpu, before, after))


def image_sum(box, path, megabytes, skip=0):
    """md5 of a part of an image, as dom0 sees it."""
    return box.run("sync; dd if=%s bs=1M skip=%d count=%d status=none | md5sum | cut -c1-32"
                   % (path, skip, megabytes), 120).strip()


def write_and_compare(t, guest, megabytes, device, image, skip=0):
    """The guest writes, dom0 compares, the guest reads it back."""
    guest.cmd("[ -f /tmp/data ] || pattern %d /tmp/data" % megabytes, 120)
    wrote = t.match(guest.cmd("write_check /tmp/data %s" % device, 400), r"LAB sum (\w{32}) %d" % megabytes)
    t.equal(image_sum(guest.box, image, megabytes, skip), wrote.group(1), "checksum in dom0")
    read = t.match(guest.cmd("read_check %s %d" % (device, megabytes), 400), r"LAB sum (\w{32}) %d" % megabytes)
    t.equal(read.group(1), wrote.group(1), "checksum of what the guest reads back")
