#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every call that starting makes to Xen and xenstored fails once, each in a run of its own: xendm ends with status 1 and
one line that says what failed, leaving nothing behind; or, where it can do without, it says so and serves. TAP."""
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True     # the source tree stays clean
from faults import SOURCE, XENEMU, XENDM, Machine, image, tap, want

# Read by test_names(), too: what test-service.py and test-disk.py deal with, and what xendm does not call.
SERVICE = """event set-isa-irq-level set-pci-link-route modified-memory relocate-memory pin-memory-cacheattr unmap-io-range
    remote-shutdown param-set decrease evtchn-unbind destroy-ioreq-server""".split()
# Of devices and viewers that there are not yet.
LATER = "set-pci-intx-level inject-msi track-dirty-vram".split()
DISK = "disk-read disk-write disk-flush disk-discard".split()
UPDATE = "evtchn-adopt".split()         # tests/update
UNUSED = """evtchn-unbound evtchn-virq evtchn-port grant-map grant-unmap grant-notify grant-copy max-gpfn
    add-to-physmap remove-from-physmap logdirty param-get shutdown pause passthrough resource-size set-mem-type
    map-mem-type inject-event xs-control xs-get-perms xs-introduce xs-release xs-get-domain-path xs-mkdir
    xs-rm xs-set-perms xs-unwatch
    vcpu-info vcpu-get vcpu-set hvm-context debugging single-step
    monitor monitor-want console""".split()  # the last line: xendmctl's

PROBE = """test it serves
fault list -> hits
print HITS $hits
outb 0x3ff 0x55
expect inb 0x3ff == 0x55
expect pciread 00:01.1 0 4 == 0x70108086
expect xs read /local/domain/0/device-model/1/state == "running"
"""
REFUSED = "Operation not permitted"
RANGE = r"\S+: )?the hypervisor does not forward (pio|mmio) 0x\w+\.\.0x\w+ \([\w-]+\): " + REFUSED + "$"
FUNCTION = r"\S+: the hypervisor does not forward PCI function 0\d\.\d: " + REFUSED + "$"
VRAM = "0x1f000+4096"                   # a guest of 512 MB without firmware
NO_VRAM = r"VGA: the domain cannot have 16 MiB of video memory: "

# Per operation: pattern of the one line with which a start ends; of a line that a start logs which goes on all the same;
# and how many calls there are at least.
FATAL = {
    "create-ioreq-server": r"cannot create an ioreq server for domain 1: " + REFUSED,
    "resource": r"cannot map the ioreq server's pages: " + REFUSED,
    "set-ioreq-server-state": r"cannot enable the ioreq server: " + REFUSED,
    "get-ioreq-server-info": r"cannot ask for the ioreq server's event channel: " + REFUSED,
    "evtchn-open": r"cannot open event channels \(/dev/xen/evtchn\): " + REFUSED,
    "evtchn-bind": r"cannot bind the event channel of (the buffered ring|vCPU [01]) \(port \d+ of domain 1\): " + REFUSED,
    "domain-info": r"cannot look up domain 1: " + REFUSED,
    "map-io-range": "((" + RANGE + "|" + FUNCTION + ")",
    "populate": NO_VRAM + "(" + REFUSED + "|Cannot allocate memory)$",
    "map": r"VGA: cannot map the video memory: " + REFUSED,
    "memfd": r"VGA: cannot map the video memory: " + REFUSED,
    "xs-watch": r"cannot set xenstore watches: " + REFUSED,
    "xs-write": r"cannot write our state 'running' to xenstore: " + REFUSED,
}
SERVES = {
    "nr-vcpus": None,                   # the other call that knows it is asked
    "map-io-range": r"warning acpi: smbus is not there: the hypervisor does not forward pio 0xb100",
    "evtchn-open": r"warning backend: PV devices are not served: cannot open event channels \(/dev/xen/evtchn\): " + REFUSED,
    "xs-write": r"warning backend: cannot write (/local/domain/0/backend/vkbd/1/0/[a-z-]+|backends/\w+): " + REFUSED,
    "xs-transaction-start": r"warning backend: cannot write /local/domain/0/backend/vkbd/1/0/[a-z-]+: " + REFUSED,
    "xs-transaction-end": r"warning backend: cannot write /local/domain/0/backend/vkbd/1/0/[a-z-]+: " + REFUSED,
    "xs-read": r"(warning xenstore: cannot look at /local/domain/0/device-model/1: " + REFUSED + "|)",
    "xs-watch": r"(warning xenstore: cannot watch /local/domain/1/vm|error backend: .*cannot watch /local/domain/\S+): " + REFUSED,
    "xs-directory": r"warning backend: cannot (look for (\w+ back ends|disks of image formats in \S+)|list /local/domain/0/backend/(vkbd|qdisk|console|9pfs|qnic|qusb|vsnd|vif)/1): " + REFUSED,
}
RUNNING = 8     # the write of our state, behind the kinds of PV back ends
CALLS = {"map-io-range": 34, "evtchn-bind": 3, "xs-watch": 4, "xs-write": 9, "xs-read": 2, "xs-directory": 7, "populate": 1}
ALWAYS = r"info |warning display: -vnc|^xendm: "        # other lines that a log may have


def run(tmp, op, nth, errno, *options):
    """(nth, status of xenemu, its output, log of xendm, what is left of it in its directory)"""
    directory = os.path.join(tmp, "%s-%d" % (op, nth))
    os.mkdir(directory)
    script, log = directory + "/probe.xds", directory + "/log"
    shutil.copy(tmp + "/disk", directory + "/disk")     # each its own: it is locked, and others run meanwhile
    with open(script, "w") as f:
        f.write(PROBE)
    fault = ["--fault", "%s,nth=%d,errno=%s" % (op, nth, errno)] if op else []
    r = subprocess.run([XENEMU, "run", "--dm", XENDM, "--vga", "stdvga", "--serial", "null", "--disk", directory + "/disk",
                        "--cdrom", "", "--vcpus", "2", "--leaks", "--xs-faults", "--rundir", directory + "/run",
                        "--log", log, "--script", script, "--start-timeout", "60", *fault, *options],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
    with open(log, errors="replace") as f:
        text = f.read()
    left = [n for n in os.listdir(directory + "/run") if n.startswith("qmp") and "--restrict" not in options]
    return nth, r.returncode, r.stdout, text, left


def judge(op, result, fatal, serves):
    """True if that call is made at all."""
    nth, status, out, log, left = result
    where = "%s, call %d: " % (op, nth)
    want("LEAK" not in out and not left, where + "left behind:", left, out)
    want("Sanitizer" not in log and "assertion" not in log.lower(), where + log)
    if "HITS" not in out:
        lines = log.splitlines()
        want(status == 1 and "exited with status 1" in out, where + "status", status, out)
        last = [line for line in lines if line.startswith("xendm: ")]
        want(len(last) == 1 and lines[-1] == last[0] and fatal and re.match("xendm: (" + fatal + ")", last[0]),
             where + "its last words:\n", log)
        others = [line for line in lines if not re.search(ALWAYS, line)]
        want(not others, where + "more than one line:\n", log)
        return True
    want(status == 0 or "LeakSanitizer" in out, where + "it serves, but", out, log)
    if "hits=0" in out:
        return False
    want(op in SERVES, where + "nobody noticed:\n", log)
    want(not serves or re.search(serves, log), where + "not a word:\n", log)
    return True


def every_call(tmp, op, fatal, serves, errno="EPERM", options=()):
    """Makes the first call fail, then the second, until there are no more. How many there were."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:     # a run waits more than it computes
        nth, made = 1, 0
        while True:
            batch = list(pool.map(lambda n: run(tmp, op, n, errno, *options), range(nth, nth + 4 if nth > 3 else nth + 2)))
            for result in batch:
                if not judge(op, result, fatal, serves):
                    return made
                made += 1
            nth += len(batch)


