#!/usr/bin/env bash
# timeout: 200
# scan: the answers of DuckDB on any number of processes, after kills, and on another number of processes; quoted line breaks that show
# late; input that is odd, wrong or changed.
in_memory=yes
. "$(dirname "$0")/common.sh"
expected=$top/tests/mpi/expected
flights=$top/data/flights
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

scan_on() {
    local count=$1
    shift
    run mpirun --oversubscribe "${raw[@]}" -n "$count" "$jobs/scan" --format csv "$@"
}

same() {
    cmp -s "$out" "$1" || fail "$2: the answer differs from $(basename "$1")"
}

echo "- DuckDB's answers"
for n in 1 2 3 4 8; do
    scan_on "$n" --group-by origin --agg 'count,mean(delay),max(delay)' "$flights"
    expect_code 0 "origin on $n"
    same "$expected/flights-origin.csv" "origin on $n"
done
scan_on 3 --group-by origin,destination --agg 'count,sum(delay),min(delay),max(distance)' "$flights"
same "$expected/flights-pairs.csv" "pairs"
scan_on 3 --block-size 5000 --group-by distance --agg 'count,mean(delay),count(origin)' "$flights"
same "$expected/flights-distance.csv" "distance"
scan_on 2 --agg 'count,sum(delay),mean(delay),min(delay),max(delay),sum(distance)' "$flights"
same "$expected/flights-all.csv" "all"

echo "- killed, and gone on with on other numbers of processes"
options=(--format csv --read-rate 400K --group-by origin --agg 'count,mean(delay),max(delay)' "$flights")
run "$cairn" run -n 4 --interval 0.2 --kill 2@50% --dir "$room/same" -- "$jobs/scan" "${options[@]}"
expect_code 0 "killed"
same "$expected/flights-origin.csv" "killed"
expect_text "$err" 'restarted from snapshot' "killed"
run "$cairn" run -n 4 --interval 0.1 --restarts 0 --kill 0@40% --dir "$room/other" -- "$jobs/scan" "${options[@]}"
expect_code 69 "4 processes"
run "$cairn" run -n 2 --interval 0.1 --restarts 0 --kill 1@70% --dir "$room/other" -- "$jobs/scan" "${options[@]}"
expect_code 69 "2 processes"
expect_text "$err" 'of 4 processes on 2' "2 processes"
run "$cairn" run -n 5 --interval 0.1 --dir "$room/other" -- "$jobs/scan" "${options[@]}"
expect_code 0 "5 processes"
same "$expected/flights-origin.csv" "5 processes"

echo "- conditions and sketches: the same on any number of processes, after kills, and after a restart on another number"
sketches='count,variance(delay),stddev(delay),median(delay),approx_quantile(delay,0.95),approx_distinct(date)'
options=(--where "delay > 0 and not starts_with(origin, 'A')" --group-by origin --agg "$sketches" --order-by 'median(delay) desc')
for n in 1 2 3 8; do
    scan_on "$n" "${options[@]}" "$flights"
    expect_code 0 "sketches on $n"
    [ "$n" != 1 ] || cp "$out" "$room/sketches.csv"
    same "$room/sketches.csv" "sketches on $n"
    expect_text "$err" '54923 rows selected' "sketches on $n"
done
expect_text "$room/sketches.csv" '^WRG,8,2702,51.980765673468106,79,178,8$' "sketches"
run "$cairn" run -n 4 --interval 0.1 --restarts 0 --kill 0@60% --dir "$room/sketches" -- \
    "$jobs/scan" --format csv --read-rate 400K "${options[@]}" "$flights"
expect_code 69 "sketches killed"
run "$cairn" run -n 3 --interval 0.1 --dir "$room/sketches" -- \
    "$jobs/scan" --format csv --read-rate 400K "${options[@]}" "$flights"
