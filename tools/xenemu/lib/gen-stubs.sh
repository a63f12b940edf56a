#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# gen-stubs.sh TABLE EXPORTS c|map: write the stubs or the version script of a library. EXPORTS is what nm -D
# says of the installed one; its names and version nodes count. TABLE (lib*.syms) tells what the drop-in does for a name;
# one that it does not know becomes a stub that returns an int.
set -eu
table=$1 exports=$2
symbols() {
    awk 'FNR == 1 { file++ }
    file == 1 { if (!/^#/ && NF == 3) kind[$1] = $3; next }
    $2 ~ /^[TtWDBRV]$/ { n = split($3, part, /@+/); if (n == 2) print part[1], part[2], part[1] in kind ? kind[part[1]] : "int" }' \
        "$table" "$exports"
}
case $3 in
c)
    printf '/* Generated from %s by gen-stubs.sh. */\n#include "client.h"\n' "${table##*/}"
    symbols | awk '{
        t["int"] = "int"; t["long"] = "long"; t["ptr"] = "void *"; t["void"] = "void"
        if ($3 == "data")
            printf "extern long %s[8];\nlong %s[8];\n", $1, $1
        else if ($3 != "real") {
            r = $3 == "ptr" ? "\n    return 0;" : $3 == "void" ? "" : "\n    return -1;"
            printf "%s %s(void);\n%s %s(void)\n{\n    xe_log_missing(\"%s\");%s\n}\n",
                   t[$3], $1, t[$3], $1, $1, r
        }
    }'
    ;;
map)
    symbols | awk '{ v[$2] = v[$2] "        " $1 ";\n" }
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
    }'
    ;;
*)
    echo "usage: gen-stubs.sh TABLE EXPORTS c|map" >&2
    exit 2
    ;;
esac
