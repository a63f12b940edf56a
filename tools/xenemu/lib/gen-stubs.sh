#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# gen-stubs.sh TABLE c|map: from a symbol table (lib*.syms) write the stubs or the version script.
set -eu
table=$1
case $2 in
c)
    printf '/* Generated from %s by gen-stubs.sh. */\n#include "client.h"\n' "${table##*/}"
    awk '!/^#/ && NF == 3 {
        t["int"] = "int"; t["long"] = "long"; t["ptr"] = "void *"; t["void"] = "void"
        if ($3 == "data")
            printf "extern long %s[8];\nlong %s[8];\n", $1, $1
        else if ($3 != "real") {
            r = $3 == "ptr" ? "\n    return 0;" : $3 == "void" ? "" : "\n    return -1;"
            printf "%s %s(void);\n%s %s(void)\n{\n    xe_log_missing(\"%s\");%s\n}\n",
                   t[$3], $1, t[$3], $1, $1, r
        }
    }' "$table"
    ;;
map)
    awk '!/^#/ && NF == 3 { v[$2] = v[$2] "        " $1 ";\n" }
    END {
        m = 0
        for (k in v) names[++m] = k
        for (i = 2; i <= m; i++)
            for (j = i; j > 1 && names[j] < names[j - 1]; j--) {
                x = names[j]; names[j] = names[j - 1]; names[j - 1] = x
            }
        for (i = 1; i <= m; i++)
            printf "%s {\n    global:\n%s%s}%s;\n", names[i], v[names[i]],
                   (i == 1 ? "    local: *;\n" : ""), (i > 1 ? " " names[i - 1] : "")
    }' "$table"
    ;;
*)
    echo "usage: gen-stubs.sh TABLE c|map" >&2
    exit 2
    ;;
esac
