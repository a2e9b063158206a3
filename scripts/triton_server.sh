#!/usr/bin/env bash
# A real Triton on a machine without a GPU and without containers, for tests and for trying things out:
#   scripts/triton_server.sh setup                  makes .venv-triton with the server of the nvidia-pytriton wheel
#   scripts/triton_server.sh run FOLDER [options]   serves a model repository on 127.0.0.1
# Production is configs/triton/compose.yaml. The wheel's server (2.51) has only the Python backend, which needs a Python
# with a shared libpython: Debian's and Ubuntu's own has one, most others do not.
set -euo pipefail
from=$PWD # where a path on the command line begins
cd "$(dirname "$0")/.."
venv=.venv-triton

fail() {
    printf '%s\n' "$@" >&2
    exit 2
}

find_python() {
    local minor libraries
    libraries=$(ldconfig -p) # not into grep -q, which may stop listening before all is said: that counts as a failure
    for minor in 11 12 10 13; do
        if /usr/bin/python3.$minor -c 'import ensurepip' 2>/dev/null &&
            [[ $libraries == *"libpython3.$minor.so"* ]]; then
            echo "/usr/bin/python3.$minor"
            return
        fi
    done
    fail "No Python for Triton's Python backend was found." \
        "  It needs /usr/bin/python3.10 to 3.13 with venv and a shared libpython." \
        "  On Debian and Ubuntu: sudo apt install python3-venv libpython3-dev"
}

setup() {
    local python packages mark
    [ "$(uname -sm)" = "Linux x86_64" ] || fail "The nvidia-pytriton wheel is for Linux on x86-64 only."
    python=$(find_python)
    # This server's Python backend takes arrays of NumPy 2 for empty ones, and OpenCV wants NumPy 2 from 4.12 on.
    packages=("openvino==$(version openvino)" "numpy<2" "opencv-python-headless<4.12")
    mark="$python ${packages[*]} $(cksum <scripts/triton_server.sh)"
    [ "$(cat $venv/installed 2>/dev/null)" = "$mark" ] && return
    echo "Installing Triton into $venv; this takes a minute the first time." >&2
    rm -rf $venv
    "$python" -m venv $venv
    # Without the wheel's own requirements: its client and proxy are not used, only the server inside.
    $venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps nvidia-pytriton==0.7.0 2>$venv/pip.log ||
        fail "$(cat $venv/pip.log)" "The installation failed: nvidia-pytriton" "  Is the machine online?"
    # pip complains about those requirements even where it succeeds.
    $venv/bin/python -m pip install --quiet --disable-pip-version-check "${packages[@]}" 2>$venv/pip.log ||
        fail "$(cat $venv/pip.log)" "The installation failed: ${packages[*]}" "  Is the machine online?"
    cp "$(home)/python_backend_stubs/$($venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')/"* \
        "$(home)/backends/python/"
    echo "$mark" >$venv/installed
}

# The same OpenVINO as the project's own, so that frames can be compared to the bit.
version() {
    .venv/bin/python -c "import importlib.metadata as m; print(m.version('$1'))" 2>/dev/null ||
        fail "Install the project first: ./scripts/run --help"
}

home() {
    echo "$PWD/$($venv/bin/python -c 'import sys; print("%s/lib/python%d.%d/site-packages/pytriton/tritonserver" % (
        "'$venv'", *sys.version_info[:2]))')"
}

# A server that was killed leaves its backends' shared memory behind, which no process has mapped any more.
sweep() {
    local region
    for region in /dev/shm/triton_python_backend_shm_region_*; do
        if [ -e "$region" ] && ! grep -qsF "$region" /proc/[0-9]*/maps; then
            rm -f "$region"
        fi
    done
}

run() {
    local repository
    repository=$(cd "$from" && realpath -m "$1")
    shift
    [ -d "$repository" ] || fail "There is no folder $repository." "  scripts/triton_repository.py $repository writes one."
    sweep
    [ -x $venv/bin/python ] || fail "There is no server yet: scripts/triton_server.sh setup"
    # The backend finds its Python by PATH, whose packages are its own alone. Options given later win over earlier ones.
    exec env -u PYTHONPATH PATH="$PWD/$venv/bin:$PATH" VIRTUAL_ENV="$PWD/$venv" "$(home)/bin/tritonserver" \
        --model-repository="$repository" --backend-directory="$(home)/backends" --disable-auto-complete-config \
        --http-address=127.0.0.1 --grpc-address=127.0.0.1 --metrics-address=127.0.0.1 \
        --allow-gpu-metrics=false --exit-timeout-secs=3 "$@"
}

case ${1:-} in
setup) setup ;;
run)
    [ $# -ge 2 ] || fail "Which folder? scripts/triton_server.sh run FOLDER [options of tritonserver]"
    run "${@:2}"
    ;;
-h | --help) sed -n '2,6s/^# \{0,1\}//p' scripts/triton_server.sh ;;
*) fail "scripts/triton_server.sh setup | run FOLDER [options of tritonserver]" ;;
esac
