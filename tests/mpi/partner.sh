#!/usr/bin/env bash
# timeout: 400
# alone
# Copies of parts in the memory of partners: who takes a place gets its part from there, without the file, which is taken away before the
# kill; what is damaged or gone with its holder is read from the file, and a line says so. Each time the same answer as undisturbed.
in_memory=yes
. "$(dirname "$0")/common.sh"

trials=${1:-6}
seed=${CAIRN_SEED:-$RANDOM}
RANDOM=$seed
echo "seed $seed (CAIRN_SEED=$seed repeats it)"
dir=$room/dir
export CAIRN_SPAWNS=0
heat=("$jobs/heat" --size 300 --steps 25000)
bank=("$jobs/bank" --transfers 40000 --work 100)

for name in heat bank; do
    for n in 2 3 4; do
        declare -n job=$name
        run "$cairn" run --quiet -n "$n" --dir "$dir" --interval off -- "${job[@]}"
        expect_code 0 "undisturbed $name on $n"
        cp "$out" "$room/expected-$name-$n"
        rm -rf "$dir"
    done
done

# place JOB N SPARES OPTIONS...: begin a run of it with partner copies
place() {
    local name=$1
    declare -n job=$1
    expected=$room/expected-$1-$2
    what="$name on $2, $3 spares, ${*:4}"
    echo "- $what"
    rm -rf "$dir"
    begin "$cairn" run --quiet -n "$2" --spares "$3" --copies partner --dir "$dir" --interval off --hang-timeout 60 "${@:4}" -- "${job[@]}"
}

answered() {
    finish
    expect_code 0 "$what"
    cmp -s "$out" "$expected" || fail "$what: another answer"
    [ "$1" = - ] || [ "$(grep -c 'recovered in place' "$err")" -eq "$1" ] || fail "$what: not $1 recoveries in place"
    [ "$(grep -c '; restart ' "$err")" -eq "${2-0}" ] || fail "$what: restarts"
    ! grep -Ev '^(cairn|heat|bank): ' "$err" || fail "$what: noise on stderr"
}

pid_of() {
    sed -n 's/.* pid \([0-9]*\) .*/\1/p' "$dir/status/process-00000$1"
}

running() {
    [ "$(grep -lE 'phase running activity [1-9]' "$dir"/status/process-* 2>/dev/null | wc -l)" -eq "$1" ]
}

# $1 processes say that the same snapshot is committed, and that their partners have their parts.
held() {
    [ "$(sed -n 's/.* attempt \([1-9][0-9]*\) .* held \([0-9]*\) .*/\1 \2/p' "$dir"/status/process-* 2>/dev/null | sort | uniq -c |
        awk '$2 == $3 { print $1 }' | head -n 1)" = "$1" ]
}

# A snapshot, and its copies. mpirun hands the signal to all, so there may be another one soon.
snapshot() {
    until_true 30 running "$1" || give_up "$what: never ran"
    until_true 30 wished "$1" || fail "$what: no copies of a snapshot"
}

wished() {
    kill -USR1 "$pid"
    until_true 2 held "$1"
}

