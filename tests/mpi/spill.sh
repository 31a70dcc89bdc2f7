#!/usr/bin/env bash
# timeout: 400
# scan --memory: groups that do not fit go to disk. The same answer in every form and order, on any number of processes, through kills in
# every mode, with a bound on memory that holds; nothing is left behind; a run that was damaged, or a full disk, is said by its name.
in_memory=yes
. "$(dirname "$0")/common.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mkdir "$room/tmp" "$room/data"
clean_up_more() { umount "$room/small" 2>/dev/null; }
export TMPDIR=$room/tmp
spilled='the groups did not fit in --memory 16.0 MB: [0-9.]+ MB were written to disk, in [0-9]+ runs'

# Many keys, in no order, most of them in more than one file; some longer than 16 bytes.
for file in 0 1 2; do
    awk -v file=$file 'BEGIN {
        print "user,country,amount"
        for (i = 0; i < 120000; i++) {
            k = (i * 7919 + file * 40009) % 200003
            printf "%s%d,%s,%s\n", k % 5 ? "u" : "somebody-with-a-long-name-", k, substr("abcdefgh", 1 + k % 8, 1), i % 11 ? (i * 37 % 1000) / 4 : ""
        }
    }' >"$room/data/$file.csv"
done

scan_on() {
    local count=$1
    shift
    run mpirun --oversubscribe "${raw[@]}" -n "$count" "$jobs/scan" "$@" "$room/data"
}
nothing_left() {
    local left
    left=$(find "$room/tmp" -name 'cairn-spill*')
    [ -z "$left" ] || fail "$1: left behind: $left"
    [ ! -e "$room/dir/spill" ] || fail "$1: left behind: $(ls "$room/dir/spill")"
}

query=(--group-by user --agg 'count,sum(amount),min(amount),approx_distinct(amount)')
asked() { # what one query prints, with and without a limit
    local name=$1
    shift
    scan_on 2 "$@"
    expect_code 0 "$name"
    expect_no_text "$err" 'did not fit' "$name, without --memory"
    cp "$out" "$room/expected-$name"
    for n in 1 3; do
        scan_on $n --memory 16M "$@"
        expect_code 0 "$name on $n with --memory"
        expect_text "$err" "$spilled" "$name on $n with --memory"
        cmp -s "$out" "$room/expected-$name" || fail "$name on $n with --memory: another answer"
        nothing_left "$name on $n"
    done
}
asked csv --format csv "${query[@]}"
asked ordered --format json --group-by country,user --agg 'count,mean(amount)' --order-by 'mean(amount) desc,count'
asked first --format table --group-by user --agg 'count,max(amount)' --order-by 'max(amount),user desc' --limit 700
asked rows --format csv --select '*' --where 'amount > 3'
scan_on 2 --memory 16M --format hdf5 --output "$room/answer.h5" --group-by user --agg 'count,sum(amount)'
expect_code 3 "hdf5 that is too large"
expect_text "$err" 'columns of the answer are put together in memory, and take [0-9]+ MB of it' "hdf5 that is too large"
[ ! -e "$room/answer.h5" ] || fail "hdf5 that is too large: something is there"
scan_on 2 --memory 24M --format hdf5 --output "$room/answer.h5" --group-by user --agg 'count,sum(amount)'
expect_code 0 "hdf5"
expect_text "$err" 'did not fit' "hdf5"
run mpirun "${raw[@]}" -n 1 "$jobs/scan" --format csv --agg 'count,sum(count),sum("sum(amount)")' "$room/answer.h5"
cp "$out" "$room/of-answer"
scan_on 1 --format hdf5 --output "$room/answer.h5" --group-by user --agg 'count,sum(amount)'
run mpirun "${raw[@]}" -n 1 "$jobs/scan" --format csv --agg 'count,sum(count),sum("sum(amount)")' "$room/answer.h5"
cmp -s "$out" "$room/of-answer" || fail "hdf5: another answer"
scan_on 3 --memory 1G --format csv "${query[@]}"
expect_no_text "$err" 'did not fit' "--memory that is enough"
cmp -s "$out" "$room/expected-csv" || fail "--memory that is enough: another answer"
scan_on 2 --memory 2M "${query[@]}"
expect_code 3 "too little memory to begin"
expect_text "$err" '--memory 2M: must be at least 16000000' "too little memory to begin"

echo "- the bound holds"
limited() { # a limit of the kernel's on what it may write to, in kilobytes; what MPI takes of that is found first
    run mpirun "${raw[@]}" -n 1 bash -c 'ulimit -d $1 && shift && exec "$@"' - "$@" "$room/data"
}
base=100000
until limited $base "$jobs/scan" --format csv --agg count && [ "$code" -eq 0 ] || [ $base -gt 1000000 ]; do base=$((base + 20000)); done
limited $((base + 20000)) "$jobs/scan" --memory 20M --format csv "${query[@]}"
expect_code 0 "--memory 20M within 20 MB more than scan takes to count"
expect_text "$err" 'did not fit' "--memory 20M"
cmp -s "$out" "$room/expected-csv" || fail "--memory 20M: another answer"
limited $((base + 20000)) "$jobs/scan" --format csv "${query[@]}"
[ "$code" -ne 0 ] || fail "without --memory it took no more than 20 MB: this test proves nothing"
rm -f "$room"/tmp/cairn-spill*

