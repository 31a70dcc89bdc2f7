#!/usr/bin/env bash
# timeout: 900
# Snapshots of well-formed jobs are rarely abandoned: of at least 100 attempts each on heat and on bank with 8 processes, at least
# 99 of 100 commit; and every cut of bank that was committed holds exactly the initial total in states plus channels.
#
#   attempts.sh [COUNT]      default: 100 attempts each
in_memory=yes
. "$(dirname "$0")/common.sh"
wanted=${1:-100}
dir=$room/dir

# One of the snapshots $1 to $1 + 9 is committed.
is_at() {
    local number
    for ((number = $1; number < $1 + 10; number++)); do
        [ ! -f "$(printf '%s/snapshots/%06d/snapshot.h5' "$dir" "$number")" ] || return 0
    done
    return 1
}

# attempts NAME ARGS...: a job without end, with snapshots back to back, all kept, until there were enough attempts; then it is
# stopped. A slow disk only makes that later: what is not allowed is that no attempt commits for a minute. The cuts of bank are audited.
attempts() {
    local name=$1 attempted=0 committed=0 next
    shift
    rm -rf "$dir"
    begin "$cairn" run --quiet --dir "$dir" --interval 0 --keep 100000 -n 8 -- "$jobs/$name" "$@"
    for ((next = 1; next < wanted + 10; next += 10)); do
        until_true 60 is_at "$((next < wanted ? next : wanted))" || { fail "$name: no attempt commits any more" && break; }
    done
    timeout 120 "$cairn" stop "$dir" >/dev/null || fail "$name: cannot be stopped"
    finish
    expect_code 85 "$name"
    read -r attempted committed < <(sed -nE \
        's/^cairn: snapshots: ([0-9]+) attempts, ([0-9]+) committed, ([0-9]+) abandoned$/\1 \2/p' "$err")
    echo "  $name: $attempted attempts, $committed committed"
    [ "${attempted:-0}" -ge "$wanted" ] || fail "$name: only $attempted attempts"
    [ $((committed * 100)) -ge $((attempted * 99)) ] || fail "$name: $committed of $attempted attempts committed"
    [ "$name" != bank ] || audit "$committed"
}

# Every committed cut holds the initial total, all $1 of them.
audit() {
    run "$jobs/bank" --audit "$dir"
    expect_code 0 "audit"
    expect_text "$out" '^[0-9]+ committed snapshots audited: all right$' "audit"
    [ "$(grep -c ' right: ' "$out")" -ge "$1" ] || fail "audit: $1 were committed, $(grep -c ' right: ' "$out") are right"
    # A cut with nothing in flight would prove little.
    grep -qE '\([1-9][0-9]* messages\)' "$out" || fail "audit: no message in flight in any cut"
    echo "  $(tail -n 1 "$out")"
}

echo "- heat, 8 processes"
attempts heat --size 256 --steps 1000000000
echo "- bank, 8 processes, and its cuts"
attempts bank --transfers 1000000000 --work 100

echo "- the audit sees money that is missing"
victim=$(ls "$dir/snapshots" | tail -n 1)
cp "$dir/snapshots/$(ls "$dir/snapshots" | head -n 1)/process-000000.h5" "$dir/snapshots/$victim/process-000000.h5"
run "$jobs/bank" --audit "$dir"
expect_code 1 "audit of a swapped part"
report
