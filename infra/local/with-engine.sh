#!/usr/bin/env bash
# Runs a command beside real engines, and leaves nothing behind.
#
#   infra/local/with-engine.sh opensearch[,elasticsearch] -- COMMAND [ARGUMENT…]
#
# Starts each engine as a single node on free ports of 127.0.0.1, with its own settings, data and logs in a temporary
# folder and a heap of 512 MB (ENGINE_HEAP), waits until it is ready, and runs the command with the addresses in
#
#   ENGINE_URL       OpenSearch, with the ingest processors
#   BARE_ENGINE_URL  Elasticsearch, without any ingest processor, security off
#
# An address that is already set is used as it is and nothing is started for it. When the command ends, or on Ctrl-C
# or SIGTERM, exactly the processes started here are stopped and their folder is removed. The command's standard
# input is empty; to keep engines up while working, let it be `sleep infinity`.
#
# Exit codes: the command's own; before it started: 64 wrong arguments, 69 a program is missing, 75 an engine did
# not start (its last log lines are shown); 130 and 143 when ended by SIGINT and SIGTERM.
set -euo pipefail
# shellcheck source=infra/local/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# How long one engine may take until it is ready. It takes 10 to 20 s on two cores.
START_TIMEOUT_S=${START_TIMEOUT_S:-180}
# How long a process may take to end after SIGTERM before it gets SIGKILL.
STOP_TIMEOUT_S=15
ENGINE_HEAP=${ENGINE_HEAP:-512m}

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
    java_home=$(find_java_home)
    [[ -n $java_home ]] || fail "$EX_MISSING" "missing: Java 17 to 23. On Debian or Ubuntu: apt-get install" \
        openjdk-17-jre-headless
    choose_user
    for engine in "$@"; do
        start_engine "$engine"
    done
    for engine in "$@"; do
        wait_for "$engine"
        case $engine in
            opensearch) export ENGINE_URL=$address ;;
            elasticsearch) export BARE_ENGINE_URL=$address ;;
        esac
    done
}

# The engines refuse to run as root. $as_user is the prefix that makes an engine's process another user's.
choose_user() {
    as_user=()
    if ((EUID == 0)); then
        if unshare --user --map-user=1000 --map-group=1000 true 2>/dev/null; then
            as_user=(unshare --user --map-user=1000 --map-group=1000 --)
        elif setpriv --reuid=65534 --regid=65534 --clear-groups true 2>/dev/null; then
            as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups --)
        else
            fail "$EX_MISSING" "the engines do not run as root, and neither unshare nor setpriv (util-linux) works" \
                "here: run this as another user"
        fi
    fi
    # An engine must not outlive this script, even when it is killed without a chance to clean up.
    if setpriv --pdeathsig TERM true 2>/dev/null; then
        as_user+=(setpriv --pdeathsig TERM --)
    fi
}

start_engine() { # ENGINE
    local engine=$1 home dir=$run_dir/$1 extra=()
    home=$(engine_home "$engine")
    mkdir -p "$dir"/{data,logs,tmp}
    cp -R "$home/config" "$dir/config"
    # Without what would write into the engine's own folder, which other runs share.
    sed -E '/Xlog:gc|HeapDumpPath|HeapDumpOnOutOfMemoryError|ErrorFile|^[0-9:-]*-Xlog|PrintGC|Xloggc|GCLog/d' \
        "$home/config/jvm.options" >"$dir/config/jvm.options"
    if [[ $engine == elasticsearch ]]; then
        extra=("xpack.security.enabled: false")
    fi
    cat >"$dir/config/$engine.yml" <<SETTINGS
cluster.name: observability-$$
node.name: $engine
discovery.type: single-node
network.host: 127.0.0.1
# Ports that the system picks; the engine writes them to logs/*.ports.
http.port: 0
transport.port: 0
node.portsfile: true
path.data: $dir/data
path.logs: $dir/logs
# A developer's disk is often fuller than a server's may be.
cluster.routing.allocation.disk.threshold_enabled: false
${extra[*]}
SETTINGS
    if [[ ${as_user[*]} == *--reuid* ]]; then
        chown -R 65534:65534 "$dir"
        chmod a+rx "$run_dir"
        if ! "${as_user[@]}" test -r "$home/.stamp"; then
            cp -R "$home" "$dir/home"
            chmod -R a+rX "$dir/home"
            home=$dir/home
        fi
    fi

    # In a process group of its own: a Ctrl-C is this script's to handle, and a stop reaches the engine's children.
    set -m
    env -u JAVA_HOME -u JAVA_TOOL_OPTIONS \
        OPENSEARCH_JAVA_HOME="$java_home" ES_JAVA_HOME="$java_home" \
        OPENSEARCH_PATH_CONF="$dir/config" ES_PATH_CONF="$dir/config" \
        OPENSEARCH_TMPDIR="$dir/tmp" ES_TMPDIR="$dir/tmp" \
        OPENSEARCH_JAVA_OPTS="-Xms$ENGINE_HEAP -Xmx$ENGINE_HEAP" ES_JAVA_OPTS="-Xms$ENGINE_HEAP -Xmx$ENGINE_HEAP" \
        "${as_user[@]}" "$home/bin/$engine" </dev/null >"$dir/output" 2>&1 &
    engine_pid[$engine]=$!
    set +m
}

# Waits until the engine answers that it is ready; $address is its address then.
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

# Prints the port that the engine listens on, once it says so.
published_port() { # FOLDER
    [[ -s $1/logs/http.ports ]] && sed -n 's/^127\.0\.0\.1:\([0-9]\{1,\}\)$/\1/p' "$1/logs/http.ports" | grep -m 1 .
}

# Whether the node has a cluster that takes writes. Plain bash, since curl need not be there.
is_healthy() { # PORT
    local status
    {
        exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
        printf 'GET /_cluster/health?wait_for_status=yellow&timeout=1s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3
        read -r -t 5 _ status _ <&3
        exec 3>&-
    } 2>/dev/null
    [[ ${status:-} == 200 ]]
}

# Runs the command and exits as it does. It runs in the background so that a signal to this script is handled at once.
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

# Ends by a signal: passes it on to the command, waits for it, and leaves the rest to clean_up.
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

# Ends a process group that this script started: the signal first, SIGKILL when that does not do.
stop_group() { # SIGNAL PID
    local deadline=$((SECONDS + STOP_TIMEOUT_S))
    kill -"$1" -- "-$2" 2>/dev/null || true
    while kill -0 -- "-$2" 2>/dev/null; do
        if ((SECONDS >= deadline)); then
            kill -KILL -- "-$2" 2>/dev/null || true
            break
        fi
        sleep 0.1
    done
    wait "$2" 2>/dev/null || true
}

main "$@"
