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
    out=$room/out-$id err=$room/err-$id
    on "$1" timeout 60 "$cairn" stop "$dir" >"$out" 2>"$err"
    code=$?
    cat "$err"
}

# beside FUNCTION [ARGUMENTS], any number of times, then together: they go on at the same time, and report one after the other. They
# mostly wait.
beside() {
    besides+=("$room/beside-${#besides[@]}")
    (
        failures=0
        began=$SECONDS
        "$@"
        [ "$failures" -eq 0 ]
    ) >"${besides[-1]}" 2>&1 &
    beside_pids+=($!)
}

together() {
    local i
    for i in "${!besides[@]}"; do
        wait "${beside_pids[$i]}" || failures=$((failures + 1))
        cat "${besides[$i]}"
    done
    besides=() beside_pids=()
    began=$SECONDS
}
besides=() beside_pids=()

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
export CAIRN_RUN_OPTIONS="--interval 0.5"
# Its time limit is near; slurmctld looks twice a minute, so it goes on beside the others.
submit bank --time=1 --signal=B:TERM@60 -- "${quick[@]}" --work 60000
limited=$id
submit bank -- "${quick[@]}"
ids=("$id")
by_srun submit bank -- "${quick[@]}"
ids+=("$id")
submit scan -- "${flights[@]}"
ids+=("$id")
by_srun submit heat -- "${plate[@]}"
ids+=("$id")
use bank "${ids[0]}"
await 60 "bank" is_over
cp "$answer" "$room/bank"
grep -q '^checksum' "$room/bank" || fail "bank has no answer"
ends_well "bank"
expect_text "$log" '^[-0-9]*T[:0-9]*Z cairn: job [0-9]*: done; the answer is in' "bank"
use bank "${ids[1]}"
ends_well "bank, by srun"
expect_text "$dir/log/mpirun.log" '^== launch 0.*: srun ' "bank, by srun"
use scan "${ids[2]}"
ends_well "scan" "$room/scan"
use heat "${ids[3]}"
ends_well "heat, by srun" "$room/heat"

killed() {
    local by=$1 what="a process is killed${1:+, by srun}" victim
    echo "- $what"
    $by snapshot_of bank -- "${slow[@]}"
    victim=$(other_host)
    if [ -n "$by" ]; then # nor does it matter to a job what becomes of slurmd
        on "$victim" pkill -KILL -x slurmd
        start_daemon "$victim"
    fi
    on "$victim" kill -KILL "$(process_of "$victim")"
    ends_well "$what"
    expect_text "$log" 'process [0-2] was killed \(signal 9\); restart [0-9]+ of' "$what"
    expect_text "$log" 'restarted from snapshot' "$what"
}
beside killed ""
beside killed by_srun
together

requeued() {
    local by=$1 what="it is requeued from outside${1:+, by srun}"
    echo "- $what"
    $by without_snapshots bank -- "${slow[@]}" --work 30000
    on head scontrol requeue "$id"
    ends_well "$what"
    expect_text "$log" 'Slurm has taken the job already \(.*restart 1\)' "$what"
    expect_text "$log" 'start 1 on .*' "$what"
    expect_text "$log" 'restarted from snapshot 1 ' "$what"
}

told_to_stop() {
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
}

cancelled() {
    echo "- cancelled: not handed in again; another job goes on in its DIR, unless it was told not to while it was queued"
    without_snapshots bank -- "${slow[@]}" --work 30000
    on head scancel "$id"
    await 30 "cancelled" is_over
    await 20 "cancelled" says 'Slurm has taken the job already \(.*\): nothing to do here'
    [ "$(state_of "$id")" = CANCELLED ] || fail "cancelled: $(state_of "$id")"
    cancelled=$dir
    CAIRN_DIR=$cancelled submit bank --hold -- "${slow[@]}" --work 30000
    run "$cairn" stop "$cancelled"
    expect_code 0 "stop before the job has begun"
    on head scontrol release "$id"
    await 30 "queued" is_over
    expect_text "$log" 'was told to stop for good, by .cairn stop. .*: not started' "queued"
    run "$cairn" stop --withdraw "$cancelled"
    CAIRN_REQUEUES=0 CAIRN_DIR=$cancelled submit bank -- "${slow[@]}" --work 30000
    await 30 "in the same DIR" says 'restarted from snapshot'
    on head scancel --batch --signal=TERM "$id" # as when the time limit is near
    await 30 "in the same DIR" is_over
    expect_text "$log" 'not requeued: it was restarted 0 times, and CAIRN_REQUEUES is 0' "CAIRN_REQUEUES"
    took "in the same DIR"
}

service() {
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
}

beside requeued ""
beside requeued by_srun
beside told_to_stop
beside cancelled
beside service
together

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

echo "- preempted"
without_snapshots bank -- "${slow[@]}"
first=$id
submit bank --partition=urgent --exclusive -- "${quick[@]}"
ends_well "the urgent one"
use bank "$first"
ends_well "preempted"
expect_text "$log" 'restarted from snapshot' "preempted"

# A host that does not answer is down after two of these or so. Not before: a step that ends while slurmctld is away for longer
# than that is asked for again a minute later.
echo "MessageTimeout=4" >>"$SLURM_CONF"
on head scontrol reconfigure
echo "- a host is cut off; three jobs are on it: launched by mpirun, by srun, and one whose batch script is there"
snapshot_of bank -- "${quick[@]}" --work 25000
one=$id
by_srun snapshot_of bank -- "${quick[@]}" --work 25000
other=$id
submit scan --nodes=2 --exclude="$(batch_host)" -- --read-rate 35K "${flights[@]}"
await 30 "batch host" has_committed "$dir"
third=$id victim=$(batch_host)
for id in "$one" "$other"; do
    [ "$(batch_host)" != "$victim" ] || fail "the batch script's own host was cut off"
done
cut_off "$victim"
# Its daemon ends the process of the first, and a new one takes its place.
use bank "$one"
await 60 "a host is cut off, by mpirun" says "host $victim was lost; restart 1 of"
# Here nobody ends it as long as Slurm does not reach it: it sees in DIR that another launch has begun, and ends itself. Until
# then it holds its log, and the next launch waits.
use bank "$other"
await 60 "a host is cut off, by srun" says "host $victim was lost; restart [0-9]+ of"
await 30 "the processes on the host that is cut off" no_process_on "$victim"
# Another host of the job hands it in again, while it goes on there as well.
use scan "$third"
await 60 "batch host" grep -q 'the node of the batch script, is lost; requeueing' "$dir.guard"
await 60 "batch host" on head scontrol update JobId="$id" ExcNodeList=
await 120 "batch host" says "start 1 on"
use bank "$one"
ends_well "a host is cut off, by mpirun"
use bank "$other"
ends_well "a host is cut off, by srun"
expect_text "$log" 'restarted from snapshot' "a host is cut off, by srun"
use scan "$third"
ends_well "batch host" "$room/scan"
heal "$victim"
report
