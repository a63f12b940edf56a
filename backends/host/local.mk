noinst_LTLIBRARIES += libbackendshost.la
libbackendshost_la_SOURCES =
libbackendshost_la_CPPFLAGS = $(AM_CPPFLAGS) $(URING_CFLAGS)
