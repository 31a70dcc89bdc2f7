#!/usr/bin/env bash
# timeout: 240
# cairn data: text becomes tables of shards which scan answers from as from the text, on any number of processes and after a kill; what
# is damaged, missing or cut off is told by check and by scan, or read from a replica; what cannot become a table is refused, and
# nothing of it is left.
in_memory=yes
. "$(dirname "$0")/common.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

scan_on() {
    local count=$1
    shift
    run mpirun --oversubscribe "${raw[@]}" -n "$count" "$jobs/scan" --format csv "$@"
}

# same WHAT TEXT TABLE QUERY...: both give the same answer
same() {
    local what=$1 text=$2 table=$3
    shift 3
    scan_on 1 "$@" "$text"
    expect_code 0 "$what, text"
    cp "$out" "$room/expected"
    [ "$(wc -l <"$out")" -gt 1 ] || fail "$what: no answer"
    for n in 1 3; do
        scan_on $n "$@" "$table"
        expect_code 0 "$what, shards on $n"
        cmp -s "$out" "$room/expected" || fail "$what, shards on $n: another answer than from text"
    done
}

echo "- flights: types, answers, a kill"
run "$cairn" data import --rows 20000 "$room/flights" "$top/data/flights"
expect_code 0 "import"
expect_text "$out" '^delay: f64|^delay: i64' "a column of numbers"
expect_text "$out" "^origin: text of up to [0-9]+ bytes: no number that is a double's: '" "a column of text"
expect_text "$out" "^$room/flights: 113493 rows in 6 shards, " "what was made"
run "$cairn" data check "$room/flights"
expect_code 0 "check"
expect_text "$out" '^whole: 113493 rows$' "check"
same "groups" "$top/data/flights" "$room/flights" --group-by origin,destination --agg 'count,sum(delay),mean(delay),max(delay),stddev(delay)'
same "one row" "$top/data/flights" "$room/flights" --agg 'count,sum(delay),min(delay),max(delay),mean(delay)'
same "a condition" "$top/data/flights" "$room/flights" --group-by origin --where "delay > 30 and origin != 'SFO'" --agg 'count,median(delay),approx_distinct(destination)'
query=(--group-by origin --agg 'count,sum(delay)')
scan_on 1 "${query[@]}" "$top/data/flights"
cp "$out" "$room/expected"
run "$cairn" run -n 3 --interval 0.1 --kill 1@50% --dir "$room/killed" -- "$jobs/scan" --format csv --read-rate 200K "${query[@]}" "$room/flights"
expect_code 0 "killed"
expect_text "$err" 'restarted from snapshot' "killed"
cmp -s "$out" "$room/expected" || fail "killed: another answer"

echo "- damage, missing shards, replicas"
cp -r "$room/flights" "$room/other"
shard=$room/flights/shard-000002.h5
cp "$shard" "$room/good.h5"
at=$(grep -abo 'SFO' "$shard" | sed -n '100s/:.*//p')
printf 'sFO' | dd of="$shard" bs=1 seek="$at" conv=notrunc status=none
run "$cairn" data check "$room/flights"
expect_code 65 "check of a damaged one"
expect_text "$out" "^$shard: .*checksum" "check of a damaged one"
expect_text "$out" '^.*shard-000003.h5: whole, 20000 rows$' "check of the others"
[ "$(grep -c ': whole, ' "$out")" -eq 5 ] || fail "check: not all others are whole"
scan_on 2 "${query[@]}" "$room/flights"
expect_code 3 "scan of a damaged one"
expect_text "$err" "^scan: $shard: column (origin|destination), rows [0-9]+ to [0-9]+: not as they were written \(checksum\)" "scan of a damaged one"
[ ! -s "$out" ] || fail "a damaged shard: an answer all the same"
for n in 1 3; do
    scan_on $n "${query[@]}" --replica "$room/other" "$room/flights"
    expect_code 0 "damaged, with a replica, on $n"
    expect_text "$err" "shard-000002.h5: column .*; reading $room/other/shard-000002.h5" "it is said on $n"
    cmp -s "$out" "$room/expected" || fail "damaged, with a replica, on $n: another answer"
