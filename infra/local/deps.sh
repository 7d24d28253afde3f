#!/usr/bin/env bash
# Unpacks the programs of the tests and the local stack under .cache. Nothing is installed on the machine.
#
#   infra/local/deps.sh [PART…]
#
# Parts are opensearch, elasticsearch, prometheus, alertmanager, logrotate, chromium and axe-core (the default), and the
# other engines of `make matrix`, NAME-VERSION (OTHER_ENGINES in lib.sh).
#
# The engines come from Maven Central through the machine's own Maven (and so through its mirrors and proxies):
#
#   OpenSearch     its bare distribution, plus the modules ingest-common, lang-painless and
#                 lang-mustache, which every full distribution has, assembled from their jars
#   Elasticsearch  its bare distribution: security, but no ingest processors; of 7.10.2 without security, plus ingest-common
#                 and lang-painless
#
# Prometheus (with promtool), Alertmanager (with amtool) and logrotate are Debian's packages, downloaded by the machine's
# own apt and unpacked: installing them would start daemons. On a machine without apt they must be on the PATH, or in the
# folders PROMETHEUS_HOME and ALERTMANAGER_HOME, with the layout of the projects' own archives.
#
# Chromium with its driver, and axe-core, are for the browser tests; see browser.sh.
#
# A second run downloads only what is missing. A part appears in one step, complete, with a stamp; concurrent runs wait
# for each other. An engine whose address is set (ENGINE_URL, BARE_ENGINE_URL) is skipped.
#
# Exit codes: 0 complete, 64 wrong arguments, 69 a program is missing, 75 a download or an archive failed.
set -euo pipefail
export LC_ALL=C # the order of names, and so of what is verified
# shellcheck source=infra/local/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=infra/local/browser.sh
source "$(dirname "${BASH_SOURCE[0]}")/browser.sh"

# Part of every stamp: increase it if the same artifacts are assembled differently.
RECIPE=2
# Checksums of each archive, and of each module's jars, concatenated by name.
sha256_of() { # NAME-VERSION
    case $1 in
        opensearch-2.19.1) printf 'af7152d8b7f6f1cee09d47276b32b70479fe6dd8cdbb61213f84eb7f8098b261\n' ;;
        lang-painless-2.19.1) printf 'df2a0fa9d1539b400df9c7f209ddd00de00aa32000d80c9d9f90b4c40a957ec1\n' ;;
        lang-mustache-2.19.1) printf 'ecff96f5ca26ac17ad2b3d5acd25c080545b46d9f5b3747d85c64a4c31e76b16\n' ;;
        ingest-common-2.19.1) printf '247019f6d470b2998aa34e843321724cae2b49816e29f0706d02e66f64516a7f\n' ;;
        opensearch-3.4.0) printf '6540e95fe8bfaedc3eb1c58e829912ea2203af2ac1f88f76411c20a2fc5254a6\n' ;;
        lang-painless-3.4.0) printf '06cb235ba69904876e02fda5c36413c2fcf411265409013a369ba9937e69437d\n' ;;
        lang-mustache-3.4.0) printf 'e098f2d43eeeffc8d1cf66de1cf202301e1e8c8168347376b2ac78f3a98902fb\n' ;;
        ingest-common-3.4.0) printf '448622349103417a47a18e57d710d018850caa883441410070b68b0bf38bbc02\n' ;;
        elasticsearch-7.10.2) printf '38a4232a9b8506235c8a2b6a24cdf3732b2c2aa4b8026c89063e038a610c9f4c\n' ;;
        lang-painless-7.10.2) printf '5b17b9239769b001ea73e7888b3c4da19f11525111078b94b64a62bb3c1ef858\n' ;;
        ingest-common-7.10.2) printf '06fdd9a9c06839b494289a29beaa97421e58b4cdb54ba257baf27bf196e86e7f\n' ;;
        elasticsearch-7.17.10) printf 'dc928ff2836450e8e330ee1c94c83d22f7974e44bba31056df14706ff33fc63a\n' ;;
        elasticsearch-8.8.0) printf '2cae9380e48695b2c226c7c46c6059775f2f307920747c8ca84d465461a31fac\n' ;;
        elasticsearch-8.19.0) printf '14833b2d86c30656901f92049f81fb5777a8e4545413c8656cd1a21b55173033\n' ;;
        elasticsearch-9.1.0) printf 'be5c5440bb6344cee4070f8f77a6c3cd72363db494944047cdd93748c4e19111\n' ;;
    esac
}
DEPENDENCY_PLUGIN=org.apache.maven.plugins:maven-dependency-plugin:3.6.1

