#!/usr/bin/env bash
# timeout: 200
# The jobs heat and bank: right answers, the same on every number of processes, and clear refusals.
. "$(dirname "$0")/common.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

on() { # on N JOB ARGS...
    local n=$1 job=$2
    shift 2
    run mpirun --oversubscribe -n "$n" "$jobs/$job" "$@"
}

echo "- heat has the same bits on every number of processes"
for options in "--size 200 --steps 300 --modes 2" "--size 9 --steps 100 --alpha 0.25" "--size 64 --steps 0"; do
    for n in 1 2 3 4 8; do
        on $n heat $options
        expect_code 0 "heat $options on $n"
        expect_text "$out" '^checksum  [0-9a-f]{16}$' "heat $options on $n"
        [ $n -gt 1 ] || cp "$out" "$room/first"
        cmp -s "$room/first" "$out" || fail "heat $options on $n differs from 1 process"
    done
done

echo "- heat is near the analytical solution, the nearer the finer the grid"
# On both grids the same time has passed: steps grow with (N + 1)^2.
on 2 heat --size 31 --steps 100
coarse=$(awk '/^error/ { print $2 }' "$out")
on 2 heat --size 63 --steps 400
fine=$(awk '/^error/ { print $2 }' "$out")
awk -v c="$coarse" -v f="$fine" 'BEGIN { exit !(c > 0 && c < 1e-3 && c / f > 3.9 && c / f < 4.1) }' ||
    fail "heat: error $coarse on 31 x 31 and $fine on 63 x 63: not second order"

echo "- heat as a single program, and the smallest grid"
run "$jobs/heat" --size 1 --steps 3
expect_code 0 "heat without mpirun"

echo "- bank keeps its total on every number of processes, and its balances from run to run"
for n in 1 2 3 4 8; do
    on $n bank --accounts 7 --transfers 3000 --seed 5
    expect_code 0 "bank on $n"
    expect_text "$out" "^total      $((n * 7 * 1000))\$" "bank on $n"
    expect_text "$out" "^transfers  $((n * 3000))\$" "bank on $n"
    cp "$out" "$room/first"
    on $n bank --accounts 7 --transfers 3000 --seed 5
    cmp -s "$room/first" "$out" || fail "bank on $n: another run, other balances"
done
on 2 bank --accounts 7 --transfers 3000 --seed 6
expect_code 0 "bank with another seed"
on 3 bank --transfers 0
expect_code 0 "bank without transfers"

echo "- wrong arguments: exit status 3 and one line"
refuse() { # refuse JOB PATTERN ARGS...
    local job=$1 pattern=$2
    shift 2
    on 3 "$job" "$@"
    expect_code 3 "$job $*"
    expect_text "$err" "^$job: $pattern" "$job $*"
    [ "$(grep -c "^$job: " "$err")" -eq 1 ] || fail "$job $*: not said exactly once"
    [ ! -s "$out" ] || fail "$job $*: something on stdout"
}
refuse heat '--size 2: fewer rows than processes \(3\)' --size 2
refuse heat '--size x: not a whole number' --size x
refuse heat '--steps -1: not a whole number' --steps -1
refuse heat '--alpha 0: ' --alpha 0
refuse heat '--modes 3: must lie between 1 and 2' --modes 3
refuse heat '--bogus: unknown option' --bogus
refuse heat 'word: takes no' word
refuse bank '--accounts 0: must lie between' --accounts 0
refuse bank '--transfers 1e3: not a whole number' --transfers 1e3
refuse bank '--seed: unknown option, or its value is missing' --seed
for job in heat bank; do
    on 2 $job --help
    expect_code 0 "$job --help"
    [ "$(grep -c '^usage: ' "$out")" -eq 1 ] || fail "$job --help: not printed exactly once"
done
run "$jobs/bank" --audit "$room/nowhere"
expect_code 1 "audit of no folder"
expect_text "$err" "$room/nowhere" "audit of no folder"
report
