"""Which model is taken: for cameras one that cleans, for files one that is true to the picture, else what is named."""

from __future__ import annotations

import contextlib
import http.server
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import engines
from app.config.command_line import parse
from app.config.schema import Config
from app.config.validation import from_mapping
from app.config.yaml_file import read_yaml
from app.engine_request import engine_loader, engine_request
from app.governor.driver import GovernorDriver
from app.pipeline.build_preview import BuildPreview
from app.pipeline.protocols import Source
from app.pipeline.stats import Stats
from app.session import open_input
from app.system.sensors import Reading
from engines.base import Engine
from engines.catalog import shipped as catalog
from engines.errors import EngineError
from engines.request import EngineRequest
from engines.slot_engine import SlotEngine
from scripts.kiosk.fake_camera import FakeDevDir
from tests.support.clips import encode, jpeg, multipart, serve
from tests.support.onnx_models import resizing

CONFIGS = Path(__file__).parents[2] / "configs"
SIZE = (32, 24)


@pytest.fixture(autouse=True)
def webcam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a family with a webcam variant, and x3 and x4 without one."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("fast-x2", "fast-x2-int8", "fast-webcam-x2", "fast-webcam-x2-int8"):
        shutil.copy(catalog.MODELS_FOLDER / f"{name.replace('-webcam', '')}.onnx", folder / f"{name}.onnx")
    for scale in (3, 4):
        resizing(folder / f"fast-x{scale}.onnx", scale)
    monkeypatch.setattr(catalog, "MODELS_FOLDER", folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def camera(dev: FakeDevDir) -> FakeDevDir:
    """`dev` with a camera 0."""
    dev.plug(0)
    return dev


def config(*arguments: str) -> Config:
    return parse(arguments)[0]


@contextlib.contextmanager
def engine(config: Config) -> Iterator[tuple[Source, Engine[Any]]]:
    """The source that `config` names, and the engine that the app makes for it."""
    with contextlib.closing(open_input(config)) as source:
        make = engine_loader(
            config,
            source,
            Stats(),
            BuildPreview(auto=True),
            GovernorDriver(lambda: 30.0, Reading, hot=None),
        )
        with make(SIZE) as made:
            yield source, made


def model_for(config: Config, source: Source) -> str:
    return engine_request(config, camera=source.camera, size=SIZE).model


def chosen(*arguments: str) -> str:
    """The name of the model, without its precision."""
    with engine(config(*arguments, "--engine", "openvino")) as (_, made):
        return made.spec.model.removesuffix("-int8")


@pytest.mark.integration
def test_files_and_the_demo_get_the_faithful_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    film = encode(tmp_path / "film.mkv", 3)
    cv2.imwrite(str(tmp_path / "still.png"), np.full((24, 32, 3), 90, np.uint8))
    with caplog.at_level(logging.INFO):
        assert chosen("--source", "demo") == "fast-x2"
    assert "the model for demo is fast" in caplog.text
    assert chosen("--source", str(film)) == chosen("--source", str(film), "--pace", "live") == "fast-x2"
    assert chosen("--source", str(tmp_path / "still.png")) == "fast-x2"


@pytest.mark.integration
def test_a_network_for_research_only_is_told_when_it_is_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "own-x2.onnx"
    resizing(own, 2)
    for model, told in (("fast", True), (str(own), False)):
        caplog.clear()
        with caplog.at_level(logging.INFO), engines.load(EngineRequest("openvino", model, SIZE)):
            pass
        assert ("fast-x2 is for research use only" in caplog.text) == ("research" in caplog.text) == told


@pytest.mark.integration
def test_cameras_get_the_one_that_cleans(camera: FakeDevDir, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert chosen("--camera", "0") == "fast-webcam-x2"
    assert "is fast-webcam" in caplog.text
    assert chosen("--camera", "0", "--scale", "2") == "fast-webcam-x2"
    assert chosen("--camera", "0", "--model", "fast") == "fast-x2"
    assert chosen("--source", "demo", "--model", "fast-webcam") == "fast-webcam-x2"
    assert chosen("--camera", "0", "--scale", "3") == "fast-x3"  # there is no webcam variant of that scale


@pytest.mark.integration
def test_streams_are_cameras_and_films_over_http_are_films(tmp_path: Path) -> None:
    with serve(lambda handler: multipart(handler, (jpeg(i) for i in range(200)))) as address:
        assert chosen("--source", address) == "fast-webcam-x2"
    film = encode(tmp_path / "film.mp4", 8).read_bytes()

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(film)))
        handler.end_headers()
        handler.wfile.write(film)

    with serve(answer) as address:
        assert chosen("--source", address) == "fast-x2"


@pytest.mark.parametrize("name", ["kiosk", "record", "default"])
def test_the_shipped_configurations_with_a_camera(camera: FakeDevDir, name: str) -> None:
    data = read_yaml(CONFIGS / f"{name}.yaml")
    data.setdefault("input", {})["camera"] = 0
    asked = from_mapping(data, name)
    with contextlib.closing(open_input(asked)) as source:
        assert source.camera and model_for(asked, source) == "fast-webcam"