main() {
    local part engines=() packages=() browser=() axe=()
    (($#)) || set -- opensearch elasticsearch prometheus alertmanager logrotate chromium axe-core
    for part in "$@"; do
        case $part in
            prometheus | alertmanager | logrotate) has_programs "$part" || packages+=("$part") ;;
            chromium) has_browser || browser=(chromium) ;;
            axe-core) has_axe || axe=(axe-core) ;;
            *)
                engine_home "$part" >/dev/null
                if [[ -n $(given_address "$part") ]]; then
                    say "$part: using $(given_address "$part"), nothing to unpack"
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
    for part in ${engines[@]+"${engines[@]}"}; do
        is_ready "$part" && continue # made by the run that held the lock
        say "$part: fetching and unpacking …"
        "unpack_${part%%-*}" "$(engine_version "$part")"
        publish "$part"
        say "$part: ready in $(engine_home "$part")"
    done
    for part in ${packages[@]+"${packages[@]}"}; do
        has_programs "$part" && continue
        say "$part: fetching and unpacking …"
        unpack_package "$part"
        say "$part: ready in $MONITORING_DIR/$part"
    done
    unpack_for_browser ${browser[@]+"${browser[@]}"} ${axe[@]+"${axe[@]}"}
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

# Whether the programs of a part are available, from any source.
has_programs() { # PART
    local program
    for program in $(programs_of "$1"); do
        [[ -n $(find_program "$program") ]] || return 1
    done
}

stamp() { # ENGINE
    printf '%s recipe %s\n' "$(engine_version "$1")" "$RECIPE"
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
        "Or set the addresses of running engines: ENGINE_URL (OpenSearch 2.19) and BARE_ENGINE_URL (Elasticsearch 8.8)."
}

# Fails with advice unless apt can download the packages of the parts.
require_apt() { # PART…
    local part package
    for part in "$@"; do
        package=$(package_of "$part")
        if [[ $part == prometheus && -n ${PROMETHEUS_HOME:-} ]]; then
            fail "$EX_MISSING" "missing: prometheus and promtool in PROMETHEUS_HOME=$PROMETHEUS_HOME"
        elif [[ $part == alertmanager && -n ${ALERTMANAGER_HOME:-} ]]; then
            fail "$EX_MISSING" "missing: alertmanager and amtool in ALERTMANAGER_HOME=$ALERTMANAGER_HOME"
        elif ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
            fail "$EX_MISSING" "missing: $(programs_of "$part"), and apt is not available. Install" \
                "$part 2.42 or newer (alertmanager: 0.25) so that both are on the PATH, or unpack its archive and" \
                "set $(upper "$part")_HOME to the folder."
        elif [[ -z $(apt-cache --quiet=2 show "$package" 2>/dev/null) ]]; then
            fail "$EX_MISSING" "apt does not know the package $package: run 'apt-get update' as root, then this again." \
                "(On Ubuntu it is in the component universe.)"
        fi
    done
    command -v flock >/dev/null || fail "$EX_MISSING" "missing: flock. On Debian or Ubuntu: apt-get install util-linux."
}

