#!/usr/bin/env bash
# Runs one engine in the foreground, for tests that stop, kill and restart it, or change its settings.
#
#   infra/local/run-engine.sh ENGINE[-VERSION] FOLDER HTTP_PORT [TOOL [ARGUMENT…]]
#
# Settings, data and logs are in FOLDER, and stay there for the next start. Files in FOLDER/extra replace the engine's own
# configuration; FOLDER/extra/settings.yml is added to its settings. Port 0 lets the system choose; the engine writes it to
# FOLDER/logs/http.ports. With a TOOL, such as `elasticsearch-users`, that program of the engine runs instead.
#
# Exit codes: the engine's own; before it starts: 64 wrong arguments, 69 a program is missing, 75 a download failed.
set -euo pipefail
# shellcheck source=infra/local/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=infra/local/engine.sh
source "$(dirname "${BASH_SOURCE[0]}")/engine.sh"

main() {
    [[ $# -ge 3 && $3 =~ ^[0-9]+$ ]] ||
        fail "$EX_USAGE" "usage: run-engine.sh ENGINE[-VERSION] FOLDER HTTP_PORT [TOOL [ARGUMENT…]]"
    local engine=$1 dir=$2 port=$3 home
    shift 3
    home=$(engine_home "$engine")
    "$ROOT/infra/local/deps.sh" "$engine"
    prepare_engines "$engine"
    if (($#)); then
        local tool=$home/bin/$1
        shift
        configure_engine "$engine" "$dir" "$port"
        exec "${engine_environment[@]}" "$tool" "$@"
    fi
    # An engine must not outlive its parent, even if that is killed without a chance to clean up.
    if setpriv --pdeathsig TERM true 2>/dev/null; then
        as_user+=(setpriv --pdeathsig TERM --)
    fi
    configure_engine "$engine" "$dir" "$port"
    exec "${engine_command[@]}" </dev/null
}

main "$@"
