# Log and flight recorder: what every room may call, so that tests link it without the daemon.
noinst_LTLIBRARIES += libdmbase.la
libdmbase_la_SOURCES = dm/log.c dm/recorder.c
