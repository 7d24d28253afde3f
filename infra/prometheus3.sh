#!/usr/bin/env bash
# Tests the monitoring with Prometheus 3, which is not in Debian: builds it and promtool from source, through Go's module
# proxy, under .cache/prometheus-3, and runs the suites test_monitoring and test_monitoring_files with them. `make
# prometheus3` runs this. It needs Go 1.22 or newer, 4 GB of disk and, the first time, some minutes. It is not part of
# `make test`.
#
#   infra/prometheus3.sh            build if necessary, then test
#   infra/prometheus3.sh build      only build; print the folder, for PROMETHEUS_HOME
#
# Exit codes: the tests' own; 64 wrong arguments, 69 Go is missing, 75 it can't be downloaded or built.
set -euo pipefail
# shellcheck source=infra/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

MODULE=github.com/prometheus/prometheus
# Prometheus 3.0.1; as a Go module it has version 0.300.1. The checksum has the format of go.sum.
VERSION=v0.300.1
SUM=h1:9KKcTTq80gkzmXW0Et/QCFSrBPgmwiS3Hlcxc6o8KlM=
HOME_DIR=$CACHE_DIR/prometheus-3/$VERSION

main() {
    [[ $# == 0 || $* == build ]] || fail "$EX_USAGE" "usage: prometheus3.sh [build]"
    [[ -x $HOME_DIR/prometheus ]] || build
    if (($#)); then
        printf '%s\n' "$HOME_DIR"
        return
    fi
    cd "$ROOT"
    # shellcheck disable=SC2086 # several options
    PROMETHEUS_HOME=$HOME_DIR exec cargo test ${CARGO_FLAGS:-} -p observability-tests --test observability -- test_monitoring
}

build() {
    local output source
    command -v go >/dev/null || fail "$EX_MISSING" "missing: go, 1.22 or newer, to build Prometheus 3"
    mkdir -p "$CACHE_DIR"
    work=$(mktemp -d "$CACHE_DIR/.unpack.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    # Go keeps the modules for the next run.
    say "Prometheus 3: fetching and building …"
    output=$(go mod download -json "$MODULE@$VERSION") ||
        fail "$EX_TEMPFAIL" "$MODULE can't be downloaded: $(sed -n 's/.*"Error": //p' <<<"$output")"
    [[ $output == *"\"Sum\": \"$SUM\""* ]] || fail "$EX_TEMPFAIL" "$MODULE $VERSION has the wrong checksum"
    # `go install` refuses a module that excludes others, and Go's own copy can't be written to.
    source=$(sed -n 's/.*"Dir": "\(.*\)".*/\1/p' <<<"$output")
    cp -R "$source" "$work/source"
    chmod -R u+w "$work/source"
    mkdir "$work/bin"
    (cd "$work/source" && go build -o "$work/bin/" ./cmd/prometheus ./cmd/promtool) >"$work/words" 2>&1 || {
        tail -n 20 "$work/words" >&2
        fail "$EX_TEMPFAIL" "Prometheus can't be built; the last lines are above"
    }
    mkdir -p "${HOME_DIR%/*}"
    mv -T "$work/bin" "$HOME_DIR" 2>/dev/null || [[ -x $HOME_DIR/prometheus ]]
    say "ready in $HOME_DIR"
}

main "$@"
