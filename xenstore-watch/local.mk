noinst_LTLIBRARIES += libxenstorewatch.la
libxenstorewatch_la_SOURCES =
libxenstorewatch_la_CPPFLAGS = $(AM_CPPFLAGS) $(XEN_CFLAGS)
