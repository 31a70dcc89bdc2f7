#!/usr/bin/env bash
# timeout: 300
# What channels promise, with 1, 2, 3, 4 and 8 processes; and one message of more than 2 GiB, if the machine has the memory.
. "$(dirname "$0")/common.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

for n in 1 2 3 4 8; do
    echo "- $n processes"
    run mpirun --oversubscribe -n "$n" "$tools/program_channels" "$n"
    expect_code 0 "channels of $n processes"
    expect_text "$out" "$n processes, 1[0-9] tests, 0 failures" "channels of $n processes"
done

echo "- a count that is not the one asked for is a failure"
run mpirun --oversubscribe -n 2 "$tools/program_channels" 4
[ "$code" -ne 0 ] || fail "2 processes passed for 4"

# Both buffers, and what the runtime and MPI may keep beside them.
needed_kib=$((8 * 1024 * 1024))
available_kib=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
if [ "$available_kib" -ge "$needed_kib" ]; then
    echo "- one message of more than 2 GiB"
    run mpirun --oversubscribe -n 2 "$tools/program_large" 2
    expect_code 0 "a message of more than 2 GiB"
    expect_text "$out" '1 tests, 0 failures' "a message of more than 2 GiB"
else
    echo "- NOT RUN: one message of more than 2 GiB: needs $needed_kib KiB of free memory, there are $available_kib KiB"
fi
report
