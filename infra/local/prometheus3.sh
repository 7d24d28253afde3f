#!/usr/bin/env bash
# Checks the monitoring with Prometheus 3, which no Debian has: builds it and promtool from their source, through Go's
# module proxy, under .cache/prometheus-3, and runs the suites test_monitoring and test_monitoring_files with them. That is
# what `make prometheus3` does. It takes Go 1.22 or newer, 4 GB of disk and, the first time, some minutes. It is no part
# of `make test`.
#
#   infra/local/prometheus3.sh            builds what is missing, then tests
#   infra/local/prometheus3.sh build      only builds; prints the folder, for PROMETHEUS_HOME
#
# Exit codes: the tests' own; 64 wrong arguments, 69 Go is missing, 75 it can't be downloaded or built.
set -euo pipefail
# shellcheck source=infra/local/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

MODULE=github.com/prometheus/prometheus
# Prometheus 3.0.1: as a Go module its versions are 0.300.1 and so on. The sum is of go.sum's kind.
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
    local said source
    command -v go >/dev/null || fail "$EX_MISSING" "missing: go, 1.22 or newer, which Prometheus 3 is built with"
    mkdir -p "$CACHE_DIR"
    work=$(mktemp -d "$CACHE_DIR/.unpack.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    # The modules stay for another run, where Go keeps them.
    say "Prometheus 3: fetching and building …"
    said=$(go mod download -json "$MODULE@$VERSION") ||
        fail "$EX_TEMPFAIL" "$MODULE can't be downloaded: $(sed -n 's/.*"Error": //p' <<<"$said")"
    [[ $said == *"\"Sum\": \"$SUM\""* ]] || fail "$EX_TEMPFAIL" "$MODULE $VERSION is not what it was: its sum is another"
    # `go install` refuses a module that excludes others, and Go's own copy can't be written to.
    source=$(sed -n 's/.*"Dir": "\(.*\)".*/\1/p' <<<"$said")
    cp -R "$source" "$work/source"
    chmod -R u+w "$work/source"
    mkdir "$work/bin"
    (cd "$work/source" && go build -o "$work/bin/" ./cmd/prometheus ./cmd/promtool) >"$work/words" 2>&1 || {
        tail -n 20 "$work/words" >&2
        fail "$EX_TEMPFAIL" "Prometheus does not build; the last lines are above"
    }
    mkdir -p "${HOME_DIR%/*}"
    mv -T "$work/bin" "$HOME_DIR" 2>/dev/null || [[ -x $HOME_DIR/prometheus ]]
    say "ready in $HOME_DIR"
}

main "$@"
