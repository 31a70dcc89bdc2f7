#!/usr/bin/env bash
# timeout: 600
# Snapshots of well-formed jobs are rarely abandoned: of at least 100 attempts each on heat and on bank with 8 processes, at least
# 99 of 100 commit; and every cut of bank that was committed holds exactly the initial total in states plus channels.
. "$(dirname "$0")/common.sh"
limit=110

# attempts NAME ARGS...: runs with snapshots back to back, all kept, until there were 100 attempts. How many fit into a run depends on
# the disk. After each run of bank its cuts are audited.
attempts() {
    local name=$1 attempted=0 committed=0 a c
    shift
    for ((turn = 0; turn < 6 && attempted < 100; turn++)); do
        rm -rf "$room/dir"
        run "$cairn" run --quiet --dir "$room/dir" --interval 0 --keep 1000 -n 8 -- "$jobs/$name" "$@"
        expect_code 0 "$name"
        a=0 c=0
        read -r a c < <(sed -nE \
            's/^cairn: snapshots: ([0-9]+) attempts, ([0-9]+) committed, ([0-9]+) abandoned$/\1 \2/p' "$err")
        if [ "$a" = 0 ]; then
            fail "$name: no line about snapshots, or none was tried"
            return
        fi
        attempted=$((attempted + a))
        committed=$((committed + c))
        [ "$name" != bank ] || audit "$c"
    done
    echo "  $name: $attempted attempts, $committed committed"
    [ "$attempted" -ge 100 ] || fail "$name: only $attempted attempts in $turn runs"
    [ $((committed * 100)) -ge $((attempted * 99)) ] || fail "$name: $committed of $attempted attempts committed"
}

# Every committed cut holds the initial total, all $1 of them.
audit() {
    run "$jobs/bank" --audit "$room/dir"
    expect_code 0 "audit"
    expect_text "$out" '^[0-9]+ committed snapshots audited: all right$' "audit"
    [ "$(grep -c ' right: ' "$out")" -ge "$1" ] || fail "audit: $1 were committed, $(grep -c ' right: ' "$out") are right"
    # A cut with nothing in flight would prove little.
    grep -qE '\([1-9][0-9]* messages\)' "$out" || fail "audit: no message in flight in any cut"
    echo "  $(tail -n 1 "$out")"
}

echo "- heat, 8 processes"
attempts heat --size 256 --steps 120000
echo "- bank, 8 processes, and its cuts"
attempts bank --transfers 60000 --work 100

echo "- the audit sees money that is missing"
victim=$(ls "$room/dir/snapshots" | tail -n 1)
cp "$room/dir/snapshots/$(ls "$room/dir/snapshots" | head -n 1)/process-000000.h5" "$room/dir/snapshots/$victim/process-000000.h5"
run "$jobs/bank" --audit "$room/dir"
expect_code 1 "audit of a swapped part"
report
