#!/usr/bin/env bash
# timeout: 240
# alone
# Silence of a job is not silence of its process: who computes for long without a call is not lost, on a busy machine
# either; who is killed is, at once; who is stopped is, after a while.
#
#   silent.sh [SECONDS]     of computing (default 5)
. "$(dirname "$0")/common.sh"
seconds=${1:-5}
limit=$((${seconds%.*} * 4 + 60))
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

echo "- computes for $seconds s without a call, 6 processes"
run "$cairn" run --survive -n 6 --interval off --dir "$room/run" -- "$tools/program_compute" 6 "$seconds"
rm -rf "$room/run"
expect_code 0 "computing"
[ "$(grep -c '^compute: process [0-9]*, 0 failures' "$out")" -eq 6 ] || fail "computing: not all came to their end"
expect_no_text "$err" 'lost' "computing"

# The process id of process $1, from its sign of life.
pid_of() {
    sed -n 's/.* pid \([0-9]*\) .*/\1/p' "$room/run/status/process-00000$1"
}

all_run() {
    [ "$(cat "$room"/run/status/process-* | grep -c 'phase running')" -eq 4 ]
}


for signal in KILL STOP; do
    echo "- SIG$signal to one that computes"
    begin "$cairn" run --survive -n 4 --interval off --dir "$room/run" -- "$tools/program_compute" 4 10
    until_true 30 all_run || fail "SIG$signal: the job does not run"
    sleep 2
    begun=$EPOCHREALTIME
    victim=$(pid_of 2)
    kill -"$signal" "$victim"
    until_true 10 grep -q 'process 2 is lost' "$err" || fail "SIG$signal: not noticed"
    took=$(awk -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f", b - a }')
    echo "  noticed after $took s"
    kill -CONT "$victim" 2>/dev/null # it ends by itself when it hears that it is lost
    finish
    rm -rf "$room/run"
done
report
