#!/bin/sh
# A pure core calls nobody: what the object files need from elsewhere may only be mem* and str* functions.
# usage: core_symbols.sh NM OBJECT ...
set -eu
nm=$1
shift
[ $# -gt 0 ] || { echo "core_symbols: no object files" >&2; exit 1; }
for object in "$@"; do
    "$nm" "$object" | grep -q ' T cl_step$' || { echo "core_symbols: $object does not hold the core" >&2; exit 1; }
    "$nm" -u "$object" >"${TMPDIR:-/tmp}/core_symbols.$$"
    foreign=$(awk '{ print $NF }' "${TMPDIR:-/tmp}/core_symbols.$$" |
        grep -Ev '^(mem|str)[a-z]+$|^_GLOBAL_OFFSET_TABLE_$' || true)
    rm -f "${TMPDIR:-/tmp}/core_symbols.$$"
    if [ -n "$foreign" ]; then
        echo "core_symbols: $object calls" $foreign >&2
        exit 1
    fi
done
echo "$# object files call only mem* and str*"
