#!/usr/bin/env bash
# timeout: 600
# Kill jobs at random moments, and compare every answer with that of the run that nobody disturbed.
#
#   kill_loop.sh [TRIALS] [JOB...]      default: 18 trials over heat, bank and scan; SEED=n repeats a loop's choices
#
# Ways to die: --kill at a percentage or a second; from outside one rank, two at once, or mpirun itself; and once more
# soon after the restart. Snapshots are taken back to back in most trials, so that the kills fall into recording, writing
# and committing as well as into computing. A trial fails when the job does not end with 0 in time, the answer differs, a
# launch starts from the beginning although a snapshot had been committed, or cairn verify finds damage.
. "$(dirname "$0")/common.sh"

trials=${1:-18}
shift $(($# > 0 ? 1 : 0))
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(heat bank scan)
limit=${LIMIT:-60}
seed=${SEED:-$((RANDOM * 32768 + RANDOM))}
RANDOM=$((seed % 32768))
dir=$room/dir
declare -A seconds
table=$room/table
missed=0
twice=0

command_of() {
    case $1 in
    heat) command=("$jobs/heat" --size 300 --steps 600 --work 2000) ;;
    bank) command=("$jobs/bank" --transfers 8000 --work 120) ;;
    scan) command=("$jobs/scan" --read-rate 600K --group-by origin --agg 'count,mean(delay),max(delay)' "$top/data/flights") ;;
    *) command=("$jobs/$1") ;;
    esac
}

# A process that is killed when the answer is out and it has not left itself: the answer is said again (README). Counted.
is_answer() {
    cmp -s "$out" "$expected" && return 0
    cat "$expected" "$expected" | cmp -s "$out" - || return 1
    twice=$((twice + 1))
}

now() {
    date +%s.%N
}

# A random number of seconds between $1 and $2.
between() {
    awk -v low="$1" -v high="$2" -v r="$RANDOM" 'BEGIN { printf "%.3f", low + (high - low) * r / 32767 }'
}

# The answer of job $1 on $2 processes that nobody disturbs, once.
expected_of() {
    expected=$room/expected-$1-$2
    [ -f "$expected" ] && return
    local begun
    begun=$(now)
    rm -rf "$dir"
    run "$cairn" run --quiet --dir "$dir" -n "$2" --interval off -- "${command[@]}"
    expect_code 0 "$1 on $2 processes, undisturbed"
    cp "$out" "$expected"
    seconds[$1-$2]=$(awk -v a="$begun" -v b="$(now)" 'BEGIN { print b - a }')
}

launches() {
    grep -c '^== launch' "$dir/log/mpirun.log" 2>/dev/null
}

# So many launches have begun, or the run has ended.
is_launch() {
    [ "$(launches)" -ge "$1" ] || ! kill -0 "$pid" 2>/dev/null
}

# Kill $1 random ranks of the launch that is on now.
kill_ranks() {
    local victims
    victims=$(ranks_of "$pid" | shuf -n "$1" --random-source=<(yes "$RANDOM"))
    # shellcheck disable=SC2086
    [ -n "$victims" ] && kill -KILL $victims 2>/dev/null
}

# In the background of a trial: notes in which launch the first snapshot was committed.
watch_commits() {
    local found at
    while kill -0 "$1" 2>/dev/null; do
        found=$(committed "$dir")
        at=$(launches)
        if [ -n "$found" ]; then
            echo "$at" >"$room/committed_in"
            return
        fi
        sleep 0.02
    done
}

from_outside() {
    until_true 20 is_launch 1 || return 0
    sleep "$(between 0.15 "$(awk -v s="${seconds[$name-$n]}" 'BEGIN { print s * 0.8 + 0.1 }')")"
    case $way in
    rank) kill_ranks 1 ;;
    two\ ranks) kill_ranks 2 ;;
    mpirun) kill -KILL "$(mpirun_of "$pid")" 2>/dev/null ;;
    twice)
        kill_ranks 1 || return 0
        until_true 20 is_launch 2 || return 0
        sleep "$(between 0 0.4)"
        kill_ranks 1
        ;;
    esac || missed=$((missed + 1))
}

