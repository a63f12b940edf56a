# SPDX-License-Identifier: GPL-2.0-or-later
# Rules of the house that can be checked.
TESTS += tests/rules/dependency-rule.py tests/rules/house-rules.py tests/rules/loop-sources.py tests/rules/may-wait.py tests/rules/package.py tests/rules/probes.py tests/rules/xen-headers.py
dist_check_SCRIPTS += tests/rules/dependency-rule.py tests/rules/house-rules.py tests/rules/loop-sources.py tests/rules/may-wait.py tests/rules/package.py tests/rules/probes.py tests/rules/xen-headers.py
EXTRA_DIST += tests/rules/waiting docs/probes.md docs/debugging-a-guest.md
