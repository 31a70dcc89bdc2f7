#!/usr/bin/env bash
# timeout: 200
# scan of HDF5 files: parts of snapshots as tables, contiguous and chunked, in blocks on any number of processes, after a kill; the same
# answer as from text. What reads as zeros when it is missing is refused.
in_memory=yes
. "$(dirname "$0")/common.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

scan_on() {
    local count=$1
    shift
    run mpirun --oversubscribe "${raw[@]}" -n "$count" "$jobs/scan" --format csv "$@"
}

run "$cairn" run --quiet -n 3 --dir "$room/dir" --interval 0.1 -- "$jobs/heat" --size 300 --steps 8000
expect_code 0 "a job with snapshots"
number=$(committed "$room/dir")
[ -n "$number" ] || give_up "no snapshot"
mkdir "$room/parts" "$room/chunked" "$room/text"
cp "$room/dir/snapshots/$number"/process-*.h5 "$room/parts/"
for part in "$room"/parts/*.h5; do
    name=$(basename "$part" .h5)
    h5repack -l field:CHUNK=7x50 -f field:GZIP=4 "$part" "$room/chunked/$name.h5" >"$room/repacked" 2>&1 ||
        h5repack -l /state/field:CHUNK=7x50 -f /state/field:GZIP=4 "$part" "$room/chunked/$name.h5" >"$room/repacked" 2>&1
    {
        seq -s , -f c%g 0 299
        h5dump -d /state/field -y -m '%.17g' "$part" | awk '/DATA \{/ && !done { on = 1; next } on && /}/ { on = 0; done = 1 } on' |
            tr -d ' \n' | tr ',' '\n' | awk '{ printf "%s%s", $0, NR % 300 ? "," : "\n" }'
    } >"$room/text/$name.csv"
done
[ "$(cat "$room"/text/*.csv | wc -l)" -eq 303 ] || fail "the text is not what it should be: $(wc -l "$room"/text/*.csv)"

query=(--agg 'count,min(c0),max(c150),min(c77),max(c299)' --where 'c10 > 0.01')
scan_on 2 "${query[@]}" "$room/text"
expect_code 0 "text"
cp "$out" "$room/expected"
for folder in parts chunked; do
    for n in 1 3; do
        for block in 4M 20K; do
            scan_on "$n" --block-size $block --hdf5 state/field "${query[@]}" "$room/$folder"
            expect_code 0 "$folder on $n, blocks of $block"
            cmp -s "$out" "$room/expected" || fail "$folder on $n, blocks of $block: another answer than from text"
        done
    done
done
expect_text "$err" '3 files, [1-9][0-9]+ blocks' "there are blocks"

echo "- exact sums: the same on any number of processes, and after a kill"
sums=(--hdf5 /state/field --block-size 20K --agg 'count,sum(c0),sum(c150),mean(c222),variance(c3)')
scan_on 1 "${sums[@]}" "$room/parts"
expect_code 0 "sums"
cp "$out" "$room/expected"
scan_on 4 "${sums[@]}" "$room/chunked"
cmp -s "$out" "$room/expected" || fail "sums: another answer on 4"
run "$cairn" run -n 3 --interval 0.1 --kill 1@50% --dir "$room/killed" -- "$jobs/scan" --format csv --read-rate 100K "${sums[@]}" "$room/parts"
expect_code 0 "killed"
expect_text "$err" 'restarted from snapshot' "killed"
cmp -s "$out" "$room/expected" || fail "killed: another answer"

echo "- what cannot be read as a table"
refused() {
    scan_on 2 --agg count "${@:2}"
    expect_code 3 "$1"
    expect_text "$err" "^scan: $1" "$1"
    [ ! -s "$out" ] || fail "$1: an answer all the same"
}
refused '.*/snapshot.h5: field: its elements are in other files: name those' --hdf5 state/field "$room/dir/snapshots/$number/snapshot.h5"
refused '.*/process-000000.h5: state/nope: there is no such group or dataset' --hdf5 state/nope "$room/parts"
refused '.*/process-000000.h5: /: has no datasets of one dimension' "$room/parts"
truncate -s 20000 "$room/parts/process-000001.h5"
refused '.*/process-000001.h5: open: ' --hdf5 state/field "$room/parts"
report
