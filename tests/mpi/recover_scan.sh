#!/usr/bin/env bash
# timeout: 240
# alone
# scan goes on in place when its processes are killed and spares take their places: the same answer as undisturbed.
#
#   recover_scan.sh [TRIALS]      default: 8 random trials after the fixed ones; SEED=n repeats their choices
#
# Where a snapshot was committed before the kill there must be no relaunch. On a busy machine a rank may be silent for so
# long that it is taken for dead, and then uses up a spare or is no spare any more. That is told apart by how many were
# replaced, and counted: then a relaunch is right, and the answer must be, too. The ranks are made patient, so that it is
# rare.
in_memory=yes
. "$(dirname "$0")/common.sh"

trials=${1:-8}
seed=${SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$((seed % 32768))
dir=$room/dir
expected=$room/expected
relaunched=0 # rightly
suspected=0
begun=$(date +%s.%N)
export CAIRN_LOST_AFTER=${CAIRN_LOST_AFTER:-0.4}

command_at() { # RATE
    command=("$jobs/scan" --read-rate "$1" --group-by origin --agg 'count,mean(delay),max(delay)' "$top/data/flights")
}

# How many processes were replaced, by what the leaders said.
replaced() {
    sed -n 's/^cairn: process\(es\)\? \([0-9, and]*\) recovered in place .*/\2/p' "$err" | grep -Eo '[0-9]+' | wc -l
}

# A relaunch is right when there was nothing to go back to, when the spares are used up, when a majority of those that
# vote died at about the same time (they are three, of 3 or 4 processes), or when all were leaving.
is_right_to_relaunch() { # SPARES KILLS
    grep -Eq 'no snapshot is committed to go back to|no snapshot was committed yet|while others were leaving' "$err" ||
        { [ "$2" -gt "$1" ] && grep -q 'there is no spare left' "$err"; } ||
        { [ "$2" -ge 2 ] && grep -q 'too few are left to agree' "$err"; }
}

# trial WHAT N SPARES INTERVAL OPTIONS...: run, and judge what was said. must is not empty: all the kills happen.
trial() {
    local what=$1 n=$2 spares=$3 interval=$4 kills failures_before=$failures verdict=good
    shift 4
    kills=$(($# / 2))
    what="$what: -n $n --spares $spares --interval $interval $*"
    rm -rf "$dir"
    run "$cairn" run --dir "$dir" -n "$n" --spares "$spares" --interval "$interval" "$@" -- "${command[@]}"
    expect_code 0 "$what"
    cmp -s "$out" "$expected" || fail "$what: another answer"
    if [ "$(replaced)" -gt "$kills" ] || grep -q 'declared lost by the others' "$err" ||
        { [ "$kills" -le "$spares" ] && grep -q 'there is no spare left' "$err"; }; then
        suspected=$((suspected + 1))
        verdict="good (one was only slow)"
    elif grep -q '; restart [0-9]* of ' "$err"; then
        relaunched=$((relaunched + 1))
        verdict="good (relaunched)"
        is_right_to_relaunch "$spares" "$kills" || fail "$what: relaunched"
    elif [ -n "${must-}" ]; then
        [ "$(replaced)" -eq "$kills" ] || fail "$what: $(replaced) processes recovered in place instead of $kills"
    fi
    [ "$failures" -eq "$failures_before" ] || verdict=BAD
    printf '%5.1f s  %s: %s\n' "$(awk -v a="$begun" -v b="$(date +%s.%N)" 'BEGIN { print b - a }')" "$what" "$verdict"
}

command_at 900K
run "$cairn" run --quiet --dir "$dir" -n 4 --interval off -- "${command[@]}"
expect_code 0 "undisturbed"
cp "$out" "$expected"

must=yes
trial "one" 4 1 0.2 --kill 2@50%
trial "process 0" 4 1 0.2 --kill 0@40%
trial "the same twice" 4 2 0.2 --kill 2@30% --kill 2@70%
trial "two at once" 4 3 0 --kill 1@50% --kill 3@50%
command_at 600K
trial "by the second" 4 1 0.2 --kill 1@1.5
command_at 1500K
must=
trial "at the end" 4 1 0.2 --kill 0@100%

# A snapshot of another number of processes is nothing to go back to in place: one of this number is taken at once.
command_at 600K
rm -rf "$dir"
run "$cairn" run --dir "$dir" -n 4 --interval 0.1 --restarts 0 --kill 2@50% -- "${command[@]}"
expect_code 69 "no restart is allowed"
run "$cairn" run --dir "$dir" -n 3 --spares 2 --interval 30 --kill 1@80% -- "${command[@]}"
expect_code 0 "on 3 processes after 4"
cmp -s "$out" "$expected" || fail "on 3 processes after 4: another answer"
expect_text "$err" 'of 4 processes on 3' "on 3 processes after 4"
command_at 1500K

# Wrong input is refused as ever, and once.
run "$cairn" run --dir "$room/refused" -n 3 --spares 1 -- "$jobs/scan" --group-by nonsense "$top/data/flights"
expect_code 3 "a column that is not there"
[ "$(grep -c '^scan: ' "$err")" -eq 1 ] || fail "a column that is not there: not said once"

echo "seed $seed"
for ((k = 1; k <= trials; k++)); do
    n=$((RANDOM % 2 + 3)) # of two processes nobody is left to agree when process 0 dies
    spares=$((RANDOM % 3 + 1))
    intervals=(0 0.05 0.2 0.5)
    options=()
    for ((i = RANDOM % 3 > 0; i < 2; i++)); do
        options+=(--kill "$((RANDOM % n))@$((RANDOM % 99 + 1))%")
    done
    trial "trial $k" "$n" "$spares" "${intervals[RANDOM % 4]}" "${options[@]}"
done
echo "seed $seed: $relaunched relaunched since nothing else was left, $suspected with a process that was only slow"
report