lose_parts() {
    rm -f "$dir"/snapshots/*/process-*.h5
}

for name in heat bank; do
    place $name 4 1
    snapshot 4 1
    lose_parts
    kill -KILL "$(pid_of 2)"
    answered 1
    expect_text "$err" '^cairn: process 2 recovered in place on a spare from snapshot [0-9]+ \(from the memory of process 3\), noticed' "what is said"
done

echo "- process 0, which coordinates; its file is there, but cannot be read as one"
place heat 3 1
snapshot 3
for part in "$dir"/snapshots/*/process-000000.h5; do
    : >"$part"
done
kill -KILL "$(pid_of 0)"
answered 1
expect_text "$err" 'process 0 .* \(from the memory of process 1\)' "what is said"

echo "- one after the other: what was kept is copied again to who took the place, without another snapshot"
place heat 4 2
snapshot 4
lose_parts
kill -KILL "$(pid_of 2)"
until_true 30 grep -q 'process 2 recovered' "$err" || fail "$what: no recovery"
until_true 30 held 4 || fail "$what: not copied again"
kill -KILL "$(pid_of 3)"
answered 2
expect_text "$err" 'process 2 .* \(from the memory of process 3\)' "the first"
expect_text "$err" 'process 3 .* \(from the memory of process 0\)' "the second"

echo "- the one that took the place dies: its own part was kept, too"
place bank 4 2
snapshot 4
lose_parts
kill -KILL "$(pid_of 1)"
until_true 30 grep -q 'process 1 recovered' "$err" || fail "$what: no recovery"
until_true 30 held 4 || fail "$what: not copied again"
kill -KILL "$(pid_of 1)"
answered 2
[ "$(grep -c 'process 1 .* (from the memory of process 2)' "$err")" -eq 2 ] || fail "$what: not from memory both times"

case $(mpirun --version 2>/dev/null) in
*'(Open MPI) 5.'*) ;; # spawns nothing
*)
    echo "- no spare: a rank that is spawned gets the part, and its own is copied to its partner"
    export CAIRN_SPAWNS=64
    place heat 3 0
    snapshot 3
    lose_parts
    kill -KILL "$(pid_of 1)"
    until_true 30 grep -q 'process 1 recovered' "$err" || fail "$what: no recovery"
    until_true 30 held 3 || fail "$what: not copied again"
    answered 1
    expect_text "$err" 'process 1 .* \(from the memory of process 2\)' "what is said"
    export CAIRN_SPAWNS=0
    ;;
esac

echo "- a process and its holder at once: one of them from its file"
place heat 4 2
snapshot 4
rm -f "$dir"/snapshots/*/process-000003.h5
kill -STOP "$(pid_of 2)" "$(pid_of 3)" # so that neither is noticed before the other
kill -KILL "$(pid_of 2)" "$(pid_of 3)"
answered -
expect_text "$err" 'process 2: no copy of its part of snapshot [0-9]+ is in anybody.s memory; it was read from its file' "what is said"
expect_text "$err" '2 from its file' "the sources"
expect_text "$err" 'from the memory of process 0' "the sources"

echo "- copies that change in memory are noticed: the file serves"
export LD_PRELOAD=$tools/preload_damage.so DAMAGE_BYTES=65536 DAMAGE_KEPT=$room/now DAMAGE_SAID=$room/said
place heat 3 1
snapshot 3
: >"$room/now"
until_true 30 grep -q kept "$room/said" || fail "$what: nothing was changed"
kill -KILL "$(pid_of 1)"
answered 1
expect_text "$err" 'process 1: the copy of its part of snapshot [0-9]+ in the memory of process 2 is damaged' "what is said"
expect_text "$err" '\(from its file\)' "the source"

echo "- copies that change on their way are refused"
export DAMAGE_WAY=1
unset DAMAGE_KEPT
rm -f "$room/said"
place heat 3 1
until_true 30 running 3 || give_up "never ran"
kill -USR1 "$pid"
until_true 30 grep -Eq 'cannot keep the copy of its part of snapshot [0-9]+ in memory' "$err" || fail "$what: nothing is said"
until_true 30 has_committed "$dir" || fail "$what: no snapshot"
kill -KILL "$(pid_of 1)"
answered 1
unset LD_PRELOAD DAMAGE_BYTES DAMAGE_SAID DAMAGE_WAY

echo "- without spares, or with one process, there are no copies"
run "$cairn" run -n 2 --copies partner --dir "$dir" -- "${heat[@]}"
expect_code 2 "copies without spares"
run "$cairn" run -n 1 --spares 1 --copies partner --dir "$dir" -- "${heat[@]}"
expect_code 2 "copies of one process"
run "$cairn" run -n 2 --spares 1 --copies twice --dir "$dir" -- "${heat[@]}"
expect_code 2 "unknown copies"

echo "- $trials random kills each, snapshots all the time"
for ((trial = 1; trial <= trials; trial++)); do
    names=(heat bank)
    n=$((RANDOM % 3 + 2))
    kills=()
    for ((i = RANDOM % 3; i >= 0; i--)); do
        kills+=(--kill "$((RANDOM % n))@$((RANDOM % 97 + 2))%")
    done
    place "${names[trial % 2]}" "$n" "$((RANDOM % 3 + 1))" --interval 0.1 "${kills[@]}"
    finish
    expect_code 0 "$what"
    cmp -s "$out" "$expected" || fail "$what: another answer"
done
report
