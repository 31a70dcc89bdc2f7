#!/usr/bin/env bash
# timeout: 200
# Lamport's rules and the strong clock condition over random traffic; 1, 2, 3, 4 and 8 processes, both kinds of clock.
. "$(dirname "$0")/common.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

for kind in lamport vector; do
    name=$([ $kind = vector ] && echo vector || echo Lamport)
    for n in 1 2 3 4 8; do
        echo "- $n processes, $kind clocks"
        run env CAIRN_CLOCK=$kind mpirun --oversubscribe -n "$n" "$tools/program_clocks" "$n"
        expect_code 0 "clocks of $n processes"
        expect_text "$out" "$n processes, 2 tests, 0 failures" "clocks of $n processes"
        expect_text "$out" "ordered pairs, [0-9]+ concurrent, $name clocks" "clocks of $n processes"
    done
done
report
