# shellcheck shell=bash
# Sourced by scripts/test and .ci/run: Debian packages, installed where this user may install them.

# install_packages PACKAGE...: false, and says why, where they cannot be installed. Prints what it installs.
install_packages() {
    local as_root=() log
    if ! command -v apt-get >/dev/null; then
        echo "Not installed, as this system has no apt-get: $*" >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        as_root=(sudo -n)
        if ! sudo -n true 2>/dev/null; then
            echo "Not installed, as that takes root or sudo without a password: $*" >&2
            return 1
        fi
    fi
    echo "Installing system packages (--no-system-packages stops it): $*" >&2
    log=$(mktemp)
    # A list of packages that is out of date, or an index that is not reachable, need not matter for these.
    if { "${as_root[@]}" apt-get update || true; } >"$log" 2>&1 &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1; then
        rm "$log"
        return
    fi
    cat "$log" >&2
    rm "$log"
    echo "Not installed; apt-get's output is above: $*" >&2
    return 1
}

# packages_of_display: the packages, one a line, that the tests of the window still need.
packages_of_display() {
    local program library libraries
    for program in Xvfb xdotool openbox wmctrl; do
        command -v "$program" >/dev/null || echo "${program,,}"
    done
    # What OpenCV with windows links against; ldconfig is not on every user's PATH.
    libraries=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null) || return 0
    for library in libGL.so.1=libgl1 libgthread-2.0.so.0=libglib2.0-0; do
        [[ $libraries == *"${library%=*} "* ]] || echo "${library#*=}"
    done
}
