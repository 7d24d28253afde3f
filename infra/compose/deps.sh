#!/usr/bin/env bash
# Unpacks Debian's docker-compose 1.29 under .cache/docker-compose if the machine has no Compose. Nothing is installed.
#
#   infra/compose/deps.sh            Compose, with which the tests read the stack's file
#   infra/compose/deps.sh docker     also a Docker daemon and debootstrap, under .cache/docker, for infra/compose/e2e.sh
#
# Packages come through apt, from the machine's own mirrors, checked by apt. A second run does nothing.
#
# Exit codes: 0 complete, 64 wrong arguments, 69 a program is missing, 75 a download failed.
set -euo pipefail
# shellcheck source=infra/compose/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Names of the dependencies that are unpacked; every Debian or Ubuntu has the others.
COMPOSE_PACKAGES='docker-compose|python3-(?!minimal$).*|libyaml-0-2'
DOCKER_PACKAGES='docker\.io|containerd|runc|tini|debootstrap|iptables|libdevmapper.*|libip4tc2|libip6tc2|libxtables12|libmnl0|libnetfilter-conntrack3|libnfnetlink0|libnftnl11|libseccomp2'

main() {
    case ${1:-} in
        '') ;;
        docker) unpack_docker ;;
        *) fail "$EX_USAGE" "usage: deps.sh [docker]" ;;
    esac
    if docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null || [[ -x $UNPACKED_COMPOSE ]]; then
        return
    fi
    unpack_compose
}

unpack_compose() {
    command -v python3 >/dev/null || fail "$EX_MISSING" "missing: python3, for docker-compose. Or install" \
        "Compose: apt-get install docker-compose, or docker-compose-plugin"
    unpack docker-compose "$COMPOSE_PACKAGES" docker-compose
    cat >"$work/home/docker-compose" <<'WRAPPER'
#!/bin/sh
# Debian's docker-compose from the folder of this file.
home=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH=$home/usr/lib/python3/dist-packages${PYTHONPATH:+:$PYTHONPATH}
LD_LIBRARY_PATH=$(echo "$home"/usr/lib/*-linux-gnu)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PYTHONPATH LD_LIBRARY_PATH
exec python3 -c 'import sys; sys.argv[0] = "docker-compose"; from compose.cli.main import main; main()' "$@"
WRAPPER
    chmod +x "$work/home/docker-compose"
    publish "${UNPACKED_COMPOSE%/*}"
}

unpack_docker() {
    if command -v dockerd >/dev/null && command -v debootstrap >/dev/null || [[ -d $UNPACKED_DOCKER ]]; then
        return
    fi
    local program
    unpack "docker.io debootstrap" "$DOCKER_PACKAGES" docker
    # An installation would create their plain names as alternatives.
    for program in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
        ln -s "xtables-nft-multi" "$work/home/usr/sbin/$program"
    done
    publish "$UNPACKED_DOCKER"
}

# Unpacks packages, and their dependencies with matching names, to $work/home.
unpack() { # PACKAGES NAMES WHAT
    local packages
    for packages in apt-get apt-cache dpkg; do
        command -v "$packages" >/dev/null || fail "$EX_MISSING" "$3 can't be unpacked without $packages: install" \
            "Docker and Compose with this system's own packages"
    done
    mkdir -p "$CACHE_DIR"
    work=$(mktemp -d "$CACHE_DIR/.unpack.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    chmod a+rx "$work"
    say "$3: fetching and unpacking …"
    # shellcheck disable=SC2086
    packages=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances $1 | grep -P "^($2)$" | sort -u)
    # shellcheck disable=SC2086
    (cd "$work" && apt-get download -q $packages >"$work/words" 2>&1) || {
        tail -n 5 "$work/words" >&2
        fail "$EX_TEMPFAIL" "$3: some packages can't be downloaded; apt-get update may help"
    }
    mkdir "$work/home"
    for packages in "$work"/*.deb; do
        dpkg -x "$packages" "$work/home"
    done
}

# Moves $work/home to its place in one step; another run may have been first.
publish() { # FOLDER
    chmod -R a+rX "$work/home"
    mv -T "$work/home" "$1" 2>/dev/null || [[ -d $1 ]]
    rm -rf "$work"
    trap - EXIT
    say "ready in $1"
}

main "$@"
