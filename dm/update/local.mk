# SPDX-License-Identifier: GPL-2.0-or-later
# Live update: the manifest that a program leaves to its successor. The two sides of it are linked into the daemon.
noinst_LTLIBRARIES += libdmupdate.la
libdmupdate_la_SOURCES = dm/update/manifest.c
