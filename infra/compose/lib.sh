# shellcheck shell=bash
# Shared by the scripts of this folder: the available Compose, the project's name, the published ports.
# Sourced, never run. The caller sets `set -euo pipefail`.

# shellcheck source=infra/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

STACK_FILE=$ROOT/docker-compose.observability.yml
# Where docker-compose is unpacked on machines without it (xtask deps docker-compose).
UNPACKED_COMPOSE=$CACHE_DIR/docker-compose/docker-compose
# Where a Docker daemon is unpacked (xtask deps docker), for infra/compose/e2e.sh.
UNPACKED_DOCKER=$CACHE_DIR/docker

# Sets $compose to the available Compose; fails if there is none.
find_compose() {
    if docker compose version >/dev/null 2>&1; then
        compose=(docker compose)
    elif command -v docker-compose >/dev/null; then
        compose=(docker-compose)
    elif [[ -x $UNPACKED_COMPOSE ]]; then
        compose=("$UNPACKED_COMPOSE")
    else
        fail "$EX_MISSING" "missing: Compose. On Debian or Ubuntu: apt-get install docker-compose (or" \
            "docker-compose-plugin from Docker's own packages). Without Docker: make up-local"
    fi
}

# Compose on the stack's file, under the stack's project.
dc() { # ARGUMENT…
    (cd "$ROOT" && COMPOSE_PROJECT_NAME=$(project) "${compose[@]}" -f "${STACK_FILE##*/}" "$@")
}

# The project's name, determined like Compose does: set, or the folder's. docker-compose 1 does not pass it to the file.
project() {
    local name
    name=$(setting COMPOSE_PROJECT_NAME)
    if [[ -z $name ]]; then
        name=$(basename "$ROOT" | tr '[:upper:]' '[:lower:]' | tr -cd 'a-z0-9_-' | sed 's/^[_-]*//')
    fi
    printf '%s\n' "$name"
}

# A variable of the stack's file: from the environment, else from .env, else nothing.
setting() { # NAME
    local value=${!1:-}
    if [[ -z $value && -r $ROOT/.env ]]; then
        value=$(sed -n "s/^$1=//p" "$ROOT/.env" | tail -n 1)
        value=${value#[\"\']}
        value=${value%[\"\']}
    fi
    printf '%s\n' "$value"
}

# Prints `SERVICE VARIABLE PORT` of each port that the stack's file publishes, with the effective port.
published() {
    local service name default given
    while read -r service name default; do
        given=$(setting "$name")
        printf '%s %s %s\n' "$service" "$name" "${given:-$default}"
    done < <(awk '
        /^  [a-z-]+:$/ { service = $1; sub(":", "", service) }
        /^    ports:/ && match($0, /[A-Z]+_PORT:-[0-9]+/) {
            split(substr($0, RSTART, RLENGTH), parts, ":-"); print service, parts[1], parts[2]
        }' "$STACK_FILE")
}

# Prints `SERVICE IMAGE` of each service of the stack's file, with the effective image. Images of this repository are
# called observability-….
images() {
    local service image name given
    while read -r service image; do
        if [[ $image == '${'*:-* ]]; then
            name=${image%%:-*}
            given=$(setting "${name:2}")
            image=${image#*:-}
            image=${given:-${image%\}}}
        fi
        printf '%s %s\n' "$service" "$image"
    done < <(awk '/^  [a-z-]+:$/ { service = $1; sub(":", "", service) } /^    image:/ { print service, $2 }' "$STACK_FILE")
}

# Prints `SERVICE STATUS` of the project's containers, with Docker's words for the status.
containers() {
    docker ps -a --filter "label=com.docker.compose.project=$(project)" \
        --format '{{.Label "com.docker.compose.service"}} {{.Status}}'
}

require_docker() {
    local reason
    command -v docker >/dev/null ||
        fail "$EX_MISSING" "missing: Docker. On Debian or Ubuntu: apt-get install docker.io. Without it: make up-local"
    reason=$(docker info -f '{{.ServerVersion}}' 2>&1 >/dev/null) || fail "$EX_MISSING" "Docker is not running, or you" \
        "have no permission to use it: $(head -n 1 <<<"$reason") Start it (systemctl start docker, or Docker Desktop)," \
        "or join its group." \
        "Without it: make up-local"
}
