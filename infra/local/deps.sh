#!/usr/bin/env bash
# Unpacks what the tests and the local stack run under .cache. Nothing is installed on the machine.
#
#   infra/local/deps.sh [opensearch] [elasticsearch] [prometheus] [alertmanager] [chromium] [axe-core]
#
# All when none is named.
# The engines come from Maven Central through the machine's own Maven (and so through its mirrors and proxies):
#
#   OpenSearch     its bare distribution, plus the modules ingest-common, lang-painless and
#                 lang-mustache, which every full distribution has, assembled from their jars
#   Elasticsearch  its bare distribution: security, but no ingest processors
#
# Prometheus (with promtool) and Alertmanager (with amtool) are Debian's packages, downloaded by the machine's own apt
# and unpacked: installing them would start daemons. On a machine without apt they have to be there: on the PATH, or in
# the folders that PROMETHEUS_HOME and ALERTMANAGER_HOME name, as the projects' own archives unpack.
#
# Chromium with its driver, and axe-core, for the tests in a browser: browser.sh says where they come from.
#
# Run again it downloads only what is missing. A part appears in one step, complete, with a stamp; two runs at once
# wait for one another. An engine whose address is given (ENGINE_URL, BARE_ENGINE_URL) is left out.
#
# Exit codes: 0 all is there, 64 wrong arguments, 69 a program is missing, 75 a download or an archive failed.
set -euo pipefail
export LC_ALL=C # the order of names, and so of what is verified
# shellcheck source=infra/local/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=infra/local/browser.sh
source "$(dirname "${BASH_SOURCE[0]}")/browser.sh"

# Part of every stamp: raise it when what is made of the same artifacts changes.
RECIPE=2
# Of each archive, and of each module's jars one after the other by name.
OPENSEARCH_SHA256=af7152d8b7f6f1cee09d47276b32b70479fe6dd8cdbb61213f84eb7f8098b261
LANG_PAINLESS_SHA256=df2a0fa9d1539b400df9c7f209ddd00de00aa32000d80c9d9f90b4c40a957ec1
LANG_MUSTACHE_SHA256=ecff96f5ca26ac17ad2b3d5acd25c080545b46d9f5b3747d85c64a4c31e76b16
INGEST_COMMON_SHA256=247019f6d470b2998aa34e843321724cae2b49816e29f0706d02e66f64516a7f
ELASTICSEARCH_SHA256=2cae9380e48695b2c226c7c46c6059775f2f307920747c8ca84d465461a31fac
DEPENDENCY_PLUGIN=org.apache.maven.plugins:maven-dependency-plugin:3.6.1

