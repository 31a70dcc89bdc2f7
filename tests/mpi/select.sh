#!/usr/bin/env bash
# timeout: 200
# scan --select: the rows themselves, in the order of the files whoever reads them, from text and from shards, through a kill; the first
# ones of them; in another order; what is refused.
in_memory=yes
. "$(dirname "$0")/common.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
flights=$top/data/flights

scan_on() {
    local count=$1
    shift
    run mpirun --oversubscribe "${raw[@]}" -n "$count" "$jobs/scan" --format csv "$@"
}

{
    head -n 1 "$flights/2001-01-01.csv"
    for file in "$flights"/*.csv; do tail -n +2 "$file"; done
} >"$room/all"
run "$cairn" data import --rows 20000 "$room/shards" "$flights"
expect_code 0 "import"

for n in 1 3; do
    scan_on $n --select '*' "$flights"
    expect_code 0 "all rows on $n"
    cmp -s "$out" "$room/all" || fail "all rows on $n: not those of the files"
    scan_on $n --select '*' "$room/shards"
    cmp -s "$out" "$room/all" || fail "all rows of shards on $n: not those of the files, or in other columns"
    for first in 1 777 60000 1000000; do
        scan_on $n --select origin,date --limit $first "$flights"
        awk -F , -v n=$first 'NR <= n + 1 { print $4 "," $1 }' "$room/all" >"$room/expected"
        cmp -s "$out" "$room/expected" || fail "the first $first on $n"
        scan_on $n --select origin,date --limit $first "$room/shards"
        cmp -s "$out" "$room/expected" || fail "the first $first of shards on $n"
    done
    scan_on $n --select distance,delay --where "delay > 200 and origin = 'ORD'" "$flights"
    awk -F , 'NR == 1 || ($2 > 200 && $4 == "ORD") { print $3 "," $2 }' "$room/all" >"$room/expected"
    [ "$(wc -l <"$room/expected")" -gt 10 ] || fail "there are no such rows"
    cmp -s "$out" "$room/expected" || fail "a condition on $n"
    scan_on $n --select distance,delay --where "delay > 200 and origin = 'ORD'" "$room/shards"
    cmp -s "$out" "$room/expected" || fail "a condition, shards on $n"
    scan_on $n --select delay,origin --order-by 'delay desc,origin' --limit 50 "$flights"
    { echo delay,origin && awk -F , 'NR > 1 && $2 != "" { print $2 "," $4 }' "$room/all" | LC_ALL=C sort -t , -k 1,1nr -k 2,2 | head -n 50; } >"$room/expected"
    cmp -s "$out" "$room/expected" || fail "in another order on $n"
done

echo "- through kills"
run "$cairn" run -n 3 --interval 0.1 --kill 1@50% --kill 0@70% --dir "$room/killed" -- "$jobs/scan" --format csv --read-rate 400K --select '*' "$flights"
expect_code 0 "killed"
expect_text "$err" 'restarted from snapshot' "killed"
cmp -s "$out" "$room/all" || fail "killed: other rows"
run "$cairn" run -n 3 --interval 0.1 --kill 1@50% --dir "$room/limited" -- "$jobs/scan" --format csv --read-rate 400K --select '*' --limit 3000 "$flights"
expect_code 0 "killed, with a limit"
head -n 3001 "$room/all" | cmp -s "$out" - || fail "killed, with a limit: other rows"

echo "- what is refused"
scan_on 2 --select origin --agg count "$flights"
expect_code 3 "with aggregates"
expect_text "$err" '^scan: --select prints rows: it goes with neither --group-by nor --agg' "with aggregates"
scan_on 2 --select origin,nowhere "$flights"
expect_code 3 "no such column"
expect_text "$err" '^scan: no column named nowhere; the columns are: date, ' "no such column"
scan_on 2 --select origin --order-by delay "$flights"
expect_code 3 "an order by what is not selected"
run mpirun --oversubscribe "${raw[@]}" -n 1 "$jobs/scan" --explain --select origin,delay "$flights"
expect_text "$out" '^select: origin,delay$' "--explain"
expect_text "$out" 'origin: text, selected$' "--explain of a column"
report
