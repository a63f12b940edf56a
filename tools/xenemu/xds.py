#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Device scripts: drive a device model through xenemu's socket and check what it answers.

Usage: xds.py --socket PATH [--dm PATH] [--flavour NAME] [--seed N] [--verbose] SCRIPT
Prints TAP; exit status 0 if every test passed. docs/device-scripts.md describes the language.
"""
import argparse
import ast
import json
import operator
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time

COMMANDS = set("""inb inw inl outb outw outl readb readw readl readq writeb writew writel writeq read write
memset b64read b64write endianness clock_step clock_set irq_intercept_in irq_intercept_out set_irq_in
domain domains vcpu state revive pause unpause ins outs movs_in movs_out pciread pciwrite bufwrite
invalidate timeoffset bench irqstate intx msi watch xenparam populate balloon memory setmaxmem dirty grant
evtchn fault poll sum lines servers stats missing pt leaks handles sleep timeout spin echo help domain_create domain_destroy""".split())
# Answers that stay text even if they look like a number.
TEXT = {"read", "b64read", "state", "memory", "servers", "stats", "msi", "dirty", "missing", "pt", "lines"}


class ScriptError(Exception):
    """The script itself is wrong."""


class TestFailed(Exception):
    """The rest of this test makes no sense any more."""


class Failure(Exception):
    """The device model or the host answered FAIL."""


class Link:
    """One connection to the socket: one virtual CPU."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.buf = b""
        self.irqs = []

    def line(self, timeout):
        self.sock.settimeout(timeout)
        while b"\n" not in self.buf:
            data = self.sock.recv(65536)
            if not data:
                raise TestFailed("the socket was closed: the device model or the host is gone")
            self.buf += data
        line, self.buf = self.buf.split(b"\n", 1)
        return line.decode()

    def ask(self, text):
        self.sock.sendall(text.encode() + b"\n")
        while True:
            line = self.line(120)
            if line.startswith("OK"):
                return line[3:]
            if line.startswith("FAIL"):
                raise Failure(line[5:])
            self.irqs.append(line)

    def wait_line(self, want, ms):
        end = time.monotonic() + ms / 1000
        while True:
            if want in self.irqs:
                del self.irqs[:self.irqs.index(want) + 1]
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            try:
                self.irqs.append(self.line(left))
            except socket.timeout:
                return False


class Qmp:
    """The control socket of the device model, one connection per command as libxl does."""

    def __init__(self, path):
        self.path = path

    def command(self, name, args):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(20)
        s.connect(self.path)
        f = s.makefile("rwb")
        json.loads(f.readline())
        for i, (cmd, a) in enumerate((("qmp_capabilities", None), (name, args))):
            msg = {"execute": cmd, "id": i + 1}
            if a:
                msg["arguments"] = a
            f.write(json.dumps(msg).encode() + b"\r\n")
            f.flush()
            while True:
                reply = json.loads(f.readline())
                if reply.get("id") == i + 1:
                    break
        s.close()
        if "error" in reply:
            raise Failure("%s: %s" % (reply["error"]["class"], reply["error"]["desc"]))
        return reply["return"]


