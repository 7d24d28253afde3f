# shellcheck shell=bash
# Finds and unpacks the browser for the tests, and axe-core, which checks the accessibility of pages.
# Sourced by deps.sh, after lib.sh; never run.
#
# An installed Chromium or Chrome with its chromedriver is used. Otherwise both are Debian packages with all their
# libraries, except those of C and the compiler, unpacked under .cache/browser: nothing is installed. axe-core is taken from
# the jar that its authors publish on Maven Central, so Node is not needed.

BROWSER_DIR=$CACHE_DIR/browser
AXE_DIR=$CACHE_DIR/axe-core
AXE_ARTIFACT=com.deque.html.axe-core:selenium:4.11.0
AXE_SHA256=907af0b37c96a623dbeb9114d16e802a6a259d824844df14d71b53dd6d0a95c6
# Part of the stamps: increase it if the same packages are assembled differently.
BROWSER_RECIPE=1

BROWSER_PACKAGES=(chromium chromium-driver fonts-dejavu-core fonts-inter)
# Dependencies that are unpacked …
BROWSER_TAKEN='chromium.*|fonts-.*|lib.*|zlib1g'
# … except those that every system has, and those needed only for an installation, a screen or a graphics card.
BROWSER_LEFT='libc6|libgcc-s1|libstdc\+\+6|libcrypt1|libpam.*|lib(pod-|perl|file-|number-|text-).*|libllvm.*|libz3.*|libgl1.*|libglx.*|libdrm-(amdgpu|intel|nouveau|radeon).*|libsystemd-shared|libsem.*|libsepol.*|libaudit.*|libgdbm.*|libdb5.*|libkmod.*|libcrypt.*|libdevmapper.*|libfdisk.*|libargon2.*|libip4tc.*|libsensors.*|libncurses.*|libgtk-3-common'

# Prints the path of the browser or of its driver, or nothing. CHROMIUM and CHROMEDRIVER override them.
find_browser_program() { # chromium|chromedriver
    local browser driver
    browser=${CHROMIUM:-$(command -v chromium || command -v google-chrome || command -v chromium-browser || true)}
    driver=${CHROMEDRIVER:-$(command -v chromedriver || true)}
    # Both from one source: a driver works only with browsers of its own version.
    if [[ -z $browser || -z $driver ]]; then
        browser=$BROWSER_DIR/chromium
        driver=$BROWSER_DIR/chromedriver
    fi
    case $1 in
        chromium) [[ ! -x $browser ]] || printf '%s\n' "$browser" ;;
        chromedriver) [[ ! -x $driver ]] || printf '%s\n' "$driver" ;;
    esac
}

has_browser() {
    [[ -n $(find_browser_program chromium) && -n $(find_browser_program chromedriver) ]]
}

axe_stamp() {
    printf '%s %s recipe %s\n' "$AXE_ARTIFACT" "$AXE_SHA256" "$BROWSER_RECIPE"
}

has_axe() {
    [[ -f $AXE_DIR/axe.min.js && -f $AXE_DIR/.stamp && $(<"$AXE_DIR/.stamp") == "$(axe_stamp)" ]]
}

require_browser_packages() {
    command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
        fail "$EX_MISSING" "missing: Chromium and its chromedriver, and apt is not available. Install both (or" \
            "Chrome) so that they are on the PATH, or set CHROMIUM and CHROMEDRIVER to their paths."
    # Ubuntu's packages of that name are empty and refer to snap.
    [[ $(apt-cache --quiet=2 show chromium-driver 2>/dev/null) == *Depends:*chromium* ]] ||
        fail "$EX_MISSING" "apt does not know Debian's packages chromium and chromium-driver: run 'apt-get update' as" \
            "root, then this again; or install Chrome and its chromedriver, or set CHROMIUM and CHROMEDRIVER."
}

# Downloads the packages, checked by apt, and moves their content to its place in one step.
unpack_browser() {
    local options=() packages package home=$work/browser
    # As root, apt would download as a user who can't write here, with a warning.
    ((EUID)) || options=(-o APT::Sandbox::User=root)
    # The packages that an empty machine would install, independent of what is installed here.
    packages=$(apt-get -s -o Dir::State::status=/dev/null install --no-install-recommends "${BROWSER_PACKAGES[@]}" |
        sed -n 's/^Inst \([^ ]*\).*/\1/p' | grep -xE "$BROWSER_TAKEN" | grep -vxE "$BROWSER_LEFT" | sort -u)
    mkdir -p "$work/deb" "$home"
    # shellcheck disable=SC2086
    (cd "$work/deb" && apt-get ${options[@]+"${options[@]}"} -qq download $packages) </dev/null >&2 ||
        fail "$EX_TEMPFAIL" "apt could not download Chromium; its output is above. If packages were not found:" \
            "run 'apt-get update' as root, then this again."
    for package in "$work"/deb/*.deb; do
        dpkg -x "$package" "$home" || fail "$EX_TEMPFAIL" "the package $package can't be unpacked"
    done
    rm -rf "$work/deb" "$home"/usr/share/{doc,locale,lintian,man}
    cat >"$home/fonts.conf" <<'FONTS'
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">usr/share/fonts</dir>
  <alias><family>sans-serif</family><prefer><family>Inter</family><family>DejaVu Sans</family></prefer></alias>
  <alias><family>system-ui</family><prefer><family>Inter</family><family>DejaVu Sans</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
FONTS
    browser_wrapper usr/lib/chromium/chromium >"$home/chromium"
    browser_wrapper usr/bin/chromedriver >"$home/chromedriver"
    chmod +x "$home/chromium" "$home/chromedriver"
    "$home/chromedriver" --version >/dev/null && "$home/chromium" --version >/dev/null ||
        fail "$EX_MISSING" "the unpacked Chromium does not start; its output is above. Install chromium and" \
            "chromium-driver, or set CHROMIUM and CHROMEDRIVER."
    chmod -R a+rX "$home"
    rm -rf "${BROWSER_DIR:?}"
    mv "$home" "$BROWSER_DIR"
}

# A script that runs a program with the libraries and fonts unpacked with it, wherever this folder is.
browser_wrapper() { # PROGRAM
    cat <<'SCRIPT'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
for folder in "$here"/usr/lib/*-linux-gnu "$here"/lib/*-linux-gnu "$here"/usr/lib/*-linux-gnu/pulseaudio; do
    LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
done
FONTCONFIG_FILE=$here/fonts.conf
export LD_LIBRARY_PATH FONTCONFIG_FILE
SCRIPT
    printf 'exec "$here/%s" "$@"\n' "$1"
}

unpack_axe() {
    local group=${AXE_ARTIFACT%%:*} name
    name=${AXE_ARTIFACT#"$group":}
    maven copy -Dartifact="$AXE_ARTIFACT:jar" -DoutputDirectory="$work/axe-jar"
    verify "$AXE_SHA256" "$AXE_ARTIFACT" "$work/axe-jar/${name/:/-}.jar"
    unzip_into "$work/axe-jar/${name/:/-}.jar" "$work/axe"
    axe_stamp >"$work/axe/.stamp"
    chmod -R a+rX "$work/axe"
    rm -rf "${AXE_DIR:?}" "$work/axe-jar"
    mv "$work/axe" "$AXE_DIR"
}
