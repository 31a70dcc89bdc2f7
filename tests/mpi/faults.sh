#!/usr/bin/env bash
# timeout: 300
# The coordination service under faults, on one host: processes killed and paused, all killed at once, logs lost and damaged, a full
# disk, another number of processes. Clients in all processes write down what they saw; that must be linearizable, over restarts
# too, and nothing that was acknowledged may be missing at the end.
in_memory=yes
. "$(dirname "$0")/common.sh"
load=$tools/program_coord_load
dir=$room/dir
hist=$room/hist
export CAIRN_LOST_AFTER=4 # a busy machine is no fault, except where a test asks for it

clean_up_more() {
    umount "$room/small" 2>/dev/null
}

kv() {
    "$cairn" kv --dir "$dir" --timeout 20 "$@"
}

# The load, and its exit status in $hist/code-PROCESS.
cat >"$room/noted" <<NOTED
#!/usr/bin/env bash
"$load" "\$@"
code=\$?
echo "\$code" >"\$1/code-\$OMPI_COMM_WORLD_RANK"
exit "\$code"
NOTED
chmod +x "$room/noted"

# A folder and a history that are new.
fresh() {
    rm -rf "$dir" "$hist"
    mkdir "$hist"
}

# launch COUNT SECONDS: in the background, and until it serves. Ended with over, killed with kill_all.
launch() {
    rm -f "$hist/stop"
    begin "$cairn" run --survive -n "$1" --interval off --dir "$dir" -- "${job:-$load}" "$hist" "$2"
    until_true 40 kv put launched "$1" || fail "no service"
}

over() {
    touch "$hist/stop"
    finish
    expect_code 0 "$1"
    expect_text "$err" 'done in .* 0 restarts' "$1"
    [ "$(grep -c '^load: process' "$out")" -eq "$2" ] || fail "$1: not $2 processes came to their end: $(cat "$out")"
}

kill_all() {
    local ids
    ids="$pid $(mpirun_of "$pid") $(ranks_of "$pid")"
    # shellcheck disable=SC2086
    kill -KILL $ids
    wait "$pid" 2>/dev/null
    rm -f "$dir"/coord-*.sock
    until_true 10 none_of "$ids" || fail "processes that were killed are still there"
}

none_of() {
    local id
    for id in $1; do
        ! kill -0 "$id" 2>/dev/null || return 1
    done
}

leader() {
    kv status --json | sed -n 's/.*"leader":"\{0,1\}\([0-9]*\).*/\1/p'
}

has_leader() {
    [ -n "$(leader)" ]
}

# Sets $who to the leader, or to the next process that lives.
pick() {
    until_true 20 has_leader || fail "no leader"
    who=$(leader)
    while [ "$1" != leader ]; do
        who=$(((who + 1) % 5))
        [ ! -f "$dir/status/process-00000$who" ] || ! kill -0 "$(pid_of "$who")" 2>/dev/null || break
    done
}

pid_of() {
    sed -n 's/.* pid \([0-9]*\) .*/\1/p' "$dir/status/process-00000$1"
}

others_go_on() {
    local what=$1
    shift
    mark
    until_true 40 grown "$@" || fail "$what: the others do not go on"
    kv put "went/on" "$what" >/dev/null || fail "$what: nothing can be written"
}

# The process $1 answers of itself that it votes.
votes() {
    rm -rf "$room/view"
    mkdir "$room/view"
    ln -s "$dir/coord-00000$1.sock" "$room/view/"
    "$cairn" kv --dir "$room/view" --timeout 5 status --json | grep -q '"votes":"\{0,1\}yes'
}

# Start with $1 processes, have all of them read all, end.
read_back() {
    run "$cairn" run --survive -n "$1" --interval off --dir "$dir" -- "$load" "$hist" 0
    expect_code 0 "$2: reading all after a restart"
}

killed_leaders() {
    local count=$1 kills=$2 round i gone
    for round in 1 2; do
        launch "$count" 60
        gone=()
        for ((i = 0; i < kills; i++)); do
            pick leader
            kill -KILL "$(pid_of "$who")"
            gone+=("$who")
            others_go_on "$count processes, leader $who killed" "${gone[@]}"
        done
        over "$count processes, round $round" $((count - kills))
        judge "$count processes, round $round"
    done
    read_back "$count" "$count processes"
    judge "$count processes, after a restart"
}

killed() {
    echo "- the leader is killed"
    fresh
    killed_leaders 3 1
    fresh
    CAIRN_ACCEPTORS=5 killed_leaders 5 2
}

paused() {
    local leases what victim
    for leases in 0 1; do
        export CAIRN_LEASES=$leases
        echo "- processes are paused for a while, leases: $leases"
        fresh
        CAIRN_LOST_AFTER=60 launch 3 60
        for what in leader follower leader; do
            pick "$what"
            victim=$(pid_of "$who")
            kill -STOP "$victim"
            sleep 1.2
            kill -CONT "$victim"
            others_go_on "$what paused"
        done
        # What is sent to it meanwhile must not take from the others what they need to send to each other.
        kill -STOP "$victim"
        enough=60000 others_go_on "while one is paused" "$who"
        kill -CONT "$victim"
        others_go_on "paused for long"
        over "paused" 3
        judge "paused, leases $leases"

        echo "- processes are paused for too long, leases: $leases"
        fresh
        CAIRN_LOST_AFTER=1 CAIRN_ACCEPTORS=5 job=$room/noted launch 5 60
        for what in leader follower; do
            pick "$what"
            victim=$(pid_of "$who")
            kill -STOP "$victim"
            until_true 40 grep -q "process $who is lost; the others go on" "$err" || fail "$what: not declared lost"
            kill -CONT "$victim"
            until_true 20 none_of "$victim" || fail "$what: was declared lost, and lives"
            expect_text "$err" "process $who: declared lost by the others" "$what paused for too long"
            until_true 10 test -s "$hist/code-$who" || fail "$what: no exit status"
            [ "$(cat "$hist/code-$who")" = 75 ] || fail "$what: exit status $(cat "$hist/code-$who") instead of 75"
            others_go_on "$what paused for too long" "$who"
        done
        over "paused for too long" 3
        judge "paused for too long, leases $leases"
    done
    unset CAIRN_LEASES
}

