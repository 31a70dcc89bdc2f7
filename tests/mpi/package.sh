#!/usr/bin/env bash
# timeout: 240
# Cairn as others use it: installed into a prefix, found once by CMake and once by pkg-config, a job from outside the tree
# built against it, killed, and compared with its undisturbed run.
. "$(dirname "$0")/common.sh"

prefix=$room/prefix
source=$top/tests/mpi/package
limit=120

run cmake --install "$build" --prefix "$prefix"
expect_code 0 "cmake --install"
for file in bin/cairn include/cairn/cairn.h include/cairn/coord.h; do
    [ -f "$prefix/$file" ] || fail "$file was not installed"
done

echo "- built through find_package"
run cmake -S "$source" -B "$room/cmake" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release
expect_code 0 "find_package(Cairn)"
run cmake --build "$room/cmake"
expect_code 0 "the job outside, by CMake"

echo "- built through pkg-config"
pkgconfig=$(find "$prefix" -name cairn.pc -printf '%h' -quit)
export PKG_CONFIG_PATH=$pkgconfig
read -ra flags <<<"$(pkg-config --cflags --libs cairn)"
run gcc -std=c11 -D_GNU_SOURCE -O2 "$source/outside.c" -o "$room/by-pkg-config" "${flags[@]}"
expect_code 0 "the job outside, by pkg-config ${flags[*]}"

limit=60
for job in "$room/cmake/outside" "$room/by-pkg-config"; do
    echo "- $(basename "$job") under the installed cairn"
    run "$prefix/bin/cairn" run -n 3 --dir "$room/dir" --interval 0.1 -- "$job"
    expect_code 0 "undisturbed"
    expect_text "$out" '^ring of 3: [0-9a-f]{16}$' "undisturbed"
    cp "$out" "$room/expected"
    rm -rf "$room/dir"
    run "$prefix/bin/cairn" run -n 3 --dir "$room/dir" --interval 0.1 --kill 1@60% -- "$job"
    expect_code 0 "killed"
    expect_text "$err" 'restarted from snapshot [0-9]+' "killed"
    cmp -s "$out" "$room/expected" || fail "killed: another answer"
    rm -rf "$room/dir"
done
report
