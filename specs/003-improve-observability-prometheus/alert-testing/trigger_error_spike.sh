#!/usr/bin/env bash
# Alert drill: makes half of the requests fail and follows the alert HighErrorRate: pending and firing in Prometheus,
# received by Alertmanager, delivered to the service's webhook, found in the logs, and resolved after the failures end.
# Prints how long each step took. If a step does not happen, it names the step and exits with 1.
#
#   trigger_error_spike.sh           in a running stack, started with `make up` or `make up-local`. The rule waits five
#                                    minutes, so this takes about eight
#   trigger_error_spike.sh --fast    in its own stack without Docker, on free ports, with the same rules and all their
#                                    durations divided by 10; takes about a minute, and stops the stack at the end
#
# The service must run with BACKEND_FAULTS=1. Addresses are those of .env.example: BACKEND_PORT, PROMETHEUS_PORT,
# ALERTMANAGER_PORT and ELASTICSEARCH_PORT, or ENGINE_URL. With --fast, BIN_DIR is the folder of backend and shipper.
#
# Exit codes: 0; 1 a step did not happen; 64 wrong arguments; 69 something is missing; 75 the stack can't be reached.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
# shellcheck source=infra/lib.sh
source "$ROOT/infra/lib.sh"

ALERT=HighErrorRate
# Waiting time of the rule, and time limit of every other step, with the original durations.
RULE_WAITS_S=300
STEP_MAX_S=180
# For --fast: divisor of durations, and minimum time limit of a step, for busy machines.
SPEEDUP=10
STEP_MIN_S=60

traffic_pid=
own_stack=

main() {
    case ${1:-} in
        '') speedup=1 ;;
        --fast) speedup=$SPEEDUP ;;
        *) fail "$EX_USAGE" "usage: trigger_error_spike.sh [--fast]" ;;
    esac
    command -v curl >/dev/null || fail "$EX_MISSING" "missing: curl. On Debian or Ubuntu: apt-get install curl"
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    ((speedup == 1)) || start_own_stack
    backend=http://127.0.0.1:${BACKEND_PORT:-8000}
    prometheus=http://127.0.0.1:${PROMETHEUS_PORT:-9090}
    alertmanager=http://127.0.0.1:${ALERTMANAGER_PORT:-9093}
    engine=${ENGINE_URL:-http://127.0.0.1:${ELASTICSEARCH_PORT:-9200}}
    check
    drill
}

# Starts a separate stack.
start_own_stack() {
    own_stack=$(mktemp -d "${TMPDIR:-/tmp}/observability-drill.XXXXXX")
    local name
    for name in BACKEND SHIPPER ELASTICSEARCH PROMETHEUS ALERTMANAGER; do
        export "${name}_PORT=$(free_port)"
    done
    export LOCAL_DIR=$own_stack BACKEND_FAULTS=1 ALERT_SPEEDUP=$SPEEDUP
    xtask stack up >&2
}