done
rm "$shard"
scan_on 2 "${query[@]}" "$room/flights"
expect_code 3 "a missing shard"
expect_text "$err" "^scan: $shard: No such file" "a missing shard"
run "$cairn" data check --quiet "$room/flights"
expect_code 65 "check of a missing one"
expect_text "$out" "^$shard: " "check of a missing one"
scan_on 2 "${query[@]}" --replica "$room/other" "$room/flights"
expect_code 0 "missing, with a replica"
cmp -s "$out" "$room/expected" || fail "missing, with a replica: another answer"
head -c 100000 "$room/good.h5" >"$shard"
scan_on 2 "${query[@]}" "$room/flights"
expect_code 3 "a shard that was cut off"
expect_text "$err" "^scan: $shard: has 100000 bytes, but the catalogue says [0-9]+" "a shard that was cut off"
cp "$room/good.h5" "$shard"
cp "$room/good.h5" "$room/flights/shard-000001.h5"
run "$cairn" data check "$room/flights"
expect_code 65 "a shard in another's place"
cp "$room/other/shard-000001.h5" "$room/flights/"
run "$cairn" data check "$room/flights"
expect_code 0 "all is well again"
sed 's/"rows": 113493/"rows": 113492/' "$room/other/catalogue.json" >"$room/flights/catalogue.json"
scan_on 2 "${query[@]}" "$room/flights"
expect_code 3 "a catalogue that was changed"
expect_text "$err" 'catalogue.json: not a catalogue' "a catalogue that was changed"
run "$cairn" data check "$room/other/shard-000001.h5" "$0"
expect_code 65 "a file that is none"
expect_text "$out" 'shard-000001.h5: whole, 20000 rows' "a single shard"

echo "- rows of every kind: quotes, line breaks, empty fields, CRLF, no line feed at the end, compressed"
awk 'BEGIN {
    srand(5); n = split("plain|\"q,uoted\"|\"a \"\"b\"\"\"|\"two\nlines\"||0|-1.5|\"\"|1e3|\303\244\303\266|x\"y", words, "|")
    print "a,b,c,n"
    for (i = 0; i < 20000; i++)
        printf "%s,%s,%s,%s\n", words[int(rand() * n) + 1], words[int(rand() * n) + 1], words[int(rand() * n) + 1], int(rand() * 100) / 4
    printf "end,,,3"
}' >"$room/odd.csv"
sed 's/$/\r/' "$room/odd.csv" >"$room/crlf.csv"
gzip -k "$room/odd.csv"
for kind in odd.csv crlf.csv odd.csv.gz; do
    run "$cairn" data import --rows 7777 "$room/table-$kind" "$room/$kind"
    expect_code 0 "import of $kind"
    same "$kind" "$room/$kind" "$room/table-$kind" --group-by a,b,c --agg 'count,sum(n),min(n)'
done
printf 'k,v,m,z,w\n1,1.50,,007,12345678901234567890\n2,-0.1,3,1,1\n3,1e3,,2,2\n' >"$room/types.csv"
run "$cairn" data import "$room/types" "$room/types.csv"
expect_code 0 "types"
expect_text "$out" '^k: i64$' "whole numbers"
expect_text "$out" '^v: f64$' "numbers"
expect_text "$out" '^m: f64, 2 missing$' "missing ones"
expect_text "$out" "^z: text of up to 3 bytes: not as a number is printed: '007' in row 1 of .*types.csv" "zeros in front"
expect_text "$out" "^w: text of up to 20 bytes: no number that is a double's: '12345678901234567890'" "too many digits"
same "types" "$room/types.csv" "$room/types" --agg 'count,sum(k),sum(v),max(v),sum(m),sum(z),sum(w)'

