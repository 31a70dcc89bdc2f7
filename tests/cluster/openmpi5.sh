#!/usr/bin/env bash
# timeout: 1800
# Open MPI 5: Cairn is built in a Debian 13 of its own, made with debootstrap, and run there.
#
#   openmpi5.sh               the tests
#   openmpi5.sh COMMAND ...   a command in that Debian, in the folder of the source (to look for oneself)
#
# The Debian stays in build/debian13, or in the folder CAIRN_DEBIAN13_ROOT, for the next time; without the folder all is made anew,
# from the mirror that this machine's apt reads, or from CAIRN_DEBIAN_MIRROR.
#
# The script runs three times: as itself; with --space in namespaces of mounts and processes, which end with it however it ends, and
# with them every mount and process of the test; with --root inside of the Debian.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=${CAIRN_SOURCE:-$(cd "$here/../.." && pwd)}
folder=${CAIRN_DEBIAN13_ROOT:-${CAIRN_BUILD:-$top/build}/debian13}
root=$folder/root
suite=trixie

skip() {
    echo
    echo "SKIPPED: OPEN MPI 5 IS NOT TESTED ON THIS MACHINE: $*"
    exit 77
}

# --- as itself ------------------------------------------------------------------------------------------------------

# The mirror of Debian that apt reads, whatever form its lists have.
find_mirror() {
    local codename
    codename=$(. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME-}")
    # shellcheck disable=SC2016 # apt's own dollars
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
        awk -v name="$codename" '$2 == name && $3 == "main" && $1 ~ /debian\/?$/ { print $1; exit }'
}

outside() {
    local tool mirror
    [ "$(id -u)" -eq 0 ] || skip "only root can make another Debian"
    for tool in debootstrap chroot unshare setpriv flock; do
        command -v $tool >/dev/null || skip "there is no $tool"
    done
    unshare --mount --pid --ipc --fork --mount-proc true 2>/dev/null || skip "namespaces and mounts are not allowed"
    mirror=${CAIRN_DEBIAN_MIRROR:-$(find_mirror)}
    [ -n "$mirror" ] || [ -f "$root/ready" ] || skip "apt knows no mirror of Debian here (CAIRN_DEBIAN_MIRROR names one)"
    mkdir -p "$folder" "$top/build" || exit 1
    exec 9>"$folder/lock"
    flock -w 3600 9 || skip "another run holds $folder"

    # The first process in the namespaces dies with unshare, unshare with us, and all the others with the first.
    CAIRN_DEBIAN_MIRROR=$mirror setpriv --pdeathsig KILL \
        unshare --mount --pid --ipc --fork --kill-child --mount-proc bash "$here/openmpi5.sh" --space "$@" </dev/null &
    space=$!
    trap 'kill -KILL "$space" 2>/dev/null; exit 130' INT TERM HUP
    wait "$space"
    exit $?
}

# --- in namespaces --------------------------------------------------------------------------------------------------

# How this machine's apt gets at its mirror: a proxy, or checks that it leaves out.
copy_apt_settings() {
    apt-config dump | grep -E '^Acquire::(http|https|Retries|Check)' >"$1/etc/apt/apt.conf.d/90-as-outside" || true
}

