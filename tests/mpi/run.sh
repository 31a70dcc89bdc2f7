#!/usr/bin/env bash
# timeout: 240
# cairn run: exit statuses, what is restarted and what is not, lost mpirun, hang, stop and go on, one run a folder.
. "$(dirname "$0")/common.sh"

fake=$tools/program_fake
dir=$room/dir

fresh() {
    rm -rf "$dir"
}

echo "- a job that ends well"
fresh
run "$cairn" run --dir "$dir" -n 2 -- "$fake"
expect_code 0 "a healthy job"
expect_text "$out" '^fake: 20 steps$' "its output"
expect_no_text "$err" 'restart 1' "a healthy job"
[ ! -e "$dir/status" ] || fail "DIR/status is still there after the end"

echo "- output passes through untouched"
fresh
head -c 300000 /dev/urandom >"$room/bytes"
run "$cairn" run --dir "$dir" -n 1 -- cat "$room/bytes"
expect_code 0 "cat"
cmp -s "$room/bytes" "$out" || fail "the job's output was changed"

echo "- the job's stderr passes, mpirun's does not"
fresh
run "$cairn" run --dir "$dir" -n 2 -- "$fake" --at 3 1 rules
expect_text "$err" '^-{74}$' "a rule of the job"
expect_text "$err" '^a table$' "a line of the job behind a rule"
expect_text "$err" '^\[vm\] no number$' "a bracket of the job"
expect_text "$err" '^no end of line' "an unfinished line"
fresh
run "$cairn" run --dir "$dir" -n 2 -- "$fake" --at 3 1 signal:9
expect_no_text "$err" 'mpirun|-----|\[.*:[0-9]+\]' "mpirun's noise"
expect_text "$dir/log/mpirun.log" 'noticed that process rank 1' "the log"
expect_text "$dir/log/mpirun.log" '^== launch 1' "the log"

echo "- the job's own failure is passed on and not restarted"
for how in exit:3 abort:3; do
    fresh
    run "$cairn" run --dir "$dir" -n 2 -- "$fake" --at 3 1 $how
    expect_code 3 "$how"
    expect_no_text "$err" 'restart 1' "$how"
    expect_text "$err" 'process 1 ended with exit status 3' "$how"
done
fresh
run "$cairn" run --dir "$dir" -n 2 -- "$fake" --no-such-option
expect_code 3 "wrong arguments of the job"
expect_no_text "$err" 'restart 1' "wrong arguments of the job"
fresh
run "$cairn" run --dir "$dir" -n 2 -- "$room/nowhere"
expect_code 2 "no such program"
expect_text "$err" "$room/nowhere" "no such program"

echo "- what a restart may help is restarted"
while read -r how pattern; do
    fresh
    run "$cairn" run --dir "$dir" -n 2 -- "$fake" --at 3 1 "$how"
    expect_code 0 "$how"
    expect_text "$err" "$pattern; restart 1 of 10; no snapshot was committed yet: starting from the beginning" "$how"
    expect_text "$out" '^fake: 20 steps$' "$how"
done <<'CASES'
signal:9 process 1 was killed \(signal 9\)
signal:11 process 1 crashed \(signal 11.*\)
exit:75 process 1 gave up \(exit status 75.*\)
CASES
fresh
run "$cairn" run --dir "$dir" -n 2 -- "$fake" --before signal:9
expect_code 0 "killed before it joined"

echo "- killed when the answer is out: no second answer"
fresh
run "$cairn" run --dir "$dir" -n 3 -- "$fake" --late
expect_code 0 "killed at the end"
expect_text "$err" 'process 1 was killed \(signal 9\), but the job had ended by then' "killed at the end"
[ "$(wc -l <"$out")" -eq 1 ] || fail "killed at the end: the answer is not there once"

echo "- hang"
fresh
run "$cairn" run --dir "$dir" -n 3 --hang-timeout 1 -- "$fake" --at 5 2 hang
expect_code 0 "hang"
expect_text "$err" 'no progress for 1 s: process 2 \(.*\) stood still at step 4; restart 1' "hang"