echo "- tables without rows, and answers that become tables"
echo 'a,b' >"$room/header.csv"
run "$cairn" data import "$room/nothing" "$room/header.csv"
expect_code 0 "a header alone"
run "$cairn" data check "$room/nothing"
expect_text "$out" '^whole: 0 rows$' "a header alone"
same "no rows" "$room/header.csv" "$room/nothing" --agg 'count,sum(b),count(a)'
write() { # OPTIONS...: the answer as a table, and as text
    run mpirun "${raw[@]}" -n 2 "$jobs/scan" --format hdf5 --output "$room/answer.h5" "$@" "$top/data/flights"
    expect_code 0 "an answer as a table: $*"
    run "$cairn" data check "$room/answer.h5"
    expect_code 0 "an answer as a table: $*"
    scan_on 2 "$@" "$top/data/flights"
    cp "$out" "$room/expected"
    scan_on 2 --select '*' "$room/answer.h5"
    expect_code 0 "an answer as a table, read again: $*"
    cmp -s "$out" "$room/expected" || fail "an answer as a table: another one than as text: $*"
}
write --group-by origin,distance --agg 'count,mean(delay),sum(delay),stddev(delay),approx_distinct(destination)' --order-by 'sum(delay) desc' --limit 2000
write --select date,delay,origin --where "delay > 500"
write --agg 'count,min(delay)'
write --group-by origin --where "delay > 1e9"
scan_on 2 --format hdf5 "$top/data/flights"
expect_code 3 "hdf5 without --output"

echo "- what is refused, and leaves nothing"
refused() {
    local code=$1 pattern=$2
    shift 2
    run "$cairn" data import "$@"
    expect_code "$code" "$pattern"
    expect_text "$err" "$pattern" "$pattern"
    [ ! -e "$room/none" ] || fail "$pattern: something is left: $(ls "$room/none")"
}
printf 'a,b\n1,2\n3,4,5\n' >"$room/many.csv"
refused 3 "^cairn: data import: $room/many.csv: row 2 has 3 fields, but the header has 2$" "$room/none" "$room/many.csv"
printf 'a,b\n1,"2\n3,4\n' >"$room/open.csv"
refused 3 "open.csv: row 1: its quotes never end$" "$room/none" "$room/open.csv"
printf 'a,a\n1,2\n' >"$room/twice.csv"
refused 3 'columns 1 and 2 are both named a$' "$room/none" "$room/twice.csv"
printf 'a/b,c\n1,2\n' >"$room/slash.csv"
refused 3 "column 1: 'a/b' cannot be the name of a dataset$" "$room/none" "$room/slash.csv"
printf 'a,b\n1,x\0y\n' >"$room/zero.csv"
refused 3 'zero.csv: row 1, column b: a text of 3 bytes with a zero among them$' "$room/none" "$room/zero.csv"
{ echo a,b && head -c 5000 /dev/zero | tr '\0' x && echo ,1; } >"$room/long.csv"
refused 3 'long.csv: row 1, column a: a text of 5000 bytes, too long for a column$' "$room/none" "$room/long.csv"
refused 3 "shard-000001.h5: is HDF5 already$" "$room/none" "$room/other/shard-000001.h5"
refused 1 'gone.csv: No such file' "$room/none" "$room/gone.csv"
refused 2 'import needs FOLDER' "$room/none"
run "$cairn" data import "$room/types" "$room/types.csv"
expect_code 3 "a table that is there"
expect_text "$err" "types: there is a table already$" "a table that is there"
run "$cairn" data check "$room/types"
expect_code 0 "and it is as it was"

if [ "$(id -u)" -eq 0 ] && mkdir "$room/small" && mount -t tmpfs -o size=3m none "$room/small" 2>/dev/null; then
    run "$cairn" data import --rows 20000 "$room/small/table" "$top/data/flights"
    expect_code 73 "a full disk"
    expect_text "$err" 'shard-00000[0-9].h5.*No space left|No space left' "a full disk"
    [ -z "$(ls -A "$room/small")" ] || fail "a full disk: something is left: $(ls -R "$room/small")"
    umount "$room/small"
else
    echo "SKIPPED: a full disk (no file system can be mounted here)"
fi
report
