# SPDX-License-Identifier: GPL-2.0-or-later
# Half a minute here (XENDM_SOAK_SECONDS); for hours: tests/soak/soak.py -t 7200 in the build tree.
TESTS += tests/soak/soak.py
dist_check_SCRIPTS += tests/soak/soak.py
