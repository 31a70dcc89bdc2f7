# shellcheck shell=bash disable=SC2034
# Read by the tests of this folder: where things are, a folder that goes away again, and checks that name what failed.
set -u
build=${CAIRN_BUILD:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build}
top=${CAIRN_SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
cairn=$build/bin/cairn
jobs=$build/jobs
tools=$build/tests
# How many times slower than a good machine this one may be: every limit and every deadline of a wait is that much longer. They are
# there to end what hangs, and prove nothing else.
slowness=${CAIRN_TEST_SLOW:-4}

# The folder of a test is on the disk; with in_memory=yes, set before this file is read, in memory, if a GiB is free there and programs
# may be run. For tests that would be as slow as the disk is, and prove nothing about it: a process that is killed loses no file.
place_of_room() {
    local probe free=0
    [ -z "${in_memory-}" ] || free=$(df --output=avail --block-size=1M /dev/shm 2>/dev/null | tail -n 1)
    if [ "${free:-0}" -ge 1024 ] && probe=$(mktemp -p /dev/shm 2>/dev/null); then
        echo '#!/bin/sh' >"$probe" && chmod +x "$probe" && "$probe" 2>/dev/null && echo /dev/shm && rm "$probe" && return
        rm "$probe"
    fi
    echo "${TMPDIR:-/tmp}"
}
room=$(mktemp -d "$(place_of_room)/cairn-test-XXXXXX")
# It goes away even when this shell is killed: nobody writes into this pipe, and its end is the shell's and its children's.
exec {leash}> >(trap '' INT TERM HUP && exec >/dev/null 2>&1 && cat && rm -rf "$room")
failures=0
raw=() # for a plain mpirun, whose output is looked at: that of Open MPI 5 mixes streams without
case $(mpirun --version 2>/dev/null) in *'(Open MPI) 5.'*) raw=(--output :RAW) ;; esac
started=() # process ids that a test put into the background

clean_up() {
    local pid
    for pid in "${started[@]}"; do
        kill -TERM "$pid" 2>/dev/null && sleep 0.2
        kill -KILL "$pid" 2>/dev/null
    done
    if declare -F clean_up_more >/dev/null; then
        clean_up_more
    fi
    rm -rf "$room"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

fail() {
    failures=$((failures + 1))
    echo "FAILED: $*"
    if [ -n "${show-}" ] && [ -f "$show" ]; then
        sed 's/^/    | /' "$show" | tail -n 25
    fi
}

# What follows would only wait for what will not come.
give_up() {
    fail "$@"
    report
}

# Run a command: its output goes to $out, its errors to $err, its status to $code. A limit of time, in seconds of a good machine, since
# a hang is a failure.
limit=60
run() {
    out=$room/out err=$room/err
    timeout --foreground -k 5 "$((limit * slowness))" "$@" >"$out" 2>"$err" </dev/null
    code=$?
    show=$err
    [ "$code" -ne 124 ] || fail "no end within $((limit * slowness)) s: $*"
}

# The same in the background; its id is $pid. Wait for it with finish.
begin() {
    out=$room/out err=$room/err
    : >"$out" && : >"$err" # at once: what the run before has said must not be taken for this one's
    "$@" >"$out" 2>"$err" </dev/null &
    pid=$!
    started+=("$pid")
    show=$err
}

finish() {
    local ticks=0
    while kill -0 "$pid" 2>/dev/null; do
        if [ $((ticks += 1)) -gt $((limit * slowness * 20)) ]; then
            fail "no end within $((limit * slowness)) s"
            kill -KILL "$pid"
            break
        fi
        sleep 0.05
    done
    wait "$pid"
    code=$?
}

# Wait until a condition (a command) holds: `until_true SECONDS command...`, seconds of a good machine
until_true() {
    local ticks=$(($1 * slowness * 50))
    shift
    while ! "$@" >/dev/null 2>&1; do
        [ $((ticks -= 1)) -gt 0 ] || return 1
        sleep 0.02
    done
}

expect_code() {
    [ "$code" -eq "$1" ] || fail "$2: exit status $code instead of $1"
}

# expect_text FILE PATTERN WHAT, and its contrary
expect_text() {
    grep -Eq -- "$2" "$1" || fail "$3: '$2' is not in $(basename "$1")"
}

expect_no_text() {
    if grep -Eq -- "$2" "$1"; then
        fail "$3: '$2' is in $(basename "$1")"
    fi
}

# The newest snapshot in a folder that has its commit record, or nothing.
committed() {
    local record
    for record in "$1"/snapshots/*/snapshot.h5; do
        [ -f "$record" ] && basename "$(dirname "$record")"
    done | sort | tail -n 1
}

has_committed() {
    [ -n "$(committed "$1")" ]
}

# Processes of the launch that `cairn run` (process id $1) has going: mpirun and its ranks, by parentage, so that nobody else's is met.
mpirun_of() {
    pgrep -P "$1" -x 'mpirun|orterun|prterun' | head -n 1
}

ranks_of() {
    local mpirun
    mpirun=$(mpirun_of "$1")
    [ -n "$mpirun" ] && pgrep -P "$mpirun"
}

# --- histories of program_coord_load: its folder is $hist ---

newest_kept() {
    find "$hist" -name 'kept-*'
}

# All that was written down so far is linearizable, and what was acknowledged is there.
judge() {
    local kept since left=${TMPDIR:-/tmp}/cairn-history-$$
    "$tools/program_coord_load" --join "$hist"/history-* >"$room/history" 2>"$room/verdict" ||
        show=$room/verdict fail "$1: the history cannot be read"
    if ! "$tools/program_linear" "$room/history" >"$room/verdict" 2>&1; then
        cp "$room/history" "$left"
        show=$room/verdict fail "$1: not linearizable; see $left"
    fi
    for kept in $(newest_kept); do
        since=$(sed -n '1s/^begin //p' "$kept")
        awk -v since="$since" '$4 == "put" && $5 ~ /^kept/ && $7 == "ok" && $3 < since { print $5, $6 }' "$room/history" |
            sort >"$room/acknowledged"
        sort "$kept" | comm -23 "$room/acknowledged" - >"$room/missing"
        [ ! -s "$room/missing" ] || show=$room/missing fail "$1: $(wc -l <"$room/missing") acknowledged keys are missing"
    done
    [ -n "$(newest_kept)" ] || fail "$1: nobody listed the keys at the end"
    rm -f "$hist"/kept-*
    echo "  $1: $(cat "$room/verdict")"
}

# Every history of a process that lives, but for those of the processes named, has grown since `mark`.
mark() {
    wc -c "$hist"/history-* >"$room/mark"
}

grown() {
    local size file
    while read -r size file; do
        case " $* " in
        *" $(sed 's/.*history-\([0-9]*\)-.*/\1/' <<<"$file") "*) continue ;;
        esac
        [ -d "/proc/${file##*-}" ] || continue
        [ "$(stat -c %s "$file")" -gt $((size + ${enough:-1000})) ] || return 1
    done < <(grep -v ' total$' "$room/mark")
}

report() {
    if [ "$failures" -gt 0 ]; then
        echo "$failures checks failed"
        exit 1
    fi
    echo "all is well"
    exit 0
}
