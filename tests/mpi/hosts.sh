#!/usr/bin/env bash
# timeout: 240
# Two hosts: a rank, a daemon or mpirun is killed, and the job goes on from its snapshot. The hosts are this machine under two names,
# each with its own host name and its own /dev/shm, reached through a stand-in for ssh; only root can make them.
. "$(dirname "$0")/common.sh"

if [ "$(id -u)" -ne 0 ] || ! unshare --uts --mount true 2>/dev/null; then
    echo "skipped: only root can make hosts"
    exit 77
fi
cat >"$room/agent" <<'AGENT'
#!/usr/bin/env bash
host=$1
shift
exec unshare --uts --mount bash -c 'hostname "$0"; mount -t tmpfs tmpfs /dev/shm; exec bash -c "$*"' "$host" "$@"
AGENT
chmod +x "$room/agent"
export OMPI_MCA_plm_rsh_agent=$room/agent PRTE_MCA_plm_ssh_agent=$room/agent
export OMPI_MCA_reachable=weighted # Open MPI 5 knows no way from an address to itself otherwise
printf '# two hosts\nstone slots=2\n\ncairn slots=2\n' >"$room/hosts"
dir=$room/dir
job=("$jobs/heat" --size 240 --steps 1000)
start=("$cairn" run --dir "$dir" --hostfile "$room/hosts" -n 4 --interval 0.1 -- "${job[@]}")

# The daemon of mpirun ($1) that has $2 as its host name.
daemon_of() {
    local daemon
    for daemon in $(pgrep -P "$1" -x 'orted|prted'); do
        [ "$(nsenter --uts --target "$daemon" hostname)" != "$2" ] || echo "$daemon"
    done
}

disturbed() {
    expect_code 0 "$1"
    cmp -s "$out" "$room/expected" || fail "$1: another answer"
    expect_text "$err" "$2; restart 1" "$1"
    expect_text "$err" 'restarted from snapshot' "$1"
    rm -rf "$dir"
}

run "${start[@]}"
expect_code 0 "undisturbed"
cp "$out" "$room/expected"
expect_text "$dir/log/mpirun.log" '-x CAIRN_DIR' "environment for other hosts"
rm -rf "$dir"

echo "- a daemon is killed"
begin "${start[@]}"
until_true 30 has_committed "$dir" || fail "no snapshot"
kill -KILL "$(daemon_of "$(mpirun_of "$pid")" cairn)"
finish
expect_text "$dir/log/hosts-left" '^stone slots=2$' "hosts that are left"
expect_no_text "$dir/log/hosts-left" 'cairn' "hosts that are left"
disturbed "a daemon is killed" 'host cairn was lost'

echo "- a rank on the other host is killed"
begin "${start[@]}"
until_true 30 has_committed "$dir" || fail "no snapshot"
kill -KILL "$(pgrep -P "$(daemon_of "$(mpirun_of "$pid")" cairn)" | tail -n 1)"
finish
disturbed "a rank on the other host" 'process [23] was killed \(signal 9\)'

echo "- mpirun is killed"
begin "${start[@]}"
until_true 30 has_committed "$dir" || fail "no snapshot"
kill -KILL "$(mpirun_of "$pid")"
finish
disturbed "mpirun" 'mpirun was killed \(signal 9\)'

echo "- stop and go on"
begin "${start[@]}"
until_true 30 has_committed "$dir" || fail "no snapshot"
kill -TERM "$pid"
finish
expect_code 85 "stop"
run "${start[@]}"
expect_code 0 "go on"
cmp -s "$out" "$room/expected" || fail "go on: another answer"

echo "- survive mode: a rank of the other host is killed, then its daemon"
"$jobs/stations" --rows 2000000 --files 2 "$room/stations" || fail "stations"
query=(--format csv --group-by station --agg 'count,mean(temperature)' "$room/stations")
run "$cairn" run --dir "$dir" -n 2 -- "$jobs/scan" "${query[@]}"
cp "$out" "$room/expected"
rm -rf "$dir"
survive=("$cairn" run --survive --dir "$dir" --hostfile "$room/hosts" -n 4)
run "${survive[@]}" --kill 3@50% -- "$jobs/scan" --read-rate 2M "${query[@]}"
survived() {
    expect_code 0 "$1"
    cmp -s "$out" "$room/expected" || fail "$1: another answer"
    expect_text "$err" 'done in .* 0 restarts' "$1"
    rm -rf "$dir"
}
expect_text "$err" 'process 3 is lost; the others go on' "a rank is killed, survive mode"
survived "a rank is killed, survive mode"
begin "${survive[@]}" -- "$jobs/scan" --read-rate 2M "${query[@]}"
until_true 30 grep -q running "$dir/status/process-000003" || fail "never began"
sleep 0.5
kill -KILL "$(daemon_of "$(mpirun_of "$pid")" cairn)"
finish
expect_text "$err" '2 processes were lost' "a daemon is killed, survive mode"
survived "a daemon is killed, survive mode"

# Nobody would be suspected for its silence: the kernels of other hosts say that it has ended. Six ranks alone on their hosts: one
# more than the leader holds itself, so that others have to tell it.
echo "- one that is alone on its host is killed, while silence is no reason to suspect anybody"
export CAIRN_LOST_AFTER=3600
for host in 0 1 2 3 4 5; do
    echo "stone$host slots=1"
done >"$room/lone"
find_leader() {
    leader=$(timeout 10 "$cairn" kv --dir "$dir" status | sed -n 's/^leader *\([0-9]\)/\1/p')
    [ -n "$leader" ]
}
run "$cairn" run --dir "$dir" -n 5 --interval off -- "${job[@]}"
cp "$out" "$room/expected"
rm -rf "$dir"
for whom in leader other; do
    begin "$cairn" run --quiet --spares 1 --dir "$dir" --hostfile "$room/lone" -n 5 --interval 0.2 -- "${job[@]}"
    until_true 40 has_committed "$dir" || fail "no snapshot"
    until_true 40 find_leader || fail "no leader"
    victim=$leader
    if [ "$whom" = other ]; then
        victim=$(((leader + 4) % 6))
        [ "$victim" != 5 ] || victim=$(((leader + 5) % 6)) # that was the spare
    fi
    kill -KILL "$(sed -n 's/.* pid \([0-9]*\) .*/\1/p' "$dir/status/process-00000$victim")"
    finish
    expect_code 0 "alone: $whom"
    cmp -s "$out" "$room/expected" || fail "alone: $whom: another answer"
    expect_text "$err" "process $victim recovered in place on a spare" "alone: $whom"
    rm -rf "$dir"
done

report
