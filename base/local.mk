# SPDX-License-Identifier: GPL-2.0-or-later
# What everybody calls: errors, log, flight recorder. Tests link it without the daemon.
noinst_LTLIBRARIES += libbase.la
libbase_la_SOURCES = base/error.c base/log.c base/recorder.c
