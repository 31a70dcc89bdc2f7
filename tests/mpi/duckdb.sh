#!/usr/bin/env bash
# timeout: 300
# scan answers random questions as DuckDB does: conditions, groups, aggregates, orders, over real and small odd tables.
. "$(dirname "$0")/common.sh"
limit=280
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# DuckDB for node, from the npm registry, kept beside the build.
peer=${CAIRN_DUCKDB:-$build/duckdb}
if [ ! -d "$peer/node_modules/@duckdb/node-api" ]; then
    mkdir -p "$peer"
    echo '{"private": true}' >"$peer/package.json"
    if ! command -v npm >/dev/null || ! (cd "$peer" && timeout 120 npm install --no-audit --no-fund @duckdb/node-api@1.5.6-r.1 \
        >npm.log 2>&1 || timeout 120 npm install --no-audit --no-fund @duckdb/node-api >npm.log 2>&1); then
        rm -rf "$peer/node_modules"
        echo "SKIPPED: DuckDB could not be installed with npm, so scan's answers are not compared with it"
        exit 77
    fi
fi

seed=${2:-1}
echo "- ${1:-100} questions, seed $seed"
cd "$peer" || exit 1
run node "$top/tests/mpi/duckdb.mjs" "$jobs/scan" "$top/data/flights" "$room" "${1:-100}" "$seed" "$cairn"
cat "$out"
show=$err
expect_code 0 "seed $seed"
report
