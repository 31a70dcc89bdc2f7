# shellcheck shell=bash
# Read by the batch scripts of this folder: runs a job under `cairn run`, has a last snapshot taken before the time limit, and
# hands the job in again until it is done. README.md says what may be set from outside.

# One line for each decision, with its time.
cairn_log() {
    printf '%s cairn: job %s: %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "${SLURM_JOB_ID:-?}" "$*" >&2
}

# cairn_find WHAT NAME: a program of ours, in a build tree, in an installation, or in PATH
cairn_find() {
    local path
    for path in "$CAIRN_HOME/build/$1/$2" "$CAIRN_HOME/$1/$2" "$CAIRN_HOME/bin/$2" "$(command -v "$2")"; do
        if [ -n "$path" ] && [ -x "$path" ] && [ ! -d "$path" ]; then
            echo "$path"
            return
        fi
    done
    cairn_log "$2 is not in CAIRN_HOME ($CAIRN_HOME), nor in PATH"
    return 1
}

# What Slurm says of this job: JobState, Restarts. Nothing when it does not answer.
cairn_ask() {
    timeout 30 scontrol show job "$SLURM_JOB_ID" 2>/dev/null | sed -n "s/.*\<$1=\([^ ]*\).*/\1/p" | head -n 1
}

# With --no-kill Slurm lets a job go on without any of its nodes, even that of the batch script, and then nobody is left to do
# anything. So another node looks now and then whether that one is still there.
cairn_guard() {
    local other
    other=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | grep -vx "${SLURMD_NODENAME:-?}" | tail -n 1)
    [ -n "$other" ] || return 0
    # shellcheck disable=SC2016
    SLURM_OVERLAP=1 srun --quiet --mpi=none --nodes=1 --ntasks=1 --nodelist="$other" --input=none bash -c '
        while sleep "$3"; do
            nodes=$(scontrol show job "$2" 2>/dev/null | sed -n "s/^ *NodeList=//p")
            if [ -n "$nodes" ] && ! scontrol show hostnames "$nodes" | grep -qx "$1"; then
                echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) cairn: job $2: $1, the node of the batch script, is lost; requeueing" >>"$4"
                scontrol requeue "$2"
                exit
            fi
        done' guard "$SLURMD_NODENAME" "$SLURM_JOB_ID" "${CAIRN_GUARD:-30}" "$CAIRN_DIR.guard" >/dev/null 2>&1 &
}

cairn_told= # a signal has come: the time limit is near, or the job is to leave
cairn_on_signal() {
    if [ -z "$cairn_told" ]; then
        cairn_log "told to leave: a last snapshot is taken"
    fi
    cairn_told=1
    # USR2, since it may have got the signal as well, and a second TERM would kill at once.
    [ -z "${cairn_pid-}" ] || kill -USR2 "$cairn_pid" 2>/dev/null
}

# Whether DIR/stop is meant for this job: it is not older than the job. (When Slurm has restarted it, `cairn run` knows.)
cairn_stop_is_ours() {
    local submitted
    [ -e "$1/stop" ] && submitted=$(date -d "$(cairn_ask SubmitTime)" +%s 2>/dev/null) &&
        [ "$(stat -c %Y "$1/stop")" -ge "$submitted" ]
}

# Hand the job in again, unless Slurm does so itself. The exit status of the batch script.
cairn_requeue() {
    local why=$1 state restarts count=${SLURM_RESTART_COUNT:-0} most=${CAIRN_REQUEUES:-100}
    state=$(cairn_ask JobState)
    restarts=$(cairn_ask Restarts)
    if [ -n "$state" ] && { [ "$state" != RUNNING ] || [ "${restarts:-$count}" != "$count" ]; }; then
        cairn_log "$why; Slurm has taken the job already (${state}, restart ${restarts:-?}): nothing to do here"
        return 0
    fi
    if [ "$count" -ge "$most" ]; then
        cairn_log "$why; not requeued: it was restarted $count times, and CAIRN_REQUEUES is $most"
        return 69
    fi
    cairn_log "$why; requeueing, restart $((count + 1)) of at most $most"
    # slurmctld may be away for a moment.
    for _ in 1 2 3 4 5 6; do
        if timeout 30 scontrol requeue "$SLURM_JOB_ID"; then
            return 0
        fi
        sleep 5
    done
    cairn_log "it could not be requeued: the same sbatch with CAIRN_DIR=$CAIRN_DIR goes on with it"
    return 75
}

