#!/bin/sh
# Put each bug of a list into a copy of a production file and let a simulator find it.
#
# usage: mutants.sh [--blind] COMPILER SOURCE_DIR LIST WORK_DIR SEEDS NAME=LIBRARY[,LIBRARY ...] ... [-- FLAGS ...]
#
# LIST names bugs (see mutants.txt); NAME=LIBRARY,... is what the changed file is linked with to become the simulator
# that a bug is for. Libraries may hold the true file too: the changed one comes first.
# Prints a table; exits 1 when a bug is not found within SEEDS seeds, or when its text does not fit the source any more.
# --blind: look as well whether it is found when the simulator does not look at the core's own invariants and messages,
# only at what comes of them.
set -eu
blind=
[ "$1" != --blind ] || { blind=yes; shift; }
compiler=$1 source=$2 list=$3 work=$4 seeds=$5
shift 5
simulators=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    simulators="$simulators $1"
    shift
done
[ $# -eq 0 ] || shift
mkdir -p "$work"

# plant NAME: writes $work/NAME.c and prints "FILE SIMULATOR SEEDS WRONG": of file and sim the last before it count
plant() {
    name=$1 source=$source out=$work/$1.c list=$list seeds=$seeds awk '
        function plain(text) { sub(/^[a-z]+ +/, "", text); gsub(/\\n/, "\n", text); return text }
        BEGIN { most = ENVIRON["seeds"] }
        $1 == "name" { here = $2 == ENVIRON["name"] }
        $1 == "file" && !done { file = $2 }
        $1 == "sim" && !done { sim = $2 }
        here && $1 == "seeds" { most = $2 }
        here && $1 == "wrong" { wrong = plain($0) }
        here && $1 == "find" { find = plain($0) }
        here && $1 == "with" { put = plain($0); done = 1 }
        END {
            path = ENVIRON["source"] "/" file
            while ((getline line < path) > 0) { whole = whole line "\n" }
            at = index(whole, find)
            rest = substr(whole, at + length(find))
            if (find == "" || at == 0 || index(rest, find) > 0) {
                printf "%s: %s: its text is not in %s exactly once\n", ENVIRON["list"], ENVIRON["name"], file \
                    > "/dev/stderr"
                exit 1
            }
            printf "%s%s%s", substr(whole, 1, at - 1), put, rest > ENVIRON["out"]
            print file, sim, most, wrong
        }' "$list"
}

# libraries SIMULATOR: what to link it with
libraries() {
    for simulator in $simulators; do
        [ "${simulator%%=*}" != "$1" ] || echo "${simulator#*=}" | tr , ' '
    done
}

# hunt SEEDS PROGRAM [OPTION]: prints "SEED PROPERTY", or "- not found". A crash or a hang is no finding.
hunt() {
    status=0 most=$1
    shift
    timeout 1800 "$@" --seeds "$most" >"$work/hunt.txt" 2>&1 || status=$?
    if [ "$status" -eq 1 ]; then
        sed -n 's/^FAILED seed \([0-9]*\) [^:]*: \([a-z]*\): .*/\1 \2/p' "$work/hunt.txt"
    else
        echo "- not found (exit $status)"
    fi
}

failures=0 count=0
printf '%-27s %-18s %s%s\n' bug "caught at seed, by" "${blind:+$(printf '%-18s ' 'the same blind')}" "what is wrong"
for name in $(sed -n 's/^name  *//p' "$list"); do
    planted=$(plant "$name") || exit 1
    # shellcheck disable=SC2086
    read -r file simulator most wrong <<EOF
$planted
EOF
    # shellcheck disable=SC2046
    "$compiler" -w -O1 -std=c11 -D_GNU_SOURCE "$@" -I"$source/include" -I"$source/src" -I"$source/$(dirname "$file")" \
        "$work/$name.c" $(libraries "$simulator") -o "$work/$name"
    found=$(hunt "$most" "$work/$name")
    [ -z "$blind" ] || blind=$(printf '%-18s ' "$(hunt "$most" "$work/$name" --blind)")
    printf '%-27s %-18s %s%s\n' "$name" "$found" "$blind" "$wrong"
    count=$((count + 1))
    case $found in
    [0-9]*) ;;
    *) failures=$((failures + 1)) ;;
    esac
    rm -f "$work/$name" "$work/$name.c"
done
echo "$count bugs, $failures not caught"
[ "$failures" -eq 0 ]