def test_xen(tmp):
    """each call to Xen that the start makes fails once"""
    image(tmp + "/disk", 1 << 20)
    for op in [o for o in list(FATAL) + list(SERVES) if not o.startswith("xs-")]:
        if os.path.exists(tmp + "/%s-1" % op):          # in both tables
            continue
        made = every_call(tmp, op, FATAL.get(op), SERVES.get(op))
        want(made >= CALLS.get(op, 1), op, "is called", made, "times")


def test_xenstore(tmp):
    """each request to xenstored that the start makes fails once"""
    image(tmp + "/disk", 1 << 20)
    for op in sorted({o for o in list(FATAL) + list(SERVES) if o.startswith("xs-")}):
        made = every_call(tmp, op, FATAL.get(op), SERVES.get(op))
        want(made >= CALLS.get(op, 1), op, "is called", made, "times")


def test_again(tmp):
    """what Xen calls short of memory or busy is an end in order, too; so is a restriction that fails"""
    image(tmp + "/disk", 1 << 20)
    for op, errno, text in (("resource", "ENOMEM", "Cannot allocate memory"), ("evtchn-bind", "ENOSPC", "No space left"),
                            ("create-ioreq-server", "ENOSPC", "Xen allows eight"), ("xs-watch", "EAGAIN", "temporarily"),
                            ("map", "EAGAIN", "temporarily"), ("xs-write", "EAGAIN", None)):
        result = run(tmp, op, RUNNING if op == "xs-write" else 1, errno)
        judge(op, result, FATAL[op].replace(REFUSED, ".*") if text else FATAL[op].replace(REFUSED, "Resource temp"), None)
        want(not text or text in result[3], op, result[3])
    os.mkdir(tmp + "/r")
    image(tmp + "/r/disk", 1 << 20)
    result = run(tmp + "/r", "restrict", 1, "EOPNOTSUPP", "--restrict")
    judge("restrict", result, r"cannot restrict the Xen handles to domain 1: .* \(the kernel is too old for dm_restrict\)$", None)


