#!/usr/bin/env bash
# timeout: 400
# alone
# Snapshots in memory only: committed like those in DIR, more often, and gone back to in place; but a job that is lost as a whole goes on from
# the newest in DIR, and so do all when somebody's part of one in memory is lost. Each time the same answer as undisturbed.
in_memory=yes
. "$(dirname "$0")/common.sh"

trials=${1:-4}
seed=${CAIRN_SEED:-$RANDOM}
RANDOM=$seed
echo "seed $seed (CAIRN_SEED=$seed repeats it)"
dir=$room/dir
export CAIRN_SPAWNS=0
heat=("$jobs/heat" --size 300 --steps 25000)
bank=("$jobs/bank" --transfers 40000 --work 100)

for name in heat bank; do
    for n in 3 4; do
        declare -n job=$name
        run "$cairn" run --quiet -n "$n" --dir "$dir" --interval off -- "${job[@]}"
        expect_code 0 "undisturbed $name on $n"
        cp "$out" "$room/expected-$name-$n"
        rm -rf "$dir"
    done
done

place() {
    local name=$1
    declare -n job=$1
    expected=$room/expected-$1-$2
    what="$name on $2, $3 spares, --interval $4 ${*:5}"
    echo "- $what"
    rm -rf "$dir"
    begin "$cairn" run --quiet -n "$2" --spares "$3" --copies partner --dir "$dir" --interval "$4" --hang-timeout 60 "${@:5}" -- "${job[@]}"
}

answered() {
    finish
    expect_code 0 "$what"
    cmp -s "$out" "$expected" || fail "$what: another answer"
    [ "$1" = - ] || [ "$(grep -c 'recovered in place' "$err")" -eq "$1" ] || fail "$what: not $1 recoveries in place"
    [ "$2" = - ] || [ "$(grep -c '; restart ' "$err")" -eq "$2" ] || fail "$what: not $2 restarts"
    ! grep -Ev '^(cairn|heat|bank): ' "$err" || fail "$what: noise on stderr"
}

pid_of() {
    sed -n 's/.* pid \([0-9]*\) .*/\1/p' "$dir/status/process-00000$1"
}

running() {
    [ "$(grep -lE 'phase running activity [1-9]' "$dir"/status/process-* 2>/dev/null | wc -l)" -eq "$1" ]
}

newest() {
    sed -n 's/.* attempt \([0-9]*\) .*/\1/p' "$dir"/status/process-* | sort -n | head -n 1
}

# All know of a committed snapshot that is newer than any in DIR.
in_memory() {
    local durable
    durable=$(committed "$dir")
    [ "$(newest)" -gt "$((10#${durable:-0}))" ]
}

echo "- nothing is written: in place from memory"
for name in heat bank; do
    place $name 4 1 shared=off,memory=0.2
    until_true 30 running 4 || give_up "never ran"
    until_true 30 in_memory || fail "$what: no snapshot in memory"
    kill -KILL "$(pid_of 2)"
    answered 1 0
    expect_text "$err" 'process 2 recovered in place on a spare from snapshot [0-9]+ \(from the memory of process 3\)' "what is said"
    [ -z "$(ls "$dir/snapshots")" ] || fail "$what: something was written: $(ls "$dir/snapshots")"
done

echo "- the coordinator"
place heat 3 1 shared=off,memory=0.2
until_true 30 running 3 || give_up "never ran"
until_true 30 in_memory || fail "$what: no snapshot in memory"
kill -KILL "$(pid_of 0)"
answered 1 0

echo "- the whole job: from the newest in DIR"
place heat 4 1 shared=off,memory=0.2
until_true 30 running 4 || give_up "never ran"
kill -USR1 "$pid"
until_true 30 has_committed "$dir" || fail "$what: no snapshot in DIR"
until_true 30 in_memory || fail "$what: no snapshot in memory"
durable=$((10#$(committed "$dir")))
kill -KILL "$(mpirun_of "$pid")"
answered 0 1
expect_text "$err" 'cairn: snapshot [0-9]+ was in memory only, and is lost with the launch before' "what is said"
expect_text "$err" "restarted from snapshot [0-9]+ " "the restart"
[ "$(sed -n 's/.*restarted from snapshot \([0-9]*\) .*/\1/p' "$err")" -ge "$durable" ] || fail "$what: not from the newest in DIR"

echo "- a process and its holder at once: all go back to the newest in DIR, in place"
place heat 4 2 shared=off,memory=0.2
until_true 30 running 4 || give_up "never ran"
kill -USR1 "$pid"
until_true 30 has_committed "$dir" || fail "$what: no snapshot in DIR"
until_true 30 in_memory || fail "$what: no snapshot in memory"
kill -STOP "$(pid_of 2)" "$(pid_of 3)"
kill -KILL "$(pid_of 2)" "$(pid_of 3)"
answered - 0
expect_text "$err" 'process [23]: its part of snapshot [0-9]+ was not in DIR and is lost: all go back further' "what is said"

echo "- the same when there is none in DIR: a new launch"
place bank 4 2 shared=off,memory=0.2
until_true 30 running 4 || give_up "never ran"
until_true 30 in_memory || fail "$what: no snapshot in memory"
kill -STOP "$(pid_of 2)" "$(pid_of 3)"
kill -KILL "$(pid_of 2)" "$(pid_of 3)"
answered 0 1
expect_text "$err" 'is lost, and there is no older one to go back to' "what is said"

echo "- a stop takes a last snapshot in DIR, and the same command goes on"
place heat 3 1 shared=off,memory=0.1
until_true 30 running 3 || give_up "never ran"
until_true 30 in_memory || fail "$what: no snapshot in memory"
kill -TERM "$pid"
finish
expect_code 85 "stop"
has_committed "$dir" || fail "stop: no snapshot in DIR"
run "$cairn" run --quiet -n 3 --spares 1 --copies partner --dir "$dir" --interval shared=off,memory=0.1 -- "${heat[@]}"
expect_code 0 "go on"
cmp -s "$out" "$expected" || fail "go on: another answer"

echo "- what does not fit is refused"
run "$cairn" run -n 3 --spares 1 --interval memory=1 --dir "$dir" -- "${heat[@]}"
expect_code 2 "memory without copies"
run "$cairn" run -n 3 --spares 1 --copies partner --interval memory=1,disk=2 --dir "$dir" -- "${heat[@]}"
expect_code 2 "an unknown level"

echo "- $trials random kills each"
for ((trial = 1; trial <= trials; trial++)); do
    names=(heat bank)
    n=$((RANDOM % 2 + 3))
    kills=()
    for ((i = RANDOM % 3; i >= 0; i--)); do
        kills+=(--kill "$((RANDOM % n))@$((RANDOM % 97 + 2))%")
    done
    place "${names[trial % 2]}" "$n" "$((RANDOM % 3 + 1))" shared=0.7,memory=0.1 "${kills[@]}"
    answered - -
done
report
