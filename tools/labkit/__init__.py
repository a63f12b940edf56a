# SPDX-License-Identifier: GPL-2.0-or-later
"""labkit: a real Xen host in a box, for tests and for people. See docs/xendm-lab.1."""
