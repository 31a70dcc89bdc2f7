#!/usr/bin/env bash
# timeout: 600
# The process that commits snapshots is killed at every point of a commit: before a snapshot is chosen it does not count, once it is
# chosen it does, and the log, the restart and `cairn list` never say different things. Then what people do to DIR: records that
# are damaged, removed or copied in, a log that was removed.
#
#   commit.sh [all]      each point with each job on one number of processes; all: on 2, 3 and 4
in_memory=yes
. "$(dirname "$0")/common.sh"
dir=$room/dir
said=$room/said

command_of() {
    case $1 in
    heat) command=("$jobs/heat" --size 128 --steps 400 --work 2000) ;;
    bank) command=("$jobs/bank" --transfers 2500 --work 150) ;;
    esac
}

expected_of() {
    expected=$room/expected-$1-$2
    [ -f "$expected" ] && return
    run "$cairn" run --quiet --dir "$room/undisturbed-$1-$2" -n "$2" --interval off -- "${command[@]}"
    expect_code 0 "$1 on $2 processes, undisturbed"
    mv "$out" "$expected"
}

# The number of the snapshot whose record's path is $1.
number_of() {
    basename "$(dirname "$1")"
}

# What `cairn list` says of snapshot $1 is committed.
is_listed() {
    awk -v n="$1" '$1 == n && $2 ~ /^[0-9]+-/ { found = 1 } END { exit !found }' "$room/list"
}

# Launch $1 died at a snapshot (in $died), and the newest one confirmed before (in $before; empty: none).
what_died() {
    died=$(awk -v l="$1" '$1 == l && $2 == "died" { print $3 }' "$said")
    [ -n "$died" ] || return 1
    died=$(number_of "$died")
    before=$(awk -v l="$1" '$1 <= l && $2 == "confirmed" { print $3 }' "$said" | tail -n 1)
    before=${before:+$(number_of "$before")}
}

# The k-th line about what was restarted from.
restarted_from() {
    sed -n 's/.*restarted from snapshot \([0-9]*\) .*/\1/p' "$err" | sed -n "$1p" | awk '{ printf "%06d", $1 }'
}

# one JOB PROCESSES PLAN [OPTIONS of cairn run]: each entry of the plan kills a launch.
one() {
    local name=$1 n=$2 plan=$3 points point launch=0 line=0 what turn
    shift 3
    what="$name on $n, $plan${*:+, $*}"
    command_of "$name"
    expected_of "$name" "$n"
    for turn in 1 2 3; do # a busy machine may be done with the job before it comes to the snapshot
        rm -rf "$dir" "$said"
        : >"$said"
        run "$cairn" run --dir "$dir" -n "$n" --interval 0 --keep 1000 "$@" -- \
            env "LD_PRELOAD=$tools/preload_die.so" "DIE_PLAN=$plan" "DIE_SAID=$said" "${command[@]}"
        what_died 0 && break
        [ "$turn" -lt 3 ] || { fail "$what: nobody died" && return; }
    done
    expect_code 0 "$what"
    cmp -s "$out" "$expected" || fail "$what: another answer"
    expect_no_text "$err" 'never chose it|not the record that was chosen|starting from the beginning' "$what"
    "$cairn" list "$dir" >"$room/list" || fail "$what: cairn list"
    IFS=, read -r -a points <<<"$plan"
    for point in "${points[@]}"; do
        what_died "$launch" || { fail "$what: nobody died in launch $launch" && return; }
        launch=$((launch + 1))
        # When the next launch died while it gave the same record its name it never came to the point of going on from it.
        if ! grep -q "^$launch died .*/$died/" "$said"; then
            line=$((line + 1))
            judge "$point" "$(restarted_from "$line")"
        fi
    done
    run "$cairn" verify "$dir"
    expect_code 0 "$what: cairn verify"
    if [ "$name" = bank ]; then
        run "$jobs/bank" --audit "$dir"
        expect_code 0 "$what: the cuts"
    fi
}

