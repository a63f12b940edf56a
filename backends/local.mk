# SPDX-License-Identifier: GPL-2.0-or-later
# The set of all back ends. The table of their drivers, backends/classes.c, is linked by programs: it names every driver.
noinst_LTLIBRARIES += libbackends.la
libbackends_la_SOURCES = backends/make.c backends/set.c backends/set.h
