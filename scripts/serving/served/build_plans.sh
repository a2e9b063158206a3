#!/usr/bin/env bash
# Builds the TensorRT plans of this repository: those that are missing, or were built of another file, by another
# TensorRT or for another kind of GPU, on which they would not run. To be run on the server, in its container:
#   docker run --rm --gpus all -v FOLDER:/models nvcr.io/nvidia/tritonserver:VERSION-py3 /models/build_plans.sh
# Precision is in the .onnx files.
set -euo pipefail
cd "$(dirname "$0")"
trtexec=$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)
[ -x "$trtexec" ] || { echo "trtexec was not found: run this where TensorRT is installed." >&2; exit 2; }
help=$("$trtexec" --help 2>&1 || true)
options=()
for one in --stronglyTyped --skipInference; do # not every TensorRT has, or needs, them
    if [[ $help == *"$one"* ]]; then options+=("$one"); fi
done
version=
if [[ $help =~ TensorRT\ v[0-9]+ ]]; then version=${BASH_REMATCH[0]}; fi
gpu=$(nvidia-smi --id=0 --query-gpu=name --format=csv,noheader 2>/dev/null || true)
shapes() { # of the strength, too, where the model takes one: a number for each picture of the batch
    local shape=$1 count=${1#*:}
    if grep -q '"strength"' "$name/config.pbtxt"; then shape+=",strength:${count%%x*}"; fi
    echo "$shape"
}

there() {
    [ -e "$name/1/model.plan" ] && [ "$made_of" = "$(cat "$name/plan.txt" 2>/dev/null)" ]
}

# Servers that share this folder may start together: one builds, the others wait and find what it has built.
lock() {
    exec 9>build.lock || { echo "$name: no plan can be built in $PWD: mount it writable." >&2; exit 2; }
    flock --nonblock 9 || { echo "$name: waiting, another server is building here"; flock 9; }
}

for model in */model.onnx; do
    name=${model%/model.onnx}
    sizes=("--minShapes=$(shapes MIN)" "--optShapes=$(shapes OPT)" "--maxShapes=$(shapes MAX)")
    made_of="$gpu, $version, ${sizes[*]} ${options[*]}, $(sha256sum <"$model")"
    there || lock # where all is there nothing is written: a folder that cannot be written to will do
    if there; then
        echo "$name: is there"
        continue
    fi
    echo "$name: building, some minutes"
    rm -f "$name/plan.txt"
    "$trtexec" --onnx="$model" --saveEngine="$name/1/model.plan.new" "${sizes[@]}" "${options[@]}" \
        --timingCacheFile=timing.cache >"$name/build.log" 2>&1 || { tail -20 "$name/build.log" >&2; exit 1; }
    mv "$name/1/model.plan.new" "$name/1/model.plan"
    echo "$made_of" >"$name/plan.txt"
done
