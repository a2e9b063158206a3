# shellcheck shell=bash
# Sourced by scripts/run and scripts/test: makes the environment and installs what they ask for into it.

venv=${LIVESR_VENV:-.venv} # another one where the tests run on another Python as well (.ci/run)

fail() {
    printf '%s\n' "$@" >&2
    exit 2
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

# supported VERSION: false where there are no wheels for it, or the code does not run.
supported() {
    case $1 in 3.10 | 3.11 | 3.12 | 3.13 | 3.14) ;; *) return 1 ;; esac
}

# Prints the Python to use; PYTHON, if it is set, or nothing.
find_python() {
    local name own='' version newer='' without=''
    [ -e /etc/nv_tegra_release ] && own=/usr/bin/python3 # JetPack's TensorRT and OpenCV are for this one alone
    for name in ${PYTHON:-$own python3.12 python3.11 python3.10 python3.13 python3.14 python3 python python3.15}; do
        version=$(version_of "$name") || continue
        if ! supported "$version"; then
            case $version in 3.1[5-9]) newer=$version ;; esac
        elif ! "$name" -c 'import ensurepip, venv' 2>/dev/null; then
            without=$name
        else
            command -v "$name"
            return
        fi
    done
    [ -z "$without" ] ||
        fail "$without cannot make a virtual environment." "  its modules venv and ensurepip are missing" \
            "  On Debian and Ubuntu: sudo apt install python3-venv"
    if [ -n "$newer" ]; then
        name="  found Python $newer; OpenVINO has no wheels for $newer yet"
    else
        name="  looked for ${PYTHON:-python3.10 ... python3.14, python3}"
    fi
    fail "No Python 3.10 to 3.14 was found." "$name" "  Install one, or name it: PYTHON=/path/to/python3.12 $0"
}

# pip ARGUMENT...: silent unless it fails; then its whole output, except remarks about package indexes that it skipped.
pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@" >"$venv/pip.log" 2>&1 && return
    grep -v '^WARNING: Location .* is ignored' "$venv/pip.log" >&2
    return 1
}

# install_opencv [PIN...]: only where the system has none: see prepare. The one with windows needs libGL, which a bare
# server does not have.
install_opencv() {
    local package why
    for package in opencv-python opencv-python-headless; do
        pip install "$package>=4.8" "$@" || fail "OpenCV could not be installed; pip's output is above."
        why=$("$venv/bin/python" -c 'import cv2' 2>&1) && return
        pip uninstall --yes "$package"
        echo "$package does not start: ${why##*$'\n'}" "(for a window: sudo apt install libgl1 libglib2.0-0)" >&2
    done
    fail "No OpenCV starts on this machine."
}

# On a Jetson only. Compiled here, against JetPack's CUDA; without it the program runs, on OpenVINO.
install_pycuda() {
    PATH="/usr/local/cuda/bin:$PATH" pip install -e '.[tensorrt]' "$@" && return
    echo "pycuda could not be built, so TensorRT is not used: sudo apt install nvidia-jetpack python3-dev g++," \
        "then rm $venv/installed-* and start again." >&2
}

# prepare EXTRA: the environment with the project and its extra ("" for none), installed again when setup.py or the
# extra changes.
prepare() {
    local extra=$1 jetson=() pins=() mark
    # JetPack's OpenCV (with GStreamer) and TensorRT are system packages and must be seen, not shadowed; its OpenCV
    # was built against NumPy 1.
    if [ -e /etc/nv_tegra_release ]; then
        jetson=(--system-site-packages)
        pins=("numpy<2")
        extra="${extra:+$extra,}jetson"
    fi
    mark=$(cat setup.py scripts/shell/venv.sh | cksum)" $extra"
    if ! [ -x "$venv/bin/python" ] || [ "$(cat "$venv/installed-${1:-base}" 2>/dev/null)" != "$mark" ]; then
        # Python is there before pip is: a Ctrl-C in between leaves an environment that nothing can be installed into.
        # bin/pip comes after pip's own files.
        if ! { [ -e "$venv/bin/pip" ] && "$venv/bin/python" -c 'import pip'; } 2>/dev/null; then
            local python
            python=$(find_python)
            "$python" -m venv --clear "${jetson[@]}" "$venv" >/dev/null ||
                { rm -rf "$venv"; fail "$python cannot make a virtual environment." "  On Debian and Ubuntu: sudo apt install python3-venv"; }
        fi
        echo "Installing into $venv; this takes a minute the first time." >&2
        pip install -e ".${extra:+[$extra]}" "${pins[@]}" ||
            fail "The installation failed; pip's output is above." "  Is the machine online?"
        "$venv/bin/python" -c 'import cv2' 2>/dev/null || install_opencv "${pins[@]}"
        if [ ${#jetson[@]} -gt 0 ]; then install_pycuda "${pins[@]}"; fi
        echo "$mark" >"$venv/installed-${1:-base}"
    fi
}
