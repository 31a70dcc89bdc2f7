#!/usr/bin/env bash
# timeout: 200
# Collectives of all types and operations against what each process computes by itself; 1, 2, 3, 4 and 8 processes.
. "$(dirname "$0")/common.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

for n in 1 2 3 4 8; do
    echo "- $n processes"
    run mpirun --oversubscribe -n "$n" "$tools/program_collectives" "$n"
    expect_code 0 "collectives of $n processes"
    expect_text "$out" "$n processes, 5 tests, 0 failures" "collectives of $n processes"
done
report