def test_frames(tmp):
    """a kernel that cannot map a resource: the pages are mapped by frame, and each call of that fails once"""
    image(tmp + "/disk", 1 << 20)
    options = ("--fault", "resource,count=all,errno=EOPNOTSUPP")
    out = run(tmp, None, 0, None, *options)
    want(out[1] == 0 and "mapped guest frames" in out[3], out[2], out[3])
    pages = "cannot map the ioreq server's pages, neither as a resource nor by frame: "
    made = every_call(tmp, "get-ioreq-server-info", pages + "|" + FATAL["get-ioreq-server-info"], None, options=options)
    want(made == 2, "get-ioreq-server-info is called", made, "times")
    for nth in (3, 4):                  # after those of the video memory
        result = run(tmp, "map", nth, "EINVAL", *options)
        judge("map", result, pages, None)


def test_incoming(tmp):
    """each call that taking over a saved guest makes fails once"""
    image(tmp + "/disk", 1 << 20)
    m = Machine(tmp, "--disk", tmp + "/disk", "--cdrom", "", "--vcpus", "2")
    with open(tmp + "/state", "wb") as f:
        m.qmp.ok("stop")
        fdset = m.qmp.ask("add-fd", fd=f.fileno())["return"]["fdset-id"]
        m.qmp.ok("xen-save-devices-state", filename="/dev/fdset/%d" % fdset, live=False)
    m.end()
    options = ("--incoming", tmp + "/state", "--populate", VRAM)
    result = run(tmp, None, 0, None, *options)
    want(result[1] == 0, result[2], result[3])
    for op, fatal in (("map", r"the saved state is refused: saved state: VGA: std-vga: cannot map the video memory at gfn 0x\w+: "),
                      ("resource", FATAL["resource"]), ("evtchn-bind", FATAL["evtchn-bind"]), ("xs-write", FATAL["xs-write"])):
        result = run(tmp, op, RUNNING if op == "xs-write" else 1, "EPERM", *options)
        judge(op, result, fatal, None)


def test_names(tmp):
    """the manual page names every operation that can fail, and no other, and all of them are dealt with here"""
    image(tmp + "/disk", 1 << 20)
    m = Machine(tmp, "--disk", tmp + "/disk")
    try:
        names = set(m.cpu.ask("fault names"))
        for name in names:
            m.cpu.fault(name + " nth=1000000")
            want(name in m.cpu.hits(), name, "is", m.cpu.hits())
            m.cpu.ask("fault clear")
        with open(os.path.join(SOURCE, "docs/xenemu.1")) as f:
            text = re.search(r"^Operations: (.*?)^\.SH", f.read(), re.S | re.M).group(1)
        named = set(re.findall(r"\\fB([a-z\\-]+)\\fR", text))
        named = {n.replace("\\-", "-") for n in named}
        want(named == names, "the manual page lacks", sorted(names - named), "and has", sorted(named - names))
        ours = set(FATAL) | set(SERVES) | set(SERVICE) | set(LATER) | set(DISK) | set(UPDATE) | set(UNUSED) | {"restrict", "setmaxmem"}
        want(ours == names, "not dealt with:", sorted(names - ours), "; not there:", sorted(ours - names))
        for bad in ("nonsense", "map nth=0", "map errno=ENONSENSE", "create-ioreq-server gfn=1", "map lba=1", "map gfn=9-1",
                    "disk-flush short=1", "disk-read drive=sda", "disk-read gfn=5", "map what=1"):
            m.cpu.send("fault " + bad)
            answer = m.cpu.file.readline()
            want(answer.startswith("FAIL"), bad, "->", answer)
    finally:
        m.end()


if __name__ == "__main__":
    sys.exit(tap([test_xen, test_xenstore, test_again, test_frames, test_incoming, test_names]))
