#!/usr/bin/env bash
# timeout: 400
# alone
# Snapshots in a folder of each host: a restart and a recovery in place go on from them when they are the newest and all parts are there;
# what is lost or damaged leads to the newest in DIR, and a line says so. Each time the same answer as undisturbed.
in_memory=yes
. "$(dirname "$0")/common.sh"

dir=$room/dir
local=$room/local
export CAIRN_SPAWNS=0
heat=("$jobs/heat" --size 300 --steps 25000)

run "$cairn" run --quiet -n 3 --dir "$dir" --interval off -- "${heat[@]}"
expect_code 0 "undisturbed heat"
cp "$out" "$room/expected"

# place INTERVAL OPTIONS...
place() {
    what="--interval $*"
    rm -rf "$dir" "$local"
    mkdir "$local"
    [[ " $* " == *" -- "* ]] || set -- "$@" -- "${heat[@]}"
    begin "$cairn" run --quiet -n 3 --dir "$dir" --local "$local" --interval "$1" --hang-timeout 60 "${@:2}"
    until_true 30 running || give_up "$what: never ran"
}

answered() {
    finish
    expect_code 0 "$what"
    cmp -s "$out" "$room/expected" || fail "$what: another answer"
    [ "$(grep -c 'recovered in place' "$err")" -eq "$1" ] || fail "$what: not $1 recoveries in place"
    [ "$(grep -c '; restart ' "$err")" -eq "$2" ] || fail "$what: not $2 restarts"
    ! grep -Ev '^(cairn|heat): ' "$err" || fail "$what: noise on stderr"
    [ ! -d "$local" ] || [ -z "$(ls -A "$local")" ] || fail "$what: something is left: $(find "$local")"
}

running() {
    [ "$(grep -lE 'phase running activity [1-9]' "$dir"/status/process-* 2>/dev/null | wc -l)" -eq 3 ]
}

pid_of() {
    sed -n 's/.* pid \([0-9]*\) .*/\1/p' "$dir/status/process-00000$1"
}

# All know of a committed snapshot that is newer than any in DIR.
newer() {
    local durable newest
    durable=$(committed "$dir")
    newest=$(sed -n 's/.* attempt \([0-9]*\) .*/\1/p' "$dir"/status/process-* | sort -n | head -n 1)
    [ "$newest" -gt "$((10#${durable:-0}))" ]
}

is_listed() {
    "$cairn" list "$dir" 2>/dev/null | grep -Eq '^  [0-9]{6} +step [0-9]+, .*: 3 of 3 parts, of processes 0, 1, 2$'
}

recovered_often() {
    [ "$(grep -c 'recovered in place' "$err")" -ge "$1" ]
}

in_dir_and_newer() {
    kill -USR1 "$pid"
    until_true 30 has_committed "$dir" || fail "$what: no snapshot in DIR"
    until_true 30 newer || fail "$what: no local snapshot"
}

# The launch dies; before the next one begins something happens to the local parts.
die() {
    local launch
    launch=$(mpirun_of "$pid")
    kill -STOP "$pid"
    kill -KILL "$launch"
    until_true 10 is_over || fail "$what: ranks live on"
    "$@"
    kill -CONT "$pid"
}

is_over() {
    ! pgrep -f "^$jobs/heat --size 300 --steps 25000" >/dev/null
}

echo "- all processes are lost: from the folder, nothing is in DIR"
place shared=off,local=0.2
until_true 30 newer || fail "$what: no local snapshot"
until_true 30 is_listed || fail "$what: cairn list does not know it"
die true
answered 0 1
expect_text "$err" 'restarted from snapshot [0-9]+ \(step [0-9]+, taken 20[-0-9T:Z]+\) from the hosts of its processes' "what is said"
[ -z "$(ls "$dir/snapshots")" ] || fail "$what: something is in DIR"

echo "- a part is lost: from the newest in DIR"
place shared=off,local=0.2
in_dir_and_newer
die find "$local" -name 'process-000001.h5' -delete
answered 0 1
expect_text "$err" 'snapshot [0-9]+ not used: .*process-000001.h5: ' "what is said"
expect_text "$err" 'restarted from snapshot [0-9]+ \(step [0-9]+, taken 20[-0-9T:Z]+\):' "the restart"

