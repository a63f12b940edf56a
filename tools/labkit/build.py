# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the box: the hypervisor, dom0's disk and the guests' media, from installed packages.

Nothing is downloaded and no root privilege is needed here. The result is a directory in the cache,
named after the package versions and the content of this recipe:

    xen               the hypervisor, uncompressed, for the multiboot loader of the box's QEMU
    vmlinuz           Debian's kernel, for dom0
    dom0-initrd.gz    modules for dom0's virtio disk, and the jump to it
    dom0.img          dom0's root file system (ext4), with the guests' media in /lab
    guest.json        where a guest's boot menu and test script lie inside its medium
"""

import glob
import gzip
import hashlib
import json
import os
import shutil
import stat
import struct
import tempfile

from . import packages
from .cpio import Cpio
from .kmods import Kernel, plain_name, read_module
from .util import LabError, cache_root, host, say

HERE = os.path.dirname(os.path.abspath(__file__))
XEN_LIB = "/usr/lib/xen-VERSION"        # replaced by what is installed
XEN_IMAGE = "/boot/xen-%s-amd64.gz"

MIB = 1 << 20
DOM0_DISK = 12 << 30            # sparse; guests' disks of a run live here too
BOOT_START, BOOT_SIZE = 1 * MIB, 20 * MIB       # guest disk, partition 1: FAT with SYSLINUX
ROOT_SIZE = 40 * MIB                            # partition 2: ext4; tests leave some 10 MiB in it
SPARE_SIZE = 80 * MIB                           # partition 3: nothing, for tests to write to

# The boot menu and the test script of a guest are files of these sizes inside its medium. They are
# replaced in place, so no file system has to be understood when a test starts a guest.
MENU_SIZE = 2048
TEST_SIZE = 65536

BOX_MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
DOM0_MODULES = ("virtio_console", "9p", "9pnet_virtio", "xen_privcmd", "xen_evtchn", "xen_gntdev",
                "xen_gntalloc", "xenfs", "xen_blkback", "loop", "dm_mod", "dm_flakey", "tun", "bridge",
                "xen_netback", "xen_pciback", "xen_blkfront")
GUEST_BOOT_MODULES = ("ata_piix", "ahci", "sym53c8xx", "virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "sr_mod",
                      "crc32c_generic", "ext4", "isofs", "xen_blkfront", "nvme")
GUEST_MODULES = ("psmouse", "evdev", "bochs", "cirrus", "i2c_piix4", "button", "8139cp", "8139too", "e1000",
                 "xen_netfront", "usbhid", "uhci_hcd", "ehci_pci", "xhci_pci", "hid_generic", "snd_intel8x0",
                 "joydev", "serio_raw", "ata_generic", "virtio_net", "virtio_console", "virtio_rng", "9p", "9pnet_virtio",
                 "9pnet_xen", "usb_storage", "snd_xen_front")

# dom0's programs, with the libraries ldd names. The last column of a tuple is a second name.
DOM0_PROGRAMS = (
    XEN_LIB + "/bin/xl", XEN_LIB + "/bin/xenstored", XEN_LIB + "/bin/xenconsoled", XEN_LIB + "/bin/xenconsole",
    XEN_LIB + "/bin/xen-init-dom0", XEN_LIB + "/bin/libxl-save-helper", XEN_LIB + "/bin/xentop",
    XEN_LIB + "/bin/xenctx", XEN_LIB + "/bin/lsevtchn", XEN_LIB + "/bin/xen-diag",
    XEN_LIB + "/bin/depriv-fd-checker", XEN_LIB + "/bin/xen-hvmcrash",
    "/usr/libexec/xen-qemu-system-i386",
    "/usr/bin/xenstore-ls", "/usr/bin/xenstore-read", "/usr/bin/xenstore-write", "/usr/bin/xenstore-list",
    "/usr/bin/xenstore-rm", "/usr/bin/xenstore-watch", "/usr/bin/xenstore-exists", "/usr/bin/xenstore-chmod",
    "/bin/bash", "/bin/dash", "/bin/cp", "/bin/dd", "/usr/bin/truncate", "/usr/bin/stat", "/usr/bin/timeout",
    "/sbin/losetup", "/sbin/blockdev", "/usr/bin/flock", "/sbin/dmsetup", "/usr/bin/script",
    "/usr/bin/setpriv", "/usr/bin/prlimit", "/usr/bin/nsenter", "/sbin/ldconfig", "/usr/sbin/dnsmasq",
)
DOM0_OPTIONAL = (XEN_LIB + "/bin/xen-hvmctx", "/usr/sbin/xen-hvmctx", "/usr/bin/strace", "/usr/bin/perf")
DOM0_DATA = (XEN_LIB + "/boot/hvmloader", "/etc/xen/scripts", "/usr/share/qemu/keymaps", "/usr/lib/locale/C.utf8",
             "/usr/share/X11/xkb")
DOM0_DATA += tuple(base + name for base in ("/lib/terminfo/", "/usr/share/terminfo/")
                   for name in ("x/xterm", "v/vt100", "l/linux"))
DOM0_DATA_GLOBS = ("/usr/share/seabios/*.bin", "/usr/lib/ipxe/qemu/*.rom", "/usr/share/qemu/*.rom",
                   "/usr/share/qemu/linuxboot*.bin")


def installed(path):
    """A path of the recipe, with the installed Xen's version."""
    return path.replace("VERSION", packages.xen_version())


