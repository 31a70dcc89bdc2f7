#!/usr/bin/env bash
# timeout: 400
# What was acknowledged and then lost at the end of a log: zeros, a bit, a file cut off, a segment gone, another acceptor's log, no
# mark. In one of three logs nothing is lost, and a line says what is missing; in two of three the launch refuses. And a job that
# does nothing but hold the service ends when the service has ended.
in_memory=yes
. "$(dirname "$0")/common.sh"
dir=$room/dir
base=$room/base
export CAIRN_LOG_SEGMENT=262144

clean_up_more() {
    umount "$room/small" 2>/dev/null
}

kv() {
    timeout 60 "$cairn" kv --dir "$dir" --timeout 50 "$@"
}

pid_of() {
    sed -n 's/.* pid \([0-9]*\) .*/\1/p' "$dir/status/process-00000$1"
}

none_of() {
    local id
    for id in $1; do
        ! kill -0 "$id" 2>/dev/null || return 1
    done
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

stop_service() {
    kill -TERM "$pid"
    finish
    expect_code 0 "$1"
}

log_of() {
    echo "$dir/consensus/group-000001/acceptor-00000$1"
}

last_of() {
    find "$(log_of "$1")" -name 'log-0*' | sort | tail -n 1
}

# Where the last group that has the value begins.
group_of() {
    local at
    at=$(grep -aob precious "$1" | tail -n 1 | cut -d : -f 1)
    grep -aob CAIRNLG1 "$1" | cut -d : -f 1 | awk -v at="$at" '$1 <= at { last = $1 } END { print last }'
}

# --- what may happen to the log of acceptor $1 ---

zeroed() {
    local file from
    file=$(last_of "$1")
    from=$(group_of "$file")
    dd if=/dev/zero of="$file" bs=512 seek=$((from / 512)) count=$(((CAIRN_LOG_SEGMENT - from) / 512)) conv=notrunc status=none
}

# The groups after it as well: as if it were the last one, and torn.
bit() {
    local file from
    file=$(last_of "$1")
    from=$(group_of "$file")
    dd if=/dev/zero of="$file" bs=512 seek=$((from / 512 + 1)) count=$(((CAIRN_LOG_SEGMENT - from) / 512 - 1)) conv=notrunc status=none
    printf 'P' | dd of="$file" bs=1 seek="$(grep -aob precious "$file" | tail -n 1 | cut -d : -f 1)" conv=notrunc status=none
}

cut_off() {
    local file
    file=$(last_of "$1")
    truncate -s "$(group_of "$file")" "$file"
}

segment_gone() {
    rm "$(last_of "$1")"
}

from_another() {
    rm "$(log_of "$1")"/log-0*
    cp "$(log_of 2)"/log-0* "$(log_of "$1")/"
}

all_from_another() {
    rm "$(log_of "$1")"/log*
    cp "$(log_of 2)"/log* "$(log_of "$1")/"
}

zeroed_and_no_mark() {
    zeroed "$1"
    rm "$(log_of "$1")/log.mark"
}

# ---

# The value is in the last segments of the acceptors 0 and 1, and 2 has not heard of it.
prepare() {
    local value i
    value=$(head -c 20000 /dev/zero | tr '\0' v)
    begin "$cairn" run -n 3 --dir "$dir" -- "$jobs/coord"
    until_true 60 kv put first 1 || fail "no service"
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do
        kv put "large/$i" "$value" >/dev/null || fail "large/$i"
    done
    kill -STOP "$(pid_of 2)"
    kv put acked precious >/dev/null || fail "nothing is acknowledged with 2 of 3"
    kill_all
    mv "$dir" "$base"
}

# The acceptor that knows the value is slow, so the other two could agree without it.
lost_in_one() {
    local what text
    for what in ${cases:-zeroed bit cut_off segment_gone from_another all_from_another zeroed_and_no_mark}; do
        echo "- one of three logs: $what"
        rm -rf "$dir"
        cp -a "$base" "$dir"
        "$what" 0
        text='its end is lost'
        case $what in
        from_another) text='of another storage' ;;
        all_from_another) text='the one of acceptor 2' ;;
        zeroed_and_no_mark) text='log.mark is missing' ;;
        esac
        CAIRN_ELECTION=1 LATE_PROCESS=1 LATE_MS=350 LD_PRELOAD=$tools/preload_late.so \
            begin "$cairn" run -n 3 --dir "$dir" -- "$jobs/coord"
        until_true 90 grep -q serving "$out" || fail "$what: no service"
        [ "$(kv get acked)" = precious ] || fail "$what: what was acknowledged is lost"
        [ "$(kv get first)" = 1 ] || fail "$what: the first key is lost"
        stop_service "$what"
        expect_text "$err" "acceptor 0.*$text.*set aside" "$what"
    done
    [ -f "$(log_of 0)/log-0000000000000002.damaged" ] || fail "the damaged log was not kept"
}

