#!/usr/bin/env bash
# timeout: 240
# The coordination service: its handles in the processes of a job; and `cairn kv` against processes that hold it (jobs/coord):
# every command, cas races, locks whose tokens rise, watches that go on, paused processes, everything again after a stop.
. "$(dirname "$0")/common.sh"

dir=$room/dir
server=

kv=("$cairn" kv --dir "$dir")

kv() {
    "${kv[@]}" "$@"
}

serving() {
    grep -q 'serving in' "$room/served"
}

serve() {
    rm -f "$room/served"
    "$cairn" run -n 3 "$@" --dir "$dir" -- "$jobs/coord" >"$room/served" 2>"$room/server" </dev/null &
    server=$!
    started+=("$server")
    until_true 30 serving || fail "no service: $(cat "$room/server")"
}

ended() {
    ! kill -0 "$server" 2>/dev/null
}

stopped() {
    until_true 30 ended || fail "the service does not end"
    wait "$server"
    code=$?
    show=$room/server
}

# The process id of a process of the job.
pid_of() {
    sed -n 's/.* pid \([0-9]*\) .*/\1/p' "$dir/status/process-00000$1"
}

# json FILE NAME: the value of a name in the first line of compact JSON that has it.
json() {
    grep -o "\"$2\":\(\"[^\"]*\"\|[^,}]*\)" "$1" | head -n 1 | sed 's/^"[^"]*"://; s/^"//; s/"$//'
}

# expect_json WHAT NAME VALUE
expect_json() {
    local got
    got=$(json "$out" "$2")
    [ "$got" = "$3" ] || fail "$1: $2 is '$got' instead of '$3' in $(cat "$out")"
}

for n in 1 3 4; do
    echo "- handles in $n processes"
    mkdir -p "$room/handles-$n"
    run env CAIRN_DIR="$room/handles-$n" OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
        mpirun --oversubscribe -n "$n" "$tools/program_coord" "$n"
    expect_code 0 "handles in $n processes"
    expect_text "$out" "$n processes, 12 tests, 0 failures" "handles in $n processes"
done

echo "- nobody is there"
run "${kv[@]}" status
expect_code 69 "no DIR"
mkdir -p "$dir"
run "${kv[@]}" get a
expect_code 69 "no job"
expect_text "$err" 'no job is running there' "no job"

echo "- keys"
serve
run "${kv[@]}" put a one
expect_code 0 "put"
first=$(cat "$out")
run "${kv[@]}" get a
expect_code 0 "get"
expect_text "$out" '^one$' "get"
printf 'x\0\377' | kv put raw - >/dev/null || fail "put from standard input"
kv get raw | head -c 3 | cmp -s - <(printf 'x\0\377') || fail "a value that is no text came back otherwise"
run "${kv[@]}" get raw --json
expect_json "get of bytes" value eAD/
expect_json "get of bytes" value_encoding base64
run "${kv[@]}" get a --json
expect_json "get" value one
expect_json "get" modified "$first"
expect_json "get" version 1
run "${kv[@]}" cas a two --modified "$((first + 1000))"
expect_code 1 "cas with a wrong revision"
expect_text "$err" "was changed at revision $first" "cas with a wrong revision"
run "${kv[@]}" cas a two --modified "$first" --json
expect_code 0 "cas"
expect_json "cas" held true
run "${kv[@]}" cas a three --absent
expect_code 1 "cas --absent of a key that is there"
run "${kv[@]}" list --json
[ "$(grep -vc '"key":"cairn/' "$out")" -eq 2 ] || fail "list: not two keys besides Cairn's own"
run "${kv[@]}" del a
expect_code 0 "del"
run "${kv[@]}" del a
expect_code 1 "del of a key that is not there"
run "${kv[@]}" get a --json
expect_code 1 "get of a key that is not there"
expect_json "get of a key that is not there" found false
run "${kv[@]}" put cairn/mine 1
expect_code 1 "put of a key of Cairn's own"
run "${kv[@]}" status --json
expect_code 0 "status"
expect_json "status" acceptors "0 1 2"
run "${kv[@]}" put a
expect_code 2 "wrong usage"

echo "- a counter: four shells, each compares and sets fifty times"
cat >"$room/count" <<'SCRIPT'
cairn=$1 dir=$2
for ((i = 0; i < 50;)); do
    IFS=$'\t' read -r modified value < <("$cairn" kv get counter --revision --dir "$dir")
    "$cairn" kv cas counter $((value + 1)) --modified "$modified" --dir "$dir" >/dev/null 2>&1
    case $? in
    0) i=$((i + 1)) ;;
    1) ;;
    *) exit 1 ;;
    esac
