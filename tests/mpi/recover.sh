#!/usr/bin/env bash
# timeout: 420
# alone
# Recovery in place: processes die, ranks take their places, and all go back to a snapshot without a new launch. Each time the same
# answer as undisturbed. Not judged: how long it takes (bench recover).
in_memory=yes
. "$(dirname "$0")/common.sh"

trials=${1:-5}
seed=${CAIRN_SEED:-$RANDOM}
RANDOM=$seed
echo "seed $seed (CAIRN_SEED=$seed repeats it)"
dir=$room/dir
export CAIRN_SPAWNS=0 # but where it is what is looked at
heat=("$jobs/heat" --size 240 --steps 700 --work 2000)
bank=("$jobs/bank" --transfers 9000 --work 100)

for name in heat bank; do
    for n in 2 3 4; do
        declare -n job=$name
        run "$cairn" run --quiet -n "$n" --dir "$dir" --interval off -- "${job[@]}"
        expect_code 0 "undisturbed $name on $n"
        cp "$out" "$room/expected-$name-$n"
        rm -rf "$dir"
    done
done

# place JOB N SPARES OPTIONS...: begin a run of it
place() {
    local name=$1
    declare -n job=$1
    expected=$room/expected-$1-$2
    what="$name on $2, $3 spares, ${*:4}"
    echo "- $what"
    rm -rf "$dir"
    begin "$cairn" run --quiet -n "$2" --spares "$3" --dir "$dir" --interval 0.1 --hang-timeout 60 "${@:4}" -- "${job[@]}"
}

# answered RECOVERIES RESTARTS: "-" is any number
answered() {
    finish
    expect_code 0 "$what"
    cmp -s "$out" "$expected" || fail "$what: another answer"
    [ "$1" = - ] || [ "$(grep -c 'recovered in place' "$err")" -eq "$1" ] || fail "$what: not $1 recoveries in place"
    [ "$2" = - ] || [ "$(grep -c '; restart ' "$err")" -eq "$2" ] || fail "$what: not $2 restarts"
    ! grep -Ev '^(cairn|heat|bank): ' "$err" || fail "$what: noise on stderr"
    timeout 60 "$cairn" verify "$dir" >"$room/verify" 2>&1 || { show=$room/verify && fail "$what: cairn verify"; }
}

killed() {
    finished_by=$1
    place "${@:2}"
    answered "$finished_by" 0
}

pid_of() {
    sed -n 's/.* pid \([0-9]*\) .*/\1/p' "$dir/status/process-00000$1"
}

running() {
    has_committed "$dir" && [ "$(grep -l 'phase running' "$dir"/status/process-* 2>/dev/null | wc -l)" -eq "$1" ]
}

carried_by_another() {
    local now
    now=$(pid_of "$1")
    [ -n "$now" ] && [ "$now" != "$2" ]
}

killed 1 heat 4 1 --kill 2@50%
expect_text "$err" '^cairn: process 2 recovered in place on a spare from snapshot [0-9]+, noticed after [0-9.]+ s, [0-9.]+ s in all$' "what is said"
killed 1 bank 4 1 --kill 1@60%
killed 1 heat 4 1 --kill 0@40%
killed 1 heat 2 1 --kill 1@55%
killed 2 bank 3 2 --kill 0@30% --kill 0@70%

echo "- two at once"
place heat 4 2
until_true 30 running 4 || fail "never ran"
kill -KILL "$(pid_of 1)" "$(pid_of 3)"
answered - 0
expect_text "$err" 'recovered in place on (a spare|spares) from' "two at once"

echo "- a process, and the spare that would take its place"
place heat 4 2
until_true 30 running 4 || fail "never ran"
known=$(cat "$dir"/status/process-* | sed 's/.* pid \([0-9]*\) .*/\1/' | sort)
spare=$(comm -23 <(ranks_of "$pid" | sort) <(echo "$known") | sort -n | head -n 1)
kill -KILL "$(pid_of 2)" "$spare"
answered 1 0

echo "- the rank that takes the place is killed at once, again and again"
place heat 4 2
until_true 30 running 4 || fail "never ran"
for i in 1 2; do
    victim=$(pid_of 1)
    kill -KILL "$victim"
    until_true 30 carried_by_another 1 "$victim" || fail "nobody takes the place"
done
answered - 0

echo "- a process is stopped: it is replaced, and when it wakes up it ends"
place heat 4 1
until_true 30 running 4 || fail "never ran"
victim=$(pid_of 3)
kill -STOP "$victim"
until_true 30 carried_by_another 3 "$victim" || fail "nobody takes the place of a stopped process"
kill -CONT "$victim" 2>/dev/null
is_gone() { ! [ -d "/proc/$victim" ] || grep -q '^State:.Z' "/proc/$victim/status"; }
until_true 10 is_gone || fail "the one that was replaced lives on"
answered 1 0

echo "- an idle spare is killed: nobody minds"
place heat 3 1
until_true 30 running 3 || fail "never ran"
known=$(cat "$dir"/status/process-* | sed 's/.* pid \([0-9]*\) .*/\1/' | sort)
kill -KILL "$(comm -23 <(ranks_of "$pid" | sort) <(echo "$known") | head -n 1)"
answered 0 0

echo "- no spare: a rank is spawned"
export CAIRN_SPAWNS=64
killed 1 heat 3 0 --kill 1@50%
killed 2 bank 3 1 --kill 2@30% --kill 0@70%
export CAIRN_SPAWNS=0

echo "- neither spare nor spawning: a new launch"
place bank 3 1 --kill 1@50% --kill 2@80%
answered 1 1
expect_text "$err" 'process 2 is lost, and there is no spare left to carry it' "what is said"

echo "- before the first snapshot: a new launch"
place bank 3 1 --kill 1@0
answered 0 1

echo "- without DIR there is nothing to go back to"
run env -u CAIRN_DIR CAIRN_SPARES=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
    mpirun --oversubscribe -n 2 "$jobs/heat" --size 50 --steps 1
[ "$code" -ne 0 ] || fail "spares without DIR"
expect_text "$err" 'CAIRN_SPARES: without CAIRN_DIR there is nothing to go back to' "spares without DIR"

echo "- $trials random kills each"
for ((trial = 1; trial <= trials; trial++)); do
    names=(heat bank)
    n=$((RANDOM % 3 + 2))
    kills=()
    for ((i = RANDOM % 3; i >= 0; i--)); do
        kills+=(--kill "$((RANDOM % n))@$((RANDOM % 97 + 2))%")
    done
    place "${names[trial % 2]}" "$n" "$((RANDOM % 3))" "${kills[@]}"
    answered - -
done
report
