# Log and flight recorder: what every room may call, so that tests link it without the daemon.
noinst_LTLIBRARIES += libdmbase.la
libdmbase_la_SOURCES = dm/log.c dm/recorder.c

# What the toolstack says and asks: the command line and QMP.
noinst_LTLIBRARIES += libdmcontrol.la
libdmcontrol_la_CPPFLAGS = $(AM_CPPFLAGS) $(JSON_CFLAGS)
libdmcontrol_la_SOURCES = \
	dm/cmdline-devices.c dm/cmdline.c dm/cmdline.h dm/machine-desc.c dm/optlist.c dm/optlist.h
libdmcontrol_la_LIBADD = $(JSON_LIBS) $(GLIB_LIBS)
