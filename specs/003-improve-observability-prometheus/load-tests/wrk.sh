#!/usr/bin/env bash
# Prints the path of wrk, after unpacking Debian's package under .cache where it is not on the PATH. Nothing is installed.
#
#   specs/003-improve-observability-prometheus/load-tests/wrk.sh
#
#   WRK    a wrk of one's own, used as it is
#
# Exit codes: 0; 69 there is no wrk and no way to get it; 75 apt did not bring it.
set -euo pipefail
# shellcheck source=infra/local/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../../infra/local/lib.sh"

WRK_DIR=$CACHE_DIR/wrk
# The program, and the one library it needs that few machines have.
PACKAGES=(wrk libluajit-5.1-2)

main() {
    if [[ -n ${WRK:-} ]]; then
        [[ -f $WRK && -x $WRK ]] || fail "$EX_MISSING" "missing: WRK=$WRK is not a program"
        printf '%s\n' "$WRK"
        return
    fi
    command -v wrk && return
    if [[ ! -x $WRK_DIR/wrk ]]; then
        unpack
    fi
    printf '%s\n' "$WRK_DIR/wrk"
}

# Downloads the packages, checked by apt, and puts what is in them in its place, in one step.
unpack() {
    local options=() package libraries
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null || ! command -v flock >/dev/null; then
        fail "$EX_MISSING" "missing: wrk, and apt-get, dpkg or flock to unpack it. Install it, or set" \
            "WRK to its path."
    fi
    for package in "${PACKAGES[@]}"; do
        [[ -n $(apt-cache --quiet=2 show "$package" 2>/dev/null) ]] ||
            fail "$EX_MISSING" "apt does not know the package $package: run 'apt-get update' as root, then this again"
    done
    mkdir -p "$CACHE_DIR"
    exec 9>"$CACHE_DIR/wrk.lock"
    flock 9
    [[ ! -x $WRK_DIR/wrk ]] || return 0 # unpacked by the run that held the lock
    say "wrk: fetching and unpacking …"
    work=$(mktemp -d "$CACHE_DIR/.unpack.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    # As root, apt would download as a user who can't write here, with a warning.
    ((EUID)) || options=(-o APT::Sandbox::User=root)
    mkdir "$work/deb"
    (cd "$work/deb" && apt-get "${options[@]}" -q download "${PACKAGES[@]}") </dev/null >&2 ||
        fail "$EX_TEMPFAIL" "apt could not download the packages ${PACKAGES[*]}; its output is above"
    for package in "$work"/deb/*.deb; do
        dpkg -x "$package" "$work/wrk" || fail "$EX_TEMPFAIL" "the package $package can't be unpacked"
    done
    cat >"$work/wrk/wrk" <<'RUN'
#!/usr/bin/env bash
# wrk with the libraries that were unpacked with it.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LD_LIBRARY_PATH=$(printf '%s:' "$here"/usr/lib/*/)${LD_LIBRARY_PATH:-}
export LD_LIBRARY_PATH
exec "$here/usr/bin/wrk" "$@"
RUN
    chmod +x "$work/wrk/wrk"
    libraries=$("$work/wrk/wrk" --version 2>&1 >/dev/null | grep -o '[^ ]*\.so[^ :]*' | head -n 1 || true)
    [[ -z $libraries ]] || fail "$EX_MISSING" "missing: $libraries, which wrk needs. On Debian or Ubuntu: apt-get install wrk"
    chmod -R a+rX "$work/wrk"
    rm -rf "${WRK_DIR:?}"
    mv "$work/wrk" "$WRK_DIR"
}

main "$@"
