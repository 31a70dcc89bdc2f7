#!/usr/bin/env bash
# timeout: 300
# The runtime under valgrind, which sees what the sanitizers cannot see under MPI: channels, recording, writing, and coming back on another
# number of processes, without a wrong read, write or jump. What libpmix does with its own memory is not our business.
source "$(dirname "$0")/common.sh"

if ! command -v valgrind >/dev/null; then
    echo "FAILED: no valgrind here; ./dev test installs it"
    exit 1
fi
cat >"$room/known.supp" <<'TEXT'
{
   libpmix sends padding
   Memcheck:Param
   writev(vector[...])
   ...
   obj:*libpmix*
}
TEXT
open_mpi=$(find /usr/share/openmpi /etc/openmpi -name openmpi-valgrind.supp 2>/dev/null | head -n 1)
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 CAIRN_DIR=$room/dir CAIRN_INTERVAL=0.2

under_valgrind() { # processes, job...
    local processes=$1
    shift
    limit=140
    # Single-copy transfers write into a process behind valgrind's back.
    run mpirun --oversubscribe --mca btl_vader_single_copy_mechanism none -n "$processes" valgrind -q \
        --suppressions="$room/known.supp" ${open_mpi:+--suppressions="$open_mpi"} --error-exitcode=99 \
        --log-file="$room/valgrind.%p" "$@"
    if grep -q '^==[0-9]*== ' "$room"/valgrind.* 2>/dev/null; then
        fail "valgrind on: $*"
        cat "$room"/valgrind.*
    fi
}

under_valgrind 3 "$jobs/bank" --transfers 2000
expect_code 0 "bank"
rm -rf "$CAIRN_DIR"
CAIRN_INTERVAL=0 CAIRN_KILL=0:1@80% under_valgrind 3 "$jobs/heat" --size 60 --steps 300
CAIRN_INTERVAL=0.2 under_valgrind 2 "$jobs/heat" --size 60 --steps 300
expect_code 0 "heat on another number of processes"
grep -q "of 3 processes on 2" "$err" || fail "the restart of heat took no snapshot"
[ "$failures" -eq 0 ] && echo "no error of memory in bank and heat"
exit $((failures > 0))
