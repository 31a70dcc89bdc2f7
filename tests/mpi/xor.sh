#!/usr/bin/env bash
# timeout: 400
# alone
# Parities in the memory of groups: who takes a place has its part worked out from its group, without the file, which is taken away before
# the kill; two of one group at once, and what is damaged, are read from the file, and a line says so. Each time the same answer as undisturbed.
in_memory=yes
. "$(dirname "$0")/common.sh"

trials=${1:-3}
seed=${CAIRN_SEED:-$RANDOM}
RANDOM=$seed
echo "seed $seed (CAIRN_SEED=$seed repeats it)"
dir=$room/dir
export CAIRN_SPAWNS=0
heat=("$jobs/heat" --size 300 --steps 25000)
large=("$jobs/heat" --size 1500 --steps 1200) # 18 pieces a process on 4, 15 on 5
bank=("$jobs/bank" --transfers 40000 --work 100)

for one in heat:2 heat:4 heat:5 large:4 large:5 bank:4 bank:5; do
    declare -n job=${one%:*}
    run "$cairn" run --quiet -n "${one#*:}" --dir "$dir" --interval off -- "${job[@]}"
    expect_code 0 "undisturbed $one"
    cp "$out" "$room/expected-${one%:*}-${one#*:}"
    rm -rf "$dir"
done