expect_code 0 "sketches, gone on with"
same "$room/sketches.csv" "sketches, gone on with"
expect_text "$err" 'of 4 processes on 3' "sketches, gone on with"
scan_on 2 --limit 7 "${options[@]}" "$flights"
head -n 8 "$room/sketches.csv" >"$room/limited.csv"
same "$room/limited.csv" "only the first"
scan_on 2 --where 'delay >' "$flights"
expect_code 3 "half a condition"
expect_text "$err" 'scan: --where: character 8: the condition ends too early' "half a condition"
scan_on 2 --order-by 'max(delay)' "$flights"
expect_code 3 "an order by what is not there"

echo "- what does not fit is told, and is an error with --strict"
printf 'k,v\na,1\nb,none\na,3\nc\n' >"$room/odd.csv"
scan_on 2 --where 'v > 0' "$room/odd.csv"
expect_code 0 "odd"
expect_text "$err" 'warning: 1 values of v are not numbers, as --where needs them; the first: .*odd.csv: row 2: none' "odd"
expect_text "$err" 'warning: 1 rows have fewer fields than the header; the first: .*odd.csv: row 4: 1 instead of 2' "odd"
scan_on 2 --strict --agg 'sum(v)' "$room/odd.csv"
expect_code 3 "strict"
expect_text "$err" '1 values of v are not numbers; the first: .*odd.csv: row 2: none' "strict"
[ ! -s "$out" ] || fail "strict: an answer all the same"
scan_on 2 --strict --agg 'sum(delay)' "$flights"
expect_code 0 "strict, and nothing is odd"

echo "- quoted line breaks that the sample does not show"
awk 'BEGIN { print "k,v,t"; for (i = 0; i < 40000; i++)
    if (i > 8000 && i % 3 == 0) printf "g%d,%d,\"line\none, \"\"two\"\"\n\nthree\"\n", i % 2, i
    else printf "g%d,%d,plain text\n", i % 2, i }' >"$room/late.csv"
printf 'k,count,sum(v)\ng0,20000,399980000\ng1,20000,400000000\n' >"$room/late.txt"
for n in 1 3; do
    scan_on "$n" --group-by k --agg 'count,sum(v)' "$room/late.csv"
    same "$room/late.txt" "late line breaks on $n"
    expect_text "$err" 'begun anew 1 time' "late line breaks on $n"
done
run "$cairn" run -n 3 --interval 0.1 --restarts 0 --kill 1@60% --dir "$room/careful" -- \
    "$jobs/scan" --format csv --read-rate 200K --group-by k --agg 'count,sum(v)' "$room/late.csv"
expect_code 69 "late line breaks, killed"
run "$cairn" run -n 2 --dir "$room/careful" -- \
    "$jobs/scan" --format csv --read-rate 200K --group-by k --agg 'count,sum(v)' "$room/late.csv"
same "$room/late.txt" "late line breaks, on 2 after 3"

echo "- odd input"
printf 'k;v\na;1\nb;x\na;\nb;2;3\nb\n' >"$room/odd.csv"
scan_on 2 --group-by k --agg 'count,sum(v)' "$room/odd.csv"
expect_code 0 "odd input"
printf 'k,count,sum(v)\na,2,1\nb,3,2\n' >"$room/odd.txt"
same "$room/odd.txt" "odd input"
expect_text "$err" '1 values of v are not numbers .*odd.csv: row 2: x' "odd input"
expect_text "$err" '1 rows have fewer fields .*odd.csv: row 5' "odd input"
expect_text "$err" '1 rows have more fields .*odd.csv: row 4' "odd input"