echo "- gives up"
fresh
run "$cairn" run --dir "$dir" -n 2 --restarts 2 -- "$fake" --at 3 1 signal:9 --always
expect_code 69 "gives up"
expect_text "$err" 'still failing after 2 restarts' "gives up"
expect_text "$err" "to go on: cairn run --dir $dir -n 2 --restarts 2 -- $fake" "gives up"
[ "$(grep -c 'launch [0-9]: process 1 was killed' "$err")" -eq 3 ] || fail "gives up: three failures are not told"
fresh
run "$cairn" run --dir "$dir" -n 2 --restarts 0 -- "$fake" --at 3 1 signal:9
expect_code 69 "no restart allowed"

echo "- mpirun is killed, or stands still while a process dies"
fresh
begin "$cairn" run --dir "$dir" -n 3 -- "$fake" --ms 50
until_true 10 test -s "$dir/status/process-000002" || fail "no sign of life"
kill -KILL "$(mpirun_of "$pid")"
finish
expect_code 0 "mpirun killed"
expect_text "$err" 'mpirun was killed \(signal 9\); restart 1' "mpirun killed"
fresh
begin "$cairn" run --dir "$dir" -n 3 -- "$fake" --ms 50 --steps 40
until_true 10 test -s "$dir/status/process-000002" || fail "no sign of life"
rank=$(ranks_of "$pid" | tail -n 1)
kill -STOP "$(mpirun_of "$pid")"
kill -KILL "$rank"
finish
expect_code 0 "mpirun stopped"
expect_text "$err" 'died and mpirun did not notice; restart 1' "mpirun stopped"

echo "- one run a folder; a killed supervisor takes its launch along"
fresh
begin "$cairn" run --dir "$dir" -n 3 -- "$fake" --ms 50 --steps 100
until_true 10 test -s "$dir/status/process-000002" || fail "no sign of life"
first=$pid
ranks=$(ranks_of "$pid")
timeout 20 "$cairn" run --dir "$dir" -n 2 -- "$fake" 2>"$room/second" >/dev/null
[ $? -eq 2 ] || fail "a second run in one folder was not refused"
expect_text "$room/second" "$dir: another .cairn run. is at work here \(process [0-9]+ on" "a second run"
kill -KILL "$first"
wait "$first" 2>/dev/null
run "$cairn" run --dir "$dir" -n 3 -- "$fake" --ms 50 --steps 100
expect_code 0 "going on after a killed supervisor"
expect_text "$err" 'going on with the unfinished run' "going on after a killed supervisor"
for rank in $ranks; do
    [ ! -e "/proc/$rank" ] || fail "a rank of the killed supervisor lives on"
done

echo "- SIGUSR1 takes a snapshot, SIGTERM stops, the same command goes on"
bank=("$jobs/bank" --transfers 10000 --work 400) # lasts as long on a busy machine as on an idle one, and longer than two snapshots
fresh
run "$cairn" run --dir "$dir" -n 2 --interval off -- "${bank[@]}"
expect_code 0 "bank, undisturbed"
cp "$out" "$room/expected"
fresh
begin "$cairn" run --dir "$dir" -n 2 --interval off -- "${bank[@]}"
until_true 20 grep -q 'phase running.* done [1-9]' "$dir/status/process-000001" || fail "bank does not run"
kill -USR1 "$pid"
until_true 20 has_committed "$dir" || fail "SIGUSR1: no snapshot was committed"
first=$(committed "$dir")
kill -TERM "$pid"
finish
expect_code 85 "SIGTERM"
expect_text "$err" "to go on from it: cairn run --dir $dir -n 2 --interval off -- " "SIGTERM"
[ "$(committed "$dir")" \> "$first" ] || fail "SIGTERM: no last snapshot was taken"
run "$cairn" run --dir "$dir" -n 3 --interval off -- "$jobs/heat" --size 100
expect_code 2 "other arguments"
expect_text "$err" '--start-over' "other arguments"
run "$cairn" run --dir "$dir" -n 2 --interval off -- "${bank[@]}"
expect_code 0 "going on"
expect_text "$err" 'restarted from snapshot' "going on"
cmp -s "$out" "$room/expected" || fail "going on: another answer"
run "$cairn" run --dir "$dir" -n 2 --interval off -- "${bank[@]}"
expect_code 0 "after the end"
expect_no_text "$err" 'restarted from|going on' "after the end a new run begins"

