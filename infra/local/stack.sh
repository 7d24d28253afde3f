#!/usr/bin/env bash
# The stack without Docker: OpenSearch, the service carried by the shipper, Prometheus and Alertmanager, from the same
# files as docker-compose.observability.yml.
#
#   infra/local/stack.sh up             start all parts that do not run, wait until they are ready, print the addresses
#   infra/local/stack.sh down           stop all parts; the state stays in LOCAL_DIR
#   infra/local/stack.sh status         show whether each part runs and is ready; exit code 3 unless all are
#   infra/local/stack.sh logs [PART]    print the last log lines of all parts, or of one
#   infra/local/stack.sh config         write the configuration to LOCAL_DIR/etc and check it, as `up` does first
#
#   LOCAL_DIR         state, logs and rendered configuration; default .local. One stack per folder; several may run
#   BIN_DIR           folder of backend and shipper; default target/release
#   BACKEND_PORT      8000; likewise SHIPPER_PORT 9600, ELASTICSEARCH_PORT 9200, PROMETHEUS_PORT 9090 and
#                     ALERTMANAGER_PORT 9093, as in .env.example
#   ENGINE_URL        a running engine, instead of starting OpenSearch
#   ENGINE_HEAP       512m
#   ALERT_SPEEDUP     divides every duration in rules, scrapes and notifications, for drills; default 1
#
# Variables of the service, such as RUST_LOG, METRICS_PROJECTS and BACKEND_FAULTS, are passed on. Grafana and Kibana are part
# of `make up` only. If a part does not become ready, everything started by this run is stopped.
#
# Exit codes: 0; 3 not all parts are ready (status); 64 wrong arguments; 69 a program or memory is missing; 75 a part did
# not start; 78 a configuration file has a mistake; 130 and 143 after SIGINT and SIGTERM.
set -euo pipefail
# shellcheck source=infra/local/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=infra/local/engine.sh
source "$(dirname "${BASH_SOURCE[0]}")/engine.sh"

LOCAL_DIR=${LOCAL_DIR:-$ROOT/.local}
BIN_DIR=${BIN_DIR:-$ROOT/target/release}
BACKEND_PORT=${BACKEND_PORT:-8000}
SHIPPER_PORT=${SHIPPER_PORT:-9600}
ELASTICSEARCH_PORT=${ELASTICSEARCH_PORT:-9200}
PROMETHEUS_PORT=${PROMETHEUS_PORT:-9090}
ALERTMANAGER_PORT=${ALERTMANAGER_PORT:-9093}
ALERT_SPEEDUP=${ALERT_SPEEDUP:-1}

# Time limit for one part to become ready.
START_TIMEOUT_S=${START_TIMEOUT_S:-180}
# Memory that the stack needs at most, without the engine's heap.
MEMORY_MB=700
EX_NOT_READY=3

# In the order in which they start. The backend is the shipper's child.
PARTS=(opensearch shipper backend alertmanager prometheus)
# Parts started by this run, which are stopped if it fails; and the reason of the failure.
started=()
failure=

main() {
    local command=${1:-}
    shift || true
    case $command in
        up | down | status | config) (($# == 0)) || usage ;;
        logs) (($# <= 1)) || usage ;;
        *) usage ;;
    esac
    mkdir -p "$LOCAL_DIR"
    LOCAL_DIR=$(cd "$LOCAL_DIR" && pwd)
    if [[ $command != status && $command != logs ]]; then
        command -v flock >/dev/null || fail "$EX_MISSING" "missing: flock (util-linux)"
        exec 9>"$LOCAL_DIR/lock"
        flock --nonblock 9 || fail "$EX_TEMPFAIL" "another run of this script uses $LOCAL_DIR"
    fi
    "$command" "$@"
}

usage() {
    fail "$EX_USAGE" "usage: stack.sh up | down | status | logs [PART] | config, where PART is one of ${PARTS[*]}"
}

# Which process a part is.
process_of() { # PART
    [[ $1 == backend ]] && printf 'shipper\n' || printf '%s\n' "$1"
}

# The parts of this stack.
parts() {
    local part
    for part in "${PARTS[@]}"; do
        [[ $part == opensearch && -n ${ENGINE_URL:-} ]] || printf '%s\n' "$part"
    done
}

port_of() { # PART
    case $1 in
        opensearch) printf '%s\n' "$ELASTICSEARCH_PORT" ;;
        shipper) printf '%s\n' "$SHIPPER_PORT" ;;
        backend) printf '%s\n' "$BACKEND_PORT" ;;
        alertmanager) printf '%s\n' "$ALERTMANAGER_PORT" ;;
        prometheus) printf '%s\n' "$PROMETHEUS_PORT" ;;
    esac
}

