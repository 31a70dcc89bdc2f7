#!/usr/bin/env bash
# timeout: 200
# Data sets with replicas: what is missing, cut off, unreadable or damaged, before and while it is read, is read elsewhere, and the answer is the
# same; when nobody has it that is said, and there is no answer. And what --explain prints.
in_memory=yes
. "$(dirname "$0")/common.sh"
flights=$top/data/flights
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
query=(--format csv --group-by origin --agg 'count,mean(delay),max(delay)')
expected=$top/tests/mpi/expected/flights-origin.csv

scan_on() {
    local count=$1
    shift
    run mpirun --oversubscribe "${raw[@]}" -n "$count" "$jobs/scan" "$@"
}

# The folders a, b and c anew, with copies of $1.
copies() {
    local place
    for place in a b c; do
        rm -rf "${room:?}/$place"
        cp -r "$1" "$room/$place"
    done
}

# answer COUNT WHAT FOLDERS...: the first one is read, the others are its replicas
answer() {
    local what=$2 folders=("${@:3}") options=() folder
    for folder in "${folders[@]:1}"; do
        options+=(--replica "$room/$folder")
    done
    scan_on "$1" "${query[@]}" "${options[@]}" "$room/${folders[0]}"
    expect_code 0 "$what"
    cmp -s "$out" "$expected" || fail "$what: another answer"
    expect_text "$err" '^scan: 113493 rows, .* 7 files' "$what: what it covers"
}

refuse() {
    local what=$1 pattern=$2 options=() folder
    for folder in "${@:4}"; do
        options+=(--replica "$room/$folder")
    done
    scan_on 2 "${query[@]}" "${options[@]}" "$room/$3"
    expect_code 3 "$what"
    expect_text "$err" "^scan: $pattern" "$what"
    [ ! -s "$out" ] || fail "$what: an answer all the same"
}

echo "- nothing is wrong: replicas are not touched"
copies "$flights"
answer 3 "all is there" a b c
expect_text "$err" '; 0 B from replicas, 0 times a file was read elsewhere$' "all is there"
expect_text "$err" 'process 0: [0-9]+ blocks, .*; process 2: [0-9]+ blocks, [0-9.]+ [kM]?B, busy [0-9.]+ s' "what each did"
[ "$(grep -o '[0-9]* blocks, [0-9.]* [kM]*B, busy' "$err" | awk '{ n += $1 } END { print n }')" -eq 61 ] || fail "the blocks of all are not all"

echo "- missing, another size, a folder that is gone"
rm "$room/a/2001-01-01.csv"
truncate -s 1000 "$room/a/2001-01-02.csv"
for n in 1 3; do
    answer "$n" "missing on $n" a b c
    expect_text "$err" 'process 0: .*/a/2001-01-01.csv: No such file or directory; reading .*/b/2001-01-01.csv' "missing on $n"
    expect_text "$err" '/a/2001-01-02.csv: has another size; reading .*/b/2001-01-02.csv' "another size on $n"
done
rm -r "$room/a"
answer 2 "a folder is gone" a b c
expect_text "$err" '; [0-9.]+ MB from replicas, ([89]|1[0-9]) times a file was read elsewhere' "a folder is gone"

echo "- two that differ: nobody can tell which one is right, and three can"
copies "$flights"
sed -i '5s/0/1/' "$room/a/2001-01-03.csv"
refuse "two that differ" '.*/a/2001-01-03.csv and .*/b/2001-01-03.csv are different files: which one is right' a b
answer 2 "three, of which one differs" a b c
expect_text "$err" '/a/2001-01-03.csv: is another file; reading' "three, of which one differs"

echo "- nobody has it"
copies "$flights"
rm "$room"/?/2001-01-04.csv
refuse "a file that nobody has" 'no replica has it: .*/2001-01-04.csv: No such file or directory' a/2001-01-04.csv b c
rm -r "$room/a" "$room/b"
refuse "a folder that nobody has" '.*/a: No such file or directory, and no replica has a file of it' a b
scan_on 2 --replica "$room/c" "$room/c/2001-01-01.csv" "$flights/2001-01-01.csv"
expect_code 3 "one name twice"
expect_text "$err" '^scan: .* replicas cannot tell files of one name apart' "one name twice"
scan_on 2 --replica "$room/c" "$room/c" "$flights"
expect_code 3 "two folders"
expect_text "$err" '^scan: replicas are those of one folder, or of files' "two folders"

