noinst_LTLIBRARIES += libhwide.la
libhwide_la_SOURCES =
