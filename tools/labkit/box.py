# SPDX-License-Identifier: GPL-2.0-or-later
"""The box: one QEMU process in which Xen and dom0 run, and the ways to talk to that dom0.

Commands go over a virtio port to a small agent; scripts, their output and all files go through a
directory that dom0 mounts by 9p as /share. Nothing is ever read off a screen.
"""

import contextlib
import ctypes
import glob
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from . import accel, build, release
from .util import LabError, host, say

QEMU_DM = "/usr/libexec/xen-qemu-system-i386"
BOOT_TIMEOUT = 240
CTL = "/root/xendmctl"    # in dom0, once put_ctl() was called
# Why these CPUs: docs/xendm-lab.1, "THE BOX".
TCG_CPU = "qemu64,+svm,+npt,-smap,-smep,-monitor"
XEN_ARGS = ("dom0_mem=%dM,max:%dM dom0_max_vcpus=1 dom0_vcpus_pin console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all "
            "spec-ctrl=no xpti=0 bootscrub=0 watchdog=0")
DOM0_ARGS = "console=hvc0 quiet mitigations=off rdinit=/init random.trust_cpu=on audit=0"


def die_with_parent():
    """In the box's process: end when the lab ends, however it ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)      # PR_SET_PDEATHSIG


def share_cpus(pid):
    """The niceness the lab was started with, for the box's session, too: Linux' autogroups weigh sessions, and processes
    only within theirs."""
    with contextlib.suppress(OSError), open("/proc/%d/autogroup" % pid, "w", encoding="ascii") as stream:
        stream.write(str(os.getpriority(os.PRIO_PROCESS, 0)))


def qemu_version(start, env):
    """What a QEMU calls itself: "QEMU 7.2.22"."""
    text = subprocess.run(start[:start.index("-L")] + ["--version"] if "-L" in start else start + ["--version"],
                          env=dict(os.environ, **env), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False).stdout.decode("utf-8", "replace")
    found = re.search(r"version (\S+)", text)
    return "QEMU " + (found[1] if found else "of unknown version")


class Box:
    """A running box. Use as a context manager, so that it ends whatever happens."""

    def __init__(self, dm="xendm", xendm_build=None, accelerator="auto", memory=4096, smp=2, dom0_memory=1024,
                 passthrough=False, out=None, keep=False, terminal=None, suite="native", emulator="auto"):
        self.dm = dm
        self.xendm_build = xendm_build
        self.accelerator = accelerator
        self.release = release.get(suite)
        self.emulator = emulator
        self.memory = memory
        self.smp = smp
        self.dom0_memory = dom0_memory
        self.passthrough = passthrough
        self.keep = keep
        self.terminal = terminal
        self.out = out
        self.process = None
        self.files = None           # the directory with the box's files
        self.media = None           # where menu and script lie in the media; a later build does not disturb it
        # QEMU copies PIO disk data word by word, which emulation makes very slow
        self.patience = 2.5 if dm == "qemu" else 1
        self.dm_path = None         # the device model's path in dom0
        self.work = None
        self._agent = None
        self._agent_text = b""
        self._done = {}
        self._count = 0
        self._lock = threading.Lock()

    # --- life ---------------------------------------------------------------------------------

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    def start(self):
        """Boot; returns when dom0's agent answers."""
        self.files = self.release.files()
        with open(self.files + "/guest.json", encoding="ascii") as stream:
            about = json.load(stream)
        self.media = about["media"]
        if self.accelerator == "auto":
            self.accelerator = accel.choose("auto", self._probe_kvm)
        self.work = tempfile.mkdtemp(prefix="xendm-lab-")
        os.mkdir(self.work + "/share")
        os.mkdir(self.work + "/share/cmd")
        os.mkdir(self.work + "/share/guest")
        self._stage_dm()
        if self.terminal:       # what dom0 runs on the person's terminal before the shell there
            with open(self.work + "/share/terminal", "w", encoding="utf-8") as stream:
                stream.write("export DM=%s\n%s\n" % (shlex.quote(self.dm_path), self.terminal))
        start, env = release.choose_emulator(self.emulator).emulator()
        self.carrier = qemu_version(start, env)
        say("starting the box: %d MB, %d CPUs, %s on %s; Xen %s, kernel %s, device model %s"
            % (self.memory, self.smp, self.accelerator, self.carrier, about["xen"], about["kernel"], self.dm))
        errors = open(self.work + "/qemu.log", "wb")
        with errors:
            self.process = subprocess.Popen(
                start + self._command(), env=dict(os.environ, **env), stdin=None if self.terminal else subprocess.DEVNULL,
                stdout=None if self.terminal else errors, stderr=errors, cwd=self.work,
                start_new_session=not self.terminal, preexec_fn=die_with_parent)
        share_cpus(self.process.pid)
        if self.accelerator == "kvm":
            self.patience = 1
        try:
            self._connect()
            ready = self._wait_line(lambda: self._done.pop("ready", None), BOOT_TIMEOUT, "dom0's agent")
        except BaseException:
            self._fail_boot()
            raise
        say("dom0 is up (its clock: %s s)" % ready)

    def _command(self):
        kvm = self.accelerator == "kvm"
        files = self.files
        xen = XEN_ARGS % (self.dom0_memory, self.dom0_memory)
        argv = ["-name", "xendm-lab", "-nodefaults", "-no-user-config", "-display", "none",
                "-no-reboot", "-accel", "kvm" if kvm else "tcg,thread=multi,tb-size=1024",
                "-machine", "q35" + (",kernel-irqchip=split" if kvm and self.passthrough else ""),
                "-cpu", "host" if kvm else TCG_CPU, "-smp", str(self.smp), "-m", str(self.memory),
                "-kernel", files + "/xen", "-append", xen,
                "-initrd", "%s/vmlinuz %s,%s/dom0-initrd.gz" % (files, DOM0_ARGS, files),
                "-serial", "file:console.log",
                "-drive", "file=%s/dom0.img,format=raw,if=none,id=root,snapshot=on,cache=unsafe" % files,
                "-device", "virtio-blk-pci,drive=root",
                "-fsdev", "local,id=share,path=%s/share,security_model=none" % self.work,
                "-device", "virtio-9p-pci,fsdev=share,mount_tag=share",
                "-device", "virtio-serial-pci",
                "-chardev", "socket,id=agent,path=agent.sock,server=on,wait=off",
                "-device", "virtserialport,chardev=agent,name=lab.agent,nr=1",
                # For tests that put something into it; domain 0 has no driver for it before.
                "-device", "qemu-xhci,id=xhci,p2=4,p3=1",
                "-chardev", "socket,id=qmp,path=qmp.sock,server=on,wait=off", "-mon", "chardev=qmp,mode=control"]
        if self.terminal:
            argv += ["-chardev", "stdio,id=term,signal=off", "-device", "virtconsole,chardev=term,nr=2"]
        if self.passthrough:
            argv += ["-device", "intel-iommu,intremap=on", "-netdev", "user,id=pt,restrict=on",
                     "-device", "e1000e,netdev=pt"]
        return argv

    def _stage_dm(self):
        """Put the device model under test, and its libraries, where dom0 copies them from."""
        if self.dm == "qemu":
            self.dm_path = QEMU_DM
            return
        program = self.find_xendm() if self.dm == "xendm" else self.dm
        if not build.executable(program):
            raise LabError("%s is no program" % program)
        self.dm_path = "/usr/local/bin/" + os.path.basename(program)
        stage = self.work + "/share/dm"
        os.makedirs(stage + "/bin")
        os.makedirs(stage + "/lib")
        shutil.copy(program, stage + "/bin/")
        with open(program, "rb") as stream:
            if stream.read(4) != b"\x7fELF":
                return
        files = self._helpers(program)
        for one in [program] + [path for path, _ in files]:
            files += self.release.libraries(one)
        for source, name in files:
            target = stage + "/lib" + name
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(source, target)

    @staticmethod
    def _helpers(program):
        """[(where it is, where it goes in dom0)] of its helpers: as it was built, in backends/ROOM beside it, or as installed."""
        top = os.path.dirname(program)
        top = os.path.dirname(top) if os.path.basename(top) == ".libs" else top
        found = {}
        for pattern in (".libs/xendm-*", "xendm-*"):    # beside what is in .libs lies only libtool's script
            for path in glob.glob(top + "/backends/*/" + pattern):
                room = os.path.relpath(path, top).split("/")[1]
                if build.executable(path):
                    found.setdefault("/usr/local/bin/backends/%s/%s" % (room, os.path.basename(path)), path)
        if not found:
            installed = os.path.dirname(os.path.dirname(program)) + "/libexec/xendm/xendm-*"
            found = {path: path for path in glob.glob(installed) if build.executable(path)}
        return [(path, name) for name, path in found.items()]

    def find_xendm(self):
        """The xendm binary: of the given build, of ./build, or the installed one."""
        self.xendm_build = self.xendm_build or self.release.default_build()
        places = []
        for base in [self.xendm_build] if self.xendm_build else ["build", "."]:
            places += [base + "/.libs/xendm", base + "/dm/.libs/xendm", base + "/xendm", base + "/dm/xendm"]
        if not self.xendm_build:
            places += ["/usr/local/sbin/xendm", "/usr/local/bin/xendm", "/usr/sbin/xendm", "/usr/bin/xendm"]
        for path in places:
            if build.executable(path):
                return os.path.abspath(path)
        raise LabError("no xendm found in %s (use --xendm-build DIR, or --dm qemu)"
                       % (self.xendm_build or "./build or on this machine"))

    def _probe_kvm(self):
        """Whether a box under KVM offers HVM with its CPU's help."""
        box = Box(dm="qemu", accelerator="kvm", memory=2048, smp=1, suite=self.release.name, emulator=self.emulator)
        try:
            with box:
                return bool(re.search(r"virt_caps.*\bhvm\b", box.run("xl info", timeout=60)))
        except LabError as err:
            say("KVM does not carry the box: %s" % err)
            return False

    def _connect(self):
        until = time.monotonic() + 30
        while True:
            self._agent = socket.socket(socket.AF_UNIX)
            try:
                here = os.open(self.work, os.O_PATH)
                try:        # by way of /proc, since socket names are short
                    self._agent.connect("/proc/self/fd/%d/agent.sock" % here)
                finally:
                    os.close(here)
                self._agent.setblocking(False)
                return
            except OSError:
                self._agent.close()
                if self.process.poll() is not None or time.monotonic() > until:
                    raise LabError("the box's QEMU did not start: " + self._tail("qemu.log")) from None
                time.sleep(0.05)

    def _fail_boot(self):
        self._tail_to_say("console.log", 15)
        self.close()

    def _tail(self, name, lines=3):
        try:
            with open(self.work + "/" + name, encoding="utf-8", errors="replace") as stream:
                return " / ".join(stream.read().strip().splitlines()[-lines:])
        except OSError:
            return "(no %s)" % name

    def _tail_to_say(self, name, lines):
        for line in self._tail(name, lines).split(" / "):
            say("  %s: %s" % (name, line))

    def close(self):
        """End the box. With keep, say where its files are; else they go away."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self._agent:
            self._agent.close()
            self._agent = None
        if self.work:
            if self.out:
                self.save_host_logs(self.out)
            if self.keep:
                say("the box's files stay in %s" % self.work)
            else:
                shutil.rmtree(self.work, ignore_errors=True)
            self.work = None

    def save_host_logs(self, target):
        """The consoles of Xen and of the guests, as far as they are known outside the box."""
        os.makedirs(target, exist_ok=True)
        for path in glob.glob(self.work + "/*.log") + glob.glob(self.work + "/share/guest/*.serial*"):
            shutil.copy(path, target)

    # --- commands -----------------------------------------------------------------------------

    def _pump(self, seconds):
        """Take in what the agent says."""
        until = time.monotonic() + seconds
        while True:
            try:
                data = self._agent.recv(65536)
                if not data:
                    raise LabError("the box closed its agent port")
                self._agent_text += data
                while b"\n" in self._agent_text:
                    line, self._agent_text = self._agent_text.split(b"\n", 1)
                    words = line.decode("utf-8", "replace").split()
                    if words[:1] == ["ready"]:
                        self._done["ready"] = words[1] if len(words) > 1 else "?"
                    elif words[:1] == ["done"] and len(words) == 3:
                        self._done[words[1]] = int(words[2])
                continue
            except BlockingIOError:
                pass
            if time.monotonic() >= until:
                return
            time.sleep(0.02)

    def _wait_line(self, ask, timeout, what):
        until = time.monotonic() + timeout
        while True:
            with self._lock:
                self._pump(0.05)
                answer = ask()
            if answer is not None:
                return answer
            if self.process.poll() is not None:
                raise LabError("the box ended while waiting for %s: %s"
                               % (what, self._tail("qemu.log") or self._tail("console.log", 6)))
            if time.monotonic() > until:
                raise LabError("no answer within %d s: %s" % (timeout, what))

    def spawn(self, command):
        """Start a shell script in dom0 and return its name for wait() at once."""
        with self._lock:
            self._count += 1
            name = "c%d" % self._count
            with open("%s/share/cmd/%s" % (self.work, name), "w", encoding="utf-8") as stream:
                stream.write(command + "\n")
            self._agent.setblocking(True)
            self._agent.sendall(name.encode() + b"\n")
            self._agent.setblocking(False)
        return name

    def output(self, name):
        """What a script has printed so far."""
        try:
            with open("%s/share/cmd/%s.out" % (self.work, name), "rb") as stream:
                return stream.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def wait(self, name, timeout=60, what=None):
        """(exit status, output) of a script started with spawn()."""
        status = self._wait_line(lambda: self._done.pop(name, None), timeout, what or name)
        return status, self.output(name)

    def call(self, command, timeout=60):
        """(exit status, output) of a shell script in dom0."""
        return self.wait(self.spawn(command), timeout, "dom0: %s" % command.strip().splitlines()[0][:80])

    def run(self, command, timeout=60):
        """The output of a shell script in dom0 that has to succeed."""
        status, text = self.call(command, timeout)
        if status != 0:
            raise LabError("dom0: %s: exit status %d: %s"
                           % (command.strip().splitlines()[0][:80], status,
                              " / ".join(text.strip().splitlines()[-4:])))
        return text

    def follow(self, command, timeout, write):
        """Run a script, handing its output to write() as it comes; its exit status."""
        name = self.spawn(command)
        sent = 0
        until = time.monotonic() + timeout
        while True:
            try:
                status = self._wait_line(lambda: self._done.pop(name, None), 0.3, name)
            except LabError:
                if self.process.poll() is not None:
                    raise
                status = None
            text = self.output(name)
            if len(text) > sent:
                write(text[sent:])
                sent = len(text)
            if status is not None:
                return status
            if time.monotonic() > until:
                raise LabError("the script has not ended within %d s" % timeout)

    # --- files --------------------------------------------------------------------------------

    def put(self, local, remote):
        """Copy a file or directory into dom0."""
        name = "put-%d-%s" % (time.monotonic_ns(), os.path.basename(local.rstrip("/")))
        stage = "%s/share/%s" % (self.work, name)
        if os.path.isdir(local):
            shutil.copytree(local, stage)
        else:
            shutil.copy(local, stage)
        self.run("cp -r /share/%s %s && rm -rf /share/%s"
                 % (shlex.quote(name), shlex.quote(remote), shlex.quote(name)), timeout=300)

    def get(self, remote):
        """The bytes of a file of dom0."""
        name = "get-%d" % time.monotonic_ns()
        self.run("cp %s /share/%s && chmod 644 /share/%s" % (shlex.quote(remote), name, name), timeout=120)
        path = "%s/share/%s" % (self.work, name)
        with open(path, "rb") as stream:
            data = stream.read()
        os.unlink(path)
        return data

    def tool(self, path):
        """Where a program of the build is whose xendm is there, by its place in the tree."""
        place = os.path.join(os.path.dirname(self.find_xendm()), path)
        for found in (place, place.replace("/.libs", "")):
            if os.path.exists(found):
                return found
        raise LabError("no %s at %s" % (os.path.basename(path), place))

    def put_ctl(self):
        """xendmctl of the build whose xendm is there, into dom0 as CTL."""
        self.put(self.tool("tools/xendmctl/xendmctl"), CTL)
        self.run("chmod 755 " + CTL)

    # --- evidence -----------------------------------------------------------------------------

    def collect(self, target):
        """Everything that explains a failure, into a directory of this machine."""
        os.makedirs(target, exist_ok=True)
        self.save_host_logs(target)
        script = r"""
