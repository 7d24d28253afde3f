#!/usr/bin/env bash
# Measures what the library costs a service: wrk against the same program with and without it, alternately, flat out and at
# a held rate. README.md in this folder describes the method and the verdict.
#
#   specs/003-improve-observability-prometheus/load-tests/run_wrk.sh            under two minutes
#   specs/003-improve-observability-prometheus/load-tests/run_wrk.sh --quick    a few seconds, without a verdict
#
#   BIN            the service; default: the release build of tests/examples/load.rs, built first
#   PORT           the first of two free ports; default 8181
#   ROUNDS         default 5; each is four runs
#   DURATION_S     of one run; default 5
#   RATE           requests per second of the held rate; default 1000
#   CONNECTIONS    default 32
#
# Exit codes: 0 passed, 1 failed, 64 wrong arguments, 69 something is missing, 75 it could not be measured: a port is
# taken, a server ended, there were errors, or the machine was too busy to hold the rate; 130 and 143 when ended by
# SIGINT and SIGTERM.
set -euo pipefail
export LC_ALL=C # a point in numbers
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=infra/lib.sh
source "$here/../../../infra/lib.sh"

PORT=${PORT:-8181}
ROUNDS=${ROUNDS:-5}
DURATION_S=${DURATION_S:-5}
RATE=${RATE:-1000}
CONNECTIONS=${CONNECTIONS:-32}
# Time limit for a server to answer.
START_TIMEOUT_S=30

judge=1
declare -A pid=() port=()
run_dir=