# Restart lines of the supervisor: number k begins launch k. One that begins at the beginning must come before the first commit.
check_restarts() {
    local first
    first=$(cat "$room/committed_in" 2>/dev/null || echo 1000000)
    awk -v first="$first" '/; restart [0-9]+ of / { k++; if (/starting from the beginning/ && k >= first) bad = 1 }
        END { exit bad }' "$err" || fail "trial $trial: started from the beginning although a snapshot was committed"
    # The last launch says what it went on from, unless it rightly began anew.
    awk '/; restart [0-9]+ of / { due = !/starting from the beginning/ }
        /restarted from snapshot/ { due = 0 } END { exit due }' "$err" ||
        fail "trial $trial: the last launch does not say what it went on from"
}

one_trial() {
    local options=() begun percent
    name=${names[trial % ${#names[@]}]}
    n=$((RANDOM % 3 + 2))
    ways=(percent seconds rank "two ranks" mpirun twice "percent twice")
    way=${ways[(trial / ${#names[@]} + RANDOM % 2) % ${#ways[@]}]}
    intervals=(0 0 0 0.05 0.3)
    interval=${intervals[RANDOM % 5]}
    command_of "$name"
    expected_of "$name" "$n"
    percent=$((RANDOM % 97 + 1))
    case $way in
    percent) options=(--kill "$((RANDOM % n))@$percent%") ;;
    percent\ twice) options=(--kill "$((RANDOM % n))@$percent%" --kill "$((RANDOM % n))@$(((percent + 99) / 2))%") ;;
    seconds) options=(--kill "$((RANDOM % n))@$(between 0 "${seconds[$name-$n]}")") ;;
    esac
    rm -rf "$dir" "$room/committed_in"
    begun=$(now)
    local failures_before=$failures
    begin "$cairn" run --dir "$dir" -n "$n" --interval "$interval" --hang-timeout 20 "${options[@]}" -- "${command[@]}"
    watch_commits "$pid" &
    local watcher=$!
    [ ${#options[@]} -gt 0 ] || from_outside
    finish
    wait "$watcher"
    expect_code 0 "trial $trial: $name on $n, $way, interval $interval"
    is_answer || fail "trial $trial: $name on $n, $way, interval $interval: another answer"
    check_restarts
    timeout 60 "$cairn" verify "$dir" >"$room/verify" 2>&1
    code=$?
    [ "$code" -eq 0 ] || { show=$room/verify && fail "trial $trial: cairn verify: exit status $code"; }
    if [ "$name" = bank ] && has_committed "$dir"; then # every cut holds the whole sum of money
        timeout 60 "$jobs/bank" --audit "$dir" >"$room/verify" 2>&1 ||
            { show=$room/verify && fail "trial $trial: bank --audit"; }
    fi
    printf '%5d  %-6s %2d  %-14s %-8s %8s  %8.1f  %s\n' "$trial" "$name" "$n" "$way" "$interval" \
        "$(grep -c '; restart [0-9]* of ' "$err")" "$(awk -v a="$begun" -v b="$(now)" 'BEGIN { print b - a }')" \
        "$([ "$failures" -eq "$failures_before" ] && echo good || echo BAD)" | tee -a "$table"
}

echo "seed $seed"
head='trial  job     n  way            interval restarts   seconds  verdict'
echo "$head"
for ((trial = 1; trial <= trials; trial++)); do
    one_trial
done
echo
echo "all $trials trials, seed $seed ($missed kills from outside came too late, $twice answers were said twice):"
echo "$head"
cat "$table"
awk '{ trials++; good += $NF == "good"; killed += $(NF - 2) > 0; restarts += $(NF - 2) }
    END { printf "%d of %d good; %d disturbed, %d restarts\n", good, trials, killed, restarts }' "$table"
report
