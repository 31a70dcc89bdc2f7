#!/usr/bin/env bash
# timeout: 600
# The batch scripts of slurm/ on a real Slurm of three hosts: whatever happens to a job, it comes to the same answer, or stops for
# good when it is told to. hosts.sh says what the hosts are; only root can make them.
. "$(dirname "$0")/../mpi/common.sh"
. "$(dirname "$0")/hosts.sh"
require_cluster
clean_up_more() {
    end_hosts
}
# Notice a lost host sooner than after 20 s.
export OMPI_MCA_oob_tcp_keepalive_time=3 OMPI_MCA_oob_tcp_keepalive_intvl=1 OMPI_MCA_oob_tcp_keepalive_probes=3
export CAIRN_GUARD=1 CAIRN_HOME=$top PATH=$build/bin:$build/jobs:$PATH
quick=(--accounts 20 --transfers 500) # of bank
slow=("${quick[@]}" --work 12000)     # six seconds, and the same answer
names=(stone cairn moss)

# submit SCRIPT [OPTIONS OF SBATCH] -- ARGUMENTS: its id goes to $id, and then there are $dir, $answer and $log.
submit() {
    local script=$1 options=()
    shift
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    id=$(on head sbatch --parsable --nodes=3 --ntasks-per-node=1 "${options[@]}" "$top/slurm/$script.sbatch" "$@") || fail "sbatch $script"
    use "$script" "$id"
}

# use SCRIPT JOB: that one is meant from now on.
use() {
    id=$2 dir=$room/$1-$2.cairn answer=$room/$1-$2.cairn.out log=$room/$1-$2.log
    show=$log
}

# What became of it: it is not over before nothing of it is left.
is_over() {
    case $(state_of "$id") in
    COMPLETED | FAILED | CANCELLED | TIMEOUT | NODE_FAIL) ;;
    *) return 1 ;;
    esac
}

is_restarted() {
    [ "$(on head scontrol show job "$id" | sed -n 's/.*Restarts=\([0-9]*\).*/\1/p')" = "$1" ]
}

says() {
    grep -Eq -- "$1" "$log"
}

# await SECONDS WHAT COMMAND...
await() {
    local seconds=$1 what=$2
    shift 2
    local deadline=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -gt "$deadline" ]; then
            fail "$what: waited $seconds s for: $*"
            [ -z "${id-}" ] || on head scontrol show job "$id" | sed -n 's/^ *\(JobState.*\|.*Restarts.*\|StartTime.*\)/    | \1/p'
            tail -n 8 "$room/slurm-log/slurmctld" | sed 's/^/    | /'
            return 1
        fi
        sleep 0.05
    done
}

# ends_well WHAT [FILE]: the job ends as if nothing had been, with the answer that is in FILE.
ends_well() {
    await 90 "$1" is_over
    [ "$(state_of "$id")" = COMPLETED ] || fail "$1: it ended as $(state_of "$id")"
    cmp -s "$answer" "${2-$room/bank}" || fail "$1: another answer: $(head -n 3 "$answer")"
    took "$1"
}

took() {
    echo "  $1: $((SECONDS - began)) s"
    began=$SECONDS
}

# process_of HOST: the process of the job there, in the host's own numbers
process_of() {
    sed -n "s/.* pid \([0-9]*\) host $1 .*/\1/p" "$dir"/status/process-* | head -n 1
}

no_process_on() {
    ! on "$1" pgrep -x bank
}

batch_host() {
    on head scontrol show job "$id" | sed -n 's/.*BatchHost=\(.*\)/\1/p'
}

# A host of the job, but for that of the batch script.
other_host() {
    local name batch
    batch=$(batch_host)
    for name in "${names[@]}"; do
        [ "$name" = "$batch" ] || { echo "$name"; return; }
    done
}

# The first snapshot of a job that is to be disturbed is there.
snapshot_of() {
    submit "$@"
    await 40 "$*" has_committed "$dir"
}

all_run() {
    [ "$(cat "$dir"/status/process-* | grep -c 'phase running')" -eq 3 ]
}

# A job that takes no snapshot unless it is told to: what it goes on from is its last one.
without_snapshots() {
    CAIRN_RUN_OPTIONS="--interval off" submit "$@"
    await 40 "$*" all_run
    has_committed "$dir" && fail "$*: there is a snapshot already"
}