ctl=%s
cd /run && rm -rf evidence && mkdir evidence && cd evidence
for pid in $(ps -o pid,args | awk -v dm='%s' '$2 == dm {print $1}'); do kill -USR1 $pid; done
xl list -v >xl-list.txt 2>&1
xl vcpu-list >>xl-list.txt 2>&1
for id in $(xl list | awk 'NR > 1 && $2 > 0 {print $2}'); do
    for round in 1 2; do        # twice: what moves in between tells who is alive
        for vcpu in 0 1 2 3; do xenctx $id $vcpu; done >xenctx-$id-$round.txt 2>&1
        timeout 10 xen-hvmctx $id >hvmctx-$id-$round.txt 2>&1
    done
    [ -x $ctl ] && timeout 20 $ctl why $id >why-$id.txt 2>&1 && timeout 20 $ctl recorder $id --last 200 >recorder-$id.txt 2>&1
    for topic in status irq ioreq block chardev pci devices; do
        echo "--- info $topic"
        timeout 10 xl qemu-monitor-command $id "info $topic"
    done >monitor-$id.txt 2>&1
    sed -n 's/^\([^ :]*\): .*, \(running\|stopped\).*/\1/p' monitor-$id.txt | while read -r device; do
        echo "--- info device $device"
        timeout 10 xl qemu-monitor-command $id "info device $device" </dev/null
    done >monitor-devices-$id.txt 2>&1