done
SCRIPT
kv put counter 0 >/dev/null || fail "no counter"
counting=()
for _ in 1 2 3 4; do
    bash "$room/count" "$cairn" "$dir" &
    counting+=("$!")
done
for child in "${counting[@]}"; do
    wait "$child" || fail "a shell that counts failed"
done
run "${kv[@]}" get counter --json
expect_json "four shells" value 200
expect_json "four shells" version 201

echo "- a process is paused: others are asked, and nothing is done twice"
run "${kv[@]}" status --json
leader=$(json "$out" leader)
paused=$(pid_of "$leader")
kill -STOP "$paused"
for i in 1 2 3 4 5 6; do
    kv put "paused/$i" "$i" --timeout 20 >/dev/null || fail "put $i while the leader is paused"
done
run "${kv[@]}" status --json
[ "$(json "$out" leader)" != "$leader" ] || fail "the leader is paused and leads still"
sleep 1.5 # longer than the sessions of jobs/coord live: it must come to terms with having lost its own
kill -CONT "$paused"
run "${kv[@]}" list paused/ --json
[ "$(grep -c '"version":1,' "$out")" -eq 6 ] || fail "not six keys, each written once: $(cat "$out")"

echo "- two of three are paused: no answer, rather than a wrong one"
others=("$(pid_of 0)" "$(pid_of 2)")
kill -STOP "${others[@]}"
run "${kv[@]}" get counter --timeout 2.5
expect_code 75 "a minority"
expect_text "$err" 'counter: no answer within 2.5 s; process [0-2] ' "a minority"
[ ! -s "$out" ] || fail "a minority answered: $(cat "$out")"
run "${kv[@]}" put minority 1 --timeout 1
expect_code 75 "a put in a minority"
run "${kv[@]}" status --json --timeout 20
expect_json "the one that is left" process 1
kill -CONT "${others[@]}"
run "${kv[@]}" cas counter 201 --modified 1 --timeout 30 # refused, but answered
expect_code 1 "a majority again"

echo "- watches"
watching=$room/watch
from=$(kv put w/a 1)
begin "${kv[@]}" watch w/ --prefix --from "$from" --count 3 --json --timeout 30
until_true 10 test -s "$out" || fail "the watch does not show what there is"
second=$(kv put w/b 2) # not always the next one: what a minority did not answer may be done only now
kv del w/a >/dev/null
finish
expect_code 0 "watch"
cp "$out" "$watching"
[ "$(wc -l <"$watching")" -eq 3 ] || fail "watch: not three changes"
run "${kv[@]}" watch w/ --prefix --from "$from" --count 3 --json
cmp -s "$out" "$watching" || fail "watch --from says something else"
run "${kv[@]}" watch w/b --from "$second" --count 1
expect_text "$out" "^$second	put	w/b	2\$" "watch of one key"
run "${kv[@]}" watch w/b --timeout 0.3
expect_code 75 "a watch to which nothing happens"