echo "- a part is damaged: from the newest in DIR"
damage() {
    local part
    for part in "$local"/*/*/process-000002.h5; do
        printf 'X' | dd of="$part" bs=1 seek=$(($(stat -c %s "$part") / 2)) conv=notrunc 2>/dev/null
    done
}
place shared=off,local=0.2
in_dir_and_newer
die damage
answered 0 1
expect_text "$err" 'snapshot [0-9]+ not used: .*process-000002.h5: ' "what is said"

echo "- all of it is lost, and nothing is in DIR: from the beginning, and it is said"
place shared=off,local=0.2
until_true 30 newer || fail "$what: no local snapshot"
die rm -rf "$local"
answered 0 1
expect_text "$err" 'snapshot [0-9]+ not used: ' "what is said"
expect_text "$err" 'no snapshot was committed yet: starting from the beginning' "what is said"

echo "- in place: who takes the place finds the part on its host"
place shared=off,local=0.2 --spares 1
until_true 30 newer || fail "$what: no local snapshot"
kill -KILL "$(pid_of 1)"
answered 1 0

echo "- in place: the folder is gone: all go back to the newest in DIR"
place shared=off,local=0.3 --spares 1
in_dir_and_newer
rm -rf "$local"
: >"$local" # nothing can be written there any more
kill -KILL "$(pid_of 1)"
answered 1 0
expect_text "$err" 'process 1: its part of snapshot [0-9]+ was not in DIR and is lost: all go back further' "what is said"

echo "- in place, with copies: from the partner, though the folder is gone"
place shared=off,local=0.3 --spares 1 --copies partner
until_true 30 newer || fail "$what: no local snapshot"
rm -rf "$local"
: >"$local"
kill -KILL "$(pid_of 1)"
answered 1 0
expect_text "$err" 'process 1 .* \(from the memory of process 2\)' "the source"

echo "- the folder cannot be written: the next one is in DIR"
place shared=1000,local=0.2
rm -rf "$local"
: >"$local"
until_true 30 grep -q 'was not written on the hosts: the next one is in DIR' "$err" || fail "$what: nothing is said"
until_true 30 has_committed "$dir" || fail "$what: no snapshot in DIR"
answered 0 0

in_dir() {
    has_committed "$dir" && newer
}

echo "- sent on to DIR: the hosts' folders are lost with all processes, and what was sent on is there"
place local=0.1,flush=0.3
until_true 30 in_dir || fail "$what: nothing was sent on"
die rm -rf "$local"
answered 0 1
expect_text "$err" 'restarted from snapshot [0-9]+ \(step [0-9]+, taken 20[-0-9T:Z]+\):' "the restart"
run "$cairn" verify "$dir"
expect_code 0 "verify what was sent on"

echo "- sent on to DIR, and in place: with what is under way then, no part is mixed up"
place local=0.05,flush=0.05 --spares 3 -- "${heat[@]}" --work 400
kills=0
for victim in 1 0 2; do
    until_true 30 has_committed "$dir" || fail "$what: nothing was sent on"
    kill -KILL "$(pid_of $victim)"
    until_true 30 recovered_often $((++kills)) || give_up "$what: process $victim was not replaced"
done
answered 3 0
run "$cairn" verify "$dir"
expect_code 0 "verify what was sent on"

echo "- sent on to a DIR that takes nothing: it is said, and the job goes on"
place local=0.1,flush=0.1
rm -rf "$dir/snapshots"
: >"$dir/snapshots"
until_true 30 grep -q "snapshot [0-9]* not sent on to $dir: " "$err" || fail "$what: nothing is said"
rm "$dir/snapshots"
until_true 30 has_committed "$dir" || fail "$what: not sent on when it could be"
answered 0 0

echo "- what does not fit is refused"
run "$cairn" run -n 3 --interval flush=1 --dir "$dir" -- "${heat[@]}"
expect_code 2 "nothing to send on"
run "$cairn" run -n 3 --interval local=1 --dir "$dir" -- "${heat[@]}"
expect_code 2 "local snapshots without a folder"
run "$cairn" run -n 3 --local "$local" --dir "$dir" -- "${heat[@]}"
expect_code 2 "a folder without local snapshots"
run "$cairn" run -n 3 --local there --interval local=1 --dir "$dir" -- "${heat[@]}"
expect_code 2 "half a path"
report