# A port that nothing listens on, below those that the system gives to clients.
free_port() {
    local port
    while true; do
        port=$((10000 + RANDOM % 20000))
        { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || break
        exec 3>&-
    done
    printf '%s\n' "$port"
}

# Checks the drill's requirements before any request is made to fail.
check() {
    local address status
    for address in "$backend/readyz" "$prometheus/-/ready" "$alertmanager/-/ready" "$engine/"; do
        # While the engine creates the first index, the service answers 503 for a moment.
        curl -fsS -m 10 --retry 10 --retry-delay 1 -o /dev/null "$address" ||
            fail "$EX_TEMPFAIL" "$address does not respond: start the stack with 'make up' or 'make up-local'"
    done
    status=$(curl -sS -m 10 -o /dev/null -w '%{http_code}' "$backend/api/faults/status/500")
    [[ $status == 500 ]] || fail "$EX_MISSING" "the service injects no faults: start the stack with BACKEND_FAULTS=1"
    [[ -z $(firing) ]] || fail "$EX_TEMPFAIL" "$ALERT is firing already: wait until it is resolved"
}

drill() {
    began=$SECONDS
    began_at=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    notified=$(notifications)
    make_errors &
    traffic_pid=$!
    step "$ALERT is pending in Prometheus" "$STEP_MAX_S" pending_or_firing
    step "$ALERT fires in Prometheus" "$((RULE_WAITS_S + STEP_MAX_S))" firing
    step "Alertmanager has received it" "$STEP_MAX_S" received
    step "it has arrived at the webhook, /api/alerts" "$STEP_MAX_S" arrived
    step "its line is found in the logs" "$STEP_MAX_S" logged firing
    stop_errors
    step "it is resolved, and that is found in the logs" "$STEP_MAX_S" logged resolved
    printf 'drill passed: all steps within %s s\n' "$((SECONDS - began))"
}

# Waits for a step; its time limit is that of undivided durations.
step() { # WHAT LIMIT_S COMMAND…
    local what=$1 limit=$(($2 / speedup)) since=$SECONDS
    ((speedup == 1)) || limit=$((limit + STEP_MIN_S))
    shift 2
    until [[ -n $("$@") ]]; do
        kill -0 "$traffic_pid" 2>/dev/null || [[ -z $traffic_pid ]] || fail 1 "the requests that should fail have ended"
        ((SECONDS - since < limit)) || fail 1 "did not happen within $limit s: $what"
        sleep 0.2
    done
    printf '%4s s  %s\n' "$((SECONDS - began))" "$what"
}

# Sends some ten requests per second, half of which fail. Ends on its own, whatever happens to the drill.
make_errors() {
    local until=$((SECONDS + RULE_WAITS_S + 5 * STEP_MAX_S))
    while ((SECONDS < until)); do
        curl -sS -m 10 -o /dev/null -o /dev/null "$backend/api/faults/status/500" "$backend/api/faults/status/200" || true
        sleep 0.2
    done
}

stop_errors() {
    kill "$traffic_pid" 2>/dev/null || true
    wait "$traffic_pid" 2>/dev/null || true
    traffic_pid=
}

# Each of these prints something once it is so.

pending_or_firing() { query "ALERTS{alertname=\"$ALERT\"}"; }

firing() { query "ALERTS{alertname=\"$ALERT\",alertstate=\"firing\"}"; }

query() { # PROMQL
    curl -fsS -m 10 -G --data-urlencode "query=$1" "$prometheus/api/v1/query" | grep -F '"metric":{' || true
}

received() {
    curl -fsS -m 10 -G --data-urlencode "filter=alertname=\"$ALERT\"" "$alertmanager/api/v2/alerts" |
        grep -F '"fingerprint"' || true
}

arrived() { (($(notifications) <= notified)) || printf 'yes\n'; }

# How many notifications the webhook took.
notifications() {
    curl -fsS -m 10 "$backend/metrics" |
        awk '/^request_count{/ && /endpoint="\/api\/alerts"/ && /status="200"/ { sum += $NF } END { print sum + 0 }'
}

logged() { # firing|resolved
    curl -fsS -m 10 -H 'Content-Type: application/json' "$engine/app-logs-*/_count?ignore_unavailable=true" -d "{
        \"query\": { \"bool\": { \"filter\": [
            { \"match_phrase\": { \"message\": \"alert $1: $ALERT\" } },
            { \"range\": { \"@timestamp\": { \"gte\": \"$began_at\" } } } ] } } }" | grep -o '"count":[1-9][0-9]*' || true
}

clean_up() {
    local code=$?
    trap '' INT TERM HUP
    [[ -z $traffic_pid ]] || stop_errors
    if [[ -n $own_stack ]]; then
        ((code == 0)) || xtask stack logs >&2 || true
        xtask stack down || true
        rm -rf "$own_stack"
    fi
    exit "$code"
}

main "$@"