make_root() {
    local new=$folder/new log=$folder/debootstrap.log proxy include=procps
    [ ! -f "$root/ready" ] || return 0
    echo "- a Debian 13 is made in $folder"
    [ ! -d "$root" ] || rm -rf --one-file-system "$root"
    [ ! -d "$new" ] || rm -rf --one-file-system "$new"
    proxy=$(apt-config dump | sed -n 's/^Acquire::http::Proxy "\(.*\)";$/\1/p')
    [ -z "$proxy" ] || export http_proxy=$proxy https_proxy=$proxy
    [ "${CAIRN_DEBIAN_MIRROR#https}" = "$CAIRN_DEBIAN_MIRROR" ] || include+=,ca-certificates
    if ! timeout -k 5 900 debootstrap --variant=minbase --include=$include "$suite" "$new" "$CAIRN_DEBIAN_MIRROR" \
        >"$log" 2>&1; then
        tail -n 5 "$log"
        rm -rf --one-file-system "$new"
        skip "debootstrap failed, see above"
    fi
    copy_apt_settings "$new"
    echo force-unsafe-io >"$new/etc/dpkg/dpkg.cfg.d/unsafe-io" # it can be made again
    rm -f "$new"/var/cache/apt/archives/*.deb
    mkdir -p "$new/source" "$new/cairn-build"
    touch "$new/ready"
    mv "$new" "$root"
}

space() {
    make_root
    # Another source with older files would be taken for built.
    if [ "$(cat "$root/cairn-build/source" 2>/dev/null)" != "$top" ]; then
        rm -rf --one-file-system "$root/cairn-build"
        mkdir "$root/cairn-build"
        echo "$top" >"$root/cairn-build/source"
    fi
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null
    # Its root is a mount itself, so that tests in it can make namespaces in turn.
    if ! { mount --bind "$root" "$root" && mount --rbind /dev "$root/dev" && mount -t tmpfs shm "$root/dev/shm" && mount -t proc proc "$root/proc" &&
        mount --rbind /sys "$root/sys" && mount -t tmpfs tmp "$root/tmp" &&
        mount --bind "$top" "$root/source" && mount -o remount,bind,ro "$root/source" &&
        mount --bind "$root/cairn-build" "$root/source/build"; }; then
        skip "mounts are not allowed"
    fi
    chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        ${http_proxy+http_proxy="$http_proxy"} ${https_proxy+https_proxy="$https_proxy"} \
        bash /source/tests/cluster/openmpi5.sh --root "$@"
}

# --- in the Debian --------------------------------------------------------------------------------------------------

# What no user should have to read.
noise='prterun|mpirun:|PMIX|PRTE|MPI_ABORT|errno|^-----|^\[|reachable pairing|^ *$'

quiet_run() {
    run "$cairn" run "$@"
    expect_no_text "$err" "$noise" "cairn run $*"
}

the_demo() {
    echo "- ./dev demo"
    limit=200
    run ./dev demo
    expect_code 0 "demo"
    expect_text "$out" '^The same answer, to the last digit' "demo"
    expect_text "$err" 'process 2 was killed \(signal 9\); restart 1 of' "demo"
    expect_text "$err" 'restarted from snapshot' "demo"
    expect_no_text "$err" "prterun|PMIX|PRTE|MPI_ABORT|errno|^-----|^\[[^0-9]|reachable pairing" "demo"
    limit=60
}

heat_killed() {
    local heat=("$jobs/heat" --size 240 --steps 700 --work 2000) kill
    echo "- heat: killed, crashed, another number of processes"
    quiet_run -n 4 --dir "$room/heat" -- "${heat[@]}"
    expect_code 0 "heat, undisturbed"
    cp "$out" "$room/heat.txt"
    rm -rf "$room/heat"
    for kill in 2@50% 0@60%,3@60%; do
        quiet_run -n 4 --interval 0.1 --kill $kill --dir "$room/heat" -- "${heat[@]}"
        expect_code 0 "heat, killed $kill"
        cmp -s "$out" "$room/heat.txt" || fail "heat, killed $kill: another answer"
        expect_text "$err" 'process [023] was killed \(signal 9\); restart 1 of' "heat, killed $kill"
        expect_text "$err" 'restarted from snapshot' "heat, killed $kill"
        expect_text "$room/heat/log/mpirun.log" 'prterun noticed' "heat, killed $kill: the log"
        rm -rf "$room/heat"
    done
}

stopped() {
    local heat=("$jobs/heat" --size 240 --steps 700 --work 2000)
    echo "- heat: stopped by SIGTERM, and on with 3 processes"
    begin "$cairn" run -n 4 --interval off --dir "$room/heat" -- "${heat[@]}"
    until_true 20 grep -q 'phase running' "$room/heat/status/process-000003" || fail "stop: heat never ran"
    kill -TERM "$pid"
    finish
    expect_code 85 "stop"
    expect_no_text "$err" "$noise" "stop"
    quiet_run -n 3 --dir "$room/heat" -- "${heat[@]}"
    expect_code 0 "stop, and on"
    cmp -s "$out" "$room/heat.txt" || fail "stop, and on: another answer"
    expect_text "$err" 'restarted from snapshot' "stop, and on"
}

own_failures() {
    echo "- the job's own failure is passed on"
    quiet_run -n 2 --dir "$room/own" -- "$jobs/heat" --size nonsense
    expect_code 3 "wrong arguments"
    quiet_run -n 2 --dir "$room/own" -- /bin/false
    expect_code 1 "a program that joins no job"
}

survived() {
    local query=(--format csv --group-by station --agg 'count,mean(temperature),max(temperature)') kills
    echo "- scan --survive: one is killed, the others finish"
    mkdir "$room/stations"
    "$jobs/stations" --rows 300000 --files 3 --seed 1 "$room/stations" || fail "stations"
    quiet_run -n 2 --dir "$room/plain" -- "$jobs/scan" "${query[@]}" "$room/stations"
    expect_code 0 "undisturbed"
    cp "$out" "$room/expected.csv"
    for kills in 2@50% 0@40%; do
        quiet_run --survive -n 4 --kill $kills --dir "$room/survive" -- \
            "$jobs/scan" "${query[@]}" --read-rate 800K --block-size 50K "$room/stations"
        expect_code 0 "survive, killed $kills"
        cmp -s "$out" "$room/expected.csv" || fail "survive, killed $kills: another answer, or not once"
        expect_text "$err" 'is lost; the others go on' "survive, killed $kills"
        expect_text "$err" 'done in .* 0 restarts' "survive, killed $kills"
        rm -rf "$room/survive"
    done
}

in_place() {
    echo "- heat --spares: one is killed, a spare takes its place"
    quiet_run -n 3 --dir "$room/plain-heat" -- "$jobs/heat" --size 240 --steps 700 --work 2000
    expect_code 0 "undisturbed heat"
    cp "$out" "$room/expected.heat"
    quiet_run -n 3 --spares 1 --interval 0.1 --kill 2@60% --dir "$room/in-place" -- "$jobs/heat" --size 240 --steps 700 --work 2000
    expect_code 0 "in place"
    cmp -s "$out" "$room/expected.heat" || fail "in place: another answer"
    expect_text "$err" 'process 2 recovered in place on a spare from snapshot' "in place"
    expect_text "$err" 'done in .* 0 restarts' "in place"
}

units() {
    echo "- the unit tests"
    limit=300
    run ctest --test-dir build -L unit --output-on-failure --parallel "$(nproc)"
    [ "$code" -eq 0 ] || show=$out fail "unit tests"
    grep 'tests passed' "$out"
}

inside() {
    local log=/tmp/build.log part began
    cd /source || exit 1
    echo "- ./dev build"
    if ! timeout -k 5 1200 ./dev build >$log 2>&1; then
        tail -n 40 $log
        command -v mpicc ninja h5dump >/dev/null || skip "the packages could not be installed, see above"
        echo "FAILED: Cairn cannot be built"
        exit 1
    fi
    rm -f /var/cache/apt/archives/*.deb
    echo "  $SECONDS s"
    export CAIRN_SOURCE=/source CAIRN_BUILD=/source/build
    if [ $# -gt 0 ]; then
        "$@"
        exit $?
    fi
    . tests/mpi/common.sh
    mpirun --version >"$room/version"
    expect_text "$room/version" '\(Open MPI\) 5\.' "the Open MPI of Debian 13"
    for part in the_demo heat_killed stopped own_failures survived in_place units; do
        began=$SECONDS
        $part
        echo "  $((SECONDS - began)) s"
    done
    report
}

case ${1-} in
--space) shift && space "$@" ;;
--root) shift && inside "$@" ;;
*) outside "$@" ;;
esac
