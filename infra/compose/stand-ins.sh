#!/usr/bin/env bash
# Provides the images of the compose file and the Dockerfile. Images are pulled; if no registry is reachable, stand-ins
# are built from Debian packages under the same names.
#
#   infra/compose/stand-ins.sh          every image, with one line of output for each
#
#   debian         debootstrap's minimal system, with this machine's certificates
#   rust           that, a C compiler, and this machine's Rust
#   prometheus,    that, and Debian's packages, with the real images' user, paths, entrypoint and health client
#   alertmanager
#   elasticsearch  that, a Java, and OpenSearch with its ingest processors (xtask deps): a real engine, not the
#                  vendor's. Settings by variable work as in the real image; those of x-pack are ignored.
#
# Grafana and Kibana have no stand-in; without a registry they are skipped. Stand-ins have the label
# observability.stand-in. This needs root, debootstrap and Debian's mirror. DOCKER_HOST is respected.
#
# Exit codes: 0 every image except Grafana's and Kibana's is available, 69 a program is missing, 75 an image can't be built.
set -euo pipefail
# shellcheck source=infra/compose/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

STAND_IN_LABEL=observability.stand-in
work=

main() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/observability-images.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    local image
    RUNTIME_IMAGE=$(dockerfile_argument RUNTIME_IMAGE)
    RUST_IMAGE=$(dockerfile_argument RUST_IMAGE)
    for image in "$RUNTIME_IMAGE" "$RUST_IMAGE" $(compose_images); do
        see_to "$image"
    done
}

# An image's name: from the environment, else from the Dockerfile.
dockerfile_argument() { # NAME
    local value=${!1:-}
    printf '%s\n' "${value:-$(sed -n "s/^ARG $1=//p" "$ROOT/infra/docker/Dockerfile")}"
}

# Images of the stack's file, without those that are built here.
compose_images() {
    images | sed 's/^[^ ]* //' | grep -v '^observability-' | sort -u
}

see_to() { # IMAGE
    local kind
    if docker image inspect "$1" >/dev/null 2>&1; then
        say "$1: available$(is_stand_in "$1" && printf ', a stand-in')"
        return
    fi
    if docker pull -q "$1" >/dev/null 2>"$work/pull"; then
        say "$1: pulled"
        return
    fi
    kind=$(kind_of "$1")
    if [[ -z $kind ]]; then
        say "$1: can't be pulled and has no stand-in; skipped ($(head -c 200 "$work/pull" | tr '\n' ' '))"
        return
    fi
    say "$1: can't be pulled, making a stand-in …"
    "make_$kind" "$1" >"$work/log" 2>&1 || {
        tail -n 30 "$work/log" >&2
        fail "$EX_TEMPFAIL" "$1: the stand-in can't be built; the last lines are above"
    }
    say "$1: stand-in built"
}

is_stand_in() { # IMAGE
    [[ $(docker image inspect -f "{{index .Config.Labels \"$STAND_IN_LABEL\"}}" "$1" 2>/dev/null) == true ]]
}

# The kind of stand-in of an image; empty if it has none.
kind_of() { # IMAGE
    case $1 in
        debian:*) printf debian ;;
        rust:*) printf rust ;;
        prom/prometheus:*) printf prometheus ;;
        prom/alertmanager:*) printf alertmanager ;;
        */elasticsearch:*) printf elasticsearch ;;
    esac
}