echo "- through kills"
job=("$jobs/scan" --memory 16M --read-rate 1M --block-size 100K --format csv "${query[@]}" "$room/data")
for kills in '2@95%' '0@30%,1@80%'; do
    options=()
    for kill in ${kills//,/ }; do options+=(--kill "$kill"); done
    run "$cairn" run -n 3 --interval 0.1 "${options[@]}" --dir "$room/dir" -- "${job[@]}"
    expect_code 0 "killed $kills"
    expect_text "$err" 'restarted from snapshot' "killed $kills"
    expect_text "$err" 'did not fit' "killed $kills"
    cmp -s "$out" "$room/expected-csv" || fail "killed $kills: another answer"
    nothing_left "killed $kills"
    rm -rf "$room/dir"
done
run "$cairn" run -n 3 --spares 1 --interval 0.1 --kill 1@50% --dir "$room/dir" -- "${job[@]}"
expect_code 0 "recovered in place"
expect_text "$err" 'recovered in place|goes on in place|took the place' "recovered in place"
cmp -s "$out" "$room/expected-csv" || fail "recovered in place: another answer"
nothing_left "recovered in place"
rm -rf "$room/dir"
run "$cairn" run -n 4 --survive --kill 0@60% --dir "$room/dir" -- "${job[@]}"
expect_code 0 "survived"
expect_text "$err" 'was lost, and read by the others' "survived"
expect_text "$err" 'did not fit' "survived"
cmp -s "$out" "$room/expected-csv" || fail "survived: another answer"
nothing_left "survived"
rm -rf "$room/dir"

echo "- on another number of processes, and in another place"
stop_at() {
    rm -rf "$room/dir"
    run "$cairn" run --quiet --dir "$room/dir" --interval 0 --restarts 0 --kill "$1" -n "$2" -- "${job[@]}"
    [ "$code" -ne 0 ] || fail "$1: the kill came too late"
    [ -n "$(ls "$room/dir/spill" 2>/dev/null)" ] || fail "$1: nothing was spilled"
}
stop_at 1@80% 3
run "$cairn" run --dir "$room/dir" -n 2 -- "${job[@]}"
expect_code 0 "3, then 2"
cmp -s "$out" "$room/expected-csv" || fail "3, then 2: another answer"
nothing_left "3, then 2"
stop_at 1@80% 2
mv "$room/dir" "$room/moved"
run "$cairn" run --dir "$room/moved" -n 4 -- "${job[@]}"
expect_code 0 "2, then 4, elsewhere"
cmp -s "$out" "$room/expected-csv" || fail "2, then 4, elsewhere: another answer"
[ ! -e "$room/moved/spill" ] || fail "elsewhere: left behind: $(ls "$room/moved/spill")"

echo "- a run that is damaged, or gone"
stop_at 1@90% 2
for file in "$room"/dir/spill/*.run; do printf '!' | dd of="$file" bs=1 seek=2000 conv=notrunc status=none; done
run "$cairn" run --dir "$room/dir" --restarts 0 -n 2 -- "${job[@]}"
[ "$code" -ne 0 ] || fail "damaged: an answer all the same"
expect_text "$err" "$room/dir/spill/[0-9-]*.run: its groups are damaged at byte [0-9]+" "damaged"
[ ! -s "$out" ] || fail "damaged: something was printed"
stop_at 1@90% 2
rm "$room"/dir/spill/*.run
run "$cairn" run --dir "$room/dir" --restarts 0 -n 2 -- "${job[@]}"
[ "$code" -ne 0 ] || fail "gone: an answer all the same"
expect_text "$err" "$room/dir/spill/[0-9-]*.run, which holds groups: No such file" "gone"

echo "- a full disk, a folder that is not there"
if [ "$(id -u)" -eq 0 ] && mkdir "$room/small" && mount -t tmpfs -o size=2m none "$room/small" 2>/dev/null; then
    run mpirun --oversubscribe "${raw[@]}" -n 2 env TMPDIR="$room/small" "$jobs/scan" --memory 16M "${query[@]}" "$room/data"
    expect_code 73 "a full disk"
    expect_text "$err" "^scan: $room/small/cairn-spill-.*No space left on device" "a full disk"
    [ ! -s "$out" ] || fail "a full disk: something was printed"
    [ -z "$(find "$room/small" -name 'cairn-spill*')" ] || fail "a full disk: left behind: $(ls "$room/small")"
    umount "$room/small"
else
    echo "SKIPPED: a full disk (no file system can be mounted here)"
fi
report
