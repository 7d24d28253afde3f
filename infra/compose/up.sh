#!/usr/bin/env bash
# Starts the stack and waits until all of it is healthy; `make up` runs this.
#
#   infra/compose/up.sh [SERVICE…]      by default every service of docker-compose.observability.yml
#
# It first checks for obstacles: Docker, memory, files that containers can't read, ports. Then it pulls images, checks the
# files of Prometheus and Alertmanager, builds, starts, shows the progress in one line, and prints the addresses. If a
# service is not healthy within UP_TIMEOUT_S, or keeps ending, its last lines are shown and everything started by this run
# is removed; volumes stay. A stack that ran before is updated, and left unchanged if that fails. Finally it checks that
# the shipper reads the service's log; if not, the stack stays up.
#
# Exit codes: 0 all is healthy and logs are read; 69 a program or Docker is missing; 71 too little memory, or a port is
# taken; 74 all is healthy, but the shipper reads nothing of the service's log; 75 an image can't be pulled or built, or a
# service did not start or become healthy; 78 a configuration file has a mistake or can't be read; 130 and 143 after SIGINT
# and SIGTERM.
#
# Compatible with bash 3.2, for macOS.
set -euo pipefail
# shellcheck source=infra/compose/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Time limit from the start of the first container. Two cores need one to three minutes.
UP_TIMEOUT_S=${UP_TIMEOUT_S:-420}
# Time limit for the shipper to read a line of the service.
READ_TIMEOUT_S=${READ_TIMEOUT_S:-30}
# A service that was restarted this often is not going to become healthy.
RESTARTS_MAX=3
# What Elasticsearch asks of the kernel before it maps its files.
MAP_COUNT_MIN=262144
MAP_COUNT_FILE=${MAP_COUNT_FILE:-/proc/sys/vm/max_map_count}
# Part of the message of a JVM that does not support the kernel.
CGROUP_FAILURE='because "anyController" is null'
EX_OSERR=71
EX_IOERR=74

services=()
fresh=
work=
up_pid=