done
xenstore-ls -f >xenstore.txt 2>&1
ps -o pid,ppid,user,vsz,rss,stat,args >ps.txt 2>&1
ls -la /run/xen /run >run.txt 2>&1
cat /proc/mounts /proc/meminfo >dom0.txt
losetup -a >>dom0.txt 2>&1
dmesg >dom0-dmesg.txt
timeout 20 xl dmesg >xl-dmesg.txt 2>&1
sleep 1
cp /var/log/xen/* . 2>/dev/null
cp -r /var/log/xendm . 2>/dev/null
rm -rf /share/evidence && cp -r /run/evidence /share/evidence && chmod -R a+rX /share/evidence
""" % (CTL, self.dm_path)
        if self.dm == "qemu":       # QEMU has no flight recorder: SIGUSR1 would end it
            script = "\n".join(line for line in script.splitlines() if "USR1" not in line)
        try:
            self.call(script, timeout=180)
            shutil.copytree(self.work + "/share/evidence", target, dirs_exist_ok=True)
        except (LabError, OSError) as err:
            say("could not collect everything: %s" % err)
        say("logs are in %s" % target)

    def leftovers(self, domids):
        """What is still there of these domains; an empty list when all is clean."""
        text = self.run("""
for id in %s; do
    xl list | awk -v id=$id '$(NF - 4) == id {print "domain " $0}'
    ps -o pid,stat,args | awk -v id=$id '$0 ~ ("-xen-domid " id " ") && !/awk/ {print "process " $0}'
    for path in /run/xen/qmp-*-$id /var/lib/xen/qemu-*.$id; do
        [ -e $path ] && echo "file $path"
    done
    xenstore-ls -f | grep -E "^(/local/domain/$id|/libxl/$id|/local/domain/0/device-model/$id|/local/domain/0/backend/[a-z0-9]+/$id) = "
    for path in $(xenstore-ls -f | sed -n "s,^\\(/local/domain/0/backend/[a-z0-9]*/$id/[0-9]*\\)/frontend = .*,\\1,p"); do
        echo "xenstore $path"
    done
done
true
""" % " ".join(str(domid) for domid in sorted(domids)), timeout=60)
        return [line for line in text.splitlines() if line.strip()]