# Downloads the package of a part, checked by apt, and moves its content to its place in one step.
unpack_package() { # PART
    local options=()
    # As root, apt would download as a user who can't write here, with a warning.
    ((EUID)) || options=(-o APT::Sandbox::User=root)
    mkdir -p "$work/deb"
    # shellcheck disable=SC2046
    (cd "$work/deb" && apt-get ${options[@]+"${options[@]}"} -q download "$(package_of "$1")" $(libraries_of "$1")) </dev/null >&2 ||
        fail "$EX_TEMPFAIL" "apt could not download the package $(package_of "$1"); its output is above. If it was not" \
            "found: run 'apt-get update' as root, then this again."
    local deb
    for deb in "$work"/deb/*.deb; do
        dpkg -x "$deb" "$work/package" || fail "$EX_TEMPFAIL" "the package $(package_of "$1") can't be unpacked"
    done
    [[ $1 != alertmanager ]] || relocate_alertmanager "$work/package"
    [[ $1 != logrotate ]] || wrap_logrotate "$work/package"
    rm -rf "$work/deb" "${MONITORING_DIR:?}/$1"
    chmod -R a+rX "$work/package"
    mv "$work/package" "$MONITORING_DIR/$1"
    has_programs "$1" || fail "$EX_TEMPFAIL" "the package $(package_of "$1") does not contain $(programs_of "$1")"
}

# Debian's Alertmanager reads its templates from a fixed folder, which exists only if the package is installed. The path in
# the program is replaced with one of the same length, to a file descriptor that a script opens.
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

# logrotate gets its libraries, which may not be installed, from its own folder.
wrap_logrotate() { # FOLDER
    cat >"$1/logrotate" <<'SCRIPT'
#!/bin/sh
# Starts logrotate with the libraries in its folder, wherever this folder is.
here=$(dirname "$0")
for folder in "$here"/usr/lib/*-linux-* "$here"/lib/*-linux-*; do
    libraries=${libraries:+$libraries:}$folder
done
LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec "$here/usr/sbin/logrotate" "$@"
SCRIPT
    chmod +x "$1/logrotate"
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

# Its repository is under .cache too, so nothing is left in the user's home. `verify` checks the downloads.
maven() { # GOAL OPTION…
    local goal=$1
    shift
    mvn -B -q -U -Dstyle.color=never -Dmaven.repo.local="$CACHE_DIR/m2" "$DEPENDENCY_PLUGIN:$goal" "$@" \
        </dev/null 2>&1 | sed 's/\x1b\[[0-9;]*m//g' >&2 ||
        fail "$EX_TEMPFAIL" "Maven could not download the artifacts; its output is above. Check that Maven Central," \
            "or a mirror in ~/.m2/settings.xml, is reachable."
}

# Fails unless the concatenated files have the expected checksum.
verify() { # 06fdd9a9c06839b494289a29beaa97421e58b4cdb54ba257baf27bf196e86e7f56 WHAT FILE…
    local expected=$1 what=$2 found
    shift 2
    found=$(cat "$@" | sha256sum | cut -d ' ' -f 1)
    [[ $found == "$expected" ]] || fail "$EX_TEMPFAIL" "$what has the wrong checksum: its SHA-256 is $found," \
        "expected $expected. Delete $CACHE_DIR/m2 and run this again."
}

# Unpacks one distribution to $work/home.
unpack_distribution() { # GROUP ARTIFACT VERSION
    maven copy -Dartifact="$1:$2:$3:zip" -DoutputDirectory="$work/zip"
    verify "$(sha256_of "$2-$3")" "$1:$2:$3:zip" "$work/zip/$2-$3.zip"
    unzip_into "$work/zip/$2-$3.zip" "$work/unpacked"
    mv "$work"/unpacked/* "$work/home"
    rm -rf "$work/zip" "$work/unpacked"
    chmod +x "$work"/home/bin/*
}

# For 7.10.2 the modules are available: Elasticsearch's own code, built and published by the CodeLibs project.
unpack_elasticsearch() { # NAME-VERSION
    local version=${1#*-}
    unpack_distribution org.elasticsearch.distribution.integ-test-zip elasticsearch "$version"
    [[ $version == 7.10.2 ]] || return 0
    module_group=org.codelibs.elasticsearch.module module_engine=elasticsearch
    add_module "$version" lang-painless lang-painless org.elasticsearch.painless.PainlessPlugin '' createClassLoader getClassLoader
    add_module "$version" ingest-common ingest-common org.elasticsearch.ingest.common.IngestCommonPlugin lang-painless getClassLoader
}

unpack_opensearch() { # NAME-VERSION
    local version=${1#*-} painless=org.opensearch.painless.PainlessPlugin ingest=org.opensearch.ingest.common
    local mustache=org.opensearch.script.mustache
    case $version in
        2.*) ingest+=.IngestCommonPlugin mustache+=.MustachePlugin ;;
        *)
            painless=org.opensearch.painless.PainlessModulePlugin
            ingest+=.IngestCommonModulePlugin mustache+=.MustacheModulePlugin
            ;;
    esac
    unpack_distribution org.opensearch.distribution.integ-test-zip opensearch "$version"
    module_group=org.opensearch.plugin module_engine=opensearch
    add_module "$version" lang-painless lang-painless "$painless" '' createClassLoader getClassLoader
    add_module "$version" ingest-common ingest-common "$ingest" lang-painless getClassLoader
    add_module "$version" lang-mustache lang-mustache-client "$mustache" '' accessDeclaredMembers
}

# Assembles a module of $module_engine from $module_group: its jar and its dependencies, without those of the server and
# the extended module.
add_module() { # VERSION NAME ARTIFACT CLASS EXTENDED PERMISSION…
    local version=$1 name=$2 artifact=$3 class=$4 extended=$5 module=$work/home/modules/$2 jar permission
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
      <groupId>$module_group</groupId>
      <artifactId>$artifact</artifactId>
      <version>$version</version>
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
    verify "$(sha256_of "$name-$version")" "the set of jars of $module_group:$artifact:$version" "$module"/*.jar
    cat >"$module/plugin-descriptor.properties" <<PROPERTIES
description=module $name
version=$version
name=$name
classname=$class
java.version=11
$module_engine.version=$version
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

# Moves $work/home to its place in one step. The engine may run as another user, who must be able to read it.
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
