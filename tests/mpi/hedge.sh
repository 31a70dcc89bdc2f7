#!/usr/bin/env bash
# timeout: 240
# The last blocks of a scan are read a second time: a process that stands still with blocks in hand costs no answer and no time but
# its own; and a kill while blocks are read twice counts no row twice, on as many processes, fewer and more.
in_memory=yes
. "$(dirname "$0")/common.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
query=(--format csv --group-by origin,destination --agg 'count,sum(delay),approx_distinct(distance)' --where 'distance > 200')

run mpirun --oversubscribe "${raw[@]}" -n 1 "$jobs/scan" "${query[@]}" "$top/data/flights"
expect_code 0 "undisturbed"
cp "$out" "$room/expected"

# Bytes that these processes have read.
read_by() {
    local sum=0 p bytes
    for p in "$@"; do
        bytes=$(awk '/^rchar/ { print $2 }' "/proc/$p/io" 2>/dev/null)
        sum=$((sum + ${bytes:-0}))
    done
    echo "$sum"
}

# The others have nothing left to read when they have read nothing for a second.
others_rest() {
    local now
    now=$(read_by "${others[@]}")
    if [ "$now" != "$last" ]; then
        last=$now
        calm=0
    fi
    calm=$((calm + 1))
    [ $calm -ge 50 ]
}

for stopped in 3 1; do
    echo "- process $stopped of 4 stands still until the others have read all"
    begin "$cairn" run --quiet --dir "$room/dir$stopped" --interval off -n 4 -- "$jobs/scan" --read-rate 300K "${query[@]}" "$top/data/flights"
    begun() { [ "$(ranks_of "$pid" 2>/dev/null | wc -l)" -ge 4 ] && [ -s "$room/dir$stopped/status/process-00000$stopped" ]; }
    until_true 60 begun || fail "it did not begin"
    victim=$(sed -n 's/.* pid \([0-9]*\) .*/\1/p' "$room/dir$stopped/status/process-00000$stopped")
    mapfile -t others < <(ranks_of "$pid" | grep -vx "$victim")
    reads_some() { [ "$(read_by "$victim")" -gt 200000 ]; }
    until_true 60 reads_some || fail "process $stopped reads nothing"
    kill -STOP "$victim"
    last=0 calm=0
    until_true 120 others_rest || fail "the others do not come to an end"
    kill -CONT "$victim"
    finish
    expect_code 0 "process $stopped stood still"
    cmp -s "$out" "$room/expected" || fail "process $stopped stood still: another answer"
    expect_text "$err" '; [1-9][0-9]* blocks? read a second time at the end, [0-9]+ of them in vain' "process $stopped stood still"
    [ "$(sed -nE 's/.*; ([0-9]+) blocks? read a second time at the end, ([0-9]+) of them in vain.*/\1 \2/p' "$err" | awk '{ print ($1 > $2) }')" = 1 ] ||
        fail "process $stopped stood still: all was read in vain"
done

for at in 90 96 99; do
    for counts in "3 3" "3 2" "2 4"; do
        read -r before after <<<"$counts"
        rm -rf "$room/dir"
        run "$cairn" run --quiet --dir "$room/dir" --interval 0 --restarts 0 --kill "1@$at%" -n "$before" -- "$jobs/scan" --read-rate 1M "${query[@]}" "$top/data/flights"
        [ "$code" -ne 0 ] || continue # its kill came too late
        run "$cairn" run --quiet --dir "$room/dir" --interval 0 -n "$after" -- "$jobs/scan" --read-rate 1M "${query[@]}" "$top/data/flights"
        expect_code 0 "killed at $at % on $before, then $after"
        cmp -s "$out" "$room/expected" || fail "killed at $at % on $before, then $after: another answer"
    done
done
report