port_variable_of() { # PART
    [[ $1 == opensearch ]] && printf 'ELASTICSEARCH_PORT\n' || printf '%s_PORT\n' "$(upper "$1")"
}

engine_url() {
    printf '%s\n' "${ENGINE_URL:-http://127.0.0.1:$ELASTICSEARCH_PORT}"
}

is_ready() { # PART
    case $1 in
        opensearch) is_healthy "$ELASTICSEARCH_PORT" ;;
        shipper | backend) answers "$(port_of "$1")" /readyz ;;
        alertmanager | prometheus) answers "$(port_of "$1")" /-/ready ;;
    esac
}

# A part's process, if it is the one that was started here: its number may have been reused.
pid_of() { # PART
    local pid began file
    file=$LOCAL_DIR/$(process_of "$1").pid
    [[ -s $file ]] && read -r pid began <"$file" && [[ $(began_at "$pid") == "$began" ]] && printf '%s\n' "$pid"
}

# Start time of a process, in the kernel's ticks.
began_at() { # PID
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    # The program's name, in brackets, may have spaces.
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    printf '%s\n' "${20}"
}

up() {
    local part began=$SECONDS to_start=()
    for part in $(parts); do
        [[ $part == backend || -n $(pid_of "$part") ]] || to_start+=("$part")
    done
    check ${to_start[@]+"${to_start[@]}"}
    config
    trap 'give_up' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    for part in $(parts); do
        if [[ " ${to_start[*]-} " == *" $part "* ]]; then
            "start_$part"
            printf '%s %s\n' "$started_pid" "$(began_at "$started_pid")" >"$LOCAL_DIR/$part.pid"
            started+=("$part")
        fi
        # The shipper is ready with its child.
        [[ $part == shipper ]] || wait_for "$part"
    done
    wait_for shipper
    trap - EXIT
    say "all is ready after $((SECONDS - began)) s"
    addresses
}

