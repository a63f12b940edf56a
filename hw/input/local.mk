noinst_LTLIBRARIES += libhwinput.la
libhwinput_la_SOURCES =
