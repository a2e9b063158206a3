"""Frames through memory of a GPU that a real Triton server on this machine shares. pytest -m "gpu and triton" """

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.base import Image
from engines.cuda import driver
from engines.triton import shared_memory
from scripts import triton_repository
from scripts.common.checkout import ROOT
from scripts.serving.server import TritonServer, known_regions, shared_names, until
from tests.support.triton_frames import MODEL, SIZE, cameras_at_once, collect, load, local, picture, through

pytestmark = [pytest.mark.gpu, pytest.mark.triton, pytest.mark.usefixtures("named_memory")]


@pytest.fixture(scope="module", autouse=True)
def cuda() -> Any:
    """The client's own part for such memory; it needs no GPU for being imported."""
    if why := driver.missing():
        pytest.skip(f"there is no NVIDIA GPU: {why}")
    pytest.importorskip("cuda.bindings.runtime", reason="the client's CUDA shared memory needs cuda-python")
    from tritonclient.utils import cuda_shared_memory

    return cuda_shared_memory


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "models"
    options = ["--model", "fast", "--size", "64x48", "--instances", "1", "--no-jpeg"]
    assert triton_repository.main([str(folder), *options]) == 0
    return folder


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[TritonServer]:
    with TritonServer(repository) as one:
        yield one


@pytest.fixture(autouse=True)
def nothing_is_left(server: TritonServer, cuda: Any) -> Iterator[None]:
    yield
    assert not known(server) and not known_regions(server)
    assert not cuda.allocated_shared_memory_regions()
    until(lambda: not shared_names())


def known(server: TritonServer) -> set[str]:
    """Regions of a GPU that the server has mapped for this program."""
    from tritonclient import grpc

    with grpc.InferenceServerClient(server.address) as client:
        there = client.get_cuda_shared_memory_status().regions
    return {name for name in there if name.startswith(shared_memory.REGION_PREFIX)}


def plain(server: TritonServer, pictures: list[Image], transport: str) -> list[Image]:
    """What comes of them by a transport that needs no GPU."""
    size = (pictures[0].shape[1], pictures[0].shape[0])
    with load(server, size, transport=transport) as engine:
        assert "CUDA" not in engine.spec.device
        return through(engine, pictures)


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("size", [SIZE, (33, 17), (640, 360)])
def test_frames_are_those_of_the_other_transports_to_the_bit(
    server: TritonServer, size: tuple[int, int], depth: int
) -> None:
    pictures = [picture(seed, size) for seed in range(12)]
    with load(server, size, transport="cuda", depth=depth) as engine:
        assert engine.spec.device == f"{server.address}, CUDA shared memory"
        assert len(known(server)) == 2 * depth and not known_regions(server)
        made = through(engine, pictures)
    assert not known(server)
    for transport in ("shm", "raw"):
        assert all((a == b).all() for a, b in zip(made, plain(server, pictures, transport), strict=True))
    if importlib.util.find_spec("openvino"):
        assert all((a == b).all() for a, b in zip(made, local(pictures), strict=True))


def test_several_cameras_get_their_own_frames(server: TritonServer) -> None:
    """The client's copies to and from the GPU share one stream."""
    cameras_at_once(server, 3, lambda flats: plain(server, flats, "shm"), transport="cuda")


CLIENT = """
import sys, time, numpy as np, engines
from engines.request import EngineRequest, TritonOptions
with engines.load(EngineRequest(sys.argv[1], "fast", (64, 48), triton=TritonOptions(transport="cuda"))) as engine:
    engine.reserve(); engine.submit(np.zeros((48, 64, 3), np.uint8), 0); engine.collect(10)
    print("running", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def client(server: TritonServer, seconds: int) -> list[str]:
    return [sys.executable, "-c", CLIENT, f"triton://{server.address}/{MODEL}", str(seconds)]


def test_a_camera_that_ends_says_nothing_and_leaves_nothing(server: TritonServer) -> None:
    done = subprocess.run(client(server, 0), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "running\n"), done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert not known(server)


@pytest.mark.parametrize("transport", ["cuda", "shm"])
def test_the_next_camera_takes_away_what_a_killed_one_has_left(server: TritonServer, transport: str) -> None:
    pictures = [picture(seed) for seed in range(6)]
    wanted = plain(server, pictures, "raw")
    with subprocess.Popen(client(server, 60), stdout=subprocess.PIPE, cwd=ROOT) as camera:
        assert camera.stdout is not None and camera.stdout.readline() == b"running\n"
        left = known(server)
        camera.kill()
    assert len(left) == 4 and known(server) == left  # the server does not notice by itself
    with load(server, transport=transport) as engine:
        assert not known(server) & left
        assert len(known(server)) == (4 if transport == "cuda" else 0)
        assert all((a == b).all() for a, b in zip(through(engine, pictures), wanted, strict=True))


def test_a_killed_server_comes_back_with_memory_of_its_own(repository: Path, cuda: Any) -> None:
    """What its predecessor had mapped is given back, and nothing twice."""
    with TritonServer(repository) as one, load(one, transport="cuda", fallback=("bicubic",)) as engine:
        wanted = plain(one, [picture(0)], "raw")[0]

        def maker() -> str:
            engine.reserve()
            engine.submit(picture(0), 0)
            image, _tag = collect(engine)
            assert engine.spec.name != "triton" or (image == wanted).all()
            return engine.spec.name

        assert [maker() for _ in range(10)] == ["triton"] * 10
        before = known(one)
        one.kill()
        until(lambda: maker() == "bicubic")
        one.start()
        until(lambda: maker() == "triton")
        assert engine.spec.device.endswith("CUDA shared memory")
        assert len(known(one)) == 4 and not known(one) & before
        until(lambda: len(cuda.allocated_shared_memory_regions()) == 4)  # the old ones go beside the frames