# judge POINT FROM: a launch died at that point of committing $died; the next one went on from FROM.
judge() {
    case $1 in
    *-proposed:*)
        [ "$2" = "$before" ] || fail "$what: $died was not chosen, and the next launch begins at '$2', not '$before'"
        ! is_listed "$died" || fail "$what: $died was not chosen, and is listed as committed"
        ;;
    *-sync:*)
        if [ "$2" = "$died" ]; then
            chosen=$((chosen + 1))
            is_listed "$died" || fail "$what: $died was gone on from, and is not listed as committed"
        else
            [ "$2" = "$before" ] || fail "$what: the next launch begins at '$2', not '$before' or '$died'"
            ! is_listed "$died" || fail "$what: $died was passed over, and is listed as committed"
        fi
        ;;
    *-confirmed:*)
        [ "$2" = "$died" ] || fail "$what: $died was chosen, and the next launch begins at '$2'"
        is_listed "$died" || fail "$what: $died was chosen, and is not listed as committed"
        ;;
    esac
}

chosen=0
turn=0
for name in heat bank; do
    echo "- $name, ${1:-each point once}"
    for point in before-proposed after-proposed before-sync after-sync before-confirmed after-confirmed; do
        counts=($((2 + turn++ % 3)))
        [ "${1-}" != all ] || counts=(2 3 4)
        for n in "${counts[@]}"; do
            one "$name" "$n" "$point:2"
        done
    done
    turn=$((turn + 1)) # so that bank has another number than heat at the same point
done
echo "- twice, and at the first snapshot"
one bank 3 before-confirmed:1
one heat 3 before-confirmed:2,before-confirmed:1
one bank 2 before-confirmed:2,after-confirmed:1
one heat 4 after-proposed:2,before-confirmed:2
echo "- the others survive it, and end the launch"
for n in 2 3 4; do
    one heat "$n" before-confirmed:2 --survive
done
one heat 3 after-proposed:2 --survive
one heat 4 before-sync:2 --survive
one bank 3 before-confirmed:2 --survive
echo "  of those whose seal was on its way to the logs, $chosen were chosen"

echo "- chosen, and gone on from on another number of processes"
command_of heat
expected_of heat 3
preloaded=(env "LD_PRELOAD=$tools/preload_die.so" DIE_PLAN=before-confirmed:2 "DIE_SAID=$said" "${command[@]}")
# The second time the group of acceptors was moved before, and did not come to its forming.
for formed in true false; do
    rm -rf "$dir" "$said"
    run "$cairn" run --dir "$dir" -n 3 --interval 0 --keep 1000 --restarts 0 -- "${preloaded[@]}"
    expect_code 69 "no restart"
    what_died 0 || fail "nobody died"
    run "$cairn" list "$dir"
    mv "$out" "$room/list"
    ! is_listed "$died" || fail "$died has its name already"
    sed -i "s/\"formed\": true/\"formed\": $formed/" "$dir/consensus/group.json"
    for n in 4 2; do
        cp -a "$dir" "$room/again"
        run "$cairn" run --dir "$room/again" -n "$n" --interval 0 --keep 1000 -- "${preloaded[@]}"
        rm -rf "$room/again"
        expect_code 0 "on $n, formed: $formed"
        cmp -s "$out" "$expected" || fail "on $n, formed: $formed: another answer"
        [ "$(restarted_from 1)" = "$died" ] || fail "on $n, formed: $formed: begins at '$(restarted_from 1)', not '$died'"
    done
done

# ---------------------------------------------------------------- what people do to DIR

command_of bank
expected_of bank 3
again=("$cairn" run --dir "$dir" -n 3 --interval off --keep 1000 -- "${command[@]}")

# until_stopped DIR SNAPSHOT: let the run go on until it has this snapshot, and stop it.
until_stopped() {
    begin "$cairn" run --dir "$1" -n 3 --interval 0 --keep 1000 -- "${command[@]}"
    until_true 30 test -f "$1/snapshots/$2/snapshot.h5" || fail "snapshot $2 was not committed"
    kill -TERM "$pid"
    finish
    expect_code 85 "stopped"
}

