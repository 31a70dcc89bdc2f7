#!/usr/bin/env bash
# timeout: 240
# alone
# A process is killed and the others go on: messages, collectives, serving, snapshots, leaving.
in_memory=yes
. "$(dirname "$0")/common.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# Not mpirun alone: with a dead process it does not always end.
lose() {
    local count=$1 name=$2 victim=$3 said
    run "$cairn" run --survive -n "$count" --interval 0 --dir "$room/run" -- \
        "$tools/program_lost" "$count" "$name" "$victim"
    rm -rf "$room/run"
    expect_code 0 "$name without $victim"
    said=$(grep -c "^$name: process [0-9]*, 0 failures" "$out")
    [ "$said" -eq $((count - 1)) ] || fail "$name without $victim: $said of $((count - 1)) came to their end"
    expect_no_text "$err" 'not true|PMIX|MPI_ABORT|errno' "$name without $victim"
    expect_text "$err" 'done in .* 0 restarts' "$name without $victim"
    [ "$name" = leaving ] || [ "$name" = late ] ||
        expect_text "$err" "process $victim is lost; the others go on; no more snapshots" "$name without $victim"
}

for name in ${1:-received torn sent collective serve snapshot leaving late stopped}; do
    echo "- $name"
    lose 4 "$name" 0
    lose 4 "$name" 2
    lose 2 "$name" 1
done

[ $# -eq 0 ] || report
survive() {
    run "$cairn" run --survive -n 4 --dir "$room/run" -- "$tools/program_lost" 4 "$@"
    rm -rf "$room/run"
}

echo "- cairn run: a job that is not made for it is restarted"
survive unready 1
expect_code 0 "unready"
expect_text "$err" 'process 1 is lost' "unready"
expect_text "$err" 'done in .* 1 restart' "unready"
[ "$(grep -c '^unready: process [0-9]*, 0 failures' "$out")" -eq 4 ] || fail "unready: not all in the second launch"

echo "- cairn run: the job's own failure is passed on"
survive failure 2
expect_code 1 "failure"
expect_text "$err" 'own failure, not restarted' "failure"
report
