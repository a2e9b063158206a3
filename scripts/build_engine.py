#!/usr/bin/env python3
"""Build TensorRT engines before they are needed, list and prune them.

  python scripts/build_engine.py                           what the program uses by default, at the usual sizes
  python scripts/build_engine.py --model fast --size 640x360 --size 1280x720
  python scripts/build_engine.py --ahead 8.6 --ahead 12.0  with TensorRT-RTX, for GPUs of other machines
  python scripts/build_engine.py --list                    list the cached plans
  python scripts/build_engine.py --prune                   delete plans that cannot be used here any more

A build takes minutes on a Jetson and is kept in the user's cache folder, where the program looks for it.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import itertools
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
import engines
from engines.catalog import shipped as catalog
from engines.cuda import driver
from engines.errors import EngineError, UserError
from engines.request import EngineRequest, TensorRtOptions
from engines.support.progress import BuildProgress
from engines.tensorrt import builder, sdk
from engines.tensorrt.plan_cache import PlanCache, PlanKey, digest, stopped
from scripts.common.arguments import size

DEFAULT_BUILD_SIZES = ("640x360", "1280x720", "1920x1080")


def listing(plans: PlanCache) -> list[str]:
    """Return a line for every plan."""
    lines = []
    for entry in plans.entries():
        key = entry.key
        built = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.built))
        what = f"{key.model:<18} {key.size:<10} {key.sdk}, {key.gpu}{', ' + key.options if key.options else ''}"
        lines.append(
            f"{what}\n  {entry.bytes / 2**20:.1f} MiB, built {built} in {entry.seconds:.0f} s, {entry.path.name}"
        )
    return lines or [f"No plans in {plans.folder}."]


def usable() -> Callable[[PlanKey], bool]:
    """Return a predicate for whether a plan can be used here.

    It judges by the plan's model, and by TensorRT and GPU as far as they are here.
    """
    sums = {model.path.stem: digest(model.path.read_bytes()) for model in catalog.shipped()}
    library = gpu = None
    try:
        library = sdk.sdk_name()
        if driver.missing() is None:
            device = sdk.device()
            gpu = sdk.gpu_name(device.name, device.capability)
    except EngineError as error:
        print(f"TensorRT and GPU are not compared: {error.problem}", file=sys.stderr)

    def keep(key: PlanKey) -> bool:
        same = sums.get(key.model, key.checksum) == key.checksum  # a model of the user's own is not known here
        return same and library in (None, key.sdk) and gpu in (None, key.gpu)

    return keep


def build_one(model: str, size: tuple[int, int], dla: int | None, progress: BuildProgress) -> str:
    """Build for the GPU here; return a line about it. Raises EngineError."""
    # Loaded and run once, so that it is known to work and not only to exist.
    with engines.load(
        EngineRequest("tensorrt", model, size, depth=1, tensorrt=TensorRtOptions(dla=dla)), progress=progress
    ) as engine:
        return str(engine.spec)


def build_ahead(model: str, size: tuple[int, int], capability: str, plans: PlanCache, progress: BuildProgress) -> str:
    """Build for a GPU that need not be here; return a line about it. Raises EngineError."""
    file = catalog.find(model, builder.PREFERRED_PRECISIONS)
    path, plan = builder.build_ahead(file, size, capability, plans, progress)
    return f"{file.stem} {plan.precision} at {size[0]}x{size[1]} for compute capability {capability}: {path}"


@contextlib.contextmanager
def cancelled_by_ctrl_c() -> Iterator[BuildProgress]:
    """Yield the progress of all builds in the block: Ctrl-C cancels it, and a second one ends the program at once.

    TensorRT seldom asks whether to go on, and Python's own end would wait for it. Nothing is lost: a plan is written
    whole. It is a signal handler because a KeyboardInterrupt between two builds, while a thread of the first is cleared
    away, can get lost.
    """
    progress = BuildProgress()

    def handler(number: int, _frame: FrameType | None) -> None:
        if progress.cancelled:
            os._exit(128 + number)
        progress.cancel()

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield progress
    finally:
        signal.signal(signal.SIGINT, before)


def build_in_thread(work: Callable[[BuildProgress], str], progress: BuildProgress) -> str:
    """Return what `work` returns, called in its own thread, because Ctrl-C does not reach a thread that is in TensorRT.

    Raises EngineError, also once the builds are cancelled.
    """
    if progress.cancelled:
        raise stopped()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(work, progress).result()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", action="append", help="model name or .onnx file; may be repeated [those the program uses]"
    )
    parser.add_argument(
        "--size",
        action="append",
        type=size,
        metavar="WxH",
        help=f"size of the input; may be repeated {DEFAULT_BUILD_SIZES}",
    )
    task = parser.add_mutually_exclusive_group()
    task.add_argument("--ahead", action="append", metavar="CC", help="compute capability to build for, such as 8.6")
    task.add_argument("--dla", type=int, metavar="N", help="build for this DLA core of the board")
    task.add_argument("--list", action="store_true", help="list the cached plans and exit")
    task.add_argument("--prune", action="store_true", help="delete plans that cannot be used on this machine and exit")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="folder for --ahead, --list and --prune [the cache]")
    options = parser.parse_args(arguments)
    kept = options.list or options.prune
    if options.folder and not (options.ahead or kept):
        parser.error("--folder is for --ahead, --list and --prune; plans for the GPU here go to the cache")
    if kept and (options.model or options.size):
        parser.error("--list and --prune apply to all models and sizes")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    plans = PlanCache(options.folder)
    try:
        if options.list:
            print(*listing(plans), sep="\n")
        elif options.prune:
            gone = plans.prune(usable())
            print(*(f"deleted {path.name}" for path in gone), f"{len(plans.entries())} kept", sep="\n")
        else:
            sizes = options.size or [size(text) for text in DEFAULT_BUILD_SIZES]
            usual = dict.fromkeys(catalog.usual(camera=camera) for camera in (False, True))
            with cancelled_by_ctrl_c() as progress:
                for model, input in itertools.product(options.model or usual, sizes):
                    works = [partial(build_ahead, model, input, cc, plans) for cc in options.ahead or ()]
                    for work in works or [partial(build_one, model, input, options.dla)]:
                        print(build_in_thread(work, progress), flush=True)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
