#!/usr/bin/env bash
# Runs a command with real engines, and cleans up afterwards.
#
#   infra/local/with-engine.sh opensearch[,elasticsearch] -- COMMAND [ARGUMENT…]
#
# Starts each engine as a single node on free ports of 127.0.0.1, with its own settings, data and logs in a temporary
# folder and a heap of 512 MB (ENGINE_HEAP), waits until it is ready, and runs the command with the addresses in
#
#   ENGINE_URL       OpenSearch, with the ingest processors
#   BARE_ENGINE_URL  Elasticsearch, without any ingest processor, security off
#
# An engine whose address is already set is not started. When the command ends, or on Ctrl-C or SIGTERM, exactly the
# processes started here are stopped and their folder is deleted. The command's standard input is empty; to keep engines
# running, use `sleep infinity` as the command.
#
# Exit codes: the command's own; before it starts: 64 wrong arguments, 69 a program is missing, 75 an engine did not start
# (its last log lines are shown); 130 and 143 after SIGINT and SIGTERM.
set -euo pipefail
# shellcheck source=infra/local/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=infra/local/engine.sh
source "$(dirname "${BASH_SOURCE[0]}")/engine.sh"

# Time limit for one engine to become ready. It takes 10 to 20 s on two cores.
START_TIMEOUT_S=${START_TIMEOUT_S:-180}

declare -A engine_pid=()
command_pid=
run_dir=

main() {
    [[ $# -ge 3 && $2 == -- ]] || fail "$EX_USAGE" "usage: with-engine.sh opensearch[,elasticsearch] -- COMMAND…"
    local engine engines=() to_start=()
    IFS=, read -ra engines <<<"$1"
    shift 2
    for engine in "${engines[@]}"; do
        engine_home "$engine" >/dev/null
        if [[ -n $(given_address "$engine") ]]; then
            say "$engine: using $(given_address "$engine")"
        else
            to_start+=("$engine")
        fi
    done

    trap 'clean_up' EXIT
    trap 'end 130 INT' INT
    trap 'end 143 TERM' TERM
    trap 'end 129 TERM' HUP
    if ((${#to_start[@]})); then
        "$ROOT/infra/local/deps.sh" "${to_start[@]}"
        start_engines "${to_start[@]}"
    fi
    run "$@"
}

# Starts all engines together, then waits for each and exports its address.
start_engines() { # ENGINE…
    local engine
    run_dir=$(mktemp -d "${TMPDIR:-/tmp}/observability-engines.XXXXXX")
    prepare_engines
    # An engine must not outlive this script, even if it is killed without a chance to clean up.
    if setpriv --pdeathsig TERM true 2>/dev/null; then
        as_user+=(setpriv --pdeathsig TERM --)
    fi
    for engine in "$@"; do
        # The system chooses ports; the engine writes them to logs/*.ports.
        start_engine "$engine" "$run_dir/$engine" 0
        engine_pid[$engine]=$started_pid
    done
    for engine in "$@"; do
        wait_for "$engine"
        case $engine in
            opensearch) export ENGINE_URL=$address ;;
            elasticsearch) export BARE_ENGINE_URL=$address ;;
        esac
    done
}

# Waits until the engine is ready, and sets $address to its address.
wait_for() { # ENGINE
    local engine=$1 dir=$run_dir/$1 began=$SECONDS port
    say "$engine: starting …"
    while true; do
        if port=$(published_port "$dir") && is_healthy "$port"; then
            address=http://127.0.0.1:$port
            say "$engine: ready at $address after $((SECONDS - began)) s"
            return
        fi
        if ! kill -0 "${engine_pid[$engine]}" 2>/dev/null; then
            give_up "$engine" "ended while starting"
        fi
        if ((SECONDS - began >= START_TIMEOUT_S)); then
            give_up "$engine" "was not ready within $START_TIMEOUT_S s"
        fi
        sleep 0.2
    done
}

give_up() { # ENGINE WHAT
    say "$1 $2; its last lines:"
    tail -n 40 "$run_dir/$1/output" >&2
    exit "$EX_TEMPFAIL"
}

# Runs the command and exits with its code. It runs in the background, so that this script handles signals at once.
run() { # COMMAND…
    local code=0
    set -m
    "$@" </dev/null &
    command_pid=$!
    set +m
    wait "$command_pid" || code=$?
    command_pid=
    exit "$code"
}

# Handles a signal: passes it to the command, waits for it, and leaves the rest to clean_up.
end() { # CODE SIGNAL
    trap '' INT TERM HUP
    if [[ -n $command_pid ]]; then
        stop_group "$2" "$command_pid"
    fi
    exit "$1"
}

clean_up() {
    local pid
    trap '' INT TERM HUP
    for pid in "${engine_pid[@]}"; do # all at once, then one after the other
        kill -TERM -- "-$pid" 2>/dev/null || true
    done
    for pid in "${engine_pid[@]}"; do
        stop_group TERM "$pid"
    done
    if [[ -n $run_dir ]]; then
        rm -rf "$run_dir"
    fi
}

main "$@"