main() {
    local part engines=() packages=() browser=() axe=()
    (($#)) || set -- opensearch elasticsearch prometheus alertmanager chromium axe-core
    for part in "$@"; do
        case $part in
            prometheus | alertmanager) has_programs "$part" || packages+=("$part") ;;
            chromium) has_browser || browser=(chromium) ;;
            axe-core) has_axe || axe=(axe-core) ;;
            *)
                engine_home "$part" >/dev/null
                if [[ -n $(given_address "$part") ]]; then
                    say "$part: $(given_address "$part") is used, nothing to unpack"
                elif ! is_ready "$part"; then
                    engines+=("$part")
                fi
                ;;
        esac
    done
    ((${#engines[@]} + ${#packages[@]} + ${#browser[@]} + ${#axe[@]})) || return 0

    ((${#engines[@]} + ${#axe[@]} == 0)) || require_programs
    ((${#packages[@]} == 0)) || require_apt "${packages[@]}"
    ((${#browser[@]} == 0)) || require_browser_packages
    mkdir -p "$ENGINES_DIR" "$MONITORING_DIR"
    exec 9>"$CACHE_DIR/deps.lock"
    flock 9
    work=$(mktemp -d "$CACHE_DIR/.unpack.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    for part in "${engines[@]}"; do
        is_ready "$part" && continue # made by the run that held the lock
        say "$part: fetching and unpacking …"
        "unpack_$part"
        publish "$part"
        say "$part: ready in $(engine_home "$part")"
    done
    for part in "${packages[@]}"; do
        has_programs "$part" && continue
        say "$part: fetching and unpacking …"
        unpack_package "$part"
        say "$part: ready in $MONITORING_DIR/$part"
    done
    unpack_for_browser "${browser[@]}" "${axe[@]}"
}

unpack_for_browser() { # [chromium] [axe-core]
    local part
    for part in "$@"; do
        case $part in
            chromium) has_browser || { say "chromium: fetching and unpacking …" && unpack_browser; } ;;
            axe-core) has_axe || { say "axe-core: fetching and unpacking …" && unpack_axe; } ;;
        esac
        say "$part: ready"
    done
}

# Whether the programs of a part are there, wherever they come from.
has_programs() { # PART
    local program
    for program in $(programs_of "$1"); do
        [[ -n $(find_program "$program") ]] || return 1
    done
}

stamp() { # ENGINE
    printf '%s recipe %s\n' "$(basename "$(engine_home "$1")")" "$RECIPE"
}

is_ready() { # ENGINE
    [[ -f $(engine_home "$1")/.stamp && $(<"$(engine_home "$1")/.stamp") == "$(stamp "$1")" ]]
}

require_programs() {
    local missing=() packages=()
    JAVA_HOME=$(find_java_home)
    export JAVA_HOME
    [[ -n $JAVA_HOME ]] || { missing+=("Java 17 to 23") && packages+=(openjdk-17-jre-headless); }
    command -v mvn >/dev/null || { missing+=("Maven (mvn)") && packages+=(maven); }
    command -v flock >/dev/null || { missing+=(flock) && packages+=(util-linux); }
    unzipper >/dev/null || { missing+=("unzip") && packages+=(unzip); }
    ((${#missing[@]})) || return 0
    local list
    list=$(printf ', %s' "${missing[@]}")
    fail "$EX_MISSING" "missing: ${list:2}. On Debian or Ubuntu: apt-get install ${packages[*]}." \
        "Or give engines that run already: ENGINE_URL (OpenSearch 2.19) and BARE_ENGINE_URL (Elasticsearch 8.8)."
}

# Fails, saying what to do, unless apt can bring the packages of the parts.
require_apt() { # PART…
    local part package
    for part in "$@"; do
        package=$(package_of "$part")
        if [[ $part == prometheus && -n ${PROMETHEUS_HOME:-} ]]; then
            fail "$EX_MISSING" "missing: prometheus and promtool in PROMETHEUS_HOME=$PROMETHEUS_HOME"
        elif [[ $part == alertmanager && -n ${ALERTMANAGER_HOME:-} ]]; then
            fail "$EX_MISSING" "missing: alertmanager and amtool in ALERTMANAGER_HOME=$ALERTMANAGER_HOME"
        elif ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
            fail "$EX_MISSING" "missing: $(programs_of "$part"), and there is no apt to bring them. Install" \
                "${part^} 2.42 or newer (Alertmanager: 0.25) so that both are on the PATH, or unpack its archive and" \
                "set ${part^^}_HOME to the folder."
        elif [[ -z $(apt-cache --quiet=2 show "$package" 2>/dev/null) ]]; then
            fail "$EX_MISSING" "apt does not know the package $package: run 'apt-get update' as root, then this again." \
                "(On Ubuntu it is in the component universe.)"
        fi
    done
    command -v flock >/dev/null || fail "$EX_MISSING" "missing: flock. On Debian or Ubuntu: apt-get install util-linux."
}

# Downloads the package of a part, checked by apt, and puts what is in it in its place, in one step.
unpack_package() { # PART
    local options=()
    # As root, apt would download as a user that can't write here, and say so.
    ((EUID)) || options=(-o APT::Sandbox::User=root)
    mkdir -p "$work/deb"
    (cd "$work/deb" && apt-get "${options[@]}" -q download "$(package_of "$1")") </dev/null >&2 ||
        fail "$EX_TEMPFAIL" "apt did not bring the package $(package_of "$1"); its words are above. If it was not" \
            "found there any more: run 'apt-get update' as root, then this again."
    dpkg -x "$work"/deb/*.deb "$work/package" || fail "$EX_TEMPFAIL" "the package $(package_of "$1") can't be unpacked"
    [[ $1 != alertmanager ]] || relocate_alertmanager "$work/package"
    rm -rf "$work/deb" "${MONITORING_DIR:?}/$1"
    chmod -R a+rX "$work/package"
    mv "$work/package" "$MONITORING_DIR/$1"
    has_programs "$1" || fail "$EX_TEMPFAIL" "the package $(package_of "$1") does not hold $(programs_of "$1")"
}

# Debian's Alertmanager reads its templates from a folder whose path is in the program, and which is there only where the
# package is installed. The path is replaced by one as long, of a file descriptor, which a script opens.
relocate_alertmanager() { # FOLDER
    local program=$1/usr/bin/prometheus-alertmanager path=/usr/share/prometheus/alertmanager other=/proc/self/fd/9
    while ((${#other} < ${#path})); do
        other+=/
    done
    grep -qaF "$path" "$program" || return 0
    LC_ALL=C sed -i "s#$path#$other#g" "$program"
    cat >"$1/alertmanager" <<'SCRIPT'
#!/bin/sh
# Starts Alertmanager with its templates, wherever this folder is.
here=$(dirname "$0")
exec 9<"$here/usr/share/prometheus/alertmanager"
exec "$here/usr/bin/prometheus-alertmanager" "$@"
SCRIPT
    chmod +x "$1/alertmanager"
}

# Names a program that unpacks a zip.
unzipper() {
    local program
    for program in unzip bsdtar jar python3; do
        if command -v "$program" >/dev/null; then
            printf '%s\n' "$program"
            return
        fi
    done
    return 1
}

unzip_into() { # ARCHIVE FOLDER
    mkdir -p "$2"
    case $(unzipper) in
        unzip) unzip -q "$1" -d "$2" ;;
        bsdtar) bsdtar -xf "$1" -C "$2" ;;
        jar) (cd "$2" && jar xf "$1") ;;
        python3) python3 -m zipfile -e "$1" "$2" ;;
    esac || fail "$EX_TEMPFAIL" "$1 can't be unpacked"
}

# Its repository is under .cache too, so nothing is left in the user's home. What it brings is checked by `verify`.
maven() { # GOAL OPTION…
    local goal=$1
    shift
    mvn -B -q -U -Dstyle.color=never -Dmaven.repo.local="$CACHE_DIR/m2" "$DEPENDENCY_PLUGIN:$goal" "$@" \
        </dev/null 2>&1 | sed 's/\x1b\[[0-9;]*m//g' >&2 ||
        fail "$EX_TEMPFAIL" "Maven did not bring what is needed; its words are above. Is Maven Central, or a mirror" \
            "of it in ~/.m2/settings.xml, within reach?"
}

# Fails unless the files, taken together in the order given, are those that this script was written for.
verify() { # SHA256 WHAT FILE…
    local expected=$1 what=$2 found
    shift 2
    found=$(cat "$@" | sha256sum | cut -d ' ' -f 1)
    [[ $found == "$expected" ]] || fail "$EX_TEMPFAIL" "$what is not what it should be: its SHA-256 is $found," \
        "expected $expected. Delete $CACHE_DIR/m2 and run this again."
}

# Unpacks one distribution to $work/home.
unpack_distribution() { # SHA256 GROUP ARTIFACT VERSION
    local sha256=$1
    shift
    maven copy -Dartifact="$1:$2:$3:zip" -DoutputDirectory="$work/zip"
    verify "$sha256" "$1:$2:$3:zip" "$work/zip/$2-$3.zip"
    unzip_into "$work/zip/$2-$3.zip" "$work/unpacked"
    mv "$work/unpacked/$2-$3" "$work/home"
    rm -rf "$work/zip" "$work/unpacked"
    chmod +x "$work"/home/bin/*
}

unpack_elasticsearch() {
    unpack_distribution "$ELASTICSEARCH_SHA256" \
        org.elasticsearch.distribution.integ-test-zip elasticsearch "$ELASTICSEARCH_VERSION"
}

unpack_opensearch() {
    unpack_distribution "$OPENSEARCH_SHA256" \
        org.opensearch.distribution.integ-test-zip opensearch "$OPENSEARCH_VERSION"
    add_module "$LANG_PAINLESS_SHA256" lang-painless lang-painless org.opensearch.painless.PainlessPlugin '' \
        createClassLoader getClassLoader
    add_module "$INGEST_COMMON_SHA256" ingest-common ingest-common org.opensearch.ingest.common.IngestCommonPlugin \
        lang-painless getClassLoader
    add_module "$LANG_MUSTACHE_SHA256" lang-mustache lang-mustache-client \
        org.opensearch.script.mustache.MustachePlugin '' accessDeclaredMembers
}

# Assembles an OpenSearch module: its jar and those it needs beyond the server's and the extended module's own.
add_module() { # SHA256 NAME ARTIFACT CLASS EXTENDED PERMISSION…
    local sha256=$1 name=$2 artifact=$3 class=$4 extended=$5 module=$work/home/modules/$2 jar permission
    shift 5
    mkdir -p "$module"
    cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId>
  <artifactId>$name-jars</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.opensearch.plugin</groupId>
      <artifactId>$artifact</artifactId>
      <version>$OPENSEARCH_VERSION</version>
    </dependency>
  </dependencies>
</project>
POM
    maven copy-dependencies -f "$work/pom.xml" -DincludeScope=runtime -DoutputDirectory="$module"
    for jar in "$module"/*.jar; do
        if [[ -e $work/home/lib/${jar##*/} || (-n $extended && -e $work/home/modules/$extended/${jar##*/}) ]]; then
            rm "$jar"
        fi
    done
    verify "$sha256" "the set of jars of org.opensearch.plugin:$artifact:$OPENSEARCH_VERSION" "$module"/*.jar
    cat >"$module/plugin-descriptor.properties" <<PROPERTIES
description=OpenSearch module $name
version=$OPENSEARCH_VERSION
name=$name
classname=$class
java.version=11
opensearch.version=$OPENSEARCH_VERSION
has.native.controller=false
extended.plugins=$extended
PROPERTIES
    {
        printf 'grant {\n'
        for permission in "$@"; do
            printf '  permission java.lang.RuntimePermission "%s";\n' "$permission"
        done
        printf '};\n'
    } >"$module/plugin-security.policy"
}

# Puts $work/home in its place, in one step. The engine's own user, if it is another, must be able to read it.
publish() { # ENGINE
    local home
    home=$(engine_home "$1")
    stamp "$1" >"$work/home/.stamp"
    chmod -R a+rX "$work/home"
    if [[ -e $home ]]; then
        mv "$home" "$work/replaced"
    fi
    mv "$work/home" "$home"
    rm -rf "$work/replaced"
}

main "$@"
