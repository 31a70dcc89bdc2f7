#!/usr/bin/env bash
# timeout: 200
# scan --in-flight: blocks that are read ahead, by io_uring or by threads, give the same answer, alone and distributed, in every mode and through kills; a
# file that is cut off, or gone, is said by its name; with a replica it is read there.
in_memory=yes
. "$(dirname "$0")/common.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
query=(--format csv --group-by origin,destination --agg 'count,sum(delay),max(distance)' --block-size 30K)
flights=$top/data/flights

scan_on() {
    local count=$1
    shift
    run mpirun --oversubscribe "${raw[@]}" -n "$count" "$jobs/scan" "${query[@]}" "$@"
}

scan_on 1 "$flights"
expect_code 0 "nothing in flight"
cp "$out" "$room/expected"
for n in 1 2 3 8; do
    for depth in 1 5 32; do
        scan_on $n --in-flight $depth "$flights"
        expect_code 0 "$depth in flight on $n"
        cmp -s "$out" "$room/expected" || fail "$depth in flight on $n: another answer"
    done
    for depth in 1 32; do
        scan_on $n --in-flight $depth --read-by threads "$flights"
        expect_code 0 "$depth in flight on $n, by threads"
        cmp -s "$out" "$room/expected" || fail "$depth in flight on $n, by threads: another answer"
    done
done
scan_on 1 --in-flight 33 "$flights"
expect_code 3 "more than there can be"
scan_on 2 --in-flight 7 --explain "$flights"
expect_text "$out" '^2 processes: each has 8 blocks in hand' "--explain"
expect_text "$out" "^7 of a process's next blocks are read ahead, by (io_uring|threads), while" "--explain"
scan_on 1 --in-flight 7 --read-by mmap "$flights"
expect_code 3 "no such way"
scan_on 1 --read-by threads "$flights"
expect_code 3 "--read-by alone"

echo "- where there is no io_uring: threads, or an error if it was asked for"
scan_on 1 --in-flight 7 --read-by threads --explain "$flights"
expect_text "$out" "are read ahead, by threads, while" "--read-by threads"
without=(env "LD_PRELOAD=$tools/preload_no_uring.so")
run mpirun --oversubscribe "${raw[@]}" -n 2 "${without[@]}" "$jobs/scan" --in-flight 7 --explain "$flights"
expect_text "$out" "are read ahead, by threads, while" "no io_uring"
run mpirun --oversubscribe "${raw[@]}" -n 2 "${without[@]}" "$jobs/scan" "${query[@]}" --in-flight 7 "$flights"
expect_code 0 "no io_uring"
cmp -s "$out" "$room/expected" || fail "no io_uring: another answer"
run mpirun --oversubscribe "${raw[@]}" -n 2 "${without[@]}" "$jobs/scan" "${query[@]}" --in-flight 7 --read-by io_uring "$flights"
expect_code 3 "no io_uring, but asked for"
expect_text "$err" "^scan: --read-by io_uring: there is none for process [01]" "no io_uring, but asked for"
[ ! -s "$out" ] || fail "no io_uring, but asked for: an answer"

echo "- quoted line breaks, whose blocks are begun anew"
mkdir "$room/quoted"
awk 'BEGIN { print "name,value"; for (i = 0; i < 30000; i++) printf "\"a\n%d\",%d\n", i % 50, i }' >"$room/quoted/a.csv"
run mpirun --oversubscribe "${raw[@]}" -n 1 "$jobs/scan" --format csv --group-by name --agg 'sum(value)' "$room/quoted"
cp "$out" "$room/expected-quoted"
run mpirun --oversubscribe "${raw[@]}" -n 3 "$jobs/scan" --in-flight 6 --block-size 5K --format csv --group-by name --agg 'sum(value)' "$room/quoted"
expect_code 0 "quoted line breaks"
cmp -s "$out" "$room/expected-quoted" || fail "quoted line breaks: another answer"

echo "- what is in flight counts in --memory"
"$jobs/stations" --rows 400000 --files 1 "$room/stations" || fail "stations"
stations=(--format csv --group-by station --agg 'count,mean(temperature)' --block-size 1M "$room/stations")
run mpirun --oversubscribe "${raw[@]}" -n 1 "$jobs/scan" "${stations[@]}"
cp "$out" "$room/expected-stations"
run mpirun --oversubscribe "${raw[@]}" -n 2 "$jobs/scan" --memory 20M --in-flight 3 "${stations[@]}"
expect_code 0 "3 blocks of 1 MB in 20 MB"
cmp -s "$out" "$room/expected-stations" || fail "3 blocks of 1 MB in 20 MB: another answer"
run mpirun --oversubscribe "${raw[@]}" -n 2 "$jobs/scan" --memory 20M --in-flight 8 "${stations[@]}"
expect_code 3 "8 blocks of 1 MB in 20 MB"
expect_text "$err" '^scan: --memory 20000000: less than the [78][0-9]* bytes of the blocks that are in flight, and 16000000 for' "8 blocks in 20 MB"

echo "- through kills"
job=("$jobs/scan" "${query[@]}" --in-flight 6 --read-rate 400K "$flights")
run "$cairn" run -n 3 --interval 0.1 --kill 1@40% --kill 0@80% --dir "$room/dir" -- "${job[@]}"
expect_code 0 "killed"
expect_text "$err" 'restarted from snapshot' "killed"
cmp -s "$out" "$room/expected" || fail "killed: another answer"
run "$cairn" run -n 3 --survive --kill 1@50% --dir "$room/survive" -- "${job[@]}"
expect_code 0 "survived"
cmp -s "$out" "$room/expected" || fail "survived: another answer"
run "$cairn" run --quiet -n 3 --interval 0 --restarts 0 --kill 1@60% --dir "$room/fewer" -- "${job[@]}"
run "$cairn" run -n 1 --dir "$room/fewer" -- "${job[@]}"
expect_code 0 "3, then 1"
cmp -s "$out" "$room/expected" || fail "3, then 1: another answer"

echo "- a file that is cut off, or taken away, while the others are read"
for what in cut gone; do
    rm -rf "$room/data" "$room/copy"
    cp -r "$flights" "$room/data" && cp -r "$flights" "$room/copy"
    last=$(ls "$room/data" | tail -n 1)
    for replica in no yes; do
        options=()
        [ $replica = no ] || options=(--replica "$room/copy")
        cp "$flights/$last" "$room/data/$last"
        begin mpirun --oversubscribe "${raw[@]}" -n 1 "$jobs/scan" "${query[@]}" --in-flight 2 --read-rate 300K "${options[@]}" "$room/data"
        # It holds a file open when the plan was made.
        reads() { find /proc/[0-9]*/fd -lname "$room/data/*" 2>/dev/null | grep -q .; }
        until_true 30 reads || fail "$what: it does not read"
        if [ $what = cut ]; then truncate -s 1000 "$room/data/$last"; else rm "$room/data/$last"; fi
        finish
        if [ $replica = no ]; then
            expect_code 3 "$what"
            expect_text "$err" "^scan: $room/data/$last: " "$what"
            [ ! -s "$out" ] || fail "$what: an answer all the same"
        else
            expect_code 0 "$what, with a replica"
            cmp -s "$out" "$room/expected" || fail "$what, with a replica: another answer"
            expect_text "$err" "$room/data/$last: .*; reading $room/copy/$last" "$what, with a replica"
        fi
    done
done
report
