# SPDX-License-Identifier: GPL-2.0-or-later
"""Boot from CD, and a guest with memory above 4 GB."""

from labkit.suite import life

STEPS = [
    "boots from CD, root on /dev/sr0",
    "the whole CD reads as it is",
    "5 GB of memory, some of it above 4 GB",
    "PIO to and from memory above 4 GB",
    "DMA with data above 4 GB",
]


@life("cd", STEPS, memory=5200)
def cd(t):
    """One guest without a root disk, with a lot of memory."""
    # PIO is slow in this box: about a millisecond a sector, and several in QEMU, which moves every word by itself
    sizes = {"a": 64, "b": 16}
    for name, megabytes in sizes.items():
        t.box.run("head -c %d /dev/urandom >/root/cd-%s.img" % (megabytes << 20, name), 120)
    guest = t.guest("cd", media="cd", memory=5120, append="xen_emul_unplug=never libata.force=1.01:pio4",
                    disks=["format=raw,vdev=hda,access=rw,backendtype=qdisk,target=/root/cd-a.img",
                           "format=raw,vdev=hdb,access=rw,backendtype=qdisk,target=/root/cd-b.img"])
    with t.step(STEPS[0], vital=True):
        guest.create()
        t.match(guest.wait_for(r"LAB root (\S+ \S+) at .*", 400).group(1), r"^/dev/sr0 iso9660$")
        guest.wait_for(r"LAB serve", 60)

    with t.step(STEPS[1]):
        size = int(t.box.run("stat -c %s " + guest.medium))
        here = t.box.run("md5sum <%s | cut -c1-32" % guest.medium).strip()
        there = guest.cmd("echo 3 >/proc/sys/vm/drop_caches; head -c %d /dev/sr0 | md5sum | cut -c1-32" % size, 400)
        t.equal(there, here, "checksum of the CD")

    with t.step(STEPS[2]):
        t.check(int(guest.cmd("awk '/^MemTotal/ {print $2}' /proc/meminfo")) > 4800 << 10, "too little memory")
        t.match(guest.cmd("cat /proc/iomem"), r"^100000000-[0-9a-f]+ : System RAM", "physical memory")

    for step, name, drive in ((STEPS[3], "b", 1), (STEPS[4], "a", 0)):
        device = guest.cmd("ide 0 %d" % drive)
        megabytes = sizes[name]
        with t.step(step):
            # (the last one to close a disk drops what was cached of it)
            guest.cmd("exec 5</dev/%s; echo 3 >/proc/sys/vm/drop_caches" % device)
            before = int(guest.cmd("zone Normal"))
            # through the page cache, which takes its pages from the highest zone first; it is counted there itself, because
            # others free pages meanwhile
            there = guest.cmd("dd if=/dev/%s bs=1M 2>/dev/null | md5sum | cut -c1-32" % device, 400)
            used = (int(guest.cmd("zone Normal")) - before) * 4096 >> 20
            t.check(used > megabytes / 2, "only %d MB above 4 GB were used" % used)
            t.equal(there, t.box.run("md5sum </root/cd-%s.img | cut -c1-32" % name).strip(), "checksum read")
            there = guest.cmd("pattern %d /tmp/data; dd if=/tmp/data of=/dev/%s bs=1M conv=fsync 2>/dev/null; "
                              "md5sum </tmp/data | cut -c1-32" % (megabytes, device), 400)
            here = t.box.run("dd if=/root/cd-%s.img bs=1M count=%d status=none | md5sum | cut -c1-32" % (name, megabytes))
            t.equal(there, here.strip(), "checksum written")
            guest.cmd("exec 5<&-")
    guest.cleanup()
    t.box.run("rm -f /root/cd-?.img")
