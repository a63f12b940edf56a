# SPDX-License-Identifier: GPL-2.0-or-later
# What the Python tests share: the QMP client, the TAP reporter.
EXTRA_DIST += tests/kit/client.py tests/kit/p9.py tests/kit/recording.py tests/kit/tap.py tests/kit/usb.py tests/kit/vsnd.py
