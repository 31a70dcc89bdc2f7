#!/usr/bin/env bash
# timeout: 300
# Snapshots of well-formed jobs are rarely abandoned: of at least 100 attempts each on heat and on bank with 8 processes, at least
# 99 of 100 commit; and every cut of bank that was committed holds exactly the initial total in states plus channels.
. "$(dirname "$0")/common.sh"
limit=110

attempts() { # attempts NAME ARGS...: snapshots back to back, all kept
    local name=$1 attempted committed
    shift
    rm -rf "$room/dir"
    run "$cairn" run --quiet --dir "$room/dir" --interval 0 --keep 1000 -n 8 -- "$jobs/$name" "$@"
    expect_code 0 "$name"
    read -r attempted committed < <(sed -nE \
        's/^cairn: snapshots: ([0-9]+) attempts, ([0-9]+) committed, ([0-9]+) abandoned$/\1 \2/p' "$err")
    if [ -z "${attempted-}" ]; then
        fail "$name: no line about snapshots"
        return
    fi
    echo "  $name: $attempted attempts, $committed committed"
    [ "$attempted" -ge 100 ] || fail "$name: only $attempted attempts: make it last longer"
    [ $((committed * 100)) -ge $((attempted * 99)) ] || fail "$name: $committed of $attempted attempts committed"
}

echo "- heat, 8 processes"
attempts heat --size 256 --steps 120000
echo "- bank, 8 processes"
attempts bank --transfers 60000 --work 100

echo "- every committed cut of bank holds the initial total"
run "$jobs/bank" --audit "$room/dir"
expect_code 0 "audit"
expect_text "$out" '^[0-9]+ committed snapshots audited: all right$' "audit"
[ "$(grep -c ' right: ' "$out")" -ge 99 ] || fail "audit: fewer than 99 snapshots were kept"
# A cut with nothing in flight would prove little.
grep -qE '\(([1-9][0-9]*) messages\)' "$out" || fail "audit: no message in flight in any cut"
tail -n 1 "$out"

echo "- the audit sees money that is missing"
victim=$(ls "$room/dir/snapshots" | tail -n 1)
cp "$room/dir/snapshots/$(ls "$room/dir/snapshots" | head -n 1)/process-000000.h5" "$room/dir/snapshots/$victim/process-000000.h5"
run "$jobs/bank" --audit "$room/dir"
expect_code 1 "audit of a swapped part"
report