# stop_from HOST: cairn stop, as `run` would
stop_from() {
    out=$room/out err=$room/err
    on "$1" timeout 60 "$cairn" stop "$dir" >"$out" 2>"$err"
    code=$?
    cat "$err"
}

# What the scripts are told by their environment.
by_srun() {
    CAIRN_LAUNCHER=srun "$@"
}

began=$SECONDS
cluster "${names[@]}"
took "the cluster is up"

echo "- undisturbed: each script"
flights=(--group-by origin --agg 'count,mean(delay)' --format csv "$top/data/flights")
plate=(--size 60 --steps 200)
"$cairn" run --quiet -n 2 --dir "$room/plain" -- "$jobs/scan" "${flights[@]}" >"$room/scan" 2>"$room/plain.err" &&
    "$cairn" run --quiet -n 2 --dir "$room/plain" -- "$jobs/heat" "${plate[@]}" >"$room/heat" 2>>"$room/plain.err" ||
    show=$room/plain.err fail "the answers"
submit bank -- "${quick[@]}"
await 60 "bank" is_over
cp "$answer" "$room/bank"
grep -q '^checksum' "$room/bank" || fail "bank has no answer"
ends_well "bank"
expect_text "$log" '^[-0-9]*T[:0-9]*Z cairn: job [0-9]*: done; the answer is in' "bank"
by_srun submit bank -- "${quick[@]}"
ends_well "bank, by srun"
expect_text "$dir/log/mpirun.log" '^== launch 0.*: srun ' "bank, by srun"
submit scan -- "${flights[@]}"
ends_well "scan" "$room/scan"
by_srun submit heat -- "${plate[@]}"
ends_well "heat, by srun" "$room/heat"

export CAIRN_RUN_OPTIONS="--interval 0.5"
for by in "" by_srun; do
    what="a process is killed${by:+, by srun}"
    echo "- $what"
    $by snapshot_of bank -- "${slow[@]}"
    victim=$(other_host)
    if [ -n "$by" ]; then # nor does it matter to a job what becomes of slurmd
        on "$victim" pkill -KILL -x slurmd
        start_daemon "$victim"
    fi
    on "$victim" kill -KILL "$(process_of "$victim")"
    ends_well "$what"
    expect_text "$log" 'process [0-2] was killed \(signal 9\); restart 1 of' "$what"
    expect_text "$log" 'restarted from snapshot' "$what"
done

echo "- its time limit is near (goes on beside the next ones)"
# slurmctld looks twice a minute.
submit bank --time=1 --signal=B:TERM@60 -- "${quick[@]}" --work 60000
limited=$id

for by in "" by_srun; do
    what="it is requeued from outside${by:+, by srun}"
    echo "- $what"
    $by without_snapshots bank -- "${slow[@]}"
    on head scontrol requeue "$id"
    ends_well "$what"
    expect_text "$log" 'Slurm has taken the job already \(.*restart 1\)' "$what"
    expect_text "$log" 'start 1 on .*' "$what"
    expect_text "$log" 'restarted from snapshot 1 ' "$what"
done

echo "- slurmctld is restarted; while it is away a process is killed"
snapshot_of bank -- "${slow[@]}"
victim=$(batch_host) # it takes no Slurm to find who is on it
number=$(process_of "$victim")
end_controller
on "$victim" kill -KILL "$number"
await 30 "slurmctld" says 'was killed'
start_controller
ends_well "slurmctld"
expect_text "$log" 'restarted from snapshot' "slurmctld"

echo "- the time limit, again"
use bank "$limited"
ends_well "time limit"
expect_text "$log" 'told to leave: a last snapshot is taken' "time limit"
expect_text "$log" 'stopped after a last snapshot; requeueing, restart 1 of at most 100' "time limit"
expect_text "$log" 'start 1 on' "time limit"
expect_text "$log" 'restarted from snapshot' "time limit"

echo "- mpirun's daemon on a host is killed"
snapshot_of bank -- "${slow[@]}"
victim=$(other_host)
on "$victim" pkill -KILL -x orted
ends_well "a daemon is killed"
expect_text "$log" "host $victim was lost; restart 1 of" "a daemon is killed"
expect_no_text "$dir/log/hosts-left" "$victim" "a daemon is killed"

