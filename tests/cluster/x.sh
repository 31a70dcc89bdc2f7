#!/usr/bin/env bash
# timeout: 400
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
export CAIRN_HOME=$top PATH=$build/bin:$build/jobs:$PATH
slow=(--accounts 20 --transfers 500 --work 20000) # of bank: ten seconds
quick=(--accounts 20 --transfers 500)
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
    dir=$room/$script-$id.cairn answer=$dir.out log=$room/$script-$id.log
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
    until_true "$seconds" "$@" || fail "$what: waited $seconds s for: $*"
}

# done_well WHAT: the job ends as if nothing had been.
done_well() {
    await "${patience:-60}" "$1" is_over
    [ "$(state_of "$id")" = COMPLETED ] || fail "$1: it ended as $(state_of "$id")"
    cmp -s "$answer" "$room/expected" || fail "$1: another answer: $(head -n 3 "$answer")"
    await 20 "$1: the hosts are free" all_idle
    echo "  $1: $((SECONDS - began)) s"
    began=$SECONDS
}

# process_of HOST: the process of the job there, in the host's own numbers
process_of() {
    sed -n "s/.* pid \([0-9]*\) host $1 .*/\1/p" "$dir"/status/process-* | head -n 1
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

began=$SECONDS; cluster "${names[@]}"; "$cairn" run -n 3 --dir $room/expdir --interval off -- $jobs/bank "${quick[@]}" >$room/expected; export CAIRN_RUN_OPTIONS="--interval 0.5"
for launcher in ${L:-mpirun}; do
CAIRN_LAUNCHER=$launcher submit bank -- "${slow[@]}"
await 30 "cut" has_committed "$dir"
victim=$(other_host)
date +%T
on "$victim" iptables -A INPUT -i net -j DROP
on "$victim" iptables -A OUTPUT -o net -j DROP
await 40 "cut" says 'restarted from snapshot'
date +%T
b=$(batch_host)
on $b ps axf -o pid,etime,args | cut -c1-250
on head sinfo -N -l
on head squeue; on head squeue -s; on head scontrol show job $id | head -20
cat $log; cut -c1-500 $dir/log/mpirun.log; tail -n 30 $room/slurm-log/slurmctld;  for n in "${names[@]}"; do  tail -n 10 $room/slurm-log/slurmd-$n; done
on "$victim" iptables -F
await 60 "cut" is_over
done_well "a host is cut off, by $launcher"
done
report
