# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of tools/lab."""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys

from . import matrix, release, suite
from .box import Box
from .util import LabError, say


def box_options(parser):
    """Options of every verb that starts a box."""
    parser.add_argument("--dm", default="xendm", metavar="xendm|qemu|PATH", help="the device model (default xendm)")
    parser.add_argument("--xendm-build", metavar="DIR", help="the build tree with xendm (default ./build, then PATH)")
    parser.add_argument("--suite", choices=("native",) + release.OTHERS, default="native",
                        help="the Debian that the box is made of (default: this machine's)")
    parser.add_argument("--emulator", choices=("auto", "native") + release.OTHERS, default="auto",
                        help="the Debian whose QEMU carries the box (default: this machine's)")
    parser.add_argument("--accel", choices=("auto", "kvm", "tcg"), default="auto")
    parser.add_argument("--memory", type=int, metavar="MB", help="memory of the box")
    parser.add_argument("--smp", type=int, default=2, metavar="N", help="CPUs of the box")
    parser.add_argument("--passthrough", action="store_true", help="add an IOMMU and a network card to pass through")
    parser.add_argument("--keep", action="store_true", help="keep the box's files afterwards")
    parser.add_argument("--out", metavar="DIR", help="put logs here")


def make_box(args, **more):
    """A Box as the options say."""
    return Box(dm=args.dm, xendm_build=args.xendm_build, accelerator=args.accel, memory=args.memory or 4096,
               smp=args.smp, passthrough=args.passthrough, keep=args.keep, out=args.out, suite=args.suite,
               emulator=args.emulator, **more)


def do_build(args):
    """Verb build."""
    print(release.get(args.suite).files())
    return 0


def do_inside(args):
    """Verb inside."""
    place = release.get(args.suite)
    place.prepare()
    words = args.command or ["sh"]
    return subprocess.run(place.command(["sh", "-c", 'cd /mnt/source && exec "$@"', "sh"] + words), check=False).returncode


def do_shell(args):
    """Verb shell."""
    if not sys.stdin.isatty():
        raise LabError("shell wants a terminal; for scripts there is tools/lab run")
    box = make_box(args, terminal="cd /lab")
    with box:
        box.run("touch /share/shell")
        say("dom0's shell follows. The device model is %s; media are in /lab; poweroff -f ends the box." % box.dm_path)
        box.process.wait()
    return 0


def do_run(args):
    """Verb run."""
    if args.script != "-" and not os.path.isfile(args.script):
        raise LabError("no such script: %s" % args.script)
    with make_box(args) as box:
        target = box.work + "/share/script"
        if args.script == "-":
            with open(target, "wb") as stream:
                shutil.copyfileobj(sys.stdin.buffer, stream)
        else:
            shutil.copy(args.script, target)
        os.chmod(target, 0o755)
        with open(target, "rb") as stream:
            direct = stream.read(2) == b"#!"
        words = " ".join(shlex.quote(word) for word in args.args)
        command = "export DM=%s OUT=/share/out\nmkdir -p $OUT\ncp /share/script /tmp/script\nexec %s/tmp/script %s" % (
            shlex.quote(box.dm_path), "" if direct else "sh ", words)

        def write(text):
            sys.stdout.write(text)
            sys.stdout.flush()

        try:
            status = box.follow(command, args.timeout, write)
        finally:
            if args.out:
                box.collect(args.out)
                if os.path.isdir(box.work + "/share/out"):
                    shutil.copytree(box.work + "/share/out", args.out, dirs_exist_ok=True)
        say("the script ended with status %d" % status)
    return status


def main():
    """tools/lab VERB ..."""
    parser = argparse.ArgumentParser(prog="lab", description="A real Xen host in a box. See xendm-lab(1).")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("build", help="build the box's files (other verbs do it by themselves)")
    verb.add_argument("--suite", choices=("native",) + release.OTHERS, default="native")
    verb.set_defaults(action=do_build)
    verb = verbs.add_parser("inside", help="run a command in another Debian: this source is /mnt/source, the cache /mnt/cache")
    verb.add_argument("--suite", choices=release.OTHERS, default=release.OTHERS[0])
    verb.add_argument("command", nargs=argparse.REMAINDER)
    verb.set_defaults(action=do_inside)
    verb = verbs.add_parser("shell", help="boot and give a dom0 shell")
    box_options(verb)
    verb.set_defaults(action=do_shell)
    verb = verbs.add_parser("run", help="boot, run a script in dom0, end with its status")
    box_options(verb)
    verb.add_argument("--timeout", type=int, default=900, metavar="S", help="seconds the script may take")
    verb.add_argument("script", help="a script for dom0, or - for stdin")
    verb.add_argument("args", nargs=argparse.REMAINDER)
    verb.set_defaults(action=do_run)
    verb = verbs.add_parser("test", help="run the lab tests")
    box_options(verb)
    verb.add_argument("--list", action="store_true", help="list the tests and exit")
    verb.add_argument("--quick", action="store_true", help="only the short subset")
    verb.add_argument("--jobs", type=int, default=1, metavar="N", help="lives to run side by side (default 1)")
    verb.add_argument("--evidence", action="store_true", help="keep consoles and screens of what passes, too")
    verb.add_argument("name", nargs="*", help="names of files, lives or tests (all by default)")
    verb.set_defaults(action=suite.do_test)
    verb = verbs.add_parser("suite", help="run a matrix of boxes, and report on it")
    verb.add_argument("--xendm-build", metavar="DIR", help="the build tree with xendm (default ./build, then PATH)")
    verb.add_argument("--accel", choices=("auto", "kvm", "tcg"), default="auto")
    verb.add_argument("--jobs", type=int, default=0, metavar="N", help="boxes side by side, at most (default: what memory allows)")
    verb.add_argument("--list", action="store_true", help="name the boxes and exit")
    verb.add_argument("--results", metavar="DIR", help="where results are put (default: DIR/results)")
    verb.add_argument("directory", metavar="DIR", help="where suite.ini is")
    verb.set_defaults(action=matrix.do_suite)
    verb = verbs.add_parser("bench", help="device models side by side, with a quiet and a busy dom0")
    box_options(verb)
    verb.add_argument("--runs", type=int, default=3, metavar="N", help="guests that read ports, of each device model (default 3)")
    verb.add_argument("--logins", type=int, default=0, metavar="N", help="boots to the login in each dom0 (default none)")
    verb.set_defaults(action=lambda args: __import__("labkit.bench", fromlist=["bench"]).do_bench(args, make_box))
    verb = verbs.add_parser("demo", help="boot a guest and show it (sh tools/demo calls this)")
    box_options(verb)
    verb.add_argument("--png", default="xendm-demo.png", metavar="FILE", help="where the picture goes")
    verb.set_defaults(action=lambda args: __import__("labkit.demo", fromlist=["demo"]).do_demo(args, make_box))
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return args.action(args)
    except LabError as err:
        say("error: %s" % err)
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