echo "- told to stop, from another host: for good"
snapshot_of bank -- "${slow[@]}" --work 60000
stop_from "$(other_host)"
expect_code 0 "stop"
expect_text "$out" 'stopped after .* s; the newest committed snapshot is [0-9]' "stop"
await 20 "stop" is_over
[ "$(on head scontrol show job "$id" | sed -n 's/.*ExitCode=\([0-9]*\):.*/\1/p')" = 85 ] || fail "stop: not 85"
expect_text "$log" 'stopped for good, by cairn stop: not requeued' "stop"
on head scontrol requeue "$id" # somebody hands it in again nevertheless
await 60 "stop" says 'was told to stop for good, by `cairn stop` .*: not started'
await 20 "stop" is_over
run "$cairn" stop --withdraw "$dir"
on head scontrol requeue "$id"
await 60 "stop is taken back" says 'restarted from snapshot'
stop_from head
took "stop"

echo "- cancelled: not handed in again; another job goes on in its DIR, unless it was told not to while it was queued"
without_snapshots bank -- "${slow[@]}"
on head scancel "$id"
await 30 "cancelled" is_over
await 20 "cancelled" says 'Slurm has taken the job already \(.*\): nothing to do here'
[ "$(state_of "$id")" = CANCELLED ] || fail "cancelled: $(state_of "$id")"
cancelled=$dir
CAIRN_DIR=$cancelled submit bank --hold -- "${slow[@]}"
run "$cairn" stop "$cancelled"
expect_code 0 "stop before the job has begun"
on head scontrol release "$id"
await 30 "queued" is_over
expect_text "$log" 'was told to stop for good, by .cairn stop. .*: not started' "queued"
run "$cairn" stop --withdraw "$cancelled"
CAIRN_REQUEUES=0 CAIRN_DIR=$cancelled submit bank -- "${slow[@]}"
await 30 "in the same DIR" says 'restarted from snapshot'
on head scancel --batch --signal=TERM "$id" # as when the time limit is near
await 30 "in the same DIR" is_over
expect_text "$log" 'not requeued: it was restarted 0 times, and CAIRN_REQUEUES is 0' "CAIRN_REQUEUES"
took "in the same DIR"

echo "- preempted"
without_snapshots bank -- "${slow[@]}"
first=$id
submit bank --partition=urgent --exclusive -- "${quick[@]}"
ends_well "the urgent one"
use bank "$first"
ends_well "preempted"
expect_text "$log" 'restarted from snapshot' "preempted"

echo "- the coordination service"
submit coord --
await 40 "coord" "$cairn" kv --dir "$dir" --timeout 1 put config/rate 300
on head scancel --batch --signal=TERM "$id"
await 40 "coord comes back" says "start 1 on"
await 40 "coord" "$cairn" kv --dir "$dir" --timeout 1 get config/rate
stop_from head
expect_code 0 "coord"
expect_text "$out" 'done after' "coord"
await 20 "coord" is_over
[ "$(state_of "$id")" = COMPLETED ] || fail "coord: it ended as $(state_of "$id")"
took "coord"

echo "- a host is cut off; two jobs are on it, one launched by mpirun, one by srun"
snapshot_of bank -- "${quick[@]}" --work 25000
one=$id
by_srun snapshot_of bank -- "${slow[@]}"
other=$id
victim=$(other_host)
cut_off "$victim"
# Its daemon ends the process of the first, and a new one takes its place.
use bank "$one"
[ "$(batch_host)" != "$victim" ] || fail "the batch script's own host was cut off"
ends_well "a host is cut off, by mpirun"
expect_text "$log" "host $victim was lost; restart 1 of" "a host is cut off, by mpirun"
# Here nobody ends it as long as Slurm does not reach it: it sees in DIR that another launch has begun, and ends itself. Until
# then it holds its log, and the next launch waits.
use bank "$other"
await 60 "a host is cut off, by srun" says "host $victim was lost; restart 1 of"
await 30 "the process on the host that is cut off" no_process_on "$victim"
ends_well "a host is cut off, by srun"
expect_text "$log" 'restarted from snapshot' "a host is cut off, by srun"
heal "$victim"

echo "- the host of the batch script is cut off; Slurm's other hosts hand the job in again, while it goes on there as well"
submit scan --nodes=2 -- --read-rate 35K "${flights[@]}"
await 30 "batch host" has_committed "$dir"
victim=$(batch_host)
cut_off "$victim"
await 120 "batch host" says "start 1 on"
ends_well "batch host" "$room/scan"
heal "$victim"
report
