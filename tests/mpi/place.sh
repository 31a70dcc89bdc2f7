#!/usr/bin/env bash
# timeout: 200
# Where data lie: each process reads on its own host what the catalogue, or --replica HOST:FOLDER, says is there, and others only when it
# has nothing else to do. Hosts here are names: each process runs in a UTS namespace of its own.
in_memory=yes
. "$(dirname "$0")/common.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
query=(--format csv --group-by origin --agg 'count,sum(delay)')

run unshare --uts true
if [ "$code" -ne 0 ]; then
    echo "SKIPPED: no UTS namespaces can be made here"
    report
fi
cat >"$room/on-host" <<'HOST'
#!/bin/sh
# Even ranks are on one host, odd ones on another.
exec unshare --uts sh -c 'hostname "host$((OMPI_COMM_WORLD_RANK % 2)).cluster" && exec "$@"' sh "$@"
HOST
chmod +x "$room/on-host"

scan_on() {
    local count=$1
    shift
    run mpirun --oversubscribe "${raw[@]}" -n "$count" "$room/on-host" "$jobs/scan" "${query[@]}" "$@"
}

# "own elsewhere stolen" of the closing lines
places() {
    sed -nE 's/.*; ([0-9.]+ [kM]?B) read on the own host, ([0-9.]+ [kM]?B) elsewhere, ([0-9]+) blocks? stolen$/\1, \2, \3/p' "$err"
}

answer() {
    expect_code 0 "$1"
    cmp -s "$out" "$room/expected" || fail "$1: another answer"
}

run "$cairn" data import --rows 10000 "$room/table" "$top/data/flights"
expect_code 0 "import"
scan_on 1 "$room/table"
expect_code 0 "undisturbed"
cp "$out" "$room/expected"

echo "- what is written down"
mkdir "$room/even" "$room/odd" "$room/empty"
for i in 00 02 04 06 08 10; do cp "$room/table/shard-0000$i.h5" "$room/even/"; done
for i in 01 03 05 07 09 11; do cp "$room/table/shard-0000$i.h5" "$room/odd/"; done
run "$cairn" data place "$room/table" "host0:$room/even" "host1.cluster:$room/odd"
expect_code 0 "place"
expect_text "$out" "^host0:$room/even$" "place"
run "$cairn" data place "$room/table" "$room/even"
expect_code 0 "a place of all hosts"
expect_text "$out" "^$room/even: 6 of 12 shards$" "a place of all hosts"
run "$cairn" data place --forget "$room/table" "$room/even"
expect_code 0 "forget"
expect_no_text "$out" "^$room/even" "forget"
run "$cairn" data place "$room/table" "$room/empty"
expect_code 3 "an empty place"
expect_text "$err" "empty: no shard of this table is there$" "an empty place"
run "$cairn" data place --forget "$room/table" host9:/data
expect_code 3 "forget what is none"
run "$cairn" data place "$room/table" host9:data
expect_code 3 "a relative one"

echo "- read where they lie"
scan_on 4 --read-rate 500K "$room/table"
answer "two hosts"
[ -n "$(places)" ] || fail "nothing is said of hosts"
read -r own _ <<<"$(places)"
awk -v own="$own" 'BEGIN { exit !(own > 0) }' || fail "nothing was read on the own host: $(places)"
scan_on 2 --read-rate 500K "$room/table"
answer "two hosts, a process each"
rm "$room/table/shard-000006.h5" # process 0, which makes the plan, sees the one of its host
scan_on 4 "$room/table"
answer "what is not in the folder is read where it lies"
cp "$room/even/shard-000006.h5" "$room/table/"

echo "- damaged where it lies, and read elsewhere; replicas that are named for this scan alone"
at=$(grep -abo 'ATL' "$room/even/shard-000004.h5" | sed -n '50s/:.*//p')
printf x | dd of="$room/even/shard-000004.h5" bs=1 seek="$at" conv=notrunc status=none
scan_on 4 "$room/table"
answer "damaged on its host"
expect_text "$err" "$room/even/shard-000004.h5: (column .*checksum.*|is another file); reading $room/table/shard-000004.h5" "damaged on its host"
cp "$room/table/shard-000004.h5" "$room/even/"
run "$cairn" data place --forget "$room/table" "host0:$room/even" "host1.cluster:$room/odd"
expect_code 0 "forget both"
scan_on 4 --replica "host1:$room/odd" "$room/table"
answer "one replica"
[ -n "$(places)" ] || fail "nothing is said of hosts"
scan_on 4 --replica "host7:$room/odd" "$room/table"
answer "a replica on another host"
expect_text "$err" '; 0 B read on the own host, ' "a replica on another host"

echo "- one host has a single shard: its process waits before it steals, but not for ever"
mkdir "$room/most"
cp "$room/table"/shard-*.h5 "$room/most/" && rm "$room/most/shard-000003.h5"
mkdir "$room/single"
cp "$room/table/shard-000003.h5" "$room/single/"
unequal=(--block-size 30K --read-rate 300K --replica "host0:$room/most" --replica "host1:$room/single" "$room/table")
scan_on 2 --near-wait 60 "${unequal[@]}"
answer "it waits"
expect_text "$err" ' 0 blocks stolen$' "it waits"
for wait in 0 0.05; do
    scan_on 2 --near-wait $wait "${unequal[@]}"
    answer "it waits $wait s"
    expect_text "$err" ' ([1-9]|[1-9][0-9]+) blocks? stolen$' "it waits $wait s"
done
scan_on 2 --near-wait 0.25 --explain "${unequal[@]}"
expect_text "$out" '^what lies on its own host first; then it waits 0.25 s before it reads elsewhere$' "--explain"
scan_on 1 --near-wait soon "$room/table"
expect_code 3 "no such time"

echo "- through a kill"
run "$cairn" data place "$room/table" "host0:$room/even" "host1:$room/odd"
run "$cairn" run -n 4 --interval 0.1 --kill 1@50% --dir "$room/killed" -- "$room/on-host" "$jobs/scan" --read-rate 300K "${query[@]}" "$room/table"
answer "killed"
report
