"""An .onnx file of the contract through OpenVINO, inside Triton's Python backend, for servers without a GPU.

scripts/triton_repository.py copies this file into a model repository as VERSION/model.py, beside model.onnx,
row_shuffle.py, self_check.py and uint8_activations.py. Parameters of the model (config.pbtxt): `threads` of the
processor for one instance, 0 for all.
"""

from __future__ import annotations

import fcntl
import json
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # engines/__init__.py says why
import numpy as np  # noqa: E402 (what is above must come first)
import openvino as ov  # noqa: E402
import row_shuffle  # type: ignore[import-not-found]  # noqa: E402
import self_check  # type: ignore[import-not-found]  # noqa: E402
import triton_python_backend_utils as pb_utils  # noqa: E402
import uint8_activations  # type: ignore[import-not-found]  # noqa: E402

CACHED_SIZES = 8
"""Input sizes kept compiled; one more costs the compilation of the size unused for longest, about half a second."""


class Turn:
    """Tells an instance whether it computes alone, by a lock that all instances of a model share."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")  # opened anew, it is a holder of its own; who dies holds nothing

    def _lock(self, how: int) -> bool:
        try:
            fcntl.flock(self._file, how)
            return True
        except OSError:  # another's, or a file system that has no locks
            return False

    @contextmanager
    def taken(self) -> Iterator[bool]:
        """Hold the shared lock for the time of the block; yield whether no other instance computes."""
        alone = self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._lock(fcntl.LOCK_SH)  # in place of that one, so that others do not wait
        try:
            yield alone
        finally:
            self._lock(fcntl.LOCK_UN)


def rewrite(model: ov.Model, core: ov.Core, *, wide: bool = False) -> bool:
    """Rewrite the graph as engines/openvino/engine.py does.

    `wide`: for strengths above 1; returns whether that is another graph.
    """
    row_shuffle.apply(model)
    differs = bool(uint8_activations.fuses_detail(model, core))
    uint8_activations.apply(model, core, fuse=not wide)
    return differs


def is_right_here(core: ov.Core, path: Path) -> bool:
    """Tell whether rewrite() leaves the picture of the file `path` as it is on this processor.

    If not, the log says so.
    """
    plain = core.read_model(path)
    if not self_check.is_quantised(plain):
        return True
    width, height = self_check.SIZE
    try:
        plain.reshape({plain.input(0): [1, height, width, 3]})
        options = {"PERFORMANCE_HINT": "LATENCY"}
        psnr_db = self_check.agreement_db(core, plain, lambda model: rewrite(model, core), options)
    except RuntimeError as error:
        pb_utils.Logger.log_warn(f"{path} runs as it is in the file, slower: its self-check failed: {error}")
        return False
    if psnr_db < self_check.LEAST_DB:
        wanted = f"{psnr_db:.1f} dB beside it on this processor, {self_check.LEAST_DB:g} are needed"
        pb_utils.Logger.log_warn(f"{path} runs as it is in the file, slower: the faster graph reads {wanted}")
    return bool(psnr_db >= self_check.LEAST_DB)


class CompiledNetwork:
    """The network compiled for one input size: for all threads, and for this instance's share of them.

    Alone, a frame is done soonest by all threads. Where others compute as well, each does best by itself: threads that
    wait for one another at every layer, on cores that others use, made 92 frames a second in total where these make 107
    (fast-x2-int8, eight cameras, two cores of an AMD EPYC).
    """

    def __init__(
        self, core: ov.Core, model: ov.Model, threads: int, instances: int, *, wide: ov.Model | None = None
    ) -> None:
        """Compile `model` and, if there is one, the model for strengths above 1."""
        # The same as engines/openvino/engine.py asks for, so that frames are the same to the bit.
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        whole = core.compile_model(model, "CPU", options)
        share = max(1, whole.get_property("INFERENCE_NUM_THREADS") // instances)
        # Pinned, all instances would compute on the same cores.
        shared_options = options | {"INFERENCE_NUM_THREADS": share, "ENABLE_CPU_PINNING": False}
        # Of two requests one computes while the other is written out; by whether it is alone, and wide.
        self._requests: dict[tuple[bool, bool], list[ov.InferRequest]] = {}
        for is_wide, graph in ((False, model), (True, wide or model)):
            for alone, how in ((True, options), (False, shared_options if instances > 1 else options)):
                if is_wide and wide is None:
                    self._requests[alone, True] = self._requests[alone, False]
                    continue
                compiled = core.compile_model(graph, "CPU", how)
                self._requests[alone, is_wide] = [compiled.create_infer_request() for _ in range(2)]
        self._takes_strength = len(model.inputs) > 1
        _, self._height, self._width, _ = whole.output().shape
        self._outputs: list[np.ndarray[Any, Any]] = []

    def outputs(self, index: int, count: int) -> np.ndarray[Any, Any]:
        """Return room for the answer to the `index`-th request of a batch, with `count` frames.

        It is the same each time: the backend has copied an answer before it asks for the next batch, and fresh memory
        of this size would cost a page fault for each 4 KB.
        """
        while len(self._outputs) <= index:
            self._outputs.append(np.empty((1, self._height, self._width, 3), np.uint8))
        if self._outputs[index].shape[0] < count:
            self._outputs[index] = np.empty((count, self._height, self._width, 3), np.uint8)
        return self._outputs[index][:count]

    def run(
        self,
        frames: np.ndarray[Any, Any],
        outputs: np.ndarray[Any, Any],
        alone: bool,
        strengths: np.ndarray[Any, Any] | None = None,
    ) -> None:
        """Compute `frames` [N, H, W, 3] into `outputs` [N, s*H, s*W, 3], in place, without a copy.

        `strengths`, float32 [N, 1]: of each frame; None: as trained.
        """
        started = []
        for index, (frame, output) in enumerate(zip(frames, outputs, strict=True)):
            strength = np.ones(1, np.float32) if strengths is None else strengths[index].astype(np.float32)
            request = self._requests[alone, bool(strength[0] > 1)][index % 2]
            request.wait()
            request.set_input_tensor(0, ov.Tensor(frame[None], shared_memory=True))
            if self._takes_strength:
                request.set_input_tensor(1, ov.Tensor(strength))
            request.set_output_tensor(ov.Tensor(output[None], shared_memory=True))
            request.start_async()
            started.append(request)
        for request in started:
            request.wait()


class TritonPythonModel:
    """The model. Triton prescribes the names of the class and of its calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the parameters of the model and check its network on this processor."""
        config = json.loads(args["model_config"])
        self._threads = int(config["parameters"]["threads"]["string_value"])
        self._instances = sum(group["count"] for group in config["instance_group"])
        self._path = Path(args["model_repository"], args["model_version"], "model.onnx")
        self._turn = Turn(self._path)
        self._core = ov.Core()
        self._rewrites = is_right_here(self._core, self._path)
        self._workers: OrderedDict[tuple[int, int], CompiledNetwork] = OrderedDict()

    def _worker(self, height: int, width: int) -> CompiledNetwork:
        if (height, width) not in self._workers:
            model = self._core.read_model(self._path)
            model.reshape({model.input(0): [1, height, width, 3]})
            wide = model.clone() if self._rewrites and len(model.inputs) > 1 else None
            if wide is not None and not rewrite(wide, self._core, wide=True):
                wide = None
            if self._rewrites:
                rewrite(model, self._core)
            self._workers[height, width] = CompiledNetwork(self._core, model, self._threads, self._instances, wide=wide)
            if len(self._workers) > CACHED_SIZES:
                self._workers.popitem(last=False)
        self._workers.move_to_end((height, width))
        return self._workers[height, width]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Return a response for each request that the dynamic batcher has put together.

        Each request may itself hold several frames.
        """
        responses = []
        for index, request in enumerate(requests):
            frames = pb_utils.get_input_tensor_by_name(request, "frame").as_numpy()
            count, height, width, _ = frames.shape
            strength = pb_utils.get_input_tensor_by_name(request, "strength")
            try:
                worker = self._worker(height, width)
            except RuntimeError as error:
                message = pb_utils.TritonError(f"{width}x{height} cannot be upscaled: {error}")
                responses.append(pb_utils.InferenceResponse(error=message))
                continue
            outputs = worker.outputs(index, count)
            with self._turn.taken() as alone:
                worker.run(frames, outputs, alone, None if strength is None else strength.as_numpy())
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("sr", outputs)]))
        return responses