def libraries(program):
    """Shared libraries a program is linked with, as paths."""
    found = []
    with open(program, "rb") as stream:
        if stream.read(4) != b"\x7fELF":
            return found
    try:
        listing = host(["ldd", program])
    except LabError as err:
        if "not a dynamic executable" in str(err):
            return found
        raise
    for line in listing.splitlines():
        for word in line.split():
            if word.startswith("/") and os.path.exists(word) and os.path.realpath(word) != os.path.realpath(program):
                found.append(word)
        if "not found" in line:
            raise LabError("%s: %s" % (program, line.strip()))
    return found


class Tree:
    """A directory that is going to be a root file system."""

    def __init__(self, root):
        self.root = root
        for path in ("bin", "dev", "etc", "lib64", "proc", "root", "run", "sbin", "sys", "tmp", "mnt", "usr/bin",
                     "usr/sbin", "usr/lib/x86_64-linux-gnu", "lib", "var/lib", "var/log"):
            os.makedirs(os.path.join(root, path), exist_ok=True)

    def path(self, name):
        """Where a file of the tree is on this machine."""
        return os.path.join(self.root, name.lstrip("/"))

    def text(self, name, content, mode=0o644):
        """A small file."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(content)
        os.chmod(path, mode)

    def binary(self, name, content):
        """A file with these bytes."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(content)

    def copy(self, source, name=None):
        """A file or directory of this machine, links followed, at the same place."""
        target = self.path(name or source)
        if os.path.isdir(source):
            shutil.copytree(source, target, dirs_exist_ok=True)
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.lexists(target):
            os.unlink(target)
        shutil.copy(source, target)

    def link(self, target, name):
        """A symbolic link."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(target, path)

    def program(self, source):
        """An executable with its libraries."""
        self.copy(source)
        for library in libraries(source):
            self.copy(library)

    def busybox(self):
        """busybox and a link for each of its applets that no real program overrides later."""
        self.copy("/bin/busybox")
        for name in host(["/bin/busybox", "--list"]).split():
            if name != "busybox":
                self.link("/bin/busybox", "/bin/" + name)

    def modules(self, kernel, names):
        """Kernel modules and the tables modprobe needs."""
        for path in kernel.order(names):
            self.binary(plain_name(path), read_module(path))
        for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            self.copy(os.path.join(kernel.root, name))
        host(["/sbin/depmod", "-b", self.root, kernel.release], "depmod")


def recipe_key(versions):
    """A name for everything the result depends on."""
    digest = hashlib.sha256(json.dumps(versions, sort_keys=True).encode())
    for path in sorted(glob.glob(HERE + "/*.py") + glob.glob(HERE + "/dom0/*") + glob.glob(HERE + "/guest/*")):
        if os.path.basename(path) in ("build.py", "cpio.py", "kmods.py") or "/dom0/" in path or "/guest/" in path:
            with open(path, "rb") as stream:
                digest.update(path[len(HERE):].encode() + b"\0" + stream.read() + b"\0")
    return digest.hexdigest()[:16]


def build():
    """The directory with the box's files; built only when nothing usable is in the cache."""
    versions = packages.require()
    root = cache_root()
    key = recipe_key(versions)
    done = os.path.join(root, key)
    if os.path.exists(done + "/guest.json"):
        return done
    os.makedirs(root, exist_ok=True)
    say("building the box in %s (once; kept for later runs)" % done)
    work = tempfile.mkdtemp(prefix="new-", dir=root)
    try:
        kernel = Kernel()
        build_xen(work)
        shutil.copy(kernel.image, work + "/vmlinuz")
        build_box_initrd(work, kernel)
        build_guests(work, kernel)
        build_dom0(work, kernel)
        if os.path.isdir(done):
            shutil.rmtree(done)
        os.rename(work, done)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    for other in os.listdir(root):      # older builds are of no use to anybody
        path = os.path.join(root, other)
        if other != key and len(other) == 16 and os.path.exists(path + "/guest.json"):
            shutil.rmtree(path, ignore_errors=True)
    return done