main() {
    if (($# == 1)) && [[ $1 == --quick ]]; then
        judge=0 ROUNDS=1 DURATION_S=1
    elif (($#)); then
        fail "$EX_USAGE" "usage: run_wrk.sh [--quick]"
    fi
    check_numbers
    [[ -r /proc/self/stat ]] || fail "$EX_MISSING" "missing: /proc, for the servers' CPU time; this needs Linux"
    xtask deps wrk
    wrk=$(xtask find wrk)
    build
    choose_cores
    port=([without]=$PORT [with]=$((PORT + 1)))
    refuse_taken_ports
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    run_dir=$(mktemp -d "${TMPDIR:-/tmp}/observability-load.XXXXXX")
    start without OBSERVABILITY=off
    start with OBSERVABILITY=on
    measure_all
    awk -v judge="$judge" -v rate="$RATE" -f "$here/judge.awk" "$run_dir/rows"
}

check_numbers() {
    local name
    for name in PORT ROUNDS DURATION_S RATE CONNECTIONS; do
        [[ ${!name} =~ ^[1-9][0-9]{0,5}$ ]] || fail "$EX_USAGE" "$name=${!name}: a number from 1 to 999999"
    done
    ((PORT < 65535)) || fail "$EX_USAGE" "PORT=$PORT: two ports are used, so it is at most 65534"
}

# The release build, unless a program was given.
build() {
    if [[ -z ${BIN:-} ]]; then
        local target=${CARGO_TARGET_DIR:-$ROOT/target}
        # shellcheck disable=SC2086 # several options
        (cd "$ROOT" && cargo build --release ${CARGO_FLAGS:-} -p observability-tests --example load) >&2
        [[ $target == /* ]] || target=$ROOT/$target
        BIN=$target/release/examples/load
    fi
    [[ -f $BIN && -x $BIN ]] || fail "$EX_MISSING" "missing: BIN=$BIN is not a program"
}

# A core for the servers, of which one works at a time, and another for wrk. $on_server and $on_load are prefixes.
choose_cores() {
    local cores=() part allowed
    on_server=() on_load=()
    if command -v taskset >/dev/null; then
        allowed=$(taskset -pc $$ | sed 's/.*: *//')
        for part in ${allowed//,/ }; do
            mapfile -t -O ${#cores[@]} cores < <(seq "${part%-*}" "${part#*-}")
        done
    fi
    if ((${#cores[@]} < 2)); then
        say "one core, or no taskset: server and load share the cores, so latencies are too high"
        return
    fi
    on_server=(taskset -c "${cores[0]}")
    on_load=(taskset -c "${cores[1]}")
    say "server on core ${cores[0]}, load on core ${cores[1]}"
}

refuse_taken_ports() {
    local side
    for side in without with; do
        if (exec 3<>"/dev/tcp/127.0.0.1/${port[$side]}") 2>/dev/null; then
            fail "$EX_TEMPFAIL" "port ${port[$side]} is taken: set PORT to the first of two free ones"
        fi
    done
}

# Starts a server and waits until it answers. Its standard output is a pipe, as a shipper or a container's runtime would
# hold it, read by a process on the load's core.
start() { # SIDE VARIABLE
    local side=$1 began=$SECONDS
    env -u RUST_LOG LISTEN="127.0.0.1:${port[$side]}" "$2" "${on_server[@]}" "$BIN" </dev/null \
        > >(exec "${on_load[@]}" cat >/dev/null) 2>"$run_dir/$side.stderr" &
    pid[$side]=$!
    until answers "${port[$side]}" /healthz; do
        kill -0 "${pid[$side]}" 2>/dev/null ||
            fail "$EX_TEMPFAIL" "the server $side the library ended: $(tail -n 1 "$run_dir/$side.stderr")"
        ((SECONDS - began < START_TIMEOUT_S)) ||
            fail "$EX_TEMPFAIL" "the server $side the library did not answer within $START_TIMEOUT_S s"
        sleep 0.05
    done
}

measure_all() {
    local round mode sides
    # Both pages of code and both connections' memory are touched once before anything is counted.
    drive without flat 1 >/dev/null
    drive with flat 1 >/dev/null
    for ((round = 1; round <= ROUNDS; round++)); do
        # In turns, so that what changes with time does no side a favour.
        if ((round % 2)); then sides="without with"; else sides="with without"; fi
        say "round $round of $ROUNDS, $((4 * DURATION_S)) s"
        for mode in flat held; do
            for side in $sides; do
                measure "$mode" "$side" >>"$run_dir/rows"
            done
        done
    done
}

# Prints the row of one run.
measure() { # MODE SIDE
    local before after measured
    before=$(cpu_ms "${pid[$2]}")
    measured=$(drive "$2" "$1" "$DURATION_S")
    after=$(cpu_ms "${pid[$2]}")
    printf '%s %s %s %s\n' "$1" "$2" "$measured" "$((after - before))"
}

# Runs wrk; prints the output of load.lua.
drive() { # SIDE MODE SECONDS
    local rate=0 output
    [[ $2 == flat ]] || rate=$RATE
    output=$("${on_load[@]}" "$wrk" -t 1 -c "$CONNECTIONS" -d "$3s" -s "$here/load.lua" \
        "http://127.0.0.1:${port[$1]}/projects/p-1/things/7" -- "$rate" 2>&1) ||
        fail "$EX_TEMPFAIL" "wrk failed: $(tail -n 1 <<<"$output")"
    sed -n 's/^measured //p' <<<"$output"
}

# CPU time of all threads of a process so far. The kernel counts it in ticks.
cpu_ms() { # PID
    local stat fields
    stat=$(<"/proc/$1/stat") || fail "$EX_TEMPFAIL" "a server ended: $(tail -qn 1 "$run_dir"/*.stderr)"
    # The name, which may hold anything, ends with the last parenthesis; the state is field 3.
    read -ra fields <<<"${stat##*) }"
    echo $(((fields[11] + fields[12]) * 1000 / ticks_per_second))
}
ticks_per_second=$(getconf CLK_TCK)

clean_up() {
    trap '' INT TERM HUP
    local side
    for side in "${!pid[@]}"; do
        kill -TERM "${pid[$side]}" 2>/dev/null || true
    done
    for side in "${!pid[@]}"; do
        wait "${pid[$side]}" 2>/dev/null || true
    done
    if [[ -n $run_dir ]]; then
        rm -rf "$run_dir"
    fi
}

main "$@"
