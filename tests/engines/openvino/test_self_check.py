"""The self-check: a rewritten int8 graph is used only where its picture is that of the file, and that is asked once."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from engines.base import Image
from engines.catalog import shipped as catalog
from engines.openvino import engine as openvino
from engines.openvino import self_check, self_check_cache
from engines.openvino.engine import Rewriting
from engines.openvino.self_check_cache import Key, SelfCheckCache
from engines.request import EngineRequest
from tests.support.networks import picture_of
from tests.support.upscaling import through

SIZE = (40, 24)
QUANTISED = [model for model in catalog.shipped() if model.precision == "int8"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Rewrite:
    """What the engine does to every graph, with `darker` grey levels taken from its picture; counts how often."""

    def __init__(self, darker: int) -> None:
        self._darker, self.count = darker, 0

    def __call__(self, model: ov.Model) -> None:
        self.count += 1
        openvino.default_rewriting().apply(model)
        end = model.output().get_node().input(0)
        numbers = ops.convert(end.get_source_output(), np.float32)
        darker = ops.maximum(ops.subtract(numbers, np.float32(self._darker)), np.float32(0))
        end.replace_source_output(ops.convert(darker, np.uint8).output(0))


def upscaled(rewriting: Rewriting | None = None, name: str = "fast-x3-int8") -> Image:
    frame = self_check.check_frame(SIZE)
    with openvino.load(EngineRequest("openvino", name, SIZE, depth=1), rewriting=rewriting) as engine:
        return through(engine, frame)


def of_the_file(name: str = "fast-x3-int8") -> Image:
    path = catalog.find(name)
    network = openvino.read(path)
    openvino.fit(network, path, SIZE)
    compiled = openvino.core().compile_model(network, "CPU", openvino.compile_options(None))
    image: Image = picture_of(compiled, self_check.check_frame(SIZE))[0]
    return image


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.integration
def test_a_rewriting_that_darkens_the_picture_is_refused_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    rewrite = Rewrite(darker=16)
    for _ in range(2):
        caplog.clear()
        assert (upscaled(Rewriting(rewrite, "darker")) == of_the_file()).all()
        (line,) = warnings(caplog)
        assert "fast-x3-int8 runs as it is in the file" in line and "24." in line and "45 are needed" in line
    assert rewrite.count == 1, "the second load checks again"


@pytest.mark.integration
def test_the_result_is_kept_and_believed(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    rewrite = Rewrite(darker=0)
    rewriting = Rewriting(rewrite, "same")
    first = upscaled(rewriting)
    assert rewrite.count == 2, "once for the check, once for use"
    assert len(list(cache.rglob("*.check.json"))) == 1
    assert (upscaled(rewriting) == first).all() and rewrite.count == 3
    assert (first == upscaled()).all() and (first != of_the_file()).any()
    assert not warnings(caplog)


@pytest.mark.integration
def test_another_version_of_the_rewriting_is_checked_anew() -> None:
    rewrite = Rewrite(darker=0)
    for version in ("one", "two", "one"):
        upscaled(Rewriting(rewrite, version))
    assert rewrite.count == 3 + 2


@pytest.mark.integration
def test_a_damaged_result_leads_to_a_new_check(cache: Path) -> None:
    rewrite = Rewrite(darker=16)
    upscaled(Rewriting(rewrite, "darker"))
    (kept,) = cache.rglob("*.check.json")
    sound = kept.read_bytes()
    kept.write_bytes(sound[: len(sound) // 2])
    assert (upscaled(Rewriting(rewrite, "darker")) == of_the_file()).all()
    assert rewrite.count == 2
    assert kept.read_bytes() == sound


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\x00", b"{", b"[]", b"null", b'{"psnr_db": 99.0}', b'{"key": {}, "psnr_db": 99.0}', b"[" * 100000],
    ids=["empty", "no text", "cut short", "list", "null", "no key", "another key", "nested"],
)
def test_what_is_no_result_is_not_believed(tmp_path: Path, content: bytes) -> None:
    key, results = Key("model", "1", "2026.4", "some processor"), SelfCheckCache(tmp_path)
    results.put(key, 50.5)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(content)
    assert results.get(key) is None


@pytest.mark.parametrize("value", ["NaN", "-1.0", '"60"', "true", "null", "60"])
def test_a_figure_that_no_check_has_written_is_not_believed(tmp_path: Path, value: str) -> None:
    key, results = Key("model", "1", "2026.4", "some processor"), SelfCheckCache(tmp_path)
    results.put(key, 50.5)
    (kept,) = tmp_path.iterdir()
    kept.write_text(kept.read_text(encoding="utf-8").replace("50.5", value), encoding="utf-8")
    assert results.get(key) is None


def test_results_are_kept_apart_by_all_that_they_depend_on(tmp_path: Path) -> None:
    first = Key("model", "1", "2026.4", "some processor")
    keys = [first, *(replace(first, **{part: "another"}) for part in asdict(first))]
    results = SelfCheckCache(tmp_path / "not" / "there")
    for number, key in enumerate(keys):
        assert results.get(key) is None
        results.put(key, 50.5 + number)
    assert [results.get(key) for key in keys] == [50.5 + number for number in range(len(keys))]
    results.put(keys[0], math.inf)
    assert results.get(keys[0]) == math.inf


def test_another_processor_is_told_from_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(cpuinfo: Path = self_check_cache.CPUINFO) -> str:
        self_check_cache.processor_id.cache_clear()
        return self_check_cache.processor_id(openvino.core(), cpuinfo)

    here, other = told(), tmp_path / "cpuinfo"
    assert told() == here
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    limited = told()
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    nameless = told(other)
    names = []
    for part in ("0xd0b", "0xd40"):
        other.write_text(f"Features\t: fp asimd\nCPU part\t: {part}\nBogoMIPS\t: {part}\n", encoding="utf-8")
        names.append(told(other))
    assert len({here, limited, nameless, *names}) == 5
    other.write_text("Features\t: fp asimd\nCPU part\t: 0xd40\nBogoMIPS\t: 12\n", encoding="utf-8")
    assert told(other) == names[1], "what is not the processor's kind counts, too"
    self_check_cache.processor_id.cache_clear()


@pytest.mark.integration
def test_a_result_that_cannot_be_kept_is_no_hindrance(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    rewrite = Rewrite(darker=0)
    pictures = [upscaled(Rewriting(rewrite, "same")) for _ in range(2)]
    assert (pictures[0] == pictures[1]).all() and rewrite.count == 4


@pytest.mark.integration
def test_a_check_that_cannot_be_made_leaves_the_file_as_it_is(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fails(model: ov.Model) -> None:
        raise RuntimeError("std::bad_alloc")

    assert (upscaled(Rewriting(fails, "fails")) == of_the_file()).all()
    (line,) = warnings(caplog)
    assert line.endswith("its self-check failed: there is not enough memory")
    assert not list(cache.rglob("*.check.json"))


@pytest.mark.integration
def test_files_that_are_not_int8_are_not_checked(cache: Path) -> None:
    rewrite = Rewrite(darker=16)
    upscaled(Rewriting(rewrite, "darker"), "fast-x3-fp32")
    assert rewrite.count == 1 and not list(cache.rglob("*.check.json"))


@pytest.mark.integration
@pytest.mark.parametrize("model", QUANTISED, ids=[model.path.stem for model in QUANTISED])
def test_shipped_files_agree_on_this_processor(model: catalog.ShippedModel) -> None:
    plain = openvino.read(model.path)
    openvino.fit(plain, model.path, self_check.SIZE)
    options = openvino.compile_options(None)
    apply = openvino.default_rewriting().apply
    found = self_check.agreement_db(openvino.core(), plain, apply, options)
    assert self_check.LEAST_DB <= found < 99
    assert self_check.is_quantised(plain)
    assert self_check.agreement_db(openvino.core(), plain, lambda same: None, options) == math.inf


@pytest.mark.parametrize("size", [(16, 16), (17, 16), (64, 48), (1280, 720)])
def test_the_frame_has_every_level_in_every_colour(size: tuple[int, int]) -> None:
    frame = self_check.check_frame(size)
    assert frame.shape == (size[1], size[0], 3) and frame.dtype == np.uint8
    for colour in range(3):
        counts = np.bincount(frame[..., colour].ravel(), minlength=256)
        assert counts.min() > 0 and np.ptp(counts) <= 1


@pytest.mark.integration
def test_a_file_of_one_size_is_checked_in_that_size() -> None:
    path = catalog.find("fast-x2-int8")
    network = openvino.read(path)
    assert openvino.check_size(network, SIZE) == self_check.SIZE
    network.reshape({network.input(0): [1, SIZE[1], SIZE[0], 3]})
    assert openvino.check_size(network, SIZE) == SIZE