# cairn_batch JOB [ARGS]: the whole of a batch script, but for its #SBATCH lines.
cairn_batch() {
    local cairn job code again wish options=() words
    CAIRN_HOME=${CAIRN_HOME:-${SLURM_SUBMIT_DIR:-.}}
    CAIRN_DIR=${CAIRN_DIR:-${SLURM_SUBMIT_DIR:-.}/$1-${SLURM_JOB_ID:-0}.cairn}
    cairn=$(cairn_find bin cairn) && job=$(cairn_find jobs "$1") || exit 2
    shift
    trap cairn_on_signal TERM USR1 HUP INT
    read -r -a words <<<"${CAIRN_RUN_OPTIONS-}"
    options=(--dir "$CAIRN_DIR" --launcher "${CAIRN_LAUNCHER:-mpirun}" --grace "${CAIRN_GRACE:-90}" --take-over 120 "${words[@]}")
    if cairn_stop_is_ours "$CAIRN_DIR"; then
        options+=(--obey-stop)
    fi
    cairn_log "start ${SLURM_RESTART_COUNT:-0} on ${SLURM_JOB_NODELIST:-this host}, in $CAIRN_DIR"
    # The node of the batch script, when it was only cut off, may have come to the end by itself.
    if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && [ -z "${CAIRN_SERVICE-}" ] &&
        grep -Eqs '"finished": *true' "$CAIRN_DIR/run.json"; then
        cairn_log "done already; the answer is in ${CAIRN_OUTPUT:-$CAIRN_DIR.out}"
        exit 0
    fi
    cairn_guard
    "$cairn" run "${options[@]}" -- "$job" "$@" >>"${CAIRN_OUTPUT:-$CAIRN_DIR.out}" &
    cairn_pid=$!
    [ -z "$cairn_told" ] || cairn_on_signal
    wait "$cairn_pid"
    code=$?
    # A signal ends this wait, not that process; its status is 127 when there is nothing more to wait for.
    while [ "$code" -gt 128 ] && [ -n "$cairn_told" ]; do
        wait "$cairn_pid"
        again=$?
        [ "$again" -ne 127 ] || break
        code=$again
        kill -0 "$cairn_pid" 2>/dev/null || break
    done
    if [ "$code" -eq 0 ] && [ -n "${CAIRN_SERVICE-}" ] && [ -n "$cairn_told" ] && [ ! -e "$CAIRN_DIR/stop" ]; then
        code=85 # a service has no end of its own
    fi
    case $code in
    0)
        cairn_log "done; the answer is in ${CAIRN_OUTPUT:-$CAIRN_DIR.out}"
        exit 0
        ;;
    85)
        # A request to make room may be gone by now, with whoever made it at work.
        if wish=$(cat "$CAIRN_DIR/stop" 2>/dev/null) && [[ $wish != 'cairn-stop 1 yield'* ]]; then
            cairn_log "stopped for good, by cairn stop: not requeued"
            exit 85
        fi
        cairn_requeue "stopped after a last snapshot"
        exit
        ;;
    *)
        # Not for a crash (134, 139), which is the job's own.
        if [ "$code" -eq 137 ] || [ "$code" -eq 143 ]; then
            cairn_requeue "cairn run was killed (status $code)"
            exit
        fi
        cairn_log "failed with status $code: not requeued"
        exit "$code"
        ;;
    esac
}