# Flip a byte in the middle of what the acceptor $1 has written to its log.
damage_log() {
    local file=$dir/consensus/group-$2/acceptor-00000$1 places place
    file=$(find "$file" -name 'log-*' | sort | head -n 1)
    mapfile -t places < <(grep -aob 'load/' "$file" | cut -d : -f 1)
    place=${places[$((${#places[@]} / 2))]}
    printf 'X' | dd of="$file" bs=1 seek="$place" conv=notrunc status=none
}

# Start again with $1 processes after the acceptor 1 lost its log: it is said, and the acceptor votes again.
comes_back() {
    launch 3 60
    expect_text "$dir/log/mpirun.log" "acceptor 1.*$2" "$1"
    expect_text "$err" "acceptor 1.*$2" "$1: on the screen"
    until_true 40 votes 1 || fail "$1: acceptor 1 does not vote again"
    others_go_on "$1"
}

together() {
    local before
    echo "- all are killed at once, three times"
    fresh
    launch 3 60
    others_go_on "at first"
    kill_all
    launch 3 60
    others_go_on "killed once"
    kill_all
    launch 3 60
    others_go_on "killed twice"
    kill_all
    read_back 3 "killed"
    judge "all killed"

    echo "- an acceptor has lost its log"
    rm -r "$dir"/consensus/group-000001/acceptor-000001/*
    comes_back "a lost log" 'has lost its consensus log'
    # What it voted for since counts: now another one is lost.
    kill_all
    rm -r "$dir"/consensus/group-000001/acceptor-000000/*
    launch 3 60
    until_true 40 votes 0 || fail "acceptor 0 does not vote again"
    over "two lost logs, one after the other" 3
    judge "two lost logs, one after the other"

    echo "- an acceptor's log is damaged"
    damage_log 1 000001
    comes_back "a damaged log" 'set aside'
    kill_all
    read_back 3 "a damaged log"
    judge "a damaged log"

    echo "- two of three have lost their logs"
    cp -a "$dir" "$room/copy"
    rm -r "$dir"/consensus/group-000001/acceptor-00000[02]/*
    before=$(sums)
    run "$cairn" run --survive -n 3 --interval off --dir "$dir" -- "$load" "$hist" 0
    expect_code 66 "two lost logs"
    expect_text "$err" '2 of 3 acceptors have lost their logs' "two lost logs"
    run "$cairn" run --survive -n 5 --interval off --dir "$dir" -- "$load" "$hist" 0
    expect_code 66 "two lost logs, other processes"
    expect_text "$err" '2 of 3 acceptors have lost their logs' "two lost logs, other processes"
    run "$cairn" run --survive -n 3 --interval off --dir "$dir" -- "$load" "$hist" 0
    expect_code 66 "two lost logs, again"
    [ "$before" = "$(sums)" ] || fail "two lost logs: what was left was changed"
    rm -rf "$dir"
    mv "$room/copy" "$dir"

    echo "- another number of processes"
    read_back 1 "one process"
    judge "3 to 1"
    read_back 3 "three processes"
    judge "1 to 3"
    launch 5 60
    others_go_on "five processes"
    kill_all
    read_back 3 "three processes again"
    judge "3 to 5 to 3"
    CAIRN_ACCEPTORS=5 read_back 5 "five acceptors"
    judge "five acceptors"
}

# Of the log that is left.
sums() {
    find "$dir/consensus/group-000001/acceptor-000001" -type f -name 'log-*' -exec cksum {} +
}

most_have_left() {
    [ "$(grep -Ec 'left the coordination service:.*[Nn]o space' "$err")" -ge 2 ]
}

full() {
    echo "- a full disk"
    mkdir -p "$room/small"
    if [ "$(id -u)" -ne 0 ] || ! mount -t tmpfs -o size=4m tmpfs "$room/small" 2>/dev/null; then
        echo "  (skipped: no tmpfs can be mounted here)"
        return
    fi
    fresh
    dir=$room/small/dir
    export CAIRN_LOG_SEGMENT=262144
    launch 3 60
    others_go_on "room is left"
    dd if=/dev/zero of="$room/small/filler" bs=4k status=none 2>/dev/null
    until_true 40 most_have_left || fail "a full disk is not noticed"
    "$cairn" kv --dir "$dir" --timeout 1 put full now >/dev/null 2>&1 && fail "full disk: something could be written"
    kill_all
    rm "$room/small/filler"
    mount -o remount,size=16m "$room/small"
    read_back 3 "room again"
    judge "a full disk"
    launch 3 60
    others_go_on "room again"
    over "room again" 3
    judge "room again"
    unset CAIRN_LOG_SEGMENT
    dir=$room/dir
}

for part in ${*:-killed paused together full}; do
    "$part"
done
report
