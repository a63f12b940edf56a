noinst_LTLIBRARIES += libhwdisplay.la
libhwdisplay_la_SOURCES =
