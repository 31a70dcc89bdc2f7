#!/usr/bin/env bash
# timeout: 180
# cairn stop: a run is told to stop for good, by a file in DIR; who obeys an old wish and who does not; one run makes room for another;
# what cairn run takes from a Slurm allocation.
. "$(dirname "$0")/common.sh"
dir=$room/dir
unset "${!SLURM_@}"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
job=("$jobs/bank" --accounts 10 --transfers 2000 --work 10000)
go=("$cairn" run --dir "$dir" -n 2 --interval 0.3)

stop() {
    timeout 60 "$cairn" stop "$@" >"$room/stop.out" 2>"$room/stop.err"
    code=$?
    show=$room/stop.err
}

# The same as begin, until it has gone on from a snapshot, or has taken one.
started() {
    local old
    old=$(committed "$dir")
    begin "$@"
    if [ -n "$old" ]; then
        until_true 30 grep -q 'restarted from snapshot' "$err" || fail "it does not go on"
    else
        until_true 30 has_committed "$dir" || fail "no snapshot"
    fi
}

echo "- wrong usage"
stop
expect_code 2 "no DIR"
stop --timeout -1 "$dir"
expect_code 2 "a timeout below 0"
stop "$room/nowhere"
expect_code 1 "no such folder"
expect_text "$room/stop.err" "^cairn: stop: $room/nowhere: " "no such folder"
stop "$room"
expect_code 1 "a folder without a run"
[ ! -e "$room/stop" ] || fail "a wish was left in a folder without a run"
stop --help
expect_code 0 "--help"

echo "- a run is told to stop"
started "${go[@]}" -- "${job[@]}"
stop "$dir"
expect_code 0 "stop"
expect_text "$room/stop.out" 'stopped after [0-9.]* s; the newest committed snapshot is [0-9]' "stop"
finish
expect_code 85 "the run"
expect_text "$err" 'told to stop for good, by `cairn stop` \(process [0-9]* on .*\)' "the run"
expect_text "$err" 'stopped for good; the newest committed snapshot is [0-9]*; to go on from it:' "the run"
[ -e "$dir/stop" ] || fail "the wish went away with the run: a batch script would not know"

echo "- the wish counts for a job that Slurm restarts, or that was queued then, and for no other"
SLURM_JOB_ID=7 SLURM_RESTART_COUNT=1 run "${go[@]}" -- "${job[@]}"
expect_code 85 "restarted by Slurm"
expect_text "$err" 'was told to stop for good, by `cairn stop` \(.*\): not started' "restarted by Slurm"
run "${go[@]}" --obey-stop -- "${job[@]}"
expect_code 85 "--obey-stop"
newest=$(committed "$dir")
SLURM_JOB_ID=7 begin "${go[@]}" -- "${job[@]}"
until_true 30 grep -q 'restarted from snapshot' "$err" || fail "a start that was meant does not run"
expect_text "$err" 'an old wish of `cairn stop` .* is cleared: this start was meant' "a start that was meant"
[ ! -e "$dir/stop" ] || fail "the old wish is still there"
[[ $(committed "$dir") > $newest ]] || until_true 20 test -d "$dir/snapshots/$(printf %06d $((10#$newest + 1)))" || fail "it does not go on"

echo "- any file is a wish, and 0 s is not to wait"
touch "$dir/stop"
finish
expect_code 85 "touch DIR/stop"
expect_text "$err" 'by `cairn stop` \(somebody\)' "touch DIR/stop"
started "${go[@]}" -- "${job[@]}"
stop --timeout 0 "$dir"
expect_code 0 "--timeout 0"
expect_text "$room/stop.out" 'told to stop \(process [0-9]* on ' "--timeout 0"
finish
expect_code 85 "--timeout 0"

echo "- nobody runs; the wish is taken back"
stop "$dir"
expect_code 0 "nobody runs"
expect_text "$room/stop.out" 'nobody runs here; a job that is queued' "nobody runs"
stop --withdraw "$dir"
expect_code 0 "--withdraw"
[ ! -e "$dir/stop" ] || fail "--withdraw left it"
stop --withdraw "$dir"
expect_text "$room/stop.out" 'there was no wish' "--withdraw twice"
SLURM_JOB_ID=7 SLURM_RESTART_COUNT=1 started "${go[@]}" -- "${job[@]}"

echo "- too slow to stop: the wish stays"
kill -STOP "$pid"
stop --timeout 0.5 "$dir"
expect_code 75 "a timeout"
expect_text "$room/stop.err" 'still running after 0.5 s \(process' "a timeout"
kill -CONT "$pid"
finish
expect_code 85 "a timeout"
rm "$dir/stop"

echo "- SIGUSR2 stops, and never kills"
begin "${go[@]}" -- "${job[@]}"
until_true 10 grep -q "process $pid " "$dir/lock"
kill -USR2 "$pid" # perhaps before anything runs
until_true 30 grep -q 'stopping after a last snapshot' "$err" || fail "SIGUSR2 does not stop"
kill -USR2 "$pid" 2>/dev/null
finish
expect_code 85 "SIGUSR2"
expect_no_text "$err" 'killed before' "SIGUSR2"
[ ! -e "$dir/stop" ] || fail "SIGUSR2 left a wish"

