# SPDX-License-Identifier: GPL-2.0-or-later
"""dom0's DHCP, TFTP and HTTP servers, from which guests boot and install."""

from network import MACS, bridge, no_bridge

NET = "10.9.3"
HOSTS = {"rtl8139": NET + ".11", "e1000": NET + ".12"}

SCRIPT = """#!ipxe
kernel http://%(net)s.1:8080/%(kernel)s %(append)s
%(initrd)s
boot
"""


class Server:
    """dnsmasq and httpd in dom0. Each card has a script of its own, by its MAC."""

    def __init__(self, t):
        self.box = t.box
        self.share = "%s/share/guest/" % t.box.work
        bridge(t.box, [NET])
        t.box.run("mkdir -p /root/tftp /root/http")

    def offer(self, name, kernel, append, initrd=None):
        """What a card's iPXE is to boot."""
        line = "initrd http://%s.1:8080/%s" % (NET, initrd) if initrd else ""
        with open(self.share + name + ".ipxe", "w", encoding="ascii") as stream:
            stream.write(SCRIPT % {"net": NET, "kernel": kernel, "append": append, "initrd": line})
        self.box.run("cp /share/guest/%s.ipxe /root/tftp/" % name)

    def start(self):
        """The servers run."""
        hosts = "".join("dhcp-host=%s,%s,set:%s\ndhcp-boot=tag:%s,%s.ipxe\n" % (MACS[name], HOSTS[name], name, name, name)
                        for name in HOSTS)
        with open(self.share + "dnsmasq.conf", "w", encoding="ascii") as stream:
            stream.write("port=0\ninterface=xenbr0\nbind-interfaces\nuser=root\nenable-tftp\ntftp-root=/root/tftp\n"
                         "dhcp-range=%s.10,%s.20\ndhcp-option=6,%s.1\nlog-dhcp\nlog-facility=/run/dnsmasq.log\npid-file=/run/dnsmasq.pid\n"
                         "dhcp-leasefile=/run/dnsmasq.leases\n%s" % (NET, NET, NET, hosts))
        self.box.run("set -e\ndnsmasq --conf-file=/share/guest/dnsmasq.conf\n"
                     "busybox httpd -vv -f -p %s.1:8080 -h /root/http >/run/httpd.log 2>&1 &" % NET)

    def stop(self):
        """They and their files are gone."""
        self.box.call("kill $(cat /run/dnsmasq.pid); rm -rf /root/tftp /root/http /run/dnsmasq.*")
        no_bridge(self.box)
