#!/usr/bin/env bash
# Runs docker-compose.observability.yml unchanged and tests it end to end; `make e2e-compose` runs this.
#
# Uses a running Docker. If there is none and this runs as root, it starts its own dockerd, from the machine or unpacked
# (xtask deps docker), with images under .cache/docker-data so that a second run does not build again. Images
# that can't be pulled get stand-ins (stand-ins.sh); services without an image, Grafana and Kibana, are skipped and
# reported. The stack has its own project, volumes and ports, separate from any other, and is removed with all of them; a dockerd
# that was started here is stopped, and the network is restored.
#
# KEEP_STACK=1 waits for Enter before it stops the stack.
#
# Exit codes: 0 success, 69 a program is missing or Docker can't run here, 71 and 75 as in up.sh; the tests' own.
set -euo pipefail
# shellcheck source=infra/compose/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Time limit for a dockerd to answer, and to end.
DOCKERD_TIMEOUT_S=60

run_dir=
dockerd_pid=
stack_is_up=

main() {
    run_dir=$(mktemp -d "${TMPDIR:-/tmp}/observability-e2e.XXXXXX")
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    if ! docker info >/dev/null 2>&1; then
        start_dockerd
    fi
    xtask deps docker-compose
    find_compose
    say "Docker $(docker info -f '{{.ServerVersion}}'), ${compose[*]}: $("${compose[@]}" version | head -n 1)"
    "$ROOT/infra/compose/stand-ins.sh"
    choose_settings
    choose_services
    stack_is_up=1
    "$ROOT/infra/compose/up.sh" "${services[@]}"
    "$ROOT/infra/test-stack.sh" compose
    if [[ -n ${KEEP_STACK:-} ]]; then
        read -r -p "e2e.sh: press Enter to stop the stack: " _
    fi
}

# Sets its own project, ports and settings, so that no other stack is affected.
choose_settings() {
    local service name port taken=' ' tries
    export COMPOSE_PROJECT_NAME=observability-e2e-$$ BACKEND_FAULTS=1
    while read -r service name port; do
        for ((tries = 0; tries < 100; tries++)); do
            port=$((20000 + RANDOM % 10000))
            [[ $taken == *" $port "* ]] || (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
        done
        taken+="$port "
        export "$name=$port"
    done < <(published)
    if [[ -r /proc/sys/vm/max_map_count ]] && (($(</proc/sys/vm/max_map_count) < 262144)); then
        say "vm.max_map_count is $(</proc/sys/vm/max_map_count): the engine runs without mapping files"
        export ELASTICSEARCH_MMAP=false
    fi
}

# Selects every service whose image is available or built here.
choose_services() {
    local service image
    services=()
    while read -r service image; do
        if [[ $image == observability-* ]] || docker image inspect "$image" >/dev/null 2>&1; then
            services+=("$service")
        else
            say "skipped: $service, because its image $image is not available"
        fi
    done < <(images)
}

start_dockerd() {
    local began=$SECONDS
    ((EUID == 0)) || fail "$EX_MISSING" "Docker is not running, and only root can start a daemon: start Docker, or run this as root"
    xtask deps docker
    if ! command -v dockerd >/dev/null || ! command -v debootstrap >/dev/null; then
        use_unpacked_docker
    fi
    note_network
    say "Docker is not running: starting a dockerd …"
    mkdir -p "$CACHE_DIR/docker-data"
    export DOCKER_HOST=unix://$run_dir/docker.sock
    # In its own process group, so that this script handles Ctrl-C.
    set -m
    dockerd --data-root "$CACHE_DIR/docker-data" --exec-root "$run_dir/exec" --pidfile "$run_dir/pid" \
        --host "$DOCKER_HOST" </dev/null >"$run_dir/dockerd.log" 2>&1 &
    dockerd_pid=$!
    set +m
    until docker info >/dev/null 2>&1; do
        if ! kill -0 "$dockerd_pid" 2>/dev/null || ((SECONDS - began >= DOCKERD_TIMEOUT_S)); then
            tail -n 20 "$run_dir/dockerd.log" >&2
            fail "$EX_MISSING" "dockerd does not start; its last lines are above"
        fi
        sleep 0.2
    done
}

use_unpacked_docker() {
    local libraries
    libraries=$(echo "$UNPACKED_DOCKER"/usr/lib/*-linux-gnu)
    export PATH="$UNPACKED_DOCKER/usr/sbin:$UNPACKED_DOCKER/usr/bin:$UNPACKED_DOCKER/sbin:$PATH"
    export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" XTABLES_LIBDIR="$libraries/xtables"
    export DEBOOTSTRAP_DIR="$UNPACKED_DOCKER/usr/share/debootstrap"
}

# Saves network settings of the kernel that dockerd changes and does not restore.
note_network() {
    cat /proc/sys/net/ipv4/ip_forward >"$run_dir/ip_forward"
    iptables-save 2>/dev/null >"$run_dir/iptables" || true
    if [[ ! -e /sys/class/net/docker0 ]]; then
        : >"$run_dir/no-bridge"
    fi
}

restore_network() {
    if [[ -e $run_dir/no-bridge && -e /sys/class/net/docker0 ]]; then
        ip link delete docker0 2>/dev/null || true
    fi
    # Only if no other Docker had rules before.
    if ! grep -q DOCKER "$run_dir/iptables"; then
        local table=filter line
        while read -r line; do
            case $line in
                \**) table=${line#\*} ;;
                -A\ *) # shellcheck disable=SC2086
                    iptables -t "$table" -D ${line#-A } ;;
            esac
        done < <(iptables-save 2>/dev/null | grep -E '^\*|DOCKER|docker0') 2>/dev/null
        for table in nat filter; do
            for line in DOCKER DOCKER-ISOLATION-STAGE-1 DOCKER-ISOLATION-STAGE-2 DOCKER-USER; do
                iptables -t "$table" -F "$line" && iptables -t "$table" -X "$line"
            done
        done 2>/dev/null || true
        line=$(sed -n 's/^:FORWARD \([A-Z]*\) .*/\1/p' "$run_dir/iptables" | tail -n 1)
        iptables -P FORWARD "${line:-ACCEPT}" 2>/dev/null || true
    fi
    cat "$run_dir/ip_forward" >/proc/sys/net/ipv4/ip_forward || true
}

clean_up() {
    local code=$?
    trap '' INT TERM HUP
    if [[ -n $stack_is_up ]]; then
        if ((code)); then
            say "the last lines of the containers:"
            dc logs --no-color --tail 12 2>&1 | cut -c 1-300 >&2 || true
        fi
        say "stopping the stack …"
        dc down --volumes --remove-orphans --timeout 10 >"$run_dir/down" 2>&1 || tail -n 5 "$run_dir/down" >&2
    fi
    if [[ -n $dockerd_pid ]]; then
        stop_dockerd
        restore_network
    fi
    rm -rf "$run_dir"
}

stop_dockerd() {
    local deadline=$((SECONDS + DOCKERD_TIMEOUT_S))
    kill -TERM "$dockerd_pid" 2>/dev/null || true
    while kill -0 "$dockerd_pid" 2>/dev/null; do
        if ((SECONDS >= deadline)); then
            kill -KILL -- "-$dockerd_pid" 2>/dev/null || true
            break
        fi
        sleep 0.2
    done
    wait "$dockerd_pid" 2>/dev/null || true
    say "dockerd is stopped"
}

main "$@"