echo "- SIGTERM to a process, where it is a wish: a last snapshot; and the end of one that does not react"
pid_of() {
    sed -n 's/.* pid \([0-9]*\) .*/\1/p' "$dir/status/process-00000$1"
}
all_run() {
    [ "$(cat "$dir"/status/process-* | grep -c 'phase running')" -eq 2 ]
}
rm -rf "$dir"
CAIRN_TERM=60 begin "$cairn" run --dir "$dir" -n 2 --interval off -- "${job[@]}"
until_true 30 all_run || fail "SIGTERM: it does not run"
kill -TERM "$(pid_of 1)"
finish
expect_code 85 "SIGTERM"
has_committed "$dir" || fail "SIGTERM: no last snapshot"
rm -rf "$dir"
CAIRN_TERM=0.2 begin "$cairn" run --survive --dir "$dir" -n 2 --interval off -- "$tools/program_compute" 2 5
until_true 30 all_run || fail "SIGTERM to one that computes: it does not run"
kill -TERM "$(pid_of 1)"
until_true 30 grep -q 'process 1 is lost' "$err" || fail "SIGTERM to one that computes: it lives"
finish
rm -rf "$dir"

echo "- another launch has begun in DIR meanwhile, as when this one's host had been cut off: it ends, and writes nothing more there"
CAIRN_DIR=$dir CAIRN_INTERVAL=0.3 begin mpirun "${raw[@]}" --oversubscribe -n 2 "${job[@]}"
until_true 30 has_committed "$dir" || fail "superseded: no snapshot"
sed -i 's/"launches": *1/"launches": 2/' "$dir/run.json"
finish
[ "$code" -ne 0 ] || fail "superseded: it came to its end"
expect_text "$err" 'process [01]: launch 0 of .* is over, another one has begun: this process ends' "superseded"
rm -rf "$dir"

echo "- one run makes room for another"
started "${go[@]}" -- "${job[@]}"
first=$pid first_err=$room/first.err
cp "$err" "$first_err"
run "${go[@]}" -- "${job[@]}"
expect_code 2 "without --take-over"
expect_text "$err" 'another `cairn run` is at work here' "without --take-over"
out=$room/out2 err=$room/err2
"${go[@]}" --take-over 30 -- "$jobs/bank" --accounts 10 --transfers 2000 --work 10000 >"$room/out2" 2>"$room/err2" &
second=$!
started+=("$second")
pid=$first
finish
expect_code 85 "the one that makes room"
show=$room/err2
until_true 30 grep -q 'restarted from snapshot' "$room/err2" || fail "the other does not go on"
expect_text "$room/err2" 'another `cairn run` is at work in .*: it is asked to stop' "the other"
[ ! -e "$dir/stop" ] || fail "the request to make room is still there"
pid=$second
kill -TERM "$pid"
finish
expect_code 85 "the other"

echo "- a run that is done"
rm -rf "$dir"
run "${go[@]}" -- "$jobs/bank" --accounts 10 --transfers 10
expect_code 0 "done"
stop "$dir"
expect_code 0 "done"
expect_text "$room/stop.out" 'nothing to stop: the run is done' "done"
[ ! -e "$dir/stop" ] || fail "done: a wish was left"

echo "- Slurm's allocation"
run "$cairn" run --launcher srun --dir "$dir" -- "${job[@]}"
expect_code 2 "srun outside of an allocation"
expect_text "$err" 'not in a Slurm allocation' "srun outside of an allocation"
export SLURM_JOB_ID=7
SLURM_JOB_NODELIST='a[1-' run "${go[@]}" -- "${job[@]}"
expect_code 2 "a list of hosts that is none"
expect_text "$err" "SLURM_JOB_NODELIST: 'a?\[1-" "a list of hosts that is none"
SLURM_JOB_NODELIST='a[1-2]' SLURM_TASKS_PER_NODE='2(x3)' run "${go[@]}" -- "${job[@]}"
expect_code 2 "tasks of other hosts"
expect_text "$err" "SLURM_TASKS_PER_NODE: '2\(x3\)' are not the tasks of 2 hosts" "tasks of other hosts"
SLURM_JOB_NODELIST=a run "${go[@]}" --launcher srun --survive -- "${job[@]}"
expect_code 2 "srun and --survive"

echo "- a crash under srun before anybody has joined is tried again, but not for ever"
mkdir "$room/fake"
cat >"$room/fake/srun" <<'SRUN'
#!/usr/bin/env bash
[ "$1" != --mpi=list ] || { echo pmix; exit; }
echo "launch" >>"$CRASHES"
if [ "$(wc -l <"$CRASHES")" -le "$CRASH" ]; then
    echo "srun: error: a: task 0: Segmentation fault (core dumped)" >&2
    exit 139
fi
while [[ $1 != /* ]]; do shift; done
unset "${!SLURM_@}"
exec mpirun --oversubscribe -n 2 "$@"
SRUN
chmod +x "$room/fake/srun"
export CRASHES=$room/crashes SLURM_JOB_NODELIST=a
rm -rf "$dir"
CRASH=1 PATH=$room/fake:$PATH run "${go[@]}" --launcher srun -- "$jobs/bank" --accounts 10 --transfers 10
expect_code 0 "one crash"
expect_text "$err" 'process 0 crashed \(signal 11.*\); restart 1 of' "one crash"
rm -rf "$dir" "$CRASHES"
CRASH=100 PATH=$room/fake:$PATH run "${go[@]}" --launcher srun -- "$jobs/bank" --accounts 10 --transfers 10
expect_code 139 "crashes again and again"
[ "$(wc -l <"$CRASHES")" -eq 4 ] || fail "crashes again and again: $(wc -l <"$CRASHES") launches"
report
