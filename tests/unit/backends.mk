# Unit tests of backends. Example:
#   check_PROGRAMS += tests/unit/test-foo
#   tests_unit_test_foo_SOURCES = tests/unit/test-foo.c
#   tests_unit_test_foo_LDADD = libhwfoo.la $(UNIT_LIBS)
#   TESTS += tests/unit/test-foo
