#!/usr/bin/env bash
# timeout: 300
# Snapshots that are damaged on disk, a full disk, a folder that cannot be written. A damaged snapshot is seen, named and passed
# over for the one before; when none is left nothing starts over and nothing is overwritten.
in_memory=yes
. "$(dirname "$0")/common.sh"

base=$room/base
dir=$room/dir
job=("$jobs/bank" --transfers 5000 --work 150) # lasts as long on a busy machine as on an idle one
large=("$jobs/heat" --size 300 --steps 4000)
again=("$cairn" run --dir "$dir" -n 2 --interval off --keep 5)

clean_up_more() {
    umount "$room/small" 2>/dev/null
}

# Flip bit $3 of byte $2 of file $1.
flip() {
    local value
    value=$(od -An -tu1 -j "$2" -N 1 "$1")
    printf "\\x$(printf %x $((value ^ (1 << $3))))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

run "$cairn" run --dir "$room/undisturbed" -n 2 --interval off -- "${job[@]}"
expect_code 0 "undisturbed"
cp "$out" "$room/expected"

# A run that was stopped with several snapshots.
begin "$cairn" run --dir "$base" -n 2 --interval 0 --keep 5 -- "${job[@]}"
until_true 30 test -f "$base/snapshots/000003/snapshot.h5" || fail "three snapshots were not committed"
kill -TERM "$pid"
finish
expect_code 85 "stopped"
newest=$(committed "$base")
older=$(find "$base/snapshots" -name snapshot.h5 -printf '%h\n' | sort | tail -n 2 | head -n 1)
older=$(basename "$older")
[ "$older" != "$newest" ] || fail "there are not two committed snapshots"

# one CASE COMMAND: damage the newest snapshot (in $at), go on: the older one must be used.
one() {
    local what=$1
    shift
    rm -rf "$dir"
    cp -a "$base" "$dir"
    at=$dir/snapshots/$newest
    "$@"
    run "$cairn" verify "$dir"
    expect_code 65 "$what: cairn verify"
    run "${again[@]}" -- "${job[@]}"
    expect_code 0 "$what"
    cmp -s "$out" "$room/expected" || fail "$what: another answer"
    expect_text "$err" "restarted from snapshot $((10#$older)) " "$what"
    expect_text "$err" "$newest|snapshot $((10#$newest)) " "$what: the damaged one is not named"
}

swap() {
    mv "$at/process-000000.h5" "$at/x" && mv "$at/process-000001.h5" "$at/process-000000.h5" && mv "$at/x" "$at/process-000001.h5"
}
foreign() {
    cp "$at/snapshot.h5" "$at/process-000001.h5"
}
bytes=$(stat -c %s "$base/snapshots/$newest/process-000001.h5")

echo "- the newest snapshot is damaged: $newest, and $older is used"
one "truncated part" eval 'truncate -s $((bytes / 2)) "$at/process-000001.h5"'
one "empty part" eval ': >"$at/process-000001.h5"'
one "missing part" eval 'rm "$at/process-000001.h5"'
one "swapped parts" swap
one "part of another snapshot" eval 'cp "$at/../$older/process-000001.h5" "$at/process-000001.h5"'
one "foreign HDF5 file" foreign
one "no HDF5 file" eval 'head -c "$bytes" /dev/urandom >"$at/process-000001.h5"'
one "a longer part" eval 'echo >>"$at/process-000001.h5"'
one "truncated commit record" eval 'truncate -s 700 "$at/snapshot.h5"'
for place in 5 300 520 2000 $((bytes / 3)) $((bytes - 1)); do
    one "bit flipped in byte $place" flip "$at/process-000001.h5" "$place" $((RANDOM % 8))
done
one "bit flipped in the commit record" eval 'flip "$at/snapshot.h5" $((RANDOM % $(stat -c %s "$at/snapshot.h5"))) 3'

echo "- all are damaged"
rm -rf "$dir"
cp -a "$base" "$dir"
for part in "$dir"/snapshots/*/process-000000.h5; do
    flip "$part" $((bytes / 2)) 1
done
before=$(cd "$dir/snapshots" && find . -type f | sort | xargs cksum)
run "${again[@]}" -- "${job[@]}"
expect_code 66 "all damaged"
expect_no_text "$err" 'starting from the beginning|; restart' "all damaged"
expect_text "$err" 'process-000000.h5' "all damaged: the file is not named"
[ "$before" = "$(cd "$dir/snapshots" && find . -type f | sort | xargs cksum)" ] || fail "all damaged: files were changed"
run "${again[@]}" --start-over -- "${job[@]}"
expect_code 0 "all damaged, --start-over"

echo "- uncommitted leftovers and an empty folder are no snapshots"
rm -rf "$dir"
cp -a "$base" "$dir"
rm "$dir/snapshots/$newest/snapshot.h5"
mkdir "$dir/snapshots/000900"
run "${again[@]}" -- "${job[@]}"
expect_code 0 "leftovers"
expect_text "$err" "restarted from snapshot $((10#$older)) " "leftovers"
cmp -s "$out" "$room/expected" || fail "leftovers: another answer"

echo "- a folder that cannot be written"
: >"$room/file"
run "$cairn" run --dir "$room/file/dir" -n 2 -- "${job[@]}"
expect_code 73 "below a file"
expect_text "$err" "$room/file" "below a file"
mkdir "$room/closed"
chmod 555 "$room/closed"
chmod 755 "$room"
user=()
[ "$(id -u)" -ne 0 ] || user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
if [ "$(id -u)" -eq 0 ] && ! "${user[@]}" test -x "$cairn"; then
    echo "  (skipped: nobody else can reach $cairn)"
else
    run "${user[@]}" "$cairn" run --dir "$room/closed/dir" -n 2 -- "${job[@]}"
    expect_code 73 "no permission"
    expect_text "$err" "$room/closed.*[Pp]ermission denied" "no permission"
fi

echo "- a full disk"
mkdir "$room/small"
if [ "$(id -u)" -eq 0 ] && mount -t tmpfs -o size=600k tmpfs "$room/small" 2>/dev/null; then
    # 0.7 MB of state does not fit
    run "$cairn" run --dir "$room/large" -n 2 --interval off -- "${large[@]}"
    cp "$out" "$room/expected"
    run "$cairn" run --dir "$room/small/dir" -n 2 --interval 0.02 -- "${large[@]}"
    expect_code 0 "full disk"
    cmp -s "$out" "$room/expected" || fail "full disk: another answer"
    expect_text "$err" '[Nn]o space' "full disk"
    [ -z "$(committed "$room/small/dir")" ] || fail "full disk: a snapshot was committed"
    [ "$(find "$room/small/dir/snapshots" -name "*.tmp" 2>/dev/null | wc -l)" -eq 0 ] || fail "full disk: an unfinished file is left"
    umount "$room/small"
else
    echo "  (skipped: no tmpfs can be mounted here)"
fi

report