echo "- locks"
run "${kv[@]}" lock job -- sh -c 'echo $CAIRN_LOCK_TOKEN; exit 9'
expect_code 9 "the command's own status"
first=$(cat "$out")
run "${kv[@]}" lock job -- sh -c 'echo $CAIRN_LOCK_TOKEN'
[ "$(cat "$out")" -gt "$first" ] || fail "the token does not rise"
# Two at once: one after the other, in the order of their tokens.
for i in 1 2; do
    kv lock job -- sh -c "echo in; sleep 0.2; echo out" >>"$room/turns" &
    counting[i]=$!
done
wait "${counting[1]}" "${counting[2]}"
[ "$(tr '\n' ' ' <"$room/turns")" = "in out in out " ] || fail "two held one lock: $(cat "$room/turns")"
# A holder is killed: the next one gets the lock when the session has ended.
mkfifo "$room/hold"
sleep 30 >"$room/hold" &
started+=("$!")
"${kv[@]}" lock job --ttl 1 <"$room/hold" >"$room/token" &
holder=$!
started+=("$holder")
until_true 10 test -s "$room/token" || fail "the lock is not granted"
run "${kv[@]}" lock job --timeout 0.2
expect_code 75 "a lock that is held"
{ kill -KILL "$holder" && wait "$holder"; } 2>/dev/null
run "${kv[@]}" lock job --timeout 20 -- sh -c 'echo $CAIRN_LOCK_TOKEN'
expect_code 0 "a lock whose holder was killed"
[ "$(cat "$out")" -gt "$(cat "$room/token")" ] || fail "the token of the next holder is not greater"

echo "- elections, barriers"
run "${kv[@]}" elect chief me -- "$cairn" kv leader chief --dir "$dir"
expect_text "$out" '^me$' "leader"
run "${kv[@]}" leader chief
expect_code 1 "no leader"
kv barrier meeting 2 &
counting[1]=$!
run "${kv[@]}" barrier meeting 2
expect_code 0 "barrier"
wait "${counting[1]}" || fail "barrier, the other one"
run "${kv[@]}" barrier meeting 2 --timeout 0.3
expect_code 75 "a barrier alone"

echo "- stop, and go on with everything"
kill -TERM "$server"
stopped
expect_code 0 "coord told to stop"
run "${kv[@]}" get counter
expect_code 69 "after the stop"
[ -z "$(compgen -G "$dir/coord-*.sock")" ] || fail "sockets are left behind"
serve
run "${kv[@]}" get counter --json
expect_code 0 "going on"
expect_json "going on" value 200
expect_json "going on" version 201
run "${kv[@]}" watch paused/ --prefix --from 1 --count 6
expect_code 0 "a watch from before the stop"
run "${kv[@]}" put coord/stop now
expect_code 0 "the stop by key"
stopped
expect_code 0 "coord/stop"
echo "- a process dies, the others go on"
serve --survive
run "${kv[@]}" status --json
leader=$(json "$out" leader)
kv put alive/0 0 >/dev/null || fail "put before the loss"
kill -KILL "$(pid_of "$leader")"
for i in 1 2 3 4 5 6; do
    kv put "alive/$i" "$i" --timeout 20 >/dev/null || fail "put $i after the leader died"
done
run "${kv[@]}" list alive/ --json
[ "$(grep -c '"version":1,' "$out")" -eq 7 ] || fail "not seven keys, each written once: $(cat "$out")"
run "${kv[@]}" get counter
expect_text "$out" '^200$' "after the leader died"
until_true 20 grep -q "process $leader is lost; the others go on" "$room/server" || fail "nobody says that process $leader is lost"
kill -TERM "$server"
stopped
expect_code 0 "told to stop with one lost"
expect_no_text "$room/server" 'restart 1' "nothing is started again"

echo "- options"
run "$cairn" run -n 3 --dir "$dir" -- "$jobs/coord" --seconds 0.2 --quiet
expect_code 0 "--seconds"
[ ! -s "$out" ] || fail "--quiet speaks"
run "$cairn" run -n 3 --dir "$dir" -- "$jobs/coord" --nonsense
expect_code 3 "wrong arguments of the job"
report
