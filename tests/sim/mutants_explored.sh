#!/bin/sh
# Put each bug of a list (mutants_single.txt, mutants_multi.txt) into a copy of the core that the list names, and let an exploration find it.
#
# usage: mutants_explored.sh COMPILER SOURCE_DIR SIMULATOR_LIBRARY WORK_DIR LIST [FLAGS ...]
# Prints a table; exits 1 when a bug is not found by the run that the list names, or when its text does not fit the source any more.
# "blind": found as well when it does not look at the core's own invariants, only at what comes of it.
set -eu
compiler=$1 source=$2 library=$3 work=$4 list=$5
shift 5
mkdir -p "$work"

# line core|run NAME: the bug's own line, or the one at the head of the list: the file that the bug is in, what the simulator is run with
line() {
    awk -v what="$1" -v name="$2" '$1 == "name" { here = $2 == name; below = 1 }
        $1 == what && (here || !below) { sub(/^[a-z]+ +/, ""); found = $0 }
        END { print found }' "$list"
}

# plant NAME: writes $work/NAME.c and prints what is wrong with it
plant() {
    name=$1 core=$source/$(line core "$1") out=$work/$1.c list=${list##*/} awk '
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
                printf "%s: %s: its text is not in the core exactly once\n", ENVIRON["list"], ENVIRON["name"] > "/dev/stderr"
                exit 1
            }
            printf "%s%s%s", substr(whole, 1, at - 1), put, rest > ENVIRON["out"]
            print wrong
        }' "$list"
}

# hunt PROGRAM [OPTION]: prints "SEED PROPERTY" (or what else the simulator counts), or "- not found". A crash or a hang is no finding.
hunt() {
    status=0
    # shellcheck disable=SC2046
    timeout 1800 "$@" $(line run "$name") $most >"$work/hunt.txt" 2>&1 || status=$?
    if [ "$status" -eq 1 ]; then
        sed -n 's/^FAILED [a-z]* \([0-9]*\) [^:]*: \([a-z]*\): .*/\1 \2/p' "$work/hunt.txt"
    else
        echo "- not found (exit $status)"
    fi
}

failures=0 count=0
printf '%-27s %-18s %-18s %s\n' bug "caught at, by" "the same blind" "what is wrong"
for name in $(sed -n 's/^name  *//p' "$list"); do
    wrong=$(plant "$name") || exit 1
    "$compiler" "$@" -w -O1 -std=c11 -I"$source/include" -I"$source/src" "$work/$name.c" "$library" -o "$work/$name"
    most=
    found=$(hunt "$work/$name")
    most='--states 2000000' # this one only to know
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
