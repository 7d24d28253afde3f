# shellcheck shell=bash
# Shared by the scripts: paths, error messages, requests.
# Sourced, never run. The caller sets `set -euo pipefail`.
#
# This file, and everything that `make up` runs, is compatible with bash 3.2, for macOS: an array that may be empty is
# written ${array[@]+"${array[@]}"} there.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Folder for everything that is unpacked; several checkouts can share one.
CACHE_DIR=${CACHE_DIR:-$ROOT/.cache}

# Exit codes (sysexits.h where one fits).
EX_USAGE=64
EX_MISSING=69  # a program that the user must provide is missing
EX_TEMPFAIL=75 # something did not start, a download failed
EX_CONFIG=78   # a configuration file has a mistake

upper() { tr '[:lower:]' '[:upper:]' <<<"$1"; } # TEXT

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

fail() { # CODE MESSAGE…
    local code=$1
    shift
    say "$@"
    exit "$code"
}

# Runs a development task, such as `xtask deps wrk`.
xtask() { # ARGUMENT…
    # shellcheck disable=SC2086 # several options
    (cd "$ROOT" && exec cargo ${CARGO_FLAGS:-} xtask "$@")
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