make_debian() { # IMAGE
    ((EUID == 0)) || fail "$EX_MISSING" "building a base image needs root"
    command -v debootstrap >/dev/null || fail "$EX_MISSING" "missing: debootstrap. On Debian or Ubuntu: apt-get install" \
        "debootstrap"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$work/debian"
    # Behind a TLS-inspecting proxy, a build within the image must trust the same certificates as this machine.
    if [[ -r /etc/ssl/certs/ca-certificates.crt ]]; then
        cp /etc/ssl/certs/ca-certificates.crt "$work/debian/etc/ssl/certs/"
    fi
    rm -rf "$work"/debian/var/cache/apt/archives/*.deb "$work"/debian/var/lib/apt/lists/*
    tar -C "$work/debian" -c . | docker import -c "LABEL $STAND_IN_LABEL=true" -c 'CMD ["bash"]' - "$1"
}

make_rust() { # IMAGE
    local sysroot
    sysroot=$(rustc --print sysroot)
    context <<DOCKERFILE
FROM $RUNTIME_IMAGE
LABEL $STAND_IN_LABEL=true
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY bin /usr/local/bin
COPY lib /usr/local/lib
DOCKERFILE
    tar -C "$context" -c . -C "$sysroot" --exclude=./share ./bin ./lib | docker build -t "$1" -
}

make_prometheus() { # IMAGE
    context <<DOCKERFILE
FROM $RUNTIME_IMAGE
LABEL $STAND_IN_LABEL=true
RUN apt-get update && apt-get install -y --no-install-recommends prometheus wget && rm -rf /var/lib/apt/lists/* && \
    install -d -o nobody -g nogroup /prometheus
USER nobody
WORKDIR /prometheus
ENTRYPOINT ["/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
DOCKERFILE
    tar -C "$context" -c . | docker build -t "$1" -
}

make_alertmanager() { # IMAGE
    context <<DOCKERFILE
FROM $RUNTIME_IMAGE
LABEL $STAND_IN_LABEL=true
RUN apt-get update && apt-get install -y --no-install-recommends prometheus-alertmanager wget && \
    rm -rf /var/lib/apt/lists/* && ln -s prometheus-alertmanager /bin/alertmanager && \
    install -d -o nobody -g nogroup /alertmanager
USER nobody
WORKDIR /alertmanager
ENTRYPOINT ["/bin/alertmanager"]
CMD ["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"]
DOCKERFILE
    tar -C "$context" -c . | docker build -t "$1" -
}

make_elasticsearch() { # IMAGE
    xtask deps opensearch
    context <<DOCKERFILE
FROM $RUNTIME_IMAGE
LABEL $STAND_IN_LABEL=true
RUN apt-get update && apt-get install -y --no-install-recommends openjdk-17-jre-headless curl && \
    rm -rf /var/lib/apt/lists/* && useradd -u 1000 -g 0 -d /usr/share/elasticsearch -M elasticsearch
COPY opensearch /usr/share/elasticsearch
COPY entrypoint /usr/local/bin/docker-entrypoint.sh
RUN cd /usr/share/elasticsearch && install -d -o 1000 -g 0 -m 0775 data logs && chown -R 1000:0 config
USER 1000:0
WORKDIR /usr/share/elasticsearch
ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]
DOCKERFILE
    cp -R "$(xtask find opensearch)" "$context/opensearch"
    # As in the real image, a variable with a dot in its name is a setting.
    cat >"$context/entrypoint" <<'ENTRYPOINT'
#!/bin/bash
set -euo pipefail
settings=(-Enetwork.host=0.0.0.0)
while IFS='=' read -r -d '' name value; do
    case $name in
        xpack.* | ingest.geoip.*) ;; # of modules that it lacks
        *.*) settings+=("-E$name=$value") ;;
    esac
done < <(env -0)
export OPENSEARCH_JAVA_OPTS=${ES_JAVA_OPTS:-} OPENSEARCH_JAVA_HOME=/usr/lib/jvm/java-17-openjdk-$(dpkg --print-architecture)
exec bin/opensearch "${settings[@]}"
ENTRYPOINT
    chmod +x "$context/entrypoint"
    tar -C "$context" -c . | docker build -t "$1" -
}

# Creates a build context, $context, from a Dockerfile on standard input.
context() {
    context=$(mktemp -d "$work/context.XXXXXX")
    cat >"$context/Dockerfile"
}

main "$@"
