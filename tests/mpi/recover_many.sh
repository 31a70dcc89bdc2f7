#!/usr/bin/env bash
# timeout: 300
# Many random SIGKILLs in one run, in place: heat and scan finish with the same answer as undisturbed; on spares
# without a new launch.
#
#   recover_many.sh [KILLS] [JOB...]      default: 5 kills, heat and scan, each on spares and by spawning
#
# Every kill is of a process drawn at random, at a moment drawn at random after all were at work again; one in four is of two
# at once, so that a majority of those that vote may go. SEED=n repeats their choices. MODES="spares" or "spawn" chooses one.
. "$(dirname "$0")/common.sh"

limit=${LIMIT:-280}
kills=${1:-5}
shift || true
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(heat scan)
seed=${SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$((seed % 32768))
dir=$room/dir
n=4
export CAIRN_SPAWNS=200
export CAIRN_LOST_AFTER=${CAIRN_LOST_AFTER:-0.4} # a busy machine: who is only slow must not use up a spare
echo "seed $seed (SEED=$seed repeats it)"

# Longer than the kills take.
heat=("$jobs/heat" --size 240 --steps $((8000 * kills)))
scan=("$jobs/scan" --read-rate "$((800 / kills))K" --group-by origin --agg 'count,mean(delay),max(delay)' "$top/data/flights")

running() {
    has_committed "$dir" && [ "$(grep -l 'phase running' "$dir"/status/process-* 2>/dev/null | wc -l)" -eq "$n" ]
}

pid_of() {
    sed -n 's/.* pid \([0-9]*\) .*/\1/p' "$dir/status/process-00000$1" 2>/dev/null
}

# All processes are at work, as DIR says, and live.
at_work() {
    local i now
    running || return 1
    for ((i = 0; i < n; i++)); do
        now=$(pid_of "$i")
        { [ -n "$now" ] && [ -d "/proc/$now" ] && ! grep -q '^State:.Z' "/proc/$now/status"; } || return 1
    done
}

kill_some() {
    local first=$((RANDOM % n)) second=$((RANDOM % n)) victims
    victims=("$(pid_of "$first")")
    if [ $((RANDOM % 4)) -eq 0 ] && [ "$second" -ne "$first" ] && [ $((happened + 1)) -lt "$kills" ]; then
        victims+=("$(pid_of "$second")")
    fi
    kill -KILL "${victims[@]}" 2>/dev/null && happened=$((happened + ${#victims[@]}))
}

# Of what the leaders said.
replaced() {
    sed -n 's/^cairn: process\(es\)\? \([0-9, and]*\) recovered in place .*/\2/p' "$err" | grep -Eo '[0-9]+' | wc -l
}

for name in "${names[@]}"; do
    declare -n job=$name
    run "$cairn" run --quiet -n $n --dir "$dir" --interval off -- "${job[@]}"
    expect_code 0 "undisturbed $name"
    cp "$out" "$room/expected"
    rm -rf "$dir"
    for mode in ${MODES:-spares spawn}; do
        spares=0
        [ "$mode" = spawn ] || spares=4 # and then two are kept ready
        begun=$(date +%s.%N)
        happened=0
        begin "$cairn" run --dir "$dir" -n $n --spares "$spares" --interval 0.1 --restarts 100 -- "${job[@]}"
        while [ "$happened" -lt "$kills" ] && kill -0 "$pid" 2>/dev/null; do
            until_true 60 at_work || fail "$name, $mode: not at work again within 60 s"
            sleep "$(awk -v r=$((RANDOM % 100)) 'BEGIN { print r / 100 }')"
            kill_some
        done
        finish
        expect_code 0 "$name, $mode"
        cmp -s "$out" "$room/expected" || fail "$name, $mode: another answer"
        [ "$happened" -eq "$kills" ] || fail "$name, $mode: $happened of $kills kills happened"
        relaunches=$(grep -c '; restart [0-9]* of ' "$err" || true)
        most=0 # a recovery by spawning takes long on a busy machine, and more may die in it than it can bear
        [ "$mode" != spawn ] || most=$(((kills + 4) / 5))
        [ "$relaunches" -le "$most" ] || fail "$name, $mode: $relaunches new launches"
        printf '%s, %s: %u kills, %u processes replaced, %u new launches, %.0f s\n' "$name" "$mode" "$happened" \
            "$(replaced)" "$relaunches" "$(awk -v a="$begun" -v b="$(date +%s.%N)" 'BEGIN { print b - a }')"
        [ -z "${KEEP_ERR-}" ] || cp "$err" "$KEEP_ERR-$name-$mode"
        rm -rf "$dir"
    done
done
report
