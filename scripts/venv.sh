# Sourced by scripts/run and scripts/test: makes .venv and installs into it what is asked for.

fail() {
    printf '%s\n' "$@" >&2
    exit 2
}

find_python() {
    local name own=
    [ -e /etc/nv_tegra_release ] && own=/usr/bin/python3 # JetPack's TensorRT and OpenCV are for this one alone
    for name in ${PYTHON:-} $own python3.12 python3.11 python3.10 python3.13 python3 python; do
        if "$name" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail "No Python 3.10 to 3.13 was found." "  looked for python3.10 ... python3.13, python3" \
        "  Install one, or name it: PYTHON=/path/to/python3.12 $0"
}

# Only where the system has none: see prepare. The one with windows needs libGL, which a bare server has not.
install_opencv() {
    local package why
    for package in opencv-python opencv-python-headless; do
        .venv/bin/python -m pip install --quiet --disable-pip-version-check "$package>=4.8" "$@" ||
            fail "OpenCV could not be installed; pip's words are above."
        why=$(.venv/bin/python -c 'import cv2' 2>&1) && return
        .venv/bin/python -m pip uninstall --quiet --yes "$package"
        echo "$package does not start: ${why##*$'\n'}" "(for a window: sudo apt install libgl1 libglib2.0-0)" >&2
    done
    fail "No OpenCV starts on this machine."
}

# On a Jetson only. Compiled here, against JetPack's CUDA; without it the program runs, on OpenVINO.
install_pycuda() {
    PATH="/usr/local/cuda/bin:$PATH" .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        -e .[tensorrt] "$@" && return
    echo "pycuda could not be built, so TensorRT is not used: sudo apt install nvidia-jetpack python3-dev g++," \
        "then rm .venv/installed-* and start again." >&2
}

# prepare [EXTRA]: a .venv with the project and its extra, installed anew when setup.py or the extra changes.
prepare() {
    local extra=${1:-} jetson=() pins=() mark
    # JetPack's OpenCV (with GStreamer) and TensorRT are system packages and must be seen, not shadowed; its OpenCV
    # was built against NumPy 1.
    if [ -e /etc/nv_tegra_release ]; then
        jetson=(--system-site-packages)
        pins=("numpy<2")
        extra="${extra:+$extra,}jetson"
    fi
    mark=$(cat setup.py scripts/venv.sh | cksum)" $extra"
    if ! [ -x .venv/bin/python ] || [ "$(cat ".venv/installed-${1:-base}" 2>/dev/null)" != "$mark" ]; then
        # Python is there before pip is: a Ctrl-C in between leaves a .venv that nothing can be installed into. bin/pip
        # comes after pip's own files.
        if ! { [ -e .venv/bin/pip ] && .venv/bin/python -c 'import pip'; } 2>/dev/null; then
            local python
            python=$(find_python)
            "$python" -m venv --clear "${jetson[@]}" .venv >/dev/null ||
                { rm -rf .venv; fail "$python cannot make a virtual environment." "  On Debian and Ubuntu: sudo apt install python3-venv"; }
        fi
        echo "Installing into .venv; this takes a minute the first time." >&2
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".${extra:+[$extra]}" "${pins[@]}" ||
            fail "The installation failed; pip's words are above." "  Is the machine online?"
        .venv/bin/python -c 'import cv2' 2>/dev/null || install_opencv "${pins[@]}"
        if [ ${#jetson[@]} -gt 0 ]; then install_pycuda "${pins[@]}"; fi
        echo "$mark" >".venv/installed-${1:-base}"
    fi
}
