# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon itself, on xenemu.
TESTS += tests/dm/test-daemon.py
dist_check_SCRIPTS += tests/dm/test-daemon.py
