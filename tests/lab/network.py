# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks of lab guests: cards on dom0's bridge, their drivers, and data that has to arrive whole."""

MEGABYTES = 4
MACS = {"rtl8139": "00:16:3e:00:01:39", "e1000": "00:16:3e:00:10:00"}
DRIVERS = {"rtl8139": "8139cp", "e1000": "e1000"}
NETS = {"rtl8139": "10.9.1", "e1000": "10.9.2"}

PORT = 8000

# Bytes that differ from megabyte to megabyte.
FILL = ("head -c 1048576 /dev/urandom >/tmp/seed; i=0; while [ $i -lt {size} ]; do "
        "tail -c +$((i * 4099 + 1)) /tmp/seed; head -c $((i * 4099)) /tmp/seed; i=$((i + 1)); done")


def vif(model):
    """An entry of vif=[]."""
    return "bridge=xenbr0,model=%s,type=ioemu,mac=%s" % (model, MACS[model])


def bridge(box, addresses):
    """dom0's side of the network. Traffic that only the bridge carries, so that each card is used for its own."""
    box.run("set -e\nip addr flush dev xenbr0\n" + "\n".join("ip addr add %s.1/24 dev xenbr0" % net for net in addresses))


def no_bridge(box):
    """As it was."""
    box.call("for pid in $(pidof busybox httpd); do grep -q 'httpd' /proc/$pid/cmdline && kill $pid; done; "
             "rm -rf /tmp/www /tmp/copy.*; ip addr flush dev xenbr0")


def pings(t, guest, net):
    """Three each way, none lost."""
    guest.until(lambda: guest.finish(guest.begin("ping -c 1 -W 2 %s.1 >/dev/null" % net), 30)[0] == 0,
                "the network carries something", 60)
    t.match(guest.cmd("ping -c 3 -W 10 %s.1" % net, 60), r"3 packets received", "the guest's ping")
    t.match(t.box.run("ping -c 3 -W 10 %s.2" % net, 60), r"3 packets received", "dom0's ping")


def data(t, guest, net):
    """TCP both ways, compared by checksum."""
    for sender, receiver, address in ((t.box.run, guest.cmd, net + ".1"), (guest.cmd, t.box.run, net + ".2")):
        copy = Copy(sender, receiver, address, MEGABYTES)
        guest.until(copy.done, "the copy from %s has arrived" % address, 200)
        copy.check(t)


def cards(guest):
    """{driver: (interface, address)} of the guest."""
    text = guest.cmd("for i in /sys/class/net/*; do [ -e $i/device/driver ] && "
                     "echo $(basename $(readlink $i/device/driver)) $(basename $i) $(cat $i/address); done; true")
    return {line.split()[0]: tuple(line.split()[1:]) for line in text.splitlines()}


class Copy:
    """A file that one (guest.cmd or box.run, at this address) serves by HTTP and another fetches, in the background. busybox' httpd and wget
    write and read as much as there is; nc would do so by the kilobyte, so that no card had anything to cut."""

    number = 0

    def __init__(self, sender, receiver, address, megabytes):
        Copy.number += 1
        self.receiver, self.megabytes, self.file = receiver, megabytes, "copy.%d" % Copy.number
        words = {"port": PORT, "address": address, "file": self.file, "fill": FILL.format(size=megabytes)}
        self.wanted = sender("mkdir -p /tmp/www; cd /tmp/www; rm -f *; ({fill}) >{file}; grep -q ':1F40 ' /proc/net/tcp /proc/net/tcp6 "
                             "|| httpd -p {port} -h /tmp/www; md5sum <{file}".format(**words), 120).split()[0]
        receiver("cd /tmp; rm -f {file}*; (wget -q -O - http://{address}:{port}/{file} | md5sum >{file}.part; "
                 "mv {file}.part {file}.sum) >/dev/null 2>&1 &".format(**words))

    def done(self):
        """Whether it has ended."""
        return bool(self.receiver("cat /tmp/%s.sum 2>/dev/null; true" % self.file))

    def check(self, t):
        """What was sent has arrived."""
        t.equal(self.receiver("cat /tmp/%s.sum" % self.file).split()[0], self.wanted, "checksum of %d MB" % self.megabytes)


def carried(box, interface):
    """Bytes that dom0 has given to and taken from a tap."""
    text = box.run("cd /sys/class/net/%s/statistics && cat tx_bytes rx_bytes" % interface)
    return sum(int(word) for word in text.split())