echo "- a run.json that is missing beside committed snapshots, output that cannot be written, a wrong environment"
[ -n "$(committed "$dir")" ] || fail "no snapshot was left by the run before"
mv "$dir/run.json" "$room/run.json"
run "$cairn" run --dir "$dir" -n 2 --interval off -- "${bank[@]}"
expect_code 66 "run.json is missing"
expect_text "$err" 'run.json is missing' "run.json is missing"
CAIRN_DIR=$dir OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 run mpirun --oversubscribe -n 2 "${bank[@]}"
expect_code 66 "run.json is missing, plain mpirun"
fresh
show=$err
timeout 60 "$cairn" run --dir "$dir" -n 2 --interval off -- "$jobs/scan" --group-by origin "$top/data/flights" \
    >/dev/full 2>"$err" </dev/null
code=$?
expect_code 74 "standard output is full"
expect_text "$err" 'standard output' "standard output is full"
mkfifo "$room/fifo"
timeout 60 cat "$room/fifo" >"$room/read" &
started+=("$!")
fresh
run "$cairn" run --dir "$dir" -n 2 --interval off -- "$jobs/scan" --output "$room/fifo" "$top/data/flights"
expect_code 0 "scan --output to a FIFO"
[ -p "$room/fifo" ] || fail "scan --output replaced a FIFO"
fresh
CAIRN_CLOCK=vektor run "$cairn" run --dir "$dir" -n 2 -- "$jobs/heat" --size 40 --steps 5
expect_code 1 "a wrong CAIRN_CLOCK"
expect_text "$err" 'CAIRN_CLOCK' "a wrong CAIRN_CLOCK"

echo "- a stop that takes too long"
fresh
begin "$cairn" run --dir "$dir" -n 2 --grace 0.5 -- "$fake" --at 5 1 hang
until_true 10 grep -q 'step 4 ' "$dir/status/process-000001" || fail "fake does not run"
kill -TERM "$pid"
finish
expect_code 85 "grace time over"
expect_text "$err" 'killed before a last snapshot was committed' "grace time over"

echo "- a wish, and a death, while all begin"
begin env CAIRN_RUN=0123456789abcdef "$jobs/bank" --transfers 10 # alone, without mpirun
in_mpi() {
    [ "$(cat "/proc/$pid/comm")" = bank ] && [ "$(find "/proc/$pid/task" -maxdepth 1 -mindepth 1 | wc -l)" -gt 1 ]
}
until_true 20 in_mpi || give_up "a wish: bank does not begin"
kill -USR1 "$pid"
finish
[ "$code" -ne $((128 + 10)) ] || fail "a wish while MPI begins ends the process"
rm -rf "$dir"
begin "$cairn" run --dir "$dir" -n 2 --interval off --spares 1 -- "$jobs/bank" --transfers 1000 --work 100
until_true 20 test -s "$dir/status/process-000000" || give_up "a death: process 0 does not begin"
kill -KILL "$(ranks_of "$pid" | sort -n | tail -n 1)" # one without a process: those with one would wait for it for ever
finish
expect_code 0 "a death while all begin"

echo "- wrong usage"
for options in "-n 0" "--kill 2@1" "--kill 1@x" "--kill 1@101%" "--interval never" "--restarts -1" "--keep 0" "--nonsense"; do
    # shellcheck disable=SC2086
    run "$cairn" run -n 2 $options --dir "$dir" -- "$fake"
    expect_code 2 "$options"
done
run "$cairn" run -n 2
expect_code 2 "no job"
run "$cairn" run --help
expect_code 0 "--help"
expect_text "$out" '--hang-timeout' "--help"

report
