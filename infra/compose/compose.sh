#!/usr/bin/env bash
# Compose on the stack's file, whichever Compose there is: `compose.sh ps`, `compose.sh logs -f backend`, `compose.sh down`.
# What `make down`, `make logs` and `make ps` run. Exit codes: Compose's own, 69 when there is none or Docker is not running.
set -euo pipefail
# shellcheck source=infra/compose/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

require_docker
find_compose
dc "$@"
