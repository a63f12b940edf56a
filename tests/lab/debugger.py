# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb on this machine, for a guest in the box: xendmctl gdb listens in dom0, which has no network, so that a thread carries
bytes between a local port and a viewer's kind of connection."""

import os
import shutil
import socket
import subprocess
import threading
import time

from labkit.box import CTL
from labkit.suite import Skip
from viewer import Connection

PORT = 5555


class Carrier:
    """A port of this machine's that is dom0's."""

    def __init__(self, box, port):
        self.wire = Connection(box, "127.0.0.1", port)
        self.path = "%s/share/%s.in" % (box.work, self.wire.name)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        client, _ = self.listener.accept()
        back = threading.Thread(target=self._back, args=(client,), daemon=True)
        back.start()
        while True:
            data = client.recv(65536)
            if not data:
                break
            self.wire.send(data)
        self.ended.set()
        back.join()
        client.close()

    def _back(self, client):
        taken = 0
        while not self.ended.is_set():
            if os.path.exists(self.path) and os.path.getsize(self.path) > taken:
                with open(self.path, "rb") as stream:
                    stream.seek(taken)
                    data = stream.read()
                taken += len(data)
                try:
                    client.sendall(data)
                except OSError:
                    return
            else:
                time.sleep(.02)

    def close(self):
        """The client has gone."""
        self.listener.close()
        self.wire.close()


def session(t, guest, bits, *commands, timeout=600):
    """What gdb says to these commands; the guest goes on when it ends."""
    if not shutil.which("gdb"):
        raise Skip("there is no gdb on this machine")
    said = "%s/share/gdb-%s.out" % (t.box.work, guest.name)
    with open(said, "w", encoding="ascii"):
        pass
    server = t.box.spawn("exec %s gdb %s --port %d --bits %d >/share/gdb-%s.out 2>&1" % (CTL, guest.name, PORT, bits, guest.name))

    def listens():
        with open(said, encoding="ascii") as stream:
            return "waiting for gdb" in stream.read()
    guest.until(listens, "xendmctl gdb listens", 60)
    carrier = Carrier(t.box, PORT)
    try:
        script = ["set remotetimeout 120", "set confirm off", "target remote 127.0.0.1:%d" % carrier.port, *commands, "detach"]
        done = subprocess.run(["gdb", "-nx", "-q", "-batch"] + [word for line in script for word in ("-ex", line)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout,
                              check=False)
    finally:
        carrier.close()
    t.box.wait(server, 60, "the end of xendmctl gdb")
    return done.stdout