def build_xen(work):
    """The hypervisor as an ELF file."""
    with gzip.open(XEN_IMAGE % packages.xen_version(), "rb") as packed, open(work + "/xen", "wb") as plain:
        shutil.copyfileobj(packed, plain)


def build_box_initrd(work, kernel):
    """dom0's first file system: just enough to find its disk."""
    archive = Cpio()
    for name in ("dev", "proc", "sys", "newroot"):
        archive.directory(name)
    archive.node("dev/console", 5, 1)
    archive.copy("/bin/busybox", "bin/busybox")
    load = ""
    for path in kernel.order(BOX_MODULES):
        archive.file("modules/" + os.path.basename(plain_name(path)), read_module(path))
        load += "insmod /modules/%s 2>/dev/null\n" % os.path.basename(plain_name(path))
    with open(HERE + "/dom0/initrd-init", encoding="utf-8") as stream:
        archive.file("init", stream.read().replace("@LOAD@", load).encode())
    archive.write_gz(work + "/dom0-initrd.gz")


def build_dom0(work, kernel):
    """dom0's root disk."""
    say("  dom0 root file system")
    tree = Tree(work + "/dom0")
    tree.busybox()
    for path in map(installed, DOM0_PROGRAMS):
        tree.program(path)
    for path in map(installed, DOM0_OPTIONAL):
        if os.path.exists(path):
            tree.program(path)
    for path in map(installed, DOM0_DATA):
        if os.path.exists(path):
            tree.copy(path)
    for pattern in DOM0_DATA_GLOBS:
        for path in glob.glob(pattern):
            tree.copy(path)
    tree.copy(memtest(), "/usr/share/lab/memtest.bin")
    tree.link("dash", "/bin/sh")        # busybox's shell would prefer its own applets to the real programs
    xen_lib = installed(XEN_LIB)
    tree.link(os.path.basename(xen_lib), "/usr/lib/xen")
    for name in os.listdir(tree.path(xen_lib + "/bin")):
        tree.link(xen_lib + "/bin/" + name, "/usr/sbin/" + name)
    tree.modules(kernel, DOM0_MODULES)
    tree.text("/etc/modules.list", "".join(plain_name(path) + "\n" for path in kernel.order(DOM0_MODULES)))
    for name in ("init", "agent", "profile"):
        target = {"init": "/sbin/init", "agent": "/sbin/lab-agent", "profile": "/etc/profile"}[name]
        with open(HERE + "/dom0/" + name, encoding="utf-8") as stream:
            tree.text(target, stream.read(), 0o755)
    # uids for device models that give up root (dm_restrict): one per domain above the base
    tree.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
              "xen-qemuuser-reaper:x:131071:131071::/:/bin/false\n"
              "xen-qemuuser-range-base:x:131072:131072::/:/bin/false\n")
    tree.text("/etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\nxen-qemuuser-reaper:x:131071:\n"
              "xen-qemuuser-range-base:x:131072:\n")
    tree.text("/etc/xen/xl.conf", "autoballoon=0\n")
    tree.text("/etc/hosts", "127.0.0.1 localhost\n")
    tree.text("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
    os.makedirs(tree.path("/lab"))
    for name in ("disk.img", "cd.iso", "tiny.img"):
        host(["cp", "--sparse=always", work + "/" + name, tree.path("/lab/" + name)])
    make_ext4(tree.root, work + "/dom0.img", DOM0_DISK, "dom0")
    shutil.rmtree(tree.root)


def memtest():
    """Memtest86+, which boots as a Linux kernel does."""
    found = glob.glob("/boot/memtest86+x64.bin") + glob.glob("/boot/mt86+x64")
    if not found:
        raise LabError("no Memtest86+ in /boot (package memtest86+)")
    return found[0]


def make_ext4(source, path, size, label, offset=0):
    """An ext4 file system with the content of a directory, in a file that may have other parts."""
    if not os.path.exists(path):
        with open(path, "wb") as stream:
            stream.truncate(offset + size)
    extended = "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0,offset=%d" % offset
    host(["/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-L", label, "-E", extended, "-d", source, path,
          "%dk" % (size >> 10)], "mke2fs")


def build_guests(work, kernel):
    """The media guests boot from."""
    say("  guest disk, CD and boot sector")
    build_guest_initrd(work, kernel)
    root = Tree(work + "/guest")
    build_guest_root(root, kernel)
    places = {"disk": build_disk(work, root.root), "cd": build_cd(work, root.root)}
    build_tiny(work)
    shutil.rmtree(root.root)
    with open(work + "/guest.json", "w", encoding="ascii") as stream:
        json.dump({"kernel": kernel.release, "xen": packages.xen_version(), "media": places}, stream)


def build_guest_initrd(work, kernel):
    """The guests' initramfs: storage drivers, the root file system, the test's script."""
    archive = Cpio()
    for name in ("dev", "proc", "sys", "run", "mnt"):
        archive.directory(name)
    archive.node("dev/console", 5, 1)
    archive.copy("/bin/busybox", "bin/busybox")
    load = ""
    for path in kernel.order(GUEST_BOOT_MODULES):
        archive.file("modules/" + os.path.basename(plain_name(path)), read_module(path))
        load += "insmod /modules/%s\n" % os.path.basename(plain_name(path))
    with open(HERE + "/guest/initrd-init", encoding="utf-8") as stream:
        archive.file("init", stream.read().replace("@LOAD@", load).encode())
    archive.write_gz(work + "/initrd.gz")


def build_guest_root(tree, kernel):
    """The guests' root file system, the same on disk and CD."""
    tree.busybox()
    tree.modules(kernel, GUEST_BOOT_MODULES + GUEST_MODULES)
    for name, target in (("init", "/sbin/init"), ("lab.sh", "/etc/lab.sh"), ("profile", "/etc/profile")):
        with open(HERE + "/guest/" + name, encoding="utf-8") as stream:
            tree.text(target, stream.read(), 0o755)
    tree.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    tree.text("/etc/hostname", "guest\n")
    for name in ("/etc/debian_version", "/etc/os-release"):
        tree.copy(name)


def menu_text(append):
    """SYSLINUX's configuration, padded to the size of its place in the medium."""
    text = ("DEFAULT lab\nPROMPT 0\nNOESCAPE 1\nLABEL lab\n  LINUX vmlinuz\n  INITRD initrd.gz,test.img\n"
            "  APPEND %s\n" % append)
    if len(text) > MENU_SIZE:
        raise LabError("the guest's kernel command line is too long: %s" % append)
    return text.encode().ljust(MENU_SIZE, b"\n")


def script_archive(script):
    """A test's script as an initramfs piece, padded to the size of its place in the medium."""
    archive = Cpio()
    archive.file("test.sh", script.encode())
    data = archive.data()
    if len(data) > TEST_SIZE:
        raise LabError("the guest's test script is too long (%d bytes)" % len(data))
    return data.ljust(TEST_SIZE, b"\0")


def place_of(path, content):
    """Byte offset of a block of content that occurs exactly once in a file, at a sector boundary."""
    with open(path, "rb") as stream:
        data = stream.read()
    at = data.find(content)
    if at < 0 or at % 512 or data.find(content, at + 1) >= 0:
        raise LabError("%s: cannot tell where its boot menu or script lies" % path)
    return at


MENU_MARK = b"# replaced by tools/lab: the boot menu\n".ljust(MENU_SIZE, b"#")
TEST_MARK = b"replaced by tools/lab: the test's script\n".ljust(TEST_SIZE, b"!")


def finish_medium(path):
    """Note where menu and script lie, and fill in the default ones."""
    place = {"menu": place_of(path, MENU_MARK), "test": place_of(path, TEST_MARK)}
    with open(path, "r+b") as stream:
        stream.seek(place["menu"])
        stream.write(menu_text("console=tty0 console=ttyS0,115200 quiet"))
        stream.seek(place["test"])
        stream.write(b"\0" * TEST_SIZE)
    return place


def write_boot_files(directory, menu_name):
    """The files both boot loaders want beside kernel and initramfs."""
    with open(os.path.join(directory, menu_name), "wb") as stream:
        stream.write(MENU_MARK)
    with open(os.path.join(directory, "test.img"), "wb") as stream:
        stream.write(TEST_MARK)


def build_disk(work, root):
    """A raw disk: MBR, FAT partition with SYSLINUX, ext4 partition with the root, spare partition."""
    path = work + "/disk.img"
    starts = [BOOT_START, BOOT_START + BOOT_SIZE, BOOT_START + BOOT_SIZE + ROOT_SIZE]
    sizes = [BOOT_SIZE, ROOT_SIZE, SPARE_SIZE]
    with open(path, "wb") as stream:
        stream.truncate(starts[2] + SPARE_SIZE)
    boot = work + "/boot"
    os.mkdir(boot)
    shutil.copy(work + "/vmlinuz", boot + "/vmlinuz")
    shutil.copy(work + "/initrd.gz", boot + "/initrd.gz")
    write_boot_files(boot, "syslinux.cfg")
    fat = "%s@@%d" % (path, BOOT_START)
    host(["mformat", "-i", fat, "-T", str(BOOT_SIZE // 512), "-H", str(BOOT_START // 512), "-h", "16", "-s", "63",
          "::"], "mformat")
    host(["mcopy", "-i", fat, boot + "/vmlinuz", boot + "/initrd.gz", boot + "/syslinux.cfg", boot + "/test.img",
          "::"], "mcopy")
    host(["syslinux", "--install", "--offset", str(BOOT_START), path])
    make_ext4(root, path, ROOT_SIZE, "guest-root", starts[1])
    with open("/usr/lib/syslinux/mbr/mbr.bin", "rb") as stream:
        code = stream.read()[:440]
    with open(path, "r+b") as stream:
        table = b""
        for index, kind in enumerate((0x0e, 0x83, 0xda)):
            table += struct.pack("<B3sB3sII", 0x80 if index == 0 else 0, b"\xfe\xff\xff", kind, b"\xfe\xff\xff",
                                 starts[index] // 512, sizes[index] // 512)
        stream.write(code.ljust(440, b"\0") + b"LABX\0\0" + table.ljust(64, b"\0") + b"\x55\xaa")
    shutil.rmtree(boot)
    return finish_medium(path)


def build_cd(work, root):
    """A bootable ISO with the same root file system."""
    path = work + "/cd.iso"
    stage = work + "/cd"
    shutil.copytree(root, stage, symlinks=True)
    os.mkdir(stage + "/isolinux")
    shutil.copy("/usr/lib/ISOLINUX/isolinux.bin", stage + "/isolinux/")
    shutil.copy("/usr/lib/syslinux/modules/bios/ldlinux.c32", stage + "/isolinux/")
    shutil.copy(work + "/vmlinuz", stage + "/isolinux/vmlinuz")
    shutil.copy(work + "/initrd.gz", stage + "/isolinux/initrd.gz")
    write_boot_files(stage + "/isolinux", "isolinux.cfg")
    host(["xorriso", "-as", "mkisofs", "-quiet", "-o", path, "-R", "-V", "LABCD", "-b", "isolinux/isolinux.bin",
          "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", stage], "xorriso")
    shutil.rmtree(stage)
    return finish_medium(path)


def boot_sector(source, image, symbols=()):
    """Assembles what the BIOS puts at 0x7c00."""
    host(["as", "--32", "-I", HERE + "/guest"] + ["--defsym=%s" % symbol for symbol in symbols] + ["-o", image + ".o", source])
    host(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o", image, image + ".o"])


def build_tiny(work):
    """A guest of one sector: says on the serial port what the BIOS's disk calls answer."""
    binary = work + "/tiny.bin"
    boot_sector(HERE + "/guest/tiny.S", binary)
    with open(binary, "rb") as stream:
        code = stream.read()
    if len(code) != 512:
        raise LabError("the one-sector guest has %d bytes" % len(code))
    with open(work + "/tiny.img", "wb") as stream:
        stream.write(code)
        stream.truncate(8 * MIB)
    os.unlink(binary + ".o")
    os.unlink(binary)


def executable(path):
    """Whether this names a program."""
    return os.path.isfile(path) and bool(os.stat(path).st_mode & stat.S_IXUSR)
