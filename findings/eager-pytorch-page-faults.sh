#!/usr/bin/env bash
# Finding: eager PyTorch on a processor pays a page fault for every 4 KB of a tensor, again and again, because glibc's
# malloc returns large blocks to the system as soon as they are freed.
#
# Expectation: a network that runs on the same input over and over reuses its memory, so that once it is warm a pass
#   costs next to no page faults.
# Seen with: PyTorch 2.13.0, glibc 2.36, Linux on x86-64, Python 3.11.
# Behaviour: 16,000 to 23,000 minor page faults a pass with malloc's defaults, at most 360 when malloc is told to keep
#   what is freed. A large share of the time goes into these faults: eager PyTorch then takes up to three times as long.
# What it means here: scripts/bench.py compares with PyTorch that keeps its memory; anything else would flatter the
#   project. Counts are checked and not times, because times depend on what else the machine is doing.
#
# Exit status: 0, behaves as described; 1, it no longer does (the output says how); 2, could not be tried.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.2.6 2>/dev/null ||
    { echo "Could not install torch 2.13.0." >&2; exit 2; }

cat >"$folder/faults.py" <<'PYTHON'
import os
import platform
import resource
import torch

PASSES = 20
torch.set_num_threads(1)
network = torch.nn.Sequential(
    torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.ReLU(),
    torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.ReLU(),
    torch.nn.Conv2d(16, 12, 3, padding=1), torch.nn.PixelShuffle(2),
)
picture = torch.rand(1, 3, 360, 640)


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


with torch.inference_mode():
    for _ in range(10):  # warm
        network(picture)
    before = faults()
    for _ in range(PASSES):
        network(picture)
print(torch.__version__, "glibc", platform.libc_ver()[1], os.environ.get("GLIBC_TUNABLES", "malloc's defaults"))
print(round((faults() - before) / PASSES))
PYTHON

run() { env "$@" "$folder/venv/bin/python" "$folder/faults.py"; }
default=$(run -u GLIBC_TUNABLES)
keeping=$(run GLIBC_TUNABLES=glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=2147483647)
for result in "$default" "$keeping"; do
    printf '%s page faults a pass: %s\n' "$(tail -1 <<<"$result")" "$(head -1 <<<"$result")"
done
# At most 1,000 when memory is kept, and at least ten times as many by default.
if [ "$(tail -1 <<<"$keeping")" -le 1000 ] && [ "$(tail -1 <<<"$default")" -ge 10000 ]; then
    echo "As described: malloc's defaults cost page faults on every pass."
else
    echo "Not as described: expected at least 10000 by default and at most 1000 when memory is kept." >&2
    exit 1
fi