# place JOB N SPARES KIND OPTIONS...
place() {
    declare -n job=$1
    expected=$room/expected-$1-$2
    what="$1 on $2, $3 spares, ${*:4}"
    echo "- $what"
    rm -rf "$dir"
    begin "$cairn" run --quiet -n "$2" --spares "$3" --copies "$4" --dir "$dir" --interval off --hang-timeout 60 "${@:5}" -- "${job[@]}"
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

# $1 processes say that the same snapshot is committed, and that all of their group have what they need.
held() {
    [ "$(sed -n 's/.* attempt \([1-9][0-9]*\) .* held \([0-9]*\) .*/\1 \2/p' "$dir"/status/process-* 2>/dev/null | sort | uniq -c |
        awk '$2 == $3 { print $1 }' | head -n 1)" = "$1" ]
}

recovered() {
    [ "$(grep -c 'recovered in place' "$err")" -ge "$1" ]
}

snapshot() {
    until_true 30 running "$1" || give_up "$what: never ran"
    until_true 30 wished "$1" || fail "$what: no parities of a snapshot"
}

wished() {
    kill -USR1 "$pid"
    until_true 2 held "$1"
}

lose_parts() {
    rm -f "$dir"/snapshots/*/process-*.h5
}

for one in 'large 4 1 xor' 'large 5 1 xor=3' 'bank 5 1 xor=2' 'heat 2 1 xor=16'; do
    read -r name n spares kind <<<"$one"
    place "$name" "$n" "$spares" "$kind"
    snapshot "$n"
    lose_parts
    kill -KILL "$(pid_of 1)"
    answered 1
    expect_text "$err" '^cairn: process 1 recovered in place on a spare from snapshot [0-9]+ \(from the memory of its group\), noticed' "what is said"
done

echo "- one after the other, process 0 too: what is worked out is in the parities again, without another snapshot"
place large 4 3 xor
snapshot 4
lose_parts
kills=0
for victim in 0 3 0; do
    kill -KILL "$(pid_of $victim)"
    until_true 30 recovered $((++kills)) || fail "$what: process $victim was not replaced"
    until_true 30 held 4 || fail "$what: not in the parities again"
done
answered 3
[ "$(grep -c 'from the memory of its group' "$err")" -eq 3 ] || fail "$what: not from memory each time"

echo "- two groups: one of each dies, and each is worked out by its own"
place bank 5 2 xor=3
snapshot 5
lose_parts
kill -STOP "$(pid_of 0)" "$(pid_of 1)" # so that neither is noticed before the other
kill -KILL "$(pid_of 0)" "$(pid_of 1)"
answered -
[ "$(grep -o 'from the memory of its group' "$err" | wc -l)" -eq 2 ] || fail "$what: not both from memory"

echo "- two of one group at once: from their files"
place heat 4 2 xor
snapshot 4
kill -STOP "$(pid_of 1)" "$(pid_of 2)"
kill -KILL "$(pid_of 1)" "$(pid_of 2)"
answered -
expect_text "$err" '1 from its file; 2 from its file' "the sources"

echo "- nothing is written: in place from memory, and two of one group are too many"
place heat 4 1 xor --interval shared=off,memory=0.2
until_true 30 running 4 || give_up "$what: never ran"
until_true 30 held 4 || fail "$what: no snapshot in memory"
kill -KILL "$(pid_of 2)"
answered 1
expect_text "$err" 'process 2 recovered in place on a spare from snapshot [0-9]+ \(from the memory of its group\)' "what is said"
[ -z "$(ls "$dir/snapshots")" ] || fail "$what: something was written: $(ls "$dir/snapshots")"

case $(mpirun --version 2>/dev/null) in
*'(Open MPI) 5.'*) ;; # spawns nothing
*)
    export CAIRN_SPAWNS=64
    place large 4 0 xor
    snapshot 4
    lose_parts
    kill -KILL "$(pid_of 1)"
    until_true 30 recovered 1 || fail "$what: no recovery"
    until_true 30 held 4 || fail "$what: not in the parities again"
    answered 1
    expect_text "$err" 'process 1 .* \(from the memory of its group\)' "what is said"
    export CAIRN_SPAWNS=0
    ;;
esac

echo "- parities that change in memory are noticed: the file serves"
export LD_PRELOAD=$tools/preload_damage.so DAMAGE_BYTES=1000000 DAMAGE_KEPT=$room/now DAMAGE_SAID=$room/said
place large 4 1 xor
snapshot 4
: >"$room/now"
until_true 30 grep -q kept "$room/said" || fail "$what: nothing was changed"
kill -KILL "$(pid_of 1)"
answered 1
expect_text "$err" 'process 1: what its group has of its part of snapshot [0-9]+ in memory is damaged' "what is said"
expect_text "$err" '\(from its file\)' "the source"

echo "- pieces that change on their way are refused"
export DAMAGE_WAY=1
unset DAMAGE_KEPT
rm -f "$room/said"
place heat 4 1 xor # whose own messages are short
until_true 30 running 4 || give_up "$what: never ran"
kill -USR1 "$pid"
until_true 30 grep -Eq 'cannot keep the copy of its part of snapshot [0-9]+ in memory' "$err" || fail "$what: nothing is said"
until_true 30 has_committed "$dir" || fail "$what: no snapshot"
kill -KILL "$(pid_of 1)"
answered 1
unset LD_PRELOAD DAMAGE_WAY DAMAGE_BYTES DAMAGE_SAID

echo "- what does not fit is refused"
for kind in xor= xor=1 xor=17 xor=x xors; do
    run "$cairn" run -n 4 --spares 1 --copies "$kind" --dir "$dir" -- "${heat[@]}"
    expect_code 2 "--copies $kind"
done

for ((trial = 1; trial <= trials; trial++)); do
    names=(heat bank)
    name=${names[trial % 2]}
    n=$((RANDOM % 2 + 4))
    kills=()
    for ((i = RANDOM % 3; i >= 0; i--)); do
        kills+=(--kill "$((RANDOM % n))@$((RANDOM % 97 + 2))%")
    done
    intervals=(0.1 shared=0.5,memory=0.05)
    place "$name" "$n" "$((RANDOM % 3 + 1))" "xor=$((RANDOM % 4 + 2))" --interval "${intervals[RANDOM % 2]}" "${kills[@]}"
    finish
    expect_code 0 "$what"
    cmp -s "$out" "$expected" || fail "$what: another answer"
done
report
