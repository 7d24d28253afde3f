#!/usr/bin/env bash
# Tests a running stack end to end: a request's line and counter, an alert, the shipper's accounting (tests/stack).
#
#   infra/test-stack.sh [compose|local]   by default Compose's if its project is up, else the local one
#
# `make e2e` runs this. Ports are those of .env.example, from the environment or .env. If the local stack was started with
# ENGINE_URL, set it here too. The script first checks that each published address answers.
#
# Exit codes: the tests' own; 64 wrong arguments, 69 Docker is missing or not running, 75 the stack is not up.
set -euo pipefail
# shellcheck source=infra/compose/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/compose/lib.sh"

main() {
    local stack=${1:-${STACK:-}} service name port address silent=
    if [[ -z $stack ]]; then
        stack=local
        if [[ -n $(containers 2>/dev/null) ]]; then
            stack=compose
        fi
    fi
    [[ $stack == compose || $stack == local ]] || fail "$EX_USAGE" "usage: test-stack.sh [compose|local]"
    if [[ $stack == compose ]]; then
        require_docker
        [[ -n $(containers) ]] || fail "$EX_TEMPFAIL" "the project $(project) has no containers: make up starts the stack"
    fi
    while read -r service name port; do
        is_expected "$stack" "$service" || continue
        address=127.0.0.1:$port
        if [[ $stack == local && $service == elasticsearch && -n ${ENGINE_URL:-} ]]; then
            name=ENGINE_URL
            address=${ENGINE_URL#http://}
            address=${address%/}
        fi
        export "STACK_$(upper "$service")=$address"
        (exec 3<>"/dev/tcp/${address/://}") 2>/dev/null || silent+=", $service at $address ($name)"
    done < <(published)
    [[ -z $silent ]] || fail "$EX_TEMPFAIL" "nothing answers for ${silent:2}: make $([[ $stack == local ]] &&
        echo up-local || echo up) starts the stack"
    say "testing the $stack stack …"
    cd "$ROOT"
    # shellcheck disable=SC2086
    STACK=$stack exec cargo test ${CARGO_FLAGS:-} -p observability-tests --test stack -- --nocapture
}

# Whether a service is part of the stack; in Compose's, those that have a container.
is_expected() { # STACK SERVICE
    if [[ $1 == local ]]; then
        [[ $2 != grafana && $2 != kibana ]]
    else
        containers | grep -q "^$2 "
    fi
}

main "$@"