main() {
    services=("$@")
    require_docker
    find_compose
    work=$(mktemp -d "${TMPDIR:-/tmp}/observability-up.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    look_at_configuration
    require_memory
    require_readable
    look_at_map_count
    require_ports
    if [[ -z $(containers) ]]; then
        fresh=1
    fi
    trap 'stop_here 130' INT
    trap 'stop_here 143' TERM HUP
    pull
    check_files
    build
    start
    await_health
    print_addresses
    require_logs
}

# Writes the effective file to $work/config, and sets variables that depend on this machine's Docker.
look_at_configuration() {
    local service
    if [[ -z $(setting DOCKER_LOGS_DIR) ]]; then
        DOCKER_LOGS_DIR=$(docker info -f '{{.DockerRootDir}}')/containers
        export DOCKER_LOGS_DIR
    fi
    dc config >"$work/config" 2>"$work/words" ||
        fail "$EX_TEMPFAIL" "${STACK_FILE##*/} is invalid; Compose reports: $(tail -n 3 "$work/words")"
    if ((${#services[@]} == 0)); then
        while read -r service; do
            services+=("$service")
        done < <(dc config --services)
    fi
}

require_memory() {
    local has_mib needs_mib
    has_mib=$(($(docker info -f '{{.MemTotal}}') / 1048576))
    # Compose 1 prints limits as they were written, Compose 2 in bytes.
    needs_mib=$(awk '
        $1 == "mem_limit:" {
            gsub(/["'\'']/, "", $2)
            n = $2 + 0
            if ($2 ~ /g$/) n *= 1024; else if ($2 ~ /k$/) n /= 1024; else if ($2 !~ /m$/) n /= 1048576
            sum += n
        }
        END { printf "%d\n", sum }' "$work/config")
    ((has_mib >= needs_mib)) || fail "$EX_OSERR" "Docker has $has_mib MiB of memory, but the stack's limits add up to" \
        "$needs_mib MiB. Give Docker more (Docker Desktop: Settings, Resources), or the engine less:" \
        "ELASTICSEARCH_HEAP=512m ELASTICSEARCH_MEMORY=1g. Without Docker: make up-local"
}

# A single node of Elasticsearch only warns about it; with many open indices it fails later.
look_at_map_count() {
    local count
    [[ $(setting ELASTICSEARCH_MMAP) != false && -r $MAP_COUNT_FILE ]] || return 0
    count=$(<"$MAP_COUNT_FILE")
    ((count >= MAP_COUNT_MIN)) || say "warning: vm.max_map_count is $count, Elasticsearch asks for $MAP_COUNT_MIN and may" \
        "run out of mappings with many indices: sudo sysctl -w vm.max_map_count=$MAP_COUNT_MIN (permanently:" \
        "/etc/sysctl.d), or ELASTICSEARCH_MMAP=false. Continuing"
}

# Programs in containers run as other users, who must be able to read mounted files. Docker Desktop handles this itself.
require_readable() {
    local file
    [[ $(uname) == Linux ]] || return 0
    file=$(cd "$ROOT" && find infra/prometheus infra/alertmanager infra/grafana infra/kibana \
        '(' -type d ! -perm -005 -o -type f ! -perm -004 ')' -print | head -n 1)
    [[ -z $file ]] || fail "$EX_CONFIG" "$file can't be read by the containers' users, for example after a checkout with umask 077:" \
        "chmod -R go+rX infra"
}

# No port may be taken by another program. A port that this project published before is its own.
require_ports() {
    local service name port holder
    while read -r service name port; do
        is_wanted "$service" || continue
        [[ -z $(docker ps -q --filter "publish=$port" --filter "label=com.docker.compose.project=$(project)") ]] ||
            continue
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            holder=$(docker ps --filter "publish=$port" --format '{{.Names}}')
            fail "$EX_OSERR" "port $port, for $service, is taken${holder:+ by the container $holder}. Stop the program" \
                "that uses it, or choose another port: $name=$((port + 10000)) make up"
        fi
    done < <(published)
}

is_wanted() { # SERVICE
    [[ " ${services[*]} " == *" $1 "* ]]
}

# Pulls missing images of others. This comes first because it fails most often.
pull() {
    local service image
    while read -r service image; do
        is_wanted "$service" && [[ $image != observability-* ]] || continue
        docker image inspect "$image" >/dev/null 2>&1 && continue
        say "pulling $image …"
        run_in_background "$work/pull" docker pull --quiet "$image"
        wait "$up_pid" || fail "$EX_TEMPFAIL" "the image $image for $service can't be pulled: $(tail -n 1 "$work/pull")." \
            "Check the network, and Docker's proxy if it needs one. Without Docker: make up-local"
        up_pid=
    done < <(images)
}

# Runs the programs' own checks; otherwise a mistake would show only as repeated restarts.
check_files() {
    check_with prometheus promtool check config /etc/prometheus/prometheus.yml
    check_with alertmanager amtool check-config /etc/alertmanager/alertmanager.yml
}

# Fails with the message of a service's checker, from the service's own image, if its files are invalid.
check_with() { # SERVICE CHECKER…
    local service=$1 checker=$2 image etc=$ROOT/infra/$1 mounts code=0
    shift 2
    is_wanted "$service" || return 0
    mounts=(-v "$etc/$service.yml:/etc/$service/$service.yml:ro")
    if [[ $service == prometheus ]]; then
        mounts+=(-v "$etc/rules:/etc/prometheus/rules:ro" -v "$etc/targets/compose:/etc/prometheus/targets:ro")
    fi
    image=$(images | sed -n "s/^$service //p")
    run_in_background "$work/check" docker run --rm --network none "${mounts[@]}" --entrypoint "$checker" "$image" "$@"
    wait "$up_pid" || code=$?
    up_pid=
    # 125 and above are Docker's own codes: what it can't run here does not start later either, and is reported then.
    ((code == 0 || code >= 125)) || fail "$EX_CONFIG" "a configuration file has a mistake:" \
        "$(mistake_in "infra/$service/$service.yml" "$(sed "s#/etc/$service/#infra/$service/#g" "$work/check")")"
}

# Builds the images of this repository. The first time takes minutes, since all dependencies are built.
build() {
    local built=() service
    for service in backend shipper; do
        if is_wanted "$service"; then
            built+=("$service")
        fi
    done
    ((${#built[@]} > 0)) || return 0
    say "building ${built[*]} …"
    run_in_background "$work/build" dc build "${built[@]}"
    wait "$up_pid" || {
        tail -n 30 "$work/build" >&2
        fail "$EX_TEMPFAIL" "the images can't be built; the last lines of the build are above"
    }
}

# Runs a command in the background, so that signals are handled at once.
run_in_background() { # OUTPUT COMMAND…
    local output=$1
    shift
    "$@" </dev/null >"$output" 2>&1 &
    up_pid=$!
}

start() {
    run_in_background "$work/up" dc up -d "${services[@]}"
}

# Prints the progress until all services are healthy, or one is known to fail.
await_health() {
    local began=$SECONDS shown= line
    while true; do
        containers >"$work/containers"
        line=$(waiting_for)
        if [[ $line != "$shown" ]]; then
            show_progress "$((SECONDS - began)) s: ${line:-all healthy}"
            shown=$line
        fi
        if [[ -n $up_pid ]] && ! kill -0 "$up_pid" 2>/dev/null; then
            wait "$up_pid" || give_up "$(first_unhealthy)" "does not start"
            up_pid=
        fi
        if [[ -z $line && -z $up_pid ]]; then
            say "all healthy after $((SECONDS - began)) s"
            return
        fi
        give_up_on_restarts
        ((SECONDS - began < UP_TIMEOUT_S)) || give_up "$(first_unhealthy)" "is not healthy after $UP_TIMEOUT_S s"
        sleep 0.5
    done
}

show_progress() { # LINE
    say "$1"
}

# Lists the services that are not healthy yet, with their state.
waiting_for() {
    local service status line=
    for service in "${services[@]}"; do
        status=$(status_of "$service")
        is_good "$service" "$status" || line+=", $service ${status:-not created}"
    done
    printf '%s\n' "${line:2}"
}

# Docker's words for a service's container, without times: healthy, starting, Exited (1), …
status_of() { # SERVICE
    sed -n "s/^$1 //p" "$work/containers" | head -n 1 |
        sed -E 's/^Up .*\((health: )?([a-z]+)\)$/\2/; s/^(Up|Created|Exited \([0-9]+\)|Restarting \([0-9]+\)).*/\1/'
}

# Whether a service is healthy. A *-setup service is a task, which must exit with 0.
is_good() { # SERVICE STATUS
    if [[ $1 == *-setup ]]; then
        [[ $2 == 'Exited (0)' ]]
    else
        [[ $2 == healthy ]]
    fi
}

# The service that others wait for: one that fails, else one that was created but did not start, else the first.
first_unhealthy() {
    local service kind
    for kind in 'unhealthy|Restarting.*|Exited \([1-9].*' Created; do
        for service in "${services[@]}"; do
            if [[ $(status_of "$service") =~ ^($kind)$ ]]; then
                printf '%s\n' "$service"
                return
            fi
        done
    done
    for service in "${services[@]}"; do
        is_good "$service" "$(status_of "$service")" || { printf '%s\n' "$service" && return; }
    done
}

give_up_on_restarts() {
    local service id count
    for service in "${services[@]}"; do
        case $(status_of "$service") in
            Restarting* | starting | Up)
                id=$(container_of "$service")
                count=$(docker inspect -f '{{.RestartCount}}' "$id" 2>/dev/null || echo 0)
                ((count < RESTARTS_MAX)) || give_up "$service" "ended $count times"
                ;;
        esac
    done
}

container_of() { # SERVICE
    docker ps -aq --filter "label=com.docker.compose.project=$(project)" \
        --filter "label=com.docker.compose.service=$1" | head -n 1
}

# Reports what is wrong with a service, and removes what was started by this run.
give_up() { # SERVICE WHAT
    local id advice=
    stop_compose
    id=$(container_of "$1")
    if [[ -s $work/up ]]; then
        say "Compose's last lines:"
        tail -n 5 "$work/up" >&2
    fi
    if [[ -n $id ]]; then
        say "the last lines of $1:"
        docker logs --tail 20 "$id" >&2 || true
    fi
    if [[ $1 == elasticsearch ]]; then
        advice=" It needs memory (ELASTICSEARCH_HEAP) and 2 GB free on Docker's disk."
        # Without a pipe to grep -q, which would end docker with SIGPIPE, a failure.
        if [[ -n $id && $(docker logs --tail 200 "$id" 2>&1) == *"$CGROUP_FAILURE"* ]]; then
            advice=" Its JVM does not support this kernel's control groups (Linux 6.12 and later):"
            advice+=" ELASTICSEARCH_JAVA_OPTS=-XX:-UseContainerSupport make up, which sets ES_JAVA_OPTS and"
            advice+=" CLI_JAVA_OPTS. Or use a later 8.x: ELASTICSEARCH_IMAGE=docker.elastic.co/elasticsearch/elasticsearch:8.19.0"
            advice+=" KIBANA_IMAGE=docker.elastic.co/kibana/kibana:8.19.0"
        fi
    fi
    take_down
    fail "$EX_TEMPFAIL" "$1 $2; its last lines are above.$advice"
}

stop_here() { # CODE
    trap '' INT TERM HUP
    stop_compose
    take_down
    exit "$1"
}

stop_compose() {
    [[ -n $up_pid ]] || return 0
    kill -TERM "$up_pid" 2>/dev/null || true
    wait "$up_pid" 2>/dev/null || true
    up_pid=
}

take_down() {
    if [[ -n $fresh ]]; then
        dc down --timeout 5 >"$work/down" 2>&1 || tail -n 5 "$work/down" >&2
        say "the started containers were removed; volumes stay (docker volume ls)"
    else
        say "the stack was running before and is left unchanged (make ps, make logs, make down)"
    fi
}

# Fails if the shipper reads nothing of the service's log: Docker's logs are elsewhere, or not readable.
require_logs() {
    local began=$SECONDS folder
    is_wanted backend && is_wanted shipper || return 0
    # Sends a request to get a new line: older lines may have been read before the shipper's last start.
    answers "$(port_of backend)" "/api/requests/make-up" || true
    until shipper_has_read; do
        if [[ -z $(docker logs --tail 1 "$(container_of backend)" 2>&1) ]]; then
            say "the service has not written a line yet (RUST_LOG), so it is unknown whether the shipper reads its log"
            return
        fi
        if ((SECONDS - began >= READ_TIMEOUT_S)); then
            folder=$(setting DOCKER_LOGS_DIR)
            say "the last lines of the shipper:"
            docker logs --tail 5 "$(container_of shipper)" >&2 || true
            fail "$EX_IOERR" "all is healthy, but after $READ_TIMEOUT_S s the shipper has read no line of the service:" \
                "DOCKER_LOGS_DIR, $folder, must be where this Docker keeps its containers' json-file logs, and root in a" \
                "container must be able to read it. Rootless Docker: DOCKER_LOGS_DIR=~/.local/share/docker/containers;" \
                "another data-root: docker info -f '{{.DockerRootDir}}' names it; userns-remap: the folder with the" \
                "user's numbers (/var/lib/docker/100000.100000/containers); Docker Desktop: the virtual machine's" \
                "/var/lib/docker/containers; SELinux: see docs/operations.md. The stack stays up; run make up again afterwards"
        fi
        sleep 0.5
    done
    say "the shipper reads the service's log"
}

# Whether the shipper has read a line, by its metrics.
shipper_has_read() {
    local count
    count=$(body_of "$(port_of shipper)" /metrics | sed -n 's/^shipper_lines_read_total \([0-9]*\).*/\1/p')
    ((${count:-0} > 0))
}

port_of() { # SERVICE
    published | sed -n "s/^$1 [^ ]* //p"
}

print_addresses() {
    local service name port
    printf '\n' >&2
    while read -r service name port; do
        if is_wanted "$service"; then
            printf '  %-14s http://127.0.0.1:%s\n' "$service" "$port" >&2
        fi
    done < <(published)
    cat >&2 <<'TEXT'

Send a request, and read its story:

TEXT
    port=$(port_of backend)
    printf '%s\n' "  curl -i -H 'X-Request-Id: demo-1' http://127.0.0.1:$port/api/projects/p-1/logs" \
        "  curl -s http://127.0.0.1:$port/api/requests/demo-1" '' >&2
}

main "$@"