echo "- compressed files and patterns: the same answer, after a kill in the middle of one too; damaged, cut off and unreadable ones"
mkdir "$room/packed" "$room/one"
i=0
for file in "$flights"/*.csv; do
    name=$(basename "$file")
    case $((i++ % 3)) in
    0) gzip -c "$file" >"$room/packed/$name.gz" ;;
    1) zstd -q -c "$file" >"$room/packed/$name.zst" ;;
    2) cp "$file" "$room/packed/" ;;
    esac
done
for n in 1 3; do
    scan_on "$n" --format csv --group-by origin --agg 'count,mean(delay),max(delay)' "$room/packed"
    same "$expected/flights-origin.csv" "compressed, $n processes"
done
scan_on 2 --format csv --group-by origin --agg 'count,mean(delay),max(delay)' "$room/pack*/2001-0[0-9]-*"
same "$expected/flights-origin.csv" "a pattern"
{
    cat "$flights"/2001-01-01.csv
    tail -q -n +2 "$flights"/2001-01-0[2-9].csv
} | gzip -c >"$room/one/all.gz" # known by its bytes, not its name
run "$cairn" run -n 2 --interval 0.1 --restarts 0 --kill 0@1.2 --kill 1@1.2 --dir "$room/inside" -- "$jobs/scan" --format csv --read-rate 700K \
    --group-by origin --agg 'count,mean(delay),max(delay)' "$room/one/all.gz"
expect_code 69 "compressed, killed"
run "$cairn" run -n 3 --dir "$room/inside" -- "$jobs/scan" --format csv --read-rate 700K \
    --group-by origin --agg 'count,mean(delay),max(delay)' "$room/one/all.gz"
expect_text "$err" 'restarted from snapshot' "compressed, killed"
same "$expected/flights-origin.csv" "compressed, killed"
head -c 100000 "$room/one/all.gz" >"$room/one/short.gz"
scan_on 2 --agg count "$room/one/short.gz"
expect_code 3 "cut off"
expect_text "$err" '^scan: .*short.gz: damaged gzip data before byte 100000, .*: it ends too early' "cut off"
(head -c 60000 "$room/one/all.gz" && printf 'rubbish' && tail -c +60008 "$room/one/all.gz") >"$room/one/odd.gz"
scan_on 2 --agg count "$room/one/odd.gz"
expect_code 3 "damaged"
expect_text "$err" '^scan: .*odd.gz: damaged gzip data' "damaged"
mkdir "$room/closed" && cp "$flights/2001-01-01.csv" "$room/closed/" && chmod 0 "$room/closed"
if [ "$(id -u)" -ne 0 ]; then
    scan_on 2 --agg count "$room/closed"
    expect_code 73 "an unreadable folder"
    expect_text "$err" '^scan: .*closed: Permission denied' "an unreadable folder"
fi
chmod 700 "$room/closed"

echo "- wrong arguments and input"
wrong() {
    local pattern=$1
    shift
    scan_on 3 "$@"
    expect_code 3 "$*"
    expect_text "$err" "^scan: $pattern" "$*"
    [ "$(grep -c '^scan: ' "$err")" -eq 1 ] || fail "$*: said more than once"
    [ ! -s "$out" ] || fail "$*: something on standard output"
}
wrong 'no column named nope; the columns are: date, delay' --group-by nope "$flights"
wrong '/nowhere: No such file' /nowhere
wrong '.*nothing-\*.csv: no file of such a name' "$flights/nothing-*.csv"
wrong '--format xml' --format xml "$flights"
wrong 'no files or folders' --group-by origin
wrong '.*odd.csv: has 2 columns|.*odd.csv: column 1 is' --delimiter ';' "$flights/2001-01-01.csv" "$room/odd.csv"

echo "- input that changed since the snapshot"
cp -r "$flights" "$room/flights"
changing=("$jobs/scan" --read-rate 300K --group-by origin "$room/flights")
run "$cairn" run -n 2 --interval 0.1 --restarts 0 --kill 1@50% --dir "$room/changed" -- "${changing[@]}"
expect_code 69 "before the change"
echo "2001-01-03 00:00,1,2,ABE,ATL" >>"$room/flights/2001-01-03.csv"
run "$cairn" run -n 2 --dir "$room/changed" -- "${changing[@]}"
expect_code 3 "after the change"
expect_text "$err" 'scan: .*2001-01-03.csv: has [0-9]+ bytes, but had' "after the change"

report
