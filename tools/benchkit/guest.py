# SPDX-License-Identifier: GPL-2.0-or-later
"""A device model on a xenemu of its own."""
import os
import re
import signal
import subprocess
import time

import client

from .processes import children, cpu_ns

TIMED_OUT = 60


class Failed(Exception):
    pass


class Cpu:
    """One virtual CPU: a connection to the host's socket."""

    def __init__(self, path):
        self.file = client.connect(path).makefile("rw")

    def __call__(self, line):
        self.file.write(line + "\n")
        self.file.flush()
        reply = self.file.readline().strip()
        if not reply.startswith("OK"):
            raise Failed(f"{line}: {reply or 'no answer'}")
        return reply

    def bench(self, line):
        words = dict(w.split("=") for w in self(line).split()[1:])
        return {k: int(v) for k, v in words.items()}


class Qmp(client.Qmp):
    """A client of the device model's monitor."""

    def __call__(self, command, fd=None, **args):
        reply = self.ask(command, fd=fd, **args)
        if "error" in reply:
            raise Failed(f"{command}: {reply['error']}")
        return reply["return"]


class Guest:
    def __init__(self, bench, name, program, env=None, domid=1, host=None, options=(), wrap=None):
        self.name, self.program = name, program
        self.dir = host.dir if host else os.path.join(bench.work, name)
        argv = [os.path.join(bench.build, "tools/xenemu/xenemu"), "run", "--dm", program, "--domid", str(domid),
                "--name", f"{name}{domid}", "--serial", "null"]
        argv += ["--attach", self.dir] if host else ["--rundir", self.dir]
        argv += list(options)
        argv = wrap(argv) if wrap else argv
        self.out = os.path.join(bench.work, f"{name}-{domid}.out")
        with open(self.out, "w") as out:
            self.run = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                        env=dict(os.environ, **(env or {})))
        self.qtest = os.path.join(self.dir, f"qtest-{domid}")
        self.pid = self.host_pid = 0
        self.apart = False
        try:
            self.wait()
        except Failed:
            self.end()
            raise

    def ready(self):
        with open(self.out) as f:
            return "ready after" in f.read()

    def wait(self):
        end = time.monotonic() + TIMED_OUT
        while not self.ready():
            if self.run.poll() is not None or time.monotonic() > end:
                with open(self.out) as f:
                    raise Failed(f"{self.name} did not start: {f.read()[-400:]}")
            time.sleep(0.02)
        # The one child of xenemu that is neither the host nor xenstored.
        want = os.path.realpath(self.program)
        for pid in children(self.run.pid):
            exe = os.path.realpath(f"/proc/{pid}/exe")
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                args = f.read().split(b"\0")
            if exe == want or b"-xen-domid" in args:
                self.pid = pid
            elif b"host" in args:
                self.host_pid = pid
        if not self.pid:
            raise Failed(f"{self.name}: no process")

    def cpu(self, n=None):
        c = Cpu(self.qtest)
        c("echo" if n is None else f"vcpu {n}")
        self.place()
        return c

    def place(self):
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) < 2:
            return
        os.sched_setaffinity(self.pid, cpus[-1:] if self.apart else cpus)
        for task in os.listdir(f"/proc/{self.host_pid}/task"):
            try:
                os.sched_setaffinity(int(task), cpus[:1] if self.apart and int(task) != self.host_pid else cpus)
            except ProcessLookupError:      # a session that has just ended
                pass

    def end(self):
        if self.run.poll() is None:
            self.run.send_signal(signal.SIGTERM)
            try:
                self.run.wait(20)
            except subprocess.TimeoutExpired:
                self.run.kill()
                self.run.wait()


def timed_start(b, name, guest, options, **kw):
    """Milliseconds from exec to the answer of QMP and to state=running; CPU used until then."""
    program, env = b.dms[name]
    timer = os.path.join(b.build, "tools/benchmarks/start-timer")
    result = os.path.join(b.work, "start")
    if os.path.exists(result):
        os.unlink(result)
    g = Guest(b, guest, timer, dict(env, BENCH_DM=program, BENCH_OUT=result), options=options, **kw)
    used = cpu_ns(g.pid)
    end = time.monotonic() + 10
    while not (os.path.exists(result) and os.path.getsize(result)) and time.monotonic() < end:
        time.sleep(0.01)
    g.end()
    with open(result) as f:
        qmp, running = (int(x) / 1e6 for x in f.read().split())
    if qmp < 0 or running < 0:
        raise Failed(f"{name}: no QMP answer or not running")
    return qmp, running, used / 1e6


def video_memory(guest):
    """Options that give a restored domain what it brings along beside its RAM: video memory, where it was saved."""
    ram = (512 - 8) << 8            # pages, as xenemu's default domain has them
    options = []
    for run in re.findall(r" 0x(\w+)\+0x(\w+):rw", guest.cpu()("memory")):
        first, end = int(run[0], 16), int(run[0], 16) + int(run[1], 16)
        if end > ram:
            options += ["--populate", f"{max(first, ram)}+{end - max(first, ram)}"]
    return options
