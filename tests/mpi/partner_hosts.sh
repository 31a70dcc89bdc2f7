#!/usr/bin/env bash
# timeout: 240
# alone
# Copies in memory on two hosts: every process has its partner on the other one, so that all processes of a host can be killed at once, their
# files gone, and each gets its part from memory; with groups, too, which have no two processes of a host. The hosts are this machine under two names (hosts.sh); only root can make them.
. "$(dirname "$0")/common.sh"

if [ "$(id -u)" -ne 0 ] || ! unshare --uts --mount true 2>/dev/null; then
    echo "skipped: only root can make hosts"
    exit 77
fi
case $(mpirun --version 2>/dev/null) in
*'(Open MPI) 5.'*)
    echo "skipped: Open MPI 5's mpirun ends all when a process on another host dies"
    exit 77
    ;;
esac
cat >"$room/agent" <<'AGENT'
#!/usr/bin/env bash
host=$1
shift
exec unshare --uts --mount bash -c 'hostname "$0"; mount -t tmpfs tmpfs /dev/shm; exec bash -c "$*"' "$host" "$@"
AGENT
chmod +x "$room/agent"
export OMPI_MCA_plm_rsh_agent=$room/agent CAIRN_SPAWNS=0
printf 'stone slots=3\ncairn slots=3\n' >"$room/hosts"
dir=$room/dir
job=("$jobs/heat" --size 240 --steps 6000)
start=("$cairn" run --quiet --dir "$dir" --hostfile "$room/hosts" -n 4 --mpirun-args '--map-by node' --spares 2 --hang-timeout 60)

run "$cairn" run --quiet --dir "$dir" -n 4 --interval off -- "${job[@]}"
expect_code 0 "undisturbed"
cp "$out" "$room/expected"
rm -rf "$dir"

host_of() {
    sed -n 's/.* host \([^ ]*\) .*/\1/p' "$dir/status/process-00000$1"
}

pid_of() {
    sed -n 's/.* pid \([0-9]*\) .*/\1/p' "$dir/status/process-00000$1"
}

running() {
    [ "$(grep -lE 'phase running activity [1-9]' "$dir"/status/process-* 2>/dev/null | wc -l)" -eq 4 ]
}

held() {
    [ "$(sed -n 's/.* attempt \([1-9][0-9]*\) .* held \([0-9]*\) .*/\1 \2/p' "$dir"/status/process-* 2>/dev/null | sort | uniq -c |
        awk '$2 == $3 { print $1 }' | head -n 1)" = 4 ]
}

wished() {
    kill -USR1 "$pid"
    until_true 2 held
}

for one in 'off partner' 'shared=off,memory=0.3 partner' 'off xor' 'shared=off,memory=0.3 xor'; do
    read -r interval kind <<<"$one"
    echo "- all processes of a host at once, --interval $interval --copies $kind"
    begin "${start[@]}" --copies "$kind" --interval "$interval" -- "${job[@]}"
    until_true 30 running || give_up "never ran"
    if [ "$interval" = off ]; then
        until_true 30 wished || fail "no copies of a snapshot"
        rm -f "$dir"/snapshots/*/process-*.h5
    else
        until_true 30 held || fail "no snapshot in memory"
    fi
    [ "$(host_of 0) $(host_of 1) $(host_of 2) $(host_of 3)" = 'stone cairn stone cairn' ] || fail "processes are not where they should be"
    kill -KILL "$(pid_of 1)" "$(pid_of 3)"
    finish
    expect_code 0 "a host's processes"
    cmp -s "$out" "$room/expected" || fail "another answer"
    expect_text "$err" 'recovered in place on (a spare|spares) from' "what is said"
    [ "$(grep -o 'from the memory of \(process [02]\|its group\)' "$err" | wc -l)" -eq 2 ] || fail "not both from the memory of the other host"
    ! grep -E 'restart|from its file|further' "$err" || fail "more than that"
    rm -rf "$dir"
done
report
