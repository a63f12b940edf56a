# SPDX-License-Identifier: GPL-2.0-or-later
# Watchdog timers.
noinst_LTLIBRARIES += libhwwatchdog.la
HW_LIBS += libhwwatchdog.la
libhwwatchdog_la_SOURCES = hw/watchdog/i6300esb.c