# Finds obstacles before anything is started.
check() { # PART…
    local part
    (($#)) || return 0
    for part in backend shipper; do
        [[ -x $BIN_DIR/$part ]] || fail "$EX_MISSING" "missing: $BIN_DIR/$part. Run 'make up-local', which builds it."
    done
    for part in "$@"; do
        free "$part"
        [[ $part != shipper ]] || free backend
    done
    if [[ " $* " == *" opensearch "* ]]; then
        require_memory
        "$ROOT/infra/local/deps.sh" opensearch
    fi
}

# Fails if there is too little memory for the engine.
require_memory() {
    local free_mb needs_mb
    [[ $ENGINE_HEAP =~ ^([1-9][0-9]{0,5})([mg])$ ]] || fail "$EX_USAGE" "ENGINE_HEAP=$ENGINE_HEAP: a size such as 512m or 1g"
    needs_mb=$((BASH_REMATCH[1] * ($([[ ${BASH_REMATCH[2]} == g ]] && echo 1024 || echo 1)) + MEMORY_MB))
    free_mb=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
    ((free_mb >= needs_mb)) || fail "$EX_MISSING" "too little memory: $free_mb MB are free and $needs_mb are needed with" \
        "ENGINE_HEAP=$ENGINE_HEAP. Stop other programs, lower ENGINE_HEAP, or set ENGINE_URL to an engine elsewhere"
}

# Fails if another program uses a part's port.
free() { # PART
    local port
    port=$(port_of "$1")
    if { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null; then
        exec 3>&-
        fail "$EX_TEMPFAIL" "port $port, for $1, is taken: stop the program that uses it, or set $(port_variable_of "$1")"
    fi
}

# Writes the configuration files: those of the repository, with this machine's addresses.
config() {
    local target dir=$LOCAL_DIR/etc
    "$ROOT/infra/local/deps.sh" prometheus alertmanager
    rm -rf "$dir"
    mkdir -p "$dir"/prometheus/{rules,targets} "$dir/alertmanager"
    speed_up <"$ROOT/infra/prometheus/prometheus.yml" >"$dir/prometheus/prometheus.yml"
    for target in "$ROOT"/infra/prometheus/rules/*.yml; do
        speed_up <"$target" >"$dir/prometheus/rules/${target##*/}"
    done
    for target in "$ROOT"/infra/prometheus/targets/local/*.yml; do
        sed -e "/^#/!s/@BACKEND_ADDRESS@/127.0.0.1:$BACKEND_PORT/" -e "/^#/!s/@SHIPPER_ADDRESS@/127.0.0.1:$SHIPPER_PORT/" \
            -e "/^#/!s/@PROMETHEUS_ADDRESS@/127.0.0.1:$PROMETHEUS_PORT/" \
            -e "/^#/!s/@ALERTMANAGER_ADDRESS@/127.0.0.1:$ALERTMANAGER_PORT/" "$target" >"$dir/prometheus/targets/${target##*/}"
    done
    speed_up <"$ROOT/infra/alertmanager/alertmanager.yml" |
        sed "s#http://backend:8000/#http://127.0.0.1:$BACKEND_PORT/#" >"$dir/alertmanager/alertmanager.yml"
    check_file "$(find_program promtool)" check config "$dir/prometheus/prometheus.yml"
    check_file "$(find_program amtool)" check-config "$dir/alertmanager/alertmanager.yml"
}

# Fails with the message of a checker if a file is invalid. The same mistake is in the repository's file.
check_file() { # CHECKER…
    local output file=${*: -1}
    output=$("$@" 2>&1) || fail "$EX_CONFIG" "a configuration file has a mistake:" \
        "$(mistake_in "infra/${file#"$LOCAL_DIR/etc/"}" "$(sed "s#$LOCAL_DIR/etc/#infra/#g" <<<"$output")")"
}

# Divides durations by ALERT_SPEEDUP: ranges such as [5m], and keys such as `for: 5m` and `group_wait: 5s`.
speed_up() {
    [[ $ALERT_SPEEDUP =~ ^[1-9][0-9]{0,2}$ ]] || fail "$EX_USAGE" "ALERT_SPEEDUP must be a number from 1 to 999"
    if ((ALERT_SPEEDUP == 1)); then
        cat
        return
    fi
    awk -v by="$ALERT_SPEEDUP" '
        BEGIN { ms["ms"] = 1; ms["s"] = 1e3; ms["m"] = 6e4; ms["h"] = 36e5; ms["d"] = 864e5 }
        function divided(text) {
            match(text, /[0-9]+/)
            return int(substr(text, RSTART, RLENGTH) * ms[substr(text, RSTART + RLENGTH)] / by) "ms"
        }
        /^ *#/ { print; next }
        {
            out = ""
            while (match($0, /\[[0-9]+(ms|s|m|h|d)\]|(for|interval|timeout|wait): [0-9]+(ms|s|m|h|d)/)) {
                token = substr($0, RSTART, RLENGTH)
                out = out substr($0, 1, RSTART - 1)
                $0 = substr($0, RSTART + RLENGTH)
                number = match(token, /[0-9]/)
                end = substr(token, length(token)) == "]" ? "]" : ""
                out = out substr(token, 1, number - 1) divided(substr(token, number, length(token) - number + 1 - length(end))) end
            }
            print out $0
        }'
}

start_opensearch() {
    prepare_engines
    # Without the lock: a process that holds it would look like a running script.
    start_engine opensearch "$LOCAL_DIR/opensearch" "$ELASTICSEARCH_PORT" 9>&-
    ln -sfn opensearch/output "$LOCAL_DIR/opensearch.log"
}

start_shipper() {
    # The ports are not variables of the service: it would refuse them.
    launch shipper env -u BACKEND_PORT -u SHIPPER_PORT LISTEN="127.0.0.1:$BACKEND_PORT" STORE="$(engine_url)" \
        SHIPPER_STATE_DIR="$LOCAL_DIR/shipper" "$BIN_DIR/shipper" exec --to "$(engine_url)" \
        --admin-listen "127.0.0.1:$SHIPPER_PORT" -- "$BIN_DIR/backend"
}

start_alertmanager() {
    launch alertmanager "$(find_program alertmanager)" --config.file="$LOCAL_DIR/etc/alertmanager/alertmanager.yml" \
        --storage.path="$LOCAL_DIR/alertmanager" --web.listen-address="127.0.0.1:$ALERTMANAGER_PORT" \
        --cluster.listen-address= --web.external-url="http://127.0.0.1:$ALERTMANAGER_PORT"
}

start_prometheus() {
    launch prometheus "$(find_program prometheus)" --config.file="$LOCAL_DIR/etc/prometheus/prometheus.yml" \
        --storage.tsdb.path="$LOCAL_DIR/prometheus" --storage.tsdb.retention.time=31d \
        --web.listen-address="127.0.0.1:$PROMETHEUS_PORT" --web.external-url="http://127.0.0.1:$PROMETHEUS_PORT"
}

# Starts a program that outlives this script and its terminal; it leads its own process group.
launch() { # PART COMMAND…
    local part=$1
    shift
    setsid "$@" </dev/null >"$LOCAL_DIR/$part.log" 2>&1 9>&- &
    started_pid=$!
}

wait_for() { # PART
    local part=$1 began=$SECONDS
    is_ready "$part" || say "$part: starting …"
    until is_ready "$part"; do
        [[ -n $(pid_of "$part") ]] || report_failure "$part" "ended while starting"
        ((SECONDS - began < START_TIMEOUT_S)) || report_failure "$part" "was not ready within $START_TIMEOUT_S s"
        sleep 0.2
    done
    say "$part: ready at http://127.0.0.1:$(port_of "$part") after $((SECONDS - began)) s"
}

report_failure() { # PART WHAT
    local log advice
    log=$LOCAL_DIR/$(process_of "$1").log
    advice="set $(port_variable_of "$1") if another program uses its port"
    if [[ $1 == opensearch ]]; then
        advice="the usual cause is memory: ENGINE_HEAP=384m make up-local"
    fi
    say "the last lines of $1:"
    tail -n 15 "$log" >&2
    failure="$1 $2. Its last lines are above, the whole log is $log; $advice"
    exit "$EX_TEMPFAIL"
}

# Stops what this run started, so that nothing half-started remains. Then reports the failure, as the last line.
give_up() {
    local code=$?
    trap '' INT TERM HUP
    stop ${started[@]+"${started[@]}"}
    [[ -z $failure ]] || say "$failure"
    exit "$code"
}

down() {
    local part running=()
    for part in "${PARTS[@]}"; do
        [[ $part == backend || -z $(pid_of "$part") ]] || running+=("$part")
    done
    if ((${#running[@]} == 0)); then
        say "nothing runs in $LOCAL_DIR"
        return
    fi
    stop "${running[@]}"
    say "all is stopped; the state stays in $LOCAL_DIR"
}

# Stops parts in reverse order of their start, so that the shipper has its store until it has shipped all lines.
stop() { # PART…
    local at pid parts
    parts=(${@+"$@"})
    for ((at = ${#parts[@]} - 1; at >= 0; at--)); do
        if pid=$(pid_of "${parts[at]}"); then
            say "${parts[at]}: stopping …"
            stop_group TERM "$pid"
        fi
        rm -f "$LOCAL_DIR/${parts[at]}.pid"
    done
}

status() {
    local part state code=0
    for part in $(parts); do
        if [[ -z $(pid_of "$part") ]]; then
            state="not running"
        elif is_ready "$part"; then
            state=ready
        else
            state="running, not ready: stack.sh logs $part"
        fi
        [[ $state == ready ]] || code=$EX_NOT_READY
        printf '%-13s http://127.0.0.1:%-6s %s\n' "$part" "$(port_of "$part")" "$state"
    done
    [[ -z ${ENGINE_URL:-} ]] || printf '%-13s %s given\n' engine "$ENGINE_URL"
    return "$code"
}

logs() {
    local part
    for part in "${@:-opensearch shipper alertmanager prometheus}"; do
        for part in $part; do
            [[ " ${PARTS[*]} " == *" $part "* ]] || usage
            [[ -e $LOCAL_DIR/$(process_of "$part").log ]] || continue
            printf '== %s\n' "$LOCAL_DIR/$(process_of "$part").log"
            tail -n 20 "$LOCAL_DIR/$(process_of "$part").log"
        done
    done
}

addresses() {
    cat <<TEXT

  service        http://127.0.0.1:$BACKEND_PORT     /api/requests/{request_id}, /metrics
  shipper        http://127.0.0.1:$SHIPPER_PORT     /metrics, /readyz
  engine         $(engine_url)     /app-logs-*/_search
  Prometheus     http://127.0.0.1:$PROMETHEUS_PORT
  Alertmanager   http://127.0.0.1:$ALERTMANAGER_PORT

Grafana and Kibana need Docker ('make up'). State and logs: $LOCAL_DIR
TEXT
}

main "$@"
