# SPDX-License-Identifier: GPL-2.0-or-later
noinst_LTLIBRARIES += libmapcache.la
libmapcache_la_SOURCES = mapcache/mapcache.c
