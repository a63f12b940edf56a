# SPDX-License-Identifier: GPL-2.0-or-later
# What everybody calls: errors, log, flight recorder. Tests link it without the daemon.
noinst_LTLIBRARIES += libbase.la
libbase_la_CPPFLAGS = $(AM_CPPFLAGS) -DXENDM_FIRMWARE_DIR=\"$(firmwaredir)\" -DXENDM_LIBEXECDIR=\"$(pkglibexecdir)\"
libbase_la_SOURCES = base/error.c base/facts.c base/files.c base/file-size.c base/firmware.c base/helper.c base/iov.c base/json-internal.h base/json-text.c base/json.c base/later.c base/log.c base/memory-file.c base/numbers.c base/object.c base/one-fd.c base/property.c base/recorder.c base/tape.c base/turn.c
libbase_la_SOURCES += base/image-name.c