echo "- while it is read: cut off, and then nowhere"
# A slow read of a, with b as its replica; when a third of it is done $1 is carried out.
during() {
    what=$1
    rm -rf "$room/dir"
    begin "$cairn" run --quiet -n 2 --dir "$room/dir" --interval off --restarts 0 -- \
        "$jobs/scan" "${query[@]}" --read-rate 700K --replica "$room/b" "$room/a"
    until_true 30 a_third_is_done || give_up "$what: a third of it was never read"
    "$@"
    finish
}

a_third_is_done() {
    sed -n 's/.* done \([0-9]*\) total \([0-9]*\) .*/\1 \2/p' "$room/dir/status/process-000000" | awk '{ ok = $1 * 3 > $2 && $2 > 0 } END { exit !ok }'
}

cut_off() {
    truncate -s 100 "$room"/a/2001-01-0[3-7].csv
}

cut_off_both() {
    truncate -s 100 "$room"/[ab]/2001-01-0[3-7].csv
}

copies "$flights"
during cut_off
expect_code 0 "cut off"
cmp -s "$out" "$expected" || fail "cut off: another answer"
expect_text "$err" '/a/2001-01-0[3-7].csv: (has another size|became shorter while it was read); reading .*/b/' "cut off"
copies "$flights"
during cut_off_both
expect_code 3 "cut off everywhere"
expect_text "$err" '^scan: .*/a/2001-01-0[3-7].csv: no replica is left: .*/b/2001-01-0[3-7].csv: (has another size|became shorter)' "cut off everywhere"
[ ! -s "$out" ] || fail "cut off everywhere: an answer all the same"

echo "- compressed and damaged: at an end, and where only reading all of it tells"
mkdir "$room/packed"
for file in "$flights"/*.csv; do
    gzip -c "$file" >"$room/packed/$(basename "$file").gz"
done
damage() {
    printf 'XXXX' | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
copies "$room/packed"
damage "$room/a/2001-01-03.csv.gz" 100000
for n in 1 3; do
    answer "$n" "damaged at the end on $n" a b
    expect_text "$err" '/a/2001-01-03.csv.gz: is another file; reading .*/b/' "damaged at the end on $n"
done
copies "$room/packed"
damage "$room/a/2001-01-03.csv.gz" 67000
damage "$room/a/2001-01-05.csv.gz" 66000
for n in 1 3; do
    answer "$n" "damaged inside on $n" a b
    expect_text "$err" '/a/2001-01-03.csv.gz: damaged gzip data .*; reading .*/b/' "damaged inside on $n"
    expect_text "$err" '/a/2001-01-05.csv.gz: damaged gzip data .*; reading .*/b/' "damaged inside on $n"
done
for folder in a b; do
    damage "$room/$folder/2001-01-03.csv.gz" 67000
done
refuse "damaged everywhere" '.*/2001-01-03.csv.gz: no replica is left: .*/b/2001-01-03.csv.gz: damaged gzip data' a b
copies "$room/packed"
damage "$room/a/2001-01-03.csv.gz" 67000
run "$cairn" run -n 2 --interval 0.1 --kill 1@40% --dir "$room/killed" -- "$jobs/scan" "${query[@]}" --read-rate 150K --replica "$room/b" "$room/a"
expect_code 0 "damaged, and killed"
expect_text "$err" 'restarted from snapshot' "damaged, and killed"
cmp -s "$out" "$expected" || fail "damaged, and killed: another answer"

echo "- --explain"
scan_on 3 --explain --where 'delay > 0' "${query[@]}" --replica "$room/b" "$room/a"
expect_code 0 "explain"
expect_text "$out" '^7 files, .* of rows, 7 blocks' "explain"
expect_text "$out" "/a/2001-01-03.csv.gz: [0-9]+ bytes, 1 block, gzip: read by one process; also in .*/b/2001-01-03.csv.gz$" "explain"
expect_text "$out" '^  delay: numbers, in the condition, aggregated$' "explain"
expect_text "$out" '^  origin: text, groups$' "explain"
expect_text "$out" '^  destination: text, skipped$' "explain"
expect_text "$out" '^3 processes: each has 2 blocks in hand' "explain"
scan_on 1 --explain --replica "$room/nowhere" "$flights"
expect_text "$out" '2001-01-01.csv: 478195 bytes, 8 blocks; not in .*/nowhere/2001-01-01.csv: No such file' "explain"
scan_on 2 --explain --group-by nope "$flights"
expect_code 3 "explain a wrong query"
report