class Mover:
    """Saves the machine as libxl does and goes on in another device model that loads it."""

    def __init__(self, qmp_path, run_fd):
        self.path = qmp_path
        self.run = socket.socket(fileno=int(run_fd)) if run_fd else None
        self.moves = 0

    def session(self, *commands):
        """(name, arguments, descriptor or None) each; "/dev/fdset/N" in the last stands for the one passed."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            s.connect(self.path)
            f = s.makefile("rb")
            f.readline()
            fdset = None
            for name, args, fd in (("qmp_capabilities", None, None),) + commands:
                msg = {"execute": name, "id": 1}
                if args:
                    msg["arguments"] = dict(args, **({"filename": "/dev/fdset/%d" % fdset}
                                                     if "filename" in args else {}))
                text = json.dumps(msg).encode() + b"\r\n"
                if fd is None:
                    s.sendall(text)
                else:       # with the first byte only, as libxl does
                    socket.send_fds(s, [text[:1]], [fd])
                    s.sendall(text[1:])
                reply = {}
                while "id" not in reply:
                    line = f.readline()
                    if not line:
                        raise TestFailed("%s: the device model hung up" % name)
                    reply = json.loads(line)
                if "error" in reply:
                    raise TestFailed("%s: %s" % (name, reply["error"]["desc"]))
                if name == "add-fd":
                    fdset = reply["return"]["fdset-id"]

    def save(self, stop):
        with tempfile.TemporaryFile() as f:
            f.write(b"x" * 1000000)     # what an earlier save may have left: there is no O_TRUNC
            f.flush()
            f.seek(0)
            steps = (("add-fd", None, f.fileno()),
                     ("xen-save-devices-state", {"live": True, "filename": ""}, None))
            self.session(*((("stop", None, None),) if stop else ()) + steps)
            f.seek(0)
            return f.read()

    def move(self):
        self.moves += 1
        before = self.save(True)
        with tempfile.NamedTemporaryFile(prefix="xds-state-") as f:
            f.write(before)
            f.flush()
            self.run.sendall(b"replace %s\n" % f.name.encode())
            if self.run.recv(100) != b"OK\n":
                raise TestFailed("move %d: the state was not taken over" % self.moves)
        after = self.save(False)
        if after != before:
            for name, data in (("before", before), ("after", after)):
                with open("/tmp/xds-%d-%s.state" % (os.getpid(), name), "wb") as f:
                    f.write(data)
            raise TestFailed("move %d: saved again, the state differs: xendmctl state diff /tmp/xds-%d-*.state"
                             % (self.moves, os.getpid()))
        self.session(("cont", None, None))


BIN = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
       ast.Div: operator.floordiv, ast.Mod: operator.mod, ast.LShift: operator.lshift,
       ast.RShift: operator.rshift, ast.BitOr: operator.or_, ast.BitAnd: operator.and_,
       ast.BitXor: operator.xor}
CMP = {ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
       ast.Gt: operator.gt, ast.GtE: operator.ge, ast.In: lambda a, b: a in b,
       ast.NotIn: lambda a, b: a not in b}


def evaluate(node, env):
    """Integers, strings, lists, comparisons, and nothing that could do harm."""
    if isinstance(node, ast.Expression):
        return evaluate(node.body, env)
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        if node.id not in env:
            raise ScriptError("unknown variable $%s" % node.id)
        return env[node.id]
    if isinstance(node, ast.BinOp):
        return BIN[type(node.op)](evaluate(node.left, env), evaluate(node.right, env))
    if isinstance(node, ast.UnaryOp):
        v = evaluate(node.operand, env)
        if isinstance(node.op, ast.Not):
            return not v
        return ~v if isinstance(node.op, ast.Invert) else -v
    if isinstance(node, ast.BoolOp):
        values = [evaluate(v, env) for v in node.values]
        return all(values) if isinstance(node.op, ast.And) else any(values)
    if isinstance(node, ast.Compare):
        left = evaluate(node.left, env)
        for op, right in zip(node.ops, node.comparators):
            r = evaluate(right, env)
            if not CMP[type(op)](left, r):
                return False
            left = r
        return True
    if isinstance(node, (ast.List, ast.Tuple)):
        return [evaluate(v, env) for v in node.elts]
    if isinstance(node, ast.Subscript):
        return evaluate(node.value, env)[evaluate(node.slice, env)]
    raise ScriptError("not allowed in an expression: %s" % type(node).__name__)


def expression(text, env):
    try:
        tree = ast.parse(re.sub(r"\$(\w+)", r"\1", text).strip(), mode="eval")
        return evaluate(tree, env)
    except (SyntaxError, KeyError, TypeError) as e:
        raise ScriptError("cannot evaluate '%s': %s" % (text, e)) from e


def words(text):
    """Split at blanks, but keep quoted strings and {…} together."""
    return re.findall(r'"[^"]*"|\{.*\}|\S+', text)


class Script:
    def __init__(self, path, args):
        self.path = path
        self.args = args
        self.link = Link(args.socket)
        self.links = {0: self.link}
        self.qmp = Qmp(os.environ.get("XENEMU_QMP", ""))
        self.env = {"FLAVOUR": args.flavour, "DOMID": int(os.environ.get("XENEMU_DOMID", "1")),
                    "SEED": args.seed}
        self.random = random.Random(args.seed)
        self.subs = {}
        self.number = 0
        self.name = None
        self.errors = []
        self.failed = 0
        self.skipped = None
        self.aborted = False
        with open(path, encoding="utf-8") as f:
            self.lines = [(i + 1, l.split(" #")[0].strip() if not l.lstrip().startswith("#") else "")
                          for i, l in enumerate(f)]
        if any(text == "stays" for _, text in self.lines):
            args.migrate = 0
        self.countdown = args.migrate
        self.mover = Mover(self.qmp.path, os.environ.get("XENEMU_RUN_FD"))

    # ---- results ----

    def note(self, lineno, text):
        self.errors.append("%s:%d: %s" % (os.path.basename(self.path), lineno, text))

    def finish_test(self):
        if self.name is None:
            if self.errors:
                self.name = "before the first test"
            else:
                return
        self.number += 1
        if self.skipped is not None and not self.errors:
            print("ok %d - %s # SKIP %s" % (self.number, self.name, self.skipped))
        else:
            print("%sok %d - %s" % ("not " if self.errors else "", self.number, self.name))
        for e in self.errors:
            print("# " + e)
        self.failed += bool(self.errors)
        self.name, self.errors, self.skipped, self.aborted = None, [], None, False
        sys.stdout.flush()

    # ---- values ----

    def argument(self, word):
        if "$" not in word:
            return word
        if word[0] == '"':
            return word
        v = expression(word, self.env)
        return "0x%x" % v if isinstance(v, int) and v >= 0 else str(v)

    def decimal(self, word):
        """As numbers are in xenstore."""
        return str(expression(word, self.env)) if "$" in word and word[0] != '"' else word

    def command(self, w):
        """Run one command, give its value: an integer if it is one, else text."""
        name = w[0]
        if name == "pci" and len(w) > 2:
            return self.pci(w[1:])
        if name == "xs":
            return self.xenstore([self.decimal(x).strip('"') for x in w[1:]])
        if name == "qmp":
            return self.qmp_command(w[1:])
        if name == "truncate":
            units = {"K": 1 << 10, "M": 1 << 20}
            size = int(w[2][:-1]) * units[w[2][-1]] if w[2][-1] in units else int(w[2])
            os.truncate(os.path.join(os.environ["XENEMU_IMAGES"], w[1]), size)
            return 0
        if name == "rand":
            return self.random.randrange(expression(" ".join(w[1:]), self.env))
        if name == "signature":
            n = expression(" ".join(w[1:]), self.env)
            return "0x" + (n.to_bytes(4, "little") * 128).hex()
        out = self.link.ask(" ".join([name] + [self.argument(x) for x in w[1:]]))
        if self.args.verbose:
            print("# %s -> %s" % (" ".join([name] + [self.argument(x) for x in w[1:]]), out))
        if name in TEXT:
            return out
        try:
            return int(out.split()[0], 0) if len(out.split()) == 1 else out
        except (ValueError, IndexError):
            return out

    def pciread(self, bdf, reg, size):
        return int(self.link.ask("pciread 0x%x 0x%x %d" % (bdf, reg, size)), 0)

    def pci(self, w):
        if w[0] == "find":
            want = expression(w[2], self.env) if ":" not in w[2] else w[2]
            for bdf in range(256):
                ids = self.pciread(bdf, 0, 4)
                if ids in (0xffffffff, 0):
                    continue
                if w[1] == "id" and want == "%04x:%04x" % (ids & 0xffff, ids >> 16):
                    return bdf
                cls = self.pciread(bdf, 8, 4) >> 8
                if w[1] == "class" and want in (cls, cls >> 8):
                    return bdf
            raise TestFailed("no PCI function with %s %s" % (w[1], w[2]))
        bdf = expression(w[1], self.env)
        if w[0] == "bar":
            reg = 0x10 + 4 * expression(w[2], self.env)
            v = self.pciread(bdf, reg, 4)
            if v & 1:
                return v & ~3
            if v & 6 == 4:
                return (v & ~15) | self.pciread(bdf, reg + 4, 4) << 32
            return v & ~15
        if w[0] == "place":         # pci place BDF BAR ADDRESS: set a BAR and switch decoding on
            reg = 0x10 + 4 * expression(w[2], self.env)
            old = self.pciread(bdf, reg, 4)
            self.link.ask("pciwrite 0x%x 0x%x 4 0x%x" % (bdf, reg, expression(w[3], self.env)))
            cmd = self.pciread(bdf, 4, 2) | (1 if old & 1 else 2) | 4
            self.link.ask("pciwrite 0x%x 4 2 0x%x" % (bdf, cmd))
            return expression(w[3], self.env)
        raise ScriptError("pci find|bar|place")

    @staticmethod
    def xenstore(w):
        tools = {"read": "xenstore-read", "write": "xenstore-write", "rm": "xenstore-rm",
                 "exists": "xenstore-exists", "list": "xenstore-list"}
        if not w or w[0] not in tools:
            raise ScriptError("xs read|write|rm|exists|list PATH [VALUE]")
        r = subprocess.run([tools[w[0]]] + w[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           check=False)
        if w[0] == "exists":
            return int(r.returncode == 0)
        if r.returncode:
            raise Failure("xs %s: %s" % (" ".join(w), r.stderr.strip()))
        return r.stdout.rstrip("\n")

    def qmp_command(self, w):
        args, path = None, ""
        for x in w[1:]:
            if x.startswith("{"):
                args = json.loads(x)
            elif x.startswith("."):
                path = x
        v = self.qmp.command(w[0], args)
        for part in path.strip(".").split("."):
            if part:
                v = v[int(part)] if isinstance(v, list) else v[part]
        return v if isinstance(v, (int, str)) else json.dumps(v)

    def is_command(self, w):
        return bool(w) and (w[0] in COMMANDS or w[0] in ("pci", "xs", "qmp", "rand", "signature", "truncate"))

    def value_and_rest(self, text):
        """'inb 0x3f8 & 1 == 0' → (value of the command, '& 1 == 0'); an expression has no rest."""
        w = words(text)
        if not self.is_command(w):
            return None, text
        for i in range(1, len(w)):
            if w[i] in ("==", "!=", "<", "<=", ">", ">=", "&", "|", ">>", "<<", "in", "not", "%", "differs"):
                return self.command(w[:i]), " ".join(w[i:])
        return self.command(w), ""

    def check(self, text):
        """(true?, what was found)"""
        value, rest = self.value_and_rest(text)
        m = re.match(r"(.*?)\bdiffers\b(.*)\bbecause\b(.*)", rest)
        if m:
            table = m.group(2).split()
            pairs = dict(zip(table[::2], table[1::2]))
            if not m.group(3).strip() or self.args.flavour not in pairs:
                raise ScriptError("differs FLAVOUR VALUE FLAVOUR VALUE because REASON")
            rest = m.group(1) + " == " + pairs[self.args.flavour]
        if value is None and not m:
            return bool(expression(rest, self.env)), rest
        if value is None:
            return bool(expression(rest, self.env)), rest
        env = dict(self.env, value__=value)
        shown = hex(value) if isinstance(value, int) else repr(value)
        if not rest:
            return bool(value), shown
        return bool(expression("value__ " + rest, env)), shown

    # ---- statements ----

    def block(self, i):
        """Index of the line after the 'end' that closes the block opened at line i, and of an 'else'."""
        depth, other = 0, None
        for j in range(i, len(self.lines)):
            w = self.lines[j][1].split()
            if w and w[0] in ("repeat", "while", "if", "sub"):
                depth += 1
            elif w and w[0] == "else" and depth == 1:
                other = j
            elif w and w[0] == "end":
                depth -= 1
                if not depth:
                    return j + 1, other
        raise ScriptError("line %d: no 'end'" % self.lines[i][0])

    def run(self, start, stop):
        i = start
        while i < stop:
            lineno, text = self.lines[i]
            w = words(text)
            i += 1
            if not w or w[0] in ("option", "image", "stays"):
                continue
            if w[0] == "test":
                self.step(lineno, 0)
                self.finish_test()
                self.name = text[4:].strip()
                continue
            if self.aborted or self.skipped is not None:
                if w[0] in ("repeat", "while", "if", "sub"):
                    i, _ = self.block(i - 1)
                continue
            try:
                i = self.statement(i, lineno, text, w)
                self.step(lineno, self.countdown - 1)
            except Failure as e:
                self.note(lineno, "%s: %s" % (text, e))
                self.aborted = True
            except TestFailed as e:
                self.note(lineno, str(e))
                self.aborted = True
            except ScriptError as e:
                raise ScriptError("%s:%d: %s" % (self.path, lineno, e)) from e

    def step(self, lineno, left):
        """A statement is done; after so many more the machine moves."""
        self.countdown = left
        if not self.args.migrate or left > 0 or self.aborted or self.skipped is not None:
            return
        self.countdown = self.args.migrate
        try:
            self.mover.move()
        except TestFailed as e:
            self.note(lineno, str(e))
            self.aborted = True

    def statement(self, i, lineno, text, w):
        op = w[0]
        if op in ("expect", "require"):
            ok, got = self.check(text[len(op):].strip())
            if not ok:
                self.note(lineno, "%s: got %s" % (self.shown(text), got))
                if op == "require":
                    self.aborted = True
        elif op == "expect-fail":
            try:
                got = self.command(w[1:])
                self.note(lineno, "%s: succeeded with %s" % (text, got))
            except Failure:
                pass
        elif op == "await":
            self.await_condition(lineno, text, expression(w[1], self.env), text.split(None, 2)[2])
        elif op == "expect-irq":
            if not self.link.wait_line("IRQ %s %d" % (w[1], expression(w[2], self.env)),
                                       expression(w[3], self.env) if len(w) > 3 else 1000):
                self.note(lineno, "%s: not seen; lines: %s" % (self.shown(text), self.link.irqs[-5:]))
        elif op == "expect-line":
            if not self.link.wait_line(" ".join(self.argument(x) for x in w[1:]), 1000):
                self.note(lineno, "%s: not seen; lines: %s" % (text, self.link.irqs[-5:]))
        elif op == "clear-irqs":
            self.link.irqs.clear()
        elif op == "cpu":
            self.switch_cpu(expression(w[1], self.env))
        elif op == "set":
            rest = text.split(None, 2)[2]
            value, tail = self.value_and_rest(rest)
            self.env[w[1]] = expression(rest, self.env) if value is None else \
                expression("value__ " + tail, dict(self.env, value__=value))
        elif op == "skip":
            m = re.match(r"skip (unless|if) (.*) because (.*)", text)
            if not m:
                raise ScriptError("skip if|unless CONDITION because REASON")
            if self.check(m.group(2))[0] == (m.group(1) == "if"):
                self.skipped = m.group(3)
        elif op == "print":
            print("# " + " ".join(str(self.argument(x)) for x in w[1:]))
        elif op == "save":
            if "XENEMU_SAVE" in os.environ:
                with open(os.path.join(os.environ["XENEMU_SAVE"], w[1]), "wb") as f:
                    f.write(self.mover.save(True))
                self.mover.session(("cont", None, None))
        elif op == "repeat":
            after, _ = self.block(i - 1)
            count = expression(w[1], self.env)
            var = w[3] if len(w) > 3 and w[2] == "as" else None
            for n in range(count):
                if var:
                    self.env[var] = n
                self.run(i, after - 1)
                if self.aborted:
                    break
            return after
        elif op == "while":
            after, _ = self.block(i - 1)
            turns = 0
            while self.check(text[5:].strip())[0] and not self.aborted:
                self.run(i, after - 1)
                turns += 1
                if turns > 1000000:
                    raise TestFailed("'%s' never ends" % text)
            return after
        elif op == "if":
            after, other = self.block(i - 1)
            if self.check(text[2:].strip())[0]:
                self.run(i, other if other is not None else after - 1)
            elif other is not None:
                self.run(other + 1, after - 1)
            return after
        elif op == "sub":
            after, _ = self.block(i - 1)
            self.subs[w[1]] = (i, after - 1, w[2:])
            return after
        elif op == "call":
            if w[1] not in self.subs:
                raise ScriptError("no sub %s" % w[1])
            a, b, names = self.subs[w[1]]
            if len(names) != len(w) - 2:
                raise ScriptError("sub %s takes %d arguments" % (w[1], len(names)))
            self.env.update(zip(names, [expression(x, self.env) for x in w[2:]]))
            self.run(a, b)
        elif self.is_command(w):
            if len(w) > 2 and w[-2] == "->":
                self.env[w[-1]] = self.command(w[:-2])
            else:
                self.command(w)
        else:
            raise ScriptError("unknown word '%s'" % op)
        return i

    def shown(self, text):
        """The statement with its variables filled in."""
        return re.sub(r"\$(\w+)", lambda m: hex(self.env[m.group(1)])
                      if isinstance(self.env.get(m.group(1)), int) else str(self.env.get(m.group(1))), text)

    def await_condition(self, lineno, text, ms, cond):
        end = time.monotonic() + ms / 1000
        while True:
            ok, got = self.check(cond)
            if ok:
                return
            if time.monotonic() > end:
                self.note(lineno, "%s: still %s" % (self.shown(text), got))
                self.aborted = True
                return
            time.sleep(0.0005)

    def switch_cpu(self, n):
        if n not in self.links:
            self.links[n] = Link(self.args.socket)
            self.links[n].ask("vcpu %d" % n)
        self.link = self.links[n]

    def main(self):
        self.run(0, len(self.lines))
        self.finish_test()
        if self.args.migrate:
            print("# moved %d times" % self.mover.moves)
        print("1..%d" % self.number)
        if not self.number:
            raise ScriptError("%s: no test in it" % self.path)
        return 1 if self.failed else 0


def flavour_of(dm):
    return "qemu" if "qemu" in os.path.basename(dm or "") else "xendm"


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    p.add_argument("--socket", required=True)
    p.add_argument("--dm", default="")
    p.add_argument("--flavour", default=os.environ.get("XENEMU_FLAVOUR"))
    p.add_argument("--seed", type=int, default=int(os.environ.get("XENEMU_SEED", "1")))
    p.add_argument("--verbose", action="store_true", default=bool(os.environ.get("XENEMU_VERBOSE")))
    p.add_argument("--migrate", type=int, default=int(os.environ.get("XENEMU_MIGRATE", "0")), metavar="N",
                   help="save the state and load it into another instance after every N statements")
    p.add_argument("script")
    args = p.parse_args()
    args.flavour = args.flavour or flavour_of(args.dm)
    try:
        return Script(args.script, args).main()
    except ScriptError as e:
        print("Bail out! %s" % e)
        return 2
    except (OSError, TestFailed) as e:
        print("Bail out! %s" % e)
        return 1


if __name__ == "__main__":
    sys.exit(main())
