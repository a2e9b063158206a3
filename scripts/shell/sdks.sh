# shellcheck shell=bash
# Sourced by scripts/test: NVIDIA's packages, each in a folder of its own beside the environment, where only the tests
# that ask for them see them. None needs a GPU. The wheels are for x86-64; TensorRT 10.3's end at Python 3.12.
# shellcheck disable=SC2154 # venv, fail and pip are venv.sh's

# sdk FOLDER PACKAGE...: installs the packages into $venv/sdk/FOLDER, once.
sdk() {
    local folder=$venv/sdk/$1 mark="${*:2}"
    shift
    [ "$(cat "$folder/installed" 2>/dev/null)" = "$mark" ] && return
    rm -rf "$folder"
    pip install --no-deps --target "$folder" "$@" || return
    echo "$mark" >"$folder/installed"
}

# sdks: all of them. False where there are none.
sdks() {
    [ "$(uname -sm)" = "Linux x86_64" ] || return
    "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info >= (3, 13))' || return
    # The builder that needs no GPU, about 95 MB.
    sdk rtx tensorrt-rtx-cu13==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116 tensorrt-rtx-cu13-libs==1.7.1.116 || return
    # The names of both ends of what is supported, about 1 MB each: without the libraries behind them.
    sdk trt10 tensorrt-cu12-bindings==10.3.0 || return
    sdk trt11 tensorrt-cu13-bindings==11.4.0.106 || return
    # As source: it is built against CUDA where it is used.
    [ -e "$venv/sdk/pycuda" ] ||
        pip download --no-deps --no-binary :all: --no-build-isolation --dest "$venv/sdk/pycuda" pycuda==2026.1 || return
    sdk stubs tensorrt-stubs==10.13.0.35.1 || return
    # They are generated, and in four places no Python.
    sed -i -E 's/\bin: list/in_: list/; s/channel_axis: int\)/channel_axis: int = ...)/' \
        "$venv/sdk/stubs/tensorrt_bindings/tensorrt.pyi"
}