lost_in_two() {
    local first=$1 second=$2
    echo "- two of three logs: $first, $second"
    rm -rf "$dir"
    cp -a "$base" "$dir"
    "$first" 0
    "$second" 1
    run "$cairn" run -n 3 --dir "$dir" -- "$jobs/coord"
    expect_code 66 "two lost ends"
    expect_text "$err" '2 of 3 acceptors have lost their logs' "two lost ends"
    run "$cairn" run -n 3 --dir "$dir" -- "$jobs/coord"
    expect_code 66 "two lost ends, again"
}

killed_only() {
    echo "- nothing is lost: all were killed"
    cp -a "$base" "$dir"
    begin "$cairn" run -n 3 --dir "$dir" -- "$jobs/coord"
    until_true 60 grep -q serving "$out" || fail "no service"
    [ "$(kv get acked)" = precious ] || fail "what was acknowledged is lost"
    stop_service "nothing is lost"
    expect_no_text "$err" 'set aside' "nothing is lost"

    echo "- of one log only the mark is gone"
    rm -rf "$dir"
    cp -a "$base" "$dir"
    rm "$(log_of 2)/log.mark"
    begin "$cairn" run -n 3 --dir "$dir" -- "$jobs/coord"
    until_true 60 grep -q serving "$out" || fail "no service"
    stop_service "no mark"
    expect_text "$err" 'acceptor 2.*log.mark is missing.*set aside' "no mark"
}

# The service ends, and the job with it.
service_ended() {
    local mode value i
    mkdir -p "$room/small"
    if [ "$(id -u)" -ne 0 ] || ! mount -t tmpfs -o size=6m tmpfs "$room/small" 2>/dev/null; then
        echo "  (skipped: no tmpfs can be mounted here)"
        return
    fi
    value=$(head -c 30000 /dev/zero | tr '\0' v)
    for mode in "" --survive; do
        echo "- the disks are full, and the service ends ${mode}"
        dir=$room/small/dir
        # shellcheck disable=SC2086
        begin "$cairn" run $mode -n 3 --dir "$dir" -- "$jobs/coord"
        until_true 60 kv put kept 1 || fail "no service"
        dd if=/dev/zero of="$room/small/filler" bs=4k status=none 2>/dev/null
        for i in $(seq 40); do
            timeout 60 "$cairn" kv --dir "$dir" --timeout 5 put "filled/$i" "$value" >/dev/null 2>&1 || break
        done
        [ "$i" -lt 40 ] || fail "a full disk is not noticed"
        finish
        expect_code 73 "the service has ended${mode:+, $mode}"
        expect_text "$err" 'the service has ended: the disks of too many acceptors' "the service has ended${mode:+, $mode}"
        rm "$room/small/filler"
        mount -o remount,size=16m "$room/small"
        # shellcheck disable=SC2086
        begin "$cairn" run $mode -n 3 --dir "$dir" -- "$jobs/coord"
        until_true 60 kv get kept || fail "no service with room again"
        [ "$(kv list filled/ | wc -l)" -ge $((i - 1)) ] || fail "something that was acknowledged is lost"
        stop_service "room again"
        rm -rf "$dir"
        mount -o remount,size=6m "$room/small"
    done
    dir=$room/dir
}

prepare
for part in ${*:-killed_only lost_in_one twice service_ended}; do
    case $part in
    twice)
        lost_in_two zeroed zeroed
        lost_in_two segment_gone from_another
        ;;
    *) "$part" ;;
    esac
done
report
