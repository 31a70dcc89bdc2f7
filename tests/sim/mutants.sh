#!/bin/sh
# Put each bug of mutants.txt into a copy of the snapshot core and let the simulator find it.
#
# usage: mutants.sh COMPILER SOURCE_DIR SIMULATOR_LIBRARY WORK_DIR SEEDS [FLAGS ...]
# Prints a table; exits 1 when a bug is not found within SEEDS seeds, or when its text does not fit the source any more.
# "blind": found as well when the simulator does not look at the core's own invariants, only at what comes of it.
set -eu
compiler=$1 source=$2 library=$3 work=$4 seeds=$5
shift 5
core=$source/src/snapshot/chandy_lamport.c
mkdir -p "$work"

# plant NAME: writes $work/NAME.c and prints what is wrong with it
plant() {
    name=$1 core=$core out=$work/$1.c awk '
        function plain(text) { sub(/^[a-z]+ +/, "", text); gsub(/\\n/, "\n", text); return text }
        BEGIN {
            while ((getline line < ENVIRON["core"]) > 0) { whole = whole line "\n" }
        }
        $1 == "name" { here = $2 == ENVIRON["name"] }
        here && $1 == "wrong" { wrong = plain($0) }
        here && $1 == "find" { find = plain($0) }
        here && $1 == "with" { put = plain($0) }
        END {
            at = index(whole, find)
            rest = substr(whole, at + length(find))
            if (find == "" || at == 0 || index(rest, find) > 0) {
                printf "mutants.txt: %s: its text is not in the core exactly once\n", ENVIRON["name"] > "/dev/stderr"
                exit 1
            }
            printf "%s%s%s", substr(whole, 1, at - 1), put, rest > ENVIRON["out"]
            print wrong
        }' "$source/tests/sim/mutants.txt"
}

# hunt PROGRAM [OPTION]: prints "SEED PROPERTY", or "- not found". A crash or a hang is no finding.
hunt() {
    status=0
    timeout 60 "$@" --seeds "$seeds" >"$work/hunt.txt" 2>&1 || status=$?
    if [ "$status" -eq 1 ]; then
        sed -n 's/^FAILED seed \([0-9]*\) [^:]*: \([a-z]*\): .*/\1 \2/p' "$work/hunt.txt"
    else
        echo "- not found (exit $status)"
    fi
}

failures=0 count=0
printf '%-27s %-18s %-18s %s\n' bug "caught at seed, by" "the same blind" "what is wrong"
for name in $(sed -n 's/^name  *//p' "$source/tests/sim/mutants.txt"); do
    wrong=$(plant "$name") || exit 1
    "$compiler" "$@" -w -O1 -std=c11 -I"$source/include" -I"$source/src" "$work/$name.c" "$library" -o "$work/$name"
    found=$(hunt "$work/$name")
    blind=$(hunt "$work/$name" --blind)
    printf '%-27s %-18s %-18s %s\n' "$name" "$found" "$blind" "$wrong"
    count=$((count + 1))
    case $found in
    [0-9]*) ;;
    *) failures=$((failures + 1)) ;;
    esac
    rm -f "$work/$name" "$work/$name.c"
done
echo "$count bugs, $failures not caught"
[ "$failures" -eq 0 ]
