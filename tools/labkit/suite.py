def do_test(args): return 1
