# shellcheck shell=bash disable=SC2154
# Read by the tests of this folder, after tests/mpi/common.sh: a cluster on this machine, with a real Slurm.
#
# Each host has a network, a host name, processes (their ids too), mounts and a /dev/shm of its own; "head" holds the bridge that
# joins them, slurmctld, and is where jobs are handed in. All see the same files, as of a shared file system, but for
# $room/local. The hosts die with this shell, even if it is killed with SIGKILL, and their networks and mounts with them.

# The folder goes away even when this shell is killed: nobody writes into this pipe, and its end is the shell's.
exec {leash}> >(trap '' INT TERM HUP && cat >/dev/null && rm -rf "$room")

declare -A host_of # the first process of each host by name, as seen from here

# No cluster can be made here: say so, and end as skipped.
require_cluster() {
    local missing=() program
    if [ "$(id -u)" -ne 0 ] || ! unshare --net --uts --mount --pid --fork --mount-proc true 2>/dev/null; then
        echo "SKIPPED: only root, where namespaces are allowed, can make hosts"
        exit 77
    fi
    for program in slurmctld slurmd sbatch munged iptables ip setpriv; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        echo "SKIPPED: there is no ${missing[*]} here (./dev test installs them)"
        exit 77
    fi
    if ! unshare --net iptables -A INPUT -i data -j DROP 2>/dev/null; then
        echo "SKIPPED: no iptables in a network of its own"
        exit 77
    fi
}

# on HOST COMMAND...
on() {
    local host=$1
    shift
    nsenter --net --uts --mount --pid --target "${host_of[$host]}" --wd="$room" -- "$@"
}

# The first process of a host. Arguments: its name, then the folders that all hosts share, even those below /tmp.
# shellcheck disable=SC2016
first_process='
    shared=() name=$1 room=$2
    hostname "$name" && mount -t tmpfs tmpfs /dev/shm && mount -t tmpfs tmpfs "$room/local" && mount --bind "$room/hosts" /etc/hosts || exit
    shift
    for folder; do
        exec {fd}<"$folder"
        shared+=("$fd")
    done
    mount -t tmpfs -o mode=1777 tmpfs /tmp || exit
    for folder; do
        mkdir -p "$folder" && mount --no-canonicalize --rbind "/proc/self/fd/${shared[0]}" "$folder" || exit
        shared=("${shared[@]:1}")
    done
    cd / && ip link set lo up && : >"$room/up-$name"
    # Not exec: the first process has to take in orphans.
    while :; do
        sleep infinity &
        wait
    done'

# Make a host. Its number is the last of its address.
make_host() {
    local name=$1 number=$2 outer
    # The outer process waits for the host's first one, and takes it along when it dies.
    setpriv --pdeathsig KILL unshare --net --uts --mount --pid --fork --kill-child --mount-proc bash -c "$first_process" \
        host "$name" "$room" "$top" "$build" >"$room/host-$name.log" 2>&1 &
    outer=$!
    disown "$outer"
    outers+=("$outer")
    until_true 10 test -f "$room/up-$name" || { cat "$room/host-$name.log"; fail "no host $name"; return 1; }
    host_of[$name]=$(pgrep -P "$outer")
    local net=(nsenter --net --target) # from here, since process ids are the host's own inside
    if [ "$name" = head ]; then
        on head ip link add bridge type bridge && on head ip address add "10.78.1.$number/24" dev bridge &&
            on head ip link set bridge up
    else
        "${net[@]}" "${host_of[head]}" ip link add "to-$name" type veth peer name net netns "${host_of[$name]}" &&
            on head ip link set "to-$name" master bridge up &&
            on "$name" ip address add "10.78.1.$number/24" dev net && on "$name" ip link set net up
    fi || fail "no network for $name"
}

outers=()
end_hosts() {
    local outer
    for outer in "${outers[@]}"; do
        kill -KILL "$outer" 2>/dev/null
    done
    for outer in "${outers[@]}"; do
        until_true 10 gone "$outer" || echo "a host outlives the test: $outer"
    done
}

gone() {
    ! kill -0 "$1" 2>/dev/null
}

# --- Slurm ---

# cluster HOST...: the hosts, and Slurm's daemons on them. Its commands are then to be used as `on head sbatch ...`.
cluster() {
    local name number=1
    mkdir -p "$room/local" "$room/state" "$room/slurm-log"
    {
        echo "127.0.0.1 localhost"
        echo "10.78.1.1 head"
        for name in "$@"; do
            echo "10.78.1.$((number += 1)) $name"
        done
    } >"$room/hosts"
    (umask 077 && head -c 128 /dev/urandom >"$room/munge.key")
    cat >"$room/slurm.conf" <<CONF
ClusterName=cairns
SlurmctldHost=head
SlurmUser=root
AuthType=auth/munge
# A job that was requeued begins again when its old credentials have expired.
AuthInfo=socket=$room/local/munge,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=100000
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=6
InactiveLimit=0
KillWait=5
MinJobAge=600
UnkillableStepTimeout=180
JobRequeue=1
# More jobs beside each other than there are cores: they mostly wait.
SlurmdParameters=config_overrides
MpiDefault=none
SwitchType=switch/none
StateSaveLocation=$room/state
SlurmdSpoolDir=$room/local/slurmd
SlurmctldPidFile=$room/local/slurmctld.pid
SlurmdPidFile=$room/local/slurmd.pid
SlurmctldLogFile=$room/slurm-log/slurmctld
SlurmdLogFile=$room/slurm-log/slurmd-%n
SlurmctldDebug=info
SlurmdDebug=info
NodeName=$(IFS=, && echo "$*") CPUs=12 RealMemory=64 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 MaxTime=INFINITE State=UP
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF MaxTime=INFINITE State=UP
CONF
    export SLURM_CONF=$room/slurm.conf
    number=1
    make_host head 1
    for name in "$@"; do
        make_host "$name" $((number += 1))
    done
    for name in head "$@"; do
        on "$name" munged --force --socket="$room/local/munge" --key-file="$room/munge.key" --pid-file="$room/local/munged.pid" \
            --log-file="$room/local/munged.log" --seed-file="$room/local/munge.seed" || fail "no munged on $name"
    done
    start_controller
    for name in "$@"; do
        start_daemon "$name"
    done
    until_true 30 all_idle || { on head sinfo; fail "the cluster is not ready"; return 1; }
}

start_controller() {
    on head slurmctld || fail "no slurmctld"
    until_true 30 on head scontrol ping || fail "slurmctld does not answer"
}

# In order: killed right after a job was handed in it may forget it.
end_controller() {
    on head pkill -TERM -x slurmctld
    until_true 10 no_controller || fail "slurmctld lives"
}

no_controller() {
    ! on head pgrep -x slurmctld >/dev/null
}

# cut_off HOST, heal HOST: nothing comes to it over its network or goes out
cut_off() {
    on "$1" iptables -A INPUT -i net -j DROP && on "$1" iptables -A OUTPUT -o net -j DROP || fail "$1 is not cut off"
}

heal() {
    on "$1" iptables -F
}

# start_daemon HOST: its slurmd
start_daemon() {
    on "$1" slurmd -N "$1" || fail "no slurmd on $1"
}

# One line a node; every one of them is idle.
all_idle() {
    local states
    states=$(on head sinfo --noheader --Node --format=%T) && [ -n "$states" ] && ! grep -qv '^idle$' <<<"$states"
}

# state_of JOB: as squeue has it, also when it is over
state_of() {
    on head scontrol show job "$1" | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p'
}
