# shellcheck shell=bash
# Shared by the scripts of this folder: paths, Java, Prometheus, error messages.
# Sourced, never run. The caller sets `set -euo pipefail`.
#
# This file, and everything that `make up` and `make up-local` run, is compatible with bash 3.2, for macOS: an array that may
# be empty is written ${array[@]+"${array[@]}"} there.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Folder for everything that is unpacked; several checkouts can share one.
CACHE_DIR=${CACHE_DIR:-$ROOT/.cache}
ENGINES_DIR=$CACHE_DIR/engines
MONITORING_DIR=$CACHE_DIR/monitoring

OPENSEARCH_VERSION=2.19.1
ELASTICSEARCH_VERSION=8.8.0

# Exit codes (sysexits.h where one fits).
EX_USAGE=64
EX_MISSING=69  # a program that the user must provide is missing
EX_TEMPFAIL=75 # an engine did not start, a download failed
EX_CONFIG=78   # a configuration file has a mistake

upper() { tr '[:lower:]' '[:upper:]' <<<"$1"; } # TEXT

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

fail() { # CODE MESSAGE…
    local code=$1
    shift
    say "$@"
    exit "$code"
}

# Prints in one line what promtool or amtool found wrong: their output after FAILED, up to the next file, else their last
# line. It begins with the file: the one that was checked if they name no other.
mistake_in() { # FILE WORDS
    awk -v file="$1" '
        !text && sub(/.*FAILED:/, "") { text = " " }
        text && !done { if (/^ *(Checking|SUCCESS)/ || (/^ *$/ && text != " ")) done = 1; else text = text " " $0 }
        { last = $0 }
        END { if (!text) text = last; print (text ~ /infra\// ? "" : file ": ") text }' <<<"$2" | tr -s ' ' | sed 's/^ *//; s/ *$//' | cut -c 1-400
}

# Whether a GET is answered with 200. In bash, since curl may be missing.
answers() { # PORT PATH
    local status
    {
        exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
        printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$2" >&3
        read -r -t 5 _ status _ <&3
        exec 3>&-
    } 2>/dev/null
    [[ ${status:-} == 200 ]]
}

# Prints the response to a GET, head and lines of the body, or nothing.
body_of() { # PORT PATH
    local line
    {
        exec 3<>"/dev/tcp/127.0.0.1/$1" || return 0
        printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$2" >&3
        while IFS= read -r -t 5 line <&3; do
            printf '%s\n' "$line"
        done
        exec 3>&-
    } 2>/dev/null
}

# The engines of `make matrix`, in addition to the two that all tests use.
OTHER_ENGINES=(elasticsearch-7.10.2 elasticsearch-7.17.10 elasticsearch-8.19.0 elasticsearch-9.1.0 opensearch-3.4.0)

# The name of an engine with its version; the default version if none is given.
engine_version() { # NAME[-VERSION]
    case $1 in
        opensearch) printf 'opensearch-%s\n' "$OPENSEARCH_VERSION" ;;
        elasticsearch) printf 'elasticsearch-%s\n' "$ELASTICSEARCH_VERSION" ;;
        "opensearch-$OPENSEARCH_VERSION" | "elasticsearch-$ELASTICSEARCH_VERSION") printf '%s\n' "$1" ;;
        *)
            [[ " ${OTHER_ENGINES[*]} " == *" $1 "* ]] || fail "$EX_USAGE" "no engine is called '$1'; there are:" \
                "opensearch, elasticsearch, ${OTHER_ENGINES[*]}"
            printf '%s\n' "$1"
            ;;
    esac
}

# Folder of an engine's unpacked distribution.
engine_home() { # NAME[-VERSION]
    local version
    version=$(engine_version "$1") || exit
    printf '%s/%s\n' "$ENGINES_DIR" "$version"
}

# The user's address of an engine; empty if it has to be started here.
given_address() { # NAME
    case $1 in
        opensearch) printf '%s' "${ENGINE_URL:-}" ;;
        elasticsearch) printf '%s' "${BARE_ENGINE_URL:-}" ;;
    esac
}

# Prints the home of a Java that can run an engine, or nothing. The engines that all tests use need the security manager,
# which Java 24 removed; newer ones need Java 21.
find_java_home() { # [NAME[-VERSION]]
    local java version oldest=17 newest=23
    case ${1:-} in
        elasticsearch-9.* | opensearch-3.*) oldest=21 newest=25 ;;
    esac
    for java in "${JAVA_HOME:+$JAVA_HOME/bin/java}" "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
        [[ -n $java && -x $java ]] || continue
        version=$("$java" -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java\.specification\.version = //p')
        if [[ $version =~ ^[0-9]+$ ]] && ((version >= oldest && version <= newest)); then
            "$java" -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java\.home = //p'
            return
        fi
    done
}

# Prometheus, Alertmanager and logrotate are Debian packages, unpacked here, unless the user names a folder. On a machine
# without apt they are taken from the PATH.

# The package of a part.
package_of() { # PART
    case $1 in
        prometheus) printf 'prometheus\n' ;;
        alertmanager) printf 'prometheus-alertmanager\n' ;;
        logrotate) printf 'logrotate\n' ;;
    esac
}

# Additional packages that it needs if they are not installed.
libraries_of() { # PART
    case $1 in
        logrotate) printf 'libpopt0 libacl1 libselinux1 libpcre2-8-0\n' ;;
    esac
}

# The programs of a part.
programs_of() { # PART
    case $1 in
        prometheus) printf 'prometheus promtool\n' ;;
        alertmanager) printf 'alertmanager amtool\n' ;;
        logrotate) printf 'logrotate\n' ;;
    esac
}

# Prints the path of one of their programs, or nothing if it does not exist yet.
find_program() { # prometheus|promtool|alertmanager|amtool|logrotate
    local path given unpacked
    case $1 in
        prometheus | promtool)
            given=${PROMETHEUS_HOME:-}
            unpacked=$MONITORING_DIR/prometheus/usr/bin/$1
            ;;
        alertmanager)
            given=${ALERTMANAGER_HOME:-}
            unpacked=$MONITORING_DIR/alertmanager/alertmanager
            ;;
        amtool)
            given=${ALERTMANAGER_HOME:-}
            unpacked=$MONITORING_DIR/alertmanager/usr/bin/amtool
            ;;
        logrotate)
            given=
            unpacked=$MONITORING_DIR/logrotate/logrotate
            ;;
        *)
            fail "$EX_USAGE" "no program is called '$1'; there are: prometheus, promtool, alertmanager, amtool, logrotate"
            ;;
    esac
    if [[ -n $given ]]; then
        path=$given/$1
    elif [[ -x $unpacked ]]; then
        path=$unpacked
    elif ! command -v apt-get >/dev/null; then
        path=$(command -v "$1" || true)
    fi
    if [[ -n ${path:-} && -x $path ]]; then
        printf '%s\n' "$path"
    fi
}
