#!/usr/bin/env bash
# timeout: 400
# alone
# Survive mode: processes of a scan are killed, the others finish the read without a restart, and the answer is the
# same, once. What cannot survive is restarted as ever.
#
#   survive.sh [SEED [TRIALS]]      default: 7 trials at random after the fixed ones
in_memory=yes
. "$(dirname "$0")/common.sh"
seed=${1:-1}
RANDOM=$seed
data=$room/stations
query=(--format csv --group-by station --agg 'count,mean(temperature),min(temperature),max(temperature)')
mkdir "$data"
"$jobs/stations" --rows 1400000 --files 3 --seed "$seed" "$data" || fail "stations"
scan=("$jobs/scan" "${query[@]}" --read-rate 6M --block-size 100K "$data")
run "$cairn" run -n 2 --dir "$room/plain" -- "$jobs/scan" "${query[@]}" "$data"
expect_code 0 "undisturbed"
cp "$out" "$room/expected.csv"

same() {
    cmp -s "$out" "$room/expected.csv" || fail "$1: another answer, or not once"
}

# survive COUNT KILLS: without a restart. The kills are as of --kill.
survive() {
    local what="$1 processes, killed $2"
    run "$cairn" run --survive -n "$1" --kill "$2" --dir "$room/survive" -- "${scan[@]}"
    expect_code 0 "$what"
    same "$what"
    expect_text "$err" 'done in .* 0 restarts' "$what"
    expect_text "$err" 'is lost; the others go on; no more snapshots in this launch' "$what"
    expect_text "$err" '(was|were) lost, and read by the others' "$what"
    expect_no_text "$err" 'PMIX|MPI_ABORT|errno|mpirun' "$what"
    rm -rf "$room/survive"
}

echo "- nobody dies"
run "$cairn" run --survive -n 4 --dir "$room/survive" -- "$jobs/scan" "${query[@]}" "$data"
expect_code 0 "nobody dies"
same "nobody dies"
expect_no_text "$err" 'lost' "nobody dies"
rm -rf "$room/survive"

echo "- the last, the one that collects, two at once"
survive 2 1@50%
survive 4 3@30%
survive 4 0@60%
survive 8 0@95%
survive 5 0@40%,1@40%
survive 8 7@20%,3@20%

echo "- at random"
for _ in $(seq "${2:-7}"); do
    count=$((3 + RANDOM % 6))
    victim=$((RANDOM % count))
    kills=$victim@$((RANDOM % 100))%
    if [ "$count" -ge 5 ] && [ $((RANDOM % 2)) -eq 0 ]; then
        kills+=,$(((victim + 1 + RANDOM % (count - 1)) % count))@$((RANDOM % 100))%
    fi
    survive "$count" "$kills"
done

echo "- quoted line breaks that the sample does not show"
awk 'BEGIN { print "k,v,t"; for (i = 0; i < 40000; i++)
    if (i > 8000 && i % 3 == 0) printf "g%d,%d,\"line\none, \"\"two\"\"\n\nthree\"\n", i % 2, i
    else printf "g%d,%d,plain text\n", i % 2, i }' >"$room/late.csv"
printf 'k,count,sum(v)\ng0,20000,399980000\ng1,20000,400000000\n' >"$room/late.txt"
for kill in 0@30% 2@70%; do
    run "$cairn" run --survive -n 3 --kill "$kill" --dir "$room/late" -- \
        "$jobs/scan" --format csv --read-rate 200K --group-by k --agg 'count,sum(v)' "$room/late.csv"
    expect_code 0 "late line breaks, killed $kill"
    cmp -s "$out" "$room/late.txt" || fail "late line breaks, killed $kill: another answer"
    expect_text "$err" 'begun anew 1 time' "late line breaks, killed $kill"
    expect_text "$err" 'done in .* 0 restarts' "late line breaks, killed $kill"
    rm -rf "$room/late"
done

echo "- input that cannot be read ends all"
cp -r "$data" "$room/gone"
slow=("$jobs/scan" "${query[@]}" --read-rate 2M --block-size 100K)
begin "$cairn" run --survive -n 3 --dir "$room/error" -- "${slow[@]}" "$room/gone"
until_true 20 grep -q running "$room/error/status/process-000002"
sleep 1
rm "$room"/gone/*3.csv
finish
expect_code 3 "a file is gone"
expect_text "$err" '^scan: .*: No such file' "a file is gone"
[ "$(grep -c '^scan: ' "$err")" -eq 1 ] || fail "a file is gone: said more than once"

echo "- too many die: a restart from the snapshot, which a launch without --survive can go on from, too"
run "$cairn" run --survive -n 3 --interval 0.2 --kill 1@60%,2@60% --dir "$room/many" -- "${scan[@]}"
expect_code 0 "too many"
same "too many"
expect_text "$err" 'too few are left to agree on it; restart 1' "too many"
expect_text "$err" 'restarted from snapshot' "too many"
run "$cairn" run --survive -n 3 --interval 0.2 --restarts 0 --kill 0@50%,1@50% --dir "$room/mixed" -- "${scan[@]}"
expect_code 69 "3 with --survive"
run "$cairn" run -n 3 --interval 0.1 --restarts 0 --kill 1@75% --dir "$room/mixed" -- "${scan[@]}"
expect_code 69 "3 without"
expect_text "$err" 'going on with the unfinished run' "3 without"
run "$cairn" run --survive -n 4 --interval off --kill 3@90% --dir "$room/mixed" -- "${scan[@]}"
expect_code 0 "4 with --survive again"
same "4 with --survive again"

echo "- stopped on request after process 0 was lost"
begin "$cairn" run --survive -n 3 --interval 0.2 --kill 0@40% --dir "$room/stop" -- "${scan[@]}"
until_true 20 grep -q ' lost 1 ' "$room/stop/status/process-000001" || fail "stop: nobody was lost"
kill -TERM "$pid"
finish
expect_code 85 "stop"
run "$cairn" run --survive -n 3 --dir "$room/stop" -- "${scan[@]}"
expect_code 0 "stop, and on"
same "stop, and on"
expect_text "$err" 'restarted from snapshot' "stop, and on"

echo "- a job that is not made for it"
heat=("$jobs/heat" --size 240 --steps 500 --work 2000)
run "$cairn" run -n 4 --dir "$room/heat" -- "${heat[@]}"
cp "$out" "$room/heat.txt"
rm -rf "$room/heat"
run "$cairn" run --survive -n 4 --interval 0.1 --kill 2@60% --dir "$room/heat" -- "${heat[@]}"
expect_code 0 "heat"
cmp -s "$out" "$room/heat.txt" || fail "heat: another answer"
expect_text "$err" 'process 2 is lost' "heat"
expect_text "$err" 'restart 1 of' "heat"

report
