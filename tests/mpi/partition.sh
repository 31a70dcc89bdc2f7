#!/usr/bin/env bash
# timeout: 240
# The coordination service on three hosts whose network is divided and healed again. The hosts are this machine three times: network,
# host name and /dev/shm of their own, bridges between them in a fourth network, a stand-in for ssh; only root can make them.
# Two networks: only the one of the job's messages is divided, since mpirun ends a job whose daemons it does not reach.
. "$(dirname "$0")/common.sh"
load=$tools/program_coord_load
dir=$room/dir
hist=$room/hist
hosts=(stone cairn moss)

if [ "$(id -u)" -ne 0 ] || ! unshare --net --uts --mount true 2>/dev/null; then
    echo "skipped: only root can make hosts with a network of their own"
    exit 77
fi
if ! unshare --net iptables -A INPUT -i data -j DROP 2>/dev/null; then
    echo "skipped: no iptables, or not in a network of its own"
    exit 77
fi

# The networks end with their last process.
holders=()
clean_up_more() {
    kill -KILL "${holders[@]}" 2>/dev/null
}

# hold NAME: a process that keeps a network, a host name and mounts; its id goes to $held.
hold() {
    unshare --net --uts --mount bash -c \
        'hostname "$0" && mount -t tmpfs tmpfs /dev/shm && ip link set lo up && : >"$1" && exec sleep 1000' "$1" "$room/up-$1" &
    held=$!
    holders+=("$held")
    disown "$held"
    until_true 10 test -f "$room/up-$1" || fail "no host $1"
}

# on HOST COMMAND...: HOST by its number, 0 is that of mpirun
on() {
    local host=$1
    shift
    nsenter --net --uts --mount --target "${holders[$host]}" "$@"
}

# connect HOST: to the networks "data" and "control" of the bridges
connect() {
    local host=$1 network
    for network in data control; do
        local number=1
        [ "$network" = data ] || number=2
        on 3 ip link add "$network$host" type veth peer name "$network" netns "${holders[$host]}" &&
            on 3 ip link set "$network$host" master "$network" up &&
            on "$host" ip address add "10.77.$number.$((host + 1))/24" dev "$network" &&
            on "$host" ip link set "$network" up || fail "no network $network on host $host"
    done
}

for host in "${hosts[@]}" bridges; do
    hold "$host"
done
for network in data control; do
    on 3 ip link add "$network" type bridge
    on 3 ip link set "$network" up
done
for host in 0 1 2; do
    connect "$host"
    echo "${hosts[$host]} slots=1" >>"$room/hosts"
    echo "${hosts[$host]} ${holders[$host]}" >>"$room/holders"
done
until_true 10 on 0 ping -c 1 -W 1 10.77.1.3 || sleep 1
cat >"$room/agent" <<AGENT
#!/usr/bin/env bash
holder=\$(sed -n "s/^\$1 //p" "$room/holders")
shift
exec nsenter --net --uts --mount --target "\$holder" bash -c "\$*"
AGENT
chmod +x "$room/agent"
export OMPI_MCA_plm_rsh_agent=$room/agent OMPI_MCA_btl=self,vader,tcp OMPI_MCA_pml=ob1
export OMPI_MCA_btl_tcp_if_include=data OMPI_MCA_oob_tcp_if_include=control

launch() {
    rm -rf "$hist/stop"
    mkdir -p "$hist"
    begin on 0 "$cairn" run "$@" --hostfile "$room/hosts" -n 3 --interval off --dir "$dir" -- "$load" "$hist" 100
    until_true 40 kv all put launched now || fail "no service"
}

# kv HOST|all ...: asks the process of one host only
kv() {
    local at=$dir
    if [ "$1" != all ]; then
        at=$room/view-$1
        mkdir -p "$at"
        ln -sf "$dir/coord-00000$1.sock" "$at/"
    fi
    shift
    "$cairn" kv --dir "$at" --timeout "${patience:-20}" "$@"
}

leader() {
    kv all status --json | sed -n 's/.*"leader":"\{0,1\}\([0-9]*\).*/\1/p'
}

has_leader() {
    [ -n "$(leader)" ]
}

# divide HOST in|out|both: this host's part of the data network
divide() {
    [ "$2" = out ] || on "$1" iptables -A INPUT -i data -j DROP
    [ "$2" = in ] || on "$1" iptables -A OUTPUT -o data -j DROP
}

heal() {
    on "$1" iptables -F
}

agreed() {
    local host first
    first=$(kv 0 get agreed) || return 1
    for host in 1 2; do
        [ "$(kv "$host" get agreed)" = "$first" ] || return 1
    done
}

# one WHAT WHICH DIRECTION: the host of the leader, or another one, is cut off for a while.
one() {
    local who other what="$1 cut off, $2" ways=${3:-both}
    until_true 30 has_leader || fail "$what: no leader"
    who=$(leader)
    [ "$1" = leader ] || who=$(((who + 1) % 3))
    other=$(((who + 1) % 3))
    divide "$who" "$ways"
    mark
    until_true 40 grown "$who" || fail "$what: the majority does not go on"
    kv "$other" put agreed "$what" >/dev/null || fail "$what: the majority takes nothing"
    if [ "$ways" = both ]; then
        # What it answers is no answer to a question from now on: it has to refuse.
        patience=1 kv "$who" put agreed wrong >/dev/null 2>&1 && fail "$what: the minority took something"
        patience=1 kv "$who" get agreed >/dev/null 2>&1 && fail "$what: the minority answered"
    else
        sleep 1
    fi
    heal "$who"
    mark
    until_true 60 grown || fail "$what: not all go on after healing"
    until_true 40 agreed || fail "$what: not all say the same after healing"
    [ "$(kv "$who" get agreed)" = "$what" ] || fail "$what: the minority's word counts: $(kv "$who" get agreed)"
}

gone() {
    ! kill -0 "$1" 2>/dev/null
}

over() {
    touch "$hist/stop"
    finish
    expect_code 0 "$1"
    expect_text "$err" 'done in .* 0 restarts' "$1"
    [ "$(grep -c '^load: process' "$out")" -eq "$2" ] || fail "$1: not $2 processes came to their end: $(cat "$out")"
    judge "$1"
}

for leases in 0 1; do
    echo "- one of three hosts is cut off, leases: $leases"
    export CAIRN_LEASES=$leases
    rm -rf "$dir" "$hist"
    launch
    one leader "both ways"
    one follower "both ways"
    [ "$leases" = 1 ] || one follower "hears nothing" in
    one leader "hears nothing" in
    one leader "is not heard" out
    over "cut off" 3
done
expect_text "$dir/log/mpirun.log" '-x CAIRN_LEASES' "environment for other hosts"
unset CAIRN_LEASES

echo "- the others go on without a host that was cut off for too long"
rm -rf "$dir" "$hist"
launch --survive
until_true 30 has_leader || fail "no leader"
who=$(leader)
victim=$(sed -n 's/.* pid \([0-9]*\) .*/\1/p' "$dir/status/process-00000$who")
divide "$who" both
until_true 40 grep -q "process $who is lost; the others go on" "$err" || fail "process $who is not declared lost"
heal "$who"
until_true 60 gone "$victim" || fail "process $who was declared lost, and lives"
mark
until_true 40 grown "$who" || fail "the others do not go on"
over "cut off for too long" 2
report