def test_the_model_is_the_cameras_though_it_is_away(camera: FakeDevDir) -> None:
    """The attract loop goes through the engine that is there: another one would take seconds to load."""
    camera.unplug(0)
    asked = config("--camera", "0", "--reconnect", "--attract", "demo", "--attract-after", "0")
    with contextlib.closing(open_input(asked)) as source:
        assert model_for(asked, source) == "fast-webcam"


def test_without_a_webcam_variant_all_get_the_same(camera: FakeDevDir, webcam: Path) -> None:
    for file in webcam.glob("fast-webcam*"):
        file.unlink()
    assert chosen("--camera", "0") == chosen("--source", "demo") == "fast-x2"


@pytest.mark.integration
@pytest.mark.parametrize("engine_name", ["openvino", "bicubic"])
@pytest.mark.parametrize(("arguments", "scale"), [((), 2), (("--scale", "3"), 3), (("--model", "fast-x4"), 4)])
def test_a_scale_is_every_engines(arguments: tuple[str, ...], scale: int, engine_name: str) -> None:
    with engine(config("--source", "demo", "--engine", engine_name, *arguments)) as (_, made):
        assert (made.spec.scale, made.spec.output) == (scale, (SIZE[0] * scale, SIZE[1] * scale))


@pytest.mark.integration
def test_a_file_of_another_scale_than_asked_for(tmp_path: Path) -> None:
    own = resizing(tmp_path / "own.onnx", 3)
    asked = ("--source", "demo", "--engine", "openvino", "--model", own, "--scale")
    with engine(config(*asked, "3")) as (_, made):
        assert made.spec.scale == 3
    with pytest.raises(EngineError, match="own does not enlarge 2 times") as told, engine(config(*asked, "2")):
        pass
    assert told.value.facts == "it exists as x3"


def test_an_isolated_engine_too() -> None:
    asked = config("--source", "demo", "--engine", "bicubic", "--isolate", "--scale", "4")
    with engine(asked) as (_, made):
        assert made.spec.scale == 4
    with pytest.raises(EngineError, match="does not enlarge 7"), engine(config("--isolate", "--scale", "7")):
        pass


def test_beside_a_server_its_scale_counts() -> None:
    away = "triton://127.0.0.1:1/fast-x4"
    asked = config("--source", "demo", "--engine", away, "--fallback", "openvino", "--engine-start", "standby")
    with engine(asked) as (source, made):
        assert made.spec.scale == 4 and model_for(asked, source) == "fast"
    with (
        pytest.raises(EngineError, match="fast-x4 does not enlarge 2"),
        engine(config("--source", "demo", "--engine", away, "--scale", "2")),
    ):
        pass


class Obedient(GovernorDriver):
    """Goes where a test wants, whatever the machine can."""

    wish = 0

    def decide(self, index: int, busy: float | None) -> int:
        super().decide(index, busy)
        return self.wish

    def accepts(self, index: int, seconds: float) -> bool:
        return True

    def stepped(self, index: int) -> None:
        super().stepped(index)
        self.wish = 0


@pytest.mark.integration
@pytest.mark.parametrize("options", [(), ("--isolate",)])
def test_a_governor_goes_from_model_to_model(tmp_path: Path, options: tuple[str, ...]) -> None:
    larger = tmp_path / "larger-x2.onnx"
    larger.write_bytes((catalog.MODELS_FOLDER / "fast-x2.onnx").read_bytes())
    names = f"fast,bicubic,{larger}"
    asked = config("--source", "demo", "--engine", "openvino", "--governor", "--governor-models", names, *options)
    steering = Obedient(lambda: 30.0, Reading, hot=None)
    image, end = np.zeros((SIZE[1], SIZE[0], 3), np.uint8), time.monotonic() + 60
    with contextlib.closing(open_input(asked)) as source:
        loading = BuildPreview(auto=True)
        with engine_loader(asked, source, Stats(), loading, steering)(SIZE) as made:
            for way, model in ((0, "fast-x2-int8"), (1, "larger-x2"), (-1, "fast-x2-int8"), (-1, "bicubic")):
                steering.wish = way
                while made.spec.model != model:
                    assert time.monotonic() < end and made.reserve()
                    made.submit(image, None)
                    while True:
                        with contextlib.suppress(TimeoutError):
                            assert made.collect(0.05) is not None
                            break
                assert made.spec.state.ok != (model == "bicubic")
    steps = steering.as_dict()
    assert steps["models"] == ["bicubic", "fast", "larger-x2"]
    assert [step["to"] for step in steps["last_steps"]] == ["larger-x2", "fast", "bicubic"]


def test_a_governor_with_one_model_is_none() -> None:
    asked = config("--source", "demo", "--engine", "bicubic", "--governor", "--governor-fps", "30")
    with engine(asked) as (_, made):
        assert type(made) is SlotEngine