# goes_on WHAT SNAPSHOT: from this one, to the right answer.
goes_on() {
    run "${again[@]}"
    expect_code 0 "$1"
    cmp -s "$out" "$expected" || fail "$1: another answer"
    [ "$(restarted_from 1)" = "$2" ] || fail "$1: begins at '$(restarted_from 1)', not '$2'"
}

fresh() {
    rm -rf "$dir"
    cp -a "$room/base" "$dir"
}

next_of() {
    printf '%06d' $((10#$1 + 1))
}

until_stopped "$room/base" 000003
newest=$(committed "$room/base")
older=$(find "$room/base/snapshots" -name snapshot.h5 -printf '%h\n' | sort | tail -n 2 | head -n 1 | xargs basename)
# The same run goes on in two copies: each has chosen other snapshots, of the same numbers.
cp -a "$room/base" "$room/one"
cp -a "$room/base" "$room/two"
until_stopped "$room/one" "$(next_of "$newest")"
until_stopped "$room/two" "$(next_of "$newest")"
theirs=$(next_of "$newest")

echo "- a record that was chosen, and is removed or damaged"
fresh
rm "$dir/snapshots/$newest/snapshot.h5"
goes_on "removed" "$older"
fresh
truncate -s 700 "$dir/snapshots/$newest/snapshot.h5"
goes_on "damaged" "$older"
expect_text "$err" "snapshot $((10#$newest)) not used: .*$newest/snapshot.h5" "damaged"
expect_no_text "$err" 'never chose' "damaged"

echo "- a snapshot that these processes never chose"
fresh
cp -a "$room/one/snapshots/$theirs" "$dir/snapshots"
goes_on "copied in" "$newest"
expect_text "$err" "snapshot $((10#$theirs)) not used: the processes never chose it" "copied in"
rm -rf "$dir"
cp -a "$room/two" "$dir"
cp "$room/one/snapshots/$theirs"/* "$dir/snapshots/$theirs"
for folder in "$dir"/snapshots/*; do # what was committed after it
    [[ $(basename "$folder") > $theirs ]] && rm -r "$folder"
done
goes_on "copied over one of the same number" "$newest"
expect_text "$err" "$theirs/snapshot.h5: is not the record that was chosen" "copied over one of the same number"
fresh
cp -a "$room/one/snapshots/$theirs" "$room/alone"
rm -rf "$dir"/snapshots/*
mv "$room/alone" "$dir/snapshots/$theirs"
run "${again[@]}"
expect_code 66 "nothing but a copy"
expect_text "$err" 'the processes never chose it' "nothing but a copy"
[ -f "$dir/snapshots/$theirs/snapshot.h5" ] || fail "nothing but a copy: it was removed"

echo "- no log: it was removed, or the folder is of an older version"
fresh
rm -rf "$dir/consensus"
goes_on "no log" "$newest"
fresh
rm -rf "$dir/consensus"
mv "$dir/snapshots/$newest/snapshot.h5" "$dir/snapshots/$newest/snapshot.h5.proposed"
goes_on "no log, and one that was only proposed" "$older"
# What was taken over is in the log now: gone on from it, to the next stop, and from there.
fresh
rm -rf "$dir/consensus"
until_stopped "$dir" "$(next_of "$newest")"
goes_on "after it was taken over" "$(committed "$dir")"

echo "- a majority of the logs is lost"
fresh
rm -rf "$dir"/consensus/group-*/acceptor-000000
goes_on "one log is lost" "$newest"
fresh
rm -rf "$dir"/consensus/group-*/acceptor-00000[02]
run "${again[@]}"
expect_code 66 "two logs are lost"
expect_text "$err" '2 of 3 acceptors have lost their logs' "two logs are lost"
report
