#!/usr/bin/env bash
# Runs the available Compose on the stack's file: `compose.sh ps`, `compose.sh logs -f backend`, `compose.sh down`.
# `make down`, `make logs` and `make ps` run this. Exit codes: Compose's own, 69 if there is none or Docker is not running.
set -euo pipefail
# shellcheck source=infra/compose/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

require_docker
find_compose
dc "$@"
