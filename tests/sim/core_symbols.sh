#!/bin/sh
# The pure cores call nobody: what their object files need from elsewhere may only be each other's functions and those of mem*
# and str*.
# usage: core_symbols.sh NM OBJECT ...
set -eu
nm=$1
shift
[ $# -gt 0 ] || { echo "core_symbols: no object files" >&2; exit 1; }
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
"$nm" "$@" | awk '$2 == "T" { print $3 }' | sort >"$room/own"
for core in cl_step mp_step cairn_accrual_heard; do
    grep -qx "$core" "$room/own" || { echo "core_symbols: $core is in none of the object files" >&2; exit 1; }
done
for object in "$@"; do
    "$nm" -u "$object" | awk 'NF { print $NF }' | grep -Ev '^(mem|str)[a-z]+$|^_GLOBAL_OFFSET_TABLE_$' | sort -u |
        comm -23 - "$room/own" >"$room/foreign"
    if [ -s "$room/foreign" ]; then
        echo "core_symbols: $object calls $(tr '\n' ' ' <"$room/foreign")" >&2
        exit 1
    fi
done
echo "$# object files call only each other, mem* and str*"
