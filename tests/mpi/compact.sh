#!/usr/bin/env bash
# timeout: 240
# The log of the coordination service is forgotten when an image of the state was made: the folders stay small however much is
# written, and everything is there after restarts, in a process that lagged behind what the others still have in their logs, and in
# one that lost its folder.
in_memory=yes
. "$(dirname "$0")/common.sh"
dir=$room/dir
export CAIRN_LOG_SEGMENT=262144 CAIRN_IMAGE_AFTER=262144

# fill WHAT PUTS [lag]: what was written before is compared first.
fill() {
    local what=$1
    shift
    run "$cairn" run --dir "$dir" -n 3 --interval off -- "$tools/program_fill" "$@"
    expect_code 0 "$what"
    [ "$(grep -c '^process [0-9]: ' "$out")" -eq 3 ] || fail "$what: not three processes"
}

# The n-th number that process $1 said.
said_by() {
    sed -n "s/^process $1: //p" "$out" | tr -dc '0-9 ' | awk -v n="$2" '{ print $n }'
}

# Two images, what was logged since the older one (four times an image at most before the next one is begun), and some segments that
# are used again.
is_small() {
    local folder bytes
    for folder in "$dir"/consensus/group-*/acceptor-*; do
        bytes=$(du -sb "$folder" | cut -f 1)
        [ "$bytes" -lt $((16 << 20)) ] || fail "$1: $(basename "$folder") has $bytes bytes"
        [ "$(find "$folder" -name 'image-*.h5' | wc -l)" -le 2 ] || fail "$1: $(basename "$folder") has more than two images"
        [ "$(find "$folder" -name '*.tmp' | wc -l)" -eq 0 ] || fail "$1: an unfinished file is left"
    done
    largest=$(du -sb "$dir"/consensus/group-*/acceptor-* | sort -n | tail -n 1 | cut -f 1)
    echo "  $1: at most $largest bytes in a folder"
}

echo "- much is written"
fill "much" 300000
is_small "much"
for p in 0 1 2; do
    [ "$(said_by $p 1)" -ge 3 ] || fail "process $p made $(said_by $p 1) images"
    [ "$(said_by $p 3)" -gt $((20 << 20)) ] || fail "process $p wrote only $(said_by $p 3) bytes of log"
done
size=$largest

echo "- an image can be read by people"
image=$(find "$dir"/consensus/group-*/acceptor-000001 -name 'image-*.h5' | sort | tail -n 1)
if command -v h5dump >/dev/null; then
    run h5dump -d /keys "$image"
    expect_code 0 "h5dump"
    expect_text "$out" '"fill/0000"' "h5dump: keys"
    expect_text "$out" '"fill/0199"' "h5dump: keys"
    run h5dump -A "$image"
    expect_text "$out" '"slot"' "h5dump: attributes"
    expect_text "$out" '"revision"' "h5dump: attributes"
else
    echo "  (skipped: no h5dump here)"
fi

echo "- everything is there after a restart, and it goes on"
fill "a restart" 300000
is_small "a restart"
[ "$largest" -lt $((size * 3 / 2 + (1 << 20))) ] || fail "the folder grows: $size, then $largest bytes"

echo "- a process that was stopped meanwhile gets an image from the others"
fill "a laggard" 150000 lag
[ "$(said_by 2 2)" -ge 1 ] || fail "the laggard needed no image: $(cat "$out")"
is_small "a laggard"

echo "- with the laggard's vote: another one has lost its folder"
rm -rf "$dir"/consensus/group-*/acceptor-000000
fill "without the first one's folder" 1000
expect_text "$err" 'acceptor 0 has lost its consensus log' "without the first one's folder"
rm -rf "$dir"/consensus/group-*/acceptor-000001 # and with that one's, in place of the next
fill "without the second one's folder" 1000

echo "- the newest image is damaged: the one before is used"
fill "two images each" 150000
for folder in "$dir"/consensus/group-*/acceptor-*; do
    image=$(find "$folder" -name 'image-*.h5' | sort | tail -n 1)
    printf 'damage' | dd of="$image" bs=1 seek=$(($(stat -c %s "$image") / 2)) conv=notrunc status=none
done
fill "damaged images" 1000
expect_text "$err" 'an older image is used' "damaged images"
fill "after damaged images" 1000

echo "- the state moves to another number of acceptors, images and all"
CAIRN_ACCEPTORS=1 fill "one acceptor" 1000
fill "one acceptor still" 1000
CAIRN_ACCEPTORS=3 fill "three again" 1000
report
