# shellcheck shell=bash
# Starts a real engine, checks its readiness, and stops a process group. Sourced after lib.sh, never run.

# Time between SIGTERM and SIGKILL.
STOP_TIMEOUT_S=15
ENGINE_HEAP=${ENGINE_HEAP:-512m}

# Sets $java_home, and $as_user, a command prefix to run an engine as another user: engines refuse to run as root.
prepare_engines() { # [NAME[-VERSION]]
    java_home=$(find_java_home "${1:-}")
    [[ -n $java_home ]] || case ${1:-} in
        elasticsearch-9.* | opensearch-3.*) fail "$EX_MISSING" "missing: Java 21 to 25, for $1" ;;
        *)
            fail "$EX_MISSING" "missing: Java 17 to 23. On Debian or Ubuntu: apt-get install" \
                openjdk-17-jre-headless
            ;;
    esac
    as_user=()
    if ((EUID == 0)); then
        if unshare --user --map-user=1000 --map-group=1000 true 2>/dev/null; then
            as_user=(unshare --user --map-user=1000 --map-group=1000 --)
        elif setpriv --reuid=65534 --regid=65534 --clear-groups true 2>/dev/null; then
            as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups --)
        else
            fail "$EX_MISSING" "engines refuse to run as root, and neither unshare nor setpriv (util-linux) works" \
                "here: run this as another user"
        fi
    fi
}

# Starts an engine as a single node, with its settings, data and logs in its own folder. Sets $started_pid to its process,
# which leads a process group. Port 0 lets the system choose.
start_engine() { # ENGINE FOLDER HTTP_PORT
    configure_engine "$@"
    # In its own process group, so that this script handles Ctrl-C, and a stop reaches the engine's children.
    set -m
    "${engine_command[@]}" </dev/null >"$2/output" 2>&1 &
    started_pid=$!
    set +m
}

# Writes an engine's configuration and sets $engine_command, which starts it. Files in FOLDER/extra replace the engine's
# own; FOLDER/extra/settings.yml is added to its settings.
configure_engine() { # ENGINE FOLDER HTTP_PORT
    local engine home dir=$2 http_port=$3 given=$2/extra/settings.yml
    home=$(engine_home "$1")
    engine=${1%%-*}
    mkdir -p "$dir"/{data,logs,tmp}
    rm -rf "$dir/config" "$dir/logs/http.ports"
    cp -R "$home/config" "$dir/config"
    # Without options that write to the engine's own folder, which other runs share.
    sed -E '/Xlog:gc|HeapDumpPath|HeapDumpOnOutOfMemoryError|ErrorFile|^[0-9:-]*-Xlog|PrintGC|Xloggc|GCLog/d' \
        "$home/config/jvm.options" >"$dir/config/jvm.options"
    printf '%s\n' "-XX:ErrorFile=$dir/logs/crash-%p.log" >>"$dir/config/jvm.options"
    [[ ! -d $dir/extra ]] || cp -R "$dir/extra/." "$dir/config/"
    {
        cat <<SETTINGS
cluster.name: observability-local
network.host: 127.0.0.1
http.port: $http_port
node.portsfile: true
path.data: $dir/data
path.logs: $dir/logs
# A developer's disk is often fuller than an engine allows.
cluster.routing.allocation.disk.threshold_enabled: false
SETTINGS
        [[ ! -e $given ]] || cat "$given"
        is_given "$given" node.name || printf 'node.name: %s\n' "$engine"
        is_given "$given" transport.port || printf 'transport.port: 0\n'
        is_given "$given" discovery.seed_hosts || printf 'discovery.type: single-node\n'
        [[ $engine == opensearch || $1 == elasticsearch-7.10.2 ]] || is_given "$given" xpack.security.enabled ||
            printf 'xpack.security.enabled: false\n'
    } >"$dir/config/$engine.yml"
    if [[ ${as_user[*]-} == *--reuid* ]]; then
        chown -R 65534:65534 "$dir"
        chmod a+rx "$(dirname "$dir")"
        if ! "${as_user[@]}" test -r "$home/.stamp"; then
            cp -R "$home" "$dir/home"
            chmod -R a+rX "$dir/home"
            home=$dir/home
        fi
    fi
    # 7.10 has no variable of its own, and newer versions warn about JAVA_HOME.
    local java=(-u JAVA_HOME)
    [[ $1 != elasticsearch-7.10.2 ]] || java=(JAVA_HOME="$java_home")
    engine_environment=(env -u JAVA_TOOL_OPTIONS "${java[@]}"
        OPENSEARCH_JAVA_HOME="$java_home" ES_JAVA_HOME="$java_home"
        OPENSEARCH_PATH_CONF="$dir/config" ES_PATH_CONF="$dir/config"
        OPENSEARCH_TMPDIR="$dir/tmp" ES_TMPDIR="$dir/tmp"
        OPENSEARCH_JAVA_OPTS="-Xms$ENGINE_HEAP -Xmx$ENGINE_HEAP" ES_JAVA_OPTS="-Xms$ENGINE_HEAP -Xmx$ENGINE_HEAP"
        ${as_user[@]+"${as_user[@]}"})
    engine_command=("${engine_environment[@]}" "$home/bin/$engine")
}

# Whether a file of additional settings has a setting.
is_given() { # FILE SETTING
    [[ -e $1 ]] && grep -q "^$2:" "$1"
}

# Prints the port of the engine, once it has published it.
published_port() { # FOLDER
    [[ -s $1/logs/http.ports ]] && sed -n 's/^127\.0\.0\.1:\([0-9]\{1,\}\)$/\1/p' "$1/logs/http.ports" | grep -m 1 .
}

# Whether the cluster accepts writes.
is_healthy() { # PORT
    answers "$1" '/_cluster/health?wait_for_status=yellow&timeout=1s'
}

# Ends a process group that this script started: with the signal, then with SIGKILL.
stop_group() { # SIGNAL PID
    local deadline=$((SECONDS + STOP_TIMEOUT_S))
    kill -"$1" -- "-$2" 2>/dev/null || true
    while kill -0 -- "-$2" 2>/dev/null; do
        if ((SECONDS >= deadline)); then
            kill -KILL -- "-$2" 2>/dev/null || true
            break
        fi
        sleep 0.1
    done
    wait "$2" 2>/dev/null || true
}
