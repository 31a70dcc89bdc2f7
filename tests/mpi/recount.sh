#!/usr/bin/env bash
# timeout: 200
# heat goes on with another number of processes: stopped by SIGTERM, or killed, and the answer has the same bits. bank, whose
# state belongs to processes, is refused clearly.
in_memory=yes
. "$(dirname "$0")/common.sh"
dir=$room/dir
options=(--size 251 --steps 700 --modes 2 --work 2000)

run "$cairn" run --quiet --dir "$dir" --interval off -n 3 -- "$jobs/heat" "${options[@]}"
expect_code 0 "heat, undisturbed"
cp "$out" "$room/expected"

# Stop a run on $1 processes by SIGTERM once a snapshot has been committed.
stop_on() {
    begin "$cairn" run --dir "$dir" --interval 0.1 -n "$1" -- "$jobs/heat" "${options[@]}"
    until_true 60 has_committed "$dir" || fail "no snapshot on $1 processes within 60 s"
    kill -TERM "$pid"
    finish
}

echo "- stopped on 4, again on 8, then on 1"
rm -rf "$dir"
stop_on 4
expect_code 85 "the first stop"
first=$(committed "$dir")
begin "$cairn" run --dir "$dir" --interval 0.1 -n 8 -- "$jobs/heat" "${options[@]}"
newer() { [ "$(committed "$dir")" \> "$first" ]; }
until_true 60 newer || fail "no newer snapshot on 8 processes"
kill -TERM "$pid"
finish
expect_code 85 "the second stop"
run "$cairn" run --dir "$dir" --interval 0.2 -n 1 -- "$jobs/heat" "${options[@]}"
expect_code 0 "the end on 1 process"
cmp -s "$room/expected" "$out" || fail "4, 8, then 1 processes: another answer than 3 undisturbed"
expect_text "$err" 'snapshot' "what it went on from"

for counts in "2 5" "5 2"; do
    read -r before after <<<"$counts"
    echo "- killed on $before, gone on with on $after"
    rm -rf "$dir"
    run "$cairn" run --dir "$dir" --interval 0 --restarts 0 --kill 1@50% -n "$before" -- "$jobs/heat" "${options[@]}"
    [ "$code" -ne 0 ] || fail "a killed run without restarts ended well"
    has_committed "$dir" || fail "nothing committed in the killed run"
    run "$cairn" run --dir "$dir" --interval 0 -n "$after" -- "$jobs/heat" "${options[@]}"
    expect_code 0 "killed on $before, then $after"
    cmp -s "$room/expected" "$out" || fail "killed on $before, then $after: another answer"
done

echo "- bank is refused on another number of processes, and goes on with its own"
rm -rf "$dir"
bank=("$jobs/bank" --transfers 6000 --work 200)
run "$cairn" run --quiet --dir "$dir" --interval off -n 4 -- "${bank[@]}"
cp "$out" "$room/expected"
rm -rf "$dir"
begin "$cairn" run --dir "$dir" --interval 0.1 -n 4 -- "${bank[@]}"
until_true 60 has_committed "$dir" || fail "no snapshot of bank"
kill -TERM "$pid"
finish
expect_code 85 "bank, stopped"
run "$cairn" run --dir "$dir" -n 3 -- "${bank[@]}"
[ "$code" -ne 0 ] || fail "bank of 4 processes went on with 3"
expect_text "$err" 'balances' "the refusal names the state"
run "$cairn" run --dir "$dir" -n 4 -- "${bank[@]}"
expect_code 0 "bank, gone on with"
cmp -s "$room/expected" "$out" || fail "bank, gone on with: another answer"
report
